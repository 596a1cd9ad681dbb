// SPDX-License-Identifier: Apache-2.0
/* Hosts, subsystems, and the namespaces that volumes see on their controllers. */
#include "host.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"

#define NS_PER_S 1000000000ULL

/* ---- namespaces of a controller ---- */

struct nof_ns *nof_ctrl_ns_find(const struct nof_ctrl *c, uint32_t nsid)
{
	unsigned lo = 0, hi = c->n_ns;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (c->ns[mid].nsid < nsid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n_ns && c->ns[lo].nsid == nsid ? &c->ns[lo] : NULL;
}

struct nof_ns *nof_ctrl_ns_make(struct nof_ctrl *c, uint32_t nsid)
{
	struct nof_ns *ns = nof_ctrl_ns_find(c, nsid), *more;
	unsigned room, at;

	if (ns)
		return ns;
	if (c->n_ns == NOF_NAMESPACES_MAX)
		return NULL;
	if (c->n_ns == c->ns_room) {
		room = c->ns_room ? c->ns_room * 2 : 16;
		more = realloc(c->ns, room * sizeof(*more));
		if (!more)
			return NULL;
		c->ns = more;
		c->ns_room = room;
	}
	for (at = c->n_ns; at > 0 && c->ns[at - 1].nsid > nsid; at--)
		c->ns[at] = c->ns[at - 1];
	c->n_ns++;
	c->ns[at] = (struct nof_ns){ .nsid = nsid };
	return &c->ns[at];
}

static enum nof_ana state_of(const struct nof_ctrl *c, const struct nof_ns *ns)
{
	if (!c->id.ana || ns->id.ana_grpid == 0)
		return NOF_ANA_OPTIMIZED;
	for (unsigned i = 0; i < c->n_ana; i++)
		if (c->ana[i].grpid == ns->id.ana_grpid)
			return c->ana[i].state;
	return NOF_ANA_INACCESSIBLE; // of a group that it does not tell of
}

static void update_view(const struct nof_ctrl *c, struct nof_view *v)
{
	const struct nof_ns *ns = nof_ctrl_ns_find(c, v->nsid);
	bool usable = ns && ns->usable && v->accepts(v, c, ns);

	atomic_store_explicit(
		&v->path[c->slot].ana, usable ? (uint8_t)ns->ana : 0, memory_order_release);
	if (usable)
		v->changed(v);
}

const struct nof_ns *nof_view_ns(const struct nof_view *v, unsigned slot)
{
	const struct nof_ctrl *c = v->subsys->ctrl[slot];

	if (!c || c->state != NOF_CTRL_LIVE ||
		!atomic_load_explicit(&v->path[slot].ana, memory_order_relaxed))
		return NULL;
	return nof_ctrl_ns_find(c, v->nsid);
}

static void on_gone(struct nof_timer *t)
{
	struct nof_view *v = (struct nof_view *)((char *)t - offsetof(struct nof_view, gone_timer));

	dpu_warn_ratelimited("nvme: requests fail until the namespace is back", "nqn=%s nsid=%u",
		v->subsys->nqn, v->nsid);
	v->gone = true;
	atomic_store_explicit(&v->fail, true, memory_order_release);
	nof_host_poke(v->subsys->host);
}

/*
 * A namespace that is on none of the controllers that are live is as one without a path: requests
 * wait for as long as the controllers' fast_io_fail_timeout_s says, the longest, or for good.
 */
static void look_gone(struct nof_view *v)
{
	const struct nof_subsys *s = v->subsys;
	uint64_t wait_s = 0;
	bool live = false, there = false, for_good = false;

	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		const struct nof_ctrl *o = s->ctrl[i];

		if (!o || o->state != NOF_CTRL_LIVE)
			continue;
		live = true;
		there |= atomic_load_explicit(&v->path[i].ana, memory_order_relaxed) != 0;
		for_good |= !o->conf.fast_io_fail_timeout_s;
		if (o->conf.fast_io_fail_timeout_s > wait_s)
			wait_s = o->conf.fast_io_fail_timeout_s;
	}
	if (there && v->gone) {
		v->gone = false;
		atomic_store_explicit(&v->fail, false, memory_order_release);
	}
	if (!live || there || for_good)
		nof_timer_clear(&v->gone_timer);
	else if (!v->gone && !v->gone_timer.group)
		nof_timer_set(s->host->control, &v->gone_timer,
			nof_group_now(s->host->control) + wait_s * NS_PER_S);
}

