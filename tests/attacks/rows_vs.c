// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VS: split rings that no driver would write. */
#include "atk.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "drv_hist.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RING 256
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

struct sess {
	struct drv_blk b;
	struct drv_blk_io io;
	struct drv_ring *r;
	uint64_t hdr, data, status; // guest addresses of io's parts
};

static int open_ring(struct atk_env *e, struct sess *s, uint64_t features_off, unsigned regions)
{
	struct drv_blk_conf c = {
		.ring_size = RING, .features_off = features_off, .regions = regions
	};
	int ret = atk_blk_open(e, ATK_BLK, &c, &s->b);
	uint8_t *status;

	if (ret)
		return ret;
	s->r = &s->b.rings[0];
	if (drv_blk_io_init(&s->b, &s->io, 1 << 20, 0)) {
		drv_blk_close(&s->b);
		return atk_fail(e, "no memory");
	}
	memcpy(&status, &s->io.status, sizeof(status));
	s->hdr = drv_mem_gpa(&s->b.mem, s->io.hdr);
	s->data = drv_mem_gpa(&s->b.mem, s->io.data);
	s->status = drv_mem_gpa(&s->b.mem, status);
	*s->io.hdr = (struct virtio_blk_outhdr){ VIRTIO_BLK_T_IN, 0, 0 };
	*s->io.status = DRV_BLK_STATUS_NONE;
	return 0;
}

static void desc(
	struct sess *s, uint16_t i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	s->r->desc[i].addr = gpa;
	s->r->desc[i].len = len;
	s->r->desc[i].flags = flags;
	s->r->desc[i].next = next;
}

static void chain(struct sess *s)
{
	desc(s, 0, s->hdr, 16, NEXT, 1);
	desc(s, 1, s->data, 512, NEXT | WRITE, 2);
	desc(s, 2, s->status, 1, WRITE, 0);
}

static void go(struct sess *s, uint16_t head)
{
	drv_ring_avail_put(s->r, head);
	drv_ring_kick_always(s->r);
}

/* The ring must be stopped; closes the session. */
static int broken(struct atk_env *e, struct sess *s, const char *what)
{
	bool ok = atk_ring_broken(s->r, ATK_REPLY_MS);

	drv_blk_close(&s->b);
	ATK_CHECK(e, ok, "%s: ring not stopped (status %u)", what, *s->io.status);
	return 0;
}

/* Answered or stopped, whichever: but not neither. Closes the session. */
static int ended(struct atk_env *e, struct sess *s, const char *what)
{
	int ret = atk_answered_or_broken(&s->b, &s->io);

	drv_blk_close(&s->b);
	ATK_CHECK(e, ret >= 0, "%s: neither answered nor stopped", what);
	return 0;
}

static int vs04(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	for (unsigned i = 0; !ret && i < 5; i++)
		if (drv_blk_sync(&s.b, 0, &s.io, VIRTIO_BLK_T_IN, 0, 512, ATK_REPLY_MS))
			ret = atk_fail(e, "cannot read");
	if (ret)
		return ret;
	s.r->avail->idx = (uint16_t)(s.r->next_avail - 1);
	drv_ring_kick_always(s.r);
	return broken(e, &s, "avail.idx moved back");
}

static int vs05(struct atk_env *e)
{
	const uint16_t heads[] = { RING, 0xffff };

	for (size_t i = 0; i < COUNT(heads); i++) {
		struct sess s;
		int ret = open_ring(e, &s, 0, 1);

		if (ret)
			return ret;
		go(&s, heads[i]);
		ret = broken(e, &s, "head out of range");
		if (ret)
			return ret;
	}
	return 0;
}

