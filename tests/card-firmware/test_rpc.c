// SPDX-License-Identifier: Apache-2.0
/* Method tables, schema checks, framing, and JSON-RPC 2.0 answers. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fake_calls.h"
#include "rpc_schema.h"
#include "test.h"

static unsigned count_operands(const struct card_verb *v)
{
	unsigned n = 0;

	while (card_verb_operand(v, n))
		n++;
	return n;
}

/* An operand that may be left out is behind those that may not: else it could not be left out. */
static bool operands_in_order(const struct card_verb *v)
{
	const struct card_param *p;
	bool optional = false;

	for (unsigned n = 0; (p = card_verb_operand(v, n)); n++) {
		bool required = n ? p->required : v->key_required;

		if (required && optional)
			return false;
		optional |= !required;
	}
	return true;
}

/* The key, and each word of the others. */
static unsigned operands_said(const struct card_verb *v)
{
	unsigned n = v->key ? 1 + (v->more != NULL) : 0;

	for (const char *at = v->more; at && *at; at++)
		n += *at == ' ';
	return n;
}

static void tables(void **state)
{
	const struct card_method *m;
	const struct card_verb *v;
	unsigned n = 0;

	(void)state;
	for (; (m = card_method_at(n)); n++) {
		assert_non_null(m->name);
		assert_non_null(m->help);
		assert_ptr_equal(card_method_find(m->name), m);
		assert_true(!m->key || card_method_param(m, m->key));
		assert_true(!m->key2 || card_method_param(m, m->key2));
		assert_true((m->keep == CARD_KEEP_NONE) == (m->kind == NULL));
		for (unsigned i = 0; i < m->n_params; i++) {
			const struct card_param *p = &m->params[i];

			assert_non_null(p->help);
			assert_ptr_equal(card_method_param(m, p->name), p); // one of the name
			/* What has no effect says so. */
			assert_true(!p->compat || (strstr(p->help, "SPDK") && !p->required));
		}
	}
	assert_int_equal(n, CARD_METHOD_COUNT);
	for (unsigned i = 0; (v = card_verb_at(i)); i++) {
		m = card_method_at(v->method);
		assert_true(!v->key || card_method_param(m, v->key));
		assert_int_equal(count_operands(v), operands_said(v));
		assert_true(operands_in_order(v));
		assert_true(!v->fixed_name || card_method_param(m, v->fixed_name));
		assert_ptr_equal(card_verb_find(v->object, v->verb), v);
	}
}

/* ---- answers ---- */

