// SPDX-License-Identifier: Apache-2.0
/* Outer headers off: whose packet it is, whether to believe it, and what is left of it. */
#include "tnl.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <rte_branch_prediction.h>
#include <rte_ip.h>

#include "dpu_alloc.h"
#include "inet.h"
#include "sw_offload.h"

#define BUCKETS 64u
#define ECN_MASK 3u
#define ECN_CE 3u
#define RX_CKSUM (RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK)

typedef int decode_fn(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);

static decode_fn *const decoders[ODP_TNL_TYPES] = {
	[ODP_TNL_VXLAN] = odp_vxlan_decode,
	[ODP_TNL_VXLAN_GBP] = odp_vxlan_gbp_decode,
	[ODP_TNL_VXLAN_GPE] = odp_vxlan_gpe_decode,
	[ODP_TNL_GENEVE] = odp_geneve_decode,
	[ODP_TNL_GRE] = odp_gre_decode,
};

int odp_tnl_decode(
	enum odp_tnl_type type, struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	return decoders[type](in, key, inner);
}

/*
 * Vports in chains by their port, those with an address before those without: the first that fits
 * is the one.
 */
struct odp_tnl_demux {
	unsigned n;
	uint16_t first[BUCKETS]; // index of a vport + 1
	uint16_t next[ODP_TNL_VPORTS_MAX];
	struct odp_tnl_vport vports[];
};

static unsigned bucket(uint16_t udp_port)
{
	return (udp_port ^ udp_port >> 6) % BUCKETS;
}

static size_t addr_len(uint8_t family)
{
	return family == 4 ? 4 : family == 6 ? 16 : 0;
}

static bool valid(const struct odp_tnl_vport *v)
{
	return (unsigned)v->type < ODP_TNL_TYPES &&
	       (v->type == ODP_TNL_GRE) == (v->udp_port == 0) &&
	       (v->family == 0 || v->family == 4 || v->family == 6) &&
	       v->n_known <= ODP_TNL_KNOWN_MAX;
}

static bool same(const struct odp_tnl_vport *a, const struct odp_tnl_vport *b)
{
	return a->udp_port == b->udp_port && a->family == b->family &&
	       memcmp(a->local, b->local, addr_len(a->family)) == 0;
}

static void chain(struct odp_tnl_demux *d, unsigned idx)
{
	const struct odp_tnl_vport *v = &d->vports[idx];
	uint16_t *at = &d->first[bucket(v->udp_port)];

	if (v->family == 0)
		while (*at)
			at = &d->next[*at - 1];
	d->next[idx] = *at;
	*at = (uint16_t)(idx + 1);
}

int odp_tnl_demux_create(const struct odp_tnl_vport *vports, unsigned n, struct odp_tnl_demux **out)
{
	struct odp_tnl_demux *d;

	if (n > ODP_TNL_VPORTS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		if (!valid(&vports[i]))
			return -EINVAL;
		for (unsigned k = 0; k < i; k++)
			if (same(&vports[k], &vports[i]))
				return -EEXIST;
	}
	d = dpu_calloc(1, sizeof(*d) + n * sizeof(d->vports[0]));
	if (!d)
		return -ENOMEM;
	d->n = n;
	for (unsigned i = 0; i < n; i++) {
		d->vports[i] = vports[i];
		chain(d, i);
	}
	*out = d;
	return 0;
}

void odp_tnl_demux_destroy(struct odp_tnl_demux *d)
{
	free(d);
}

bool odp_tnl_demux_has(const struct odp_tnl_demux *d, uint16_t udp_port)
{
	for (unsigned i = d->first[bucket(udp_port)]; i; i = d->next[i - 1])
		if (d->vports[i - 1].udp_port == udp_port)
			return true;
	return false;
}

/* Outer headers up to layer 4. Pointers go into the packet's first segment. */
struct outer {
	const uint8_t *base; // the packet
	const uint8_t *ip, *src, *dst;
	uint32_t n; // bytes at `base`
	uint32_t l4; // offset
	uint32_t end; // offset at which the IP packet ends
	uint8_t family, proto, tos, ttl;
	bool df, fragment;
};

