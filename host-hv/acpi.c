// SPDX-License-Identifier: Apache-2.0
/* ACPI tables, each at a place of its own in the BIOS' part of the first MiB. */
#include "acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dpu_wire.h"
#include "layout.h"
#include "machine.h"
#include "power.h"

/* Bytes from HV_ACPI on. */
#define AT_XSDT 0x100u
#define AT_FADT 0x200u
#define AT_MCFG 0x400u
#define AT_MADT 0x500u
#define AT_DSDT 0x1000u

#define HEADER 36u
#define FADT_LEN 276u
#define MCFG_LEN 60u
#define MADT_LEN(n) (HEADER + 8u + 12u + 10u + 8u * (n))

/* FADT's flags: control-method buttons, reset register, hardware-reduced. */
#define FADT_FLAGS (1u << 4 | 1u << 5 | 1u << 10 | 1u << 20)
#define BOOT_ARCH (1u << 2 | 1u << 5) // no VGA, no CMOS clock; no 8042 by leaving its bit out

/* dsdt.asl, compiled. */
static const uint8_t dsdt[] = {
#include "dsdt.inc"
};
static_assert(HV_ACPI + AT_DSDT + sizeof(dsdt) <= HV_RESET_VECTOR,
	"the DSDT is not longer than its place");
static_assert(AT_MADT + MADT_LEN(HV_VCPUS_MAX) <= AT_DSDT, "nor is the MADT");

static void put_text(uint8_t *p, const char *text) // without its NUL
{
	while (*text)
		*p++ = (uint8_t)*text++;
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* The header, once all the rest is there. */
static void finish(uint8_t *t, const char *signature, uint32_t len, uint8_t revision)
{
	put_text(t, signature);
	dpu_le32_store(t + 4, len);
	t[8] = revision;
	put_text(t + 10, "OUTBRDHOSTHV  ");
	dpu_le32_store(t + 24, 1);
	put_text(t + 28, "OBRD");
	dpu_le32_store(t + 32, 1);
	t[9] = 0;
	t[9] = checksum(t, len);
}

/* A generic address of 8 bits of memory. */
static void put_gas(uint8_t *p, uint64_t at)
{
	p[0] = 0; // system memory
	p[1] = 8;
	p[3] = 1; // byte access
	dpu_le64_store(p + 4, at);
}

static void write_fadt(uint8_t *t)
{
	t[109] = BOOT_ARCH;
	dpu_le32_store(t + 112, FADT_FLAGS);
	put_gas(t + 116, HV_EVENTS + HV_EV_RESET);
	t[128] = HV_EV_RESET_VALUE;
	t[131] = 5; // minor version
	dpu_le64_store(t + 140, HV_ACPI + AT_DSDT);
	put_gas(t + 244, HV_EVENTS + HV_EV_SLEEP_CONTROL);
	put_gas(t + 256, HV_EVENTS + HV_EV_SLEEP_STATUS);
	put_text(t + 268, "OUTBOARD"); // hypervisor's vendor
	finish(t, "FACP", FADT_LEN, 6);
}

static void write_madt(uint8_t *t, unsigned vcpus)
{
	uint8_t *e = t + HEADER + 8;

	dpu_le32_store(t + HEADER, (uint32_t)HV_LAPIC);
	e[0] = 1; // I/O APIC, from interrupt 0 on
	e[1] = 12;
	dpu_le32_store(e + 4, (uint32_t)HV_IOAPIC);
	e += 12;
	e[0] = 2; // interrupt source override: not as ISA has it, but
	e[1] = 10;
	e[3] = HV_GSI_EVENTS;
	dpu_le32_store(e + 4, HV_GSI_EVENTS);
	e[8] = 0x0d; // active high, level-triggered
	e += 10;
	for (unsigned i = 0; i < vcpus; i++, e += 8) {
		e[0] = 0; // local APIC
		e[1] = 8;
		e[2] = e[3] = (uint8_t)i;
		dpu_le32_store(e + 4, 1); // enabled
	}
	finish(t, "APIC", MADT_LEN(vcpus), 5);
}

static void write_mcfg(uint8_t *t)
{
	dpu_le64_store(t + 44, HV_ECAM); // segment 0, buses 0 to 0
	finish(t, "MCFG", MCFG_LEN, 1);
}

static void write_xsdt(uint8_t *t)
{
	static const unsigned tables[] = { AT_FADT, AT_MADT, AT_MCFG };
	const unsigned n = sizeof(tables) / sizeof(tables[0]);

	for (unsigned i = 0; i < n; i++)
		dpu_le64_store(t + HEADER + 8ul * i, HV_ACPI + tables[i]);
	finish(t, "XSDT", HEADER + 8 * n, 1);
}

static void write_rsdp(uint8_t *t)
{
	put_text(t, "RSD PTR ");
	put_text(t + 9, "OUTBRD");
	t[15] = 2;
	dpu_le32_store(t + 20, 36);
	dpu_le64_store(t + 24, HV_ACPI + AT_XSDT);
	t[8] = checksum(t, 20);
	t[32] = checksum(t, 36);
}

int hv_acpi_write(struct hv_vm *vm, unsigned vcpus)
{
	uint8_t *p = hv_vm_at(vm, HV_ACPI, HV_ACPI_LEN);

	if (!p)
		return -EFAULT;
	write_rsdp(p);
	write_xsdt(p + AT_XSDT);
	write_fadt(p + AT_FADT);
	write_mcfg(p + AT_MCFG);
	write_madt(p + AT_MADT, vcpus);
	memcpy(p + AT_DSDT, dsdt, sizeof(dsdt));
	return 0;
}
