/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: closed at most once, and sent and received beside bytes (unix(7), SCM_RIGHTS). */
#pragma once

#include <sys/socket.h>

#define HV_FDS_MAX 8 // of one message

/* Room for control data of one message. */
union hv_fds_room {
	char bytes[CMSG_SPACE(HV_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/* Close what there is; *fd is -1 from now on. Any thread. */
void hv_fd_close(int *fd);

/*
 * Put n descriptors, HV_FDS_MAX at most, into a message that is about to be sent; room is its
 * caller's until it is. They stay the caller's. 0: nothing is put.
 */
void hv_fds_put(struct msghdr *msg, union hv_fds_room *room, const int *fds, unsigned n);

/*
 * Take the descriptors of a message that was received: behind the n that fds has already, `max` in
 * all; more are closed. They are the caller's. How many fds has now.
 */
unsigned hv_fds_take(struct msghdr *msg, int *fds, unsigned n, unsigned max);
