// SPDX-License-Identifier: Apache-2.0
/* Binds each method to its handler; a method without one does not link. */
#include "rpc.h"

const card_call_fn card_calls[CARD_METHOD_COUNT] = {
#define X(name) [CARD_M_##name] = card_call_##name,
	CARD_METHODS(X)
#undef X
};
