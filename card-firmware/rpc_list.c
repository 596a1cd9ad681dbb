// SPDX-License-Identifier: Apache-2.0
/* Lists of objects. */
#include "rpc_list.h"

#include <errno.h>
#include <string.h>

#include "card.h"
#include "rpc_schema.h"

void card_list_begin(struct card_list *l, const json_t *params, const char *name)
{
	*l = (struct card_list){ .only = card_arg_str(params, name, NULL), .out = json_array() };
	l->failed = !l->out;
}

bool card_list_wants(const struct card_list *l, const char *name)
{
	return !l->only || !strcmp(l->only, name);
}

bool card_list_add(struct card_list *l, json_t *item)
{
	if (!item || json_array_append_new(l->out, item))
		l->failed = true;
	return !l->failed;
}

int card_list_end(struct card_list *l, const char *what, json_t **result, struct card_error *e)
{
	int ret = 0;

	if (l->failed)
		ret = -ENOMEM;
	else if (l->only && !json_array_size(l->out))
		ret = card_fail(e, -ENODEV, "%s: no such %s", l->only, what);
	if (ret)
		json_decref(l->out);
	else
		*result = l->out;
	return ret;
}
