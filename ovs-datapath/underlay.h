/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The underlay: how packets of tunnels reach the other end. Interfaces on uplinks with addresses of
 * our own, routes, neighbours by ARP and ND.
 *
 * Everything here is the control thread's but for the two atomics of a path. A path is what one
 * destination comes to at the moment: no route, a neighbour that is being asked for, or Ethernet
 * addresses, an uplink and an MTU. Whoever composes a template from a path keeps the path's
 * generation with it; the generation changes when what the path comes to changes, and at no other
 * time. Workers compare it for each packet, and say that they used the path, or a neighbour that
 * nobody hears of would be asked about for ever.
 *
 * Only packets that an uplink received are looked at, so no tenant is ever believed. Of those, ARP
 * and ND change what is known about neighbours that a path needs; they never add one.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "key.h"
#include "odp_underlay.h"
#include "tnl.h"

enum odp_ul_state { ODP_UL_NO_ROUTE, ODP_UL_RESOLVING, ODP_UL_FAILED, ODP_UL_READY };

/* What a path comes to. */
struct odp_ul_hop {
	enum odp_ul_state state;
	uint32_t port; // the uplink
	struct odp_ip src;
	struct odp_tnl_link link; // READY: addresses; mtu with the path MTU that was learned
};

struct odp_ul_path {
	/* Any worker. */
	_Atomic uint32_t gen; // released after `hop` changed
	_Atomic uint32_t used; // relaxed: 1 since the last tick

	/* Control thread. */
	struct odp_ul_hop hop;
	struct odp_ip dst, src; // src.family 0: the interface's
	unsigned refs;
	uint16_t neigh; // index + 1; 0: none
	uint16_t next; // in its bucket
	uint16_t pmtu; // learned; 0: the interface's
	uint64_t pmtu_until_ns;
};

/* A template composed at `gen` is still right. Any worker. */
static inline bool odp_ul_path_current(const struct odp_ul_path *p, uint32_t gen)
{
	return atomic_load_explicit(&p->gen, memory_order_acquire) == gen;
}

/* Packets go this way: its neighbour is worth asking after. Any worker. */
static inline void odp_ul_path_use(struct odp_ul_path *p)
{
	if (!atomic_load_explicit(&p->used, memory_order_relaxed))
		atomic_store_explicit(&p->used, 1, memory_order_relaxed);
}

struct odp_ul_conf {
	struct rte_mempool *pool; // borrowed
	struct odp_seed seed; // of hashes that nobody outside is to foresee
	void *arg;
	/* A frame of ours to an uplink. It becomes the callee's. */
	void (*send)(void *arg, uint32_t port, struct rte_mbuf *m);
	/*
	 * A packet that waited for a path which is ready now. It becomes the callee's, who changes
	 * nothing in the underlay from within.
	 */
	void (*ready)(void *arg, struct odp_ul_path *path, struct rte_mbuf *m);
	/* One that waits no longer, in vain. It becomes the callee's. May be NULL. */
	void (*lost)(void *arg, struct rte_mbuf *m);
	/* Interfaces or addresses on a port came, changed or went. May be NULL. */
	void (*changed)(void *arg, uint32_t port);
	unsigned paths_max, neighs_max, routes_max; // 0: 4096, 1024, 1024
	unsigned wait_max; // packets that wait in all; 0: 256
};

/* 0, -EINVAL, -ENOMEM. Time begins at now_ns. */
int odp_ul_create(const struct odp_ul_conf *conf, uint64_t now_ns, struct odp_ul **out);
void odp_ul_destroy(struct odp_ul *ul);

/*
 * The path to `dst`, from `src` when that has a family and else from an address of the interface.
 * Its neighbour is asked for. It stays where it is until as many odp_ul_path_put() as there were
 * gets; then its place may become another path, with another generation. 0, -EINVAL, -ENOSPC.
 */
int odp_ul_path_get(struct odp_ul *ul, const struct odp_ip *dst, const struct odp_ip *src,
	struct odp_ul_path **out);
void odp_ul_path_put(struct odp_ul *ul, struct odp_ul_path *path);

/*
 * Have a packet wait until the path is ready. It becomes ours in any case; of those that wait for
 * one neighbour the oldest gives way. 0, -ENETUNREACH, -EHOSTUNREACH (the neighbour did not answer
 * a short while ago), -ENOBUFS.
 */
int odp_ul_wait(struct odp_ul *ul, struct odp_ul_path *path, struct rte_mbuf *m);

/*
 * A packet that an uplink received. 1: ARP or ND for an interface of ours, done with; 0: something
 * else; -EBADMSG: ARP or ND that is to be dropped. It stays the caller's.
 */
int odp_ul_rx(struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m);

/*
 * A packet for our MAC address that an uplink received. True: it asks an address of ours for an
 * echo, and has been answered unless many have asked or there is no buffer; both are counted.
 * False: something else, or a sum is wrong. It stays the caller's.
 */
bool odp_ul_echo(struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m);

/* There is an interface on this port. */
bool odp_ul_on_port(const struct odp_ul *ul, uint32_t port);
/* The MAC address that we have there; NULL: no such interface. */
const uint8_t *odp_ul_if_mac(const struct odp_ul *ul, uint32_t port, uint16_t vlan);

/* Time passes; about ten times a second. Asks again, gives up, ages. */
void odp_ul_tick(struct odp_ul *ul, uint64_t now_ns);

/* The path MTU to dst became smaller; it is forgotten after ten minutes. See pmtu.h. */
void odp_ul_pmtu_set(struct odp_ul *ul, const struct odp_ip *dst, uint16_t mtu);
/* A path in use that goes from src to dst; NULL: none. */
const struct odp_ul_path *odp_ul_path_find(
	const struct odp_ul *ul, const struct odp_ip *src, const struct odp_ip *dst);
