// SPDX-License-Identifier: Apache-2.0
/*
 * Steering while it is being changed: two workers ask for the queues of packets and remember flows,
 * the control thread takes one command after the other, and what a worker may look at is freed only
 * when it has been between two turns. With ThreadSanitizer this is a proof that nothing else meets.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "net_steer.h"

#define PAIRS 4
#define WORKERS 2
#define ROUNDS 200
#define PACKETS 16

static struct worker {
	pthread_t thread;
	struct rte_mbuf *pkts[PACKETS];
	_Atomic uint64_t turns; // ends of turns
	uint64_t by_table, by_flow, bad;
} workers[WORKERS];

static struct vho_net *net;
static _Atomic bool stop;

/* Each worker has been between two turns since this was called. */
static void synchronize(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < WORKERS; i++) {
		uint64_t seen = atomic_load(&workers[i].turns);

		while (!atomic_load(&stop) && atomic_load(&workers[i].turns) == seen)
			sched_yield();
	}
}

static void *turns(void *arg)
{
	struct worker *w = arg;
	uint16_t pair[PACKETS], mine = (uint16_t)(w - workers);

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		bool asked = vho_net_steer(net, w->pkts, PACKETS, pair);

		for (unsigned i = 0; asked && i < PACKETS; i++) {
			uint16_t only = pair[i] & VHO_NET_PAIR_ONLY;

			w->by_table += only != 0;
			w->by_flow += only == 0;
			// RSS: entry 0 or 1 of the table; all packets are UDP, none is unclassified
			w->bad += (pair[i] & ~only) >= (only ? 2 : PAIRS);
		}
		vho_net_learn(net, mine, w->pkts, PACKETS);
		atomic_fetch_add_explicit(&w->turns, 1, memory_order_release);
	}
	return NULL;
}

static void under_load(void **state)
{
	struct vho_host host = { .synchronize = synchronize };
	const struct vho_net_conf conf = {
		.name = "t", .max_pairs = PAIRS, .mtu = 1500, .pool = mbuf_pool
	};
	uint8_t rss_cmd[64];
	size_t len = rss_command(rss_cmd);
	uint64_t turned = 0;
	struct vho_dev *dev;

	(void)state;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	dev = vho_net_dev(net);
	assert_int_equal(vho_dev_set_features(
				 dev, 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_CTRL_VQ |
					      1ull << VIRTIO_NET_F_MQ | 1ull << VIRTIO_NET_F_RSS),
		0);
	for (unsigned idx = 0; idx <= 2 * PAIRS; idx++)
		assert_int_equal(dev->type->queue_setup(dev, idx), 0);
	assert_int_equal(run(net, "\x04\x00\x04\x00", 4), VIRTIO_NET_OK);
	for (unsigned idx = 0; idx < 2 * PAIRS; idx += 2) // as they come up after the command
		assert_int_equal(dev->type->queue_setup(dev, idx), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		for (uint16_t p = 0; p < PACKETS; p++)
			workers[i].pkts[p] = udp_packet(p);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, turns, &workers[i]), 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint8_t pairs[4] = { 4, 0, (uint8_t)(1 + i % PAIRS), 0 };

		assert_int_equal(run(net, rss_cmd, len), VIRTIO_NET_OK);
		synchronize(NULL); // at least one turn by the table
		if (i % 2) // one table after the other, or none in between
			assert_int_equal(run(net, pairs, sizeof(pairs)), VIRTIO_NET_OK);
		synchronize(NULL);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		assert_int_equal(workers[i].bad, 0);
		assert_true(workers[i].by_table > 0 && workers[i].by_flow > 0);
		turned += atomic_load(&workers[i].turns);
		rte_pktmbuf_free_bulk(workers[i].pkts, PACKETS);
	}
	print_message("%lu turns, %d commands\n", (unsigned long)turned, ROUNDS * 3 / 2);
	vho_net_destroy(net);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(under_load) };

	if (mbuf_env_start(NULL))
		return 1;
	return cmocka_run_group_tests_name("steering", tests, NULL, NULL);
}
