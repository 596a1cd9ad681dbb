// SPDX-License-Identifier: Apache-2.0
/*
 * Offloads in software.
 *
 * One segmenter for TCP and UDP over IPv4 and IPv6 instead of rte_gso, which knows no IPv6: every
 * segment gets a copy of the headers with lengths, IPv4 id, TCP sequence number and flags adjusted,
 * and the pseudo-header sum of its own length, so that checksum completion is the same step as for
 * any other packet.
 *
 * Spec: VIRTIO 1.3, section 5.1.6.2; RFC 9293; RFC 6864 for the IPv4 id; RFC 3168 section 6.1.2 for
 * CWR.
 */
#include "sw_offload.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>

#include "dpu_wire.h"

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

static bool shared(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) > 1)
			return true;
	return false;
}

struct rte_mbuf *odp_copy(const struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *c = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);

	if (c)
		c->ol_flags &= ~ODP_F_LENT;
	return c;
}

static struct rte_mbuf *replace_by_copy(struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *c = odp_copy(m, pool);

	rte_pktmbuf_free(m);
	return c;
}

struct rte_mbuf *odp_own(struct rte_mbuf *m, struct rte_mempool *pool)
{
	return m->ol_flags & ODP_F_LENT ? replace_by_copy(m, pool) : m;
}

struct rte_mbuf *odp_unshare(struct rte_mbuf *m, struct rte_mempool *pool)
{
	return shared(m) ? replace_by_copy(m, pool) : m;
}

struct rte_mbuf *odp_linearize(struct rte_mbuf *m, struct rte_mempool *pool)
{
	if (m->nb_segs == 1)
		return m;
	m = odp_unshare(m, pool);
	if (!m || rte_pktmbuf_linearize(m) == 0)
		return m;
	// Not enough tailroom in the first segment: a fresh one has most.
	m = replace_by_copy(m, pool);
	if (m && m->nb_segs > 1) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	return m;
}

int odp_raw_sum(const struct rte_mbuf *m, uint32_t off, uint32_t len, uint16_t *sum)
{
	uint32_t all = 0, done = 0;

	if (off > m->pkt_len || len > m->pkt_len - off)
		return -EBADMSG;
	for (; off >= m->data_len && len > 0; m = m->next)
		off -= m->data_len;
	for (; done < len; m = m->next, off = 0) {
		uint32_t n = RTE_MIN(len - done, m->data_len - off);
		uint16_t part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, const uint8_t *, off), n);

		all += done & 1 ? rte_bswap16(part) : part;
		done += n;
	}
	all = (all & 0xffff) + (all >> 16);
	*sum = (uint16_t)((all & 0xffff) + (all >> 16));
	return 0;
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Where the offload request says that the headers are, if the headers agree. */
struct l4_at {
	uint32_t l3, l4; // offsets
	uint32_t csum; // offset of the checksum field
	uint32_t end; // of the bytes that the checksum covers
	bool v4, tcp;
};

/*
 * Those bytes end where the IP header says, not where the frame does: a short frame has padding
 * behind them. A length that ends before layer 4, as the 0 of a GSO frame, says nothing.
 */
static uint32_t l4_end(const struct rte_mbuf *m, const uint8_t *hdr, const struct l4_at *at)
{
	uint32_t total = at->v4 ? be16(hdr + at->l3 + 2) : 40u + be16(hdr + at->l3 + 4);
	uint32_t end = at->l3 + total;

	return end > at->l4 && end <= m->pkt_len ? end : m->pkt_len;
}

