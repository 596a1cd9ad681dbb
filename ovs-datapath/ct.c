// SPDX-License-Identifier: Apache-2.0
/* Packets meet connections: lookup in bursts, commit, expiry. */
#include "ct_priv.h"

#include <errno.h>
#include <netinet/in.h>

#define BURST 32u
#define TRIES 4u // against another worker that makes the same connection
#define SWEEP_MS 4000u // the table is gone through in this time
#define SWEEP_STEP 64u

struct look {
	uint64_t h;
	struct odp_conn *conn; // may be it
};

/* ---- output ---- */

static void fill_nat(const struct odp_conn *c, uint32_t flags, unsigned dir, struct odp_ct_nat *nat)
{
	const struct odp_ct_key *in = ct_conn_key(c, dir), *back = ct_conn_key(c, !dir);
	// Of a reply, the other address is translated back.
	bool src = flags & (dir == ODP_CT_ORIG ? CT_F_SNAT : CT_F_DNAT);
	bool dst = flags & (dir == ODP_CT_ORIG ? CT_F_DNAT : CT_F_SNAT);
	bool icmp = in->proto == IPPROTO_ICMP || in->proto == IPPROTO_ICMPV6;

	nat->what = (uint8_t)((src ? ODP_NAT_SRC : 0) | (dst ? ODP_NAT_DST : 0));
	memcpy(nat->src, back->dst, 16);
	memcpy(nat->dst, back->src, 16);
	nat->sport = icmp ? back->sport : back->dport;
	nat->dport = icmp ? in->dport : back->sport;
}

void odp_ct_fill(const struct odp_ct *ct, struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p)
{
	uint32_t flags = CT_GET(c->flags);

	p->dir = (uint8_t)dir;
	p->mark = CT_GET(c->mark);
	p->label[0] = p->label[1] = 0;
	if (flags & CT_F_LABEL) {
		p->label[0] = CT_GET(c->label[0]);
		p->label[1] = CT_GET(c->label[1]);
	}
	p->orig = &c->key0;
	p->helper = (uint8_t)((flags & CT_F_HELPER) >> CT_F_HELPER_SHIFT);
	if (flags & CT_F_RELATED) {
		const struct odp_conn *m = ct_linked(ct, c);

		if (m)
			p->orig = &m->key0;
	}
	p->nat.what = 0;
	if (flags & (CT_F_SNAT | CT_F_DNAT))
		fill_nat(c, flags, dir, &p->nat);
	p->ref.conn = c;
}

void odp_ct_fill_none(struct odp_ct_pkt *p, unsigned state)
{
	p->state = (uint8_t)(state | ODP_CS_TRK);
	p->dir = ODP_CT_ORIG;
	p->helper = 0;
	p->mark = 0;
	p->label[0] = p->label[1] = 0;
	p->orig = &p->key;
	p->ref = (struct odp_ct_ref){ NULL, 0 };
	p->nat.what = 0;
}

void odp_ct_clear(struct odp_ct_pkt *p)
{
	odp_ct_fill_none(p, 0);
	p->state = 0;
}

void odp_ct_set_state(const struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p)
{
	bool est = dir == ODP_CT_REPLY || CT_GET(c->st) & CT_ST_REPLIED;

	p->state = (uint8_t)(ODP_CS_TRK | (est ? ODP_CS_EST : ODP_CS_NEW) |
			     (dir == ODP_CT_REPLY ? ODP_CS_RPL : 0) |
			     (CT_GET(c->flags) & CT_F_RELATED ? ODP_CS_REL : 0) |
			     (p->nat.what & ODP_NAT_SRC ? ODP_CS_SNAT : 0) |
			     (p->nat.what & ODP_NAT_DST ? ODP_CS_DNAT : 0));
}

/* ---- packets that were translated before ---- */

static bool is_orig(const struct odp_ct_key *orig, const struct odp_ct_key *was)
{
	struct odp_ct_key k = *orig;

	if (k.proto == IPPROTO_ICMP || k.proto == IPPROTO_ICMPV6)
		k.sport = dpu_be16_put(0); // the identifier: metadata has none
	return ct_key_eq(&k, was);
}

