// SPDX-License-Identifier: Apache-2.0
/*
 * Changes to packets' headers.
 *
 * Headers are found anew for each edit, with bounds, although the flow has matched them: a list may
 * have changed the packet, and a mask may have left open what it is. Checksums follow by their
 * difference (RFC 1624, equation 3), so a wrong one stays as wrong as it was. Where an offload
 * request leaves layer 4's to whoever sends, the field holds the sum of the pseudo-header alone.
 */
#include "act_edit.h"

#include <errno.h>
#include <netinet/in.h>

#include "act_crc.h"
#include "extract.h"
#include "inet.h"
#include "sw_offload.h"

#define ETH_LEN 14u
#define TAG_LEN 4u
#define TAGS_MAX 8u

struct rte_mbuf *odp_edit_open(struct rte_mbuf *m, struct rte_mempool *pool)
{
	struct rte_mbuf *c;

	if (RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1 &&
		m->data_len >= RTE_MIN(m->pkt_len, (uint32_t)ODP_EXTRACT_MAX) &&
		rte_pktmbuf_headroom(m) >= ODP_EDIT_ROOM)
		return m;
	c = odp_copy(m, pool);
	rte_pktmbuf_free(m);
	return c;
}

/* ---- finding headers ---- */

static bool is_tpid(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

static bool find_l3(struct rte_mbuf *m, struct odp_at *at)
{
	*at = (struct odp_at){
		.p = rte_pktmbuf_mtod(m, uint8_t *), .n = m->data_len, .l3 = ETH_LEN
	};
	if (at->n < ETH_LEN)
		return false;
	at->eth_type = odp_get16(at->p + 12);
	while (is_tpid(at->eth_type) && at->tags < TAGS_MAX && at->n >= at->l3 + TAG_LEN) {
		at->eth_type = odp_get16(at->p + at->l3 + 2);
		at->l3 += TAG_LEN;
		at->tags++;
	}
	return true;
}

static bool find_ipv4(const struct rte_mbuf *m, struct odp_at *at)
{
	const uint8_t *ip = at->p + at->l3;

	if (at->n - at->l3 < 20 || ip[0] >> 4 != 4)
		return false;
	uint32_t len = (ip[0] & 15u) * 4, total = odp_get16(ip + 2);

	if (len < 20 || len > at->n - at->l3)
		return false;
	at->proto = ip[9];
	at->frag = odp_get16(ip + 6) & 0x3fff;
	at->end = at->l3 + total;
	if (at->end < at->l3 + len || at->end > m->pkt_len)
		at->end = m->pkt_len;
	if ((odp_get16(ip + 6) & 0x1fff) == 0)
		at->l4 = at->l3 + len;
	return true;
}

static bool find_ipv6(const struct rte_mbuf *m, struct odp_at *at)
{
	const uint8_t *ip = at->p + at->l3;
	bool later = false;

	if (at->n - at->l3 < 40 || ip[0] >> 4 != 6)
		return false;
	uint32_t off = at->l3 + 40;

	at->end = off + odp_get16(ip + 4);
	if (at->end == off || at->end > m->pkt_len)
		at->end = m->pkt_len;
	at->proto = ip[6];
	while (at->n - off >= 8) { // each step takes 8 bytes at least
		const uint8_t *x = at->p + off;
		uint32_t len = 8u + 8u * x[1];

		if (at->proto == IPPROTO_AH)
			len = 8u + 4u * x[1];
		else if (at->proto == IPPROTO_FRAGMENT)
			len = 8;
		else if (at->proto != IPPROTO_HOPOPTS && at->proto != IPPROTO_ROUTING &&
			 at->proto != IPPROTO_DSTOPTS)
			break;
		if (len > at->n - off)
			return false;
		if (at->proto == IPPROTO_FRAGMENT) {
			at->frag = odp_get16(x + 2) & 0xfff9;
			later = odp_get16(x + 2) & 0xfff8;
		}
		at->routed |= at->proto == IPPROTO_ROUTING && x[3] > 0;
		at->proto = x[0];
		off += len;
		if (later)
			return true;
	}
	at->l4 = off;
	return true;
}

bool odp_edit_find(struct rte_mbuf *m, struct odp_at *at)
{
	if (!find_l3(m, at))
		return false;
	if (at->eth_type == 0x0800)
		return find_ipv4(m, at);
	if (at->eth_type == 0x86dd)
		return find_ipv6(m, at);
	return true;
}

/* ---- checksums ---- */

/*
 * Write `n` bytes under a mask. Both `n` and the place within what is summed are even. Returns what
 * a one's complement sum changes by, in memory order; 0: not at all.
 */
static uint32_t put(uint8_t *at, const void *value, const void *mask, unsigned n)
{
	const uint8_t *v = value, *k = mask;
	uint32_t delta = 0;

	for (unsigned i = 0; i < n; i += 2) {
		uint16_t old, new;

		memcpy(&old, at + i, sizeof(old));
		at[i] = (uint8_t)((at[i] & ~k[i]) | v[i]);
		at[i + 1] = (uint8_t)((at[i + 1] & ~k[i + 1]) | v[i + 1]);
		memcpy(&new, at + i, sizeof(new));
		if (old != new)
			delta += (uint16_t)~old + (uint32_t) new;
	}
	return delta;
}

/* One byte of a 16-bit word: `hi` is its first. */
static uint32_t put_byte(uint8_t *word, bool hi, uint8_t value, uint8_t mask)
{
	const uint8_t v[2] = { hi ? value : 0, hi ? 0 : value };
	const uint8_t k[2] = { hi ? mask : 0, hi ? 0 : mask };

	return put(word, v, k, 2);
}

/* A checksum that covers what changed. */
static void adjust(uint8_t *field, uint32_t delta)
{
	uint16_t c;

	if (delta == 0)
		return;
	memcpy(&c, field, sizeof(c));
	c = (uint16_t)~odp_fold((uint16_t)~c + delta);
	memcpy(field, &c, sizeof(c));
}

bool odp_edit_is_partial(const struct rte_mbuf *m, const struct odp_at *at)
{
	return (m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO)) &&
	       (uint32_t)m->l2_len + m->l3_len == at->l4;
}

