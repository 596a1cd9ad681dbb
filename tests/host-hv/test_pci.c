// SPDX-License-Identifier: Apache-2.0
/* The PCI bus as a guest sees it: config space, BARs sized and moved, functions that go. */
#include "pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "layout.h"
#include "power.h"
#include "test.h"

#define ECAM 0xe0000000ull
#define MEM32 0xc0000000ull

/* A function whose BARs read what they are: slot, BAR and offset. */
struct toy {
	struct hv_pci_func f;
	uint64_t at[HV_PCI_BARS];
	unsigned moves, ejected, hooks;
	bool mastering;
	atomic_bool inside, hold;
	_Atomic unsigned writes;
};

struct rig {
	struct hv_bus bus;
	struct hv_pci pci;
	struct hv_power power;
	unsigned resets;
};

static void toy_read(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned len)
{
	memset(data, (int)(f->slot * 16 + bar), len);
	if (len == 1)
		*data = (uint8_t)off;
}

static void toy_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned len)
{
	struct toy *t = (struct toy *)f;

	(void)bar;
	(void)off;
	(void)data;
	(void)len;
	atomic_store(&t->inside, true);
	while (atomic_load(&t->hold))
		;
	atomic_fetch_add(&t->writes, 1);
}

static void toy_config(struct hv_pci_func *f, unsigned off, unsigned len)
{
	struct toy *t = (struct toy *)f;

	assert_true(len > 0 && off + len <= 4096);
	t->hooks++;
}

static void toy_placed(struct hv_pci_func *f, unsigned bar, uint64_t addr)
{
	struct toy *t = (struct toy *)f;

	assert_true(!t->at[bar] || !addr);
	t->at[bar] = addr;
	t->moves++;
}

static void toy_mastering(struct hv_pci_func *f, bool on)
{
	((struct toy *)f)->mastering = on;
}

static void toy_ejected(struct hv_pci_func *f)
{
	((struct toy *)f)->ejected++;
}

static const struct hv_pci_ops toy_ops = { toy_read, toy_write, toy_config, toy_config, toy_placed,
	toy_mastering, toy_ejected };

static void toy_init(struct toy *t, uint64_t size0, uint64_t size2)
{
	const struct hv_pci_id id = { 0x1af4, 0x1042, 0x1af4, 0x1100, 0x018000, 1 };

	memset(t, 0, sizeof(*t));
	hv_pci_func_init(&t->f, &toy_ops, &id);
	if (size0)
		assert_int_equal(hv_pci_bar_add(&t->f, 0, size0, false), 0);
	if (size2)
		assert_int_equal(hv_pci_bar_add(&t->f, 2, size2, true), 0);
}

static void on_power(void *arg, enum hv_power_event what)
{
	assert_int_equal(what, HV_POWER_RESET);
	((struct rig *)arg)->resets++;
}

static void on_line(void *arg, unsigned gsi, bool level)
{
	(void)arg;
	(void)gsi;
	(void)level;
}

static const struct hv_power_ops power_ops = { .event = on_power, .line = on_line };

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	hv_bus_init(&r->bus);
	assert_int_equal(hv_power_init(&r->power, &r->bus, &power_ops, r), 0);
	assert_int_equal(hv_pci_init(&r->pci, &r->bus, &r->power), 0);
}

static void rig_fini(struct rig *r)
{
	hv_pci_fini(&r->pci);
	hv_power_fini(&r->power);
	assert_int_equal(r->bus.n, 0);
	hv_bus_fini(&r->bus);
}

static uint64_t rd(struct rig *r, uint64_t addr, unsigned len)
{
	uint64_t v = 0;

	hv_bus_read(&r->bus, HV_BUS_MMIO, addr, (uint8_t *)&v, len);
	return v;
}

static void wr(struct rig *r, uint64_t addr, uint64_t v, unsigned len)
{
	hv_bus_write(&r->bus, HV_BUS_MMIO, addr, (uint8_t *)&v, len);
}

static uint64_t cfg(unsigned slot, unsigned reg)
{
	return ECAM + slot * 0x8000ull + reg;
}

static void decode(struct rig *r, unsigned slot, bool on)
{
	wr(r, cfg(slot, PCI_COMMAND), on ? PCI_COMMAND_MEMORY : 0, 2);
}

