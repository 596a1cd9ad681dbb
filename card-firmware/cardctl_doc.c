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

static bool is_operand(const struct card_verb *v, const struct card_param *p)
{
	const struct card_param *o;

	for (unsigned i = 0; (o = card_verb_operand(v, i)); i++)
		if (o == p)
			return true;
	return false;
}

/* "volume create-null NAME num_blocks=NUMBER [readonly=BOOL]" */
static void usage_line(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);
	const struct card_param *p;

	fputs(v->object, to);
	if (v->verb)
		fprintf(to, " %s", v->verb);
	for (unsigned i = 0; (p = card_verb_operand(v, i)); i++)
		fprintf(to, p->required || (!i && v->key_required) ? " %s" : " [%s]", p->name);
	for (unsigned i = 0; i < m->n_params; i++) {
		p = &m->params[i];
		if (is_operand(v, p) || hidden(v, p))
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
		fprintf(to, "  %-25s %s\n", left, help_of(v));
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

/* "name: help (default x)." or with its type, "name (required string): help." */
static void man_param(const struct card_param *p, bool typed, FILE *to)
{
	fputs(".br\n\\fI", to);
	roff(p->name, to);
	fputs("\\fR", to);
	if (typed)
		fprintf(to, " (%s%s)", p->required ? "required " : "",
			card_param_type_name(p->type));
	fputs(": ", to);
	roff(p->help, to);
	if (p->def) {
		fputs(" (default ", to);
		roff(p->def, to);
		fputc(')', to);
	}
	fputs(".\n", to);
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

		if (!hidden(v, p))
			man_param(p, false, to);
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
	      ".SH SEE ALSO\n.BR cardd (1),\n.BR outboard\\-config (5)\n",
		to);
}

/* Calls that a configuration file is for; it may delete as well, but there is nothing to delete. */
static bool configures(const struct card_method *m)
{
	return m->keep == CARD_KEEP_CREATE || m->keep == CARD_KEEP_SET ||
	       m->keep == CARD_KEEP_UPDATE || m == card_method_at(CARD_M_log_level_set);
}

static void man_call(const struct card_method *m, FILE *to)
{
	fprintf(to, ".TP\n.B %s\n", m->name);
	roff(m->help, to);
	fputs(".\n", to);
	for (unsigned i = 0; i < m->n_params; i++) {
		const struct card_param *p = &m->params[i];

		if (!p->compat)
			man_param(p, true, to);
	}
}

void cardctl_man_config(FILE *to)
{
	const struct card_method *m;

	fputs(".TH outboard\\-config 5 \"\" \"Outboard " OUTBOARD_VERSION "\"\n"
	      ".SH NAME\noutboard\\-config \\- configuration file of cardd\n"
	      ".SH DESCRIPTION\n"
	      "The file given to\n.BR cardd (1)\nby \\fB\\-\\-config\\fR is a JSON list of calls, "
	      "made one "
	      "after the other when the daemon starts. A call is an object with \\fImethod\\fR and "
	      "\\fIparams\\fR: the same that\n.BR cardctl (1)\nsends, checked by the same tables. "
	      "\\fBcardctl card config\\fR prints what an operator created in this form.\n.PP\n"
	      "Every call is checked before the first is made. All errors are listed as "
	      "\\fIfile\\fR:\\fIline\\fR: \\fIkey\\fR: \\fIreason\\fR, and the daemon does not "
	      "start. "
	      "A key that is not known is an error, and so is one that is given twice.\n.PP\n"
	      "The file must be a plain file, owned by root or the daemon's user, not writable "
	      "by group or others, not a symbolic link, and not open for writing.\n.PP\n"
	      "What the file creates is not kept in the state directory. A volume must come "
	      "before the disk that shows it, an uplink before its addresses, an address before "
	      "routes that go by it, a port before the flows that name it.\n"
	      ".SH CALLS\n",
		to);
	for (unsigned i = 0; (m = card_method_at(i)); i++)
		if (configures(m))
			man_call(m, to);
	fputs(".SH EXAMPLE\n.nf\n"
	      "[\n"
	      " {\"method\": \"bdev_malloc_create\",\n"
	      "  \"params\": {\"name\": \"scratch\", \"num_blocks\": 131072, \"block_size\": "
	      "512}},\n"
	      " {\"method\": \"vhost_create_blk_controller\",\n"
	      "  \"params\": {\"ctrlr\": \"disk0\", \"dev_name\": \"scratch\"}},\n"
	      " {\"method\": \"net_create\", \"params\": {\"name\": \"nic0\"}}\n"
	      "]\n.fi\n"
	      ".SH SEE ALSO\n.BR cardd (1),\n.BR cardctl (1)\n",
		to);
}

