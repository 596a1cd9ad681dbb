// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

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

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(add_and_remove),
		cmocka_unit_test(truncated),
		cmocka_unit_test(elsewhere),
	};
	int failed = 0;

	RUN_ROWS(tables, table, failed);
	RUN_ROWS(ats, at, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
