// SPDX-License-Identifier: Apache-2.0
/* A guest on this machine's KVM: user-mode code at full speed, its ends, its pauses, its errors. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"
#include "image_bytes.h"
#include "layout.h"
#include "machine.h"
#include "pci.h"
#include "power.h"
#include "sandbox.h"
#include "test.h"
#include "vm.h"

#define PATIENCE_MS 10000
#define NOEXEC_SEAL 0x0008u // MFD_NOEXEC_SEAL
#define COUNTER 0x80000 // where a guest counts

/* What confine() of a machine did, which is told nothing. */
static _Atomic unsigned confined;
static int confine_says; // but to the first

static int confine(void)
{
	return atomic_fetch_add(&confined, 1) ? confine_says : 0;
}

struct seen {
	char out[64];
	unsigned n;
	enum hv_end why;
	unsigned ends;
	unsigned confined_then; // when it wrote
};

static void on_console(void *arg, const uint8_t *bytes, unsigned len)
{
	struct seen *s = arg;

	s->confined_then = atomic_load(&confined);
	for (unsigned i = 0; i < len && s->n < sizeof(s->out) - 1; i++)
		s->out[s->n++] = (char)bytes[i];
}

static void on_ended(void *arg, enum hv_end why)
{
	struct seen *s = arg;

	s->why = why;
	s->ends++;
}

static const struct hv_machine_events events = { .ended = on_ended, .console = on_console };

static struct hv_machine *make_vcpus(const void *code, size_t len, unsigned vcpus, struct seen *s)
{
	struct hv_conf conf = { .mem_mib = 4,
		.grow_mib = 1024,
		.vcpus = vcpus,
		.flat = true,
		.kernel_fd = image_file(code, len),
		.initrd_fd = -1,
		.confine = confine };
	struct hv_machine *m;

	*s = (struct seen){ 0 };
	memset(conf.pin, -1, sizeof(conf.pin));
	assert_int_equal(hv_machine_create(&conf, &events, s, &m), 0);
	close(conf.kernel_fd);
	return m;
}

static struct hv_machine *make(const void *code, size_t len, struct seen *s)
{
	return make_vcpus(code, len, 1, s);
}

/* Until something is told. */
static void dispatch(struct hv_machine *m)
{
	struct pollfd p = { .fd = hv_machine_fd(m), .events = POLLIN };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	hv_machine_turn(m);
}

/* mov eax, imm32 (moffs64 form writes it): A3 is "mov [moffs64], eax" in 64-bit code. */
#define MOV_EAX(v) 0xb8, (v)&0xff, (v) >> 8 & 0xff, (v) >> 16 & 0xff, (v) >> 24 & 0xff
#define STORE_EAX(lo, hi) 0xa3, lo, 0, hi, 0xe0, 0, 0, 0, 0 // at 0xe010_00xx and the like
#define LOAD_EAX(lo, hi) 0xa1, lo, 0, hi, 0xe0, 0, 0, 0, 0
#define STORE_AL(lo, hi) 0xa2, lo, 0, hi, 0xe0, 0, 0, 0, 0
#define EXIT_AL 0xe6, HV_PORT_EXIT
#define SPIN 0xeb, 0xfe

