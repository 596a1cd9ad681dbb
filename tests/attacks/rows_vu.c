// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VU, single messages: what a hostile front-end may put into one of them. */
#include "atk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void close_session(struct drv_vu *vu, struct drv_mem *mem)
{
	drv_vu_close(vu);
	drv_mem_fini(mem);
}

/* One message on a session of its own must be refused. */
static int refused(struct atk_env *e, const char *function, const char *what, enum drv_req req,
	struct drv_msg *m, uint32_t size, const int *fds, unsigned n_fds)
{
	struct drv_mem mem;
	struct drv_vu vu;
	int ret = atk_vu_open(e, function, &vu, &mem);

	if (ret)
		return ret;
	bool ok = atk_rejected(&vu, req, m, size, fds, n_fds);

	close_session(&vu, &mem);
	ATK_CHECK(e, ok, "%s: accepted", what);
	return 0;
}

/* Without NEED_REPLY a refusal has no other form than the end of the session. */
static int raw_refused(struct atk_env *e, const uint8_t *bytes, size_t len)
{
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_msg m;
	int ret = atk_vu_open(e, ATK_BLK, &vu, &mem);

	if (ret)
		return ret;
	drv_vu_send_raw(&vu, bytes, len, NULL, 0);
	ret = drv_vu_recv(&vu, &m, ATK_REPLY_MS);
	close_session(&vu, &mem);
	ATK_CHECK(e, ret == -EPIPE, "the catalogue's bytes: %d instead of the end", ret);
	return 0;
}

/* One read of a sector on ring 0 is answered, well. */
static int answers(struct atk_env *e, struct drv_blk *b, struct drv_blk_io *io)
{
	ATK_CHECK(e, !drv_blk_submit(b, 0, io, VIRTIO_BLK_T_IN, 0, 512), "cannot submit");
	drv_ring_kick_always(&b->rings[0]);
	ATK_CHECK(e, atk_answered_or_broken(b, io) == 1, "a request is not answered");
	while (!io->done)
		drv_blk_poll(b, 0);
	ATK_CHECK(e, *io->status == 0, "a request ends with status %u", *io->status);
	return 0;
}

/* Refused messages of rings that do not exist leave those that do alone: I/O goes on. */
static int rings_untouched(struct atk_env *e)
{
	const enum drv_req reqs[] = { DRV_SET_VRING_NUM, DRV_SET_VRING_BASE, DRV_SET_VRING_ENABLE };
	struct drv_blk_conf c = { 0 };
	struct drv_blk_io io;
	struct drv_blk b;
	int ret = atk_blk_open(e, ATK_BLK, &c, &b);

	if (ret)
		return ret;
	ret = drv_blk_io_init(&b, &io, 4096, 0) ? atk_fail(e, "set-up") : 0;
	for (size_t i = 0; !ret && i < COUNT(reqs); i++) {
		struct drv_msg m;

		m.p.state.index = 0x10000; // cut to 16 bits: ring 0
		m.p.state.num = 0;
		if (!atk_rejected(&b.vu, reqs[i], &m, 8, NULL, 0))
			ret = atk_fail(e, "request %d of ring 0x10000: accepted", (int)reqs[i]);
		if (!ret)
			ret = answers(e, &b, &io);
	}
	drv_blk_close(&b);
	return ret;
}

/* GET_VRING_BASE has a reply of its own and no room for a code: the session ends. */
static int get_base_of_no_ring(struct atk_env *e)
{
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_msg m;
	int ret = atk_vu_open(e, ATK_BLK, &vu, &mem);

	if (ret)
		return ret;
	m.p.state.index = 0x10000;
	m.p.state.num = 0;
	drv_vu_send(&vu, DRV_GET_VRING_BASE, &m, 8, 0, NULL, 0);
	ret = drv_vu_recv(&vu, &m, ATK_REPLY_MS);
	close_session(&vu, &mem);
	ATK_CHECK(e, ret == -EPIPE, "GET_VRING_BASE of ring 0x10000: %d instead of the end", ret);
	return 0;
}

