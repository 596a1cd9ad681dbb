// SPDX-License-Identifier: Apache-2.0
/* Admin commands of controllers: properties, features, events, keep alive, their ends. */
#include "tgt_ctrl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "dpu_log.h"

#define ABORT_MISSED 1U // Abort, DW0 bit 0: nothing was aborted
#define FEAT_SAVE (1U << 31)
#define FEAT_MAX 15U
#define KAS_MS 100U

/* ---- what is written into the buffers of a command ---- */

void tgt_out_init(struct tgt_out *o, struct tgt_req *r, uint64_t off)
{
	*o = (struct tgt_out){ .r = r, .off = off };
	for (unsigned i = 0; i < r->n_iov; i++)
		memset(r->iov[i].iov_base, 0, r->iov[i].iov_len);
}

void tgt_out_put(struct tgt_out *o, const void *p, size_t len)
{
	uint64_t begin = o->pos, end = o->pos + len, base = o->off;

	o->pos = end;
	for (unsigned i = 0; i < o->r->n_iov; i++) {
		const struct iovec *v = &o->r->iov[i];
		uint64_t from = begin > base ? begin : base;
		uint64_t to = end < base + v->iov_len ? end : base + v->iov_len;

		if (from < to)
			memcpy((uint8_t *)v->iov_base + (from - base),
				(const uint8_t *)p + (from - begin), to - from);
		base += v->iov_len;
	}
}

void tgt_out_zero(struct tgt_out *o, size_t len)
{
	o->pos += len;
}

/* ---- events: Base 5.2 ---- */

static const struct {
	uint32_t mask; // in feature 0Bh
	uint8_t info, log;
} events[TGT_EVENTS] = {
	[TGT_EV_NS] = { NOF_OAES_NS_ATTR, NOF_NOTICE_NS_ATTR, NOF_LOG_CHANGED_NS },
	[TGT_EV_ANA] = { NOF_OAES_ANA, NOF_NOTICE_ANA, NOF_LOG_ANA },
	[TGT_EV_DISCOVERY] = { NOF_OAES_DISCOVERY, NOF_NOTICE_DISCOVERY, NOF_LOG_DISCOVERY },
};

static void send_events(struct tgt_ctrl *c)
{
	for (unsigned ev = 0; ev < TGT_EVENTS; ev++) {
		uint32_t bit = 1U << ev;
		struct tgt_req *r;

		if (!(c->events_due & bit) || (c->events_masked & bit) || c->n_aer == 0)
			continue;
		r = c->aer[--c->n_aer];
		c->events_due &= ~bit;
		c->events_masked |= bit;
		r->result = NOF_AER_DW0(NOF_AER_NOTICE, events[ev].info, events[ev].log);
		r->status = 0;
		r->q->n_core--;
		r->done(r);
	}
}

static void note_changed(struct tgt_ctrl *c, uint32_t nsid)
{
	for (uint32_t i = 0; i < c->n_changed && i < NOF_LOG_CHANGED_MAX; i++)
		if (c->changed[i] == nsid)
			return;
	if (c->n_changed < NOF_LOG_CHANGED_MAX)
		c->changed[c->n_changed] = nsid;
	if (c->n_changed <= NOF_LOG_CHANGED_MAX)
		c->n_changed++;
}

void tgt_ctrl_event(struct tgt_ctrl *c, enum tgt_event ev, uint32_t nsid)
{
	if (ev == TGT_EV_NS)
		note_changed(c, nsid);
	if (!(c->events_mask & events[ev].mask))
		return;
	c->events_due |= 1U << ev;
	send_events(c);
}

/* A log was read: its event may come again. */
static void log_read(struct tgt_ctrl *c, uint32_t cdw10)
{
	if (cdw10 & NOF_LOG_RAE)
		return;
	for (unsigned ev = 0; ev < TGT_EVENTS; ev++) {
		if (events[ev].log != (cdw10 & 0xff))
			continue;
		c->events_masked &= ~(1U << ev);
		if (ev == TGT_EV_NS)
			c->n_changed = 0;
	}
	send_events(c);
}

