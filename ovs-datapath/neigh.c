// SPDX-License-Identifier: Apache-2.0
/*
 * Neighbours: a small machine for each, ARP and ND in and out.
 *
 * Spec: RFC 826, RFC 5227 for requests from nobody; RFC 4861, sections 7.1 (what to drop), 7.2 and
 * 7.3 (the machine; DELAY and PROBE are one state here: it begins to ask at the first use).
 */
#include "neigh.h"

#include <errno.h>
#include <netinet/in.h>

#include "inet.h"

#define SECOND_NS 1000000000ull
#define REACHABLE_NS (30 * SECOND_NS) // RFC 4861, section 10
#define RETRANS_NS SECOND_NS
#define SOLICITS_MAX 3u
#define FAILED_NS (5 * SECOND_NS) // before it is asked for again
#define CHANGE_NS SECOND_NS // between two changes of an address

#define ND_OPT_SLLA 1u
#define ND_OPT_TLLA 2u

enum event {
	EV_USE, // a packet wants to go there
	EV_ANSWER, // what we asked for
	EV_NEWS, // an address that we did not ask for, another one than before
	EV_TIMER,
	EV_SILENCE, // asked often enough
	EVENTS
};

/* Row: where it is. Column: what happened. 0: stays. */
static const uint8_t next_state[ODP_NEIGH_STATES][EVENTS] = {
	[ODP_NEIGH_INCOMPLETE] = { [EV_ANSWER] = ODP_NEIGH_REACHABLE,
		[EV_NEWS] = ODP_NEIGH_STALE,
		[EV_SILENCE] = ODP_NEIGH_FAILED },
	[ODP_NEIGH_REACHABLE] = { [EV_NEWS] = ODP_NEIGH_STALE, [EV_TIMER] = ODP_NEIGH_STALE },
	[ODP_NEIGH_STALE] = { [EV_USE] = ODP_NEIGH_PROBE },
	[ODP_NEIGH_PROBE] = { [EV_ANSWER] = ODP_NEIGH_REACHABLE,
		[EV_NEWS] = ODP_NEIGH_STALE,
		[EV_SILENCE] = ODP_NEIGH_FAILED },
	[ODP_NEIGH_FAILED] = { [EV_USE] = ODP_NEIGH_INCOMPLETE, [EV_NEWS] = ODP_NEIGH_STALE },
};

const char *odp_neigh_state_name(enum odp_neigh_state s)
{
	static const char *const names[ODP_NEIGH_STATES] = { "none", "incomplete", "reachable",
		"stale", "probe", "failed" };

	return names[s];
}

/* ---- frames of ours ---- */

static void send_frame(struct odp_ul *ul, const struct odp_ul_if *f, const uint8_t dst[6],
	uint16_t type, const void *body, unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(ul->conf.pool);
	unsigned l2 = f->vlan ? 18 : 14;
	uint8_t *p;

	if (!m) {
		ul->stats.no_mbuf++;
		return; // asked again in a second
	}
	p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(l2 + len));
	if (!p) {
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(p, dst, 6);
	memcpy(p + 6, f->mac, 6);
	if (f->vlan) {
		odp_put16(p + 12, ODP_ETH_VLAN);
		odp_put16(p + 14, f->vlan & ~0x1000u);
	}
	odp_put16(p + l2 - 2, type);
	memcpy(p + l2, body, len);
	ul->conf.send(ul->conf.arg, f->port, m);
}

/* Ethernet, IPv4, and how long their addresses are. */
static const uint8_t arp_fixed[6] = { 0, 1, 8, 0, 6, 4 };

static void send_arp(struct odp_ul *ul, const struct odp_ul_if *f, unsigned op, const uint8_t *dst,
	const uint8_t *spa, const uint8_t *tpa)
{
	uint8_t arp[ODP_ARP_LEN] = { 0 };

	memcpy(arp, arp_fixed, sizeof(arp_fixed));
	odp_put16(arp + 6, op);
	memcpy(arp + 8, f->mac, 6);
	memcpy(arp + 14, spa, 4);
	if (op == ODP_ARP_REPLY)
		memcpy(arp + 18, dst, 6);
	memcpy(arp + 24, tpa, 4);
	send_frame(ul, f, dst, ODP_ETH_ARP, arp, ODP_ARP_LEN);
}

