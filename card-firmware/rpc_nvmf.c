// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on the card's target, under SPDK's names. What SPDK's tools put into objects (a
 * namespace, an address) is one parameter each here, "bdev_name" or "listener=ADDRESS:PORT": so
 * cardctl says it, and so the store has it (card_nvmf_canon()).
 */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "nvmf.h"
#include "rpc_schema.h"
#include "storage.h"
#include "store.h"

#define ADDR_MAX 64U
#define PORT_MAX 6U
#define NSID_MAX 1024U

/* ---- one spelling ---- */

/* Move a member of an object up, unless the parameter is given by itself. */
static int lift(json_t *params, const json_t *from, const char *name, const char *to)
{
	json_t *v = json_object_get(from, name);

	if (!v || json_object_get(params, to))
		return 0;
	return json_object_set(params, to, v) ? -ENOMEM : 0;
}

static int flatten_ns(json_t *params, struct card_error *e)
{
	static const char *const names[] = { "nsid", "bdev_name", "uuid", "nguid", "eui64",
		"anagrpid", "no_auto_visible" };
	const json_t *ns = json_object_get(params, "namespace");
	int ret = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !ret; i++)
		ret = lift(params, ns, names[i], names[i]);
	json_object_del(params, "namespace");
	return ret ? ret
		   : card_schema_check(card_method_at(CARD_M_nvmf_subsystem_add_ns), params, e);
}

/* {"trtype":"TCP","traddr":A,"trsvcid":P} to "A:P", "[A]:P" for IPv6. */
static int flatten_addr(json_t *params, const char *name, const char *to, struct card_error *e)
{
	const json_t *o = json_object_get(params, name);
	const char *type = json_string_value(json_object_get(o, "trtype"));
	const char *addr = json_string_value(json_object_get(o, "traddr"));
	const char *port = json_string_value(json_object_get(o, "trsvcid"));
	char text[ADDR_MAX + PORT_MAX + 4];
	bool v6 = addr && strchr(addr, ':');

	if (!o)
		return 0;
	if (type && strcasecmp(type, "TCP") != 0)
		return card_fail(e, -EINVAL, "trtype: TCP is what there is");
	if (!addr || strlen(addr) >= ADDR_MAX || !port || strlen(port) >= PORT_MAX)
		return card_fail(e, -EINVAL, "%s: needs traddr and trsvcid", name);
	snprintf(text, sizeof(text), "%s%s%s:%s", v6 ? "[" : "", addr, v6 ? "]" : "", port);
	json_object_del(params, name);
	return json_object_set_new(params, to, json_string(text)) ? -ENOMEM : 0;
}

struct taken {
	bool nsid[NSID_MAX + 1];
};

static void mark(void *arg, const struct nof_tgt_ns_view *v)
{
	struct taken *t = arg;

	if (v->conf.nsid <= NSID_MAX)
		t->nsid[v->conf.nsid] = true;
}

/* A namespace that could not be made again keeps its number. */
static bool only_stored(struct card *c, const char *nqn, unsigned nsid)
{
	json_t *p = json_pack("{s:s, s:i}", "nqn", nqn, "nsid", (int)nsid);
	bool yes = card_store_is_degraded(c, card_method_at(CARD_M_nvmf_subsystem_remove_ns), p);

	json_decref(p);
	return yes;
}

/* The number that a namespace without one gets: the store has it. */
static int pick_nsid(struct card *c, json_t *params)
{
	const char *nqn = card_arg_str(params, "nqn", "");
	struct taken t = { { true } };
	unsigned i = 1;

	if (card_arg_uint(params, "nsid", 0) || !card_nvmf_get(c))
		return 0;
	(void)nof_tgt_visit(
		card_nvmf_get(c), nqn, &(struct nof_tgt_visit){ .ns = mark, .arg = &t });
	while (i < NSID_MAX && (t.nsid[i] || only_stored(c, nqn, i)))
		i++;
	return json_object_set_new(params, "nsid", json_integer(i)) ? -ENOMEM : 0;
}

