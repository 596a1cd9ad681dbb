// SPDX-License-Identifier: Apache-2.0
/* Groups: one epoll instance, a wheel of timers, a list of messages. */
#include "group.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "vol_pool.h"

#define RX_SIZE (128UL << 10)
#define EVENTS 64
#define LOOK_NS 50000ULL // how often epoll is asked while connections are busy
#define WHEEL 1024U // slots of one tick; a power of two

TAILQ_HEAD(conn_list, nof_conn);
LIST_HEAD(timer_list, nof_timer);

struct nof_group {
	/* Fixed after nof_group_create(). */
	int epoll_fd, event_fd; // owned
	size_t rx_size;
	uint8_t *rx; // owned
	struct vol_pool *pool; // owned
	void (*wake)(void *user);
	void *user; // the owner's

	/* The group's thread. */
	struct conn_list busy, flush;
	struct nof_conn *next_busy; // where the walk over `busy` goes on
	struct epoll_event events[EVENTS]; // of the round that runs
	int n_events;
	uint64_t now_ns, look_ns;
	struct timer_list wheel[WHEEL];
	uint64_t used[WHEEL / 64]; // slots that have a timer, one bit each
	uint64_t tick; // all timers before it have fired
	struct nof_timer *next_timer; // where the walk over a slot goes on
	unsigned n_conns, n_timers, n_awake;
	bool polled; // a poll is running

	/* Pushed by any thread, taken by the group's: newest first. */
	_Atomic(struct nof_msg *) posted;
};

static void wake(struct nof_group *g)
{
	if (!g->polled && g->wake)
		g->wake(g->user);
}

/* ---- connections ---- */

static uint32_t wanted(const struct nof_conn *c)
{
	return EPOLLIN | EPOLLRDHUP | (c->want_out ? EPOLLOUT : 0);
}

