// SPDX-License-Identifier: Apache-2.0
/* Connect: who comes, to which subsystem, through which listener. Base 2.0, section 6.3. */
#include "tgt_ctrl.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "tgt_view.h"

/* A parameter that is wrong: its offset, in the command or in the data. */
enum where { IN_CMD, IN_DATA };

static uint16_t bad_param(struct tgt_req *r, enum where where, size_t off)
{
	r->result = off | (where == IN_DATA ? NOF_IPO_IN_DATA : 0);
	return NOF_SC_CONNECT_PARAM | NOF_SC_DNR;
}

#define ADMIN_DEPTH 32 // hosts ask for so many, whatever MQES says
#define BAD_CMD(r, field) bad_param(r, IN_CMD, offsetof(struct nof_connect_sqe, field))
#define BAD_DATA(r, field) bad_param(r, IN_DATA, offsetof(struct nof_connect_data, field))

static bool is_listed(const struct tgt_hosts *hosts, const char *nqn)
{
	const struct tgt_host *h;

	LIST_FOREACH (h, hosts, link)
		if (!strcmp(h->nqn, nqn)) // byte for byte: Base 4.5
			return true;
	return false;
}

bool tgt_host_allowed(const struct nof_tgt_subsys *sub, const char *hostnqn)
{
	return sub->allow_any_host || is_listed(&sub->hosts, hostnqn);
}

bool tgt_ns_visible(const struct tgt_ctrl *c, uint32_t nsid)
{
	const struct tgt_ns *ns = nsid - 1 < c->sub->max_ns ? c->sub->ns[nsid] : NULL;

	return ns && !ns->dying && (!ns->masked || is_listed(&ns->hosts, c->hostnqn));
}

const struct tgt_listener *tgt_listener_of(
	const struct nof_tgt_subsys *sub, const struct tgt_port *p)
{
	const struct tgt_listener *l;

	TAILQ_FOREACH (l, &sub->listeners, link)
		if (l->port == p)
			return l;
	return NULL;
}

uint8_t tgt_ana_of(const struct tgt_ctrl *c, uint32_t anagrpid)
{
	const struct tgt_listener *l = tgt_listener_of(c->sub, c->port);

	return c->sub->ana && l ? l->ana[anagrpid] : NOF_TGT_ANA_OPTIMIZED;
}

static enum tgt_access access_of(const struct tgt_ctrl *c, uint32_t nsid)
{
	if (!tgt_ns_visible(c, nsid))
		return TGT_HIDDEN;
	switch (tgt_ana_of(c, c->sub->ns[nsid]->anagrpid)) {
	case NOF_TGT_ANA_INACCESSIBLE:
		return TGT_INACCESSIBLE;
	case NOF_TGT_ANA_LOSS:
		return TGT_LOSS;
	case NOF_TGT_ANA_CHANGE:
		return TGT_CHANGE;
	default:
		return TGT_OPEN;
	}
}

void tgt_ctrl_access_ns(struct tgt_ctrl *c, uint32_t nsid)
{
	atomic_store_explicit(&c->access[nsid], (uint8_t)access_of(c, nsid), memory_order_relaxed);
}

void tgt_ctrl_access(struct tgt_ctrl *c)
{
	for (uint32_t i = 1; i <= c->sub->max_ns; i++)
		tgt_ctrl_access_ns(c, i);
}

static struct tgt_ctrl *find_ctrl(const struct nof_tgt_subsys *sub, uint16_t cntlid)
{
	struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link)
		if (c->cntlid == cntlid)
			return c;
	return NULL;
}

/* 0: all are in use. */
static uint16_t pick_cntlid(struct nof_tgt_subsys *sub)
{
	unsigned n = sub->max_cntlid - sub->min_cntlid + 1U;

	for (unsigned i = 0; i < n; i++) {
		uint16_t id = sub->next_cntlid;

		sub->next_cntlid = id == sub->max_cntlid ? sub->min_cntlid : (uint16_t)(id + 1);
		if (!find_ctrl(sub, id))
			return id;
	}
	return 0;
}

static uint16_t connect_admin(struct tgt_req *r, struct nof_tgt_subsys *sub,
	const struct nof_connect_sqe *cmd, const struct nof_connect_data *d)
{
	struct nof_tgt *t = sub->t;
	uint32_t most = t->conf.opts.kato_max_s * 1000U, kato_ms;
	struct tgt_queue *q = r->q;
	struct tgt_ctrl *c;

	if (dpu_le16_get(d->cntlid) != NOF_CNTLID_DYNAMIC)
		return BAD_DATA(r, cntlid);
	if (t->n_ctrls >= t->conf.opts.max_conns)
		return NOF_SC_CONNECT_BUSY;
	c = dpu_calloc(1, sizeof(*c) + sub->max_ns + 1);
	if (!c)
		return NOF_SC_CONNECT_BUSY;
	c->cntlid = pick_cntlid(sub);
	if (!c->cntlid) {
		free(c);
		return NOF_SC_CONNECT_BUSY;
	}
	c->sub = sub;
	c->port = q->port;
	memcpy(c->hostnqn, d->hostnqn, sizeof(c->hostnqn));
	memcpy(c->hostid, d->hostid, sizeof(c->hostid));
	c->admin = q;
	TAILQ_INIT(&c->io);
	TAILQ_INSERT_TAIL(&sub->ctrls, c, link);
	t->n_ctrls++;
	kato_ms = dpu_le32_get(cmd->kato_ms);
	tgt_ctrl_kato(c, kato_ms < most ? kato_ms : most);
	tgt_ctrl_access(c);
	q->ctrl = c;
	r->result = c->cntlid;
	return 0;
}

