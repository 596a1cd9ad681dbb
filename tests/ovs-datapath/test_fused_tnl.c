// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path into tunnels and out of them against the step-by-step path: one host behind port
 * 1, the other one behind a tunnel (port 3) over an uplink (port 2). Between packets everything
 * changes that the way through a tunnel is made from: flows, the neighbour, routes, MTUs, our
 * address, the tunnel port. The other end sends what nobody asked for, too.
 */
#include "fused_both.h"

#define TEXT 512u
#define FLOWS 10u

enum { UP = 2, TUN = 3 };

static const uint8_t our_mac[6] = { 2, 0xff, 0, 0, 0, 1 };

#define HERE "src=192.0.2.2,dst=192.0.2.1"
#define HERE6 "ipv6_src=2001:db8::2,ipv6_dst=2001:db8::1"
#define EDIT "set(eth(src=02:00:00:00:00:0a)),set(ipv4(tos=0x20/0xfc)),dec_ttl(le_1(drop)),"

static const struct tunnel {
	const char *name;
	enum odp_tnl_type type;
	bool v6; // the underlay
	bool snat;
	const char *set, *other; // where to, and where else
	const char *back; // what the other end sends
	const char *look, *more; // at what flows look, before conntrack and behind it
	const char *edit; // of established connections
	const char *whole; // from where packets go the whole way; NULL: from nowhere
} tunnels[] = {
	{ "vxlan", ODP_TNL_VXLAN, false, false, "tun_id=5,dst=192.0.2.2,flags(df)",
		"tun_id=6,dst=192.0.2.2,flags(df)", "tun_id=5," HERE, "tun_id=0x5," HERE,
		"tun_id=0x5,src=192.0.2.2", "" },
	{ "vxlan, edits, a checksum and a time to live", ODP_TNL_VXLAN, false, false,
		"tun_id=5,dst=192.0.2.2,tos=0x20,ttl=9,flags(csum)", "tun_id=5,dst=192.0.2.9",
		"tun_id=5," HERE ",flags(csum)", "tun_id=0x5," HERE, "src=192.0.2.2,ttl=64", EDIT,
		"src=192.0.2.2,ttl=9" },
	{ "vxlan over IPv6, translation", ODP_TNL_VXLAN, true, true,
		"tun_id=5,ipv6_dst=2001:db8::2,flags(csum)", "tun_id=7,ipv6_dst=2001:db8::2",
		"tun_id=5," HERE6 ",flags(csum)", "tun_id=0x5," HERE6,
		"ipv6_src=2001:db8::2,tos=0xb8,flags(+csum)", "" },
	{ "vxlan with a policy", ODP_TNL_VXLAN_GBP, false, true,
		"tun_id=1,dst=192.0.2.2,vxlan(gbp(id=9,flags=0x8))",
		"tun_id=1,dst=192.0.2.2,vxlan(gbp(id=10))",
		"tun_id=1," HERE ",vxlan(gbp(id=9,flags=0x8))", "tun_id=0x1,src=192.0.2.2",
		"src=192.0.2.2,vxlan(gbp(id=9,flags=0x8))", EDIT },
	{ "vxlan-gpe", ODP_TNL_VXLAN_GPE, false, false, "tun_id=1,dst=192.0.2.2,flags(df)",
		"tun_id=2,dst=192.0.2.2", "tun_id=1," HERE ",vxlan(gpe(np=3,flags=0xc))",
		"tun_id=0x1,src=192.0.2.2", "src=192.0.2.2,tp_src=50001", "" },
	{ "geneve", ODP_TNL_GENEVE, false, false,
		"tun_id=7,dst=192.0.2.2,geneve({class=0x102,type=0x1,len=4,0xdeadbeef})",
		"tun_id=7,dst=192.0.2.2,geneve({class=0x102,type=0x1,len=4,0xdeadbef0})",
		"tun_id=7," HERE ",geneve({class=0x102,type=0x1,len=4,0xdeadbeef}"
		"{class=0x103,type=0x2,len=8,0x1122334455667788})",
		"tun_id=0x7,src=192.0.2.2",
		"src=192.0.2.2,geneve({class=0x102,type=0x1,len=4,0xdeadbeef}"
		"{class=0x103,type=0x2,len=8,0x1122334455667788/0xff})",
		"" },
	{ "geneve over IPv6, an option that nobody looks at", ODP_TNL_GENEVE, true, false,
		"tun_id=7,ipv6_dst=2001:db8::2", "tun_id=8,ipv6_dst=2001:db8::2,flags(csum)",
		"tun_id=7," HERE6 ",geneve({class=0x102,type=0x1,len=4,0x1}),flags(csum)",
		"tun_id=0x7,ipv6_src=2001:db8::2", "ipv6_src=2001:db8::2", EDIT },
	{ "gre", ODP_TNL_GRE, false, true, "tun_id=7,dst=192.0.2.2,flags(df|key)",
		"tun_id=7,dst=192.0.2.2,flags(csum|key)", "tun_id=7," HERE ",flags(key)",
		"tun_id=0x7,src=192.0.2.2", "src=192.0.2.2,flags(+key)", "" },
	{ "gre over IPv6, a checksum and no key", ODP_TNL_GRE, true, false,
		"ipv6_dst=2001:db8::2,flags(csum)", "ipv6_dst=2001:db8::2,flags(key)",
		"tun_id=0," HERE6 ",flags(csum)", "ipv6_src=2001:db8::2",
		"ipv6_src=2001:db8::2,flags(-key)", "" },
};

