/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtio function as its transport and the card see it, and what it wants from the card.
 *
 * A function is created unbound. A transport (vhost-user here) negotiates features and hands over
 * memory and rings; the function then asks the card, through struct vho_host, to give each started
 * queue a worker. Everything here is for the control thread unless it says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_stats.h"

struct vho_dev;

/* Why a ring was stopped. X(name, text for the operator) */
#define VHO_QUEUE_ERRORS(X)                                                \
	X(BAD_INDEX, "ring index or buffer id out of range")               \
	X(BAD_AVAIL, "available index moved back or too far")              \
	X(BAD_ADDRESS, "address outside the guest's memory")               \
	X(BAD_CHAIN, "chain too long, a loop, or readable after writable") \
	X(BAD_INDIRECT, "indirect table malformed or not negotiated")      \
	X(TOO_LONG, "lengths of one chain sum past the limit")             \
	X(MEM_FAULT, "guest memory vanished under a mapping")              \
	X(NO_ACCESS, "the guest's IOMMU does not allow it")

enum vho_queue_error {
#define X(name, text) VHO_QUEUE_ERR_##name,
	VHO_QUEUE_ERRORS(X)
#undef X
		VHO_QUEUE_ERR_COUNT
};

/* Name ("bad_index") and text of an error; NULL past the end. Any thread. */
const char *vho_queue_error_name(enum vho_queue_error e);
const char *vho_queue_error_text(enum vho_queue_error e);

/* Written by the queue's worker, read by any thread. */
struct vho_queue_stats {
	dpu_counter requests; // chains popped
	dpu_counter bytes; // payload moved either way
	dpu_counter kicks; // wake-ups by the driver; control queue only
	dpu_counter calls; // notifications sent to the driver
	dpu_counter calls_suppressed;
	dpu_counter resubmitted; // requests found in flight after a restart
	dpu_counter iommu_waits; // times that a request waited for the address of a buffer
	dpu_counter errors[VHO_QUEUE_ERR_COUNT];
};

/* The control thread's event loop, as ops so that this folder needs no event library. */
struct vho_loop {
	void *arg;
	/* Call cb on the control thread while fd is readable; NULL on ENOMEM. */
	void *(*watch)(void *arg, int fd, void (*cb)(void *cb_arg), void *cb_arg);
	void (*unwatch)(void *arg, void *handle);
	/* Call cb once after delay_ms; the handle is gone after that or after timer_cancel. */
	void *(*timer)(void *arg, unsigned delay_ms, void (*cb)(void *cb_arg), void *cb_arg);
	void (*timer_cancel)(void *arg, void *handle);
};

/* What the card does for a function. All calls come from the control thread. */
struct vho_host {
	void *arg;
	const struct vho_loop *loop;
	/*
	 * Queue idx is set up and enabled: give it to a worker, which sets it running with
	 * vho_dev_queue_run() and polls it. kick_fd (borrowed until queue_stop) becomes readable
	 * when an armed queue gets work; -1: the driver never kicks, poll on a timer. 0 or -errno.
	 */
	int (*queue_start)(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd);
	/*
	 * Take queue idx back. On return no worker touches it and every request popped from it has
	 * been pushed, or abandoned after a bounded wait (then it stays marked in flight).
	 */
	void (*queue_stop)(void *arg, struct vho_dev *dev, unsigned idx);
	/* Features, link or MTU changed, or the front-end came or went: look at vho_dev_info(). */
	void (*changed)(void *arg, struct vho_dev *dev);
	/* Returns when each worker has passed a quiescent state: what was unpublished is unused. */
	void (*synchronize)(void *arg);
	/*
	 * Optional: false while requests that queue_stop abandoned may still reach the device's
	 * store. Another process must not serve the device then: what is old would come after what
	 * is new.
	 */
	bool (*settled)(void *arg, struct vho_dev *dev);
};

/*
 * Survive a front-end that truncates memory it shared (see mem.h). Once, from main, before
 * any function is created. 0, or the errno of sigaction(2).
 */
