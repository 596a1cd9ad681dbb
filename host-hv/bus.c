// SPDX-License-Identifier: Apache-2.0
/* Windows of ports and MMIO addresses, sorted. */
#include "bus.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int hv_bus_init(struct hv_bus *bus)
{
	int ret;

	*bus = (struct hv_bus){ 0 };
	ret = pthread_mutex_init(&bus->lock, NULL);
	if (ret)
		return -ret;
	ret = pthread_cond_init(&bus->idle, NULL);
	if (ret)
		pthread_mutex_destroy(&bus->lock);
	return -ret;
}

void hv_bus_fini(struct hv_bus *bus)
{
	for (unsigned i = 0; i < bus->n; i++)
		free(bus->windows[i]);
	free(bus->windows);
	pthread_cond_destroy(&bus->idle);
	pthread_mutex_destroy(&bus->lock);
}

static bool before(const struct hv_bus_window *w, enum hv_bus_kind kind, uint64_t addr)
{
	return w->kind != kind ? w->kind < kind : w->base <= addr;
}

/* How many windows begin at or before addr. */
static unsigned place(const struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr)
{
	unsigned lo = 0, hi = bus->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (before(bus->windows[mid], kind, addr))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The window that addr is in, or NULL. */
static struct hv_bus_window *find(const struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr)
{
	unsigned i = place(bus, kind, addr);
	struct hv_bus_window *w = i > 0 ? bus->windows[i - 1] : NULL;

	return w && w->kind == kind && addr - w->base < w->len ? w : NULL;
}

static int make_room(struct hv_bus *bus)
{
	unsigned room = bus->room ? bus->room * 2 : 16;
	struct hv_bus_window **more;

	if (bus->n < bus->room)
		return 0;
	more = realloc(bus->windows, room * sizeof(struct hv_bus_window *));
	if (!more)
		return -ENOMEM;
	bus->windows = more;
	bus->room = room;
	return 0;
}

static int insert(struct hv_bus *bus, struct hv_bus_window *w)
{
	unsigned i = place(bus, w->kind, w->base);
	int ret;

	if (find(bus, w->kind, w->base))
		return -EEXIST;
	if (i < bus->n && bus->windows[i]->kind == w->kind &&
		bus->windows[i]->base - w->base < w->len)
		return -EEXIST;
	ret = make_room(bus);
	if (ret)
		return ret;
	memmove(&bus->windows[i + 1], &bus->windows[i],
		(bus->n - i) * sizeof(struct hv_bus_window *));
	bus->windows[i] = w;
	bus->n++;
	return 0;
}

int hv_bus_add(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base, uint64_t len,
	const struct hv_bus_ops *ops, void *arg)
{
	struct hv_bus_window *w;
	int ret;

	if (len == 0 || base + len - 1 < base)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct hv_bus_window){
		.kind = kind, .base = base, .len = len, .ops = ops, .arg = arg
	};
	pthread_mutex_lock(&bus->lock);
	ret = insert(bus, w);
	pthread_mutex_unlock(&bus->lock);
	if (ret)
		free(w);
	return ret;
}

void hv_bus_remove(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base)
{
	struct hv_bus_window *w;

	pthread_mutex_lock(&bus->lock);
	w = find(bus, kind, base);
	if (w && w->base == base) {
		unsigned i = place(bus, kind, base);

		memmove(&bus->windows[i - 1], &bus->windows[i],
			(bus->n - i) * sizeof(struct hv_bus_window *));
		bus->n--;
		while (w->users > 0)
			pthread_cond_wait(&bus->idle, &bus->lock);
		free(w);
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

	memset(data, 0xff, len);
	if (!w)
		return;
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
