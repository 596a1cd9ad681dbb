// SPDX-License-Identifier: Apache-2.0
/* Compare-and-write of a read and a write, and the range lock that makes one of them. */
#include "vol_compare.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vol_cursor.h"
#include "vol_priv.h"

#define LOCKED (1u << 31) // by a compare-and-write
#define WANTED (1u << 30) // by a write that found it locked
#define POLL_BYTES (1u << 20) // sent down by one poll

enum mode {
	NEVER,
	BEGINS, // until every CPU has passed a barrier
	DRAINS, // until everything has ended that began before
	READY
};

/* In vol_io.priv while the request is ours. */
struct compare_io {
	struct vol_io *next; // vol_fifo's
	struct vol_sub *sub; // a request and a buffer of the pool; NULL: none yet
	bool locked;
};
static_assert(sizeof(struct compare_io) <= VOL_IO_PRIV, "fits the request");
static_assert(offsetof(struct compare_io, next) == 0, "where vol_fifo has it");
static_assert(VOL_COMPARE_MAX <= VOL_POOL_BUF_LEN, "in one buffer");
static_assert(VOL_COMPARE_MAX <= VOL_COMPARE_WINDOW, "two words at most");

static struct compare_io *state(struct vol_io *io)
{
	return (struct compare_io *)(void *)io->priv;
}

/* ---- what a volume can ---- */

static int barrier_do(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0) < 0 ? -errno : 0;
}

