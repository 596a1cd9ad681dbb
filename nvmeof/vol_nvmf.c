// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes over NVMe over Fabrics: a namespace of a subsystem, over every controller of it.
 *
 * A request becomes one or more commands, each of at most what the path's controller takes. If one
 * of them loses its connection, the whole request is sent again, over any path: reads at once,
 * what writes only when nothing of the old commands can land any more. That is so when the
 * controller was seen to have ended the association, or after the quiesce time of the path
 * (struct nof_io). Until then the request stands in the channel's late list.
 *
 * Requests for which there is no path, or no slot, wait in the channel; a volume without paths
 * fails them when its controllers say so (struct nof_view, fail).
 */
#include "vol_nvmf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"

#define MS 1000000ULL
#define RETRIES_MAX 5 // of errors that may go away
#define RETRY_NS (100 * MS)
#define AWAY_MAX 10 // how often a namespace that is listed may not be there
#define ZEROS_LEN 65536U // of one segment
#define PATH_RETRIES_MAX 250 // of states that a path was in: 25 s

static void push(struct vol_fifo *l, struct vol_io *io)
{
	nvmf_state(io)->listed = true;
	vol_fifo_put(l, io);
}

static struct vol_io *pop(struct vol_fifo *l)
{
	struct vol_io *io = vol_fifo_pop(l);

	if (io)
		nvmf_state(io)->listed = false;
	return io;
}

static void pump(struct nvmf_chan *nc);
static void rest(struct nvmf_chan *nc);

/* ---- answers ---- */

static bool writes(const struct vol_io *io)
{
	return io->op != VOL_READ && io->op != VOL_FLUSH;
}

static void set_late_timer(struct nvmf_chan *nc)
{
	uint64_t at = UINT64_MAX;

	for (struct vol_io *io = nc->late.head; io; io = nvmf_state(io)->next)
		if (nvmf_state(io)->until_ns < at)
			at = nvmf_state(io)->until_ns;
	if (at != UINT64_MAX)
		nof_timer_set(nc->group, &nc->timer, at);
}

/*
 * Nothing of the commands that this request had can land any more. That a later association has
 * ended says nothing of this one: the target may have made another controller for it.
 */
static bool safe(const struct nvmf_chan *nc, const struct nvmf_io *s, uint64_t now)
{
	const struct nof_path *p = &nc->n->view.path[s->path];

	if (now >= s->until_ns)
		return true;
	return s->assoc && atomic_load_explicit(&p->ended, memory_order_acquire) == s->assoc;
}

static void check_late(struct nvmf_chan *nc)
{
	uint64_t now = nof_group_now(nc->group);
	struct vol_fifo late;
	struct vol_io *io;

	if (!nc->late.head)
		return;
	vol_fifo_move(&nc->late, &late);
	while ((io = pop(&late)))
		push(safe(nc, nvmf_state(io), now) ? &nc->ready : &nc->late, io);
	set_late_timer(nc);
}

static void again(struct nvmf_chan *nc, struct vol_io *io)
{
	struct nvmf_io *s = nvmf_state(io);
	enum redo redo = (enum redo)s->redo;

	s->redo = DONE;
	s->pos = 0;
	s->iov_at = s->iov_skip = 0;
	if (redo == AT_ONCE || (redo == FENCED && safe(nc, s, nof_group_now(nc->group)))) {
		push(&nc->ready, io);
		return;
	}
	push(&nc->late, io);
	set_late_timer(nc);
	if (!nc->path.on) // what ends an association pokes
		nof_path_wait(nc->n->host, nc->worker, &nc->path);
}

static void settle(struct nvmf_chan *nc, struct vol_io *io)
{
	struct nvmf_io *s = nvmf_state(io);
	uint64_t size;

	if (s->pending > 0 || s->listed) // its last command, or pump(), comes here again
		return;
	// An error waits as well: whoever gets it may write anew, and that must not be overtaken.
	if (s->redo == FENCED || (s->redo != DONE && !s->err)) {
		again(nc, io);
		return;
	}
	if (!s->err && s->pos < io->len && io->op != VOL_FLUSH)
		return; // more of it waits to be sent
	size = atomic_load_explicit(&nc->n->v.size, memory_order_acquire);
	if (!s->err && io->op != VOL_FLUSH && (io->off > size || io->len > size - io->off))
		s->err = -EIO; // it shrank meanwhile
	vol_io_end(&nc->c, io, s->err);
}

