// SPDX-License-Identifier: Apache-2.0
/* Messages, pollers and the sleep of a worker, under a real EAL without hugepages. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "card.h"
#include "eal.h"
#include "msg.h"
#include "worker.h"

static struct card_workers *ws;

static int setup(void **state)
{
	// Two workers share the CPU: what a small machine does.
	struct card_options opt = { .mem_mib = 32 };
	char cores[32];
	cpu_set_t set;
	int cpu = 0, n;

	(void)state;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -1;
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	snprintf(cores, sizeof(cores), "%d,%d", cpu, cpu);
	opt.cores = cores;
	n = card_eal_start(&opt);
	if (n != 2)
		return -1;
	return card_workers_start(&(struct card_workers_conf){ .n = 2, .spin_us = 10 }, &ws);
}

static int teardown(void **state)
{
	(void)state;
	card_workers_stop(ws);
	card_eal_stop();
	return 0;
}

/* ---- the list of CPUs ---- */

static const struct cores_case {
	const char *name, *text;
	int ret;
	unsigned cpu[4];
} cores_cases[] = {
	{ "one", "3", 1, { 3 } },
	{ "range and single", "0-1,3", 3, { 0, 1, 3 } },
	{ "twice the same", "1,1", 2, { 1, 1 } },
	{ "largest", "1023", 1, { 1023 } },
	{ "as many as fit", "0-3", 4, { 0, 1, 2, 3 } },
	{ "more than fit", "0-4", -EINVAL, { 0 } },
	{ "empty", "", -EINVAL, { 0 } },
	{ "backwards", "3-1", -EINVAL, { 0 } },
	{ "open range", "1-", -EINVAL, { 0 } },
	{ "trailing comma", "1,", -EINVAL, { 0 } },
	{ "too large", "1024", -EINVAL, { 0 } },
	{ "wraps", "4294967296", -EINVAL, { 0 } },
	{ "sign", "-1", -EINVAL, { 0 } },
	{ "letters", "0x1", -EINVAL, { 0 } },
	{ "space", " 1", -EINVAL, { 0 } },
};

static void cores(void **state)
{
	const struct cores_case *t = *state;
	unsigned cpu[4] = { 0 };

	assert_int_equal(card_cores_parse(t->text, cpu, 4), t->ret);
	for (int i = 0; i < t->ret; i++)
		assert_int_equal(cpu[i], t->cpu[i]);
}

/* ---- the ring ---- */

static void ring_bound(void **state)
{
	struct card_msg_ring r = { 0 };
	struct card_msg m[CARD_MSG_SLOTS + 1] = { 0 };

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		assert_null(card_msg_take(&r));
		for (unsigned i = 0; i < CARD_MSG_SLOTS; i++)
			assert_int_equal(card_msg_put(&r, &m[i]), 0);
		assert_int_equal(card_msg_put(&r, &m[CARD_MSG_SLOTS]), -EAGAIN);
		for (unsigned i = 0; i < CARD_MSG_SLOTS; i++) {
			assert_true(card_msg_pending(&r));
			assert_ptr_equal(card_msg_take(&r), &m[i]);
		}
		assert_false(card_msg_pending(&r));
	}
}

/* ---- on workers ---- */

struct probe {
	unsigned idx;
	int ret;
};

static int probe_fn(struct card_worker *w, void *arg)
{
	struct probe *p = arg;

	p->idx = card_worker_idx(w);
	return p->ret;
}

static void call(void **state)
{
	(void)state;
	assert_int_equal(card_workers_count(ws), 2);
	assert_null(card_worker_at(ws, 2));
	for (unsigned i = 0; i < 2; i++) {
		struct probe p = { .ret = -(int)i - 7 };

		assert_int_equal(card_worker_call(card_worker_at(ws, i), probe_fn, &p), p.ret);
		assert_int_equal(p.idx, i);
	}
}

/* A poller over a counter: `work` is what waits, `done` what was taken. */
struct job {
	struct card_poller p;
	_Atomic unsigned work, done, armed, disarmed, polls;
	_Atomic unsigned nap_us;
};

static unsigned job_poll(void *arg)
{
	struct job *j = arg;

	j->polls++;
	if (j->work == 0)
		return 0;
	j->work--;
	j->done++;
	return 1;
}

static bool job_arm(void *arg)
{
	struct job *j = arg;

	j->armed++;
	return j->work == 0;
}

static void job_disarm(void *arg)
{
	struct job *j = arg;

	j->disarmed++;
}

static unsigned job_nap_us(void *arg)
{
	struct job *j = arg;

	return j->nap_us;
}

static int add_fn(struct card_worker *w, void *arg)
{
	return card_worker_poller_add(w, arg);
}

static int del_fn(struct card_worker *w, void *arg)
{
	card_worker_poller_del(w, arg);
	return 0;
}

