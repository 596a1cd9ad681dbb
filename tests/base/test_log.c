// SPDX-License-Identifier: Apache-2.0
/* Log lines: levels, escaping, rate limit. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "test.h"

/* Run one dpu_info() with stderr in a pipe; returns what was written. */
static const char *logged(const char *arg)
{
	static char buf[8192];
	int p[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(p[1], STDERR_FILENO);
	dpu_info("test: line", "arg=%s", arg);
	dup2(saved, STDERR_FILENO);
	n = read(p[0], buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	close(p[0]);
	close(p[1]);
	close(saved);
	return buf;
}

static void writes_key_value(void **state)
{
	(void)state;
	assert_string_equal(logged("x"), "info  test: line arg=x\n");
}

static void escapes_control_bytes(void **state)
{
	(void)state;
	assert_string_equal(logged("a\nerr  forged\x1b[2J"),
		"info  test: line arg=a\\x0aerr  forged\\x1b[2J\n");
}

static void long_argument_is_cut(void **state)
{
	char big[4000];
	const char *line;

	(void)state;
	memset(big, '\x01', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	line = logged(big);
	assert_true(strlen(line) < 4096);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void level_holds_back(void **state)
{
	enum dpu_log_level level;

	(void)state;
	assert_int_equal(dpu_log_level_parse("WARN", &level), 0);
	assert_int_equal(level, DPU_LOG_WARN);
	assert_true(dpu_log_level_parse("loud", &level) < 0);
	dpu_log_level_set(DPU_LOG_WARN);
	assert_string_equal(logged("x"), "");
	dpu_log_level_set(DPU_LOG_INFO);
}

static uint64_t fake_ns = 1;

static uint64_t fake_now(void)
{
	return fake_ns;
}

static void rate_limit_refills_each_second(void **state)
{
	struct dpu_ratelimit rl = { 0 };

	(void)state;
	dpu_clock_set(fake_now);
	for (int i = 0; i < 3; i++)
		assert_true(dpu_ratelimit_pass(&rl, 3));
	assert_false(dpu_ratelimit_pass(&rl, 3));
	assert_int_equal(rl.held, 1);
	fake_ns += 1000000000;
	assert_true(dpu_ratelimit_pass(&rl, 3));
	assert_int_equal(rl.held, 0);
	dpu_clock_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_key_value),
		cmocka_unit_test(escapes_control_bytes),
		cmocka_unit_test(long_argument_is_cut),
		cmocka_unit_test(level_holds_back),
		cmocka_unit_test(rate_limit_refills_each_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
