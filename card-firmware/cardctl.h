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

/* Help of all commands, of one object's (verb NULL), or of one command. */
void cardctl_help(const struct dpu_cli *cli, const char *object, const char *verb, FILE *to);
void cardctl_man(const struct dpu_cli *cli, FILE *to);
/* outboard-config(5). */
void cardctl_man_config(FILE *to);
void cardctl_completion_bash(const struct dpu_cli *cli, FILE *to);
