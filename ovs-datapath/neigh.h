/* SPDX-License-Identifier: Apache-2.0 */
/* What underlay.c and neigh.c share. */
#pragma once

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
	uint64_t answer_until_ns; // this second's answers
	unsigned answers;
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
const char *odp_neigh_state_name(enum odp_neigh_state s);

/* ---- underlay.c ---- */

/* The neighbour's state or address changed: look at the paths over it. */
void odp_ul_neigh_changed(struct odp_ul *ul, const struct odp_neigh *n);
/* The address to speak from to a neighbour; NULL: none of its family. */
const struct odp_ip *odp_ul_src_for(
	const struct odp_ul *ul, unsigned iface, const struct odp_ip *to);
/* The interface has this address. */
bool odp_ul_if_has(const struct odp_ul *ul, unsigned iface, const struct odp_ip *ip);
