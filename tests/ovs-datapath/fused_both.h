/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two datapaths that are given the same flows and the same packets, one of them with the fused path
 * and one without: packets for both, and comparison of everything that they sent and counted.
 */
#pragma once

#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "fake_port.h"
#include "fused_priv.h"
#include "inet.h"
#include "odp_ct.h"
#include "odp_meter.h"
#include "odp_tnl.h"
#include "sw_offload.h"
#include "tnl_out.h"
#include "track.h"

#define CONNS 6u
#define PORTS 64u // a connection's next one has a port that is higher by so many
#define CONNS_ALL 1024u
#define ROUNDS 600u
#define FLOWS_MAX 64u
#define MS 1000000ull

#define EST "ct_state(+est+trk-inv)"
#define NEW "ct_state(+new+trk-inv)"
#define IP4 "eth_type(0x0800)"
#define IP6 "eth_type(0x86dd)"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static struct rte_mempool *pool;
static uint64_t seed;

static inline uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

/* ---- the two datapaths ---- */

struct side {
	struct odp *dp;
	struct odp_worker *w;
	struct fake_port port[2];
};

struct both {
	struct side s[2]; // fused, step by step
	bool tagged; // what hosts send
	bool polls; // the control thread takes part
	bool outer; // there are headers around what port b carries
	/* Those headers, around what b sends; `r` is the same for both. NULL: none. */
	void (*wrap)(struct rte_mbuf **m, uint32_t r);
	unsigned before;
};

/* A table that draws the same ports for translation as the other one's. */
static inline void track_alike(struct odp *dp)
{
	struct odp_seed own = dp->seed;

	dp->seed = (struct odp_seed){ 0x123456789abcdef, 0xfedcba987654321 };
	assert_int_equal(odp_track_init(dp), 0);
	dp->seed = own;
}

static const struct odp_meter_conf few_packets = {
	.packets = true, .n_bands = 1, .band = { { .rate = 20, .burst = 1 } }
};
static const struct odp_meter_conf few_bytes = { .n_bands = 1,
	.band = { { .rate = 8, .burst = 1 } } };

/* Ports 1 and 2, and 3, a tunnel's. */
static inline void both_open(struct both *b, enum odp_tnl_type type)
{
	memset(b, 0, sizeof(*b));
	b->before = rte_mempool_in_use_count(pool);
	for (unsigned i = 0; i < 2; i++) {
		struct odp_conf conf = {
			.n_workers = 1, .pool = pool, .ct_conns = CONNS_ALL, .step_by_step = i == 1
		};
		struct odp_tnl_conf tun = { .name = "tun", .type = type };
		struct side *s = &b->s[i];
		struct odp_port *tnl;

		assert_int_equal(odp_create(&conf, &s->dp), 0);
		s->dp->seed = (struct odp_seed){ 0x5851f42d4c957f2d, 0xda3e39cb94b95bdb };
		assert_int_equal(odp_meter_set(s->dp, 1, &few_packets), 0);
		assert_int_equal(odp_meter_set(s->dp, 2, &few_bytes), 0);
		assert_int_equal(odp_meter_set(s->dp, 3, &few_packets), 0);
		track_alike(s->dp);
		s->w = odp_worker(s->dp, 0);
		fake_port_add(&s->port[0], s->dp, s->w, "a");
		fake_port_add(&s->port[1], s->dp, s->w, "b");
		assert_int_equal(odp_tnl_add(s->dp, &tun, &tnl), 0);
		s->w->tnl->tx.ip_id = s->dp->control->tnl->tx.ip_id = 0;
	}
}

static inline void both_close(struct both *b)
{
	for (unsigned i = 0; i < 2; i++) {
		fake_port_del(&b->s[i].port[0], b->s[i].w);
		fake_port_del(&b->s[i].port[1], b->s[i].w);
		odp_destroy(b->s[i].dp);
	}
	assert_int_equal(rte_mempool_in_use_count(pool), b->before);
}

static inline void put(struct both *b, const char *flow, const char *actions)
{
	for (unsigned i = 0; i < 2; i++) {
		struct odp_key k, m;
		size_t at;

		assert_int_equal(odp_key_parse(b->s[i].dp, flow, &k, &m, &at), 0);
		assert_int_equal(fake_put(b->s[i].dp, &k, &m, actions, true, NULL), 0);
	}
}

static inline void del(struct both *b, const char *flow)
{
	for (unsigned i = 0; i < 2; i++) {
		struct odp_key k, m;
		size_t at;

		assert_int_equal(odp_key_parse(b->s[i].dp, flow, &k, &m, &at), 0);
		(void)odp_flow_del(b->s[i].dp, &k, &m);
	}
}

