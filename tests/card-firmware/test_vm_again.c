// SPDX-License-Identifier: Apache-2.0
/* Virtual machines whose guests end, and begin anew or not. */
#include <dirent.h>

#include "store.h"
#include "vm_rig.h"

static void make_with(const char *name, const char *cmdline, const char *on, const char *what)
{
	json_decref(call("vm_create", 0,
		"{'name': '%s', 'mem_mib': 64, 'kernel': '%s', 'cmdline': '%s', '%s': '%s'}", name,
		kernel, cmdline, on, what));
}

/* A guest that asks for nothing but resets has them, ever less often, and then none. */
static void begins_anew(void **state)
{
	uint64_t began = dpu_now_ns();
	struct card_vm *v;

	(void)state;
	call("vm_create", -EINVAL,
		"{'name': 'r', 'mem_mib': 64, 'kernel': '/k', 'on_reboot': 'perhaps'}");
	call("vm_create", -EINVAL,
		"{'name': 'r', 'mem_mib': 64, 'kernel': '/k', 'on_crash': 'start'}");
	make("r", "end=2");
	operate("vm_start", "r", 0);
	v = card_vm_find(&card, "r");
	await_count(&v->counters.reboots, 4);
	await_state("r", CARD_VM_RESTARTING);
	assert_true(dpu_now_ns() - began >= 750000000ull);
	assert_true(v->again_ms >= 1000);
	assert_int_equal(v->generation, v->counters.reboots);
	call("vm_delete", -EBUSY, "{'name': 'r'}");
	operate("vm_start", "r", 0); // at once, and the first one is free again
	await_count(&v->counters.reboots, 5);
	assert_int_equal(v->generation, 5);
	await_state("r", CARD_VM_RESTARTING);
	operate("vm_stop", "r", 0);
	assert_int_equal(v->state, CARD_VM_STOPPED);
	operate("vm_start", "r", 0);
	assert_int_equal(v->generation, 1); // the agent had forgotten it
	await_state("r", CARD_VM_RESTARTING);
	operate("vm_stop", "r", 0);
	end("r", "reboot");
}

/* What is to become of a guest that ended is known to a card that comes after that. */
static void begins_anew_by_another_card(void **state)
{
	struct card_vm *v;

	(void)state;
	make("r", "end=2");
	operate("vm_start", "r", 0);
	v = card_vm_find(&card, "r");
	await_count(&v->counters.reboots, 3);
	await_state("r", CARD_VM_RESTARTING);
	card_vms_fini(&card);
	assert_int_equal(card_vms_init(&card), 0);
	make("r", "end=2");
	assert_int_equal(card_vms_listen(&card), 0);
	v = card_vm_find(&card, "r");
	await_count(&v->counters.reboots, 2);
	assert_true(v->generation > 3);
	await_state("r", CARD_VM_RESTARTING);
	operate("vm_stop", "r", 0);
	end("r", "reboot");
}

static void next_card(void)
{
	card_store_close(&card);
	assert_int_equal(card_vms_init(&card), 0);
	assert_int_equal(card_store_open(&card), 0);
	assert_int_equal(card_vms_listen(&card), 0);
}

/* The card dies, or is replaced: definitions are kept. */
static void another_card(void)
{
	card_vms_fini(&card);
	next_card();
}

static void open_store(char *store, size_t n)
{
	snprintf(store, n, "%s/state", dir);
	card.opt.state_dir = store;
	assert_int_equal(card_store_open(&card), 0);
}

/* Nothing is left in it but the definitions. */
static void close_store(const char *store)
{
	char path[80];

	card_store_close(&card);
	card.opt.state_dir = NULL;
	snprintf(path, sizeof(path), "%s/state.json", store);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(store), 0);
}

static void all_begin_anew_and_it_is_down(void)
{
	stop_agent();
	another_card();
	start_agent();
	await_agent();
	assert_int_equal(card_vm_find(&card, "r")->state, CARD_VM_STOPPED);
}

