// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest sees of the CPU and which MSRs it reaches say the same: the list here is of features
 * and of the MSRs that a kernel touches once it sees them.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arch.h"
#include "cpuid.h"
#include "test.h"
#include "vcpu.h"

enum { A, B, C, D };

static const struct feature {
	const char *name;
	uint32_t leaf, sub;
	unsigned reg, bit;
	uint32_t msr;
	bool shown; // where the host has it
} features[] = {
	{ "WAITPKG: UMWAIT_CONTROL", 7, 0, C, 5, 0xe1, false },
	{ "XFD", 13, 1, A, 4, 0x1c4, false },
	{ "XFD_ERR", 13, 1, A, 4, 0x1c5, false },
	{ "AMX: XFD", 7, 0, D, 24, 0x1c4, false },
	{ "AMX's state: XFD", 13, 0, A, 18, 0x1c4, false },
	{ "shadow stacks: U_CET", 7, 0, C, 7, 0x6a0, false },
	{ "shadow stacks: PL0_SSP", 7, 0, C, 7, 0x6a4, false },
	{ "indirect branches: S_CET", 7, 0, D, 20, 0x6a2, false },
	{ "their state in XSS", 13, 1, C, 11, 0x6a0, false },
	{ "FRED", 7, 1, A, 17, 0x1cc, false },
	{ "MPX: BNDCFGS", 7, 0, B, 14, 0xd90, false },
	{ "processor trace: RTIT_CTL", 7, 0, B, 25, 0x570, false },
	{ "PDCM: PERF_CAPABILITIES", 1, 0, C, 15, 0x345, false },
	{ "branch records: LBR_CTL", 7, 0, D, 19, 0x14ce, false },
	{ "PKS: PKRS", 7, 0, C, 31, 0x6e1, false },
	{ "user interrupts", 7, 0, D, 5, 0x985, false },
	{ "CORE_CAPABILITIES", 7, 0, D, 30, 0xcf, true },
	{ "virtual SSBD", 0x80000008, 0, B, 25, 0xc001011f, false },
	{ "AMD's prefetch control", 0x80000021, 0, A, 13, 0xc0000108, false },
	{ "SPEC_CTRL", 7, 0, D, 26, 0x48, true },
	{ "SSBD", 7, 0, D, 31, 0x48, true },
	{ "AMD's IBPB", 0x80000008, 0, B, 12, 0x49, true },
	{ "L1D flush", 7, 0, D, 28, 0x10b, true },
	{ "ARCH_CAPABILITIES", 7, 0, D, 29, 0x10a, true },
	{ "TSC_ADJUST", 7, 0, B, 1, 0x3b, true },
	{ "TSC deadline", 1, 0, C, 24, 0x6e0, true },
	{ "XSAVES: XSS", 13, 1, A, 3, 0xda0, true },
	{ "RDTSCP: TSC_AUX", 0x80000001, 0, D, 27, 0xc0000103, true },
	{ "SYSCALL: STAR", 0x80000001, 0, D, 11, 0xc0000081, true },
	{ "machine check: MCG_STATUS", 1, 0, D, 14, 0x17a, true },
	{ "PAT", 1, 0, D, 16, 0x277, true },
	{ "MTRRs", 1, 0, D, 12, 0x2ff, true },
	{ "steal time", 0x40000001, 0, A, 5, 0x4b564d03, true },
};

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index == sub)
			return &c->entries[i];
	return NULL;
}

/* A CPU that has everything. */
static struct kvm_cpuid2 *everything(void)
{
	static const uint32_t leaves[][2] = { { 0, 0 }, { 1, 0 }, { 6, 0 }, { 7, 0 }, { 7, 1 },
		{ 7, 2 }, { 10, 0 }, { 13, 0 }, { 13, 1 }, { 13, 2 }, { 13, 18 }, { 0x40000001, 0 },
		{ 0x80000001, 0 }, { 0x80000007, 0 }, { 0x80000008, 0 }, { 0x80000021, 0 } };
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	assert_non_null(c);
	for (unsigned i = 0; i < ARRAY_LEN(leaves); i++)
		c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = leaves[i][0],
			.index = leaves[i][1],
			.eax = UINT32_MAX,
			.ebx = UINT32_MAX,
			.ecx = UINT32_MAX,
			.edx = UINT32_MAX };
	return c;
}

