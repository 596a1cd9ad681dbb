// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv conformance, disks. Requests are written, read back and compared; each is one piece of guest
 * memory (header, data, status) that is cut into buffers at random places, for a device must not
 * care where they end (2.7.4.2).
 */
#include "vdrv_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "drv_blk.h"

#define IOS 16
#define IO_DATA 4096u
#define HDR sizeof(struct virtio_blk_outhdr)
#define PIECES_MAX 8
#define WAIT_MS 2000 // for an answer; a notification that has not come by then is lost
#define BRIEF_SLOTS 2100
#define F_NOTIFICATION_DATA 38
#define F_LIFETIME 15
#define T_GET_LIFETIME 10

struct io {
	struct drv_blk_io b;
	uint8_t *p; // header, data, status
	uint64_t sector;
	uint32_t seq;
	bool busy, reading;
};

/* A session, and what its requests look like. */
struct rig {
	struct drv_blk b;
	struct drv_blk_conf conf;
	struct io io[IOS];
	uint64_t random;
	unsigned min_pieces, max_pieces;
	bool always_kick; // for drivers that look at nothing
	uint64_t done; // requests
	uint64_t slots; // ring slots that they took
};

static uint32_t pick(struct rig *r, uint32_t n)
{
	r->random = r->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(r->random >> 33) % n;
}

static int rig_open(struct rig *r, const struct conf_env *env, const struct conf_cell *c)
{
	int ret;

	r->conf.path = env->socket;
	r->conf.packed = c->packed;
	r->conf.in_order = c->in_order;
	r->conf.ring_size = c->size;
	r->conf.features_off |= (c->indirect ? 0 : DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC)) |
				(c->event_idx ? 0 : DRV_BIT(VIRTIO_RING_F_EVENT_IDX));
	ret = drv_blk_open(&r->b, &r->conf);
	if (ret)
		return ret == -ENOTSUP ? CONF_NOT_OFFERED : ret;
	if ((c->indirect && !drv_blk_has(&r->b, VIRTIO_RING_F_INDIRECT_DESC)) ||
		(c->event_idx && !drv_blk_has(&r->b, VIRTIO_RING_F_EVENT_IDX)) ||
		(c->in_order && !drv_blk_has(&r->b, VIRTIO_F_IN_ORDER)) ||
		(r->conf.inband && !drv_vu_is_inband(&r->b.vu)) ||
		(r->conf.more & ~r->b.vu.features)) {
		drv_blk_close(&r->b);
		return CONF_NOT_OFFERED;
	}
	for (unsigned i = 0; i < IOS; i++) {
		r->io[i].p = drv_mem_alloc(&r->b.mem, i, HDR + IO_DATA + 1, 64);
		if (!r->io[i].p) {
			drv_blk_close(&r->b);
			return -ENOMEM;
		}
		r->io[i].sector = i * (IO_DATA / 512) * 2;
	}
	r->random = c->size + 1;
	r->min_pieces = 2;
	r->max_pieces = c->size < PIECES_MAX ? c->size : PIECES_MAX;
	return CONF_PASS;
}

static void pattern(const struct io *io, uint8_t *to)
{
	uint64_t v = (io->sector << 32 | io->seq) * 0x9e3779b97f4a7c15ULL;

	for (uint32_t i = 0; i < IO_DATA; i += 8, v += 0x9e3779b97f4a7c15ULL)
		memcpy(to + i, &v, 8);
}

/* Cut [gpa, gpa + len) into n segments. */
static void cut(struct rig *r, struct drv_seg *s, unsigned n, uint64_t gpa, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t left = n - 1 - i;
		uint32_t part = left ? 1 + pick(r, (len - left) / (left + 1) * 2 - 1) : len;

		if (part > len - left)
			part = len - left;
		s[i] = (struct drv_seg){ gpa, part };
		gpa += part;
		len -= part;
	}
}

