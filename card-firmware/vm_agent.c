// SPDX-License-Identifier: Apache-2.0
/*
 * The agent on the host: one at a time has our ear. Another one that comes has its place when it is
 * gone, or does not answer; one that answers is never displaced.
 */
#include "vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_log.h"

static struct card_vm *find_id(struct card_vms *s, const uint8_t *id)
{
	struct card_vm *v;

	TAILQ_FOREACH (v, &s->list, link)
		if (!memcmp(v->id, id, sizeof(v->id)))
			return v;
	return NULL;
}

/* Also of one that ended: the agent forgets it. */
static int send_kill(struct card_vms *s, uint64_t number, const uint8_t *id)
{
	struct hv_rec_agent_guest kill = { .pid = dpu_le32_put(0) };

	memcpy(kill.id, id, sizeof(kill.id));
	return card_vm_link_send(s->agent, HV_AGENT_KILL, number, &kill, sizeof(kill), NULL, 0);
}

int card_vm_agent_send(struct card_vm *v, enum hv_type type)
{
	struct hv_rec_agent_spawn spawn = { .reserved = { 0 } };
	struct card_vms *s = v->vms;

	if (!s->agent || !s->agent_ready)
		return -ENOTCONN;
	if (type == HV_AGENT_KILL)
		return send_kill(s, v->number, v->id);
	memcpy(spawn.id, v->id, sizeof(spawn.id));
	return card_vm_link_send(s->agent, type, v->number, &spawn, sizeof(spawn), NULL, 0);
}

static bool on_done(struct card_vms *s, const struct card_vm_record *r)
{
	struct card_vm *v = card_vm_find_number(s->card, r->cookie);
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };
	struct hv_rec_done d;
	unsigned status;

	memcpy(&d, r->bytes, sizeof(d));
	status = dpu_le16_get(d.status);
	if (dpu_le16_get(d.type) != r->asked || status >= HV_STATUSES)
		return false;
	if (r->asked == HV_AGENT_KILL && status == HV_E_ID && v && v->stopping) {
		// Of an agent that this one does not know the guests of; its socket may be left.
		if (!v->guest)
			card_vm_stopped(v);
		else
			(void)card_vm_link_send(v->guest, HV_STOP, 0, &none, sizeof(none), NULL, 0);
	}
	// A guest that there is already is offered, too.
	if (r->asked == HV_AGENT_SPAWN && status && status != HV_E_ID && v &&
		v->state == CARD_VM_STARTING)
		card_vm_fail(v, -EIO, "the agent refused: status %u, errno %u", status,
			dpu_le32_get(d.detail));
	return true;
}

static bool on_guest(struct card_vms *s, struct card_vm_record *r)
{
	struct hv_rec_agent_guest g;
	struct card_vm *v;
	int fd = r->fd;

	memcpy(&g, r->bytes, sizeof(g));
	if (g.end || g.signal || !dpu_is_zero(g.reserved, sizeof(g.reserved)))
		return false;
	v = find_id(s, g.id);
	if (!v) {
		// Left to itself: nobody knows whether its definition is only lost for now.
		s->strangers++;
		s->strangers_now = true;
		dpu_warn_ratelimited(
			"vm: a guest that no VM is known of", "pid=%u", dpu_le32_get(g.pid));
		return true;
	}
	if (v->down && v->state == CARD_VM_STOPPED) {
		(void)send_kill(s, v->number, v->id);
		return true;
	}
	r->fd = -1;
	v->generation = dpu_le32_get(g.generation);
	v->pid = dpu_le32_get(g.pid);
	v->agent_knows = true;
	v->ended = false;
	card_vm_guest_open(v, fd);
	return true;
}

static bool on_ended(struct card_vms *s, const struct card_vm_record *r)
{
	struct hv_rec_agent_guest g;
	struct card_vm *v;

	memcpy(&g, r->bytes, sizeof(g));
	if (!dpu_is_zero(g.reserved, sizeof(g.reserved)))
		return false;
	v = find_id(s, g.id);
	if (!v) {
		(void)send_kill(s, 0, g.id);
		return true;
	}
	// Its last answers and output may come here after the agent's word.
	card_vm_link_drain(v->guest);
	card_vm_link_close(v->guest);
	v->guest = NULL;
	v->end = g.end;
	v->signal = g.signal;
	v->ended = true;
	v->agent_knows = false;
	dpu_info("vm: guest ended", "name=%s end=%u signal=%u", v->name, g.end, g.signal);
	if (card_vm_again(v))
		return true;
	(void)send_kill(s, v->number, v->id);
	card_vm_stopped(v);
	return true;
}

static void cancel_probe(struct card_vms *s)
{
	struct vho_loop *l = &s->card->vho_loop;

	if (s->probe_timer)
		l->timer_cancel(l->arg, s->probe_timer);
	s->probe_timer = NULL;
}

