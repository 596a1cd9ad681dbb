// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path against the step-by-step path: two datapaths with the same flows are given the
 * same packets, and must send the same frames, in the same order within each connection, and count
 * the same on flows and connections. What goes on between packets changes everything an entry is
 * made from.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "fake_port.h"
#include "fused_priv.h"
#include "odp_ct.h"
#include "odp_meter.h"
#include "odp_tnl.h"
#include "sw_offload.h"
#include "track.h"

#define CONNS 6u
#define PORTS 64u // a connection's next one has a port that is higher by so many
#define CONNS_ALL 1024u
#define ROUNDS 600u
#define FLOWS_MAX 64u
#define MS 1000000ull
#define N_FLOWS 12u

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static struct rte_mempool *pool;
static uint64_t seed;

static uint32_t draw(uint32_t n)
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
	unsigned before;
};

/* A table that draws the same ports for translation as the other one's. */
static void track_alike(struct odp *dp)
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

static void both_open(struct both *b)
{
	memset(b, 0, sizeof(*b));
	b->before = rte_mempool_in_use_count(pool);
	for (unsigned i = 0; i < 2; i++) {
		struct odp_conf conf = {
			.n_workers = 1, .pool = pool, .ct_conns = CONNS_ALL, .step_by_step = i == 1
		};
		struct odp_tnl_conf tun = { .name = "tun", .type = ODP_TNL_VXLAN };
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
		assert_int_equal(odp_tnl_add(s->dp, &tun, &tnl), 0); // port 3
	}
}

static void both_close(struct both *b)
{
	for (unsigned i = 0; i < 2; i++) {
		fake_port_del(&b->s[i].port[0], b->s[i].w);
		fake_port_del(&b->s[i].port[1], b->s[i].w);
		odp_destroy(b->s[i].dp);
	}
	assert_int_equal(rte_mempool_in_use_count(pool), b->before);
}

static void put(struct both *b, const char *flow, const char *actions)
{
	for (unsigned i = 0; i < 2; i++) {
		struct odp_key k, m;
		size_t at;

		assert_int_equal(odp_key_parse(b->s[i].dp, flow, &k, &m, &at), 0);
		assert_int_equal(fake_put(b->s[i].dp, &k, &m, actions, true, NULL), 0);
	}
}

static void del(struct both *b, const char *flow)
{
	for (unsigned i = 0; i < 2; i++) {
		struct odp_key k, m;
		size_t at;

		assert_int_equal(odp_key_parse(b->s[i].dp, flow, &k, &m, &at), 0);
		(void)odp_flow_del(b->s[i].dp, &k, &m);
	}
}

static void turns(struct both *b)
{
	for (unsigned i = 0; i < 2; i++)
		while (odp_worker_turn(b->s[i].w))
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

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static unsigned l4_bytes(const struct conn *c, unsigned data)
{
	return (c->tcp ? 20 : 8) + data;
}

/* Both sides are hosts behind ports 0 and 1; `to` is where a reply has to go. */
struct peer {
	uint32_t ip; // of side b as a sees it, or of a as b sees it
	uint16_t port;
};

static size_t frame(uint8_t *f, const struct conn *c, unsigned from, const struct peer *to,
	unsigned flags, unsigned data, uint8_t last)
{
	unsigned l3 = c->v6 ? 40 : 20, l4 = l4_bytes(c, data);
	uint8_t *ip = f + 14, *t = ip + l3;
	uint16_t mine = from == 0 ? c->port : 80;

	memset(f, 0, 14 + l3 + l4);
	memcpy(f, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)(2 - from) }, 6);
	memcpy(f + 6, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)(1 + from) }, 6);
	put16(f + 12, c->v6 ? 0x86dd : 0x0800);
	if (c->v6) {
		ip[0] = 0x60;
		put16(ip + 4, l4);
		ip[6] = c->tcp ? 6 : 17;
		ip[7] = (uint8_t)(1 + draw(64));
		ip[8] = ip[24] = 0xfd;
		ip[23] = (uint8_t)(1 + from);
		ip[39] = (uint8_t)(2 - from);
	} else {
		ip[0] = 0x45;
		ip[1] = (uint8_t)(draw(4) << 2);
		put16(ip + 2, 20 + l4);
		ip[8] = (uint8_t)(1 + draw(64));
		ip[9] = c->tcp ? 6 : 17;
		put32(ip + 12, 0x0a000001 + from);
		put32(ip + 16, to->ip);
		put16(ip + 10, 0);
		uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)ip);
		memcpy(ip + 10, &sum, 2);
	}
	put16(t, mine);
	put16(t + 2, to->port);
	if (c->tcp) {
		put32(t + 4, c->seq[from]);
		put32(t + 8, flags & ACK ? c->ack[from] : 0);
		t[12] = 0x50;
		t[13] = (uint8_t)flags;
		put16(t + 14, 60000);
	} else {
		put16(t + 4, l4);
	}
	if (data)
		t[l4 - 1] = last;
	uint16_t sum = c->v6 ? rte_ipv6_udptcp_cksum((const struct rte_ipv6_hdr *)ip, t)
			     : rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)ip, t);
	memcpy(t + (c->tcp ? 16 : 6), &sum, 2);
	return 14 + l3 + l4;
}

