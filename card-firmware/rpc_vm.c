// SPDX-License-Identifier: Apache-2.0
/* Methods on virtual machines of the card's host. */
#include "rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc_list.h"
#include "rpc_schema.h"
#include "vm.h"

#define CPU_MAX 1024
#define OP_WAIT_MS 20
#define INPUT_MAX 4096u // bytes of one call
#define OUTPUT_MAX 16384u
#define RESTART "restart" // what becomes of a guest that ends
#define STOP "stop"

static int out_of_memory(struct card_error *e)
{
	return card_fail(e, -ENOMEM, "out of memory");
}

static struct card_vm *named(struct card *c, const json_t *params, int *ret, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_vm *v = card_vm_find(c, name);

	if (!v)
		*ret = card_fail(e, -ENODEV, "%s: no such VM", name);
	return v;
}

/* ---- definitions ---- */

static int read_pins(const json_t *list, struct card_vm_conf *conf, struct card_error *e)
{
	const json_t *v;
	size_t i;

	memset(conf->pins, 0xff, sizeof(conf->pins));
	if (json_array_size(list) > conf->vcpus)
		return card_fail(e, -EINVAL, "pins: more than vcpus");
	json_array_foreach (list, i, v) {
		const char *text = json_string_value(v);
		char *end = NULL;
		unsigned long cpu = text ? strtoul(text, &end, 10) : CPU_MAX;

		if (!text || !*text || *end || *text == '-' || cpu >= CPU_MAX)
			return card_fail(e, -EINVAL, "pins: CPU numbers below %u", CPU_MAX);
		conf->pins[i] = (uint16_t)cpu;
	}
	return 0;
}

/* The first is in slot 1: the host bridge has slot 0. */
static int read_functions(const json_t *list, struct card_vm_conf *conf, struct card_error *e)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) >= HV_PROTO_SLOTS)
		return card_fail(e, -EINVAL, "functions: at most %u", HV_PROTO_SLOTS - 1);
	json_array_foreach (list, i, v) {
		const char *text = json_string_value(v);

		if (!text || !*text) // taken out since
			continue;
		if (!card_name_ok(text))
			return card_fail(e, -EINVAL, "functions: " CARD_NAME_RULE);
		for (size_t j = 1; j <= i; j++)
			if (!strcmp(conf->functions[j], text))
				return card_fail(e, -EINVAL, "functions: %s is there twice", text);
		snprintf(conf->functions[i + 1], sizeof(conf->functions[i + 1]), "%s", text);
	}
	return 0;
}

static int read_policy(const json_t *params, const char *name, const char *def, bool *restarts,
	struct card_error *e)
{
	const char *text = card_arg_str(params, name, def);

	*restarts = !strcmp(text, RESTART);
	return *restarts || !strcmp(text, STOP)
		       ? 0
		       : card_fail(e, -EINVAL, "%s: " RESTART " or " STOP, name);
}

static const char *const cpu_names[] = HV_CPU_NAMES;
#define CPU_NAMES (sizeof(cpu_names) / sizeof(cpu_names[0]))

static int read_template(const json_t *params, unsigned *t, struct card_error *e)
{
	const char *name = card_arg_str(params, "cpu_template", cpu_names[0]);

	for (*t = 0; *t < CPU_NAMES; ++*t)
		if (!strcmp(name, cpu_names[*t]))
			return 0;
	return card_fail(
		e, -EINVAL, "cpu_template: no template %s; there are host, baseline, v3", name);
}

/*
 * Words that nobody asked for must not make a command line too long that was not, as in definitions
 * of cards before they had any.
 */
static int read_cmdline(const json_t *params, struct card_vm_conf *conf, struct card_error *e)
{
	const char *own = card_arg_str(params, "cmdline", "");
	bool fits = strlen(own) + sizeof(CARD_VM_CMDLINE) < HV_PROTO_CMDLINE;

	conf->default_cmdline = card_arg_bool(params, "default_cmdline", fits && !conf->flat);
	if (conf->default_cmdline && !fits)
		return card_fail(e, -EINVAL, "cmdline: longer than %zu bytes, with default_cmdline",
			HV_PROTO_CMDLINE - 1 - sizeof(CARD_VM_CMDLINE));
	conf->cmdline = strdup(own);
	return 0;
}

