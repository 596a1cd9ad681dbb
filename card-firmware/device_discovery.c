// SPDX-License-Identifier: Apache-2.0
/*
 * Discovery: services that are asked what subsystems there are, and controllers that come of it.
 *
 * A discovery connects to a service, to those that it refers to, and to theirs, and stays
 * connected. When a log was read it is walked: each path that the card has not is attached, each
 * that came of this discovery and that no log has any more is detached. What has connected is
 * attached once more, as a call that the store keeps, so that after a restart disks are there
 * before anything was discovered; what only was tried leaves no trace there, and costs it no write.
 * These calls, and those that detach, wait for their turn as an operator's do. A log cannot take
 * away what a disk uses, since the call refuses that.
 *
 * What a log says is somebody else's, and so it has bounds. The walk goes in slices: a few entries,
 * and one call, between the control thread's other events. An attach does not wait: of each service
 * TRIES_MAX paths at a time may be on their way, and those that cannot be reached are detached.
 * FAILURES_MAX of a service's may come to nothing in one walk; the rest has its turn in the next
 * one. What a walk goes by stays until its end, however often a log changes.
 */
#include "device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "nof_ctrl.h"
#include "nof_nqn.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "storage.h"

#define DEPTH_MAX 2U // referrals of referrals
#define PATHS_MAX 256U // that the card has: a log makes no more than that
#define SLICE 128U // entries, of one look
#define PATHS_SLICE 16U // of ours, of one look
#define TRIES_MAX 8U // paths of a service that are connecting
#define FAILURES_MAX 16U // of a service, in one walk
#define SOON_MS 1
#define STEP_MS 5
#define TRY_MS 20 // paths that are connecting are looked at
#define BUSY_MS 1000 // something is still being disconnected
#define EVERY_MS 500 // a walk begins, however often logs change
#define MS 1000000ULL
#define TRY_NS 10000000000ull // a path that came and went while nobody looked is none
#define AGAIN_MS 10000 // something failed, and no log has changed

struct service {
	struct card_discovery *d; // borrowed; NULL: nobody's any more
	struct nof_ctrl *ctrl; // owned, until it is told to go
	char traddr[64];
	uint16_t trsvcid;
	unsigned depth; // 0: the one that was asked for
	bool read; // its log was, once
	bool wanted; // in the walk that runs: somebody refers to it
	struct nof_disc_info *entries; // owned; what the walk goes by
	struct nof_disc_info *fresh; // owned; read since it began; NULL: nothing
	unsigned n, n_fresh;
	/* Of the walk. */
	unsigned first, next_first; // entry that it begins with, and the next one does
	unsigned at; // how many it has seen
	unsigned n_trying, n_failed; // attaches
};

struct path {
	char name[CARD_NAME_MAX + 1], traddr[64], subnqn[224];
	uint16_t trsvcid;
	struct service *from; // of one that is being tried or kept
	uint64_t until_ns; // when it counts as one that could not be
};

struct card_discovery {
	TAILQ_ENTRY(card_discovery) link;
	struct card *card; // borrowed
	struct card_discovery_conf conf; // strings are ours
	char name[CARD_NAME_MAX + 1], traddr[64];
	struct service *svc[CARD_DISC_SERVICES]; // owned
	unsigned n_svc;
	void *timer; // NULL: nothing is due
	struct card_message *call; // owned: one that is being made
	struct path keeping; // the path that `call` keeps; from NULL: it does something else
	struct path trying[CARD_DISC_SERVICES * TRIES_MAX]; // connecting for the first time
	unsigned n_trying;
	uint64_t attach_failures,
		passed_over; // paths not attached; entries without a turn in a walk
	/* The walk. */
	uint64_t begun_ns;
	unsigned at_path;
	bool walking;
	bool changed, failed, busy, stopping; // busy: the last failure goes away by itself
	char last_error[128];
};

static void look_in(struct card_discovery *d, unsigned ms);