static void send_nd(struct odp_ul *ul, const struct odp_ul_if *f, const uint8_t mac[6],
	uint8_t type, uint8_t flags, const uint8_t *src, const uint8_t *dst, const uint8_t *target)
{
	uint8_t p[ODP_IPV6_LEN + ODP_ND_LEN + 8] = { 0x60 };
	uint8_t *nd = p + ODP_IPV6_LEN;
	unsigned len = ODP_ND_LEN + 8;

	odp_put16(p + 4, len);
	p[6] = IPPROTO_ICMPV6;
	p[7] = 255;
	memcpy(p + 8, src, 16);
	memcpy(p + 24, dst, 16);
	nd[0] = type;
	nd[4] = flags;
	memcpy(nd + 8, target, 16);
	nd[24] = type == ODP_ND_NS ? ND_OPT_SLLA : ND_OPT_TLLA;
	nd[25] = 1;
	memcpy(nd + 26, f->mac, 6);
	odp_put16(nd + 2,
		(uint16_t)~odp_fold(odp_sum(p + 8, 32, odp_sum(nd, len, IPPROTO_ICMPV6 + len))));
	send_frame(ul, f, mac, ODP_ETH_IPV6, p, sizeof(p));
}

/* Ask: everybody, or the one that it was, when there is an address to confirm. */
static void solicit(struct odp_ul *ul, const struct odp_neigh *n)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct odp_ul_if *f = &ul->ifs[n->iface];
	const struct odp_ip *src = odp_ul_src_for(ul, n->iface, &n->ip);
	bool known = n->state == ODP_NEIGH_PROBE;

	if (!src)
		return;
	if (n->ip.family == 4) {
		send_arp(ul, f, ODP_ARP_REQUEST, known ? n->mac : all, src->a, n->ip.a);
		return;
	}
	uint8_t group[16] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	uint8_t mac[6] = { 0x33, 0x33, 0xff };

	memcpy(group + 13, n->ip.a + 13, 3);
	memcpy(mac + 3, n->ip.a + 13, 3);
	send_nd(ul, f, known ? n->mac : mac, ODP_ND_NS, 0, src->a, known ? n->ip.a : group,
		n->ip.a);
}

/* ---- the machine ---- */

void odp_neigh_mark(struct odp_ul *ul, struct odp_neigh *n)
{
	unsigned want = 0;

	if (n->state != ODP_NEIGH_NONE)
		want |= 1u << ODP_UL_NEEDED;
	if (n->state == ODP_NEIGH_INCOMPLETE || n->state == ODP_NEIGH_PROBE)
		want |= 1u << ODP_UL_ASKED;
	if (n->state == ODP_NEIGH_PROBE)
		want |= 1u << ODP_UL_CONFIRMS;
	for (unsigned i = 0; i < ODP_UL_MARKS; i++)
		if ((want ^ n->marks) & 1u << i)
			odp_ul_mark(ul, (enum odp_ul_mark)i, n->mark_hash, want & 1u << i ? 1 : -1);
	n->marks = (uint8_t)want;
}

static void entered(struct odp_ul *ul, struct odp_neigh *n)
{
	n->tries = 0;
	switch (n->state) {
	case ODP_NEIGH_INCOMPLETE:
	case ODP_NEIGH_PROBE:
		n->tries = 1;
		n->timer_ns = ul->now_ns + RETRANS_NS;
		solicit(ul, n);
		break;
	case ODP_NEIGH_REACHABLE:
		n->timer_ns = ul->now_ns + REACHABLE_NS;
		break;
	case ODP_NEIGH_FAILED:
		n->timer_ns = ul->now_ns + FAILED_NS;
		break;
	default:
		break;
	}
}

static void event(struct odp_ul *ul, struct odp_neigh *n, enum event ev)
{
	enum odp_neigh_state next = next_state[n->state][ev];

	if (next != ODP_NEIGH_NONE && !n->is_static) {
		n->state = next;
		odp_neigh_mark(ul, n); // before the question goes out
		entered(ul, n);
	}
	odp_ul_neigh_changed(ul, n);
	if (n->state == ODP_NEIGH_FAILED)
		odp_neigh_drop_waiting(ul, n, NULL);
}

struct odp_neigh *odp_neigh_find(struct odp_ul *ul, unsigned iface, const struct odp_ip *ip)
{
	for (unsigned i = 0; i < ul->conf.neighs_max; i++) {
		struct odp_neigh *n = &ul->neighs[i];

		if (n->state != ODP_NEIGH_NONE && n->iface == iface && odp_ip_eq(&n->ip, ip))
			return n;
	}
	return NULL;
}

