// SPDX-License-Identifier: Apache-2.0
/* One guest: memory, CPUs, console, power, made in order and taken down backwards. */
#include "machine.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "arch.h"
#include "bus.h"
#include "dpu_log.h"
#include "fds.h"
#include "functions.h"
#include "irq.h"
#include "layout.h"
#include "pci.h"
#include "power.h"
#include "serial.h"
#include "vcpu.h"

static_assert(HV_EV_MEMS >= HV_SLOTS_MAX - 1, "a number for each slot that can be added");

struct hv_machine {
	/* Fixed once hv_machine_create() returns. */
	const struct hv_machine_events *ev; // borrowed: outlives the machine
	void *arg;
	struct hv_vm vm;
	struct hv_bus bus;
	struct hv_serial serial;
	struct hv_power power;
	struct hv_pci pci;
	struct hv_vcpu *vcpus; // owned; n_vcpus
	unsigned n_vcpus;
	int event_fd, epoll_fd; // owned

	/* Main thread. */
	struct hv_functions functions;
	bool told; // of the end
	unsigned n_shown; // slots of memory that the guest knows of
	bool held; // it runs as soon as its first functions are there

	/* Any thread. */
	_Atomic int state; // enum hv_state
	_Atomic int end; // enum hv_end: the first reason counts
	_Atomic int exit_code;
	_Atomic unsigned panics; // that the guest's kernel told of, and we did not
};

static void wake_main(struct hv_machine *m)
{
	// It fails only when it is about to wake up anyway.
	(void)eventfd_write(m->event_fd, 1);
}

static void each_vcpu(struct hv_machine *m, void (*what)(struct hv_vcpu *vcpu))
{
	for (unsigned i = 0; i < m->n_vcpus; i++)
		what(&m->vcpus[i]);
}

/* The first reason stands; all vCPUs leave the guest. Any thread. */
static void end_machine(struct hv_machine *m, enum hv_end why)
{
	int none = HV_END_NONE;

	if (!atomic_compare_exchange_strong(&m->end, &none, (int)why))
		return;
	atomic_store(&m->state, HV_ENDED);
	each_vcpu(m, hv_vcpu_end);
	wake_main(m);
}

static void on_vcpu_end(void *arg, struct hv_vcpu *vcpu, enum hv_vcpu_end why)
{
	struct hv_machine *m = arg;

	if (why == HV_VCPU_SHUTDOWN) {
		end_machine(m, HV_END_SHUTDOWN);
	} else if (why == HV_VCPU_ERROR) {
		dpu_err("vcpu: KVM cannot go on", "vcpu=%u reason=%u errno=%d", vcpu->id,
			vcpu->reason, vcpu->err); // no strerror(3), which may allocate
		end_machine(m, HV_END_ERROR);
	}
}

static void on_serial_out(void *arg, uint8_t byte)
{
	struct hv_machine *m = arg;

	m->ev->console(m->arg, &byte, 1);
}

/* Of the console, or of what is in power.c. */
static void on_line(void *arg, unsigned gsi, bool level)
{
	struct hv_machine *m = arg;

	hv_irq_line(&m->vm, gsi, level);
}

static void on_serial_room(void *arg)
{
	struct hv_machine *m = arg;

	wake_main(m); // it may have input that was refused
}

static void on_power(void *arg, enum hv_power_event what)
{
	struct hv_machine *m = arg;

	if (what == HV_POWER_PANIC) {
		atomic_fetch_add(&m->panics, 1);
		wake_main(m);
	} else {
		end_machine(m, what == HV_POWER_OFF ? HV_END_OFF : HV_END_REBOOT);
	}
}

static void on_ejected(void *arg, unsigned slot)
{
	struct hv_machine *m = arg;

	(void)hv_pci_eject(&m->pci, slot); // what is not there cannot go
}

static void exit_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_machine *m = arg;

	(void)off;
	(void)len;
	atomic_store(&m->exit_code, data[0]);
	end_machine(m, HV_END_OFF);
}

static const struct hv_serial_ops serial_ops = { on_serial_out, on_line, on_serial_room };
static const struct hv_power_ops power_ops = { on_power, on_line, on_ejected };
static const struct hv_bus_ops exit_ops = { NULL, exit_write };

/* The vCPUs, with what they see of the CPU. */
static int make_vcpus(struct hv_machine *m, const struct hv_conf *conf)
{
	m->vcpus = calloc(conf->vcpus, sizeof(*m->vcpus));
	if (!m->vcpus)
		return -ENOMEM;
	while (m->n_vcpus < conf->vcpus) {
		struct hv_vcpu *vcpu = &m->vcpus[m->n_vcpus];
		int ret = hv_vcpu_init(vcpu, &m->vm, m->n_vcpus, &m->bus);

		if (ret)
			return ret;
		vcpu->pin = conf->pin[m->n_vcpus];
		vcpu->confine = conf->confine;
		vcpu->ended = on_vcpu_end;
		vcpu->arg = m;
		m->n_vcpus++;
	}
	return hv_arch_vcpus(&m->vm, m->vcpus, m->n_vcpus, conf->cpu_template);
}

