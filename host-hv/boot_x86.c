// SPDX-License-Identifier: Apache-2.0
/*
 * x86-64: what a kernel is handed, and the state in which it is entered. Source: Linux'
 * Documentation/arch/x86/boot.rst and zero-page.rst; Xen's docs/misc/pvh.pandoc; Intel SDM volume
 * 3, sections 4.5 and 9.8.5.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "acpi.h"
#include "arch.h"
#include "dpu_wire.h"
#include "layout.h"
#include "machine.h"

#define PTE_P_RW 0x3ull
#define PTE_US 0x4ull
#define PTE_LARGE 0x80ull
#define TABLES_GIB 4u // mapped one to one

#define CR0_PE 0x1ull
#define CR0_ET 0x10ull
#define CR0_PE_NE_WP_PG 0x80010021ull
#define CR4_PAE 0x20ull
#define CR4_PAE_OSFXSR 0x620ull
#define EFER_LME_LMA 0x500ull
#define RFLAGS_1 0x2ull
#define RFLAGS_IOPL3 0x3002ull

#define E820_RAM 1
#define E820_RESERVED 2
#define E820_MAX 8
#define PVH_MAGIC 0x336ec578u
#define LOADER_OTHER 0xff

/*
 * All that there is of a firmware. Linux with hardware-reduced ACPI reboots through EFI, and where
 * there is none it jumps to a PC's reset vector in real mode.
 */
static const uint8_t reset_vector[] = {
	0xb0, 0xfe, // mov al, 0xfe
	0xe6, 0x64, // out 0x64, al
	0xf4, 0xeb, 0xfd, // hlt; jmp to the hlt
};

struct boot {
	const struct hv_image *image;
	const struct hv_file *kernel, *initrd;
	const char *cmdline;
};

struct e820 {
	uint64_t at, len;
	uint32_t type;
};

static unsigned memory_map(const struct hv_vm *vm, struct e820 *map)
{
	unsigned n = 0;

	map[n++] = (struct e820){ 0, HV_LOW_RAM_END, E820_RAM };
	map[n++] = (struct e820){ HV_ACPI, HV_ACPI_LEN, E820_RESERVED };
	for (unsigned i = 0; i < vm->n_slots && n < E820_MAX - 1; i++) {
		const struct hv_slot *s = &vm->slots[i];
		uint64_t from = s->gpa ? s->gpa : HV_IMAGE_MIN;

		if (s->gpa + s->len > from)
			map[n++] = (struct e820){ from, s->gpa + s->len - from, E820_RAM };
	}
	// Linux believes in an ECAM only where no memory can be.
	map[n++] = (struct e820){ HV_ECAM, HV_ECAM_LEN, E820_RESERVED };
	return n;
}

static int write_tables(struct hv_vm *vm, uint64_t user)
{
	uint64_t *pml4 = (uint64_t *)(void *)hv_vm_at(vm, HV_TABLES, (2 + TABLES_GIB) * HV_PAGE);
	uint64_t *pdpt = pml4 + 512;

	if (!pml4)
		return -EFAULT;
	pml4[0] = (HV_TABLES + HV_PAGE) | PTE_P_RW | user;
	for (uint64_t g = 0; g < TABLES_GIB; g++)
		pdpt[g] = (HV_TABLES + (2 + g) * HV_PAGE) | PTE_P_RW | user;
	for (uint64_t i = 0; i < TABLES_GIB * 512ull; i++)
		pdpt[512 + i] = i << 21 | PTE_P_RW | PTE_LARGE | user;
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, uint8_t dpl, bool wide)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.dpl = dpl,
		.s = 1,
		.l = wide && type == 11,
		.db = !(wide && type == 11),
		.g = 1 };
}

/* Code at 0x10 and data at 0x18, as Linux' boot protocol has them, 64-bit or 32-bit. */
static int set_kernel_segments(struct hv_vm *vm, struct kvm_sregs *s, bool wide)
{
	const uint64_t gdt[] = { 0, 0, wide ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
		0x00cf93000000ffffull };

	s->cs = segment(0x10, 11, 0, wide);
	s->ds = s->es = s->fs = s->gs = s->ss = segment(0x18, 3, 0, wide);
	s->tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s->gdt = (struct kvm_dtable){ .base = HV_GDT, .limit = sizeof(gdt) - 1 };
	s->idt = (struct kvm_dtable){ 0 };
	return hv_vm_write(vm, HV_GDT, gdt, sizeof(gdt));
}

/*
 * A bzImage in 64-bit mode, PVH in 32-bit mode without pages. A flat program in ring 3 with ports
 * allowed, its stack below the entry: what runs at full speed under nested KVM.
 */
