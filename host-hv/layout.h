/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in a guest's physical addresses and ports: ADR-0020. */
#pragma once

#include <stdint.h>

#define HV_PAGE 4096ull
#define HV_LOW_END 0xc0000000ull // memory below; what is more begins at HV_HIGH_BASE
#define HV_HIGH_BASE 0x100000000ull
#define HV_MEM_UNIT 0x8000000ull // what is added later begins and ends at multiples: Linux' blocks
#define HV_MEM_UNIT_LARGE 0x80000000ull // of a guest whose memory ends at HV_MEM_LARGE or beyond
#define HV_MEM_LARGE 0x1000000000ull

#define HV_PCI_MMIO 0xc0000000ull // what BARs are placed in
#define HV_PCI_MMIO_LEN 0x20000000ull
#define HV_ECAM 0xe0000000ull // one bus
#define HV_ECAM_LEN 0x100000ull
#define HV_EVENTS 0xe0100000ull // power.c's registers; dsdt.asl has this number, too
#define HV_EVENTS_LEN 0x1000ull
#define HV_IOAPIC 0xfec00000ull
#define HV_IOAPIC_LEN 0x100ull
#define HV_IOAPIC_EOI 0x40 // bytes into it
#define HV_LAPIC 0xfee00000ull

/* arm64: what a PC has elsewhere. */
#define HV_UART 0xe0102000ull
#define HV_GIC_DIST 0xe0200000ull // 64 KiB
#define HV_GIC_REDIST 0xe0400000ull // 128 KiB for each CPU
#define HV_FDT 0x10000ull // 64 KiB

#define HV_GSI_SERIAL 4
#define HV_GSI_EVENTS 9

/* Below 1 MiB: nothing of an image is ever there. */
#define HV_START_INFO 0x6000ull // PVH's, or boot_params
#define HV_ZERO_PAGE 0x7000ull
#define HV_GDT 0x8000ull
#define HV_TABLES 0x9000ull // page tables: PML4, PDPT, four page directories
#define HV_CMDLINE 0x20000ull
#define HV_LOW_RAM_END 0x9fc00ull // where a PC's extended BIOS data would begin
#define HV_ACPI 0xe0000ull // RSDP first: where one is looked for if nobody was told
#define HV_ACPI_LEN 0x20000ull
#define HV_RESET_VECTOR 0xffff0ull // its last 16 bytes
#define HV_IMAGE_MIN 0x100000ull

/* To a multiple of `to`, a power of two; v is far from wrapping. */
static inline uint64_t hv_align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}
