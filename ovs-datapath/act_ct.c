// SPDX-License-Identifier: Apache-2.0
/* The actions ct and ct_clear: between packets and the connection table. */
#include "act_ct.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "act_edit.h"
#include "extract.h"
#include "track.h"

/* ---- what the action says ---- */

/* Timeout policies have numbers; a name is one in digits, as OVS's own datapath has it. */
static int policy_of(const struct odp_act_ct *a)
{
	char *end;
	unsigned long v = strtoul(a->timeout, &end, 10);

	if (a->timeout[0] == '\0')
		return 0;
	return a->timeout[0] < '0' || a->timeout[0] > '9' || *end || v >= ODP_CT_POLICIES ? -EINVAL
											  : (int)v;
}

int odp_act_ct_check(const struct odp_act_ct *a, uint16_t eth_type)
{
	uint16_t family = eth_type == 0x0800 ? 4 : 6, f = a->flags;
	bool commit = f & ODP_CT_A_COMMIT, src = f & ODP_CT_A_SNAT, dst = f & ODP_CT_A_DNAT;

	if (!memchr(a->timeout, 0, sizeof(a->timeout)) || !memchr(a->helper, 0, sizeof(a->helper)))
		return -EINVAL;
	if (!commit && (f & ODP_CT_A_FORCE || a->mark_mask || a->timeout[0] || src || dst))
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(a->label_mask); i++)
		if (!commit && a->label_mask[i])
			return -EINVAL;
	if ((src && dst) || (!src && !dst && a->nat_family) ||
		((src || dst) && !(f & ODP_CT_A_NAT)) || (a->nat_family && a->nat_family != family))
		return -EINVAL;
	if (a->nat_port_min > a->nat_port_max || (!a->nat_port_min && a->nat_port_max))
		return -EINVAL;
	if (memcmp(a->nat_min, a->nat_max, sizeof(a->nat_min)) > 0)
		return -EINVAL;
	// What a helper reads is not translated: that moves all later sequence numbers.
	if (a->helper[0] && (!commit || src || dst || !odp_ct_helper_find(a->helper)))
		return -EINVAL;
	return policy_of(a) < 0 ? -EINVAL : 0;
}

static uint64_t half(const uint8_t *b)
{
	dpu_be64 v;

	memcpy(&v, b, sizeof(v));
	return dpu_be64_get(v);
}

static void commit_of(
	const struct odp_act_ct *a, struct odp_ct_commit *c, struct odp_ct_nat_conf *nat)
{
	*c = (struct odp_ct_commit){
		.force = a->flags & ODP_CT_A_FORCE,
		.policy = (uint8_t)policy_of(a),
		.mark = a->mark,
		.mark_mask = a->mark_mask,
		.helper = a->helper[0] ? (uint8_t)odp_ct_helper_find(a->helper) : 0,
		.label = { half(a->label + 8), half(a->label) },
		.label_mask = { half(a->label_mask + 8), half(a->label_mask) },
	};
	if (!(a->flags & (ODP_CT_A_SNAT | ODP_CT_A_DNAT)))
		return;
	*nat = (struct odp_ct_nat_conf){ .min_port = a->nat_port_min, .max_port = a->nat_port_max };
	nat->flags = (a->flags & ODP_CT_A_SNAT ? ODP_NAT_SRC : ODP_NAT_DST) |
		     (a->flags & ODP_CT_A_NAT_RANDOM ? ODP_NAT_RANDOM : 0) |
		     (a->flags & ODP_CT_A_PERSISTENT ? ODP_NAT_PERSISTENT : 0) |
		     (a->flags & ODP_CT_A_NAT_HASH ? ODP_NAT_HASH : 0) |
		     (a->nat_port_min ? ODP_NAT_PORTS : 0);
	memcpy(nat->min_addr, a->nat_min, sizeof(nat->min_addr));
	memcpy(nat->max_addr, a->nat_max, sizeof(nat->max_addr));
	c->nat = nat;
}

/* ---- packets ---- */

static bool was_translated(const struct odp_meta *meta, uint16_t zone)
{
	return meta && meta->key.ct_zone == zone &&
	       meta->key.ct_state & (ODP_CS_SNAT | ODP_CS_DNAT);
}