struct address {
	char addr[ADDR_MAX], port[PORT_MAX];
	struct nof_tgt_addr at;
};

/* "A:P" or "[A]:P". */
static int read_addr(
	const json_t *params, const char *name, struct address *out, struct card_error *e)
{
	const char *text = card_arg_str(params, name, NULL),
		   *end = text ? strrchr(text, ':') : NULL;
	size_t len = end ? (size_t)(end - text) : 0;

	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (!end || len == 0 || len >= ADDR_MAX || strlen(end + 1) >= PORT_MAX)
		return card_fail(e, -EINVAL, "%s: must be ADDRESS:PORT", name);
	memcpy(out->addr, text, len);
	out->addr[len] = '\0';
	memcpy(out->port, end + 1, strlen(end + 1) + 1);
	out->at = (struct nof_tgt_addr){ out->addr, out->port };
	return 0;
}

/* One spelling of an address, for the store. */
static int spell_addr(json_t *params, const char *name, struct card_error *e)
{
	char text[ADDR_MAX + PORT_MAX + 4];
	struct address a;
	int ret;

	if (!card_arg_str(params, name, NULL))
		return 0;
	ret = read_addr(params, name, &a, e);
	if (ret)
		return ret;
	snprintf(text, sizeof(text), strchr(a.addr, ':') ? "[%s]:%s" : "%s:%s", a.addr, a.port);
	return json_object_set_new(params, name, json_string(text)) ? -ENOMEM : 0;
}

int card_nvmf_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	int ret;

	json_object_del(params, "tgt_name");
	if (m == card_method_at(CARD_M_nvmf_subsystem_add_ns)) {
		ret = flatten_ns(params, e);
		return ret ? ret : pick_nsid(c, params);
	}
	ret = flatten_addr(params, "listen_address", "listener", e);
	if (!ret)
		ret = flatten_addr(params, "address", "referral", e);
	if (!ret)
		ret = spell_addr(params, "listener", e);
	return ret ? ret : spell_addr(params, "referral", e);
}

/* The parameters of a call in that spelling: a new reference, NULL with e->text. */
static json_t *canon(
	struct card *c, enum card_method_id id, const json_t *params, struct card_error *e)
{
	json_t *p = params ? json_deep_copy(params) : json_object();

	if (p && card_nvmf_canon(c, card_method_at(id), p, e)) {
		json_decref(p);
		return NULL;
	}
	return p;
}

/* ---- reading ---- */

/* 2 * size hexadecimal digits; of 16 bytes they may be grouped as a UUID. */
static int read_id(
	const json_t *params, const char *name, uint8_t *out, unsigned size, struct card_error *e)
{
	const char *text = card_arg_str(params, name, NULL);

	if (!text || card_hex_parse(text, out, size) == 0)
		return 0;
	if (size == 16 && card_uuid_parse(text, out) == 0)
		return 0;
	return card_fail(e, -EINVAL, "%s: must be %u hexadecimal digits", name, 2 * size);
}

/* What the core refused. */
static int told(int ret, const char *what, struct card_error *e)
{
	if (ret == -EEXIST) // at that address already
		return 0;
	if (ret == -ENOENT)
		return card_fail(e, -ENODEV, "%s: no such subsystem or object of it", what);
	if (ret == -EINVAL)
		return card_fail(e, ret, "%s: a parameter is out of its range", what);
	return ret ? card_fail(e, ret, "%s: %s", what, strerror(-ret)) : 0;
}

/* ---- transport and subsystems ---- */

struct same {
	struct card *c;
	const struct nof_tgt_subsys_conf *conf;
	const struct nof_tgt_ns_conf *ns;
	const char *volume;
	bool yes;
};

