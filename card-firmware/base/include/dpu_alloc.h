/* SPDX-License-Identifier: Apache-2.0 */
/* Zeroed allocation with a countdown that lets a test fail the k-th call. */
#pragma once

#include <stddef.h>

/*
 * n objects of `size` bytes, zeroed; NULL when memory or the countdown ran out. Free with free().
 */
void *dpu_calloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2)));

/* The same, aligned to `align` (a power of two, at least sizeof(void *)). */
void *dpu_aligned_calloc(size_t align, size_t n, size_t size) __attribute__((malloc));

/*
 * The same for tables of many megabytes that are needed piece by piece: nothing of it is touched
 * here, the kernel has zeroed what is touched later. It lies on huge pages where it fills any and
 * there are any, else at the start of a cache line. *mem is what free() takes.
 */
void *dpu_huge_calloc(size_t n, size_t size, void **mem);

/* Tests only: the (k+1)-th allocation from now fails, once. A negative k turns it off. */
void dpu_alloc_fail_after(long k);
