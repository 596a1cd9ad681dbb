/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a virtio function that its type (net, blk) and its transport share: features, status,
 * configuration space, queues, and what happens to them as a front-end comes and goes.
 *
 * A transport calls vho_dev_*; those validate, then call the type through struct vho_dev_type.
 * Control thread only, but for vho_queue members (queue.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"
#include "vho_device.h"

#define VHO_DEV_QUEUES_MAX 257 // 128 net pairs and a control queue, or 256 blk queues

/* What makes a function a NIC or a disk. All members but config_read may be NULL. */
struct vho_dev_type {
	enum vho_dev_kind kind;
	/* Fill buf with configuration space [off, off + len), zeros past its end. */
	void (*config_read)(struct vho_dev *dev, uint32_t off, void *buf, uint32_t len);
	/* 0, or -EINVAL when nothing there is writable. */
	int (*config_write)(struct vho_dev *dev, uint32_t off, const void *buf, uint32_t len);
	/* The driver settled on dev->features. */
	void (*features_set)(struct vho_dev *dev);
	/* Queue idx was set up / is about to be torn down (no worker polls it). */
	int (*queue_setup)(struct vho_dev *dev, unsigned idx);
	void (*queue_teardown)(struct vho_dev *dev, unsigned idx);
	/* Kick fd of a queue that the control thread serves itself (net's control queue). */
	bool (*queue_is_control)(struct vho_dev *dev, unsigned idx);
	void (*control_poll)(struct vho_dev *dev);
	int (*set_mtu)(struct vho_dev *dev, uint16_t mtu); // VHOST_USER_NET_SET_MTU
	int (*send_rarp)(struct vho_dev *dev, const uint8_t mac[6]); // VHOST_USER_SEND_RARP
	void (*reset)(struct vho_dev *dev); // back to the state after creation
};

/* One queue as the transport knows it, and the engine's part of it. */
struct vho_dev_queue {
	struct vho_queue q;

	/* From the transport; control thread. */
	uint32_t size; // 0: not given
	uint32_t base;
	uint64_t desc_uva, driver_uva, device_uva; // as SET_VRING_ADDR carries them
	uint64_t log_gpa; // used ring's address for the dirty log
	bool log_used; // VHOST_VRING_F_LOG
	bool has_addr, has_kick, enabled;
	int kick_fd, call_fd, err_fd; // owned; -1: none
	bool started; // set up and given to the host (or watched here, for a control queue)
	void *kick_watch; // control queue only
};

struct vho_dev {
	/* Fixed after creation. */
	const struct vho_dev_type *type;
	void *owner; // struct vho_net * or struct vho_blk *
	char name[64];
	const struct vho_host *host; // borrowed
	unsigned n_queues;
	uint64_t features_offered; // device and transport-independent ring bits
	uint64_t protocol_off; // protocol features that the type does not want
	struct vho_dev_queue *queues; // owned; n_queues entries

	/* Session state. */
	bool connected;
	uint64_t features; // acked
	uint64_t protocol_features; // acked
	uint8_t status; // VIRTIO device status, when the front-end sends it
	struct vho_mem *mem; // one reference; NULL until SET_MEM_TABLE
	struct vho_inflight *inflight; // owned or NULL
	struct vho_dirty_log log; // mapped by the transport
};

/*
 * Fill a caller's zeroed `dev`: allocate n_queues queues, add the ring features that the engine has
 * (VERSION_1, RING_PACKED, EVENT_IDX, INDIRECT_DESC, IN_ORDER, ANY_LAYOUT bits) to `features` but
 * not those in `off`. Returns 0, -EINVAL or -ENOMEM.
 */
int vho_dev_init(struct vho_dev *dev, const struct vho_dev_type *type, void *owner,
	const char *name, unsigned n_queues, uint64_t features, uint64_t off,
	const struct vho_host *host);
void vho_dev_fini(struct vho_dev *dev);

/* Front-end came; front-end left (stops queues, drops memory, fds, inflight, features). */
void vho_dev_attach(struct vho_dev *dev);
void vho_dev_detach(struct vho_dev *dev);

/* 0, or -EINVAL when bits were not offered. Stops nothing: features come before queues. */
int vho_dev_set_features(struct vho_dev *dev, uint64_t features);

/* Replace the memory map (takes the caller's reference). Running queues stop and start again. */
void vho_dev_set_mem(struct vho_dev *dev, struct vho_mem *mem);

/* Start queue idx if everything it needs is there; 0 also when something is still missing. */
int vho_dev_queue_try_start(struct vho_dev *dev, unsigned idx);
/* Stop it; its base can be read afterwards. No-op when it is not started. */
void vho_dev_queue_stop(struct vho_dev *dev, unsigned idx);
void vho_dev_stop_all(struct vho_dev *dev);
/* Start every queue that can be. */
void vho_dev_start_all(struct vho_dev *dev);

/* Virtio reset (RESET_DEVICE, status 0): queues stopped, features and config as after creation. */
void vho_dev_reset(struct vho_dev *dev);
