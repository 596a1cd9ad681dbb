// SPDX-License-Identifier: Apache-2.0
/*
 * Encryption above another volume, unit by unit. What is read is decrypted where it lies, after it
 * came; what is written is encrypted into buffers of the group's pool, a buffer's worth at a time,
 * since the guest's own pages must not change. Zeros are written as what decrypts to zeros.
 *
 * A worker has others to serve: one call of ours takes what the budget says through the cipher, the
 * rest stands in a list until the next poll.
 */
#include "vol_crypt.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"

#define UNIT_MAX 4096u
#define PARKED_US 500u // until a closed window is looked at again

/* In vol_io.priv while the request is ours. */
struct crypt_io {
	struct vol_io *next; // vol_fifo's
	uint64_t pos; // bytes through the cipher
	struct vol_cursor cur; // at that place
	unsigned below; // requests that are below
	int err; // the first one's
	unsigned gen; // of the volume when it began
	uint64_t edge, end; // below and from there on: the other key
	enum { UNGATED, UNCOUNTED, COUNTED } gate;
};

static_assert(sizeof(struct crypt_io) <= VOL_IO_PRIV, "fits the request");
static_assert(2 * VOL_COMPARE_MAX <= VOL_POOL_BUF_LEN, "both sides in one buffer");
static_assert(offsetof(struct crypt_io, next) == 0, "where vol_fifo has it");

static struct crypt_io *state(struct vol_io *io)
{
	return (struct crypt_io *)io->priv;
}

static struct vol_crypt *crypt(struct vol_chan *c)
{
	return (struct vol_crypt *)c->v;
}

/* ---- while the key is changed ---- */

/* The windows that a request touches, as places in `users`: the first, and how many. */
static unsigned windows(const struct vol_io *io, unsigned *first)
{
	uint64_t from = io->off / REKEY_WINDOW, to = (io->off + io->len - 1) / REKEY_WINDOW;

	*first = (unsigned)(from % REKEY_USERS);
	return to - from >= REKEY_USERS ? REKEY_USERS : (unsigned)(to - from) + 1;
}

static void uncount(struct vol_crypt *v, const struct vol_io *io)
{
	unsigned first, n = windows(io, &first);

	// Whoever finds none (vol_rekey.c) has what was done while it was counted.
	for (unsigned i = 0; i < n; i++)
		atomic_fetch_sub_explicit(
			&v->users[(first + i) % REKEY_USERS], 1, memory_order_release);
}

/*
 * May it begin, and with which key at which place? It is counted first and looks then whether its
 * window is closed; the job closes a window first and looks then whether somebody is counted. All
 * of that in one order (seq_cst), so that one of them sees the other. `done` moves before a window
 * opens again, and not over one in which a request is counted.
 *
 * 0, -EAGAIN (it is to wait), or -EIO.
 */
static int gate_counted(struct vol_crypt *v, struct vol_io *io, unsigned mode)
{
	struct crypt_io *s = state(io);
	unsigned first, n = windows(io, &first);
	uint64_t closed;

	if (atomic_load_explicit(&v->lost, memory_order_acquire))
		return -EIO;
	for (unsigned i = 0; i < n; i++)
		atomic_fetch_add_explicit(
			&v->users[(first + i) % REKEY_USERS], 1, memory_order_seq_cst);
	closed = atomic_load_explicit(&v->closed, memory_order_seq_cst);
	// Counted too late for one change, it must not take the places of the next one.
	if (atomic_load_explicit(&v->mode, memory_order_seq_cst) != mode ||
		atomic_load_explicit(&v->blocked, memory_order_acquire) ||
		// What has grown takes the new key, which is none until it is kept.
		(io->off + io->len > v->total &&
			!atomic_load_explicit(&v->job.go, memory_order_acquire)) ||
		(closed != REKEY_NONE &&
			(closed % REKEY_USERS + REKEY_USERS - first) % REKEY_USERS < n)) {
		uncount(v, io);
		return -EAGAIN;
	}
	s->gate = COUNTED;
	s->edge = atomic_load_explicit(&v->done, memory_order_acquire);
	s->end = v->total;
	return 0;
}

