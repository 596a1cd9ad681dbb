// SPDX-License-Identifier: Apache-2.0
/* ICMP messages about packets that are too long: sent, and heard. */
#include "pmtu.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "inet.h"
#include "limit.h"
#include "sw_offload.h"

#define HDR_MAX 256u // bytes in which headers are looked for
#define EXT_MAX 8u

#define ICMP_LEN 8u
#define ICMP4_UNREACH 3u
#define ICMP4_NEEDFRAG 4u
#define ICMP6_TOO_BIG 2u
#define ICMP6_REDIRECT 137u
#define ICMP6_INFO 128u // types from here on are no errors
#define QUOTE4_MAX 576u // bytes of the whole message (RFC 1812, section 4.3.2.3)
#define QUOTE6_MAX 1280u
#define ENTROPY_MIN 0xc000u // source ports that odp_tnl_src_port() gives

bool odp_pmtu_exceeds(const struct rte_mbuf *m, uint32_t inner_mtu)
{
	uint32_t len = m->pkt_len;
	uint8_t byte;

	if (inner_mtu == 0)
		return false;
	if (m->ol_flags & ODP_F_GSO) {
		uint32_t l4 = (uint32_t)m->l2_len + m->l3_len;
		uint32_t l4_len = ODP_UDP_LEN;

		if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
			const uint8_t *doff = rte_pktmbuf_read(m, l4 + 12, 1, &byte);

			l4_len = doff ? (uint32_t)(*doff >> 4) * 4 : 20;
		}
		len = RTE_MIN(len, l4 + l4_len + m->tso_segsz);
	}
	return len > inner_mtu + ODP_ETH_LEN;
}

/* ---- telling ---- */

struct odp_pmtu {
	struct odp_pmtu_conf conf;
	struct odp_limit limit;
};

int odp_pmtu_create(const struct odp_pmtu_conf *conf, struct odp_pmtu **out)
{
	struct odp_pmtu *p = dpu_calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	p->limit.source_per_s = conf->source_per_s ? conf->source_per_s : 20;
	p->limit.total_per_s = conf->total_per_s ? conf->total_per_s : 1000;
	*out = p;
	return 0;
}

void odp_pmtu_destroy(struct odp_pmtu *p)
{
	free(p);
}

static bool nobody4(const uint8_t *a)
{
	return a[0] == 0 || a[0] == 127 || a[0] >= 224;
}

/* May its sender be told? Spec: RFC 1122, section 3.2.2. */
static int may_answer4(const uint8_t *ip, size_t n)
{
	static const bool error[19] = {
		[3] = true, [4] = true, [5] = true, [11] = true, [12] = true
	};
	uint32_t ihl, frag;

	if (n < ODP_IPV4_LEN || ip[0] >> 4 != 4)
		return -EBADMSG;
	ihl = (uint32_t)(ip[0] & 15) * 4;
	frag = odp_get16(ip + 6);
	if (ihl < ODP_IPV4_LEN || ihl > n)
		return -EBADMSG;
	if (!(frag & 0x4000))
		return -EOPNOTSUPP;
	if ((frag & 0x1fff) || nobody4(ip + 12) || nobody4(ip + 16))
		return -EPERM;
	if (ip[9] == IPPROTO_ICMP && (n == ihl || (ip[ihl] < sizeof(error) && error[ip[ihl]])))
		return -EPERM;
	return 0;
}

static bool nobody6(const uint8_t *a)
{
	static const uint8_t zero[16];

	return a[0] == 0xff || memcmp(a, zero, 15) == 0;
}

/* Spec: RFC 4443, section 2.4 (e). */
static int may_answer6(const uint8_t *ip, size_t n)
{
	struct dpu_cur in = dpu_cur_init(ip, n);
	uint8_t next, type;

	dpu_cur_skip(&in, ODP_IPV6_LEN);
	if (in.bad || ip[0] >> 4 != 6)
		return -EBADMSG;
	if (nobody6(ip + 8) || nobody6(ip + 24))
		return -EPERM;
	next = ip[6];
	for (unsigned i = 0; next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			     next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT;
		i++) {
		bool fragment = next == IPPROTO_FRAGMENT;
		uint8_t len;

		if (i == EXT_MAX)
			return -EPERM;
		next = dpu_cur_u8(&in);
		len = dpu_cur_u8(&in);
		if (fragment && (dpu_cur_be16(&in) & 0xfff8))
			return -EPERM; // what it is a part of cannot be seen
		dpu_cur_skip(&in, fragment ? 4 : len * 8u + 6);
		if (in.bad)
			return -EPERM;
	}
	type = dpu_cur_u8(&in);
	if (next == IPPROTO_ICMPV6 && (in.bad || type < ICMP6_INFO || type == ICMP6_REDIRECT))
		return -EPERM;
	return 0;
}

