// SPDX-License-Identifier: Apache-2.0
/*
 * KVM's interrupt controllers, its table of routes, irqfds and ioeventfds; of a split irqchip the
 * I/O APIC, whose pins are messages for KVM. Source: Intel 82093AA data sheet, section 3; of the
 * register for the end of an interrupt, I/O Controller Hub 9 data sheet, 13.5.7.
 */
#include "irq.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch.h"
#include "layout.h"

#define GSIS (HV_IRQ_PINS + HV_IRQ_MSIS)

#define APIC_SELECT 0x00 // bytes into its window
#define APIC_DATA 0x10
#define APIC_VERSION (0x20u | (HV_IRQ_PINS - 1) << 16) // 0x20: it has HV_IOAPIC_EOI
/* A redirection entry's bits. */
#define PIN_LOGICAL (1ull << 11)
#define PIN_IN_SERVICE (1ull << 14) // "remote IRR": delivered, and not at its end
#define PIN_LEVEL (1ull << 15)
#define PIN_MASKED (1ull << 16)
#define PIN_WRITABLE 0xff0000000001afffull
#define PIN_VECTOR 0xffu

struct hv_irq {
	bool split;
	_Atomic uint64_t updates;
	pthread_mutex_t lock; // all below
	uint32_t select, id, high; // split: the I/O APIC's registers; the pins that are driven
	uint64_t pins[HV_IRQ_PINS];
	bool taken[GSIS];
	struct kvm_irq_routing *table; // behind this struct; room for GSIS entries
};

/* An ioctl of the VM, which returns nothing but whether it went well. */
static int tell(const struct hv_vm *vm, unsigned long request, const void *arg)
{
	return ioctl(vm->vm_fd, request, arg) < 0 ? -errno : 0;
}

static int set_table(struct hv_vm *vm)
{
	atomic_fetch_add_explicit(&vm->irq->updates, 1, memory_order_relaxed);
	return tell(vm, KVM_SET_GSI_ROUTING, vm->irq->table);
}

/* A table of ours takes the place of KVM's own, so it names the pins as well. */
static void route_pins(struct kvm_irq_routing *t)
{
	for (unsigned pin = 0; pin < HV_IRQ_PINS; pin++)
		t->entries[t->nr++] = (struct kvm_irq_routing_entry){ .gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = HV_PIN_CHIP, .pin = pin } };
}

int hv_irq_init(struct hv_vm *vm, bool split)
{
	struct hv_irq *irq = calloc(
		1, sizeof(*irq) + sizeof(*irq->table) + GSIS * sizeof(irq->table->entries[0]));
	int ret;

	if (!irq)
		return -ENOMEM;
	irq->split = split;
	irq->table = (void *)(irq + 1);
	for (unsigned pin = 0; pin < HV_IRQ_PINS; pin++)
		irq->pins[pin] = PIN_MASKED;
	if (!split)
		route_pins(irq->table);
	pthread_mutex_init(&irq->lock, NULL); // fails by its attributes only
	vm->irq = irq;
	if (ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING) < GSIS ||
		ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) <= 0)
		ret = -ENOSYS;
	else
		ret = hv_arch_irqchip(vm, split);
	if (ret == 0)
		ret = set_table(vm);
	if (ret)
		hv_irq_fini(vm);
	return ret;
}

void hv_irq_fini(struct hv_vm *vm)
{
	if (!vm->irq)
		return;
	pthread_mutex_destroy(&vm->irq->lock);
	free(vm->irq);
	vm->irq = NULL;
}

int hv_irq_msi_get(struct hv_vm *vm, unsigned n)
{
	struct hv_irq *irq = vm->irq;
	int ret = -ENOSPC;

	if (n == 0)
		return -EINVAL;
	pthread_mutex_lock(&irq->lock);
	for (unsigned gsi = HV_IRQ_PINS, run = 0; gsi < GSIS; gsi++) {
		run = irq->taken[gsi] ? 0 : run + 1;
		if (run < n)
			continue;
		ret = (int)(gsi + 1 - n);
		memset(&irq->taken[ret], true, n);
		break;
	}
	pthread_mutex_unlock(&irq->lock);
	return ret;
}

/* The entry of a GSI, or where the next one goes. */
static uint32_t entry_of(const struct kvm_irq_routing *t, unsigned gsi)
{
	uint32_t i = 0;

	while (i < t->nr && t->entries[i].gsi != gsi)
		i++;
	return i;
}

