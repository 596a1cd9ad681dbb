// SPDX-License-Identifier: Apache-2.0
/* Messages and doorbells in this machine's KVM: GSIs are taken and given back, routes change. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irq.h"
#include "lapic.h"
#include "layout.h"
#include "test.h"

#define MSI_ADDR 0xfee00000

static const struct row {
	const char *name;
	bool split;
} rows[] = { { "all of it in KVM", false }, { "local APICs only", true } };

static void routes(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm;
	uint64_t n;

	assert_int_equal(hv_vm_init(&vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&vm, r->split), 0);
	hv_irq_line(&vm, 5, true);

	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 1), -EINVAL); // nobody's
	assert_int_equal(hv_irq_msi_get(&vm, 0), -EINVAL);
	assert_int_equal(hv_irq_msi_get(&vm, HV_IRQ_MSIS + 1), -ENOSPC);
	assert_int_equal(hv_irq_msi_get(&vm, 3), 24);
	assert_int_equal(hv_irq_msi_get(&vm, HV_IRQ_MSIS - 3), 27);
	assert_int_equal(hv_irq_msi_get(&vm, 1), -ENOSPC);
	hv_irq_msi_put(&vm, 30, 2);
	assert_int_equal(hv_irq_msi_get(&vm, 3), -ENOSPC);
	assert_int_equal(hv_irq_msi_get(&vm, 2), 30);

	n = hv_irq_updates(&vm);
	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_msi_route(&vm, 26, MSI_ADDR, 0x32), 0);
	assert_int_equal(hv_irq_updates(&vm), n + 2);
	assert_int_equal(hv_irq_msi_route(&vm, 24, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_updates(&vm), n + 2); // nothing new
	// KVM refuses the table, and the route stays as it was
	assert_int_equal(hv_irq_msi_route(&vm, 23, MSI_ADDR, 0x31), -EINVAL);
	hv_irq_line(&vm, 5, false);
	hv_irq_msi_put(&vm, 24, 1);
	assert_int_equal(hv_irq_updates(&vm), n + 3);
	hv_irq_msi_put(&vm, 25, 1); // had no route
	assert_int_equal(hv_irq_updates(&vm), n + 3);
	hv_irq_fini(&vm);
	hv_vm_fini(&vm);
}

static void eventfds(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm;
	uint64_t n = 1;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), gsi;

	assert_int_equal(hv_vm_init(&vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&vm, r->split), 0);
	gsi = hv_irq_msi_get(&vm, 1);
	assert_int_equal(hv_irq_msi_route(&vm, (unsigned)gsi, MSI_ADDR, 0x31), 0);
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, file), -EINVAL);
	// What was written before is not lost, and is KVM's from then on
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, fd), 0);
	assert_int_equal(hv_irq_attach(&vm, (unsigned)gsi, fd), -EBUSY);
	assert_int_equal(hv_irq_detach(&vm, (unsigned)gsi, fd), 0);
	assert_int_equal(read(fd, &n, sizeof(n)), -1);

	assert_int_equal(hv_irq_doorbell(&vm, 0xc0000000, fd), 0);
	assert_int_equal(hv_irq_doorbell(&vm, 0xc0000000, fd), -EEXIST);
	assert_int_equal(hv_irq_no_doorbell(&vm, 0xc0000004, fd), -ENOENT);
	assert_int_equal(hv_irq_no_doorbell(&vm, 0xc0000000, fd), 0);
	hv_irq_fini(&vm);
	hv_vm_fini(&vm);
	close(fd);
	close(file);
}

/* ---- the I/O APIC of a split irqchip, as a driver and KVM's local APIC see it ---- */

#define PIN 9
#define LEVEL 0x8000u
#define MASKED 0x10000u
#define IN_SERVICE 0x4000u

static void put(struct hv_vm *vm, uint64_t off, uint32_t v)
{
	hv_irq_apic.write(vm, off, (const uint8_t *)&v, 4);
}

static uint32_t reg(struct hv_vm *vm, uint32_t n)
{
	uint32_t v;

	put(vm, 0, n);
	hv_irq_apic.read(vm, 0x10, (uint8_t *)&v, 4);
	return v;
}

static void set_reg(struct hv_vm *vm, uint32_t n, uint32_t v)
{
	put(vm, 0, n);
	put(vm, 0x10, v);
}

