/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The underlay as operators see it: interfaces on uplinks with addresses of our own, routes and
 * neighbours. It carries what tunnels send (odp_tnl.h). Each datapath has one, odp_underlay().
 * Everything here is the control thread's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct odp_ul;

/* An address. IPv4 in the first 4 bytes, the rest zero. */
struct odp_ip {
	uint8_t family; // 4, 6; 0: none
	uint8_t a[16];
};

static inline bool odp_ip_eq(const struct odp_ip *a, const struct odp_ip *b)
{
	return a->family == b->family && memcmp(a->a, b->a, sizeof(a->a)) == 0;
}

/* What is counted, and what there is now. X(name, text for the operator) */
#define ODP_UL_COUNTERS(X)                                                       \
	X(bad, "ARP and ND messages that contradict themselves")                 \
	X(unknown, "ARP and ND messages of neighbours that no tunnel needs")     \
	X(conflicts, "ARP and ND messages that claim an address of the card")    \
	X(too_fast, "Changes of a neighbour's address too soon after the last")  \
	X(answered, "Requests for an address of the card answered")              \
	X(unanswered, "Requests for an address of the card over the limit")      \
	X(echoes, "Echo requests answered")                                      \
	X(echo_limited, "Echo requests over the limit")                          \
	X(no_mbuf, "Questions and answers for which there was no packet buffer") \
	X(wait_dropped, "Packets dropped while they waited for a neighbour")
#define ODP_UL_GAUGES(X)                                \
	X(waiting, "Packets that wait for a neighbour") \
	X(neighbours, "Neighbours known or asked for")  \
	X(paths, "Destinations that tunnels send to")

struct odp_ul_stats {
#define X(name, text) uint64_t name;
	ODP_UL_COUNTERS(X)
	ODP_UL_GAUGES(X)
#undef X
};
void odp_ul_stats(const struct odp_ul *ul, struct odp_ul_stats *out);

/*
 * An interface: an uplink, or a VLAN on it (TCI with 0x1000 set, 0: untagged), with the MAC address
 * that we have there. Setting one that is there changes it. It goes with its port. 0, -EINVAL,
 * -ENOSPC.
 */
int odp_ul_if_set(
	struct odp_ul *ul, uint32_t port, uint16_t vlan, const uint8_t mac[6], uint16_t mtu);
/* With its addresses, routes and neighbours. -ENOENT. */
int odp_ul_if_del(struct odp_ul *ul, uint32_t port, uint16_t vlan);

struct odp_ul_if_info {
	uint32_t port;
	uint16_t vlan, mtu;
	uint8_t mac[6];
};
/* No interface: nothing that time could change. */
bool odp_ul_is_idle(const struct odp_ul *ul);
void odp_ul_if_foreach(
	const struct odp_ul *ul, void (*fn)(const struct odp_ul_if_info *i, void *arg), void *arg);

/*
 * An address of ours on an interface, and with it the route to its network. 0, -EINVAL (not a
 * unicast address, prefix too long), -ENODEV, -EEXIST, -ENOSPC; -ENOENT.
 */
int odp_ul_addr_add(struct odp_ul *ul, uint32_t port, uint16_t vlan, const struct odp_ip *ip,
	unsigned prefix_len);
int odp_ul_addr_del(struct odp_ul *ul, const struct odp_ip *ip);
/* One of ours, on any interface. */
bool odp_ul_addr_is_ours(const struct odp_ul *ul, const struct odp_ip *ip);

struct odp_ul_addr_info {
	struct odp_ip ip;
	unsigned prefix_len;
	uint32_t port;
	uint16_t vlan;
};
void odp_ul_addr_foreach(const struct odp_ul *ul,
	void (*fn)(const struct odp_ul_addr_info *a, void *arg), void *arg);

struct odp_ul_route {
	struct odp_ip net; // bits behind the prefix are zero
	unsigned prefix_len;
	struct odp_ip gw; // family 0: on link
	uint32_t port;
	uint16_t vlan;
	bool connected; // came with an address
};

/* The longest prefix wins. 0, -EINVAL (bits behind the prefix), -ENODEV, -EEXIST, -ENOSPC. */
int odp_ul_route_add(struct odp_ul *ul, const struct odp_ul_route *route);
/* -ENOENT; a connected route goes with its address only: -EBUSY. */
int odp_ul_route_del(struct odp_ul *ul, const struct odp_ip *net, unsigned prefix_len);
void odp_ul_route_foreach(
	const struct odp_ul *ul, void (*fn)(const struct odp_ul_route *r, void *arg), void *arg);

struct odp_ul_neigh_info {
	struct odp_ip ip;
	uint32_t port;
	uint16_t vlan;
	uint8_t mac[6];
	const char *state;
	bool is_static;
};
/* A static neighbour is never asked and never changed. 0, -EINVAL, -ENODEV, -ENOSPC; -ENOENT. */
int odp_ul_neigh_set(struct odp_ul *ul, uint32_t port, uint16_t vlan, const struct odp_ip *ip,
	const uint8_t mac[6]);
int odp_ul_neigh_del(struct odp_ul *ul, const struct odp_ip *ip);
void odp_ul_neigh_foreach(const struct odp_ul *ul,
	void (*fn)(const struct odp_ul_neigh_info *n, void *arg), void *arg);
