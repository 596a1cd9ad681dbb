// SPDX-License-Identifier: Apache-2.0
/* The durable store: what is kept, what a crash or a full disk leaves, and files it refuses. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fake_calls.h"
#include "test.h"

static char dir[] = "/tmp/outboard-store-XXXXXX";
static char state_path[64], next_path[64];

static struct card card_with_store(void)
{
	return (struct card){ .opt = { .name = "c1", .state_dir = dir } };
}

static int fresh(void **state)
{
	(void)state;
	unlink(state_path);
	unlink(next_path);
	fake_calls_reset();
	return chmod(dir, 0700);
}

static int dispatch(struct card *c, const char *method, const char *params)
{
	struct card_error e;
	json_t *p = json_loads(params, 0, NULL), *result;
	int ret;

	assert_non_null(p);
	ret = card_rpc_dispatch(c, method, p, &result, &e);
	json_decref(p);
	json_decref(result);
	return ret;
}

static void spit(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
}

/* The calls that a new daemon would make, as compact JSON; free() it. */
static char *kept(void)
{
	struct card c = card_with_store();
	char *text;

	assert_int_equal(card_store_open(&c), 0);
	text = json_dumps(card_store_calls(&c), JSON_COMPACT);
	card_store_close(&c);
	return text;
}

static void assert_kept(const char *want)
{
	char *text = kept();

	assert_string_equal(text, want);
	free(text);
}

#define NULL_V "{\"name\":\"v\",\"num_blocks\":8,\"block_size\":512}"
#define CALL_V "{\"method\":\"bdev_null_create\",\"params\":" NULL_V "}"
#define RESIZE_V(n) \
	"{\"method\":\"volume_resize\",\"params\":{\"name\":\"v\",\"num_blocks\":" n "}}"

/* ---- a loop whose one timer the test fires ---- */

static struct due {
	void (*cb)(void *arg);
	void *arg;
	unsigned ms;
} due; // cb NULL: nothing

static void *due_set(void *arg, unsigned ms, void (*cb)(void *cb_arg), void *cb_arg)
{
	assert_null(due.cb);
	due = (struct due){ cb, cb_arg, ms };
	return arg;
}

static void due_cancel(void *arg, void *handle)
{
	assert_ptr_equal(handle, arg);
	due.cb = NULL;
}

static void due_fire(unsigned want_ms)
{
	const struct due now = due;

	assert_int_equal(due.ms, want_ms);
	due = (struct due){ 0 };
	now.cb(now.arg);
}

/* ---- what is kept ---- */

static void create_update_delete(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"v\"}"), 0); // another kind
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0); // again: kept once
	card_store_close(&c);
	assert_kept("[" CALL_V ",{\"method\":\"net_create\",\"params\":{\"name\":\"v\"}}]");

	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	card_store_close(&c);
	assert_kept("[" CALL_V
		    "," RESIZE_V("16") ",{\"method\":\"net_create\",\"params\":{\"name\":\"v\"}}]");

	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "volume_delete", "{\"name\":\"v\"}"), 0);
	card_store_close(&c);
	assert_kept("[{\"method\":\"net_create\",\"params\":{\"name\":\"v\"}}]");
}

static void failed_call_is_not_kept(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	fake_calls.ret[CARD_M_bdev_null_create] = -ENOMEM;
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), -ENOMEM);
	card_store_close(&c);
	assert_int_equal(access(next_path, F_OK), -1);
	assert_kept("[]");
}

/* A file is created once: replayed without the size, a lost file is noticed and not made again. */
static void creation_size_is_not_kept(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_uring_create",
				 "{\"name\":\"v\",\"filename\":\"/x\",\"num_blocks\":8}"),
		0);
	fake_calls.keeps_itself = true;
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	assert_int_equal(fake_calls.n[CARD_M_volume_resize], 1);
	card_store_close(&c);
	assert_kept("[{\"method\":\"bdev_uring_create\",\"params\":{\"name\":\"v\",\"filename\":\"/"
		    "x\"}}]");
}

/* A create that finds the object there changes nothing, and so not what is kept of it either. */
static void repeated_create_leaves_the_store_alone(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":24}"), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);
	assert_kept("[" CALL_V "," RESIZE_V("24") "]");
}

/* Flows and addresses are replaced by a second call. */
static void repeated_set_replaces(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"1\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"b\",\"actions\":\"1\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"2\"}"), 0);
	card_store_close(&c);
	assert_kept("[{\"method\":\"flow_add\",\"params\":{\"flow\":\"a\",\"actions\":\"2\"}},"
		    "{\"method\":\"flow_add\",\"params\":{\"flow\":\"b\",\"actions\":\"1\"}}]");
}