static void write4(uint8_t *ip, const uint8_t *of, uint32_t len, uint32_t mtu)
{
	uint8_t *icmp = ip + ODP_IPV4_LEN;

	memset(ip, 0, ODP_IPV4_LEN + ICMP_LEN);
	ip[0] = 0x45;
	ip[1] = 0xc0; // RFC 1812, section 4.3.2.5
	odp_put16(ip + 2, len);
	ip[8] = 64;
	ip[9] = IPPROTO_ICMP;
	memcpy(ip + 12, of + 16, 4);
	memcpy(ip + 16, of + 12, 4);
	odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, ODP_IPV4_LEN, 0)));
	icmp[0] = ICMP4_UNREACH;
	icmp[1] = ICMP4_NEEDFRAG;
	odp_put16(icmp + 6, mtu);
	odp_put16(icmp + 2, (uint16_t)~odp_fold(odp_sum(icmp, len - ODP_IPV4_LEN, 0)));
}

static void write6(uint8_t *ip, const uint8_t *of, uint32_t len, uint32_t mtu)
{
	uint8_t *icmp = ip + ODP_IPV6_LEN;
	uint32_t icmp_len = len - ODP_IPV6_LEN;

	memset(ip, 0, ODP_IPV6_LEN + ICMP_LEN);
	ip[0] = 0x60;
	odp_put16(ip + 4, icmp_len);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 64;
	memcpy(ip + 8, of + 24, 16);
	memcpy(ip + 24, of + 8, 16);
	icmp[0] = ICMP6_TOO_BIG;
	odp_put32(icmp + 4, mtu);
	odp_put16(icmp + 2, (uint16_t)~odp_fold(odp_sum(ip + 8, 32,
				    odp_sum(icmp, icmp_len, IPPROTO_ICMPV6 + icmp_len))));
}

/* The message, behind the packet's own Ethernet header turned round. */
static struct rte_mbuf *compose(struct odp_pmtu *p, const struct rte_mbuf *m, const uint8_t *b,
	uint32_t l3, bool v4, uint32_t mtu)
{
	uint32_t hdr = (v4 ? ODP_IPV4_LEN : ODP_IPV6_LEN) + ICMP_LEN;
	uint32_t quote = RTE_MIN(m->pkt_len - l3, (v4 ? QUOTE4_MAX : QUOTE6_MAX) - hdr);
	struct rte_mbuf *out = rte_pktmbuf_alloc(p->conf.pool);
	uint8_t *o = out ? (uint8_t *)rte_pktmbuf_append(out, (uint16_t)(l3 + hdr + quote)) : NULL;
	const uint8_t *q;

	if (!o) {
		rte_pktmbuf_free(out);
		return NULL;
	}
	memcpy(o, b + 6, 6);
	memcpy(o + 6, b, 6);
	memcpy(o + 12, b + 12, l3 - 12);
	q = rte_pktmbuf_read(m, l3, quote, o + l3 + hdr);
	if (q && q != o + l3 + hdr)
		memcpy(o + l3 + hdr, q, quote);
	if (v4)
		write4(o + l3, b + l3, hdr + quote, mtu);
	else
		write6(o + l3, b + l3, hdr + quote, mtu);
	out->port = m->port;
	return out;
}

int odp_pmtu_answer(struct odp_pmtu *p, const struct rte_mbuf *m, uint32_t inner_mtu,
	uint64_t source, uint64_t now_ns, struct rte_mbuf **out)
{
	uint8_t copy[HDR_MAX];
	uint32_t n = RTE_MIN(m->pkt_len, (uint32_t)sizeof(copy)), mtu;
	const uint8_t *b = rte_pktmbuf_read(m, 0, n, copy);
	uint16_t type;
	size_t l3;
	int ret;

	if (!b || !odp_eth_l3(b, n, &l3, &type))
		return -EBADMSG;
	if (type == ODP_ETH_IPV4)
		ret = may_answer4(b + l3, n - l3);
	else if (type == ODP_ETH_IPV6)
		ret = may_answer6(b + l3, n - l3);
	else
		return -EOPNOTSUPP;
	if (ret < 0)
		return ret;
	if ((b[0] | b[6]) & 1)
		return -EPERM;
	if (odp_limit_take(&p->limit, (uint32_t)source, now_ns) != ODP_LIMIT_OK)
		return -EBUSY;
	mtu = inner_mtu > l3 - ODP_ETH_LEN ? inner_mtu - (uint32_t)(l3 - ODP_ETH_LEN) : 0;
	mtu = RTE_MAX(mtu, type == ODP_ETH_IPV4 ? 68u : ODP_PMTU_MIN6);
	*out = compose(p, m, b, (uint32_t)l3, type == ODP_ETH_IPV4, RTE_MIN(mtu, 65535u));
	return *out ? 0 : -ENOMEM;
}

/* ---- hearing ---- */

