// SPDX-License-Identifier: Apache-2.0
/* Kernels, checked. Every number in them is a stranger's. */
#include "image.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_wire.h"
#include "layout.h"

#define HDR_END 0x268 // the file has the header as far as init_size, at least
#define HDR_MAX 0x301 // bytes of it and before it: its length is a byte at 0x201
#define LOADED_HIGH 0x01
#define XLF_KERNEL_64 0x0001
#define ENTRY_64 0x200 // boot.rst, "64-bit boot protocol"
#define PVH_NOTE 18 // XEN_ELFNOTE_PHYS32_ENTRY
#define PHDRS_MAX 64
#define NOTES_MAX (16u << 10) // bytes
#define CMDLINE_OLD 255 // what a kernel takes that does not say

static int reject(const char **why, const char *text)
{
	*why = text;
	return -ENOEXEC;
}

int hv_image_open(int fd, struct hv_file *out, const char **why)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return reject(why, "image: no plain file");
	if (st.st_size <= 0 || (uint64_t)st.st_size > HV_IMAGE_MAX)
		return reject(why, "image: empty, or larger than 1 GiB");
	*out = (struct hv_file){ .fd = fd, .len = (uint64_t)st.st_size };
	return 0;
}

int hv_image_read(const struct hv_file *f, uint64_t off, void *to, uint64_t len, const char **why)
{
	uint8_t *at = to;

	while (len > 0) {
		ssize_t n = pread(f->fd, at, len, (off_t)off);

		if (n < 0)
			return -errno;
		if (n == 0)
			return reject(why, "image: the file became shorter");
		at += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Where it wants to be, or the lowest place that its alignment allows. 0 when there is none. */
static uint64_t choose_base(uint64_t pref, uint64_t align, uint64_t size, uint64_t low)
{
	uint64_t least = hv_align_up(HV_IMAGE_MIN, align);

	if (pref % align == 0 && pref < low && size <= low - pref)
		return pref;
	return least < low && size <= low - least ? least : 0;
}

static int check_header(const uint8_t *h, uint64_t len, const char **why)
{
	if (len < HDR_END)
		return reject(why, "bzImage: shorter than its setup header");
	if (dpu_le16_load(h + 0x206) < 0x020c)
		return reject(why, "bzImage: boot protocol older than 2.12");
	if (!(h[0x211] & LOADED_HIGH))
		return reject(why, "bzImage: a kernel that is not loaded high");
	if (!(dpu_le16_load(h + 0x236) & XLF_KERNEL_64))
		return reject(why, "bzImage: no 64-bit entry");
	if (!h[0x234])
		return reject(why, "bzImage: not relocatable");
	return 0;
}

static int plan_bzimage(
	const uint8_t *h, uint64_t len, uint64_t low, struct hv_image *out, const char **why)
{
	int ret = check_header(h, len, why);

	if (ret)
		return ret;

	uint64_t setup = ((h[0x1f1] ? h[0x1f1] : 4u) + 1u) * 512u;
	uint64_t size = (uint64_t)dpu_le32_load(h + 0x1f4) * 16;
	uint64_t align = dpu_le32_load(h + 0x230), pref = dpu_le64_load(h + 0x258),
		 init = dpu_le32_load(h + 0x260);
	uint64_t initrd_max = dpu_le32_load(h + 0x22c), cmdline = dpu_le32_load(h + 0x238);
	uint64_t hdr_end = 0x202u + h[0x201];

	if (setup >= len)
		return reject(why, "bzImage: setup_sects is beyond the file");
	if (size == 0 || size > hv_align_up(len - setup, 16))
		return reject(why, "bzImage: syssize is beyond the file");
	if (size > len - setup)
		size = len - setup;
	if (align < HV_PAGE || align > HV_IMAGE_MAX || (align & (align - 1)))
		return reject(why, "bzImage: kernel_alignment is no power of two, or none to use");
	if (pref < HV_IMAGE_MIN || pref >= HV_LOW_END)
		return reject(why, "bzImage: pref_address is not in low memory");
	if (init < size)
		return reject(why, "bzImage: init_size is less than the kernel's");
	if (hdr_end < HDR_END - 4 || hdr_end > setup || size <= ENTRY_64)
		return reject(why, "bzImage: no room for what the header says");

	uint64_t base = choose_base(pref, align, init, low);
	if (base == 0)
		return reject(why, "bzImage: init_size is more than the memory");
	*out = (struct hv_image){ .kind = HV_IMAGE_BZIMAGE,
		.entry = base + ENTRY_64,
		.base = base,
		.end = base + init,
		.initrd_end = initrd_max ? initrd_max + 1 : HV_LOW_END,
		.cmdline_max = cmdline ? cmdline : CMDLINE_OLD,
		.segs = { { .off = setup, .len = size, .gpa = base, .mem_len = size } },
		.n_segs = 1 };
	out->setup_len = (unsigned)(hdr_end - HV_SETUP_AT);
	if (out->setup_len > HV_SETUP_MAX)
		out->setup_len = HV_SETUP_MAX;
	memcpy(out->setup, h + HV_SETUP_AT, out->setup_len);
	return 0;
}

static int add_load(
	struct hv_image *image, const Elf64_Phdr *p, uint64_t len, uint64_t low, const char **why)
{
	struct hv_image_seg s = {
		.off = p->p_offset, .len = p->p_filesz, .gpa = p->p_paddr, .mem_len = p->p_memsz
	};

	if (s.mem_len == 0)
		return 0;
	if (s.len > s.mem_len)
		return reject(why, "ELF: a segment has more bytes than memory");
	if (s.off > len || s.len > len - s.off)
		return reject(why, "ELF: a segment is beyond the file");
	if (s.gpa < HV_IMAGE_MIN)
		return reject(why, "ELF: a segment is below 1 MiB");
	if (s.gpa >= low || s.mem_len > low - s.gpa)
		return reject(why, "ELF: a segment is not in memory");
	if (image->n_segs == HV_SEGS_MAX)
		return reject(why, "ELF: too many segments");
	for (unsigned i = 0; i < image->n_segs; i++) {
		const struct hv_image_seg *o = &image->segs[i];

		if (s.gpa < o->gpa + o->mem_len && o->gpa < s.gpa + s.mem_len)
			return reject(why, "ELF: segments overlap");
	}
	image->segs[image->n_segs++] = s;
	if (s.gpa < image->base)
		image->base = s.gpa;
	if (s.gpa + s.mem_len > image->end)
		image->end = s.gpa + s.mem_len;
	return 0;
}

/* One note of Xen's kind with the entry in it. */
static int take_entry(struct hv_image *image, const uint8_t *desc, uint32_t len, const char **why)
{
	if (image->entry)
		return reject(why, "ELF: two PVH notes");
	if (len != 4 && len != 8)
		return reject(why, "ELF: a PVH note of no known length");
	image->entry = len == 4 ? dpu_le32_load(desc) : dpu_le64_load(desc);
	return image->entry ? 0 : reject(why, "ELF: a PVH note without an entry");
}

/* Each turn takes a note's header at least, so there are never more than NOTES_MAX / 12. */
static int walk_notes(
	struct hv_image *image, const struct hv_file *f, const Elf64_Phdr *p, const char **why)
{
	uint8_t notes[NOTES_MAX], *at = notes;
	uint64_t left = p->p_filesz;
	int ret;

	if (p->p_offset > f->len || left > f->len - p->p_offset)
		return reject(why, "ELF: notes are beyond the file");
	if (left > NOTES_MAX)
		return reject(why, "ELF: more notes than a kernel has");
	if (p->p_align != 4 && p->p_align != 8)
		return reject(why, "ELF: notes of no known alignment");
	ret = hv_image_read(f, p->p_offset, notes, left, why);
	if (ret)
		return ret;
	while (left >= sizeof(Elf64_Nhdr)) {
		uint32_t namesz = dpu_le32_load(at), descsz = dpu_le32_load(at + 4);
		uint64_t desc = hv_align_up(sizeof(Elf64_Nhdr) + (uint64_t)namesz, p->p_align);
		uint64_t next = hv_align_up(desc + descsz, p->p_align);

		if (desc > left || descsz > left - desc)
			return reject(why, "ELF: a note is longer than the notes");
		if (namesz == 4 && dpu_le32_load(at + 8) == PVH_NOTE &&
			memcmp(at + sizeof(Elf64_Nhdr), "Xen", 4) == 0)
			ret = take_entry(image, at + desc, descsz, why);
		if (ret)
			return ret;
		if (next >= left)
			break;
		at += next;
		left -= next;
	}
	return 0;
}

static bool entry_is_loaded(const struct hv_image *image)
{
	for (unsigned i = 0; i < image->n_segs; i++) {
		const struct hv_image_seg *s = &image->segs[i];

		if (image->entry >= s->gpa && image->entry - s->gpa < s->len)
			return true;
	}
	return false;
}

static int check_ehdr(const Elf64_Ehdr *e, uint64_t len, const char **why)
{
	if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != ELFDATA2LSB ||
		e->e_machine != EM_X86_64 || e->e_type != ET_EXEC)
		return reject(why, "ELF: no executable of x86-64");
	if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 || e->e_phnum > PHDRS_MAX)
		return reject(why, "ELF: program headers of no known number or size");
	if (e->e_phoff > len || e->e_phnum * sizeof(Elf64_Phdr) > len - e->e_phoff)
		return reject(why, "ELF: program headers are beyond the file");
	return 0;
}

