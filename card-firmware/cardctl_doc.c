// SPDX-License-Identifier: Apache-2.0
/* Help, manual page and completion of cardctl, from the tables. */
#include "cardctl.h"

#include <stdbool.h>
#include <string.h>

static const char *help_of(const struct card_verb *v)
{
	return v->help ? v->help : card_method_at(v->method)->help;
}

/* Not for people: the command sets it itself, or it is there for other tools. */
static bool hidden(const struct card_verb *v, const struct card_param *p)
{
	return p->compat || (v->fixed_name && !strcmp(p->name, v->fixed_name));
}

/* "volume create-null NAME num_blocks=NUMBER [readonly=BOOL]" */
static void usage_line(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);

	fputs(v->object, to);
	if (v->verb)
		fprintf(to, " %s", v->verb);
	if (v->key)
		fprintf(to, v->key_required ? " %s" : " [%s]", v->key);
	for (unsigned i = 0; i < m->n_params; i++) {
		const struct card_param *p = &m->params[i];

		if ((v->key && !strcmp(p->name, v->key)) || hidden(v, p))
			continue;
		fprintf(to, p->required ? " %s=%s" : " [%s=%s]", p->name,
			card_param_type_name(p->type));
	}
}

static void params_help(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);

	for (unsigned i = 0; i < m->n_params; i++) {
		const struct card_param *p = &m->params[i];

		if (hidden(v, p))
			continue;
		fprintf(to, "  %-14s %s", p->name, p->help);
		if (p->def)
			fprintf(to, " (default %s)", p->def);
		fputc('\n', to);
	}
}

void cardctl_help(const struct dpu_cli *cli, const char *object, const char *verb, FILE *to)
{
	const struct card_verb *v = object ? card_verb_find(object, verb) : NULL;

	if (v) {
		fprintf(to, "Usage: %s ", cli->prog);
		usage_line(v, to);
		fprintf(to, "\n%s.\n\n", help_of(v));
		params_help(v, to);
		return;
	}
	if (!object) {
		dpu_cli_help(cli, to);
		fputs("\nCommands:\n", to);
	}
	for (unsigned i = 0; (v = card_verb_at(i)); i++) {
		char left[64];

		if (object && strcmp(object, v->object) != 0)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", v->object, v->verb ? " " : "",
			v->verb ? v->verb : "");
		fprintf(to, "  %-20s %s\n", left, help_of(v));
	}
}

/* ---- manual page ---- */

static void roff(const char *s, FILE *to)
{
	for (; *s; s++) {
		if (*s == '-')
			fputs("\\-", to);
		else if (*s == '\\')
			fputs("\\e", to);
		else
			fputc(*s, to);
	}
}

static void man_command(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);
	char line[1024] = "";
	FILE *mem = fmemopen(line, sizeof(line) - 1, "w");

	if (mem) {
		usage_line(v, mem);
		fclose(mem);
	}
	fputs(".TP\n.B ", to);
	roff(line, to);
	fputc('\n', to);
	roff(help_of(v), to);
	fprintf(to, ".\nSends \\fI%s\\fR.\n", m->name);
	for (unsigned i = 0; i < m->n_params; i++) {
		const struct card_param *p = &m->params[i];

		if (hidden(v, p))
			continue;
		fprintf(to, ".br\n\\fI%s\\fR: ", p->name);
		roff(p->help, to);
		if (p->def) {
			fputs(" (default ", to);
			roff(p->def, to);
			fputc(')', to);
		}
		fputs(".\n", to);
	}
}

void cardctl_man(const struct dpu_cli *cli, FILE *to)
{
	const struct card_verb *v;

	dpu_cli_man(cli, 1, to);
	fputs(".SH COMMANDS\n", to);
	for (unsigned i = 0; (v = card_verb_at(i)); i++)
		man_command(v, to);
	fputs(".SH EXIT STATUS\n0 done; 1 the card refused or cannot be reached; 2 misuse.\n"
	      ".SH SEE ALSO\n.BR cardd (1)\n",
		to);
}

/* ---- completion ---- */

static bool first_of_object(unsigned idx)
{
	return idx == 0 || strcmp(card_verb_at(idx)->object, card_verb_at(idx - 1)->object) != 0;
}

static void complete_params(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);

	fprintf(to, "\t\"%s %s\") words=\"", v->object, v->verb ? v->verb : "");
	for (unsigned i = 0; i < m->n_params; i++)
		if (!hidden(v, &m->params[i]))
			fprintf(to, "%s%s=", i ? " " : "", m->params[i].name);
	fputs("\";;\n", to);
}

/* Names of objects are asked from the card, when it answers. */
void cardctl_completion_bash(const struct dpu_cli *cli, FILE *to)
{
	const struct card_verb *v;

	fprintf(to,
		"# bash completion for %s, made by %s --completion bash\n_%s()\n{\n"
		"\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" i words= object= verb=\n"
		"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		"\t\tcase \"${COMP_WORDS[i]}\" in\n\t\t--*|=) ;;\n"
		"\t\t*) if [ -z \"$object\" ]; then object=\"${COMP_WORDS[i]}\"\n"
		"\t\t   elif [ -z \"$verb\" ]; then verb=\"${COMP_WORDS[i]}\"; fi;;\n"
		"\t\tesac\n\tdone\n\tcase \"$object $verb\" in\n\t\" \") words=\"",
		cli->prog, cli->prog, cli->prog);
	for (unsigned i = 0; (v = card_verb_at(i)); i++)
		if (first_of_object(i))
			fprintf(to, "%s ", v->object);
	for (size_t i = 0; i < cli->n_opts; i++)
		fprintf(to, "--%s ", cli->opts[i].name);
	fputs("--help --version --man\";;\n", to);
	for (unsigned i = 0; (v = card_verb_at(i)); i++) {
		if (!v->verb)
			continue;
		if (first_of_object(i))
			fprintf(to, "\t\"%s \") words=\"", v->object);
		fprintf(to, "%s", v->verb);
		fputs(card_verb_at(i + 1) && !first_of_object(i + 1) ? " " : "\";;\n", to);
	}
	for (unsigned i = 0; (v = card_verb_at(i)); i++)
		if (v->verb)
			complete_params(v, to);
	fprintf(to,
		"\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		"\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n\treturn 0\n}\n"
		"complete -F _%s %s\n",
		cli->prog, cli->prog);
}