void nvmf_redo(struct nvmf_io *s, enum redo r, uint64_t at_ns)
{
	if (r == FENCED || (enum redo)s->redo != FENCED) {
		if ((enum redo)s->redo != FENCED || at_ns > s->until_ns)
			s->until_ns = at_ns;
		if ((int8_t)r > s->redo)
			s->redo = (int8_t)r;
	}
}

/* The connection is gone, and with it the answer. */
void nvmf_lost(struct vol_io *io, const struct nof_io *nio, unsigned path, uint64_t assoc)
{
	struct nvmf_io *s = nvmf_state(io);

	if (!writes(io)) {
		nvmf_redo(s, AT_ONCE, 0);
		return;
	}
	nvmf_redo(s, FENCED, dpu_now_ns() + nio->quiesce_ns);
	if (s->assoc && (s->assoc != assoc || s->path != path))
		s->assoc = UINT64_MAX; // of two associations: time alone tells
	else
		s->assoc = assoc;
	s->path = (uint8_t)path;
}

/*
 * The target took the namespace away. What it has of that number next may be another one: nothing
 * goes there until a scan has looked.
 */
static void away(struct nvmf_chan *nc, unsigned path)
{
	struct nof_path *p = &nc->n->view.path[path];
	struct nof_ctrl *c = atomic_load_explicit(&p->ctrl, memory_order_acquire);

	atomic_store_explicit(&p->ana, 0, memory_order_release);
	if (c) // it may have no event to say so
		atomic_store_explicit(&c->ns_doubt, true, memory_order_relaxed);
}

void nvmf_failed(
	struct nvmf_chan *nc, struct vol_io *io, uint8_t opc, uint16_t status, unsigned path)
{
	struct nvmf_io *s = nvmf_state(io);
	bool of_path = NOF_SCT(status) == NOF_SCT_PATH ||
		       (status & NOF_SC_MASK) == NOF_SC_ABORT_SQ_DELETED;

	if ((status & NOF_SC_MASK) == NOF_SC_INVALID_NS && s->retries < AWAY_MAX) {
		s->retries++;
		away(nc, path);
		nvmf_redo(s, AT_ONCE, 0);
		return;
	}
	if (opc == NOF_NVM_WRITE_ZEROES && nof_path_unsupported(status)) {
		atomic_store_explicit(&nc->n->no_zeroes, true, memory_order_relaxed);
		nvmf_redo(s, AT_ONCE, 0);
		return;
	}
	if (of_path) {
		nof_path_doubt(&nc->pick, path, nof_group_now(nc->group) + RETRY_NS);
		if (s->retries++ < PATH_RETRIES_MAX) {
			nvmf_redo(s, LATER, nof_group_now(nc->group) + RETRY_NS);
			return;
		}
	} else if (!(status & NOF_SC_DNR) && s->retries < RETRIES_MAX &&
		   nof_path_retryable(status)) {
		s->retries++;
		nvmf_redo(s, LATER, nof_group_now(nc->group) + RETRY_NS);
		return;
	}
	s->err = (int16_t)(opc == NOF_NVM_DSM && nof_path_unsupported(status)
				   ? -EOPNOTSUPP
				   : nof_status_errno(status));
}

void nvmf_answered(struct nvmf_chan *nc, struct vol_io *io)
{
	settle(nc, io);
	if (nc->ready.head)
		pump(nc);
	else
		rest(nc);
}

static void done(struct nof_slot *slot, const struct nof_cqe *cqe, int err)
{
	struct vol_io *io = slot->arg;
	struct nvmf_io *s = nvmf_state(io);
	struct nvmf_chan *nc = s->chan;
	unsigned path = (unsigned)(slot->arg2 & (NOF_CTRLS_MAX - 1));

	s->pending--;
	nof_path_done(&nc->pick, path);
	if (__builtin_expect(err != 0, 0))
		nvmf_lost(io, slot->q->arg, path, slot->arg2 / NOF_CTRLS_MAX);
	else if (__builtin_expect(nof_cqe_status(cqe) != 0, 0))
		nvmf_failed(nc, io, slot->sqe.opc, nof_cqe_status(cqe), path);
	nvmf_answered(nc, io);
}

