/* SPDX-License-Identifier: Apache-2.0 */
/* The device tree of an arm64 guest: memory, CPUs, PSCI, GIC, timer, console. */
#pragma once

#include <stdint.h>

#include "vm.h"

#define HV_FDT_LEN 0x10000u // bytes at HV_FDT, at most

struct hv_fdt_conf {
	const char *cmdline;
	unsigned vcpus; // HV_VCPUS_MAX at most
	uint64_t initrd, initrd_len; // length 0: none
};

/*
 * Write it to HV_FDT. 0, or -EFAULT: there is no memory there. Before the guest runs.
 * Source: Devicetree Specification 0.4, chapter 5; Linux' Documentation/devicetree/bindings:
 * arm,gic-v3, arm,arch_timer, psci, 8250.
 */
int hv_fdt_write(struct hv_vm *vm, const struct hv_fdt_conf *conf);
