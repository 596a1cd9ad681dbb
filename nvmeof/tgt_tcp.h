/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVMe/TCP at the target: connections, their commands and data. Private to the target.
 *
 * A connection is made on the control thread and lives there until an I/O queue's Connect was
 * answered; then it is given to its worker. It dies on the thread that has it, in this order: the
 * stream ends, commands that were not executed yet are dropped, those with a volume are waited for,
 * and a message takes it back to the control thread, which frees it.
 */
#pragma once

#include "group.h"
#include "stream.h"
#include "tgt.h"
#include "tgt_pool.h"

#define TCP_ADMIN_CAPSULE 8192U // data within a capsule of an admin queue: TCP 3.1
#define TCP_START_NS 10000000000ULL // from accept to an accepted Connect
#define TCP_IDLE_TURNS 200U // without anything before a connection waits for epoll

enum slot_state {
	SLOT_FREE,
	SLOT_BUFFER, // waits for buffers
	SLOT_DATA, // data are coming
	SLOT_CORE, // executed
	SLOT_READY, // its answer, or R2T, waits to be put
	SLOT_SENDING, // data are lent to the stream
};

struct slot {
	struct tgt_req r; // first
	struct nof_tx_ref ref;
	TAILQ_ENTRY(slot) link; // of free, ready or waiting
	enum slot_state state;
	bool r2t; // ready: send an R2T
	bool asked; // an R2T was sent
	bool bad_data; // a data digest did not match
	uint32_t got; // bytes that came
};
TAILQ_HEAD(slot_list, slot);

enum tcp_state { TCP_ICREQ, TCP_CONNECT, TCP_LIVE };

struct tcp_conn {
	struct nof_stream s; // first
	struct tgt_queue q;
	unsigned (*stream_turn)(struct nof_conn *c, unsigned events);
	LIST_ENTRY(tcp_conn) link; // control: all connections
	struct tcp_port *port; // control; counted
	struct nof_timer start; // control
	struct nof_msg msg; // given away, given back
	bool moved; // control: it was given to a worker
	struct tcp_worker *tw; // borrowed: of the thread that has it
	char local[64];

	/* The thread that has it. */
	enum tcp_state state;
	bool in_turn, dead, posted;
	uint8_t dgst;
	uint8_t c2h_head; // bytes before data
	unsigned idle; // turns without anything
	struct slot first; // Connect's
	struct slot *slots; // owned
	unsigned n_slots, n_used; // of them
	unsigned n_working; // in SLOT_DATA and SLOT_CORE
	struct slot_list free, ready, waiting;
	struct slot *rx; // whose data are coming; NULL: dropped
	struct tgt_held held;
	TAILQ_ENTRY(tcp_conn) wait_link; // of the worker's waiters
	bool waits;
};

/* A listening socket; stays while connections came through it. */
struct tcp_port {
	struct nof_conn conn; // first
	struct tgt_port *port; // owned after unlisten
	bool listening;
	unsigned n_conns;
};

/* What a thread has for all its connections. */
struct tcp_worker {
	struct nof_conn pump; // first; has its turns while something is with volumes
	struct tgt_worker *w; // borrowed
	struct tgt_pool pool;
	TAILQ_HEAD(tcp_conns, tcp_conn) waiters; // for buffers
	bool freed; // buffers since the last look
};

struct tcp_control {
	struct tcp_worker worker; // first
	LIST_HEAD(, tcp_conn) conns;
	unsigned n_conns;
	struct nof_timer tick;
};

/* ---- tgt_tcp.c ---- */
/* The thread that has it: give its buffers back; and the slot with them. */
void tcp_slot_unload(struct tcp_conn *c, struct slot *s);
void tcp_slot_free(struct tcp_conn *c, struct slot *s);
/* If nothing of a dead connection is left, the last thing that its thread does with it. */
void tcp_give_back(struct tcp_conn *c);

/* ---- tgt_tcp_rx.c ---- */
int tcp_on_header(struct nof_stream *s, const union nof_pdu *pdu, uint32_t len);
int tcp_on_data(struct nof_stream *s, bool digest_ok);
/* Buffers may be there now: go on with commands that wait for some. */
void tcp_waiters_serve(struct tcp_worker *tw);
/* Take what waits for buffers out of the line. */
void tcp_waiter_leave(struct tcp_conn *c);

/* ---- tgt_tcp_tx.c ---- */
void tcp_fill(struct nof_stream *s);
/* Put the answer in line: struct tgt_req's done(). */
void tcp_answer(struct tgt_req *r);
