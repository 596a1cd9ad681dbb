// SPDX-License-Identifier: Apache-2.0
/*
 * Config space, BARs and MSI-X: any accesses of a guest, with functions that come and go between
 * them. Where KVM is there, MSI-X is KVM's; else the functions have none.
 */
#include <linux/pci_regs.h>
#include <string.h>
#include <unistd.h>

#include "dpu_cur.h"
#include "irq.h"
#include "pci.h"

#define ECAM 0xe0000000ull
#define MEM32 0xc0000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bar_read(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len)
{
	if (bar >= HV_PCI_BARS || off >= f->bars[bar].size || len > f->bars[bar].size - off)
		__builtin_trap();
	memset(data, 0, len);
}

static void bar_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned len)
{
	uint8_t sum = 0;

	if (bar >= HV_PCI_BARS || off >= f->bars[bar].size || len > f->bars[bar].size - off)
		__builtin_trap();
	for (unsigned i = 0; i < len; i++)
		sum ^= data[i];
	if (sum == 1 && len > 8)
		__builtin_trap();
}

static const struct hv_pci_ops ops = { .read = bar_read, .write = bar_write };

static void make(struct hv_pci_func *f, struct hv_vm *vm, bool large)
{
	const struct hv_pci_id id = { 0x1af4, 0x1041, 0x1af4, 1, 0x020000, 1 };

	hv_pci_func_init(f, &ops, &id);
	if (hv_pci_bar_add(f, 0, 0x4000, false) || hv_pci_bar_add(f, 4, 0x100000, true))
		__builtin_trap();
	if (vm->irq && hv_msix_create(vm, f, large ? 4 : 0, large ? 80 : 3, 0x1000, 0x2000))
		__builtin_trap();
}

/* Where an access goes: config space, a place in the windows, a port. */
static uint64_t address(struct dpu_cur *in, enum hv_bus_kind *kind)
{
	uint8_t what = dpu_cur_u8(in);
	uint16_t v = dpu_cur_le16(in);

	*kind = what % 4 == 3 ? HV_BUS_PORT : HV_BUS_MMIO;
	switch (what % 4) {
	case 0:
		return ECAM + (what / 4 % 3) * 0x8000ull + v % 0x120;
	case 1:
		return ECAM + ((uint64_t)what / 4 << 16 | v);
	case 2:
		return MEM32 - 8 + ((uint64_t)(what / 4 % 8) << 12) + v % 0x1010;
	default:
		return 0xcf8 - 4 + v % 16;
	}
}

static void check(const struct hv_pci *pci)
{
	for (unsigned s = 0; s < HV_PCI_SLOTS; s++)
		for (unsigned i = 0; pci->slots[s] && i < HV_PCI_BARS; i++) {
			const struct hv_pci_bar *b = &pci->slots[s]->bars[i];

			if (b->at && (b->at % b->size || b->at < MEM32))
				__builtin_trap();
			if (b->at && !(pci->slots[s]->cfg[PCI_COMMAND] & PCI_COMMAND_MEMORY))
				__builtin_trap();
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hv_vm vm = { .vm_fd = -1 };
	static bool tried;
	struct dpu_cur in = { .at = data, .left = size };
	struct hv_pci_func f[2];
	struct hv_bus bus;
	struct hv_pci pci;

	if (!tried && hv_vm_init(&vm, 1 << 20, 0, false) == 0)
		(void)hv_irq_init(&vm, false);
	tried = true;
	hv_bus_init(&bus);
	if (hv_pci_init(&pci, &bus, NULL))
		__builtin_trap();
	for (unsigned i = 0; i < 2; i++) {
		make(&f[i], &vm, i);
		(void)hv_pci_plug(&pci, &f[i], i + 1, true);
	}
	while (in.left > 0) {
		uint8_t op = dpu_cur_u8(&in), value[8], which = op >> 3 & 1;
		unsigned len = (op & 7) + 1u;
		enum hv_bus_kind kind;
		uint64_t addr = address(&in, &kind), v = dpu_cur_le64(&in);

		memcpy(value, &v, sizeof(value));
		if (op >> 4 == 15)
			(void)hv_pci_eject(&pci, v % 33);
		else if (op >> 4 == 14 && !f[which].pci)
			(void)hv_pci_plug(&pci, &f[which], v % 4, true);
		else if (op & 0x40)
			hv_bus_read(&bus, kind, addr, value, len);
		else
			hv_bus_write(&bus, kind, addr, value, len);
		check(&pci);
	}
	hv_pci_fini(&pci);
	for (unsigned i = 0; i < 2; i++)
		hv_msix_destroy(&f[i]);
	if (bus.n)
		__builtin_trap();
	hv_bus_fini(&bus);
	return 0;
}