static void headers(void **state)
{
	struct rig r;
	struct toy t;

	(void)state;
	rig_init(&r);
	assert_int_equal(rd(&r, cfg(0, 0), 4), 0x00081b36);
	assert_int_equal(rd(&r, cfg(0, PCI_CLASS_REVISION), 4), 0x06000000);
	for (unsigned slot = 1; slot < 32; slot++)
		assert_int_equal(rd(&r, cfg(slot, 0), 4), 0xffffffff);
	toy_init(&t, 0x1000, 0);
	assert_int_equal(hv_pci_cap_add(&t.f, PCI_CAP_ID_VNDR, "\x10\x02\x03", 3), 0x40);
	assert_int_equal(hv_pci_cap_add(&t.f, PCI_CAP_ID_VNDR, "\x10\x05\x06", 3), 0x48);
	assert_int_equal(hv_pci_cap_add(&t.f, 9, "", 0xff - 0x50), -ENOSPC);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 5, false), 0);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 6, false), -EINVAL); // it is somewhere
	assert_int_equal(rd(&r, cfg(5, 0), 8), 0x0010000010421af4ull);
	assert_int_equal(rd(&r, cfg(5, 0x2c), 4), 0x11001af4);
	assert_int_equal(rd(&r, cfg(5, PCI_CAPABILITY_LIST), 1), 0x48);
	assert_int_equal(rd(&r, cfg(5, 0x48), 4), 0x05104009);
	assert_int_equal(rd(&r, cfg(5, 0x40), 4), 0x02100009);
	assert_int_equal(rd(&r, ECAM + 5 * 0x8000 + 0x1000, 4), 0xffffffff); // function 1
	rig_fini(&r);
}

