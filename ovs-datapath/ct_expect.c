// SPDX-License-Identifier: Apache-2.0
/*
 * Expectations: what a helper that reads a control connection says will come. They are entries of
 * the table under a key that no packet has, so that they expire, are flushed and counted as
 * connections are.
 */
#include "ct_priv.h"

#include <errno.h>

#define L3_EXPECT 0x40u // marks the key

void odp_ct_expect_key(const struct odp_ct_key *key, bool any_src, struct odp_ct_key *out)
{
	*out = *key;
	out->l3 |= L3_EXPECT;
	out->sport = dpu_be16_put(0);
	if (any_src)
		memset(out->src, 0, sizeof(out->src));
}

struct odp_conn *odp_ct_expected(
	struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_key *key, uint64_t now_ms)
{
	for (unsigned any = 0; any < 2; any++) {
		struct odp_ct_key k;
		unsigned dir;

		odp_ct_expect_key(key, any, &k);
		struct odp_conn *c = odp_ct_find(ct, w, &k, ct_hash(ct, &k), now_ms, &dir);

		if (c && ct_linked(ct, c))
			return c;
	}
	return NULL;
}

bool odp_ct_expect_count(struct odp_ct *ct, const struct odp_conn *c)
{
	struct odp_conn *m = ct_linked(ct, c);
	uint32_t f = m ? CT_GET(m->flags) : 0;

	if (atomic_fetch_add_explicit(&ct->n_expects, 1, memory_order_relaxed) >= ct->max_expects)
		goto err_count;
	do {
		if ((f >> CT_F_EXPECTS_SHIFT & 0xff) >= CT_MASTER_EXPECTS)
			goto err_count;
	} while (m && !atomic_compare_exchange_weak_explicit(&m->flags, &f,
			      f + (1u << CT_F_EXPECTS_SHIFT), memory_order_relaxed,
			      memory_order_relaxed));
	return true;

err_count:
	atomic_fetch_sub_explicit(&ct->n_expects, 1, memory_order_relaxed);
	return false;
}

void odp_ct_expect_uncount(struct odp_ct *ct, const struct odp_conn *c)
{
	struct odp_conn *m = ct_linked(ct, c);

	atomic_fetch_sub_explicit(&ct->n_expects, 1, memory_order_relaxed);
	if (m)
		atomic_fetch_sub_explicit(
			&m->flags, 1u << CT_F_EXPECTS_SHIFT, memory_order_relaxed);
}

/* One that is over, is this master's own, or has none any more makes way for another. */
static void make_way(struct odp_ct *ct, struct ct_worker *w, const struct odp_conn *m,
	const struct odp_ct_key *key, uint64_t now_ms)
{
	unsigned dir;
	struct odp_conn *c = odp_ct_find(ct, w, key, ct_hash(ct, key), now_ms, &dir);
	const struct odp_conn *of = c ? ct_linked(ct, c) : NULL;

	if (c && (!of || of == m))
		(void)odp_ct_kill(ct, w, c);
}

int odp_ct_expect(struct odp_ct *ct, unsigned worker, struct odp_ct_ref master,
	const struct odp_ct_expect *e, uint64_t now_ms)
{
	struct ct_worker *w = &ct->workers[worker];
	struct odp_conn *m = master.conn;
	struct odp_ct_key key;

	if (!m || ct_life(m) != CT_LIVE || ct_life_no(m) != master.gen >> 32)
		return -ENOENT;
	odp_ct_expect_key(&e->key, false, &key);
	make_way(ct, w, m, &key, now_ms);
	struct odp_conn *c = odp_ct_alloc(ct, w);
	int ret = -ENOSPC;

	if (!c)
		return ret;
	uint32_t flags = CT_F_EXPECT | CT_F_RELATED | (CT_GET(m->flags) & CT_F_LABEL) |
			 ct_policy(m) << CT_F_POLICY_SHIFT;
	uint32_t ms = e->timeout_ms ? e->timeout_ms
				    : CT_GET(ct->timeout_ms[ct_policy(m)][ODP_CT_EXPECTED]);

	c->key0 = c->key1 = key;
	CT_SET(c->st, ODP_CT_EXPECTED);
	CT_SET(c->expires,
		(uint32_t)now_ms + (ms < ODP_CT_TIMEOUT_MAX_MS ? ms : ODP_CT_TIMEOUT_MAX_MS));
	CT_SET(c->mark, CT_GET(m->mark));
	CT_SET(c->label[0], CT_GET(m->label[0]));
	CT_SET(c->label[1], CT_GET(m->label[1]));
	CT_SET(c->link, ct_idx(ct, m));
	CT_SET(c->link_life, (uint32_t)(master.gen >> 32));
	if (!odp_ct_expect_count(ct, c))
		goto err_conn;
	ret = odp_ct_insert(ct, c, ODP_CT_ORIG);
	if (ret < 0)
		goto err_counted;
	odp_ct_publish(w, c, flags);
	return 0;

err_counted:
	odp_ct_expect_uncount(ct, c);
err_conn:
	odp_ct_unalloc(ct, w, c);
	return ret == -EAGAIN ? -EEXIST : ret;
}
