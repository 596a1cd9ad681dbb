// SPDX-License-Identifier: Apache-2.0
/* Kernels that are right, and every way in which they are not: each a clear answer, and soon. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image.h"
#include "image_bytes.h"
#include "layout.h"
#include "test.h"

#define LOW (64ull << 20)
#define PH(n) (64u + 56u * (n)) // program headers: type 0, offset 8, paddr 24, filesz 32, memsz 40
#define TOO_LONG_NS 50000000

struct patch {
	unsigned at, n; // bytes
	uint64_t v;
};

static const struct row {
	const char *name;
	enum hv_image_kind kind;
	unsigned len; // of the file; 0: as it is made
	uint64_t low; // memory; 0: LOW
	struct patch patches[4];
	const char *why; // NULL: it is taken
} rows[] = {
	{ "bzImage", HV_IMAGE_BZIMAGE, 0, 0, { { 0 } }, NULL },
	{ "setup_sects 0 is 4", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1f1, 1, 0 } }, NULL },
	{ "IM-02 setup_sects 255 in 1 KiB", HV_IMAGE_BZIMAGE, 1024, 0, { { 0x1f1, 1, 255 } },
		"setup_sects" },
	{ "setup_sects ends at the file's end", HV_IMAGE_BZIMAGE, 0xa00, 0, { { 0 } },
		"setup_sects" },
	{ "IM-03 syssize beyond the file", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1f4, 4, 0x101 } },
		"syssize" },
	{ "IM-03 syssize 2^32-1", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1f4, 4, UINT32_MAX } }, "syssize" },
	{ "syssize 0", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1f4, 4, 0 } }, "syssize" },
	{ "a file that ends within syssize's unit", HV_IMAGE_BZIMAGE, BZ_LEN - 3, 0, { { 0 } },
		NULL },
	{ "IM-03 init_size 2^32-1", HV_IMAGE_BZIMAGE, 0, 0, { { 0x260, 4, UINT32_MAX } },
		"init_size is more" },
	{ "init_size less than the kernel", HV_IMAGE_BZIMAGE, 0, 0, { { 0x260, 4, 0xfff } },
		"init_size is less" },
	{ "IM-03 pref_address near 2^64", HV_IMAGE_BZIMAGE, 0, 0,
		{ { 0x258, 8, 0xfffffffffffff000 } }, "pref_address" },
	{ "pref_address over the page tables", HV_IMAGE_BZIMAGE, 0, 0, { { 0x258, 8, 0x9000 } },
		"pref_address" },
	{ "pref_address beyond the memory: elsewhere", HV_IMAGE_BZIMAGE, 0, 0,
		{ { 0x258, 8, 0x40000000 } }, NULL },
	{ "no room anywhere", HV_IMAGE_BZIMAGE, 0, 3u << 20, { { 0 } }, "init_size is more" },
	{ "IM-03 kernel_alignment 0", HV_IMAGE_BZIMAGE, 0, 0, { { 0x230, 4, 0 } }, "alignment" },
	{ "IM-03 kernel_alignment 3", HV_IMAGE_BZIMAGE, 0, 0, { { 0x230, 4, 3 } }, "alignment" },
	{ "kernel_alignment 2 GiB", HV_IMAGE_BZIMAGE, 0, 0, { { 0x230, 4, 0x80000000 } },
		"alignment" },
	{ "IM-05 protocol 1.00", HV_IMAGE_BZIMAGE, 0, 0, { { 0x206, 2, 0x100 } }, "protocol" },
	{ "IM-05 protocol 2.05", HV_IMAGE_BZIMAGE, 0, 0, { { 0x206, 2, 0x205 } }, "protocol" },
	{ "IM-05 LOADED_HIGH 0", HV_IMAGE_BZIMAGE, 0, 0, { { 0x211, 1, 0 } }, "loaded high" },
	{ "IM-05 no 64-bit entry", HV_IMAGE_BZIMAGE, 0, 0, { { 0x236, 2, 0x3e } }, "64-bit" },
	{ "IM-05 relocatable 0", HV_IMAGE_BZIMAGE, 0, 0, { { 0x234, 1, 0 } }, "relocatable" },
	{ "header shorter than init_size", HV_IMAGE_BZIMAGE, 0, 0, { { 0x201, 1, 0x10 } },
		"no room" },
	{ "kernel shorter than its entry", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1f4, 4, 0x20 } },
		"no room" },
	{ "no signature", HV_IMAGE_BZIMAGE, 0, 0, { { 0x202, 1, 'h' } }, "neither" },
	{ "no boot flag", HV_IMAGE_BZIMAGE, 0, 0, { { 0x1fe, 2, 0 } }, "neither" },
	{ "ends in its header", HV_IMAGE_BZIMAGE, 0x230, 0, { { 0 } }, "shorter" },
	{ "one byte", HV_IMAGE_BZIMAGE, 1, 0, { { 0 } }, "neither" },

	{ "ELF", HV_IMAGE_PVH, 0, 0, { { 0 } }, NULL },
	{ "entry of 4 bytes", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 4, 4, 4 }, { PH(1) + 32, 8, 20 } },
		NULL },
	{ "shorter than the header", HV_IMAGE_PVH, 63, 0, { { 0 } }, "shorter" },
	{ "32 bits", HV_IMAGE_PVH, 0, 0, { { 4, 1, 1 } }, "x86-64" },
	{ "arm64", HV_IMAGE_PVH, 0, 0, { { 18, 2, 183 } }, "x86-64" },
	{ "IM-08 e_phoff 2^64-1", HV_IMAGE_PVH, 0, 0, { { 32, 8, UINT64_MAX } }, "beyond" },
	{ "e_phoff so that it wraps", HV_IMAGE_PVH, 0, 0, { { 32, 8, UINT64_MAX - 167 } },
		"beyond" },
	{ "IM-08 e_phentsize 0", HV_IMAGE_PVH, 0, 0, { { 54, 2, 0 } }, "number or size" },
	{ "IM-08 e_phentsize 55", HV_IMAGE_PVH, 0, 0, { { 54, 2, 55 } }, "number or size" },
	{ "IM-08 e_phnum 0xffff", HV_IMAGE_PVH, 0, 0, { { 56, 2, 0xffff } }, "number or size" },
	{ "IM-08 10000 segments", HV_IMAGE_PVH, 0, 0, { { 56, 2, 10000 } }, "number or size" },
	{ "e_phnum 0", HV_IMAGE_PVH, 0, 0, { { 56, 2, 0 } }, "number or size" },
	{ "IM-08 p_filesz beyond the file", HV_IMAGE_PVH, 0, 0, { { PH(0) + 32, 8, 0x101 } },
		"beyond" },
	{ "p_offset 2^64-1", HV_IMAGE_PVH, 0, 0, { { PH(0) + 8, 8, UINT64_MAX } }, "beyond" },
	{ "IM-08 p_filesz > p_memsz", HV_IMAGE_PVH, 0, 0, { { PH(2) + 40, 8, 0xff } },
		"more bytes" },
	{ "IM-08 p_paddr + p_memsz wraps", HV_IMAGE_PVH, 0, 0,
		{ { PH(0) + 24, 8, UINT64_MAX - 0xfff } }, "not in memory" },
	{ "p_memsz beyond the memory", HV_IMAGE_PVH, 0, 0, { { PH(2) + 40, 8, LOW } },
		"not in memory" },
	{ "IM-08 over the page tables", HV_IMAGE_PVH, 0, 0, { { PH(0) + 24, 8, 0x9000 } },
		"below 1 MiB" },
	{ "IM-08 over boot_params", HV_IMAGE_PVH, 0, 0, { { PH(2) + 24, 8, 0x7000 } },
		"below 1 MiB" },
	{ "IM-08 segments overlap", HV_IMAGE_PVH, 0, 0, { { PH(2) + 24, 8, 0x1000fff } },
		"overlap" },
	{ "a segment within another", HV_IMAGE_PVH, 0, 0, { { PH(2) + 24, 8, 0x1000200 } },
		"overlap" },
	{ "IM-09 namesz 2^32-1", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE, 4, UINT32_MAX } }, "longer" },
	{ "IM-09 descsz 2^32-1", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 4, 4, UINT32_MAX } },
		"longer" },
	{ "IM-09 p_align 0", HV_IMAGE_PVH, 0, 0, { { PH(1) + 48, 8, 0 } }, "alignment" },
	{ "IM-09 p_align 3", HV_IMAGE_PVH, 0, 0, { { PH(1) + 48, 8, 3 } }, "alignment" },
	{ "IM-09 descsz 0", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 4, 4, 0 } }, "length" },
	{ "IM-09 descsz 3", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 4, 4, 3 } }, "length" },
	{ "IM-09 descsz 16", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 4, 4, 16 } }, "length" },
	{ "IM-09 notes of 1 GiB", HV_IMAGE_PVH, 0, 0, { { PH(1) + 32, 8, 1u << 30 } }, "beyond" },
	{ "notes that wrap", HV_IMAGE_PVH, 0, 0, { { PH(1) + 8, 8, UINT64_MAX } }, "beyond" },
	{ "IM-09 entry outside of memory", HV_IMAGE_PVH, 0, 0,
		{ { ELF_NOTE + 16, 8, 0x100000000 } }, "entry is not" },
	{ "entry in what is not of the file", HV_IMAGE_PVH, 0, 0,
		{ { ELF_NOTE + 16, 8, ELF_ENTRY } }, "entry is not" },
	{ "entry 0", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 16, 8, 0 } }, "without" },
	{ "IM-09 two notes", HV_IMAGE_PVH, 0, 0,
		{ { ELF_NOTE + 24 + 4, 4, 4 }, { ELF_NOTE + 24 + 8, 4, 18 },
			{ ELF_NOTE + 36, 4, 0x6e6558 }, { PH(1) + 32, 8, 44 } },
		"two" },
	{ "no note", HV_IMAGE_PVH, 0, 0, { { ELF_NOTE + 8, 4, 17 } }, "no PVH" },
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of a file with these bytes. */
static int plan(
	const uint8_t *bytes, size_t len, uint64_t low, struct hv_image *out, const char **why)
{
	int fd = image_file(bytes, len);
	struct hv_file f = { .fd = fd, .len = len };
	int ret;

	assert_true(fd >= 0);
	ret = hv_image_plan(&f, low, out, why);
	close(fd);
	return ret;
}

