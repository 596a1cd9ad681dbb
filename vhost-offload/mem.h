/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest memory map: the only door to guest bytes.
 *
 * A map is built once from the regions a front-end handed over and never changes; a new table makes
 * a new map. Maps are counted: the session holds one reference, and so does every request whose
 * buffers a volume may still touch, so a map outlives the last pointer into it. The mappings behind
 * a map are counted too: a map with one region more or one fewer shares the others with the map it
 * was made from, so adding a region maps that region and nothing else.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHO_MEM_REGIONS_MAX 509

/* One region as VHOST_USER_SET_MEM_TABLE and ADD_MEM_REG carry it. */
struct vho_mem_region {
	uint64_t gpa; // guest physical address, bytes
	uint64_t size; // bytes
	uint64_t uva; // where the front-end maps it: ring addresses arrive as these
	uint64_t mmap_off; // where the region starts inside the fd, bytes
};

/* A file behind mappings, kept open for the process that takes a session over (handover.h). */
struct vho_mem_file {
	_Atomic unsigned refs;
	int fd; // owned
	uint64_t dev, ino; // regions of one file share it
};

/* Most files of one map that are kept open; a session with more cannot be handed over. */
#define VHO_MEM_FILES_MAX 64

/* One mmap(2), shared by every map that has its region. */
struct vho_mem_mapping {
	_Atomic unsigned refs;
	void *base; // owned
	size_t len;
	size_t page; // bytes that the guard replaces at once
	struct vho_mem_file *file; // one reference; NULL: not kept
	uint64_t dev, ino, off; // what was mapped: the file, and where base lies in it
	unsigned repeats; // control thread: vho_mem_again() less vho_mem_forget()
};

struct vho_mem_map_entry {
	uint64_t gpa, size, uva;
	uint8_t *host; // our mapping of the region's first byte
	struct vho_mem_mapping *mapping; // one reference
};

struct vho_mem {
	unsigned n;
	_Atomic unsigned refs;
	_Atomic bool faulted; // SIGBUS was taken inside it: the front-end cut its file short
	uint64_t mapped; // bytes of all its mappings
	struct vho_mem_map_entry r[]; // sorted by gpa, no two overlap in gpa or in uva
};

/*
 * Most bytes that the mappings of one map may have together. A front-end needs no memory to make a
 * file large: without a bound one of them uses up the 128 TiB that a process can address, and no
 * other tenant's memory can be mapped any more. The default leaves room for every usual guest, and
 * 32 functions that use all of theirs take half of the address space.
 */
#define VHO_MEM_BYTES_DEFAULT (2ULL << 40)
void vho_mem_limit_set(uint64_t bytes); // control thread, before the first map

/*
 * Map regions. fds[i] belongs to regions[i] and stays the caller's; a duplicate is kept for
 * each file.
 *
 * Returns 0 with a map that holds one reference, or
 *   -EINVAL  n is 0 or above VHO_MEM_REGIONS_MAX; size 0; gpa, uva or offset wraps; two regions
 *            overlap in gpa or uva; fd is not a file long enough for offset + size, or one whose
 *            pages may have to come from another process (FUSE and its like)
 *   -EFBIG   together they are larger than the limit
 *   -ENOMEM, or the errno of fstat(2), mmap(2)
 *
 * Control thread. Spec: vhost-user, "Memory region description".
 */
int vho_mem_create(
	const struct vho_mem_region *regions, const int *fds, unsigned n, struct vho_mem **out);

/*
 * A new map with one region more (mem may be NULL), or one fewer (gpa, uva and size must match, or
 * else -ENOENT; NULL when it was the last). Errors as above.
 */
int vho_mem_with(
	const struct vho_mem *mem, const struct vho_mem_region *add, int fd, struct vho_mem **out);
int vho_mem_without(
	const struct vho_mem *mem, const struct vho_mem_region *del, struct vho_mem **out);

/*
 * QEMU 7.2 has a device for each queue pair of a NIC, and each of them adds and removes the same
 * regions. again: the region is there already, from the same place of the same file, and is told of
 * once more. forget: it was told of more than once, and is there still. False: it is not so.
 * Control thread.
 */
bool vho_mem_again(const struct vho_mem *mem, const struct vho_mem_region *add, int fd);
bool vho_mem_forget(const struct vho_mem *mem, const struct vho_mem_region *del);