/* ---- commands ---- */

/* Bytes of the next command, and how many segments those are. */
static uint32_t piece(
	const struct nvmf_chan *nc, const struct vol_io *io, uint32_t max, unsigned *n)
{
	const struct nvmf_io *s = (const struct nvmf_io *)io->priv;
	uint32_t skip = s->iov_skip, block = nc->n->v.block_size;
	uint64_t left = io->len - s->pos, len = 0;

	if (left < max)
		max = (uint32_t)left;
	for (*n = 0; s->iov_at + *n < io->n_iov && *n < NVMF_SEGS_MAX && len < max; ++*n) {
		len += io->iov[s->iov_at + *n].iov_len - skip;
		skip = 0;
	}
	return len < max ? (uint32_t)len & ~(block - 1) : max;
}

static void step_over(const struct vol_io *io, struct nvmf_io *s, uint32_t n)
{
	s->pos += n;
	while (n > 0) {
		size_t part = io->iov[s->iov_at].iov_len - s->iov_skip;

		if (n < part) {
			s->iov_skip += n;
			return;
		}
		n -= (uint32_t)part;
		s->iov_at++;
		s->iov_skip = 0;
	}
}

/* False: its segments cannot be cut into blocks. */
static bool build_transfer(
	struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot, uint32_t max)
{
	struct nvmf_io *s = nvmf_state(io);
	unsigned n;
	uint32_t len = piece(nc, io, max, &n);

	if (len == 0)
		return false;
	slot->sqe.opc = io->op == VOL_READ ? NOF_NVM_READ : NOF_NVM_WRITE;
	nvmf_set_range(slot, (io->off + s->pos) >> nc->n->shift, len >> nc->n->shift,
		io->op == VOL_WRITE && io->fua ? NOF_RW_FUA : 0);
	slot->dir = io->op == VOL_READ ? NOF_FROM_CTRL : NOF_TO_CTRL;
	slot->iov = io->iov + s->iov_at;
	slot->n_iov = n;
	slot->skip = s->iov_skip;
	slot->len = len;
	step_over(io, s, len);
	return true;
}

static void build_discard(struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot)
{
	struct nvmf_io *s = nvmf_state(io);
	uint64_t blocks = io->len >> nc->n->shift; // vol_nvmf_submit() saw that it fits

	s->range = (struct nof_dsm_range){ .nlb = dpu_le32_put((uint32_t)blocks),
		.slba = dpu_le64_put(io->off >> nc->n->shift) };
	s->range_iov = (struct iovec){ &s->range, sizeof(s->range) };
	slot->sqe.opc = NOF_NVM_DSM;
	slot->sqe.cdw10 = dpu_le32_put(0); // one range
	slot->sqe.cdw11 = dpu_le32_put(NOF_DSM_AD);
	slot->dir = NOF_TO_CTRL;
	slot->iov = &s->range_iov;
	slot->n_iov = 1;
	slot->len = sizeof(s->range);
	s->pos = io->len;
}

static uint8_t zeros[ZEROS_LEN]; // nobody writes to it
static const struct iovec zeros_iov[] = { { zeros, ZEROS_LEN }, { zeros, ZEROS_LEN },
	{ zeros, ZEROS_LEN }, { zeros, ZEROS_LEN } };

/* Plain writes, where the target cannot do Write Zeroes after all. */
static void build_zeros(
	struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot, uint32_t max)
{
	struct nvmf_io *s = nvmf_state(io);
	uint64_t len = io->len - s->pos;

	if (len > sizeof(zeros_iov) / sizeof(zeros_iov[0]) * ZEROS_LEN)
		len = sizeof(zeros_iov) / sizeof(zeros_iov[0]) * ZEROS_LEN;
	if (len > max)
		len = max & ~(nc->n->v.block_size - 1);
	slot->sqe.opc = NOF_NVM_WRITE;
	nvmf_set_range(slot, (io->off + s->pos) >> nc->n->shift, (uint32_t)len >> nc->n->shift,
		io->fua ? NOF_RW_FUA : 0);
	slot->dir = NOF_TO_CTRL;
	slot->iov = zeros_iov;
	slot->n_iov = (unsigned)((len + ZEROS_LEN - 1) / ZEROS_LEN);
	slot->skip = 0;
	slot->len = (uint32_t)len;
	s->pos += len;
}

