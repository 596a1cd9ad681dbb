// SPDX-License-Identifier: Apache-2.0
/* Destinations of tunnels: the table, and making them from paths of the underlay. */
#include "tnl_dest.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

#define IDLE_NS (10ull * 1000000000)
#define HEAD_WORDS (offsetof(struct odp_key_tnl, opts) / 8)
static_assert(offsetof(struct odp_key_tnl, opts) % 8 == 0, "options begin a word");

/* Behind the options everything is zero, and hashes and compares as if it were not there. */
static uint32_t hash_of(const struct odp *dp, uint32_t vport, const struct odp_key_tnl *key)
{
	uint64_t w[sizeof(*key) / 8];
	size_t n = HEAD_WORDS + (key->opts_len + 7u) / 8;
	struct odp_seed seed = { dp->seed.start ^ vport, dp->seed.mul };

	memcpy(w, key, n * 8);
	return odp_words_hash(&seed, w, (unsigned)n);
}

static bool is(
	const struct odp_tnl_dest *d, uint32_t hash, uint32_t vport, const struct odp_key_tnl *key)
{
	return d->hash == hash && d->vport == vport &&
	       memcmp(&d->key, key, offsetof(struct odp_key_tnl, opts) + key->opts_len) == 0;
}

struct odp_tnl_dest *odp_tnl_dest_find(
	const struct odp *dp, uint32_t vport, const struct odp_key_tnl *key)
{
	uint32_t hash = hash_of(dp, vport, key);
	struct odp_tnl_dest *d = atomic_load_explicit(
		&dp->tnls->dests->bucket[hash % ODP_TNL_DEST_BUCKETS], memory_order_acquire);

	while (d && !is(d, hash, vport, key))
		d = atomic_load_explicit(&d->next, memory_order_acquire);
	return d;
}

/* ---- making ---- */

static struct odp_ip ip_of(const struct odp_key_tnl *k, bool dst)
{
	struct odp_ip ip = { .family = k->family };

	if (k->family == 4)
		memcpy(ip.a, dst ? &k->ipv4.dst : &k->ipv4.src, 4);
	else
		memcpy(ip.a, dst ? k->ipv6.dst : k->ipv6.src, 16);
	return ip;
}

static bool is_zero(const struct odp_ip *ip)
{
	static const uint8_t none[16];

	return memcmp(ip->a, none, sizeof(none)) == 0;
}

/* The flow's, or the port's; else the underlay takes the interface's. */
static struct odp_ip src_of(const struct odp_vport *v, const struct odp_key_tnl *key)
{
	struct odp_ip src = ip_of(key, false);

	if (is_zero(&src))
		src = v->local.family == key->family ? v->local : (struct odp_ip){ 0 };
	return src;
}

static void compose(struct odp_tnl_dest *d, const struct odp_vport *v)
{
	const struct odp_ul_hop *hop = &d->path->hop;
	struct odp_tnl_key key;

	odp_tnl_from_flow(&d->key, &key);
	memcpy(key.src, hop->src.a, sizeof(key.src));
	key.tp_dst = v->end.udp_port == 0 ? 0 : key.tp_dst ? key.tp_dst : v->end.udp_port;
	if (v->end.udp_port == 0)
		key.tp_src = 0;
	if (odp_tnl_compose(v->end.type, &key, ODP_INNER_ETH, &hop->link, 0, &d->tmpl) < 0) {
		d->verdict = ODP_TNL_DROP;
		d->why = ODP_DROP_TNL_KEY;
		return;
	}
	d->verdict = ODP_TNL_SEND;
	d->out = hop->port;
	d->inner_mtu = odp_tnl_inner_mtu(&d->tmpl);
}

/* What the path comes to now. Its reference goes along. */
static struct odp_tnl_dest *make(struct odp *dp, const struct odp_port *vport,
	const struct odp_key_tnl *key, struct odp_ul_path *path)
{
	struct odp_tnl_dest *d = dpu_calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->hash = hash_of(dp, vport->no, key);
	d->vport = vport->no;
	d->key = *key;
	d->path = path;
	d->verdict = ODP_TNL_DROP;
	d->why = ODP_DROP_TNL_DST;
	if (!path)
		return d;
	d->gen = atomic_load_explicit(&path->gen, memory_order_relaxed);
	switch (path->hop.state) {
	case ODP_UL_READY:
		compose(d, vport->tnl);
		break;
	case ODP_UL_RESOLVING:
		d->verdict = ODP_TNL_WAIT;
		break;
	case ODP_UL_FAILED:
		d->why = ODP_DROP_TNL_NEIGH;
		break;
	case ODP_UL_NO_ROUTE:
		d->why = ODP_DROP_TNL_ROUTE;
		break;
	}
	return d;
}

/* ---- the table's writer ---- */