static const struct answer_case {
	const char *name, *request;
	int code; // of the error; 0: a result, 1: no answer at all
	const char *says; // part of the message
} answers[] = {
	{ "a call", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\"}", 0, NULL },
	{ "empty params", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\",\"params\":{}}",
		0, NULL },
	{ "null params", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\",\"params\":null}",
		0, NULL },
	{ "an optional string that is empty",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"bdev_get_bdevs\","
		"\"params\":{\"name\":\"\"}}",
		0, NULL },
	{ "JR-05 notification", "{\"jsonrpc\":\"2.0\",\"method\":\"card_info\"}", 1, NULL },
	{ "id null", "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"card_info\"}", 0, NULL },
	{ "JR-05 params as array",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\",\"params\":[1]}",
		CARD_RPC_PARAMS, "params: must be an object" },
	{ "JR-05 duplicate key", "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"card_info\"}",
		CARD_RPC_REQUEST, "duplicate" },
	{ "duplicate key below",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"name\":"
		"\"a\","
		"\"name\":\"b\"}}",
		CARD_RPC_REQUEST, "duplicate" },
	{ "not JSON inside", "{\"jsonrpc\":2.0.0}", CARD_RPC_PARSE, NULL },
	{ "old version", "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"card_info\"}",
		CARD_RPC_REQUEST, "jsonrpc" },
	{ "no version", "{\"id\":1,\"method\":\"card_info\"}", CARD_RPC_REQUEST, "jsonrpc" },
	{ "method is a number", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", CARD_RPC_REQUEST,
		"method" },
	{ "id is an object", "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"card_info\"}",
		CARD_RPC_REQUEST, "id" },
	{ "unknown member", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\",\"auth\":1}",
		CARD_RPC_REQUEST, "auth" },
	{ "unknown method", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reboot\"}", CARD_RPC_METHOD,
		"reboot" },
	{ "empty batch", "[]", CARD_RPC_REQUEST, "batch" },
	{ "unknown parameter",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"name\":"
		"\"a\","
		"\"force\":true}}",
		CARD_RPC_PARAMS, "force: unknown parameter of net_delete" },
	{ "missing parameter", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\"}",
		CARD_RPC_PARAMS, "name: required" },
	{ "wrong type",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"name\":5}}",
		CARD_RPC_PARAMS, "name: must be a string" },
	{ "empty name",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"name\":\"\"}"
		"}",
		CARD_RPC_PARAMS, "name: 0 bytes" },
	{ "JR-06 long name",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"name\":"
		"\"0123456789012345678901234567890123456789012345678901234567890123\"}}",
		CARD_RPC_PARAMS, "name: 64 bytes" },
	{ "CF-02 queue 0",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_create\",\"params\":{\"name\":"
		"\"a\","
		"\"queue_pairs\":0}}",
		CARD_RPC_PARAMS, "queue_pairs: 0 is not between 1 and 127" },
	{ "negative number",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_create\",\"params\":{\"name\":"
		"\"a\","
		"\"mtu\":-1}}",
		CARD_RPC_PARAMS, "mtu: -1" },
	{ "speed past what virtio can say",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_create\",\"params\":{\"name\":"
		"\"a\","
		"\"speed_mbps\":2147483648}}",
		CARD_RPC_PARAMS, "speed_mbps: 2147483648 is not between 0 and 2147483647" },
	{ "fraction",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_create\",\"params\":{\"name\":"
		"\"a\","
		"\"mtu\":1500.5}}",
		CARD_RPC_PARAMS, "mtu: must be a whole number" },
	{ "text for a bool",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_create\",\"params\":{\"name\":"
		"\"a\","
		"\"client\":\"yes\"}}",
		CARD_RPC_PARAMS, "client: must be true or false" },
	{ "text for a list",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tunnel_create\",\"params\":{\"name\":"
		"\"a\",\"type\":\"geneve\",\"known_options\":\"1:0x80\"}}",
		CARD_RPC_PARAMS, "known_options: must be a list of strings" },
	{ "a list of numbers",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tunnel_create\",\"params\":{\"name\":"
		"\"a\",\"type\":\"geneve\",\"known_options\":[\"1:0x80\",128]}}",
		CARD_RPC_PARAMS, "known_options: must be strings" },
	{ "a list that is too long",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tunnel_create\",\"params\":{\"name\":"
		"\"a\",\"type\":\"geneve\",\"known_options\":[\"1:0x80\",\"1:0x80\",\"1:0x80\",\"1:"
		"0x80\",\"1:0x80\",\"1:0x80\",\"1:0x80\",\"1:0x80\",\"1:0x80\"]}}",
		CARD_RPC_PARAMS, "known_options: 9 strings, must be 0 to 8" },
	{ "an empty list",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tunnel_create\",\"params\":{\"name\":"
		"\"a\",\"type\":\"geneve\",\"known_options\":[]}}",
		0, NULL },
	{ "JR-06 terminal codes in a parameter's name",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"net_delete\",\"params\":{\"\\u001b["
		"2J\":1}}",
		CARD_RPC_PARAMS, "?[2J: unknown" },
	{ "bad UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", CARD_RPC_PARSE, NULL },
	{ "NUL in a string", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\u0000b\"}",
		CARD_RPC_PARSE, NULL },
};

static void answer(void **state)
{
	const struct answer_case *t = *state;
	struct card c = { 0 };
	char *text = card_rpc_answer(&c, t->request, strlen(t->request), NULL);
	json_t *a, *error;

	fake_calls_reset();
	if (t->code == 1) {
		assert_null(text);
		return;
	}
	a = json_loads(text, 0, NULL);
	assert_non_null(a);
	assert_string_equal(json_string_value(json_object_get(a, "jsonrpc")), "2.0");
	assert_non_null(json_object_get(a, "id"));
	error = json_object_get(a, "error");
	assert_int_equal(json_integer_value(json_object_get(error, "code")), t->code);
	if (t->says)
		assert_non_null(
			strstr(json_string_value(json_object_get(error, "message")), t->says));
	assert_true((error == NULL) == (json_object_get(a, "result") != NULL));
	json_decref(a);
	free(text);
}

