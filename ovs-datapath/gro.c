// SPDX-License-Identifier: Apache-2.0
/*
 * Merging TCP segments.
 *
 * The packets of a burst are looked at in order. A small table, by the hash of addresses and ports,
 * knows of each connection the segment, or frame so far, that its next segment might continue;
 * whatever else the connection sends ends that. Where a bucket is full one of those in it has to
 * end. So each packet is compared with one other at most, and its bytes are summed up once at most.
 *
 * Spec: RFC 9293, section 3.1; RFC 791 and 6864 for the IPv4 id; RFC 3168, section 5.3: what a
 * congestion mark stands on is not merged with what it does not stand on.
 */
#include "gro.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include <rte_byteorder.h>

#include "inet.h"
#include "sw_offload.h"
#include "tx.h"

#define BUCKETS 16u // in the table
#define WAYS 4u // places in a bucket
#define NOBODY 0xffu
#define SEGS_MAX 64u // mbufs of a frame
#define IP_LEN_MAX 65535u
#define DF 0x4000u

static_assert(ODP_BURST < NOBODY, "a place has room for the number of a frame");

/* Numbers of the frames that may go on. */
typedef uint8_t places[BUCKETS][WAYS];

/* What a packet means to those before it and behind it. */
enum kind {
	OTHER, // nothing
	UNCLEAR, // it may be of any connection
	ORDERED, // it is of a connection, and stays as it is
	SEGMENT, // it may be merged
};

enum verdict { UNKNOWN, RIGHT, WRONG };

/* A segment, or the frame that began with it. */
struct frame {
	struct rte_mbuf *m, *last; // and the last mbuf of it
	uint32_t hash; // of addresses and ports
	uint32_t next_seq;
	uint32_t ip_len; // bytes of the IP packet
	uint32_t size; // payload bytes of the first segment
	uint16_t l3, l4, hdr; // offsets of the headers, and the end of TCP's
	uint16_t n; // segments
	uint16_t id; // IPv4: the first one's
	bool v6;
	bool same_id; // IPv4: all have it
	bool ends; // nothing can follow
	enum verdict sums; // on the first segment's checksums
};

static uint8_t *at(const struct frame *f, uint32_t off)
{
	return rte_pktmbuf_mtod_offset(f->m, uint8_t *, off);
}

/* ---- one packet ---- */

static bool is_ours(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
			return false;
	return true;
}

static uint32_t hash_of(const struct odp_seed *seed, const struct frame *f)
{
	uint64_t w[5] = { 0 };
	unsigned n = f->v6 ? 4 : 1;

	memcpy(w, at(f, f->l3 + (f->v6 ? 8 : 12)), n * sizeof(w[0]));
	memcpy(&w[n], at(f, f->l4), 4);
	return odp_words_hash(seed, w, n + 1);
}

/* What says no without a look at any other packet. f: l3, l4, v6 and ip_len are there. */
static bool may_merge(struct frame *f, uint64_t caps)
{
	const uint64_t no_merge = ODP_F_L4_CSUM | ODP_F_GSO | ODP_F_LENT;
	const struct rte_mbuf *m = f->m;
	const uint8_t *tcp = at(f, f->l4);
	uint32_t headers;

	f->hdr = (uint16_t)(f->l4 + (tcp[12] >> 4) * 4u);
	headers = f->hdr - f->l3;
	if (tcp[12] < 0x50 || (tcp[12] & 15) || (tcp[13] & ~TH_PUSH) != TH_ACK)
		return false;
	// All of the headers, and some payload behind them.
	if (f->hdr >= m->data_len || f->ip_len != m->pkt_len - f->l3 ||
		f->ip_len > odp_caps_mtu(caps))
		return false;
	if (!(caps & (f->v6 ? CAPS_TSO6 : CAPS_TSO4)) || (m->ol_flags & no_merge) || !is_ours(m))
		return false;
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return false;
	f->sums = UNKNOWN;
	f->size = f->ip_len - headers;
	f->next_seq = odp_get32(tcp + 4) + f->size;
	f->ends = f->size < ODP_GRO_SIZE_MIN || (tcp[13] & TH_PUSH);
	f->n = 1;
	return true;
}

static enum kind look_tcp(struct frame *f, const struct odp_seed *seed, uint64_t caps)
{
	if (f->m->data_len < f->l4 + 20u)
		return UNCLEAR;
	f->hash = hash_of(seed, f);
	return may_merge(f, caps) ? SEGMENT : ORDERED;
}

static enum kind look_ipv4(struct frame *f, const struct odp_seed *seed, uint64_t caps)
{
	const uint8_t *ip = at(f, f->l3);

