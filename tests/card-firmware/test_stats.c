// SPDX-License-Identifier: Apache-2.0
/* What is counted of real front-ends, and that every metric says what it is. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "card_env.h"
#include "dpu_log.h"
#include "drv_net.h"
#include "metrics_text.h"
#include "rpc.h"

static struct card card;
static struct card_error err;
static char root[64], socket_path[96];

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/outboard-stats-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/nic", root);
	dpu_log_level_set(DPU_LOG_ERR);
	card.opt = (struct card_options){
		.name = "stats", .mem_mib = 64, .mbufs = 2047, .socket_dir = root
	};
	return card_env_open(&card);
}

static int teardown(void **state)
{
	char cmd[96];

	(void)state;
	card_env_close(&card);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd) == 0 ? 0 : -1;
}

static void create_all(void)
{
	const struct card_volume_conf vol = { .name = "vol", .block_size = 512, .num_blocks = 8 };
	const struct card_blk_conf disk = { .name = "disk", .volume = "vol", .n_queues = 1 };
	const struct card_net_conf nic = { "nic", { 2, 0, 0, 0, 0, 1 }, 1, 1500, 0, false };
	const struct card_uplink_conf up = { "up", "net_null0", 1, 0 };

	assert_int_equal(card_volume_create(&card, &vol, &err), 0);
	assert_int_equal(card_blk_create(&card, &disk, &err), 0);
	assert_int_equal(card_net_create(&card, &nic, &err), 0);
	assert_int_equal(card_uplink_create(&card, &up, &err), 0);
}

static void delete_all(void)
{
	assert_int_equal(card_uplink_delete(&card, "up", &err), 0);
	assert_int_equal(card_function_delete(&card, "nic", &err), 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_volume_delete(&card, "vol", &err), 0);
}

/* ---- a front-end on a thread of its own: 0, or the line that failed ---- */

struct guest {
	int (*run)(struct guest *g);
	struct drv_net net;
	_Atomic bool done;
	int line;
};

#define EXPECT(x)                        \
	do {                             \
		if (!(x))                \
			return __LINE__; \
	} while (0)

static void *guest_thread(void *arg)
{
	struct guest *g = arg;

	g->line = g->run(g);
	atomic_store(&g->done, true);
	return NULL;
}

static void run_guest(int (*run)(struct guest *g))
{
	static struct guest g;
	pthread_t t;

	memset(&g, 0, sizeof(g));
	g.run = run;
	assert_int_equal(pthread_create(&t, NULL, guest_thread, &g), 0);
	while (!atomic_load(&g.done))
		if (event_base_loop(card.loop, EVLOOP_NONBLOCK) < 0 || sched_yield())
			break;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(g.line, 0);
	event_base_loop(card.loop, EVLOOP_NONBLOCK);
}

/* One number of the object of this class and name; the path's steps are members. */
static json_int_t number(const char *class, const char *name, const char *member, const char *of)
{
	json_t *stats = NULL, *v;
	json_int_t n;

	assert_int_equal(card_stats_json(&card, class, name, &stats), 0);
	v = json_object_get(json_array_get(json_object_get(stats, class), 0), member);
	if (of)
		v = json_object_get(v, of);
	assert_true(json_is_integer(v));
	n = json_integer_value(v);
	json_decref(stats);
	return n;
}

/* ---- refused messages, by reason ---- */

/* A message that is refused and answered so; the session goes on. */
static bool refused(struct drv_vu *vu, uint32_t request, struct drv_msg *m, uint32_t size,
	const int *fds, unsigned n_fds)
{
	return drv_vu_call(vu, (enum drv_req)request, m, size, fds, n_fds) == -EREMOTEIO;
}

