/* SPDX-License-Identifier: Apache-2.0 */
/* A card with the real agent and jailed processes of guests without KVM; its VMs have no store. */
#pragma once

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "card_env.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "vm.h"

#define PATIENCE_NS 30000000000ull

static struct card card;
static struct card_error err;
static char dir[] = "/tmp/test_vm.XXXXXX";
static char agents[64], kernel[64];
static pid_t agent;
static int guest_exe;
static struct event *tick;

static inline void run_agent(void)
{
	char *const argv[] = { (char[]){ "guest" }, NULL };
	struct hv_agent_conf conf = {
		.card_path = agents, .exe_fd = guest_exe, .argv = argv, .retry_ms = 10
	};
	struct hv_agent *a;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dpu_log_level_set(DPU_LOG_ERR);
	if (hv_agent_create(&conf, &a))
		_exit(1);
	while (hv_agent_turn(a, -1) == 0)
		;
	_exit(0);
}

static inline void start_agent(void)
{
	agent = fork();
	assert_true(agent >= 0);
	if (agent == 0)
		run_agent();
}

static inline void stop_agent(void)
{
	assert_int_equal(kill(agent, SIGKILL), 0);
	assert_int_equal(waitpid(agent, NULL, 0), agent);
}

static inline void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* One turn of the card's loop; it ends by itself when nothing happens for a while. */
static inline void turn(uint64_t until)
{
	if (dpu_now_ns() > until)
		fail_msg("it did not happen");
	event_base_loop(card.loop, EVLOOP_ONCE);
}

static inline json_t *call(const char *method, int want, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static inline json_t *call(const char *method, int want, const char *fmt, ...)
{
	char params[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(params, sizeof(params), fmt, ap);
	va_end(ap);
	return card_env_call(&card, method, params, want, &err);
}

/* An operation to its end. */
static inline void operate(const char *method, const char *name, int want)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS, serial;
	struct card_vm *v = card_vm_find(&card, name);

	json_decref(call(method, 0, "{'name': '%s'}", name));
	serial = v->op.serial;
	while (v->op.pending)
		turn(until);
	json_decref(call(
		method, want, "{'name': '%s', 'sample': %llu}", name, (unsigned long long)serial));
}

static inline void make(const char *name, const char *cmdline)
{
	json_decref(call("vm_create", 0,
		"{'name': '%s', 'mem_mib': 64, 'mem_max_mib': 512, 'kernel': '%s', "
		"'cmdline': '%s'}",
		name, kernel, cmdline));
}

static inline void await_state(const char *name, enum card_vm_state state)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_vm *v = card_vm_find(&card, name);

	while (v->state != state || v->op.pending)
		turn(until);
}

static inline void await_count(const uint64_t *n, uint64_t at_least)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;

	while (*n < at_least)
		turn(until);
}

static inline void await_output(const char *name, const char *text)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_vm *v = card_vm_find(&card, name);

	while (v->console_put < strlen(text))
		turn(until);
	assert_memory_equal(v->console, text, strlen(text));
}

static inline void await_agent(void)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;

	while (!card.vms->agent_ready)
		turn(until);
}

static inline void end(const char *name, const char *how)
{
	json_t *list = call("vm_list", 0, "{'name': '%s'}", name);

	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 0), "end")), how);
	json_decref(list);
	json_decref(call("vm_delete", 0, "{'name': '%s'}", name));
}

static inline int setup(void **state)
{
	struct timeval often = { .tv_usec = 20000 };

	(void)state;
	card.opt = (struct card_options){ .name = "test",
		.socket_dir = dir,
		.agent_socket = agents,
		.mem_mib = 64,
		.mbufs = 2047,
		.ct_conns = 1024 };
	if (card_env_open(&card) || card_vms_init(&card) || card_vms_listen(&card))
		return -1;
	tick = event_new(card.loop, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &often);
	await_agent();
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	card_vms_fini(&card);
	event_free(tick);
	card_env_close(&card);
	return 0;
}

/* With the program that is a guest as its argument. Exit status. */
static inline int run_vm_tests(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
	int fd, failed;

	guest_exe = argc == 2 ? open(argv[1], O_PATH | O_CLOEXEC) : -1;
	if (guest_exe < 0 || !mkdtemp(dir))
		return 1;
	snprintf(agents, sizeof(agents), "%s/agents", dir);
	snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
	fd = open(kernel, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "k", 1) != 1)
		return 1;
	close(fd);
	start_agent();
	dpu_log_level_set(DPU_LOG_ERR);
	failed = _cmocka_run_group_tests("vm", tests, n, setup, teardown);
	stop_agent();
	unlink(kernel);
	rmdir(dir);
	return failed;
}
