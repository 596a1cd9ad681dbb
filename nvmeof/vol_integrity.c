// SPDX-License-Identifier: Apache-2.0
/*
 * Checksums beside the data (ADR-0016). A request is cut into pieces within one sum block, each
 * with a buffer of the group's pool: what is written is copied once and summed there, what was
 * read is summed there and only then copied to the guest.
 *
 * A piece that writes takes the slot of its sum block with all others that wait for it, says in the
 * sum block what may now lie below (the old sum or the new one), and then writes. So whatever ends
 * this process, and whatever was written by then, a block has one of the sums that are kept of it.
 *
 * Channels of several workers meet in the slots: a word that changes by compare-and-swap. Who finds
 * one taken goes on with something else and looks again.
 */
#include "vol_integrity.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"

#define FOREIGN_US 50u // until a slot of another worker is looked at again
#define OPENING_US 1000u // until it is asked again whether the header is there

static bool flush_enter(struct integ_chan *ic, struct vol_sub **at);
static void flush_step(struct integ_chan *ic, struct vol_sub *sub);

static inline struct integ_io *state(struct vol_io *io)
{
	return (struct integ_io *)io->priv;
}

/* ---- ends ---- */

void integ_piece_end(struct integ_chan *ic, struct vol_sub *sub, int err)
{
	struct vol_io *up = sub->up;
	struct integ_io *s = state(up);

	if (err && !s->err)
		s->err = err;
	if (--s->below == 0 && s->pos == up->len)
		vol_io_end(&ic->l.c, up, s->err);
	vol_layer_give(&ic->l, sub);
}

/* ---- the queue ---- */

static void enqueue(struct integ_chan *ic, struct vol_sub *sub)
{
	sub->next = NULL;
	*ic->queue_tail = sub;
	ic->queue_tail = &sub->next;
}

static struct vol_sub *unlink_at(struct integ_chan *ic, struct vol_sub **at)
{
	struct vol_sub *sub = *at;

	*at = sub->next;
	if (!*at)
		ic->queue_tail = at;
	sub->next = NULL;
	return sub;
}

static bool mark(struct sum_slot *slot, const struct integ_piece *p)
{
	for (uint32_t i = p->first; i < p->first + p->n; i++)
		if (slot->taken[i / 64] & 1ull << i % 64)
			return false;
	for (uint32_t i = p->first; i < p->first + p->n; i++)
		slot->taken[i / 64] |= 1ull << i % 64;
	return true;
}

static void join(struct sum_slot *slot, struct vol_sub *sub)
{
	integ_piece(sub)->slot = slot;
	*slot->batch_tail = sub;
	slot->batch_tail = &sub->next;
}

/* The piece at `at` and those behind it that can go with it. False: somebody has its slot. */
static bool enter(struct integ_chan *ic, struct vol_sub **at)
{
	struct integ_piece *p = integ_piece(*at);
	struct sum_slot *slot = &integ_of(ic)->slot[p->sum % INTEGRITY_SLOTS];

	if (p->op == VOL_FLUSH)
		return flush_enter(ic, at);
	if (!integ_slot_take(ic, slot)) {
		ic->foreign |= atomic_load_explicit(&slot->holder, memory_order_relaxed) != ic;
		return false;
	}
	memset(slot->taken, 0, sizeof(slot->taken));
	slot->batch_tail = &slot->batch;
	join(slot, unlink_at(ic, at));
	if (p->op != VOL_READ) {
		(void)mark(slot, p);
		while (*at) {
			const struct integ_piece *q = integ_piece(*at);

			if (q->op != VOL_READ && q->op != VOL_FLUSH && q->sum == p->sum &&
				mark(slot, q))
				join(slot, unlink_at(ic, at));
			else
				at = &(*at)->next;
		}
	}
	integ_slot_begin(ic, slot);
	return true;
}

void integ_turn_queue(struct integ_chan *ic)
{
	bool within = ic->l.running;

	if (ic->turning) {
		ic->turn_again = true;
		return;
	}
	ic->turning = ic->l.running = true;
	do {
		struct vol_sub **at = &ic->queue;

		ic->turn_again = ic->foreign = ic->stalled = false;
		while (*at && !ic->stalled) {
			ic->stalled = ic->l.budget == 0;
			if (!ic->stalled && !enter(ic, at))
				at = &(*at)->next;
		}
	} while (ic->turn_again && !ic->stalled);
	ic->turning = false;
	ic->l.running = within;
}

