/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other projects' front-ends send, message by message, in their order.
 *
 * Taken from their sources, which each table names. Numbers that depend on the guest (addresses,
 * features that its driver acked) are filled in by the test.
 */
#pragma once

#include <stdbool.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "vu_msg.h"

/* Things that happen between messages. */
enum { THEN_UP = 1000, THEN_DOWN, THEN_PAUSED, THEN_LOST, THEN_END };

#define NR 1u // NEED_REPLY is set
#define LOG 2u // with VHOST_F_LOG_ALL, or with VHOST_VRING_F_LOG

struct fe_step {
	uint16_t request; // or THEN_..: what the device must be like now; LOST: the front-end dies
	uint16_t flags;
	/*
	 * SET_*_FEATURES: the bits that the front-end knows. Ring messages: ring, and number.
	 * *_CONFIG: offset, length, flags. MEM_TABLE: regions, and room for so many. ADD,
	 * REM_MEM_REG: which region.
	 * INFLIGHT_FD: rings, size. SET_LOG_BASE: size. SET_DEVICE_STATE_FD: direction.
	 */
	uint64_t a;
	uint32_t b, c;
};

struct front_end {
	const char *name, *source;
	bool net;
	uint16_t n; // queue pairs of a NIC, queues of a disk
	const struct fe_step *steps;
};

#define PF(x) (1ull << VU_PF_##x)
#define RING_BITS (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define PROTOCOL (1ull << VU_F_PROTOCOL_FEATURES)
#define BLK_BITS                                                                               \
	(RING_BITS | PROTOCOL | 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX | \
		1ull << VIRTIO_BLK_F_GEOMETRY | 1ull << VIRTIO_BLK_F_RO |                      \
		1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |                   \
		1ull << VIRTIO_BLK_F_TOPOLOGY | 1ull << VIRTIO_BLK_F_CONFIG_WCE |              \
		1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES |             \
		1ull << VIRTIO_BLK_F_MQ)
#define NET_BITS                                                                              \
	(RING_BITS | PROTOCOL | 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM | \
		1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6 |           \
		1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |             \
		1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_NET_F_MTU)

/*
 * Cloud Hypervisor: virtio-devices/src/vhost_user/{blk,net,vu_common_ctrl}.rs at a423bf13; its
 * `vhost` crate sets NEED_REPLY on everything once REPLY_ACK is there, on GET requests too.
 */
#define CH_PF                                                                                 \
	(PF(CONFIG) | PF(MQ) | PF(CONFIGURE_MEM_SLOTS) | PF(REPLY_ACK) | PF(INFLIGHT_SHMFD) | \
		PF(LOG_SHMFD))
#define CH_RING(i, base)                                                           \
	{ VU_SET_VRING_ADDR, NR, i, 0, 0 }, { VU_SET_VRING_BASE, NR, i, base, 0 }, \
		{ VU_SET_VRING_CALL, NR, i, 0, 0 },                                \
	{                                                                          \
		VU_SET_VRING_KICK, NR, i, 0, 0                                     \
	}

