// SPDX-License-Identifier: Apache-2.0
/* What hosts send: ICReq, command capsules and their data. NVMe/TCP 1.0, section 3. */
#include "tgt_tcp.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "tgt_ctrl.h"
#include "tgt_io.h"

/* ---- start of a connection ---- */

static int on_icreq(struct tcp_conn *c, const struct nof_icreq *p)
{
	struct nof_stream *s = &c->s;
	struct nof_icresp resp = { 0 };
	struct nof_pdu_err e;
	uint8_t scratch[NOF_PDU_HEAD_MAX], *out;

	if (nof_icreq_check(p, &e) < 0)
		return nof_stream_refuse(s, e.fes, e.fei);
	out = nof_stream_put(s, sizeof(resp));
	if (!out)
		return nof_stream_fail(s, -ENOBUFS);
	c->dgst = p->dgst & (NOF_DGST_HEADER | NOF_DGST_DATA);
	nof_pdu_begin((uint8_t *)&resp, NOF_PDU_ICRESP, 0, 0, 0);
	resp.dgst = c->dgst;
	resp.maxh2cdata = dpu_le32_put(tgt_max_io_bytes(c->q.w));
	memcpy(out, &resp, sizeof(resp));
	nof_stream_kick(s);
	s->peer_pda = p->hpda;
	s->rules.dgst = c->dgst;
	s->rules.allowed = 1U << NOF_PDU_CMD | 1U << NOF_PDU_H2C_DATA | 1U << NOF_PDU_H2C_TERM;
	c->c2h_head = (uint8_t)nof_pdu_begin(scratch, NOF_PDU_C2H_DATA, c->dgst, p->hpda, 1);
	c->state = TCP_CONNECT;
	return 0;
}

/* ---- commands ---- */

/* What the command's SGL says, against what came with it. False: r->status. */
static bool take_sgl(struct tgt_req *r, uint32_t came)
{
	const struct nof_sgl *sgl = &r->cmd.sgl;

	r->sgl_bytes = dpu_le32_get(sgl->len);
	r->in_capsule = came > 0;
	if ((r->cmd.flags & NOF_PSDT_MASK) != NOF_PSDT_SGL)
		r->status = NOF_SC_INVALID_FIELD | NOF_SC_DNR;
	else if (came > 0 && sgl->type != NOF_SGL_OFFSET)
		r->status = NOF_SC_SGL_TYPE | NOF_SC_DNR;
	else if (came > 0 && dpu_le64_get(sgl->addr) != 0)
		r->status = NOF_SC_SGL_OFFSET | NOF_SC_DNR;
	else if (came > 0 && r->sgl_bytes != came)
		r->status = NOF_SC_SGL_LENGTH | NOF_SC_DNR;
	else
		return true;
	return false;
}

/* Do the kind of SGL and the way that the command's data go fit? */
static bool check_way(struct tgt_req *r)
{
	bool asked = r->cmd.sgl.type == NOF_SGL_TRANSPORT;

	if (r->in_capsule ? r->dir == TGT_IN : r->dir == TGT_NONE || asked)
		return true;
	r->status = NOF_SC_SGL_TYPE | NOF_SC_DNR;
	if (r->q->view)
		tgt_io_drop(r);
	return false;
}

static void exec(struct tcp_conn *c, struct slot *s)
{
	s->state = SLOT_CORE;
	if (c->state == TCP_LIVE && c->q.view) {
		tgt_io_exec(&s->r);
		return;
	}
	tgt_admin_exec(&s->r);
	if (c->state == TCP_CONNECT &&
		c->q.connected) // its commands come when it is where it belongs
		c->s.rules.allowed = 1U << NOF_PDU_H2C_TERM;
}

/* It has its buffers: the next step is that of its direction. */
static void go_on(struct tcp_conn *c, struct slot *s)
{
	if (s->r.dir == TGT_OUT) {
		c->n_working++;
		exec(c, s);
		return;
	}
	s->state = SLOT_READY;
	s->r2t = true;
	TAILQ_INSERT_TAIL(&c->ready, s, link);
	nof_stream_kick(&c->s);
}

static bool get_buffers(struct tcp_conn *c, struct slot *s, enum tgt_pool_for why)
{
	s->r.n_iov = tgt_pool_get(&c->tw->pool, &c->held, why, s->r.len, s->r.iov, TGT_IOV_MAX);
	return s->r.n_iov > 0;
}

static void wait_for_buffers(struct tcp_conn *c, struct slot *s)
{
	struct tcp_worker *tw = c->tw;

	dpu_counter_add(&tw->w->n.waits, 1);
	s->state = SLOT_BUFFER;
	TAILQ_INSERT_TAIL(&c->waiting, s, link);
	if (c->waits)
		return;
	c->waits = true;
	TAILQ_INSERT_TAIL(&tw->waiters, c, wait_link);
}

void tcp_waiter_leave(struct tcp_conn *c)
{
	if (!c->waits)
		return;
	c->waits = false;
	TAILQ_REMOVE(&c->tw->waiters, c, wait_link);
}

/* One command of each connection in turn, as long as one gets something. */
void tcp_waiters_serve(struct tcp_worker *tw)
{
	struct tcp_conn *c, *next, *last = TAILQ_LAST(&tw->waiters, tcp_conns);

	for (c = TAILQ_FIRST(&tw->waiters); c; c = next) {
		struct slot *s = TAILQ_FIRST(&c->waiting);

		next = c == last ? NULL : TAILQ_NEXT(c, wait_link);
		if (!get_buffers(c, s, TGT_FOR_TRANSFER))
			continue;
		TAILQ_REMOVE(&c->waiting, s, link);
		tcp_waiter_leave(c);
		if (!TAILQ_EMPTY(&c->waiting)) {
			c->waits = true;
			TAILQ_INSERT_TAIL(&tw->waiters, c, wait_link);
			tw->freed = true; // look again
		}
		go_on(c, s);
	}
}

