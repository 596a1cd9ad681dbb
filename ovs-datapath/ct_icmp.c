// SPDX-License-Identifier: Apache-2.0
/*
 * Keys from layer 4 headers, and the packet inside an ICMP error: which connection does it speak
 * of? RFC 792, RFC 4443; RFC 5508 section 4 for what a translator does with it.
 */
#include "ct_priv.h"

#include <netinet/in.h>

#define EXT_MAX 8u // extension headers of an embedded packet

/* Type of the answer to a query; 0xff: not a query. */
static uint8_t icmp_answer(uint8_t proto, uint8_t type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == 128 ? 129 : type == 129 ? 128 : 0xff;
	switch (type) {
	case 8:
		return 0;
	case 0:
		return 8;
	case 13: // timestamp
		return 14;
	case 14:
		return 13;
	case 15: // information
		return 16;
	case 16:
		return 15;
	default:
		return 0xff;
	}
}

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

bool odp_ct_key_fill(struct odp_ct_key *key, const uint8_t *l4, size_t len)
{
	key->sport = key->dport = dpu_be16_put(0);
	switch (key->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
		if (len < 4)
			return false;
		memcpy(&key->sport, l4, 2);
		memcpy(&key->dport, l4 + 2, 2);
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (len < 8)
			return false;
		memcpy(&key->dport, l4, 2);
		if (icmp_answer(key->proto, l4[0]) != 0xff)
			memcpy(&key->sport, l4 + 4, 2);
		return true;
	default:
		return true;
	}
}

void odp_ct_key_reverse(const struct odp_ct_key *key, struct odp_ct_key *out)
{
	struct odp_ct_key r = *key;

	memcpy(r.src, key->dst, 16);
	memcpy(r.dst, key->src, 16);
	if (is_icmp(key->proto)) {
		uint8_t type = icmp_answer(key->proto, key->dport.b[0]);

		if (type != 0xff)
			r.dport.b[0] = type;
	} else {
		r.sport = key->dport;
		r.dport = key->sport;
	}
	*out = r;
}

bool odp_ct_icmp_is_error(const struct odp_ct_key *key)
{
	uint8_t type = key->dport.b[0];

	if (key->proto == IPPROTO_ICMPV6)
		return type >= 1 && type <= 4;
	return key->proto == IPPROTO_ICMP &&
	       (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/* Length of the IP header at `ip` and the protocol behind it; 0: not one, or cut. */
static size_t inner_ip(const uint8_t *ip, size_t len, struct odp_ct_key *k)
{
	if (k->l3 == 4) {
		size_t hdr = len >= 20 ? (ip[0] & 0xfu) * 4u : 0;

		// A later fragment has no layer 4 header to go by.
		if (hdr < 20 || ip[0] >> 4 != 4 || hdr > len || (ip[6] & 0x1f) || ip[7])
			return 0;
		k->proto = ip[9];
		memcpy(k->src, ip + 12, 4);
		memcpy(k->dst, ip + 16, 4);
		return hdr;
	}
	if (len < 40 || ip[0] >> 4 != 6)
		return 0;
	size_t at = 40;
	uint8_t next = ip[6];

	memcpy(k->src, ip + 8, 16);
	memcpy(k->dst, ip + 24, 16);
	for (unsigned i = 0; i < EXT_MAX; i++) {
		size_t hdr;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
			next != IPPROTO_FRAGMENT) {
			k->proto = next;
			return at;
		}
		if (len - at < 8)
			return 0;
		hdr = next == IPPROTO_FRAGMENT ? 8 : (ip[at + 1] + 1u) * 8u;
		if (next == IPPROTO_FRAGMENT && (ip[at + 2] || ip[at + 3] & 0xf8))
			return 0;
		if (hdr > len - at)
			return 0;
		next = ip[at];
		at += hdr;
	}
	return 0;
}

bool odp_ct_icmp_inner(const struct odp_ct_pkt *p, struct odp_ct_key *inner, size_t *l4_off)
{
	if (p->l4_len < 8)
		return false;
	const uint8_t *ip = p->l4 + 8;
	size_t len = p->l4_len - 8u;

	memset(inner, 0, sizeof(*inner));
	inner->l3 = p->key.l3;
	inner->zone = p->key.zone;
	size_t hdr = inner_ip(ip, len, inner);

	// RFC 792: eight bytes of it at least. An error about an error does not exist.
	if (hdr == 0 || len - hdr < 8 || !odp_ct_key_fill(inner, ip + hdr, len - hdr) ||
		odp_ct_icmp_is_error(inner))
		return false;
	*l4_off = 8 + hdr;
	return true;
}