static void second_key_and_whole_kind(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
#define MAC "\"mac\":\"52:54:00:00:00:01\""
	assert_int_equal(dispatch(&c, "mac_set", "{" MAC ",\"port\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "mac_set", "{" MAC ",\"vlan\":7,\"port\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "mac_del", "{" MAC ",\"vlan\":0}"), 0); // the default
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"1\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"b\",\"actions\":\"1\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_flush", "{}"), 0);
	card_store_close(&c);
	assert_kept("[{\"method\":\"mac_set\",\"params\":{" MAC ",\"vlan\":7,\"port\":\"p\"}}]");
}

/* Flows and addresses of a port go with it, as they do in the datapath. */
static void port_takes_its_flows_along(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "mac_set", "{" MAC ",\"port\":\"p\"}"), 0);
	assert_int_equal(
		dispatch(&c, "flow_add", "{\"flow\":\"in_port(p),a\",\"actions\":\"q\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"b\",\"actions\":\"q,p\"}"), 0);
	assert_int_equal(
		dispatch(&c, "flow_add", "{\"flow\":\"in_port(pp)\",\"actions\":\"pp,q\"}"), 0);
	assert_int_equal(dispatch(&c, "net_delete", "{\"name\":\"p\"}"), 0);
	card_store_close(&c);
	assert_kept("[{\"method\":\"flow_add\",\"params\":{\"flow\":\"in_port(pp)\",\"actions\":"
		    "\"pp,q\"}}]");
}

#define PUSH(tnl, out)                                                                  \
	"tnl_push(tnl_port(" tnl "),header(size=50,type=4,eth(dst=02:00:00:00:00:02,"   \
	"src=02:00:00:00:00:01,dl_type=0x0800),ipv4(src=192.0.2.1,dst=192.0.2.2,proto=" \
	"17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000"  \
	"000,vni=0x5)),out_port(" out "))"

/* At any depth of the actions; a word that is no port's name stays one. */
static const struct user_case {
	const char *name, *actions;
	bool goes;
} user_cases[] = {
	{ "the only action", "p", true },
	{ "behind another", "push_vlan(vid=5,pcp=0),p", true },
	{ "before another", "p,pop_vlan", true },
	{ "in a clone", "clone(ct_clear,p),q", true },
	{ "in a sample", "sample(sample=50.0%,actions(q,p))", true },
	{ "by length", "check_pkt_len(size=100,gt(drop),le(clone(p)))", true },
	{ "in the actions of a time to live", "dec_ttl(le_1(p)),q", true },
	{ "out of a tunnel", "tnl_pop(p)", true },
	{ "into a tunnel", PUSH("p", "q"), true },
	{ "by an uplink", PUSH("q", "p"), true },
	{ "into others' tunnel", PUSH("q", "pp"), false },
	{ "a name of a helper", "ct(commit,helper=p),q", false },
	{ "a longer name", "pp,q", false },
	{ "a field", "set(ipv4(p)),q", false },
	{ "a flag", "ct(commit,p),q", false },
	{ "a bracket that does not close", "clone(q", false },
};

static void users_of_a_port(void **state)
{
	const struct user_case *t = *state;
	struct card c = card_with_store();
	char flow[512];

	fresh(NULL);
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"p\"}"), 0);
	snprintf(flow, sizeof(flow), "{\"flow\":\"in_port(1)\",\"actions\":\"%s\"}", t->actions);
	assert_int_equal(dispatch(&c, "flow_add", flow), 0);
	assert_int_equal(dispatch(&c, "net_delete", "{\"name\":\"p\"}"), 0);
	assert_int_equal(json_array_size(card_store_calls(&c)), t->goes ? 0 : 1);
	card_store_close(&c);
}

/* What a flow says now may be about a port that was not there when it was first made. */
static void changed_flow_waits_for_its_port(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"drop\"}"), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"p\"}"), 0);
	card_store_close(&c);

	fake_calls_reset();
	fake_calls.needs[CARD_M_flow_add] = card_method_at(CARD_M_net_create);
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	assert_int_equal(fake_calls.n[CARD_M_flow_add], 2);
	assert_int_equal(fake_calls.n[CARD_M_net_create], 1);
	card_store_close(&c);

	/* Without the port it is tried again once, and remembered. */
	fake_calls_reset();
	fake_calls.ret[CARD_M_flow_add] = -ENODEV;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 1);
	assert_int_equal(fake_calls.n[CARD_M_flow_add], 2);
	card_store_close(&c);
}

