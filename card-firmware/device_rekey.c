// SPDX-License-Identifier: Apache-2.0
/*
 * Another key for an encrypted volume that is in use. The call that made the volume is replaced in
 * the store by the one that changes its key, before anything is moved; that one by a call that
 * makes the volume with its new key, when all is moved; then the old key is forgotten.
 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc.h"
#include "rpc_schema.h"
#include "storage.h"
#include "store.h"

#define STEP_MS 50

struct card_rekey {
	struct card_key *to; // borrowed: counts us among its users
	struct card_volume *journal; // borrowed: the same
	struct card_key *old; // borrowed: once all is moved, until the store knows; else NULL
	char id[CARD_UUID_TEXT];
	bool gone; // vol_rekey_go() was said
	int failed; // it did not begin, or cannot be resumed
};

void card_rekey_free(struct card_volume *v)
{
	struct card_rekey *r = v->rekey;

	if (!r)
		return;
	r->to->users--;
	r->journal->users--;
	if (r->old)
		r->old->users--;
	free(r);
	v->rekey = NULL;
}

/* The call of the store that makes the volume; NULL: none does. */
static const json_t *kept_call(const struct card *c, const char *name)
{
	const json_t *calls = card_store_calls(c), *call;
	size_t i;

	json_array_foreach (calls, i, call) {
		const char *method = card_arg_str(call, "method", "");
		const json_t *params = json_object_get(call, "params");

		if ((!strcmp(method, "bdev_crypto_create") || !strcmp(method, "volume_rekey") ||
			    !strcmp(method, "volume_crypto_set")) &&
			!strcmp(card_arg_str(params, "name", ""), name))
			return call;
	}
	return NULL;
}

int card_volume_rekey_conf(
	struct card *c, const char *name, struct card_volume_conf *out, struct card_error *e)
{
	const struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	if (v->conf.kind != CARD_VOL_CRYPT)
		return card_fail(e, -EINVAL, "%s: not an encrypted volume", name);
	if (v->rekey)
		return card_fail(e, -EBUSY, "%s: gets another key already", name);
	if (!kept_call(c, name))
		return card_fail(e, -ENOTSUP,
			"%s: not in the store (--state-dir), which has to know of it", name);
	*out = v->conf;
	return 0;
}

/* ---- its end ---- */

/* They went with the call that made the volume, when another one took its place. */
static int keep_limits(struct card *c, struct card_volume *v, struct card_error *e)
{
	struct vol_limits none = { 0 }, l;
	json_t *result = NULL, *params;
	int ret;

	vol_limits(v->vol, &l);
	if (!memcmp(&l, &none, sizeof(l)))
		return 0;
	params = json_pack("{s:s}", "name", v->name); // what is not given stays
	ret = params ? card_rpc_dispatch(c, "bdev_set_qos_limit", params, &result, e) : -ENOMEM;
	json_decref(params);
	json_decref(result);
	return ret;
}

/* A call that makes the volume with this key takes the place of the one that changed it. */
static int keep_key(struct card *c, struct card_volume *v, struct card_error *e)
{
	json_t *result = NULL, *params = json_pack("{s:s, s:s, s:s, s:i, s:s}", "name", v->name,
				       "base_bdev_name", v->conf.base, "key_name", v->conf.key,
				       "block_size", (int)v->conf.block_size, "uuid", v->uuid);
	int ret = params ? card_rpc_dispatch(c, "volume_crypto_set", params, &result, e) : -ENOMEM;

	json_decref(params);
	json_decref(result);
	return ret;
}

static void forget_key(struct card *c, const char *name)
{
	json_t *result = NULL, *params = json_pack("{s:s}", "key_name", name);
	struct card_error e = { 0 };
	int ret = params ? card_rpc_dispatch(c, "accel_crypto_key_destroy", params, &result, &e)
			 : -ENOMEM;

	if (ret)
		dpu_warn("key: the old one stays", "name=%s reason=\"%s\"", name, e.text);
	json_decref(params);
	json_decref(result);
}

static void limits_kept(struct card *c, struct card_volume *v)
{
	struct card_error e = { 0 };

	if (keep_limits(c, v, &e))
		dpu_warn("volume: its limits are not kept", "name=%s reason=\"%s\"", v->name,
			e.text);
}

/* All is moved. Journal and old key are held until the store knows: a restart would resume. */
static void over(struct card *c, struct card_volume *v)
{
	struct card_rekey *r = v->rekey;
	struct card_error e = { 0 };
	const char *old;

	if (!r->old) {
		char *name = strdup(r->to->name);

		if (!name)
			return; // next time
		r->old = v->key;
		v->key = r->to;
		v->key->users++;
		free(v->key_name);
		v->key_name = name;
		v->conf.key = name;
	}
	if (keep_key(c, v, &e)) {
		dpu_warn_ratelimited("volume: its new key is not kept yet", "name=%s reason=\"%s\"",
			v->name, e.text);
		return;
	}
	old = r->old->name;
	limits_kept(c, v);
	card_rekey_free(v);
	dpu_info("volume: has its new key", "name=%s key=%s", v->name, v->key_name);
	forget_key(c, old);
}

