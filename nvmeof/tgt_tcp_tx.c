// SPDX-License-Identifier: Apache-2.0
/* What hosts get: R2Ts, data and response capsules. NVMe/TCP 1.0, section 3. */
#include "tgt_tcp.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"

#define SMALL_PDU_MAX 32U // R2T and CapsuleResp with their digest

void tcp_answer(struct tgt_req *r)
{
	struct slot *s = (struct slot *)r;
	struct tcp_conn *c = (struct tcp_conn *)((char *)r->q - offsetof(struct tcp_conn, q));

	assert(s->state == SLOT_CORE);
	c->n_working--;
	if (c->dead) {
		tcp_slot_free(c, s);
		tcp_give_back(c);
		return;
	}
	if (r->dir != TGT_OUT || r->status) // a host that does not read its answers holds none
		tcp_slot_unload(c, s);
	s->state = SLOT_READY;
	s->r2t = false;
	TAILQ_INSERT_TAIL(&c->ready, s, link);
	nof_stream_kick(&c->s);
}

/* ---- PDUs ---- */

static bool put_r2t(struct tcp_conn *c, const struct slot *s)
{
	struct nof_r2t_pdu *p;

	if (!nof_stream_room(&c->s, SMALL_PDU_MAX, 1))
		return false;
	p = nof_stream_put(&c->s, sizeof(*p) + (c->dgst & NOF_DGST_HEADER ? NOF_DGST_LEN : 0));
	nof_pdu_begin((uint8_t *)p, NOF_PDU_R2T, c->dgst, 0, 0);
	p->cccid = s->r.cmd.cid;
	p->ttag = dpu_le16_put((uint16_t)(s - c->slots));
	p->r2tl = dpu_le32_put(s->r.len);
	nof_pdu_seal((uint8_t *)p);
	return true;
}

/* SQHD moves with every answer, but for queues without flow control. Base 6.3. */
static uint16_t next_sqhd(struct tgt_queue *q)
{
	if (q->sqhd_off || q->size == 0)
		return q->sqhd_off ? NOF_SQHD_NONE : 0;
	q->sqhd = q->sqhd + 1 < q->size ? (uint16_t)(q->sqhd + 1) : 0;
	return q->sqhd;
}

/* There is room. */
static void put_resp(struct tcp_conn *c, const struct slot *s)
{
	struct nof_resp_pdu *p = nof_stream_put(
		&c->s, sizeof(*p) + (c->dgst & NOF_DGST_HEADER ? NOF_DGST_LEN : 0));

	nof_pdu_begin((uint8_t *)p, NOF_PDU_RESP, c->dgst, 0, 0);
	p->cqe.dw0 = dpu_le32_put((uint32_t)s->r.result);
	p->cqe.dw1 = dpu_le32_put((uint32_t)(s->r.result >> 32));
	p->cqe.sqhd = dpu_le16_put(next_sqhd(&c->q));
	p->cqe.cid = s->r.cmd.cid;
	p->cqe.status = dpu_le16_put((uint16_t)(s->r.status << 1));
	nof_pdu_seal((uint8_t *)p);
}

static void put_ddgst(struct tcp_conn *c, const struct slot *s)
{
	uint32_t crc = 0;
	dpu_le32 dgst;

	for (unsigned i = 0; i < s->r.n_iov; i++)
		crc = nof_crc32c(crc, s->r.iov[i].iov_base, s->r.iov[i].iov_len);
	dgst = dpu_le32_put(crc);
	memcpy(nof_stream_put(&c->s, NOF_DGST_LEN), &dgst, NOF_DGST_LEN);
}

/* Data from where they lie. The answer is a flag where the host allows that. TCP 3.3.2.1. */
static bool put_data(struct tcp_conn *c, struct slot *s)
{
	bool success = c->q.sqhd_off && s->r.result == 0;
	struct nof_data_pdu *p;

	if (!nof_stream_room(&c->s, c->c2h_head + NOF_DGST_LEN + 2 * SMALL_PDU_MAX, s->r.n_iov + 4))
		return false;
	p = nof_stream_put(&c->s, c->c2h_head);
	nof_pdu_begin((uint8_t *)p, NOF_PDU_C2H_DATA, c->dgst, c->s.peer_pda, s->r.len);
	p->ch.flags |= NOF_F_LAST | (success ? NOF_F_SUCCESS : 0);
	p->cccid = s->r.cmd.cid;
	p->datal = dpu_le32_put(s->r.len);
	nof_pdu_seal((uint8_t *)p);
	s->state = SLOT_SENDING;
	(void)nof_stream_lend(&c->s, s->r.iov, s->r.n_iov, 0, s->r.len, &s->ref);
	if (c->dgst & NOF_DGST_DATA)
		put_ddgst(c, s);
	if (!success)
		put_resp(c, s);
	return true;
}

static bool put(struct tcp_conn *c, struct slot *s)
{
	if (s->r2t) {
		if (!put_r2t(c, s))
			return false;
		TAILQ_REMOVE(&c->ready, s, link);
		s->state = SLOT_DATA;
		s->asked = true;
		c->n_working++;
		return true;
	}
	if (s->r.dir == TGT_OUT && !s->r.status) {
		if (!put_data(c, s))
			return false;
		TAILQ_REMOVE(&c->ready, s, link);
		return true;
	}
	if (!nof_stream_room(&c->s, SMALL_PDU_MAX, 1))
		return false;
	put_resp(c, s);
	TAILQ_REMOVE(&c->ready, s, link);
	tcp_slot_free(c, s);
	return true;
}

void tcp_fill(struct nof_stream *st)
{
	struct tcp_conn *c = (struct tcp_conn *)st;
	struct slot *s;

	while ((s = TAILQ_FIRST(&c->ready)) != NULL) {
		if (put(c, s))
			continue;
		st->more = true; // when some of what was put has gone
		return;
	}
}
