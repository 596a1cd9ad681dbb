/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of the card that one guest has, by slot of its PCI bus: they come, lose their card,
 * get another connection, and go. A function is on the bus once its card has said what it is; who
 * has none yet, or none any more, waits. Main thread, but for what the guest does to the bus.
 */
#pragma once

#include "machine.h"
#include "pci.h"
#include "virtio_pci.h"

struct hv_functions;

struct hv_function {
	struct hv_functions *all; // borrowed: the owner
	unsigned slot;
	struct hv_virtio *d; // owned; NULL: the slot is empty
	bool ready; // its card has said what it is
	bool wanting; // a connection
	bool asked; // the guest was told to let go of it
	bool failed; // it cannot be shown: it goes at the end of this turn
	_Atomic bool ejected; // the guest let go of it; any vCPU's thread
};

struct hv_functions {
	struct hv_vm *vm; // these three borrowed: they outlive it
	struct hv_pci *pci;
	const struct hv_machine_events *ev;
	void *arg;
	int epoll_fd; // borrowed: functions are added with their slot as data
	int wake_fd; // borrowed: written when the guest let go of one
	bool live; // the guest runs, or has run: it is told of what comes and goes
	struct hv_function fn[HV_PROTO_SLOTS];
};

/* As hv_machine_add() and its like say. */
int hv_functions_add(struct hv_functions *all, unsigned slot, enum hv_kind kind, int fd);
int hv_functions_reconnect(struct hv_functions *all, unsigned slot, int fd);
int hv_functions_remove(struct hv_functions *all, unsigned slot);
void hv_functions_masks(const struct hv_functions *all, uint32_t *present, uint32_t *wanting);

/* Do what there is to do for all of them; never waits. */
void hv_functions_turn(struct hv_functions *all);
/* True: one has a connection whose card has not yet said what it is. */
bool hv_functions_pending(const struct hv_functions *all);
/* True unless a card knows less memory than there is, but some: one that is to be told. */
bool hv_functions_know_memory(const struct hv_functions *all);
/* No vCPU runs. */
void hv_functions_fini(struct hv_functions *all);
