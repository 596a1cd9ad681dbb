// SPDX-License-Identifier: Apache-2.0
/* Byte streams of NVMe/TCP: headers, data and digests in; segments out. */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "dpu_alloc.h"

#define DIRECT_MIN 16384U // data that are still to come: read them to their place
#define IOV_BATCH 64U
#define TURN_BYTES (256UL << 10) // sent by one turn, and received

enum rx_state { RX_HEAD, RX_PAD, RX_DATA, RX_DDGST };

/* ---- the end ---- */

int nof_stream_fail(struct nof_stream *s, int err)
{
	if (!s->err) {
		s->err = err;
		nof_conn_flush(&s->conn); // a turn, in case this is none
	}
	return err;
}

int nof_stream_refuse(struct nof_stream *s, enum nof_fes fes, uint32_t fei)
{
	if (!s->err)
		s->why = (struct nof_pdu_err){ fes, fei };
	return nof_stream_fail(s, -EPROTO);
}

/* ---- receiving ---- */

static void expect_head(struct nof_stream *s)
{
	s->state = RX_HEAD;
	s->have = 0;
	s->want = sizeof(struct nof_ch);
	s->sink = NULL;
}

void nof_stream_sink(struct nof_stream *s, const struct iovec *iov, unsigned n, size_t skip)
{
	while (n > 0 && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		n--;
	}
	s->sink = iov;
	s->n_sink = n;
	s->sink_skip = skip;
}

static int data_done(struct nof_stream *s, bool ok)
{
	int ret = s->ops->data(s, ok);

	expect_head(s);
	return ret;
}

/* A whole header: from here on the role knows of it. */
static int head_done(struct nof_stream *s)
{
	const struct nof_ch *ch = &s->head.pdu.ch;
	int ret;

	if (s->shape.head_len > ch->hlen && !nof_pdu_hdgst_ok(s->head.bytes, ch->hlen)) {
		dpu_le32 got;

		s->n.hdgst_errors++;
		memcpy(&got, s->head.bytes + ch->hlen, sizeof(got));
		return nof_stream_refuse(s, NOF_FES_HDGST, dpu_le32_get(got));
	}
	s->n.rx_pdus++;
	s->sink = NULL;
	ret = s->ops->header(s, &s->head.pdu, s->shape.data_len);
	if (ret < 0)
		return ret;
	if (!s->shape.data_len) {
		expect_head(s);
		return 0;
	}
	s->crc = 0;
	s->state = s->shape.pad_len ? RX_PAD : RX_DATA;
	s->left = s->shape.pad_len ? s->shape.pad_len : s->shape.data_len;
	return 0;
}

static int take_head(struct nof_stream *s, const uint8_t **p, size_t *n)
{
	size_t part = (size_t)(s->want - s->have);

	if (part > *n)
		part = *n;
	memcpy(s->head.bytes + s->have, *p, part);
	s->have += (uint8_t)part;
	*p += part;
	*n -= part;
	if (s->have < s->want)
		return 0;
	if (s->want > sizeof(struct nof_ch))
		return head_done(s);
	if (nof_pdu_check(&s->head.pdu.ch, &s->rules, &s->shape, &s->why) < 0)
		return nof_stream_fail(s, -EPROTO);
	s->want = s->shape.head_len;
	return 0;
}

/* n bytes of the sink are in place. */
static void sink_skip(struct nof_stream *s, size_t n)
{
	while (n > 0) {
		size_t part = s->sink->iov_len - s->sink_skip;

		if (n < part) {
			s->sink_skip += n;
			return;
		}
		n -= part;
		s->sink++;
		s->n_sink--;
		s->sink_skip = 0;
	}
}

/* Put n bytes to their place, and sum them when they have a digest. */
static void place(struct nof_stream *s, const uint8_t *p, size_t n)
{
	bool sum = s->shape.ddgst;

	if (!s->sink) {
		if (sum)
			s->crc = nof_crc32c(s->crc, p, n);
		return;
	}
	while (n > 0) {
		assert(s->n_sink > 0);
		const struct iovec *v = s->sink;
		size_t part = v->iov_len - s->sink_skip;
		uint8_t *to = (uint8_t *)v->iov_base + s->sink_skip;

		if (part > n)
			part = n;
		if (sum)
			s->crc = nof_crc32c_copy(s->crc, to, p, part);
		else if (part)
			memcpy(to, p, part);
		sink_skip(s, part);
		if (part == 0) { // an empty segment
			s->sink++;
			s->n_sink--;
		}
		p += part;
		n -= part;
	}
}

