// SPDX-License-Identifier: Apache-2.0
/* Virtual machines of a card, with the real agent and jailed processes of guests without KVM. */
#include <sys/socket.h>
#include <sys/un.h>

#include "metrics_text.h"
#include "vm_rig.h"

static void comes_and_goes(void **state)
{
	struct card_vm *v;
	json_t *out;

	(void)state;
	make("a", "");
	make("a", "");
	call("vm_create", -EEXIST, "{'name': 'a', 'mem_mib': 65, 'kernel': '%s'}", kernel);
	call("vm_pause", -ENOTCONN, "{'name': 'a'}");
	operate("vm_start", "a", 0);
	call("vm_start", -EALREADY, "{'name': 'a'}");
	call("vm_delete", -EBUSY, "{'name': 'a'}");
	v = card_vm_find(&card, "a");
	assert_int_equal(v->state, CARD_VM_RUNNING);
	await_output("a", "up\n");
	out = call("vm_console", 0, "{'name': 'a', 'input': '6869'}");
	assert_string_equal(json_string_value(json_object_get(out, "output")), "75700a");
	assert_int_equal(json_integer_value(json_object_get(out, "typed")), 2);
	json_decref(out);
	call("vm_console", -EINVAL, "{'name': 'a', 'input': '6'}");
	operate("vm_pause", "a", 0);
	await_state("a", CARD_VM_PAUSED);
	operate("vm_resume", "a", 0);
	await_state("a", CARD_VM_RUNNING);
	operate("vm_resume", "a", -EIO);
	operate("vm_power_button", "a", 0);
	operate("vm_stop", "a", 0);
	assert_int_equal(v->state, CARD_VM_STOPPED);
	operate("vm_start", "a", 0);
	operate("vm_stop", "a", 0);
	end("a", "stopped");
}

static void ends_by_itself(void **state)
{
	(void)state;
	make("off", "end=1");
	json_decref(call("vm_start", 0, "{'name': 'off'}"));
	await_state("off", CARD_VM_STOPPED);
	end("off", "off");
	make("out", "open"); // it tries to leave its jail
	json_decref(call("vm_start", 0, "{'name': 'out'}"));
	await_state("out", CARD_VM_STOPPED);
	assert_int_equal(card_vm_find(&card, "out")->signal, SIGSYS);
	end("out", "killed");
}

static json_int_t process_count(const char *name, const char *what)
{
	json_t *list = call("vm_list", 0, "{'name': '%s'}", name);
	json_int_t n = json_integer_value(
		json_object_get(json_object_get(json_array_get(list, 0), "process"), what));

	json_decref(list);
	return n;
}

/* What it says of itself is asked for again and again, once at a time, and outlives it. */
static void is_asked_for_its_counters(void **state)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_vm *v;

	(void)state;
	make("k", "");
	v = card_vm_find(&card, "k");
	card_vm_guest_count(v);
	assert_false(v->counting); // there is none
	operate("vm_start", "k", 0);
	await_count(&v->process.exits, 7);
	assert_int_equal(process_count("k", "missed"), 9);
	assert_int_equal(process_count("k", "console_lost"), 0);
	operate("vm_resume", "k", -EIO);
	await_count(&v->process.refused, 1);
	assert_int_equal(process_count("k", "commands_refused"), 1);
	while (v->counting)
		turn(until);
	assert_int_equal(kill((pid_t)v->pid, SIGSTOP), 0);
	for (unsigned i = 0; i < 2 * CARD_VM_LINK_QUEUE; i++)
		card_vm_guest_count(v);
	assert_true(v->counting);
	assert_int_equal(kill((pid_t)v->pid, SIGCONT), 0);
	operate("vm_pause", "k", 0); // there was room for it
	operate("vm_stop", "k", 0);
	assert_int_equal(process_count("k", "exits"), 7);
	v->process.exits = UINT64_MAX;
	assert_int_equal(process_count("k", "exits"), INT64_MAX);
	end("k", "stopped");
}