static int vu01(struct atk_env *e)
{
	static const uint8_t bytes[] = { 8, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0,
		0 };
	const enum drv_req reqs[] = { DRV_SET_VRING_NUM, DRV_SET_VRING_BASE, DRV_SET_VRING_ENABLE };
	int ret = raw_refused(e, bytes, sizeof(bytes));

	for (size_t i = 0; !ret && i < COUNT(reqs); i++) {
		struct drv_msg m;

		m.p.state.index = 0x10000;
		m.p.state.num = 1;
		ret = refused(e, ATK_BLK, "index 0x10000", reqs[i], &m, 8, NULL, 0);
	}
	if (!ret)
		ret = rings_untouched(e);
	return ret ? ret : get_base_of_no_ring(e);
}

static int vu02(struct atk_env *e)
{
	static const struct {
		uint64_t size, off;
	} t[] = { { 0xfffffffffffff000, 0x2000 }, { 0, 0 }, { 1, 0 }, { 4096, UINT64_MAX - 4095 },
		{ 1ULL << 45, 0 }, { 16ULL << 30, 4096 } };
	int fd = memfd_create("log", MFD_CLOEXEC), ret = 0;

	// Sparse: that the file is shorter is not what refuses the last two
	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 1LL << 46), "memfd");
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		struct drv_msg m;

		m.p.log.size = t[i].size;
		m.p.log.off = t[i].off;
		ret = refused(e, ATK_BLK, "SET_LOG_BASE", DRV_SET_LOG_BASE, &m, 16, &fd, 1);
	}
	close(fd);
	return ret;
}

static int vu03(struct atk_env *e)
{
	struct drv_mem mem;
	struct drv_vu vu;
	int ret = atk_vu_open(e, ATK_BLK, &vu, &mem);

	if (ret)
		return ret;
	for (unsigned i = 0; !ret && i < atk_times(e, 100000); i++) {
		struct drv_msg m;

		memset(&m.p.inflight, 0, sizeof(m.p.inflight));
		m.p.inflight.n_queues = 1;
		m.p.inflight.queue_size = 64;
		ret = drv_vu_call(&vu, DRV_GET_INFLIGHT_FD, &m, sizeof(m.p.inflight), NULL, 0);
		drv_msg_close_fds(&m);
		if (ret)
			atk_fail(e, "call %u: %s", i, strerror(-ret));
	}
	close_session(&vu, &mem);
	return ret;
}

static int vu05(struct atk_env *e)
{
	static const uint32_t hdr[3] = { DRV_SET_MEM_TABLE, DRV_FLAG_VERSION, 8 };
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_msg m;
	int fds[64], ret = atk_vu_open(e, ATK_BLK, &vu, &mem);

	if (ret)
		return ret;
	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = vu.fd; // any descriptor does
	drv_vu_send_raw(&vu, hdr, sizeof(hdr), fds, COUNT(fds));
	ret = drv_vu_recv(&vu, &m, ATK_REPLY_MS);
	close_session(&vu, &mem);
	ATK_CHECK(e, ret == -EPIPE, "session lives on: %d", ret);
	return 0;
}

static int vu06(struct atk_env *e)
{
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_msg m;
	int ret = atk_vu_open(e, ATK_BLK, &vu, &mem);

	if (ret)
		return ret;
	for (unsigned i = 0; !ret && i < atk_times(e, 200000); i++) {
		m.p.state.index = 0;
		m.p.state.num = 1u << (i % 10);
		ret = drv_vu_send(&vu, DRV_SET_VRING_NUM, &m, 8, 0, NULL, 0);
	}
	if (!ret)
		ret = drv_vu_call(&vu, DRV_GET_FEATURES, &m, 0, NULL, 0);
	close_session(&vu, &mem);
	ATK_CHECK(e, !ret, "%s", strerror(-ret));
	return 0;
}

#define HOSTILE_BATCH 64