/* Where layer 4 keeps the checksum of headers and payload; NULL: nowhere. */
static uint8_t *l4_field(const struct odp_at *at)
{
	uint32_t off, min;

	switch (at->l4 ? at->proto : IPPROTO_NONE) {
	case IPPROTO_TCP:
		off = 16;
		min = 20;
		break;
	case IPPROTO_UDP:
		off = 6;
		min = 8;
		break;
	case IPPROTO_ICMPV6:
		off = 2;
		min = 4;
		break;
	default:
		return NULL;
	}
	return at->n >= at->l4 && min <= at->n - at->l4 ? at->p + at->l4 + off : NULL;
}

enum what { OF_ADDRESSES, OF_LAYER4 };

/* Something changed by `delta` that layer 4's checksum covers. */
static void adjust_l4(
	const struct rte_mbuf *m, const struct odp_at *at, uint32_t delta, enum what what)
{
	uint8_t *field = l4_field(at);
	uint16_t c;

	if (!field || delta == 0)
		return;
	memcpy(&c, field, sizeof(c));
	if (odp_edit_is_partial(m, at)) {
		// Of the pseudo-header, and not inverted.
		c = what == OF_ADDRESSES ? odp_fold(c + delta) : c;
	} else if (at->proto != IPPROTO_UDP) {
		c = (uint16_t)~odp_fold((uint16_t)~c + delta);
	} else if (c != 0) { // 0: the sender made none
		c = (uint16_t)~odp_fold((uint16_t)~c + delta);
		c = c ? c : 0xffff;
	}
	memcpy(field, &c, sizeof(c));
}

/* ---- set ---- */

static int set_eth(struct odp_at *at, const struct odp_set_eth *v, const struct odp_set_eth *k)
{
	(void)put(at->p, v->dst, k->dst, 6);
	(void)put(at->p + 6, v->src, k->src, 6);
	return 0;
}

static int set_ipv4(const struct rte_mbuf *m, struct odp_at *at, const struct odp_set_ipv4 *v,
	const struct odp_set_ipv4 *k)
{
	uint8_t *ip = at->p + at->l3;

	if (at->eth_type != 0x0800)
		return -EBADMSG;
	uint32_t addr = put(ip + 12, &v->src, &k->src, 4) + put(ip + 16, &v->dst, &k->dst, 4);
	uint32_t rest = put_byte(ip, false, v->tos, k->tos) +
			put_byte(ip + 8, true, v->ttl, k->ttl);

	adjust(ip + 10, addr + rest);
	if (at->proto != IPPROTO_ICMPV6)
		adjust_l4(m, at, addr, OF_ADDRESSES);
	return 0;
}

