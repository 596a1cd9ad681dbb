/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics (the shape of rpc_stats.c) as OpenMetrics text. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* free() the text; NULL without memory. Spec: OpenMetrics 1.0. */
char *card_metrics_text(const char *card, const json_t *stats);

/*
 * The same in parts. card is borrowed until its end; stats is taken, and what is in it taken apart.
 * 0 or -ENOMEM. Every page that has begun has an end, before it is done as well.
 */
struct card_metrics_page;
int card_metrics_page_begin(const char *card, json_t *stats, struct card_metrics_page **out);
/* Goes on until then, by an object at least. True: there is more. */
bool card_metrics_page_step(struct card_metrics_page *t, uint64_t until_ns);
/* free() the text of *len bytes; NULL without memory. */
char *card_metrics_page_end(struct card_metrics_page *t, size_t *len);

/*
 * What a metric counts ("volume_reads": without prefix and suffix), and which group of
 * stats["reasons"] explains its reasons (NULL: it has none). NULL when there is no such metric.
 * metrics_help.c.
 */
const char *card_metrics_help(const char *family, const char **reasons);
