/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user messages: numbers and layouts, for both ends. Integers are in machine order on this
 * wire. Spec: QEMU docs/interop/vhost-user.rst.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define VU_FLAG_VERSION_MASK 3u
#define VU_FLAG_VERSION 1u
#define VU_FLAG_REPLY 4u
#define VU_FLAG_NEED_REPLY 8u

#define VU_FDS_MAX 8
#define VU_CONFIG_MAX 256 // bytes of configuration space
#define VU_TABLE_MAX 8 // regions in one SET_MEM_TABLE
#define VU_PAYLOAD_MAX 512 // bytes; the largest request has 268

/* Bits of the device features that belong to the transport. */
#define VU_F_LOG_ALL 26
#define VU_F_PROTOCOL_FEATURES 30

enum vu_protocol_feature {
	VU_PF_MQ = 0,
	VU_PF_LOG_SHMFD = 1,
	VU_PF_RARP = 2,
	VU_PF_REPLY_ACK = 3,
	VU_PF_MTU = 4,
	VU_PF_BACKEND_REQ = 5,
	VU_PF_PAGEFAULT = 8,
	VU_PF_CONFIG = 9,
	VU_PF_BACKEND_SEND_FD = 10,
	VU_PF_HOST_NOTIFIER = 11,
	VU_PF_INFLIGHT_SHMFD = 12,
	VU_PF_RESET_DEVICE = 13,
	VU_PF_INBAND_NOTIFICATIONS = 14,
	VU_PF_CONFIGURE_MEM_SLOTS = 15,
	VU_PF_STATUS = 16,
	VU_PF_DEVICE_STATE = 19,
};

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_IOTLB_MSG = 22,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_POSTCOPY_ADVISE = 28,
	VU_POSTCOPY_LISTEN = 29,
	VU_POSTCOPY_END = 30,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_VRING_KICK = 35,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
	VU_REQUESTS
};

/* Requests that the back-end sends, on the socket of SET_BACKEND_REQ_FD. */
#define VU_BACKEND_IOTLB_MSG 1
#define VU_BACKEND_CONFIG_CHANGE 2
#define VU_BACKEND_VRING_HOST_NOTIFIER 3
#define VU_BACKEND_VRING_CALL 4
#define VU_BACKEND_VRING_ERR 5

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; // of the payload
};

struct vu_vring_state {
	uint32_t index;
	uint32_t num;
};

struct vu_vring_addr {
	uint32_t index;
	uint32_t flags; // bit 0: log writes to the used ring
	uint64_t desc, used, avail;
	uint64_t log;
};

struct vu_region {
	uint64_t gpa, size, uva, mmap_off;
};

struct vu_table {
	uint32_t n;
	uint32_t padding;
	struct vu_region region[VU_TABLE_MAX];
};

struct vu_single_region {
	uint64_t padding;
	struct vu_region region;
};

struct vu_log {
	uint64_t size, off;
};

struct vu_config {
	uint32_t off, size;
	uint32_t flags; // 1: live migration, else fields that the driver may write
	uint8_t bytes[VU_CONFIG_MAX];
};

struct vu_inflight {
	uint64_t mmap_size, mmap_off;
	uint16_t n_queues, queue_size;
	uint8_t padding[4]; // some front-ends count it, some do not
};

struct vu_iotlb {
	uint64_t iova, size, uva;
	uint8_t perm; // 1: the device may read, 2: write
	uint8_t type;
	uint8_t padding[6]; // as vu_inflight's
};

struct vu_vring_area {
	uint64_t u64; // as of KICK, CALL and ERR
	uint64_t size, off; // what to map of the fd
};

/* Types: the back-end sends the first, front-ends the others. */
#define VU_IOTLB_MISS 1
#define VU_IOTLB_UPDATE 2
#define VU_IOTLB_INVALIDATE 3

struct vu_transfer {
	uint32_t direction; // of the state: 0 the back-end saves, 1 it loads
	uint32_t phase; // 0: all rings are stopped; there is no other
};

/* The answer to SET_DEVICE_STATE_FD: bits 0-7 an error, bit 8: no fd comes. */
#define VU_STATE_ERROR 1u
#define VU_STATE_NOFD 0x100u

/* Bits 0-7 of the u64 that the KICK, CALL and ERR messages carry: the ring; bit 8: no fd comes. */
#define VU_VRING_IDX_MASK 0xffu
#define VU_VRING_NOFD 0x100u

static_assert(sizeof(struct vu_header) == 12, "header");
static_assert(sizeof(struct vu_vring_addr) == 40, "vring address");
static_assert(sizeof(struct vu_table) == 8 + 8 * 32, "memory table");
static_assert(sizeof(struct vu_single_region) == 40, "single region");
static_assert(sizeof(struct vu_config) == 12 + 256, "configuration space");
static_assert(sizeof(struct vu_inflight) == 24, "inflight description");
static_assert(sizeof(struct vu_iotlb) == 32, "IOTLB message");
static_assert(sizeof(struct vu_vring_area) == 24, "vring area");
static_assert(sizeof(struct vu_transfer) == 8, "device state transfer parameters");
