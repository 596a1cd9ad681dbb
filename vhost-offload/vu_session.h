/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One front-end and its vhost-user messages.
 *
 *   vhost_user.c   sockets: listen, connect, adopt; begins and ends sessions
 *   vu_session.c   bytes and file descriptors to messages, replies, the table of requests
 *   vu_handlers.c  what each request does to the device
 *   vu_inband.c    kicks, calls and errors as messages, for front-ends without eventfds
 *   vu_notifier.c  pages of ours for the guest's kicks
 *   vu_ask.c       requests of ours that want an answer
 *   vu_fd.c        descriptors of theirs: what they are, how they are closed
 *   vu_state.c     the requests that move a device's state to another process
 *   vu_postcopy.c  the requests of a migration whose memory comes late
 *
 * Control thread only. Nothing here blocks: what the front-end does not take at once ends the
 * session.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "device.h"
#include "vu_ask.h"
#include "vu_msg.h"

#define VU_BUDGET 64 // messages per wake-up: one front-end cannot hold the control thread

struct vu_inband;
struct vu_notifiers;

struct vu_session {
	/* Fixed while the session lasts. */
	struct vho_dev *dev; // borrowed: outlives the session
	int fd; // owned; -1: no session

	int backend_fd; // owned: where our requests go; -1: none
	bool has_protocol; // VHOST_USER_F_PROTOCOL_FEATURES acked
	bool config_due; // CONFIG_CHANGE_MSG waits for a ring to run
	/*
	 * The answer to an invalidation waits for requests in flight, which may touch what it takes
	 * away. Nothing is received meanwhile: the front-end waits as well.
	 */
	bool held;
	int state_fd; // owned: what the front-end writes a device state to; -1: none
	bool state_good; // the last transfer, if one is finished, went well
	struct vu_inband *inband; // owned; NULL: in-band notifications are not negotiated
	struct vu_notifiers *notifiers; // owned; NULL: host notifiers are not negotiated
	struct vu_asks asks;
	struct vu_msg in; // being received
	size_t have; // bytes of `in` (header and payload) received
	uint64_t n_messages; // in this session

	uint64_t messages; // over all sessions
	uint64_t rejects[VHO_VU_REJECT_COUNT]; // over all sessions
};

/* A handler's result for what no reply may follow: the connection is closed (VU-28). */
#define VU_CLOSE (-ECONNABORTED)

/* fd becomes the session's. */
void vu_session_open(struct vu_session *s, struct vho_dev *dev, int fd);
/* Close every fd of the session and detach the device. No-op without a session. */
void vu_session_close(struct vu_session *s);
/* The same for what another process goes on with: nothing is taken from its sockets. */
void vu_session_forget(struct vu_session *s);

/*
 * The socket is readable: take at most VU_BUDGET messages.
 *
 * Returns 0, or
 *   -ECONNRESET  the front-end left
 *   anything else: it broke the protocol, or did not take a reply; the caller closes the session
 */
int vu_session_input(struct vu_session *s);

/*
 * Is there still an answer to wait with? False: it has gone out, or there was none, and *ret is 0
 * or the error that ends the session. late: do not wait any longer, answer that it went wrong.
 */
bool vu_session_held(struct vu_session *s, bool late, int *ret);

/* IOTLB_MSG, MISS: arg is the session. vho_dev.iommu_ask. */
void vu_session_ask(void *arg, uint64_t iova, uint8_t perm);

/*
 * CONFIG_CHANGE_MSG, now or, while no ring runs, as soon as one does: a suspended device sends
 * nothing ("Suspended device state"). 0, -ENOTCONN when the front-end cannot take it, or the errno
 * of send(2).
 */
int vu_session_config_changed(struct vu_session *s);

/*
 * Take up to `want` bytes of a message from one of a front-end's sockets. It never takes more, so
 * descriptors that come along belong to that message: they are m's (n_fds may be above 0 already),
 * or have been closed; `owner` as for vu_fd_close(). Never blocks.
 *
 * Returns the number of bytes, or
 *   -EAGAIN      nothing there
 *   -ECONNRESET  the other end is closed
 *   -EPROTO      more descriptors than a message may have
 *   or the errno of recvmsg(2)
 */
ssize_t vu_receive(struct vu_msg *m, const void *owner, int fd, void *to, size_t want);

/* The socket that our requests go to: takes fd, and closes the one before. -1: none. */
void vu_session_set_channel(struct vu_session *s, int fd);

/*
 * Send a request of ours. 0, -ENOTCONN: there is no channel; or the errno of sendmsg(2), -EPIPE
 * when it did not go as a whole: the channel is closed then. Never blocks.
 */
int vu_session_request(struct vu_session *s, uint32_t request, uint32_t more_flags,
	const void *payload, uint32_t size);
/* The same with a descriptor (borrowed; -1: none). */
int vu_session_request_fd(struct vu_session *s, uint32_t request, uint32_t more_flags,
	const void *payload, uint32_t size, int fd);

/* Handlers: 0 or a negative errno, which rejects the message. A reply goes to m->h.size, m->p. */
typedef int vu_handler_fn(struct vu_session *s, struct vu_msg *m);

struct vu_handler {
	vu_handler_fn *fn;
	uint16_t size_min, size_max; // payload, bytes
	uint8_t fds_min, fds_max;
	bool replies; // has an answer of its own
	uint32_t needs; // protocol features that must have been acked
	/* The answer when the request is refused; 0: it has none, and the session ends. */
	uint64_t refusal;
};

/* The handler of a request, or NULL. */
const struct vu_handler *vu_handler(uint32_t request);