/* The data that were expected are all there. */
static int after_data(struct nof_stream *s)
{
	if (!s->shape.ddgst)
		return data_done(s, true);
	s->state = RX_DDGST;
	s->left = NOF_DGST_LEN;
	return 0;
}

static int take_body(struct nof_stream *s, const uint8_t **p, size_t *n)
{
	size_t part = s->left < *n ? s->left : *n;
	dpu_le32 got;

	if (s->state == RX_DATA)
		place(s, *p, part);
	else if (s->state == RX_DDGST)
		memcpy(s->dgst + NOF_DGST_LEN - s->left, *p, part);
	*p += part;
	*n -= part;
	s->left -= (uint32_t)part;
	if (s->left > 0)
		return 0;
	switch ((enum rx_state)s->state) {
	case RX_PAD:
		s->state = RX_DATA;
		s->left = s->shape.data_len;
		return 0;
	case RX_DATA:
		return after_data(s);
	case RX_DDGST:
		memcpy(&got, s->dgst, sizeof(got));
		if (dpu_le32_get(got) != s->crc)
			s->n.ddgst_errors++;
		return data_done(s, dpu_le32_get(got) == s->crc);
	case RX_HEAD:
		break;
	}
	return 0;
}

static void consume(struct nof_stream *s, const uint8_t *p, size_t n)
{
	while (n > 0 && !s->err) {
		int ret = s->state == RX_HEAD ? take_head(s, &p, &n) : take_body(s, &p, &n);

		if (ret < 0)
			(void)nof_stream_fail(s, ret);
	}
}

/* Segments for what is left of the sink, and the group's buffer behind them if all of it fits. */
static unsigned direct_iov(
	const struct nof_stream *s, struct iovec iov[IOV_BATCH], uint8_t *rx, size_t rx_size)
{
	size_t skip = s->sink_skip, left = s->left;
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_sink && left > 0 && n < IOV_BATCH - 1; i++) {
		size_t part = s->sink[i].iov_len - skip;

		if (part > left)
			part = left;
		if (part)
			iov[n++] = (struct iovec){ (uint8_t *)s->sink[i].iov_base + skip, part };
		left -= part;
		skip = 0;
	}
	if (left == 0)
		iov[n++] = (struct iovec){ rx, rx_size };
	return n;
}

/* Read data straight to their place; what follows them goes through the buffer. */
static ssize_t receive_direct(struct nof_stream *s, uint8_t *rx, size_t rx_size)
{
	struct iovec iov[IOV_BATCH];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = direct_iov(s, iov, rx, rx_size) };
	ssize_t n = recvmsg(s->conn.fd, &m, MSG_DONTWAIT);
	size_t placed;

	if (n <= 0)
		return n;
	placed = (size_t)n < s->left ? (size_t)n : s->left;
	sink_skip(s, placed);
	s->left -= (uint32_t)placed;
	if (s->left == 0) {
		int ret = after_data(s);

		if (ret < 0)
			(void)nof_stream_fail(s, ret);
	}
	consume(s, rx, (size_t)n - placed);
	return n;
}

/*
 * What filled the buffer is followed by more: a turn that took only the first part of what came
 * together would split what is sent next as well, and from then on there were two small rounds
 * where there was one.
 */
static unsigned receive(struct nof_stream *s)
{
	size_t size;
	uint8_t *rx = nof_group_rx(s->conn.group, &size);
	uint64_t pdus = s->n.rx_pdus;
	size_t total = 0, asked;
	ssize_t n;

	do {
		if (s->state == RX_DATA && s->sink && !s->shape.ddgst && s->left >= DIRECT_MIN) {
			asked = s->left + size;
			n = receive_direct(s, rx, size);
		} else {
			asked = size;
			n = recv(s->conn.fd, rx, size, MSG_DONTWAIT);
			if (n > 0)
				consume(s, rx, (size_t)n);
		}
		total += n > 0 ? (size_t)n : 0;
	} while (n > 0 && (size_t)n == asked && total < TURN_BYTES && !s->err);
	if (n == 0)
		(void)nof_stream_fail(s, -ECONNRESET);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		(void)nof_stream_fail(s, -errno);
	s->n.rx_bytes += total;
	return total ? (unsigned)(s->n.rx_pdus - pdus) + 1 : 0;
}