	if (f->m->data_len < f->l3 + ODP_IPV4_LEN)
		return UNCLEAR;
	if (ip[9] != IPPROTO_TCP)
		return OTHER;
	if (ip[0] != 0x45 || (odp_get16(ip + 6) & ~DF) != 0)
		return UNCLEAR;
	f->v6 = false;
	f->l4 = (uint16_t)(f->l3 + ODP_IPV4_LEN);
	f->ip_len = odp_get16(ip + 2);
	f->id = odp_get16(ip + 4);
	return look_tcp(f, seed, caps);
}

static enum kind look_ipv6(struct frame *f, const struct odp_seed *seed, uint64_t caps)
{
	const uint8_t *ip = at(f, f->l3);

	if (f->m->data_len < f->l3 + ODP_IPV6_LEN)
		return UNCLEAR;
	switch (ip[6]) {
	case IPPROTO_TCP:
		break;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
		return UNCLEAR;
	default:
		return OTHER;
	}
	if (ip[0] >> 4 != 6)
		return UNCLEAR;
	f->v6 = true;
	f->l4 = (uint16_t)(f->l3 + ODP_IPV6_LEN);
	f->ip_len = ODP_IPV6_LEN + odp_get16(ip + 4);
	return look_tcp(f, seed, caps);
}

/* Behind two tags nothing is merged, and so nothing overtakes. */
static enum kind look(
	struct frame *f, struct rte_mbuf *m, const struct odp_seed *seed, uint64_t caps)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t type;

	f->m = m;
	f->l3 = ODP_ETH_LEN;
	if (m->data_len < ODP_ETH_LEN + 4)
		return OTHER;
	type = odp_get16(p + 12);
	if (type == ODP_ETH_VLAN) {
		f->l3 += 4;
		type = odp_get16(p + 16);
	}
	if (likely(type == ODP_ETH_IPV4))
		return look_ipv4(f, seed, caps);
	return type == ODP_ETH_IPV6 ? look_ipv6(f, seed, caps) : OTHER;
}

/* ---- two of them ---- */

/* Of the frame so far. */
static uint32_t pseudo(const struct frame *f)
{
	return odp_sum(at(f, f->l3 + (f->v6 ? 8 : 12)), f->v6 ? 32 : 8,
		IPPROTO_TCP + f->ip_len - (f->l4 - f->l3));
}

static bool tcp_sum_is_right(const struct frame *f)
{
	uint32_t len = f->ip_len - (f->l4 - f->l3);
	uint16_t sum;

	if ((f->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	return odp_raw_sum(f->m, f->l4, len, &sum) == 0 &&
	       odp_fold(pseudo(f) + rte_be_to_cpu_16(sum)) == 0xffff;
}

static bool sums_are_right(struct frame *f)
{
	if (f->sums == UNKNOWN) {
		bool ip = f->v6 || odp_fold(odp_sum(at(f, f->l3), ODP_IPV4_LEN, 0)) == 0xffff;

		f->sums = ip && tcp_sum_is_right(f) ? RIGHT : WRONG;
	}
	return f->sums == RIGHT;
}

/*
 * Each segment has the next id; or all have the same one, where nobody looks at it because the
 * packet cannot be a fragment (RFC 6864, section 4.1), which who segments it again need not keep.
 */
static bool id_follows(const struct frame *f, const struct frame *s, bool *same)
{
	bool df = *at(f, f->l3 + 6) & (DF >> 8);
	bool counts = s->id == (uint16_t)(f->id + f->n), fixed = df && s->id == f->id;

	*same = f->n > 1 ? f->same_id : !counts;
	return *same ? fixed : counts;
}

static bool ip_eq(const struct frame *f, const struct frame *s)
{
	const uint8_t *a = at(f, f->l3), *b = at(s, s->l3);

	if (f->v6) // all but the length
		return !memcmp(a, b, 4) && !memcmp(a + 6, b + 6, 34);
	// All but length, id and checksum
	return !memcmp(a, b, 2) && !memcmp(a + 6, b + 6, 4) && !memcmp(a + 12, b + 12, 8);
}

/* All but sequence number, PSH and checksum. */
static bool tcp_eq(const struct frame *f, const struct frame *s)
{
	const uint8_t *a = at(f, f->l4), *b = at(s, s->l4);

	return !memcmp(a, b, 4) && !memcmp(a + 8, b + 8, 5) && !memcmp(a + 14, b + 14, 2) &&
	       !memcmp(a + 18, b + 18, f->hdr - f->l4 - 18u);
}

/* Is s what comes next of f? */
static bool follows(struct frame *f, struct frame *s, bool *same_id)
{
	// With tags and type offsets are equal, and with the rest of what is compared `hdr`.
	if (memcmp(at(f, 0), at(s, 0), f->l3) != 0 || odp_get32(at(s, s->l4 + 4)) != f->next_seq)
		return false;
	if (s->size > f->size || s->size > IP_LEN_MAX - f->ip_len ||
		f->m->nb_segs + s->m->nb_segs > (int)SEGS_MAX)
		return false;
	if (!ip_eq(f, s) || !tcp_eq(f, s) || (!f->v6 && !id_follows(f, s, same_id)))
		return false;
	// What costs most comes last, and only to what could be merged.
	return sums_are_right(f) && sums_are_right(s);
}

static void append(struct frame *f, struct frame *s)
{
	struct rte_mbuf *m = s->m;

	*at(f, f->l4 + 13) |= *at(s, s->l4 + 13) & TH_PUSH;
	f->ends = s->size < f->size || (*at(s, s->l4 + 13) & TH_PUSH);
	f->next_seq = s->next_seq;
	f->ip_len += s->size;
	f->n++;
	(void)rte_pktmbuf_adj(m, s->hdr); // may_merge(): there is more in its first mbuf
	if (f->n == 2)
		f->last = rte_pktmbuf_lastseg(f->m);
	f->last->next = m;
	f->last = rte_pktmbuf_lastseg(m);
	f->m->nb_segs = (uint16_t)(f->m->nb_segs + m->nb_segs);
	f->m->pkt_len += m->pkt_len;
	m->pkt_len = m->data_len;
}

/* Several segments become the frame that odp_port.h asks for. */
static void finish(struct frame *f)
{
	struct rte_mbuf *m = f->m;
	uint8_t *ip = at(f, f->l3);

	odp_put16(at(f, f->l4 + 16), odp_fold(pseudo(f)));
	if (f->v6) {
		odp_put16(ip + 4, f->ip_len - ODP_IPV6_LEN);
	} else {
		odp_put16(ip + 2, f->ip_len);
		odp_put16(ip + 10, 0);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, ODP_IPV4_LEN, 0)));
	}
	m->ol_flags &= ~RTE_MBUF_F_RX_L4_CKSUM_MASK;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
		       (f->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
	m->tx_offload = 0;
	m->l2_len = f->l3;
	m->l3_len = f->l4 - f->l3;
	m->l4_len = f->hdr - f->l4;
	m->tso_segsz = (uint16_t)f->size;
}