static int gate(struct crypt_chan *cc, struct vol_io *io)
{
	struct vol_crypt *v = crypt(&cc->l.c);
	struct crypt_io *s = state(io);
	uint32_t n = atomic_load_explicit(&cc->uncounted, memory_order_relaxed);
	unsigned mode;

	s->edge = 0;
	s->end = UINT64_MAX;
	// Counted, then looked: vol_crypt_rekey() has every thread pass the barrier that is not
	// here, where there is such a thing.
	atomic_store_explicit(&cc->uncounted, n + 1, memory_order_relaxed);
	if (__builtin_expect(!v->l.v.compare.able, 0))
		atomic_thread_fence(memory_order_seq_cst);
	else
		atomic_signal_fence(memory_order_seq_cst);
	mode = atomic_load_explicit(&v->mode, memory_order_acquire);
	s->gen = mode / 2;
	if (__builtin_expect(mode % 2 == 0, 1)) {
		s->gate = UNCOUNTED;
		return 0;
	}
	atomic_store_explicit(&cc->uncounted, n, memory_order_release);
	return gate_counted(v, io, mode);
}

/* Answer it; from here on its window may be closed. */
static void end(struct crypt_chan *cc, struct vol_io *io, int err)
{
	const struct crypt_io *s = state(io);

	if (s->gate == COUNTED)
		uncount(crypt(&cc->l.c), io);
	else if (s->gate == UNCOUNTED)
		atomic_store_explicit(&cc->uncounted,
			atomic_load_explicit(&cc->uncounted, memory_order_relaxed) - 1,
			memory_order_release);
	vol_io_end(&cc->l.c, io, err);
}

/* The cipher for a place, and for how many of the n bytes from there on. */
static struct nof_cipher *cipher_at(
	const struct crypt_chan *cc, const struct crypt_io *s, uint64_t off, size_t *n)
{
	bool other = off < s->edge || off >= s->end;
	uint64_t left = off < s->edge ? s->edge - off : off < s->end ? s->end - off : UINT64_MAX;

	if (*n > left)
		*n = (size_t)left;
	return cc->cipher[(s->gen + other) & 1];
}

/* ---- requests ---- */

static void read_done(struct vol_io *io, int err);
static void passed_done(struct vol_io *io, int err);
/* Whole units that lie in one piece at the current position, at most n bytes. */
static size_t run_of(const struct vol_io *io, const struct crypt_io *s, uint32_t unit, uint64_t n)
{
	size_t left = vol_cursor_run(io, &s->cur);

	return (left < n ? left : (size_t)n) & ~(size_t)(unit - 1);
}

static uint64_t unit_at(
	const struct vol_crypt *v, const struct vol_io *io, const struct crypt_io *s)
{
	return (io->off + s->pos) / v->unit;
}

/* ---- reads: decrypt where it lies ---- */

static int decrypt(struct crypt_chan *cc, struct vol_io *io, uint64_t n)
{
	const struct vol_crypt *v = crypt(&cc->l.c);
	struct crypt_io *s = state(io);
	uint8_t one[UNIT_MAX];
	int ret = 0;

	while (n > 0 && !ret) {
		size_t run = run_of(io, s, v->unit, n);
		size_t unit = v->unit;
		uint64_t first = unit_at(v, io, s);
		struct nof_cipher *cipher = cipher_at(
			cc, s, io->off + s->pos, run > 0 ? &run : &unit);

		if (run > 0) {
			uint8_t *p = vol_cursor_ptr(io, &s->cur);

			ret = nof_cipher_run(cipher, NOF_DECRYPT, first, p, p, run);
			vol_cursor_skip(io, &s->cur, run);
		} else { // it crosses segments
			struct vol_cursor back = s->cur;

			run = v->unit;
			vol_cursor_copy(io, &s->cur, one, run, VOL_GATHER);
			ret = nof_cipher_run(cipher, NOF_DECRYPT, first, one, one, run);
			vol_cursor_copy(io, &back, one, run, VOL_SCATTER);
		}
		s->pos += run;
		n -= run;
	}
	return ret;
}

/* ---- writes: encrypt into a buffer ---- */

