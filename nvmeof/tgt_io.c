// SPDX-License-Identifier: Apache-2.0
/*
 * Commands to namespaces: judged, given to the volume's channel of this worker, answered.
 *
 * Compares share one buffer of the worker and take turns. A fused compare and write is one request
 * of the volume (ADR-0019).
 */
#include "tgt_io.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "tgt_view.h"

/* ---- answers ---- */

static inline void answer(struct tgt_req *r, uint16_t status)
{
	r->status = status;
	r->q->n_core--;
	dpu_counter_add(&r->q->commands, 1);
	if (__builtin_expect(status != 0, 0))
		dpu_counter_add(&r->q->errors, 1);
	if (r->vn)
		r->vn->n_reqs--;
	r->done(r);
}

/* What a volume says, as a host hears it. Media errors may be tried again, refusals not. */
static uint16_t status_of(const struct tgt_req *r, int err)
{
	switch (err) {
	case 0:
		return 0;
	case -EINVAL: // the volume has shrunk meanwhile
		return NOF_SC_LBA_RANGE | NOF_SC_DNR;
	case -EROFS:
		return NOF_SC_NS_WRITE_PROTECTED | NOF_SC_DNR;
	case -ENOTSUP: // also a pair, where a namespace of another target cannot
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	case -ENOSPC:
	case -EDQUOT:
		return NOF_SC_CAPACITY | NOF_SC_DNR;
	case -EAGAIN: // not now
		return NOF_SC_INTERRUPTED;
	case -ECONNABORTED: // a pair whose outcome nobody knows: not to be sent anywhere else
		return NOF_SC_PATH_INTERNAL | NOF_SC_DNR;
	case -EBADMSG:
	case -EILSEQ:
		return NOF_SC_GUARD;
	default:
		return r->dir == TGT_OUT || r->cmd.opc == NOF_NVM_COMPARE ? NOF_SC_READ_ERROR
									  : NOF_SC_WRITE_FAULT;
	}
}

static void on_done(struct vol_io *io, int err)
{
	struct tgt_req *r = (struct tgt_req *)((char *)io - offsetof(struct tgt_req, io));

	if (__builtin_expect(err != 0, 0))
		dpu_counter_add(&r->q->w->n.vol_error, 1);
	answer(r, err ? status_of(r, err) : 0);
}

static inline void submit(struct tgt_req *r)
{
	struct tgt_view_ns *vn = r->vn;

	vol_submit(vn->chan, &r->io);
	if (vol_chan_inflight(vn->chan))
		tgt_view_busy(vn);
}

/* ---- judging ---- */

static bool refuse(struct tgt_req *r, enum nof_sc sc)
{
	r->status = (uint16_t)sc | NOF_SC_DNR;
	return false;
}

static bool refuse_access(struct tgt_req *r, uint8_t access)
{
	switch ((enum tgt_access)access) {
	case TGT_INACCESSIBLE:
		r->status = NOF_SC_ANA_INACCESSIBLE;
		return false;
	case TGT_LOSS:
		r->status = NOF_SC_ANA_PERSISTENT_LOSS;
		return false;
	case TGT_CHANGE:
		r->status = NOF_SC_ANA_TRANSITION;
		return false;
	case TGT_HIDDEN:
	case TGT_OPEN:
		break;
	}
	return refuse(r, NOF_SC_INVALID_NS);
}

/* The namespace of a command, as its controller and this worker have it. */
static inline bool find_ns(struct tgt_req *r)
{
	uint32_t nsid = dpu_le32_get(r->cmd.nsid);
	const struct tgt_view *v = r->q->view;
	uint8_t access;

	if (__builtin_expect(nsid - 1 >= v->n, 0))
		return refuse(r, NOF_SC_INVALID_NS);
	access = atomic_load_explicit(&r->q->ctrl->access[nsid], memory_order_relaxed);
	if (__builtin_expect(access != TGT_OPEN || !v->ns[nsid], 0))
		return refuse_access(r, v->ns[nsid] ? access : TGT_HIDDEN);
	r->vn = v->ns[nsid];
	return true;
}

/* The data is there: is the namespace still the one that the command was judged by? */
static inline bool find_again(struct tgt_req *r)
{
	if (!find_ns(r))
		return false;
	if (__builtin_expect(r->vn->gen != r->gen, 0)) {
		r->vn = NULL;
		return refuse(r, NOF_SC_INVALID_NS);
	}
	r->vn->n_reqs++;
	return true;
}