static inline void turns(struct both *b)
{
	for (unsigned i = 0; i < 2; i++)
		while (odp_worker_turn(b->s[i].w) || (b->polls && odp_upcall_poll(b->s[i].dp)))
			continue;
}

/* ---- packets ---- */

struct conn {
	bool tcp, v6;
	uint16_t port;
	unsigned state; // 0: nothing was sent
	unsigned left; // segments until another one begins, since it is closing; 0: it is not
	bool stepped; // in this round
	uint32_t seq[2], ack[2]; // by side
	uint32_t seen[2]; // what each side will acknowledge from the next round on
};

static inline unsigned l4_bytes(const struct conn *c, unsigned data)
{
	return (c->tcp ? 20 : 8) + data;
}

/* Both sides are hosts behind ports 0 and 1; `to` is where a reply has to go. */
struct peer {
	uint32_t ip; // of side b as a sees it, or of a as b sees it
	uint16_t port;
};

static inline size_t frame(uint8_t *f, const struct conn *c, unsigned from, const struct peer *to,
	unsigned flags, unsigned data, uint8_t last)
{
	unsigned l3 = c->v6 ? 40 : 20, l4 = l4_bytes(c, data);
	uint8_t *ip = f + 14, *t = ip + l3;
	uint16_t mine = from == 0 ? c->port : 80;

	memset(f, 0, 14 + l3 + l4);
	memcpy(f, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)(2 - from) }, 6);
	memcpy(f + 6, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)(1 + from) }, 6);
	odp_put16(f + 12, c->v6 ? 0x86dd : 0x0800);
	if (c->v6) {
		ip[0] = 0x60;
		odp_put16(ip + 4, l4);
		ip[6] = c->tcp ? 6 : 17;
		ip[7] = (uint8_t)(1 + draw(64));
		ip[8] = ip[24] = 0xfd;
		ip[23] = (uint8_t)(1 + from);
		ip[39] = (uint8_t)(2 - from);
	} else {
		ip[0] = 0x45;
		ip[1] = (uint8_t)draw(16); // four classes, each with the bits of congestion
		odp_put16(ip + 2, 20 + l4);
		ip[8] = (uint8_t)(1 + draw(64));
		ip[9] = c->tcp ? 6 : 17;
		odp_put32(ip + 12, 0x0a000001 + from);
		odp_put32(ip + 16, to->ip);
		odp_put16(ip + 10, 0);
		uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)ip);
		memcpy(ip + 10, &sum, 2);
	}
	odp_put16(t, mine);
	odp_put16(t + 2, to->port);
	if (c->tcp) {
		odp_put32(t + 4, c->seq[from]);
		odp_put32(t + 8, flags & ACK ? c->ack[from] : 0);
		t[12] = 0x50;
		t[13] = (uint8_t)flags;
		odp_put16(t + 14, 60000);
	} else {
		odp_put16(t + 4, l4);
	}
	if (data)
		t[l4 - 1] = last;
	uint16_t sum = c->v6 ? rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)ip, t)
			     : rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)ip, t);
	memcpy(t + (c->tcp ? 16 : 6), &sum, 2);
	return 14 + l3 + l4;
}

/* The bytes from `at` on in a segment of their own. */
static inline void split(struct rte_mbuf *m, uint16_t at)
{
	struct rte_mbuf *tail = rte_pktmbuf_alloc(pool);
	uint16_t n = (uint16_t)(m->data_len - at);

	assert_non_null(tail);
	memcpy(rte_pktmbuf_append(tail, n), rte_pktmbuf_mtod_offset(m, void *, at), n);
	rte_pktmbuf_trim(m, n);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
}

