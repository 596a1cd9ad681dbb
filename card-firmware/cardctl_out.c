// SPDX-License-Identifier: Apache-2.0
/* What cardctl prints for people: aligned tables, "name: value" lines, trees of counters. */
#include "cardctl.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "card_labels.h"

#define COLUMNS_MAX 12

struct column {
	char heading[24], path[64];
	int width;
	bool number; // right-aligned
};

/* Strings of the daemon's guests and peers may hold anything: print what a terminal can take. */
static void put_clean(const char *s, FILE *to)
{
	for (; *s; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, to);
}

static void scalar(const json_t *v, char *out, size_t size)
{
	out[0] = '\0';
	if (json_is_string(v))
		snprintf(out, size, "%s", json_string_value(v));
	else if (json_is_integer(v))
		snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_boolean(v))
		snprintf(out, size, "%s", json_is_true(v) ? "yes" : "no");
	else if (json_is_real(v))
		snprintf(out, size, "%g", json_real_value(v));
	else
		snprintf(out, size, "-");
}

/* "a.b" looked up step by step; NULL when a step is missing. */
static const json_t *at_path(const json_t *o, const char *path)
{
	char step[64];

	while (o && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(step))
			return NULL;
		memcpy(step, path, n);
		step[n] = '\0';
		o = json_object_get(o, step);
		path += n + (path[n] == '.');
	}
	return o;
}

/* ---- tables ---- */

static unsigned parse_columns(const char *spec, struct column *cols)
{
	unsigned n = 0;

	while (*spec && n < COLUMNS_MAX) {
		size_t len = strcspn(spec, " "), eq = strcspn(spec, "=");
		struct column *c = &cols[n++];

		snprintf(c->heading, sizeof(c->heading), "%.*s", (int)eq, spec);
		snprintf(c->path, sizeof(c->path), "%.*s", (int)(len - eq - 1), spec + eq + 1);
		c->width = (int)strlen(c->heading);
		c->number = true;
		spec += len + (spec[len] == ' ');
	}
	return n;
}

static void measure(const json_t *row, struct column *cols, unsigned n)
{
	char cell[CARDCTL_TEXT_MAX];

	for (unsigned i = 0; i < n; i++) {
		const json_t *v = at_path(row, cols[i].path);

		scalar(v, cell, sizeof(cell));
		if ((int)strlen(cell) > cols[i].width)
			cols[i].width = (int)strlen(cell);
		if (v && !json_is_number(v))
			cols[i].number = false;
	}
}

static void put_cell(const struct column *c, const char *text, bool last, FILE *to)
{
	int pad = c->width - (int)strlen(text);

	if (c->number)
		fprintf(to, "%*s", pad, "");
	put_clean(text, to);
	if (!last)
		fprintf(to, "%*s  ", c->number ? 0 : pad, "");
}

static void print_table(const char *spec, const json_t *rows, FILE *to)
{
	struct column cols[COLUMNS_MAX];
	unsigned n = parse_columns(spec, cols);
	char cell[CARDCTL_TEXT_MAX];
	size_t i;
	json_t *row;

	json_array_foreach ((json_t *)(uintptr_t)rows, i, row)
		measure(row, cols, n);
	for (unsigned k = 0; k < n; k++)
		put_cell(&cols[k], cols[k].heading, k + 1 == n, to);
	fputc('\n', to);
	json_array_foreach ((json_t *)(uintptr_t)rows, i, row) {
		for (unsigned k = 0; k < n; k++) {
			scalar(at_path(row, cols[k].path), cell, sizeof(cell));
			put_cell(&cols[k], cell, k + 1 == n, to);
		}
		fputc('\n', to);
	}
}

/* "member: columns; member: columns": a table of each list, with an empty line between two. */
static void print_tables(const char *spec, const json_t *result, FILE *to)
{
	char member[64], columns[512];

	for (const char *sep = ""; *spec; sep = "\n") {
		size_t name = strcspn(spec, ":"), len = strcspn(spec, ";");

		snprintf(member, sizeof(member), "%.*s", (int)name, spec);
		snprintf(columns, sizeof(columns), "%.*s", (int)(len - name - 2), spec + name + 2);
		fputs(sep, to);
		print_table(columns, json_object_get(result, member), to);
		spec += len + (spec[len] ? 2 : 0);
	}
}

/* ---- name: value ---- */

static void print_value(const char *name, const json_t *v, int indent, FILE *to)
{
	char cell[CARDCTL_TEXT_MAX];
	const char *key;
	size_t i;
	json_t *item;

	if (json_is_object(v)) {
		if (name)
			fprintf(to, "%*s%s:\n", indent, "", name);
		json_object_foreach ((json_t *)(uintptr_t)v, key, item)
			print_value(key, item, indent + (name ? 2 : 0), to);
		return;
	}
	if (json_is_array(v)) {
		if (name)
			fprintf(to, "%*s%s:%s\n", indent, "", name,
				json_array_size(v) ? "" : " none");
		json_array_foreach ((json_t *)(uintptr_t)v, i, item)
			print_value(json_is_object(item) ? NULL : "-", item,
				indent + (name ? 2 : 0), to);
		return;
	}
	scalar(v, cell, sizeof(cell));
	fprintf(to, "%*s%s%s ", indent, "", name ? name : "",
		name && strcmp(name, "-") != 0 ? ":" : "");
	put_clean(cell, to);
	fputc('\n', to);
}

