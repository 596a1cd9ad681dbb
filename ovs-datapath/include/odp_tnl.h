/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnel ports: the ends of VXLAN, Geneve and GRE tunnels. A tunnel port is a port of the datapath
 * without queues. What flows send there leaves through the uplink that the underlay's routes say,
 * to the destination that `set(tunnel(..))` said; what comes in for it is looked up as a packet of
 * that port, with the tunnel's fields in the key.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "odp_port.h"
#include "odp_underlay.h"

/* VXLAN by the group policy draft and by the GPE draft are formats of their own. */
enum odp_tnl_type {
	ODP_TNL_VXLAN,
	ODP_TNL_VXLAN_GBP,
	ODP_TNL_VXLAN_GPE,
	ODP_TNL_GENEVE,
	ODP_TNL_GRE,
	ODP_TNL_TYPES
};

/* A Geneve option's name. */
struct odp_geneve_opt {
	uint16_t class;
	uint8_t type; // with the critical bit, 0x80
};

#define ODP_TNL_KNOWN_MAX 8u

struct odp_tnl_conf {
	const char *name; // copied; unique among ports
	enum odp_tnl_type type;
	struct odp_ip local; // family 0: any address of ours, of either family
	uint16_t udp_port; // 0: odp_tnl_udp_port(); GRE: must be 0
	bool zero_csum6; // UDP over IPv6 without a checksum is taken (RFC 6935, section 5)
	bool take_oam; // Geneve: control packets are taken
	uint8_t n_known;
	struct odp_geneve_opt known[ODP_TNL_KNOWN_MAX]; // critical ones that somebody behind knows
};

/*
 * Add a tunnel port. odp_port_del() removes it, odp_port_stats() counts what goes through it, by
 * the inner packets.
 *
 * Returns 0, or -EINVAL (a type, address or UDP port that cannot be), -EEXIST (the name is taken,
 * or another tunnel port takes the same packets), -ENOSPC, -ENOMEM. Control thread.
 */
int odp_tnl_add(struct odp *dp, const struct odp_tnl_conf *conf, struct odp_port **out);
/* What it was added with, defaults filled in; out->name is the port's. False: no tunnel port. */
bool odp_tnl_info(const struct odp_port *port, struct odp_tnl_conf *out);
/* "vxlan", "vxlan-gbp", "vxlan-gpe", "geneve", "gre": the kind of such a port, too. */
const char *odp_tnl_type_name(enum odp_tnl_type type);
/* The UDP port of a tunnel that is given none; GRE: 0. Any thread. */
uint16_t odp_tnl_udp_port(enum odp_tnl_type type);

/* The datapath's underlay. Never NULL. Control thread. */
struct odp_ul *odp_underlay(struct odp *dp);
/* What neighbours wait for; to be called about ten times a second. Control thread. */
void odp_underlay_tick(struct odp *dp);
