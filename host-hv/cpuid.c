// SPDX-License-Identifier: Apache-2.0
/* CPUID templates, and which MSRs a guest reaches. */
#include "cpuid.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dpu_log.h"
#include "hv_proto.h"

#define ENTRIES_MAX 256
#define KVM_LEAF 0x40000001u
/* Clock (old, new, stable), no port delay, steal time, EOI, spinlocks, TLB flush, IPIs, yield. */
#define KVM_FEATURES                                                                      \
	(1u << 0 | 1u << 1 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 9 | 1u << 11 | \
		1u << 13 | 1u << 24)

enum reg { EAX, EBX, ECX, EDX };

/* Runs of MSRs, and which of the run: bit n is base + n. KVM takes 16, and the first that fits. */
static const struct {
	uint32_t base;
	uint64_t bits;
} allowed[] = {
	{ 0x00000000, 7ull << 0x10 | 1ull << 0x17 | 1ull << 0x1b |
			      3ull << 0x3a }, // TSC, clock, APIC base
	{ 0x00000048, 0x3 }, // IBRS, IBPB
	{ 0x0000008b, 0x1 }, // microcode's revision
	{ 0x000000ce, 3ull | 1ull << (0xfe - 0xce) | 3ull << (0x10a - 0xce) }, // what it can do
	{ 0x00000140, 1ull << 0 | 7ull << (0x174 - 0x140) | 7ull << (0x179 - 0x140) },
	{ 0x000001a0, 1ull << 0 | 1ull << (0x1d9 - 0x1a0) }, // MISC_ENABLE, DEBUGCTL
	{ 0x00000200, 0xffff }, // MTRRs of ranges
	{ 0x00000250, 1ull | 3ull << 8 | 0xffull << 0x18 | 1ull << 0x27 }, // fixed ones, PAT
	{ 0x000002ff, 0x1 }, { 0x00000400, UINT64_MAX }, // machine check banks
	{ 0x000006e0, 0x1 }, // TSC deadline
	{ 0x00000da0, 0x1 }, // XSS
	{ 0x4b564d00, 0x1ff }, // KVM's own
	{ 0xc0000080, 0x1f }, // EFER, STAR and what belongs to it
	{ 0xc0000100, 0xf }, // FS, GS, swapped GS, TSC_AUX
	{ 0xc0010010, 1ull << 0 | 1ull << 5 | 1ull << 0xf }, // AMD: SYSCFG, HWCR, NB_CFG
};

/*
 * Features that are of no use without MSRs, `n` from `first` on: a guest that sees one reaches its
 * MSRs, and one whose MSRs are not among those above it does not see.
 */
