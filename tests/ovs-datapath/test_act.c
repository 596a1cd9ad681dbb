// SPDX-License-Identifier: Apache-2.0
/* Actions that look beyond one packet: connections, hashes, meters, the control thread. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "dpu_clock.h"
#include "fake_port.h"
#include "odp_ct.h"
#include "odp_meter.h"
#include "random_lists.h"

#define N_PORTS 3u
#define SECOND 1000000000ull

struct rig {
	struct odp *dp;
	struct odp_worker *w;
	struct fake_port p[N_PORTS];
	unsigned before;
	/* What odp_conf.userspace was told. */
	unsigned told;
	uint32_t pid, mark;
	uint16_t data_len;
	uint8_t data[ODP_USERDATA_MAX];
	uint32_t len;
};

static struct rte_mempool *pool;

static void userspace(void *arg, const struct odp_packet_in *p)
{
	struct rig *r = arg;

	r->told++;
	r->pid = p->pid;
	r->mark = p->key->skb_mark;
	r->data_len = p->data_len;
	memcpy(r->data, p->data, p->data_len);
	r->len = p->m->pkt_len;
}

static int setup(void **state)
{
	static const char *const names[N_PORTS] = { "p1", "p2", "p3" };
	struct rig *r = calloc(1, sizeof(*r));
	struct odp_conf conf = { .n_workers = 1,
		.pool = pool,
		.host_arg = r,
		.userspace = userspace,
		.ct_conns = 1024 };

	assert_non_null(r);
	r->before = rte_mempool_in_use_count(pool);
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
		fake_port_del(&r->p[i], r->w);
	odp_destroy(r->dp);
	assert_int_equal(rte_mempool_in_use_count(pool), r->before);
	free(r);
	return 0;
}

static int flow(struct rig *r, const char *text, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(r->dp, text, &k, &m, &at), 0);
	return fake_put(r->dp, &k, &m, actions, false, NULL);
}

/* UDP from 10.0.0.src to 10.0.0.dst with a good checksum. Returns the length. */
static uint16_t udp(uint8_t f[64], uint8_t src, uint8_t dst, uint16_t sport, uint16_t dport)
{
	static const uint8_t head[38] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40,
		0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0 };
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(f + 14);
	uint16_t sum;

	memset(f, 0x5a, 64);
	memcpy(f, head, sizeof(head));
	f[29] = src;
	f[33] = dst;
	f[34] = (uint8_t)(sport >> 8);
	f[35] = (uint8_t)sport;
	f[36] = (uint8_t)(dport >> 8);
	f[37] = (uint8_t)dport;
	memset(f + 38, 0, 4);
	f[39] = 20;
	sum = rte_ipv4_cksum(ip);
	memcpy(&ip->hdr_checksum, &sum, 2);
	sum = rte_ipv4_udptcp_cksum(ip, f + 34);
	memcpy(f + 40, &sum, 2);
	return 54;
}

static void settle(struct rig *r)
{
	while (odp_worker_turn(r->w) + odp_upcall_poll(r->dp) > 0)
		;
}

/* One packet in by port 1 or 2, and a bit mask of the ports that it went out by. */
static unsigned pass(struct rig *r, unsigned in, const uint8_t *f, uint16_t len)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&r->p[i]);
	fake_port_push(&r->p[in - 1], pool, f, len);
	settle(r);
	for (unsigned i = 0; i < N_PORTS; i++)
		mask |= (r->p[i].n_out ? 1u : 0u) << (i + 1);
	return mask;
}

static uint64_t drops(struct rig *r, enum odp_drop d)
{
	struct odp_stats s;

	odp_stats(r->dp, &s);
	return s.drops[d];
}

static const uint8_t *out(struct rig *r, unsigned port)
{
	struct rte_mbuf *m = r->p[port - 1].out[0];
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);

	assert_int_equal(rte_ipv4_udptcp_cksum_verify(ip, ip + 1), 0);
	assert_int_equal((uint16_t)~rte_raw_cksum(ip, sizeof(*ip)), 0);
	return (const uint8_t *)ip;
}

#define IP ",eth_type(0x0800)"