/* Any thread. The last put unmaps. vho_mem_put(NULL) does nothing. */
struct vho_mem *vho_mem_get(struct vho_mem *mem);
void vho_mem_put(struct vho_mem *mem);

/*
 * Pointer to [gpa, gpa + len), which must lie in one region, or NULL. Checked even when len is 0:
 * the address must then be inside a region. Any thread that holds the map.
 */
void *vho_mem_at(const struct vho_mem *mem, uint64_t gpa, uint64_t len);

/* As above, but *len is cut down to what is left of the region that gpa lies in. */
void *vho_mem_span(const struct vho_mem *mem, uint64_t gpa, uint64_t *len);

/* The region that gpa lies in, or NULL. Any thread that holds the map. */
const struct vho_mem_map_entry *vho_mem_find(const struct vho_mem *mem, uint64_t gpa);

/* vho_mem_at() for callers that remember in *hint (NULL at first) where the last address was. */
static inline void *vho_mem_at_hint(const struct vho_mem *mem,
	const struct vho_mem_map_entry **hint, uint64_t gpa, uint64_t len)
{
	const struct vho_mem_map_entry *e = *hint;

	if (!e || gpa - e->gpa >= e->size) {
		e = vho_mem_find(mem, gpa);
		if (!e)
			return NULL;
		*hint = e;
	}
	if (len > e->size - (gpa - e->gpa))
		return NULL;
	return e->host + (gpa - e->gpa);
}

/*
 * The region of the last address once more, for a burst to hold in registers: an entry behind a
 * pointer would be loaded anew after every store that might have changed it.
 */
struct vho_mem_near {
	const struct vho_mem_map_entry *e; // NULL: none yet
	uint64_t gpa, size; // of *e; size 0: none yet
	uint8_t *host;
};

static inline struct vho_mem_near vho_mem_near(const struct vho_mem_map_entry *e)
{
	if (!e)
		return (struct vho_mem_near){ 0 };
	return (struct vho_mem_near){ e, e->gpa, e->size, e->host };
}

/* vho_mem_at() for such a burst. */
static inline void *vho_mem_at_near(
	const struct vho_mem *mem, struct vho_mem_near *near, uint64_t gpa, uint64_t len)
{
	uint64_t off = gpa - near->gpa, left = near->size - off;

	if (__builtin_expect(off >= near->size, 0)) {
		const struct vho_mem_map_entry *e = vho_mem_find(mem, gpa);

		if (!e)
			return NULL;
		*near = vho_mem_near(e);
		off = gpa - near->gpa;
		left = near->size - off;
	}
	if (__builtin_expect(len > left, 0))
		return NULL;
	return near->host + off;
}

/* The guest physical address that p, a pointer into the map, stands for: 0, or -EFAULT. */
int vho_mem_host_to_gpa(const struct vho_mem *mem, const void *p, uint64_t *gpa);

/* Front-end virtual address of a ring part to guest physical address: 0, or -EFAULT. */
int vho_mem_uva_to_gpa(const struct vho_mem *mem, uint64_t uva, uint64_t len, uint64_t *gpa);

/*
 * The guard, vho_mem_guard_init() in vho_device.h: a SIGBUS handler that answers a fault inside a
 * map by zero pages and `faulted` of every map that has the region, so that a front-end that
 * truncates its memory loses its own session and nothing else. Faults elsewhere go to the previous
 * handler.
 */

/*
 * May a front-end's fd be mapped up to byte `end` and guarded? 0, or -EINVAL: not a file, shorter,
 * of huge pages, which the guard cannot replace singly, or one whose pages may have to come from
 * another process; or the errno of fstat(2), fstatfs(2). Never sleeps on such a file.
 */
int vho_mem_file_check(int fd, uint64_t end);

/*
 * Put another shared mapping (dirty log, inflight region) under the guard: a fault inside
 * [base, base + len) is answered by `page` bytes of zeros, and *faulted becomes true. *faulted must
 * live until vho_mem_guard_del(base), which comes before munmap(2). Returns 0 or -ENOMEM. Any
 * thread.
 */
int vho_mem_guard_add(void *base, size_t len, size_t page, _Atomic bool *faulted);
void vho_mem_guard_del(void *base);
