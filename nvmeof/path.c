// SPDX-License-Identifier: Apache-2.0
/* Paths of a volume: which one takes the next command. */
#include "path.h"

#include <errno.h>

void nof_path_init(struct nof_path_pick *p, struct nof_view *view, unsigned worker, int node)
{
	*p = (struct nof_path_pick){ .view = view, .worker = worker, .node = node };
	p->last = NOF_CTRLS_MAX - 1;
}

/*
 * The worker's queue of a path, if it can be used now, and what it is worth: optimized ones more
 * than others. The controller is looked up once: control takes paths away at any moment, and the
 * controller itself only after this worker was between two turns.
 */
static struct nof_io *usable(const struct nof_path_pick *p, unsigned path, unsigned *worth)
{
	const struct nof_path *v = &p->view->path[path];
	struct nof_ctrl *c = atomic_load_explicit(&v->ctrl, memory_order_acquire);
	struct nof_io *io = c ? &c->io[p->worker] : NULL;

	if (!io || !io->q || !io->q->is_up)
		return NULL;
	switch (atomic_load_explicit(&v->ana, memory_order_acquire)) {
	case NOF_ANA_OPTIMIZED:
		*worth = 2;
		return io;
	case NOF_ANA_NON_OPTIMIZED:
		*worth = 1;
		return io;
	default:
		return NULL;
	}
}

/* What a policy prefers among paths of one ANA state. */
static bool preferred(const struct nof_path_pick *p, unsigned path, enum vol_policy policy)
{
	const struct nof_path *v = &p->view->path[path];

	if (policy == VOL_NUMA)
		return p->node >= 0 &&
		       atomic_load_explicit(&v->node, memory_order_relaxed) == p->node;
	return policy == VOL_ACTIVE_PASSIVE &&
	       atomic_load_explicit(&v->preferred, memory_order_relaxed);
}

int nof_path_pick(struct nof_path_pick *p, uint64_t now_ns, struct nof_io **out)
{
	enum vol_policy policy = (enum vol_policy)atomic_load_explicit(
		&p->view->policy, memory_order_relaxed);
	unsigned best_worth = 0, best = NOF_CTRLS_MAX;
	unsigned first = policy == VOL_ACTIVE_PASSIVE ? 0 : 1; // the last one again, if it can be

	p->doubt_until_ns = 0;
	for (unsigned i = first; i < first + NOF_CTRLS_MAX; i++) {
		unsigned path = (p->last + i) % NOF_CTRLS_MAX, w = 0;
		struct nof_io *io = usable(p, path, &w);

		if (!io)
			continue;
		if (p->doubt[path] > now_ns) {
			if (!p->doubt_until_ns || p->doubt[path] < p->doubt_until_ns)
				p->doubt_until_ns = p->doubt[path];
			continue;
		}
		if (policy >= VOL_NUMA)
			w = 2 * w + preferred(p, path, policy);
		if (w > best_worth || (w == best_worth && policy == VOL_QUEUE_DEPTH &&
					      p->out[path] < p->out[best])) {
			best_worth = w;
			best = path;
			*out = io;
		}
	}
	if (best == NOF_CTRLS_MAX)
		return -ENOENT;
	p->last = best;
	return (int)best;
}

void nof_path_doubt(struct nof_path_pick *p, unsigned path, uint64_t until_ns)
{
	p->doubt[path] = until_ns;
}

bool nof_path_retryable(uint16_t status)
{
	switch ((enum nof_sc)(status & NOF_SC_MASK)) {
	case NOF_SC_DATA_TRANSFER:
	case NOF_SC_INTERNAL:
	case NOF_SC_ABORT_REQUESTED:
	case NOF_SC_INTERRUPTED:
	case NOF_SC_TRANSIENT:
	case NOF_SC_NS_NOT_READY:
		return true;
	default:
		return false;
	}
}

bool nof_path_unsupported(uint16_t status)
{
	uint16_t sc = status & NOF_SC_MASK;

	return sc == NOF_SC_INVALID_OPCODE || sc == NOF_SC_COMMAND_SIZE;
}

void nof_path_wait(struct nof_host *h, unsigned worker, struct nof_waiting *w)
{
	if (w->on)
		return;
	w->on = true;
	TAILQ_INSERT_TAIL(&h->workers[worker].waiting, w, link);
}

void nof_path_unwait(struct nof_host *h, unsigned worker, struct nof_waiting *w)
{
	if (!w->on)
		return;
	w->on = false;
	TAILQ_REMOVE(&h->workers[worker].waiting, w, link);
}

int nof_path_worker(const struct nof_host *h, const struct nof_group *g)
{
	for (unsigned i = 0; i < h->n_workers; i++)
		if (h->workers[i].group == g)
			return (int)i;
	return -EINVAL;
}
