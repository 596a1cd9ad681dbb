/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rows about tunnels share: a card with an underlay and ends of tunnels, two tenants behind
 * them, and the wire of its uplink in the attacker's hand.
 *
 * Network 5 is the peer's, ATK_PEER, network 6 the other tenant's, ATK_NET; both take packets from
 * one address of the underlay only, TNL_FAR.
 */
#pragma once

#include "ov.h"
#include "wire.h"

#define TNL_WIRE "atk-wire" // the uplink
#define TNL_VX "atk-vx" // ends of tunnels: VXLAN, which takes zero checksums over IPv6 at its
#define TNL_VX_PORT 4789
#define TNL_VZ "atk-vz" // other port
#define TNL_VZ_PORT 4799
#define TNL_GN "atk-gn" // Geneve; one critical option is known
#define TNL_GN_PORT 6081
#define TNL_GN_KNOWN 0x0102u, 0x80u
#define TNL_GRE "atk-gre"
#define TNL_CARD 0xc0000201u // 192.0.2.1, and 2001:db8::1
#define TNL_FAR 0xc0000202u // 192.0.2.2, and 2001:db8::2

#define TNL_NET_A 5u // of the peer
#define TNL_NET_B 6u

extern const uint8_t tnl_card_mac[6], tnl_far_mac[6];

struct tnl {
	struct atk_env *e; // borrowed
	struct atk_pair p; // a: network B, b: network A
	struct wire w;
	uint64_t seq; // of the last honest frame out of a tunnel
	/* Told of each frame that reaches a tenant and is not the honest one; may be NULL. */
	void (*seen)(void *arg, bool is_a, const uint8_t *frame, uint32_t len);
	/* Told of each frame that the card sends; may be NULL. */
	void (*heard)(struct tnl *t, const uint8_t *frame, uint32_t len);
	void *arg; // of whoever set them
	unsigned n_a, n_b; // frames that came to the tenants and are not honest ones
};

/*
 * Run fn with this card and these flows besides. Honest packets of both networks pass before and
 * after. Afterwards nothing of it is left.
 */
int tnl_with(
	struct atk_env *e, const struct ov_policy *flows, unsigned n, int (*fn)(struct tnl *t));
/* All tunnels and nothing in them, so that what is needed once is there. */
int tnl_warm(struct atk_env *e);

/* ---- packets: outer headers, the tunnel's, what is inside, then tnl_done() ---- */

struct tnl_outer {
	bool v6;
	bool gre; // else UDP
	bool no_sum; // 0 for UDP's
	uint16_t dport;
	uint32_t src, dst; // IPv4, and the last bytes of IPv6; 0: TNL_FAR and TNL_CARD
};

/* 2001:db8:: with these last bytes. */
void tnl_ip6(uint8_t at[16], uint32_t tail);

void tnl_outer(struct pkt *k, const struct tnl_outer *o);
/* Lengths and sums of the outermost headers. */
void tnl_done(struct pkt *k, const struct tnl_outer *o);
/* The IPv4 header's alone. */
void tnl_ip_sum(struct pkt *k);
void tnl_vxlan(struct pkt *k, uint32_t flags, uint32_t vni);
/* A header with room for `words` words of options; they are returned. */
uint8_t *tnl_geneve(struct pkt *k, uint32_t vni, unsigned words);
/* Frames for the tenant of network A, of 60 bytes. */
void tnl_inner(struct pkt *k);
/* A whole packet as an honest sender makes it. */
void tnl_honest(struct pkt *k, const struct tnl_outer *o, uint32_t vni);

/* ---- sending ---- */

int tnl_send(struct tnl *t, const struct pkt *k);
/* Take what the card has sent. */
void tnl_hear(struct tnl *t);
/* Honest packets of both networks arrive behind what was sent. */
int tnl_marker(struct tnl *t);
/*
 * All n packets are sent, `want` frames reach network A and none network B, and exactly as many as
 * are lost are counted at `port` for `reason`, and nowhere else among tunnels and uplink.
 */
int tnl_expect(struct tnl *t, const char *what, unsigned want, const char *port, const char *reason,
	void (*make)(struct pkt *k, unsigned i), unsigned n);
/* Drops of a port for a reason; of all its reasons. */
unsigned long tnl_drops(struct atk_env *e, const char *port, const char *reason);
unsigned long tnl_all_drops(struct atk_env *e, const char *port);
