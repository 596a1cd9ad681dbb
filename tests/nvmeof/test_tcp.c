// SPDX-License-Identifier: Apache-2.0
/* The host's side of NVMe/TCP and its queue pairs, against a controller that keeps to the rules and
 * against one that lies. */
#include "test.h"

#include "dpu_clock.h"
#include "tcp.h"
#include "tcp_peer.h"

#define MAX (64U << 10)
#define BIG (8 * MAX) // more than a ring
#define CANARY 0x5c

struct rig {
	struct nof_group *g;
	struct nof_qpair *q;
	struct tcp_peer peer;
	int host_fd;
	unsigned ups, downs;
	int down_err;
	uint8_t *buf; // BIG bytes and a canary behind them
	struct iovec iov[3];
	/* of the last command */
	unsigned dones;
	int err;
	uint16_t status;
};

static void up(struct nof_qpair *q)
{
	((struct rig *)q->arg)->ups++;
}

static void down(struct nof_qpair *q, int err)
{
	struct rig *r = q->arg;

	r->downs++;
	r->down_err = err;
	nof_qpair_abort(q, err);
}

static const struct nof_qpair_owner owner = { up, down };

static void rig_poll(void *arg)
{
	nof_group_poll(((struct rig *)arg)->g);
}

static void done(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct rig *r = s->arg;

	r->dones++;
	r->err = err;
	r->status = cqe ? nof_cqe_status(cqe) : 0xffff;
}

static uint32_t capsule_max = 8192;

/* Connected up to the transport, to a controller that takes so much in an H2CData PDU. */
static void rig_open_to(
	struct rig *r, uint8_t dgst, uint16_t depth, uint64_t timeout_ns, uint32_t maxh2cdata)
{
	struct nof_tcp_conf conf = { .qid = 1,
		.depth = depth,
		.dgst = dgst,
		.dgst_demanded = dgst,
		.capsule_max = capsule_max,
		.timeout_ns = timeout_ns,
		.owner = &owner,
		.arg = r };
	union nof_pdu pdu;
	uint8_t *data;
	uint32_t len;
	int fds[2];

	memset(r, 0, sizeof(*r));
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &r->g), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(nof_tcp_on_socket(fds[0], &conf, r->g, &r->q), 0);
	r->host_fd = fds[0];
	r->peer = (struct tcp_peer){ .fd = fds[1], .poll = rig_poll, .arg = r };
	nof_group_poll(r->g);
	assert_true(peer_pdu(&r->peer, &pdu, &data, &len));
	assert_int_equal(pdu.ch.type, NOF_PDU_ICREQ);
	assert_int_equal(pdu.icreq.dgst, dgst);
	assert_int_equal(r->ups, 0);
	peer_icresp(&r->peer, 3, dgst, maxh2cdata);
	for (unsigned i = 0; i < 10; i++)
		rig_poll(r);
	assert_int_equal(r->ups, 1);
	r->buf = malloc(BIG + 4096);
	assert_non_null(r->buf);
	memset(r->buf, CANARY, BIG + 4096);
}

static void rig_open(struct rig *r, uint8_t dgst, uint16_t depth, uint64_t timeout_ns)
{
	rig_open_to(r, dgst, depth, timeout_ns, 4096);
}

static void rig_close(struct rig *r)
{
	if (r->q)
		nof_qpair_abort(r->q, -ECONNRESET);
	nof_qpair_destroy(r->q);
	close(r->peer.fd);
	nof_group_destroy(r->g);
	free(r->buf);
}

