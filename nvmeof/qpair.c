// SPDX-License-Identifier: Apache-2.0
/* Queue pairs: slots, identifiers, timeouts, waiting in turn. */
#include "qpair.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"

static void slot_sent(struct nof_tx_ref *ref);
static void on_timer(struct nof_timer *t);

int nof_qpair_init(struct nof_qpair *q, const struct nof_transport *t,
	const struct nof_qpair_owner *owner, void *arg, uint16_t qid, uint16_t depth)
{
	assert(depth >= 1 && depth <= 1024);
	*q = (struct nof_qpair){
		.transport = t, .owner = owner, .arg = arg, .qid = qid, .depth = depth
	};
	q->slots = dpu_calloc(depth, sizeof(*q->slots));
	if (!q->slots)
		return -ENOMEM;
	while (1u << q->idx_bits < depth)
		q->idx_bits++;
	for (unsigned i = depth; i-- > 0;) {
		struct nof_slot *s = &q->slots[i];

		s->q = q;
		s->idx = (uint16_t)i;
		s->ref.sent = slot_sent;
		s->next_free = q->free;
		q->free = s;
	}
	TAILQ_INIT(&q->waiters);
	q->timer.fire = on_timer;
	return 0;
}

void nof_qpair_fini(struct nof_qpair *q)
{
	assert(q->inflight == 0);
	free(q->slots);
	q->slots = NULL;
}

void nof_qpair_destroy(struct nof_qpair *q)
{
	if (!q)
		return;
	nof_timer_clear(&q->timer);
	q->transport->destroy(q);
}

/* ---- slots ---- */

static unsigned in_foreground(const struct nof_qpair *q)
{
	return q->inflight - q->background;
}

/* Those in line come first: what is free may be kept for one that waits for two. */
static bool may_take(const struct nof_qpair *q)
{
	return q->is_up && (q->serving || TAILQ_EMPTY(&q->waiters));
}

struct nof_slot *nof_qpair_take(struct nof_qpair *q)
{
	struct nof_slot *s = q->free;

	if (!s || !may_take(q))
		return NULL;
	q->free = s->next_free;
	memset(&s->sqe, 0, sizeof(s->sqe));
	s->iov = NULL;
	s->n_iov = 0;
	s->skip = 0;
	s->len = 0;
	s->dir = NOF_NO_DATA;
	s->background = false;
	return s;
}

bool nof_qpair_take_two(struct nof_qpair *q, struct nof_slot *out[2])
{
	if (!q->free || !q->free->next_free || !may_take(q))
		return false;
	for (unsigned i = 0; i < 2; i++)
		out[i] = nof_qpair_take(q);
	return true;
}

/* Tell those in line, as far as there is what the first of them waits for. */
static void serve(struct nof_qpair *q)
{
	struct nof_waiter *last = TAILQ_LAST(&q->waiters, nof_waiters), *w;
	bool inside = q->serving;

	// One that is told may not want it any more: then it is the next one's.
	while (last && q->is_up && q->free && (w = TAILQ_FIRST(&q->waiters)) != NULL) {
		if (w->two && !q->free->next_free)
			break;
		TAILQ_REMOVE(&q->waiters, w, link);
		w->waiting = false;
		q->serving = true;
		w->ready(w);
		q->serving = inside;
		if (w == last)
			break;
	}
}

static void slot_free(struct nof_slot *s)
{
	struct nof_qpair *q = s->q;

	s->next_free = q->free;
	q->free = s;
	serve(q);
}

void nof_slot_drop(struct nof_slot *s)
{
	slot_free(s);
}

void nof_qpair_wait(struct nof_qpair *q, struct nof_waiter *w)
{
	if (w->waiting)
		return;
	w->waiting = true;
	TAILQ_INSERT_TAIL(&q->waiters, w, link);
}

void nof_qpair_unwait(struct nof_qpair *q, struct nof_waiter *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	TAILQ_REMOVE(&q->waiters, w, link);
	serve(q); // what was kept for it
}

void nof_qpair_submit(struct nof_slot *s)
{
	struct nof_qpair *q = s->q;

	s->gen++;
	s->sqe.cid = dpu_le16_put((uint16_t)(s->idx | (uint32_t)s->gen << q->idx_bits));
	s->sqe.flags = (uint8_t)((s->sqe.flags & NOF_FUSE_MASK) | NOF_PSDT_SGL);
	s->inflight = true;
	s->again = true; // when this is called from `done`
	s->since_ns = 0;
	s->begin_ns = q->lat ? dpu_lat_begin(q->lat) : 0;
	s->moved = s->r2t_off = s->r2t_left = 0;
	s->queued = s->capsule_out = s->answered = s->bad_data = false;
	dpu_counter_add(&q->n.commands, 1);
	q->inflight++;
	q->background += s->background;
	if (!s->background && in_foreground(q) == 1)
		q->transport->busy(q, true);
	q->transport->submit(q, s);
}

struct nof_slot *nof_qpair_find(struct nof_qpair *q, uint16_t cid)
{
	unsigned idx = cid & ((1u << q->idx_bits) - 1);
	struct nof_slot *s = idx < q->depth ? &q->slots[idx] : NULL;