static bool shows(struct kvm_cpuid2 *c, const struct feature *f)
{
	struct kvm_cpuid_entry2 *e = find(c, f->leaf, f->sub);
	const uint32_t regs[] = { e ? e->eax : 0, e ? e->ebx : 0, e ? e->ecx : 0, e ? e->edx : 0 };

	return regs[f->reg] >> f->bit & 1;
}

static void agrees(void **state)
{
	const struct feature *f = *state;

	assert_int_equal(hv_msr_allowed(f->msr), f->shown);
	for (unsigned t = 0; t < HV_CPU_TEMPLATES; t++) {
		struct kvm_cpuid2 *c = everything();

		assert_int_equal(hv_cpuid_shape(c, t, 2), 0);
		if (t == HV_CPU_HOST)
			assert_int_equal(shows(c, f), f->shown);
		else if (shows(c, f))
			assert_true(f->shown);
		free(c);
	}
}

/* No leaf of a state that is not shown. */
static void hidden_state(void **state)
{
	struct kvm_cpuid2 *c = everything();

	(void)state;
	assert_int_equal(hv_cpuid_shape(c, HV_CPU_HOST, 1), 0);
	assert_non_null(find(c, 13, 2));
	assert_null(find(c, 13, 18));
	free(c);
}

/* TSX_CTRL and the others that ARCH_CAPABILITIES is for. */
static void capabilities(void **state)
{
	static const struct {
		unsigned bit;
		uint32_t msr;
	} told[] = { { 7, 0x122 }, { 9, 0x1406 }, { 10, 0xbc }, { 12, 0x1b01 }, { 18, 0x123 },
		{ 21, 0xbd }, { 25, 0x123 } };
	uint64_t v = hv_msr_capabilities(UINT64_MAX);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(told); i++)
		assert_int_equal(v >> told[i].bit & 1, hv_msr_allowed(told[i].msr));
	assert_int_equal(v & 0x17f, 0x17f); // what is immune to what is told
	assert_int_equal(hv_msr_capabilities(0), 0);
}

/* This machine's CPU, in all templates that it can be. */
static void here(void **state)
{
	struct hv_vcpu vcpu;
	struct hv_bus bus;
	struct kvm_cpuid2 *c;
	struct hv_vm vm;
	struct {
		uint32_t n, pad;
		struct kvm_msr_entry e;
	} msr = { .n = 1, .e = { .index = 0x10a } };

	(void)state;
	if (access("/dev/kvm", R_OK | W_OK) != 0)
		skip();
	assert_int_equal(hv_vm_init(&vm, 1 << 20, 0, false), 0);
	hv_bus_init(&bus);
	for (unsigned t = 0; t < HV_CPU_TEMPLATES; t++) {
		if (hv_cpuid_make(&vm, t, 1, &c))
			continue;
		for (unsigned i = 0; i < ARRAY_LEN(features); i++)
			if (shows(c, &features[i]))
				assert_true(hv_msr_allowed(features[i].msr));
		if (t == HV_CPU_HOST) {
			assert_int_equal(hv_vcpu_init(&vcpu, &vm, 0, &bus), 0);
			assert_int_equal(hv_arch_vcpus(&vm, &vcpu, 1, t), 0);
			if (ioctl(vcpu.fd, KVM_GET_MSRS, &msr) == 1)
				assert_int_equal(msr.e.data, hv_msr_capabilities(msr.e.data));
			hv_vcpu_fini(&vcpu);
		}
		free(c);
	}
	hv_bus_fini(&bus);
	hv_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hidden_state),
		cmocka_unit_test(capabilities), cmocka_unit_test(here) };
	int failed = 0;

	RUN_ROWS(features, agrees, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
