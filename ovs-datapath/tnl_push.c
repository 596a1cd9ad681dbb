// SPDX-License-Identifier: Apache-2.0
/*
 * Outer headers on. Everything that is the same for all packets of a tunnel lies composed in a
 * template; lengths, the IPv4 id, inherited fields and sums are filled in for each packet.
 */
#include "tnl.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_branch_prediction.h>
#include <rte_ip.h>

#include "inet.h"
#include "key.h"
#include "sw_offload.h"

#define TTL_DEFAULT 64
#define ECN_MASK 3u
#define HEAD_BYTES 256u // of an inner packet whose headers go along into a new first segment

typedef int encode_fn(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);

static encode_fn *const encoders[ODP_TNL_TYPES] = {
	[ODP_TNL_VXLAN] = odp_vxlan_encode,
	[ODP_TNL_VXLAN_GBP] = odp_vxlan_gbp_encode,
	[ODP_TNL_VXLAN_GPE] = odp_vxlan_gpe_encode,
	[ODP_TNL_GENEVE] = odp_geneve_encode,
	[ODP_TNL_GRE] = odp_gre_encode,
};

static const uint64_t tunnel_flag[ODP_TNL_TYPES] = {
	[ODP_TNL_VXLAN] = RTE_MBUF_F_TX_TUNNEL_VXLAN,
	[ODP_TNL_VXLAN_GBP] = RTE_MBUF_F_TX_TUNNEL_VXLAN,
	[ODP_TNL_VXLAN_GPE] = RTE_MBUF_F_TX_TUNNEL_VXLAN_GPE,
	[ODP_TNL_GENEVE] = RTE_MBUF_F_TX_TUNNEL_GENEVE,
	[ODP_TNL_GRE] = RTE_MBUF_F_TX_TUNNEL_GRE,
};

/* ---- composing ---- */

static size_t compose_eth(const struct odp_tnl_link *link, uint8_t family, uint8_t *h)
{
	size_t at = 12;

	memcpy(h, link->eth_dst, 6);
	memcpy(h + 6, link->eth_src, 6);
	if (link->vlan) {
		odp_put16(h + at, ODP_ETH_VLAN);
		odp_put16(h + at + 2, link->vlan & ~0x1000u);
		at += 4;
	}
	odp_put16(h + at, family == 4 ? ODP_ETH_IPV4 : ODP_ETH_IPV6);
	return at + 2;
}

static size_t compose_ip(const struct odp_tnl_key *key, uint8_t proto, uint8_t *ip)
{
	uint8_t ttl = key->ttl ? key->ttl : TTL_DEFAULT;

	if (key->family == 4) {
		ip[0] = 0x45;
		ip[1] = key->tos;
		if (key->flags & ODP_TNL_F_DF)
			ip[6] = 0x40;
		ip[8] = ttl;
		ip[9] = proto;
		memcpy(ip + 12, key->src, 4);
		memcpy(ip + 16, key->dst, 4);
		return ODP_IPV4_LEN;
	}
	odp_put16(ip, 0x6000 | (uint32_t)key->tos << 4);
	ip[6] = proto;
	ip[7] = ttl;
	memcpy(ip + 8, key->src, 16);
	memcpy(ip + 24, key->dst, 16);
	return ODP_IPV6_LEN;
}

void odp_tnl_tmpl_sums(struct odp_tnl_tmpl *t)
{
	const uint8_t *ip = t->hdr + t->l2_len;
	size_t addrs = t->family == 4 ? 8 : 32;

	t->pseudo_sum = odp_sum(ip + t->l3_len - addrs, addrs, t->udp ? IPPROTO_UDP : IPPROTO_GRE);
	if (t->family == 4)
		t->ip_sum = odp_sum(ip, ODP_IPV4_LEN, 0) - ip[1] - ((uint32_t)ip[8] << 8);
}

