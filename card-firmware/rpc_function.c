// SPDX-License-Identifier: Apache-2.0
/* Methods on functions: disks under SPDK's vhost names, NICs under ours. */
#include "rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc_schema.h"

#define CARD_CPUS 1024

/* ---- finding one ---- */

struct find {
	const char *name;
	enum vho_dev_kind kind;
	bool found;
};

static bool match(const struct card_function_view *v, void *arg)
{
	struct find *f = arg;

	if (strcmp(v->name, f->name) != 0)
		return true;
	f->kind = v->kind;
	f->found = true;
	return false;
}

static int check_name(const char *param, const char *name, struct card_error *e)
{
	if (card_name_ok(name))
		return 0;
	return card_fail(e, -EINVAL, "%s: " CARD_NAME_RULE, param);
}

/* ---- disks ---- */

#define VHOST_USER_BLK "vhost_user_blk" // SPDK's name of the transport

int card_call_vhost_create_blk_controller(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_blk_conf conf = {
		.name = card_arg_str(params, "ctrlr", ""),
		.volume = card_arg_str(params, "dev_name", ""),
		.read_only = card_arg_bool(params, "readonly", false),
		.packed_ring = card_arg_bool(params, "packed_ring", true),
		.n_queues = (uint16_t)card_arg_uint(params, "num_queues", 1),
		.seg_max = (uint16_t)card_arg_uint(params, "seg_max", 0),
		.size_max = (uint32_t)card_arg_uint(params, "size_max", 0),
		.secure_erase = card_arg_bool(params, "secure_erase", false),
		.client = card_arg_bool(params, "client", false),
		.host_notifier = card_arg_bool(params, "host_notifier", false),
	};
	const char *transport = card_arg_str(params, "transport", VHOST_USER_BLK);
	int ret = check_name("ctrlr", conf.name, e);

	(void)result;
	if (!ret && strcmp(transport, VHOST_USER_BLK) != 0)
		ret = card_fail(e, -EINVAL, "transport: %s is not " VHOST_USER_BLK, transport);
	return ret ? ret : card_blk_create(c, &conf, e);
}

int card_call_vhost_delete_controller(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct find f = { .name = card_arg_str(params, "ctrlr", "") };

	(void)result;
	card_function_foreach(c, match, &f);
	if (!f.found)
		return card_fail(e, -ENODEV, "%s: no such disk", f.name);
	if (f.kind != VHO_DEV_BLK)
		return card_fail(e, -EINVAL, "ctrlr: %s is a NIC", f.name);
	return card_function_delete(c, f.name, e);
}

struct list {
	struct card *card;
	const char *only; // borrowed; NULL: all
	enum vho_dev_kind kind;
	json_t *out; // borrowed
	bool failed;
};

/* What every function has, in an object to which its kind adds. */
static json_t *common(const struct card_function_view *v)
{
	return json_pack("{s:s, s:b, s:b, s:b, s:s, s:s, s:i, s:i}", "socket", v->socket,
		"connected", (int)v->dev.connected, "driver_ok", (int)v->dev.driver_ok,
		"needs_reset", (int)v->dev.needs_reset, "state",
		v->dev.needs_reset ? "broken"
		: v->dev.driver_ok ? "running"
		: v->dev.connected ? "connected"
				   : "waiting",
		"transport", "vhost-user", "queues", (int)v->dev.n_queues, "queues_running",
		(int)v->dev.n_running);
}

static json_t *with_features(json_t *o, const struct card_function_view *v)
{
	char offered[19], acked[19];

	snprintf(offered, sizeof(offered), "0x%016lx", (unsigned long)v->dev.features_offered);
	snprintf(acked, sizeof(acked), "0x%016lx", (unsigned long)v->dev.features_acked);
	json_object_set_new(o, "features_offered", json_string(offered));
	json_object_set_new(o, "features_acked", json_string(acked));
	return o;
}

