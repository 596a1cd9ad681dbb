// SPDX-License-Identifier: Apache-2.0
/* Requests and buffers of layers, and the line of those that wait for some. */
#include "vol_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dpu_alloc.h"

struct vol_pool {
	/* Fixed. */
	unsigned n_subs, n_bufs;
	struct vol_sub *sub; // owned
	uint8_t *buf; // owned mapping

	struct vol_sub *free; // those given back last are in the caches
	unsigned n_free;
	uint64_t buf_free; // bit i: buffer i
	struct vol_waiter *head, **tail; // oldest first
	unsigned waiting[VOL_POOL_DEPTH + 1]; // how many of them, by depth
	bool telling; // somebody in line is being told
};

int vol_pool_create(unsigned subs, unsigned bufs, struct vol_pool **out)
{
	struct vol_pool *p = dpu_calloc(1, sizeof(*p));
	size_t len = (size_t)bufs * VOL_POOL_BUF_LEN;
	void *m;

	assert(subs > 0 && bufs > 0 && bufs <= 64);
	if (!p)
		return -ENOMEM;
	p->sub = dpu_calloc(subs, sizeof(*p->sub));
	if (!p->sub)
		goto err_pool;
	m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		goto err_subs;
	(void)madvise(m, len, MADV_DONTDUMP); // guests' data
	p->buf = m;
	p->n_subs = subs;
	p->n_bufs = bufs;
	p->buf_free = UINT64_MAX >> (64 - bufs);
	p->tail = &p->head;
	for (unsigned i = subs; i-- > 0;) {
		p->sub[i].next = p->free;
		p->free = &p->sub[i];
	}
	p->n_free = subs;
	*out = p;
	return 0;

err_subs:
	free(p->sub);
err_pool:
	free(p);
	return -ENOMEM;
}

void vol_pool_destroy(struct vol_pool *p)
{
	if (!p)
		return;
	assert(p->n_free == p->n_subs && !p->head);
	munmap(p->buf, (size_t)p->n_bufs * VOL_POOL_BUF_LEN);
	free(p->sub);
	free(p);
}

/* Nobody takes what somebody in line waits for, but for those that he may stand on. */
static bool may_take(const struct vol_pool *p, const struct vol_held *h)
{
	if (p->n_free <= h->depth * VOL_POOL_RESERVE)
		return false;
	for (unsigned d = 0; !p->telling && d <= h->depth; d++)
		if (p->waiting[d])
			return false;
	return true;
}

/* One more to who has `held` of it, when so many are left? */
static bool shared(unsigned held, unsigned left)
{
	return held == 0 || held < left;
}

struct vol_sub *vol_pool_get(struct vol_pool *p, struct vol_held *h)
{
	struct vol_sub *s = p->free;

	if (!may_take(p, h))
		return NULL;
	if (!shared(h->subs, p->n_free)) {
		h->over = true;
		return NULL;
	}
	p->free = s->next;
	p->n_free--;
	h->subs++;
	s->buf = NULL;
	return s;
}

struct vol_sub *vol_pool_get_buf(struct vol_pool *p, struct vol_held *h)
{
	unsigned left = (unsigned)__builtin_popcountll(p->buf_free);
	struct vol_sub *s;

	if (left <= h->depth * VOL_POOL_RESERVE || !may_take(p, h))
		return NULL;
	if (!shared(h->bufs, left)) {
		h->over = true;
		return NULL;
	}
	s = vol_pool_get(p, h);
	if (!s)
		return NULL;
	h->bufs++;
	s->buf = p->buf + (size_t)__builtin_ctzll(p->buf_free) * VOL_POOL_BUF_LEN;
	p->buf_free &= p->buf_free - 1;
	return s;
}

static void put(struct vol_pool *p, struct vol_sub *s)
{
	if (s->buf) {
		size_t i = (size_t)((uint8_t *)s->buf - p->buf) / VOL_POOL_BUF_LEN;

		p->buf_free |= 1ULL << i;
	}
	s->next = p->free;
	p->free = s;
	p->n_free++;
}

static struct vol_waiter *first(struct vol_pool *p)
{
	struct vol_waiter *w = p->head;

	p->head = w->next;
	if (!p->head)
		p->tail = &p->head;
	w->waiting = false;
	p->waiting[w->depth]--;
	return w;
}

/*
 * Tell those in line, each once: one that still lacks something is at the end of the line again.
 * What comes back while one is told is there for the next.
 */
static void tell(struct vol_pool *p)
{
	struct vol_waiter *last;

	if (p->telling || !p->head)
		return;
	p->telling = true;
	last = (struct vol_waiter *)(void *)((char *)p->tail - offsetof(struct vol_waiter, next));
	for (;;) {
		struct vol_waiter *w = first(p);

		w->ready(w);
		if (w == last || !p->head || !p->free)
			break;
	}
	p->telling = false;
}

bool vol_pool_put(struct vol_pool *p, struct vol_held *h, struct vol_sub *s)
{
	bool again = h->over;

	h->over = false;
	h->subs--;
	h->bufs -= s->buf != NULL;
	put(p, s);
	tell(p);
	return again;
}

void vol_pool_wait(struct vol_pool *p, struct vol_waiter *w)
{
	if (w->waiting)
		return;
	w->waiting = true;
	p->waiting[w->depth]++;
	w->next = NULL;
	*p->tail = w;
	p->tail = &w->next;
}

void vol_pool_forget(struct vol_pool *p, struct vol_waiter *w)
{
	if (!w->waiting)
		return;
	for (struct vol_waiter **at = &p->head; *at; at = &(*at)->next) {
		if (*at != w)
			continue;
		*at = w->next;
		if (p->tail == &w->next)
			p->tail = at;
		w->waiting = false;
		p->waiting[w->depth]--;
		return;
	}
}
