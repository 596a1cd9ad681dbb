// SPDX-License-Identifier: Apache-2.0
/* Volumes of every kind: checks, counters and dispatch. */
#include "vol_priv.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "group.h"

#define AT_ONCE_BYTES (128U << 10) // of one transfer
/* Requests, and about so many bytes, that had to wait and go down in one call. */
#define LIMITED_RUN 32u
#define LIMITED_BYTES (1U << 20)

int vol_init(struct vol *v, const struct vol_ops *ops, const char *name, uint64_t size,
	uint32_t block_size)
{
	if (!name || !name[0] || strlen(name) >= sizeof(v->name))
		return -EINVAL;
	if (block_size != 512 && block_size != 4096)
		return -EINVAL;
	if (size == 0 || size > INT64_MAX || size % block_size != 0)
		return -EINVAL;
	v->ops = ops;
	memcpy(v->name, name, strlen(name) + 1);
	v->block_size = block_size;
	v->lat_every = DPU_LAT_EVERY;
	atomic_init(&v->size, size);
	atomic_init(&v->failed, false);
	atomic_init(&v->wear, 0);
	vol_compare_init(&v->compare);
	return -pthread_mutex_init(&v->lock, NULL);
}

void vol_fini(struct vol *v)
{
	assert(!v->chans);
	for (struct vol_lat *l = v->lats, *next; l; l = next) {
		next = l->next;
		free(l);
	}
	pthread_mutex_destroy(&v->lock);
}

void vol_close(struct vol *v)
{
	if (v)
		v->ops->close(v);
}

void vol_work(const struct vol *v, struct vol_work *out)
{
	*out = (struct vol_work){ 0 };
	if (v->ops->work)
		v->ops->work(v, out);
}

bool vol_work_stop(struct vol *v)
{
	return !v->ops->work_stop || v->ops->work_stop(v);
}

int vol_resize(struct vol *v, uint64_t size)
{
	int ret;

	if (!v->ops->resize)
		return -ENOTSUP;
	if (size == 0 || size > INT64_MAX || size % v->block_size != 0)
		return -EINVAL;
	if (v->read_only)
		return -EROFS;
	uint64_t old = atomic_load_explicit(&v->size, memory_order_relaxed);

	// New requests beyond a shrunk end are refused before the blocks go.
	if (size < old)
		atomic_store_explicit(&v->size, size, memory_order_release);
	ret = v->ops->resize(v, size);
	atomic_store_explicit(&v->size, ret < 0 ? old : size, memory_order_release);
	return ret;
}

void vol_limits_set(struct vol *v, const struct vol_limits *l)
{
	v->limits = *l;
	vol_qos_set(&v->qos, l);
}

void vol_limits(const struct vol *v, struct vol_limits *out)
{
	*out = v->limits;
}

static void publish_wear(struct vol *v, const struct vol_wear *w)
{
	atomic_store_explicit(&v->wear,
		(uint64_t)w->pre_eol | (uint64_t)w->life_a << 16 | (uint64_t)w->life_b << 32,
		memory_order_relaxed);
}

void vol_wear_refresh(struct vol *v)
{
	struct vol_wear w = { 0 };

	if (v->wear_injected)
		return;
	if (v->ops->wear && v->ops->wear(v, &w))
		w = (struct vol_wear){ 0 };
	publish_wear(v, &w);
}

int vol_wear_set(struct vol *v, const struct vol_wear *w)
{
	if (w->pre_eol > VOL_PRE_EOL_MAX || w->life_a > VOL_LIFE_MAX || w->life_b > VOL_LIFE_MAX)
		return -EINVAL;
	v->wear_injected = w->pre_eol || w->life_a || w->life_b;
	if (v->wear_injected)
		publish_wear(v, w);
	else
		vol_wear_refresh(v);
	return 0;
}

bool vol_wear(const struct vol *v, struct vol_wear *out)
{
	uint64_t w = atomic_load_explicit(&v->wear, memory_order_relaxed);

	*out = (struct vol_wear){ (uint16_t)w, (uint16_t)(w >> 16), (uint16_t)(w >> 32) };
	return w != 0;
}

