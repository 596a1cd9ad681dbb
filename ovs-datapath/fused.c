// SPDX-License-Identifier: Apache-2.0
/* The fused path: entries are found, compared with what they were made from, and used. */
#include "fused_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_prefetch.h>

#include "act_edit.h"
#include "dpu_alloc.h"
#include "extract.h"
#include "track.h"
#include "tx.h"

struct odp_fused *odp_fused_create(void)
{
	struct odp_fused *t = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(*t));

	if (!t)
		return NULL;
	t->bucket = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, FUSED_BUCKETS, sizeof(*t->bucket));
	// Zeroed by the kernel when they are touched
	t->mem = dpu_calloc(FUSED_BUCKETS * FUSED_WAYS + 1, sizeof(*t->entry));
	if (t->bucket && t->mem) {
		t->entry = RTE_PTR_ALIGN_CEIL(t->mem, RTE_CACHE_LINE_SIZE);
		return t;
	}
	odp_fused_destroy(t);
	return NULL;
}

void odp_fused_destroy(struct odp_fused *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->mem);
	free(t);
}

/* ---- table ---- */

static bool same_words(const uint64_t *a, const uint64_t *b)
{
	uint64_t diff = 0;

	for (unsigned i = 0; i < FUSED_WORDS; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

struct fused_entry *odp_fused_find(struct odp_fused *t, const uint64_t *w, uint32_t hash)
{
	uint32_t at = hash % FUSED_BUCKETS;
	const struct fused_bucket *b = &t->bucket[at];

	for (unsigned i = 0; i < FUSED_WAYS; i++) {
		struct fused_entry *e = &t->entry[at * FUSED_WAYS + i];

		if (b->hash[i] == hash && same_words(e->key, w))
			return e;
	}
	return NULL;
}

void odp_fused_put(struct odp_fused *t, const struct fused_entry *e, uint32_t hash)
{
	uint32_t at = hash % FUSED_BUCKETS;
	struct fused_bucket *b = &t->bucket[at];
	unsigned way = t->victim++ % FUSED_WAYS;

	for (unsigned i = 0; i < FUSED_WAYS; i++)
		if (!b->hash[i])
			way = i;
	t->n_entries += !b->hash[way];
	b->hash[way] = hash;
	t->entry[at * FUSED_WAYS + way] = *e;
}

void odp_fused_kill(struct odp_fused *t, const struct fused_entry *e)
{
	size_t i = (size_t)(e - t->entry);

	t->bucket[i / FUSED_WAYS].hash[i % FUSED_WAYS] = 0;
	t->n_entries--;
}

/* ---- validity ---- */

static bool parts_hold(const struct fused_entry *e)
{
	for (unsigned i = 0; i < e->n_steps; i++) {
		const struct fused_step *s = &e->step[i];
		const struct odp_acts *a;

		// Acquire: pairs with whoever inserts a flow, or gives it another list
		if (atomic_load_explicit(&s->flow->gen, memory_order_acquire) != s->gen)
			return false;
		a = atomic_load_explicit(&s->flow->acts, memory_order_acquire);
		if (!a || a->serial != s->serial)
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
	if (!parts_hold(e))
		return false;
	e->epoch = epoch;
	return true;
}

/* ---- packets ---- */

#define PLAIN_MIN 42u // Ethernet, IPv4, UDP

/* n bytes of a packet: TCP or UDP without tags, options or extension headers, and no fragment? */
static bool is_plain(const uint8_t *p, uint32_t n)
{
	if (p[12] == 0x08 && p[13] == 0x00)
		return p[14] == 0x45 && !((p[20] & 0x3f) | p[21]) &&
		       (p[23] == IPPROTO_TCP || p[23] == IPPROTO_UDP);
	return n >= PLAIN_MIN + 20 && p[12] == 0x86 && p[13] == 0xdd &&
	       (p[20] == IPPROTO_TCP || p[20] == IPPROTO_UDP);
}

/* The key of a packet that may have an entry, see is_plain(), masked by `any`. */
static bool read_key(
	const struct rte_mbuf *m, uint32_t in_port, const struct odp_kw *any, struct odp_kw *k)
{
	uint32_t n = RTE_MIN(m->pkt_len, PLAIN_MIN + 20);
	uint8_t copy[PLAIN_MIN + 20];
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
	*k = odp_kw(&key);
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
	const uint8_t *l3 = rte_pktmbuf_mtod_offset(m, const uint8_t *, 14);
	unsigned l3_len = e->v6 ? 40 : 20;

	p->key.proto = e->proto;
	p->l4 = l3 + l3_len;
	p->l4_total = e->v6 ? (unsigned)l3[4] << 8 | l3[5]
			    : ((unsigned)l3[2] << 8 | l3[3]) - l3_len;
	p->l4_len = (uint16_t)RTE_MIN(m->data_len - 14 - l3_len, p->l4_total);
	p->bytes = m->pkt_len;
	p->flags = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD
			   ? ODP_CT_BAD_CSUM
			   : 0;
	return l3;
}

/* False: nothing was done to the packet or to what was counted. */
static inline bool pass_cts(
	struct odp_worker *w, const struct fused_entry *e, const struct odp_ct_pkt *p)
{
	uint64_t now_ms = odp_track_now_ms(w);

	for (unsigned i = 0; i < e->n_cts; i++) {
		if (odp_ct_again(w->dp->ct, w->idx, p, e->ct[i].ref, e->ct[i].dir, now_ms))
			continue;
		while (i-- > 0) // they will see it once more
			odp_ct_uncount(e->ct[i].ref, e->ct[i].dir, p->bytes);
		return false;
	}
	return true;
}

static int translate(struct rte_mbuf *m, const struct odp_ct_nat *nat)
{
	struct odp_ct_pkt p = { .nat = *nat };
	struct odp_at at;

	if (!odp_edit_find(m, &at) || at.l4 == 0 || at.l4 > at.n)
		return -EBADMSG;
	p.key.l3 = at.eth_type == 0x0800 ? 4 : 6;
	p.key.proto = at.proto;
	p.l4 = at.p + at.l4;
	p.l4_len = (uint16_t)(RTE_MIN(at.n, at.end) - at.l4);
	return odp_ct_nat_apply(&p, at.p + at.l3, at.l4 - at.l3, at.p + at.l4, p.l4_len,
		odp_edit_is_partial(m, &at));
}

/* NULL: dropped, and counted. */
static __rte_noinline struct rte_mbuf *edit(struct odp_worker *w, const struct fused_entry *e,
	const struct odp_from *from, struct rte_mbuf *m)
{
	m = odp_edit_open(m, w->dp->conf.pool);
	if (!m) {
		dpu_counter_add(&from->in->drops[ODP_DROP_NO_MBUF], 1);
		return NULL;
	}
	for (unsigned i = 0; i < e->n_ops; i++) {
		const struct fused_op *op = &e->op[i];

		int ret = op->act ? odp_edit_act(m, op->act, 0) : translate(m, &e->nat[op->nat]);

		if (unlikely(ret != 0)) {
			odp_drop_one(from->in, ODP_DROP_MALFORMED, m);
			return NULL;
		}
	}
	return m;
}

/* Packets of one entry, one behind the other. Returns how many were taken: the first ones. */
static unsigned use(struct odp_worker *w, const struct odp_view *v, struct fused_entry *e,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n, uint64_t *bytes)
{
	uint64_t epoch = atomic_load_explicit(&w->dp->epoch, memory_order_acquire), sum = 0;
	struct odp_sums sums = { 0 };
	struct rte_mbuf *out[ODP_BURST];
	struct odp_pw *to;
	unsigned took = 0;

	to = odp_pw(w, e->out);
	if (unlikely(!holds(v, e, epoch) || !to || !(odp_caps(to->port) & CAPS_UP))) {
		odp_fused_kill(w->fused, e);
		return 0;
	}
	for (; took < n; took++) {
		struct rte_mbuf *m = pkts[took];
		struct odp_ct_pkt p;

		if (unlikely(!in_one_piece(m)))
			break;
		const uint8_t *l3 = fill(m, e, &p);

		if (unlikely(l3[e->v6 ? 7 : 8] <= e->n_dec_ttl || !pass_cts(w, e, &p)))
			break;
		sum += m->pkt_len;
		if (e->n_ops)
			m = edit(w, e, from, m);
		if (!m)
			continue;
		out[sums.n] = m;
		odp_sums_add(&sums, m);
	}
	if (took == 0)
		return 0;
	for (unsigned i = 0; i < e->n_steps; i++)
		odp_flow_count_packets(w, e->step[i].flow, took, sum);
	*bytes += sum;
	if (sums.n)
		odp_out_all(w, to, from->rxq, out, &sums);
	return took;
}

/* What tells packets apart under this view. Keys made under another mask are forgotten. */
static void look_anew(struct odp_fused *t, const struct odp_view *v)
{
	struct odp_key any;
	struct odp_kw kw;

	memcpy(&any, &v->any, sizeof(any));
	any.in_port = UINT32_MAX;
	any.recirc_id = UINT32_MAX;
	memset(any.eth_dst, 0xff, sizeof(any.eth_dst));
	memset(any.eth_src, 0xff, sizeof(any.eth_src));
	memset(&any.eth_type, 0xff, sizeof(any.eth_type));
	any.ip_proto = 0xff;
	any.ip_frag = 0xff;
	memset(any.l3_bytes, 0xff, sizeof(any.l3_bytes));
	memset(&any.tp_src, 0xff, sizeof(any.tp_src));
	memset(&any.tp_dst, 0xff, sizeof(any.tp_dst));
	kw = odp_kw(&any);
	t->view_gen = v->gen;
	if (!memcmp(&kw, &t->any, sizeof(kw)))
		return;
	t->any = kw;
	memset(t->bucket, 0, FUSED_BUCKETS * sizeof(*t->bucket));
	t->n_entries = 0;
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

unsigned odp_fused_burst(struct odp_worker *w, const struct odp_view *v,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n, uint64_t *bytes)
{
	struct fused_entry *entry[ODP_BURST];
	struct odp_fused *t = w->fused;
	uint32_t in_port = from->in->port->no, hash[ODP_BURST];
	uint64_t slow[ODP_BURST];
	unsigned left = 0, n_slow = 0;

	(void)odp_track_enter(w);
	odp_fused_view(t, v);
	if (t->n_entries == 0)
		return n;
	for (unsigned i = 0; i < n; i++) {
		hash[i] = 0;
		if (!read_key(pkts[i], in_port, &t->any, &t->kw[i]))
			continue;
		hash[i] = fused_hash(&v->seed, t->kw[i].w);
		rte_prefetch0(&t->bucket[hash[i] % FUSED_BUCKETS]);
	}
	for (unsigned i = 0; i < n; i++) {
		entry[i] = hash[i] ? odp_fused_find(t, t->kw[i].w, hash[i]) : NULL;
		if (entry[i])
			rte_prefetch0(entry[i]->step);
	}
	for (unsigned i = 0, end; i < n; i = end) {
		uint64_t conn = hash[i] ? conn_of(&t->kw[i]) : 0;
		unsigned took = 0;

		for (end = i + 1;
			end < n && hash[i] && hash[end] == hash[i] && entry[end] == entry[i];)
			end++;
		// None is to overtake one of its connection that goes the whole way
		if (entry[i] && !is_among(slow, n_slow, conn))
			took = use(w, v, entry[i], from, &pkts[i], end - i, bytes);
		dpu_counter_add(&w->fused_hits, took);
		if (i + took < end && hash[i])
			slow[n_slow++] = conn;
		for (i += took; i < end; i++)
			pkts[left++] = pkts[i];
	}
	return left;
}

void odp_fused_note(
	struct odp_worker *w, const struct odp_view *v, uint32_t in_port, const struct rte_mbuf *m)
{
	static const struct odp_kw all = { .w = { [0 ... ODP_KEY_WORDS - 1] = UINT64_MAX } };
	struct odp_fused *t = w->fused;
	struct fused_note *n = &t->note[t->n_notes];
	uint64_t key[FUSED_WORDS];
	struct fused_vain *vain;
	struct odp_kw kw;

	if (t->n_notes == FUSED_NOTES)
		return;
	memset(&kw, 0, sizeof(kw));
	if (!read_key(m, in_port, &all, &kw))
		return;
	memcpy(n->w, kw.w, sizeof(n->w));
	for (unsigned i = 0; i < FUSED_WORDS; i++)
		key[i] = n->w[i] & t->any.w[i];
	n->hash = fused_hash(&v->seed, key);
	vain = &t->vain[n->hash % FUSED_VAIN];
	if (vain->hash == n->hash && vain->left > 0)
		vain->left--;
	else
		t->n_notes++;
}