/* ---- services ---- */

static void on_gone(void *arg)
{
	struct service *s = arg;

	free(s->entries);
	free(s->fresh);
	free(s);
}

static void forget(struct service *s)
{
	s->d = NULL;
	nof_ctrl_disc_watch(s->ctrl, NULL, NULL);
	nof_ctrl_delete(s->ctrl, on_gone, s);
}

/* The log that was read: kept, since it is read again in pieces. */
static void on_log(void *arg)
{
	struct service *s = arg;
	struct nof_disc_info one, *all;
	unsigned n = 0;

	while (nof_ctrl_disc(s->ctrl, n, &one) == 0)
		n++;
	all = dpu_calloc(n + 1, sizeof(*all));
	if (!all) {
		nof_ctrl_read_again(s->ctrl); // as it was, until then
		return;
	}
	for (unsigned i = 0; i < n; i++)
		(void)nof_ctrl_disc(s->ctrl, i, &all[i]);
	free(s->fresh);
	s->fresh = all;
	s->n_fresh = n;
	s->d->changed = true;
	look_in(s->d, SOON_MS);
}

static struct service *service_of(struct card_discovery *d, const char *traddr, uint16_t port)
{
	for (unsigned i = 0; i < d->n_svc; i++)
		if (!strcmp(d->svc[i]->traddr, traddr) && d->svc[i]->trsvcid == port)
			return d->svc[i];
	return NULL;
}

static int service_add(struct card_discovery *d, const char *traddr, uint16_t port, unsigned depth)
{
	char name[64];
	struct nof_ctrl_conf conf = { .name = name,
		.traddr = traddr,
		.trsvcid = port,
		.subnqn = NOF_DISCOVERY_NQN,
		.reconnect_delay_ms = d->conf.reconnect_delay_s * 1000,
		.ctrl_loss_timeout_s = -1 };
	struct service *s;
	int ret;

	if (d->n_svc == CARD_DISC_SERVICES)
		return -ENOSPC;
	s = dpu_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	snprintf(name, sizeof(name), "discovery %.16s %.30s", d->name, traddr);
	snprintf(name + strlen(name), sizeof(name) - strlen(name), "/%u", port);
	ret = nof_ctrl_create(card_storage_host(d->card), &conf, NULL, NULL, &s->ctrl);
	if (ret) {
		free(s);
		return ret;
	}
	s->d = d;
	snprintf(s->traddr, sizeof(s->traddr), "%s", traddr);
	s->trsvcid = port;
	s->depth = depth;
	nof_ctrl_disc_watch(s->ctrl, on_log, s);
	d->svc[d->n_svc++] = s;
	return 0;
}

/* Those that nobody refers to any more, but for the first. True: some are gone. */
static bool drop_unwanted(struct card_discovery *d)
{
	unsigned n = 1, before = d->n_svc;

	for (unsigned i = 1; i < d->n_svc; i++) {
		if (d->svc[i]->wanted)
			d->svc[n++] = d->svc[i];
		else
			forget(d->svc[i]);
	}
	if (d->n_svc)
		d->n_svc = n;
	return d->n_svc != before;
}

/* ---- what the card has ---- */

struct seek {
	const char *subnqn, *traddr; // traddr NULL: any path of it
	uint16_t trsvcid;
	const char *name; // found, or: a name that is looked for
	unsigned n; // controllers there are
	bool found, name_used;
};

static bool seek_one(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *arg)
{
	struct seek *s = arg;

	(void)ctrl;
	s->n++;
	if (s->name && !s->subnqn)
		s->name_used |= !strcmp(conf->name, s->name);
	if (!s->subnqn || strcmp(conf->subnqn, s->subnqn) != 0)
		return true;
	s->name = conf->name;
	if (!strcmp(conf->traddr, s->traddr) && conf->trsvcid == s->trsvcid)
		s->found = true;
	return true;
}

