// SPDX-License-Identifier: Apache-2.0
/* MSI-X against this machine's KVM: who is joined, what stays pending, when routes change. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "irq.h"
#include "lapic.h"
#include "pci.h"
#include "test.h"

#define ECAM 0xe0000000ull
#define BAR 0xc0000000ull
#define TABLE 0x1000u
#define PBA 0x2000u
#define VECTORS 70
#define MSI_ADDR 0xfee00000u

struct rig {
	struct hv_vm vm;
	struct hv_bus bus;
	struct hv_pci pci;
	struct hv_pci_func f;
	unsigned control; // address of the capability's second word
};

static void no_read(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len)
{
	(void)f;
	(void)bar;
	(void)off;
	memset(data, 0x5a, len);
}

static void no_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned len)
{
	(void)f;
	(void)bar;
	(void)off;
	(void)data;
	(void)len;
}

static const struct hv_pci_ops ops = { .read = no_read, .write = no_write };

static uint64_t rd(struct rig *r, uint64_t addr, unsigned len)
{
	uint64_t v = 0;

	hv_bus_read(&r->bus, HV_BUS_MMIO, addr, (uint8_t *)&v, len);
	return v;
}

static void wr(struct rig *r, uint64_t addr, uint64_t v, unsigned len)
{
	hv_bus_write(&r->bus, HV_BUS_MMIO, addr, (uint8_t *)&v, len);
}

static void control(struct rig *r, uint16_t v)
{
	wr(r, ECAM + 0x8000 + r->control, v, 2);
}

static void rig_init(struct rig *r)
{
	const struct hv_pci_id id = { 0x1af4, 0x1042, 0, 0, 0x018000, 1 };

	assert_int_equal(hv_vm_init(&r->vm, 2 << 20, 0, false), 0);
	assert_int_equal(hv_irq_init(&r->vm, false), 0);
	hv_bus_init(&r->bus);
	assert_int_equal(hv_pci_init(&r->pci, &r->bus, NULL), 0);
	hv_pci_func_init(&r->f, &ops, &id);
	assert_int_equal(hv_pci_bar_add(&r->f, 0, 0x10000, false), 0);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 1, 1, TABLE, PBA), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 0, TABLE, PBA), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 1, TABLE + 4, PBA), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 2, 0xfff0, PBA), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 65, TABLE, 0xfff8), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 1, 0xfffffff8, PBA), -EINVAL);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, 1024, 0, 0x8000), -ENOSPC);
	assert_int_equal(hv_msix_create(&r->vm, &r->f, 0, VECTORS, TABLE, PBA), 0);
	assert_int_equal(hv_pci_plug(&r->pci, &r->f, 1, false), 0);
	wr(r, ECAM + 0x8000 + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	r->control = (unsigned)rd(r, ECAM + 0x8000 + PCI_CAPABILITY_LIST, 1) + PCI_MSIX_FLAGS;
}

static void rig_fini(struct rig *r)
{
	hv_pci_fini(&r->pci);
	hv_msix_destroy(&r->f);
	hv_bus_fini(&r->bus);
	hv_irq_fini(&r->vm);
	hv_vm_fini(&r->vm);
}

static void raise_vector(struct rig *r, unsigned i)
{
	uint64_t one = 1;

	assert_int_equal(write(hv_msix_fd(r->f.msix, i), &one, sizeof(one)), sizeof(one));
}

/* KVM takes what it is joined to within the write; what nobody takes stays readable. */
static bool untaken(struct rig *r, unsigned i)
{
	struct pollfd p = { .fd = hv_msix_fd(r->f.msix, i), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void set_entry(struct rig *r, unsigned i, uint32_t data, bool masked)
{
	wr(r, BAR + TABLE + 16ull * i, MSI_ADDR, 8);
	wr(r, BAR + TABLE + 16ull * i + 8, data, 4);
	wr(r, BAR + TABLE + 16ull * i + 12, masked, 4);
}

/* VF-16: only whole words are accesses, and only of what is there. */
static void table_accesses(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rd(&r, ECAM + 0x8000 + r.control, 2), VECTORS - 1);
	assert_int_equal(rd(&r, ECAM + 0x8000 + r.control + 2, 8), (uint64_t)PBA << 32 | TABLE);
	control(&r, 0xffff);
	assert_int_equal(rd(&r, ECAM + 0x8000 + r.control, 2), 0xc000 | (VECTORS - 1));
	control(&r, 0);
	for (uint64_t off = TABLE - 8; off < PBA + 24; off++)
		for (unsigned len = 1; len <= 8; len++) {
			bool in_table = off >= TABLE && off < TABLE + VECTORS * 16;
			bool in_pba = off >= PBA && off < PBA + 16;
			bool whole = (len == 4 || len == 8) && off % len == 0;
			uint64_t all = len == 8 ? UINT64_MAX : (1ull << len * 8) - 1;
			uint64_t was = rd(&r, BAR + off, len), want;

			wr(&r, BAR + off, UINT64_MAX, len);
			want = in_table && whole ? all : in_table || in_pba ? 0 : was;
			if (in_table && whole && off % 16 + len == 16)
				want = len == 8 ? 0x1ffffffff : 1; // control has one bit
			assert_int_equal(rd(&r, BAR + off, len), want);
			if (!in_table && !in_pba)
				assert_int_equal(was & 0xff, 0x5a); // the owner's
			if (in_table && whole)
				wr(&r, BAR + off, was, len);
		}
	rig_fini(&r);
}

static void masks(void **state)
{
	struct rig r;
	uint64_t n;

	(void)state;
	rig_init(&r);
	n = hv_irq_updates(&r.vm);
	set_entry(&r, 65, 0x41, false);
	raise_vector(&r, 65);
	assert_true(untaken(&r, 65)); // MSI-X is off
	assert_int_equal(hv_irq_updates(&r.vm), n);
	control(&r, PCI_MSIX_FLAGS_ENABLE);
	assert_false(untaken(&r, 65));
	assert_int_equal(hv_irq_updates(&r.vm), n + 1);
	raise_vector(&r, 65);
	assert_false(untaken(&r, 65));

	wr(&r, BAR + TABLE + 16 * 65 + 12, 1, 4);
	raise_vector(&r, 65);
	assert_true(untaken(&r, 65));
	assert_int_equal(rd(&r, BAR + PBA, 8), 0);
	assert_int_equal(rd(&r, BAR + PBA + 8, 8), 2);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 2);
	wr(&r, BAR + TABLE + 16 * 65 + 12, 0, 4);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 0);
	assert_int_equal(hv_irq_updates(&r.vm), n + 1); // the same message

	control(&r, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	raise_vector(&r, 65);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 2);
	control(&r, PCI_MSIX_FLAGS_ENABLE);
	assert_false(untaken(&r, 65));

	set_entry(&r, 65, 0x42, false); // another message, not masked meanwhile
	assert_int_equal(hv_irq_updates(&r.vm), n + 2);

	// No message without bus mastering (VF-25), nor from a function that is gone
	wr(&r, ECAM + 0x8000 + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	raise_vector(&r, 65);
	assert_true(untaken(&r, 65));
	hv_msix_drain(r.f.msix);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 0);
	wr(&r, ECAM + 0x8000 + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	raise_vector(&r, 65);
	assert_false(untaken(&r, 65));
	hv_pci_remove(&r.pci, &r.f);
	raise_vector(&r, 65);
	assert_true(untaken(&r, 65));
	assert_int_equal(hv_msix_fd(r.f.msix, VECTORS), -1);
	rig_fini(&r);
}