/* One of eight messages that must be refused; some carry descriptors, which must not stay. */
static int hostile_message(struct drv_vu *vu, unsigned i, int file)
{
	const enum drv_req reqs[] = { DRV_SET_VRING_NUM, DRV_SET_FEATURES, DRV_SET_MEM_TABLE,
		DRV_SET_VRING_CALL, DRV_ADD_MEM_REG, DRV_SET_INFLIGHT_FD, (enum drv_req)99,
		DRV_SET_VRING_ADDR };
	static const uint8_t size[] = { 8, 8, 40, 8, 40, 24, 8, 40 };
	static const uint8_t with_fd[] = { 0, 0, 1, 1, 1, 1, 1, 0 };
	unsigned k = i % COUNT(reqs);
	struct drv_msg m;

	memset(&m.p, 0, 64);
	m.p.u64 = k == 1 ? 1ULL << 63 : k == 3 ? 0 : 9; // ring 9, nine regions, no such feature
	return drv_vu_send(vu, reqs[k], &m, size[k], DRV_FLAG_NEED_REPLY, &file, with_fd[k]);
}

/* Refusals in one session: nothing is left of any. --percent 400 for more than 10^6 of them. */
static int vu06_hostile(struct atk_env *e)
{
	int file = memfd_create("none", MFD_CLOEXEC), ret;
	unsigned left = atk_times(e, 300000);
	struct drv_mem mem;
	struct drv_vu vu;

	ATK_CHECK(e, file >= 0, "memfd");
	ret = atk_vu_open(e, ATK_BLK, &vu, &mem);
	while (!ret && left) {
		unsigned n = left < HOSTILE_BATCH ? left : HOSTILE_BATCH;

		for (unsigned i = 0; !ret && i < n; i++)
			ret = hostile_message(&vu, i, file);
		for (unsigned i = 0; !ret && i < n; i++) {
			struct drv_msg m;

			ret = drv_vu_recv(&vu, &m, ATK_REPLY_MS);
			if (!ret && (m.hdr.size != 8 || m.p.u64 == 0))
				ret = atk_fail(e, "message %u of a batch: accepted", i);
		}
		left -= n;
	}
	close_session(&vu, &mem);
	close(file);
	ATK_CHECK(e, !ret || ret == -EPROTO, "%u messages before the end: %d", left, ret);
	return ret;
}

static int vu08(struct atk_env *e)
{
	static const struct {
		const char *what;
		uint64_t size, off;
		uint16_t n, queue_size;
	} t[] = {
		{ "size 8", 8, 0, 1, 64 },
		{ "offset and size wrap", UINT64_MAX - 4095, 8192, 1, 64 },
		{ "offset not page aligned", 65536, 8, 1, 64 },
		{ "shorter file", 1 << 24, 0, 1, 64 },
		{ "offset past the file", 65536, 1 << 24, 1, 64 },
		{ "too small for the shape", 4096, 0, 4, 32768 },
	};
	int fd = memfd_create("inflight", MFD_CLOEXEC), ret = 0;

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 1 << 20), "memfd");
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		struct drv_msg m;

		memset(&m.p.inflight, 0, sizeof(m.p.inflight));
		m.p.inflight.size = t[i].size;
		m.p.inflight.off = t[i].off;
		m.p.inflight.n_queues = t[i].n;
		m.p.inflight.queue_size = t[i].queue_size;
		ret = refused(e, ATK_BLK, t[i].what, DRV_SET_INFLIGHT_FD, &m, sizeof(m.p.inflight),
			&fd, 1);
	}
	close(fd);
	return ret;
}

