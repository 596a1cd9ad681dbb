// SPDX-License-Identifier: Apache-2.0
/*
 * Requests of a file volume on io_uring: one ring per channel.
 *
 * A request goes through one or more operations: a transfer is resumed until it is complete, a
 * misaligned one is carried through a bounce buffer piece by piece, zeroing that the file system
 * cannot do is written, and a stable zeroing ends with a sync. A request has at most one operation
 * with the kernel, of at most one slice. Nothing waits: what does not fit in the ring, or would
 * make one call too long, stands in the channel's list.
 */
#include "vol_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dpu_alloc.h"

#define RETRIES_MAX 64 // EAGAIN and EINTR of one request

enum stage { ST_TRANSFER, ST_ALLOC, ST_ZERO, ST_SYNC };

/* In vol_io.priv while the request is ours. */
struct file_io {
	struct vol_io *next; // in the channel's list
	uint64_t pos; // bytes finished
	struct iovec saved; // iov[iov_at] as the caller gave it, when `cut`
	unsigned iov_at; // first segment that is not finished
	uint32_t want; // bytes of the operation with the kernel
	int16_t bounce; // buffer held, -1: none
	uint8_t stage;
	uint8_t retries;
	bool cut; // iov[iov_at] is shortened at its front
	bool bounced; // goes through bounce buffers
};

static_assert(sizeof(struct file_io) <= VOL_IO_PRIV, "fits the request");

static struct file_io *state(struct vol_io *io)
{
	return (struct file_io *)io->priv;
}

/* ---- the caller's segments ---- */

/* So that the segment at iov_at always has bytes to move. */
static void skip_empty(const struct vol_io *io, struct file_io *s)
{
	while (s->iov_at < io->n_iov && io->iov[s->iov_at].iov_len == 0)
		s->iov_at++;
}

/*
 * Step over n finished bytes. The array is the caller's: only one segment is ever cut, and undone.
 */
static void advance(struct vol_io *io, struct file_io *s, uint64_t n)
{
	s->pos += n;
	while (n > 0) {
		struct iovec *v = &io->iov[s->iov_at];

		if (n < v->iov_len) {
			if (!s->cut)
				s->saved = *v;
			s->cut = true;
			v->iov_base = (uint8_t *)v->iov_base + n;
			v->iov_len -= n;
			return;
		}
		n -= v->iov_len;
		if (s->cut)
			*v = s->saved;
		s->cut = false;
		s->iov_at++;
	}
	skip_empty(io, s);
}

static void restore(struct vol_io *io, struct file_io *s)
{
	if (s->cut)
		io->iov[s->iov_at] = s->saved;
	s->cut = false;
}

enum way { TO_BOUNCE, FROM_BOUNCE };

/* Copy n bytes between a bounce buffer and the segments at the current position. */
static void copy(
	const struct vol_io *io, const struct file_io *s, uint8_t *b, uint32_t n, enum way w)
{
	for (unsigned i = s->iov_at; n > 0; i++) {
		uint32_t part = io->iov[i].iov_len < n ? (uint32_t)io->iov[i].iov_len : n;

		if (w == TO_BOUNCE)
			memcpy(b, io->iov[i].iov_base, part);
		else
			memcpy(io->iov[i].iov_base, b, part);
		b += part;
		n -= part;
	}
}

/* Check that segments sum to len; tell whether O_DIRECT can take them as they are. */
static int survey(const struct vol_file *f, const struct vol_io *io, bool *aligned)
{
	uintptr_t bases = 0, lens = 0;
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->n_iov; i++) {
		bases |= (uintptr_t)io->iov[i].iov_base;
		lens |= io->iov[i].iov_len;
		if (io->iov[i].iov_len > io->len - sum)
			return -EINVAL;
		sum += io->iov[i].iov_len;
	}
	if (sum != io->len)
		return -EINVAL;
	*aligned = !f->direct ||
		   ((bases & (f->mem_align - 1)) == 0 && (lens & (f->io_align - 1)) == 0);
	return 0;
}

/* ---- towards the kernel ---- */

/*
 * How many whole segments fit in one slice from the current position; *len is their sum. When the
 * first alone is longer: 0, and *len is a slice of it.
 */
