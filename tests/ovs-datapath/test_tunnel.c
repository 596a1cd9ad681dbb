// SPDX-License-Identifier: Apache-2.0
/*
 * Tunnels from end to end: two datapaths whose uplinks are joined, a guest behind each, and what
 * they say to one another.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "fake_port.h"
#include "inet.h"
#include "odp_tnl.h"
#include "sw_offload.h"
#include "tnl_dest.h"

#define MS 1000000ull
#define SEC (1000 * MS)

static struct rte_mempool *pool;

enum { UP = 1, VM = 2, TUN = 3 };

/* One card: port 1 is the uplink, 2 a guest, 3 the tunnel. */
struct side {
	struct odp *dp;
	struct odp_worker *w;
	struct fake_port up, vm;
	struct odp_port *tun;
	uint8_t mac[6];
	struct odp_ip ip;
};

struct net {
	struct side a, b;
	unsigned before; // packets in use
	unsigned carried; // frames over the wire
	struct rte_mbuf *last; // a copy of the last one but for neighbours' messages; owned
};

static struct odp_ip v4(uint8_t host)
{
	return (struct odp_ip){ .family = 4, .a = { 192, 0, 2, host } };
}

static struct odp_ip v6(uint8_t host)
{
	return (struct odp_ip){ .family = 6, .a = { 0x20, 1, 0xd, 0xb8, [15] = host } };
}

static void flow(struct side *s, const char *key, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(s->dp, key, &k, &m, &at), 0);
	assert_int_equal(fake_put(s->dp, &k, &m, actions, true, NULL), 0);
}

static void side_up(struct side *s, uint8_t host, const struct odp_tnl_conf *tun)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_ip ip6 = v6(host);
	struct odp_ul *ul;

	assert_int_equal(odp_create(&conf, &s->dp), 0);
	s->w = odp_worker(s->dp, 0);
	fake_port_add(&s->up, s->dp, s->w, "up");
	fake_port_add(&s->vm, s->dp, s->w, "vm");
	s->up.caps.mtu = 9000;
	odp_port_caps_changed(s->up.port);
	assert_int_equal(odp_tnl_add(s->dp, tun, &s->tun), 0);
	assert_int_equal(odp_port_no(s->tun), TUN);
	ul = odp_underlay(s->dp);
	memcpy(s->mac, (uint8_t[6]){ 2, 0xff, 0, 0, 0, host }, 6);
	s->ip = v4(host);
	assert_int_equal(odp_ul_if_set(ul, UP, 0, s->mac, 1550), 0);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0, &s->ip, 24), 0);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0, &ip6, 64), 0);
}

static void side_down(struct side *s)
{
	fake_port_del(&s->up, s->w);
	fake_port_del(&s->vm, s->w);
	odp_destroy(s->dp);
}

static void net_up(struct net *n, enum odp_tnl_type type)
{
	struct odp_tnl_conf tun = { .name = "tun", .type = type };

	memset(n, 0, sizeof(*n));
	dpu_clock_set(fake_clock);
	n->before = rte_mempool_in_use_count(pool);
	side_up(&n->a, 1, &tun);
	side_up(&n->b, 2, &tun);
}

static void net_down(struct net *n)
{
	rte_pktmbuf_free(n->last);
	side_down(&n->a);
	side_down(&n->b);
	assert_int_equal(rte_mempool_in_use_count(pool), n->before);
}

static bool is_neighbours(const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t type = odp_get16(p + 12);

	return type == 0x806 || (type == 0x86dd && p[20] == 58 && (p[54] == 135 || p[54] == 136));
}

/* What one side sent the other one receives, as a wire would have it: requests done. */
static unsigned carry(struct net *n, struct side *from, struct side *to)
{
	unsigned sent = from->up.n_out;

	for (unsigned i = 0; i < sent; i++) {
		struct rte_mbuf *m = odp_linearize(from->up.out[i], pool);

		assert_non_null(m);
		if (m->ol_flags & ODP_F_L4_CSUM)
			assert_int_equal(odp_csum_complete(m), 0);
		if (!is_neighbours(m)) {
			rte_pktmbuf_free(n->last);
			n->last = odp_copy(m, pool);
		}
		fake_port_push(&to->up, pool, rte_pktmbuf_mtod(m, void *), m->pkt_len);
		rte_pktmbuf_free(m);
		n->carried++;
	}
	from->up.n_out = 0;
	return sent;
}

