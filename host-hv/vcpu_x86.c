// SPDX-License-Identifier: Apache-2.0
/* x86-64: its VM, interrupt controllers, what a vCPU is made of, and its exits. */
#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "cpuid.h"
#include "irq.h"
#include "layout.h"

#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_MISC_ENABLE 0x1a0
#define MISC_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ON_WB 0x806
/* Four pages that KVM for Intel CPUs needs in the guest's addresses, where nothing else is. */
#define IDENTITY_MAP 0xfeffc000ull
#define TSS_PAGES 0xfeffd000ul

int hv_arch_vm(struct hv_vm *vm)
{
	uint64_t identity = IDENTITY_MAP;
	// First of all: KVM waits here until all see the filter, which takes 13 ms if it has had
	// another change of that kind a moment ago, and 0.1 ms now.
	int ret = hv_msr_filter(vm);

	if (ret)
		return ret;
	if (ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
		ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_PAGES) < 0)
		return -errno;
	return 0;
}

int hv_arch_irqchip(struct hv_vm *vm, bool split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { HV_IRQ_PINS } };

	if (split)
		return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0 ? -errno : 0;
	return ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 ? -errno : 0;
}

static_assert(offsetof(struct kvm_msrs, entries) == 8, "KVM's layout");

struct msrs { // struct kvm_msrs, whose entries have no number
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entries[2];
};

static int setup(struct hv_vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
	struct msrs caps = { .nmsrs = 1, .entries = { { .index = MSR_ARCH_CAPABILITIES } } };
	struct msrs msrs = { .nmsrs = 2,
		.entries = { { .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRING },
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ON_WB } } };

	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		return -errno;
	// A CPU without it has nothing to say
	if (ioctl(vcpu->fd, KVM_GET_MSRS, &caps) == 1) {
		uint64_t was = caps.entries[0].data, now = hv_msr_capabilities(was);

		caps.entries[0].data = now;
		if (now != was && ioctl(vcpu->fd, KVM_SET_MSRS, &caps) != 1)
			return -EIO;
	}
	return ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 0 ? -errno : 0;
}

int hv_arch_vcpus(struct hv_vm *vm, struct hv_vcpu *vcpus, unsigned n, unsigned cpu_template)
{
	struct kvm_cpuid2 *cpuid;
	int ret = hv_cpuid_make(vm, cpu_template, n, &cpuid);

	if (ret)
		return ret;
	for (unsigned i = 0; i < n && ret == 0; i++) {
		hv_cpuid_for(cpuid, i);
		ret = setup(&vcpus[i], cpuid);
	}
	free(cpuid);
	return ret;
}

/* IN and OUT, one or a string of them. False: KVM's record of it makes no sense. */
static bool port_io(struct hv_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint64_t off = run->io.data_offset;
	uint64_t len = (uint64_t)run->io.size * run->io.count;
	uint8_t *data = (uint8_t *)vcpu->run + off;
	unsigned size = run->io.size;

	if (off > vcpu->run_size || len > vcpu->run_size - off)
		return false;
	for (uint32_t i = 0; i < run->io.count; i++, data += size)
		if (run->io.direction == KVM_EXIT_IO_IN)
			hv_bus_read(vcpu->ports, HV_BUS_PORT, run->io.port, data, size);
		else
			hv_bus_write(vcpu->ports, HV_BUS_PORT, run->io.port, data, size);
	return true;
}

bool hv_arch_exit(struct hv_vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		return port_io(vcpu);
	case KVM_EXIT_IOAPIC_EOI:
		hv_bus_write(vcpu->ports, HV_BUS_MMIO, HV_IOAPIC + HV_IOAPIC_EOI,
			&vcpu->run->eoi.vector, 1);
		return true;
	default:
		return false;
	}
}
