// SPDX-License-Identifier: Apache-2.0
/* Commands of one worker over the queue of another. */
#include "relay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "host.h"

/* One for each slot of the relay; with the thread that has its message. */
struct errand {
	struct nof_msg msg;
	struct relay *r; // borrowed
	struct nof_slot *slot; // of the relay; borrowed
	struct nof_cqe cqe; // the answer
	int err;
	bool out; // it may have got to the controller
	STAILQ_ENTRY(errand) link; // at the other thread: of those that wait for a slot
};

struct relay {
	/* Fixed. */
	struct nof_qpair q; // first
	struct nof_io *over; // borrowed
	struct nof_group *home; // borrowed
	struct errand *errands; // owned; one for each slot

	/* The relay's worker. */
	struct nof_group *to; // where `idle` goes; NULL: nobody waits for the end
	struct nof_msg *idle;

	/* The thread of the other queue. */
	STAILQ_HEAD(, errand) waiting;
	struct nof_waiter slot; // waits for one of them
};

static struct relay *of_pair(struct nof_qpair *q)
{
	return (struct relay *)q;
}

/* ---- back on the relay's worker ---- */

static void end_if_idle(struct relay *r)
{
	struct nof_group *to = r->to;

	if (!to || r->q.inflight > 0)
		return;
	r->to = NULL;
	nof_group_post(to, r->idle);
}

static void on_back(struct nof_msg *m)
{
	struct errand *e = (struct errand *)m;
	struct relay *r = e->r;

	e->slot->capsule_out = e->out;
	if (e->err) // whose queue it is tells the control thread
		nof_qpair_dismiss(&r->q);
	nof_slot_end(e->slot, e->err ? NULL : &e->cqe, e->err);
	end_if_idle(r);
}

/* ---- on the thread of the other queue ---- */

static void go_back(struct errand *e, int err)
{
	e->err = err;
	e->msg.run = on_back;
	nof_group_post(e->r->home, &e->msg);
}

static void answered(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct errand *e = s->arg;

	if (!err)
		e->cqe = *cqe;
	e->out = s->capsule_out;
	go_back(e, err);
}

static void send(struct errand *e, struct nof_slot *s)
{
	const struct nof_slot *from = e->slot;

	s->sqe = from->sqe;
	s->iov = from->iov;
	s->n_iov = from->n_iov;
	s->skip = from->skip;
	s->len = from->len;
	s->dir = from->dir;
	s->done = answered;
	s->arg = e;
	nof_qpair_submit(s);
}

static unsigned fuse(const struct errand *e)
{
	return e->slot->sqe.flags & NOF_FUSE_MASK;
}

/* Slots for the first in line, and for what is fused to it: how many, 0: there are not enough. */
static unsigned take(struct nof_qpair *q, const struct errand *e, struct nof_slot *s[2])
{
	if (fuse(e) == NOF_FUSE_FIRST)
		return nof_qpair_take_two(q, s) ? 2 : 0;
	s[0] = nof_qpair_take(q);
	return s[0] ? 1 : 0;
}

/*
 * Send as many as there are slots; those of a queue that is gone go back. With the last of these
 * goes r: its home may have freed it before we are out of here. The halves of a pair go together.
 */
static void serve(struct relay *r)
{
	struct errand *e = STAILQ_FIRST(&r->waiting), *next;

	for (; e; e = next) {
		struct nof_qpair *q = r->over->q;
		bool up = q && q->is_up, pair = fuse(e) == NOF_FUSE_FIRST;
		struct errand *both[2] = { e, STAILQ_NEXT(e, link) };
		struct nof_slot *s[2];
		unsigned n = up ? 0 : 1 + pair;

		if (pair && !both[1]) // it is on its way
			return;
		if (up) {
			n = take(q, e, s);
			if (n == 0) {
				r->slot.two = pair;
				nof_qpair_wait(q, &r->slot);
				return;
			}
		}
		for (unsigned i = 0; i < n; i++)
			STAILQ_REMOVE_HEAD(&r->waiting, link);
		next = STAILQ_FIRST(&r->waiting);
		for (unsigned i = 0; i < n; i++) {
			if (up)
				send(both[i], s[i]);
			else
				go_back(both[i], -ECONNABORTED);
		}
	}
}

static void on_slot(struct nof_waiter *w)
{
	serve((struct relay *)((char *)w - offsetof(struct relay, slot)));
}

static void on_there(struct nof_msg *m)
{
	struct errand *e = (struct errand *)m;
	struct relay *r = e->r;

	STAILQ_INSERT_TAIL(&r->waiting, e, link);
	if (!r->slot.waiting)
		serve(r);
}

/* ---- the transport's operations ---- */

static void relay_submit(struct nof_qpair *q, struct nof_slot *s)
{
	struct relay *r = of_pair(q);
	struct errand *e = &r->errands[s->idx];

	e->out = false;
	e->msg.run = on_there;
	nof_group_post(r->over->group, &e->msg);
}

static void relay_busy(struct nof_qpair *q, bool busy)
{
	(void)q;
	(void)busy; // what comes back is a message: it wakes
}

static int relay_attach(struct nof_qpair *q, struct nof_group *g)
{
	(void)g;
	q->is_up = true;
	return 0;
}

static void relay_detach(struct nof_qpair *q)
{
	(void)q;
}

static void relay_destroy(struct nof_qpair *q)
{
	struct relay *r = of_pair(q);

	assert(STAILQ_EMPTY(&r->waiting) && !r->slot.waiting);
	nof_qpair_fini(q);
	free(r->errands);
	free(r);
}

/* No `fail` and no `close`: nobody but the other queue ends what is out. */
static const struct nof_transport transport = {
	.name = "relay",
	.submit = relay_submit,
	.busy = relay_busy,
	.attach = relay_attach,
	.detach = relay_detach,
	.destroy = relay_destroy,
};

bool nof_is_relay(const struct nof_qpair *q)
{
	return q->transport == &transport;
}

void nof_relay_end(struct nof_qpair *q, struct nof_group *to, struct nof_msg *idle)
{
	struct relay *r = of_pair(q);

	nof_qpair_dismiss(q);
	r->to = to;
	r->idle = idle;
	end_if_idle(r);
}

int nof_relay_create(struct nof_io *over, struct nof_group *home, void *arg, uint16_t depth,
	struct nof_qpair **out)
{
	struct relay *r = dpu_calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	ret = nof_qpair_init(&r->q, &transport, NULL, arg, 0, depth);
	if (ret)
		goto err_free;
	r->errands = dpu_calloc(depth, sizeof(*r->errands));
	if (!r->errands) {
		ret = -ENOMEM;
		goto err_pair;
	}
	r->over = over;
	r->home = home;
	r->slot.ready = on_slot;
	STAILQ_INIT(&r->waiting);
	for (unsigned i = 0; i < depth; i++) {
		r->errands[i].r = r;
		r->errands[i].slot = &r->q.slots[i];
	}
	*out = &r->q;
	return 0;

err_pair:
	nof_qpair_fini(&r->q);
err_free:
	free(r);
	return ret;
}
