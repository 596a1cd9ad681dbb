// SPDX-License-Identifier: Apache-2.0
/* Windows of ports and addresses: who answers, what overlaps, and an end that waits for calls. */
#include "bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "test.h"

/* A window's memory, which notes the last write. */
struct store {
	uint8_t bytes[64];
	unsigned reads, writes;
	uint64_t off;
};

static void store_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct store *s = arg;

	memcpy(data, s->bytes + off, len);
	s->reads++;
}

static void store_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct store *s = arg;

	memcpy(s->bytes + off, data, len);
	s->writes++;
	s->off = off;
}

static const struct hv_bus_ops store_ops = { store_read, store_write };

static const struct add_case {
	const char *name;
	enum hv_bus_kind kind;
	uint64_t base, len;
	int ret;
} adds[] = {
	{ "no length", HV_BUS_MMIO, 0x5000, 0, -EINVAL },
	{ "wraps", HV_BUS_MMIO, UINT64_MAX, 2, -EINVAL },
	{ "the last byte of all", HV_BUS_MMIO, UINT64_MAX, 1, 0 },
	{ "the same", HV_BUS_MMIO, 0x1000, 0x40, -EEXIST },
	{ "its first byte", HV_BUS_MMIO, 0xfff, 2, -EEXIST },
	{ "its last byte", HV_BUS_MMIO, 0x103f, 1, -EEXIST },
	{ "around it", HV_BUS_MMIO, 0, 0x10000, -EEXIST },
	{ "inside of it", HV_BUS_MMIO, 0x1001, 1, -EEXIST },
	{ "right before it", HV_BUS_MMIO, 0xfff, 1, 0 },
	{ "right behind it", HV_BUS_MMIO, 0x1040, 0x40, 0 },
	{ "the same as ports", HV_BUS_PORT, 0x1000, 0x40, 0 },
};

static void add(void **state)
{
	const struct add_case *c = *state;
	struct store s = { { 0 } }, mine = { { 0 } };
	struct hv_bus bus;
	uint8_t b;

	hv_bus_init(&bus);
	assert_int_equal(hv_bus_add(&bus, HV_BUS_MMIO, 0x1000, 0x40, &store_ops, &s), 0);
	assert_int_equal(hv_bus_add(&bus, c->kind, c->base, c->len, &store_ops, &mine), c->ret);
	hv_bus_read(&bus, c->kind, c->base, &b, 1);
	assert_int_equal(mine.reads, c->ret == 0);
	hv_bus_fini(&bus);
}

/* KX-01: every width around every edge of two neighbours and a hole. */
static void edges(void **state)
{
	struct store s[2] = { { { 0 } } };
	struct hv_bus bus;
	uint64_t missed = 0;

	(void)state;
	hv_bus_init(&bus);
	assert_int_equal(hv_bus_add(&bus, HV_BUS_MMIO, 0x1000, 64, &store_ops, &s[0]), 0);
	assert_int_equal(hv_bus_add(&bus, HV_BUS_MMIO, 0x1040, 64, &store_ops, &s[1]), 0);
	for (uint64_t a = 0x1000 - 8; a < 0x1080 + 8; a++)
		for (unsigned len = 1; len <= 8; len++) {
			uint8_t ones[8], got[8] = { 0 }, put[8];
			uint64_t end = a + len;
			struct store *in = a >= 0x1000 && end <= 0x1040	  ? &s[0]
					   : a >= 0x1040 && end <= 0x1080 ? &s[1]
									  : NULL;
			unsigned before = s[0].writes + s[1].writes;

			memset(ones, 0xff, sizeof(ones));
			memset(put, (int)(a ^ len) & 0x7f, sizeof(put));
			hv_bus_write(&bus, HV_BUS_MMIO, a, put, len);
			hv_bus_read(&bus, HV_BUS_MMIO, a, got, len);
			hv_bus_read(&bus, HV_BUS_PORT, a, ones, len); // there are no ports
			missed += in ? 1 : 3;
			assert_memory_equal(got, in ? put : ones, len);
			assert_int_equal(s[0].writes + s[1].writes, before + (in != NULL));
			if (in)
				assert_int_equal(in->off, (a - 0x1000) % 64);
		}
	assert_int_equal(bus.missed, missed);
	hv_bus_remove(&bus, HV_BUS_MMIO, 0x1001); // no window's base
	hv_bus_remove(&bus, HV_BUS_PORT, 0x1000);
	assert_int_equal(bus.n, 2);
	hv_bus_fini(&bus);
}