/* Until nobody has anything to say. */
static void settle(struct net *n)
{
	unsigned moved;

	do {
		moved = odp_worker_turn(n->a.w) + odp_upcall_poll(n->a.dp);
		moved += odp_worker_turn(n->b.w) + odp_upcall_poll(n->b.dp);
		moved += carry(n, &n->a, &n->b) + carry(n, &n->b, &n->a);
	} while (moved > 0);
}

static void pass_time(struct net *n, uint64_t ns)
{
	for (uint64_t step; ns > 0; ns -= step) {
		step = RTE_MIN(ns, 100 * MS);
		fake_now_ns += step;
		odp_underlay_tick(n->a.dp);
		odp_underlay_tick(n->b.dp);
		settle(n);
	}
}

/* UDP from 10.0.0.1 to 10.0.0.2 of `len` bytes of payload, sums right. */
static size_t udp_frame(uint8_t *f, uint32_t len)
{
	uint8_t *ip = f + 14, *udp = ip + 20;

	memset(f, 0, 42);
	memcpy(f, (uint8_t[12]){ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 }, 12);
	odp_put16(f + 12, 0x800);
	ip[0] = 0x45;
	odp_put16(ip + 2, 28 + len);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, (uint8_t[8]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
	odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	odp_put16(udp, 1000);
	odp_put16(udp + 2, 2000);
	odp_put16(udp + 4, 8 + len);
	for (uint32_t i = 0; i < len; i++)
		udp[8 + i] = (uint8_t)(i * 7);
	odp_put16(
		udp + 6, (uint16_t)~odp_fold(odp_sum(udp, 8 + len, odp_sum(ip + 12, 8, 25 + len))));
	return 42 + len;
}

static void say(struct side *s, uint32_t len)
{
	uint8_t f[2048];

	fake_port_push(&s->vm, pool, f, udp_frame(f, len));
}

/* The guest got this many frames since the last time, each with this payload. */
static void heard(struct side *s, unsigned n, uint32_t len)
{
	uint8_t f[2048];
	size_t size = udp_frame(f, len);

	assert_int_equal(s->vm.n_out, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(s->vm.out[i]->pkt_len, size);
		assert_memory_equal(rte_pktmbuf_mtod(s->vm.out[i], void *), f, size);
	}
	fake_port_reset(&s->vm);
}

static uint64_t drops(const struct odp_port *p, enum odp_drop why)
{
	struct odp_port_stats st;

	odp_port_stats(p, &st);
	return st.drops[why];
}

static uint64_t all_drops(struct side *s)
{
	struct odp_stats st;
	uint64_t n = 0;

	odp_stats(s->dp, &st);
	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		n += st.drops[i];
	return n;
}

/* ---- one after the other, for each format ---- */

static const struct row {
	const char *name;
	enum odp_tnl_type type;
	const char *set; // at a
	const char *seen; // at b
} rows[] = {
	{ "vxlan", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2",
		"tun_id=0x5,src=192.0.2.1,dst=192.0.2.2,tos=0,ttl=64,tp_dst=4789,flags(key)" },
	{ "vxlan over ipv6", ODP_TNL_VXLAN, "tun_id=5,ipv6_dst=2001:db8::2,flags(csum)",
		"tun_id=0x5,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,ttl=64,flags(csum|key)" },
	{ "vxlan with a checksum, ttl, tos and source", ODP_TNL_VXLAN,
		"tun_id=0xffffff,src=192.0.2.1,dst=192.0.2.2,tos=0xb8,ttl=9,tp_src=7,flags(df|"
		"csum)",
		"tun_id=0xffffff,tos=0xb8,ttl=9,tp_src=7,src=192.0.2.1,flags(df|csum|key)" },
	{ "vxlan with a policy", ODP_TNL_VXLAN_GBP,
		"tun_id=1,dst=192.0.2.2,vxlan(gbp(id=9,flags=0x8))",
		"tun_id=0x1,src=192.0.2.1,vxlan(gbp(id=9,flags=0x8))" },
	{ "vxlan-gpe", ODP_TNL_VXLAN_GPE, "tun_id=1,dst=192.0.2.2",
		"tun_id=0x1,src=192.0.2.1,tp_dst=4790,vxlan(gpe(np=3,flags=0xc))" },
	{ "geneve", ODP_TNL_GENEVE,
		"tun_id=7,dst=192.0.2.2,geneve({class=0x102,type=0x1,len=4,0xdeadbeef})",
		"tun_id=0x7,src=192.0.2.1,geneve({class=0x102,type=0x1,len=4,0xdeadbeef})" },
	{ "geneve without options", ODP_TNL_GENEVE, "tun_id=7,dst=192.0.2.2,flags(csum)",
		"tun_id=0x7,src=192.0.2.1,geneve(),flags(csum|key)" },
	{ "gre", ODP_TNL_GRE, "tun_id=7,dst=192.0.2.2,flags(key)",
		"tun_id=0x7,src=192.0.2.1,tp_dst=0,flags(key)" },
	{ "gre without a key, with a checksum", ODP_TNL_GRE, "dst=192.0.2.2,flags(csum)",
		"tun_id=0x0,src=192.0.2.1,flags(csum)" },
};

/* The first packet waits for the neighbour, the next ones go as they come. */
static void through(void **state)
{
	const struct row *t = *state;
	static struct net n;
	char text[512];
	struct odp_port_stats st;
	unsigned carried;

	net_up(&n, t->type);
	snprintf(text, sizeof(text), "set(tunnel(%s)),3", t->set);
	flow(&n.a, "in_port(2)", text);
	snprintf(text, sizeof(text), "in_port(3),tunnel(%s)", t->seen);
	flow(&n.b, text, "2");
	say(&n.a, 100);
	settle(&n);
	heard(&n.b, 1, 100);
	carried = n.carried;
	for (unsigned i = 0; i < 40; i++)
		say(&n.a, 100);
	settle(&n);
	heard(&n.b, 40, 100);
	assert_int_equal(n.carried, carried + 40);
	odp_port_stats(n.a.tun, &st);
	assert_int_equal(st.tx_packets, 41);
	assert_int_equal(st.tx_bytes, 41 * 142);
	odp_port_stats(n.b.tun, &st);
	assert_int_equal(st.rx_packets, 41);
	assert_int_equal(st.rx_bytes, 41 * 142);
	assert_int_equal(all_drops(&n.a) + all_drops(&n.b), 0);
	net_down(&n);
}

/* ---- what cannot be sent ---- */

static void nowhere(void **state)
{
	static struct net n;
	struct odp_port *vm;

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	vm = n.a.vm.port;
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=203.0.113.1)),3");
	say(&n.a, 100);
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(drops(vm, ODP_DROP_TNL_ROUTE), 2);
	flow(&n.a, "in_port(2)", "3");
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(drops(vm, ODP_DROP_TNL_DST), 1);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=224.0.0.1)),3");
	say(&n.a, 100);
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(drops(vm, ODP_DROP_TNL_DST), 3);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=0x1000000,dst=192.0.2.2)),3");
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(drops(vm, ODP_DROP_TNL_KEY), 1);
	net_down(&n);
}

