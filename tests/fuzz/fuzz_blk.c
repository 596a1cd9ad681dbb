// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: a virtio disk. What stands in its ring, what its driver writes to configuration
 * space, and what happens meanwhile: memory that changes, a store that answers late, in another
 * order or with errors, a disk that is resized, a ring that stops and goes on.
 *
 * Input: choices (8 bytes), length of the program (1), the program, then the driver's part of the
 * ring and the buffers. The store checks whatever it is asked.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blk_req.h"
#include "dpu_cur.h"
#include "dpu_log.h"

#define RING_GPA (1ULL << 40)
#define RING_LEN 0x2000U
#define DATA_GPA 0x1000ULL
#define DATA_LEN 0x4000U
#define MEM_LEN (RING_LEN + DATA_LEN)
#define DRIVER_LEN 0x500U // of the ring: what a driver writes of one of 64 entries
#define DISK_LEN (64U << 10)
#define CONF_LEN 8
#define HELD_MAX 256
#define STEPS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

enum choice { // first byte
	PACKED = 1,
	EVENT = 2,
	INDIRECT = 4,
	IN_ORDER = 8,
	READ_ONLY = 16,
	BURSTS = 32, // the store answers at once
	CACHE = 64, // the store has a cache that can be flushed
	BIG_BLOCKS = 128, // 4096 bytes
};

enum more { // second byte
	INFLIGHT = 1,
	LOG = 2,
	NO_CONFIG_WCE = 4,
	LEAVE_BEHIND = 8, // a ring that stops gives up on what is at the store
	SIZED = 16, // VIRTIO_BLK_F_SIZE_MAX
	ERASE = 32,
};

struct fuzz_blk {
	struct vho_mem *mem;
	uint8_t *guest; // our view: data, then ring
	uint8_t *disk; // DISK_LEN bytes
	uint64_t disk_size;
	uint8_t choice, more;
	uint32_t size, base;
	struct vho_blk *blk;
	struct vho_dev *dev;
	struct vho_blk_io *held[HELD_MAX];
	unsigned n_held;
};

/* ---- the store ---- */

static void limits(void *store, struct vho_blk_limits *out)
{
	const struct fuzz_blk *f = store;
	uint32_t block = f->choice & BIG_BLOCKS ? 4096 : 512;

	*out = (struct vho_blk_limits){ .size = f->disk_size,
		.block_size = block,
		.opt_io_size = block,
		.max_discard_sectors = 64,
		.max_zeroes_sectors = 64,
		.discard_align_sectors = block / 512,
		.max_erase_sectors = 64,
		.erase_align_sectors = block / 512,
		.read_only = f->choice & READ_ONLY,
		.flush = f->choice & CACHE,
		.at_once = f->choice & BURSTS };
}

static void in_range(const struct fuzz_blk *f, uint64_t off, uint64_t len, bool changes)
{
	uint64_t mask = f->choice & BIG_BLOCKS ? 4095 : 511;

	if (off > DISK_LEN || len > DISK_LEN - off || ((off | len) & mask))
		abort();
	if (changes && f->choice & READ_ONLY)
		abort();
}

static void answer(struct fuzz_blk *f, struct vho_blk_io *io, int err)
{
	uint64_t at = io->off;

	for (unsigned i = 0; !err && io->op <= VHO_BLK_WRITE && i < io->n_iov; i++) {
		if (io->op == VHO_BLK_WRITE)
			memcpy(f->disk + at, io->iov[i].iov_base, io->iov[i].iov_len);
		else
			memcpy(io->iov[i].iov_base, f->disk + at, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (!err && (io->op == VHO_BLK_WRITE_ZEROES || io->op == VHO_BLK_SECURE_ERASE))
		memset(f->disk + io->off, 0, io->len);
	vho_blk_io_done(io, err);
}

static void submit(void *store, void *chan, struct vho_blk_io *io)
{
	struct fuzz_blk *f = store;
	uint64_t sum = 0;

	(void)chan;
	if (io->op != VHO_BLK_FLUSH)
		in_range(f, io->off, io->len, io->op != VHO_BLK_READ);
	for (unsigned i = 0; io->op <= VHO_BLK_WRITE && i < io->n_iov; i++)
		sum += io->iov[i].iov_len;
	if (io->op <= VHO_BLK_WRITE && sum != io->len)
		abort();
	if (f->choice & BURSTS || f->n_held == HELD_MAX)
		answer(f, io, 0);
	else
		f->held[f->n_held++] = io;
}

static bool at_once(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	struct fuzz_blk *f = store;

	(void)chan;
	if (n == 0 || n > 64)
		abort();
	for (unsigned i = 0; i < n; i++) {
		bool write = writes >> i & 1;

		in_range(f, off[i], data[i].iov_len, write);
		if (data[i].iov_len > 128U << 10)
			return false;
		if (write)
			memcpy(f->disk + off[i], data[i].iov_base, data[i].iov_len);
		else
			memcpy(data[i].iov_base, f->disk + off[i], data[i].iov_len);
	}
	return true;
}

static void answer_at(struct fuzz_blk *f, unsigned at, int err)
{
	struct vho_blk_io *io = f->held[at];

	f->held[at] = f->held[--f->n_held];
	answer(f, io, err);
}

static void answer_all(struct fuzz_blk *f)
{
	while (f->n_held)
		answer_at(f, 0, 0);
}

static const struct vho_blk_store_ops store_ops = {
	.limits = limits, .submit = submit, .at_once = at_once
};

/* ---- the host ---- */

static int queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	(void)arg;
	(void)kick_fd;
	vho_dev_queue_run(dev, idx, true);
	return 0;
}

static void queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct fuzz_blk *f = arg;

	vho_dev_queue_run(dev, idx, false);
	if (!(f->more & LEAVE_BEHIND))
		answer_all(f);
	vho_blk_poll(f->blk, idx, NULL, 0);
	if (!(f->more & LEAVE_BEHIND) && vho_blk_inflight(f->blk, idx))
		abort();
	vho_blk_abandon(f->blk, idx);
}