/* ---- a burst ---- */

static void finish_all(struct odp_pw *pw, struct frame *f, struct rte_mbuf **pkts, unsigned n,
	struct odp_sums *sums)
{
	uint64_t frames = 0, segments = 0;

	*sums = (struct odp_sums){ 0 };
	for (unsigned i = 0; i < n; i++) {
		if (f[i].n > 1) {
			finish(&f[i]);
			frames++;
			segments += f[i].n;
		}
		odp_sums_add(sums, pkts[i]);
	}
	dpu_counter_add(&pw->gro_frames, frames);
	dpu_counter_add(&pw->gro_segments, segments);
}

/* Where the connection of s has its place, or may have it. */
static uint8_t *place_of(places all, const struct frame *frames, const struct frame *s)
{
	uint8_t *bucket = all[s->hash % BUCKETS];
	unsigned to = s->hash / BUCKETS % WAYS;

	for (unsigned i = 0; i < WAYS; i++) {
		if (bucket[i] == NOBODY)
			to = i;
		else if (frames[bucket[i]].hash == s->hash)
			return &bucket[i];
	}
	return &bucket[to];
}

void odp_gro(struct odp_pw *pw, uint64_t caps, struct rte_mbuf **pkts, struct odp_sums *sums)
{
	const struct odp_seed *seed = &pw->port->dp->seed;
	struct frame frame[ODP_BURST];
	places open;
	unsigned kept = 0;

	memset(open, NOBODY, sizeof(open));
	for (unsigned i = 0; i < sums->n; i++) {
		struct frame *s = &frame[kept];
		enum kind kind = look(s, pkts[i], seed, caps);

		if (kind != SEGMENT)
			s->n = 0;
		if (kind == UNCLEAR)
			memset(open, NOBODY, sizeof(open));
		if (kind >= ORDERED) {
			uint8_t *p = place_of(open, frame, s);
			struct frame *f = &frame[*p == NOBODY ? kept : *p];

			if (kind == SEGMENT && f != s && follows(f, s, &f->same_id)) {
				append(f, s);
				*p = f->ends ? NOBODY : *p;
				continue;
			}
			*p = kind == SEGMENT && !s->ends ? (uint8_t)kept : NOBODY;
		}
		pkts[kept++] = pkts[i];
	}
	if (kept < sums->n)
		finish_all(pw, frame, pkts, kept, sums);
}