#define ADDRESS(a) "{\"uplink\":\"up\",\"address\":\"" a "\"}"

/* An address is one object whatever its network; what is on an uplink goes with it. */
static void underlay_goes_with_its_uplink(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "uplink_create", "{\"name\":\"up\",\"devargs\":\"d\"}"), 0);
	assert_int_equal(dispatch(&c, "underlay_address_add", ADDRESS("192.0.2.1/24")), 0);
	assert_int_equal(dispatch(&c, "underlay_address_add", ADDRESS("192.0.2.10/24")), 0);
	assert_int_equal(dispatch(&c, "underlay_address_delete", "{\"address\":\"192.0.2.1\"}"), 0);
	assert_int_equal(json_array_size(card_store_calls(&c)), 2);
	assert_int_equal(
		dispatch(&c, "underlay_route_add", "{\"net\":\"0.0.0.0/0\",\"uplink\":\"up\"}"), 0);
	assert_int_equal(dispatch(&c, "tunnel_create", "{\"name\":\"t\",\"type\":\"gre\"}"), 0);
	assert_int_equal(
		dispatch(&c, "flow_add", "{\"flow\":\"in_port(t)\",\"actions\":\"q\"}"), 0);
	assert_int_equal(json_array_size(card_store_calls(&c)), 5);
	assert_int_equal(dispatch(&c, "uplink_delete", "{\"name\":\"up\"}"), 0);
	assert_int_equal(json_array_size(card_store_calls(&c)), 2);
	assert_int_equal(dispatch(&c, "tunnel_delete", "{\"name\":\"t\"}"), 0);
	card_store_close(&c);
	assert_kept("[]");
}

/* The same when the port is one of the configuration file: the switch has forgotten them too. */
static void configured_port_takes_its_flows_along(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "underlay_address_add", ADDRESS("192.0.2.1/24")), 0);
	assert_int_equal(dispatch(&c, "net_delete", "{\"name\":\"p\"}"), 0);
	assert_int_equal(dispatch(&c, "uplink_delete", "{\"name\":\"up\"}"), 0);
	card_store_close(&c);
	assert_kept("[]");
}

/* An object of the configuration file is not in the store; its new size is. */
static void update_of_a_configured_object(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":24}"), 0);
	card_store_close(&c);
	assert_kept("[" RESIZE_V("24") "]");

	/* Made by an operator as well: before its size. */
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);
	assert_kept("[" CALL_V "," RESIZE_V("24") "]");
}

/* ---- replay ---- */

static void degraded_object_is_remembered(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);

	fake_calls.ret[CARD_M_bdev_null_create] = -ENOENT; // its file is gone
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 1);
	card_store_close(&c);
	assert_kept("[" CALL_V "]");

	assert_int_equal(card_store_open(&c), 0);
	fake_calls.ret[CARD_M_bdev_null_create] = 0; // and back again
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	card_store_close(&c);
}

static void assert_reason(const struct card *c, size_t i, const char *want)
{
	const json_t *d = json_array_get(card_store_degraded(c), i);

	assert_non_null(strstr(json_string_value(json_object_get(d, "reason")), want));
}

#define FLOW_A "{\"method\":\"flow_add\",\"params\":{\"flow\":\"a\",\"actions\":\"1\"}}"

/* What is in its way now is told, not what was when it was tried first. */
static void reason_of_the_last_attempt(void **state)
{
	struct card c = card_with_store();

	(void)state;
	spit(state_path, "{\"version\":1,\"card\":\"c1\",\"calls\":[" FLOW_A
			 ",{\"method\":\"net_create\",\"params\":{\"name\":\"n\"}}]}");
	fake_calls.needs[CARD_M_flow_add] = card_method_find("net_create");
	fake_calls.ret[CARD_M_flow_add] = -ENOSPC;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 1);
	assert_reason(&c, 0, strerror(ENOSPC));
	card_store_close(&c);
}

