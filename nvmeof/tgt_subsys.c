// SPDX-License-Identifier: Apache-2.0
/* Subsystems with their hosts, namespaces, listeners and ANA states. */
#include "tgt_subsys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "dpu_wire.h"
#include "tgt_ctrl.h"
#include "tgt_disc.h"
#include "tgt_view.h"

#define NS_DEFAULT 32U
#define CNTLID_MIN 1U
#define CNTLID_MAX 0xffefU
#define MODEL "Outboard NVMe-oF target"

struct nof_tgt_subsys *tgt_subsys_find(struct nof_tgt *t, const char *nqn)
{
	struct nof_tgt_subsys *sub;

	if (!nqn)
		return t->discovery;
	TAILQ_FOREACH (sub, &t->subs, link)
		if (!strcmp(sub->nqn, nqn))
			return sub;
	return NULL;
}

/* ---- hosts ---- */

static struct tgt_host *host_find(struct tgt_hosts *hosts, const char *nqn)
{
	struct tgt_host *h;

	LIST_FOREACH (h, hosts, link)
		if (!strcmp(h->nqn, nqn))
			return h;
	return NULL;
}

/* 1: it is new, 0: it was there, or -errno. */
static int host_add(struct tgt_hosts *hosts, const char *nqn)
{
	struct tgt_host *h;

	if (!tgt_nqn_ok(nqn))
		return -EINVAL;
	if (host_find(hosts, nqn))
		return 0;
	h = dpu_calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	memcpy(h->nqn, nqn, strlen(nqn));
	LIST_INSERT_HEAD(hosts, h, link);
	return 1;
}

/* True: it was there. */
static bool host_del(struct tgt_hosts *hosts, const char *nqn)
{
	struct tgt_host *h = nqn ? host_find(hosts, nqn) : NULL;

	if (!h)
		return false;
	LIST_REMOVE(h, link);
	free(h);
	return true;
}

static void hosts_free(struct tgt_hosts *hosts)
{
	struct tgt_host *h;

	while ((h = LIST_FIRST(hosts)) != NULL) {
		LIST_REMOVE(h, link);
		free(h);
	}
}

/* Associations of hosts that may no longer come. */
static void end_forbidden(struct nof_tgt_subsys *sub)
{
	struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link)
		if (!tgt_host_allowed(sub, c->hostnqn))
			tgt_ctrl_end(c);
}

int nof_tgt_host_add(struct nof_tgt *t, const char *nqn, const char *host)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	int ret;

	if (!sub)
		return -ENOENT;
	ret = host_add(&sub->hosts, host);
	if (ret > 0)
		tgt_discovery_changed(t);
	return ret < 0 ? ret : 0;
}

int nof_tgt_host_del(struct nof_tgt *t, const char *nqn, const char *host)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);

	if (!sub)
		return -ENOENT;
	if (host_del(&sub->hosts, host)) {
		end_forbidden(sub);
		tgt_discovery_changed(t);
	}
	return 0;
}

int nof_tgt_allow_any_host(struct nof_tgt *t, const char *nqn, bool allow)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);

	if (!sub)
		return -ENOENT;
	if (sub->allow_any_host == allow)
		return 0;
	sub->allow_any_host = allow;
	end_forbidden(sub);
	tgt_discovery_changed(t);
	return 0;
}

/* ---- namespaces ---- */

static struct tgt_ns *ns_find(struct nof_tgt_subsys *sub, uint32_t nsid)
{
	return sub && nsid - 1 < sub->max_ns ? sub->ns[nsid] : NULL;
}

static bool same_id(const uint8_t *a, const uint8_t *b, size_t len)
{
	return !dpu_is_zero(a, len) && !memcmp(a, b, len);
}

/* RFC 9562, version 8: 122 bits of our own choice. */
static void derive_uuid(const struct nof_tgt_subsys *sub, struct tgt_ns *ns)
{
	uint64_t h = tgt_hash(ns->nsid, sub->nqn, strlen(sub->nqn));
	uint64_t l = tgt_hash(~h, sub->nqn, strlen(sub->nqn));

	memcpy(ns->uuid, &h, 8);
	memcpy(ns->uuid + 8, &l, 8);
	ns->uuid[6] = (uint8_t)(0x80 | (ns->uuid[6] & 0x0f));
	ns->uuid[8] = (uint8_t)(0x80 | (ns->uuid[8] & 0x3f));
}

