/* SPDX-License-Identifier: Apache-2.0 */
/* The start order of cardd. */
#pragma once

struct card;

/* Start everything in order. On failure what was started is stopped again. 0 or -errno. */
int card_modules_start(struct card *c);
/* Stop everything, backwards. */
void card_modules_stop(struct card *c);
