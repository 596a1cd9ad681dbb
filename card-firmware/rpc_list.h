/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that list objects, all of them or the one that was asked for. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

struct card_error;

struct card_list {
	const char *only; // borrowed: a name; NULL: all
	json_t *out; // owned until card_list_end(); NULL: no memory
	bool failed;
};

/* `name` is the parameter that says which one is asked for. */
void card_list_begin(struct card_list *l, const json_t *params, const char *name);
bool card_list_wants(const struct card_list *l, const char *name);
/* Takes item; NULL: no memory. False: stop. */
bool card_list_add(struct card_list *l, json_t *item);
/* 0 and *result, -ENOMEM, or -ENODEV with e->text: there is no such `what`. */
int card_list_end(struct card_list *l, const char *what, json_t **result, struct card_error *e);
