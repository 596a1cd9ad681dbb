// SPDX-License-Identifier: Apache-2.0
/*
 * Two workers and the control thread at one table that is too small for them: the same tuples are
 * made, found, changed and removed at once. What each finds must be what it looked for, and in the
 * end nothing may be lost.
 */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ct_pkts.h"

#define WORKERS 2u
#define ROUNDS 60000u
#define TUPLES 600u

static struct odp_ct *ct;
static _Atomic unsigned running;
static _Atomic unsigned wrong;

static uint32_t next(uint32_t *x)
{
	*x = *x * 1664525u + 1013904223u;
	return *x >> 8;
}

static void one(unsigned me, uint32_t r, uint64_t now, struct odp_ct_ref *kept)
{
	static const struct odp_ct_nat_conf none;
	struct odp_ct_nat_conf nat = none;
	struct odp_ct_commit c = {
		.mark = r, .mark_mask = UINT32_MAX, .nat = r % 5 == 0 ? &nat : NULL
	};
	unsigned i = r % TUPLES;
	struct ct_p b;

	nat.flags = ODP_NAT_SRC | (r % 10 == 0 ? ODP_NAT_EIM : 0);
	ct_addr(nat.min_addr, 0x6400);
	ct_addr(nat.max_addr, 0x6400);
	if (r / TUPLES % 3 == 0)
		ct_udp(&b, 2, 53, i, 1000, 0);
	else
		ct_udp(&b, i, 1000, 2, 53, 0);
	odp_ct_track(ct, me, &b.p, 1, now);
	if (b.p.ref.conn) {
		// The tuple that was looked for is in that connection, whoever made it.
		if (b.p.dir == ODP_CT_ORIG && memcmp(b.p.orig, &b.p.key, sizeof(b.p.key)) != 0)
			atomic_fetch_add(&wrong, 1);
		*kept = b.p.ref;
	} else if (kept->conn) {
		(void)odp_ct_again(ct, me, &b.p, *kept, ODP_CT_ORIG, now); // most often stale
	}
	if (r / TUPLES % 2 == 0)
		(void)odp_ct_commit(ct, me, &b.p, &c, now);
}

static void *worker(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct odp_ct_ref kept = { NULL, 0 };
	uint32_t x = me + 1;

	odp_ct_online(ct, me);
	for (unsigned i = 0; i < ROUNDS; i++) {
		// Generations outlive turns, pointers to keys do not.
		one(me, next(&x), i / 16, &kept);
		(void)odp_ct_sweep(ct, me, 64, i / 16);
		odp_ct_quiescent(ct, me);
		if (i % 1000 == 0) {
			odp_ct_offline(ct, me);
			odp_ct_online(ct, me);
		}
	}
	odp_ct_offline(ct, me);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void count(const struct odp_ct_info *i, void *arg)
{
	(void)i;
	(*(uint64_t *)arg)++;
}

static void hammer(void **state)
{
	static uint8_t frame[ODP_CT_FRAME_MAX];
	pthread_t t[WORKERS];
	struct odp_ct_stats s;
	struct odp_ct_limit l;

	(void)state;
	struct odp_ct_conf conf = { .max_conns = 512, .n_workers = WORKERS, .seed = { 3, 5 } };

	assert_int_equal(odp_ct_create(&conf, &ct), 0);
	odp_ct_timeout_set(ct, 0, ODP_CT_UDP_FIRST, 200);
	odp_ct_timeout_set(ct, 0, ODP_CT_EXPECTED, 300);
	atomic_store(&running, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)i), 0);
	for (unsigned n = 0; atomic_load(&running); n++) {
		const struct odp_ct_stamp stamp = { .wall_ms = n };
		uint64_t at = 0, seen = 0;
		uint32_t from = 0;

		while (odp_ct_dump(ct, &from, 50, n, count, &seen))
			;
		while (odp_ct_export(ct, &at, &stamp, n, frame, sizeof(frame)) > 0)
			;
		odp_ct_stats(ct, &s);
		if (n % 8 == 0)
			odp_ct_flush(ct, ODP_CT_ALL_ZONES);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	// What is there is counted once: by state, by zone, and by looking.
	uint64_t seen = 0;
	uint32_t from = 0;

	while (odp_ct_dump(ct, &from, 50, 0, count, &seen))
		;
	odp_ct_stats(ct, &s);
	odp_ct_limit_get(ct, 0, &l);
	assert_int_equal(s.conns, l.count);
	assert_int_equal(s.conns, seen);
	odp_ct_flush(ct, ODP_CT_ALL_ZONES);
	odp_ct_stats(ct, &s);
	odp_ct_limit_get(ct, 0, &l);
	assert_int_equal(s.conns, 0);
	assert_int_equal(l.count, 0);
	assert_int_equal(s.by_state[ODP_CT_EXPECTED], 0);
	// All memory comes back: the whole table can be filled.
	for (unsigned i = 0; i < WORKERS; i++)
		odp_ct_online(ct, i);
	for (unsigned k = 0; k < 6; k++) {
		odp_ct_tick(ct);
		for (unsigned i = 0; i < WORKERS; i++)
			odp_ct_quiescent(ct, i);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		odp_ct_offline(ct, i);
		odp_ct_online(ct, i);
	}
	unsigned made = 0;

	for (unsigned i = 0; i < 512; i++) {
		struct ct_p b;

		made += ct_make(ct, ct_udp(&b, i, 7, 2, 53, 0), 1) == 0;
		odp_ct_track(ct, 0, ct_udp(&b, 2, 53, i, 7, 0), 1, 1); // answered: stays
	}
	assert_int_equal(made, 512);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hammer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
