// SPDX-License-Identifier: Apache-2.0
/* Hand-over between two workers in threads, port capabilities, and what a port cannot take. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dp.h"
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
		unsigned moved = odp_worker_turn(odp_worker(t->h->dp, t->idx));

		atomic_fetch_add(&t->h->turns[t->idx], 1);
		if (moved == 0)
			sched_yield(); // three threads may have one CPU
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
	unsigned before = rte_mempool_in_use_count(pool);
	size_t at;

	(void)state;
	assert_int_equal(odp_create(&conf, &h.dp), 0);
	fake_port_add(&p1, h.dp, odp_worker(h.dp, 0), "p1");
	fake_port_add(&p2, h.dp, odp_worker(h.dp, 1), "p2");
	assert_int_equal(odp_key_parse(h.dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(fake_put(h.dp, &k, &m, "2", false, NULL), 0);
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
		assert_int_equal(fake_put(h.dp, &k2, &m2, "2", false, NULL), 0);
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
	assert_int_equal(fake_put(h.dp, &k, &m, "2", false, NULL), 0);
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

/*
 * A queue that stays empty is parked while another has work: armed, and not looked at before it is
 * woken. One that nobody would wake is not.
 */
static void empty_queues_are_parked(void **state)
{
	static struct fake_port busy, quiet, blind;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_worker *w;
	struct odp *dp;
	uint8_t f[64];

	(void)state;
	assert_int_equal(odp_create(&conf, &dp), 0);
	w = odp_worker(dp, 0);
	fake_port_add(&quiet, dp, w, "quiet");
	fake_port_add(&busy, dp, w, "busy");
	fake_port_add(&blind, dp, w, "blind"); // cannot wake us
	fake_frame(f, 2, 1, 0);
	for (unsigned round = 0; round < 3; round++) {
		odp_rxq_wakeable(w, quiet.port, 0);
		for (unsigned i = 0; i < 10000 && !odp_worker_parked(w); i++) {
			fake_port_reset(&busy);
			fake_port_push(&busy, pool, f, 60);
			assert_int_equal(odp_worker_turn(w), 1);
		}
		assert_int_equal(odp_worker_parked(w), 1);
		assert_true(quiet.armed);
		fake_port_push(&quiet, pool, f, 60);
		fake_port_push(&blind, pool, f, 60);
		assert_int_equal(odp_worker_turn(w), 1); // of the blind one
		assert_true(odp_worker_arm(w)); // it does not count for the worker's sleep
		odp_worker_disarm(w);
		assert_true(quiet.armed);
		if (round < 2)
			odp_rxq_wake(w, quiet.port, 0);
		odp_rxq_wake(w, busy.port, 0); // too often does no harm
		if (round < 2) {
			assert_false(quiet.armed);
			assert_int_equal(odp_worker_parked(w), 0);
			assert_int_equal(odp_worker_turn(w), 1);
		}
		fake_port_reset(&quiet);
		fake_port_reset(&blind);
	}
	fake_port_del(&quiet, w); // parked
	assert_int_equal(odp_worker_parked(w), 0);
	fake_port_push(&blind, pool, f, 60);
	assert_int_equal(odp_worker_turn(w), 1);
	fake_port_del(&busy, w);
	fake_port_del(&blind, w);
	odp_destroy(dp);
}

/* What came while a queue was about to be parked keeps it from it. */
static void waiting_work_is_not_parked(void **state)
{
	static struct fake_port p;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_worker *w;
	struct odp *dp;
	uint8_t f[64];

	(void)state;
	assert_int_equal(odp_create(&conf, &dp), 0);
	w = odp_worker(dp, 0);
	fake_port_add(&p, dp, w, "p");
	odp_rxq_wakeable(w, p.port, 0);
	fake_port_push(&p, pool, f, fake_frame(f, 2, 1, 0));
	assert_false(odp_rxq_park(w, 0));
	assert_int_equal(odp_worker_parked(w), 0);
	assert_false(p.armed);
	assert_int_equal(odp_worker_turn(w), 1);
	fake_port_del(&p, w);
	odp_destroy(dp);
}