const struct odp_ct_was *odp_act_ct_was(
	const struct odp_meta *meta, uint16_t zone, uint8_t l3, struct odp_ct_was *was)
{
	struct odp_ct_key *o = &was->orig;

	if (!was_translated(meta, zone))
		return NULL;
	const struct odp_key *k = &meta->key;

	*was = (struct odp_ct_was){ .state = (uint8_t)k->ct_state };
	o->zone = zone;
	o->l3 = l3;
	o->proto = k->ct_orig_proto;
	if (l3 == 4) {
		memcpy(o->src, &k->ct_orig4.src, 4);
		memcpy(o->dst, &k->ct_orig4.dst, 4);
	} else {
		memcpy(o->src, k->ct_orig6.src, 16);
		memcpy(o->dst, k->ct_orig6.dst, 16);
	}
	if (o->proto == IPPROTO_ICMP || o->proto == IPPROTO_ICMPV6) {
		o->dport.b[0] = (uint8_t)dpu_be16_get(k->ct_orig_tp_src);
		o->dport.b[1] = (uint8_t)dpu_be16_get(k->ct_orig_tp_dst);
	} else {
		o->sport = k->ct_orig_tp_src;
		o->dport = k->ct_orig_tp_dst;
	}
	return was;
}

/* fill() of TCP or UDP as most of it is. False: it is another one, and nothing was written. */
static inline bool fill_plain(
	struct rte_mbuf *m, uint16_t zone, struct odp_at *at, struct odp_ct_pkt *p)
{
	uint8_t *f = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t total = odp_ipv4_plain(f, m->data_len, m->pkt_len);

	if (!total || (f[23] != IPPROTO_TCP && f[23] != IPPROTO_UDP))
		return false;
	*at = (struct odp_at){ .p = f,
		.n = m->data_len,
		.l3 = 14,
		.l4 = 34,
		.end = 14 + total,
		.eth_type = 0x0800,
		.proto = f[23] };
	p->key.zone = zone;
	p->key.l3 = 4;
	p->key.proto = f[23];
	memcpy(p->key.src, f + 26, 4);
	memcpy(p->key.dst, f + 30, 4);
	memcpy(&p->key.sport, f + 34, 2);
	memcpy(&p->key.dport, f + 36, 2);
	p->l4 = f + 34;
	p->l4_len = (uint16_t)(RTE_MIN(at->n, at->end) - 34);
	p->l4_total = total - 20;
	return true;
}

/* False: no IP packet. What has no good layer 4 header is tracked all the same, as invalid. */
static bool fill(struct rte_mbuf *m, uint16_t zone, struct odp_at *at, struct odp_ct_pkt *p)
{
	*p = (struct odp_ct_pkt){ .bytes = m->pkt_len };
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		p->flags |= ODP_CT_BAD_CSUM;
	if (likely(fill_plain(m, zone, at, p)))
		return true;
	if (!odp_edit_find(m, at))
		return false;
	const uint8_t *ip = at->p + at->l3;

	p->key.zone = zone;
	p->key.proto = at->proto;
	if (at->eth_type == 0x0800) {
		p->key.l3 = 4;
		memcpy(p->key.src, ip + 12, 4);
		memcpy(p->key.dst, ip + 16, 4);
	} else if (at->eth_type == 0x86dd) {
		p->key.l3 = 6;
		memcpy(p->key.src, ip + 8, 16);
		memcpy(p->key.dst, ip + 24, 16);
	} else {
		return false;
	}
	if (at->l4 == 0 || at->l4 > at->n || at->end < at->l4) {
		p->flags |= ODP_CT_LATER_FRAG;
		return true;
	}
	p->l4 = at->p + at->l4;
	p->l4_len = (uint16_t)(RTE_MIN(at->n, at->end) - at->l4);
	p->l4_total = at->end - at->l4;
	(void)odp_ct_key_fill(&p->key, p->l4, p->l4_len);
	return true;
}

