// SPDX-License-Identifier: Apache-2.0
/* The fused path: entries are found, compared with what they were made from, and used. */
#include "fused_priv.h"

#include <netinet/in.h>
#include <stdlib.h>

#include <rte_prefetch.h>

#include "act_edit.h"
#include "extract.h"
#include "inet.h"
#include "meter.h"
#include "pmtu.h"
#include "recirc.h"
#include "tnl_dest.h"
#include "tnl_out.h"
#include "track.h"
#include "tx.h"

/* ---- validity ---- */

static bool parts_hold(const struct odp_view *v, const struct fused_entry *e)
{
	for (unsigned i = 0; i < e->n_steps; i++) {
		struct odp_flow *f = &v->chunk[e->flow[i] / FLOW_CHUNK][e->flow[i] % FLOW_CHUNK];
		const struct odp_acts *a;

		// Acquire: pairs with whoever inserts a flow, or gives it another list
		if (atomic_load_explicit(&f->gen, memory_order_acquire) != e->gen[i])
			return false;
		a = atomic_load_explicit(&f->acts, memory_order_acquire);
		if (!a || a->serial != e->serial[i])
			return false;
	}
	return true;
}

static inline bool holds(const struct odp_view *v, struct fused_entry *e, uint64_t epoch)
{
	// A view of another generation may have flows that come before ours
	if (unlikely(e->view_gen != v->gen))
		return false;
	if (likely(e->epoch == epoch))
		return true;
	if (!parts_hold(v, e))
		return false;
	e->epoch = epoch;
	return true;
}

/* ---- packets ---- */

#define PLAIN_MIN 42u // Ethernet, IPv4, UDP
#define TAG_LEN 4u

/*
 * n bytes of a packet: TCP or UDP without options or extension headers, with one 802.1Q tag or
 * none, and no fragment?
 */
static bool is_plain(const uint8_t *p, uint32_t n)
{
	if (n >= PLAIN_MIN + TAG_LEN && p[12] == 0x81 && p[13] == 0x00) {
		p += TAG_LEN;
		n -= TAG_LEN;
	}
	if (p[12] == 0x08 && p[13] == 0x00)
		return p[14] == 0x45 && !((p[20] & 0x3f) | p[21]) &&
		       (p[23] == IPPROTO_TCP || p[23] == IPPROTO_UDP);
	return n >= PLAIN_MIN + 20 && p[12] == 0x86 && p[13] == 0xdd &&
	       (p[20] == IPPROTO_TCP || p[20] == IPPROTO_UDP);
}

/* The words of a packet that may have an entry, see is_plain(), masked by `any`. */
static bool read_words(
	const struct rte_mbuf *m, uint32_t in_port, const struct odp_kw *any, struct odp_kw *k)
{
	uint32_t n = RTE_MIN(m->pkt_len, PLAIN_MIN + 20 + TAG_LEN);
	uint8_t copy[PLAIN_MIN + 20 + TAG_LEN];
	struct odp_key key;
	const uint8_t *p;

	if (likely(odp_extract_fast(m, in_port, FUSED_MAP, any, k)))
		return true;
	if (n < PLAIN_MIN)
		return false;
	p = rte_pktmbuf_read(m, 0, n, copy);
	if (!p || !is_plain(p, n))
		return false;
	memset(&key, 0, sizeof(key));
	if (odp_extract_mbuf(m, in_port, 0, FUSED_MAP, &key) < 0)
		return false;
	memcpy(k, &key, FUSED_WORDS * sizeof(k->w[0]));
	for (unsigned i = 0; i < FUSED_WORDS; i++)
		k->w[i] &= any->w[i];
	return true;
}

/* Are all headers in the first segment? Where they are not, the whole way puts them there. */
static inline bool in_one_piece(const struct rte_mbuf *m)
{
	return m->data_len >= RTE_MIN(m->pkt_len, (uint32_t)ODP_EXTRACT_MAX);
}

/* What conntrack looks at, of a packet whose key was read. Returns the network header. */
static inline const uint8_t *fill(
	const struct rte_mbuf *m, const struct fused_entry *e, struct odp_ct_pkt *p)
{
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, const uint8_t *, e->l3);
	unsigned l3_len = e->l3_len;

	p->key.proto = e->flags & FUSED_F_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	p->l4 = l3 + l3_len;
	p->l4_total = e->flags & FUSED_F_V6 ? (unsigned)l3[4] << 8 | l3[5]
					    : ((unsigned)l3[2] << 8 | l3[3]) - l3_len;
	p->l4_len = (uint16_t)RTE_MIN(m->data_len - e->l3 - l3_len, p->l4_total);
	p->bytes = m->pkt_len;
	p->flags = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD
			   ? ODP_CT_BAD_CSUM
			   : 0;
	return l3;
}

