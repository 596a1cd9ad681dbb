// SPDX-License-Identifier: Apache-2.0
/* The inventory's names, its life cycle and its read-outs. */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_id.h"
#include "dpu_log.h"
#include "rpc_schema.h"

bool card_name_ok(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len;

	if (!name)
		return false;
	len = strnlen(name, CARD_NAME_MAX + 1);
	return len > 0 && len <= CARD_NAME_MAX && name[0] != '.' && name[0] != '-' &&
	       strspn(name, allowed) == len;
}

int card_name_free(struct card *c, const char *name, struct card_error *e)
{
	const struct card_function *f = card_function_find(c, name);

	if (f)
		return card_fail(e, -EEXIST, "%s: is the name of a %s", name,
			f->kind == VHO_DEV_NET ? "NIC" : "disk");
	if (card_uplink_find(c, name))
		return card_fail(e, -EEXIST, "%s: is the name of an uplink", name);
	if (card_tunnel_exists(c, name))
		return card_fail(e, -EEXIST, "%s: is the name of a tunnel", name);
	return 0;
}

uint64_t card_name_hash(const struct card *c, const char *name, uint64_t basis)
{
	const char *parts[] = { c->opt.name ? c->opt.name : "", "/", name };
	uint64_t h = basis;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		h = dpu_hash(h, parts[i], strlen(parts[i]));
	return h;
}

void card_mac_derive(const struct card *c, const char *name, uint8_t mac[6])
{
	uint64_t h = card_name_hash(c, name, DPU_HASH_BASIS);

	mac[0] = 0x02;
	for (unsigned i = 1; i < 6; i++)
		mac[i] = (uint8_t)(h >> (8 * i));
}

unsigned card_take_workers(struct card *c, unsigned n)
{
	unsigned first = c->inv->next_worker;

	c->inv->next_worker = (first + n) % card_workers_count(c->workers);
	return first;
}

struct card_worker *card_worker_of(struct card *c, unsigned first, unsigned n)
{
	return card_worker_at(c->workers, (first + n) % card_workers_count(c->workers));
}

int card_inventory_init(struct card *c)
{
	struct card_inventory *inv = dpu_calloc(1, sizeof(*inv));

	if (!inv)
		return -ENOMEM;
	TAILQ_INIT(&inv->volumes);
	TAILQ_INIT(&inv->walks);
	TAILQ_INIT(&inv->going);
	TAILQ_INIT(&inv->keys);
	TAILQ_INIT(&inv->ctrls);
	TAILQ_INIT(&inv->lvstores);
	TAILQ_INIT(&inv->discoveries);
	TAILQ_INIT(&inv->functions);
	TAILQ_INIT(&inv->uplinks);
	TAILQ_INIT(&inv->orphans);
	c->inv = inv;
	return 0;
}

/* All of them are told to stop, and then waited for. */
static unsigned volumes_at_work(struct card_inventory *inv)
{
	struct card_volume *v;
	unsigned n = 0, wait_ms = CARD_DRAIN_MS;

	TAILQ_FOREACH (v, &inv->volumes, link)
		(void)card_volume_idle(v, 0);
	TAILQ_FOREACH (v, &inv->volumes, link) {
		if (card_volume_idle(v, wait_ms))
			continue;
		wait_ms = 0;
		n++;
	}
	TAILQ_FOREACH (v, &inv->going, link)
		n += !card_volume_idle(v, wait_ms);
	return n;
}

