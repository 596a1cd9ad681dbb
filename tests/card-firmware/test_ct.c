// SPDX-License-Identifier: Apache-2.0
/* What operators see and set of connection tracking. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card_env.h"
#include "ct_pkts.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "metrics_text.h"

static struct card card;
static struct card_error err;

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	card.opt = (struct card_options){
		.name = "ct", .mem_mib = 64, .mbufs = 2047, .socket_dir = "/tmp", .ct_conns = 16384
	};
	return card_env_open(&card);
}

static int teardown(void **state)
{
	(void)state;
	card_env_close(&card);
	return 0;
}

static json_t *call(const char *method, const char *params, int want)
{
	return card_env_call(&card, method, params, want, &err);
}

static void done(const char *method, const char *params)
{
	json_decref(call(method, params, 0));
}

static void refused(const char *method, const char *params, int want, const char *says)
{
	assert_null(call(method, params, want));
	if (!strstr(err.text, says))
		fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

/* A number in a result, which is taken. */
static json_int_t number(json_t *o, const char *member)
{
	json_t *v = json_object_get(o, member);

	assert_true(json_is_integer(v));
	json_int_t n = json_integer_value(v);

	json_decref(o);
	return n;
}

static struct odp_ct *table(void)
{
	struct odp_ct *ct;

	assert_int_equal(odp_conntrack_get(card.dp, &ct), 0);
	odp_ct_online(ct, 0); // no flow tracks: the worker is not in it
	return ct;
}

static uint64_t now(void)
{
	return dpu_now_ns() / 1000000;
}

static void before_a_table(void **state)
{
	(void)state;
	assert_null(odp_conntrack(card.dp));
	assert_int_equal(number(call("ct_list", "{}", 0), "total"), 0);
	assert_int_equal(number(call("ct_flush", "{}", 0), "deleted"), 0);
	assert_int_equal(number(call("ct_flush", "{'tuple':'ct_nw_proto=6'}", 0), "deleted"), 0);
	assert_int_equal(number(call("ct_zone_list", "{}", 0), "default_limit"), 0);
	done("ct_timeout_reset", "{'policy':0}");
	refused("ct_export", "{'path':'/tmp/outboard-no-connections'}", -ENOENT,
		"no connections are tracked yet");
	assert_int_equal(access("/tmp/outboard-no-connections", F_OK), -1);
	refused("ct_zone_reset", "{'zone':1}", -ENOENT, "zone");
	json_t *t = call("ct_timeout_list", "{}", 0);

	assert_int_equal(json_array_size(t), ODP_CT_STATE_COUNT - 1);
	json_decref(t);
	assert_null(odp_conntrack(card.dp)); // looking does not make it
}