/* Nobody answers: what waits is given up, and what comes then is dropped at once, until later. */
static void silence(void **state)
{
	static struct net n;
	struct odp_ul_stats st;
	unsigned carried;

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.77)),3");
	say(&n.a, 100);
	settle(&n);
	odp_ul_stats(odp_underlay(n.a.dp), &st);
	assert_int_equal(st.waiting, 1);
	pass_time(&n, 4 * SEC);
	odp_ul_stats(odp_underlay(n.a.dp), &st);
	assert_int_equal(st.waiting, 0);
	carried = n.carried;
	say(&n.a, 100); // control sees that the neighbour is silent
	settle(&n);
	say(&n.a, 100); // and a worker that nothing has changed
	settle(&n);
	assert_int_equal(n.carried, carried);
	assert_int_equal(drops(n.a.vm.port, ODP_DROP_TNL_NEIGH), 2 + 1);
	pass_time(&n, 30 * SEC);
	say(&n.a, 100);
	pass_time(&n, 200 * MS);
	assert_true(n.carried > carried); // it is asked again
	net_down(&n);
}

/* VXLAN from a to b, id 5; the way is known. */
static void vxlan_up(struct net *n)
{
	net_up(n, ODP_TNL_VXLAN);
	flow(&n->a, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.2)),3");
	flow(&n->b, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.1)", "2");
	say(&n->a, 100);
	settle(n);
	heard(&n->b, 1, 100);
}

