// SPDX-License-Identifier: Apache-2.0
/* Guest memory maps: sorted regions, counted references, and a guard against truncated files. */
#include "mem.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <fcntl.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "vho_device.h"

/*
 * What the SIGBUS handler looks after: maps, and ranges that stand alone. A slot is free while its
 * `key` is 0. A writer claims it with a compare-and-swap to RESERVED, fills the rest and publishes
 * `key`; the handler counts itself, then loads `key`. All of that is sequentially consistent: who
 * has stored a key and then finds no handler knows that the next one will see what was stored. A
 * function has a map, a dirty log and an inflight region, and old maps while requests hold them.
 */
#define GUARD_SLOTS 16384
#define GUARD_RESERVED ((uintptr_t)1)
#define REPEATS_MAX 255u // of one region: a NIC has fewer queue pairs

struct guard_slot {
	_Atomic uintptr_t key; // address of the map, or of the range's first byte
	struct vho_mem *mem; // borrowed: lives until it is taken out; NULL: a range
	size_t len; // of the range
	size_t page; // bytes that one replacement covers
	_Atomic bool *faulted; // borrowed, as mem
};

static struct {
	struct guard_slot slot[GUARD_SLOTS];
	_Atomic unsigned top; // slots at and above were never used
	_Atomic unsigned handlers; // signal handlers that look at slots now
	struct sigaction previous;
} guard;

static uint64_t limit = VHO_MEM_BYTES_DEFAULT;

void vho_mem_limit_set(uint64_t bytes)
{
	limit = bytes;
}

static int guard_put(uintptr_t key, const struct guard_slot *what)
{
	for (unsigned i = 0; i < GUARD_SLOTS; i++) {
		struct guard_slot *s = &guard.slot[i];
		uintptr_t unused = 0;

		if (atomic_load_explicit(&s->key, memory_order_relaxed) != 0 ||
			!atomic_compare_exchange_strong(&s->key, &unused, GUARD_RESERVED))
			continue;
		s->mem = what->mem;
		s->len = what->len;
		s->page = what->page;
		s->faulted = what->faulted;

		unsigned top = atomic_load(&guard.top);

		while (top < i + 1 && !atomic_compare_exchange_weak(&guard.top, &top, i + 1))
			;
		atomic_store(&s->key, key);
		return 0;
	}
	return -ENOMEM;
}

/* After this every handler sees the slots as they are now, and none uses what one held before. */
static void guard_quiesce(void)
{
	while (atomic_load(&guard.handlers) != 0)
		sched_yield();
}

static void guard_take(uintptr_t key)
{
	unsigned top = atomic_load(&guard.top);

	for (unsigned i = 0; i < top; i++) {
		struct guard_slot *s = &guard.slot[i];

		if (atomic_load(&s->key) != key)
			continue;
		atomic_store(&s->key, GUARD_RESERVED);
		guard_quiesce();
		atomic_store(&s->key, 0);
		return;
	}
}

int vho_mem_guard_add(void *base, size_t len, size_t page, _Atomic bool *faulted)
{
	const struct guard_slot s = { .len = len, .page = page, .faulted = faulted };

	return guard_put((uintptr_t)base, &s);
}

void vho_mem_guard_del(void *base)
{
	guard_take((uintptr_t)base);
}

/* Is addr inside what the slot stands for? *base and *page: of the mapping that it lies in. */
static bool guard_covers(
	const struct guard_slot *s, uintptr_t key, uintptr_t addr, uintptr_t *base, size_t *page)
{
	if (!s->mem) {
		*base = key;
		*page = s->page;
		return addr >= key && addr - key < s->len;
	}
	for (unsigned i = 0; i < s->mem->n; i++) {
		const struct vho_mem_mapping *m = s->mem->r[i].mapping;

		*base = (uintptr_t)m->base;
		*page = m->page;
		if (addr >= *base && addr - *base < m->len)
			return true;
	}
	return false;
}

/*
 * Put zero pages over the page that `addr` lies in, when it is ours, and tell everyone who has it.
 * Async-signal-safe.
 */
static bool guard_answer(uintptr_t addr)
{
	unsigned top = atomic_load(&guard.top);
	bool answered = false;

	for (unsigned i = 0; i < top; i++) {
		struct guard_slot *s = &guard.slot[i];
		uintptr_t key = atomic_load(&s->key);
		uintptr_t base;
		size_t page;

		if (key <= GUARD_RESERVED || !guard_covers(s, key, addr, &base, &page))
			continue;
		if (!answered) {
			void *at = (void *)(base + (addr - base) / page * page);

			if (mmap(at, page, PROT_READ | PROT_WRITE,
				    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
				    0) == MAP_FAILED)
				return false;
		}
		answered = true;
		atomic_store(s->mem ? &s->mem->faulted : s->faulted, true);
	}
	return answered;
}