void vol_watch(struct vol *v, void (*fn)(void *arg), void *arg)
{
	v->watch = fn;
	v->watch_arg = arg;
}

void vol_info(const struct vol *v, struct vol_info *out)
{
	*out = (struct vol_info){
		.name = v->name,
		.kind = v->ops->kind,
		.size = atomic_load_explicit(&v->size, memory_order_acquire),
		.block_size = v->block_size,
		.opt_io_size = v->opt_io_size,
		.compare_max = vol_compare_max(v),
		.read_only = v->read_only,
		.can_discard = v->can_discard,
		.can_zero = v->can_zero,
		.can_erase = v->can_erase,
		.volatile_cache = v->volatile_cache,
		.at_once = v->ops->at_once != NULL,
		.failed = atomic_load_explicit(&v->failed, memory_order_relaxed),
	};
	(void)vol_wear(v, &out->wear);
}

static void add_counters(struct vol_stats *sum, const struct vol_counters *n)
{
	sum->reads += dpu_counter_read(&n->reads);
	sum->read_bytes += dpu_counter_read(&n->read_bytes);
	sum->writes += dpu_counter_read(&n->writes);
	sum->write_bytes += dpu_counter_read(&n->write_bytes);
	sum->flushes += dpu_counter_read(&n->flushes);
	sum->discards += dpu_counter_read(&n->discards);
	sum->zeroes += dpu_counter_read(&n->zeroes);
	sum->errors += dpu_counter_read(&n->errors);
	sum->compares += dpu_counter_read(&n->compares);
	sum->miscompares += dpu_counter_read(&n->miscompares);
	sum->compares_lost += dpu_counter_read(&n->compares_lost);
	sum->delayed += dpu_counter_read(&n->delayed);
	sum->mismatches += dpu_counter_read(&n->mismatches);
}

void vol_stats(const struct vol *cv, struct vol_stats *out)
{
	struct vol *v = (struct vol *)(uintptr_t)cv; // the lock is no part of its value

	pthread_mutex_lock(&v->lock);
	*out = v->closed;
	for (const struct vol_chan *c = v->chans; c; c = c->next)
		add_counters(out, &c->n);
	pthread_mutex_unlock(&v->lock);
}

void vol_latency_set(struct vol *v, uint32_t every)
{
	v->lat_every = every;
	for (struct vol_lat *l = v->lats; l; l = l->next)
		dpu_lat_set(&l->l, every);
}

uint32_t vol_latency_every(const struct vol *v)
{
	return v->lat_every;
}

void vol_latency(const struct vol *cv, struct dpu_hist_sum out[DPU_LAT_CLASSES])
{
	struct vol *v = (struct vol *)(uintptr_t)cv; // the lock is no part of its value

	pthread_mutex_lock(&v->lock);
	for (const struct vol_lat *l = v->lats; l; l = l->next)
		dpu_lat_collect(out, &l->l);
	pthread_mutex_unlock(&v->lock);
}

/* One that no channel has, or a new one: it goes on where another ended. NULL: no memory. */
static struct vol_lat *lat_get(struct vol *v)
{
	struct vol_lat *l;

	pthread_mutex_lock(&v->lock);
	for (l = v->lats; l && l->used; l = l->next)
		;
	if (!l) {
		l = dpu_calloc(1, sizeof(*l));
		if (l) {
			dpu_lat_set(&l->l, v->lat_every);
			l->next = v->lats;
			v->lats = l;
		}
	}
	if (l)
		l->used = true;
	pthread_mutex_unlock(&v->lock);
	return l;
}

int vol_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct vol_chan *c;
	struct vol_lat *lat = lat_get(v);
	int ret = lat ? v->ops->chan_open(v, group, &c) : -ENOMEM;

	if (ret < 0 && lat)
		lat->used = false;
	if (ret < 0)
		return ret;
	c->v = v;
	c->lat = lat;
	vol_compare_chan_init(c, group ? nof_group_pool(group) : NULL);
	pthread_mutex_lock(&v->lock);
	atomic_store_explicit(&c->next, v->chans, memory_order_relaxed);
	v->chans = c;
	pthread_mutex_unlock(&v->lock);
	*out = c;
	return 0;
}

