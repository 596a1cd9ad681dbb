// SPDX-License-Identifier: Apache-2.0
/* Namespaces, an empty root, rights, limits, system calls. Source: namespaces(7), seccomp(2). */
#include "sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dpu_log.h"

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif
#define NAMESPACES \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
#define NOBODY 65534
#define FDS_MAX 4096 // of a guest with every slot and queue in use
#define OURS_MIB 256u // of address space, besides the guest's and 96 MiB a thread
#define THREAD_MIB 96u // its stack, and the heap that malloc sets aside for it
#define NEW_ROOT "/dev" // covered, never written to

/* Landlock's, which build machines' headers do not all have; what a kernel lacks stays 0. */
#define LANDLOCK_VERSION_FLAG 1u
struct landlock_rules {
	uint64_t fs, net, scoped;
};
static const struct {
	int abi; // from this one on
	struct landlock_rules add;
} landlock_steps[] = {
	{ 1, { 0x1fff, 0, 0 } }, // everything with files
	{ 2, { 1 << 13, 0, 0 } }, // links between folders
	{ 3, { 1 << 14, 0, 0 } }, // truncate
	{ 4, { 0, 3, 0 } }, // TCP: bind, connect
	{ 5, { 1 << 15, 0, 0 } }, // ioctl of devices that are opened from now on
	// Abstract Unix sockets. Not signals: each thread has a domain of its own, and before 6.15
	// they could not signal each other then. The PID namespace keeps others out of reach.
	{ 6, { 0, 0, 1 } },
};

enum check { ANY, ONE_OF, WITHOUT, SELF };

struct rule {
	int nr;
	const char *name;
	enum check check;
	uint8_t arg;
	uint8_t n; // of values
	uint32_t values[8];
	const char *rare; // why a guest may live without it; NULL: none does
};

#define CALL(call) .nr = SYS_##call, .name = #call
/* glibc's poll(2) is the call that the CPU's table has. */
#ifdef __x86_64__
#define POLL CALL(poll)
#else
#define POLL CALL(ppoll)
#endif
#define CLOCK_RARE "only where the vDSO has no clock of this machine"
/* Each libc's malloc(3) has its own way to more memory, and the other one when that is used up. */
#ifdef __GLIBC__
#define MMAP_RARE "only malloc(3) of 128 KiB and more"
#define BRK_RARE NULL
#else
#define MMAP_RARE NULL
#define BRK_RARE "only malloc(3) of very many objects"
#endif

/* In the order in which they are looked at: what happens most comes first. */
static const struct rule vcpu_rules[] = {
	{ CALL(ioctl), ONE_OF, 1, 5,
		{ KVM_RUN, KVM_IRQ_LINE, (uint32_t)KVM_IRQFD, (uint32_t)KVM_IOEVENTFD,
			(uint32_t)KVM_SET_GSI_ROUTING } },
	{ CALL(futex) },
	{ CALL(write) }, // the console, and the main thread's eventfd
	{ CALL(preadv2) }, // an interrupt that waited for its mask
	{ CALL(tgkill), SELF, .arg = 0 },
	{ CALL(rt_sigreturn) },
	{ CALL(clock_gettime), .rare = CLOCK_RARE },
	/* The libc's end of a thread. */
	{ CALL(rt_sigprocmask) },
#ifdef __GLIBC__
	{ CALL(madvise), ONE_OF, 2, 1, { MADV_DONTNEED } }, // its stack
#endif
	{ CALL(exit) },
};
static_assert(sizeof(vcpu_rules) / sizeof(vcpu_rules[0]) <= 10, "a vCPU's thread needs no more");

static const struct rule main_rules[] = {
	{ POLL },
	{ CALL(recvmsg) },
	{ CALL(sendmsg) },
	{ CALL(read) },
	{ CALL(write) },
	{ CALL(futex) },
	{ CALL(ioctl), ONE_OF, 1, 6,
		{ KVM_IRQ_LINE, (uint32_t)KVM_IRQFD, (uint32_t)KVM_IOEVENTFD,
			(uint32_t)KVM_SET_GSI_ROUTING, KVM_KVMCLOCK_CTRL,
			(uint32_t)KVM_SET_USER_MEMORY_REGION } },
	{ CALL(tgkill), SELF, .arg = 0 },
	// Eventfds that the card has, too.
	{ CALL(preadv2), .rare = "only when a driver resets its function, or a ring is broken" },
	/* Functions that come and go while it runs. */
	{ CALL(mmap), WITHOUT, 2, 1, { PROT_EXEC }, MMAP_RARE },
	{ CALL(munmap), .rare = MMAP_RARE },
	{ CALL(brk), .rare = BRK_RARE },
#ifndef __GLIBC__
	{ CALL(madvise), ONE_OF, 2, 1, { MADV_FREE }, "only free(3) of a group's last object" },
	{ CALL(mprotect), WITHOUT, 2, 1, { PROT_EXEC }, "only malloc(3) once brk(2) has failed" },
#endif
	{ CALL(close) },
	{ CALL(eventfd2) },
	{ CALL(socketpair), ONE_OF, 0, 1, { AF_UNIX } },
	{ CALL(epoll_create1) },
	{ CALL(epoll_ctl) },
	{ CALL(timerfd_create) },
	{ CALL(timerfd_settime) },
	{ CALL(getsockopt) },
	{ CALL(getpeername) },
	{ CALL(clock_gettime), .rare = CLOCK_RARE },
	{ CALL(restart_syscall), .rare = "only when it was stopped in poll(2) and goes on" },
	{ CALL(exit_group) },
};

