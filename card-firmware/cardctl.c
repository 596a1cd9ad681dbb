// SPDX-License-Identifier: Apache-2.0
/* cardctl: the operator's command line. One command is one call on the card's control socket. */
#include "cardctl.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "card_paths.h"

#define ANSWER_MAX (256u << 20)

enum { EXIT_REFUSED = 1, EXIT_MISUSE = 2 };

static struct {
	const char *card, *socket, *completion;
	bool json, all, man_config;
	uint64_t timeout_s;
} opt = { .card = CARD_NAME_DEFAULT, .timeout_s = 30 };

static const struct dpu_opt opts[] = {
	{ "card", DPU_OPT_STR, &opt.card, "NAME",
		"card to talk to, when several run here; default " CARD_NAME_DEFAULT, 0, 0 },
	{ "socket", DPU_OPT_STR, &opt.socket, "PATH",
		"its control socket, when it is not RUN/NAME.sock; also $" CARD_RPC_SOCKET_ENV, 0,
		0 },
	{ "json", DPU_OPT_FLAG, &opt.json, NULL, "print the result as JSON", 0, 0 },
	{ "all", DPU_OPT_FLAG, &opt.all, NULL, "show counters that are zero as well", 0, 0 },
	{ "timeout-s", DPU_OPT_UINT, &opt.timeout_s, "SECONDS",
		"give up when the card does not answer; default 30", 1, 3600 },
	{ "completion", DPU_OPT_STR, &opt.completion, "SHELL",
		"print the completion script; SHELL is bash", 0, 0 },
	{ "man-config", DPU_OPT_FLAG, &opt.man_config, NULL,
		"print the manual page of cardd's configuration file, as roff", 0, 0 },
};

static const struct dpu_cli cli = {
	.prog = "cardctl",
	.summary = "control a card daemon",
	.usage = "[options] OBJECT VERB [KEY] [name=value ...]",
	.text = "Each command is one JSON-RPC call on the control socket of cardd. What a command "
		"creates is there again after a restart of the daemon; creating it twice with the "
		"same parameters is no error. RUN is $XDG_RUNTIME_DIR/" CARD_RUN_SUBDIR
		" when that is set and the user is not root, else " CARD_RUN_DIR ".",
	.opts = opts,
	.n_opts = sizeof(opts) / sizeof(opts[0]),
};

/* ---- the wire ---- */

/* A connected socket or a negative errno. */
static int dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = (time_t)opt.timeout_s };
	int fd, ret;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
		connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The answer is one line. *out: free() it. 0 or a negative errno. */
static int receive_line(int fd, char **out)
{
	size_t size = 65536, len = 0;
	char *buf = malloc(size);

	while (buf) {
		ssize_t n = recv(fd, buf + len, size - len - 1, 0);
		char *more;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int ret = n < 0 ? -errno : -ECONNRESET;

			free(buf);
			return ret == -EAGAIN ? -ETIMEDOUT : ret;
		}
		if (memchr(buf + len, '\n', (size_t)n)) {
			buf[len + (size_t)n] = '\0';
			*out = buf;
			return 0;
		}
		len += (size_t)n;
		if (size - len > 4096)
			continue;
		more = size < ANSWER_MAX ? realloc(buf, size * 2) : NULL;
		if (!more)
			free(buf);
		buf = more;
		size *= 2;
	}
	return -ENOMEM;
}

/* One call over one connection. *answer: new reference. */
static int call(const char *path, const char *method, const json_t *params, json_t **answer)
{
	json_t *req = json_pack("{s:s, s:i, s:s, s:O}", "jsonrpc", "2.0", "id", 1, "method", method,
		"params", params);
	char *text = req ? json_dumps(req, JSON_COMPACT) : NULL, *line = NULL;
	int fd, ret;

	json_decref(req);
	if (!text)
		return -ENOMEM;
	fd = dial(path);
	ret = fd < 0 ? fd : send_all(fd, text, strlen(text));
	if (!ret)
		ret = receive_line(fd, &line);
	if (fd >= 0)
		close(fd);
	free(text);
	if (ret)
		return ret;
	*answer = json_loads(line, 0, NULL);
	free(line);
	return *answer ? 0 : -EBADMSG;
}

/* ---- calls in parts ---- */

/* Add one part to what there is: arrays grow, numbers are sums. 0 or -ENOMEM. */
static int join(json_t *sum, json_t *part)
{
	const char *name;
	int ret = 0;
	json_t *v;

	json_object_foreach (part, name, v) {
		json_t *have = json_object_get(sum, name);

		if (json_is_array(v))
			ret |= json_array_extend(have, v);
		else
			ret |= json_integer_set(
				have, json_integer_value(have) + json_integer_value(v));
	}
	return ret ? -ENOMEM : 0;
}

