/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable store: state.json in the state directory, the calls that would make today's objects
 * again, in the order in which they were made.
 *
 * A change is staged (new file written and fsynced) before the call runs and committed (renamed)
 * when it succeeded, or aborted: what was answered with success is on disk, what failed is not, and
 * a full disk is noticed before anything was done. One change at a time. Control thread.
 */
#pragma once

#include "card.h"

/*
 * Stage the effect of `m` with `params`. 0 also when there is no store or nothing changes; else the
 * errno of the write with e->text, and nothing is staged.
 */
int card_store_stage(
	struct card *c, const struct card_method *m, const json_t *params, struct card_error *e);
/* The staged call succeeded: make its effect the state. 0 or -errno: then the old state stands. */
int card_store_commit(struct card *c, const struct card_method *m, const json_t *params);
void card_store_abort(struct card *c);
/*
 * A controller's volumes are these now (card_calls_namespaces()): kept at once. 0, also when
 * nothing changes or there is no store; -EBUSY: a change is staged; -ENOMEM, or the errno of the
 * write, with a log line: then the old state stands.
 */
int card_store_namespaces(struct card *c, const char *ctrl, const json_t *namespaces);

/* The state directory, ours alone while the store is open; -1: no store. */
int card_store_dir(const struct card *c);

/*
 * The calls kept, and those that failed when replayed, with "reason" and "busy": a volume whose
 * file another process has is tried again by itself, after 1 s at first, then every 30 s. Borrowed;
 * NULL: no store.
 */
const json_t *card_store_calls(const struct card *c);
const json_t *card_store_degraded(const struct card *c);
/* True when the object that this call names is kept but could not be restored. */
bool card_store_is_degraded(
	const struct card *c, const struct card_method *m, const json_t *params);
