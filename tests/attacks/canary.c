// SPDX-License-Identifier: Apache-2.0
/* Bytes that no attacker may ever see, and the search for them in all that attackers have. */
#include "atk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SHARED 12 // random letters that all canaries begin with: one search finds any

static const struct {
	const char *name;
	char mark; // follows the shared part
} kinds[ATK_CANARIES] = {
	[ATK_CANARY_DISK] = { "disk", 'D' },
	[ATK_CANARY_NET] = { "frame", 'N' },
	[ATK_CANARY_NAME] = { "name", 'H' },
};

static char text[ATK_CANARIES][ATK_CANARY_LEN + 1];
static _Atomic unsigned seen[ATK_CANARIES];

static void look(const void *p, size_t len)
{
	const char *at = p, *end = at + len;

	while ((at = memmem(at, (size_t)(end - at), text[0], SHARED)) != NULL) {
		at += SHARED;
		for (unsigned i = 0; at < end && i < ATK_CANARIES; i++)
			if (*at == kinds[i].mark)
				atomic_fetch_add(&seen[i], 1);
	}
}

void atk_canary_init(void)
{
	uint8_t r[SHARED];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		abort();
	for (unsigned i = 0; i < ATK_CANARIES; i++) {
		memset(text[i], 'x', ATK_CANARY_LEN);
		for (unsigned k = 0; k < SHARED; k++)
			text[i][k] = (char)('a' + r[k] % 26);
		text[i][SHARED] = kinds[i].mark;
	}
	drv_inspect = look;
}

void atk_canary_stop(void)
{
	drv_inspect = NULL;
}

const char *atk_canary(enum atk_canary which)
{
	return text[which];
}

void atk_canary_fill(enum atk_canary which, void *p, size_t len)
{
	for (size_t at = 0; at < len; at += ATK_CANARY_LEN)
		memcpy((uint8_t *)p + at, text[which],
			len - at < ATK_CANARY_LEN ? len - at : ATK_CANARY_LEN);
}

const char *atk_canary_seen(void)
{
	const char *name = NULL;

	for (unsigned i = 0; i < ATK_CANARIES; i++)
		if (atomic_exchange(&seen[i], 0))
			name = kinds[i].name;
	return name;
}
