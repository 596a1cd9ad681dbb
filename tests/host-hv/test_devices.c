// SPDX-License-Identifier: Apache-2.0
/* Console, power registers and ACPI tables without a guest: what a driver would see of them. */
#include <string.h>

#include "acpi.h"
#include "layout.h"
#include "machine.h"
#include "power.h"
#include "serial.h"
#include "test.h"

struct seen {
	uint8_t out[64];
	unsigned n, edges, rooms, gsi;
	bool line;
	enum hv_power_event events[4];
	unsigned n_events;
	uint32_t ejected;
};

static void on_out(void *arg, uint8_t byte)
{
	struct seen *s = arg;

	s->out[s->n++ % sizeof(s->out)] = byte;
}

static void on_line(void *arg, unsigned gsi, bool level)
{
	struct seen *s = arg;

	s->gsi = gsi;
	s->edges += level && !s->line;
	s->line = level;
}

static void on_room(void *arg)
{
	((struct seen *)arg)->rooms++;
}

static void on_event(void *arg, enum hv_power_event what)
{
	struct seen *s = arg;

	s->events[s->n_events++ % 4] = what;
}

static void on_ejected(void *arg, unsigned slot)
{
	((struct seen *)arg)->ejected |= 1u << slot;
}

static const struct hv_serial_ops serial_ops = { on_out, on_line, on_room };
static const struct hv_power_ops power_ops = { on_event, on_line, on_ejected };

static uint8_t in(struct hv_serial *s, unsigned reg)
{
	uint8_t v;

	hv_serial_bus.read(s, reg, &v, 1);
	return v;
}

static void out(struct hv_serial *s, unsigned reg, uint8_t v)
{
	hv_serial_bus.write(s, reg, &v, 1);
}

static void serial_as_linux_probes_it(void **state)
{
	struct seen seen = { 0 };
	struct hv_serial s;

	(void)state;
	assert_int_equal(hv_serial_init(&s, &serial_ops, &seen), 0);
	out(&s, 7, 0xae); // scratch register
	assert_int_equal(in(&s, 7), 0xae);
	out(&s, 1, 0xff); // only four bits of IER are there
	assert_int_equal(in(&s, 1), 0x0f);
	out(&s, 1, 0);
	out(&s, 4, 0x1a); // loopback: RTS and OUT2 come back as CTS and DCD
	assert_int_equal(in(&s, 6) & 0xf0, 0x90);
	out(&s, 0, 'x'); // and bytes do not leave
	assert_int_equal(in(&s, 0), 'x');
	out(&s, 4, 0);
	assert_int_equal(seen.n, 0);
	out(&s, 3, 0x80); // divisor
	out(&s, 0, 0x34);
	out(&s, 1, 0x12);
	assert_int_equal(in(&s, 0), 0x34);
	assert_int_equal(in(&s, 1), 0x12);
	out(&s, 3, 3);
	assert_int_equal(in(&s, 3), 3);
	assert_int_equal(in(&s, 2), 0x01);
	out(&s, 2, 1); // FIFO: it is a 16550A
	assert_int_equal(in(&s, 2), 0xc1);
	assert_int_equal(in(&s, 5), 0x60);
	out(&s, 5, 0xff); // status is read only
	out(&s, 0, 'y');
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.out[0], 'y');
	hv_serial_fini(&s);
}

static void serial_interrupts(void **state)
{
	struct seen seen = { 0 };
	struct hv_serial s;

	(void)state;
	assert_int_equal(hv_serial_init(&s, &serial_ops, &seen), 0);
	out(&s, 1, 2); // "can send" is asked for, and can: at once
	assert_true(seen.line);
	assert_int_equal(seen.gsi, HV_GSI_SERIAL);
	assert_int_equal(in(&s, 2), 0x02);
	assert_false(seen.line);
	out(&s, 0, 'a'); // and after each byte
	assert_int_equal(seen.edges, 2);
	assert_int_equal(in(&s, 2), 0x02);
	out(&s, 1, 1);
	assert_false(seen.line);
	assert_int_equal(hv_serial_input(&s, (const uint8_t *)"bc", 2), 2);
	assert_true(seen.line);
	assert_int_equal(in(&s, 2), 0x04);
	assert_true(seen.line); // as long as there is something to read
	assert_int_equal(in(&s, 5) & 1, 1);
	assert_int_equal(in(&s, 0), 'b');
	assert_int_equal(in(&s, 0), 'c');
	assert_false(seen.line);
	assert_int_equal(in(&s, 5) & 1, 0);
	assert_int_equal(in(&s, 0), 0); // nothing there
	assert_int_equal(hv_serial_input(&s, (const uint8_t *)"d", 1), 1);
	out(&s, 2, 3); // the receive FIFO is emptied
	assert_false(seen.line);
	assert_int_equal(in(&s, 5) & 1, 0);
	hv_serial_fini(&s);
}