static int vs07(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	if (ret)
		return ret;
	chain(&s);
	desc(&s, 1, 0xfffffffffffffff0ULL, 0, NEXT | WRITE, 2);
	go(&s, 0);
	ret = broken(e, &s, "wrapping address with length 0");
	for (uint16_t at = 0; !ret && at < 3; at++) {
		ret = open_ring(e, &s, 0, 1);
		if (ret)
			break;
		chain(&s);
		s.r->desc[at].len = 0;
		go(&s, 0);
		// Without a status byte there is nothing to answer but the used entry.
		if (at == 2) {
			struct drv_used u;
			uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;

			s.r->slots[0].n = 1;
			while (!drv_ring_poll(s.r, &u) && !atk_ring_broken(s.r, 1) &&
				dpu_now_ns() < end)
				;
			bool in_time = dpu_now_ns() < end;

			drv_blk_close(&s.b);
			ATK_CHECK(e, in_time, "no status byte: neither used nor stopped");
		} else {
			ret = ended(e, &s, "valid address with length 0");
		}
	}
	return ret;
}

static int vs08(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	if (ret)
		return ret;
	desc(&s, 0, s.hdr, 16, NEXT, 1);
	for (uint16_t i = 1; i < RING; i++)
		desc(&s, i, s.data, UINT32_MAX, WRITE | (i + 1 < RING ? NEXT : 0),
			(uint16_t)(i + 1));
	go(&s, 0);
	return broken(e, &s, "sum of lengths past 2^32");
}

/* ---- indirect tables ---- */

static struct vring_desc *table(struct sess *s)
{
	struct vring_desc *t;

	memcpy(&t, &(void *){ s->io.data + 65536 }, sizeof(t));
	t[0] = (struct vring_desc){ s->hdr, 16, NEXT, 1 };
	t[1] = (struct vring_desc){ s->data, 512, NEXT | WRITE, 2 };
	t[2] = (struct vring_desc){ s->status, 1, WRITE, 0 };
	return t;
}

static int indirect_bad(struct atk_env *e)
{
	static const struct {
		const char *what;
		uint32_t len;
		uint16_t flags, inner_flags, inner_next;
		bool no_feature, at_end;
	} t[] = {
		{ "indirect without the feature", 48, INDIRECT, NEXT, 1, true, false },
		{ "indirect and next", 48, INDIRECT | NEXT, NEXT, 1, false, false },
		{ "indirect inside a table", 48, INDIRECT, NEXT | INDIRECT, 1, false, false },
		{ "table length no multiple of 16", 47, INDIRECT, NEXT, 1, false, false },
		{ "table of length 0", 0, INDIRECT, NEXT, 1, false, false },
		{ "table of length 0xfffffff0", 0xfffffff0, INDIRECT, NEXT, 1, false, false },
		{ "table past its region", 48, INDIRECT, NEXT, 1, false, true },
		{ "next beyond the table", 48, INDIRECT, NEXT, 3, false, false },
	};

	for (size_t i = 0; i < COUNT(t); i++) {
		struct sess s;
		int ret = open_ring(
			e, &s, t[i].no_feature ? DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0, 2);

		if (ret)
			return ret;
		struct vring_desc *in = table(&s);
		const struct drv_region *r = &s.b.mem.r[0];
		uint64_t gpa = t[i].at_end ? r->gpa + r->size - 16 : drv_mem_gpa(&s.b.mem, in);

		in[0].flags = t[i].inner_flags;
		in[0].next = t[i].inner_next;
		desc(&s, 0, gpa, t[i].len, t[i].flags, 1);
		go(&s, 0);
		ret = broken(e, &s, t[i].what);
		if (ret)
			return ret;
	}
	return 0;
}