static void drop_events(struct tgt_ctrl *c, uint16_t status)
{
	while (c->n_aer > 0) {
		struct tgt_req *r = c->aer[--c->n_aer];

		r->status = status;
		r->q->n_core--;
		r->done(r);
	}
}

/* ---- the end of queues and controllers ---- */

static void ctrl_free(struct tgt_ctrl *c)
{
	assert(TAILQ_EMPTY(&c->io) && !c->admin);
	TAILQ_REMOVE(&c->sub->ctrls, c, link);
	c->sub->t->n_ctrls--;
	free(c);
}

static void end_queue(struct tgt_queue *q)
{
	if (q->closing)
		return;
	q->closing = true;
	q->w->t->xport->close(q);
}

static void end_io_queues(struct tgt_ctrl *c)
{
	struct tgt_queue *q;

	TAILQ_FOREACH (q, &c->io, link)
		end_queue(q);
}

/* The last I/O queue is gone: what waited for that is done. Base 3.7.2 and 3.6.2. */
static void io_queues_gone(struct tgt_ctrl *c)
{
	if (c->resetting) {
		c->csts &= ~NOF_CSTS_RDY;
		c->resetting = false;
	}
	if (c->shutting) {
		c->csts |= NOF_CSTS_SHST_DONE;
		c->shutting = false;
	}
}

void tgt_ctrl_end(struct tgt_ctrl *c)
{
	c->gone = true;
	c->kato_ns = 0;
	if (c->admin)
		end_queue(c->admin);
	end_io_queues(c);
}

void tgt_queue_gone(struct tgt_queue *q)
{
	struct tgt_ctrl *c = q->ctrl;

	if (!c)
		return;
	q->ctrl = NULL;
	c->sub->commands += dpu_counter_read(&q->commands);
	c->sub->errors += dpu_counter_read(&q->errors);
	if (c->admin == q) {
		c->admin = NULL;
		c->n_aer = 0; // the transport dropped them
		tgt_ctrl_end(c);
	} else {
		TAILQ_REMOVE(&c->io, q, link);
		c->n_io--;
	}
	if (c->n_io > 0)
		return;
	io_queues_gone(c);
	if (!c->admin)
		ctrl_free(c);
}

void tgt_tick(struct nof_tgt *t, uint64_t now_ns)
{
	struct nof_tgt_subsys *sub;
	struct tgt_ctrl *c;

	TAILQ_FOREACH (sub, &t->subs, link) {
		TAILQ_FOREACH (c, &sub->ctrls, link) {
			if (!c->kato_ns || now_ns < c->kato_ns)
				continue;
			dpu_counter_add(&tgt_control(t)->n.kato, 1);
			dpu_warn_ratelimited("target: keep alive timeout", "subsystem=%s host=%s",
				sub->nqn, c->hostnqn);
			c->csts |= NOF_CSTS_CFS;
			tgt_ctrl_end(c);
		}
	}
}

static void restart_kato(struct tgt_ctrl *c)
{
	c->kato_ns = c->kato_ms && !c->gone ? dpu_now_ns() + c->kato_ms * 1000000ULL : 0;
}

void tgt_ctrl_kato(struct tgt_ctrl *c, uint32_t ms)
{
	c->kato_ms = (ms + KAS_MS - 1) / KAS_MS * KAS_MS;
	restart_kato(c);
}

/* ---- properties: Base 3.1.4 and 6.6 ---- */

static uint64_t cap_of(const struct tgt_ctrl *c)
{
	uint64_t mqes = c->sub->t->conf.opts.max_queue_depth - 1U;

	return mqes | NOF_CAP_CQR | 15ULL << NOF_CAP_TO_SHIFT | NOF_CAP_CSS_NVM;
}