static bool translate(struct rte_mbuf *m, const struct odp_at *at, const struct odp_ct_pkt *p)
{
	uint8_t *l3 = at->p + at->l3;

	return p->nat.what == 0 || !p->l4 ||
	       odp_ct_nat_apply(p, l3, at->l4 - at->l3, at->p + at->l4, p->l4_len,
		       odp_edit_is_partial(m, at)) == 0;
}

/* Translate it, where the action says so. */
static void finish(struct rte_mbuf *m, const struct odp_at *at, const struct odp_act_ct *a,
	struct odp_ct_pkt *p)
{
	if (unlikely(p->was)) {
		p->was = NULL; // it is, and stays so
		return;
	}
	if (!(a->flags & ODP_CT_A_NAT))
		p->state &= (uint8_t) ~(ODP_CS_SNAT | ODP_CS_DNAT);
	else if (!translate(m, at, p))
		p->state = ODP_CS_TRK | ODP_CS_INV;
}

/* False: it is held, or gone. One that cannot be put together is tracked as invalid. */
static bool is_alone(struct odp_worker *w, const struct odp_place *place, const struct odp_at *at,
	struct rte_mbuf *m, struct odp_ct_pkt *p)
{
	if (likely(!at->frag))
		return true;
	p->flags |= ODP_CT_LATER_FRAG;
	return !odp_hold_in(w, m, place);
}

/* Headers in one piece, and ours to write where they may have to be. They may point to *was. */
static unsigned open_all(struct odp_worker *w, const struct odp_place *place,
	struct rte_mbuf **pkts, unsigned n, struct odp_at *at, struct odp_ct_was *was,
	struct odp_ct_pkt *out)
{
	struct odp_pw *in = place->from.in;
	const struct odp_act_ct *a = place->ct;
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (a->flags & ODP_CT_A_NAT ||
			m->data_len < RTE_MIN(m->pkt_len, (uint32_t)ODP_EXTRACT_MAX))
			m = odp_edit_open(m, w->dp->conf.pool);
		if (!m)
			dpu_counter_add(&in->drops[ODP_DROP_NO_MBUF], 1);
		else if (!fill(m, a->zone, &at[kept], &out[kept]))
			odp_drop_one(in, ODP_DROP_MALFORMED, m);
		else if (is_alone(w, place, &at[kept], m, &out[kept]))
			pkts[kept++] = m;
	}
	if (unlikely(was_translated(place->meta, a->zone)))
		for (unsigned i = 0; i < kept; i++)
			out[i].was = odp_act_ct_was(place->meta, a->zone, out[i].key.l3, was);
	return kept;
}

/*
 * Returns, as a bitmap, the packets that were to be translated from now on and cannot be: they must
 * go no further, or they would leave with an address that nobody outside may see.
 */
static uint32_t track(
	struct odp_worker *w, const struct odp_act_ct *a, struct odp_ct_pkt *out, unsigned n)
{
	struct odp_ct *ct = w->dp->ct;
	uint64_t now_ms = odp_track_now_ms(w);
	struct odp_ct_nat_conf nat;
	struct odp_ct_commit c;
	uint32_t lost = 0;

	odp_ct_track(ct, w->idx, out, n, now_ms);
	if (!(a->flags & ODP_CT_A_COMMIT))
		return 0;
	commit_of(a, &c, &nat);
	for (unsigned i = 0; i < n; i++) {
		int ret = odp_ct_commit(ct, w->idx, &out[i], &c, now_ms); // out says it, too

		if (ret < 0 && ret != -EINVAL && c.nat)
			lost |= 1u << i;
	}
	return lost;
}

static unsigned drop_lost(struct odp_pw *in, uint32_t lost, struct rte_mbuf **pkts, unsigned n,
	struct odp_at *at, struct odp_ct_pkt *out)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		if (lost & 1u << i) {
			odp_drop_one(in, ODP_DROP_NO_NAT, pkts[i]);
			continue;
		}
		pkts[kept] = pkts[i];
		at[kept] = at[i];
		out[kept++] = out[i];
	}
	return kept;
}

