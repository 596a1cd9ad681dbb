/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue pairs of the initiator: command slots, whatever the transport.
 *
 * A command occupies a slot from nof_qpair_take() until its `done`. Its identifier on the wire is
 * the slot and a generation, so that a late, repeated or invented answer finds nobody. A slot whose
 * data are still lent to the transport ends only when they are not any more.
 *
 * Who finds no slot waits in a queue and is served in turn, one slot at a time: nobody who shares a
 * pair starves another.
 *
 * A pair belongs to the thread of its group, and nothing of it may be used by another one.
 */
#pragma once

#include <sys/uio.h>

#include "group.h"
#include "spec.h"
#include "stream.h"

#include "dpu_lat.h"
#include "dpu_stats.h"

struct nof_qpair;

enum nof_dir { NOF_NO_DATA, NOF_TO_CTRL, NOF_FROM_CTRL };

struct nof_slot {
	/* The submitter fills these in; identifier, PSDT and data pointer are the pair's. */
	struct nof_sqe sqe;
	const struct iovec *iov; // borrowed until `done`
	unsigned n_iov;
	size_t skip; // bytes of the first segments that are not meant
	uint32_t len; // bytes of data
	uint8_t dir; // enum nof_dir
	bool background; // may take for ever: an asynchronous event request
	/*
	 * Called once. err 0: cqe is the answer. -ECONNRESET, -ETIMEDOUT, -EPROTO ...: there is
	 * none, and the command may still be carried out. The slot may be used for the next command
	 * in here (nof_qpair_submit()); else it is free afterwards.
	 */
	void (*done)(struct nof_slot *s, const struct nof_cqe *cqe, int err);
	void *arg;
	uint64_t arg2;

	/* The pair's. */
	struct nof_qpair *q;
	uint16_t idx, gen;
	bool inflight, again;
	uint64_t begin_ns; // submitted, if it is timed; 0: it is not
	uint64_t since_ns; // submitted; 0: not looked at yet
	struct nof_slot *next_free;

	/* The transport's. */
	TAILQ_ENTRY(nof_slot) link;
	struct nof_tx_ref ref;
	uint32_t moved; // bytes received, or asked for by the controller
	uint32_t r2t_off, r2t_left; // of the R2T that is being served
	uint16_t ttag;
	bool queued, answered, bad_data;
	bool capsule_out; // in `done` with an err: the controller may have got the command
	struct nof_cqe cqe; // with `answered`
};

/* Somebody who waits for a slot, or for two. */
struct nof_waiter {
	TAILQ_ENTRY(nof_waiter) link;
	bool waiting;
	bool two; // set by who waits
	/* That is free: take it, or the pair is closed and has none. On the pair's thread. */
	void (*ready)(struct nof_waiter *w);
};

struct nof_transport {
	const char *name;
	/* Send the slot's command. */
	void (*submit)(struct nof_qpair *q, struct nof_slot *s);
	/* Something is in flight, or nothing is. */
	void (*busy)(struct nof_qpair *q, bool busy);
	/* On the group's thread: 0 or a negative errno; nothing is lost when it leaves. */
	int (*attach)(struct nof_qpair *q, struct nof_group *g);
	void (*detach)(struct nof_qpair *q);
	/* End the connection, with `down` from a later turn. */
	void (*fail)(struct nof_qpair *q, int err);
	/* Stop at once, without `down`: nothing is lent any more when it returns. */
	void (*close)(struct nof_qpair *q);
	void (*destroy)(struct nof_qpair *q);
};

/* Who owns a pair. Both are called on the pair's thread. */
struct nof_qpair_owner {
	/* The transport is ready for commands. */
	void (*up)(struct nof_qpair *q);
	/*
	 * The connection is gone, for good. What was in flight has not been answered yet: call
	 * nof_qpair_abort(). The pair is in no group any more.
	 */
	void (*down)(struct nof_qpair *q, int err);
};

