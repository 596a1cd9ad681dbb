/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: where packets enter and leave the datapath. The datapath owns the interface; vhost
 * functions and ethdevs sit behind it.
 *
 * Each receive queue of a port is polled by one worker. A worker that sends to a port whose
 * transmit queue belongs to another worker hands the packets over through a ring; queues are never
 * shared.
 *
 * mbuf contract, in both directions (the same words as in vho_net.h):
 *   RTE_MBUF_F_TX_TCP_CKSUM / UDP_CKSUM  the L4 checksum field holds the pseudo-header sum with the
 *                   length included and is to be completed; l2_len, l3_len, l4_len and TX_IPV4 /
 *                   TX_IPV6 are valid
 *   RTE_MBUF_F_TX_TCP_SEG / UDP_SEG      in addition: a GSO frame, tso_segsz > 0
 *   RTE_MBUF_F_RX_L4_CKSUM_GOOD          verified on the way here
 *   ODP_F_LENT      the first segment is an ordinary one of at least 256 bytes, those behind it
 *                   point into memory that is lent for this turn: they are only read, their bytes
 *                   may change at any moment, and no reference to them lives longer than the turn.
 *                   So the datapath gives such a packet to a queue of the same worker whose port
 *                   takes it (odp_port_caps.lent), and copies it for everybody else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "dpu_stats.h"

#define ODP_BURST 32
#define ODP_PORT_NONE UINT32_MAX
#define ODP_PORT_MAX 4096
#define ODP_TXQ_ANY UINT16_MAX
#define ODP_TXQ_ONLY 0x8000u // added to a queue: that one or none
#define ODP_F_LENT RTE_MBUF_F_LAST_FREE // whoever starts DPDK reserves the bit

struct odp; // the datapath
struct odp_port;
struct odp_key;
struct odp_worker; // one per worker thread

/* Why a packet was dropped. X(name, text for the operator) */
#define ODP_DROPS(X)                                                          \
	X(MALFORMED, "headers shorter than they say")                         \
	X(NO_FLOW, "no flow and the upcall queue of the port is full")        \
	X(UPCALL_LIMIT, "upcall quota of the port used up")                   \
	X(FLOW_DROP, "a flow says drop")                                      \
	X(PORT_GONE, "output port removed or not up")                         \
	X(MTU, "longer than the output port's MTU")                           \
	X(TX_FULL, "output port accepts no more")                             \
	X(HANDOVER_FULL, "ring to the output queue's worker full")            \
	X(NO_MBUF, "packet pool empty while copying or segmenting")           \
	X(RECIRC_DEPTH, "recirculated too many times")                        \
	X(RECIRC_FULL, "too many packets recirculate at once")                \
	X(RECIRC_MISS, "no flow for a packet that recirculates")              \
	X(TTL, "time to live over")                                           \
	X(METER, "too much for a meter")                                      \
	X(ACL, "a security rule says drop")                                   \
	X(NO_NAT, "no address and port left to translate to")                 \
	X(SPOOF, "source address that is not the port's")                     \
	X(NO_ROUTE, "no route to the destination")                            \
	X(FRAG_MALFORMED, "fragment whose lengths or headers cannot be")      \
	X(FRAG_OVERLAP, "fragments that overlap: their datagram is dropped")  \
	X(FRAG_DUPLICATE, "fragment that waits here already")                 \
	X(FRAG_LIMIT, "too many fragments of a datagram, a port, or in all")  \
	X(FRAG_TIMEOUT, "fragment whose datagram did not become whole")       \
	X(GSO, "GSO frame that cannot be segmented")                          \
	X(CSUM, "checksum request that does not fit the headers")             \
	X(TNL_DST, "sent into a tunnel without a destination")                \
	X(TNL_ROUTE, "no route to the tunnel's other end")                    \
	X(TNL_NEIGH, "no answer on the way to the tunnel's other end")        \
	X(TNL_FULL, "too many destinations of tunnels at once")               \
	X(TNL_KEY, "tunnel fields that the format cannot carry")              \
	X(TNL_HEADER, "outer headers cut short or at odds with each other")   \
	X(TNL_CSUM, "outer checksum wrong, or missing and needed")            \
	X(TNL_FRAGMENT, "outer headers of a fragment")                        \
	X(TNL_PROTO, "tunnel version or flags that are refused")              \
	X(TNL_UNKNOWN, "inner protocol or critical option nobody knows")      \
	X(TNL_ECN, "congestion mark on what does not know of such marks")     \
	X(TNL_OTHER, "not for the tunnel that a flow gave it to")             \
	X(TNL_MISS, "no flow for a packet out of a tunnel")                   \
	X(UNDERLAY, "for an address of the underlay, and nobody wants it")    \
	X(UNSWITCHED, "no flow, and its port is no part of the switch")       \
	X(NEIGH_LIMIT, "too many ARP and ND messages of one host, or in all") \
	X(STORM, "more to flood than the port may have flooded")

