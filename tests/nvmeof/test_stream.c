// SPDX-License-Identifier: Apache-2.0
/* Streams over a socket pair: bytes in pieces of every size, digests, segments out in order. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "stream.h"

#define RING 16384U
#define DATA_MAX (1U << 20)

struct role {
	struct nof_stream s;
	struct nof_group *g;
	int far;
	uint8_t *store; // where data go
	struct iovec iov[4];
	unsigned headers, bodies, bad_digests;
	uint32_t len;
	int err;
	unsigned broken;
	/* what fill puts */
	unsigned to_put, put;
	struct iovec out[3];
	struct nof_tx_ref ref;
	unsigned given_back;
	bool freed_in_broken, refuse;
};

static int on_header(struct nof_stream *s, const union nof_pdu *pdu, uint32_t len)
{
	struct role *r = (struct role *)s;

	r->headers++;
	r->len = len;
	if (r->refuse)
		return nof_stream_refuse(s, NOF_FES_RANGE, 12);
	if (pdu->ch.type == NOF_PDU_C2H_DATA && r->store) {
		r->iov[0] = (struct iovec){ r->store, len / 3 };
		r->iov[1] = (struct iovec){ r->store, 0 };
		r->iov[2] = (struct iovec){ r->store + len / 3, 1 };
		r->iov[3] = (struct iovec){ r->store + len / 3 + 1, DATA_MAX };
		nof_stream_sink(s, r->iov, 4, 0);
	}
	return 0;
}

static int on_data(struct nof_stream *s, bool digest_ok)
{
	struct role *r = (struct role *)s;

	r->bodies++;
	r->bad_digests += !digest_ok;
	if (r->bodies == 1 && r->store)
		memset(r->store, 0, r->len); // the second PDU has to write all of it again
	return 0;
}

static void fill(struct nof_stream *s)
{
	struct role *r = (struct role *)s;

	while (r->put < r->to_put && nof_stream_room(s, 72, 4)) {
		uint8_t *p = nof_stream_put(s, 72);
		size_t len = r->out[0].iov_len + r->out[1].iov_len + r->out[2].iov_len;

		assert_non_null(p);
		nof_pdu_begin(p, NOF_PDU_CMD, 0, 0, (uint32_t)len);
		p[8] = (uint8_t)r->put;
		nof_pdu_seal(p);
		if (len)
			assert_int_equal(nof_stream_lend(s, r->out, 3, 0, len, &r->ref), 0);
		r->put++;
	}
	s->more = r->put < r->to_put;
}

static void sent(struct nof_tx_ref *ref)
{
	struct role *r = (struct role *)((char *)ref - offsetof(struct role, ref));

	r->given_back++;
}

static void broken(struct nof_stream *s, int err)
{
	struct role *r = (struct role *)s;

	r->err = err;
	r->broken++;
	if (r->freed_in_broken)
		nof_stream_fini(s);
}

static const struct nof_stream_ops ops = { on_header, on_data, fill, broken };

static void open_role(struct role *r, uint8_t dgst)
{
	struct nof_pdu_rules rules = { NOF_HOST, 0xffff, dgst, 0, 8192, DATA_MAX };
	int fds[2], size = 1 << 20;

	memset(r, 0, sizeof(*r));
	r->ref.sent = sent;
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ .rx_size = 8192 }, &r->g), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	r->far = fds[1];
	assert_int_equal(nof_stream_init(&r->s, fds[0], &ops, &rules, RING), 0);
	assert_int_equal(nof_group_add(r->g, &r->s.conn), 0);
}

static void close_role(struct role *r)
{
	nof_stream_fini(&r->s);
	nof_stream_fini(&r->s);
	close(r->far);
	nof_group_destroy(r->g);
	free(r->store);
}

/* A C2HData PDU of len bytes; returns its size. */
static size_t build(uint8_t *out, uint8_t dgst, uint8_t pda, uint32_t len)
{
	size_t off = nof_pdu_begin(out, NOF_PDU_C2H_DATA, dgst, pda, len);
	dpu_le32 crc;

	nof_pdu_seal(out);
	for (uint32_t i = 0; i < len; i++)
		out[off + i] = (uint8_t)(i * 7 + i / 251);
	crc = dpu_le32_put(nof_crc32c(0, out + off, len));
	if (!(dgst & NOF_DGST_DATA))
		return off + len;
	memcpy(out + off + len, &crc, sizeof(crc));
	return off + len + sizeof(crc);
}

static const struct rx_case {
	const char *name;
	uint8_t dgst;
	uint32_t len;
	size_t piece; // bytes written between two polls
} rx_cases[] = {
	{ "data byte by byte", 0, 300, 1 },
	{ "data byte by byte with digests", 3, 300, 1 },
	{ "data in pieces of 7 with digests", 3, 5000, 7 },
	{ "data in one piece", 0, 4096, 1 << 20 },
	{ "data in one piece with digests", 3, 4096, 1 << 20 },
	{ "long data read to their place", 0, DATA_MAX - 64, 100000 },
	{ "long data with a digest", 3, DATA_MAX - 64, 100000 },
	{ "long data in odd pieces", 0, 200001, 16385 },
};