/* Write the next pattern, or read the last one. 0 or -ENOSPC. */
static int submit(struct rig *r, unsigned q, struct io *io)
{
	uint32_t type = io->reading ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
	struct virtio_blk_outhdr h = { type, 0, io->sector };
	uint32_t out = HDR + (io->reading ? 0 : IO_DATA), in = HDR + IO_DATA + 1 - out;
	unsigned n = r->min_pieces + pick(r, r->max_pieces - r->min_pieces + 1);
	unsigned n_in = io->reading ? n - 1 : 1;
	uint64_t gpa = drv_mem_gpa(&r->b.mem, io->p);
	struct drv_seg s[256];
	int ret;

	if (n > 2 && io->reading)
		n_in = 1 + pick(r, n - 1);
	if (n - n_in > HDR && io->reading)
		n_in = n - HDR;
	cut(r, s, n - n_in, gpa, out);
	cut(r, s + n - n_in, n_in, gpa + out, in);
	memcpy(io->p, &h, sizeof(h));
	if (io->reading)
		memset(io->p + HDR, 0xa5, IO_DATA);
	else
		pattern(io, io->p + HDR);
	io->b.status = io->p + HDR + IO_DATA;
	io->b.user = io;
	ret = drv_blk_submit_segs(&r->b, q, &io->b, s, n - n_in, n_in);
	if (!ret) {
		io->busy = true;
		r->slots += r->b.rings[q].indirect_max >= n ? 1 : n;
	}
	return ret;
}

static int finish(struct rig *r, struct io *io)
{
	uint8_t want[IO_DATA];

	io->busy = false;
	r->done++;
	if (*io->b.status != VIRTIO_BLK_S_OK)
		return -EIO;
	if (io->reading) {
		pattern(io, want);
		if (memcmp(want, io->p + HDR, IO_DATA) != 0)
			return -EILSEQ;
		io->seq++;
	}
	io->reading = !io->reading;
	return 0;
}

/* Sleep for the notification of queue q. -ENOMSG: the answer is there and nobody said so. */
static int sleep_for(struct rig *r, unsigned q)
{
	struct drv_ring *ring = &r->b.rings[q];
	int ret = 0;

	if (drv_ring_intr(ring, true)) {
		ret = drv_ring_wait(ring, WAIT_MS);
		if (ret == -ETIMEDOUT && drv_ring_used_ready(ring) && drv_ring_wait(ring, WAIT_MS))
			ret = -ENOMSG;
		else if (drv_ring_used_ready(ring))
			ret = 0;
	}
	drv_ring_intr(ring, false);
	return ret;
}

/* Take what is done on queue q: how many, or an error. */
static int reap(struct rig *r, unsigned q)
{
	struct drv_blk_io *b;
	int n = 0, ret;

	while ((b = drv_blk_poll(&r->b, q))) {
		ret = finish(r, b->user);
		if (ret)
			return ret;
		n++;
	}
	return r->b.rings[q].bad_used ? -EPROTO : n;
}

static int drain(struct rig *r, unsigned q)
{
	int ret = 0;

	while (r->b.rings[q].outstanding && ret >= 0) {
		ret = reap(r, q);
		if (ret == 0)
			ret = sleep_for(r, q);
	}
	return ret < 0 ? ret : 0;
}

/* Verified traffic on queue q until `slots` more ring slots have been used. */
static int traffic(struct rig *r, unsigned q, uint64_t slots)
{
	uint64_t end = r->slots + slots;
	int ret = 0;

	while (r->slots < end && ret >= 0) {
		unsigned n = 0;

		for (unsigned i = 0; i < IOS; i++)
			if (!r->io[i].busy && submit(r, q, &r->io[i]) == 0)
				n++;
		if (r->always_kick)
			drv_ring_kick_always(&r->b.rings[q]);
		else
			drv_ring_kick(&r->b.rings[q]);
		ret = reap(r, q);
		if (ret == 0)
			ret = sleep_for(r, q);
	}
	return ret < 0 ? ret : drain(r, q);
}

/* One after the other, each into a device that has gone to sleep where it does. */
static int one_by_one(struct rig *r, unsigned n)
{
	struct drv_ring *ring = &r->b.rings[0];
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++) {
		uint64_t until = dpu_now_ns() + 200000000;

		while (!drv_ring_device_waits(ring) && dpu_now_ns() < until)
			;
		ret = submit(r, 0, &r->io[i % IOS]);
		drv_ring_kick(ring);
		if (!ret)
			ret = drain(r, 0);
	}
	return ret;
}