static void connections(void **state)
{
	struct odp_ct *ct = table();
	struct ct_p p;
	json_t *list, *o;

	(void)state;
	for (unsigned i = 0; i < 6000; i++) // more than a step of the dump
		assert_int_equal(ct_make(ct, ct_udp(&p, 1, 1000 + i, 2, 53, i % 3), now()), 0);
	list = call("ct_list", "{}", 0);
	assert_int_equal(json_array_size(json_object_get(list, "connections")), 4096);
	assert_int_equal(number(list, "total"), 6000);
	list = call("ct_list", "{'zone':2,'max':5}", 0);
	assert_int_equal(json_array_size(json_object_get(list, "connections")), 5);
	assert_int_equal(number(list, "total"), 2000);
	list = call("ct_list", "{'zone':2,'max':65536}", 0);
	assert_int_equal(json_array_size(json_object_get(list, "connections")), 2000);
	assert_int_equal(number(list, "total"), 2000);
	list = call("ct_list", "{'tuple':'ct_tp_dst=53','max':1}", 0);
	assert_int_equal(number(list, "total"), 6000);

	list = call("ct_list", "{'zone':1,'tuple':'ct_tp_src=1001'}", 0);
	o = json_array_get(json_object_get(list, "connections"), 0);
	assert_string_equal(json_string_value(json_object_get(o, "connection")),
		"udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1001,dport=53),reply=(src=10.0.0.2,"
		"dst=10.0.0.1,sport=53,dport=1001),zone=1");
	assert_string_equal(json_string_value(json_object_get(o, "protocol")), "udp");
	assert_string_equal(json_string_value(json_object_get(o, "state")), "FIRST");
	assert_int_equal(json_integer_value(json_object_get(o, "zone")), 1);
	assert_in_range(json_integer_value(json_object_get(o, "timeout_ms")), 1, 60000);
	assert_int_equal(json_integer_value(json_object_get(o, "packets")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "bytes")), 100);
	assert_int_equal(json_integer_value(json_object_get(o, "reply_packets")), 0);
	assert_int_equal(number(list, "total"), 1);

	// In parts: as many, each once, and never much at a time.
	unsigned parts = 0, listed = 0, total = 0;
	json_int_t from = 0;

	do {
		char params[80];

		snprintf(params, sizeof(params), "{'zone':2,'from':%lld}", (long long)from);
		list = call("ct_list", params, 0);
		size_t n = json_array_size(json_object_get(list, "connections"));

		assert_true(n < 256);
		listed += (unsigned)n;
		total += (unsigned)json_integer_value(json_object_get(list, "total"));
		from = json_integer_value(json_object_get(list, "next"));
		json_decref(list);
		parts++;
	} while (from > 0);
	assert_int_equal(listed, 2000);
	assert_int_equal(total, 2000);
	assert_true(parts > 7);
	list = call("ct_list", "{'max':0,'from':0}", 0);
	assert_int_equal(json_array_size(json_object_get(list, "connections")), 0);
	assert_int_equal(number(list, "total"), 6000);

	refused("ct_list", "{'tuple':'ct_nw_src=x'}", -EINVAL, "cannot read \"x\" at byte 10");
	refused("ct_flush", "{'tuple':'icmp_type=8'}", -EINVAL, "do not go together");

	assert_int_equal(
		number(call("ct_flush", "{'zone':1,'tuple':'ct_tp_src=1001'}", 0), "deleted"), 1);
	assert_int_equal(
		number(call("ct_flush", "{'zone':1,'tuple':'ct_tp_src=1001'}", 0), "deleted"), 0);
	list = call("ct_flush", "{'zone':1,'from':0}", 0);
	assert_int_equal(json_integer_value(json_object_get(list, "next")), 2048);
	unsigned deleted = (unsigned)number(list, "deleted");

	assert_in_range(deleted, 600, 700);
	assert_int_equal(number(call("ct_flush", "{'zone':1}", 0), "deleted"), 1999 - deleted);
	assert_int_equal(number(call("ct_list", "{}", 0), "total"), 4000);
	assert_int_equal(number(call("ct_flush", "{}", 0), "deleted"), 4000);
}

/* A connection that was answered: one that was not would make room for the next. */
static int answered(struct odp_ct *ct, unsigned sport, unsigned zone)
{
	struct ct_p p;
	int ret = ct_make(ct, ct_udp(&p, 1, sport, 2, 3, zone), now());

	if (!ret)
		(void)ct_see(ct, ct_udp(&p, 2, 3, 1, sport, zone), now());
	return ret;
}

static json_t *zone(const char *params)
{
	json_t *list = call("ct_zone_list", params, 0);
	json_t *zones = json_object_get(list, "zones"), *o;

	assert_int_equal(json_array_size(zones), 1);
	o = json_incref(json_array_get(zones, 0));
	json_decref(list);
	return o;
}

static void zones(void **state)
{
	struct odp_ct *ct = table();
	json_t *o;

	(void)state;
	done("ct_zone_set", "{'zone':7,'limit':2}");
	done("ct_zone_set", "{'zone':7,'policy':3}"); // the limit stays
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(answered(ct, 1 + i, 7), i < 2 ? 0 : -EDQUOT);
	o = zone("{}");
	assert_true(json_is_true(json_object_get(o, "own_limit")));
	assert_int_equal(json_integer_value(json_object_get(o, "connections")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "limit")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "policy")), 3);
	assert_int_equal(number(o, "zone"), 7);

	done("ct_default_limit", "{'limit':1}");
	assert_int_equal(number(call("ct_zone_list", "{}", 0), "default_limit"), 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(answered(ct, 1 + i, 8), i < 1 ? 0 : -EDQUOT);
	o = zone("{'zone':9}"); // asked for: shown although nothing is there
	assert_true(json_is_false(json_object_get(o, "own_limit")));
	assert_int_equal(number(o, "limit"), 1);
	done("ct_default_limit", "{'limit':0}");

	refused("ct_zone_set", "{'zone':7}", -EINVAL, "limit");
	refused("ct_zone_set", "{'zone':65536,'limit':1}", CARD_RPC_PARAMS, "zone");
	refused("ct_zone_set", "{'zone':1,'policy':256}", CARD_RPC_PARAMS, "policy");
	done("ct_zone_reset", "{'zone':7}");
	refused("ct_zone_reset", "{'zone':7}", -ENOENT, "zone: 7");
	o = zone("{'zone':7}");
	assert_true(json_is_false(json_object_get(o, "own_limit")));
	assert_int_equal(number(o, "policy"), 0);
	assert_int_equal(number(call("ct_flush", "{}", 0), "deleted"), 3);
}

