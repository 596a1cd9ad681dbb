/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and numbers of a flow key that printing and parsing share, beside the fields. */
#pragma once

#include "fields.h"

/* Bits with names; the first is bit 0. */
struct odp_key_flags {
	const char *const *name;
	unsigned n;
};

extern const struct odp_key_flags odp_key_ct_flags, odp_key_tcp_flags, odp_key_tnl_flags;

/* Numbers in host order that stand alone in brackets. */
struct odp_key_number {
	const char *name;
	size_t off, size;
};

extern const struct odp_key_number odp_key_numbers[]; // ends with a NULL name
