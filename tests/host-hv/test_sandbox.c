// SPDX-License-Identifier: Apache-2.0
/*
 * The jail, from inside: this program starts itself again in it (--probe) and tries every system
 * call, every way out of escapes.c, and what a guest's threads need. As root, and as a user that
 * has no right.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "escapes.h"
#include "sandbox.h"
#include "test.h"

#define CALLS 1024
#define KILLED 200 // instead of a result: by SIGSYS
#define CALL_32 (-2) // read(2) of i386, whose number is that of close(2)
#define LOOK_MIB 64 // of a guest, to the one that looks around
#define MAP_RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

/* What a look around shows. */
struct look {
	uid_t uid;
	gid_t gid;
	int pid, groups, fds, files, above, seen, interfaces, variables, no_new_privs, dumpable,
		session;
	uint32_t caps, bounding;
	uint64_t core, nofile, fsize, msgqueue, as;
	bool writable, read_only, own_name;
};

/* ---- Inside ---- */

/* What became of a child: its exit status, KILLED, or 128 and the signal. */
static uint8_t reap(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 255;
	if (WIFEXITED(status))
		return (uint8_t)WEXITSTATUS(status);
	return WTERMSIG(status) == SIGSYS ? KILLED : (uint8_t)(128 + WTERMSIG(status));
}

/* By the call that its kind has; one that is without a filter has both. */
static void leave(int kind, int status)
{
	for (;;)
		syscall(kind == HV_THREAD_MAIN ? SYS_exit_group : SYS_exit, status);
}

/* Arguments that let an allowed call return, whatever it returns. */
static void call(long nr, pid_t self)
{
	switch (nr) {
	case SYS_ioctl:
		syscall(nr, -1, KVM_IRQ_LINE, 0);
		break;
	case SYS_socketpair:
		syscall(nr, AF_UNIX, -1, 0, NULL);
		break;
	case SYS_tgkill:
		syscall(nr, self, -1, 0);
		break;
	case SYS_madvise:
		syscall(nr, -1, 0, MADV_DONTNEED);
		break;
	default:
		syscall(nr, -1, 0, 0, 0, 0, 0);
	}
}

static void probe_calls(enum hv_thread kind)
{
	uint8_t what[CALLS];

	for (long nr = 0; nr < CALLS; nr++) {
		pid_t pid = fork();

		if (pid == 0) {
			pid_t self = getpid();

			if (hv_sandbox_thread(kind))
				leave(kind, 1);
			call(nr, self);
			leave(kind, 0);
		}
		what[nr] = reap(pid);
	}
	if (send(HV_JAIL_FD, what, sizeof(what), 0) < 0)
		_exit(1);
}

/* One byte for each escape: behind the filter of that kind, or without one. */
static void probe_escapes(int kind, const struct outside *o)
{
	uint8_t what[64] = { 0 };

	for (unsigned i = 0; i < n_escapes; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (kind < HV_THREADS ? hv_sandbox_thread((enum hv_thread)kind)
					      : hv_sandbox_rights())
				leave(kind, 255);
			leave(kind, escapes[i].run(o));
		}
		what[i] = reap(pid);
	}
	if (send(HV_JAIL_FD, what, sizeof(what), 0) < 0)
		_exit(1);
}

