/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of cardctl: what is printed, and the documents made from the tables. */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include "card_method.h"
#include "dpu_cli.h"

/* Longest line of one error, and of one cell. */
#define CARDCTL_TEXT_MAX 512

/* How much of the counters is shown. */
enum cardctl_show { CARDCTL_SHOW_NONZERO, CARDCTL_SHOW_ALL };

/* Print a result as a verb's table, as "name: value" lines, or as an indented tree of counters. */
void cardctl_print(
	const struct card_verb *v, const json_t *result, enum cardctl_show show, FILE *to);

/*
 * Turn "name=value" operands into parameters by the method's schema. Returns a new object, or NULL
 * with a reason in err.
 */
json_t *cardctl_params(const struct card_verb *v, char *const *args, int n, char *err, size_t size);

/* One call; *answer is a new reference. 0 or a negative errno. */
typedef int cardctl_call_fn(
	const char *path, const char *method, const json_t *params, json_t **answer);
/*
 * Attach to the console of a VM until Ctrl-], or until input that is not a terminal's has ended and
 * what there is was shown. Exit status.
 */
int cardctl_console(const char *path, const char *name, cardctl_call_fn *call);

/* Help of all commands, of one object's (verb NULL), or of one command. */
void cardctl_help(const struct dpu_cli *cli, const char *object, const char *verb, FILE *to);
void cardctl_man(const struct dpu_cli *cli, FILE *to);
/* outboard-config(5). */
void cardctl_man_config(FILE *to);
void cardctl_completion_bash(const struct dpu_cli *cli, FILE *to);
