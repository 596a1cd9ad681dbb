// SPDX-License-Identifier: Apache-2.0
/*
 * Address translation of a new connection: which address and port it gets. RFC 4787 for UDP, RFC
 * 5382 for TCP, RFC 5508 for ICMP.
 *
 * Nothing is kept but the connection's two keys: a translation is the difference between them. A
 * port is taken by putting the key of the answers into the table, so what is taken is never out of
 * step with what is there. A fixed number of places is tried, whatever is taken.
 */
#include "ct_priv.h"

#include <errno.h>
#include <netinet/in.h>

#define TRIES 128u // ports, of one address
#define ADDRS 8u
#define STRIDE 8191u
#define STRIDE2 4093u
#define L3_ANCHOR 0x80u // marks the keys of mappings

struct ports {
	uint32_t min, n; // n 0: the port stays
	uint16_t want; // tried first; its parity is kept where that can be
	uint32_t start;
	bool any; // `want` is not tried first
};

static bool has_id(const struct odp_ct_key *k)
{
	return k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
}

/* SCTP's checksum covers all of a packet: there addresses alone are translated. */
static bool has_ports(const struct odp_ct_key *k)
{
	return k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP || k->proto == IPPROTO_UDPLITE;
}

/* ---- choice ---- */

static uint64_t choice_hash(
	const struct odp_ct *ct, const struct odp_ct_key *k, bool src_only, bool ports)
{
	struct odp_ct_key h = *k;

	if (src_only) {
		memset(h.dst, 0, sizeof(h.dst));
		h.dport = dpu_be16_put(0);
	}
	if (!ports)
		h.sport = h.dport = dpu_be16_put(0);
	h.l3 = 0; // another value than the table's
	return ct_hash(ct, &h);
}

static uint64_t addr_low(const uint8_t a[16], unsigned l3)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < (l3 == 4 ? 4 : 8); i++)
		v = v << 8 | a[(l3 == 4 ? 0 : 8) + i];
	return v;
}

/* Address number `off` of the range; of IPv6, the low halves are the range. */
static void addr_at(const struct odp_ct_nat_conf *nat, unsigned l3, uint64_t off, uint8_t out[16])
{
	uint64_t v = addr_low(nat->min_addr, l3) + off;
	unsigned end = l3 == 4 ? 4 : 16;

	memcpy(out, nat->min_addr, 16);
	for (unsigned i = 0; i < (l3 == 4 ? 4 : 8); i++, v >>= 8)
		out[end - 1 - i] = (uint8_t)v;
}

static uint64_t addr_count(const struct odp_ct_nat_conf *nat, unsigned l3)
{
	uint64_t min = addr_low(nat->min_addr, l3), max = addr_low(nat->max_addr, l3);

	return max > min && max - min < UINT32_MAX ? max - min + 1 : max > min ? UINT32_MAX : 1;
}

static bool no_addr(const struct odp_ct_nat_conf *nat)
{
	static const uint8_t zero[16];

	return memcmp(nat->min_addr, zero, 16) == 0;
}

/* Ports of the same kind as the one it has: RFC 4787, REQ-3 and section 4.2.2. */
static void ports_like(uint16_t port, struct ports *r)
{
	r->min = port < 512 ? 1 : port < 1024 ? 600 : 1024;
	r->n = (port < 512 ? 511 : port < 1024 ? 1023 : 65535) - r->min + 1;
}

static void ports_of(const struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_key *k,
	const struct odp_ct_nat_conf *nat, bool src, struct ports *r)
{
	*r = (struct ports){ .want = dpu_be16_get(src ? k->sport : k->dport) };
	if (has_id(k)) {
		r->want = dpu_be16_get(k->sport);
		r->n = src ? 65536 : 0;
	} else if (!has_ports(k)) {
		return;
	} else if (nat->flags & ODP_NAT_PORTS && nat->max_port >= nat->min_port) {
		r->min = nat->min_port;
		r->n = (uint32_t)nat->max_port - nat->min_port + 1;
	} else if (src) {
		ports_like(r->want, r);
	}
	if (nat->flags & ODP_NAT_RANDOM)
		r->start = (uint32_t)ct_random(w);
	else
		r->start = (uint32_t)(choice_hash(ct, k, nat->flags & ODP_NAT_EIM, true) >> 16);
	r->any = nat->flags & (ODP_NAT_RANDOM | ODP_NAT_HASH) || r->want - r->min >= r->n;
}