/* Each call behind what it needs, as far as objects can hang on one another; then no more. */
static void attempts_are_bounded(void **state)
{
	static const enum card_method_id chain[] = { CARD_M_flow_add, CARD_M_mac_set,
		CARD_M_underlay_neighbour_set, CARD_M_underlay_route_add,
		CARD_M_underlay_address_add, CARD_M_uplink_create };
	struct card c = card_with_store();

	(void)state;
	spit(state_path,
		"{\"version\":1,\"card\":\"c1\",\"calls\":[" FLOW_A
		",{\"method\":\"mac_set\",\"params\":{" MAC ",\"port\":\"p\"}}"
		",{\"method\":\"underlay_neighbour_set\",\"params\":{\"address\":\"192.0.2.2\"," MAC
		",\"uplink\":\"up\"}}"
		",{\"method\":\"underlay_route_add\",\"params\":{\"net\":\"0.0.0.0/0\","
		"\"uplink\":\"up\"}}"
		",{\"method\":\"underlay_address_add\",\"params\":" ADDRESS(
			"192.0.2.1/24") "}"
					",{\"method\":\"uplink_create\",\"params\":{\"name\":"
					"\"up\",\"devargs\":\"d\"}}]}");
	for (unsigned i = 0; i + 1 < ARRAY_LEN(chain); i++)
		fake_calls.needs[chain[i]] = card_method_at(chain[i + 1]);
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(fake_calls.n[CARD_M_underlay_route_add], 1 + 2);
	assert_int_equal(fake_calls.n[CARD_M_flow_add], 1 + 4);
	card_store_close(&c);
}

/* One that could not be restored is made with other parameters: those are kept, in its place. */
static void degraded_object_is_made_anew(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"n\"}"), 0);
	card_store_close(&c);

	fake_calls.ret[CARD_M_bdev_null_create] = -ENOMEM;
	fake_calls.ret[CARD_M_volume_resize] = -ENODEV;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 2);
	fake_calls_reset();
	assert_int_equal(dispatch(&c, "bdev_malloc_create",
				 "{\"name\":\"v\",\"num_blocks\":4,\"block_size\":512}"),
		0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	card_store_close(&c);
	assert_kept(
		"[{\"method\":\"bdev_malloc_create\",\"params\":{\"name\":\"v\",\"num_blocks\":4,"
		"\"block_size\":512}},{\"method\":\"net_create\",\"params\":{\"name\":\"n\"}}]");
}

/* Only the change could not be restored: making the object again does not make the change. */
static void degraded_change_is_remembered(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	card_store_close(&c);

	fake_calls.ret[CARD_M_volume_resize] = -ENOSPC;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 1);
	fake_calls_reset();
	assert_int_equal(dispatch(&c, "volume_resize", "{\"name\":\"v\",\"num_blocks\":16}"), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	card_store_close(&c);
	assert_kept("[" CALL_V "," RESIZE_V("16") "]");
}

static void degraded_object_can_be_deleted(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);

	fake_calls.ret[CARD_M_bdev_null_create] = -ENOENT;
	fake_calls.ret[CARD_M_volume_delete] = -ENODEV;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "volume_delete", "{\"name\":\"w\"}"), -ENODEV);
	assert_int_equal(dispatch(&c, "volume_delete", "{\"name\":\"v\"}"), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	card_store_close(&c);
	assert_kept("[]");
}

/* A flow of a port that is gone cannot be read any more: it is deleted as it is written. */
static void degraded_flow_is_deleted_as_stored(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"1\"}"), 0);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"b\",\"actions\":\"1\"}"), 0);
	card_store_close(&c);

	fake_calls.canon_ret = -EINVAL;
	fake_calls.ret[CARD_M_flow_del] = -EINVAL;
	fake_calls.ret[CARD_M_flow_add] = -EINVAL;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 2);
	assert_int_equal(dispatch(&c, "flow_del", "{\"flow\":\"c\"}"), -EINVAL);
	assert_int_equal(dispatch(&c, "flow_add", "{\"flow\":\"a\",\"actions\":\"1\"}"), -EINVAL);
	assert_int_equal(dispatch(&c, "flow_del", "{\"flow\":\"a\"}"), 0);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 1);
	card_store_close(&c);
	fake_calls_reset();
	assert_kept("[{\"method\":\"flow_add\",\"params\":{\"flow\":\"b\",\"actions\":\"1\"}}]");
}

/* ---- disks that fail ---- */

