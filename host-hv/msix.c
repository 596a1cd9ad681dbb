// SPDX-License-Identifier: Apache-2.0
/*
 * MSI-X: an eventfd for each vector, joined to a GSI of KVM's while the guest wants it. While it is
 * masked it is not joined, and what the card writes to the eventfd stays in it until we look; KVM
 * raises that when they are joined again. PCI Express Base 4.0, 7.7.2 and 6.1.4.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "dpu_wire.h"
#include "fds.h"
#include "irq.h"
#include "pci.h"

#define VECTORS_MAX 2048

struct vector {
	int fd; // owned
	bool joined; // fd raises the GSI
	bool pending; // raised while it was not, and out of fd
	uint32_t word[4]; // as the guest sees it: address, upper address, data, control
};

struct hv_msix {
	struct hv_vm *vm; // borrowed
	unsigned bar, n, cap; // cap: where in config space
	uint32_t table, pba; // bytes into the BAR
	unsigned gsi; // of vector 0
	pthread_mutex_t lock; // all below
	bool on; // enabled, not masked as a whole, and the function may write to memory
	struct vector v[];
};

/* Bring KVM to what the guest said; a vector that KVM refuses stays apart, and pending. */
static void settle(struct hv_msix *m, unsigned i)
{
	struct vector *v = &m->v[i];
	bool want = m->on && !(v->word[3] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
	uint64_t addr = v->word[0] | (uint64_t)v->word[1] << 32;

	if (want && hv_irq_msi_route(m->vm, m->gsi + i, addr, v->word[2]))
		want = false;
	if (want == v->joined)
		return;
	if (!want)
		(void)hv_irq_detach(m->vm, m->gsi + i, v->fd);
	else if (hv_irq_attach(m->vm, m->gsi + i, v->fd))
		return;
	v->joined = want;
	if (!want)
		return;
	// KVM raised what was in fd as they were joined, and left it there
	(void)hv_irq_take(v->fd);
	if (v->pending)
		(void)hv_irq_raise(m->vm, m->gsi + i);
	v->pending = false;
}

static int add_capability(struct hv_pci_func *f, struct hv_msix *m)
{
	uint8_t bytes[10];
	int at;

	dpu_le16_store(bytes, (uint16_t)(m->n - 1));
	dpu_le32_store(bytes + 2, m->table | m->bar);
	dpu_le32_store(bytes + 6, m->pba | m->bar);
	at = hv_pci_cap_add(f, PCI_CAP_ID_MSIX, bytes, sizeof(bytes));
	if (at < 0)
		return at;
	m->cap = (unsigned)at;
	f->mask[m->cap + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >>
					       8;
	return 0;
}

static void free_vectors(struct hv_msix *m)
{
	for (unsigned i = 0; i < m->n; i++)
		hv_fd_close(&m->v[i].fd);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static int open_fds(struct hv_msix *m, unsigned n)
{
	for (; m->n < n; m->n++) {
		struct vector *v = &m->v[m->n];

		v->word[3] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		v->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (v->fd < 0)
			return -errno;
	}
	return 0;
}

int hv_msix_create(struct hv_vm *vm, struct hv_pci_func *f, unsigned bar, unsigned n,
	uint32_t table, uint32_t pba)
{
	uint64_t size = bar < HV_PCI_BARS ? f->bars[bar].size : 0;
	struct hv_msix *m;
	int ret;

	if (n == 0 || n > VECTORS_MAX || table % 8 || pba % 8 || table > size ||
		n * PCI_MSIX_ENTRY_SIZE > size - table || pba > size ||
		(n + 63) / 64 * 8 > size - pba)
		return -EINVAL;
	m = calloc(1, sizeof(*m) + n * sizeof(m->v[0]));
	if (!m)
		return -ENOMEM;
	*m = (struct hv_msix){ .vm = vm, .bar = bar, .table = table, .pba = pba };
	pthread_mutex_init(&m->lock, NULL); // fails by its attributes only
	ret = open_fds(m, n);
	if (ret)
		goto err_fds;
	ret = hv_irq_msi_get(vm, n);
	if (ret < 0)
		goto err_fds;
	m->gsi = (unsigned)ret;
	ret = add_capability(f, m);
	if (ret)
		goto err_gsi;
	f->msix = m;
	return 0;

err_gsi:
	hv_irq_msi_put(vm, m->gsi, n);
err_fds:
	free_vectors(m);
	return ret;
}

void hv_msix_destroy(struct hv_pci_func *f)
{
	struct hv_msix *m = f->msix;

	if (!m)
		return;
	m->on = false;
	for (unsigned i = 0; i < m->n; i++)
		settle(m, i);
	hv_irq_msi_put(m->vm, m->gsi, m->n);
	free_vectors(m);
	f->msix = NULL;
}

int hv_msix_fd(const struct hv_msix *m, unsigned vector)
{
	return vector < m->n ? m->v[vector].fd : -1;
}

void hv_msix_raise(struct hv_msix *m, unsigned vector)
{
	if (vector >= m->n)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->v[vector].joined)
		(void)hv_irq_raise(m->vm, m->gsi + vector);
	else
		m->v[vector].pending = true;
	pthread_mutex_unlock(&m->lock);
}

static bool pending(struct vector *v)
{
	if (!v->joined && hv_irq_take(v->fd))
		v->pending = true;
	return v->pending;
}

void hv_msix_drain(struct hv_msix *m)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n; i++)
		if (pending(&m->v[i]))
			m->v[i].pending = false;
	pthread_mutex_unlock(&m->lock);
}

