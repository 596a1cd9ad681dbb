// SPDX-License-Identifier: Apache-2.0
/*
 * How long one cache line takes from one CPU to another: two pinned threads hand a word back and
 * forth. Prints nanoseconds for one way.
 *
 *   core_ping CPU CPU
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WARM_UP 50000u
#define TURNS 150000u

static _Alignas(128) _Atomic uint32_t word;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("core_ping: sched_setaffinity");
		exit(1);
	}
}

static void wait_for(uint32_t v)
{
	while (atomic_load_explicit(&word, memory_order_acquire) != v)
		;
}

static void *other(void *arg)
{
	pin(*(int *)arg);
	for (uint32_t i = 0; i < WARM_UP + TURNS; i++) {
		wait_for(2 * i + 1);
		atomic_store_explicit(&word, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	int cpu = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1;
	double start = 0;
	pthread_t t;

	pin(argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0);
	if (pthread_create(&t, NULL, other, &cpu))
		return 1;
	for (uint32_t i = 0; i < WARM_UP + TURNS; i++) {
		if (i == WARM_UP)
			start = now_ns();
		atomic_store_explicit(&word, 2 * i + 1, memory_order_release);
		wait_for(2 * i + 2);
	}
	printf("%.1f\n", (now_ns() - start) / (2.0 * TURNS));
	return pthread_join(t, NULL) != 0;
}