/* The last frame on the wire, changed: b gets it once more. */
static void again(struct net *n, unsigned off, uint8_t value)
{
	uint8_t *p = rte_pktmbuf_mtod(n->last, uint8_t *);
	uint8_t was = p[off];
	uint16_t sum = odp_get16(p + 24);

	p[off] = value;
	if (off >= 14 && off < 34) {
		odp_put16(p + 24, 0);
		odp_put16(p + 24, (uint16_t)~odp_fold(odp_sum(p + 14, 20, 0)));
	}
	fake_port_push(&n->b.up, pool, p, n->last->pkt_len);
	p[off] = was;
	odp_put16(p + 24, sum);
	settle(n);
}

static const struct hostile {
	const char *name;
	uint8_t off, value;
	bool at_tunnel; // counted there, else at the uplink
	enum odp_drop why;
} hostiles[] = {
	{ "UDP port of nobody", 37, 1, false, ODP_DROP_UNDERLAY },
	{ "no UDP", 23, 99, false, ODP_DROP_UNDERLAY },
	{ "address of nobody", 33, 9, false, ODP_DROP_UNDERLAY },
	{ "fragment", 20, 0x20, false, ODP_DROP_TNL_FRAGMENT },
	{ "no VNI", 42, 0, true, ODP_DROP_TNL_PROTO },
	{ "VNI of no flow", 48, 9, true, ODP_DROP_TNL_MISS },
	{ "UDP length", 38, 0xff, true, ODP_DROP_TNL_HEADER },
	{ "checksum", 40, 1, true, ODP_DROP_TNL_CSUM },
	{ "congestion", 15, 3, true, ODP_DROP_TNL_ECN },
};

static void hostile(void **state)
{
	const struct hostile *t = *state;
	static struct net n;
	const struct odp_port *at;

	vxlan_up(&n);
	at = t->at_tunnel ? n.b.tun : n.b.up.port;
	again(&n, t->off, t->value);
	again(&n, t->off, t->value);
	heard(&n.b, 0, 0);
	assert_int_equal(drops(at, t->why), 2);
	assert_int_equal(all_drops(&n.b), 2);
	again(&n, 0, 2); // as it was
	heard(&n.b, 1, 100);
	net_down(&n);
}

static void count_tunnel(const struct odp_flow_info *f, void *arg)
{
	*(unsigned *)arg += !strcmp(f->origin, "tunnel");
}

static unsigned tunnel_flows(struct side *s)
{
	unsigned n = 0;

	odp_flow_foreach(s->dp, count_tunnel, &n);
	return n;
}

/* Flows that a tunnel made go with the tunnel, the address and the interface. */
static void gone(void **state)
{
	static struct net n;
	struct odp_ul *ul;

	(void)state;
	for (unsigned what = 0; what < 3; what++) {
		vxlan_up(&n);
		ul = odp_underlay(n.b.dp);
		assert_int_equal(tunnel_flows(&n.b), 1);
		if (what == 0)
			odp_port_del(n.b.tun);
		else if (what == 1)
			assert_int_equal(odp_ul_addr_del(ul, &n.b.ip), 0);
		else
			assert_int_equal(odp_ul_if_del(ul, UP, 0), 0);
		assert_int_equal(tunnel_flows(&n.b), 0);
		say(&n.a, 100);
		settle(&n);
		assert_int_equal(drops(n.b.up.port, ODP_DROP_UNDERLAY), what < 2);
		assert_int_equal(n.b.vm.n_out, what == 2); // a frame like any other
		net_down(&n);
	}
}

/* The sender's tunnel goes while packets wait, and with packets on the way to control. */
static void gone_while_waiting(void **state)
{
	static struct net n;
	struct odp_ul_stats st;

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.77)),3");
	say(&n.a, 100);
	settle(&n);
	say(&n.a, 100);
	assert_int_equal(odp_worker_turn(n.a.w), 1);
	odp_port_del(n.a.tun);
	settle(&n);
	odp_ul_stats(odp_underlay(n.a.dp), &st);
	assert_int_equal(st.waiting + st.paths + st.neighs, 0);
	assert_int_equal(all_drops(&n.a), 2);
	net_down(&n);
}