static int read_conf(const json_t *params, struct card_vm_conf *conf, struct card_error *e)
{
	const char *kernel = card_arg_str(params, "kernel", "");
	const char *initrd = card_arg_str(params, "initrd", NULL);
	int ret;

	*conf = (struct card_vm_conf){ .mem_mib = card_arg_uint(params, "mem_mib", 0),
		.mem_max_mib = card_arg_uint(params, "mem_max_mib", 0),
		.vcpus = (unsigned)card_arg_uint(params, "vcpus", 1),
		.hugepages = card_arg_bool(params, "hugepages", false),
		.flat = card_arg_bool(params, "flat", false) };
	if (kernel[0] != '/' || (initrd && initrd[0] != '/'))
		return card_fail(e, -EINVAL, "kernel, initrd: absolute paths on the card");
	if (!conf->mem_max_mib)
		conf->mem_max_mib = conf->mem_mib;
	if (conf->mem_max_mib < conf->mem_mib)
		return card_fail(e, -EINVAL, "mem_max_mib: less than mem_mib");
	if (conf->hugepages && (conf->mem_max_mib - conf->mem_mib) % 2)
		return card_fail(e, -EINVAL,
			"mem_max_mib: an odd number more than mem_mib, and its pages are of 2 MiB");
	ret = read_template(params, &conf->cpu_template, e);
	if (!ret)
		ret = read_policy(params, "on_reboot", RESTART, &conf->reboot_restarts, e);
	if (!ret)
		ret = read_policy(params, "on_crash", STOP, &conf->crash_restarts, e);
	if (!ret)
		ret = read_pins(json_object_get(params, "pins"), conf, e);
	if (!ret)
		ret = read_functions(json_object_get(params, "functions"), conf, e);
	if (!ret)
		ret = read_cmdline(params, conf, e);
	if (ret)
		return ret;
	conf->kernel = strdup(kernel);
	conf->initrd = initrd ? strdup(initrd) : NULL;
	if (conf->kernel && conf->cmdline && (conf->initrd || !initrd))
		return 0;
	card_vm_conf_free(conf);
	return out_of_memory(e);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_conf(const struct card_vm_conf *a, const struct card_vm_conf *b)
{
	return a->mem_mib == b->mem_mib && a->mem_max_mib == b->mem_max_mib &&
	       a->vcpus == b->vcpus && a->cpu_template == b->cpu_template &&
	       a->hugepages == b->hugepages && a->flat == b->flat &&
	       a->default_cmdline == b->default_cmdline &&
	       a->reboot_restarts == b->reboot_restarts && a->crash_restarts == b->crash_restarts &&
	       same_text(a->kernel, b->kernel) && same_text(a->initrd, b->initrd) &&
	       same_text(a->cmdline, b->cmdline) && !memcmp(a->pins, b->pins, sizeof(a->pins)) &&
	       !memcmp(a->functions, b->functions, sizeof(a->functions));
}

/* A function is of one VM. */
static int check_free(struct card *c, const char *function, struct card_error *e)
{
	const struct card_vm *v = function[0] ? card_vm_of_function(c, function) : NULL;

	return v ? card_fail(e, -EBUSY, "%s: is a function of VM %s", function, v->name) : 0;
}

int card_call_vm_create(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_vm_conf conf;
	struct card_vm *v;
	int ret;

	(void)result;
	if (!card_name_ok(name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	ret = read_conf(params, &conf, e);
	if (ret)
		return ret;
	v = card_vm_find(c, name);
	if (v) {
		bool same = same_conf(&v->conf, &conf);

		card_vm_conf_free(&conf);
		return same ? 0 : card_fail(e, -EEXIST, "%s: exists with other parameters", name);
	}
	for (unsigned i = 0; !ret && i < HV_PROTO_SLOTS; i++)
		ret = check_free(c, conf.functions[i], e);
	if (ret) {
		card_vm_conf_free(&conf);
		return ret;
	}
	return card_vm_create(c, name, &conf, e);
}

int card_call_vm_delete(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	(void)result;
	return v ? card_vm_delete(c, v, e) : ret;
}

/* The slot that the store keeps: where the function was put once, it stays. */
int card_vm_canon(struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	const struct card_vm *v;
	const char *function;
	unsigned slot = 0;
	int ret = 0;

	if (m != card_method_at(CARD_M_vm_add_function) || json_object_get(params, "slot"))
		return 0;
	v = named(c, params, &ret, e);
	if (!v)
		return ret;
	function = card_arg_str(params, "function", "");
	for (unsigned i = HV_PROTO_SLOTS; i-- > 1;)
		if (!v->conf.functions[i][0] && !(v->present >> i & 1))
			slot = i;
	for (unsigned i = 0; i < HV_PROTO_SLOTS; i++)
		if (!strcmp(v->conf.functions[i], function))
			slot = i;
	if (!slot)
		return card_fail(e, -ENOSPC, "%s: has no free slot", v->name);
	return json_object_set_new(params, "slot", json_integer(slot)) ? out_of_memory(e) : 0;
}

/*
 * A guest that runs may refuse a function, or memory. What it says is waited for, a little: the
 * guest is free to say nothing, and one call that takes steps holds up the others.
 */
struct adding {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	uint64_t vm; // card_vm.number
	unsigned slot; // of a function; 0: memory
	uint64_t had_mib; // memory: before
	uint64_t until_ns;
	bool done; // it stays
};

/* What the guest said. */
static int refusal(const struct card_vm *v, unsigned slot, struct card_error *e)
{
	enum hv_status status = v->added[slot].status;
	uint32_t detail = v->added[slot].detail;

	if (slot)
		return card_fail(e, -EIO, "%s: the guest refused it in slot %u: %s (errno %u)",
			v->conf.functions[slot], slot, card_vm_status_text(status), detail);
	if (status == HV_E_MEMORY && detail == ENOSPC)
		return card_fail(e, -ENOSPC,
			"%s: it can take no more memory until it is stopped and started", v->name);
	return card_fail(e, -EIO, "%s: the guest refused the memory: %s (errno %u)", v->name,
		card_vm_status_text(status), detail);
}

static int add_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct adding *a = (struct adding *)t;
	struct card_vm *v = card_vm_find_number(a->card, a->vm);

	if (!v || (a->slot && !v->conf.functions[a->slot][0])) {
		a->done = true; // nothing to undo
		return card_fail(e, -ECANCELED, "it was taken out again meanwhile");
	}
	if (v->guest && v->adding >> a->slot & 1) {
		if (dpu_now_ns() < a->until_ns)
			return CARD_RPC_LATER;
		*result = json_pack("{s:b}", "pending", 1);
		a->done = *result != NULL;
		return a->done ? 0 : out_of_memory(e);
	}
	if (v->guest && v->added[a->slot].status != HV_OK) {
		if (!a->slot)
			v->conf.mem_mib = a->had_mib;
		return refusal(v, a->slot, e);
	}
	a->done = true;
	return 0;
}

static void add_destroy(struct card_task *t)
{
	struct adding *a = (struct adding *)t;
	struct card_vm *v = card_vm_find_number(a->card, a->vm);
	struct card_error none;

	// Memory that the guest was asked to take may be its own, whether anybody waits or not
	if (v && a->slot && (!a->done || t->unkept))
		(void)card_vm_function_remove(v, v->conf.functions[a->slot], &none);
	free(a);
}

static void add_wait(struct card_task *t, unsigned ms)
{
	const struct adding *a = (const struct adding *)t;
	struct card_vm *v = card_vm_find_number(a->card, a->vm);

	(void)poll(NULL, 0, (int)ms);
	if (v)
		card_vm_link_drain(v->guest);
}

/* The guest has been asked. had_mib: of slot 0. */
static int add_begin(struct card *c, struct card_vm *v, unsigned slot, uint64_t had_mib,
	json_t **result, struct card_error *e)
{
	struct adding *a;

	if (c->task) { // one at a time, and it may take long
		*result = json_pack("{s:b}", "pending", 1);
		return *result ? 0 : out_of_memory(e);
	}
	a = dpu_calloc(1, sizeof(*a));
	if (!a) {
		if (slot)
			(void)card_vm_function_remove(v, v->conf.functions[slot], e);
		return out_of_memory(e);
	}
	*a = (struct adding){ .task = { .step = add_step,
				      .destroy = add_destroy,
				      .nap_ms = OP_WAIT_MS,
				      .wait = add_wait,
				      .undoes = slot != 0 },
		.card = c,
		.vm = v->number,
		.slot = slot,
		.had_mib = had_mib,
		.until_ns = dpu_now_ns() + c->vms->add_ms * 1000000ull };
	c->task = &a->task;
	return CARD_RPC_LATER;
}

int card_call_vm_add_function(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	unsigned slot = (unsigned)card_arg_uint(params, "slot", 1);
	const char *function = card_arg_str(params, "function", "");
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	if (!v)
		return ret;
	if (!card_name_ok(function))
		return card_fail(e, -EINVAL, "function: " CARD_NAME_RULE);
	if (!strcmp(v->conf.functions[slot], function))
		return 0;
	if (v->conf.functions[slot][0])
		return card_fail(e, -EBUSY, "slot %u: has %s", slot, v->conf.functions[slot]);
	ret = check_free(c, function, e);
	if (!ret)
		ret = card_vm_function_add(v, slot, function, e);
	return ret || !(v->adding >> slot & 1) ? ret : add_begin(c, v, slot, 0, result, e);
}

int card_call_vm_resize(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t had_mib;
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	if (!v)
		return ret;
	had_mib = v->conf.mem_mib;
	ret = card_vm_resize(v, card_arg_uint(params, "mem_mib", 0), e);
	return ret || !(v->adding & 1) ? ret : add_begin(c, v, 0, had_mib, result, e);
}

int card_call_vm_remove_function(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	(void)result;
	return v ? card_vm_function_remove(v, card_arg_str(params, "function", ""), e) : ret;
}

/* ---- operations ---- */

/*
 * How the operation goes that the caller has begun: it comes back with the sample it was given, as
 * a client that waited here would hold up others.
 */
static int op_result(const struct card_vm *v, json_t **result, struct card_error *e)
{
	if (!v->op.pending && v->op.ret)
		return card_fail(e, v->op.ret, "%s: %s", v->name, v->op.text);
	*result = v->op.pending ? json_pack("{s:b, s:i, s:I}", "ready", 0, "wait_ms", OP_WAIT_MS,
					  "sample", (json_int_t)v->op.serial)
				: json_pack("{s:b, s:s}", "ready", 1, "state",
					  card_vm_state_name(v->state));
	return *result ? 0 : out_of_memory(e);
}

static int operate(struct card *c, const json_t *params, enum hv_type type, json_t **result,
	struct card_error *e)
{
	uint64_t sample = card_arg_uint(params, "sample", 0);
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	if (!v)
		return ret;
	if (sample && sample != v->op.serial)
		return card_fail(e, -ESTALE, "%s: something else was asked since", v->name);
	if (!sample)
		ret = type == HV_START	? card_vm_start(v, e)
		      : type == HV_STOP ? card_vm_stop(v, card_arg_bool(params, "force", false), e)
					: card_vm_step(v, type, e);
	return ret ? ret : op_result(v, result, e);
}

#define OPERATION(method, type)                                                              \
	int card_call_##method(                                                              \
		struct card *c, const json_t *params, json_t **result, struct card_error *e) \
	{                                                                                    \
		return operate(c, params, type, result, e);                                  \
	}
OPERATION(vm_start, HV_START)
OPERATION(vm_pause, HV_PAUSE)
OPERATION(vm_resume, HV_RESUME)
OPERATION(vm_stop, HV_STOP)
OPERATION(vm_power_button, HV_POWER_BUTTON)

/* ---- what there is ---- */

static const char *end_name(const struct card_vm *v)
{
	static const char *const names[] = { "", "off", "reboot", "shutdown", "stopped", "error" };

	if (!v->ended)
		return "";
	if (v->signal)
		return "killed";
	return v->end < sizeof(names) / sizeof(names[0]) ? names[v->end] : "error";
}

static json_t *functions_of(const struct card_vm *v)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && i < HV_PROTO_SLOTS; i++) {
		if (!v->conf.functions[i][0])
			continue;
		if (json_array_append_new(list,
			    json_pack("{s:i, s:s, s:b, s:b}", "slot", (int)i, "name",
				    v->conf.functions[i], "present", (v->present >> i & 1) != 0,
				    "waits", (v->wants >> i & 1) != 0))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *counters_of(const struct card_vm *v)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "starts",
		(json_int_t)v->counters.starts, "reboots", (json_int_t)v->counters.reboots,
		"crashes", (json_int_t)v->counters.crashes, "reconnects",
		(json_int_t)v->counters.reconnects, "console_bytes",
		(json_int_t)v->counters.console_bytes, "log_lines",
		(json_int_t)v->counters.log_lines, "refused", (json_int_t)v->counters.refused,
		"wants_held", (json_int_t)v->counters.wants_held);
}

