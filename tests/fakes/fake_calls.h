/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers for every method that only count, so that the control plane runs without a card. */
#pragma once

#include "rpc.h"

struct fake_calls {
	unsigned n[CARD_METHOD_COUNT], done[CARD_METHOD_COUNT]; // calls, and those without error
	int ret[CARD_METHOD_COUNT]; // what the handler answers
	/* Its calls fail with -ENODEV until this one has been done; NULL: none. */
	const struct card_method *needs[CARD_METHOD_COUNT];
	unsigned
		steps[CARD_METHOD_COUNT]; // more that a call takes, one at a time; 0: it is no task
	bool reads[CARD_METHOD_COUNT]; // such a task begins beside others
	bool settles[CARD_METHOD_COUNT]; // it has as many steps again once it is kept
	unsigned stepped, undone; // steps made; tasks that were destroyed before their end
	int canon_ret; // what rewriting the parameters for the store answers
	bool keeps_itself; // the object keeps its changes: the store has nothing to do
	unsigned changes; // calls with other parameters than the one before
	json_t *last; // owned: parameters of the last call that was made
	enum card_method_id last_id;
};
extern struct fake_calls fake_calls;

/* Forget everything. */
void fake_calls_reset(void);