/* Show a packet to the helper of its connection, wherever its bytes are. */
static void help(struct odp_worker *w, const struct rte_mbuf *m, const struct odp_at *at,
	const struct odp_ct_pkt *p)
{
	uint8_t buf[ODP_CT_PAYLOAD_MAX], end[1];
	const uint8_t *last;
	struct odp_ct_payload l;

	if (at->l4 == 0 || at->end <= at->l4 || at->end > m->pkt_len)
		return;
	l.len = RTE_MIN(at->end - at->l4, ODP_CT_PAYLOAD_MAX);
	l.l4 = rte_pktmbuf_read(m, at->l4, (uint32_t)l.len, buf);
	last = rte_pktmbuf_read(m, at->end - 1, 1, end);
	if (!l.l4 || !last)
		return;
	l.last = *last;
	odp_ct_help(w->dp->ct, w->idx, p, &l, odp_track_now_ms(w));
}

unsigned odp_act_ct(struct odp_worker *w, const struct odp_place *place, struct rte_mbuf **pkts,
	unsigned n, struct odp_ct_pkt *out)
{
	const struct odp_act_ct *a = place->ct;
	struct odp_at at[ODP_BURST];
	struct odp_ct_was was;

	(void)odp_track_enter(w);
	n = open_all(w, place, pkts, n, at, &was, out);
	uint32_t lost = track(w, a, out, n);

	if (unlikely(lost))
		n = drop_lost(place->from.in, lost, pkts, n, at, out);
	for (unsigned i = 0; i < n; i++) {
		if (unlikely(out[i].helper))
			help(w, pkts[i], &at[i], &out[i]);
		finish(pkts[i], &at[i], a, &out[i]);
	}
	return n;
}

/* An error about a translated packet goes back through the translation that it met. */
bool odp_act_ct_undo(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct rte_mbuf **error)
{
	struct odp_act_ct a = { .flags = ODP_CT_A_NAT };
	struct odp_place place = { .ct = &a, .from = *from };
	struct odp_ct_pkt p;

	if (!meta || !(meta->key.ct_state & (ODP_CS_SNAT | ODP_CS_DNAT)))
		return true;
	a.zone = meta->key.ct_zone;
	if (odp_act_ct(w, &place, error, 1, &p) == 0)
		return false;
	if (p.state & ODP_CS_REL && !(p.state & ODP_CS_INV))
		return true;
	rte_pktmbuf_free(*error);
	return false;
}

/* ---- datagrams in pieces ---- */

/* Ports and checksums are in the first. The sum is over all, and changes by what changed there. */
static bool translate_piece(struct rte_mbuf *m, const struct odp_ct_pkt *p)
{
	struct odp_at at;

	if (!odp_edit_find(m, &at))
		return false;
	uint8_t *l3 = at.p + at.l3;

	if (at.l4 == 0)
		return odp_ct_nat_apply_later(p, l3, RTE_MIN(at.n, at.end) - at.l3) == 0;
	return at.l4 <= at.n && at.end >= at.l4 &&
	       odp_ct_nat_apply(p, l3, at.l4 - at.l3, at.p + at.l4, RTE_MIN(at.n, at.end) - at.l4,
		       false) == 0;
}

/* False: some piece is not what it should be. What is no longer there was dropped. */
static bool translate_all(struct odp_worker *w, struct odp_whole *d, const struct odp_ct_pkt *p)
{
	bool good = true;
	unsigned kept = 0;

	for (unsigned i = 0; i < d->d.n; i++) {
		struct rte_mbuf *m = odp_edit_open(d->d.frags[i], w->dp->conf.pool);

		if (!m) {
			dpu_counter_add(&d->at.from.in->drops[ODP_DROP_NO_MBUF], 1);
			continue;
		}
		good = good && translate_piece(m, p);
		d->d.frags[kept++] = m;
	}
	d->d.n = kept;
	return good;
}