/* The next n bytes of the request, encrypted. */
static int encrypt(struct crypt_chan *cc, struct vol_io *io, uint8_t *buf, size_t n)
{
	const struct vol_crypt *v = crypt(&cc->l.c);
	struct crypt_io *s = state(io);
	bool zeros = io->op == VOL_WRITE_ZEROES;
	int ret = 0;

	if (zeros)
		memset(buf, 0, n);
	while (n > 0) {
		size_t run = zeros ? n : run_of(io, s, v->unit, n), unit = v->unit;
		uint64_t first = unit_at(v, io, s);
		struct nof_cipher *cipher = cipher_at(
			cc, s, io->off + s->pos, run > 0 ? &run : &unit);
		const uint8_t *p = buf;

		if (run == 0) { // it crosses segments
			run = unit;
			vol_cursor_copy(io, &s->cur, buf, run, VOL_GATHER);
		} else if (!zeros) {
			p = vol_cursor_ptr(io, &s->cur);
			vol_cursor_skip(io, &s->cur, run);
		}
		if (!ret)
			ret = nof_cipher_run(cipher, NOF_ENCRYPT, first, p, buf, run);
		s->pos += run;
		buf += run;
		n -= run;
	}
	return ret;
}

static void piece_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct crypt_chan *cc = (struct crypt_chan *)sub->chan;
	struct vol_io *up = sub->up;
	struct crypt_io *s = state(up);

	if (err && !s->err)
		s->err = err;
	// After an error nothing more goes down: the request ends when its pieces came back.
	if (--s->below == 0 && s->pos == up->len)
		end(cc, up, s->err);
	vol_layer_give(&cc->l, sub);
}

/*
 * What must be there, too, behind what is to be written: the same tweaks make equal ciphertext of
 * equal plaintext, and of nothing else.
 */
static int encrypt_cmp(struct crypt_chan *cc, const struct vol_io *io, struct vol_sub *sub)
{
	struct vol_io cmp = {
		.op = VOL_WRITE, .off = io->off, .len = io->len, .iov = io->cmp, .n_iov = io->n_cmp
	};
	struct crypt_io *s = state(&cmp);
	const struct crypt_io *of = (const struct crypt_io *)(const void *)io->priv;

	*s = (struct crypt_io){ .gen = of->gen, .edge = of->edge, .end = of->end };
	vol_cursor_skip(&cmp, &s->cur, 0);
	sub->iov[1] = (struct iovec){ (uint8_t *)sub->buf + VOL_COMPARE_MAX, io->len };
	sub->io.op = VOL_COMPARE_WRITE;
	sub->io.cmp = &sub->iov[1];
	sub->io.n_cmp = 1;
	vol_layer_spend(&cc->l, io->len);
	return encrypt(cc, &cmp, sub->iov[1].iov_base, io->len);
}

/* Encrypt the next piece of the request and send it down. It may be answered when this returns. */
static void write_piece(struct crypt_chan *cc, struct vol_io *io, struct vol_sub *sub, size_t n)
{
	struct crypt_io *s = state(io);
	int ret;

	sub->iov[0] = (struct iovec){ sub->buf, n };
	vol_sub_begin(sub, &cc->l.c, io, piece_done);
	sub->io.op = VOL_WRITE;
	sub->io.fua = io->fua || io->erase;
	sub->io.off = io->off + s->pos;
	sub->io.len = n;
	sub->io.iov = sub->iov;
	sub->io.n_iov = 1;
	ret = encrypt(cc, io, sub->buf, n);
	vol_layer_spend(&cc->l, n);
	if (!ret && io->op == VOL_COMPARE_WRITE)
		ret = encrypt_cmp(cc, io, sub);
	s->below++;
	if (ret)
		piece_done(&sub->io, ret);
	else
		vol_layer_send(&cc->l, cc->l.lower, sub);
}

/* ---- the lists ---- */

/* Reads, flushes and discards that have not gone down. */
static void run_down(struct crypt_chan *cc)
{
	while (cc->down.head) {
		struct vol_io *io = cc->down.head;
		struct vol_sub *sub = vol_layer_get(&cc->l, VOL_NO_BUF);

		if (!sub)
			return;
		(void)vol_fifo_pop(&cc->down);
		vol_sub_begin(sub, &cc->l.c, io, io->op == VOL_READ ? read_done : passed_done);
		sub->io.op = io->op;
		sub->io.unmap = io->unmap;
		sub->io.off = io->off;
		sub->io.len = io->len;
		sub->io.iov = io->iov;
		sub->io.n_iov = io->n_iov;
		vol_layer_send(&cc->l, cc->l.lower, sub);
	}
}

