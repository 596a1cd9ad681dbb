// SPDX-License-Identifier: Apache-2.0
/* "cardctl vm console" with input that is no terminal: bytes both ways, as digits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cardctl.h"
#include "test.h"

#define ALL 256

static const char *output; // digits of the first answer
static char typed[2 * ALL + 1];
static unsigned calls;

static int call(const char *path, const char *method, const json_t *params, json_t **answer)
{
	const char *in = json_string_value(json_object_get(params, "input"));
	json_int_t n = (json_int_t)strlen(output) / 2;

	assert_string_equal(path, "/card");
	assert_string_equal(method, "vm_console");
	strncat(typed, in, sizeof(typed) - strlen(typed) - 1);
	*answer = json_pack("{s:{s:I, s:I, s:s, s:I}}", "result", "offset", calls ? n : 0,
		"next_offset", n, "output", calls ? "" : output, "typed",
		(json_int_t)strlen(in) / 2);
	calls++;
	return *answer ? 0 : -ENOMEM;
}

/* What it shows of `text`, with `in` as its input. */
static size_t shown(const char *text, const uint8_t *in, size_t n, uint8_t *out, size_t size)
{
	int files[2], was[2] = { dup(STDIN_FILENO), dup(STDOUT_FILENO) };
	ssize_t len;

	for (int i = 0; i < 2; i++) {
		files[i] = memfd_create("console", MFD_CLOEXEC);
		assert_true(files[i] >= 0);
		assert_true(dup2(files[i], i) == i);
	}
	assert_int_equal(pwrite(files[0], in, n, 0), n);
	output = text;
	calls = 0;
	typed[0] = '\0';
	int ret = cardctl_console("/card", "g", call);
	for (int i = 0; i < 2; i++) {
		dup2(was[i], i);
		close(was[i]);
	}
	assert_int_equal(ret, 0);
	len = pread(files[1], out, size, 0);
	assert_true(len >= 0);
	close(files[0]);
	close(files[1]);
	return (size_t)len;
}

static void every_byte(void **state)
{
	char digits[2 * ALL + 1];
	uint8_t bytes[ALL], out[ALL + 1];

	(void)state;
	for (unsigned i = 0; i < ALL; i++) {
		bytes[i] = (uint8_t)(255 - i);
		snprintf(digits + 2 * i, 3, "%02x", bytes[i]);
	}
	assert_int_equal(shown(digits, bytes, ALL, out, sizeof(out)), ALL);
	assert_memory_equal(out, bytes, ALL);
	assert_string_equal(typed, digits);
}

/* Nothing is made up for what are no digits. */
static void no_digits(void **state)
{
	static const char *const texts[] = { "41zz42", "41 142", "414", "41-142" };
	uint8_t out[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(shown(texts[i], NULL, 0, out, sizeof(out)), 1);
		assert_int_equal(out[0], 'A');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_byte),
		cmocka_unit_test(no_digits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
