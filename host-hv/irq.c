// SPDX-License-Identifier: Apache-2.0
/* KVM's interrupt controllers, its table of routes, irqfds and ioeventfds. */
#include "irq.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define GSIS (HV_IRQ_PINS + HV_IRQ_MSIS)

struct hv_irq {
	bool split;
	_Atomic uint64_t updates;
	pthread_mutex_t lock; // all below
	bool taken[GSIS];
	struct kvm_irq_routing *table; // owned; room for GSIS entries
};

static int set_table(struct hv_vm *vm)
{
	atomic_fetch_add_explicit(&vm->irq->updates, 1, memory_order_relaxed);
	return ioctl(vm->vm_fd, KVM_SET_GSI_ROUTING, vm->irq->table) < 0 ? -errno : 0;
}

/* A table of ours takes the place of KVM's own, so it names the pins as well. */
static void route_pins(struct kvm_irq_routing *t)
{
	for (unsigned pin = 0; pin < HV_IRQ_PINS; pin++)
		t->entries[t->nr++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin },
		};
}

static int make_chips(struct hv_vm *vm, bool split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { HV_IRQ_PINS } };

	if (ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING) < GSIS ||
		ioctl(vm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) <= 0)
		return -ENOSYS;
	if (split)
		return ioctl(vm->vm_fd, KVM_ENABLE_CAP, &cap) < 0 ? -errno : 0;
	return ioctl(vm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 ? -errno : 0;
}

int hv_irq_init(struct hv_vm *vm, bool split)
{
	struct hv_irq *irq = calloc(1, sizeof(*irq));
	int ret = -ENOMEM;

	if (!irq)
		return -ENOMEM;
	irq->split = split;
	irq->table = calloc(1, sizeof(*irq->table) + GSIS * sizeof(irq->table->entries[0]));
	if (!irq->table)
		goto err_irq;
	ret = -pthread_mutex_init(&irq->lock, NULL);
	if (ret)
		goto err_table;
	ret = make_chips(vm, split);
	if (ret)
		goto err_lock;
	vm->irq = irq;
	if (!split)
		route_pins(irq->table);
	ret = set_table(vm);
	if (ret == 0)
		return 0;
	vm->irq = NULL;

err_lock:
	pthread_mutex_destroy(&irq->lock);
err_table:
	free(irq->table);
err_irq:
	free(irq);
	return ret;
}

void hv_irq_fini(struct hv_vm *vm)
{
	if (!vm->irq)
		return;
	pthread_mutex_destroy(&vm->irq->lock);
	free(vm->irq->table);
	free(vm->irq);
	vm->irq = NULL;
}

int hv_irq_line(struct hv_vm *vm, unsigned pin, bool high)
{
	struct kvm_irq_level l = { .irq = pin, .level = high };

	if (pin >= HV_IRQ_PINS || vm->irq->split)
		return -EINVAL;
	return ioctl(vm->vm_fd, KVM_IRQ_LINE, &l) < 0 ? -errno : 0;
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

static int route(struct hv_vm *vm, const struct kvm_irq_routing_entry *e)
{
	struct kvm_irq_routing *t = vm->irq->table;
	uint32_t i = entry_of(t, e->gsi), n = t->nr;
	struct kvm_irq_routing_entry was = t->entries[i];
	int ret;

	if (i < n && memcmp(&was, e, sizeof(was)) == 0)
		return 0;
	t->entries[i] = *e;
	t->nr = i < n ? n : n + 1;
	ret = set_table(vm);
	if (ret) {
		t->entries[i] = was;
		t->nr = n;
	}
	return ret;
}

int hv_irq_msi_route(struct hv_vm *vm, unsigned gsi, uint64_t addr, uint32_t data)
{
	struct hv_irq *irq = vm->irq;
	struct kvm_irq_routing_entry e;
	int ret = -EINVAL;

	memset(&e, 0, sizeof(e)); // compared whole
	e.gsi = gsi;
	e.type = KVM_IRQ_ROUTING_MSI;
	e.u.msi.address_lo = (uint32_t)addr;
	e.u.msi.address_hi = (uint32_t)(addr >> 32);
	e.u.msi.data = data;
	pthread_mutex_lock(&irq->lock);
	if (gsi >= HV_IRQ_PINS && gsi < GSIS && irq->taken[gsi])
		ret = route(vm, &e);
	pthread_mutex_unlock(&irq->lock);
	return ret;
}

static int irqfd(struct hv_vm *vm, unsigned gsi, int fd, uint32_t flags)
{
	struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = gsi, .flags = flags };

	return ioctl(vm->vm_fd, KVM_IRQFD, &f) < 0 ? -errno : 0;
}

int hv_irq_attach(struct hv_vm *vm, unsigned gsi, int fd)
{
	return irqfd(vm, gsi, fd, 0);
}

int hv_irq_detach(struct hv_vm *vm, unsigned gsi, int fd)
{
	return irqfd(vm, gsi, fd, KVM_IRQFD_FLAG_DEASSIGN);
}

/* Length 0: any length and value, and on Intel's CPUs the exit that decodes no instruction. */
static int ioeventfd(struct hv_vm *vm, uint64_t addr, int fd, uint32_t flags)
{
	struct kvm_ioeventfd f = { .addr = addr, .fd = fd, .flags = flags };

	return ioctl(vm->vm_fd, KVM_IOEVENTFD, &f) < 0 ? -errno : 0;
}

int hv_irq_doorbell(struct hv_vm *vm, uint64_t addr, int fd)
{
	return ioeventfd(vm, addr, fd, 0);
}

int hv_irq_no_doorbell(struct hv_vm *vm, uint64_t addr, int fd)
{
	return ioeventfd(vm, addr, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

uint64_t hv_irq_updates(const struct hv_vm *vm)
{
	return atomic_load_explicit(&vm->irq->updates, memory_order_relaxed);
}
