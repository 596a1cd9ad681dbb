/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a front-end sent.
 *
 * Even close(2) may wait for ever: a file on FUSE asks its process for leave to close, a network
 * socket may linger, and a Unix socket lets go of the descriptors that are queued in it. What is
 * not of a kind that cannot is closed by a thread of its own, which shares nothing with the rest
 * but a list of numbers (ADR-0006).
 */
#pragma once

#include <stdbool.h>

/*
 * Have the thread now: what a front-end does is not to make one. No-op when it is there; where none
 * can be made the next vu_fd_close() tries again. Control thread.
 */
void vu_fd_start(void);

/* Anything but an eventfd could make a write or a read of ours sleep, or end up in a file. */
bool vu_fd_is_eventfd(int fd);

/*
 * The kernel's limit (SCM_MAX_FD) for one message. Who receives with less room has the rest closed
 * for him by recvmsg(2), and waits for it.
 */
#define VU_FD_MESSAGE_MAX 253

/*
 * Close fd, at once or later; never waits. `owner` tells whose it was and is not looked into. True:
 * it is of a kind that no front-end has a use for. Control thread.
 */
bool vu_fd_close(int fd, const void *owner);

/*
 * Close a connection, or a listening socket, of ours that nobody else goes on with: the other end
 * knows at once. What front-ends have left in it unread is let go of by the thread. Control thread.
 */
void vu_fd_close_socket(int fd, const void *owner);
void vu_fd_close_listener(int fd, const void *owner);

/* Descriptors of that owner, or NULL: of anybody, which wait to be closed. Control thread. */
unsigned vu_fd_pending(const void *owner);