static void receives(void **state)
{
	const struct rx_case *t = *state;
	uint8_t *wire = malloc(3 * (size_t)DATA_MAX);
	struct role r;
	size_t n, pad;

	assert_non_null(wire);
	open_role(&r, t->dgst);
	r.store = calloc(1, 2 * (size_t)DATA_MAX);
	n = build(wire, t->dgst, 0, t->len);
	n += build(wire + n, t->dgst, 31, t->len); // the same, padded
	for (size_t at = 0; at < n;) {
		size_t part = n - at < t->piece ? n - at : t->piece;
		ssize_t w = write(r.far, wire + at, part);

		if (w > 0)
			at += (size_t)w;
		nof_group_poll(r.g);
	}
	while (nof_group_poll(r.g))
		;
	assert_int_equal(r.headers, 2);
	assert_int_equal(r.bodies, 2);
	assert_int_equal(r.bad_digests, 0);
	assert_int_equal(r.broken, 0);
	pad = nof_pdu_begin(wire, NOF_PDU_C2H_DATA, t->dgst, 0, t->len);
	(void)build(wire, t->dgst, 0, t->len);
	assert_memory_equal(r.store, wire + pad, t->len);
	assert_int_equal(r.store[t->len], 0);
	close_role(&r);
	free(wire);
}

/* What came together is read together, though the group's buffer is shorter. */
static void one_turn_takes_more_than_a_buffer(void **state)
{
	enum { LEN = 1000, N = 19 };
	uint8_t wire[N * (LEN + 64)];
	struct role r;
	size_t n = 0, buf;

	(void)state;
	open_role(&r, 0);
	(void)nof_group_rx(r.g, &buf);
	for (unsigned i = 0; i < N; i++)
		n += build(wire + n, 0, 0, LEN);
	assert_true(n > 2 * buf && n < 3 * buf);
	assert_int_equal(write(r.far, wire, n), n);
	nof_group_poll(r.g);
	assert_int_equal(r.bodies, N);
	assert_int_equal(r.s.n.rx_bytes, n);
	close_role(&r);
}

/* A turn that nothing can have come for does not look, the next one does. */
static void a_quiet_turn_does_not_look(void **state)
{
	uint8_t wire[256];
	struct role r;
	size_t n;

	(void)state;
	open_role(&r, 0);
	nof_conn_busy(&r.s.conn, true);
	n = build(wire, 0, 0, 100);
	assert_int_equal(write(r.far, wire, n), n);
	r.s.quiet = true;
	assert_int_equal(r.s.conn.turn(&r.s.conn, 0), 0);
	assert_int_equal(r.bodies, 0);
	assert_true(r.s.conn.turn(&r.s.conn, 0) > 0);
	assert_int_equal(r.bodies, 1);
	r.s.quiet = true;
	assert_int_equal(write(r.far, wire, n), n);
	assert_true(r.s.conn.turn(&r.s.conn, NOF_EV_IN) > 0);
	assert_int_equal(r.bodies, 2);
	close_role(&r);
}

static void a_wrong_data_digest_is_told(void **state)
{
	uint8_t wire[8192];
	struct role r;
	size_t n;

	(void)state;
	open_role(&r, NOF_DGST_DATA);
	n = build(wire, NOF_DGST_DATA, 0, 1000);
	wire[500] ^= 1;
	n += build(wire + n, NOF_DGST_DATA, 0, 1000);
	assert_int_equal(write(r.far, wire, n), n);
	while (nof_group_poll(r.g)) // without a sink, too, it is summed
		;
	assert_int_equal(r.bodies, 2);
	assert_int_equal(r.bad_digests, 1);
	assert_int_equal(r.s.n.ddgst_errors, 1);
	assert_int_equal(r.broken, 0);
	close_role(&r);
}

static const struct end_case {
	const char *name;
	uint8_t dgst;
	size_t flip; // byte of the wire that is not what it was
	uint8_t with;
	bool refuse;
	enum nof_fes fes; // 0: no TermReq, the peer closed
	uint32_t fei; // UINT32_MAX: any
} end_cases[] = {
	{ "NT-14 one bit of the header digest", 1, 25, 0x10, false, NOF_FES_HDGST, UINT32_MAX },
	{ "one bit under the header digest", 1, 13, 0x10, false, NOF_FES_HDGST, UINT32_MAX },
	{ "NT-07 another type", 0, 0, 0x0f, false, NOF_FES_HEADER, 0 },
	{ "HLEN 25", 0, 2, 1, false, NOF_FES_HEADER, 2 },
	{ "the role refuses", 0, 13, 0, true, NOF_FES_RANGE, 12 },
	{ "the peer closes", 0, 13, 0, false, 0, 0 },
};

