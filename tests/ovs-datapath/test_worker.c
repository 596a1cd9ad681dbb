// SPDX-License-Identifier: Apache-2.0
/* Hand-over between two workers in threads, port capabilities, and what a port cannot take. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "sw_offload.h"

static struct rte_mempool *pool;

/* Two worker threads in turns; control waits for a turn of each to have ended. */
struct host {
	struct odp *dp;
	_Atomic uint64_t turns[2];
	_Atomic unsigned wakes;
	_Atomic int stop;
};

struct thread {
	struct host *h;
	unsigned idx;
	pthread_t id;
};

static void wake(void *arg, unsigned worker)
{
	(void)worker;
	atomic_fetch_add(&((struct host *)arg)->wakes, 1);
}

static void synchronize(void *arg)
{
	struct host *h = arg;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t seen = atomic_load(&h->turns[i]);

		while (!atomic_load(&h->stop) && atomic_load(&h->turns[i]) < seen + 2)
			sched_yield();
	}
}

static void *run(void *arg)
{
	struct thread *t = arg;

	while (!atomic_load(&t->h->stop)) {
		odp_worker_turn(odp_worker(t->h->dp, t->idx));
		atomic_fetch_add(&t->h->turns[t->idx], 1);
	}
	return NULL;
}

/*
 * p1 is received by worker 0, p2 is sent by worker 1. Every packet arrives once, in order, while
 * the control thread installs and deletes flows above them all the time.
 */
static void handover(void **state)
{
	static struct fake_port p1, p2;
	struct host h = { .stop = 1 };
	struct odp_conf conf = { .n_workers = 2,
		.pool = pool,
		.host_arg = &h,
		.wake = wake,
		.synchronize = synchronize };
	struct thread t[2] = { { &h, 0, 0 }, { &h, 1, 0 } };
	struct odp_key k, m, k2, m2;
	struct odp_action to2 = { .type = ODP_ACT_OUTPUT, .port = 2 };
	unsigned before = rte_mempool_in_use_count(pool);
	size_t at;

	(void)state;
	assert_int_equal(odp_create(&conf, &h.dp), 0);
	fake_port_add(&p1, h.dp, odp_worker(h.dp, 0), "p1");
	fake_port_add(&p2, h.dp, odp_worker(h.dp, 1), "p2");
	assert_int_equal(odp_key_parse(h.dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(odp_flow_put(h.dp, &k, &m, &to2, 1, false, "operator", NULL), 0);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t f[64];

		fake_frame(f, 0xb, 0xa, 0);
		memcpy(f + 20, &i, sizeof(i));
		fake_port_push(&p1, pool, f, 60);
	}
	h.stop = 0;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i].id, NULL, run, &t[i]), 0);
	assert_int_equal(
		odp_key_parse(h.dp, "in_port(1),eth(src=02:00:00:00:00:0a)", &k2, &m2, &at), 0);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(odp_flow_put(h.dp, &k2, &m2, &to2, 1, false, "operator", NULL), 0);
		assert_int_equal(odp_flow_del(h.dp, &k2, &m2), 0);
		odp_tick(h.dp);
	}
	struct odp_port_stats s;

	do {
		odp_upcall_poll(h.dp);
		odp_port_stats(p2.port, &s);
	} while (s.tx_packets + s.drops[ODP_DROP_HANDOVER_FULL] < 1000);
	h.stop = 1;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i].id, NULL), 0);
	assert_int_equal(s.tx_packets, p2.n_out);
	unsigned last = 0;

	for (unsigned i = 0; i < p2.n_out; i++) {
		unsigned n;

		memcpy(&n, rte_pktmbuf_mtod_offset(p2.out[i], void *, 20), sizeof(n));
		assert_true(i == 0 || n > last);
		last = n;
	}
	fake_port_del(&p1, odp_worker(h.dp, 0));
	fake_port_del(&p2, odp_worker(h.dp, 1));
	odp_destroy(h.dp);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* A sleeping owner is woken; one that is awake is not. A queue without owner drops. */