static int set_ipv6(const struct rte_mbuf *m, struct odp_at *at, const struct odp_set_ipv6 *v,
	const struct odp_set_ipv6 *k)
{
	uint8_t *ip = at->p + at->l3;

	if (at->eth_type != 0x86dd)
		return -EBADMSG;
	uint32_t addr = put(ip + 8, v->src, k->src, 16);
	uint32_t dst = put(ip + 24, v->dst, k->dst, 16);
	// Version, traffic class and flow label share a word.
	dpu_be32 word = dpu_be32_put((uint32_t)v->tclass << 20 | dpu_be32_get(v->label));
	dpu_be32 mask = dpu_be32_put(
		(uint32_t)k->tclass << 20 | (dpu_be32_get(k->label) & 0xfffff));

	(void)put(ip, &word, &mask, 4);
	(void)put_byte(ip + 6, false, v->hlimit, k->hlimit);
	// The pseudo-header has the final destination (RFC 8200, section 8.1).
	adjust_l4(m, at, addr + (at->routed ? 0 : dst), OF_ADDRESSES);
	return 0;
}

static int set_arp(struct odp_at *at, const struct odp_set_arp *v, const struct odp_set_arp *k)
{
	uint8_t *a = at->p + at->l3;

	if ((at->eth_type != 0x0806 && at->eth_type != 0x8035) || at->n - at->l3 < 28 ||
		a[4] != 6 || a[5] != 4)
		return -EBADMSG;
	(void)put(a + 6, &v->op, &k->op, 2);
	(void)put(a + 8, v->sha, k->sha, 6);
	(void)put(a + 14, &v->spa, &k->spa, 4);
	(void)put(a + 18, v->tha, k->tha, 6);
	(void)put(a + 24, &v->tpa, &k->tpa, 4);
	return 0;
}

/* The layer 4 header of a protocol, `min` bytes of it at least; NULL: another packet. */
static uint8_t *l4_header(const struct odp_at *at, uint8_t proto, uint32_t min)
{
	if (at->proto != proto || at->l4 > at->n || min > at->n - at->l4)
		return NULL;
	return at->p + at->l4;
}

static int set_ports(const struct rte_mbuf *m, struct odp_at *at, uint8_t proto,
	const struct odp_set_ports *v, const struct odp_set_ports *k)
{
	uint8_t *l4 = l4_header(at, proto, proto == IPPROTO_TCP ? 20 : 8);

	if (!l4)
		return -EBADMSG;
	adjust_l4(m, at, put(l4, v, k, 4), OF_LAYER4);
	return 0;
}

/* The checksum is a CRC of the whole message: from a part of it nobody can tell how it changes. */
static int set_sctp(struct odp_at *at, const struct odp_set_ports *v, const struct odp_set_ports *k)
{
	uint8_t *l4 = l4_header(at, IPPROTO_SCTP, 12), old[4];

	if (!l4 || at->frag || at->end < at->l4 + 12)
		return -EBADMSG;
	memcpy(old, l4, sizeof(old));
	(void)put(l4, v, k, 4);
	for (unsigned i = 0; i < sizeof(old); i++)
		old[i] ^= l4[i];
	dpu_le32 crc;

	memcpy(&crc, l4 + 8, sizeof(crc));
	crc = dpu_le32_put(dpu_le32_get(crc) ^ odp_crc32c_change(old, at->end - at->l4));
	memcpy(l4 + 8, &crc, sizeof(crc));
	return 0;
}

static int set_icmp(const struct rte_mbuf *m, struct odp_at *at, uint8_t proto,
	const struct odp_set_icmp *v, const struct odp_set_icmp *k)
{
	uint8_t *l4 = l4_header(at, proto, 4);

	if (!l4)
		return -EBADMSG;
	uint32_t delta = put(l4, v, k, 2);

	if (proto == IPPROTO_ICMP)
		adjust(l4 + 2, delta);
	else
		adjust_l4(m, at, delta, OF_LAYER4);
	return 0;
}

