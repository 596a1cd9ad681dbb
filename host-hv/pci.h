/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's only PCI bus: a host bridge at device 0, functions at 1 to 31, reached through ECAM
 * and the ports 0xCF8 and 0xCFC. A function is a struct hv_pci_func inside of its owner's struct,
 * with the owner's calls behind it; configuration space, placement of BARs and MSI-X are done here
 * for all of them, whatever they are: virtio over vhost-user, vfio-user, VFIO.
 *
 * Locks, in this order: the bus's (config space; held while windows move, which waits for calls of
 * BARs that run, so none of them may want it), the owner's own, MSI-X's, those of irq.c and bus.c.
 *
 * Spec: PCI Local Bus 3.0, chapter 6; PCI Express Base 4.0, 7.2.2 (ECAM), 7.7.2 (MSI-X).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "vm.h"

#define HV_PCI_SLOTS 32
#define HV_PCI_BARS 6
#define HV_PCI_CONFIG 256 // bytes; there are no extended capabilities

struct hv_msix;
struct hv_pci;
struct hv_pci_func;
struct hv_power;

struct hv_pci_ops {
	/* Accesses inside of a BAR, but for MSI-X's: any vCPU's thread, none of our locks. */
	void (*read)(
		struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len);
	void (*write)(struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data,
		unsigned len);

	/* All below may be NULL; the bus's lock is held. */
	/* cfg[off..] is about to be read, or was written (by mask). */
	void (*config_read)(struct hv_pci_func *f, unsigned off, unsigned len);
	void (*config_written)(struct hv_pci_func *f, unsigned off, unsigned len);
	/* The BAR answers at addr from now on; 0: nowhere. */
	void (*placed)(struct hv_pci_func *f, unsigned bar, uint64_t addr);
	/* It may (not) use the guest's memory from now on. */
	void (*mastering)(struct hv_pci_func *f, bool on);
	/* The guest let go of it: it is off the bus. Its memory stays until this returned. */
	void (*ejected)(struct hv_pci_func *f);
};

struct hv_pci_bar {
	struct hv_pci_func *func; // back to the owner
	unsigned idx;
	uint64_t size; // bytes, 0: there is none
	bool is64;
	uint64_t at; // where its window is, 0: nowhere
};

struct hv_pci_func {
	/* The owner's, before it is plugged. */
	const struct hv_pci_ops *ops;
	struct hv_msix *msix; // owned by the function's owner, NULL: none

	/* pci.c's; cfg and mask the bus's lock. */
	struct hv_pci *pci; // NULL: not plugged
	unsigned slot;
	bool mastering;
	unsigned caps_end; // where the next capability goes
	uint8_t cfg[HV_PCI_CONFIG];
	uint8_t mask[HV_PCI_CONFIG]; // bits that the guest may write
	struct hv_pci_bar bars[HV_PCI_BARS];
};

struct hv_pci_id {
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class; // 24 bits
	uint8_t revision;
};

struct hv_pci {
	struct hv_bus *bus; // borrowed: outlives this
	struct hv_power *power; // borrowed, outlives this, too; NULL: the guest is told of nothing
	_Atomic uint32_t address; // of port 0xCF8
	pthread_mutex_t lock; // all below, and config space of all functions
	uint64_t conflicts; // BARs that could not answer: something else does there
	struct hv_pci_func bridge;
	struct hv_pci_func *slots[HV_PCI_SLOTS];
};

/*
 * BARs are placed in layout.h's window. What comes and is to go is told by `power`, which has port
 * 0xCF9 as well: it lies in our window. 0, -EEXIST (windows of ECAM or the ports are taken), or
 * -ENOSPC.
 */
int hv_pci_init(struct hv_pci *pci, struct hv_bus *bus, struct hv_power *power);
/* Functions are taken off the bus first, without being told; no vCPU runs. Zeros are no bus. */
void hv_pci_fini(struct hv_pci *pci);

/* ---- a function, before it is plugged ---- */

void hv_pci_func_init(
	struct hv_pci_func *f, const struct hv_pci_ops *ops, const struct hv_pci_id *id);
/* A memory BAR. 0, or -EINVAL: size is no power of two of 16 or more, or the register is taken. */
int hv_pci_bar_add(struct hv_pci_func *f, unsigned idx, uint64_t size, bool is64);
/*
 * A capability: its bytes behind id and next. Where it begins, or -ENOSPC. The owner sets f->mask
 * where the guest may write.
 */
int hv_pci_cap_add(struct hv_pci_func *f, uint8_t id, const void *bytes, unsigned len);

/*
 * What an access of the guest's to a BAR does, wherever that is (for windows in config space).
 * False: not wholly inside, or no such BAR; nothing was done. None of the owner's locks is held.
 */
bool hv_pci_bar_read(
	struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len);
bool hv_pci_bar_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned len);

/* ---- coming and going; the main thread ---- */

/*
 * Put f at slot 1 to 31; its BARs are given addresses and do not decode yet. `notify` tells the
 * guest, which runs. f stays the owner's and outlives its stay.
 *
 * Returns 0, -EINVAL (no such slot, or f has one), -EEXIST (the slot is taken), or -ENOSPC (no room
 * for a BAR).
 */
int hv_pci_plug(struct hv_pci *pci, struct hv_pci_func *f, unsigned slot, bool notify);
/* Ask the guest to let go of f; `ejected` comes when it has. 0, or -ENOENT: it is not plugged. */
int hv_pci_unplug(struct hv_pci *pci, struct hv_pci_func *f);
/* Take f off the bus whether the guest likes it or not. None of its calls runs after this. */
void hv_pci_remove(struct hv_pci *pci, struct hv_pci_func *f);

/* The guest let go of a slot (_EJ0). Any thread, not from a call of one of its BARs. 0, -ENOENT. */
int hv_pci_eject(struct hv_pci *pci, unsigned slot);

/* ---- MSI-X: msix.c ---- */

/*
 * n vectors (1 to 2048) for f, with table and PBA (8 byte aligned) in a BAR that was added; adds
 * the capability. Vectors are eventfds: a card that writes to one raises it, whatever is masked.
 *
 * Returns 0, -EINVAL (does not fit), -ENOSPC (no GSIs left, no room for the capability), -ENOMEM,
 * or the errno of eventfd(2).
 */
int hv_msix_create(struct hv_vm *vm, struct hv_pci_func *f, unsigned bar, unsigned n,
	uint32_t table, uint32_t pba);
/* f is off the bus. */
void hv_msix_destroy(struct hv_pci_func *f);
/* The eventfd of a vector: borrowed. -1: no such vector. */
int hv_msix_fd(const struct hv_msix *m, unsigned vector);
/* As a card's write would. No such vector: nothing. Any thread. */
void hv_msix_raise(struct hv_msix *m, unsigned vector);
/* What was raised and not taken is forgotten: a reset. */
void hv_msix_drain(struct hv_msix *m);

/* pci.c's. */
void hv_msix_control(struct hv_pci_func *f); // enable, mask or mastering may have changed
/* False: not an address of table or PBA. */
bool hv_msix_read(struct hv_msix *m, unsigned bar, uint64_t off, uint8_t *data, unsigned len);
bool hv_msix_write(
	struct hv_msix *m, unsigned bar, uint64_t off, const uint8_t *data, unsigned len);
