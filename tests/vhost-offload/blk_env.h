/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio disk on one queue with the driver half of tests/driver at the other end, in one thread:
 * a test adds chains, lets the device take turns, and looks at what came back.
 */
#pragma once

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "drv_ring.h"
#include "vho_blk.h"
#include "volume.h"

#define MEM_SIZE (8UL << 20)
#define HELD_MAX 256
#define ENV_REGIONS_MAX 16

struct layout {
	const char *name;
	bool packed;
	uint64_t features;
	unsigned indirect_max;
};

static const struct layout layouts[] = {
	{ "split", false, 0, 0 },
	{ "split, indirect, event index", false,
		1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX, 64 },
	{ "packed", true, 0, 0 },
	{ "packed, indirect, in order", true,
		1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_F_IN_ORDER, 64 },
};
#define N_LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

/* A store that keeps requests until the test answers them. */
struct held_store {
	struct vho_blk_limits limits;
	struct vho_blk_io *io[HELD_MAX];
	unsigned n, kicks;
};

static inline void held_limits(void *store, struct vho_blk_limits *out)
{
	*out = ((struct held_store *)store)->limits;
}

static inline void held_submit(void *store, void *chan, struct vho_blk_io *io)
{
	struct held_store *s = store;

	(void)chan;
	if (s->n == HELD_MAX)
		abort();
	s->io[s->n++] = io;
}

static inline void held_kick(void *store, void *chan)
{
	(void)chan;
	((struct held_store *)store)->kicks++;
}

static const struct vho_blk_store_ops held_ops = {
	.limits = held_limits, .submit = held_submit, .kick = held_kick
};

struct env {
	struct drv_mem mem;
	struct drv_ring ring;
	struct vho_mem *map; // a reference of the test's own
	struct vho_blk *blk;
	struct vho_dev *dev;
	const struct vho_blk_store_ops *ops;
	void *store;
	struct vol_chan *chan;
	bool packed;
	uint64_t features; // 0: everything that is offered and fits the layout
	size_t mem_size; // 0: MEM_SIZE
	uint32_t ring_size; // 0: 64
	unsigned n_regions; // that it is told as, end to end; 0: one
	bool blind; // the front-end does not read configuration space
	uint32_t base; // where the ring goes on; 0: a new ring
	struct vho_inflight *region; // the front-end's inflight region, or NULL
	unsigned started, stopped;
};

static inline int env_queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	(void)kick_fd;
	((struct env *)arg)->started++;
	vho_dev_queue_run(dev, idx, true);
	return 0;
}

/* What the card does, without a worker to ask: give up on what is still in flight. */
static inline void env_queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct env *e = arg;

	e->stopped++;
	vho_dev_queue_run(dev, idx, false);
	vho_blk_abandon(e->blk, idx);
}

static inline void env_changed(void *arg, struct vho_dev *dev)
{
	(void)arg;
	(void)dev;
}

static inline void env_synchronize(void *arg)
{
	(void)arg;
}

/* Hand over the ring and start it. 0 or -errno. */
static inline int env_ring_up(struct env *e)
{
	struct vho_dev_queue *dq = &e->dev->queues[0];

	dq->size = e->ring.size;
	if (e->ring.packed) {
		dq->desc_uva = (uintptr_t)e->ring.pdesc;
		dq->driver_uva = (uintptr_t)e->ring.driver_event;
		dq->device_uva = (uintptr_t)e->ring.device_event;
		dq->base = e->base ? e->base : 0x80008000;
	} else {
		dq->desc_uva = (uintptr_t)e->ring.desc;
		dq->driver_uva = (uintptr_t)e->ring.avail;
		dq->device_uva = (uintptr_t)e->ring.used;
		dq->base = e->base;
	}
	dq->has_addr = dq->has_kick = dq->enabled = true;
	vho_dev_queue_set_call(e->dev, 0, dup(e->ring.call_fd));
	return vho_dev_queue_try_start(e->dev, 0);
}

/* Guest address behind region i of n_regions: they are equally long. */
static inline uint64_t env_region_end(const struct env *e, unsigned i)
{
	return e->mem.r[0].gpa + e->mem.r[0].size / ENV_REGIONS_MAX * (i + 1);
}

/* The memory as one region, or as several: the last one has what is left. */
static inline int env_map(struct env *e)
{
	const struct drv_region *m = &e->mem.r[0];
	struct vho_mem_region r[ENV_REGIONS_MAX];
	int fds[ENV_REGIONS_MAX];
	unsigned n = e->n_regions ? e->n_regions : 1;
	uint64_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t end = i + 1 == n ? m->size : env_region_end(e, i) - m->gpa;

		r[i] = (struct vho_mem_region){ .gpa = m->gpa + at,
			.size = end - at,
			.uva = (uint64_t)(uintptr_t)m->host + at,
			.mmap_off = at };
		fds[i] = m->fd;
		at = end;
	}
	return vho_mem_create(r, fds, n, &e->map);
}