static unsigned take_segments(const struct vol_file *f, const struct vol_io *io, uint32_t *len)
{
	const struct file_io *s = (const struct file_io *)io->priv;
	unsigned n = 0;

	*len = 0;
	while (s->iov_at + n < io->n_iov && n < IOV_MAX) {
		size_t part = io->iov[s->iov_at + n].iov_len;

		if (part > f->slice - *len)
			break;
		*len += (uint32_t)part;
		n++;
	}
	if (n == 0)
		*len = f->slice;
	return n;
}

/* Bytes that the request's next operation moves. */
static uint32_t next_len(const struct vol_file *f, struct vol_io *io)
{
	const struct file_io *s = state(io);
	uint64_t left = io->len - s->pos;
	uint32_t len;

	switch ((enum stage)s->stage) {
	case ST_TRANSFER:
		if (s->bounced)
			return left < FILE_BOUNCE_LEN ? (uint32_t)left : FILE_BOUNCE_LEN;
		(void)take_segments(f, io, &len);
		return len;
	case ST_ZERO:
		return left < f->slice ? (uint32_t)left : f->slice;
	case ST_ALLOC:
	case ST_SYNC:
		break;
	}
	return 0;
}

static void prep_transfer(struct vol_file_chan *fc, struct vol_io *io, struct io_uring_sqe *sqe)
{
	struct file_io *s = state(io);
	const struct iovec *v = io->iov + s->iov_at;
	int fd = fc->f->fd;
	uint64_t off = io->off + s->pos;
	bool read = io->op == VOL_READ;
	unsigned n = 0;
	uint8_t *b;

	if (s->bounced) {
		b = fc->bounce + (size_t)s->bounce * FILE_BOUNCE_LEN;
		if (!read)
			copy(io, s, b, s->want, TO_BOUNCE);
	} else {
		n = take_segments(fc->f, io, &s->want);
		b = v->iov_base;
	}
	if (n > 0 && read)
		io_uring_prep_readv(sqe, fd, v, n, off);
	else if (n > 0)
		io_uring_prep_writev(sqe, fd, v, n, off);
	else if (read)
		io_uring_prep_read(sqe, fd, b, s->want, off);
	else
		io_uring_prep_write(sqe, fd, b, s->want, off);
	if (!read && io->fua)
		sqe->rw_flags = RWF_DSYNC;
}

static void prep_alloc(struct vol_file_chan *fc, struct vol_io *io, struct io_uring_sqe *sqe)
{
	int mode = FALLOC_FL_KEEP_SIZE;

	if (io->op == VOL_DISCARD || io->unmap)
		mode |= FALLOC_FL_PUNCH_HOLE; // reads as zeros from now on
	else
		mode |= FALLOC_FL_ZERO_RANGE;
	io_uring_prep_fallocate(sqe, fc->f->fd, mode, (off_t)io->off, (off_t)io->len);
}

static void prep_zero(struct vol_file_chan *fc, struct vol_io *io, struct io_uring_sqe *sqe)
{
	const struct file_io *s = state(io);

	io_uring_prep_write(sqe, fc->f->fd, fc->f->zeroes, s->want, io->off + s->pos);
	if (io->fua || io->erase)
		sqe->rw_flags = RWF_DSYNC;
}

/* An operation of len bytes may go into the ring now. */
static bool room(const struct vol_file_chan *fc, uint32_t len)
{
	if (fc->active == FILE_RING)
		return false;
	if (fc->staged > 0 && len > fc->f->slice - fc->staged)
		return false;
	return fc->f->direct || fc->bytes + len <= FILE_CACHED_MAX;
}