static const struct row {
	const char *name;
	uint8_t code[40];
	enum hv_end why;
	int exit_code;
	const char *console;
} rows[] = {
	{ "exit code reaches the host", { 0xb0, 42, EXIT_AL, SPIN }, HV_END_OFF, 42, "" },
	{ "console byte", { 0x66, 0xba, 0xf8, 0x03, 0xb0, 'h', 0xee, 0x31, 0xc0, EXIT_AL, SPIN },
		HV_END_OFF, 0, "h" },
	{ "unknown port reads all ones", { 0xe4, 0x77, EXIT_AL, SPIN }, HV_END_OFF, 255, "" },
	{ "KX-01 unknown address reads all ones", { LOAD_EAX(0, 0x20), EXIT_AL, SPIN }, HV_END_OFF,
		255, "" },
	{ "KX-04 undefined instruction: triple fault", { 0x0f, 0x0b }, HV_END_SHUTDOWN, 0, "" },
	{ "privileged instruction: likewise", { 0xf4 }, HV_END_SHUTDOWN, 0, "" },
	{ "KX-09 unknown MSR", { 0xb9, 0x23, 0x01, 0, 0, 0x0f, 0x32 }, HV_END_SHUTDOWN, 0, "" },
	{ "KX-04 reset by 0x64", { 0xb0, 0xfe, 0xe6, 0x64, SPIN }, HV_END_REBOOT, 0, "" },
	{ "KX-04 reset by 0xcf9", { 0x66, 0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, SPIN }, HV_END_REBOOT, 0,
		"" },
	{ "reset register", { 0xb0, 1, STORE_AL(0x18, 0x10), SPIN }, HV_END_REBOOT, 0, "" },
	{ "reset register, another value", { 0xb0, 2, STORE_AL(0x18, 0x10), EXIT_AL, SPIN },
		HV_END_OFF, 2, "" },
	{ "sleep S5", { 0xb0, 0x34, STORE_AL(0x10, 0x10), SPIN }, HV_END_OFF, 0, "" },
	{ "another sleep", { 0xb0, 0x24, STORE_AL(0x10, 0x10), EXIT_AL, SPIN }, HV_END_OFF, 0x24,
		"" },
};

static void runs(void **state)
{
	const struct row *r = *state;
	struct seen s;
	struct hv_machine *m = make(r->code, sizeof(r->code), &s);

	assert_int_equal(hv_machine_state(m), HV_CREATED);
	assert_int_equal(hv_machine_start(m), 0);
	dispatch(m);
	assert_int_equal(s.ends, 1);
	assert_int_equal(s.why, r->why);
	assert_int_equal(hv_machine_exit_code(m), r->exit_code);
	assert_string_equal(s.out, r->console);
	assert_int_equal(hv_machine_state(m), HV_ENDED);
	assert_int_equal(hv_machine_start(m), -EINVAL);
	hv_machine_destroy(m);
}

/* inc dword [COUNTER]; jmp back */
static const uint8_t counts[] = { 0xff, 0x04, 0x25, 0, 0, 8, 0, 0xeb, 0xf7 };

static uint32_t count(struct hv_machine *m)
{
	return *(volatile uint32_t *)(void *)hv_vm_at(hv_machine_vm(m), COUNTER, 4);
}

static void wait_for_count(struct hv_machine *m, uint32_t than)
{
	while (count(m) == than) // the test's time limit ends it
		continue;
}

/* KX-10, too: it goes on under any number of signals. */
static void pauses(void **state)
{
	struct seen s;
	struct hv_machine *m = make(counts, sizeof(counts), &s);
	uint32_t n;

	(void)state;
	assert_int_equal(hv_machine_pause(m), -EINVAL);
	assert_int_equal(hv_machine_start(m), 0);
	assert_int_equal(hv_machine_start(m), -EALREADY);
	for (unsigned i = 0; i < 200; i++) {
		wait_for_count(m, count(m));
		assert_int_equal(hv_machine_pause(m), 0);
		assert_int_equal(hv_machine_pause(m), -EALREADY);
		n = count(m);
		for (unsigned k = 0; k < 1000; k++)
			assert_int_equal(count(m), n);
		assert_int_equal(hv_machine_resume(m), 0);
	}
	assert_int_equal(hv_machine_resume(m), -EALREADY);
	wait_for_count(m, count(m));
	assert_int_equal(hv_machine_pause(m), 0);
	assert_int_equal(hv_machine_stop(m), 0); // a paused one
	n = count(m);
	assert_int_equal(hv_machine_stop(m), -EALREADY);
	dispatch(m);
	assert_int_equal(s.why, HV_END_STOPPED);
	assert_int_equal(s.ends, 1);
	assert_int_equal(count(m), n);
	assert_int_equal(hv_machine_power_button(m), -EINVAL);
	hv_machine_destroy(m);
}