/* The bytes from `at` on in a segment of their own. */
static void split(struct rte_mbuf *m, uint16_t at)
{
	struct rte_mbuf *tail = rte_pktmbuf_alloc(pool);
	uint16_t n = (uint16_t)(m->data_len - at);

	assert_non_null(tail);
	memcpy(rte_pktmbuf_append(tail, n), rte_pktmbuf_mtod_offset(m, void *, at), n);
	rte_pktmbuf_trim(m, n);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
}

/* A request to sum up layer 4, whose field is the pseudo-header's sum then: any value will do. */
static void ask_for_sum(struct rte_mbuf *m, unsigned l2, const struct conn *c)
{
	m->l2_len = l2 & 0x7f;
	m->l3_len = c->v6 ? 40 : 20;
	m->l4_len = c->tcp ? 20 : 8;
	m->ol_flags |= (c->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
		       (c->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
}

/* A tag behind the addresses: each side has its own, now and then with other upper bits. */
static size_t tag(uint8_t *f, size_t len, unsigned port)
{
	memmove(f + 16, f + 12, len - 12);
	put16(f + 12, 0x8100);
	put16(f + 14, (port ? 7 : 5) | (draw(20) ? 0 : draw(16) << 12));
	return len + 4;
}

/* Of every eighty, some are special: bad, in pieces, or with a checksum at the edge. */
static void push(struct both *b, const struct conn *c, unsigned port, uint8_t *f, size_t len)
{
	unsigned kind = draw(80), l2 = b->tagged ? 18 : 14;
	uint16_t at = (uint16_t)(1 + draw((uint32_t)len - 1));

	if (b->tagged)
		len = tag(f, len, port);
	if (kind == 3 && !c->v6)
		put16(f + l2 + 10, draw(2) ? 0xffff : 0);
	if (kind == 4)
		put16(f + l2 + (c->v6 ? 40 : 20) + (c->tcp ? 16 : 6), draw(2) ? 0xffff : 0);
	for (unsigned i = 0; i < 2; i++) {
		struct fake_port *p = &b->s[i].port[port];

		fake_port_push(p, pool, f, len);
		if (kind == 0)
			p->in[p->n_in - 1]->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
		if (kind == 1)
			split(p->in[p->n_in - 1], at);
		if (kind == 5)
			ask_for_sum(p->in[p->n_in - 1], l2, c);
	}
}

/* What a host would send next, or something that it would not. */
static void speak(
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
static void listen_all(struct conn *conns)
{
	for (unsigned i = 0; i < CONNS; i++) {
		memcpy(conns[i].ack, conns[i].seen, sizeof(conns[i].ack));
		conns[i].stepped = false;
	}
}

/* ---- comparison ---- */

/* As many for each reason. */
static void compare_drops(const struct both *b)
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
static unsigned tuple_of(const uint8_t *f, unsigned *n)
{
	unsigned at = 12;

	while ((f[at] == 0x81 && f[at + 1] == 0x00) || (f[at] == 0x88 && f[at + 1] == 0xa8))
		at += 4;
	*n = f[at] == 0x86 ? 36 : 12;
	return at + (f[at] == 0x86 ? 10 : 14);
}

/* Frames of one connection in their order; of all: none more on one side. */
static void compare_out(struct both *b)
{
	for (unsigned p = 0; p < 2; p++) {
		struct fake_port *x = &b->s[0].port[p], *y = &b->s[1].port[p];
		static bool used[FAKE_PKTS];

		assert_int_equal(x->n_out, y->n_out);
		memset(used, 0, sizeof(used));
		for (unsigned i = 0; i < x->n_out; i++) {
			const struct rte_mbuf *m = x->out[i];
			const uint8_t *d = rte_pktmbuf_mtod(m, const uint8_t *);
			unsigned j = 0, n, at = tuple_of(d, &n);

			// The first one left over of the same addresses and ports
			for (; j < y->n_out; j++) {
				const uint8_t *o = rte_pktmbuf_mtod(y->out[j], const uint8_t *);

				if (!used[j] && !memcmp(d + at, o + at, n))
					break;
			}
			assert_true(j < y->n_out);
			used[j] = true;
			assert_int_equal(m->pkt_len, y->out[j]->pkt_len);
			assert_memory_equal(
				d, rte_pktmbuf_mtod(y->out[j], const uint8_t *), m->data_len);
		}
		fake_port_reset(x);
		fake_port_reset(y);
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

static void note_flow(const struct odp_flow_info *f, void *arg)
{
	struct flow_list *l = arg;

	assert_true(l->n < FLOWS_MAX);
	l->f[l->n++] = (struct counted){ f->key, f->mask, f->stats.packets, f->stats.bytes };
}

static void compare_flows(struct both *b)
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

static void note_conn(const struct odp_ct_info *c, void *arg)
{
	struct conn_list *l = arg;

	assert_true(l->n < CONNS_ALL);
	l->c[l->n++] = *c;
}

static void compare_conns(struct both *b)
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

/* ---- pipelines ---- */

#define EST "ct_state(+est+trk-inv)"
#define NEW "ct_state(+new+trk-inv)"
#define IP4 "eth_type(0x0800)"
#define IP6 "eth_type(0x86dd)"
#define ONE_IP4 "recirc_id(1),in_port(1),eth_type(0x0800)"
#define TWO_IP4 "recirc_id(2),in_port(2),eth_type(0x0800)"
#define INTO_TUNNEL                                                                        \
	"tnl_push(tnl_port(3),header(size=50,type=4,eth(dst=02:00:00:00:00:02,"            \
	"src=02:00:00:00:00:01,dl_type=0x0800),ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17," \
	"tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"                          \
	"vxlan(flags=0x8000000,vni=0x5)),out_port(2))"
#define ANOTHER "set(eth(src=02:00:00:00:00:1a)),ct(zone=1),recirc(1)"
#define COMMIT "ct(commit,zone=1)"
#define SNAT "ct(commit,zone=1,nat(src=10.9.9.9))"
#define VLAN(vid) "eth_type(0x8100),vlan(vid=" #vid "),encap(eth_type(0x0800))"

static const struct pipeline {
	const char *name;
	bool snat; // b sees a as 10.9.9.9
	bool v6;
	bool tagged;
	struct {
		const char *flow, *actions, *other; // other: what the actions change to, and back
	} f[N_FLOWS];
} pipelines[] = {
	{ "one zone", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" } } },
	{ "one zone, both families", false, true, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" },
			{ "in_port(1)," IP6, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP6, "ct(zone=1),recirc(2)", "drop" },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," NEW, COMMIT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," EST, "2", "drop" },
			{ "recirc_id(2),in_port(2),eth_type(0x86dd)," EST, "1", "drop" } } },
	{ "edits", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST,
				"set(eth(src=02:00:00:00:00:0a,dst=02:00:00:00:00:0b)),"
				"set(ipv4(tos=0x20/0xfc)),2",
				"set(eth(dst=02:00:00:00:00:0c)),2" },
			{ TWO_IP4 "," EST, "set(eth(src=02:00:00:00:00:0d)),1", "1" } } },
	{ "two zones and a mark", false, false, false,
		{ { "in_port(1),eth_type(0x0800)", "ct(zone=1),recirc(1)", NULL },
			{ ONE_IP4 "," NEW, "ct(commit,zone=1,mark=0x5/0xf),ct(zone=2),recirc(3)",
				NULL },
			{ ONE_IP4 "," EST ",ct_mark(0x5/0xf)", "ct(zone=2),recirc(3)",
				"ct(zone=2),recirc(3)" },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," NEW, "ct(commit,zone=2),2",
				NULL },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," EST, "2", "drop" },
			{ "in_port(2),eth_type(0x0800)", "ct(zone=2),recirc(4)", NULL },
			{ "recirc_id(4),in_port(2),eth_type(0x0800)," EST, "ct(zone=1),recirc(5)",
				NULL },
			{ "recirc_id(5),in_port(2),eth_type(0x0800)," EST, "1", "drop" } } },
	{ "source translation", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" } } },
	{ "source translation, tracked twice", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ ONE_IP4 "," EST, SNAT ",recirc(3)", "2" },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "ct(zone=1,nat),recirc(4)", "ct(zone=1),recirc(4)" },
			{ "recirc_id(4),in_port(2),eth_type(0x0800)," EST, "1", "drop" } } },
	{ "rewrites merged", true, false, false,
		{ { "in_port(1)," IP4,
			  "set(ipv4(tos=0x4/0xfc)),dec_ttl(le_1(drop)),ct(zone=1,nat),recirc(1)",
			  "ct(zone=1,nat),recirc(1)" },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=6)," EST,
				"set(tcp(dst=8080)),set(eth(dst=02:00:00:00:00:0c)),dec_ttl(le_1("
				"drop)),"
				"set(ipv4(dst=10.1.2.3,ttl=7)),dec_ttl(le_1(drop)),set(tcp(dst=81))"
				","
				"set(ipv4(dst=10.0.0.2)),2",
				"set(ipv4(src=10.1.2.3)),2" },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=17)," EST,
				"set(udp(src=0x4000/"
				"0xf000,dst=5353)),dec_ttl(le_1(drop)),dec_ttl(le_1(drop)),2",
				"2" },
			{ TWO_IP4 "," EST,
				"dec_ttl(le_1(drop)),set(ipv4(tos=0x20/0xfc)),set(ipv4(tos=0x1/"
				"0x3)),1",
				"set(ipv4(ttl=64)),1" } } },
	{ "rewrites merged, IPv6", false, true, false,
		{ { "in_port(1)," IP6, "dec_ttl(le_1(drop)),ct(zone=1),recirc(1)",
			  "ct(zone=1),recirc(1)" },
			{ "in_port(2)," IP6, "ct(zone=1),recirc(2)", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," NEW, COMMIT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," EST,
				"set(ipv6(src=fd00::7,label=0x12/0xff)),dec_ttl(le_1(drop)),"
				"set(ipv6(tclass=0x10/0xf0)),"
				"set(ipv6(dst=fd00::1:0/::ffff:0,tclass=0x5/0x1f)),2",
				"2" },
			{ "recirc_id(2),in_port(2),eth_type(0x86dd)," EST,
				"set(ipv6(hlimit=9)),dec_ttl(le_1(drop)),1",
				"set(ipv6(label=0x1)),1" },
			{ "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", NULL },
			{ TWO_IP4 "," EST, "1", NULL } } },
	{ "tags on and off", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "push_vlan(vid=3,pcp=2),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST,
				"push_vlan(vid=9,pcp=1),dec_ttl(le_1(drop)),push_vlan(tpid=0x88a8,"
				"vid=8,pcp=0),"
				"set(vlan(tci=0x604d/0xefff)),2",
				"push_vlan(vid=9,pcp=0),pop_vlan,2" },
			{ "recirc_id(2),in_port(2)," VLAN(3), "ct(zone=1),recirc(3)", NULL },
			{ "recirc_id(3),in_port(2)," VLAN(3) "," EST, "pop_vlan,1", "1" } } },
	{ "tagged hosts", false, false, true,
		{ { "in_port(1)," VLAN(5), "pop_vlan,ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," VLAN(7), "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, "ct(commit,zone=1),push_vlan(vid=7,pcp=0),2", NULL },
			{ ONE_IP4 "," EST,
				"push_vlan(vid=7,pcp=0),set(eth(src=02:00:00:00:00:0a)),2", "2" },
			{ "recirc_id(2),in_port(2)," VLAN(7) "," EST, "push_vlan(vid=6,pcp=1),1",
				"dec_ttl(le_1(drop)),pop_vlan,push_vlan(vid=5,pcp=0),1" } } },
	{ "hash", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ ONE_IP4 "," EST, "set(ipv4(dst=10.0.0.3)),hash(l4(5)),recirc(3)",
				"hash(sym_l4(1)),recirc(3)" },
			{ "recirc_id(3),in_port(1),dp_hash(0/0x1)", "2", "drop" },
			{ "recirc_id(3),in_port(1),dp_hash(0x1/0x1)",
				"set(eth(src=02:00:00:00:00:0e)),2", NULL },
			{ TWO_IP4 "," EST, "hash(l4(0)),recirc(3)", "1" },
			{ "recirc_id(3),in_port(2),dp_hash(0/0x2)", "1", NULL },
			{ "recirc_id(3),in_port(2),dp_hash(0x2/0x2)",
				"set(eth(src=02:00:00:00:00:0f)),1", NULL } } },
	// Into tunnels and out of them packets go the whole way
	{ "tunnels", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "tnl_pop(3)" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST, "2", INTO_TUNNEL },
			{ ONE_IP4 ",ipv4(proto=17)," EST, INTO_TUNNEL, "2" },
			{ TWO_IP4 "," EST, "1", "set(tunnel(tun_id=0x5,dst=192.0.2.2)),3" },
			{ TWO_IP4 ",ipv4(proto=17)," EST, "3", "1" } } },
	// Of one connection each: others come in another order when some go the whole way
	{ "meters", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=6),"
			  "tcp(src=0x28/0x3f)," EST,
				"meter(1),push_vlan(vid=3,pcp=0),recirc(3)",
				"push_vlan(vid=3,pcp=0),meter(2),2" },
			{ "recirc_id(3),in_port(1)", "set(eth(src=02:00:00:00:00:0a)),2", "drop" },
			{ TWO_IP4 "," EST, "1", NULL },
			{ "recirc_id(2),in_port(2),eth_type(0x0800),ipv4(proto=6),"
			  "tcp(dst=0x29/0x3f)," EST,
				"meter(2),dec_ttl(le_1(drop)),recirc(4)", "1" },
			{ "recirc_id(4),in_port(2)", "1", NULL },
			{ "in_port(1),eth_type(0x0800),ipv4(proto=17),udp(src=1002)",
				"meter(3),ct(zone=1),recirc(1)", NULL } } },
};

