// SPDX-License-Identifier: Apache-2.0
/*
 * Statistics as OpenMetrics text. All samples of one metric must stand together, while the JSON is
 * ordered by object: samples are gathered per metric first, then joined.
 */
#include "metrics_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "card_labels.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "index.h"

#define LABELS_MAX 512
#define FAMILY_MAX 128
#define LINES_MIN 4096 // more than a line
#define PREFIX "outboard_"

/* The samples of one metric; a gauge's name ends in no _total. */
struct family {
	STAILQ_ENTRY(family) link;
	struct card_index_link by_name;
	char name[FAMILY_MAX];
	char *text; // owned
	size_t len, size;
};

struct card_metrics_page {
	const char *card; // borrowed
	json_t *stats; // owned
	const char *class; // of `stats`: whose turn it is; NULL: none is left
	size_t at; // the next object of the class
	STAILQ_HEAD(, family) families; // owned, in the order in which they came
	struct card_index names;
	bool failed; // no memory
};

/* Bytes of the character there (RFC 3629); 0: it is none. */
static size_t utf8_len(const char *s)
{
	const unsigned char *b = (const unsigned char *)s;
	size_t n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;

	if (b[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
		(b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
		return 0;
	return n;
}

/*
 * Label values: backslash, quote and line feed are escaped. The page is UTF-8 whatever a name is:
 * what is none becomes a question mark, and none is cut in the middle.
 */
static void label_value(char *out, size_t size, const char *value)
{
	size_t n = 0, len;

	for (; *value && n + 5 < size; value += len ? len : 1) {
		len = utf8_len(value);
		if (*value == '\\' || *value == '"' || *value == '\n')
			out[n++] = '\\';
		if (!len)
			out[n++] = '?';
		else if (*value == '\n')
			out[n++] = 'n';
		else
			for (size_t i = 0; i < len; i++)
				out[n++] = value[i];
	}
	out[n] = '\0';
}

/* Append name="value" to a list of labels. */
static void label(char *labels, const char *name, const char *value)
{
	char escaped[200];
	size_t len = strlen(labels);

	label_value(escaped, sizeof(escaped), value);
	snprintf(labels + len, LABELS_MAX - len, "%s%s=\"%s\"", len ? "," : "", name, escaped);
}

static struct family *family_of(struct card_metrics_page *t, const char *name)
{
	struct card_index_link *l = card_index_find(&t->names, name);
	struct family *f;

	if (l)
		return (struct family *)((char *)l - offsetof(struct family, by_name));
	f = dpu_calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	snprintf(f->name, sizeof(f->name), "%s", name);
	if (card_index_add(&t->names, &f->by_name, f->name)) {
		free(f);
		return NULL;
	}
	STAILQ_INSERT_TAIL(&t->families, f, link);
	return f;
}

static void put_line(struct card_metrics_page *t, const char *family, const char *line)
{
	struct family *f = family_of(t, family);
	size_t len = strlen(line);

	if (f && f->size - f->len < len) {
		size_t size = f->size * 2 + LINES_MIN;
		char *text = realloc(f->text, size);

		if (text) {
			f->text = text;
			f->size = size;
		}
	}
	if (!f || f->size - f->len < len) {
		t->failed = true;
		return;
	}
	memcpy(f->text + f->len, line, len);
	f->len += len;
}

static void sample(struct card_metrics_page *t, const char *family, const char *labels,
	const char *suffix, json_int_t value)
{
	char line[FAMILY_MAX + LABELS_MAX + 64];

	snprintf(line, sizeof(line), "%s%s{%s} %" JSON_INTEGER_FORMAT "\n", family, suffix, labels,
		value);
	put_line(t, family, line);
}

static void add_labels(const json_t *o, const char *class, char *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		char number[24];

		if (!card_is_label(key))
			continue;
		if (json_is_integer(v)) {
			snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
				json_integer_value(v));
			label(labels, key, number);
		} else if (json_is_string(v)) {
			label(labels, strcmp(key, "name") ? key : class, json_string_value(v));
		}
	}
}

static void add_gauges(
	struct card_metrics_page *t, const json_t *now, const char *family, const char *labels)
{
	char name[FAMILY_MAX];
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)now, key, v) {
		snprintf(name, sizeof(name), "%.80s_%.40s", family, key);
		sample(t, name, labels, "", json_integer_value(v));
	}
}