/* The one that there is has answered. */
static void send_away(struct card_vms *s)
{
	cancel_probe(s);
	if (s->waiting < 0)
		return;
	close(s->waiting);
	s->waiting = -1;
	s->sent_away++;
	dpu_warn_ratelimited("vm: another agent is sent away", "sent_away=%llu",
		(unsigned long long)s->sent_away);
}

static bool on_record(void *arg, struct card_vm_record *r)
{
	struct card_vms *s = arg;

	switch (r->type) {
	case HV_HELLO_DONE:
		s->agent_ready = true;
		send_away(s);
		card_vm_agent_ready(s);
		return true;
	case HV_DONE:
		return r->asked != HV_HELLO && on_done(s, r);
	case HV_EV_GUEST:
		return on_guest(s, r);
	case HV_EV_ENDED:
		return on_ended(s, r);
	default:
		return false;
	}
}

static void let_in(struct card_vms *s);

static void agent_lost(struct card_vms *s, enum card_vm_close why)
{
	struct card_vm *v, *next;

	s->closed[CARD_VM_AGENT][why]++;
	s->agent = NULL;
	s->agent_ready = s->strangers_now = false;
	dpu_warn_ratelimited("vm: no agent any more", "why=%s", card_vm_close_name(why));
	for (v = TAILQ_FIRST(&s->list); v; v = next) {
		next = TAILQ_NEXT(v, link);
		v->agent_knows = false;
		if (v->state == CARD_VM_STARTING && !v->guest && !v->errand)
			card_vm_spawn(v); // there is none: it fails, or waits for one
		else if (v->state != CARD_VM_STOPPED && v->state != CARD_VM_RESTARTING &&
			 !v->guest && !v->errand && !card_vm_again(v))
			card_vm_stopped(v); // nobody tells how it ended
	}
	let_in(s);
}

static void on_closed(void *arg, enum card_vm_close why)
{
	agent_lost(arg, why);
}

static const struct card_vm_link_ops agent_ops = { .record = on_record, .closed = on_closed };

static void agent_open(struct card_vms *s, int sock)
{
	if (card_vm_link_open(s->card->loop, sock, CARD_VM_AGENT, &agent_ops, s, &s->agent)) {
		s->agent = NULL;
		return;
	}
	s->agents++;
	dpu_info("vm: an agent is here", "agents=%llu", (unsigned long long)s->agents);
}

/* The one that waits, if the place is free. */
static void let_in(struct card_vms *s)
{
	int sock = s->waiting;

	cancel_probe(s);
	s->waiting = -1;
	if (sock >= 0)
		agent_open(s, sock);
}

static void no_answer(void *arg)
{
	struct card_vms *s = arg;

	s->probe_timer = NULL;
	s->displaced++;
	card_vm_link_close(s->agent);
	agent_lost(s, CARD_VM_SILENT);
}

/* Whether the one that there is still answers; a hello changes nothing for it. */
static void probe(struct card_vms *s, int sock)
{
	struct hv_rec_hello hello = { .version = dpu_le16_put(HV_PROTO_VERSION) };
	struct vho_loop *l = &s->card->vho_loop;

	s->probe_timer = l->timer(l->arg, s->probe_ms, no_answer, s);
	if (!s->probe_timer) {
		close(sock);
		return;
	}
	s->waiting = sock;
	if (s->agent_ready) // otherwise it has its first one to answer
		(void)card_vm_link_send(s->agent, HV_HELLO, 0, &hello, sizeof(hello), NULL, 0);
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct card_vms *s = arg;
	int sock = card_vm_accept(fd);

	(void)what;
	if (sock < 0) {
		if (sock != -EAGAIN)
			dpu_warn_ratelimited("vm: an agent is not let in", "err=%d", -sock);
	} else if (!s->agent) {
		agent_open(s, sock);
	} else if (s->waiting >= 0) {
		close(sock); // it comes again
	} else {
		probe(s, sock);
	}
}

int card_vms_listen(struct card *c)
{
	struct card_vms *s = c->vms;

	if (!c->opt.agent_socket)
		return 0;
	card_vm_again_restore(s);
	s->listener = card_vm_listen(c->opt.agent_socket);
	if (s->listener < 0) {
		int ret = s->listener;

		dpu_err("vm: cannot listen for agents", "path=%s err=%d (%s)", c->opt.agent_socket,
			-ret, strerror(-ret));
		s->listener = -1;
		return ret;
	}
	s->accepting = event_new(c->loop, s->listener, EV_READ | EV_PERSIST, on_connection, s);
	return s->accepting && event_add(s->accepting, NULL) == 0 ? 0 : -ENOMEM;
}