static bool id_in_use(const struct nof_tgt_subsys *sub, const struct nof_tgt_ns_conf *conf)
{
	for (uint32_t i = 1; i <= sub->max_ns; i++) {
		const struct tgt_ns *ns = sub->ns[i];

		if (ns &&
			(same_id(conf->uuid, ns->uuid, 16) || same_id(conf->nguid, ns->nguid, 16) ||
				same_id(conf->eui64, ns->eui64, 8)))
			return true;
	}
	return false;
}

static int pick_nsid(const struct nof_tgt_subsys *sub, uint32_t wanted, uint32_t *out)
{
	if (wanted > sub->max_ns)
		return -EINVAL;
	if (wanted && sub->ns[wanted])
		return -EEXIST;
	for (uint32_t i = wanted ? wanted : 1; i <= sub->max_ns; i++) {
		if (sub->ns[i])
			continue;
		*out = i;
		return 0;
	}
	return -ENOSPC;
}

/* Hosts that see it hear of a change. */
static void ns_changed(struct nof_tgt_subsys *sub, uint32_t nsid)
{
	struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link) {
		uint8_t before = atomic_load_explicit(&c->access[nsid], memory_order_relaxed);

		tgt_ctrl_access_ns(c, nsid);
		if (!c->gone && (before != TGT_HIDDEN || tgt_ns_visible(c, nsid)))
			tgt_ctrl_event(c, TGT_EV_NS, nsid);
	}
}

static void ns_free(struct tgt_ns *ns)
{
	hosts_free(&ns->hosts);
	free(ns);
}

static void ns_fill(
	const struct nof_tgt_subsys *sub, const struct nof_tgt_ns_conf *conf, struct tgt_ns *ns)
{
	ns->vol = conf->vol;
	vol_info(conf->vol, &ns->info);
	ns->shift = (uint8_t)__builtin_ctz(ns->info.block_size);
	ns->anagrpid = conf->anagrpid ? conf->anagrpid : 1;
	ns->masked = conf->masked;
	memcpy(ns->uuid, conf->uuid, sizeof(ns->uuid));
	memcpy(ns->nguid, conf->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, conf->eui64, sizeof(ns->eui64));
	if (dpu_is_zero(ns->uuid, 16) && dpu_is_zero(ns->nguid, 16) && dpu_is_zero(ns->eui64, 8))
		derive_uuid(sub, ns);
	atomic_store_explicit(&ns->n_blocks, ns->info.size >> ns->shift, memory_order_relaxed);
}

int nof_tgt_ns_add(
	struct nof_tgt *t, const char *nqn, const struct nof_tgt_ns_conf *conf, uint32_t *nsid)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_ns *ns;
	uint32_t id;
	int ret;

	if (!sub || sub->discovery)
		return -ENOENT;
	if (!conf->vol || conf->anagrpid > NOF_TGT_ANA_GROUPS)
		return -EINVAL;
	ret = pick_nsid(sub, conf->nsid, &id);
	if (ret)
		return ret;
	if (id_in_use(sub, conf))
		return -EEXIST;
	ns = dpu_calloc(1, sizeof(*ns));
	if (!ns)
		return -ENOMEM;
	ns->nsid = id;
	ns_fill(sub, conf, ns);
	ret = tgt_view_ns_add(sub, ns);
	if (ret < 0) {
		ns_free(ns);
		return ret;
	}
	sub->ns[id] = ns;
	ns_changed(sub, id);
	if (nsid)
		*nsid = id;
	return 0;
}

