/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that outlive their card: the file "conntrack" in the state directory is read before
 * any port is made, written anew every few seconds in small steps, and once more when the card ends
 * in order and no packet comes any more. docs/adr/0011-conntrack-tables.md.
 */
#pragma once

#include <stdint.h>

struct card;

/*
 * Before ports: take the connections that the last card left. 0 or -ENOMEM: what cannot be
 * used is logged and counted, and the card starts without connections.
 */
int card_ct_keep_load(struct card *c);
void card_ct_keep_free(struct card *c);

/* With the store open: begin to write. 0, also without a store, or -ENOMEM. */
int card_ct_keep_start(struct card *c);
/* Workers poll no more; write the last one, while c->loop goes on. */
void card_ct_keep_stop(struct card *c);

struct card_ct_keep_stats {
	uint64_t saves, save_failures, load_refused; // files
	uint64_t saves_skipped; // the table was as empty as the last file
	uint64_t saved_connections, saved_bytes; // in the last file
	uint64_t step_max_us; // longest step of writing
};
void card_ct_keep_stats(const struct card *c, struct card_ct_keep_stats *out);