static struct slot *take_slot(struct tcp_conn *c)
{
	struct slot *s = TAILQ_FIRST(&c->free);

	if (!s)
		return NULL;
	TAILQ_REMOVE(&c->free, s, link);
	c->n_used++;
	s->r2t = s->asked = s->bad_data = false;
	s->got = 0;
	s->r.n_iov = 0;
	return s;
}

static int refuse_command(struct tcp_conn *c, struct slot *s)
{
	s->state = SLOT_CORE;
	c->n_working++;
	tcp_answer(&s->r);
	return 0;
}

static int on_command(struct tcp_conn *c, const struct nof_cmd_pdu *p, uint32_t came)
{
	struct slot *s = take_slot(c);
	struct tgt_req *r;

	if (!s) {
		dpu_counter_add(&c->q.w->n.too_many, 1);
		return nof_stream_refuse(&c->s, NOF_FES_LIMIT, 0);
	}
	r = &s->r;
	r->cmd = p->sqe;
	r->status = 0;
	r->result = 0;
	if (!take_sgl(r, came) || !(c->q.view ? tgt_io_start(r) : tgt_admin_start(r)) ||
		!check_way(r))
		return refuse_command(c, s);
	if (r->dir == TGT_NONE) {
		c->n_working++;
		exec(c, s);
		return 0;
	}
	if (came > 0) {
		c->n_working++;
		if (!get_buffers(c, s, TGT_FOR_CAPSULE)) {
			// Not before all that was kept for this is used up: the host tries again.
			c->n_working--;
			dpu_counter_add(&c->q.w->n.waits, 1);
			r->status = NOF_SC_TRANSIENT;
			if (c->q.view)
				tgt_io_drop(r);
			return refuse_command(c, s);
		}
		s->state = SLOT_DATA;
		nof_stream_sink(&c->s, r->iov, r->n_iov, 0);
		c->rx = s;
		return 0;
	}
	if (!TAILQ_EMPTY(&c->waiting) || !get_buffers(c, s, TGT_FOR_TRANSFER))
		wait_for_buffers(c, s);
	else
		go_on(c, s);
	return 0;
}

/* ---- data ---- */

static int on_h2c_data(struct tcp_conn *c, const struct nof_data_pdu *p, uint32_t len)
{
	uint16_t idx = dpu_le16_get(p->ttag);
	uint32_t off = dpu_le32_get(p->datao), n = dpu_le32_get(p->datal);
	bool last = p->ch.flags & NOF_F_LAST;
	struct slot *s;

	if (idx >= c->n_slots)
		return nof_stream_refuse(
			&c->s, NOF_FES_HEADER, offsetof(struct nof_data_pdu, ttag));
	s = &c->slots[idx];
	if (s->state != SLOT_DATA || !s->asked)
		return nof_stream_refuse(
			&c->s, NOF_FES_HEADER, offsetof(struct nof_data_pdu, ttag));
	if (memcmp(&p->cccid, &s->r.cmd.cid, sizeof(p->cccid)) != 0)
		return nof_stream_refuse(
			&c->s, NOF_FES_HEADER, offsetof(struct nof_data_pdu, cccid));
	if (off != s->got)
		return nof_stream_refuse(
			&c->s, NOF_FES_RANGE, offsetof(struct nof_data_pdu, datao));
	if (n != len || n > s->r.len - s->got)
		return nof_stream_refuse(
			&c->s, NOF_FES_RANGE, offsetof(struct nof_data_pdu, datal));
	if (last != (n == s->r.len - s->got))
		return nof_stream_refuse(&c->s, NOF_FES_HEADER, offsetof(struct nof_ch, flags));
	nof_stream_sink(&c->s, s->r.iov, s->r.n_iov, off);
	c->rx = s;
	return 0;
}

int tcp_on_header(struct nof_stream *st, const union nof_pdu *pdu, uint32_t len)
{
	struct tcp_conn *c = (struct tcp_conn *)st;

	c->rx = NULL;
	switch (pdu->ch.type) {
	case NOF_PDU_ICREQ:
		return on_icreq(c, &pdu->icreq);
	case NOF_PDU_CMD:
		return on_command(c, &pdu->cmd, len);
	case NOF_PDU_H2C_DATA:
		return on_h2c_data(c, &pdu->data, len);
	default: // H2CTermReq: the host ends it
		return nof_stream_fail(st, -ECONNABORTED);
	}
}

/* The part that came is in place. */
int tcp_on_data(struct nof_stream *st, bool digest_ok)
{
	struct tcp_conn *c = (struct tcp_conn *)st;
	struct slot *s = c->rx;

	c->rx = NULL;
	if (!s) // it was dropped
		return 0;
	if (!digest_ok)
		s->bad_data = true;
	s->got += st->shape.data_len;
	if (s->got < s->r.len)
		return 0;
	if (!s->bad_data) {
		exec(c, s);
		return 0;
	}
	// Base 4.1, TCP 3.3.1.2: the command fails, the connection goes on; the host may try again.
	dpu_counter_add(&c->q.w->n.bad_ddgst, 1);
	s->r.status = NOF_SC_TRANSIENT;
	if (c->q.view)
		tgt_io_drop(&s->r);
	s->state = SLOT_CORE;
	tcp_answer(&s->r);
	return 0;
}