/* What a process says of itself has any 64 bits. */
static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)(n & INT64_MAX)));
}

static json_t *process_of(const struct card_vm *v)
{
	json_t *o = json_object();

	put(o, "mem_mib", v->process.mem_mib);
	put(o, "exits", v->process.exits);
	put(o, "missed", v->process.missed);
	put(o, "console_lost", v->process.console_lost);
	put(o, "log_lost", v->process.log_lost);
	put(o, "commands_refused", v->process.refused);
	return o;
}

static const char *policy_name(bool restarts)
{
	return restarts ? RESTART : STOP;
}

static json_t *vm_object(const struct card_vm *v)
{
	char line[HV_PROTO_CMDLINE];

	card_vm_cmdline(&v->conf, line);
	return json_pack(
		"{s:s, s:s, s:I, s:I, s:i, s:s, s:b, s:s, s:s, s:s, s:s*, s:s, s:b, s:s, s:o, "
		"s:I, s:I, s:s, s:i, s:s, s:i, s:o, s:o}",
		"name", v->name, "state", card_vm_state_name(v->state), "mem_mib",
		(json_int_t)v->conf.mem_mib, "mem_max_mib", (json_int_t)v->conf.mem_max_mib,
		"vcpus", (int)v->conf.vcpus, "cpu_template", cpu_names[v->conf.cpu_template],
		"hugepages", (int)v->conf.hugepages, "on_reboot",
		policy_name(v->conf.reboot_restarts), "on_crash",
		policy_name(v->conf.crash_restarts), "kernel", v->conf.kernel, "initrd",
		v->conf.initrd, "cmdline", v->conf.cmdline, "default_cmdline",
		(int)v->conf.default_cmdline, "kernel_cmdline", line, "functions", functions_of(v),
		"generation", (json_int_t)v->generation, "pid", (json_int_t)(v->guest ? v->pid : 0),
		"end", end_name(v), "signal", v->ended ? (int)v->signal : 0, "reason", v->reason,
		"restart_delay_ms", (int)v->again_ms, "counters", counters_of(v), "process",
		process_of(v));
}

