// SPDX-License-Identifier: Apache-2.0
/* The learning switch through the whole datapath: packets into fake ports, packets out. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "dpu_clock.h"
#include "fake_port.h"
#include "odp_tnl.h"

#define N_PORTS 4

struct rig {
	struct odp *dp;
	struct odp_worker *w;
	struct rte_mempool *pool;
	unsigned in_use; // mbufs, at the start
	struct fake_port p[N_PORTS];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	static const char *const names[N_PORTS] = { "p1", "p2", "p3", "p4" };

	assert_non_null(r);
	dpu_clock_set(fake_clock);
	r->pool = fake_eal(8191);
	r->in_use = rte_mempool_in_use_count(r->pool);
	struct odp_conf conf = {
		.n_workers = 1, .pool = r->pool, .mac_max = 100, .mac_max_per_port = 20
	};
	assert_int_equal(odp_create(&conf, &r->dp), 0);
	r->w = odp_worker(r->dp, 0);
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_add(&r->p[i], r->dp, r->w, names[i]);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	for (unsigned i = 0; i < N_PORTS; i++)
		if (r->p[i].port)
			fake_port_del(&r->p[i], r->w);
	odp_destroy(r->dp);
	assert_int_equal(rte_mempool_in_use_count(r->pool), r->in_use); // nothing leaked
	free(r);
	return 0;
}

static void settle(struct rig *r)
{
	for (unsigned i = 0; i < 1000; i++)
		if (odp_worker_turn(r->w) + odp_upcall_poll(r->dp) == 0)
			return;
	fail_msg("the datapath does not come to rest");
}

/* Send one frame into port `in` (0-based) and return a bit mask of the ports that it left by. */
static unsigned send(struct rig *r, unsigned in, uint8_t dst, uint8_t src, uint16_t vlan)
{
	uint8_t frame[64];
	unsigned mask = 0;

	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&r->p[i]);
	fake_port_push(&r->p[in], r->pool, frame, fake_frame(frame, dst, src, vlan));
	settle(r);
	for (unsigned i = 0; i < N_PORTS; i++)
		mask |= (r->p[i].n_out ? 1u : 0u) << i;
	return mask;
}

static void floods_then_learns(void **state)
{
	struct rig *r = *state;
	struct odp_stats s;

	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0xe); // unknown: all but the input
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x1); // learned from the first
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0x2); // the flood flow was replaced
	odp_stats(r->dp, &s);
	assert_int_equal(s.macs, 2);
	assert_int_equal(s.flows, 2);
	assert_int_equal(s.misses, 2);
	// Never back to where it came from.
	assert_int_equal(send(r, 1, 0xb, 0xc, 0), 0);
}

/* The control thread decides on 8 packets of a port before it comes to the next one's. */
static void ports_take_turns(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];

	for (unsigned i = 0; i < 64; i++) {
		size_t n = fake_frame(f, 0xff, i % 2 ? 0xb : 0xa, 0);

		fake_port_push(&r->p[i % 2], r->pool, f, n);
	}
	while (odp_worker_turn(r->w) > 0)
		;
	assert_int_equal(odp_upcall_poll(r->dp), 64);
	while (odp_worker_turn(r->w) > 0)
		;
	assert_int_equal(r->p[2].n_out, 64);
	const uint8_t first = *rte_pktmbuf_mtod_offset(r->p[2].out[0], uint8_t *, 11);

	for (unsigned i = 0; i < 64; i++) {
		uint8_t src = *rte_pktmbuf_mtod_offset(r->p[2].out[i], uint8_t *, 11);

		assert_int_equal(src == first, i / 8 % 2 == 0);
	}
}

static void vlans_are_apart(void **state)
{
	struct rig *r = *state;

	send(r, 0, 0xff, 0xa, 5);
	assert_int_equal(send(r, 1, 0xa, 0xb, 5), 0x1);
	assert_int_equal(send(r, 1, 0xa, 0xb, 6), 0xd);
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0xd);
}

static void move_takes_effect_both_ways(void **state)
{
	struct rig *r = *state;

	send(r, 0, 0xb, 0xa, 0);
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x1);
	send(r, 2, 0xb, 0xa, 0); // A now sends from p3
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x4);
	send(r, 0, 0xb, 0xa, 0); // and back: its old flow must not have hidden it
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x1);
}