static void run_reads(struct crypt_chan *cc)
{
	while (cc->reads.head && cc->l.budget > 0) {
		struct vol_io *io = cc->reads.head;
		struct crypt_io *s = state(io);
		uint64_t n = (cc->l.budget + UNIT_MAX - 1) & ~(UNIT_MAX - 1); // whole units

		if (n > io->len - s->pos)
			n = io->len - s->pos;
		s->err = decrypt(cc, io, n);
		vol_layer_spend(&cc->l, n);
		if (s->err || s->pos == io->len) {
			(void)vol_fifo_pop(&cc->reads);
			end(cc, io, s->err);
		}
	}
}

/* A request leaves the list before its last piece goes down, since that may answer it. */
static void run_writes(struct crypt_chan *cc)
{
	while (cc->writes.head && cc->l.budget > 0) {
		struct vol_io *io = cc->writes.head;
		struct crypt_io *s = state(io);
		uint64_t left = io->len - s->pos;
		struct vol_sub *sub;

		if (s->err) { // no more pieces: it ends when those below come back
			(void)vol_fifo_pop(&cc->writes);
			s->pos = io->len;
			if (s->below == 0)
				end(cc, io, s->err);
			continue;
		}
		sub = vol_layer_get(&cc->l, VOL_WITH_BUF);
		if (!sub)
			return;
		if (left <= VOL_POOL_BUF_LEN)
			(void)vol_fifo_pop(&cc->writes);
		write_piece(cc, io, sub, left < VOL_POOL_BUF_LEN ? left : VOL_POOL_BUF_LEN);
	}
}

static void run(struct vol_layer_chan *c)
{
	struct crypt_chan *cc = (struct crypt_chan *)c;

	run_down(cc);
	run_reads(cc);
	run_writes(cc);
}

static void read_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct crypt_chan *cc = (struct crypt_chan *)sub->chan;
	struct vol_io *up = sub->up;

	vol_layer_give(&cc->l, sub);
	if (err) {
		end(cc, up, err);
		return;
	}
	vol_fifo_put(&cc->reads, up);
	run_reads(cc);
}

static void passed_done(struct vol_io *io, int err)
{
	struct vol_sub *sub = (struct vol_sub *)io;
	struct crypt_chan *cc = (struct crypt_chan *)sub->chan;
	struct vol_io *up = sub->up;

	vol_layer_give(&cc->l, sub);
	end(cc, up, err);
}

/* ---- the volume's interface ---- */

/* Into the list of its kind, or of those that wait for their window. False: it is answered. */
static bool admit(struct crypt_chan *cc, struct vol_io *io)
{
	int ret = io->op == VOL_FLUSH ? 0 : gate(cc, io);

	if (ret && ret != -EAGAIN) {
		end(cc, io, ret);
		return false;
	}
	if (ret)
		vol_fifo_put(&cc->parked, io);
	else if (io->op != VOL_READ && io->op != VOL_FLUSH && io->op != VOL_DISCARD)
		vol_fifo_put(&cc->writes, io);
	else
		vol_fifo_put(&cc->down, io);
	return true;
}

/* What waits for the pool, or for what it has itself below, is told. */
static bool can_go_on(const struct crypt_chan *cc)
{
	return cc->reads.head || ((cc->writes.head || cc->down.head) && vol_layer_may_take(&cc->l));
}

/* Those that waited for a window that was closed. */
static void ask_again(struct crypt_chan *cc)
{
	struct vol_fifo parked;
	struct vol_io *io;

	vol_fifo_move(&cc->parked, &parked);
	while ((io = vol_fifo_pop(&parked)))
		(void)admit(cc, io);
}

static bool more(struct vol_layer_chan *c)
{
	struct crypt_chan *cc = (struct crypt_chan *)c;

	if (cc->parked.head)
		ask_again(cc);
	return can_go_on(cc);
}

static const struct vol_turns turns = { .run = run, .more = more };

static void crypt_submit(struct vol_chan *c, struct vol_io *io)
{
	struct crypt_chan *cc = (struct crypt_chan *)c;
	struct crypt_io *s = state(io);

	*s = (struct crypt_io){ 0 };
	if (vol_layer_begin(c, io, &s->cur) && admit(cc, io))
		vol_layer_submitted(&cc->l, &turns);
}