static int parse_ipv4(struct outer *o, uint32_t l3, uint32_t pkt_len)
{
	const uint8_t *ip = o->base + l3;
	uint32_t ihl, total;

	if (o->n - l3 < ODP_IPV4_LEN || ip[0] >> 4 != 4)
		return -EBADMSG;
	ihl = (uint32_t)(ip[0] & 15) * 4;
	total = odp_get16(ip + 2);
	if (ihl < ODP_IPV4_LEN || ihl > o->n - l3 || total < ihl || total > pkt_len - l3)
		return -EBADMSG;
	o->family = 4;
	o->proto = ip[9];
	o->tos = ip[1];
	o->ttl = ip[8];
	o->df = ip[6] & 0x40;
	o->fragment = (odp_get16(ip + 6) & 0x3fff) != 0;
	o->src = ip + 12;
	o->dst = ip + 16;
	o->l4 = l3 + ihl;
	o->end = l3 + total;
	return 0;
}

/* Tunnels' senders put no extension headers; a fragment header is seen as what it is. */
static int parse_ipv6(struct outer *o, uint32_t l3, uint32_t pkt_len)
{
	const uint8_t *ip = o->base + l3;
	uint32_t total;

	if (o->n - l3 < ODP_IPV6_LEN || ip[0] >> 4 != 6)
		return -EBADMSG;
	total = ODP_IPV6_LEN + odp_get16(ip + 4);
	if (total > pkt_len - l3)
		return -EBADMSG;
	o->family = 6;
	o->proto = ip[6];
	o->tos = (uint8_t)(odp_get16(ip) >> 4);
	o->ttl = ip[7];
	o->df = false;
	o->fragment = ip[6] == IPPROTO_FRAGMENT;
	o->src = ip + 8;
	o->dst = ip + 24;
	o->l4 = l3 + ODP_IPV6_LEN;
	o->end = l3 + total;
	return 0;
}

static int parse(const struct rte_mbuf *m, struct outer *o)
{
	uint16_t type;
	size_t l3;

	o->base = rte_pktmbuf_mtod(m, const uint8_t *);
	o->n = m->data_len;
	if (!odp_eth_l3(o->base, o->n, &l3, &type))
		return -EBADMSG;
	o->ip = o->base + l3;
	if (type == ODP_ETH_IPV4)
		return parse_ipv4(o, (uint32_t)l3, m->pkt_len);
	if (type == ODP_ETH_IPV6)
		return parse_ipv6(o, (uint32_t)l3, m->pkt_len);
	return -ENOENT;
}

/* The port that says which tunnel it is; 0 for GRE. False: neither UDP nor GRE. */
static bool outer_port(const struct outer *o, uint16_t *port)
{
	*port = 0;
	if (o->proto == IPPROTO_GRE)
		return true;
	if (o->proto != IPPROTO_UDP || o->n - o->l4 < ODP_UDP_LEN || o->end - o->l4 < ODP_UDP_LEN)
		return false;
	*port = odp_get16(o->base + o->l4 + 2);
	return *port != 0;
}

static bool takes(const struct odp_tnl_vport *v, const struct outer *o, uint16_t port)
{
	return v->udp_port == port &&
	       (v->family == 0 || (v->family == o->family &&
					  memcmp(v->local, o->dst, addr_len(v->family)) == 0));
}

const struct odp_tnl_vport *odp_tnl_classify(
	const struct odp_tnl_demux *d, const struct rte_mbuf *m)
{
	struct outer o;
	uint16_t port;

	if (d->n == 0 || parse(m, &o) < 0 || !outer_port(&o, &port))
		return NULL;
	for (unsigned i = d->first[bucket(port)]; i; i = d->next[i - 1])
		if (takes(&d->vports[i - 1], &o, port))
			return &d->vports[i - 1];
	return NULL;
}

/* What the port that received the packet verified of the outer headers. */
struct verified {
	bool ip, l4;
	bool inner_l4;
};

/*
 * A device that looks into tunnels reports on the innermost layer 4, and on the outer one in bits
 * of its own; one that does not, on the only one that it saw.
 */