static void on_sigbus(int sig, siginfo_t *info, void *ctx)
{
	int saved = errno;
	bool answered = false;

	atomic_fetch_add(&guard.handlers, 1);
	if (info->si_code > 0) // from the kernel, not from kill(2)
		answered = guard_answer((uintptr_t)info->si_addr);
	atomic_fetch_sub(&guard.handlers, 1);
	errno = saved;
	if (answered)
		return;
	if (guard.previous.sa_flags & SA_SIGINFO)
		guard.previous.sa_sigaction(sig, info, ctx);
	else if (guard.previous.sa_handler != SIG_DFL && guard.previous.sa_handler != SIG_IGN)
		guard.previous.sa_handler(sig);
	else
		// The fault happens again on return and then has its default effect.
		sigaction(sig, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

int vho_mem_guard_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGBUS, NULL, &guard.previous))
		return -errno;
	if (sigaction(SIGBUS, &sa, NULL))
		return -errno;
	return 0;
}

static bool ranges_meet(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

static bool region_ok(const struct vho_mem_region *r)
{
	return r->size != 0 && r->size - 1 <= UINT64_MAX - r->gpa &&
	       r->size - 1 <= UINT64_MAX - r->uva && r->size <= INT64_MAX &&
	       r->mmap_off <= INT64_MAX - r->size;
}

/* Does the region meet one that the map has? */
static bool region_meets(const struct vho_mem *mem, const struct vho_mem_region *r)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct vho_mem_map_entry *e = &mem->r[i];

		if (ranges_meet(r->gpa, r->size, e->gpa, e->size) ||
			ranges_meet(r->uva, r->size, e->uva, e->size))
			return true;
	}
	return false;
}

/*
 * Size and page size of a file that may be mapped: 0, or -EINVAL.
 *
 * A fault in a mapping sleeps until the file system has the page, and a worker must not sleep at
 * the will of a tenant: FUSE asks a process of theirs, a network file system a server. Asking such
 * a file for its size may sleep as well. So the first question is one that never does: only shared
 * memory and hugetlbfs have seals. What else is taken lies on a block device, where
 * AT_STATX_DONT_SYNC answers from memory; file systems without one (FUSE, 9P, NFS, and alas Btrfs
 * and overlays) are not.
 */
static int file_look(int fd, uint64_t *size, size_t *page)
{
	struct statx sx;
	struct statfs fs;
	struct stat st;

	*size = 0;
	*page = (size_t)sysconf(_SC_PAGESIZE);
	if (fcntl(fd, F_GET_SEALS) < 0) {
		if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &sx))
			return -errno;
		*size = sx.stx_size;
		return S_ISREG(sx.stx_mode) && sx.stx_dev_major != 0 ? 0 : -EINVAL;
	}
	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	*size = (uint64_t)st.st_size;
	if (fs.f_type == HUGETLBFS_MAGIC)
		*page = (size_t)st.st_blksize;
	return 0;
}

/* The unit in which fd can be mapped; 0 and *page, or -EINVAL when the region does not fit. */
static int file_page(const struct vho_mem_region *r, int fd, size_t *page)
{
	uint64_t size = 0;
	int ret = file_look(fd, &size, page);

	if (ret < 0)
		return ret;
	if (size < r->mmap_off + r->size)
		return -EINVAL;
	// Part of a huge page belongs to no region
	if (*page > (size_t)sysconf(_SC_PAGESIZE) && (r->mmap_off + r->size) % *page)
		return -EINVAL;
	return 0;
}

int vho_mem_file_check(int fd, uint64_t end)
{
	uint64_t size = 0;
	size_t page;
	int ret = file_look(fd, &size, &page);

	if (ret < 0)
		return ret;
	return size < end || page > (size_t)sysconf(_SC_PAGESIZE) ? -EINVAL : 0;
}

static int map_file(int fd, uint64_t off, uint64_t len, size_t page, struct vho_mem_mapping **out)
{
	struct vho_mem_mapping *m = dpu_calloc(1, sizeof(*m));
	struct stat st;
	int ret;

	if (!m)
		return -ENOMEM;
	if (fstat(fd, &st)) {
		ret = -errno;
		free(m);
		return ret;
	}
	atomic_init(&m->refs, 1);
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->len = len;
	m->page = page;
	m->off = off;
	m->base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
	if (m->base == MAP_FAILED) {
		ret = -errno;
		free(m);
		return ret;
	}
	// A core file of ours must not carry a tenant's memory. Failure costs only that.
	(void)madvise(m->base, len, MADV_DONTDUMP);
	*out = m;
	return 0;
}

