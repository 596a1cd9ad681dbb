/* SPDX-License-Identifier: Apache-2.0 */
/* DPDK's environment: which CPUs, which memory, where its log goes. Once per process. */
#pragma once

struct card_options;
struct rte_mempool;

#define CARD_CORES_MAX 127 // EAL numbers 128 lcores, one is the control thread's

/*
 * Parse a list of CPUs, "0-1,3". A CPU may stand there more than once: its workers share it.
 * Returns the number of entries, or -EINVAL: malformed, empty, above 1023, or more than `max`.
 */
int card_cores_parse(const char *text, unsigned *cpu, unsigned max);

/*
 * Start EAL with one lcore per entry of opt->cores (NULL: the last CPU that this process may use)
 * and the control thread on all CPUs. Buses are there but probe nothing on their own: an uplink
 * names its device.
 *
 * Returns the number of workers, or
 *   -EINVAL  opt->cores malformed, or a CPU that this process may not use; an EAL argument refused
 *   -ENOMEM  memory not to be had, or another negative errno of EAL's
 */
int card_eal_start(const struct card_options *opt);
void card_eal_stop(void);

/* The packet pool. 0, or -ENOMEM. */
int card_pool_create(const struct card_options *opt, struct rte_mempool **out);
