// SPDX-License-Identifier: Apache-2.0
/* The shortest kernel by PVH's note: a byte to the console, then sleep. For any hypervisor that knows it. */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 8, 18 // XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad first

	.text
	.code32
	.globl first
first:
	movw $0x3f8, %dx
	movb $'!', %al
	outb %al, %dx
	cli
1:	hlt
	jmp 1b
