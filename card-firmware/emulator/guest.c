// SPDX-License-Identifier: Apache-2.0
/* One guest, whatever runs it: its agent, the command that runs in it, its end. */
#include "emu.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <event2/buffer.h>

#include "proc.h"
#include "text.h"

int emu_guest_init(struct emu *e, size_t idx)
{
	struct emu_guest *g = &e->guests[idx];
	char path[EMU_PATH_SIZE];

	g->emu = e;
	g->conf = &e->topo->guests[idx];
	g->ops = g->conf->hypervisor == EMU_HV_HOST ? &emu_guest_hv : &emu_guest_qemu;
	g->asked = evbuffer_new();
	if (!g->asked)
		return -ENOMEM;
	emu_path(e, path, sizeof(path), "%s", g->conf->name);
	return mkdir(path, 0700) < 0 ? -errno : 0;
}

static void answer(struct emu_guest *g, int err, int status, struct evbuffer *in, size_t len)
{
	struct emu_request *r = g->request;

	g->request = NULL;
	evbuffer_drain(g->asked, evbuffer_get_length(g->asked));
	if (r)
		emu_ctl_answer(r, err, status, in, len);
	else if (in)
		evbuffer_drain(in, len);
}

void emu_guest_ask_again(struct emu_guest *g)
{
	size_t len = evbuffer_get_length(g->asked);

	if (!g->agent.seq || !len || !g->ops->connected(g))
		return;
	g->ops->say(g, "\n", 1); // after the part of it that may have arrived
	g->ops->say(g, (const char *)evbuffer_pullup(g->asked, -1), len);
}

void emu_guest_heard(struct emu_guest *g, struct evbuffer *in)
{
	int status;
	size_t len;

	for (;;) {
		bool was_ready = g->agent.ready;

		switch (emu_agent_next(&g->agent, in, &status, &len)) {
		case EMU_AGENT_MORE:
			return;
		case EMU_AGENT_READY:
			g->resets += was_ready; // by itself, and nobody told us
			answer(g, -ECONNRESET, 0, NULL, 0);
			emu_advance(g->emu);
			break;
		case EMU_AGENT_DONE:
			answer(g, 0, status, in, len);
			break;
		case EMU_AGENT_SPOILED:
			emu_guest_ask_again(g);
			break;
		}
	}
}

void emu_guest_was_reset(struct emu_guest *g, struct evbuffer *in)
{
	if (in)
		emu_agent_reset(&g->agent, in);
	answer(g, -ECONNRESET, 0, NULL, 0);
}

int emu_guest_start(struct emu_guest *g)
{
	int ret = g->ops->start(g);

	g->starts += ret == 0;
	return ret;
}

void emu_guest_gone(struct emu_guest *g, const char *text)
{
	int ret;

	g->pid = 0;
	g->ops->hang_up(g);
	g->agent.ready = g->agent.in_body = false;
	g->agent.seq = 0;
	answer(g, -ECONNRESET, 0, NULL, 0);
	if (g->emu->phase == EMU_DOWN)
		return;
	if (g->emu->phase != EMU_UP) {
		emu_stop(g->emu, 1, "guest %s %s: see %s/%s/%s (kept with --keep)", g->conf->name,
			text, g->emu->dir, g->conf->name, g->ops->log);
		return;
	}
	emu_say(g->emu, "guest %s %s%s", g->conf->name, text,
		g->conf->restart ? ": starting it again" : "");
	if (!g->conf->restart)
		return;
	ret = emu_guest_start(g);
	if (ret)
		emu_stop(g->emu, 1, "guest %s: cannot start: %s", g->conf->name, strerror(-ret));
}

void emu_guest_ended(struct emu_guest *g, int status)
{
	char text[80];

	emu_status_text(status, text, sizeof(text));
	emu_guest_gone(g, text);
}

void emu_guest_fini(struct emu_guest *g)
{
	if (g->ops)
		g->ops->fini(g);
	if (g->asked)
		evbuffer_free(g->asked);
}

bool emu_guest_up(const struct emu_guest *g)
{
	return g->pid && g->agent.ready && g->ops->connected(g);
}

int emu_guest_exec(
	struct emu_guest *g, struct emu_request *r, const char *command, unsigned limit_s)
{
	int ret;

	if (!emu_guest_up(g))
		return -ENOTCONN;
	if (g->agent.seq)
		return -EBUSY;
	evbuffer_drain(g->asked, evbuffer_get_length(g->asked));
	ret = emu_agent_request(&g->agent, g->asked, command, limit_s);
	if (ret)
		return ret;
	g->request = r;
	g->ops->say(g, (const char *)evbuffer_pullup(g->asked, -1), evbuffer_get_length(g->asked));
	return 0;
}

void emu_guest_forget(struct emu_guest *g, struct emu_request *r)
{
	if (g->request == r)
		g->request = NULL;
}

int emu_guest_reset(struct emu_guest *g)
{
	return g->ops->reset(g);
}

int emu_guest_kill(struct emu_guest *g)
{
	int ret = g->ops->kill(g);

	if (!ret)
		g->agent.ready = false; // a wait that follows must not see the dead one
	return ret;
}