/* First block and number of blocks; io.off and io.len become bytes. */
static inline bool range(struct tgt_req *r)
{
	const struct tgt_ns *ns = r->vn->ns;
	uint64_t slba = (uint64_t)dpu_le32_get(r->cmd.cdw11) << 32 | dpu_le32_get(r->cmd.cdw10);
	uint64_t n = (dpu_le32_get(r->cmd.cdw12) & 0xffff) + 1;
	uint64_t blocks = atomic_load_explicit(&ns->n_blocks, memory_order_relaxed);

	if (__builtin_expect(slba > blocks || n > blocks - slba, 0))
		return refuse(r, NOF_SC_LBA_RANGE);
	r->io.off = slba << ns->shift;
	r->io.len = n << ns->shift;
	return true;
}

/* A range whose data moves, in this direction. */
static inline bool transfer(struct tgt_req *r, enum tgt_dir dir)
{
	if (!range(r))
		return false;
	// No protection information, no metadata: PRACT and PRCHK ask for nothing.
	if (__builtin_expect(r->io.len > tgt_max_io_bytes(r->q->w), 0))
		return refuse(r, NOF_SC_INVALID_FIELD);
	if (__builtin_expect(r->io.len != r->sgl_bytes, 0))
		return refuse(r, NOF_SC_SGL_LENGTH);
	r->dir = dir;
	r->len = (uint32_t)r->io.len;
	return true;
}

static bool writable(struct tgt_req *r)
{
	if (r->vn->ns->info.read_only)
		return refuse(r, NOF_SC_NS_WRITE_PROTECTED);
	return true;
}

static bool start_dsm(struct tgt_req *r)
{
	size_t len = ((dpu_le32_get(r->cmd.cdw10) & 0xff) + 1) * sizeof(struct nof_dsm_range);

	if (!writable(r))
		return false;
	// Some hosts always send room for 256 ranges.
	if (r->sgl_bytes < len || r->sgl_bytes > NOF_DSM_RANGES_MAX * sizeof(struct nof_dsm_range))
		return refuse(r, NOF_SC_SGL_LENGTH);
	r->dir = TGT_IN;
	r->len = r->sgl_bytes;
	return true;
}

static bool start_flush(struct tgt_req *r)
{
	// Of all namespaces at once: Identify Controller's VWC says that this is not supported.
	if (dpu_le32_get(r->cmd.nsid) == NOF_NSID_ALL)
		return refuse(r, NOF_SC_INVALID_NS);
	return find_ns(r);
}

static bool start_rare(struct tgt_req *r)
{
	switch (r->cmd.opc) {
	case NOF_NVM_FLUSH:
		return start_flush(r);
	case NOF_NVM_COMPARE:
		return find_ns(r) && transfer(r, TGT_IN);
	case NOF_NVM_WRITE_ZEROES:
		if (!find_ns(r))
			return false;
		if (!r->vn->ns->info.can_zero)
			break;
		return writable(r) && range(r);
	case NOF_NVM_DSM:
		return find_ns(r) && start_dsm(r);
	default:
		break;
	}
	return refuse(r, NOF_SC_INVALID_OPCODE);
}

static bool start_one(struct tgt_req *r)
{
	if (r->cmd.opc == NOF_NVM_READ)
		return find_ns(r) && transfer(r, TGT_OUT);
	if (r->cmd.opc == NOF_NVM_WRITE)
		return find_ns(r) && transfer(r, TGT_IN) && writable(r);
	return start_rare(r);
}

/* ---- fused pairs: halves follow each other on a queue ---- */

static void doom(struct tgt_req *r, unsigned sc)
{
	r->other = NULL;
	r->doomed = (sc) | NOF_SC_DNR;
	if (r->ready)
		answer(r, r->doomed);
}

static bool same_range(const struct tgt_req *a, const struct tgt_req *b)
{
	return !memcmp(&a->cmd.nsid, &b->cmd.nsid, sizeof(a->cmd.nsid)) && a->io.off == b->io.off &&
	       a->io.len == b->io.len;
}

