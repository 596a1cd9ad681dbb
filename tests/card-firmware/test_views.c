// SPDX-License-Identifier: Apache-2.0
/*
 * What operators see of the switch at work, and that they see it: the busiest flows, what workers
 * spend cycles on, a control thread that packets do not keep to themselves.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "card_env.h"
#include "dpu_log.h"
#include "fake_port.h"
#include "flow.h"
#include "upcall.h"

static struct card card;
static struct card_error err;

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	card.opt = (struct card_options){
		.name = "views", .mem_mib = 96, .mbufs = 16383, .socket_dir = "/tmp"
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

static json_int_t number(const json_t *o, const char *member)
{
	json_t *v = json_object_get(o, member);

	if (!json_is_integer(v))
		fail_msg("%s is no number", member);
	return json_integer_value(v);
}

/* ---- flow_top ---- */

static uint64_t put(unsigned tos)
{
	char params[128];

	(void)snprintf(params, sizeof(params),
		"{'flow':'in_port(%u),eth_type(0x0800),ipv4(tos=%u)','actions':'drop'}",
		1 + tos / 256, tos % 256);
	json_t *o = call("flow_add", params, 0);
	uint64_t id = (uint64_t)number(o, "id");

	json_decref(o);
	return id;
}

static void carry(uint64_t id, uint64_t packets, uint64_t bytes)
{
	odp_flow_count_packets(card.dp->worker[0], odp_flow_by_id(card.dp, id), packets, bytes);
}

static json_int_t begin(void)
{
	json_t *o = call("flow_top", "{'interval_ms':10}", 0);
	json_int_t sample = number(o, "sample");

	assert_true(json_is_false(json_object_get(o, "ready")));
	assert_true(number(o, "wait_ms") > 0);
	assert_null(json_object_get(o, "flows"));
	json_decref(o);
	return sample;
}

static json_t *ask(json_int_t sample, const char *more)
{
	char params[128];

	(void)snprintf(params, sizeof(params), "{'sample':%d%s}", (int)sample, more);
	return call("flow_top", params, 0);
}

/* Its result. *turns: of the loop until it was there. */
static json_t *result(json_int_t sample, const char *more, unsigned *turns)
{
	for (*turns = 0;; ++*turns) {
		json_t *o = ask(sample, more);

		if (json_is_true(json_object_get(o, "ready")))
			return o;
		json_decref(o);
		event_base_loop(card.loop, EVLOOP_ONCE);
	}
}

static void assert_flow(const json_t *o, size_t i, uint64_t id)
{
	const json_t *f = json_array_get(json_object_get(o, "flows"), i);

	assert_int_equal(number(f, "id"), id);
	assert_string_equal(json_string_value(json_object_get(f, "origin")), "operator");
	assert_string_equal(json_string_value(json_object_get(f, "actions")), "drop");
	assert_non_null(strstr(json_string_value(json_object_get(f, "flow")), "ipv4(tos="));
	assert_true(number(f, "packets_per_s") > 0);
	assert_true(number(f, "bytes_per_s") > 0);
}

static void busiest_flows(void **state)
{
	uint64_t small = put(1), large = put(2), quiet = put(3), gone = put(4);
	unsigned turns;

	(void)state;
	carry(quiet, 1000000, 1000000);
	json_int_t sample = begin();

	event_base_loop(card.loop, EVLOOP_ONCE); // the first walk
	assert_int_equal(begin(), sample); // who asks meanwhile takes part
	carry(small, 2000, 128000);
	carry(large, 1000, 1500000);
	carry(gone, 9000, 9000000);
	json_decref(result(sample, "", &turns));
	json_decref(call("flow_del", "{'flow':'in_port(1),eth_type(0x0800),ipv4(tos=4)'}", 0));

	json_t *o = ask(sample, "");

	assert_int_equal(json_array_size(json_object_get(o, "flows")), 2);
	assert_int_equal(number(o, "interval_ms"), 10);
	assert_flow(o, 0, small);
	assert_flow(o, 1, large);
	json_decref(o);
	o = ask(sample, ",'by':'bytes','n':1");
	assert_int_equal(json_array_size(json_object_get(o, "flows")), 1);
	assert_flow(o, 0, large);
	json_decref(o);
	json_decref(call("flow_flush", "{}", 0));
}

/* Two results are there to be fetched, however many are measured. */
static void results_are_kept(void **state)
{
	json_int_t first = begin();
	unsigned turns;

	(void)state;
	json_decref(result(first, "", &turns));
	json_int_t second = begin();

	assert_int_equal(second, first + 1);
	json_decref(ask(first, ""));
	json_decref(result(second, "", &turns));
	assert_int_equal(begin(), second + 1);
	json_decref(ask(second, ""));
	char params[64];

	(void)snprintf(params, sizeof(params), "{'sample':%d}", (int)first);
	assert_null(call("flow_top", params, -ENOENT));
	assert_null(call("flow_top", "{'sample':1000}", -ENOENT));
	assert_null(call("flow_top", "{'by':'colour'}", -EINVAL));
	json_decref(result(second + 1, "", &turns));
}

/* Between two steps the control thread has time for what else there is. */
static void steps_let_others_in(void **state)
{
	enum { FLOWS = 6000 }; // in two chunks
	unsigned turns;

	(void)state;
	for (unsigned i = 0; i < FLOWS; i++)
		put(i);
	json_decref(result(begin(), "", &turns));
	assert_true(turns >= 2 * 2 * FLOW_CHUNK / 1024);
	begin(); // and one may run when the card ends
	event_base_loop(card.loop, EVLOOP_ONCE);
}

