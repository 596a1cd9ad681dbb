/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte stream of one NVMe/TCP connection, the same under both roles.
 *
 * Receiving: one recv(2) a turn into the group's buffer. Headers are collected and checked here,
 * then the role is told; it says where the data go (nof_stream_sink), and they are copied there and
 * summed in one pass. Long data go from the socket to their place without a copy, unless they have
 * a digest: what a guest can write to is never summed.
 *
 * Sending: a list of segments, one sendmsg(2) a turn. Headers and copied data lie in a ring of the
 * stream, so that neighbours become one segment; other data are borrowed until they are sent, and
 * whoever lent them hears of it (struct nof_tx_ref). The role is asked for more while there is room
 * (ops->fill), so nothing is queued twice.
 *
 * A callback may not free the stream, except for `broken`, which is the last thing of a turn.
 */
#pragma once

#include <sys/uio.h>

#include "group.h"
#include "pdu.h"

struct nof_stream;

struct nof_stream_ops {
	/*
	 * A header came, checked by nof_pdu_check() and its digest. With len > 0 data follow: say
	 * where they go by nof_stream_sink(), else they are dropped. 0, or what
	 * nof_stream_refuse() or nof_stream_fail() returned.
	 */
	int (*header)(struct nof_stream *s, const union nof_pdu *pdu, uint32_t len);
	/* All data of the PDU of the last header are in place. As above. */
	int (*data)(struct nof_stream *s, bool digest_ok);
	/* Put what waits to be sent, while there is room. */
	void (*fill)(struct nof_stream *s);
	/*
	 * It is over; err says why: -ECONNRESET the peer closed, -EPROTO it broke the rules (a
	 * TermReq was sent), or an errno of the socket. The stream is in no group any more; its
	 * socket is open until nof_stream_fini(), which may be called from here.
	 */
	void (*broken)(struct nof_stream *s, int err);
};

/* Somebody who lends data to streams. `sent` is called when nothing of it is lent any more. */
struct nof_tx_ref {
	unsigned lent; // segments; the streams' alone
	void (*sent)(struct nof_tx_ref *ref);
};

struct nof_tx {
	const uint8_t *base;
	uint32_t len;
	uint32_t ring; // bytes of the ring that are free once it is sent
	struct nof_tx_ref *ref; // NULL: in the ring
};

#define NOF_TX_MAX 256U // segments; a power of two

struct nof_stream_stats {
	uint64_t rx_bytes, tx_bytes, rx_pdus, hdgst_errors, ddgst_errors;
};

struct nof_stream {
	struct nof_conn conn; // first
	const struct nof_stream_ops *ops;
	struct nof_pdu_rules rules; // the role changes them as the connection goes on
	uint8_t peer_pda; // alignment that the peer asked for
	struct nof_stream_stats n;

	/* Receiving. */
	bool quiet; // nothing can have come: the next turn does not look, unless epoll says so
	uint8_t state; // enum rx_state
	uint8_t have, want; // bytes of the header
	struct nof_pdu_shape shape;
	uint32_t left; // bytes of padding, data or digest to come
	uint32_t crc;
	const struct iovec *sink; // NULL: drop
	unsigned n_sink;
	size_t sink_skip; // of the first segment
	union {
		union nof_pdu pdu;
		uint8_t bytes[sizeof(union nof_pdu) + NOF_DGST_LEN];
	} head;
	uint8_t dgst[NOF_DGST_LEN];

	/* Sending. */
	bool more; // the role has something to put
	bool midway; // the role has put a part of a PDU: nothing else may follow
	struct nof_tx *tx; // owned; NOF_TX_MAX
	uint16_t tx_head, tx_tail; // free-running
	uint8_t *ring; // owned
	uint32_t ring_size; // a power of two
	uint32_t ring_head, ring_tail; // free-running

	int err; // why it is over, 0: it is not
	struct nof_pdu_err why; // with -EPROTO
};

/*
 * A stream on a connected non-blocking socket, which it owns from then on (also on failure:
 * closed). ring_size: a power of two, at least 8 KiB; longer copied data cannot be put. rules and
 * peer_pda may change later. 0 or -ENOMEM.
 */
int nof_stream_init(struct nof_stream *s, int fd, const struct nof_stream_ops *ops,
	const struct nof_pdu_rules *rules, uint32_t ring_size);
/*
 * Leave the group, give back what is lent (`sent` is called), close the socket. Does nothing when
 * it was zeroed or ended before.
 */
void nof_stream_fini(struct nof_stream *s);

/* A larger ring; nothing is in the old one. 0 or -ENOMEM. Control thread. */
int nof_stream_ring(struct nof_stream *s, uint32_t ring_size);

/*
 * In the header callback: where the data go, from skip bytes on; iov is borrowed until `data` and
 * sums to skip and len at least.
 */
void nof_stream_sink(struct nof_stream *s, const struct iovec *iov, unsigned n, size_t skip);

/*
 * The peer broke a rule: end the stream with a TermReq that says which. Returns -EPROTO. `broken`
 * follows from the stream's turn, also when this is called outside of it.
 */
int nof_stream_refuse(struct nof_stream *s, enum nof_fes fes, uint32_t fei);
/* End the stream without one; err < 0, returned. */
int nof_stream_fail(struct nof_stream *s, int err);

/* ---- sending ---- */

/* There is something to put: ask for it in this turn, or in the group's next poll. */
void nof_stream_kick(struct nof_stream *s);
/* Room for n_segs segments and a piece of so many bytes in the ring. */
bool nof_stream_room(const struct nof_stream *s, uint32_t bytes, unsigned n_segs);
/*
 * Space for len bytes, in one piece, to be filled in before the next call of the stream. NULL: no
 * room.
 */
void *nof_stream_put(struct nof_stream *s, uint32_t len);
/*
 * Send len bytes of these segments, beginning skip bytes in, from where they are. -ENOBUFS: not
 * enough room for their number, nothing was put.
 */
int nof_stream_lend(struct nof_stream *s, const struct iovec *iov, unsigned n_iov, size_t skip,
	size_t len, struct nof_tx_ref *ref);
/* Copy them into `to` (of nof_stream_put()); with a crc, sum them, too. */
void nof_stream_gather(uint8_t *to, const struct iovec *iov, unsigned n_iov, size_t skip,
	size_t len, uint32_t *crc);
/* Nothing waits to be sent. */
bool nof_stream_empty(const struct nof_stream *s);
/* The negotiated digests of data. */
static inline bool nof_stream_ddgst(const struct nof_stream *s)
{
	return s->rules.dgst & NOF_DGST_DATA;
}