static bool start_second(struct tgt_req *r, enum tgt_fused state, struct tgt_req *first)
{
	if (state == TGT_FUSED_NO)
		return refuse(r, NOF_SC_FUSED_MISSING);
	if (state == TGT_FUSED_FAILED)
		return refuse(r, NOF_SC_FUSED_FAILED);
	if (r->cmd.opc != NOF_NVM_WRITE || !start_one(r)) {
		doom(first, NOF_SC_FUSED_FAILED);
		return r->status ? false : refuse(r, NOF_SC_INVALID_FIELD);
	}
	if (!same_range(first, r)) {
		doom(first, NOF_SC_FUSED_FAILED);
		return refuse(r, NOF_SC_INVALID_FIELD);
	}
	r->other = first;
	first->other = r;
	return true;
}

static bool start_fused(struct tgt_req *r)
{
	struct tgt_queue *q = r->q;
	unsigned fuse = r->cmd.flags & NOF_FUSE_MASK;
	enum tgt_fused state = q->fused_state;
	struct tgt_req *first = q->fused;
	struct vol_info info;

	q->fused_state = TGT_FUSED_NO;
	q->fused = NULL;
	if (fuse == NOF_FUSE_SECOND)
		return start_second(r, state, first);
	if (state == TGT_FUSED_FIRST)
		doom(first, NOF_SC_FUSED_MISSING);
	if (fuse == 0)
		return start_one(r);
	if (fuse != NOF_FUSE_FIRST)
		return refuse(r, NOF_SC_INVALID_FIELD);
	q->fused_state = TGT_FUSED_FAILED;
	if (r->cmd.opc != NOF_NVM_COMPARE)
		return refuse(r, NOF_SC_INVALID_FIELD);
	if (!start_one(r))
		return false;
	vol_info(r->vn->ns->vol, &info);
	if (r->len > info.compare_max)
		return refuse(r, info.compare_max ? NOF_SC_ATOMIC_EXCEEDED : NOF_SC_INVALID_FIELD);
	q->fused_state = TGT_FUSED_FIRST;
	q->fused = r;
	return true;
}

bool tgt_io_start(struct tgt_req *r)
{
	bool ok;

	r->dir = TGT_NONE;
	r->len = 0;
	r->result = 0;
	r->status = 0;
	r->other = NULL;
	r->doomed = 0;
	r->ready = false;
	if (__builtin_expect((r->cmd.flags & NOF_FUSE_MASK) || r->q->fused_state, 0))
		ok = start_fused(r);
	else
		ok = start_one(r);
	if (__builtin_expect(!ok, 0)) {
		dpu_counter_add(&r->q->w->n.bad_command, 1);
		dpu_counter_add(&r->q->commands, 1);
		dpu_counter_add(&r->q->errors, 1);
	} else {
		r->gen = r->vn->gen;
	}
	r->vn = NULL;
	return ok;
}

void tgt_io_drop(struct tgt_req *r)
{
	if (r->q->fused == r) {
		r->q->fused = NULL;
		r->q->fused_state = TGT_FUSED_NO;
	}
	if (r->other)
		doom(r->other, NOF_SC_FUSED_FAILED);
	r->other = NULL;
}

void tgt_io_end(struct tgt_queue *q)
{
	struct tgt_req *first = q->fused;

	q->fused = NULL;
	q->fused_state = TGT_FUSED_NO;
	if (first && first->ready)
		doom(first, NOF_SC_FUSED_MISSING);
}

/* ---- steps: requests to the volume that belong to one command ---- */

static void on_step(struct vol_io *io, int err);

/* True: answered at once, with sub_err. False: `on_step` goes on. */
static bool step(struct tgt_req *r, enum vol_op op, uint64_t off, uint64_t len)
{
	r->io.op = op;
	r->io.off = off;
	r->io.len = len;
	r->io.done = on_step;
	r->sub = TGT_SUB_CALL;
	submit(r);
	if (r->sub == TGT_SUB_DONE)
		return true;
	r->sub = TGT_SUB_WAIT;
	return false;
}

/* ---- dataset management: one range after the other ---- */