/* ---- sending ---- */

static struct nof_tx *tx_at(const struct nof_stream *s, uint16_t i)
{
	return &s->tx[i & (NOF_TX_MAX - 1)];
}

static unsigned tx_count(const struct nof_stream *s)
{
	return (uint16_t)(s->tx_tail - s->tx_head);
}

bool nof_stream_empty(const struct nof_stream *s)
{
	return s->tx_head == s->tx_tail;
}

void nof_stream_kick(struct nof_stream *s)
{
	s->more = true;
	nof_conn_flush(&s->conn);
}

/* Bytes at the ring's end that a piece of len has to leave unused. */
static uint32_t ring_gap(const struct nof_stream *s, uint32_t len)
{
	uint32_t at = s->ring_tail & (s->ring_size - 1);

	return len > s->ring_size - at ? s->ring_size - at : 0;
}

bool nof_stream_room(const struct nof_stream *s, uint32_t bytes, unsigned n_segs)
{
	uint32_t room = s->ring_size - (s->ring_tail - s->ring_head);
	uint32_t gap = ring_gap(s, bytes);

	return tx_count(s) + n_segs <= NOF_TX_MAX && gap <= room && bytes <= room - gap;
}

void *nof_stream_put(struct nof_stream *s, uint32_t len)
{
	struct nof_tx *last = tx_at(s, (uint16_t)(s->tx_tail - 1));
	uint32_t gap = ring_gap(s, len);
	uint8_t *p;

	if (!nof_stream_room(s, len, 1))
		return NULL;
	s->ring_tail += gap;
	p = s->ring + (s->ring_tail & (s->ring_size - 1));
	s->ring_tail += len;
	if (!nof_stream_empty(s) && !last->ref && last->base + last->len == p) {
		last->len += len;
		last->ring += len;
		return p;
	}
	*tx_at(s, s->tx_tail++) = (struct nof_tx){ p, len, gap + len, NULL };
	return p;
}

int nof_stream_lend(struct nof_stream *s, const struct iovec *iov, unsigned n_iov, size_t skip,
	size_t len, struct nof_tx_ref *ref)
{
	unsigned room = NOF_TX_MAX - tx_count(s), n = 0;
	uint16_t at = s->tx_tail;

	for (unsigned i = 0; i < n_iov && len > 0; i++) {
		size_t part = iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		if (n == room)
			return -ENOBUFS;
		*tx_at(s, (uint16_t)(at + n++)) = (struct nof_tx){
			(const uint8_t *)iov[i].iov_base + skip, (uint32_t)part, 0, ref
		};
		skip = 0;
		len -= part;
	}
	assert(len == 0);
	s->tx_tail += (uint16_t)n;
	ref->lent += n;
	return 0;
}

void nof_stream_gather(uint8_t *to, const struct iovec *iov, unsigned n_iov, size_t skip,
	size_t len, uint32_t *crc)
{
	for (unsigned i = 0; i < n_iov && len > 0; i++) {
		size_t part = iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part -= skip;
		if (part > len)
			part = len;
		memcpy(to, (const uint8_t *)iov[i].iov_base + skip, part);
		if (crc) // of the copy: the original may change meanwhile
			*crc = nof_crc32c(*crc, to, part);
		to += part;
		skip = 0;
		len -= part;
	}
	assert(len == 0);
}

static void tx_done(struct nof_stream *s, const struct nof_tx *t)
{
	struct nof_tx_ref *ref = t->ref;

	s->ring_head += t->ring;
	if (ref && --ref->lent == 0)
		ref->sent(ref);
}

/* n bytes went out. */
static void sent(struct nof_stream *s, size_t n)
{
	s->n.tx_bytes += n;
	while (n > 0) {
		struct nof_tx *t = tx_at(s, s->tx_head);

		if (n < t->len) {
			t->base += n;
			t->len -= (uint32_t)n;
			return;
		}
		n -= t->len;
		s->tx_head++;
		tx_done(s, t);
	}
	if (nof_stream_empty(s)) // from its beginning again: the lines are in the cache
		s->ring_head = s->ring_tail = 0;
}

