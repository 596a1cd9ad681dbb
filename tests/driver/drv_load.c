// SPDX-License-Identifier: Apache-2.0
/* The lightest possible block load: prebuilt chains, one publication and one kick a turn. */
#include "drv_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "drv_hist.h"

#define STALL_NS 10000000000ULL
#define BURST 64

struct slot {
	struct virtio_blk_outhdr *hdr;
	volatile uint8_t *status;
	uint64_t data_gpa, hdr_gpa, table_gpa;
	uint64_t since; // ticks
	uint32_t type;
};

struct load {
	const struct drv_load_conf *conf; // borrowed
	struct drv_blk *b; // borrowed
	struct drv_ring *r;
	struct drv_load_result *res;
	struct slot *slots; // owned; conf->qd
	struct drv_hist hist; // ticks
	uint64_t rng, next_block, blocks, max;
	uint32_t per_block; // sectors of one request
	unsigned per_slot; // ring slots of one request
};

static uint32_t type_next(struct load *l)
{
	switch (l->conf->rw) {
	case DRV_LOAD_READ:
	case DRV_LOAD_RANDREAD:
		return VIRTIO_BLK_T_IN;
	case DRV_LOAD_RANDRW:
		return drv_rand(&l->rng) & 1 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	default:
		return VIRTIO_BLK_T_OUT;
	}
}

static uint64_t sector_next(struct load *l)
{
	uint64_t block;

	if (l->conf->rw == DRV_LOAD_READ || l->conf->rw == DRV_LOAD_WRITE) {
		block = l->next_block;
		l->next_block = block + 1 == l->blocks ? 0 : block + 1;
	} else {
		block = (uint64_t)(((unsigned __int128)drv_rand(&l->rng) * l->blocks) >> 64);
	}
	return block * l->per_block;
}

/* ---- built once ---- */

static void chain_segs(const struct load *l, const struct slot *s, struct vring_desc d[3])
{
	uint16_t data = s->type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0;

	d[0] = (struct vring_desc){ s->hdr_gpa, sizeof(*s->hdr), 0, 0 };
	d[1] = (struct vring_desc){ s->data_gpa, l->conf->bs, data, 0 };
	d[2] = (struct vring_desc){ s->hdr_gpa + 32, 1, VRING_DESC_F_WRITE, 0 };
}

/* A chain in the split ring's own table or in an indirect one; packed tables have no NEXT. */
static void chain_write(struct load *l, unsigned i)
{
	struct slot *s = &l->slots[i];
	struct vring_desc d[3];
	uint16_t base = l->conf->direct ? (uint16_t)(i * 3) : 0;

	chain_segs(l, s, d);
	if (l->r->packed) {
		if (!l->conf->direct)
			for (unsigned k = 0; k < 3; k++) {
				struct vring_packed_desc p = { d[k].addr, d[k].len, 0, d[k].flags };

				memcpy(&l->r->tables[i * l->r->indirect_max + k], &p, sizeof(p));
			}
		return;
	}
	for (unsigned k = 0; k < 3; k++) {
		if (k < 2)
			d[k].flags |= VRING_DESC_F_NEXT;
		d[k].next = (uint16_t)(base + k + 1);
		if (l->conf->direct)
			l->r->desc[base + k] = d[k];
		else
			l->r->tables[i * l->r->indirect_max + k] = d[k];
	}
	if (!l->conf->direct)
		l->r->desc[i] = (struct vring_desc){ s->table_gpa, 48, VRING_DESC_F_INDIRECT, 0 };
}

static int build(struct load *l)
{
	for (unsigned i = 0; i < l->conf->qd; i++) {
		struct slot *s = &l->slots[i];
		struct drv_blk_io io;
		int ret = drv_blk_io_init(l->b, &io, l->conf->bs, 0);

		if (ret)
			return ret;
		s->hdr = io.hdr;
		s->status = io.status;
		s->hdr_gpa = drv_mem_gpa(&l->b->mem, io.hdr);
		s->data_gpa = drv_mem_gpa(&l->b->mem, io.data);
		if (!l->conf->direct)
			s->table_gpa = drv_mem_gpa(
				&l->b->mem, &l->r->tables[i * l->r->indirect_max]);
		s->type = type_next(l);
		*s->hdr = (struct virtio_blk_outhdr){ s->type, 0, 0 };
		chain_write(l, i);
	}
	return 0;
}

