/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest is told of its machine, compiled into dsdt.aml by "tests/host-hv/dsdt --write". Nothing in
 * it depends on the guest, so there is no code that writes AML. Addresses: layout.h; registers: power.h.
 */
DefinitionBlock ("", "DSDT", 2, "OUTBRD", "HOSTHV", 1)
{
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        OperationRegion (EVNT, SystemMemory, 0xE0100000, 0x10)
        Field (EVNT, DWordAcc, NoLock, WriteAsZeros)
        {
            ESEL, 32,
            PCIU, 32,
            PCID, 32,
            PCIE, 32
        }

        Device (GED)
        {
            Name (_HID, "ACPI0013")
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { 9 }
            })
            Method (_EVT, 1, Serialized)
            {
                Local0 = ESEL
                If (Local0 & 1)
                {
                    Notify (PWRB, 0x80)
                }
                If (Local0 & 2)
                {
                    \_SB.PCI0.SCAN ()
                }
                If (Local0 & 4)
                {
                    \_SB.MEMS ()
                }
            }
        }

        Device (PWRB)
        {
            Name (_HID, EisaId ("PNP0C0C"))
            Name (_UID, 0)
        }

        /* Memory that is added while the guest runs: by its number where and how long, in units of 128 MiB. */
        OperationRegion (MEMR, SystemMemory, 0xE0100040, 0x40)
        Field (MEMR, DWordAcc, NoLock, WriteAsZeros)
        {
            MEMU, 32,
            Offset (8),
            MA0, 32, ML0, 32,
            MA1, 32, ML1, 32,
            MA2, 32, ML2, 32,
            MA3, 32, ML3, 32,
            MA4, 32, ML4, 32,
            MA5, 32, ML5, 32,
            MA6, 32, ML6, 32
        }

        Method (MCRS, 2, Serialized)
        {
            Name (BUF, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0, 0, 0, 1, , , RANG, AddressRangeMemory, TypeStatic)
            })
            CreateQWordField (BUF, RANG._MIN, BMIN)
            CreateQWordField (BUF, RANG._MAX, BMAX)
            CreateQWordField (BUF, RANG._LEN, BLEN)
            BMIN = Arg0 << 27
            BLEN = Arg1 << 27
            BMAX = BMIN + BLEN - 1
            Return (BUF)
        }

        Device (MEM0)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 0)
            Method (_STA) { If (ML0) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA0, ML0)) }
        }
        Device (MEM1)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 1)
            Method (_STA) { If (ML1) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA1, ML1)) }
        }
        Device (MEM2)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 2)
            Method (_STA) { If (ML2) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA2, ML2)) }
        }
        Device (MEM3)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 3)
            Method (_STA) { If (ML3) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA3, ML3)) }
        }
        Device (MEM4)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 4)
            Method (_STA) { If (ML4) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA4, ML4)) }
        }
        Device (MEM5)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 5)
            Method (_STA) { If (ML5) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA5, ML5)) }
        }
        Device (MEM6)
        {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 6)
            Method (_STA) { If (ML6) { Return (0x0F) } Return (0) }
            Method (_CRS) { Return (MCRS (MA6, ML6)) }
        }

        Method (MEMS, 0, Serialized)
        {
            Local0 = MEMU
            If (Local0 & 0x01) { Notify (MEM0, 1) }
            If (Local0 & 0x02) { Notify (MEM1, 1) }
            If (Local0 & 0x04) { Notify (MEM2, 1) }
            If (Local0 & 0x08) { Notify (MEM3, 1) }
            If (Local0 & 0x10) { Notify (MEM4, 1) }
            If (Local0 & 0x20) { Notify (MEM5, 1) }
            If (Local0 & 0x40) { Notify (MEM6, 1) }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 1, 1)
            })
        }

        /* What no function may be placed in. */
        Device (MRES)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)
                Memory32Fixed (ReadWrite, 0xE0100000, 0x00001000)
            })
        }

        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
            })

            Device (S01) { Name (_ADR, 0x010000) Name (_SUN, 1) Method (_EJ0, 1) { PCIE = 0x00000002 } }
            Device (S02) { Name (_ADR, 0x020000) Name (_SUN, 2) Method (_EJ0, 1) { PCIE = 0x00000004 } }
            Device (S03) { Name (_ADR, 0x030000) Name (_SUN, 3) Method (_EJ0, 1) { PCIE = 0x00000008 } }
            Device (S04) { Name (_ADR, 0x040000) Name (_SUN, 4) Method (_EJ0, 1) { PCIE = 0x00000010 } }
            Device (S05) { Name (_ADR, 0x050000) Name (_SUN, 5) Method (_EJ0, 1) { PCIE = 0x00000020 } }
            Device (S06) { Name (_ADR, 0x060000) Name (_SUN, 6) Method (_EJ0, 1) { PCIE = 0x00000040 } }
            Device (S07) { Name (_ADR, 0x070000) Name (_SUN, 7) Method (_EJ0, 1) { PCIE = 0x00000080 } }
            Device (S08) { Name (_ADR, 0x080000) Name (_SUN, 8) Method (_EJ0, 1) { PCIE = 0x00000100 } }
            Device (S09) { Name (_ADR, 0x090000) Name (_SUN, 9) Method (_EJ0, 1) { PCIE = 0x00000200 } }
            Device (S0A) { Name (_ADR, 0x0A0000) Name (_SUN, 10) Method (_EJ0, 1) { PCIE = 0x00000400 } }
            Device (S0B) { Name (_ADR, 0x0B0000) Name (_SUN, 11) Method (_EJ0, 1) { PCIE = 0x00000800 } }
            Device (S0C) { Name (_ADR, 0x0C0000) Name (_SUN, 12) Method (_EJ0, 1) { PCIE = 0x00001000 } }
            Device (S0D) { Name (_ADR, 0x0D0000) Name (_SUN, 13) Method (_EJ0, 1) { PCIE = 0x00002000 } }
            Device (S0E) { Name (_ADR, 0x0E0000) Name (_SUN, 14) Method (_EJ0, 1) { PCIE = 0x00004000 } }
            Device (S0F) { Name (_ADR, 0x0F0000) Name (_SUN, 15) Method (_EJ0, 1) { PCIE = 0x00008000 } }
            Device (S10) { Name (_ADR, 0x100000) Name (_SUN, 16) Method (_EJ0, 1) { PCIE = 0x00010000 } }
            Device (S11) { Name (_ADR, 0x110000) Name (_SUN, 17) Method (_EJ0, 1) { PCIE = 0x00020000 } }
            Device (S12) { Name (_ADR, 0x120000) Name (_SUN, 18) Method (_EJ0, 1) { PCIE = 0x00040000 } }
            Device (S13) { Name (_ADR, 0x130000) Name (_SUN, 19) Method (_EJ0, 1) { PCIE = 0x00080000 } }
            Device (S14) { Name (_ADR, 0x140000) Name (_SUN, 20) Method (_EJ0, 1) { PCIE = 0x00100000 } }
            Device (S15) { Name (_ADR, 0x150000) Name (_SUN, 21) Method (_EJ0, 1) { PCIE = 0x00200000 } }
            Device (S16) { Name (_ADR, 0x160000) Name (_SUN, 22) Method (_EJ0, 1) { PCIE = 0x00400000 } }
            Device (S17) { Name (_ADR, 0x170000) Name (_SUN, 23) Method (_EJ0, 1) { PCIE = 0x00800000 } }
            Device (S18) { Name (_ADR, 0x180000) Name (_SUN, 24) Method (_EJ0, 1) { PCIE = 0x01000000 } }
            Device (S19) { Name (_ADR, 0x190000) Name (_SUN, 25) Method (_EJ0, 1) { PCIE = 0x02000000 } }
            Device (S1A) { Name (_ADR, 0x1A0000) Name (_SUN, 26) Method (_EJ0, 1) { PCIE = 0x04000000 } }
            Device (S1B) { Name (_ADR, 0x1B0000) Name (_SUN, 27) Method (_EJ0, 1) { PCIE = 0x08000000 } }
            Device (S1C) { Name (_ADR, 0x1C0000) Name (_SUN, 28) Method (_EJ0, 1) { PCIE = 0x10000000 } }
            Device (S1D) { Name (_ADR, 0x1D0000) Name (_SUN, 29) Method (_EJ0, 1) { PCIE = 0x20000000 } }
            Device (S1E) { Name (_ADR, 0x1E0000) Name (_SUN, 30) Method (_EJ0, 1) { PCIE = 0x40000000 } }
            Device (S1F) { Name (_ADR, 0x1F0000) Name (_SUN, 31) Method (_EJ0, 1) { PCIE = 0x80000000 } }

            Method (SCAN, 0, Serialized)
            {
                Local0 = PCIU
                Local1 = PCID
                If (Local0 & 0x00000002) { Notify (S01, 1) }
                If (Local0 & 0x00000004) { Notify (S02, 1) }
                If (Local0 & 0x00000008) { Notify (S03, 1) }
                If (Local0 & 0x00000010) { Notify (S04, 1) }
                If (Local0 & 0x00000020) { Notify (S05, 1) }
                If (Local0 & 0x00000040) { Notify (S06, 1) }
                If (Local0 & 0x00000080) { Notify (S07, 1) }
                If (Local0 & 0x00000100) { Notify (S08, 1) }
                If (Local0 & 0x00000200) { Notify (S09, 1) }
                If (Local0 & 0x00000400) { Notify (S0A, 1) }
                If (Local0 & 0x00000800) { Notify (S0B, 1) }
                If (Local0 & 0x00001000) { Notify (S0C, 1) }
                If (Local0 & 0x00002000) { Notify (S0D, 1) }
                If (Local0 & 0x00004000) { Notify (S0E, 1) }
                If (Local0 & 0x00008000) { Notify (S0F, 1) }
                If (Local0 & 0x00010000) { Notify (S10, 1) }
                If (Local0 & 0x00020000) { Notify (S11, 1) }
                If (Local0 & 0x00040000) { Notify (S12, 1) }
                If (Local0 & 0x00080000) { Notify (S13, 1) }
                If (Local0 & 0x00100000) { Notify (S14, 1) }
                If (Local0 & 0x00200000) { Notify (S15, 1) }
                If (Local0 & 0x00400000) { Notify (S16, 1) }
                If (Local0 & 0x00800000) { Notify (S17, 1) }
                If (Local0 & 0x01000000) { Notify (S18, 1) }
                If (Local0 & 0x02000000) { Notify (S19, 1) }
                If (Local0 & 0x04000000) { Notify (S1A, 1) }
                If (Local0 & 0x08000000) { Notify (S1B, 1) }
                If (Local0 & 0x10000000) { Notify (S1C, 1) }
                If (Local0 & 0x20000000) { Notify (S1D, 1) }
                If (Local0 & 0x40000000) { Notify (S1E, 1) }
                If (Local0 & 0x80000000) { Notify (S1F, 1) }
                If (Local1 & 0x00000002) { Notify (S01, 3) }
                If (Local1 & 0x00000004) { Notify (S02, 3) }
                If (Local1 & 0x00000008) { Notify (S03, 3) }
                If (Local1 & 0x00000010) { Notify (S04, 3) }
                If (Local1 & 0x00000020) { Notify (S05, 3) }
                If (Local1 & 0x00000040) { Notify (S06, 3) }
                If (Local1 & 0x00000080) { Notify (S07, 3) }
                If (Local1 & 0x00000100) { Notify (S08, 3) }
                If (Local1 & 0x00000200) { Notify (S09, 3) }
                If (Local1 & 0x00000400) { Notify (S0A, 3) }
                If (Local1 & 0x00000800) { Notify (S0B, 3) }
                If (Local1 & 0x00001000) { Notify (S0C, 3) }
                If (Local1 & 0x00002000) { Notify (S0D, 3) }
                If (Local1 & 0x00004000) { Notify (S0E, 3) }
                If (Local1 & 0x00008000) { Notify (S0F, 3) }
                If (Local1 & 0x00010000) { Notify (S10, 3) }
                If (Local1 & 0x00020000) { Notify (S11, 3) }
                If (Local1 & 0x00040000) { Notify (S12, 3) }
                If (Local1 & 0x00080000) { Notify (S13, 3) }
                If (Local1 & 0x00100000) { Notify (S14, 3) }
                If (Local1 & 0x00200000) { Notify (S15, 3) }
                If (Local1 & 0x00400000) { Notify (S16, 3) }
                If (Local1 & 0x00800000) { Notify (S17, 3) }
                If (Local1 & 0x01000000) { Notify (S18, 3) }
                If (Local1 & 0x02000000) { Notify (S19, 3) }
                If (Local1 & 0x04000000) { Notify (S1A, 3) }
                If (Local1 & 0x08000000) { Notify (S1B, 3) }
                If (Local1 & 0x10000000) { Notify (S1C, 3) }
                If (Local1 & 0x20000000) { Notify (S1D, 3) }
                If (Local1 & 0x40000000) { Notify (S1E, 3) }
                If (Local1 & 0x80000000) { Notify (S1F, 3) }
            }
        }
    }
}