/* Each metric has a text that says what it counts. */
static void has_metrics(void **state)
{
	static const char *const lines[] = {
		"outboard_vm_starts_total{card=\"t\",vm=\"m\"} 1\n",
		"outboard_vm_reboots_total{card=\"t\",vm=\"m\"} 0\n",
		"outboard_vm_crashes_total{card=\"t\",vm=\"m\"} 0\n",
		"outboard_vm_wants_held_total{card=\"t\",vm=\"m\"} 0\n",
		"outboard_vm_exits_total{card=\"t\",vm=\"m\"} 7\n",
		"outboard_vm_console_lost_bytes_total{card=\"t\",vm=\"m\"} 0\n",
		"outboard_vm_state_active{card=\"t\",vm=\"m\",state=\"running\"} 1\n",
		"outboard_vm_state_active{card=\"t\",vm=\"m\",state=\"paused\"} 0\n",
		"outboard_vm_agent_connected{card=\"t\"} 1\n",
		"outboard_vm_agent_closed_total{card=\"t\",reason=\"silent\"} ",
		"outboard_vm_agent_guests_closed_total{card=\"t\",reason=\"field\"} ",
	};
	json_t *stats, *agent_stats;
	struct card_vm *v;
	char *text, *at;

	(void)state;
	make("m", "");
	operate("vm_start", "m", 0);
	v = card_vm_find(&card, "m");
	await_count(&v->process.exits, 7);
	assert_int_equal(card_stats_json(&card, "vm", "m", &stats), 0);
	assert_int_equal(card_stats_json(&card, "vm_agent", NULL, &agent_stats), 0);
	assert_int_equal(json_object_update(stats, agent_stats), 0);
	text = card_metrics_text("t", stats);
	assert_non_null(text);
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++)
		if (!strstr(text, lines[i]))
			fail_msg("%s is not in\n%s", lines[i], text);
	for (at = strstr(text, "# TYPE "); at; at = strstr(at + 1, "# TYPE ")) {
		char help[160];

		snprintf(help, sizeof(help), "# HELP %.*s ", (int)strcspn(at + 7, " "), at + 7);
		if (!strstr(text, help))
			fail_msg("there is no %s", help);
	}
	free(text);
	json_decref(agent_stats);
	json_decref(stats);
	operate("vm_stop", "m", 0);
	end("m", "stopped");
}

/* Names, as the store keeps them; the number of each is the protocol's. */
static void has_a_cpu_template(void **state)
{
	static const char *const names[] = { "host", "baseline", "v3" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		json_t *list;

		json_decref(call("vm_create", 0,
			"{'name': 't', 'mem_mib': 64, 'kernel': '/k', 'cpu_template': '%s'}",
			names[i]));
		assert_int_equal(card_vm_find(&card, "t")->conf.cpu_template, i);
		list = call("vm_list", 0, "{'name': 't'}");
		assert_string_equal(
			json_string_value(json_object_get(json_array_get(list, 0), "cpu_template")),
			names[i]);
		json_decref(list);
		json_decref(call("vm_delete", 0, "{'name': 't'}"));
	}
	call("vm_create", -EINVAL,
		"{'name': 't', 'mem_mib': 64, 'kernel': '/k', 'cpu_template': 'v4'}");
	assert_string_equal(err.text, "cpu_template: no template v4; there are host, baseline, v3");
	call("vm_create", CARD_RPC_PARAMS,
		"{'name': 't', 'mem_mib': 64, 'kernel': '/k', 'cpu_template': 1}");
	make("t", "");
	assert_int_equal(card_vm_find(&card, "t")->conf.cpu_template, 0);
	json_decref(call("vm_delete", 0, "{'name': 't'}"));
}

