// SPDX-License-Identifier: Apache-2.0
/*
 * arm64: a kernel's Image, its device tree, and the state in which it is entered. Compiled, never
 * run so far. Source: Linux' Documentation/arch/arm64/booting.rst.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "arch.h"
#include "dpu_wire.h"
#include "fdt.h"
#include "layout.h"
#include "machine.h"

#define IMAGE_MAGIC 0x644d5241u // "ARM\x64"
#define IMAGE_BASE 0x200000ull // a multiple of 2 MiB
#define IMAGE_BIG_ENDIAN 1u
#define PSTATE_EL1H 0x3c5u // interrupts masked

static int plan(const struct hv_file *k, uint64_t low, struct hv_image *out, const char **why)
{
	uint8_t head[64] = { 0 };
	uint64_t off, size;
	int ret = hv_image_read(k, 0, head, k->len < sizeof(head) ? k->len : sizeof(head), why);

	if (ret)
		return ret;
	if (dpu_le32_load(head + 56) != IMAGE_MAGIC) {
		*why = "kernel: no Image of arm64";
		return -ENOEXEC;
	}
	off = dpu_le64_load(head + 8);
	size = dpu_le64_load(head + 16); // with what is not in the file
	if (size == 0 || (dpu_le64_load(head + 24) & IMAGE_BIG_ENDIAN) || off >= IMAGE_BASE) {
		*why = "Image: older than 3.17, big endian, or at an offset of 2 MiB or more";
		return -ENOEXEC;
	}
	if (size < k->len)
		size = k->len;
	if (low <= IMAGE_BASE + off || size > low - IMAGE_BASE - off) {
		*why = "Image: more than the memory";
		return -ENOEXEC;
	}
	*out = (struct hv_image){ .entry = IMAGE_BASE + off,
		.base = IMAGE_BASE,
		.end = IMAGE_BASE + off + size,
		.initrd_end = HV_LOW_END,
		.cmdline_max = HV_CMDLINE_MAX };
	return 0;
}

static int set_reg(const struct hv_vcpu *vcpu, size_t off, uint64_t v)
{
	struct kvm_one_reg r = { .id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
				       off / sizeof(uint32_t),
		.addr = (uintptr_t)&v };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &r) < 0 ? -errno : 0;
}

/* x0 is the device tree; the others are 0 as the CPU was made. */
static int enter(const struct hv_vcpu *vcpu, uint64_t entry)
{
	int ret = set_reg(vcpu, offsetof(struct kvm_regs, regs.pstate), PSTATE_EL1H);

	if (ret == 0)
		ret = set_reg(vcpu, offsetof(struct kvm_regs, regs.regs[0]), HV_FDT);
	return ret ? ret : set_reg(vcpu, offsetof(struct kvm_regs, regs.pc), entry);
}

int hv_arch_boot(struct hv_vm *vm, struct hv_vcpu *first, const struct hv_conf *conf,
	const struct hv_file *kernel, const struct hv_file *initrd, const char **why)
{
	struct hv_fdt_conf f = { .cmdline = conf->cmdline, .vcpus = conf->vcpus };
	uint64_t low = hv_vm_low_size(vm);
	struct hv_image image;
	int ret;

	if (conf->flat || conf->grow_mib) // nothing would tell the guest of memory: no ACPI
		return -ENOTSUP;
	ret = plan(kernel, low, &image, why);
	if (ret == 0)
		ret = hv_image_check_cmdline(&image, conf->cmdline, strlen(conf->cmdline), why);
	if (ret == 0)
		ret = hv_vm_load(vm, image.entry, kernel, 0, kernel->len, why);
	if (ret == 0 && initrd->len)
		ret = hv_image_place_initrd(&image, initrd->len, low, &f.initrd, why);
	if (ret == 0)
		ret = hv_vm_load(vm, f.initrd, initrd, 0, initrd->len, why);
	f.initrd_len = initrd->len;
	if (ret == 0)
		ret = hv_fdt_write(vm, &f);
	return ret ? ret : enter(first, image.entry);
}
