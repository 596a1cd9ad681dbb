/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a flow key in text, for printing and parsing. */
#pragma once

#include "key.h"

enum odp_field_type { FIELD_MAC, FIELD_IPV4, FIELD_IPV6, FIELD_DEC, FIELD_HEX, FIELD_FRAG };

#define ODP_GROUP_FIELDS 6

struct odp_field {
	const char *name;
	enum odp_field_type type;
	size_t off, size; // in struct odp_key
};

/* "ipv4(src=..,dst=..)": fields that print together, and the protocol that has them. */
struct odp_group {
	const char *name;
	uint16_t eth_type; // 0: any
	uint8_t proto; // 0: any
	struct odp_field f[ODP_GROUP_FIELDS];
};

extern const struct odp_group odp_groups[]; // ends with a NULL name
extern const char *const odp_frag_names[3];

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto);
/* An unsigned of at most four bytes in wire order. */
uint32_t odp_field_uint(const uint8_t *b, size_t n);
