// SPDX-License-Identifier: Apache-2.0
/*
 * What the table would say of a packet, asked without changing anything: nothing is counted, moved
 * or removed, and no time is refreshed. A packet that the protocol's machine has to judge is shown
 * to a copy of its connection.
 */
#include "ct_priv.h"

/* An expectation of this key, as odp_ct_expected() would find it. */
static bool is_expected(const struct odp_ct *ct, const struct odp_ct_key *key, uint64_t now_ms)
{
	for (unsigned any = 0; any < 2; any++) {
		struct odp_ct_key k;
		unsigned dir;

		odp_ct_expect_key(key, any, &k);
		const struct odp_conn *c = odp_ct_seek(ct, &k, now_ms, &dir);

		if (c && ct_linked(ct, c))
			return true;
	}
	return false;
}

static void would_be_new(
	const struct odp_ct *ct, struct odp_ct_pkt *p, unsigned how, uint64_t now_ms)
{
	if (!(how & ODP_CT_BY_KEY) && odp_ct_proto_new(ct, p, NULL) == 0) {
		odp_ct_fill_none(p, ODP_CS_INV);
		return;
	}
	odp_ct_fill_none(p, ODP_CS_NEW);
	if (!(how & ODP_CT_AS_NEW) && is_expected(ct, &p->key, now_ms))
		p->state |= ODP_CS_REL;
}

/* Another thread may write to it: each member as it is at some moment, as for a worker. */
static void copy_of(const struct odp_conn *c, struct odp_conn *out)
{
	memset(out, 0, sizeof(*out));
	out->key0 = c->key0;
	out->key1 = c->key1;
	CT_SET(out->flags, CT_GET(c->flags));
	CT_SET(out->st, CT_GET(c->st));
	CT_SET(out->expires, CT_GET(c->expires));
	for (unsigned i = 0; i < 2; i++) {
		CT_SET(out->tcp[i].end, CT_GET(c->tcp[i].end));
		CT_SET(out->tcp[i].max_end, CT_GET(c->tcp[i].max_end));
		CT_SET(out->tcp[i].max_win, CT_GET(c->tcp[i].max_win));
		CT_SET(out->tcp[i].ack, CT_GET(c->tcp[i].ack));
	}
	// SCTP's tags lie where TCP's numbers do.
}

/* Of an error it is what the error is about that counts. */
static void would_be_error(const struct odp_ct *ct, struct odp_ct_pkt *p, uint64_t now_ms)
{
	struct odp_ct_key inner, key;
	struct odp_conn *c = NULL;
	unsigned dir;
	size_t off;

	if (odp_ct_icmp_inner(p, &inner, &off)) {
		odp_ct_key_reverse(&inner, &key);
		c = odp_ct_seek(ct, &key, now_ms, &dir);
	}
	if (!c || CT_GET(c->flags) & (CT_F_EXPECT | CT_F_ANCHOR))
		odp_ct_fill_none(p, ODP_CS_INV);
	else
		odp_ct_fill_error(ct, c, dir, p);
}

void odp_ct_would(const struct odp_ct *ct, struct odp_ct_pkt *p, unsigned how, uint64_t now_ms)
{
	bool as_new = how & ODP_CT_AS_NEW;
	struct ct_worker scratch = { 0 }; // counts for nobody
	struct odp_conn copy, *c;
	unsigned dir;

	if (p->flags) {
		odp_ct_fill_none(p, ODP_CS_INV);
		return;
	}
	if (as_new)
		p->was = NULL;
	if (p->was && odp_ct_fill_was(ct, p, now_ms))
		return;
	if (odp_ct_icmp_is_error(&p->key) && !as_new) {
		would_be_error(ct, p, now_ms);
		return;
	}
	c = as_new ? NULL : odp_ct_seek(ct, &p->key, now_ms, &dir);
	if (!c) {
		would_be_new(ct, p, how, now_ms);
		return;
	}
	copy_of(c, &copy);
	if (!(how & ODP_CT_BY_KEY))
		switch (odp_ct_proto_update(ct, &scratch, &copy, p, dir, now_ms)) {
		case CT_OK:
		case CT_IGNORED:
			break;
		case CT_INVALID:
			odp_ct_fill_none(p, ODP_CS_INV);
			return;
		case CT_REOPENS:
			would_be_new(ct, p, how, now_ms);
			return;
		}
	p->ref.gen = atomic_load_explicit(&c->gen, memory_order_acquire);
	odp_ct_fill(ct, c, dir, p);
	odp_ct_set_state(&copy, dir, p);
}

bool odp_ct_ref_info(
	const struct odp_ct *ct, struct odp_ct_ref ref, uint64_t now_ms, struct odp_ct_info *out)
{
	if (!ref.conn || ct_life(ref.conn) != CT_LIVE)
		return false;
	odp_ct_info_read(ct, ref.conn, now_ms, out);
	return out->state != ODP_CT_NONE;
}