/* What changes below a tunnel the next packet sees. */
static void path_changes(void **state)
{
	static const uint8_t other[6] = { 2, 0xee, 0, 0, 0, 9 };
	static struct net n;
	struct odp_ul_route r = { .prefix_len = 32 };
	struct odp_ul *ul;
	struct odp_ip gw = v4(9);

	(void)state;
	vxlan_up(&n);
	ul = odp_underlay(n.a.dp);
	assert_int_equal(odp_ul_neigh_set(ul, UP, 0, &n.b.ip, other), 0);
	say(&n.a, 100);
	settle(&n);
	assert_memory_equal(rte_pktmbuf_mtod(n.last, void *), other, 6);
	assert_int_equal(odp_ul_neigh_set(ul, UP, 0, &gw, (uint8_t[6]){ 2, 7 }), 0);
	r.net = n.b.ip;
	r.gw = gw;
	r.port = UP;
	assert_int_equal(odp_ul_route_add(ul, &r), 0);
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(rte_pktmbuf_mtod(n.last, uint8_t *)[1], 7);
	odp_ul_pmtu_set(ul, &n.b.ip, 1400);
	fake_port_reset(&n.a.vm);
	say(&n.a, 1400 - 50 - 28 + 1);
	say(&n.a, 1400 - 50 - 28);
	unsigned before = n.carried;

	settle(&n);
	assert_int_equal(n.carried, before + 1);
	assert_int_equal(drops(n.a.vm.port, ODP_DROP_MTU), 1);
	assert_int_equal(n.a.vm.n_out, 1); // its sender is told
	assert_int_equal(odp_get16(rte_pktmbuf_mtod(n.a.vm.out[0], uint8_t *) + 40), 1350);
	net_down(&n);
}

/* As many destinations as there may be; unused ones make room. */
static void many(void **state)
{
	static struct net n;
	char text[64];

	(void)state;
	vxlan_up(&n);
	for (unsigned i = 1; i < ODP_TNL_DESTS_MAX + 3; i++) {
		snprintf(text, sizeof(text), "set(tunnel(tun_id=%u,dst=192.0.2.2)),3", i + 100);
		flow(&n.a, "in_port(2)", text);
		say(&n.a, 10);
		settle(&n);
	}
	assert_int_equal(drops(n.a.vm.port, ODP_DROP_TNL_FULL), 3);
	odp_tick(n.a.dp);
	fake_now_ns += 11 * SEC;
	odp_tick(n.a.dp);
	say(&n.a, 10);
	settle(&n);
	assert_int_equal(drops(n.a.vm.port, ODP_DROP_TNL_FULL), 3);
	net_down(&n);
}

/* What is known of the tunnel goes along; it says nothing of where answers go. */
static void later(void **state)
{
	static struct net n;

	(void)state;
	net_up(&n, ODP_TNL_GENEVE);
	flow(&n.a, "in_port(2)",
		"set(tunnel(tun_id=5,dst=192.0.2.2,geneve({class=0x1,type=0x2,len=4,0x7}))),3");
	flow(&n.b, "in_port(3)", "recirc(0x1)");
	flow(&n.b, "recirc_id(0x1),in_port(3)", "set(skb_mark(0x1)),recirc(0x2)");
	flow(&n.b,
		"recirc_id(0x2),in_port(3),skb_mark(0x1),tunnel(tun_id=0x5,src=192.0.2.1,"
		"geneve({class=0x1,type=0x2,len=4,0x7}))",
		"2");
	say(&n.a, 100);
	settle(&n);
	heard(&n.b, 1, 100);
	flow(&n.b, "in_port(3)", "3");
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(drops(n.b.tun, ODP_DROP_TNL_DST), 1);
	net_down(&n);
}

struct told {
	unsigned out, in, sent;
};