/* ---- per request ---- */

static void packed_put(struct load *l, unsigned i)
{
	struct drv_ring *r = l->r;
	struct slot *s = &l->slots[i];
	struct vring_desc d[3];
	uint16_t head = r->next_avail, head_flags = 0;
	unsigned n = l->conf->direct ? 3 : 1;

	if (l->conf->direct)
		chain_segs(l, s, d);
	else
		d[0] = (struct vring_desc){ s->table_gpa, 48, VRING_DESC_F_INDIRECT, 0 };
	for (unsigned k = 0; k < n; k++) {
		volatile struct vring_packed_desc *p = &r->pdesc[r->next_avail];
		uint16_t more = k + 1 < n ? VRING_DESC_F_NEXT : 0;
		uint16_t flags = drv_ring_packed_flags(r, d[k].flags | more);

		p->addr = d[k].addr;
		p->len = d[k].len;
		p->id = (uint16_t)i;
		if (k)
			p->flags = flags;
		else
			head_flags = flags;
		if (++r->next_avail == r->size) {
			r->next_avail = 0;
			r->avail_wrap = !r->avail_wrap;
		}
	}
	atomic_thread_fence(memory_order_release);
	r->pdesc[head].flags = head_flags;
}

static inline void put(struct load *l, unsigned i)
{
	struct drv_ring *r = l->r;
	struct slot *s = &l->slots[i];
	uint32_t type = type_next(l);

	s->hdr->sector = sector_next(l);
	if (type != s->type) {
		s->type = s->hdr->type = type;
		chain_write(l, i);
	}
	*s->status = DRV_BLK_STATUS_NONE;
	r->unkicked += l->per_slot;
	if (r->packed) {
		packed_put(l, i);
		return;
	}
	r->avail->ring[r->next_avail & (r->size - 1)] = (uint16_t)(i * l->per_slot);
	r->next_avail++;
	r->unkicked -= l->per_slot - 1; // split: avail entries count, not descriptors
}

static void publish(struct load *l)
{
	struct drv_ring *r = l->r;

	if (!r->packed) {
		atomic_thread_fence(memory_order_release);
		r->avail->idx = r->next_avail;
	}
	l->res->kicks += drv_ring_kick(r);
}

/*
 * One request at a time: it is the one that was answered. The line of its header and status comes
 * over once, to be read and written, while the used element does. What is left is the device's.
 */
static inline void fetch_only(const struct load *l)
{
	if (l->conf->qd == 1)
		drv_fetch_write(l->slots[0].hdr);
}

/* Ids of what was answered, at most BURST. */
static unsigned take(struct load *l, uint16_t *ids)
{
	struct drv_ring *r = l->r;
	unsigned n = 0;

	if (!r->packed) {
		uint16_t idx = r->used->idx;

		atomic_thread_fence(memory_order_acquire);
		if (r->last_used != idx)
			fetch_only(l);
		while (r->last_used != idx && n < BURST) {
			uint32_t id = r->used->ring[r->last_used++ & (r->size - 1)].id;

			ids[n++] = (uint16_t)(id / l->per_slot);
		}
		return n;
	}
	while (n < BURST) {
		volatile struct vring_packed_desc *p = &r->pdesc[r->last_used];
		uint16_t flags = p->flags;
		bool avail = flags & 1u << VRING_PACKED_DESC_F_AVAIL;
		bool used = flags & 1u << VRING_PACKED_DESC_F_USED;

		if (avail != used || used != r->used_wrap)
			break;
		atomic_thread_fence(memory_order_acquire);
		fetch_only(l);
		ids[n++] = p->id;
		r->last_used = (uint16_t)(r->last_used + l->per_slot);
		if (r->last_used >= r->size) {
			r->last_used = (uint16_t)(r->last_used - r->size);
			r->used_wrap = !r->used_wrap;
		}
	}
	return n;
}