static const struct {
	uint32_t leaf, sub;
	enum reg reg;
	uint32_t bits, first, n;
} gates[] = {
	{ 1, 0, ECX, 1u << 15, 0x345, 1 }, // PDCM: performance capabilities
	{ 1, 0, ECX, 1u << 24, 0x6e0, 1 }, // TSC deadline
	{ 1, 0, EDX, 1u << 4, 0x10, 1 }, // TSC
	{ 1, 0, EDX, 1u << 7 | 1u << 14, 0x179, 2 }, // machine check
	{ 1, 0, EDX, 1u << 11, 0x174, 3 }, // SYSENTER
	{ 1, 0, EDX, 1u << 12, 0x200, 16 }, // MTRRs
	{ 1, 0, EDX, 1u << 16, 0x277, 1 }, // PAT
	{ 1, 0, EDX, 1u << 21, 0x600, 1 }, // debug store
	{ 7, 0, EBX, 1u << 1, 0x3b, 1 }, // TSC_ADJUST
	{ 7, 0, EBX, 1u << 14, 0xd90, 1 }, // MPX
	{ 7, 0, EBX, 1u << 25, 0x570, 2 }, // processor trace
	{ 7, 0, ECX, 1u << 5, 0xe1, 1 }, // WAITPKG: UMWAIT_CONTROL
	{ 7, 0, ECX, 1u << 7, 0x6a0, 9 }, // CET: shadow stacks
	{ 7, 0, ECX, 1u << 22, 0xc0000103, 1 }, // RDPID: TSC_AUX
	{ 7, 0, ECX, 1u << 24, 0x1d9, 1 }, // bus lock detection: DEBUGCTL
	{ 7, 0, ECX, 1u << 31, 0x6e1, 1 }, // PKS
	{ 7, 0, EDX, 1u << 5, 0x985, 6 }, // user interrupts
	{ 7, 0, EDX, 1u << 9, 0x123, 1 }, // SRBDS_CTRL
	{ 7, 0, EDX, 1u << 13, 0x10f, 1 }, // TSX_FORCE_ABORT
	{ 7, 0, EDX, 1u << 19, 0x14ce, 2 }, // branch records
	{ 7, 0, EDX, 1u << 22 | 1u << 24 | 1u << 25, 0x1c4, 2 }, // AMX, for XFD
	{ 7, 0, EDX, 1u << 20, 0x6a0, 9 }, // CET: indirect branches
	{ 7, 0, EDX, 1u << 26 | 1u << 27 | 1u << 31, 0x48, 1 }, // SPEC_CTRL
	{ 7, 0, EDX, 1u << 26, 0x49, 1 }, // PRED_CMD
	{ 7, 0, EDX, 1u << 28, 0x10b, 1 }, // FLUSH_CMD
	{ 7, 0, EDX, 1u << 29, 0x10a, 1 }, // ARCH_CAPABILITIES
	{ 7, 0, EDX, 1u << 30, 0xcf, 1 }, // CORE_CAPABILITIES
	{ 7, 1, EAX, 1u << 17, 0x1cc, 9 }, // FRED
	{ 7, 1, EDX, 1u << 18, 0x6a0, 9 }, // CET: supervisor's shadow stacks
	{ 7, 2, EDX, 0x1f, 0x48, 1 }, // more of SPEC_CTRL
	{ 13, 0, EAX, 3u << 3, 0xd90, 1 }, // MPX
	{ 13, 0, EAX, 3u << 17, 0x1c4, 2 }, // AMX
	{ 13, 1, EAX, 1u << 3, 0xda0, 1 }, // XSAVES: XSS
	{ 13, 1, EAX, 1u << 4, 0x1c4, 2 }, // XFD
	{ 13, 1, ECX, 1u << 8, 0x570, 2 }, // what of XSS belongs to them
	{ 13, 1, ECX, 1u << 11 | 1u << 12, 0x6a0, 9 },
	{ 13, 1, ECX, 1u << 14, 0x985, 6 },
	{ 13, 1, ECX, 1u << 15, 0x14ce, 2 },
	{ 0x80000001, 0, EDX, 1u << 11 | 1u << 20 | 1u << 29, 0xc0000080, 5 }, // EFER and such
	{ 0x80000001, 0, EDX, 1u << 27, 0xc0000103, 1 }, // RDTSCP: TSC_AUX
	{ 0x80000008, 0, EBX, 1u << 12, 0x49, 1 }, // PRED_CMD
	{ 0x80000008, 0, EBX, 1u << 14 | 1u << 15 | 1u << 24 | 1u << 28, 0x48, 1 }, // SPEC_CTRL
	{ 0x80000008, 0, EBX, 1u << 25, 0xc001011f, 1 }, // virtual SSBD
	{ 0x80000021, 0, EAX, 1u << 13, 0xc0000108, 1 }, // control of prefetching
	{ KVM_LEAF, 0, EAX, 1u << 0, 0x11, 2 }, // clock, steal time, and so on
	{ KVM_LEAF, 0, EAX, 1u << 3, 0x4b564d00, 2 },
	{ KVM_LEAF, 0, EAX, 1u << 5, 0x4b564d03, 1 },
	{ KVM_LEAF, 0, EAX, 1u << 6, 0x4b564d04, 1 },
};