static void note(const struct odp_trace_line *l, void *arg)
{
	struct told *t = arg;

	t->in += strstr(l->text, "out of tunnel tun, 142 bytes") != NULL;
	t->out += l->step == ODP_TRACE_OUTPUT && !strncmp(l->text, "vm (port 2)", 11);
	t->sent += strstr(l->text, "tunnel tun, 142 bytes and 50 of outer headers, by port 1") !=
		   NULL;
}

/* A trace follows packets into a tunnel and out of it, and nothing is counted. */
static void traced(void **state)
{
	static struct net n;
	struct odp_key k = { .in_port = UP };
	struct odp_port_stats was, is;
	struct told t = { 0 };
	uint8_t f[256];

	(void)state;
	vxlan_up(&n);
	odp_port_stats(n.b.tun, &was);
	assert_int_equal(odp_trace(n.b.dp, &k, rte_pktmbuf_mtod(n.last, uint8_t *), n.last->pkt_len,
				 0, note, &t),
		0);
	assert_int_equal(t.in, 1);
	assert_int_equal(t.out, 1);
	odp_port_stats(n.b.tun, &is);
	assert_memory_equal(&was, &is, sizeof(was));
	k.in_port = VM;
	assert_int_equal(odp_trace(n.a.dp, &k, f, udp_frame(f, 100), 0, note, &t), 0);
	assert_int_equal(t.sent, 1);
	net_down(&n);
}

/* ---- headers that come with the flow ---- */

#define HEADERS                                    \
	"02ff0000000202ff000000010800"             \
	"450000000000400040110000c0000201c0000202" \
	"000012b500000000"                         \
	"0800000000000500"

/* A list with the headers, as digits, where it says HEX. */
static void with_headers(char *out, size_t size, const char *list, const char *hex)
{
	const char *at = strstr(list, "HEX");

	if (at)
		snprintf(out, size, "%.*s%s%s", (int)(at - list), list, hex, at + 3);
	else
		snprintf(out, size, "%s", list);
}

static void pushed(void **state)
{
	static const char *const lists[] = {
		"tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(1))",
		"clone(tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(1)),1)",
		"set(skb_mark(0x1)),clone(tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),"
		"out_port(1)))",
	};
	static struct net n;
	struct odp_port_stats st;
	char hex[128], text[512];

	(void)state;
	memcpy(hex, HEADERS, sizeof(HEADERS));
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		net_up(&n, ODP_TNL_VXLAN);
		flow(&n.b, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.1,ttl=64,flags(df|key))", "2");
		with_headers(text, sizeof(text), lists[i], hex);
		flow(&n.a, "in_port(2)", text);
		say(&n.a, 100);
		say(&n.a, 100);
		settle(&n);
		heard(&n.b, 2, 100);
		assert_true(odp_get16(rte_pktmbuf_mtod(n.last, uint8_t *) + 34) >= 0xc000);
		odp_port_stats(n.a.tun, &st);
		assert_int_equal(st.tx_packets, 2);
		assert_int_equal(all_drops(&n.a) + all_drops(&n.b), 0);
		odp_port_del(n.a.tun);
		say(&n.a, 100); // the flow has gone with it
		odp_worker_turn(n.a.w);
		odp_upcall_poll(n.a.dp);
		net_down(&n);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *list;
		int ret;
	} bad[] = {
		{ "tnl_push(tnl_port(3),header(size=50,type=5,data(HEX)),out_port(1))", -EINVAL },
		{ "tnl_push(tnl_port(2),header(size=50,type=4,data(HEX)),out_port(1))", -ENODEV },
		{ "tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(9))", -ENODEV },
		{ "tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(3))", -EINVAL },
		{ "tnl_push(tnl_port(3),header(size=51,type=4,data(HEX00)),out_port(1))", -EINVAL },
		{ "tnl_push(tnl_port(3),header(size=4,type=4,data(01020304)),out_port(1))",
			-EINVAL },
		{ "tnl_pop(2)", -ENODEV },
		{ "tnl_pop(9)", -ENODEV },
	};
	static const char good[] =
		"tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(1))";
	static struct net n;
	char hex[128], text[512];
	struct odp_key k, m;
	size_t at;

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	memcpy(hex, HEADERS, sizeof(HEADERS));
	assert_int_equal(odp_key_parse(n.a.dp, "in_port(2)", &k, &m, &at), 0);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		with_headers(text, sizeof(text), bad[i].list, hex);
		assert_int_equal(fake_put(n.a.dp, &k, &m, text, true, NULL), bad[i].ret);
	}
	// Every byte of the headers: refused, or a template.
	for (unsigned i = 0; i < 100; i++) {
		char c = hex[i];

		hex[i] = c == 'f' ? '0' : 'f';
		with_headers(text, sizeof(text), good, hex);
		int ret = fake_put(n.a.dp, &k, &m, text, true, NULL);

		assert_true(ret == 0 || ret == -EINVAL);
		if (ret == 0)
			say(&n.a, 100);
		odp_worker_turn(n.a.w);
		fake_port_reset(&n.a.up);
		hex[i] = c;
	}
	net_down(&n);
}