static void add_reasons(
	struct card_metrics_page *t, const json_t *by, const char *family, const char *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)by, key, v) {
		char more[LABELS_MAX];

		snprintf(more, sizeof(more), "%s", labels);
		label(more, "reason", key);
		sample(t, family, more, "_total", json_integer_value(v));
	}
}

/* {"below_ns": {"4096": n, ..}, "count": n, "sum_ns": n} in seconds; n: so many took less. */
static void add_histogram(
	struct card_metrics_page *t, const json_t *h, const char *family, const char *labels)
{
	json_int_t count = json_integer_value(json_object_get(h, "count"));
	char line[FAMILY_MAX + LABELS_MAX + 96];
	const char *ns;
	json_t *n;

	json_object_foreach (json_object_get(h, "below_ns"), ns, n) {
		snprintf(line, sizeof(line), "%s_bucket{%s,le=\"%.9g\"} %" JSON_INTEGER_FORMAT "\n",
			family, labels, strtod(ns, NULL) / 1e9, json_integer_value(n));
		put_line(t, family, line);
	}
	snprintf(line, sizeof(line), "%s_bucket{%s,le=\"+Inf\"} %" JSON_INTEGER_FORMAT "\n", family,
		labels, count);
	put_line(t, family, line);
	snprintf(line, sizeof(line), "%s_count{%s} %" JSON_INTEGER_FORMAT "\n", family, labels,
		count);
	put_line(t, family, line);
	snprintf(line, sizeof(line), "%s_sum{%s} %.9f\n", family, labels,
		(double)json_integer_value(json_object_get(h, "sum_ns")) / 1e9);
	put_line(t, family, line);
}

static void add_object(
	struct card_metrics_page *t, const json_t *o, const char *class, const char *outer);

static void add_member(struct card_metrics_page *t, const char *class, const char *key,
	const json_t *v, const char *labels)
{
	char family[FAMILY_MAX], part[FAMILY_MAX];
	size_t i, n = strlen(key);
	json_t *item;

	snprintf(family, sizeof(family), PREFIX "%.40s_%.40s", class, key);
	if (json_is_integer(v)) {
		sample(t, family, labels, "_total", json_integer_value(v));
	} else if (json_is_object(v) && !strcmp(key, "now")) {
		snprintf(family, sizeof(family), PREFIX "%.40s", class);
		add_gauges(t, v, family, labels);
	} else if (json_is_object(v) && json_object_get(v, "below_ns")) {
		add_histogram(t, v, family, labels);
	} else if (json_is_object(v)) {
		add_reasons(t, v, family, labels);
	} else if (json_is_array(v)) { // "queues" of a "disk" -> disk_queue
		snprintf(part, sizeof(part), "%.40s_%.*s", class, (int)(n - (key[n - 1] == 's')),
			key);
		json_array_foreach ((json_t *)(uintptr_t)v, i, item)
			add_object(t, item, part, labels);
	}
}

static void add_object(
	struct card_metrics_page *t, const json_t *o, const char *class, const char *outer)
{
	char labels[LABELS_MAX];
	const char *key;
	json_t *v;

	snprintf(labels, sizeof(labels), "%s", outer);
	add_labels(o, class, labels);
	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		if (!card_is_label(key))
			add_member(t, class, key, v, labels);
	}
}