/* A command with len bytes of data in three segments; returns its identifier at the peer. */
static uint16_t command(struct rig *r, uint8_t opc, enum nof_dir dir, uint32_t len)
{
	struct nof_slot *s = nof_qpair_take(r->q);
	union nof_pdu pdu;
	uint8_t *data;
	uint32_t got;

	assert_non_null(s);
	r->iov[0] = (struct iovec){ r->buf, len / 2 };
	r->iov[1] = (struct iovec){ r->buf + len / 2, len / 4 };
	r->iov[2] = (struct iovec){ r->buf + len / 2 + len / 4, len - len / 2 - len / 4 };
	s->sqe.opc = opc;
	s->dir = (uint8_t)dir;
	s->iov = r->iov;
	s->n_iov = 3;
	s->len = len;
	s->done = done;
	s->arg = r;
	nof_qpair_submit(s);
	assert_true(peer_pdu(&r->peer, &pdu, &data, &got));
	assert_int_equal(pdu.ch.type, NOF_PDU_CMD);
	assert_int_equal(pdu.cmd.sqe.opc, opc);
	assert_int_equal(pdu.cmd.sqe.flags, NOF_PSDT_SGL);
	assert_int_equal(dpu_le32_get(pdu.cmd.sqe.sgl.len), len);
	if (dir == NOF_TO_CTRL && len <= capsule_max) {
		assert_int_equal(pdu.cmd.sqe.sgl.type, NOF_SGL_OFFSET);
		assert_int_equal(got, len);
		assert_int_equal(pdu.ch.pdo % 16, 0); // CPDA 3
		assert_memory_equal(data, r->buf, len);
	} else {
		assert_int_equal(pdu.cmd.sqe.sgl.type, NOF_SGL_TRANSPORT);
		assert_int_equal(got, 0);
	}
	free(data);
	return dpu_le16_get(pdu.cmd.sqe.cid);
}

static void settle(struct rig *r)
{
	for (unsigned i = 0; i < 20; i++)
		rig_poll(r);
}

static uint8_t pattern[BIG];

static void pattern_init(void)
{
	for (unsigned i = 0; i < BIG; i++)
		pattern[i] = (uint8_t)(i * 13 + i / 256);
}

/* ---- a controller that keeps to the rules ---- */

static const struct good_case {
	const char *name;
	uint8_t dgst;
	uint32_t len, piece; // piece: of one C2HData or R2T
	bool success; // by the flag
} good[] = {
	{ "4 KiB, no digest", 0, 4096, 4096, false },
	{ "4 KiB, SUCCESS flag", 0, 4096, 4096, true },
	{ "4 KiB, header digest", 1, 4096, 4096, true },
	{ "4 KiB, data digest", 2, 4096, 4096, true },
	{ "64 KiB in pieces, both digests", 3, MAX, 12288, false },
	{ "64 KiB in pieces", 0, MAX, 20480, true },
	{ "64 KiB at once", 0, MAX, MAX, true },
	{ "512 bytes", 3, 512, 512, true },
};

static void reads(void **state)
{
	const struct good_case *t = *state;
	struct rig r;
	uint16_t cid;

	rig_open(&r, t->dgst, 8, 0);
	for (unsigned round = 0; round < 3; round++) {
		memset(r.buf, CANARY, MAX);
		cid = command(&r, NOF_NVM_READ, NOF_FROM_CTRL, t->len);
		for (uint32_t off = 0; off < t->len; off += t->piece) {
			uint32_t n = t->len - off < t->piece ? t->len - off : t->piece;
			bool last = off + n == t->len;
			uint8_t flags = last ? NOF_F_LAST | (t->success ? NOF_F_SUCCESS : 0) : 0;

			assert_int_equal(r.dones, round);
			peer_c2h(&r.peer, cid, flags, off, n, pattern + off, n);
		}
		settle(&r);
		if (!t->success) {
			assert_int_equal(r.dones, round);
			peer_resp(&r.peer, cid, 0, 0);
			settle(&r);
		}
		assert_int_equal(r.dones, round + 1);
		assert_int_equal(r.err, 0);
		assert_int_equal(r.status, 0);
		assert_memory_equal(r.buf, pattern, t->len);
		assert_int_equal(r.buf[t->len], CANARY);
	}
	assert_int_equal(r.downs, 0);
	rig_close(&r);
}

static void writes(void **state)
{
	const struct good_case *t = *state;
	uint8_t *got = malloc(MAX), *data;
	struct rig r;
	uint16_t cid;

	assert_non_null(got);
	rig_open(&r, t->dgst, 8, 0);
	memcpy(r.buf, pattern, MAX);
	cid = command(&r, NOF_NVM_WRITE, NOF_TO_CTRL, t->len);
	for (uint32_t off = 0; t->len > 8192 && off < t->len; off += t->piece) {
		uint32_t n = t->len - off < t->piece ? t->len - off : t->piece, at = 0, len;

		peer_r2t(&r.peer, cid, (uint16_t)(0x4000 + off), off, n);
		while (at < n) {
			union nof_pdu pdu;

			assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
			assert_int_equal(pdu.ch.type, NOF_PDU_H2C_DATA);
			assert_in_range(len, 1, 4096); // MAXH2CDATA
			assert_int_equal(dpu_le16_get(pdu.data.cccid), cid);
			assert_int_equal(dpu_le16_get(pdu.data.ttag), (uint16_t)(0x4000 + off));
			assert_int_equal(dpu_le32_get(pdu.data.datao), off + at);
			assert_int_equal(dpu_le32_get(pdu.data.datal), len);
			assert_int_equal(!!(pdu.ch.flags & NOF_F_LAST), at + len == n);
			memcpy(got + off + at, data, len);
			at += len;
			free(data);
		}
	}
	assert_int_equal(r.dones, 0);
	peer_resp(&r.peer, cid, 0, 0);
	settle(&r);
	assert_int_equal(r.dones, 1);
	assert_int_equal(r.status, 0);
	if (t->len > 8192)
		assert_memory_equal(got, pattern, t->len);
	rig_close(&r);
	free(got);
}