enum odp_drop {
#define X(name, text) ODP_DROP_##name,
	ODP_DROPS(X)
#undef X
		ODP_DROP_COUNT
};

const char *odp_drop_name(enum odp_drop d);
const char *odp_drop_text(enum odp_drop d);

/* What a worker does with packets, one stage after the other. X(name, counter, text) */
#define ODP_STAGES(X)                                                           \
	X(RX, "rx_tsc", "Sampled cycles in receiving")                          \
	X(EXTRACT, "extract_tsc", "Sampled cycles in reading headers")          \
	X(LOOKUP, "lookup_tsc", "Sampled cycles in looking flows up")           \
	X(ACTIONS, "actions_tsc", "Sampled cycles in actions, without sending") \
	X(TX, "tx_tsc", "Sampled cycles in sending")

enum odp_stage {
#define X(name, counter, text) ODP_STAGE_##name,
	ODP_STAGES(X)
#undef X
		ODP_STAGE_COUNT
};

/* What a port can do for a packet that is sent to it. May change while traffic runs. */
struct odp_port_caps {
	bool up; // packets may be sent
	bool csum; // completes (or carries on) partial checksums
	bool tso4, tso6, uso4, uso6; // takes GSO frames of TCP, of UDP
	bool multi_seg; // takes chained mbufs
	bool lent; // takes ODP_F_LENT: copies every byte before tx() returns
	bool gro; // where it takes GSO frames of TCP in chains: let segments come merged into such
	uint16_t mtu; // L3 bytes; a VLAN tag is not counted
};

/* One port's driver. `drv` is the driver's own object. */
struct odp_port_ops {
	/* Worker of rxq: at most n packets; each mbuf becomes the datapath's. */
	uint16_t (*rx)(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n);
	/* Worker of txq: always consumes all n packets; returns how many went out. */
	uint16_t (*tx)(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n);
	/* Worker of txq, once at the end of a turn in which tx was called; may be NULL. */
	void (*tx_flush)(void *drv, uint16_t txq);
	/* Worker of rxq: ask for a wake-up through the fd given to odp_rxq_attach. True: empty. */
	bool (*rx_arm)(void *drv, uint16_t rxq); // NULL: cannot; the worker sleeps in short naps
	void (*rx_disarm)(void *drv, uint16_t rxq);
	/*
	 * True: this queue has no wake-up although rx_arm is there; asked at attach. May be NULL.
	 */
	bool (*rx_blind)(void *drv, uint16_t rxq);
	/*
	 * Any worker, for a port with several transmit queues: the one on which each of n <=
	 * ODP_BURST packets belongs, ODP_TXQ_ANY where that is all the same. False: all the same
	 * for all of them. What is all the same stays on the sender's own queue where it has one.
	 * A queue that nobody serves is passed by, or with ODP_TXQ_ONLY drops (PORT_GONE). May be
	 * NULL.
	 */
	bool (*steer)(void *drv, struct rte_mbuf *const *pkts, uint16_t n, uint16_t *txq);
	/* Any thread. */
	void (*caps)(void *drv, struct odp_port_caps *out);
};

/*
 * Is a port part of the learning switch? What a port outside sends meets flows, and the underlay
 * where that has an interface, and is dropped else (UNSWITCHED); nothing is flooded to it. AUTO: a
 * port is part of the switch while the underlay has no interface on it, so that what goes on
 * between the hosts of an underlay is not told to tenants, nor the other way round.
 */
enum odp_switched { ODP_SWITCHED_AUTO, ODP_SWITCHED_YES, ODP_SWITCHED_NO };

