// SPDX-License-Identifier: Apache-2.0
/*
 * Compare-and-writes of a remote volume: a fused pair of commands, adjacent in one submission queue
 * (Base 2.0, 3.4.2; NVM 1.0, 3.2.1). It is sent again only if it was surely not carried out
 * (ADR-0019): carried out twice it would miscompare against its own data.
 */
#include "vol_nvmf.h"

#include <errno.h>

static uint16_t sc(uint16_t status)
{
	return status & NOF_SC_MASK;
}

/* A half that was not carried out because of the other one. */
static bool fused(uint16_t status)
{
	return sc(status) == NOF_SC_FUSED_FAILED || sc(status) == NOF_SC_FUSED_MISSING;
}

/* The controller says that it did not begin, and that it may later, or another one. */
static bool not_begun(uint16_t status)
{
	switch ((enum nof_sc)sc(status)) {
	case NOF_SC_ANA_PERSISTENT_LOSS:
	case NOF_SC_ANA_INACCESSIBLE:
	case NOF_SC_ANA_TRANSITION:
	case NOF_SC_NS_NOT_READY:
		return true;
	default:
		return false;
	}
}

static bool unknown(uint16_t status)
{
	return sc(status) == NOF_SC_PATH_INTERNAL;
}

/* Both were answered. */
static void judge_answers(struct nvmf_chan *nc, struct vol_io *io, unsigned path)
{
	struct nvmf_io *s = nvmf_state(io);
	uint16_t compare = s->pair.status[0], write = s->pair.status[1];
	uint16_t cause = compare == 0 || fused(compare) ? write : compare;

	if (compare == 0 && write == 0)
		return;
	if (write == 0) // in spite of its other half: nobody can tell what that means
		s->err = -EIO;
	else if (unknown(compare) || unknown(write))
		s->err = -ECONNABORTED;
	else if ((fused(write) || not_begun(write)) && !fused(cause))
		nvmf_failed(nc, io, NOF_NVM_WRITE, cause, path);
	else if (sc(cause) == NOF_SC_INVALID_FIELD) // what is said of a fused bit, Base 2.0, 3.4.2
		s->err = -EOPNOTSUPP;
	else
		s->err = (int16_t)nof_status_errno(cause);
	if (s->err == -EBUSY || s->err == -ECANCELED) // they mean something else here
		s->err = -EIO;
}

/* Both are back. */
static void judge(struct nvmf_chan *nc, struct vol_io *io, const struct nof_slot *last)
{
	struct nvmf_io *s = nvmf_state(io);
	const struct nvmf_pair *p = &s->pair;
	unsigned path = (unsigned)(last->arg2 & (NOF_CTRLS_MAX - 1));

	if (!p->lost[0] && sc(p->status[0]) == NOF_SC_COMPARE && (p->lost[1] || p->status[1])) {
		s->err = -ECANCELED;
		return;
	}
	if (!p->lost[0] && !p->lost[1]) {
		judge_answers(nc, io, path);
		return;
	}
	if (!p->lost[1] && p->status[1] == 0)
		return; // written, so it was equal
	if (p->lost[1] ? p->unsent : fused(p->status[1])) {
		nvmf_redo(s, AT_ONCE, 0);
		return;
	}
	s->err = -ECONNABORTED;
	// Whoever hears that may write anew, which the old one must not overtake.
	nvmf_lost(io, last->q->arg, path, last->arg2 / NOF_CTRLS_MAX);
}

static void done(struct nof_slot *slot, const struct nof_cqe *cqe, int err)
{
	struct vol_io *io = slot->arg;
	struct nvmf_io *s = nvmf_state(io);
	unsigned half = (slot->sqe.flags & NOF_FUSE_MASK) == NOF_FUSE_SECOND;

	nof_path_done(&s->chan->pick, (unsigned)(slot->arg2 & (NOF_CTRLS_MAX - 1)));
	s->pair.lost[half] = err != 0;
	s->pair.status[half] = err ? 0 : nof_cqe_status(cqe);
	if (half == 1)
		s->pair.unsent = !slot->capsule_out;
	if (--s->pending > 0)
		return;
	judge(s->chan, io, slot);
	nvmf_answered(s->chan, io);
}

static void build(struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot, unsigned half)
{
	uint8_t shift = nc->n->shift;

	slot->sqe.opc = half ? NOF_NVM_WRITE : NOF_NVM_COMPARE;
	slot->sqe.flags = half ? NOF_FUSE_SECOND : NOF_FUSE_FIRST;
	slot->sqe.nsid = dpu_le32_put(nc->n->view.nsid);
	nvmf_set_range(slot, io->off >> shift, (uint32_t)(io->len >> shift),
		half && io->fua ? NOF_RW_FUA : 0);
	slot->dir = NOF_TO_CTRL;
	slot->iov = half ? io->iov : io->cmp;
	slot->n_iov = half ? io->n_iov : io->n_cmp;
	slot->len = (uint32_t)io->len;
	slot->done = done;
	slot->arg = io;
}

enum nvmf_issued nvmf_pair_issue(
	struct nvmf_chan *nc, struct vol_io *io, struct nof_io *nio, unsigned path)
{
	struct nvmf_io *s = nvmf_state(io);
	struct nof_slot *slot[2];

	if (!nio->compare_write)
		s->err = -EOPNOTSUPP;
	else if (io->len > nio->transfer_max || io->n_iov > NVMF_SEGS_MAX ||
		 io->n_cmp > NVMF_SEGS_MAX)
		s->err = -EINVAL;
	if (s->err)
		return NVMF_BAD;
	if (!nof_qpair_take_two(nio->q, slot))
		return nvmf_wait_slot(nc, nio->q, true);
	s->pair = (struct nvmf_pair){ 0 };
	s->pos = io->len;
	s->pending = 2;
	for (unsigned i = 0; i < 2; i++) {
		build(nc, io, slot[i], i);
		slot[i]->arg2 = nio->assoc * NOF_CTRLS_MAX + path;
		nof_path_sent(&nc->pick, path);
	}
	for (unsigned i = 0; i < 2; i++) // nothing in between
		nof_qpair_submit(slot[i]);
	return NVMF_ISSUED;
}

uint32_t nvmf_pair_max(const struct nof_ctrl *c, const struct nof_ns *ns)
{
	uint64_t blocks = ns->id.acwu_blocks ? ns->id.acwu_blocks : c->id.acwu_blocks;
	uint64_t bytes = blocks << ns->id.lba_shift;

	if (!c->id.compare_write)
		return 0;
	bytes = bytes < c->id.transfer_max ? bytes : c->id.transfer_max;
	return bytes < VOL_COMPARE_MAX ? (uint32_t)bytes : VOL_COMPARE_MAX;
}