static int vu10(struct atk_env *e)
{
	static const struct {
		const char *what;
		uint32_t n;
		unsigned fds;
	} t[] = {
		{ "no region", 0, 0 },
		{ "9 regions", 9, 8 },
		{ "2^32-1 regions", UINT32_MAX, 8 },
		{ "more regions than descriptors", 3, 2 },
		{ "more descriptors than regions", 1, 2 },
	};
	int fd = memfd_create("mem", MFD_CLOEXEC), fds[8], ret = 0;

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 1 << 20), "memfd");
	for (unsigned i = 0; i < 8; i++)
		fds[i] = fd;
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		struct drv_msg m;

		memset(&m.p.mem, 0, sizeof(m.p.mem));
		m.p.mem.n = t[i].n;
		for (unsigned k = 0; k < 8; k++)
			m.p.mem.r[k] = (struct drv_wire_region){ (uint64_t)k << 30, 65536,
				(uint64_t)k << 30, 0 };
		ret = refused(e, ATK_BLK, t[i].what, DRV_SET_MEM_TABLE, &m,
			(uint32_t)(8 + 32 * (t[i].n < 8 ? t[i].n : 8)), fds, t[i].fds);
	}
	close(fd);
	return ret;
}

static int vu11(struct atk_env *e)
{
	static const struct {
		const char *what;
		struct drv_wire_region a, b;
	} t[] = {
		{ "gpa wraps", { UINT64_MAX - 4095, 65536, 0, 0 }, { 0 } },
		{ "offset wraps", { 0, 65536, 0, UINT64_MAX - 4095 }, { 0 } },
		{ "user address wraps", { 0, 65536, UINT64_MAX - 4095, 0 }, { 0 } },
		{ "size 0", { 0, 0, 0, 0 }, { 0 } },
		{ "beyond the file", { 0, 1 << 30, 0, 0 }, { 0 } },
		{ "size wraps with offset", { 0, UINT64_MAX - 4095, 0, 8192 }, { 0 } },
		{ "overlap in gpa", { 0, 65536, 0, 0 }, { 4096, 65536, 1 << 20, 0 } },
		{ "overlap in user addresses", { 0, 65536, 0, 0 }, { 1 << 20, 65536, 4096, 0 } },
	};
	int fd = memfd_create("mem", MFD_CLOEXEC), ret = 0;

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 1 << 20), "memfd");
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		unsigned n = t[i].b.size ? 2 : 1;
		struct drv_msg m;

		memset(&m.p.mem, 0, sizeof(m.p.mem));
		m.p.mem.n = n;
		m.p.mem.r[0] = t[i].a;
		m.p.mem.r[1] = t[i].b;
		ret = refused(e, ATK_BLK, t[i].what, DRV_SET_MEM_TABLE, &m, 8 + 32 * n,
			(int[2]){ fd, fd }, n);
	}
	close(fd);
	return ret;
}

/* A table that is refused takes nothing away: the old one stays, and I/O in it goes on. */
static int vu11_old_stays(struct atk_env *e)
{
	struct drv_blk_conf c = { 0 };
	struct drv_blk_io io;
	struct drv_blk b;
	int fd = memfd_create("mem", MFD_CLOEXEC), ret;

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, 1 << 20), "memfd");
	ret = atk_blk_open(e, ATK_BLK, &c, &b);
	if (!ret && drv_blk_io_init(&b, &io, 4096, 0))
		ret = atk_fail(e, "set-up");
	for (unsigned i = 0; !ret && i < 8; i++) {
		struct drv_msg m;

		memset(&m.p.mem, 0, sizeof(m.p.mem));
		m.p.mem.n = 2; // the first is good, the second overlaps it
		m.p.mem.r[0] = (struct drv_wire_region){ 0, 65536, 0, 0 };
		m.p.mem.r[1] = (struct drv_wire_region){ 4096, 65536, 1 << 20, 0 };
		if (!atk_rejected(&b.vu, DRV_SET_MEM_TABLE, &m, 72, (int[2]){ fd, fd }, 2))
			ret = atk_fail(e, "accepted");
		if (!ret)
			ret = answers(e, &b, &io);
	}
	drv_blk_close(&b);
	close(fd);
	return ret;
}

