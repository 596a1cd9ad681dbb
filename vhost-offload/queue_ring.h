/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two ring layouts and the bursts share: loads and stores of shared ring fields,
 * each done once, and the operations of a layout.
 */
#pragma once

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

#define VHO_CHAIN_MIN_LIMIT 1024 // descriptors accepted in a chain whatever the ring's size
#define VHO_CHAIN_BYTES_MAX UINT32_MAX

/* A push that waits until those popped before it have been pushed (IN_ORDER). */
struct vho_held {
	struct vho_elem elem;
	uint32_t written;
	bool waiting;
};

/* Pairs with the driver's release of the same field. */
static inline uint16_t vho_load_acquire16(const volatile uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static inline uint16_t vho_load16(const volatile uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

/* Pairs with the driver's acquire of the same field. */
static inline void vho_store_release16(volatile uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

static inline void vho_store16(volatile uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

/* Half a descriptor. Nothing says that an indirect table is aligned, and drivers need not. */
typedef uint64_t __attribute__((may_alias, aligned(1))) vho_half_desc;

static inline struct vring_desc vho_load_desc(const volatile void *at)
{
	const volatile vho_half_desc *half = at;
	uint64_t addr = le64toh(half[0]), rest = le64toh(half[1]);

	return (struct vring_desc){ addr, (uint32_t)rest, (uint16_t)(rest >> 32),
		(uint16_t)(rest >> 48) };
}

/* An entry of a packed ring's indirect table. */
static inline struct vring_packed_desc vho_load_ptable(const volatile void *at)
{
	const volatile vho_half_desc *half = at;
	uint64_t addr = le64toh(half[0]), rest = le64toh(half[1]);

	return (struct vring_packed_desc){ addr, (uint32_t)rest, (uint16_t)(rest >> 32),
		(uint16_t)(rest >> 48) };
}

/* All but the flags, which the caller has loaded with acquire. */
static inline struct vring_packed_desc vho_load_pdesc(
	const volatile struct vring_packed_desc *d, uint16_t flags)
{
	struct vring_packed_desc v = {
		.addr = le64toh(d->addr),
		.len = le32toh(d->len),
		.id = le16toh(d->id),
		.flags = flags,
	};

	return v;
}

static inline bool vho_packed_avail(uint16_t flags, bool wrap)
{
	bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	bool used = flags >> VRING_PACKED_DESC_F_USED & 1;

	return avail == wrap && used != wrap;
}

#define VHO_PACKED_USED_BITS \
	((uint16_t)(1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED))

static inline uint16_t vho_packed_used_flags(bool wrap, bool written)
{
	return (uint16_t)((wrap ? VHO_PACKED_USED_BITS : 0) | (written ? VRING_DESC_F_WRITE : 0));
}

/* Move a packed position on by n slots, n <= size. */
static inline void vho_packed_advance(uint32_t size, uint16_t *idx, bool *wrap, uint32_t n)
{
	uint32_t at = *idx + n;

	if (at >= size) {
		at -= size;
		*wrap = !*wrap;
	}
	*idx = (uint16_t)at;
}

static inline bool vho_queue_faulted(const struct vho_queue *q)
{
	return atomic_load_explicit(&q->mem->faulted, memory_order_relaxed);
}

/* ---- bursts ---- */

#define VHO_LINE 64u // bytes that move between cores together
#define VHO_SHAPE (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE)

/* Two or three fields of a ring in one access. A used element is aligned to 4 bytes only. */
typedef uint64_t __attribute__((may_alias)) vho_word;
typedef uint64_t __attribute__((may_alias, aligned(4))) vho_used_word;

/* Fetch a line to write to it: one transfer between cores instead of one to read, one to own. */
static inline void vho_prefetch_write(const volatile void *p)
{
#ifdef __x86_64__
	// The compiler emits this only when told that every CPU has it; else it is a nop.
	__asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *)p));
#else
	__builtin_prefetch((const void *)(uintptr_t)p, 1);
#endif
}

/* The descriptor of a table, and nothing besides. */
static inline bool vho_is_indirect(uint16_t flags)
{
	return (flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) == VRING_DESC_F_INDIRECT;
}

/* Split: write one used element, in one access. */
static inline void vho_used_at(volatile void *to, uint16_t id, uint32_t written)
{
	*(volatile vho_used_word *)to = htole64(id | (uint64_t)written << 32);
}

/* Packed: the same. */
static inline void vho_pdesc_write(volatile struct vring_packed_desc *d, uint16_t flags,
	uint16_t id, uint32_t written, int order)
{
	uint64_t word = written | (uint64_t)id << 32 | (uint64_t)flags << 48;

	__atomic_store_n((volatile vho_word *)(volatile void *)&d->len, htole64(word), order);
}

static inline void vho_pdesc_use(
	const struct vho_queue *q, uint16_t at, bool wrap, uint16_t id, uint32_t written, int order)
{
	vho_pdesc_write(
		&q->pdesc[at], vho_packed_used_flags(wrap, written > 0), id, written, order);
}

/* ---- queue.c: building a chain ---- */

/* Add one buffer to c. 0, or what vho_queue_fail() returned. */
int vho_chain_add(
	struct vho_queue *q, struct vho_chain *c, uint64_t addr, uint32_t len, uint16_t flags);

/*
 * The table of *n descriptors that an indirect one points at. 0, or what vho_queue_fail() returned.
 */
int vho_chain_table(struct vho_queue *q, uint64_t addr, uint32_t len, uint32_t *n, void **table);

/* ---- the layouts ---- */

int vho_split_setup(struct vho_queue *q, const struct vho_queue_conf *conf);
int vho_split_pop(struct vho_queue *q, struct vho_chain *c);
void vho_split_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written);
void vho_split_publish(struct vho_queue *q);
bool vho_split_call_wanted(struct vho_queue *q); // false also when nothing is new
bool vho_split_ready(struct vho_queue *q);
void vho_split_kicks(struct vho_queue *q, bool wanted);

int vho_packed_setup(struct vho_queue *q, const struct vho_queue_conf *conf);
int vho_packed_pop(struct vho_queue *q, struct vho_chain *c);
void vho_packed_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written);
void vho_packed_publish(struct vho_queue *q);
bool vho_packed_call_wanted(struct vho_queue *q);
bool vho_packed_ready(struct vho_queue *q);
void vho_packed_kicks(struct vho_queue *q, bool wanted);