/* The store must know before anything is moved. */
static bool kept(const struct card *c, const struct card_volume *v)
{
	const json_t *call = kept_call(c, v->name);

	return call &&
	       !strcmp(card_arg_str(json_object_get(call, "params"), "id", ""), v->rekey->id);
}

static void step(struct card *c, struct card_volume *v)
{
	struct card_rekey *r = v->rekey;
	int ret;

	if (r->failed)
		return;
	ret = r->old ? VOL_REKEY_OVER : vol_rekey_step(v->vol);
	if (ret == VOL_REKEY_OVER) {
		over(c, v);
	} else if (ret < 0) {
		r->failed = ret;
		if (ret != -ENODATA)
			card_rekey_free(v);
		else
			dpu_err("volume: the journal of its change of key is not there",
				"name=%s journal=%s", v->name, r->journal->name);
	} else if (ret == VOL_REKEY_MOVES && !r->gone) {
		r->gone = kept(c, v);
		if (r->gone)
			limits_kept(c, v);
		if (r->gone)
			vol_rekey_go(v->vol);
		else
			(void)vol_work_stop(v->vol);
	}
}

static void on_timer(void *arg)
{
	struct card *c = arg;
	struct card_volume *v;
	bool more = false;

	c->inv->rekey_timer = NULL;
	TAILQ_FOREACH (v, &c->inv->volumes, link) {
		if (v->rekey && !c->task) // the store has one change at a time
			step(c, v);
		more |= v->rekey != NULL;
	}
	if (more)
		c->inv->rekey_timer = c->vho_loop.timer(c->vho_loop.arg, STEP_MS, on_timer, c);
}

/* ---- its begin ---- */

static int begin(struct card *c, struct card_volume *v, const struct card_rekey_conf *conf,
	struct card_error *e)
{
	struct card_key *to = card_key_find(c, conf->key);
	struct card_volume *journal = card_volume_find(c, conf->journal);
	struct vol_rekey_conf rekey = { .resume = conf->resume,
		.bytes_per_sec = conf->mbytes_per_sec << 20,
		.group = card_storage_group(c, card_worker_of(c, card_take_workers(c, 1), 0)) };
	struct card_rekey *r;
	int ret;

	if (!to || to == v->key)
		return card_fail(
			e, to ? -EINVAL : -ENODEV, "key_name: %s", to ? "the same" : "no such key");
	if (!journal)
		return card_fail(
			e, -ENODEV, "journal_bdev_name: %s: no such volume", conf->journal);
	if (journal->users || journal->orphans)
		return card_fail(e, -EBUSY, "journal_bdev_name: %s: in use", journal->name);
	if (card_layer_stands_on(journal, v)) // what it writes would wait for itself
		return card_fail(
			e, -EINVAL, "journal_bdev_name: %s: stands on %s", journal->name, v->name);
	if (card_uuid_parse(conf->id, rekey.id))
		return card_fail(e, -EINVAL, "id: not a UUID");
	r = dpu_calloc(1, sizeof(*r));
	if (!r)
		return card_fail(e, -ENOMEM, "out of memory");
	rekey.key = to->key;
	rekey.journal = journal->vol;
	ret = vol_crypt_rekey(v->vol, &rekey);
	if (ret) {
		free(r);
		return ret == -EINVAL ? card_fail(e, ret, "journal_bdev_name: %s: needs %u bytes",
						journal->name, VOL_REKEY_JOURNAL)
				      : card_fail(e, ret, "%s: %s", v->name, strerror(-ret));
	}
	r->to = to;
	r->journal = journal;
	r->gone = conf->resume;
	memcpy(r->id, conf->id, sizeof(r->id));
	to->users++;
	journal->users++;
	v->rekey = r;
	if (!c->inv->rekey_timer)
		c->inv->rekey_timer = c->vho_loop.timer(c->vho_loop.arg, STEP_MS, on_timer, c);
	return 0;
}

int card_volume_rekey(struct card *c, const struct card_rekey_conf *conf, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, conf->volume.name);
	bool made = !v;
	int ret = made ? card_volume_create(c, &conf->volume, e) : 0;

	if (ret)
		return ret;
	v = card_volume_find(c, conf->volume.name);
	if (v->rekey)
		return strcmp(v->rekey->id, conf->id)
			       ? card_fail(e, -EBUSY, "%s: gets another key already", v->name)
			       : 0;
	ret = begin(c, v, conf, e);
	if (ret && made) // with its old key alone it would give noise
		card_volume_discard(c, conf->volume.name);
	return ret;
}

int card_volume_rekey_state(struct card *c, const char *name, struct card_error *e)
{
	struct card_volume *v = card_volume_find(c, name);
	int ret;

	if (!v || !v->rekey)
		return card_fail(e, -ECANCELED, "%s: its change of key did not begin", name);
	ret = v->rekey->failed ? v->rekey->failed : vol_rekey_step(v->vol);
	if (ret < 0) {
		card_rekey_free(v);
		return card_fail(e, ret, "journal_bdev_name: %s", strerror(-ret));
	}
	return ret == VOL_REKEY_BEGINS ? CARD_RPC_LATER : 0;
}
