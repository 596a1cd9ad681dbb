// SPDX-License-Identifier: Apache-2.0
/* Virtual machines: their definitions, what is asked of them and what came of it. */
#include "vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc_schema.h"

#define START_MS 30000

static const char *const state_names[] = {
	[CARD_VM_STOPPED] = "stopped",
	[CARD_VM_STARTING] = "starting",
	[CARD_VM_RUNNING] = "running",
	[CARD_VM_PAUSED] = "paused",
	[CARD_VM_RESTARTING] = "restarting",
};

const char *card_vm_state_name(enum card_vm_state s)
{
	return state_names[s];
}

struct card_vm *card_vm_find(const struct card *c, const char *name)
{
	struct card_vm *v;

	TAILQ_FOREACH (v, &c->vms->list, link)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

struct card_vm *card_vm_find_number(const struct card *c, uint64_t number)
{
	struct card_vm *v;

	TAILQ_FOREACH (v, &c->vms->list, link)
		if (v->number == number)
			return v;
	return NULL;
}

const struct card_vm *card_vm_of_function(const struct card *c, const char *function)
{
	const struct card_vm *v;

	if (!c->vms)
		return NULL;
	TAILQ_FOREACH (v, &c->vms->list, link)
		for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
			if (!strcmp(v->conf.functions[i], function))
				return v;
	return NULL;
}

void card_vm_cmdline(const struct card_vm_conf *conf, char text[HV_PROTO_CMDLINE])
{
	snprintf(text, HV_PROTO_CMDLINE, "%s%s%s", conf->default_cmdline ? CARD_VM_CMDLINE : "",
		conf->default_cmdline && conf->cmdline[0] ? " " : "", conf->cmdline);
}

void card_vm_conf_free(struct card_vm_conf *conf)
{
	free(conf->kernel);
	free(conf->initrd);
	free(conf->cmdline);
	conf->kernel = conf->initrd = conf->cmdline = NULL;
}

/* ---- operations ---- */

static void cancel(struct card_vm *v, void **timer)
{
	struct vho_loop *l = &v->vms->card->vho_loop;

	if (*timer)
		l->timer_cancel(l->arg, *timer);
	*timer = NULL;
}

static int op_begin(struct card_vm *v, enum hv_type type, struct card_error *e)
{
	if (v->op.pending)
		return card_fail(e, -EBUSY, "%s: another operation is on its way", v->name);
	v->op = (struct card_vm_op){ .serial = ++v->vms->serial, .type = type, .pending = true };
	return 0;
}

void card_vm_op_end(struct card_vm *v, int ret, const char *why)
{
	v->op.pending = false;
	v->op.ret = ret;
	snprintf(v->op.text, sizeof(v->op.text), "%s", ret ? why : "");
}

void card_vm_clear(struct card_vm *v)
{
	v->making = v->stopping = v->met = v->lost = false;
	v->present = v->wants = v->adding = 0;
	cancel(v, &v->deadline);
	cancel(v, &v->again_timer);
	cancel(v, &v->want_timer);
	cancel(v, &v->type_timer);
	memset(v->want, 0, sizeof(v->want));
	v->n_typed = 0;
	v->typing = false;
}

void card_vm_stopped(struct card_vm *v)
{
	v->state = CARD_VM_STOPPED;
	card_vm_again_forget(v);
	card_vm_clear(v);
	card_vm_images_close(v);
	if (!v->op.pending)
		return;
	if (v->op.type == HV_STOP)
		card_vm_op_end(v, 0, "");
	else
		card_vm_op_end(v, -ECONNRESET, "the guest's process ended");
}

void card_vm_fail(struct card_vm *v, int ret, const char *fmt, ...)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };
	char text[sizeof(v->reason)] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(v->reason, text, sizeof(text));
	dpu_err("vm: failed", "name=%s why=\"%s\"", v->name, v->reason);
	if (v->op.pending)
		card_vm_op_end(v, ret, v->reason);
	cancel(v, &v->deadline);
	v->stopping = v->down = true;
	// Its process tells of its end through the agent; without one there is nothing to wait for.
	if (card_vm_agent_send(v, HV_AGENT_KILL) == 0 && v->agent_knows)
		return;
	if (v->guest)
		(void)card_vm_link_send(v->guest, HV_STOP, 0, &none, sizeof(none), NULL, 0);
	card_vm_stopped(v);
}

