// SPDX-License-Identifier: Apache-2.0
/*
 * A guest on host-hv: a VM of its card, which is asked in short calls, one after the other. Its
 * only port is the console, which the card has: when the card was away, output is missing, and a
 * command that runs is asked for its answer again.
 */
#include "emu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "hex.h"
#include "proc.h"
#include "text.h"

#define PART 1024u // bytes of input in a call
#define AGAIN_MS 50 // while something is not there yet
#define BUSY_MS 5 // while bytes come and go
#define ASKED_MS 40 // while a command runs
#define IDLE_MS 250
#define SILENT_NS 5000000000ull // in an answer: the rest of it is lost
#define LOST_NS 30000000000ull // no process was found again after its card came back
#define WAIT_MS 5000 // for the ends of processes whose card and agent have ended

enum step { START, LOOK, TALK, STOP, DRAIN };

struct emu_vm {
	struct emu_guest *guest; // borrowed
	struct emu_card *card; // borrowed
	struct emu_call call;
	struct event *timer; // owned: the next step
	enum step step;
	bool calling;
	bool wanted; // it is being started
	bool again; // after DRAIN: start
	bool stop; // stop it as the next step
	bool gap; // the console may have lost bytes
	unsigned card_starts; // of the card process that offset is of
	json_int_t sample; // of the operation on its way; 0: none
	json_int_t offset; // of the console
	unsigned wait_ms;
	uint64_t heard_ns, lost_ns;
	struct evbuffer *in, *out, *rest; // owned
	int log_fd; // owned; -1: none
};

static void next(struct emu_vm *v, enum step step, unsigned ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 };

	v->step = step;
	v->calling = false;
	evtimer_add(v->timer, &tv);
}

/* Now rather than later; a call on its way is waited for. */
static void hurry(struct emu_vm *v)
{
	if (!v->calling)
		next(v, v->step, 0);
}

static void drop(struct evbuffer *b)
{
	evbuffer_drain(b, evbuffer_get_length(b));
}

/* ---- what the card answers ---- */

static void on_operation(void *arg, int ret, const json_t *result, const char *why)
{
	struct emu_vm *v = arg;
	bool starts = v->step == START;

	if (!ret && !json_is_true(json_object_get(result, "ready"))) {
		v->sample = json_integer_value(json_object_get(result, "sample"));
		next(v, v->step, (unsigned)json_integer_value(json_object_get(result, "wait_ms")));
		return;
	}
	v->sample = 0;
	if (ret == -ECONNRESET || ret == -ENOTCONN || ret == -EBUSY || ret == -ESTALE) {
		next(v, v->step, AGAIN_MS); // no card, or none that has its agent yet
	} else if (ret && ret != -EALREADY && ret != -ETIMEDOUT && starts) {
		emu_stop(v->guest->emu, 1, "guest %s: cannot start: %s", v->guest->conf->name, why);
	} else {
		next(v, starts ? LOOK : DRAIN, 0); // too late for the card: asked to start again
	}
}

static void found(struct emu_vm *v, pid_t pid)
{
	struct emu_guest *g = v->guest;

	v->wanted = false;
	v->lost_ns = 0;
	if (g->pid && g->pid != pid) {
		g->resets++;
		emu_say(g->emu, "guest %s began anew", g->conf->name);
		emu_guest_was_reset(g, v->in);
	}
	g->pid = pid;
	if (v->card_starts != v->card->starts) {
		v->gap = v->card_starts != 0;
		v->card_starts = v->card->starts;
		v->offset = 0;
	}
	next(v, TALK, 0);
}

static void on_look(void *arg, int ret, const json_t *result, const char *why)
{
	const json_t *o = json_array_get(result, 0);
	const char *state = json_string_value(json_object_get(o, "state"));
	const char *end = json_string_value(json_object_get(o, "end"));
	struct emu_vm *v = arg;
	char text[64];

	(void)why;
	if (!ret && state && (!strcmp(state, "running") || !strcmp(state, "paused"))) {
		found(v, (pid_t)json_integer_value(json_object_get(o, "pid")));
	} else if (ret || !state || strcmp(state, "stopped") != 0) {
		next(v, LOOK, AGAIN_MS);
	} else if (v->wanted) {
		next(v, START, 0);
	} else {
		if (!v->lost_ns)
			v->lost_ns = dpu_now_ns();
		next(v, LOOK, AGAIN_MS);
		if ((!end || !end[0]) && dpu_now_ns() - v->lost_ns < LOST_NS)
			return; // its agent may not have told the new card of it yet
		event_del(v->timer);
		emu_text(text, sizeof(text), "ended (%s)", end && end[0] ? end : "lost");
		emu_guest_gone(v->guest, text);
	}
}

