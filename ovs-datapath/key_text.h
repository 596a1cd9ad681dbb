/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a flow key in text: one table for printing and parsing. Names as in OVS's odp-util. */
#pragma once

#include "text.h"

/* Fields that stand together in brackets, and the protocol that has them. */
struct odp_key_group {
	const char *name;
	uint16_t eth_type, eth_type2; // 0: any
	uint8_t proto; // 0: any
	const struct odp_field *f; // ends with a NULL name
};

extern const struct odp_key_group odp_key_groups[]; // ends with a NULL name
extern const struct odp_key_group odp_key_eth;
extern const struct odp_field odp_key_tnl_fields[]; // but for options and flags; ends with NULL
extern const struct odp_field odp_key_gbp_fields[], odp_key_gpe_fields[]; // end with NULL

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

bool odp_key_group_fits(const struct odp_key_group *g, uint16_t eth_type, uint8_t proto);
