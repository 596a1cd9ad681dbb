/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of a jail: each is tried with it, without its filter, and without any of it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* What there is outside. */
struct outside {
	pid_t victim; // a process that sleeps
	int tcp_port; // somebody listens on 127.0.0.1
	int shm_id; // a System V segment that all may use
	char abstract[32]; // somebody listens, in Unix' abstract namespace
};

struct escape {
	const char *name;
	int (*run)(const struct outside *o); // 0: it worked; else errno
	bool filter_only; // nothing but the filter of system calls stands in its way
	bool may_lack; // kernels are without it, or forbid it to all: no failure without the jail
};

extern const struct escape escapes[];
extern const unsigned n_escapes;