/* What was missed is worth nothing, on either side. */
static void mend(struct emu_vm *v)
{
	v->gap = false;
	emu_agent_gap(&v->guest->agent, v->in);
	drop(v->out);
	if (!v->guest->agent.ready)
		evbuffer_add(v->out, "\n?\n", 3); // its greeting may be among what was lost
	emu_guest_ask_again(v->guest);
}

static void write_log(struct emu_vm *v)
{
	while (v->log_fd >= 0 && evbuffer_get_length(v->rest) &&
		evbuffer_write(v->rest, v->log_fd) > 0)
		;
	drop(v->rest);
}

/* Bytes of output that came. */
static size_t take_output(struct emu_vm *v, const json_t *result)
{
	const char *hex = json_string_value(json_object_get(result, "output"));
	json_int_t at = json_integer_value(json_object_get(result, "offset"));
	size_t n = hex ? strlen(hex) / 2 : 0;
	struct evbuffer_iovec room;

	v->gap = v->gap || at != v->offset;
	if (v->gap)
		mend(v);
	v->offset = json_integer_value(json_object_get(result, "next_offset"));
	if (n && evbuffer_reserve_space(v->in, (ev_ssize_t)n, &room, 1) == 1 &&
		card_hex_parse(hex, room.iov_base, n) == 0) {
		room.iov_len = n;
		evbuffer_commit_space(v->in, &room, 1);
	} else if (n) {
		v->gap = true;
	}
	if (n)
		v->heard_ns = dpu_now_ns();
	return n;
}

static void on_talk(void *arg, int ret, const json_t *result, const char *why)
{
	const char *state = json_string_value(json_object_get(result, "state"));
	struct emu_vm *v = arg;
	struct emu_guest *g = v->guest;
	json_int_t typed = json_integer_value(json_object_get(result, "typed"));
	bool draining = v->step == DRAIN;
	size_t n;

	(void)why;
	if (ret) { // DRAIN: there is no card, so nothing of it to be read either
		v->gap = v->gap || ret == -ECONNRESET;
		next(v, draining ? START : LOOK, AGAIN_MS);
		return;
	}
	evbuffer_drain(v->out, typed > 0 ? (size_t)typed : 0);
	n = take_output(v, result);
	if (draining) {
		drop(v->in);
		next(v, n ? DRAIN : START, 0);
		if (n || v->again)
			return;
		event_del(v->timer);
		emu_guest_gone(g, "was killed");
		return;
	}
	if (!state || strcmp(state, "running") != 0) {
		emu_guest_heard(g, v->in);
		write_log(v);
		next(v, LOOK, AGAIN_MS);
		return;
	}
	if (g->agent.in_body && dpu_now_ns() - v->heard_ns > SILENT_NS) {
		v->gap = true;
		mend(v);
	}
	v->wait_ms = n || typed > 0		       ? BUSY_MS
		     : g->agent.seq || !g->agent.ready ? ASKED_MS
						       : IDLE_MS;
	next(v, TALK, v->wait_ms);
	emu_guest_heard(g, v->in);
	write_log(v);
	if (g->emu->phase == EMU_UP)
		emu_ctl_changed(g->emu);
}

/* ---- what the card is asked ---- */

static json_t *operation(const struct emu_vm *v)
{
	json_t *p = json_pack("{s:s}", "name", v->guest->conf->name);

	if (v->sample)
		json_object_set_new(p, "sample", json_integer(v->sample));
	if (v->step == STOP)
		json_object_set_new(p, "force", json_true());
	return p;
}

