// SPDX-License-Identifier: Apache-2.0
/* Frames of 64 bytes with right checksums: written from constants, few additions for each. */
#include "odp_frames.h"

#include <string.h>

#define SUBTABLES 20
#define GROUPS 25 // flows with a megaflow in common: SUBTABLES * GROUPS of them for each port

#define UDP 17
#define VXLAN 4789
#define GENEVE 6081

#define FIN 0x01u
#define SYN 0x02u
#define ACK 0x10u

/* From here on numbers are in host order. */
struct tuple {
	uint32_t src, dst;
	uint16_t sport, dport;
};

/* One segment of a connection's life; the client is at port a, the server at port b. */
struct step {
	uint32_t seq, ack;
	uint8_t flags;
};

static const struct step opening[] = {
	{ 1000, 0, SYN },
	{ 5000, 1001, SYN | ACK },
	{ 1001, 5001, ACK },
	{ 5001, 1001, ACK },
};
static const struct step closing[] = { { 5001, 1001, FIN | ACK }, { 1001, 5002, FIN | ACK },
	{ 5002, 1002, ACK } };
static const struct step up[2] = { { 1001, 5001, ACK }, { 5001, 1001, ACK } };

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(at, &v, 4);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return __builtin_bswap32(v);
}

static uint32_t halves(uint32_t v)
{
	return (v >> 16) + (v & 0xffff);
}

static uint32_t checksum(uint32_t sum)
{
	return ~halves(halves(sum)) & 0xffff;
}

/* Ethernet and IPv4; `len` is the IP packet's. The rest of the frame stays. */
static void put_ip(
	uint8_t *f, enum frame_port p, const struct tuple *t, uint32_t len, uint8_t proto)
{
	static const uint8_t head[2][16] = {
		{ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0 },
		{ 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0 },
	};

	memcpy(f, head[p], 16);
	put32(f + 16, len << 16); // and no identification
	put32(f + 20, 0x40004000u | proto); // do not fragment; 64 hops
	put16(f + 24,
		checksum(0x4500 + len + 0x4000 + 0x4000 + proto + halves(t->src) + halves(t->dst)));
	put32(f + 26, t->src);
	put32(f + 30, t->dst);
	put32(f + 34, (uint32_t)t->sport << 16 | t->dport);
}

static void put_tcp(uint8_t *f, enum frame_port p, const struct tuple *t, const struct step *s)
{
	const uint32_t how = 0x5000u | s->flags, window = 0xfff0;

	put_ip(f, p, t, 40, 6);
	put32(f + 38, s->seq);
	put32(f + 42, s->ack);
	put32(f + 46, how << 16 | window);
	put16(f + 50, checksum(6 + 20 + halves(t->src) + halves(t->dst) + t->sport + t->dport +
			       halves(s->seq) + halves(s->ack) + how + window));
	put16(f + 52, 0);
}

/*
 * Flow i: what its megaflow matches is the group in the destination, 10.SUBTABLE.GROUP.0/24, and as
 * many bits of the source as its subtable has. Both ports send the same flows.
 */
static void put_flow(uint8_t *f, enum frame_port p, uint32_t i)
{
	uint32_t subtable = i % SUBTABLES, group = i / SUBTABLES % GROUPS,
		 member = i / (SUBTABLES * GROUPS);
	const struct tuple t = { 0xac100001,
		10u << 24 | subtable << 16 | group << 8 | (member & 0xff),
		(uint16_t)(1024 + (member >> 8)), 53 };

	put_ip(f, p, &t, 50, UDP);
	put32(f + 38, 30u << 16); // no checksum, which says so
}

/* Connection i as the client names it. */
static struct tuple conn(uint32_t i)
{
	return (struct tuple){ 0x0a400000u | (i & 0xfffff), 0x0b000001u,
		(uint16_t)(1024 + (i >> 20)), 80 };
}

static struct tuple answer(const struct tuple *t)
{
	return (struct tuple){ t->dst, t->src, t->dport, t->sport };
}

static void put_conn(uint8_t *f, enum frame_port p, uint32_t i)
{
	struct tuple t = conn(i);

	if (p == FRAME_B)
		t = answer(&t);
	put_tcp(f, p, &t, &up[p]);
}

