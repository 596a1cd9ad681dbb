// SPDX-License-Identifier: Apache-2.0
/*
 * Learning switch.
 *
 * Two tables, both of the control thread alone: addresses, by (VLAN, MAC), and a record of every
 * flow that was installed, found by its key, and by its destination and its source address, which
 * many flows may share. When an address is learned, moves or goes away, exactly the flows that name
 * it are decided on again. Time of last use comes from the flows' counters, once per tick.
 *
 * Limits: addresses in all and per port, flows in all and per input port. Beyond a limit packets
 * are still forwarded, flooded or one by one, but nothing more is remembered.
 *
 * Spec: IEEE 802.1Q, sections 8.6 to 8.8.
 */
#include "bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "meter.h"
#include "vport.h"

#define BUCKETS 16384u
#define FLOWS_MAX 65536u
#define FLOWS_MAX_PER_PORT 8192u
#define FLOW_IDLE_NS (10 * 1000000000ull)

#define TO_FLOOD UINT32_MAX
#define TO_NOBODY (UINT32_MAX - 1)
#define OUTSIDE (UINT32_MAX - 2) // what comes from a port that is no part of the switch

struct mac {
	LIST_ENTRY(mac) chain;
	struct odp_addr addr;
	uint32_t port;
	bool is_static;
	uint64_t used_ns;
};

struct rec {
	LIST_ENTRY(rec) by_key, by_dst, by_src, all;
	struct odp_addr src, dst;
	struct odp_key key;
	uint64_t id, created_ns;
	uint32_t to; // port, TO_FLOOD, TO_NOBODY, OUTSIDE
	uint32_t ports_epoch; // of the flood list
};

LIST_HEAD(mac_list, mac);
LIST_HEAD(rec_list, rec);

struct odp_bridge {
	struct odp *dp; // borrowed
	struct mac_list macs[BUCKETS];
	struct rec_list by_key[BUCKETS], by_dst[BUCKETS], by_src[BUCKETS], all;
	unsigned n_macs, n_recs;
	unsigned macs_of[ODP_PORT_MAX], recs_of[ODP_PORT_MAX];
	uint32_t ports_epoch;
	struct odp_actbuf acts; // list being built
};

int odp_bridge_create(struct odp *dp, struct odp_bridge **out)
{
	struct odp_bridge *b = dpu_calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->dp = dp;
	if (dp->conf.mac_age_s == 0)
		dp->conf.mac_age_s = 300;
	if (dp->conf.mac_max == 0)
		dp->conf.mac_max = 16384;
	if (dp->conf.mac_max_per_port == 0)
		dp->conf.mac_max_per_port = 1024;
	*out = b;
	return 0;
}

/* ---- addresses ---- */

static uint32_t bucket(const struct odp_bridge *b, const struct odp_addr *a)
{
	return odp_addr_hash(&b->dp->seed, a) % BUCKETS;
}