int odp_tnl_compose(enum odp_tnl_type type, const struct odp_tnl_key *key, uint16_t inner,
	const struct odp_tnl_link *link, unsigned inherit, struct odp_tnl_tmpl *out)
{
	struct odp_tnl_tmpl t = { .type = type, .udp = type != ODP_TNL_GRE };
	uint8_t proto = t.udp ? IPPROTO_UDP : IPPROTO_GRE;
	size_t at;
	int n;

	if ((unsigned)type >= ODP_TNL_TYPES || (key->family != 4 && key->family != 6) ||
		t.udp != (key->tp_dst != 0) ||
		(inner != ODP_INNER_ETH && inner != ODP_INNER_IPV4 && inner != ODP_INNER_IPV6))
		return -EINVAL;
	at = compose_eth(link, key->family, t.hdr);
	t.l2_len = (uint16_t)at;
	t.l3_len = (uint16_t)compose_ip(key, proto, t.hdr + at);
	at += t.l3_len;
	if (t.udp) {
		odp_put16(t.hdr + at, key->tp_src);
		odp_put16(t.hdr + at + 2, key->tp_dst);
		at += ODP_UDP_LEN;
	}
	n = encoders[type](key, inner, t.hdr + at, sizeof(t.hdr) - at);
	if (n < 0)
		return -EINVAL;
	t.len = (uint16_t)(at + (size_t)n);
	t.mtu = link->mtu;
	t.family = key->family;
	t.inherit = (uint8_t)inherit;
	t.csum = key->flags & ODP_TNL_F_CSUM;
	t.inner = inner;
	t.tp_src = key->tp_src;
	odp_tnl_tmpl_sums(&t);
	*out = t;
	return 0;
}

uint32_t odp_tnl_inner_mtu(const struct odp_tnl_tmpl *t)
{
	return odp_tnl_inner_mtu_over(t, t->mtu);
}

uint32_t odp_tnl_inner_mtu_over(const struct odp_tnl_tmpl *t, uint32_t mtu)
{
	uint32_t over = (uint32_t)t->len - t->l2_len +
			(t->inner == ODP_INNER_ETH ? ODP_ETH_LEN : 0);

	return mtu > over ? mtu - over : mtu ? 1 : 0;
}

/* No secret: who sends the inner packets may know how they spread over the underlay. */
static uint64_t mix2(uint64_t a, uint64_t b)
{
	return odp_mix(a ^ 0x9e3779b97f4a7c15, b ^ 0xd6e8feb86659fd93);
}

uint32_t odp_tnl_inner_hash(const struct odp_key *key)
{
	uint64_t a[4] = { 0 };
	uint32_t ports = 0;
	uint64_t h;

	if (key->ip_proto == 0) {
		memcpy(&a[0], key->eth_dst, 6);
		memcpy(&a[1], key->eth_src, 6);
	} else {
		memcpy(a, key->l3_bytes, sizeof(a));
	}
	if (key->ip_frag == ODP_FRAG_NONE)
		memcpy(&ports, &key->tp_src, sizeof(ports));
	h = mix2(mix2(a[0], a[1]), mix2(a[2], a[3]));
	h = mix2(h, (uint64_t)key->ip_proto << 32 | ports);
	return (uint32_t)(h ^ h >> 32);
}

/* ---- pushing ---- */