static void dsm_run(struct tgt_req *r)
{
	const struct tgt_ns *ns = r->vn->ns;
	uint32_t n = (dpu_le32_get(r->cmd.cdw10) & 0xff) + 1;

	for (; r->step < n; r->step++) {
		const struct nof_dsm_range *at = r->iov[0].iov_base;
		uint64_t len = dpu_le32_get(at[r->step].nlb), slba = dpu_le64_get(at[r->step].slba);
		uint64_t blocks = atomic_load_explicit(&ns->n_blocks, memory_order_relaxed);

		if (r->sub == TGT_SUB_DONE) { // this one is answered
			r->sub = TGT_SUB_WAIT;
			if (r->sub_err && r->sub_err != -ENOTSUP) {
				answer(r, status_of(r, r->sub_err));
				return;
			}
			continue;
		}
		if (slba > blocks || len > blocks - slba) {
			answer(r, NOF_SC_LBA_RANGE | NOF_SC_DNR);
			return;
		}
		if (len == 0 || !ns->info.can_discard)
			continue;
		if (!step(r, VOL_DISCARD, slba << ns->shift, len << ns->shift))
			return;
		r->step--; // look at its answer
	}
	answer(r, 0);
}

static void exec_dsm(struct tgt_req *r)
{
	assert(r->n_iov == 1);
	r->step = 0;
	r->sub = TGT_SUB_WAIT;
	if (dpu_le32_get(r->cmd.cdw11) & NOF_DSM_AD)
		dsm_run(r);
	else
		answer(r, 0); // hints
}

/* ---- compare ---- */

/* Bytes at `at` of what the host sent, against `len` bytes of `with`. */
static bool equal(const struct tgt_req *r, uint64_t at, const uint8_t *with, size_t len)
{
	for (unsigned i = 0; i < r->n_iov && len > 0; i++) {
		size_t have = r->iov[i].iov_len, n;

		if (at >= have) {
			at -= have;
			continue;
		}
		n = have - at < len ? have - at : len;
		if (memcmp((const uint8_t *)r->iov[i].iov_base + at, with, n) != 0)
			return false;
		at = 0;
		with += n;
		len -= n;
	}
	return true;
}

static void compare_end(struct tgt_req *r, uint16_t status)
{
	r->q->w->comparing = NULL;
	answer(r, status);
}

static void compare_run(struct tgt_req *r)
{
	struct tgt_worker *w = r->q->w;

	for (;;) {
		uint64_t at = (uint64_t)r->step * TGT_CMP_BYTES, left = r->len - at;

		if (r->sub == TGT_SUB_DONE) {
			r->sub = TGT_SUB_WAIT;
			if (r->sub_err) {
				dpu_counter_add(&w->n.vol_error, 1);
				compare_end(r, NOF_SC_READ_ERROR);
				return;
			}
			if (!equal(r, at, w->cmp_buf, r->cmp_iov.iov_len)) {
				compare_end(r, NOF_SC_COMPARE | NOF_SC_DNR);
				return;
			}
			r->step++;
			if (left <= TGT_CMP_BYTES) {
				compare_end(r, 0);
				return;
			}
			continue;
		}
		r->cmp_iov.iov_base = w->cmp_buf;
		r->cmp_iov.iov_len = left < TGT_CMP_BYTES ? left : TGT_CMP_BYTES;
		r->io.iov = &r->cmp_iov;
		r->io.n_iov = 1;
		if (!step(r, VOL_READ, r->cmp_off + at, r->cmp_iov.iov_len))
			return;
	}
}

static void compare_next(struct tgt_worker *w)
{
	struct tgt_req *r = TAILQ_FIRST(&w->compares);

	while (r && !w->comparing) {
		TAILQ_REMOVE(&w->compares, r, link);
		w->comparing = r;
		r->step = 0;
		r->sub = TGT_SUB_WAIT;
		compare_run(r);
		r = TAILQ_FIRST(&w->compares);
	}
}

static void compare_add(struct tgt_req *r)
{
	r->cmp_off = r->io.off;
	TAILQ_INSERT_TAIL(&r->q->w->compares, r, link);
	compare_next(r->q->w);
}

/*
 * The pair's first status, then its second one's. Of errors the volume does not say which half met
 * them.
 */