static void ages_and_is_kept_by_use(void **state)
{
	struct rig *r = *state;

	send(r, 0, 0xb, 0xa, 0);
	send(r, 1, 0xa, 0xb, 0);
	for (unsigned i = 0; i < 350; i++) { // B keeps talking, A is silent
		fake_now_ns += 1000000000;
		send(r, 1, 0xff, 0xb, 0);
		odp_tick(r->dp);
	}
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0xd); // A forgotten
	assert_int_equal(send(r, 2, 0xb, 0xc, 0), 0x2); // B not
	for (unsigned i = 0; i < 350; i++) {
		fake_now_ns += 1000000000;
		odp_tick(r->dp);
	}
	struct odp_stats s;

	odp_stats(r->dp, &s);
	assert_int_equal(s.macs, 0);
	assert_int_equal(s.flows, 0);
}

static void reserved_addresses_stop_here(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];

	for (unsigned last = 0; last <= 16; last++) {
		static const uint8_t stp[5] = { 0x01, 0x80, 0xc2, 0, 0 };

		fake_frame(f, 0, 0xa, 0);
		memcpy(f, stp, sizeof(stp));
		f[5] = (uint8_t)last;
		for (unsigned i = 0; i < N_PORTS; i++)
			fake_port_reset(&r->p[i]);
		fake_port_push(&r->p[0], r->pool, f, 60);
		settle(r);
		assert_int_equal(r->p[1].n_out, last == 16 ? 1 : 0);
	}
}

/* OV-33: a port that invents addresses keeps to its share; static entries win. */
static void ov_33_limits_and_static(void **state)
{
	struct rig *r = *state;
	const uint8_t gw[6] = { 2, 0, 0, 0, 0, 0x77 };
	struct odp_stats s;

	assert_int_equal(odp_mac_set(r->dp, gw, 0, odp_port_no(r->p[3].port)), 0);
	send(r, 0, 0xb, 0x77, 0); // a tenant claims the gateway
	assert_int_equal(send(r, 1, 0x77, 0xb, 0), 0x8);
	for (unsigned i = 0; i < 60; i++)
		send(r, 0, 0xfe, (uint8_t)(0x80 + i), 0);
	odp_stats(r->dp, &s);
	assert_int_equal(s.macs, 1 + 1 + 20);
	assert_int_equal(odp_mac_set(r->dp, (const uint8_t[6]){ 1 }, 0, 1), -EINVAL);
	assert_int_equal(odp_mac_set(r->dp, gw, 0, 99), -ENODEV);
	assert_int_equal(odp_mac_flush(r->dp, ODP_PORT_NONE), 21);
	assert_int_equal(send(r, 1, 0x77, 0xb, 0), 0x8);
	assert_int_equal(odp_mac_del(r->dp, gw, 0), 0);
	assert_int_equal(odp_mac_del(r->dp, gw, 0), -ENOENT);
	assert_int_equal(send(r, 1, 0x77, 0xb, 0), 0xd);
}

static uint64_t unswitched(struct rig *r, unsigned i)
{
	return fake_port_drops(r->p[i].port, ODP_DROP_UNSWITCHED);
}

