// SPDX-License-Identifier: Apache-2.0
/* A flattened device tree, its strings behind its structure. */
#include "fdt.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_wire.h"
#include "layout.h"

#define MAGIC 0xd00dfeedu
#define HEADER 40u
#define STRUCTURE 56u // behind the header and an empty list of reservations
#define STRINGS 0xf000u // bytes into it
#define BEGIN_NODE 1u
#define END_NODE 2u
#define PROP 3u
#define END 9u

#define GIC 1u // phandle
#define SPI 0u // kinds of interrupts
#define PPI 1u
#define EDGE 1u
#define LEVEL 4u

struct fdt {
	uint8_t *at;
	uint32_t len, strings_len; // 64 CPUs with 130 bytes each and the rest are never too much
};

static void put(struct fdt *f, uint32_t v)
{
	dpu_be32_store(f->at + f->len, v);
	f->len += 4;
}

static void put_bytes(struct fdt *f, const void *bytes, size_t len)
{
	assert(f->len + len + 16 < STRINGS);
	memcpy(f->at + f->len, bytes, len);
	f->len += (uint32_t)(len + 3) & ~3u; // the memory is zero
}

static void begin(struct fdt *f, const char *name)
{
	put(f, BEGIN_NODE);
	put_bytes(f, name, strlen(name) + 1);
}

static void end(struct fdt *f)
{
	put(f, END_NODE);
}

/* Each name is there once for each use: there are few. */
static void prop(struct fdt *f, const char *name, const void *value, size_t len)
{
	size_t n = strlen(name) + 1;

	assert(STRINGS + f->strings_len + n <= HV_FDT_LEN);
	put(f, PROP);
	put(f, (uint32_t)len);
	put(f, f->strings_len);
	put_bytes(f, value, len);
	memcpy(f->at + STRINGS + f->strings_len, name, n);
	f->strings_len += (uint32_t)n;
}

static void prop_text(struct fdt *f, const char *name, const char *text)
{
	prop(f, name, text, strlen(text) + 1);
}

static void prop_cells(struct fdt *f, const char *name, const uint32_t *cells, unsigned n)
{
	dpu_be32 c[16];

	assert(n <= sizeof(c) / sizeof(c[0]));
	for (unsigned i = 0; i < n; i++)
		c[i] = dpu_be32_put(cells[i]);
	prop(f, name, c, n * sizeof(c[0]));
}

#define CELLS(f, name, ...)                              \
	prop_cells(f, name, (uint32_t[]){ __VA_ARGS__ }, \
		sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
#define HI(v) ((uint32_t)((uint64_t)(v) >> 32))
#define LO(v) ((uint32_t)(v))

static_assert(
	HV_GIC_DIST == 0xe0200000 && HV_UART == 0xe0102000, "nodes have these in their names");

static void put_memory(struct fdt *f, const struct hv_vm *vm)
{
	char name[32];

	for (unsigned i = 0; i < vm->n_slots; i++) {
		const struct hv_slot *s = &vm->slots[i];

		snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)s->gpa);
		begin(f, name);
		prop_text(f, "device_type", "memory");
		CELLS(f, "reg", HI(s->gpa), LO(s->gpa), HI(s->len), LO(s->len));
		end(f);
	}
}

/* Affinity as KVM gives it: 16 CPUs at the lowest level. */
static void put_cpus(struct fdt *f, unsigned n)
{
	char name[16];

	begin(f, "cpus");
	CELLS(f, "#address-cells", 1);
	CELLS(f, "#size-cells", 0);
	for (unsigned i = 0; i < n; i++) {
		uint32_t mpidr = i / 16 << 8 | i % 16;

		snprintf(name, sizeof(name), "cpu@%x", mpidr);
		begin(f, name);
		prop_text(f, "device_type", "cpu");
		prop_text(f, "compatible", "arm,armv8");
		prop_text(f, "enable-method", "psci");
		CELLS(f, "reg", mpidr);
		end(f);
	}
	end(f);
}

static void put_devices(struct fdt *f, unsigned vcpus)
{
	begin(f, "psci");
	prop_text(f, "compatible", "arm,psci-0.2");
	prop_text(f, "method", "hvc");
	end(f);
	begin(f, "intc@e0200000");
	prop_text(f, "compatible", "arm,gic-v3");
	CELLS(f, "#address-cells", 0);
	CELLS(f, "#interrupt-cells", 3);
	prop(f, "interrupt-controller", "", 0);
	CELLS(f, "phandle", GIC);
	CELLS(f, "reg", HI(HV_GIC_DIST), LO(HV_GIC_DIST), 0, 0x10000, HI(HV_GIC_REDIST),
		LO(HV_GIC_REDIST), 0, 0x20000 * vcpus);
	end(f);
	begin(f, "timer");
	prop_text(f, "compatible", "arm,armv8-timer");
	prop(f, "always-on", "", 0);
	CELLS(f, "interrupts", PPI, 13, LEVEL, PPI, 14, LEVEL, PPI, 11, LEVEL, PPI, 10, LEVEL);
	end(f);
	begin(f, "serial@e0102000");
	prop_text(f, "compatible", "ns16550a");
	CELLS(f, "reg", HI(HV_UART), LO(HV_UART), 0, 8);
	CELLS(f, "clock-frequency", 1843200);
	CELLS(f, "interrupts", SPI, HV_GSI_SERIAL, EDGE);
	end(f);
}

static void put_chosen(struct fdt *f, const struct hv_fdt_conf *conf)
{
	uint64_t stop = conf->initrd + conf->initrd_len;

	begin(f, "chosen");
	prop_text(f, "bootargs", conf->cmdline);
	prop_text(f, "stdout-path", "/serial@e0102000");
	if (conf->initrd_len) {
		CELLS(f, "linux,initrd-start", HI(conf->initrd), LO(conf->initrd));
		CELLS(f, "linux,initrd-end", HI(stop), LO(stop));
	}
	end(f);
}

int hv_fdt_write(struct hv_vm *vm, const struct hv_fdt_conf *conf)
{
	struct fdt f = { .at = hv_vm_at(vm, HV_FDT, HV_FDT_LEN), .len = STRUCTURE };

	if (!f.at)
		return -EFAULT;
	begin(&f, "");
	prop_text(&f, "compatible", "linux,dummy-virt");
	CELLS(&f, "#address-cells", 2);
	CELLS(&f, "#size-cells", 2);
	CELLS(&f, "interrupt-parent", GIC);
	put_memory(&f, vm);
	put_cpus(&f, conf->vcpus);
	put_devices(&f, conf->vcpus);
	put_chosen(&f, conf);
	end(&f);
	put(&f, END);

	const uint32_t header[] = { MAGIC, STRINGS + f.strings_len, STRUCTURE, STRINGS, HEADER, 17,
		16, 0, f.strings_len, f.len - STRUCTURE };
	for (unsigned i = 0; i < HEADER / 4; i++)
		dpu_be32_store(f.at + 4ul * i, header[i]);
	return 0;
}
