// SPDX-License-Identifier: Apache-2.0
/*
 * Runs the test guest over functions of a real card: one thread for the vCPU, the main one for the
 * functions' connections, as host-hv has them.
 * Usage: hv_device GUEST [--packed] [--restart] [--requests N] {--blk SOCKET | --net SOCKET}...
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest/guest.h"
#include "irq.h"
#include "virtio_pci.h"

#define FUNCTIONS 4
#define MOVED 16 // exits of doorbells that are on their way to another card
#define PAGE_TABLES 0x1000

struct run {
	struct hv_vm vm;
	struct hv_bus bus;
	struct hv_pci pci;
	struct hv_virtio *fn[FUNCTIONS];
	const char *path[FUNCTIONS]; // of their cards
	unsigned n, ready;
	int vcpu_fd, end_fd;
	struct kvm_run *kvm;

	_Atomic uint64_t exits;
	uint64_t at_begin, in_phase, in_restart; // the vCPU's thread
	_Atomic int code; // -1: runs
	atomic_bool restart;
};

static struct guest_params *params(const struct run *r)
{
	void *at = hv_vm_at(&r->vm, GUEST_PARAMS, sizeof(struct guest_params));

	return at;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "hv_device: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static void need(const char *what, int ret)
{
	if (ret < 0)
		die(what, ret);
}

static int call(const char *what, int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0)
		die(what, errno);
	return ret;
}

/* ---- the vCPU ---- */

static void mark(struct run *r, uint8_t what)
{
	uint64_t exits = atomic_load(&r->exits);

	// The exit of this mark is counted already; that of the end is not one of the phase
	if (what == MARK_BEGIN || what == MARK_RESTART)
		r->at_begin = exits;
	if (what == MARK_END)
		r->in_phase = exits - r->at_begin - 1;
	if (what == MARK_RESTARTED)
		r->in_restart = exits - r->at_begin - 1;
	if (what == MARK_RESTART)
		atomic_store(&r->restart, true);
}

static int port(struct run *r)
{
	uint8_t *data = (uint8_t *)r->kvm + r->kvm->io.data_offset;

	if (r->kvm->io.direction == KVM_EXIT_IO_IN)
		hv_bus_read(&r->bus, HV_BUS_PORT, r->kvm->io.port, data, r->kvm->io.size);
	else if (r->kvm->io.port == GUEST_PORT_EXIT)
		return data[0];
	else if (r->kvm->io.port == GUEST_PORT_MARK)
		mark(r, data[0]);
	return -1;
}