/* With an address of the underlay an uplink leaves the switch, unless an operator objects. */
static void underlay_is_outside(void **state)
{
	static const uint8_t mac[6] = { 2, 0xff, 0, 0, 0, 1 };
	struct rig *r = *state;
	struct odp_ul *ul = odp_underlay(r->dp);
	struct odp_stats s;

	send(r, 0, 0xff, 0xa, 0); // the switch knows A behind the uplink
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x1);
	assert_int_equal(odp_ul_if_set(ul, 1, 0, mac, 1500), 0);
	assert_false(odp_port_is_switched(r->p[0].port));
	// Nothing out of it: broadcast, unknown, known to tenants; and nothing is learned.
	assert_int_equal(send(r, 0, 0xff, 0xa, 0), 0);
	assert_int_equal(send(r, 0, 0xff, 0xc, 0), 0); // the same flow, whoever sends
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0);
	assert_int_equal(unswitched(r, 0), 3);
	odp_stats(r->dp, &s);
	assert_int_equal(s.macs, 1);
	assert_int_equal(s.misses, 4);
	// Nothing into it: flooded, or to who was there.
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xc);
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0xc);
	// Whom an operator pins there is not reached through the switch either.
	assert_int_equal(odp_mac_set(r->dp, (const uint8_t[6]){ 2, 0, 0, 0, 0, 0xd }, 0, 1), 0);
	assert_int_equal(send(r, 1, 0xd, 0xb, 0), 0);

	odp_port_set_switched(r->p[0].port, ODP_SWITCHED_YES);
	assert_int_equal(send(r, 0, 0xff, 0xa, 0), 0xe);
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xd);
	assert_int_equal(send(r, 1, 0xa, 0xb, 0), 0x1);
	odp_port_set_switched(r->p[0].port, ODP_SWITCHED_AUTO);
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xc);
	// A VLAN on it is as good an interface; the last one takes it back in.
	assert_int_equal(odp_ul_if_set(ul, 1, 0x1007, mac, 1500), 0);
	assert_int_equal(odp_ul_if_del(ul, 1, 0), 0);
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xc);
	assert_int_equal(odp_ul_if_del(ul, 1, 0x1007), 0);
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xd);
	assert_int_equal(send(r, 0, 0xff, 0xa, 0), 0xe);
	odp_port_set_switched(r->p[0].port, ODP_SWITCHED_NO);
	assert_int_equal(send(r, 1, 0xff, 0xb, 0), 0xc);
	assert_int_equal(unswitched(r, 0), 3);
}

/* Flows say more than the switch. */
static void flows_reach_what_is_outside(void **state)
{
	struct rig *r = *state;
	struct odp_key k, m;
	size_t at;

	odp_port_set_switched(r->p[0].port, ODP_SWITCHED_NO);
	assert_int_equal(odp_key_parse(r->dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(fake_put(r->dp, &k, &m, "3", true, NULL), 0);
	assert_int_equal(odp_key_parse(r->dp, "in_port(3)", &k, &m, &at), 0);
	assert_int_equal(fake_put(r->dp, &k, &m, "1,2", true, NULL), 0);
	assert_int_equal(send(r, 0, 0xff, 0xa, 0), 0x4);
	assert_int_equal(send(r, 2, 0xff, 0xb, 0), 0x3);
	assert_int_equal(unswitched(r, 0), 0);
}

/* Messages of neighbours meet no flow there: they are dropped one by one. */
static void neighbours_stay_outside(void **state)
{
	static const uint8_t mac[6] = { 2, 0xff, 0, 0, 0, 1 };
	struct rig *r = *state;
	uint8_t f[64];

	assert_int_equal(odp_ul_if_set(odp_underlay(r->dp), 1, 0, mac, 1500), 0);
	fake_frame(f, 0xff, 0xa, 0);
	memset(f, 0xff, 6);
	memcpy(f + 12, (const uint8_t[10]){ 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 }, 10);
	memcpy(f + 22, f + 6, 6);
	memcpy(f + 28, (const uint8_t[4]){ 192, 0, 2, 9 }, 4);
	for (unsigned i = 0; i < 3; i++)
		fake_port_push(&r->p[0], r->pool, f, 60);
	settle(r);
	for (unsigned i = 0; i < N_PORTS; i++)
		assert_int_equal(r->p[i].n_out, 0);
	assert_int_equal(unswitched(r, 0), 3);
}

static uint64_t stormed(struct rig *r, unsigned i)
{
	return fake_port_drops(r->p[i].port, ODP_DROP_STORM);
}

/* n frames at once; how many left by port `out`. */
static unsigned burst(struct rig *r, unsigned in, unsigned out, uint8_t dst, unsigned n)
{
	uint8_t f[64];
	size_t len = fake_frame(f, dst, 0xa, 0);

	if (dst == 0xff)
		memset(f, 0xff, 6);
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&r->p[i]);
	for (unsigned i = 0; i < n; i++)
		fake_port_push(&r->p[in], r->pool, f, len);
	settle(r);
	return r->p[out].n_out;
}

/* What is flooded for a port has a limit; what goes to one port, and what others flood, has not. */
static void storm_control(void **state)
{
	struct rig *r = *state;
	const struct odp_storm few = { .per_s = 10, .burst = 5 }, off = { 0 }, more = { 40, 0 };
	struct odp_storm has;

	odp_port_storm(r->p[0].port, &has);
	assert_int_equal(has.per_s, ODP_STORM_PER_S);
	send(r, 3, 0xe, 0xd, 0); // D is behind p4, and its flow is there
	assert_int_equal(burst(r, 0, 3, 0xd, 1), 1);
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 60);
	assert_int_equal(odp_port_set_storm(r->p[0].port, &few), 0);
	odp_port_storm(r->p[0].port, &has);
	assert_int_equal(has.per_s, 10);
	assert_int_equal(has.burst, 5);
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 5); // of what had a flow already
	assert_int_equal(stormed(r, 0), 55);
	assert_int_equal(burst(r, 0, 1, 0x77, 60), 0); // unknown unicast is the same bucket's
	assert_int_equal(burst(r, 0, 3, 0xd, 60), 60);
	assert_int_equal(stormed(r, 0), 115);
	assert_int_equal(burst(r, 1, 0, 0xff, 60), 60);
	assert_int_equal(stormed(r, 1), 0);
	fake_now_ns += 300000000; // three more
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 3);
	assert_int_equal(odp_port_set_storm(r->p[0].port, &more), 0);
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 40);
	assert_int_equal(odp_port_set_storm(r->p[0].port, &off), 0);
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 60);
	// A port in its place begins anew.
	assert_int_equal(odp_port_set_storm(r->p[0].port, &few), 0);
	fake_port_del(&r->p[0], r->w);
	fake_port_add(&r->p[0], r->dp, r->w, "new");
	odp_port_storm(r->p[0].port, &has);
	assert_int_equal(has.per_s, ODP_STORM_PER_S);
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 60);
}

