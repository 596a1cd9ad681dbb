// SPDX-License-Identifier: Apache-2.0
/* Which fields a flow may match on together: one rule for each group of fields. */
#include "key_check.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>

#include "key.h"

static bool any(const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	uint8_t or = 0;

	for (size_t i = 0; i < n; i++)
		or |= b[i];
	return or != 0;
}

static bool all(const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	uint8_t and = 0xff;

	for (size_t i = 0; i < n; i++)
		and &= b[i];
	return and == 0xff;
}

#define ANY(field) any(&(field), sizeof(field))
#define ALL(field) all(&(field), sizeof(field))

/* A flow being judged, and what of its protocols is matched exactly. */
struct flow {
	const struct odp_key *k, *m;
	uint16_t type; // 0: not matched exactly
	int proto; // -1: not matched exactly
};

static bool is_ip(const struct flow *f)
{
	return f->type == 0x0800 || f->type == 0x86dd;
}

static bool pads_ok(const struct flow *f)
{
	const struct odp_key *m = f->m;

	return !ANY(m->pad_l4) && !ANY(m->nd.pad) && !ANY(m->pad_vlan) && !m->tnl.pad &&
	       !ANY(m->tnl.pad_opts);
}

/* A packet without an Ethernet header has the protocol that its packet_type says. */
static bool eth_ok(const struct flow *f)
{
	const struct odp_key *k = f->k, *m = f->m;

	if (ANY(m->eth_type) && !ALL(m->eth_type))
		return false;
	if (!ANY(m->packet_type))
		return true;
	if (!ALL(m->packet_type))
		return false;
	uint32_t pt = dpu_be32_get(k->packet_type);

	if (pt == 0)
		return true;
	return pt >> 16 == 1 && (f->type == 0 || f->type == (uint16_t)pt) && !ANY(m->eth_dst) &&
	       !ANY(m->eth_src) && !ANY(m->vlan_tci);
}

/* One tag: its bits are matched where it is known whether there is one. */
static bool tag_ok(
	dpu_be16 tci, dpu_be16 tci_mask, dpu_be16 tpid, dpu_be16 tpid_mask, bool *present)
{
	uint16_t k = dpu_be16_get(tci), m = dpu_be16_get(tci_mask), type = dpu_be16_get(tpid);

	*present = k & m & ODP_VLAN_PRESENT;
	if (ANY(tpid_mask) && (!ALL(tpid_mask) || (type != 0x8100 && type != 0x88a8)))
		return false;
	if (m == 0)
		return !ANY(tpid_mask);
	if (!(m & ODP_VLAN_PRESENT))
		return false;
	return *present || ((k & m) == 0 && !ANY(tpid_mask));
}

static bool vlan_ok(const struct flow *f)
{
	const struct odp_key *k = f->k, *m = f->m;
	bool outer, inner;

	if (!tag_ok(k->vlan_tci, m->vlan_tci, k->vlan_tpid, m->vlan_tpid, &outer) ||
		!tag_ok(k->cvlan_tci, m->cvlan_tci, k->cvlan_tpid, m->cvlan_tpid, &inner))
		return false;
	return outer || (!ANY(m->cvlan_tci) && !ANY(m->cvlan_tpid));
}

static bool mpls_ok(const struct flow *f)
{
	return !ANY(f->m->mpls_lse) || f->type == 0x8847 || f->type == 0x8848;
}

static bool l3_ok(const struct flow *f)
{
	const struct odp_key *k = f->k, *m = f->m;
	size_t has;

	if (ANY(m->ipv6_label) && (f->type != 0x86dd || dpu_be32_get(k->ipv6_label) > 0xfffff ||
					  dpu_be32_get(m->ipv6_label) > 0xfffff))
		return false;
	if (!any(&m->ip_proto, 4) && !ANY(m->l3_bytes))
		return true;
	switch (f->type) {
	case 0x0800:
		has = sizeof(m->ipv4);
		break;
	case 0x86dd:
		has = sizeof(m->ipv6);
		break;
	case 0x0806:
	case 0x8035:
		if (m->ip_tos || m->ip_ttl || m->ip_frag)
			return false;
		has = sizeof(m->arp);
		break;
	default:
		return false;
	}
	return (k->ip_frag & m->ip_frag) <= ODP_FRAG_LATER &&
	       !any(m->l3_bytes + has, sizeof(m->l3_bytes) - has);
}

