// SPDX-License-Identifier: Apache-2.0
/* Answers as text, a part at a time. */
#include "rpc_write.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"

#define FIRST_SIZE 4096u
#define LONG_ARRAY 32u // elements; a shorter one is written at once
#define CLOCK_EVERY 64u // values between two looks at the clock: a short answer has none

void card_writer_fini(struct card_writer *w)
{
	while (w->depth)
		json_decref(w->at[--w->depth].v);
	free(w->text);
	*w = (struct card_writer){ 0 };
}

static bool reserve(struct card_writer *w, size_t len)
{
	size_t size = w->size ? w->size : FIRST_SIZE;
	char *text;

	while (size - w->len < len)
		size *= 2;
	if (size == w->size)
		return true;
	text = realloc(w->text, size);
	if (!text)
		return false;
	w->text = text;
	w->size = size;
	return true;
}

void card_writer_raw(struct card_writer *w, const char *bytes, size_t len)
{
	if (w->failed || !reserve(w, len)) {
		w->failed = true;
		return;
	}
	memcpy(w->text + w->len, bytes, len);
	w->len += len;
}

static int dump(const char *bytes, size_t len, void *arg)
{
	struct card_writer *w = arg;

	card_writer_raw(w, bytes, len);
	return w->failed ? -1 : 0;
}

/* Takes v. */
static void write_whole(struct card_writer *w, json_t *v)
{
	if (json_dump_callback(v, dump, w, JSON_COMPACT | JSON_ENCODE_ANY))
		w->failed = true;
	json_decref(v);
}

/*
 * Is it worth it? The answer itself and its result always are: what is long lies in them. What
 * somebody else holds may change between two parts.
 */
static bool in_parts(const struct card_writer *w, const json_t *v)
{
	if (v->refcount != 1 || w->depth == CARD_WRITE_DEPTH)
		return false;
	if (json_is_array(v))
		return json_array_size(v) > LONG_ARRAY;
	return json_is_object(v) && json_object_size(v) > 0 && w->depth < 2;
}

/* Takes v: written, or the next level. */
static void put(struct card_writer *w, json_t *v)
{
	if (!in_parts(w, v)) {
		write_whole(w, v);
		return;
	}
	w->at[w->depth++] = (struct card_write_level){ .v = v,
		.member = json_is_object(v) ? json_object_iter(v) : NULL };
	card_writer_raw(w, json_is_object(v) ? "{" : "[", 1);
}

static void pop(struct card_writer *w)
{
	struct card_write_level *l = &w->at[--w->depth];

	card_writer_raw(w, json_is_object(l->v) ? "}" : "]", 1);
	json_decref(l->v);
}

/* The next value of the innermost level, and its key. Its place is left empty. */
static void next(struct card_writer *w)
{
	struct card_write_level *l = &w->at[w->depth - 1];
	bool object = json_is_object(l->v);
	json_t *v;

	if (object ? !l->member : l->i == json_array_size(l->v)) {
		pop(w);
		return;
	}
	if (l->i++)
		card_writer_raw(w, ",", 1);
	if (object) {
		write_whole(w, json_string(json_object_iter_key(l->member)));
		card_writer_raw(w, ":", 1);
		v = json_incref(json_object_iter_value(l->member));
		json_object_iter_set_new(l->v, l->member, json_null());
		l->member = json_object_iter_next(l->v, l->member);
	} else {
		v = json_incref(json_array_get(l->v, l->i - 1));
		json_array_set_new(l->v, l->i - 1, json_null());
	}
	put(w, v);
}

void card_writer_begin(struct card_writer *w, json_t *v)
{
	assert(!w->depth);
	if (v)
		put(w, v);
	else
		w->failed = true;
}

bool card_writer_step(struct card_writer *w, uint64_t until_ns)
{
	for (unsigned n = 1; w->depth && !w->failed; n++) {
		next(w);
		if (n % CLOCK_EVERY == 0 && w->depth && dpu_now_ns() >= until_ns)
			return true;
	}
	while (w->depth) // no memory
		json_decref(w->at[--w->depth].v);
	return false;
}

char *card_writer_take(struct card_writer *w)
{
	char *text;

	card_writer_raw(w, "", 1);
	text = w->failed ? NULL : w->text;
	if (text)
		w->text = NULL;
	card_writer_fini(w);
	return text;
}