/* Outwards anything, inwards what was asked for. */
static void stateful(void **state)
{
	struct rig *r = *state;
	uint8_t f[64], g[64];

	assert_int_equal(flow(r, "recirc_id(0),in_port(1)" IP, "ct(zone=5),recirc(0x1)"), 0);
	assert_int_equal(flow(r, "recirc_id(0),in_port(2)" IP, "ct(zone=5),recirc(0x2)"), 0);
	assert_int_equal(flow(r, "recirc_id(0x1),in_port(1),ct_state(+trk-inv),ct_zone(5)" IP,
				 "ct(commit,zone=5,mark=0x7,label=0x10000000000000001),2"),
		0);
	assert_int_equal(flow(r, "recirc_id(0x2),in_port(2),ct_state(+trk+est),ct_zone(5)" IP,
				 "recirc(0x3)"),
		0);
	assert_int_equal(
		flow(r,
			"recirc_id(0x3),in_port(2),ct_mark(0x7),"
			"ct_label(0x10000000000000001),"
			"ct_tuple4(src=10.0.0.1,dst=10.0.0.2,proto=17,tp_src=7,tp_dst=8)" IP,
			"1"),
		0);
	assert_int_equal(
		flow(r, "recirc_id(0x2),in_port(2),ct_state(+trk+new)" IP, "drop(acl)"), 0);
	uint16_t n = udp(f, 1, 2, 7, 8);

	udp(g, 2, 1, 8, 7);
	assert_int_equal(pass(r, 2, g, n), 0); // not asked for
	assert_int_equal(drops(r, ODP_DROP_ACL), 1);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(pass(r, 2, g, n), 1u << 1);
	udp(g, 2, 1, 9, 7);
	assert_int_equal(pass(r, 2, g, n), 0);
}

static void translated(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);
	const uint8_t *ip;

	assert_int_equal(flow(r, "in_port(1)" IP, "ct(commit,nat(src=99.1.2.3:5000-5000)),2"), 0);
	assert_int_equal(flow(r, "in_port(2)" IP, "ct(nat),1"), 0);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	ip = out(r, 2);
	assert_memory_equal(ip + 12, "\x63\x01\x02\x03\x0a\x00\x00\x02\x13\x88\x00\x08", 12);
	// The answer to that.
	udp(f, 2, 0, 8, 5000);
	memcpy(f + 30, (const uint8_t[]){ 0x63, 1, 2, 3 }, 4);
	struct rte_ipv4_hdr *h = (struct rte_ipv4_hdr *)(void *)(f + 14);

	h->hdr_checksum = 0;
	h->hdr_checksum = rte_ipv4_cksum(h);
	memset(f + 40, 0, 2);
	uint16_t sum = rte_ipv4_udptcp_cksum(h, f + 34);

	memcpy(f + 40, &sum, 2);
	assert_int_equal(pass(r, 2, f, n), 1u << 1);
	ip = out(r, 1);
	assert_memory_equal(ip + 12, "\x0a\x00\x00\x02\x0a\x00\x00\x01\x00\x08\x00\x07", 12);
}

/* A SYN, as udp() makes a datagram, and as long. */
static uint16_t syn(uint8_t f[64], uint8_t src, uint8_t dst, uint16_t sport, uint16_t dport)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(f + 14);
	uint16_t n = udp(f, src, dst, sport, dport), sum;

	ip->next_proto_id = IPPROTO_TCP;
	ip->hdr_checksum = 0;
	sum = rte_ipv4_cksum(ip);
	memcpy(&ip->hdr_checksum, &sum, 2);
	memset(f + 38, 0, 16);
	f[41] = 9; // of its sequence number
	f[46] = 0x50;
	f[47] = 2;
	f[48] = 0xff; // window
	sum = rte_ipv4_udptcp_cksum(ip, f + 34);
	memcpy(f + 50, &sum, 2);
	return n;
}

static struct odp_ct_stats conns(struct rig *r)
{
	struct odp_ct_stats s;

	odp_ct_stats(odp_conntrack(r->dp), &s);
	return s;
}

/*
 * Until it is answered each packet is new, and is translated by the first ct already: behind it,
 * and in the same list, it is no other connection's.
 */