/* What its kernel is told: the card's words first, an operator's last, so that they win. */
static void has_a_default_cmdline(void **state)
{
	static const struct {
		const char *params, *line;
	} rows[] = {
		{ "'cmdline': 'quiet line'", CARD_VM_CMDLINE " quiet line" },
		{ "'cmdline': 'line', 'default_cmdline': true", CARD_VM_CMDLINE " line" },
		{ "'cmdline': 'line', 'default_cmdline': false", "line" },
		{ "'cmdline': 'line', 'flat': true", "line" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *list;

		json_decref(call("vm_create", 0, "{'name': 'l', 'mem_mib': 64, 'kernel': '%s', %s}",
			kernel, rows[i].params));
		list = call("vm_list", 0, "{'name': 'l'}");
		assert_string_equal(json_string_value(json_object_get(
					    json_array_get(list, 0), "kernel_cmdline")),
			rows[i].line);
		json_decref(list);
		operate("vm_start", "l", 0);
		await_output("l", rows[i].line);
		assert_int_equal(card_vm_find(&card, "l")->console_put, strlen(rows[i].line));
		operate("vm_stop", "l", 0);
		json_decref(call("vm_delete", 0, "{'name': 'l'}"));
	}
}

/* A line that was defined before the card had words of its own is as good as it was. */
static void default_cmdline_has_room(void **state)
{
	char own[HV_PROTO_CMDLINE] = "";
	json_t *params, *result = NULL;

	(void)state;
	memset(own, 'x', sizeof(own) - sizeof(CARD_VM_CMDLINE)); // one more than has room
	params = json_pack(
		"{s:s, s:i, s:s, s:s}", "name", "l", "mem_mib", 64, "kernel", "/k", "cmdline", own);
	assert_int_equal(card_rpc_dispatch(&card, "vm_create", params, &result, &err), 0);
	assert_false(card_vm_find(&card, "l")->conf.default_cmdline);
	json_object_set_new(params, "default_cmdline", json_true());
	assert_int_equal(card_rpc_dispatch(&card, "vm_create", params, &result, &err), -EINVAL);
	json_object_set_new(params, "cmdline", json_string(own + 1));
	assert_int_equal(card_rpc_dispatch(&card, "vm_create", params, &result, &err), -EEXIST);
	json_decref(call("vm_delete", 0, "{'name': 'l'}"));
	assert_int_equal(card_rpc_dispatch(&card, "vm_create", params, &result, &err), 0);
	json_decref(call("vm_delete", 0, "{'name': 'l'}"));
	json_decref(params);
}

static void no_such_image(void **state)
{
	(void)state;
	json_decref(call("vm_create", 0, "{'name': 'n', 'mem_mib': 64, 'kernel': '%s/none'}", dir));
	operate("vm_start", "n", -ENOENT);
	json_decref(call("vm_delete", 0, "{'name': 'n'}"));
	call("vm_create", -EINVAL, "{'name': 'n', 'mem_mib': 64, 'kernel': 'relative'}");
	call("vm_create", -EINVAL,
		"{'name': 'n', 'mem_mib': 64, 'kernel': '/k', 'functions': ['x', 'x']}");
}

/* Another process of the card has the same definitions, and finds the guests. */
static void outlives_its_card(void **state)
{
	struct card_vm *v;
	uint32_t pid;

	(void)state;
	make("s", "");
	operate("vm_start", "s", 0);
	await_output("s", "up\n");
	pid = card_vm_find(&card, "s")->pid;
	operate("vm_pause", "s", 0);
	for (unsigned i = 0; i < 3; i++) {
		card_vms_fini(&card);
		assert_int_equal(card_vms_init(&card), 0);
		make("s", "");
		assert_int_equal(card_vms_listen(&card), 0);
		await_state("s", i ? CARD_VM_RUNNING : CARD_VM_PAUSED);
		v = card_vm_find(&card, "s");
		assert_int_equal(v->pid, pid);
		assert_int_equal(v->generation, 1);
		if (!i)
			operate("vm_resume", "s", 0);
	}
	operate("vm_stop", "s", 0);
	end("s", "stopped");
}

/* A guest's process that runs, and does nothing but ask for a connection: n times. */
static void flood(int fd, unsigned n)
{
	union {
		struct hv_rec_hdr h;
		uint8_t raw[4096];
	} in;
	struct hv_rec_hello hello = { .version = dpu_le16_put(HV_PROTO_VERSION) };
	struct hv_rec_info info = { .state = HV_INFO_RUNNING, .functions = dpu_le32_put(2) };
	struct hv_rec_function f = { .slot = 1 };

#define SAY(rec, kind, number)                                               \
	do {                                                                 \
		(rec).h = (struct hv_rec_hdr){ dpu_le32_put(HV_PROTO_MAGIC), \
			dpu_le16_put(HV_PROTO_VERSION), dpu_le16_put(kind),  \
			dpu_le32_put(sizeof(rec)), dpu_le32_put(number) };   \
		if (send(fd, &(rec), sizeof(rec), MSG_NOSIGNAL) < 0)         \
			_exit(1);                                            \
	} while (0)
	if (recv(fd, &in, sizeof(in), 0) <= 0)
		_exit(1);
	SAY(hello, HV_HELLO_DONE, dpu_le32_get(in.h.seq));
	SAY(info, HV_EV_STATE, 0);
	for (unsigned i = 1; i <= n; i++) {
		SAY(f, HV_EV_WANT, i);
		while (recv(fd, &in, sizeof(in), MSG_DONTWAIT) > 0)
			;
	}
	_exit(0);
}

/* It gets a few, and nobody else feels it. */
static void asks_for_connections_without_end(void **state)
{
	struct card_vm *v;
	pid_t pid;
	int p[2];

	(void)state;
	json_decref(call("net_create", 0, "{'name': 'n0'}"));
	json_decref(call("vm_create", 0,
		"{'name': 'w', 'mem_mib': 64, 'kernel': '%s', 'functions': ['n0']}", kernel));
	make("other", "");
	operate("vm_start", "other", 0);
	v = card_vm_find(&card, "w");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		flood(p[1], 20000);
	}
	close(p[1]);
	card_vm_guest_open(v, p[0]);
	await_count(&v->counters.wants_held, 1);
	for (unsigned i = 0; i < 20; i++) {
		operate("vm_pause", "other", 0);
		operate("vm_resume", "other", 0);
	}
	await_state("w", CARD_VM_STOPPED);
	assert_in_range(v->counters.reconnects, 1, 12);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	operate("vm_stop", "other", 0);
	end("other", "stopped");
	json_decref(call("vm_delete", 0, "{'name': 'w'}"));
	json_decref(call("net_delete", 0, "{'name': 'n0'}"));
}

