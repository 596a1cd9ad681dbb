// SPDX-License-Identifier: Apache-2.0
/* Configuration files: what is called, and how each error is told. */
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_calls.h"
#include "test.h"

#define HUNDRED "outboard-config-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
static char path[] = "/tmp/" HUNDRED "-" HUNDRED "-XXXXXX";

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
		":6: queue_pairs: 0 is not between 1 and 127\n"
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

/* CF-03: refused, and the operator reads which file, whose it is and what may be done to it. */
static void untrusted_files(void **state)
{
	char said[512], want[128], saved[sizeof(path)];

	(void)state;
	spit("[]");
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(load(said, sizeof(said)), -EACCES);
	snprintf(want, sizeof(want),
		": owner uid %u, mode 0620: must not be writable by group or others\n",
		(unsigned)geteuid());
	assert_string_equal(said, want);
	if (geteuid() == 0) {
		assert_int_equal(chmod(path, 0640), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(load(said, sizeof(said)), -EACCES);
		assert_string_equal(said, ": owner uid 12345, mode 0640: must be owned by uid 0\n");
	} else {
		print_message("not root: a file of another user is not tried\n");
	}
	unlink(path);
	assert_int_equal(load(said, sizeof(said)), -ENOENT);
	assert_string_equal(said, ": No such file or directory\n");
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(load(said, sizeof(said)), -ELOOP);
	assert_string_equal(said, ": is a symbolic link\n");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load(said, sizeof(said)), -EINVAL); // and does not wait for a writer
	assert_string_equal(said, ": not a plain file\n");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(load(said, sizeof(said)), -EINVAL);
	rmdir(path);
	memcpy(saved, path, sizeof(path));
	memset(path + 5, 'x', sizeof(path) - 6); // the path is told whole, however long
	assert_int_equal(load(said, sizeof(said)), -ENOENT);
	assert_string_equal(said, ": No such file or directory\n");
	memcpy(path, saved, sizeof(path));
	spit("[]");
}

/* ---- CF-04: the file changes while it is read ---- */

#define CALLS 400

/* Calls that all name the same function: a mixture of two files would show. */
static char *text_of(char letter)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (unsigned i = 0; i < CALLS; i++)
		fprintf(f, "%c\n{\"method\":\"net_create\",\"params\":{\"name\":\"%c\"}}",
			i ? ',' : '[', letter);
	fputs("]\n", f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static bool have_leases(void)
{
	int fd = open(path, O_RDONLY), ret = fcntl(fd, F_SETLEASE, F_RDLCK);

	close(fd);
	return ret == 0;
}

static void held_by_a_writer(void **state)
{
	char said[512];
	int fd;

	(void)state;
	fake_calls_reset();
	spit("[]");
	if (!have_leases()) {
		print_message("no leases here: a file open for writing is not noticed\n");
		skip();
	}
	fd = open(path, O_WRONLY);
	assert_int_equal(load(said, sizeof(said)), -EBUSY);
	assert_string_equal(said, ": is being written to\n");
	close(fd);
	assert_int_equal(load(said, sizeof(said)), 0);
}

static _Atomic bool enough;

/* Writes one file, then the other, in place and by renaming. */
static void *rewrite(void *arg)
{
	char *const *texts = arg;
	char other[sizeof(path) + 4];

	snprintf(other, sizeof(other), "%s.new", path);
	for (unsigned i = 0; !atomic_load(&enough); i++) {
		const char *text = texts[i / 2 % 2];
		int fd = open(i % 2 ? other : path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		for (size_t at = 0, len = strlen(text); at < len; at += 4096)
			(void)!write(fd, text + at, len - at < 4096 ? len - at : 4096);
		close(fd);
		if (i % 2)
			rename(other, path);
	}
	unlink(other);
	return NULL;
}

static void changing_file_is_read_whole(void **state)
{
	char *texts[2] = { text_of('a'), text_of('b') }, said[512];
	unsigned loaded = 0;
	pthread_t writer;

	(void)state;
	spit(texts[0]);
	if (!have_leases()) {
		print_message("no leases here: a file that changes is not tried\n");
		skip();
	}
	atomic_store(&enough, false);
	assert_int_equal(pthread_create(&writer, NULL, rewrite, texts), 0);
	while (loaded < 200) {
		int ret;

		fake_calls_reset();
		ret = load(said, sizeof(said));
		if (ret == -EBUSY)
			continue;
		assert_int_equal(ret, 0); // half a file would be no list of calls
		assert_int_equal(fake_calls.n[CARD_M_net_create], CALLS);
		assert_int_equal(fake_calls.changes, 0);
		loaded++;
	}
	atomic_store(&enough, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	free(texts[0]);
	free(texts[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failing_call_is_named),
		cmocka_unit_test(untrusted_files),
		cmocka_unit_test(held_by_a_writer),
		cmocka_unit_test(changing_file_is_read_whole),
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