static bool addr_eq(const struct odp_addr *a, const struct odp_addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static struct odp_addr addr_of(const uint8_t mac[6], uint16_t vlan)
{
	struct odp_addr a = { .vlan = vlan };

	memcpy(a.mac, mac, sizeof(a.mac));
	return a;
}

static uint16_t vlan_of(const struct odp_key *key)
{
	return dpu_be16_get(key->vlan_tci) & 0x0fff;
}

static struct mac *mac_find(struct odp_bridge *b, const struct odp_addr *a)
{
	struct mac *m;

	LIST_FOREACH (m, &b->macs[bucket(b, a)], chain)
		if (addr_eq(&m->addr, a))
			return m;
	return NULL;
}

static struct mac *mac_add(struct odp_bridge *b, const struct odp_addr *a, uint32_t port)
{
	struct mac *m = dpu_calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->addr = *a;
	m->port = port;
	LIST_INSERT_HEAD(&b->macs[bucket(b, a)], m, chain);
	b->n_macs++;
	b->macs_of[port]++;
	return m;
}

static void mac_remove(struct odp_bridge *b, struct mac *m)
{
	b->macs_of[m->port]--;
	b->n_macs--;
	LIST_REMOVE(m, chain);
	free(m);
}

/* ---- members ---- */

/* Tunnels are no part of the switch: it knows of no destination behind them. */
static bool belongs(const struct odp_bridge *b, const struct odp_port *p)
{
	if (p->tnl || p->conf.switched == ODP_SWITCHED_NO)
		return false;
	return p->conf.switched == ODP_SWITCHED_YES || !odp_ul_on_port(b->dp->tnls->ul, p->no);
}

static bool is_member(const struct odp_bridge *b, uint32_t port)
{
	const struct odp_port *p = odp_port_by_no(b->dp, port);

	return p && odp_port_is_switched(p);
}

/* ---- decisions ---- */

static bool is_multicast(const uint8_t mac[6])
{
	return mac[0] & 1;
}

/* 01:80:c2:00:00:00 to :0f are between neighbours and never forwarded. */
static bool is_link_local(const uint8_t mac[6])
{
	static const uint8_t prefix[5] = { 0x01, 0x80, 0xc2, 0, 0 };

	return !memcmp(mac, prefix, sizeof(prefix)) && mac[5] < 16;
}

static uint32_t decide(struct odp_bridge *b, const struct odp_key *key)
{
	if (!is_member(b, key->in_port))
		return OUTSIDE;
	if (is_link_local(key->eth_dst))
		return TO_NOBODY;
	if (is_multicast(key->eth_dst))
		return TO_FLOOD;
	struct odp_addr dst = addr_of(key->eth_dst, vlan_of(key));
	const struct mac *m = mac_find(b, &dst);

	if (!m)
		return TO_FLOOD;
	return m->port == key->in_port || !is_member(b, m->port) ? TO_NOBODY : m->port;
}

/* To all members but one, as far as its storm control lets it. */
static void flood(struct odp_bridge *b, uint32_t in_port)
{
	const struct odp_port *in = odp_port_by_no(b->dp, in_port);
	unsigned n = 0;

	for (uint32_t no = 0; no < b->dp->port_top; no++)
		n += no != in_port && is_member(b, no);
	if (in && in->storm.per_s && (n > 1 || in->storm_asked))
		odp_actbuf_u32(&b->acts, ODP_ACT_METER, ODP_METER_STORM(in_port));
	for (uint32_t no = 0; no < b->dp->port_top; no++)
		if (no != in_port && is_member(b, no))
			odp_actbuf_output(&b->acts, no);
}

/* The action list of a decision, in b->acts. 0, -ENOMEM, -E2BIG. */
static int actions(struct odp_bridge *b, uint32_t in_port, uint32_t to)
{
	odp_actbuf_reset(&b->acts);
	if (to == OUTSIDE)
		odp_actbuf_u32(&b->acts, ODP_ACT_DROP, ODP_DROP_UNSWITCHED);
	else if (to != TO_FLOOD && to != TO_NOBODY)
		odp_actbuf_output(&b->acts, to);
	else if (to == TO_FLOOD)
		flood(b, in_port);
	return b->acts.err;
}

/*
 * Where the underlay has an interface, the messages of its neighbours must not meet a flow of ours,
 * or it would hear none but the first.
 */
static bool of_neighbours(const struct odp_bridge *b, const struct odp_key *key)
{
	return odp_ul_is_neighbours(key) && odp_ul_on_port(b->dp->tnls->ul, key->in_port);
}

/*
 * What every flow of ours matches; and there, so much that it is no such message. Who sent it makes
 * no difference where nobody learns.
 */
static struct odp_key mask_of_ours(const struct odp_bridge *b, const struct odp_key *key)
{
	struct odp_key m;

	memset(&m, 0, sizeof(m));
	m.in_port = UINT32_MAX;
	m.recirc_id = UINT32_MAX; // what recirculates has been decided on
	memset(m.eth_dst, 0xff, sizeof(m.eth_dst));
	if (is_member(b, key->in_port))
		memset(m.eth_src, 0xff, sizeof(m.eth_src));
	memset(&m.vlan_tci, 0xff, sizeof(m.vlan_tci));
	if (odp_ul_on_port(b->dp->tnls->ul, key->in_port)) {
		m.eth_type = dpu_be16_put(0xffff);
		if (dpu_be16_get(key->eth_type) == 0x86dd)
			m.ip_proto = 0xff;
	}
	return m;
}

static struct odp_key key_of_ours(const struct odp_bridge *b, const struct odp_key *key)
{
	struct odp_key m = mask_of_ours(b, key);
	struct odp_key k;

	memset(&k, 0, sizeof(k));
	k.in_port = key->in_port;
	memcpy(k.eth_dst, key->eth_dst, sizeof(k.eth_dst));
	if (m.eth_src[0])
		memcpy(k.eth_src, key->eth_src, sizeof(k.eth_src));
	k.vlan_tci = key->vlan_tci;
	if (dpu_be16_get(m.eth_type))
		k.eth_type = key->eth_type;
	k.ip_proto = key->ip_proto & m.ip_proto;
	return k;
}

/* ---- flow records ---- */

static void rec_unlink(struct odp_bridge *b, struct rec *r)
{
	LIST_REMOVE(r, by_key);
	LIST_REMOVE(r, by_dst);
	LIST_REMOVE(r, by_src);
	LIST_REMOVE(r, all);
	b->recs_of[r->key.in_port]--;
	b->n_recs--;
	free(r);
}

static void rec_delete(struct odp_bridge *b, struct rec *r)
{
	(void)odp_flow_del_id(b->dp, r->id); // an operator may have flushed it
	rec_unlink(b, r);
}

static struct rec_list *recs_like(struct odp_bridge *b, const struct odp_key *ours)
{
	struct odp_kw k = odp_kw(ours);

	return &b->by_key[odp_kw_hash(&b->dp->seed, &k, ODP_KEY_L2_WORDS) % BUCKETS];
}

static struct rec *rec_find(struct odp_bridge *b, const struct odp_key *ours)
{
	struct rec *r;

	LIST_FOREACH (r, recs_like(b, ours), by_key)
		if (!memcmp(&r->key, ours, sizeof(*ours)))
			return r;
	return NULL;
}

static int rec_install(struct odp_bridge *b, struct rec *r)
{
	struct odp_key mask = mask_of_ours(b, &r->key);
	uint32_t to = decide(b, &r->key);
	int ret = actions(b, r->key.in_port, to);

	if (!ret)
		ret = odp_flow_put(b->dp, &r->key, &mask, odp_actbuf_list(&b->acts), b->acts.len,
			true, "bridge", &r->id);

	r->to = to;
	r->ports_epoch = b->ports_epoch;
	return ret;
}

/* The tables changed: bring the flow in line, or delete it so that its next packet asks again. */
static void rec_revalidate(struct odp_bridge *b, struct rec *r)
{
	uint32_t to = decide(b, &r->key);

	if (to == r->to && (to != TO_FLOOD || r->ports_epoch == b->ports_epoch))
		return;
	if (!odp_flow_sample(b->dp, r->id, dpu_now_ns()))
		rec_unlink(b, r); // flushed by an operator
	else if (rec_install(b, r) < 0)
		rec_delete(b, r);
}

static struct rec *rec_create(struct odp_bridge *b, const struct odp_key *ours, uint64_t now_ns)
{
	if (b->n_recs >= FLOWS_MAX || b->recs_of[ours->in_port] >= FLOWS_MAX_PER_PORT)
		return NULL;
	struct rec *r = dpu_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->key = *ours;
	r->src = addr_of(ours->eth_src, vlan_of(ours));
	r->dst = addr_of(ours->eth_dst, vlan_of(ours));
	r->created_ns = now_ns;
	LIST_INSERT_HEAD(recs_like(b, ours), r, by_key);
	LIST_INSERT_HEAD(&b->by_dst[bucket(b, &r->dst)], r, by_dst);
	LIST_INSERT_HEAD(&b->by_src[bucket(b, &r->src)], r, by_src);
	LIST_INSERT_HEAD(&b->all, r, all);
	b->recs_of[ours->in_port]++;
	b->n_recs++;
	return r;
}

/* An address is new, moved or gone: decide again on the flows towards it. Returns their number. */
static unsigned address_changed(struct odp_bridge *b, const struct odp_addr *a)
{
	struct rec *r, *next;
	unsigned n = 0;

	for (r = LIST_FIRST(&b->by_dst[bucket(b, a)]); r; r = next) {
		next = LIST_NEXT(r, by_dst);
		if (!addr_eq(&r->dst, a))
			continue;
		rec_revalidate(b, r);
		n++;
	}
	return n;
}

/* Flows of an address from ports where it no longer is: their next packet must be learned from. */
static unsigned address_left(struct odp_bridge *b, const struct odp_addr *a, uint32_t now_at)
{
	struct rec *r, *next;
	unsigned n = 0;

	for (r = LIST_FIRST(&b->by_src[bucket(b, a)]); r; r = next) {
		next = LIST_NEXT(r, by_src);
		if (!addr_eq(&r->src, a) || r->key.in_port == now_at)
			continue;
		rec_delete(b, r);
		n++;
	}
	return n;
}

/* ---- packets ---- */

unsigned odp_bridge_learn(struct odp *dp, const struct odp_key *key, uint64_t now_ns)
{
	struct odp_bridge *b = dp->bridge;
	struct odp_addr a = addr_of(key->eth_src, vlan_of(key));
	struct mac *m = mac_find(b, &a);
	unsigned n = 0;

	if (is_multicast(key->eth_src) || (m && m->is_static) || !is_member(b, key->in_port))
		return 0;
	if (m && m->port == key->in_port) {
		m->used_ns = now_ns;
		return 0;
	}
	if (b->macs_of[key->in_port] >= dp->conf.mac_max_per_port)
		return 0;
	if (m) {
		b->macs_of[m->port]--;
		b->macs_of[key->in_port]++;
		m->port = key->in_port;
		n = address_left(b, &a, key->in_port);
	} else {
		m = b->n_macs < dp->conf.mac_max ? mac_add(b, &a, key->in_port) : NULL;
		if (!m)
			return 0;
	}
	m->used_ns = now_ns;
	return n + address_changed(b, &a);
}

int odp_bridge_would(
	struct odp *dp, const struct odp_key *key, const struct odp_act **list, size_t *len)
{
	struct odp_bridge *b = dp->bridge;
	int ret = actions(b, key->in_port, decide(b, key));

	*list = odp_actbuf_list(&b->acts);
	*len = b->acts.len;
	return ret;
}

unsigned odp_bridge_decide(struct odp *dp, const struct odp_key *key, uint64_t now_ns)
{
	struct odp_bridge *b = dp->bridge;

	unsigned n = odp_bridge_learn(dp, key, now_ns);
	struct odp_key ours = key_of_ours(b, key);
	struct rec *r;

	if (of_neighbours(b, key))
		return n;
	r = rec_find(b, &ours);

	if (!r)
		r = rec_create(b, &ours, now_ns);
	if (r && rec_install(b, r) < 0)
		rec_delete(b, r);
	return n;
}

void odp_bridge_forward(struct odp *dp, const struct odp_key *key, struct odp_pw *in,
	struct rte_mbuf *m, const struct odp_sums *sums)
{
	struct odp_bridge *b = dp->bridge;
	struct odp_key mask = mask_of_ours(b, key);
	struct odp_acts *acts;

	if (!is_member(b, key->in_port)) {
		odp_drop_one(in, ODP_DROP_UNSWITCHED, m);
		return;
	}
	if (actions(b, key->in_port, decide(b, key)) < 0 ||
		odp_acts_create(dp, key, &mask, odp_actbuf_list(&b->acts), b->acts.len, &acts) <
			0) {
		odp_drop_one(in, ODP_DROP_NO_MBUF, m);
		return;
	}
	odp_acts_run(dp->control, acts, &(struct odp_from){ .in = in }, &m, sums);
	free(acts);
}

/* ---- events ---- */

static void revalidate_all(struct odp_bridge *b)
{
	struct rec *r, *next;

	for (r = LIST_FIRST(&b->all); r; r = next) {
		next = LIST_NEXT(r, all);
		rec_revalidate(b, r);
	}
}

void odp_bridge_port_added(struct odp *dp, uint32_t port)
{
	struct odp_port *p = odp_port_by_no(dp, port);

	atomic_store_explicit(&p->switched, belongs(dp->bridge, p), memory_order_relaxed);
	dp->bridge->ports_epoch++; // every flood list grows, whoever it is
	revalidate_all(dp->bridge);
}

enum flush { FLUSH_LEARNED, FLUSH_ALL };

static unsigned macs_flush(struct odp_bridge *b, uint32_t port, enum flush what)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		struct mac *m, *next;

		for (m = LIST_FIRST(&b->macs[i]); m; m = next) {
			next = LIST_NEXT(m, chain);
			if ((port != ODP_PORT_NONE && m->port != port) ||
				(m->is_static && what != FLUSH_ALL))
				continue;
			mac_remove(b, m);
			n++;
		}
	}
	return n;
}

