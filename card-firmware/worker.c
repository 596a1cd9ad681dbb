// SPDX-License-Identifier: Apache-2.0
/* The worker's turn: messages, pollers, and the sleep when neither finds work. */
#include "worker.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "msg.h"

#define POLLERS_MAX 4096
#define EVENTS_MAX 64
#define SLOT_NONE UINT_MAX
#define PARK_POLLS 2048 // that found nothing, until a poller is parked
#define LOOK_US 20 // between looks of a busy worker at what is parked
#define SPIN_MORE_US 5000 // at most, behind the first spin_us
#define TIMER_SLACK_NS 1000 // naps are tens of microseconds: the default slack would double them

struct card_worker {
	/* Fixed once the worker runs. */
	unsigned idx, lcore;
	uint64_t spin_tsc, spin_more_tsc, look_tsc;
	int epoll_fd, wake_fd; // owned

	/* Only the worker. */
	struct card_poller *poller[POLLERS_MAX]; // borrowed while added; first those not parked
	unsigned n_pollers, n_live;
	unsigned n_parked; // pollers, and what is parked inside of pollers
	uint64_t looked_tsc; // at events, while busy
	bool stop;

	/* Control thread. */
	bool launched;

	/* Any thread. */
	_Alignas(64) struct card_msg_ring msgs;
	/*
	 * 1 from before the pollers are armed until the worker is awake again. Who finds 1 makes it
	 * 0 and writes wake_fd, so that many wake-ups cost one write.
	 */
	_Alignas(64) _Atomic int sleeping;

	/* Written by the worker, read by any thread. */
	_Alignas(64) struct card_worker_stats stats;
};

struct card_workers {
	unsigned n;
	struct card_worker *w[]; // owned
};

static unsigned run_messages(struct card_worker *w)
{
	unsigned n = 0;

	for (struct card_msg *m; n < CARD_MSG_SLOTS && (m = card_msg_take(&w->msgs)) != NULL; n++)
		card_msg_finish(m, m->fn(w, m->arg));
	dpu_counter_add(&w->stats.messages, n);
	return n;
}

static void swap(struct card_worker *w, unsigned i, unsigned j)
{
	struct card_poller *p = w->poller[i];

	w->poller[i] = w->poller[j];
	w->poller[j] = p;
	w->poller[i]->slot = i;
	p->slot = j;
}

static void disarm(struct card_poller *p)
{
	if (p->disarm)
		p->disarm(p->arg);
}

/* True: p is armed and another has its place. */
static bool park(struct card_worker *w, struct card_poller *p)
{
	p->empty = 0;
	if (!p->may_park || !p->may_park(p->arg))
		return false;
	if (p->arm && !p->arm(p->arg)) {
		disarm(p);
		return false;
	}
	swap(w, p->slot, --w->n_live);
	w->n_parked++;
	return true;
}

static unsigned poll_all(struct card_worker *w)
{
	unsigned done = 0;

	for (unsigned i = 0; i < w->n_live; i++) {
		struct card_poller *p = w->poller[i];
		unsigned n = p->poll(p->arg);

		done += n;
		p->empty = n ? 0 : p->empty + 1;
		if (p->empty == PARK_POLLS && park(w, p))
			i--;
	}
	return done;
}

static void disarm_all(struct card_worker *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		disarm(w->poller[i]);
}

/* True: all armed and nothing waits. Otherwise nothing is armed. */
static bool arm_all(struct card_worker *w)
{
	for (unsigned i = 0; i < w->n_live; i++) {
		struct card_poller *p = w->poller[i];

		if (p->arm && !p->arm(p->arg)) {
			disarm_all(w, i + 1);
			return false;
		}
	}
	return true;
}

static unsigned nap_us(const struct card_worker *w)
{
	unsigned nap = 0;

	for (unsigned i = 0; i < w->n_live; i++) {
		const struct card_poller *p = w->poller[i];
		unsigned us = p->nap_us ? p->nap_us(p->arg) : 0;

		if (us && (!nap || us < nap))
			nap = us;
	}
	return nap;
}

static void tell(const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		struct card_watch *watch = ev[i].data.ptr;

		if (watch)
			watch->ready(watch);
	}
}

/* Has something signalled that is parked? The others are polled anyway. */
static void look_for_events(struct card_worker *w, uint64_t now)
{
	struct epoll_event ev[EVENTS_MAX];

	w->looked_tsc = now;
	dpu_counter_add(&w->stats.looks, 1);
	tell(ev, epoll_wait(w->epoll_fd, ev, EVENTS_MAX, 0));
}

