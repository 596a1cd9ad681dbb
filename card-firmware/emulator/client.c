// SPDX-License-Identifier: Apache-2.0
/* What a script asks of a running emulator: one request over its control socket. */
#include "emu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAILED 125 // as timeout(1) and env(1) have it: the failure is ours, not the command's

static int fail(const char *what)
{
	fprintf(stderr, "card-emulator: %s\n", what);
	return FAILED;
}

static FILE *dial(const char *dir)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	if (snprintf(to.sun_path, sizeof(to.sun_path), "%s/ctl", dir) >= (int)sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return NULL;
	}
	return fdopen(fd, "r+");
}

static json_t *request(const struct emu_client_conf *conf)
{
	json_int_t limit = conf->timeout_s;

	if (conf->exec)
		return json_pack("{s:s, s:s, s:s, s:I}", "cmd", "exec", "name", conf->exec,
			"command", conf->command, "limit_s", limit);
	if (conf->kill)
		return json_pack("{s:s, s:s}", "cmd", "kill", "name", conf->kill);
	if (conf->reset)
		return json_pack(
			"{s:s, s:s, s:I}", "cmd", "reset", "name", conf->reset, "limit_s", limit);
	if (conf->wait)
		return json_pack("{s:s, s:I}", "cmd", "wait", "limit_s", limit);
	return json_pack("{s:s}", "cmd", "list");
}

static void print_list(const char *text)
{
	json_t *o = json_loads(text, 0, NULL), *v;
	size_t i;

	printf("%-24s %-8s %-6s %-7s %s\n", "CARD", "PID", "READY", "STARTS", "CORES");
	json_array_foreach (json_object_get(o, "cards"), i, v)
		printf("%-24s %-8d %-6s %-7d %s\n", json_string_value(json_object_get(v, "name")),
			(int)json_integer_value(json_object_get(v, "pid")),
			json_is_true(json_object_get(v, "ready")) ? "yes" : "no",
			(int)json_integer_value(json_object_get(v, "starts")),
			json_string_value(json_object_get(v, "cores")));
	printf("\n%-24s %-8s %-6s %-7s %-7s %-10s %s\n", "GUEST", "PID", "UP", "STARTS", "RESETS",
		"HYPERVISOR", "ADDRESS");
	json_array_foreach (json_object_get(o, "guests"), i, v)
		printf("%-24s %-8d %-6s %-7d %-7d %-10s %s\n",
			json_string_value(json_object_get(v, "name")),
			(int)json_integer_value(json_object_get(v, "pid")),
			json_is_true(json_object_get(v, "up")) ? "yes" : "no",
			(int)json_integer_value(json_object_get(v, "starts")),
			(int)json_integer_value(json_object_get(v, "resets")),
			json_string_value(json_object_get(v, "hypervisor")),
			json_string_value(json_object_get(v, "ip")));
	json_decref(o);
}

/* The output that follows the first line of an answer. */
static int take_output(FILE *f, size_t len, const struct emu_client_conf *conf)
{
	char *text = malloc(len + 1);
	int ret = 0;

	if (!text)
		return fail("out of memory");
	if (fread(text, 1, len, f) != len) {
		ret = fail("the answer was cut short");
	} else {
		text[len] = '\0';
		if (conf->list && !conf->json)
			print_list(text);
		else
			fwrite(text, 1, len, stdout);
	}
	free(text);
	return ret;
}

static int take_answer(FILE *f, const struct emu_client_conf *conf)
{
	char line[512];
	json_int_t status, len;
	json_t *o;
	int ret;

	if (!fgets(line, sizeof(line), f))
		return fail("the emulator closed the connection");
	o = json_loads(line, 0, NULL);
	if (!json_is_object(o) || json_object_get(o, "error")) {
		const char *text = json_string_value(json_object_get(o, "error"));

		ret = fail(text ? text : "answer not understood");
		json_decref(o);
		return ret;
	}
	status = json_integer_value(json_object_get(o, "status"));
	len = json_integer_value(json_object_get(o, "length"));
	json_decref(o);
	ret = len < 0 ? fail("answer not understood") : take_output(f, (size_t)len, conf);
	return ret ? ret : (int)status;
}

int emu_client(const struct emu_client_conf *conf)
{
	FILE *f = dial(conf->dir);
	json_t *req;
	char *line;
	int ret;

	if (!f) {
		fprintf(stderr, "card-emulator: %s: %s\n", conf->dir, strerror(errno));
		return FAILED;
	}
	req = request(conf);
	line = req ? json_dumps(req, JSON_COMPACT) : NULL;
	if (!line)
		ret = fail("the command is not valid UTF-8");
	else if (fprintf(f, "%s\n", line) < 0 || fflush(f) != 0)
		ret = fail("cannot send");
	else
		ret = take_answer(f, conf);
	free(line);
	json_decref(req);
	fclose(f);
	return ret;
}
