// SPDX-License-Identifier: Apache-2.0
/* Groups of connections on workers and on the event loop. */
#include "storage.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "card.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "nof_ctrl.h"
#include "nof_group.h"

#define GOODBYE_NS 2000000000ull // at most, for all controllers together
#define ROUNDS 8 // polls of the control thread's group before other events get their turn

struct seat {
	struct card_poller poller;
	struct card_watch watch; // of the group's descriptor
	struct card_worker *w; // borrowed
	struct nof_group *group; // owned
};

struct card_storage {
	struct card *card; // borrowed: contains this
	struct nof_group *control; // owned
	struct nof_group **groups; // owned: of the seats
	struct nof_host *host; // owned
	char hostnqn[80];
	struct event *readable, *deadline; // owned
	unsigned n_seats;
	struct seat seat[]; // one per worker
};

/* ---- worker ---- */

static unsigned seat_poll(void *arg)
{
	struct seat *s = arg;

	return nof_group_empty(s->group) ? 0 : nof_group_poll(s->group);
}

static bool seat_arm(void *arg)
{
	return nof_group_arm(((struct seat *)arg)->group);
}

static unsigned us_until(uint64_t deadline)
{
	uint64_t now = dpu_now_ns(), us;

	if (deadline <= now)
		return 1;
	us = (deadline - now + 999) / 1000;
	return us > UINT_MAX ? UINT_MAX : (unsigned)us;
}

static unsigned seat_nap_us(void *arg)
{
	uint64_t deadline = nof_group_deadline(((struct seat *)arg)->group);

	return deadline == UINT64_MAX ? 0 : us_until(deadline);
}

/* With nothing in it a group costs three loads; with a timer it has to be asked how long. */
static bool seat_may_park(void *arg)
{
	const struct seat *s = arg;

	return !nof_group_empty(s->group) && !nof_group_busy(s->group) &&
	       nof_group_deadline(s->group) == UINT64_MAX;
}

static void seat_ready(struct card_watch *watch)
{
	struct seat *s = (struct seat *)((char *)watch - offsetof(struct seat, watch));

	card_worker_poller_wake(s->w, &s->poller);
}

/* Something to send, or a timer, while the poller is parked: nobody else would see it. */
static void seat_wake(void *user)
{
	struct seat *s = user;

	card_worker_poller_wake(s->w, &s->poller);
}

static int seat_add(struct card_worker *w, void *arg)
{
	struct seat *s = arg;
	int ret = card_worker_fd_watch(w, nof_group_fd(s->group), &s->watch);

	return ret ? ret : card_worker_poller_add(w, &s->poller);
}

static int seat_del(struct card_worker *w, void *arg)
{
	struct seat *s = arg;

	card_worker_poller_del(w, &s->poller);
	card_worker_fd_del(w, nof_group_fd(s->group));
	return 0;
}

static int seat_open(struct seat *s, struct card_worker *w)
{
	struct nof_group_conf conf = { .wake = seat_wake, .user = s };
	int ret = nof_group_create(&conf, &s->group);

	if (ret)
		return ret;
	s->w = w;
	s->watch.ready = seat_ready;
	s->poller = (struct card_poller){
		.poll = seat_poll,
		.arm = seat_arm,
		.nap_us = seat_nap_us,
		.may_park = seat_may_park,
		.arg = s,
	};
	ret = card_worker_call(w, seat_add, s);
	if (ret)
		nof_group_destroy(s->group);
	return ret;
}

/* With something unanswered a group stays: the kernel may still write to what it holds. */
static void seat_close(struct seat *s, bool unanswered)
{
	card_worker_call(s->w, seat_del, s);
	if (!unanswered)
		nof_group_destroy(s->group);
}

/* ---- event loop ---- */

static void again(struct card_storage *s)
{
	event_active(s->readable, EV_READ, 0);
	event_base_loopcontinue(s->card->loop);
}

static void on_group(evutil_socket_t fd, short what, void *arg)
{
	struct card_storage *s = arg;
	struct timeval tv;
	uint64_t deadline;
	unsigned us;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < ROUNDS; i++)
		if (nof_group_poll(s->control) == 0)
			break;
	if (!nof_group_arm(s->control)) { // more: after the other events
		again(s);
		return;
	}
	deadline = nof_group_deadline(s->control);
	if (deadline == UINT64_MAX) {
		event_del(s->deadline);
		return;
	}
	us = us_until(deadline);
	tv = (struct timeval){ .tv_sec = us / 1000000, .tv_usec = us % 1000000 };
	event_add(s->deadline, &tv);
}

static void wake(void *user)
{
	struct card_storage *s = user;

	event_active(s->readable, EV_READ, 0);
}

