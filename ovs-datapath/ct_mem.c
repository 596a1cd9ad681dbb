// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of the table: hundreds of megabytes, whose pages take the kernel most of a second. They
 * are there as addresses at once; a thread of lowest priority has the kernel fill them in behind
 * that, without looking at what they hold. A worker that comes to a page before takes the fault.
 */
#include "ct_priv.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_alloc.h"

#define AT_ONCE (4u << 20) // bytes that are not worth a thread
#define STEP (2u << 20) // bytes between two looks whether the table is still wanted

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

int odp_ct_mem_get(struct ct_mem *m, size_t n, size_t size, void **out)
{
	// A new connection touches a dozen lines that have nothing to do with one another: with
	// small pages each needs a walk through page tables that are larger than the caches
	*out = dpu_huge_calloc(n, size, &m->mem);
	m->at = (uintptr_t)*out;
	m->size = *out ? n * size : 0;
	return *out ? 0 : -ENOMEM;
}

void odp_ct_mem_put(struct ct_mem *m)
{
	free(m->mem);
	m->mem = NULL;
}

/* An older kernel does not know how: pages come when they are touched. */
static void fill(struct odp_ct *ct, const struct ct_mem *m)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = (m->at + page - 1) & ~(page - 1);
	uintptr_t end = (m->at + m->size) & ~(page - 1);

	while (at < end && !atomic_load_explicit(&ct->fill_stop, memory_order_relaxed)) {
		size_t n = end - at < STEP ? end - at : STEP;

		if (madvise((void *)at, n, MADV_POPULATE_WRITE))
			return;
		at += n;
	}
}

static void *fill_all(void *arg)
{
	struct odp_ct *ct = arg;

	fill(ct, &ct->bucket_mem);
	fill(ct, &ct->conn_mem);
	return NULL;
}

static void *fill_behind(void *arg)
{
	const struct sched_param none = { 0 };

	(void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
	return fill_all(arg);
}

void odp_ct_mem_fill(struct odp_ct *ct)
{
	ct->fills = ct->bucket_mem.size + ct->conn_mem.size > AT_ONCE &&
		    pthread_create(&ct->filler, NULL, fill_behind, ct) == 0;
	if (!ct->fills)
		(void)fill_all(ct);
}

void odp_ct_mem_fill_end(struct odp_ct *ct)
{
	if (!ct->fills)
		return;
	atomic_store_explicit(&ct->fill_stop, true, memory_order_relaxed);
	pthread_join(ct->filler, NULL);
	ct->fills = false;
}
