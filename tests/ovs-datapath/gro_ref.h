/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of TCP as bytes, how a frame of several is cut into them again, and which of them a
 * frame could have been made of: what the datapath is measured by, with none of its code.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX 9100u // bytes of a segment
#define SIZE_MIN 496u // payload from which on a segment begins a frame
#define ACK 0x10u
#define PSH 0x08u

struct seg {
	uint8_t b[FRAME_MAX];
	uint32_t n; // bytes
	uint32_t l3, l4, hdr; // offsets
	bool v6, tcp;
};

struct spec {
	uint32_t seq, ack;
	uint16_t len; // payload bytes
	uint16_t id, win;
	uint8_t conn, flags, tos, ttl, tags, opts; // opts: bytes, 0 or 12
	uint8_t ts; // what the timestamp says
	bool v6, no_df;
};

static inline void be16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void be32(uint8_t *p, uint32_t v)
{
	be16(p, v >> 16);
	be16(p + 2, v);
}

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static inline uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint64_t add(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (uint64_t)p[i] << (i % 2 ? 0 : 8);
	return sum;
}

static inline uint64_t pseudo(const struct seg *s, uint32_t l4_len)
{
	return add(s->b + s->l3 + (s->v6 ? 8 : 12), s->v6 ? 32 : 8) + 6 + l4_len;
}

static inline uint16_t tcp_sum(const struct seg *s)
{
	return fold(pseudo(s, s->n - s->l4) + add(s->b + s->l4, s->n - s->l4));
}

/* Lengths and checksums as they should be. */
static inline void seg_fix(struct seg *s)
{
	uint8_t *ip = s->b + s->l3, *tcp = s->b + s->l4;

	if (s->v6) {
		be16(ip + 4, s->n - s->l4);
	} else {
		be16(ip + 2, s->n - s->l3);
		be16(ip + 10, 0);
		be16(ip + 10, (uint16_t)~fold(add(ip, 20)));
	}
	be16(tcp + 16, 0);
	be16(tcp + 16, (uint16_t)~tcp_sum(s));
}

static inline void seg_make(const struct spec *t, struct seg *s)
{
	uint8_t *p = s->b;

	memset(p, 0, sizeof(s->b));
	s->v6 = t->v6;
	s->tcp = true;
	s->l3 = 14 + 4u * t->tags;
	s->l4 = s->l3 + (t->v6 ? 40 : 20);
	s->hdr = s->l4 + 20 + t->opts;
	s->n = s->hdr + t->len;
	p[0] = p[6] = 2;
	p[5] = 2;
	p[11] = 1;
	for (unsigned i = 0; i < t->tags; i++) {
		be16(p + 12 + 4 * i, 0x8100);
		be16(p + 14 + 4 * i, 0x6005 + i);
	}
	be16(p + s->l3 - 2, t->v6 ? 0x86dd : 0x800);
	p += s->l3;
	if (t->v6) {
		be32(p, 0x60000000 | (uint32_t)t->tos << 20 | 0x54321);
		p[6] = 6;
		p[7] = t->ttl;
		p[8] = p[24] = 0x20;
		p[23] = 1;
		p[39] = 2;
	} else {
		p[0] = 0x45;
		p[1] = t->tos;
		be16(p + 4, t->id);
		be16(p + 6, t->no_df ? 0 : 0x4000);
		p[8] = t->ttl;
		p[9] = 6;
		be32(p + 12, 0x0a000001);
		be32(p + 16, 0x0a000002);
	}
	p = s->b + s->l4;
	be16(p, 80);
	be16(p + 2, 5000u + t->conn);
	be32(p + 4, t->seq);
	be32(p + 8, t->ack);
	p[12] = (uint8_t)((20 + t->opts) / 4 << 4);
	p[13] = t->flags;
	be16(p + 14, t->win);
	if (t->opts) {
		be32(p + 20, 0x0101080a);
		be32(p + 24, t->ts);
		be32(p + 28, 77);
	}
	for (uint32_t i = 0; i < t->len; i++)
		s->b[s->hdr + i] = (uint8_t)((t->seq + i) * 7 + ((t->seq + i) >> 8));
	seg_fix(s);
}