static void *vcpu_thread(void *arg)
{
	struct run *r = arg;
	int code = -1;

	while (code < 0) {
		if (ioctl(r->vcpu_fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				continue;
			die("KVM_RUN", errno);
		}
		atomic_fetch_add(&r->exits, 1);
		if (r->kvm->exit_reason == KVM_EXIT_IO) {
			code = port(r);
		} else if (r->kvm->exit_reason != KVM_EXIT_MMIO) {
			fprintf(stderr, "hv_device: exit %u\n", r->kvm->exit_reason);
			code = 2;
		} else if (r->kvm->mmio.is_write) {
			hv_bus_write(&r->bus, HV_BUS_MMIO, r->kvm->mmio.phys_addr,
				r->kvm->mmio.data, r->kvm->mmio.len);
		} else {
			hv_bus_read(&r->bus, HV_BUS_MMIO, r->kvm->mmio.phys_addr, r->kvm->mmio.data,
				r->kvm->mmio.len);
		}
	}
	atomic_store(&r->code, code);
	(void)eventfd_write(r->end_fd, 1);
	return NULL;
}

/* The first 4 GiB one to one, for user mode. */
static void page_tables(struct hv_vm *vm)
{
	uint64_t t[512] = { (PAGE_TABLES + 0x1000) | 7 };

	need("memory", hv_vm_write(vm, PAGE_TABLES, t, sizeof(t)));
	memset(t, 0, sizeof(t));
	for (uint64_t i = 0; i < 4; i++)
		t[i] = (PAGE_TABLES + 0x2000 + i * 0x1000) | 7;
	need("memory", hv_vm_write(vm, PAGE_TABLES + 0x1000, t, sizeof(t)));
	for (uint64_t g = 0; g < 4; g++) {
		for (uint64_t i = 0; i < 512; i++)
			t[i] = g << 30 | i << 21 | 0x87;
		need("memory", hv_vm_write(vm, PAGE_TABLES + 0x2000 + g * 0x1000, t, sizeof(t)));
	}
}

static void vcpu_make(struct run *r)
{
	struct kvm_segment code = { .limit = ~0u,
		.selector = 0x33,
		.type = 11,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.l = 1,
		.g = 1 };
	struct kvm_segment data = { .limit = ~0u,
		.selector = 0x2b,
		.type = 3,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.db = 1,
		.g = 1 };
	// Interrupts are off: they stay where the guest looks for them
	struct kvm_regs regs = { .rip = GUEST_ENTRY, .rsp = 0x7ff8, .rflags = 0x3002 };
	struct kvm_sregs s;
	int size;

	r->vcpu_fd = ioctl(r->vm.vm_fd, KVM_CREATE_VCPU, 0);
	if (r->vcpu_fd < 0)
		die("KVM_CREATE_VCPU", errno);
	size = call("size", r->vm.kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	r->kvm = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, r->vcpu_fd, 0);
	if (r->kvm == MAP_FAILED)
		die("mmap", errno);
	page_tables(&r->vm);
	call("sregs", r->vcpu_fd, KVM_GET_SREGS, &s);
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x80010021;
	s.cr3 = PAGE_TABLES;
	s.cr4 = 0x620;
	s.efer = 0x500;
	call("sregs", r->vcpu_fd, KVM_SET_SREGS, &s);
	call("regs", r->vcpu_fd, KVM_SET_REGS, &regs);
}

static void load(struct run *r, const char *path)
{
	uint8_t image[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, image, sizeof(image));

	if (n <= 0)
		die(path, errno);
	close(fd);
	need("image", hv_vm_write(&r->vm, GUEST_ENTRY, image, (size_t)n));
}

/* ---- the main thread ---- */

static void on_ready(void *arg, int err)
{
	struct run *r = arg;

	need("function", err);
	r->ready++;
}

static void on_lost(void *arg)
{
	(void)arg; // seek_cards() sees it
}

static const struct hv_virtio_events events = { .ready = on_ready, .lost = on_lost };

/* Those that are there; for the others it is tried again in the next turn. */
static void seek_cards(struct run *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		int fd;

		if (r->fn[i]->vhost.fd >= 0)
			continue;
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		snprintf(a.sun_path, sizeof(a.sun_path), "%s", r->path[i]);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			need("reconnect", hv_vhost_reconnect(&r->fn[i]->vhost, fd));
		else
			close(fd);
	}
}

/* Every function has had a second connection, and the card knows all again. */
static bool back_again(struct run *r)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->fn[i]->vhost.counters.connects < 2 || !hv_vhost_settled(&r->fn[i]->vhost))
			return false;
	return true;
}

static void turn(struct run *r)
{
	struct pollfd p[FUNCTIONS + 1] = { { .fd = r->end_fd, .events = POLLIN } };

	seek_cards(r);
	for (unsigned i = 0; i < r->n; i++)
		p[i + 1] = (struct pollfd){ r->fn[i]->vhost.epoll_fd, POLLIN, 0 };
	if (poll(p, r->n + 1, 100) < 0 && errno != EINTR)
		die("poll", errno);
	for (unsigned i = 0; i < r->n; i++)
		if (p[i + 1].revents)
			hv_vhost_run(&r->fn[i]->vhost);
	if (atomic_exchange(&r->restart, false)) {
		printf("restart\n");
		fflush(stdout);
	}
	if (params(r)->restart && !params(r)->restarted && back_again(r))
		params(r)->restarted = 1;
}

