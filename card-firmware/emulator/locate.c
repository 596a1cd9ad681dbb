// SPDX-License-Identifier: Apache-2.0
/* Finds the line of a value in JSON text: jansson keeps no positions. */
#include "topology.h"

#include <stdlib.h>
#include <string.h>

struct scan {
	const char *at;
	unsigned line;
};

static void space(struct scan *s)
{
	for (; *s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n'; s->at++)
		s->line += *s->at == '\n';
}

/* Past a string; its raw text is returned through `len`. */
static const char *string(struct scan *s, size_t *len)
{
	const char *from = ++s->at;

	while (*s->at && *s->at != '"')
		s->at += s->at[0] == '\\' && s->at[1] ? 2 : 1;
	*len = (size_t)(s->at - from);
	if (*s->at)
		s->at++;
	return from;
}

static void skip_value(struct scan *s)
{
	unsigned depth = 0;
	size_t len;

	do {
		space(s);
		switch (*s->at) {
		case '\0':
			return;
		case '"':
			string(s, &len);
			break;
		case '{':
		case '[':
			depth++;
			s->at++;
			break;
		case '}':
		case ']':
			if (depth == 0)
				return;
			depth--;
			s->at++;
			break;
		case ',':
		case ':':
			s->at++;
			break;
		default:
			s->at += strcspn(s->at, ",:]} \t\r\n\"");
		}
	} while (depth > 0);
}

/* From the start of an object or array to the value of the wanted member. False: not there. */
static bool enter(struct scan *s, const char *key, size_t key_len, unsigned long index)
{
	bool array = *s->at == '[';

	if (!array && *s->at != '{')
		return false;
	s->at++;
	for (unsigned long i = 0;; i++) {
		unsigned line;

		space(s);
		if (*s->at == ',') {
			s->at++;
			space(s);
		}
		if (!*s->at || *s->at == ']' || *s->at == '}')
			return false;
		line = s->line;
		if (array) {
			if (!key && i == index)
				return true;
		} else {
			size_t len;
			const char *name = string(s, &len);

			space(s);
			if (*s->at == ':')
				s->at++;
			if (key && len == key_len && !memcmp(name, key, len)) {
				space(s);
				s->line = line; // the line of the key
				return true;
			}
		}
		skip_value(s);
	}
}

unsigned emu_json_line(const char *text, const char *path)
{
	struct scan s = { .at = text, .line = 1 };
	unsigned line;

	space(&s);
	line = s.line;
	while (*path) {
		bool found;

		if (*path == '[') {
			char *end;
			unsigned long index = strtoul(path + 1, &end, 10);

			path = *end == ']' ? end + 1 : end;
			found = enter(&s, NULL, 0, index);
		} else {
			path += *path == '.';
			size_t len = strcspn(path, ".[");

			found = enter(&s, path, len, 0);
			path += len;
		}
		if (!found)
			break;
		line = s.line;
	}
	return line;
}