/* Hand the request's next operation to the ring; false: no room, or no bounce buffer. */
static bool issue(struct vol_file_chan *fc, struct vol_io *io)
{
	struct file_io *s = state(io);
	uint32_t len = next_len(fc->f, io);
	struct io_uring_sqe *sqe;

	if (!room(fc, len))
		return false;
	if (s->bounced && s->bounce < 0 && fc->bounce_free == 0)
		return false;
	sqe = io_uring_get_sqe(&fc->ring);
	if (!sqe)
		return false;
	if (s->bounced && s->bounce < 0) {
		s->bounce = (int16_t)__builtin_ctz(fc->bounce_free);
		fc->bounce_free &= fc->bounce_free - 1;
	}
	s->want = len;
	switch ((enum stage)s->stage) {
	case ST_TRANSFER:
		prep_transfer(fc, io, sqe);
		break;
	case ST_ALLOC:
		prep_alloc(fc, io, sqe);
		break;
	case ST_ZERO:
		prep_zero(fc, io, sqe);
		break;
	case ST_SYNC:
		io_uring_prep_fsync(sqe, fc->f->sync_fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, io);
	fc->active++;
	fc->bytes += len;
	fc->staged += len;
	return true;
}

static void enqueue(struct vol_file_chan *fc, struct vol_io *io)
{
	if (!fc->head && issue(fc, io))
		return;
	state(io)->next = NULL;
	*fc->tail = io;
	fc->tail = &state(io)->next;
}

static void issue_waiting(struct vol_file_chan *fc)
{
	while (fc->head) {
		struct vol_io *io = fc->head;
		struct vol_io *next = state(io)->next;

		if (!issue(fc, io))
			return;
		fc->head = next;
		if (!next)
			fc->tail = &fc->head;
	}
}

/* ---- answers ---- */

static void finish(struct vol_file_chan *fc, struct vol_io *io, int err)
{
	struct file_io *s = state(io);
	uint64_t size = atomic_load_explicit(&fc->f->v.size, memory_order_acquire);

	restore(io, s);
	if (s->bounce >= 0)
		fc->bounce_free |= 1U << s->bounce;
	// The volume shrank meanwhile: what lay beyond its end is not there any more.
	if (err == 0 && io->op != VOL_FLUSH && (io->off > size || io->len > size - io->off))
		err = -EIO;
	vol_io_end(&fc->c, io, err);
}

/* Data moved: 0 and below end the file early or failed; else go on where it stopped. */
static void transferred(struct vol_file_chan *fc, struct vol_io *io, int res)
{
	struct file_io *s = state(io);
	uint64_t n = res > 0 ? (uint64_t)res : 0;

	if (res == -EINVAL && fc->f->direct && !s->bounced && s->stage == ST_TRANSFER) {
		s->bounced = true; // stricter than it said: an aligned buffer always does
		enqueue(fc, io);
		return;
	}
	if (res < 0) {
		finish(fc, io, res == -EINVAL ? -EIO : res);
		return;
	}
	if (n > io->len - s->pos)
		n = io->len - s->pos;
	if (fc->f->direct && n < io->len - s->pos)
		n -= n % fc->f->io_align; // resume where O_DIRECT can
	if (n == 0) { // end of file inside the volume: someone cut it
		finish(fc, io, -EIO);
		return;
	}
	if (s->stage == ST_ZERO) {
		s->pos += n;
	} else {
		if (s->bounced && io->op == VOL_READ) {
			copy(io, s, fc->bounce + (size_t)s->bounce * FILE_BOUNCE_LEN, (uint32_t)n,
				FROM_BOUNCE);
			fc->copied += (uint32_t)n;
		}
		advance(io, s, n);
	}
	if (s->pos == io->len)
		finish(fc, io, 0);
	else
		enqueue(fc, io);
}

static void allocated(struct vol_file_chan *fc, struct vol_io *io, int res)
{
	struct file_io *s = state(io);

	if (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL) {
		if (io->op == VOL_DISCARD) {
			finish(fc, io, -ENOTSUP); // and nothing was promised to be gone
			return;
		}
		if (!io->unmap)
			atomic_store_explicit(&fc->f->no_zero_range, true, memory_order_relaxed);
		s->stage = ST_ZERO;
		enqueue(fc, io);
		return;
	}
	if (res < 0 || !io->fua) {
		finish(fc, io, res);
		return;
	}
	s->stage = ST_SYNC;
	enqueue(fc, io);
}

static void complete(struct vol_file_chan *fc, struct vol_io *io, int res)
{
	struct file_io *s = state(io);

	fc->active--;
	fc->bytes -= s->want;
	if ((res == -EAGAIN || res == -EINTR) && s->retries < RETRIES_MAX) {
		s->retries++;
		enqueue(fc, io);
		return;
	}
	if (res == -EAGAIN || res == -EINTR)
		res = -EIO;
	switch ((enum stage)s->stage) {
	case ST_TRANSFER:
	case ST_ZERO:
		transferred(fc, io, res);
		return;
	case ST_ALLOC:
		allocated(fc, io, res);
		return;
	case ST_SYNC:
		if (res < 0) // what was lost stays lost, whatever the next fdatasync says
			atomic_store_explicit(&fc->f->v.failed, true, memory_order_relaxed);
		finish(fc, io, res < 0 ? -EIO : 0);
		return;
	}
}

/* ---- the volume's interface ---- */

void vol_file_submit(struct vol_chan *c, struct vol_io *io)
{
	struct vol_file_chan *fc = (struct vol_file_chan *)c;
	struct file_io *s = state(io);
	bool aligned = true;

	*s = (struct file_io){ .bounce = -1 };
	switch (io->op) {
	case VOL_READ:
	case VOL_WRITE:
		s->stage = ST_TRANSFER;
		if (survey(fc->f, io, &aligned) < 0) {
			finish(fc, io, -EINVAL);
			return;
		}
		s->bounced = !aligned;
		skip_empty(io, s);
		break;
	case VOL_FLUSH:
		s->stage = ST_SYNC;
		break;
	case VOL_COMPARE_WRITE: // vol.c's
		assert(false);
		break;
	case VOL_DISCARD:
		s->stage = ST_ALLOC;
		break;
	case VOL_WRITE_ZEROES:
		s->stage = ST_ALLOC;
		if (io->erase) // a range that is marked as zeros still holds what it held
			s->stage = ST_ZERO;
		if (!io->unmap && atomic_load_explicit(&fc->f->no_zero_range, memory_order_relaxed))
			s->stage = ST_ZERO;
		break;
	}
	enqueue(fc, io);
}

static void push(struct vol_file_chan *fc)
{
	issue_waiting(fc);
	// On failure (EAGAIN, EBUSY) entries stay in the ring; the next turn tries again.
	if (io_uring_sq_ready(&fc->ring) > 0)
		(void)io_uring_submit(&fc->ring);
	if (io_uring_sq_ready(&fc->ring) == 0)
		fc->staged = 0;
}

unsigned vol_file_poll(struct vol_chan *c)
{
	struct vol_file_chan *fc = (struct vol_file_chan *)c;
	struct io_uring_cqe *cqe;
	unsigned n = 0;

	fc->copied = 0;
	while (n < FILE_RING && fc->copied < FILE_SLICE_CACHED && fc->active > 0 &&
		io_uring_peek_cqe(&fc->ring, &cqe) == 0) {
		struct vol_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&fc->ring, cqe);
		complete(fc, io, res);
		n++;
	}
	if (fc->head || io_uring_sq_ready(&fc->ring) > 0)
		push(fc);
	return n;
}