/* Many windows, added and removed in an order of no meaning: those that are left answer. */
static void many(void **state)
{
	static struct store s[97];
	struct hv_bus bus;
	uint8_t b;

	(void)state;
	hv_bus_init(&bus);
	for (unsigned i = 0; i < 97; i++) {
		unsigned k = i * 31 % 97;

		assert_int_equal(
			hv_bus_add(&bus, HV_BUS_MMIO, k * 128ull, 64, &store_ops, &s[k]), 0);
	}
	for (unsigned k = 0; k < 97; k += 3)
		hv_bus_remove(&bus, HV_BUS_MMIO, k * 128ull);
	for (unsigned k = 0; k < 97; k++) {
		hv_bus_read(&bus, HV_BUS_MMIO, k * 128ull + 63, &b, 1);
		hv_bus_read(&bus, HV_BUS_MMIO, k * 128ull + 64, &b, 1);
		assert_int_equal(s[k].reads, k % 3 != 0);
	}
	hv_bus_fini(&bus);
}

/* A call of offset 0 is held inside until it is let go. */
struct gate {
	atomic_bool inside, go, done;
	struct hv_bus *bus;
};

static void gate_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct gate *g = arg;

	memset(data, 0, len);
	if (off)
		return;
	atomic_store(&g->inside, true);
	while (!atomic_load(&g->go))
		;
	atomic_store(&g->done, true);
}

static void gate_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	(void)arg;
	(void)off;
	(void)data;
	(void)len;
}

static const struct hv_bus_ops gate_ops = { gate_read, gate_write };

static void *access_gate(void *arg)
{
	struct gate *g = arg;
	uint8_t b;

	hv_bus_read(g->bus, HV_BUS_MMIO, 0x1000, &b, 1);
	return NULL;
}

static void *let_go(void *arg)
{
	struct gate *g = arg;
	uint8_t b = 0;

	// It is found no more as soon as its end began, while the call still runs
	while (b != 0xff)
		hv_bus_read(g->bus, HV_BUS_MMIO, 0x1001, &b, 1);
	assert_false(atomic_load(&g->done));
	atomic_store(&g->go, true);
	return NULL;
}

static void removal_waits(void **state)
{
	struct hv_bus bus;
	struct gate g = { .bus = &bus };
	pthread_t in, out;

	(void)state;
	hv_bus_init(&bus);
	assert_int_equal(hv_bus_add(&bus, HV_BUS_MMIO, 0x1000, 16, &gate_ops, &g), 0);
	assert_int_equal(pthread_create(&in, NULL, access_gate, &g), 0);
	while (!atomic_load(&g.inside))
		;
	assert_int_equal(pthread_create(&out, NULL, let_go, &g), 0);
	hv_bus_remove(&bus, HV_BUS_MMIO, 0x1000);
	assert_true(atomic_load(&g.done));
	pthread_join(in, NULL);
	pthread_join(out, NULL);
	hv_bus_fini(&bus);
}

#define ROUNDS 2000

struct flip {
	struct hv_bus *bus;
	struct store *store;
	atomic_bool end;
};

static void *reader(void *arg)
{
	struct flip *f = arg;
	uint8_t b[8];

	while (!atomic_load(&f->end)) {
		hv_bus_read(f->bus, HV_BUS_MMIO, 0x1000, b, 8);
		hv_bus_write(f->bus, HV_BUS_PORT, 0x80, b, 1);
	}
	return NULL;
}

/* Windows come and go under accesses; their memory is gone each time (ThreadSanitizer looks on). */
static void comes_and_goes(void **state)
{
	struct hv_bus bus;
	struct flip f = { .bus = &bus };
	pthread_t t[2];

	(void)state;
	hv_bus_init(&bus);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, &f), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct gate here = { .go = true };

		assert_int_equal(hv_bus_add(&bus, HV_BUS_MMIO, 0x1000, 16, &gate_ops, &here), 0);
		assert_int_equal(hv_bus_add(&bus, HV_BUS_PORT, 0x80, 1, &gate_ops, &here), 0);
		hv_bus_remove(&bus, HV_BUS_PORT, 0x80);
		hv_bus_remove(&bus, HV_BUS_MMIO, 0x1000);
		memset((void *)&here, 0, sizeof(here));
	}
	atomic_store(&f.end, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bus.n, 0);
	hv_bus_fini(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(edges), cmocka_unit_test(many),
		cmocka_unit_test(removal_waits), cmocka_unit_test(comes_and_goes) };
	int failed = 0;

	RUN_ROWS(adds, add, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
