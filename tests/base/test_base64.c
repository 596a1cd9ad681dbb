// SPDX-License-Identifier: Apache-2.0
/* Base64 text. */
#include "dpu_base64.h"

#include <string.h>

#include "test.h"

/* RFC 4648, section 10; and a byte of each value's upper bits. */
static const struct base64_case {
	const char *name;
	size_t n;
	const char *bytes, *text;
} cases[] = {
	{ "nothing", 0, "", "" },
	{ "one byte", 1, "f", "Zg==" },
	{ "two bytes", 2, "fo", "Zm8=" },
	{ "three bytes", 3, "foo", "Zm9v" },
	{ "four bytes", 4, "foob", "Zm9vYg==" },
	{ "five bytes", 5, "fooba", "Zm9vYmE=" },
	{ "six bytes", 6, "foobar", "Zm9vYmFy" },
	{ "the last digits", 3, "\xff\xef\xbe", "/+++" },
	{ "zeros", 3, "\0\0\0", "AAAA" },
};

static void base64(void **state)
{
	const struct base64_case *t = *state;
	char out[16];

	memset(out, 'x', sizeof(out));
	dpu_base64(t->bytes, t->n, out);
	assert_string_equal(out, t->text);
	assert_int_equal(strlen(out), DPU_BASE64_LEN(t->n));
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(cases, base64, failed);
	return failed;
}
