// SPDX-License-Identifier: Apache-2.0
/*
 * One volume over several, strip by strip in turn (RAID 0). A transfer goes down in parts of at
 * most a strip, each with a slice of the caller's segments; what moves no data goes to each
 * member once, since its strips lie side by side there.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "group.h"
#include "vol_layer.h"

#define RUN_BYTES (1u << 20) // that one call sends down
#define STRIP_MAX (16u << 20)

struct vol_stripe {
	struct vol v;
	unsigned n;
	uint64_t strip; // bytes; a power of two
	struct vol
		*member[VOL_STRIPE_MAX]; // borrowed: outlive this one, nobody else opens channels
};

struct stripe_chan {
	struct vol_layer_chan l;
	struct vol_chan *lower[VOL_STRIPE_MAX]; // owned
	int epoll; // owned: of those that have a descriptor
	bool has_fd;
	struct vol_fifo todo; // requests of which something did not go down yet
};

/* In vol_io.priv while the request is ours. */
struct stripe_io {
	struct vol_io *next; // vol_fifo's
	uint64_t pos; // bytes that went down; without data: members that were asked
	struct vol_cursor cur; // there
	unsigned below; // parts
	bool sent; // all of it
	int err; // the first one's
};
static_assert(sizeof(struct stripe_io) <= VOL_IO_PRIV, "fits the request");
static_assert(offsetof(struct stripe_io, next) == 0, "where vol_fifo has it");

/* In vol_sub.own: where the data of a read come that has a buffer. */
struct part {
	struct vol_cursor cur;
};

static struct stripe_io *state(struct vol_io *io)
{
	return (struct stripe_io *)io->priv;
}

static struct vol_stripe *stripe(const struct stripe_chan *sc)
{
	return (struct vol_stripe *)sc->l.c.v;
}

static bool moves(const struct vol_io *io)
{
	return io->op == VOL_READ || io->op == VOL_WRITE || io->op == VOL_COMPARE_WRITE;
}

/* ---- parts ---- */

static void part_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct stripe_chan *sc = (struct stripe_chan *)sub->chan;
	struct vol_io *up = sub->up;
	struct stripe_io *s = state(up);

	// A member that shrank does not know the range any more.
	if (err == -EINVAL)
		err = -EIO;
	if (!err && sub->buf && io->op == VOL_READ)
		vol_cursor_copy(up, &((struct part *)(void *)sub->own)->cur, sub->buf, io->len,
			VOL_SCATTER);
	if (err && !s->err)
		s->err = err;
	if (--s->below == 0 && s->sent)
		vol_io_end(&sc->l.c, up, s->err);
	vol_layer_give(&sc->l, sub);
}

static void send(struct stripe_chan *sc, struct vol_sub *sub, unsigned member, uint64_t off,
	uint64_t len, struct iovec *iov, unsigned n_iov)
{
	struct vol_io *up = sub->up;

	vol_sub_begin(sub, &sc->l.c, up, part_done);
	sub->io.op = up->op;
	sub->io.fua = up->fua;
	sub->io.unmap = up->unmap;
	sub->io.erase = up->erase;
	sub->io.off = off;
	sub->io.len = len;
	sub->io.iov = iov;
	sub->io.n_iov = n_iov;
	sub->io.cmp = up->cmp; // all of it: it is a block
	sub->io.n_cmp = up->n_cmp;
	vol_layer_send(&sc->l, sc->lower[member], sub);
}

static struct vol_sub *part_of(struct stripe_chan *sc, struct vol_io *io, enum vol_layer_buf buf)
{
	struct vol_sub *sub = vol_layer_get(&sc->l, buf);

	if (!sub)
		return NULL;
	sub->up = io;
	state(io)->below++;
	return sub;
}

/* Nothing of it stays here: it leaves the list before its last part goes down and may answer it. */
static void sent(struct stripe_chan *sc, struct vol_io *io)
{
	(void)vol_fifo_pop(&sc->todo);
	state(io)->sent = true;
}

/* ---- what moves no data ---- */

/* The bytes of a range that lie on a member, where they are there. False: none do. */
static bool range_on(const struct vol_stripe *v, unsigned member, const struct vol_io *io,
	uint64_t *off, uint64_t *len)
{
	uint64_t first = io->off / v->strip, last = (io->off + io->len - 1) / v->strip;
	uint64_t back = (last % v->n + v->n - member) % v->n, to = last - back, end;
	uint64_t from = first + (member + v->n - first % v->n) % v->n;

	if (back > last - first)
		return false;
	*off = from / v->n * v->strip + (from == first ? io->off % v->strip : 0);
	end = to / v->n * v->strip +
	      (to == last ? (io->off + io->len - 1) % v->strip + 1 : v->strip);
	*len = end - *off;
	return true;
}