/* What was asked for and can change no more is what is there. */
static void is_same(void *arg, const struct nof_tgt_subsys_view *v)
{
	struct same *s = arg;
	const struct nof_tgt_subsys_conf *k = s->conf;

	s->yes = (!k->serial || !strcmp(k->serial, v->serial)) &&
		 (!k->model || !strcmp(k->model, v->model)) && k->ana == v->ana &&
		 (!k->max_namespaces || k->max_namespaces == v->max_namespaces) &&
		 (!k->min_cntlid || k->min_cntlid == v->min_cntlid) &&
		 (!k->max_cntlid || k->max_cntlid == v->max_cntlid);
}

static void is_same_ns(void *arg, const struct nof_tgt_ns_view *v)
{
	struct same *s = arg;

	if (v->conf.nsid == s->ns->nsid && !v->dying)
		s->yes = !strcmp(card_nvmf_volume_name(s->c, v->conf.vol), s->volume) &&
			 v->conf.masked == s->ns->masked &&
			 v->conf.anagrpid == (s->ns->anagrpid ? s->ns->anagrpid : 1);
}

int card_call_nvmf_create_transport(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct nof_tgt_opts o = {
		.max_queue_depth = (uint16_t)card_arg_uint(params, "max_queue_depth", 0),
		.max_io_queues = (uint16_t)card_arg_uint(params, "max_io_qpairs_per_ctrlr", 0),
		.in_capsule_bytes = (uint32_t)card_arg_uint(params, "in_capsule_data_size", 0),
		.max_io_bytes = (uint32_t)card_arg_uint(params, "max_io_size", 0),
	};

	(void)result;
	if (strcasecmp(card_arg_str(params, "trtype", ""), "TCP") != 0)
		return card_fail(e, -EINVAL, "trtype: TCP is what there is");
	return card_nvmf_create(c, &o, e);
}

int card_call_nvmf_create_subsystem(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct nof_tgt_subsys_conf conf = {
		.nqn = card_arg_str(params, "nqn", ""),
		.serial = card_arg_str(params, "serial_number", NULL),
		.model = card_arg_str(params, "model_number", NULL),
		.allow_any_host = card_arg_bool(params, "allow_any_host", false),
		.ana = card_arg_bool(params, "ana_reporting", false),
		.max_namespaces = (uint32_t)card_arg_uint(params, "max_namespaces", 0),
		.min_cntlid = (uint16_t)card_arg_uint(params, "min_cntlid", 0),
		.max_cntlid = (uint16_t)card_arg_uint(params, "max_cntlid", 0),
	};
	struct nof_tgt *t = card_nvmf(c, e);
	struct same same = { .c = c, .conf = &conf };
	int ret;

	(void)result;
	if (!t)
		return -ENOMEM;
	ret = nof_tgt_subsys_add(t, &conf);
	if (ret == -EEXIST)
		(void)nof_tgt_visit(
			t, conf.nqn, &(struct nof_tgt_visit){ .subsys = is_same, .arg = &same });
	if (same.yes)
		return 0;
	return ret == -EEXIST ? card_fail(e, ret, "%s: exists with other parameters", conf.nqn)
			      : told(ret, conf.nqn, e);
}

/* ---- what ends ---- */

#define NAP_MS 1U
#define END_NS 5000000000ULL // of waiting for commands that hosts have sent

struct ending {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	char *nqn; // owned
	uint32_t nsid; // 0: all of the subsystem
	uint64_t until_ns;
};

static int ending_try(struct card *c, const char *nqn, uint32_t nsid, struct card_error *e)
{
	return nsid ? card_nvmf_ns_del(c, nqn, nsid, e) : card_nvmf_subsys_del(c, nqn, e);
}

static int ending_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct ending *x = (struct ending *)t;
	int ret;

	(void)result;
	card_storage_poll(x->card);
	ret = ending_try(x->card, x->nqn, x->nsid, e);
	return ret == -EBUSY && dpu_now_ns() < x->until_ns ? CARD_RPC_LATER : ret;
}