static void batches(void **state)
{
	static const char one[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\"}";
	struct card c = { 0 };

	(void)state;
	for (unsigned n = 63; n <= 66; n++) {
		json_t *batch = json_array(), *a;
		char *text, *out;

		for (unsigned i = 0; i < n; i++)
			json_array_append_new(batch, json_loads(one, 0, NULL));
		text = json_dumps(batch, JSON_COMPACT);
		fake_calls_reset();
		out = card_rpc_answer(&c, text, strlen(text), NULL);
		a = json_loads(out, 0, NULL);
		if (n <= CARD_RPC_BATCH_MAX) {
			assert_int_equal(json_array_size(a), n);
			assert_int_equal(fake_calls.n[CARD_M_card_info], n);
		} else { // JR-05: refused as a whole
			assert_true(json_is_object(a));
			assert_int_equal(fake_calls.n[CARD_M_card_info], 0);
		}
		json_decref(a);
		json_decref(batch);
		free(text);
		free(out);
	}
}

static void errors_carry_errno(void **state)
{
	static const char req[] = "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"net_delete\","
				  "\"params\":{\"name\":\"a\"}}";
	struct card c = { 0 };
	json_t *a, *error;
	char *text;

	(void)state;
	fake_calls_reset();
	fake_calls.ret[CARD_M_net_delete] = -EBUSY;
	text = card_rpc_answer(&c, req, strlen(req), NULL);
	a = json_loads(text, 0, NULL);
	error = json_object_get(a, "error");
	assert_int_equal(json_integer_value(json_object_get(error, "code")), -EBUSY);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(error, "data"), "errno")),
		"EBUSY");
	assert_string_equal(json_string_value(json_object_get(a, "id")), "x");
	json_decref(a);
	free(text);
}

/* JR-14: a call while the card stops is refused whole. */
static void stopping_is_busy(void **state)
{
	struct card c = { .stopping = true };
	struct card_error e;
	json_t *result;

	(void)state;
	fake_calls_reset();
	assert_int_equal(card_rpc_dispatch(&c, "card_info", NULL, &result, &e), CARD_RPC_BUSY);
	assert_int_equal(fake_calls.n[CARD_M_card_info], 0);
}

/* ---- secrets ---- */

#define SECRET "NVMeTLSkey-1:01:c2VjcmV0"

/* What a call says at log level debug, and its answer: one text. Free it. */
static char *said(const char *request)
{
	struct card c = { 0 };
	FILE *log = tmpfile();
	int keep = dup(STDERR_FILENO);
	char *answer, *logged, *all;
	long len;

	dpu_log_level_set(DPU_LOG_DEBUG);
	fflush(stderr);
	dup2(fileno(log), STDERR_FILENO);
	answer = card_rpc_answer(&c, request, strlen(request), NULL);
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	dpu_log_level_set(DPU_LOG_WARN);
	assert_int_equal(fseek(log, 0, SEEK_END), 0);
	len = ftell(log);
	rewind(log);
	logged = calloc(1, (size_t)len + 1);
	assert_int_equal(fread(logged, 1, (size_t)len, log), len);
	assert_true(asprintf(&all, "%s%s", logged, answer) > 0);
	free(logged);
	free(answer);
	fclose(log);
	return all;
}

/*
 * JR-12: what somebody sends as a secret is in neither answer nor log, whichever method refuses it;
 * and whoever adds one comes by here. Only the making of keys takes one.
 */
static void secrets_are_not_repeated(void **state)
{
	enum { PSK, KEY };
	static const char *const names[] = {
		[PSK] = "psk", [KEY] = "key", "secret", "password", "dhchap_key"
	};
	const struct card_method *m;

	(void)state;
	for (unsigned i = 0; (m = card_method_at(i)); i++) {
		fake_calls_reset();
		fake_calls.ret[i] = -EINVAL;
		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			char request[512], *text;

			bool taken = card_method_param(m, names[k]) != NULL;

			assert_int_equal(taken, i == CARD_M_accel_crypto_key_create && k == KEY);
			snprintf(request, sizeof(request),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{\"%"
				"s\":"
				"\"" SECRET "\",\"more\":[\"" SECRET "\"]}}",
				m->name, names[k]);
			text = said(request);
			assert_non_null(strstr(text, taken ? "must be" : "unknown parameter"));
			assert_null(strstr(text, SECRET));
			free(text);
		}
	}
}

