// SPDX-License-Identifier: Apache-2.0
/*
 * The configuration file: a JSON list of the calls that cardctl sends, made one after the other at
 * start. Every call is checked before the first is made, and every error is listed, with its line.
 */
#include "card.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "trusted.h"

struct source {
	const char *path; // borrowed
	const char *text; // borrowed; terminated
	unsigned errors;
};

/* ---- lines ---- */

/* Where a walk over the text is: enough structure to tell calls and their keys apart. */
struct walk {
	const char *at;
	unsigned line, depth;
	int call; // index in the list; -1: before the first
};

/* Step over one string; returns its first byte after the quote and its length. */
static const char *take_string(struct walk *w, size_t *len)
{
	const char *start = ++w->at;

	while (*w->at && *w->at != '"') {
		if (*w->at == '\\' && w->at[1])
			w->at++;
		w->at++;
	}
	*len = (size_t)(w->at - start);
	return start;
}

static void take_mark(struct walk *w)
{
	switch (*w->at) {
	case '\n':
		w->line++;
		break;
	case '{':
	case '[':
		if (w->depth == 1)
			w->call++;
		w->depth++;
		break;
	case '}':
	case ']':
		w->depth--;
		break;
	default:
		break;
	}
}

/* Line of a key of call number `call`, or of the call itself when it has no such key. */
static unsigned line_of(const char *text, int call, const char *key)
{
	struct walk w = { .at = text, .line = 1, .call = -1 };
	unsigned found = 0;

	for (; *w.at && w.call <= call; w.at++) {
		if (*w.at == '"') {
			size_t len;
			const char *s = take_string(&w, &len);

			if (!*w.at)
				break;
			if (w.call == call && key && w.depth >= 2 && strlen(key) == len &&
				!strncmp(s, key, len) && w.at[1 + strspn(w.at + 1, " \t")] == ':')
				return w.line;
			continue;
		}
		take_mark(&w);
		if (w.call == call && !found)
			found = w.line;
	}
	return found ? found : 1; // neither object nor list: only the file can be named
}

/* ---- errors ---- */

/* "key: reason" of a failed call; the part before the colon finds the line. */
static void report(struct source *src, int call, const char *text)
{
	char key[64] = "";
	const char *colon = strchr(text, ':');

	if (colon && (size_t)(colon - text) < sizeof(key))
		memcpy(key, text, (size_t)(colon - text));
	fprintf(stderr, "%s:%u: %s\n", src->path, line_of(src->text, call, key), text);
	src->errors++;
}

/* ---- checks ---- */

/* NULL after a report. */
static const struct card_method *check_call(struct source *src, int idx, const json_t *call)
{
	const char *name = json_string_value(json_object_get(call, "method")), *key;
	const struct card_method *m;
	struct card_error e;
	json_t *v;

	if (!json_is_object(call)) {
		report(src, idx, "a call is an object with method and params");
		return NULL;
	}
	json_object_foreach ((json_t *)(uintptr_t)call, key, v) {
		if (strcmp(key, "method") != 0 && strcmp(key, "params") != 0) {
			card_fail(&e, 0, "%.60s: neither method nor params", key);
			report(src, idx, e.text);
		}
	}
	if (!name) {
		report(src, idx, "method: required, a string");
		return NULL;
	}
	m = card_method_find(name);
	if (!m) {
		card_fail(&e, 0, "method: %.64s: no such method", name);
		report(src, idx, e.text);
		return NULL;
	}
	if (m->keep == CARD_KEEP_NONE && strcmp(name, "log_level_set") != 0) {
		card_fail(
			&e, 0, "method: %s changes nothing that a configuration could hold", name);
		report(src, idx, e.text);
		return NULL;
	}
	if (card_schema_check(m, json_object_get(call, "params"), &e))
		report(src, idx, e.text);
	return m;
}

static void run_calls(struct card *c, struct source *src, const json_t *calls)
{
	for (size_t i = 0; i < json_array_size(calls); i++) {
		const json_t *call = json_array_get(calls, i);
		const struct card_method *m = card_method_find(
			json_string_value(json_object_get(call, "method")));
		struct card_error e;
		json_t *result;

		if (card_rpc_run(
			    c, m, json_object_get(call, "params"), CARD_RUN_REPLAY, &result, &e))
			report(src, (int)i, e.text);
		json_decref(result);
	}
}

static int load(struct card *c, struct source *src, size_t len)
{
	json_error_t je;
	json_t *calls = json_loadb(src->text, len, JSON_REJECT_DUPLICATES, &je);

	if (!calls) {
		fprintf(stderr, "%s:%d: %s\n", src->path, je.line, je.text);
		return -EINVAL;
	}
	if (!json_is_array(calls)) {
		fprintf(stderr, "%s:1: the file must be a list of calls\n", src->path);
		json_decref(calls);
		return -EINVAL;
	}
	for (size_t i = 0; i < json_array_size(calls); i++)
		check_call(src, (int)i, json_array_get(calls, i));
	if (!src->errors)
		run_calls(c, src, calls);
	json_decref(calls);
	return src->errors ? -EINVAL : 0;
}

int card_config_load(struct card *c, const char *path)
{
	struct card_error e;
	char *text;
	long len = card_file_read_trusted(AT_FDCWD, path, &text, &e);
	int ret;

	if (len < 0) {
		fprintf(stderr, "%s: %s\n", path, e.text);
		return (int)len;
	}
	ret = load(c, &(struct source){ .path = path, .text = text }, (size_t)len);
	free(text);
	return ret;
}
