// SPDX-License-Identifier: Apache-2.0
/* An arm64 guest's device tree, read as a kernel does: by its header, token by token. */
#include "fdt.h"

#include <stdio.h>
#include <string.h>

#include "dpu_wire.h"
#include "layout.h"
#include "machine.h"
#include "test.h"

static uint8_t mem[1 << 20];

struct seen {
	unsigned nodes, depth, cpus;
	uint8_t memory[16];
	char bootargs[HV_CMDLINE_MAX + 1];
	uint64_t initrd;
};

static void take(struct seen *s, const char *node, const char *name, const uint8_t *v, uint32_t len)
{
	if (strncmp(node, "memory@", 7) == 0 && strcmp(name, "reg") == 0) {
		assert_int_equal(len, 16);
		memcpy(s->memory, v, 16);
	} else if (strncmp(node, "cpu@", 4) == 0 && strcmp(name, "reg") == 0) {
		unsigned unit;

		assert_int_equal(sscanf(node, "cpu@%x", &unit), 1);
		assert_int_equal(dpu_be32_load(v), unit);
		assert_int_equal(unit, s->cpus / 16 * 256 + s->cpus % 16);
		s->cpus++;
	} else if (strcmp(name, "bootargs") == 0) {
		assert_true(len <= sizeof(s->bootargs) && v[len - 1] == 0);
		memcpy(s->bootargs, v, len);
	} else if (strcmp(name, "linux,initrd-end") == 0) {
		s->initrd = dpu_be64_load(v);
	}
}

static void walk(const uint8_t *t, struct seen *s)
{
	uint32_t total = dpu_be32_load(t + 4), at = dpu_be32_load(t + 8);
	uint32_t strings = dpu_be32_load(t + 12), end = at + dpu_be32_load(t + 36);
	const char *node = "";

	assert_int_equal(dpu_be32_load(t), 0xd00dfeed);
	assert_true(dpu_is_zero(t + dpu_be32_load(t + 16), 16)); // no reservations
	assert_int_equal(strings + dpu_be32_load(t + 32), total);
	assert_true(total <= HV_FDT_LEN && end <= strings && at % 4 == 0);
	for (;;) {
		uint32_t token = dpu_be32_load(t + at), len;

		at += 4;
		if (token == 9)
			break;
		if (token == 1) {
			node = (const char *)t + at;
			at += (uint32_t)(strlen(node) + 4) & ~3u;
			s->nodes++;
			s->depth++;
		} else if (token == 2) {
			assert_true(s->depth-- > 0);
		} else {
			assert_int_equal(token, 3);
			len = dpu_be32_load(t + at);
			take(s, node, (const char *)t + strings + dpu_be32_load(t + at + 4),
				t + at + 8, len);
			at += 8 + ((len + 3) & ~3u);
		}
		assert_true(at < end);
	}
	assert_int_equal(at, end);
	assert_int_equal(s->depth, 0);
}

static const struct row {
	const char *name;
	struct hv_fdt_conf conf;
} rows[] = {
	{ "one CPU", { .cmdline = "console=ttyS0", .vcpus = 1 } },
	{ "as many as there can be", { .cmdline = "",
					     .vcpus = HV_VCPUS_MAX,
					     .initrd = 1ull << 31,
					     .initrd_len = 4097 } },
};

static void tree(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm = { .slots = { { .len = sizeof(mem), .host = mem } }, .n_slots = 1 };
	struct hv_vm none = { .n_slots = 0 };
	char longest[HV_CMDLINE_MAX + 1];
	struct hv_fdt_conf c = r->conf;
	struct seen s = { .nodes = 0 };

	memset(mem, 0, sizeof(mem));
	memset(longest, 'a', HV_CMDLINE_MAX);
	longest[HV_CMDLINE_MAX] = 0;
	if (c.initrd_len)
		c.cmdline = longest;
	assert_int_not_equal(hv_fdt_write(&none, &c), 0);
	assert_int_equal(hv_fdt_write(&vm, &c), 0);
	walk(mem + HV_FDT, &s);
	assert_int_equal(s.cpus, c.vcpus);
	assert_int_equal(s.nodes, 1 + 1 + 1 + c.vcpus + 5);
	assert_string_equal(s.bootargs, c.cmdline);
	assert_int_equal(dpu_be64_load(s.memory + 8), sizeof(mem));
	assert_int_equal(s.initrd, c.initrd + c.initrd_len);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(rows, tree, failed);
	return failed;
}
