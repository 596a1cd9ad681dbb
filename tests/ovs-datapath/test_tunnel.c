// SPDX-License-Identifier: Apache-2.0
/*
 * Tunnels from end to end: two datapaths whose uplinks are joined, a guest behind each, and what
 * they say to one another.
 */
#include "tnl_net.h"

#include <errno.h>
#include <stdlib.h>

#include "tnl_dest.h"

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
	assert_int_equal(fake_port_drops(vm, ODP_DROP_TNL_ROUTE), 2);
	flow(&n.a, "in_port(2)", "3");
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(fake_port_drops(vm, ODP_DROP_TNL_DST), 1);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=224.0.0.1)),3");
	say(&n.a, 100);
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(fake_port_drops(vm, ODP_DROP_TNL_DST), 3);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=0x1000000,dst=192.0.2.2)),3");
	say(&n.a, 100);
	settle(&n);
	assert_int_equal(fake_port_drops(vm, ODP_DROP_TNL_KEY), 1);
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
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_TNL_NEIGH), 2 + 1);
	pass_time(&n, 30 * SEC);
	say(&n.a, 100);
	pass_time(&n, 200 * MS);
	assert_true(n.carried > carried); // it is asked again
	net_down(&n);
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
	assert_int_equal(fake_port_drops(at, t->why), 2);
	assert_int_equal(all_drops(&n.b), 2);
	again(&n, 0, 2); // as it was
	heard(&n.b, 1, 100);
	net_down(&n);
}

/* The last frame on the wire behind `n_tags` tags, the first of VLAN 100: b gets it once more. */
static void tagged(struct net *n, unsigned n_tags)
{
	static const uint8_t tag[2][4] = { { 0x81, 0, 0, 100 }, { 0x81, 0, 0, 5 } };
	const uint8_t *p = rte_pktmbuf_mtod(n->last, const uint8_t *);
	uint8_t f[2048];
	size_t len = 12;

	memcpy(f, p, 12);
	for (unsigned i = 0; i < n_tags; i++, len += 4)
		memcpy(f + len, tag[i], 4);
	memcpy(f + len, p + 12, n->last->pkt_len - 12);
	fake_port_push(&n->b.up, pool, f, len + n->last->pkt_len - 12);
	settle(n);
}

/* An interface on a VLAN takes what has its tag and no other one, whatever came before. */
static void two_tags(void **state)
{
	static struct net n;

	(void)state;
	vxlan_up(&n);
	assert_int_equal(odp_ul_if_set(odp_underlay(n.b.dp), UP, 0x1000 | 100, n.b.mac, 1550), 0);
	tagged(&n, 2);
	heard(&n.b, 0, 0);
	assert_int_equal(fake_port_drops(n.b.up.port, ODP_DROP_UNDERLAY), 1);
	tagged(&n, 1);
	heard(&n.b, 1, 100);
	tagged(&n, 2);
	heard(&n.b, 0, 0);
	assert_int_equal(fake_port_drops(n.b.up.port, ODP_DROP_UNDERLAY), 2);
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
		assert_int_equal(fake_port_drops(n.b.up.port, ODP_DROP_UNDERLAY), what < 2);
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
	assert_int_equal(st.waiting + st.paths + st.neighbours, 0);
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
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_MTU), 1);
	assert_int_equal(n.a.vm.n_out, 1); // its sender is told
	assert_int_equal(odp_get16(rte_pktmbuf_mtod(n.a.vm.out[0], uint8_t *) + 40), 1350);
	net_down(&n);
}

static unsigned n_looks;

static uint64_t counted_clock(void)
{
	n_looks++;
	return fake_now_ns;
}

/* Whoever is told that packets are too long is told at the turn's time: the clock is read once. */
static void told_in_a_turn(void **state)
{
	static struct net n;

	(void)state;
	vxlan_up(&n);
	odp_ul_pmtu_set(odp_underlay(n.a.dp), &n.b.ip, 1400);
	say(&n.a, 1400);
	settle(&n); // the way with its new MTU is known
	dpu_clock_set(counted_clock);
	for (unsigned turn = 0; turn < 3; turn++) {
		fake_now_ns += SEC;
		fake_port_reset(&n.a.vm);
		n_looks = 0;
		for (unsigned i = 0; i < 30; i++)
			say(&n.a, 1400);
		odp_worker_turn(n.a.w);
		assert_int_equal(n.a.vm.n_out, 20); // a second's share, in each
		assert_int_equal(n_looks, 1);
	}
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_MTU), 1 + 3 * 30);
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
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_TNL_FULL), 3);
	odp_tick(n.a.dp);
	fake_now_ns += 11 * SEC;
	odp_tick(n.a.dp);
	say(&n.a, 10);
	settle(&n);
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_TNL_FULL), 3);
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
	assert_int_equal(fake_port_drops(n.b.tun, ODP_DROP_TNL_DST), 1);
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
		("set(skb_mark(0x1)),clone(tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),"
		 "out_port(1)))"),
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