/* Spec: RFC 4861, sections 4.3, 4.4 and 4.6.1. An option that is not there is not set. */
static int set_nd(const struct rte_mbuf *m, struct odp_at *at, const struct odp_set_nd *v,
	const struct odp_set_nd *k)
{
	uint8_t *l4 = l4_header(at, IPPROTO_ICMPV6, 24);

	if (!l4 || (l4[0] != 135 && l4[0] != 136))
		return -EBADMSG;
	uint32_t delta = put(l4 + 8, v->target, k->target, 16);
	uint32_t off = at->l4 + 24, end = RTE_MIN(at->end, at->n);

	while (off + 8 <= end) { // each step takes 8 bytes at least
		uint8_t *opt = at->p + off;

		if (opt[1] == 0)
			break;
		if (opt[0] == 1 && opt[1] == 1)
			delta += put(opt + 2, v->sll, k->sll, 6);
		else if (opt[0] == 2 && opt[1] == 1)
			delta += put(opt + 2, v->tll, k->tll, 6);
		off += 8u * opt[1];
	}
	adjust_l4(m, at, delta, OF_LAYER4);
	return 0;
}

int odp_edit_set(struct rte_mbuf *m, const struct odp_act_set *s)
{
	const void *v = s->value, *k = s->value + s->size;
	bool is_l4 = s->field >= ODP_SET_TCP;
	struct odp_at at;

	if (s->field <= ODP_SET_VLAN || s->field == ODP_SET_MPLS ? !find_l3(m, &at)
								 : !odp_edit_find(m, &at))
		return -EBADMSG;
	// Later fragments have no layer 4, and what they look like there is payload.
	if (is_l4 && at.l4 == 0)
		return at.frag ? 0 : -EBADMSG;
	switch ((enum odp_set_field)s->field) {
	case ODP_SET_ETH:
		return set_eth(&at, v, k);
	case ODP_SET_VLAN:
		if (at.tags == 0)
			return -EBADMSG;
		(void)put(at.p + ETH_LEN, v, k, 2);
		return 0;
	case ODP_SET_MPLS:
		if ((at.eth_type != 0x8847 && at.eth_type != 0x8848) || at.n - at.l3 < 4)
			return -EBADMSG;
		(void)put(at.p + at.l3, v, k, 4);
		return 0;
	case ODP_SET_IPV4:
		return set_ipv4(m, &at, v, k);
	case ODP_SET_IPV6:
		return set_ipv6(m, &at, v, k);
	case ODP_SET_ARP:
		return set_arp(&at, v, k);
	case ODP_SET_TCP:
		return set_ports(m, &at, IPPROTO_TCP, v, k);
	case ODP_SET_UDP:
		return set_ports(m, &at, IPPROTO_UDP, v, k);
	case ODP_SET_SCTP:
		return set_sctp(&at, v, k);
	case ODP_SET_ICMP:
		return set_icmp(m, &at, IPPROTO_ICMP, v, k);
	case ODP_SET_ICMPV6:
		return set_icmp(m, &at, IPPROTO_ICMPV6, v, k);
	case ODP_SET_ND:
		return set_nd(m, &at, v, k);
	default:
		return -EBADMSG; // not of the packet
	}
}

int odp_edit_dec_ttl(struct rte_mbuf *m)
{
	struct odp_at at;

	if (!odp_edit_find(m, &at) || (at.eth_type != 0x0800 && at.eth_type != 0x86dd))
		return -EBADMSG;
	uint8_t *ip = at.p + at.l3, *ttl = ip + (at.eth_type == 0x0800 ? 8 : 7);

	if (*ttl <= 1)
		return 1;
	if (at.eth_type == 0x0800)
		adjust(ip + 10, put_byte(ip + 8, true, (uint8_t)(*ttl - 1), 0xff));
	else
		(*ttl)--;
	return 0;
}

/* ---- push and pop ---- */

/* Room for 4 bytes at `off`; NULL: no headroom. */
static uint8_t *insert(struct rte_mbuf *m, uint32_t off)
{
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, TAG_LEN);

	if (!p)
		return NULL;
	memmove(p, p + TAG_LEN, off);
	odp_edit_l2_grew(m, TAG_LEN);
	return p;
}

static void take_out(struct rte_mbuf *m, uint32_t off)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	memmove(p + TAG_LEN, p, off);
	rte_pktmbuf_adj(m, TAG_LEN);
	odp_edit_l2_grew(m, -(int)TAG_LEN);
}

int odp_edit_push_vlan(struct rte_mbuf *m, uint16_t tpid, uint16_t tci)
{
	uint8_t *p = m->data_len >= ETH_LEN ? insert(m, 12) : NULL;

	if (!p)
		return -EBADMSG;
	odp_put16(p + 12, tpid);
	odp_put16(p + 14, tci);
	return 0;
}