/* What an error quotes: could we have sent it? `q` holds at least an IP header and 8 bytes. */
static bool ours(const struct odp_ul *ul, const struct odp_tnl_demux *d, const uint8_t *q, bool v4,
	uint32_t mtu, struct odp_ip *dst)
{
	uint32_t l4 = v4 ? ODP_IPV4_LEN : ODP_IPV6_LEN;
	uint32_t len = v4 ? odp_get16(q + 2) : ODP_IPV6_LEN + odp_get16(q + 4);
	uint8_t proto = v4 ? q[9] : q[6];
	struct odp_ip src = { .family = v4 ? 4 : 6 };
	const struct odp_ul_path *p;

	*dst = src;
	memcpy(src.a, q + (v4 ? 12 : 8), v4 ? 4 : 16);
	memcpy(dst->a, q + (v4 ? 16 : 24), v4 ? 4 : 16);
	// Our own headers have no options, and a router says this only about DF.
	if (v4 ? q[0] != 0x45 || !(q[6] & 0x40) || (odp_get16(q + 6) & 0x3fff) : q[0] >> 4 != 6)
		return false;
	if (proto == IPPROTO_UDP) {
		uint16_t port = odp_get16(q + l4 + 2);

		// 0 would ask for GRE.
		if (odp_get16(q + l4) < ENTROPY_MIN || port == 0 || !odp_tnl_demux_has(d, port))
			return false;
	} else if (proto != IPPROTO_GRE || !odp_tnl_demux_has(d, 0)) {
		return false;
	}
	p = odp_ul_path_find(ul, &src, dst);
	return p && p->hop.state == ODP_UL_READY && mtu < p->hop.link.mtu && len > mtu;
}

/* The ICMP message in an IPv4 packet that is whole and for us; NULL: none. */
static const uint8_t *icmp4(const uint8_t *ip, size_t n, uint32_t *len, struct odp_ip *dst)
{
	uint32_t ihl, total;

	if (n < ODP_IPV4_LEN || ip[0] >> 4 != 4 || ip[9] != IPPROTO_ICMP)
		return NULL;
	ihl = (uint32_t)(ip[0] & 15) * 4;
	total = odp_get16(ip + 2);
	if (ihl < ODP_IPV4_LEN || total < ihl + ICMP_LEN || total > n ||
		(odp_get16(ip + 6) & 0x3fff))
		return NULL;
	*dst = (struct odp_ip){ .family = 4 };
	memcpy(dst->a, ip + 16, 4);
	*len = total - ihl;
	return ip + ihl;
}

static const uint8_t *icmp6(const uint8_t *ip, size_t n, uint32_t *len, struct odp_ip *dst)
{
	if (n < ODP_IPV6_LEN + ICMP_LEN || ip[0] >> 4 != 6 || ip[6] != IPPROTO_ICMPV6)
		return NULL;
	*len = odp_get16(ip + 4);
	if (*len < ICMP_LEN || *len > n - ODP_IPV6_LEN)
		return NULL;
	*dst = (struct odp_ip){ .family = 6 };
	memcpy(dst->a, ip + 24, 16);
	return ip + ODP_IPV6_LEN;
}

int odp_pmtu_learn(struct odp_ul *ul, const struct odp_tnl_demux *d, const struct rte_mbuf *m)
{
	const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *), *icmp;
	uint32_t n = m->data_len, len, mtu, quoted;
	struct odp_ip to, dst;
	uint16_t type;
	size_t l3;
	bool v4;

	if (!odp_eth_l3(b, n, &l3, &type))
		return 0;
	v4 = type == ODP_ETH_IPV4;
	icmp = v4		      ? icmp4(b + l3, n - l3, &len, &to)
	       : type == ODP_ETH_IPV6 ? icmp6(b + l3, n - l3, &len, &to)
				      : NULL;
	if (!icmp ||
		(v4 ? icmp[0] != ICMP4_UNREACH || icmp[1] != ICMP4_NEEDFRAG
		    : icmp[0] != ICMP6_TOO_BIG || icmp[1] != 0) ||
		!odp_ul_addr_is_ours(ul, &to))
		return 0;
	if (odp_fold(odp_sum(icmp, len, v4 ? 0 : odp_sum(b + l3 + 8, 32, IPPROTO_ICMPV6 + len))) !=
		0xffff)
		return -EBADMSG;
	quoted = len - ICMP_LEN;
	if (quoted < (v4 ? ODP_IPV4_LEN : ODP_IPV6_LEN) + 8)
		return -EBADMSG;
	mtu = v4 ? odp_get16(icmp + 6) : odp_get32(icmp + 4);
	if (mtu < (v4 ? ODP_PMTU_MIN4 : ODP_PMTU_MIN6) ||
		!ours(ul, d, icmp + ICMP_LEN, v4, mtu, &dst))
		return -EPROTO;
	odp_ul_pmtu_set(ul, &dst, (uint16_t)mtu);
	return 1;
}