	if (s && s->inflight && !s->answered && dpu_le16_get(s->sqe.cid) == cid)
		return s;
	dpu_counter_add(&q->n.stale, 1);
	return NULL;
}

static void timed(const struct nof_slot *s)
{
	enum dpu_lat_class c = s->sqe.opc == NOF_NVM_READ    ? DPU_LAT_READ
			       : s->sqe.opc == NOF_NVM_WRITE ? DPU_LAT_WRITE
							     : DPU_LAT_OTHER;

	dpu_lat_end(s->q->lat, c, s->begin_ns, 1);
}

void nof_slot_end(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_qpair *q = s->q;

	assert(s->ref.lent == 0);
	if (__builtin_expect(s->begin_ns != 0, 0) && cqe && nof_cqe_status(cqe) == 0)
		timed(s);
	s->inflight = false;
	q->inflight--;
	q->background -= s->background;
	s->again = false;
	s->done(s, cqe, err);
	if (!s->again)
		slot_free(s);
	if (in_foreground(q) == 0 && q->is_up)
		q->transport->busy(q, false);
}

void nof_slot_answer(struct nof_slot *s, const struct nof_cqe *cqe)
{
	struct nof_cqe copy = *cqe; // the slot's own may be the one of the next command

	s->answered = true;
	if (s->ref.lent) {
		s->cqe = copy;
		return;
	}
	nof_slot_end(s, &copy, 0);
}

/* The transport gave back what was lent: an answer may have come before. */
static void slot_sent(struct nof_tx_ref *ref)
{
	struct nof_slot *s = (struct nof_slot *)((char *)ref - offsetof(struct nof_slot, ref));
	struct nof_cqe cqe = s->cqe;

	if (s->inflight && s->answered)
		nof_slot_end(s, &cqe, 0);
}

/* ---- the connection ---- */

int nof_qpair_attach(struct nof_qpair *q, struct nof_group *g)
{
	int ret = q->transport->attach(q, g);

	if (ret)
		return ret;
	q->group = g;
	if (in_foreground(q))
		q->transport->busy(q, true);
	if (q->timeout_ns || q->connect_by_ns)
		nof_timer_set(g, &q->timer, nof_group_now(g));
	return 0;
}

void nof_qpair_detach(struct nof_qpair *q)
{
	nof_timer_clear(&q->timer);
	q->transport->detach(q);
	q->group = NULL;
}

void nof_qpair_fail(struct nof_qpair *q, int err)
{
	q->transport->fail(q, err);
}

void nof_qpair_now_up(struct nof_qpair *q)
{
	q->is_up = true;
	q->connect_by_ns = 0;
	q->owner->up(q);
}

void nof_qpair_now_down(struct nof_qpair *q, int err)
{
	nof_timer_clear(&q->timer);
	q->is_up = false;
	q->group = NULL;
	q->owner->down(q, err);
}

void nof_qpair_dismiss(struct nof_qpair *q)
{
	struct nof_waiter *w;

	q->is_up = false;
	while ((w = TAILQ_FIRST(&q->waiters))) { // there is none here any more
		nof_qpair_unwait(q, w);
		w->ready(w);
	}
}

void nof_qpair_abort(struct nof_qpair *q, int err)
{
	nof_timer_clear(&q->timer);
	q->is_up = false;
	q->transport->close(q); // what was answered and lent ends here
	q->group = NULL;
	for (unsigned i = 0; i < q->depth; i++)
		if (q->slots[i].inflight)
			nof_slot_end(&q->slots[i], NULL, err);
	nof_qpair_dismiss(q);
}

/*
 * Commands are not timed one by one: every quarter of the timeout all slots are looked at, and one
 * that was there in the first look and is older than the timeout ends the connection.
 */
static void on_timer(struct nof_timer *t)
{
	struct nof_qpair *q = (struct nof_qpair *)((char *)t - offsetof(struct nof_qpair, timer));
	uint64_t now = nof_group_now(q->group);

	if (q->connect_by_ns && now >= q->connect_by_ns) {
		dpu_counter_add(&q->n.timeouts, 1);
		nof_qpair_fail(q, -ETIMEDOUT);
		return;
	}
	for (unsigned i = 0; q->timeout_ns && i < q->depth; i++) {
		struct nof_slot *s = &q->slots[i];

		if (!s->inflight || s->background)
			continue;
		if (!s->since_ns)
			s->since_ns = now;
		if (now - s->since_ns < q->timeout_ns)
			continue;
		dpu_counter_add(&q->n.timeouts, 1);
		nof_qpair_fail(q, -ETIMEDOUT);
		return;
	}
	uint64_t next = now + (q->timeout_ns ? q->timeout_ns / 4 : UINT32_MAX);

	if (q->connect_by_ns && q->connect_by_ns < next)
		next = q->connect_by_ns;
	if (q->timeout_ns || q->connect_by_ns)
		nof_timer_set(q->group, &q->timer, next);
}