/* The CPUs of the workers, any of which may serve a queue, as SPDK writes a mask. */
static json_t *cpumask(struct card *c)
{
	uint64_t words[CARD_CPUS / 64] = { 0 };
	char text[3 + CARD_CPUS / 4] = "0x";
	int last = 0;

	for (unsigned i = 0; i < card_workers_count(c->workers); i++) {
		unsigned cpu = card_worker_cpu(card_worker_at(c->workers, i));

		if (cpu >= CARD_CPUS)
			continue;
		words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
		if ((int)(cpu / 64) > last)
			last = (int)(cpu / 64);
	}
	snprintf(text + 2, sizeof(text) - 2, "%" PRIx64, words[last]);
	while (last-- > 0) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%016" PRIx64, words[last]);
	}
	return json_string(text);
}

/* SPDK lists the front-ends that are connected; here there is one at most. */
static json_t *sessions(const struct card_function_view *v)
{
	if (!v->dev.connected)
		return json_array();
	return json_pack("[{s:I, s:s, s:b, s:i}]", "id", (json_int_t)v->vu.sessions, "name",
		v->name, "started", (int)v->dev.driver_ok, "max_queues", (int)v->dev.n_queues);
}

static json_t *disk(struct card *c, const struct card_function_view *v)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:I, s:b, s:o, s:i, s:i, s:o, "
			      "s:{s:{s:s, s:b, s:s}}}",
		"ctrlr", v->name, "volume", v->blk_conf.volume, "readonly",
		(int)v->blk_conf.read_only, "packed_ring", (int)v->blk_conf.packed_ring, "size_max",
		(json_int_t)v->blk_conf.size_max, "secure_erase", (int)v->blk_conf.secure_erase,
		"cpumask", cpumask(c), "delay_base_us", 0, "iops_threshold", 0, "sessions",
		sessions(v), "backend_specific", "block", "bdev", v->blk_conf.volume, "readonly",
		(int)v->blk_conf.read_only, "transport", VHOST_USER_BLK);
	json_t *more = common(v);

	if (!o || !more || json_object_update(o, more)) {
		json_decref(o);
		o = NULL;
	}
	json_decref(more);
	return o ? with_features(o, v) : NULL;
}

static json_t *nic(const struct card_function_view *v)
{
	char mac[CARD_MAC_TEXT];
	json_t *o, *more = common(v);

	card_mac_format(v->net_conf.mac, mac);
	o = json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:s, s:b, s:b, s:I}", "name", v->name, "mac",
		mac, "queue_pairs", (int)v->net_conf.n_pairs, "mtu", (int)v->net_conf.mtu, "link",
		atomic_load_explicit(&v->net_port->link_down, memory_order_relaxed) ? "down" : "up",
		"speed_mbps", (json_int_t)v->net_conf.speed_mbps, "duplex",
		v->net_conf.half_duplex ? "half" : "full", "standby", (int)v->net_conf.standby,
		"gro", (int)v->net_conf.gro, "port",
		(json_int_t)(v->port ? odp_port_no(v->port) : 0));
	if (!o || !more || json_object_update(o, more)) {
		json_decref(o);
		o = NULL;
	}
	json_decref(more);
	return o ? with_features(o, v) : NULL;
}

static bool list_function(const struct card_function_view *v, void *arg)
{
	struct list *l = arg;
	json_t *item;

	if (v->kind != l->kind || (l->only && strcmp(l->only, v->name) != 0))
		return true;
	item = v->kind == VHO_DEV_BLK ? disk(l->card, v) : nic(v);
	l->failed = !item || json_array_append_new(l->out, item);
	return !l->failed;
}

static int list_kind(struct card *c, enum vho_dev_kind kind, const json_t *params, json_t **result,
	struct card_error *e)
{
	struct list l = {
		.card = c,
		.only = card_arg_str(params, "name", NULL),
		.kind = kind,
		.out = json_array(),
	};

