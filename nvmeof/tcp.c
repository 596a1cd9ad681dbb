// SPDX-License-Identifier: Apache-2.0
/* The host's side of NVMe/TCP: connection set-up, capsules, data in both directions. */
#include "tcp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "numa.h"

#define RING_SIZE 32768U
#define RING_SIZE_DDGST 131072U
#define COPY_MAX 1024U // data that are cheaper copied to their capsule than lent
#define LENT_MAX 120U // segments of one command that are sent from where they lie

#define MAY(type) (1u << (type))

struct tcp {
	struct nof_stream s; // first
	struct nof_qpair q;
	unsigned (*turn)(struct nof_conn *c, unsigned events); // the stream's, while connecting
	uint8_t dgst_asked, dgst_demanded;
	bool icreq_out;
	uint32_t maxh2cdata;
	TAILQ_HEAD(, nof_slot) queue; // slots that have something to send
	/* A PDU that is longer than the ring takes at once. */
	uint32_t pdu_left, pdu_crc; // data that were not put yet; the sum of the others
	struct nof_slot *pdu_of; // whose they are; NULL: nobody wants them any more
	struct nof_slot *reading; // whose data the stream is placing
	bool reading_succeeds; // SUCCESS of that PDU
};

static struct tcp *of_stream(struct nof_stream *s)
{
	return (struct tcp *)s;
}

static struct tcp *of_pair(struct nof_qpair *q)
{
	return (struct tcp *)((char *)q - offsetof(struct tcp, q));
}

/* ---- sending ---- */

static void enqueue(struct tcp *t, struct nof_slot *s)
{
	if (s->queued)
		return;
	s->queued = true;
	TAILQ_INSERT_TAIL(&t->queue, s, link);
	nof_stream_kick(&t->s);
}

static void dequeue(struct tcp *t, struct nof_slot *s)
{
	if (!s->queued)
		return;
	s->queued = false;
	TAILQ_REMOVE(&t->queue, s, link);
	if (t->pdu_of == s)
		t->pdu_of = NULL;
}

/*
 * In the capsule, or when the controller asks for it. Linux' target asks for nothing that would
 * have gone into the capsule.
 */
static bool in_capsule(const struct tcp *t, const struct nof_slot *s)
{
	return s->dir == NOF_TO_CTRL && s->len <= t->q.capsule_max;
}

/*
 * Data with a digest are copied first: who can still change them must not be able to break it. So
 * are short ones, and those in more pieces than a stream's list should hold.
 */
static bool copies(const struct tcp *t, const struct nof_slot *s, uint32_t len)
{
	return len <= COPY_MAX || s->n_iov > LENT_MAX || nof_stream_ddgst(&t->s);
}

/* Of so many bytes that are copied: how many at once. */
static uint32_t piece(const struct tcp *t, uint32_t len)
{
	return len < t->s.ring_size / 4 ? len : t->s.ring_size / 4;
}

/*
 * Copy len bytes of the slot's data from off on, and their digest if they end the PDU. No slot:
 * zeros.
 */
static void put_data(
	struct tcp *t, const struct nof_slot *s, uint8_t *p, uint32_t off, uint32_t len, bool last)
{
	bool sum = nof_stream_ddgst(&t->s);
	dpu_le32 d;

	if (s) {
		nof_stream_gather(
			p, s->iov, s->n_iov, s->skip + off, len, sum ? &t->pdu_crc : NULL);
	} else {
		memset(p, 0, len);
		t->pdu_crc = sum ? nof_crc32c(t->pdu_crc, p, len) : 0;
	}
	if (!sum || !last)
		return;
	d = dpu_le32_put(t->pdu_crc);
	memcpy(p + len, &d, sizeof(d));
}

/*
 * Put a header that `type` begins and the slot's data from off on, if they are copied: of len bytes
 * as many as go at once, t->pdu_left says how many are left. Returns the header to be filled in and
 * sealed, NULL: no room now.
 */
static uint8_t *put_pdu(
	struct tcp *t, struct nof_slot *s, enum nof_pdu_type type, uint32_t off, uint32_t len)
{
	uint32_t copied = copies(t, s, len) ? piece(t, len) : 0;
	bool last = copied == len;
	uint8_t head[NOF_PDU_HEAD_MAX], *p;
	size_t n = nof_pdu_begin(head, type, t->s.rules.dgst, t->s.peer_pda, len);
	uint32_t dgst = len && last && nof_stream_ddgst(&t->s) ? NOF_DGST_LEN : 0;
	uint32_t total = (uint32_t)n + copied + dgst;

