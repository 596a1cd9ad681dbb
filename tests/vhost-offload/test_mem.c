// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "dpu_alloc.h"
#include "fake_fuse.h"
#include "vq.h"

#define K4 0x1000ULL

static const struct table_case {
	const char *name;
	unsigned n;
	struct vho_mem_region r[3];
	int ret;
} tables[] = {
	{ "one region", 1, { { 0, K4, 0, 0 } }, 0 },
	{ "two that touch", 2, { { 0, K4, 0, 0 }, { K4, K4, K4, K4 } }, 0 },
	{ "unsorted", 3, { { 9 * K4, K4, 0, 0 }, { 0, K4, K4, 0 }, { 5 * K4, K4, 2 * K4, 0 } }, 0 },
	{ "offset inside a page", 1, { { 0, K4, 0, 100 } }, 0 },
	{ "VU-10 no region", 0, { { 0 } }, -EINVAL },
	{ "VU-11 size 0", 1, { { 0, 0, 0, 0 } }, -EINVAL },
	{ "VU-11 gpa and size wrap", 1, { { UINT64_MAX - 10, K4, 0, 0 } }, -EINVAL },
	{ "VU-11 uva and size wrap", 1, { { 0, K4, UINT64_MAX - 10, 0 } }, -EINVAL },
	{ "VU-11 offset and size wrap", 1, { { 0, K4, 0, UINT64_MAX - 10 } }, -EINVAL },
	{ "VU-11 overlap in gpa", 2, { { 0, 2 * K4, 0, 0 }, { K4, K4, 9 * K4, 0 } }, -EINVAL },
	{ "VU-11 overlap in uva", 2, { { 0, 2 * K4, 0, 0 }, { 9 * K4, K4, K4, 0 } }, -EINVAL },
	{ "VU-11 one inside the other", 2, { { K4, K4, 9 * K4, 0 }, { 0, 4 * K4, 0, 0 } },
		-EINVAL },
	{ "file too short", 1, { { 0, 17 * K4, 0, 0 } }, -EINVAL },
	{ "file too short by the offset", 1, { { 0, 16 * K4, 0, 1 } }, -EINVAL },
};

static void table(void **state)
{
	const struct table_case *t = *state;
	int fd = memfd_create("m", MFD_CLOEXEC), fds[] = { fd, fd, fd };
	struct vho_mem *mem = NULL;

	assert_int_equal(ftruncate(fd, 16 * K4), 0);
	assert_int_equal(vho_mem_create(t->r, fds, t->n, &mem), t->ret);
	for (unsigned i = 0; !t->ret && i < t->n; i++) {
		uint8_t *p = vho_mem_at(mem, t->r[i].gpa, t->r[i].size);
		uint8_t byte = (uint8_t)(i + 1), back;
		uint64_t gpa;

		assert_non_null(p);
		*p = byte;
		assert_int_equal(pread(fd, &back, 1, (off_t)t->r[i].mmap_off), 1);
		assert_int_equal(back, byte);
		assert_int_equal(vho_mem_uva_to_gpa(mem, t->r[i].uva + 5, 10, &gpa), 0);
		assert_int_equal(gpa, t->r[i].gpa + 5);
		assert_int_equal(vho_mem_host_to_gpa(mem, p + 7, &gpa), 0);
		assert_int_equal(gpa, t->r[i].gpa + 7);
	}
	assert_int_equal(mem != NULL, !t->ret);
	vho_mem_put(mem);
	close(fd);
}