static void too_late(void *arg)
{
	struct card_vm *v = arg;

	v->deadline = NULL;
	card_vm_fail(v, -ETIMEDOUT, "did not start in %u s", START_MS / 1000);
}

void card_vm_begin(struct card_vm *v)
{
	struct vho_loop *l = &v->vms->card->vho_loop;

	cancel(v, &v->again_timer);
	v->state = CARD_VM_STARTING;
	v->stopping = v->down = v->ended = false;
	v->ran_ns = 0;
	v->deadline = l->timer(l->arg, START_MS, too_late, v);
	if (v->kernel_fd >= 0)
		card_vm_spawn(v);
	else
		card_vm_load(v); // and then spawn; what it comes to is in v->op
}

void card_vm_spawn(struct card_vm *v)
{
	if (card_vm_agent_send(v, HV_AGENT_SPAWN) == 0)
		return;
	if (v->op.pending && v->op.type == HV_START) {
		card_vm_fail(v, -ENOTCONN, "the agent is gone");
		return;
	}
	card_vm_clear(v);
	v->state = CARD_VM_RESTARTING;
}

int card_vm_start(struct card_vm *v, struct card_error *e)
{
	int ret;

	if ((v->state != CARD_VM_STOPPED && v->state != CARD_VM_RESTARTING) || v->guest)
		return card_fail(e, -EALREADY, "%s: is %s", v->name, state_names[v->state]);
	if (!v->vms->agent_ready)
		return card_fail(e, -ENOTCONN, "no agent is connected");
	ret = op_begin(v, HV_START, e);
	if (ret)
		return ret;
	v->reason[0] = '\0';
	v->counters.starts++;
	v->again_ms = 0;
	v->again_before = false;
	card_vm_begin(v);
	return 0;
}

int card_vm_step(struct card_vm *v, enum hv_type type, struct card_error *e)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };
	int ret;

	if (!v->guest || (v->state != CARD_VM_RUNNING && v->state != CARD_VM_PAUSED))
		return card_fail(e, -ENOTCONN, "%s: is %s", v->name, state_names[v->state]);
	ret = op_begin(v, type, e);
	if (ret)
		return ret;
	ret = card_vm_link_send(v->guest, type, 0, &none, sizeof(none), NULL, 0);
	if (ret)
		card_vm_op_end(v, ret, strerror(-ret));
	return 0;
}

int card_vm_stop(struct card_vm *v, bool force, struct card_error *e)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };
	int ret;

	if (v->state == CARD_VM_STOPPED && !v->guest)
		return card_fail(e, -EALREADY, "%s: is stopped", v->name);
	if (v->op.pending) // a stop comes before whatever else was asked
		card_vm_op_end(v, -ECANCELED, "stopped meanwhile");
	ret = op_begin(v, HV_STOP, e);
	if (ret)
		return ret;
	v->stopping = v->down = true;
	if (v->state == CARD_VM_RESTARTING || (v->errand && !v->guest && !v->agent_knows)) {
		// An end that it knows is forgotten; an agent that is not there is told when it is.
		(void)card_vm_agent_send(v, HV_AGENT_KILL);
		card_vm_stopped(v);
	} else if (v->guest && !force) {
		ret = card_vm_link_send(v->guest, HV_STOP, 0, &none, sizeof(none), NULL, 0);
	} else {
		ret = card_vm_agent_send(v, HV_AGENT_KILL);
	}
	if (ret)
		card_vm_op_end(v, ret, ret == -ENOTCONN ? "no agent is connected" : strerror(-ret));
	return 0;
}