int card_call_vm_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct card_vm *v;
	struct card_list l;

	card_list_begin(&l, params, "name");
	TAILQ_FOREACH (v, &c->vms->list, link)
		if (card_list_wants(&l, v->name) && !card_list_add(&l, vm_object(v)))
			break;
	return card_list_end(&l, "VM", result, e);
}

int card_call_vm_agent(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct card_vms *s = c->vms;
	json_t *closed = json_object();

	(void)params;
	for (unsigned p = 0; closed && p < 2; p++)
		for (unsigned i = 0; i < CARD_VM_CLOSES; i++) {
			char key[64];

			snprintf(key, sizeof(key), "%s_%s", p == CARD_VM_AGENT ? "agent" : "guest",
				card_vm_close_name((enum card_vm_close)i));
			json_object_set_new(closed, key, json_integer((json_int_t)s->closed[p][i]));
		}
	*result = json_pack("{s:s*, s:b, s:I, s:I, s:I, s:I, s:o}", "socket", c->opt.agent_socket,
		"connected", (int)s->agent_ready, "agents", (json_int_t)s->agents, "strangers",
		(json_int_t)s->strangers, "displaced", (json_int_t)s->displaced, "sent_away",
		(json_int_t)s->sent_away, "closed", closed);
	return *result ? 0 : out_of_memory(e);
}