static void on_fused(struct vol_io *io, int err)
{
	struct tgt_req *second = (struct tgt_req *)((char *)io - offsetof(struct tgt_req, io));
	struct tgt_req *first = second->other;

	if (err && err != -ECANCELED)
		dpu_counter_add(&second->q->w->n.vol_error, 1);
	if (err == -ECANCELED) {
		answer(first, NOF_SC_COMPARE | NOF_SC_DNR);
		answer(second, NOF_SC_FUSED_FAILED | NOF_SC_DNR);
		return;
	}
	answer(first, err ? status_of(first, err) : 0);
	answer(second, err ? status_of(second, err) : 0);
}

static void exec_fused(struct tgt_req *r)
{
	struct tgt_req *first = r->cmd.opc == NOF_NVM_COMPARE ? r : r->other, *second;

	r->ready = true;
	if (r->doomed) {
		answer(r, r->doomed);
		return;
	}
	if (!r->other || !r->other->ready)
		return;
	second = first->other;
	if (!find_again(first) || !find_again(second)) {
		uint16_t status = first->status ? first->status : second->status;

		answer(first, status);
		answer(second, status);
		return;
	}
	second->io.op = VOL_COMPARE_WRITE;
	second->io.cmp = first->iov;
	second->io.n_cmp = first->n_iov;
	second->io.done = on_fused;
	submit(second);
}

static void on_step(struct vol_io *io, int err)
{
	struct tgt_req *r = (struct tgt_req *)((char *)io - offsetof(struct tgt_req, io));
	bool inside = r->sub == TGT_SUB_CALL;
	struct tgt_worker *w = r->q->w;

	r->sub = TGT_SUB_DONE;
	r->sub_err = err;
	if (inside)
		return;
	if (r->cmd.opc == NOF_NVM_DSM) {
		dsm_run(r);
	} else {
		compare_run(r);
		compare_next(w);
	}
}

/* ---- execution ---- */

static void exec_rare(struct tgt_req *r)
{
	switch (r->cmd.opc) {
	case NOF_NVM_FLUSH:
		r->io.op = VOL_FLUSH;
		r->io.off = 0;
		r->io.len = 0;
		submit(r);
		break;
	case NOF_NVM_WRITE_ZEROES:
		r->io.op = VOL_WRITE_ZEROES;
		r->io.unmap = dpu_le32_get(r->cmd.cdw12) & NOF_WZ_DEAC;
		submit(r);
		break;
	case NOF_NVM_COMPARE:
		compare_add(r);
		break;
	case NOF_NVM_DSM:
		exec_dsm(r);
		break;
	default:
		assert(!"judged by tgt_io_start()");
	}
}

void tgt_io_exec(struct tgt_req *r)
{
	struct tgt_counters *n = &r->q->w->n;

	r->q->n_core++;
	r->io.iov = r->iov;
	r->io.n_iov = r->n_iov;
	r->io.fua = dpu_le32_get(r->cmd.cdw12) & NOF_RW_FUA;
	r->io.unmap = false;
	r->io.erase = false;
	r->io.done = on_done;
	if (__builtin_expect(r->cmd.flags & NOF_FUSE_MASK, 0)) {
		exec_fused(r);
		return;
	}
	if (__builtin_expect(!find_again(r), 0)) {
		answer(r, r->status);
		return;
	}
	if (r->cmd.opc == NOF_NVM_READ) {
		r->io.op = VOL_READ;
		dpu_counter_add(&n->reads, 1);
		dpu_counter_add(&n->read_bytes, r->len);
		submit(r);
	} else if (r->cmd.opc == NOF_NVM_WRITE) {
		r->io.op = VOL_WRITE;
		dpu_counter_add(&n->writes, 1);
		dpu_counter_add(&n->write_bytes, r->len);
		submit(r);
	} else {
		dpu_counter_add(&n->others, 1);
		exec_rare(r);
	}
}

unsigned tgt_io_poll(struct tgt_worker *w)
{
	struct tgt_view_ns *vn = TAILQ_FIRST(&w->busy), *next;
	unsigned n = 0;

	for (; vn; vn = next) {
		next = TAILQ_NEXT(vn, busy_link);
		if (vn->kick) {
			vn->kick = false;
			n += vol_chan_kick(vn->chan);
		} else {
			n += vol_chan_poll(vn->chan);
		}
		// Answers may have submitted more.
		if (vol_chan_inflight(vn->chan) == 0) {
			vn->busy = false;
			TAILQ_REMOVE(&w->busy, vn, busy_link);
		}
	}
	compare_next(w);
	return n;
}
