/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as an attacker makes them: every kind of header that the switch reads, over few addresses
 * so that they meet flows, now and then with a length that lies, a cut, or a bit that is wrong.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HOSTILE_MAX 512

/* xorshift: the same frames from the same start. */
struct hostile {
	uint64_t state;
	size_t len;
	uint8_t f[HOSTILE_MAX];
};

static inline uint32_t hostile_rand(struct hostile *h)
{
	h->state ^= h->state << 13;
	h->state ^= h->state >> 7;
	h->state ^= h->state << 17;
	return (uint32_t)(h->state >> 32);
}

/* 0 to n - 1 */
static inline uint32_t hostile_below(struct hostile *h, uint32_t n)
{
	return (uint32_t)((uint64_t)hostile_rand(h) * n >> 32);
}

/* Bytes of any value. */
static inline uint8_t *hostile_add(struct hostile *h, size_t n)
{
	uint8_t *at = h->f + h->len;

	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)hostile_rand(h);
	h->len += n;
	return at;
}

static inline void hostile_put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline void hostile_mac(struct hostile *h)
{
	static const uint8_t special[4][6] = { { 1, 0x80, 0xc2, 0, 0, 0 }, { 1, 0, 0x5e, 0, 0, 1 },
		{ 255, 255, 255, 255, 255, 255 }, { 0 } };
	uint8_t *at = hostile_add(h, 6);

	if (hostile_below(h, 16) == 0) {
		memcpy(at, special[hostile_below(h, 4)], 6);
		at[5] |= (uint8_t)hostile_below(h, 32);
		return;
	}
	memset(at, 0, 6);
	at[0] = 2;
	at[5] = (uint8_t)hostile_below(h, 5);
}

/* A header of layer 4 that fits what comes before it, and some payload. */
static inline void hostile_l4(struct hostile *h, uint8_t proto)
{
	uint8_t *at = hostile_add(h, proto == 6 ? 20 : 12);

	if (proto == 1 || proto == 58) {
		static const uint8_t types[] = { 0, 8, 3, 11, 128, 129, 135, 136, 135, 136 };

		at[0] = types[hostile_below(h, sizeof(types))];
		at[1] = hostile_below(h, 4) ? 0 : (uint8_t)hostile_rand(h);
		if (at[0] < 135)
			return;
		hostile_add(h, 12)[0] = 0xfe; // 4 + 20 bytes
		for (unsigned n = hostile_below(h, 4); n; n--) {
			uint8_t *opt = hostile_add(h, 8);

			opt[0] = (uint8_t)hostile_below(h, 4);
			opt[1] = hostile_below(h, 8) ? 1 : (uint8_t)hostile_below(h, 4);
		}
		return;
	}
	hostile_put16(at, hostile_below(h, 3));
	hostile_put16(at + 2, hostile_below(h, 3));
	hostile_add(h, hostile_below(h, 40));
}

static inline uint8_t hostile_proto(struct hostile *h)
{
	static const uint8_t protos[] = { 6, 6, 17, 17, 132, 1, 58, 58, 47, 0, 4, 41, 50, 51 };

	return protos[hostile_below(h, sizeof(protos))];
}

static inline void hostile_ip4(struct hostile *h)
{
	static const uint16_t frags[] = { 0x2000, 0x0001, 0x2001, 0x1fff, 0x3fff, 0xe000 };
	size_t start = h->len, opts = hostile_below(h, 4) ? 0 : hostile_below(h, 11);
	uint8_t proto = hostile_proto(h), *ip = hostile_add(h, 20 + 4 * opts);

	ip[0] = (uint8_t)(0x45 + opts);
	ip[1] &= 3;
	hostile_put16(ip + 6, 0x4000);
	if (hostile_below(h, 6) == 0)
		hostile_put16(ip + 6, frags[hostile_below(h, sizeof(frags) / 2)]);
	ip[8] &= 0x41;
	ip[9] = proto;
	for (unsigned i = 12; i < 20; i++)
		ip[i] = i % 4 == 0 ? 10 : i % 4 == 3 ? (uint8_t)hostile_below(h, 4) : 0;
	hostile_l4(h, proto);
	hostile_put16(ip + 2, (unsigned)(h->len - start));
	if (hostile_below(h, 16) == 0)
		hostile_put16(ip + 2, (unsigned)(h->len - start) + hostile_below(h, 64) - 32);
	if (hostile_below(h, 32) == 0)
		ip[0] = (uint8_t)hostile_rand(h);
}

