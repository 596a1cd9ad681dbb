// SPDX-License-Identifier: Apache-2.0
/*
 * What is said on the admin queue: a list of steps from Connect to the I/O queues, a part of which
 * is walked again when the controller says that its namespaces changed; keep alive, events, the
 * end.
 */
#include "host.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "tcp.h"

#define MS 1000000ULL
#define ADMIN_SIZE 32 // entries of the admin queue
#define PAUSE_NS (10 * MS)
#define SCAN_EVERY_NS (100 * MS) // however often it says that something changed

/* What a step's functions return, besides a negative errno. */
enum { NEXT, AGAIN, LATER, SENT, SKIP };

struct step {
	const char *name;
	int (*issue)(struct nof_ctrl *c, struct nof_slot *s); // SENT, or SKIP
	int (*answer)(struct nof_ctrl *c, const struct nof_cqe *cqe); // NEXT, AGAIN, LATER
};

static void run(struct nof_ctrl *c);

/* ---- building commands ---- */

static void from_ctrl(struct nof_ctrl *c, struct nof_slot *s, uint32_t len)
{
	memset(c->buf, 0, len);
	s->dir = NOF_FROM_CTRL;
	s->iov = &c->iov;
	s->n_iov = 1;
	s->len = len;
}

static void property_get(struct nof_slot *s, enum nof_prop p, uint8_t size)
{
	struct nof_property_sqe *q = (struct nof_property_sqe *)&s->sqe;

	q->opc = NOF_OPC_FABRICS;
	q->fctype = NOF_FC_PROPERTY_GET;
	q->attrib = size;
	q->off = dpu_le32_put(p);
}

static void property_set(struct nof_slot *s, enum nof_prop p, uint32_t value)
{
	struct nof_property_sqe *q = (struct nof_property_sqe *)&s->sqe;

	q->opc = NOF_OPC_FABRICS;
	q->fctype = NOF_FC_PROPERTY_SET;
	q->attrib = NOF_PROP_4;
	q->off = dpu_le32_put(p);
	q->value = dpu_le64_put(value);
}

static void identify(struct nof_ctrl *c, struct nof_slot *s, enum nof_cns cns, uint32_t nsid)
{
	s->sqe.opc = NOF_ADM_IDENTIFY;
	s->sqe.nsid = dpu_le32_put(nsid);
	s->sqe.cdw10 = dpu_le32_put(cns);
	from_ctrl(c, s, NOF_IDENTIFY_LEN);
}

static void get_log(struct nof_ctrl *c, struct nof_slot *s, uint32_t lid, uint32_t len)
{
	uint32_t dwords = len / 4 - 1;

	s->sqe.opc = NOF_ADM_GET_LOG;
	s->sqe.nsid = dpu_le32_put(lid == NOF_LOG_ANA ? 0 : NOF_NSID_ALL);
	s->sqe.cdw10 = dpu_le32_put(lid | (dwords & 0xffff) << 16);
	s->sqe.cdw11 = dpu_le32_put(dwords >> 16);
	from_ctrl(c, s, len);
}

static uint64_t result(const struct nof_cqe *cqe)
{
	return dpu_le32_get(cqe->dw0) | (uint64_t)dpu_le32_get(cqe->dw1) << 32;
}

/* ---- the steps ---- */

static int connect_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	nof_ctrl_connect_sqe(c, s, (struct nof_connect_data *)c->buf, &c->iov, 0, ADMIN_SIZE);
	return SENT;
}

static int connect_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	uint32_t dw0 = dpu_le32_get(cqe->dw0);

	if (dw0 & (NOF_AUTHREQ_ATR | NOF_AUTHREQ_ASCR))
		return -EACCES; // it wants to know who we are
	c->id.cntlid = (uint16_t)dw0;
	return NEXT;
}

static int cap_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	(void)c;
	property_get(s, NOF_PROP_CAP, NOF_PROP_8);
	return SENT;
}

