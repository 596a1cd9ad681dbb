/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kicks, calls and errors as messages on the two sockets, for front-ends that have no eventfds:
 * User Mode Linux in simulated time is one.
 *
 * Workers know nothing of it. Where the front-end gave no descriptor, the ring gets eventfds of our
 * own: VRING_KICK signals one that the ring's worker waits for, and what a worker signals is read
 * on the control thread, which sends VRING_CALL and VRING_ERR.
 *
 *   front-end ── VRING_KICK ──► control ── eventfd ──► worker
 *   front-end ◄─ VRING_CALL ─── control ◄─ eventfd ─── worker
 *             ─── answer ─────►
 *
 * A call carries NEED_REPLY, and the next one goes out when its answer has come: rings that want to
 * be heard meanwhile are remembered, each once, as an eventfd would. So nothing piles up in the
 * socket of a front-end that is slow, and nothing here waits for it.
 *
 * The answer to VRING_KICK says that the ring's worker has been told, not that it has looked.
 *
 * A suspended device sends nothing: what is due waits until a ring runs.
 *
 * Spec: vhost-user, "In-band notifications", "Suspended device state". Control thread only.
 */
#pragma once

#include "vu_session.h"

enum vu_inband_kind { VU_INBAND_CALL, VU_INBAND_ERR, VU_INBAND_KINDS };

/* Notifications of one kind by one ring. */
struct vu_inband_side {
	struct vu_session *s; // borrowed: it owns us
	uint16_t idx; // the ring
	uint8_t kind;
	bool told; // the front-end said what it wants: a descriptor of its own, or nothing
	bool own; // the ring signals an eventfd of ours
	bool due; // it has, and nothing was sent yet
	void *watch; // of that eventfd
};

struct vu_inband {
	unsigned n_due;
	unsigned next; // side that is looked at first: each gets its turn
	struct vu_inband_side *side; // owned; VU_INBAND_KINDS for each ring
};

/* The feature was acked: 0 or -ENOMEM. No-op when it had been before. */
int vu_inband_open(struct vu_session *s);
/* Let go of what is watched. The device's eventfds stay the device's. NULL s->inband is fine. */
void vu_inband_close(struct vu_session *s);

/* What follows does nothing in a session without the feature. */

/* SET_VRING_CALL, _ERR: no messages of that kind any more. Before the device hears of it. */
void vu_inband_told(struct vu_session *s, unsigned idx, enum vu_inband_kind kind);

/*
 * The ring is about to start: give it eventfds of ours where the front-end gave none. 0, -ENOMEM,
 * or the errno of eventfd(2).
 */
int vu_inband_ring(struct vu_session *s, unsigned idx);

/* VRING_KICK. 0, -EINVAL, as vu_inband_ring(), or as vho_dev_queue_try_start(). */
int vu_inband_kick(struct vu_session *s, struct vu_msg *m);

/* Ring idx has stopped for good: its last call goes out before the answer that says so. */
void vu_inband_stopped(struct vu_session *s, unsigned idx);

/* Send what is due, if something may be sent now. */
void vu_inband_run(struct vu_session *s);

/* After a hand-over: watch everything that `own` says. 0 or -ENOMEM. */
int vu_inband_resume(struct vu_session *s);