static void flood_of(const struct odp_flow_info *f, void *arg)
{
	char *text = arg;

	assert_true(odp_actions_format(
			    NULL, f->actions, f->actions_len, ODP_PORTS_BY_NUMBER, text, 64) >= 0);
}

/* A switch of two ports is a wire: there it holds only when an operator says so. */
static void storm_on_a_wire(void **state)
{
	struct rig *r = *state;
	const struct odp_storm few = { .per_s = 10 };
	char text[64] = "";

	fake_port_del(&r->p[2], r->w);
	fake_port_del(&r->p[3], r->w);
	assert_int_equal(burst(r, 0, 1, 0xff, 1), 1);
	odp_flow_foreach(r->dp, flood_of, text);
	assert_string_equal(text, "2");
	fake_port_add(&r->p[2], r->dp, r->w, "p3");
	odp_flow_foreach(r->dp, flood_of, text);
	assert_string_equal(text, "storm(1),2,3");
	fake_port_del(&r->p[2], r->w);
	odp_flow_foreach(r->dp, flood_of, text);
	assert_string_equal(text, "2");
	assert_int_equal(odp_port_set_storm(r->p[0].port, &few), 0);
	odp_flow_foreach(r->dp, flood_of, text);
	assert_string_equal(text, "storm(1),2");
	assert_int_equal(burst(r, 0, 1, 0xff, 60), 10);
}

static void ports_come_and_go(void **state)
{
	struct rig *r = *state;

	send(r, 0, 0xb, 0xa, 0);
	send(r, 1, 0xa, 0xb, 0);
	fake_port_del(&r->p[1], r->w);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0xc); // flooded, without p2
	fake_port_add(&r->p[1], r->dp, r->w, "new");
	assert_int_equal(odp_port_no(r->p[1].port), 2); // the number is used again
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0xe); // the flood list grew
	r->p[2].caps.up = false;
	odp_port_caps_changed(r->p[2].port);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0xa);
	struct odp_stats s;

	odp_stats(r->dp, &s);
	assert_int_equal(s.drops[ODP_DROP_PORT_GONE], 0); // a flood skips it
}

/* Operator flows win, in the caches too; deleting one brings the switch back at once. */
static void operator_flows_win(void **state)
{
	struct rig *r = *state;
	struct odp_key key, mask;
	uint64_t id;
	size_t at;

	send(r, 0, 0xb, 0xa, 0);
	send(r, 1, 0xa, 0xb, 0);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0x2);
	assert_int_equal(
		odp_key_parse(r->dp, "in_port(p1),eth(src=02:00:00:00:00:0a)", &key, &mask, &at),
		0);
	assert_int_equal(fake_put(r->dp, &key, &mask, "4", false, &id), 0);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0x8);
	assert_int_equal(
		odp_flow_put(r->dp, &key, &mask, NULL, 0, false, "operator", &id), -EEXIST);
	assert_int_equal(odp_flow_put(r->dp, &key, &mask, NULL, 0, true, "operator", &id), 0);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0);
	assert_int_equal(odp_flow_del_id(r->dp, id), 0);
	assert_int_equal(odp_flow_del_id(r->dp, id), -ENOENT);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0x2);
	// All flows gone: decided again, addresses still known.
	assert_int_equal(odp_flow_flush(r->dp, NULL), 2);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0x2);
	struct odp_stats s;

	odp_stats(r->dp, &s);
	assert_int_equal(s.flows, 1);
}