static int cap_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	c->cap = result(cqe);
	if (NOF_CAP_MQES(c->cap) < 1)
		return -EPROTO;
	// As long as it says, in pauses; a second at least.
	c->csts_left = NOF_CAP_TO(c->cap) * 50;
	if (c->csts_left < 100)
		c->csts_left = 100;
	return NEXT;
}

static int cc_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	property_set(s, NOF_PROP_CC,
		NOF_CC_EN | NOF_CC_ENTRY_SIZES | NOF_CAP_MPSMIN(c->cap) << NOF_CC_MPS_SHIFT);
	return SENT;
}

static int ok_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	(void)c;
	(void)cqe;
	return NEXT;
}

static int csts_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	(void)c;
	property_get(s, NOF_PROP_CSTS, NOF_PROP_4);
	return SENT;
}

static int csts_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	uint32_t csts = dpu_le32_get(cqe->dw0);

	if (csts & NOF_CSTS_CFS)
		return -EIO;
	if (csts & NOF_CSTS_RDY)
		return NEXT;
	return c->csts_left-- ? LATER : -ETIMEDOUT;
}

static int id_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	identify(c, s, NOF_CNS_CTRL, 0);
	return SENT;
}

static int id_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	uint16_t cntlid = c->id.cntlid;
	int ret = nof_ident_ctrl((const struct nof_id_ctrl *)c->buf, 12 + NOF_CAP_MPSMIN(c->cap),
		c->conf.subnqn, &c->id);

	(void)cqe;
	if (ret)
		return ret;
	return c->id.cntlid == cntlid ? NEXT : -EPROTO; // not the one that took Connect
}

static int queues_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	uint32_t n = c->host->n_workers - 1;

	if (c->id.discovery)
		return SKIP;
	s->sqe.opc = NOF_ADM_SET_FEATURES;
	s->sqe.cdw10 = dpu_le32_put(NOF_FEAT_QUEUES);
	s->sqe.cdw11 = dpu_le32_put(n | n << 16);
	return SENT;
}

static int queues_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	uint32_t dw0 = dpu_le32_get(cqe->dw0);
	uint32_t sq = (dw0 & 0xffff) + 1, cq = (dw0 >> 16) + 1;
	uint32_t n = sq < cq ? sq : cq;

	// Where there are fewer than workers some share one: relay.h.
	c->n_io = n < c->host->n_workers ? n : c->host->n_workers;
	return NEXT;
}

static int aec_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	uint32_t want = c->id.oaes & (NOF_OAES_NS_ATTR | NOF_OAES_ANA | NOF_OAES_DISCOVERY);

	if (!want)
		return SKIP;
	s->sqe.opc = NOF_ADM_SET_FEATURES;
	s->sqe.cdw10 = dpu_le32_put(NOF_FEAT_AEC);
	s->sqe.cdw11 = dpu_le32_put(want);
	return SENT;
}

/* ---- the scan ---- */

/* Read so that the next change is told. */
static int changed_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	if (!c->scanning || !(c->id.oaes & NOF_OAES_NS_ATTR))
		return SKIP;
	get_log(c, s, NOF_LOG_CHANGED_NS, 4096);
	return SENT;
}

static int list_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	if (c->id.discovery)
		return SKIP;
	if (c->idx == 0) {
		c->n_list = 0;
		for (unsigned i = 0; i < c->n_ns; i++)
			c->ns[i].seen = false;
	}
	identify(c, s, NOF_CNS_NS_LIST, c->n_list ? c->list[c->n_list - 1] : 0);
	return SENT;
}

static int list_room(struct nof_ctrl *c)
{
	unsigned room = c->list_room ? c->list_room * 2 : NOF_NS_LIST_MAX;
	uint32_t *l;

	if (c->n_list < c->list_room)
		return 0;
	l = realloc(c->list, room * sizeof(*l));
	if (!l)
		return -ENOMEM;
	c->list = l;
	c->list_room = room;
	return 0;
}

