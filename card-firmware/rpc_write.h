/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers as text, a part at a time: that of ten thousand objects takes a tenth of a second, which
 * the control thread must not be gone for. What was written is freed on the way. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define CARD_WRITE_DEPTH 6 // of what is written in parts; what lies deeper is written at once

struct card_writer {
	char *text; // owned; not terminated
	size_t len, size;
	bool failed; // no memory
	unsigned depth;
	struct card_write_level {
		json_t *v; // owned: an array or an object that is ours alone
		void *member; // object: the next one; NULL: none
		size_t i; // how many are written
	} at[CARD_WRITE_DEPTH];
};

/* All zero is an empty one; this frees it. */
void card_writer_fini(struct card_writer *w);
/* So many bytes as they are. */
void card_writer_raw(struct card_writer *w, const char *bytes, size_t len);
/* Takes v, of which whatever nobody else holds is taken apart. Nothing else is being written. */
void card_writer_begin(struct card_writer *w, json_t *v);
/* Goes on until it is done (false) or, after a part at least, until then (true: there is more). */
bool card_writer_step(struct card_writer *w, uint64_t until_ns);
/* The text, NUL at its end, to free(); NULL: no memory. The writer is empty then. */
char *card_writer_take(struct card_writer *w);
