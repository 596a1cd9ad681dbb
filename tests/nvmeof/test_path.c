// SPDX-License-Identifier: Apache-2.0
/* The choice of a path: ANA states first, then the volume's policy. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numa.h"
#include "path.h"

#define PATHS 4U
#define PICKS 24U

struct bench {
	struct nof_view view;
	struct nof_ctrl ctrl[PATHS];
	struct nof_io io[PATHS];
	struct nof_qpair q[PATHS];
};

static struct bench *bench_make(enum vol_policy policy)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	atomic_init(&b->view.policy, (uint8_t)policy);
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++)
		atomic_init(&b->view.path[i].node, -1);
	for (unsigned i = 0; i < PATHS; i++) {
		b->q[i].is_up = true;
		b->io[i].q = &b->q[i];
		b->ctrl[i].io = &b->io[i];
		atomic_init(&b->view.path[i].ctrl, &b->ctrl[i]);
		atomic_init(&b->view.path[i].ana, NOF_ANA_OPTIMIZED);
	}
	return b;
}

/* How often each path is taken by a worker at this node, one command at a time. */
static void picks(struct bench *b, int node, unsigned n[PATHS])
{
	struct nof_path_pick p;

	memset(n, 0, PATHS * sizeof(n[0]));
	nof_path_init(&p, &b->view, 0, node);
	for (unsigned i = 0; i < PICKS; i++) {
		struct nof_io *io = NULL;
		int path = nof_path_pick(&p, 1000, &io);

		assert_in_range(path, 0, PATHS - 1);
		assert_ptr_equal(io, &b->io[path]);
		n[path]++;
	}
}

static void expect(struct bench *b, int node, unsigned a0, unsigned a1, unsigned a2, unsigned a3)
{
	unsigned n[PATHS];

	picks(b, node, n);
	assert_int_equal(n[0], a0);
	assert_int_equal(n[1], a1);
	assert_int_equal(n[2], a2);
	assert_int_equal(n[3], a3);
}

static void in_turn(void **state)
{
	struct bench *b = bench_make(VOL_ROUND_ROBIN);

	(void)state;
	expect(b, 0, 6, 6, 6, 6);
	atomic_store(&b->view.path[2].ana, NOF_ANA_NON_OPTIMIZED);
	atomic_store(&b->view.path[3].ana, NOF_ANA_INACCESSIBLE);
	expect(b, 0, 12, 12, 0, 0);
	b->q[0].is_up = false;
	b->io[1].q = NULL;
	expect(b, 0, 0, 0, 24, 0);
	free(b);
}

static void shortest_queue(void **state)
{
	struct bench *b = bench_make(VOL_QUEUE_DEPTH);
	struct nof_path_pick p;
	struct nof_io *io;

	(void)state;
	nof_path_init(&p, &b->view, 0, -1);
	for (unsigned i = 0; i < 2 * PATHS; i++)
		nof_path_sent(&p, (unsigned)nof_path_pick(&p, 1000, &io));
	for (unsigned i = 0; i < PATHS; i++)
		assert_int_equal(p.out[i], 2);
	nof_path_done(&p, 3);
	assert_int_equal(nof_path_pick(&p, 1000, &io), 3);
	free(b);
}

/* Those at the worker's node; all where there is none, or where nobody knows. ANA comes first. */
static void by_node(void **state)
{
	struct bench *b = bench_make(VOL_NUMA);

	(void)state;
	expect(b, 0, 6, 6, 6, 6); // nodes are not known
	atomic_store(&b->view.path[0].node, 0);
	atomic_store(&b->view.path[1].node, 1);
	atomic_store(&b->view.path[2].node, 0);
	expect(b, 0, 12, 0, 12, 0);
	expect(b, 1, 0, 24, 0, 0);
	expect(b, 2, 6, 6, 6, 6); // none of this one
	expect(b, -1, 6, 6, 6, 6); // and the path that is nowhere is not its own
	atomic_store(&b->view.path[0].ana, NOF_ANA_NON_OPTIMIZED);
	expect(b, 0, 0, 0, 24, 0);
	atomic_store(&b->view.path[2].ana, NOF_ANA_NON_OPTIMIZED);
	expect(b, 0, 0, 12, 0, 12); // far ones that are optimized
	b->q[1].is_up = b->q[3].is_up = false;
	expect(b, 0, 12, 0, 12, 0);
	free(b);
}

static void one_while_it_lasts(void **state)
{
	struct bench *b = bench_make(VOL_ACTIVE_PASSIVE);
	struct nof_path_pick p;
	struct nof_io *io;

	(void)state;
	expect(b, 0, 24, 0, 0, 0);
	nof_path_init(&p, &b->view, 0, -1);
	assert_int_equal(nof_path_pick(&p, 1000, &io), 0);
	b->q[0].is_up = false;
	assert_int_equal(nof_path_pick(&p, 1000, &io), 1);
	b->q[0].is_up = true; // it does not go back for that
	assert_int_equal(nof_path_pick(&p, 1000, &io), 1);
	atomic_store(&b->view.path[3].preferred, true);
	assert_int_equal(nof_path_pick(&p, 1000, &io), 3);
	atomic_store(&b->view.path[3].ana, NOF_ANA_NON_OPTIMIZED);
	assert_int_equal(nof_path_pick(&p, 1000, &io), 0);
	free(b);
}

/* ---- nodes of devices ---- */

static char dir[64];

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	if (!text) {
		assert_int_equal(mkdir(full, 0700), 0);
		return;
	}
	f = fopen(full, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void nodes_of_devices(void **state)
{
	char command[128];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/outboard-numa.%d", (int)getpid());
	assert_int_equal(mkdir(dir, 0700), 0);
	put("eth0", NULL);
	put("eth0/device", NULL);
	put("eth0/device/numa_node", "1\n");
	put("eth1", NULL);
	put("eth1/device", NULL);
	put("eth1/device/numa_node", "-1\n");
	put("vlan", NULL);
	put("vlan/lower_bond", NULL);
	put("bond", NULL);
	put("bond/lower_eth0", NULL);
	put("loop", NULL);
	put("loop/lower_loop", NULL);
	assert_int_equal(nof_numa_of_netdev(dir, "eth0"), 1);
	assert_int_equal(nof_numa_of_netdev(dir, "eth1"), -1);
	assert_int_equal(nof_numa_of_netdev(dir, "vlan"), 1);
	assert_int_equal(nof_numa_of_netdev(dir, "loop"), -1);
	assert_int_equal(nof_numa_of_netdev(dir, "none"), -1);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): a name of our own
}

static void what_a_target_has_not(void **state)
{
	(void)state;
	assert_true(nof_path_unsupported(NOF_SC_INVALID_OPCODE | NOF_SC_DNR));
	assert_true(nof_path_unsupported(0x4183)); // Linux' nvmet, on a file in a tmpfs
	assert_true(nof_path_unsupported(0x0183));
	assert_false(nof_path_unsupported(NOF_SC_INVALID_FIELD | NOF_SC_DNR));
	assert_false(nof_path_unsupported(NOF_SC_READ_ONLY_RANGE));
	assert_false(nof_path_unsupported(NOF_SC_SUCCESS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_turn),
		cmocka_unit_test(shortest_queue),
		cmocka_unit_test(by_node),
		cmocka_unit_test(one_while_it_lasts),
		cmocka_unit_test(nodes_of_devices),
		cmocka_unit_test(what_a_target_has_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