static int vs09(struct atk_env *e)
{
	struct sess s;
	int ret = indirect_bad(e);

	for (unsigned k = 0; !ret && k < 2; k++) {
		ret = open_ring(e, &s, 0, 1);
		if (ret)
			return ret;
		struct vring_desc *in = table(&s);

		if (k == 0) { // 2.7.5.3.2: WRITE on the indirect descriptor is ignored
			desc(&s, 0, drv_mem_gpa(&s.b.mem, in), 48, INDIRECT | WRITE, 0);
		} else { // a chain whose last descriptor is an indirect one
			in[1].next = 1; // of the shorter table
			desc(&s, 0, s.hdr, 16, NEXT, 1);
			desc(&s, 1, drv_mem_gpa(&s.b.mem, &in[1]), 32, INDIRECT, 0);
		}
		go(&s, 0);
		int done = atk_answered_or_broken(&s.b, &s.io);
		uint8_t status = *s.io.status;

		drv_blk_close(&s.b);
		ATK_CHECK(e, done == 1 && status == VIRTIO_BLK_S_OK, "legal form %u: %d, status %u",
			k, done, status);
	}
	return ret;
}

static int vs13(struct atk_env *e)
{
	for (unsigned k = 0; k < 2; k++) {
		struct sess s;
		int ret = open_ring(e, &s, 0, 1);
		const volatile void *over;

		if (ret)
			return ret;
		over = k ? (const volatile void *)s.r->used : s.r->desc;
		void *p;

		memcpy(&p, &over, sizeof(p));
		chain(&s);
		desc(&s, 1, drv_mem_gpa(&s.b.mem, p), 512, NEXT | WRITE, 2);
		go(&s, 0);
		ret = ended(e, &s, "data over the ring");
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- a second thread that changes descriptors under the device ---- */

struct flipper {
	struct sess *s;
	atomic_bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	uint64_t rng = 99;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		volatile struct vring_desc *d = &f->s->r->desc[drv_rand(&rng) % 3];
		uint64_t v = drv_rand(&rng);

		switch (v & 3) {
		case 0:
			d->len = v & 4 ? UINT32_MAX : 512;
			break;
		case 1:
			d->next = (uint16_t)(v & 4 ? v >> 8 : 1);
			break;
		case 2:
			d->flags = (uint16_t)(v >> 8) & 7;
			break;
		default:
			d->addr = v & 4 ? v : f->s->data;
			break;
		}
		chain(f->s);
	}
	return NULL;
}

static int vs14(struct atk_env *e)
{
	uint64_t end = dpu_now_ns() + e->race_s * 1000000000ULL;
	unsigned stopped = 0;

	while (dpu_now_ns() < end) {
		struct sess s;
		struct flipper f = { .s = &s };
		pthread_t t;
		int ret = open_ring(e, &s, 0, 1);

		if (ret)
			return ret;
		chain(&s);
		if (pthread_create(&t, NULL, flip, &f)) {
			drv_blk_close(&s.b);
			return atk_fail(e, "no thread");
		}
		while (dpu_now_ns() < end && !atk_ring_broken(s.r, 0))
			go(&s, 0);
		stopped += atk_ring_broken(s.r, 0);
		atomic_store(&f.stop, true);
		pthread_join(t, NULL);
		drv_blk_close(&s.b);
	}
	// Had no flip ever been seen, nothing was raced.
	ATK_CHECK(e, stopped > 0, "no ring was stopped in %u s", e->race_s);
	return 0;
}

static int vs17(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	if (ret)
		return ret;
	for (unsigned i = 0; i < atk_times(e, 1000000); i++)
		drv_ring_kick_always(s.r);
	ret = drv_blk_sync(&s.b, 0, &s.io, VIRTIO_BLK_T_IN, 0, 512, ATK_REPLY_MS);
	drv_blk_close(&s.b);
	ATK_CHECK(e, ret == 0, "read after the storm: %d", ret);
	return 0;
}

/* More segments than a request may have: the ring stops. */
static int vs18(struct atk_env *e)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	if (ret)
		return ret;
	for (uint16_t i = 0; i < RING; i++)
		desc(&s, i, i < 16 ? s.hdr + i : s.data + i, 1,
			(i < 16 ? 0 : WRITE) | (i + 1 < RING ? NEXT : 0), (uint16_t)(i + 1));
	s.r->desc[RING - 1].addr = s.status;
	go(&s, 0);
	return broken(e, &s, "one byte per descriptor");
}