/* The i-th port to try. */
static uint16_t port_at(const struct ports *r, unsigned i)
{
	if (!r->any) {
		if (i == 0)
			return r->want;
		i--;
	}
	if (r->n <= TRIES)
		return (uint16_t)(r->min + (r->start % r->n + i) % r->n);
	uint32_t stride = r->n % STRIDE ? STRIDE : STRIDE2;
	uint32_t port = r->min + (uint32_t)((r->start + (uint64_t)i * stride) % r->n);
	uint32_t even = port ^ ((port ^ r->want) & 1); // RFC 4787, REQ-4

	return (uint16_t)(i < TRIES / 2 && even - r->min < r->n ? even : port);
}

/* ---- search ---- */

/* Of the answers' key, the port that is translated. */
static dpu_be16 *port_in(struct odp_ct_key *back, bool src)
{
	return has_id(back) || !src ? &back->sport : &back->dport;
}

/* Try the ports of one address. 0, -EADDRNOTAVAIL, -EAGAIN, -ENOSPC. */
static int try_ports(
	struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c, const struct ports *r, bool src)
{
	unsigned n = r->n == 0 ? 1 : r->n + !r->any < TRIES ? r->n + !r->any : TRIES;

	for (unsigned i = 0; i < n; i++) {
		if (r->n)
			*port_in(&c->key1, src) = dpu_be16_put(port_at(r, i));
		int ret = odp_ct_insert(ct, c, ODP_CT_REPLY);

		if (ret != -EEXIST)
			return ret;
		dpu_counter_add(&w->n.nat_clash, 1);
	}
	return -EADDRNOTAVAIL;
}

/* Put the answers' key in, with some address and port. As try_ports(). */
static int search(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_nat_conf *nat, bool src)
{
	const struct odp_ct_key *k = &c->key0;
	unsigned l3 = k->l3 & 0xf;
	bool keep = no_addr(nat);
	uint64_t n = keep ? 1 : addr_count(nat, l3);
	uint64_t first = choice_hash(ct, k, nat->flags & (ODP_NAT_PERSISTENT | ODP_NAT_EIM), false);
	struct ports r;
	int ret = -EADDRNOTAVAIL;

	ports_of(ct, w, k, nat, src, &r);
	for (unsigned i = 0; i < ADDRS && i < n && ret == -EADDRNOTAVAIL; i++) {
		if (!keep)
			addr_at(nat, l3, (first + i) % n, src ? c->key1.dst : c->key1.src);
		ret = try_ports(ct, w, c, &r, src);
	}
	if (ret != -EADDRNOTAVAIL || src || !has_ports(k))
		return ret;
	// The same source talks to that destination by another way: give it another port.
	struct ports s = { .want = dpu_be16_get(k->sport), .start = r.start, .any = true };

	ports_like(s.want, &s);
	return try_ports(ct, w, c, &s, true);
}

/* ---- endpoint-independent mappings ---- */

/*
 * The mapping of a source, found or made: a connection of that source to nowhere, translated. It
 * lives while connections use it, and a while after. NULL with *ret set.
 */
