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
 * Mapped ranges as the SIGBUS handler sees them. A slot is free while `base` is 0. A writer claims
 * it with a compare-and-swap to RESERVED, fills the rest and publishes `base` with release; the
 * handler loads `base` with acquire. Taking a range out waits until no handler is looking.
 */
#define GUARD_SLOTS 16384
#define GUARD_RESERVED ((uintptr_t)1)

struct guard_slot {
	_Atomic uintptr_t base;
	size_t len;
	size_t page; // bytes that one replacement covers
	_Atomic bool *faulted; // borrowed: lives until the range is taken out
};

static struct {
	struct guard_slot slot[GUARD_SLOTS];
	_Atomic unsigned top; // slots at and above were never used
	_Atomic unsigned handlers; // signal handlers that look at slots now
	struct sigaction previous;
} guard;

int vho_mem_guard_add(void *base, size_t len, size_t page, _Atomic bool *faulted)
{
	for (unsigned i = 0; i < GUARD_SLOTS; i++) {
		struct guard_slot *s = &guard.slot[i];
		uintptr_t unused = 0;

		if (atomic_load_explicit(&s->base, memory_order_relaxed) != 0 ||
			!atomic_compare_exchange_strong(&s->base, &unused, GUARD_RESERVED))
			continue;
		s->len = len;
		s->page = page;
		s->faulted = faulted;

		unsigned top = atomic_load(&guard.top);

		while (top < i + 1 && !atomic_compare_exchange_weak(&guard.top, &top, i + 1))
			;
		atomic_store_explicit(&s->base, (uintptr_t)base, memory_order_release);
		return 0;
	}
	return -ENOMEM;
}

void vho_mem_guard_del(void *base)
{
	unsigned top = atomic_load(&guard.top);

	for (unsigned i = 0; i < top; i++) {
		struct guard_slot *s = &guard.slot[i];

		if (atomic_load(&s->base) != (uintptr_t)base)
			continue;
		atomic_store(&s->base, GUARD_RESERVED);
		// Pairs with the handler's increment: after this none uses what the slot held.
		while (atomic_load(&guard.handlers) != 0)
			sched_yield();
		atomic_store(&s->base, 0);
		return;
	}
}

/* Put zero pages over the page that `addr` lies in, when it is ours. Async-signal-safe. */
static bool guard_answer(uintptr_t addr)
{
	unsigned top = atomic_load(&guard.top);

	for (unsigned i = 0; i < top; i++) {
		struct guard_slot *s = &guard.slot[i];
		uintptr_t base = atomic_load_explicit(&s->base, memory_order_acquire);

		if (base <= GUARD_RESERVED || addr < base || addr - base >= s->len)
			continue;

		uintptr_t at = base + (addr - base) / s->page * s->page;
		void *p = mmap((void *)at, s->page, PROT_READ | PROT_WRITE,
			MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return false;
		atomic_store(s->faulted, true);
		return true;
	}
	return false;
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

static int check_regions(const struct vho_mem_region *r, unsigned n)
{
	if (n == 0 || n > VHO_MEM_REGIONS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (r[i].size == 0 || r[i].size - 1 > UINT64_MAX - r[i].gpa ||
			r[i].size - 1 > UINT64_MAX - r[i].uva || r[i].size > INT64_MAX ||
			r[i].mmap_off > INT64_MAX - r[i].size)
			return -EINVAL;
		for (unsigned k = 0; k < i; k++)
			if (ranges_meet(r[i].gpa, r[i].size, r[k].gpa, r[k].size) ||
				ranges_meet(r[i].uva, r[i].size, r[k].uva, r[k].size))
				return -EINVAL;
	}
	return 0;
}

/* The unit in which fd can be mapped; 0 and *page, or -EINVAL when the region does not fit. */
static int file_page(const struct vho_mem_region *r, int fd, size_t *page)
{
	size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < r->mmap_off + r->size)
		return -EINVAL;
	if (fstatfs(fd, &fs))
		return -errno;
	if (fs.f_type == HUGETLBFS_MAGIC) {
		unit = (size_t)st.st_blksize;
		if ((r->mmap_off + r->size) % unit)
			return -EINVAL; // part of a huge page belongs to no region
	}
	*page = unit;
	return 0;
}

int vho_mem_file_check(int fd, uint64_t end)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end || fs.f_type == HUGETLBFS_MAGIC)
		return -EINVAL;
	return 0;
}

