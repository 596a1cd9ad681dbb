// SPDX-License-Identifier: Apache-2.0
/*
 * Which machine is a packet's, and the machines that only count who has spoken: UDP, ICMP and
 * ICMPv6 queries, and protocols without ports.
 */
#include "ct_priv.h"

#include <netinet/in.h>

#define ICMP_ECHO 8
#define ICMP_TIMESTAMP 13
#define ICMP_INFO 15
#define ICMP6_ECHO 128

/* Row: where we are. Column: who sends. */
static const uint8_t next_state[ODP_CT_STATE_COUNT][2] = {
	[ODP_CT_UDP_FIRST] = { ODP_CT_UDP_SINGLE, ODP_CT_UDP_MULTIPLE },
	[ODP_CT_UDP_SINGLE] = { ODP_CT_UDP_SINGLE, ODP_CT_UDP_MULTIPLE },
	[ODP_CT_UDP_MULTIPLE] = { ODP_CT_UDP_MULTIPLE, ODP_CT_UDP_MULTIPLE },
	[ODP_CT_ICMP_FIRST] = { ODP_CT_ICMP_FIRST, ODP_CT_ICMP_REPLY },
	[ODP_CT_ICMP_REPLY] = { ODP_CT_ICMP_REPLY, ODP_CT_ICMP_REPLY },
	[ODP_CT_OTHER_FIRST] = { ODP_CT_OTHER_SINGLE, ODP_CT_OTHER_MULTIPLE },
	[ODP_CT_OTHER_SINGLE] = { ODP_CT_OTHER_SINGLE, ODP_CT_OTHER_MULTIPLE },
	[ODP_CT_OTHER_MULTIPLE] = { ODP_CT_OTHER_MULTIPLE, ODP_CT_OTHER_MULTIPLE },
};

static bool udp_fits(const struct odp_ct_pkt *p)
{
	if (p->l4_len < 8)
		return false;
	uint32_t len = (uint32_t)p->l4[4] << 8 | p->l4[5];

	return len >= 8 && len <= p->l4_total;
}

static bool icmp_fits(const struct odp_ct_pkt *p)
{
	return p->l4_len >= 8;
}

/* Only a question begins a connection: RFC 792, RFC 4443 section 4. */
static bool icmp_begins(const struct odp_ct_key *k)
{
	unsigned type = k->dport.b[0];

	if (k->proto == IPPROTO_ICMPV6)
		return type == ICMP6_ECHO;
	return type == ICMP_ECHO || type == ICMP_TIMESTAMP || type == ICMP_INFO;
}

uint32_t odp_ct_proto_new(const struct odp_ct *ct, const struct odp_ct_pkt *p, struct odp_conn *c)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return odp_ct_tcp_new(ct, p, c);
	case IPPROTO_SCTP:
		return odp_ct_sctp_new(ct, p, c);
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return udp_fits(p) ? ODP_CT_UDP_FIRST : 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return icmp_fits(p) && icmp_begins(&p->key) ? ODP_CT_ICMP_FIRST : 0;
	default:
		return ODP_CT_OTHER_FIRST;
	}
}

bool odp_ct_move(struct ct_worker *w, struct odp_conn *c, uint32_t old, uint32_t new)
{
	if (!atomic_compare_exchange_strong_explicit(
		    &c->st, &old, new, memory_order_relaxed, memory_order_relaxed))
		return false;
	if (CT_ST(old) != CT_ST(new)) {
		dpu_counter_add(&w->n.by_state[CT_ST(old)], UINT64_MAX);
		dpu_counter_add(&w->n.by_state[CT_ST(new)], 1);
	}
	if ((old ^ new) & CT_ST_REPLIED)
		ct_touch(c);
	return true;
}

static enum ct_verdict simple_update(const struct odp_ct *ct, struct ct_worker *w,
	struct odp_conn *c, unsigned dir, uint64_t now_ms)
{
	for (;;) {
		uint32_t old = CT_GET(c->st), new = next_state[CT_ST(old)][dir];

		if (new == 0)
			return CT_INVALID; // removed at this moment
		new |= old &(CT_ST_REPLIED | CT_ST_ASSURED);
		if (dir == ODP_CT_REPLY)
			new |= CT_ST_REPLIED | CT_ST_ASSURED;
		if (new == old || odp_ct_move(w, c, old, new)) {
			ct_refresh(ct, c, CT_ST(new), now_ms);
			return CT_OK;
		}
	}
}

bool odp_ct_steady(uint32_t st, const struct odp_ct_pkt *p, unsigned dir)
{
	if (next_state[CT_ST(st)][dir] != CT_ST(st))
		return false; // or it is not one of these protocols
	if (p->key.proto == IPPROTO_UDP || p->key.proto == IPPROTO_UDPLITE)
		return udp_fits(p);
	return (p->key.proto != IPPROTO_ICMP && p->key.proto != IPPROTO_ICMPV6) || icmp_fits(p);
}

enum ct_verdict odp_ct_proto_update(const struct odp_ct *ct, struct ct_worker *w,
	struct odp_conn *c, const struct odp_ct_pkt *p, unsigned dir, uint64_t now_ms)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return odp_ct_tcp_update(ct, w, c, p, dir, now_ms);
	case IPPROTO_SCTP:
		return odp_ct_sctp_update(ct, w, c, p, dir, now_ms);
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		if (!udp_fits(p))
			return CT_INVALID;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!icmp_fits(p))
			return CT_INVALID;
		break;
	default:
		break;
	}
	return simple_update(ct, w, c, dir, now_ms);
}