static void changed(void *arg, struct vho_dev *dev)
{
	(void)arg;
	(void)dev;
}

/* ---- the device ---- */

static void memory(struct fuzz_blk *f)
{
	const struct vho_mem_region r[] = {
		{ .gpa = DATA_GPA, .size = DATA_LEN, .uva = DATA_GPA },
		{ .gpa = RING_GPA, .size = RING_LEN, .uva = RING_GPA, .mmap_off = DATA_LEN },
	};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	dpu_log_level_set(DPU_LOG_ERR);
	if (fd < 0 || ftruncate(fd, MEM_LEN) || vho_mem_create(r, (int[]){ fd, fd }, 2, &f->mem))
		abort();
	f->guest = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f->disk = malloc(DISK_LEN);
	if (f->guest == MAP_FAILED || !f->disk)
		abort();
	close(fd);
}

static void choose(struct fuzz_blk *f, struct dpu_cur *in)
{
	uint8_t size;
	uint16_t at;

	f->choice = dpu_cur_u8(in);
	f->more = dpu_cur_u8(in);
	size = dpu_cur_u8(in);
	f->size = f->choice & PACKED ? size % 64 + 1U : 1U << size % 7;
	at = dpu_cur_le16(in);
	f->base = at;
	if (f->choice & PACKED) {
		at = (uint16_t)((at & 0x8000) | (at & 0x7fff) % f->size);
		f->base = at | (uint32_t)at << 16;
	}
	dpu_cur_skip(in, CONF_LEN - 5);
}

static uint64_t features(const struct fuzz_blk *f)
{
	// No IOMMU: there is no front-end here to say what addresses stand for
	uint64_t all = f->dev->features_offered & ~(1ULL << VIRTIO_F_ACCESS_PLATFORM);
	const struct {
		bool has;
		unsigned bit;
	} pick[] = {
		{ f->choice & PACKED, VIRTIO_F_RING_PACKED },
		{ f->choice & EVENT, VIRTIO_RING_F_EVENT_IDX },
		{ f->choice & INDIRECT, VIRTIO_RING_F_INDIRECT_DESC },
		{ f->choice & IN_ORDER, VIRTIO_F_IN_ORDER },
		{ !(f->more & NO_CONFIG_WCE), VIRTIO_BLK_F_CONFIG_WCE },
		{ f->more & SIZED, VIRTIO_BLK_F_SIZE_MAX },
	};

	for (unsigned i = 0; i < sizeof(pick) / sizeof(pick[0]); i++)
		if (!pick[i].has)
			all &= ~(1ULL << pick[i].bit);
	return all;
}

static void ring_up(struct fuzz_blk *f)
{
	struct vho_dev_queue *dq = &f->dev->queues[0];
	uint32_t avail = f->choice & PACKED ? 0 : (6 + 2 * f->size + 15) & ~15u;

	dq->size = f->size;
	dq->base = f->base;
	dq->desc_uva = RING_GPA + avail;
	dq->driver_uva = f->choice & PACKED ? RING_GPA + 0x1800 : RING_GPA;
	dq->device_uva = RING_GPA + 0x1000;
	dq->has_addr = dq->has_kick = dq->enabled = true;
	(void)vho_dev_queue_try_start(f->dev, 0);
}