static void plans(void **state)
{
	const struct row *r = *state;
	uint8_t whole[BZ_LEN];
	unsigned len = r->len ? r->len : r->kind == HV_IMAGE_PVH ? ELF_LEN : BZ_LEN;
	uint64_t low = r->low ? r->low : LOW, begun;
	struct hv_image image;
	const char *why = "";

	if (r->kind == HV_IMAGE_PVH)
		make_elf(whole);
	else
		make_bzimage(whole);
	for (unsigned i = 0; i < ARRAY_LEN(r->patches); i++)
		put_le(whole + r->patches[i].at, r->patches[i].v, r->patches[i].n);

	begun = now_ns();
	int ret = plan(whole, len, low, &image, &why);
	assert_true(now_ns() - begun < TOO_LONG_NS);
	if (r->why) {
		assert_int_equal(ret, -ENOEXEC);
		if (!strstr(why, r->why))
			fail_msg("\"%s\" does not say \"%s\"", why, r->why);
		return;
	}
	assert_string_equal(why, "");
	assert_int_equal(ret, 0);
	assert_int_equal(image.kind, r->kind);
	assert_true(image.base >= HV_IMAGE_MIN && image.base < image.end && image.end <= low);
	assert_true(image.entry >= image.base && image.entry < image.end);
}