static const struct tunnel *now; // the row that is run

/* ---- the other end ---- */

static struct odp_ip host(uint8_t n)
{
	struct odp_ip ip = { .family = 4, .a = { 192, 0, 2, n } };

	if (now->v6)
		ip = (struct odp_ip){ .family = 6, .a = { 0x20, 1, 0xd, 0xb8, [15] = n } };
	return ip;
}

/* What the other end may say of itself: mostly the same, at times something else. */
static void vary(struct odp_tnl_key *key, uint32_t r)
{
	uint32_t what = r >> 8 & 63;

	key->ttl = r & 1 ? 64 : 9;
	key->tos = r & 2 ? 0xb8 : 0;
	key->tp_src = key->tp_dst ? (uint16_t)(50000 + (r >> 2 & 3)) : 0;
	if (what == 0)
		key->id ^= 1;
	else if (what == 1)
		key->src[now->v6 ? 15 : 3] = 7;
	else if (what == 2)
		key->dst[now->v6 ? 15 : 3] = 7;
	else if (what == 3)
		key->tos |= 3;
	else if (what == 4)
		key->flags ^= ODP_TNL_F_DF;
	else if (what == 5 && key->opts_len)
		key->opts[key->opts_len - 1] ^= 1;
}

static void wrap(struct rte_mbuf **m, uint32_t r)
{
	static const struct odp_tnl_link link = { .eth_dst = { 2, 0xff, 0, 0, 0, 1 },
		.eth_src = { 2, 0xff, 0, 0, 0, 2 } };
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_tnl_tmpl tmpl;
	struct odp_tnl_key key;
	struct odp_key k, mask;
	char text[TEXT];
	size_t at;

	snprintf(text, sizeof(text), "in_port(3),tunnel(%s)", now->back);
	assert_int_equal(odp_key_parse(NULL, text, &k, &mask, &at), 0);
	odp_tnl_from_flow(&k.tnl, &key);
	key.tp_dst = odp_tnl_udp_port(now->type);
	vary(&key, r);
	assert_int_equal(odp_tnl_compose(now->type, &key, ODP_INNER_ETH, &link, 0, &tmpl), 0);
	assert_int_equal(odp_tnl_push(m, &tmpl, &tx, r), 0);
	if ((*m)->ol_flags & ODP_F_L4_CSUM)
		assert_int_equal(odp_csum_complete(*m), 0);
	if (r >> 16 == 0x1234) // a bit on the way
		rte_pktmbuf_mtod(*m, uint8_t *)[14 + (r & 63) % (tmpl.len - 14)] ^= 4;
}

/* ---- this end ---- */

static void neighbour(struct both *b, uint8_t n, uint8_t mac)
{
	const uint8_t at[6] = { 2, 0xff, 0, 0, n, mac };
	struct odp_ip ip = host(n);

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(odp_ul_neigh_set(odp_underlay(b->s[i].dp), UP, 0, &ip, at), 0);
}

static void interface(struct both *b, unsigned mtu)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			odp_ul_if_set(odp_underlay(b->s[i].dp), UP, 0, our_mac, (uint16_t)mtu), 0);
}

static void address(struct both *b, bool there)
{
	struct odp_ip ip = host(1);

	for (unsigned i = 0; i < 2; i++) {
		struct odp_ul *ul = odp_underlay(b->s[i].dp);

		if (there)
			assert_int_equal(odp_ul_addr_add(ul, UP, 0, &ip, now->v6 ? 64 : 24), 0);
		else
			assert_int_equal(odp_ul_addr_del(ul, &ip), 0);
	}
}