static void apic_levels(void **state)
{
	struct hv_vm vm;
	int cpu;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&vm, true), 0);
	cpu = local_apic(&vm);
	assert_int_equal(reg(&vm, 0x10 + 2 * PIN), MASKED);
	set_reg(&vm, 0x10 + 2 * PIN, MASKED | LEVEL | 0x51);
	hv_irq_line(&vm, PIN, true);
	assert_false(asked(cpu, 0x51));
	set_reg(&vm, 0x10 + 2 * PIN, LEVEL | 0x51); // what came while it was masked is not lost
	assert_true(asked(cpu, 0x51));
	assert_int_equal(reg(&vm, 0x10 + 2 * PIN), IN_SERVICE | LEVEL | 0x51);
	set_reg(&vm, 0x10 + 2 * PIN, MASKED | LEVEL | 0x51);
	set_reg(&vm, 0x10 + 2 * PIN, IN_SERVICE | LEVEL | 0x51);
	assert_false(asked(cpu, 0x51)); // not before its end
	put(&vm, HV_IOAPIC_EOI, 0x52); // another one's
	assert_false(asked(cpu, 0x51));
	put(&vm, HV_IOAPIC_EOI, 0x51); // high still: once more
	assert_true(asked(cpu, 0x51));
	hv_irq_line(&vm, PIN, false);
	put(&vm, HV_IOAPIC_EOI, 0x51);
	assert_false(asked(cpu, 0x51));
	assert_int_equal(reg(&vm, 0x10 + 2 * PIN), LEVEL | 0x51);
	set_reg(&vm, 0x11 + 2 * PIN, 7u << 24); // a CPU that is not there
	hv_irq_line(&vm, PIN, true);
	assert_false(asked(cpu, 0x51));
	close(cpu);
	hv_vm_fini(&vm);
}

static void apic_edges(void **state)
{
	struct hv_vm vm;
	uint64_t n;
	int cpu;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&vm, true), 0);
	cpu = local_apic(&vm);
	set_reg(&vm, 0x10, 0x31); // pin 0, physical destination 0
	hv_irq_line(&vm, 0, true);
	hv_irq_line(&vm, 0, true);
	assert_true(asked(cpu, 0x31));
	hv_irq_line(&vm, 0, true);
	assert_false(asked(cpu, 0x31));
	assert_int_equal(reg(&vm, 0x10), 0x31); // an edge is not in service
	n = hv_irq_updates(&vm);
	set_reg(&vm, 0x10, MASKED | 0x31);
	hv_irq_line(&vm, 0, false);
	hv_irq_line(&vm, 0, true);
	set_reg(&vm, 0x10, 0x31);
	assert_false(asked(cpu, 0x31)); // an edge meets the mask or the CPU
	assert_int_equal(hv_irq_updates(&vm), n); // and masks are none of KVM's
	close(cpu);
	hv_vm_fini(&vm);
}

/* Registers that there are not, pins beyond the last, and widths of any kind. */
static void apic_registers(void **state)
{
	struct hv_vm vm;
	uint8_t wide[8], ones[8];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(hv_vm_init(&vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&vm, true), 0);
	assert_int_equal(reg(&vm, 1), 0x00170020);
	set_reg(&vm, 0, 0xffffffff);
	assert_int_equal(reg(&vm, 0), 0x0f000000);
	set_reg(&vm, 1, 0);
	assert_int_equal(reg(&vm, 1), 0x00170020);
	for (uint32_t n = 0; n < 256; n++) {
		set_reg(&vm, n, 0xffffffff);
		if (n >= 0x10 && n < 0x10 + 2 * HV_IRQ_PINS)
			assert_int_equal(reg(&vm, n), n % 2 ? 0xff000000 : 0x0001afff);
		else if (n > 2)
			assert_int_equal(reg(&vm, n), 0);
	}
	for (uint64_t off = 0; off < HV_IOAPIC_LEN; off++)
		for (unsigned len = 1; len <= 8; len++) {
			hv_irq_apic.write(&vm, off, ones, len);
			hv_irq_apic.read(&vm, off, wide, len);
			if (off == 4)
				assert_memory_equal(wide, "\0\0\0\0\0\0\0\0", len);
		}
	hv_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(apic_levels),
		cmocka_unit_test(apic_edges), cmocka_unit_test(apic_registers) };
	int failed = 0;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	RUN_ROWS(rows, routes, failed);
	RUN_ROWS(rows, eventfds, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