/* ---- one that lies ---- */

enum say { END, C2H, R2T, RESP, FLIP }; // FLIP: C2HData with a wrong digest

static const struct lie {
	const char *name;
	bool write; // of 16 KiB; else a read of 4 KiB
	struct {
		enum say say;
		int cid; // added to the right one
		uint8_t flags;
		uint32_t off, datal, len; // of RESP: off is the status
	} say[4];
	int fes; // -1: no TermReq, the command is answered with `status`
	uint16_t status;
} lies[] = {
	{ "NI-04 gap", false, { { C2H, 0, 0, 512, 512, 512 } }, NOF_FES_RANGE, 0 },
	{ "NI-04 repeat", false, { { C2H, 0, 0, 0, 512, 512 }, { C2H, 0, 0, 0, 512, 512 } },
		NOF_FES_RANGE, 0 },
	{ "NI-04 overlap", false, { { C2H, 0, 0, 0, 1024, 1024 }, { C2H, 0, 0, 512, 1024, 1024 } },
		NOF_FES_RANGE, 0 },
	{ "NI-04 more than was asked for", false, { { C2H, 0, 0, 0, 8192, 8192 } }, NOF_FES_RANGE,
		0 },
	{ "NI-04 more than is left", false,
		{ { C2H, 0, 0, 0, 4000, 4000 }, { C2H, 0, 0, 4000, 97, 97 } }, NOF_FES_RANGE, 0 },
	{ "NI-04 DATAL less than PLEN", false, { { C2H, 0, 0, 0, 512, 1024 } }, NOF_FES_HEADER, 0 },
	{ "NI-04 DATAL wraps", false, { { C2H, 0, 0, 0xfffff000, 0x1200, 0x1200 } }, NOF_FES_RANGE,
		0 },
	{ "NI-05 SUCCESS without LAST", false, { { C2H, 0, 8, 0, 4096, 4096 } }, NOF_FES_HEADER,
		0 },
	{ "NI-05 LAST and SUCCESS with half the data", false, { { C2H, 0, 12, 0, 2048, 2048 } },
		NOF_FES_RANGE, 0 },
	{ "NI-05 success without data", false, { { RESP, 0, 0, 0, 0, 0 } }, -1,
		NOF_SC_DATA_TRANSFER },
	{ "NI-05 success with half the data", false,
		{ { C2H, 0, 0, 0, 2048, 2048 }, { RESP, 0, 0, 0, 0, 0 } }, -1,
		NOF_SC_DATA_TRANSFER },
	{ "NI-07 R2T for a read", false, { { R2T, 0, 0, 0, 0, 4096 } }, NOF_FES_SEQUENCE, 0 },
	{ "NI-09 answer to nobody", false, { { RESP, 1, 0, 0, 0, 0 } }, NOF_FES_HEADER, 0 },
	{ "NI-09 answer of another generation", false, { { RESP, 8, 0, 0, 0, 0 } }, NOF_FES_HEADER,
		0 },
	{ "NI-09 data of another generation", false, { { C2H, -8, 0, 0, 512, 512 } },
		NOF_FES_HEADER, 0 },
	{ "data for a write", true, { { C2H, 0, 0, 0, 512, 512 } }, NOF_FES_HEADER, 0 },
	{ "R2T beyond the data", true, { { R2T, 0, 0, 0, 0, 16385 } }, NOF_FES_RANGE, 0 },
	{ "R2T of nothing", true, { { R2T, 0, 0, 0, 0, 0 } }, NOF_FES_RANGE, 0 },
	{ "R2T that wraps", true, { { R2T, 0, 0, 0, 0, 0xfffff001 } }, NOF_FES_RANGE, 0 },
	{ "R2T with a gap", true, { { R2T, 0, 0, 4096, 0, 4096 } }, NOF_FES_RANGE, 0 },
	{ "R2T twice for the same", true, { { R2T, 0, 0, 0, 0, 4096 }, { R2T, 0, 0, 0, 0, 4096 } },
		NOF_FES_RANGE, 0 },
	{ "success before the data", true, { { RESP, 0, 0, 0, 0, 0 } }, NOF_FES_SEQUENCE, 0 },
	{ "success after half the data", true,
		{ { R2T, 0, 0, 0, 0, 8192 }, { RESP, 0, 0, 0, 0, 0 } }, NOF_FES_SEQUENCE, 0 },
	{ "an error before the data", true, { { RESP, 0, 0, NOF_SC_WRITE_FAULT, 0, 0 } }, -1,
		NOF_SC_WRITE_FAULT },
	{ "NI-13 wrong digest, then success", false,
		{ { FLIP, 0, 4, 0, 4096, 4096 }, { RESP, 0, 0, 0, 0, 0 } }, -1, NOF_SC_TRANSIENT },
	{ "NI-13 wrong digest with SUCCESS", false, { { FLIP, 0, 12, 0, 4096, 4096 } }, -1,
		NOF_SC_TRANSIENT },
};