static void build_zeroes(struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot)
{
	struct nvmf_io *s = nvmf_state(io);
	uint64_t blocks = (io->len - s->pos) >> nc->n->shift;
	bool deac = io->unmap && atomic_load_explicit(&nc->n->can_deac, memory_order_relaxed);

	if (blocks > NOF_RW_BLOCKS_MAX)
		blocks = NOF_RW_BLOCKS_MAX;
	slot->sqe.opc = NOF_NVM_WRITE_ZEROES;
	nvmf_set_range(slot, (io->off + s->pos) >> nc->n->shift, (uint32_t)blocks,
		(io->fua ? NOF_RW_FUA : 0) | (deac ? NOF_WZ_DEAC : 0));
	s->pos += blocks << nc->n->shift;
}

static bool build(struct nvmf_chan *nc, struct vol_io *io, struct nof_slot *slot, uint32_t max)
{
	slot->sqe.nsid = dpu_le32_put(nc->n->view.nsid);
	switch (io->op) {
	case VOL_READ:
	case VOL_WRITE:
		return build_transfer(nc, io, slot, max);
	case VOL_FLUSH:
		slot->sqe.opc = NOF_NVM_FLUSH;
		nvmf_state(io)->pos = io->len;
		return true;
	case VOL_DISCARD:
		build_discard(nc, io, slot);
		return true;
	case VOL_WRITE_ZEROES:
		if (atomic_load_explicit(&nc->n->no_zeroes, memory_order_relaxed))
			build_zeros(nc, io, slot, max);
		else
			build_zeroes(nc, io, slot);
		return true;
	case VOL_COMPARE_WRITE: // two of them: vol_nvmf_pair.c
		break;
	}
	return false;
}

/* ---- sending ---- */

enum nvmf_issued nvmf_wait_slot(struct nvmf_chan *nc, struct nof_qpair *q, bool two)
{
	nc->slot_q = q;
	nc->slot.two = two;
	nof_qpair_wait(q, &nc->slot);
	return NVMF_NO_SLOT;
}

static enum nvmf_issued issue(struct nvmf_chan *nc, struct vol_io *io)
{
	struct nvmf_io *s = nvmf_state(io);
	struct nof_io *nio = NULL;
	int path = nof_path_pick(&nc->pick, nof_group_now(nc->group), &nio);
	struct nof_slot *slot;

	if (path < 0)
		return NVMF_NO_PATH;
	if (io->op == VOL_COMPARE_WRITE)
		return nvmf_pair_issue(nc, io, nio, (unsigned)path);
	slot = nof_qpair_take(nio->q);
	if (!slot)
		return nvmf_wait_slot(nc, nio->q, false);
	if (!build(nc, io, slot, nio->transfer_max)) {
		nof_slot_drop(slot);
		s->err = -EINVAL;
		return NVMF_BAD;
	}
	slot->done = done;
	slot->arg = io;
	slot->arg2 = nio->assoc * NOF_CTRLS_MAX + (unsigned)path;
	s->pending++;
	nof_path_sent(&nc->pick, (unsigned)path);
	nof_qpair_submit(slot);
	return NVMF_ISSUED;
}

static void fail_all(struct nvmf_chan *nc, int err)
{
	struct vol_fifo l;
	struct vol_io *io;

	vol_fifo_move(&nc->ready, &l);
	while ((io = pop(&l))) {
		if (!nvmf_state(io)->err) // that of a pair whose outcome is unknown stays
			nvmf_state(io)->err = (int16_t)err;
		settle(nc, io); // one that has commands out ends with the last of them
	}
}