static void recs_delete_from(struct odp_bridge *b, uint32_t in_port)
{
	struct rec *r, *next;

	for (r = LIST_FIRST(&b->all); r; r = next) {
		next = LIST_NEXT(r, all);
		if (in_port == ODP_PORT_NONE || r->key.in_port == in_port)
			rec_delete(b, r);
	}
}

void odp_bridge_floods_changed(struct odp *dp)
{
	dp->bridge->ports_epoch++;
	revalidate_all(dp->bridge);
}

void odp_bridge_port_changed(struct odp *dp, uint32_t port)
{
	struct odp_bridge *b = dp->bridge;
	struct odp_port *p = odp_port_by_no(dp, port);
	bool was = p && odp_port_is_switched(p);

	recs_delete_from(b, port);
	if (!p)
		return;
	atomic_store_explicit(&p->switched, belongs(b, p), memory_order_relaxed);
	if (odp_port_is_switched(p) == was)
		return;
	macs_flush(b, port, FLUSH_LEARNED);
	b->ports_epoch++;
	revalidate_all(b);
}

void odp_bridge_port_deleted(struct odp *dp, uint32_t port)
{
	struct odp_bridge *b = dp->bridge;

	recs_delete_from(b, port);
	macs_flush(b, port, FLUSH_ALL);
	b->ports_epoch++;
	revalidate_all(b);
}