/* Through a gateway, or the neighbour itself. */
static void route(struct both *b, bool gateway)
{
	struct odp_ul_route r = {
		.net = host(2), .prefix_len = now->v6 ? 128 : 32, .gw = host(9), .port = UP
	};

	for (unsigned i = 0; i < 2; i++) {
		struct odp_ul *ul = odp_underlay(b->s[i].dp);

		if (gateway)
			assert_int_equal(odp_ul_route_add(ul, &r), 0);
		else
			assert_int_equal(odp_ul_route_del(ul, &r.net, r.prefix_len), 0);
	}
}

static void path_mtu(struct both *b, unsigned mtu)
{
	struct odp_ip ip = host(2);

	for (unsigned i = 0; i < 2; i++)
		odp_ul_pmtu_set(odp_underlay(b->s[i].dp), &ip, (uint16_t)mtu);
}

/* What changes, and how it is at the moment. */
struct world {
	bool other[FLOWS], tun, addr, gateway;
};

static void flow_text(unsigned i, bool other, char flow[TEXT], char acts[TEXT])
{
	const struct tunnel *t = now;
	const char *nat = t->snat ? ",nat" : "";
	const char *commit = t->snat ? ",nat(src=10.9.9.9)" : "";

	*flow = *acts = '\0';
	switch (i) {
	case 0:
		snprintf(flow, TEXT, "in_port(1)," IP4);
		snprintf(acts, TEXT, "%sct(zone=1%s),recirc(1)",
			other ? "set(eth(src=02:00:00:00:00:1a))," : "", nat);
		break;
	case 1:
		snprintf(flow, TEXT, "recirc_id(1),in_port(1)," IP4 "," NEW);
		snprintf(acts, TEXT, "ct(commit,zone=1%s),set(tunnel(%s)),3", commit, t->set);
		break;
	case 2:
		snprintf(flow, TEXT, "recirc_id(1),in_port(1)," IP4 "," EST);
		snprintf(acts, TEXT, "%sset(tunnel(%s)),3", t->edit, other ? t->other : t->set);
		break;
	case 3:
		snprintf(flow, TEXT, "in_port(3),tunnel(%s)," IP4, t->look);
		snprintf(acts, TEXT, other ? "drop" : "ct(zone=1%s),recirc(2)", nat);
		break;
	case 4:
		snprintf(flow, TEXT, "recirc_id(2),in_port(3),tunnel(%s)," IP4 "," EST, t->more);
		snprintf(acts, TEXT, other ? "set(eth(src=02:00:00:00:00:0c)),1" : "1");
		break;
	case 5:
		snprintf(flow, TEXT, "recirc_id(1),in_port(1)," IP4 ",ct_state(+inv)");
		snprintf(acts, TEXT, "drop");
		break;
	case 6:
		snprintf(flow, TEXT, "recirc_id(2),in_port(3)," IP4 ",ct_state(+inv)");
		snprintf(acts, TEXT, "drop");
		break;
	case 7:
		snprintf(flow, TEXT, "recirc_id(2),in_port(3)," IP4 "," NEW);
		snprintf(acts, TEXT, "drop");
		break;
	case 8:
		if (!t->whole)
			break;
		snprintf(flow, TEXT, "recirc_id(2),in_port(3),tunnel(%s)," IP4 "," EST, t->whole);
		snprintf(acts, TEXT, other ? "1" : "trunc(1000),1");
		break;
	default: // before others
		snprintf(flow, TEXT,
			"in_port(1),eth(src=02:00:00:00:00:01)," IP4 ",ipv4(tos=0x8/0xfc)");
		snprintf(acts, TEXT, other ? "drop" : "ct(zone=1%s),recirc(1)", nat);
		break;
	}
}

static void flow_put(struct both *b, unsigned i, bool other)
{
	char flow[TEXT], acts[TEXT];

	flow_text(i, other, flow, acts);
	if (*flow)
		put(b, flow, acts);
}

static void flow_del(struct both *b, unsigned i)
{
	char flow[TEXT], acts[TEXT];

	flow_text(i, false, flow, acts);
	if (*flow)
		del(b, flow);
}

static void install(struct both *b, struct world *w)
{
	for (unsigned i = 0; i < FLOWS - 1; i++)
		flow_put(b, i, w->other[i] = false);
}

/* With the tunnel port go the flows that name it. */
static void tunnel_port(struct both *b, struct world *w)
{
	w->tun = !w->tun;
	for (unsigned i = 0; i < 2; i++) {
		struct odp_tnl_conf conf = { .name = "tun", .type = now->type };
		struct odp_port *tun;

		if (!w->tun)
			odp_port_del(odp_port_by_no(b->s[i].dp, TUN));
		else
			assert_int_equal(odp_tnl_add(b->s[i].dp, &conf, &tun), 0);
	}
	if (w->tun)
		install(b, w);
}