/* The write fails after each number of bytes: the call is not made, the old state stands. */
static void full_disk(void **state)
{
	struct rlimit old, low;
	struct card c = card_with_store();
	unsigned failed = 0;
	int ret = -EFBIG;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (rlim_t bytes = 0; ret; bytes += 7) {
		low = (struct rlimit){ .rlim_cur = bytes, .rlim_max = old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
		ret = dispatch(&c, "net_create", "{\"name\":\"n\"}");
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		assert_int_equal(fake_calls.n[CARD_M_net_create], ret == 0);
		if (!ret)
			break;
		assert_int_equal(ret, -EFBIG);
		assert_int_equal(access(next_path, F_OK), -1);
		assert_int_equal(json_array_size(card_store_calls(&c)), 1);
		failed++;
	}
	assert_true(failed > 10);
	card_store_close(&c);
	assert_kept("[" CALL_V ",{\"method\":\"net_create\",\"params\":{\"name\":\"n\"}}]");
}

/* A crash between stage and commit: the next start sees the old state, and writes again. */
static void crash_before_commit(void **state)
{
	struct card c = card_with_store();
	struct card_error e;
	json_t *params = json_loads(NULL_V, 0, NULL);
	const struct card_method *m = card_method_find("bdev_null_create");

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(card_store_stage(&c, m, params, &e), 0);
	assert_int_equal(access(next_path, F_OK), 0);
	json_decref(params);
	/* What a crash leaves: the staged file, whole or cut. */
	assert_int_equal(truncate(next_path, 20), 0);
	assert_int_equal(access(state_path, F_OK), -1);
	{
		struct card other = card_with_store();

		assert_int_equal(card_store_open(&other), -EBUSY); // one daemon at a time
	}
	card_store_close(&c);
	spit(next_path, "{\"version\":1,");
	assert_kept("[]");
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);
	assert_kept("[" CALL_V "]");
}

static void directory_gone(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), -ENOENT);
	assert_int_equal(fake_calls.n[CARD_M_bdev_null_create], 0);
	card_store_close(&c);
	assert_int_equal(mkdir(dir, 0700), 0);
}

/* ---- files that are not trusted ---- */

static const struct refused_case {
	const char *name, *text;
	int ret;
} refused[] = {
	{ "CF-05 newer version", "{\"version\":2,\"card\":\"c1\",\"calls\":[]}", -EPROTONOSUPPORT },
	{ "CF-05 another card", "{\"version\":1,\"card\":\"c2\",\"calls\":[]}", -EPERM },
	{ "no version", "{\"card\":\"c1\",\"calls\":[]}", -EBADMSG },
	{ "not JSON", "{\"version\":1,", -EBADMSG },
	{ "empty", "", -EBADMSG },
	{ "unknown call",
		"{\"version\":1,\"card\":\"c1\",\"calls\":[{\"method\":\"x\",\"params\":{}}]}",
		-EBADMSG },
	{ "no params", "{\"version\":1,\"card\":\"c1\",\"calls\":[{\"method\":\"net_create\"}]}",
		-EBADMSG },
	{ "duplicate key", "{\"version\":1,\"version\":1,\"card\":\"c1\",\"calls\":[]}", -EBADMSG },
};

static void refuse(void **state)
{
	const struct refused_case *t = *state;
	struct card c = card_with_store();
	char back[256] = "";
	FILE *f;

	fresh(NULL);
	spit(state_path, t->text);
	assert_int_equal(card_store_open(&c), t->ret);
	assert_null(c.store);
	f = fopen(state_path, "r");
	assert_true(fread(back, 1, sizeof(back) - 1, f) == strlen(t->text));
	fclose(f);
	assert_string_equal(back, t->text); // the old state is kept
}

#define GOOD "{\"version\":1,\"card\":\"c1\",\"calls\":[]}"

static void refuse_links_and_modes(void **state)
{
	struct card c = card_with_store();
	char other[80];

	(void)state;
	snprintf(other, sizeof(other), "%s/other", dir);
	spit(other, GOOD);
	assert_int_equal(symlink("other", state_path), 0); // JR-07, CF-03
	assert_int_equal(card_store_open(&c), -ELOOP);
	unlink(state_path);
	assert_int_equal(link(other, state_path), 0);
	assert_int_equal(card_store_open(&c), -EMLINK);
	unlink(state_path);
	unlink(other);
	assert_int_equal(mkfifo(state_path, 0600), 0);
	assert_int_equal(card_store_open(&c), -EINVAL);
	unlink(state_path);
	spit(state_path, GOOD);
	assert_int_equal(chmod(state_path, 0602), 0);
	assert_int_equal(card_store_open(&c), -EACCES);
	assert_int_equal(chmod(state_path, 0600), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(card_store_open(&c), -EACCES);
	assert_int_equal(chmod(dir, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(state_path, 12345, 0), 0);
		assert_int_equal(card_store_open(&c), -EACCES);
		assert_int_equal(chown(state_path, 0, 0), 0);
	}
	assert_int_equal(card_store_open(&c), 0);
	card_store_close(&c);
}

/* What stands at the place of the next state is replaced, never written through. */
static void planted_next_state(void **state)
{
	struct card c = card_with_store();
	char victim[80], text[16] = "";
	FILE *f;

	(void)state;
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	spit(victim, "precious");
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(symlink("victim", next_path), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);
	f = fopen(victim, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, f) == 8);
	fclose(f);
	assert_string_equal(text, "precious");
	unlink(victim);
	assert_kept("[" CALL_V "]");
}