static void bzimage_goes_where_it_wants(void **state)
{
	uint8_t b[BZ_LEN];
	struct hv_image image;
	const char *why;

	(void)state;
	make_bzimage(b);
	assert_int_equal(plan(b, sizeof(b), LOW, &image, &why), 0);
	assert_int_equal(image.entry, 0x1000200);
	assert_int_equal(image.end, 0x1200000);
	assert_int_equal(image.segs[0].off, 0xa00);
	assert_int_equal(image.segs[0].len, 0x1000);
	assert_memory_equal(image.setup, b + HV_SETUP_AT, image.setup_len);
	assert_int_equal(image.setup_len, 0x202 + 0x66 - HV_SETUP_AT);

	put_le(b + 0x258, 0x3f00000, 8); // not aligned: the lowest place
	assert_int_equal(plan(b, sizeof(b), LOW, &image, &why), 0);
	assert_int_equal(image.base, 0x200000);
}

/* IM-06 */
static void cmdline_and_initrd(void **state)
{
	const struct hv_image image = {
		.base = 0x1000000, .end = 0x1200000, .initrd_end = 0x80000000, .cmdline_max = 255
	};
	struct hv_image narrow = image;
	char text[256];
	uint64_t gpa;
	const char *why;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(hv_image_check_cmdline(&image, text, 255, &why), 0);
	assert_int_equal(hv_image_check_cmdline(&image, text, 256, &why), -ENOEXEC);
	assert_int_equal(hv_image_check_cmdline(&image, text, 65536, &why), -ENOEXEC);
	text[7] = 0;
	assert_int_equal(hv_image_check_cmdline(&image, text, 255, &why), -ENOEXEC);

	assert_int_equal(hv_image_place_initrd(&image, 0x1001, LOW, &gpa, &why), 0);
	assert_int_equal(gpa, LOW - 0x2000);
	assert_int_equal(hv_image_place_initrd(&image, LOW + 1, LOW, &gpa, &why), -ENOEXEC);
	assert_int_equal(hv_image_place_initrd(&image, UINT64_MAX, LOW, &gpa, &why), -ENOEXEC);
	assert_int_equal(hv_image_place_initrd(&image, 0, LOW, &gpa, &why), -ENOEXEC);
	// more than there is above the kernel: below it, or nowhere
	assert_int_equal(hv_image_place_initrd(&image, 0xf00000, 0x1300000, &gpa, &why), 0);
	assert_int_equal(gpa, 0x100000);
	assert_int_equal(hv_image_place_initrd(&image, 0xf00001, 0x1300000, &gpa, &why), -ENOEXEC);
	assert_int_equal(hv_image_place_initrd(&image, 0x1200000, 0x1300000, &gpa, &why), -ENOEXEC);
	narrow.initrd_end = 0x1800000; // initrd_addr_max
	assert_int_equal(hv_image_place_initrd(&narrow, 0x1000, LOW, &gpa, &why), 0);
	assert_int_equal(gpa, 0x17ff000);
}