/* Sparse files are as large as one likes, addresses are not: none may be left for the others. */
static int vu11_sizes(struct atk_env *e)
{
	int fd = memfd_create("mem", MFD_CLOEXEC), fds[8], ret = 0;
	const uint64_t tib = 1ULL << 40;
	const struct {
		const char *what;
		unsigned n;
		uint64_t size;
	} t[] = { { "one region of 100 TiB", 1, 100 * tib }, { "8 regions of 15 TiB", 8, 15 * tib },
		{ "8 regions of 1 TiB", 8, tib } };

	ATK_CHECK(e, fd >= 0 && !ftruncate(fd, (off_t)(128 * tib)), "memfd");
	for (unsigned i = 0; i < 8; i++)
		fds[i] = fd;
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		struct drv_msg m;

		memset(&m.p.mem, 0, sizeof(m.p.mem));
		m.p.mem.n = t[i].n;
		for (unsigned k = 0; k < t[i].n; k++)
			m.p.mem.r[k] = (struct drv_wire_region){ k * t[i].size, t[i].size,
				k * t[i].size, 0 };
		ret = refused(
			e, ATK_BLK, t[i].what, DRV_SET_MEM_TABLE, &m, 8 + 32 * t[i].n, fds, t[i].n);
	}
	close(fd);
	return ret;
}

#define HUGE_PAGE (2ULL << 20)

/* Part of a huge page belongs to no region; whole ones are taken. */
static int vu11_huge(struct atk_env *e)
{
	static const struct {
		const char *what;
		struct drv_wire_region r;
		bool ok;
	} t[] = {
		{ "part of a huge page", { 0, 4096, 0, 0 }, false },
		{ "a page and a half", { 0, HUGE_PAGE + HUGE_PAGE / 2, 0, 0 }, false },
		{ "ends inside a page", { 0, HUGE_PAGE, 0, 4096 }, false },
		{ "a whole page", { 0, HUGE_PAGE, 0, 0 }, true },
		{ "the end of a page", { 0, HUGE_PAGE - 4096, 0, HUGE_PAGE + 4096 }, true },
	};
	int fd = memfd_create("mem", MFD_CLOEXEC | MFD_HUGETLB), ret = 0;
	void *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, 2 * HUGE_PAGE)) // mapping reserves the pages, or fails
		p = mmap(NULL, 2 * HUGE_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		atk_fail(e, "no free huge pages here");
		return ATK_NOT_APPLICABLE;
	}
	for (size_t i = 0; !ret && i < COUNT(t); i++) {
		struct drv_mem mem;
		struct drv_vu vu;
		struct drv_msg m;

		ret = atk_vu_open(e, ATK_BLK, &vu, &mem);
		if (ret)
			break;
		memset(&m.p.mem, 0, sizeof(m.p.mem));
		m.p.mem.n = 1;
		m.p.mem.r[0] = t[i].r;
		if (atk_rejected(&vu, DRV_SET_MEM_TABLE, &m, 40, &fd, 1) == t[i].ok)
			ret = atk_fail(e, "%s: %s", t[i].what, t[i].ok ? "refused" : "accepted");
		close_session(&vu, &mem);
	}
	munmap(p, 2 * HUGE_PAGE);
	close(fd);
	return ret;
}

/* A call descriptor whose write blocks. */
static int vu16(struct atk_env *e)
{
	struct drv_blk_conf c = { .features_off = DRV_BIT(VIRTIO_RING_F_EVENT_IDX) };
	struct drv_blk_io io;
	struct drv_blk b;
	int fd = eventfd(0, EFD_CLOEXEC), ret = atk_blk_open(e, ATK_BLK, &c, &b);

	if (ret) {
		close(fd);
		return ret;
	}
	if (fd < 0 || eventfd_write(fd, 0xfffffffffffffffeULL) || drv_blk_io_init(&b, &io, 4096, 0))
		ret = atk_fail(e, "set-up");
	if (!ret && drv_vu_set_fd(&b.vu, DRV_SET_VRING_CALL, 0, fd))
		ret = atk_fail(e, "SET_VRING_CALL refused");
	for (unsigned i = 0; !ret && i < 100; i++) {
		drv_ring_intr(&b.rings[0], true);
		ret = drv_blk_submit(&b, 0, &io, VIRTIO_BLK_T_IN, 0, 512);
		drv_ring_kick_always(&b.rings[0]);
		if (!ret && atk_answered_or_broken(&b, &io) != 1)
			ret = atk_fail(e, "request %u not answered", i);
		while (!ret && !io.done)
			drv_blk_poll(&b, 0);
	}
	drv_blk_close(&b);
	close(fd);
	return ret;
}