/* Negotiate, hand over memory and the ring: what a transport does. 0 or -errno. */
static inline int env_connect(struct env *e, const struct layout *l, uint64_t features)
{
	struct vho_inflight *inf = NULL;
	uint8_t config[64];
	int ret;

	vho_dev_attach(e->dev);
	if (!e->blind)
		e->dev->type->config_read(e->dev, 0, config, sizeof(config));
	ret = vho_dev_set_features(e->dev, features);
	if (ret == 0 && e->region) {
		ret = vho_inflight_open(e->region->fd, 0, e->region->size, 1,
			(uint16_t)e->ring.size, l->packed, &inf);
		if (ret == 0)
			vho_dev_set_inflight(e->dev, inf);
	}
	if (ret == 0)
		ret = env_map(e);
	if (ret < 0)
		return ret;
	vho_dev_set_mem(e->dev, vho_mem_get(e->map));
	return env_ring_up(e);
}

/* The device's half: a disk with conf over `ops`, connected. 0 or -errno. */
static inline int env_device(struct env *e, const struct layout *l, struct vho_blk_conf *conf)
{
	static struct vho_host host;
	uint64_t rings = 1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX |
			 1ULL << VIRTIO_F_IN_ORDER | 1ULL << VIRTIO_F_RING_PACKED;
	uint64_t f;
	int ret;

	host = (struct vho_host){ .arg = e,
		.queue_start = env_queue_start,
		.queue_stop = env_queue_stop,
		.changed = env_changed,
		.synchronize = env_synchronize };
	conf->ops = e->ops;
	conf->store = e->store;
	ret = vho_blk_create(conf, &host, &e->blk);
	if (ret < 0)
		return ret;
	e->dev = vho_blk_dev(e->blk);
	f = e->features ? e->features : e->dev->features_offered;
	// The rings here are at physical addresses
	f = (f & ~rings & ~(1ULL << VIRTIO_F_ACCESS_PLATFORM)) | l->features |
	    1ULL << VIRTIO_F_VERSION_1;
	if (l->packed)
		f |= 1ULL << VIRTIO_F_RING_PACKED;
	return env_connect(e, l, f);
}

/* Guest memory with a ring, and a disk on it. 0 or -errno. */
static inline int env_open(struct env *e, const struct layout *l, struct vho_blk_conf *conf)
{
	struct drv_ring_conf rc = { .packed = l->packed,
		.size = e->ring_size ? e->ring_size : 64,
		.features = l->features,
		.indirect_max = l->indirect_max };
	int ret = drv_mem_init(&e->mem, 1, e->mem_size ? e->mem_size : MEM_SIZE);

	if (ret == 0)
		ret = drv_ring_init(&e->ring, &e->mem, &rc);
	if (ret < 0)
		return ret;
	return env_device(e, l, conf);
}

static inline void env_close(struct env *e)
{
	if (e->dev)
		vho_dev_detach(e->dev);
	vho_blk_destroy(e->blk);
	vho_mem_put(e->map);
	drv_ring_fini(&e->ring);
	drv_mem_fini(&e->mem);
}

/* A request's buffers in guest memory: how it is cut into descriptors is up to the test. */
struct guest_req {
	uint8_t *out, *in;
	uint32_t out_len, in_len;
};

enum cut { CUT_USUAL, CUT_TIGHT, CUT_FINE, CUTS };

static inline unsigned add_seg(struct env *e, struct drv_seg *s, const uint8_t *p, uint32_t len)
{
	if (len == 0)
		return 0;
	*s = (struct drv_seg){ drv_mem_gpa(&e->mem, p), len };
	return 1;
}

/*
 * USUAL: header, data and status in buffers of their own. TIGHT: one readable, one writable buffer.
 * FINE: header byte by byte, data in two uneven parts, the status byte at the tail of the second.
 */
static inline int submit(struct env *e, const struct guest_req *g, enum cut cut, void *cookie)
{
	struct drv_seg s[32];
	uint32_t head = g->out_len < 16 ? g->out_len : 16, out = g->out_len - head;
	uint32_t part = out > 100 ? 100 : 0, in = g->in_len ? g->in_len - 1 : 0;
	unsigned n = 0, n_out;

	if (cut == CUT_TIGHT) {
		n += add_seg(e, &s[n], g->out, g->out_len);
		n_out = n;
		n += add_seg(e, &s[n], g->in, g->in_len);
	} else if (cut == CUT_USUAL) {
		n += add_seg(e, &s[n], g->out, head);
		n += add_seg(e, &s[n], g->out + head, out);
		n_out = n;
		n += add_seg(e, &s[n], g->in, in);
		n += add_seg(e, &s[n], g->in + in, g->in_len - in);
	} else {
		for (uint32_t i = 0; i < head; i++)
			n += add_seg(e, &s[n], g->out + i, 1);
		n += add_seg(e, &s[n], g->out + head, part);
		n += add_seg(e, &s[n], g->out + head + part, out - part);
		n_out = n;
		part = in > 100 ? 100 : 0;
		n += add_seg(e, &s[n], g->in, part);
		n += add_seg(e, &s[n], g->in + part, g->in_len - part);
	}
	return drv_ring_add(&e->ring, s, n_out, n - n_out, cookie);
}

static inline void put_header(uint8_t *p, uint32_t type, uint64_t sector)
{
	uint32_t prio = 0;

	memcpy(p, &type, 4);
	memcpy(p + 4, &prio, 4);
	memcpy(p + 8, &sector, 8);
}
