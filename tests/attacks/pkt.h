/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the attacker, header by header; what does not fit the buffer is the caller's fault. */
#pragma once

#include <stdint.h>
#include <string.h>

#define PKT_MAX 2048

struct pkt {
	uint32_t len;
	uint8_t f[PKT_MAX];
};

static inline void pkt_put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline void pkt_put32(uint8_t *at, uint32_t v)
{
	pkt_put16(at, v >> 16);
	pkt_put16(at + 2, v & 0xffff);
}

/* Zeros at the end. */
static inline uint8_t *pkt_add(struct pkt *k, uint32_t n)
{
	uint8_t *at = k->f + k->len;

	memset(at, 0, n);
	k->len += n;
	return at;
}

static inline void pkt_bytes(struct pkt *k, const void *bytes, uint32_t n)
{
	memcpy(pkt_add(k, n), bytes, n);
}

static inline void pkt_eth(struct pkt *k, const uint8_t dst[6], const uint8_t src[6], unsigned type)
{
	k->len = 0;
	pkt_bytes(k, dst, 6);
	pkt_bytes(k, src, 6);
	pkt_put16(pkt_add(k, 2), type);
}

static inline uint32_t pkt_sum(uint32_t sum, const uint8_t *at, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static inline unsigned pkt_fold(uint32_t sum)
{
	sum = (sum >> 16) + (sum & 0xffff);
	sum += sum >> 16;
	return ~sum & 0xffff;
}

/* An IPv4 header of 20 bytes whose payload will be `len` bytes; frag: flags and offset. */
static inline uint8_t *pkt_ip4(
	struct pkt *k, uint32_t src, uint32_t dst, unsigned proto, unsigned len, unsigned frag)
{
	uint8_t *h = pkt_add(k, 20);

	h[0] = 0x45;
	pkt_put16(h + 2, 20 + len);
	pkt_put16(h + 6, frag);
	h[8] = 64;
	h[9] = (uint8_t)proto;
	pkt_put32(h + 12, src);
	pkt_put32(h + 16, dst);
	pkt_put16(h + 10, pkt_fold(pkt_sum(0, h, 20)));
	return h;
}

/* IPv6 from and to link-local addresses that end so. */
static inline uint8_t *pkt_ip6(
	struct pkt *k, unsigned src, unsigned dst, unsigned next, unsigned len)
{
	uint8_t *h = pkt_add(k, 40);

	h[0] = 0x60;
	pkt_put16(h + 4, len);
	h[6] = (uint8_t)next;
	h[7] = 255;
	h[8] = h[24] = 0xfe;
	h[9] = h[25] = 0x80;
	pkt_put16(h + 22, src);
	pkt_put16(h + 38, dst);
	return h;
}

/* The checksum at `at` over a pseudo header of IPv4 and the rest of the frame from `l4` on. */
static inline void pkt_l4_sum(struct pkt *k, const uint8_t *ip, uint8_t *l4, uint8_t *at)
{
	uint32_t n = (uint32_t)(k->f + k->len - l4);
	uint32_t sum = pkt_sum(ip[9] + n, ip + 12, 8);

	pkt_put16(at, 0);
	pkt_put16(at, pkt_fold(pkt_sum(sum, l4, n)));
}

static inline void pkt_udp(struct pkt *k, unsigned sport, unsigned dport, unsigned len)
{
	uint8_t *h = pkt_add(k, 8 + len);

	pkt_put16(h, sport);
	pkt_put16(h + 2, dport);
	pkt_put16(h + 4, 8 + len);
}
