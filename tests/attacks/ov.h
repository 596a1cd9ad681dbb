/* SPDX-License-Identifier: Apache-2.0 */
/* What rows about the switch share: flows at the port of the attacker, frames past them. */
#pragma once

#include "atk.h"
#include "pkt.h"

#define OV_IN "in_port(" ATK_NET ")"
#define OV_IP4 OV_IN ",eth_type(0x0800)"
#define OV_IP6 OV_IN ",eth_type(0x86dd)"

struct ov_policy {
	const char *flow, *actions;
};

/* As atk_daemon_rpc(). */
int ov_flow_add(struct atk_env *e, const char *flow, const char *actions);
/*
 * Run fn with these flows; honest frames pass before and after, and the switch knows where the peer
 * is. Afterwards no operator's flow is left and nothing that the attacker's port taught.
 */
int ov_with(struct atk_env *e, const struct ov_policy *flows, unsigned n,
	int (*fn)(struct atk_env *e, struct atk_pair *p));
int ov_send(struct atk_env *e, struct atk_pair *p, const struct pkt *k);
/* Take what has come to the peer so far, whatever it is. */
void ov_drain(struct atk_pair *p);
/*
 * How many of the frames sent so far have passed. What the control thread decides on comes later
 * than what has a flow: it has answered questions first.
 */
int ov_passed(struct atk_env *e, struct atk_pair *p, unsigned *n);
/* Exactly `want` of the frames made for 0 to n - 1 pass. */
int ov_expect(struct atk_env *e, struct atk_pair *p, const char *what, unsigned want,
	void (*make)(struct pkt *k, unsigned i), unsigned n);
/* None of them passes, and each is counted as malformed. */
int ov_malformed(struct atk_env *e, struct atk_pair *p, const char *what,
	void (*make)(struct pkt *k, unsigned i), unsigned n);
/* A counter; object: parameters of stats_get. 0 when there is none. */
unsigned long ov_counter(struct atk_env *e, const char *object, const char *name);