static int fd_add_fn(struct card_worker *w, void *arg)
{
	return card_worker_fd_add(w, *(int *)arg);
}

static int fd_del_fn(struct card_worker *w, void *arg)
{
	card_worker_fd_del(w, *(int *)arg);
	return 0;
}

static void job_init(struct job *j)
{
	*j = (struct job){ .p = { job_poll, job_arm, job_disarm, job_nap_us, j, 0 } };
}

static void wait_until(_Atomic unsigned *v, unsigned at_least)
{
	while (*v < at_least)
		sched_yield();
}

/* The worker has armed everything and is on its way into epoll, or in it. */
static void wait_asleep(struct card_worker *w, uint64_t sleeps_before)
{
	while (dpu_counter_read(&card_worker_stats(w)->sleeps) == sleeps_before)
		sched_yield();
}

/* A poller that works for some cycles once, and says when that ended and when it was armed next. */
struct toil {
	struct card_poller p;
	_Atomic uint64_t cycles; // of work that waits
	_Atomic uint64_t ended, armed;
};

static unsigned toil_poll(void *arg)
{
	struct toil *t = arg;
	uint64_t start = rte_rdtsc(), cycles = t->cycles;

	if (cycles == 0)
		return 0;
	while (rte_rdtsc() - start < cycles)
		continue;
	t->cycles = 0;
	t->armed = 0;
	t->ended = rte_rdtsc();
	return 1;
}

static bool toil_arm(void *arg)
{
	struct toil *t = arg;

	if (t->ended && !t->armed)
		t->armed = rte_rdtsc();
	return true;
}

static void looks_on_as_long_as_it_worked(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	uint64_t worked = rte_get_tsc_hz() / 1000; // a hundred times spin_us
	struct toil t = { .p = { .poll = toil_poll, .arm = toil_arm, .arg = &t },
		.cycles = worked };

	(void)state;
	assert_int_equal(card_worker_call(w, add_fn, &t.p), 0);
	while (!t.armed)
		sched_yield();
	assert_true(t.armed - t.ended >= worked);
	assert_int_equal(card_worker_call(w, del_fn, &t.p), 0);
}

static void work_is_done_while_armed(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	struct job j;

	(void)state;
	job_init(&j);
	j.work = 1000;
	assert_int_equal(card_worker_call(w, add_fn, &j.p), 0);
	wait_until(&j.done, 1000);
	// More from here, by the way a producer has: enqueue, then wake.
	for (unsigned i = 0; i < 2000; i++) {
		j.work++;
		card_worker_wake(w);
		wait_until(&j.done, 1001 + i);
	}
	assert_int_equal(card_worker_call(w, del_fn, &j.p), 0);
	unsigned polls = j.polls;

	card_workers_synchronize(ws);
	assert_int_equal(j.polls, polls); // nobody polls it any more
	assert_int_equal(j.armed, j.disarmed); // each arm was undone
}

static void fd_wakes(void **state)
{
	struct card_worker *w = card_worker_at(ws, 1);
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t one = 1, sleeps;
	struct job j;

	(void)state;
	assert_true(fd >= 0);
	job_init(&j);
	assert_int_equal(card_worker_call(w, fd_add_fn, &fd), 0);
	assert_int_equal(card_worker_call(w, fd_add_fn, &fd), -EEXIST);
	assert_int_equal(card_worker_call(w, add_fn, &j.p), 0);
	for (unsigned i = 0; i < 500; i++) {
		sleeps = dpu_counter_read(&card_worker_stats(w)->sleeps);
		if (i % 2) { // half of them surely while it sleeps, or has armed and is about to
			card_worker_call(w, probe_fn, &(struct probe){ 0 });
			wait_asleep(w, sleeps);
		}
		j.work++;
		assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
		wait_until(&j.done, i + 1);
	}
	assert_int_equal(card_worker_call(w, fd_del_fn, &fd), 0);
	assert_int_equal(card_worker_call(w, del_fn, &j.p), 0);
	// The worker never read it.
	uint64_t count = 0;

	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 500);
	close(fd);
}