/* Of ARCH_CAPABILITIES: what it says of MSRs. Intel SDM volume 4, table 2-2. */
static const struct {
	uint64_t bits;
	uint32_t msr;
} caps[] = { { 1u << 7, 0x122 }, // TSX_CTRL
	{ 1u << 9, 0x1406 }, { 3u << 10, 0xbc }, { 1u << 12, 0x1b01 }, { 1u << 18, 0x123 },
	{ 1u << 21, 0xbd }, { 1u << 23, 0x195 }, { 1u << 25, 0x123 } };

/*
 * Leaf 1: SSE3, PCLMULQDQ, SSSE3, CX16, SSE4.1, SSE4.2, x2APIC, POPCNT, TSC-deadline, AES, XSAVE,
 * hypervisor (ECX); FPU to SSE2 (EDX). Leaf 7: what mitigations need, if it is there.
 */
#define V1_1_EDX 0x0789bb71u
#define V2_1_ECX \
	(1u << 0 | 1u << 1 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23 | 1u << 25)
#define V2_1_OPT (1u << 21 | 1u << 24 | 1u << 26 | 1u << 31)
#define V3_1_OPT 0xc1200000u // x2APIC, TSC-deadline, RDRAND, hypervisor
#define V3_1_ECX (V2_1_ECX | 1u << 12 | 1u << 22 | 1u << 26 | 1u << 28 | 1u << 29)
#define V3_7_EBX (1u << 3 | 1u << 5 | 1u << 8)
#define V2_7_EBX (1u << 0 | 1u << 1 | 1u << 7 | 1u << 9 | 1u << 20)
#define SAFE_7_EDX (1u << 10 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 31)
#define LONG_EDX (1u << 11 | 1u << 20 | 1u << 29)
#define LONG_OPT (0x0183f3ffu | 1u << 26 | 1u << 27)

#define ALL UINT32_MAX

/*
 * What a guest has of a register at most, and what it must have: where the host lacks that there is
 * no such guest. By template: host, baseline, v3.
 */
static const struct rule {
	uint32_t leaf, sub;
	enum reg reg;
	uint32_t may[HV_CPU_TEMPLATES], must[HV_CPU_TEMPLATES];
} rules[] = {
	// No MONITOR, no VMX; OSXSAVE is KVM's
	{ 1, 0, ECX, { ~(1u << 3 | 1u << 5 | 1u << 27), V2_1_ECX | V2_1_OPT, V3_1_ECX | V3_1_OPT },
		{ 0, V2_1_ECX, V3_1_ECX } },
	{ 1, 0, EDX, { ALL, 0x1f8bfbff, 0x1f8bfbff }, { 0, V1_1_EDX, V1_1_EDX } },
	{ 6, 0, EAX, { 1u << 2, 1u << 2, 1u << 2 }, { 0 } }, // the APIC timer always runs
	{ 6, 0, EBX, { 0 }, { 0 } },
	{ 6, 0, ECX, { 0 }, { 0 } },
	// No SGX, and no launch control of it
	{ 7, 0, EBX, { ~(1u << 2), V2_7_EBX, V2_7_EBX | V3_7_EBX }, { 0, 0, V3_7_EBX } },
	{ 7, 0, ECX, { ~(1u << 30), 0, 0 }, { 0 } },
	{ 7, 0, EDX, { ALL, SAFE_7_EDX, SAFE_7_EDX }, { 0 } },
	{ 7, 1, EAX, { ALL, 0, 0 }, { 0 } },
	{ 10, 0, EAX, { 0 }, { 0 } }, // performance counters
	{ 10, 0, EBX, { 0 }, { 0 } },
	{ 10, 0, EDX, { 0 }, { 0 } },
	{ 13, 0, EAX, { ALL, 0x3, 0x7 }, { 0, 0, 0x7 } },
	{ 13, 0, EDX, { ALL, 0, 0 }, { 0 } },
	{ 13, 1, EAX, { ALL, 0x1, 0x7 }, { 0 } },
	{ 13, 1, ECX, { ALL, 0, 0 }, { 0 } },
	// No SVM, no counters
	{ 0x80000001, 0, ECX, { ~(1u << 2 | 1u << 23 | 1u << 24 | 1u << 28), 0x1, 0x21 },
		{ 0, 0x1, 0x21 } },
	{ 0x80000001, 0, EDX, { ALL, LONG_EDX | LONG_OPT, LONG_EDX | LONG_OPT },
		{ 0, LONG_EDX, LONG_EDX } },
	{ 0x80000022, 0, EAX, { 0 }, { 0 } },
	{ KVM_LEAF, 0, EAX, { KVM_FEATURES, KVM_FEATURES, KVM_FEATURES }, { 0 } },
};