/* ---- flush: what memory knows better, then the one below ---- */

static void flush_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;

	integ_piece_end(integ_chan_of(sub), sub, err ? err : integ_piece(sub)->err);
}

static void flush_stored(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct sum_slot *slot = integ_piece(sub)->slot;
	struct integ_chan *ic = integ_chan_of(sub);

	integ_slot_dirty(slot, false);
	if (err) {
		integ_slot_forget(slot);
		integ_piece(sub)->err = err;
	}
	slot->batch = NULL;
	integ_slot_release(slot);
	flush_step(ic, sub);
	integ_turn_queue(ic);
}

/*
 * Who has a slot may write it much later than this flush ends, or only look at it: the flush waits
 * for one that knows something, in the queue.
 */
static void flush_step(struct integ_chan *ic, struct vol_sub *sub)
{
	struct vol_integrity *v = integ_of(ic);
	struct integ_piece *p = integ_piece(sub);

	while (p->first < INTEGRITY_SLOTS) {
		struct sum_slot *slot = &v->slot[p->first];

		if (!integ_slot_knows(slot)) {
			p->first++;
			continue;
		}
		if (!integ_slot_take(ic, slot)) {
			enqueue(ic, sub);
			return;
		}
		p->first++;
		if (integ_slot_knows(slot)) {
			p->slot = slot;
			sub->next = NULL;
			slot->batch = sub;
			integ_store(ic, slot, flush_stored);
			return;
		}
		integ_slot_release(slot);
	}
	integ_send(ic, sub, VOL_FLUSH, 0, NULL, 0, flush_done);
}

/* One that waited for a slot goes on. False: somebody has it still. */
static bool flush_enter(struct integ_chan *ic, struct vol_sub **at)
{
	const struct sum_slot *slot = &integ_of(ic)->slot[integ_piece(*at)->first];
	struct integ_chan *holder = atomic_load_explicit(&slot->holder, memory_order_relaxed);

	if (holder && integ_slot_knows(slot)) {
		ic->foreign |= holder != ic;
		return false;
	}
	flush_step(ic, unlink_at(ic, at));
	return true;
}

/* ---- cutting ---- */

static void read_came(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct integ_chan *ic = integ_chan_of(sub);

	if (err) {
		integ_piece_end(ic, sub, err);
		return;
	}
	enqueue(ic, sub);
	if (ic->l.running)
		ic->turn_again = true;
	else
		integ_turn_queue(ic);
}

/* The next piece of a request, which has left the list if it is the last one. */
static void cut_piece(struct integ_chan *ic, struct vol_io *io, struct vol_sub *sub)
{
	const struct vol_integrity *v = integ_of(ic);
	struct integ_io *s = state(io);
	struct integ_piece *p = integ_piece(sub);
	uint32_t bs = v->geo.block_size;
	uint64_t len;

	*p = (struct integ_piece){ .op = io->op, .block = (io->off + s->pos) / bs, .cur = s->cur };
	sub->up = io;
	sub->chan = &ic->l.c;
	s->below++;
	if (io->op == VOL_FLUSH) {
		(void)vol_fifo_pop(&ic->todo);
		s->pos = io->len;
		flush_step(ic, sub);
		return;
	}
	p->sum = p->block / v->geo.per_sum;
	p->first = (uint32_t)(p->block % v->geo.per_sum);
	p->n = v->geo.per_sum - p->first;
	if (sub->buf && p->n > VOL_POOL_BUF_LEN / bs)
		p->n = VOL_POOL_BUF_LEN / bs;
	if (p->n > (io->len - s->pos) / bs)
		p->n = (uint32_t)((io->len - s->pos) / bs);
	len = (uint64_t)p->n * bs;
	s->pos += len;
	if (s->pos == io->len)
		(void)vol_fifo_pop(&ic->todo);
	if (io->op == VOL_WRITE) {
		assert(sub->buf); // as all transfers have
		vol_cursor_copy(io, &s->cur, sub->buf, len, VOL_GATHER);
		vol_layer_spend(&ic->l, len);
	} else if (io->op == VOL_READ) {
		vol_cursor_skip(io, &s->cur, len);
		integ_send(ic, sub, VOL_READ, vol_sum_block_at(&v->geo, p->block), sub->buf, len,
			read_came);
		return;
	}
	enqueue(ic, sub);
}