void odp_bridge_destroy(struct odp_bridge *b)
{
	if (!b)
		return;
	while (!LIST_EMPTY(&b->all))
		rec_unlink(b, LIST_FIRST(&b->all));
	macs_flush(b, ODP_PORT_NONE, FLUSH_ALL);
	odp_actbuf_fini(&b->acts);
	free(b);
}

void odp_bridge_tick(struct odp *dp, uint64_t now_ns)
{
	struct odp_bridge *b = dp->bridge;
	uint64_t age_ns = dp->conf.mac_age_s * 1000000000ull;
	struct rec *r, *next;

	for (r = LIST_FIRST(&b->all); r; r = next) {
		next = LIST_NEXT(r, all);
		const struct odp_flow *f = odp_flow_sample(dp, r->id, now_ns);

		if (!f) {
			rec_unlink(b, r);
			continue;
		}
		struct mac *m = mac_find(b, &r->src);

		if (m && m->port == r->key.in_port && f->used_ns > m->used_ns)
			m->used_ns = f->used_ns;
		if (now_ns - RTE_MAX(f->used_ns, r->created_ns) > FLOW_IDLE_NS)
			rec_delete(b, r);
	}
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct mac *m, *after;

		for (m = LIST_FIRST(&b->macs[i]); m; m = after) {
			struct odp_addr a = m->addr;

			after = LIST_NEXT(m, chain);
			if (m->is_static || now_ns - m->used_ns <= age_ns)
				continue;
			mac_remove(b, m);
			(void)address_changed(b, &a);
		}
	}
}

