// SPDX-License-Identifier: Apache-2.0
/* Option tables: what is accepted, what is refused, what help and manual pages hold. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_cli.h"
#include "test.h"

static bool flag;
static const char *str;
static uint64_t num;
static struct dpu_opt_list list;

static const struct dpu_opt opts[] = {
	{ "fast", DPU_OPT_FLAG, &flag, NULL, "go fast", 0, 0 },
	{ "name", DPU_OPT_STR, &str, "NAME", "what to call it", 0, 0 },
	{ "mem-mib", DPU_OPT_UINT, &num, "N", "memory", 2, 64 },
	{ "eal", DPU_OPT_LIST, &list, "ARG", "pass on", 0, 0 },
};
static const struct dpu_cli cli = { "prog", "does things", "[options] FILE", "Text.", opts, 4 };

static const struct row {
	const char *name;
	const char *argv[6];
	int ret;
	bool flag;
	uint64_t num;
	const char *str;
	const char *first; // argv[1] afterwards
} rows[] = {
	{ "nothing", { 0 }, 0, false, 0, NULL, NULL },
	{ "operands around options", { "a", "--fast", "b" }, 2, true, 0, NULL, "a" },
	{ "argument after equals", { "--name=x", "--mem-mib=2" }, 0, false, 2, "x", NULL },
	{ "argument as next word", { "--mem-mib", "0x10" }, 0, false, 16, NULL, NULL },
	{ "double dash ends options", { "--", "--fast" }, 1, false, 0, NULL, "--fast" },
	{ "below the bound", { "--mem-mib", "1" }, -EINVAL, false, 0, NULL, NULL },
	{ "above the bound", { "--mem-mib", "65" }, -EINVAL, false, 0, NULL, NULL },
	{ "negative number", { "--mem-mib", "-3" }, -EINVAL, false, 0, NULL, NULL },
	{ "number with a tail", { "--mem-mib", "3x" }, -EINVAL, false, 0, NULL, NULL },
	{ "number past 2^64", { "--mem-mib", "18446744073709551616" }, -EINVAL, false, 0, NULL,
		NULL },
	{ "flag with an argument", { "--fast=1" }, -EINVAL, false, 0, NULL, NULL },
	{ "unknown option", { "--slow" }, -EINVAL, false, 0, NULL, NULL },
	{ "prefix of an option", { "--mem" }, -EINVAL, false, 0, NULL, NULL },
	{ "short option", { "-f" }, -EINVAL, false, 0, NULL, NULL },
	{ "missing argument", { "--name" }, -EINVAL, false, 0, NULL, NULL },
};

static void parse(void **state)
{
	const struct row *r = *state;
	char *argv[8] = { strdup("prog") };
	char *all[8];
	int argc = 1;

	flag = false;
	str = NULL;
	num = 0;
	for (; argc < 7 && r->argv[argc - 1]; argc++)
		argv[argc] = strdup(r->argv[argc - 1]);
	memcpy(all, argv, sizeof(all));
	assert_int_equal(dpu_cli_parse(&cli, argc, argv), r->ret);
	if (r->ret >= 0) {
		assert_int_equal(flag, r->flag);
		assert_true(num == r->num);
		if (r->str)
			assert_string_equal(str, r->str);
		else
			assert_null(str);
		if (r->first)
			assert_string_equal(argv[1], r->first);
	}
	for (int i = 0; i < argc; i++)
		free(all[i]);
}

static void lists_collect(void **state)
{
	char a[] = "prog", b[] = "--eal", c[] = "-x", d[] = "--eal=-y";
	char *argv[] = { a, b, c, d, NULL };

	(void)state;
	list.n = 0;
	assert_int_equal(dpu_cli_parse(&cli, 4, argv), 0);
	assert_int_equal(list.n, 2);
	assert_string_equal(list.v[0], "-x");
	assert_string_equal(list.v[1], "-y");
}

static void man_page_escapes(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	dpu_cli_man(&cli, 1, f);
	fclose(f);
	assert_non_null(strstr(text, ".TH prog 1"));
	assert_non_null(strstr(text, "\\fB\\-\\-mem\\-mib\\fR"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_collect),
		cmocka_unit_test(man_page_escapes),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(rows, parse, failed);
	return failed;
}