static void link_in(struct odp_tnl_dests *t, struct odp_tnl_dest *d)
{
	_Atomic(struct odp_tnl_dest *) *head = &t->bucket[d->hash % ODP_TNL_DEST_BUCKETS];

	atomic_store_explicit(
		&d->next, atomic_load_explicit(head, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(head, d, memory_order_release);
	atomic_store_explicit(&t->slot[d->slot], d, memory_order_release);
	t->n++;
}

/* A slot and a serial for one that takes nobody's place; there is room. */
static void settle(struct odp_tnl_dests *t, struct odp_tnl_dest *d)
{
	while (atomic_load_explicit(&t->slot[t->next], memory_order_relaxed))
		t->next = (t->next + 1) % ODP_TNL_DESTS_MAX;
	d->slot = t->next;
	d->serial = ++t->serial;
}

static void unlink_from(struct odp *dp, struct odp_tnl_dest *d)
{
	struct odp_tnl_dests *t = dp->tnls->dests;
	_Atomic(struct odp_tnl_dest *) *at = &t->bucket[d->hash % ODP_TNL_DEST_BUCKETS];

	while (atomic_load_explicit(at, memory_order_relaxed) != d)
		at = &atomic_load_explicit(at, memory_order_relaxed)->next;
	// Who is at it goes on from it: its own `next` stays.
	atomic_store_explicit(
		at, atomic_load_explicit(&d->next, memory_order_relaxed), memory_order_release);
	if (atomic_load_explicit(&t->slot[d->slot], memory_order_relaxed) == d)
		atomic_store_explicit(&t->slot[d->slot], NULL, memory_order_relaxed);
	t->n--;
	odp_defer(dp, d);
}

static void drop(struct odp *dp, struct odp_tnl_dest *d)
{
	struct odp_ul_path *path = d->path;

	unlink_from(dp, d);
	if (path)
		odp_ul_path_put(dp->tnls->ul, path);
}

int odp_tnl_dest_renew(struct odp *dp, const struct odp_port *vport, const struct odp_key_tnl *key,
	struct odp_tnl_dest **out)
{
	struct odp_tnl_dest *was = odp_tnl_dest_find(dp, vport->no, key), *d;

	if (!was)
		return -ENOENT;
	if (!odp_tnl_dest_current(was)) {
		d = make(dp, vport, key, was->path);
		if (!d)
			return -ENOMEM;
		d->slot = was->slot;
		d->serial = was->serial;
		d->used_ns = was->used_ns;
		atomic_store_explicit(&d->used, 1, memory_order_relaxed);
		link_in(dp->tnls->dests, d);
		unlink_from(dp, was);
		was = d;
	}
	*out = was;
	return 0;
}

int odp_tnl_dest_get(struct odp *dp, const struct odp_port *vport, const struct odp_key_tnl *key,
	struct odp_tnl_dest **out)
{
	const struct odp_ip dst = ip_of(key, true), src = src_of(vport->tnl, key);
	struct odp_ul_path *path = NULL;
	struct odp_tnl_dest *d;
	int ret = odp_tnl_dest_renew(dp, vport, key, out);

	if (ret != -ENOENT)
		return ret;
	if (dp->tnls->dests->n >= ODP_TNL_DESTS_MAX)
		return -ENOSPC;
	// An address that nobody can have: the destination is one that says so.
	ret = odp_ul_path_get(dp->tnls->ul, &dst, &src, &path);
	if (ret < 0 && ret != -EINVAL)
		return ret;
	d = make(dp, vport, key, path);
	if (!d) {
		if (path)
			odp_ul_path_put(dp->tnls->ul, path);
		return -ENOMEM;
	}
	atomic_store_explicit(&d->used, 1, memory_order_relaxed);
	settle(dp->tnls->dests, d);
	link_in(dp->tnls->dests, d);
	*out = d;
	return 0;
}

void odp_tnl_dests_drop(struct odp *dp, uint32_t vport)
{
	for (unsigned i = 0; i < ODP_TNL_DEST_BUCKETS; i++) {
		struct odp_tnl_dest *d = atomic_load_explicit(
					    &dp->tnls->dests->bucket[i], memory_order_relaxed),
				    *next;

		for (; d; d = next) {
			next = atomic_load_explicit(&d->next, memory_order_relaxed);
			if (d->vport == vport)
				drop(dp, d);
		}
	}
}

void odp_tnl_dests_age(struct odp *dp, uint64_t now_ns)
{
	for (unsigned i = 0; dp->tnls->dests->n > 0 && i < ODP_TNL_DEST_BUCKETS; i++) {
		struct odp_tnl_dest *d = atomic_load_explicit(
					    &dp->tnls->dests->bucket[i], memory_order_relaxed),
				    *next;

		for (; d; d = next) {
			next = atomic_load_explicit(&d->next, memory_order_relaxed);
			if (atomic_exchange_explicit(&d->used, 0, memory_order_relaxed))
				d->used_ns = now_ns;
			else if (now_ns - d->used_ns > IDLE_NS)
				drop(dp, d);
		}
	}
}