/* ---- functions and console ---- */

int card_vm_function_add(
	struct card_vm *v, unsigned slot, const char *function, struct card_error *e)
{
	int ret;

	snprintf(v->conf.functions[slot], sizeof(v->conf.functions[slot]), "%s", function);
	if (!v->met || !v->guest)
		return 0;
	ret = card_vm_guest_function(v, slot, HV_ADD);
	if (!ret)
		return 0;
	v->conf.functions[slot][0] = '\0';
	return card_fail(e, ret, "%s: %s", function,
		ret == -ENODEV	  ? "no such function"
		: ret == -ENOTSUP ? "is in client mode"
				  : strerror(-ret));
}

int card_vm_function_remove(struct card_vm *v, const char *function, struct card_error *e)
{
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++) {
		struct hv_rec_function rec = { .slot = (uint8_t)i };
		int ret = 0;

		if (strcmp(v->conf.functions[i], function) != 0)
			continue;
		if (v->guest && v->present & 1u << i)
			ret = card_vm_link_send(v->guest, HV_REMOVE, i, &rec, sizeof(rec), NULL, 0);
		if (ret)
			return card_fail(e, ret, "%s: %s", function, strerror(-ret));
		v->conf.functions[i][0] = '\0';
		v->present &= ~(1u << i);
		v->wants &= ~(1u << i);
		return 0;
	}
	return card_fail(e, -ENODEV, "%s: has no function %s", v->name, function);
}

int card_vm_resize(struct card_vm *v, uint64_t mem_mib, struct card_error *e)
{
	bool runs = v->guest && (v->state == CARD_VM_RUNNING || v->state == CARD_VM_PAUSED);
	uint64_t has = runs ? v->process.mem_mib : mem_mib; // less than it is to, if it refused
	int ret = 0;

	if (mem_mib == v->conf.mem_mib && (mem_mib <= has || v->adding & 1))
		return 0;
	if (mem_mib > v->conf.mem_max_mib)
		return card_fail(e, -EINVAL, "mem_mib: at most %llu, which is its mem_max_mib",
			(unsigned long long)v->conf.mem_max_mib);
	if (v->conf.hugepages && mem_mib % 2)
		return card_fail(e, -EINVAL, "mem_mib: odd, and its pages are of 2 MiB");
	if (v->guest && !runs)
		return card_fail(e, -EBUSY, "%s: is %s", v->name, state_names[v->state]);
	if (v->adding & 1)
		return card_fail(e, -EBUSY, "%s: has not answered the last one", v->name);
	if (mem_mib < has)
		return card_fail(e, -EINVAL, "mem_mib: a guest that runs gives none back");
	if ((mem_mib - has) % HV_GROW_UNIT_MIB)
		return card_fail(e, -EINVAL,
			"mem_mib: a guest that runs takes multiples of %u more", HV_GROW_UNIT_MIB);
	if (mem_mib > has)
		ret = card_vm_guest_grow(v, mem_mib);
	if (ret)
		return card_fail(e, ret, "%s: %s", v->name, strerror(-ret));
	v->conf.mem_mib = mem_mib;
	return 0;
}

int card_vm_type(struct card_vm *v, const uint8_t *bytes, size_t n, struct card_error *e)
{
	size_t room = sizeof(v->typed) - v->n_typed;

	if (!v->guest || (v->state != CARD_VM_RUNNING && v->state != CARD_VM_PAUSED))
		return card_fail(e, -ENOTCONN, "%s: is %s", v->name, state_names[v->state]);
	n = n < room ? n : room;
	memcpy(v->typed + v->n_typed, bytes, n);
	v->n_typed += (unsigned)n;
	card_vm_guest_type(v);
	return (int)n;
}

/* ---- definitions ---- */