int conf_blk_cell(const struct conf_env *env, const struct conf_cell *c)
{
	uint64_t slots = 2ULL * c->size + 64;
	struct rig r = { 0 };
	int ret;

	// A request has a buffer in each direction, and no chain may be longer than the ring
	if (c->size < 2)
		return CONF_NO_CASE;
	if (env->brief && slots > BRIEF_SLOTS)
		slots = BRIEF_SLOTS;
	ret = rig_open(&r, env, c);
	if (ret != CONF_PASS)
		return ret;
	ret = traffic(&r, 0, slots);
	drv_blk_close(&r.b);
	return ret;
}

/* ---- rows ---- */

static int with(const struct conf_env *env, struct rig *r, const struct conf_cell *c,
	int (*run)(struct rig *r))
{
	int ret = rig_open(r, env, c);

	if (ret != CONF_PASS)
		return ret;
	ret = run(r);
	drv_blk_close(&r->b);
	return ret;
}

static int plain_run(struct rig *r)
{
	return traffic(r, 0, 3000);
}

static int full_chains(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 8 };
	struct rig r = { 0 };
	int ret = rig_open(&r, env, &c);

	(void)row;
	if (ret != CONF_PASS)
		return ret;
	r.min_pieces = r.max_pieces = 8;
	ret = traffic(&r, 0, 2000);
	drv_blk_close(&r.b);
	return ret;
}

/* 128 bytes in each table: chains of one descriptor up to the table's eight. */
static int full_tables(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .indirect = true, .size = 8 };
	struct rig r = { 0 };
	int ret = rig_open(&r, env, &c);

	(void)row;
	if (ret != CONF_PASS)
		return ret;
	r.min_pieces = r.max_pieces = 8;
	ret = traffic(&r, 0, 300);
	drv_blk_close(&r.b);
	return ret;
}

/* Split: past 65535 and on. Packed: some 280 times round, chains across the end among them. */
static int long_run(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = {
		.packed = packed, .event_idx = true, .size = packed ? 251 : 256
	};
	struct rig r = { 0 };
	int ret = rig_open(&r, env, &c);

	(void)row;
	if (ret != CONF_PASS)
		return ret;
	if (!packed)
		r.max_pieces = 2;
	while (ret >= 0 && (packed ? r.slots : r.done) < 70000)
		ret = traffic(&r, 0, 4096);
	drv_blk_close(&r.b);
	return ret;
}

static void bend_mixed(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags)
{
	uint16_t at = r->desc[head].next, n = 0, i = at;
	struct vring_desc *t = &r->tables[(size_t)head * 8];

	(void)id;
	(void)flags;
	for (;; i = t[n++].next) {
		t[n] = (struct vring_desc){ r->desc[i].addr, r->desc[i].len, r->desc[i].flags,
			r->desc[i].next };
		if (!(t[n].flags & VRING_DESC_F_NEXT))
			break;
	}
	for (i = 0; i < n; i++)
		t[i].next = (uint16_t)(i + 1);
	r->desc[at].addr = drv_mem_gpa(r->mem, t);
	r->desc[at].len = (n + 1u) * 16;
	r->desc[at].flags = VRING_DESC_F_INDIRECT;
}

static void bend_write(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags)
{
	(void)id;
	if (flags)
		*flags |= VRING_DESC_F_WRITE;
	else
		r->desc[head].flags |= VRING_DESC_F_WRITE;
}

/* The table's list runs from its first entry to the last one and then back. */
static void bend_order(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags)
{
	struct vring_desc *t = &r->tables[(size_t)head * 8], was[8];
	unsigned n = r->desc[head].len / 16;

	(void)id;
	(void)flags;
	memcpy(was, t, n * sizeof(*t));
	for (unsigned i = 0; i < n; i++) {
		unsigned to = i ? n - i : 0;

		t[to] = was[i];
		t[to].next = (uint16_t)(n - 1 - i);
	}
}