static void stops_before_and_while_it_runs(void **state)
{
	struct seen s;
	struct hv_machine *m = make(counts, sizeof(counts), &s);

	(void)state;
	hv_machine_destroy(m); // never started
	m = make(counts, sizeof(counts), &s);
	assert_int_equal(hv_machine_start(m), 0);
	hv_machine_destroy(m); // running
	hv_machine_destroy(NULL);
}

/* Echoes what comes in, until a '.': poll LSR, read, write. */
static const uint8_t echoes[] = {
	0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
	0xec, 0xa8, 0x01, 0x74, 0xfb, // in al, dx; test al, 1; jz -5
	0x66, 0xba, 0xf8, 0x03, 0xec, // mov dx, 0x3f8; in al, dx
	0xee, 0x3c, '.', 0x75, 0xeb, // out dx, al; cmp al, '.'; jnz to the start
	0x31, 0xc0, EXIT_AL, SPIN, // exit with 0
};

static void takes_input(void **state)
{
	struct seen s;
	struct hv_machine *m = make(echoes, sizeof(echoes), &s);
	struct hv_machine_counters n;

	(void)state;
	assert_int_equal(hv_machine_start(m), 0);
	assert_int_equal(hv_machine_console_input(m, (const uint8_t *)"hello.", 6), 6);
	dispatch(m);
	assert_string_equal(s.out, "hello.");
	hv_machine_counters(m, &n);
	assert_true(n.exits >= 12);
	hv_machine_destroy(m);
}

/* Waits for an event, says that it panicked, and lets go of what is to go. */
static const uint8_t ejects[] = {
	LOAD_EAX(0x00, 0x10), 0x85, 0xc0, 0x74, 0xf3, // until HV_EV_SELECT is not 0
	0xb0, 1, 0x66, 0xba, 5, 5, 0xee, // mov al, 1; mov dx, 0x505; out: panicked
	LOAD_EAX(0x08, 0x10), STORE_EAX(0x0c, 0x10), // eject what is to go
	LOAD_EAX(0x04, 0x10), EXIT_AL, SPIN, // what came is the exit code
};

static void no_access(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned n)
{
	(void)f, (void)bar, (void)off, (void)data, (void)n;
}

static void no_write(
	struct hv_pci_func *f, unsigned bar, uint64_t off, const uint8_t *data, unsigned n)
{
	(void)f, (void)bar, (void)off, (void)data, (void)n;
}

static _Atomic int went;

static void on_went(struct hv_pci_func *f)
{
	(void)f;
	went++;
}