bool odp_ct_fill_was(const struct odp_ct *ct, struct odp_ct_pkt *p, uint64_t now_ms)
{
	const struct odp_ct_was *was = p->was;
	unsigned dir = ODP_CT_ORIG;
	struct odp_conn *c = odp_ct_seek_was(ct, p, now_ms, &dir);

	p->was = NULL;
	if (!c || (dir == ODP_CT_REPLY) != !!(was->state & ODP_CS_RPL))
		return false;
	if (odp_ct_icmp_is_error(&p->key)) {
		odp_ct_fill_error(ct, c, dir, p);
	} else {
		p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
		odp_ct_fill(ct, c, dir, p);
		odp_ct_set_state(c, dir, p);
	}
	if (!(p->state & (ODP_CS_SNAT | ODP_CS_DNAT)) || !is_orig(p->orig, &was->orig))
		return false;
	p->nat.what = 0;
	p->was = was;
	return true;
}

/* ---- track ---- */

static void invalid(struct ct_worker *w, struct odp_ct_pkt *p)
{
	dpu_counter_add(&w->n.invalid, 1);
	odp_ct_fill_none(p, ODP_CS_INV);
}

void odp_ct_fill_error(
	const struct odp_ct *ct, struct odp_conn *c, unsigned dir, struct odp_ct_pkt *p)
{
	odp_ct_fill(ct, c, dir, p);
	p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
	p->state = (uint8_t)(ODP_CS_TRK | ODP_CS_REL | (dir == ODP_CT_REPLY ? ODP_CS_RPL : 0) |
			     (p->nat.what & ODP_NAT_SRC ? ODP_CS_SNAT : 0) |
			     (p->nat.what & ODP_NAT_DST ? ODP_CS_DNAT : 0));
}

static void track_error(
	struct odp_ct *ct, struct ct_worker *w, struct odp_ct_pkt *p, uint64_t now_ms)
{
	struct odp_ct_key inner, key;
	size_t off;
	unsigned dir;
	struct odp_conn *c = NULL;

	if (odp_ct_icmp_inner(p, &inner, &off)) {
		// The error goes against what it is about.
		odp_ct_key_reverse(&inner, &key);
		c = odp_ct_find(ct, w, &key, ct_hash(ct, &key), now_ms, &dir);
	}
	if (!c || CT_GET(c->flags) & (CT_F_EXPECT | CT_F_ANCHOR)) {
		invalid(w, p);
		return;
	}
	odp_ct_fill_error(ct, c, dir, p);
}

/* Where answers will be looked for: a commit comes once others of the burst were tracked. */
static void prefetch_reply(const struct odp_ct *ct, const struct odp_ct_key *key)
{
	struct odp_ct_key reply;
	uint64_t h;

	odp_ct_key_reverse(key, &reply);
	h = ct_hash(ct, &reply);
	__builtin_prefetch(&ct->buckets[ct_bucket1(ct, h)], 1);
	__builtin_prefetch(&ct->buckets[ct_bucket2(ct, h)], 1);
}

static void track_new(struct odp_ct *ct, struct ct_worker *w, struct odp_ct_pkt *p, uint64_t now_ms)
{
	if (odp_ct_proto_new(ct, p, NULL) == 0) {
		invalid(w, p);
		return;
	}
	prefetch_reply(ct, &p->key);
	odp_ct_fill_none(p, ODP_CS_NEW);
	if (CT_GET(ct->n_expects) && odp_ct_expected(ct, w, &p->key, now_ms))
		p->state |= ODP_CS_REL;
}

static void track_conn(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c, unsigned dir,
	struct odp_ct_pkt *p, uint64_t now_ms)
{
	uint32_t st = CT_GET(c->st);

	if (p->key.proto != IPPROTO_TCP || !odp_ct_tcp_fast(ct, c, st, p, dir, now_ms)) {
		switch (odp_ct_proto_update(ct, w, c, p, dir, now_ms)) {
		case CT_OK:
		case CT_IGNORED:
			break;
		case CT_INVALID:
			invalid(w, p);
			return;
		case CT_REOPENS:
			if (odp_ct_kill(ct, w, c))
				dpu_counter_add(&w->n.reopened, 1);
			track_new(ct, w, p, now_ms);
			return;
		}
	}
	ct_count(c, dir, p->bytes);
	// Before what it stands for is read: a change that comes between makes it old.
	p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
	odp_ct_fill(ct, c, dir, p);
	odp_ct_set_state(c, dir, p);
}

