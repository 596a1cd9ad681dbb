// SPDX-License-Identifier: Apache-2.0
/* The target: its parts, what is counted, what is shown. */
#include "tgt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_id.h"
#include "tgt_ctrl.h"
#include "tgt_subsys.h"
#include "tgt_view.h"

#define QUEUE_DEPTH 128U
#define QUEUE_DEPTH_MAX 1024U
#define IO_QUEUES 127U
#define IN_CAPSULE 4096U
#define IN_CAPSULE_MAX 16384U
#define MAX_IO (128U << 10)
#define MAX_IO_MIN 4096U
#define MAX_IO_MAX (1U << 20)
#define POOL (16U << 20)
#define MAX_CONNS 4096U
#define KATO_MAX_S 3600U
#define STALL_MS 30000U

uint64_t tgt_hash(uint64_t basis, const void *p, size_t len)
{
	return dpu_hash(basis ^ DPU_HASH_BASIS, p, len);
}

void tgt_text(char *out, size_t size, const char *s)
{
	size_t len = strnlen(s, size);

	memset(out, ' ', size);
	memcpy(out, s, len);
}

bool tgt_nqn_ok(const char *nqn)
{
	size_t len = nqn ? strnlen(nqn, TGT_NQN_SIZE) : 0;

	if (len < 5 || len >= TGT_NQN_SIZE || strncmp(nqn, "nqn.", 4) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if (nqn[i] <= ' ' || nqn[i] > '~')
			return false;
	return true;
}

int tgt_addr_check(const struct nof_tgt_addr *at, bool *v6)
{
	struct in6_addr a;
	char *end;
	unsigned long port;

	if (!at->addr || !at->port || strlen(at->addr) >= sizeof(((struct tgt_port *)0)->addr))
		return -EINVAL;
	*v6 = strchr(at->addr, ':') != NULL;
	if (inet_pton(*v6 ? AF_INET6 : AF_INET, at->addr, &a) != 1)
		return -EINVAL;
	if (at->port[0] < '0' || at->port[0] > '9' || strlen(at->port) > 5)
		return -EINVAL;
	port = strtoul(at->port, &end, 10);
	return *end || port > UINT16_MAX ? -EINVAL : 0;
}

#define DEFAULT(field, value)              \
	do {                               \
		if (!(field))              \
			(field) = (value); \
	} while (0)

static int take_opts(struct nof_tgt_opts *o)
{
	DEFAULT(o->max_queue_depth, QUEUE_DEPTH);
	DEFAULT(o->max_io_queues, IO_QUEUES);
	DEFAULT(o->in_capsule_bytes, IN_CAPSULE);
	DEFAULT(o->max_io_bytes, MAX_IO);
	DEFAULT(o->pool_bytes, POOL);
	DEFAULT(o->max_conns, MAX_CONNS);
	DEFAULT(o->kato_max_s, KATO_MAX_S);
	DEFAULT(o->stall_ms, STALL_MS);
	if (o->max_queue_depth < 2 || o->max_queue_depth > QUEUE_DEPTH_MAX)
		return -EINVAL;
	if (o->in_capsule_bytes > IN_CAPSULE_MAX || o->in_capsule_bytes % 16)
		return -EINVAL;
	if (o->max_io_bytes < MAX_IO_MIN || o->max_io_bytes > MAX_IO_MAX ||
		(o->max_io_bytes & (o->max_io_bytes - 1)))
		return -EINVAL;
	return o->pool_bytes < 4 * o->max_io_bytes ? -EINVAL : 0;
}

static int init_workers(struct nof_tgt *t)
{
	unsigned n = t->conf.n_workers + 1;

	t->workers = dpu_aligned_calloc(64, n, sizeof(*t->workers));
	if (!t->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		struct tgt_worker *w = &t->workers[i];

		w->t = t;
		w->idx = i;
		w->group = i < t->conf.n_workers ? t->conf.workers[i] : t->conf.control;
		TAILQ_INIT(&w->busy);
		TAILQ_INIT(&w->compares);
		if (i == t->conf.n_workers)
			break;
		w->views = dpu_calloc(TGT_SUBSYS_MAX, sizeof(struct tgt_view *));
		w->cmp_buf = dpu_aligned_calloc(4096, 1, TGT_CMP_BYTES);
		if (!w->views || !w->cmp_buf)
			return -ENOMEM;
	}
	return 0;
}

static void fini_workers(struct nof_tgt *t)
{
	for (unsigned i = 0; t->workers && i < t->conf.n_workers; i++) {
		free(t->workers[i].views);
		free(t->workers[i].cmp_buf);
	}
	free(t->workers);
}

int tgt_init(const struct nof_tgt_conf *conf, const struct tgt_xport *x, struct nof_tgt **out)
{
	const struct nof_tgt_subsys_conf disc = { .nqn = NOF_DISCOVERY_NQN,
		.allow_any_host = true };
	struct nof_tgt *t;
	int ret;

	if (conf->n_workers == 0)
		return -EINVAL;
	t = dpu_calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->conf = *conf;
	t->xport = x;
	TAILQ_INIT(&t->subs);
	TAILQ_INIT(&t->ports);
	TAILQ_INIT(&t->referrals);
	TAILQ_INIT(&t->dying);
	ret = take_opts(&t->conf.opts);
	if (!ret)
		ret = init_workers(t);
	if (!ret)
		ret = tgt_subsys_create(t, &disc, &t->discovery);
	if (ret) {
		tgt_fini(t);
		return ret;
	}
	*out = t;
	return 0;
}

void tgt_fini(struct nof_tgt *t)
{
	struct nof_tgt_subsys *sub;
	struct tgt_referral *ref;

	while ((sub = TAILQ_FIRST(&t->subs)) != NULL)
		tgt_subsys_free(sub);
	(void)tgt_view_reap(t, NULL);
	while ((ref = TAILQ_FIRST(&t->referrals)) != NULL) {
		TAILQ_REMOVE(&t->referrals, ref, link);
		free(ref);
	}
	fini_workers(t);
	free(t);
}

void nof_tgt_stats(struct nof_tgt *t, struct nof_tgt_stats *out)
{
	*out = (struct nof_tgt_stats){ .ctrls = t->n_ctrls };
	for (unsigned i = 0; i <= t->conf.n_workers; i++) {
		const struct tgt_counters *n = &t->workers[i].n;

		out->conns_ever += dpu_counter_read(&n->conns_ever);
		out->conns += dpu_counter_read(&n->conns);
		out->reads += dpu_counter_read(&n->reads);
		out->read_bytes += dpu_counter_read(&n->read_bytes);
		out->writes += dpu_counter_read(&n->writes);
		out->write_bytes += dpu_counter_read(&n->write_bytes);
		out->others += dpu_counter_read(&n->others);
		out->waits += dpu_counter_read(&n->waits);
#define X(name, help) out->name += dpu_counter_read(&n->name);
		NOF_TGT_REASONS(X)
#undef X
	}
}

bool nof_tgt_thread(struct nof_tgt *t, unsigned idx, struct nof_tgt_thread_view *out)
{
	const struct nof_tgt_subsys *sub;
	const struct tgt_ctrl *c;
	const struct tgt_queue *q;
	const struct tgt_counters *n;

	if (idx > t->conf.n_workers)
		return false;
	n = &t->workers[idx].n;
	*out = (struct nof_tgt_thread_view){ .control = idx == t->conf.n_workers };
	out->commands = dpu_counter_read(&n->reads) + dpu_counter_read(&n->writes) +
			dpu_counter_read(&n->others);
	TAILQ_FOREACH (sub, &t->subs, link) {
		TAILQ_FOREACH (c, &sub->ctrls, link) {
			out->admin_queues += out->control && c->admin;
			TAILQ_FOREACH (q, &c->io, link)
				out->io_queues += q->w == &t->workers[idx];
		}
	}
	return true;
}

/* ---- what is there ---- */

static void visit_ns(const struct tgt_ns *ns, const struct nof_tgt_visit *v)
{
	const struct tgt_host *h;
	struct nof_tgt_ns_view view = { .dying = ns->dying,
		.conf = { .nsid = ns->nsid,
			.vol = ns->vol,
			.anagrpid = ns->anagrpid,
			.masked = ns->masked } };

	memcpy(view.conf.uuid, ns->uuid, sizeof(ns->uuid));
	memcpy(view.conf.nguid, ns->nguid, sizeof(ns->nguid));
	memcpy(view.conf.eui64, ns->eui64, sizeof(ns->eui64));
	if (v->ns)
		v->ns(v->arg, &view);
	LIST_FOREACH (h, &ns->hosts, link)
		if (v->ns_host)
			v->ns_host(v->arg, ns->nsid, h->nqn);
}

static void add_queues(const struct tgt_ctrl *c, uint64_t *commands, uint64_t *errors)
{
	const struct tgt_queue *q;

	TAILQ_FOREACH (q, &c->io, link) {
		*commands += dpu_counter_read(&q->commands);
		*errors += dpu_counter_read(&q->errors);
	}
}

static void visit_ctrl(const struct tgt_ctrl *c, const struct nof_tgt_visit *v)
{
	struct nof_tgt_ctrl_view view = { .cntlid = c->cntlid,
		.hostnqn = c->hostnqn,
		.n_io_queues = c->n_io,
		.kato_ms = c->kato_ms };

	memcpy(view.hostid, c->hostid, sizeof(c->hostid));
	add_queues(c, &view.commands, &view.errors);
	if (v->ctrl && !c->gone)
		v->ctrl(v->arg, &view);
}

static void visit_listener(const struct tgt_listener *l, const struct nof_tgt_visit *v)
{
	struct nof_tgt_listener_view view = { .addr = l->port->addr,
		.port = l->port->port,
		.v6 = l->port->v6,
		.accepted = l->port->accepted };

	memcpy(view.ana, l->ana, sizeof(l->ana));
	if (v->listener)
		v->listener(v->arg, &view);
}

static void visit_subsys(const struct nof_tgt_subsys *sub, const struct nof_tgt_visit *v)
{
	struct nof_tgt_subsys_view view = { .nqn = sub->nqn,
		.serial = sub->serial,
		.model = sub->model,
		.discovery = sub->discovery,
		.allow_any_host = sub->allow_any_host,
		.ana = sub->ana,
		.max_namespaces = sub->max_ns,
		.min_cntlid = sub->min_cntlid,
		.max_cntlid = sub->max_cntlid,
		.connects = sub->connects,
		.refused = sub->refused,
		.commands = sub->commands,
		.errors = sub->errors };
	const struct tgt_host *h;
	const struct tgt_listener *l;
	const struct tgt_ctrl *c;

	TAILQ_FOREACH (c, &sub->ctrls, link)
		add_queues(c, &view.commands, &view.errors);
	if (v->subsys)
		v->subsys(v->arg, &view);
	LIST_FOREACH (h, &sub->hosts, link)
		if (v->host)
			v->host(v->arg, h->nqn);
	TAILQ_FOREACH (l, &sub->listeners, link)
		visit_listener(l, v);
	for (uint32_t i = 1; i <= sub->max_ns; i++)
		if (sub->ns[i])
			visit_ns(sub->ns[i], v);
	TAILQ_FOREACH (c, &sub->ctrls, link)
		visit_ctrl(c, v);
}

int nof_tgt_visit(struct nof_tgt *t, const char *nqn, const struct nof_tgt_visit *v)
{
	const struct nof_tgt_subsys *sub;

	if (nqn) {
		sub = tgt_subsys_find(t, nqn);
		if (!sub)
			return -ENOENT;
		visit_subsys(sub, v);
		return 0;
	}
	TAILQ_FOREACH (sub, &t->subs, link)
		visit_subsys(sub, v);
	return 0;
}
