// SPDX-License-Identifier: Apache-2.0
/*
 * Another key for an encrypted volume, window by window (ADR-0017). A window is closed for
 * requests, read, decrypted and encrypted; what it is to become is written to the journal, and
 * only then to its place. So whatever ends this process, the journal has the one window that may
 * be torn, and says where the new key begins.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crc32c.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "dpu_wire.h"
#include "vol_crypt.h"

#define BUF_LEN (REKEY_PAGE + REKEY_WINDOW)
#define RETRY_NS 1000000000ull
#define OPEN_NS 2000000u // at least, between two windows: more than PARKED_US of vol_crypt.c
#define LOOK_NS 1000000u // for the users of a window, before the tick does
#define CONVERT_LEN (32u << 10) // in a step: some 20 us
#define VERSION 1u

/* As far as `off`; or: the window there is about to become these data. */
enum record_kind { RECORD_AT = 1, RECORD_WINDOW };

struct record {
	uint8_t magic[8];
	dpu_le32 version, kind;
	uint8_t id[16];
	dpu_le64 seq, total, off;
	dpu_le32 len, data_sum;
	dpu_le32 sum; // of what stands before it
};
static_assert(sizeof(struct record) == 68, "in journals");
static const uint8_t magic[8] = { 'O', 'B', 'R', 'E', 'K', 'E', 'Y', '\n' };

static struct vol_crypt *of_job(struct vol_job *j)
{
	return (struct vol_crypt *)(void *)((char *)j - offsetof(struct vol_crypt, job));
}

/* ---- transfers, one at a time ---- */

static void came(struct vol_io *io, int err)
{
	struct rekey_job *j = (struct rekey_job *)(void *)((char *)io -
							   offsetof(struct rekey_job, io));

	j->busy = false;
	j->err = err;
	vol_job_wake(&j->job);
}

static void transfer(
	struct rekey_job *j, struct vol_chan *c, enum vol_op op, uint64_t off, void *p, size_t len)
{
	j->iov = (struct iovec){ p, len };
	j->io = (struct vol_io){
		.op = op,
		.fua = op == VOL_WRITE,
		.off = off,
		.len = len,
		.iov = &j->iov,
		.n_iov = 1,
		.done = came,
	};
	j->busy = true;
	vol_submit(c, &j->io);
}

/* ---- the journal ---- */

static uint64_t slot_at(uint64_t slot)
{
	return slot * BUF_LEN;
}

static void record_write(
	struct vol_crypt *v, struct rekey_job *j, enum record_kind kind, uint64_t off, uint32_t len)
{
	struct record r = {
		.version = dpu_le32_put(VERSION),
		.kind = dpu_le32_put(kind),
		.seq = dpu_le64_put(j->seq + 1),
		.total = dpu_le64_put(v->total),
		.off = dpu_le64_put(off),
		.len = dpu_le32_put(len),
		.data_sum = dpu_le32_put(len > 0 ? j->data_sum : 0),
	};

	memcpy(r.magic, magic, sizeof(magic));
	memcpy(r.id, j->id, sizeof(r.id));
	r.sum = dpu_le32_put(nof_crc32c(0, &r, offsetof(struct record, sum)));
	memset(j->buf, 0, REKEY_PAGE);
	memcpy(j->buf, &r, sizeof(r));
	transfer(j, j->job.side, VOL_WRITE, slot_at((j->seq + 1) % 2), j->buf,
		REKEY_PAGE + (size_t)((len + REKEY_PAGE - 1) & ~(REKEY_PAGE - 1)));
}

/* What was read is a whole record of this change of key. */
static bool record_ok(const struct vol_crypt *v, const struct rekey_job *j, struct record *r)
{
	uint64_t total, off;
	uint32_t len, kind;

	memcpy(r, j->buf, sizeof(*r));
	if (memcmp(r->magic, magic, sizeof(magic)) != 0 || memcmp(r->id, j->id, 16) != 0 ||
		dpu_le32_get(r->version) != VERSION ||
		dpu_le32_get(r->sum) != nof_crc32c(0, r, offsetof(struct record, sum)))
		return false;
	total = dpu_le64_get(r->total), off = dpu_le64_get(r->off);
	len = dpu_le32_get(r->len), kind = dpu_le32_get(r->kind);
	if (dpu_le64_get(r->seq) == 0 || total == 0 || total % v->unit != 0)
		return false;
	if (kind == RECORD_AT)
		return len == 0 && (off == total || (off < total && off % REKEY_WINDOW == 0));
	return kind == RECORD_WINDOW && len > 0 && len <= REKEY_WINDOW && len % v->unit == 0 &&
	       off % REKEY_WINDOW == 0 && off < total && len <= total - off &&
	       dpu_le32_get(r->data_sum) == nof_crc32c(0, j->buf + REKEY_PAGE, len);
}

