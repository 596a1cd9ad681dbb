// SPDX-License-Identifier: Apache-2.0
/* A VM on this machine's KVM: runs user-mode code, ends cleanly, survives guests that break. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"
#include "vcpu.h"

#define ENTRY 0x100000

static const struct row {
	const char *name;
	uint8_t code[24];
	int ret;
	const char *console;
} rows[] = {
	{ "exit code reaches the host", { 0xb0, 42, 0xe6, 0xf4 }, 42, "" },
	{ "console byte", { 0x66, 0xba, 0xf8, 0x03, 0xb0, 'h', 0xee, 0x31, 0xc0, 0xe6, 0xf4 }, 0,
		"h" },
	{ "unknown port reads all ones", { 0xe4, 0x77, 0xe6, 0xf4 }, 255, "" },
	{ "undefined instruction ends the VM only", { 0x0f, 0x0b }, -EFAULT, "" },
	{ "privileged instruction ends the VM only", { 0xf4 }, -EFAULT, "" },
};

static void runs(void **state)
{
	const struct row *r = *state;
	struct hv_vm vm;
	struct hv_vcpu vcpu;
	char out[16] = "";
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(hv_vm_init(&vm, 2 << 20), 0);
	assert_int_equal(hv_vcpu_init(&vcpu, &vm, p[1]), 0);
	assert_int_equal(hv_vm_write(&vm, ENTRY, r->code, sizeof(r->code)), 0);
	assert_int_equal(hv_vcpu_enter_user64(&vcpu, &vm, ENTRY), 0);
	assert_int_equal(hv_vcpu_run(&vcpu), r->ret);
	ssize_t n = read(p[0], out, sizeof(out) - 1);
	out[n > 0 ? n : 0] = 0;
	assert_string_equal(out, r->console);
	hv_vcpu_fini(&vcpu);
	hv_vm_fini(&vm);
	close(p[0]);
	close(p[1]);
}

static void memory_is_bounded_and_sealed(void **state)
{
	struct hv_vm vm;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 0), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 4097), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 1 << 20), 0);
	assert_int_equal(hv_vm_write(&vm, (1 << 20) - 1, "ab", 2), -EFAULT);
	assert_int_equal(hv_vm_write(&vm, UINT64_MAX, "a", 1), -EFAULT);
	assert_int_equal(hv_vm_write(&vm, (1 << 20) - 1, "a", 1), 0);
	assert_int_equal(ftruncate(vm.mem_fd, 4096), -1);
	hv_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(memory_is_bounded_and_sealed) };
	int failed = 0;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	failed += cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(rows, runs, failed);
	return failed;
}
