/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between CPUs: vcpu_x86.c and boot_x86.c have it, or vcpu_arm64.c and boot_arm64.c.
 * All but the exits: the main thread, before any vCPU has one.
 */
#pragma once

#include "image.h"
#include "serial.h"
#include "vcpu.h"
#include "vm.h"

struct hv_conf;

#ifdef __x86_64__
#define HV_PIN_CHIP 2 // KVM_IRQCHIP_IOAPIC
#define HV_PIN_LINE(pin) (pin)
#define HV_CONSOLE_KIND HV_BUS_PORT
#define HV_CONSOLE_BASE HV_SERIAL_PORT
#else
#define HV_PIN_CHIP 0 // the GIC; pins are its shared interrupts
#define HV_PIN_LINE(pin) (1u << 24 | (32 + (pin))) // KVM_ARM_IRQ_TYPE_SPI
#define HV_CONSOLE_KIND HV_BUS_MMIO
#define HV_CONSOLE_BASE HV_UART
#endif

/* What KVM has to know of a VM that was just made. 0, or the errno of an ioctl. */
int hv_arch_vm(struct hv_vm *vm);

/* Make the interrupt controllers. 0, -ENOTSUP (no split one here), or the errno of an ioctl. */
int hv_arch_irqchip(struct hv_vm *vm, bool split);

/*
 * What guests see of the CPUs, all of which are made; nothing about them is open after it. 0,
 * -ENOTSUP (this host lacks what the template promises), -ENOMEM, or the errno of an ioctl.
 */
int hv_arch_vcpus(struct hv_vm *vm, struct hv_vcpu *vcpus, unsigned n, unsigned cpu_template);

/*
 * A kernel in the guest's memory with what it is handed, and the first vCPU about to enter it.
 * initrd->len is 0: none. 0; -ENOEXEC and *why (an image that is refused, or does not fit);
 * -EFAULT; or the errno of an ioctl.
 */
int hv_arch_boot(struct hv_vm *vm, struct hv_vcpu *first, const struct hv_conf *conf,
	const struct hv_file *kernel, const struct hv_file *initrd, const char **why);

/* An exit of this CPU's own kind; its thread. False: KVM cannot go on by it. */
bool hv_arch_exit(struct hv_vcpu *vcpu);