static struct verified verified(const struct rte_mbuf *m)
{
	bool inside = RTE_ETH_IS_TUNNEL_PKT(m->packet_type) &&
		      (m->packet_type & RTE_PTYPE_INNER_L4_MASK);
	uint64_t f = m->ol_flags;
	bool l4 = (f & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	return (struct verified){
		.ip = !inside && (f & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD,
		.l4 = inside ? (f & RTE_MBUF_F_RX_OUTER_L4_CKSUM_MASK) ==
				       RTE_MBUF_F_RX_OUTER_L4_CKSUM_GOOD
			     : l4,
		.inner_l4 = inside && l4,
	};
}

static bool sum_is_right(const struct rte_mbuf *m, uint32_t off, uint32_t len, uint32_t pseudo)
{
	uint16_t sum;

	if (odp_raw_sum(m, off, len, &sum) < 0)
		return false;
	return odp_fold(pseudo + rte_be_to_cpu_16(sum)) == 0xffff;
}

/* Bounds `o->end` by the UDP header's own length; behind it is padding. */
static int check_udp(const struct rte_mbuf *m, const struct odp_tnl_vport *v, struct outer *o,
	bool good, bool requested)
{
	const uint8_t *udp = o->base + o->l4;
	uint32_t len = odp_get16(udp + 4);
	uint32_t pseudo;

	if (len < ODP_UDP_LEN || len > o->end - o->l4)
		return -EBADMSG;
	o->end = o->l4 + len;
	if (odp_get16(udp + 6) == 0)
		return o->family == 6 && !v->zero_csum6 ? -EILSEQ : 0;
	if (good || requested)
		return 0;
	pseudo = odp_sum(o->src, 2 * addr_len(o->family), IPPROTO_UDP + len);
	return sum_is_right(m, o->l4, len, pseudo) ? 0 : -EILSEQ;
}

static int check_outer(const struct rte_mbuf *m, const struct odp_tnl_vport *v, struct outer *o)
{
	struct verified good = verified(m);
	uint64_t request = m->ol_flags & ODP_F_L4_CSUM;
	uint16_t port;
	int ret = parse(m, o);

	if (ret < 0)
		return ret;
	if (o->fragment)
		return -EAGAIN;
	if (!outer_port(o, &port) || !takes(v, o, port))
		return -ENOENT;
	// A request is one for the outer UDP header, from a neighbour in this memory, or nonsense.
	if ((m->ol_flags & ODP_F_GSO) ||
		(request && (request != RTE_MBUF_F_TX_UDP_CKSUM || port == 0 ||
				    (uint32_t)m->l2_len + m->l3_len != o->l4)))
		return -EBADMSG;
	if (o->family == 4 && !good.ip &&
		odp_fold(odp_sum(o->ip, (size_t)(o->ip[0] & 15) * 4, 0)) != 0xffff)
		return -EILSEQ;
	return port ? check_udp(m, v, o, good.l4, request != 0) : 0;
}

/*
 * check_outer() for what nearly all packets are: one segment without a request, IPv4 without
 * options, UDP without a checksum or with one that the port verified, no congestion on the way.
 * False: another one, and be it for one bit; nothing is refused here.
 */
static inline bool check_plain(
	const struct rte_mbuf *m, const struct odp_tnl_vport *v, struct outer *o)
{
	const uint64_t asks = ODP_F_GSO | ODP_F_L4_CSUM | ODP_F_LENT;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip = p + ODP_ETH_LEN;
	const uint8_t *udp = ip + ODP_IPV4_LEN;
	uint32_t total = odp_ipv4_plain(p, m->data_len, m->pkt_len);

	if (!total || m->nb_segs != 1 || (m->ol_flags & asks) ||
		(m->packet_type & RTE_PTYPE_TUNNEL_MASK) || (ip[1] & ECN_MASK) ||
		ip[9] != IPPROTO_UDP || odp_get16(udp + 2) != v->udp_port || v->udp_port == 0)
		return false;
	if (odp_get16(udp + 4) != total - ODP_IPV4_LEN ||
		(v->family && (v->family != 4 || memcmp(v->local, ip + 16, 4) != 0)) ||
		odp_fold(odp_sum(ip, ODP_IPV4_LEN, 0)) != 0xffff ||
		((udp[6] | udp[7]) &&
			(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_GOOD))
		return false;
	*o = (struct outer){ .base = p,
		.ip = ip,
		.src = ip + 12,
		.dst = ip + 16,
		.n = m->data_len,
		.l4 = ODP_ETH_LEN + ODP_IPV4_LEN,
		.end = ODP_ETH_LEN + total,
		.family = 4,
		.proto = IPPROTO_UDP,
		.tos = ip[1],
		.ttl = ip[8],
		.df = ip[6] & 0x40 };
	return true;
}

/* Where the inner packet's IP header is; 0 in *type for none. */
static int inner_ip(
	const uint8_t *p, size_t n, size_t len, uint16_t inner, size_t *off, uint16_t *type)
{
	*off = 0;
	*type = inner;
	if (inner == ODP_INNER_ETH) {
		if (len < ODP_ETH_LEN)
			return -EBADMSG;
		if (!odp_eth_l3(p, n, off, type))
			*type = 0;
	}
	// A header that is cut short is the next parser's matter, but not without an Ethernet one.
	size_t min = *type == ODP_ETH_IPV4 ? ODP_IPV4_LEN : ODP_IPV6_LEN;

	if (*type != ODP_ETH_IPV4 && *type != ODP_ETH_IPV6) {
		*type = 0;
		return inner == ODP_INNER_ETH ? 0 : -EOPNOTSUPP;
	}
	if (n < *off + min || p[*off] >> 4 != (*type == ODP_ETH_IPV4 ? 4 : 6)) {
		*type = 0;
		return inner == ODP_INNER_ETH ? 0 : -EBADMSG;
	}
	return 0;
}

/*
 * The inner ECN field for what arrived in both; -ECOMM: drop. Rows: inner, columns: outer none,
 * ECT1, ECT0, CE. Spec: RFC 6040, figure 4.
 */
static int ecn_decap(uint8_t inner, uint8_t outer)
{
	static const int table[4][4] = {
		{ 0, 0, 0, -1 },
		{ 1, 1, 1, 3 },
		{ 2, 1, 2, 3 },
		{ 3, 3, 3, 3 },
	};
	int ecn = table[inner & ECN_MASK][outer & ECN_MASK];

	return ecn < 0 ? -ECOMM : ecn;
}

static void ecn_write(uint8_t *ip, uint16_t type, uint8_t ecn)
{
	uint16_t was = odp_get16(ip);
	uint16_t is;

	if (type == ODP_ETH_IPV4) {
		is = (uint16_t)((was & ~ECN_MASK) | ecn);
		odp_csum_adjust(ip + 10, was, is);
	} else {
		is = (uint16_t)((was & ~(ECN_MASK << 4)) | (uint32_t)ecn << 4);
	}
	odp_put16(ip, is);
}

static uint8_t tos_of(const uint8_t *ip, uint16_t type)
{
	return type == ODP_ETH_IPV4 ? ip[1] : (uint8_t)(odp_get16(ip) >> 4);
}

static void fill_key(struct odp_tnl_key *key, const struct outer *o)
{
	memcpy(key->src, o->src, addr_len(o->family));
	memcpy(key->dst, o->dst, addr_len(o->family));
	key->family = o->family;
	key->tos = o->tos;
	key->ttl = o->ttl;
	if (o->df)
		key->flags |= ODP_TNL_F_DF;
	if (o->proto == IPPROTO_UDP) {
		const uint8_t *udp = o->base + o->l4;

		key->tp_src = odp_get16(udp);
		key->tp_dst = odp_get16(udp + 2);
		if (odp_get16(udp + 6) != 0)
			key->flags |= ODP_TNL_F_CSUM;
	}
}

/* The tunnel header itself, and whether this end wants what it says. */
static int decode(const struct rte_mbuf *m, const struct odp_tnl_vport *v, const struct outer *o,
	struct odp_tnl_key *key, uint16_t *inner, uint32_t *hdr_len)
{
	uint32_t at = o->l4 + (v->type == ODP_TNL_GRE ? 0 : ODP_UDP_LEN);
	struct dpu_cur in = dpu_cur_init(o->base + at, RTE_MIN(o->n, o->end) - at);
	int ret = odp_tnl_decode(v->type, &in, key, inner);

	if (ret < 0)
		return ret;
	*hdr_len = (uint32_t)(in.at - o->base);
	if ((key->flags & ODP_TNL_F_OAM) && !v->take_oam)
		return -EPROTO;
	if ((key->flags & ODP_TNL_F_CRIT) && !odp_geneve_opts_known(key, v->known, v->n_known))
		return -EOPNOTSUPP;
	if (v->type == ODP_TNL_GRE && (key->flags & ODP_TNL_F_CSUM) &&
		!sum_is_right(m, o->l4, o->end - o->l4, 0))
		return -EILSEQ;
	return 0;
}

/* The packet with its first segment ours alone to write, and nothing lent. */
static int own(struct rte_mbuf **m, struct rte_mempool *pool)
{
	*m = (*m)->ol_flags & ODP_F_LENT ? odp_own(*m, pool) : odp_unshare(*m, pool);
	return *m ? 0 : -ENOMEM;
}

/* Cut the packet off at `len` bytes, whichever segment that is in. */
static void trim_to(struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *last = m;
	uint32_t left = len;

	m->nb_segs = 1;
	while (left > last->data_len) {
		left -= last->data_len;
		last = last->next;
		m->nb_segs++;
	}
	last->data_len = (uint16_t)left;
	rte_pktmbuf_free(last->next);
	last->next = NULL;
	m->pkt_len = len;
}

/*
 * What the inner ECN field is to become, in *ecn; -1: it stays. *off and *type as inner_ip() has
 * them.
 */
static int inner_ecn(const struct outer *o, uint32_t hdr_len, uint16_t inner, size_t *off,
	uint16_t *type, int *ecn)
{
	const uint8_t *p = o->base + hdr_len;
	uint8_t was;
	int ret = inner_ip(p, RTE_MIN(o->n, o->end) - hdr_len, o->end - hdr_len, inner, off, type);

	*ecn = -1;
	if (ret < 0 || *type == 0)
		return ret;
	was = tos_of(p + *off, *type);
	ret = ecn_decap(was, o->tos);
	if (ret < 0)
		return ret;
	if ((int)(was & ECN_MASK) != ret)
		*ecn = ret;
	return 0;
}

int odp_tnl_pop(struct rte_mbuf **m, const struct odp_tnl_vport *v, struct rte_mempool *pool,
	struct odp_tnl_key *key, uint16_t *inner)
{
	struct outer o;
	uint32_t hdr_len;
	uint16_t type = 0;
	size_t off = 0;
	int ecn = -1;
	bool plain = check_plain(*m, v, &o);
	int ret = plain ? 0 : check_outer(*m, v, &o);

	if (unlikely(ret < 0))
		return ret;
	memset(key, 0, sizeof(*key));
	ret = decode(*m, v, &o, key, inner, &hdr_len);
	if (ret < 0)
		return ret;
	// Without a mark on the outside the field stays as it is inside: RFC 6040, figure 4
	if (!plain || *inner != ODP_INNER_ETH || o.end - hdr_len < ODP_ETH_LEN)
		ret = inner_ecn(&o, hdr_len, *inner, &off, &type, &ecn);
	if (unlikely(ret < 0))
		return ret;
	fill_key(key, &o);

	bool good = verified(*m).inner_l4;

	// What is left is parsed again, and may be shorter than what is copied of a lent packet.
	if ((ecn >= 0 || ((*m)->ol_flags & ODP_F_LENT)) && own(m, pool) < 0)
		return -ENOMEM;
	trim_to(*m, o.end);
	(void)rte_pktmbuf_adj(*m, (uint16_t)hdr_len);
	if (ecn >= 0)
		ecn_write(rte_pktmbuf_mtod(*m, uint8_t *) + off, type, (uint8_t)ecn);
	(*m)->ol_flags &= ~(RX_CKSUM | RTE_MBUF_F_RX_OUTER_L4_CKSUM_MASK | ODP_F_L4_CSUM |
			    RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	if (good)
		(*m)->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	(*m)->packet_type = 0;
	(*m)->tx_offload = 0;
	return 0;
}
