// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VP: packed rings that no driver would write. */
#include "atk.h"

#include <string.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RING 64
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define NO_INDIRECT DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC)

struct sess {
	struct drv_blk b;
	struct drv_blk_io io[2];
	struct drv_ring *r;
};

static int open_ring(struct atk_env *e, struct sess *s, uint32_t size, uint64_t off)
{
	struct drv_blk_conf c = { .packed = true, .ring_size = size, .features_off = off };
	int ret = atk_blk_open(e, ATK_BLK, &c, &s->b);

	if (ret)
		return ret;
	s->r = &s->b.rings[0];
	for (unsigned i = 0; i < 2; i++) {
		if (drv_blk_io_init(&s->b, &s->io[i], 65536, 0)) {
			drv_blk_close(&s->b);
			return atk_fail(e, "no memory");
		}
		*s->io[i].status = DRV_BLK_STATUS_NONE;
		*s->io[i].hdr = (struct virtio_blk_outhdr){ VIRTIO_BLK_T_IN, 0, 0 };
	}
	return 0;
}

/* Fill the next slot and step over it; its flags, returned, are for publish(). */
static uint16_t fill(struct sess *s, uint64_t gpa, uint32_t len, uint16_t id, uint16_t flags)
{
	volatile struct vring_packed_desc *d = &s->r->pdesc[s->r->next_avail];
	uint16_t out = drv_ring_packed_flags(s->r, flags);

	d->addr = gpa;
	d->len = len;
	d->id = id;
	if (++s->r->next_avail == s->r->size) {
		s->r->next_avail = 0;
		s->r->avail_wrap = !s->r->avail_wrap;
	}
	return out;
}

static void publish(struct sess *s, uint16_t slot, uint16_t flags)
{
	atomic_thread_fence(memory_order_release);
	s->r->pdesc[slot].flags = flags;
}

static void put(struct sess *s, uint64_t gpa, uint32_t len, uint16_t id, uint16_t flags)
{
	uint16_t slot = s->r->next_avail;

	publish(s, slot, fill(s, gpa, len, id, flags));
}

static uint64_t status_gpa(struct sess *s, unsigned i)
{
	uint8_t *p;

	memcpy(&p, &s->io[i].status, sizeof(p));
	return drv_mem_gpa(&s->b.mem, p);
}

/* A read in three slots; the head's flags come last, as they must. */
static void chain(struct sess *s, unsigned i, const uint16_t id[3])
{
	uint16_t head = s->r->next_avail;
	uint16_t flags = fill(s, drv_mem_gpa(&s->b.mem, s->io[i].hdr), 16, id[0], NEXT);

	put(s, drv_mem_gpa(&s->b.mem, s->io[i].data), 512, id[1], NEXT | WRITE);
	put(s, status_gpa(s, i), 1, id[2], WRITE);
	publish(s, head, flags);
}

static int vp01(struct atk_env *e)
{
	static const uint32_t sizes[] = { 3, 1000, 32768 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct sess s;
		int ret = open_ring(e, &s, sizes[i], NO_INDIRECT);

		if (ret)
			return ret;
		unsigned n = atk_times(e, sizes[i] * 2);

		for (unsigned k = 0; !ret && k < n; k++)
			ret = drv_blk_sync(&s.b, 0, &s.io[0], k & 1, k % 64, 512, ATK_REPLY_MS);
		drv_blk_close(&s.b);
		ATK_CHECK(e, !ret, "ring of %u: %d", sizes[i], ret);
	}
	return 0;
}

static int vp02(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, RING, NO_INDIRECT);

	if (ret)
		return ret;
	uint16_t head = s.r->next_avail;
	uint16_t flags = fill(&s, drv_mem_gpa(&s.b.mem, s.io[0].data), 512, 1, NEXT);

	for (unsigned i = 1; i < RING; i++)
		put(&s, drv_mem_gpa(&s.b.mem, s.io[0].data), 512, 1, NEXT);
	publish(&s, head, flags); // last: what is available before it is never the head of a chain
	drv_ring_kick_always(s.r);
	bool ok = atk_ring_broken(s.r, ATK_REPLY_MS);

	drv_blk_close(&s.b);
	ATK_CHECK(e, ok, "ring of NEXT not stopped");
	return 0;
}