void card_inventory_fini(struct card *c)
{
	struct card_inventory *inv = c->inv;
	struct card_error e;
	unsigned left;

	inv->stop_by_ns = dpu_now_ns() + CARD_DRAIN_MS * 1000000ull;
	card_discoveries_fini(c);
	card_tunnels_fini(c);
	while (!TAILQ_EMPTY(&inv->functions))
		card_function_delete(c, TAILQ_LAST(&inv->functions, card_functions)->name, &e);
	while (!TAILQ_EMPTY(&inv->uplinks))
		card_uplink_delete(c, TAILQ_LAST(&inv->uplinks, card_uplinks)->name, &e);
	if (inv->rekey_timer)
		c->vho_loop.timer_cancel(c->vho_loop.arg, inv->rekey_timer);
	inv->rekey_timer = NULL;
	if (inv->wear_timer)
		c->vho_loop.timer_cancel(c->vho_loop.arg, inv->wear_timer);
	inv->wear_timer = NULL;
	if (inv->going_timer)
		c->vho_loop.timer_cancel(c->vho_loop.arg, inv->going_timer);
	inv->going_timer = NULL;
	left = card_orphans_reap(c, CARD_DRAIN_MS) + volumes_at_work(inv);
	if (left || c->nvmf) { // volumes and memory stay: something may still write there
		dpu_warn("device: requests still unanswered", "channels=%u", left);
		return;
	}
	card_volumes_reap(c); // all of them: they stand on others
	while (!TAILQ_EMPTY(&inv->volumes))
		card_volume_delete(c, TAILQ_LAST(&inv->volumes, card_volumes)->name, &e);
	card_ctrls_fini(c);
	card_lvstores_fini(c);
	json_decref(inv->nvme_options);
	card_keys_fini(c);
	card_index_fini(&inv->volume_names);
	card_index_fini(&inv->volume_uuids);
	card_index_fini(&inv->volume_aliases);
	free(inv);
	c->inv = NULL;
}

void card_volume_view_init(const struct card_volume *v, struct card_volume_view *out)
{
	*out = (struct card_volume_view){ .conf = v->conf,
		.vol = v->vol,
		.uuid = v->uuid,
		.users = v->users,
		.block_dev = v->block_dev };
	vol_info(v->vol, &out->info);
	vol_stats(v->vol, &out->stats);
	vol_limits(v->vol, &out->limits);
	vol_work(v->vol, &out->work);
}

int card_volume_get(
	const struct card *c, const char *name, struct card_volume_view *out, struct card_error *e)
{
	const struct card_volume *v = card_volume_find(c, name);

	if (!v)
		return card_fail(e, -ENODEV, "%s: no such volume", name);
	card_volume_view_init(v, out);
	return 0;
}

void card_volume_foreach(
	const struct card *c, bool (*fn)(const struct card_volume_view *v, void *a), void *a)
{
	const struct card_volume *vol;
	struct card_volume_view v;

	TAILQ_FOREACH (vol, &c->inv->volumes, link) {
		card_volume_view_init(vol, &v);
		if (!fn(&v, a))
			return;
	}
}

void card_volume_walk_begin(struct card *c, struct card_volume_walk *w)
{
	w->next = TAILQ_FIRST(&c->inv->volumes);
	TAILQ_INSERT_TAIL(&c->inv->walks, w, link);
}

bool card_volume_walk(struct card_volume_walk *w,
	bool (*fn)(const struct card_volume_view *v, void *a), void *a, uint64_t until_ns)
{
	struct card_volume_view v;

	while (w->next) {
		card_volume_view_init(w->next, &v);
		w->next = TAILQ_NEXT(w->next, link);
		if (!fn(&v, a))
			w->next = NULL;
		if (dpu_now_ns() >= until_ns)
			break;
	}
	return w->next != NULL;
}

void card_volume_walk_end(struct card *c, struct card_volume_walk *w)
{
	TAILQ_REMOVE(&c->inv->walks, w, link);
}

void card_function_foreach(
	struct card *c, bool (*fn)(const struct card_function_view *v, void *a), void *a)
{
	struct card_function *f;

	TAILQ_FOREACH (f, &c->inv->functions, link) {
		struct card_function_view v = {
			.kind = f->kind,
			.name = f->name,
			.socket = f->socket,
			.vdev = f->dev,
			.net_conf = f->net_conf,
			.net = f->net,
			.net_port = &f->net_port,
			.port = f->port,
			.blk_conf = f->blk_conf,
			.blk = f->blk,
		};

		vho_dev_info(f->dev, &v.dev);
		vho_vu_stats(f->vu, &v.vu);
		if (!fn(&v, a))
			return;
	}
}

void card_uplink_foreach(
	struct card *c, bool (*fn)(const struct card_uplink_view *v, void *a), void *a)
{
	struct card_uplink *u;

	TAILQ_FOREACH (u, &c->inv->uplinks, link) {
		struct card_uplink_view v;

		card_uplink_view_init(u, &v);
		if (!fn(&v, a))
			return;
	}
}