static inline void hostile_ip6(struct hostile *h)
{
	static const uint8_t exts[] = { 0, 43, 44, 44, 60, 51, 135 };
	size_t start = h->len;
	uint8_t *ip = hostile_add(h, 40), *next = ip + 6;
	unsigned n = hostile_below(h, 2) ? 0 : hostile_below(h, 10);

	ip[0] = (uint8_t)(0x60 | (ip[0] & 3));
	ip[1] &= 0x81;
	ip[2] = 0;
	ip[7] &= 0x41;
	for (unsigned i = 8; i < 40; i++)
		ip[i] = i % 16 == 8 ? 0xfe : i % 16 == 7 ? (uint8_t)hostile_below(h, 4) : 0;
	for (unsigned i = 0; i < n; i++) {
		uint8_t type = exts[hostile_below(h, sizeof(exts))];

		if (type == 0 && i > 0 && hostile_below(h, 8))
			type = 60;
		*next = type;
		next = hostile_add(h, type == 51 ? 16 : 8);
		next[1] = type == 51 ? 2 : 0;
		if (type == 44)
			hostile_put16(next + 2, hostile_below(h, 2) ? 0 : hostile_below(h, 16));
		if (hostile_below(h, 16) == 0)
			next[1] = (uint8_t)hostile_below(h, 8);
	}
	*next = hostile_below(h, 16) ? hostile_proto(h) : (uint8_t)hostile_rand(h);
	hostile_l4(h, *next);
	hostile_put16(ip + 4, (unsigned)(h->len - start - 40));
	if (hostile_below(h, 16) == 0)
		hostile_put16(ip + 4, (unsigned)(h->len - start - 40) + hostile_below(h, 64) - 32);
	if (hostile_below(h, 64) == 0)
		ip[0] = (uint8_t)hostile_rand(h);
}

static inline void hostile_arp(struct hostile *h)
{
	static const uint8_t head[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	uint8_t *at = hostile_add(h, 28);

	memcpy(at, head, sizeof(head));
	at[7] = (uint8_t)(1 + hostile_below(h, 4));
	for (unsigned i = 8; i < 28; i++)
		at[i] &= 1;
	if (hostile_below(h, 8) == 0)
		at[hostile_below(h, 8)] ^= (uint8_t)(1u << hostile_below(h, 8));
}

static inline void hostile_mpls(struct hostile *h)
{
	unsigned n = 1 + hostile_below(h, 5);

	for (unsigned i = 1; i <= n; i++) {
		uint8_t *lse = hostile_add(h, 4);

		lse[0] = 0;
		lse[1] &= 3;
		lse[2] = (uint8_t)((lse[2] & 0x10) | (i == n && hostile_below(h, 8)));
		lse[3] &= 3;
	}
	hostile_add(h, hostile_below(h, 40));
}

/* Another frame in h->f, of h->len bytes. */
static inline void hostile_next(struct hostile *h)
{
	static const uint16_t types[] = { 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x86dd, 0x0806,
		0x8035, 0x8847, 0x8848, 0x88b5, 0x0040 };
	unsigned tags = hostile_below(h, 3) ? 0 : hostile_below(h, 4);
	uint16_t type = types[hostile_below(h, sizeof(types) / 2)];

	h->len = 0;
	hostile_mac(h);
	hostile_mac(h);
	for (unsigned i = 0; i < tags; i++) {
		uint8_t *tag = hostile_add(h, 4);

		hostile_put16(tag, hostile_below(h, 2) ? 0x8100 : 0x88a8);
		hostile_put16(tag + 2, (hostile_below(h, 8) << 13) | hostile_below(h, 3));
	}
	hostile_put16(hostile_add(h, 2), type);
	if (type == 0x40 && hostile_below(h, 2)) { // SNAP
		static const uint8_t snap[8] = { 0xaa, 0xaa, 3, 0, 0, 0, 8, 0 };

		memcpy(hostile_add(h, 8), snap, 8);
		type = 0x0800;
	}
	switch (type) {
	case 0x0800:
		hostile_ip4(h);
		break;
	case 0x86dd:
		hostile_ip6(h);
		break;
	case 0x0806:
	case 0x8035:
		hostile_arp(h);
		break;
	case 0x8847:
	case 0x8848:
		hostile_mpls(h);
		break;
	default:
		hostile_add(h, hostile_below(h, 60));
		break;
	}
	if (hostile_below(h, 4) == 0)
		hostile_add(h, hostile_below(h, 40)); // padding
	if (hostile_below(h, 12) == 0)
		h->len = 1 + hostile_below(h, (uint32_t)h->len);
	if (hostile_below(h, 12) == 0)
		h->f[hostile_below(h, (uint32_t)h->len)] ^= (uint8_t)(1u << hostile_below(h, 8));
}