static const struct at_case {
	const char *name;
	uint64_t gpa, len;
	bool ok;
	uint64_t span;
} ats[] = {
	{ "first byte", VQ_GPA, 1, true, 1 },
	{ "whole region", VQ_GPA, VQ_REGION, true, VQ_REGION },
	{ "into the next region", VQ_SEAM - 1, 2, false, 1 },
	{ "below", VQ_GPA - 1, 1, false, 0 },
	{ "the byte after", VQ_END, 0, false, 0 },
	{ "last byte", VQ_END - 1, 1, true, 1 },
	{ "length 0 inside", VQ_END - 1, 0, true, 0 },
	{ "length wraps", VQ_GPA + 1, UINT64_MAX, false, VQ_REGION - 1 },
	{ "wild", UINT64_MAX, 1, false, 0 },
};

static void at(void **state)
{
	const struct at_case *t = *state;
	const struct vho_mem_map_entry *hint = NULL;
	uint64_t span = t->len;
	struct vq v;

	vq_open(&v);
	assert_int_equal(vho_mem_at(v.mem, t->gpa, t->len) != NULL, t->ok);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vho_mem_at_hint(v.mem, &hint, t->gpa, t->len) != NULL, t->ok);
		hint = &v.mem->r[i]; // right or wrong, it is a hint
	}
	if (vho_mem_span(v.mem, t->gpa, &span))
		assert_int_equal(span, t->span);
	vq_close(&v);
}

static void add_and_remove(void **state)
{
	struct vho_mem_region more = { .gpa = 0, .size = K4, .uva = 0 }, wrong = more;
	struct vho_mem *with, *without;
	struct vq v;

	(void)state;
	vq_open(&v);
	assert_int_equal(vho_mem_with(v.mem, &more, v.fd, &with), 0);
	assert_non_null(vho_mem_at(with, 0, K4));
	assert_null(vho_mem_at(v.mem, 0, 1));
	wrong.size++;
	assert_int_equal(vho_mem_without(with, &wrong, &without), -ENOENT);
	assert_int_equal(vho_mem_without(with, &more, &without), 0);
	assert_null(vho_mem_at(without, 0, 1));
	assert_non_null(vho_mem_at(without, VQ_SEAM, 1));
	more.gpa = VQ_GPA;
	assert_int_equal(vho_mem_with(v.mem, &more, v.fd, &with), -EINVAL);
	vho_mem_put(vho_mem_get(without));
	vho_mem_put(without);
	vho_mem_put(NULL);
	vq_close(&v);
}

/* Mappings of files whose name in /proc contains `name`. */
static unsigned mappings(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, name) != NULL;
	fclose(maps);
	return n;
}

/* Adding a region maps that region; the others stay where they are, whichever map goes first. */
/* A region told of n times is there until it was taken back n times; another is none of it. */
static void told_again(void **state)
{
	struct vho_mem_region r = { 1 << 20, 8192, 0x100000, 4096 };
	int fd = memfd_create("again", MFD_CLOEXEC), other = memfd_create("other", MFD_CLOEXEC);
	struct vho_mem_region bad;
	struct vho_mem *mem;

	(void)state;
	assert_int_equal(ftruncate(fd, 1 << 16), 0);
	assert_int_equal(ftruncate(other, 1 << 16), 0);
	assert_false(vho_mem_again(NULL, &r, fd));
	assert_false(vho_mem_forget(NULL, &r));
	assert_int_equal(vho_mem_with(NULL, &r, fd, &mem), 0);
	assert_false(vho_mem_forget(mem, &r));
	assert_false(vho_mem_again(mem, &r, other));
	for (unsigned i = 0; i < 4; i++) { // the one field that differs
		bad = r;
		*(uint64_t *[]){ &bad.gpa, &bad.size, &bad.uva, &bad.mmap_off }[i] += 4096;
		assert_false(vho_mem_again(mem, &bad, fd));
		assert_int_equal(vho_mem_forget(mem, &bad), false);
	}
	for (unsigned i = 0; i < 255; i++)
		assert_true(vho_mem_again(mem, &r, fd));
	assert_false(vho_mem_again(mem, &r, fd)); // enough is enough
	for (unsigned i = 0; i < 255; i++)
		assert_true(vho_mem_forget(mem, &r));
	assert_false(vho_mem_forget(mem, &r));
	vho_mem_put(mem);
	close(fd);
	close(other);
}