static uint16_t enable(struct tgt_ctrl *c, uint32_t cc)
{
	if (NOF_CC_MPS(cc) || NOF_CC_CSS(cc) || NOF_CC_AMS(cc))
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	if (!c->sub->discovery && (NOF_CC_IOSQES(cc) != 6 || NOF_CC_IOCQES(cc) != 4))
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	if (c->resetting) // not before CSTS.RDY is 0
		return NOF_SC_SEQUENCE | NOF_SC_DNR;
	c->csts = NOF_CSTS_RDY;
	return 0;
}

static void reset(struct tgt_ctrl *c)
{
	drop_events(c, NOF_SC_ABORT_REQUESTED);
	c->events_due = 0;
	c->events_masked = 0;
	c->resetting = true;
	c->csts &= ~(3U << 2); // SHST
	end_io_queues(c);
	if (c->n_io == 0)
		io_queues_gone(c);
}

static uint16_t set_cc(struct tgt_ctrl *c, uint32_t cc)
{
	uint32_t old = c->cc;
	uint16_t status = 0;

	if (cc & ~0x00fffff1U)
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	if ((cc & NOF_CC_EN) && !(old & NOF_CC_EN))
		status = enable(c, cc);
	if (status)
		return status;
	c->cc = cc;
	if (!(cc & NOF_CC_EN) && (old & NOF_CC_EN))
		reset(c);
	if (NOF_CC_SHN(cc) && !NOF_CC_SHN(old)) {
		c->shutting = true;
		end_io_queues(c);
		if (c->n_io == 0)
			io_queues_gone(c);
	}
	return 0;
}

static uint16_t property_set(struct tgt_req *r)
{
	struct nof_property_sqe p;

	memcpy(&p, &r->cmd, sizeof(p));
	if ((p.attrib & 7) != NOF_PROP_4 || dpu_le32_get(p.off) != NOF_PROP_CC)
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	return set_cc(r->q->ctrl, (uint32_t)dpu_le64_get(p.value));
}

static uint16_t property_get(struct tgt_req *r)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	struct nof_property_sqe p;
	unsigned size;

	memcpy(&p, &r->cmd, sizeof(p));
	size = p.attrib & 7;
	switch (dpu_le32_get(p.off)) {
	case NOF_PROP_CAP:
		r->result = cap_of(c);
		return size == NOF_PROP_8 ? 0 : NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	case NOF_PROP_VS:
		r->result = NOF_VS_2_0;
		break;
	case NOF_PROP_CC:
		r->result = c->cc;
		break;
	case NOF_PROP_CSTS:
		r->result = c->csts;
		break;
	default:
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	}
	return size == NOF_PROP_4 ? 0 : NOF_SC_INVALID_FIELD | NOF_SC_DNR;
}

/* ---- features: Base 5.15 and 5.27 ---- */

/* Of I/O controllers; a discovery controller has but events and keep alive: Base 3.1.3.3.2. */
static bool has_feature(const struct tgt_ctrl *c, uint32_t fid)
{
	static const uint32_t of_io = 1U << 0x01 | 1U << 0x02 | 1U << 0x04 | 1U << 0x05 |
				      1U << NOF_FEAT_VWC | 1U << NOF_FEAT_QUEUES | 1U << 0x0a;
	static const uint32_t of_all = 1U << NOF_FEAT_AEC | 1U << NOF_FEAT_KATO;

	if (fid > FEAT_MAX)
		return false;
	return ((c->sub->discovery ? of_all : of_io | of_all) >> fid & 1) != 0;
}

static uint32_t queues_granted(const struct tgt_ctrl *c)
{
	uint32_t n = c->sub->t->conf.opts.max_io_queues - 1U;

	return n | n << 16;
}