static void bend_ids(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags)
{
	uint32_t at = head;

	(void)flags;
	for (unsigned i = 1; i < r->slots[id].n; i++) {
		r->pdesc[at].id = (uint16_t)(0xff00 + i);
		at = at + 1 == r->size ? 0 : at + 1;
	}
}

static void bend_next(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags)
{
	uint16_t at = head;

	(void)id;
	(void)flags;
	while (r->desc[at].flags & VRING_DESC_F_NEXT)
		at = r->desc[at].next;
	r->desc[at].next = 0xffff;
}

static int bent(const struct conf_env *env, const struct conf_cell *c, bool direct,
	void (*bend)(struct drv_ring *, uint16_t, uint16_t, uint16_t *))
{
	struct rig r = { 0 };
	int ret = rig_open(&r, env, c);

	if (ret != CONF_PASS)
		return ret;
	r.min_pieces = 3;
	if (direct)
		r.b.rings[0].indirect_max = 1; // negotiated, but chains stand in the ring
	r.b.rings[0].bend = bend;
	ret = traffic(&r, 0, 600);
	drv_blk_close(&r.b);
	return ret;
}

static int mixed(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .indirect = true, .size = 64 };

	(void)row;
	return bent(env, &c, true, bend_mixed);
}

static int table_write(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .indirect = true, .size = 64 };

	(void)row;
	return bent(env, &c, false, bend_write);
}

static int table_order(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .indirect = true, .size = 64 };

	(void)row;
	return bent(env, &c, false, bend_order);
}

static int last_id(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };

	(void)row;
	return bent(env, &c, false, bend_ids);
}

static int stale_next(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };

	(void)row;
	return bent(env, &c, false, bend_next);
}

static int run_one_by_one(struct rig *r)
{
	return one_by_one(r, 64);
}

static int calls_flags(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_one_by_one);
}

static int calls_event(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_one_by_one);
}

/* The driver asks for no notification and gets none. */
static int run_quiet(struct rig *r)
{
	struct drv_ring *ring = &r->b.rings[0];
	uint64_t until;
	int ret = one_by_one(r, 4);

	while (drv_ring_wait(ring, 0) == 0)
		;
	for (unsigned i = 0; i < 64 && ret >= 0; i++) {
		ret = submit(r, 0, &r->io[i % IOS]);
		drv_ring_kick(ring);
		until = dpu_now_ns() + WAIT_MS * 1000000ULL;
		while (ret >= 0 && ring->outstanding && dpu_now_ns() < until)
			ret = reap(r, 0);
		if (ret >= 0 && ring->outstanding)
			ret = -ETIMEDOUT;
	}
	return ret < 0 ? ret : drv_ring_wait(ring, 0) == 0 ? -EALREADY : 0;
}

static int quiet_flags(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_quiet);
}

static int quiet_event(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_quiet);
}

static int run_always_kick(struct rig *r)
{
	drv_ring_kick_always(&r->b.rings[0]); // for nothing
	r->always_kick = true;
	return plain_run(r);
}

static int always_kick(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_always_kick);
}

/* GET_VRING_BASE with requests under way, then on from there. */
static int run_stop_start(struct rig *r)
{
	struct drv_ring *ring = &r->b.rings[0];
	int ret = 0;

	for (unsigned round = 0; round < 20 && !ret; round++) {
		int64_t base;

		for (unsigned i = 0; i < IOS; i++)
			if (!r->io[i].busy)
				(void)submit(r, 0, &r->io[i]);
		drv_ring_kick(ring);
		base = drv_vu_ring_stop(&r->b.vu, 0);
		if (base < 0)
			return (int)base;
		ret = drv_vu_ring_start_at(&r->b.vu, 0, ring, (uint32_t)base);
		drv_ring_kick_always(ring);
		if (!ret)
			ret = drain(r, 0);
	}
	return ret;
}

static int stop_start(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };
	struct rig r = { 0 };

	(void)row;
	return with(env, &r, &c, run_stop_start);
}

