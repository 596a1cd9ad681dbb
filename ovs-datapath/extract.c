// SPDX-License-Identifier: Apache-2.0
/* Headers to flow key: bounded reads over bytes that guests and networks sent. */
#include "extract.h"

#include <errno.h>
#include <netinet/in.h>

#include "dpu_cur.h"

#define ETH_IPV4 0x0800
#define ETH_ARP 0x0806
#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_IPV6 0x86dd
#define ETH_MPLS 0x8847
#define ETH_MPLS_MC 0x8848
#define ETH_RARP 0x8035

#define IPV6_EXT_MAX 8 // extension headers in one packet

/* One packet's parse: the cursor, and how many bytes of the frame lie beyond it unseen. */
struct parse {
	struct dpu_cur in;
	size_t beyond;
};

static size_t left(const struct parse *p)
{
	return p->in.left + p->beyond;
}

/* Bound everything that follows by the IP header's own length. */
static int limit(struct parse *p, size_t len)
{
	if (len > left(p))
		return -EBADMSG;
	if (len <= p->in.left) {
		p->in.left = len;
		p->beyond = 0;
	} else {
		p->beyond = len - p->in.left;
	}
	return 0;
}

/* A tag, when the type says that there is one. */
static void parse_tag(struct parse *p, uint16_t *type, dpu_be16 *tci, dpu_be16 *tpid)
{
	if (*type != ETH_VLAN && *type != ETH_QINQ)
		return;
	*tpid = dpu_be16_put(*type);
	*tci = dpu_be16_put(dpu_cur_be16(&p->in) | ODP_VLAN_PRESENT);
	*type = dpu_cur_be16(&p->in);
}

static void parse_eth(struct parse *p, struct odp_key *key, uint16_t *type)
{
	dpu_cur_copy(&p->in, key->eth_dst, 6);
	dpu_cur_copy(&p->in, key->eth_src, 6);
	*type = dpu_cur_be16(&p->in);
	parse_tag(p, type, &key->vlan_tci, &key->vlan_tpid);
	if (dpu_be16_get(key->vlan_tci))
		parse_tag(p, type, &key->cvlan_tci, &key->cvlan_tpid);
	if (*type < ODP_ETH_TYPE_MIN) {
		static const uint8_t snap[6] = { 0xaa, 0xaa, 3, 0, 0, 0 };
		const struct dpu_cur *in = &p->in;

		if (in->left >= 8 && !memcmp(in->at, snap, sizeof(snap)) &&
			(in->at[6] << 8) >= ODP_ETH_TYPE_MIN) {
			dpu_cur_skip(&p->in, sizeof(snap));
			*type = dpu_cur_be16(&p->in);
		} else {
			*type = ODP_ETH_TYPE_NONE;
		}
	}
	key->eth_type = dpu_be16_put(*type);
}

/* The stack's first entries: up to the one that says that it is the last, RFC 3032. */
static int parse_mpls(struct parse *p, struct odp_key *key)
{
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *lse = dpu_cur_take(&p->in, 4);

		if (!lse)
			return -EBADMSG;
		memcpy(&key->mpls_lse[i], lse, 4);
		if (lse[2] & 1)
			break;
	}
	return 0;
}

static int parse_ipv4(struct parse *p, struct odp_key *key)
{
	size_t frame = left(p);
	uint8_t vihl = dpu_cur_u8(&p->in);
	size_t hlen = (size_t)(vihl & 15) * 4;

	key->ip_tos = dpu_cur_u8(&p->in);
	size_t total = dpu_cur_be16(&p->in);
	dpu_cur_skip(&p->in, 2);
	uint16_t frag = dpu_cur_be16(&p->in);
	key->ip_ttl = dpu_cur_u8(&p->in);
	key->ip_proto = dpu_cur_u8(&p->in);
	dpu_cur_skip(&p->in, 2);
	dpu_cur_copy(&p->in, &key->ipv4.src, 4);
	dpu_cur_copy(&p->in, &key->ipv4.dst, 4);
	if (p->in.bad || vihl >> 4 != 4 || hlen < 20 || total < hlen || total > frame)
		return -EBADMSG;
	dpu_cur_skip(&p->in, hlen - 20);
	if (p->in.bad)
		return -EBADMSG;
	if (frag & 0x1fff)
		key->ip_frag = ODP_FRAG_LATER;
	else if (frag & 0x2000)
		key->ip_frag = ODP_FRAG_FIRST;
	return limit(p, total - hlen);
}

