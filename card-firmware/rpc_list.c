// SPDX-License-Identifier: Apache-2.0
/* Lists of objects. */
#include "rpc_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc.h"
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
	else if (l->only && !l->found && !json_array_size(l->out))
		ret = card_fail(e, -ENODEV, "%s: no such %s", l->only, what);
	if (ret)
		json_decref(l->out);
	else
		*result = l->out;
	return ret;
}

/* ---- volumes ---- */

struct listing {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	const struct card_list_volumes *how; // borrowed: static
	struct card_list list;
	struct card_volume_walk walk;
	bool ended; // `list` is no more
};

static int listing_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct listing *x = (struct listing *)t;

	if (card_volume_walk(&x->walk, x->how->visit, &x->list, dpu_now_ns() + CARD_SLICE_NS))
		return CARD_RPC_LATER;
	x->ended = true;
	return x->how->end(&x->list, result, e);
}

static void listing_destroy(struct card_task *t)
{
	struct listing *x = (struct listing *)t;

	card_volume_walk_end(x->card, &x->walk);
	if (!x->ended)
		json_decref(x->list.out);
	free(x);
}

int card_list_volumes(struct card *c, const json_t *params, const struct card_list_volumes *how,
	json_t **result, struct card_error *e)
{
	struct card_volume_view v;
	struct card_list one;
	struct listing *x;

	card_list_begin(&one, params, "name");
	if (one.only) {
		if (!one.failed && !card_volume_get(c, one.only, &v, e))
			(void)how->visit(&v, &one);
		return how->end(&one, result, e);
	}
	x = dpu_calloc(1, sizeof(*x));
	if (!x) {
		json_decref(one.out);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	x->task = (struct card_task){ .step = listing_step, .destroy = listing_destroy };
	x->card = c;
	x->how = how;
	x->list = one;
	card_volume_walk_begin(c, &x->walk);
	c->reading = &x->task;
	return CARD_RPC_LATER;
}
