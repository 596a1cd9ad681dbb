// SPDX-License-Identifier: Apache-2.0
/* Watches and one-shot timers of the control thread's event loop. */
#include "loop.h"

#include <stdlib.h>

#include <event2/event.h>

#include "dpu_alloc.h"

struct handle {
	struct event *ev; // owned
	void (*cb)(void *arg);
	void *arg;
};

static void handle_free(struct handle *h)
{
	event_free(h->ev);
	free(h);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct handle *h = arg;

	(void)fd;
	(void)what;
	h->cb(h->arg); // may unwatch: h is not touched again
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct handle *h = arg;
	struct handle copy = *h;

	(void)fd;
	(void)what;
	handle_free(h);
	copy.cb(copy.arg);
}

static void *add(struct event_base *base, int fd, short what, event_callback_fn fn,
	const struct timeval *after, struct handle tmpl)
{
	struct handle *h = dpu_calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	*h = tmpl;
	h->ev = event_new(base, fd, what, fn, h);
	if (!h->ev) {
		free(h);
		return NULL;
	}
	if (event_add(h->ev, after) < 0) {
		handle_free(h);
		return NULL;
	}
	return h;
}

static void *watch(void *arg, int fd, void (*cb)(void *cb_arg), void *cb_arg)
{
	return add(arg, fd, EV_READ | EV_PERSIST, on_readable, NULL,
		(struct handle){ .cb = cb, .arg = cb_arg });
}

static void *timer(void *arg, unsigned delay_ms, void (*cb)(void *cb_arg), void *cb_arg)
{
	struct timeval tv = { .tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000L };

	return add(arg, -1, 0, on_timer, &tv, (struct handle){ .cb = cb, .arg = cb_arg });
}

static void cancel(void *arg, void *handle)
{
	(void)arg;
	if (handle)
		handle_free(handle);
}

void card_loop_init(struct vho_loop *out, struct event_base *base)
{
	*out = (struct vho_loop){
		.arg = base,
		.watch = watch,
		.unwatch = cancel,
		.timer = timer,
		.timer_cancel = cancel,
	};
}