/* A read with buffers of no bytes around its data, in a chain of n descriptors. */
static int with_empties(struct atk_env *e, uint16_t n, int *done, uint8_t *status)
{
	struct sess s;
	int ret = open_ring(e, &s, 0, 1);

	if (ret)
		return ret;
	desc(&s, 0, s.hdr, 16, NEXT, 1);
	for (uint16_t i = 1; i < n - 1; i++)
		desc(&s, i, s.data, i == n / 2 ? 512 : 0, WRITE | NEXT, (uint16_t)(i + 1));
	desc(&s, n - 1, s.status, 1, WRITE, 0);
	go(&s, 0);
	*done = atk_answered_or_broken(&s.b, &s.io);
	*status = *s.io.status;
	drv_blk_close(&s.b);
	return 0;
}

/* Some are fine, a ring full of them is not: each takes time. */
static int vs18_empty(struct atk_env *e)
{
	uint8_t status;
	int done, ret = with_empties(e, 20, &done, &status);

	if (ret)
		return ret;
	ATK_CHECK(e, done == 1 && status == VIRTIO_BLK_S_OK, "17 empty buffers: %d, status %u",
		done, status);
	ret = with_empties(e, RING, &done, &status);
	if (ret)
		return ret;
	ATK_CHECK(e, done == 0, "253 empty buffers: ring not stopped (status %u)", status);
	return 0;
}

/* Everything is logged, but the log covers one page's worth of bits only. */
static int dirty_log(struct atk_env *e, struct sess *s, int fd, uint8_t *map)
{
	struct drv_msg m;
	uint64_t features = s->b.vu.features | DRV_F_LOG_ALL;

	ATK_CHECK(e, s->b.vu.offered & DRV_F_LOG_ALL, "LOG_ALL not offered");
	m.p.log.size = 8;
	m.p.log.off = 4096;
	if (atk_rejected(&s->b.vu, DRV_SET_LOG_BASE, &m, 16, &fd, 1))
		return 0; // shorter than the memory needs: refusing is right
	drv_vu_set_u64(&s->b.vu, DRV_SET_FEATURES, features);
	for (unsigned i = 0; i < 64; i++)
		drv_blk_sync(&s->b, 0, &s->io, VIRTIO_BLK_T_IN, 0, 65536, 1000);
	for (unsigned i = 0; i < 3 * 4096; i++)
		ATK_CHECK(
			e, map[i] == 0 || (i >= 4096 && i < 4104), "bit outside the log, at %u", i);
	return 0;
}

static int vs19(struct atk_env *e)
{
	int fd = memfd_create("log", MFD_CLOEXEC), ret;
	struct sess s;
	uint8_t *map;

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 3 * 4096), "memfd");
	map = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return atk_fail(e, "mmap");
	}
	ret = open_ring(e, &s, 0, 1);
	if (!ret) {
		ret = dirty_log(e, &s, fd, map);
		drv_blk_close(&s.b);
	}
	munmap(map, 3 * 4096);
	close(fd);
	return ret;
}