void hv_irq_msi_put(struct hv_vm *vm, unsigned first, unsigned n)
{
	struct hv_irq *irq = vm->irq;
	struct kvm_irq_routing *t = irq->table;
	bool changed = false;

	pthread_mutex_lock(&irq->lock);
	for (unsigned gsi = first; gsi < first + n && gsi < GSIS; gsi++) {
		uint32_t i = entry_of(t, gsi);

		irq->taken[gsi] = false;
		if (i == t->nr)
			continue;
		t->entries[i] = t->entries[--t->nr];
		changed = true;
	}
	// A smaller table is never refused; were it, the GSIs would be routed, and unused
	if (changed)
		(void)set_table(vm);
	pthread_mutex_unlock(&irq->lock);
}

static int route_message(struct hv_vm *vm, unsigned gsi, uint64_t addr, uint32_t data)
{
	struct kvm_irq_routing *t = vm->irq->table;
	uint32_t i = entry_of(t, gsi), n = t->nr;
	struct kvm_irq_routing_entry *e = &t->entries[i], was = *e;
	int ret;

	memset(e, 0, sizeof(*e)); // compared whole
	e->gsi = gsi;
	e->type = KVM_IRQ_ROUTING_MSI;
	e->u.msi.address_lo = (uint32_t)addr;
	e->u.msi.address_hi = (uint32_t)(addr >> 32);
	e->u.msi.data = data;
	if (i < n && memcmp(&was, e, sizeof(was)) == 0)
		return 0;
	t->nr = i < n ? n : n + 1;
	ret = set_table(vm);
	if (ret) {
		*e = was;
		t->nr = n;
	}
	return ret;
}

int hv_irq_msi_route(struct hv_vm *vm, unsigned gsi, uint64_t addr, uint32_t data)
{
	struct hv_irq *irq = vm->irq;
	int ret = -EINVAL;

	pthread_mutex_lock(&irq->lock);
	if (gsi >= HV_IRQ_PINS && gsi < GSIS && irq->taken[gsi])
		ret = route_message(vm, gsi, addr, data);
	pthread_mutex_unlock(&irq->lock);
	return ret;
}

static void set_line(struct hv_vm *vm, unsigned pin, bool high)
{
	// there is this pin, so it works
	(void)tell(vm, KVM_IRQ_LINE, &(struct kvm_irq_level){ { HV_PIN_LINE(pin) }, high });
}

/* ---- the I/O APIC of a split irqchip; the lock is held ---- */

/* A pin that is high asks once, and once more at the end of it if it is of the level kind. */
static void ask(struct hv_vm *vm, unsigned pin)
{
	uint64_t *e = &vm->irq->pins[pin];

	if (!(vm->irq->high >> pin & 1) || *e & (PIN_MASKED | PIN_IN_SERVICE))
		return;
	*e |= *e & PIN_LEVEL ? PIN_IN_SERVICE : 0;
	set_line(vm, pin, true);
}

static void drive(struct hv_vm *vm, unsigned pin, bool high)
{
	uint32_t bit = 1u << pin, was = vm->irq->high & bit;

	vm->irq->high = high ? vm->irq->high | bit : vm->irq->high & ~bit;
	if (high && !was)
		ask(vm, pin);
}

/* A route stays while the pin is masked: KVM tells us of the end of what is in service by it. */
static void set_pin(struct hv_vm *vm, unsigned pin, uint64_t v)
{
	uint64_t *e = &vm->irq->pins[pin];
	uint64_t addr = HV_LAPIC | v >> 56 << 12 | (v & PIN_LOGICAL ? 1u << 2 : 0);
	uint32_t data = (uint32_t)v & 0x87ff;

	*e = (v & PIN_WRITABLE) | (v & PIN_LEVEL ? *e & PIN_IN_SERVICE : 0);
	if (*e & PIN_MASKED)
		return;
	if (route_message(vm, pin, addr, data | 1u << 14)) // 14: asserted
		*e |= PIN_MASKED;
	else if (*e & PIN_LEVEL)
		ask(vm, pin);
}

