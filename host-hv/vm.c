// SPDX-License-Identifier: Apache-2.0
/* KVM's VM object and guest memory. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch.h"
#include "fds.h"
#include "image.h"
#include "irq.h"
#include "layout.h"

#ifndef MFD_NOEXEC_SEAL // Linux 6.3's, which headers may not have
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define HUGE_PAGE (2ull << 20)
#define MEM_MAX (1ull << 40)

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
	if (vm->vm_fd < 0)
		return -errno;
	return hv_arch_vm(vm);
}

static int make_memfd(uint64_t size, bool huge)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int fd = memfd_create("guest-memory", flags | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) // an older kernel
		fd = memfd_create("guest-memory", flags);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* Tell KVM of a slot, with its writes logged or not. */
static int set_slot(const struct hv_vm *vm, unsigned i)
{
	const struct hv_slot *s = &vm->slots[i];
	struct kvm_userspace_memory_region region = { .slot = i,
		.flags = vm->slot_flags,
		.guest_phys_addr = s->gpa,
		.memory_size = s->len,
		.userspace_addr = (uintptr_t)s->host };

	return ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/*
 * Huge pages where the host lets shared memory have them by advice: with small ones each page that
 * a guest touches first costs an exit. KVM maps a huge page as one only if its addresses there
 * and here are the same but for multiples of its size. MAP_FAILED and errno.
 */
static void *map_memory(const struct hv_slot *s)
{
	size_t whole = s->len + HUGE_PAGE;
	uint8_t *room = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before = (s->gpa - (uintptr_t)room) % HUGE_PAGE;
	void *p;

	if (room == MAP_FAILED)
		return room;
	p = mmap(room + before, s->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->fd, 0);
	if (p == MAP_FAILED) {
		munmap(room, whole);
		return p;
	}
	if (before)
		munmap(room, before);
	munmap(room + before + s->len, HUGE_PAGE - before);
	madvise(p, s->len, MADV_DONTDUMP);
	madvise(p, s->len, MADV_HUGEPAGE); // a kernel without them has small ones
	return p;
}

/* Memory of its own for len bytes that are to be at gpa. */
static int make_slot(const struct hv_vm *vm, uint64_t gpa, uint64_t len, struct hv_slot *out)
{
	struct hv_slot s = { .gpa = gpa, .len = len, .fd = make_memfd(len, vm->hugepages) };
	void *p;
	int ret;

	if (s.fd < 0)
		return s.fd;
	p = map_memory(&s);
	if (p == MAP_FAILED) {
		ret = -errno;
		close(s.fd);
		return ret;
	}
	s.host = p;
	*out = s;
	return 0;
}

static int add_slot(struct hv_vm *vm, uint64_t gpa, uint64_t len)
{
	int ret = make_slot(vm, gpa, len, &vm->slots[vm->n_slots]);

	vm->n_slots += ret == 0;
	return ret ? ret : set_slot(vm, vm->n_slots - 1);
}

static int make_memory(struct hv_vm *vm, uint64_t size, uint64_t grow)
{
	uint64_t low = size < HV_LOW_END ? size : HV_LOW_END;
	uint64_t end = HV_HIGH_BASE + (size - low);
	int ret = add_slot(vm, 0, low);

	if (ret == 0 && size > low)
		ret = add_slot(vm, HV_HIGH_BASE, size - low);
	vm->unit = end < HV_MEM_LARGE ? HV_MEM_UNIT : HV_MEM_UNIT_LARGE;
	if (ret == 0 && grow)
		ret = make_slot(vm, (end + vm->unit - 1) / vm->unit * vm->unit, grow, &vm->spare);
	return ret;
}

static bool good_size(const struct hv_vm *vm, uint64_t size)
{
	return size <= MEM_MAX && size % (vm->hugepages ? HUGE_PAGE : HV_PAGE) == 0;
}

int hv_vm_init(struct hv_vm *vm, uint64_t mem_size, uint64_t grow, bool hugepages)
{
	int ret;

	*vm = (struct hv_vm){ .kvm_fd = -1, .vm_fd = -1, .chip_fd = -1, .spare.fd = -1 };
	vm->hugepages = hugepages;
	if (mem_size == 0 || !good_size(vm, mem_size) || !good_size(vm, grow))
		return -EINVAL;
	ret = open_kvm(vm);
	ret = ret ? ret : make_memory(vm, mem_size, grow);
	if (ret)
		hv_vm_fini(vm);
	return ret;
}

void hv_vm_fini(struct hv_vm *vm)
{
	hv_irq_fini(vm);
	while (vm->n_slots) {
		const struct hv_slot *s = &vm->slots[--vm->n_slots];

		munmap(s->host, s->len);
		if (s->fd != vm->spare.fd)
			close(s->fd);
	}
	munmap(vm->spare.host, vm->spare.len); // of nothing: refused
	vm->spare.len = 0;
	hv_fd_close(&vm->spare.fd);
	hv_fd_close(&vm->chip_fd);
	hv_fd_close(&vm->vm_fd);
	hv_fd_close(&vm->kvm_fd);
}

int hv_vm_add_memory(struct hv_vm *vm, uint64_t len)
{
	struct hv_slot *s = &vm->spare;
	int ret;

	if (len == 0 || len % vm->unit)
		return -EINVAL;
	if (len > s->len || vm->n_slots == HV_SLOTS_MAX)
		return -ENOSPC;
	vm->slots[vm->n_slots] = *s;
	vm->slots[vm->n_slots].len = len;
	ret = set_slot(vm, vm->n_slots);
	if (ret)
		return ret;
	vm->n_slots++;
	*s = (struct hv_slot){ s->gpa + len, s->len - len, s->host + len, s->fd, s->off + len };
	return 0;
}

int hv_vm_dirty_start(struct hv_vm *vm)
{
	int ret = 0;

	vm->slot_flags = KVM_MEM_LOG_DIRTY_PAGES;
	for (unsigned i = 0; ret == 0 && i < vm->n_slots; i++)
		ret = set_slot(vm, i);
	if (ret)
		hv_vm_dirty_stop(vm);
	return ret;
}

void hv_vm_dirty_stop(struct hv_vm *vm)
{
	vm->slot_flags = 0;
	for (unsigned i = 0; i < vm->n_slots; i++)
		(void)set_slot(vm, i); // KVM refuses no slot that it has as it was made
}

int hv_vm_dirty_fetch(const struct hv_vm *vm, unsigned slot, uint64_t *bits, size_t n)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

	if (slot >= vm->n_slots || n != (vm->slots[slot].len / HV_PAGE + 63) / 64)
		return -EINVAL;
	return ioctl(vm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0 ? -errno : 0;
}

uint8_t *hv_vm_at(const struct hv_vm *vm, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < vm->n_slots; i++) {
		const struct hv_slot *s = &vm->slots[i];

		if (gpa >= s->gpa && gpa - s->gpa <= s->len && len <= s->len - (gpa - s->gpa))
			return s->host + (gpa - s->gpa);
	}
	return NULL;
}

int hv_vm_write(struct hv_vm *vm, uint64_t gpa, const void *bytes, size_t len)
{
	uint8_t *p = hv_vm_at(vm, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, bytes, len);
	return 0;
}

int hv_vm_load(struct hv_vm *vm, uint64_t gpa, const struct hv_file *f, uint64_t off, uint64_t len,
	const char **why)
{
	uint8_t *p = hv_vm_at(vm, gpa, len);

	return p ? hv_image_read(f, off, p, len, why) : -EFAULT;
}

uint64_t hv_vm_low_size(const struct hv_vm *vm)
{
	return vm->slots[0].len;
}