	if (!nof_stream_room(&t->s, total, 1))
		return NULL;
	if (len && !copied) {
		unsigned room = NOF_TX_MAX - (uint16_t)(t->s.tx_tail - t->s.tx_head);

		// Its own segments follow the header, so it must be known that they fit.
		if (s->n_iov + 1 > room && room < NOF_TX_MAX)
			return NULL;
	}
	p = nof_stream_put(&t->s, total);
	memcpy(p, head, n);
	t->pdu_crc = 0;
	if (copied)
		put_data(t, s, p + n, off, copied, last);
	t->pdu_left = copied ? len - copied : 0;
	t->pdu_of = t->pdu_left ? s : NULL;
	t->s.midway = t->pdu_left != 0;
	return p;
}

/* The data that put_pdu() did not copy. */
static void lend(struct tcp *t, struct nof_slot *s, uint32_t off, uint32_t len)
{
	if (!len || copies(t, s, len))
		return;
	if (nof_stream_lend(&t->s, s->iov, s->n_iov, s->skip + off, len, &s->ref) < 0)
		(void)nof_stream_fail(&t->s, -EOVERFLOW); // more segments than a pair may get
}

static void sent_data(struct tcp *t, struct nof_slot *s, uint32_t len)
{
	s->r2t_off += len;
	s->r2t_left -= len;
	if (!s->r2t_left)
		dequeue(t, s);
}

static bool send_capsule(struct tcp *t, struct nof_slot *s)
{
	uint32_t len = in_capsule(t, s) ? s->len : 0;
	uint8_t *p = put_pdu(t, s, NOF_PDU_CMD, 0, len);

	if (!p)
		return false;
	s->sqe.sgl = (struct nof_sgl){ .len = dpu_le32_put(s->len),
		.type = len ? NOF_SGL_OFFSET : NOF_SGL_TRANSPORT };
	memcpy(p + offsetof(struct nof_cmd_pdu, sqe), &s->sqe, sizeof(s->sqe));
	nof_pdu_seal(p);
	lend(t, s, 0, len);
	s->capsule_out = true;
	if (len)
		s->moved = len;
	s->r2t_left = len;
	sent_data(t, s, len - t->pdu_left);
	return true;
}

/*
 * One H2CData PDU of what an R2T asked for: all of it, if MAXH2CDATA allows. Linux' target sums the
 * data of a command, not of a PDU, and ends the association when there are several.
 */
static bool send_data(struct tcp *t, struct nof_slot *s)
{
	uint32_t len = s->r2t_left < t->maxh2cdata ? s->r2t_left : t->maxh2cdata;
	struct nof_data_pdu *d;
	uint8_t *p;

	p = put_pdu(t, s, NOF_PDU_H2C_DATA, s->r2t_off, len);
	if (!p)
		return false;
	d = (struct nof_data_pdu *)p;
	d->cccid = s->sqe.cid;
	d->ttag = dpu_le16_put(s->ttag);
	d->datao = dpu_le32_put(s->r2t_off);
	d->datal = dpu_le32_put(len);
	if (len == s->r2t_left)
		d->ch.flags |= NOF_F_LAST;
	nof_pdu_seal(p);
	lend(t, s, s->r2t_off, len);
	sent_data(t, s, len - t->pdu_left);
	return true;
}

/* More of the PDU that is being put. Zeros, when its command has ended meanwhile. */
static bool send_more(struct tcp *t)
{
	uint32_t len = piece(t, t->pdu_left);
	bool last = len == t->pdu_left;
	struct nof_slot *s = t->pdu_of;
	uint8_t *p = nof_stream_put(
		&t->s, len + (last && nof_stream_ddgst(&t->s) ? NOF_DGST_LEN : 0));

	if (!p)
		return false;
	put_data(t, s, p, s ? s->r2t_off : 0, len, last);
	t->pdu_left -= len;
	t->s.midway = !last;
	if (s)
		sent_data(t, s, len);
	return true;
}

/* False: there is no room. */
static bool send_next(struct tcp *t)
{
	struct nof_slot *s = TAILQ_FIRST(&t->queue);

	if (t->pdu_left)
		return send_more(t);
	return s->capsule_out ? send_data(t, s) : send_capsule(t, s);
}

