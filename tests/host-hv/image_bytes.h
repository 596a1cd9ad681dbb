/* SPDX-License-Identifier: Apache-2.0 */
/* A small bzImage and a small PVH ELF that are right, for tests to break. */
#pragma once

#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BZ_LEN 0x1a00u // 4 sectors of setup besides the first, 0x1000 bytes of kernel
#define ELF_LEN 0x400u
#define ELF_NOTE 0x200u // where its note is
#define ELF_ENTRY 0x1000100u

/* A file of these bytes; -1: there is none. */
static inline int image_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, len) == (ssize_t)len)
		return fd;
	close(fd);
	return -1;
}

static inline void put_le(uint8_t *at, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

static inline void make_bzimage(uint8_t *b)
{
	memset(b, 0x90, BZ_LEN);
	memset(b, 0, 0xa00);
	b[0x1f1] = 4;
	put_le(b + 0x1f4, 0x100, 4); // syssize
	put_le(b + 0x1fe, 0xaa55, 2);
	put_le(b + 0x200, 0x66eb, 2); // as long a header as Linux 6's
	put_le(b + 0x202, 0x53726448, 4); // "HdrS"
	put_le(b + 0x206, 0x020f, 2);
	b[0x211] = 1;
	put_le(b + 0x22c, 0x7fffffff, 4);
	put_le(b + 0x230, 0x200000, 4);
	b[0x234] = 1;
	put_le(b + 0x236, 0x3f, 2);
	put_le(b + 0x238, 2047, 4);
	put_le(b + 0x258, 0x1000000, 8);
	put_le(b + 0x260, 0x200000, 4);
}

static inline void make_elf(uint8_t *b)
{
	Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3 };
	const Elf64_Phdr p[] = {
		{ .p_type = PT_LOAD,
			.p_offset = 0x300,
			.p_paddr = 0x1000000,
			.p_filesz = 0x100,
			.p_memsz = 0x1000 },
		{ .p_type = PT_NOTE, .p_offset = ELF_NOTE, .p_filesz = 40, .p_align = 4 },
		{ .p_type = PT_LOAD,
			.p_offset = 0x300,
			.p_paddr = 0x1001000,
			.p_filesz = 0x100,
			.p_memsz = 0x100 },
	};

	memset(b, 0, ELF_LEN);
	memcpy(b, &e, sizeof(e));
	memcpy(b + sizeof(e), p, sizeof(p));
	put_le(b + ELF_NOTE, 4, 4);
	put_le(b + ELF_NOTE + 4, 8, 4);
	put_le(b + ELF_NOTE + 8, 18, 4);
	put_le(b + ELF_NOTE + 12, 0x6e6558, 4); // "Xen"
	put_le(b + ELF_NOTE + 16, 0x1000010, 8);
	put_le(b + ELF_NOTE + 24, 4, 4); // one of another kind
	put_le(b + ELF_NOTE + 32, 3, 4);
	put_le(b + ELF_NOTE + 36, 0x554e47, 4); // "GNU"
}
