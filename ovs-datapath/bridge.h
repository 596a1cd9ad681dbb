/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default policy: an IEEE 802.1D learning switch that decides by installing flows. Control
 * thread.
 */
#pragma once

#include "action.h"

int odp_bridge_create(struct odp *dp, struct odp_bridge **out);
void odp_bridge_destroy(struct odp_bridge *b);

/* Learn a packet's source. Returns how many flows were decided on again for it. */
unsigned odp_bridge_learn(struct odp *dp, const struct odp_key *key, uint64_t now_ns);
/* Learn, and install a flow for packets like this one if there is room for it. Returns the same. */
unsigned odp_bridge_decide(struct odp *dp, const struct odp_key *key, uint64_t now_ns);
/*
 * The actions that it would decide on, without learning or installing anything. The list is good
 * until the next decision. 0, -ENOMEM, -E2BIG.
 */
int odp_bridge_would(
	struct odp *dp, const struct odp_key *key, const struct odp_act **list, size_t *len);
/* Send one packet by the same decision without a flow. */
void odp_bridge_forward(struct odp *dp, const struct odp_key *key, struct odp_pw *in,
	struct rte_mbuf *m, const struct odp_sums *sums);

/* A port came or is about to go (its flows and addresses go with it). */
void odp_bridge_port_added(struct odp *dp, uint32_t port);
void odp_bridge_port_deleted(struct odp *dp, uint32_t port);
/*
 * Interfaces or addresses of the underlay on a port changed, or what the operator says of it: it
 * joins or leaves the switch if need be, and what comes in by it is decided on anew.
 */
void odp_bridge_port_changed(struct odp *dp, uint32_t port);
/* Whether a port's floods are held changed. */
void odp_bridge_floods_changed(struct odp *dp);
/* Age addresses and flows. */
void odp_bridge_tick(struct odp *dp, uint64_t now_ns);
unsigned odp_bridge_n_macs(const struct odp *dp);