static void send_icreq(struct tcp *t)
{
	uint8_t *p = nof_stream_put(&t->s, sizeof(struct nof_icreq));
	struct nof_icreq *ic = (struct nof_icreq *)p;

	(void)nof_pdu_begin(p, NOF_PDU_ICREQ, 0, 0, 0);
	ic->dgst = t->dgst_asked;
	ic->maxr2t = dpu_le32_put(0); // one for each command
	t->icreq_out = true;
}

static void fill(struct nof_stream *st)
{
	struct tcp *t = of_stream(st);

	if (!t->icreq_out)
		send_icreq(t);
	while (!st->err && (t->pdu_left || !TAILQ_EMPTY(&t->queue))) {
		if (!send_next(t)) {
			st->more = true; // when there is room
			return;
		}
	}
}

/* ---- receiving ---- */

static int on_icresp(struct tcp *t, const struct nof_icresp *p)
{
	struct nof_pdu_err e;
	int ret;

	if (!nof_stream_empty(&t->s)) // an answer to what was not sent
		return nof_stream_refuse(&t->s, NOF_FES_SEQUENCE, 0);
	if (nof_icresp_check(p, t->dgst_asked, t->dgst_demanded, &e) < 0)
		return nof_stream_refuse(&t->s, e.fes, e.fei);
	t->s.rules.dgst = p->dgst & (NOF_DGST_HEADER | NOF_DGST_DATA);
	t->s.rules.allowed = MAY(NOF_PDU_C2H_TERM) | MAY(NOF_PDU_RESP) | MAY(NOF_PDU_C2H_DATA) |
			     MAY(NOF_PDU_R2T);
	t->s.peer_pda = p->cpda;
	t->maxh2cdata = dpu_le32_get(p->maxh2cdata);
	if (nof_stream_ddgst(&t->s)) {
		ret = nof_stream_ring(&t->s, RING_SIZE_DDGST);
		if (ret)
			return nof_stream_fail(&t->s, ret);
	}
	nof_qpair_now_up(&t->q);
	return 0;
}

/* A status that this side found: what came does not answer the command. */
static void answer_with(struct nof_slot *s, enum nof_sc sc)
{
	struct nof_cqe cqe = { .cid = s->sqe.cid,
		.sqhd = dpu_le16_put(NOF_SQHD_NONE),
		.status = dpu_le16_put((uint16_t)(sc << 1)) };

	nof_slot_answer(s, &cqe);
}

static int on_resp(struct tcp *t, const struct nof_resp_pdu *p)
{
	struct nof_slot *s = nof_qpair_find(&t->q, dpu_le16_get(p->cqe.cid));

	if (!s || !s->capsule_out)
		return nof_stream_refuse(
			&t->s, NOF_FES_HEADER, offsetof(struct nof_resp_pdu, cqe.cid));
	dequeue(t, s); // the controller does not want what is left
	if (nof_cqe_status(&p->cqe) != NOF_SC_SUCCESS) {
		nof_slot_answer(s, &p->cqe);
		return 0;
	}
	if (s->bad_data) {
		answer_with(s, NOF_SC_TRANSIENT);
		return 0;
	}
	if (s->dir == NOF_FROM_CTRL && s->moved < s->len) {
		dpu_counter_add(&t->q.n.short_data, 1);
		answer_with(s, NOF_SC_DATA_TRANSFER);
		return 0;
	}
	// A write that succeeds before all its data were asked for and sent was not one.
	if (s->dir == NOF_TO_CTRL && (s->moved < s->len || s->r2t_left))
		return nof_stream_refuse(
			&t->s, NOF_FES_SEQUENCE, offsetof(struct nof_resp_pdu, cqe.status));
	nof_slot_answer(s, &p->cqe);
	return 0;
}

static int on_c2h_data(struct tcp *t, const struct nof_data_pdu *p, uint32_t len)
{
	struct nof_slot *s = nof_qpair_find(&t->q, dpu_le16_get(p->cccid));
	bool last = p->ch.flags & NOF_F_LAST, success = p->ch.flags & NOF_F_SUCCESS;

	if (!s || s->dir != NOF_FROM_CTRL || !s->capsule_out)
		return nof_stream_refuse(
			&t->s, NOF_FES_HEADER, offsetof(struct nof_data_pdu, cccid));
	if (dpu_le32_get(p->datal) != len)
		return nof_stream_refuse(
			&t->s, NOF_FES_HEADER, offsetof(struct nof_data_pdu, datal));
	if (dpu_le32_get(p->datao) != s->moved)
		return nof_stream_refuse(
			&t->s, NOF_FES_RANGE, offsetof(struct nof_data_pdu, datao));
	if (len > s->len - s->moved)
		return nof_stream_refuse(
			&t->s, NOF_FES_RANGE, offsetof(struct nof_data_pdu, datal));
	if (success && !last)
		return nof_stream_refuse(&t->s, NOF_FES_HEADER, offsetof(struct nof_ch, flags));
	if (last && len != s->len - s->moved)
		return nof_stream_refuse(
			&t->s, NOF_FES_RANGE, offsetof(struct nof_data_pdu, datal));
	nof_stream_sink(&t->s, s->iov, s->n_iov, s->skip + s->moved);
	t->reading = s;
	t->reading_succeeds = success;
	return 0;
}