void nof_ctrl_ns_scanned(struct nof_ctrl *c)
{
	struct nof_view *v;
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_ns; i++) {
		if (!c->ns[i].seen)
			continue;
		c->ns[n] = c->ns[i];
		c->ns[n].id = c->ns[n].next;
		c->ns[n].usable = c->ns[n].usable_next;
		c->ns[n].ana = state_of(c, &c->ns[n]);
		n++;
	}
	c->n_ns = n;
	if (c->state != NOF_CTRL_LIVE)
		return; // nof_ctrl_paths() tells them
	LIST_FOREACH (v, &c->subsys->views, link) {
		update_view(c, v);
		look_gone(v);
	}
	nof_host_poke(c->host);
}

static void info_of(const struct nof_ns *ns, struct nof_ns_info *out)
{
	*out = (struct nof_ns_info){
		.nsid = ns->nsid,
		.size = ns->usable ? ns->id.blocks << ns->id.lba_shift : 0,
		.block_size = ns->usable ? 1u << ns->id.lba_shift : 0,
		.ana = (uint8_t)ns->ana,
		.read_only = ns->id.read_only,
		.usable = ns->usable,
	};
	memcpy(out->uuid, ns->id.uuid, sizeof(out->uuid));
	memcpy(out->nguid, ns->id.nguid, sizeof(out->nguid));
	memcpy(out->eui64, ns->id.eui64, sizeof(out->eui64));
}

int nof_ctrl_ns(const struct nof_ctrl *c, unsigned idx, struct nof_ns_info *out)
{
	if (idx >= c->n_ns)
		return -ENOENT;
	info_of(&c->ns[idx], out);
	return 0;
}

int nof_ctrl_ns_of(const struct nof_ctrl *c, uint32_t nsid, struct nof_ns_info *out)
{
	const struct nof_ns *ns = nof_ctrl_ns_find(c, nsid);

	if (!ns)
		return -ENOENT;
	info_of(ns, out);
	return 0;
}

void nof_ctrl_ns_watch(struct nof_ctrl *c, void (*fn)(void *arg), void *arg)
{
	c->ns_read = fn;
	c->ns_arg = arg;
}

/* ---- paths ---- */

void nof_ctrl_paths(struct nof_ctrl *c, bool there)
{
	struct nof_view *v;

	LIST_FOREACH (v, &c->subsys->views, link) {
		if (there)
			update_view(c, v);
		atomic_store_explicit(
			&v->path[c->slot].node, (int8_t)c->node, memory_order_relaxed);
		atomic_store_explicit(
			&v->path[c->slot].ctrl, there ? c : NULL, memory_order_release);
		if (!there)
			v->changed(v);
		look_gone(v);
	}
	nof_host_poke(c->host);
}

void nof_ctrl_ended(struct nof_ctrl *c, uint64_t assoc)
{
	struct nof_view *v;

	LIST_FOREACH (v, &c->subsys->views, link)
		atomic_store_explicit(&v->path[c->slot].ended, assoc, memory_order_release);
	nof_host_poke(c->host);
}

int nof_view_join(struct nof_host *h, const char *nqn, struct nof_view *v)
{
	struct nof_subsys *s = nof_subsys_get(h, nqn);

	if (!s)
		return -ENOMEM;
	v->subsys = s;
	v->gone_timer.fire = on_gone;
	LIST_INSERT_HEAD(&s->views, v, link);
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		struct nof_ctrl *c = s->ctrl[i];

		if (!c || c->state != NOF_CTRL_LIVE)
			continue;
		update_view(c, v);
		atomic_store_explicit(&v->path[i].node, (int8_t)c->node, memory_order_relaxed);
		atomic_store_explicit(&v->path[i].ctrl, c, memory_order_release);
	}
	look_gone(v);
	return 0;
}