/* The first connection whose word looks right; most often it is the one. */
static struct odp_conn *guess(const struct odp_ct *ct, uint64_t h)
{
	for (struct ct_probe at = ct_probe(ct, h); at.left; at.left &= at.left - 1) {
		uint64_t v = CT_GET(*ct_probe_slot(&at));

		if (v >> 32 == h >> 32 && (uint32_t)v != 0)
			return &ct->conns[((uint32_t)v - 1) >> 1];
	}
	return NULL;
}

static void track_one(
	struct odp_ct *ct, struct ct_worker *w, struct odp_ct_pkt *p, uint64_t h, uint64_t now_ms)
{
	unsigned dir;

	if (p->flags) {
		invalid(w, p);
		return;
	}
	if (p->was && odp_ct_fill_was(ct, p, now_ms))
		return;
	if (odp_ct_icmp_is_error(&p->key)) {
		track_error(ct, w, p, now_ms);
		return;
	}
	struct odp_conn *c = odp_ct_find(ct, w, &p->key, h, now_ms, &dir);

	if (c)
		track_conn(ct, w, c, dir, p, now_ms);
	else
		track_new(ct, w, p, now_ms);
}

void odp_ct_track(
	struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *pkts, unsigned n, uint64_t now_ms)
{
	struct ct_worker *w = &ct->workers[worker];
	uint64_t h[BURST];

	for (unsigned at = 0; at < n; at += BURST) {
		unsigned m = n - at < BURST ? n - at : BURST;
		struct odp_ct_pkt *p = pkts + at;

		for (unsigned i = 0; i < m; i++) {
			h[i] = ct_hash(ct, &p[i].key);
			__builtin_prefetch(&ct->buckets[ct_bucket1(ct, h[i])]);
			__builtin_prefetch(&ct->buckets[ct_bucket2(ct, h[i])]);
		}
		for (unsigned i = 0; i < m && m > 1; i++) {
			const struct odp_conn *c = guess(ct, h[i]);

			if (!c)
				continue;
			__builtin_prefetch(&c->key0);
			__builtin_prefetch(&c->key1);
			__builtin_prefetch(c->packets);
		}
		for (unsigned i = 0; i < m; i++)
			track_one(ct, w, &p[i], h[i], now_ms);
	}
}

bool odp_ct_peek(struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *p, uint64_t now_ms)
{
	struct odp_conn *c;
	unsigned dir;

	if (p->flags || odp_ct_icmp_is_error(&p->key))
		return false;
	if (p->was && odp_ct_fill_was(ct, p, now_ms))
		return true;
	c = odp_ct_find(ct, &ct->workers[worker], &p->key, ct_hash(ct, &p->key), now_ms, &dir);
	if (!c)
		return false;
	// As in track_conn()
	p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
	odp_ct_fill(ct, c, dir, p);
	odp_ct_set_state(c, dir, p);
	return true;
}

bool odp_ct_ref_valid(struct odp_ct_ref ref)
{
	return ref.conn && atomic_load_explicit(&ref.conn->gen, memory_order_acquire) == ref.gen;
}

bool odp_ct_again(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p,
	struct odp_ct_ref ref, unsigned dir, uint64_t now_ms)
{
	struct odp_conn *c = ref.conn;

	(void)worker;
	if (p->flags || !odp_ct_ref_valid(ref) || ct_expired(c, now_ms))
		return false;
	uint32_t st = CT_GET(c->st);

	if (p->key.proto == IPPROTO_TCP) {
		if (!odp_ct_tcp_fast(ct, c, st, p, dir, now_ms))
			return false;
	} else if (!odp_ct_steady(st, p, dir)) {
		return false;
	} else {
		ct_refresh(ct, c, CT_ST(st), now_ms);
	}
	ct_count(c, dir, p->bytes);
	return true;
}

void odp_ct_prefetch(struct odp_ct_ref ref)
{
	__builtin_prefetch(&ref.conn->gen, 1);
	__builtin_prefetch(ref.conn->packets, 1);
}

void odp_ct_uncount(struct odp_ct_ref ref, unsigned dir, uint32_t bytes)
{
	CT_SET(ref.conn->packets[dir], CT_GET(ref.conn->packets[dir]) - 1);
	CT_SET(ref.conn->bytes[dir], CT_GET(ref.conn->bytes[dir]) - bytes);
}

