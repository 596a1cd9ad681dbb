// SPDX-License-Identifier: Apache-2.0
/*
 * host-hv: runs a guest's CPU and memory through KVM, and nothing else. Today it runs a flat 64-bit
 * program in user mode, which is what checks a machine's KVM; kernels and the card's functions come
 * in their own issue.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_log.h"
#include "vcpu.h"

#define ENTRY 0x100000 // where a flat program is loaded and entered
#define IMAGE_MAX (16u << 20)

/* Writes "ok\n" to the console port, byte by byte, and exits with code 0. */
static const uint8_t self_test[] = {
	0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'o', 0xee, // mov al, 'o'; out dx, al
	0xb0, 'k', 0xee, // mov al, 'k'; out dx, al
	0xb0, '\n', 0xee, // mov al, '\n'; out dx, al
	0x31, 0xc0, // xor eax, eax
	0xe6, 0xf4, // out 0xf4, al
};

/* Read a plain file once, whole. 0, -EFBIG, -EINVAL (not a plain file), or an errno. */
static int read_image(const char *path, uint8_t **out, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	size_t got = 0;
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size == 0)
		ret = -EINVAL;
	else if (st.st_size > IMAGE_MAX)
		ret = -EFBIG;
	uint8_t *buf = ret ? NULL : malloc((size_t)st.st_size);
	if (!ret && !buf)
		ret = -ENOMEM;
	while (!ret && got < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + got, (size_t)st.st_size - got);

		if (n <= 0)
			ret = n < 0 ? -errno : -EINVAL;
		else
			got += (size_t)n;
	}
	close(fd);
	if (ret) {
		free(buf);
		return ret;
	}
	*out = buf;
	*len = got;
	return 0;
}

/* Build the VM in order, run it, take it down. Returns the guest's exit code or -errno. */
static int run(const uint8_t *image, size_t len, size_t mem_size)
{
	struct hv_vm vm;
	struct hv_vcpu vcpu;
	int ret = hv_vm_init(&vm, mem_size);

	if (ret) {
		dpu_err("vm: cannot be made", "err=%s", strerror(-ret));
		return ret;
	}
	ret = hv_vcpu_init(&vcpu, &vm, STDOUT_FILENO);
	if (ret == 0) {
		ret = hv_vm_write(&vm, ENTRY, image, len);
		if (ret == 0)
			ret = hv_vcpu_enter_user64(&vcpu, &vm, ENTRY);
		if (ret == 0)
			ret = hv_vcpu_run(&vcpu);
		dpu_info("vm: ended", "code=%d exits=%llu", ret, (unsigned long long)vcpu.exits);
		hv_vcpu_fini(&vcpu);
	}
	hv_vm_fini(&vm);
	return ret;
}

int main(int argc, char **argv)
{
	const char *flat = NULL;
	uint64_t mem_mib = 16;
	bool check = false;
	const struct dpu_opt opts[] = {
		{ "self-test", DPU_OPT_FLAG, &check, NULL,
			"run a built-in guest program that prints \"ok\"", 0, 0 },
		{ "flat", DPU_OPT_STR, &flat, "FILE",
			"run a flat 64-bit program, loaded and entered at 1 MiB in user mode", 0,
			0 },
		{ "mem-mib", DPU_OPT_UINT, &mem_mib, "N", "guest memory in MiB (default 16)", 2,
			1 << 20 },
	};
	const struct dpu_cli cli = {
		.prog = "host-hv",
		.summary = "minimal hypervisor: CPUs and memory of one guest through KVM",
		.usage = "--self-test | --flat FILE [--mem-mib N]",
		.opts = opts,
		.n_opts = sizeof(opts) / sizeof(opts[0]),
	};
	uint8_t *image = NULL;
	size_t len = 0;
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret == -ECANCELED)
		return 0;
	if (ret != 0 || check == (flat != NULL)) {
		if (ret >= 0)
			dpu_cli_help(&cli, stderr);
		return 2;
	}
	if (check) {
		ret = run(self_test, sizeof(self_test), mem_mib << 20);
		return ret == 0 ? 0 : 1;
	}
	ret = read_image(flat, &image, &len);
	if (ret) {
		dpu_err("image: cannot be read", "path=%s err=%s", flat, strerror(-ret));
		return 1;
	}
	ret = run(image, len, mem_mib << 20);
	free(image);
	return ret < 0 ? 1 : ret;
}