static void functions_come_and_go(void **state)
{
	const struct hv_pci_ops ops = { .read = no_access, .write = no_write, .ejected = on_went };
	const struct hv_pci_id id = { .vendor = 0x1af4, .device = 0x1042 };
	struct hv_pci_func f;
	struct seen s;
	struct hv_machine *m = make(ejects, sizeof(ejects), &s);
	struct hv_pci *pci = hv_machine_pci(m);
	int old = dup(STDERR_FILENO), log = memfd_create("log", MFD_CLOEXEC);
	char said[256] = "";

	(void)state;
	hv_pci_func_init(&f, &ops, &id);
	assert_int_equal(hv_pci_plug(pci, &f, 3, true), 0);
	assert_int_equal(hv_pci_unplug(pci, &f), 0);
	assert_int_equal(hv_machine_start(m), 0);
	assert_int_equal(dup2(log, STDERR_FILENO), STDERR_FILENO);
	while (!s.ends)
		dispatch(m);
	assert_int_equal(dup2(old, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(went, 1);
	assert_true(pread(log, said, sizeof(said) - 1, 0) > 0);
	assert_non_null(strstr(said, "guest: its kernel panicked times=1"));
	close(log);
	close(old);
	assert_int_equal(hv_machine_exit_code(m), 1 << 3);
	hv_machine_destroy(m);
}

/* Writes a BAR of slot 3 and lets it decode, reads a byte there, and ends with it. */
#define ECAM_AT(off) off, 0x80, 1, 0xe0, 0, 0, 0, 0
static const uint8_t moves[] = {
	MOV_EAX(0xc1000000), 0xa3, ECAM_AT(0x10), // mov [BAR 0], eax
	MOV_EAX(2), 0xa3, ECAM_AT(0x04), // mov [command], eax
	0xa0, 0, 0, 0, 0xc1, 0, 0, 0, 0, EXIT_AL, SPIN, // mov al, [0xc1000000]
};

static void five(struct hv_pci_func *f, unsigned bar, uint64_t off, uint8_t *data, unsigned n)
{
	(void)f, (void)bar, (void)off;
	memset(data, 5, n);
}

static int jail(void)
{
	return hv_sandbox_thread(HV_THREAD_VCPU);
}

/* What a guest has its vCPU do needs no call that the jail has not: no memory, first of all. */
static void a_bar_moves_in_the_jail(void **state)
{
	const struct hv_pci_ops ops = { .read = five, .write = no_write };
	const struct hv_pci_id id = { .vendor = 0x1af4, .device = 0x1042 };
	struct hv_conf conf = {
		.mem_mib = 4, .vcpus = 1, .flat = true, .initrd_fd = -1, .confine = jail
	};
	struct hv_pci_func f;
	struct seen s = { 0 };
	struct hv_machine *m;

	(void)state;
#ifdef HV_SANITIZED
	skip(); // a sanitizer's calls are beyond the jail
#endif
	conf.kernel_fd = image_file(moves, sizeof(moves));
	conf.split_irqchip = true; // and its I/O APIC is there
	memset(conf.pin, -1, sizeof(conf.pin));
	hv_pci_func_init(&f, &ops, &id);
	assert_int_equal(hv_pci_bar_add(&f, 0, 4096, false), 0);
	assert_int_equal(hv_machine_create(&conf, &events, &s, &m), 0);
	close(conf.kernel_fd);
	assert_int_equal(hv_pci_plug(hv_machine_pci(m), &f, 3, false), 0);
	assert_int_equal(hv_machine_start(m), 0);
	while (!s.ends)
		dispatch(m);
	assert_int_equal(s.why, HV_END_OFF);
	assert_int_equal(hv_machine_exit_code(m), 5);
	hv_machine_destroy(m);
}

static void bad_configurations(void **state)
{
	uint8_t kernel[BZ_LEN];
	struct hv_conf good = { .mem_mib = 64, .vcpus = 2, .initrd_fd = -1 }, c;
	struct hv_machine *m;
	struct seen s;

	(void)state;
	make_bzimage(kernel);
	good.kernel_fd = image_file(kernel, sizeof(kernel));
	memset(good.pin, -1, sizeof(good.pin));
	assert_int_equal(hv_machine_create(&good, &events, &s, &m), 0);
	hv_machine_destroy(m);

	c = good, c.vcpus = 0;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -EINVAL);
	c = good, c.vcpus = HV_VCPUS_MAX + 1;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -EINVAL);
	c = good, c.mem_mib = 0;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -EINVAL);
	c = good, c.cpu_template = 99;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -EINVAL);
	c = good, memset(c.cmdline, 'a', sizeof(c.cmdline));
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -EINVAL);
	c = good, c.initrd_fd = good.kernel_fd, c.mem_mib = 16; // pref_address is beyond
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), 0);
	hv_machine_destroy(m);
	c = good, c.mem_mib = 2;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -ENOEXEC);
	c = good, c.kernel_fd = -1;
	assert_int_equal(hv_machine_create(&c, &events, &s, &m), -ENOEXEC);
	close(good.kernel_fd);
}

