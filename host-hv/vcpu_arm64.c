// SPDX-License-Identifier: Apache-2.0
/*
 * arm64: the GIC, what a vCPU is made of, and its exits. Compiled, never run so far. Source: Linux'
 * Documentation/virt/kvm/api.rst and devices/arm-vgic-v3.rst.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "cpuid.h"
#include "irq.h"
#include "layout.h"
#include "power.h"

#define SLEEP_S5 0x34 // HV_EV_SLEEP_CONTROL: enabled, type 5

int hv_arch_vm(struct hv_vm *vm)
{
	(void)vm;
	return 0;
}

static int set_attr(int fd, uint32_t group, uint64_t attr, void *value)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &a) < 0 ? -errno : 0;
}

/* A GICv3 without ITS: pins only, no messages. */
int hv_arch_irqchip(struct hv_vm *vm, bool split)
{
	struct kvm_create_device dev = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint64_t dist = HV_GIC_DIST, redist = HV_GIC_REDIST;
	uint32_t irqs = 64; // 32 of each CPU's own, and as many pins
	int ret;

	if (split)
		return -ENOTSUP;
	if (ioctl(vm->vm_fd, KVM_CREATE_DEVICE, &dev) < 0)
		return -errno;
	vm->chip_fd = (int)dev.fd;
	ret = set_attr(vm->chip_fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	if (ret == 0)
		ret = set_attr(vm->chip_fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST,
			&redist);
	return ret ? ret : set_attr(vm->chip_fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs);
}

int hv_cpu_template_find(const char *name)
{
	return strcmp(name, "host") == 0 ? HV_CPU_HOST : -EINVAL;
}

/* PSCI 0.2 starts all but the first. */
int hv_arch_vcpus(struct hv_vm *vm, struct hv_vcpu *vcpus, unsigned n, unsigned cpu_template)
{
	struct kvm_vcpu_init init;

	if (cpu_template != HV_CPU_HOST)
		return -EINVAL;
	if (ioctl(vm->vm_fd, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return -errno;
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	for (unsigned i = 0; i < n; i++) {
		if (ioctl(vcpus[i].fd, KVM_ARM_VCPU_INIT, &init) < 0)
			return -errno;
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	}
	return set_attr(vm->chip_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
}

/* PSCI's ends of a guest are what a PC writes to the registers of power.c. */
bool hv_arch_exit(struct hv_vcpu *vcpu)
{
	const uint8_t off = SLEEP_S5, reset = HV_EV_RESET_VALUE;

	if (vcpu->run->exit_reason != KVM_EXIT_SYSTEM_EVENT)
		return false;
	if (vcpu->run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN)
		hv_bus_write(vcpu->ports, HV_BUS_MMIO, HV_EVENTS + HV_EV_SLEEP_CONTROL, &off, 1);
	else
		hv_bus_write(vcpu->ports, HV_BUS_MMIO, HV_EVENTS + HV_EV_RESET, &reset, 1);
	return true;
}
