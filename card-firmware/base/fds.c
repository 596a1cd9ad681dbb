// SPDX-License-Identifier: Apache-2.0
/* Descriptors beside the bytes of a Unix socket. */
#include "dpu_fds.h"

#include <string.h>
#include <unistd.h>

void dpu_fds_put(struct msghdr *msg, union dpu_fds_room *room, const int *fds, unsigned n)
{
	if (n == 0)
		return;
	memset(room, 0, sizeof(*room));
	room->align.cmsg_level = SOL_SOCKET;
	room->align.cmsg_type = SCM_RIGHTS;
	room->align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&room->align), fds, n * sizeof(int));
	msg->msg_control = room;
	msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
}

unsigned dpu_fds_take(struct msghdr *msg, int *fds, unsigned n, unsigned max)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < max)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}