struct odp_port_conf {
	const char *name; // copied; unique
	const char *kind; // "vhost-net", "uplink": shown to operators; static storage
	enum odp_switched switched;
	uint16_t n_rxq, n_txq;
	const struct odp_port_ops *ops; // borrowed
	void *drv; // borrowed: outlives the port
};

/* Written by the workers, summed on reading. */
struct odp_port_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t gro_frames, gro_segments; // frames that were merged, of so many segments
	uint64_t drops[ODP_DROP_COUNT];
};

/* ---- datapath and workers: control thread ---- */

/* A packet on its way to whoever a flow's action "userspace" names. */
struct odp_packet_in {
	uint32_t pid;
	const struct odp_key *key; // with metadata, as of the action
	const struct rte_mbuf *m; // perhaps in several segments
	const uint8_t *data; // the action's user data
	uint16_t data_len; // bytes
};

struct odp_conf {
	unsigned n_workers;
	struct rte_mempool *pool; // borrowed: clones, segments
	void *host_arg;
	/* Wake a worker that may sleep (it has packets handed over). Any thread. */
	void (*wake)(void *host_arg, unsigned worker);
	/* Upcalls wait: have odp_upcall_poll() called on the control thread. Any worker. */
	void (*upcall_pending)(void *host_arg);
	/* Returns when every worker has passed a quiescent state. Control thread. */
	void (*synchronize)(void *host_arg);
	/* A packet that an action "userspace" with a pid sends; may be NULL. Control thread. */
	void (*userspace)(void *host_arg, const struct odp_packet_in *p);
	unsigned mac_age_s; // learned addresses and their flows; 0: 300
	unsigned mac_max; // learned addresses in all; 0: 16384
	unsigned mac_max_per_port; // 0: 1024
	bool step_by_step; // established connections take no shorter way
	unsigned ct_conns; // tracked connections at most; 0: 262144
};

int odp_create(const struct odp_conf *conf, struct odp **out);
void odp_destroy(struct odp *dp);
struct odp_worker *odp_worker(struct odp *dp, unsigned idx);

/*
 * One turn: every receive queue attached to this worker once, then what other workers handed over.
 * Returns packets moved (0: idle). Worker.
 */
unsigned odp_worker_turn(struct odp_worker *w);
/*
 * Cycles of each stage, and the packets received, of one turn in a thousand or so: of all turns
 * they would cost more than some of what they measure. Any thread.
 */
struct odp_stage_stats {
	uint64_t cycles[ODP_STAGE_COUNT], packets;
};
void odp_worker_stages(const struct odp_worker *w, struct odp_stage_stats *out);
const char *odp_stage_counter(enum odp_stage s); // "lookup_tsc"
/*
 * What told packets of a worker what to do, once for each time that they were looked up: the fused
 * path, the exact-match cache, the megaflow table, or nothing. Any thread.
 */
struct odp_hit_stats {
	uint64_t fused, emc, mega, misses;
};
void odp_worker_hits(const struct odp_worker *w, struct odp_hit_stats *out);
/* Arm every receive queue that is not parked. True: nothing waits, the worker may sleep. Worker. */
bool odp_worker_arm(struct odp_worker *w);
void odp_worker_disarm(struct odp_worker *w);
/* Longest sleep in microseconds that keeps ports without interrupts served; 0: no limit. Worker. */
unsigned odp_worker_nap_us(const struct odp_worker *w);

/*
 * Adds a port and gives it the lowest free number from 1 on. 0, -EINVAL, -EEXIST, -ENOSPC, -ENOMEM.
 */
int odp_port_add(struct odp *dp, const struct odp_port_conf *conf, struct odp_port **out);
/* Detach all queues first. Removes its addresses and every flow that names it; synchronizes. */
void odp_port_del(struct odp_port *port);
uint32_t odp_port_no(const struct odp_port *port);
const char *odp_port_name(const struct odp_port *port);
struct odp_port *odp_port_by_name(struct odp *dp, const char *name);
struct odp_port *odp_port_by_no(struct odp *dp, uint32_t no);
void odp_port_stats(const struct odp_port *port, struct odp_port_stats *out);
/*
 * What the learning switch floods for a port, be it to all, to many or to nobody that it knows: so
 * many packets a second, and so many at once; more are dropped there (STORM). Each of them becomes
 * one for every port, so a guest that broadcasts costs its neighbours and the worker a multiple of
 * what it costs itself. A port begins with ODP_STORM_PER_S; that holds only where there is more
 * than one port to flood to, since a switch of two ports is a wire.
 */
