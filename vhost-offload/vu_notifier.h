/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host notifiers: a page of ours for each ring, which the front-end maps where the guest writes its
 * kicks. Such a kick is a store: no exit, no eventfd, and nobody who sleeps hears of it. So the
 * worker of a ring whose page was offered polls it and does not sleep, until the front-end has
 * refused the page or it was taken back (docs/adr/0010-host-notifier.md). The eventfd stays: it
 * is what a front-end uses that has refused, or has not mapped the page yet.
 *
 *   ring starts ──► page, its worker polls ── HOST_NOTIFIER + fd ──► mapped: 0
 *                   worker may sleep again ◄── answer ────────────── refused: 1
 *   ring stops ───► HOST_NOTIFIER, NOFD ───────────────────────────► taken away
 *
 * What the guest writes there is not looked at: the ring says all that a kick can.
 *
 * Spec: vhost-user, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG. Control thread only.
 */
#pragma once

#include <stdbool.h>

#include "vu_session.h"

enum vu_notifier_state {
	VU_NOTIFIER_NONE,
	VU_NOTIFIER_ASKED, // its answer is to come
	VU_NOTIFIER_THERE, // mapped; without REPLY_ACK: perhaps
	VU_NOTIFIER_REFUSED, // not tried again before the ring stops
};

struct vu_notifiers {
	int fd; // owned: a page for each ring
	unsigned asked; // ring that the answer is about
	enum vu_notifier_state state[]; // one for each ring
};

/*
 * Protocol features were acked, perhaps this one: 0, -ENOMEM, or the errno of memfd_create(2),
 * ftruncate(2), fcntl(2).
 */
int vu_notifier_features(struct vu_session *s);
/* Rings may sleep again. NULL s->notifiers is fine. */
void vu_notifier_close(struct vu_session *s);

/* What follows does nothing in a session without the feature. */

/* Offer pages for rings that have started and take those of others back, as far as may be now. */
void vu_notifier_run(struct vu_session *s);

/* Ring idx is about to stop for good: its page is taken back before the answer that says so. */
void vu_notifier_stop(struct vu_session *s, unsigned idx);

/* Is an answer of the front-end's to come? */
bool vu_notifier_asks(const struct vu_session *s);

/* The front-end's answer to the last offer. */
void vu_notifier_answered(struct vu_session *s, bool mapped);