static void no_path(struct nvmf_chan *nc)
{
	if (atomic_load_explicit(&nc->n->view.fail, memory_order_acquire)) {
		fail_all(nc, -EIO);
		if (nc->ready.head) // sent from their answers: in a turn of its own
			nof_timer_set(nc->group, &nc->timer, nof_group_now(nc->group));
		return;
	}
	nof_path_wait(nc->n->host, nc->worker, &nc->path);
	if (nc->pick.doubt_until_ns) // every path is in doubt: look again by time, too
		nof_timer_set(nc->group, &nc->timer, nc->pick.doubt_until_ns);
}

/* Send what is ready, in order, as far as there are paths and slots. */
static void pump(struct nvmf_chan *nc)
{
	struct vol_io *io;

	if (nc->pumping || nc->slot.waiting)
		return;
	nc->pumping = true;
	while ((io = nc->ready.head)) {
		struct nvmf_io *s = nvmf_state(io);
		enum nvmf_issued i = NVMF_ISSUED;

		if (s->pos == 0 && !s->pending)
			s->assoc = 0;
		// One that is to be done again waits for its last command.
		while (i == NVMF_ISSUED && !s->err && s->redo == DONE &&
			(s->pos < io->len || (io->op == VOL_FLUSH && !s->pending)))
			i = issue(nc, io);
		if (i == NVMF_NO_SLOT)
			break;
		if (i == NVMF_NO_PATH) {
			no_path(nc);
			break;
		}
		(void)pop(&nc->ready);
		if (i == NVMF_BAD || !s->pending)
			settle(nc, io);
	}
	nc->pumping = false;
	rest(nc);
}

/* Nothing is left to do: no list and no timer has the channel, so that it can be closed. */
static void rest(struct nvmf_chan *nc)
{
	if (vol_chan_inflight(&nc->c) > 0)
		return;
	nof_path_unwait(nc->n->host, nc->worker, &nc->path);
	nof_timer_clear(&nc->timer);
	if (nc->slot_q)
		nof_qpair_unwait(nc->slot_q, &nc->slot);
	nc->slot_q = NULL;
}

static void slot_ready(struct nof_waiter *w)
{
	struct nvmf_chan *nc = (struct nvmf_chan *)((char *)w - offsetof(struct nvmf_chan, slot));

	nc->slot_q = NULL;
	pump(nc);
}

static void path_again(struct nof_waiting *w)
{
	struct nvmf_chan *nc = (struct nvmf_chan *)((char *)w - offsetof(struct nvmf_chan, path));

	check_late(nc);
	if (nc->late.head && !nc->path.on)
		nof_path_wait(nc->n->host, nc->worker, &nc->path);
	pump(nc);
}

static void on_timer(struct nof_timer *t)
{
	struct nvmf_chan *nc = (struct nvmf_chan *)((char *)t - offsetof(struct nvmf_chan, timer));

	nc->pick.doubt_until_ns = 0;
	check_late(nc);
	pump(nc);
}

/* ---- the volume's interface ---- */

static void nvmf_submit(struct vol_chan *c, struct vol_io *io)
{
	struct nvmf_chan *nc = (struct nvmf_chan *)c;
	struct nvmf_io *s = nvmf_state(io);

	memset(s, 0, offsetof(struct nvmf_io, range));
	s->chan = nc;
	if (io->op == VOL_READ || io->op == VOL_WRITE) {
		if (!vol_iov_sums(io)) {
			vol_io_end(c, io, -EINVAL);
			return;
		}
	} else if (io->op == VOL_FLUSH) {
		io->len = 0;
		if (!nc->n->v.volatile_cache) {
			vol_io_end(c, io, 0);
			return;
		}
	} else if (io->op == VOL_DISCARD && io->len >> nc->n->shift > UINT32_MAX) {
		vol_io_end(c, io, -EINVAL);
		return;
	}
	push(&nc->ready, io);
	pump(nc);
}

/* Answers come through the group, which wakes the worker. */
static unsigned nvmf_wait_us(const struct vol_chan *c)
{
	(void)c;
	return VOL_WAIT_FD;
}

/* Others may write to it: a read and a write are no compare-and-write there. */
static uint32_t nvmf_compare_max(const struct vol *v)
{
	return atomic_load_explicit(&((const struct nvmf *)v)->compare_max, memory_order_relaxed);
}

