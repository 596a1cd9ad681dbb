// SPDX-License-Identifier: Apache-2.0
/*
 * What is done for the pieces that share a sum block: it is read, what was read is verified against
 * it, what is written goes down after it says so (ADR-0016).
 */
#include "vol_integrity.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void loaded(struct integ_chan *ic, struct sum_slot *slot);
static void settle(struct integ_chan *ic, struct sum_slot *slot);

/* Everybody of the batch is done with it. */
static void finish(struct integ_chan *ic, struct sum_slot *slot, int err)
{
	struct vol_sub *sub = slot->batch, *next;

	slot->batch = NULL;
	integ_slot_release(slot);
	for (; sub; sub = next) {
		next = sub->next;
		integ_piece_end(ic, sub, err ? err : integ_piece(sub)->err);
	}
	integ_turn_queue(ic);
}

/* The first of the batch lends its request for something of the slot's. */
void integ_send(struct integ_chan *ic, struct vol_sub *sub, enum vol_op op, uint64_t off, void *p,
	uint64_t len, void (*done)(struct vol_io *io, int err))
{
	// A cache below may be heard of late; nothing may be stable there before its sums are.
	bool sync = integ_of(ic)->l.lower->volatile_cache;

	assert(sub->iov);
	sub->iov[0] = (struct iovec){ p, len };
	vol_sub_begin(sub, sub->chan, sub->up, done);
	sub->io.op = op;
	sub->io.fua = op == VOL_WRITE && (sync || sub->up->fua);
	sub->io.erase = op == VOL_WRITE_ZEROES;
	sub->io.off = off;
	sub->io.len = len;
	sub->io.iov = sub->iov;
	sub->io.n_iov = p ? 1 : 0;
	vol_layer_send(&ic->l, ic->l.lower, sub);
}

void integ_store(
	struct integ_chan *ic, struct sum_slot *slot, void (*then)(struct vol_io *io, int err))
{
	const struct vol_integrity *v = integ_of(ic);

	vol_sum_close(&v->geo, v->salt, slot->mem);
	integ_send(ic, slot->batch, VOL_WRITE, vol_sum_at(&v->geo, slot->sum), slot->mem,
		v->geo.block_size, then);
}

static void load_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct integ_chan *ic = integ_chan_of(sub);
	const struct vol_integrity *v = integ_of(ic);
	struct sum_slot *slot = integ_piece(sub)->slot;

	if (!err && !vol_sum_check(&v->geo, v->salt, integ_piece(sub)->sum, slot->mem)) {
		dpu_counter_add(&ic->l.c.n.mismatches, 1);
		err = -EIO;
	}
	if (err) {
		finish(ic, slot, err);
		return;
	}
	slot->sum = integ_piece(sub)->sum;
	loaded(ic, slot);
}

static void load(struct integ_chan *ic, struct sum_slot *slot)
{
	const struct vol_integrity *v = integ_of(ic);

	integ_slot_forget(slot);
	integ_send(ic, slot->batch, VOL_READ, vol_sum_at(&v->geo, integ_piece(slot->batch)->sum),
		slot->mem, v->geo.block_size, load_done);
}

/* Whether it could be written or not: what is below is valid, and only less exact. */
static void evicted(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;

	(void)err;
	load(integ_chan_of(sub), integ_piece(sub)->slot);
}

/* The slot has its batch: get the sum block into it. */
void integ_slot_begin(struct integ_chan *ic, struct sum_slot *slot)
{
	if (slot->sum == integ_piece(slot->batch)->sum)
		loaded(ic, slot);
	else if (integ_slot_knows(slot))
		integ_store(ic, slot, evicted);
	else
		load(ic, slot);
}

/* ---- reads ---- */

static void reread_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;

	if (err)
		finish(integ_chan_of(sub), integ_piece(sub)->slot, err);
	else
		loaded(integ_chan_of(sub), integ_piece(sub)->slot);
}

/*
 * The buffer against the sums, block by block to the guest. One that does not fit may have been
 * written meanwhile: it is read once more, while nobody can.
 */
static void verify(struct integ_chan *ic, struct sum_slot *slot)
{
	const struct vol_integrity *v = integ_of(ic);
	struct vol_sub *sub = slot->batch;
	struct integ_piece *p = integ_piece(sub);
	struct vol_cursor cur = p->cur;
	uint32_t bs = v->geo.block_size;
	int err = 0;

	vol_layer_spend(&ic->l, (uint64_t)p->n * bs);
	for (uint32_t i = 0; i < p->n; i++) {
		const struct vol_sum_entry *e = vol_sum_entry_at(slot->mem, p->first + i);
		uint32_t a = dpu_le32_get(e->a), b = dpu_le32_get(e->b), sum;
		uint8_t *block = (uint8_t *)sub->buf + (size_t)i * bs;

		sum = a || b ? vol_sum_of(v->salt, p->block + i, block, bs) : 0;
		if (sum != a && sum != b) {
			if (a && !p->again) {
				p->again = true;
				integ_send(ic, sub, VOL_READ, vol_sum_block_at(&v->geo, p->block),
					sub->buf, (uint64_t)p->n * bs, reread_done);
				return;
			}
			dpu_counter_add(&ic->l.c.n.mismatches, a != 0);
			err = a ? -EIO : err;
			sum = 0;
		}
		if (sum == 0) // never written, or not to its end
			memset(block, 0, bs);
		vol_cursor_copy(sub->up, &cur, block, bs, VOL_SCATTER);
	}
	finish(ic, slot, err);
}

/* ---- writes ---- */

static void data_all(struct integ_chan *ic, struct sum_slot *slot);