static int control_open(struct card_storage *s)
{
	struct nof_group_conf conf = { .wake = wake, .user = s };
	int ret = nof_group_create(&conf, &s->control);

	if (ret)
		return ret;
	s->readable = event_new(
		s->card->loop, nof_group_fd(s->control), EV_READ | EV_PERSIST, on_group, s);
	s->deadline = event_new(s->card->loop, -1, 0, on_group, s);
	if (!s->readable || !s->deadline || event_add(s->readable, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* The NUMA node of a CPU: /sys/devices/system/cpu/cpuN has a link to it. -1: not known. */
static int node_of_cpu(unsigned cpu)
{
	char path[64];
	const struct dirent *e;
	int node = -1;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u", cpu);
	d = opendir(path);
	while (d && node < 0 && (e = readdir(d)) != NULL)
		if (sscanf(e->d_name, "node%d", &node) != 1)
			node = -1;
	if (d)
		closedir(d);
	return node;
}

/*
 * Who we are to targets, the same after every restart: a UUID, as the NVMe specification forms
 * names of hosts from them (Base 2.0, 4.5).
 */
static int host_open(struct card_storage *s)
{
	struct nof_host_conf conf = { .control = s->control, .n_workers = s->n_seats };
	char uuid[CARD_UUID_TEXT];
	int nodes[NOF_WORKERS_MAX];

	for (unsigned i = 0; i < s->n_seats && i < NOF_WORKERS_MAX; i++)
		nodes[i] = node_of_cpu(card_worker_cpu(s->seat[i].w));
	conf.nodes = nodes;
	s->groups = dpu_calloc(s->n_seats, sizeof(struct nof_group *));
	if (!s->groups)
		return -ENOMEM;
	for (unsigned i = 0; i < s->n_seats; i++)
		s->groups[i] = s->seat[i].group;
	conf.workers = s->groups;
	card_uuid_derive(s->card, "nvme host", conf.hostid); // no volume can have that name
	card_uuid_text(conf.hostid, uuid);
	snprintf(s->hostnqn, sizeof(s->hostnqn), "nqn.2014-08.org.nvmexpress:uuid:%s", uuid);
	conf.hostnqn = s->hostnqn;
	return nof_host_create(&conf, &s->host);
}

/* What was posted to the group, by whoever is about to end, runs. Nothing is left in it: 1. */
static int seat_drain(struct card_worker *w, void *arg)
{
	struct seat *s = arg;

	(void)w;
	nof_group_poll(s->group);
	return nof_group_empty(s->group);
}

/* A round of every group: what one says to another is heard in the next. True: nothing is left. */
static bool drain(struct card_storage *s)
{
	bool empty = true;

	for (unsigned i = 0; i < s->n_seats; i++)
		if (card_worker_call(s->seat[i].w, seat_drain, &s->seat[i]) != 1)
			empty = false;
	nof_group_poll(s->control);
	return nof_group_empty(s->control) && empty;
}

/*
 * Controllers say good-bye to their targets, who may be silent. False: some still do, or something
 * is left in a group, which then must not be freed.
 */
static bool host_close(struct card_storage *s)
{
	uint64_t end = dpu_now_ns() + GOODBYE_NS;
	unsigned empty =
		0; // rounds in a row: the last one may have posted to who was looked at before

	while (empty < 2 && dpu_now_ns() < end) {
		empty = drain(s) && !nof_ctrl_next(s->host, NULL) ? empty + 1 : 0;
		if (!empty)
			usleep(1000);
	}
	if (empty < 2) {
		dpu_warn("storage: connections do not end", "card=%s", s->card->opt.name);
		return false;
	}
	nof_host_destroy(s->host);
	return true;
}

void card_storage_stop(struct card *c)
{
	struct card_storage *s = c->storage;
	bool unanswered = c->inv != NULL;

	if (!s)
		return;
	if (s->host && !unanswered && !host_close(s))
		unanswered = true;
	while (s->n_seats)
		seat_close(&s->seat[--s->n_seats], unanswered);
	if (s->deadline)
		event_free(s->deadline);
	if (s->readable)
		event_free(s->readable);
	if (!unanswered)
		nof_group_destroy(s->control);
	free(s->groups);
	free(s);
	c->storage = NULL;
}

int card_storage_start(struct card *c)
{
	unsigned n = card_workers_count(c->workers);
	struct card_storage *s = dpu_calloc(1, sizeof(*s) + n * sizeof(s->seat[0]));
	int ret;

	if (!s)
		return -ENOMEM;
	s->card = c;
	c->storage = s;
	ret = control_open(s);
	for (unsigned i = 0; i < n && !ret; i++) {
		ret = seat_open(&s->seat[i], card_worker_at(c->workers, i));
		if (!ret)
			s->n_seats++;
	}
	if (!ret)
		ret = host_open(s);
	if (ret)
		card_storage_stop(c);
	return ret;
}

struct nof_group *card_storage_group(struct card *c, const struct card_worker *w)
{
	return c->storage->seat[card_worker_idx(w)].group;
}

struct nof_host *card_storage_host(struct card *c)
{
	return c->storage->host;
}

const char *card_storage_hostnqn(const struct card *c)
{
	return c->storage ? c->storage->hostnqn : NULL;
}

void card_storage_poll(struct card *c)
{
	nof_group_poll(c->storage->control);
}

void card_storage_wait(struct card *c, unsigned ms)
{
	struct pollfd p = { .fd = nof_group_fd(c->storage->control), .events = POLLIN };

	if (nof_group_arm(c->storage->control))
		(void)poll(&p, 1, (int)ms);
}

struct nof_group *card_storage_control(struct card *c)
{
	return c->storage->control;
}