int vho_mem_guard_init(void);

enum vho_dev_kind { VHO_DEV_NET = 1, VHO_DEV_BLK = 2 }; // VIRTIO 1.3, section 5: device ids

struct vho_dev_info {
	enum vho_dev_kind kind;
	const char *name;
	bool connected; // a front-end is attached
	bool driver_ok; // at least one data queue runs
	bool needs_reset; // a queue broke the rules and was stopped
	uint64_t features_offered, features_acked;
	uint64_t protocol_features;
	unsigned n_queues; // device's maximum
	unsigned n_running;
};

void vho_dev_info(const struct vho_dev *dev, struct vho_dev_info *out);
const struct vho_queue_stats *vho_dev_queue_stats(const struct vho_dev *dev, unsigned idx);

/* What a NIC's control queue carried. */
struct vho_ctrl_stats {
	uint64_t commands; // carried out
	uint64_t refused; // malformed, not negotiated or out of range: answered with an error
};
/* False: a function without a control queue. Any thread. */
bool vho_dev_ctrl_stats(const struct vho_dev *dev, struct vho_ctrl_stats *out);

/* A function behind its guest's IOMMU (VIRTIO_F_ACCESS_PLATFORM). */
struct vho_iommu_stats {
	uint64_t entries; // addresses known now
	uint64_t updates, invalidates; // messages of the front-end
	uint64_t refused; // of these, those that made no sense
	uint64_t evicted; // entries that made room for others
	uint64_t asked; // questions to the front-end
	uint64_t unanswered; // times that a second passed without an answer
	uint64_t late; // invalidations that requests in flight outlasted
};
void vho_dev_iommu_stats(const struct vho_dev *dev, struct vho_iommu_stats *out);

struct vho_queue_info {
	bool running, broken, packed;
	uint32_t size;
};
void vho_dev_queue_info(const struct vho_dev *dev, unsigned idx, struct vho_queue_info *out);

/* On the worker that owns the queue (or on the control thread when none does). */
void vho_dev_queue_run(struct vho_dev *dev, unsigned idx, bool run);
/* Ask for kicks on a queue; true: it is empty and the worker may sleep. Worker. */
bool vho_dev_queue_arm(struct vho_dev *dev, unsigned idx);
void vho_dev_queue_disarm(struct vho_dev *dev, unsigned idx);

/*
 * Let front-ends map pages of ours where the guest kicks (vhost-user, HOST_NOTIFIER). While one is
 * mapped the ring's worker never sleeps. Control thread, before the function has a transport.
 */
void vho_dev_offer_notifiers(struct vho_dev *dev);

/* ---- vhost-user transport ---- */

enum vho_vu_mode { VHO_VU_SERVER, VHO_VU_CLIENT };

struct vho_vu; // one device behind one Unix socket

/* Why a message was refused. X(name, text for the operator) */
#define VHO_VU_REJECTS(X)                                                               \
	X(HEADER, "other version, or longer or with more descriptors than any request") \
	X(UNKNOWN, "request that is unknown or not for this kind of function")          \
	X(SIZE, "payload of the wrong size")                                            \
	X(FDS, "wrong number of file descriptors")                                      \
	X(NOT_NEGOTIATED, "request of a protocol feature that was not negotiated")      \
	X(STATE, "not while the ring runs")                                             \
	X(VALUE, "value out of range")                                                  \
	X(MEMORY, "memory region, dirty log or in-flight area that cannot be used")     \
	X(RING, "ring that cannot start where it was put")                              \
	X(RESOURCES, "card out of memory or file descriptors")

enum vho_vu_reject {
#define X(name, text) VHO_VU_REJECT_##name,
	VHO_VU_REJECTS(X)
#undef X
		VHO_VU_REJECT_COUNT
};