static json_t *exchange(const struct emu_vm *v)
{
	char bytes[PART], hex[2 * PART + 1] = "";
	ev_ssize_t n = v->step == DRAIN ? 0 : evbuffer_copyout(v->out, bytes, sizeof(bytes));

	if (n > 0)
		card_hex_text((const uint8_t *)bytes, (size_t)n, hex);
	return json_pack(
		"{s:s, s:I, s:s}", "name", v->guest->conf->name, "offset", v->offset, "input", hex);
}

static void step(evutil_socket_t fd, short what, void *arg)
{
	struct emu_vm *v = arg;
	int ret;

	(void)fd;
	(void)what;
	if (v->stop && v->step != START) {
		v->stop = false;
		v->step = STOP;
		v->sample = 0;
	}
	if (v->step == TALK && v->card_starts != v->card->starts)
		v->step = LOOK;
	v->calling = true;
	switch (v->step) {
	case START:
		ret = emu_call(&v->call, "vm_start", operation(v), on_operation);
		break;
	case STOP:
		ret = emu_call(&v->call, "vm_stop", operation(v), on_operation);
		break;
	case LOOK:
		ret = emu_call(&v->call, "vm_list",
			json_pack("{s:s}", "name", v->guest->conf->name), on_look);
		break;
	default:
		ret = emu_call(&v->call, "vm_console", exchange(v), on_talk);
		break;
	}
	if (ret)
		next(v, v->step == TALK ? LOOK : v->step, AGAIN_MS);
}

/* ---- as a guest ---- */

static int make(struct emu_guest *g)
{
	const struct emu_end *end = g->conf->nic.set ? &g->conf->nic : &g->conf->disk;
	char path[EMU_PATH_SIZE];
	struct emu_vm *v = dpu_calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	g->vm = v;
	v->guest = g;
	v->card = &g->emu->cards[end->card];
	v->call = (struct emu_call){ .card = v->card, .arg = v };
	v->timer = evtimer_new(g->emu->base, step, v);
	v->in = evbuffer_new();
	v->out = evbuffer_new();
	v->rest = evbuffer_new();
	g->agent.rest = v->rest;
	emu_path(g->emu, path, sizeof(path), "%s/console.log", g->conf->name);
	v->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return v->timer && v->in && v->out && v->rest ? 0 : -ENOMEM;
}

static int start(struct emu_guest *g)
{
	int ret = g->vm ? 0 : make(g);

	if (ret)
		return ret;
	g->vm->wanted = true;
	next(g->vm, START, 0);
	return 0;
}

static void hang_up(struct emu_guest *g)
{
	if (!g->vm)
		return;
	drop(g->vm->in);
	drop(g->vm->out);
}

static bool connected(const struct emu_guest *g)
{
	const struct emu_vm *v = g->vm;

	return v && v->step == TALK && !v->gap && v->card->ready &&
	       v->card_starts == v->card->starts;
}

static void say(struct emu_guest *g, const char *text, size_t len)
{
	evbuffer_add(g->vm->out, text, len);
	hurry(g->vm);
}

static int stop(struct emu_guest *g, bool again)
{
	if (!g->pid || !g->vm)
		return -ENOTCONN;
	g->vm->again = again;
	g->vm->wanted = again;
	g->vm->stop = true;
	emu_guest_was_reset(g, g->vm->in);
	g->pid = 0;
	hurry(g->vm);
	return 0;
}

/* There is no reset line: it is switched off and on. */
static int reset(struct emu_guest *g)
{
	int ret = stop(g, true);

	g->resets += ret == 0;
	return ret;
}

static int kill_guest(struct emu_guest *g)
{
	return stop(g, false);
}

static void fini(struct emu_guest *g)
{
	struct emu_vm *v = g->vm;

	if (!v)
		return;
	emu_call_end(&v->call);
	if (v->timer)
		event_free(v->timer);
	if (v->in)
		evbuffer_free(v->in);
	if (v->out)
		evbuffer_free(v->out);
	if (v->rest)
		evbuffer_free(v->rest);
	if (v->log_fd >= 0)
		close(v->log_fd);
	free(v);
	g->vm = NULL;
}

const struct emu_guest_ops emu_guest_hv = { "console.log", start, hang_up, connected, say, reset,
	kill_guest, fini };