/* ---- steps ---- */

static enum vol_job_next fail(struct vol_crypt *v, struct rekey_job *j, int err)
{
	if (j->resume)
		atomic_store_explicit(&v->lost, true, memory_order_release);
	atomic_store_explicit(&j->failed, err, memory_order_relaxed);
	return VOL_JOB_ENDS;
}

/* Somebody may use it again, below the edge or above. */
static void reopen(struct vol_crypt *v)
{
	atomic_store_explicit(&v->closed, REKEY_NONE, memory_order_seq_cst);
}

static void note(struct rekey_job *j, int err)
{
	atomic_store_explicit(&j->trouble, err, memory_order_relaxed);
	if (err)
		j->due_ns = dpu_now_ns() + RETRY_NS;
}

/* Both slots were looked at, and the better one is in memory. */
static enum vol_job_next resume(struct vol_crypt *v, struct rekey_job *j)
{
	struct record r;

	if (j->best_seq == 0 || !record_ok(v, j, &r))
		return fail(v, j, -ENODATA);
	j->seq = dpu_le64_get(r.seq);
	j->off = dpu_le64_get(r.off);
	j->len = dpu_le32_get(r.len);
	v->total = dpu_le64_get(r.total);
	atomic_store_explicit(&j->begun, true, memory_order_relaxed);
	if (dpu_le32_get(r.kind) == RECORD_WINDOW) { // it may be torn where it belongs: once more
		j->next = RK_PLACE;
		return VOL_JOB_GOES_ON;
	}
	atomic_store_explicit(&v->done, j->off, memory_order_release);
	atomic_store_explicit(&v->blocked, false, memory_order_release);
	j->next = RK_CHOOSE;
	return VOL_JOB_GOES_ON;
}

/* Slots 0 and 1, then the better one again. */
static enum vol_job_next looked(struct vol_crypt *v, struct rekey_job *j)
{
	struct record r;

	if (j->err) { // it may come back
		note(j, j->err);
		j->next = RK_LOOK;
		return VOL_JOB_GOES_ON;
	}
	note(j, 0);
	if (j->slot == 2)
		return resume(v, j);
	if (record_ok(v, j, &r) && dpu_le64_get(r.seq) > j->best_seq) {
		j->best_seq = dpu_le64_get(r.seq);
		j->best = j->slot;
	}
	j->slot++;
	j->next = RK_LOOK;
	return VOL_JOB_GOES_ON;
}

/* Close the next window, unless all of them are done. */
static enum vol_job_next choose(struct vol_crypt *v, struct rekey_job *j)
{
	uint64_t now = dpu_now_ns();

	j->off = atomic_load_explicit(&v->done, memory_order_relaxed);
	if (j->off == v->total)
		return VOL_JOB_ENDS;
	if (now < j->due_ns || !atomic_load_explicit(&j->go, memory_order_acquire))
		return VOL_JOB_WAITS;
	j->len = v->total - j->off < REKEY_WINDOW ? (uint32_t)(v->total - j->off) : REKEY_WINDOW;
	j->due_ns = j->rate ? now + (uint64_t)j->len * 1000000000u / j->rate : 0;
	j->closed_ns = now;
	atomic_store_explicit(&v->closed, j->off / REKEY_WINDOW, memory_order_seq_cst);
	j->next = RK_DRAIN;
	return VOL_JOB_GOES_ON;
}

/* Those who use it are mostly about to end; one whose storage does not answer may take long. */
static enum vol_job_next drain(struct vol_crypt *v, struct rekey_job *j)
{
	uint64_t window = j->off / REKEY_WINDOW;