/* Calls that are allowed, with arguments that are not. */
static const struct argument {
	const char *name;
	enum hv_thread kind;
	long nr, a[4];
} arguments[] = {
	{ "ioctl: KVM_CREATE_VM", HV_THREAD_MAIN, SYS_ioctl, { -1, KVM_CREATE_VM } },
	{ "ioctl: KVM_CREATE_VCPU", HV_THREAD_VCPU, SYS_ioctl, { -1, KVM_CREATE_VCPU } },
	{ "ioctl: KVM_RUN by main", HV_THREAD_MAIN, SYS_ioctl, { -1, KVM_RUN } },
	{ "ioctl: KVM_SET_SREGS", HV_THREAD_VCPU, SYS_ioctl, { -1, (long)KVM_SET_SREGS } },
	{ "ioctl: memory by a vCPU", HV_THREAD_VCPU, SYS_ioctl,
		{ -1, (long)KVM_SET_USER_MEMORY_REGION } },
	{ "ioctl: TIOCSTI", HV_THREAD_VCPU, SYS_ioctl, { 0, TIOCSTI } },
	{ "ioctl: FIONBIO", HV_THREAD_MAIN, SYS_ioctl, { 0, FIONBIO } },
	{ "mmap: code", HV_THREAD_MAIN, SYS_mmap, { 0, 4096, MAP_RWX, 0x22 } },
	{ "socketpair: of IP", HV_THREAD_MAIN, SYS_socketpair, { AF_INET, SOCK_STREAM } },
	{ "tgkill: another", HV_THREAD_VCPU, SYS_tgkill, { 1 << 20, 1 } },
	{ "tgkill: another, by main", HV_THREAD_MAIN, SYS_tgkill, { 1 << 20, 1 } },
	{ "madvise: pages", HV_THREAD_VCPU, SYS_madvise, { 0, 0, MADV_HUGEPAGE } },
	{ "x32's read", HV_THREAD_MAIN, 0x40000000 | SYS_read, { -1 } },
	{ "a 32-bit call", HV_THREAD_MAIN, CALL_32, { -1 } },
	{ "a number below 0", HV_THREAD_MAIN, -1, { -1 } },
};

static void call_32(void)
{
	long ret = 3;

	__asm__ volatile("int $0x80" : "+a"(ret) : "b"(-1l) : "memory", "r8", "r9", "r10", "r11");
}

static void probe_arguments(void)
{
	uint8_t what[ARRAY_LEN(arguments)];

	for (unsigned i = 0; i < ARRAY_LEN(arguments); i++) {
		const struct argument *t = &arguments[i];
		pid_t pid = fork();

		if (pid == 0) {
			if (hv_sandbox_thread(t->kind))
				leave(t->kind, 255);
			if (t->nr == CALL_32)
				call_32();
			else
				syscall(t->nr, t->a[0], t->a[1], t->a[2], t->a[3], -1, 0);
			leave(t->kind, 0);
		}
		what[i] = reap(pid);
	}
	if (send(HV_JAIL_FD, what, sizeof(what), 0) < 0)
		_exit(1);
}

static uint64_t hard_limit(int what)
{
	struct rlimit r;

	getrlimit((__rlimit_resource_t)what, &r);
	return r.rlim_max;
}

static int entries_of(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void probe_look(bool own_name)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { 0 } };
	struct look l = { .uid = getuid(), .gid = getgid(), .pid = getpid() };
	struct if_nameindex *ifs;
	struct statvfs root;

	// Landlock would not let it, nor has a file system without inodes room for one
	l.read_only = statvfs("/", &root) == 0 && root.f_flag & ST_RDONLY;
	l.files = entries_of("/");
	l.above = entries_of("/.."); // a root over it, as pivot_root(2) leaves one
	if (hv_sandbox_rights())
		_exit(1);
	l.seen = entries_of("/");
	syscall(SYS_capget, &head, caps);
	l.caps = caps[0].permitted | caps[1].permitted | caps[0].effective | caps[0].inheritable;
	for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		l.bounding += (uint32_t)prctl(PR_CAPBSET_READ, i, 0, 0, 0);
	l.groups = getgroups(0, NULL);
	for (int i = 0; i < 1024; i++)
		l.fds += fcntl(i, F_GETFD) >= 0;
	l.writable = open("/new", O_CREAT | O_WRONLY, 0600) >= 0;
	ifs = if_nameindex();
	for (int i = 0; ifs && ifs[i].if_index; i++)
		l.interfaces++;
	for (char **e = environ; e && *e; e++)
		l.variables++;
	l.no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	l.dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	l.session = getsid(0);
	l.core = hard_limit(RLIMIT_CORE);
	l.nofile = hard_limit(RLIMIT_NOFILE);
	l.fsize = hard_limit(RLIMIT_FSIZE);
	l.msgqueue = hard_limit(RLIMIT_MSGQUEUE);
	l.as = hard_limit(RLIMIT_AS);
	l.own_name = own_name;
	if (send(HV_JAIL_FD, &l, sizeof(l), 0) < 0)
		_exit(1);
}