static void install(struct both *b, const struct pipeline *p, bool other[N_FLOWS])
{
	for (unsigned i = 0; i < N_FLOWS && p->f[i].flow; i++) {
		other[i] = false;
		put(b, p->f[i].flow, p->f[i].actions);
	}
}

/* Something that entries are made from changes. */
static void disturb(struct both *b, const struct pipeline *p, bool other[N_FLOWS])
{
	unsigned i = draw(N_FLOWS);

	switch (draw(5)) {
	case 0:
		if (!p->f[i].flow || !p->f[i].other)
			break;
		other[i] = !other[i];
		put(b, p->f[i].flow, other[i] ? p->f[i].other : p->f[i].actions);
		break;
	case 1:
		if (!p->f[i].flow)
			break;
		del(b, p->f[i].flow);
		put(b, p->f[i].flow, p->f[i].actions);
		other[i] = false;
		break;
	case 2: // before others
		put(b, "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(tos=0x8/0xfc)",
			"drop");
		break;
	case 3:
		del(b, "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(tos=0x8/0xfc)");
		break;
	case 4:
		if (draw(4))
			break;
		for (unsigned k = 0; k < 2; k++)
			if (odp_conntrack(b->s[k].dp))
				(void)odp_ct_flush(odp_conntrack(b->s[k].dp), ODP_CT_ALL_ZONES);
		break;
	}
}