/* A request to sum up layer 4, whose field is the pseudo-header's sum then: any value will do. */
static inline void ask_for_sum(struct rte_mbuf *m, unsigned l2, const struct conn *c)
{
	m->l2_len = l2 & 0x7f;
	m->l3_len = c->v6 ? 40 : 20;
	m->l4_len = c->tcp ? 20 : 8;
	m->ol_flags |= (c->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
		       (c->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
}

/* A tag behind the addresses: each side has its own, now and then with other upper bits. */
static inline size_t tag(uint8_t *f, size_t len, unsigned port)
{
	memmove(f + 16, f + 12, len - 12);
	odp_put16(f + 12, 0x8100);
	odp_put16(f + 14, (port ? 7 : 5) | (draw(20) ? 0 : draw(16) << 12));
	return len + 4;
}

/* A request to cut it into pieces. */
static inline void ask_for_cuts(struct rte_mbuf *m, unsigned l2, const struct conn *c)
{
	ask_for_sum(m, l2, c);
	m->tso_segsz = 16;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
}

/* Of every eighty, some are special: bad, in pieces, or with a checksum at the edge. */
static inline void push(struct both *b, const struct conn *c, unsigned port, uint8_t *f, size_t len)
{
	unsigned kind = draw(80), l2 = b->tagged ? 18 : 14;
	uint16_t at = (uint16_t)(1 + draw((uint32_t)len - 1));
	uint32_t r = b->wrap ? draw(UINT32_MAX) : 0;

	if (b->tagged)
		len = tag(f, len, port);
	if (kind == 3 && !c->v6)
		odp_put16(f + l2 + 10, draw(2) ? 0xffff : 0);
	if (kind == 4)
		odp_put16(f + l2 + (c->v6 ? 40 : 20) + (c->tcp ? 16 : 6), draw(2) ? 0xffff : 0);
	for (unsigned i = 0; i < 2; i++) {
		struct fake_port *p = &b->s[i].port[port];

		fake_port_push(p, pool, f, len);
		if (kind == 0)
			p->in[p->n_in - 1]->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
		if (kind == 1)
			split(p->in[p->n_in - 1], at);
		if (kind == 5)
			ask_for_sum(p->in[p->n_in - 1], l2, c);
		if (kind == 6 && b->wrap && c->tcp && port == 0)
			ask_for_cuts(p->in[p->n_in - 1], l2, c);
		if (b->wrap && port == 1)
			b->wrap(&p->in[p->n_in - 1], r);
	}
}

/* What a host would send next, or something that it would not. */
static inline void speak(
	struct both *b, struct conn *c, unsigned from, const struct peer *to, uint8_t last)
{
	unsigned flags = ACK, data = draw(40), odd = draw(200);
	struct conn was = *c;
	uint8_t f[256];

	if (!c->tcp) {
		push(b, c, from, f, frame(f, c, from, to, 0, data, last));
		return;
	}
	if (c->state < 3) {
		if (c->stepped)
			return; // what it answers has not arrived
		c->stepped = true;
		flags = c->state == 0 ? SYN : c->state == 1 ? SYN | ACK : ACK;
		data = 0;
		c->state++;
	} else if (odd == 0 || c->left == 1) {
		flags = RST | ACK;
		c->state = 0;
	} else if (odd == 1) {
		flags = FIN | ACK;
		c->left = 20;
	} else if (odd == 2) {
		c->seq[from] += 1000000; // out of window
	} else if (odd == 3) {
		flags = SYN;
	} else if (odd == 4) {
		c->ack[from] += 77777777;
	} else if (c->left) {
		c->left--;
	}
	push(b, c, from, f, frame(f, c, from, to, flags, data, last));
	if (odd >= 2 && odd <= 4 && was.state >= 3) {
		*c = was;
		return;
	}
	if (c->state == 0) { // another one, whose port has the same lower bits
		*c = (struct conn){ .tcp = true, .v6 = c->v6, .port = (uint16_t)(c->port + PORTS) };
		c->stepped = true;
		c->seq[1] = 50000;
		return;
	}
	// Most is sent again: what is lost now and then is not missed for long
	if (flags & (SYN | FIN) || draw(8) == 0)
		c->seq[from] += data + ((flags & (SYN | FIN)) != 0);
	c->seen[!from] = c->seq[from];
}

/* What was sent has arrived. */
static inline void listen_all(struct conn *conns)
{
	for (unsigned i = 0; i < CONNS; i++) {
		memcpy(conns[i].ack, conns[i].seen, sizeof(conns[i].ack));
		conns[i].stepped = false;
	}
}

/* ---- rounds ---- */

/* Two thirds of them TCP; every second one IPv6, where both families are. */
static inline void conns_init(struct conn conns[CONNS], bool v6)
{
	for (unsigned i = 0; i < CONNS; i++)
		conns[i] = (struct conn){ .tcp = i % 3 != 2,
			.v6 = v6 && i % 2,
			.port = (uint16_t)(1000 + i),
			.seq = { 1000 * i, 50000 } };
}

/*
 * Some packets of one side: each has come to another zone of a pipeline, in the same turn. `snat`:
 * b sees a as 10.9.9.9.
 */
static inline void speak_some(struct both *b, struct conn conns[CONNS], bool snat)
{
	unsigned from = draw(2);

	for (unsigned n = 1 + draw(40); n > 0; n--) {
		struct conn *c = &conns[draw(CONNS)];
		const struct peer to[2] = { { 0x0a000002, 80 },
			{ snat ? 0x0a090909 : 0x0a000001, c->port } };

		if (!c->tcp || c->state >= 3 || (c->state == 1) == from)
			speak(b, c, from, &to[from], (uint8_t)n);
	}
	turns(b);
	listen_all(conns);
}

/* ---- comparison ---- */

/* As many for each reason. */
static inline void compare_drops(const struct both *b)
{
	struct odp_stats st[2];

	for (unsigned i = 0; i < 2; i++)
		odp_stats(b->s[i].dp, &st[i]);
	for (unsigned d = 0; d < ODP_DROP_COUNT; d++) {
		if (st[0].drops[d] != st[1].drops[d])
			print_message("fused or not: %s\n", odp_drop_name(d));
		assert_int_equal(st[0].drops[d], st[1].drops[d]);
	}
}

/* Where a frame's addresses and ports are, and how long they are. */
static inline unsigned tuple_of(const uint8_t *f, unsigned *n)
{
	unsigned at = 12;

	while ((f[at] == 0x81 && f[at + 1] == 0x00) || (f[at] == 0x88 && f[at + 1] == 0xa8))
		at += 4;
	*n = f[at] == 0x86 ? 36 : 12;
	return at + (f[at] == 0x86 ? 10 : 14);
}

#define FRAME_MAX 1024u

/* Bytes of outer headers. */
static inline unsigned outer_of(const uint8_t *f)
{
	bool v6 = f[12] == 0x86;
	const uint8_t *l4 = f + 14 + (v6 ? 40 : 20);
	unsigned n = 14 + (v6 ? 40 : 20);

	if (f[v6 ? 20 : 23] == 17)
		return n + 16 + (l4[2] == 0x17 && l4[3] == 0xc1 ? (l4[8] & 63u) * 4 : 0);
	return n + 4 + (l4[0] & 0x80 ? 4 : 0) + (l4[0] & 0x20 ? 4 : 0);
}

/* A frame as bytes, and where its addresses and ports are; an outer IPv4 id is zero. */
static inline unsigned bytes_of(
	const struct rte_mbuf *m, bool outer, uint8_t f[FRAME_MAX], unsigned *n)
{
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, f);
	unsigned at = 0;

	assert_true(m->pkt_len <= FRAME_MAX);
	if (p != f)
		memcpy(f, p, m->pkt_len);
	// Something else may be sent by a host that is told of an MTU, not on the uplink
	if (outer)
		at = outer_of(f);
	if (outer && f[12] == 0x08) {
		assert_int_equal((uint16_t)~rte_raw_cksum(f + 14, 20), 0);
		memset(f + 18, 0, 2);
		memset(f + 24, 0, 2);
	}
	return at + tuple_of(f + at, n);
}

/* Ids of outer headers count up in the order of sending, whatever the frames are. */
static inline void compare_ids(const struct fake_port *x, const struct fake_port *y)
{
	const struct fake_port *port[2] = { x, y };
	static uint16_t ids[2][FAKE_PKTS];
	unsigned n[2] = { 0, 0 };

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < port[i]->n_out; k++) {
			const uint8_t *f = rte_pktmbuf_mtod(port[i]->out[k], const uint8_t *);

			if (f[12] == 0x08 && !(f[20] & 0x40))
				ids[i][n[i]++] = (uint16_t)(f[18] << 8 | f[19]);
		}
	}
	assert_int_equal(n[0], n[1]);
	assert_memory_equal(ids[0], ids[1], n[0] * sizeof(ids[0][0]));
}

