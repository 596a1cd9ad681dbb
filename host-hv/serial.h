/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's console: a 16550A whose line is always free to send. Input waits in a ring of a fixed
 * size; what does not fit stays with the caller. Any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"

#define HV_SERIAL_PORT 0x3f8
#define HV_SERIAL_IN 4096u // bytes; a power of two

struct hv_serial_ops {
	void (*out)(void *arg, uint8_t byte); // under the port's lock
	void (*line)(void *arg, unsigned gsi, bool level); // HV_GSI_SERIAL; under it, too
	void (*room)(void *arg); // input was refused, and there is room again; under it, too
};

struct hv_serial {
	const struct hv_serial_ops *ops;
	void *arg; // borrowed

	pthread_mutex_t lock; // for all below
	uint8_t ier, lcr, mcr, scr;
	uint8_t latch[2]; // the divisor: behind DATA and IER while LCR says so
	bool fifo, thr_empty; // thr_empty: an interrupt that nobody has read yet
	bool line;
	bool refused;
	uint8_t in[HV_SERIAL_IN];
	uint32_t head, tail; // free-running: [tail, head) waits for the guest
};

/* 0, or the error of a mutex. */
int hv_serial_init(struct hv_serial *s, const struct hv_serial_ops *ops, void *arg);
void hv_serial_fini(struct hv_serial *s);

extern const struct hv_bus_ops hv_serial_bus; // of the window of 8 ports; arg is a hv_serial

/* Bytes for the guest to read. How many were taken; `room` is called when more can be. */
unsigned hv_serial_input(struct hv_serial *s, const uint8_t *bytes, unsigned len);