/* A ring is reset: over vhost-user it is stopped, then set up again from its beginning. */
static int run_reset(struct rig *r)
{
	struct drv_ring *ring = &r->b.rings[0];
	int ret = 0;

	for (unsigned round = 0; round < 20 && !ret; round++) {
		int64_t base;

		// More than the ring has, so that its indexes are far from the start
		ret = traffic(r, 0, 100 + pick(r, 100));
		if (ret)
			return ret;
		base = drv_vu_ring_stop(&r->b.vu, 0);
		if (base < 0)
			return (int)base;
		drv_ring_reset(ring);
		ret = drv_vu_ring_start(&r->b.vu, 0, ring);
	}
	return ret ? ret : plain_run(r);
}

static int ring_reset(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { .conf = { .more = row->more, .inflight = true } };

	return with(env, &r, &c, run_reset);
}

static int plain(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { .conf.more = row->more };

	return with(env, &r, &c, plain_run);
}

static int regions(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .indirect = true, .size = 64 };
	struct rig r = { .conf = { .regions = 4, .mem_slots = true } };

	(void)row;
	return with(env, &r, &c, plain_run);
}

static int run_queues(struct rig *r)
{
	int ret = 0;

	for (unsigned q = 0; q < r->b.n_queues && !ret; q++)
		ret = traffic(r, q, 500);
	return ret;
}

static int all_queues(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };
	struct rig r = { 0 };
	int ret = rig_open(&r, env, &c);

	(void)row;
	if (ret != CONF_PASS)
		return ret;
	r.conf.n_queues = r.b.cfg.num_queues;
	if (!drv_blk_has(&r.b, VIRTIO_BLK_F_MQ) || r.conf.n_queues < 2)
		ret = CONF_NOT_OFFERED;
	else if (r.conf.n_queues > DRV_BLK_QUEUES_MAX)
		r.conf.n_queues = DRV_BLK_QUEUES_MAX;
	drv_blk_close(&r.b);
	return ret == CONF_PASS ? with(env, &r, &c, run_queues) : ret;
}

/* The connection breaks with requests under way; the next one finishes them. */
static int run_inflight(struct rig *r)
{
	struct drv_ring *ring = &r->b.rings[0];
	int ret = r->b.vu.inflight_fd < 0 ? CONF_NOT_OFFERED : CONF_PASS;

	for (unsigned round = 0; round < 10 && !ret; round++) {
		for (unsigned i = 0; i < IOS; i++)
			if (!r->io[i].busy)
				(void)submit(r, 0, &r->io[i]);
		drv_ring_kick(ring);
		drv_vu_drop(&r->b.vu);
		ret = reap(r, 0);
		if (ret >= 0)
			ret = drv_vu_reconnect(&r->b.vu, WAIT_MS);
		if (!ret)
			ret = drain(r, 0);
	}
	return ret;
}

static int inflight(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 64 };
	struct rig r = { .conf.inflight = true };

	(void)row;
	return with(env, &r, &c, run_inflight);
}

/*
 * Every kick and every call a message, by both ways of asking for them. An answer that nobody calls
 * for is not found: that is what is being tried.
 */
static int inband(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .event_idx = true, .size = 64 };
	struct rig r = { .conf.inband = true };
	int ret = rig_open(&r, env, &c);
	unsigned idx;

	(void)row;
	if (ret != CONF_PASS)
		return ret;
	for (unsigned round = 0; round < 300 && ret >= 0; round++) {
		struct drv_ring *ring = &r.b.rings[0];

		for (unsigned i = 0; i < IOS; i++)
			if (!r.io[i].busy)
				(void)submit(&r, 0, &r.io[i]);
		ret = drv_vu_set_state(&r.b.vu, DRV_VRING_KICK, 0, 0);
		if (!ret && drv_ring_intr(ring, true)) {
			ret = drv_vu_inband_wait(&r.b.vu, &idx, WAIT_MS);
			if (ret >= 0 && (ret != DRV_BACKEND_VRING_CALL || idx != 0))
				ret = -EPROTO;
		}
		drv_ring_intr(ring, false);
		if (ret >= 0)
			ret = reap(&r, 0);
	}
	drv_blk_close(&r.b);
	return ret < 0 ? ret : CONF_PASS;
}

