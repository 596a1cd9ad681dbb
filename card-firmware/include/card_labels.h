/* SPDX-License-Identifier: Apache-2.0 */
/* Members of an object of stats_get that say which one it is, and do not count. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const char *const card_labels[] = { "name", "queue", "pair", "port", "worker", "state", "op",
	"path", "host", "address", "cntlid" };
#define CARD_LABELS_N (sizeof(card_labels) / sizeof(card_labels[0]))

static inline bool card_is_label(const char *key)
{
	for (size_t i = 0; i < CARD_LABELS_N; i++)
		if (!strcmp(key, card_labels[i]))
			return true;
	return false;
}