static int vu28(struct atk_env *e)
{
	struct drv_msg m;
	struct drv_vu vu = { .inflight_fd = -1, .backend_fd = -1 };
	int ret;

	vu.fd = drv_connect(atk_path(e, ATK_BLK), ATK_REPLY_MS);
	ATK_CHECK(e, vu.fd >= 0, "no connection");
	drv_vu_call(&vu, DRV_SET_OWNER, &m, 0, NULL, 0);
	drv_vu_call(&vu, DRV_GET_FEATURES, &m, 0, NULL, 0);
	m.p.u64 = DRV_BIT(DRV_PF_INBAND);
	// "In-band notifications" names the answer: the connection is closed, nothing is said
	drv_vu_send(&vu, DRV_SET_PROTOCOL_FEATURES, &m, 8, DRV_FLAG_NEED_REPLY, NULL, 0);
	ret = drv_vu_recv(&vu, &m, ATK_REPLY_MS);
	drv_vu_close(&vu);
	ATK_CHECK(e, ret == -EPIPE, "%d instead of the end", ret);
	return 0;
}

/* Both ends of the range are in it; the last is what the function was made with. */
static int mtu_accepted(struct atk_env *e)
{
	static const uint64_t mtu[] = { 68, 65535, 1500 };
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_msg m;
	int ret = atk_vu_open(e, ATK_NET, &vu, &mem);

	for (size_t i = 0; !ret && i < COUNT(mtu); i++) {
		m.p.u64 = mtu[i];
		if (atk_rejected(&vu, DRV_NET_SET_MTU, &m, 8, NULL, 0))
			ret = atk_fail(e, "MTU %lu refused", (unsigned long)mtu[i]);
	}
	close_session(&vu, &mem);
	return ret;
}

static int vu29(struct atk_env *e)
{
	static const uint64_t mtu[] = { 0, 67, 65536, UINT64_MAX };
	struct drv_msg m;
	int ret = 0;

	for (size_t i = 0; !ret && i < COUNT(mtu); i++) {
		m.p.u64 = mtu[i];
		ret = refused(e, ATK_NET, "NET_SET_MTU", DRV_NET_SET_MTU, &m, 8, NULL, 0);
	}
	if (!ret)
		ret = mtu_accepted(e);
	m.p.u64 = 1;
	return ret ? ret : refused(e, ATK_BLK, "SEND_RARP", DRV_SEND_RARP, &m, 8, NULL, 0);
}

static const struct atk_row rows[] = {
	{ "VU-01", "ring index 0x10000", vu01 },
	{ "VU-02", "dirty log that wraps or is too short", vu02 },
	{ "VU-03", "GET_INFLIGHT_FD 10^5 times", vu03 },
	{ "VU-05", "more descriptors than fit", vu05 },
	{ "VU-06", "SET_VRING_NUM 2 * 10^5 times", vu06 },
	{ "VU-06", "3 * 10^5 refused messages in one session", vu06_hostile },
	{ "VU-08", "inflight regions of wrong size", vu08 },
	{ "VU-10", "memory tables of wrong shape", vu10 },
	{ "VU-11", "memory regions that wrap or overlap", vu11 },
	{ "VU-11", "a refused table leaves the old one", vu11_old_stays },
	{ "VU-11", "memory regions that leave no addresses", vu11_sizes },
	{ "VU-11", "memory regions on huge pages", vu11_huge },
	{ "VU-16", "call descriptor whose write blocks", vu16 },
	{ "VU-28", "in-band notifications alone", vu28 },
	{ "VU-29", "MTU out of range, RARP on a disk", vu29 },
};
const struct atk_group atk_vu_rows = { rows, COUNT(rows) };