/* Call until there is no next part; `params` is ours to change. As call(). */
static int call_parts(
	const char *path, const struct card_method *m, json_t *params, json_t **answer)
{
	const struct card_param *max = card_method_param(m, "max");
	const json_t *given = json_object_get(params, "max");
	json_int_t left = given ? json_integer_value(given) : max ? strtoll(max->def, NULL, 10) : 0;
	json_t *sum = NULL, *part, *result, *next = json_integer(0);
	int ret = 0;

	while (next) {
		if (json_object_set_new(params, "from", next) ||
			(max && json_object_set_new(params, "max", json_integer(left))))
			ret = -ENOMEM;
		else
			ret = call(path, m->name, params, &part);
		if (ret)
			break;
		result = json_object_get(part, "result");
		next = json_incref(json_object_get(result, "next"));
		(void)json_object_del(result, "next");
		left -= (json_int_t)json_array_size(json_object_get(result, "connections"));
		if (!sum || !result) { // the first, or an error, which is the answer then
			json_decref(sum);
			sum = part;
			continue;
		}
		ret = join(json_object_get(sum, "result"), result);
		json_decref(part);
		if (ret) {
			json_decref(next);
			break;
		}
	}
	if (ret)
		json_decref(sum);
	else
		*answer = sum;
	return ret;
}

/*
 * A result that is not ready says when to ask again, and for what. *answer: that of the last call.
 */
static int call_ready(const char *path, const char *method, json_t *params, json_t **answer)
{
	for (;;) {
		int ret = call(path, method, params, answer);
		json_t *result = json_object_get(*answer, "result"), *wait;

		if (ret || !json_is_false(json_object_get(result, "ready")))
			return ret;
		wait = json_object_get(result, "wait_ms");
		ret = json_object_set(params, "sample", json_object_get(result, "sample"));
		if (json_is_integer(wait) && !ret)
			poll(NULL, 0, (int)(json_integer_value(wait) & 0x1ffff));
		else
			ret = -EBADMSG;
		json_decref(*answer);
		*answer = NULL;
		if (ret)
			return ret;
	}
}

/* What can be done in parts is: the card has others to serve in between. */
static int call_method(
	const char *path, const struct card_method *m, json_t *params, json_t **answer)
{
	json_t *copy;
	int ret;

	if (!card_method_param(m, "from") || json_object_get(params, "from"))
		return call_ready(path, m->name, params, answer);
	copy = params ? json_copy(params) : json_object();
	ret = copy ? call_parts(path, m, copy, answer) : -ENOMEM;
	json_decref(copy);
	return ret;
}

/* ---- commands ---- */

static int report(const char *method, const json_t *error)
{
	const char *text = json_string_value(json_object_get(error, "message"));

	fprintf(stderr, "cardctl: %s: %s\n", method, text ? text : "refused without a reason");
	if (opt.json)
		json_dumpf(error, stdout, JSON_INDENT(2)), putchar('\n');
	return EXIT_REFUSED;
}

static const char *socket_path(char *buf, size_t size)
{
	const char *env = getenv(CARD_RPC_SOCKET_ENV), *xdg = getenv("XDG_RUNTIME_DIR");

	if (opt.socket)
		return opt.socket;
	if (env)
		return env;
	if (geteuid() != 0 && xdg && xdg[0] == '/')
		snprintf(buf, size, "%s/" CARD_RUN_SUBDIR "/%s.sock", xdg, opt.card);
	else
		snprintf(buf, size, CARD_RUN_DIR "/%s.sock", opt.card);
	return buf;
}

static int run(const struct card_verb *v, json_t *params)
{
	const struct card_method *m = card_method_at(v->method);
	char buf[1024];
	const char *path = socket_path(buf, sizeof(buf));
	json_t *answer = NULL, *error;
	int ret;

	if (v->method == CARD_M_vm_console && !opt.json)
		return cardctl_console(
			path, json_string_value(json_object_get(params, "name")), call);
	ret = call_method(path, m, params, &answer);
	if (ret) {
		fprintf(stderr, "cardctl: %s: %s\n", path, strerror(-ret));
		return EXIT_REFUSED;
	}
	error = json_object_get(answer, "error");
	if (error) {
		ret = report(m->name, error);
	} else {
		const json_t *result = json_object_get(answer, "result");

		if (opt.json)
			json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY), putchar('\n');
		else
			cardctl_print(v, result, opt.all ? CARDCTL_SHOW_ALL : CARDCTL_SHOW_NONZERO,
				stdout);
		ret = fflush(stdout) || ferror(stdout) ? EXIT_REFUSED : 0;
	}
	json_decref(answer);
	return ret;
}

