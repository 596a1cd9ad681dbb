/* SPDX-License-Identifier: Apache-2.0 */
/* The switch and its place in the workers' turn, its upcalls and its clock. Control thread. */
#pragma once

struct card;
struct card_worker;

#define CARD_KICKLESS_NAP_US 100 // how long a worker sleeps beside a queue whose driver never kicks

/*
 * Create c->dp and have every worker poll it. Wants c->workers, c->pool and c->loop. 0 or -errno.
 */
int card_datapath_start(struct card *c);
/*
 * Workers poll no more and the switch's events are off: no packet goes in or out, nothing of it
 * changes by itself. For the end of the card; there is no way back.
 */
void card_datapath_pause(struct card *c);
/* Addresses of the underlay came: its clock runs while there are any. */
void card_datapath_underlay_changed(struct card *c);
/* All ports are gone. */
void card_datapath_stop(struct card *c);

/*
 * On worker w: a receive queue whose driver never kicks came (1) or went (-1). While there are any
 * the worker sleeps in naps only.
 */
void card_datapath_kickless(struct card *c, struct card_worker *w, int by);
