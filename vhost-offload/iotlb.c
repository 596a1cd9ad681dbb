// SPDX-License-Identifier: Apache-2.0
/* The device's TLB: a sorted table that the control thread replaces and workers look into. */
#include "iotlb.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "iotlb_ahead.h"
#include "queue_ring.h"

#define RETIRED_MAX 8 // tables that wait for workers to be done with them
#define RUN_MAX (2u * VHO_IOTLB_ENTRIES) // misses of one request before it is given up
#define PERMS (VHO_IOTLB_READ | VHO_IOTLB_WRITE)

static struct vho_iotlb_table *new_table(unsigned n)
{
	return dpu_calloc(1, sizeof(struct vho_iotlb_table) + n * sizeof(struct vho_iotlb_entry));
}

/* On the control thread, which alone replaces it. */
static struct vho_iotlb_table *current(const struct vho_iotlb *t)
{
	return atomic_load_explicit(&t->now, memory_order_relaxed);
}

int vho_iotlb_create(unsigned n_queues, const struct vho_host *host, struct vho_iommu_stats *stats,
	struct vho_iotlb **out)
{
	struct vho_iotlb *t = dpu_calloc(1, sizeof(*t));
	struct vho_iotlb_table *empty = new_table(0);
	int ret = -ENOMEM;

	if (!t || !empty)
		goto err;
	t->queues = dpu_calloc(n_queues, sizeof(*t->queues));
	if (!t->queues)
		goto err;
	t->ask_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (t->ask_fd < 0) {
		ret = -errno;
		goto err_queues;
	}
	t->host = host;
	t->stats = stats;
	t->n_queues = n_queues;
	t->dice = 1;
	for (unsigned i = 0; i < n_queues; i++)
		t->queues[i].tlb = t;
	atomic_init(&t->now, empty);
	*out = t;
	return 0;

err_queues:
	free(t->queues);
err:
	free(empty);
	free(t);
	return ret;
}

static void free_retired(struct vho_iotlb *t)
{
	while (t->retired) {
		struct vho_iotlb_table *old = t->retired;

		t->retired = old->next;
		free(old);
	}
	t->n_retired = 0;
}

void vho_iotlb_destroy(struct vho_iotlb *t)
{
	if (!t)
		return;
	t->stats->entries = 0;
	free_retired(t);
	free(current(t));
	for (unsigned i = 0; i < t->n_queues; i++) {
		free(t->queues[i].table);
		free(t->queues[i].pushed);
	}
	close(t->ask_fd);
	free(t->queues);
	free(t);
}

/* ---- changes; control thread ---- */

static void synchronize(struct vho_iotlb *t)
{
	if (t->host->synchronize)
		t->host->synchronize(t->host->arg);
	free_retired(t);
}

static void publish(struct vho_iotlb *t, struct vho_iotlb_table *next)
{
	struct vho_iotlb_table *old = current(t);

	// Pairs with the workers' acquire in vho_iotlb_at()
	atomic_store_explicit(&t->now, next, memory_order_release);
	t->stats->entries = next->n;
	old->next = t->retired;
	t->retired = old;
	if (++t->n_retired >= RETIRED_MAX)
		synchronize(t);
}

static uint64_t last_of(const struct vho_iotlb_entry *e)
{
	return e->iova + (e->size - 1);
}