static int list_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	const dpu_le32 *in = (const dpu_le32 *)c->buf;

	(void)cqe;
	for (unsigned i = 0; i < NOF_NS_LIST_MAX; i++) {
		uint32_t nsid = dpu_le32_get(in[i]), last;

		if (nsid == 0)
			return NEXT;
		last = c->n_list ? c->list[c->n_list - 1] : 0;
		if (nsid <= last || nsid >= 0xfffffffe)
			return -EPROTO; // they ascend
		if (c->n_list == NOF_NAMESPACES_MAX)
			return NEXT;
		if (list_room(c))
			return -ENOMEM;
		c->list[c->n_list++] = nsid;
	}
	c->idx++;
	return AGAIN;
}

static int ns_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	if (c->idx >= c->n_list)
		return SKIP;
	identify(c, s, NOF_CNS_NS, c->list[c->idx]);
	return SENT;
}

static int ns_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	struct nof_ns_ident id;
	struct nof_ns *ns;
	int ret = nof_ident_ns((const struct nof_id_ns *)c->buf, &id);

	(void)cqe;
	c->idx++;
	if (ret == -ENOENT) // it went meanwhile
		return AGAIN;
	ns = nof_ctrl_ns_make(c, c->list[c->idx - 1]);
	if (!ns)
		return -ENOMEM;
	if (ret && (ns->usable || !ns->seen))
		dpu_warn_ratelimited("nvme: namespace cannot be used", "ctrl=%s nsid=%u err=%d",
			c->conf.name, ns->nsid, ret);
	ns->next = id; // without a UUID: what it said before may be of another one
	ns->usable_next = !ret;
	ns->seen = true;
	return AGAIN;
}

static int desc_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	if (c->idx >= c->n_list)
		return SKIP;
	identify(c, s, NOF_CNS_NS_DESC, c->list[c->idx]);
	return SENT;
}

static int desc_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	struct nof_ns *ns = nof_ctrl_ns_find(c, c->list[c->idx++]);

	(void)cqe;
	if (ns)
		nof_ident_desc(c->buf, &ns->next);
	return AGAIN;
}

/* It did not tell of the namespace this time. That it is the same one the NGUID or EUI64 says. */
static void desc_failed(struct nof_ctrl *c, uint16_t status)
{
	struct nof_ns *ns = nof_ctrl_ns_find(c, c->list[c->idx]);

	if (!ns || !ns->usable || status & NOF_SC_DNR ||
		memcmp(ns->id.nguid, ns->next.nguid, 16) != 0 ||
		memcmp(ns->id.eui64, ns->next.eui64, 8) != 0 ||
		(dpu_is_zero(ns->id.nguid, 16) && dpu_is_zero(ns->id.eui64, 8)))
		return;
	memcpy(ns->next.uuid, ns->id.uuid, sizeof(ns->next.uuid));
}

static int ana_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	uint64_t n = c->id.nanagrpid;

	if (!c->id.ana || c->id.discovery)
		return SKIP;
	if (n > NOF_ANA_GROUPS_MAX)
		n = NOF_ANA_GROUPS_MAX;
	get_log(c, s, NOF_LOG_ANA,
		(uint32_t)(sizeof(struct nof_ana_log) + n * sizeof(struct nof_ana_group)));
	s->sqe.cdw10 = dpu_le32_put(dpu_le32_get(s->sqe.cdw10) | NOF_LOG_ANA_RGO);
	return SENT;
}

static void ana_group(void *arg, uint32_t grpid, enum nof_ana state)
{
	struct nof_ctrl *c = arg;

	if (c->n_ana < NOF_ANA_GROUPS_MAX)
		c->ana[c->n_ana++] = (struct nof_ana_state){ grpid, state };
}