void frame_gen_start(struct frame_gen *g, enum frame_kind kind, uint32_t n)
{
	uint32_t first = kind == FRAME_SHORT ? g->next[0] : kind == FRAME_SETUP ? g->opened : 0;

	g->kind = kind;
	g->n = kind == FRAME_SHORT ? UINT32_MAX : n;
	g->next[0] = first;
	g->next[1] = 0;
	g->done = 0;
}

bool frame_first(struct frame_gen *g, enum frame_port p, uint8_t *f)
{
	bool once = g->kind == FRAME_SETUP || g->kind == FRAME_SHORT;
	uint32_t i = g->next[p == FRAME_B];

	memset(f, 0, FRAME_LEN);
	if (p == FRAME_UPLINK || (once && (p == FRAME_B || i >= g->n)))
		return false;
	if (once) {
		struct tuple t = conn(i);

		g->next[0]++;
		put_tcp(f, p, &t, &opening[0]);
		return true;
	}
	g->next[p] = i + 1 >= g->n ? 0 : i + 1;
	if (g->kind == FRAME_FLOWS)
		put_flow(f, p, i);
	else
		put_conn(f, p, i);
	return true;
}

/* `allowed` up to a bit counted from the left, which is another, and what follows from `any`. */
static uint32_t differ(uint32_t allowed, unsigned bits, uint32_t bit, uint32_t any)
{
	uint32_t at = 1u << (bits - 1 - bit);

	return ((allowed ^ at) & ~(at - 1)) | (any & (at - 1));
}

void frame_attack(uint32_t i, uint8_t *f)
{
	uint32_t any = (i ^ i >> 13) * 0x9e3779b1u, which = i % FRAME_MASKS;
	const struct tuple t = { differ(0x0a630001, 32, which % 32, any), 0x0b000001,
		(uint16_t)differ(12345, 16, which / 32 % 16, any >> 16),
		(uint16_t)differ(80, 16, which / 512, any) };

	memset(f, 0, FRAME_LEN);
	put_ip(f, FRAME_A, &t, 50, UDP);
	put32(f + 38, 30u << 16);
}

/* The step that answers the one with these flags. NULL: the connection is through. */
static const struct step *step_after(enum frame_kind kind, enum frame_port p, uint8_t flags)
{
	if (p == FRAME_B)
		return flags & SYN	     ? &opening[1]
		       : flags & FIN	     ? &closing[2]
		       : kind == FRAME_SETUP ? &opening[3]
					     : &closing[0];
	return flags & SYN ? &opening[2] : flags & FIN ? &closing[1] : NULL;
}

/* Someone behind the tunnel's other end sends every packet back. */
static void turn_back(uint8_t *f)
{
	uint8_t mac[6], ip[4];

	memcpy(mac, f, 6);
	memcpy(f, f + 6, 6);
	memcpy(f + 6, mac, 6);
	memcpy(ip, f + 26, 4);
	memcpy(f + 26, f + 30, 4);
	memcpy(f + 30, ip, 4);
}

bool frame_next(struct frame_gen *g, enum frame_port p, uint8_t *f)
{
	const struct step *s;
	struct tuple t;
	uint32_t i;

	if (p == FRAME_UPLINK) {
		uint32_t port = get32(f + 34) & 0xffff;

		g->encapsulated += f[23] == UDP && (port == VXLAN || port == GENEVE);
		turn_back(f);
		return true;
	}
	if (g->kind == FRAME_FLOWS || g->kind == FRAME_CONNS) {
		i = g->next[p];
		g->next[p] = i + 1 >= g->n ? 0 : i + 1;
		if (g->kind == FRAME_FLOWS)
			put_flow(f, p, i);
		else
			put_conn(f, p, i);
		return true;
	}
	s = step_after(g->kind, p, f[47]);
	if (!s) {
		g->done++;
		g->opened += g->kind == FRAME_SETUP;
		return frame_first(g, p, f);
	}
	t = (struct tuple){ get32(f + 30), get32(f + 26), (uint16_t)get32(f + 34),
		(uint16_t)(get32(f + 34) >> 16) };
	put_tcp(f, p, &t, s);
	return true;
}