void vol_chan_close(struct vol_chan *c)
{
	if (!c)
		return;
	struct vol *v = c->v;

	pthread_mutex_lock(&v->lock);
	for (_Atomic(struct vol_chan *) *p = &v->chans; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	while (v->compare.walkers) // one of them may be at c
		sched_yield();
	add_counters(&v->closed, &c->n);
	c->lat->used = false;
	pthread_mutex_unlock(&v->lock);
	v->ops->chan_close(c);
}

/* The one place where ranges are judged, for every kind. */
int vol_check(const struct vol *v, const struct vol_io *io)
{
	uint64_t size = atomic_load_explicit(&v->size, memory_order_acquire);

	if (io->op == VOL_FLUSH) {
		// The kernel forgets pages that it could not write, and a second fsync succeeds.
		return atomic_load_explicit(&v->failed, memory_order_relaxed) ? -EIO : 0;
	}
	if (io->op != VOL_READ && v->read_only)
		return -EROFS;
	if (io->len == 0 || ((io->off | io->len) & (v->block_size - 1)) != 0)
		return -EINVAL;
	if (io->off > size || io->len > size - io->off)
		return -EINVAL;
	if (io->op == VOL_DISCARD && !v->can_discard)
		return -ENOTSUP;
	if (io->op == VOL_WRITE_ZEROES && !(io->erase ? v->can_erase : v->can_zero))
		return -ENOTSUP;
	return io->op == VOL_COMPARE_WRITE ? vol_compare_check(v, io) : 0;
}

/* What was checked, and the limits allow: down, or to where writes wait for one another. */
static inline void go(struct vol_chan *c, struct vol_io *io)
{
	if (__builtin_expect(io->gate != VOL_GATE_NONE, 0))
		vol_compare_go(c, io);
	else
		c->v->ops->submit(c, io);
}

/*
 * Send down what waited, as the limits allow or all of it, and not too much in one call. The volume
 * may have shrunk meanwhile.
 */
static unsigned run_limited(
	struct vol_chan *c, struct vol_io *(*take)(struct vol_qos *q, struct vol_qos_chan *c))
{
	uint64_t bytes = 0;
	unsigned n = 0;

	while (n < LIMITED_RUN && bytes < LIMITED_BYTES) {
		struct vol_io *io = take(&c->v->qos, &c->qos);
		int err;

		if (!io)
			break;
		n++;
		bytes += io->len;
		err = vol_check(c->v, io);
		if (vol_compare_on(c->v))
			vol_compare_note(c, io);
		if (err < 0)
			vol_io_end(c, io, err == -EINVAL ? -EIO : err);
		else
			go(c, io);
	}
	return n;
}

static void submit_limited(struct vol_chan *c, struct vol_io *io)
{
	bool first = c->qos.n == 0;

	vol_qos_put(&c->qos, io);
	if (first)
		run_limited(c, vol_qos_take);
	if (c->qos.n > 0)
		dpu_counter_add(&c->n.delayed, 1);
}

void vol_submit(struct vol_chan *c, struct vol_io *io)
{
	int err = vol_check(c->v, io);

	vol_inflight_add(c, 1);
	io->gate = VOL_GATE_NONE;
	atomic_signal_fence(memory_order_seq_cst); // counted, then looked: vol_compare.c
	if (__builtin_expect(vol_compare_on(c->v) || io->op == VOL_COMPARE_WRITE, 0))
		vol_compare_note(c, io);
	io->since_ns = dpu_lat_begin(&c->lat->l);
	if (err < 0)
		vol_io_end(c, io, err);
	else if (__builtin_expect(vol_qos_limited(&c->v->qos) || c->qos.n > 0, 0))
		submit_limited(c, io);
	else
		go(c, io);
}

void vol_chan_drain(struct vol_chan *c)
{
	if (c->qos.n > 0)
		run_limited(c, vol_qos_force);
	if (c->compare.n > 0)
		vol_compare_poll(c);
	if (c->v->ops->kick)
		c->v->ops->kick(c);
}

/* Bytes of the requests that write. */
static uint64_t bytes_of(const struct iovec *data, uint64_t writes)
{
	uint64_t bytes = 0;

	for (; writes; writes &= writes - 1)
		bytes += data[__builtin_ctzll(writes)].iov_len;
	return bytes;
}

/* A burst of writes is in flight. False: it is not, it has to be looked at one by one. */
static bool write_begins(struct vol_chan *c)
{
	vol_inflight_add(c, 1);
	atomic_signal_fence(memory_order_seq_cst); // counted, then looked: vol_compare.c
	if (__builtin_expect(!vol_compare_on(c->v), 1))
		return true;
	vol_inflight_sub(c, 1);
	return false;
}

bool vol_at_once(struct vol_chan *c, unsigned n, const uint64_t *off, const struct iovec *data,
	uint64_t writes)
{
	struct vol *v = c->v;
	uint64_t size = atomic_load_explicit(&v->size, memory_order_acquire);
	uint64_t unaligned = v->block_size - 1, bytes = 0, written = 0, since;
	unsigned n_writes = 0;

	if (!v->ops->at_once || n > 64 || vol_qos_limited(&v->qos) || c->qos.n > 0)
		return false;
	if (n < 64)
		writes &= (1ULL << n) - 1;
	if (writes && v->read_only)
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = off[i], len = data[i].iov_len;

		if (len - 1 >= AT_ONCE_BYTES || ((at | len) & unaligned) != 0)
			return false;
		if (at > size || len > size - at)
			return false;
		bytes += len;
	}
	if (writes && !write_begins(c))
		return false;
	since = dpu_lat_begin(&c->lat->l);
	v->ops->at_once(c, n, off, data, writes);
	if (writes)
		vol_inflight_sub(c, 1);
	if (writes) {
		n_writes = (unsigned)__builtin_popcountll(writes);
		written = bytes_of(data, writes);
		dpu_counter_add(&c->n.writes, n_writes);
		dpu_counter_add(&c->n.write_bytes, written);
	}
	dpu_counter_add(&c->n.reads, n - n_writes);
	dpu_counter_add(&c->n.read_bytes, bytes - written);
	if (__builtin_expect(since != 0, 0)) { // all of them were done when the last one was
		dpu_lat_end(&c->lat->l, DPU_LAT_READ, since, n - n_writes);
		dpu_lat_end(&c->lat->l, DPU_LAT_WRITE, since, n_writes);
	}
	return true;
}

