// SPDX-License-Identifier: Apache-2.0
/* Answers of a guest's agent over a line that loses bytes and that others print on. */
#include "test.h"

#include <string.h>

#include <event2/buffer.h>

#include "agent.h"

#define SUM_OF_DIGITS "cbf43926" // CRC-32 of "123456789", by the standard's own check

struct line {
	struct emu_agent a;
	struct evbuffer *in, *out, *rest;
	int status;
	size_t len;
};

static void line_open(struct line *l)
{
	*l = (struct line){ .in = evbuffer_new(), .out = evbuffer_new(), .rest = evbuffer_new() };
	l->a.rest = l->rest;
}

static void line_close(struct line *l)
{
	evbuffer_free(l->in);
	evbuffer_free(l->out);
	evbuffer_free(l->rest);
}

static enum emu_agent_event hear(struct line *l, const char *text)
{
	evbuffer_add(l->in, text, strlen(text));
	return emu_agent_next(&l->a, l->in, &l->status, &l->len);
}

static void ask(struct line *l)
{
	assert_int_equal(emu_agent_request(&l->a, l->out, "ls", 5), 0);
}

static void test_answer(void **state)
{
	struct line l;

	(void)state;
	line_open(&l);
	assert_int_equal(hear(&l, "booting\r\n\001READY one\n"), EMU_AGENT_READY);
	assert_int_equal(hear(&l, "\001READY one\n"), EMU_AGENT_MORE); // asked for twice
	ask(&l);
	assert_memory_equal(evbuffer_pullup(l.out, -1), "1 5 4 bHM=\n", 11);
	assert_int_equal(
		hear(&l, "printk: \001DONE 1 3 9 " SUM_OF_DIGITS "\n1234"), EMU_AGENT_MORE);
	assert_int_equal(hear(&l, "56789"), EMU_AGENT_DONE);
	assert_int_equal(l.status, 3);
	assert_int_equal(l.len, 9);
	assert_int_equal(evbuffer_get_length(l.in), 9);
	assert_memory_equal(evbuffer_pullup(l.rest, -1), "booting\r\nprintk: \n", 18);
	line_close(&l);
}

static void test_spoiled(void **state)
{
	struct line l;

	(void)state;
	line_open(&l);
	assert_int_equal(hear(&l, "\001READY one\n"), EMU_AGENT_READY);
	ask(&l);
	assert_int_equal(
		hear(&l, "\001DONE 1 0 9 " SUM_OF_DIGITS "\n12345X789"), EMU_AGENT_SPOILED);
	assert_int_equal(hear(&l, "\001READY one\n"), EMU_AGENT_SPOILED); // it began anew
	// The rest of an answer whose beginning was lost, or the beginning without the rest.
	assert_int_equal(hear(&l, "\001DONE 1 0 9 " SUM_OF_DIGITS "\n123"), EMU_AGENT_MORE);
	emu_agent_gap(&l.a, l.in);
	assert_int_equal(
		hear(&l, "789\001DONE 1 0 9 " SUM_OF_DIGITS "\n123456789"), EMU_AGENT_DONE);
	evbuffer_drain(l.in, 9);
	// Sent twice, as it was asked for twice.
	assert_int_equal(hear(&l, "\001DONE 1 0 9 " SUM_OF_DIGITS "\n123456789"), EMU_AGENT_MORE);
	assert_int_equal(evbuffer_get_length(l.in), 0);
	assert_int_equal(hear(&l, "\001READY two\n"), EMU_AGENT_READY);
	line_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_spoiled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
