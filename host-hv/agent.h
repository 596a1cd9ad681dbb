/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's agent on its host: one connection to the card, one jailed process for each guest that
 * the card asks for, and nothing else. Main thread.
 *
 * Each guest's socket has its two ends in the guest and at the card; the agent keeps a copy of the
 * card's end and hands it over again to a card that comes back, so that guests go on without a card
 * and without being found again. A guest whose process ended stays known, and each card is told
 * how, until the card has another process made for it or kills it: that is the card's choice.
 */
#pragma once

#include <sys/types.h>

struct hv_agent;

struct hv_agent_conf {
	const char *card_path; // borrowed: the card's Unix socket
	int exe_fd; // borrowed: the program of a guest, O_PATH
	char *const *argv; // borrowed: its arguments
	unsigned retry_ms; // before the card is tried again; doubled each time, up to 16 times it
};

/* 0, -ENAMETOOLONG (card_path), -ENOMEM, or the errno of signalfd(2). Blocks its signals. */
int hv_agent_create(const struct hv_agent_conf *conf, struct hv_agent **out);

/* Guests that still run are left to themselves: their card has their sockets. */
void hv_agent_destroy(struct hv_agent *a);

/*
 * Wait up to timeout_ms (-1: for ever) for something to happen and do it. 0, or -ESHUTDOWN when
 * SIGTERM or SIGINT said so.
 */
int hv_agent_turn(struct hv_agent *a, int timeout_ms);
