/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What answers a guest's port and MMIO accesses that leave KVM: windows of addresses, each with two
 * calls. None of it is on the path of a queue. Any thread; a window's calls run under no lock of
 * the bus, so they may add and remove windows, but not their own.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HV_BUS_WINDOWS 256 // a guest's own, and six BARs in each slot

enum hv_bus_kind { HV_BUS_PORT, HV_BUS_MMIO };

struct hv_bus_ops {
	/*
	 * Fill or take len bytes (1, 2, 4 or 8), off bytes into the window, all of them inside.
	 * read: they are 0xff so far; NULL: 0 is read.
	 */
	void (*read)(void *arg, uint64_t off, uint8_t *data, unsigned len);
	void (*write)(void *arg, uint64_t off, const uint8_t *data, unsigned len);
};

/* A register of 32 bits for accesses of any length: beyond it 0 is read, and nothing written. */
static inline void hv_bus_put32(uint8_t *data, unsigned len, uint32_t v)
{
	memset(data, 0, len);
	memcpy(data, &v, len < sizeof(v) ? len : sizeof(v));
}

static inline uint32_t hv_bus_get32(const uint8_t *data, unsigned len)
{
	uint32_t v = 0;

	memcpy(&v, data, len < sizeof(v) ? len : sizeof(v));
	return v;
}

struct hv_bus_window {
	enum hv_bus_kind kind;
	uint64_t base, len; // bytes; length 0: none
	const struct hv_bus_ops *ops;
	void *arg;
	unsigned users; // calls that run
	bool ending; // it is found no more
};

struct hv_bus {
	pthread_mutex_t lock;
	pthread_cond_t idle; // a window has no users any more
	struct hv_bus_window windows[HV_BUS_WINDOWS]; // here, as a vCPU's thread may not allocate
	unsigned n, top; // how many; all of them are below top
	uint64_t missed; // accesses that no window answered
};

void hv_bus_init(struct hv_bus *bus);
void hv_bus_fini(struct hv_bus *bus);

/*
 * Answer len bytes at base by ops from now on. arg is borrowed until the window is removed.
 * 0, -EINVAL (len is 0 or wraps), -EEXIST (overlaps a window), -ENOSPC.
 */
int hv_bus_add(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base, uint64_t len,
	const struct hv_bus_ops *ops, void *arg);

/*
 * End the window at base; no call of it runs once this has returned. A window that there is not is
 * left at that. Not from one of that window's own calls.
 */
void hv_bus_remove(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t base);

/*
 * One access of a guest. What is not wholly inside of one window reads all ones, or vanishes, and
 * is counted.
 */
void hv_bus_read(
	struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, uint8_t *data, unsigned len);
void hv_bus_write(struct hv_bus *bus, enum hv_bus_kind kind, uint64_t addr, const uint8_t *data,
	unsigned len);