/* KX-01, VF-15: whatever is written anywhere, bits that may not change do not. */
static void every_access(void **state)
{
	static const uint8_t ones[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct rig r;
	struct toy t[2];
	uint8_t was[2][HV_PCI_CONFIG], got[8];

	(void)state;
	rig_init(&r);
	for (unsigned i = 0; i < 2; i++) {
		toy_init(&t[i], 0x1000, 0x100000);
		assert_true(hv_pci_cap_add(&t[i].f, PCI_CAP_ID_VNDR, "\x10\x05", 2) > 0);
		assert_int_equal(hv_pci_plug(&r.pci, &t[i].f, i + 1, false), 0);
		memcpy(was[i], t[i].f.cfg, sizeof(was[i]));
	}
	for (unsigned len = 1; len <= 8; len++)
		for (uint64_t a = cfg(1, 0) - 8; a < cfg(1, 0) + 4096 + 8; a++) {
			hv_bus_write(&r.bus, HV_BUS_MMIO, a, ones, len);
			hv_bus_read(&r.bus, HV_BUS_MMIO, a, got, len);
			for (unsigned k = 0; k < len; k++) {
				uint64_t off = a + k - cfg(1, 0);
				bool two = (a + len - 1) / 4096 != a / 4096; // functions' spaces
				uint8_t want = two || off >= 4096 ? 0xff
					       : off < HV_PCI_CONFIG
						       ? was[0][off] | t[0].f.mask[off]
						       : 0;

				assert_int_equal(got[k], want);
			}
			hv_bus_write(&r.bus, HV_BUS_MMIO, a, (uint8_t[8]){ 0 }, len);
		}
	for (unsigned k = 0; k < HV_PCI_CONFIG; k++) {
		assert_int_equal(t[0].f.cfg[k], was[0][k] & ~t[0].f.mask[k]);
		assert_int_equal(t[1].f.cfg[k], was[1][k]);
	}
	// The end of ECAM, behind which are the events
	for (unsigned len = 1; len <= 8; len++)
		for (uint64_t a = ECAM + HV_ECAM_LEN - 16; a < ECAM + HV_ECAM_LEN; a++) {
			hv_bus_write(&r.bus, HV_BUS_MMIO, a, ones, len);
			hv_bus_read(&r.bus, HV_BUS_MMIO, a, got, len);
			assert_memory_equal(got, ones, len);
		}
	assert_int_equal(r.pci.conflicts, 0);
	rig_fini(&r);
}

static void sizing(void **state)
{
	struct rig r;
	struct toy t;

	(void)state;
	rig_init(&r);
	toy_init(&t, 0x4000, 1ull << 28);
	assert_int_equal(hv_pci_bar_add(&t.f, 0, 0x1000, false), -EINVAL);
	assert_int_equal(hv_pci_bar_add(&t.f, 3, 0x1000, false), -EINVAL); // BAR 2's upper half
	assert_int_equal(hv_pci_bar_add(&t.f, 1, 0x1000, true), -EINVAL); // would be BAR 2's
	assert_int_equal(hv_pci_bar_add(&t.f, 5, 0x1000, true), -EINVAL);
	assert_int_equal(hv_pci_bar_add(&t.f, 1, 0x1001, false), -EINVAL);
	assert_int_equal(hv_pci_bar_add(&t.f, 1, 8, false), -EINVAL);
	assert_int_equal(hv_pci_bar_add(&t.f, 1, 1ull << 31, false), -EINVAL);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
	assert_int_equal(rd(&r, cfg(1, 0x10), 4), MEM32);
	assert_int_equal(rd(&r, cfg(1, 0x18), 8), (MEM32 + (1 << 28)) | 4);
	for (unsigned i = 0; i < HV_PCI_BARS; i++)
		wr(&r, cfg(1, 0x10 + 4 * i), 0xffffffff, 4);
	assert_int_equal(rd(&r, cfg(1, 0x10), 4), 0xffffc000);
	assert_int_equal(rd(&r, cfg(1, 0x14), 4), 0);
	assert_int_equal(rd(&r, cfg(1, 0x18), 4), 0xf0000004);
	assert_int_equal(rd(&r, cfg(1, 0x1c), 4), 0xffffffff);
	assert_int_equal(rd(&r, cfg(1, 0x20), 8), 0);
	wr(&r, cfg(1, PCI_ROM_ADDRESS), 0xffffffff, 4);
	assert_int_equal(rd(&r, cfg(1, PCI_ROM_ADDRESS), 4), 0);
	rig_fini(&r);
}

/* The first BAR of a function at slot 1 is written with decode on: where does it answer then? */
static const struct place_case {
	const char *name;
	uint32_t bar;
	uint64_t at;
} places[] = {
	{ "first in the window", 0xc0000000, 0xc0000000 },
	{ "last in the window", 0xdfffc000, 0xdfffc000 },
	{ "all ones: sizing", 0xffffffff, 0 },
	{ "0", 0, 0 },
	{ "over memory", 0x100000, 0 },
	{ "right below the window", 0xbfffc000, 0 },
	{ "over ECAM", 0xe0000000, 0 },
	{ "the end of 4 GiB", 0xffffc000, 0 },
	{ "another BAR is there", 0xd0000000, 0 },
};

static void placed(void **state)
{
	const struct place_case *c = *state;
	struct rig r;
	struct toy t, other;

	rig_init(&r);
	toy_init(&t, 0x4000, 0);
	toy_init(&other, 0x10000, 0);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
	assert_int_equal(hv_pci_plug(&r.pci, &other.f, 2, false), 0);
	wr(&r, cfg(2, 0x10), 0xd0000000, 4);
	decode(&r, 2, true);
	assert_int_equal(rd(&r, 0xc0000000, 4), 0xffffffff);
	wr(&r, cfg(1, 0x10), 0xc0000000, 4);
	assert_int_equal(t.at[0], 0);
	decode(&r, 1, true);
	assert_int_equal(rd(&r, 0xc0000000, 4), 0x10101010);
	wr(&r, cfg(1, 0x10), c->bar, 4);
	assert_int_equal(t.at[0], c->at);
	if (c->at != 0xc0000000)
		assert_int_equal(rd(&r, 0xc0000000, 4), 0xffffffff);
	if (c->at)
		assert_int_equal(rd(&r, c->at, 4), 0x10101010);
	assert_int_equal(rd(&r, 0xd0000000, 4), 0x20202020);
	assert_int_equal(r.pci.conflicts > 0, c->bar == 0xd0000000);
	// Once the other one goes, it has the place
	decode(&r, 2, false);
	assert_int_equal(t.at[0], c->bar == 0xd0000000 ? 0xd0000000 : c->at);
	decode(&r, 1, false);
	assert_int_equal(t.at[0], 0);
	rig_fini(&r);
}

static void moves_64(void **state)
{
	struct rig r;
	struct toy t;

	(void)state;
	rig_init(&r);
	toy_init(&t, 0, 0x100000);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
	decode(&r, 1, true);
	assert_int_equal(t.at[2], MEM32);
	wr(&r, cfg(1, 0x18), (MEM32 + 0x100000) | 4, 8);
	assert_int_equal(t.at[2], MEM32 + 0x100000);
	assert_int_equal(rd(&r, MEM32 + 0x1fffff, 1), 0xff);
	assert_int_equal(rd(&r, MEM32 + 0x1ffff8, 8), 0x1212121212121212);
	wr(&r, cfg(1, 0x1c), 1, 4); // over memory
	assert_int_equal(t.at[2], 0);
	wr(&r, cfg(1, 0x18), 0xc0000000, 8);
	assert_int_equal(t.at[2], 0xc0000000);
	wr(&r, cfg(1, 0x1c), 0xffffffff, 4);
	assert_int_equal(t.at[2], 0);
	rig_fini(&r);
}

static const struct port_case {
	const char *name;
	uint32_t address;
	unsigned port, len;
	uint32_t value;
} ports[] = {
	{ "whole", 0x80000800, 0xcfc, 4, 0x10421af4 },
	{ "upper half", 0x80000800, 0xcfe, 2, 0x1042 },
	{ "last byte", 0x80000800, 0xcff, 1, 0x10 },
	{ "register's low bits do not count", 0x80000803, 0xcfc, 2, 0x1af4 },
	{ "class", 0x80000808, 0xcfc, 4, 0x01800001 },
	{ "2 bytes at an odd port", 0x80000800, 0xcfd, 2, 0xffff },
	{ "4 bytes at an odd port", 0x80000800, 0xcfd, 4, 0xffffffff },
	{ "over the end", 0x80000800, 0xcfe, 4, 0xffffffff },
	{ "enable bit off", 0x00000800, 0xcfc, 4, 0xffffffff },
	{ "bus 255, device 31", 0x80fff800, 0xcfc, 4, 0xffffffff },
	{ "bus 1", 0x80010800, 0xcfc, 4, 0xffffffff },
	{ "device 31", 0x8000f800, 0xcfc, 4, 0xffffffff },
	{ "function 1", 0x80000900, 0xcfc, 4, 0xffffffff },
	{ "the address reads back", 0x80000800, 0xcf8, 4, 0x80000800 },
	{ "but not in pieces", 0x80000800, 0xcf8, 2, 0xffff },
};

static void port(void **state)
{
	const struct port_case *c = *state;
	uint32_t got = 0, junk = 0x12345678;
	struct rig r;
	struct toy t;
	uint8_t was[HV_PCI_CONFIG];

	rig_init(&r);
	toy_init(&t, 0x1000, 0);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcf8, (const uint8_t *)&c->address, 4);
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcf8, (const uint8_t *)&junk, 2); // ignored
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcfb, (const uint8_t *)&junk, 1);
	hv_bus_read(&r.bus, HV_BUS_PORT, c->port, (uint8_t *)&got, c->len);
	assert_int_equal(got, c->value);
	memcpy(was, t.f.cfg, sizeof(was));
	if (c->port >= 0xcfc)
		hv_bus_write(&r.bus, HV_BUS_PORT, c->port, (const uint8_t *)&junk, c->len);
	assert_memory_equal(was, t.f.cfg, sizeof(was)); // all of them are read only
	assert_int_equal(r.resets, 0);
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcf9, (const uint8_t[]){ 6 }, 1);
	assert_int_equal(r.resets, 1);
	rig_fini(&r);
}