static const struct fe_step cloud_hypervisor_blk[] = {
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, 0, CH_PF, 0, 0 },
	{ VU_GET_QUEUE_NUM, NR, 0, 0, 0 },
	{ VU_GET_CONFIG, NR, 0, 60, 1 },
	// activate: setup_vhost_user()
	{ VU_SET_FEATURES, NR, BLK_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, NR, 2, 0, 0 },
	{ VU_SET_VRING_NUM, NR, 0, 128, 0 },
	{ VU_SET_VRING_NUM, NR, 1, 128, 0 },
	{ VU_GET_INFLIGHT_FD, NR, 2, 128, 0 },
	{ VU_SET_INFLIGHT_FD, NR, 2, 128, 0 },
	CH_RING(0, 0),
	CH_RING(1, 0),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	{ VU_SET_CONFIG, NR, 32, 1, 1 }, // the driver writes `writeback`
	{ VU_ADD_MEM_REG, NR, 2, 0, 0 }, // hot-plugged memory
	{ THEN_UP, 0, 2, 0, 0 },
	// start_dirty_log(), dirty_log() twice, pause, stop_dirty_log(), resume
	{ VU_SET_LOG_BASE, NR, 0, 0, 0 },
	{ VU_SET_FEATURES, NR | LOG, BLK_BITS, 0, 0 },
	{ VU_SET_VRING_ADDR, NR | LOG, 0, 0, 0 },
	{ VU_SET_VRING_ADDR, NR | LOG, 1, 0, 0 },
	{ VU_SET_LOG_BASE, NR, 0, 0, 0 },
	{ VU_SET_LOG_BASE, NR, 0, 0, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 0, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 0, 0 },
	{ THEN_PAUSED, 0, 2, 0, 0 },
	{ VU_SET_LOG_BASE, NR, 0, 0, 0 },
	{ VU_SET_VRING_ADDR, NR, 0, 0, 0 },
	{ VU_SET_VRING_ADDR, NR, 1, 0, 0 },
	{ VU_SET_FEATURES, NR, BLK_BITS, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	// reset_vhost_user(), then another driver
	{ VU_SET_VRING_ENABLE, NR, 0, 0, 0 },
	{ VU_GET_VRING_BASE, NR, 0, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 0, 0 },
	{ VU_GET_VRING_BASE, NR, 1, 0, 0 },
	{ THEN_DOWN, 0, 2, 0, 0 },
	{ VU_SET_FEATURES, NR, BLK_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, NR, 3, 0, 0 },
	{ VU_SET_VRING_NUM, NR, 0, 64, 0 },
	{ VU_SET_INFLIGHT_FD, NR, 2, 128, 0 },
	CH_RING(0, 0),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ THEN_UP, 0, 1, 0, 0 },
	// the back-end was gone: reinitialize_vhost_user(), with the inflight region that it kept
	{ THEN_LOST, 0, 0, 0, 0 },
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, 0, CH_PF, 0, 0 },
	{ VU_SET_FEATURES, NR, BLK_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, NR, 3, 0, 0 },
	{ VU_SET_VRING_NUM, NR, 0, 64, 0 },
	{ VU_SET_INFLIGHT_FD, NR, 2, 128, 0 },
	CH_RING(0, 7),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ THEN_UP, 0, 1, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

/* A NIC: the control queue stays with Cloud Hypervisor. */
static const struct fe_step cloud_hypervisor_net[] = {
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, 0, CH_PF & ~PF(CONFIG), 0, 0 },
	{ VU_GET_QUEUE_NUM, NR, 0, 0, 0 },
	{ VU_SET_FEATURES, NR, NET_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, NR, 1, 0, 0 },
	{ VU_SET_VRING_NUM, NR, 0, 256, 0 },
	{ VU_SET_VRING_NUM, NR, 1, 256, 0 },
	{ VU_GET_INFLIGHT_FD, NR, 2, 256, 0 },
	{ VU_SET_INFLIGHT_FD, NR, 2, 256, 0 },
	CH_RING(0, 0),
	CH_RING(1, 0),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 0, 0, 0 },
	{ VU_GET_VRING_BASE, NR, 0, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 0, 0 },
	{ VU_GET_VRING_BASE, NR, 1, 0, 0 },
	{ THEN_DOWN, 0, 2, 0, 0 },
	{ THEN_LOST, 0, 0, 0, 0 },
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, 0, CH_PF & ~PF(CONFIG), 0, 0 },
	{ VU_SET_FEATURES, NR, NET_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, NR, 1, 0, 0 },
	{ VU_SET_VRING_NUM, NR, 0, 256, 0 },
	{ VU_SET_VRING_NUM, NR, 1, 256, 0 },
	{ VU_SET_INFLIGHT_FD, NR, 2, 256, 0 },
	CH_RING(0, 3),
	CH_RING(1, 9),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

