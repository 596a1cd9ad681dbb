// SPDX-License-Identifier: Apache-2.0
/*
 * Controllers of remote subsystems. Those of one name are paths to one subsystem; what becomes of
 * its namespaces is device_nvme_ns.c's.
 */
#include "device_nvme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "storage.h"

static struct card_ctrl *find(struct card *c, const char *name, const char *traddr, uint16_t port)
{
	struct card_ctrl *k;

	TAILQ_FOREACH (k, &c->inv->ctrls, link)
		if (!strcmp(k->name, name) &&
			(!traddr || (!strcmp(k->traddr, traddr) && k->conf.trsvcid == port)))
			return k;
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

static bool same(const struct card_ctrl_conf *a, const struct card_ctrl_conf *b)
{
	return !strcmp(a->subnqn, b->subnqn) && a->hdgst == b->hdgst && a->ddgst == b->ddgst &&
	       same_text(a->host_traddr, b->host_traddr) && same_text(a->hostnqn, b->hostnqn) &&
	       a->ctrl_loss_timeout_s == b->ctrl_loss_timeout_s &&
	       a->fast_io_fail_timeout_s == b->fast_io_fail_timeout_s &&
	       a->reconnect_delay_s == b->reconnect_delay_s && a->kato_ms == b->kato_ms &&
	       a->io_timeout_ms == b->io_timeout_ms && a->queue_size == b->queue_size &&
	       a->policy == b->policy;
}

/*
 * A subsystem has one name, since its volumes do: two would make and delete the same ones. NULL:
 * none has it under another name.
 */
static const struct card_ctrl *other_name(struct card *c, const struct card_ctrl_conf *conf)
{
	const struct card_ctrl *k;

	TAILQ_FOREACH (k, &c->inv->ctrls, link)
		if (!strcmp(k->subnqn, conf->subnqn) && strcmp(k->name, conf->name) != 0)
			return k;
	return NULL;
}

static void on_up(void *arg, int err)
{
	struct card_ctrl *k = arg;

	k->up = true;
	k->err = err;
}

static int copy(char *to, size_t size, const char *from)
{
	size_t len = from ? strlen(from) : 0;

	if (len >= size)
		return -EINVAL;
	memcpy(to, from ? from : "", len + 1);
	return 0;
}

static int begin(struct card *c, struct card_ctrl *k)
{
	const struct card_ctrl_conf *o = &k->conf;
	char name[CARD_NAME_MAX + CARD_ADDR_SIZE + 16];
	struct nof_ctrl_conf conf = {
		.name = name,
		.traddr = o->traddr,
		.trsvcid = o->trsvcid,
		.host_traddr = o->host_traddr,
		.subnqn = o->subnqn,
		.hostnqn = o->hostnqn,
		.hdgst = o->hdgst,
		.ddgst = o->ddgst,
		.queue_size = (uint16_t)o->queue_size,
		.kato_ms = o->kato_ms,
		.io_timeout_ms = o->io_timeout_ms,
		.reconnect_delay_ms = o->reconnect_delay_s * 1000,
		.ctrl_loss_timeout_s = o->ctrl_loss_timeout_s,
		.fast_io_fail_timeout_s = o->fast_io_fail_timeout_s,
	};

	snprintf(name, sizeof(name), "%s/%s/%u", k->name, k->traddr, k->conf.trsvcid);
	return nof_ctrl_create(card_storage_host(c), &conf, on_up, k, &k->ctrl);
}

static int init(struct card_ctrl *k, const struct card_ctrl_conf *conf)
{
	int ret = copy(k->name, sizeof(k->name), conf->name);

	if (!ret)
		ret = copy(k->subnqn, sizeof(k->subnqn), conf->subnqn);
	if (!ret)
		ret = copy(k->traddr, sizeof(k->traddr), conf->traddr);
	if (!ret)
		ret = copy(k->host_traddr, sizeof(k->host_traddr), conf->host_traddr);
	if (!ret)
		ret = copy(k->hostnqn, sizeof(k->hostnqn), conf->hostnqn);
	if (!ret)
		ret = copy(k->discovery, sizeof(k->discovery), conf->discovery);
	k->conf = *conf;
	k->conf.name = k->name;
	k->conf.subnqn = k->subnqn;
	k->conf.traddr = k->traddr;
	k->conf.discovery = k->discovery[0] ? k->discovery : NULL;
	k->conf.host_traddr = k->host_traddr[0] ? k->host_traddr : NULL;
	k->conf.hostnqn = k->hostnqn[0] ? k->hostnqn : NULL;
	return ret;
}

static const char *reason(int err)
{
	if (err == -EINVAL)
		return "traddr must be an IP address, subnqn and hostnqn NQNs";
	if (err == -EAGAIN)
		return "is being disconnected";
	if (err == -ENOSPC)
		return "the subsystem has as many paths as there may be";
	return strerror(-err);
}

int card_ctrl_create(
	struct card *c, const struct card_ctrl_conf *conf, bool *made, struct card_error *e)
{
	struct card_ctrl *k = find(c, conf->name, conf->traddr, conf->trsvcid);
	const struct card_ctrl *sibling = find(c, conf->name, NULL, 0);
	int ret;

