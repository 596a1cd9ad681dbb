// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of namespaces on workers. The control thread opens and closes them; what a worker uses
 * is changed by a call into it, so that workers need no lock and see each change between two turns.
 */
#include "tgt_view.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

struct change {
	struct tgt_worker *w;
	unsigned sub_idx;
	uint32_t nsid;
	struct tgt_view *view;
	struct tgt_view_ns *vn;
};

static int call(struct tgt_worker *w, int (*fn)(void *arg), void *arg)
{
	const struct nof_tgt_conf *conf = &w->t->conf;

	return conf->call(conf->env, w->idx, fn, arg);
}

/* ---- on the worker ---- */

static int install_view(void *arg)
{
	struct change *c = arg;

	c->w->views[c->sub_idx] = c->view;
	return 0;
}

static int install_ns(void *arg)
{
	struct change *c = arg;

	c->w->views[c->sub_idx]->ns[c->nsid] = c->vn;
	return 0;
}

static int take_ns(void *arg)
{
	struct change *c = arg;
	struct tgt_view *v = c->w->views[c->sub_idx];

	c->vn = v->ns[c->nsid];
	v->ns[c->nsid] = NULL;
	return 0;
}

static int in_flight(void *arg)
{
	struct change *c = arg;

	if (vol_chan_inflight(c->vn->chan))
		vol_chan_drain(c->vn->chan); // what waits for the volume's limits
	return c->vn->n_reqs || c->vn->busy || vol_chan_inflight(c->vn->chan);
}

/* ---- control ---- */

static void vn_free(struct tgt_view_ns *vn)
{
	if (!vn)
		return;
	vol_chan_close(vn->chan);
	free(vn);
}

static int vn_create(struct tgt_worker *w, struct tgt_ns *ns, struct tgt_view_ns **out)
{
	struct tgt_view_ns *vn = dpu_calloc(1, sizeof(*vn));
	int ret;

	if (!vn)
		return -ENOMEM;
	ret = vol_chan_open(ns->vol, w->group, &vn->chan);
	if (ret < 0) {
		free(vn);
		return ret;
	}
	vn->ns = ns;
	vn->w = w;
	vn->gen = ++w->t->next_gen;
	*out = vn;
	return 0;
}

static void view_free(struct tgt_view *v)
{
	for (uint32_t i = 0; v && i <= v->n; i++)
		vn_free(v->ns[i]);
	free(v);
}

int tgt_view_open(struct nof_tgt_subsys *sub, struct tgt_worker *w)
{
	struct change c = { .w = w, .sub_idx = sub->idx };
	struct tgt_view *v;
	int ret = 0;

	if (w->views[sub->idx]) // written by calls of this thread only
		return 0;
	v = dpu_calloc(1, sizeof(*v) + (sub->max_ns + 1) * sizeof(v->ns[0]));
	if (!v)
		return -ENOMEM;
	v->n = sub->max_ns;
	for (uint32_t i = 1; i <= v->n && !ret; i++)
		if (sub->ns[i] && !sub->ns[i]->dying)
			ret = vn_create(w, sub->ns[i], &v->ns[i]);
	if (ret < 0) {
		view_free(v);
		return ret;
	}
	c.view = v;
	return call(w, install_view, &c);
}

static struct tgt_view_ns *take(struct tgt_worker *w, unsigned sub_idx, uint32_t nsid)
{
	struct change c = { .w = w, .sub_idx = sub_idx, .nsid = nsid };

	call(w, take_ns, &c);
	return c.vn;
}

static void retire(struct nof_tgt *t, struct tgt_view_ns *vn)
{
	struct change c = { .vn = vn };

	if (!vn)
		return;
	if (call(vn->w, in_flight, &c))
		TAILQ_INSERT_TAIL(&t->dying, vn, link);
	else
		vn_free(vn);
}

int tgt_view_ns_add(struct nof_tgt_subsys *sub, struct tgt_ns *ns)
{
	struct nof_tgt *t = sub->t;

	for (unsigned i = 0; i < t->conf.n_workers; i++) {
		struct change c = { .w = &t->workers[i], .sub_idx = sub->idx, .nsid = ns->nsid };
		int ret;

		if (!c.w->views[sub->idx])
			continue;
		ret = vn_create(c.w, ns, &c.vn);
		if (ret < 0) {
			tgt_view_ns_del(sub, ns);
			return ret;
		}
		call(c.w, install_ns, &c);
	}
	return 0;
}

void tgt_view_ns_del(struct nof_tgt_subsys *sub, struct tgt_ns *ns)
{
	struct nof_tgt *t = sub->t;

	for (unsigned i = 0; i < t->conf.n_workers; i++)
		if (t->workers[i].views[sub->idx])
			retire(t, take(&t->workers[i], sub->idx, ns->nsid));
}

void tgt_view_close(struct nof_tgt_subsys *sub)
{
	struct nof_tgt *t = sub->t;

	for (unsigned i = 0; i < t->conf.n_workers; i++) {
		struct tgt_worker *w = &t->workers[i];
		struct change c = { .w = w, .sub_idx = sub->idx };
		struct tgt_view *v = w->views[sub->idx];

		if (!v)
			continue;
		for (uint32_t n = 1; n <= v->n; n++)
			if (v->ns[n])
				retire(t, take(w, sub->idx, n));
		call(w, install_view, &c);
		free(v);
	}
}

bool tgt_view_reap(struct nof_tgt *t, const struct tgt_ns *ns)
{
	struct tgt_view_ns *vn = TAILQ_FIRST(&t->dying), *next;
	bool left = false;

	for (; vn; vn = next) {
		struct change c = { .vn = vn };

		next = TAILQ_NEXT(vn, link);
		if (call(vn->w, in_flight, &c)) {
			left |= !ns || vn->ns == ns;
			continue;
		}
		TAILQ_REMOVE(&t->dying, vn, link);
		vn_free(vn);
	}
	return !left;
}