static int on_r2t(struct tcp *t, const struct nof_r2t_pdu *p)
{
	struct nof_slot *s = nof_qpair_find(&t->q, dpu_le16_get(p->cccid));
	uint32_t len = dpu_le32_get(p->r2tl);

	if (!s || !s->capsule_out)
		return nof_stream_refuse(
			&t->s, NOF_FES_HEADER, offsetof(struct nof_r2t_pdu, cccid));
	if (s->dir != NOF_TO_CTRL || in_capsule(t, s)) // nothing of a read's buffer goes out
		return nof_stream_refuse(&t->s, NOF_FES_SEQUENCE, 0);
	if (s->r2t_left)
		return nof_stream_refuse(&t->s, NOF_FES_LIMIT, 0);
	if (dpu_le32_get(p->r2to) != s->moved)
		return nof_stream_refuse(&t->s, NOF_FES_RANGE, offsetof(struct nof_r2t_pdu, r2to));
	if (len == 0 || len > s->len - s->moved)
		return nof_stream_refuse(&t->s, NOF_FES_RANGE, offsetof(struct nof_r2t_pdu, r2tl));
	s->ttag = dpu_le16_get(p->ttag);
	s->r2t_off = s->moved;
	s->r2t_left = len;
	s->moved += len;
	enqueue(t, s);
	return 0;
}

static int header(struct nof_stream *st, const union nof_pdu *pdu, uint32_t len)
{
	struct tcp *t = of_stream(st);

	switch ((enum nof_pdu_type)pdu->ch.type) {
	case NOF_PDU_ICRESP:
		return on_icresp(t, &pdu->icresp);
	case NOF_PDU_RESP:
		return on_resp(t, &pdu->resp);
	case NOF_PDU_C2H_DATA:
		return on_c2h_data(t, &pdu->data, len);
	case NOF_PDU_R2T:
		return on_r2t(t, &pdu->r2t);
	case NOF_PDU_C2H_TERM:
		t->q.term_fes = dpu_le16_get(pdu->term.fes);
		return nof_stream_fail(st, -ECONNABORTED);
	default:
		return nof_stream_refuse(st, NOF_FES_HEADER, 0);
	}
}

static int data(struct nof_stream *st, bool digest_ok)
{
	struct tcp *t = of_stream(st);
	struct nof_slot *s = t->reading;

	if (!s) // the rest of a TermReq
		return 0;
	t->reading = NULL;
	s->moved += st->shape.data_len;
	if (!digest_ok) {
		dpu_counter_add(&t->q.n.digest_errors, 1);
		s->bad_data = true;
	}
	if (t->reading_succeeds)
		answer_with(s, s->bad_data ? NOF_SC_TRANSIENT : NOF_SC_SUCCESS);
	return 0;
}

static void broken(struct nof_stream *st, int err)
{
	nof_qpair_now_down(&of_stream(st)->q, err);
}

static const struct nof_stream_ops stream_ops = { header, data, fill, broken };

/* ---- the transport's operations ---- */

static void tcp_submit(struct nof_qpair *q, struct nof_slot *s)
{
	enqueue(of_pair(q), s);
}

static void tcp_busy(struct nof_qpair *q, bool busy)
{
	of_pair(q)->s.quiet = busy; // the first question is not sent yet
	nof_conn_busy(&of_pair(q)->s.conn, busy);
}

static int tcp_attach(struct nof_qpair *q, struct nof_group *g)
{
	struct tcp *t = of_pair(q);
	int ret = nof_group_add(g, &t->s.conn);

	if (!ret && (t->s.more || !nof_stream_empty(&t->s)))
		nof_conn_flush(&t->s.conn);
	return ret;
}