/* What an IPv6 header chain has shown so far. */
struct chain {
	unsigned n; // headers
	bool frag; // one of them was a fragment header
	uint8_t next;
};

/* A fragment header. 1: go on, 0: the chain ended, or -EBADMSG. */
static int parse_ipv6_frag(struct parse *p, struct odp_key *key, struct chain *c)
{
	c->next = dpu_cur_u8(&p->in);
	dpu_cur_skip(&p->in, 1);
	uint16_t frag = dpu_cur_be16(&p->in);

	dpu_cur_skip(&p->in, 4);
	if (p->in.bad || c->frag)
		return -EBADMSG;
	c->frag = true;
	if (frag & 0xfff8) {
		key->ip_frag = ODP_FRAG_LATER;
		c->next = IPPROTO_FRAGMENT;
		return 0;
	}
	if (frag & 1)
		key->ip_frag = ODP_FRAG_FIRST;
	return 1;
}

/* One extension header. 1: go on, 0: the chain ended, or -EBADMSG. */
static int parse_ipv6_ext(struct parse *p, struct odp_key *key, struct chain *c)
{
	uint8_t type = c->next;

	switch (type) {
	case IPPROTO_HOPOPTS:
		if (c->n > 0)
			return -EBADMSG; // RFC 8200, section 4.1: only the first
		break;
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
	case 135: // mobility, RFC 6275
		break;
	case IPPROTO_FRAGMENT:
		return parse_ipv6_frag(p, key, c);
	default:
		return 0;
	}
	c->next = dpu_cur_u8(&p->in);
	size_t n = dpu_cur_u8(&p->in);

	dpu_cur_skip(&p->in, type == IPPROTO_AH ? n * 4 + 6 : n * 8 + 6);
	return p->in.bad ? -EBADMSG : 1;
}

static int parse_ipv6(struct parse *p, struct odp_key *key)
{
	const uint8_t *h = dpu_cur_take(&p->in, 40);
	struct chain c = { 0 };

	if (!h || h[0] >> 4 != 6 || limit(p, (size_t)h[4] << 8 | h[5]) < 0)
		return -EBADMSG;
	key->ip_tos = (uint8_t)(h[0] << 4 | h[1] >> 4);
	key->ip_ttl = h[7];
	key->ipv6_label = (dpu_be32){ { 0, h[1] & 15, h[2], h[3] } };
	memcpy(&key->ipv6, h + 8, 32);
	for (c.next = h[6]; c.n < IPV6_EXT_MAX; c.n++) {
		int more = parse_ipv6_ext(p, key, &c);

		if (more < 0)
			return more;
		if (more == 0) {
			key->ip_proto = c.next;
			return 0;
		}
	}
	return -EBADMSG;
}

static int parse_arp(struct parse *p, struct odp_key *key)
{
	const uint8_t *h = dpu_cur_take(&p->in, 28);
	static const uint8_t ether_ip[6] = { 0, 1, 8, 0, 6, 4 };

	if (!h)
		return -EBADMSG;
	if (memcmp(h, ether_ip, sizeof(ether_ip)) != 0)
		return 0;
	key->ip_proto = h[6] == 0 ? h[7] : 0; // the operation, as OVS has it
	memcpy(key->arp.sha, h + 8, 6);
	memcpy(&key->arp.spa, h + 14, 4);
	memcpy(key->arp.tha, h + 18, 6);
	memcpy(&key->arp.tpa, h + 24, 4);
	return 0;
}

#define ND_SOLICIT 135
#define ND_ADVERT 136
#define ND_OPT_SLL 1
#define ND_OPT_TLL 2

/* The link-layer address of an option of 8 bytes; said twice it says nothing. */
static int nd_address(const uint8_t *opt, uint8_t to[6], bool *seen)
{
	if (*seen)
		return -EBADMSG;
	*seen = true;
	memcpy(to, opt + 2, 6);
	return 0;
}