/* Nothing is undone: the hosts have lost it at the first step. */
static void ending_destroy(struct card_task *t)
{
	struct ending *x = (struct ending *)t;

	free(x->nqn);
	free(x);
}

static int end_in_steps(struct card *c, const char *nqn, uint32_t nsid, struct card_error *e)
{
	int ret = ending_try(c, nqn, nsid, e);
	struct ending *x;

	if (ret != -EBUSY)
		return ret;
	x = dpu_calloc(1, sizeof(*x));
	if (x)
		x->nqn = strdup(nqn);
	if (!x || !x->nqn) {
		free(x);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	x->task = (struct card_task){ ending_step, ending_destroy, NULL, NAP_MS };
	x->card = c;
	x->nsid = nsid;
	x->until_ns = dpu_now_ns() + END_NS;
	c->task = &x->task;
	return CARD_RPC_LATER;
}

int card_call_nvmf_delete_subsystem(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return end_in_steps(c, card_arg_str(params, "nqn", ""), 0, e);
}

int card_call_nvmf_subsystem_remove_ns(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return end_in_steps(
		c, card_arg_str(params, "nqn", ""), (uint32_t)card_arg_uint(params, "nsid", 0), e);
}

/* ---- namespaces ---- */

int card_call_nvmf_subsystem_add_ns(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	json_t *p = canon(c, CARD_M_nvmf_subsystem_add_ns, params, e);
	struct nof_tgt_ns_conf conf = {
		.nsid = (uint32_t)card_arg_uint(p, "nsid", 0),
		.anagrpid = (uint32_t)card_arg_uint(p, "anagrpid", 0),
		.masked = card_arg_bool(p, "no_auto_visible", false),
	};
	int ret = p ? 0 : -EINVAL;

	if (!ret)
		ret = read_id(p, "uuid", conf.uuid, sizeof(conf.uuid), e);
	if (!ret)
		ret = read_id(p, "nguid", conf.nguid, sizeof(conf.nguid), e);
	if (!ret)
		ret = read_id(p, "eui64", conf.eui64, sizeof(conf.eui64), e);
	if (!ret && conf.masked) // nobody could be named who sees it
		ret = card_fail(e, -EINVAL, "no_auto_visible: hosts are listed by subsystem only");
	if (!ret && !card_arg_str(p, "bdev_name", NULL))
		ret = card_fail(e, -EINVAL, "bdev_name: missing");
	if (!ret) {
		struct same same = {
			.c = c, .ns = &conf, .volume = card_arg_str(p, "bdev_name", "")
		};
		const char *nqn = card_arg_str(p, "nqn", "");

		if (card_nvmf_get(c))
			(void)nof_tgt_visit(card_nvmf_get(c), nqn,
				&(struct nof_tgt_visit){ .ns = is_same_ns, .arg = &same });
		if (!same.yes)
			ret = card_nvmf_ns_add(c, nqn, same.volume, &conf, e);
	}
	if (!ret)
		*result = json_integer(conf.nsid);
	json_decref(p);
	return ret;
}

/* ---- listeners, hosts, referrals ---- */

enum list_op { LISTENER_ADD, LISTENER_DEL, REFERRAL_ADD, REFERRAL_DEL, ANA_SET };

static int ana_of(const json_t *params, enum nof_tgt_ana *out, struct card_error *e)
{
	static const struct {
		const char *name;
		enum nof_tgt_ana state;
	} states[] = {
		{ "optimized", NOF_TGT_ANA_OPTIMIZED },
		{ "non_optimized", NOF_TGT_ANA_NON_OPTIMIZED },
		{ "inaccessible", NOF_TGT_ANA_INACCESSIBLE },
	};
	const char *name = card_arg_str(params, "ana_state", "");

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(states[i].name, name) != 0)
			continue;
		*out = states[i].state;
		return 0;
	}
	return card_fail(e, -EINVAL, "ana_state: optimized, non_optimized or inaccessible");
}

