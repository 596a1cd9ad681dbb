// SPDX-License-Identifier: Apache-2.0
/* Zeroed allocation that a test can make fail. */
#include "dpu_alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)
#define LARGE (2 * HUGE_PAGE)
#define CACHE_LINE 64u

static _Atomic long countdown = -1;

static bool must_fail(void)
{
	if (atomic_load_explicit(&countdown, memory_order_relaxed) < 0)
		return false;
	return atomic_fetch_sub_explicit(&countdown, 1, memory_order_relaxed) == 0;
}

void *dpu_calloc(size_t n, size_t size)
{
	return must_fail() ? NULL : calloc(n, size);
}

void *dpu_aligned_calloc(size_t align, size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (must_fail() || __builtin_mul_overflow(n, size, &bytes))
		return NULL;
	if (bytes >= LARGE && align < HUGE_PAGE)
		align = HUGE_PAGE;
	if (posix_memalign(&p, align, bytes) != 0)
		return NULL;
	if (bytes >= LARGE) // tables that are hit at random; they are touched whole in any case
		(void)madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	memset(p, 0, bytes);
	return p;
}

void *dpu_huge_calloc(size_t n, size_t size, void **mem)
{
	size_t bytes, align, with;
	uintptr_t at;

	*mem = NULL;
	if (must_fail() || __builtin_mul_overflow(n, size, &bytes))
		return NULL;
	align = bytes >= HUGE_PAGE ? HUGE_PAGE : CACHE_LINE;
	if (__builtin_add_overflow(bytes, align, &with))
		return NULL;
	*mem = calloc(1, with);
	if (!*mem)
		return NULL;
	at = ((uintptr_t)*mem + align - 1) & ~(uintptr_t)(align - 1);
	if (align == HUGE_PAGE)
		(void)madvise((void *)at, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return (void *)at;
}

void dpu_alloc_fail_after(long k)
{
	atomic_store_explicit(&countdown, k, memory_order_relaxed);
}
