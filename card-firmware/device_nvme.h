/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controllers of remote subsystems: device_nvme.c has the paths, device_nvme_ns.c the volumes that
 * come of their namespaces. Control thread.
 */
#pragma once

#include "device.h"
#include "nof_ctrl.h"

#define CARD_NQN_SIZE 224
#define CARD_ADDR_SIZE 64

struct card_ns_set;

struct card_ctrl {
	TAILQ_ENTRY(card_ctrl) link;
	struct card_ctrl_conf conf; // strings are ours
	char name[CARD_NAME_MAX + 1], subnqn[CARD_NQN_SIZE], traddr[CARD_ADDR_SIZE],
		host_traddr[CARD_ADDR_SIZE], hostnqn[CARD_NQN_SIZE], discovery[CARD_NAME_MAX + 1];
	struct nof_ctrl *ctrl; // owned: until it is told to go
	bool up; // it has been live, or failed for the first time
	int err; // why it failed
	struct card_ns_set *set; // shared with the other paths of the name
	bool read; // its namespaces were, once
	struct card_ctrl_volume_counts counts;
};

/* The path is there: from now on its namespaces are watched. 0 or -ENOMEM. */
int card_ns_join(struct card *c, struct card_ctrl *k, const struct card_ctrl *sibling);
/* It is about to go. */
void card_ns_leave(struct card_ctrl *k);
/* Begin to look at what the paths of this one's name have; whatever was looked at before. */
void card_ns_begin(struct card_ctrl *k);
/*
 * The next slice. CARD_RPC_LATER: there is more. 0: each namespace has its volume; else the first
 * reason why one has none, with e->text.
 */
int card_ns_step(struct card_ctrl *k, struct card_error *e);