struct team {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned ready;
	bool go;
	pid_t tid[3];
	unsigned n;
};

static void on_kick(int sig)
{
	(void)sig;
}

static void *vcpu(void *arg)
{
	struct team *t = arg;

	pthread_mutex_lock(&t->lock);
	t->tid[t->n++] = (pid_t)syscall(SYS_gettid);
	while (!t->go)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
	if (hv_sandbox_thread(HV_THREAD_VCPU))
		_exit(1);
	pthread_mutex_lock(&t->lock);
	t->ready++;
	pthread_cond_broadcast(&t->changed);
	while (t->go)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/*
 * What a guest's threads do: wait for each other, take signals, end, are joined; main allocates
 * meanwhile. Then main ends the process, with its filter on.
 */
static void probe_threads(void)
{
	struct team t = { .ready = 0 };
	struct sigaction sa = { .sa_handler = on_kick };
	pthread_t id[3];
	char *big;

	mallopt(M_ARENA_MAX, 1);
	pthread_mutex_init(&t.lock, NULL);
	pthread_cond_init(&t.changed, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		if (pthread_create(&id[i], NULL, vcpu, &t))
			_exit(1);
	if (hv_sandbox_thread(HV_THREAD_MAIN))
		_exit(1);
	pthread_mutex_lock(&t.lock);
	t.go = true;
	pthread_cond_broadcast(&t.changed);
	while (t.ready < ARRAY_LEN(id))
		pthread_cond_wait(&t.changed, &t.lock);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		syscall(SYS_tgkill, 1, t.tid[i], SIGUSR1);
	t.go = false;
	pthread_cond_broadcast(&t.changed);
	pthread_mutex_unlock(&t.lock);
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		pthread_join(id[i], NULL);
	big = malloc(1 << 20);
	memset(big, 1, 1 << 20);
	free(big);
	_exit(42);
}

static int probe(char **argv)
{
	struct outside o = {
		.victim = atoi(argv[2]), .tcp_port = atoi(argv[3]), .shm_id = atoi(argv[4])
	};
	int kind = argv[1][0] - '0';
	bool look = argv[0][0] == 'l';
	// Root of this namespace may name no other's host.
	bool own_name = look && sethostname("jail", 4) == 0;

	snprintf(o.abstract + 1, sizeof(o.abstract) - 1, "%s", argv[5]);
	if (hv_sandbox_begin() || hv_sandbox_process(look ? LOOK_MIB : 0, 1))
		return 1;
	switch (argv[0][0]) {
	case 'c':
		probe_calls((enum hv_thread)kind);
		return 0;
	case 'e':
		probe_escapes(kind, &o);
		return 0;
	case 'a':
		probe_arguments();
		return 0;
	case 'l':
		probe_look(own_name);
		return 0;
	case 't':
		probe_threads();
		return 1;
	default:
		return 1;
	}
}

/* ---- Outside ---- */

static struct outside there;
static uid_t user; // that starts the jail; 0: root

static int exe(void)
{
	int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Start a probe as `user`, and what it says. Its wait status. */
static int ask(const char *what, int kind, void *out, size_t len)
{
	char number[4][16], name[32], letter[] = { what[0], 0 };
	char *argv[] = { (char[]){ "--probe" }, letter, number[0], number[1], number[2], number[3],
		name, NULL };
	int p[2], status, exe_fd = exe();
	pid_t starter;
	ssize_t n;

	snprintf(number[0], 16, "%d", kind);
	snprintf(number[1], 16, "%d", (int)there.victim);
	snprintf(number[2], 16, "%d", there.tcp_port);
	snprintf(number[3], 16, "%d", there.shm_id);
	snprintf(name, sizeof(name), "%s", there.abstract + 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p), 0);
	starter = fork();
	assert_true(starter >= 0);
	if (starter == 0) {
		pid_t pid;

		close(p[0]);
		if (!user && geteuid() == 0 && setgroups(2, (const gid_t[]){ 4, 1000 }))
			_exit(99);
		if (user && (setresgid(user, user, user) || setresuid(user, user, user) ||
				    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)))
			_exit(99);
		if (hv_sandbox_spawn(exe_fd, argv, p[1], &pid) || waitpid(pid, &status, 0) != pid)
			_exit(98);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
	}
	close(p[1]);
	n = recv(p[0], out, len, 0);
	assert_int_equal(waitpid(starter, &status, 0), starter);
	if (out)
		assert_int_equal(n, len);
	close(p[0]);
	close(exe_fd);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Exactly these, by number: what the filter has is not looked up there. */
static const long vcpu_calls[] = { SYS_ioctl, SYS_futex, SYS_write, SYS_preadv2, SYS_tgkill,
	SYS_rt_sigreturn, SYS_clock_gettime, SYS_rt_sigprocmask, SYS_madvise, SYS_exit };
static const long main_calls[] = { SYS_poll, SYS_recvmsg, SYS_sendmsg, SYS_read, SYS_write,
	SYS_futex, SYS_ioctl, SYS_tgkill, SYS_preadv2, SYS_mmap, SYS_munmap, SYS_brk, SYS_close,
	SYS_eventfd2, SYS_socketpair, SYS_epoll_create1, SYS_epoll_ctl, SYS_timerfd_create,
	SYS_timerfd_settime, SYS_getsockopt, SYS_getpeername, SYS_clock_gettime,
	SYS_restart_syscall, SYS_exit_group };

static void every_call(enum hv_thread kind, const long *allowed, unsigned n)
{
	uint8_t what[CALLS];

	assert_int_equal(ask("calls", (int)kind, what, sizeof(what)), 0);
	for (long nr = 0; nr < CALLS; nr++) {
		bool may = false;

		for (unsigned i = 0; i < n; i++)
			may |= allowed[i] == nr;
		// Those of the kernel's own probes, which it lets through any filter: anywhere
		// else they fail, or are SIGILL.
		if (nr == 335 || nr == 336)
			continue;
		if (may != (what[nr] != KILLED))
			fail_msg("system call %ld: %d, but it %s", nr, what[nr],
				may ? "is allowed" : "is not allowed");
	}
}

static void a_vcpu_may_make_ten_calls(void **state)
{
	(void)state;
	assert_true(ARRAY_LEN(vcpu_calls) <= 10);
	every_call(HV_THREAD_VCPU, vcpu_calls, ARRAY_LEN(vcpu_calls));
}

static void main_may_make_those_listed(void **state)
{
	(void)state;
	every_call(HV_THREAD_MAIN, main_calls, ARRAY_LEN(main_calls));
}

static void arguments_count(void **state)
{
	uint8_t what[ARRAY_LEN(arguments)];

	(void)state;
	assert_int_equal(ask("arguments", 0, what, sizeof(what)), 0);
	for (unsigned i = 0; i < ARRAY_LEN(arguments); i++)
		if (what[i] != KILLED &&
			// A kernel without such calls
			!(arguments[i].nr == CALL_32 && what[i] == 128 + SIGSEGV))
			fail_msg("%s: %d", arguments[i].name, what[i]);
}

static void nobody_escapes(void **state)
{
	uint8_t filtered[HV_THREADS][64], without[64];

	(void)state;
	assert_true(n_escapes >= 30 && n_escapes <= sizeof(without));
	for (int k = 0; k < HV_THREADS; k++)
		assert_int_equal(ask("escapes", k, filtered[k], sizeof(filtered[k])), 0);
	assert_int_equal(ask("escapes", HV_THREADS, without, sizeof(without)), 0);
	for (unsigned i = 0; i < n_escapes; i++) {
		pid_t pid = fork();
		uint8_t bare;

		if (pid == 0) {
			signal(SIGSYS, SIG_DFL);
			_exit(escapes[i].run(&there));
		}
		bare = reap(pid);
		printf("%-24s without a jail %d, without its filter %d, with it %d %d\n",
			escapes[i].name, bare, without[i], filtered[HV_THREAD_MAIN][i],
			filtered[HV_THREAD_VCPU][i]);
		// Where it works for anybody, it is the jail that is in its way.
		if (geteuid() == 0 && !escapes[i].may_lack && bare != 0)
			fail_msg("%s: does not work without a jail: %d", escapes[i].name, bare);
		if (!escapes[i].filter_only && without[i] == 0)
			fail_msg("%s: works without the filter", escapes[i].name);
		for (int k = 0; k < HV_THREADS; k++)
			if (filtered[k][i] != KILLED)
				fail_msg("%s: %d", escapes[i].name, filtered[k][i]);
	}
}

static void nothing_is_left_inside(void **state)
{
	struct look l;

	(void)state;
	assert_int_equal(ask("look", 0, &l, sizeof(l)), 0);
	// Somebody without rights outside is root inside, and cannot become anybody else.
	assert_int_equal(l.uid, user || geteuid() ? 0 : 65534);
	assert_int_equal(l.gid, user || geteuid() ? 0 : 65534);
	assert_int_equal(l.pid, 1);
	assert_true(user || geteuid() || l.groups == 0);
	assert_int_equal(l.fds, 4);
	assert_int_equal(l.files, 2); // "." and ".."
	assert_int_equal(l.above, 2);
	assert_true(l.read_only);
	// Landlock does not even let it look.
	assert_true(l.seen == 0 || syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 0);
	assert_false(l.writable);
	assert_int_equal(l.interfaces, 1);
	assert_int_equal(l.variables, 0);
	assert_int_equal(l.no_new_privs, 1);
	assert_int_equal(l.dumpable, 0);
	assert_int_equal(l.session, 1);
	assert_int_equal(l.caps, 0);
	assert_int_equal(l.bounding, 0);
	assert_int_equal(l.core, 0);
	assert_int_equal(l.fsize, 0);
	assert_true(l.nofile <= 4096);
	assert_int_equal(l.msgqueue, 0);
	assert_int_equal(l.as, (LOOK_MIB + 256ull + 96) << 20); // the guest's, ours, one thread's
	assert_true(l.own_name);
}

static void threads_do_what_they_must(void **state)
{
	(void)state;
	assert_int_equal(ask("threads", 0, NULL, 0), 42);
}

static void not_outside_of_namespaces(void **state)
{
	(void)state;
	assert_int_equal(hv_sandbox_process(0, 1), -EPERM);
	assert_int_equal(access("/proc/self/exe", R_OK), 0);
}

static int start_others(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(in);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(there.abstract + 1, sizeof(there.abstract) - 1, "outboard-jail-%d", getpid());
	memcpy(un.sun_path, there.abstract, sizeof(there.abstract));
	if (bind(tcp, (struct sockaddr *)&in, sizeof(in)) || listen(tcp, 64) ||
		getsockname(tcp, (struct sockaddr *)&in, &len) ||
		bind(abstract, (struct sockaddr *)&un,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				    sizeof(there.abstract))) ||
		listen(abstract, 64))
		return -1;
	there.tcp_port = ntohs(in.sin_port);
	there.shm_id = shmget(IPC_PRIVATE, 4096, 0666);
	there.victim = fork();
	if (there.victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return there.shm_id < 0 || there.victim < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vcpu_may_make_ten_calls),
		cmocka_unit_test(main_may_make_those_listed),
		cmocka_unit_test(arguments_count),
		cmocka_unit_test(nobody_escapes),
		cmocka_unit_test(nothing_is_left_inside),
		cmocka_unit_test(threads_do_what_they_must),
		cmocka_unit_test(not_outside_of_namespaces),
	};
	int failed;

	if (argc == 7)
		return probe(argv + 1);
	if (start_others())
		return 1;
	failed = cmocka_run_group_tests_name("as who runs this", tests, NULL, NULL);
	if (geteuid() == 0) {
		user = 1000;
		failed |= cmocka_run_group_tests_name("as a user", tests, NULL, NULL);
	}
	shmctl(there.shm_id, IPC_RMID, NULL);
	kill(there.victim, SIGKILL);
	return failed;
}