static void answered(struct load *l, const uint16_t *ids, unsigned n, bool measure)
{
	uint64_t now = drv_ticks();

	for (unsigned k = 0; k < n; k++) {
		unsigned i = ids[k];

		if (i >= l->conf->qd) {
			l->res->errors++;
			continue;
		}
		struct slot *s = &l->slots[i];

		if (*s->status != VIRTIO_BLK_S_OK)
			l->res->errors++;
		if (measure) {
			uint64_t t = now - s->since;

			drv_hist_add(&l->hist, t);
			l->max = t > l->max ? t : l->max;
		}
		s->since = now;
		put(l, i);
	}
	publish(l);
	l->res->requests += n;
}

static int idle(struct load *l, uint64_t *spins, uint64_t *quiet_since)
{
	uint64_t now;

	l->res->empty_polls++;
	if (l->conf->intr) {
		if (drv_ring_intr(l->r, true)) {
			drv_ring_wait(l->r, 100);
			l->res->calls++;
		}
		drv_ring_intr(l->r, false);
	} else if (++*spins % 65536) {
		drv_relax();
		return 0;
	}
	now = dpu_now_ns();
	if (!*quiet_since)
		*quiet_since = now;
	if (!drv_vu_alive(&l->b->vu))
		return -EPIPE;
	return now - *quiet_since > STALL_NS ? -ETIMEDOUT : 0;
}

static int turns(struct load *l, uint64_t ns, bool measure)
{
	uint64_t end = dpu_now_ns() + ns, spins = 0, quiet_since = 0, n_turns = 0;
	uint16_t ids[BURST];
	int ret = 0;

	while (!ret) {
		unsigned n = take(l, ids);

		l->res->polls++;
		if (n) {
			answered(l, ids, n, measure);
			quiet_since = 0;
			n_turns++;
		} else {
			ret = idle(l, &spins, &quiet_since);
		}
		if (((n && n_turns % 64 == 0) || (!n && (l->conf->intr || spins % 1024 == 0))) &&
			dpu_now_ns() >= end)
			break;
	}
	return ret;
}

static int measure(struct load *l)
{
	struct drv_load_result *res = l->res;
	uint64_t ns, ticks;
	double per_tick;
	int ret;

	for (unsigned i = 0; i < l->conf->qd; i++) {
		l->slots[i].since = drv_ticks();
		put(l, i);
	}
	publish(l);
	ret = turns(l, l->conf->warmup_ns, false);
	if (ret)
		return ret;
	*res = (struct drv_load_result){ .errors = res->errors };
	ns = dpu_now_ns();
	ticks = drv_ticks();
	ret = turns(l, l->conf->ns, true);
	ns = dpu_now_ns() - ns;
	ticks = drv_ticks() - ticks;
	per_tick = ticks ? (double)ns / (double)ticks : 0;
	res->seconds = (double)ns / 1e9;
	res->p50_ns = (uint64_t)((double)drv_hist_at(&l->hist, 500) * per_tick);
	res->p99_ns = (uint64_t)((double)drv_hist_at(&l->hist, 990) * per_tick);
	res->p999_ns = (uint64_t)((double)drv_hist_at(&l->hist, 999) * per_tick);
	res->max_ns = (uint64_t)((double)l->max * per_tick);
	return ret;
}

int drv_load_run(struct drv_blk *b, const struct drv_load_conf *conf, struct drv_load_result *out)
{
	struct load *l = dpu_calloc(1, sizeof(*l));
	int ret = -EINVAL;

	*out = (struct drv_load_result){ 0 };
	if (!l)
		return -ENOMEM;
	l->conf = conf;
	l->b = b;
	l->r = &b->rings[0];
	l->res = out;
	l->rng = 1;
	l->per_slot = conf->direct ? 3 : 1;
	l->per_block = conf->bs / 512;
	if (!conf->qd || !l->per_block || conf->bs % 512 || conf->qd * l->per_slot > l->r->size ||
		(!conf->direct && l->r->indirect_max < 3))
		goto out;
	l->blocks = b->cfg.capacity / l->per_block;
	if (!l->blocks)
		goto out;
	ret = -ENOMEM;
	l->slots = dpu_calloc(conf->qd, sizeof(*l->slots));
	if (!l->slots)
		goto out;
	ret = build(l);
	if (!ret)
		ret = measure(l);
out:
	free(l->slots);
	free(l);
	return ret;
}