/* False: it has to wait. */
static bool ask_members(struct stripe_chan *sc, struct vol_io *io)
{
	const struct vol_stripe *v = stripe(sc);
	struct stripe_io *s = state(io);
	bool last = false;

	while (!last) {
		uint64_t off = 0, len = 0;
		unsigned member = (unsigned)s->pos;
		bool wanted = io->op == VOL_FLUSH || range_on(v, member, io, &off, &len);
		struct vol_sub *sub = wanted ? part_of(sc, io, VOL_NO_BUF) : NULL;

		if (wanted && !sub)
			return false;
		last = ++s->pos == v->n;
		if (last)
			sent(sc, io);
		if (sub) // may end it
			send(sc, sub, member, off, len, NULL, 0);
		else if (last && s->below == 0)
			vol_io_end(&sc->l.c, io, s->err);
	}
	return true;
}

/* ---- transfers ---- */

/*
 * Segments of at most `len` bytes from the cursor on into `iov`: whole blocks only. Returns their
 * bytes; 0: not even a block is in VOL_SUB_IOV segments.
 */
static uint64_t slice(const struct vol_io *io, struct vol_cursor cur, uint64_t len,
	uint32_t block_size, struct iovec *iov, unsigned *n_iov)
{
	uint64_t got = 0, over;
	unsigned n = 0;

	while (got < len && n < VOL_SUB_IOV) {
		size_t run = vol_cursor_run(io, &cur);

		if (run > len - got)
			run = (size_t)(len - got);
		iov[n++] = (struct iovec){ vol_cursor_ptr(io, &cur), run };
		got += run;
		vol_cursor_skip(io, &cur, run);
	}
	for (over = got % block_size; over > 0 && n > 0;) {
		size_t part = iov[n - 1].iov_len < over ? iov[n - 1].iov_len : (size_t)over;

		iov[n - 1].iov_len -= part;
		over -= part;
		got -= part;
		n -= iov[n - 1].iov_len == 0;
	}
	*n_iov = n;
	return got;
}

/* The next part. Returns its bytes; 0: it has to wait. */
static uint64_t transfer(struct stripe_chan *sc, struct vol_io *io)
{
	const struct vol_stripe *v = stripe(sc);
	struct stripe_io *s = state(io);
	uint64_t at = io->off + s->pos, strip = at / v->strip, in = at % v->strip;
	uint64_t off = strip / v->n * v->strip + in, len = io->len - s->pos, got;
	struct iovec iov[VOL_SUB_IOV], *segs = io->iov;
	unsigned n_iov = io->n_iov;
	struct vol_sub *sub;

	if (len > v->strip - in)
		len = v->strip - in;
	got = len;
	if (len < io->len) {
		got = slice(io, s->cur, len, v->v.block_size, iov, &n_iov);
		segs = NULL; // they lie in the sub
	}
	sub = part_of(sc, io, got == 0 ? VOL_WITH_BUF : VOL_NO_BUF);
	if (!sub)
		return 0;
	if (got == 0) { // in crumbs: over a buffer
		got = len < VOL_POOL_BUF_LEN ? len : VOL_POOL_BUF_LEN;
		((struct part *)(void *)sub->own)->cur = s->cur;
		sub->iov[0] = (struct iovec){ sub->buf, got };
		n_iov = 1;
	} else if (!segs) {
		memcpy(sub->iov, iov, n_iov * sizeof(iov[0]));
	}
	if (sub->buf && io->op == VOL_WRITE)
		vol_cursor_copy(io, &s->cur, sub->buf, got, VOL_GATHER);
	else
		vol_cursor_skip(io, &s->cur, got);
	s->pos += got;
	if (s->pos == io->len)
		sent(sc, io);
	send(sc, sub, (unsigned)(strip % v->n), off, got, segs ? segs : sub->iov, n_iov);
	return got;
}

/* ---- the list ---- */

static void run(struct vol_layer_chan *c)
{
	struct stripe_chan *sc = (struct stripe_chan *)c;
	uint64_t bytes = 0;

	while (sc->todo.head && bytes < RUN_BYTES) {
		struct vol_io *io = sc->todo.head;
		struct stripe_io *s = state(io);
		uint64_t n;

		if (s->err) { // no more parts: it ends when those below have come back
			sent(sc, io);
			if (s->below == 0)
				vol_io_end(&sc->l.c, io, s->err);
			continue;
		}
		if (!moves(io)) {
			if (!ask_members(sc, io))
				break;
			continue;
		}
		n = transfer(sc, io);
		if (n == 0)
			break;
		bytes += n;
	}
}

static bool can_go_on(const struct stripe_chan *sc)
{
	return sc->todo.head && vol_layer_may_take(&sc->l);
}

