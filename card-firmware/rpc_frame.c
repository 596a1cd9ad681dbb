// SPDX-License-Identifier: Apache-2.0
/*
 * Splits a byte stream into JSON values. Only brackets and strings are looked at, each byte once;
 * whether the value is JSON is the parser's question.
 */
#include "rpc.h"

static enum card_frame_result begin(struct card_frame *f, char c)
{
	if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		return CARD_FRAME_MORE;
	if (c != '{' && c != '[')
		return CARD_FRAME_BAD;
	*f = (struct card_frame){ .started = true, .depth = 1 };
	return CARD_FRAME_MORE;
}

/* True when this byte ends the value. */
static bool step(struct card_frame *f, char c)
{
	if (f->in_string) {
		if (f->escaped)
			f->escaped = false;
		else if (c == '\\')
			f->escaped = true;
		else if (c == '"')
			f->in_string = false;
		return false;
	}
	if (c == '"')
		f->in_string = true;
	else if (c == '{' || c == '[')
		f->depth++;
	else if (c == '}' || c == ']')
		return --f->depth == 0;
	return false;
}

enum card_frame_result card_frame_scan(
	struct card_frame *f, const char *bytes, size_t n, size_t *used)
{
	for (size_t i = 0; i < n; i++) {
		if (!f->started) {
			if (begin(f, bytes[i]) == CARD_FRAME_BAD) {
				*used = i;
				return CARD_FRAME_BAD;
			}
		} else if (step(f, bytes[i])) {
			*f = (struct card_frame){ 0 };
			*used = i + 1;
			return CARD_FRAME_DONE;
		}
	}
	*used = n;
	return CARD_FRAME_MORE;
}