static void memory_is_bounded_and_sealed(void **state)
{
	struct hv_vm vm;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 0, 0, false), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 4097, 0, false), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 3 << 20, 0, true), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 1 << 20, 0, false), 0);
	assert_int_equal(hv_vm_write(&vm, (1 << 20) - 1, "ab", 2), -EFAULT);
	assert_int_equal(hv_vm_write(&vm, UINT64_MAX, "a", 1), -EFAULT);
	assert_int_equal(hv_vm_write(&vm, (1 << 20) - 1, "a", 1), 0);
	assert_int_equal(ftruncate(vm.slots[0].fd, 4096), -1);
	assert_int_equal(hv_vm_add_memory(&vm, HV_MEM_UNIT), -ENOSPC); // nothing is spare
	hv_vm_fini(&vm);
}

/* Slot by slot above the hole, of what was made with the VM, and no more than that. */
static void memory_is_added(void **state)
{
	const uint64_t unit = HV_MEM_UNIT, room = HV_SLOTS_MAX * unit + 4096;
	char byte = 0;
	struct hv_vm vm;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 1 << 20, 1ull << 41, false), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 1 << 20, 100, false), -EINVAL);
	assert_int_equal(hv_vm_init(&vm, 1 << 20, room, false), 0);
	assert_int_equal(vm.n_slots, 1);
	assert_int_equal(hv_vm_add_memory(&vm, 0), -EINVAL);
	assert_int_equal(hv_vm_add_memory(&vm, unit + 4096), -EINVAL);
	assert_int_equal(hv_vm_add_memory(&vm, room - 4096 + unit), -ENOSPC);
	assert_null(hv_vm_at(&vm, HV_HIGH_BASE, 1));
	for (unsigned i = 1; i < HV_SLOTS_MAX; i++) {
		const struct hv_slot *s = &vm.slots[i];

		assert_int_equal(hv_vm_add_memory(&vm, unit), 0);
		assert_int_equal(s->gpa, HV_HIGH_BASE + (i - 1) * unit);
		// what is written there is in the file, where the card is told that it is
		assert_int_equal(hv_vm_write(&vm, s->gpa + unit - 1, &"abcdefgh"[i], 1), 0);
		assert_int_equal(pread(s->fd, &byte, 1, (off_t)(s->off + unit - 1)), 1);
		assert_int_equal(byte, 'a' + (int)i);
		assert_null(hv_vm_at(&vm, s->gpa + unit, 1));
	}
	assert_int_equal(hv_vm_add_memory(&vm, unit), -ENOSPC);
	assert_int_equal(vm.n_slots, HV_SLOTS_MAX);
	hv_vm_fini(&vm);

	// it begins at a whole block, and KVM's refusal changes nothing
	assert_int_equal(hv_vm_init(&vm, (3ull << 30) + 4096, 2 * unit, false), 0);
	assert_int_equal(hv_vm_add_memory(&vm, unit), 0);
	assert_int_equal(vm.slots[2].gpa, HV_HIGH_BASE + unit);
	vm.spare.gpa++;
	assert_int_equal(hv_vm_add_memory(&vm, unit), -EINVAL);
	vm.spare.gpa--;
	assert_int_equal(vm.n_slots, 3);
	assert_int_equal(hv_vm_add_memory(&vm, unit), 0);
	hv_vm_fini(&vm);

	// Linux whose memory ends at 64 GiB or beyond, by the hole, has larger blocks
	assert_int_equal(hv_vm_init(&vm, (63ull << 30) - 4096, unit, false), 0);
	assert_int_equal(hv_vm_add_memory(&vm, unit), 0);
	assert_int_equal(vm.slots[2].gpa, 64ull << 30);
	hv_vm_fini(&vm);
	assert_int_equal(hv_vm_init(&vm, (63ull << 30) + 4096, 4ull << 30, false), 0);
	assert_int_equal(hv_vm_add_memory(&vm, unit), -EINVAL);
	assert_int_equal(hv_vm_add_memory(&vm, 2ull << 30), 0);
	assert_int_equal(vm.slots[2].gpa, 66ull << 30);
	hv_vm_fini(&vm);
	assert_int_equal(hv_vm_init(&vm, 63ull << 30, 4ull << 30, false), 0);
	assert_int_equal(hv_vm_add_memory(&vm, unit), -EINVAL);
	hv_vm_fini(&vm);
}