/* False: nothing was done to the packet or to what was counted. */
static inline bool pass_cts(struct odp_worker *w, const struct fused_entry *e,
	const struct rte_mbuf *m, struct odp_ct_pkt *p)
{
	uint64_t now_ms = odp_track_now_ms(w);

	for (unsigned i = 0; i < e->n_cts; i++) {
		if (unlikely(e->flags & FUSED_F_GROWS))
			p->bytes = m->pkt_len + (uint32_t)e->ct_grows[i];
		if (odp_ct_again(w->dp->ct, w->idx, p, e->ct[i], e->dirs >> i & 1, now_ms))
			continue;
		while (i-- > 0) // they will see it once more
			odp_ct_uncount(e->ct[i], e->dirs >> i & 1,
				m->pkt_len +
					(e->flags & FUSED_F_GROWS ? (uint32_t)e->ct_grows[i] : 0));
		return false;
	}
	return true;
}

/* Can the packet go by the entry, and did its connections see it? */
static inline bool pass(struct odp_worker *w, const struct fused_entry *e, const struct rte_mbuf *m)
{
	struct odp_ct_pkt p;

	if (unlikely(!in_one_piece(m)))
		return false;
	const uint8_t *l3 = fill(m, e, &p);

	if (unlikely(p.l4_len < (e->flags & FUSED_F_UDP ? 8 : 20) ||
		     l3[e->flags & FUSED_F_V6 ? 7 : 8] <= e->n_dec))
		return false;
	if (e->flags & FUSED_F_EDITS &&
		!odp_rewrite_can(&e->rw, m, p.l4, e->flags & FUSED_F_UDP, e->flags & FUSED_F_V6))
		return false;
	return pass_cts(w, e, m, &p);
}

/* Returns how many are left. */
static __rte_noinline unsigned edit(struct odp_worker *w, const struct fused_entry *e,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = odp_edit_open(pkts[i], w->dp->conf.pool);

		if (unlikely(!m)) {
			dpu_counter_add(&from->in->drops[ODP_DROP_NO_MBUF], 1);
			continue;
		}
		odp_rewrite_apply(&e->rw, m, e->l3, e->flags & FUSED_F_UDP, e->flags & FUSED_F_V6);
		pkts[kept++] = m;
	}
	return kept;
}

static void count_steps(struct odp_worker *w, const struct fused_entry *e, unsigned first,
	unsigned end, unsigned n, uint64_t bytes)
{
	for (unsigned i = first; i < end; i++) {
		uint64_t more = 0;

		if (unlikely(e->flags & FUSED_F_GROWS)) // else that cache line is not needed
			more = (uint64_t)((int64_t)e->step_grows[i] * n);
		odp_flow_count(w, e->flow[i], n, bytes + more);
	}
}

/* Meters, and the flows behind each see what it lets pass. Returns how many are left. */
static __rte_noinline unsigned meters(struct odp_worker *w, const struct fused_entry *e,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n, uint64_t bytes)
{
	unsigned first = 0;

	for (unsigned k = 0; k < e->n_meters; k++) {
		unsigned end = e->meter_step[k] + 1u, kept = 0;

		count_steps(w, e, first, end, n, bytes);
		first = end;
		uint32_t over = n ? odp_meter_run(w, e->meter[k], pkts, n) : 0;

		for (unsigned i = 0; i < n; i++) {
			if (over & 1u << i) {
				bytes -= pkts[i]->pkt_len;
				odp_drop_one(from->in, odp_meter_reason(e->meter[k]), pkts[i]);
			} else {
				pkts[kept++] = pkts[i];
			}
		}
		n = kept;
	}
	count_steps(w, e, first, e->n_steps, n, bytes);
	return n;
}

/* Where packets go. */
struct way {
	struct odp_pw *to;
	struct odp_tnl_dest *dest; // `to` is a tunnel port
	struct odp_pw *uplink; // of the tunnel
	uint32_t mtu; // of what goes into it, as it came in; 0: none
	uint32_t fits; // bytes of a packet that is not too long for sure
};

/*
 * Into a tunnel. What a destination comes to is not part of an entry, so a neighbour that moves, or
 * another MTU, makes no work for connections; while it comes to nothing, packets go the whole way.
 */
static __rte_noinline bool tunnel_of(
	struct odp_worker *w, const struct fused_entry *e, struct way *way, bool *dead)
{
	struct odp_tnl_dest *d = odp_tnl_dest_at(w->dp->tnls->dests, e->tnl.slot, e->tnl.serial);