static void data_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct integ_piece *p = integ_piece(sub);
	struct sum_slot *slot = p->slot;

	p->err = err;
	for (uint32_t i = 0; !err && p->op == VOL_WRITE && i < p->n; i++) {
		struct vol_sum_entry *e = vol_sum_entry_at(slot->mem, p->first + i);

		e->a = e->b; // that is what lies there now
		integ_slot_dirty(slot, true);
	}
	if (--slot->below == 0)
		data_all(integ_chan_of(sub), slot);
}

/* The sum block says what comes: now the blocks themselves. */
static void send_data(struct integ_chan *ic, struct vol_sub *sub)
{
	const struct vol_integrity *v = integ_of(ic);
	struct integ_piece *p = integ_piece(sub);
	uint64_t at = vol_sum_block_at(&v->geo, p->block);
	uint64_t len = (uint64_t)p->n * v->geo.block_size;
	bool can_discard = v->l.lower->can_discard;

	if (p->op == VOL_WRITE)
		integ_send(ic, sub, VOL_WRITE, at, sub->buf, len, data_done);
	else if (sub->up->erase)
		integ_send(ic, sub, VOL_WRITE_ZEROES, at, NULL, len, data_done);
	else if (can_discard && (p->op == VOL_DISCARD || sub->up->unmap))
		integ_send(ic, sub, VOL_DISCARD, at, NULL, len, data_done);
	else
		data_done(&sub->io, 0);
}

static void stored(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io, *next;
	struct sum_slot *slot = integ_piece(sub)->slot;
	struct integ_chan *ic = integ_chan_of(sub);

	integ_slot_dirty(slot, false);
	if (err) {
		integ_slot_forget(slot);
		finish(ic, slot, err);
		return;
	}
	slot->below = 1; // until all are sent
	for (sub = slot->batch; sub; sub = next) {
		next = sub->next;
		if (integ_piece(sub)->err)
			continue;
		slot->below++;
		send_data(ic, sub);
	}
	if (--slot->below == 0)
		data_all(ic, slot);
}

static void fresh_stored(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct sum_slot *slot = integ_piece(sub)->slot;

	integ_slot_dirty(slot, false);
	if (err)
		integ_slot_forget(slot);
	finish(integ_chan_of(sub), slot, err);
}

/*
 * A block that had never been written would read as zeros if it lost its data before its sum block
 * says that they are there: not before that is the guest told.
 */
static void data_all(struct integ_chan *ic, struct sum_slot *slot)
{
	if (slot->fresh && integ_slot_knows(slot))
		integ_store(ic, slot, fresh_stored);
	else
		finish(ic, slot, 0);
}

static void apply(struct integ_chan *ic, struct sum_slot *slot)
{
	const struct vol_integrity *v = integ_of(ic);
	uint32_t bs = v->geo.block_size;
	bool any = false;

	slot->fresh = false;
	for (struct vol_sub *sub = slot->batch; sub; sub = sub->next) {
		struct integ_piece *p = integ_piece(sub);

		any |= !p->err;
		for (uint32_t i = 0; !p->err && i < p->n; i++) {
			struct vol_sum_entry *e = vol_sum_entry_at(slot->mem, p->first + i);

			if (p->op != VOL_WRITE) {
				*e = (struct vol_sum_entry){ 0 };
				continue;
			}
			slot->fresh |= dpu_le32_get(e->a) == 0;
			e->b = dpu_le32_put(vol_sum_of(
				v->salt, p->block + i, (uint8_t *)sub->buf + (size_t)i * bs, bs));
		}
	}
	if (any)
		integ_store(ic, slot, stored);
	else
		finish(ic, slot, 0);
}

/*
 * Which of two sums a block has that was being written when somebody died, or that failed. One that
 * cannot be read keeps both, and its piece fails; the others of the batch go on.
 */
static void settled_one(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct integ_chan *ic = integ_chan_of(sub);
	const struct vol_integrity *v = integ_of(ic);
	struct sum_slot *slot = integ_piece(sub)->slot;
	struct integ_piece *p = integ_piece(slot->at);
	struct vol_sum_entry *e = vol_sum_entry_at(slot->mem, p->first + slot->at_block);
	uint32_t sum;

	if (err) {
		p->err = err;
		slot->at = slot->at->next;
		slot->at_block = 0;
		settle(ic, slot);
		return;
	}
	sum = vol_sum_of(v->salt, p->block + slot->at_block, slot->spare, v->geo.block_size);
	if (sum && sum == dpu_le32_get(e->b))
		e->a = e->b;
	else // the old one, or neither: then there is nothing to be kept
		e->b = e->a;
	slot->at_block++;
	settle(ic, slot);
}

/* An entry has room for two sums only: where there are two already, one of them goes first. */
static void settle(struct integ_chan *ic, struct sum_slot *slot)
{
	const struct vol_integrity *v = integ_of(ic);

	for (; slot->at; slot->at = slot->at->next, slot->at_block = 0) {
		const struct integ_piece *p = integ_piece(slot->at);

		for (; p->op == VOL_WRITE && slot->at_block < p->n; slot->at_block++) {
			const struct vol_sum_entry *e = vol_sum_entry_at(
				slot->mem, p->first + slot->at_block);

			if (!memcmp(&e->a, &e->b, sizeof(e->a)))
				continue;
			integ_send(ic, slot->batch, VOL_READ,
				vol_sum_block_at(&v->geo, p->block + slot->at_block), slot->spare,
				v->geo.block_size, settled_one);
			return;
		}
	}
	apply(ic, slot);
}

static void loaded(struct integ_chan *ic, struct sum_slot *slot)
{
	if (integ_piece(slot->batch)->op == VOL_READ) {
		verify(ic, slot);
		return;
	}
	slot->at = slot->batch;
	slot->at_block = 0;
	settle(ic, slot);
}
