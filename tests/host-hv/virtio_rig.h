/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio function with its bus, its card and its driver: for test_virtio.c. */
#pragma once

#include "virtio_pci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "irq.h"
#include "layout.h"
#include "test.h"
#include "virtio_card.h"

#define ECAM 0xe0000000ull
#define BAR 0xc0000000ull
#define CFG (ECAM + 0x8000)
#define COMMON BAR
#define ISR (BAR + 0x1000)
#define DEVICE (BAR + 0x2000)
#define PBA (BAR + 0x6000)
#define OFFERED                                                                                 \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_BLK_F_MQ) | BIT(30) | \
		BIT(26) | BIT(33) | BIT(40))
#define PF                                                                                     \
	(BIT(VU_PF_MQ) | BIT(VU_PF_REPLY_ACK) | BIT(VU_PF_CONFIG) | BIT(VU_PF_STATUS) |        \
		BIT(VU_PF_BACKEND_REQ) | BIT(VU_PF_INFLIGHT_SHMFD) | BIT(VU_PF_RESET_DEVICE) | \
		BIT(VU_PF_INBAND_NOTIFICATIONS))

struct rig {
	struct hv_vm vm;
	struct hv_bus bus;
	struct hv_pci pci;
	struct hv_virtio *d;
	struct card card;
	int ready;
	unsigned lost;
};

static void on_ready(void *arg, int err)
{
	assert_int_equal(err, 0);
	((struct rig *)arg)->ready++;
}

static void on_lost(void *arg)
{
	((struct rig *)arg)->lost++;
}

static const struct hv_virtio_events events = { on_ready, on_lost, NULL };

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

/* ---- the card ---- */

/* Until neither side has anything to say. */
static void talk(struct rig *r)
{
	struct pollfd p = { .fd = r->d->vhost.epoll_fd, .events = POLLIN };
	bool more = true;

	while (more) {
		more = poll(&p, 1, 0) == 1;
		hv_vhost_run(&r->d->vhost);
		more |= card_turn(&r->card);
	}
}

static void disconnect(struct card *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->channel >= 0)
		close(c->channel);
	c->fd = c->channel = -1;
	for (unsigned i = 0; i < QUEUES; i++) {
		close(c->kick[i]);
		c->kick[i] = -1;
	}
}

static void connect_card(struct rig *r)
{
	int pair[2];

	disconnect(&r->card);
	memset(r->card.seen, 0, sizeof(r->card.seen));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r->card.fd = pair[1];
	assert_int_equal(hv_vhost_reconnect(&r->d->vhost, pair[0]), 0);
	talk(r);
}

/* Until another card was asked for, n times in all: not at once after one that came to nothing. */
static void await_lost(struct rig *r, unsigned n)
{
	struct pollfd p = { .fd = r->d->vhost.epoll_fd, .events = POLLIN };

	while (r->lost < n) {
		assert_int_equal(poll(&p, 1, 20000), 1);
		talk(r);
	}
	assert_int_equal(r->lost, n);
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->card = (struct card){ .fd = -1,
		.channel = -1,
		.features = OFFERED,
		.pf = PF,
		.queues = QUEUES,
		.kick = { -1, -1, -1 } };
	r->card.config[0] = 0x80;
	assert_int_equal(hv_vm_init(&r->vm, 4 << 20, 4 * HV_MEM_UNIT, false), 0);
	assert_int_equal(hv_irq_init(&r->vm, false), 0);
	hv_bus_init(&r->bus);
	assert_int_equal(hv_pci_init(&r->pci, &r->bus, NULL), 0);
	assert_int_equal(hv_virtio_create(&r->vm, HV_KIND_BLK, &events, r, &r->d), 0);
}

static void rig_plug(struct rig *r)
{
	assert_int_equal(r->ready, 1);
	assert_int_equal(hv_pci_plug(&r->pci, &r->d->func, 1, false), 0);
	wr(r, CFG + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static void rig_fini(struct rig *r)
{
	disconnect(&r->card);
	hv_pci_fini(&r->pci);
	hv_virtio_destroy(r->d);
	hv_bus_fini(&r->bus);
	hv_vm_fini(&r->vm);
}

/* ---- the driver ---- */

static uint8_t status(struct rig *r)
{
	return (uint8_t)rd(r, COMMON + VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(struct rig *r, uint8_t v)
{
	wr(r, COMMON + VIRTIO_PCI_COMMON_STATUS, v, 1);
}

static void set_features(struct rig *r, uint64_t bits)
{
	for (unsigned i = 0; i < 2; i++) {
		wr(r, COMMON + VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		wr(r, COMMON + VIRTIO_PCI_COMMON_GF, (uint32_t)(bits >> 32 * i), 4);
	}
}

static uint64_t offered(struct rig *r)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 3; i++) {
		wr(r, COMMON + VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		if (i < 2)
			bits |= rd(r, COMMON + VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
		else
			assert_int_equal(rd(r, COMMON + VIRTIO_PCI_COMMON_DF, 4), 0);
	}
	return bits;
}

static void set_queue(struct rig *r, unsigned i)
{
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_SELECT, i, 2);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 64, 2);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_MSIX, i + 1, 2);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 0x100000 + i * 0x10000, 8);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_AVAILLO, 0x101000 + i * 0x10000, 4);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 0x102000 + i * 0x10000, 4);
	wr(r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(rd(r, COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void drive(struct rig *r, uint64_t more)
{
	set_status(r, 3);
	set_features(r, BIT(VIRTIO_F_VERSION_1) | more);
	set_status(r, 11);
	assert_int_equal(status(r), 11);
	wr(r, COMMON + VIRTIO_PCI_COMMON_MSIX, 0, 2);
	set_queue(r, 0);
	set_queue(r, 2);
	set_status(r, 15);
	talk(r);
}
