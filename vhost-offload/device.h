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

#define VHO_DEV_QUEUES_MAX 256 // what the 8 bits of SET_VRING_KICK and its kin can name
#define VHO_STATE_PARTS 16 // tags of the parts of a device's state (state.h) are below this

struct dpu_cur;
struct vho_postcopy;
struct vho_state_out;

/* How long a part of a device's state may be, bytes. max 0: there is no such part. */
struct vho_state_part {
	uint32_t min, max;
	bool hand_over; // only of one that is handed over, not of one that migrates
};

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
	/* Its worker is about to let queue idx go: give back what was only kept for a turn. */
	void (*queue_let_go)(struct vho_dev *dev, unsigned idx);
	/* Kick fd of a queue that the control thread serves itself (net's control queue). */
	bool (*queue_is_control)(struct vho_dev *dev, unsigned idx);
	/* Optional: false keeps a queue down that could run otherwise. */
	bool (*queue_wanted)(struct vho_dev *dev, unsigned idx);
	void (*control_poll)(struct vho_dev *dev);
	int (*set_mtu)(struct vho_dev *dev, uint16_t mtu); // VHOST_USER_NET_SET_MTU
	int (*send_rarp)(struct vho_dev *dev, const uint8_t mac[6]); // VHOST_USER_SEND_RARP
	/*
	 * Virtio reset, or the front-end left (dev->connected is false then): back to the state
	 * after creation, but for what a front-end keeps in mind over a reset.
	 */
	void (*reset)(struct vho_dev *dev);
	/*
	 * What the front-end does not know and a migration must carry. state_load gets a cursor
	 * for each tag, with `at` NULL for parts that are not there, and as many bytes as
	 * state_parts allows. It checks all of them, then changes the device: 0, or -EINVAL and
	 * nothing changed.
	 */
	void (*state_save)(const struct vho_dev *dev, struct vho_state_out *out);
	int (*state_load)(struct vho_dev *dev, struct dpu_cur *parts);
	const struct vho_state_part *state_parts; // VHO_STATE_PARTS entries; with state_load
	/*
	 * The front-end is about to reset the device by writing 0 to its status, which some also
	 * do when they stop a device that goes on later (QEMU, for one): what state_save would
	 * write is kept over the reset, for rings that turn out to have a past.
	 */
	void (*state_keep)(struct vho_dev *dev);
};

/* One queue as the transport knows it, and the engine's part of it. */
struct vho_dev_queue {
	_Alignas(64) struct vho_queue q; // no line shared with the next queue's worker

	/* From the transport; control thread. */
	uint32_t size; // 0: not given
	uint32_t base;
	uint32_t parted_base; // where it stood before status 0; what GET_VRING_BASE asks for
	bool parted; // parted_base counts: nothing has set a base since
	bool parted_inflight; // status 0 left its part of the inflight region as it was
	uint64_t desc_uva, driver_uva, device_uva; // as SET_VRING_ADDR carries them
	uint64_t log_gpa; // used ring's address for the dirty log
	bool log_used; // VHOST_VRING_F_LOG
	bool has_addr, has_kick;
	bool enabled; // fixed while started: a transmitq that is started but disabled discards
	bool retired; // stopped by GET_VRING_BASE, which told retired_base
	uint32_t retired_base;
	bool halted; // broke the rules: stays down until it gets a new kick fd
	uint64_t errors_before; // sum of q.stats.errors when it was started
	int kick_fd, call_fd, err_fd; // owned; -1: none
	/*
	 * Kicks may come that signal nothing: the worker of this queue does not sleep. Set by the
	 * control thread with release, read by the worker with acquire.
	 */
	_Atomic bool polled;
	bool started; // set up and given to the host (or watched here, for a control queue)
	void *kick_watch; // control queue only: watch of kick_fd
	void *poll_timer; // control queue without a kick fd only
	struct vho_dev *dev; // borrowed: the device that owns this queue
};

struct vho_dev {
	/* Fixed after creation. */
	const struct vho_dev_type *type;
	void *owner; // struct vho_net * or struct vho_blk *
	char name[64];
	const struct vho_host *host; // borrowed
	unsigned n_queues;
	uint64_t features_offered; // device and transport-independent ring bits
	bool notifiers; // vho_dev_offer_notifiers()
	struct vho_dev_queue *queues; // owned; n_queues entries

	/* Session state. */
	bool connected;
	bool features_set;
	uint64_t features; // acked, without the transport's own bits
	uint64_t protocol_features; // acked
	uint8_t status; // VIRTIO device status, when the front-end sends it
	struct vho_mem *mem; // one reference; NULL until SET_MEM_TABLE
	struct vho_inflight *inflight; // owned or NULL
	struct vho_dirty_log log; // mapped by the transport
	void *log_map; // owned: what munmap() takes for it
	size_t log_map_len;
	int log_fd; // owned: its file, while there is a log_map
	uint64_t log_off; // where log.base lies in it
	_Atomic bool log_faulted; // the front-end cut the log short under us
	bool log_on; // VHOST_F_LOG_ALL: queues get the log
	struct vho_postcopy *postcopy; // owned; NULL: memory is all there
	struct vho_iotlb *iotlb; // owned; NULL without ACCESS_PLATFORM (iommu.h)
	struct vho_iommu_stats iommu_stats; // over all sessions
	void *iommu_watch, *iommu_timer;
	/* From the transport: ask the front-end where iova lies. May be NULL, and may be lost. */
	void (*iommu_ask)(void *arg, uint64_t iova, uint8_t perm);
	void *iommu_arg;
};