	*dead = !d;
	if (!d || d->verdict != ODP_TNL_SEND || !odp_tnl_dest_current(d))
		return false;
	way->dest = d;
	if (d->inner_mtu) {
		uint32_t grows = (uint32_t)e->tnl.l3 - e->l3; // by tags; modulo 2^32

		way->mtu = (int32_t)(d->inner_mtu - grows) > 0 ? d->inner_mtu - grows : 1;
		way->fits = way->mtu + ODP_ETH_LEN;
	}
	way->uplink = odp_pw(w, d->out);
	return way->uplink;
}

static inline void into_tunnel(struct odp_worker *w, const struct fused_entry *e,
	const struct odp_from *from, const struct way *way, struct rte_mbuf **pkts, unsigned n)
{
	const struct odp_tnl_inner in = {
		.hash = e->tnl.hash, .l3 = e->tnl.l3, .v6 = e->flags & FUSED_F_V6
	};

	odp_tnl_forward(w, from, way->to, way->dest, way->uplink, &in, pkts, n);
}

/* False: not now; an entry that holds no more is gone. */
static inline bool way_of(struct odp_worker *w, const struct odp_view *v, struct fused_entry *e,
	uint32_t hash, struct way *way)
{
	uint64_t epoch = atomic_load_explicit(&w->dp->epoch, memory_order_acquire);
	bool dead;

	way->to = odp_pw(w, e->out);
	way->dest = NULL;
	way->mtu = 0;
	way->fits = UINT32_MAX;
	dead = !holds(v, e, epoch) || !way->to || !(odp_caps(way->to->port) & CAPS_UP);
	if (likely(!dead) && (likely(!(e->flags & FUSED_F_TNL)) || tunnel_of(w, e, way, &dead)))
		return true;
	if (dead)
		odp_fused_kill(w->fused, e, hash);
	return false;
}

/* Packets of one entry, one behind the other. Returns how many were taken: the first ones. */
static unsigned use(struct odp_worker *w, const struct odp_view *v, struct fused_entry *e,
	uint32_t hash, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n,
	uint64_t *bytes)
{
	struct odp_sums sums = { 0 };
	struct rte_mbuf *out[ODP_BURST];
	unsigned took = 0, left;
	struct way way;

	if (unlikely(!way_of(w, v, e, hash, &way)))
		return 0;
	for (; took < n; took++) {
		// Whoever is told of its size is told what it sent: the whole way knows.
		if (unlikely((pkts[took]->pkt_len > way.fits &&
				     odp_pmtu_exceeds(pkts[took], way.mtu)) ||
			     !pass(w, e, pkts[took])))
			break;
		odp_sums_add(&sums, pkts[took]);
		out[took] = pkts[took];
	}
	if (took == 0)
		return 0;
	*bytes += sums.bytes;
	if (likely(e->n_meters == 0)) {
		count_steps(w, e, 0, e->n_steps, took, sums.bytes);
		left = took;
	} else {
		left = meters(w, e, from, out, took, sums.bytes);
	}
	if (e->flags & FUSED_F_EDITS)
		left = edit(w, e, from, out, left);
	if (way.dest) {
		into_tunnel(w, e, from, &way, out, left);
		return took;
	}
	if (e->flags & FUSED_F_EDITS || left < took) {
		sums = (struct odp_sums){ 0 };
		for (unsigned i = 0; i < left; i++)
			odp_sums_add(&sums, out[i]);
	}
	if (left > 0)
		odp_out_all(w, way.to, from->rxq, out, &sums);
	return took;
}

/* What tells packets apart under this view. */
static void look_anew(struct odp_fused *t, const struct odp_view *v)
{
	struct odp_key any;

	memcpy(&any, &v->any, sizeof(any));
	any.in_port = UINT32_MAX;
	any.recirc_id = UINT32_MAX;
	memset(any.eth_dst, 0xff, sizeof(any.eth_dst));
	memset(any.eth_src, 0xff, sizeof(any.eth_src));
	memset(&any.vlan_tci, 0xff, sizeof(any.vlan_tci));
	memset(&any.eth_type, 0xff, sizeof(any.eth_type));
	any.ip_proto = 0xff;
	any.ip_frag = 0xff;
	memset(any.l3_bytes, 0xff, sizeof(any.l3_bytes));
	memset(&any.tp_src, 0xff, sizeof(any.tp_src));
	memset(&any.tp_dst, 0xff, sizeof(any.tp_dst));
	// Entries of another generation do not hold, whatever their keys were masked by
	t->any = odp_kw(&any);
	t->view_gen = v->gen;
}

