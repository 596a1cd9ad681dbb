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

static void parse_eth(struct parse *p, struct odp_key *key, uint16_t *type)
{
	dpu_cur_copy(&p->in, key->eth_dst, 6);
	dpu_cur_copy(&p->in, key->eth_src, 6);
	*type = dpu_cur_be16(&p->in);
	if (*type == ETH_VLAN || *type == ETH_QINQ) {
		uint16_t tci = dpu_cur_be16(&p->in);

		key->vlan_tci = dpu_be16_put(tci | ODP_VLAN_PRESENT);
		*type = dpu_cur_be16(&p->in);
	}
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

/* One extension header. 1: go on with *next, 0: the chain ended, or -EBADMSG. */
static int parse_ipv6_ext(struct parse *p, struct odp_key *key, uint8_t *next)
{
	uint8_t type = *next;

	switch (type) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
	case 135: { // mobility, RFC 6275
		*next = dpu_cur_u8(&p->in);
		size_t n = dpu_cur_u8(&p->in);

		dpu_cur_skip(&p->in, type == IPPROTO_AH ? n * 4 + 6 : n * 8 + 6);
		return p->in.bad ? -EBADMSG : 1;
	}
	case IPPROTO_FRAGMENT: {
		*next = dpu_cur_u8(&p->in);
		dpu_cur_skip(&p->in, 1);
		uint16_t frag = dpu_cur_be16(&p->in);

		dpu_cur_skip(&p->in, 4);
		if (p->in.bad)
			return -EBADMSG;
		if (frag & 0xfff8) {
			key->ip_frag = ODP_FRAG_LATER;
			return 0;
		}
		if (frag & 1)
			key->ip_frag = ODP_FRAG_FIRST;
		return 1;
	}
	default:
		return 0;
	}
}

static int parse_ipv6(struct parse *p, struct odp_key *key)
{
	uint8_t b0 = dpu_cur_u8(&p->in);
	uint8_t b1 = dpu_cur_u8(&p->in);

	dpu_cur_skip(&p->in, 2);
	size_t payload = dpu_cur_be16(&p->in);
	uint8_t next = dpu_cur_u8(&p->in);

	key->ip_tos = (uint8_t)(b0 << 4 | b1 >> 4);
	key->ip_ttl = dpu_cur_u8(&p->in);
	dpu_cur_copy(&p->in, key->ipv6.src, 16);
	dpu_cur_copy(&p->in, key->ipv6.dst, 16);
	if (p->in.bad || b0 >> 4 != 6 || limit(p, payload) < 0)
		return -EBADMSG;

	for (unsigned n = 0; n < IPV6_EXT_MAX; n++) {
		int more = parse_ipv6_ext(p, key, &next);

		if (more < 0)
			return more;
		if (more == 0) {
			key->ip_proto = next;
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

static int parse_l4(struct parse *p, struct odp_key *key)
{
	bool first = key->ip_frag == ODP_FRAG_FIRST;
	size_t min;

	switch (key->ip_proto) {
	case IPPROTO_TCP:
		min = 20;
		break;
	case IPPROTO_UDP:
		min = 8;
		break;
	case IPPROTO_SCTP:
		min = 12;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		min = 4;
		break;
	default:
		return 0;
	}
	const uint8_t *h = dpu_cur_take(&p->in, min);
	if (!h) {
		key->ip_frag = first ? ODP_FRAG_LATER : key->ip_frag;
		return first ? 0 : -EBADMSG;
	}
	if (key->ip_proto == IPPROTO_ICMP || key->ip_proto == IPPROTO_ICMPV6) {
		key->tp_src.b[1] = h[0];
		key->tp_dst.b[1] = h[1];
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

int odp_extract(const uint8_t *hdr, size_t n, size_t len, uint32_t in_port, enum odp_depth depth,
	struct odp_key *key)
{
	struct parse p = { .in = dpu_cur_init(hdr, n), .beyond = len - n };
	uint16_t type;
	int ret = 0;

	memset(key, 0, sizeof(*key));
	key->in_port = in_port;
	parse_eth(&p, key, &type);
	if (p.in.bad)
		return -EBADMSG;
	if (depth == ODP_DEPTH_L2)
		return 0;
	if (type == ETH_IPV4)
		ret = parse_ipv4(&p, key);
	else if (type == ETH_IPV6)
		ret = parse_ipv6(&p, key);
	else if (type == ETH_ARP)
		return parse_arp(&p, key);
	else
		return 0;
	// Layer 4 is looked at even at depth L3: it decides what ip_frag says of a tiny fragment.
	if (ret == 0 && key->ip_frag != ODP_FRAG_LATER)
		ret = parse_l4(&p, key);
	if (depth == ODP_DEPTH_L3) {
		memset(&key->tp_src, 0, sizeof(key->tp_src));
		memset(&key->tp_dst, 0, sizeof(key->tp_dst));
		memset(&key->tcp_flags, 0, sizeof(key->tcp_flags));
	}
	return ret;
}

int odp_extract_mbuf(
	const struct rte_mbuf *m, uint32_t in_port, enum odp_depth depth, struct odp_key *key)
{
	uint8_t copy[ODP_EXTRACT_MAX];
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)ODP_EXTRACT_MAX);
	const uint8_t *hdr = rte_pktmbuf_read(m, 0, n, copy);

	if (!hdr) {
		memset(key, 0, sizeof(*key));
		return -EBADMSG;
	}
	return odp_extract(hdr, n, m->pkt_len, in_port, depth, key);
}