unsigned vol_file_kick(struct vol_chan *c)
{
	push((struct vol_file_chan *)c);
	return vol_file_poll(c);
}

int vol_file_fd(const struct vol_chan *c)
{
	return ((const struct vol_file_chan *)c)->ring.ring_fd;
}

int vol_file_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct vol_file_chan *fc = dpu_calloc(1, sizeof(*fc));
	int ret;

	(void)group;
	if (!fc)
		return -ENOMEM;
	fc->f = (struct vol_file *)v;
	fc->tail = &fc->head;
	if (!fc->f->alone)
		(void)vol_file_lock(fc->f); // whoever had it too may have let it go
	if (fc->f->direct) {
		void *b = mmap(NULL, (size_t)FILE_BOUNCE * FILE_BOUNCE_LEN, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (b == MAP_FAILED) {
			ret = -errno;
			goto err_free;
		}
		fc->bounce = b;
		fc->bounce_free = UINT32_MAX;
	}
	ret = io_uring_queue_init(FILE_RING, &fc->ring, 0);
	if (ret < 0)
		goto err_bounce;
	*out = &fc->c;
	return 0;

err_bounce:
	if (fc->bounce)
		munmap(fc->bounce, (size_t)FILE_BOUNCE * FILE_BOUNCE_LEN);
err_free:
	free(fc);
	return ret;
}

void vol_file_chan_close(struct vol_chan *c)
{
	struct vol_file_chan *fc = (struct vol_file_chan *)c;

	io_uring_queue_exit(&fc->ring);
	if (fc->bounce)
		munmap(fc->bounce, (size_t)FILE_BOUNCE * FILE_BOUNCE_LEN);
	free(fc);
}