static void regions_are_shared(void **state)
{
	struct vho_mem_region r = { .gpa = 0, .size = K4, .uva = 0 };
	int fd = memfd_create("shared-region", MFD_CLOEXEC);
	struct vho_mem *mem, *more, *less;
	void *p;

	(void)state;
	assert_int_equal(ftruncate(fd, K4), 0);
	assert_int_equal(vho_mem_with(NULL, &r, fd, &mem), 0);
	p = vho_mem_at(mem, 0, K4);
	*(uint8_t *)p = 0x42;
	r.gpa = r.uva = 9 * K4;
	assert_int_equal(vho_mem_with(mem, &r, fd, &more), 0);
	assert_int_equal(mappings("shared-region"), 2);
	assert_ptr_equal(vho_mem_at(more, 0, K4), p);
	close(fd); // none is kept open
	r.gpa = r.uva = 0;
	assert_int_equal(vho_mem_without(more, &r, &less), 0);
	assert_int_equal(mappings("shared-region"), 2);
	vho_mem_put(more);
	assert_int_equal(*(uint8_t *)vho_mem_at(mem, 0, 1), 0x42);
	assert_null(vho_mem_at(less, 0, 1));
	assert_int_equal(*(uint8_t *)vho_mem_at(less, 9 * K4, 1), 0x42);
	vho_mem_put(mem);
	assert_int_equal(mappings("shared-region"), 1);
	r.gpa = r.uva = 9 * K4;
	assert_int_equal(vho_mem_without(less, &r, &mem), 0);
	assert_null(mem);
	vho_mem_put(less);
	assert_int_equal(mappings("shared-region"), 0);
}

/* Many functions with as many regions as there may be. */
static void many_full_maps(void **state)
{
	enum { MAPS = 40 };
	int fd = memfd_create("full-map", MFD_CLOEXEC);
	struct vho_mem *mem[MAPS] = { NULL }, *next;

	(void)state;
	assert_int_equal(ftruncate(fd, K4), 0);
	for (unsigned k = 0; k < MAPS; k++) {
		for (uint64_t i = 0; i <= VHO_MEM_REGIONS_MAX; i++) {
			// From the highest down: no order is like another
			struct vho_mem_region r = { .gpa = (1000 - i) * K4, .size = K4 };

			r.uva = r.gpa;
			if (i == VHO_MEM_REGIONS_MAX) {
				assert_int_equal(vho_mem_with(mem[k], &r, fd, &next), -EINVAL);
				break;
			}
			assert_int_equal(vho_mem_with(mem[k], &r, fd, &next), 0);
			vho_mem_put(mem[k]);
			mem[k] = next;
		}
		assert_int_equal(mem[k]->n, VHO_MEM_REGIONS_MAX);
		// One file, kept open once for the map
		assert_int_equal(mem[k]->r[0].mapping->file->refs, VHO_MEM_REGIONS_MAX);
		assert_non_null(vho_mem_at(mem[k], 1000 * K4, K4));
	}
	assert_int_equal(mappings("full-map"), MAPS * VHO_MEM_REGIONS_MAX);
	for (unsigned k = 0; k < MAPS; k++)
		vho_mem_put(mem[k]);
	assert_int_equal(mappings("full-map"), 0);
	close(fd);
}