int nof_tgt_ns_del(struct nof_tgt *t, const char *nqn, uint32_t nsid)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_ns *ns = ns_find(sub, nsid);

	if (!ns)
		return -ENOENT;
	if (!ns->dying) {
		ns->dying = true;
		ns_changed(sub, nsid);
		tgt_view_ns_del(sub, ns);
	}
	if (!tgt_view_reap(t, ns))
		return -EBUSY;
	sub->ns[nsid] = NULL;
	ns_free(ns);
	return 0;
}

static void ns_resized(struct nof_tgt_subsys *sub, struct tgt_ns *ns)
{
	struct vol_info info;

	vol_info(ns->vol, &info);
	atomic_store_explicit(&ns->n_blocks, info.size >> ns->shift, memory_order_relaxed);
	ns_changed(sub, ns->nsid);
}

void nof_tgt_vol_resized(struct nof_tgt *t, const struct vol *vol)
{
	struct nof_tgt_subsys *sub;

	TAILQ_FOREACH (sub, &t->subs, link)
		for (uint32_t i = 1; i <= sub->max_ns; i++)
			if (sub->ns[i] && sub->ns[i]->vol == vol && !sub->ns[i]->dying)
				ns_resized(sub, sub->ns[i]);
}

int nof_tgt_ns_host_add(struct nof_tgt *t, const char *nqn, uint32_t nsid, const char *host)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_ns *ns = ns_find(sub, nsid);
	int ret;

	if (!ns)
		return -ENOENT;
	if (!ns->masked)
		return -EINVAL;
	ret = host_add(&ns->hosts, host);
	if (ret > 0)
		ns_changed(sub, nsid);
	return ret < 0 ? ret : 0;
}

int nof_tgt_ns_host_del(struct nof_tgt *t, const char *nqn, uint32_t nsid, const char *host)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_ns *ns = ns_find(sub, nsid);

	if (!ns)
		return -ENOENT;
	if (host_del(&ns->hosts, host))
		ns_changed(sub, nsid);
	return 0;
}

/* ---- listeners ---- */

static struct tgt_port *port_find(struct nof_tgt *t, const struct nof_tgt_addr *at)
{
	struct tgt_port *p;

	TAILQ_FOREACH (p, &t->ports, link)
		if (!strcmp(p->addr, at->addr) && !strcmp(p->port, at->port))
			return p;
	return NULL;
}

static int port_get(
	struct nof_tgt *t, const struct nof_tgt_addr *at, bool v6, struct tgt_port **out)
{
	struct tgt_port *p = port_find(t, at);
	int ret;

	if (!p) {
		p = dpu_calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->t = t;
		p->id = ++t->next_port_id;
		p->v6 = v6;
		memcpy(p->addr, at->addr, strlen(at->addr));
		memcpy(p->port, at->port, strlen(at->port));
		ret = t->xport->listen(p);
		if (ret < 0) {
			free(p);
			return ret;
		}
		TAILQ_INSERT_TAIL(&t->ports, p, link);
	}
	p->refs++;
	*out = p;
	return 0;
}

/* End what came through it, of one subsystem or, for the last one, of discovery too. */
static void end_through(struct nof_tgt_subsys *sub, const struct tgt_port *p)
{
	struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link)
		if (c->port == p)
			tgt_ctrl_end(c);
}

static void listener_free(struct nof_tgt_subsys *sub, struct tgt_listener *l)
{
	struct tgt_port *p = l->port;
	struct nof_tgt *t = sub->t;

	TAILQ_REMOVE(&sub->listeners, l, link);
	free(l);
	end_through(sub, p);
	if (--p->refs > 0)
		return;
	end_through(t->discovery, p);
	TAILQ_REMOVE(&t->ports, p, link);
	t->xport->unlisten(p); // frees it when its last connection is gone
}

void tgt_subsys_unlisten(struct nof_tgt_subsys *sub)
{
	struct tgt_listener *l, *next;

	for (l = TAILQ_FIRST(&sub->listeners); l; l = next) {
		next = TAILQ_NEXT(l, link);
		listener_free(sub, l);
	}
}

static struct tgt_listener *listener_find(
	struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_port *p = at->addr && at->port ? port_find(t, at) : NULL;
	struct tgt_listener *l;

	if (!sub || !p)
		return NULL;
	TAILQ_FOREACH (l, &sub->listeners, link)
		if (l->port == p)
			return l;
	return NULL;
}