static uint16_t set_feature(struct tgt_req *r)
{
	struct tgt_ctrl *c = r->q->ctrl;
	uint32_t cdw10 = dpu_le32_get(r->cmd.cdw10), value = dpu_le32_get(r->cmd.cdw11);
	uint32_t fid = cdw10 & 0xff;

	if (cdw10 & FEAT_SAVE)
		return NOF_SC_FEATURE_NOT_SAVEABLE | NOF_SC_DNR;
	if (fid == NOF_FEAT_HOSTID) // Connect has set it: Base 5.27.1.25
		return NOF_SC_SEQUENCE | NOF_SC_DNR;
	if (!has_feature(c, fid))
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	switch (fid) {
	case NOF_FEAT_QUEUES:
		if ((value & 0xffff) == 0xffff || value >> 16 == 0xffff)
			return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
		if (c->n_io > 0)
			return NOF_SC_SEQUENCE | NOF_SC_DNR;
		r->result = queues_granted(c);
		return 0;
	case NOF_FEAT_AEC:
		c->events_mask = value;
		c->events_due = 0;
		break;
	case NOF_FEAT_KATO:
		if (value > c->sub->t->conf.opts.kato_max_s * 1000U)
			return NOF_SC_KATO_INVALID | NOF_SC_DNR;
		tgt_ctrl_kato(c, value);
		break;
	default:
		break;
	}
	c->features[fid] = value;
	return 0;
}

static uint16_t get_feature(struct tgt_req *r)
{
	const struct tgt_ctrl *c = r->q->ctrl;
	uint32_t cdw10 = dpu_le32_get(r->cmd.cdw10), fid = cdw10 & 0xff;

	if (cdw10 >> 8 & 7) // SEL: Identify says that only current values are there
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	if (fid == NOF_FEAT_HOSTID) {
		struct tgt_out o;

		if (!(dpu_le32_get(r->cmd.cdw11) & 1)) // EXHID
			return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
		tgt_out_init(&o, r, 0);
		tgt_out_put(&o, c->hostid, sizeof(c->hostid));
		return 0;
	}
	if (!has_feature(c, fid))
		return NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	if (fid == NOF_FEAT_QUEUES)
		r->result = queues_granted(c);
	else if (fid == NOF_FEAT_KATO)
		r->result = c->kato_ms;
	else
		r->result = c->features[fid];
	return 0;
}

/* ---- dispatch ---- */

static bool refuse(struct tgt_req *r, enum nof_sc sc)
{
	r->status = (uint16_t)sc | NOF_SC_DNR;
	dpu_counter_add(&r->q->w->n.bad_command, 1);
	return false;
}

static bool moves(struct tgt_req *r, enum tgt_dir dir, uint64_t len)
{
	if (len > tgt_max_io_bytes(r->q->w))
		return refuse(r, NOF_SC_INVALID_FIELD);
	if (len != r->sgl_bytes)
		return refuse(r, NOF_SC_SGL_LENGTH);
	r->dir = dir;
	r->len = (uint32_t)len;
	return true;
}

static bool start_fabrics(struct tgt_req *r)
{
	struct nof_connect_sqe f;

	memcpy(&f, &r->cmd, sizeof(f));
	if (f.fctype == NOF_FC_CONNECT) {
		if (r->q->connected)
			return refuse(r, NOF_SC_SEQUENCE);
		return moves(r, TGT_IN, sizeof(struct nof_connect_data));
	}
	if (!r->q->connected)
		return refuse(r, NOF_SC_SEQUENCE);
	if (f.fctype == NOF_FC_PROPERTY_GET || f.fctype == NOF_FC_PROPERTY_SET)
		return true;
	return refuse(r, NOF_SC_INVALID_OPCODE);
}

static bool start_by_opcode(struct tgt_req *r)
{
	uint32_t cdw10 = dpu_le32_get(r->cmd.cdw10), cdw11 = dpu_le32_get(r->cmd.cdw11);
	bool discovery = r->q->ctrl->sub->discovery;

	switch (r->cmd.opc) {
	case NOF_ADM_GET_LOG:
		return moves(
			r, TGT_OUT, (((uint64_t)(cdw11 & 0xffff) << 16 | cdw10 >> 16) + 1) * 4);
	case NOF_ADM_IDENTIFY:
		return moves(r, TGT_OUT, NOF_IDENTIFY_LEN);
	case NOF_ADM_GET_FEATURES:
		if ((cdw10 & 0xff) == NOF_FEAT_HOSTID && (cdw11 & 1))
			return moves(r, TGT_OUT, sizeof(r->q->ctrl->hostid));
		return true;
	case NOF_ADM_SET_FEATURES:
	case NOF_ADM_KEEP_ALIVE:
	case NOF_ADM_AER:
		return true;
	case NOF_ADM_ABORT:
		if (!discovery)
			return true;
		break;
	default:
		break;
	}
	return refuse(r, NOF_SC_INVALID_OPCODE);
}

