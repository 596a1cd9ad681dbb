// SPDX-License-Identifier: Apache-2.0
/* KVM's VM object and guest memory. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "irq.h"

/* What every device of the card will need: kicks and interrupts without passing through us. */
static const int needed_caps[] = { KVM_CAP_USER_MEMORY, KVM_CAP_IOEVENTFD, KVM_CAP_IRQFD,
	KVM_CAP_IMMEDIATE_EXIT };

static int open_kvm(struct hv_vm *vm)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return -errno;
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return -ENOSYS;
	for (size_t i = 0; i < sizeof(needed_caps) / sizeof(needed_caps[0]); i++)
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed_caps[i]) <= 0)
			return -ENOSYS;
	vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	return vm->vm_fd < 0 ? -errno : 0;
}

static int make_memory(struct hv_vm *vm, size_t size)
{
	vm->mem_fd = memfd_create("guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vm->mem_fd < 0)
		return -errno;
	if (ftruncate(vm->mem_fd, (off_t)size) < 0 ||
		fcntl(vm->mem_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->mem_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	vm->mem = p;
	vm->mem_size = size;
	madvise(p, size, MADV_DONTDUMP);

	struct kvm_userspace_memory_region slot = {
		.memory_size = size,
		.userspace_addr = (uintptr_t)p,
	};
	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

int hv_vm_init(struct hv_vm *vm, size_t mem_size)
{
	int ret;

	*vm = (struct hv_vm){ .kvm_fd = -1, .vm_fd = -1, .mem_fd = -1 };
	if (mem_size == 0 || mem_size % 4096)
		return -EINVAL;
	ret = open_kvm(vm);
	if (ret == 0)
		ret = make_memory(vm, mem_size);
	if (ret)
		hv_vm_fini(vm);
	return ret;
}

void hv_vm_fini(struct hv_vm *vm)
{
	hv_irq_fini(vm);
	if (vm->mem)
		munmap(vm->mem, vm->mem_size);
	if (vm->mem_fd >= 0)
		close(vm->mem_fd);
	if (vm->vm_fd >= 0)
		close(vm->vm_fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	*vm = (struct hv_vm){ .kvm_fd = -1, .vm_fd = -1, .mem_fd = -1 };
}

int hv_vm_write(struct hv_vm *vm, uint64_t gpa, const void *bytes, size_t len)
{
	if (gpa > vm->mem_size || len > vm->mem_size - gpa)
		return -EFAULT;
	memcpy(vm->mem + gpa, bytes, len);
	return 0;
}
