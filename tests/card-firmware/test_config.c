// SPDX-License-Identifier: Apache-2.0
/* Configuration files: what is called, and how each error is told. */
#include "card.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_calls.h"
#include "test.h"

static char path[] = "/tmp/outboard-config-XXXXXX";

static void spit(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
}

/* Load, with what goes to stderr in `said` and the file's path cut from it. */
static int load(char *said, size_t size)
{
	struct card c = { 0 };
	char line[512];
	FILE *f = tmpfile();
	int keep = dup(STDERR_FILENO), ret;

	fflush(stderr);
	dup2(fileno(f), STDERR_FILENO);
	ret = card_config_load(&c, path);
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	rewind(f);
	said[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		const char *at = strncmp(line, path, strlen(path)) ? line : line + strlen(path);

		strncat(said, at, size - strlen(said) - 1);
	}
	fclose(f);
	return ret;
}

static const struct config_case {
	const char *name, *text;
	int ret;
	const char *says; // all of it, without the file's name
	unsigned calls;
} cases[] = {
	{ "empty list", "[]", 0, "", 0 },
	{ "two calls",
		"[{\"method\":\"net_create\",\"params\":{\"name\":\"a\"}},\n"
		"{\"method\":\"net_create\",\"params\":{\"name\":\"b\"}}]",
		0, "", 2 },
	{ "not JSON", "[\n{\"method\":}\n]", -EINVAL, ":2: unexpected token near '}'\n", 0 },
	{ "not a list", "{}", -EINVAL, ":1: the file must be a list of calls\n", 0 },
	{ "CF-02 all errors are listed, nothing is done",
		"[\n"
		" {\"method\": \"net_create\", \"params\": {\"name\": \"ok\"}},\n"
		" {\"method\": \"net_create\",\n"
		"  \"params\": {\n"
		"   \"name\": \"a\",\n"
		"   \"queue_pairs\": 0\n"
		"  }},\n"
		" {\"method\": \"bdev_null_create\",\n"
		"  \"params\": {\"name\": \"v\", \"num_blocks\": 8,\n"
		"   \"block_size\": 3}},\n"
		" {\"method\": \"net_make\"},\n"
		" {\"method\": \"net_create\", \"params\": {\"name\": \"b\",\n"
		"   \"color\": 1}}\n"
		"]\n",
		-EINVAL,
		":6: queue_pairs: 0 is not between 1 and 128\n"
		":10: block_size: 3 is not between 512 and 4096\n"
		":11: method: net_make: no such method\n"
		":13: color: unknown parameter of net_create\n",
		0 },
	{ "a key inside a string is no key",
		"[\n{\"method\":\"net_create\",\"params\":{\"name\":\"mtu:\\\"\",\n"
		"\"mtu\":1}}]",
		-EINVAL, ":3: mtu: 1 is not between 68 and 65535\n", 0 },
	{ "method that reads", "[{\"method\":\"card_info\"}]", -EINVAL,
		":1: method: card_info changes nothing that a configuration could hold\n", 0 },
	{ "no method", "[{\"params\":{}}]", -EINVAL, ":1: method: required, a string\n", 0 },
	{ "not an object", "[\n\n7]", -EINVAL, ":1: a call is an object with method and params\n",
		0 },
	{ "unknown key beside method",
		"[{\"method\":\"net_create\",\n\"params\":{\"name\":\"a\"},\n\"id\":1}]", -EINVAL,
		":3: id: neither method nor params\n", 0 },
	{ "duplicate key",
		"[{\"method\":\"net_create\",\n\"params\":{\"name\":\"a\",\"name\":\"b\"}}]",
		-EINVAL, ":2: duplicate object key near '\"name\"'\n", 0 },
};

static void load_case(void **state)
{
	const struct config_case *t = *state;
	char said[2048];

	fake_calls_reset();
	spit(t->text);
	assert_int_equal(load(said, sizeof(said)), t->ret);
	assert_string_equal(said, t->says);
	assert_int_equal(fake_calls.n[CARD_M_net_create], t->calls);
}

static void failing_call_is_named(void **state)
{
	char said[512];

	(void)state;
	fake_calls_reset();
	fake_calls.ret[CARD_M_net_create] = -EEXIST;
	spit("[\n\n{\"method\":\"net_create\",\"params\":{\"name\":\"a\"}},\n"
	     "{\"method\":\"net_create\",\"params\":{\"name\":\"b\"}}]");
	assert_int_equal(load(said, sizeof(said)), -EINVAL);
	assert_string_equal(said, ":3: net_create: File exists\n:4: net_create: File exists\n");
}

/* CF-03 */
static void untrusted_files(void **state)
{
	char said[512];

	(void)state;
	spit("[]");
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(load(said, sizeof(said)), -EACCES);
	if (geteuid() == 0) {
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(load(said, sizeof(said)), -EACCES);
	}
	unlink(path);
	assert_int_equal(load(said, sizeof(said)), -ENOENT);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(load(said, sizeof(said)), -ELOOP);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load(said, sizeof(said)), -EINVAL); // and does not wait for a writer
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(load(said, sizeof(said)), -EINVAL);
	rmdir(path);
	spit("[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failing_call_is_named),
		cmocka_unit_test(untrusted_files),
	};
	int failed, fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(cases, load_case, failed);
	fake_calls_reset();
	unlink(path);
	return failed;
}