static void serial_input_is_bounded(void **state)
{
	static uint8_t many[HV_SERIAL_IN + 100];
	struct seen seen = { 0 };
	struct hv_serial s;

	(void)state;
	assert_int_equal(hv_serial_init(&s, &serial_ops, &seen), 0);
	for (unsigned i = 0; i < sizeof(many); i++)
		many[i] = (uint8_t)(i * 7);
	assert_int_equal(hv_serial_input(&s, many, sizeof(many)), HV_SERIAL_IN);
	assert_int_equal(hv_serial_input(&s, many, 1), 0);
	out(&s, 4, 0x10);
	out(&s, 0, 'x'); // nor does a loop overflow it
	for (unsigned i = 0; i < HV_SERIAL_IN; i++) {
		assert_int_equal(seen.rooms, i >= HV_SERIAL_IN / 2);
		assert_int_equal(in(&s, 0), many[i]);
	}
	assert_int_equal(seen.rooms, 1);
	assert_int_equal(hv_serial_input(&s, many + HV_SERIAL_IN, 100), 100);
	while (hv_serial_input(&s, many, 1))
		;
	out(&s, 2,
		3); // the receive FIFO is emptied: there is room, and who waits for it hears that
	assert_int_equal(seen.rooms, 2);
	hv_serial_fini(&s);
}

static uint32_t read32(struct hv_bus *bus, uint64_t off)
{
	uint32_t v;

	hv_bus_read(bus, HV_BUS_MMIO, HV_EVENTS + off, (uint8_t *)&v, 4);
	return v;
}

static void write_n(
	struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, uint32_t v, unsigned n)
{
	hv_bus_write(bus, kind, addr, (const uint8_t *)&v, n);
}

static void power_registers(void **state)
{
	struct seen seen = { 0 };
	struct hv_bus bus;
	struct hv_power p, second;
	uint16_t half;

	(void)state;
	hv_bus_init(&bus);
	assert_int_equal(hv_power_init(&p, &bus, &power_ops, &seen), 0);
	assert_int_not_equal(hv_power_init(&second, &bus, &power_ops, &seen), 0);
	assert_int_equal(read32(&bus, HV_EV_SELECT), 0);
	hv_power_button(&p);
	hv_power_slots(&p, 1u << 1, 0);
	hv_power_slots(&p, 1u << 31, 1u << 4);
	assert_int_equal(seen.edges, 1);
	assert_true(seen.line); // until what happened is read
	assert_int_equal(seen.gsi, HV_GSI_EVENTS);
	assert_int_equal(read32(&bus, HV_EV_PCI_EJECT), 0);
	assert_true(seen.line);
	hv_bus_read(&bus, HV_BUS_MMIO, HV_EVENTS, (uint8_t *)&half, 2); // loses nothing
	assert_int_equal(read32(&bus, HV_EV_SELECT), HV_EV_BUTTON | HV_EV_PCI);
	assert_false(seen.line);
	assert_int_equal(read32(&bus, HV_EV_SELECT), 0);
	assert_int_equal(read32(&bus, HV_EV_PCI_UP), 1u << 31 | 1u << 1);
	assert_int_equal(read32(&bus, HV_EV_PCI_DOWN), 1u << 4);
	assert_int_equal(read32(&bus, HV_EV_PCI_DOWN), 0);
	assert_int_equal(read32(&bus, 0x800), 0);

	// Memory: how much stays to be read, that it is new does not
	assert_int_equal(read32(&bus, HV_EV_MEM), 0);
	hv_power_memory(&p, HV_HIGH_BASE, 2 * HV_MEM_UNIT);
	hv_power_memory(&p, 1ull << 40, 1ull << 40);
	assert_int_equal(seen.edges, 2);
	assert_int_equal(read32(&bus, HV_EV_SELECT), HV_EV_MEMORY);
	assert_false(seen.line);
	assert_int_equal(read32(&bus, HV_EV_MEM_UP), 3);
	assert_int_equal(read32(&bus, HV_EV_MEM_UP), 0);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(read32(&bus, HV_EV_MEM), 32);
		assert_int_equal(read32(&bus, HV_EV_MEM + 4), 2);
		assert_int_equal(read32(&bus, HV_EV_MEM + 8), 8192);
		assert_int_equal(read32(&bus, HV_EV_MEM + 12), 8192);
		// what the guest writes there changes nothing
		for (uint64_t off = HV_EV_MEM_UP; off < 0x100; off += 4)
			write_n(&bus, HV_BUS_MMIO, HV_EVENTS + off, UINT32_MAX, 4);
	}
	assert_int_equal(read32(&bus, HV_EV_MEM_UP), 0);
	for (uint64_t off = HV_EV_MEM + 16; off < 0x100; off += 4)
		assert_int_equal(read32(&bus, off), 0);
	assert_int_equal(read32(&bus, HV_EV_MEM + 1), 0);
	for (unsigned i = 2; i < HV_EV_MEMS; i++)
		hv_power_memory(&p, i * HV_MEM_UNIT, HV_MEM_UNIT);
	assert_int_equal(read32(&bus, HV_EV_MEM + 8 * (HV_EV_MEMS - 1)), HV_EV_MEMS - 1);
	assert_int_equal(read32(&bus, HV_EV_SELECT), HV_EV_MEMORY);

	write_n(&bus, HV_BUS_MMIO, HV_EVENTS + HV_EV_PCI_EJECT, 1u << 4, 4);
	assert_int_equal(seen.ejected, 1u << 4);
	write_n(&bus, HV_BUS_MMIO, HV_EVENTS + HV_EV_SLEEP_CONTROL, 0x14, 1); // not enabled
	write_n(&bus, HV_BUS_MMIO, HV_EVENTS + HV_EV_SELECT, 0xffffffff, 4);
	hv_power_cf9(&p, 0x02);
	write_n(&bus, HV_BUS_PORT, 0x64, 0xd1, 1);
	write_n(&bus, HV_BUS_PORT, 0x505, 0x02, 1);
	assert_int_equal(seen.n_events, 0);
	write_n(&bus, HV_BUS_MMIO, HV_EVENTS + HV_EV_SLEEP_CONTROL, 0x34, 1);
	hv_power_cf9(&p, 0x06);
	write_n(&bus, HV_BUS_PORT, 0x64, 0xfe, 1);
	write_n(&bus, HV_BUS_PORT, 0x505, 0x01, 1);
	assert_int_equal(seen.n_events, 4);
	assert_int_equal(seen.events[0], HV_POWER_OFF);
	assert_int_equal(seen.events[1], HV_POWER_RESET);
	assert_int_equal(seen.events[2], HV_POWER_RESET);
	assert_int_equal(seen.events[3], HV_POWER_PANIC);
	hv_power_fini(&p);
	assert_int_equal(bus.n, 0);
	hv_bus_fini(&bus);
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len-- > 0)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The table at gpa, which must be whole. */
static const uint8_t *table(const struct hv_vm *vm, uint64_t gpa, const char *name)
{
	const uint8_t *t = hv_vm_at(vm, gpa, 36);

	assert_non_null(t);
	assert_memory_equal(t, name, 4);
	assert_non_null(hv_vm_at(vm, gpa, get(t + 4, 4)));
	assert_int_equal(sum(t, get(t + 4, 4)), 0);
	return t;
}

