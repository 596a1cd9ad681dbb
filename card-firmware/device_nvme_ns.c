// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes of namespaces: made when a target shows one, dropped when it has taken it away.
 *
 * Paths of one name share a set, which goes over their namespaces whenever one of them was read:
 * when it connected, and after each change that the target tells of. A pass goes in slices of a few
 * volumes between the control thread's other events, and begins once in a second at most, whatever
 * a target does. It drops the volumes of namespaces that are gone, makes those that are missing,
 * and has the store know what there is.
 *
 * A namespace is gone when every path has said what it has and none has one of that number and
 * identity. A path that is away counts as it was last seen, one that was never seen holds on to
 * all. The volume of one that is gone stays for as long as it is used; one of the same identity
 * takes its place in it again (nvmeof sees to that), one of another identity gets no volume until
 * then.
 */
#include "device_nvme.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "store.h"

#define VOLUMES_MAX 1024U // of one name; what the store takes
#define SLICE 32U // volumes
#define MS 1000000ULL
#define SLICE_MS 1 // between slices
#define SOON_MS 5 // several paths may tell of the same change
#define EVERY_MS 1000 // a pass, however often something changes; volumes in use that are gone
#define AGAIN_MS 10000 // some have no volume, or the store is full

enum phase { IDLE, DROP, MAKE, KEEP };

struct card_ns_set {
	struct card *card; // borrowed
	char name[CARD_NAME_MAX + 1], subnqn[CARD_NQN_SIZE];
	unsigned n_paths;
	void *timer; // NULL: nothing is due
	uint64_t due_ns, begun_ns; // of the timer; of the last pass
	bool changed; // since it began
	/* The pass. */
	enum phase phase;
	unsigned at_path, at_ns; // making
	unsigned n_volumes, n_dropped;
	bool only_gone; // nothing was read: do those that are gone have users still?
	bool in_use, again; // there are such; something was refused
	int err; // the first refusal
	struct card_error why;
};

/* The paths of a set that count. */
struct paths {
	struct card_ctrl *k[NOF_CTRLS_MAX];
	bool live[NOF_CTRLS_MAX];
	unsigned n;
	bool unread; // what one of them has is not known
};

static void paths_of(const struct card_ns_set *s, struct paths *out)
{
	struct card_ctrl *k;

	*out = (struct paths){ 0 };
	TAILQ_FOREACH (k, &s->card->inv->ctrls, link) {
		struct nof_ctrl_info info;

		if (k->set != s || out->n == NOF_CTRLS_MAX)
			continue;
		nof_ctrl_info(k->ctrl, &info);
		if (info.state == NOF_CTRL_LOST)
			continue;
		out->unread |= !k->read;
		out->live[out->n] = info.state == NOF_CTRL_LIVE && k->read;
		out->k[out->n++] = k;
	}
}

static bool ours(const struct card_ns_set *s, const struct card_volume *v)
{
	return v->conf.kind == CARD_VOL_NVME && v->subnqn && !strcmp(v->subnqn, s->subnqn);
}

/* ---- identity ---- */

static bool is_id(const uint8_t id[16], const char *uuid)
{
	static const uint8_t none[16];
	char text[CARD_UUID_TEXT];

	if (!memcmp(id, none, 16))
		return false;
	card_uuid_text(id, text);
	return !strcmp(text, uuid);
}

/* The namespace is the one that the volume was made of. One without an identifier is any. */
static bool is_it(const struct card_volume *v, const struct nof_ns_info *ns)
{
	if (ns->nsid != v->conf.nsid || ns->block_size != v->conf.block_size)
		return false;
	return !v->conf.uuid_is_theirs || is_id(ns->uuid, v->uuid) || is_id(ns->nguid, v->uuid);
}

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

/* ---- dropping ---- */

/* One that volumes cannot have is not looked at: what it is it does not say. */
static bool is_gone(const struct paths *p, const struct card_volume *v)
{
	struct nof_ns_info ns;

	if (p->unread || p->n == 0)
		return false;
	for (unsigned i = 0; i < p->n; i++)
		if (nof_ctrl_ns_of(p->k[i]->ctrl, v->conf.nsid, &ns) == 0 &&
			(!ns.usable || is_it(v, &ns)))
			return false;
	return true;
}

