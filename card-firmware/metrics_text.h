/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics (the shape of rpc_stats.c) as OpenMetrics text. Pure. */
#pragma once

#include <jansson.h>

/* free() the text; NULL without memory. Spec: OpenMetrics 1.0. */
char *card_metrics_text(const char *card, const json_t *stats);