static void same_as_step_by_step(void **state)
{
	const struct pipeline *p = *state;
	struct conn conns[CONNS] = { 0 };
	bool other[N_FLOWS];
	struct both b;

	seed = 0x9e3779b97f4a7c15;
	dpu_clock_set(fake_clock);
	fake_now_ns = 1000000 * MS;
	both_open(&b);
	b.tagged = p->tagged;
	install(&b, p, other);
	for (unsigned i = 0; i < CONNS; i++)
		conns[i] = (struct conn){ .tcp = i % 3 != 2,
			.v6 = p->v6 && i % 2,
			.port = (uint16_t)(1000 + i),
			.seq = { 1000 * i, 50000 } };
	for (unsigned r = 0; r < ROUNDS; r++) {
		// Of one side: each has come to another zone of a pipeline, in the same turn
		unsigned from = draw(2);

		for (unsigned n = 1 + draw(40); n > 0; n--) {
			struct conn *c = &conns[draw(CONNS)];
			const struct peer to[2] = { { 0x0a000002, 80 },
				{ p->snat ? 0x0a090909 : 0x0a000001, c->port } };

			if (!c->tcp || c->state >= 3 || (c->state == 1) == from)
				speak(&b, c, from, &to[from], (uint8_t)n);
		}
		turns(&b);
		listen_all(conns);
		compare_drops(&b);
		compare_out(&b);
		compare_flows(&b);
		compare_conns(&b);
		fake_now_ns += draw(20) * MS;
		if (draw(16) == 0)
			disturb(&b, p, other);
	}
	printf("%s: %lu of packets fused\n", p->name,
		(unsigned long)dpu_counter_read(&b.s[0].w->fused_hits));
	assert_true(dpu_counter_read(&b.s[0].w->fused_hits) > ROUNDS / 2);
	assert_int_equal(dpu_counter_read(&b.s[1].w->fused_hits), 0);
	both_close(&b);
	dpu_clock_set(NULL);
}

