// SPDX-License-Identifier: Apache-2.0
/* Groups: who gets a turn when, timers on a clock moved by hand, messages, removal in a turn. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "group.h"

static uint64_t now_ns;

static uint64_t hand_clock(void)
{
	return now_ns;
}

static struct nof_group *group(void)
{
	struct nof_group *g = NULL;

	now_ns = 1000000000;
	dpu_clock_set(hand_clock);
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ .rx_size = 4096 }, &g), 0);
	return g;
}

static void group_end(struct nof_group *g)
{
	nof_group_destroy(g);
	dpu_clock_set(NULL);
}

/* A connection that counts its turns. */
struct peer {
	struct nof_conn c;
	int far; // the other end
	unsigned turns, events;
	struct peer *removes; // taken out in the turn
};

static unsigned turn(struct nof_conn *c, unsigned events)
{
	struct peer *p = (struct peer *)c;

	p->turns++;
	p->events |= events;
	if (p->removes)
		nof_group_remove(&p->removes->c);
	return 1;
}

static void peer_open(struct peer *p, struct nof_group *g)
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p->c.fd = fds[0];
	p->c.turn = turn;
	p->far = fds[1];
	assert_int_equal(nof_group_add(g, &p->c), 0);
}

static void peer_close(struct peer *p)
{
	nof_group_remove(&p->c);
	close(p->c.fd);
	close(p->far);
}

static void idle_ones_wait_for_their_socket(void **state)
{
	struct nof_group *g = group();
	struct peer a, b;

	(void)state;
	peer_open(&a, g);
	peer_open(&b, g);
	assert_int_equal(nof_group_poll(g), 0);
	assert_true(nof_group_arm(g));
	assert_int_equal(write(a.far, "x", 1), 1);
	assert_false(nof_group_arm(g));
	assert_int_equal(nof_group_poll(g), 1);
	assert_int_equal(a.turns, 1);
	assert_int_equal(a.events, NOF_EV_IN);
	assert_int_equal(b.turns, 0);
	shutdown(b.far, SHUT_RDWR);
	nof_group_poll(g);
	assert_int_equal(b.events, NOF_EV_IN | NOF_EV_ERR);
	peer_close(&a);
	peer_close(&b);
	group_end(g);
}

/* One whose work no socket tells of keeps its thread awake as long as it is busy. */
static void some_keep_their_thread_awake(void **state)
{
	struct nof_group *g = group();
	struct peer a, b;

	(void)state;
	peer_open(&a, g);
	peer_open(&b, g);
	b.c.awake = true;
	nof_conn_busy(&a.c, true);
	assert_true(nof_group_arm(g));
	nof_conn_busy(&b.c, true);
	assert_false(nof_group_arm(g));
	nof_conn_busy(&b.c, false);
	assert_true(nof_group_arm(g));
	nof_conn_busy(&b.c, true);
	peer_close(&b);
	assert_true(nof_group_arm(g));
	peer_close(&a);
	group_end(g);
}

static void count_wake(void *user)
{
	++*(unsigned *)user;
}

static void quiet(struct nof_timer *t)
{
	(void)t;
}

/* What is wanted between polls is told, what is wanted within one is seen by it. */
static void tells_who_does_not_poll_it(void **state)
{
	unsigned n = 0;
	struct nof_group_conf conf = { .wake = count_wake, .user = &n };
	struct nof_timer t = { .fire = quiet };
	struct nof_group *g;
	struct peer a;

	(void)state;
	assert_int_equal(nof_group_create(&conf, &g), 0);
	assert_true(nof_group_empty(g));
	peer_open(&a, g);
	assert_false(nof_group_empty(g));
	nof_conn_flush(&a.c);
	assert_int_equal(n, 1);
	nof_group_poll(g);
	nof_conn_busy(&a.c, true);
	assert_int_equal(n, 2);
	nof_conn_busy(&a.c, false);
	nof_timer_set(g, &t, UINT64_MAX / 2);
	assert_int_equal(n, 3);
	peer_close(&a);
	assert_false(nof_group_empty(g));
	nof_timer_clear(&t);
	assert_true(nof_group_empty(g));
	nof_group_destroy(g);
}

