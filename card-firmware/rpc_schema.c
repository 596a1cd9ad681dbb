// SPDX-License-Identifier: Apache-2.0
/* Parameter checks by schema, and readers for parameters that passed. */
#include "rpc_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int card_fail(struct card_error *e, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	card_error_clean(e);
	return ret;
}

void card_error_clean(struct card_error *e)
{
	for (char *p = e->text; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
}

static int check_string(const struct card_param *p, const json_t *v, struct card_error *e)
{
	size_t len;

	if (!json_is_string(v))
		return card_fail(e, CARD_RPC_PARAMS, "%s: must be a string", p->name);
	len = json_string_length(v);
	if (!len && !p->required) // as if not given: clients in Go have every member
		return 0;
	if (len < p->min || (p->max && len > p->max))
		return card_fail(e, CARD_RPC_PARAMS,
			"%s: %zu bytes long, must be %" PRIu64 " to %" PRIu64, p->name, len, p->min,
			p->max);
	return 0;
}

static int check_uint(const struct card_param *p, const json_t *v, struct card_error *e)
{
	json_int_t n;

	if (!json_is_integer(v))
		return card_fail(e, CARD_RPC_PARAMS, "%s: must be a whole number", p->name);
	n = json_integer_value(v);
	if (n == -1 && p->minus)
		return 0;
	if (n < 0 || (uint64_t)n < p->min || (p->max && (uint64_t)n > p->max))
		return card_fail(e, CARD_RPC_PARAMS,
			"%s: %" JSON_INTEGER_FORMAT " is not between %" PRIu64 " and %" PRIu64,
			p->name, n, p->min, p->max ? p->max : (uint64_t)INT64_MAX);
	return 0;
}

static int check_list(const struct card_param *p, const json_t *v, struct card_error *e)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v))
		return card_fail(e, CARD_RPC_PARAMS, "%s: must be a list of strings", p->name);
	if (n < p->min || (p->max && n > p->max))
		return card_fail(e, CARD_RPC_PARAMS,
			"%s: %zu strings, must be %" PRIu64 " to %" PRIu64, p->name, n, p->min,
			p->max);
	for (size_t i = 0; i < n; i++)
		if (!json_is_string(json_array_get(v, i)))
			return card_fail(e, CARD_RPC_PARAMS, "%s: must be strings", p->name);
	return 0;
}

static int check_param(const struct card_param *p, const json_t *v, struct card_error *e)
{
	switch (p->type) {
	case CARD_P_STRING:
		return check_string(p, v, e);
	case CARD_P_UINT:
		return check_uint(p, v, e);
	case CARD_P_BOOL:
		if (!json_is_boolean(v))
			return card_fail(e, CARD_RPC_PARAMS, "%s: must be true or false", p->name);
		return 0;
	case CARD_P_LIST:
		return check_list(p, v, e);
	case CARD_P_OBJECT:
		if (!json_is_object(v))
			return card_fail(e, CARD_RPC_PARAMS, "%s: must be an object", p->name);
		return 0;
	}
	return card_fail(e, CARD_RPC_INTERNAL, "%s: unknown type", p->name);
}

int card_schema_check(const struct card_method *m, const json_t *params, struct card_error *e)
{
	const char *key;
	json_t *v;
	int ret;

	if (params && !json_is_object(params) && !json_is_null(params))
		return card_fail(e, CARD_RPC_PARAMS, "params: must be an object");
	json_object_foreach ((json_t *)(uintptr_t)params, key, v) {
		const struct card_param *p = card_method_param(m, key);

		if (!p)
			return card_fail(
				e, CARD_RPC_PARAMS, "%.64s: unknown parameter of %s", key, m->name);
		ret = check_param(p, v, e);
		if (ret)
			return ret;
	}
	for (unsigned i = 0; i < m->n_params; i++)
		if (m->params[i].required && !json_object_get(params, m->params[i].name))
			return card_fail(e, CARD_RPC_PARAMS, "%s: required parameter of %s",
				m->params[i].name, m->name);
	return 0;
}

const char *card_arg_str(const json_t *params, const char *name, const char *def)
{
	const json_t *v = json_object_get(params, name);

	return json_string_length(v) ? json_string_value(v) : def;
}

uint64_t card_arg_uint(const json_t *params, const char *name, uint64_t def)
{
	const json_t *v = json_object_get(params, name);

	return v ? (uint64_t)json_integer_value(v) : def;
}

bool card_arg_bool(const json_t *params, const char *name, bool def)
{
	const json_t *v = json_object_get(params, name);

	return v ? json_is_true(v) : def;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int card_mac_parse(const char *text, uint8_t mac[6])
{
	if (strlen(text) != CARD_MAC_TEXT - 1)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++) {
		int hi = hex(text[3 * i]), lo = hex(text[3 * i + 1]);

		if (hi < 0 || lo < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

void card_mac_format(const uint8_t mac[6], char out[CARD_MAC_TEXT])
{
	snprintf(out, CARD_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
}