static void mode_is_private(void **state)
{
	struct card c = card_with_store();
	struct stat st;

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	card_store_close(&c);
	assert_int_equal(stat(state_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* What somebody else has is tried again by itself, less and less often; the rest is not. */
static void busy_is_tried_again(void **state)
{
	struct card c = card_with_store();

	(void)state;
	assert_int_equal(card_store_open(&c), 0);
	assert_int_equal(dispatch(&c, "bdev_null_create", NULL_V), 0);
	assert_int_equal(dispatch(&c, "net_create", "{\"name\":\"n\"}"), 0);
	card_store_close(&c);
	c = card_with_store();
	c.vho_loop = (struct vho_loop){ .arg = &due, .timer = due_set, .timer_cancel = due_cancel };
	fake_calls.ret[CARD_M_net_create] = -EBUSY; // no volume
	assert_int_equal(card_store_open(&c), 0);
	card_store_close(&c);
	assert_null(due.cb);
	fake_calls.ret[CARD_M_bdev_null_create] = -EBUSY;
	assert_int_equal(card_store_open(&c), 0);
	due_fire(1000);
	for (unsigned ms = 2000; ms < 30000; ms *= 2)
		due_fire(ms);
	due_fire(30000);
	card_store_close(&c); // its timer with it
	assert_null(due.cb);
	assert_int_equal(card_store_open(&c), 0);
	fake_calls_reset(); // free: what waited for it can be made, too
	due_fire(1000);
	assert_int_equal(json_array_size(card_store_degraded(&c)), 0);
	card_store_close(&c);
	assert_null(due.cb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(create_update_delete, fresh),
		cmocka_unit_test_setup(failed_call_is_not_kept, fresh),
		cmocka_unit_test_setup(busy_is_tried_again, fresh),
		cmocka_unit_test_setup(creation_size_is_not_kept, fresh),
		cmocka_unit_test_setup(repeated_create_leaves_the_store_alone, fresh),
		cmocka_unit_test_setup(repeated_set_replaces, fresh),
		cmocka_unit_test_setup(second_key_and_whole_kind, fresh),
		cmocka_unit_test_setup(port_takes_its_flows_along, fresh),
		cmocka_unit_test_setup(changed_flow_waits_for_its_port, fresh),
		cmocka_unit_test_setup(underlay_goes_with_its_uplink, fresh),
		cmocka_unit_test_setup(configured_port_takes_its_flows_along, fresh),
		cmocka_unit_test_setup(update_of_a_configured_object, fresh),
		cmocka_unit_test_setup(degraded_object_is_remembered, fresh),
		cmocka_unit_test_setup(reason_of_the_last_attempt, fresh),
		cmocka_unit_test_setup(attempts_are_bounded, fresh),
		cmocka_unit_test_setup(degraded_object_is_made_anew, fresh),
		cmocka_unit_test_setup(degraded_change_is_remembered, fresh),
		cmocka_unit_test_setup(degraded_object_can_be_deleted, fresh),
		cmocka_unit_test_setup(degraded_flow_is_deleted_as_stored, fresh),
		cmocka_unit_test_setup(full_disk, fresh),
		cmocka_unit_test_setup(crash_before_commit, fresh),
		cmocka_unit_test_setup(directory_gone, fresh),
		cmocka_unit_test_setup(refuse_links_and_modes, fresh),
		cmocka_unit_test_setup(planted_next_state, fresh),
		cmocka_unit_test_setup(mode_is_private, fresh),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(state_path, sizeof(state_path), "%s/state.json", dir);
	snprintf(next_path, sizeof(next_path), "%s/state.json.new", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(refused, refuse, failed);
	RUN_ROWS(user_cases, users_of_a_port, failed);
	fresh(NULL);
	rmdir(dir);
	return failed;
}