static void wake_only_sleepers(void **state)
{
	static struct fake_port p1, p2;
	struct host h = { .stop = 1 };
	struct odp_conf conf = { .n_workers = 2, .pool = pool, .host_arg = &h, .wake = wake };
	struct odp_key k, m;
	struct odp_action to2 = { .type = ODP_ACT_OUTPUT, .port = 2 };
	struct odp_worker *w0, *w1;
	uint8_t f[64];
	size_t at;

	(void)state;
	assert_int_equal(odp_create(&conf, &h.dp), 0);
	w0 = odp_worker(h.dp, 0);
	w1 = odp_worker(h.dp, 1);
	fake_port_add(&p1, h.dp, w0, "p1");
	fake_port_add(&p2, h.dp, w1, "p2");
	assert_int_equal(odp_key_parse(h.dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(odp_flow_put(h.dp, &k, &m, &to2, 1, false, "operator", NULL), 0);
	fake_port_push(&p1, pool, f, fake_frame(f, 1, 2, 0));
	odp_worker_turn(w0);
	assert_int_equal(h.wakes, 0);
	assert_false(odp_worker_arm(w1)); // it has work
	assert_int_equal(odp_worker_turn(w1), 1);
	assert_int_equal(p2.n_out, 1);
	assert_true(odp_worker_arm(w1));
	fake_port_push(&p1, pool, f, 60);
	odp_worker_turn(w0);
	assert_int_equal(h.wakes, 1);
	odp_worker_disarm(w1);
	odp_worker_turn(w1);
	odp_txq_detach(w1, p2.port, 0);
	fake_port_push(&p1, pool, f, 60);
	odp_worker_turn(w0);
	struct odp_stats s;

	odp_stats(h.dp, &s);
	assert_int_equal(s.drops[ODP_DROP_PORT_GONE], 1);
	odp_rxq_detach(w1, p2.port, 0);
	fake_port_del(&p2, NULL);
	fake_port_del(&p1, w0);
	odp_destroy(h.dp);
}

/* What a port cannot do is done for it; what cannot be done is a counted drop. */
static const struct cap_row {
	const char *name;
	struct odp_port_caps caps;
	uint32_t payload;
	uint16_t mss; // 0: no GSO
	unsigned sent;
	int drop; // -1: none
	bool flags; // offload requests reach the port
} caps[] = {
	{ "checksum done here", { .up = true, .mtu = 1500 }, 100, 0, 1, -1, false },
	{ "checksum passed on", { .up = true, .mtu = 1500, .csum = true }, 100, 0, 1, -1, true },
	{ "segmented here", { .up = true, .mtu = 1500 }, 1800, 500, 4, -1, false },
	{ "segmented, checksums passed on", { .up = true, .mtu = 1500, .csum = true }, 1800, 1000,
		2, -1, true },
	{ "GSO passed on", { .up = true, .mtu = 1500, .csum = true, .tso4 = true }, 1800, 500, 1,
		-1, true },
	{ "only v6 GSO", { .up = true, .mtu = 1500, .csum = true, .tso6 = true }, 1800, 900, 2, -1,
		true },
	{ "segments too long", { .up = true, .mtu = 576, .csum = true }, 1800, 900, 0, ODP_DROP_MTU,
		false },
	{ "GSO whose segments are too long for the port's MTU",
		{ .up = true, .mtu = 576, .csum = true, .tso4 = true }, 1800, 900, 0, ODP_DROP_MTU,
		false },
	{ "frame too long", { .up = true, .mtu = 1500, .csum = true }, 1461, 0, 0, ODP_DROP_MTU,
		false },
	{ "as long as the MTU", { .up = true, .mtu = 1500, .csum = true }, 1460, 0, 1, -1, true },
	{ "port down", { .mtu = 1500 }, 100, 0, 0, ODP_DROP_PORT_GONE, false },
};

static struct rte_mbuf *tcp_packet(uint32_t payload, uint16_t mss)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(54 + payload)) : NULL;

	if (!p)
		abort();
	memset(p, 0, 54 + payload);
	p[0] = p[6] = 2;
	p[12] = 8;
	p[14] = 0x45;
	p[16] = (uint8_t)((40 + payload) >> 8);
	p[17] = (uint8_t)(40 + payload);
	p[23] = 6;
	p[46] = 0x50;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 20;
	m->tso_segsz = mss;
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM |
		      (mss ? RTE_MBUF_F_TX_TCP_SEG : 0);
	return m;
}

static void capabilities(void **state)
{
	const struct cap_row *t = *state;
	static struct fake_port p1, p2;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_action to2 = { .type = ODP_ACT_OUTPUT, .port = 2 };
	struct odp_port_stats s;
	struct odp_key k, m;
	struct odp *dp;
	size_t at;

	assert_int_equal(odp_create(&conf, &dp), 0);
	fake_port_add(&p1, dp, odp_worker(dp, 0), "p1");
	fake_port_add(&p2, dp, odp_worker(dp, 0), "p2");
	p2.caps = t->caps;
	odp_port_caps_changed(p2.port);
	assert_int_equal(odp_key_parse(dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(odp_flow_put(dp, &k, &m, &to2, 1, false, "operator", NULL), 0);
	p1.in[p1.n_in++] = tcp_packet(t->payload, t->mss);
	odp_worker_turn(odp_worker(dp, 0));
	assert_int_equal(p2.n_out, t->sent);
	for (unsigned i = 0; i < p2.n_out; i++)
		assert_int_equal((p2.out[i]->ol_flags & ODP_F_L4_CSUM) != 0, t->flags);
	odp_port_stats(p2.port, &s);
	for (int d = 0; d < ODP_DROP_COUNT; d++)
		assert_int_equal(s.drops[d], d == t->drop ? 1 : 0);
	assert_int_equal(s.tx_packets, t->sent);
	fake_port_del(&p1, odp_worker(dp, 0));
	fake_port_del(&p2, odp_worker(dp, 0));
	odp_destroy(dp);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(handover),
		cmocka_unit_test(wake_only_sleepers) };
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(caps, capabilities, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