/* struct virtio_blk_lifetime has values that are defined. */
static int lifetime(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	const struct conf_cell c = { .packed = packed, .size = 8 };
	struct rig r = { .conf.more = row->more };
	int ret = rig_open(&r, env, &c);
	struct virtio_blk_outhdr h = { .type = T_GET_LIFETIME };
	struct io *io = &r.io[0];
	struct drv_seg s[3];
	uint64_t gpa;

	if (ret != CONF_PASS)
		return ret;
	gpa = drv_mem_gpa(&r.b.mem, io->p);
	memcpy(io->p, &h, sizeof(h));
	memset(io->p + HDR, 0xff, 6);
	io->b.status = io->p + HDR + 6;
	s[0] = (struct drv_seg){ gpa, HDR };
	s[1] = (struct drv_seg){ gpa + HDR, 6 };
	s[2] = (struct drv_seg){ gpa + HDR + 6, 1 };
	ret = drv_blk_submit_segs(&r.b, 0, &io->b, s, 1, 2);
	if (!ret) {
		drv_ring_kick(&r.b.rings[0]);
		ret = drv_blk_wait(&r.b, 0, &io->b, WAIT_MS);
	}
	if (ret >= 0)
		ret = *io->b.status == VIRTIO_BLK_S_OK && io->b.used_len == 7 ? 0 : -EIO;
	// 5.2.6: up to 3, and up to 11; little-endian
	if (!ret && (io->p[HDR] > 3 || io->p[HDR + 2] > 11 || io->p[HDR + 4] > 11 ||
			    io->p[HDR + 1] || io->p[HDR + 3] || io->p[HDR + 5]))
		ret = -ERANGE;
	drv_blk_close(&r.b);
	return ret;
}

const struct conf_row conf_blk_rows[] = {
	{ "chains as long as the ring", "2.7.5", "2.8.6", false, full_chains, 0 },
	{ "tables as long as the ring", "2.7.5.3", "2.8.7", false, full_tables, 0 },
	{ "indexes and wrap counters go round", "2.7.6", "2.8.1", false, long_run, 0 },
	{ "direct descriptors, then an indirect one", "2.7.5.3.2", NULL, false, mixed, 0 },
	{ "WRITE on the descriptor of a table means nothing", "2.7.5.3.2", "2.8.7", false,
		table_write, 0 },
	{ "a table's list in any order", "2.7.5.3", NULL, false, table_order, 0 },
	{ "the last descriptor's buffer id counts", NULL, "2.8.6", false, last_id, 0 },
	{ "next without NEXT means nothing", "2.7.5", NULL, false, stale_next, 0 },
	{ "notified and woken, by flags", "2.7.7, 2.7.10", "2.8.10", false, calls_flags, 0 },
	{ "notified and woken, by event index", "2.7.7, 2.7.10", "2.8.10", false, calls_event, 0 },
	{ "not notified when not asked for, by flags", "2.7.7", "2.8.10", true, quiet_flags, 0 },
	{ "not notified when not asked for, by event index", "2.7.7", "2.8.10", true, quiet_event,
		0 },
	{ "kicks that nobody asked for", "2.7.10", "2.8.10", false, always_kick, 0 },
	{ "notification data: a driver that would send it", "2.9", "2.9", false, plain,
		DRV_BIT(F_NOTIFICATION_DATA) },
	{ "one queue reset", "2.6.1", "2.6.1", false, ring_reset, DRV_BIT(VIRTIO_F_RING_RESET) },
	{ "stopped and started under load", "vhost-user", "vhost-user", false, stop_start, 0 },
	{ "four memory regions, by slots where offered", "vhost-user", "vhost-user", false, regions,
		0 },
	{ "notified by messages, not descriptors", "vhost-user", "vhost-user", false, inband, 0 },
	{ "behind the guest's IOMMU", "6.1", "6.1", false, conf_blk_iommu,
		DRV_BIT(VIRTIO_F_ACCESS_PLATFORM) },
	{ "wear of the media", "5.2.6", "5.2.6", false, lifetime, DRV_BIT(F_LIFETIME) },
	{ "all queues", "5.2.2", "5.2.2", false, all_queues, 0 },
	{ "connection lost, requests in flight", "vhost-user", "vhost-user", false, inflight, 0 },
	{ 0 },
};