static int plan_elf(const struct hv_file *f, const uint8_t *head, uint64_t low,
	struct hv_image *out, const char **why)
{
	Elf64_Ehdr e;
	int ret;

	if (f->len < sizeof(e))
		return reject(why, "ELF: shorter than its header");
	memcpy(&e, head, sizeof(e));
	ret = check_ehdr(&e, f->len, why);
	*out = (struct hv_image){ .kind = HV_IMAGE_PVH,
		.base = UINT64_MAX,
		.initrd_end = HV_LOW_END,
		.cmdline_max = UINT32_MAX };
	for (unsigned i = 0; ret == 0 && i < e.e_phnum; i++) {
		Elf64_Phdr p;

		ret = hv_image_read(f, e.e_phoff + i * sizeof(p), &p, sizeof(p), why);
		if (ret == 0 && p.p_type == PT_LOAD)
			ret = add_load(out, &p, f->len, low, why);
		else if (ret == 0 && p.p_type == PT_NOTE)
			ret = walk_notes(out, f, &p, why);
	}
	if (ret)
		return ret;
	if (!out->entry)
		return reject(why, "ELF: no PVH note");
	return entry_is_loaded(out) ? 0 : reject(why, "ELF: the entry is not in a segment");
}

int hv_image_plan(const struct hv_file *f, uint64_t low, struct hv_image *out, const char **why)
{
	uint8_t head[HDR_MAX] = { 0 };
	int ret = hv_image_read(f, 0, head, f->len < HDR_MAX ? f->len : HDR_MAX, why);

	if (ret)
		return ret;
	if (low > HV_LOW_END)
		low = HV_LOW_END;
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return plan_elf(f, head, low, out, why);
	if (dpu_le16_load(head + 0x1fe) == 0xaa55 && memcmp(head + 0x202, "HdrS", 4) == 0)
		return plan_bzimage(head, f->len, low, out, why);
	return reject(why, "kernel: neither a bzImage nor ELF");
}