static bool private_head(const struct rte_mbuf *m)
{
	return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

/*
 * A first segment with `len` bytes of room and the packet's first bytes, in front of the rest of
 * the packet. Others may hold the bytes; the mbufs that point to them are this packet's own. On
 * failure the packet is freed.
 */
static int new_head(struct rte_mbuf **pkt, uint32_t len, struct rte_mempool *pool)
{
	struct rte_mbuf *m = *pkt, *h = rte_pktmbuf_alloc(pool);
	uint32_t n = RTE_MIN(m->data_len, HEAD_BYTES);

	if (!h || len + n > h->buf_len) {
		rte_pktmbuf_free(h);
		rte_pktmbuf_free(m);
		*pkt = NULL;
		return -ENOMEM;
	}
	h->data_off = (uint16_t)len;
	h->data_len = (uint16_t)n;
	memcpy(rte_pktmbuf_mtod(h, uint8_t *), rte_pktmbuf_mtod(m, uint8_t *), n);
	h->pkt_len = m->pkt_len;
	h->nb_segs = (uint16_t)(m->nb_segs + 1);
	h->port = m->port;
	h->ol_flags = m->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
	h->tx_offload = m->tx_offload;
	h->packet_type = m->packet_type;
	h->hash = m->hash;
	h->vlan_tci = m->vlan_tci;
	rte_mbuf_dynfield_copy(h, m);
	if (n < m->data_len) {
		h->next = m;
		(void)rte_pktmbuf_adj(m, (uint16_t)n);
	} else {
		h->next = m->next;
		h->nb_segs--;
		m->next = NULL;
		m->nb_segs = 1;
		rte_pktmbuf_free_seg(m);
	}
	*pkt = h;
	return 0;
}

/* DSCP, ECN and hop limit of the inner packet; false: it has no IP header to inherit from. */
static bool inner_fields(const uint8_t *p, size_t n, uint16_t inner, uint8_t *tos, uint8_t *ttl)
{
	uint16_t type = inner;
	size_t off = 0;

	if (inner == ODP_INNER_ETH && !odp_eth_l3(p, n, &off, &type))
		return false;
	p += off;
	n -= off;
	if (type == ODP_ETH_IPV4 && n >= ODP_IPV4_LEN && p[0] >> 4 == 4) {
		*tos = p[1];
		*ttl = p[8];
		return true;
	}
	if (type == ODP_ETH_IPV6 && n >= ODP_IPV6_LEN && p[0] >> 4 == 6) {
		*tos = (uint8_t)(odp_get16(p) >> 4);
		*ttl = p[7];
		return true;
	}
	return false;
}

/* tos, ttl: of the inner packet; NULL: it has none. */
static inline void write_ip(const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx, uint32_t hash,
	uint8_t *ip, uint32_t len, const uint8_t *in_tos, const uint8_t *in_ttl)
{
	const uint8_t *was = t->hdr + t->l2_len;
	bool v4 = t->family == 4;
	uint8_t tos = v4 ? was[1] : (uint8_t)(odp_get16(was) >> 4);
	uint8_t ttl = v4 ? was[8] : was[7];

	if (likely(in_tos)) {
		if (t->inherit & ODP_TNL_INHERIT_TOS)
			tos = *in_tos;
		tos = (uint8_t)((tos & ~ECN_MASK) | (*in_tos & ECN_MASK));
		if (t->inherit & ODP_TNL_INHERIT_TTL)
			ttl = *in_ttl;
	}
	if (!v4) {
		// The flow label spreads what has no ports to be told apart by: RFC 6438, section 3
		odp_put32(ip, 0x60000000 | (uint32_t)tos << 20 | (hash & 0xfffff));
		odp_put16(ip + 4, len - ODP_IPV6_LEN);
		ip[7] = ttl;
		return;
	}
	// With DF set the id says nothing and may be the same always (RFC 6864, section 4.1).
	uint16_t id = was[6] & 0x40 ? 0 : tx->ip_id++;

	ip[1] = tos;
	odp_put16(ip + 2, len);
	odp_put16(ip + 4, id);
	ip[8] = ttl;
	odp_put16(ip + 10, (uint16_t)~odp_fold(t->ip_sum + tos + len + id + ((uint32_t)ttl << 8)));
}

static inline void write_udp(
	const struct odp_tnl_tmpl *t, struct rte_mbuf *m, uint8_t *udp, uint32_t len, uint32_t hash)
{
	if (t->tp_src == 0)
		odp_put16(udp, odp_tnl_src_port(hash));
	odp_put16(udp + 4, len);
	if (!t->csum)
		return;
	odp_put16(udp + 6, odp_fold(t->pseudo_sum + len));
	if (m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK) {
		m->ol_flags |= RTE_MBUF_F_TX_OUTER_UDP_CKSUM;
		return;
	}
	m->l2_len = t->l2_len;
	m->l3_len = t->l3_len;
	m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM |
		       (t->family == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
}

/* GRE's checksum stands behind its first word. */
static int write_gre(struct rte_mbuf *m, uint32_t off)
{
	uint16_t sum;

	if (odp_raw_sum(m, off, m->pkt_len - off, &sum) < 0)
		return -EBADMSG;
	odp_put16(rte_pktmbuf_mtod(m, uint8_t *) + off + 4, (uint16_t)~rte_be_to_cpu_16(sum));
	return 0;
}

/* From the request for the inner packet to one behind outer headers, in DPDK's terms. */
static void hw_request(struct rte_mbuf *m, const struct odp_tnl_tmpl *t)
{
	m->outer_l2_len = t->l2_len;
	m->outer_l3_len = t->l3_len;
	m->l2_len = (uint64_t)(t->len - t->l2_len - t->l3_len + m->l2_len) & 0x7f;
	m->ol_flags |= tunnel_flag[t->type] |
		       (t->family == 4 ? RTE_MBUF_F_TX_OUTER_IPV4 : RTE_MBUF_F_TX_OUTER_IPV6);
}

/* The headers themselves, into a first segment that is ours. */
static int put_on(
	struct rte_mbuf *m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx, uint32_t hash)
{
	const uint8_t *inner = rte_pktmbuf_mtod(m, const uint8_t *);
	size_t n = m->data_len;
	uint8_t *h = (uint8_t *)rte_pktmbuf_prepend(m, t->len);
	uint32_t l4 = (uint32_t)t->l2_len + t->l3_len;
	uint8_t tos, ttl;
	bool ip;

	if (!h)
		return -ENOMEM;
	ip = inner_fields(inner, n, t->inner, &tos, &ttl);
	memcpy(h, t->hdr, t->len);
	m->packet_type = 0;
	m->ol_flags &= ~(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK);
	write_ip(t, tx, hash, h + t->l2_len, m->pkt_len - t->l2_len, ip ? &tos : NULL, &ttl);
	if (t->udp)
		write_udp(t, m, h + l4, m->pkt_len - l4, hash);
	else if (t->csum)
		return write_gre(m, l4);
	return 0;
}

/* A private first segment with room for the outer headers. */
static int make_room(struct rte_mbuf **m, uint32_t len, struct rte_mempool *pool)
{
	if (private_head(*m) && rte_pktmbuf_headroom(*m) >= len)
		return 0;
	return new_head(m, len, pool);
}

/* The field lies in the first segment or is written in a copy, never in what others hold. */
static int complete(struct rte_mbuf **m, struct rte_mempool *pool)
{
	uint32_t hdr = (uint32_t)(*m)->l2_len + (*m)->l3_len + 20;

	if (!private_head(*m) || (*m)->data_len < hdr) {
		*m = (*m)->ol_flags & ODP_F_LENT ? odp_own(*m, pool) : odp_unshare(*m, pool);
		if (!*m)
			return -ENOMEM;
	}
	return odp_csum_complete(*m);
}

static bool too_long(const struct odp_tnl_tmpl *t, uint32_t inner_len)
{
	uint32_t l3 = t->len - t->l2_len + inner_len;

	return (t->mtu && l3 > t->mtu) || l3 > UINT16_MAX;
}

int odp_tnl_push(
	struct rte_mbuf **m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx, uint32_t hash)
{
	int ret;

	if ((*m)->ol_flags & ODP_F_GSO)
		return -EBADMSG;
	if (too_long(t, (*m)->pkt_len))
		return -EMSGSIZE;
	if ((*m)->ol_flags & ODP_F_L4_CSUM) {
		ret = complete(m, tx->pool);
		if (ret < 0)
			return ret;
	}
	ret = make_room(m, t->len, tx->pool);
	return ret < 0 ? ret : put_on(*m, t, tx, hash);
}

/* A template's bytes. Most are 42 to 62: two copies of fixed length that overlap. */
static inline void copy_hdr(uint8_t *to, const struct odp_tnl_tmpl *t)
{
	uint32_t len = t->len;

	if (likely(len >= 32 && len <= 64)) {
		memcpy(to, t->hdr, 32);
		memcpy(to + len - 32, t->hdr + len - 32, 32);
	} else {
		memcpy(to, t->hdr, len);
	}
}

bool odp_tnl_push_plain(struct rte_mbuf *m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx,
	const struct odp_tnl_inner *in)
{
	const uint64_t others = ODP_F_GSO | ODP_F_L4_CSUM | ODP_F_LENT | RTE_MBUF_F_INDIRECT |
				RTE_MBUF_F_EXTERNAL;
	uint32_t l2 = t->l2_len, l4 = l2 + t->l3_len, len = t->len;
	const uint8_t *inner;
	uint8_t tos, *h;

	if (unlikely((m->ol_flags & others) || rte_mbuf_refcnt_read(m) != 1 || m->data_off < len ||
		     too_long(t, m->pkt_len) || (!t->udp && t->csum)))
		return false;
	inner = rte_pktmbuf_mtod_offset(m, const uint8_t *, in->l3);
	tos = in->v6 ? (uint8_t)(odp_get16(inner) >> 4) : inner[1];
	m->data_off = (uint16_t)(m->data_off - len);
	m->data_len = (uint16_t)(m->data_len + len);
	m->pkt_len += len;
	h = rte_pktmbuf_mtod(m, uint8_t *);
	copy_hdr(h, t);
	m->packet_type = 0;
	m->ol_flags &= ~(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK);
	write_ip(t, tx, in->hash, h + l2, m->pkt_len - l2, &tos, inner + (in->v6 ? 7 : 8));
	if (t->udp)
		write_udp(t, m, h + l4, m->pkt_len - l4, in->hash);
	return true;
}

/* The whole request, GSO or checksum, left to the port. */
static int push_hw(
	struct rte_mbuf **m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx, uint32_t hash)
{
	int ret;

	*m = odp_to_ethdev(*m, tx->pool);
	if (!*m)
		return -ENOMEM;
	ret = make_room(m, t->len, tx->pool);
	if (ret < 0)
		return ret;
	hw_request(*m, t);
	return put_on(*m, t, tx, hash);
}

int odp_tnl_out_init(struct odp_tnl_out *o, struct rte_mbuf *m, const struct odp_tnl_tmpl *t,
	struct odp_tnl_tx *tx, uint32_t hash)
{
	bool gso = m->ol_flags & ODP_F_GSO;
	int ret;

	*o = (struct odp_tnl_out){ .t = t, .tx = tx, .hash = hash };
	if (gso) {
		ret = odp_seg_init(&o->seg, m, tx->pool);
		if (ret < 0)
			return ret;
		if (too_long(t, o->seg.hdr_len + RTE_MIN(o->seg.size, o->seg.payload)))
			return -EMSGSIZE;
	} else if (too_long(t, m->pkt_len)) {
		return -EMSGSIZE;
	}
	o->gso = gso && !tx->hw;
	if (!o->gso)
		o->one = m;
	return 0;
}

static int next_one(struct odp_tnl_out *o, struct rte_mbuf **out)
{
	struct rte_mbuf *m = o->one;
	uint64_t asks = ODP_F_GSO | ODP_F_L4_CSUM;
	int ret;

	if (!m)
		return 0;
	o->one = NULL;
	ret = o->tx->hw && (m->ol_flags & asks) ? push_hw(&m, o->t, o->tx, o->hash)
						: odp_tnl_push(&m, o->t, o->tx, o->hash);
	if (ret < 0) {
		rte_pktmbuf_free(m);
		return ret;
	}
	out[0] = m;
	return 1;
}

int odp_tnl_out_next(struct odp_tnl_out *o, struct rte_mbuf **out, unsigned max)
{
	int n, ret = 0;

	if (max == 0)
		return 0;
	if (!o->gso)
		return next_one(o, out);
	n = odp_seg_next(&o->seg, out, max);
	for (int i = 0; i < n && ret == 0; i++)
		ret = odp_tnl_push(&out[i], o->t, o->tx, o->hash);
	if (ret < 0) {
		rte_pktmbuf_free_bulk(out, (unsigned)n);
		return ret;
	}
	return n;
}

void odp_tnl_out_fini(struct odp_tnl_out *o)
{
	rte_pktmbuf_free(o->one);
	o->one = NULL;
	if (o->gso)
		odp_seg_fini(&o->seg);
}