/* One sendmsg; the bytes that it took, 0 when the socket is full, or a negative errno. */
static ssize_t send_some(struct nof_stream *s)
{
	struct iovec iov[IOV_BATCH];
	struct msghdr m = { .msg_iov = iov };
	unsigned n = tx_count(s) < IOV_BATCH ? tx_count(s) : IOV_BATCH;
	ssize_t ret;

	for (unsigned i = 0; i < n; i++) {
		const struct nof_tx *t = tx_at(s, (uint16_t)(s->tx_head + i));

		iov[i] = (struct iovec){ (void *)(uintptr_t)t->base, t->len };
	}
	m.msg_iovlen = n;
	ret = n == 1 ? send(s->conn.fd, iov[0].iov_base, iov[0].iov_len,
			       MSG_DONTWAIT | MSG_NOSIGNAL)
		     : sendmsg(s->conn.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (ret < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	sent(s, (size_t)ret);
	return ret;
}

static unsigned flush(struct nof_stream *s)
{
	size_t total = 0;

	while (!s->err) {
		ssize_t n;

		if (s->more) {
			s->more = false;
			s->ops->fill(s);
		}
		if (s->err || nof_stream_empty(s))
			break;
		if (total >= TURN_BYTES) { // the others' turn
			nof_conn_flush(&s->conn);
			break;
		}
		n = send_some(s);
		if (n < 0)
			(void)nof_stream_fail(s, (int)n);
		if (n <= 0)
			break;
		total += (size_t)n;
	}
	nof_conn_want_out(&s->conn, !s->err && !nof_stream_empty(s) && total < TURN_BYTES);
	return total > 0;
}

/* Tell the peer which rule it broke, if that goes at once and on a PDU's boundary. */
static void say_why(struct nof_stream *s)
{
	enum nof_role from = s->rules.role;
	uint8_t term[NOF_TERM_MAX];
	size_t len = nof_term_build(term, from, &s->why, s->head.bytes, s->have);
	uint8_t *p = s->midway ? NULL : nof_stream_put(s, (uint32_t)len);

	if (p)
		memcpy(p, term, len);
	while (p && !nof_stream_empty(s) && send_some(s) > 0)
		;
	(void)shutdown(s->conn.fd, SHUT_WR);
}

static unsigned turn(struct nof_conn *c, unsigned events)
{
	struct nof_stream *s = (struct nof_stream *)c;
	bool quiet = s->quiet;
	unsigned n = 0;

	s->quiet = false;
	if (s->more || !nof_stream_empty(s))
		n += flush(s);
	if (!s->err && (events || (c->busy && !quiet))) {
		n += receive(s);
		if (s->more)
			n += flush(s);
	}
	if (s->err) {
		if (s->err == -EPROTO)
			say_why(s);
		nof_group_remove(c);
		s->ops->broken(s, s->err); // may free it
		return n + 1;
	}
	return n;
}

/* ---- life ---- */

int nof_stream_init(struct nof_stream *s, int fd, const struct nof_stream_ops *ops,
	const struct nof_pdu_rules *rules, uint32_t ring_size)
{
	assert(ring_size >= 8192 && (ring_size & (ring_size - 1)) == 0);
	*s = (struct nof_stream){ .conn = { .fd = fd, .turn = turn }, .ops = ops, .rules = *rules };
	expect_head(s);
	s->tx = dpu_calloc(NOF_TX_MAX, sizeof(*s->tx));
	s->ring = dpu_calloc(1, ring_size);
	s->ring_size = ring_size;
	if (s->tx && s->ring)
		return 0;
	nof_stream_fini(s);
	return -ENOMEM;
}

int nof_stream_ring(struct nof_stream *s, uint32_t ring_size)
{
	uint8_t *ring = dpu_calloc(1, ring_size);

	assert(nof_stream_empty(s) && (ring_size & (ring_size - 1)) == 0);
	if (!ring)
		return -ENOMEM;
	free(s->ring);
	s->ring = ring;
	s->ring_size = ring_size;
	s->ring_head = s->ring_tail = 0;
	return 0;
}

void nof_stream_fini(struct nof_stream *s)
{
	if (!s->ops)
		return;
	nof_group_remove(&s->conn);
	while (!nof_stream_empty(s)) {
		struct nof_tx *t = tx_at(s, s->tx_head);

		s->tx_head++;
		tx_done(s, t);
	}
	free(s->tx);
	free(s->ring);
	close(s->conn.fd);
	*s = (struct nof_stream){ 0 };
}