int vol_compare_barrier(void)
{
	return barrier_do(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

void vol_compare_init(struct vol_compare *k)
{
	// May wait, the first time: not on a worker.
	k->able = barrier_do(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

void vol_compare_chan_init(struct vol_chan *c, struct vol_pool *pool)
{
	vol_fifo_init(&c->compare.parked);
	c->compare.pool = pool;
	c->compare.held.depth = c->v->depth;
}

bool vol_compare_native(const struct vol *v)
{
	return v->ops->compare_max && v->ops->compare_max(v) != VOL_COMPARE_OURS;
}

uint32_t vol_compare_max(const struct vol *v)
{
	uint32_t max = v->ops->compare_max ? v->ops->compare_max(v) : VOL_COMPARE_OURS;

	if (max == VOL_COMPARE_OURS)
		return v->compare.able ? VOL_COMPARE_MAX : 0;
	if (max > VOL_COMPARE_MAX)
		max = VOL_COMPARE_MAX;
	return max - max % v->block_size;
}

static bool sums(const struct iovec *iov, unsigned n, uint64_t len)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		if (iov[i].iov_len > len - sum)
			return false;
		sum += iov[i].iov_len;
	}
	return sum == len;
}

int vol_compare_check(const struct vol *v, const struct vol_io *io)
{
	uint32_t max = vol_compare_max(v);

	if (max == 0)
		return -EOPNOTSUPP;
	if (io->len > max || !sums(io->iov, io->n_iov, io->len) ||
		!sums(io->cmp, io->n_cmp, io->len))
		return -EINVAL;
	return 0;
}

/* ---- the windows of a range ---- */

/* How many words, and the first of them; the others follow, modulo VOL_COMPARE_WORDS. */
static unsigned words(const struct vol_io *io, unsigned *first)
{
	uint64_t from = io->off / VOL_COMPARE_WINDOW;
	uint64_t n = (io->off + io->len - 1) / VOL_COMPARE_WINDOW - from + 1;

	*first = (unsigned)(from % VOL_COMPARE_WORDS);
	return n > VOL_COMPARE_WORDS ? VOL_COMPARE_WORDS : (unsigned)n;
}

static _Atomic uint32_t *word(struct vol *v, unsigned first, unsigned i)
{
	return &v->compare.word[(first + i) % VOL_COMPARE_WORDS];
}

/* Of those that a compare-and-write has: two at most, the lower one first. */
static _Atomic uint32_t *word_up(struct vol *v, unsigned first, unsigned n, unsigned i)
{
	bool wraps = n == 2 && first == VOL_COMPARE_WORDS - 1;

	return word(v, first, wraps ? 1 - i : i);
}

static void uncount(struct vol *v, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) // pairs with drained()
		atomic_fetch_sub_explicit(word(v, first, i), 1, memory_order_release);
}

/* Count a write in all of its windows. False: one is locked, and none has it. */
static bool count(struct vol *v, const struct vol_io *io)
{
	unsigned first, n = words(io, &first);

	for (unsigned i = 0; i < n; i++) {
		_Atomic uint32_t *w = word(v, first, i);
		uint32_t old = atomic_load_explicit(w, memory_order_relaxed);

		do {
			if (old & LOCKED) {
				atomic_fetch_or_explicit(w, WANTED, memory_order_relaxed);
				uncount(v, first, i);
				return false;
			}
		} while (!atomic_compare_exchange_weak_explicit(w, &old, (old & ~WANTED) + 1,
			memory_order_acquire, memory_order_relaxed)); // pairs with unlock()
	}
	return true;
}

static void unlock_some(struct vol *v, unsigned first, unsigned n, unsigned some)
{
	for (unsigned i = 0; i < some; i++)
		atomic_fetch_and_explicit(word_up(v, first, n, i), ~LOCKED, memory_order_release);
}

static void unlock(struct vol *v, const struct vol_io *io)
{
	unsigned first, n = words(io, &first);

	unlock_some(v, first, n, n);
}

/* False: another one has a window, or a write waits for it; this one has none. */
static bool lock(struct vol *v, const struct vol_io *io)
{
	unsigned first, n = words(io, &first);

	for (unsigned i = 0; i < n; i++) {
		_Atomic uint32_t *w = word_up(v, first, n, i);
		uint32_t old = atomic_load_explicit(w, memory_order_relaxed);

		do {
			if (old & (LOCKED | WANTED)) {
				unlock_some(v, first, n, i);
				return false;
			}
		} while (!atomic_compare_exchange_weak_explicit(
			w, &old, old | LOCKED, memory_order_acquire, memory_order_relaxed));
	}
	return true;
}

/* No write is left in the windows that are locked. */
static bool drained(struct vol *v, const struct vol_io *io)
{
	unsigned first, n = words(io, &first);

	for (unsigned i = 0; i < n; i++)
		if (atomic_load_explicit(word(v, first, i), memory_order_acquire) &
			~(LOCKED | WANTED))
			return false;
	return true;
}

/* ---- the first one ---- */

/*
 * Nothing is in flight that does not count itself. A channel that is closed meanwhile stays until
 * nobody walks: vol_chan_close(). One that was opened behind our back sees `mode`.
 */
static bool all_counted(struct vol *v)
{
	uint32_t n = 0;

	atomic_fetch_add(&v->compare.walkers, 1);
	for (struct vol_chan *c = atomic_load(&v->chans); c; c = atomic_load(&c->next))
		n |= atomic_load_explicit(&c->inflight, memory_order_acquire);
	atomic_fetch_sub(&v->compare.walkers, 1);
	return n == 0;
}

static bool ready(struct vol *v)
{
	unsigned mode = atomic_load_explicit(&v->compare.mode, memory_order_acquire);

	if (mode == NEVER &&
		atomic_compare_exchange_strong(&v->compare.mode, &mode, (unsigned)BEGINS)) {
		// Whoever has not seen it has stored before that something of it is in flight.
		(void)vol_compare_barrier();
		atomic_store_explicit(&v->compare.mode, DRAINS, memory_order_release);
		mode = DRAINS;
	}
	if (mode == DRAINS && all_counted(v)) {
		atomic_store_explicit(&v->compare.mode, READY, memory_order_release);
		mode = READY;
	}
	return mode == READY;
}

/* ---- a read, a look, a write ---- */

static void finish(struct vol_chan *c, struct vol_io *io, int err)
{
	struct compare_io *s = state(io);
	struct vol_sub *sub = s->sub;

	s->sub = NULL;
	unlock(c->v, io);
	(void)vol_pool_put(c->compare.pool, &c->compare.held, sub); // polls ask again
	vol_io_end(c, io, err);
}

static void inner(struct vol_chan *c, struct vol_sub *sub)
{
	sub->io.gate = VOL_GATE_INNER;
	c->compare.gated++;
	c->v->ops->submit(c, &sub->io);
}

static void written(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)(void *)io;

	finish(sub->chan, sub->up, err);
}

static bool equal(const struct vol_io *io, const uint8_t *with)
{
	for (unsigned i = 0; i < io->n_cmp; i++) {
		if (memcmp(io->cmp[i].iov_base, with, io->cmp[i].iov_len) != 0)
			return false;
		with += io->cmp[i].iov_len;
	}
	return true;
}