/* ---- counters ---- */

struct tree {
	FILE *to;
	enum cardctl_show show;
	const json_t *reasons; // borrowed
	const char *class; // borrowed: which of the reasons
};

static const char *reason_text(const struct tree *t, const char *member, const char *reason)
{
	const char *group = !strcmp(member, "errors")		   ? "queue"
			    : !strcmp(member, "rejected_messages") ? "message"
			    : !strcmp(member, "request_errors")	   ? "disk"
			    : !strcmp(t->class, "net")		   ? "net"
								   : "port";

	return json_string_value(json_object_get(json_object_get(t->reasons, group), reason));
}

static void print_counts(const struct tree *t, const char *member, const json_t *counts, int indent)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)counts, key, v) {
		const char *text = reason_text(t, member, key);

		if (!json_integer_value(v) && t->show == CARDCTL_SHOW_NONZERO)
			continue;
		fprintf(t->to, "%*s%s.%s %" JSON_INTEGER_FORMAT "%s%s%s\n", indent, "", member, key,
			json_integer_value(v), text ? "  (" : "", text ? text : "",
			text ? ")" : "");
	}
}

/* "queues" -> "queue 0", with the part's own label. */
static void print_heading(const struct tree *t, const char *name, const json_t *o, int indent)
{
	char cell[CARDCTL_TEXT_MAX];
	size_t n = strlen(name);

	fprintf(t->to, "%*s%.*s", indent, "", (int)(n - (n && name[n - 1] == 's' && indent)), name);
	for (size_t i = 0; i < CARD_LABELS_N; i++) {
		const json_t *v = json_object_get(o, card_labels[i]);

		if (!v)
			continue;
		scalar(v, cell, sizeof(cell));
		fputc(' ', t->to);
		put_clean(cell, t->to);
	}
	fputc('\n', t->to);
}

/* A state that nothing is in, by its counts. */
static bool is_idle_state(const json_t *o)
{
	const char *key, *name;
	json_t *counts, *n;

	if (!json_object_get(o, "state"))
		return false;
	json_object_foreach ((json_t *)(uintptr_t)o, key, counts)
		json_object_foreach (counts, name, n)
			if (json_integer_value(n))
				return false;
	return true;
}

static void print_part(const struct tree *t, const char *name, const json_t *o, int indent)
{
	const char *key;
	size_t i;
	json_t *v, *item;

	if (t->show == CARDCTL_SHOW_NONZERO && is_idle_state(o))
		return;
	print_heading(t, name, o, indent);
	json_object_foreach ((json_t *)(uintptr_t)o, key, v) {
		if (card_is_label(key))
			continue;
		if (json_is_integer(v) && (json_integer_value(v) || t->show == CARDCTL_SHOW_ALL))
			fprintf(t->to, "%*s%s %" JSON_INTEGER_FORMAT "\n", indent + 2, "", key,
				json_integer_value(v));
		else if (json_is_object(v))
			print_counts(t, key, v, indent + 2);
		json_array_foreach (v, i, item)
			print_part(t, key, item, indent + 2);
	}
}

static void print_stats(const json_t *stats, enum cardctl_show show, FILE *to)
{
	struct tree t = { .to = to, .show = show, .reasons = json_object_get(stats, "reasons") };
	size_t i;
	json_t *objects, *o;

	json_object_foreach ((json_t *)(uintptr_t)stats, t.class, objects) {
		json_array_foreach (objects, i, o)
			print_part(&t, t.class, o, 0);
	}
}

/* The rows of a table: the result, or the one list in it. */
static const json_t *rows_of(const json_t *result)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)result, key, v)
		if (json_is_array(v))
			return v;
	return result;
}

void cardctl_print(
	const struct card_verb *v, const json_t *result, enum cardctl_show show, FILE *to)
{
	const json_t *rows = rows_of(result);

	if (v->method == CARD_M_stats_get)
		print_stats(result, show, to);
	else if (v->method == CARD_M_config_get)
		json_dumpf(result, to, JSON_INDENT(1)), fputc('\n', to);
	else if (v->columns && strchr(v->columns, ':'))
		print_tables(v->columns, result, to);
	else if (v->columns && json_is_array(rows))
		print_table(v->columns, rows, to);
	else if (v->method == CARD_M_bdev_lvol_create) // a name that nobody knew before
		fprintf(to, "%s\n", json_string_value(result));
	else if (!json_is_true(result) && !json_is_string(result))
		print_value(NULL, result, 0, to);
}
