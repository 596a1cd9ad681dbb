/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function of the card as a modern virtio function on the guest's PCI bus.
 *
 * Registers are answered here, at once, by the vCPU that asks; what follows from them is the main
 * thread's (vhost_frontend.h). Doorbells are ioeventfds and interrupts eventfds of MSI-X, both the
 * card's, so a driver that runs leaves KVM for nothing of ours. There are no line interrupts.
 *
 * Spec: VIRTIO 1.2, 4.1 (PCI), 2.1 (status), 2.6 (virtqueue reset).
 */
#pragma once

#include "hv_proto.h"
#include "pci.h"
#include "vhost_frontend.h"

struct hv_virtio_events {
	/*
	 * Once, as the card has said what the function is: it can be plugged now. err: a
	 * negative errno instead, and it can only be destroyed. From hv_vhost_run().
	 */
	void (*ready)(void *arg, int err);
	/* The card is gone: a descriptor is wanted. */
	void (*lost)(void *arg);
	/* The guest let go of it. The bus's lock is held. */
	void (*ejected)(void *arg);
};

struct hv_virtio {
	struct hv_pci_func func; // first
	struct hv_vhost vhost;
	struct hv_vm *vm; // borrowed
	const struct hv_virtio_events *ev; // borrowed
	void *arg;
	enum hv_kind kind;
	unsigned window; // of the PCI_CFG capability in config space

	/* Registers; vhost.lock. */
	uint32_t device_select, driver_select;
	uint64_t driver_features;
	uint16_t config_vector, queue_select;
	uint16_t vectors[HV_VHOST_RINGS_MAX];
	uint8_t status, generation, isr;
	uint64_t bad_accesses; // of widths and places that no register has
};

/*
 * A function of vm's, whose first step is hv_vhost_reconnect(&d->vhost, fd). The main thread polls
 * d->vhost.epoll_fd. Plug &d->func once it is ready.
 * 0, -ENOMEM, or what hv_vhost_init() returns.
 */
int hv_virtio_create(struct hv_vm *vm, enum hv_kind kind, const struct hv_virtio_events *ev,
	void *arg, struct hv_virtio **out);
/* Its function is off the bus. NULL is nothing. */
void hv_virtio_destroy(struct hv_virtio *d);