bool odp_act_ct_whole(struct odp_worker *w, struct odp_whole *d, struct odp_ct_pkt *out)
{
	// A packet of which nothing but the headers is there; they were copied
	struct rte_mbuf head = { .buf_addr = d->d.hdr,
		.buf_len = sizeof(d->d.hdr),
		.nb_segs = 1,
		.data_len = d->d.hdr_len,
		.pkt_len = d->d.len };
	const struct odp_act_ct *a = d->at.ct;
	struct odp_ct_was was;
	struct odp_at at;

	(void)odp_track_enter(w);
	if (!fill(&head, a->zone, &at, out)) {
		odp_drop(d->at.from.in, ODP_DROP_MALFORMED, d->d.frags, d->d.n);
		return false;
	}
	out->was = odp_act_ct_was(d->at.meta, a->zone, out->key.l3, &was);
	if (track(w, a, out, 1)) {
		odp_drop(d->at.from.in, ODP_DROP_NO_NAT, d->d.frags, d->d.n);
		return false;
	}
	if (out->was)
		out->was = NULL; // translated, and stays so
	else if (!(a->flags & ODP_CT_A_NAT))
		out->state &= (uint8_t) ~(ODP_CS_SNAT | ODP_CS_DNAT);
	else if (out->nat.what && !translate_all(w, d, out))
		out->state = ODP_CS_TRK | ODP_CS_INV;
	return true;
}

/* What a commit that nothing is in the way of makes of it. */
static void would_commit(const struct odp_act_ct *a, struct odp_ct_pkt *p)
{
	struct odp_ct_nat_conf nat;
	struct odp_ct_commit c;

	if (p->state & ODP_CS_INV ||
		(p->state & ODP_CS_REL && !(p->state & (ODP_CS_NEW | ODP_CS_EST))))
		return; // an error changes nothing of what it is about
	commit_of(a, &c, &nat);
	if (c.force && p->state & ODP_CS_RPL) {
		odp_ct_clear(p);
		p->was = NULL;
		p->state = ODP_CS_TRK | ODP_CS_NEW;
	}
	p->mark = (p->mark & ~c.mark_mask) | (c.mark & c.mark_mask);
	for (unsigned i = 0; i < 2; i++)
		p->label[i] = (p->label[i] & ~c.label_mask[i]) | (c.label[i] & c.label_mask[i]);
}

int odp_act_ct_would(struct odp *dp, const struct odp_act_ct *a, const struct odp_meta *meta,
	unsigned how, struct rte_mbuf **m, uint64_t now_ms, struct odp_ct_pkt *out)
{
	struct odp_ct_was was;
	struct odp_at at;

	*m = odp_edit_open(*m, dp->conf.pool);
	if (!*m)
		return -ENOMEM;
	if (!fill(*m, a->zone, &at, out))
		return -EINVAL;
	if (at.frag)
		return -EAGAIN;
	out->was = odp_act_ct_was(meta, a->zone, out->key.l3, &was);
	odp_ct_would(dp->ct, out, how, now_ms);
	if (a->flags & ODP_CT_A_COMMIT)
		would_commit(a, out);
	finish(*m, &at, a, out);
	return 0;
}

/* ---- metadata ---- */

static void put_orig(struct odp_key *k, const struct odp_ct_key *o)
{
	k->ct_orig_proto = o->proto;
	if (o->l3 == 4) {
		memcpy(&k->ct_orig4.src, o->src, 4);
		memcpy(&k->ct_orig4.dst, o->dst, 4);
	} else {
		memcpy(k->ct_orig6.src, o->src, 16);
		memcpy(k->ct_orig6.dst, o->dst, 16);
	}
	if (o->proto == IPPROTO_ICMP || o->proto == IPPROTO_ICMPV6) {
		k->ct_orig_tp_src = dpu_be16_put(o->dport.b[0]);
		k->ct_orig_tp_dst = dpu_be16_put(o->dport.b[1]);
	} else {
		k->ct_orig_tp_src = o->sport;
		k->ct_orig_tp_dst = o->dport;
	}
}

/* The words that it writes. */
static uint64_t orig_bits(const struct odp_ct_key *o)
{
	return ODP_KEY_BITS(ct_orig_proto) | ODP_KEY_BITS(ct_orig_tp_src) |
	       ODP_KEY_BITS(ct_orig_tp_dst) |
	       (o->l3 == 4 ? ODP_KEY_BITS(ct_orig4) : ODP_KEY_BITS(ct_orig6));
}