/* The first entry that ends at or behind iova. */
static unsigned first_at(const struct vho_iotlb_table *t, uint64_t iova)
{
	unsigned lo = 0, hi = t->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (last_of(&t->e[mid]) < iova)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* What of `e` lies in front of iova, and what behind `last`: 0, 1 or 2 entries at `to`. */
static unsigned outside(
	const struct vho_iotlb_entry *e, uint64_t iova, uint64_t last, struct vho_iotlb_entry *to)
{
	unsigned n = 0;

	if (e->iova < iova) {
		to[n] = *e;
		to[n++].size = iova - e->iova;
	}
	if (last_of(e) > last) {
		uint64_t skip = last + 1 - e->iova;

		to[n] = *e;
		to[n].iova += skip;
		to[n].uva += skip;
		to[n].gpa += skip;
		to[n++].size -= skip;
	}
	return n;
}

/* The table without [iova, last] and with room for one entry more, which goes to index *at. */
static struct vho_iotlb_table *cut(
	const struct vho_iotlb *t, uint64_t iova, uint64_t last, unsigned *at)
{
	const struct vho_iotlb_table *old = current(t);
	struct vho_iotlb_table *next = new_table(old->n + 2);
	unsigned i = first_at(old, iova);

	if (!next)
		return NULL;
	memcpy(next->e, old->e, i * sizeof(old->e[0]));
	next->n = *at = i;
	for (; i < old->n && old->e[i].iova <= last; i++) {
		next->n += outside(&old->e[i], iova, last, &next->e[next->n]);
		if (*at < next->n && next->e[*at].iova < iova)
			(*at)++;
	}
	memcpy(&next->e[next->n], &old->e[i], (old->n - i) * sizeof(old->e[0]));
	next->n += old->n - i;
	return next;
}

static void drop(struct vho_iotlb_table *t, unsigned i)
{
	memmove(&t->e[i], &t->e[i + 1], (t->n - i - 1) * sizeof(t->e[0]));
	t->n--;
}

/* Does b go on where a ends? */
static bool follows(const struct vho_iotlb_entry *a, const struct vho_iotlb_entry *b)
{
	return a->perm == b->perm && b->iova == a->iova + a->size && b->uva == a->uva + a->size &&
	       b->gpa == a->gpa + a->size;
}

static void insert(struct vho_iotlb *t, struct vho_iotlb_table *next, unsigned at,
	const struct vho_iotlb_entry *e)
{
	memmove(&next->e[at + 1], &next->e[at], (next->n - at) * sizeof(next->e[0]));
	next->e[at] = *e;
	next->n++;
	if (at + 1 < next->n && follows(&next->e[at], &next->e[at + 1])) {
		next->e[at].size += next->e[at + 1].size;
		drop(next, at + 1);
	}
	if (at > 0 && follows(&next->e[at - 1], &next->e[at])) {
		next->e[at - 1].size += next->e[at].size;
		drop(next, at--);
	}
	while (next->n > VHO_IOTLB_ENTRIES) {
		t->dice = t->dice * 1664525u + 1013904223u;

		unsigned i = (t->dice >> 8) % (next->n - 1);

		i += i >= at; // not the new one
		at -= i < at;
		drop(next, i);
		t->stats->evicted++;
	}
}

int vho_iotlb_update(struct vho_iotlb *t, const struct vho_mem *mem, uint64_t iova, uint64_t size,
	uint64_t uva, uint8_t perm)
{
	struct vho_iotlb_entry e = { .iova = iova, .size = size, .uva = uva, .perm = perm };
	struct vho_iotlb_table *next;
	unsigned at;
	int ret = 0;

	if (size == 0 || size - 1 > UINT64_MAX - iova || size - 1 > UINT64_MAX - uva || !perm ||
		perm & ~PERMS)
		ret = -EINVAL;
	else if (!mem || vho_mem_uva_to_gpa(mem, uva, size, &e.gpa))
		ret = -EFAULT;
	if (ret) {
		t->stats->refused++;
		return ret;
	}
	next = cut(t, iova, last_of(&e), &at);
	if (!next)
		return -ENOMEM;
	insert(t, next, at, &e);
	publish(t, next);
	t->stats->updates++;
	return 0;
}

/* Without the memory for a smaller table there is none: what was known is asked for again. */
static void forget_all(struct vho_iotlb *t)
{
	struct vho_iotlb_table *old = current(t);

	// No worker looks while this is done: it may only find less than there is
	atomic_store_explicit(&t->now, NULL, memory_order_release);
	synchronize(t);
	old->n = 0;
	t->stats->entries = 0;
	atomic_store_explicit(&t->now, old, memory_order_release);
}

void vho_iotlb_remove(struct vho_iotlb *t, uint64_t iova, uint64_t last)
{
	struct vho_iotlb_table *next;
	unsigned at;

	t->stats->invalidates++;
	next = cut(t, iova, last, &at);
	if (!next) {
		forget_all(t);
		return;
	}
	publish(t, next);
	synchronize(t);
}

void vho_iotlb_remap(struct vho_iotlb *t, const struct vho_mem *mem)
{
	const struct vho_iotlb_table *old = current(t);
	struct vho_iotlb_table *next = new_table(old->n);

	if (!next) {
		forget_all(t);
		return;
	}
	for (unsigned i = 0; mem && i < old->n; i++) {
		struct vho_iotlb_entry e = old->e[i];

		if (vho_mem_uva_to_gpa(mem, e.uva, e.size, &e.gpa) == 0)
			next->e[next->n++] = e;
	}
	publish(t, next);
}

static const struct vho_iotlb_entry *find(const struct vho_iotlb_table *t, uint64_t iova)
{
	unsigned i = t ? first_at(t, iova) : 0;

	return t && i < t->n && t->e[i].iova <= iova ? &t->e[i] : NULL;
}

bool vho_iotlb_has(const struct vho_iotlb *t, uint64_t iova, uint8_t perm)
{
	// Pairs with the release in publish()
	const struct vho_iotlb_table *now = atomic_load_explicit(&t->now, memory_order_acquire);
	const struct vho_iotlb_entry *e = find(now, iova);

	return e && !(perm & ~e->perm);
}

int vho_iotlb_ring(const struct vho_iotlb *t, uint64_t iova, uint64_t len, uint8_t perm,
	uint64_t *gpa, uint64_t *miss)
{
	const struct vho_iotlb_table *now = current(t);

	*gpa = 0;
	for (uint64_t off = 0; off < len;) {
		const struct vho_iotlb_entry *e = find(now, iova + off);

		*miss = iova + off;
		if (!e || perm & ~e->perm)
			return -EAGAIN;

		uint64_t at = e->gpa + (*miss - e->iova);

		if (off == 0)
			*gpa = at;
		else if (at != *gpa + off)
			return -EFAULT;
		off += e->size - (*miss - e->iova);
	}
	return 0;
}

int vho_iotlb_queue_setup(
	struct vho_iotlb_queue *iq, uint32_t size, uint32_t max_chain, uint64_t requests)
{
	uint32_t n = 1, table_len = max_chain * (uint32_t)sizeof(struct vring_desc);

	while (n < size)
		n *= 2;
	if (!iq->pushed || iq->pushed_mask != n - 1) {
		free(iq->pushed);
		iq->pushed = dpu_calloc(n, sizeof(*iq->pushed));
		if (!iq->pushed)
			return -ENOMEM;
		iq->pushed_mask = n - 1;
	}
	if (iq->table_len < table_len) {
		free(iq->table);
		iq->table_len = 0;
		iq->table = dpu_calloc(1, table_len);
		if (!iq->table)
			return -ENOMEM;
		iq->table_len = table_len;
	}
	memset(iq->pushed, 0, n * sizeof(*iq->pushed));
	memset(iq->recent, 0, sizeof(iq->recent));
	iq->run = 0;
	iq->last_perm = 0;
	iq->sent = false;
	iq->born = requests;
	iq->life++;
	atomic_store_explicit(&iq->done, 0, memory_order_relaxed);
	atomic_store_explicit(&iq->tail, atomic_load_explicit(&iq->head, memory_order_relaxed),
		memory_order_relaxed);
	atomic_store_explicit(&iq->waiting, false, memory_order_relaxed);
	return 0;
}

/* ---- lookups; the queue's worker ---- */

/* -EAGAIN: the queue waits from now on. -EACCES: waiting would not help. */
static int miss(struct vho_queue *q, uint64_t iova, uint8_t perm, bool known)
{
	struct vho_iotlb_queue *iq = q->iotlb;

	if (vho_iotlb_waits(iq))
		return -EAGAIN;
	if (iq->run && iq->last_order == q->pop_order) {
		if (known && iq->last_iova == iova && iq->last_perm == perm)
			return -EACCES; // that is the answer
		if (iq->run >= RUN_MAX)
			return -EACCES;
	} else {
		iq->run = 0;
	}
	iq->run++;
	iq->last_order = q->pop_order;
	iq->last_iova = iova;
	iq->last_perm = perm;
	iq->wait = (struct vho_iotlb_ask){ iova, perm };
	atomic_store_explicit(&iq->waiting, true, memory_order_release); // publishes `wait`
	dpu_counter_add(&q->stats.iommu_waits, 1);
	vho_iotlb_asked(iq, iova);
	vho_iotlb_ahead(q, 0, VHO_IOTLB_AHEAD);
	vho_notify_fd(iq->tlb->ask_fd);
	return -EAGAIN;
}

/* What e says of iova and of what lies behind it; e is followed by the rest of its table. */
static void *reach(const struct vho_queue *q, const struct vho_iotlb_table *t,
	const struct vho_iotlb_entry *e, uint64_t iova, uint64_t *len, uint8_t perm)
{
	uint64_t off = iova - e->iova, gpa = e->gpa + off, got = e->size - off;

	for (const struct vho_iotlb_entry *n = e + 1;
		got < *len && n < t->e + t->n && n->iova == iova + got && n->gpa == gpa + got &&
		!(perm & ~n->perm);
		n++)
		got += n->size;
	if (*len > got)
		*len = got;
	return vho_mem_span(q->mem, gpa, len);
}

static const struct vho_iotlb_table *table_of(const struct vho_queue *q)
{
	// Pairs with the release in publish()
	return atomic_load_explicit(&q->iotlb->tlb->now, memory_order_acquire);
}

void *vho_iotlb_at(struct vho_queue *q, uint64_t iova, uint64_t *len, uint8_t perm, int *ret)
{
	const struct vho_iotlb_table *t = table_of(q);
	const struct vho_iotlb_entry *e = find(t, iova);
	void *p;

	if (!e || perm & ~e->perm) {
		*ret = miss(q, iova, perm, e);
		return NULL;
	}
	vho_iotlb_found(q->iotlb, iova);
	p = reach(q, t, e, iova, len, perm);
	*ret = p ? 0 : -EFAULT;
	return p;
}

const void *vho_iotlb_peek(const struct vho_queue *q, uint64_t iova, uint64_t *len)
{
	const struct vho_iotlb_table *t = table_of(q);
	const struct vho_iotlb_entry *e = find(t, iova);

	return e && e->perm & VHO_IOTLB_READ ? reach(q, t, e, iova, len, VHO_IOTLB_READ) : NULL;
}

void *vho_iotlb_table_at(struct vho_queue *q, uint64_t iova, uint32_t len, int *ret)
{
	struct vho_iotlb_queue *iq = q->iotlb;
	uint64_t part = len;
	uint8_t *p = vho_iotlb_at(q, iova, &part, VHO_IOTLB_READ, ret);

	if (!p || part == len)
		return p;
	assert(len <= iq->table_len); // max_chain entries
	for (uint32_t off = 0; off < len; off += (uint32_t)part) {
		part = len - off;
		p = vho_iotlb_at(q, iova + off, &part, VHO_IOTLB_READ, ret);
		if (!p)
			return NULL;
		memcpy(iq->table + off, p, part);
	}
	return iq->table;
}

void vho_iotlb_pushed(struct vho_queue *q, uint16_t order)
{
	struct vho_iotlb_queue *iq = q->iotlb;
	uint64_t done = atomic_load_explicit(&iq->done, memory_order_relaxed);

	iq->pushed[order & iq->pushed_mask] = true;
	while (iq->pushed[done & iq->pushed_mask]) {
		iq->pushed[done & iq->pushed_mask] = false;
		done++;
	}
	// Release: who sees it also sees that the buffers are not touched any more
	atomic_store_explicit(&iq->done, done, memory_order_release);
	vho_iotlb_ahead(q, VHO_IOTLB_AHEAD, 1);
}