/* One of that name is still being disconnected from there. */
static bool is_going(
	const struct card_discovery *d, const char *name, const struct nof_disc_info *e)
{
	char full[CARD_NAME_MAX + sizeof(e->traddr) + 16];

	snprintf(full, sizeof(full), "%s/%s/%u", name, e->traddr, e->trsvcid);
	return nof_ctrl_find(card_storage_host(d->card), full) != NULL;
}

/* NAME0, NAME1 ..: the first that is free. */
static void free_name(
	struct card_discovery *d, const struct nof_disc_info *e, char *out, size_t size)
{
	for (unsigned k = 0; k <= PATHS_MAX; k++) {
		struct seek s = { .name = out };

		snprintf(out, size, "%.*s%u", CARD_NAME_MAX - 4, d->name, k);
		card_ctrl_foreach(d->card, seek_one, &s);
		if (!s.name_used && !is_going(d, out, e))
			return;
	}
}

struct nth {
	const struct card_discovery *d;
	unsigned idx; // of ours
	struct path *out;
	bool found;
};

static bool nth_one(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *arg)
{
	struct nth *n = arg;

	(void)ctrl;
	if (!conf->discovery || strcmp(conf->discovery, n->d->name) != 0 || n->idx-- > 0)
		return true;
	snprintf(n->out->name, sizeof(n->out->name), "%s", conf->name);
	snprintf(n->out->traddr, sizeof(n->out->traddr), "%s", conf->traddr);
	snprintf(n->out->subnqn, sizeof(n->out->subnqn), "%s", conf->subnqn);
	n->out->trsvcid = conf->trsvcid;
	n->found = true;
	return false;
}

static bool our_path(const struct card_discovery *d, unsigned idx, struct path *out)
{
	struct nth n = { d, idx, out, false };

	card_ctrl_foreach(d->card, nth_one, &n);
	return n.found;
}

static bool listed(const struct card_discovery *d, const struct path *p)
{
	for (unsigned i = 0; i < d->n_svc; i++)
		for (unsigned k = 0; k < d->svc[i]->n; k++) {
			const struct nof_disc_info *e = &d->svc[i]->entries[k];

			if (!e->referral && e->trsvcid == p->trsvcid &&
				!strcmp(e->traddr, p->traddr) && !strcmp(e->subnqn, p->subnqn))
				return true;
		}
	return false;
}

/* ---- calls ---- */

static void not_attached(struct card_discovery *d, struct service *s);

static void call_failed(struct card_discovery *d, const char *why, bool busy)
{
	d->failed = true;
	d->busy = busy;
	snprintf(d->last_error, sizeof(d->last_error), "%.127s", why);
	dpu_warn_ratelimited(
		"discovery: not attached", "name=%s why=\"%s\"", d->name, d->last_error);
}

static void call_done(struct card_discovery *d, char *text)
{
	json_t *answer = text ? json_loads(text, 0, NULL) : NULL;
	const json_t *err = json_object_get(answer, "error");
	const char *why = json_string_value(json_object_get(err, "message"));
	const char *name = json_string_value(
		json_object_get(json_object_get(err, "data"), "errno"));
	struct card_error e;

	if (err || !answer) {
		call_failed(d, why ? why : "no memory", name && !strcmp(name, "EAGAIN"));
		if (d->keeping.from) { // not there after a restart: not there now
			not_attached(d, d->keeping.from);
			(void)card_ctrl_delete(d->card, d->keeping.name, d->keeping.traddr,
				d->keeping.trsvcid, &e);
		}
	}
	d->keeping.from = NULL;
	json_decref(answer);
	free(text);
}

/* Takes params. True: it is still being made. */
static bool call(struct card_discovery *d, const char *method, json_t *params)
{
	json_t *req = params ? json_pack("{s:s, s:s, s:i, s:o}", "jsonrpc", "2.0", "method", method,
				       "id", 1, "params", params)
			     : NULL;
	char *text = req ? json_dumps(req, JSON_COMPACT) : NULL, *answer;

	json_decref(req);
	answer = text ? card_rpc_answer(d->card, text, strlen(text), &d->call) : NULL;
	free(text);
	if (d->call)
		return true;
	call_done(d, answer);
	return false;
}

