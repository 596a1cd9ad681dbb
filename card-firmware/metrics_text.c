// SPDX-License-Identifier: Apache-2.0
/*
 * Statistics as OpenMetrics text. All samples of one metric must stand together, while the JSON is
 * ordered by object: samples are gathered per metric first, then written.
 */
#include "metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MAX 512
#define FAMILY_MAX 128
#define PREFIX "outboard_"

struct text {
	json_t *families; // "name" -> array of sample lines; a gauge's name ends in no _total
};

/* Label values: backslash, quote and line feed are escaped. */
static void label_value(char *out, size_t size, const char *value)
{
	size_t n = 0;

	for (; *value && n + 3 < size; value++) {
		if (*value == '\\' || *value == '"' || *value == '\n')
			out[n++] = '\\';
		out[n++] = *value == '\n' ? 'n' : *value;
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

static void put_line(struct text *t, const char *family, const char *line)
{
	json_t *lines = json_object_get(t->families, family);

	if (!lines) {
		lines = json_array();
		json_object_set_new(t->families, family, lines);
	}
	json_array_append_new(lines, json_string(line));
}

static void sample(struct text *t, const char *family, const char *labels, const char *suffix,
	json_int_t value)
{
	char line[FAMILY_MAX + LABELS_MAX + 64];

	snprintf(line, sizeof(line), "%s%s{%s} %" JSON_INTEGER_FORMAT "\n", family, suffix, labels,
		value);
	put_line(t, family, line);
}

static bool is_label(const char *key)
{
	return !strcmp(key, "name") || !strcmp(key, "queue") || !strcmp(key, "pair") ||
	       !strcmp(key, "port") || !strcmp(key, "worker") || !strcmp(key, "state") ||
	       !strcmp(key, "op") || !strcmp(key, "path") || !strcmp(key, "host") ||
	       !strcmp(key, "address") || !strcmp(key, "cntlid");
}

static void add_labels(const json_t *o, const char *class, char *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		char number[24];

		if (!is_label(key))
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

static void add_gauges(struct text *t, const json_t *now, const char *family, const char *labels)
{
	char name[FAMILY_MAX];
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)now, key, v) {
		snprintf(name, sizeof(name), "%.80s_%.40s", family, key);
		sample(t, name, labels, "", json_integer_value(v));
	}
}

static void add_reasons(struct text *t, const json_t *by, const char *family, const char *labels)
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
static void add_histogram(struct text *t, const json_t *h, const char *family, const char *labels)
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

static void add_object(struct text *t, const json_t *o, const char *class, const char *outer);

static void add_member(
	struct text *t, const char *class, const char *key, const json_t *v, const char *labels)
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

static void add_object(struct text *t, const json_t *o, const char *class, const char *outer)
{
	char labels[LABELS_MAX];
	const char *key;
	json_t *v;

	snprintf(labels, sizeof(labels), "%s", outer);
	add_labels(o, class, labels);
	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		if (!is_label(key))
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

static char *write_out(const json_t *families, const json_t *reasons)
{
	char *out = NULL;
	size_t size, i;
	FILE *f = open_memstream(&out, &size);
	const char *family;
	json_t *lines, *line;

	if (!f)
		return NULL;
	json_object_foreach ((json_t *)(uintptr_t)families, family, lines) {
		const char *first = json_string_value(json_array_get(lines, 0));

		fprintf(f, "# TYPE %s %s\n", family, type_of(family, first));
		write_help(family, reasons, f);
		json_array_foreach (lines, i, line)
			fputs(json_string_value(line), f);
	}
	fputs("# EOF\n", f);
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

char *card_metrics_text(const char *card, const json_t *stats)
{
	struct text t = { .families = json_object() };
	char labels[LABELS_MAX] = "", *out;
	const char *class;
	size_t i;
	json_t *objects, *o;

	if (!t.families)
		return NULL;
	label(labels, "card", card);
	json_object_foreach ((json_t *)(uintptr_t)stats, class, objects) {
		if (!json_is_array(objects))
			continue; // the texts of the reasons
		json_array_foreach (objects, i, o)
			add_object(&t, o, class, labels);
	}
	out = write_out(t.families, json_object_get(stats, "reasons"));
	json_decref(t.families);
	return out;
}
