/* SPDX-License-Identifier: Apache-2.0 */
/* A card's side of "cardd --supervise": supervise.h. Control thread. */
#pragma once

#include <stdbool.h>

struct card;

/*
 * Tell the supervisor that this process is warm, and wait until it shall serve. Returns at once
 * without a supervisor. 0, -ECANCELED (told to stop, or the supervisor is gone) or -ENOMEM.
 */
int card_standby_start(struct card *c);
void card_standby_stop(struct card *c);

/* The card serves. */
void card_standby_serving(struct card *c);

/* Would another process take over at once? */
bool card_standby_spare(const struct card *c);