/* VU: a full eventfd, blocking by its flags, does not stop the worker. */
static void full_eventfd(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	int fd = eventfd(0, 0);
	uint64_t most = UINT64_MAX - 1;
	struct probe p = { .ret = 5 };

	(void)state;
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(card_worker_call(w, fd_add_fn, &fd), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(card_worker_call(w, probe_fn, &p), 5);
	assert_int_equal(card_worker_call(w, fd_del_fn, &fd), 0);
	close(fd);
}

static void fd_that_cannot_be_polled(void **state)
{
	int fd = open("/proc/self/exe", O_RDONLY);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(card_worker_call(card_worker_at(ws, 0), fd_add_fn, &fd), -EPERM);
	close(fd);
}

/* A job with an fd of its own. */
struct parked {
	struct job j; // first: its poller's argument
	struct card_watch watch;
	int fd;
};

static void parked_ready(struct card_watch *watch)
{
	struct parked *p = (struct parked *)((char *)watch - offsetof(struct parked, watch));

	card_worker_poller_wake(card_worker_at(ws, 0), &p->j.p);
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static int watch_fn(struct card_worker *w, void *arg)
{
	struct parked *p = arg;
	int ret = card_worker_fd_watch(w, p->fd, &p->watch);

	return ret ? ret : card_worker_poller_add(w, &p->j.p);
}

static int unwatch_fn(struct card_worker *w, void *arg)
{
	struct parked *p = arg;

	card_worker_poller_del(w, &p->j.p);
	parked_ready(&p->watch); // one that comes late does no harm
	card_worker_fd_del(w, p->fd);
	return 0;
}

/* While another poller is busy, an empty one is not polled, and comes back when its fd signals. */
static void empty_poller_is_parked(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	struct parked p = { .watch = { parked_ready }, .fd = eventfd(0, EFD_NONBLOCK) };
	struct job busy;
	uint64_t one = 1;

	(void)state;
	job_init(&busy);
	busy.work = UINT_MAX;
	job_init(&p.j);
	p.j.p.may_park = always;
	assert_int_equal(card_worker_call(w, watch_fn, &p), 0);
	assert_int_equal(card_worker_call(w, add_fn, &busy.p), 0);
	for (unsigned i = 0; i < 20; i++) {
		unsigned polls, turns;

		wait_until(&p.j.armed, p.j.disarmed + 1);
		card_workers_synchronize(ws); // the turn in which it was armed is over
		polls = p.j.polls;
		turns = busy.polls;
		wait_until(&busy.polls, turns + 100);
		assert_int_equal(p.j.polls, polls);
		p.j.work++;
		assert_int_equal(write(p.fd, &one, sizeof(one)), sizeof(one));
		wait_until(&p.j.done, i + 1);
	}
	wait_until(&p.j.armed, p.j.disarmed + 1);
	assert_int_equal(card_worker_call(w, unwatch_fn, &p), 0); // parked
	assert_int_equal(card_worker_call(w, del_fn, &busy.p), 0);
	close(p.fd);
}

static void nap_ends_by_itself(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	struct job j;

	(void)state;
	job_init(&j);
	j.nap_us = 100;
	assert_int_equal(card_worker_call(w, add_fn, &j.p), 0);
	// No fd and no wake: only the nap brings the worker back to look.
	for (unsigned i = 0; i < 50; i++) {
		j.work++;
		wait_until(&j.done, i + 1);
	}
	assert_int_equal(card_worker_call(w, del_fn, &j.p), 0);
}

static void pollers_come_and_go(void **state)
{
	struct card_worker *w = card_worker_at(ws, 0);
	struct job j[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		job_init(&j[i]);
		assert_int_equal(card_worker_call(w, add_fn, &j[i].p), 0);
	}
	for (unsigned k = 0; k < 8; k++) { // an order that moves slots
		unsigned gone = k * 5 % 8;

		assert_int_equal(card_worker_call(w, del_fn, &j[gone].p), 0);
		for (unsigned m = k + 1; m < 8; m++) {
			struct job *left = &j[m * 5 % 8];
			unsigned want = left->done + 1;

			left->work++;
			card_worker_wake(w);
			wait_until(&left->done, want);
		}
	}
}

static void more_workers_than_lcores(void **state)
{
	struct card_workers *more = NULL;

	(void)state;
	// Both lcores are busy: launching on them again is refused, and nothing is left behind.
	assert_int_equal(
		card_workers_start(&(struct card_workers_conf){ .n = 1, .spin_us = 1 }, &more),
		-EBUSY);
	assert_int_equal(
		card_workers_start(&(struct card_workers_conf){ .n = 0, .spin_us = 1 }, &more), 0);
	card_workers_stop(more);
	card_workers_stop(NULL);
}

int main(void)
{
	int failed = 0;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_bound),
		cmocka_unit_test(call),
		cmocka_unit_test(looks_on_as_long_as_it_worked),
		cmocka_unit_test(work_is_done_while_armed),
		cmocka_unit_test(fd_wakes),
		cmocka_unit_test(full_eventfd),
		cmocka_unit_test(fd_that_cannot_be_polled),
		cmocka_unit_test(empty_poller_is_parked),
		cmocka_unit_test(nap_ends_by_itself),
		cmocka_unit_test(pollers_come_and_go),
		cmocka_unit_test(more_workers_than_lcores),
	};

	RUN_ROWS(cores_cases, cores, failed);
	return failed + cmocka_run_group_tests(tests, setup, teardown);
}