static int ana_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	uint64_t n = c->id.nanagrpid < NOF_ANA_GROUPS_MAX ? c->id.nanagrpid : NOF_ANA_GROUPS_MAX;
	size_t len = sizeof(struct nof_ana_log) + n * sizeof(struct nof_ana_group);

	(void)cqe;
	c->n_ana = 0;
	return nof_ident_ana(c->buf, len, c->id.anagrpmax, ana_group, c) ? -EPROTO : NEXT;
}

/* ---- the discovery log ---- */

static int disc_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	uint64_t off;
	uint32_t len;

	if (!c->id.discovery)
		return SKIP;
	if (c->idx == 0)
		nof_disc_begin(&c->disc);
	nof_disc_next(&c->disc, NOF_BUF_LEN, &off, &len);
	get_log(c, s, NOF_LOG_DISCOVERY, len);
	s->sqe.cdw12 = dpu_le32_put((uint32_t)off);
	s->sqe.cdw13 = dpu_le32_put((uint32_t)(off >> 32));
	return SENT;
}

static int disc_answer(struct nof_ctrl *c, const struct nof_cqe *cqe)
{
	int ret = nof_disc_take(&c->disc, c->buf);

	(void)cqe;
	c->idx++;
	if (ret < 0)
		return ret;
	return ret ? AGAIN : NEXT;
}

/* ---- the end of the walk ---- */

static int io_issue(struct nof_ctrl *c, struct nof_slot *s)
{
	int ret;

	nof_slot_drop(s);
	nof_ctrl_ns_scanned(c);
	if (c->scanning) {
		c->scanning = false;
		if (c->disc.changed)
			c->disc.changed(c->disc.arg);
		if (c->ns_read)
			c->ns_read(c->ns_arg);
		if (c->rescan)
			nof_ctrl_rescan(c);
		return SENT;
	}
	ret = nof_ctrl_io_connect(c);
	return ret ? ret : SENT;
}

#define STEP_SCAN 7U

static const struct step steps[] = {
	{ "Connect", connect_issue, connect_answer },
	{ "property CAP", cap_issue, cap_answer },
	{ "enable", cc_issue, ok_answer },
	{ "ready", csts_issue, csts_answer },
	{ "Identify Controller", id_issue, id_answer },
	{ "number of queues", queues_issue, queues_answer },
	{ "events", aec_issue, ok_answer },
	[STEP_SCAN] = { "changed namespaces", changed_issue, ok_answer },
	{ "namespaces", list_issue, list_answer },
	{ "Identify Namespace", ns_issue, ns_answer },
	{ "namespace descriptors", desc_issue, desc_answer },
	{ "ANA log", ana_issue, ana_answer },
	{ "discovery log", disc_issue, disc_answer },
	{ "I/O queues", io_issue, NULL },
};

/* Answers that are errors and do not end the walk: what the step would have said is not there. */
static bool may_fail(unsigned step, uint16_t sc)
{
	if (steps[step].issue == desc_issue || steps[step].issue == changed_issue)
		return true;
	// It went between the list and this.
	return steps[step].issue == ns_issue && (sc & NOF_SC_MASK) == NOF_SC_INVALID_NS;
}

static void answered(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_ctrl *c = s->arg;
	const struct step *st = &steps[c->step];
	uint16_t status = cqe ? nof_cqe_status(cqe) : 0;
	int ret = err ? err : nof_status_errno(status);

	if (c->state != NOF_CTRL_CONNECTING && c->state != NOF_CTRL_LIVE)
		return;
	if (!err && ret && may_fail(c->step, status)) {
		if (st->issue == desc_issue)
			desc_failed(c, status);
		c->idx++;
		ret = st->issue == changed_issue ? NEXT : AGAIN;
	} else if (!ret) {
		ret = st->answer(c, cqe);
	}
	if (ret < 0) {
		nof_ctrl_failed(c, st->name, ret);
		return;
	}
	if (ret == LATER) {
		nof_timer_set(
			c->host->control, &c->timer, nof_group_now(c->host->control) + PAUSE_NS);
		return;
	}
	if (ret == NEXT) {
		c->step++;
		c->idx = 0;
	}
	run(c);
}