uint16_t odp_neigh_get(struct odp_ul *ul, unsigned iface, const struct odp_ip *ip)
{
	struct odp_neigh *n = odp_neigh_find(ul, iface, ip);

	for (unsigned i = 0; !n && i < ul->conf.neighs_max; i++) {
		if (ul->neighs[i].state != ODP_NEIGH_NONE)
			continue;
		n = &ul->neighs[i];
		memset(n, 0, sizeof(*n));
		// Not asked for before somebody wants to send: then it is due at once.
		n->state = ODP_NEIGH_FAILED;
		n->iface = iface;
		n->ip = *ip;
		n->mark_hash = odp_ul_mark_hash(ul, ul->ifs[iface].port, ul->ifs[iface].vlan, ip->a,
			ip->family == 4 ? 4 : 16);
		odp_neigh_mark(ul, n);
		ul->stats.neighbours++;
	}
	if (!n)
		return 0;
	n->refs++;
	return (uint16_t)(n - ul->neighs + 1);
}

void odp_neigh_put(struct odp_ul *ul, uint16_t neigh)
{
	struct odp_neigh *n = &ul->neighs[neigh - 1];

	if (--n->refs > 0 || n->is_static)
		return;
	odp_neigh_drop_waiting(ul, n, NULL);
	n->state = ODP_NEIGH_NONE;
	odp_neigh_mark(ul, n);
	memset(n, 0, sizeof(*n));
	ul->stats.neighbours--;
}

void odp_neigh_lost(struct odp_ul *ul, struct rte_mbuf *m)
{
	ul->stats.waiting--;
	ul->stats.wait_dropped++;
	if (ul->conf.lost)
		ul->conf.lost(ul->conf.arg, m);
	else
		rte_pktmbuf_free(m);
}

void odp_neigh_drop_waiting(struct odp_ul *ul, struct odp_neigh *n, const struct odp_ul_path *path)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n->n_waiting; i++) {
		if (!path || n->waits_for[i] == path) {
			odp_neigh_lost(ul, n->waiting[i]);
		} else {
			n->waiting[kept] = n->waiting[i];
			n->waits_for[kept++] = n->waits_for[i];
		}
	}
	n->n_waiting = kept;
}

void odp_neigh_use(struct odp_ul *ul, struct odp_neigh *n)
{
	if (n->state == ODP_NEIGH_FAILED && ul->now_ns < n->timer_ns)
		return;
	if (n->state == ODP_NEIGH_FAILED || n->state == ODP_NEIGH_STALE)
		event(ul, n, EV_USE);
}

void odp_neigh_tick(struct odp_ul *ul, struct odp_neigh *n)
{
	if (n->is_static || ul->now_ns < n->timer_ns)
		return;
	switch (n->state) {
	case ODP_NEIGH_INCOMPLETE:
	case ODP_NEIGH_PROBE:
		if (n->tries >= SOLICITS_MAX) {
			event(ul, n, EV_SILENCE);
			return;
		}
		n->tries++;
		n->timer_ns = ul->now_ns + RETRANS_NS;
		solicit(ul, n);
		break;
	case ODP_NEIGH_REACHABLE:
		event(ul, n, EV_TIMER);
		break;
	default:
		break;
	}
}

/*
 * Somebody says that a neighbour has this address. What we asked for is believed; what we did not,
 * if it is another address, once in a second. A static neighbour is not changed by anything.
 */
static void learn(struct odp_ul *ul, struct odp_neigh *n, const uint8_t mac[6], bool asked)
{
	bool has = n->state != ODP_NEIGH_INCOMPLETE && n->state != ODP_NEIGH_FAILED;
	bool other = memcmp(n->mac, mac, 6) != 0;

	if (n->is_static)
		return;
	if (asked && (n->state == ODP_NEIGH_INCOMPLETE || n->state == ODP_NEIGH_PROBE)) {
		if (other)
			n->changed_ns = ul->now_ns;
		memcpy(n->mac, mac, 6);
		event(ul, n, EV_ANSWER);
		return;
	}
	if (has && !other)
		return;
	if (has && ul->now_ns - n->changed_ns < CHANGE_NS) {
		ul->stats.too_fast++;
		return;
	}
	n->changed_ns = ul->now_ns;
	memcpy(n->mac, mac, 6);
	event(ul, n, EV_NEWS);
}

/* ---- frames of others ---- */

bool odp_mac_is_unicast(const uint8_t *mac)
{
	static const uint8_t none[6];

	return !(mac[0] & 1) && memcmp(mac, none, 6) != 0;
}

