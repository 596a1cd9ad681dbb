/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors beside the bytes of a Unix socket (unix(7), SCM_RIGHTS). Any thread. */
#pragma once

#include <sys/socket.h>

#define DPU_FDS_MAX 8 // of one message

/* Room for control data of one message. */
union dpu_fds_room {
	char bytes[CMSG_SPACE(DPU_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

/*
 * Put n descriptors, DPU_FDS_MAX at most, into a message that is about to be sent; room is its
 * caller's until it is. They stay the caller's. 0: nothing is put.
 */
void dpu_fds_put(struct msghdr *msg, union dpu_fds_room *room, const int *fds, unsigned n);

/*
 * Take the descriptors of a message that was received: behind the n that fds has already, `max` in
 * all; more are closed. They are the caller's. How many fds has now.
 */
unsigned dpu_fds_take(struct msghdr *msg, int *fds, unsigned n, unsigned max);
