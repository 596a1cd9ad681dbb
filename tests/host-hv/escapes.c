// SPDX-License-Identifier: Apache-2.0
#include "escapes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYCTL_GET_KEYRING_ID 0
#define IORING_PARAMS_SIZE 120

static int result(long ret)
{
	return ret < 0 ? errno : 0;
}

#define ESCAPE(name) static int name(const struct outside *o __attribute__((unused)))

ESCAPE(trace_another)
{
	return result(ptrace(PTRACE_SEIZE, o->victim, NULL, NULL));
}

ESCAPE(read_anothers_memory)
{
	char byte;
	struct iovec mine = { &byte, 1 }, theirs = { environ, 1 };

	// The same program, so what we have there it has, too.
	theirs.iov_base = (void *)(uintptr_t)escapes;
	return result(process_vm_readv(o->victim, &mine, 1, &theirs, 1, 0));
}

ESCAPE(open_proc_mem)
{
	return result(open("/proc/self/mem", O_RDWR));
}

ESCAPE(open_a_file)
{
	return result(open("/etc/passwd", O_RDONLY));
}

ESCAPE(open_above_the_root)
{
	return result(open("../../../../../../../../etc/passwd", O_RDONLY));
}

ESCAPE(open_kvm)
{
	return result(open("/dev/kvm", O_RDWR));
}

ESCAPE(make_a_file)
{
	return result(open("/tmp", O_TMPFILE | O_RDWR, 0600));
}

ESCAPE(make_a_device)
{
	int ret = result(mknod("/tmp/outboard-device", S_IFCHR | 0600, 0x103));

	unlink("/tmp/outboard-device");
	return ret;
}

ESCAPE(mount_something)
{
	return result(syscall(SYS_fsopen, "tmpfs", 0));
}

ESCAPE(change_root)
{
	return result(chroot("/"));
}

ESCAPE(enter_anothers_namespace)
{
	long fd = syscall(SYS_pidfd_open, o->victim, 0);

	return fd < 0 ? errno : result(setns((int)fd, CLONE_NEWUTS));
}

ESCAPE(new_namespace)
{
	return result(unshare(CLONE_NEWUSER));
}

ESCAPE(fork_a_process)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 ? errno : result(waitpid(pid, NULL, 0));
}

ESCAPE(run_a_program)
{
	char *argv[] = { (char[]){ "true" }, NULL };

	return result(execve("/bin/true", argv, argv + 1));
}

ESCAPE(run_a_program_from_memory)
{
	static const uint8_t elf[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
		0, 0x3e, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
		0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0,
		0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0,
		0, 0,
		// xor edi, edi; mov eax, SYS_exit; syscall
		0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05 };
	char *argv[] = { (char[]){ "x" }, NULL };
	int fd = memfd_create("x", MFD_CLOEXEC);

	if (fd < 0 || write(fd, elf, sizeof(elf)) != sizeof(elf))
		return errno;
	return result(syscall(SYS_execveat, fd, "", argv, argv + 1, AT_EMPTY_PATH));
}

ESCAPE(map_code)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0) == MAP_FAILED
		       ? errno
		       : 0;
}

ESCAPE(make_code_of_data)
{
	static _Alignas(4096) uint8_t page[4096];

	return result(mprotect(page, sizeof(page), PROT_READ | PROT_EXEC));
}

ESCAPE(reach_a_keyring)
{
	return result(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -4, 1)); // of the user
}

ESCAPE(load_bpf)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};

	return result(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a)));
}

ESCAPE(count_events)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_CPU_CLOCK
	};

	return result(syscall(SYS_perf_event_open, &a, -1, 0, -1, 0)); // of a whole CPU
}

ESCAPE(make_a_ring)
{
	uint8_t params[IORING_PARAMS_SIZE] = { 0 };

	return result(syscall(SYS_io_uring_setup, 1, params));
}

ESCAPE(open_by_handle)
{
	union {
		struct file_handle h;
		uint8_t room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .h.handle_bytes = MAX_HANDLE_SZ };
	int at = open("/", O_RDONLY), id;

	if (at < 0 || name_to_handle_at(at, "", &u.h, &id, AT_EMPTY_PATH) < 0)
		return errno;
	return result(open_by_handle_at(at, &u.h, O_RDONLY));
}

