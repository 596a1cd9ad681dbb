/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnel ports and what they stand on: the demultiplexer of what comes in and the underlay. All of
 * it is the control thread's but for what a port's struct odp_vport says, which never changes.
 */
#pragma once

#include "dp.h"
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
};

/* 0, -ENOMEM. */
int odp_tnls_create(struct odp *dp, struct odp_tnls **out);
void odp_tnls_destroy(struct odp_tnls *t);
/* A port of any kind goes; nobody finds it any more. */
void odp_tnls_port_deleted(struct odp *dp, const struct odp_port *port);

/* ---- underlay_port.c ---- */

/* The underlay, over the ports of this datapath. 0, -ENOMEM. */
int odp_ul_over_ports(struct odp *dp, struct odp_ul **out);
/* Its interfaces on a port go. */
void odp_ul_port_deleted(struct odp_ul *ul, uint32_t port);