static void end_of(struct hv_vm *vm, uint32_t vector)
{
	for (unsigned pin = 0; pin < HV_IRQ_PINS; pin++) {
		uint64_t *e = &vm->irq->pins[pin];

		if (!(*e & PIN_IN_SERVICE) || (*e & PIN_VECTOR) != vector)
			continue;
		*e &= ~PIN_IN_SERVICE;
		ask(vm, pin);
	}
}

static uint32_t read_apic(const struct hv_irq *irq)
{
	unsigned pin = (irq->select - 0x10) / 2;

	if (irq->select == 1)
		return APIC_VERSION;
	if (irq->select < 0x10 || pin >= HV_IRQ_PINS)
		return irq->select == 0 || irq->select == 2 ? irq->id : 0;
	return (uint32_t)(irq->pins[pin] >> (irq->select % 2 ? 32 : 0));
}

static void write_apic(struct hv_vm *vm, uint32_t v)
{
	struct hv_irq *irq = vm->irq;
	unsigned pin = (irq->select - 0x10) / 2;

	if (irq->select == 0)
		irq->id = v & 0x0f000000;
	if (irq->select < 0x10 || pin >= HV_IRQ_PINS)
		return;
	if (irq->select % 2)
		set_pin(vm, pin, (irq->pins[pin] & UINT32_MAX) | (uint64_t)v << 32);
	else
		set_pin(vm, pin, irq->pins[pin] >> 32 << 32 | v);
}

static void apic_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hv_vm *vm = arg;
	uint32_t v;

	pthread_mutex_lock(&vm->irq->lock);
	v = off == APIC_DATA ? read_apic(vm->irq) : off == APIC_SELECT ? vm->irq->select : 0;
	pthread_mutex_unlock(&vm->irq->lock);
	hv_bus_put32(data, len, v);
}

static void apic_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hv_vm *vm = arg;
	uint32_t v = hv_bus_get32(data, len);

	pthread_mutex_lock(&vm->irq->lock);
	if (off == APIC_SELECT)
		vm->irq->select = v & 0xff;
	else if (off == APIC_DATA)
		write_apic(vm, v);
	else if (off == HV_IOAPIC_EOI)
		end_of(vm, v & PIN_VECTOR);
	pthread_mutex_unlock(&vm->irq->lock);
}

const struct hv_bus_ops hv_irq_apic = { apic_read, apic_write };

void hv_irq_line(struct hv_vm *vm, unsigned pin, bool high)
{
	if (!vm->irq->split) {
		set_line(vm, pin, high);
		return;
	}
	pthread_mutex_lock(&vm->irq->lock);
	drive(vm, pin, high);
	pthread_mutex_unlock(&vm->irq->lock);
}

int hv_irq_raise(struct hv_vm *vm, unsigned gsi)
{
	return tell(vm, KVM_IRQ_LINE, &(struct kvm_irq_level){ { gsi }, 1 });
}

int hv_irq_attach(struct hv_vm *vm, unsigned gsi, int fd)
{
	return tell(vm, KVM_IRQFD, &(struct kvm_irqfd){ .fd = (uint32_t)fd, .gsi = gsi });
}

int hv_irq_detach(struct hv_vm *vm, unsigned gsi, int fd)
{
	const struct kvm_irqfd f = { (uint32_t)fd, gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };

	return tell(vm, KVM_IRQFD, &f);
}

/* Length 0: any length and value, and on Intel's CPUs the exit that decodes no instruction. */
int hv_irq_doorbell(struct hv_vm *vm, uint64_t addr, int fd)
{
	return tell(vm, KVM_IOEVENTFD, &(struct kvm_ioeventfd){ .addr = addr, .fd = fd });
}

int hv_irq_no_doorbell(struct hv_vm *vm, uint64_t addr, int fd)
{
	const uint32_t end = KVM_IOEVENTFD_FLAG_DEASSIGN;

	return tell(
		vm, KVM_IOEVENTFD, &(struct kvm_ioeventfd){ .addr = addr, .fd = fd, .flags = end });
}

bool hv_irq_take(int fd)
{
	// No libc has a name for it that the others have, too.
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };

	return syscall(SYS_preadv2, fd, &iov, 1ul, -1l, -1l, RWF_NOWAIT) == (long)sizeof(count);
}

uint64_t hv_irq_updates(const struct hv_vm *vm)
{
	return atomic_load_explicit(&vm->irq->updates, memory_order_relaxed);
}
