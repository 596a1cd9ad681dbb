/* SPDX-License-Identifier: Apache-2.0 */
/* The fields that text knows: one table for keys and for actions, for printing and for parsing. */
#pragma once

#include "odp_act.h"
#include "text.h"

/* Fields that stand together in brackets, and the protocol that has them. */
struct odp_group {
	const char *name;
	uint16_t eth_type, eth_type2; // 0: any
	uint8_t proto; // 0: any
	const struct odp_field *f; // ends with a NULL name
};

/* In the order in which they print; the first, tuples of conntrack, before all other fields. */
extern const struct odp_group odp_groups[]; // ends with a NULL name
#define ODP_GROUP_TUPLES 2u
extern const struct odp_field odp_eth_fields[]; // end with a NULL name, as all here
extern const struct odp_field odp_tnl_fields[]; // but for options and flags
extern const struct odp_field odp_gbp_fields[], odp_gpe_fields[];

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto);

#define ODP_FIELDS_MAX 8u // of a group, with the end

/* What "set" calls a field, by enum odp_set_field. */
extern const char *const odp_set_names[ODP_SET_FIELDS];
/* The fields within its value; none for those that are written and read in their own way. */
void odp_set_fields(unsigned field, struct odp_field out[ODP_FIELDS_MAX]);