/* A connection with a helper: what it announces once it is established is seen on both. */
static void helper_sees_all(void **state)
{
	static const char text[] = "PORT 10,0,0,1,8,0\r\n";
	struct peer to[2] = { { 0x0a000002, 80 }, { 0x0a000001, 1000 } };
	struct conn c = { .tcp = true, .port = 1000, .seq = { 1000, 5000 } };
	struct both b;
	uint8_t f[256];

	(void)state;
	both_open(&b);
	put(&b, "recirc_id(0)," IP4, "ct(zone=1),recirc(1)");
	put(&b, ONE_IP4 "," NEW, "ct(commit,zone=1,helper=ftp),2");
	put(&b, ONE_IP4 "," EST, "2");
	put(&b, "recirc_id(1),in_port(2),eth_type(0x0800)," EST, "1");
	for (unsigned n = 0; n < 20; n++) {
		unsigned from = n == 1 || (n > 2 && n % 2 == 0);
		unsigned flags = n == 0 ? SYN : n == 1 ? SYN | ACK : ACK;
		unsigned data = n == 19 ? sizeof(text) - 1 : 0;
		size_t len = frame(f, &c, from, &to[from], flags, data, 0);

		memcpy(f + len - data, text, data);
		for (unsigned i = 0; i < 2; i++)
			fake_port_push(&b.s[i].port[from], pool, f, len);
		c.seq[from] += data + (n < 2);
		c.ack[!from] = c.seq[from];
		turns(&b);
		compare_out(&b);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct odp_ct_stats s;

		odp_ct_stats(odp_conntrack(b.s[i].dp), &s);
		assert_int_equal(s.announced, 1);
	}
	both_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(helper_sees_all) };
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	pool = fake_eal(8191);
	RUN_ROWS(pipelines, same_as_step_by_step, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