/* Raised by ourselves: nothing is written to what the card has, and nothing that it has lost. */
static void raised_by_us(void **state)
{
	struct rig r;
	int cpu;

	(void)state;
	rig_init(&r);
	cpu = local_apic(&r.vm);
	control(&r, PCI_MSIX_FLAGS_ENABLE);
	hv_msix_raise(r.f.msix, VECTORS); // no such vector
	set_entry(&r, 65, 0x41, true);
	hv_msix_raise(r.f.msix, 65);
	assert_false(untaken(&r, 65));
	assert_false(asked(cpu, 0x41));
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 2);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 2);
	set_entry(&r, 65, 0x41, false);
	assert_true(asked(cpu, 0x41));
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 0);
	set_entry(&r, 65, 0x41, true);
	set_entry(&r, 65, 0x41, false);
	assert_false(asked(cpu, 0x41)); // once
	hv_msix_raise(r.f.msix, 65);
	assert_true(asked(cpu, 0x41));
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 0);

	// A look at the pending bits takes what the card wrote, and loses nothing
	set_entry(&r, 65, 0x41, true);
	raise_vector(&r, 65);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 2);
	assert_false(untaken(&r, 65));
	set_entry(&r, 65, 0x41, false);
	assert_true(asked(cpu, 0x41));

	set_entry(&r, 65, 0x41, true);
	hv_msix_raise(r.f.msix, 65);
	hv_msix_drain(r.f.msix);
	assert_int_equal(rd(&r, BAR + PBA + 8, 4), 0);
	set_entry(&r, 65, 0x41, false);
	assert_false(asked(cpu, 0x41));
	close(cpu);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(table_accesses),
		cmocka_unit_test(masks), cmocka_unit_test(raised_by_us) };

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
