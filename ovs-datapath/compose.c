// SPDX-License-Identifier: Apache-2.0
/* A frame for a flow key: what extract.c reads, written. */
#include "odp_flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "extract.h"

/* A frame that grows; the buffer is longer than the longest there is. */
struct frame {
	uint8_t *b;
	size_t len;
};

static uint8_t *add(struct frame *f, size_t n)
{
	uint8_t *at = f->b + f->len;

	memset(at, 0, n);
	f->len += n;
	return at;
}

static void add_be16(struct frame *f, uint16_t v)
{
	dpu_be16 w = dpu_be16_put(v);

	memcpy(add(f, 2), &w, 2);
}

static void add_tag(struct frame *f, dpu_be16 tci, dpu_be16 tpid)
{
	add_be16(f, dpu_be16_get(tpid) ? dpu_be16_get(tpid) : 0x8100);
	add_be16(f, dpu_be16_get(tci) & (uint16_t)~ODP_VLAN_PRESENT);
}

static int add_eth(struct frame *f, const struct odp_key *key)
{
	bool outer = dpu_be16_get(key->vlan_tci) & ODP_VLAN_PRESENT;
	bool inner = dpu_be16_get(key->cvlan_tci) & ODP_VLAN_PRESENT;

	if (inner && !outer)
		return -EINVAL;
	memcpy(add(f, 6), key->eth_dst, 6);
	memcpy(add(f, 6), key->eth_src, 6);
	if (outer)
		add_tag(f, key->vlan_tci, key->vlan_tpid);
	if (inner)
		add_tag(f, key->cvlan_tci, key->cvlan_tpid);
	// A frame without a type has its length there.
	add_be16(f, dpu_be16_get(key->eth_type) == ODP_ETH_TYPE_NONE ? 46
								     : dpu_be16_get(key->eth_type));
	return 0;
}

static void add_nd(struct frame *f, const struct odp_key *key)
{
	static const uint8_t none[6];
	const uint8_t *address[2] = { key->nd.sll, key->nd.tll };

	memcpy(add(f, 16), key->nd.target, 16);
	for (uint8_t i = 0; i < 2; i++) {
		if (!memcmp(address[i], none, 6))
			continue;
		uint8_t *opt = add(f, 8);

		opt[0] = (uint8_t)(i + 1);
		opt[1] = 1;
		memcpy(opt + 2, address[i], 6);
	}
}

static void add_l4(struct frame *f, const struct odp_key *key, bool v6)
{
	uint8_t *h;

	if (key->ip_frag == ODP_FRAG_LATER)
		return;
	switch (key->ip_proto) {
	case IPPROTO_TCP:
		h = add(f, 20);
		h[12] = (uint8_t)(0x50 | (key->tcp_flags.b[0] & 15));
		h[13] = key->tcp_flags.b[1];
		break;
	case IPPROTO_UDP:
		h = add(f, 8);
		h[5] = 8;
		break;
	case IPPROTO_SCTP:
		h = add(f, 12);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		h = add(f, 8);
		h[0] = key->tp_src.b[1];
		h[1] = key->tp_dst.b[1];
		if (v6 && key->ip_proto == IPPROTO_ICMPV6 && h[1] == 0 &&
			(h[0] == 135 || h[0] == 136))
			add_nd(f, key);
		return;
	default:
		return;
	}
	memcpy(h, &key->tp_src, 2);
	memcpy(h + 2, &key->tp_dst, 2);
}

static void put_len(uint8_t *at, size_t len)
{
	at[0] = (uint8_t)(len >> 8);
	at[1] = (uint8_t)len;
}

static void add_ipv4(struct frame *f, const struct odp_key *key)
{
	size_t start = f->len;
	uint8_t *h = add(f, 20);

	h[0] = 0x45;
	h[1] = key->ip_tos;
	h[6] = key->ip_frag == ODP_FRAG_FIRST ? 0x20 : 0;
	h[7] = key->ip_frag == ODP_FRAG_LATER ? 1 : 0;
	h[8] = key->ip_ttl;
	h[9] = key->ip_proto;
	memcpy(h + 12, &key->ipv4, 8);
	add_l4(f, key, false);
	put_len(h + 2, f->len - start);
}

static int add_ipv6(struct frame *f, const struct odp_key *key)
{
	uint32_t label = dpu_be32_get(key->ipv6_label);
	bool frag = key->ip_frag != ODP_FRAG_NONE, later = key->ip_frag == ODP_FRAG_LATER;
	uint8_t *h = add(f, 40), *fh;

	if (later != (key->ip_proto == IPPROTO_FRAGMENT))
		return -EINVAL;
	h[0] = (uint8_t)(0x60 | key->ip_tos >> 4);
	h[1] = (uint8_t)(key->ip_tos << 4 | (label >> 16 & 15));
	put_len(h + 2, label & 0xffff);
	h[6] = frag ? IPPROTO_FRAGMENT : key->ip_proto;
	h[7] = key->ip_ttl;
	memcpy(h + 8, &key->ipv6, 32);
	size_t start = f->len;

	if (frag) {
		fh = add(f, 8);
		fh[0] = later ? IPPROTO_NONE : key->ip_proto;
		fh[3] = later ? 8 : 1;
	}
	add_l4(f, key, true);
	put_len(h + 4, f->len - start);
	return 0;
}

static void add_arp(struct frame *f, const struct odp_key *key)
{
	static const uint8_t ether_ip[6] = { 0, 1, 8, 0, 6, 4 };
	uint8_t *h = add(f, 28);

	memcpy(h, ether_ip, sizeof(ether_ip));
	h[7] = key->ip_proto;
	memcpy(h + 8, key->arp.sha, 6);
	memcpy(h + 14, &key->arp.spa, 4);
	memcpy(h + 18, key->arp.tha, 6);
	memcpy(h + 24, &key->arp.tpa, 4);
}

/* As many entries as are not zero; the last of them says so only if the key does. */
static void add_mpls(struct frame *f, const struct odp_key *key)
{
	for (unsigned i = 0; i < 3; i++) {
		memcpy(add(f, 4), &key->mpls_lse[i], 4);
		if (key->mpls_lse[i].b[2] & 1)
			break;
	}
}

int odp_compose(const struct odp_key *key, uint8_t out[256])
{
	struct frame f = { .b = out };
	struct odp_key back = { 0 };
	uint32_t packet_type = dpu_be32_get(key->packet_type);
	int ret = packet_type ? 0 : add_eth(&f, key);

	if (ret < 0)
		return ret;
	switch (packet_type ? packet_type & 0xffff : dpu_be16_get(key->eth_type)) {
	case 0x0800:
		add_ipv4(&f, key);
		break;
	case 0x86dd:
		ret = add_ipv6(&f, key);
		break;
	case 0x0806:
	case 0x8035:
		add_arp(&f, key);
		break;
	case 0x8847:
	case 0x8848:
		add_mpls(&f, key);
		break;
	default:
		break;
	}
	if (packet_type == 0 && f.len < 60)
		add(&f, 60 - f.len);
	if (ret == 0)
		ret = odp_extract(out, f.len, f.len, 0, packet_type, ODP_WANT_ALL, &back);
	return ret < 0 ? -EINVAL : (int)f.len;
}
