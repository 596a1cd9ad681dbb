// SPDX-License-Identifier: Apache-2.0
/* Parses option tables and writes help and manual pages from them. */
#include "dpu_cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct dpu_opt *find(const struct dpu_cli *cli, const char *name, size_t len)
{
	for (size_t i = 0; i < cli->n_opts; i++)
		if (strlen(cli->opts[i].name) == len && !strncmp(cli->opts[i].name, name, len))
			return &cli->opts[i];
	return NULL;
}

static int misuse(const struct dpu_cli *cli, const char *what, const char *which)
{
	fprintf(stderr, "%s: %s: %s\nTry '%s --help'.\n", cli->prog, which, what, cli->prog);
	return -EINVAL;
}

static int set_uint(const struct dpu_cli *cli, const struct dpu_opt *o, const char *arg)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(arg, &end, 0);
	if (errno || !isdigit((unsigned char)arg[0]) || *end)
		return misuse(cli, "not a number", o->name);
	if (v < o->min || (o->max && v > o->max)) {
		fprintf(stderr, "%s: %s: %llu is not between %llu and %llu\n", cli->prog, o->name,
			v, (unsigned long long)o->min, (unsigned long long)o->max);
		return -EINVAL;
	}
	*(uint64_t *)o->out = v;
	return 0;
}

static int set(const struct dpu_cli *cli, const struct dpu_opt *o, const char *arg)
{
	struct dpu_opt_list *list;

	switch (o->type) {
	case DPU_OPT_FLAG:
		*(bool *)o->out = true;
		return 0;
	case DPU_OPT_STR:
		*(const char **)o->out = arg;
		return 0;
	case DPU_OPT_UINT:
		return set_uint(cli, o, arg);
	case DPU_OPT_LIST:
		list = o->out;
		if (list->n == DPU_OPT_LIST_MAX)
			return misuse(cli, "given too often", o->name);
		list->v[list->n++] = arg;
		return 0;
	}
	return -EINVAL;
}

/* --help, --version, --man: true when `name` was one of them and has been answered. */
static bool answered(const struct dpu_cli *cli, const char *name)
{
	if (!strcmp(name, "help"))
		dpu_cli_help(cli, stdout);
	else if (!strcmp(name, "version"))
		printf("%s %s\n", cli->prog, OUTBOARD_VERSION);
	else if (!strcmp(name, "man"))
		dpu_cli_man(cli, 1, stdout);
	else
		return false;
	return true;
}

int dpu_cli_parse(const struct dpu_cli *cli, int argc, char **argv)
{
	int n = 0, i;

	for (i = 1; i < argc; i++) {
		const char *name = argv[i] + 2, *eq;
		const struct dpu_opt *o;
		const char *arg = NULL;

		if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2]) {
			if (!strcmp(argv[i], "--")) {
				i++;
				break;
			}
			if (argv[i][0] == '-' && argv[i][1])
				return misuse(cli, "options are long: --name", argv[i]);
			argv[++n] = argv[i];
			continue;
		}
		if (answered(cli, name))
			return -ECANCELED;
		eq = strchr(name, '=');
		o = find(cli, name, eq ? (size_t)(eq - name) : strlen(name));
		if (!o)
			return misuse(cli, "unknown option", argv[i]);
		if (o->type == DPU_OPT_FLAG) {
			if (eq)
				return misuse(cli, "takes no argument", o->name);
		} else if (eq) {
			arg = eq + 1;
		} else if (i + 1 < argc) {
			arg = argv[++i];
		} else {
			return misuse(cli, "needs an argument", o->name);
		}
		int ret = set(cli, o, arg);
		if (ret)
			return ret;
	}
	for (; i < argc; i++)
		argv[++n] = argv[i];
	return n;
}

void dpu_cli_help(const struct dpu_cli *cli, FILE *to)
{
	fprintf(to, "Usage: %s %s\n%s.\n\nOptions:\n", cli->prog, cli->usage, cli->summary);
	for (size_t i = 0; i < cli->n_opts; i++) {
		const struct dpu_opt *o = &cli->opts[i];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "",
			o->arg ? o->arg : "");
		fprintf(to, "  %-28s %s\n", left, o->help);
	}
	fprintf(to, "  %-28s %s\n", "--help", "this text");
	fprintf(to, "  %-28s %s\n", "--version", "name and version");
	fprintf(to, "  %-28s %s\n", "--man", "the manual page, as roff");
}

/* A leading dot or quote would be a roff request, a dash a hyphen. */
static void roff(const char *s, FILE *to)
{
	for (bool start = true; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			fputs("\\&", to);
		if (*s == '-')
			fputs("\\-", to);
		else if (*s == '\\')
			fputs("\\e", to);
		else
			fputc(*s, to);
		start = *s == '\n';
	}
}

void dpu_cli_man(const struct dpu_cli *cli, unsigned section, FILE *to)
{
	fprintf(to, ".TH %s %u \"\" \"Outboard %s\"\n.SH NAME\n", cli->prog, section,
		OUTBOARD_VERSION);
	roff(cli->prog, to);
	fputs(" \\- ", to);
	roff(cli->summary, to);
	fputs("\n.SH SYNOPSIS\n.B ", to);
	roff(cli->prog, to);
	fputc(' ', to);
	roff(cli->usage, to);
	if (cli->text) {
		fputs("\n.SH DESCRIPTION\n", to);
		roff(cli->text, to);
	}
	fputs("\n.SH OPTIONS\n", to);
	for (size_t i = 0; i < cli->n_opts; i++) {
		const struct dpu_opt *o = &cli->opts[i];

		fputs(".TP\n\\fB\\-\\-", to);
		roff(o->name, to);
		fputs("\\fR", to);
		if (o->arg)
			fprintf(to, " \\fI%s\\fR", o->arg);
		fputc('\n', to);
		roff(o->help, to);
		fputs(".\n", to);
	}
}