static int map_region(struct vho_mem *mem, const struct vho_mem_region *r, int fd)
{
	struct vho_mem_map_entry *e = &mem->r[mem->n];
	size_t page = 1; // set by file_page()
	int ret = file_page(r, fd, &page);

	if (ret)
		return ret;

	uint64_t skip = r->mmap_off % page;
	uint64_t len = (skip + r->size + page - 1) / page * page;

	e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (e->fd < 0)
		return -errno;
	e->map_base = mmap(
		NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, (off_t)(r->mmap_off - skip));
	if (e->map_base == MAP_FAILED) {
		ret = -errno;
		goto err_fd;
	}
	ret = vho_mem_guard_add(e->map_base, len, page, &mem->faulted);
	if (ret)
		goto err_map;
	// A core file of ours must not carry a tenant's memory. Failure costs only that.
	(void)madvise(e->map_base, len, MADV_DONTDUMP);
	e->map_len = len;
	e->gpa = r->gpa;
	e->size = r->size;
	e->uva = r->uva;
	e->host = (uint8_t *)e->map_base + skip;
	e->given = *r;
	mem->n++;
	return 0;

err_map:
	munmap(e->map_base, len);
err_fd:
	close(e->fd);
	return ret;
}

static int by_gpa(const void *a, const void *b)
{
	const struct vho_mem_map_entry *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

int vho_mem_create(
	const struct vho_mem_region *regions, const int *fds, unsigned n, struct vho_mem **out)
{
	int ret = check_regions(regions, n);

	if (ret)
		return ret;

	struct vho_mem *mem = dpu_calloc(1, sizeof(*mem) + n * sizeof(mem->r[0]));

	if (!mem)
		return -ENOMEM;
	atomic_store(&mem->refs, 1);
	for (unsigned i = 0; i < n; i++) {
		ret = map_region(mem, &regions[i], fds[i]);
		if (ret) {
			vho_mem_put(mem);
			return ret;
		}
	}
	qsort(mem->r, mem->n, sizeof(mem->r[0]), by_gpa);
	*out = mem;
	return 0;
}

int vho_mem_with(
	const struct vho_mem *mem, const struct vho_mem_region *add, int fd, struct vho_mem **out)
{
	struct vho_mem_region r[VHO_MEM_REGIONS_MAX];
	int fds[VHO_MEM_REGIONS_MAX];
	unsigned n = mem ? mem->n : 0;

	if (n >= VHO_MEM_REGIONS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		r[i] = mem->r[i].given;
		fds[i] = mem->r[i].fd;
	}
	r[n] = *add;
	fds[n] = fd;
	return vho_mem_create(r, fds, n + 1, out);
}

int vho_mem_without(
	const struct vho_mem *mem, const struct vho_mem_region *del, struct vho_mem **out)
{
	struct vho_mem_region r[VHO_MEM_REGIONS_MAX];
	int fds[VHO_MEM_REGIONS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < mem->n; i++) {
		const struct vho_mem_region *g = &mem->r[i].given;

		if (g->gpa == del->gpa && g->uva == del->uva && g->size == del->size)
			continue;
		r[n] = *g;
		fds[n++] = mem->r[i].fd;
	}
	if (n == mem->n)
		return -ENOENT;
	if (n == 0) {
		*out = NULL; // the last region went: no memory, as before the first
		return 0;
	}
	return vho_mem_create(r, fds, n, out);
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
	for (unsigned i = 0; i < mem->n; i++) {
		vho_mem_guard_del(mem->r[i].map_base);
		munmap(mem->r[i].map_base, mem->r[i].map_len);
		close(mem->r[i].fd);
	}
	free(mem);
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