/* The TermReq that came, 0: none. Nothing else may come before it but H2CData of the write. */
static unsigned term_of(struct rig *r, bool write)
{
	union nof_pdu pdu;
	uint8_t *data;
	uint32_t len;

	while (peer_pdu(&r->peer, &pdu, &data, &len)) {
		free(data);
		if (pdu.ch.type == NOF_PDU_H2C_TERM)
			return dpu_le16_get(pdu.term.fes);
		assert_true(write && pdu.ch.type == NOF_PDU_H2C_DATA);
	}
	return 0;
}

static void lie(void **state)
{
	const struct lie *t = *state;
	uint32_t len = t->write ? 16384 : 4096;
	uint8_t wrong[4096];
	struct rig r;
	uint16_t cid;

	rig_open(&r, t->say[0].say == FLIP ? NOF_DGST_DATA : 0, 8, 0);
	cid = command(&r, t->write ? NOF_NVM_WRITE : NOF_NVM_READ,
		t->write ? NOF_TO_CTRL : NOF_FROM_CTRL, len);
	for (unsigned i = 0; i < 4 && t->say[i].say != END; i++) {
		uint16_t c = (uint16_t)(cid + t->say[i].cid);

		switch (t->say[i].say) {
		case C2H:
			peer_c2h(&r.peer, c, t->say[i].flags, t->say[i].off, t->say[i].datal,
				pattern, t->say[i].len);
			break;
		case FLIP:
			memcpy(wrong, pattern, sizeof(wrong));
			r.peer.dgst = 0; // its digest by hand
			{
				uint8_t head[NOF_PDU_HEAD_MAX];
				struct nof_data_pdu *d = (struct nof_data_pdu *)head;
				size_t n = nof_pdu_begin(
					head, NOF_PDU_C2H_DATA, NOF_DGST_DATA, 0, 4096);
				dpu_le32 crc = dpu_le32_put(1 ^ nof_crc32c(0, wrong, 4096));

				d->ch.flags |= t->say[i].flags;
				d->cccid = dpu_le16_put(c);
				d->datal = dpu_le32_put(4096);
				peer_write(&r.peer, head, n);
				peer_write(&r.peer, wrong, 4096);
				peer_write(&r.peer, &crc, sizeof(crc));
			}
			break;
		case R2T:
			peer_r2t(&r.peer, c, 7, t->say[i].off, t->say[i].len);
			break;
		case RESP:
			peer_resp(&r.peer, c, (uint16_t)t->say[i].off, 0);
			break;
		case END:
			break;
		}
	}
	settle(&r);
	assert_int_equal(r.dones, 1);
	if (t->fes < 0) {
		assert_int_equal(r.err, 0);
		assert_int_equal(r.status, t->status);
		assert_int_equal(r.downs, 0);
	} else {
		assert_int_equal(r.err, -EPROTO);
		assert_int_equal(r.downs, 1);
		assert_int_equal(term_of(&r, t->write), t->fes);
	}
	for (unsigned i = len; i < MAX + 4096; i++)
		assert_int_equal(r.buf[i], CANARY);
	rig_close(&r);
}

