/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line options as a table. The parser, --help and the manual page all come from it, so they
 * cannot disagree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum dpu_opt_type { DPU_OPT_FLAG, DPU_OPT_STR, DPU_OPT_UINT, DPU_OPT_LIST };

#define DPU_OPT_LIST_MAX 64

struct dpu_opt_list {
	const char *v[DPU_OPT_LIST_MAX]; // borrowed from argv
	unsigned n;
};

struct dpu_opt {
	const char *name; // long option without the dashes: "mem-mib"
	enum dpu_opt_type type;
	void *out; // bool *, const char **, uint64_t *, struct dpu_opt_list *
	const char *arg; // name of the argument in help; NULL for a flag
	const char *help; // one sentence without a full stop
	uint64_t min, max; // DPU_OPT_UINT only; max 0 means no bound
};

struct dpu_cli {
	const char *prog;
	const char *summary; // one line
	const char *usage; // what follows the program's name in the usage line
	const char *text; // paragraphs for the manual page, or NULL
	const struct dpu_opt *opts;
	size_t n_opts;
};

/*
 * Parse argv. Options may stand anywhere before "--"; what is left is moved to argv[1..].
 *
 * Returns the number of operands (>= 0), or
 *   -ECANCELED  --help, --version or --man was given and answered on stdout: exit 0
 *   -EINVAL     unknown option, missing or bad argument; a line was written to stderr: exit 2
 *
 * --man writes the manual page as roff. Every program has --help, --version and --man.
 */
int dpu_cli_parse(const struct dpu_cli *cli, int argc, char **argv);

/* The help text, and the manual page (section 1, or 8 for daemons). */
void dpu_cli_help(const struct dpu_cli *cli, FILE *to);
void dpu_cli_man(const struct dpu_cli *cli, unsigned section, FILE *to);
