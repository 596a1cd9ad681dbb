/* SPDX-License-Identifier: Apache-2.0 */
/* Fields and checksums of Internet headers, where they lie in bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ODP_ETH_LEN 14u
#define ODP_ETH_IPV4 0x0800u
#define ODP_ETH_ARP 0x0806u
#define ODP_ETH_VLAN 0x8100u
#define ODP_ETH_QINQ 0x88a8u
#define ODP_ETH_IPV6 0x86ddu
#define ODP_IPV4_LEN 20u
#define ODP_IPV6_LEN 40u
#define ODP_UDP_LEN 8u

static inline uint16_t odp_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t odp_get32(const uint8_t *p)
{
	return (uint32_t)odp_get16(p) << 16 | odp_get16(p + 2);
}

static inline void odp_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void odp_put32(uint8_t *p, uint32_t v)
{
	odp_put16(p, v >> 16);
	odp_put16(p + 2, v);
}

/* One's complement sum, of 16-bit words in network order; not folded. n < 64 KiB. */
static inline uint32_t odp_sum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (; n > 1; p += 2, n -= 2)
		sum += odp_get16(p);
	return n ? sum + ((uint32_t)p[0] << 8) : sum;
}

static inline uint16_t odp_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* A 16-bit word under the checksum at `csum` changed. Spec: RFC 1624, section 3. */
static inline void odp_csum_adjust(uint8_t *csum, uint16_t was, uint16_t is)
{
	uint32_t sum = (uint16_t)~odp_get16(csum) + (uint32_t)(uint16_t)~was + is;

	odp_put16(csum, (uint16_t)~odp_fold(sum));
}

/*
 * Where an Ethernet frame's network header is: its offset and Ethertype, behind up to two tags.
 * False: cut short within the n bytes at `frame`.
 */
static inline bool odp_eth_l3(const uint8_t *frame, size_t n, size_t *off, uint16_t *type)
{
	size_t at = 12;

	for (unsigned tags = 0; tags < 3; tags++) {
		if (n < at + 2)
			return false;
		*type = odp_get16(frame + at);
		*off = at + 2;
		if (tags == 2 || (*type != ODP_ETH_VLAN && *type != ODP_ETH_QINQ))
			break;
		at += 4;
	}
	return true;
}

/*
 * What most packets are: an untagged frame of `len` bytes, n of them at `frame`, with IPv4 without
 * options that is no fragment, no longer than the frame, and with 8 bytes or more behind its
 * header. Returns its total length; 0: another one.
 */
static inline uint32_t odp_ipv4_plain(const uint8_t *frame, uint32_t n, uint32_t len)
{
	static const uint8_t plain[3] = { 0x08, 0x00, 0x45 };
	uint32_t total;

	if (n < ODP_ETH_LEN + ODP_IPV4_LEN + 8 || memcmp(frame + 12, plain, sizeof(plain)) != 0)
		return 0;
	total = odp_get16(frame + 16);
	if (((frame[20] & 0x3f) | frame[21]) != 0 || total < ODP_IPV4_LEN + 8 ||
		total > len - ODP_ETH_LEN)
		return 0;
	return total;
}