/* ---- queues of an output port ---- */

static unsigned queue_sent[2];

static uint16_t queue_tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	queue_sent[txq] += n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static void queue_caps(void *drv, struct odp_port_caps *out)
{
	(void)drv;
	*out = (struct odp_port_caps){ .up = true, .mtu = 1500 };
}

/* Packets leave by the queues that are ours now, spread over them by the queue they came from. */
static void queues_come_and_go(void **state)
{
	static const struct odp_port_ops ops = { .tx = queue_tx, .caps = queue_caps };
	static const struct step {
		bool own[2];
		unsigned sent[2], gone; // of one packet from each of two receive queues
	} steps[] = {
		{ { false, false }, { 0, 0 }, 2 },
		{ { true, false }, { 2, 0 }, 0 },
		{ { true, true }, { 1, 1 }, 0 },
		{ { false, true }, { 0, 2 }, 0 },
		{ { true, true }, { 1, 1 }, 0 },
		{ { false, false }, { 0, 0 }, 2 },
	};
	static struct fake_port p1;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_port_conf in = { .name = "in",
		.kind = "fake",
		.n_rxq = 2,
		.n_txq = 1,
		.ops = &fake_port_ops,
		.drv = &p1 };
	struct odp_port_conf out = { .name = "out", .kind = "fake", .n_txq = 2, .ops = &ops };
	struct odp_port *port;
	struct odp_key k, m;
	struct odp *dp;
	uint8_t f[64];
	size_t at;
	bool own[2] = { false, false };

	(void)state;
	assert_int_equal(odp_create(&conf, &dp), 0);
	struct odp_worker *w = odp_worker(dp, 0);

	assert_int_equal(odp_port_add(dp, &in, &p1.port), 0);
	assert_int_equal(odp_port_add(dp, &out, &port), 0);
	assert_int_equal(odp_key_parse(dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(fake_put(dp, &k, &m, "2", false, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		struct odp_port_stats before, after;

		for (uint16_t q = 0; q < 2; q++) {
			if (steps[i].own[q] && !own[q])
				assert_int_equal(odp_txq_attach(w, port, q), 0);
			if (!steps[i].own[q] && own[q])
				odp_txq_detach(w, port, q);
			own[q] = steps[i].own[q];
			queue_sent[q] = 0;
		}
		odp_port_stats(port, &before);
		for (uint16_t q = 0; q < 2; q++) {
			assert_int_equal(odp_rxq_attach(w, p1.port, q), 0);
			fake_port_push(&p1, pool, f, fake_frame(f, 1, 2, 0));
			assert_int_equal(odp_worker_turn(w), 1);
			odp_rxq_detach(w, p1.port, q);
		}
		odp_port_stats(port, &after);
		// Which of two queues takes which does not matter.
		assert_int_equal(queue_sent[0], steps[i].sent[0]);
		assert_int_equal(queue_sent[1], steps[i].sent[1]);
		assert_int_equal(after.drops[ODP_DROP_PORT_GONE] - before.drops[ODP_DROP_PORT_GONE],
			steps[i].gone);
	}
	odp_port_del(port);
	odp_port_del(p1.port);
	odp_destroy(dp);
}

/* ---- a port that says which queue a packet belongs to ---- */

static struct {
	unsigned n[4]; // packets sent on each queue
	uint8_t last[4]; // number in the last of them
	bool out_of_order, no_opinion;
} steered;

static uint16_t steer_tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	for (uint16_t i = 0; i < n; i++) {
		uint8_t seq = *rte_pktmbuf_mtod_offset(pkts[i], uint8_t *, 20);

		steered.out_of_order |= steered.n[txq] && seq <= steered.last[txq];
		steered.last[txq] = seq;
		steered.n[txq]++;
	}
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* By a byte of the frame; 9 stands for any queue, 0x80 for that queue or none. */
static bool steer_by_byte(void *drv, struct rte_mbuf *const *pkts, uint16_t n, uint16_t *txq)
{
	(void)drv;
	for (uint16_t i = 0; i < n; i++) {
		uint8_t at = *rte_pktmbuf_mtod_offset(pkts[i], uint8_t *, 21);

		txq[i] = at == 9     ? ODP_TXQ_ANY
			 : at & 0x80 ? (uint16_t)(ODP_TXQ_ONLY | (at & 0x7f))
				     : at;
	}
	return !steered.no_opinion;
}

static void push_steered(struct fake_port *p, uint8_t seq, uint8_t queue)
{
	uint8_t f[64];

	fake_frame(f, 1, 2, 0);
	f[20] = seq;
	f[21] = queue;
	fake_port_push(p, pool, f, 60);
}

/*
 * Worker 0 owns queues 0 and 1, worker 1 queue 2, nobody queue 3. What worker 0 receives goes where
 * the port wants it, by worker 1's hand where that is not its own, each queue's packets in order;
 * what belongs to a queue that nobody serves goes by another, or nowhere if it may be on no other.
 */
static void steering(void **state)
{
	static const struct odp_port_ops ops = {
		.tx = steer_tx, .caps = queue_caps, .steer = steer_by_byte
	};
	static struct fake_port p1;
	struct host h = { .stop = 1 };
	struct odp_conf conf = { .n_workers = 2, .pool = pool, .host_arg = &h, .wake = wake };
	struct odp_port_conf out = { .name = "out", .kind = "fake", .n_txq = 4, .ops = &ops };
	struct odp_port_stats before, after;
	struct odp_worker *w0, *w1;
	struct odp_port *port;
	struct odp_key k, m;
	size_t at;

	(void)state;
	memset(&steered, 0, sizeof(steered));
	assert_int_equal(odp_create(&conf, &h.dp), 0);
	w0 = odp_worker(h.dp, 0);
	w1 = odp_worker(h.dp, 1);
	fake_port_add(&p1, h.dp, w0, "p1");
	assert_int_equal(odp_port_add(h.dp, &out, &port), 0);
	assert_int_equal(odp_txq_attach(w1, port, 2), 0);
	assert_int_equal(odp_key_parse(h.dp, "in_port(1)", &k, &m, &at), 0);
	for (unsigned outputs = 1; outputs <= 2; outputs++) { // one, and a list
		assert_int_equal(fake_put(h.dp, &k, &m, outputs == 1 ? "2" : "2,2", true, NULL), 0);
		if (outputs == 1)
			assert_int_equal(odp_txq_attach(w0, port, 0), 0);
		for (uint8_t i = 0; i < 90; i++)
			push_steered(&p1, i + 1, i % 3);
		while (odp_worker_turn(w0))
			;
		while (odp_worker_turn(w1))
			;
		if (outputs == 1) {
			assert_int_equal(steered.n[1], 0); // nobody's: went by queue 0
			assert_int_equal(steered.n[0], 60);
			assert_int_equal(steered.n[2], 30);
			assert_int_equal(odp_txq_attach(w0, port, 1), 0);
		} else {
			for (unsigned q = 0; q < 3; q++)
				assert_int_equal(steered.n[q], 60);
		}
		assert_true(outputs == 2 || !steered.out_of_order); // a list sends each twice
		memset(&steered, 0, sizeof(steered));
	}
	assert_int_equal(fake_put(h.dp, &k, &m, "2", true, NULL), 0);
	for (uint8_t i = 0; i < 10; i++)
		push_steered(&p1, i + 1, 9); // any: one of ours
	push_steered(&p1, 11, 3);
	odp_worker_turn(w0);
	assert_int_equal(steered.n[0] + steered.n[1], 11);
	steered.no_opinion = true;
	push_steered(&p1, 12, 2);
	odp_worker_turn(w0);
	assert_int_equal(steered.n[0] + steered.n[1], 12);
	steered.no_opinion = false;
	odp_port_stats(port, &before);
	for (uint8_t i = 0; i < 8; i++)
		push_steered(&p1, 13 + i, 0x80 | i % 4); // 0, 1: ours, 2: worker 1's, 3: nobody's
	push_steered(&p1, 21, 0x80 | 0x7f); // no such queue: the port may not ask for it
	odp_worker_turn(w0);
	odp_worker_turn(w1);
	odp_port_stats(port, &after);
	assert_int_equal(steered.n[0] + steered.n[1], 12 + 4 + 1);
	assert_int_equal(steered.n[2], 2);
	assert_int_equal(steered.n[3], 0);
	assert_int_equal(after.drops[ODP_DROP_PORT_GONE] - before.drops[ODP_DROP_PORT_GONE], 2);
	fake_port_del(&p1, w0);
	odp_port_del(port);
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
	bool udp; // else TCP
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
	{ "USO passed on", { .up = true, .mtu = 1500, .csum = true, .uso4 = true }, 1800, 500, 1,
		-1, true, true },
	{ "only v6 USO", { .up = true, .mtu = 1500, .csum = true, .uso6 = true }, 1800, 500, 4, -1,
		true, true },
	{ "TSO is no USO",
		{ .up = true, .mtu = 1500, .csum = true, .tso4 = true, .tso6 = true, .uso6 = true },
		1800, 1000, 2, -1, true, true },
	{ "USO segmented here", { .up = true, .mtu = 1500 }, 1800, 500, 4, -1, false, true },
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

/* The same as UDP: a shorter header, and as much more payload. */
static struct rte_mbuf *udp_packet(uint32_t payload, uint16_t mss)
{
	struct rte_mbuf *m = tcp_packet(payload - 12, mss);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	p[16] = (uint8_t)((28 + payload) >> 8);
	p[17] = (uint8_t)(28 + payload);
	p[23] = 17;
	p[38] = (uint8_t)((8 + payload) >> 8);
	p[39] = (uint8_t)(8 + payload);
	p[46] = 0;
	m->l4_len = 8;
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM |
		      (mss ? RTE_MBUF_F_TX_UDP_SEG : 0);
	return m;
}

static void capabilities(void **state)
{
	const struct cap_row *t = *state;
	static struct fake_port p1, p2;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	unsigned before = rte_mempool_in_use_count(pool);
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
	assert_int_equal(fake_put(dp, &k, &m, "2", false, NULL), 0);
	p1.in[p1.n_in++] = t->udp ? udp_packet(t->payload, t->mss) : tcp_packet(t->payload, t->mss);
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

/* ---- a burst is what its packets are one by one ---- */

#define STREAM 20000
#define SWITCH_PORTS 4

struct rig {
	struct odp *dp;
	struct fake_port p[SWITCH_PORTS];
	unsigned at[SWITCH_PORTS]; // packets that left and were compared
};

static void rig_init(struct rig *r, const char *deeper)
{
	static const char *const names[SWITCH_PORTS] = { "p1", "p2", "p3", "p4" };
	// Two disjoint outputs by address, all of one VLAN elsewhere, a flood, and drops.
	static const char *const flows[][2] = {
		{ "in_port(1),eth(dst=02:00:00:00:00:01)", "2" },
		{ "in_port(1),eth(dst=02:00:00:00:00:02)", "3" },
		{ "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),vlan(vid=6)", "4" },
		{ "in_port(1),eth(src=02:00:00:00:00:03,dst=02:00:00:00:00:03)", "2,3,4" },
		{ "in_port(1)", "drop" },
	};
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_create(&conf, &r->dp), 0);
	for (unsigned i = 0; i < SWITCH_PORTS; i++) {
		fake_port_add(&r->p[i], r->dp, odp_worker(r->dp, 0), names[i]);
		r->at[i] = 0;
	}
	r->p[1].caps.mtu = 40; // some frames are too long for it
	odp_port_caps_changed(r->p[1].port);
	for (unsigned i = 0; i < ARRAY_LEN(flows); i++) {
		assert_int_equal(odp_key_parse(r->dp, flows[i][0], &k, &m, &at), 0);
		assert_int_equal(fake_put(r->dp, &k, &m, flows[i][1], false, NULL), 0);
	}
	if (deeper) {
		assert_int_equal(odp_key_parse(r->dp, deeper, &k, &m, &at), 0);
		assert_int_equal(odp_flow_put(r->dp, &k, &m, NULL, 0, false, "operator", NULL), 0);
	}
}

static void rig_fini(struct rig *r)
{
	for (unsigned i = 0; i < SWITCH_PORTS; i++)
		fake_port_del(&r->p[i], odp_worker(r->dp, 0));
	odp_destroy(r->dp);
}

/* Few addresses, each kind of header, some cut short. Returns the length. */
static unsigned random_frame(uint8_t f[64])
{
	static const uint8_t kinds[][10] = {
		{ 0x88, 0xb5 }, // plain
		{ 0x88, 0xb6 }, { 0x08, 0x00, 0x45, 0, 0, 20 }, // IPv4, as long as it says
		{ 0x08, 0x00, 0x45, 0, 1, 0 }, // longer
		{ 0x81, 0x00, 0, 5, 0x88, 0xb5 }, // tags
		{ 0x81, 0x00, 0, 6, 0x88, 0xb5 }, { 0x88, 0xa8, 0, 6, 0x88, 0xb5 },
		{ 0x81, 0x00, 0, 6, 0x81, 0x00 },
		{ 0x81, 0x00, 0, 6, 0x00, 0x20 }, // length behind a tag
		{ 0x00, 0x20, 0x42, 0x42, 3 }, // IEEE 802.3
		{ 0x00, 0x20, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00 }, // SNAP
	};
	static const unsigned lens[] = { 60, 60, 60, 60, 60, 60, 13, 14, 15, 17, 18, 22 };

	memset(f, 0, 64);
	f[0] = f[6] = 2;
	f[5] = (uint8_t)(1 + rand() % 3);
	f[11] = (uint8_t)(1 + rand() % 3);
	memcpy(f + 12, kinds[(unsigned)rand() % ARRAY_LEN(kinds)], sizeof(kinds[0]));
	return lens[(unsigned)rand() % ARRAY_LEN(lens)];
}

/* A frame whose header may lie in two segments, the first `cut` bytes long. */
static void push(struct fake_port *p, const uint8_t *f, unsigned len, unsigned cut)
{
	fake_port_push(p, pool, f, cut ? cut : len);
	if (!cut)
		return;
	struct rte_mbuf *rest = rte_pktmbuf_alloc(pool);

	if (!rest)
		abort();
	memcpy(rte_pktmbuf_append(rest, (uint16_t)(len - cut)), f + cut, len - cut);
	assert_int_equal(rte_pktmbuf_chain(p->in[p->n_in - 1], rest), 0);
}

static void compare_output(struct rig *a, struct rig *b)
{
	for (unsigned i = 0; i < SWITCH_PORTS; i++) {
		assert_int_equal(a->p[i].n_out, b->p[i].n_out);
		for (unsigned k = 0; k < a->p[i].n_out; k++) {
			const struct rte_mbuf *x = a->p[i].out[k], *y = b->p[i].out[k];
			uint8_t bx[64], by[64];

			assert_int_equal(x->pkt_len, y->pkt_len);
			assert_int_equal(x->nb_segs | y->nb_segs, 1); // the ports take no chains
			assert_memory_equal(rte_pktmbuf_read(x, 0, x->pkt_len, bx),
				rte_pktmbuf_read(y, 0, y->pkt_len, by), x->pkt_len);
		}
		a->at[i] += a->p[i].n_out;
		fake_port_reset(&a->p[i]);
		fake_port_reset(&b->p[i]);
	}
}

static void add_flow(const struct odp_flow_info *f, void *arg)
{
	struct odp_flow_stats *sum = arg;

	// In order: packets and bytes of each flow weigh differently.
	sum->packets = sum->packets * 31 + f->stats.packets;
	sum->bytes = sum->bytes * 31 + f->stats.bytes;
}

static void compare_counters(struct rig *a, struct rig *b)
{
	struct odp_flow_stats fa = { 0 }, fb = { 0 };
	struct odp_stats sa, sb;

	for (unsigned i = 0; i < SWITCH_PORTS; i++) {
		struct odp_port_stats pa, pb;

		odp_port_stats(a->p[i].port, &pa);
		odp_port_stats(b->p[i].port, &pb);
		assert_memory_equal(&pa, &pb, sizeof(pa));
		assert_int_equal(pa.tx_packets, a->at[i]);
	}
	odp_stats(a->dp, &sa);
	odp_stats(b->dp, &sb);
	assert_memory_equal(sa.drops, sb.drops, sizeof(sa.drops));
	assert_int_equal(sa.emc_hits + sa.mega_hits, sb.emc_hits + sb.mega_hits);
	assert_int_equal(sa.misses, 0);
	assert_int_equal(sa.emc_hits + sa.mega_hits + sa.drops[ODP_DROP_MALFORMED], STREAM);
	odp_flow_foreach(a->dp, add_flow, &fa);
	odp_flow_foreach(b->dp, add_flow, &fb);
	assert_int_equal(fa.packets, fb.packets);
	assert_int_equal(fa.bytes, fb.bytes);
}

static const struct stream {
	const char *name;
	const char *deeper; // a flow that makes the table look further
} streams[] = {
	{ "bursts, layer 2", NULL },
	{ "bursts, layer 4", "in_port(4),eth_type(0x0800),ipv4(proto=17),udp(dst=53)" },
};

static void bursts_as_packets(void **state)
{
	const struct stream *t = *state;
	static struct rig one, many;
	unsigned before = rte_mempool_in_use_count(pool), sent = 0;

	srand(7);
	rig_init(&one, t->deeper);
	rig_init(&many, t->deeper);
	while (sent < STREAM) {
		unsigned burst = RTE_MIN(1 + (unsigned)rand() % ODP_BURST, STREAM - sent);
		uint8_t f[64];
		unsigned len = 0, cut = 0;

		for (unsigned i = 0; i < burst; i++) {
			if (len == 0 || rand() % 3 == 0) { // else like the one before
				len = random_frame(f);
				cut = rand() % 8 ? 0 : 1 + (unsigned)rand() % (len - 1);
			}
			f[50] = (uint8_t)++sent; // tells frames apart
			push(&many.p[0], f, len, cut);
			push(&one.p[0], f, len, cut);
			assert_int_equal(odp_worker_turn(odp_worker(one.dp, 0)), 1);
		}
		assert_int_equal(odp_worker_turn(odp_worker(many.dp, 0)), burst);
		compare_output(&one, &many);
	}
	compare_counters(&one, &many);
	for (unsigned i = 1; i < SWITCH_PORTS; i++)
		assert_true(one.at[i] > STREAM / 50);
	rig_fini(&one);
	rig_fini(&many);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(handover),
		cmocka_unit_test(wake_only_sleepers), cmocka_unit_test(empty_queues_are_parked),
		cmocka_unit_test(waiting_work_is_not_parked), cmocka_unit_test(queues_come_and_go),
		cmocka_unit_test(steering) };
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(caps, capabilities, failed);
	RUN_ROWS(streams, bursts_as_packets, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
