/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest sees of the CPU. Templates have names: what one promises, a guest finds on every
 * host that can run it, and no instructions besides; what mitigations need is there where the host
 * has it. Nested virtualization, performance counters, SGX and MONITOR are in none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vm.h"

enum hv_cpu_template {
	HV_CPU_HOST, // all that KVM can give a guest here
	HV_CPU_BASELINE, // x86-64-v2 with AES: every server since 2011
	HV_CPU_V3, // and AVX2, BMI, FMA: since 2013 (Intel) or 2015 (AMD)
	HV_CPU_TEMPLATES,
};

struct kvm_cpuid2;

/* Template of that name, or -EINVAL. */
int hv_cpu_template_find(const char *name);

/*
 * CPUID for vCPU 0 of `vcpus`; hv_cpuid_for() makes it another one's. Freed by free(). 0; -ENOTSUP
 * when this host lacks something that the template promises; -ENOMEM; or the errno of an ioctl.
 * Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; Linux' Documentation/virt/kvm.
 */
int hv_cpuid_make(const struct hv_vm *vm, unsigned t, unsigned vcpus, struct kvm_cpuid2 **out);

/*
 * The part of it that asks nobody: what this CPU has becomes what a guest sees of it. Features
 * whose MSRs a guest does not reach are not among that. 0 or -ENOTSUP.
 */
int hv_cpuid_shape(struct kvm_cpuid2 *cpuid, unsigned t, unsigned vcpus);

/* Put the numbers of vCPU id into it. */
void hv_cpuid_for(struct kvm_cpuid2 *cpuid, unsigned id);

/*
 * Let guests reach the MSRs that Linux uses and no others: those are a general protection fault
 * that KVM raises by itself. 0, or the errno of an ioctl.
 */
int hv_msr_filter(const struct hv_vm *vm);
bool hv_msr_allowed(uint32_t msr); // by that filter

/* What of ARCH_CAPABILITIES (MSR 0x10a) is true for a guest: nothing of MSRs beyond its reach. */
uint64_t hv_msr_capabilities(uint64_t v);