static void tcp_detach(struct nof_qpair *q)
{
	nof_group_remove(&of_pair(q)->s.conn);
}

static void tcp_fail(struct nof_qpair *q, int err)
{
	(void)nof_stream_fail(&of_pair(q)->s, err);
}

static void tcp_close(struct nof_qpair *q)
{
	struct tcp *t = of_pair(q);

	while (!TAILQ_EMPTY(&t->queue))
		dequeue(t, TAILQ_FIRST(&t->queue));
	nof_stream_fini(&t->s);
}

static void tcp_destroy(struct nof_qpair *q)
{
	tcp_close(q);
	nof_qpair_fini(q);
	free(of_pair(q));
}

static const struct nof_transport transport = {
	.name = "TCP",
	.submit = tcp_submit,
	.busy = tcp_busy,
	.attach = tcp_attach,
	.detach = tcp_detach,
	.fail = tcp_fail,
	.close = tcp_close,
	.destroy = tcp_destroy,
};

/* ---- set-up ---- */

/* Until the socket is connected. */
static unsigned connect_turn(struct nof_conn *c, unsigned events)
{
	struct tcp *t = (struct tcp *)c;
	int err = 0;
	socklen_t len = sizeof(err);

	if (!t->s.err && !events)
		return 0;
	if (!t->s.err && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err)
		(void)nof_stream_fail(&t->s, -err);
	c->turn = t->turn;
	t->s.more = true; // the ICReq
	return t->turn(c, 0);
}

static int make(int fd, const struct nof_tcp_conf *conf, struct nof_group *g, bool connected,
	struct nof_qpair **out)
{
	const struct nof_pdu_rules rules = { .role = NOF_HOST,
		.allowed = MAY(NOF_PDU_ICRESP) | MAY(NOF_PDU_C2H_TERM) };
	struct tcp *t = dpu_calloc(1, sizeof(*t));
	int ret = -ENOMEM;

	if (!t)
		goto err_fd;
	ret = nof_qpair_init(&t->q, &transport, conf->owner, conf->arg, conf->qid, conf->depth);
	if (ret)
		goto err_free;
	ret = nof_stream_init(&t->s, fd, &stream_ops, &rules, RING_SIZE);
	if (ret) {
		nof_qpair_fini(&t->q);
		free(t);
		return ret;
	}
	TAILQ_INIT(&t->queue);
	t->dgst_asked = conf->dgst | conf->dgst_demanded;
	t->dgst_demanded = conf->dgst_demanded;
	t->q.capsule_max = conf->capsule_max;
	t->q.timeout_ns = conf->timeout_ns;
	if (conf->connect_timeout_ns)
		t->q.connect_by_ns = dpu_now_ns() + conf->connect_timeout_ns;
	t->turn = t->s.conn.turn;
	t->s.more = true;
	if (!connected)
		t->s.conn.turn = connect_turn;
	ret = nof_qpair_attach(&t->q, g);
	if (ret) {
		tcp_destroy(&t->q);
		return ret;
	}
	if (!connected)
		nof_conn_want_out(&t->s.conn, true);
	*out = &t->q;
	return 0;

err_free:
	free(t);
err_fd:
	close(fd);
	return ret;
}

int nof_tcp_on_socket(
	int fd, const struct nof_tcp_conf *conf, struct nof_group *g, struct nof_qpair **out)
{
	return make(fd, conf, g, true, out);
}

/* A numeric address; no name is ever looked up. */
static int address(const char *text, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof(*v6);
		return 0;
	}
	return -EINVAL;
}

int nof_tcp_connect(const struct nof_tcp_conf *conf, struct nof_group *g, struct nof_qpair **out)
{
	struct sockaddr_storage to, from;
	socklen_t to_len, from_len = 0;
	int one = 1, fd, ret;

	if (!conf->traddr || address(conf->traddr, conf->trsvcid, &to, &to_len) < 0)
		return -EINVAL;
	if (conf->host_traddr && address(conf->host_traddr, 0, &from, &from_len) < 0)
		return -EINVAL;
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (from_len && bind(fd, (struct sockaddr *)&from, from_len) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	if (connect(fd, (struct sockaddr *)&to, to_len) < 0 && errno != EINPROGRESS) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return make(fd, conf, g, false, out);
}

int nof_tcp_node(struct nof_qpair *q)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);

	if (getsockname(of_pair(q)->s.conn.fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	return nof_numa_of_addr((struct sockaddr *)&a);
}