/* True: there are more. */
static bool drop_some(struct card_ns_set *s, const struct paths *p)
{
	struct card_volume *v, *next;
	struct card_error e;
	unsigned n = 0;

	s->n_volumes = 0;
	s->in_use = false;
	for (v = TAILQ_FIRST(&s->card->inv->volumes); v; v = next) {
		next = TAILQ_NEXT(v, link);
		if (!ours(s, v))
			continue;
		s->n_volumes++;
		if (!is_gone(p, v))
			continue;
		if (v->users || v->orphans) {
			s->in_use = true;
			if (!s->only_gone)
				dpu_warn_ratelimited("controller: a namespace in use is gone",
					"volume=%s", v->name);
			continue;
		}
		if (n++ == SLICE)
			return true;
		if (card_volume_delete(s->card, v->name, &e)) {
			s->in_use = true;
			continue;
		}
		s->n_volumes--;
		s->n_dropped++;
		p->k[0]->counts.removed++;
	}
	return false;
}

/* ---- making ---- */

static int make(struct card_ns_set *s, struct card_ctrl *k, const struct nof_ns_info *ns,
	struct card_error *e)
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
	const struct card_volume *v;
	int ret;

	snprintf(name, sizeof(name), "%sn%" PRIu32, k->name, ns->nsid);
	v = card_volume_find(s->card, name);
	if (v && ours(s, v) && is_it(v, ns))
		return 0;
	if (v)
		return card_fail(e, -EEXIST, "%s: is another one's", name);
	if (s->n_volumes >= VOLUMES_MAX)
		return card_fail(e, -ENOSPC, "%s: no more than %u volumes of a controller", name,
			VOLUMES_MAX);
	conf.uuid_is_theirs = uuid_text(ns, uuid);
	conf.uuid = conf.uuid_is_theirs ? uuid : NULL;
	ret = card_volume_create(s->card, &conf, e);
	if (ret)
		return ret;
	s->n_volumes++;
	k->counts.added++;
	return 0;
}

static void make_one(struct card_ns_set *s, struct card_ctrl *k, const struct nof_ns_info *ns)
{
	struct card_error e;
	int ret = make(s, k, ns, &e);

	if (!ret)
		return;
	k->counts.refused++;
	s->again = true;
	dpu_warn_ratelimited("controller: a namespace without a volume",
		"name=%s nsid=%u why=\"%s\"", s->name, ns->nsid, e.text);
	if (s->err)
		return;
	s->err = ret;
	s->why = e;
}

/* True: there are more. */
static bool make_some(struct card_ns_set *s, const struct paths *p)
{
	struct nof_ns_info ns;

	for (unsigned n = 0; n < SLICE;) {
		if (s->at_path >= p->n)
			return false;
		if (!p->live[s->at_path] ||
			nof_ctrl_ns(p->k[s->at_path]->ctrl, s->at_ns, &ns) != 0) {
			s->at_path++;
			s->at_ns = 0;
			continue;
		}
		s->at_ns++;
		n++;
		if (ns.usable)
			make_one(s, p->k[s->at_path], &ns);
	}
	return true;
}

/* ---- keeping ---- */

static void conf_now(const struct card_volume *v, struct card_volume_conf *out)
{
	struct vol_info info;

	vol_info(v->vol, &info);
	*out = v->conf;
	out->uuid = v->conf.uuid_is_theirs ? v->uuid : NULL;
	out->num_blocks = info.size / info.block_size;
	out->read_only = info.read_only;
	out->can_discard = info.can_discard;
	out->can_zero = info.can_zero;
	out->volatile_cache = info.volatile_cache;
}

static void keep(struct card_ns_set *s)
{
	json_t *list = json_array();
	const struct card_volume *v;
	struct card_volume_conf conf;
	char text[CARD_NS_TEXT];
	int ret = list ? 0 : -ENOMEM;

	TAILQ_FOREACH (v, &s->card->inv->volumes, link) {
		if (ret || !ours(s, v))
			continue;
		conf_now(v, &conf);
		card_ns_text(&conf, text);
		ret = json_array_append_new(list, json_string(text)) ? -ENOMEM : 0;
	}
	if (!ret)
		ret = card_store_namespaces(s->card, s->name, list);
	json_decref(list);
	if (!ret)
		return;
	dpu_warn_ratelimited("controller: volumes are not kept over a restart", "name=%s err=%s",
		s->name, strerror(-ret));
	s->again = true;
}

/* ---- the pass ---- */

static void begin(struct card_ns_set *s, bool only_gone)
{
	s->phase = DROP;
	s->changed = s->again = false;
	s->only_gone = only_gone;
	s->begun_ns = dpu_now_ns();
	s->at_path = s->at_ns = s->n_dropped = 0;
	s->err = 0;
}

