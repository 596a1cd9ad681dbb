// SPDX-License-Identifier: Apache-2.0
/* Drawing from the buckets of a volume's limits. */
#include "vol_qos.h"

#include "dpu_clock.h"

#define NS 1000000000ULL
#define FRACTION 20 // bits of a ns in a cost
#define DEBT_MAX_NS (3600 * NS) // of one request: an hour

static uint64_t cost_of(uint64_t per_sec)
{
	return per_sec ? ((NS << FRACTION) + per_sec - 1) / per_sec : 0;
}

void vol_qos_set(struct vol_qos *q, const struct vol_limits *l)
{
	const uint64_t rate[VOL_BUCKETS] = { l->rw_ios, l->r_ios, l->w_ios, l->rw_bytes, l->r_bytes,
		l->w_bytes };
	bool limited = false;

	for (unsigned i = 0; i < VOL_BUCKETS; i++) {
		atomic_store_explicit(&q->cost[i], cost_of(rate[i]), memory_order_relaxed);
		atomic_store_explicit(&q->full_ns[i], 0, memory_order_relaxed);
		limited |= rate[i] != 0;
	}
	atomic_store_explicit(&q->burst_ns, l->burst_ms * 1000000ULL, memory_order_relaxed);
	// Whoever sees the new number sees the new limits.
	atomic_fetch_add_explicit(&q->gen, 1, memory_order_release);
	atomic_store_explicit(&q->limited, limited, memory_order_release);
}

/* Take n from a bucket; returns when that was there. */
static uint64_t draw(struct vol_qos *q, enum vol_bucket b, uint64_t n, uint64_t now)
{
	uint64_t cost = atomic_load_explicit(&q->cost[b], memory_order_relaxed);
	uint64_t burst = atomic_load_explicit(&q->burst_ns, memory_order_relaxed);
	uint64_t full = atomic_load_explicit(&q->full_ns[b], memory_order_relaxed), from, ns;
	unsigned __int128 product;

	if (!cost || !n)
		return 0;
	product = (unsigned __int128)cost * n >> FRACTION;
	ns = product > DEBT_MAX_NS ? DEBT_MAX_NS : (uint64_t)product;
	do
		from = full > now ? full : now;
	while (!atomic_compare_exchange_weak_explicit(
		&q->full_ns[b], &full, from + ns, memory_order_relaxed, memory_order_relaxed));
	return from > burst ? from - burst : 0;
}

static uint64_t draw_all(struct vol_qos *q, const struct vol_io *io)
{
	bool read = io->op == VOL_READ;
	bool moves = read || io->op == VOL_WRITE || io->op == VOL_WRITE_ZEROES ||
		     io->op == VOL_COMPARE_WRITE;
	uint64_t bytes = moves ? io->len : 0, now = dpu_now_ns(), due, t;

	due = draw(q, VOL_BUCKET_RW_IOS, 1, now);
	t = draw(q, read ? VOL_BUCKET_R_IOS : VOL_BUCKET_W_IOS, 1, now);
	due = t > due ? t : due;
	t = draw(q, VOL_BUCKET_RW_BYTES, bytes, now);
	due = t > due ? t : due;
	t = draw(q, read ? VOL_BUCKET_R_BYTES : VOL_BUCKET_W_BYTES, bytes, now);
	return t > due ? t : due;
}

void vol_qos_put(struct vol_qos_chan *c, struct vol_io *io)
{
	if (c->n++ == 0)
		vol_fifo_init(&c->waiting);
	vol_fifo_put(&c->waiting, io);
}

static struct vol_io *pop(struct vol_qos_chan *c)
{
	c->drawn = false;
	c->n--;
	return vol_fifo_pop(&c->waiting);
}

static void draw_for_head(struct vol_qos *q, struct vol_qos_chan *c)
{
	unsigned gen = atomic_load_explicit(&q->gen, memory_order_acquire);

	if (c->drawn && c->gen == gen)
		return;
	c->gen = gen;
	c->drawn = true;
	// What does not touch the media is not limited, and not in front of what does.
	c->due_ns = c->waiting.head->op == VOL_FLUSH ? 0 : draw_all(q, c->waiting.head);
}

struct vol_io *vol_qos_take(struct vol_qos *q, struct vol_qos_chan *c)
{
	if (c->n == 0)
		return NULL;
	draw_for_head(q, c);
	return c->due_ns <= dpu_now_ns() ? pop(c) : NULL;
}

struct vol_io *vol_qos_force(struct vol_qos *q, struct vol_qos_chan *c)
{
	if (c->n == 0)
		return NULL;
	draw_for_head(q, c);
	return pop(c);
}

unsigned vol_qos_wait_us(const struct vol_qos *q, const struct vol_qos_chan *c)
{
	uint64_t now = dpu_now_ns(), us;

	if (!c->drawn || c->gen != atomic_load_explicit(&q->gen, memory_order_acquire) ||
		c->due_ns <= now)
		return 1;
	us = (c->due_ns - now + 999) / 1000;
	return us > UINT32_MAX - 1 ? UINT32_MAX - 1 : (unsigned)us;
}