/* Nobody that knew of its end is left, but for what is on disk. */
static void begins_anew_without_witnesses(void **state)
{
	char store[64];
	struct card_vm *v;

	(void)state;
	open_store(store, sizeof(store));
	make("r", "end=2");
	operate("vm_start", "r", 0);
	v = card_vm_find(&card, "r");
	await_count(&v->counters.reboots, 3);
	await_state("r", CARD_VM_RESTARTING);
	// An agent that knows has told of it already: it is not another end
	another_card();
	v = card_vm_find(&card, "r");
	assert_int_equal(v->state, CARD_VM_RESTARTING);
	await_count(&v->counters.reboots, 1);
	assert_int_equal(v->generation, 4);
	await_state("r", CARD_VM_RESTARTING);
	stop_agent();
	another_card();
	v = card_vm_find(&card, "r");
	assert_int_equal(v->state, CARD_VM_RESTARTING);
	start_agent();
	await_count(&v->counters.reboots, 1);
	assert_int_equal(v->generation, 1);
	await_state("r", CARD_VM_RESTARTING);
	operate("vm_stop", "r", 0);
	all_begin_anew_and_it_is_down();
	json_decref(call("vm_delete", 0, "{'name': 'r'}"));
	close_store(store);
}

static bool is_kept(const char *store, const char *what)
{
	DIR *d = opendir(store);
	bool kept = false;

	assert_non_null(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		kept |= strstr(e->d_name, what) != NULL;
	closedir(d);
	return kept;
}

/* It runs: a card that comes finds it, or what became of it, or begins it anew. */
static void runs_without_witnesses(void **state)
{
	char store[64];
	struct card_vm *v;
	uint32_t pid;

	(void)state;
	open_store(store, sizeof(store));
	make_with("r", "", "on_crash", "restart");
	operate("vm_start", "r", 0);
	v = card_vm_find(&card, "r");
	await_output("r", "up\n");
	assert_int_equal(kill((pid_t)v->pid, SIGKILL), 0);
	await_output("r", "up\nup\n");
	await_state("r", CARD_VM_RUNNING);
	assert_false(is_kept(store, "again"));
	pid = v->pid;
	// Its agent has it
	another_card();
	v = card_vm_find(&card, "r");
	assert_int_equal(v->state, CARD_VM_RESTARTING);
	call("vm_delete", -EBUSY, "{'name': 'r'}");
	await_state("r", CARD_VM_RUNNING);
	assert_int_equal(v->pid, pid);
	assert_int_equal(v->counters.crashes, 0);
	// Its agent knows how it ended: one crash, after which it begins anew at once
	card_vms_fini(&card);
	assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
	next_card();
	v = card_vm_find(&card, "r");
	await_state("r", CARD_VM_RUNNING);
	await_output("r", "up\n");
	assert_int_not_equal(v->pid, pid);
	assert_int_equal(v->counters.crashes, 1);
	assert_int_equal(v->again_ms, 0);
	// Nobody has it
	stop_agent();
	another_card();
	v = card_vm_find(&card, "r");
	start_agent();
	await_output("r", "up\n");
	await_state("r", CARD_VM_RUNNING);
	assert_int_equal(v->counters.crashes, 1);
	assert_int_equal(v->generation, 1);
	// An operator does not want it any more, and there is no agent to tell
	stop_agent();
	another_card();
	operate("vm_stop", "r", 0);
	start_agent();
	await_agent();
	assert_int_equal(card_vm_find(&card, "r")->state, CARD_VM_STOPPED);
	assert_false(is_kept(store, "vm-"));
	json_decref(call("vm_delete", 0, "{'name': 'r'}"));
	// One that stays down when it crashes stays down
	make_with("r", "", "on_crash", "stop");
	operate("vm_start", "r", 0);
	await_output("r", "up\n");
	assert_false(is_kept(store, "vm-"));
	all_begin_anew_and_it_is_down();
	json_decref(call("vm_delete", 0, "{'name': 'r'}"));
	close_store(store);
}

/* It is loaded meanwhile, as of a card that gave up waiting for its agent's word too early. */
static void load_and_find_it_running(struct card_vm *v, uint32_t pid)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;

	card_vm_load(v);
	while (v->errand)
		turn(until);
	assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
	await_state("r", CARD_VM_RUNNING);
	operate("vm_pause", "r", 0); // whatever was sent before has its answer now
	operate("vm_resume", "r", 0);
	await_state("r", CARD_VM_RUNNING);
	assert_int_equal(v->pid, pid);
	assert_int_equal(v->counters.refused, 0);
}