/* For what changes something that is there: a mistyped name makes no target. */
static struct nof_tgt *existing(struct card *c, struct card_error *e)
{
	if (!card_nvmf_get(c))
		(void)card_fail(e, -ENODEV, "no such subsystem: none was made yet");
	return card_nvmf_get(c);
}

static int at_address(struct card *c, const json_t *p, enum list_op op, struct card_error *e)
{
	bool referral = op == REFERRAL_ADD || op == REFERRAL_DEL;
	const char *nqn = card_arg_str(p, "nqn", "");
	enum nof_tgt_ana state = NOF_TGT_ANA_OPTIMIZED;
	struct nof_tgt *t = op == REFERRAL_ADD ? card_nvmf(c, e) : existing(c, e);
	struct address a;
	int ret = t ? read_addr(p, referral ? "referral" : "listener", &a, e) : -ENODEV;

	if (!ret && op == ANA_SET)
		ret = ana_of(p, &state, e);
	if (ret)
		return ret;
	switch (op) {
	case LISTENER_ADD:
		return told(nof_tgt_listener_add(t, nqn, &a.at), "listener", e);
	case LISTENER_DEL:
		return told(nof_tgt_listener_del(t, nqn, &a.at), "listener", e);
	case REFERRAL_ADD:
		return told(nof_tgt_referral_add(t, &a.at), "referral", e);
	case REFERRAL_DEL:
		return told(nof_tgt_referral_del(t, &a.at), "referral", e);
	case ANA_SET:
		ret = nof_tgt_ana_set(
			t, nqn, &a.at, (uint32_t)card_arg_uint(p, "anagrpid", 0), state);
		if (ret == -EINVAL)
			return card_fail(
				e, ret, "the subsystem has no ana_reporting, or no such group");
		return told(ret, "listener", e);
	}
	return -EINVAL;
}

static int with_address(struct card *c, enum card_method_id id, const json_t *params,
	enum list_op op, struct card_error *e)
{
	json_t *p = canon(c, id, params, e);
	int ret = p ? at_address(c, p, op, e) : -EINVAL;

	json_decref(p);
	return ret;
}

#define AT_ADDRESS(name, op)                                                                 \
	int card_call_##name(                                                                \
		struct card *c, const json_t *params, json_t **result, struct card_error *e) \
	{                                                                                    \
		(void)result;                                                                \
		return with_address(c, CARD_M_##name, params, op, e);                        \
	}

AT_ADDRESS(nvmf_subsystem_add_listener, LISTENER_ADD)
AT_ADDRESS(nvmf_subsystem_remove_listener, LISTENER_DEL)
AT_ADDRESS(nvmf_subsystem_listener_set_ana_state, ANA_SET)
AT_ADDRESS(nvmf_discovery_add_referral, REFERRAL_ADD)
AT_ADDRESS(nvmf_discovery_remove_referral, REFERRAL_DEL)

int card_call_nvmf_subsystem_add_host(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct nof_tgt *t = existing(c, e);

	(void)result;
	return t ? told(nof_tgt_host_add(t, card_arg_str(params, "nqn", ""),
				card_arg_str(params, "host", "")),
			   "host", e)
		 : -ENODEV;
}

int card_call_nvmf_subsystem_remove_host(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct nof_tgt *t = existing(c, e);

	(void)result;
	return t ? told(nof_tgt_host_del(t, card_arg_str(params, "nqn", ""),
				card_arg_str(params, "host", "")),
			   "host", e)
		 : -ENODEV;
}

int card_call_nvmf_subsystem_allow_any_host(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct nof_tgt *t = existing(c, e);

	(void)result;
	return t ? told(nof_tgt_allow_any_host(t, card_arg_str(params, "nqn", ""),
				card_arg_bool(params, "allow_any_host", false)),
			   "subsystem", e)
		 : -ENODEV;
}
