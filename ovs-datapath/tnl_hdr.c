// SPDX-License-Identifier: Apache-2.0
/* Outer headers that flows bring along, and tunnel fields between a flow key and the formats. */
#include "tnl.h"

#include <errno.h>
#include <netinet/in.h>

#include "inet.h"

#define TTL_DEFAULT 64
#define TNL_F_FLOW (ODP_TNL_F_OAM | ODP_TNL_F_DF | ODP_TNL_F_CSUM | ODP_TNL_F_KEY)

void odp_tnl_to_flow(const struct odp_tnl_key *key, struct odp_key_tnl *out)
{
	memset(out, 0, sizeof(*out));
	out->id = dpu_be64_put(key->id);
	if (key->family == 4) {
		memcpy(&out->ipv4.src, key->src, 4);
		memcpy(&out->ipv4.dst, key->dst, 4);
	} else {
		memcpy(out->ipv6.src, key->src, 16);
		memcpy(out->ipv6.dst, key->dst, 16);
	}
	out->tos = key->tos;
	out->ttl = key->ttl;
	out->flags = key->flags & TNL_F_FLOW;
	out->tp_src = dpu_be16_put(key->tp_src);
	out->tp_dst = dpu_be16_put(key->tp_dst);
	out->gbp_id = dpu_be16_put(key->gbp_id);
	out->gbp_flags = key->gbp_flags;
	out->gpe_np = key->gpe_next;
	out->gpe_flags = key->gpe_flags;
	out->family = key->family;
	out->opts_len = key->opts_len;
	memcpy(out->opts, key->opts, key->opts_len);
}

void odp_tnl_from_flow(const struct odp_key_tnl *tnl, struct odp_tnl_key *out)
{
	memset(out, 0, sizeof(*out));
	out->id = dpu_be64_get(tnl->id);
	if (tnl->family == 4) {
		memcpy(out->src, &tnl->ipv4.src, 4);
		memcpy(out->dst, &tnl->ipv4.dst, 4);
	} else {
		memcpy(out->src, tnl->ipv6.src, 16);
		memcpy(out->dst, tnl->ipv6.dst, 16);
	}
	out->family = tnl->family;
	out->tos = tnl->tos;
	out->ttl = tnl->ttl;
	out->flags = tnl->flags & TNL_F_FLOW;
	out->tp_src = dpu_be16_get(tnl->tp_src);
	out->tp_dst = dpu_be16_get(tnl->tp_dst);
	out->gbp_id = dpu_be16_get(tnl->gbp_id);
	out->gbp_flags = tnl->gbp_flags;
	out->gpe_next = tnl->gpe_np;
	out->gpe_flags = tnl->gpe_flags;
	out->opts_len = tnl->opts_len;
	memcpy(out->opts, tnl->opts, tnl->opts_len);
}

/* ---- headers as they stand in an action ---- */

static int take_eth(struct odp_tnl_tmpl *t)
{
	uint16_t type;
	size_t l3;

	if (!odp_eth_l3(t->hdr, t->len, &l3, &type) ||
		(type != ODP_ETH_IPV4 && type != ODP_ETH_IPV6))
		return -EINVAL;
	if (l3 > ODP_ETH_LEN + 4)
		return -EINVAL; // more than one tag
	t->l2_len = (uint16_t)l3;
	t->family = type == ODP_ETH_IPV4 ? 4 : 6;
	t->l3_len = t->family == 4 ? ODP_IPV4_LEN : ODP_IPV6_LEN;
	return t->len - l3 < t->l3_len ? -EINVAL : 0;
}

/* What is filled in for each packet becomes zero. */
static int take_ip(struct odp_tnl_tmpl *t, uint8_t *proto)
{
	uint8_t *ip = t->hdr + t->l2_len;

	if (t->family == 4) {
		if (ip[0] != 0x45 || (odp_get16(ip + 6) & 0x3fff))
			return -EINVAL; // options, or a fragment
		memset(ip + 2, 0, 4);
		memset(ip + 10, 0, 2);
		ip[8] = ip[8] ? ip[8] : TTL_DEFAULT;
		*proto = ip[9];
		return 0;
	}
	if (ip[0] >> 4 != 6)
		return -EINVAL;
	memset(ip + 4, 0, 2);
	ip[7] = ip[7] ? ip[7] : TTL_DEFAULT;
	*proto = ip[6];
	return 0;
}

static int take_udp(struct odp_tnl_tmpl *t, uint8_t *udp, size_t left)
{
	if (left < ODP_UDP_LEN || odp_get16(udp + 2) == 0)
		return -EINVAL;
	t->csum = odp_get16(udp + 6) != 0;
	memset(udp, 0, 2);
	memset(udp + 4, 0, 4);
	return 0;
}

int odp_tnl_tmpl_of(
	enum odp_tnl_type type, const uint8_t *hdr, size_t len, struct odp_tnl_tmpl *out)
{
	struct odp_tnl_tmpl t = { .type = type,
		.len = (uint16_t)len,
		.inner = ODP_INNER_ETH,
		.udp = type != ODP_TNL_GRE };
	struct odp_tnl_key key = { 0 };
	uint16_t inner;
	uint8_t proto;
	size_t at;

	if (len > sizeof(t.hdr))
		return -EINVAL;
	memcpy(t.hdr, hdr, len);
	if (take_eth(&t) < 0 || take_ip(&t, &proto) < 0 ||
		proto != (t.udp ? IPPROTO_UDP : IPPROTO_GRE))
		return -EINVAL;
	at = (size_t)t.l2_len + t.l3_len;
	if (t.udp && take_udp(&t, t.hdr + at, len - at) < 0)
		return -EINVAL;
	at += t.udp ? ODP_UDP_LEN : 0;

	struct dpu_cur in = dpu_cur_init(t.hdr + at, len - at);

	if (odp_tnl_decode(type, &in, &key, &inner) < 0 || in.left != 0 || inner != ODP_INNER_ETH ||
		(key.flags & ODP_TNL_F_SEQ))
		return -EINVAL;
	if (type == ODP_TNL_GRE && (key.flags & ODP_TNL_F_CSUM)) {
		t.csum = true;
		memset(t.hdr + at + 4, 0, 4);
	}
	odp_tnl_tmpl_sums(&t);
	*out = t;
	return 0;
}
