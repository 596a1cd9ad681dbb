// SPDX-License-Identifier: Apache-2.0
/* Text in the syntax of "ovs-appctl dpctl": what keys and actions are written and read with. */
#include "text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- writing ---- */

void odp_out_put(struct odp_out *o, const char *fmt, ...)
{
	va_list ap;
	size_t room = o->len < o->size ? o->size - o->len : 0;

	va_start(ap, fmt);
	int n = vsnprintf(room ? o->buf + o->len : NULL, room, fmt, ap);

	va_end(ap);
	if (n > 0)
		o->len += (size_t)n;
}

void odp_out_hex(struct odp_out *o, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		odp_out_put(o, "%02x", b[i]);
}

int odp_out_finish(const struct odp_out *o)
{
	return o->len < o->size ? (int)o->len : -ENOSPC;
}

bool odp_is_all(const uint8_t *b, size_t n, uint8_t v)
{
	for (size_t i = 0; i < n; i++)
		if (b[i] != v)
			return false;
	return true;
}

uint32_t odp_field_uint(const uint8_t *b, size_t n)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | b[i];
	return v;
}

void odp_out_value(struct odp_out *o, enum odp_field_type type, const uint8_t *b, size_t n)
{
	char text[INET6_ADDRSTRLEN];

	switch (type) {
	case FIELD_MAC:
		odp_out_put(o, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
		break;
	case FIELD_IPV4:
		odp_out_put(o, "%s", inet_ntop(AF_INET, b, text, sizeof(text)));
		break;
	case FIELD_IPV6:
		odp_out_put(o, "%s", inet_ntop(AF_INET6, b, text, sizeof(text)));
		break;
	case FIELD_HEX:
		odp_out_put(o, "%#" PRIx32, odp_field_uint(b, n));
		break;
	case FIELD_DEC:
		odp_out_put(o, "%" PRIu32, odp_field_uint(b, n));
		break;
	case FIELD_FRAG:
		odp_out_put(o, "%s", odp_frag_names[b[0] % 3]);
		break;
	}
}

const char *const odp_frag_names[3] = { "no", "first", "later" };

/* The mask of all bits of a number; with 4 bytes it is the flow label, of 20 bits. */
static uint32_t all_of(const struct odp_field *f)
{
	return f->size >= 4 ? 0xfffff : (1u << f->size * 8) - 1;
}

void odp_out_field(struct odp_out *o, const struct odp_field *f, const void *key, const void *mask,
	const char **sep)
{
	const uint8_t *k = (const uint8_t *)key + f->off, *m = (const uint8_t *)mask + f->off;
	bool number = f->type == FIELD_DEC || f->type == FIELD_HEX;

	if (odp_is_all(m, f->size, 0))
		return;
	odp_out_put(o, "%s%s=", *sep, f->name);
	*sep = ",";
	odp_out_value(o, f->type, k, f->size);
	if (number ? (odp_field_uint(m, f->size) & all_of(f)) == all_of(f)
		   : odp_is_all(m, f->size, 0xff))
		return;
	odp_out_put(o, "/");
	odp_out_value(o, number || f->type == FIELD_FRAG ? FIELD_HEX : f->type, m, f->size);
}

bool odp_fields_any(const struct odp_field *f, const void *mask)
{
	for (; f->name; f++)
		if (!odp_is_all((const uint8_t *)mask + f->off, f->size, 0))
			return true;
	return false;
}

void odp_out_fields(struct odp_out *o, const struct odp_field *f, const void *key, const void *mask)
{
	const char *sep = "";

	for (; f->name; f++)
		odp_out_field(o, f, key, mask, &sep);
}

/* ---- reading ---- */

bool odp_in_take(struct odp_in *in, const char *s)
{
	size_t n = strlen(s);

	if (strncmp(in->text + in->at, s, n) != 0)
		return false;
	in->at += n;
	return true;
}

void odp_in_space(struct odp_in *in)
{
	while (isspace((unsigned char)in->text[in->at]))
		in->at++;
}

/* The characters up to one of `stop` or the end. False: none, or too many. */
bool odp_in_word(struct odp_in *in, const char *stop, char out[ODP_WORD_MAX])
{
	size_t n = strcspn(in->text + in->at, stop);

	if (n == 0 || n >= ODP_WORD_MAX)
		return false;
	memcpy(out, in->text + in->at, n);
	out[n] = '\0';
	in->at += n;
	return true;
}

bool odp_uint_of(const char *w, uint32_t max, uint32_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*w))
		return false;
	errno = 0;
	unsigned long long v = strtoull(w, &end, 0);
	if (*end || errno || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool mac_of(const char *w, uint8_t out[6])
{
	for (unsigned i = 0; i < 6; i++) {
		char *end;

		if (!isxdigit((unsigned char)w[0]))
			return false;
		unsigned long v = strtoul(w, &end, 16);

		if (v > 0xff || end - w > 2 || *end != (i < 5 ? ':' : '\0'))
			return false;
		out[i] = (uint8_t)v;
		w = end + 1;
	}
	return true;
}

bool odp_value_of(const struct odp_field *f, const char *w, uint8_t *out)
{
	uint32_t v, max = f->size >= 4 ? UINT32_MAX : (1u << f->size * 8) - 1;

	switch (f->type) {
	case FIELD_MAC:
		return mac_of(w, out);
	case FIELD_IPV4:
		return inet_pton(AF_INET, w, out) == 1;
	case FIELD_IPV6:
		return inet_pton(AF_INET6, w, out) == 1;
	case FIELD_FRAG:
		for (uint8_t i = 0; i < 3; i++)
			if (!strcmp(w, odp_frag_names[i])) {
				*out = i;
				return true;
			}
		return false;
	case FIELD_DEC:
	case FIELD_HEX:
		if (!odp_uint_of(w, max, &v))
			return false;
		for (size_t i = 0; i < f->size; i++)
			out[i] = (uint8_t)(v >> (f->size - 1 - i) * 8);
		return true;
	}
	return false;
}

static void prefix_of(uint32_t bits, uint8_t *out, size_t size)
{
	memset(out, 0, size);
	for (uint32_t i = 0; i < bits; i++)
		out[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

/* "/mask": in the field's own form, a number, or a prefix length for addresses. */
static bool mask_of(const struct odp_field *f, const char *w, uint8_t *out)
{
	struct odp_field plain = *f;
	uint32_t bits;

	if (f->type == FIELD_FRAG)
		plain.type = FIELD_HEX;
	if (odp_value_of(&plain, w, out))
		return true;
	if (f->type != FIELD_IPV4 && f->type != FIELD_IPV6)
		return false;
	if (!odp_uint_of(w, (uint32_t)f->size * 8, &bits))
		return false;
	prefix_of(bits, out, f->size);
	return true;
}

/* "value[/mask]" up to ',' or ')'. */
bool odp_in_field(struct odp_in *in, const struct odp_field *f, void *key, void *mask)
{
	uint8_t *k = (uint8_t *)key + f->off, *m = (uint8_t *)mask + f->off;
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	if (!odp_in_word(in, "/,)", w) || !odp_value_of(f, w, k)) {
		in->at = start;
		return false;
	}
	memset(m, 0xff, f->size);
	start = in->at;
	if (odp_in_take(in, "/") && (!odp_in_word(in, ",)", w) || !mask_of(f, w, m))) {
		in->at = start;
		return false;
	}
	return true;
}

int odp_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t odp_in_hex(struct odp_in *in, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (;; in->at += 2, n++) {
		int high = odp_digit(in->text[in->at]);
		int low = high < 0 ? -1 : odp_digit(in->text[in->at + 1]);

		if (low < 0)
			return n;
		if (n < max)
			out[n] = (uint8_t)(high << 4 | low);
	}
}

bool odp_port_of(struct odp *dp, const char *w, uint32_t *out)
{
	const struct odp_port *p;

	if (odp_uint_of(w, UINT32_MAX, out))
		return true;
	p = odp_port_by_name(dp, w);
	if (!p)
		return false;
	*out = odp_port_no(p);
	return true;
}

bool odp_in_uint(struct odp_in *in, struct odp *dp, uint32_t *value, uint32_t *mask)
{
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	if (!odp_in_word(in, "/)", w) ||
		!(dp ? odp_port_of(dp, w, value) : odp_uint_of(w, UINT32_MAX, value))) {
		in->at = start;
		return false;
	}
	*mask = UINT32_MAX;
	start = in->at;
	if (odp_in_take(in, "/") &&
		(!odp_in_word(in, ")", w) || !odp_uint_of(w, UINT32_MAX, mask))) {
		in->at = start;
		return false;
	}
	return odp_in_take(in, ")");
}

static const struct odp_field *field_of(const struct odp_field *f, const char *name)
{
	static const char *const other[][2] = { { "src_port", "tp_src" },
		{ "dst_port", "tp_dst" } };

	for (; f->name; f++) {
		if (!strcmp(f->name, name))
			return f;
		for (unsigned i = 0; i < 2; i++)
			if (!strcmp(other[i][0], name) && !strcmp(other[i][1], f->name))
				return f;
	}
	return NULL;
}

bool odp_in_named(struct odp_in *in, const struct odp_field *fields, void *key, void *mask)
{
	const struct odp_field *f;
	char name[ODP_WORD_MAX];
	size_t start = in->at;

	if (!odp_in_word(in, "=,)(", name))
		return false;
	f = field_of(fields, name);
	if (!f || !odp_in_take(in, "=")) {
		in->at = start;
		return false;
	}
	return odp_in_field(in, f, key, mask);
}

bool odp_in_fields(struct odp_in *in, const struct odp_field *fields, void *key, void *mask)
{
	while (!odp_in_take(in, ")")) {
		if (!odp_in_named(in, fields, key, mask) ||
			(!odp_in_take(in, ",") && in->text[in->at] != ')'))
			return false;
	}
	return true;
}