/* ---- statistics ---- */

static json_t *states_of(const struct card_vm *v)
{
	json_t *list = json_array();

	for (int s = CARD_VM_STOPPED; s <= CARD_VM_RESTARTING; s++)
		json_array_append_new(
			list, json_pack("{s:s, s:{s:i}}", "state",
				      card_vm_state_name((enum card_vm_state)s), "now", "active",
				      v->state == (enum card_vm_state)s));
	return list;
}

static json_t *vm_stats(const struct card_vm *v)
{
	json_t *o = json_pack("{s:s}", "name", v->name);

	put(o, "starts", v->counters.starts);
	put(o, "reboots", v->counters.reboots);
	put(o, "crashes", v->counters.crashes);
	put(o, "reconnects", v->counters.reconnects);
	put(o, "wants_held", v->counters.wants_held);
	put(o, "refused", v->counters.refused);
	put(o, "console_bytes", v->counters.console_bytes);
	put(o, "console_lost_bytes", v->process.console_lost);
	put(o, "log_lines", v->counters.log_lines);
	put(o, "log_lost", v->process.log_lost);
	put(o, "exits", v->process.exits);
	put(o, "missed", v->process.missed);
	json_object_set_new(o, "states", states_of(v));
	return o;
}

json_t *card_vm_stats_json(struct card *c, const char *name)
{
	json_t *list = json_array();
	const struct card_vm *v;

	if (!c->vms)
		return list;
	TAILQ_FOREACH (v, &c->vms->list, link)
		if (!name || !strcmp(v->name, name))
			json_array_append_new(list, vm_stats(v));
	return list;
}