#define ODP_STORM_PER_S 100000u
struct odp_storm {
	uint32_t per_s; // 0: no limit
	uint32_t burst; // 0: as many as in a second
};
/* 0, -ENOMEM: nothing changes. Of a port that is no tunnel. Control thread. */
int odp_port_set_storm(struct odp_port *port, const struct odp_storm *s);
void odp_port_storm(const struct odp_port *port, struct odp_storm *out);

/* A port of this datapath that is no tunnel. Control thread. */
void odp_port_set_switched(struct odp_port *port, enum odp_switched how);
/* It is part of the learning switch now; tunnels never are. Control thread. */
bool odp_port_is_switched(const struct odp_port *port);
/* Call fn for every port in order of number. */
void odp_port_foreach(struct odp *dp, void (*fn)(struct odp_port *port, void *arg), void *arg);
/* Capabilities changed (features negotiated, link): the datapath reads them again. Any thread. */
void odp_port_caps_changed(struct odp_port *port);

/*
 * Have `worker` poll rxq / send on txq. Run ON that worker (or before it runs), by message. A
 * port's txq that nobody owns drops with PORT_GONE.
 */
int odp_rxq_attach(struct odp_worker *w, struct odp_port *port, uint16_t rxq);
void odp_rxq_detach(struct odp_worker *w, struct odp_port *port, uint16_t rxq);
/*
 * Allow to park rxq: after some thousand looks that found nothing it is armed and not looked at any
 * more, so that it costs a busy worker nothing. Whoever says this calls odp_rxq_wake() each time
 * that the queue signals (too often does no harm). Worker.
 */
void odp_rxq_wakeable(struct odp_worker *w, struct odp_port *port, uint16_t rxq);
void odp_rxq_wake(struct odp_worker *w, struct odp_port *port, uint16_t rxq);
/* Parked queues of this worker. Worker. */
unsigned odp_worker_parked(const struct odp_worker *w);
int odp_txq_attach(struct odp_worker *w, struct odp_port *port, uint16_t txq);
void odp_txq_detach(struct odp_worker *w, struct odp_port *port, uint16_t txq);

/* Periodic work on the control thread, about once a second: ageing, flow statistics. */
void odp_tick(struct odp *dp);
/* Decide on packets that missed: learn, install flows, send the packets on. Returns the number. */
unsigned odp_upcall_poll(struct odp *dp);

/* ---- ethdev ports (port_dpdk.c) ---- */

struct odp_ethdev_conf {
	const char *name; // port name
	const char *devargs; // "net_memif0,role=client,..." or a PCI address "0000:03:00.0"
	uint16_t n_queues; // asked for; fewer when the device has fewer
	uint16_t n_desc; // per queue; 0: 1024
	uint16_t mtu; // 0: the device's default
	struct rte_mempool *pool; // borrowed
};

struct odp_ethdev;
/*
 * Probe, configure and start an ethdev. A memif client whose peer is not there is opened with its
 * link down. 0, -ENODEV (no such device or driver), -EEXIST (the device is in use), -EINVAL,
 * -ENOMEM, -EIO.
 */
int odp_ethdev_open(const struct odp_ethdev_conf *conf, struct odp_ethdev **out);
void odp_ethdev_close(struct odp_ethdev *dev);
/*
 * Look at the link; to be called several times a second. The port's capabilities follow it. A memif
 * client whose link is down connects anew. True: the link changed. Control thread.
 */
bool odp_ethdev_poll(struct odp_ethdev *dev, struct odp_port *port);
const struct odp_port_ops *odp_ethdev_ops(void);
uint16_t odp_ethdev_n_queues(const struct odp_ethdev *dev);
/*
 * The address of the network that the device is on: a NIC's, or that of the kernel's interface
 * behind it. False: the driver made one up (TAP, memif), which says nothing. Control thread.
 */
bool odp_ethdev_mac(const struct odp_ethdev *dev, uint8_t mac[6]);
/* Fd that becomes readable when rxq has packets and is armed; -1: the device has no interrupts. */
int odp_ethdev_rx_fd(const struct odp_ethdev *dev, uint16_t rxq);