/* `hdr` holds the first n bytes of the packet. */
static int locate(const struct rte_mbuf *m, const uint8_t *hdr, uint32_t n, struct l4_at *at)
{
	uint64_t l4 = m->ol_flags & ODP_F_L4_CSUM;
	bool tcp = l4 == RTE_MBUF_F_TX_TCP_CKSUM || (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	uint32_t min = tcp ? 20 : 8;

	if (!tcp && l4 != RTE_MBUF_F_TX_UDP_CKSUM && !(m->ol_flags & RTE_MBUF_F_TX_UDP_SEG))
		return -EBADMSG;
	at->tcp = tcp;
	at->v4 = (m->ol_flags & RTE_MBUF_F_TX_IPV4) != 0;
	at->l3 = m->l2_len;
	at->l4 = at->l3 + m->l3_len;
	at->csum = at->l4 + (tcp ? 16 : 6);
	if (m->l2_len < 14 || m->l3_len < (at->v4 ? 20 : 40) || at->l4 > n || min > n - at->l4)
		return -EBADMSG;
	if (hdr[at->l3] >> 4 != (at->v4 ? 4 : 6))
		return -EBADMSG;
	if (at->v4 && (uint32_t)(hdr[at->l3] & 15) * 4 != m->l3_len)
		return -EBADMSG;
	at->end = l4_end(m, hdr, at);
	return min > at->end - at->l4 ? -EBADMSG : 0;
}

int odp_csum_complete(struct rte_mbuf *m)
{
	uint8_t copy[256];
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)sizeof(copy));
	const uint8_t *hdr = rte_pktmbuf_read(m, 0, n, copy);
	struct l4_at at;
	uint16_t sum;

	if (!hdr || locate(m, hdr, n, &at) < 0)
		return -EBADMSG;
	if (odp_raw_sum(m, at.l4, at.end - at.l4, &sum) < 0)
		return -EBADMSG;
	sum = (uint16_t)~sum;
	if (sum == 0 && !at.tcp)
		sum = 0xffff; // 0 would say that there is none

	// The field may lie behind the first segment, or over a border between two.
	const uint8_t *b = (const uint8_t *)&sum;
	struct rte_mbuf *s = m;
	uint32_t off = at.csum;

	for (unsigned i = 0; i < 2; i++, off++) {
		while (s && off >= s->data_len) {
			off -= s->data_len;
			s = s->next;
		}
		if (!s)
			return -EBADMSG;
		*rte_pktmbuf_mtod_offset(s, uint8_t *, off) = b[i];
	}
	m->ol_flags &= ~(ODP_F_L4_CSUM | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	return 0;
}

/* One's complement sum of 16-bit words in memory order, folded. */
static uint16_t pseudo_sum(const uint8_t *hdr, const struct l4_at *at, uint32_t l4_len)
{
	uint32_t n = at->v4 ? 8 : 32;
	const uint8_t *addr = hdr + at->l3 + (at->v4 ? 12 : 8);
	uint32_t sum = (at->tcp ? IPPROTO_TCP : IPPROTO_UDP) + l4_len;

	for (uint32_t i = 0; i < n; i += 2)
		sum += be16(addr + i);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

struct rte_mbuf *odp_to_ethdev(struct rte_mbuf *m, struct rte_mempool *pool)
{
	if (!(m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO)))
		return m;
	m = odp_unshare(m, pool);
	if (!m || !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
		return m;

	uint32_t l4 = (uint32_t)m->l2_len + m->l3_len;
	uint32_t len = m->pkt_len - l4;
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	struct l4_at at;

	// A device reads its headers from the first segment.
	if (locate(m, p, m->data_len, &at) < 0 || p[l4 + 12] >> 4 < 5) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	// One's complement subtraction: add the complement of each half, then fold.
	uint32_t sum = be16(p + at.csum) + (~len & 0xffff) + (~(len >> 16) & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	put16(p + at.csum, (sum & 0xffff) + (sum >> 16));
	m->l4_len = (uint64_t)(p[l4 + 12] >> 4) * 4 & 0xff;
	if (at.v4) {
		put16(p + at.l3 + 10, 0);
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	}
	return m;
}

/* The last extension header before l4 must not make the packet a fragment. */
static bool is_fragment(const uint8_t *hdr, const struct l4_at *at)
{
	if (at->v4)
		return (be16(hdr + at->l3 + 6) & 0x3fff) != 0;

	uint8_t next = hdr[at->l3 + 6];
	uint32_t off = at->l3 + 40;

	while (off + 8 <= at->l4) {
		if (next == IPPROTO_FRAGMENT)
			return true;
		next = hdr[off];
		off += 8u + 8u * hdr[off + 1];
	}
	return false;
}

int odp_seg_init(struct odp_seg *s, struct rte_mbuf *m, struct rte_mempool *pool)
{
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)sizeof(s->hdr));
	const uint8_t *hdr = rte_pktmbuf_read(m, 0, n, s->hdr);
	struct l4_at at;

	if (!hdr || m->tso_segsz == 0 || locate(m, hdr, n, &at) < 0)
		return -EBADMSG;
	uint32_t l4_len = at.tcp ? (uint32_t)(hdr[at.l4 + 12] >> 4) * 4 : 8;

	if (l4_len < 8 || (at.tcp && l4_len < 20) || l4_len > n - at.l4 ||
		l4_len > at.end - at.l4 || is_fragment(hdr, &at))
		return -EBADMSG;
	s->hdr_len = at.l4 + l4_len;
	s->payload = at.end - s->hdr_len;
	s->size = m->tso_segsz;
	if ((s->payload + s->size - 1) / s->size > ODP_SEGS_MAX)
		return -EBADMSG;
	if (hdr != s->hdr)
		memcpy(s->hdr, hdr, s->hdr_len);
	s->m = m;
	s->pool = pool;
	s->off = 0;
	s->n = 0;
	s->v4 = at.v4;
	s->tcp = at.tcp;
	s->ip_id = at.v4 ? be16(hdr + at.l3 + 4) : 0;
	if (at.tcp) {
		dpu_be32 seq;

		memcpy(&seq, hdr + at.l4 + 4, sizeof(seq));
		s->tcp_seq = dpu_be32_get(seq);
	}
	return 0;
}