static void port_writes(void **state)
{
	uint32_t a = 0x80000804, v = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct rig r;
	struct toy t;

	(void)state;
	rig_init(&r);
	toy_init(&t, 0x1000, 0);
	assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcf8, (uint8_t *)&a, 4);
	hv_bus_write(&r.bus, HV_BUS_PORT, 0xcfc, (uint8_t *)&v, 2);
	assert_int_equal(t.at[0], MEM32);
	assert_true(t.mastering);
	rig_fini(&r);
}

static void comes_and_goes(void **state)
{
	static struct toy t[HV_PCI_SLOTS];
	struct toy large;
	struct rig r;

	(void)state;
	rig_init(&r);
	for (unsigned i = 1; i < HV_PCI_SLOTS; i++) {
		toy_init(&t[i], 0x1000u << (i % 5), 0);
		assert_int_equal(hv_pci_plug(&r.pci, &t[i].f, i, i == 7), 0);
	}
	assert_int_equal(rd(&r, HV_EVENTS + HV_EV_PCI_UP, 4), 1 << 7);
	toy_init(&large, 1u << 30, 0);
	assert_int_equal(hv_pci_plug(&r.pci, &large.f, 0, true), -EINVAL);
	assert_int_equal(hv_pci_plug(&r.pci, &large.f, 3, true), -EEXIST);
	assert_int_equal(hv_pci_plug(&r.pci, &large.f, 32, true), -EINVAL);
	for (unsigned i = 1; i < HV_PCI_SLOTS; i++)
		decode(&r, i, true);
	assert_int_equal(r.pci.conflicts, 0); // all have a place of their own
	assert_int_equal(r.bus.n, HV_PCI_SLOTS - 1 + 5);

	assert_int_equal(hv_pci_unplug(&r.pci, &large.f), -ENOENT);
	assert_int_equal(hv_pci_unplug(&r.pci, &t[9].f), 0);
	assert_int_equal(rd(&r, HV_EVENTS + HV_EV_PCI_DOWN, 4), 1 << 9);
	assert_int_equal(t[9].ejected, 0);
	assert_int_equal(hv_pci_eject(&r.pci, 9), 0);
	assert_int_equal(t[9].ejected, 1);
	assert_int_equal(t[9].at[0], 0);
	assert_int_equal(rd(&r, cfg(9, 0), 4), 0xffffffff);
	assert_int_equal(hv_pci_eject(&r.pci, 9), -ENOENT);
	assert_int_equal(hv_pci_eject(&r.pci, 0), -ENOENT);
	assert_int_equal(hv_pci_eject(&r.pci, 32), -ENOENT);
	// A BAR that has no room, now that there is a slot
	assert_int_equal(hv_pci_plug(&r.pci, &large.f, 9, true), -ENOSPC);
	assert_null(r.pci.slots[9]);
	assert_int_equal(hv_pci_plug(&r.pci, &t[9].f, 9, true), 0);
	hv_pci_remove(&r.pci, &t[9].f);
	hv_pci_remove(&r.pci, &t[9].f);
	assert_int_equal(t[9].ejected, 1);
	rig_fini(&r);
}

