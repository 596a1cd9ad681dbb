/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: KVM's VM object and the guest's memory, a sealed memfd that can be shared
 * with the card and nobody else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hv_irq;

struct hv_vm {
	int kvm_fd, vm_fd; // owned
	int mem_fd; // owned: sealed against shrinking and growing
	uint8_t *mem; // owned mapping of mem_fd
	size_t mem_size; // bytes
	struct hv_irq *irq; // owned by irq.c; NULL: there is no irqchip
};

/*
 * Open KVM, make a VM with mem_size bytes of memory at guest physical address 0.
 *
 * Returns 0, or
 *   -EINVAL  mem_size is 0 or no multiple of 4 KiB
 *   -ENOSYS  KVM speaks another API than 12, or lacks a capability that we cannot do without
 *   the errno of open(2) on /dev/kvm, memfd_create(2), mmap(2) or a KVM ioctl
 */
int hv_vm_init(struct hv_vm *vm, size_t mem_size);
void hv_vm_fini(struct hv_vm *vm);

/* Copy len bytes to guest physical address gpa. 0, or -EFAULT outside the memory. */
int hv_vm_write(struct hv_vm *vm, uint64_t gpa, const void *bytes, size_t len);