	if (atomic_load_explicit(&v->users[window % REKEY_USERS], memory_order_seq_cst) != 0)
		return dpu_now_ns() - j->closed_ns < LOOK_NS ? VOL_JOB_LOOKS : VOL_JOB_WAITS;
	transfer(j, j->job.chan, VOL_READ, j->off, j->buf + REKEY_PAGE, j->len);
	j->pos = j->data_sum = 0;
	j->next = RK_CONVERT;
	return VOL_JOB_GOES_ON;
}

/* A slice of the window: others are served in between. */
static void convert(struct vol_crypt *v, struct rekey_job *j)
{
	uint32_t n = j->len - j->pos < CONVERT_LEN ? j->len - j->pos : CONVERT_LEN;
	uint8_t *p = j->buf + REKEY_PAGE + j->pos;
	uint64_t first = (j->off + j->pos) / v->unit;

	if (!j->err)
		j->err = nof_cipher_run(j->from, NOF_DECRYPT, first, p, p, n);
	if (!j->err)
		j->err = nof_cipher_run(j->to, NOF_ENCRYPT, first, p, p, n);
	j->data_sum = nof_crc32c(j->data_sum, p, n);
	j->pos += n;
	if (!j->err && j->pos < j->len)
		return;
	note(j, j->err);
	j->next = RK_JOURNAL;
	if (j->err) { // nothing of it has changed: requests go on meanwhile
		reopen(v);
		j->next = RK_CHOOSE;
	}
}

/* What was written is stable: `then`. Else it is written again; its window stays closed. */
static bool written(struct rekey_job *j, int then, int again)
{
	note(j, j->err);
	j->next = j->err ? again : then;
	return !j->err;
}

/*
 * Only when the journal says that the window is done may it be used again: what is written there
 * then must not be undone by the record before.
 */
static void noted(struct vol_crypt *v, struct rekey_job *j)
{
	uint64_t open_until = dpu_now_ns() + OPEN_NS;

	j->seq++;
	if (j->due_ns < open_until) // requests over many windows must get their turn, too
		j->due_ns = open_until;
	atomic_store_explicit(&v->done, j->off + j->len, memory_order_seq_cst);
	reopen(v);
	atomic_store_explicit(&v->blocked, false, memory_order_release);
}

/* Something is to be written. */
static void write_next(struct vol_crypt *v, struct rekey_job *j)
{
	switch (j->next) {
	case RK_BEGIN:
		record_write(v, j, RECORD_AT, 0, 0);
		j->next = RK_BEGUN;
		break;
	case RK_JOURNAL:
		record_write(v, j, RECORD_WINDOW, j->off, j->len);
		j->next = RK_JOURNALED;
		break;
	case RK_PLACE:
		transfer(j, j->job.chan, VOL_WRITE, j->off, j->buf + REKEY_PAGE, j->len);
		j->next = RK_PLACED;
		break;
	default:
		record_write(v, j, RECORD_AT, j->off + j->len, 0);
		j->next = RK_NOTED;
		break;
	}
}

static enum vol_job_next rekey_step(struct vol_job *vj)
{
	struct vol_crypt *v = of_job(vj);
	struct rekey_job *j = &v->job;

	if (j->busy)
		return VOL_JOB_WAITS;
	if (atomic_load_explicit(&j->trouble, memory_order_relaxed) && dpu_now_ns() < j->due_ns)
		return VOL_JOB_WAITS;
	switch (j->next) {
	case RK_LOOK:
		transfer(j, j->job.side, VOL_READ, slot_at(j->slot < 2 ? j->slot : j->best), j->buf,
			BUF_LEN);
		j->next = RK_LOOKED;
		return VOL_JOB_GOES_ON;
	case RK_LOOKED:
		return looked(v, j);
	case RK_BEGUN:
		if (j->err)
			return fail(v, j, j->err);
		j->seq++;
		atomic_store_explicit(&j->begun, true, memory_order_release);
		j->next = RK_CHOOSE;
		return VOL_JOB_GOES_ON;
	case RK_CHOOSE:
		return choose(v, j);
	case RK_DRAIN:
		return drain(v, j);
	case RK_CONVERT:
		convert(v, j);
		return VOL_JOB_GOES_ON;
	case RK_JOURNALED:
		if (written(j, RK_PLACE, RK_JOURNAL))
			j->seq++;
		return VOL_JOB_GOES_ON;
	case RK_PLACED:
		(void)written(j, RK_NOTE, RK_PLACE);
		return VOL_JOB_GOES_ON;
	case RK_NOTED:
		if (written(j, RK_CHOOSE, RK_NOTE))
			noted(v, j);
		return VOL_JOB_GOES_ON;
	default:
		write_next(v, j);
		return VOL_JOB_GOES_ON;
	}
}