int nof_tgt_listener_add(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at)
{
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_listener *l;
	bool v6;
	int ret;

	if (!sub)
		return -ENOENT;
	ret = tgt_addr_check(at, &v6);
	if (ret)
		return ret;
	if (listener_find(t, nqn, at))
		return -EEXIST;
	l = dpu_calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	ret = port_get(t, at, v6, &l->port);
	if (ret) {
		free(l);
		return ret;
	}
	memset(l->ana, NOF_TGT_ANA_OPTIMIZED, sizeof(l->ana));
	TAILQ_INSERT_TAIL(&sub->listeners, l, link);
	tgt_discovery_changed(t);
	return 0;
}

int nof_tgt_listener_del(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at)
{
	struct tgt_listener *l = listener_find(t, nqn, at);

	if (!l)
		return -ENOENT;
	listener_free(tgt_subsys_find(t, nqn), l);
	tgt_discovery_changed(t);
	return 0;
}

uint16_t nof_tgt_listener_port(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at)
{
	const struct tgt_listener *l = listener_find(t, nqn, at);

	return l ? l->port->bound : 0;
}

static bool is_ana_state(enum nof_tgt_ana s)
{
	return (s >= NOF_TGT_ANA_OPTIMIZED && s <= NOF_TGT_ANA_LOSS) || s == NOF_TGT_ANA_CHANGE;
}

int nof_tgt_ana_set(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at,
	uint32_t anagrpid, enum nof_tgt_ana state)
{
	struct tgt_listener *l = listener_find(t, nqn, at);
	struct nof_tgt_subsys *sub = tgt_subsys_find(t, nqn);
	struct tgt_ctrl *c;

	if (!l)
		return -ENOENT;
	if (!sub->ana || anagrpid > NOF_TGT_ANA_GROUPS || !is_ana_state(state))
		return -EINVAL;
	for (uint32_t g = 1; g <= NOF_TGT_ANA_GROUPS; g++)
		if (anagrpid == 0 || g == anagrpid)
			l->ana[g] = (uint8_t)state;
	sub->ana_changes++;
	TAILQ_FOREACH (c, &sub->ctrls, link) {
		if (c->port != l->port || c->gone)
			continue;
		tgt_ctrl_access(c);
		tgt_ctrl_event(c, TGT_EV_ANA, 0);
	}
	return 0;
}

/* ---- subsystems ---- */

static bool is_text(const char *s, size_t max)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return len > 0 && len <= max;
}

static int check(const struct nof_tgt *t, const struct nof_tgt_subsys_conf *conf)
{
	struct nof_tgt_subsys *sub;

	if (!tgt_nqn_ok(conf->nqn))
		return -EINVAL;
	if (conf->serial && !is_text(conf->serial, 20))
		return -EINVAL;
	if (conf->model && !is_text(conf->model, 40))
		return -EINVAL;
	if (conf->max_namespaces > TGT_NS_MAX || conf->max_cntlid > CNTLID_MAX)
		return -EINVAL;
	if (conf->max_cntlid && conf->min_cntlid > conf->max_cntlid)
		return -EINVAL;
	TAILQ_FOREACH (sub, &t->subs, link)
		if (!strcmp(sub->nqn, conf->nqn))
			return -EEXIST;
	return 0;
}

static int take_idx(struct nof_tgt *t, unsigned *out)
{
	for (unsigned i = 0; i < TGT_SUBSYS_MAX / 64; i++) {
		if (!~t->subs_used[i])
			continue;
		*out = i * 64 + (unsigned)__builtin_ctzll(~t->subs_used[i]);
		t->subs_used[i] |= 1ULL << (*out % 64);
		return 0;
	}
	return -ENOSPC;
}