/* ---- commit ---- */

static int refuse(struct odp_ct_pkt *p, int ret)
{
	odp_ct_fill_none(p, ODP_CS_INV);
	return ret;
}

static void relabel(struct odp_conn *c, const struct odp_ct_commit *k)
{
	bool changed = false;
	uint32_t mark = CT_GET(c->mark), m = (mark & ~k->mark_mask) | (k->mark & k->mark_mask);

	if (m != mark) {
		CT_SET(c->mark, m);
		changed = true;
	}
	for (unsigned i = 0; i < 2; i++) {
		uint64_t old = CT_GET(c->label[i]);
		uint64_t v = (old & ~k->label_mask[i]) | (k->label[i] & k->label_mask[i]);

		if (v == old)
			continue;
		CT_SET(c->label[i], v);
		atomic_fetch_or_explicit(&c->flags, CT_F_LABEL, memory_order_relaxed);
		changed = true;
	}
	if (changed)
		ct_touch(c);
}

/* What a new connection is before anybody sees it. */
static uint32_t prepare(struct odp_ct *ct, struct odp_conn *c, const struct odp_ct_pkt *p,
	const struct odp_ct_commit *k, struct odp_conn *expect, uint32_t st, uint64_t now_ms)
{
	unsigned policy = k->policy ? k->policy : CT_GET(ct->zones[p->key.zone].policy);
	uint32_t flags = policy << CT_F_POLICY_SHIFT;

	c->key0 = p->key;
	odp_ct_key_reverse(&p->key, &c->key1);
	CT_SET(c->st, st);
	CT_SET(c->expires, (uint32_t)now_ms + CT_GET(ct->timeout_ms[policy][CT_ST(st)]));
	CT_SET(c->mark, 0);
	CT_SET(c->label[0], 0);
	CT_SET(c->label[1], 0);
	if (expect) {
		CT_SET(c->mark, CT_GET(expect->mark));
		CT_SET(c->label[0], CT_GET(expect->label[0]));
		CT_SET(c->label[1], CT_GET(expect->label[1]));
		CT_SET(c->link, CT_GET(expect->link));
		CT_SET(c->link_life, CT_GET(expect->link_life));
		flags |= CT_F_RELATED | CT_F_LABEL;
	} else if (k->helper && !k->nat && odp_ct_helper_fits(k->helper, p->key.proto)) {
		flags |= (uint32_t)k->helper << CT_F_HELPER_SHIFT;
		odp_ct_helper_begin(ct, c);
	}
	CT_SET(c->mark, (CT_GET(c->mark) & ~k->mark_mask) | (k->mark & k->mark_mask));
	for (unsigned i = 0; i < 2; i++) {
		uint64_t v = (CT_GET(c->label[i]) & ~k->label_mask[i]) |
			     (k->label[i] & k->label_mask[i]);

		CT_SET(c->label[i], v);
		flags |= v ? CT_F_LABEL : 0;
		CT_SET(c->packets[i], i == ODP_CT_ORIG);
		CT_SET(c->bytes[i], i == ODP_CT_ORIG ? p->bytes : 0);
	}
	return flags;
}

static int put_both(struct odp_ct *ct, struct odp_conn *c)
{
	int ret = odp_ct_insert_new(ct, c, ODP_CT_ORIG);

	if (ret < 0)
		return ret;
	ret = odp_ct_insert_new(ct, c, ODP_CT_REPLY);
	if (ret == 0)
		return 0;
	odp_ct_withdraw(ct, c, ODP_CT_ORIG);
	return ret == -EAGAIN && odp_ct_lookup(ct, &c->key1) ? -EEXIST : ret;
}

