/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which receive queue a packet belongs to, and the hash that its header reports.
 *
 * Two ways lead to a queue. The driver configures one (RSS): a Toeplitz hash over the fields it
 * named picks an entry of its table. Otherwise the card steers by itself: a flow goes to the pair
 * on which the guest transmitted it last, and until it did, to one that its hash picks.
 *
 * For that the flows that a guest transmits are remembered in a table of one entry per place. An
 * entry stays with its flow while the flow is alive: two flows that share a place would otherwise
 * take it from each other with each packet, and both would change queues all the time. The one that
 * came second stays on the queue that its hash picks. Workers write the table without locks; each
 * entry is one word, and a lost update is made again by the next packet.
 *
 * Spec: VIRTIO 1.3, sections 5.1.6.4.3 (hash) and 5.1.6.5.5 to 5.1.6.5.7 (steering).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vho_net.h"

#define VHO_NET_HASH_KEY 40 // bytes: 36 of IPv6 addresses and ports, and one word more
#define VHO_NET_RSS_TABLE 128 // entries at most
#define VHO_NET_HASH_TYPES 0x1ffu // all that 5.1.6.4.3 knows

/* What the driver asked for on the control queue. Never written after it was published. */
struct vho_net_hash {
	uint32_t types; // VIRTIO_NET_RSS_HASH_TYPE_*
	uint32_t key[VHO_NET_HASH_KEY / 4]; // as rte_softrss_be() wants it
	bool rss; // the table is in force; else the hash is only reported
	uint16_t mask; // entries of the table, less 1
	uint16_t unclassified; // pair of packets without a hash
	uint16_t table[VHO_NET_RSS_TABLE]; // pairs
};

/* Take the driver's key of n <= VHO_NET_HASH_KEY bytes; what is missing is zeros. */
void vho_net_hash_set_key(struct vho_net_hash *h, const uint8_t *key, unsigned n);

/*
 * The Toeplitz hash of a frame of which `len` bytes are at hand. *report: VIRTIO_NET_HASH_REPORT_*,
 * NONE (and hash 0) when no type that is enabled fits. Pure; any thread. Spec: 5.1.6.4.3.
 */
uint32_t vho_net_hash_frame(
	const struct vho_net_hash *h, const uint8_t *frame, uint32_t len, uint16_t *report);

/*
 * A hash that is the same both ways of a TCP or UDP flow, or of two IP addresses; 0: not IP. Never
 * 0 for IP. Pure; any thread.
 */
uint32_t vho_net_flow_hash(const uint8_t *frame, uint32_t len);

/* ---- flows that the guest transmits ---- */

struct vho_net_flows {
	_Atomic uint64_t *entry; // owned; NULL: one pair, nothing to steer
	unsigned shift; // cycles of a stamp's unit, about a second, as a power of two
};

int vho_net_flows_init(struct vho_net_flows *t); // 0 or -ENOMEM
void vho_net_flows_fini(struct vho_net_flows *t);
/* The guest transmitted flow `hash` on `pair`; now: time stamp counter. Any worker. */
void vho_net_flows_learn(struct vho_net_flows *t, uint32_t hash, uint16_t pair, uint64_t now);
/* The pair of a flow towards the guest, below n_pairs. Any worker. */
uint16_t vho_net_flows_pair(const struct vho_net_flows *t, uint32_t hash, uint16_t n_pairs);