static json_t *path_params(const char *name, const char *traddr, uint16_t port)
{
	char text[8];

	snprintf(text, sizeof(text), "%u", port);
	return json_pack("{s:s, s:s, s:s}", "name", name, "traddr", traddr, "trsvcid", text);
}

static json_t *attach_params(
	const struct card_discovery *d, const struct path *p, json_t *namespaces)
{
	const struct card_discovery_conf *o = &d->conf;
	json_t *loss = o->ctrl_loss_timeout_s < 0 ? NULL : json_integer(o->ctrl_loss_timeout_s);
	char port[8];

	snprintf(port, sizeof(port), "%u", p->trsvcid);
	// with namespaces its answer does not wait
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:o, s:o*}", "name",
		p->name, "traddr", p->traddr, "trsvcid", port, "subnqn", p->subnqn, "discovery",
		d->name, "hdgst", (int)o->hdgst, "ddgst", (int)o->ddgst, "fast_io_fail_timeout_sec",
		(json_int_t)o->fast_io_fail_timeout_s, "reconnect_delay_sec",
		(json_int_t)o->reconnect_delay_s, "namespaces", namespaces,
		"ctrlr_loss_timeout_sec", loss);
}

/* Not kept: only tried. False: it is not connecting. */
static bool attach(struct card_discovery *d, const struct path *p)
{
	json_t *params = attach_params(d, p, json_array()), *result = NULL;
	struct card_error e = { "out of memory" };
	int ret = -ENOMEM;

	if (params)
		ret = card_rpc_run(d->card, card_method_at(CARD_M_bdev_nvme_attach_controller),
			params, CARD_RUN_REPLAY, &result, &e);
	json_decref(result);
	json_decref(params);
	if (ret)
		call_failed(d, e.text, ret == -EAGAIN);
	return !ret;
}

static void note_volume(const char *volume, const struct card_volume_conf *conf, void *arg)
{
	char text[CARD_NS_TEXT];

	(void)volume;
	card_ns_text(conf, text);
	json_array_append_new(arg, json_string(text));
}

/* It has connected: the store has it from now on, with the volumes that are known already. */
static void keep(struct card_discovery *d, const struct path *p)
{
	json_t *namespaces = json_array();

	card_ctrl_volumes(d->card, p->name, note_volume, namespaces);
	d->keeping = *p;
	(void)call(d, "bdev_nvme_attach_controller", attach_params(d, p, namespaces));
}

/* ---- the walk ---- */

static void refer(
	struct card_discovery *d, const struct service *from, const struct nof_disc_info *e)
{
	struct service *s = service_of(d, e->traddr, e->trsvcid);
	int ret;

	if (!s && from->depth < DEPTH_MAX) {
		ret = service_add(d, e->traddr, e->trsvcid, from->depth + 1);
		if (ret)
			dpu_warn_ratelimited("discovery: referral not followed",
				"name=%s traddr=%s trsvcid=%u err=%d", d->name, e->traddr,
				e->trsvcid, ret);
		d->passed_over += ret != 0;
		s = ret ? NULL : d->svc[d->n_svc - 1];
	}
	// Of one that nobody refers to any more it does not count: two could keep each other.
	if (s && (from->wanted || from == d->svc[0]))
		s->wanted = true;
}

/* ---- paths that connect ---- */

/* One of its entries came to nothing. */
static void not_attached(struct card_discovery *d, struct service *s)
{
	d->attach_failures++;
	if (++s->n_failed == FAILURES_MAX)
		s->next_first = (s->first + s->at) % s->n;
}

