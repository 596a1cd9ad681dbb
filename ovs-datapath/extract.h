/* SPDX-License-Identifier: Apache-2.0 */
/* Headers to flow key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "key.h"

/* Headers are looked for in this many bytes; what needs more is malformed (RFC 7112). */
#define ODP_EXTRACT_MAX 256

/*
 * Fill a key from a frame.
 *
 *   hdr     the first `n` bytes of the frame, contiguous: all of it, or ODP_EXTRACT_MAX
 *   len     length of the frame, >= n
 *   depth   layers to look at; the fields of deeper ones are zero
 *   key     written completely
 *
 * Returns 0, or -EBADMSG: a header that `depth` covers is cut short or contradicts itself.
 *
 * One VLAN tag is taken off; a second one is the frame's eth_type. Layer 4 is bounded by the IP
 * header's length, not by the frame's, so that padding is never taken for ports. A first fragment
 * too short for its ports counts as a later one: no port rule matches it (RFC 3128). An atomic IPv6
 * fragment is no fragment (RFC 6946). Pure; any thread.
 */
int odp_extract(const uint8_t *hdr, size_t n, size_t len, uint32_t in_port, enum odp_depth depth,
	struct odp_key *key);

/* The same from an mbuf, whose headers may be spread over segments. */
int odp_extract_mbuf(
	const struct rte_mbuf *m, uint32_t in_port, enum odp_depth depth, struct odp_key *key);

/*
 * The leading bytes of a frame that make its layer 2 key, when they are one Ethernet header, 14, or
 * one with a tag, 18. 0: a header that is cut short, or an IEEE 802.3 frame, where more decide.
 */
static inline unsigned odp_eth_hdr_len(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned len = 14;

	if (m->data_len < len)
		return 0;
	if ((p[12] == 0x81 && p[13] == 0x00) || (p[12] == 0x88 && p[13] == 0xa8))
		len = 18;
	return m->data_len >= len && p[len - 2] >= ODP_ETH_TYPE_MIN >> 8 ? len : 0;
}

/* odp_extract_mbuf() at depth L2 for a frame whose odp_eth_hdr_len() is 14: nearly all of them. */
static inline void odp_extract_untagged(
	const struct rte_mbuf *m, uint32_t in_port, struct odp_kw *k)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint64_t mid; // the source address and the type

	memcpy(&k->w[1], p, 8);
	memcpy(&mid, p + 6, 8);
	// In registers: a load from bytes that were just stored piece by piece would have to wait.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	k->w[0] = in_port;
	k->w[2] = (mid >> 16 & 0xffffffff) | (mid & 0xffff000000000000);
#else
	k->w[0] = (uint64_t)in_port << 32;
	k->w[2] = (mid << 16 & 0xffffffff00000000) | (mid & 0xffff);
#endif
}
