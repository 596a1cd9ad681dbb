/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Front-end of vhost-user: the part that a VM monitor plays, for any back-end socket.
 *
 * drv_mem is the guest's memory: shared files that outlive a session, so that a back-end may die
 * and another may go on with the same rings. drv_vu is one session at a time over that memory;
 * every call is synchronous. Whatever the well-behaved calls do, drv_vu_send_raw() can do wrong.
 *
 * Spec: QEMU docs/interop/vhost-user.rst.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drv_ring.h"

#define DRV_QUEUES_MAX 32
#define DRV_FDS_MAX 8
#define DRV_TIMEOUT_MS 5000

enum drv_req {
	DRV_GET_FEATURES = 1,
	DRV_SET_FEATURES,
	DRV_SET_OWNER,
	DRV_RESET_OWNER,
	DRV_SET_MEM_TABLE,
	DRV_SET_LOG_BASE,
	DRV_SET_LOG_FD,
	DRV_SET_VRING_NUM,
	DRV_SET_VRING_ADDR,
	DRV_SET_VRING_BASE,
	DRV_GET_VRING_BASE,
	DRV_SET_VRING_KICK,
	DRV_SET_VRING_CALL,
	DRV_SET_VRING_ERR,
	DRV_GET_PROTOCOL_FEATURES,
	DRV_SET_PROTOCOL_FEATURES,
	DRV_GET_QUEUE_NUM,
	DRV_SET_VRING_ENABLE,
	DRV_SEND_RARP,
	DRV_NET_SET_MTU,
	DRV_SET_BACKEND_REQ_FD,
	DRV_IOTLB_MSG,
	DRV_GET_CONFIG = 24,
	DRV_SET_CONFIG,
	DRV_GET_INFLIGHT_FD = 31,
	DRV_SET_INFLIGHT_FD,
	DRV_RESET_DEVICE = 34,
	DRV_VRING_KICK,
	DRV_GET_MAX_MEM_SLOTS = 36,
	DRV_ADD_MEM_REG,
	DRV_REM_MEM_REG,
	DRV_SET_STATUS,
	DRV_GET_STATUS,
	DRV_REQ_MAX,
};

enum drv_pf {
	DRV_PF_MQ,
	DRV_PF_LOG_SHMFD,
	DRV_PF_RARP,
	DRV_PF_REPLY_ACK,
	DRV_PF_MTU,
	DRV_PF_BACKEND_REQ,
	DRV_PF_CONFIG = 9,
	DRV_PF_INFLIGHT_SHMFD = 12,
	DRV_PF_RESET_DEVICE,
	DRV_PF_INBAND,
	DRV_PF_MEM_SLOTS,
	DRV_PF_STATUS,
};

#define DRV_BIT(n) (1ULL << (n))
#define DRV_F_LOG_ALL DRV_BIT(26)
#define DRV_F_PROTOCOL DRV_BIT(30)
#define DRV_IOMMU_OFF (1ULL << 40) // physical addresses behind an IOMMU (drv_iommu.h)
#define DRV_FLAG_VERSION 1u
#define DRV_FLAG_REPLY 4u
#define DRV_FLAG_NEED_REPLY 8u
#define DRV_VRING_NOFD 0x100u
#define DRV_BACKEND_IOTLB_MSG 1
#define DRV_BACKEND_CONFIG_CHANGE 2
#define DRV_BACKEND_VRING_CALL 4
#define DRV_BACKEND_VRING_ERR 5

struct drv_hdr {
	uint32_t request, flags, size;
};

struct drv_msg {
	struct drv_hdr hdr;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, pad;
			struct drv_wire_region {
				uint64_t gpa, size, uva, off;
			} r[8];
		} mem;
		struct {
			uint64_t pad;
			struct drv_wire_region r;
		} slot;
		struct {
			uint64_t size, off;
		} log;
		struct {
			uint64_t size, off;
			uint16_t n_queues, queue_size;
		} inflight;
		struct {
			uint64_t iova, size, uva;
			uint8_t perm, type, pad[6];
		} iotlb;
		struct {
			uint32_t off, size, flags;
			uint8_t data[256];
		} config;
		uint8_t raw[4096];
	} p;
	int fds[DRV_FDS_MAX]; // received; owned by whoever received
	unsigned n_fds;
};

/* What the session should ask for. */
struct drv_vu_conf {
	const char *path;
	uint64_t want; // virtio features to acknowledge when offered
	uint64_t pf_off; // protocol features to leave alone
	uint32_t config_len; // bytes of configuration space to read, 0: none
	bool mem_slots; // add regions one by one when the back-end can
	bool inflight; // ask for an inflight region when the back-end can
	bool backend_req; // give the back-end a channel for requests of its own
	bool listen; // the back-end connects to us
	bool inband; // kicks and calls as messages, where the back-end can: no eventfds
};

