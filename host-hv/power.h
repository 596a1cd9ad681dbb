/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest ends itself, and what is told to it: reset and sleep registers, the power button,
 * functions that come and go. One event line (GSI 9, level-triggered) and a page of registers. Any
 * thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"

/* Registers, bytes into the page at HV_EVENTS; dsdt.asl and acpi.c use them. */
#define HV_EV_SELECT 0x00 // 32 bits: what happened; reading clears it
#define HV_EV_PCI_UP 0x04 // 32 bits: slots of new functions; reading clears it
#define HV_EV_PCI_DOWN 0x08 // 32 bits: slots whose functions are to go; reading clears it
#define HV_EV_PCI_EJECT 0x0c // 32 bits, written: slots that the guest has let go
#define HV_EV_SLEEP_CONTROL 0x10 // 8 bits
#define HV_EV_SLEEP_STATUS 0x14 // 8 bits
#define HV_EV_RESET 0x18 // 8 bits: HV_EV_RESET_VALUE
#define HV_EV_RESET_VALUE 0x01

#define HV_EV_MEM_UP 0x40 // 32 bits: memory that was added, by its number; reading clears it
#define HV_EV_MEM 0x48 // for each number 32 bits where it is, 32 how long, in HV_MEM_UNIT; 0: none
#define HV_EV_MEMS 7 // numbers; dsdt.asl has a device for each
#define HV_EV_END (HV_EV_MEM + 8 * HV_EV_MEMS) // beyond them 0 is read

#define HV_EV_BUTTON 0x1u // bits of HV_EV_SELECT
#define HV_EV_PCI 0x2u
#define HV_EV_MEMORY 0x4u

#define HV_PANIC_PORT 0x505 // QEMU's docs/specs/pvpanic.rst

enum hv_power_event { HV_POWER_RESET, HV_POWER_OFF, HV_POWER_PANIC };

struct hv_power_ops {
	void (*event)(void *arg, enum hv_power_event what); // a vCPU's thread
	// HV_GSI_EVENTS, under its lock; high while HV_EV_SELECT is not 0
	void (*line)(void *arg, unsigned gsi, bool level);
	void (*ejected)(void *arg, unsigned slot); // a vCPU's thread
};

struct hv_power {
	const struct hv_power_ops *ops;
	void *arg; // borrowed
	struct hv_bus *bus; // borrowed

	pthread_mutex_t lock; // for all below
	uint32_t regs[HV_EV_END / 4]; // as they are read; what is only written is 0 here
	unsigned n_mems;
};

/*
 * Its windows are on the bus until hv_power_fini(), which also takes down what there is of one that
 * failed. 0, or what hv_bus_add() returns.
 */
int hv_power_init(
	struct hv_power *p, struct hv_bus *bus, const struct hv_power_ops *ops, void *arg);
void hv_power_fini(struct hv_power *p);

void hv_power_button(struct hv_power *p);

/* Tell the guest: these slots of the bus have a function now, and those of these are to go. */
void hv_power_slots(struct hv_power *p, uint32_t up, uint32_t down);

/*
 * Tell the guest of memory at gpa, which begins and ends at multiples of HV_MEM_UNIT: at most
 * HV_EV_MEMS times.
 */
void hv_power_memory(struct hv_power *p, uint64_t gpa, uint64_t len);

/* A byte that was written to port 0xcf9, which is in a window of PCI's. */
void hv_power_cf9(struct hv_power *p, uint8_t value);