static inline void compare_frames(
	const struct rte_mbuf *m, const uint8_t *d, const struct rte_mbuf *n, const uint8_t *o)
{
	const uint64_t asks = ODP_F_L4_CSUM | ODP_F_GSO;

	assert_int_equal(m->pkt_len, n->pkt_len);
	assert_memory_equal(d, o, m->pkt_len);
	assert_int_equal(m->ol_flags & asks, n->ol_flags & asks);
	if (!(m->ol_flags & asks))
		return;
	assert_int_equal(m->l2_len, n->l2_len);
	assert_int_equal(m->l3_len, n->l3_len);
}

/* Frames of one connection in their order; of all: none more on one side. */
static inline void compare_out(struct both *b)
{
	for (unsigned p = 0; p < 2; p++) {
		struct fake_port *x = &b->s[0].port[p], *y = &b->s[1].port[p];
		bool outer = p == 1 && b->outer;
		uint8_t d[FRAME_MAX], o[FRAME_MAX];
		static bool used[FAKE_PKTS];

		assert_int_equal(x->n_out, y->n_out);
		if (outer)
			compare_ids(x, y);
		memset(used, 0, sizeof(used));
		for (unsigned i = 0; i < x->n_out; i++) {
			unsigned j = 0, n, at = bytes_of(x->out[i], outer, d, &n);

			// The first one left over of the same addresses and ports
			for (; j < y->n_out; j++) {
				unsigned m, where = bytes_of(y->out[j], outer, o, &m);

				if (!used[j] && n == m && !memcmp(d + at, o + where, n))
					break;
			}
			assert_true(j < y->n_out);
			used[j] = true;
			compare_frames(x->out[i], d, y->out[j], o);
		}
		fake_port_reset(x);
		fake_port_reset(y);
	}
}

