/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card that is back at once when it dies: a parent that does nothing else runs the card as a
 * child and keeps a second one warm beside it. docs/adr/0005-warm-spare.md.
 */
#pragma once

/* One byte each, over the socket pair between the parent and each child. */
enum card_note {
	CARD_NOTE_WARM = 'w', // from a child: all is done that needs no name and no guest
	CARD_NOTE_SERVING = 's', // from a child: it serves
	CARD_NOTE_GO = 'g', // to a child: serve
	CARD_NOTE_SPARE = '+', // to the child that serves: another is warm
	CARD_NOTE_ALONE = '-', // to the child that serves: no other is warm
};

/* The option that names the child's end of the socket pair. */
#define CARD_STANDBY_OPTION "standby-fd"

struct card_supervise_conf {
	const char *program; // what children execute
	char *const *argv; // borrowed; their arguments, to which --standby-fd=N is added
	void (*serving)(void *arg); // called once: the card serves for the first time
	void *arg;
};

/*
 * Run the card until SIGTERM or SIGINT, until it ends by itself with status 0, or until it fails
 * before it ever served. When it dies otherwise, the spare takes over. Blocks these signals and
 * SIGCHLD, and reaps every child of this process, which must have one thread.
 *
 * Returns the exit status of the card that was served last, or 1. No child is left: all are reaped,
 * and the kernel kills them should this process die.
 */
int card_supervise(const struct card_supervise_conf *conf);

/*
 * How long a start is put off after so many failures in a row: deaths before or within 100 ms of
 * service. The first three cost nothing, then it doubles from 100 ms up to 5 s. Pure; any thread.
 */
unsigned card_supervise_delay_ms(unsigned failures);
