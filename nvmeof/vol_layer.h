/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume on top of another one. Its channels have a channel of the lower volume each; a request
 * goes down as one or more requests out of the group's pool (vol_pool.h).
 *
 * A channel of a layer keeps its requests in lists, and run() takes from them what the budget of
 * the call allows: in a submit, in a turn (kick, poll), and when something came back to the pool
 * that it waits for. Nothing of that nests: whoever finds it running leaves it at that. What went
 * down since the last turn is pushed by the next one.
 */
#pragma once

#include <errno.h>

#include "vol_cursor.h"
#include "vol_fifo.h"
#include "vol_pool.h"
#include "vol_priv.h"

/* What a layer has or does by itself, whatever is below it. */
enum vol_layer_own { VOL_OWN_SIZE = 1, VOL_OWN_ZERO = 2, VOL_OWN_DISCARD = 4 };

/* First member of every layer's volume. */
struct vol_layer {
	struct vol v;
	struct vol *lower; // borrowed: outlives this one, and nobody else opens channels of it
	unsigned own; // enum vol_layer_own
};

struct vol_layer_chan;

/* What a kind of layer does in its calls. */
struct vol_turns {
	/* What the lists have and c->budget allows, until the pool has no more. */
	void (*run)(struct vol_layer_chan *c);
	/* run() would find something now; what waits for the pool does not count. */
	bool (*more)(struct vol_layer_chan *c);
	/* Kick or poll what is below. NULL: c->lower. */
	unsigned (*each)(struct vol_layer_chan *c, unsigned (*below)(struct vol_chan *lower));
};

#define VOL_SUBMIT_BUDGET (256u << 10) // bytes that one submit may work on
#define VOL_TURN_BUDGET (1u << 20) // one kick or poll

/* First member of every layer's channel. */
struct vol_layer_chan {
	struct vol_chan c;
	struct vol_chan *lower; // owned; NULL: it has several
	const struct vol_turns *turns;
	struct vol_pool *pool; // borrowed: the group's
	struct vol_held held; // of the pool
	struct vol_waiter waiter;
	uint32_t budget; // bytes that this call may still work on
	bool running; // in run(): what comes back is seen there
	bool push; // something went down since the last turn
};

/* The segments of a read or write are as long as it is. */
static inline bool vol_iov_sums(const struct vol_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->n_iov; i++) {
		if (io->iov[i].iov_len > io->len - sum)
			return false;
		sum += io->iov[i].iov_len;
	}
	return sum == io->len;
}

/*
 * Fill a layer's shared part: name, the lower one's size and features, which it follows from then
 * on but for its `own`. `block_size` is the layer's: not below the lower one's; a size that is no
 * multiple of it is cut. 0, or -EINVAL (also: more than VOL_POOL_DEPTH layers on each other).
 */
int vol_layer_init(struct vol_layer *l, const struct vol_ops *ops, const char *name,
	struct vol *lower, uint32_t block_size, unsigned own);

void vol_layer_fini(struct vol_layer *l);

/* Fill a channel, but for what is below it; `depth` is its volume's. */
void vol_layer_chan_begin(struct vol_layer_chan *c, const struct vol_turns *turns, unsigned depth,
	struct nof_group *group);
/* The same, and open and close what is below. 0 or -errno. */
int vol_layer_chan_init(struct vol_layer_chan *c, struct vol_layer *l,
	const struct vol_turns *turns, struct nof_group *group);
void vol_layer_chan_fini(struct vol_layer_chan *c);

/* ---- in a channel's calls; `t` is c->turns, known to the compiler ---- */

static inline void vol_layer_spend(struct vol_layer_chan *c, uint64_t n)
{
	c->budget -= n < c->budget ? (uint32_t)n : c->budget;
}

/* It stands in no line, and is not over its share. */
static inline bool vol_layer_may_take(const struct vol_layer_chan *c)
{
	return !c->waiter.waiting && !c->held.over;
}

enum vol_layer_buf { VOL_NO_BUF, VOL_WITH_BUF };

/* Of the pool. NULL: run() is called again when there may be one. */
static inline struct vol_sub *vol_layer_get(struct vol_layer_chan *c, enum vol_layer_buf buf)
{
	struct vol_sub *sub = buf == VOL_WITH_BUF ? vol_pool_get_buf(c->pool, &c->held)
						  : vol_pool_get(c->pool, &c->held);

	if (!sub && !c->held.over)
		vol_pool_wait(c->pool, &c->waiter);
	return sub;
}

static inline void vol_layer_send(
	struct vol_layer_chan *c, struct vol_chan *lower, struct vol_sub *sub)
{
	c->push = true;
	vol_submit(lower, &sub->io);
}

static inline void vol_layer_run(
	struct vol_layer_chan *c, const struct vol_turns *t, uint32_t budget)
{
	c->budget = budget;
	c->running = true;
	t->run(c);
	c->running = false;
}

/* Something came back, within a call of this channel or outside of one. */
void vol_layer_go_on(struct vol_layer_chan *c);

/* Back to the pool. Who was over its share goes on. */
static inline void vol_layer_give(struct vol_layer_chan *c, struct vol_sub *sub)
{
	if (vol_pool_put(c->pool, &c->held, sub))
		vol_layer_go_on(c);
}

/* A request is in the lists. */
static inline void vol_layer_submitted(struct vol_layer_chan *c, const struct vol_turns *t)
{
	if (!c->running && vol_layer_may_take(c))
		vol_layer_run(c, t, VOL_SUBMIT_BUDGET);
}

static inline unsigned vol_layer_below(struct vol_layer_chan *c, const struct vol_turns *t,
	unsigned (*below)(struct vol_chan *lower))
{
	return t->each ? t->each(c, below) : below(c->lower);
}

/* One kick or poll: `below` is vol_chan_kick() or vol_chan_poll(). */
static inline unsigned vol_layer_turn(struct vol_layer_chan *c, const struct vol_turns *t,
	unsigned (*below)(struct vol_chan *lower))
{
	unsigned n;

	c->budget = VOL_TURN_BUDGET;
	c->push = c->push && below != vol_chan_kick;
	n = vol_layer_below(c, t, below);
	if (t->more(c))
		vol_layer_run(c, t, c->budget);
	n += c->budget < VOL_TURN_BUDGET;
	if (c->push)
		n += 1 + vol_layer_below(c, t, vol_chan_kick);
	c->push = false;
	return n;
}

/* A request begins: `cur` is at its first byte. False: it was refused. */
static inline bool vol_layer_begin(struct vol_chan *c, struct vol_io *io, struct vol_cursor *cur)
{
	if (io->op != VOL_READ && io->op != VOL_WRITE && io->op != VOL_COMPARE_WRITE)
		return true;
	if (!vol_iov_sums(io)) {
		vol_io_end(c, io, -EINVAL);
		return false;
	}
	vol_cursor_skip(io, cur, 0);
	return true;
}

/* For struct vol_ops, where a layer has nothing of its own to do. */
int vol_layer_resize(struct vol *v, uint64_t size);
int vol_layer_fd(const struct vol_chan *c);
unsigned vol_layer_wait_us(const struct vol_chan *c);
int vol_layer_wear(struct vol *v, struct vol_wear *out);
