/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes. Each leads its own process group, dies with the emulator (PR_SET_PDEATHSIG),
 * reads /dev/null and writes to a log file, or shares the emulator's terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define EMU_ARGV_MAX 128

/* An argument vector that is built step by step; `failed` is sticky. */
struct emu_argv {
	char *v[EMU_ARGV_MAX + 1]; // owned
	unsigned n;
	bool failed; // out of memory or of places
};

void emu_argv_add(struct emu_argv *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void emu_argv_fini(struct emu_argv *a);

/*
 * Start a->v[0] (a path, or a name found in PATH). log: file to append output to, NULL: the
 * emulator's own stdin, stdout and stderr. Returns 0 and *out, or a negative errno; -ENOMEM when
 * the vector failed. A program that cannot be executed ends with status 127 and a line in its log.
 */
int emu_spawn(const struct emu_argv *a, const char *log, pid_t *out);

/*
 * The program `name`: beside the emulator (same folder or the one above), where installed helpers
 * are, else by PATH.
 */
void emu_program_path(const char *name, char *out, size_t size);

/* "exited with status 1", "killed by signal 9 (Killed)". */
void emu_status_text(int status, char *out, size_t size);