static void try(struct card_discovery *d, struct service *from, const struct nof_disc_info *e,
	const char *name)
{
	struct path *p = &d->trying[d->n_trying];

	*p = (struct path){
		.trsvcid = e->trsvcid, .from = from, .until_ns = dpu_now_ns() + TRY_NS
	};
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->traddr, sizeof(p->traddr), "%s", e->traddr);
	snprintf(p->subnqn, sizeof(p->subnqn), "%s", e->subnqn);
	if (!attach(d, p)) {
		not_attached(d, from);
		return;
	}
	d->n_trying++;
	from->n_trying++;
}

/* Those that are connected are kept, those that could not be are no paths. True: a call is made. */
static bool look_at_tries(struct card_discovery *d)
{
	for (unsigned i = 0; i < d->n_trying;) {
		const struct path p = d->trying[i];
		const struct card_ctrl_conf conf = {
			.name = p.name, .traddr = p.traddr, .trsvcid = p.trsvcid
		};
		char why[192];
		struct card_error e;
		int ret = card_ctrl_state(d->card, &conf, &e);

		if (ret == CARD_RPC_LATER && dpu_now_ns() < p.until_ns) {
			i++;
			continue;
		}
		if (ret == CARD_RPC_LATER) // it was live, and is no more
			ret = card_fail(&e, -ENOTCONN, "%s: not connected any more", p.name);
		d->trying[i] = d->trying[--d->n_trying];
		p.from->n_trying--;
		if (ret == 0 && !d->stopping) {
			keep(d, &p);
			return true;
		}
		if (ret == 0 || ret == -ENODEV)
			continue;
		not_attached(d, p.from);
		snprintf(why, sizeof(why), "%s/%u: %.100s", p.traddr, p.trsvcid, e.text);
		call_failed(d, why, false);
		(void)card_ctrl_delete(d->card, p.name, p.traddr, p.trsvcid, &e);
		return true;
	}
	return false;
}

/* ---- entries ---- */

enum took { TOOK_NOTHING, TOOK_CALL, TOOK_LATER };

static enum took entry(
	struct card_discovery *d, struct service *from, const struct nof_disc_info *e)
{
	struct seek s = { .subnqn = e->subnqn, .traddr = e->traddr, .trsvcid = e->trsvcid };
	char name[CARD_NAME_MAX + 1];

	if (e->referral) {
		refer(d, from, e);
		return TOOK_NOTHING;
	}
	card_ctrl_foreach(d->card, seek_one, &s);
	if (s.found || e->secure_required)
		return TOOK_NOTHING;
	if (s.n >= PATHS_MAX || from->n_failed >= FAILURES_MAX) {
		d->passed_over++;
		d->failed |= from->n_failed >= FAILURES_MAX;
		dpu_warn_ratelimited("discovery: a path is passed over",
			"name=%s service=%s why=\"%s\"", d->name, from->traddr,
			s.n >= PATHS_MAX ? "more paths than there may be" : "too many failed");
		return TOOK_NOTHING;
	}
	if (from->n_trying == TRIES_MAX || d->card->task) // an operator's call comes first
		return TOOK_LATER;
	if (s.name)
		snprintf(name, sizeof(name), "%s", s.name);
	else
		free_name(d, e, name, sizeof(name));
	try(d, from, e, name);
	return TOOK_CALL;
}

/* True: it goes on later. A service that waits holds up no other one. */
static bool walk_logs(struct card_discovery *d)
{
	bool waits = false;
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_svc; i++) {
		struct service *s = d->svc[i];

		while (s->at < s->n) {
			enum took t;

			if (n++ == SLICE)
				return true;
			t = entry(d, s, &s->entries[(s->first + s->at) % s->n]);
			waits |= t == TOOK_LATER;
			if (t == TOOK_LATER)
				break;
			s->at++;
			if (t == TOOK_CALL)
				return true;
		}
	}
	return waits;
}