static void acpi_tables_add_up(void **state)
{
	static uint8_t mem[HV_IMAGE_MIN];
	const struct hv_vm vm = { .slots = { { .len = sizeof(mem), .host = mem } }, .n_slots = 1 };
	struct hv_vm copy = vm, none = { .n_slots = 0 };
	const uint8_t *r = mem + HV_ACPI, *x, *t;

	(void)state;
	assert_int_not_equal(hv_acpi_write(&none, 1), 0);
	assert_int_equal(hv_acpi_write(&copy, HV_VCPUS_MAX), 0);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, 36), 0);
	x = table(&vm, get(r + 24, 8), "XSDT");
	assert_int_equal(get(x + 4, 4), 36 + 3 * 8);
	t = table(&vm, get(x + 36, 8), "FACP");
	table(&vm, get(t + 140, 8), "DSDT");
	assert_int_equal(get(t + 120, 8), HV_EVENTS + HV_EV_RESET);
	assert_int_equal(get(t + 248, 8), HV_EVENTS + HV_EV_SLEEP_CONTROL);
	t = table(&vm, get(x + 44, 8), "APIC");
	assert_int_equal(get(t + 4, 4), 44 + 12 + 10 + 8 * HV_VCPUS_MAX);
	assert_memory_equal(t + 56, "\2\12\0\11\11\0\0\0\15", 10); // GSI 9: level, active high
	assert_int_equal(t[44 + 12 + 10 + 8 * (HV_VCPUS_MAX - 1) + 3], HV_VCPUS_MAX - 1);
	t = table(&vm, get(x + 52, 8), "MCFG");
	assert_int_equal(get(t + 44, 8), HV_ECAM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serial_as_linux_probes_it),
		cmocka_unit_test(serial_interrupts),
		cmocka_unit_test(serial_input_is_bounded),
		cmocka_unit_test(power_registers),
		cmocka_unit_test(acpi_tables_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