static void fill(struct nof_tgt_subsys *sub, const struct nof_tgt_subsys_conf *conf)
{
	memcpy(sub->nqn, conf->nqn, strlen(conf->nqn));
	if (conf->serial)
		memcpy(sub->serial, conf->serial, strlen(conf->serial));
	else
		snprintf(sub->serial, sizeof(sub->serial), "OB%016" PRIx64,
			tgt_hash(0, conf->nqn, strlen(conf->nqn)));
	snprintf(sub->model, sizeof(sub->model), "%s", conf->model ? conf->model : MODEL);
	sub->allow_any_host = conf->allow_any_host;
	sub->ana = conf->ana;
	sub->min_cntlid = conf->min_cntlid ? conf->min_cntlid : CNTLID_MIN;
	sub->max_cntlid = conf->max_cntlid ? conf->max_cntlid : CNTLID_MAX;
	sub->next_cntlid = sub->min_cntlid;
	sub->discovery = !strcmp(conf->nqn, NOF_DISCOVERY_NQN);
	sub->max_ns = conf->max_namespaces ? conf->max_namespaces : NS_DEFAULT;
	if (sub->discovery)
		sub->max_ns = 0;
}

int tgt_subsys_create(
	struct nof_tgt *t, const struct nof_tgt_subsys_conf *conf, struct nof_tgt_subsys **out)
{
	struct nof_tgt_subsys *sub;
	int ret = check(t, conf);

	if (ret)
		return ret;
	sub = dpu_calloc(1, sizeof(*sub));
	if (!sub)
		return -ENOMEM;
	sub->t = t;
	LIST_INIT(&sub->hosts);
	TAILQ_INIT(&sub->listeners);
	TAILQ_INIT(&sub->ctrls);
	fill(sub, conf);
	sub->ns = dpu_calloc(sub->max_ns + 1, sizeof(struct tgt_ns *));
	ret = sub->ns ? take_idx(t, &sub->idx) : -ENOMEM;
	if (ret) {
		free(sub->ns);
		free(sub);
		return ret;
	}
	TAILQ_INSERT_TAIL(&t->subs, sub, link);
	*out = sub;
	return 0;
}

void tgt_subsys_end(struct nof_tgt_subsys *sub)
{
	struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link)
		tgt_ctrl_end(c);
}

void tgt_subsys_free(struct nof_tgt_subsys *sub)
{
	struct nof_tgt *t = sub->t;

	tgt_subsys_unlisten(sub);
	tgt_view_close(sub);
	(void)tgt_view_reap(t, NULL);
	for (uint32_t i = 1; i <= sub->max_ns; i++)
		if (sub->ns[i])
			ns_free(sub->ns[i]);
	hosts_free(&sub->hosts);
	TAILQ_REMOVE(&t->subs, sub, link);
	t->subs_used[sub->idx / 64] &= ~(1ULL << (sub->idx % 64));
	free(sub->ns);
	free(sub);
}

int nof_tgt_subsys_add(struct nof_tgt *t, const struct nof_tgt_subsys_conf *conf)
{
	struct nof_tgt_subsys *sub;
	int ret = tgt_subsys_create(t, conf, &sub);

	if (ret)
		return ret;
	tgt_discovery_changed(t);
	dpu_info("target: subsystem created", "nqn=%s", sub->nqn);
	return 0;
}

/* Namespaces that still have something in flight keep it. */
static int ns_del_all(struct nof_tgt_subsys *sub)
{
	int ret = 0;

	for (uint32_t i = 1; i <= sub->max_ns; i++)
		if (sub->ns[i] && nof_tgt_ns_del(sub->t, sub->nqn, i) < 0)
			ret = -EBUSY;
	return ret;
}

int nof_tgt_subsys_del(struct nof_tgt *t, const char *nqn)
{
	struct nof_tgt_subsys *sub = nqn ? tgt_subsys_find(t, nqn) : NULL;

	if (!sub || sub->discovery)
		return -ENOENT;
	tgt_subsys_unlisten(sub);
	tgt_subsys_end(sub);
	if (ns_del_all(sub) < 0 || !TAILQ_EMPTY(&sub->ctrls))
		return -EBUSY;
	dpu_info("target: subsystem deleted", "nqn=%s", sub->nqn);
	tgt_subsys_free(sub);
	tgt_discovery_changed(t);
	return 0;
}