/* NI-12, and an ICResp that lies: the transport never comes up. */
static void term_and_icresp(void **state)
{
	uint8_t term[NOF_TERM_MAX], bad[100] = { 0 };
	struct nof_pdu_err e = { (enum nof_fes)0xffff, 77 };
	struct rig r;
	size_t n;

	(void)state;
	rig_open(&r, 0, 8, 0);
	n = nof_term_build(term, NOF_TARGET, &e, bad, sizeof(bad));
	peer_write(&r.peer, term, n);
	settle(&r);
	assert_int_equal(r.downs, 1);
	assert_int_equal(r.down_err, -ECONNABORTED);
	assert_int_equal(r.q->term_fes, 0xffff);
	rig_close(&r);
	rig_open(&r, 0, 8, 0);
	peer_icresp(&r.peer, 0, 0, 4096); // twice
	settle(&r);
	assert_int_equal(r.down_err, -EPROTO);
	assert_int_equal(term_of(&r, false), NOF_FES_SEQUENCE);
	rig_close(&r);
}

/* ---- the pair ---- */

struct want {
	struct nof_waiter w;
	struct rig *r;
	unsigned served;
};

static void serve(struct nof_waiter *w)
{
	struct want *x = (struct want *)w;
	struct nof_slot *s = nof_qpair_take(x->r->q);

	assert_non_null(s);
	s->sqe.opc = NOF_NVM_FLUSH;
	s->done = done;
	s->arg = x->r;
	x->served++;
	nof_qpair_submit(s);
	nof_qpair_wait(x->r->q, w);
}

static void those_who_wait_take_turns(void **state)
{
	struct rig r;
	struct want a, b;
	uint16_t cid[2];

	(void)state;
	rig_open(&r, 0, 2, 0);
	a = (struct want){ { .ready = serve }, &r, 0 };
	b = a;
	cid[0] = command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
	cid[1] = command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
	assert_null(nof_qpair_take(r.q));
	nof_qpair_wait(r.q, &a.w);
	nof_qpair_wait(r.q, &b.w);
	for (unsigned i = 0; i < 20; i++) {
		union nof_pdu pdu;
		uint8_t *data;
		uint32_t len;

		peer_resp(&r.peer, cid[i % 2], 0, 0);
		assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
		assert_true(dpu_le16_get(pdu.cmd.sqe.cid) != cid[i % 2]); // another generation
		cid[i % 2] = dpu_le16_get(pdu.cmd.sqe.cid);
	}
	assert_int_equal(a.served, 10);
	assert_int_equal(b.served, 10);
	nof_qpair_unwait(r.q, &a.w);
	nof_qpair_unwait(r.q, &b.w);
	rig_close(&r);
	assert_int_equal(r.dones, 22);
}

static void serve_two(struct nof_waiter *w)
{
	struct want *x = (struct want *)w;
	struct nof_slot *s[2];

	assert_true(nof_qpair_take_two(x->r->q, s));
	for (unsigned i = 0; i < 2; i++) {
		s[i]->sqe.opc = i ? NOF_NVM_WRITE : NOF_NVM_COMPARE;
		s[i]->sqe.flags = i ? NOF_FUSE_SECOND : NOF_FUSE_FIRST;
		s[i]->done = done;
		s[i]->arg = x->r;
		nof_qpair_submit(s[i]);
	}
	x->served++;
	nof_qpair_wait(x->r->q, w);
}