static int enter(struct hv_vm *vm, struct hv_vcpu *vcpu, const struct hv_image *image)
{
	const bool flat = image->kind == HV_IMAGE_FLAT, wide = image->kind != HV_IMAGE_PVH;
	struct kvm_regs regs = { .rip = image->entry, .rflags = flat ? RFLAGS_IOPL3 : RFLAGS_1 };
	struct kvm_sregs s;
	int ret = ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0 ? -errno : 0;

	if (ret == 0 && wide)
		ret = write_tables(vm, flat ? PTE_US : 0);
	if (ret == 0 && !flat)
		ret = set_kernel_segments(vm, &s, wide);
	if (ret)
		return ret;
	if (flat) {
		s.cs = segment(0x33, 11, 3, true);
		s.ds = s.es = s.fs = s.gs = s.ss = segment(0x2b, 3, 3, true);
		regs.rsp = image->entry;
	} else if (wide) {
		regs.rsi = HV_ZERO_PAGE;
	} else {
		regs.rbx = HV_START_INFO;
	}
	s.cr0 = wide ? CR0_PE_NE_WP_PG : CR0_PE | CR0_ET;
	s.cr3 = wide ? HV_TABLES : 0;
	s.cr4 = flat ? CR4_PAE_OSFXSR : wide ? CR4_PAE : 0;
	s.efer = wide ? EFER_LME_LMA : 0;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

/* Entries of a kind's own size, which all begin alike. */
static void put_map(uint8_t *e, unsigned size, const struct e820 *map, unsigned n)
{
	for (unsigned i = 0; i < n; i++, e += size) {
		dpu_le64_store(e, map[i].at);
		dpu_le64_store(e + 8, map[i].len);
		dpu_le32_store(e + 16, map[i].type);
	}
}

/* Offsets: zero-page.rst, and boot.rst for the setup header. */
static int write_zero_page(struct hv_vm *vm, const struct hv_image *image, const struct e820 *map,
	unsigned n, uint64_t initrd, uint64_t initrd_len, size_t cmdline_len)
{
	uint8_t *z = hv_vm_at(vm, HV_ZERO_PAGE, HV_PAGE);

	if (!z)
		return -EFAULT;
	memset(z, 0, HV_PAGE);
	memcpy(z + HV_SETUP_AT, image->setup, image->setup_len);
	dpu_le64_store(z + 0x70, HV_ACPI); // acpi_rsdp_addr
	z[0x210] = LOADER_OTHER;
	dpu_le32_store(z + 0x218, (uint32_t)initrd);
	dpu_le32_store(z + 0x21c, (uint32_t)initrd_len);
	dpu_le32_store(z + 0x228, (uint32_t)HV_CMDLINE);
	dpu_le32_store(z + 0x238, (uint32_t)cmdline_len);
	z[0x1e8] = (uint8_t)n;
	put_map(z + 0x2d0, 20, map, n);
	return 0;
}

/* hvm_start_info, version 1, its memory map and its one module behind it in the same page. */
static int write_start_info(
	struct hv_vm *vm, const struct e820 *map, unsigned n, uint64_t initrd, uint64_t initrd_len)
{
	const unsigned mods = 56, maps = 88; // bytes into the page
	uint8_t *s = hv_vm_at(vm, HV_START_INFO, HV_PAGE);

	if (!s)
		return -EFAULT;
	memset(s, 0, HV_PAGE);
	dpu_le32_store(s, PVH_MAGIC);
	dpu_le32_store(s + 4, 1);
	dpu_le32_store(s + 12, initrd_len ? 1 : 0);
	dpu_le64_store(s + 16, HV_START_INFO + mods);
	dpu_le64_store(s + 24, HV_CMDLINE);
	dpu_le64_store(s + 32, HV_ACPI);
	dpu_le64_store(s + 40, HV_START_INFO + maps);
	dpu_le32_store(s + 48, n);
	dpu_le64_store(s + mods, initrd);
	dpu_le64_store(s + mods + 8, initrd_len);
	put_map(s + maps, 24, map, n);
	return 0;
}

static int load(struct hv_vm *vm, const struct boot *b, const char **why)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < b->image->n_segs; i++) {
		const struct hv_image_seg *s = &b->image->segs[i];

		// What is behind the bytes is zero: the memory is new.
		ret = hv_vm_load(vm, s->gpa, b->kernel, s->off, s->len, why);
	}
	return ret;
}

static int boot(struct hv_vm *vm, struct hv_vcpu *vcpu, const struct boot *b, const char **why)
{
	struct e820 map[E820_MAX];
	unsigned n = memory_map(vm, map);
	size_t len = strlen(b->cmdline);
	uint64_t initrd = 0;
	int ret = load(vm, b, why);

	if (ret)
		return ret;
	if (b->image->kind == HV_IMAGE_FLAT)
		return enter(vm, vcpu, b->image);
	ret = hv_vm_write(vm, HV_RESET_VECTOR, reset_vector, sizeof(reset_vector));
	ret = ret ? ret : hv_image_check_cmdline(b->image, b->cmdline, len, why);
	ret = ret ? ret : hv_vm_write(vm, HV_CMDLINE, b->cmdline, len + 1);
	if (ret == 0 && b->initrd->len)
		ret = hv_image_place_initrd(
			b->image, b->initrd->len, hv_vm_low_size(vm), &initrd, why);
	ret = ret ? ret : hv_vm_load(vm, initrd, b->initrd, 0, b->initrd->len, why);
	if (ret)
		return ret;
	if (b->image->kind == HV_IMAGE_PVH)
		ret = write_start_info(vm, map, n, initrd, b->initrd->len);
	else
		ret = write_zero_page(vm, b->image, map, n, initrd, b->initrd->len, len);
	return ret ? ret : enter(vm, vcpu, b->image);
}

int hv_arch_boot(struct hv_vm *vm, struct hv_vcpu *first, const struct hv_conf *conf,
	const struct hv_file *kernel, const struct hv_file *initrd, const char **why)
{
	struct hv_image image;
	const struct boot b = { &image, kernel, initrd, conf->cmdline };
	uint64_t low = hv_vm_low_size(vm);
	int ret = conf->flat ? hv_image_plan_flat(kernel->len, low, &image, why)
			     : hv_image_plan(kernel, low, &image, why);

	if (ret == 0 && !conf->flat)
		ret = hv_acpi_write(vm, conf->vcpus);
	return ret ? ret : boot(vm, first, &b, why);
}