static void all_text(const struct odp_trace_line *l, void *arg)
{
	char *text = arg;
	size_t at = strlen(text);

	if (l->step != ODP_TRACE_KEY && l->step != ODP_TRACE_FLOW && l->step != ODP_TRACE_ACTIONS)
		snprintf(text + at, 1024 - at, "%s: %s\n", odp_trace_step_name(l->step), l->text);
}

/* What a worker does with a packet that is too long, or that has no outer headers. */
static const struct trace_row {
	const char *name, *list; // from the guest of a
	uint32_t len;
	const char *told[2]; // one behind the other; NULL: nothing more
	unsigned vm, up; // frames that a worker sends there
	enum odp_drop why;
	bool at_tunnel; // counted there, else at the guest
} trace_rows[] = {
	{ "as long as may be", "tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(1))",
		1422, { "50 bytes of outer headers", "output: up (port 1), 1514 bytes\n" }, 0, 1,
		ODP_DROP_COUNT, false },
	{ "too long", "tnl_push(tnl_port(3),header(size=50,type=4,data(HEX)),out_port(1))", 1423,
		{ "drop: MTU", NULL }, 1, 0, ODP_DROP_MTU, false },
	{ "nothing to take off, and on", "tnl_pop(3),2", 100,
		{ "drop: TNL_OTHER", "output: vm (port 2), 142 bytes\n" }, 1, 0, ODP_DROP_TNL_OTHER,
		true },
	{ "nothing to take off", "2,tnl_pop(3)", 100,
		{ "output: vm (port 2), 142 bytes\n", "drop: TNL_OTHER" }, 1, 0, ODP_DROP_TNL_OTHER,
		true },
};

static void traced_as_run(void **state)
{
	const struct trace_row *t = *state;
	struct odp_key k = { .in_port = VM };
	static struct net n;
	char list[512], text[1024] = "", *at = text;
	uint8_t f[2048];

	net_up(&n, ODP_TNL_VXLAN);
	n.a.up.caps.mtu = 1500;
	odp_port_caps_changed(n.a.up.port);
	with_headers(list, sizeof(list), t->list, HEADERS);
	flow(&n.a, "in_port(2)", list);
	assert_int_equal(odp_trace(n.a.dp, &k, f, udp_frame(f, t->len), 0, all_text, text), 0);
	for (unsigned i = 0; i < 2 && t->told[i]; i++) {
		at = strstr(at, t->told[i]);
		assert_non_null(at);
		at += strlen(t->told[i]);
	}
	say(&n.a, t->len);
	odp_worker_turn(n.a.w);
	assert_int_equal(n.a.vm.n_out, t->vm);
	assert_int_equal(n.a.up.n_out, t->up);
	if (t->why != ODP_DROP_COUNT)
		assert_int_equal(fake_port_drops(t->at_tunnel ? n.a.tun : n.a.vm.port, t->why), 1);
	fake_port_reset(&n.a.up);
	net_down(&n);
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

static void ask(struct side *s, uint8_t from, uint8_t host)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const uint8_t mac[6] = { 2, 0xaa, 0, 0, 0, from };
	uint8_t f[60];

	fake_port_push(&s->up, pool, f, arp(f, all, mac, 1, IP(from), IP(host)));
	while (odp_worker_turn(s->w) + odp_upcall_poll(s->dp) > 0)
		;
}

/*
 * Requests for an address of ours are answered, whatever the switch has learned, where an operator
 * wants both on one wire.
 */
static void shared_uplink(void **state)
{
	static struct net n;
	uint8_t f[64];

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	odp_port_set_switched(n.b.up.port, ODP_SWITCHED_YES);
	for (unsigned i = 0; i < 3; i++) {
		ask(&n.b, 50, 60); // for somebody else: the guest hears it
		assert_int_equal(n.b.up.n_out, 0);
		assert_int_equal(n.b.vm.n_out, 1);
		fake_port_reset(&n.b.vm);
		ask(&n.b, 50, 2);
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nowhere), cmocka_unit_test(silence),
		cmocka_unit_test(gone), cmocka_unit_test(gone_while_waiting),
		cmocka_unit_test(path_changes), cmocka_unit_test(told_in_a_turn),
		cmocka_unit_test(many), cmocka_unit_test(later), cmocka_unit_test(pushed),
		cmocka_unit_test(refused), cmocka_unit_test(shared_uplink),
		cmocka_unit_test(two_tags), cmocka_unit_test(traced) };
	int failed = 0;

	pool = fake_eal(4095);
	RUN_ROWS(rows, through, failed);
	RUN_ROWS(hostiles, hostile, failed);
	RUN_ROWS(trace_rows, traced_as_run, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