void odp_fused_view(struct odp_fused *t, const struct odp_view *v)
{
	if (unlikely(t->view_gen != v->gen))
		look_anew(t, v);
}

/* What packets of one connection have in common, whatever flows look at besides. */
static inline uint64_t conn_of(const struct odp_kw *k)
{
	uint32_t ports;

	memcpy(&ports, &k->w[ODP_KEY_L4_WORD], sizeof(ports));
	return odp_mix(k->w[4] ^ k->w[6] ^ ports, k->w[5] ^ k->w[7] ^ 0x9e3779b97f4a7c15);
}

static bool is_among(const uint64_t *conns, unsigned n, uint64_t conn)
{
	bool found = false;

	for (unsigned i = 0; i < n; i++)
		found |= conns[i] == conn;
	return found;
}

/* One more for the end of a tunnel? It goes the whole way: to take some others for one is safe. */
static inline bool is_for(const struct fused_end *end, const struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

	return m->data_len >= PLAIN_MIN && memcmp(p + 36, end->udp_port, 2) == 0 &&
	       memcmp(p + 30, end->dst, 4) == 0 && p[12] == 0x08 && p[14] == 0x45 &&
	       p[23] == IPPROTO_UDP;
}

void odp_fused_ends(
	struct odp_worker *w, const struct odp_from *from, const struct odp_tnl_key *key)
{
	struct fused_end *end = &w->fused->end;

	if (key->family != 4 || key->tp_dst == 0 || from->meta)
		return;
	end->in_port = from->in->port->no;
	memcpy(end->dst, key->dst, sizeof(end->dst));
	odp_put16(end->udp_port, key->tp_dst);
}

/*
 * Keys of all packets. A hash of 0: it goes the whole way.
 *
 *   outer  what they came through; 0: nothing
 *   end    NULL, or packets for it have no key
 */
static __rte_always_inline void read_keys(struct odp_fused *t, uint32_t in_port, uint64_t outer,
	const struct fused_end *end, struct rte_mbuf **pkts, unsigned n, uint32_t *hash)
{
	const struct odp_seed *seed = &t->v->seed;

	for (unsigned i = 0; i < n; i++) {
		hash[i] = 0;
		if ((end && is_for(end, pkts[i])) ||
			!read_words(pkts[i], in_port, &t->any, &t->kw[i]))
			continue;
		if (outer)
			t->kw[i].w[0] = outer;
		hash[i] = fused_hash(seed, t->kw[i].w);
		rte_prefetch0(&t->bucket[hash[i] & (t->n_buckets - 1)]);
	}
}

static __rte_noinline void read_keys_at_end(
	struct odp_fused *t, uint32_t in_port, struct rte_mbuf **pkts, unsigned n, uint32_t *hash)
{
	read_keys(t, in_port, 0, &t->end, pkts, n, hash);
}

/*
 * What packets need comes from memory while others of the burst are at the same point: buckets,
 * then entries, then connections.
 */
static inline void find_entries(
	struct odp_fused *t, unsigned n, const uint32_t *hash, struct fused_entry **entry)
{
	for (unsigned i = 0; i < n; i++) {
		if (i > 0 && hash[i] == hash[i - 1]) {
			entry[i] = entry[i - 1];
			continue;
		}
		entry[i] = odp_fused_guess(t, hash[i]);
		if (entry[i]) {
			rte_prefetch0(entry[i]->key);
			rte_prefetch0(&entry[i]->n_steps);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		if (!entry[i])
			continue;
		if (unlikely(!fused_same(entry[i], t->kw[i].w)))
			entry[i] = odp_fused_find(t, t->kw[i].w, hash[i]);
		if (!entry[i] || (i > 0 && entry[i] == entry[i - 1]))
			continue;
		for (unsigned c = 0; c < entry[i]->n_cts; c++)
			odp_ct_prefetch(entry[i]->ct[c]);
		if (entry[i]->flags & FUSED_F_EDITS)
			rte_prefetch0(&entry[i]->rw.ip);
	}
}

/* Connections of which packets go the whole way: none is to be overtaken. */
struct slow {
	uint64_t *conn;
	unsigned *n, size;
};

static inline bool may_pass(const struct slow *s, const struct odp_kw *k)
{
	if (likely(*s->n == 0))
		return true;
	return *s->n < s->size && !is_among(s->conn, *s->n, conn_of(k));
}

/* When there is no more room, all go the whole way. */
static inline void is_slow(const struct slow *s, const struct odp_kw *k)
{
	if (*s->n < s->size)
		s->conn[(*s->n)++] = conn_of(k);
}

/* Forward what there are entries for; the others are left. t->kw and `hash` are there. */
static inline unsigned forward(struct odp_worker *w, const struct odp_view *v,
	const struct odp_from *from, const struct slow *s, const uint32_t *hash,
	struct rte_mbuf **pkts, unsigned n, uint64_t *bytes)
{
	struct fused_entry *entry[ODP_BURST];
	struct odp_fused *t = w->fused;
	unsigned left = 0;