static const char *const names[] = HV_CPU_NAMES;
static_assert(sizeof(names) / sizeof(names[0]) == HV_CPU_TEMPLATES, "names of templates");

int hv_cpu_template_find(const char *name)
{
	for (int t = 0; t < HV_CPU_TEMPLATES; t++)
		if (strcmp(name, names[t]) == 0)
			return t;
	return -EINVAL;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && c->entries[i].index == sub)
			return &c->entries[i];
	return NULL;
}

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum reg r)
{
	return r == EAX ? &e->eax : r == EBX ? &e->ebx : r == ECX ? &e->ecx : &e->edx;
}

bool hv_msr_allowed(uint32_t msr)
{
	// KVM takes the first run that it is in, by the order of the list
	for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (msr - allowed[i].base < 64)
			return allowed[i].bits >> (msr - allowed[i].base) & 1;
	return false;
}

static void close_gates(struct kvm_cpuid2 *c)
{
	for (unsigned i = 0; i < sizeof(gates) / sizeof(gates[0]); i++) {
		struct kvm_cpuid_entry2 *e = find(c, gates[i].leaf, gates[i].sub);

		for (uint32_t k = 0; e && k < gates[i].n; k++)
			if (!hv_msr_allowed(gates[i].first + k))
				*reg_of(e, gates[i].reg) &= ~gates[i].bits;
	}
}

uint64_t hv_msr_capabilities(uint64_t v)
{
	for (unsigned i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
		if (!hv_msr_allowed(caps[i].msr))
			v &= ~caps[i].bits;
	return v;
}

static int apply(struct kvm_cpuid2 *c, const struct rule *r, unsigned t)
{
	struct kvm_cpuid_entry2 *e = find(c, r->leaf, r->sub);
	uint32_t lacks = r->must[t] & ~(e ? *reg_of(e, r->reg) & r->may[t] : 0);

	if (e)
		*reg_of(e, r->reg) &= r->may[t];
	if (!lacks)
		return 0;
	dpu_err("cpu: the host lacks what the template promises", "leaf=0x%x register=%c bits=0x%x",
		r->leaf, "abcd"[r->reg], lacks);
	return -ENOTSUP;
}

/* One that there is room for: three, by hv_cpuid_make(). */
static void add_topology(
	struct kvm_cpuid2 *c, uint32_t sub, uint32_t eax, uint32_t ebx, uint32_t ecx)
{
	if (c->nent < ENTRIES_MAX)
		c->entries[c->nent++] = (struct kvm_cpuid_entry2){ 0xb, sub,
			KVM_CPUID_FLAG_SIGNIFCANT_INDEX, eax, ebx, ecx, 0, { 0 } };
}

/* Leaves that describe the host's topology, caches by thread, and areas that a template hides. */
static void drop_leaves(struct kvm_cpuid2 *c)
{
	struct kvm_cpuid_entry2 *x = find(c, 13, 0);
	uint64_t xcr0 = x ? x->eax | (uint64_t)x->edx << 32 : 0;
	unsigned kept = 0;

	for (unsigned i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];
		bool gone = e->function == 0xb || e->function == 0x1f || e->function == 0x12 ||
			    e->function == 0x8000000a || e->function == 0x8000001f;

		if (e->function == 13 && e->index >= 2 && e->index < 64 && !(xcr0 >> e->index & 1))
			gone = true;
		if (!gone)
			c->entries[kept++] = *e;
	}
	c->nent = kept;
}

