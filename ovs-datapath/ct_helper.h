/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers: what reads a connection's payload, and says which connections will come of it. */
#pragma once

#include "ct_priv.h"

/* A segment of a helped TCP connection that is in order as far as lines go. */
struct ct_line {
	const struct odp_conn *conn; // borrowed; not translated
	unsigned dir;
	const uint8_t *at; // the line, with its newline
	size_t len;
};

struct ct_helper {
	const char *name;
	uint8_t proto;
	/* What a line announces: the key of a connection that will come. False: nothing. Pure. */
	bool (*line)(const struct ct_line *l, struct odp_ct_key *expect);
};
