/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and doorbells inside of KVM: the interrupt controllers, which GSI is which message,
 * and the eventfds on either side. Once they are joined, no byte of them passes through us.
 *
 * GSIs 0 to 23 are the I/O APIC's pins, those from 24 on are messages (MSI) that functions ask for.
 * Any thread; calls do not wait for the guest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "vm.h"

#define HV_IRQ_PINS 24
#define HV_IRQ_MSIS 512 // messages of all functions together

/*
 * Make the interrupt controllers: all of them in KVM, or (split) only the local APICs; the I/O APIC
 * is ours then. Before the first vCPU is made. There is no PIT and no use for the PIC.
 *
 * Returns 0, -ENOSYS (KVM lacks a capability), -ENOMEM, or the errno of an ioctl.
 */
int hv_irq_init(struct hv_vm *vm, bool split);
void hv_irq_fini(struct hv_vm *vm); // hv_vm_fini() does it

/*
 * Of a split irqchip: the window of HV_IOAPIC_LEN bytes at HV_IOAPIC; arg is the hv_vm. KVM's exit
 * for the end of an interrupt is a write of its vector to HV_IOAPIC_EOI there.
 */
extern const struct hv_bus_ops hv_irq_apic;

/* Drive a pin, 0 to HV_IRQ_PINS - 1. */
void hv_irq_line(struct hv_vm *vm, unsigned pin, bool high);

/* Take n GSIs in a row for messages; the first one is the result. -EINVAL, -ENOSPC. */
int hv_irq_msi_get(struct hv_vm *vm, unsigned n);
/* Give them back; routes go with them. None may have an eventfd attached. */
void hv_irq_msi_put(struct hv_vm *vm, unsigned first, unsigned n);

/*
 * What a GSI of hv_irq_msi_get() is from now on. KVM is told only of a change.
 * 0, -EINVAL (not taken), or the errno of the ioctl; the route is as before then.
 */
int hv_irq_msi_route(struct hv_vm *vm, unsigned gsi, uint64_t addr, uint32_t data);

/* Raise a GSI that is routed, now. 0 or the ioctl's errno. */
int hv_irq_raise(struct hv_vm *vm, unsigned gsi);
/* Raise gsi whenever fd is written, from now on or no more. Borrowed. 0 or the ioctl's errno. */
int hv_irq_attach(struct hv_vm *vm, unsigned gsi, int fd);
int hv_irq_detach(struct hv_vm *vm, unsigned gsi, int fd);

/*
 * Signal fd for each write of the guest to addr, of any length and value, instead of leaving KVM;
 * or no more. Borrowed. 0, -EEXIST, -ENOENT, or another errno of the ioctl.
 */
int hv_irq_doorbell(struct hv_vm *vm, uint64_t addr, int fd);
int hv_irq_no_doorbell(struct hv_vm *vm, uint64_t addr, int fd);

/*
 * Take what is in an eventfd that the card has, too. It shares the count and the flags, so there is
 * no way to write one that cannot be made to wait, but this does not. False: nothing was there.
 */
bool hv_irq_take(int fd);

/* How often KVM was given a new table of routes. */
uint64_t hv_irq_updates(const struct hv_vm *vm);