static void busy_ones_have_every_turn(void **state)
{
	struct nof_group *g = group();
	struct peer a, b;

	(void)state;
	peer_open(&a, g);
	peer_open(&b, g);
	nof_conn_busy(&a.c, true);
	assert_true(nof_group_busy(g));
	nof_group_poll(g); // looks at epoll too: the first time
	nof_conn_flush(&b.c);
	assert_false(nof_group_arm(g));
	nof_conn_flush(&a.c); // has its turn anyway
	nof_group_poll(g);
	assert_int_equal(a.turns, 2);
	assert_int_equal(b.turns, 1);
	assert_int_equal(write(b.far, "x", 1), 1);
	nof_group_poll(g);
	assert_int_equal(b.turns, 1); // epoll is not asked at every poll
	now_ns += 1000000;
	nof_group_poll(g);
	assert_int_equal(b.turns, 2);
	nof_conn_busy(&a.c, false);
	assert_false(nof_group_busy(g));
	peer_close(&a);
	peer_close(&b);
	group_end(g);
}

static void a_full_socket_tells_when_it_is_not(void **state)
{
	struct nof_group *g = group();
	char buf[65536] = { 0 };
	struct peer a;

	(void)state;
	peer_open(&a, g);
	while (write(a.c.fd, buf, sizeof(buf)) > 0)
		;
	nof_conn_want_out(&a.c, true);
	assert_int_equal(nof_group_poll(g), 0);
	fcntl(a.far, F_SETFL, O_NONBLOCK);
	while (read(a.far, buf, sizeof(buf)) > 0)
		;
	nof_group_poll(g);
	assert_int_equal(a.events, NOF_EV_OUT);
	nof_conn_want_out(&a.c, false);
	assert_int_equal(nof_group_poll(g), 0);
	peer_close(&a);
	group_end(g);
}

/* A turn takes out itself, its neighbour in the walk, and one whose event stands in the list. */
static void taken_out_in_a_turn(void **state)
{
	for (unsigned busy = 0; busy < 2; busy++) {
		for (unsigned who = 0; who < 3; who++) {
			struct nof_group *g = group();
			struct peer p[3];

			(void)state;
			for (unsigned i = 0; i < 3; i++) {
				peer_open(&p[i], g);
				assert_int_equal(write(p[i].far, "x", 1), 1);
				nof_conn_busy(&p[i].c, busy);
			}
			p[0].removes = &p[who];
			nof_group_poll(g);
			nof_group_poll(g);
			assert_null(p[who].c.group);
			assert_int_equal(p[who].turns, who == 0);
			for (unsigned i = 0; i < 3; i++)
				peer_close(&p[i]);
			group_end(g);
		}
	}
}

/* ---- timers ---- */

struct alarm {
	struct nof_timer t;
	unsigned fired;
	struct alarm *clears;
};

static void fire(struct nof_timer *t)
{
	struct alarm *a = (struct alarm *)t;

	a->fired++;
	if (a->clears)
		nof_timer_clear(&a->clears->t);
}

static const struct timer_case {
	const char *name;
	uint64_t in_ns;
} timer_cases[] = {
	{ "timer in one tick", NOF_TICK_NS },
	{ "timer in a part of a tick", 1 },
	{ "timer in one tick and a part", NOF_TICK_NS + 1 },
	{ "timer in the last slot of the wheel", 1023 * NOF_TICK_NS },
	{ "timer in one round of the wheel", 1024 * NOF_TICK_NS },
	{ "timer in ten rounds and a part", 10 * 1024 * NOF_TICK_NS + 12345 },
};

static void never_early(void **state)
{
	const struct timer_case *t = *state;
	struct nof_group *g = group();
	struct alarm a = { .t.fire = fire };
	uint64_t at = now_ns + 777 + t->in_ns, last = now_ns;

	nof_timer_set(g, &a.t, at);
	while (!a.fired) {
		uint64_t next = nof_group_deadline(g);

		assert_true(next != UINT64_MAX && next > last); // each sleep gets somewhere
		now_ns = last = next;
		nof_group_poll(g);
	}
	assert_true(now_ns >= at && now_ns < at + NOF_TICK_NS);
	assert_true(nof_group_deadline(g) == UINT64_MAX);
	now_ns += 4096 * NOF_TICK_NS;
	nof_group_poll(g);
	assert_int_equal(a.fired, 1);
	group_end(g);
}