struct drv_vu {
	struct drv_vu_conf conf;
	char path[108];
	int fd; // -1: no session
	struct drv_mem *mem; // borrowed
	uint64_t offered, features, pf_offered, pf;
	uint64_t n_queues; // as the back-end says
	uint8_t config[256];
	struct drv_ring *rings[DRV_QUEUES_MAX]; // borrowed: those that are up
	int backend_fd; // owned: where requests of the back-end arrive; -1: none
	int inflight_fd; // owned; -1: none
	uint64_t inflight_size, inflight_off;
	uint16_t inflight_queues, inflight_queue_size;
};

/* Connect to a listening back-end, trying for timeout_ms. Returns a socket or -errno. */
int drv_connect(const char *path, unsigned timeout_ms);

/*
 * Listen at the path, in the place of whatever stands there, until a back-end has connected.
 * Returns its socket or -errno.
 */
int drv_accept(const char *path, unsigned timeout_ms);

/*
 * Connect (or have the back-end do so) and negotiate: owner, features, protocol features,
 * configuration, memory. Returns 0, or the errno of the step that failed; -EPROTO for an answer
 * that makes no sense.
 */
int drv_vu_open(struct drv_vu *vu, const struct drv_vu_conf *conf, struct drv_mem *mem);

/* Ask for an inflight region for n rings of size entries, if that was negotiated. */
int drv_vu_inflight(struct drv_vu *vu, uint16_t n, uint16_t size);

/* Hand over a ring and enable it. The ring stays the caller's and must outlive the session. */
int drv_vu_ring_start(struct drv_vu *vu, unsigned idx, struct drv_ring *r);
/* The same with a base of the caller's choice: 0 for a split ring that was filled beforehand. */
int drv_vu_ring_start_at(struct drv_vu *vu, unsigned idx, struct drv_ring *r, uint32_t base);
/* GET_VRING_BASE: the base that the back-end answered, or a negative errno. */
int64_t drv_vu_ring_stop(struct drv_vu *vu, unsigned idx);
/* Tell the device that the driver is ready (STATUS, when negotiated). */
int drv_vu_driver_ok(struct drv_vu *vu);

/*
 * The next request of the back-end on its own channel: its number (DRV_BACKEND_CONFIG_CHANGE), or
 * -ETIMEDOUT, -ENOTCONN (no channel), -EPIPE, -EPROTO.
 */
int drv_vu_backend_wait(struct drv_vu *vu, int timeout_ms);
/*
 * The same, and answer it if an answer is asked for: in-band calls and errors. *idx is the ring.
 * -EPROTO too for a call without NEED_REPLY, or with a number that is reserved.
 */
int drv_vu_inband_wait(struct drv_vu *vu, unsigned *idx, int timeout_ms);
/* Was it negotiated? */
bool drv_vu_is_inband(const struct drv_vu *vu);
/* Read configuration space again into vu->config. 0 or as drv_vu_call(). */
int drv_vu_get_config(struct drv_vu *vu);

/* Drop the socket; memory, rings and the inflight region stay for drv_vu_reconnect(). */
void drv_vu_drop(struct drv_vu *vu);

/*
 * Go on with a new back-end process: same memory and rings. Bases are what a monitor knows after a
 * crash: the used index (split), the driver's own cursor (packed); the inflight region says the
 * rest.
 */
int drv_vu_reconnect(struct drv_vu *vu, unsigned timeout_ms);
bool drv_vu_alive(const struct drv_vu *vu);
/* The process that listened for this session, or a negative errno. */
int drv_vu_peer(const struct drv_vu *vu);
void drv_vu_close(struct drv_vu *vu);

/* ---- single messages ---- */

/* Bytes as they are, with any file descriptors. 0 or -errno. */
int drv_vu_send_raw(struct drv_vu *vu, const void *bytes, size_t len, const int *fds, unsigned n);
/* One well-formed message with `size` bytes of payload from m->p. 0 or -errno. */
int drv_vu_send(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	uint32_t more_flags, const int *fds, unsigned n_fds);
/* One message: 0, -ETIMEDOUT, -EPIPE when the back-end closed, -EPROTO. */
int drv_vu_recv(struct drv_vu *vu, struct drv_msg *m, int timeout_ms);
/*
 * Send and wait: for the reply of a GET, or for the acknowledgement when REPLY_ACK is on. Returns
 * 0, -EREMOTEIO when the back-end refused, or the errno of send or receive. m becomes the reply.
 */
int drv_vu_call(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	const int *fds, unsigned n_fds);
int drv_vu_set_u64(struct drv_vu *vu, enum drv_req req, uint64_t v);
int drv_vu_set_state(struct drv_vu *vu, enum drv_req req, uint32_t idx, uint32_t num);
int drv_vu_set_fd(struct drv_vu *vu, enum drv_req req, uint32_t idx, int fd);
int drv_vu_set_mem(struct drv_vu *vu);
void drv_msg_close_fds(struct drv_msg *m);
