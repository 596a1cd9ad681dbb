// SPDX-License-Identifier: Apache-2.0
/* Wear of a volume's media: as sysfs shows it for eMMC and UFS devices, and injected. */
#include "vol_wear.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory as sysfs has it, made of the files that a row names. */
static const struct sys_case {
	const char *name;
	const char *files[8]; // path, content, ...
	const char *sys; // the block device's directory
	int ret;
	struct vol_wear wear;
} cases[] = {
	{ "eMMC", { "b/device/pre_eol_info", "0x01\n", "b/device/life_time", "0x02 0x0b\n" }, "b",
		0, { 1, 2, 11 } },
	{ "eMMC, a partition",
		{ "b/p1/x", "", "b/device/pre_eol_info", "0x03\n", "b/device/life_time",
			"0x0a 0x01\n" },
		"b/p1", 0, { 3, 10, 1 } },
	{ "UFS",
		{ "health_descriptor/eol_info", "0x02\n",
			"health_descriptor/life_time_estimation_a", "0x04\n",
			"health_descriptor/life_time_estimation_b", "0x05\n", "h/t/l/block/x", "" },
		"h/t/l/block", 0, { 2, 4, 5 } },
	{ "not defined at all",
		{ "b/device/pre_eol_info", "0x00\n", "b/device/life_time", "0x00 0x00\n" }, "b",
		-ENODATA, { 0, 0, 0 } },
	{ "reserved values say nothing",
		{ "b/device/pre_eol_info", "0x04\n", "b/device/life_time", "0x0c 0x03\n" }, "b", 0,
		{ 0, 0, 3 } },
	{ "one number of two",
		{ "b/device/pre_eol_info", "0x01\n", "b/device/life_time", "0x02\n" }, "b",
		-ENODATA, { 0, 0, 0 } },
	{ "no number", { "b/device/pre_eol_info", "normal\n", "b/device/life_time", "0x02 0x01\n" },
		"b", -ENODATA, { 0, 0, 0 } },
	{ "empty", { "b/device/pre_eol_info", "", "b/device/life_time", "" }, "b", -ENODATA,
		{ 0, 0, 0 } },
	{ "no such device", { "b/size", "8\n" }, "b", -ENODATA, { 0, 0, 0 } },
};

static void make_file(const char *dir, const char *path, const char *content)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	for (char *slash = strchr(full + strlen(dir) + 1, '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(full, 0700); // some are there
		*slash = '/';
	}
	f = fopen(full, "we");
	assert_non_null(f);
	fputs(content, f);
	assert_int_equal(fclose(f), 0);
}

static void sysfs(void **state)
{
	const struct sys_case *t = *state;
	char dir[] = "/tmp/vol_wear.XXXXXX", sys[256], command[64];
	struct vol_wear w = { 0 };

	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < ARRAY_LEN(t->files) && t->files[i]; i += 2)
		make_file(dir, t->files[i], t->files[i + 1]);
	snprintf(sys, sizeof(sys), "%s/%s", dir, t->sys);
	if (!strcmp(t->name, "UFS")) { // a link, as of every disk: its way up is the device's
		char link[300];

		snprintf(link, sizeof(link), "%s/device", sys);
		assert_int_equal(symlink("..", link), 0);
	}
	assert_int_equal(vol_wear_read(sys, &w), t->ret);
	if (t->ret == 0)
		assert_memory_equal(&w, &t->wear, sizeof(w));
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void injected(void **state)
{
	const struct vol_ram_conf conf = { "v", 1 << 20, 512 };
	const struct vol_wear none = { 0 }, worn = { 3, 11, 10 }, fresh = { 0, 0, 1 };
	const struct vol_wear bad[] = { { 4, 1, 1 }, { 1, 12, 1 }, { 1, 1, 12 } };
	struct vol_wear w;
	struct vol *v;

	(void)state;
	assert_int_equal(vol_ram_open(&conf, &v), 0);
	assert_false(vol_wear(v, &w));
	assert_int_equal(vol_wear_set(v, &worn), 0);
	assert_true(vol_wear(v, &w));
	assert_memory_equal(&w, &worn, sizeof(w));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(vol_wear_set(v, &bad[i]), -EINVAL);
	vol_wear_refresh(v); // what was said stays
	assert_true(vol_wear(v, &w));
	assert_memory_equal(&w, &worn, sizeof(w));
	assert_int_equal(vol_wear_set(v, &fresh), 0);
	assert_true(vol_wear(v, &w));
	assert_memory_equal(&w, &fresh, sizeof(w));
	assert_int_equal(vol_wear_set(v, &none), 0);
	assert_false(vol_wear(v, &w));
	vol_close(v);
}

/* A plain file has no cells, and neither has a device that has no such attributes. */
static void plain_file(void **state)
{
	char path[] = "/tmp/vol_wear.XXXXXX";
	struct vol_file_conf conf = { .name = "v", .path = path, .block_size = 512 };
	struct vol_wear w;
	struct vol *v;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(vol_file_open(&conf, &v), 0);
	assert_false(vol_wear(v, &w));
	vol_close(v);
	close(fd);
	unlink(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(injected),
		cmocka_unit_test(plain_file),
	};
	int failed = 0;

	RUN_ROWS(cases, sysfs, failed);
	failed += cmocka_run_group_tests_name("wear", tests, NULL, NULL);
	return failed;
}