/* No more pieces of it: it ends when those below have come back. */
static void cut_short(struct integ_chan *ic, struct vol_io *io, int err)
{
	struct integ_io *s = state(io);

	(void)vol_fifo_pop(&ic->todo);
	s->err = err;
	s->pos = io->len;
	if (s->below == 0)
		vol_io_end(&ic->l.c, io, err);
}

static void cut(struct integ_chan *ic)
{
	while (ic->todo.head && ic->l.budget > 0) {
		struct vol_io *io = ic->todo.head;
		bool data = io->op == VOL_READ || io->op == VOL_WRITE;
		int st = integ_state(integ_of(ic));
		struct vol_sub *sub;

		if (st == INTEG_FAILED || state(io)->err) {
			cut_short(ic, io, st == INTEG_FAILED ? -EIO : state(io)->err);
			continue;
		}
		if (st != INTEG_READY)
			return;
		// It came while the size was still a guess from the one below.
		if (io->off + io->len > integ_of(ic)->l.v.size) {
			cut_short(ic, io, -EINVAL);
			continue;
		}
		sub = vol_layer_get(&ic->l, data ? VOL_WITH_BUF : VOL_NO_BUF);
		if (!sub)
			return;
		cut_piece(ic, io, sub);
	}
}

static void run(struct vol_layer_chan *c)
{
	struct integ_chan *ic = (struct integ_chan *)c;

	cut(ic);
	integ_turn_queue(ic);
}

/* ---- the volume's interface ---- */

/* What waits for the pool, for what it has itself below, or for the header, is not asked for. */
static bool can_cut(const struct integ_chan *ic)
{
	int st = integ_state((const struct vol_integrity *)ic->l.c.v);

	return ic->todo.head && (st == INTEG_READY || st == INTEG_FAILED) &&
	       vol_layer_may_take(&ic->l);
}

static bool more(struct vol_layer_chan *c)
{
	const struct integ_chan *ic = (const struct integ_chan *)c;

	return can_cut(ic) || ic->foreign || ic->stalled;
}

static const struct vol_turns turns = { .run = run, .more = more };

static void integ_submit(struct vol_chan *c, struct vol_io *io)
{
	struct integ_chan *ic = (struct integ_chan *)c;
	struct integ_io *s = state(io);

	*s = (struct integ_io){ 0 };
	if (!vol_layer_begin(c, io, &s->cur))
		return;
	vol_fifo_put(&ic->todo, io);
	vol_layer_submitted(&ic->l, &turns);
}

static unsigned integ_kick(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_kick);
}

static unsigned integ_poll(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_poll);
}

static unsigned integ_wait_us(const struct vol_chan *c)
{
	const struct integ_chan *ic = (const struct integ_chan *)c;
	unsigned us = vol_layer_wait_us(c);

	if (ic->l.push || ic->stalled || can_cut(ic))
		return 0;
	if (ic->foreign && us > FOREIGN_US)
		us = FOREIGN_US;
	if (ic->todo.head && us > OPENING_US && vol_layer_may_take(&ic->l))
		us = OPENING_US;
	return us;
}

static int integ_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct integ_chan *ic = dpu_calloc(1, sizeof(*ic));
	int ret;

	if (!ic)
		return -ENOMEM;
	vol_fifo_init(&ic->todo);
	ic->queue_tail = &ic->queue;
	ret = vol_layer_chan_init(&ic->l, &((struct vol_integrity *)v)->l, &turns, group);
	if (ret) {
		free(ic);
		return ret;
	}
	*out = &ic->l.c;
	return 0;
}

static void integ_chan_close(struct vol_chan *c)
{
	struct integ_chan *ic = (struct integ_chan *)c;

	assert(!ic->queue && !ic->todo.head);
	vol_layer_chan_fini(&ic->l);
	free(ic);
}

const struct vol_ops vol_integrity_ops = {
	.kind = "integrity",
	.close = vol_integrity_close,
	.chan_open = integ_chan_open,
	.chan_close = integ_chan_close,
	.submit = integ_submit,
	.kick = integ_kick,
	.poll = integ_poll,
	.fd = vol_layer_fd,
	.wait_us = integ_wait_us,
	.wear = vol_layer_wear,
	.work = vol_integrity_work,
	.work_stop = vol_integrity_work_stop,
};