static unsigned bits_for(unsigned n)
{
	return n > 1 ? 32u - (unsigned)__builtin_clz(n - 1) : 0;
}

/* One socket of `n` cores with one thread each; the last level of cache is everyone's. */
static void set_topology(struct kvm_cpuid2 *c, unsigned n)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];
		bool caches = (e->function == 4 || e->function == 0x8000001d) && (e->eax & 0x1f);
		uint32_t sharers = (e->eax >> 5 & 7) >= 3 ? n - 1 : 0;

		if (e->function == 1) {
			e->ebx = (e->ebx & 0xff00) | n << 16;
			e->edx = (e->edx & ~(1u << 28)) | (n > 1 ? 1u << 28 : 0);
		} else if (caches) {
			e->eax = (e->eax & 0x3fff) | sharers << 14;
			e->eax |= e->function == 4 ? (n - 1) << 26 : 0;
		} else if (e->function == 0x80000008) {
			e->ecx = bits_for(n) << 12 | (n - 1);
		} else if (e->function == 0x8000001e) {
			e->eax = e->ebx = e->ecx = 0;
		}
	}
	add_topology(c, 0, 0, 1, 0x100);
	add_topology(c, 1, bits_for(n), n, 0x201);
	add_topology(c, 2, 0, 0, 2);
}

void hv_cpuid_for(struct kvm_cpuid2 *c, unsigned id)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | id << 24;
		else if (e->function == 0xb)
			e->edx = id;
		else if (e->function == 0x8000001e)
			e->eax = e->ebx = id;
	}
}

int hv_cpuid_shape(struct kvm_cpuid2 *c, unsigned t, unsigned vcpus)
{
	int ret = 0;

	for (unsigned i = 0; ret == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
		ret = apply(c, &rules[i], t);
	if (ret)
		return ret;
	close_gates(c);
	drop_leaves(c);
	set_topology(c, vcpus);
	hv_cpuid_for(c, 0);
	return 0;
}

int hv_cpuid_make(const struct hv_vm *vm, unsigned t, unsigned vcpus, struct kvm_cpuid2 **out)
{
	struct kvm_cpuid2 *c;
	struct kvm_cpuid_entry2 *one;
	int ret = 0;

	if (t >= HV_CPU_TEMPLATES)
		return -EINVAL;
	c = calloc(1, sizeof(*c) + ENTRIES_MAX * sizeof(c->entries[0]));
	if (!c)
		return -ENOMEM;
	c->nent = ENTRIES_MAX - 3; // set_topology() adds three
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		ret = -errno;
	one = ret ? NULL : find(c, 1, 0);
	if (one) {
		one->ecx |= 1u << 31;
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			one->ecx |= 1u << 24;
	}
	if (ret == 0)
		ret = hv_cpuid_shape(c, t, vcpus);
	if (ret)
		free(c);
	else
		*out = c;
	return ret;
}

int hv_msr_filter(const struct hv_vm *vm)
{
	struct kvm_msr_filter f = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };
	uint64_t bits[sizeof(allowed) / sizeof(allowed[0])];

	static_assert(sizeof(allowed) / sizeof(allowed[0]) <= KVM_MSR_FILTER_MAX_RANGES,
		"as many as KVM takes");
	for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		bits[i] = allowed[i].bits;
		f.ranges[i] = (struct kvm_msr_filter_range){
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = 64,
			.base = allowed[i].base,
			.bitmap = (uint8_t *)&bits[i],
		};
	}
	return ioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &f) < 0 ? -errno : 0;
}
