/* SPDX-License-Identifier: Apache-2.0 */
/* A switch port in memory, the EAL under it, and small frames. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "odp_act.h"

#define FAKE_PKTS 4096

struct fake_port {
	struct odp_port_caps caps;
	struct odp_port *port; // after fake_port_add()
	struct rte_mbuf *in[FAKE_PKTS], *out[FAKE_PKTS];
	unsigned n_in, n_out, in_at;
	unsigned tx_calls, flushes;
	unsigned accept; // packets that tx takes before it refuses; 0: all
	bool armed;
};

/* Initialise EAL without any privileges, once; the pool has `n` mbufs of 2 KiB. */
struct rte_mempool *fake_eal(unsigned n);

extern const struct odp_port_ops fake_port_ops;

/* Up, 1500 bytes, no offloads; one queue each way, both attached to `w` (NULL: none). */
void fake_port_add(struct fake_port *f, struct odp *dp, struct odp_worker *w, const char *name);
/* Frees what was not received and what was sent. */
void fake_port_reset(struct fake_port *f);
void fake_port_del(struct fake_port *f, struct odp_worker *w);

/* Packets dropped at a port for this reason, since the start. */
uint64_t fake_port_drops(const struct odp_port *p, enum odp_drop why);

/* Queue a frame of `len` bytes for reception. */
void fake_port_push(struct fake_port *f, struct rte_mempool *pool, const void *frame, size_t len);

/* An Ethernet frame of 60 bytes: addresses 02:00:00:00:00:XX, IPv4 type, vlan 0 for none. */
size_t fake_frame(uint8_t out[64], uint8_t dst, uint8_t src, uint16_t vlan);

/* The actions that a text says, until the next call; the text is right. */
const struct odp_actbuf *fake_acts(struct odp *dp, const char *text);
/* A flow of origin "operator"; as odp_flow_put(). */
int fake_put(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const char *actions, bool replace, uint64_t *id);

/* A clock moved by hand. */
extern uint64_t fake_now_ns;
uint64_t fake_clock(void);
