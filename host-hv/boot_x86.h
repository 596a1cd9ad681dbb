/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel in the guest's memory, with what it is handed, and the first vCPU about to enter it.
 * Before that vCPU's thread starts.
 */
#pragma once

#include "image.h"
#include "vcpu.h"
#include "vm.h"

struct hv_boot {
	const struct hv_image *image;
	const struct hv_bytes *kernel, *initrd; // initrd->at is NULL: none
	const char *cmdline;
};

/*
 * Copy the kernel and initrd to their places, write memory map, command line, descriptor and page
 * tables and the structure that this kind of kernel wants, and set the registers. 0; -ENOEXEC and
 * *why (initrd or command line do not fit); -EFAULT; or the errno of an ioctl.
 * Source: Linux' Documentation/arch/x86/boot.rst and zero-page.rst; Xen's docs/misc/pvh.pandoc;
 * Intel SDM volume 3, sections 4.5 and 9.8.5.
 */
int hv_boot(struct hv_vm *vm, struct hv_vcpu *vcpu, const struct hv_boot *b, const char **why);