static int vp04(struct atk_env *e)
{
	static const struct {
		const char *what;
		uint16_t a, b;
	} t[] = {
		{ "id of ring size", RING, 1 },
		{ "id 0xffff", 0xffff, 1 },
		{ "same id twice", 5, 5 },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct sess s;
		int ret = open_ring(e, &s, RING, NO_INDIRECT);

		if (ret)
			return ret;
		chain(&s, 0, (uint16_t[3]){ t[i].a, t[i].a, t[i].a });
		chain(&s, 1, (uint16_t[3]){ t[i].b, t[i].b, t[i].b });
		drv_ring_kick_always(s.r);
		// To the device an id is but a name: answering is as good as refusing.
		ret = atk_answered_or_broken(&s.b, &s.io[0]);
		drv_blk_close(&s.b);
		ATK_CHECK(e, ret >= 0, "%s: neither answered nor stopped", t[i].what);
	}
	return 0;
}

static int vp06(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, RING, NO_INDIRECT);

	if (ret)
		return ret;
	chain(&s, 0, (uint16_t[3]){ 7, 9, 11 });
	drv_ring_kick_always(s.r);
	ret = atk_answered_or_broken(&s.b, &s.io[0]);
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	uint16_t used = 1u << VRING_PACKED_DESC_F_USED;

	while (!(s.r->pdesc[0].flags & used) && dpu_now_ns() < end)
		;
	uint16_t id = s.r->pdesc[0].id;

	drv_blk_close(&s.b);
	ATK_CHECK(e, ret == 1, "not answered");
	ATK_CHECK(e, id == 11, "used with id %u, not the last element's", id);
	return 0;
}

static int vp07(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, RING, 0);

	if (ret)
		return ret;
	for (unsigned k = 0; !ret && k < 256; k++) {
		ret = drv_blk_submit(&s.b, 0, &s.io[0], VIRTIO_BLK_T_IN, 0, 512);
		s.r->driver_event->off_wrap = (uint16_t)(0x7000 + k * 2049);
		s.r->driver_event->flags = k & 1 ? 3 : VRING_PACKED_EVENT_FLAG_DESC;
		drv_ring_kick(s.r);
		if (!ret && atk_answered_or_broken(&s.b, &s.io[0]) != 1)
			ret = -EIO;
		while (!ret && !s.io[0].done)
			drv_blk_poll(&s.b, 0);
	}
	drv_blk_close(&s.b);
	ATK_CHECK(e, !ret, "request not answered");
	return 0;
}

/* The third of four frames lies nowhere; `step` kicks one by one or all at once. */
static int bad_third(struct atk_env *e, bool step)
{
	struct drv_net_conf c = { .path = atk_path(e, ATK_NET), .packed = true };
	struct drv_net n;
	int ret = drv_net_open(&n, &c);

	ATK_CHECK(e, !ret, "session refused: %s", strerror(-ret));
	struct drv_net_queue *q = &n.tx[0];

	memset(q->bufs[0].p, 0, 128);
	for (unsigned i = 0; i < 4; i++) {
		struct drv_seg s = { i == 2 ? 0xfffffffffff00000ULL : q->bufs[0].gpa, 12 + 60 };

		drv_ring_add(&q->ring, &s, 1, 0, &q->bufs[0]);
		if (step)
			drv_ring_kick_always(&q->ring);
	}
	drv_ring_kick_always(&q->ring);
	bool ok = atk_ring_broken(&q->ring, ATK_REPLY_MS);

	drv_net_close(&n);
	ATK_CHECK(e, ok, "%s: ring not stopped", step ? "one by one" : "batch of four");
	return 0;
}

static int vp08(struct atk_env *e)
{
	int ret = bad_third(e, true);

	return ret ? ret : bad_third(e, false);
}

static const struct atk_row rows[] = {
	{ "VP-01", "ring sizes 3, 1000, 32768", vp01 },
	{ "VP-02", "NEXT in every descriptor", vp02 },
	{ "VP-04", "buffer ids out of range and twice", vp04 },
	{ "VP-06", "the last element's id counts", vp06 },
	{ "VP-07", "reserved driver event suppression", vp07 },
	{ "VP-08", "bad address inside a batch of four", vp08 },
};
const struct atk_group atk_vp_rows = { rows, COUNT(rows) };
