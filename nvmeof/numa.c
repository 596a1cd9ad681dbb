// SPDX-License-Identifier: Apache-2.0
/* NUMA nodes of network devices, as the kernel tells of them in /sys. */
#include "numa.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BELOW_MAX 4U // devices upon devices

static int node_in(const char *path)
{
	FILE *f = fopen(path, "re");
	int node = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1 || node < 0 || node > INT8_MAX)
		node = -1;
	(void)fclose(f);
	return node;
}

static int look(const char *sys, const char *ifname, unsigned depth)
{
	char path[512];
	const struct dirent *e;
	int node;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%.64s/device/numa_node", sys, ifname);
	node = node_in(path);
	if (node >= 0 || depth == BELOW_MAX)
		return node;
	snprintf(path, sizeof(path), "%s/%.64s", sys, ifname);
	d = opendir(path);
	while (d && node < 0 && (e = readdir(d)) != NULL)
		if (!strncmp(e->d_name, "lower_", 6))
			node = look(sys, e->d_name + 6, depth + 1);
	if (d)
		(void)closedir(d);
	return node;
}

int nof_numa_of_netdev(const char *sys, const char *ifname)
{
	return look(sys, ifname, 0);
}

static bool same_addr(const struct sockaddr *a, const struct sockaddr *b)
{
	if (!b || a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return !memcmp(&((const struct sockaddr_in *)a)->sin_addr,
			&((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr));
	if (a->sa_family == AF_INET6)
		return !memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
			&((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr));
	return false;
}

int nof_numa_of_addr(const struct sockaddr *addr)
{
	struct ifaddrs *list, *i;
	int node = -1;

	if (getifaddrs(&list) < 0)
		return -1;
	for (i = list; i; i = i->ifa_next) {
		if (!same_addr(addr, i->ifa_addr))
			continue;
		node = nof_numa_of_netdev("/sys/class/net", i->ifa_name);
		break;
	}
	freeifaddrs(list);
	return node;
}