/* ---- operators ---- */

unsigned odp_bridge_n_macs(const struct odp *dp)
{
	return dp->bridge->n_macs;
}

void odp_mac_foreach(struct odp *dp, void (*fn)(const struct odp_mac_info *m, void *arg), void *arg)
{
	uint64_t now_ns = dpu_now_ns();
	const struct mac *m;

	for (unsigned i = 0; i < BUCKETS; i++)
		LIST_FOREACH (m, &dp->bridge->macs[i], chain) {
			struct odp_mac_info info = { .vlan = m->addr.vlan,
				.port = m->port,
				.is_static = m->is_static,
				.age_s = m->is_static ? 0
						      : (unsigned)((now_ns - m->used_ns) /
								   1000000000u) };

			memcpy(info.mac, m->addr.mac, sizeof(info.mac));
			fn(&info, arg);
		}
}

int odp_mac_set(struct odp *dp, const uint8_t mac[6], uint16_t vlan, uint32_t port)
{
	struct odp_bridge *b = dp->bridge;
	struct odp_addr a = addr_of(mac, vlan);
	struct mac *m = mac_find(b, &a);

	if (is_multicast(mac) || vlan > 4095)
		return -EINVAL;
	if (!odp_port_by_no(dp, port))
		return -ENODEV;
	if (!m) {
		if (b->n_macs >= dp->conf.mac_max)
			return -ENOSPC;
		m = mac_add(b, &a, port);
		if (!m)
			return -ENOMEM;
	}
	b->macs_of[m->port]--;
	b->macs_of[port]++;
	m->port = port;
	m->is_static = true;
	(void)address_changed(b, &a);
	return 0;
}

int odp_mac_del(struct odp *dp, const uint8_t mac[6], uint16_t vlan)
{
	struct odp_addr a = addr_of(mac, vlan);
	struct mac *m = mac_find(dp->bridge, &a);

	if (!m)
		return -ENOENT;
	mac_remove(dp->bridge, m);
	(void)address_left(dp->bridge, &a, ODP_PORT_NONE);
	(void)address_changed(dp->bridge, &a);
	return 0;
}

unsigned odp_mac_flush(struct odp *dp, uint32_t port)
{
	struct odp_bridge *b = dp->bridge;
	unsigned n = macs_flush(b, port, FLUSH_LEARNED);

	// Senders whose flows stayed would never be learned again.
	recs_delete_from(b, port);
	revalidate_all(b);
	return n;
}
