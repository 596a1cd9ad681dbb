// SPDX-License-Identifier: Apache-2.0
/* The card's services, without a card. */
#include "fake_host.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "vu_fd.h"

#define ROUNDS 1000

static void *watch(void *arg, int fd, void (*cb)(void *), void *cb_arg)
{
	struct fake_host *h = arg;

	if (h->no_watch) {
		h->no_watch = false;
		return NULL;
	}
	for (unsigned i = 0; i < FAKE_WATCHES; i++) {
		if (h->watch[i].cb)
			continue;
		h->watch[i] = (struct fake_watch){ .fd = fd, .cb = cb, .arg = cb_arg };
		return &h->watch[i];
	}
	return NULL;
}

static void unwatch(void *arg, void *handle)
{
	struct fake_watch *w = handle;

	(void)arg;
	w->cb = NULL;
}

static void *timer(void *arg, unsigned delay_ms, void (*cb)(void *), void *cb_arg)
{
	struct fake_host *h = arg;

	for (unsigned i = 0; i < FAKE_TIMERS; i++) {
		if (h->timer[i].cb)
			continue;
		h->timer[i] = (struct fake_timer){
			.at_ms = h->now_ms + delay_ms,
			.cb = cb,
			.arg = cb_arg,
		};
		return &h->timer[i];
	}
	return NULL;
}

static void timer_cancel(void *arg, void *handle)
{
	struct fake_timer *t = handle;

	(void)arg;
	t->cb = NULL;
}

static int queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	struct fake_host *h = arg;

	(void)kick_fd;
	if (h->start_ret < 0)
		return h->start_ret;
	h->starts++;
	h->running[idx] = true;
	vho_dev_queue_run(dev, idx, true);
	return 0;
}

static void queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct fake_host *h = arg;

	h->stops++;
	h->running[idx] = false;
	vho_dev_queue_run(dev, idx, false);
}

static void changed(void *arg, struct vho_dev *dev)
{
	struct fake_host *h = arg;

	(void)dev;
	h->changes++;
}

static void synchronize(void *arg)
{
	struct fake_host *h = arg;

	h->syncs++;
}

void fake_host_init(struct fake_host *h)
{
	memset(h, 0, sizeof(*h));
	h->loop = (struct vho_loop){ h, watch, unwatch, timer, timer_cancel };
	h->host = (struct vho_host){ h, &h->loop, queue_start, queue_stop, changed, synchronize };
}

void fake_host_run(struct fake_host *h)
{
	bool any = true;

	for (unsigned round = 0; any && round < ROUNDS; round++) {
		any = false;
		for (unsigned i = 0; i < FAKE_WATCHES; i++) {
			struct fake_watch *w = &h->watch[i];
			struct pollfd p = { .fd = w->fd, .events = POLLIN };

			if (!w->cb || poll(&p, 1, 0) != 1)
				continue;
			any = true;
			w->cb(w->arg);
		}
	}
}

void fake_host_advance(struct fake_host *h, unsigned ms)
{
	uint64_t end = h->now_ms + ms;

	for (;;) {
		struct fake_timer *first = NULL;

		for (unsigned i = 0; i < FAKE_TIMERS; i++) {
			struct fake_timer *t = &h->timer[i];

			if (t->cb && t->at_ms <= end && (!first || t->at_ms < first->at_ms))
				first = t;
		}
		if (!first)
			break;

		struct fake_timer due = *first;

		h->now_ms = due.at_ms;
		first->cb = NULL;
		due.cb(due.arg);
		fake_host_run(h);
	}
	h->now_ms = end;
	fake_host_run(h);
}

unsigned fake_host_armed(const struct fake_host *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_WATCHES; i++)
		n += h->watch[i].cb != NULL;
	for (unsigned i = 0; i < FAKE_TIMERS; i++)
		n += h->timer[i].cb != NULL;
	return n;
}

static void config_read(struct vho_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	const struct fake_dev *d = dev->owner;

	memset(buf, 0, len);
	for (uint32_t i = 0; i < len && off + i < sizeof(d->config); i++)
		((uint8_t *)buf)[i] = d->config[off + i];
}

static int config_write(struct vho_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct fake_dev *d = dev->owner;

	if (off > sizeof(d->config) || len > sizeof(d->config) - off)
		return -22;
	memcpy(d->config + off, buf, len);
	return 0;
}

static int queue_setup(struct vho_dev *dev, unsigned idx)
{
	(void)idx;
	((struct fake_dev *)dev->owner)->setups++;
	return 0;
}

static void queue_teardown(struct vho_dev *dev, unsigned idx)
{
	(void)idx;
	((struct fake_dev *)dev->owner)->teardowns++;
}

static bool queue_is_control(struct vho_dev *dev, unsigned idx)
{
	return (int)idx == ((struct fake_dev *)dev->owner)->control_idx;
}

static void control_poll(struct vho_dev *dev)
{
	((struct fake_dev *)dev->owner)->control_polls++;
}

static int set_mtu(struct vho_dev *dev, uint16_t mtu)
{
	((struct fake_dev *)dev->owner)->mtu = mtu;
	return 0;
}

static int send_rarp(struct vho_dev *dev, const uint8_t mac[6])
{
	memcpy(((struct fake_dev *)dev->owner)->rarp, mac, 6);
	return 0;
}

static void reset(struct vho_dev *dev)
{
	((struct fake_dev *)dev->owner)->resets++;
}

static const struct vho_dev_type net_type = {
	.kind = VHO_DEV_NET,
	.config_read = config_read,
	.config_write = config_write,
	.queue_setup = queue_setup,
	.queue_teardown = queue_teardown,
	.queue_is_control = queue_is_control,
	.control_poll = control_poll,
	.set_mtu = set_mtu,
	.send_rarp = send_rarp,
	.reset = reset,
};

static const struct vho_dev_type blk_type = {
	.kind = VHO_DEV_BLK,
	.config_read = config_read,
	.queue_setup = queue_setup,
	.queue_teardown = queue_teardown,
	.reset = reset,
};

int fake_dev_init(
	struct fake_dev *d, struct fake_host *h, enum vho_dev_kind kind, unsigned n_queues)
{
	memset(d, 0, sizeof(*d));
	d->control_idx = -1;
	return vho_dev_init(&d->dev, kind == VHO_DEV_NET ? &net_type : &blk_type, d, "fake",
		n_queues, 0, 0, &h->host);
}

void fake_dev_fini(struct fake_dev *d)
{
	vho_dev_fini(&d->dev);
}

unsigned fake_open_fds(void)
{
	unsigned n = 0;
	DIR *dir;

	while (vu_fd_pending(NULL)) // on their way out
		sched_yield();
	dir = opendir("/proc/self/fd");

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}