bool odp_arp_is_sound(const uint8_t *arp, const uint8_t *eth)
{
	unsigned op = odp_get16(arp + 6);

	return memcmp(arp, arp_fixed, sizeof(arp_fixed)) == 0 &&
	       (op == ODP_ARP_REQUEST || op == ODP_ARP_REPLY) && odp_mac_is_unicast(arp + 8) &&
	       memcmp(arp + 8, eth + 6, 6) == 0;
}

bool odp_nd_is_sound(const uint8_t *eth, const uint8_t *ip, const uint8_t *nd, uint32_t len)
{
	return ip[0] >> 4 == 6 && ip[7] == 255 && nd[1] == 0 && nd[8] != 0xff &&
	       odp_mac_is_unicast(eth + 6) &&
	       odp_fold(odp_sum(ip + 8, 32, odp_sum(nd, len, IPPROTO_ICMPV6 + len))) == 0xffff;
}

/* Strangers, however many, take nothing from what neighbours that we need may ask. */
static bool may_answer(struct odp_ul *ul, const struct odp_ip *who, bool known)
{
	if (odp_limit_take(&ul->answers[known], odp_ul_hash(ul, who), ul->now_ns) != ODP_LIMIT_OK) {
		ul->stats.unanswered++;
		return false;
	}
	ul->stats.answered++;
	return true;
}

static int bad(struct odp_ul *ul)
{
	ul->stats.bad++;
	return -EBADMSG;
}

static struct odp_ip ip_of(uint8_t family, const uint8_t *a)
{
	struct odp_ip ip = { .family = family };

	memcpy(ip.a, a, family == 4 ? 4 : 16);
	return ip;
}

/* Of the neighbour, or, NULL, of somebody that we know nothing of. */
static void heard(struct odp_ul *ul, struct odp_neigh *n, const uint8_t *mac, bool asked)
{
	if (n)
		learn(ul, n, mac, asked);
	else
		ul->stats.unknown++;
}

static int rx_arp(struct odp_ul *ul, unsigned iface, const uint8_t *eth, struct dpu_cur *in)
{
	const struct odp_ul_if *f = &ul->ifs[iface];
	const uint8_t *arp = dpu_cur_take(in, ODP_ARP_LEN);

	if (!arp || !odp_arp_is_sound(arp, eth))
		return bad(ul);

	unsigned op = odp_get16(arp + 6);
	struct odp_ip spa = ip_of(4, arp + 14), tpa = ip_of(4, arp + 24);
	bool for_us = odp_ul_if_has(ul, iface, &tpa);

	if (odp_ul_addr_is_ours(ul, &spa)) {
		ul->stats.conflicts++;
		return 1;
	}
	struct odp_neigh *n = odp_neigh_find(ul, iface, &spa);

	if (odp_get32(spa.a) != 0)
		heard(ul, n, arp + 8, op == ODP_ARP_REPLY && for_us && memcmp(eth, f->mac, 6) == 0);
	if (op == ODP_ARP_REQUEST && for_us && may_answer(ul, &spa, n))
		send_arp(ul, f, ODP_ARP_REPLY, arp + 8, tpa.a, spa.a);
	return 1;
}

/* The link-layer address in the options; NULL in *mac for none. */
static int nd_options(struct dpu_cur *in, uint8_t type, const uint8_t **mac)
{
	*mac = NULL;
	while (in->left > 0) {
		uint8_t t = dpu_cur_u8(in), len = dpu_cur_u8(in);
		const uint8_t *body = len ? dpu_cur_take(in, len * 8u - 2) : NULL;

		if (!body)
			return -EBADMSG;
		if (t == type && len == 1)
			*mac = body;
	}
	return *mac && !odp_mac_is_unicast(*mac) ? -EBADMSG : 0;
}

