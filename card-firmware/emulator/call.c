// SPDX-License-Identifier: Apache-2.0
/* Calls of a card's methods from the event loop: a line of JSON each way. */
#include "emu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "text.h"

void emu_call_end(struct emu_call *c)
{
	if (c->bev)
		bufferevent_free(c->bev);
	c->bev = NULL;
	c->done = NULL;
}

static void finish(struct emu_call *c, int ret, const json_t *result, const char *why)
{
	emu_call_fn *done = c->done;

	c->done = NULL;
	if (ret == -ECONNRESET)
		emu_call_end(c);
	if (done)
		done(c->arg, ret, result, why);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	char *line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF);
	json_t *answer = line ? json_loads(line, 0, NULL) : NULL;
	const json_t *error = json_object_get(answer, "error");
	const char *why = json_string_value(json_object_get(error, "message"));

	if (!line)
		return;
	free(line);
	if (error)
		finish(arg, (int)json_integer_value(json_object_get(error, "code")), NULL,
			why ? why : "no reason");
	else
		finish(arg, answer ? 0 : -ECONNRESET, json_object_get(answer, "result"), "");
	json_decref(answer);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (!(what & BEV_EVENT_CONNECTED))
		finish(arg, -ECONNRESET, NULL, "no card");
}

static int dial(struct emu_call *c)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	emu_text(to.sun_path, sizeof(to.sun_path), "%.60s/%.31s/rpc.sock", c->card->emu->dir,
		c->card->conf->name);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -ECONNRESET;
	}
	c->bev = bufferevent_socket_new(c->card->emu->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		close(fd);
		return -ENOMEM;
	}
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return 0;
}

int emu_call(struct emu_call *c, const char *method, json_t *params, emu_call_fn *done)
{
	json_t *req = params ? json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1,
				       "method", method, "params", params)
			     : NULL;
	char *text = req ? json_dumps(req, JSON_COMPACT) : NULL;
	int ret = text ? 0 : -ENOMEM;

	json_decref(req);
	if (!ret && !c->bev)
		ret = dial(c);
	if (!ret) {
		bufferevent_write(c->bev, text, strlen(text));
		bufferevent_write(c->bev, "\n", 1);
		c->done = done;
	}
	free(text);
	return ret;
}
