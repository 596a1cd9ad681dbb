// SPDX-License-Identifier: Apache-2.0
/* What the durable store keeps of a virtual machine whose functions come and go. */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_calls.h"
#include "test.h"

static char dir[] = "/tmp/outboard-store-XXXXXX";

/* A call with ' for ". */
static void dispatch(struct card *c, const char *method, const char *params)
{
	struct card_error e = { "" };
	char text[256];
	json_t *p, *result;

	snprintf(text, sizeof(text), "%s", params);
	for (char *at = text; (at = strchr(at, '\''));)
		*at = '"';
	p = json_loads(text, 0, NULL);
	assert_non_null(p);
	if (card_rpc_dispatch(c, method, p, &result, &e))
		fail_msg("%s %s: %s", method, params, e.text);
	json_decref(p);
	json_decref(result);
}

/* The calls that a new daemon would make, with ' for ". */
static void assert_kept(struct card *c, const char *want)
{
	char *text;

	card_store_close(c);
	assert_int_equal(card_store_open(c), 0);
	text = json_dumps(card_store_calls(c), JSON_COMPACT);
	assert_non_null(text);
	for (char *at = text; (at = strchr(at, '"'));)
		*at = '\'';
	assert_string_equal(text, want);
	free(text);
}

#define VM(name, functions)                                                       \
	"{'method':'vm_create','params':{'name':'" name "','mem_mib':1,'kernel':" \
	"'/k','functions':[" functions "]}}"
#define RESIZED "{'method':'vm_resize','params':{'name':'v','mem_mib':257}}"
#define ADDED "{'method':'vm_add_function','params':{'name':'v','function':'c','slot':3}}"

/* One that the VM was made with leaves its slot empty, one that came later goes with its call. */
static void vm_forgets_a_function(void **state)
{
	struct card c = { .opt = { .name = "c1", .state_dir = dir } };

	(void)state;
	fake_calls_reset();
	assert_int_equal(card_store_open(&c), 0);
	dispatch(&c, "vm_create",
		"{'name': 'v', 'mem_mib': 1, 'kernel': '/k', 'functions': ['a', 'b']}");
	dispatch(&c, "vm_create",
		"{'name': 'w', 'mem_mib': 1, 'kernel': '/k', 'functions': ['a', 'b']}");
	dispatch(&c, "vm_add_function", "{'name': 'v', 'function': 'c', 'slot': 3}");
	dispatch(&c, "vm_remove_function", "{'name': 'v', 'function': 'a'}");
	assert_kept(&c, "[" VM("v", "'','b'") "," VM("w", "'a','b'") "," ADDED "]");
	dispatch(&c, "vm_remove_function", "{'name': 'v', 'function': 'c'}");
	assert_kept(&c, "[" VM("v", "'','b'") "," VM("w", "'a','b'") "]");
	dispatch(&c, "vm_remove_function", "{'name': 'w', 'function': 'b'}");
	assert_kept(&c, "[" VM("v", "'','b'") "," VM("w", "'a',''") "]");
	card_store_close(&c);
}

/* How much memory it has is of one call, which goes with the VM. */
static void vm_keeps_its_memory(void **state)
{
	struct card c = { .opt = { .name = "c1", .state_dir = dir } };

	(void)state;
	fake_calls_reset();
	assert_int_equal(card_store_open(&c), 0);
	dispatch(&c, "vm_delete", "{'name': 'w'}");
	dispatch(&c, "vm_resize", "{'name': 'v', 'mem_mib': 129}");
	dispatch(&c, "vm_resize", "{'name': 'v', 'mem_mib': 257}");
	dispatch(&c, "vm_add_function", "{'name': 'v', 'function': 'c', 'slot': 3}");
	assert_kept(&c, "[" VM("v", "'','b'") "," RESIZED "," ADDED "]");
	dispatch(&c, "vm_delete", "{'name': 'v'}");
	assert_kept(&c, "[]");
	card_store_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(vm_forgets_a_function),
		cmocka_unit_test(vm_keeps_its_memory) };
	char path[64];
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(path, sizeof(path), "%s/state.json", dir);
	unlink(path);
	rmdir(dir);

	return failed;
}