static int stranger(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", agents);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

/* An agent that answers keeps its place; one that does not makes room for the next. */
static void one_agent_at_a_time(void **state)
{
	struct card_vms *s = card.vms;
	uint64_t agents_before = s->agents;
	char byte;
	int fd;

	(void)state;
	fd = stranger();
	await_count(&s->sent_away, 1);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	assert_int_equal(s->agents, agents_before);
	assert_true(s->agent_ready);
	s->probe_ms = 100;
	kill(agent, SIGSTOP);
	fd = stranger();
	await_count(&s->agents, agents_before + 1);
	assert_int_equal(s->displaced, 1);
	assert_false(s->agent_ready);
	kill(agent, SIGCONT);
	await_agent();
	assert_int_equal(s->displaced, 2);
	s->probe_ms = CARD_VM_PROBE_MS;
	close(fd);
	make("a", "");
	operate("vm_start", "a", 0);
	operate("vm_stop", "a", 0);
	end("a", "stopped");
}

static void has_functions(void **state)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_vm *v;

	(void)state;
	json_decref(call("net_create", 0, "{'name': 'n0'}"));
	json_decref(call("net_create", 0, "{'name': 'n1'}"));
	json_decref(call("vm_create", 0,
		"{'name': 'f', 'mem_mib': 64, 'kernel': '%s', 'functions': ['n0']}", kernel));
	v = card_vm_find(&card, "f");
	call("net_delete", -EBUSY, "{'name': 'n0'}");
	operate("vm_start", "f", 0);
	assert_int_equal(v->present, 1u << 1);
	json_decref(call("vm_add_function", 0, "{'name': 'f', 'function': 'n1'}"));
	assert_string_equal(v->conf.functions[2], "n1");
	call("vm_add_function", -EBUSY, "{'name': 'f', 'function': 'n2', 'slot': 2}");
	call("vm_add_function", -ENODEV, "{'name': 'f', 'function': 'n2'}");
	json_decref(call("vm_remove_function", 0, "{'name': 'f', 'function': 'n0'}"));
	json_decref(call("net_delete", 0, "{'name': 'n0'}"));
	operate("vm_pause", "f", 0); // the commands before it were answered
	while (v->present != 1u << 2) // what it says of its state may come later
		turn(until);
	assert_int_equal(v->counters.refused, 0);
	operate("vm_stop", "f", 0);
	end("f", "stopped");
	json_decref(call("net_delete", 0, "{'name': 'n1'}"));
}

