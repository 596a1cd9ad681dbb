/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real disk with two rings in a back-end process, the store that several such processes share,
 * and a driver that verifies every answer.
 */
#pragma once

#include "handover_pair.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>

#include "card.h"
#include "drv_verify.h"
#include "dpu_log.h"
#include "volume.h"

#define QUEUES 2
#define DISK_BYTES (16u << 20)
#define HELD_MAX 1024
#define QD 32
#define BUDGET 32

enum store_kind { STORE_FILE, STORE_RAM };

struct blk_row {
	const char *name;
	enum store_kind store;
	bool packed, in_order, inflight, log, write_through, mem_slots;
};

/* ---- the store ---- */

/*
 * Memory that both processes have, or a file that both have open. Only the file takes time: what it
 * is asked waits here for a while and goes there in another order.
 */
struct store {
	enum store_kind kind;
	uint8_t *ram; // STORE_RAM: shared
	struct vol *vol; // STORE_FILE
	struct vol_chan *chan;
	struct vho_blk_io *held[HELD_MAX];
	unsigned n_held, turns;
	bool expect_fua; // the driver asked for write-through
	struct ho_shared *sh;
};

static inline void store_limits(void *arg, struct vho_blk_limits *out)
{
	struct store *s = arg;

	if (s->kind == STORE_FILE) {
		card_blk_store_ops()->limits(s->vol, out);
		return;
	}
	// A cache that can be flushed, or bursts: the two exclude each other
	*out = (struct vho_blk_limits){ .size = DISK_BYTES,
		.block_size = 512,
		.max_zeroes_sectors = 1 << 12,
		.max_discard_sectors = 1 << 12,
		.discard_align_sectors = 1,
		.flush = s->expect_fua,
		.at_once = !s->expect_fua };
}

static inline void ram_move(struct store *s, struct vho_blk_io *io)
{
	uint64_t off = io->off;

	if (io->op == VHO_BLK_WRITE_ZEROES)
		memset(s->ram + off, 0, io->len);
	for (unsigned i = 0; i < io->n_iov && io->op <= VHO_BLK_WRITE; i++) {
		if (io->op == VHO_BLK_WRITE)
			memcpy(s->ram + off, io->iov[i].iov_base, io->iov[i].iov_len);
		else
			memcpy(io->iov[i].iov_base, s->ram + off, io->iov[i].iov_len);
		off += io->iov[i].iov_len;
	}
	vho_blk_io_done(io, 0);
}

static inline void store_submit(void *arg, void *chan, struct vho_blk_io *io)
{
	struct store *s = arg;

	(void)chan;
	if (io->op == VHO_BLK_WRITE && atomic_load(&s->sh->settled) && io->fua != s->expect_fua)
		atomic_fetch_add(&s->sh->mismatches, 1);
	if (s->kind == STORE_RAM) {
		ram_move(s, io);
		return;
	}
	ho_need(s->n_held < HELD_MAX, "too many requests");
	s->held[s->n_held++] = io;
}

static inline bool store_at_once(void *arg, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	struct store *s = arg;

	(void)chan;
	if (s->kind != STORE_RAM)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (writes >> i & 1)
			memcpy(s->ram + off[i], data[i].iov_base, data[i].iov_len);
		else
			memcpy(data[i].iov_base, s->ram + off[i], data[i].iov_len);
	}
	return true;
}

/* Let some of what is held go on, from the middle; collect answers. */
static inline void store_turn(struct store *s)
{
	unsigned n = s->n_held / 2 + (++s->turns % 4 == 0);

	if (s->kind == STORE_RAM)
		return;
	for (; n > 0 && s->n_held > 0; n--) {
		unsigned at = (s->turns + n) % s->n_held;
		struct vho_blk_io *io = s->held[at];

		s->held[at] = s->held[--s->n_held];
		card_blk_store_ops()->submit(s->vol, s->chan, io);
	}
	vol_chan_kick(s->chan);
	vol_chan_poll(s->chan);
}

static const struct vho_blk_store_ops store_ops = {
	.limits = store_limits, .submit = store_submit, .at_once = store_at_once
};

/* ---- a back-end ---- */

struct back {
	struct ho_back b;
	struct store store;
	struct vho_blk *blk;
};

/* A row with what its processes share beside struct ho_shared. */
struct run {
	const struct blk_row *row;
	uint8_t *ram;
	char file[64];
};

static inline unsigned turn(struct ho_back *hb, unsigned budget)
{
	struct back *b = (struct back *)hb;
	unsigned n = 0;

	for (unsigned q = 0; q < QUEUES; q++)
		if (hb->h.running[q])
			n += vho_blk_poll(b->blk, q, &b->store, budget < BUDGET ? budget : BUDGET);
	store_turn(&b->store);
	return n;
}

/* A worker does not wait until the other rings have started. */
static inline int queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	struct back *b = arg;

	(void)kick_fd;
	b->b.h.running[idx] = true;
	vho_dev_queue_run(dev, idx, true);
	vho_blk_poll(b->blk, idx, &b->store, BUDGET);
	return 0;
}

/* As the card does it: nobody else polls the queue, so what is at the store is waited for here. */
static inline void queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct back *b = arg;

	b->b.h.running[idx] = false;
	vho_dev_queue_run(dev, idx, false);
	if (vho_blk_inflight(b->blk, idx))
		atomic_fetch_add(&b->b.sh->at_store, 1);
	while (vho_blk_inflight(b->blk, idx))
		store_turn(&b->store);
	vho_blk_poll(b->blk, idx, &b->store, 0);
}

