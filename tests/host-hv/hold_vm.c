// SPDX-License-Identifier: Apache-2.0
/*
 * Keeps a VM with a CPU that never runs, until it is killed; returns once there is one. For a lab
 * in QEMU's emulator: while there is a VM, KVM rewrites no code of the kernel when others come and
 * go (docs/hypervisor.md, "Guests that hung in the lab").
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0ul);

	if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0ul) || ioctl(vm, KVM_CREATE_VCPU, 0ul) < 0 ||
		daemon(0, 0)) {
		perror("hold_vm");
		return 1;
	}
	for (;;)
		pause();
}