static json_int_t timeout_of(const char *params, const char *name, const char *member)
{
	json_t *list = call("ct_timeout_list", params, 0), *o;
	json_int_t n = -1;
	size_t i;

	json_array_foreach (list, i, o)
		if (!strcmp(json_string_value(json_object_get(o, "state")), name))
			n = json_integer_value(json_object_get(o, member));
	json_decref(list);
	return n;
}

static void timeouts(void **state)
{
	struct odp_ct *ct = table();
	struct ct_p p;
	json_t *list, *o;

	(void)state;
	done("ct_timeout_set", "{'policy':3,'state':'UDP_First','timeout_ms':777000}");
	assert_int_equal(timeout_of("{'policy':3}", "udp_first", "timeout_ms"), 777000);
	assert_int_equal(timeout_of("{'policy':3}", "udp_first", "default_ms"), 60000);
	assert_int_equal(timeout_of("{}", "udp_first", "timeout_ms"), 60000);
	done("ct_zone_set", "{'zone':4,'policy':3}");
	assert_int_equal(ct_make(ct, ct_udp(&p, 1, 1, 2, 3, 4), now()), 0);
	list = call("ct_list", "{'zone':4}", 0);
	o = json_array_get(json_object_get(list, "connections"), 0);
	assert_int_equal(json_integer_value(json_object_get(o, "policy")), 3);
	assert_in_range(json_integer_value(json_object_get(o, "timeout_ms")), 600000, 777000);
	json_decref(list);

	refused("ct_timeout_set", "{'policy':3,'state':'first','timeout_ms':1}", -EINVAL,
		"state: first");
	refused("ct_timeout_set", "{'policy':3,'state':'udp_first','timeout_ms':0}",
		CARD_RPC_PARAMS, "timeout_ms");
	done("ct_timeout_reset", "{'policy':3}");
	assert_int_equal(timeout_of("{'policy':3}", "udp_first", "timeout_ms"), 60000);
	done("ct_zone_reset", "{'zone':4}");
	done("ct_flush", "{}");
}

static void counters(void **state)
{
	struct odp_ct *ct = table();
	struct ct_p p;
	json_t *stats, *o;
	char *text;

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&p, 1, 1, 2, 3, 4), now()), 0);
	stats = call("stats_get", "{'object':'conntrack'}", 0);
	o = json_array_get(json_object_get(stats, "conntrack"), 0);
	assert_true(json_integer_value(json_object_get(o, "created")) > 6000);
	assert_true(json_integer_value(json_object_get(o, "limited")) == 2);
	o = json_object_get(o, "now");
	assert_int_equal(json_integer_value(json_object_get(o, "connections")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "capacity")), 16384);
	assert_true(json_integer_value(json_object_get(o, "memory_bytes")) > 16384 * 200);
	text = card_metrics_text("ct", stats);
	assert_non_null(strstr(text, "\noutboard_conntrack_connections{card=\"ct\"} 1\n"));
	assert_non_null(strstr(text,
		"\noutboard_conntrack_state_connections{card=\"ct\",state=\"udp_first\"} 1\n"));
	assert_non_null(strstr(text, "\noutboard_conntrack_limited_total{card=\"ct\"} 2\n"));
	free(text);
	json_decref(stats);
	done("ct_flush", "{}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_a_table),
		cmocka_unit_test(connections),
		cmocka_unit_test(zones),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(counters),
	};

	return cmocka_run_group_tests_name("connection tracking", tests, setup, teardown);
}