static struct odp_conn *anchor_get(struct odp_ct *ct, struct ct_worker *w, const struct odp_conn *c,
	const struct odp_ct_nat_conf *nat, uint64_t now_ms, int *ret)
{
	struct odp_ct_key k = c->key0;
	unsigned dir;

	memset(k.dst, 0, sizeof(k.dst));
	k.dport = dpu_be16_put(0);
	k.l3 |= L3_ANCHOR;
	struct odp_conn *a = odp_ct_find(ct, w, &k, ct_hash(ct, &k), now_ms, &dir);

	if (a && dir == ODP_CT_ORIG) {
		CT_SET(a->expires,
			(uint32_t)now_ms + CT_GET(ct->timeout_ms[ct_policy(a)][ODP_CT_EXPECTED]));
		return a;
	}
	a = odp_ct_alloc(ct, w);
	if (!a) {
		*ret = -ENOSPC;
		return NULL;
	}
	a->key0 = k;
	odp_ct_key_reverse(&k, &a->key1);
	CT_SET(a->st, ODP_CT_EXPECTED);
	CT_SET(a->refs, 0);
	CT_SET(a->expires, (uint32_t)now_ms + CT_GET(ct->timeout_ms[0][ODP_CT_EXPECTED]));
	*ret = odp_ct_insert(ct, a, ODP_CT_ORIG);
	if (*ret == 0) {
		*ret = search(ct, w, a, nat, true);
		if (*ret < 0)
			odp_ct_withdraw(ct, a, ODP_CT_ORIG);
	}
	if (*ret < 0) {
		odp_ct_unalloc(ct, w, a);
		return NULL;
	}
	atomic_fetch_add_explicit(&ct->n_anchors, 1, memory_order_relaxed);
	odp_ct_publish(w, a, CT_F_ANCHOR);
	return a;
}

static int bind_mapped(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_nat_conf *nat, uint32_t *flags, uint64_t now_ms)
{
	int ret = 0;
	struct odp_conn *a = anchor_get(ct, w, c, nat, now_ms, &ret);

	if (!a)
		return ret;
	uint32_t life = ct_life_no(a);

	atomic_fetch_add_explicit(&a->refs, 1, memory_order_seq_cst);
	memcpy(c->key1.dst, a->key1.dst, 16);
	*port_in(&c->key1, true) = *port_in(&a->key1, true);
	ret = ct_life(a) == CT_LIVE ? odp_ct_insert(ct, c, ODP_CT_REPLY) : -EAGAIN;
	if (ret < 0) {
		atomic_fetch_sub_explicit(&a->refs, 1, memory_order_relaxed);
		// Taken by one that asked for no mapping: rather another outside than none.
		return ret == -EEXIST ? search(ct, w, c, nat, true) : ret;
	}
	CT_SET(c->link, ct_idx(ct, a));
	CT_SET(c->link_life, life);
	*flags |= CT_F_MAPPED;
	return 0;
}

int odp_ct_nat_bind(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c,
	const struct odp_ct_nat_conf *nat, uint32_t *flags, uint64_t now_ms)
{
	bool src = nat->flags & ODP_NAT_SRC;
	bool mapped = src && nat->flags & ODP_NAT_EIM && !(*flags & CT_F_RELATED) &&
		      (has_ports(&c->key0) || has_id(&c->key0)) && !no_addr(nat);
	int ret = odp_ct_insert(ct, c, ODP_CT_ORIG);

	if (ret < 0)
		return ret;
	ret = mapped ? bind_mapped(ct, w, c, nat, flags, now_ms) : search(ct, w, c, nat, src);
	if (ret < 0) {
		odp_ct_withdraw(ct, c, ODP_CT_ORIG);
		if (ret == -EADDRNOTAVAIL)
			dpu_counter_add(&w->n.nat_exhausted, 1);
		return ret;
	}
	struct odp_ct_key plain;

	odp_ct_key_reverse(&c->key0, &plain);
	bool id = has_id(&plain) && memcmp(&plain.sport, &c->key1.sport, 2) != 0;

	if (memcmp(plain.dst, c->key1.dst, 16) != 0 ||
		memcmp(&plain.dport, &c->key1.dport, 2) != 0 || id)
		*flags |= CT_F_SNAT;
	if (memcmp(plain.src, c->key1.src, 16) != 0 ||
		(!id && memcmp(&plain.sport, &c->key1.sport, 2) != 0))
		*flags |= CT_F_DNAT;
	return 0;
}