/* A later fragment has no layer 4. */
static bool l4_ok(const struct flow *f)
{
	const struct odp_key *k = f->k, *m = f->m;

	if (!any(&m->tp_src, 6))
		return true;
	if (!is_ip(f) || (k->ip_frag & m->ip_frag) == ODP_FRAG_LATER)
		return false;
	switch (f->proto) {
	case IPPROTO_TCP:
		return dpu_be16_get(m->tcp_flags) <= 0x0fff;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return !ANY(m->tcp_flags);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return !ANY(m->tcp_flags) && (f->proto == IPPROTO_ICMP) == (f->type == 0x0800);
	default:
		return false;
	}
}

/* Neighbour solicitation or advertisement, and nothing else that their type may stand for. */
static bool nd_ok(const struct flow *f)
{
	const struct odp_key *k = f->k, *m = f->m;
	uint16_t type = dpu_be16_get(k->tp_src);

	if (!any(&m->nd, offsetof(struct odp_key, vlan_tpid) - offsetof(struct odp_key, nd)))
		return true;
	return f->type == 0x86dd && f->proto == IPPROTO_ICMPV6 && m->tp_src.b[1] == 0xff &&
	       (type == 135 || type == 136);
}

static bool ct_ok(const struct flow *f)
{
	const struct odp_key *m = f->m;

	if (!m->ct_orig_proto && !ANY(m->ct_orig_tp_src) && !ANY(m->ct_orig_tp_dst) &&
		!ANY(m->ct_orig6))
		return true;
	if (f->type == 0x0800)
		return !any((const uint8_t *)&m->ct_orig6 + sizeof(m->ct_orig4),
			sizeof(m->ct_orig6) - sizeof(m->ct_orig4));
	return f->type == 0x86dd;
}

/* Options one behind the other, RFC 8926, section 3.5; their lengths are matched exactly. */
static bool opts_ok(const struct odp_key_tnl *k, const struct odp_key_tnl *m)
{
	unsigned at = 0, len = k->opts_len;

	if (m->opts_len != 0xff || len > ODP_TNL_OPTS)
		return false;
	while (at < len) {
		if (len - at < 4 || m->opts[at + 3] != 0xff || k->opts[at + 3] > 31)
			return false;
		unsigned all = 4 + k->opts[at + 3] * 4u;

		if (all > len - at)
			return false;
		at += all;
	}
	return true;
}

/* That there is no tunnel, and nothing else about it. */
static bool only_family(const struct odp_key_tnl *m)
{
	struct odp_key_tnl rest = *m;

	rest.family = 0;
	return !any(&rest, sizeof(rest));
}

static bool tnl_ok(const struct flow *f)
{
	const struct odp_key_tnl *k = &f->k->tnl, *m = &f->m->tnl;
	unsigned opts = m->opts_len ? k->opts_len : 0;

	if (!any(m, sizeof(*m)))
		return true;
	if (m->family != 0xff || (k->family != 4 && k->family != 6))
		return k->family == 0 && m->family == 0xff && only_family(m);
	if ((m->flags & ~0xfu) || (m->opts_len && !opts_ok(k, m)))
		return false;
	if (k->family == 4 &&
		any((const uint8_t *)&m->ipv6 + sizeof(m->ipv4), sizeof(m->ipv6) - sizeof(m->ipv4)))
		return false;
	return !any(m->opts + opts, ODP_TNL_OPTS - opts);
}

int odp_key_check(const struct odp_key *key, const struct odp_key *mask)
{
	struct flow f = { .k = key, .m = mask, .proto = -1 };

	if (ALL(mask->eth_type))
		f.type = dpu_be16_get(key->eth_type);
	if (mask->ip_proto == 0xff)
		f.proto = key->ip_proto;
	return pads_ok(&f) && eth_ok(&f) && vlan_ok(&f) && mpls_ok(&f) && l3_ok(&f) && l4_ok(&f) &&
			       nd_ok(&f) && ct_ok(&f) && tnl_ok(&f)
		       ? 0
		       : -EINVAL;
}
