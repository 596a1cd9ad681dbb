// SPDX-License-Identifier: Apache-2.0
#include "fake_calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fake_calls fake_calls;

void fake_calls_reset(void)
{
	json_decref(fake_calls.last);
	memset(&fake_calls, 0, sizeof(fake_calls));
}

struct task {
	struct card_task task; // first: it is this
	unsigned steps, left;
	int ret;
};

static int task_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct task *x = (struct task *)t;

	(void)e;
	fake_calls.stepped++;
	if (--x->left)
		return CARD_RPC_LATER;
	if (t->settles && !t->kept) {
		x->left = x->steps;
		return x->ret;
	}
	*result = json_string("stepped");
	return x->ret;
}

static void task_destroy(struct card_task *t)
{
	fake_calls.undone += ((struct task *)t)->left != 0;
	free(t);
}

static int task_begin(struct card *c, enum card_method_id id, int ret)
{
	unsigned steps = fake_calls.steps[id];
	struct task *x = c->task && !fake_calls.reads[id] ? NULL : calloc(1, sizeof(*x));

	if (!x)
		return -EBUSY;
	*x = (struct task){ { task_step, task_destroy }, steps, steps, ret };
	x->task.settles = fake_calls.settles[id];
	if (fake_calls.reads[id])
		c->reading = &x->task;
	else
		c->task = &x->task;
	return CARD_RPC_LATER;
}

static int count(enum card_method_id id, const json_t *params)
{
	fake_calls.n[id]++;
	fake_calls.changes += fake_calls.last && params && !json_equal(fake_calls.last, params);
	json_decref(fake_calls.last);
	fake_calls.last = params ? json_deep_copy(params) : json_object();
	fake_calls.last_id = id;
	if (fake_calls.needs[id] && !fake_calls.done[fake_calls.needs[id] - card_method_at(0)])
		return -ENODEV;
	fake_calls.done[id] += fake_calls.ret[id] == 0;
	return fake_calls.ret[id];
}

#define X(name)                                                                              \
	static int fake_##name(                                                              \
		struct card *c, const json_t *params, json_t **result, struct card_error *e) \
	{                                                                                    \
		int ret = count(CARD_M_##name, params);                                      \
                                                                                             \
		(void)e;                                                                     \
		if (fake_calls.steps[CARD_M_##name])                                         \
			return task_begin(c, CARD_M_##name, ret);                            \
		*result = json_string(#name);                                                \
		return ret;                                                                  \
	}
CARD_METHODS(X)
#undef X

const card_call_fn card_calls[CARD_METHOD_COUNT] = {
#define X(name) [CARD_M_##name] = fake_##name,
	CARD_METHODS(X)
#undef X
};

int card_volume_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return 0;
}

int card_switch_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return fake_calls.canon_ret;
}

int card_nvmf_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return 0;
}

int card_vm_canon(struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return 0;
}

void card_top_stop(struct card *c)
{
	(void)c;
}

bool card_volume_queues(const struct card *c, const struct card_method *m, const json_t *params)
{
	(void)c;
	(void)m;
	(void)params;
	return false;
}

bool card_volume_keeps_itself(
	const struct card *c, const struct card_method *m, const json_t *params)
{
	(void)c;
	(void)m;
	(void)params;
	return fake_calls.keeps_itself;
}