/* ---- the control thread ---- */

static unsigned next_key(const struct vol_crypt *v)
{
	return (atomic_load_explicit(&v->mode, memory_order_relaxed) / 2 + 1) % 2;
}

static void drop_ciphers(struct vol_crypt *v, unsigned which)
{
	pthread_mutex_lock(&v->l.v.lock);
	for (struct vol_chan *c = v->l.v.chans; c; c = c->next) {
		struct crypt_chan *cc = (struct crypt_chan *)c;

		nof_cipher_destroy(cc->cipher[which]);
		cc->cipher[which] = NULL;
	}
	pthread_mutex_unlock(&v->l.v.lock);
	nof_key_put(v->key[which]);
	v->key[which] = NULL;
}

static int make_ciphers(struct vol_crypt *v, unsigned which)
{
	int ret = 0;

	pthread_mutex_lock(&v->l.v.lock);
	for (struct vol_chan *c = v->l.v.chans; c && !ret; c = c->next)
		ret = nof_cipher_create(
			v->key[which], v->unit, &((struct crypt_chan *)c)->cipher[which]);
	pthread_mutex_unlock(&v->l.v.lock);
	return ret;
}

static void job_free(struct rekey_job *j)
{
	vol_job_fini(&j->job);
	nof_cipher_destroy(j->from);
	nof_cipher_destroy(j->to);
	if (j->buf) {
		explicit_bzero(j->buf, BUF_LEN);
		munmap(j->buf, BUF_LEN);
	}
	*j = (struct rekey_job){ 0 };
}

static int job_init(struct vol_crypt *v, const struct vol_rekey_conf *conf, unsigned to)
{
	struct rekey_job *j = &v->job;
	void *p = mmap(NULL, BUF_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	*j = (struct rekey_job){
		.resume = conf->resume,
		.rate = conf->bytes_per_sec,
		.next = conf->resume ? RK_LOOK : RK_BEGIN,
	};
	if (p == MAP_FAILED)
		return -ENOMEM;
	(void)madvise(p, BUF_LEN, MADV_DONTDUMP); // guests' data
	j->buf = p;
	memcpy(j->id, conf->id, sizeof(j->id));
	atomic_store_explicit(&j->go, conf->resume, memory_order_relaxed);
	j->job.group = conf->group;
	ret = nof_cipher_create(v->key[!to], v->unit, &j->from);
	if (!ret)
		ret = nof_cipher_create(v->key[to], v->unit, &j->to);
	// Now, so that nothing can fail when requests are between two keys.
	if (!ret)
		ret = vol_chan_open(v->l.lower, conf->group, &j->job.chan);
	if (!ret)
		ret = vol_chan_open(conf->journal, conf->group, &j->job.side);
	return ret;
}

/* It never began: the old key is the only one. */
static int undo(struct vol_crypt *v, int err)
{
	atomic_fetch_and_explicit(&v->mode, ~1u, memory_order_release);
	drop_ciphers(v, next_key(v)); // nothing was moved: nobody has used it
	job_free(&v->job);
	v->phase = REKEY_IDLE;
	return err;
}

int vol_crypt_rekey(struct vol *vol, const struct vol_rekey_conf *conf)
{
	struct vol_crypt *v = (struct vol_crypt *)vol;
	struct vol_info info;
	unsigned to;
	int ret;

	vol_info(conf->journal, &info);
	if (!vol_is_crypt(vol) || info.size < VOL_REKEY_JOURNAL || info.block_size > REKEY_PAGE ||
		info.read_only || vol->read_only)
		return -EINVAL;
	if (v->phase != REKEY_IDLE)
		return -EBUSY;
	to = next_key(v);
	v->key[to] = nof_key_get(conf->key);
	ret = job_init(v, conf, to);
	if (!ret)
		ret = make_ciphers(v, to);
	if (ret) {
		drop_ciphers(v, to);
		job_free(&v->job);
		return ret;
	}
	v->total = atomic_load_explicit(&vol->size, memory_order_relaxed);
	atomic_store_explicit(&v->done, 0, memory_order_relaxed);
	atomic_store_explicit(&v->blocked, conf->resume, memory_order_relaxed);
	v->phase = REKEY_BEGINS;
	atomic_fetch_or_explicit(&v->mode, 1, memory_order_release);
	// Requests that count themselves as knowing nothing of this are seen: gate() in
	// vol_crypt.c.
	atomic_thread_fence(memory_order_seq_cst);
	if (vol->compare.able)
		ret = vol_compare_barrier();
	return ret ? undo(v, ret) : 0;
}

/* No request goes on that began before requests were counted. */
static bool all_counted(struct vol_crypt *v)
{
	uint32_t n = 0;

	pthread_mutex_lock(&v->l.v.lock);
	for (struct vol_chan *c = v->l.v.chans; c; c = c->next)
		n += atomic_load_explicit(
			&((struct crypt_chan *)c)->uncounted, memory_order_acquire);
	pthread_mutex_unlock(&v->l.v.lock);
	return n == 0;
}

static bool nobody_left(const struct vol_crypt *v)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < REKEY_USERS; i++)
		n |= atomic_load_explicit(&v->users[i], memory_order_seq_cst);
	return n == 0;
}