static int load(struct hv_machine *m, const struct hv_conf *conf, const char **why)
{
	struct hv_file kernel, initrd = { .len = 0 };
	int ret = hv_image_open(conf->kernel_fd, &kernel, why);

	if (ret == 0 && conf->initrd_fd >= 0)
		ret = hv_image_open(conf->initrd_fd, &initrd, why);
	return ret ? ret : hv_arch_boot(&m->vm, &m->vcpus[0], conf, &kernel, &initrd, why);
}

static int make_devices(struct hv_machine *m, const struct hv_conf *conf)
{
	int ret = hv_bus_add(
		&m->bus, HV_CONSOLE_KIND, HV_CONSOLE_BASE, 8, &hv_serial_bus, &m->serial);

	if (ret == 0 && conf->split_irqchip)
		ret = hv_bus_add(
			&m->bus, HV_BUS_MMIO, HV_IOAPIC, HV_IOAPIC_LEN, &hv_irq_apic, &m->vm);
	if (ret == 0 && conf->flat)
		ret = hv_bus_add(&m->bus, HV_BUS_PORT, HV_PORT_EXIT, 1, &exit_ops, m);
	return ret;
}

static bool good_conf(const struct hv_conf *conf)
{
	if (conf->vcpus == 0 || conf->vcpus > HV_VCPUS_MAX || conf->mem_mib == 0)
		return false;
	return memchr(conf->cmdline, 0, sizeof(conf->cmdline)) && conf->mem_mib <= 1u << 20 &&
	       conf->grow_mib <= 1u << 20;
}

static int make_fds(struct hv_machine *m)
{
	struct epoll_event e = { .events = EPOLLIN };

	m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (m->event_fd < 0 || m->epoll_fd < 0 ||
		epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->event_fd, &e) < 0)
		return -errno;
	m->functions = (struct hv_functions){ .vm = &m->vm,
		.pci = &m->pci,
		.ev = m->ev,
		.arg = m->arg,
		.epoll_fd = m->epoll_fd,
		.wake_fd = m->event_fd };
	return 0;
}

/* All of it; what there is of one that failed, hv_machine_destroy() takes down. */
static int make(struct hv_machine *m, const struct hv_conf *conf)
{
	const char *why = NULL;
	int ret = hv_vm_init(&m->vm, conf->mem_mib << 20, conf->grow_mib << 20, conf->hugepages);

	m->n_shown = m->vm.n_slots;
	hv_bus_init(&m->bus);
	ret = ret ? ret : make_fds(m);
	ret = ret ? ret : hv_serial_init(&m->serial, &serial_ops, m);
	ret = ret ? ret : hv_power_init(&m->power, &m->bus, &power_ops, m);
	ret = ret ? ret : hv_pci_init(&m->pci, &m->bus, &m->power);
	ret = ret ? ret : hv_vcpu_signals();
	ret = ret ? ret : hv_irq_init(&m->vm, conf->split_irqchip);
	ret = ret ? ret : make_devices(m, conf);
	ret = ret ? ret : make_vcpus(m, conf);
	ret = ret ? ret : load(m, conf, &why);
	if (ret && why)
		dpu_err("image: refused", "why=\"%s\"", why);
	for (unsigned i = 0; i < m->n_vcpus && ret == 0; i++)
		ret = hv_vcpu_start(&m->vcpus[i]);
	return ret;
}

int hv_machine_create(const struct hv_conf *conf, const struct hv_machine_events *ev, void *arg,
	struct hv_machine **out)
{
	struct hv_machine *m;
	int ret;