/* False: nothing came before the nap was over. */
static bool wait_for_events(struct card_worker *w)
{
	struct epoll_event ev[EVENTS_MAX];
	unsigned nap = nap_us(w);
	struct timespec ts = { .tv_sec = nap / 1000000, .tv_nsec = nap % 1000000 * 1000L };
	int n = epoll_pwait2(w->epoll_fd, ev, EVENTS_MAX, nap ? &ts : NULL, NULL);

	if (n < 0 && errno == ENOSYS) // Linux before 5.11: whole milliseconds
		n = epoll_wait(w->epoll_fd, ev, EVENTS_MAX, nap ? (int)(nap + 999) / 1000 : -1);
	if (n > 0)
		dpu_counter_add(&w->stats.wakes, 1);
	disarm_all(w, w->n_live); // before those join them that have signalled
	tell(ev, n);
	return n != 0;
}

/*
 * `sleeping` is set before the pollers look for the last time. Every change of it is an exchange,
 * so for any wake-up one of two things holds: the waker finds 1 and writes wake_fd, or its exchange
 * came before ours, which then acquires what it brought, and the look finds it.
 *
 * False: it was a nap and nobody woke us.
 */
static bool try_sleep(struct card_worker *w)
{
	bool woken = true;

	atomic_exchange_explicit(&w->sleeping, 1, memory_order_acq_rel); // pairs with wake
	if (!card_msg_pending(&w->msgs) && arm_all(w)) {
		dpu_counter_add(&w->stats.sleeps, 1);
		woken = wait_for_events(w);
	}
	atomic_exchange_explicit(&w->sleeping, 0, memory_order_acq_rel);
	return woken;
}

/*
 * EAL orders launch and wait by pipes inside a library that the thread sanitizer cannot look into.
 * This counter states the same order: whoever hands a worker over adds, whoever takes it reads.
 */
static _Atomic unsigned handovers;

static void hand_over(void)
{
	atomic_fetch_add_explicit(&handovers, 1, memory_order_acq_rel); // pairs with take_over()
}

static void take_over(void)
{
	(void)atomic_load_explicit(&handovers, memory_order_acquire); // pairs with hand_over()
}

/*
 * How long to look on before a sleep: for as long as was worked since the last one, within bounds.
 * Whoever sends much and pauses, since it lost its CPU for a moment, finds us awake, and not a full
 * ring later; and looking costs no more than the work did.
 */
static uint64_t patience(const struct card_worker *w, uint64_t worked)
{
	return w->spin_tsc + RTE_MIN(worked, w->spin_more_tsc);
}

static int worker_main(void *arg)
{
	struct card_worker *w = arg;
	uint64_t last = rte_rdtsc(), idle_since = last, worked = 0;
	char name[16];

	take_over();
	snprintf(name, sizeof(name), "card-w%u", w->idx);
	pthread_setname_np(pthread_self(), name);
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
	while (!w->stop) {
		unsigned done = 0;

		if (card_msg_pending(&w->msgs))
			done = run_messages(w);
		done += poll_all(w);

		uint64_t now = rte_rdtsc();

		dpu_counter_add(&w->stats.turns, 1);
		if (done) {
			dpu_counter_add(&w->stats.busy_turns, 1);
			dpu_counter_add(&w->stats.busy_tsc, now - last);
			worked += now - last;
			idle_since = now;
		} else {
			dpu_counter_add(&w->stats.idle_tsc, now - last);
			if (now - idle_since >= patience(w, worked)) {
				worked = 0;
				// After a nap one look is enough: the next nap, or work.
				if (try_sleep(w))
					idle_since = rte_rdtsc();
			} else {
				rte_pause();
			}
		}
		if (w->n_parked && now - w->looked_tsc >= w->look_tsc)
			look_for_events(w, now);
		last = now;
	}
	hand_over();
	return 0;
}

/* ---- control thread ---- */

static int worker_open(unsigned idx, unsigned lcore, const struct card_workers_conf *conf,
	struct card_worker **out)
{
	struct card_worker *w = dpu_aligned_calloc(64, 1, sizeof(*w));
	int ret;

	if (!w)
		return -ENOMEM;
	w->idx = idx;
	w->lcore = lcore;
	w->spin_tsc = rte_get_tsc_hz() / 1000000 * conf->spin_us;
	w->spin_more_tsc = conf->spin_us ? rte_get_tsc_hz() / 1000000 * SPIN_MORE_US : 0;
	w->look_tsc = rte_get_tsc_hz() / 1000000 * LOOK_US;
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->wake_fd < 0) {
		ret = -errno;
		goto err_worker;
	}
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0) {
		ret = -errno;
		goto err_wake_fd;
	}
	ret = card_worker_fd_add(w, w->wake_fd);
	if (ret)
		goto err_epoll_fd;
	*out = w;
	return 0;

err_epoll_fd:
	close(w->epoll_fd);
err_wake_fd:
	close(w->wake_fd);
err_worker:
	free(w);
	return ret;
}