bool tgt_admin_start(struct tgt_req *r)
{
	r->dir = TGT_NONE;
	r->len = 0;
	r->result = 0;
	r->status = 0;
	r->other = NULL;
	r->vn = NULL;
	if (r->cmd.flags & NOF_FUSE_MASK)
		return refuse(r, NOF_SC_INVALID_FIELD);
	if (r->cmd.opc == NOF_OPC_FABRICS)
		return start_fabrics(r);
	if (!r->q->connected)
		return refuse(r, NOF_SC_SEQUENCE);
	if (!(r->q->ctrl->cc & NOF_CC_EN) && r->cmd.opc != NOF_ADM_KEEP_ALIVE)
		return refuse(r, NOF_SC_SEQUENCE);
	return start_by_opcode(r);
}

/* True: it stays. */
static bool keep_event(struct tgt_req *r)
{
	struct tgt_ctrl *c = r->q->ctrl;

	if (c->n_aer > TGT_AERL) {
		r->status = NOF_SC_AER_LIMIT | NOF_SC_DNR;
		return false;
	}
	c->aer[c->n_aer++] = r;
	send_events(c);
	return true;
}

static uint16_t exec_fabrics(struct tgt_req *r)
{
	struct nof_connect_sqe f;

	memcpy(&f, &r->cmd, sizeof(f));
	return f.fctype == NOF_FC_PROPERTY_GET ? property_get(r) : property_set(r);
}

static uint16_t exec_by_opcode(struct tgt_req *r)
{
	uint16_t status;

	switch (r->cmd.opc) {
	case NOF_OPC_FABRICS:
		return exec_fabrics(r);
	case NOF_ADM_IDENTIFY:
		return tgt_identify(r);
	case NOF_ADM_GET_LOG:
		status = tgt_get_log(r);
		if (!status)
			log_read(r->q->ctrl, dpu_le32_get(r->cmd.cdw10));
		return status;
	case NOF_ADM_SET_FEATURES:
		return set_feature(r);
	case NOF_ADM_GET_FEATURES:
		return get_feature(r);
	case NOF_ADM_KEEP_ALIVE:
		restart_kato(r->q->ctrl);
		return 0;
	case NOF_ADM_ABORT: // every other admin command is answered before the next is read
		r->result = ABORT_MISSED;
		return 0;
	default:
		return NOF_SC_INVALID_OPCODE | NOF_SC_DNR;
	}
}

void tgt_admin_exec(struct tgt_req *r)
{
	struct nof_connect_sqe f;
	struct tgt_queue *q = r->q;

	memcpy(&f, &r->cmd, sizeof(f));
	q->n_core++;
	if (f.opc == NOF_OPC_FABRICS && f.fctype == NOF_FC_CONNECT) {
		tgt_connect_exec(r);
	} else if (!q->ctrl || q->ctrl->gone) {
		r->status = NOF_SC_SEQUENCE | NOF_SC_DNR;
	} else if (f.opc == NOF_ADM_AER) {
		if (keep_event(r))
			return;
	} else {
		r->status = exec_by_opcode(r);
	}
	if (r->status)
		dpu_counter_add(&q->w->n.bad_command, 1);
	q->n_core--;
	r->done(r);
}

void tgt_admin_drop(struct tgt_req *r)
{
	struct tgt_ctrl *c = r->q->ctrl;

	for (unsigned i = 0; c && i < c->n_aer; i++) {
		if (c->aer[i] != r)
			continue;
		c->aer[i] = c->aer[--c->n_aer];
		r->q->n_core--;
		return;
	}
}