static int moving(struct vol_crypt *v)
{
	struct rekey_job *j = &v->job;
	int err;

	if (atomic_load_explicit(&j->job.running, memory_order_acquire))
		return atomic_load_explicit(&j->begun, memory_order_acquire) ? VOL_REKEY_MOVES
									     : VOL_REKEY_BEGINS;
	err = atomic_load_explicit(&j->failed, memory_order_relaxed);
	if (err)
		return j->resume ? err : undo(v, err);
	if (!atomic_load_explicit(&j->go, memory_order_relaxed))
		return undo(v, -ECANCELED);
	if (atomic_load_explicit(&v->done, memory_order_acquire) != v->total)
		return VOL_REKEY_MOVES; // it was stopped
	// In one step: from now on the new key is the one. Those who still have both find that all
	// is below the edge.
	atomic_fetch_add_explicit(&v->mode, 1, memory_order_seq_cst);
	v->phase = REKEY_ENDS;
	return VOL_REKEY_MOVES;
}

int vol_rekey_step(struct vol *vol)
{
	struct vol_crypt *v = (struct vol_crypt *)vol;

	if (!vol_is_crypt(vol) || v->phase == REKEY_IDLE)
		return VOL_REKEY_OVER;
	if (v->phase == REKEY_BEGINS && all_counted(v)) {
		(void)vol_job_start(&v->job.job, v->l.lower, v->job.job.group, rekey_step);
		v->phase = REKEY_MOVES;
	}
	if (v->phase == REKEY_BEGINS)
		return VOL_REKEY_BEGINS;
	if (v->phase == REKEY_MOVES)
		return moving(v);
	if (!nobody_left(v))
		return VOL_REKEY_MOVES;
	drop_ciphers(v, next_key(v)); // the old one
	job_free(&v->job);
	v->phase = REKEY_IDLE;
	return VOL_REKEY_OVER;
}

void vol_rekey_go(struct vol *v)
{
	atomic_store_explicit(&((struct vol_crypt *)v)->job.go, true, memory_order_release);
}

void vol_rekey_work(const struct vol *vol, struct vol_work *out)
{
	const struct vol_crypt *v = (const struct vol_crypt *)vol;

	if (v->phase == REKEY_IDLE)
		return;
	if (atomic_load_explicit(&v->lost, memory_order_relaxed)) {
		out->err = -ENODATA;
		return;
	}
	out->kind = VOL_WORK_REKEY;
	out->done = atomic_load_explicit(&v->done, memory_order_relaxed);
	out->total = atomic_load_explicit(&v->l.v.size, memory_order_relaxed);
	out->err = atomic_load_explicit(&v->job.trouble, memory_order_relaxed);
}

bool vol_rekey_stop(struct vol *v)
{
	return vol_job_stop(&((struct vol_crypt *)v)->job.job);
}

void vol_rekey_fini(struct vol_crypt *v)
{
	job_free(&v->job);
}