/* As a client's: the loop goes on until there is an answer, which is the caller's. */
__attribute__((format(printf, 2, 3))) static char *ask(const char *method, const char *fmt, ...)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_message *later;
	char params[200], text[300], *answer;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(params, sizeof(params), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "{'jsonrpc': '2.0', 'id': 1, 'method': '%s', 'params': %s}",
		method, params);
	for (char *at = text; (at = strchr(at, '\''));)
		*at = '"';
	answer = card_rpc_answer(&card, text, strlen(text), &later);
	while (later && card_message_step(later, &answer))
		turn(until);
	card_message_destroy(later);
	assert_null(card.task);
	assert_non_null(answer);
	return answer;
}

#define ADD(vm, function) ask("vm_add_function", "{'name': '%s', 'function': '%s'}", vm, function)

static void expect(char *answer, const char *part)
{
	if (!strstr(answer, part))
		fail_msg("%s is not in %s", part, answer);
	free(answer);
}

/* What a guest says of a function is the answer, or it says nothing in time. */
static void may_refuse_a_function(void **state)
{
	struct card_vm *v;

	(void)state;
	json_decref(call("net_create", 0, "{'name': 'n0'}"));
	make("g", "refuse");
	v = card_vm_find(&card, "g");
	operate("vm_start", "g", 0);
	await_output("g", "up\n"); // what it says of its state is behind us, too
	expect(ADD("g", "n0"), "n0: the guest refused it in slot 1: the host has not enough");
	assert_string_equal(v->conf.functions[1], "");
	assert_null(card_vm_of_function(&card, "n0"));
	expect(ADD("g", "n0"), "\"result\":true");
	assert_string_equal(v->conf.functions[1], "n0");
	json_decref(call("vm_remove_function", 0, "{'name': 'g', 'function': 'n0'}"));
	operate("vm_pause", "g", 0);
	assert_int_equal(kill((pid_t)v->pid, SIGSTOP), 0);
	card.vms->add_ms = 50;
	expect(ADD("g", "n0"), "\"result\":{\"pending\":true}");
	card.vms->add_ms = CARD_VM_ADD_MS;
	assert_string_equal(v->conf.functions[1], "n0");
	assert_int_equal(kill((pid_t)v->pid, SIGCONT), 0);
	operate("vm_resume", "g", 0);
	assert_int_equal(v->adding, 0);
	operate("vm_stop", "g", 0);
	end("g", "stopped");
	json_decref(call("net_delete", 0, "{'name': 'n0'}"));
}

#define RESIZE(mib) ask("vm_resize", "{'name': 'm', 'mem_mib': %u}", mib)

/* Memory is given to a guest that runs as far as it was made for; what it says is the answer. */
static void grows(void **state)
{
	struct card_vm *v;

	(void)state;
	call("vm_create", -EINVAL, "{'name': 'm', 'mem_mib': 2, 'mem_max_mib': 1, 'kernel': '/k'}");
	make("m", "refuse");
	v = card_vm_find(&card, "m");
	expect(RESIZE(513), "mem_mib: at most 512, which is its mem_max_mib");
	expect(RESIZE(32), "\"result\":true"); // one that does not run: any
	expect(RESIZE(64), "\"result\":true");
	operate("vm_start", "m", 0);
	await_count(&v->process.mem_mib, 64);
	expect(RESIZE(63), "gives none back");
	expect(RESIZE(256), "takes multiples of 128 more");
	expect(RESIZE(192), "m: the guest refused the memory: the host has not enough");
	assert_int_equal(v->conf.mem_mib, 64);
	expect(RESIZE(192), "\"result\":true");
	await_count(&v->process.mem_mib, 192);
	assert_int_equal(process_count("m", "mem_mib"), 192);
	assert_int_equal(v->counters.refused, 1);
	assert_int_equal(kill((pid_t)v->pid, SIGSTOP), 0);
	card.vms->add_ms = 50;
	expect(RESIZE(320), "\"result\":{\"pending\":true}");
	expect(RESIZE(448), "has not answered the last one");
	card.vms->add_ms = CARD_VM_ADD_MS;
	assert_int_equal(kill((pid_t)v->pid, SIGCONT), 0);
	await_count(&v->process.mem_mib, 320);
	operate("vm_stop", "m", 0);
	assert_int_equal(v->conf.mem_mib, 320); // and begins with it
	end("m", "stopped");
}

