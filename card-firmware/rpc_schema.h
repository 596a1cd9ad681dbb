/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the parameters of a call against its row in the method table. Pure; any thread. */
#pragma once

#include "card.h"

/*
 * Unknown, missing, wrongly typed and out-of-range parameters, each named in e->text together with
 * what would be right. `params` may be NULL: none. Returns 0 or CARD_RPC_PARAMS.
 */
int card_schema_check(const struct card_method *m, const json_t *params, struct card_error *e);

/* ---- reading parameters that passed the check ---- */

const char *card_arg_str(const json_t *params, const char *name, const char *def);
uint64_t card_arg_uint(const json_t *params, const char *name, uint64_t def);
bool card_arg_bool(const json_t *params, const char *name, bool def);

/* "52:54:00:aa:bb:cc". 0, or -EINVAL. */
int card_mac_parse(const char *text, uint8_t mac[6]);
#define CARD_MAC_TEXT 18
void card_mac_format(const uint8_t mac[6], char out[CARD_MAC_TEXT]);

/* Fill e->text, cleaned; returns `ret`. */
int card_fail(struct card_error *e, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Replace what is not printable ASCII: foreign strings cannot move a terminal or break the JSON. */
void card_error_clean(struct card_error *e);