/*
 * Fill a caller's zeroed `dev`: allocate n_queues queues, add the ring features that the engine has
 * (VERSION_1, RING_PACKED, EVENT_IDX, INDIRECT_DESC, IN_ORDER, ANY_LAYOUT, RING_RESET,
 * NOTIFICATION_DATA, ACCESS_PLATFORM bits) to `features` but
 * not those in `off`. Returns 0, -EINVAL or -ENOMEM.
 */
int vho_dev_init(struct vho_dev *dev, const struct vho_dev_type *type, void *owner,
	const char *name, unsigned n_queues, uint64_t features, uint64_t off,
	const struct vho_host *host);
void vho_dev_fini(struct vho_dev *dev);

/* Front-end came; front-end left (stops queues, drops memory, fds, inflight, features). */
void vho_dev_attach(struct vho_dev *dev);
void vho_dev_detach(struct vho_dev *dev);

/*
 * 0, or -EINVAL when bits were not offered, or the errors of vho_iommu_settle(). Stops nothing:
 * features come before queues.
 */
int vho_dev_set_features(struct vho_dev *dev, uint64_t features);

/*
 * Replace the memory map (takes the caller's reference). Running queues stop and start again, also
 * for one region more: their workers hold pointers into the old map's entries between turns.
 */
void vho_dev_set_mem(struct vho_dev *dev, struct vho_mem *mem);

/*
 * Map the dirty log, `size` bytes at `off` of fd, and let it take the old one's place; fd stays the
 * caller's. Running queues stop and start again, as they do for a change of log_on.
 *
 * Returns 0, or -EINVAL: size 0 or above the limit, sum wraps, fd is no file of that length, or the
 * log is too short for the memory; or the errno of fcntl(2), mmap(2); -ENOMEM.
 */
int vho_dev_open_log(struct vho_dev *dev, int fd, uint64_t off, uint64_t size);
void vho_dev_set_log_on(struct vho_dev *dev, bool on);

/* Replace the inflight region (takes it; NULL: none). Running queues stop and start again. */
void vho_dev_set_inflight(struct vho_dev *dev, struct vho_inflight *inf);

/* All memory is there, or the session ends: stops every queue, and the pager. */
void vho_dev_end_postcopy(struct vho_dev *dev);

/* The front-end cut its memory short under our mapping, or a pager died: the session must end. */
bool vho_dev_faulted(const struct vho_dev *dev);

/*
 * Change what SET_VRING_CALL and SET_VRING_ERR gave (takes fd; -1: none) under a running queue, and
 * signal the new call fd once, so that no notification is lost between the two.
 */
void vho_dev_queue_set_call(struct vho_dev *dev, unsigned idx, int fd);
void vho_dev_queue_set_err(struct vho_dev *dev, unsigned idx, int fd);
/* Takes fd; -1: the driver never kicks. A running queue is stopped; start it again. */
void vho_dev_queue_set_kick(struct vho_dev *dev, unsigned idx, int fd);
/* Enabled or not; a running queue that must notice is stopped and started. As try_start. */
int vho_dev_queue_enable(struct vho_dev *dev, unsigned idx, bool enabled);
/* GET_VRING_BASE: stop it and drop its kick fd. Returns the base. */
uint32_t vho_dev_queue_retire(struct vho_dev *dev, unsigned idx);
/*
 * SET_VRING_BASE. A base other than what vho_dev_queue_retire() returned starts the ring anew: this
 * is how a driver's reset of one queue arrives (VIRTIO 1.3, 2.6.1), and the requests that the
 * inflight region may still name were of the old ring. 0, or -EBUSY while it runs.
 */
int vho_dev_queue_set_base(struct vho_dev *dev, unsigned idx, uint32_t base);

/* What vho_dev_info() or the type's capabilities say has changed: the card looks again. */
void vho_dev_changed(struct vho_dev *dev);

/* Start queue idx if everything it needs is there; 0 also when something is still missing. */
int vho_dev_queue_try_start(struct vho_dev *dev, unsigned idx);
/* Stop it; its base can be read afterwards. No-op when it is not started. */
void vho_dev_queue_stop(struct vho_dev *dev, unsigned idx);
void vho_dev_stop_all(struct vho_dev *dev);
/* Start every queue that can be. */
void vho_dev_start_all(struct vho_dev *dev);

/*
 * Status 0, which is a driver's reset and also what some front-ends (QEMU) write when they stop a
 * device that goes on later, here or elsewhere: they ask for the rings' bases after that. So what
 * belongs to a ring that goes on is kept until it is known to begin anew.
 */
void vho_dev_reset_status(struct vho_dev *dev);

/* Is that the base of a ring that no driver has used yet? */
static inline bool vho_dev_base_fresh(uint32_t base, bool packed)
{
	return base == 0 || (packed && base == 0x80008000);
}

/* Does some queue run? */
bool vho_dev_any_started(const struct vho_dev *dev);

/*
 * Virtio reset (RESET_DEVICE, status 0): queues stopped, features as after creation, nothing in
 * flight any more. The inflight region stays, for rings that begin anew.
 */
void vho_dev_reset(struct vho_dev *dev);
