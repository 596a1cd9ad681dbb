/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live hand-over: a session moves to another process, which goes on with the same front-end, the
 * same rings and the same requests in flight, and the front-end notices nothing.
 *
 * The giver stops the rings, sends what follows over a Unix stream socket and waits. The taker
 * builds the session from it, says so, and starts the rings. A taker that refuses or dies before it
 * has said so leaves the giver as it was: the rings go on there. So at any moment one process at
 * most has the rings running.
 *
 *   bytes
 *   24     magic "OBHO", version (2), kind of device (2), length of the body (4), file descriptors
 *          that follow (4), rings of the device (4), reserved (4, zero)
 *   ..     body: session, features, memory regions, inflight region, dirty log, each ring, what
 *          has been received of a message, and the device's own state (state.h)
 *   1 each groups of at most HANDOVER_FDS_AT_ONCE descriptors, in the order of the body
 *
 * and back: 4 bytes, 0 when it was taken. Integers are little-endian. Another version is refused:
 * both sides are releases of the same program, and the older one is always the giver, so a version
 * that changes the body keeps a reader of the one before.
 *
 * The other process is trusted no more than a front-end: every length, count, size and descriptor
 * is checked as if a front-end had sent it.
 */
#pragma once

#include "vu_session.h"

#define HANDOVER_FDS_AT_ONCE 64
#define HANDOVER_BYTES_MAX 65536 // of the body
#define HANDOVER_FDS_MAX (VHO_MEM_REGIONS_MAX + 3 * VHO_DEV_QUEUES_MAX + VU_FDS_MAX + 8)

/* A session on its way. */
struct handover {
	uint8_t bytes[HANDOVER_BYTES_MAX]; // of the body
	size_t len;
	int fds[HANDOVER_FDS_MAX];
	unsigned n_fds;
	bool owned; // fds: those that were received are closed with it
	uint16_t kind;
	uint32_t n_queues;
};

/*
 * Write down a session whose queues are stopped. Borrows its descriptors: they live until it is
 * closed. listen_fd: -1, or a socket that goes along. Returns 0, or -ENOTSUP: memory in more files
 * than are kept open (mem.h); -ENOSPC. Control thread.
 */
int handover_save(const struct vu_session *s, int listen_fd, struct handover *h);

/*
 * Send it and wait for the answer. 0 when it was taken, or
 *   -ECONNREFUSED  the other side could not use it
 *   -ECONNRESET    the other side is gone, or went without a word
 *   or the errno of send(2), recv(2)
 * after which the session is still ours. Blocks. Control thread.
 */
int handover_send(int sock, const struct handover *h);

/*
 * Wait for one. 0, or
 *   -ECONNRESET  the other side is gone
 *   -EPROTO      not a hand-over, another version, cut off, or too long
 *   or the errno of recv(2)
 * Blocks. handover_free() in any case.
 */
int handover_recv(int sock, struct handover *h);
void handover_answer(int sock, int ret);
void handover_free(struct handover *h);

/*
 * Make s the session that was saved, for a device that has none: 0, with no queue started yet, or
 *   -EPROTO  another kind of device, or fewer rings
 *   -EBADMSG a body that does not add up
 *   or what the step that failed returned (features that we do not offer, memory that cannot be
 *   mapped); the device is as before then. *listen_fd is -1 or the caller's. Control thread.
 */
int handover_load(struct vu_session *s, struct vho_dev *dev, struct handover *h, int *listen_fd);
