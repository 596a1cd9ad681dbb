// SPDX-License-Identifier: Apache-2.0
/* Host bridge, config space by ECAM and ports, BARs that move, functions that come and go. */
#include "pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <string.h>

#include "dpu_wire.h"
#include "layout.h"
#include "power.h"

#define FUNC_CONFIG 4096u // of ECAM
#define PORT_BASE 0xcf8
#define PORT_LEN 8
#define PORT_RESET 1 // off: 0xcf9
#define PORT_DATA 4
#define ADDRESS_ON (1u << 31)

#define BRIDGE_VENDOR 0x1b36 // what QEMU's generic PCIe host has
#define BRIDGE_DEVICE 0x0008

#define COMMAND_BITS                                                                       \
	(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | \
		PCI_COMMAND_INTX_DISABLE)

static unsigned bar_reg(unsigned idx)
{
	return PCI_BASE_ADDRESS_0 + 4 * idx;
}

/* What the guest wrote into a BAR. */
static uint64_t bar_address(const struct hv_pci_bar *b)
{
	const uint8_t *at = &b->func->cfg[bar_reg(b->idx)];
	uint64_t addr = dpu_le32_load(at) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;

	return b->is64 ? addr | (uint64_t)dpu_le32_load(at + 4) << 32 : addr;
}

static void bar_give(struct hv_pci_bar *b, uint64_t addr)
{
	uint8_t *at = &b->func->cfg[bar_reg(b->idx)];

	dpu_le32_store(at, (uint32_t)addr | (b->is64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0));
	if (b->is64)
		dpu_le32_store(at + 4, (uint32_t)(addr >> 32));
}

/* ---- windows ---- */

static bool within(uint64_t base, uint64_t len, uint64_t addr, uint64_t size)
{
	return size <= len && addr >= base && addr - base <= len - size;
}

bool hv_pci_bar_read(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len)
{
	if (bar >= HV_PCI_BARS || !within(0, f->bars[bar].size, off, len))
		return false;
	if (!f->msix || !hv_msix_read(f->msix, bar, off, data, len))
		f->ops->read(f, bar, off, data, len);
	return true;
}

bool hv_pci_bar_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned len)
{
	if (bar >= HV_PCI_BARS || !within(0, f->bars[bar].size, off, len))
		return false;
	if (!f->msix || !hv_msix_write(f->msix, bar, off, data, len))
		f->ops->write(f, bar, off, data, len);
	return true;
}

static void window_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hv_pci_bar *b = arg;

	(void)hv_pci_bar_read(b->func, b->idx, off, data, len);
}

static void window_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_pci_bar *b = arg;

	(void)hv_pci_bar_write(b->func, b->idx, off, data, len);
}

static const struct hv_bus_ops window_ops = { window_read, window_write };

/* Where a BAR shall answer: 0 while it does not decode, or where nothing may (VF-17). */
static uint64_t wanted(const struct hv_pci_bar *b)
{
	uint64_t addr = bar_address(b);

	if (!b->size || !(dpu_le16_load(&b->func->cfg[PCI_COMMAND]) & PCI_COMMAND_MEMORY))
		return 0;
	return within(HV_PCI_MMIO, HV_PCI_MMIO_LEN, addr, b->size) ? addr : 0;
}

static void take_away(struct hv_pci *pci, struct hv_pci_bar *b)
{
	if (!b->at)
		return;
	if (b->func->ops->placed)
		b->func->ops->placed(b->func, b->idx, 0);
	hv_bus_remove(pci->bus, HV_BUS_MMIO, b->at);
	b->at = 0;
}

static void put_there(struct hv_pci *pci, struct hv_pci_bar *b, uint64_t addr)
{
	if (!addr || b->at)
		return;
	if (hv_bus_add(pci->bus, HV_BUS_MMIO, addr, b->size, &window_ops, b)) {
		pci->conflicts++;
		return;
	}
	b->at = addr;
	if (b->func->ops->placed)
		b->func->ops->placed(b->func, b->idx, addr);
}

/*
 * Windows follow the BARs: first all that left, then all that came, so that two may change places,
 * and one that had no room gets it when another goes.
 */
