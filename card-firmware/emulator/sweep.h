/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweeper: a small process that outlives the emulator by a moment and removes its run
 * directory, also when the emulator was killed.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct emu_sweep {
	int fd; // owned: the sweeper works when its other end closes
	pid_t pid;
};

/* Start it for `dir`; keep: leave the directory. 0 or -errno. */
int emu_sweep_start(struct emu_sweep *s, const char *dir, bool keep);
/* Kill this process group too. At most once. */
void emu_sweep_group(struct emu_sweep *s, pid_t pgid);
/* Have it work and wait for its end. */
void emu_sweep_finish(struct emu_sweep *s);