/* Only when every log is known: what an unread one has would be taken for gone. */
static bool all_read(const struct card_discovery *d)
{
	for (unsigned i = 0; i < d->n_svc; i++)
		if (!d->svc[i]->read)
			return false;
	return true;
}

/* Detaching takes no steps. True: there are more. */
static bool walk_paths(struct card_discovery *d)
{
	struct path p;

	for (unsigned n = 0; our_path(d, d->at_path, &p); n++) {
		bool failed = d->failed;

		if (n == PATHS_SLICE)
			return true;
		if (!d->stopping && listed(d, &p)) {
			d->at_path++;
			continue;
		}
		d->failed = false;
		(void)call(
			d, "bdev_nvme_detach_controller", path_params(p.name, p.traddr, p.trsvcid));
		d->at_path += d->failed; // it stays: in use
		d->failed |= failed;
	}
	return false;
}

static void discovery_free(struct card_discovery *d)
{
	if (d->timer)
		d->card->vho_loop.timer_cancel(d->card->vho_loop.arg, d->timer);
	card_message_destroy(d->call);
	for (unsigned i = 0; i < d->n_svc; i++)
		forget(d->svc[i]);
	TAILQ_REMOVE(&d->card->inv->discoveries, d, link);
	free(d);
}

static void walk_begin(struct card_discovery *d)
{
	d->walking = true;
	d->changed = d->failed = d->busy = false;
	d->begun_ns = dpu_now_ns();
	d->at_path = 0;
	for (unsigned i = 0; i < d->n_svc; i++) {
		struct service *s = d->svc[i];

		s->wanted = false;
		s->n_failed = s->at = 0;
		if (s->fresh) {
			free(s->entries);
			s->entries = s->fresh;
			s->n = s->n_fresh;
			s->fresh = NULL;
			s->read = true;
		}
		s->first = s->n ? s->next_first % s->n : 0;
		s->next_first = 0;
	}
}

/* The walk is over: paths of services that were dropped are detached by the next one. */
static void walk_end(struct card_discovery *d)
{
	bool dropped = all_read(d) && drop_unwanted(d);

	d->walking = false;
	if (dropped || d->changed) {
		d->changed = true;
		look_in(d, STEP_MS);
	} else if (d->failed) {
		d->changed = true; // the same again, later
		look_in(d, d->busy ? BUSY_MS : AGAIN_MS);
	}
}

/* True: it goes on later. */
static bool walk(struct card_discovery *d)
{
	if (!d->stopping && (walk_logs(d) || d->n_trying > 0))
		return true;
	return (d->stopping || all_read(d)) && walk_paths(d);
}

/* A walk that is due begins. True: not yet. */
static bool begin_later(struct card_discovery *d)
{
	uint64_t now = dpu_now_ns(), at = d->begun_ns + EVERY_MS * MS;

	if (!d->changed || d->walking)
		return false;
	if (d->begun_ns && now < at && !d->stopping) {
		look_in(d, (unsigned)((at - now) / MS) + 1);
		return true;
	}
	walk_begin(d);
	return false;
}

static void look(void *arg)
{
	struct card_discovery *d = arg;
	char *text;

	d->timer = NULL;
	if (d->call) {
		if (card_message_step(d->call, &text)) {
			look_in(d, STEP_MS);
			return;
		}
		card_message_destroy(d->call);
		d->call = NULL;
		call_done(d, text);
		look_in(d, STEP_MS); // an operator's call that waits comes first
		return;
	}
	if (look_at_tries(d)) {
		look_in(d, STEP_MS);
		return;
	}
	if (begin_later(d))
		return;
	if (d->walking && walk(d))
		look_in(d, d->n_trying ? TRY_MS : STEP_MS);
	else if (d->stopping)
		discovery_free(d);
	else if (d->walking)
		walk_end(d);
}