/* A guest that never looks at its used ring, and one that posts no receive buffers. */
static int vs21(struct atk_env *e)
{
	struct drv_net_conf c = { .path = atk_path(e, ATK_NET), .rx_post = 1 };
	uint8_t frame[1024] = { 2, 0, 0, 0xdd, 0, 3, 2, 0, 0, 0xdd, 0, 4, 0x88, 0xb5 };
	uint8_t hello[64] = { 2, 0, 0, 0xdd, 0, 4, 2, 0, 0, 0xdd, 0, 3, 0x88, 0xb5 };
	struct drv_net n, p;
	struct sess s;
	int ret = open_ring(e, &s, DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC), 1);

	if (ret)
		return ret;
	for (unsigned i = 0; i < RING / 3; i++)
		drv_blk_submit(&s.b, 0, &s.io, VIRTIO_BLK_T_IN, 0, 65536);
	drv_ring_kick_always(s.r);
	ret = drv_net_open(&n, &c);
	if (!ret) {
		struct drv_net_conf pc = { .path = atk_path(e, ATK_PEER) };
		struct drv_used u;

		// The switch learns where the frames go: they are nobody else's
		drv_net_send(&n, 0, NULL, hello, sizeof(hello));
		drv_net_flush(&n, 0);
		while (!drv_ring_poll(&n.tx[0].ring, &u) && !atk_ring_broken(&n.tx[0].ring, 1))
			;
		ret = drv_net_open(&p, &pc);
		if (!ret) {
			for (unsigned i = 0; i < atk_times(e, 20000); i++) {
				drv_net_send(&p, 0, NULL, frame, sizeof(frame));
				drv_net_flush(&p, 0);
			}
			drv_net_close(&p);
		}
		drv_net_close(&n);
	}
	drv_blk_close(&s.b);
	ATK_CHECK(e, !ret, "session refused: %s", strerror(-ret));
	return 0;
}

static int vs22(struct atk_env *e)
{
	struct drv_ring_conf rc = { .size = RING };
	struct drv_mem mem;
	struct drv_ring r;
	struct drv_vu vu;
	struct drv_msg m;
	int ret = atk_vu_open(e, ATK_BLK, &vu, &mem);
	bool refused, stands;

	if (ret)
		return ret;
	ret = drv_ring_init(&r, &mem, &rc);
	memset(&m.p.addr, 0, sizeof(m.p.addr));
	drv_vu_set_state(&vu, DRV_SET_VRING_NUM, 0, RING);
	refused = atk_rejected(&vu, DRV_SET_VRING_ADDR, &m, sizeof(m.p.addr), NULL, 0);
	// And without any address, whatever else is there
	drv_vu_set_fd(&vu, DRV_SET_VRING_ERR, 0, r.err_fd);
	drv_vu_set_fd(&vu, DRV_SET_VRING_CALL, 0, r.call_fd);
	drv_vu_set_fd(&vu, DRV_SET_VRING_KICK, 0, r.kick_fd);
	drv_vu_set_state(&vu, DRV_SET_VRING_ENABLE, 0, 1);
	r.avail->idx = 1;
	drv_ring_kick_always(&r);
	drv_vu_call(&vu, DRV_GET_FEATURES, &m, 0, NULL, 0); // all of it has been seen
	stands = r.used->idx == 0 && !atk_ring_broken(&r, 20);
	drv_vu_close(&vu);
	drv_ring_fini(&r);
	drv_mem_fini(&mem);
	ATK_CHECK(e, !ret, "no ring");
	ATK_CHECK(e, refused, "addresses 0 are accepted");
	ATK_CHECK(e, stands, "a ring without addresses runs");
	return 0;
}

static const struct atk_row rows[] = {
	{ "VS-04", "avail.idx moves back", vs04 },
	{ "VS-05", "head out of range", vs05 },
	{ "VS-07", "wrapping address and lengths of 0", vs07 },
	{ "VS-08", "lengths that sum past 2^32", vs08 },
	{ "VS-09", "malformed indirect tables, and two legal ones", vs09 },
	{ "VS-13", "read data placed over the ring itself", vs13 },
	{ "VS-14", "descriptors changed while they are read", vs14 },
	{ "VS-17", "kick storm", vs17 },
	{ "VS-18", "a chain of ring size, one byte each", vs18 },
	{ "VS-18", "a chain of ring size, nearly all empty", vs18_empty },
	{ "VS-19", "dirty log shorter than memory", vs19 },
	{ "VS-21", "used entries never taken, no receive buffers", vs21 },
	{ "VS-22", "ring enabled with addresses 0", vs22 },
};
const struct atk_group atk_vs_rows = { rows, COUNT(rows) };
