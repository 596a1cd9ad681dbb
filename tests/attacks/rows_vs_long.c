// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VS: legal requests that would like to have the worker for themselves. */
#include "atk.h"

#include <string.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

/* ---- one request of 1 GiB, 64 times the same 16 MiB ---- */

#define SAME (16U << 20)
#define TIMES 64

static int submit_gib(struct drv_blk *b, struct drv_blk_io *io, uint64_t data, uint32_t last)
{
	struct drv_seg s[TIMES + 2];
	uint8_t *status;

	memcpy(&status, &io->status, sizeof(status));
	*io->hdr = (struct virtio_blk_outhdr){ VIRTIO_BLK_T_IN, 0, 0 };
	s[0] = (struct drv_seg){ drv_mem_gpa(&b->mem, io->hdr), 16 };
	for (unsigned i = 1; i <= TIMES; i++)
		s[i] = (struct drv_seg){ data, i < TIMES ? SAME : last };
	s[TIMES + 1] = (struct drv_seg){ drv_mem_gpa(&b->mem, status), 1 };
	return drv_blk_submit_segs(b, 0, io, s, 1, TIMES + 1);
}

static int huge(struct atk_env *e, struct drv_blk *b)
{
	uint64_t data = drv_mem_gpa(&b->mem, drv_mem_alloc(&b->mem, 0, SAME + 512, 4096));
	struct drv_blk_io io[3], more;
	int st;

	ATK_CHECK(e, data != UINT64_MAX && !drv_blk_io_init(b, &more, 512, 0), "no memory");
	for (size_t i = 0; i < COUNT(io); i++) {
		ATK_CHECK(e, !drv_blk_io_init(b, &io[i], 0, 0), "no memory");
		// The last one stays below what is refused, so that it is carried out
		ATK_CHECK(e, !submit_gib(b, &io[i], data, SAME), "ring full");
	}
	drv_ring_kick(&b->rings[0]);
	st = drv_blk_wait(b, 0, &io[0], ATK_REPLY_MS);
	ATK_CHECK(e, st == VIRTIO_BLK_S_OK, "1 GiB: status %d", st);
	ATK_CHECK(e, !submit_gib(b, &more, data, SAME + 512), "ring full");
	drv_ring_kick(&b->rings[0]);
	st = drv_blk_wait(b, 0, &more, ATK_REPLY_MS);
	ATK_CHECK(e, st == VIRTIO_BLK_S_IOERR, "more than 1 GiB: status %d", st);
	return 0; // one or two are still on their way when the session ends
}

static int vs08_huge(struct atk_env *e)
{
	struct drv_blk_conf c = { .ring_size = 512, .region_size = 64 << 20 };
	struct drv_blk b;
	int ret = atk_blk_open(e, ATK_BLK_BIG, &c, &b);

	if (ret)
		return ret;
	ret = huge(e, &b);
	drv_blk_close(&b);
	return ret;
}

/* ---- chains of empty buffers, one chain made available over and over ---- */

/* n heads of the chain at descriptor 0: all must be used in time, or the ring stop. */
static int heads(struct atk_env *e, struct drv_blk *b, unsigned n)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct drv_ring *r = &b->rings[0];
	uint16_t want = (uint16_t)(r->used->idx + n);

	for (unsigned i = 0; i < n; i++)
		drv_ring_avail_put(r, 0);
	drv_ring_kick_always(r);
	while (r->used->idx != want && !atk_ring_broken(r, 1))
		ATK_CHECK(e, dpu_now_ns() < end, "%u heads: %u to go", n,
			(unsigned)(uint16_t)(want - r->used->idx));
	return 0;
}

static void desc(
	volatile struct vring_desc *d, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = gpa;
	d->len = len;
	d->flags = flags;
	d->next = next;
}

/* Fill a table of n descriptors: header, empty buffers, status. */
static void empty_chain(
	struct drv_blk *b, struct drv_blk_io *io, volatile struct vring_desc *t, uint32_t n)
{
	uint8_t *status;

	memcpy(&status, &io->status, sizeof(status));
	*io->hdr = (struct virtio_blk_outhdr){ VIRTIO_BLK_T_IN, 0, 0 };
	desc(&t[0], drv_mem_gpa(&b->mem, io->hdr), 16, NEXT, 1);
	for (uint32_t i = 1; i < n - 1; i++)
		desc(&t[i], drv_mem_gpa(&b->mem, io->data), 0, WRITE | NEXT, (uint16_t)(i + 1));
	desc(&t[n - 1], drv_mem_gpa(&b->mem, status), 1, WRITE, 0);
}

static int empties(struct atk_env *e, uint32_t ring, uint32_t table, unsigned rounds)
{
	struct drv_blk_conf c = { .ring_size = ring };
	struct drv_blk_io io;
	struct drv_blk b;
	int ret = atk_blk_open(e, ATK_BLK, &c, &b);

	if (ret)
		return ret;
	if (drv_blk_io_init(&b, &io, 1 << 20, 0)) {
		ret = atk_fail(e, "no memory");
	} else if (table) {
		struct vring_desc *t;

		memcpy(&t, &(void *){ io.data + 65536 }, sizeof(t));
		empty_chain(&b, &io, t, table);
		desc(&b.rings[0].desc[0], drv_mem_gpa(&b.mem, t), table * 16, INDIRECT, 0);
	} else {
		empty_chain(&b, &io, b.rings[0].desc, ring);
	}
	for (unsigned i = 0; !ret && i < rounds; i++)
		ret = heads(e, &b, ring < 256 ? ring : 256);
	drv_blk_close(&b);
	return ret;
}

/* What a guest can do: tables as long as a chain may be. */
static int vs18_tables(struct atk_env *e)
{
	return empties(e, 256, 1024, 4);
}

/* What a front-end can do: a ring as long as one may be. */
static int vs18_ring(struct atk_env *e)
{
	return empties(e, 32768, 0, 2);
}

static const struct atk_row rows[] = {
	{ "VS-08", "requests of 1 GiB over the same memory", vs08_huge },
	{ "VS-18", "tables of 1024 empty buffers, over and over", vs18_tables },
	{ "VS-18", "a ring of 32768 empty buffers, over and over", vs18_ring },
};
const struct atk_group atk_vs_long_rows = { rows, COUNT(rows) };