static void slice(struct card_ns_set *s)
{
	struct paths p;

	paths_of(s, &p);
	switch (s->phase) {
	case DROP:
		if (drop_some(s, &p))
			break;
		s->phase = s->only_gone && !s->n_dropped ? IDLE : MAKE;
		break;
	case MAKE:
		if (!make_some(s, &p))
			s->phase = KEEP;
		break;
	case KEEP:
		keep(s);
		s->phase = IDLE;
		break;
	case IDLE:
		break;
	}
}

static void look(void *arg);

static void look_in(struct card_ns_set *s, uint64_t ms)
{
	const struct vho_loop *l = &s->card->vho_loop;
	uint64_t now = dpu_now_ns(), at = now + ms * MS, first = s->begun_ns + EVERY_MS * MS;
	struct card_ctrl *k;

	if (s->phase == IDLE && s->begun_ns && at < first)
		at = first;
	if (s->timer && s->due_ns <= at)
		return;
	if (s->timer)
		l->timer_cancel(l->arg, s->timer);
	s->due_ns = at;
	s->timer = l->timer(l->arg, (unsigned)((at - now + MS - 1) / MS), look, s);
	if (s->timer)
		return;
	TAILQ_FOREACH (k, &s->card->inv->ctrls, link)
		if (k->set == s) // no memory: on_read() comes here again
			nof_ctrl_read_again(k->ctrl);
}

/* A slice is done: when is the next? */
static void look_on(struct card_ns_set *s)
{
	if (s->phase != IDLE)
		look_in(s, SLICE_MS);
	else if (s->changed)
		look_in(s, SOON_MS);
	else if (s->in_use)
		look_in(s, EVERY_MS);
	else if (s->again)
		look_in(s, AGAIN_MS);
}

static void look(void *arg)
{
	struct card_ns_set *s = arg;

	s->timer = NULL;
	if (s->phase == IDLE)
		begin(s, !s->changed && !s->again);
	slice(s);
	look_on(s);
}

static void on_read(void *arg)
{
	struct card_ctrl *k = arg;

	k->read = true;
	k->set->changed = true;
	look_in(k->set, SOON_MS);
}

/* ---- for the paths ---- */

int card_ns_join(struct card *c, struct card_ctrl *k, const struct card_ctrl *sibling)
{
	struct card_ns_set *s = sibling ? sibling->set : dpu_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->card = c;
	memcpy(s->name, k->name, sizeof(s->name));
	memcpy(s->subnqn, k->subnqn, sizeof(s->subnqn));
	s->n_paths++;
	k->set = s;
	nof_ctrl_ns_watch(k->ctrl, on_read, k);
	return 0;
}

void card_ns_leave(struct card_ctrl *k)
{
	struct card_ns_set *s = k->set;

	nof_ctrl_ns_watch(k->ctrl, NULL, NULL);
	k->set = NULL;
	if (--s->n_paths > 0) { // what only this one had is gone
		s->changed = true;
		look_in(s, SOON_MS);
		return;
	}
	if (s->timer)
		s->card->vho_loop.timer_cancel(s->card->vho_loop.arg, s->timer);
	free(s);
}

void card_ns_begin(struct card_ctrl *k)
{
	begin(k->set, false);
	look_on(k->set);
}

int card_ns_step(struct card_ctrl *k, struct card_error *e)
{
	struct card_ns_set *s = k->set;

	if (s->phase != IDLE)
		slice(s);
	if (s->phase != IDLE)
		return CARD_RPC_LATER;
	if (s->err)
		*e = s->why;
	return s->err;
}

void card_ns_text(const struct card_volume_conf *conf, char out[CARD_NS_TEXT])
{
	snprintf(out, CARD_NS_TEXT, "%" PRIu32 ":%" PRIu64 ":%" PRIu32 ":%s:%s%s%s%s", conf->nsid,
		conf->num_blocks, conf->block_size, conf->uuid ? conf->uuid : "-",
		conf->can_discard ? "d" : "", conf->can_zero ? "z" : "",
		conf->volatile_cache ? "c" : "", conf->read_only ? "r" : "");
}

void card_ctrl_volumes(struct card *c, const char *name, card_ctrl_volume_fn *fn, void *a)
{
	const struct card_ctrl *k;
	const struct card_volume *v;
	struct card_volume_conf conf;

	TAILQ_FOREACH (k, &c->inv->ctrls, link)
		if (!strcmp(k->name, name))
			break;
	if (!k)
		return;
	TAILQ_FOREACH (v, &c->inv->volumes, link) {
		if (!ours(k->set, v))
			continue;
		conf_now(v, &conf);
		fn(v->name, &conf, a);
	}
}