static void file_put(struct vho_mem_file *f)
{
	if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	close(f->fd);
	free(f);
}

static void mapping_put(struct vho_mem_mapping *m)
{
	// As in vho_mem_put().
	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	munmap(m->base, m->len);
	file_put(m->file);
	free(m);
}

/* A map that is still being made: room for n regions, no region, not under the guard. */
static struct vho_mem *new_map(unsigned n)
{
	struct vho_mem *mem = dpu_calloc(1, sizeof(*mem) + n * sizeof(mem->r[0]));

	if (mem)
		atomic_init(&mem->refs, 1);
	return mem;
}

static void free_map(struct vho_mem *mem)
{
	for (unsigned i = 0; i < mem->n; i++)
		mapping_put(mem->r[i].mapping);
	free(mem);
}

/*
 * The file that fd is, as the map already has it or kept open from now on. NULL: the map has enough
 * of them, or there is no room for another; only a hand-over misses it.
 */
static struct vho_mem_file *keep_file(const struct vho_mem *mem, int fd)
{
	const struct vho_mem_file *seen[VHO_MEM_FILES_MAX];
	unsigned n = 0, k;
	struct stat st;
	struct vho_mem_file *f;

	if (fstat(fd, &st))
		return NULL;
	for (unsigned i = 0; i < mem->n; i++) {
		f = mem->r[i].mapping->file;
		if (f && f->dev == st.st_dev && f->ino == st.st_ino) {
			atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
			return f;
		}
		for (k = 0; k < n && seen[k] != f; k++)
			;
		if (f && k == n && n < VHO_MEM_FILES_MAX)
			seen[n++] = f;
	}
	f = n < VHO_MEM_FILES_MAX ? dpu_calloc(1, sizeof(*f)) : NULL;
	if (!f)
		return NULL;
	atomic_init(&f->refs, 1);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (f->fd >= 0)
		return f;
	free(f);
	return NULL;
}

static int add_region(struct vho_mem *mem, const struct vho_mem_region *r, int fd)
{
	struct vho_mem_map_entry *e = &mem->r[mem->n];
	size_t page = 1; // set by file_page()
	int ret;

	if (!region_ok(r) || region_meets(mem, r))
		return -EINVAL;
	ret = file_page(r, fd, &page);
	if (ret)
		return ret;

	uint64_t skip = r->mmap_off % page;
	uint64_t len = (skip + r->size + page - 1) / page * page;

	if (len > limit - mem->mapped)
		return -EFBIG;
	ret = map_file(fd, r->mmap_off - skip, len, page, &e->mapping);
	if (ret)
		return ret;
	e->mapping->file = keep_file(mem, fd);
	e->gpa = r->gpa;
	e->size = r->size;
	e->uva = r->uva;
	e->host = (uint8_t *)e->mapping->base + skip;
	mem->mapped += len;
	mem->n++;
	return 0;
}

/* The same region in a map made from the one that has it. */
static void share_region(struct vho_mem *mem, const struct vho_mem_map_entry *e)
{
	atomic_fetch_add_explicit(&e->mapping->refs, 1, memory_order_relaxed);
	mem->r[mem->n++] = *e;
	mem->mapped += e->mapping->len;
}

