/* SPDX-License-Identifier: Apache-2.0 */
/* Packet buffers for tests: DPDK without huge pages, devices or files. */
#pragma once

#include <stdlib.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

static struct rte_mempool *mbuf_pool;

static inline int mbuf_env_start(void **state)
{
	char *args[] = { (char[]){ "test" }, (char[]){ "--no-huge" }, (char[]){ "--no-pci" },
		(char[]){ "-m" }, (char[]){ "64" }, (char[]){ "--no-shconf" },
		(char[]){ "--no-telemetry" }, (char[]){ "-l" }, (char[]){ "0" },
		(char[]){ "--log-level" }, (char[]){ "error" } };

	(void)state;
	if (rte_eal_init((int)(sizeof(args) / sizeof(args[0])), args) < 0)
		return -1;
	mbuf_pool = rte_pktmbuf_pool_create("test", 2047, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	return mbuf_pool ? 0 : -1;
}