static void vlan_actions_and_copies(void **state)
{
	struct rig *r = *state;
	struct odp_key key, mask;
	size_t at;

	assert_int_equal(odp_key_parse(r->dp, "in_port(1)", &key, &mask, &at), 0);
	assert_int_equal(fake_put(r->dp, &key, &mask,
				 "p2,push_vlan(vid=7,pcp=3),p3,pop_vlan,4,userspace", false, NULL),
		0);
	assert_int_equal(fake_put(r->dp, &key, &mask, "pop_vlan", true, NULL), -EINVAL);
	assert_int_equal(send(r, 0, 0xb, 0xa, 0), 0xe);
	static const uint8_t tag[4] = { 0x81, 0, 0x60, 7 };
	uint8_t plain[64];

	fake_frame(plain, 0xb, 0xa, 0);
	assert_int_equal(r->p[1].out[0]->pkt_len, 60);
	assert_memory_equal(rte_pktmbuf_mtod(r->p[1].out[0], void *), plain, 60);
	assert_int_equal(r->p[2].out[0]->pkt_len, 64);
	assert_memory_equal(rte_pktmbuf_mtod_offset(r->p[2].out[0], void *, 12), tag, 4);
	assert_memory_equal(rte_pktmbuf_mtod_offset(r->p[2].out[0], void *, 16), plain + 12, 48);
	assert_memory_equal(rte_pktmbuf_mtod(r->p[3].out[0], void *), plain, 60);
	assert_int_equal(send(r, 3, 0xa, 0xd, 0), 0x1); // the copy taught the switch A's port
}

/* OV-19: one port's storm fills its own ring; another port's first packet still gets through. */
static void ov_19_storm_is_contained(void **state)
{
	struct rig *r = *state;
	struct odp_port_stats s1, s2;
	uint8_t f[64];

	for (unsigned i = 0; i < 2000; i++) {
		fake_frame(f, 0xb, (uint8_t)i, 0);
		f[10] = (uint8_t)(i >> 8);
		fake_port_push(&r->p[0], r->pool, f, 60);
	}
	fake_frame(f, 0xb, 0xcc, 0);
	fake_port_push(&r->p[1], r->pool, f, 60);
	while (odp_worker_turn(r->w) > 0)
		;
	for (unsigned i = 0; i < 10; i++)
		odp_upcall_poll(r->dp);
	settle(r);
	odp_port_stats(r->p[0].port, &s1);
	odp_port_stats(r->p[1].port, &s2);
	assert_true(s1.drops[ODP_DROP_NO_FLOW] > 1000);
	assert_int_equal(s2.drops[ODP_DROP_NO_FLOW], 0);
	assert_true(s2.tx_packets > 0);
	assert_int_equal(s1.rx_packets, 2000);
}

/* An address that jumps between two ports has many flows decided on again: those ports pay. */
static void jumping_address_is_paid_for(void **state)
{
	enum { FLOWS = 3000, JUMPS = 100 };
	struct rig *r = *state;
	struct odp_port_stats s[N_PORTS];
	uint8_t f[64];

	for (unsigned i = 0; i < FLOWS; i++) {
		fake_frame(f, 0xa, 0, 0);
		f[9] = (uint8_t)(1 + (i >> 8));
		f[11] = (uint8_t)i;
		fake_port_push(&r->p[0], r->pool, f, 60);
		settle(r);
		for (unsigned p = 0; p < N_PORTS; p++)
			fake_port_reset(&r->p[p]);
	}
	for (unsigned i = 0; i < JUMPS; i++) {
		fake_port_push(&r->p[1 + i % 2], r->pool, f, fake_frame(f, 0xb, 0xa, 0));
		settle(r);
	}
	for (unsigned i = 0; i < N_PORTS; i++)
		odp_port_stats(r->p[i].port, &s[i]);
	// Once one port is in debt the address stays with the other.
	assert_true(
		s[1].drops[ODP_DROP_UPCALL_LIMIT] + s[2].drops[ODP_DROP_UPCALL_LIMIT] >= JUMPS / 4);
	assert_int_equal(s[0].drops[ODP_DROP_UPCALL_LIMIT], 0);
	// The debt is paid in half a second at most.
	fake_now_ns += 500000000;
	assert_int_equal(send(r, 1, 0xc, 0xd, 0), 0xd);
	assert_int_equal(send(r, 2, 0xc, 0xe, 0), 0xb);
}