static int nvmf_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct nvmf *n = (struct nvmf *)v;
	struct nvmf_chan *nc;
	int worker = group ? nof_path_worker(n->host, group) : -EINVAL;

	if (worker < 0)
		return worker;
	nc = dpu_calloc(1, sizeof(*nc));
	if (!nc)
		return -ENOMEM;
	nc->n = n;
	nc->group = group;
	nc->worker = (unsigned)worker;
	nof_path_init(&nc->pick, &n->view, nc->worker, n->host->workers[worker].node);
	vol_fifo_init(&nc->ready);
	vol_fifo_init(&nc->late);
	nc->slot.ready = slot_ready;
	nc->path.again = path_again;
	nc->timer.fire = on_timer;
	*out = &nc->c;
	return 0;
}

/* Nothing is in flight, so it waits for nothing: no list and no timer has it. */
static void nvmf_chan_close(struct vol_chan *c)
{
	struct nvmf_chan *nc = (struct nvmf_chan *)c;

	assert(!nc->path.on && !nc->timer.group && !nc->slot.waiting);
	free(nc);
}

static void nvmf_close(struct vol *v)
{
	struct nvmf *n = (struct nvmf *)v;

	nof_view_leave(&n->view);
	vol_fini(v);
	free(n);
}

const struct vol_ops vol_nvmf_ops = {
	.kind = "nvmf",
	.close = nvmf_close,
	.chan_open = nvmf_chan_open,
	.chan_close = nvmf_chan_close,
	.submit = nvmf_submit,
	.wait_us = nvmf_wait_us,
	.compare_max = nvmf_compare_max,
};

/* ---- opening; on the control thread ---- */

/* The namespace on any controller that is connected. */
static const struct nof_ns *find_ns(const struct vol_nvmf_conf *conf)
{
	struct nof_ctrl *c = NULL;

	while ((c = nof_ctrl_next(conf->host, c))) {
		const struct nof_ns *ns = nof_ctrl_ns_find(c, conf->nsid);

		if (ns && c->state == NOF_CTRL_LIVE && !strcmp(c->conf.subnqn, conf->subnqn))
			return ns;
	}
	return NULL;
}

int vol_nvmf_open(const struct vol_nvmf_conf *conf, struct vol **out)
{
	uint64_t size = conf->size;
	uint32_t block_size = conf->block_size;
	struct nvmf *n;
	int ret;

	if (!conf->subnqn || !conf->subnqn[0] || strlen(conf->subnqn) > NOF_NQN_MAX || !conf->nsid)
		return -EINVAL;
	if (!size) {
		const struct nof_ns *ns = find_ns(conf);

		if (!ns || !ns->usable)
			return ns ? -ENOTSUP : -ENOENT;
		size = ns->id.blocks << ns->id.lba_shift;
		block_size = 1u << ns->id.lba_shift;
	}
	n = dpu_calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	ret = vol_init(&n->v, &vol_nvmf_ops, conf->name, size, block_size);
	if (ret)
		goto err_free;
	n->host = conf->host;
	atomic_init(&n->view.policy, (uint8_t)conf->policy);
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++)
		atomic_init(&n->view.path[i].node, -1);
	n->shift = block_size == 512 ? 9 : 12;
	memcpy(n->want, conf->uuid, sizeof(n->want));
	// A guest that runs goes on with what it was offered before, whether the target is there or
	// not.
	n->v.read_only = conf->read_only;
	n->v.can_discard = conf->can_discard;
	n->v.can_zero = conf->can_zero;
	n->v.volatile_cache = conf->volatile_cache || !conf->size;
	n->view.nsid = conf->nsid;
	n->view.accepts = vol_nvmf_accepts;
	n->view.changed = vol_nvmf_changed;
	n->known = false;
	atomic_init(&n->compare_max, block_size); // the least there is, until one has told
	ret = nof_view_join(conf->host, conf->subnqn, &n->view);
	if (ret)
		goto err_fini;
	*out = &n->v;
	return 0;

err_fini:
	vol_fini(&n->v);
err_free:
	free(n);
	return ret;
}