/* What one that waits for two has to have is nobody else's, and the others get their turn. */
static void one_waits_for_two(void **state)
{
	struct nof_slot *none[2];
	struct rig r;
	struct want a, b;
	uint16_t cid[3];

	(void)state;
	rig_open(&r, 0, 3, 0);
	a = (struct want){ { .ready = serve_two, .two = true }, &r, 0 };
	b = (struct want){ { .ready = serve }, &r, 0 };
	for (unsigned i = 0; i < 3; i++)
		cid[i] = command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
	nof_qpair_wait(r.q, &a.w);
	nof_qpair_wait(r.q, &b.w);
	for (unsigned i = 0; i < 10; i++) {
		union nof_pdu pdu;
		uint8_t *data;
		uint32_t len;

		// Three are out. Two end: they are the next pair's. One ends: it is the other's.
		peer_resp(&r.peer, cid[0], 0, 0);
		for (unsigned k = 0; k < 4; k++)
			rig_poll(&r);
		assert_int_equal(a.served, i);
		assert_null(nof_qpair_take(r.q));
		assert_false(nof_qpair_take_two(r.q, none));
		peer_resp(&r.peer, cid[1], 0, 0);
		for (unsigned k = 0; k < 2; k++) {
			assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
			assert_int_equal(pdu.cmd.sqe.flags & NOF_FUSE_MASK,
				k ? NOF_FUSE_SECOND : NOF_FUSE_FIRST);
			cid[k] = dpu_le16_get(pdu.cmd.sqe.cid);
		}
		assert_int_equal(a.served, i + 1);
		assert_int_equal(b.served, i);
		peer_resp(&r.peer, cid[2], 0, 0);
		assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
		assert_int_equal(pdu.cmd.sqe.opc, NOF_NVM_FLUSH);
		cid[2] = dpu_le16_get(pdu.cmd.sqe.cid);
		assert_int_equal(b.served, i + 1);
	}
	peer_resp(&r.peer, cid[0], 0, 0);
	for (unsigned k = 0; k < 4; k++)
		rig_poll(&r);
	nof_qpair_unwait(r.q, &a.w); // what was kept for it is the other's
	assert_int_equal(b.served, 11);
	nof_qpair_unwait(r.q, &b.w);
	rig_close(&r);
}

/* A pair of which the second one never went to the connection can be told from others. */
static void what_was_never_sent(void **state)
{
	struct nof_slot *s[2], *first = NULL;
	unsigned n = 0, out = 0;
	struct rig r;

	(void)state;
	rig_open(&r, NOF_DGST_DATA, 1024, 0);
	while ((nof_qpair_take_two(r.q, s))) { // more than the socket and the ring take
		first = first ? first : s[0];
		for (unsigned i = 0; i < 2; i++, n++) {
			r.iov[0] = (struct iovec){ r.buf, 8192 };
			s[i]->sqe.opc = NOF_NVM_WRITE;
			s[i]->dir = NOF_TO_CTRL;
			s[i]->iov = r.iov;
			s[i]->n_iov = 1;
			s[i]->len = 8192;
			s[i]->done = done;
			s[i]->arg = &r;
			nof_qpair_submit(s[i]);
		}
	}
	for (unsigned i = 0; i < 100; i++)
		rig_poll(&r);
	assert_int_equal(n, 1024);
	nof_qpair_abort(r.q, -ECONNRESET);
	for (unsigned i = 0; i < 1024; i++)
		out += r.q->slots[i].capsule_out;
	assert_true(first->capsule_out);
	assert_in_range(out, 1, 1023);
	rig_close(&r);
}

static uint64_t now_ns = 1000000000;

static uint64_t hand_clock(void)
{
	return now_ns;
}

static void a_silent_controller_is_left(void **state)
{
	struct rig r;

	(void)state;
	dpu_clock_set(hand_clock);
	rig_open(&r, 0, 8, 1000000000);
	(void)command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
	for (unsigned i = 0; i < 3; i++) {
		now_ns += 250000000;
		settle(&r);
	}
	assert_int_equal(r.downs, 0);
	for (unsigned i = 0; i < 4; i++) {
		now_ns += 250000000;
		settle(&r);
	}
	assert_int_equal(r.downs, 1);
	assert_int_equal(r.err, -ETIMEDOUT);
	assert_int_equal(r.dones, 1);
	rig_close(&r);
	dpu_clock_set(NULL);
}

/* Data are lent to a socket that is full when the controller refuses the command: it ends, and what
 * was lent is not used any more, only when it was sent. */