static int stop_fn(struct card_worker *w, void *arg)
{
	(void)arg;
	w->stop = true;
	return 0;
}

static void worker_close(struct card_worker *w)
{
	if (w->launched) {
		card_worker_call(w, stop_fn, NULL);
		rte_eal_wait_lcore(w->lcore);
		take_over();
	}
	close(w->epoll_fd);
	close(w->wake_fd);
	free(w);
}

int card_workers_start(const struct card_workers_conf *conf, struct card_workers **out)
{
	struct card_workers *ws = dpu_calloc(1, sizeof(*ws) + conf->n * sizeof(ws->w[0]));
	unsigned lcore = UINT_MAX;
	int ret;

	if (!ws)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->n; i++) {
		lcore = rte_get_next_lcore(lcore, 1, 0);
		if (lcore >= RTE_MAX_LCORE) {
			ret = -EINVAL;
			goto err;
		}
		ret = worker_open(i, lcore, conf, &ws->w[i]);
		if (ret)
			goto err;
		ws->n = i + 1;
		hand_over();
		ret = rte_eal_remote_launch(worker_main, ws->w[i], lcore);
		if (ret)
			goto err;
		ws->w[i]->launched = true;
	}
	*out = ws;
	return 0;

err:
	dpu_err("worker: cannot start", "idx=%u err=%d", ws->n, ret);
	card_workers_stop(ws);
	return ret;
}

void card_workers_stop(struct card_workers *ws)
{
	if (!ws)
		return;
	while (ws->n)
		worker_close(ws->w[--ws->n]);
	free(ws);
}

unsigned card_workers_count(const struct card_workers *ws)
{
	return ws->n;
}

struct card_worker *card_worker_at(struct card_workers *ws, unsigned idx)
{
	return idx < ws->n ? ws->w[idx] : NULL;
}

const struct card_worker_stats *card_worker_stats(const struct card_worker *w)
{
	return &w->stats;
}

void card_worker_wake(struct card_worker *w)
{
	const uint64_t one = 1;

	if (!atomic_exchange_explicit(
		    &w->sleeping, 0, memory_order_acq_rel)) // pairs with try_sleep()
		return;
	// A full counter is readable all the same, and the write was an edge before it filled.
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void post(struct card_worker *w, struct card_msg *m)
{
	// Control waits for every message before it sends the next to the same worker.
	while (card_msg_put(&w->msgs, m) == -EAGAIN)
		sched_yield();
	card_worker_wake(w);
}

int card_worker_call(struct card_worker *w, int (*fn)(struct card_worker *w, void *arg), void *arg)
{
	struct card_msg m = { .fn = fn, .arg = arg };

	post(w, &m);
	return card_msg_wait(&m);
}

static int nothing(struct card_worker *w, void *arg)
{
	(void)w;
	(void)arg;
	return 0;
}

void card_workers_synchronize(struct card_workers *ws)
{
	struct card_msg m[RTE_MAX_LCORE];

	for (unsigned i = 0; i < ws->n; i++) {
		m[i] = (struct card_msg){ .fn = nothing };
		post(ws->w[i], &m[i]);
	}
	for (unsigned i = 0; i < ws->n; i++)
		card_msg_wait(&m[i]);
}

/* ---- on the worker ---- */

unsigned card_worker_cpu(const struct card_worker *w)
{
	return (unsigned)rte_lcore_to_cpu_id((int)w->lcore);
}

unsigned card_worker_idx(const struct card_worker *w)
{
	return w->idx;
}

int card_worker_poller_add(struct card_worker *w, struct card_poller *p)
{
	if (w->n_pollers == POLLERS_MAX)
		return -ENOSPC;
	p->slot = w->n_pollers;
	p->empty = 0;
	w->poller[w->n_pollers] = p;
	swap(w, w->n_pollers++, w->n_live++);
	return 0;
}

void card_worker_poller_del(struct card_worker *w, struct card_poller *p)
{
	if (p->slot < w->n_live)
		swap(w, p->slot, --w->n_live);
	else
		w->n_parked--;
	swap(w, p->slot, --w->n_pollers);
	p->slot = SLOT_NONE;
}

void card_worker_poller_wake(struct card_worker *w, struct card_poller *p)
{
	if (p->slot < w->n_live || p->slot == SLOT_NONE)
		return;
	disarm(p);
	swap(w, p->slot, w->n_live++);
	w->n_parked--;
}

void card_worker_parked(struct card_worker *w, int more)
{
	w->n_parked += (unsigned)more;
}

int card_worker_fd_add(struct card_worker *w, int fd)
{
	return card_worker_fd_watch(w, fd, NULL);
}

int card_worker_fd_watch(struct card_worker *w, int fd, struct card_watch *watch)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = watch };

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void card_worker_fd_del(struct card_worker *w, int fd)
{
	(void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}
