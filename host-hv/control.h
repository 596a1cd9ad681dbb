/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's commands to one guest, and what the guest has to tell it. Main thread; the machine's
 * console may write from any vCPU's thread.
 *
 * Nothing here waits for the card: an answer that finds no room holds back the next command, states
 * and wishes for connections are told when there is room, output of the console waits in a pipe and
 * is lost, and counted, when that is full. So a card that is away for any time stops no guest.
 */
#pragma once

#include "machine.h"

struct hv_control;

struct hv_control_conf {
	int fd; // owned from now on: SOCK_SEQPACKET, the other end is the card's
	/*
	 * Shut the process in, after everything is opened and before the guest's first
	 * instruction. 0 or negative errno, with which the guest is not made. NULL: tests.
	 */
	int (*jail)(const struct hv_conf *conf);
	int (*confine)(void); // each vCPU's thread, before it runs; as above
	bool log; // what goes to stderr goes to the card from now on
};

/* 0, -ENOMEM, or the errno of pipe2(2) or dup2(2); fd is closed in any case. */
int hv_control_create(const struct hv_control_conf *conf, struct hv_control **out);
void hv_control_destroy(struct hv_control *c); // ends its machine, too

/*
 * Wait up to timeout_ms (-1: for ever) for something to happen and do it. 0, or
 *   -ESHUTDOWN   the guest ended: hv_control_end() says how, the card was told if it listens
 *   -ECONNRESET  nobody has the other end any more
 */
int hv_control_turn(struct hv_control *c, int timeout_ms);
enum hv_end hv_control_end(const struct hv_control *c);