static unsigned crypt_kick(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_kick);
}

static unsigned crypt_poll(struct vol_chan *c)
{
	return vol_layer_turn((struct vol_layer_chan *)c, &turns, vol_chan_poll);
}

/* Where others may write to what is below, only that can do it. */
static uint32_t crypt_compare_max(const struct vol *v)
{
	const struct vol *lower = ((const struct vol_crypt *)v)->l.lower;

	return vol_compare_native(lower) ? vol_compare_max(lower) : VOL_COMPARE_OURS;
}

static unsigned crypt_wait_us(const struct vol_chan *c)
{
	const struct crypt_chan *cc = (const struct crypt_chan *)c;

	unsigned us = vol_layer_wait_us(c);

	if (cc->l.push || can_go_on(cc))
		return 0;
	return cc->parked.head && us > PARKED_US ? PARKED_US : us;
}

static int crypt_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct vol_crypt *vc = (struct vol_crypt *)v;
	struct crypt_chan *cc = dpu_calloc(1, sizeof(*cc));
	int ret = 0;

	if (!cc)
		return -ENOMEM;
	vol_fifo_init(&cc->parked);
	vol_fifo_init(&cc->down);
	vol_fifo_init(&cc->reads);
	vol_fifo_init(&cc->writes);
	for (unsigned i = 0; i < 2 && !ret; i++)
		if (vc->key[i])
			ret = nof_cipher_create(vc->key[i], vc->unit, &cc->cipher[i]);
	if (ret)
		goto err_cipher;
	ret = vol_layer_chan_init(&cc->l, &vc->l, &turns, group);
	if (ret)
		goto err_cipher;
	*out = &cc->l.c;
	return 0;

err_cipher:
	nof_cipher_destroy(cc->cipher[0]);
	nof_cipher_destroy(cc->cipher[1]);
	free(cc);
	return ret;
}

static void crypt_chan_close(struct vol_chan *c)
{
	struct crypt_chan *cc = (struct crypt_chan *)c;

	vol_layer_chan_fini(&cc->l);
	nof_cipher_destroy(cc->cipher[0]);
	nof_cipher_destroy(cc->cipher[1]);
	free(cc);
}

static void crypt_close(struct vol *v)
{
	struct vol_crypt *vc = (struct vol_crypt *)v;

	vol_rekey_fini(vc);
	nof_key_put(vc->key[0]);
	nof_key_put(vc->key[1]);
	vol_layer_fini(&vc->l);
	free(vc);
}

/* What was moved and what not is told by the place: that must not change meanwhile. */
static int crypt_resize(struct vol *v, uint64_t size)
{
	return ((struct vol_crypt *)v)->phase == REKEY_IDLE ? vol_layer_resize(v, size) : -EBUSY;
}

static const struct vol_ops crypt_ops = {
	.kind = "crypt",
	.close = crypt_close,
	.resize = crypt_resize,
	.chan_open = crypt_chan_open,
	.chan_close = crypt_chan_close,
	.submit = crypt_submit,
	.kick = crypt_kick,
	.poll = crypt_poll,
	.fd = vol_layer_fd,
	.wait_us = crypt_wait_us,
	.compare_max = crypt_compare_max,
	.wear = vol_layer_wear,
	.work = vol_rekey_work,
	.work_stop = vol_rekey_stop,
};

bool vol_is_crypt(const struct vol *v)
{
	return v->ops == &crypt_ops;
}

int vol_crypt_open(const struct vol_crypt_conf *conf, struct vol **out)
{
	struct vol_crypt *vc;
	int ret;

	if (conf->unit != 512 && conf->unit != UNIT_MAX)
		return -EINVAL;
	vc = dpu_calloc(1, sizeof(*vc));
	if (!vc)
		return -ENOMEM;
	// Zeros are written, whatever is below.
	ret = vol_layer_init(&vc->l, &crypt_ops, conf->name, conf->lower, conf->unit, VOL_OWN_ZERO);
	if (ret) {
		free(vc);
		return ret;
	}
	vc->unit = conf->unit;
	vc->key[0] = nof_key_get(conf->key);
	atomic_init(&vc->closed, REKEY_NONE);
	*out = &vc->l.v;
	return 0;
}