/* Append bytes off..off+len of the frame to `to`, growing it by segments from the pool. */
static int append(struct odp_seg *s, struct rte_mbuf *to, uint32_t off, uint32_t len)
{
	const struct rte_mbuf *from = s->m;
	struct rte_mbuf *last = to;

	while (from && off >= from->data_len) {
		off -= from->data_len;
		from = from->next;
	}
	while (len > 0) {
		uint32_t room = rte_pktmbuf_tailroom(last);

		if (!from)
			return -ENOMEM;
		if (room == 0) {
			last->next = rte_pktmbuf_alloc(s->pool);
			if (!last->next)
				return -ENOMEM;
			last = last->next;
			last->data_off = 0;
			to->nb_segs++;
			continue;
		}
		uint32_t n = RTE_MIN(RTE_MIN(len, room), from->data_len - off);

		memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len),
			rte_pktmbuf_mtod_offset(from, const uint8_t *, off), n);
		last->data_len = (uint16_t)(last->data_len + n);
		to->pkt_len += n;
		len -= n;
		off += n;
		if (off == from->data_len) {
			from = from->next;
			off = 0;
		}
	}
	return 0;
}

/* Headers of the segment that carries payload bytes off..off+len. */
static void write_headers(struct odp_seg *s, uint8_t *h, uint32_t len)
{
	const struct rte_mbuf *m = s->m;
	struct l4_at at = {
		.l3 = m->l2_len, .l4 = (uint32_t)m->l2_len + m->l3_len, .v4 = s->v4, .tcp = s->tcp
	};
	uint32_t l4_bytes = s->hdr_len - at.l4 + len;

	memcpy(h, s->hdr, s->hdr_len);
	if (s->v4) {
		uint8_t *ip = h + at.l3;

		put16(ip + 2, m->l3_len + l4_bytes);
		put16(ip + 4, s->ip_id + s->n);
		put16(ip + 10, 0);
		uint16_t sum = (uint16_t)~rte_raw_cksum(ip, m->l3_len);
		memcpy(ip + 10, &sum, sizeof(sum));
	} else {
		put16(h + at.l3 + 4, m->l3_len - 40 + l4_bytes);
	}
	uint8_t *l4 = h + at.l4;

	if (s->tcp) {
		dpu_be32 seq = dpu_be32_put(s->tcp_seq + s->off);

		memcpy(l4 + 4, &seq, sizeof(seq));
		if (s->n > 0)
			l4[13] &= (uint8_t)~TCP_CWR;
		if (s->off + len < s->payload)
			l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		put16(l4 + 16, pseudo_sum(h, &at, l4_bytes));
	} else {
		put16(l4 + 4, l4_bytes);
		put16(l4 + 6, pseudo_sum(h, &at, l4_bytes));
	}
}

int odp_seg_next(struct odp_seg *s, struct rte_mbuf **out, unsigned max)
{
	unsigned made = 0;

	while (made < max && (s->off < s->payload || s->n == 0)) {
		uint32_t len = RTE_MIN(s->size, s->payload - s->off);
		struct rte_mbuf *p = rte_pktmbuf_alloc(s->pool);
		uint8_t *h = p ? (uint8_t *)rte_pktmbuf_append(p, (uint16_t)s->hdr_len) : NULL;

		if (!h || append(s, p, s->hdr_len + s->off, len) < 0) {
			rte_pktmbuf_free(p);
			rte_pktmbuf_free_bulk(out, made);
			return -ENOMEM;
		}
		write_headers(s, h, len);
		p->port = s->m->port;
		p->l2_len = s->m->l2_len;
		p->l3_len = s->m->l3_len;
		p->l4_len = s->hdr_len - s->m->l2_len - s->m->l3_len;
		p->ol_flags = (s->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
			      (s->v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
		s->off += len;
		s->n++;
		out[made++] = p;
	}
	return (int)made;
}

void odp_seg_fini(struct odp_seg *s)
{
	rte_pktmbuf_free(s->m);
	s->m = NULL;
}
