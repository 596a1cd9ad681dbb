// SPDX-License-Identifier: Apache-2.0
/* ARP and ND from uplinks: sorted and limited by workers. */
#include "underlay_gate.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "inet.h"
#include "neigh.h"
#include "ring.h"
#include "track.h"
#include "tnl_out.h"
#include "tx.h"
#include "upcall.h"

#define SOURCE_PER_S 100u // of a worker
#define KNOWN_PER_S 4000u
#define QUESTIONS_PER_S 1000u

#define OPT_TLLA 2u

static const unsigned ring_size[ODP_UL_CLASSES] = { 64, 256, 64 };

/* ---- what workers know ---- */

uint32_t odp_ul_mark_hash(
	const struct odp_ul *ul, uint32_t port, uint16_t vlan, const void *a, size_t n)
{
	uint64_t w[3] = { (uint64_t)n << 48 | (uint64_t)port << 16 | (vlan & 0xfff) };

	memcpy(w + 1, a, n);
	return odp_words_hash(&ul->conf.seed, w, 3);
}

/* The two counters of a mark. */
static uint32_t first(uint32_t hash)
{
	return hash % ODP_UL_SLOTS;
}

static uint32_t second(uint32_t hash)
{
	return (hash >> 16) % ODP_UL_SLOTS;
}

static void count(_Atomic uint16_t *n, int by)
{
	atomic_store_explicit(n, (uint16_t)(atomic_load_explicit(n, memory_order_relaxed) + by),
		memory_order_relaxed);
}

void odp_ul_mark(struct odp_ul *ul, enum odp_ul_mark mark, uint32_t hash, int by)
{
	count(&ul->marks.n[mark][first(hash)], by);
	count(&ul->marks.n[mark][second(hash)], by);
}

/* Where a message came in. */
struct where {
	const struct odp_ul *ul;
	uint32_t port;
	uint16_t vlan;
};

static bool hash_marked(const struct where *at, enum odp_ul_mark mark, uint32_t hash)
{
	const _Atomic uint16_t *n = at->ul->marks.n[mark];

	return atomic_load_explicit(&n[first(hash)], memory_order_relaxed) > 0 &&
	       atomic_load_explicit(&n[second(hash)], memory_order_relaxed) > 0;
}

static bool marked(const struct where *at, enum odp_ul_mark mark, const void *a, size_t n)
{
	return hash_marked(at, mark, odp_ul_mark_hash(at->ul, at->port, at->vlan, a, n));
}

/* ---- what a message is ---- */

/* It is from `who` and asks for, or speaks of, `about`. */
static enum odp_ul_class by_marks(const struct where *at, const uint8_t *eth, const void *who,
	const void *about, size_t n, uint32_t *source)
{
	*source = odp_ul_mark_hash(at->ul, at->port, at->vlan, who, n);
	if (hash_marked(at, ODP_UL_NEEDED, *source))
		return ODP_UL_KNOWN;
	if (marked(at, ODP_UL_OURS, about, n) || hash_marked(at, ODP_UL_OURS, *source))
		return ODP_UL_QUESTION;
	// Who sends it to us alone is told of, if it is nonsense.
	return marked(at, ODP_UL_OUR_MAC, eth, 6) ? ODP_UL_NONE : ODP_UL_OTHERS;
}

static enum odp_ul_class classify_arp(
	const struct where *at, const uint8_t *eth, struct dpu_cur *in, uint32_t *source)
{
	const uint8_t *arp = dpu_cur_take(in, ODP_ARP_LEN);

	if (!arp)
		return ODP_UL_NONE;
	if (odp_get16(arp + 6) == ODP_ARP_REPLY && odp_arp_is_sound(arp, eth) &&
		marked(at, ODP_UL_OUR_MAC, eth, 6) && marked(at, ODP_UL_OURS, arp + 24, 4) &&
		marked(at, ODP_UL_ASKED, arp + 14, 4))
		return ODP_UL_ANSWER;
	return by_marks(at, eth, arp + 14, arp + 24, 4, source);
}

/* It ends the question: an address where we have none to confirm, or one that overrides. */
static bool ends_question(const struct where *at, const uint8_t *nd, uint32_t len)
{
	if (len == ODP_ND_LEN)
		return marked(at, ODP_UL_CONFIRMS, nd + 8, 16);
	return len == ODP_ND_LEN + 8 && (nd[4] & ODP_NA_OVERRIDE) && nd[24] == OPT_TLLA &&
	       nd[25] == 1 && odp_mac_is_unicast(nd + 26) && marked(at, ODP_UL_ASKED, nd + 8, 16);
}

static enum odp_ul_class classify_ipv6(
	const struct where *at, const uint8_t *eth, struct dpu_cur *in, uint32_t *source)
{
	const uint8_t *ip = dpu_cur_take(in, ODP_IPV6_LEN), *nd = in->at;
	uint32_t len;

	if (!ip || ip[6] != IPPROTO_ICMPV6 || in->left < 1)
		return ODP_UL_NONE;
	len = odp_get16(ip + 4);
	if ((nd[0] != ODP_ND_NS && nd[0] != ODP_ND_NA) || len < ODP_ND_LEN || len > in->left)
		return eth[0] & 1 ? ODP_UL_OTHERS : ODP_UL_NONE;
	if (nd[0] == ODP_ND_NS)
		return by_marks(at, eth, ip + 8, nd + 8, 16, source);
	if ((nd[4] & ODP_NA_SOLICITED) && marked(at, ODP_UL_OUR_MAC, eth, 6) &&
		marked(at, ODP_UL_OURS, ip + 24, 16) && ends_question(at, nd, len) &&
		odp_nd_is_sound(eth, ip, nd, len))
		return ODP_UL_ANSWER;
	return by_marks(at, eth, nd + 8, nd + 8, 16, source);
}