/* ---- one uplink for tunnels and the switch ---- */

static void arp(struct side *s, uint8_t from, uint8_t host)
{
	uint8_t f[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0xaa, 0, 0, 0, from, 8, 6, 0, 1, 8,
		0, 6, 4, 0, 1, 2, 0xaa, 0, 0, 0, from, 192, 0, 2, from, 0, 0, 0, 0, 0, 0, 192, 0, 2,
		host };

	fake_port_push(&s->up, pool, f, sizeof(f));
	while (odp_worker_turn(s->w) + odp_upcall_poll(s->dp) > 0)
		;
}

/* Requests for an address of ours are answered, whatever the switch has learned. */
static void shared_uplink(void **state)
{
	static struct net n;
	uint8_t f[64];

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	for (unsigned i = 0; i < 3; i++) {
		arp(&n.b, 50, 60); // for somebody else: the guest hears it
		assert_int_equal(n.b.up.n_out, 0);
		assert_int_equal(n.b.vm.n_out, 1);
		fake_port_reset(&n.b.vm);
		arp(&n.b, 50, 2);
		assert_int_equal(n.b.up.n_out, 1);
		assert_int_equal(n.b.vm.n_out, 0);
		fake_port_reset(&n.b.up);
		// A broadcast of something else, from the same one: flows are for that alone.
		(void)fake_frame(f, 1, 50, 0);
		memset(f, 0xff, 6);
		memcpy(f + 6, (uint8_t[6]){ 2, 0xaa, 0, 0, 0, 50 }, 6);
		fake_port_push(&n.b.up, pool, f, 60);
		while (odp_worker_turn(n.b.w) + odp_upcall_poll(n.b.dp) > 0)
			;
		assert_int_equal(n.b.vm.n_out, 1);
		fake_port_reset(&n.b.vm);
	}
	net_down(&n);
}

/* An inner GSO frame leaves in segments that fit. */
static void gso(void **state)
{
	static struct net n;
	uint8_t f[2048];
	struct rte_mbuf *m;
	uint32_t at = 0;

	(void)state;
	vxlan_up(&n);
	fake_port_push(&n.a.vm, pool, f, udp_frame(f, 1900));
	m = n.a.vm.in[0];
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 8;
	m->tso_segsz = 600;
	odp_put16(rte_pktmbuf_mtod(m, uint8_t *) + 40, odp_fold(odp_sum(f + 26, 8, 17 + 1908)));
	settle(&n);
	assert_int_equal(n.b.vm.n_out, 4);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(n.b.vm.out[i], uint8_t *);
		uint32_t len = n.b.vm.out[i]->pkt_len - 42;

		assert_int_equal(
			odp_fold(odp_sum(p + 34, 8 + len, odp_sum(p + 26, 8, 17 + 8 + len))),
			0xffff);
		assert_memory_equal(p + 42, f + 42 + at, len);
		at += len;
	}
	assert_int_equal(at, 1900);
	net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nowhere), cmocka_unit_test(silence),
		cmocka_unit_test(gone), cmocka_unit_test(gone_while_waiting),
		cmocka_unit_test(path_changes), cmocka_unit_test(many), cmocka_unit_test(later),
		cmocka_unit_test(pushed), cmocka_unit_test(refused),
		cmocka_unit_test(shared_uplink), cmocka_unit_test(gso), cmocka_unit_test(traced) };
	int failed = 0;

	pool = fake_eal(4095);
	RUN_ROWS(rows, through, failed);
	RUN_ROWS(hostiles, hostile, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
