/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: KVM's VM object and the guest's memory, sealed memfds that can be shared
 * with the card and nobody else. What is above the hole for PCI (layout.h) is the same file's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hv_file;
struct hv_irq;

#define HV_SLOTS_MAX 8 // what a vhost-user memory table can have

struct hv_slot {
	uint64_t gpa, len; // bytes
	uint8_t *host; // owned mapping
	int fd; // owned, but of what was spare: sealed against shrinking and growing
	uint64_t off; // where it begins in fd's file
};

struct hv_vm {
	int kvm_fd, vm_fd; // owned
	int chip_fd; // owned: arm64's GIC, elsewhere -1
	bool hugepages;
	struct hv_slot slots[HV_SLOTS_MAX];
	unsigned n_slots;
	struct hv_slot spare; // what may be added, and is no part of the guest; fd -1: nothing ever
	uint64_t unit; // of what is added
	uint32_t slot_flags; // KVM's: whether writes are logged
	struct hv_irq *irq; // owned by irq.c; NULL: there is no irqchip
};

/*
 * Open KVM, make a VM with mem_size bytes of memory at guest physical address 0, as far as the hole
 * at 3 GiB, and the rest above it; of 2 MiB pages that are there already, or ordinary ones. grow
 * bytes more are mapped (of huge pages: reserved), for hv_vm_add_memory(): who runs the guest may
 * make no memory any more when that is called.
 *
 * Returns 0, or
 *   -EINVAL  mem_size is 0, or one of both is too large or no multiple of a page
 *   -ENOSYS  KVM speaks another API than 12, or lacks a capability that we cannot do without
 *   the errno of open(2) on /dev/kvm, memfd_create(2), mmap(2) or a KVM ioctl; -ENOMEM is mmap's
 *   where there are not enough huge pages
 */
int hv_vm_init(struct hv_vm *vm, uint64_t mem_size, uint64_t grow, bool hugepages);
void hv_vm_fini(struct hv_vm *vm);

/*
 * Make len bytes of what is spare the guest's, in a slot of its own above all that there is, while
 * it runs or not. Main thread. 0, -EINVAL (len is 0 or no multiple of the unit), -ENOSPC (not so
 * much is spare, or no slot left), or the errno of the ioctl; nothing has changed then.
 */
int hv_vm_add_memory(struct hv_vm *vm, uint64_t len);

/*
 * Which pages the guest's CPUs write, for a copy of a guest that runs: noted from the start on, in
 * a bit for each page of a slot, and forgotten as they are fetched. What the card writes into the
 * memory is not among them. n: words of 64 bits, as many as the slot has pages for. Main thread.
 * 0, -EINVAL (no such slot, another n), or the errno of the ioctl: of fetch -ENOENT when nothing
 * was started. Source: Linux' Documentation/virt/kvm/api.rst, 4.8 and 4.35.
 */
int hv_vm_dirty_start(struct hv_vm *vm);
void hv_vm_dirty_stop(struct hv_vm *vm);
int hv_vm_dirty_fetch(const struct hv_vm *vm, unsigned slot, uint64_t *bits, size_t n);

/* Memory at gpa, or NULL unless all len bytes are in one slot. */
uint8_t *hv_vm_at(const struct hv_vm *vm, uint64_t gpa, uint64_t len);

/* Copy len bytes to guest physical address gpa. 0, or -EFAULT outside the memory. */
int hv_vm_write(struct hv_vm *vm, uint64_t gpa, const void *bytes, size_t len);

/* Bytes of a file at gpa. 0, -EFAULT outside the memory, or what hv_image_read() returns. */
int hv_vm_load(struct hv_vm *vm, uint64_t gpa, const struct hv_file *f, uint64_t off, uint64_t len,
	const char **why);

uint64_t hv_vm_low_size(const struct hv_vm *vm); // bytes of memory below the hole
