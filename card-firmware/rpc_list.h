/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that list objects, all of them or the one that was asked for. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

struct card;
struct card_error;
struct card_volume_view;

struct card_list {
	const char *only; // borrowed: a name; NULL: all
	json_t *out; // owned until card_list_end(); NULL: no memory
	bool found; // what was asked for is there, if nothing of it is in `out` all the same
	bool failed;
};

/* `name` is the parameter that says which one is asked for. */
void card_list_begin(struct card_list *l, const json_t *params, const char *name);
bool card_list_wants(const struct card_list *l, const char *name);
/* Takes item; NULL: no memory. False: stop. */
bool card_list_add(struct card_list *l, json_t *item);
/* 0 and *result, -ENOMEM, or -ENODEV with e->text: there is no such `what`. */
int card_list_end(struct card_list *l, const char *what, json_t **result, struct card_error *e);

/*
 * A list of volumes, of the one that `params` names or of all; many of them in steps. visit: arg is
 * the struct card_list; false: stop. end: as card_list_end().
 */
struct card_list_volumes {
	bool (*visit)(const struct card_volume_view *v, void *arg);
	int (*end)(struct card_list *l, json_t **result, struct card_error *e);
};
/* As a handler: rpc.h. */
int card_list_volumes(struct card *c, const json_t *params, const struct card_list_volumes *how,
	json_t **result, struct card_error *e);