	find_entries(t, n, hash, entry);
	for (unsigned i = 0, end; i < n; i = end) {
		unsigned took = 0;

		for (end = i + 1;
			end < n && hash[i] && hash[end] == hash[i] && entry[end] == entry[i];)
			end++;
		if (entry[i] && may_pass(s, &t->kw[i]))
			took = use(w, v, entry[i], hash[i], from, &pkts[i], end - i, bytes);
		if (i + took < end && hash[i])
			is_slow(s, &t->kw[i]);
		for (i += took; i < end; i++)
			pkts[left++] = pkts[i];
	}
	dpu_counter_add(&w->fused_hits, n - left);
	return left;
}

unsigned odp_fused_burst(struct odp_worker *w, const struct odp_view *v,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n, uint64_t *bytes)
{
	struct odp_fused *t = w->fused;
	uint32_t hash[ODP_BURST];
	uint64_t conn[ODP_BURST + 1]; // one more than can be: it is never full
	unsigned n_slow = 0;
	const struct slow slow = { conn, &n_slow, ODP_BURST + 1 };

	(void)odp_track_enter(w);
	odp_fused_view(t, v);
	t->v = v;
	if (t->n_entries == 0)
		return n;
	if (t->end.in_port == from->in->port->no)
		read_keys_at_end(t, t->end.in_port, pkts, n, hash);
	else
		read_keys(t, from->in->port->no, 0, NULL, pkts, n, hash);
	return forward(w, v, from, &slow, hash, pkts, n, bytes);
}

unsigned odp_fused_inner(
	struct odp_worker *w, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	struct odp_fused *t = w->fused;
	const struct slow slow = { t->slow, &t->n_slow, FUSED_SLOW };
	const struct odp_meta *meta = from->meta;
	uint32_t hash[ODP_BURST];
	uint64_t outer, bytes = 0;

	if (!t->v || meta->depth > 0 || meta->packet_type || t->n_entries == 0)
		return n;
	if (w->recirc->n == 0)
		t->n_slow = 0;
	outer = odp_fused_outer(t, t->v, meta->key.in_port, &meta->key.tnl, false);
	read_keys(t, meta->key.in_port, outer, NULL, pkts, n, hash);
	if (likely(outer))
		return forward(w, t->v, from, &slow, hash, pkts, n, &bytes);
	for (unsigned i = 0; i < n; i++)
		if (hash[i])
			is_slow(&slow, &t->kw[i]);
	return n;
}

/* The tag's type: it is the only word behind layer 4 that packets of an entry may have. */
static uint16_t tpid_of(const struct odp_kw *kw)
{
	struct odp_key key;

	memcpy(&key, kw, FUSED_WORDS * sizeof(kw->w[0]));
	return dpu_be16_get(key.vlan_tci) ? 0x8100 : 0;
}

void odp_fused_note(struct odp_worker *w, const struct odp_view *v, const struct odp_from *from,
	const struct rte_mbuf *m)
{
	static const struct odp_kw all = { .w = { [0 ... ODP_KEY_WORDS - 1] = UINT64_MAX } };
	struct odp_fused *t = w->fused;
	struct fused_note *n = &t->note[t->n_notes];
	struct fused_vain *vain;
	uint64_t masked[FUSED_WORDS];

	if (t->n_notes == FUSED_NOTES || (from->meta && from->meta->packet_type))
		return;
	if (!read_words(m, from->in->port->no, &all, &t->kw[0]))
		return;
	memcpy(n->w, t->kw[0].w, sizeof(n->w));
	n->vlan_tpid = tpid_of(&t->kw[0]);
	n->tnl.family = 0;
	if (from->meta)
		n->tnl = from->meta->key.tnl;
	for (unsigned i = 0; i < FUSED_WORDS; i++)
		masked[i] = n->w[i] & t->any.w[i];
	n->hash = fused_hash(&v->seed, masked);
	vain = &t->vain[n->hash % FUSED_VAIN];
	if (vain->hash == n->hash && vain->left > 0)
		vain->left--;
	else
		t->n_notes++;
}