/*
 * crosvm: devices/src/virtio/vhost_user_frontend/mod.rs at 10297b9a. It negotiates REPLY_ACK and
 * never sets NEED_REPLY; snapshots go through the fd that comes with the answer. 22: SHMEM_MAP.
 */
#define CROSVM_PF \
	(PF(CONFIG) | PF(MQ) | PF(BACKEND_REQ) | PF(DEVICE_STATE) | 1ull << 22 | PF(REPLY_ACK))
#define CROSVM_RING(i, n, base)                                                          \
	{ VU_SET_VRING_NUM, 0, i, n, 0 }, { VU_SET_VRING_ADDR, 0, i, 0, 0 },             \
		{ VU_SET_VRING_BASE, 0, i, base, 0 }, { VU_SET_VRING_CALL, 0, i, 0, 0 }, \
		{ VU_SET_VRING_KICK, 0, i, 0, 0 },                                       \
	{                                                                                \
		VU_SET_VRING_ENABLE, 0, i, 1, 0                                          \
	}
#define CROSVM_STOP(i)                        \
	{ VU_SET_VRING_ENABLE, 0, i, 0, 0 },  \
	{                                     \
		VU_GET_VRING_BASE, 0, i, 0, 0 \
	}
#define CROSVM_NEW                                                     \
	{ VU_SET_OWNER, 0, 0, 0, 0 }, { VU_GET_FEATURES, 0, 0, 0, 0 }, \
		{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },              \
		{ VU_SET_PROTOCOL_FEATURES, 0, CROSVM_PF, 0, 0 },      \
		{ VU_SET_BACKEND_REQ_FD, 0, 0, 0, 0 },                 \
	{                                                              \
		VU_GET_QUEUE_NUM, 0, 0, 0, 0                           \
	}

