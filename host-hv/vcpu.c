// SPDX-License-Identifier: Apache-2.0
/* KVM's vCPU object: registers, the run loop, the two ports of the debug console. */
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PML4_GPA 0x1000
#define PDPT_GPA 0x2000
#define PD_GPA 0x3000
#define LAYOUT_END 0x10000

#define PTE_P_RW_US 0x7ull
#define PTE_LARGE 0x80ull
#define CR0_PE_NE_WP_PG 0x80010021ull
#define CR4_PAE_OSFXSR 0x620ull
#define EFER_LME_LMA 0x500ull
#define RFLAGS_IOPL3 0x3002ull

int hv_vcpu_init(struct hv_vcpu *vcpu, struct hv_vm *vm, int console_fd)
{
	int size;

	*vcpu = (struct hv_vcpu){ .fd = -1, .console_fd = console_fd };
	vcpu->fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
	if (vcpu->fd < 0)
		return -errno;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*vcpu->run)) {
		hv_vcpu_fini(vcpu);
		return -EIO;
	}
	void *p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (p == MAP_FAILED) {
		int err = -errno;

		hv_vcpu_fini(vcpu);
		return err;
	}
	vcpu->run = p;
	vcpu->run_size = (size_t)size;
	return 0;
}

void hv_vcpu_fini(struct hv_vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	*vcpu = (struct hv_vcpu){ .fd = -1 };
}

static int write_page_tables(struct hv_vm *vm)
{
	uint64_t pml4 = PDPT_GPA | PTE_P_RW_US, pdpt = PD_GPA | PTE_P_RW_US;
	uint64_t pd[512];
	int ret;

	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | PTE_P_RW_US | PTE_LARGE;
	ret = hv_vm_write(vm, PML4_GPA, &pml4, sizeof(pml4));
	if (ret == 0)
		ret = hv_vm_write(vm, PDPT_GPA, &pdpt, sizeof(pdpt));
	if (ret == 0)
		ret = hv_vm_write(vm, PD_GPA, pd, sizeof(pd));
	return ret;
}

int hv_vcpu_enter_user64(struct hv_vcpu *vcpu, struct hv_vm *vm, uint64_t entry)
{
	struct kvm_segment code = { .limit = 0xffffffff,
		.selector = 0x33,
		.type = 11,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.l = 1,
		.g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
		.selector = 0x2b,
		.type = 3,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.db = 1,
		.g = 1 };
	struct kvm_regs regs = { .rip = entry, .rsp = entry, .rflags = RFLAGS_IOPL3 };
	struct kvm_sregs s;
	int ret;

	if (entry < LAYOUT_END || entry >= vm->mem_size)
		return -EFAULT;
	ret = write_page_tables(vm);
	if (ret)
		return ret;
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = CR0_PE_NE_WP_PG;
	s.cr3 = PML4_GPA;
	s.cr4 = CR4_PAE_OSFXSR;
	s.efer = EFER_LME_LMA;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

/* One IN or OUT. Returns the exit code, or -EAGAIN to go on. */
static int port_io(struct hv_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t off = run->io.data_offset;
	uint64_t len = (uint64_t)run->io.size * run->io.count;
	uint8_t *data = (uint8_t *)run + off;

	if (off > vcpu->run_size || len > vcpu->run_size - off)
		return -EIO;
	if (run->io.direction == KVM_EXIT_IO_IN) {
		memset(data, 0xff, len);
		return -EAGAIN;
	}
	if (run->io.port == HV_PORT_EXIT)
		return data[0];
	// A console that cannot be written loses bytes; the guest goes on.
	if (run->io.port == HV_PORT_CONSOLE && write(vcpu->console_fd, data, len) < 0)
		return -EAGAIN;
	return -EAGAIN;
}

int hv_vcpu_run(struct hv_vcpu *vcpu)
{
	for (;;) {
		int ret;

		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return -errno;
		}
		vcpu->exits++;
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_IO:
			ret = port_io(vcpu);
			if (ret != -EAGAIN)
				return ret;
			break;
		case KVM_EXIT_MMIO:
			// There is no device: reads give all ones, writes vanish.
			memset(vcpu->run->mmio.data, 0xff, sizeof(vcpu->run->mmio.data));
			break;
		case KVM_EXIT_SHUTDOWN:
			return -EFAULT;
		default:
			return -EIO;
		}
	}
}
