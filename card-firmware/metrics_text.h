/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics (the shape of rpc_stats.c) as OpenMetrics text. Pure. */
#pragma once

#include <jansson.h>

/* free() the text; NULL without memory. Spec: OpenMetrics 1.0. */
char *card_metrics_text(const char *card, const json_t *stats);

/*
 * What a metric counts ("volume_reads": without prefix and suffix), and which group of
 * stats["reasons"] explains its reasons (NULL: it has none). NULL when there is no such metric.
 * metrics_help.c.
 */
const char *card_metrics_help(const char *family, const char **reasons);