/* Nor is a value of the wrong type or length. */
static void bad_values_are_not_repeated(void **state)
{
	const struct card_method *m;

	(void)state;
	for (unsigned i = 0; (m = card_method_at(i)); i++) {
		for (unsigned k = 0; k < m->n_params; k++) {
			const struct card_param *p = &m->params[k];
			char request[65536], *text;
			size_t fill = p->type == CARD_P_STRING ? p->max : 0;

			if (fill > sizeof(request) - 512 || (p->type == CARD_P_STRING && !p->max))
				continue;
			snprintf(request, sizeof(request),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{\"%"
				"s\":"
				"\"" SECRET "%0*d\"}}",
				m->name, p->name, (int)fill, 0);
			text = said(request);
			assert_non_null(strstr(text, "\"error\""));
			assert_null(strstr(text, SECRET));
			free(text);
		}
	}
}

/* ---- framing ---- */

static const char stream[] = " {\"a\":\"}\\\"]{\"} [[1],{}]\n{\"b\":{\"c\":[]}}{}";
static const char *const messages[] = { " {\"a\":\"}\\\"]{\"}", " [[1],{}]", "\n{\"b\":{\"c\":[]}}",
	"{}" };

/* The same messages come out however the bytes arrive: cut at every pair of places. */
static void frames(void **state)
{
	size_t len = strlen(stream);

	(void)state;
	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b++) {
			struct card_frame f = { 0 };
			size_t cuts[] = { 0, a, b, len }, start = 0, n = 0, used;

			for (unsigned part = 0; part < 3; part++) {
				size_t at = cuts[part];

				while (at < cuts[part + 1]) {
					enum card_frame_result r = card_frame_scan(
						&f, stream + at, cuts[part + 1] - at, &used);

					at += used;
					if (r != CARD_FRAME_DONE)
						break;
					assert_int_equal(at - start, strlen(messages[n]));
					assert_memory_equal(
						stream + start, messages[n], at - start);
					start = at;
					n++;
				}
			}
			assert_int_equal(n, ARRAY_LEN(messages));
		}
	}
}

static void frame_refuses(void **state)
{
	static const char *const bad[] = { "x", "\"a\"", "1", "}", "]", "\x01", "  null" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct card_frame f = { 0 };
		size_t used;

		assert_int_equal(
			card_frame_scan(&f, bad[i], strlen(bad[i]), &used), CARD_FRAME_BAD);
	}
}

static void addresses(void **state)
{
	static const struct {
		const char *text;
		int ret;
	} rows[] = { { "52:54:00:aB:cd:0f", 0 }, { "52:54:00:ab:cd:0g", -EINVAL },
		{ "52-54-00-ab-cd-0f", -EINVAL }, { "52:54:00:ab:cd:f", -EINVAL },
		{ "52:54:00:ab:cd:0ff", -EINVAL }, { "", -EINVAL } };
	char text[CARD_MAC_TEXT];
	uint8_t mac[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(card_mac_parse(rows[i].text, mac), rows[i].ret);
	assert_int_equal(card_mac_parse(rows[0].text, mac), 0);
	card_mac_format(mac, text);
	assert_string_equal(text, "52:54:00:ab:cd:0f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),
		cmocka_unit_test(batches),
		cmocka_unit_test(errors_carry_errno),
		cmocka_unit_test(stopping_is_busy),
		{ "JR-12 secrets", secrets_are_not_repeated, NULL, NULL, NULL },
		{ "JR-12 bad values", bad_values_are_not_repeated, NULL, NULL, NULL },
		cmocka_unit_test(frames),
		cmocka_unit_test(frame_refuses),
		cmocka_unit_test(addresses),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(answers, answer, failed);
	fake_calls_reset();
	return failed;
}