static void translated_before_the_commit(void **state)
{
	static const struct {
		const char *name, *range;
		uint16_t (*make)(
			uint8_t f[64], uint8_t src, uint8_t dst, uint16_t sport, uint16_t dport);
		bool one_list;
	} rows[] = { { "UDP", "5000-5009", udp, false }, { "SYN", "5100-5109", syn, false },
		{ "UDP, one port", "5200-5200", udp, false },
		{ "SYN, one port", "5300-5300", syn, false },
		{ "UDP, one list", "5400-5409", udp, true },
		{ "SYN, one list", "5500-5509", syn, true } };
	struct rig *r = *state;
	char commit[128], text[160];
	uint8_t f[64], first[4];

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		print_message("%s\n", rows[i].name);
		odp_flow_flush(r->dp, NULL);
		snprintf(commit, sizeof(commit), "ct(commit,zone=5,nat(src=99.1.2.3:%s)),2",
			rows[i].range);
		snprintf(text, sizeof(text), "ct(zone=5,nat),%s",
			rows[i].one_list ? commit : "recirc(0x1)");
		assert_int_equal(flow(r, "recirc_id(0),in_port(1)" IP, text), 0);
		assert_int_equal(
			flow(r, "recirc_id(0x1),in_port(1),ct_state(+new+trk)" IP, commit), 0);
		for (unsigned n = 0; n < 3; n++) {
			uint16_t len = rows[i].make(f, (uint8_t)(10 + i), 2, 7, 8);

			assert_int_equal(pass(r, 1, f, len), 1u << 2);
			assert_memory_equal(out(r, 2) + 12, "\x63\x01\x02\x03", 4);
			if (n == 0)
				memcpy(first, out(r, 2) + 20, 4);
			assert_memory_equal(out(r, 2) + 20, first, 4);
		}
		assert_int_equal(conns(r).conns, i + 1);
		assert_int_equal(drops(r, ODP_DROP_NO_NAT), 0);
	}
}

/* The same of two hosts whose packets come together: each has a connection of its own. */
static void translated_in_one_burst(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];

	assert_int_equal(flow(r, "in_port(1)" IP,
				 "ct(zone=5,nat),ct(commit,zone=5,nat(src=99.1.2.3:5000-5009)),2"),
		0);
	for (unsigned n = 0; n < 3; n++) {
		uint8_t port[2];

		fake_port_reset(&r->p[1]);
		for (uint8_t host = 1; host <= 2; host++)
			fake_port_push(&r->p[0], pool, f, udp(f, host, 9, 7, 8));
		settle(r);
		assert_int_equal(r->p[1].n_out, 2);
		for (unsigned i = 0; i < 2; i++)
			port[i] = rte_pktmbuf_mtod(r->p[1].out[i], const uint8_t *)[35];
		assert_int_not_equal(port[0], port[1]);
		assert_int_equal(conns(r).conns, 2);
	}
}

/* What was cleared, changed or is asked of another zone is looked up as it is by then. */
static void translated_and_forgotten(void **state)
{
	static const char *const between[] = { "ct_clear,ct(commit,zone=5)", "ct(commit,zone=6)",
		"ct(zone=7),ct(commit,zone=5)", "set(udp(src=99)),ct(commit,zone=5)",
		"set(ipv4(dst=10.0.0.7)),ct(commit,zone=5,nat(src=99.1.2.3:6000-6009))" };
	struct rig *r = *state;
	char text[160];
	uint8_t f[64];

	for (unsigned i = 0; i < ARRAY_LEN(between); i++) {
		print_message("%s\n", between[i]);
		odp_flow_flush(r->dp, NULL);
		if (odp_conntrack(r->dp))
			(void)odp_ct_flush(odp_conntrack(r->dp), ODP_CT_ALL_ZONES);
		snprintf(text, sizeof(text),
			"ct(commit,zone=5,nat(src=99.1.2.3:5000-5009)),%s,recirc(0x1)", between[i]);
		assert_int_equal(flow(r, "recirc_id(0),in_port(1)" IP ",ipv4(proto=17)", text), 0);
		assert_int_equal(
			flow(r, "recirc_id(0x1),in_port(1),ct_state(+new+trk-inv)" IP, "2"), 0);
		assert_int_equal(
			flow(r, "recirc_id(0x1),in_port(1),ct_state(+inv+trk)" IP, "3"), 0);
		// The tuple outside is one that answers are awaited to: nobody else may have it
		assert_int_equal(
			pass(r, 1, f, udp(f, 1, 2, 7, 8)), 1u << (i == 0 || i == 2 ? 3 : 2));
		assert_int_equal(conns(r).conns, i == 0 || i == 2 ? 1 : 2);
	}
}