static void open_device(struct fuzz_blk *f, struct vho_host *host)
{
	struct vho_blk_conf conf = { .name = "f",
		.serial = "fuzz",
		.n_queues = 1,
		.seg_max = 14,
		.size_max = f->more & SIZED ? 4096 : 0,
		.secure_erase = f->more & ERASE,
		.depth = 32,
		.ops = &store_ops,
		.store = f };
	static uint8_t log[4096];
	struct vho_inflight *inf;

	*host = (struct vho_host){
		.arg = f, .queue_start = queue_start, .queue_stop = queue_stop, .changed = changed
	};
	if (vho_blk_create(&conf, host, &f->blk))
		abort();
	f->dev = vho_blk_dev(f->blk);
	vho_dev_attach(f->dev);
	if (vho_dev_set_features(f->dev, features(f)))
		abort();
	if (f->more & INFLIGHT) {
		if (vho_inflight_create(1, (uint16_t)f->size, f->choice & PACKED, &inf))
			abort();
		vho_dev_set_inflight(f->dev, inf);
	}
	if (f->more & LOG) {
		f->dev->log = (struct vho_dirty_log){ .base = log, .size = sizeof(log) };
		f->dev->log_on = true;
	}
	vho_dev_set_mem(f->dev, vho_mem_get(f->mem));
	ring_up(f);
}

static void close_device(struct fuzz_blk *f)
{
	f->dev->log = (struct vho_dirty_log){ 0 };
	vho_dev_detach(f->dev);
	vho_blk_destroy(f->blk);
	answer_all(f); // what was given up comes later than everything else
}

/* ---- the program ---- */

static void config(struct fuzz_blk *f, struct dpu_cur *in, bool write)
{
	uint8_t off = dpu_cur_u8(in), len = dpu_cur_u8(in), *bytes = malloc(len ? len : 1);

	if (!bytes)
		abort();
	memset(bytes, 0, len ? len : 1);
	if (!write) {
		f->dev->type->config_read(f->dev, off, bytes, len);
	} else {
		len %= 9;
		for (unsigned i = 0; i < len; i++)
			bytes[i] = dpu_cur_u8(in);
		(void)f->dev->type->config_write(f->dev, off, bytes, len);
	}
	free(bytes);
}

static void poke(struct fuzz_blk *f, struct dpu_cur *in)
{
	uint32_t at = dpu_cur_le16(in) % MEM_LEN, n = dpu_cur_u8(in) % 16 + 1;

	for (uint32_t i = 0; i < n && at + i < MEM_LEN; i++)
		f->guest[at + i] = dpu_cur_u8(in);
}

static void step(struct fuzz_blk *f, struct dpu_cur *in)
{
	static const int errors[] = { 0, -EIO, -ENOSPC, -ENOTSUP, -EROFS, -EINVAL, 0, 0 };
	uint8_t op = dpu_cur_u8(in), arg = dpu_cur_u8(in);

	switch (op % 8) {
	case 0:
		(void)vho_blk_poll(f->blk, 0, NULL, arg % 65);
		break;
	case 1:
		if (f->n_held)
			answer_at(f, arg % f->n_held, errors[op / 8 % 8]);
		break;
	case 2:
	case 3:
		config(f, in, op % 8 == 2);
		break;
	case 4:
		poke(f, in);
		break;
	case 5:
		f->disk_size = arg % (DISK_LEN / 4096 + 1) * 4096ULL;
		vho_blk_resized(f->blk);
		break;
	case 6:
		if (vho_dev_queue_arm(f->dev, 0) && arg & 1)
			vho_dev_queue_disarm(f->dev, 0);
		break;
	default:
		vho_dev_queue_stop(f->dev, 0);
		(void)vho_dev_queue_try_start(f->dev, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct dpu_cur in = dpu_cur_init(bytes, len), program;
	static struct fuzz_blk f;
	struct vho_host host;
	size_t n, ring;

	if (!f.mem)
		memory(&f);
	if (len < CONF_LEN + 1)
		return 0;
	choose(&f, &in);
	n = dpu_cur_u8(&in);
	n = n < in.left ? n : in.left;
	program = dpu_cur_init(dpu_cur_take(&in, n), n);
	ring = in.left < DRIVER_LEN ? in.left : DRIVER_LEN;
	memset(f.guest, 0, MEM_LEN);
	memset(f.disk, 0xd1, DISK_LEN);
	dpu_cur_copy(&in, f.guest + DATA_LEN, ring);
	dpu_cur_copy(&in, f.guest, in.left < DATA_LEN ? in.left : DATA_LEN);
	f.disk_size = DISK_LEN;
	open_device(&f, &host);
	for (unsigned i = 0; i < STEPS_MAX && program.left > 1; i++)
		step(&f, &program);
	(void)vho_blk_poll(f.blk, 0, NULL, 64);
	close_device(&f);
	return 0;
}