static void place_all(struct hv_pci *pci)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned s = 0; s < HV_PCI_SLOTS; s++)
			for (unsigned i = 0; pci->slots[s] && i < HV_PCI_BARS; i++) {
				struct hv_pci_bar *b = &pci->slots[s]->bars[i];
				uint64_t addr = wanted(b);

				if (pass == 1)
					put_there(pci, b, addr);
				else if (b->at != addr)
					take_away(pci, b);
			}
}

/* ---- config accesses; the lock is held ---- */

static void func_read(struct hv_pci_func *f, unsigned off, uint8_t *data, unsigned len)
{
	if (f->ops->config_read)
		f->ops->config_read(f, off, len);
	for (unsigned i = 0; i < len; i++)
		data[i] = off + i < HV_PCI_CONFIG ? f->cfg[off + i] : 0;
}

/* The guest's command register or its BARs may be others than before. */
static void follow(struct hv_pci *pci, struct hv_pci_func *f)
{
	bool master = dpu_le16_load(&f->cfg[PCI_COMMAND]) & PCI_COMMAND_MASTER;

	place_all(pci);
	if (master != f->mastering) {
		f->mastering = master;
		if (f->ops->mastering)
			f->ops->mastering(f, master);
	}
	if (f->msix)
		hv_msix_control(f);
}

static void func_write(
	struct hv_pci *pci, struct hv_pci_func *f, unsigned off, const uint8_t *data, unsigned len)
{
	if (off >= HV_PCI_CONFIG)
		return;
	if (len > HV_PCI_CONFIG - off)
		len = HV_PCI_CONFIG - off;
	for (unsigned i = 0; i < len; i++) {
		uint8_t *c = &f->cfg[off + i], m = f->mask[off + i];

		*c = (uint8_t)((*c & ~m) | (data[i] & m));
	}
	follow(pci, f);
	if (f->ops->config_written)
		f->ops->config_written(f, off, len);
}

/*
 * The function that an offset into ECAM is of: function 0 of each device is all there is. An access
 * is one function's, as KVM splits what lies in two pages; none at all is in two of them.
 */
static struct hv_pci_func *func_at(struct hv_pci *pci, uint64_t off, unsigned len)
{
	uint64_t n = off / FUNC_CONFIG;

	if (off % FUNC_CONFIG + len > FUNC_CONFIG || n % 8 || n / 8 >= HV_PCI_SLOTS)
		return NULL;
	return pci->slots[n / 8];
}

static void config_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hv_pci *pci = arg;
	struct hv_pci_func *f;

	pthread_mutex_lock(&pci->lock);
	f = func_at(pci, off, len);
	if (f)
		func_read(f, off % FUNC_CONFIG, data, len);
	pthread_mutex_unlock(&pci->lock);
}

static void config_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_pci *pci = arg;
	struct hv_pci_func *f;

	pthread_mutex_lock(&pci->lock);
	f = func_at(pci, off, len);
	if (f)
		func_write(pci, f, off % FUNC_CONFIG, data, len);
	pthread_mutex_unlock(&pci->lock);
}

static const struct hv_bus_ops ecam_ops = { config_read, config_write };

/* ---- ports: PCI Local Bus 3.0, 3.2.2.3.2 ---- */

/* Where an access of the data port goes in ECAM. False: nowhere (KX-03). */
static bool port_target(struct hv_pci *pci, uint64_t off, unsigned len, uint64_t *out)
{
	uint32_t a = atomic_load(&pci->address);

	if (off < PORT_DATA || (len != 1 && len != 2 && len != 4) || off % len ||
		!(a & ADDRESS_ON) || (a >> 16 & 0xff))
		return false;
	*out = (uint64_t)(a >> 8 & 0xff) * FUNC_CONFIG + (a & 0xfc) + (off - PORT_DATA);
	return true;
}

static void port_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hv_pci *pci = arg;
	uint64_t at;

	if (off == 0 && len == 4)
		dpu_le32_store(data, atomic_load(&pci->address));
	else if (port_target(pci, off, len, &at))
		config_read(pci, at, data, len);
}

static void port_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_pci *pci = arg;
	uint64_t at;

	if (off == 0 && len == 4)
		atomic_store(&pci->address, dpu_le32_load(data) & ~0x7f000003u);
	else if (off == PORT_RESET && len == 1 && pci->power)
		hv_power_cf9(pci->power, data[0]);
	else if (port_target(pci, off, len, &at))
		config_write(pci, at, data, len);
}