static void put_label(struct odp_meta *meta, const struct odp_ct_pkt *p)
{
	dpu_be64 hi = dpu_be64_put(p->label[1]), lo = dpu_be64_put(p->label[0]);

	if ((p->label[0] | p->label[1]) == 0)
		return; // as it was cleared
	meta->map |= ODP_KEY_BITS(ct_label);
	memcpy(meta->key.ct_label, &hi, sizeof(hi));
	memcpy(meta->key.ct_label + 8, &lo, sizeof(lo));
}

bool odp_act_ct_same(const struct odp_ct_pkt *a, const struct odp_ct_pkt *b)
{
	return a->state == b->state && a->mark == b->mark && a->label[0] == b->label[0] &&
	       a->label[1] == b->label[1] && !a->orig == !b->orig &&
	       (!a->orig || memcmp(a->orig, b->orig, sizeof(*a->orig)) == 0);
}

bool odp_act_ct_alike(const struct odp_ct_pkt *a, const struct odp_ct_pkt *b)
{
	return a->state == b->state && a->mark == b->mark && a->label[0] == b->label[0] &&
	       a->label[1] == b->label[1];
}

bool odp_act_ct_is_own(const struct odp_ct_pkt *p)
{
	const struct odp_ct_key *k = &p->key, *o = p->orig;
	bool reply = p->state & ODP_CS_RPL;

	if (p->state & (ODP_CS_INV | ODP_CS_SNAT | ODP_CS_DNAT) || !o || o->proto != k->proto ||
		(k->proto != IPPROTO_TCP && k->proto != IPPROTO_UDP))
		return false;
	// Of a connection that is translated elsewhere, or has a master, it is another one
	return o == k ||
	       (memcmp(o->src, reply ? k->dst : k->src, sizeof(o->src)) == 0 &&
		       memcmp(o->dst, reply ? k->src : k->dst, sizeof(o->dst)) == 0 &&
		       memcmp(&o->sport, reply ? &k->dport : &k->sport, sizeof(o->sport)) == 0 &&
		       memcmp(&o->dport, reply ? &k->sport : &k->dport, sizeof(o->dport)) == 0);
}

void odp_act_ct_clear(struct odp_meta *meta)
{
	struct odp_key *k = &meta->key;

	k->ct_mark = 0;
	k->ct_state = 0;
	k->ct_zone = 0;
	k->ct_orig_proto = 0;
	k->ct_orig_tp_src = k->ct_orig_tp_dst = dpu_be16_put(0);
	memset(k->ct_label, 0, sizeof(k->ct_label));
	memset(&k->ct_orig6, 0, sizeof(k->ct_orig6));
	// Words that are conntrack's alone are zero now, and need not be looked at
	meta->map &= ~(ODP_KEY_BITS(ct_label) | ODP_KEY_BITS(ct_orig6));
	meta->own_tuple = 0;
}

void odp_act_ct_meta_own(struct odp_meta *meta, const struct odp_ct_pkt *p, uint16_t zone)
{
	struct odp_key *k = &meta->key;

	odp_act_ct_clear(meta);
	meta->own_tuple = 1;
	meta->map |= ODP_KEY_BITS(ct_mark) | ODP_KEY_BITS(ct_state) | ODP_KEY_BITS(ct_zone);
	k->ct_state = p->state;
	k->ct_zone = zone;
	k->ct_mark = p->mark;
	put_label(meta, p);
}

void odp_act_ct_meta(struct odp_meta *meta, const struct odp_ct_pkt *p, uint16_t zone)
{
	odp_act_ct_meta_own(meta, p, zone);
	meta->own_tuple = 0;
	if (!p->orig || p->state & ODP_CS_INV)
		return;
	put_orig(&meta->key, p->orig);
	meta->map |= orig_bits(p->orig);
}

void odp_act_ct_own(struct odp_key *k, struct rte_mbuf *m)
{
	struct odp_ct_pkt p;
	struct odp_ct_key o;
	struct odp_at at;

	if (!fill(m, 0, &at, &p))
		return; // it was tracked: it has a tuple
	o = p.key;
	if (k->ct_state & ODP_CS_RPL) {
		memcpy(o.src, p.key.dst, sizeof(o.src));
		memcpy(o.dst, p.key.src, sizeof(o.dst));
		o.sport = p.key.dport;
		o.dport = p.key.sport;
	}
	put_orig(k, &o);
}
