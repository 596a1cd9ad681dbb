// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv conformance: the ring matrix of any vhost-user back-end as a table. Every cell is a session
 * of its own with verified traffic; the rows below it try one rule of the specification each.
 */
#include "vdrv_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "drv_vu.h"
#include "vdrv.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint32_t sizes[] = { 1, 2, 3, 7, 8, 100, 256, 1000, 1024, 4096, 32768 };

struct tally {
	unsigned passed, failed, not_offered, advice;
};

static int (*const cell_of[])(const struct conf_env *, const struct conf_cell *) = {
	conf_blk_cell,
	conf_net_cell,
};

static const char *word(int ret, bool advice)
{
	if (ret < 0)
		return advice ? "advice" : "FAIL";
	return ret == CONF_PASS ? "pass" : ret == CONF_NOT_OFFERED ? "n/o" : "-";
}

static void count(struct tally *t, int ret, bool advice)
{
	if (ret < 0 && advice)
		t->advice++;
	else if (ret < 0)
		t->failed++;
	else if (ret == CONF_PASS)
		t->passed++;
	else if (ret == CONF_NOT_OFFERED)
		t->not_offered++;
}

int conf_offered(const struct conf_env *env, uint64_t *features)
{
	struct drv_vu_conf c = { .path = env->socket, .want = DRV_BIT(VIRTIO_F_VERSION_1) };
	struct drv_vu vu = { .fd = -1, .inflight_fd = -1, .backend_fd = -1 };
	struct drv_mem mem;
	int ret = drv_mem_init(&mem, 1, 1 << 20);

	if (ret)
		return ret;
	ret = drv_vu_open(&vu, &c, &mem);
	*features = vu.offered;
	drv_vu_close(&vu);
	drv_mem_fini(&mem);
	return ret;
}

static void print_offered(uint64_t f)
{
	static const struct {
		unsigned bit;
		const char *name;
	} ring[] = {
		{ VIRTIO_F_VERSION_1, "version-1" },
		{ VIRTIO_F_RING_PACKED, "packed" },
		{ VIRTIO_RING_F_INDIRECT_DESC, "indirect" },
		{ VIRTIO_RING_F_EVENT_IDX, "event-index" },
		{ VIRTIO_F_IN_ORDER, "in-order" },
		{ 38, "notification-data" },
		{ VIRTIO_F_RING_RESET, "ring-reset" },
		{ VIRTIO_F_ACCESS_PLATFORM, "access-platform" },
	};

	printf("offers:");
	for (unsigned i = 0; i < COUNT(ring); i++)
		if (f & DRV_BIT(ring[i].bit))
			printf(" %s", ring[i].name);
	printf("\n\n");
}

/* Sections that a matrix row rests on, beside those of the layout itself. */
static void matrix_sections(const struct conf_cell *c, char *to, size_t size)
{
	snprintf(to, size, "%s%s%s%s", c->packed ? "2.8" : "2.7",
		c->indirect ? c->packed ? ", 2.8.7" : ", 2.7.5.3" : "",
		c->event_idx ? c->packed ? ", 2.8.10" : ", 2.7.7, 2.7.10" : "",
		c->in_order ? c->packed ? ", 2.8.8" : ", 2.7.9" : "");
}

static void matrix(const struct conf_env *env, bool net, struct tally *t)
{
	char sections[64];

	printf("%-6s %-8s %-11s %-8s |", "ring", "indirect", "event-index", "in-order");
	for (unsigned i = 0; i < COUNT(sizes); i++)
		printf(" %5u", sizes[i]);
	printf(" | section\n");
	for (unsigned row = 0; row < 16; row++) {
		struct conf_cell c = { .packed = row & 8,
			.indirect = row & 1,
			.event_idx = row & 2,
			.in_order = row & 4 };

		printf("%-6s %-8s %-11s %-8s |", c.packed ? "packed" : "split",
			c.indirect ? "yes" : "-", c.event_idx ? "yes" : "-",
			c.in_order ? "yes" : "-");
		for (unsigned i = 0; i < COUNT(sizes); i++) {
			int ret = CONF_NO_CASE;

			c.size = sizes[i];
			if (c.packed || !(c.size & (c.size - 1)))
				ret = cell_of[net](env, &c);
			count(t, ret, false);
			printf(" %5s", word(ret, false));
			fflush(stdout);
			if (ret < 0)
				fprintf(stderr, "%s ring of %u: %s\n",
					c.packed ? "packed" : "split", c.size, strerror(-ret));
		}
		matrix_sections(&c, sections, sizeof(sections));
		printf(" | %s\n", sections);
	}
	printf("\n");
}

static void rows(const struct conf_env *env, const struct conf_row *row, struct tally *t)
{
	printf("%-52s %-8s %-14s %-8s %s\n", "rule", "split", "section", "packed", "section");
	for (; row->name; row++) {
		const char *const section[] = { row->split, row->packed };
		int ret[2];

		for (unsigned packed = 0; packed < 2; packed++) {
			ret[packed] = section[packed] ? row->run(env, row, packed) : CONF_NO_CASE;
			count(t, ret[packed], row->advice);
		}
		printf("%-52s %-8s %-14s %-8s %s\n", row->name, word(ret[0], row->advice),
			row->split ? row->split : "", word(ret[1], row->advice),
			row->packed ? row->packed : "");
		fflush(stdout);
		for (unsigned packed = 0; packed < 2; packed++)
			if (ret[packed] < 0)
				fprintf(stderr, "%s, %s: %s\n", row->name,
					packed ? "packed" : "split", strerror(-ret[packed]));
	}
	printf("\n");
}

int vdrv_conformance(int argc, char **argv)
{
	struct conf_env env = { 0 };
	const char *type = "blk";
	struct tally t = { 0 };
	uint64_t offered;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &env.socket, "PATH", "back-end's vhost-user socket", 0,
			0 },
		{ "peer", DPU_OPT_STR, &env.peer, "PATH", "net: where its frames come out", 0, 0 },
		{ "type", DPU_OPT_STR, &type, "TYPE", "net, or blk: its first MiB is overwritten",
			0, 0 },
		{ "brief", DPU_OPT_FLAG, &env.brief, NULL, "do not fill large rings", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv conformance",
		"Try each ring layout with each feature and size, verify the traffic, print a "
		"table",
		"--socket PATH --type TYPE [--peer PATH] [--brief]", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);
	bool net = !strcmp(type, "net");

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!env.socket || (net && !env.peer) || (!net && strcmp(type, "blk") != 0)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	ret = conf_offered(&env, &offered);
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", env.socket, strerror(-ret));
		return 1;
	}
	printf("virtio-%s at %s, sections of VIRTIO 1.3\n", type, env.socket);
	print_offered(offered);
	matrix(&env, net, &t);
	rows(&env, net ? conf_net_rows : conf_blk_rows, &t);
	printf("n/o: not offered. -: no such case. advice: the specification says \"should\".\n"
	       "%u passed, %u failed, %u not offered, %u against advice\n",
		t.passed, t.failed, t.not_offered, t.advice);
	return t.failed || !t.passed;
}