static const struct hv_bus_ops port_ops = { port_read, port_write };

/* ---- the bus ---- */

static const struct hv_pci_ops bridge_ops = { .read = NULL }; // it has no BARs

int hv_pci_init(struct hv_pci *pci, struct hv_bus *bus, struct hv_power *power)
{
	const struct hv_pci_id id = {
		.vendor = BRIDGE_VENDOR, .device = BRIDGE_DEVICE, .class = 0x060000
	}; // host bridge
	int ret;

	*pci = (struct hv_pci){ .bus = bus, .power = power, .lock = PTHREAD_MUTEX_INITIALIZER };
	hv_pci_func_init(&pci->bridge, &bridge_ops, &id);
	pci->bridge.pci = pci;
	pci->slots[0] = &pci->bridge;
	ret = hv_bus_add(bus, HV_BUS_MMIO, HV_ECAM, HV_ECAM_LEN, &ecam_ops, pci);
	return ret ? ret : hv_bus_add(bus, HV_BUS_PORT, PORT_BASE, PORT_LEN, &port_ops, pci);
}

void hv_pci_fini(struct hv_pci *pci)
{
	for (unsigned s = 1; s < HV_PCI_SLOTS; s++)
		if (pci->slots[s])
			hv_pci_remove(pci, pci->slots[s]);
	if (!pci->bus)
		return;
	hv_bus_remove(pci->bus, HV_BUS_PORT, PORT_BASE);
	hv_bus_remove(pci->bus, HV_BUS_MMIO, HV_ECAM);
	pthread_mutex_destroy(&pci->lock);
}

/* ---- a function ---- */

void hv_pci_func_init(
	struct hv_pci_func *f, const struct hv_pci_ops *ops, const struct hv_pci_id *id)
{
	*f = (struct hv_pci_func){ .ops = ops, .caps_end = PCI_STD_HEADER_SIZEOF };
	dpu_le16_store(&f->cfg[PCI_VENDOR_ID], id->vendor);
	dpu_le16_store(&f->cfg[PCI_DEVICE_ID], id->device);
	dpu_le32_store(&f->cfg[PCI_CLASS_REVISION], id->class << 8 | id->revision);
	dpu_le16_store(&f->cfg[PCI_SUBSYSTEM_VENDOR_ID], id->sub_vendor);
	dpu_le16_store(&f->cfg[PCI_SUBSYSTEM_ID], id->sub_device);
	dpu_le16_store(&f->mask[PCI_COMMAND], COMMAND_BITS);
	f->mask[PCI_CACHE_LINE_SIZE] = 0xff;
	f->mask[PCI_INTERRUPT_LINE] = 0xff;
	for (unsigned i = 0; i < HV_PCI_BARS; i++)
		f->bars[i] = (struct hv_pci_bar){ .func = f, .idx = i };
}

int hv_pci_bar_add(struct hv_pci_func *f, unsigned idx, uint64_t size, bool is64)
{
	unsigned last = idx + is64;

	if (last >= HV_PCI_BARS || size < 16 || (size & (size - 1)) || (!is64 && size >> 31))
		return -EINVAL;
	for (unsigned i = 0; i <= last; i++) {
		const struct hv_pci_bar *b = &f->bars[i];

		if (b->size && i + b->is64 >= idx)
			return -EINVAL;
	}
	f->bars[idx].size = size;
	f->bars[idx].is64 = is64;
	dpu_le32_store(&f->mask[bar_reg(idx)],
		(uint32_t) ~(size - 1) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);
	if (is64)
		dpu_le32_store(&f->mask[bar_reg(idx) + 4], (uint32_t)(~(size - 1) >> 32));
	bar_give(&f->bars[idx], 0);
	return 0;
}

int hv_pci_cap_add(struct hv_pci_func *f, uint8_t id, const void *bytes, unsigned len)
{
	unsigned at = f->caps_end, end = (at + 2 + len + 3) & ~3u;

	if (len > HV_PCI_CONFIG || end > HV_PCI_CONFIG)
		return -ENOSPC;
	f->cfg[at] = id;
	f->cfg[at + 1] = f->cfg[PCI_CAPABILITY_LIST]; // the list is built from its end
	memcpy(&f->cfg[at + 2], bytes, len);
	f->cfg[PCI_CAPABILITY_LIST] = (uint8_t)at;
	f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->caps_end = end;
	return (int)at;
}