struct call {
	struct rig *r;
	uint64_t addr;
};

static void *write_bar(void *arg)
{
	struct call *c = arg;

	wr(c->r, c->addr, 1, 4);
	return NULL;
}

static void *let_go(void *arg)
{
	struct toy *t = arg;

	atomic_store(&t->hold, false);
	return NULL;
}

/* A BAR moves, or its function goes, while a call of it runs: that one ends first. */
static void waits_for_calls(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 2; how++) {
		struct rig r;
		struct toy t;
		struct call c = { &r, MEM32 };
		pthread_t in, out;

		rig_init(&r);
		toy_init(&t, 0x1000, 0);
		assert_int_equal(hv_pci_plug(&r.pci, &t.f, 1, false), 0);
		decode(&r, 1, true);
		atomic_store(&t.hold, true);
		assert_int_equal(pthread_create(&in, NULL, write_bar, &c), 0);
		while (!atomic_load(&t.inside))
			;
		assert_int_equal(pthread_create(&out, NULL, let_go, &t), 0);
		if (how == 0)
			hv_pci_remove(&r.pci, &t.f);
		else
			wr(&r, cfg(1, 0x10), MEM32 + 0x1000, 4);
		assert_int_equal(atomic_load(&t.writes), 1);
		pthread_join(in, NULL);
		pthread_join(out, NULL);
		rig_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(headers),
		cmocka_unit_test(every_access), cmocka_unit_test(sizing),
		cmocka_unit_test(moves_64), cmocka_unit_test(port_writes),
		cmocka_unit_test(comes_and_goes), cmocka_unit_test(waits_for_calls) };
	int failed = 0;

	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(places, placed, failed);
	RUN_ROWS(ports, port, failed);
	return failed;
}
