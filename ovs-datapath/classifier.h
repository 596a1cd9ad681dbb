/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Megaflow tuple-space search: one hash table (subtable.h) for each mask, and of masks that have
 * the input port whole one for each port. A packet meets the subtables of its own port and the
 * common ones, so what flows one port causes to be made costs the others nothing.
 *
 * Lookup order, first match wins:
 *   1. subtables of operator flows, the mask with most bits first, then the older one;
 *   2. all others, by hits since the last odp_classifier_tick(). Their users keep them disjoint.
 *
 * Design and figures: docs/adr/0013-classifier.md.
 */
#pragma once

#include "subtable.h"

#define SUBTABLES_PORT_MAX 1024u // of one input port; of no port as many
#define SUBTABLES_EACH 64u // that a port may have in any case; half of all are kept for these
#define SUBTABLE_CHAINS 4096u

/* All subtables, as the control thread finds them. */
struct odp_subtables {
	unsigned n, top; // slots in use are below `top`
	unsigned n_common;
	uint64_t serial; // of the last one
	struct odp_subtable *st[SUBTABLES_MAX]; // owned; by slot
	struct odp_subtable *chain[SUBTABLE_CHAINS]; // borrowed; by hash of the mask
	uint16_t n_of_port[ODP_PORT_MAX];
	struct odp_list *common; // owned; RCU; what the view shows
	struct odp_list *port[ODP_PORT_MAX]; // owned; RCU; the same
};

/* A key and its mask, as the words that the mask names. */
struct odp_compact {
	struct odp_kw mask;
	uint64_t map; // words of it that are not zero
	uint32_t port; // that the mask has whole, or ODP_PORT_NONE
	bool prior;
	unsigned n;
	uint64_t w[ODP_KEY_WORDS]; // of the key, masked
};

void odp_compact(
	struct odp_compact *c, const struct odp_key *key, const struct odp_key *mask, bool prior);

/*
 * Find the flows of the keys whose bits are in `todo`; NULL where there is none. Returns how often
 * a key was looked up in a subtable. Any thread inside a turn; control.
 */
unsigned odp_classifier_lookup_burst(const struct odp_view *v, const struct odp_kw *const *key,
	uint32_t todo, struct odp_flow **flow);
/* The same for one key. */
struct odp_flow *odp_classifier_lookup(const struct odp_view *v, const struct odp_kw *k);
/*
 * The same for one key of a packet without an Ethernet header: it meets flows that match on
 * packet_type only. One that does not is for Ethernet, as in OVS's userspace datapath.
 */
unsigned odp_classifier_lookup_bare(
	const struct odp_view *v, const struct odp_kw *k, struct odp_flow **flow);

/* Control thread. */
int odp_classifier_init(struct odp *dp);
void odp_classifier_fini(struct odp *dp);
/* Subtables with flows. */
unsigned odp_classifier_subtables(const struct odp *dp);
/* The flow of exactly this key and mask; NULL: none. */
struct odp_flow *odp_classifier_find(const struct odp *dp, const struct odp_compact *c);
/*
 * Add a flow, whose key is made from `c` and which is live then. 0, -ENOSPC: too many masks, or
 * -ENOMEM: no worker has seen the flow.
 */
int odp_classifier_add(struct odp *dp, struct odp_flow *f, const struct odp_compact *c);
/* Caches forget what they know: a flow has come that takes packets away from others. */
void odp_classifier_decide_anew(struct odp *dp);
/* Workers in their next turn do not find it any more. */
void odp_classifier_del(struct odp *dp, struct odp_flow *f);
/* Drop empty subtables, give back memory, order the others by recent hits. */
void odp_classifier_tick(struct odp *dp);
