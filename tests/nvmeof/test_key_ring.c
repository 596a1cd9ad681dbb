// SPDX-License-Identifier: Apache-2.0
/* Keys in the kernel's keeping: there for the next process, gone when they are let go. */
#include "test.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nof_key.h"

static char name[64];

/* One that no other run has. */
static int fresh_name(void **state)
{
	static unsigned n;

	(void)state;
	snprintf(name, sizeof(name), "test-%ld-%u", (long)getpid(), n++);
	return 0;
}

static int let_go(void **state)
{
	(void)state;
	(void)nof_key_let_go(name);
	return 0;
}

static struct nof_key *kept(void)
{
	struct nof_key *key;

	assert_int_equal(nof_key_generate(&key), 0);
	assert_int_equal(nof_key_keep(key, name), 0);
	return key;
}

static void found_again(void **state)
{
	struct nof_key *key = kept(), *back;

	(void)state;
	assert_int_equal(nof_key_keep(key, name), -EEXIST);
	assert_int_equal(nof_key_kept(name, &back), 0);
	assert_memory_equal(nof_key_bytes(key), nof_key_bytes(back), NOF_KEY_LEN);
	nof_key_put(back);
	nof_key_put(key);
}

/* Of a process that ended, in another session, whose session keyring does not have the user's. */
static void found_by_another_process(void **state)
{
	uint8_t bytes[NOF_KEY_LEN];
	struct nof_key *back;
	int to[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(to), 0);
	pid = fork();
	if (pid == 0) {
		struct nof_key *key;

		if (nof_key_generate(&key) || nof_key_keep(key, name) ||
			write(to[1], nof_key_bytes(key), NOF_KEY_LEN) != NOF_KEY_LEN)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) > 0);
	assert_int_equal(read(to[0], bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(nof_key_kept(name, &back), 0);
	assert_memory_equal(bytes, nof_key_bytes(back), NOF_KEY_LEN);
	nof_key_put(back);
	assert_int_equal(nof_key_let_go(name), 0);
	assert_int_equal(nof_key_kept(name, &back), -ENOKEY);
	close(to[0]);
	close(to[1]);
}

static void gone_for_good(void **state)
{
	struct nof_key *key = kept(), *back;
	char text[96];

	(void)state;
	assert_int_equal(nof_key_kept(name, &back), 0);
	nof_key_put(back);
	assert_int_equal(nof_key_let_go(name), 0);
	assert_int_equal(nof_key_kept(name, &back), -ENOKEY);
	assert_int_equal(nof_key_let_go(name), -ENOKEY);
	snprintf(text, sizeof(text), "outboard:%s", name);
	assert_true(
		syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_PROCESS_KEYRING, "user", text, 0) < 0);
	nof_key_put(key);
}

/* Seconds that the kernel goes on keeping it; 0: as long as the machine is up. From /proc/keys. */
static unsigned timeout_s(void)
{
	FILE *f = fopen("/proc/keys", "r");
	char line[256], until[16] = "";
	unsigned s = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, name);

		if (at && sscanf(line, "%*s %*s %*s %15s", until) == 1)
			break;
		until[0] = '\0';
	}
	fclose(f);
	assert_true(until[0] != '\0');
	if (!strcmp(until, "perm"))
		return 0;
	assert_int_equal(sscanf(until, "%u", &s), 1);
	return strchr(until, 'm') ? s * 60 : s;
}

/* What a process leaves that died before it used the key does not stay. */
static void confirmed_or_gone(void **state)
{
	struct nof_key *key = kept(), *back;

	(void)state;
	assert_in_range(timeout_s(), 1, 60);
	assert_int_equal(nof_key_kept(name, &back), 0);
	assert_int_equal(timeout_s(), 0);
	nof_key_put(back);
	nof_key_put(key);
}

static void bad_names_and_keys(void **state)
{
	struct nof_key *key;
	char text[96], longer[200];

	(void)state;
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(nof_key_generate(&key), 0);
	assert_int_equal(nof_key_keep(key, longer), -EINVAL);
	assert_int_equal(nof_key_let_go(longer), -EINVAL);
	nof_key_put(key);
	assert_int_equal(nof_key_kept(name, &key), -ENOKEY);
	snprintf(text, sizeof(text), "outboard:%s", name);
	assert_true(syscall(SYS_add_key, "user", text, "short", 5, KEY_SPEC_USER_KEYRING) > 0);
	assert_int_equal(nof_key_kept(name, &key), -EBADMSG);
}

int main(void)
{
#define ROW(fn) cmocka_unit_test_setup_teardown(fn, fresh_name, let_go)
	const struct CMUnitTest tests[] = {
		ROW(found_again),
		ROW(found_by_another_process),
		ROW(gone_for_good),
		ROW(confirmed_or_gone),
		ROW(bad_names_and_keys),
	};
	struct nof_key *key;
	int ret;

	fresh_name(NULL);
	if (nof_key_generate(&key))
		return 1;
	ret = nof_key_keep(key, name);
	nof_key_put(key);
	if (ret == -ENOSYS || ret == -EPERM || ret == -EACCES) {
		printf("the kernel keeps no keys here: %s\n", strerror(-ret));
		return 77;
	}
	(void)nof_key_let_go(name);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