int card_vm_create(
	struct card *c, const char *name, struct card_vm_conf *conf, struct card_error *e)
{
	struct card_vms *s = c->vms;
	struct card_vm *v;

	if (s->n == CARD_VMS_MAX) {
		card_vm_conf_free(conf);
		return card_fail(e, -ENOSPC, "there are %u VMs", CARD_VMS_MAX);
	}
	v = dpu_calloc(1, sizeof(*v));
	if (v)
		v->console = dpu_calloc(1, CARD_VM_CONSOLE);
	if (!v || !v->console) {
		free(v);
		card_vm_conf_free(conf);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	snprintf(v->name, sizeof(v->name), "%s", name);
	v->vms = s;
	v->number = ++s->numbers;
	v->conf = *conf;
	v->kernel_fd = v->initrd_fd = -1;
	card_uuid_derive(c, name, v->id);
	TAILQ_INSERT_TAIL(&s->list, v, link);
	s->n++;
	dpu_info("vm: created", "name=%s mem_mib=%llu vcpus=%u", name,
		(unsigned long long)conf->mem_mib, conf->vcpus);
	return 0;
}

static void vm_free(struct card_vm *v)
{
	card_vm_link_close(v->guest);
	card_vm_clear(v);
	card_vm_images_close(v);
	card_vm_conf_free(&v->conf);
	free(v->console);
	free(v);
}

int card_vm_delete(struct card *c, struct card_vm *v, struct card_error *e)
{
	if (v->state != CARD_VM_STOPPED || v->guest)
		return card_fail(e, -EBUSY, "%s: is %s", v->name, state_names[v->state]);
	TAILQ_REMOVE(&c->vms->list, v, link);
	c->vms->n--;
	card_vm_again_forget(v); // of a card that listened for agents, as this one may not
	dpu_info("vm: deleted", "name=%s", v->name);
	vm_free(v);
	return 0;
}

/* ---- the module ---- */

static void count(void *arg)
{
	struct card_vms *s = arg;
	struct vho_loop *l = &s->card->vho_loop;
	struct card_vm *v;

	TAILQ_FOREACH (v, &s->list, link)
		card_vm_guest_count(v);
	s->count_timer = l->timer(l->arg, s->count_ms, count, s);
}

int card_vms_init(struct card *c)
{
	c->vms = dpu_calloc(1, sizeof(*c->vms));
	if (!c->vms)
		return -ENOMEM;
	c->vms->card = c;
	c->vms->listener = c->vms->waiting = -1;
	c->vms->probe_ms = CARD_VM_PROBE_MS;
	c->vms->count_ms = CARD_VM_COUNT_MS;
	c->vms->add_ms = CARD_VM_ADD_MS;
	TAILQ_INIT(&c->vms->list);
	c->vms->count_timer = c->vho_loop.timer(c->vho_loop.arg, c->vms->count_ms, count, c->vms);
	if (c->vms->count_timer)
		return 0;
	free(c->vms);
	c->vms = NULL;
	return -ENOMEM;
}

void card_vms_fini(struct card *c)
{
	struct card_vms *s = c->vms;
	struct card_vm *v;

	if (!s)
		return;
	// Guests go on: the agent has copies of their sockets, for the next card.
	card_vm_link_close(s->agent);
	if (s->probe_timer)
		c->vho_loop.timer_cancel(c->vho_loop.arg, s->probe_timer);
	if (s->count_timer)
		c->vho_loop.timer_cancel(c->vho_loop.arg, s->count_timer);
	if (s->waiting >= 0)
		close(s->waiting);
	if (s->accepting)
		event_free(s->accepting);
	if (s->listener >= 0) {
		close(s->listener);
		(void)unlink(c->opt.agent_socket);
	}
	while ((v = TAILQ_FIRST(&s->list))) {
		TAILQ_REMOVE(&s->list, v, link);
		vm_free(v);
	}
	free(s);
	c->vms = NULL;
}