static int misuse(const char *what, const char *why)
{
	fprintf(stderr, "cardctl: %s: %s\nTry 'cardctl --help'.\n", what, why);
	return EXIT_MISUSE;
}

/* The command that the first words name, and how many of them do; NULL: none. */
static const struct card_verb *find_verb(char *const *words, int n, int *used)
{
	const struct card_verb *v;
	char two[64];

	if (n > 2) {
		snprintf(two, sizeof(two), "%s %s", words[1], words[2]);
		v = card_verb_find(words[0], two);
		*used = 3;
		if (v && v->verb)
			return v;
	}
	v = n > 0 ? card_verb_find(words[0], n > 1 ? words[1] : NULL) : NULL;
	*used = v && v->verb ? 2 : 1;
	return v;
}

/* About the command that stands in what was typed: `n` words. */
static int misuse_of(char *const *words, int n, const char *why)
{
	fprintf(stderr, "cardctl:");
	for (int i = 0; i < n; i++)
		fprintf(stderr, " %s", words[i]);
	fprintf(stderr, ": %s\nTry 'cardctl", why);
	for (int i = 0; i < n; i++)
		fprintf(stderr, " %s", words[i]);
	fprintf(stderr, " --help'.\n");
	return EXIT_MISUSE;
}

static bool is_object(const char *word)
{
	const struct card_verb *v;

	for (unsigned i = 0; (v = card_verb_at(i)); i++)
		if (!strcmp(v->object, word))
			return true;
	return false;
}

/* About a command, or about all of an object when the words name none, or about everything. */
static void help(char *const *words, int n, FILE *to)
{
	int used;
	const struct card_verb *v = find_verb(words, n, &used);

	cardctl_help(&cli, n ? words[0] : NULL, v ? v->verb : NULL, to);
}

/* --help after OBJECT or OBJECT VERB is about those; --man has the commands as well. */
static bool documented(int argc, char **argv)
{
	char *words[3] = { NULL, NULL, NULL };
	int n = 0;

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--man")) {
			cardctl_man(&cli, stdout);
			return true;
		}
		if (!strcmp(argv[i], "--help")) {
			help(words, n, stdout);
			return true;
		}
		if (!strcmp(argv[i], "--socket") || !strcmp(argv[i], "--card") ||
			!strcmp(argv[i], "--timeout-s"))
			i++;
		else if (argv[i][0] != '-' && n < 3)
			words[n++] = argv[i];
	}
	return false;
}

/* "help" and "OBJECT help" for who does not know --help; else what there is instead. */
static int no_command(char *const *words, int n)
{
	if (!strcmp(words[0], "help")) {
		help(words + 1, n - 1, stdout);
		return 0;
	}
	if (n > 1 && !strcmp(words[1], "help") && is_object(words[0])) {
		help(words, 1, stdout);
		return 0;
	}
	if (n == 1 && is_object(words[0]))
		fprintf(stderr, "cardctl: %s: one of these is missing\n", words[0]);
	else
		fprintf(stderr, "cardctl: no such command: %s%s%s\n", words[0], n > 1 ? " " : "",
			n > 1 ? words[1] : "");
	help(words, is_object(words[0]), stderr);
	return EXIT_MISUSE;
}

int main(int argc, char **argv)
{
	const struct card_verb *v;
	char err[CARDCTL_TEXT_MAX];
	json_t *params;
	int n, used, ret;

	if (documented(argc, argv))
		return 0;
	n = dpu_cli_parse(&cli, argc, argv);
	if (n < 0)
		return n == -ECANCELED ? 0 : EXIT_MISUSE;
	if (opt.completion) {
		if (strcmp(opt.completion, "bash") != 0)
			return misuse(opt.completion, "no completion for this shell");
		cardctl_completion_bash(&cli, stdout);
		return 0;
	}
	if (opt.man_config) {
		cardctl_man_config(stdout);
		return 0;
	}
	if (n == 0)
		return misuse("OBJECT", "required");
	v = find_verb(argv + 1, n, &used);
	if (!v)
		return no_command(argv + 1, n);
	params = cardctl_params(v, argv + 1 + used, n - used, err, sizeof(err));
	if (!params)
		return misuse_of(argv + 1, used, err);
	ret = run(v, params);
	json_decref(params);
	return ret;
}