/* One try at a new connection. -EAGAIN, -EEXIST: somebody has the tuple now. */
static int make(struct odp_ct *ct, struct ct_worker *w, struct odp_ct_pkt *p,
	const struct odp_ct_commit *k, uint64_t now_ms)
{
	int ret = odp_ct_admit(ct, w, p->key.zone);
	struct odp_conn *c = ret < 0 ? NULL : odp_ct_alloc(ct, w), *expect = NULL;

	if (ret < 0)
		return ret;
	if (!c) {
		dpu_counter_add(&w->n.full, 1);
		return -ENOSPC;
	}
	uint32_t st = odp_ct_proto_new(ct, p, c);

	if (CT_GET(ct->n_expects))
		expect = odp_ct_expected(ct, w, &p->key, now_ms);
	uint32_t flags = prepare(ct, c, p, k, expect, st, now_ms);

	if (st == 0)
		ret = -EINVAL;
	else if (k->nat && k->nat->flags & (ODP_NAT_SRC | ODP_NAT_DST))
		ret = odp_ct_nat_bind(ct, w, c, k->nat, &flags, now_ms);
	else
		ret = put_both(ct, c);
	if (ret < 0) {
		odp_ct_unalloc(ct, w, c);
		return ret;
	}
	if (expect && odp_ct_kill(ct, w, expect))
		dpu_counter_add(&w->n.expected, 1);
	atomic_fetch_add_explicit(&ct->zones[p->key.zone].count, 1, memory_order_relaxed);
	p->ref.gen = atomic_load_explicit(&c->gen, memory_order_relaxed);
	odp_ct_publish(w, c, flags);
	odp_ct_sample(ct, w, c);
	dpu_counter_add(&w->n.created, 1);
	odp_ct_fill(ct, c, ODP_CT_ORIG, p);
	odp_ct_set_state(c, ODP_CT_ORIG, p);
	return 0;
}

int odp_ct_commit(struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *p,
	const struct odp_ct_commit *k, uint64_t now_ms)
{
	struct ct_worker *w = &ct->workers[worker];
	struct odp_conn *c = p->ref.conn;
	int ret = 0;

	if (!(p->state & ODP_CS_TRK) || p->state & ODP_CS_INV)
		return refuse(p, -EINVAL);
	if (c && odp_ct_icmp_is_error(&p->key)) {
		return 0; // an error does not change what it speaks of
	}
	if (c && k->force && p->dir == ODP_CT_REPLY) {
		(void)odp_ct_kill(ct, w, c);
		c = NULL;
	}
	if (c && ct_life(c) == CT_LIVE) {
		relabel(c, k);
		p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
		odp_ct_fill(ct, c, p->dir, p);
		if (p->was)
			p->nat.what = 0;
		return 0;
	}
	p->was = NULL;
	for (unsigned i = 0; i < TRIES; i++) {
		ret = make(ct, w, p, k, now_ms);
		if (ret != -EAGAIN && ret != -EEXIST)
			return ret < 0 ? refuse(p, ret) : 0;
		dpu_counter_add(&w->n.races, 1);
		track_one(ct, w, p, ct_hash(ct, &p->key), now_ms);
		if (p->state & ODP_CS_INV)
			return refuse(p, -EINVAL);
		if (p->ref.conn) {
			relabel(p->ref.conn, k);
			odp_ct_fill(ct, p->ref.conn, p->dir, p);
			return 0;
		}
	}
	return refuse(p, ret);
}

/* ---- expiry ---- */

unsigned odp_ct_sweep(struct odp_ct *ct, unsigned worker, unsigned budget, uint64_t now_ms)
{
	struct ct_worker *w = &ct->workers[worker];
	uint32_t n = CT_GET(ct->n_fresh);
	unsigned removed = 0, looked = 0;

	if (n == 0)
		return 0;
	// As many places as time has passed: what was not used of the last round is forfeit.
	uint64_t passed = now_ms - w->sweep_from_ms;

	if (passed > SWEEP_MS)
		passed = SWEEP_MS;
	if (passed == 0)
		return 0;
	uint64_t due = (uint64_t)n * passed / SWEEP_MS + SWEEP_STEP;

	w->sweep_from_ms = now_ms;
	if (due > budget)
		due = budget;
	while (looked < due) {
		uint32_t from = atomic_fetch_add_explicit(
			&ct->sweep_at, SWEEP_STEP, memory_order_relaxed);

		for (unsigned i = 0; i < SWEEP_STEP; i++, looked++) {
			struct odp_conn *c = &ct->conns[(from + i) % n];

			if (ct_life(c) != CT_LIVE || !ct_due(c, now_ms))
				continue;
			removed += odp_ct_kill(ct, w, c);
		}
	}
	dpu_counter_add(&w->n.expired, removed);
	return removed;
}