/* ---- completion ---- */

static bool first_of_object(unsigned idx)
{
	return idx == 0 || strcmp(card_verb_at(idx)->object, card_verb_at(idx - 1)->object) != 0;
}

/* Length of the first of a verb's words, or of its only one. */
static int first_word(const struct card_verb *v)
{
	return (int)strcspn(v->verb, " ");
}

/* The verbs before this one do not begin with the same word. */
static bool first_of_word(unsigned idx)
{
	const struct card_verb *v = card_verb_at(idx), *before = idx ? card_verb_at(idx - 1) : NULL;

	return first_of_object(idx) || !before->verb || first_word(v) != first_word(before) ||
	       strncmp(v->verb, before->verb, (size_t)first_word(v)) != 0;
}

/* The first words of an object's verbs, from number `idx` on. */
static void complete_verbs(unsigned idx, FILE *to)
{
	const struct card_verb *v = card_verb_at(idx);

	fprintf(to, "\t\"%s  \") words=\"", v->object);
	for (unsigned i = idx; (v = card_verb_at(i)) && (i == idx || !first_of_object(i)); i++)
		if (first_of_word(i))
			fprintf(to, "%s%.*s", i == idx ? "" : " ", first_word(v), v->verb);
	fputs("\";;\n", to);
}

/* The second words of the verbs that begin like number `idx`. */
static void complete_second_words(unsigned idx, FILE *to)
{
	const struct card_verb *v = card_verb_at(idx);

	fprintf(to, "\t\"%s %.*s \") words=\"", v->object, first_word(v), v->verb);
	for (unsigned i = idx; (v = card_verb_at(i)) && (i == idx || !first_of_word(i)); i++)
		fprintf(to, "%s%s", i == idx ? "" : " ", v->verb + first_word(v) + 1);
	fputs("\";;\n", to);
}

static void complete_params(const struct card_verb *v, FILE *to)
{
	const struct card_method *m = card_method_at(v->method);

	fprintf(to, strchr(v->verb, ' ') ? "\t\"%s %s\") words=\"" : "\t\"%s %s \"*) words=\"",
		v->object, v->verb);
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
		"\tlocal cur=\"${COMP_WORDS[COMP_CWORD]}\" i words= object= verb= more=\n"
		"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		"\t\tcase \"${COMP_WORDS[i]}\" in\n\t\t--*|=) ;;\n"
		"\t\t*) if [ -z \"$object\" ]; then object=\"${COMP_WORDS[i]}\"\n"
		"\t\t   elif [ -z \"$verb\" ]; then verb=\"${COMP_WORDS[i]}\"\n"
		"\t\t   elif [ -z \"$more\" ]; then more=\"${COMP_WORDS[i]}\"; fi;;\n"
		"\t\tesac\n\tdone\n\tcase \"$object $verb $more\" in\n\t\"  \") words=\"",
		cli->prog, cli->prog, cli->prog);
	for (unsigned i = 0; (v = card_verb_at(i)); i++)
		if (first_of_object(i))
			fprintf(to, "%s ", v->object);
	for (size_t i = 0; i < cli->n_opts; i++)
		fprintf(to, "--%s ", cli->opts[i].name);
	fputs("--help --version --man\";;\n", to);
	for (unsigned i = 0; (v = card_verb_at(i)); i++) {
		if (v->verb && first_of_object(i))
			complete_verbs(i, to);
		if (v->verb && strchr(v->verb, ' ') && first_of_word(i))
			complete_second_words(i, to);
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
