/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnel ports and what they stand on: the demultiplexer of what comes in and the underlay. All of
 * it is the control thread's but for what a port's struct odp_vport says, which never changes.
 */
#pragma once

#include <netinet/in.h>

#include "dp.h"
#include "inet.h"
#include "tnl.h"
#include "underlay.h"

/* The tunnel's part of a port. Fixed once added; any worker. */
struct odp_vport {
	struct odp_tnl_vport end;
	struct odp_ip local; // family 0: any
};

struct odp_tnls {
	struct odp *dp; // borrowed
	struct odp_ul *ul; // owned
	struct odp_tnl_demux *demux; // owned
	struct odp_tnl_dests *dests; // owned; workers read it: tnl_dest.h
};

/* 0, -ENOMEM. */
int odp_tnls_create(struct odp *dp, struct odp_tnls **out);
void odp_tnls_destroy(struct odp_tnls *t);
/* A port of any kind goes; nobody finds it any more. */
void odp_tnls_port_deleted(struct odp *dp, const struct odp_port *port);
void odp_tnls_tick(struct odp *dp, uint64_t now_ns);

/* ---- underlay_port.c ---- */

/* The underlay, over the ports of this datapath. 0, -ENOMEM. */
int odp_ul_over_ports(struct odp *dp, struct odp_ul **out);
/* What neighbours say to each other may be among these: ARP, and ICMPv6 of any kind. */
static inline bool odp_ul_is_neighbours(const struct odp_key *key)
{
	uint16_t type = dpu_be16_get(key->eth_type);

	return type == ODP_ETH_ARP || (type == ODP_ETH_IPV6 && key->ip_proto == IPPROTO_ICMPV6);
}

/* Its interfaces on a port go. */
void odp_ul_port_deleted(struct odp_ul *ul, uint32_t port);

enum odp_ul_miss {
	ODP_UL_PASS, // not for the underlay, or not for it alone
	ODP_UL_FLOW, // there is a flow for it now
	ODP_UL_DONE, // it was ours, and is gone
};

/*
 * A packet from a port for which there is no flow, as `key` says. It stays the caller's unless it
 * is DONE. Control thread.
 */
enum odp_ul_miss odp_ul_miss(
	struct odp *dp, struct odp_port *port, const struct odp_key *key, struct rte_mbuf *m);
