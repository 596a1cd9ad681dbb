/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables of a guest: hardware-reduced, no firmware behind them. */
#pragma once

#include "vm.h"

/*
 * Write RSDP (at HV_ACPI), XSDT, FADT, MADT, MCFG and DSDT for so many vCPUs, HV_VCPUS_MAX at most.
 * 0, or -EFAULT: there is no memory there. Before the guest runs.
 * Source: ACPI 6.5, section 5.2; PCI Firmware 3.2, section 4.1.2.
 */
int hv_acpi_write(struct hv_vm *vm, unsigned vcpus);