static int rx_ns(struct odp_ul *ul, unsigned iface, const uint8_t *eth, const uint8_t *ip,
	const uint8_t *nd, const uint8_t *slla)
{
	static const uint8_t nobody[16];
	static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 };
	static const uint8_t all_mac[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	static const uint8_t group[13] = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff };
	const struct odp_ul_if *f = &ul->ifs[iface];
	struct odp_ip src = ip_of(6, ip + 8), target = ip_of(6, nd + 8);
	bool probe = memcmp(src.a, nobody, 16) == 0;
	const uint8_t *mac = slla ? slla : eth + 6;

	if (probe && (slla || memcmp(ip + 24, group, sizeof(group)) != 0))
		return bad(ul);
	if (odp_ul_addr_is_ours(ul, &src)) {
		ul->stats.conflicts++;
		return 1;
	}
	struct odp_neigh *n = odp_neigh_find(ul, iface, &src);

	if (slla)
		heard(ul, n, slla, false);
	if (!odp_ul_if_has(ul, iface, &target) || !may_answer(ul, &src, n))
		return 1;
	if (probe) // somebody wants an address that is ours: all are told
		send_nd(ul, f, all_mac, ODP_ND_NA, ODP_NA_OVERRIDE, target.a, all_nodes, target.a);
	else
		send_nd(ul, f, mac, ODP_ND_NA, ODP_NA_SOLICITED | ODP_NA_OVERRIDE, target.a, src.a,
			target.a);
	return 1;
}

static int rx_na(struct odp_ul *ul, unsigned iface, const uint8_t *ip, const uint8_t *nd,
	const uint8_t *tlla)
{
	struct odp_ip target = ip_of(6, nd + 8), dst = ip_of(6, ip + 24);
	uint8_t flags = nd[4];
	struct odp_neigh *n;

	if (dst.a[0] == 0xff && (flags & ODP_NA_SOLICITED))
		return bad(ul);
	if (odp_ul_addr_is_ours(ul, &target)) {
		ul->stats.conflicts++;
		return 1;
	}
	n = odp_neigh_find(ul, iface, &target);
	if (!n) {
		ul->stats.unknown++;
		return 1;
	}
	bool has = n->state != ODP_NEIGH_INCOMPLETE && n->state != ODP_NEIGH_FAILED;

	// Without an address it confirms the one that there is (RFC 4861, section 7.2.5).
	if (!tlla && !has)
		return 1;
	// Without O another address is not taken over.
	if (tlla && has && !(flags & ODP_NA_OVERRIDE) && memcmp(tlla, n->mac, 6) != 0)
		return 1;
	learn(ul, n, tlla ? tlla : n->mac,
		(flags & ODP_NA_SOLICITED) && odp_ul_if_has(ul, iface, &dst));
	return 1;
}

/* 0: no neighbour discovery. */
static int rx_ipv6(struct odp_ul *ul, unsigned iface, const uint8_t *eth, struct dpu_cur *in)
{
	const uint8_t *ip = dpu_cur_take(in, ODP_IPV6_LEN);
	const uint8_t *nd, *mac;
	unsigned len;

	if (!ip || ip[0] >> 4 != 6 || ip[6] != IPPROTO_ICMPV6 || in->left < 1)
		return 0;
	if (in->at[0] != ODP_ND_NS && in->at[0] != ODP_ND_NA)
		return 0;
	len = odp_get16(ip + 4);
	if (len > in->left || len < ODP_ND_LEN || !odp_nd_is_sound(eth, ip, in->at, len))
		return bad(ul);
	in->left = len;
	nd = dpu_cur_take(in, ODP_ND_LEN);
	if (!nd || nd_options(in, nd[0] == ODP_ND_NS ? ND_OPT_SLLA : ND_OPT_TLLA, &mac) < 0)
		return bad(ul);
	return nd[0] == ODP_ND_NS ? rx_ns(ul, iface, eth, ip, nd, mac)
				  : rx_na(ul, iface, ip, nd, mac);
}

int odp_ul_rx(struct odp_ul *ul, uint32_t port, const struct rte_mbuf *m)
{
	// A neighbour message is short; what is longer than the first segment is none.
	struct dpu_cur in = dpu_cur_init(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
	const uint8_t *eth = dpu_cur_take(&in, 12);
	uint16_t type = dpu_cur_be16(&in), vlan = 0;
	unsigned i = 0;

	if (type == ODP_ETH_VLAN) {
		// Priority tags say no VLAN.
		vlan = dpu_cur_be16(&in) & 0xfff;
		type = dpu_cur_be16(&in);
	}
	if (in.bad || (type != ODP_ETH_ARP && type != ODP_ETH_IPV6))
		return 0;
	while (i < ODP_UL_IFS &&
		!(ul->ifs[i].used && ul->ifs[i].port == port && (ul->ifs[i].vlan & 0xfff) == vlan))
		i++;
	if (i == ODP_UL_IFS)
		return 0;
	return type == ODP_ETH_ARP ? rx_arp(ul, i, eth, &in) : rx_ipv6(ul, i, eth, &in);
}
