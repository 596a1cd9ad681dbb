// SPDX-License-Identifier: Apache-2.0
/* Data keys: wrapped, opened, and in nobody else's hands. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nof_key.h"

struct dir {
	char path[64], kek[96];
};

static void write_kek(const char *path, size_t len, mode_t mode)
{
	uint8_t kek[64];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memset(kek, 0x5a, sizeof(kek));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, kek, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void start(struct dir *d)
{
	strcpy(d->path, "/tmp/key-test-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	snprintf(d->kek, sizeof(d->kek), "%s/kek", d->path);
	write_kek(d->kek, 32, 0600);
}

static void stop(struct dir *d)
{
	unlink(d->kek);
	rmdir(d->path);
}

static void wraps_and_unwraps(void **state)
{
	struct nof_key_provider *p;
	struct nof_wrapped w, again;
	struct nof_key *key, *back;
	struct dir d;

	(void)state;
	start(&d);
	assert_int_equal(nof_key_file_open(d.kek, &p), 0);
	assert_int_equal(nof_key_generate(&key), 0);
	assert_int_equal(nof_key_wrap(p, key, "volume a", &w), 0);
	assert_int_equal(nof_key_wrap(p, key, "volume a", &again), 0);
	assert_memory_not_equal(&w, &again, sizeof(w)); // a nonce is used once
	assert_int_equal(nof_key_unwrap(p, &w, "volume a", &back), 0);
	assert_memory_equal(nof_key_bytes(key), nof_key_bytes(back), NOF_KEY_LEN);
	// The key itself is nowhere in it.
	for (size_t i = 0; i + 16 <= sizeof(w.bytes); i++)
		assert_memory_not_equal(w.bytes + i, nof_key_bytes(key), 16);
	nof_key_put(back);
	nof_key_put(key);
	nof_key_provider_close(p);
	stop(&d);
}

static void refuses_what_is_not_its_own(void **state)
{
	struct nof_key_provider *p, *other;
	struct nof_wrapped w, bad;
	struct nof_key *key, *back = NULL;
	char path[128];
	struct dir d;

	(void)state;
	start(&d);
	snprintf(path, sizeof(path), "%s/other", d.path);
	write_kek(path, 32, 0600);
	assert_int_equal(truncate(path, 31), 0);
	assert_int_equal(nof_key_file_open(path, &other), -EINVAL);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	assert_int_equal(nof_key_file_open(path, &other), 0);
	assert_int_equal(nof_key_file_open(d.kek, &p), 0);
	assert_int_equal(nof_key_generate(&key), 0);
	assert_int_equal(nof_key_wrap(p, key, "volume a", &w), 0);

	assert_int_equal(nof_key_unwrap(p, &w, "volume b", &back), -EBADMSG);
	assert_int_equal(nof_key_unwrap(p, &w, "volume ", &back), -EBADMSG);
	assert_int_equal(nof_key_unwrap(other, &w, "volume a", &back), -EBADMSG);
	for (size_t i = 0; i < sizeof(w.bytes) * 8; i++) {
		bad = w;
		bad.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(nof_key_unwrap(p, &bad, "volume a", &back),
			i < 8 ? -EPROTONOSUPPORT : -EBADMSG);
	}
	assert_null(back);
	nof_key_put(key);
	nof_key_provider_close(p);
	nof_key_provider_close(other);
	unlink(path);
	stop(&d);
}

static void wants_a_file_of_its_own(void **state)
{
	struct nof_key_provider *p;
	char link[128];
	struct dir d;

	(void)state;
	start(&d);
	write_kek(d.kek, 32, 0640);
	assert_int_equal(nof_key_file_open(d.kek, &p), -EACCES);
	write_kek(d.kek, 32, 0604);
	assert_int_equal(nof_key_file_open(d.kek, &p), -EACCES);
	write_kek(d.kek, 33, 0600);
	assert_int_equal(nof_key_file_open(d.kek, &p), -EINVAL);
	write_kek(d.kek, 32, 0400);
	assert_int_equal(nof_key_file_open(d.kek, &p), 0);
	nof_key_provider_close(p);
	assert_int_equal(nof_key_file_open(d.path, &p), -EINVAL);
	snprintf(link, sizeof(link), "%s/link", d.path);
	assert_int_equal(symlink(d.kek, link), 0);
	assert_int_equal(nof_key_file_open(link, &p), -ELOOP);
	unlink(link);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_int_equal(nof_key_file_open(link, &p), -EINVAL);
	unlink(link);
	assert_int_equal(nof_key_file_open(link, &p), -ENOENT);
	stop(&d);
}

/* Both halves alike: what XTS adds to a block would be known. */
static void refuses_a_key_of_two_equal_halves(void **state)
{
	uint8_t bytes[NOF_KEY_LEN];
	struct nof_key *key;

	(void)state;
	memset(bytes, 7, sizeof(bytes));
	assert_int_equal(nof_key_import(bytes, &key), -EINVAL);
	bytes[63] = 8;
	assert_int_equal(nof_key_import(bytes, &key), 0);
	assert_memory_equal(nof_key_bytes(key), bytes, sizeof(bytes));
	nof_key_put(key);
}

/* What a core file or a debugger would show. */
static void leaves_no_core(void **state)
{
	struct nof_key *key;

	(void)state;
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	assert_int_equal(nof_key_generate(&key), 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	nof_key_put(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wraps_and_unwraps),
		cmocka_unit_test(refuses_what_is_not_its_own),
		cmocka_unit_test(wants_a_file_of_its_own),
		cmocka_unit_test(refuses_a_key_of_two_equal_halves),
		cmocka_unit_test(leaves_no_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