static struct nof_slot *take(struct nof_ctrl *c)
{
	struct nof_slot *s = c->admin ? nof_qpair_take(c->admin) : NULL;

	if (s) {
		s->done = answered;
		s->arg = c;
	}
	return s;
}

/* Go on with the walk. */
static void run(struct nof_ctrl *c)
{
	struct nof_slot *s = take(c);
	int ret = s ? steps[c->step].issue(c, s) : -EBUSY;

	while (ret == SKIP) {
		c->step++;
		c->idx = 0;
		ret = steps[c->step].issue(c, s);
	}
	if (ret < 0)
		nof_ctrl_failed(c, steps[c->step].name, ret);
	else if (steps[c->step].answer)
		nof_qpair_submit(s);
}

/* ---- the connection ---- */

static void admin_up(struct nof_qpair *q)
{
	struct nof_ctrl *c = q->arg;

	c->node = nof_tcp_node(q);
	run(c);
}

static void admin_down(struct nof_qpair *q, int err)
{
	struct nof_ctrl *c = q->arg;

	if (q->term_fes)
		dpu_warn_ratelimited("nvme: the controller ended the connection",
			"name=%s why=\"%s\"", c->conf.name, nof_fes_name(q->term_fes));
	if (c->ending)
		nof_ctrl_io_finish(c);
	else
		nof_ctrl_failed(c,
			c->state == NOF_CTRL_LIVE ? "admin connection" : steps[c->step].name, err);
}

static const struct nof_qpair_owner admin_owner = { admin_up, admin_down };

int nof_ctrl_steps_begin(struct nof_ctrl *c)
{
	uint8_t dgst = (c->conf.hdgst ? NOF_DGST_HEADER : 0) | (c->conf.ddgst ? NOF_DGST_DATA : 0);
	const struct nof_tcp_conf conf = {
		.traddr = c->conf.traddr,
		.trsvcid = c->conf.trsvcid,
		.host_traddr = c->conf.host_traddr,
		.depth = ADMIN_SIZE - 1,
		.dgst = dgst,
		.dgst_demanded = dgst,
		.timeout_ns = c->conf.connect_timeout_ms * MS,
		.connect_timeout_ns = c->conf.connect_timeout_ms * MS,
		.capsule_max = 8192, // TCP 3.1: what every admin queue takes
		.owner = &admin_owner,
		.arg = c,
	};

	assert(!c->admin);
	return nof_tcp_connect(&conf, c->host->control, &c->admin);
}

/* ---- live ---- */

static void alive(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_ctrl *c = s->arg;

	c->ka_waiting = false;
	// A discovery controller need not know the command.
	if (!err && nof_cqe_status(cqe) != 0 && !c->id.discovery)
		nof_ctrl_failed(c, "keep alive", nof_status_errno(nof_cqe_status(cqe)));
}

static void keep_alive(struct nof_ctrl *c)
{
	struct nof_slot *s;

	if (c->ka_waiting) {
		nof_ctrl_failed(c, "keep alive", -ETIMEDOUT);
		return;
	}
	if (atomic_exchange_explicit(&c->ns_doubt, false, memory_order_relaxed))
		nof_ctrl_rescan(c);
	s = take(c);
	if (s) {
		s->sqe.opc = NOF_ADM_KEEP_ALIVE;
		s->done = alive;
		c->ka_waiting = true;
		nof_qpair_submit(s);
	}
	nof_timer_set(c->host->control, &c->timer,
		nof_group_now(c->host->control) + c->conf.kato_ms * MS / 2);
}