static void answered_while_data_are_lent(void **state)
{
	struct rig r;
	int size = 4096;
	uint16_t cid;

	(void)state;
	rig_open(&r, 0, 8, 0);
	setsockopt(r.host_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	memcpy(r.buf, pattern, MAX);
	cid = command(&r, NOF_NVM_WRITE, NOF_TO_CTRL, MAX);
	peer_r2t(&r.peer, cid, 1, 0, MAX);
	settle(&r);
	peer_resp(&r.peer, cid, NOF_SC_WRITE_FAULT, 0);
	settle(&r);
	assert_int_equal(r.dones, 0);
	for (unsigned at = 0; at < MAX;) {
		union nof_pdu pdu;
		uint8_t *data;
		uint32_t len;

		assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
		assert_memory_equal(data, pattern + at, len);
		at += len;
		free(data);
		if (r.dones) // what had not been put when the answer came is not sent
			break;
	}
	settle(&r);
	assert_int_equal(r.dones, 1);
	assert_int_equal(r.status, NOF_SC_WRITE_FAULT);
	rig_close(&r);
}

/* One R2T is answered by one PDU when MAXH2CDATA allows it, whatever the ring takes at once. */
static void one_pdu_for_one_r2t(void **state)
{
	(void)state;
	for (uint8_t dgst = 0; dgst < 4; dgst++) {
		union nof_pdu pdu;
		uint8_t *data;
		struct rig r;
		uint16_t cid;
		uint32_t len;

		rig_open_to(&r, dgst, 8, 0, 1U << 20);
		memcpy(r.buf, pattern, BIG);
		cid = command(&r, NOF_NVM_WRITE, NOF_TO_CTRL, BIG);
		peer_r2t(&r.peer, cid, 1, 0, BIG);
		assert_true(peer_pdu(&r.peer, &pdu, &data, &len));
		assert_int_equal(len, BIG);
		assert_memory_equal(data, pattern, BIG);
		assert_true(pdu.ch.flags & NOF_F_LAST);
		free(data);
		peer_resp(&r.peer, cid, 0, 0);
		settle(&r);
		assert_int_equal(r.dones, 1);
		assert_int_equal(r.status, 0);
		(void)command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
		rig_close(&r);
	}
}

/* What the controller takes in a capsule goes there, also when it is more than the ring takes. */
static void long_capsules(void **state)
{
	(void)state;
	capsule_max = BIG;
	for (uint8_t dgst = 0; dgst < 4; dgst++) {
		struct rig r;
		uint16_t cid;

		rig_open(&r, dgst, 8, 0);
		memcpy(r.buf, pattern, BIG);
		cid = command(&r, NOF_NVM_WRITE, NOF_TO_CTRL, BIG);
		peer_resp(&r.peer, cid, 0, 0);
		settle(&r);
		assert_int_equal(r.dones, 1);
		assert_int_equal(r.status, 0);
		(void)command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
		rig_close(&r);
	}
	capsule_max = 8192;
}

/* The controller refuses a command in the middle of its PDU: it ends at once, since its data are
 * copied, nobody's memory is read for the rest, and the next PDU is where it should be. */
static void answered_in_the_middle_of_a_pdu(void **state)
{
	uint32_t len, same = 0, zero = 0;
	int size = 4096;
	union nof_pdu pdu;
	uint8_t *data;
	struct rig r;
	uint16_t cid;

	(void)state;
	rig_open_to(&r, NOF_DGST_HEADER | NOF_DGST_DATA, 8, 0, 1U << 20);
	setsockopt(r.host_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	memset(r.buf, CANARY, BIG);
	cid = command(&r, NOF_NVM_WRITE, NOF_TO_CTRL, BIG);
	peer_r2t(&r.peer, cid, 1, 0, BIG);
	settle(&r);
	peer_resp(&r.peer, cid, NOF_SC_WRITE_FAULT, 0);
	settle(&r);
	assert_int_equal(r.dones, 1);
	assert_int_equal(r.status, NOF_SC_WRITE_FAULT);
	memset(r.buf, 0xee, BIG); // somebody else's now
	assert_true(peer_pdu(&r.peer, &pdu, &data, &len)); // also its digest
	assert_int_equal(len, BIG);
	while (same < BIG && data[same] == CANARY)
		same++;
	while (same + zero < BIG && data[same + zero] == 0)
		zero++;
	assert_true(same > 0 && zero > 0);
	assert_int_equal(same + zero, BIG);
	free(data);
	(void)command(&r, NOF_NVM_FLUSH, NOF_NO_DATA, 0);
	assert_int_equal(r.downs, 0);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_pdu_for_one_r2t),
		cmocka_unit_test(long_capsules),
		cmocka_unit_test(answered_in_the_middle_of_a_pdu),
		cmocka_unit_test(term_and_icresp),
		cmocka_unit_test(those_who_wait_take_turns),
		cmocka_unit_test(one_waits_for_two),
		cmocka_unit_test(what_was_never_sent),
		cmocka_unit_test(a_silent_controller_is_left),
		cmocka_unit_test(answered_while_data_are_lent),
	};
	int failed = 0;

	pattern_init();
	RUN_ROWS(good, reads, failed);
	RUN_ROWS(good, writes, failed);
	RUN_ROWS(lies, lie, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
