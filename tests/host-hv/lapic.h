/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's local APIC, asked for what KVM has delivered: the vCPU never runs. */
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "test.h"
#include "vm.h"

/* A vCPU whose local APIC is on. */
static int local_apic(struct hv_vm *vm)
{
	struct kvm_lapic_state l;
	int fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, KVM_GET_LAPIC, &l), 0);
	l.regs[0xf1] = 1;
	assert_int_equal(ioctl(fd, KVM_SET_LAPIC, &l), 0);
	return fd;
}

/* Whether a vector waits there; it is taken. */
static bool asked(int fd, unsigned vector)
{
	struct kvm_lapic_state l;
	char *at = &l.regs[0x200 + vector / 32 * 16 + vector % 32 / 8];
	bool there;

	assert_int_equal(ioctl(fd, KVM_GET_LAPIC, &l), 0);
	there = *at >> vector % 8 & 1;
	*at = 0;
	assert_int_equal(ioctl(fd, KVM_SET_LAPIC, &l), 0);
	return there;
}
