// SPDX-License-Identifier: Apache-2.0
/* Fragments that wait in front of conntrack, and datagrams that have become whole. */
#include "hold.h"

#include <stdlib.h>

#include <rte_mempool.h>

#include "dpu_alloc.h"
#include "track.h"

#define POOL_PART 4u // of all packets, one in so many may be a fragment that waits
#define BYTES_MAX (8u << 20)
#define BYTES_MIN (640u << 10) // a source's share is a datagram of 64 pieces
#define EXPIRE_TURN 8u // datagrams

struct odp_hold {
	struct odp_worker *w; // borrowed: contains it
	struct odp_frags *frags; // owned
	unsigned first; // of w->n_whole
	struct odp_whole whole[ODP_WHOLES + 1]; // one more, into which the next is put
};

/* High half of a zone in here: ports that had a number one after the other. */
static uint32_t serial_of(const struct odp_pw *pw)
{
	return pw->port->serial << 16;
}

/* Those of a port that is gone are nobody's any more. */
static void dropped(void *arg, uint64_t source, uint32_t zone, enum odp_drop why, unsigned n)
{
	struct odp_hold *h = arg;
	struct odp_pw *pw = odp_pw(h->w, (uint32_t)(source >> 32));

	if (pw && serial_of(pw) == (zone & 0xffff0000))
		dpu_counter_add(&pw->drops[why], n);
}

/* All workers together must leave packets for those who send none in pieces. */
static uint32_t bytes_of(const struct odp *dp)
{
	const struct rte_mempool *pool = dp->conf.pool;
	uint64_t all = (uint64_t)pool->size * pool->elt_size;
	uint64_t own = all / POOL_PART / (dp->conf.n_workers + 1);

	return (uint32_t)RTE_MIN(RTE_MAX(own, BYTES_MIN), BYTES_MAX);
}

int odp_hold_create(struct odp_worker *w, struct odp_hold **out)
{
	struct odp_hold *h = dpu_calloc(1, sizeof(*h));
	const struct odp_frag_conf conf = { .pool = w->dp->conf.pool,
		.seed = w->dp->seed,
		.bytes = bytes_of(w->dp),
		.dropped = dropped,
		.arg = h };

	if (!h)
		return -ENOMEM;
	int ret = odp_frag_create(&conf, &h->frags);

	if (ret < 0) {
		free(h);
		return ret;
	}
	h->w = w;
	*out = h;
	return 0;
}

void odp_hold_destroy(struct odp_hold *h)
{
	if (!h)
		return;
	odp_frag_destroy(h->frags);
	free(h);
}

/* The port, and who is behind it. */
static uint64_t source_of(const struct odp_place *at)
{
	uint64_t id = at->meta ? dpu_be64_get(at->meta->key.tnl.id) : 0;
	uint32_t port = at->meta ? at->meta->key.in_port : at->from.in->port->no;

	return (uint64_t)port << 32 | (uint32_t)id;
}

/* A port that has the number of a deleted one never finishes what that one began. */
static uint32_t zone_of(const struct odp_worker *w, uint64_t source, const struct odp_place *at)
{
	const struct odp_pw *pw = odp_pw(w, (uint32_t)(source >> 32));

	return (pw ? serial_of(pw) : 0) | at->ct->zone;
}

bool odp_hold_in(struct odp_worker *w, struct rte_mbuf *m, const struct odp_place *at)
{
	struct odp_hold *h = w->hold;
	uint64_t source = source_of(at);
	struct odp_whole *d;
	int ret;

	if (!h)
		return false;
	d = &h->whole[(h->first + w->n_whole) % RTE_DIM(h->whole)];
	ret = odp_frag_in(
		h->frags, m, source, zone_of(w, source, at), odp_track_now_ms(w) * 1000000, &d->d);
	if (ret == ODP_FRAG_PASS)
		return false;
	w->holds = odp_frag_waiting(h->frags) > 0;
	if (ret != ODP_FRAG_DONE)
		return true;
	if (w->n_whole == ODP_WHOLES) {
		odp_drop(at->from.in, ODP_DROP_FRAG_LIMIT, d->d.frags, d->d.n);
		return true;
	}
	d->at = *at;
	if (at->meta) {
		odp_meta_copy(&d->meta, at->meta);
		d->at.meta = d->at.from.meta = &d->meta;
	}
	w->n_whole++;
	return true;
}

struct odp_whole *odp_hold_first(struct odp_worker *w)
{
	return &w->hold->whole[w->hold->first];
}

void odp_hold_next(struct odp_worker *w)
{
	w->hold->first = (w->hold->first + 1) % RTE_DIM(w->hold->whole);
	w->n_whole--;
}

void odp_hold_turn(struct odp_worker *w)
{
	odp_frag_expire(w->hold->frags, odp_track_now_ms(w) * 1000000, EXPIRE_TURN);
	w->holds = odp_frag_waiting(w->hold->frags) > 0;
}

void odp_hold_forget(struct odp_worker *w, uint32_t port)
{
	if (!w->holds)
		return;
	odp_frag_forget(w->hold->frags, port);
	w->holds = odp_frag_waiting(w->hold->frags) > 0;
}

void odp_hold_stats_add(const struct odp_hold *h, struct odp_frag_stats *sum)
{
	if (h)
		odp_frag_stats_add(h->frags, sum);
}
