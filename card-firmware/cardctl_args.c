// SPDX-License-Identifier: Apache-2.0
/* From "name=value" operands to the parameters of a call, by the method's schema. */
#include "cardctl.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static json_t *bool_value(const char *text)
{
	static const char *const yes[] = { "true", "yes", "on", "1" };
	static const char *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (!strcmp(text, yes[i]))
			return json_true();
		if (!strcmp(text, no[i]))
			return json_false();
	}
	return NULL;
}

static json_t *uint_value(const char *text)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || !isdigit((unsigned char)text[0]) || *end || n > INT64_MAX)
		return NULL;
	return json_integer((json_int_t)n);
}

/* NULL: not UTF-8. */
static json_t *list_value(const char *text)
{
	json_t *list = json_array();

	for (size_t n; *text; text += n + (text[n] == ',')) {
		n = strcspn(text, ",");
		if (json_array_append_new(list, json_stringn(text, n))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *value(const struct card_param *p, const char *text)
{
	switch (p->type) {
	case CARD_P_STRING:
		return json_string(text); // NULL: not UTF-8
	case CARD_P_UINT:
		return p->minus && !strcmp(text, "-1") ? json_integer(-1) : uint_value(text);
	case CARD_P_BOOL:
		return bool_value(text);
	case CARD_P_LIST:
		return list_value(text);
	case CARD_P_OBJECT:
		return NULL; // has a parameter of its own for each member
	}
	return NULL;
}

static int fail(char *err, size_t size, const char *what, const char *why)
{
	snprintf(err, size, "%s: %s", what, why);
	return -EINVAL;
}

static int add(const struct card_method *m, json_t *params, const char *name, const char *text,
	char *err, size_t size)
{
	const struct card_param *p = card_method_param(m, name);
	json_t *v;

	if (!p)
		return fail(err, size, name, "unknown parameter");
	if (json_object_get(params, name))
		return fail(err, size, name, "given twice");
	v = value(p, text);
	if (!v) {
		snprintf(err, size, "%s: \"%s\" is not a %s", name, text,
			card_param_type_name(p->type));
		return -EINVAL;
	}
	return json_object_set_new(params, name, v) ? -ENOMEM : 0;
}

static int add_named(
	const struct card_method *m, json_t *params, const char *arg, char *err, size_t size)
{
	const char *eq = strchr(arg, '=');
	char name[64];

	if (!eq || (size_t)(eq - arg) >= sizeof(name))
		return fail(err, size, arg, "not of the form name=value");
	memcpy(name, arg, (size_t)(eq - arg));
	name[eq - arg] = '\0';
	return add(m, params, name, eq + 1, err, size);
}

static bool has_a_name(const struct card_method *m, const char *arg)
{
	for (unsigned i = 0; i < m->n_params; i++) {
		size_t len = strlen(m->params[i].name);

		if (!strncmp(arg, m->params[i].name, len) && arg[len] == '=')
			return true;
	}
	return false;
}

/*
 * The key stands first and what is an operand like it behind it, unless they are given as
 * name=value like everything else. Returns the number of operands, or a negative errno.
 */
static int add_operands(
	const struct card_verb *v, json_t *params, char *const *args, int n, char *err, size_t size)
{
	const struct card_method *m = card_method_at(v->method);
	const struct card_param *p;
	int i = 0, ret;

	for (; i < n && (p = card_verb_operand(v, (unsigned)i)) && !has_a_name(m, args[i]); i++) {
		ret = add(m, params, p->name, args[i], err, size);
		if (ret)
			return ret;
	}
	return i;
}

json_t *cardctl_params(const struct card_verb *v, char *const *args, int n, char *err, size_t size)
{
	const struct card_method *m = card_method_at(v->method);
	json_t *params = json_object();
	int i = 0, ret = params ? 0 : -ENOMEM;

	err[0] = '\0';
	if (!ret && v->fixed_name)
		ret = add(m, params, v->fixed_name, v->fixed_value, err, size);
	if (!ret)
		i = add_operands(v, params, args, n, err, size);
	if (i < 0)
		ret = i;
	while (!ret && i < n)
		ret = add_named(m, params, args[i++], err, size);
	if (!ret && v->key_required && !json_object_get(params, v->key))
		ret = fail(err, size, v->key, "required");
	for (unsigned k = 0; !ret && k < m->n_params; k++)
		if (m->params[k].required && !json_object_get(params, m->params[k].name))
			ret = fail(err, size, m->params[k].name, "required");
	if (!ret)
		return params;
	if (!err[0])
		snprintf(err, size, "%s", strerror(-ret));
	json_decref(params);
	return NULL;
}