/* ---- as a part of its card ---- */

static bool is_of(const struct emu_guest_conf *g, const struct emu_card *c)
{
	const struct emu_end *end = g->nic.set ? &g->nic : &g->disk;

	return g->hypervisor == EMU_HV_HOST && end->card == c->idx;
}

bool emu_card_has_vms(const struct emu_card *c)
{
	for (size_t i = 0; i < c->emu->topo->n_guests; i++)
		if (is_of(&c->emu->topo->guests[i], c))
			return true;
	return false;
}

static int add_vm(struct emu_card *c, const struct emu_guest_conf *g, json_t *calls)
{
	char cmdline[4 * EMU_TEXT_SIZE], kernel[EMU_PATH_SIZE + 16], initrd[EMU_PATH_SIZE + 16];
	json_t *functions = json_array();

	if (g->nic.set)
		json_array_append_new(functions, json_string(c->conf->functions[g->nic.item].name));
	if (g->disk.set)
		json_array_append_new(
			functions, json_string(c->conf->functions[g->disk.item].name));
	emu_text(kernel, sizeof(kernel), "%s/kernel", c->emu->image);
	emu_text(initrd, sizeof(initrd), "%s/initramfs", c->emu->image);
	emu_text(cmdline, sizeof(cmdline),
		"console=ttyS0 panic=-1 quiet ob.agent=ttyS0 ob.name=%s%s%s%s%s", g->name,
		g->ip[0] ? " ob.ip=" : "", g->ip, g->append[0] ? " " : "", g->append);
	return emu_call_add(calls, "vm_create",
		json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:o}", "name", g->name, "mem_mib",
			(json_int_t)g->mem_mib, "vcpus", (json_int_t)g->cpus, "kernel", kernel,
			"initrd", initrd, "cmdline", cmdline, "functions", functions));
}

int emu_vms_add(struct emu_card *c, json_t *calls)
{
	int ret = 0;

	for (size_t i = 0; i < c->emu->topo->n_guests && !ret; i++)
		if (is_of(&c->emu->topo->guests[i], c))
			ret = add_vm(c, &c->emu->topo->guests[i], calls);
	return ret;
}

bool emu_host_path(char *out, size_t size)
{
	static const char *const places[] = { "host-hv", "../../host-hv/host-hv" };

	for (unsigned i = 0; i < 2; i++) {
		emu_program_path(places[i], out, size);
		if (access(out, X_OK) == 0)
			return true;
	}
	return false;
}

int emu_host_start(struct emu_card *c)
{
	char path[EMU_PATH_SIZE], log[EMU_PATH_SIZE];
	struct emu_argv a = { 0 };
	int ret;

	// Guests outlive their agent: they are ours to wait for then.
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -errno;
	if (!emu_host_path(path, sizeof(path)))
		return -ENOENT;
	emu_argv_add(&a, "%s", path);
	emu_argv_add(&a, "--agent");
	emu_argv_add(&a, "--card");
	emu_argv_add(&a, "%s/%s/agents", c->emu->dir, c->conf->name);
	emu_path(c->emu, log, sizeof(log), "%s/host-hv.log", c->conf->name);
	ret = emu_spawn(&a, log, &c->host_pid);
	emu_argv_fini(&a);
	return ret;
}

void emu_host_ended(struct emu_card *c, int status)
{
	char text[80];

	emu_status_text(status, text, sizeof(text));
	c->host_pid = 0;
	emu_stop(c->emu, 1, "host-hv of card %s %s: see %s/%s/host-hv.log (kept with --keep)",
		c->conf->name, text, c->emu->dir, c->conf->name);
}

void emu_vms_wait(struct emu *e)
{
	const struct timespec nap = { .tv_nsec = 10 * 1000 * 1000 };

	for (size_t i = 0; i < e->topo->n_guests; i++) {
		pid_t pid = e->guests[i].vm ? e->guests[i].pid : 0;

		for (unsigned ms = 0; pid && waitpid(pid, NULL, WNOHANG) == 0; ms += 10) {
			if (ms == WAIT_MS)
				kill(pid, SIGKILL); // our child by now, so no other process
			nanosleep(&nap, NULL);
		}
	}
}