/* A counter's samples end in _total before the labels; a gauge's do not. */
static const char *type_of(const char *family, const char *line)
{
	const char *end = line + strlen(family);

	if (!strncmp(end, "_bucket", 7))
		return "histogram";
	return strncmp(end, "_total", 6) ? "gauge" : "counter";
}

/* HELP text: backslash and line feed are escaped, quotes too. */
static void put_text(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"' || *s == '\n')
			fputc('\\', f);
		fputc(*s == '\n' ? 'n' : *s, f);
	}
}

/* "Packets dropped, by reason: mtu (longer than the output port's MTU), .." */
static void write_help(const char *family, const json_t *reasons, FILE *f)
{
	const char *group, *text = card_metrics_help(family + strlen(PREFIX), &group), *reason;
	const char *before = ": ";
	json_t *texts, *why;

	if (!text)
		return;
	texts = json_object_get(reasons, group ? group : "");
	fprintf(f, "# HELP %s ", family);
	put_text(text, f);
	json_object_foreach (texts, reason, why) {
		fprintf(f, "%s%s (", before, reason);
		put_text(json_string_value(why), f);
		fputc(')', f);
		before = ", ";
	}
	fputs(".\n", f);
}

static size_t write_head(const struct family *f, const json_t *reasons, FILE *to)
{
	fprintf(to, "# TYPE %s %s\n", f->name, type_of(f->name, f->text));
	write_help(f->name, reasons, to);
	return f->len;
}

/* ---- the page ---- */

int card_metrics_page_begin(const char *card, json_t *stats, struct card_metrics_page **out)
{
	struct card_metrics_page *t = dpu_calloc(1, sizeof(*t));

	if (!t) {
		json_decref(stats);
		return -ENOMEM;
	}
	t->card = card;
	t->stats = stats;
	t->class = json_object_iter_key(json_object_iter(stats));
	STAILQ_INIT(&t->families);
	*out = t;
	return 0;
}

/* The next object is written and forgotten. */
static void page_object(struct card_metrics_page *t)
{
	json_t *objects = json_object_get(t->stats, t->class);
	char labels[LABELS_MAX] = "";

	if (!json_is_array(objects) || t->at == json_array_size(objects)) {
		// no array: the texts of the reasons
		t->at = 0;
		t->class = json_object_iter_key(
			json_object_iter_next(t->stats, json_object_iter_at(t->stats, t->class)));
		return;
	}
	label(labels, "card", t->card);
	add_object(t, json_array_get(objects, t->at), t->class, labels);
	json_array_set_new(objects, t->at++, json_null());
}

bool card_metrics_page_step(struct card_metrics_page *t, uint64_t until_ns)
{
	while (t->class && !t->failed) {
		page_object(t);
		if (dpu_now_ns() >= until_ns)
			break;
	}
	return t->class && !t->failed;
}

char *card_metrics_page_end(struct card_metrics_page *t, size_t *len)
{
	const json_t *reasons = json_object_get(t->stats, "reasons");
	struct family *f;
	char *out = NULL;
	FILE *to = t->failed ? NULL : open_memstream(&out, len);

	while ((f = STAILQ_FIRST(&t->families)) != NULL) {
		STAILQ_REMOVE_HEAD(&t->families, link);
		if (to)
			fwrite(f->text, 1, write_head(f, reasons, to), to);
		free(f->text);
		free(f);
	}
	if (to)
		fputs("# EOF\n", to);
	if (to && fclose(to)) {
		free(out);
		out = NULL;
	}
	card_index_fini(&t->names);
	json_decref(t->stats);
	free(t);
	return out;
}

char *card_metrics_text(const char *card, const json_t *stats)
{
	struct card_metrics_page *t;
	json_t *copy = json_deep_copy(stats);
	size_t len;

	if (!copy || card_metrics_page_begin(card, copy, &t))
		return NULL;
	(void)card_metrics_page_step(t, UINT64_MAX);
	return card_metrics_page_end(t, &len);
}