static void event(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_ctrl *c = s->arg;
	uint32_t dw0 = cqe ? dpu_le32_get(cqe->dw0) : 0;

	if (err || !cqe || nof_cqe_status(cqe) != 0 || c->state != NOF_CTRL_LIVE)
		return; // it has no events
	if (NOF_AER_TYPE(dw0) == NOF_AER_NOTICE)
		nof_ctrl_rescan(c);
	// Not at once: a target that always has an event would have us do nothing else.
	nof_timer_set(
		c->host->control, &c->aer_timer, nof_group_now(c->host->control) + SCAN_EVERY_NS);
}

void nof_ctrl_aer_timer(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t - offsetof(struct nof_ctrl, aer_timer));
	struct nof_slot *s = c->state == NOF_CTRL_LIVE ? take(c) : NULL;

	if (!s)
		return; // of 31 slots three are used at most
	s->sqe.opc = NOF_ADM_AER;
	s->background = true;
	s->done = event;
	nof_qpair_submit(s);
}

void nof_ctrl_steps_live(struct nof_ctrl *c)
{
	nof_ctrl_aer_timer(&c->aer_timer);
	keep_alive(c);
}

void nof_ctrl_rescan(struct nof_ctrl *c)
{
	c->rescan = true;
	if (!c->scanning && !c->scan_timer.group && c->state == NOF_CTRL_LIVE)
		nof_timer_set(c->host->control, &c->scan_timer,
			nof_group_now(c->host->control) + SCAN_EVERY_NS);
}

void nof_ctrl_scan_timer(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t - offsetof(struct nof_ctrl, scan_timer));

	if (c->state != NOF_CTRL_LIVE || c->scanning)
		return;
	c->rescan = false;
	c->scanning = true;
	c->step = STEP_SCAN;
	c->idx = 0;
	run(c);
}

/* ---- the end ---- */

static void end_poll(struct nof_ctrl *c);

static void end_answer(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_ctrl *c = s->arg;
	bool asked = ((const struct nof_property_sqe *)&s->sqe)->fctype == NOF_FC_PROPERTY_GET;

	if (err) // `down` has gone on, or does
		return;
	if (nof_cqe_status(cqe) != 0) {
		nof_ctrl_io_finish(c);
		return;
	}
	if (asked && !(dpu_le32_get(cqe->dw0) & NOF_CSTS_RDY)) {
		nof_ctrl_ended(c, c->assoc); // reset: no command of it is left
		nof_ctrl_io_finish(c);
		return;
	}
	nof_timer_set(c->host->control, &c->timer,
		nof_group_now(c->host->control) + (asked ? PAUSE_NS : 0));
}

static void end_poll(struct nof_ctrl *c)
{
	bool late = nof_group_now(c->host->control) >= c->end_by_ns;
	struct nof_slot *s = late ? NULL : take(c);

	if (!s) {
		nof_ctrl_io_finish(c);
		return;
	}
	property_get(s, NOF_PROP_CSTS, NOF_PROP_4);
	s->done = end_answer;
	nof_timer_set(c->host->control, &c->timer, c->end_by_ns); // without an answer
	nof_qpair_submit(s);
}

bool nof_ctrl_steps_end(struct nof_ctrl *c)
{
	// Without a Connect that succeeded there is nothing to end, and no other command may come.
	bool may = c->admin && c->admin->is_up && c->step > 0;
	struct nof_slot *s = may ? take(c) : NULL;

	if (!s)
		return false;
	c->ending = true;
	c->end_by_ns = nof_group_now(c->host->control) + NOF_END_MS * MS;
	nof_timer_set(c->host->control, &c->timer, c->end_by_ns);
	property_set(
		s, NOF_PROP_CC, NOF_CC_ENTRY_SIZES | NOF_CAP_MPSMIN(c->cap) << NOF_CC_MPS_SHIFT);
	s->done = end_answer;
	nof_qpair_submit(s);
	return true;
}

void nof_ctrl_steps_timer(struct nof_ctrl *c)
{
	if (c->ending)
		end_poll(c);
	else if (c->state == NOF_CTRL_CONNECTING)
		run(c);
	else if (c->state == NOF_CTRL_LIVE)
		keep_alive(c);
}
