/* SPDX-License-Identifier: Apache-2.0 */
/* Names that printing (act_text.c) and parsing (act_parse.c) of actions share. */
#pragma once

#include "odp_act.h"
#include "text.h"

/* By enum odp_set_field; offsets within a value. No fields: written and read in its own way. */
extern const struct odp_group odp_set_groups[ODP_SET_FIELDS];