int odp_edit_pop_vlan(struct rte_mbuf *m)
{
	if (m->data_len < ETH_LEN + TAG_LEN ||
		!is_tpid(odp_get16(rte_pktmbuf_mtod_offset(m, const uint8_t *, 12))))
		return -EBADMSG;
	take_out(m, 12);
	return 0;
}

int odp_edit_push_mpls(struct rte_mbuf *m, dpu_be32 lse, uint16_t eth_type)
{
	struct odp_at at;

	if (!find_l3(m, &at) || at.eth_type < ODP_ETH_TYPE_MIN)
		return -EBADMSG;
	uint8_t *p = insert(m, at.l3);

	if (!p)
		return -EBADMSG;
	odp_put16(p + at.l3 - 2, eth_type);
	memcpy(p + at.l3, &lse, sizeof(lse));
	return 0;
}

int odp_edit_pop_mpls(struct rte_mbuf *m, uint16_t eth_type)
{
	struct odp_at at;

	if (!find_l3(m, &at) || (at.eth_type != 0x8847 && at.eth_type != 0x8848) ||
		at.n - at.l3 < TAG_LEN)
		return -EBADMSG;
	odp_put16(at.p + at.l3 - 2, eth_type);
	take_out(m, at.l3);
	return 0;
}

int odp_edit_push_eth(
	struct rte_mbuf *m, const uint8_t dst[6], const uint8_t src[6], uint16_t eth_type)
{
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, ETH_LEN);

	if (!p)
		return -EBADMSG;
	memcpy(p, dst, 6);
	memcpy(p + 6, src, 6);
	odp_put16(p + 12, eth_type);
	odp_edit_l2_grew(m, ETH_LEN);
	return 0;
}

uint16_t odp_edit_eth_type(const struct rte_mbuf *m)
{
	uint8_t copy[2];
	const uint8_t *p = rte_pktmbuf_read(m, 12, sizeof(copy), copy);

	return p ? odp_get16(p) : 0;
}

int odp_edit_pop_eth(struct rte_mbuf *m)
{
	if (odp_edit_eth_type(m) < ODP_ETH_TYPE_MIN || is_tpid(odp_edit_eth_type(m)))
		return -EBADMSG;
	rte_pktmbuf_adj(m, ETH_LEN);
	odp_edit_l2_grew(m, -(int)ETH_LEN);
	return 0;
}

void odp_edit_trunc(struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *s = m;
	uint32_t left = len;

	if (m->pkt_len <= len)
		return;
	m->nb_segs = 1;
	while (left > s->data_len) {
		left -= s->data_len;
		s = s->next;
		m->nb_segs++;
	}
	s->data_len = (uint16_t)left;
	rte_pktmbuf_free(s->next);
	s->next = NULL;
	m->pkt_len = len;
	// What it asked for was for the whole of it.
	m->ol_flags &= ~(ODP_F_L4_CSUM | ODP_F_GSO | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
	m->tx_offload = 0;
}

int odp_edit_act(struct rte_mbuf *m, const struct odp_act *a, uint32_t packet_type)
{
	const struct odp_act_vlan *v = (const struct odp_act_vlan *)a;
	const struct odp_act_mpls *l = (const struct odp_act_mpls *)a;
	const struct odp_act_eth *e = (const struct odp_act_eth *)a;

	switch (a->type) {
	case ODP_ACT_PUSH_VLAN:
		return odp_edit_push_vlan(m, v->tpid, v->tci);
	case ODP_ACT_POP_VLAN:
		return odp_edit_pop_vlan(m);
	case ODP_ACT_PUSH_MPLS:
		return odp_edit_push_mpls(m, l->lse, l->eth_type);
	case ODP_ACT_POP_MPLS:
		return odp_edit_pop_mpls(m, l->eth_type);
	case ODP_ACT_PUSH_ETH:
		return odp_edit_push_eth(m, e->dst, e->src, (uint16_t)packet_type);
	case ODP_ACT_POP_ETH:
		return odp_edit_pop_eth(m);
	case ODP_ACT_DEC_TTL:
		return odp_edit_dec_ttl(m);
	default:
		return odp_edit_set(m, (const struct odp_act_set *)a);
	}
}
