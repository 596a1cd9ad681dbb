/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that would make the card's objects again, as a JSON list of {"method": M, "params":
 * {..}}, and how one more call changes that list. Pure; any thread.
 */
#pragma once

#include "card.h"

/* The method of a call; NULL when there is no such method. */
const struct card_method *card_call_method(const json_t *call);

/* True when `call` of the list is about the object that `m` with `params` names. */
bool card_call_about(const json_t *call, const struct card_method *m, const json_t *params);

/* What became of the call in the list that makes the object. */
enum card_calls_maker {
	CARD_MAKER_STANDS, // it was carried out, or there is none
	CARD_MAKER_FAILED, // it could not be replayed: another one takes its place
};

/* Change the list by the success of `m` with `params`. 0 or -ENOMEM. */
int card_calls_apply(json_t *calls, const struct card_method *m, const json_t *params,
	enum card_calls_maker maker);

/*
 * A controller's volumes are these now, a list as its call has under "namespaces": every call that
 * attaches it knows them from here on, and changes of volumes that came of it and are no more go.
 * 0 or -ENOMEM.
 */
int card_calls_namespaces(json_t *calls, const char *ctrl, const json_t *namespaces);
