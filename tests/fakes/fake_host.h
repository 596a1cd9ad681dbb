/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card for one virtio function under test: an event loop that runs when told to, time that moves
 * by hand, and queues that are given to nobody.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

#define FAKE_WATCHES 64
#define FAKE_TIMERS 32

struct fake_watch {
	int fd;
	void (*cb)(void *arg); // NULL: free
	void *arg;
};

struct fake_timer {
	uint64_t at_ms;
	void (*cb)(void *arg); // NULL: free
	void *arg;
};

struct fake_host {
	struct vho_loop loop;
	struct vho_host host;
	struct fake_watch watch[FAKE_WATCHES];
	struct fake_timer timer[FAKE_TIMERS];
	uint64_t now_ms;
	bool running[VHO_DEV_QUEUES_MAX];
	bool no_watch; // the next watch() fails
	int start_ret; // what queue_start answers
	unsigned starts, stops, changes, syncs;
};

void fake_host_init(struct fake_host *h);
/* Call back for every readable fd until none is, at most `rounds` times. */
void fake_host_run(struct fake_host *h);
/* Let ms pass: timers that fall due fire in order, fds are looked at after each. */
void fake_host_advance(struct fake_host *h, unsigned ms);
/* Watches and timers in use. */
unsigned fake_host_armed(const struct fake_host *h);

/* A function that is neither NIC nor disk, with everything a transport can ask for. */
struct fake_dev {
	struct vho_dev dev;
	uint8_t config[64];
	unsigned setups, teardowns, resets, control_polls;
	uint16_t mtu;
	uint8_t rarp[6];
	int control_idx; // queue that the control thread serves; -1: none
};

/* kind: NET has set_mtu and send_rarp, BLK has not. 0 or the errno of vho_dev_init(). */
int fake_dev_init(
	struct fake_dev *d, struct fake_host *h, enum vho_dev_kind kind, unsigned n_queues);
void fake_dev_fini(struct fake_dev *d);

/* Entries of /proc/self/fd, once nothing of front-ends waits to be closed any more. */
unsigned fake_open_fds(void);
