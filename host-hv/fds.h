/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors are closed once. */
#pragma once

#include <unistd.h>

/* Close what there is; *fd is -1 from now on. Any thread. */
static inline void hv_fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
