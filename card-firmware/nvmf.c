// SPDX-License-Identifier: Apache-2.0
/* The card's target, and the volumes that its namespaces use. Control thread. */
#include "nvmf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "dpu_alloc.h"
#include "dpu_log.h"
#include "dpu_wire.h"
#include "rpc_schema.h"
#include "storage.h"
#include "worker.h"

struct card_nvmf {
	struct nof_tgt *t; // owned; NULL: not asked for
	struct nof_tgt_opts opts; // as asked for
	struct nof_group **groups; // owned; by worker
};

int card_nvmf_start(struct card *c)
{
	c->nvmf = dpu_calloc(1, sizeof(*c->nvmf));
	return c->nvmf ? 0 : -ENOMEM;
}

/* ---- users of volumes ---- */

static struct card_volume *volume_of(struct card *c, const struct vol *vol)
{
	struct card_volume *v;
	struct vol_info info;

	vol_info(vol, &info);
	v = card_volume_find(c, info.name);
	return v && v->vol == vol ? v : NULL;
}

const char *card_nvmf_volume_name(struct card *c, const struct vol *vol)
{
	const struct card_volume *v = volume_of(c, vol);

	return v ? v->name : "?";
}

struct uses {
	struct card *c;
	uint32_t nsid; // 0: all
	int add;
};

static void count_ns(void *arg, const struct nof_tgt_ns_view *v)
{
	const struct uses *u = arg;
	struct card_volume *vol = volume_of(u->c, v->conf.vol);

	if (vol && (!u->nsid || u->nsid == v->conf.nsid))
		vol->users += (unsigned)u->add;
}

/* Count the volumes of a subsystem's namespaces (nqn NULL: of all) up or down. */
static void count(struct card *c, const char *nqn, uint32_t nsid, int add)
{
	struct uses u = { c, nsid, add };

	(void)nof_tgt_visit(c->nvmf->t, nqn, &(struct nof_tgt_visit){ .ns = count_ns, .arg = &u });
}

void card_nvmf_stop(struct card *c)
{
	if (!c->nvmf)
		return;
	if (c->nvmf->t)
		count(c, NULL, 0, -1);
	if (nof_tgt_destroy(c->nvmf->t)) {
		dpu_warn("target: a volume does not answer", "card=%s", c->opt.name);
		count(c, NULL, 0, 1);
		return; // volumes and groups stay with it
	}
	free(c->nvmf->groups);
	free(c->nvmf);
	c->nvmf = NULL;
}

/* ---- the target ---- */

struct call {
	int (*fn)(void *arg);
	void *arg;
};

static int on_worker(struct card_worker *w, void *arg)
{
	const struct call *k = arg;

	(void)w;
	return k->fn(k->arg);
}

static int call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	struct card *c = env;
	struct call k = { fn, arg };

	return card_worker_call(card_worker_at(c->workers, idx), on_worker, &k);
}

static int create(struct card *c, const struct nof_tgt_opts *opts)
{
	struct card_nvmf *n = c->nvmf;
	struct nof_tgt_conf conf = { .control = card_storage_control(c),
		.n_workers = card_workers_count(c->workers),
		.call = call,
		.env = c,
		.opts = *opts };

	if (!n->groups)
		n->groups = dpu_calloc(conf.n_workers, sizeof(*n->groups));
	if (!n->groups)
		return -ENOMEM;
	for (unsigned i = 0; i < conf.n_workers; i++)
		n->groups[i] = card_storage_group(c, card_worker_at(c->workers, i));
	conf.workers = n->groups;
	n->opts = *opts;
	return nof_tgt_create(&conf, &n->t);
}

int card_nvmf_create(struct card *c, const struct nof_tgt_opts *opts, struct card_error *e)
{
	int ret;

	if (c->nvmf->t && !memcmp(&c->nvmf->opts, opts, sizeof(*opts)))
		return 0;
	if (c->nvmf->t)
		return card_fail(e, -EEXIST, "the target is there with other options");
	ret = create(c, opts);
	return ret ? card_fail(e, ret, "target: %s", strerror(-ret)) : 0;
}

struct nof_tgt *card_nvmf(struct card *c, struct card_error *e)
{
	const struct nof_tgt_opts opts = { 0 };

	if (!c->nvmf->t && card_nvmf_create(c, &opts, e))
		return NULL;
	return c->nvmf->t;
}

struct nof_tgt *card_nvmf_get(const struct card *c)
{
	return c->nvmf ? c->nvmf->t : NULL;
}

/* ---- namespaces ---- */

int card_nvmf_ns_add(struct card *c, const char *nqn, const char *volume,
	struct nof_tgt_ns_conf *conf, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, volume);
	struct nof_tgt *t = card_nvmf_get(c);
	int ret;

	if (!t)
		return card_fail(e, -ENODEV, "%s: no such subsystem", nqn);
	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", volume);
	if (v->above)
		return card_fail(e, -EBUSY, "%s: is below %s", v->name, v->above->name);
	conf->vol = v->vol;
	if (dpu_is_zero(conf->uuid, 16) && dpu_is_zero(conf->nguid, 16) &&
		dpu_is_zero(conf->eui64, 8))
		(void)card_uuid_parse(v->uuid, conf->uuid);
	ret = nof_tgt_ns_add(t, nqn, conf, &conf->nsid);
	if (ret == -ENOENT)
		return card_fail(e, ret, "%s: no such subsystem", nqn);
	if (ret)
		return card_fail(e, ret, "namespace: %s", strerror(-ret));
	v->users++;
	return 0;
}

int card_nvmf_ns_del(struct card *c, const char *nqn, uint32_t nsid, struct card_error *e)
{
	struct nof_tgt *t = card_nvmf_get(c);
	int ret;

	if (!t)
		return card_fail(e, -ENODEV, "%s: no such subsystem", nqn);
	count(c, nqn, nsid, -1);
	ret = nof_tgt_ns_del(t, nqn, nsid);
	if (ret == -ENOENT)
		return card_fail(e, -ENODEV, "%s: no namespace %u", nqn, nsid);
	if (!ret)
		return 0;
	count(c, nqn, nsid, 1);
	return card_fail(e, ret,
		"namespace %u: hosts do not have it any more, but commands of theirs have not "
		"ended yet; call again later",
		nsid);
}

int card_nvmf_subsys_del(struct card *c, const char *nqn, struct card_error *e)
{
	struct nof_tgt *t = card_nvmf_get(c);
	int ret;

	if (!t || nof_tgt_visit(t, nqn, &(struct nof_tgt_visit){ 0 }))
		return card_fail(e, -ENODEV, "%s: no such subsystem", nqn);
	count(c, nqn, 0, -1);
	ret = nof_tgt_subsys_del(t, nqn);
	if (ret)
		count(c, nqn, 0, 1); // those that are left
	return ret ? card_fail(e, ret,
			     "%s: hosts do not have it any more, but commands of theirs have not "
			     "ended yet; call again later",
			     nqn)
		   : 0;
}

void card_nvmf_resized(struct card *c, const struct vol *vol)
{
	if (card_nvmf_get(c))
		nof_tgt_vol_resized(c->nvmf->t, vol);
}
