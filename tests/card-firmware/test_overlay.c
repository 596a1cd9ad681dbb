// SPDX-License-Identifier: Apache-2.0
/* What operators set and see of tunnels and of the underlay. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_env.h"
#include "device.h"
#include "dpu_log.h"

static struct card card;
static struct card_error err;

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	card.opt = (struct card_options){
		.name = "overlay", .mem_mib = 96, .mbufs = 16383, .socket_dir = "/tmp"
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

/* A refusal names the parameter that is wrong, and leaves no interface behind. */
static void mtu_of_an_interface(void **state)
{
	json_t *result;

	(void)state;
	done("uplink_create", "{'name':'up','devargs':'net_null0,no-rx=1','mtu':1400}");
	done("uplink_create", "{'name':'low','devargs':'net_null1,no-rx=1','mtu':1279}");
	refused("underlay_address_add", "{'uplink':'up','address':'192.0.2.1/24','mtu':1279}",
		CARD_RPC_PARAMS, "mtu: 1279 is not between 1280");
	refused("underlay_address_add", "{'uplink':'up','address':'192.0.2.1/24','mtu':1401}",
		-EINVAL, "mtu: 1401 is more than the 1400 of up");
	refused("underlay_address_add", "{'uplink':'low','address':'192.0.2.1/24'}", -EINVAL,
		"mtu: 1279, a tunnel needs 1280");
	refused("underlay_address_add", "{'uplink':'low','address':'2001:db8::1/64'}", -EINVAL,
		"mtu: 1279, a tunnel needs 1280");
	result = call("underlay_show", "{}", 0);
	assert_int_equal(json_array_size(json_object_get(result, "interfaces")), 0);
	json_decref(result);
	done("underlay_address_add", "{'uplink':'up','address':'192.0.2.1/24','mtu':1280}");
	done("uplink_delete", "{'name':'low'}");
	done("uplink_delete", "{'name':'up'}");
}

static int timers(void)
{
	return event_base_get_num_events(card.loop, EVENT_BASE_COUNT_ADDED);
}

/* A card without an address of the underlay is not woken ten times a second. */
static void clock_runs_with_an_address(void **state)
{
	int before;

	(void)state;
	done("uplink_create", "{'name':'up','devargs':'net_null0,no-rx=1'}");
	before = timers();
	done("underlay_address_add", "{'uplink':'up','address':'192.0.2.1/24'}");
	done("underlay_address_add", "{'uplink':'up','address':'192.0.2.2/24'}");
	assert_int_equal(timers(), before + 1);
	done("underlay_address_delete", "{'address':'192.0.2.1'}");
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(event_base_loop(card.loop, EVLOOP_ONCE), 0);
	assert_int_equal(timers(), before + 1);
	done("underlay_address_delete", "{'address':'192.0.2.2'}");
	for (unsigned i = 0; i < 100 && timers() != before; i++)
		assert_int_equal(event_base_loop(card.loop, EVLOOP_ONCE), 0);
	assert_int_equal(timers(), before);
	done("uplink_delete", "{'name':'up'}");
}

static unsigned allocations_left;

static void *scarce(size_t size)
{
	return allocations_left && allocations_left-- ? malloc(size) : NULL;
}

/* Each allocation fails once: a list is whole, or there is none. */
static void tunnels_without_memory(void **state)
{
	json_t *result, *whole;
	int ret = -ENOMEM;

	(void)state;
	done("tunnel_create", "{'name':'gn','type':'geneve','local':'192.0.2.1',"
			      "'known_options':['0x0102:0x80','0x0103:0x81']}");
	whole = call("tunnel_list", "{}", 0);
	for (unsigned n = 0; ret; n++) {
		assert_true(n < 1000);
		result = NULL;
		allocations_left = n;
		json_set_alloc_funcs(scarce, free);
		ret = card_call_tunnel_list(&card, NULL, &result, &err);
		json_set_alloc_funcs(malloc, free);
		assert_true(ret == 0 || ret == -ENOMEM);
	}
	assert_true(json_equal(result, whole));
	json_decref(result);
	json_decref(whole);
	done("tunnel_delete", "{'name':'gn'}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_runs_with_an_address), // first: no clock runs yet
		cmocka_unit_test(mtu_of_an_interface),
		cmocka_unit_test(tunnels_without_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
