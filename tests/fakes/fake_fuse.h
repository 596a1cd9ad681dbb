/* SPDX-License-Identifier: Apache-2.0 */
/* One plain file whose pages come from a process of ours, over FUSE. */
#pragma once

#include <sys/types.h>

#define FAKE_FUSE_SIZE (1u << 20)

/*
 * A descriptor of the file, open for reading and writing: the caller's. *server answers for it
 * until it is killed and waited for. Or a negative errno, mostly for want of rights or of
 * /dev/fuse.
 */
enum fake_fuse_close { FUSE_CLOSES, FUSE_NEVER_CLOSES }; // is a close(2) of the file answered?
int fake_fuse_open(enum fake_fuse_close closes, pid_t *server);