/* ---- upcalls ---- */

#define PORTS 36u // whose rings together hold more than control takes in two turns

static unsigned waiting(void)
{
	unsigned n = 0;

	for (uint32_t no = 0; no < card.dp->port_top; no++) {
		struct odp_port *p = odp_port_by_no(card.dp, no);

		n += p ? rte_ring_count(p->upcalls) : 0;
	}
	return n;
}

static void miss(struct odp_worker *w, struct odp_port *port)
{
	struct odp_from from = { .in = odp_pw(w, odp_port_no(port)) };
	struct rte_mbuf *m;

	for (unsigned i = 0; i < UPCALL_RING - 1; i++) {
		m = rte_pktmbuf_alloc(card.pool);
		assert_non_null(m);
		fake_frame((uint8_t *)rte_pktmbuf_append(m, 64), 2, (uint8_t)(i % 8), 0);
		odp_upcall_put(w, &from, ODP_UPCALL_MISS, &m, 1);
	}
}

/* Somebody who speaks up while control is at it, and how many packets wait when he is heard. */
struct other {
	int fd[2];
	int left; // -1: not heard yet
};

static void speak(evutil_socket_t fd, short what, void *arg)
{
	struct other *o = arg;

	(void)fd;
	(void)what;
	assert_int_equal(write(o->fd[1], "x", 1), 1);
}

static void hear(evutil_socket_t fd, short what, void *arg)
{
	struct other *o = arg;
	char c;

	(void)what;
	assert_int_equal(read(fd, &c, 1), 1);
	o->left = (int)waiting();
}

/* However many packets wait for a decision, others have their turn before the last of them. */
static void upcalls_let_others_in(void **state)
{
	static struct fake_port port[PORTS];
	struct odp_worker *w = card.dp->worker[0];
	struct other o = { .left = -1 };
	struct event *speaks, *heard;
	char name[16];

	(void)state;
	assert_int_equal(pipe(o.fd), 0);
	speaks = event_new(card.loop, -1, 0, speak, &o);
	heard = event_new(card.loop, o.fd[0], EV_READ, hear, &o);
	assert_true(speaks && heard && event_add(heard, NULL) == 0);
	for (unsigned i = 0; i < PORTS; i++) {
		(void)snprintf(name, sizeof(name), "p%u", i);
		fake_port_add(&port[i], card.dp, NULL, name);
		miss(w, port[i].port);
	}
	assert_int_equal(waiting(), PORTS * (UPCALL_RING - 1));
	odp_upcall_signal(w);
	event_active(speaks, EV_READ, 0); // before control looks at its packets
	while (waiting() || o.left < 0)
		event_base_loop(card.loop, EVLOOP_ONCE);
	assert_true(o.left > 0);
	for (unsigned i = 0; i < PORTS; i++)
		fake_port_del(&port[i], NULL);
	event_free(speaks);
	event_free(heard);
	close(o.fd[0]);
	close(o.fd[1]);
}

/* ---- worker_perf ---- */

static double real(const json_t *o, const char *group, const char *member)
{
	const json_t *v = json_object_get(group ? json_object_get(o, group) : o, member);

	if (!json_is_real(v))
		fail_msg("%s is no real number", member);
	return json_real_value(v);
}

static void cycles_and_shares(void **state)
{
	struct odp_worker *w = card.dp->worker[0];
	json_t *all = call("worker_perf", "{}", 0), *o;

	(void)state;
	assert_int_equal(json_array_size(all), card_workers_count(card.workers));
	o = json_array_get(all, 0);
	assert_true(real(o, NULL, "cycles_per_packet") == 0);
	assert_true(real(o, "hits_percent", "emc") == 0);
	assert_true(number(o, "idle_cycles") > 0);
	json_decref(all);
	dpu_counter_add(&w->fused_hits, 600);
	dpu_counter_add(&w->emc_hits, 250);
	dpu_counter_add(&w->mega_hits, 149);
	dpu_counter_add(&w->misses, 1);
	dpu_counter_add(&w->stages.packets, 30);
	dpu_counter_add(&w->stages.cycles[ODP_STAGE_RX], 1000);
	dpu_counter_add(&w->stages.cycles[ODP_STAGE_LOOKUP], 2000);
	all = call("worker_perf", "{'worker':0}", 0);
	assert_int_equal(json_array_size(all), 1);
	o = json_array_get(all, 0);
	assert_int_equal(number(o, "lookups"), 1000);
	assert_true(real(o, "hits_percent", "fused") == 60);
	assert_true(real(o, "hits_percent", "emc") == 25);
	assert_true(real(o, "hits_percent", "mega") == 14.9);
	assert_true(real(o, "hits_percent", "none") == 0.1);
	assert_true(real(o, NULL, "cycles_per_packet") == 100);
	assert_true(real(o, "cycles", "rx") == 33.3);
	assert_true(real(o, "cycles", "lookup") == 66.7);
	assert_true(real(o, "cycles", "tx") == 0);
	json_decref(all);
	assert_null(call("worker_perf", "{'worker':100}", -ENODEV));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(busiest_flows),
		cmocka_unit_test(results_are_kept),
		cmocka_unit_test(steps_let_others_in),
		cmocka_unit_test(cycles_and_shares),
		cmocka_unit_test(upcalls_let_others_in),
	};

	return cmocka_run_group_tests_name("views", tests, setup, teardown);
}
