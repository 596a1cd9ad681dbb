// SPDX-License-Identifier: Apache-2.0
/* Windows of ports and MMIO addresses. */
#include "bus.h"

#include <errno.h>
#include <string.h>

void hv_bus_init(struct hv_bus *bus)
{
	*bus = (struct hv_bus){ .lock = PTHREAD_MUTEX_INITIALIZER,
		.idle = PTHREAD_COND_INITIALIZER };
}

void hv_bus_fini(struct hv_bus *bus)
{
	pthread_cond_destroy(&bus->idle);
	pthread_mutex_destroy(&bus->lock);
}

/* The window that addr is in, or NULL. Few are there, and none is on the path of a queue. */
static struct hv_bus_window *find(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr)
{
	for (unsigned i = 0; i < bus->top; i++) {
		struct hv_bus_window *w = &bus->windows[i];

		if (!w->ending && w->kind == kind && addr - w->base < w->len)
			return w;
	}
	return NULL;
}

static int insert(struct hv_bus *bus, const struct hv_bus_window *new)
{
	struct hv_bus_window *free = NULL;

	for (unsigned i = 0; i < HV_BUS_WINDOWS; i++) {
		struct hv_bus_window *w = &bus->windows[i];

		if (w->len == 0)
			free = free ? free : w;
		else if (!w->ending && w->kind == new->kind &&
			 (new->base - w->base < w->len || w->base - new->base < new->len))
			return -EEXIST;
	}
	if (!free)
		return -ENOSPC;
	*free = *new;
	if (bus->top <= free - bus->windows)
		bus->top = (unsigned)(free - bus->windows) + 1;
	bus->n++;
	return 0;
}

int hv_bus_add(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base, uint64_t len,
	const struct hv_bus_ops *ops, void *arg)
{
	const struct hv_bus_window w = {
		.kind = kind, .base = base, .len = len, .ops = ops, .arg = arg
	};
	int ret;

	if (len == 0 || base + len - 1 < base)
		return -EINVAL;
	pthread_mutex_lock(&bus->lock);
	ret = insert(bus, &w);
	pthread_mutex_unlock(&bus->lock);
	return ret;
}

void hv_bus_remove(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base)
{
	struct hv_bus_window *w;

	pthread_mutex_lock(&bus->lock);
	w = find(bus, kind, base);
	if (w && w->base == base) {
		w->ending = true;
		bus->n--;
		while (w->users > 0)
			pthread_cond_wait(&bus->idle, &bus->lock);
		*w = (struct hv_bus_window){ .len = 0 };
	}
	pthread_mutex_unlock(&bus->lock);
}

static struct hv_bus_window *enter(
	struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, unsigned len)
{
	struct hv_bus_window *w;

	pthread_mutex_lock(&bus->lock);
	w = find(bus, kind, addr);
	if (w && w->len - (addr - w->base) < len)
		w = NULL;
	if (w)
		w->users++;
	else
		bus->missed++;
	pthread_mutex_unlock(&bus->lock);
	return w;
}

static void leave(struct hv_bus *bus, struct hv_bus_window *w)
{
	pthread_mutex_lock(&bus->lock);
	if (--w->users == 0)
		pthread_cond_broadcast(&bus->idle);
	pthread_mutex_unlock(&bus->lock);
}

void hv_bus_read(
	struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, uint8_t *data, unsigned len)
{
	struct hv_bus_window *w = enter(bus, kind, addr, len);

	memset(data, w && !w->ops->read ? 0 : 0xff, len);
	if (!w)
		return;
	if (w->ops->read)
		w->ops->read(w->arg, addr - w->base, data, len);
	leave(bus, w);
}

void hv_bus_write(
	struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, const uint8_t *data, unsigned len)
{
	struct hv_bus_window *w = enter(bus, kind, addr, len);

	if (!w)
		return;
	w->ops->write(w->arg, addr - w->base, data, len);
	leave(bus, w);
}
