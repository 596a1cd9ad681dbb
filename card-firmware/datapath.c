// SPDX-License-Identifier: Apache-2.0
/* Binds the switch to the workers and to the event loop. */
#include "datapath.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "card.h"
#include "dpu_alloc.h"
#include "dpu_log.h"
#include "odp_tnl.h"

#define UPCALL_ROUNDS 8 // odp_upcall_poll() calls before other events get their turn

struct turn {
	struct card_poller poller;
	struct odp_worker *w; // borrowed: the datapath's
	struct card_worker *worker; // borrowed
	unsigned kickless, parked; // worker only
};

struct card_datapath {
	struct card *card; // borrowed: contains this
	struct event *tick, *fast_tick, *upcall; // owned
	int upcall_fd; // owned
	unsigned n_polled; // workers that poll
	struct turn turn[]; // one per worker
};

/* ---- worker ---- */

static unsigned turn_poll(void *arg)
{
	struct turn *t = arg;
	unsigned n = odp_worker_turn(t->w), parked = odp_worker_parked(t->w);

	if (unlikely(parked != t->parked)) {
		card_worker_parked(t->worker, (int)(parked - t->parked));
		t->parked = parked;
	}
	return n;
}

static bool turn_arm(void *arg)
{
	struct turn *t = arg;

	return odp_worker_arm(t->w);
}

static void turn_disarm(void *arg)
{
	struct turn *t = arg;

	odp_worker_disarm(t->w);
}

static unsigned turn_nap_us(void *arg)
{
	struct turn *t = arg;
	unsigned us = odp_worker_nap_us(t->w);

	return t->kickless && (!us || us > CARD_KICKLESS_NAP_US) ? CARD_KICKLESS_NAP_US : us;
}

static int turn_add(struct card_worker *w, void *arg)
{
	return card_worker_poller_add(w, arg);
}

static int turn_del(struct card_worker *w, void *arg)
{
	card_worker_poller_del(w, arg);
	return 0;
}

void card_datapath_kickless(struct card *c, struct card_worker *w, int by)
{
	c->datapath->turn[card_worker_idx(w)].kickless += (unsigned)by;
}

/* ---- what the datapath asks of us ---- */

static void wake(void *arg, unsigned worker)
{
	struct card_datapath *d = arg;

	card_worker_wake(card_worker_at(d->card->workers, worker));
}

static void upcall_pending(void *arg)
{
	struct card_datapath *d = arg;
	const uint64_t one = 1;

	if (write(d->upcall_fd, &one, sizeof(one)) < 0)
		return; // full: readable already
}

static void synchronize(void *arg)
{
	struct card_datapath *d = arg;

	card_workers_synchronize(d->card->workers);
}

/* ---- event loop ---- */

static void on_upcall(evutil_socket_t fd, short what, void *arg)
{
	struct card_datapath *d = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		dpu_warn_ratelimited("datapath: upcall eventfd", "err=%d", errno);
	for (unsigned i = 0; i < UPCALL_ROUNDS; i++)
		if (odp_upcall_poll(d->card->dp) == 0)
			return;
	// More: after the other events. An event that activates itself would be run again before
	// libevent looks at any other.
	event_active(d->upcall, EV_READ, 0);
	event_base_loopcontinue(d->card->loop);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct card_datapath *d = arg;

	(void)fd;
	(void)what;
	odp_tick(d->card->dp);
}

/* Only while there is an underlay: a card without one is not woken for it. */
static void on_fast_tick(evutil_socket_t fd, short what, void *arg)
{
	struct card_datapath *d = arg;

	(void)fd;
	(void)what;
	odp_underlay_tick(d->card->dp);
	if (odp_ul_is_idle(odp_underlay(d->card->dp)))
		event_del(d->fast_tick);
}

void card_datapath_underlay_changed(struct card *c)
{
	static const struct timeval tenth = { .tv_usec = 100000 };
	struct event *tick = c->datapath->fast_tick;

	if (odp_ul_is_idle(odp_underlay(c->dp)) || event_pending(tick, EV_TIMEOUT, NULL))
		return;
	odp_underlay_tick(c->dp); // its clock stood still
	if (event_add(tick, &tenth) < 0)
		dpu_err("datapath: no timer for the underlay", "err=%d", ENOMEM);
}

static int events_add(struct card_datapath *d)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct event_base *base = d->card->loop;

	d->upcall = event_new(base, d->upcall_fd, EV_READ | EV_PERSIST, on_upcall, d);
	d->tick = event_new(base, -1, EV_PERSIST, on_tick, d);
	d->fast_tick = event_new(base, -1, EV_PERSIST, on_fast_tick, d);
	if (!d->upcall || !d->tick || !d->fast_tick || event_add(d->upcall, NULL) < 0 ||
		event_add(d->tick, &second) < 0)
		return -ENOMEM;
	return 0;
}

static int pollers_add(struct card_datapath *d)
{
	struct card *c = d->card;

	for (unsigned i = 0; i < card_workers_count(c->workers); i++) {
		struct turn *t = &d->turn[i];
		int ret;

		t->w = odp_worker(c->dp, i);
		t->worker = card_worker_at(c->workers, i);
		t->poller = (struct card_poller){ turn_poll, turn_arm, turn_disarm, turn_nap_us, t,
			0 };
		ret = card_worker_call(t->worker, turn_add, &t->poller);
		if (ret)
			return ret;
		d->n_polled = i + 1;
	}
	return 0;
}

int card_datapath_start(struct card *c)
{
	unsigned n = card_workers_count(c->workers);
	struct card_datapath *d = dpu_calloc(1, sizeof(*d) + n * sizeof(d->turn[0]));
	struct odp_conf conf = {
		.n_workers = n,
		.pool = c->pool,
		.ct_conns = (unsigned)c->opt.ct_conns,
		.host_arg = d,
		.wake = wake,
		.upcall_pending = upcall_pending,
		.synchronize = synchronize,
	};
	int ret;

	if (!d)
		return -ENOMEM;
	d->card = c;
	c->datapath = d;
	d->upcall_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ret = d->upcall_fd < 0 ? -errno : 0;
	if (!ret)
		ret = odp_create(&conf, &c->dp);
	if (!ret)
		ret = events_add(d);
	if (!ret)
		ret = pollers_add(d);
	if (ret)
		card_datapath_stop(c);
	return ret;
}

void card_datapath_pause(struct card *c)
{
	struct card_datapath *d = c->datapath;

	while (d->n_polled) {
		struct turn *t = &d->turn[--d->n_polled];

		card_worker_call(card_worker_at(c->workers, d->n_polled), turn_del, &t->poller);
	}
	if (d->upcall)
		event_del(d->upcall);
	if (d->tick)
		event_del(d->tick);
	if (d->fast_tick)
		event_del(d->fast_tick);
}

void card_datapath_stop(struct card *c)
{
	struct card_datapath *d = c->datapath;

	card_datapath_pause(c);
	if (d->tick)
		event_free(d->tick);
	if (d->fast_tick)
		event_free(d->fast_tick);
	if (d->upcall)
		event_free(d->upcall);
	odp_destroy(c->dp);
	c->dp = NULL;
	if (d->upcall_fd >= 0)
		close(d->upcall_fd);
	free(d);
	c->datapath = NULL;
}
