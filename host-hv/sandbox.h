/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail of a guest's process, in three steps: the agent starts it in namespaces of its own; it
 * gives up its file system, its rights and its limits when everything is opened; each of its
 * threads gives up all system calls but those listed, the last thing before the guest's first
 * instruction. A guest that breaks into the process has its own memory, KVM's descriptors of itself
 * and the sockets to its card.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define HV_JAIL_FD 3 // where the process finds its socket

enum hv_thread { HV_THREAD_MAIN, HV_THREAD_VCPU, HV_THREADS };

/*
 * Start a program (exe_fd: O_PATH) with an empty environment in user, mount, network, PID, IPC and
 * UTS namespaces of its own, in a session of its own, with fd as HV_JAIL_FD, nothing to read, our
 * stderr, and no other descriptor. An unprivileged caller is root there, and nobody outside; root
 * gives it `nobody` to become, too. fd stays the caller's.
 * 0, or the errno of clone(2), pipe2(2) or of writing its maps. What goes wrong after that ends it
 * with status 127. Main thread.
 */
int hv_sandbox_spawn(int exe_fd, char *const argv[], int fd, pid_t *pid);

/*
 * What no program could give back to this process: each thread has a set of its own, so this comes
 * before there are others. 0, or the errno of prctl(2), logged. Main thread.
 */
int hv_sandbox_begin(void);

/*
 * No file system but an empty one that is read-only, no user but `nobody` where there is one, no
 * core file, no tracer, no more memory than the guest's, ours and what its threads have (mem_mib 0:
 * no such limit). Only in a process of hv_sandbox_spawn(), when all that needs a path is open; it
 * holds for every thread. 0, -EPERM (not such a process), or the errno of the step that failed,
 * which is logged: the process must not run its guest then. Main thread.
 */
int hv_sandbox_process(uint64_t mem_mib, unsigned vcpus);

/*
 * This thread has no capability, reaches nothing through Landlock (where the kernel has it), gains
 * no right by any call, and may make only the system calls of its kind, whose arguments are looked
 * at, too: any other ends the process by SIGSYS. Threads that it would make inherit that.
 * 0, or the errno of prctl(2), capset(2) or seccomp(2). Any thread.
 */
int hv_sandbox_thread(enum hv_thread kind);

/*
 * What hv_sandbox_thread() lets through, a call a line: the kind of thread, name, number, what an
 * argument may be, and behind a # why a guest may live without ever making it.
 */
void hv_sandbox_print(FILE *out);

/* hv_sandbox_thread() without its last step, the system calls: for tests of what is beneath. */
int hv_sandbox_rights(void);