static void timers_after_a_long_absence(void **state)
{
	struct nof_group *g = group();
	struct alarm a[5] = { 0 };
	static const uint64_t in_ms[5] = { 4, 400, 3999, 90000, 9000000 };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		a[i].t.fire = fire;
		nof_timer_set(g, &a[i].t, now_ns + in_ms[i] * 1000000);
	}
	now_ns += 100000ull * 1000000; // 100 s in one step
	nof_group_poll(g);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(a[i].fired, 1);
	assert_int_equal(a[4].fired, 0);
	nof_timer_set(g, &a[4].t, 0); // long past: with the next tick
	now_ns += NOF_TICK_NS;
	nof_group_poll(g);
	assert_int_equal(a[4].fired, 1);
	group_end(g);
}

/* Timers of one slot that clear one another, or move. */
static void cleared_while_firing(void **state)
{
	struct nof_group *g = group();
	struct alarm a[3] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		a[i].t.fire = fire;
		a[i].clears = &a[(i + 1) % 3];
		nof_timer_set(g, &a[i].t, now_ns + NOF_TICK_NS);
	}
	now_ns += 2 * NOF_TICK_NS;
	nof_group_poll(g);
	assert_int_equal(a[0].fired + a[1].fired + a[2].fired, 2);
	nof_timer_set(g, &a[0].t, now_ns + NOF_TICK_NS);
	nof_timer_set(g, &a[0].t, now_ns + 5 * NOF_TICK_NS);
	a[0].fired = 0;
	now_ns += 3 * NOF_TICK_NS;
	nof_group_poll(g);
	assert_int_equal(a[0].fired, 0);
	now_ns += 3 * NOF_TICK_NS;
	nof_group_poll(g);
	assert_int_equal(a[0].fired, 1);
	group_end(g);
}

/* ---- messages ---- */

#define THREADS 4U
#define EACH 2000U

struct note {
	struct nof_msg m;
	unsigned thread, n;
	struct tally *to;
};

struct tally {
	unsigned seen[THREADS], total;
};

struct poster {
	pthread_t id;
	struct nof_group *g;
	struct note notes[EACH];
};

static void note_run(struct nof_msg *m)
{
	struct note *n = (struct note *)m;

	assert_int_equal(n->to->seen[n->thread], n->n); // in order, none twice
	n->to->seen[n->thread]++;
	n->to->total++;
}

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < EACH; i++)
		nof_group_post(p->g, &p->notes[i].m);
	return NULL;
}

static void messages_from_threads(void **state)
{
	static struct poster p[THREADS];
	struct nof_group *g = group();
	struct tally t = { 0 };
	struct pollfd pfd = { .fd = nof_group_fd(g), .events = POLLIN };

	(void)state;
	for (unsigned k = 0; k < THREADS; k++) {
		p[k].g = g;
		for (unsigned i = 0; i < EACH; i++)
			p[k].notes[i] = (struct note){ { note_run, NULL }, k, i, &t };
		assert_int_equal(pthread_create(&p[k].id, NULL, post_all, &p[k]), 0);
	}
	while (t.total < THREADS * EACH) {
		if (nof_group_arm(g)) // asleep: a message has to wake
			assert_int_equal(poll(&pfd, 1, 10000), 1);
		nof_group_poll(g);
	}
	for (unsigned k = 0; k < THREADS; k++)
		pthread_join(p[k].id, NULL);
	group_end(g);
}

static void out_of_memory(void **state)
{
	struct nof_group *g = NULL;

	(void)state;
	for (long k = 0; k < 2; k++) {
		dpu_alloc_fail_after(k);
		assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &g), -ENOMEM);
	}
	dpu_alloc_fail_after(-1);
	assert_null(g);
	nof_group_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_ones_wait_for_their_socket),
		cmocka_unit_test(some_keep_their_thread_awake),
		cmocka_unit_test(tells_who_does_not_poll_it),
		cmocka_unit_test(busy_ones_have_every_turn),
		cmocka_unit_test(a_full_socket_tells_when_it_is_not),
		cmocka_unit_test(taken_out_in_a_turn),
		cmocka_unit_test(timers_after_a_long_absence),
		cmocka_unit_test(cleared_while_firing),
		cmocka_unit_test(messages_from_threads),
		cmocka_unit_test(out_of_memory),
	};
	int failed = 0;

	RUN_ROWS(timer_cases, never_early, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
