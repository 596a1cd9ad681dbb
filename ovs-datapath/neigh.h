/* SPDX-License-Identifier: Apache-2.0 */
/* What underlay.c and neigh.c share. */
#pragma once

#include "limit.h"
#include "underlay.h"

#define ODP_UL_IFS 64u
#define ODP_UL_ADDRS 128u
#define ODP_UL_BUCKETS 256u
#define ODP_UL_WAIT 8u // packets that wait for one neighbour

enum odp_neigh_state {
	ODP_NEIGH_NONE, // a free place
	ODP_NEIGH_INCOMPLETE,
	ODP_NEIGH_REACHABLE,
	ODP_NEIGH_STALE,
	ODP_NEIGH_PROBE,
	ODP_NEIGH_FAILED,
	ODP_NEIGH_STATES
};

/* What workers know of an address on a port and in a VLAN: underlay_gate.h. */
enum odp_ul_mark {
	ODP_UL_OURS,
	ODP_UL_OUR_MAC,
	ODP_UL_NEEDED, // of a neighbour that there is
	ODP_UL_ASKED, // it has been asked for
	ODP_UL_CONFIRMS, // asked whether it still has the MAC address that we know
	ODP_UL_MARKS
};

#define ODP_UL_SLOTS 32768u

/* Written by the control thread, read by workers: relaxed. */
struct odp_ul_marks {
	_Atomic uint16_t n[ODP_UL_MARKS][ODP_UL_SLOTS];
};

struct odp_ul_if {
	bool used;
	uint32_t port;
	uint16_t vlan, mtu;
	uint8_t mac[6];
};

struct odp_ul_addr {
	struct odp_ip ip; // family 0: a free place
	unsigned prefix_len;
	unsigned iface;
};

struct odp_neigh {
	enum odp_neigh_state state;
	bool is_static;
	unsigned refs; // paths
	unsigned iface;
	struct odp_ip ip;
	uint8_t mac[6];
	uint32_t mark_hash; // of where it was when it came
	uint8_t marks; // that it has: bits
	unsigned tries; // since the state was entered
	uint64_t timer_ns; // the state's: ask again, age, may be asked anew
	uint64_t changed_ns; // when mac last became another
	unsigned n_waiting;
	struct rte_mbuf *waiting[ODP_UL_WAIT]; // owned; the oldest first
	struct odp_ul_path *waits_for[ODP_UL_WAIT]; // borrowed: of this underlay
};

struct odp_ul {
	struct odp_ul_conf conf;
	uint64_t now_ns;
	struct odp_ul_if ifs[ODP_UL_IFS];
	struct odp_ul_addr addrs[ODP_UL_ADDRS];
	struct odp_ul_route *routes; // owned; the longest prefixes first
	unsigned n_routes;
	struct odp_neigh *neighs; // owned
	struct odp_ul_path *paths; // owned
	uint16_t buckets[ODP_UL_BUCKETS]; // of paths, index + 1
	uint16_t free_path;
	struct odp_limit answers[2]; // to strangers, to neighbours
	struct odp_limit echoes;
	struct odp_ul_marks marks; // read by workers
	struct odp_ul_stats stats;
};

/* ---- neigh.c ---- */

/* The neighbour, new if need be, and one reference to it: index + 1; 0: no place left. */
uint16_t odp_neigh_get(struct odp_ul *ul, unsigned iface, const struct odp_ip *ip);
void odp_neigh_put(struct odp_ul *ul, uint16_t neigh);
struct odp_neigh *odp_neigh_find(struct odp_ul *ul, unsigned iface, const struct odp_ip *ip);
/* A packet wants to go there. */
void odp_neigh_use(struct odp_ul *ul, struct odp_neigh *n);
/* One packet less waits, in vain. */
void odp_neigh_lost(struct odp_ul *ul, struct rte_mbuf *m);
/* Give up what waits for it, or for one path only (NULL: all). */
void odp_neigh_drop_waiting(struct odp_ul *ul, struct odp_neigh *n, const struct odp_ul_path *path);
void odp_neigh_tick(struct odp_ul *ul, struct odp_neigh *n);
/* Its state is another one: workers are told. */
void odp_neigh_mark(struct odp_ul *ul, struct odp_neigh *n);
const char *odp_neigh_state_name(enum odp_neigh_state s);

/* ---- messages: any thread ---- */

#define ODP_ARP_LEN 28u
#define ODP_ARP_REQUEST 1u
#define ODP_ARP_REPLY 2u
#define ODP_ND_NS 135u
#define ODP_ND_NA 136u
#define ODP_ND_LEN 24u
#define ODP_NA_SOLICITED 0x40u
#define ODP_NA_OVERRIDE 0x20u

bool odp_mac_is_unicast(const uint8_t *mac);
/* ARP of ODP_ARP_LEN bytes, for Ethernet and IPv4, from whom the frame is from. */
bool odp_arp_is_sound(const uint8_t *arp, const uint8_t *eth);
/* NS or NA of len >= ODP_ND_LEN bytes: what RFC 4861, section 7.1 asks for, but for its options. */
bool odp_nd_is_sound(const uint8_t *eth, const uint8_t *ip, const uint8_t *nd, uint32_t len);

/* ---- underlay_gate.c ---- */

/* What the marks of an address of n <= 16 bytes are under. Any thread. */
uint32_t odp_ul_mark_hash(
	const struct odp_ul *ul, uint32_t port, uint16_t vlan, const void *a, size_t n);
void odp_ul_mark(struct odp_ul *ul, enum odp_ul_mark mark, uint32_t hash, int by);

/* ---- underlay.c ---- */

/* The neighbour's state or address changed: look at the paths over it. */
void odp_ul_neigh_changed(struct odp_ul *ul, const struct odp_neigh *n);
/* The address to speak from to a neighbour; NULL: none of its family. */
const struct odp_ip *odp_ul_src_for(
	const struct odp_ul *ul, unsigned iface, const struct odp_ip *to);
/* One that a host may have, all bits of it in place. */
bool odp_ip_is_unicast(const struct odp_ip *ip);
/* Nobody outside can foresee it. */
static inline uint32_t odp_ul_hash(const struct odp_ul *ul, const struct odp_ip *ip)
{
	uint64_t w[3] = { ip->family };

	memcpy(w + 1, ip->a, sizeof(ip->a));
	return odp_words_hash(&ul->conf.seed, w, 3);
}
/* The interface has this address. */
bool odp_ul_if_has(const struct odp_ul *ul, unsigned iface, const struct odp_ip *ip);