/* Waits for the event, and ends with how long what was added is. */
static const uint8_t reads_memory[] = { LOAD_EAX(HV_EV_SELECT, 0x10), 0xa8, HV_EV_MEMORY, 0x74,
	0xf3, LOAD_EAX(HV_EV_MEM_UP, 0x10), 0xa8, 1, 0x74, 0xfe, LOAD_EAX(HV_EV_MEM + 4, 0x10),
	EXIT_AL, SPIN };

static void a_guest_is_told_of_memory(void **state)
{
	struct hv_machine *m;
	struct seen s;

	(void)state;
	m = make(reads_memory, sizeof(reads_memory), &s);
	assert_int_equal(hv_machine_start(m), 0);
	assert_int_equal(hv_machine_add_memory(m, 100), -EINVAL);
	assert_int_equal(hv_machine_add_memory(m, 2048), -ENOSPC);
	assert_int_equal(hv_machine_add_memory(m, 384), 0);
	while (!s.ends)
		dispatch(m);
	assert_int_equal(hv_machine_exit_code(m), 3);
	assert_int_equal(hv_vm_at(hv_machine_vm(m), HV_HIGH_BASE, 384 << 20) != NULL, 1);
	hv_machine_destroy(m);
}

/* memfd_create(2) as Linux before 6.3 has it, for this process. */
static int old_memfd(void)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_memfd_create },
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args[1]) },
		{ BPF_JMP | BPF_JSET | BPF_K, 0, 1, NOEXEC_SEAL },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EINVAL },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	const struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Nobody who is handed the memory can run it as a program. */
static void memory_is_no_program(void **state)
{
	struct hv_vm vm;
	struct stat st;
	int fd = memfd_create("probe", MFD_CLOEXEC | NOEXEC_SEAL), status;
	pid_t pid;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 1 << 20, 0, false), 0);
	assert_int_equal(fstat(vm.slots[0].fd, &st), 0);
	if (fd >= 0) {
		assert_int_equal(st.st_mode & 0111, 0);
		assert_int_equal(fchmod(vm.slots[0].fd, 0700), -1);
		close(fd);
	}
	hv_vm_fini(&vm);
	pid = fork();
	if (pid == 0)
		_exit(old_memfd() ? 1 : hv_vm_init(&vm, 1 << 20, 0, false) ? 2 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Counts in three pages. */
static const uint8_t spreads[] = { 0xff, 0x04, 0x25, 0, 0, 8, 0, 0xff, 0x04, 0x25, 0, 0x20, 8, 0,
	0xff, 0x04, 0x25, 0xfc, 0x5f, 8, 0, 0xeb, 0xe9 };

static void writes_are_logged(void **state)
{
	struct seen s;
	struct hv_machine *m = make(spreads, sizeof(spreads), &s);
	struct hv_vm *vm = hv_machine_vm(m);
	uint64_t bits[16], page = COUNTER / 4096;

	(void)state;
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 16), -ENOENT);
	assert_int_equal(hv_vm_dirty_start(vm), 0);
	assert_int_equal(hv_vm_dirty_fetch(vm, 1, bits, 16), -EINVAL);
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 15), -EINVAL);
	assert_int_equal(hv_machine_start(m), 0);
	wait_for_count(m, count(m));
	// What the CPU notes in page tables, it noted by now
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 16), 0);
	for (unsigned i = 0; i < 3; i++)
		wait_for_count(m, count(m));
	assert_int_equal(hv_machine_pause(m), 0);
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 16), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(
			bits[i], i == page / 64 ? (1ull | 1ull << 2 | 1ull << 5) << page % 64 : 0);
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 16), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(bits[i], 0);
	hv_vm_dirty_stop(vm);
	assert_int_equal(hv_vm_dirty_fetch(vm, 0, bits, 16), -ENOENT);
	assert_int_equal(hv_machine_resume(m), 0);
	wait_for_count(m, count(m)); // and it goes on as before
	hv_machine_destroy(m);
}