/* IM-11 */
static int opened(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *why = "";
	struct hv_file f;
	int ret;

	assert_true(fd >= 0);
	ret = hv_image_open(fd, &f, &why);
	close(fd);
	if (ret == -ENOEXEC)
		assert_string_not_equal(why, "");
	return ret;
}

static void files(void **state)
{
	char dir[] = "/tmp/hv-image.XXXXXX", path[64], read[6];
	struct hv_file f;
	const char *why;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(hv_image_open(-1, &f, &why), -ENOEXEC);
	assert_int_equal(opened("/dev/zero"), -ENOEXEC);
	assert_int_equal(opened(dir), -ENOEXEC);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(opened(path), -ENOEXEC);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(opened(path), -ENOEXEC); // empty
	if (ftruncate(fd, HV_IMAGE_MAX + 1) == 0) // not every file system has such
		assert_int_equal(opened(path), -ENOEXEC);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(write(fd, "kernel", 6), 6);
	assert_int_equal(hv_image_open(fd, &f, &why), 0);
	assert_int_equal(f.len, 6);
	assert_int_equal(hv_image_read(&f, 1, read, 5, &why), 0);
	assert_memory_equal(read, "ernel", 5);
	close(fd);
	unlink(path);
	rmdir(dir);
}

/* Whatever is read when it happens: the header, what it leads to, the kernel itself. */
static void files_that_become_shorter(void **state)
{
	static const unsigned lens[] = { 0, 63, 64, PH(2), ELF_NOTE, ELF_NOTE + 39 };
	uint8_t b[ELF_LEN];
	struct hv_image image;

	(void)state;
	make_elf(b);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		int fd = image_file(b, sizeof(b));
		const char *why = "";
		struct hv_file f;

		assert_int_equal(hv_image_open(fd, &f, &why), 0);
		assert_int_equal(ftruncate(fd, lens[i]), 0);
		assert_int_equal(hv_image_plan(&f, LOW, &image, &why), -ENOEXEC);
		assert_string_equal(why, "image: the file became shorter");
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bzimage_goes_where_it_wants),
		cmocka_unit_test(cmdline_and_initrd),
		cmocka_unit_test(files),
		cmocka_unit_test(files_that_become_shorter),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(rows, plans, failed);
	return failed;
}