static void ends(void **state)
{
	const struct end_case *t = *state;
	uint8_t wire[8192], term[NOF_TERM_MAX];
	struct role r;
	size_t n;
	ssize_t got;

	open_role(&r, t->dgst);
	r.freed_in_broken = true;
	r.refuse = t->refuse;
	n = build(wire, t->dgst, 0, 1000);
	wire[t->flip] ^= t->with;
	assert_int_equal(write(r.far, wire, n), n);
	if (!t->fes)
		shutdown(r.far, SHUT_WR);
	while (!r.broken)
		nof_group_poll(r.g);
	nof_group_poll(r.g);
	assert_int_equal(r.broken, 1);
	assert_int_equal(r.err, t->fes ? -EPROTO : -ECONNRESET);
	got = read(r.far, term, sizeof(term));
	if (t->fes) {
		const struct nof_term *p = (const struct nof_term *)term;

		assert_true(got >= 24);
		assert_int_equal(p->ch.type, NOF_PDU_H2C_TERM);
		assert_int_equal(dpu_le32_get(p->ch.plen), got);
		assert_int_equal(dpu_le16_get(p->fes), t->fes);
		if (t->fei != UINT32_MAX)
			assert_int_equal(dpu_le32_get(p->fei), t->fei);
		assert_memory_equal(term + 24, wire, (size_t)got - 24);
	} else {
		assert_true(got <= 0);
	}
	close_role(&r);
}

/* 500 capsules with lent data through a small socket, whole and in order; then all is given back.
 */
static void sends(void **state)
{
	static uint8_t data[3000];
	uint8_t *got;
	size_t each = 72 + sizeof(data), at = 0;
	struct role r;

	(void)state;
	open_role(&r, 0);
	got = malloc(500 * each);
	assert_non_null(got);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	r.out[0] = (struct iovec){ data, 1000 };
	r.out[1] = (struct iovec){ data + 1000, 0 };
	r.out[2] = (struct iovec){ data + 1000, 2000 };
	r.to_put = 500;
	nof_stream_kick(&r.s);
	while (at < 500 * each) {
		ssize_t n;

		nof_group_poll(r.g);
		n = read(r.far, got + at, 33333);
		if (n > 0)
			at += (size_t)n;
	}
	assert_int_equal(r.ref.lent, 0);
	assert_true(r.given_back > 0);
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(got[i * each], NOF_PDU_CMD);
		assert_int_equal(got[i * each + 8], (uint8_t)i);
		assert_memory_equal(got + i * each + 72, data, sizeof(data));
	}
	assert_true(nof_stream_empty(&r.s));
	free(got);
	close_role(&r);
}

/* A peer that does not read: bounded, and what was lent comes back when the stream ends. */
static void a_peer_that_does_not_read(void **state)
{
	static uint8_t data[8192];
	struct role r;

	(void)state;
	open_role(&r, 0);
	r.out[0] = (struct iovec){ data, sizeof(data) };
	r.to_put = 100000;
	nof_stream_kick(&r.s);
	for (unsigned i = 0; i < 1000; i++)
		nof_group_poll(r.g);
	assert_true(r.put < 2000 && r.ref.lent > 0);
	assert_int_equal(r.given_back, 0);
	nof_stream_fini(&r.s);
	assert_int_equal(r.given_back, 1);
	assert_int_equal(r.ref.lent, 0);
	close_role(&r);
}

/* Pieces in the ring are whole, wherever it ends; neighbours are one segment. */
static void the_ring(void **state)
{
	struct role r;
	uint8_t *a, *b;

	(void)state;
	open_role(&r, 0);
	assert_false(nof_stream_room(&r.s, RING + 1, 1));
	a = nof_stream_put(&r.s, 6000);
	b = nof_stream_put(&r.s, 6000);
	assert_ptr_equal(b, a + 6000);
	memset(a, 1, 12000);
	assert_int_equal((uint16_t)(r.s.tx_tail - r.s.tx_head), 1);
	assert_null(nof_stream_put(&r.s, 6000));
	nof_stream_lend(&r.s, &(struct iovec){ a, 1 }, 1, 0, 1, &r.ref);
	b = nof_stream_put(&r.s, 100);
	assert_ptr_equal(b, a + 12000);
	memset(b, 1, 100);
	assert_int_equal((uint16_t)(r.s.tx_tail - r.s.tx_head), 3);
	nof_conn_flush(&r.s.conn);
	nof_group_poll(r.g);
	assert_true(nof_stream_empty(&r.s));
	assert_int_equal(r.given_back, 1);
	assert_ptr_equal(nof_stream_put(&r.s, RING), a);
	close_role(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_turn_takes_more_than_a_buffer),
		cmocka_unit_test(a_quiet_turn_does_not_look),
		cmocka_unit_test(a_wrong_data_digest_is_told),
		cmocka_unit_test(sends),
		cmocka_unit_test(a_peer_that_does_not_read),
		cmocka_unit_test(the_ring),
	};
	int failed = 0;

	RUN_ROWS(rx_cases, receives, failed);
	RUN_ROWS(end_cases, ends, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
