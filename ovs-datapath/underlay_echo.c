// SPDX-License-Identifier: Apache-2.0
/*
 * Answers to echo requests for addresses of ours, so that an operator can ping a tunnel's end.
 *
 * Spec: RFC 792, RFC 1122, section 3.2.2.6; RFC 4443, section 4.2.
 */
#include "neigh.h"

#include <errno.h>
#include <netinet/in.h>

#include <rte_ip.h>

#include "inet.h"
#include "sw_offload.h"

#define ICMP_LEN 8u
#define ICMP4_REQUEST 8u
#define ICMP4_REPLY 0u
#define ICMP6_REQUEST 128u
#define ICMP6_REPLY 129u
#define HOPS 64u

/* A request that is whole: where its parts are, and who asks. */
struct request {
	bool v4;
	uint32_t l3, icmp; // offsets
	uint32_t len; // of the ICMP message
	struct odp_ip from, to;
};

/* The sum over the ICMP message, with what IPv6 adds to it; 0xffff when it is right. */
static uint16_t sum_of(const struct rte_mbuf *m, const struct request *r)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, r->l3);
	uint16_t raw;

	if (odp_raw_sum(m, r->icmp, r->len, &raw) < 0)
		return 0;
	// DPDK sums words as they lie in memory.
	return odp_fold(odp_get16((const uint8_t *)&raw) +
			(r->v4 ? 0 : odp_sum(ip + 8, 32, IPPROTO_ICMPV6 + r->len)));
}

static struct odp_ip ip_at(uint8_t family, const uint8_t *a)
{
	struct odp_ip ip = { .family = family };

	memcpy(ip.a, a, family == 4 ? 4 : 16);
	return ip;
}

/* Options and extension headers are not answered, nor what is in pieces. */
static bool parse4(const uint8_t *ip, uint32_t n, uint32_t left, struct request *r)
{
	uint32_t total;

	if (n < ODP_IPV4_LEN + ICMP_LEN || ip[0] != 0x45 || ip[9] != IPPROTO_ICMP ||
		(odp_get16(ip + 6) & 0x3fff) || odp_fold(odp_sum(ip, ODP_IPV4_LEN, 0)) != 0xffff)
		return false;
	total = odp_get16(ip + 2);
	if (total < ODP_IPV4_LEN + ICMP_LEN || total > left || ip[20] != ICMP4_REQUEST ||
		ip[21] != 0)
		return false;
	r->icmp = r->l3 + ODP_IPV4_LEN;
	r->len = total - ODP_IPV4_LEN;
	r->from = ip_at(4, ip + 12);
	r->to = ip_at(4, ip + 16);
	return true;
}

static bool parse6(const uint8_t *ip, uint32_t n, uint32_t left, struct request *r)
{
	if (n < ODP_IPV6_LEN + ICMP_LEN || ip[0] >> 4 != 6 || ip[6] != IPPROTO_ICMPV6 ||
		ip[40] != ICMP6_REQUEST || ip[41] != 0)
		return false;
	r->icmp = r->l3 + ODP_IPV6_LEN;
	r->len = odp_get16(ip + 4);
	if (r->len < ICMP_LEN || r->len > left - ODP_IPV6_LEN)
		return false;
	r->from = ip_at(6, ip + 8);
	r->to = ip_at(6, ip + 24);
	return true;
}

static bool parse(const struct odp_ul *ul, const struct rte_mbuf *m, struct request *r)
{
	const uint8_t *b = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t n = m->data_len;
	uint16_t type;
	size_t l3;

	if (!odp_eth_l3(b, n, &l3, &type) || n < l3 || (b[6] & 1))
		return false;
	r->l3 = (uint32_t)l3;
	r->v4 = type == ODP_ETH_IPV4;
	if (r->v4 ? !parse4(b + l3, n - r->l3, m->pkt_len - r->l3, r)
		  : type != ODP_ETH_IPV6 || !parse6(b + l3, n - r->l3, m->pkt_len - r->l3, r))
		return false;
	return odp_ul_addr_is_ours(ul, &r->to) && odp_ip_is_unicast(&r->from) &&
	       !odp_ul_addr_is_ours(ul, &r->from);
}

/* The request, which is ours to write, becomes its answer. */
static void turn_round(struct rte_mbuf *m, const struct request *r)
{
	uint8_t *b = rte_pktmbuf_mtod(m, uint8_t *), *ip = b + r->l3, *icmp = b + r->icmp;
	uint32_t end = r->icmp + r->len;
	uint8_t mac[6];

	memcpy(mac, b, 6);
	memcpy(b, b + 6, 6);
	memcpy(b + 6, mac, 6);
	if (m->pkt_len > end)
		(void)rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - end)); // or its padding goes back
	if (r->v4) {
		odp_put16(ip + 4, 0); // RFC 6864, section 4.1
		odp_put16(ip + 6, 0x4000);
		ip[8] = HOPS;
		memcpy(ip + 12, r->to.a, 4);
		memcpy(ip + 16, r->from.a, 4);
		odp_put16(ip + 10, 0);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, ODP_IPV4_LEN, 0)));
	} else {
		ip[7] = HOPS;
		memcpy(ip + 8, r->to.a, 16);
		memcpy(ip + 24, r->from.a, 16);
	}
	icmp[0] = r->v4 ? ICMP4_REPLY : ICMP6_REPLY;
	odp_put16(icmp + 2, 0);
	odp_put16(icmp + 2, (uint16_t)~sum_of(m, r));
}

bool odp_ul_echo(struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m)
{
	struct rte_mbuf *answer;
	struct request r;

	if (!parse(ul, m, &r))
		return false;
	// Before its 64 KiB, if it has them, are looked at.
	if (odp_limit_take(&ul->echoes, odp_ul_hash(ul, &r.from), ul->now_ns) != ODP_LIMIT_OK) {
		ul->stats.echo_limited++;
		return true;
	}
	if (sum_of(m, &r) != 0xffff)
		return false;
	answer = odp_copy(m, ul->conf.pool);
	if (!answer) {
		ul->stats.no_mbuf++;
		return true;
	}
	ul->stats.echoes++;
	turn_round(answer, &r);
	ul->conf.send(ul->conf.arg, port, answer);
	return true;
}