/* ---- the volume's interface ---- */

static unsigned each(struct vol_layer_chan *c, unsigned (*below)(struct vol_chan *lower))
{
	struct stripe_chan *sc = (struct stripe_chan *)c;
	unsigned n = 0;

	for (unsigned i = 0; i < stripe(sc)->n; i++)
		if (vol_chan_inflight(sc->lower[i]) > 0)
			n += below(sc->lower[i]);
	return n;
}

static bool more(struct vol_layer_chan *c)
{
	return can_go_on((struct stripe_chan *)c);
}

static const struct vol_turns turns = { .run = run, .more = more, .each = each };

static void stripe_submit(struct vol_chan *c, struct vol_io *io)
{
	struct stripe_chan *sc = (struct stripe_chan *)c;

	*state(io) = (struct stripe_io){ 0 };
	if (!vol_layer_begin(c, io, &state(io)->cur))
		return;
	vol_fifo_put(&sc->todo, io);
	vol_layer_submitted(&sc->l, &turns);
}

static unsigned stripe_kick(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_kick);
}

static unsigned stripe_poll(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_poll);
}

/*
 * Where others may write to a member, only that can do it, and two members cannot do it together: a
 * block, which lies on one.
 */
static uint32_t stripe_compare_max(const struct vol *cv)
{
	const struct vol_stripe *v = (const struct vol_stripe *)cv;
	uint32_t least = UINT32_MAX;
	bool native = false;

	for (unsigned i = 0; i < v->n; i++) {
		uint32_t max = vol_compare_max(v->member[i]);

		native |= vol_compare_native(v->member[i]);
		least = max < least ? max : least;
	}
	if (!native)
		return VOL_COMPARE_OURS;
	return least < v->v.block_size ? 0 : v->v.block_size;
}

static int stripe_fd(const struct vol_chan *c)
{
	const struct stripe_chan *sc = (const struct stripe_chan *)c;

	return sc->has_fd ? sc->epoll : -1;
}

static unsigned stripe_wait_us(const struct vol_chan *c)
{
	const struct stripe_chan *sc = (const struct stripe_chan *)c;
	unsigned us = VOL_WAIT_FD;

	if (sc->l.push || can_go_on(sc))
		return 0;
	for (unsigned i = 0; i < stripe(sc)->n; i++) {
		unsigned one = VOL_WAIT_FD;

		if (vol_chan_inflight(sc->lower[i]) > 0)
			one = vol_chan_wait_us(sc->lower[i]);
		us = one < us ? one : us;
	}
	return us;
}

/* ---- channels ---- */

