/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind of volume implements, and the parts that all kinds share. Private to nvmeof/. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "vol_compare.h"
#include "vol_pool.h"
#include "vol_qos.h"
#include "volume.h"

struct vol_ops {
	const char *kind;
	void (*close)(struct vol *v); // free v; no channel is open
	int (*resize)(struct vol *v, uint64_t size); // NULL: -ENOTSUP. vol.c publishes the size
	int (*chan_open)(struct vol *v, struct nof_group *group, struct vol_chan **out);
	void (*chan_close)(struct vol_chan *c);
	/* io passed every check of vol.c. Answer through vol_io_end(). */
	void (*submit)(struct vol_chan *c, struct vol_io *io);
	/* All of vol_at_once() passed every check of vol.c. NULL: cannot. */
	void (*at_once)(struct vol_chan *c, unsigned n, const uint64_t *off,
		const struct iovec *data, uint64_t writes);
	unsigned (*kick)(struct vol_chan *c); // NULL: submit answers
	unsigned (*poll)(struct vol_chan *c); // NULL: submit answers
	int (*fd)(const struct vol_chan *c); // NULL: none
	unsigned (*wait_us)(const struct vol_chan *c); // NULL: VOL_WAIT_FD with an fd, else 0
	/* Ask the media. 0, or -ENODATA: it has none, or does not say. NULL: it has none. */
	int (*wear)(struct vol *v, struct vol_wear *out);
	/*
	 * Bytes of a VOL_COMPARE_WRITE that is passed to submit(), 0: it cannot.
	 * VOL_COMPARE_OURS, as NULL: vol.c makes it of a read and a write. Any thread.
	 */
	uint32_t (*compare_max)(const struct vol *v);
	/* Background work: vol_work(), vol_work_stop(). NULL: there never is any. */
	void (*work)(const struct vol *v, struct vol_work *out);
	bool (*work_stop)(struct vol *v);
};

#define VOL_COMPARE_OURS UINT32_MAX

struct vol_counters {
	dpu_counter reads, read_bytes, writes, write_bytes, flushes, discards, zeroes, errors,
		compares, miscompares, compares_lost, delayed, mismatches;
};

/* Latencies of one channel, kept for the next one when it is gone. */
struct vol_lat {
	struct dpu_lat l; // its channel's worker
	struct vol_lat *next;
	bool used; // by a channel that is open
};

/* First member of every kind's volume. */
struct vol {
	/* Fixed after open. */
	const struct vol_ops *ops;
	char name[64];
	uint32_t block_size;
	bool can_erase;
	unsigned depth; // layers, this one and those below

	/* Written by the control thread, read by any; a remote volume may learn them late. */
	_Atomic bool read_only, can_discard, can_zero, volatile_cache;
	_Atomic uint64_t size;
	_Atomic uint32_t opt_io_size;
	_Atomic uint64_t wear; // pre_eol:16 | life_a:16 | life_b:16; 0: nothing is known
	uint32_t lat_every; // the control thread's copy
	bool wear_injected; // it was said, not read. Control thread
	void (*watch)(void *arg); // the control thread; NULL: nobody
	void *watch_arg;
	struct vol_limits limits; // the control thread's copy
	struct vol_qos qos;
	/* Set by any worker, never cleared: what a failed flush lost stays lost. */
	_Atomic bool failed;

	struct vol_compare compare; // workers

	/* Guards the lists and `closed`; never taken on a worker, which only walks `chans`. */
	pthread_mutex_t lock;
	_Atomic(struct vol_chan *) chans;
	struct vol_stats closed; // sums of channels that are gone
	struct vol_lat *lats; // owned
};

/* First member of every kind's channel. */
struct vol_chan {
	struct vol *v; // borrowed: outlives its channels
	_Atomic(struct vol_chan *) next; // written under v->lock
	/* The worker's; any worker may look. Without those that are gated. */
	_Atomic uint32_t inflight;
	struct vol_lat *lat; // the volume's
	struct vol_qos_chan qos;
	struct vol_compare_chan compare;
	struct vol_counters n;
};

/*
 * Fill the shared part: 0, or -EINVAL for a missing or long name, a block size other than 512 and
 * 4096, a size that is 0, above 2^63 or no multiple of the block size.
 */
int vol_init(struct vol *v, const struct vol_ops *ops, const char *name, uint64_t size,
	uint32_t block_size);
void vol_fini(struct vol *v);

/* It changed by itself: whoever watches it hears that. Control thread. */
static inline void vol_tell(const struct vol *v)
{
	if (v->watch)
		v->watch(v->watch_arg);
}

static inline enum dpu_lat_class vol_lat_class(enum vol_op op)
{
	return op == VOL_READ ? DPU_LAT_READ : op == VOL_WRITE ? DPU_LAT_WRITE : DPU_LAT_OTHER;
}

/* It has seen a compare-and-write. Relaxed: why that is enough is in vol_compare.c. */
static inline bool vol_compare_on(const struct vol *v)
{
	return atomic_load_explicit(&v->compare.mode, memory_order_relaxed) != 0;
}

/* 0, or why this request is refused. Any thread. */
int vol_check(const struct vol *v, const struct vol_io *io);

static inline void vol_inflight_add(struct vol_chan *c, uint32_t n)
{
	atomic_store_explicit(&c->inflight,
		atomic_load_explicit(&c->inflight, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Pairs with whoever sees that nothing is left (vol_compare.c), and then what it did. */
static inline void vol_inflight_sub(struct vol_chan *c, uint32_t n)
{
	atomic_store_explicit(&c->inflight,
		atomic_load_explicit(&c->inflight, memory_order_relaxed) - n, memory_order_release);
}

/* Answer a request: count it, then call done. The channel's worker. */
static inline void vol_io_end(struct vol_chan *c, struct vol_io *io, int err)
{
	struct vol_counters *n = &c->n;

	if (__builtin_expect(io->gate == VOL_GATE_NONE, 1))
		vol_inflight_sub(c, 1);
	else if (vol_compare_leave(c, io, err))
		return;
	if (__builtin_expect(err != 0, 0)) {
		vol_compare_count(n, io, err);
		io->done(io, err);
		return;
	}
	if (__builtin_expect(io->since_ns != 0, 0))
		dpu_lat_end(&c->lat->l, vol_lat_class(io->op), io->since_ns, 1);
	switch (io->op) {
	case VOL_READ:
		dpu_counter_add(&n->reads, 1);
		dpu_counter_add(&n->read_bytes, io->len);
		break;
	case VOL_WRITE:
		dpu_counter_add(&n->writes, 1);
		dpu_counter_add(&n->write_bytes, io->len);
		break;
	case VOL_FLUSH:
		dpu_counter_add(&n->flushes, 1);
		break;
	case VOL_DISCARD:
		dpu_counter_add(&n->discards, 1);
		break;
	case VOL_WRITE_ZEROES:
		dpu_counter_add(&n->zeroes, 1);
		break;
	case VOL_COMPARE_WRITE:
		dpu_counter_add(&n->compares, 1);
		break;
	}
	io->done(io, 0);
}