int nof_group_add(struct nof_group *g, struct nof_conn *c)
{
	struct epoll_event ev = { .data.ptr = c };

	assert(!c->group);
	c->want_out = false;
	ev.events = wanted(c);
	if (epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		return -errno;
	c->group = g;
	c->busy = c->flush = false;
	g->n_conns++;
	return 0;
}

void nof_group_remove(struct nof_conn *c)
{
	struct nof_group *g = c->group;

	if (!g)
		return;
	(void)epoll_ctl(g->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	nof_conn_busy(c, false);
	if (c->flush)
		TAILQ_REMOVE(&g->flush, c, flush_link);
	c->flush = false;
	for (int i = 0; i < g->n_events; i++)
		if (g->events[i].data.ptr == c)
			g->events[i].events = 0;
	g->n_conns--;
	c->group = NULL;
}

void nof_conn_busy(struct nof_conn *c, bool busy)
{
	struct nof_group *g = c->group;

	if (c->busy == busy || !g)
		return;
	c->busy = busy;
	if (c->awake)
		g->n_awake += busy ? 1 : -1U;
	if (busy) {
		TAILQ_INSERT_TAIL(&g->busy, c, busy_link);
		wake(g);
		return;
	}
	if (g->next_busy == c)
		g->next_busy = TAILQ_NEXT(c, busy_link);
	TAILQ_REMOVE(&g->busy, c, busy_link);
}

void nof_conn_flush(struct nof_conn *c)
{
	if (c->flush || !c->group)
		return;
	c->flush = true;
	TAILQ_INSERT_TAIL(&c->group->flush, c, flush_link);
	wake(c->group);
}

void nof_conn_want_out(struct nof_conn *c, bool want)
{
	struct epoll_event ev = { .data.ptr = c };

	if (c->want_out == want || !c->group)
		return;
	c->want_out = want;
	ev.events = wanted(c);
	(void)epoll_ctl(c->group->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* ---- timers ---- */

static unsigned slot_of(uint64_t at_ns)
{
	return (unsigned)(at_ns / NOF_TICK_NS % WHEEL);
}

void nof_timer_clear(struct nof_timer *t)
{
	struct nof_group *g = t->group;
	unsigned slot;

	if (!g)
		return;
	slot = slot_of(t->at_ns);
	if (g->next_timer == t)
		g->next_timer = LIST_NEXT(t, link);
	LIST_REMOVE(t, link);
	if (LIST_EMPTY(&g->wheel[slot]))
		g->used[slot / 64] &= ~(1ULL << slot % 64);
	t->group = NULL;
	g->n_timers--;
}

void nof_timer_set(struct nof_group *g, struct nof_timer *t, uint64_t at_ns)
{
	unsigned slot;

	nof_timer_clear(t);
	// Up to the next tick, so that none is early; what is past fires with the next one.
	at_ns = at_ns > UINT64_MAX - NOF_TICK_NS ? at_ns : at_ns + NOF_TICK_NS - 1;
	if (at_ns / NOF_TICK_NS < g->tick)
		at_ns = g->tick * NOF_TICK_NS;
	slot = slot_of(at_ns);
	t->at_ns = at_ns;
	t->group = g;
	LIST_INSERT_HEAD(&g->wheel[slot], t, link);
	g->used[slot / 64] |= 1ULL << slot % 64;
	g->n_timers++;
	wake(g);
}

/* The distance from `tick` to the first slot that has a timer, or WHEEL. */
static unsigned next_used(const struct nof_group *g, uint64_t tick)
{
	for (unsigned n = 0; n < WHEEL;) {
		unsigned slot = (unsigned)((tick + n) % WHEEL);
		uint64_t bits = g->used[slot / 64] >> slot % 64;

		if (bits) {
			n += (unsigned)__builtin_ctzll(bits);
			return n < WHEEL ? n : WHEEL;
		}
		n += 64 - slot % 64;
	}
	return WHEEL;
}

static unsigned fire_slot(struct nof_group *g, uint64_t tick)
{
	struct nof_timer *t = LIST_FIRST(&g->wheel[tick % WHEEL]);
	unsigned n = 0;

	for (; t; t = g->next_timer) {
		g->next_timer = LIST_NEXT(t, link);
		if (t->at_ns / NOF_TICK_NS > tick)
			continue; // of a later round of the wheel
		nof_timer_clear(t);
		t->fire(t);
		n++;
	}
	g->next_timer = NULL;
	return n;
}

static unsigned fire(struct nof_group *g)
{
	uint64_t now = g->now_ns / NOF_TICK_NS;
	unsigned n = 0;

	// One round visits every slot, however long this thread was away.
	if (now - g->tick >= WHEEL && now > g->tick)
		g->tick = now - WHEEL + 1;
	while (g->tick <= now) {
		unsigned skip = next_used(g, g->tick);
		uint64_t tick = g->tick + skip;

		if (tick > now) {
			g->tick = now + 1;
			break;
		}
		g->tick = tick + 1;
		n += fire_slot(g, tick);
	}
	return n;
}

uint64_t nof_group_deadline(const struct nof_group *g)
{
	unsigned n = next_used(g, g->tick);

	return n == WHEEL ? UINT64_MAX : (g->tick + n) * NOF_TICK_NS;
}

/* ---- messages ---- */

void nof_group_post(struct nof_group *g, struct nof_msg *m)
{
	struct nof_msg *head = atomic_load_explicit(&g->posted, memory_order_relaxed);
	uint64_t one = 1;

	do {
		m->next = head;
		// Release: pairs with run_posted(), which reads what the message holds.
	} while (!atomic_compare_exchange_weak_explicit(
		&g->posted, &head, m, memory_order_release, memory_order_relaxed));
	if (!head) // the first of a batch wakes the thread; the counter cannot overflow
		(void)!write(g->event_fd, &one, sizeof(one));
}

static unsigned run_posted(struct nof_group *g)
{
	struct nof_msg *m, *next, *first = NULL;
	unsigned n = 0;

	if (!atomic_load_explicit(&g->posted, memory_order_relaxed))
		return 0;
	// Acquire: pairs with the release of nof_group_post().
	m = atomic_exchange_explicit(&g->posted, NULL, memory_order_acquire);
	for (; m; m = next) { // oldest first
		next = m->next;
		m->next = first;
		first = m;
	}
	for (m = first; m; m = next, n++) {
		next = m->next;
		m->run(m);
	}
	return n;
}

/* ---- a round ---- */

static unsigned look(struct nof_group *g)
{
	unsigned done = 0;
	int n = epoll_wait(g->epoll_fd, g->events, EVENTS, 0);

	g->n_events = n < 0 ? 0 : n;
	for (int i = 0; i < g->n_events; i++) {
		struct epoll_event *ev = &g->events[i];
		struct nof_conn *c = ev->data.ptr;
		unsigned what = 0;

		if (!ev->events) // taken out meanwhile
			continue;
		if (!c) { // messages: the next round runs them
			uint64_t count;

			(void)!read(g->event_fd, &count, sizeof(count));
			done++;
			continue;
		}
		if (ev->events & EPOLLIN)
			what |= NOF_EV_IN;
		if (ev->events & EPOLLOUT)
			what |= NOF_EV_OUT;
		if (ev->events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
			what |= NOF_EV_ERR;
		done += c->turn(c, what);
	}
	g->n_events = 0;
	return done;
}

unsigned nof_group_poll(struct nof_group *g)
{
	struct nof_conn *c;
	unsigned n;

	g->now_ns = dpu_now_ns();
	g->polled = true;
	n = run_posted(g);
	for (c = TAILQ_FIRST(&g->busy); c; c = g->next_busy) {
		g->next_busy = TAILQ_NEXT(c, busy_link);
		if (c->flush) // its turn writes, too
			TAILQ_REMOVE(&g->flush, c, flush_link);
		c->flush = false;
		n += c->turn(c, 0);
	}
	g->next_busy = NULL;
	for (unsigned i = g->n_conns; i > 0 && (c = TAILQ_FIRST(&g->flush)); i--) {
		TAILQ_REMOVE(&g->flush, c, flush_link);
		c->flush = false;
		n += c->turn(c, 0);
	}
	if (TAILQ_EMPTY(&g->busy) || g->now_ns >= g->look_ns) {
		g->look_ns = g->now_ns + LOOK_NS;
		n += look(g);
	}
	if (g->now_ns / NOF_TICK_NS >= g->tick)
		n += fire(g);
	g->polled = false;
	return n;
}

bool nof_group_arm(struct nof_group *g)
{
	struct epoll_event ev;

	if (atomic_load_explicit(&g->posted, memory_order_acquire) || !TAILQ_EMPTY(&g->flush))
		return false;
	if (g->n_awake > 0)
		return false;
	return epoll_wait(g->epoll_fd, &ev, 1, 0) <= 0;
}

int nof_group_fd(const struct nof_group *g)
{
	return g->epoll_fd;
}

bool nof_group_empty(const struct nof_group *g)
{
	return g->n_conns == 0 && g->n_timers == 0 &&
	       !atomic_load_explicit(&g->posted, memory_order_relaxed);
}

bool nof_group_busy(const struct nof_group *g)
{
	return !TAILQ_EMPTY(&g->busy);
}

uint64_t nof_group_now(const struct nof_group *g)
{
	return g->now_ns;
}

uint8_t *nof_group_rx(struct nof_group *g, size_t *size)
{
	*size = g->rx_size;
	return g->rx;
}

struct vol_pool *nof_group_pool(struct nof_group *g)
{
	return g->pool;
}

/* ---- life ---- */

int nof_group_create(const struct nof_group_conf *conf, struct nof_group **out)
{
	struct nof_group *g = dpu_calloc(1, sizeof(*g));
	struct epoll_event ev = { .events = EPOLLIN };
	int ret;

	if (!g)
		return -ENOMEM;
	g->rx_size = conf->rx_size ? conf->rx_size : RX_SIZE;
	g->wake = conf->wake;
	g->user = conf->user;
	TAILQ_INIT(&g->busy);
	TAILQ_INIT(&g->flush);
	atomic_init(&g->posted, NULL);
	g->now_ns = dpu_now_ns();
	g->tick = g->now_ns / NOF_TICK_NS + 1;
	g->rx = dpu_aligned_calloc(4096, 1, g->rx_size);
	if (!g->rx) {
		ret = -ENOMEM;
		goto err_free;
	}
	ret = vol_pool_create(VOL_POOL_SUBS, VOL_POOL_BUFS, &g->pool);
	if (ret)
		goto err_rx;
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (g->epoll_fd < 0) {
		ret = -errno;
		goto err_pool;
	}
	g->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (g->event_fd < 0) {
		ret = -errno;
		goto err_epoll;
	}
	if (epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->event_fd, &ev) < 0) {
		ret = -errno;
		goto err_event;
	}
	*out = g;
	return 0;

err_event:
	close(g->event_fd);
err_epoll:
	close(g->epoll_fd);
err_pool:
	vol_pool_destroy(g->pool);
err_rx:
	free(g->rx);
err_free:
	free(g);
	return ret;
}

void nof_group_destroy(struct nof_group *g)
{
	if (!g)
		return;
	assert(g->n_conns == 0 && !atomic_load_explicit(&g->posted, memory_order_relaxed));
	close(g->event_fd);
	close(g->epoll_fd);
	vol_pool_destroy(g->pool);
	free(g->rx);
	free(g);
}
