// SPDX-License-Identifier: Apache-2.0
/*
 * The control socket of a running emulator. A client sends one JSON object in a line and gets a
 * line {"status": N, "length": L} or {"error": TEXT}, followed by L bytes of output. One request at
 * a time on a connection. The folder's mode keeps other users out.
 */
#include "emu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/buffer.h>
#include <event2/listener.h>

#include "dpu_alloc.h"
#include "text.h"

#define REQUEST_MAX (256u << 10)
#define GRACE_S 5 // beyond a command's own limit, which the guest keeps

enum wait_kind { WAIT_NONE, WAIT_GUEST, WAIT_ALL };

/* A client and its request. */
struct emu_request {
	LIST_ENTRY(emu_request) link;
	struct emu_ctl *ctl; // borrowed
	struct bufferevent *bev; // owned
	struct event *timer; // owned
	struct emu_guest *guest; // borrowed: whose command runs
	enum wait_kind wait;
	struct emu_guest *awaited; // borrowed: WAIT_GUEST
};

struct emu_ctl {
	struct emu *emu; // borrowed
	struct evconnlistener *listener; // owned
	LIST_HEAD(, emu_request) clients;
};

static void client_free(struct emu_request *r)
{
	if (r->guest)
		emu_guest_forget(r->guest, r);
	LIST_REMOVE(r, link);
	if (r->timer)
		event_free(r->timer);
	bufferevent_free(r->bev);
	free(r);
}

static void idle(struct emu_request *r)
{
	r->guest = NULL;
	r->wait = WAIT_NONE;
	evtimer_del(r->timer);
}

static void reply_error(struct emu_request *r, const char *text)
{
	json_t *o = json_pack("{s:s}", "error", text);
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;

	idle(r);
	if (line)
		evbuffer_add_printf(bufferevent_get_output(r->bev), "%s\n", line);
	free(line);
	json_decref(o);
}

static void reply(struct emu_request *r, int status, size_t len)
{
	idle(r);
	evbuffer_add_printf(
		bufferevent_get_output(r->bev), "{\"status\":%d,\"length\":%zu}\n", status, len);
}

void emu_ctl_answer(struct emu_request *r, int err, int status, struct evbuffer *in, size_t len)
{
	if (err) {
		reply_error(r, "the guest was reset or ended");
		return;
	}
	reply(r, status, len);
	evbuffer_remove_buffer(in, bufferevent_get_output(r->bev), len);
}

static void expired(evutil_socket_t fd, short what, void *arg)
{
	struct emu_request *r = arg;

	(void)fd;
	(void)what;
	if (r->guest)
		emu_guest_forget(r->guest, r);
	reply_error(r, "no answer in time");
}

static struct emu_guest *guest_by_name(struct emu *e, const char *name)
{
	for (size_t i = 0; name && i < e->topo->n_guests; i++)
		if (!strcmp(e->guests[i].conf->name, name))
			return &e->guests[i];
	return NULL;
}

static void patience(struct emu_request *r, unsigned seconds)
{
	const struct timeval tv = { .tv_sec = seconds };

	evtimer_add(r->timer, &tv);
}

static void do_exec(struct emu_request *r, struct emu_guest *g, json_t *req, unsigned limit_s)
{
	const char *command = json_string_value(json_object_get(req, "command"));
	int ret;

	if (!command) {
		reply_error(r, "no command");
		return;
	}
	ret = emu_guest_exec(g, r, command, limit_s);
	if (ret == -EBUSY)
		reply_error(r, "another command runs in this guest");
	else if (ret == -ENOTCONN)
		reply_error(r, "the guest is not up");
	else if (ret)
		reply_error(r, strerror(-ret));
	if (ret)
		return;
	r->guest = g;
	patience(r, limit_s + GRACE_S);
}

static void do_kill(struct emu_request *r, const char *name)
{
	struct emu *e = r->ctl->emu;
	struct emu_guest *g = guest_by_name(e, name);
	pid_t pid = 0;

	for (size_t i = 0; i < e->topo->n_cards; i++)
		if (!strcmp(e->cards[i].conf->name, name)) {
			pid = e->cards[i].pid;
			// Not ready from now on: a wait that follows must not see the dead one.
			e->cards[i].ready = false;
		}
	if (g ? emu_guest_kill(g) : !pid || kill(pid, SIGKILL) < 0) {
		reply_error(r, "no such card or guest, or it does not run");
		return;
	}
	reply(r, 0, 0);
}

static json_t *list_json(const struct emu *e)
{
	json_t *cards = json_array(), *guests = json_array();

	for (size_t i = 0; i < e->topo->n_cards; i++) {
		const struct emu_card *c = &e->cards[i];

		json_array_append_new(
			cards, json_pack("{s:s, s:i, s:b, s:i, s:s}", "name", c->conf->name, "pid",
				       (int)c->pid, "ready", c->ready, "starts", (int)c->starts,
				       "cores", c->cores));
	}
	for (size_t i = 0; i < e->topo->n_guests; i++) {
		const struct emu_guest *g = &e->guests[i];

		json_array_append_new(guests,
			json_pack("{s:s, s:s, s:i, s:b, s:i, s:i, s:s}", "name", g->conf->name,
				"hypervisor", emu_hypervisor_names[g->conf->hypervisor], "pid",
				(int)g->pid, "up", emu_guest_up(g), "starts", (int)g->starts,
				"resets", (int)g->resets, "ip", g->conf->ip));
	}
	return json_pack("{s:s, s:s, s:o, s:o}", "topology", e->topo->name, "accelerator",
		e->kvm ? "kvm" : "tcg", "cards", cards, "guests", guests);
}