static const struct fe_step crosvm_blk[] = {
	CROSVM_NEW,
	{ VU_GET_CONFIG, 0, 0, 8, 1 }, // as the driver reads, before it has acked features
	{ VU_GET_CONFIG, 0, 34, 2, 1 },
	{ VU_SET_FEATURES, 0, BLK_BITS, 0, 0 },
	{ VU_SET_FEATURES, 0, BLK_BITS, 0, 0 }, // one for each half of the feature word
	{ VU_SET_MEM_TABLE, 0, 2, 0, 0 },
	CROSVM_RING(0, 256, 0),
	CROSVM_RING(1, 256, 0),
	{ THEN_UP, 0, 2, 0, 0 },
	{ VU_SET_CONFIG, 0, 32, 1, 0 },
	// virtio_sleep(), virtio_snapshot(), virtio_wake()
	CROSVM_STOP(0),
	CROSVM_STOP(1),
	{ THEN_DOWN, 0, 2, 0, 0 },
	{ VU_SET_DEVICE_STATE_FD, 0, 0, 0, 0 },
	{ VU_CHECK_DEVICE_STATE, 0, 0, 0, 0 },
	{ VU_SET_MEM_TABLE, 0, 2, 0, 0 },
	CROSVM_RING(0, 256, 5),
	CROSVM_RING(1, 256, 5),
	{ THEN_UP, 0, 2, 0, 0 },
	// reset()
	CROSVM_STOP(0),
	CROSVM_STOP(1),
	{ THEN_DOWN, 0, 2, 0, 0 },
	// virtio_restore() in a new process
	{ THEN_LOST, 0, 0, 0, 0 },
	CROSVM_NEW,
	{ VU_SET_FEATURES, 0, PROTOCOL, 0, 0 },
	{ VU_SET_DEVICE_STATE_FD, 0, 1, 0, 0 },
	{ VU_CHECK_DEVICE_STATE, 0, 0, 0, 0 },
	{ VU_SET_FEATURES, 0, BLK_BITS, 0, 0 },
	{ VU_SET_MEM_TABLE, 0, 2, 0, 0 },
	CROSVM_RING(0, 256, 5),
	{ THEN_UP, 0, 1, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

static const struct fe_step crosvm_net[] = {
	CROSVM_NEW,
	{ VU_GET_CONFIG, 0, 0, 6, 1 },
	{ VU_GET_CONFIG, 0, 8, 2, 1 },
	{ VU_SET_FEATURES, 0, NET_BITS | 1ull << VIRTIO_NET_F_CTRL_VQ, 0, 0 },
	{ VU_SET_MEM_TABLE, 0, 1, 0, 0 },
	CROSVM_RING(0, 1024, 0),
	CROSVM_RING(1, 1024, 0),
	CROSVM_RING(2, 64, 0),
	{ THEN_UP, 0, 2, 0, 0 },
	CROSVM_STOP(0),
	CROSVM_STOP(1),
	CROSVM_STOP(2),
	{ THEN_DOWN, 0, 2, 0, 0 },
	{ VU_SET_DEVICE_STATE_FD, 0, 0, 0, 0 },
	{ VU_CHECK_DEVICE_STATE, 0, 0, 0, 0 },
	{ THEN_LOST, 0, 0, 0, 0 },
	CROSVM_NEW,
	{ VU_SET_FEATURES, 0, PROTOCOL, 0, 0 },
	{ VU_SET_DEVICE_STATE_FD, 0, 1, 0, 0 },
	{ VU_CHECK_DEVICE_STATE, 0, 0, 0, 0 },
	{ VU_SET_FEATURES, 0, NET_BITS | 1ull << VIRTIO_NET_F_CTRL_VQ, 0, 0 },
	{ VU_SET_MEM_TABLE, 0, 1, 0, 0 },
	CROSVM_RING(0, 1024, 3),
	CROSVM_RING(1, 1024, 4),
	CROSVM_RING(2, 64, 5),
	{ THEN_UP, 0, 2, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

/*
 * Firecracker: src/vmm/src/devices/virtio/{vhost_user.rs,block/vhost_user/device.rs} at 001fd1bb.
 * One queue of 256, CONFIG and nothing else, so that it gets no acknowledgement.
 */
#define FIRECRACKER_UP(base)                                                                       \
	{ VU_SET_OWNER, 0, 0, 0, 0 }, { VU_GET_FEATURES, 0, 0, 0, 0 },                             \
		{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },                                          \
		{ VU_SET_PROTOCOL_FEATURES, 0, PF(CONFIG), 0, 0 }, { VU_GET_CONFIG, 0, 0, 60, 1 }, \
		{ VU_SET_FEATURES, 0, RING_BITS | PROTOCOL | 1ull << VIRTIO_BLK_F_FLUSH, 0, 0 },   \
		{ VU_SET_MEM_TABLE, 0, 1, 0, 0 }, { VU_SET_VRING_NUM, 0, 0, 256, 0 },              \
		{ VU_SET_VRING_ADDR, 0, 0, 0, 0 }, { VU_SET_VRING_BASE, 0, 0, base, 0 },           \
		{ VU_SET_VRING_CALL, 0, 0, 0, 0 }, { VU_SET_VRING_KICK, 0, 0, 0, 0 },              \
	{                                                                                          \
		VU_SET_VRING_ENABLE, 0, 0, 1, 0                                                    \
	}

static const struct fe_step firecracker_blk[] = {
	FIRECRACKER_UP(0),
	{ THEN_UP, 0, 1, 0, 0 },
	{ VU_GET_CONFIG, 0, 0, 60, 1 }, // config_update(): PATCH of the drive
	{ THEN_UP, 0, 1, 0, 0 },
	{ THEN_LOST, 0, 0, 0, 0 },
	FIRECRACKER_UP(0),
	{ THEN_UP, 0, 1, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

/*
 * User Mode Linux: arch/um/drivers/virtio_uml.c of Linux 6.x, which takes in-band notifications
 * where they are offered: no descriptor for any ring. It acks REPLY_ACK and asks for an answer in
 * the same message, and sends room for two regions of memory when it has one.
 */
#define UML_PF (PF(MQ) | PF(REPLY_ACK) | PF(BACKEND_REQ) | PF(CONFIG) | PF(INBAND_NOTIFICATIONS))
#define UML_RING(i)                                                              \
	{ VU_SET_VRING_NUM, NR, i, 256, 0 }, { VU_SET_VRING_BASE, NR, i, 0, 0 }, \
	{                                                                        \
		VU_SET_VRING_ADDR, NR, i, 0, 0                                   \
	}

static const struct fe_step uml_blk[] = {
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, NR, UML_PF, 0, 0 },
	{ VU_SET_BACKEND_REQ_FD, NR, 0, 0, 0 },
	{ VU_SET_FEATURES, NR, BLK_BITS, 0, 0 },
	{ VU_GET_CONFIG, 0, 0, 16, 0 }, // from 0 up to the field that the driver wants
	{ VU_GET_CONFIG, 0, 0, 36, 0 },
	{ VU_SET_MEM_TABLE, NR, 1, 2, 0 },
	UML_RING(0),
	UML_RING(1),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ THEN_PAUSED, 0, 2, 0, 0 }, // enabled, and not started
	{ VU_VRING_KICK, NR, 0, 0, 0 },
	{ THEN_UP, 0, 1, 0, 0 },
	{ VU_VRING_KICK, NR, 1, 0, 0 },
	{ VU_VRING_KICK, NR, 0, 0, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	// the driver goes: vu_del_vqs()
	{ VU_SET_VRING_ENABLE, NR, 1, 0, 0 },
	{ VU_SET_VRING_ENABLE, NR, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ THEN_PAUSED, 0, 2, 0, 0 },
	{ THEN_LOST, 0, 0, 0, 0 },
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

static const struct fe_step uml_net[] = {
	{ VU_SET_OWNER, 0, 0, 0, 0 },
	{ VU_GET_FEATURES, 0, 0, 0, 0 },
	{ VU_GET_PROTOCOL_FEATURES, 0, 0, 0, 0 },
	{ VU_SET_PROTOCOL_FEATURES, NR, UML_PF, 0, 0 },
	{ VU_SET_BACKEND_REQ_FD, NR, 0, 0, 0 },
	{ VU_SET_FEATURES, NR, NET_BITS, 0, 0 },
	{ VU_GET_CONFIG, 0, 0, 6, 0 },
	{ VU_SET_MEM_TABLE, NR, 2, 2, 0 }, // with high memory
	UML_RING(0),
	UML_RING(1),
	{ VU_SET_VRING_ENABLE, NR, 0, 1, 0 },
	{ VU_SET_VRING_ENABLE, NR, 1, 1, 0 },
	{ VU_VRING_KICK, NR, 0, 0, 0 }, // receive buffers
	{ THEN_UP, 0, 1, 0, 0 },
	{ VU_VRING_KICK, NR, 1, 0, 0 },
	{ THEN_UP, 0, 2, 0, 0 },
	{ THEN_END, 0, 0, 0, 0 },
};

static const struct front_end front_ends[] = {
	{ "Cloud Hypervisor, disk", "virtio-devices/src/vhost_user/blk.rs", false, 2,
		cloud_hypervisor_blk },
	{ "Cloud Hypervisor, NIC", "virtio-devices/src/vhost_user/net.rs", true, 1,
		cloud_hypervisor_net },
	{ "crosvm, disk", "devices/src/virtio/vhost_user_frontend/mod.rs", false, 2, crosvm_blk },
	{ "crosvm, NIC", "devices/src/virtio/vhost_user_frontend/mod.rs", true, 1, crosvm_net },
	{ "Firecracker, disk", "src/vmm/src/devices/virtio/block/vhost_user/device.rs", false, 1,
		firecracker_blk },
	{ "User Mode Linux, disk", "arch/um/drivers/virtio_uml.c", false, 2, uml_blk },
	{ "User Mode Linux, NIC", "arch/um/drivers/virtio_uml.c", true, 1, uml_net },
};
