// SPDX-License-Identifier: Apache-2.0
/*
 * Which flows carry most now: two walks over the table, and of each flow what its counters gained
 * in between. A walk goes in steps, so that a million flows stop nobody; the second keeps the
 * highest rates in a heap of fixed size for each order. A step has the same flows in both walks and
 * its time stands beside it: how long a walk takes does not show in the rates.
 */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "subtable.h"

#define STEP_FLOWS 1024u
#define STEPS_MAX (FLOW_CHUNKS * FLOW_CHUNK / STEP_FLOWS)
static_assert(FLOW_CHUNK % STEP_FLOWS == 0, "a step is within a chunk");

/* What the first walk saw. */
struct seen {
	uint64_t id; // 0: no flow
	uint64_t count[ODP_TOP_ORDERS];
};

/* The lowest rate is the first: no place has a higher one than those at 2i + 1 and 2i + 2. */
struct heap {
	unsigned n;
	struct odp_top_flow f[ODP_TOP_MAX];
};

struct odp_top {
	struct odp *dp; // borrowed
	uint32_t next; // step
	uint64_t begun_ns;
	enum { TOP_FIRST, TOP_BETWEEN, TOP_SECOND, TOP_DONE } state;
	struct seen *seen[FLOW_CHUNKS]; // owned; NULL: no such chunk then
	uint64_t ns[STEPS_MAX]; // of the first walk; 0: not seen by it
	struct heap heap[ODP_TOP_ORDERS];
};

int odp_top_create(struct odp *dp, struct odp_top **out)
{
	struct odp_top *t = dpu_calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->dp = dp;
	t->begun_ns = dpu_now_ns();
	*out = t;
	return 0;
}

static void forget(struct odp_top *t)
{
	for (unsigned c = 0; c < FLOW_CHUNKS; c++) {
		free(t->seen[c]);
		t->seen[c] = NULL;
	}
}

void odp_top_destroy(struct odp_top *t)
{
	if (!t)
		return;
	forget(t);
	free(t);
}

/* ---- the highest ---- */

static void swap(struct odp_top_flow *a, struct odp_top_flow *b)
{
	struct odp_top_flow was = *a;

	*a = *b;
	*b = was;
}

static void sift_down(struct heap *h, enum odp_top_by by)
{
	for (unsigned at = 0, low = 0;; at = low) {
		for (unsigned i = 2 * at + 1; i < h->n && i <= 2 * at + 2; i++)
			if (h->f[i].rate[by] < h->f[low].rate[by])
				low = i;
		if (low == at)
			return;
		swap(&h->f[at], &h->f[low]);
	}
}

static void heap_offer(struct heap *h, enum odp_top_by by, const struct odp_top_flow *f)
{
	if (h->n == ODP_TOP_MAX) {
		if (f->rate[by] <= h->f[0].rate[by])
			return;
		h->f[0] = *f;
		sift_down(h, by);
		return;
	}
	unsigned i = h->n++;

	h->f[i] = *f;
	for (; i && h->f[i].rate[by] < h->f[(i - 1) / 2].rate[by]; i = (i - 1) / 2)
		swap(&h->f[i], &h->f[(i - 1) / 2]);
}

static int by_packets(const void *a, const void *b)
{
	const struct odp_top_flow *x = a, *y = b;
	const uint64_t p = x->rate[ODP_TOP_PACKETS], q = y->rate[ODP_TOP_PACKETS];

	return (p < q) - (p > q);
}

static int by_bytes(const void *a, const void *b)
{
	const struct odp_top_flow *x = a, *y = b;
	const uint64_t p = x->rate[ODP_TOP_BYTES], q = y->rate[ODP_TOP_BYTES];

	return (p < q) - (p > q);
}

unsigned odp_top_flows(const struct odp_top *t, enum odp_top_by by, const struct odp_top_flow **out)
{
	*out = t->heap[by].f;
	return t->state == TOP_DONE ? t->heap[by].n : 0;
}

/* ---- the walks ---- */

static void counts_read(
	const struct odp *dp, const struct odp_flow *f, uint64_t out[ODP_TOP_ORDERS])
{
	struct odp_flow_stats s;

	odp_flow_stats_read(dp, f, &s);
	out[ODP_TOP_PACKETS] = s.packets;
	out[ODP_TOP_BYTES] = s.bytes;
}

static void note(struct odp_top *t, const struct odp_flow *f)
{
	struct seen *s = &t->seen[f->idx / FLOW_CHUNK][f->idx % FLOW_CHUNK];

	s->id = f->id;
	counts_read(t->dp, f, s->count);
}

static uint64_t rate_of(uint64_t n, uint64_t ns)
{
	return ns ? (uint64_t)((unsigned __int128)n * 1000000000u / ns) : 0;
}

/* A flow that the first walk did not meet has come since: all that it counted is new. */
static void compare(struct odp_top *t, const struct odp_flow *f, uint64_t now_ns)
{
	const struct seen *chunk = t->seen[f->idx / FLOW_CHUNK];
	const struct seen *s = chunk ? &chunk[f->idx % FLOW_CHUNK] : NULL;
	const uint64_t seen_ns = t->ns[f->idx / STEP_FLOWS];
	const uint64_t since = seen_ns ? seen_ns : t->begun_ns;
	struct odp_top_flow now = { .id = f->id };
	uint64_t count[ODP_TOP_ORDERS];

	counts_read(t->dp, f, count);
	for (unsigned by = 0; by < ODP_TOP_ORDERS; by++) {
		if (s && s->id == f->id)
			count[by] -= s->count[by];
		now.rate[by] = rate_of(count[by], now_ns - since);
	}
	for (unsigned by = 0; by < ODP_TOP_ORDERS; by++)
		if (now.rate[by])
			heap_offer(&t->heap[by], (enum odp_top_by)by, &now);
}

/* Go on with the other half, or end. */
static void walk_end(struct odp_top *t)
{
	t->next = 0;
	if (t->state == TOP_FIRST) {
		t->state = TOP_BETWEEN;
		return;
	}
	forget(t);
	qsort(t->heap[ODP_TOP_PACKETS].f, t->heap[ODP_TOP_PACKETS].n, sizeof(struct odp_top_flow),
		by_packets);
	qsort(t->heap[ODP_TOP_BYTES].f, t->heap[ODP_TOP_BYTES].n, sizeof(struct odp_top_flow),
		by_bytes);
	t->state = TOP_DONE;
}

int odp_top_step(struct odp_top *t)
{
	const struct odp *dp = t->dp;
	uint32_t first = t->next * STEP_FLOWS, c = first / FLOW_CHUNK;
	uint64_t now_ns = dpu_now_ns();

	if (t->state == TOP_DONE)
		return 0;
	if (t->state == TOP_BETWEEN)
		t->state = TOP_SECOND;
	if (c >= dp->n_chunks) {
		walk_end(t);
		return 0;
	}
	if (t->state == TOP_FIRST)
		t->ns[t->next] = now_ns;
	if (t->state == TOP_FIRST && !t->seen[c]) {
		t->seen[c] = dpu_calloc(FLOW_CHUNK, sizeof(*t->seen[c]));
		if (!t->seen[c])
			return -ENOMEM;
	}
	for (uint32_t i = first; i < first + STEP_FLOWS; i++) {
		const struct odp_flow *f = odp_flow_at(dp->chunk, i);

		if (!odp_flow_live(f))
			continue;
		if (t->state == TOP_FIRST)
			note(t, f);
		else
			compare(t, f, now_ns);
	}
	t->next++;
	return 1;
}