static void came(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)(void *)io;
	struct vol_io *up = sub->up;
	struct vol_chan *c = sub->chan;

	if (!err && !equal(up, sub->buf))
		err = -ECANCELED;
	else if (err == -ECANCELED || err == -ECONNABORTED)
		err = -EIO; // they have a meaning of their own here
	if (err) {
		finish(c, up, err);
		return;
	}
	vol_sub_begin(sub, c, up, written);
	sub->io.op = VOL_WRITE;
	sub->io.fua = up->fua;
	sub->io.off = up->off;
	sub->io.len = up->len;
	sub->io.iov = up->iov;
	sub->io.n_iov = up->n_iov;
	inner(c, sub);
}

static void begin(struct vol_chan *c, struct vol_io *io)
{
	struct vol_sub *sub = state(io)->sub;
	int err = vol_check(c->v, io); // it may have waited for long

	if (err) {
		finish(c, io, err == -EINVAL ? -EIO : err);
		return;
	}
	vol_sub_begin(sub, c, io, came);
	sub->iov[0] = (struct iovec){ sub->buf, io->len };
	sub->io.op = VOL_READ;
	sub->io.off = io->off;
	sub->io.len = io->len;
	sub->io.iov = sub->iov;
	sub->io.n_iov = 1;
	inner(c, sub);
}

/* ---- requests ---- */

/*
 * The buffer first: whoever holds one here waits for nobody who waits for one, since all that is
 * below takes its own from what is left for it (vol_pool.h).
 */
static bool try_compare(struct vol_chan *c, struct vol_io *io)
{
	struct compare_io *s = state(io);

	if (!s->sub)
		s->sub = vol_pool_get_buf(c->compare.pool, &c->compare.held);
	if (!s->sub || !ready(c->v))
		return false;
	if (!s->locked && !lock(c->v, io))
		return false;
	s->locked = true;
	if (!drained(c->v, io))
		return false;
	begin(c, io);
	return true;
}

static bool try_write(struct vol_chan *c, struct vol_io *io)
{
	int err;

	if (!count(c->v, io))
		return false;
	io->gate = VOL_GATE_COUNTED;
	err = vol_check(c->v, io);
	if (err)
		vol_io_end(c, io, err == -EINVAL ? -EIO : err);
	else
		c->v->ops->submit(c, io);
	return true;
}

static bool attempt(struct vol_chan *c, struct vol_io *io)
{
	return io->op == VOL_COMPARE_WRITE ? try_compare(c, io) : try_write(c, io);
}

static void park(struct vol_chan *c, struct vol_io *io)
{
	vol_fifo_put(&c->compare.parked, io);
	c->compare.n++;
}

void vol_compare_note(struct vol_chan *c, struct vol_io *io)
{
	if (io->gate != VOL_GATE_NONE || (io->op == VOL_COMPARE_WRITE && vol_compare_native(c->v)))
		return;
	vol_inflight_sub(c, 1);
	c->compare.gated++;
	io->gate = VOL_GATE_SEEN;
}

void vol_compare_go(struct vol_chan *c, struct vol_io *io)
{
	if (io->op == VOL_READ || io->op == VOL_FLUSH) {
		c->v->ops->submit(c, io);
		return;
	}
	if (io->op == VOL_COMPARE_WRITE && !c->compare.pool) {
		vol_io_end(c, io, -EOPNOTSUPP);
		return;
	}
	*state(io) = (struct compare_io){ 0 };
	if (!attempt(c, io))
		park(c, io);
}

unsigned vol_compare_poll(struct vol_chan *c)
{
	struct vol_fifo parked;
	struct vol_io *io;
	uint64_t bytes = 0;
	unsigned n = 0;

	vol_fifo_move(&c->compare.parked, &parked);
	c->compare.n = 0;
	while ((io = vol_fifo_pop(&parked))) {
		uint64_t len = io->len;

		if (bytes >= POLL_BYTES || !attempt(c, io)) {
			park(c, io);
			continue;
		}
		bytes += len;
		n++;
	}
	return n;
}

bool vol_compare_leave(struct vol_chan *c, struct vol_io *io, int err)
{
	unsigned first, n;

	c->compare.gated--;
	if (io->gate == VOL_GATE_COUNTED) {
		n = words(io, &first);
		uncount(c->v, first, n);
	}
	if (io->gate != VOL_GATE_INNER)
		return false;
	io->done(io, err);
	return true;
}

void vol_compare_count(struct vol_counters *n, const struct vol_io *io, int err)
{
	if (io->op == VOL_COMPARE_WRITE && err == -ECANCELED) {
		dpu_counter_add(&n->miscompares, 1);
		return;
	}
	if (io->op == VOL_COMPARE_WRITE && err == -ECONNABORTED)
		dpu_counter_add(&n->compares_lost, 1);
	dpu_counter_add(&n->errors, 1);
}