/* Neighbour solicitation or advertisement behind its first 4 bytes, RFC 4861, 4.3 and 4.4. */
static int parse_nd(struct parse *p, struct odp_key *key)
{
	bool sll = false, tll = false;

	dpu_cur_skip(&p->in, 4);
	dpu_cur_copy(&p->in, key->nd.target, 16);
	if (p->in.bad || p->beyond > 0)
		return -EBADMSG;
	while (p->in.left > 0) {
		const uint8_t *opt = p->in.at;
		size_t len = p->in.left >= 8 ? (size_t)opt[1] * 8 : 0;
		int ret = 0;

		if (len == 0 || !dpu_cur_take(&p->in, len))
			return -EBADMSG; // RFC 4861, section 4.6: discard silently
		if (len == 8 && opt[0] == ND_OPT_SLL)
			ret = nd_address(opt, key->nd.sll, &sll);
		else if (len == 8 && opt[0] == ND_OPT_TLL)
			ret = nd_address(opt, key->nd.tll, &tll);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* 0: not a protocol whose header we read. */
static size_t l4_min(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_UDP:
		return 8;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 4;
	default:
		return 0;
	}
}

static int parse_l4(struct parse *p, struct odp_key *key, uint16_t type, uint64_t want)
{
	size_t min = l4_min(key->ip_proto);
	const uint8_t *h = dpu_cur_take(&p->in, min);

	if (min == 0)
		return 0;
	if (!h) {
		if (key->ip_frag != ODP_FRAG_FIRST || type == ETH_IPV6)
			return -EBADMSG;
		key->ip_frag = ODP_FRAG_LATER;
		return 0;
	}
	if (key->ip_proto == IPPROTO_ICMP || key->ip_proto == IPPROTO_ICMPV6) {
		key->tp_src.b[1] = h[0];
		key->tp_dst.b[1] = h[1];
		// Fragments of neighbour discovery are ignored by who gets them, RFC 6980.
		if (type == ETH_IPV6 && key->ip_proto == IPPROTO_ICMPV6 && h[1] == 0 &&
			(h[0] == ND_SOLICIT || h[0] == ND_ADVERT) && (want & ODP_WANT_ND) &&
			key->ip_frag == ODP_FRAG_NONE)
			return parse_nd(p, key);
		return 0;
	}
	memcpy(&key->tp_src, h, 2);
	memcpy(&key->tp_dst, h + 2, 2);
	if (key->ip_proto == IPPROTO_TCP) {
		key->tcp_flags.b[0] = h[12] & 0x0f;
		key->tcp_flags.b[1] = h[13];
	}
	return 0;
}

/* What stands behind the Ethernet header or instead of one. */
static int parse_l3(struct parse *p, struct odp_key *key, uint16_t type, uint64_t want)
{
	int ret;

	switch (type) {
	case ETH_MPLS:
	case ETH_MPLS_MC:
		return want & ODP_WANT_MPLS ? parse_mpls(p, key) : 0;
	case ETH_IPV4:
	case ETH_IPV6:
	case ETH_ARP:
	case ETH_RARP:
		break;
	default:
		return 0;
	}
	if (!(want & ODP_WANT_L3L4))
		return 0;
	if (type == ETH_ARP || type == ETH_RARP)
		return parse_arp(p, key);
	ret = type == ETH_IPV4 ? parse_ipv4(p, key) : parse_ipv6(p, key);
	// Layer 4 is looked at even for layer 3 alone: it decides what ip_frag says of a tiny one.
	if (ret == 0 && key->ip_frag != ODP_FRAG_LATER)
		ret = parse_l4(p, key, type, want);
	return ret;
}

int odp_extract(const uint8_t *hdr, size_t n, size_t len, uint32_t in_port, uint32_t packet_type,
	uint64_t want, struct odp_key *key)
{
	struct parse p = { .in = dpu_cur_init(hdr, n), .beyond = len - n };
	uint64_t w[ODP_KEY_META_WORD];
	uint16_t type = (uint16_t)packet_type;
	int ret;

	memset(key, 0, ODP_KEY_META_WORD * 8);
	key->in_port = in_port;
	if (packet_type == 0) {
		parse_eth(&p, key, &type);
	} else {
		key->packet_type = dpu_be32_put(packet_type);
		key->eth_type = dpu_be16_put(type);
	}
	ret = p.in.bad ? -EBADMSG : parse_l3(&p, key, type, want);
	memcpy(w, key, sizeof(w));
	for (unsigned i = 0; i < ODP_KEY_META_WORD; i++)
		w[i] &= -(want >> i & 1);
	memcpy(key, w, sizeof(w));
	return ret;
}

int odp_extract_mbuf(const struct rte_mbuf *m, uint32_t in_port, uint32_t packet_type,
	uint64_t want, struct odp_key *key)
{
	uint8_t copy[ODP_EXTRACT_MAX];
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)ODP_EXTRACT_MAX);
	const uint8_t *hdr = rte_pktmbuf_read(m, 0, n, copy);

	if (!hdr) {
		memset(key, 0, ODP_KEY_META_WORD * 8);
		return -EBADMSG;
	}
	return odp_extract(hdr, n, m->pkt_len, in_port, packet_type, want, key);
}
