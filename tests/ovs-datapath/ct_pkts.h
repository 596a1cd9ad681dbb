/* SPDX-License-Identifier: Apache-2.0 */
/* Packets for connection tracking, a table, and the steps that tests take with both. */
#pragma once

#include <string.h>

#include "odp_ct.h"

#define FL_FIN 0x01
#define FL_SYN 0x02
#define FL_RST 0x04
#define FL_PSH 0x08
#define FL_ACK 0x10

/* A packet with the bytes that it points to. */
struct ct_p {
	struct odp_ct_pkt p;
	uint8_t l4[128];
};

static inline struct odp_ct *ct_table(uint32_t max, unsigned n_workers)
{
	struct odp_ct_conf conf = {
		.max_conns = max, .n_workers = n_workers, .seed = { 0x1234567, 0x89abcdef01234567 }
	};
	struct odp_ct *ct = NULL;

	if (odp_ct_create(&conf, &ct) == 0)
		for (unsigned i = 0; i < n_workers; i++)
			odp_ct_online(ct, i);
	return ct;
}

static inline void ct_put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline void ct_put32(uint8_t *at, uint32_t v)
{
	ct_put16(at, v >> 16);
	ct_put16(at + 2, v & 0xffff);
}

/* Addresses as 10.0.x.y from the low 16 bits. */
static inline void ct_addr(uint8_t a[16], unsigned v)
{
	memset(a, 0, 16);
	a[0] = 10;
	a[2] = (uint8_t)(v >> 8);
	a[3] = (uint8_t)v;
}

static inline void ct_ip(struct ct_p *b, unsigned src, unsigned dst, uint8_t proto, unsigned zone)
{
	memset(b, 0, sizeof(*b));
	ct_addr(b->p.key.src, src);
	ct_addr(b->p.key.dst, dst);
	b->p.key.l3 = 4;
	b->p.key.proto = proto;
	b->p.key.zone = (uint16_t)zone;
	b->p.l4 = b->l4;
	b->p.bytes = 100;
}

static inline void ct_l4(struct ct_p *b, unsigned len, unsigned total)
{
	b->p.l4_len = (uint16_t)len;
	b->p.l4_total = total;
	(void)odp_ct_key_fill(&b->p.key, b->l4, len);
}

static inline struct odp_ct_pkt *ct_udp(
	struct ct_p *b, unsigned src, unsigned sport, unsigned dst, unsigned dport, unsigned zone)
{
	ct_ip(b, src, dst, 17, zone);
	ct_put16(b->l4, sport);
	ct_put16(b->l4 + 2, dport);
	ct_put16(b->l4 + 4, 18);
	ct_l4(b, 8, 18);
	return &b->p;
}

struct ct_seg {
	unsigned src, sport, dst, dport;
	unsigned flags;
	uint32_t seq, ack;
	unsigned len, win;
	int scale; // -1: no option
};

static inline struct odp_ct_pkt *ct_tcp(struct ct_p *b, const struct ct_seg *s, unsigned zone)
{
	unsigned hdr = 20;

	ct_ip(b, s->src, s->dst, 6, zone);
	ct_put16(b->l4, s->sport);
	ct_put16(b->l4 + 2, s->dport);
	ct_put32(b->l4 + 4, s->seq);
	ct_put32(b->l4 + 8, s->ack);
	b->l4[13] = (uint8_t)s->flags;
	ct_put16(b->l4 + 14, s->win);
	if (s->flags & FL_SYN && s->scale >= 0) {
		b->l4[20] = 1;
		b->l4[21] = 3;
		b->l4[22] = 3;
		b->l4[23] = (uint8_t)s->scale;
		hdr = 24;
	}
	b->l4[12] = (uint8_t)(hdr / 4 << 4);
	ct_l4(b, hdr, hdr + s->len);
	return &b->p;
}

static inline struct odp_ct_pkt *ct_icmp(struct ct_p *b, unsigned src, unsigned dst, unsigned type,
	unsigned code, unsigned id, unsigned zone)
{
	ct_ip(b, src, dst, 1, zone);
	b->l4[0] = (uint8_t)type;
	b->l4[1] = (uint8_t)code;
	ct_put16(b->l4 + 4, id);
	ct_l4(b, 16, 16);
	return &b->p;
}

/* An error about `about`: the first eight bytes of its layer 4 behind an IPv4 header. */
static inline struct odp_ct_pkt *ct_icmp_error(struct ct_p *b, unsigned src, unsigned dst,
	unsigned type, unsigned code, const struct ct_p *about)
{
	ct_ip(b, src, dst, 1, about->p.key.zone);
	b->l4[0] = (uint8_t)type;
	b->l4[1] = (uint8_t)code;
	uint8_t *ip = b->l4 + 8;

	ip[0] = 0x45;
	ct_put16(ip + 2, 20 + about->p.l4_total);
	ip[8] = 63;
	ip[9] = about->p.key.proto;
	memcpy(ip + 12, about->p.key.src, 4);
	memcpy(ip + 16, about->p.key.dst, 4);
	memcpy(ip + 20, about->l4, 8);
	ct_l4(b, 36, 36);
	return &b->p;
}

static inline unsigned ct_see(struct odp_ct *ct, struct odp_ct_pkt *p, uint64_t now_ms)
{
	odp_ct_track(ct, 0, p, 1, now_ms);
	return p->state;
}

static inline int ct_make(struct odp_ct *ct, struct odp_ct_pkt *p, uint64_t now_ms)
{
	static const struct odp_ct_commit plain;

	(void)ct_see(ct, p, now_ms);
	return odp_ct_commit(ct, 0, p, &plain, now_ms);
}