	card_function_foreach(c, list_function, &l);
	if (l.failed || !l.out) {
		json_decref(l.out);
		return -ENOMEM;
	}
	if (l.only && !json_array_size(l.out)) {
		json_decref(l.out);
		return card_fail(
			e, -ENODEV, "%s: no such %s", l.only, kind == VHO_DEV_BLK ? "disk" : "NIC");
	}
	*result = l.out;
	return 0;
}

int card_call_vhost_get_controllers(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return list_kind(c, VHO_DEV_BLK, params, result, e);
}

/* ---- NICs ---- */

struct mac_user {
	const uint8_t *mac;
	const char *name; // the function that asks
	char other[64]; // the one that has it
};

static bool same_mac(const struct card_function_view *v, void *arg)
{
	struct mac_user *u = arg;

	if (v->kind != VHO_DEV_NET || !strcmp(v->name, u->name) ||
		memcmp(v->net_conf.mac, u->mac, 6) != 0)
		return true;
	snprintf(u->other, sizeof(u->other), "%s", v->name);
	return false;
}

static int net_mac(struct card *c, const json_t *params, const char *name, uint8_t mac[6],
	struct card_error *e)
{
	static const uint8_t zero[6];
	const char *text = card_arg_str(params, "mac", NULL);
	struct mac_user u = { .mac = mac, .name = name };

	if (!text)
		card_mac_derive(c, name, mac);
	else if (card_mac_parse(text, mac))
		return card_fail(e, -EINVAL, "mac: %s is not an Ethernet address", text);
	if ((mac[0] & 1) || !memcmp(mac, zero, sizeof(zero)))
		return card_fail(e, -EINVAL, "mac: must be a unicast address");
	card_function_foreach(c, same_mac, &u);
	if (u.other[0])
		return card_fail(e, -EEXIST, "mac: in use by %s", u.other);
	return 0;
}

int card_call_net_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_net_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.n_pairs = (uint16_t)card_arg_uint(params, "queue_pairs", 1),
		.mtu = (uint16_t)card_arg_uint(params, "mtu", 1500),
		.features_off = card_arg_uint(params, "features_off", 0),
		.speed_mbps = (uint32_t)card_arg_uint(params, "speed_mbps", 0),
		.standby = card_arg_bool(params, "standby", false),
		.client = card_arg_bool(params, "client", false),
		.host_notifier = card_arg_bool(params, "host_notifier", false),
		.gro = card_arg_bool(params, "gro", true),
	};
	const char *duplex = card_arg_str(params, "duplex", "full");
	int ret = check_name("name", conf.name, e);

	(void)result;
	conf.half_duplex = !strcmp(duplex, "half");
	if (!ret && !conf.half_duplex && strcmp(duplex, "full") != 0)
		ret = card_fail(e, -EINVAL, "duplex: %s is neither full nor half", duplex);
	if (!ret)
		ret = net_mac(c, params, conf.name, conf.mac, e);
	return ret ? ret : card_net_create(c, &conf, e);
}

int card_call_net_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct find f = { .name = card_arg_str(params, "name", "") };

	(void)result;
	card_function_foreach(c, match, &f);
	if (!f.found)
		return card_fail(e, -ENODEV, "%s: no such NIC", f.name);
	if (f.kind != VHO_DEV_NET)
		return card_fail(e, -EINVAL, "name: %s is a disk", f.name);
	return card_function_delete(c, f.name, e);
}

int card_call_net_set(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *link = card_arg_str(params, "link", "");
	bool up = !strcmp(link, "up");

	(void)result;
	if (!up && strcmp(link, "down") != 0)
		return card_fail(e, -EINVAL, "link: %s is neither up nor down", link);
	return card_net_link_set(
		c, card_arg_str(params, "name", ""), up ? CARD_LINK_UP : CARD_LINK_DOWN, e);
}

int card_call_net_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return list_kind(c, VHO_DEV_NET, params, result, e);
}