static void look_in(struct card_discovery *d, unsigned ms)
{
	const struct vho_loop *l = &d->card->vho_loop;

	if (d->timer)
		l->timer_cancel(l->arg, d->timer);
	d->timer = l->timer(l->arg, ms, look, d);
	for (unsigned i = 0; !d->timer && i < d->n_svc; i++) // no memory: on_log() comes here again
		nof_ctrl_read_again(d->svc[i]->ctrl);
}

/* ---- for the calls ---- */

static struct card_discovery *find(struct card *c, const char *name)
{
	struct card_discovery *d;

	TAILQ_FOREACH (d, &c->inv->discoveries, link)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

int card_discovery_start(
	struct card *c, const struct card_discovery_conf *conf, struct card_error *e)
{
	struct card_discovery *d = find(c, conf->name);
	struct in6_addr addr;
	int ret;

	if (!card_name_ok(conf->name) || strlen(conf->name) > CARD_NAME_MAX - 4)
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE ", and room for a number");
	if (d && d->stopping)
		return card_fail(e, -EBUSY, "%s: is being stopped", conf->name);
	if (d)
		return card_fail(e, -EEXIST, "%s: there is a discovery of this name", conf->name);
	if (inet_pton(strchr(conf->traddr, ':') ? AF_INET6 : AF_INET, conf->traddr, &addr) != 1)
		return card_fail(e, -EINVAL, "traddr: must be an IP address");
	d = dpu_calloc(1, sizeof(*d));
	if (!d)
		return card_fail(e, -ENOMEM, "out of memory");
	d->card = c;
	d->conf = *conf;
	memcpy(d->name, conf->name, strlen(conf->name));
	snprintf(d->traddr, sizeof(d->traddr), "%s", conf->traddr);
	d->conf.name = d->name;
	d->conf.traddr = d->traddr;
	TAILQ_INSERT_TAIL(&c->inv->discoveries, d, link);
	ret = service_add(d, d->traddr, conf->trsvcid, 0);
	if (!ret)
		return 0;
	discovery_free(d);
	if (ret == -EEXIST)
		return card_fail(e, ret, "traddr: a discovery has it already");
	if (ret == -ENOSPC)
		return card_fail(e, ret, "no more than %u services", CARD_DISC_SERVICES);
	return card_fail(e, ret, "%s: %s", conf->name, strerror(-ret));
}

int card_discovery_stop(struct card *c, const char *name, struct card_error *e)
{
	struct card_discovery *d = find(c, name);

	if (!d || d->stopping)
		return card_fail(e, -ENODEV, "%s: no such discovery", name);
	d->stopping = true;
	d->changed = true;
	d->at_path = 0; // those that a walk has passed are to go, too
	look_in(d, SOON_MS);
	return 0;
}

void card_discoveries_fini(struct card *c)
{
	struct card_discovery *d, *next;

	for (d = TAILQ_FIRST(&c->inv->discoveries); d; d = next) {
		next = TAILQ_NEXT(d, link);
		discovery_free(d);
	}
}

void card_discovery_foreach(
	const struct card *c, bool (*fn)(const struct card_discovery_view *v, void *a), void *a)
{
	struct card_discovery *d;

	TAILQ_FOREACH (d, &c->inv->discoveries, link) {
		struct card_discovery_view v = { .conf = &d->conf,
			.n_services = d->n_svc,
			.stopping = d->stopping,
			.attach_failures = d->attach_failures,
			.passed_over = d->passed_over,
			.last_error = d->last_error };
		struct path p;

		for (unsigned i = 0; i < d->n_svc; i++) {
			struct nof_ctrl_info info;

			nof_ctrl_info(d->svc[i]->ctrl, &info);
			v.service[i].traddr = d->svc[i]->traddr;
			v.service[i].trsvcid = d->svc[i]->trsvcid;
			v.service[i].state = nof_ctrl_state_name(info.state);
			v.service[i].n_entries = d->svc[i]->n;
		}
		while (our_path(d, v.n_paths, &p))
			v.n_paths++;
		if (!fn(&v, a))
			return;
	}
}