void nof_view_leave(struct nof_view *v)
{
	if (!v->subsys)
		return;
	nof_timer_clear(&v->gone_timer);
	LIST_REMOVE(v, link);
	nof_subsys_put(v->subsys);
	v->subsys = NULL;
}

/* ---- subsystems ---- */

struct nof_subsys *nof_subsys_get(struct nof_host *h, const char *nqn)
{
	struct nof_subsys *s;

	LIST_FOREACH (s, &h->subsystems, link)
		if (!strcmp(s->nqn, nqn))
			return s;
	s = dpu_calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->host = h;
	memcpy(s->nqn, nqn, strlen(nqn)); // NOF_NQN_MAX at most
	LIST_INIT(&s->views);
	LIST_INSERT_HEAD(&h->subsystems, s, link);
	return s;
}

void nof_subsys_put(struct nof_subsys *s)
{
	if (!LIST_EMPTY(&s->views))
		return;
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++)
		if (s->ctrl[i])
			return;
	LIST_REMOVE(s, link);
	free(s);
}

/* ---- the host ---- */

void nof_worker_look(struct nof_host_worker *w)
{
	struct nof_waiting end = { .on = true }, *x; // who waits again stands behind it

	TAILQ_INSERT_TAIL(&w->waiting, &end, link);
	while ((x = TAILQ_FIRST(&w->waiting)) != &end) {
		TAILQ_REMOVE(&w->waiting, x, link);
		x->on = false;
		x->again(x);
	}
	TAILQ_REMOVE(&w->waiting, &end, link);
}

static void on_poke(struct nof_msg *m)
{
	struct nof_host_worker *w = (struct nof_host_worker *)((char *)m -
							       offsetof(struct nof_host_worker,
								       poke));

	// Before looking: pairs with nof_host_poke(). What changes from here on pokes again.
	atomic_exchange_explicit(&w->poked, false, memory_order_acq_rel);
	nof_worker_look(w);
}

void nof_host_poke(struct nof_host *h)
{
	for (unsigned i = 0; i < h->n_workers; i++) {
		struct nof_host_worker *w = &h->workers[i];

		if (!atomic_exchange_explicit(&w->poked, true, memory_order_acq_rel))
			nof_group_post(w->group, &w->poke);
	}
}

static bool nqn_ok(const char *nqn)
{
	return nqn && !strncmp(nqn, "nqn.", 4) && strlen(nqn) <= NOF_NQN_MAX;
}

int nof_host_create(const struct nof_host_conf *conf, struct nof_host **out)
{
	struct nof_host *h;

	if (!nqn_ok(conf->hostnqn) || conf->n_workers == 0 || conf->n_workers > NOF_WORKERS_MAX)
		return -EINVAL;
	h = dpu_calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->workers = dpu_calloc(conf->n_workers, sizeof(*h->workers));
	if (!h->workers) {
		free(h);
		return -ENOMEM;
	}
	h->control = conf->control;
	h->n_workers = conf->n_workers;
	for (unsigned i = 0; i < conf->n_workers; i++) {
		h->workers[i].group = conf->workers[i];
		h->workers[i].node = conf->nodes ? conf->nodes[i] : -1;
		h->workers[i].poke.run = on_poke;
		TAILQ_INIT(&h->workers[i].waiting);
	}
	memcpy(h->hostnqn, conf->hostnqn, strlen(conf->hostnqn));
	memcpy(h->hostid, conf->hostid, sizeof(h->hostid));
	LIST_INIT(&h->subsystems);
	TAILQ_INIT(&h->ctrls);
	*out = h;
	return 0;
}

void nof_host_destroy(struct nof_host *h)
{
	if (!h)
		return;
	assert(TAILQ_EMPTY(&h->ctrls) && LIST_EMPTY(&h->subsystems));
	free(h->workers);
	free(h);
}
