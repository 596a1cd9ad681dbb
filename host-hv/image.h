/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels, checked: what of their bytes goes where in the guest's memory, and where it is entered.
 * What is decided from is read once, into memory that nobody else can change: a file that changes
 * meanwhile is one kernel or another, or shorter, and never more than was checked. Nothing here
 * writes to a guest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HV_SEGS_MAX 16
#define HV_SETUP_AT 0x1f1 // a bzImage's setup header, and where it goes in the zero page
#define HV_SETUP_MAX 0x90 // bytes of it that a zero page has room for
#define HV_IMAGE_MAX (1ull << 30) // bytes

enum hv_image_kind {
	HV_IMAGE_BZIMAGE, // entered in 64-bit mode, zero page in RSI
	HV_IMAGE_PVH, // entered in 32-bit protected mode, start info in EBX
	HV_IMAGE_FLAT, // entered in 64-bit user mode: test programs
};

struct hv_image_seg {
	uint64_t off, len; // bytes of the file
	uint64_t gpa, mem_len; // bytes of the guest; beyond len they are zero
};

struct hv_image {
	enum hv_image_kind kind;
	uint64_t entry; // guest physical
	uint64_t base, end; // what the kernel takes up, of memory that it needs at once, too
	uint64_t initrd_end; // the first address that an initrd must not reach
	uint64_t cmdline_max; // bytes, without the NUL
	struct hv_image_seg segs[HV_SEGS_MAX];
	unsigned n_segs;
	uint8_t setup[HV_SETUP_MAX]; // bzImage: its setup header
	unsigned setup_len;
};

struct hv_file {
	int fd; // borrowed
	uint64_t len; // bytes, 1 to HV_IMAGE_MAX; 0: there is none
};

/*
 * A kernel or an initrd. 0, or -ENOEXEC (no plain file, which a memfd is; empty; larger than
 * HV_IMAGE_MAX) and *why.
 */
int hv_image_open(int fd, struct hv_file *out, const char **why);

/* Bytes of it. 0, -ENOEXEC (the file ends before) and *why, or the errno of pread(2). */
int hv_image_read(const struct hv_file *f, uint64_t off, void *to, uint64_t len, const char **why);

/*
 * Look at a kernel for a guest with `low` bytes of memory from 0 on: a bzImage (protocol 2.12 or
 * later, relocatable, with a 64-bit entry) or an ELF file of x86-64 with a PVH note. 0; -ENOEXEC
 * and *why, a sentence for an operator; or the errno of pread(2). Within a bounded number of steps.
 * Source: Linux' Documentation/arch/x86/boot.rst; ELF-64; Xen's docs/misc/pvh.pandoc.
 */
int hv_image_plan(const struct hv_file *f, uint64_t low, struct hv_image *out, const char **why);

/* A flat program, loaded and entered at HV_IMAGE_MIN. As above. */
int hv_image_plan_flat(uint64_t len, uint64_t low, struct hv_image *out, const char **why);

/*
 * Where an initrd of len bytes goes: as high as it may, apart from the kernel. 0 and *gpa, or
 * -ENOEXEC and *why.
 */
int hv_image_place_initrd(
	const struct hv_image *image, uint64_t len, uint64_t low, uint64_t *gpa, const char **why);

/* Whether the kernel takes this command line. 0, or -ENOEXEC (too long, a NUL in it) and *why. */
int hv_image_check_cmdline(
	const struct hv_image *image, const char *text, size_t len, const char **why);