/* What an answer is translated back to is the connection's still when it is tracked once more. */
static void translated_back_and_tracked(void **state)
{
	struct rig *r = *state;
	uint8_t f[64], g[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	assert_int_equal(flow(r, "in_port(1)" IP, "ct(commit,nat(src=10.0.0.9:5000-5000)),2"), 0);
	assert_int_equal(flow(r, "recirc_id(0),in_port(2)" IP, "ct(nat),recirc(0x1)"), 0);
	assert_int_equal(
		flow(r, "recirc_id(0x1),in_port(2),ct_state(+est+rpl+trk)" IP, "ct(nat),recirc(2)"),
		0);
	assert_int_equal(
		flow(r,
			"recirc_id(0x2),in_port(2),ct_state(+est+rpl+dnat+trk),"
			"ct_tuple4(src=10.0.0.1,dst=10.0.0.2,proto=17,tp_src=7,tp_dst=8)" IP,
			"ct,recirc(3)"),
		0);
	assert_int_equal(flow(r, "recirc_id(0x3),in_port(2),ct_state(+est+rpl+trk)" IP, "1"), 0);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	(void)udp(g, 2, 9, 8, 5000);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pass(r, 2, g, n), 1u << 1);
		assert_memory_equal(
			out(r, 1) + 12, "\x0a\x00\x00\x02\x0a\x00\x00\x01\x00\x08\x00\x07", 12);
	}
	assert_int_equal(conns(r).conns, 1);
}

/* One port for two hosts: the second one's packets do not leave with an address of the inside. */
static void no_port_left(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n;

	assert_int_equal(flow(r, "in_port(1)" IP, "ct(commit,nat(src=99.1.2.3:5000-5000)),2"), 0);
	n = udp(f, 1, 2, 7, 8);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	n = udp(f, 3, 2, 7, 8);
	assert_int_equal(pass(r, 1, f, n), 0);
	assert_int_equal(drops(r, ODP_DROP_NO_NAT), 1);
	n = udp(f, 1, 2, 7, 8);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
}

/* A packet is dropped when nothing became of it; of its copies nobody misses one. */
static void copies_are_not_missed(void **state)
{
	static const struct {
		const char *actions;
		unsigned out, dropped;
	} lists[] = { { "clone(set(skb_mark(1))),2", 1u << 2, 0 },
		{ "2,clone(set(skb_mark(1)))", 1u << 2, 0 },
		{ "clone(clone(set(skb_mark(1))),2),3", 1u << 2 | 1u << 3, 0 },
		{ "sample(sample=100%,actions(set(skb_mark(1)))),2", 1u << 2, 0 },
		{ "clone(set(skb_mark(1)))", 0, 1 }, { "set(skb_mark(1))", 0, 1 } };
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
		uint64_t was = drops(r, ODP_DROP_FLOW_DROP);

		assert_int_equal(flow(r, "in_port(1)" IP, lists[i].actions), 0);
		assert_int_equal(pass(r, 1, f, n), lists[i].out);
		if (drops(r, ODP_DROP_FLOW_DROP) - was != lists[i].dropped)
			print_message("%s\n", lists[i].actions);
		assert_int_equal(drops(r, ODP_DROP_FLOW_DROP) - was, lists[i].dropped);
		odp_flow_flush(r->dp, NULL);
	}
}