enum odp_ul_class odp_ul_classify(
	const struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m, uint32_t *source)
{
	struct dpu_cur in = dpu_cur_init(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	struct where at = { .ul = ul, .port = port };
	const uint8_t *eth = dpu_cur_take(&in, 12);
	uint16_t type = dpu_cur_be16(&in);

	*source = 0;
	if (type == ODP_ETH_VLAN) {
		at.vlan = dpu_cur_be16(&in) & 0xfff;
		type = dpu_cur_be16(&in);
	}
	if (in.bad)
		return ODP_UL_NONE;
	return type == ODP_ETH_ARP    ? classify_arp(&at, eth, &in, source)
	       : type == ODP_ETH_IPV6 ? classify_ipv6(&at, eth, &in, source)
				      : ODP_UL_NONE;
}

/* ---- workers ---- */

struct odp_ul_gate *odp_ul_gate_create(void)
{
	struct odp_ul_gate *g = dpu_calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->known.source_per_s = g->questions.source_per_s = SOURCE_PER_S;
	g->known.total_per_s = KNOWN_PER_S;
	g->questions.total_per_s = QUESTIONS_PER_S;
	return g;
}

void odp_ul_gate_destroy(struct odp_ul_gate *g)
{
	free(g);
}

/* An answer ends its question, so that there is no flood of them. */
static bool allowed(struct odp_ul_gate *g, enum odp_ul_class c, uint32_t source, uint64_t now_ns)
{
	return c == ODP_UL_ANSWER || odp_limit_take(c == ODP_UL_KNOWN ? &g->known : &g->questions,
					     source, now_ns) == ODP_LIMIT_OK;
}

static void put(struct odp_worker *w, struct odp_pw *in, struct rte_ring *r, struct rte_mbuf *m)
{
	m = odp_own(m, w->dp->conf.pool);
	if (!m) {
		dpu_counter_add(&in->drops[ODP_DROP_NO_MBUF], 1);
		return;
	}
	m->hash.usr = ODP_UPCALL_MISS;
	if (odp_ring_put(r, &m, 1) == 0) {
		odp_drop_one(in, ODP_DROP_NEIGH_LIMIT, m);
		return;
	}
	dpu_counter_add(&w->upcalls, 1);
	w->upcalled = true;
}

unsigned odp_ul_gate(
	struct odp_worker *w, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	struct odp_pw *in = from->in;
	const struct odp_port *port = in->port;
	struct odp_ul_rings *rings = atomic_load_explicit(&port->rings, memory_order_acquire);
	unsigned kept = 0;
	uint64_t now_ns;
	uint32_t source;

	if (!rings)
		return n;
	now_ns = odp_track_now_ms(w) * 1000000;
	for (unsigned i = 0; i < n; i++) {
		enum odp_ul_class c = odp_ul_classify(w->dp->tnls->ul, port->no, pkts[i], &source);

		if (c == ODP_UL_NONE || (c == ODP_UL_OTHERS && atomic_load_explicit(&port->switched,
								       memory_order_relaxed)))
			pkts[kept++] = pkts[i];
		else if (c == ODP_UL_OTHERS)
			odp_drop_one(in, ODP_DROP_UNSWITCHED, pkts[i]);
		else if (!allowed(w->tnl->gate, c, source, now_ns))
			odp_drop_one(in, ODP_DROP_NEIGH_LIMIT, pkts[i]);
		else
			put(w, in, rings->ring[c], pkts[i]);
	}
	return kept;
}

/* ---- rings ---- */

void odp_ul_rings_open(struct odp_port *port)
{
	struct odp_ul_rings *r;

	if (atomic_load_explicit(&port->rings, memory_order_relaxed))
		return;
	r = dpu_calloc(1, sizeof(*r));
	if (!r)
		return;
	for (unsigned c = 0; c < ODP_UL_CLASSES; c++) {
		r->ring[c] = odp_ring_create(ring_size[c]);
		if (!r->ring[c]) {
			odp_ul_rings_destroy(r);
			return;
		}
	}
	atomic_store_explicit(&port->rings, r, memory_order_release);
}

void odp_ul_rings_destroy(struct odp_ul_rings *r)
{
	for (unsigned c = 0; r && c < ODP_UL_CLASSES; c++)
		odp_ring_destroy(r->ring[c]);
	free(r);
}

unsigned odp_ul_rings_take(const struct odp_port *port, struct rte_mbuf **pkts, unsigned max)
{
	const struct odp_ul_rings *r = atomic_load_explicit(&port->rings, memory_order_relaxed);
	unsigned n = 0;

	for (unsigned c = 0; r && c < ODP_UL_CLASSES && n < max; c++)
		n += odp_ring_take(r->ring[c], pkts + n, max - n, NULL);
	return n;
}
