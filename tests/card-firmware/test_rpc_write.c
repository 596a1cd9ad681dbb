// SPDX-License-Identifier: Apache-2.0
/* Answers as text, a part at a time: the same text, and nobody's values but ours taken apart. */
#include "rpc_write.h"

#include <stdlib.h>

#include "test.h"

#define MANY 1000

static json_t *many(void)
{
	json_t *a = json_array();

	for (int i = 0; i < MANY; i++)
		json_array_append_new(
			a, json_pack("{s:i, s:[i, s]}", "id", i, "x", i, "\"\xc3\xa4"));
	return a;
}

/* v as text, in as many parts as there can be; *parts: how many that were. Takes v. */
static char *in_parts(json_t *v, unsigned *parts)
{
	struct card_writer w = { 0 };

	card_writer_begin(&w, v);
	for (*parts = 1; card_writer_step(&w, 0); (*parts)++)
		;
	return card_writer_take(&w);
}

static void same_text(void **state)
{
	json_t *values[] = {
		json_pack("{s:s, s:i, s:o}", "jsonrpc", "2.0", "id", 1, "result", many()),
		json_pack("{s:n, s:{s:I, s:o, s:o}, s:b}", "id", "result", "ticks", (json_int_t)5,
			"a\"b", many(), "c", many(), "t", 1),
		json_pack("[o, o]", many(), many()),
		many(),
		json_array(),
		json_object(),
		json_pack("{s:{}, s:[]}", "a", "b"),
		json_string("x"),
		json_true(),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char *want = json_dumps(values[i], JSON_COMPACT | JSON_ENCODE_ANY), *text;
		unsigned parts;

		text = in_parts(values[i], &parts);
		assert_string_equal(text, want);
		assert_true(i >= 4 || i == 2 || parts >= MANY / 80);
		free(text);
		free(want);
	}
}

/* What somebody else holds is written whole and stays whole. */
static void others_are_left_alone(void **state)
{
	json_t *shared = many(), *copy = json_deep_copy(shared), *calls = json_copy(shared);
	unsigned parts;

	(void)state;
	free(in_parts(json_pack("{s:O}", "result", shared), &parts));
	assert_true(json_equal(shared, copy));
	free(in_parts(json_pack("{s:o}", "result", calls), &parts)); // a list of ours of theirs
	assert_true(parts >= MANY / 80);
	assert_true(json_equal(shared, copy));
	json_decref(shared);
	json_decref(copy);
}

static void ends_in_the_middle(void **state)
{
	struct card_writer w = { 0 };

	(void)state;
	card_writer_raw(&w, "[", 1);
	card_writer_begin(&w, json_pack("{s:o}", "result", many()));
	assert_true(card_writer_step(&w, 0));
	card_writer_fini(&w);
	assert_null(w.text);
	card_writer_begin(&w, NULL); // no memory for a value: no text
	assert_false(card_writer_step(&w, 0));
	assert_null(card_writer_take(&w));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(same_text),
		cmocka_unit_test(others_are_left_alone),
		cmocka_unit_test(ends_in_the_middle),
	};

	return cmocka_run_group_tests_name("answers in parts", t, NULL, NULL);
}