/* What it refused when nobody waited for its answer any more it is asked once more, or spared. */
static void refuses_memory_late(void **state)
{
	struct card_vm *v;

	(void)state;
	for (int again = 0; again < 2; again++) {
		make("m", "refuse");
		v = card_vm_find(&card, "m");
		operate("vm_start", "m", 0);
		await_count(&v->process.mem_mib, 64);
		assert_int_equal(kill((pid_t)v->pid, SIGSTOP), 0);
		card.vms->add_ms = 50;
		expect(RESIZE(192), "\"result\":{\"pending\":true}");
		expect(RESIZE(192), "\"result\":{\"pending\":true}"); // no other one
		card.vms->add_ms = CARD_VM_ADD_MS;
		assert_int_equal(kill((pid_t)v->pid, SIGCONT), 0);
		await_count(&v->counters.refused, 1);
		assert_int_equal(v->process.mem_mib, 64);
		assert_int_equal(v->conf.mem_mib, 192); // as soon as it begins anew
		expect(RESIZE(again ? 192 : 64), "\"result\":true");
		await_count(&v->process.mem_mib, again ? 192 : 64);
		assert_int_equal(v->conf.mem_mib, again ? 192 : 64);
		operate("vm_stop", "m", 0);
		end("m", "stopped");
	}
}

/* Who asked is gone before there is an answer: what the guest takes is its own all the same. */
static void takes_memory_that_nobody_waits_for(void **state)
{
	const char *text = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"vm_resize\", "
			   "\"params\": {\"name\": \"m\", \"mem_mib\": 192}}";
	struct card_message *later;
	struct card_vm *v;

	(void)state;
	make("m", "");
	v = card_vm_find(&card, "m");
	operate("vm_start", "m", 0);
	await_count(&v->process.mem_mib, 64);
	assert_int_equal(kill((pid_t)v->pid, SIGSTOP), 0);
	assert_null(card_rpc_answer(&card, text, strlen(text), &later));
	card_message_destroy(later);
	assert_int_equal(kill((pid_t)v->pid, SIGCONT), 0);
	await_count(&v->process.mem_mib, 192);
	assert_int_equal(v->conf.mem_mib, 192);
	operate("vm_stop", "m", 0);
	end("m", "stopped");
}

#define OF_HUGE_PAGES \
	"{'name': 'm', 'mem_mib': 2, 'mem_max_mib': %d, 'kernel': '/k', 'hugepages': true}"

/* Memory of huge pages is of whole ones. */
static void has_whole_pages(void **state)
{
	const char *refused = "mem_mib: odd, and its pages are of 2 MiB";

	(void)state;
	call("vm_create", -EINVAL, OF_HUGE_PAGES, 3);
	json_decref(call("vm_create", 0, OF_HUGE_PAGES, 8));
	expect(RESIZE(5), refused);
	expect(RESIZE(6), "\"result\":true");
	json_decref(call("vm_delete", 0, "{'name': 'm'}"));
}

/* What was changed while no card knew the guest, it is told by the one that finds it. */
static void grows_while_it_was_away(void **state)
{
	(void)state;
	make("m", "");
	operate("vm_start", "m", 0);
	card_vms_fini(&card);
	assert_int_equal(card_vms_init(&card), 0);
	make("m", "");
	expect(RESIZE(192), "\"result\":true"); // as the store says it
	assert_int_equal(card_vms_listen(&card), 0);
	await_count(&card_vm_find(&card, "m")->process.mem_mib, 192);
	operate("vm_stop", "m", 0);
	end("m", "stopped");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_and_goes),
		cmocka_unit_test(ends_by_itself),
		cmocka_unit_test(has_a_cpu_template),
		cmocka_unit_test(has_a_default_cmdline),
		cmocka_unit_test(default_cmdline_has_room),
		cmocka_unit_test(is_asked_for_its_counters),
		cmocka_unit_test(has_metrics),
		cmocka_unit_test(no_such_image),
		cmocka_unit_test(outlives_its_card),
		cmocka_unit_test(has_functions),
		cmocka_unit_test(may_refuse_a_function),
		cmocka_unit_test(grows),
		cmocka_unit_test(refuses_memory_late),
		cmocka_unit_test(takes_memory_that_nobody_waits_for),
		cmocka_unit_test(has_whole_pages),
		cmocka_unit_test(grows_while_it_was_away),
		cmocka_unit_test(asks_for_connections_without_end),
		cmocka_unit_test(one_agent_at_a_time),
	};

	return run_vm_tests(argc, argv, tests, ARRAY_LEN(tests));
}