static void do_list(struct emu_request *r)
{
	json_t *o = list_json(r->ctl->emu);
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	if (text) {
		reply(r, 0, strlen(text) + 1);
		evbuffer_add_printf(bufferevent_get_output(r->bev), "%s\n", text);
	} else {
		reply_error(r, "out of memory");
	}
	free(text);
	json_decref(o);
}

static void do_reset(struct emu_request *r, struct emu_guest *g, unsigned limit_s)
{
	if (emu_guest_reset(g)) {
		reply_error(r, "the guest does not run");
		return;
	}
	r->wait = WAIT_GUEST;
	r->awaited = g;
	patience(r, limit_s);
}

static void handle(struct emu_request *r, json_t *req)
{
	const char *cmd = json_string_value(json_object_get(req, "cmd"));
	const char *name = json_string_value(json_object_get(req, "name"));
	json_int_t limit = json_integer_value(json_object_get(req, "limit_s"));
	struct emu_guest *g = guest_by_name(r->ctl->emu, name);
	unsigned limit_s = limit < 1 || limit > 86400 ? 30 : (unsigned)limit;

	if (!cmd) {
		reply_error(r, "no cmd");
	} else if (!strcmp(cmd, "list")) {
		do_list(r);
	} else if (!strcmp(cmd, "wait")) {
		r->wait = WAIT_ALL;
		patience(r, limit_s);
		emu_ctl_changed(r->ctl->emu);
	} else if (!strcmp(cmd, "kill") && name) {
		do_kill(r, name);
	} else if (!g) {
		reply_error(r, "no such guest");
	} else if (!strcmp(cmd, "exec")) {
		do_exec(r, g, req, limit_s);
	} else if (!strcmp(cmd, "reset")) {
		do_reset(r, g, limit_s);
	} else {
		reply_error(r, "unknown cmd");
	}
}

static void client_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct emu_request *r = arg;
	json_t *req;
	char *line;

	line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF);
	if (!line) {
		if (evbuffer_get_length(in) > REQUEST_MAX)
			client_free(r);
		return;
	}
	req = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	if (r->guest || r->wait != WAIT_NONE)
		client_free(r); // one at a time
	else if (!json_is_object(req))
		reply_error(r, "not a JSON object");
	else
		handle(r, req);
	json_decref(req);
	free(line);
}

static void client_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	client_free(arg);
}

static void client_new(
	struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct emu_request *r = dpu_calloc(1, sizeof(*r));
	struct emu_ctl *ctl = arg;

	(void)l;
	(void)from;
	(void)len;
	if (!r) {
		evutil_closesocket(fd);
		return;
	}
	r->ctl = ctl;
	r->timer = evtimer_new(ctl->emu->base, expired, r);
	r->bev = bufferevent_socket_new(ctl->emu->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!r->timer || !r->bev) {
		if (r->timer)
			event_free(r->timer);
		if (r->bev)
			bufferevent_free(r->bev);
		else
			evutil_closesocket(fd);
		free(r);
		return;
	}
	LIST_INSERT_HEAD(&ctl->clients, r, link);
	bufferevent_setcb(r->bev, client_read, NULL, client_event, r);
	bufferevent_enable(r->bev, EV_READ | EV_WRITE);
}

void emu_ctl_changed(struct emu *e)
{
	struct emu_request *r;

	if (!e->ctl)
		return;
	LIST_FOREACH (r, &e->ctl->clients, link)
		if ((r->wait == WAIT_ALL && emu_all_up(e)) ||
			(r->wait == WAIT_GUEST && emu_guest_up(r->awaited)))
			reply(r, 0, 0);
}

int emu_ctl_start(struct emu *e)
{
	struct emu_ctl *ctl = dpu_calloc(1, sizeof(*ctl));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (!ctl)
		return -ENOMEM;
	ctl->emu = e;
	LIST_INIT(&ctl->clients);
	emu_text(at.sun_path, sizeof(at.sun_path), "%.60s/ctl", e->dir);
	ctl->listener = evconnlistener_new_bind(e->base, client_new, ctl,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, (struct sockaddr *)&at,
		sizeof(at));
	if (!ctl->listener) {
		free(ctl);
		return -EADDRINUSE;
	}
	e->ctl = ctl;
	return 0;
}

void emu_ctl_stop(struct emu *e)
{
	struct emu_ctl *ctl = e->ctl;
	struct emu_request *r, *next;

	if (!ctl)
		return;
	for (r = LIST_FIRST(&ctl->clients); r; r = next) {
		next = LIST_NEXT(r, link);
		client_free(r);
	}
	evconnlistener_free(ctl->listener);
	free(ctl);
	e->ctl = NULL;
}
