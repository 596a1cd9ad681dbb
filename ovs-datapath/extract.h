/* SPDX-License-Identifier: Apache-2.0 */
/* Headers to flow key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_mbuf.h>

#include "inet.h"
#include "key.h"

/* Headers are looked for in this many bytes; what needs more is malformed (RFC 7112). */
#define ODP_EXTRACT_MAX 256

/* Words that come from the packet, those that layers 3 and 4 fill, and those of the two groups. */
#define ODP_WANT_ALL ((1ull << ODP_KEY_META_WORD) - 1)
#define ODP_WANT_L2 ((1ull << ODP_KEY_L2_WORDS) - 1)
#define ODP_WANT_L3L4 (((1ull << ODP_KEY_VLAN_WORD) - 1) & ~ODP_WANT_L2)
#define ODP_WANT_ND (((1ull << ODP_KEY_VLAN_WORD) - 1) & ~((1ull << ODP_KEY_ND_WORD) - 1))
#define ODP_WANT_MPLS (3ull << ODP_KEY_MPLS_WORD)

/* packet_type of a packet without an Ethernet header: namespace 1, as OVS has it. */
#define ODP_PACKET_TYPE(eth_type) (1u << 16 | (eth_type))

/*
 * Fill the packet words of a key, 0 to 15, from a frame.
 *
 *   hdr          the first `n` bytes of the frame, contiguous: all of it, or ODP_EXTRACT_MAX
 *   len          length of the frame, >= n
 *   packet_type  0: it starts with an Ethernet header; ODP_PACKET_TYPE(): with that protocol's
 *   want         bitmap of the key's words; packet words outside are zero, and no layer is looked
 *                at for their sake
 *   key          recirc_id is set to zero; the metadata words are left alone
 *
 * Returns 0, or -EBADMSG: a header that is looked at is cut short or contradicts itself.
 *
 * Two VLAN tags are taken off; a third one is the frame's eth_type. Of an MPLS label stack three
 * entries are read, and nothing behind it. Layer 4 is bounded by the IP header's length, not by the
 * frame's, so that padding is never taken for ports. A later fragment of IPv6 has the protocol 44,
 * as OVS has it. A first IPv4 fragment too short for its ports counts as a later one: no port rule
 * matches it (RFC 3128); of IPv6 it is malformed (RFC 7112). An atomic IPv6 fragment is no fragment
 * (RFC 6946). Neighbour discovery with options that do not add up, that say an address twice or
 * that reach beyond ODP_EXTRACT_MAX is malformed, when its words are wanted. Pure; any thread.
 */
int odp_extract(const uint8_t *hdr, size_t n, size_t len, uint32_t in_port, uint32_t packet_type,
	uint64_t want, struct odp_key *key);

/* The same from an mbuf, whose headers may be spread over segments. */
int odp_extract_mbuf(const struct rte_mbuf *m, uint32_t in_port, uint32_t packet_type,
	uint64_t want, struct odp_key *key);

static inline bool odp_is_tpid(const uint8_t *p)
{
	return (p[0] == 0x81 && p[1] == 0x00) || (p[0] == 0x88 && p[1] == 0xa8);
}

/*
 * The leading bytes of a frame that make its layer 2 key, when they are one Ethernet header, 14, or
 * one with a tag or two, 18 and 22. 0: a header that is cut short, or an IEEE 802.3 frame, where
 * more decide.
 */
static inline unsigned odp_eth_hdr_len(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned len = 14;

	if (m->data_len < len)
		return 0;
	if (odp_is_tpid(p + 12)) {
		len = 18;
		if (m->data_len >= len && odp_is_tpid(p + 16))
			len = 22;
	}
	return m->data_len >= len && p[len - 2] >= ODP_ETH_TYPE_MIN >> 8 ? len : 0;
}

/* odp_extract_mbuf() of layer 2 for a frame whose odp_eth_hdr_len() is 14: nearly all of them. */
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

/* Words 3 and 8 of an untagged frame's IPv4 packet without options, and the latter's bytes. */
static inline uint64_t odp_word_ipv4(const uint8_t *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return p[23] | (uint64_t)p[15] << 8 | (uint64_t)p[22] << 16;
#else
	return (uint64_t)p[23] << 56 | (uint64_t)p[15] << 48 | (uint64_t)p[22] << 40;
#endif
}

static inline uint64_t odp_word_l4(const uint8_t *p, bool tcp)
{
	uint32_t ports;

	memcpy(&ports, p + 34, 4);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint64_t flags = (p[46] & 15u) | (uint64_t)p[47] << 8;

	return ports | (tcp ? flags << 32 : 0);
#else
	uint64_t flags = (p[46] & 15u) << 8 | p[47];

	return (uint64_t)ports << 32 | (tcp ? flags << 16 : 0);
#endif
}

/*
 * odp_extract_mbuf(), masked by `any`, for an untagged frame with an IPv4 header of 20 bytes and
 * TCP or UDP that is no fragment, all of it in the first segment. False: it is another one, or no
 * good; the key is as it was.
 *
 *   want, any   words and bits that are wanted; a word outside `want` has no bit
 *   k           words outside `want` are zero, and stay so
 */
static inline bool odp_extract_fast(const struct rte_mbuf *m, uint32_t in_port, uint64_t want,
	const struct odp_kw *any, struct odp_kw *k)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t total = odp_ipv4_plain(p, m->data_len, m->pkt_len);

	if (!total || m->data_len < 54)
		return false;
	bool tcp = p[23] == 6;

	if (tcp ? total < 40 : p[23] != 17)
		return false;
	odp_extract_untagged(m, in_port, k);
	k->w[0] &= any->w[0];
	k->w[1] &= any->w[1];
	k->w[2] &= any->w[2];
	k->w[3] = odp_word_ipv4(p) & any->w[3];
	memcpy(&k->w[4], p + 26, 8);
	k->w[4] &= any->w[4];
	memset(&k->w[5], 0, 3 * 8);
	k->w[ODP_KEY_L4_WORD] = odp_word_l4(p, tcp) & any->w[ODP_KEY_L4_WORD];
	if (unlikely(want & ODP_WANT_ALL & ~0ull << ODP_KEY_ND_WORD))
		memset(&k->w[ODP_KEY_ND_WORD], 0, (ODP_KEY_META_WORD - ODP_KEY_ND_WORD) * 8);
	return true;
}