static void ct_refused(void **state)
{
	static const char *const lists[] = { "ct(mark=0x1)", "ct(commit,helper=tftp)",
		"ct(helper=ftp)", "ct(commit,helper=ftp,nat(src=10.0.0.1))", "ct(nat(src=1.1.1.1))",
		"ct(commit,nat(src=[::1]))", "ct(commit,timeout=foo)", "ct(commit,timeout=256)",
		"ct(label=0x1)", "ct(commit,nat(src=1.1.1.2-1.1.1.1))",
		"ct,ct,ct,ct,ct,ct,ct,ct,ct" };
	struct rig *r = *state;

	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		assert_int_equal(flow(r, "in_port(1)" IP, lists[i]), -EINVAL);
	assert_int_equal(flow(r, "in_port(1)", "ct"), -EINVAL);
	assert_int_equal(flow(r, "in_port(1)" IP, "ct(commit,timeout=255),ct_clear"), 0);
}

/* All packets of a connection, both ways, go the same way; not all connections do. */
static void hashes(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	unsigned seen = 0, to2 = 0;

	assert_int_equal(flow(r, "recirc_id(0),in_port(1)" IP, "hash(sym_l4(3)),recirc(0x1)"), 0);
	assert_int_equal(flow(r, "recirc_id(0x1),in_port(1),dp_hash(0x0/0x1)" IP, "2"), 0);
	assert_int_equal(flow(r, "recirc_id(0x1),in_port(1),dp_hash(0x1/0x1)" IP, "3"), 0);
	for (uint8_t i = 0; i < 40; i++) {
		uint16_t n = udp(f, i, 200, 7, 8);
		unsigned there = pass(r, 1, f, n);

		udp(f, 200, i, 8, 7);
		assert_int_equal(pass(r, 1, f, n), there);
		assert_true(there == 1u << 2 || there == 1u << 3);
		seen |= there;
		to2 += i < 30 && there == 1u << 2;
	}
	assert_int_equal(seen, 1u << 2 | 1u << 3);
	// Together in a burst: each goes where it went alone.
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_reset(&r->p[i]);
	for (uint8_t i = 0; i < 30; i++)
		fake_port_push(&r->p[0], pool, f, udp(f, i, 200, 7, 8));
	settle(r);
	assert_int_equal(r->p[1].n_out, to2);
	assert_int_equal(r->p[2].n_out, 30 - to2);
}