static inline void back_open(struct back *b, const struct run *run, struct ho_shared *sh)
{
	struct vho_blk_conf conf = { .name = "disk",
		.serial = "handover",
		.n_queues = QUEUES,
		.seg_max = 126,
		.ops = &store_ops,
		.store = &b->store };
	// Giver and taker have it open at once, as two cards in a migration.
	struct vol_file_conf file = {
		.name = "disk", .path = run->file, .block_size = 512, .shared = true
	};

	b->b.sh = b->store.sh = sh;
	b->b.turn = turn;
	b->store.kind = run->row->store;
	b->store.ram = run->ram;
	b->store.expect_fua = run->row->write_through;
	if (b->store.kind == STORE_FILE)
		ho_need(vol_file_open(&file, &b->store.vol) == 0 &&
				vol_chan_open(b->store.vol, NULL, &b->store.chan) == 0,
			"no volume");
	fake_host_init(&b->b.h);
	b->b.h.host.queue_start = queue_start;
	b->b.h.host.queue_stop = queue_stop;
	ho_need(vho_blk_create(&conf, &b->b.h.host, &b->blk) == 0, "no disk");
	b->b.dev = vho_blk_dev(b->blk);
}

static inline void back_close(struct back *b)
{
	vho_blk_destroy(b->blk);
	if (b->store.kind == STORE_FILE) {
		vol_chan_close(b->store.chan);
		vol_close(b->store.vol);
	}
}

static inline void store_place(struct run *run, const struct ho_pair *p)
{
	int fd;

	run->ram = mmap(
		NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(run->ram != MAP_FAILED);
	snprintf(run->file, sizeof(run->file), "%s.disk", p->dir);
	fd = open(run->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
}

static inline void store_remove(struct run *run)
{
	munmap(run->ram, DISK_BYTES);
	assert_int_equal(unlink(run->file), 0);
}

/* ---- the driver ---- */

struct driver {
	struct drv_blk b;
	struct drv_verify *v;
	uint8_t *log;
	size_t log_len;
};

/* Everything that the device writes is to be noted from now on. */
static inline void log_open(struct driver *d)
{
	const struct drv_region *last = &d->b.mem.r[d->b.mem.n - 1];
	struct drv_msg m;
	int fd = memfd_create("log", MFD_CLOEXEC);

	d->log_len = ((last->gpa + last->size) / 4096 / 8 + 4096) & ~4095ull;
	assert_int_equal(ftruncate(fd, (off_t)d->log_len), 0);
	d->log = mmap(NULL, d->log_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(d->log != MAP_FAILED);
	m.p.log.size = d->log_len;
	m.p.log.off = 0;
	assert_int_equal(drv_vu_call(&d->b.vu, DRV_SET_LOG_BASE, &m, sizeof(m.p.log), &fd, 1), 0);
	close(fd);
	assert_int_equal(
		drv_vu_set_u64(&d->b.vu, DRV_SET_FEATURES, d->b.vu.features | DRV_F_LOG_ALL), 0);
}

static inline bool log_has(const struct driver *d, const uint8_t *at)
{
	uint64_t page = drv_mem_gpa(&d->b.mem, at) / 4096;

	return __atomic_load_n(&d->log[page / 8], __ATOMIC_RELAXED) >> page % 8 & 1;
}

static inline uint8_t config_wce(struct driver *d)
{
	assert_int_equal(drv_vu_get_config(&d->b.vu), 0);
	return d->b.vu.config[offsetof(struct virtio_blk_config, wce)];
}

static inline void write_through(struct driver *d)
{
	struct drv_msg m = { .p.config = {
				     .off = offsetof(struct virtio_blk_config, wce), .size = 1 } };

	assert_int_equal(drv_vu_call(&d->b.vu, DRV_SET_CONFIG, &m, 12 + 1, NULL, 0), 0);
}

static inline void driver_open(struct driver *d, const struct blk_row *row, const char *path)
{
	struct drv_blk_conf conf = { .path = path,
		.packed = row->packed,
		.inflight = row->inflight,
		.in_order = row->in_order,
		.mem_slots = row->mem_slots,
		.backend_req = true,
		.ring_size = 64,
		.n_queues = QUEUES,
		.regions = 3,
		.region_size = 4 << 20 };
	struct drv_verify_conf vc = { .seed = 7,
		.qd = QD,
		.max_len = 32 << 10,
		.poll = true,
		.discard = true,
		.zeroes = true,
		.flush = true };

	memset(d, 0, sizeof(*d));
	assert_int_equal(drv_blk_open(&d->b, &conf), 0);
	assert_int_equal(drv_blk_has(&d->b, VIRTIO_F_IN_ORDER), row->in_order);
	if (row->log)
		log_open(d);
	if (row->write_through)
		write_through(d);
	assert_int_equal(drv_verify_create(&d->b, &vc, &d->v), 0);
}

static inline void driver_close(struct driver *d)
{
	drv_verify_destroy(d->v);
	drv_blk_close(&d->b);
	if (d->log)
		munmap(d->log, d->log_len);
}

static inline void nothing_wrong(struct driver *d)
{
	struct drv_verify_stats s;

	drv_verify_stats(d->v, &s);
	if (drv_verify_errors(&s))
		print_error("lost %lu, twice %lu, errors %lu, torn %lu, stale %lu, misplaced %lu\n",
			(unsigned long)s.lost, (unsigned long)s.duplicated,
			(unsigned long)s.errored, (unsigned long)s.torn, (unsigned long)s.stale,
			(unsigned long)s.misplaced);
	assert_int_equal(drv_verify_errors(&s), 0);
	assert_true(drv_vu_alive(&d->b.vu)); // the same connection all the time
}