json_t *card_vm_agent_stats_json(struct card *c)
{
	static const char *const closed[] = { "closed", "guests_closed" };
	const struct card_vms *s = c->vms;
	json_t *o;

	if (!s || !c->opt.agent_socket)
		return json_array();
	o = json_pack("{s:{s:i}}", "now", "connected", (int)s->agent_ready);
	put(o, "accepted", s->agents);
	put(o, "sent_away", s->sent_away);
	put(o, "displaced", s->displaced);
	put(o, "strangers", s->strangers);
	for (unsigned p = 0; p < 2; p++) {
		json_t *by = json_object();

		for (unsigned i = 0; i < CARD_VM_CLOSES; i++)
			put(by, card_vm_close_name((enum card_vm_close)i), s->closed[p][i]);
		json_object_set_new(o, closed[p], by);
	}
	return json_pack("[o]", o);
}

json_t *card_vm_reasons_json(void)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < CARD_VM_CLOSES; i++)
		json_object_set_new(o, card_vm_close_name((enum card_vm_close)i),
			json_string(card_vm_close_text((enum card_vm_close)i)));
	return o;
}

/* ---- console ---- */

static int type_in(struct card_vm *v, const char *hex, json_int_t *typed, struct card_error *e)
{
	uint8_t bytes[INPUT_MAX];
	size_t n = strlen(hex) / 2;
	int ret;

	if (n > sizeof(bytes) || card_hex_parse(hex, bytes, n) || strlen(hex) % 2)
		return card_fail(e, -EINVAL, "input: at most %u bytes in hexadecimal", INPUT_MAX);
	ret = n ? card_vm_type(v, bytes, n, e) : 0;
	*typed = ret;
	return ret < 0 ? ret : 0;
}

int card_call_vm_console(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint8_t part[OUTPUT_MAX];
	char hex[2 * OUTPUT_MAX + 1];
	uint64_t oldest, at = card_arg_uint(params, "offset", 0);
	json_int_t typed = 0;
	int ret = 0;
	struct card_vm *v = named(c, params, &ret, e);

	if (!v)
		return ret;
	ret = type_in(v, card_arg_str(params, "input", ""), &typed, e);
	if (ret)
		return ret;
	oldest = v->console_put > CARD_VM_CONSOLE ? v->console_put - CARD_VM_CONSOLE : 0;
	if (at < oldest || at > v->console_put)
		at = oldest;
	size_t n = v->console_put - at < sizeof(part) ? v->console_put - at : sizeof(part);
	for (size_t i = 0; i < n; i++)
		part[i] = v->console[(at + i) % CARD_VM_CONSOLE];
	card_hex_text(part, n, hex);
	*result = json_pack("{s:I, s:I, s:s, s:I, s:s}", "offset", (json_int_t)at, "next_offset",
		(json_int_t)at + (json_int_t)n, "output", hex, "typed", typed, "state",
		card_vm_state_name(v->state));
	return *result ? 0 : out_of_memory(e);
}