static void meters(void **state)
{
	const struct odp_meter_conf three = {
		.packets = true, .n_bands = 1, .band = { { 10, 3 } }
	};
	// 54 bytes are 432 bits.
	const struct odp_meter_conf bits = { .n_bands = 2, .band = { { 1000, 0 }, { 432, 1 } } };
	struct rig *r = *state;
	struct odp_meter_info info;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	// A flow may name a meter that is to come, or never does.
	assert_int_equal(flow(r, "in_port(1)", "meter(5),2"), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(pass(r, 1, f, n), 1u << 2);
	fake_port_reset(&r->p[1]);
	assert_int_equal(odp_meter_set(r->dp, 5, &three), 0);
	for (unsigned i = 0; i < 5; i++)
		fake_port_push(&r->p[0], pool, f, n);
	settle(r);
	assert_int_equal(r->p[1].n_out, 3);
	assert_int_equal(drops(r, ODP_DROP_METER), 2);
	fake_now_ns += SECOND / 10;
	assert_int_equal(pass(r, 1, f, n), 1u << 2); // one more after a tenth of a second
	assert_int_equal(pass(r, 1, f, n), 0);
	assert_int_equal(odp_meter_get(r->dp, 5, &info), 0);
	assert_int_equal(info.packets, 7);
	assert_int_equal(info.bytes, 7 * 54);
	assert_int_equal(info.dropped[0], 3);
	assert_int_equal(info.dropped_bytes[0], 3 * 54);
	// By bits: two packets fill 1 kbit of the second band, and it lets 1000 a second through.
	assert_int_equal(odp_meter_set(r->dp, 5, &bits), 0);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(pass(r, 1, f, n), 0);
	fake_now_ns += SECOND / 1000;
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(odp_meter_get(r->dp, 5, &info), 0);
	assert_int_equal(info.dropped[0], 0);
	assert_int_equal(info.dropped[1], 1);
	assert_int_equal(odp_meter_del(r->dp, 5), 0);
	assert_int_equal(odp_meter_del(r->dp, 5), -ENOENT);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(odp_meter_set(r->dp, ODP_METERS, &three), -EINVAL);
	assert_int_equal(odp_meter_set(r->dp, 1, &(struct odp_meter_conf){ 0 }), -EINVAL);
	assert_int_equal(
		odp_meter_set(r->dp, 1, &(struct odp_meter_conf){ .n_bands = 1 }), -EINVAL);
}

static void told(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	assert_int_equal(
		flow(r, "in_port(1)",
			"set(skb_mark(0x9)),trunc(20),userspace(pid=77,userdata(0102ff)),2"),
		0);
	assert_int_equal(pass(r, 1, f, n), 1u << 2);
	assert_int_equal(r->told, 1);
	assert_int_equal(r->pid, 77);
	assert_int_equal(r->mark, 9);
	assert_int_equal(r->data_len, 3);
	assert_memory_equal(r->data, "\x01\x02\xff", 3);
	assert_int_equal(r->len, 20);
	assert_int_equal(r->p[1].out[0]->pkt_len, n);
}

/* Metadata that an action set go along; a clone's stay its own. */
static void marks(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	assert_int_equal(flow(r, "recirc_id(0),in_port(1)",
				 "set(skb_mark(0x5)),clone(set(skb_mark(0x2/0x6)),recirc(0x1)),"
				 "recirc(0x1)"),
		0);
	assert_int_equal(flow(r, "recirc_id(0x1),in_port(1),skb_mark(0x3)", "2"), 0);
	assert_int_equal(flow(r, "recirc_id(0x1),in_port(1),skb_mark(0x5)", "3"), 0);
	assert_int_equal(pass(r, 1, f, n), 1u << 2 | 1u << 3);
}

/* Roughly as many as it says. */
static void samples(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	uint16_t n = udp(f, 1, 2, 7, 8);

	assert_int_equal(flow(r, "in_port(1)", "sample(sample=25.0%,actions(3)),2"), 0);
	for (unsigned i = 0; i < 2000; i++)
		fake_port_push(&r->p[0], pool, f, n);
	settle(r);
	assert_int_equal(r->p[1].n_out, 2000);
	assert_true(r->p[2].n_out > 350 && r->p[2].n_out < 650); // seven sigma
}

/* OV-32: what is cut asks for nothing that its length cannot bear. */
static void cut_gso(void **state)
{
	struct rig *r = *state;
	uint8_t f[64];
	struct rte_mbuf *m, *tail;

	r->p[1].caps = (struct odp_port_caps){
		.up = true, .csum = true, .uso4 = true, .multi_seg = true, .mtu = 9000
	};
	odp_port_caps_changed(r->p[1].port);
	assert_int_equal(
		flow(r, "in_port(1)", "trunc(60),2,check_pkt_len(size=100,gt(3),le(2))"), 0);
	fake_port_push(&r->p[0], pool, f, udp(f, 1, 2, 7, 8));
	m = r->p[0].in[0];
	for (unsigned i = 0; i < 3; i++) {
		tail = rte_pktmbuf_alloc(pool);
		assert_non_null(rte_pktmbuf_append(tail, 1000));
		assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	}
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 8;
	m->tso_segsz = 40; // segments of 82 bytes
	m->ol_flags = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_IPV4;
	settle(r);
	assert_int_equal(r->p[1].n_out, 2);
	assert_int_equal(r->p[1].out[0]->pkt_len, 60);
	assert_int_equal(r->p[1].out[0]->ol_flags & ~RTE_MBUF_F_INDIRECT, 0);
	assert_int_equal(r->p[1].out[0]->tx_offload, 0);
	assert_int_equal(r->p[1].out[0]->nb_segs, 2);
	assert_int_equal(
		r->p[1].out[1]->pkt_len, 3054); // the whole, not the length of its segments
	assert_int_equal(r->p[2].n_out, 0);
}

/* ---- random lists ---- */

static const char *const plain_words[] = { "1", "2", "3", "2,3", "push_vlan(vid=5,pcp=1)",
	"push_vlan(tpid=0x88a8,vid=6,pcp=0)", "pop_vlan", "set(eth(dst=02:00:00:00:00:77))",
	"set(ipv4(src=9.9.9.9,ttl=3))", "set(udp(dst=99))", "set(skb_mark(0x1))",
	"userspace(pid=3,userdata(01))", "userspace", "hash(l4(1))", "recirc(0x1)", "recirc(0x2)",
	"trunc(40)", "meter(1)", "ct(commit)", "ct(commit,nat(src=8.8.8.8))", "ct_clear",
	"ct(zone=3)", "push_mpls(label=1,tc=0,ttl=1,bos=1,eth_type=0x8847)",
	"pop_mpls(eth_type=0x800)", "pop_eth",
	"push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)" };
static const char *const open_words[][2] = { { "clone(", ")" },
	{ "sample(sample=50.0%,actions(", "))" }, { "dec_ttl(le_1(", "))" },
	{ "check_pkt_len(size=60,gt(", "),le(2))" } };
static const struct list_words words = { plain_words, open_words, ARRAY_LEN(plain_words),
	ARRAY_LEN(open_words) };

static struct rte_mbuf *random_packet(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *s;
	uint8_t f[64];

	uint16_t n = udp(f, (uint8_t)(rand() % 4), (uint8_t)(rand() % 4), 7, 8), cut = n;

	f[22] = (uint8_t)(rand() % 3); // time to live
	if (rand() % 2)
		cut = (uint16_t)(14 + (unsigned)rand() % 40);
	memcpy(rte_pktmbuf_append(m, cut), f, cut);
	if (cut < n) {
		s = rte_pktmbuf_alloc(pool);
		memcpy(rte_pktmbuf_append(s, (uint16_t)(n - cut)), f + cut, n - cut);
		assert_int_equal(rte_pktmbuf_chain(m, s), 0);
	}
	return m;
}

static void random_lists(void **state)
{
	static const char *const keys[] = { "in_port(1),recirc_id(0)",
		"in_port(1),recirc_id(0),eth_type(0x0800)",
		"in_port(1),recirc_id(0),eth_type(0x0800),ipv4(proto=17)",
		"in_port(1),recirc_id(0x1)", "in_port(1),recirc_id(0x1),eth_type(0x0800)",
		"in_port(1),recirc_id(0x2)" };
	const struct odp_meter_conf conf = {
		.packets = true, .n_bands = 1, .band = { { 1000, 9 } }
	};
	static char t[8192];
	struct rig *r = *state;
	unsigned taken = 0;
	const char *reason;

	srand(4);
	assert_int_equal(odp_meter_set(r->dp, 1, &conf), 0);
	for (unsigned round = 0; round < 3000; round++) {
		struct rte_mbuf *held[8];
		unsigned n_held = 0;

		for (unsigned k = 0; k < ARRAY_LEN(keys); k++) {
			random_list(&words, t, sizeof(t), 0);
			taken += flow(r, keys[k], t) == 0;
		}
		for (unsigned i = 0; i < 8; i++) {
			struct rte_mbuf *m = random_packet();

			if (rand() % 3 == 0) {
				held[n_held++] = m;
				m = rte_pktmbuf_clone(m, pool);
			}
			r->p[0].in[r->p[0].n_in++] = m;
		}
		settle(r);
		for (unsigned i = 0; i < N_PORTS; i++) {
			for (unsigned k = 0; k < r->p[i].n_out; k++)
				assert_int_equal(rte_mbuf_check(r->p[i].out[k], 1, &reason), 0);
			fake_port_reset(&r->p[i]);
		}
		rte_pktmbuf_free_bulk(held, n_held);
		assert_int_equal(rte_mempool_in_use_count(pool), r->before);
		odp_flow_flush(r->dp, NULL);
		fake_now_ns += SECOND / 1000;
	}
	assert_true(taken > 3000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(stateful),
		T(translated),
		T(translated_before_the_commit),
		T(translated_in_one_burst),
		T(translated_and_forgotten),
		T(translated_back_and_tracked),
		T(no_port_left),
		T(copies_are_not_missed),
		T(ct_refused),
		T(hashes),
		T(meters),
		T(told),
		T(marks),
		T(samples),
		T(cut_gso),
		T(random_lists),
	};

	dpu_clock_set(fake_clock);
	pool = fake_eal(8191);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