struct nof_qpair_stats {
	dpu_counter commands, stale, timeouts, digest_errors, short_data;
};

struct nof_qpair {
	/* Fixed once it is made. */
	const struct nof_transport *transport;
	const struct nof_qpair_owner *owner;
	void *arg; // the owner's
	uint16_t qid, depth;
	uint8_t idx_bits;
	uint64_t timeout_ns; // 0: none
	struct nof_slot *slots; // owned; `depth`

	/* The thread of its group. */
	struct nof_group *group;
	uint32_t capsule_max; // bytes of data in a capsule
	bool is_up;
	struct nof_slot *free;
	bool serving; // one that waited is being told
	unsigned inflight, background; // the second are part of the first
	TAILQ_HEAD(nof_waiters, nof_waiter) waiters;
	struct nof_timer timer;
	uint64_t connect_by_ns; // the transport has to be up; 0: it is
	uint16_t term_fes; // of a TermReq of the controller; 0: none came

	struct nof_qpair_stats n;
	struct dpu_lat *lat; // borrowed: the owner's; NULL: nothing is timed
};

/* For transports: 0 or -ENOMEM. depth 2 to 1024. */
int nof_qpair_init(struct nof_qpair *q, const struct nof_transport *t,
	const struct nof_qpair_owner *owner, void *arg, uint16_t qid, uint16_t depth);
void nof_qpair_fini(struct nof_qpair *q);

/* Join a group, leave it. On its thread. 0 or a negative errno. */
int nof_qpair_attach(struct nof_qpair *q, struct nof_group *g);
void nof_qpair_detach(struct nof_qpair *q);
/* Close and free it; nothing is in flight (nof_qpair_abort()). NULL is accepted. */
void nof_qpair_destroy(struct nof_qpair *q);

/*
 * A free slot, its command zeroed; NULL: there is none, or others wait: stand behind them
 * (nof_qpair_wait()).
 */
struct nof_slot *nof_qpair_take(struct nof_qpair *q);
/*
 * Two at once, for fused commands. What is submitted of them one right after the other is adjacent
 * in the submission queue, as Base 2.0, 3.4.2 demands. False: as above, and none is taken. The pair
 * has two.
 */
bool nof_qpair_take_two(struct nof_qpair *q, struct nof_slot *out[2]);
/* A slot that was taken and is not needed. */
void nof_slot_drop(struct nof_slot *s);
/* Call w->ready once there is a slot; it may wait again then. */
void nof_qpair_wait(struct nof_qpair *q, struct nof_waiter *w);
void nof_qpair_unwait(struct nof_qpair *q, struct nof_waiter *w);
void nof_qpair_submit(struct nof_slot *s);
/*
 * Close the connection at once and end what is in flight with err; those who wait are called and
 * find no slot.
 */
void nof_qpair_abort(struct nof_qpair *q, int err);
/* It takes no more commands; those who wait are called and find no slot. What is out goes on. */
void nof_qpair_dismiss(struct nof_qpair *q);
/* End the connection: `down` follows. */
void nof_qpair_fail(struct nof_qpair *q, int err);

/* ---- for transports ---- */

/* The slot that an identifier means, NULL: none that is in flight (counted). */
struct nof_slot *nof_qpair_find(struct nof_qpair *q, uint16_t cid);
/* End a command: waits until nothing is lent. */
void nof_slot_answer(struct nof_slot *s, const struct nof_cqe *cqe);
/* End one without an answer (cqe NULL, err), or with one; nothing is lent. */
void nof_slot_end(struct nof_slot *s, const struct nof_cqe *cqe, int err);
void nof_qpair_now_up(struct nof_qpair *q);
void nof_qpair_now_down(struct nof_qpair *q, int err);

/* The status of an answer, without phase. */
static inline uint16_t nof_cqe_status(const struct nof_cqe *cqe)
{
	return dpu_le16_get(cqe->status) >> 1;
}