/* ---- coming and going ---- */

/* The end of a BAR in the way of [addr, addr + size), 0: there is none. */
static uint64_t in_the_way(const struct hv_pci *pci, uint64_t addr, uint64_t size)
{
	for (unsigned s = 0; s < HV_PCI_SLOTS; s++)
		for (unsigned i = 0; pci->slots[s] && i < HV_PCI_BARS; i++) {
			const struct hv_pci_bar *b = &pci->slots[s]->bars[i];
			uint64_t at = bar_address(b);

			if (b->size && at && at < addr + size && addr < at + b->size)
				return at + b->size;
		}
	return 0;
}

/* The lowest place, 0: none. Each step passes one BAR at least. */
static uint64_t find_room(const struct hv_pci *pci, uint64_t size)
{
	uint64_t addr = hv_align_up(HV_PCI_MMIO, size), end;

	while (within(HV_PCI_MMIO, HV_PCI_MMIO_LEN, addr, size)) {
		end = in_the_way(pci, addr, size);
		if (!end)
			return addr;
		addr = hv_align_up(end, size);
	}
	return 0;
}

/* f is in its slot already. */
static int give_addresses(const struct hv_pci *pci, struct hv_pci_func *f)
{
	for (unsigned i = 0; i < HV_PCI_BARS; i++) {
		struct hv_pci_bar *b = &f->bars[i];
		uint64_t addr;

		if (!b->size)
			continue;
		bar_give(b, 0);
		addr = find_room(pci, b->size);
		if (!addr)
			return -ENOSPC;
		bar_give(b, addr);
	}
	return 0;
}

static int plug(struct hv_pci *pci, struct hv_pci_func *f, unsigned slot)
{
	int ret;

	if (pci->slots[slot])
		return -EEXIST;
	dpu_le16_store(&f->cfg[PCI_COMMAND], 0);
	pci->slots[slot] = f;
	ret = give_addresses(pci, f);
	pci->slots[slot] = ret ? NULL : f;
	f->pci = ret ? NULL : pci;
	f->slot = slot;
	return ret;
}

int hv_pci_plug(struct hv_pci *pci, struct hv_pci_func *f, unsigned slot, bool notify)
{
	int ret;

	if (slot == 0 || slot >= HV_PCI_SLOTS || f->pci)
		return -EINVAL;
	pthread_mutex_lock(&pci->lock);
	ret = plug(pci, f, slot);
	pthread_mutex_unlock(&pci->lock);
	if (ret == 0 && notify && pci->power)
		hv_power_slots(pci->power, 1u << slot, 0);
	return ret;
}

int hv_pci_unplug(struct hv_pci *pci, struct hv_pci_func *f)
{
	uint32_t slots;

	pthread_mutex_lock(&pci->lock);
	slots = f->pci ? 1u << f->slot : 0;
	pthread_mutex_unlock(&pci->lock);
	if (slots && pci->power)
		hv_power_slots(pci->power, 0, slots);
	return slots ? 0 : -ENOENT;
}

static void take_off(struct hv_pci *pci, struct hv_pci_func *f)
{
	dpu_le16_store(&f->cfg[PCI_COMMAND], 0);
	follow(pci, f); // nothing of it answers any more, and what waited for its place does
	pci->slots[f->slot] = NULL;
	f->pci = NULL;
}

void hv_pci_remove(struct hv_pci *pci, struct hv_pci_func *f)
{
	pthread_mutex_lock(&pci->lock);
	if (f->pci)
		take_off(pci, f);
	pthread_mutex_unlock(&pci->lock);
}

int hv_pci_eject(struct hv_pci *pci, unsigned slot)
{
	struct hv_pci_func *f;

	pthread_mutex_lock(&pci->lock);
	f = slot > 0 && slot < HV_PCI_SLOTS ? pci->slots[slot] : NULL;
	if (f) {
		take_off(pci, f);
		if (f->ops->ejected)
			f->ops->ejected(f);
	}
	pthread_mutex_unlock(&pci->lock);
	return f ? 0 : -ENOENT;
}