static void memory_has_a_hole(void **state)
{
	struct hv_vm vm;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, 4ull << 30, 0, false), 0);
	assert_int_equal(vm.n_slots, 2);
	assert_non_null(hv_vm_at(&vm, 0xbfffffff, 1));
	assert_null(hv_vm_at(&vm, 0xbfffffff, 2));
	assert_null(hv_vm_at(&vm, 0xc0000000, 1));
	assert_null(hv_vm_at(&vm, 0xffffffff, 1));
	assert_non_null(hv_vm_at(&vm, 0x100000000, 1ull << 30));
	assert_null(hv_vm_at(&vm, 0x100000000, (1ull << 30) + 1));
	assert_true(vm.slots[0].fd != vm.slots[1].fd);
	hv_vm_fini(&vm);
}

/* Whether the kernel was advised to use huge pages at `at`; true where it has none. */
static bool wants_huge(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], *end;
	bool here = false, huge = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		uintptr_t from = strtoul(line, &end, 16);

		if (*end == '-')
			here = from == (uintptr_t)at;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			huge = strstr(line, " hg") != NULL;
	}
	fclose(f);
	return huge || access("/sys/kernel/mm/transparent_hugepage", F_OK) < 0;
}

/* What an exit by each small page would cost a boot is in docs/hypervisor.md. */
static void memory_may_be_huge(void **state)
{
	struct hv_vm vm;

	(void)state;
	assert_int_equal(hv_vm_init(&vm, (4ull << 30) + 4096, 0, false), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(((uintptr_t)vm.slots[i].host - vm.slots[i].gpa) % (2 << 20), 0);
		assert_true(wants_huge(vm.slots[i].host));
	}
	hv_vm_fini(&vm);
}

/* No CPU runs before all are confined, and none if one could not be. */
static void confined_before_it_runs(void **state)
{
	static const uint8_t code[] = { 0x66, 0xba, 0xf8, 0x03, 0xb0, 'h', 0xee, EXIT_AL, SPIN };
	struct hv_machine *m;
	struct seen s;

	(void)state;
	for (int bad = 0; bad < 2; bad++) {
		atomic_store(&confined, 0);
		confine_says = bad ? -EPERM : 0;
		m = make_vcpus(code, sizeof(code), 3, &s);
		assert_int_equal(atomic_load(&confined), 0);
		assert_int_equal(hv_machine_start(m), bad ? -EPERM : 0);
		while (!s.ends)
			dispatch(m);
		assert_int_equal(s.confined_then, bad ? 0 : 3);
		assert_int_equal(s.why, bad ? HV_END_ERROR : HV_END_OFF);
		assert_string_equal(s.out, bad ? "" : "h");
		hv_machine_destroy(m);
	}
	confine_says = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(confined_before_it_runs),
		cmocka_unit_test(memory_is_bounded_and_sealed),
		cmocka_unit_test(memory_is_added),
		cmocka_unit_test(a_guest_is_told_of_memory),
		cmocka_unit_test(memory_is_no_program),
		cmocka_unit_test(writes_are_logged),
		cmocka_unit_test(memory_has_a_hole),
		cmocka_unit_test(memory_may_be_huge),
		cmocka_unit_test(pauses),
		cmocka_unit_test(stops_before_and_while_it_runs),
		cmocka_unit_test(takes_input),
		cmocka_unit_test(functions_come_and_go),
		cmocka_unit_test(a_bar_moves_in_the_jail),
		cmocka_unit_test(bad_configurations),
	};
	int failed = 0;

	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("skipped: /dev/kvm cannot be opened here\n");
		return 77;
	}
	failed += cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(rows, runs, failed);
	return failed;
}