/* Where the headers of any frame are; false: nothing that we would call TCP. */
static inline bool seg_parse(struct seg *s)
{
	uint32_t type;

	s->l3 = 14;
	while (s->l3 < 22 && get16(s->b + s->l3 - 2) == 0x8100)
		s->l3 += 4;
	type = get16(s->b + s->l3 - 2);
	s->v6 = type == 0x86dd;
	s->l4 = s->l3 + (s->v6 ? 40 : 20);
	s->hdr = s->l4 + (uint32_t)(s->b[s->l4 + 12] >> 4) * 4;
	s->tcp = (s->v6 || type == 0x800) && s->b[s->l3 + (s->v6 ? 6 : 9)] == 6;
	return s->tcp;
}

/* TCP of which nobody knows the ports: a fragment, or headers in between. */
static inline bool seg_unclear(const struct seg *s)
{
	static const uint8_t between[] = { 0, 43, 44, 51, 60, 135 };
	const uint8_t *ip = s->b + s->l3;

	if (s->v6)
		return memchr(between, ip[6], sizeof(between)) || (s->tcp && ip[0] >> 4 != 6);
	return get16(s->b + s->l3 - 2) == 0x800 && ip[9] == 6 &&
	       (ip[0] != 0x45 || (get16(ip + 6) & 0xbfff));
}

/* The same addresses and ports, whatever the tags. */
static inline bool seg_same_conn(const struct seg *a, const struct seg *b)
{
	uint32_t off = a->v6 ? 8 : 12, len = a->l4 - a->l3 + 4 - off;

	return a->tcp && b->tcp && a->v6 == b->v6 &&
	       !memcmp(a->b + a->l3 + off, b->b + b->l3 + off, len);
}

/*
 * Segment k of a frame whose headers stand in `first`, whose payload is len bytes, `size` in each,
 * as a sender that segments itself would make it (VIRTIO 1.3, section 5.1.6.2; RFC 9293).
 */
static inline void seg_cut(const struct seg *first, const uint8_t *payload, uint32_t len,
	uint32_t size, uint32_t k, struct seg *s)
{
	uint32_t off = k * size, part = len - off < size ? len - off : size;
	uint8_t *tcp = s->b + first->l4;

	*s = (struct seg){ .l3 = first->l3, .l4 = first->l4, .hdr = first->hdr, .v6 = first->v6 };
	s->n = s->hdr + part;
	memcpy(s->b, first->b, s->hdr);
	memcpy(s->b + s->hdr, payload + off, part);
	be32(tcp + 4, get32(tcp + 4) + off);
	if (off + part < len)
		tcp[13] &= (uint8_t)~PSH;
	if (!s->v6)
		be16(s->b + s->l3 + 4, get16(s->b + s->l3 + 4) + k);
	seg_fix(s);
}

/*
 * Equal; or but for the id of what cannot be a fragment, where that is as the frame's first one's:
 * nobody looks at it (RFC 6864, section 4.1).
 */
static inline bool seg_eq(const struct seg *got, const struct seg *want, const struct seg *first)
{
	const uint8_t *ip = want->b + want->l3;
	struct seg copy;

	if (got->n != want->n || !memcmp(got->b, want->b, got->n))
		return got->n == want->n;
	if (!first || first->v6 || !(ip[6] & 0x40) || fold(add(ip, 20)) != 0xffff ||
		get16(ip + 4) != get16(first->b + first->l3 + 4))
		return false;
	copy = *want;
	memcpy(copy.b + want->l3 + 4, got->b + want->l3 + 4, 2);
	be16(copy.b + want->l3 + 10, 0);
	be16(copy.b + want->l3 + 10, (uint16_t)~fold(add(copy.b + want->l3, 20)));
	return !memcmp(copy.b, got->b, got->n);
}