/* A file costs its owner nothing: what one session maps of it is bounded. */
static void address_space_is_bounded(void **state)
{
	const uint64_t half = 32 << 20; // sanitizers pay for what is mapped
	int fd = memfd_create("sparse", MFD_CLOEXEC), fds[] = { fd, fd, fd };
	struct vho_mem_region r[] = {
		{ 0, half, 0, 0 },
		{ half, half, half, 0 },
		{ 2 * half, K4, 2 * half, 0 },
	};
	struct vho_mem_region whole = { 0, 2 * half + 1, 0, 0 };
	struct vho_mem *mem, *next = NULL;

	(void)state;
	vho_mem_limit_set(2 * half);
	assert_int_equal(ftruncate(fd, 4 * (off_t)half), 0);
	assert_int_equal(vho_mem_create(&whole, fds, 1, &mem), -EFBIG);
	assert_int_equal(vho_mem_create(r, fds, 3, &mem), -EFBIG);
	assert_int_equal(mappings("sparse"), 0);
	assert_int_equal(vho_mem_create(r, fds, 2, &mem), 0);
	assert_int_equal(vho_mem_with(mem, &r[2], fd, &next), -EFBIG);
	assert_null(next);
	assert_int_equal(vho_mem_without(mem, &r[0], &next), 0);
	vho_mem_put(mem);
	assert_int_equal(vho_mem_with(next, &r[2], fd, &mem), 0);
	vho_mem_put(next);
	vho_mem_put(mem);
	vho_mem_limit_set(K4);
	assert_int_equal(vho_mem_with(NULL, &r[2], fd, &mem), 0);
	vho_mem_put(mem);
	r[2].mmap_off = 1; // touches two pages
	assert_int_equal(vho_mem_with(NULL, &r[2], fd, &mem), -EFBIG);
	vho_mem_limit_set(VHO_MEM_BYTES_DEFAULT);
	close(fd);
}

/* The front-end cuts its file short: its own bytes read as zeros, and the map says so. */
static void truncated(void **state)
{
	volatile uint8_t *p;
	struct vq v;

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0); // here: the test's runner installs its own
	vq_open(&v);
	p = vho_mem_at(v.mem, VQ_SEAM, VQ_REGION);
	p[0] = 7;
	assert_int_equal(ftruncate(v.fd, (off_t)VQ_REGION), 0);
	assert_false(atomic_load(&v.mem->faulted));
	assert_int_equal(p[0], 0);
	assert_true(atomic_load(&v.mem->faulted));
	p[0x5000] = 3;
	assert_int_equal(p[0x5000], 3);
	assert_int_equal(*(volatile uint8_t *)vho_mem_at(v.mem, VQ_GPA, 1), 0);
	vq_close(&v);
}

/* A region of several maps is cut short: all of them hear of it, and so does one made later. */
static void truncated_in_every_map(void **state)
{
	struct vho_mem_region r = { .gpa = 0, .size = K4, .uva = 0 }, other = { 0, K4, 0, 0 };
	int fd = memfd_create("m", MFD_CLOEXEC), fd2 = memfd_create("m", MFD_CLOEXEC);
	struct vho_mem *mem, *with, *later, *stranger;

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0);
	assert_int_equal(ftruncate(fd, K4) | ftruncate(fd2, 2 * K4), 0);
	assert_int_equal(vho_mem_create(&r, &fd, 1, &mem), 0);
	r.gpa = r.uva = K4;
	assert_int_equal(vho_mem_with(mem, &r, fd2, &with), 0);
	assert_int_equal(vho_mem_create(&other, &fd2, 1, &stranger), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(*(volatile uint8_t *)vho_mem_at(with, 0, 1), 0);
	assert_true(atomic_load(&with->faulted));
	assert_true(atomic_load(&mem->faulted));
	assert_false(atomic_load(&stranger->faulted));
	r.gpa = r.uva = 2 * K4;
	assert_int_equal(vho_mem_with(with, &r, fd2, &later), 0);
	assert_true(atomic_load(&later->faulted));
	vho_mem_put(with);
	assert_int_equal(ftruncate(fd2, 0), 0);
	assert_int_equal(*(volatile uint8_t *)vho_mem_at(stranger, 0, 1), 0);
	assert_true(atomic_load(&stranger->faulted));
	vho_mem_put(later);
	vho_mem_put(mem);
	vho_mem_put(stranger);
	close(fd);
	close(fd2);
}

