/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of ARP and ND from uplinks to the control thread.
 *
 * They do not share the ring of what misses otherwise: whoever floods our MAC address, or asks us a
 * million questions, would take the place of the one answer that a tunnel waits for. So workers
 * look at each such message, and there is a ring for each of three kinds, served in that order:
 * answers to questions that we have asked and that are open; what is from neighbours that a tunnel
 * needs; questions of others for addresses of ours. Of the second and third kind each host may
 * bring so many a second, and all together. What none of it is for goes where the switch is, or,
 * where the port is no part of that, nowhere.
 *
 * What workers must know for this the control thread tells them by marks: two counters each under a
 * keyed hash of port, VLAN and address. An address whose counters others' marks have raised makes a
 * worker see a message as more than it is, which costs a place in a better ring and nothing else;
 * nobody outside can tell which do. With a thousand neighbours they are four in a thousand, with a
 * hundred four in a hundred thousand. An answer is put into the first ring only if it ends the
 * question, so that no flood of such can last.
 */
#pragma once

#include "limit.h"
#include "underlay.h"
#include "worker.h"

enum odp_ul_class {
	ODP_UL_ANSWER,
	ODP_UL_KNOWN,
	ODP_UL_QUESTION,
	ODP_UL_CLASSES,
	ODP_UL_NONE = ODP_UL_CLASSES, // neither ARP nor ND, or to us and about nobody
	ODP_UL_OTHERS, // between others, or to all
};

/* Rings of a port, workers to control. */
struct odp_ul_rings {
	struct rte_ring *ring[ODP_UL_CLASSES]; // owned
};

/* A worker's limits, of the second and third kind. */
struct odp_ul_gate {
	struct odp_limit known, questions;
};

struct odp_ul_gate *odp_ul_gate_create(void); // NULL: no memory
void odp_ul_gate_destroy(struct odp_ul_gate *g);

/*
 * Take what is ARP or ND out of n <= ODP_BURST packets of one run that have just come in and have
 * no flow. Returns how many are left, in front. Worker.
 */
unsigned odp_ul_gate(
	struct odp_worker *w, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n);

/* What a packet is, and for a limit, from whom. Pure; any worker. */
enum odp_ul_class odp_ul_classify(
	const struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m, uint32_t *source);

/* ---- control thread ---- */

/* A port has an interface: it gets rings, and keeps them. Without memory misses share a ring. */
void odp_ul_rings_open(struct odp_port *port);
void odp_ul_rings_destroy(struct odp_ul_rings *r);
/* At most max packets of a port, the most urgent first. */
unsigned odp_ul_rings_take(const struct odp_port *port, struct rte_mbuf **pkts, unsigned max);