static int by_gpa(const void *a, const void *b)
{
	const struct vho_mem_map_entry *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

/* The map is complete: put it under the guard. Freed when that fails. */
static int finish_map(struct vho_mem *mem, const struct vho_mem *from, struct vho_mem **out)
{
	const struct guard_slot s = { .mem = mem };
	int ret;

	qsort(mem->r, mem->n, sizeof(mem->r[0]), by_gpa);
	ret = guard_put((uintptr_t)mem, &s);
	if (ret) {
		free_map(mem);
		return ret;
	}
	if (from) {
		// From here on a fault marks both. One that was taken before marked only the old.
		guard_quiesce();
		if (atomic_load(&from->faulted))
			atomic_store(&mem->faulted, true);
	}
	*out = mem;
	return 0;
}

int vho_mem_create(
	const struct vho_mem_region *regions, const int *fds, unsigned n, struct vho_mem **out)
{
	struct vho_mem *mem;
	int ret = 0;

	if (n == 0 || n > VHO_MEM_REGIONS_MAX)
		return -EINVAL;
	mem = new_map(n);
	if (!mem)
		return -ENOMEM;
	for (unsigned i = 0; ret == 0 && i < n; i++)
		ret = add_region(mem, &regions[i], fds[i]);
	if (ret) {
		free_map(mem);
		return ret;
	}
	return finish_map(mem, NULL, out);
}

int vho_mem_with(
	const struct vho_mem *mem, const struct vho_mem_region *add, int fd, struct vho_mem **out)
{
	struct vho_mem *next;
	unsigned n = mem ? mem->n : 0;
	int ret;

	if (n >= VHO_MEM_REGIONS_MAX)
		return -EINVAL;
	next = new_map(n + 1);
	if (!next)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		share_region(next, &mem->r[i]);
	ret = add_region(next, add, fd);
	if (ret) {
		free_map(next);
		return ret;
	}
	return finish_map(next, mem, out);
}

static const struct vho_mem_map_entry *entry_of(
	const struct vho_mem *mem, const struct vho_mem_region *r)
{
	for (unsigned i = 0; mem && i < mem->n; i++) {
		const struct vho_mem_map_entry *e = &mem->r[i];

		if (e->gpa == r->gpa && e->uva == r->uva && e->size == r->size)
			return e;
	}
	return NULL;
}

bool vho_mem_again(const struct vho_mem *mem, const struct vho_mem_region *add, int fd)
{
	const struct vho_mem_map_entry *e = entry_of(mem, add);
	struct vho_mem_mapping *m = e ? e->mapping : NULL;
	struct stat st;

	if (!m || m->off + (uint64_t)(e->host - (uint8_t *)m->base) != add->mmap_off ||
		m->repeats == REPEATS_MAX || fstat(fd, &st) || st.st_dev != m->dev ||
		st.st_ino != m->ino)
		return false;
	m->repeats++;
	return true;
}

bool vho_mem_forget(const struct vho_mem *mem, const struct vho_mem_region *del)
{
	const struct vho_mem_map_entry *e = entry_of(mem, del);

	if (!e || !e->mapping->repeats)
		return false;
	e->mapping->repeats--;
	return true;
}

int vho_mem_without(
	const struct vho_mem *mem, const struct vho_mem_region *del, struct vho_mem **out)
{
	const struct vho_mem_map_entry *gone = entry_of(mem, del);
	struct vho_mem *next;

	if (!gone)
		return -ENOENT;
	if (mem->n == 1) {
		*out = NULL; // the last region went: no memory, as before the first
		return 0;
	}
	next = new_map(mem->n - 1);
	if (!next)
		return -ENOMEM;
	for (unsigned i = 0; i < mem->n; i++)
		if (&mem->r[i] != gone)
			share_region(next, &mem->r[i]);
	return finish_map(next, mem, out);
}

struct vho_mem *vho_mem_get(struct vho_mem *mem)
{
	atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
	return mem;
}

void vho_mem_put(struct vho_mem *mem)
{
	// Release our accesses; acquire everyone's before the last put unmaps.
	if (!mem || atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) != 1)
		return;
	guard_take((uintptr_t)mem);
	free_map(mem);
}

const struct vho_mem_map_entry *vho_mem_find(const struct vho_mem *mem, uint64_t gpa)
{
	unsigned lo = 0, hi = mem->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (mem->r[mid].gpa <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || gpa - mem->r[lo - 1].gpa >= mem->r[lo - 1].size)
		return NULL;
	return &mem->r[lo - 1];
}

void *vho_mem_at(const struct vho_mem *mem, uint64_t gpa, uint64_t len)
{
	const struct vho_mem_map_entry *e = vho_mem_find(mem, gpa);

	if (!e || len > e->size - (gpa - e->gpa))
		return NULL;
	return e->host + (gpa - e->gpa);
}

void *vho_mem_span(const struct vho_mem *mem, uint64_t gpa, uint64_t *len)
{
	const struct vho_mem_map_entry *e = vho_mem_find(mem, gpa);

	if (!e)
		return NULL;
	if (*len > e->size - (gpa - e->gpa))
		*len = e->size - (gpa - e->gpa);
	return e->host + (gpa - e->gpa);
}

int vho_mem_uva_to_gpa(const struct vho_mem *mem, uint64_t uva, uint64_t len, uint64_t *gpa)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct vho_mem_map_entry *e = &mem->r[i];

		if (uva < e->uva || uva - e->uva >= e->size || len > e->size - (uva - e->uva))
			continue;
		*gpa = e->gpa + (uva - e->uva);
		return 0;
	}
	return -EFAULT;
}

int vho_mem_host_to_gpa(const struct vho_mem *mem, const void *p, uint64_t *gpa)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct vho_mem_map_entry *e = &mem->r[i];

		if ((uintptr_t)p < (uintptr_t)e->host ||
			(uintptr_t)p - (uintptr_t)e->host >= e->size)
			continue;
		*gpa = e->gpa + ((uintptr_t)p - (uintptr_t)e->host);
		return 0;
	}
	return -EFAULT;
}