	*made = false;
	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	if (k && !same(&k->conf, conf))
		return card_fail(e, -EEXIST, "%s: exists with other parameters", conf->name);
	if (k)
		return 0;
	if (sibling && strcmp(sibling->subnqn, conf->subnqn) != 0)
		return card_fail(e, -EEXIST, "%s: is %s", conf->name, sibling->subnqn);
	if (other_name(c, conf))
		return card_fail(e, -EEXIST, "subnqn: is %s already", other_name(c, conf)->name);
	k = dpu_calloc(1, sizeof(*k));
	if (!k)
		return card_fail(e, -ENOMEM, "out of memory");
	ret = init(k, conf);
	if (!ret)
		ret = begin(c, k);
	if (!ret && card_ns_join(c, k, sibling)) {
		nof_ctrl_delete(k->ctrl, free, k);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	if (ret) {
		free(k);
		// Not one of ours: the same path is on its way out.
		ret = ret == -EEXIST ? -EAGAIN : ret;
		return card_fail(e, ret, "%s: %s", conf->name, reason(ret));
	}
	TAILQ_INSERT_TAIL(&c->inv->ctrls, k, link);
	*made = true;
	dpu_info("controller: connecting", "name=%s traddr=%s trsvcid=%u", k->name, k->traddr,
		k->conf.trsvcid);
	return 0;
}

int card_ctrl_state(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e)
{
	const struct card_ctrl *k = find(c, conf->name, conf->traddr, conf->trsvcid);
	struct nof_ctrl_info info;

	if (!k)
		return card_fail(e, -ENODEV, "%s: no such controller", conf->name);
	nof_ctrl_info(k->ctrl, &info);
	if (info.state == NOF_CTRL_LIVE)
		return 0;
	if (!k->up || !k->err)
		return CARD_RPC_LATER;
	return card_fail(e, k->err, "%s: %s: %s", conf->name,
		info.last_step ? info.last_step : "connect", strerror(-k->err));
}

/* It disconnects in its own time, and may still tell on_up(). */
static void forget(struct card_ctrl *k)
{
	card_ns_leave(k);
	nof_ctrl_delete(k->ctrl, free, k);
}

/* Volumes of the name, before its last path goes: none of them, or 0. */
static int delete_volumes(struct card *c, const char *subnqn, struct card_error *e)
{
	struct card_volume *v, *next;

	card_orphans_reap(c, 0);
	TAILQ_FOREACH (v, &c->inv->volumes, link)
		if (v->subnqn && !strcmp(v->subnqn, subnqn) && (v->users || v->orphans))
			return card_fail(e, -EBUSY, "%s: in use", v->name);
	for (v = TAILQ_FIRST(&c->inv->volumes); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (v->subnqn && !strcmp(v->subnqn, subnqn))
			card_volume_discard(c, v->name);
	}
	return 0;
}

int card_ctrl_delete(struct card *c, const char *name, const char *traddr, uint16_t trsvcid,
	struct card_error *e)
{
	struct card_ctrl *k = find(c, name, traddr, trsvcid), *other;
	unsigned n = 0;
	int ret;

	if (!k)
		return card_fail(e, -ENODEV, "%s: no such controller", name);
	TAILQ_FOREACH (other, &c->inv->ctrls, link)
		n += !strcmp(other->name, name);
	if (!traddr || n == 1) {
		ret = delete_volumes(c, k->subnqn, e);
		if (ret)
			return ret;
	}
	for (; k; k = traddr ? NULL : find(c, name, NULL, 0)) {
		TAILQ_REMOVE(&c->inv->ctrls, k, link);
		forget(k);
	}
	dpu_info("controller: deleted", "name=%s", name);
	return 0;
}

int card_ctrl_reset(struct card *c, const char *name, struct card_error *e)
{
	struct card_ctrl *k;
	bool found = false;

	TAILQ_FOREACH (k, &c->inv->ctrls, link) {
		if (strcmp(k->name, name) != 0)
			continue;
		nof_ctrl_reset(k->ctrl);
		found = true;
	}
	return found ? 0 : card_fail(e, -ENODEV, "%s: no such controller", name);
}

void card_ctrls_fini(struct card *c)
{
	struct card_ctrl *k, *next;

	for (k = TAILQ_FIRST(&c->inv->ctrls); k; k = next) {
		next = TAILQ_NEXT(k, link);
		forget(k);
	}
	TAILQ_INIT(&c->inv->ctrls);
}

/* ---- volumes ---- */

int card_ctrl_read(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e)
{
	struct card_ctrl *k = find(c, conf->name, conf->traddr, conf->trsvcid);

	if (!k)
		return card_fail(e, -ENODEV, "%s: no such controller", conf->name);
	card_ns_begin(k);
	return 0;
}

int card_ctrl_read_step(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e)
{
	struct card_ctrl *k = find(c, conf->name, conf->traddr, conf->trsvcid);

	return k ? card_ns_step(k, e) : card_fail(e, -ENODEV, "%s: no such controller", conf->name);
}

void card_ctrl_volume_counts(const struct card *c, const struct card_ctrl_conf *conf,
	struct card_ctrl_volume_counts *out)
{
	const struct card_ctrl *k = find(
		(struct card *)(uintptr_t)c, conf->name, conf->traddr, conf->trsvcid);

	*out = k ? k->counts : (struct card_ctrl_volume_counts){ 0 };
}

void card_ctrl_foreach(const struct card *c, card_ctrl_fn *fn, void *a)
{
	const struct card_ctrl *k;

	TAILQ_FOREACH (k, &c->inv->ctrls, link)
		if (!fn(&k->conf, k->ctrl, a))
			return;
}