static int send_refused(struct guest *g)
{
	const struct drv_net_conf c = { .path = socket_path, .pf_off = DRV_BIT(DRV_PF_STATUS) };
	struct drv_vu *vu = &g->net.vu;
	struct drv_msg m = { 0 };
	uint8_t header[12] = { DRV_GET_FEATURES, 0, 0, 0, 3 }; // version 3
	int fd;

	EXPECT(drv_net_open(&g->net, &c) == 0);
	EXPECT(refused(vu, 77, &m, 0, NULL, 0)); // no such request
	EXPECT(refused(vu, DRV_SET_FEATURES, &m, 4, NULL, 0)); // half a number
	fd = memfd_create("guest", 0);
	EXPECT(fd >= 0 && ftruncate(fd, 4096) == 0);
	EXPECT(refused(vu, DRV_SET_OWNER, &m, 0, &fd, 1));
	EXPECT(refused(vu, DRV_SET_STATUS, &m, 8, NULL, 0));
	m.p.state.index = 0;
	m.p.state.num = 64;
	EXPECT(refused(vu, DRV_SET_VRING_NUM, &m, 8, NULL, 0)); // while it runs
	memset(&m, 0, sizeof(m));
	m.p.state.index = 99;
	EXPECT(refused(vu, DRV_SET_VRING_ENABLE, &m, 8, NULL, 0));
	memset(&m, 0, sizeof(m));
	m.p.slot.r = (struct drv_wire_region){ .gpa = 1ull << 40, .size = 1ull << 30 };
	EXPECT(refused(vu, DRV_ADD_MEM_REG, &m, 40, &fd, 1)); // larger than its file
	memset(&m, 0, sizeof(m));
	m.p.addr.desc = m.p.addr.used = m.p.addr.avail = 64; // not the guest's memory
	EXPECT(refused(vu, DRV_SET_VRING_ADDR, &m, 40, NULL, 0));
	EXPECT(drv_vu_send_raw(vu, header, sizeof(header), NULL, 0) == 0);
	EXPECT(drv_vu_recv(vu, &m, DRV_TIMEOUT_MS) == -EPIPE);
	close(fd);
	drv_net_close(&g->net);
	return 0;
}

static void refusals_by_reason(void **state)
{
	static const struct {
		const char *reason;
		json_int_t n;
	} want[] = {
		{ "header", 1 },
		{ "unknown", 1 },
		{ "size", 1 },
		{ "fds", 1 },
		{ "not_negotiated", 1 },
		{ "state", 1 },
		{ "value", 1 },
		{ "memory", 1 },
		{ "ring", 1 },
		{ "resources", 0 },
	};

	(void)state;
	assert_int_equal(ARRAY_LEN(want), VHO_VU_REJECT_COUNT);
	create_all();
	run_guest(send_refused);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		print_message("%s\n", want[i].reason);
		assert_int_equal(
			number("net", "nic", "rejected_messages", want[i].reason), want[i].n);
	}
	assert_int_equal(number("net", "nic", "dropped_sessions", NULL), 1);
	assert_int_equal(number("disk", "disk", "rejected_messages", "unknown"), 0);
	delete_all();
}

/* ---- control commands ---- */

static int send_commands(struct guest *g)
{
	const struct drv_net_conf c = {
		.path = socket_path, .ctrl = true, .more = DRV_BIT(VIRTIO_NET_F_CTRL_RX)
	};
	const uint8_t on = 1, odd = 7;

	EXPECT(drv_net_open(&g->net, &c) == 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(drv_net_ctrl(&g->net, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1,
			       DRV_TIMEOUT_MS) == VIRTIO_NET_OK);
	EXPECT(drv_net_ctrl(&g->net, 200, 0, &odd, 1, DRV_TIMEOUT_MS) == VIRTIO_NET_ERR);
	drv_net_close(&g->net);
	return 0;
}

static void control_commands(void **state)
{
	(void)state;
	create_all();
	run_guest(send_commands);
	assert_int_equal(number("net", "nic", "ctrl_commands", NULL), 3);
	assert_int_equal(number("net", "nic", "ctrl_refused", NULL), 1);
	delete_all();
}

/* ---- metrics ---- */

/* Each metric has its type and its help, in front of its samples, and no reason lacks a text. */
static void every_metric_has_help(void **state)
{
	json_t *stats = NULL;
	char *text, *line, *rest, family[128] = "";
	unsigned types = 0;

	(void)state;
	create_all();
	assert_int_equal(card_stats_json(&card, NULL, NULL, &stats), 0);
	text = card_metrics_text("stats", stats);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char want[160];

		if (sscanf(line, "# TYPE %127s", family) != 1)
			continue;
		types++;
		snprintf(want, sizeof(want), "# HELP %s ", family);
		line = strtok_r(NULL, "\n", &rest);
		if (strncmp(line, want, strlen(want)) != 0)
			fail_msg("%s has no help", family);
		if (strstr(line, "by reason") && !strstr(line, "by reason: "))
			fail_msg("%s: the reasons have no texts", family);
	}
	assert_true(types > 80);
	free(text);
	json_decref(stats);
	delete_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals_by_reason),
		cmocka_unit_test(control_commands),
		cmocka_unit_test(every_metric_has_help),
	};

	return cmocka_run_group_tests_name("statistics", tests, setup, teardown);
}
