// SPDX-License-Identifier: Apache-2.0
/* One row: run it beside the victim, then decide. */
#include "atk.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RSS_SLACK_KIB 1024

/*
 * The victim never waits for a second. With --strict, on a machine that has nothing else to do, its
 * 99th percentile may double and no more. What it is compared with was measured right before, while
 * two threads of this process burn CPU: attacker, victim and daemon share two CPUs here, so a
 * neighbour who only computes costs the victim time slices too, and that is not what a row is
 * about. Below the floor nothing is judged: a few time slices that others on the machine took make
 * a percentile. A row that is too slow is run again with a measurement of its own, and fails when
 * that happens three times in a row: a stall of ours comes back, one of the machine does not.
 */
#define STALL_NS 1000000000ULL
#define FACTOR 2
#define FLOOR_NS 10000000ULL
#define TRIES 3
#define SAMPLES_MIN 200
#define BURNERS 2
#define QUIET_NS 100000000L
#define ROW_NS 100000000ULL // short rows are repeated for so long: a percentile wants samples
#define ROW_REPEATS 50

static const char *const functions[] = { ATK_BLK, ATK_NET };

static void nap(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

/* ---- what must hold afterwards ---- */

int atk_victim_goes_on(struct atk_env *e, struct atk_victim *v, const struct atk_victim_stats *was)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_victim_stats now;

	do {
		atk_victim_stats(v, &now);
		ATK_CHECK(e, now.errors == was->errors, "victim: %lu errors",
			(unsigned long)(now.errors - was->errors));
		if (now.requests > was->requests && now.frames > was->frames)
			return 0;
		nap(5000000);
	} while (dpu_now_ns() < end);
	return atk_fail(e, "victim stands still");
}

/*
 * Descriptors, threads and mappings of front-ends' files return to what they were once the daemon
 * saw the attacker leave.
 */
static int use_returns(struct atk_env *e, const struct atk_use *was, uint64_t *grown_kib)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_use now;

	do {
		atk_daemon_use(e->d, &now);
		if (now.fds <= was->fds && now.threads <= was->threads && now.maps <= was->maps)
			break;
		nap(5000000);
	} while (dpu_now_ns() < end);
	ATK_CHECK(e, now.fds <= was->fds, "descriptors: %u, were %u", now.fds, was->fds);
	ATK_CHECK(
		e, now.threads <= was->threads, "threads: %u, were %u", now.threads, was->threads);
	ATK_CHECK(e, now.maps <= was->maps, "mappings: %u, were %u", now.maps, was->maps);
	*grown_kib = now.anon_kib > was->anon_kib ? now.anon_kib - was->anon_kib : 0;
	return 0;
}

/* A leak comes back each time; what a heap needed once, in pieces that others left, does not. */
static bool grew(uint64_t kib)
{
#ifdef ATK_SANITIZED // quarantines and shadow grow by themselves
	return false;
#endif
	return kib > RSS_SLACK_KIB;
}

/* ---- how long the victim waits ---- */

static void *burn(void *stop)
{
	while (!atomic_load_explicit((atomic_bool *)stop, memory_order_relaxed))
		;
	return NULL;
}

static int quiet(struct atk_env *e, struct atk_victim *v, struct atk_lat *out)
{
	atomic_bool stop = false;
	pthread_t t[BURNERS];
	unsigned n = 0;
	int ret;

	while (n < BURNERS && pthread_create(&t[n], NULL, burn, &stop) == 0)
		n++;
	ret = atk_victim_window(v);
	nap(QUIET_NS);
	if (!ret)
		ret = atk_victim_lat(v, out);
	atomic_store(&stop, true);
	while (n)
		pthread_join(t[--n], NULL);
	ATK_CHECK(e, !ret, "victim stands still before the row");
	return 0;
}

static bool slower(bool strict, uint64_t now, uint64_t was, uint64_t n, uint64_t n_was)
{
	if (!strict)
		return now > STALL_NS;
	return n >= SAMPLES_MIN && n_was >= SAMPLES_MIN && now > FLOOR_NS && now > FACTOR * was;
}

static bool too_slow(bool strict, const struct atk_lat *now, const struct atk_lat *was)
{
#ifdef ATK_SANITIZED // these times say nothing about the program
	return false;
#endif
	return slower(strict, now->disk_p99_ns, was->disk_p99_ns, now->disk_n, was->disk_n) ||
	       slower(strict, now->net_p99_ns, was->net_p99_ns, now->net_n, was->net_n);
}

/* ---- a row ---- */

static int run_for_a_while(struct atk_env *e, const struct atk_row *row)
{
	uint64_t end = dpu_now_ns() + ROW_NS;
	int ret = 0;

	for (unsigned i = 0; !ret && i < ROW_REPEATS && (i == 0 || dpu_now_ns() < end); i++)
		ret = row->run(e);
	return ret;
}

static int one_try(struct atk_env *e, const struct atk_row *row, struct atk_victim *v,
	struct atk_lat *now, struct atk_lat *was, uint64_t *grown_kib)
{
	struct atk_victim_stats before;
	const char *leak;
	struct atk_use use;
	int ret = quiet(e, v, was);

	if (ret)
		return ret;
	atk_daemon_use(e->d, &use);
	atk_victim_stats(v, &before);
	ret = atk_victim_window(v);
	if (!ret)
		ret = run_for_a_while(e, row);
	ATK_CHECK(e, atk_daemon_alive(e->d), "the daemon died");
	if (ret)
		return ret;
	ATK_CHECK(e, !atk_victim_lat(v, now), "victim stands still");
	leak = atk_canary_seen();
	ATK_CHECK(e, !leak, "the attacker has seen a %s of somebody else", leak);
	for (size_t i = 0; i < COUNT(functions); i++) {
		ret = atk_function_works(e, functions[i]);
		if (ret)
			return ret;
	}
	ret = atk_victim_goes_on(e, v, &before);
	return ret ? ret : use_returns(e, &use, grown_kib);
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

int atk_judge(struct atk_env *e, const struct atk_row *row, struct atk_victim *v)
{
	struct atk_lat now = { 0 }, was = { 0 };
	uint64_t grown_kib = 0;
	unsigned tries = 0;
	int ret;

	do {
		e->why[0] = '\0';
		ret = one_try(e, row, v, &now, &was, &grown_kib);
	} while (ret == 0 && (too_slow(e->strict, &now, &was) || grew(grown_kib)) &&
		 ++tries < TRIES);
	if (ret == 0 && tries == TRIES)
		ret = grew(grown_kib) ? atk_fail(e, "private memory grew by %lu KiB",
						(unsigned long)grown_kib)
				      : atk_fail(e, "victim waits");
	printf("%s %s %s%s%s", row->id, row->name,
		ret == 0		    ? "ok"
		: ret == ATK_NOT_APPLICABLE ? "not applicable yet"
					    : "FAIL",
		ret ? ": " : "", ret ? e->why : "");
	if (ret <= 0)
		printf(" (victim p99: disk %.2f ms, before %.2f; net %.2f ms, before %.2f)",
			ms(now.disk_p99_ns), ms(was.disk_p99_ns), ms(now.net_p99_ns),
			ms(was.net_p99_ns));
	putchar('\n');
	fflush(stdout);
	return ret;
}
