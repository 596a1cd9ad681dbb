/* SPDX-License-Identifier: Apache-2.0 */
/* Which NUMA node a network device is at. Control thread. */
#pragma once

#include <sys/socket.h>

/*
 * The node of the device that has this address, or of the first one below it (a bond, a VLAN). -1:
 * not known, as on a machine with one node, or for loopback.
 */
int nof_numa_of_addr(const struct sockaddr *addr);
/* The same for a device's name; sys is /sys/class/net, or what stands for it in tests. */
int nof_numa_of_netdev(const char *sys, const char *ifname);
