/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's end of a socket pair, which says what a test tells it to. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"
#include "pdu.h"

struct tcp_peer {
	int fd;
	uint8_t dgst;
	void (*poll)(void *arg); // gives the other end its turns
	void *arg;
};

/* Exactly n bytes; false: the other end closed, or says nothing for long. */
static inline bool peer_read(struct tcp_peer *p, void *out, size_t n)
{
	uint8_t *at = out;

	for (unsigned idle = 0; n > 0 && idle < 100000; idle++) {
		ssize_t got = recv(p->fd, at, n, MSG_DONTWAIT);

		if (got == 0)
			return false;
		if (got > 0) {
			at += got;
			n -= (size_t)got;
			idle = 0;
		}
		p->poll(p->arg);
	}
	return n == 0;
}

static inline void peer_write(struct tcp_peer *p, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (unsigned idle = 0; n > 0 && idle < 100000; idle++) {
		ssize_t put = send(p->fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (put > 0) {
			at += put;
			n -= (size_t)put;
			idle = 0;
		}
		p->poll(p->arg);
		if (put < 0 && errno != EAGAIN)
			return;
	}
}

/* One PDU: its header without padding, its data in *data (to be freed) when it has some. */
static inline bool peer_pdu(struct tcp_peer *p, union nof_pdu *pdu, uint8_t **data, uint32_t *len)
{
	size_t head;
	uint8_t skip[256];
	dpu_le32 crc;

	memset(pdu, 0, sizeof(*pdu));
	*len = 0;
	*data = NULL;
	if (!peer_read(p, pdu, sizeof(pdu->ch)) ||
		!peer_read(p, pdu->bytes + sizeof(pdu->ch), pdu->ch.hlen - sizeof(pdu->ch)))
		return false;
	head = pdu->ch.hlen;
	if (pdu->ch.flags & NOF_F_HDGST) {
		if (!peer_read(p, &crc, sizeof(crc)) ||
			dpu_le32_get(crc) != nof_crc32c(0, pdu, head))
			return false;
		head += sizeof(crc);
	}
	if (pdu->ch.pdo && !peer_read(p, skip, pdu->ch.pdo - head))
		return false;
	if (pdu->ch.pdo)
		head = pdu->ch.pdo;
	*len = dpu_le32_get(pdu->ch.plen) - (uint32_t)head;
	if (pdu->ch.flags & NOF_F_DDGST)
		*len -= NOF_DGST_LEN;
	if (!*len)
		return true;
	*data = malloc(*len);
	if (!*data || !peer_read(p, *data, *len))
		return false;
	return !(pdu->ch.flags & NOF_F_DDGST) ||
	       (peer_read(p, &crc, sizeof(crc)) && dpu_le32_get(crc) == nof_crc32c(0, *data, *len));
}

static inline void peer_icresp(struct tcp_peer *p, uint8_t cpda, uint8_t dgst, uint32_t maxh2c)
{
	struct nof_icresp r;

	(void)nof_pdu_begin((uint8_t *)&r, NOF_PDU_ICRESP, 0, 0, 0);
	r.cpda = cpda;
	r.dgst = dgst;
	r.maxh2cdata = dpu_le32_put(maxh2c);
	p->dgst = dgst;
	peer_write(p, &r, sizeof(r));
}

static inline void peer_resp(struct tcp_peer *p, uint16_t cid, uint16_t status, uint64_t result)
{
	struct {
		struct nof_resp_pdu r;
		uint8_t dgst[NOF_DGST_LEN];
	} b = { 0 };
	size_t n = nof_pdu_begin((uint8_t *)&b, NOF_PDU_RESP, p->dgst, 0, 0);

	b.r.cqe.cid = dpu_le16_put(cid);
	b.r.cqe.status = dpu_le16_put((uint16_t)(status << 1));
	b.r.cqe.dw0 = dpu_le32_put((uint32_t)result);
	b.r.cqe.dw1 = dpu_le32_put((uint32_t)(result >> 32));
	nof_pdu_seal((uint8_t *)&b);
	peer_write(p, &b, n);
}

static inline void peer_r2t(
	struct tcp_peer *p, uint16_t cid, uint16_t ttag, uint32_t off, uint32_t len)
{
	struct {
		struct nof_r2t_pdu r;
		uint8_t dgst[NOF_DGST_LEN];
	} b = { 0 };
	size_t n = nof_pdu_begin((uint8_t *)&b, NOF_PDU_R2T, p->dgst, 0, 0);

	b.r.cccid = dpu_le16_put(cid);
	b.r.ttag = dpu_le16_put(ttag);
	b.r.r2to = dpu_le32_put(off);
	b.r.r2tl = dpu_le32_put(len);
	nof_pdu_seal((uint8_t *)&b);
	peer_write(p, &b, n);
}

/* datal: what the header says; len: what is there. */
static inline void peer_c2h(struct tcp_peer *p, uint16_t cid, uint8_t flags, uint32_t off,
	uint32_t datal, const uint8_t *data, uint32_t len)
{
	uint8_t head[NOF_PDU_HEAD_MAX];
	struct nof_data_pdu *d = (struct nof_data_pdu *)head;
	size_t n = nof_pdu_begin(head, NOF_PDU_C2H_DATA, p->dgst, 0, len);
	dpu_le32 crc = dpu_le32_put(nof_crc32c(0, data, len));

	d->ch.flags |= flags;
	d->cccid = dpu_le16_put(cid);
	d->datao = dpu_le32_put(off);
	d->datal = dpu_le32_put(datal);
	nof_pdu_seal(head);
	peer_write(p, head, n);
	peer_write(p, data, len);
	if (p->dgst & NOF_DGST_DATA)
		peer_write(p, &crc, sizeof(crc));
}
