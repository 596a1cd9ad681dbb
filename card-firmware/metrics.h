/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics port counts about itself; its life cycle is in card.h. Control thread. */
#pragma once

#include "card.h"

#define CARD_METRICS_CONNS_MAX 16

struct card_metrics_stats {
	uint64_t accepted; // connections
	uint64_t cut_full; // to make room for a newer one
	uint64_t cut_late; // not done in time
	uint64_t requests; // answered with metrics
	unsigned open; // now
};

/* Zeros when the port is not open. */
void card_metrics_stats(const struct card *c, struct card_metrics_stats *out);