static int open_member(struct stripe_chan *sc, struct vol *lower, unsigned i, struct nof_group *g)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ret = vol_chan_open(lower, g, &sc->lower[i]);
	int fd = ret ? -1 : vol_chan_fd(sc->lower[i]);

	if (fd < 0)
		return ret;
	sc->has_fd = true;
	return epoll_ctl(sc->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static void chan_free(struct stripe_chan *sc, unsigned n)
{
	while (n > 0)
		vol_chan_close(sc->lower[--n]);
	close(sc->epoll);
	free(sc);
}

static int stripe_chan_open(struct vol *cv, struct nof_group *group, struct vol_chan **out)
{
	struct vol_stripe *v = (struct vol_stripe *)cv;
	struct stripe_chan *sc = dpu_calloc(1, sizeof(*sc));
	int ret;

	if (!sc)
		return -ENOMEM;
	sc->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (sc->epoll < 0) {
		ret = -errno;
		free(sc);
		return ret;
	}
	vol_fifo_init(&sc->todo);
	vol_layer_chan_begin(&sc->l, &turns, v->v.depth, group);
	for (unsigned i = 0; i < v->n; i++) {
		ret = open_member(sc, v->member[i], i, group);
		if (ret) {
			chan_free(sc, sc->lower[i] ? i + 1 : i);
			return ret;
		}
	}
	*out = &sc->l.c;
	return 0;
}

static void stripe_chan_close(struct vol_chan *c)
{
	struct stripe_chan *sc = (struct stripe_chan *)c;

	assert(!sc->todo.head);
	vol_layer_chan_fini(&sc->l);
	chan_free(sc, stripe(sc)->n);
}

/* ---- the volume ---- */

/* As many whole strips of each as the smallest has. */
static uint64_t size_of(const struct vol_stripe *v)
{
	uint64_t least = UINT64_MAX;

	assert(v->n > 0);
	for (unsigned i = 0; i < v->n; i++) {
		uint64_t size = atomic_load_explicit(&v->member[i]->size, memory_order_acquire);

		least = size < least ? size : least;
	}
	least -= least % v->strip;
	return least > INT64_MAX / v->n ? 0 : least * v->n;
}

/* What all of them can; a cache if one has one. */
static void follow(struct vol_stripe *v)
{
	bool discard = true, zero = true, read_only = false, cache = false;

	for (unsigned i = 0; i < v->n; i++) {
		const struct vol *m = v->member[i];

		discard = discard && m->can_discard;
		zero = zero && m->can_zero;
		read_only = read_only || m->read_only;
		cache = cache || m->volatile_cache;
	}
	v->v.can_discard = discard;
	v->v.can_zero = zero;
	v->v.read_only = read_only;
	v->v.volatile_cache = cache;
}

/* A member has another size, or can something else. */
static void changed(void *arg)
{
	struct vol_stripe *v = arg;

	follow(v);
	atomic_store_explicit(&v->v.size, size_of(v), memory_order_release);
	vol_tell(&v->v);
}

/*
 * Each member gets its part. It may only grow: with one that failed among them the others would
 * have lost their ends.
 */
static int stripe_resize(struct vol *cv, uint64_t size)
{
	struct vol_stripe *v = (struct vol_stripe *)cv;
	uint64_t part = size / v->n;

	if (size % (v->n * v->strip) != 0)
		return -EINVAL;
	if (size < size_of(v))
		return -ENOTSUP;
	for (unsigned i = 0; i < v->n; i++) {
		int ret = 0;

		if (atomic_load_explicit(&v->member[i]->size, memory_order_acquire) < part)
			ret = vol_resize(v->member[i], part);
		if (ret)
			return ret;
	}
	return 0;
}

static void stripe_close(struct vol *cv)
{
	struct vol_stripe *v = (struct vol_stripe *)cv;

	for (unsigned i = 0; i < v->n; i++)
		vol_watch(v->member[i], NULL, NULL);
	vol_fini(&v->v);
	free(v);
}

/* The worst of them. */
static int stripe_wear(struct vol *cv, struct vol_wear *out)
{
	const struct vol_stripe *v = (const struct vol_stripe *)cv;
	bool known = false;

	*out = (struct vol_wear){ 0 };
	for (unsigned i = 0; i < v->n; i++) {
		struct vol_wear w;

		known |= vol_wear(v->member[i], &w);
		out->pre_eol = w.pre_eol > out->pre_eol ? w.pre_eol : out->pre_eol;
		out->life_a = w.life_a > out->life_a ? w.life_a : out->life_a;
		out->life_b = w.life_b > out->life_b ? w.life_b : out->life_b;
	}
	return known ? 0 : -ENODATA;
}

static const struct vol_ops stripe_ops = {
	.kind = "stripe",
	.close = stripe_close,
	.resize = stripe_resize,
	.chan_open = stripe_chan_open,
	.chan_close = stripe_chan_close,
	.submit = stripe_submit,
	.kick = stripe_kick,
	.poll = stripe_poll,
	.fd = stripe_fd,
	.wait_us = stripe_wait_us,
	.compare_max = stripe_compare_max,
	.wear = stripe_wear,
};

/* What never changes. Returns their largest block. */
static uint32_t join(struct vol_stripe *v)
{
	uint32_t block_size = 512;

	v->v.can_erase = true;
	for (unsigned i = 0; i < v->n; i++) {
		const struct vol *m = v->member[i];

		block_size = m->block_size > block_size ? m->block_size : block_size;
		v->v.can_erase = v->v.can_erase && m->can_erase;
		v->v.depth = m->depth + 1 > v->v.depth ? m->depth + 1 : v->v.depth;
	}
	return block_size;
}

int vol_stripe_open(const struct vol_stripe_conf *conf, struct vol **out)
{
	struct vol_stripe *v;
	uint32_t block_size;
	int ret = -EINVAL;

	if (conf->n == 0 || conf->n > VOL_STRIPE_MAX || conf->strip > STRIP_MAX ||
		conf->strip == 0 || (conf->strip & (conf->strip - 1)) != 0)
		return ret;
	v = dpu_calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->n = conf->n;
	v->strip = conf->strip;
	memcpy(v->member, conf->members, conf->n * sizeof(v->member[0]));
	block_size = join(v);
	if (conf->strip >= block_size && v->v.depth <= VOL_POOL_DEPTH)
		ret = vol_init(&v->v, &stripe_ops, conf->name, size_of(v), block_size);
	if (ret) {
		free(v);
		return ret;
	}
	follow(v);
	v->v.opt_io_size = (uint32_t)(v->strip * v->n > UINT32_MAX ? 0 : v->strip * v->n);
	for (unsigned i = 0; i < v->n; i++)
		vol_watch(v->member[i], changed, v);
	*out = &v->v;
	return 0;
}