void hv_msix_control(struct hv_pci_func *f)
{
	struct hv_msix *m = f->msix;
	unsigned flags = (unsigned)f->cfg[m->cap + PCI_MSIX_FLAGS + 1] << 8;
	bool on = (flags & PCI_MSIX_FLAGS_ENABLE) && !(flags & PCI_MSIX_FLAGS_MASKALL) &&
		  f->mastering;

	pthread_mutex_lock(&m->lock);
	if (on != m->on) {
		m->on = on;
		for (unsigned i = 0; i < m->n; i++)
			settle(m, i);
	}
	pthread_mutex_unlock(&m->lock);
}

/* Only whole words of 4 or 8 bytes are accesses of the table (VF-16). */
static bool whole(uint64_t off, unsigned len)
{
	return (len == 4 || len == 8) && off % len == 0;
}

static uint32_t pba_word(struct hv_msix *m, unsigned idx)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 32 && idx * 32 + i < m->n; i++)
		bits |= (uint32_t)pending(&m->v[idx * 32 + i]) << i;
	return bits;
}

static bool in_table(const struct hv_msix *m, unsigned bar, uint64_t off)
{
	return bar == m->bar && off >= m->table && off - m->table < m->n * PCI_MSIX_ENTRY_SIZE;
}

static bool in_pba(const struct hv_msix *m, unsigned bar, uint64_t off)
{
	return bar == m->bar && off >= m->pba && off - m->pba < (m->n + 63) / 64 * 8;
}

bool hv_msix_read(struct hv_msix *m, unsigned bar, uint64_t off, uint8_t *data, unsigned len)
{
	bool table = in_table(m, bar, off);

	if (!table && !in_pba(m, bar, off))
		return false;
	off -= table ? m->table : m->pba;
	memset(data, 0, len);
	if (!whole(off, len))
		return true;
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < len; i += 4) {
		unsigned word = (unsigned)(off + i) / 4;

		dpu_le32_store(data + i, table ? m->v[word / 4].word[word % 4] : pba_word(m, word));
	}
	pthread_mutex_unlock(&m->lock);
	return true;
}

bool hv_msix_write(struct hv_msix *m, unsigned bar, uint64_t off, const uint8_t *data, unsigned len)
{
	if (!in_table(m, bar, off))
		return in_pba(m, bar, off); // which is read only
	off -= m->table;
	if (!whole(off, len))
		return true;
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < len; i += 4) {
		unsigned word = (unsigned)(off + i) / 4;

		m->v[word / 4].word[word % 4] = dpu_le32_load(data + i);
		if (word % 4 == 3)
			m->v[word / 4].word[3] &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	settle(m, (unsigned)(off / PCI_MSIX_ENTRY_SIZE));
	pthread_mutex_unlock(&m->lock);
	return true;
}
