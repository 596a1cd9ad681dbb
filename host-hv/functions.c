// SPDX-License-Identifier: Apache-2.0
/* Functions of the card in the slots of a guest's bus. */
#include "functions.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "dpu_log.h"

/* It comes to the bus as its card has said what it is. */
static void on_ready(void *arg, int err)
{
	struct hv_function *f = arg;

	if (err == 0)
		err = hv_pci_plug(f->all->pci, &f->d->func, f->slot, f->all->live);
	f->ready = err == 0;
	f->failed = err != 0;
	if (err)
		dpu_err("function: cannot be shown", "slot=%u err=%s", f->slot, strerror(-err));
}

static void on_lost(void *arg)
{
	struct hv_function *f = arg;

	f->wanting = true;
	f->all->ev->want(f->all->arg, f->slot);
}

static void on_ejected(void *arg)
{
	struct hv_function *f = arg;

	atomic_store(&f->ejected, true);
	(void)eventfd_write(f->all->wake_fd, 1); // it fails only when it is readable anyway
}

static const struct hv_virtio_events events = { on_ready, on_lost, on_ejected };

/* Off the bus, and no more; whoever asks is told. */
static void drop(struct hv_function *f)
{
	struct hv_functions *all = f->all;

	// A guest that is in the middle of letting go has the bus's lock until it is done.
	hv_pci_remove(all->pci, &f->d->func);
	hv_virtio_destroy(f->d);
	*f = (struct hv_function){ .d = NULL };
	if (all->ev->functions)
		all->ev->functions(all->arg);
}

static struct hv_function *find(struct hv_functions *all, unsigned slot)
{
	return slot < HV_PROTO_SLOTS && all->fn[slot].d ? &all->fn[slot] : NULL;
}

int hv_functions_add(struct hv_functions *all, unsigned slot, enum hv_kind kind, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = slot };
	struct hv_function *f;
	struct hv_virtio *d;
	int ret;

	if (slot >= HV_PROTO_SLOTS || (kind != HV_KIND_NET && kind != HV_KIND_BLK))
		return -EINVAL;
	if (slot == 0 || find(all, slot))
		return -EEXIST; // the host bridge has slot 0
	f = &all->fn[slot];
	ret = hv_virtio_create(all->vm, kind, &events, f, &d);
	if (ret)
		return ret;
	if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, d->vhost.epoll_fd, &e) < 0)
		ret = -errno;
	if (ret == 0)
		ret = hv_vhost_reconnect(&d->vhost, fd);
	if (ret) {
		hv_virtio_destroy(d);
		return ret;
	}
	*f = (struct hv_function){ .all = all, .slot = slot, .d = d };
	return 0;
}

int hv_functions_reconnect(struct hv_functions *all, unsigned slot, int fd)
{
	struct hv_function *f = find(all, slot);
	int ret = f ? hv_vhost_reconnect(&f->d->vhost, fd) : -ENOENT;

	if (ret == 0)
		f->wanting = false;
	return ret;
}

int hv_functions_remove(struct hv_functions *all, unsigned slot)
{
	struct hv_function *f = find(all, slot);

	if (!f)
		return -ENOENT;
	if (all->live && f->ready && !f->asked) {
		f->asked = true;
		(void)hv_pci_unplug(all->pci, &f->d->func); // one that the guest let go of is off
		return 0;
	}
	drop(f);
	return 0;
}

void hv_functions_masks(const struct hv_functions *all, uint32_t *present, uint32_t *wanting)
{
	*present = *wanting = 0;
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++) {
		*present |= all->fn[i].d ? 1u << i : 0;
		*wanting |= all->fn[i].wanting ? 1u << i : 0;
	}
}

void hv_functions_turn(struct hv_functions *all)
{
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++) {
		struct hv_function *f = &all->fn[i];

		if (!f->d)
			continue;
		hv_vhost_run(&f->d->vhost);
		if (f->failed || atomic_load(&f->ejected))
			drop(f);
	}
}

bool hv_functions_pending(const struct hv_functions *all)
{
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (all->fn[i].d && !all->fn[i].ready && !all->fn[i].wanting)
			return true;
	return false;
}

bool hv_functions_know_memory(const struct hv_functions *all)
{
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (all->fn[i].d && !hv_vhost_knows_memory(&all->fn[i].d->vhost))
			return false;
	return true;
}

void hv_functions_fini(struct hv_functions *all)
{
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (all->fn[i].d)
			drop(&all->fn[i]);
}