/* IO-09: the k-th allocation fails, for every k; the old map stays as it is. */
static void no_memory(void **state)
{
	struct vho_mem_region more = { .gpa = 0, .size = K4, .uva = 0 };
	struct vho_mem *next = NULL;
	int ret = -ENOMEM;
	struct vq v;

	(void)state;
	vq_open(&v);
	for (long k = 0; ret != 0; k++) {
		assert_true(k < 8);
		dpu_alloc_fail_after(k);
		ret = vho_mem_with(v.mem, &more, v.fd, &next);
		dpu_alloc_fail_after(-1);
		assert_true(ret == 0 || ret == -ENOMEM);
		assert_non_null(vho_mem_at(v.mem, VQ_GPA, 1));
	}
	vho_mem_put(v.mem);
	v.mem = next;
	dpu_alloc_fail_after(0);
	assert_int_equal(vho_mem_without(v.mem, &more, &next), -ENOMEM);
	dpu_alloc_fail_after(-1);
	vq_close(&v);
}

/* A fault that is not inside a map still kills. */
static void elsewhere(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		int fd = memfd_create("m", MFD_CLOEXEC);
		volatile uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

		signal(SIGBUS, SIG_DFL);
		if (vho_mem_guard_init())
			_exit(1);
		_exit(p[0]);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/*
 * A page of such a file comes when a process of the tenant's likes: never under a worker, and not
 * where the control thread looks whether it is long enough either.
 */
static void tenants_own_file_system(void **state)
{
	const struct vho_mem_region r = { .size = K4 };
	struct vho_mem *mem = NULL;
	pid_t server;
	int fd = fake_fuse_open(FUSE_CLOSES, &server);

	(void)state;
	if (fd < 0) {
		print_message("skip: no FUSE here: %s\n", strerror(-fd));
		skip();
	}
	assert_int_equal(vho_mem_create(&r, &fd, 1, &mem), -EINVAL);
	assert_int_equal(vho_mem_file_check(fd, K4), -EINVAL);
	close(fd);
	kill(server, SIGKILL);
	assert_int_equal(waitpid(server, NULL, 0), server);
}

/* Guests whose memory is a file on a disk, or in /dev/shm by name. */
static void files_by_name(void **state)
{
	static const char *const paths[] = { "/dev/shm/vho_mem.XXXXXX", "/var/tmp/vho_mem.XXXXXX" };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		const struct vho_mem_region r = { .size = K4 };
		struct vho_mem *mem = NULL;
		char path[32];
		struct stat st;
		int fd;

		snprintf(path, sizeof(path), "%s", paths[i]);
		fd = mkstemp(path);
		assert_true(fd >= 0);
		unlink(path);
		assert_int_equal(ftruncate(fd, K4), 0);
		assert_int_equal(fstat(fd, &st), 0);
		if (i == 1 && major(st.st_dev) == 0) {
			print_message("skip: /var/tmp is on no block device\n");
			skip();
		}
		assert_int_equal(vho_mem_create(&r, &fd, 1, &mem), 0);
		assert_int_equal(vho_mem_file_check(fd, K4), 0);
		assert_int_equal(vho_mem_file_check(fd, K4 + 1), -EINVAL);
		vho_mem_put(mem);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(add_and_remove),
		cmocka_unit_test(told_again),
		cmocka_unit_test(regions_are_shared),
		cmocka_unit_test(many_full_maps),
		cmocka_unit_test(address_space_is_bounded),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(truncated),
		cmocka_unit_test(truncated_in_every_map),
		cmocka_unit_test(elsewhere),
		cmocka_unit_test(tenants_own_file_system),
		cmocka_unit_test(files_by_name),
	};
	int failed = 0;

	RUN_ROWS(tables, table, failed);
	RUN_ROWS(ats, at, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