/* What each port counted. */
static inline void compare_ports(const struct both *b)
{
	for (uint32_t no = 1; no <= 3; no++) {
		struct odp_port_stats st[2];

		for (unsigned i = 0; i < 2; i++)
			odp_port_stats(odp_port_by_no(b->s[i].dp, no), &st[i]);
		assert_int_equal(st[0].rx_packets, st[1].rx_packets);
		assert_int_equal(st[0].rx_bytes, st[1].rx_bytes);
		assert_int_equal(st[0].tx_packets, st[1].tx_packets);
		assert_int_equal(st[0].tx_bytes, st[1].tx_bytes);
		assert_memory_equal(st[0].drops, st[1].drops, sizeof(st[0].drops));
	}
}

struct counted {
	struct odp_key key, mask;
	uint64_t packets, bytes;
};

struct flow_list {
	unsigned n;
	struct counted f[FLOWS_MAX];
};

static inline void note_flow(const struct odp_flow_info *f, void *arg)
{
	struct flow_list *l = arg;

	assert_true(l->n < FLOWS_MAX);
	l->f[l->n++] = (struct counted){ f->key, f->mask, f->stats.packets, f->stats.bytes };
}

static inline void compare_flows(struct both *b)
{
	static struct flow_list l[2];

	for (unsigned i = 0; i < 2; i++) {
		l[i].n = 0;
		odp_flow_foreach(b->s[i].dp, note_flow, &l[i]);
	}
	assert_int_equal(l[0].n, l[1].n);
	for (unsigned i = 0; i < l[0].n; i++) {
		const struct counted *x = &l[0].f[i], *y = l[1].f;

		while (memcmp(&x->key, &y->key, sizeof(x->key)) != 0 ||
			memcmp(&x->mask, &y->mask, sizeof(x->mask)) != 0) {
			y++;
			assert_true(y < l[1].f + l[1].n);
		}
		assert_int_equal(x->packets, y->packets);
		assert_int_equal(x->bytes, y->bytes);
	}
}

struct conn_list {
	unsigned n;
	struct odp_ct_info c[CONNS_ALL];
};

static inline void note_conn(const struct odp_ct_info *c, void *arg)
{
	struct conn_list *l = arg;

	assert_true(l->n < CONNS_ALL);
	l->c[l->n++] = *c;
}

static inline void compare_conns(struct both *b)
{
	static struct conn_list l[2];

	if (!odp_conntrack(b->s[0].dp))
		return;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t at = 0;

		l[i].n = 0;
		while (odp_ct_dump(
			odp_conntrack(b->s[i].dp), &at, 256, fake_now_ns / MS, note_conn, &l[i]))
			continue;
	}
	assert_int_equal(l[0].n, l[1].n);
	for (unsigned i = 0; i < l[0].n; i++) {
		const struct odp_ct_info *x = &l[0].c[i], *y = l[1].c;

		while (memcmp(x->key, y->key, sizeof(x->key)) != 0) {
			y++;
			assert_true(y < l[1].c + l[1].n);
		}
		assert_int_equal(x->state, y->state);
		assert_int_equal(x->mark, y->mark);
		assert_int_equal(x->timeout_ms, y->timeout_ms);
		for (unsigned d = 0; d < 2; d++) {
			assert_int_equal(x->packets[d], y->packets[d]);
			assert_int_equal(x->bytes[d], y->bytes[d]);
		}
	}
}

/* What was sent since the last time, and all that was counted. */
static inline void compare_all(struct both *b)
{
	compare_drops(b);
	compare_out(b);
	compare_flows(b);
	compare_conns(b);
}

/* The end of many rounds: one of the two did go the short way. */
static inline void both_end(struct both *b, const char *name)
{
	uint64_t hits = dpu_counter_read(&b->s[0].w->fused_hits);

	printf("%s: %lu of packets fused\n", name, (unsigned long)hits);
	assert_true(hits > ROUNDS / 2);
	assert_int_equal(dpu_counter_read(&b->s[1].w->fused_hits), 0);
	both_close(b);
	dpu_clock_set(NULL);
}
