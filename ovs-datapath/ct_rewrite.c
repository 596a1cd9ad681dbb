// SPDX-License-Identifier: Apache-2.0
/*
 * Translations written into packets: addresses, ports and the packet inside an ICMP error, with
 * every checksum over them brought up to date as RFC 1624, equation 3.
 */
#include "ct_priv.h"

#include <errno.h>
#include <netinet/in.h>

#include "inet.h"

/* What a change of n bytes (even) adds to a sum. */
static uint32_t difference(const uint8_t *old, const uint8_t *new, size_t n)
{
	uint32_t d = 0;

	for (size_t i = 0; i < n; i += 2)
		d += (uint16_t)~odp_get16(old + i) + (uint32_t)odp_get16(new + i);
	return d;
}

/* A checksum field after its bytes' sum changed by d. */
static void csum_add(uint8_t *csum, uint32_t d)
{
	odp_put16(csum, ~odp_fold((uint16_t)~odp_get16(csum) + d) & 0xffff);
}

struct change {
	uint32_t addrs, ports; // by which the sums over them change
};

/* Where a layer 4 header has its checksum; 0: nowhere, or it is not there. */
static size_t csum_at(uint8_t proto, size_t len)
{
	size_t at;

	switch (proto) {
	case IPPROTO_TCP:
		at = 16;
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		at = 6;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		at = 2;
		break;
	default:
		return 0;
	}
	return len >= at + 2 ? at : 0;
}

static void addr_put(uint8_t *at, const uint8_t *new, size_t n, struct change *c)
{
	c->addrs += difference(at, new, n);
	memcpy(at, new, n);
}

static void port_put(uint8_t *at, dpu_be16 new, struct change *c)
{
	c->ports += difference(at, new.b, 2);
	memcpy(at, new.b, 2);
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_UDPLITE;
}

static bool has_id(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

static void l4_csum(
	uint8_t proto, unsigned l3, uint8_t *l4, size_t len, const struct change *c, bool partial)
{
	size_t at = csum_at(proto, len);
	uint32_t d = c->ports + (proto == IPPROTO_ICMP ? 0 : c->addrs);

	if (at == 0 || (proto == IPPROTO_UDP && l3 == 4 && odp_get16(l4 + at) == 0))
		return;
	if (partial) {
		odp_put16(l4 + at, odp_fold(odp_get16(l4 + at) + c->addrs));
		return;
	}
	csum_add(l4 + at, d);
	if (proto == IPPROTO_UDP && odp_get16(l4 + at) == 0)
		odp_put16(l4 + at, 0xffff);
}

static void rewrite_addrs(const struct odp_ct_nat *n, unsigned l3, uint8_t *ip, struct change *c)
{
	size_t size = l3 == 4 ? 4 : 16, src = l3 == 4 ? 12 : 8;

	if (n->what & ODP_NAT_SRC)
		addr_put(ip + src, n->src, size, c);
	if (n->what & ODP_NAT_DST)
		addr_put(ip + src + size, n->dst, size, c);
	if (l3 == 4)
		csum_add(ip + 10, c->addrs);
}

/* One IP header and the ports behind it; `n` says which way. */
static void rewrite(const struct odp_ct_nat *n, unsigned l3, uint8_t proto, uint8_t *ip,
	uint8_t *l4, size_t l4_len, bool ports, bool partial)
{
	struct change c = { 0, 0 };

	rewrite_addrs(n, l3, ip, &c);
	if (ports && has_ports(proto)) {
		if (n->what & ODP_NAT_SRC)
			port_put(l4, n->sport, &c);
		if (n->what & ODP_NAT_DST)
			port_put(l4 + 2, n->dport, &c);
	} else if (ports && has_id(proto)) {
		port_put(l4 + 4, n->sport, &c);
	}
	l4_csum(proto, l3, l4, l4_len, &c, partial);
}

/* The packet inside an error went the other way: RFC 5508, section 4. */
static void rewrite_inner(
	const struct odp_ct_pkt *p, uint8_t *l4, size_t l4_len, size_t off, uint8_t proto)
{
	bool id = has_id(proto);
	struct odp_ct_nat n = { .what = (uint8_t)((p->nat.what & ODP_NAT_DST ? ODP_NAT_SRC : 0) |
						  (p->nat.what & ODP_NAT_SRC ? ODP_NAT_DST : 0)),
		.sport = id ? p->nat.sport : p->nat.dport,
		.dport = p->nat.sport };
	uint32_t before = odp_sum(l4 + 8, l4_len - 8, 0);

	memcpy(n.src, p->nat.dst, 16);
	memcpy(n.dst, p->nat.src, 16);
	rewrite(&n, p->key.l3, proto, l4 + 8, l4 + off, l4_len - off, true, false);
	uint32_t after = odp_sum(l4 + 8, l4_len - 8, 0);

	csum_add(l4 + 2, (uint16_t)~odp_fold(before) + (uint32_t)odp_fold(after));
}

int odp_ct_nat_apply_later(const struct odp_ct_pkt *p, uint8_t *l3, size_t len)
{
	struct change c = { 0, 0 };

	if (len < (p->key.l3 == 4 ? 20u : 40u))
		return -EINVAL;
	rewrite_addrs(&p->nat, p->key.l3, l3, &c);
	return 0;
}

int odp_ct_nat_apply(const struct odp_ct_pkt *p, uint8_t *l3, size_t l3_len, uint8_t *l4,
	size_t l4_len, bool partial)
{
	bool error = odp_ct_icmp_is_error(&p->key);
	uint8_t proto = p->key.proto;
	struct odp_ct_pkt seen = *p;
	struct odp_ct_key inner;
	size_t off;

	if (l3_len < (p->key.l3 == 4 ? 20u : 40u))
		return -EINVAL;
	if (l4_len < (has_ports(proto)	     ? (proto == IPPROTO_TCP ? 18u : 8u)
			     : has_id(proto) ? 8u
					     : 0))
		return -EINVAL;
	if (p->nat.what == 0)
		return 0;
	if (error) {
		seen.l4 = l4;
		seen.l4_len = (uint16_t)(l4_len < UINT16_MAX ? l4_len : UINT16_MAX);
		if (!odp_ct_icmp_inner(&seen, &inner, &off))
			return -EINVAL;
		rewrite_inner(p, l4, seen.l4_len, off, inner.proto);
	}
	rewrite(&p->nat, p->key.l3, proto, l3, l4, l4_len, !error, partial);
	return 0;
}