/* What waited here and goes down now. */
static unsigned run_waiting(struct vol_chan *c)
{
	unsigned n = c->qos.n > 0 ? run_limited(c, vol_qos_take) : 0;

	return c->compare.n > 0 ? n + vol_compare_poll(c) : n;
}

unsigned vol_chan_kick(struct vol_chan *c)
{
	unsigned n = run_waiting(c);

	return c->v->ops->kick ? n + c->v->ops->kick(c) : n;
}

unsigned vol_chan_poll(struct vol_chan *c)
{
	unsigned n = run_waiting(c);

	if (n > 0 && c->v->ops->kick)
		n += c->v->ops->kick(c);
	return c->v->ops->poll ? n + c->v->ops->poll(c) : n;
}

int vol_chan_fd(const struct vol_chan *c)
{
	return c->v->ops->fd ? c->v->ops->fd(c) : -1;
}

unsigned vol_chan_wait_us(const struct vol_chan *c)
{
	unsigned us = c->v->ops->fd ? VOL_WAIT_FD : 0, limit = VOL_WAIT_FD;

	if (c->v->ops->wait_us)
		us = c->v->ops->wait_us(c);
	if (c->qos.n == 0 && c->compare.n == 0)
		return us;
	if (c->qos.n > 0)
		limit = vol_qos_wait_us(&c->v->qos, &c->qos);
	if (c->compare.n > 0 && limit > VOL_COMPARE_US)
		limit = VOL_COMPARE_US;
	// Nothing is below that wants to be polled?
	if (us == 0 && c->qos.n + c->compare.n == vol_chan_inflight(c))
		return limit;
	return us < limit ? us : limit;
}

unsigned vol_chan_inflight(const struct vol_chan *c)
{
	return atomic_load_explicit(&c->inflight, memory_order_relaxed) + c->compare.gated;
}