static void flush(struct both *b)
{
	for (unsigned i = 0; i < 2; i++)
		if (odp_conntrack(b->s[i].dp))
			(void)odp_ct_flush(odp_conntrack(b->s[i].dp), ODP_CT_ALL_ZONES);
}

/* Something that entries are made from changes. */
static void disturb(struct both *b, struct world *w)
{
	unsigned i = draw(FLOWS);

	switch (draw(10)) {
	case 0:
		if (w->tun)
			flow_put(b, i, w->other[i] = !w->other[i]);
		break;
	case 1:
		flow_del(b, i);
		if (w->tun)
			flow_put(b, i, w->other[i] = false);
		break;
	case 2:
		flow_del(b, FLOWS - 1);
		break;
	case 3:
		if (draw(4) == 0)
			flush(b);
		break;
	case 4:
	case 5:
		neighbour(b, draw(2) ? 2 : 9, (uint8_t)draw(250));
		break;
	case 6:
		interface(b, 1400 + draw(2) * 150);
		break;
	case 7:
		path_mtu(b, draw(2) ? UINT16_MAX : (now->v6 ? 140 : 110) + draw(50));
		break;
	case 8:
		if (draw(2)) {
			w->addr = !w->addr;
			address(b, w->addr);
		} else {
			tunnel_port(b, w);
		}
		break;
	default:
		if (w->addr)
			route(b, w->gateway = !w->gateway);
		break;
	}
	if (!w->addr && draw(2))
		address(b, w->addr = true);
	if (!w->tun && draw(2))
		tunnel_port(b, w);
}

static void open_all(struct both *b, struct world *w)
{
	dpu_clock_set(fake_clock);
	fake_now_ns = 1000000 * MS;
	both_open(b, now->type);
	b->polls = true;
	b->wrap = wrap;
	b->outer = true;
	*w = (struct world){ .tun = true, .addr = true };
	interface(b, 1550);
	address(b, true);
	neighbour(b, 2, 2);
	neighbour(b, 9, 9);
	install(b, w);
}

static void tick(struct both *b)
{
	fake_now_ns += draw(20) * MS;
	for (unsigned i = 0; i < 2; i++)
		odp_underlay_tick(b->s[i].dp);
}

static void same_as_step_by_step(void **state)
{
	struct conn conns[CONNS] = { 0 };
	struct world world;
	struct both b;

	now = *state;
	seed = 0x9e3779b97f4a7c15;
	open_all(&b, &world);
	conns_init(conns, false);
	for (unsigned r = 0; r < ROUNDS; r++) {
		speak_some(&b, conns, now->snat);
		compare_all(&b);
		if (world.tun)
			compare_ports(&b);
		tick(&b);
		if (draw(16) == 0)
			disturb(&b, &world);
	}
	both_end(&b, now->name);
}

/* A tag that is pushed makes it too long, and its sender is told, through the translation. */
static void too_long_with_a_tag(void **state)
{
	static const struct tunnel row = { "a tag", ODP_TNL_VXLAN, false, true,
		"tun_id=5,dst=192.0.2.2", "tun_id=6,dst=192.0.2.2", "tun_id=5," HERE,
		"tun_id=0x5," HERE, "src=192.0.2.2", "push_vlan(vid=3,pcp=0),", NULL };
	const struct peer to[2] = { { 0x0a000002, 80 }, { 0x0a090909, 1000 } };
	struct conn c = { .port = 1000 };
	unsigned told = 0;
	struct world world;
	struct both b;
	uint8_t f[256];

	(void)state;
	now = &row;
	seed = 0x9e3779b97f4a7c15;
	open_all(&b, &world);
	for (unsigned n = 0; n < 60; n++) {
		unsigned from = n < 12 ? n % 2 : 0;
		size_t len = frame(f, &c, from, &to[from], 0, 30, (uint8_t)n);

		f[20] = 0x40; // not to be fragmented
		odp_put16(f + 24, 0);
		odp_put16(f + 24, (uint16_t)~odp_fold(odp_sum(f + 14, 20, 0)));
		push(&b, &c, from, f, len);
		turns(&b);
		told += n > 30 ? b.s[0].port[0].n_out : 0;
		compare_all(&b);
		fake_now_ns += 100 * MS;
		if (n == 30) // what came in fits: 72 bytes, at most 74
			path_mtu(&b, 110);
	}
	assert_true(told > 10);
	assert_true(dpu_counter_read(&b.s[0].w->fused_hits) > 10);
	both_close(&b);
	dpu_clock_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(too_long_with_a_tag) };
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	pool = fake_eal(8191);
	RUN_ROWS(tunnels, same_as_step_by_step, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