/* A burst of one flow is one call to the driver, and one notification. */
static void bursts_stay_bursts(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];

	send(r, 0, 0xb, 0xa, 0);
	send(r, 1, 0xa, 0xb, 0);
	send(r, 0, 0xb, 0xa, 0);
	fake_port_reset(&r->p[1]);
	for (unsigned i = 0; i < ODP_BURST; i++)
		fake_port_push(&r->p[0], r->pool, f, fake_frame(f, 0xb, 0xa, 0));
	assert_int_equal(odp_worker_turn(r->w), ODP_BURST);
	assert_int_equal(r->p[1].n_out, ODP_BURST);
	assert_int_equal(r->p[1].tx_calls, 1);
	assert_int_equal(r->p[1].flushes, 1);
	assert_int_equal(odp_worker_turn(r->w), 0);
	assert_true(odp_worker_arm(r->w));
	assert_true(r->p[0].armed);
	odp_worker_disarm(r->w);
	assert_false(r->p[0].armed);
	fake_port_push(&r->p[0], r->pool, f, 60);
	assert_false(odp_worker_arm(r->w));
}

/* ---- no flow is wider than the decision (OV-17) ---- */

static unsigned send_frame(struct rig *r, unsigned in, const uint8_t frame[64])
{
	unsigned mask = 0;

	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&r->p[i]);
	fake_port_push(&r->p[in], r->pool, frame, 60);
	settle(r);
	for (unsigned i = 0; i < N_PORTS; i++)
		mask |= (r->p[i].n_out ? 1u : 0u) << i;
	return mask;
}

/* Two addresses are known, and there is no flow. */
static void teach(struct rig *r, uint16_t vlan)
{
	odp_mac_flush(r->dp, ODP_PORT_NONE);
	send(r, 0, 0xff, 0xa, vlan);
	send(r, 1, 0xff, 0xb, vlan);
	odp_flow_flush(r->dp, "bridge");
}

/*
 * Each bit of a frame in turn is another one. Where the flow that the frame had installed takes the
 * changed frame too, the slow path, asked anew, would have sent that to the same ports.
 */
static void no_flow_is_too_wide(void **state)
{
	struct rig *r = *state;
	unsigned taken = 0;

	for (unsigned vlan = 0; vlan < 6; vlan += 5) {
		uint8_t frame[64], other[64];

		fake_frame(frame, 0xb, 0xa, (uint16_t)vlan);
		for (unsigned bit = 0; bit < 60 * 8; bit++) {
			struct odp_stats before, after;

			memcpy(other, frame, sizeof(other));
			other[bit / 8] ^= (uint8_t)(1u << bit % 8);
			teach(r, (uint16_t)vlan);
			unsigned want = send_frame(r, 0, other); // by the slow path

			teach(r, (uint16_t)vlan);
			assert_int_equal(send_frame(r, 0, frame), 0x2);
			odp_stats(r->dp, &before);
			unsigned got = send_frame(r, 0, other);

			odp_stats(r->dp, &after);
			taken += after.misses == before.misses;
			assert_int_equal(got, want);
		}
	}
	assert_true(taken > 60 * 8); // what lies behind the addresses decides nothing
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = { T(floods_then_learns), T(ports_take_turns),
		T(vlans_are_apart), T(move_takes_effect_both_ways), T(ages_and_is_kept_by_use),
		T(reserved_addresses_stop_here), T(ov_33_limits_and_static), T(underlay_is_outside),
		T(flows_reach_what_is_outside), T(neighbours_stay_outside), T(storm_control),
		T(storm_on_a_wire), T(ports_come_and_go), T(operator_flows_win),
		T(vlan_actions_and_copies), T(ov_19_storm_is_contained),
		T(jumping_address_is_paid_for), T(bursts_stay_bursts), T(no_flow_is_too_wide) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
