/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a volume with checksums: vol_integrity.c cuts requests into pieces,
 * vol_integrity_slot.c serves those of one sum block, vol_integrity_open.c has the header.
 * Private to these.
 */
#pragma once

#include <assert.h>

#include "vol_job.h"
#include "vol_layer.h"
#include "vol_sum.h"

#define INTEGRITY_SLOTS 64u
#define FORMAT_DEPTH 4u

struct integ_chan;

/*
 * A sum block in memory. Whoever has taken the slot has its members and its memory for itself; sum
 * blocks whose numbers are the same modulo INTEGRITY_SLOTS share one.
 */
struct sum_slot {
	_Atomic(struct integ_chan *) holder; // NULL: free
	uint64_t sum; // which one is in it; UINT64_MAX: none
	uint8_t *mem; // borrowed: of the volume's memory
	uint8_t *spare; // the same: one block, to look at one
	/*
	 * Memory knows more than what lies below: of some blocks, which sum is right. Whoever has
	 * the slot writes it; a flush looks without having it.
	 */
	_Atomic bool dirty;
	bool fresh; // a block is written that never was before
	struct vol_sub *batch, **batch_tail; // pieces that are served together
	struct vol_sub *at; // settling: this piece,
	uint32_t at_block; // its block
	unsigned below; // pieces whose data are below
	int err;
	uint64_t taken[8]; // bit i: entry i is in the batch
};

enum integ_state { INTEG_CHECK, INTEG_FORMAT, INTEG_READY, INTEG_FAILED };

struct integ_job;

struct integ_transfer {
	struct vol_io io; // first
	struct iovec iov;
	struct integ_job *j; // borrowed: contains this
	uint8_t *buf; // borrowed: of the job's
	bool busy;
};

/* Finds the header, or makes it. */
struct integ_job {
	struct vol_job job; // first
	enum { JOB_ASK, JOB_JUDGE, JOB_ZONES, JOB_FLUSH, JOB_HEADER, JOB_DONE } next;
	unsigned below;
	uint64_t zone; // the next one
	struct integ_transfer w[FORMAT_DEPTH];
	uint8_t *bufs; // owned mapping: FORMAT_DEPTH of VOL_SUM_AREA
	int err; // the first one's
};

/* For the control thread: the size is known, and another than it seemed. */
struct integ_news {
	struct nof_msg msg; // first
	struct vol_integrity *v; // borrowed; NULL: it was closed meanwhile
};

struct vol_integrity {
	struct vol_layer l;
	struct nof_group *control; // borrowed; NULL: nobody is told
	struct integ_news *news; // owned until it is posted; NULL: it was told. Control thread
	bool posted; // the job's, until it has ended
	uint64_t made_for; // bytes below when it was opened
	bool format, overwrite;
	uint8_t want[16]; // UUID; 0: any

	/* The job's until the state is INTEG_READY; fixed then. */
	struct vol_sum_geo geo;
	uint8_t uuid[16];
	uint32_t salt;

	_Atomic int state; // enum integ_state; a release when it changes
	_Atomic int err; // INTEG_FAILED: why
	_Atomic uint64_t done; // INTEG_FORMAT: zones
	struct integ_job job;

	uint8_t *mem; // owned mapping: two blocks of each slot
	size_t mem_len;
	struct sum_slot slot[INTEGRITY_SLOTS];
};

/* ---- of one channel ---- */

struct integ_chan {
	struct vol_layer_chan l;
	struct vol_fifo todo; // requests that are not cut to their end
	struct vol_sub *queue, **queue_tail; // pieces that want a slot
	bool turning, turn_again; // in integ_turn_queue(); l.running is set as well
	bool stalled; // the queue stopped for the budget
	bool foreign; // a piece waits for a slot of another worker
};

/* In vol_io.priv while the request is ours. */
struct integ_io {
	struct vol_io *next; // vol_fifo's
	uint64_t pos; // bytes cut
	struct vol_cursor cur; // there
	unsigned below; // pieces
	int err; // the first one's
};
static_assert(sizeof(struct integ_io) <= VOL_IO_PRIV, "fits the request");
static_assert(offsetof(struct integ_io, next) == 0, "where vol_fifo has it");

/* Of a request, within one sum block; in vol_sub.own. */
struct integ_piece {
	enum vol_op op;
	uint64_t block, sum; // the first block, its sum block
	uint32_t first, n; // entries of the sum block; VOL_FLUSH: first is the next slot
	struct vol_cursor cur; // of `up`
	struct sum_slot *slot; // that it has
	bool again; // read a second time
	int err;
};
static_assert(sizeof(struct integ_piece) <= VOL_SUB_OWN, "fits the sub");

static inline int integ_state(const struct vol_integrity *v)
{
	return atomic_load_explicit(&v->state, memory_order_acquire);
}

static inline struct integ_piece *integ_piece(struct vol_sub *sub)
{
	return (struct integ_piece *)(void *)sub->own;
}

static inline struct integ_chan *integ_chan_of(const struct vol_sub *sub)
{
	return (struct integ_chan *)sub->chan;
}

static inline struct vol_integrity *integ_of(struct integ_chan *ic)
{
	return (struct vol_integrity *)ic->l.c.v;
}

static inline bool integ_slot_take(struct integ_chan *ic, struct sum_slot *slot)
{
	struct integ_chan *free = NULL;

	// The acquire sees what the last holder left in it (integ_slot_release()).
	return atomic_compare_exchange_strong_explicit(
		&slot->holder, &free, ic, memory_order_acquire, memory_order_relaxed);
}

static inline void integ_slot_release(struct sum_slot *slot)
{
	atomic_store_explicit(&slot->holder, NULL, memory_order_release);
}

/* False: what it knew lies below. Pairs with the acquire of integ_slot_knows(). */
static inline void integ_slot_dirty(struct sum_slot *slot, bool dirty)
{
	atomic_store_explicit(&slot->dirty, dirty, memory_order_release);
}

static inline bool integ_slot_knows(const struct sum_slot *slot)
{
	return atomic_load_explicit(&slot->dirty, memory_order_acquire);
}

/* What is in memory is not what is below, or nobody knows what is. */
static inline void integ_slot_forget(struct sum_slot *slot)
{
	slot->sum = UINT64_MAX;
	integ_slot_dirty(slot, false);
}

/* ---- vol_integrity.c ---- */
void integ_piece_end(struct integ_chan *ic, struct vol_sub *sub, int err);
/* Pieces that wait look for their slots again. */
void integ_turn_queue(struct integ_chan *ic);

/* ---- vol_integrity_slot.c ---- */
/* The slot is taken and has a batch: serve it. It is free afterwards, when that is answered. */
void integ_slot_begin(struct integ_chan *ic, struct sum_slot *slot);
/* A piece lends its request for a transfer below. */
void integ_send(struct integ_chan *ic, struct vol_sub *sub, enum vol_op op, uint64_t off, void *p,
	uint64_t len, void (*done)(struct vol_io *io, int err));
/* Write the slot's sum block, by the request of the first of its batch. */
void integ_store(
	struct integ_chan *ic, struct sum_slot *slot, void (*then)(struct vol_io *io, int err));

/* vol_integrity_open.c: the job's steps. */
enum vol_job_next vol_integrity_step(struct vol_job *j);
extern const struct vol_ops vol_integrity_ops; // vol_integrity.c
void vol_integrity_close(struct vol *v);
void vol_integrity_work(const struct vol *v, struct vol_work *out);
bool vol_integrity_work_stop(struct vol *v);