/* A guest that runs after all is not made once more, and so not ended. */
static void is_found_late(void **state)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;
	struct card_vm *v;
	char store[64], *path;
	uint32_t pid;

	(void)state;
	open_store(store, sizeof(store));
	make_with("r", "", "on_crash", "restart");
	operate("vm_start", "r", 0);
	await_state("r", CARD_VM_RUNNING);
	pid = card_vm_find(&card, "r")->pid;
	// What is kept is made once, however often it says that it runs
	assert_true(is_kept(store, "vm-runs-"));
	card_vm_again_forget(card_vm_find(&card, "r"));
	operate("vm_pause", "r", 0);
	operate("vm_resume", "r", 0);
	await_state("r", CARD_VM_RUNNING);
	assert_false(is_kept(store, "vm-runs-"));
	another_card();
	v = card_vm_find(&card, "r");
	await_state("r", CARD_VM_RUNNING);
	load_and_find_it_running(v, pid);
	// It has not said a word yet
	another_card();
	v = card_vm_find(&card, "r");
	assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
	while (!v->guest)
		turn(until);
	assert_false(v->met);
	load_and_find_it_running(v, pid);
	// Nor is one whose kernel's file is gone by then
	path = v->conf.kernel;
	v->conf.kernel = (char[]){ "/none" };
	load_and_find_it_running(v, pid);
	v->conf.kernel = path;
	operate("vm_stop", "r", 0);
	json_decref(call("vm_delete", 0, "{'name': 'r'}"));
	close_store(store);
}

/* A card that listens for no agents has no use for it: it goes with the VM, whose id may return. */
static void is_deleted_by_another_card(void **state)
{
	char *agent_socket = (char *)(uintptr_t)card.opt.agent_socket;
	char store[64];

	(void)state;
	open_store(store, sizeof(store));
	make_with("r", "", "on_crash", "restart");
	operate("vm_start", "r", 0);
	await_state("r", CARD_VM_RUNNING);
	assert_true(is_kept(store, "vm-runs-"));
	stop_agent();
	card_vms_fini(&card);
	card.opt.agent_socket = NULL;
	next_card();
	json_decref(call("vm_delete", 0, "{'name': 'r'}"));
	assert_false(is_kept(store, "vm-"));
	card_vms_fini(&card);
	card.opt.agent_socket = agent_socket;
	next_card();
	start_agent();
	await_agent();
	close_store(store);
}

static void stays_down(void **state)
{
	static const struct {
		const char *cmdline, *on, *what, *end;
		unsigned reboots, crashes;
	} ends[] = {
		{ "end=2", "on_reboot", "stop", "reboot", 1, 0 },
		{ "end=3", "on_crash", "stop", "shutdown", 0, 1 },
		{ "end=1", "on_crash", "restart", "off", 0, 0 },
		{ "open", "on_crash", "restart", "killed", 0, 0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
		struct card_vm *v;

		make_with("d", ends[i].cmdline, ends[i].on, ends[i].what);
		// It may be killed before its answer.
		json_decref(call("vm_start", 0, "{'name': 'd'}"));
		await_state("d", CARD_VM_STOPPED);
		v = card_vm_find(&card, "d");
		assert_int_equal(v->counters.reboots, ends[i].reboots);
		assert_int_equal(v->counters.crashes, ends[i].crashes);
		// Its agent has nothing left of it.
		json_decref(call("vm_start", 0, "{'name': 'd'}"));
		await_state("d", CARD_VM_STOPPED);
		assert_int_equal(v->generation, 1);
		end("d", ends[i].end);
	}
}

static void begins_anew_after_a_crash(void **state)
{
	struct card_vm *v;
	uint32_t pid;

	(void)state;
	make_with("c", "end=3", "on_crash", "restart");
	operate("vm_start", "c", 0);
	v = card_vm_find(&card, "c");
	await_count(&v->counters.crashes, 3);
	await_state("c", CARD_VM_RESTARTING);
	operate("vm_stop", "c", 0);
	end("c", "shutdown");
	make_with("c", "", "on_crash", "restart");
	operate("vm_start", "c", 0);
	v = card_vm_find(&card, "c");
	await_output("c", "up\n");
	pid = v->pid;
	assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
	await_output("c", "up\nup\n");
	await_state("c", CARD_VM_RUNNING);
	assert_int_not_equal(v->pid, pid);
	assert_int_equal(v->counters.crashes, 1);
	json_decref(call("vm_stop", 0, "{'name': 'c', 'force': true}"));
	await_state("c", CARD_VM_STOPPED);
	assert_int_equal(v->counters.crashes, 1);
	end("c", "killed");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_anew),
		cmocka_unit_test(begins_anew_by_another_card),
		cmocka_unit_test(begins_anew_without_witnesses),
		cmocka_unit_test(runs_without_witnesses),
		cmocka_unit_test(is_found_late),
		cmocka_unit_test(is_deleted_by_another_card),
		cmocka_unit_test(stays_down),
		cmocka_unit_test(begins_anew_after_a_crash),
	};

	return run_vm_tests(argc, argv, tests, ARRAY_LEN(tests));
}