static bool same_host(const struct tgt_ctrl *c, const struct nof_connect_data *d)
{
	return !strcmp(c->hostnqn, d->hostnqn) && !memcmp(c->hostid, d->hostid, sizeof(d->hostid));
}

static uint16_t connect_io(struct tgt_req *r, struct nof_tgt_subsys *sub, uint16_t qid,
	const struct nof_connect_data *d)
{
	struct nof_tgt *t = sub->t;
	struct tgt_ctrl *c = find_ctrl(sub, dpu_le16_get(d->cntlid));
	struct tgt_queue *q = r->q, *other;
	struct tgt_worker *w;

	if (sub->discovery || qid > t->conf.opts.max_io_queues)
		return BAD_CMD(r, qid);
	if (!c || c->gone || c->port != q->port || !same_host(c, d))
		return BAD_DATA(r, cntlid);
	if (!(c->csts & NOF_CSTS_RDY) || c->resetting || c->shutting || NOF_CC_SHN(c->cc))
		return NOF_SC_SEQUENCE | NOF_SC_DNR;
	TAILQ_FOREACH (other, &c->io, link)
		if (other->qid == qid)
			return NOF_SC_SEQUENCE | NOF_SC_DNR;
	w = &t->workers[(c->cntlid + qid - 1U) % t->conf.n_workers];
	if (tgt_view_open(sub, w) < 0)
		return NOF_SC_CONNECT_BUSY;
	q->ctrl = c;
	q->view = w->views[sub->idx];
	q->w = w;
	TAILQ_INSERT_TAIL(&c->io, q, link);
	c->n_io++;
	r->result = c->cntlid;
	return 0;
}

/* Text in a field of 256 bytes that ends within it, and is not too long for a name. */
static bool is_name(const char *field)
{
	size_t len = strnlen(field, NOF_NQN_SIZE);

	return len > 0 && len <= NOF_NQN_MAX;
}

/* CAP.MQES is of I/O queues. */
static uint16_t depth_max(const struct nof_tgt *t, uint16_t qid)
{
	uint16_t depth = t->conf.opts.max_queue_depth;

	return qid || depth > ADMIN_DEPTH ? depth : ADMIN_DEPTH;
}

static uint16_t connect(struct tgt_req *r)
{
	struct tgt_queue *q = r->q;
	struct nof_tgt_subsys *sub;
	struct nof_connect_sqe cmd;
	struct nof_connect_data d;
	uint16_t qid, sqsize, status;

	memcpy(&cmd, &r->cmd, sizeof(cmd));
	memcpy(&d, r->iov[0].iov_base, sizeof(d));
	qid = dpu_le16_get(cmd.qid);
	sqsize = dpu_le16_get(cmd.sqsize);
	if (dpu_le16_get(cmd.recfmt) != 0)
		return NOF_SC_CONNECT_FORMAT | NOF_SC_DNR;
	if (!is_name(d.subnqn))
		return BAD_DATA(r, subnqn);
	if (!is_name(d.hostnqn))
		return BAD_DATA(r, hostnqn);
	sub = tgt_subsys_find(q->w->t, d.subnqn);
	if (!sub || (!sub->discovery && !tgt_listener_of(sub, q->port)))
		return BAD_DATA(r, subnqn);
	if (!tgt_host_allowed(sub, d.hostnqn)) {
		sub->refused++;
		return NOF_SC_CONNECT_HOST | NOF_SC_DNR;
	}
	if (!tgt_nqn_ok(d.hostnqn)) // where any host may come: operators are shown it
		return BAD_DATA(r, hostnqn);
	if (sqsize == 0 || sqsize >= depth_max(q->w->t, qid))
		return BAD_CMD(r, sqsize);
	status = qid ? connect_io(r, sub, qid, &d) : connect_admin(r, sub, &cmd, &d);
	if (status) {
		sub->refused++;
		return status;
	}
	sub->connects += !qid;
	q->qid = qid;
	q->size = (uint16_t)(sqsize + 1);
	q->sqhd = 0;
	q->sqhd_off = cmd.cattr & NOF_CATTR_NO_SQ_FLOW;
	q->connected = true;
	return 0;
}

void tgt_connect_exec(struct tgt_req *r)
{
	struct tgt_worker *w = r->q->w;

	r->status = connect(r);
	if (r->status)
		dpu_counter_add(&w->n.bad_connect, 1);
}