ESCAPE(take_anothers_descriptor)
{
	long fd = syscall(SYS_pidfd_open, o->victim, 0);

	return fd < 0 ? errno : result(syscall(SYS_pidfd_getfd, fd, 0, 0));
}

ESCAPE(signal_another)
{
	return result(kill(o->victim, SIGCONT));
}

ESCAPE(signal_anothers_thread)
{
	return result(syscall(SYS_tgkill, o->victim, o->victim, SIGCONT));
}

ESCAPE(signal_everybody)
{
	return kill(-1, 0) < 0 ? errno : 0;
}

ESCAPE(raw_socket)
{
	return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

ESCAPE(packet_socket)
{
	return result(socket(AF_PACKET, SOCK_RAW, 0));
}

ESCAPE(connect_to_tcp)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)o->tcp_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

ESCAPE(connect_to_abstract)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(o->abstract));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(a.sun_path, o->abstract, sizeof(o->abstract));
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, len));
}

ESCAPE(kernels_crypto)
{
	struct sockaddr_alg a = { .salg_family = AF_ALG, .salg_type = "hash", .salg_name = "md5" };
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	return fd < 0 ? errno : result(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

ESCAPE(netlink)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

ESCAPE(handle_faults)
{
	return result(syscall(SYS_userfaultfd, O_CLOEXEC));
}

ESCAPE(type_at_a_terminal)
{
	// On a descriptor that is no terminal: what matters is who answers.
	return ioctl(STDIN_FILENO, TIOCSTI, "x") < 0 && errno != ENOTTY && errno != EIO ? errno : 0;
}

ESCAPE(raise_a_limit)
{
	struct rlimit r = { RLIM_INFINITY, RLIM_INFINITY };

	return result(setrlimit(RLIMIT_CORE, &r));
}

ESCAPE(anothers_segment)
{
	return shmat(o->shm_id, NULL, SHM_RDONLY) == (void *)-1 ? errno : 0;
}

ESCAPE(be_traced)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

ESCAPE(be_another_user)
{
	// Root outside may, and nobody inside.
	return result(setresuid(1, 1, 1));
}

const struct escape escapes[] = {
	{ "ptrace", trace_another, false, true },
	{ "process_vm_readv", read_anothers_memory, false, false },
	{ "/proc/self/mem", open_proc_mem, false, false },
	{ "/etc/passwd", open_a_file, false, false },
	{ "above the root", open_above_the_root, false, false },
	{ "/dev/kvm", open_kvm, false, true },
	{ "a new file", make_a_file, false, false },
	{ "a new device", make_a_device, false, false },
	{ "mount", mount_something, false, false },
	{ "chroot", change_root, false, false },
	{ "setns", enter_anothers_namespace, false, false },
	{ "unshare", new_namespace, true, false },
	{ "fork", fork_a_process, true, false },
	{ "execve", run_a_program, false, false },
	{ "execveat of a memfd", run_a_program_from_memory, false, false },
	{ "mmap of code", map_code, true, false },
	{ "mprotect of code", make_code_of_data, true, false },
	{ "keyctl", reach_a_keyring, true, true },
	{ "bpf", load_bpf, false, true },
	{ "perf_event_open", count_events, false, true },
	{ "io_uring", make_a_ring, true, true },
	{ "open_by_handle_at", open_by_handle, false, true },
	{ "pidfd_getfd", take_anothers_descriptor, false, false },
	{ "kill", signal_another, false, false },
	{ "tgkill", signal_anothers_thread, false, false },
	{ "kill of all", signal_everybody, false, false },
	{ "raw socket", raw_socket, false, false },
	{ "packet socket", packet_socket, false, true },
	{ "TCP of loopback", connect_to_tcp, false, false },
	{ "abstract Unix socket", connect_to_abstract, false, false },
	{ "AF_ALG", kernels_crypto, true, true },
	{ "netlink", netlink, true, false },
	{ "userfaultfd", handle_faults, true, true },
	{ "TIOCSTI", type_at_a_terminal, true, false },
	{ "setrlimit", raise_a_limit, false, false },
	{ "shmat", anothers_segment, false, false },
	{ "dumpable", be_traced, true, false },
	{ "setresuid", be_another_user, false, false },
};
const unsigned n_escapes = sizeof(escapes) / sizeof(escapes[0]);
