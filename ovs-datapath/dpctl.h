/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a flow key in text, for printing and parsing. */
#pragma once

#include "text.h"

extern const struct odp_group odp_groups[]; // ends with a NULL name

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto);