static const struct {
	const struct rule *rules;
	size_t n;
} lists[HV_THREADS] = {
	[HV_THREAD_MAIN] = { main_rules, sizeof(main_rules) / sizeof(main_rules[0]) },
	[HV_THREAD_VCPU] = { vcpu_rules, sizeof(vcpu_rules) / sizeof(vcpu_rules[0]) },
};

void hv_sandbox_print(FILE *out)
{
	static const char *const names[HV_THREADS] = { "main", "vcpu" };

	for (int k = 0; k < HV_THREADS; k++)
		for (size_t i = 0; i < lists[k].n; i++) {
			const struct rule *r = &lists[k].rules[i];

			fprintf(out, "%s %s %d", names[k], r->name, r->nr);
			for (unsigned v = 0; r->check == ONE_OF && v < r->n; v++)
				fprintf(out, " arg%u=%#x", r->arg, r->values[v]);
			fprintf(out, "%s%s\n", r->rare ? " # " : "", r->rare ? r->rare : "");
		}
}

static int failed(const char *what, int err)
{
	dpu_err("jail: cannot be closed", "step=%s err=%s", what, strerror(err));
	return -err;
}

/* The child's side of hv_sandbox_spawn(): on to the program, once it is mapped. */
static void enter(int exe_fd, char *const argv[], int fd, int go)
{
	char *const none[] = { NULL };
	sigset_t all;
	char byte;
	int null;

	if (read(go, &byte, 1) != 1 || setsid() < 0)
		_exit(127);
	// Out of the way of where they go.
	exe_fd = fcntl(exe_fd, F_DUPFD_CLOEXEC, HV_JAIL_FD + 1);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, HV_JAIL_FD + 1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (exe_fd < 0 || fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
		dup2(null, STDOUT_FILENO) < 0 || dup2(fd, HV_JAIL_FD) < 0 ||
		syscall(SYS_close_range, HV_JAIL_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		_exit(127);
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	syscall(SYS_execveat, exe_fd, "", argv, none, AT_EMPTY_PATH);
	_exit(127);
}

static int write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Root inside is whoever we are; who may give it another user to become does so. */
static int map_ids(pid_t pid)
{
	char uid[64], gid[64];
	int ret;

	ret = write_file(pid, "gid_map", "0 0 1\n65534 65534 1\n");
	if (ret == 0)
		return write_file(pid, "uid_map", "0 0 1\n65534 65534 1\n");
	snprintf(uid, sizeof(uid), "0 %u 1\n", (unsigned)geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1\n", (unsigned)getegid());
	ret = write_file(pid, "setgroups", "deny");
	if (ret == 0)
		ret = write_file(pid, "gid_map", gid);
	return ret ? ret : write_file(pid, "uid_map", uid);
}

int hv_sandbox_spawn(int exe_fd, char *const argv[], int fd, pid_t *pid)
{
	int go[2], ret;
	long child;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	// As fork(2), which has no flags; nothing but system calls follow until the program starts.
	child = syscall(SYS_clone, NAMESPACES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0) {
		close(go[1]);
		enter(exe_fd, argv, fd, go[0]);
	}
	ret = child < 0 ? -errno : map_ids((pid_t)child);
	if (ret == 0 && write(go[1], "g", 1) != 1)
		ret = -errno;
	close(go[0]);
	close(go[1]); // without the byte it ends
	*pid = (pid_t)child;
	if (ret)
		return failed(child < 0 ? "clone" : "maps", -ret);
	return 0;
}

static int empty_root(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return failed("private mounts", errno);
	if (mount("none", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    "size=4k,nr_inodes=1,mode=0555") < 0)
		return failed("tmpfs", errno);
	if (chdir(NEW_ROOT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return failed("pivot_root", errno);
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return failed("old root", errno);
	if (mount(NULL, "/", NULL,
		    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return failed("read-only root", errno);
	return 0;
}

static int limit(uint64_t mem_mib, unsigned vcpus)
{
	uint64_t as = mem_mib ? (mem_mib + OURS_MIB + (uint64_t)THREAD_MIB * vcpus) << 20
			      : RLIM_INFINITY;
	const struct {
		int what;
		uint64_t most;
	} limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, FDS_MAX },
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_MSGQUEUE, 0 },
		{ RLIMIT_AS, as },
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit r;

		if (getrlimit(limits[i].what, &r) < 0)
			return failed("getrlimit", errno);
		if (r.rlim_max > limits[i].most)
			r.rlim_max = limits[i].most;
		r.rlim_cur = r.rlim_max;
		if (setrlimit(limits[i].what, &r) < 0)
			return failed("setrlimit", errno);
	}
	return 0;
}

/* `nobody`, where it is mapped; the others have no user of another one's by that map. */
static int drop_user(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0)
		return errno == EINVAL ? 0 : failed("setresgid", errno);
	if (setgroups(0, NULL) < 0)
		return failed("setgroups", errno);
	if (setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return failed("setresuid", errno);
	return 0;
}

int hv_sandbox_begin(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return failed("bounding set", errno);
	return 0;
}

int hv_sandbox_process(uint64_t mem_mib, unsigned vcpus)
{
	int ret;

	if (getpid() != 1)
		return failed("namespaces", EPERM);
	ret = empty_root();
	if (ret == 0)
		ret = limit(mem_mib, vcpus);
	if (ret == 0)
		ret = drop_user();
	if (ret == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failed("dumpable", errno);
	return ret;
}

static int landlock(void)
{
	struct landlock_rules rules = { 0 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);
	long fd;
	int err = 0;

	if (abi < 1) {
		dpu_warn("jail: this kernel has no Landlock", "err=%s", strerror(errno));
		return 0;
	}
	for (size_t i = 0; i < sizeof(landlock_steps) / sizeof(landlock_steps[0]); i++) {
		if (abi < landlock_steps[i].abi)
			break;
		rules.fs |= landlock_steps[i].add.fs;
		rules.net |= landlock_steps[i].add.net;
		rules.scoped |= landlock_steps[i].add.scoped;
	}
	fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return failed("landlock", errno);
	// Nothing is allowed, so no rule is added.
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		err = errno;
	close((int)fd);
	return err ? failed("landlock", err) : 0;
}

int hv_sandbox_rights(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed("no_new_privs", errno);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return failed("ambient set", errno);
	if (syscall(SYS_capset, &head, none) < 0)
		return failed("capset", errno);
	return landlock();
}

struct program {
	struct sock_filter code[256];
	unsigned n;
};

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	p->code[p->n++] = (struct sock_filter){ code, jt, jf, k };
}

#define LOAD(p, field) put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(field), 0, 0)
#define ALLOW(p) put(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0)
#define KILL(p) put(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0)

/* One rule; the number is loaded, and still is for the next one. */
static void put_rule(struct program *p, const struct rule *r)
{
	// The low half: the kernel looks at no other of these arguments.
	uint32_t arg = (uint32_t)(offsetof(struct seccomp_data, args) + 8ul * r->arg);
	unsigned n = r->check == ONE_OF ? r->n : 1;

	if (r->check == ANY) {
		put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 1);
		ALLOW(p);
		return;
	}
	put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, (uint8_t)(1 + 2 * n + 1));
	LOAD(p, arg);
	for (unsigned i = 0; i < n; i++) {
		if (r->check == WITHOUT)
			put(p, BPF_JMP | BPF_JSET | BPF_K, r->values[i], 1, 0);
		else
			put(p, BPF_JMP | BPF_JEQ | BPF_K,
				r->check == SELF ? (uint32_t)getpid() : r->values[i], 0, 1);
		ALLOW(p);
	}
	KILL(p);
}

int hv_sandbox_thread(enum hv_thread kind)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog = { .filter = p.code };
	int ret = hv_sandbox_rights();

	if (ret)
		return ret;
	LOAD(&p, offsetof(struct seccomp_data, arch));
	put(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	KILL(&p);
	LOAD(&p, offsetof(struct seccomp_data, nr)); // x32's have a bit that none of ours has
	for (size_t i = 0; i < lists[kind].n; i++)
		put_rule(&p, &lists[kind].rules[i]);
	KILL(&p);
	prog.len = (unsigned short)p.n;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return failed("seccomp", errno);
	return 0;
}