int hv_image_plan_flat(uint64_t len, uint64_t low, struct hv_image *out, const char **why)
{
	if (len == 0 || low <= HV_IMAGE_MIN || len > low - HV_IMAGE_MIN)
		return reject(why, "flat: more than the memory");
	*out = (struct hv_image){ .kind = HV_IMAGE_FLAT,
		.entry = HV_IMAGE_MIN,
		.base = HV_IMAGE_MIN,
		.end = HV_IMAGE_MIN + len,
		.segs = { { .len = len, .gpa = HV_IMAGE_MIN, .mem_len = len } },
		.n_segs = 1 };
	return 0;
}

int hv_image_place_initrd(
	const struct hv_image *image, uint64_t len, uint64_t low, uint64_t *gpa, const char **why)
{
	uint64_t end = image->initrd_end < low ? image->initrd_end : low;
	uint64_t at;

	if (len == 0 || len > end)
		return reject(why, "initrd: empty, or more than the memory that it may be in");
	at = (end - len) & ~(HV_PAGE - 1);
	if (at < image->end && image->base < at + len)
		at = len > image->base ? 0 : (image->base - len) & ~(HV_PAGE - 1);
	if (at < HV_IMAGE_MIN)
		return reject(why, "initrd: no room beside the kernel");
	*gpa = at;
	return 0;
}

int hv_image_check_cmdline(
	const struct hv_image *image, const char *text, size_t len, const char **why)
{
	if (len > image->cmdline_max)
		return reject(why, "command line: longer than the kernel takes");
	return memchr(text, 0, len) ? reject(why, "command line: a NUL in it") : 0;
}
