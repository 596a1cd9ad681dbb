// SPDX-License-Identifier: Apache-2.0
/*
 * Controllers of remote subsystems, and a volume for each of their namespaces. Controllers of one
 * name are paths to one subsystem.
 */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "nof_ctrl.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "storage.h"

#define NQN_SIZE 224
#define ADDR_SIZE 64

struct card_ctrl {
	TAILQ_ENTRY(card_ctrl) link;
	struct card_ctrl_conf conf; // strings are ours
	char name[CARD_NAME_MAX + 1], subnqn[NQN_SIZE], traddr[ADDR_SIZE], host_traddr[ADDR_SIZE],
		hostnqn[NQN_SIZE], discovery[CARD_NAME_MAX + 1];
	struct nof_ctrl *ctrl; // owned: until it is told to go
	bool up; // it has been live, or failed for the first time
	int err; // why it failed
};

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
	char name[CARD_NAME_MAX + ADDR_SIZE + 16];
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
			(void)card_volume_delete(c, v->name, e);
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

/* The namespace's own identifier: UUID, else NGUID. False: it has none. */
static bool uuid_text(const struct nof_ns_info *ns, char out[CARD_UUID_TEXT])
{
	static const uint8_t none[16];
	const uint8_t *id = memcmp(ns->uuid, none, 16) != 0 ? ns->uuid : ns->nguid;

	if (!memcmp(id, none, 16))
		return false;
	card_uuid_text(id, out);
	return true;
}

static int volume_of(struct card *c, const struct card_ctrl *k, const struct nof_ns_info *ns,
	card_ctrl_volume_fn *fn, void *a, struct card_error *e)
{
	char name[CARD_NAME_MAX + 16], uuid[CARD_UUID_TEXT];
	struct card_volume_conf conf = {
		.name = name,
		.kind = CARD_VOL_NVME,
		.block_size = ns->block_size,
		.num_blocks = ns->size / ns->block_size,
		.subnqn = k->subnqn,
		.nsid = ns->nsid,
		.policy = k->conf.policy,
		.volatile_cache = true,
	};
	struct vol_info info;
	int ret;

	snprintf(name, sizeof(name), "%sn%u", k->name, ns->nsid);
	conf.uuid_is_theirs = uuid_text(ns, uuid);
	conf.uuid = conf.uuid_is_theirs ? uuid : NULL;
	ret = card_volume_find(c, name) ? 0 : card_volume_create(c, &conf, e);
	if (ret)
		return ret;
	vol_info(card_volume_find(c, name)->vol, &info);
	conf.read_only = info.read_only;
	conf.can_discard = info.can_discard;
	conf.can_zero = info.can_zero;
	conf.volatile_cache = info.volatile_cache;
	fn(name, &conf, a);
	return 0;
}

int card_ctrl_volumes(struct card *c, const struct card_ctrl_conf *conf, card_ctrl_volume_fn *fn,
	void *a, struct card_error *e)
{
	const struct card_ctrl *k = find(c, conf->name, conf->traddr, conf->trsvcid);
	struct nof_ns_info ns;
	int ret = 0;

	for (unsigned i = 0; k && !ret && nof_ctrl_ns(k->ctrl, i, &ns) == 0; i++)
		if (ns.usable)
			ret = volume_of(c, k, &ns, fn, a, e);
	return ret;
}

void card_ctrl_foreach(const struct card *c, card_ctrl_fn *fn, void *a)
{
	const struct card_ctrl *k;

	TAILQ_FOREACH (k, &c->inv->ctrls, link)
		if (!fn(&k->conf, k->ctrl, a))
			return;
}
