/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual CPU: set up in 64-bit user mode, run until the guest ends or breaks. */
#pragma once

#include <stdint.h>

#include "vm.h"

#define HV_PORT_CONSOLE 0x3f8 // a byte written here goes to the console
#define HV_PORT_EXIT 0xf4 // a byte written here ends the guest with that code

struct kvm_run;

struct hv_vcpu {
	int fd; // owned
	struct kvm_run *run; // owned mapping
	size_t run_size; // bytes
	int console_fd; // borrowed: where console bytes go
	uint64_t exits; // returns of KVM_RUN
};

int hv_vcpu_init(struct hv_vcpu *vcpu, struct hv_vm *vm, int console_fd);
void hv_vcpu_fini(struct hv_vcpu *vcpu);

/*
 * Put page tables that map the first 1 GiB one to one below `entry`, and the CPU in long mode at
 * privilege level 3 with port I/O allowed, at `entry`, stack below it. `entry` must be >= 64 KiB.
 * 0, -EFAULT, or the errno of an ioctl. Source: Intel SDM volume 3, sections 4.5 and 9.8.5.
 */
int hv_vcpu_enter_user64(struct hv_vcpu *vcpu, struct hv_vm *vm, uint64_t entry);

/*
 * Run until the guest writes to HV_PORT_EXIT: 0..255. Otherwise -EFAULT (triple fault or an access
 * outside the memory), -EIO (KVM failed to run it), or the errno of KVM_RUN. Unknown ports read all
 * ones and ignore writes.
 */
int hv_vcpu_run(struct hv_vcpu *vcpu);