/* Name ("not_negotiated") and text of a reason; NULL past the end. Any thread. */
const char *vho_vu_reject_name(enum vho_vu_reject r);
const char *vho_vu_reject_text(enum vho_vu_reject r);

struct vho_vu_stats {
	uint64_t sessions; // front-ends accepted
	uint64_t messages;
	uint64_t rejected; // messages refused, for whatever reason
	uint64_t rejects[VHO_VU_REJECT_COUNT]; // the same by reason
	uint64_t dropped_sessions; // sessions closed because of what the front-end sent
};

/*
 * Serve `dev` on the Unix socket at `path`: listen (a stale socket of a dead process is replaced, a
 * live one is not), or connect and reconnect for ever with back-off.
 *
 * A server's socket has mode 0600. It takes one front-end at a time; the next one waits in the
 * backlog until the first has left.
 *
 * Returns 0, or
 *   -EADDRINUSE    a living process listens there
 *   -ENAMETOOLONG  path does not fit sockaddr_un
 *   -ELOOP, -EEXIST  something else than a socket stands at path
 *   -ENOMEM, or the errno of socket(2), bind(2), listen(2)
 *
 * Spec: QEMU docs/interop/vhost-user.rst.
 */
int vho_vu_create(struct vho_dev *dev, const char *path, enum vho_vu_mode mode,
	const struct vho_host *host, struct vho_vu **out);

/*
 * Serve `dev` on a connected stream socket that the caller made; fd is ours from now on. There is
 * one session: when it ends nothing more happens until vho_vu_destroy(). Returns 0 or -ENOMEM (fd
 * is closed).
 */
int vho_vu_adopt(struct vho_dev *dev, int fd, const struct vho_host *host, struct vho_vu **out);

/*
 * Live hand-over to the process at the other end of `sock`, a connected Unix stream socket: rings
 * stop, the session with everything that belongs to it moves, and its front-end notices nothing. In
 * server mode the listening socket moves as well. 0, and vu is gone; or an error, and the session
 * goes on here:
 *   -ECONNREFUSED  the other process could not take it
 *   -ECONNRESET    it is not there any more
 *   -EBUSY         its memory is still coming (postcopy migration), the front-end owes an answer
 *                  about a page for kicks, or requests that its store
 *                  does not answer were left behind (vho_host.settled)
 *   -ENOTSUP       its memory lies in more files than are kept open
 *   -ENOMEM, -ENOSPC, or the errno of send(2), recv(2)
 * Blocks until the other process has answered; set SO_RCVTIMEO only where a late taker is known to
 * be dead by then, for rings must not run in both.
 */
int vho_vu_give(struct vho_vu *vu, int sock);

/*
 * The other end: wait for a session for dev, which is of the same kind, with as many queues, and
 * has none. path and mode as for vho_vu_create(); path NULL as for vho_vu_adopt(). Returns 0, or
 *   -ECONNRESET  nobody gave anything
 *   -EPROTO      not a hand-over, of another version, or of another kind of function
 *   -EBADMSG     one that does not add up
 *   -EINVAL      features or state that dev cannot have, memory that cannot be mapped
 *   -ENAMETOOLONG, -ENOMEM, or the errno of recv(2), mmap(2)
 * and the giver goes on then. Blocks until a session comes. Control thread.
 */
int vho_vu_take(struct vho_dev *dev, int sock, const char *path, enum vho_vu_mode mode,
	const struct vho_host *host, struct vho_vu **out);

/*
 * Look whether the front-end cut its memory short under us, and end the session if so: false. The
 * transport does this itself once a second and with every message.
 */
bool vho_vu_check(struct vho_vu *vu);

/* Stop all queues, close the session, remove the socket. NULL is accepted. */
void vho_vu_destroy(struct vho_vu *vu);

void vho_vu_stats(const struct vho_vu *vu, struct vho_vu_stats *out);

/* Tell the front-end that configuration space changed (resize, link): BACKEND_CONFIG_CHANGE_MSG. */
int vho_vu_config_changed(struct vho_vu *vu);
