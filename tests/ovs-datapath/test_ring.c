// SPDX-License-Identifier: Apache-2.0
/* Rings of packets: what goes in comes out, and is seen whole by who takes it out. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ring.h"

#define PRODUCERS 3u
#define ROUNDS 1000u

static struct rte_ring *ring;
static struct rte_mbuf pkt[PRODUCERS];
static _Atomic unsigned turn; // relaxed
static _Atomic unsigned seen; // rounds; what was in them may be written again

/*
 * In turn, each puts in one packet that it has written. The turns themselves order nothing: what
 * the one who takes them out may see is what the ring passes on.
 */
static void *producer(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct rte_mbuf *m = &pkt[me];

		while (atomic_load_explicit(&seen, memory_order_acquire) != i ||
			atomic_load_explicit(&turn, memory_order_relaxed) != me)
			sched_yield();
		m->hash.usr = i;
		if (odp_ring_put(ring, &m, 1) != 1)
			break;
		atomic_store_explicit(&turn, me + 1, memory_order_relaxed);
	}
	return NULL;
}

/* ThreadSanitizer judges: the tail is the last producer's, what lies before it the others'. */
static void each_producers_packets_are_seen(void **state)
{
	struct rte_mbuf *got[PRODUCERS + 1];
	pthread_t thread[PRODUCERS];
	unsigned left, wrong = 0;

	(void)state;
	ring = odp_ring_create(8);
	assert_non_null(ring);
	for (unsigned p = 0; p < PRODUCERS; p++)
		assert_int_equal(
			pthread_create(&thread[p], NULL, producer, (void *)(uintptr_t)p), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		while (atomic_load_explicit(&turn, memory_order_relaxed) != PRODUCERS)
			sched_yield();
		wrong += odp_ring_take(ring, got, PRODUCERS + 1, &left) != PRODUCERS || left != 0;
		for (unsigned p = 0; p < PRODUCERS; p++)
			wrong += got[p] != &pkt[p] || got[p]->hash.usr != i;
		atomic_store_explicit(&turn, 0, memory_order_relaxed);
		atomic_store_explicit(&seen, i + 1, memory_order_release);
	}
	for (unsigned p = 0; p < PRODUCERS; p++)
		pthread_join(thread[p], NULL);
	assert_int_equal(wrong, 0);
	odp_ring_destroy(ring);
}

static void holds_one_less_than_its_size(void **state)
{
	struct rte_mbuf *pkts[8], *got[8];
	unsigned left;

	(void)state;
	ring = odp_ring_create(8);
	assert_non_null(ring);
	for (unsigned i = 0; i < 8; i++)
		pkts[i] = &pkt[i % PRODUCERS];
	assert_int_equal(odp_ring_put(ring, pkts, 8), 7);
	assert_int_equal(odp_ring_put(ring, pkts, 1), 0);
	assert_int_equal(odp_ring_take(ring, got, 3, &left), 3);
	assert_int_equal(left, 4);
	assert_memory_equal(got, pkts, 3 * sizeof(*got));
	assert_int_equal(odp_ring_take(ring, got, 8, NULL), 4);
	assert_memory_equal(got, pkts + 3, 4 * sizeof(*got));
	assert_int_equal(odp_ring_take(ring, got, 8, &left), 0);
	assert_int_equal(left, 0);
	odp_ring_destroy(ring);
	odp_ring_destroy(NULL);
	assert_null(odp_ring_create(7)); // no power of two
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_producers_packets_are_seen),
		cmocka_unit_test(holds_one_less_than_its_size) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