static void add(struct run *r, enum hv_kind kind, const char *path)
{
	if (r->n == FUNCTIONS)
		die("functions", E2BIG);
	need(path, hv_virtio_create(&r->vm, kind, &events, r, &r->fn[r->n]));
	r->path[r->n] = path;
	r->n++;
}

static void options(struct run *r, int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--packed"))
			params(r)->packed = 1;
		else if (!strcmp(argv[i], "--restart"))
			params(r)->restart = 1;
		else if (!strcmp(argv[i], "--requests"))
			params(r)->requests = (uint32_t)strtoul(value, NULL, 10), i++;
		else if (!strcmp(argv[i], "--blk"))
			add(r, HV_KIND_BLK, value), i++;
		else if (!strcmp(argv[i], "--net"))
			add(r, HV_KIND_NET, value), i++;
		else
			die(argv[i], EINVAL);
	}
}

static int report(struct run *r)
{
	const struct guest_params *p = params(r);
	int code = atomic_load(&r->code);

	printf("guest: code=%d line=%u value=%#llx blk=%llu net=%llu resent=%llu\n", code, p->line,
		(unsigned long long)p->value, (unsigned long long)p->done_blk,
		(unsigned long long)p->done_net, (unsigned long long)p->resent);
	printf("exits: all=%llu phase=%llu restart=%llu missed=%llu\n",
		(unsigned long long)atomic_load(&r->exits), (unsigned long long)r->in_phase,
		(unsigned long long)r->in_restart, (unsigned long long)r->bus.missed);
	for (unsigned i = 0; i < r->n; i++) {
		const struct hv_vhost_counters *c = &r->fn[i]->vhost.counters;

		printf("function %u: connects=%llu drops=%llu timeouts=%llu nonsense=%llu "
		       "refusals=%llu unfit=%llu\n",
			i, (unsigned long long)c->connects, (unsigned long long)c->drops,
			(unsigned long long)c->timeouts, (unsigned long long)c->nonsense,
			(unsigned long long)c->refusals, (unsigned long long)c->unfit);
	}
	// A doorbell that is rung while it moves to the next card's descriptor leaves KVM
	return code == 0 && r->in_phase == 0 && r->in_restart <= MOVED && r->bus.missed == 0 ? 0
											     : 1;
}

int main(int argc, char **argv)
{
	static struct run r = { .code = -1 };
	pthread_t thread;
	int ret;

	if (argc < 3)
		die("usage", EINVAL);
	if (access("/dev/kvm", R_OK | W_OK))
		return 77;
	alarm(240); // far more than it takes
	r.end_fd = eventfd(0, EFD_CLOEXEC);
	need("vm", hv_vm_init(&r.vm, GUEST_MEM, 0, false));
	need("irqchip", hv_irq_init(&r.vm, false));
	hv_bus_init(&r.bus);
	need("pci", hv_pci_init(&r.pci, &r.bus, NULL));
	load(&r, argv[1]);
	params(&r)->requests = 1000;
	options(&r, argc, argv);
	params(&r)->functions = r.n;
	vcpu_make(&r);
	while (r.ready < r.n)
		turn(&r);
	for (unsigned i = 0; i < r.n; i++)
		need("plug", hv_pci_plug(&r.pci, &r.fn[i]->func, i + 1, false));
	ret = pthread_create(&thread, NULL, vcpu_thread, &r);
	if (ret)
		die("thread", ret);
	while (atomic_load(&r.code) < 0)
		turn(&r);
	pthread_join(thread, NULL);
	ret = report(&r);
	hv_pci_fini(&r.pci);
	for (unsigned i = 0; i < r.n; i++)
		hv_virtio_destroy(r.fn[i]);
	hv_bus_fini(&r.bus);
	munmap(r.kvm, 4096);
	close(r.vcpu_fd);
	close(r.end_fd);
	hv_vm_fini(&r.vm);
	return ret;
}