	if (!good_conf(conf))
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->ev = ev;
	m->arg = arg;
	m->event_fd = m->epoll_fd = -1;
	ret = make(m, conf);
	if (ret) {
		hv_machine_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

void hv_machine_destroy(struct hv_machine *m)
{
	if (!m)
		return;
	end_machine(m, HV_END_STOPPED);
	each_vcpu(m, hv_vcpu_join);
	each_vcpu(m, hv_vcpu_fini);
	free(m->vcpus);
	hv_functions_fini(&m->functions);
	hv_pci_fini(&m->pci);
	hv_vm_fini(&m->vm);
	hv_power_fini(&m->power);
	hv_serial_fini(&m->serial);
	hv_bus_fini(&m->bus);
	hv_fd_close(&m->epoll_fd);
	hv_fd_close(&m->event_fd);
	free(m);
}

/* From one state to another, or -EALREADY, or -EINVAL. */
static int step(struct hv_machine *m, enum hv_state from, enum hv_state to)
{
	int now = (int)from;

	if (atomic_compare_exchange_strong(&m->state, &now, (int)to))
		return 0;
	return now == (int)to ? -EALREADY : -EINVAL;
}

/*
 * The guest's CPUs, as far as it is to run: functions that it was given before it began are on its
 * bus before its first instruction.
 */
static void let_run(struct hv_machine *m)
{
	m->held = m->held && hv_functions_pending(&m->functions);
	if (m->held || atomic_load(&m->state) != HV_RUNNING)
		return;
	m->functions.live = true;
	each_vcpu(m, hv_vcpu_unpark);
}

int hv_machine_start(struct hv_machine *m)
{
	int ret = step(m, HV_CREATED, HV_RUNNING);

	if (ret)
		return ret;
	for (unsigned i = 0; i < m->n_vcpus && ret == 0; i++)
		ret = hv_vcpu_confine(&m->vcpus[i]);
	if (ret) {
		dpu_err("vcpu: is not confined, so none runs", "err=%s", strerror(-ret));
		end_machine(m, HV_END_ERROR);
		return ret;
	}
	m->held = true;
	let_run(m);
	return 0;
}

int hv_machine_pause(struct hv_machine *m)
{
	int ret = step(m, HV_RUNNING, HV_PAUSED);

	if (ret)
		return ret;
	each_vcpu(m, hv_vcpu_park);
	each_vcpu(m, hv_vcpu_wait_parked);
	return 0;
}

int hv_machine_resume(struct hv_machine *m)
{
	int ret = step(m, HV_PAUSED, HV_RUNNING);

	if (ret == 0)
		let_run(m);
	return ret;
}

int hv_machine_stop(struct hv_machine *m)
{
	if (atomic_load(&m->state) == HV_ENDED)
		return -EALREADY;
	end_machine(m, HV_END_STOPPED);
	each_vcpu(m, hv_vcpu_join);
	return 0;
}

int hv_machine_power_button(struct hv_machine *m)
{
	if (atomic_load(&m->state) != HV_RUNNING)
		return -EINVAL;
	hv_power_button(&m->power);
	return 0;
}

enum hv_state hv_machine_state(const struct hv_machine *m)
{
	return (enum hv_state)atomic_load(&m->state);
}

int hv_machine_fd(const struct hv_machine *m)
{
	return m->epoll_fd;
}

/* A guest that used memory which a card does not know yet would break its function. */
static void show_memory(struct hv_machine *m)
{
	while (m->n_shown < m->vm.n_slots && hv_functions_know_memory(&m->functions)) {
		const struct hv_slot *s = &m->vm.slots[m->n_shown++];

		hv_power_memory(&m->power, s->gpa, s->len);
	}
}

void hv_machine_turn(struct hv_machine *m)
{
	eventfd_t n;
	unsigned panics;

	(void)eventfd_read(m->event_fd, &n);
	panics = atomic_exchange(&m->panics, 0);
	if (panics)
		dpu_warn_ratelimited("guest: its kernel panicked", "times=%u", panics);
	hv_functions_turn(&m->functions);
	show_memory(m);
	if (m->held)
		let_run(m);
	if (m->told || atomic_load(&m->state) != HV_ENDED)
		return;
	m->told = true;
	each_vcpu(m, hv_vcpu_join);
	m->ev->ended(m->arg, (enum hv_end)atomic_load(&m->end));
}

int hv_machine_add(struct hv_machine *m, unsigned slot, enum hv_kind kind, int fd)
{
	return hv_functions_add(&m->functions, slot, kind, fd);
}

int hv_machine_reconnect(struct hv_machine *m, unsigned slot, int fd)
{
	return hv_functions_reconnect(&m->functions, slot, fd);
}

int hv_machine_remove(struct hv_machine *m, unsigned slot)
{
	return hv_functions_remove(&m->functions, slot);
}

int hv_machine_add_memory(struct hv_machine *m, uint64_t mib)
{
	int ret = hv_vm_add_memory(&m->vm, mib << 20);

	if (ret == 0)
		wake_main(m); // functions' cards are told, and then the guest
	return ret;
}

void hv_machine_functions(const struct hv_machine *m, uint32_t *present, uint32_t *wanting)
{
	hv_functions_masks(&m->functions, present, wanting);
}

unsigned hv_machine_console_input(struct hv_machine *m, const uint8_t *bytes, unsigned len)
{
	return hv_serial_input(&m->serial, bytes, len);
}

struct hv_vm *hv_machine_vm(struct hv_machine *m)
{
	return &m->vm;
}

struct hv_pci *hv_machine_pci(struct hv_machine *m)
{
	return &m->pci;
}

void hv_machine_counters(const struct hv_machine *m, struct hv_machine_counters *out)
{
	*out = (struct hv_machine_counters){ .missed = __atomic_load_n(
						     &m->bus.missed, __ATOMIC_RELAXED) };
	for (unsigned i = 0; i < m->n_vcpus; i++)
		out->exits += atomic_load_explicit(&m->vcpus[i].exits, memory_order_relaxed);
}

int hv_machine_exit_code(const struct hv_machine *m)
{
	return atomic_load(&m->exit_code);
}
