// SPDX-License-Identifier: Apache-2.0
/*
 * What the datapath would do with a packet, told step by step. The packet is a copy of our own, on
 * which edits are carried out; nothing else changes: no counter, no flow, no cache, no connection,
 * and no port sees anything of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "act_ct.h"
#include "act_edit.h"
#include "act_hash.h"
#include "bridge.h"
#include "classifier.h"
#include "extract.h"
#include "flow.h"
#include "key_text.h"
#include "meter.h"
#include "pmtu.h"
#include "tnl_dest.h"
#include "tnl_out.h"
#include "track.h"
#include "worker.h"

#define LINE_MAX_LEN 16384u
#define WAITING_MAX 64u // packets that recirculate

/* A packet on its way to the next lookup. */
struct waiting {
	struct rte_mbuf *m; // owned
	struct odp_meta meta;
};

struct trace {
	struct odp *dp;
	unsigned how;
	odp_trace_fn fn;
	void *arg;
	struct waiting queue[WAITING_MAX];
	unsigned first, n;
	char text[LINE_MAX_LEN];
};

/* One packet in one action list. */
struct at {
	struct rte_mbuf *m; // owned; NULL: it is gone
	struct odp_meta *meta;
	unsigned nesting;
	bool sent; // somewhere: what is left over is no drop
	bool gone; // an output found no port
	uint32_t cut; // bytes that the next output keeps; 0: all
};

/* Bytes that an output sends. */
static uint32_t sent_bytes(const struct at *at)
{
	return at->cut && at->cut < at->m->pkt_len ? at->cut : at->m->pkt_len;
}

static void say(struct trace *t, enum odp_trace_step step, const struct at *at, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

static void say(
	struct trace *t, enum odp_trace_step step, const struct at *at, const char *fmt, ...)
{
	struct odp_trace_line l = { .step = step, .text = t->text };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	if (at) {
		l.depth = at->meta->depth;
		l.nesting = at->nesting;
	}
	t->fn(&l, t->arg);
}

static void say_drop(struct trace *t, const struct at *at, enum odp_drop why)
{
	say(t, ODP_TRACE_DROP, at, "%s: %s", odp_drop_name(why), odp_drop_text(why));
}

static void drop(struct trace *t, struct at *at, enum odp_drop why)
{
	say_drop(t, at, why);
	rte_pktmbuf_free(at->m);
	at->m = NULL;
}

/* ---- the key, as a flow that matches all of it ---- */

static void mask_l4(const struct odp_key *k, struct odp_key *m, uint16_t type)
{
	switch (k->ip_proto) {
	case IPPROTO_TCP:
		m->tcp_flags = dpu_be16_put(0xfff);
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if ((k->ip_proto == IPPROTO_ICMP) != (type == 0x0800))
			return;
		if (type == 0x86dd && k->tp_dst.b[1] == 0 &&
			(k->tp_src.b[1] == 135 || k->tp_src.b[1] == 136))
			memset(&m->nd, 0xff, sizeof(m->nd) - sizeof(m->nd.pad));
		break;
	default:
		return;
	}
	m->tp_src = m->tp_dst = dpu_be16_put(0xffff);
}

static void mask_l3(const struct odp_key *k, struct odp_key *m)
{
	uint16_t type = dpu_be16_get(k->eth_type);

	switch (type) {
	case 0x0800:
		memset(&m->ipv4, 0xff, sizeof(m->ipv4));
		break;
	case 0x86dd:
		memset(&m->ipv6, 0xff, sizeof(m->ipv6));
		m->ipv6_label = dpu_be32_put(0xfffff);
		break;
	case 0x0806:
	case 0x8035:
		memset(&m->arp, 0xff, sizeof(m->arp));
		m->ip_proto = 0xff;
		return;
	case 0x8847:
	case 0x8848:
		for (unsigned i = 0; i < 3 && dpu_be32_get(k->mpls_lse[i]); i++)
			m->mpls_lse[i] = dpu_be32_put(UINT32_MAX);
		return;
	default:
		return;
	}
	memset(&m->ip_proto, 0xff, 4);
	if (k->ip_frag != ODP_FRAG_LATER)
		mask_l4(k, m, type);
}

/* Metadata that are not 0: of the others there is nothing to tell. */
static void mask_meta(const struct odp_key *k, struct odp_key *m)
{
	m->in_port = m->recirc_id = UINT32_MAX;
	m->dp_hash = k->dp_hash ? UINT32_MAX : 0;
	m->skb_priority = k->skb_priority ? UINT32_MAX : 0;
	m->skb_mark = k->skb_mark ? UINT32_MAX : 0;
	m->ct_mark = k->ct_mark ? UINT32_MAX : 0;
	m->ct_state = k->ct_state ? UINT8_MAX : 0;
	m->ct_zone = k->ct_zone ? UINT16_MAX : 0;
	for (unsigned i = 0; i < sizeof(k->ct_label); i++)
		if (k->ct_label[i])
			memset(m->ct_label, 0xff, sizeof(m->ct_label));
	if (k->tnl.family == 0)
		return;
	memset(&m->tnl.id, 0xff, sizeof(m->tnl.id));
	if (k->tnl.family == 4)
		memset(&m->tnl.ipv4, 0xff, sizeof(m->tnl.ipv4));
	else
		memset(&m->tnl.ipv6, 0xff, sizeof(m->tnl.ipv6));
	m->tnl.family = m->tnl.ttl = 0xff;
}

static void mask_of(const struct odp_key *k, struct odp_key *m)
{
	memset(m, 0, sizeof(*m));
	mask_meta(k, m);
	if (dpu_be32_get(k->packet_type)) {
		m->packet_type = dpu_be32_put(UINT32_MAX);
	} else {
		memset(m->eth_dst, 0xff, 12); // and the source behind it
		if (dpu_be16_get(k->vlan_tci))
			m->vlan_tci = m->vlan_tpid = dpu_be16_put(0xffff);
		if (dpu_be16_get(k->cvlan_tci))
			m->cvlan_tci = m->cvlan_tpid = dpu_be16_put(0xffff);
	}
	m->eth_type = dpu_be16_put(0xffff);
	mask_l3(k, m);
}

static void say_key(struct trace *t, enum odp_trace_step step, const struct at *at,
	const struct odp_key *key, const struct odp_key *mask)
{
	char text[4096];

	if (odp_key_format(t->dp, key, mask, ODP_PORTS_BY_NAME, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "(too long to print)");
	say(t, step, at, "%s", text);
}

/* ---- actions ---- */

static void run_list(struct trace *t, struct at *at, const struct odp_act *list, size_t len);

/* What is known of the destination at this moment; nobody is asked. */
static void into_tunnel(struct trace *t, struct at *at, const struct odp_port *p)
{
	const struct odp_tnl_dest *d;

	at->sent = true;
	if (!at->meta->tnl_set) {
		drop(t, at, ODP_DROP_TNL_DST);
		return;
	}
	d = odp_tnl_dest_find(t->dp, p->no, &at->meta->key.tnl);
	if (!d || !odp_tnl_dest_current(d) || d->verdict == ODP_TNL_WAIT)
		say(t, ODP_TRACE_OUTPUT, at, "tunnel %s, %" PRIu32 " bytes: the way is to be found",
			p->name, sent_bytes(at));
	else if (d->verdict == ODP_TNL_DROP)
		drop(t, at, d->why);
	else
		say(t, ODP_TRACE_OUTPUT, at,
			"tunnel %s, %" PRIu32 " bytes and %u of outer headers, by port %" PRIu32
			"%s",
			p->name, sent_bytes(at), d->tmpl.len, d->out,
			odp_pmtu_exceeds(at->m, d->inner_mtu) ? ", longer than the path's MTU"
							      : "");
}

/* False: to nobody. */
static bool output(struct trace *t, struct at *at, uint32_t no)
{
	struct odp_port *p = odp_port_by_no(t->dp, no);
	struct odp_port_caps caps = { 0 };

	if (p && p->tnl) {
		into_tunnel(t, at, p);
		return true;
	}
	if (p)
		p->conf.ops->caps(p->conf.drv, &caps);
	if (!caps.up) {
		say(t, ODP_TRACE_NOTE, at, "port %" PRIu32 " is not up: no copy goes there", no);
		return false;
	}
	at->sent = true;
	say(t, ODP_TRACE_OUTPUT, at, "%s (port %" PRIu32 "), %" PRIu32 " bytes%s", odp_port_name(p),
		no, sent_bytes(at), sent_bytes(at) > caps.mtu + 18u ? ", longer than its MTU" : "");
	return true;
}

/* A cut is for the first of them alone. */
static void output_all(struct trace *t, struct at *at, const struct odp_act *a)
{
	bool any = false;

	for (unsigned i = 0; at->m && i < odp_act_n_outputs(a); i++) {
		any |= output(t, at, ((const struct odp_act_output *)a)->port[i]);
		at->cut = 0;
	}
	at->gone |= !any;
}

static int edit(struct rte_mbuf *m, const struct odp_act *a, struct odp_meta *meta)
{
	uint32_t type = meta->packet_type;

	if (a->type == ODP_ACT_PUSH_ETH)
		meta->packet_type = 0;
	if (a->type == ODP_ACT_POP_ETH)
		meta->packet_type = ODP_PACKET_TYPE(odp_edit_eth_type(m));
	return odp_edit_act(m, a, type);
}

/* A field that goes along with the packet rather than in it. False: another one. */
static bool set_meta(struct at *at, const struct odp_act_set *s)
{
	struct odp_key *k = &at->meta->key;
	uint8_t *to;

	switch (s->field) {
	case ODP_SET_PRIORITY:
		to = (uint8_t *)&k->skb_priority;
		at->meta->map |= ODP_KEY_BITS(skb_priority);
		break;
	case ODP_SET_MARK:
		to = (uint8_t *)&k->skb_mark;
		at->meta->map |= ODP_KEY_BITS(skb_mark);
		break;
	case ODP_SET_TUNNEL:
		to = (uint8_t *)&k->tnl;
		at->meta->map |= ODP_KEY_TNL_BITS;
		at->meta->tnl_set = 1;
		break;
	default:
		return false;
	}
	for (unsigned i = 0; i < s->size; i++)
		to[i] = (uint8_t)((to[i] & ~s->value[s->size + i]) |
				  (s->value[i] & s->value[s->size + i]));
	return true;
}

static void change(struct trace *t, struct at *at, const struct odp_act *a)
{
	if (a->type == ODP_ACT_SET && set_meta(at, (const struct odp_act_set *)a))
		return;
	at->m = odp_edit_open(at->m, t->dp->conf.pool);
	if (!at->m)
		say(t, ODP_TRACE_DROP, at, "out of memory while tracing");
	else if (edit(at->m, a, at->meta) < 0)
		drop(t, at, ODP_DROP_MALFORMED);
}

/* A copy that is looked up next, with the metadata of now; NULL: it was said why not. */
static struct waiting *wait_for_lookup(struct trace *t, struct at *at)
{
	struct waiting *to = &t->queue[(t->first + t->n) % WAITING_MAX];

	at->sent = true;
	if (at->meta->depth >= ODP_RECIRC_DEPTH || t->n == WAITING_MAX) {
		say_drop(t, at, ODP_DROP_RECIRC_DEPTH);
		return NULL;
	}
	to->m = rte_pktmbuf_copy(at->m, t->dp->conf.pool, 0, UINT32_MAX);
	if (!to->m) {
		say(t, ODP_TRACE_DROP, at, "out of memory while tracing");
		return NULL;
	}
	to->meta = *at->meta;
	to->meta.depth++;
	t->n++;
	return to;
}

static void recirc(struct trace *t, struct at *at, uint32_t recirc_id)
{
	struct waiting *to = wait_for_lookup(t, at);

	if (!to)
		return;
	to->meta.key.recirc_id = recirc_id;
	say(t, ODP_TRACE_NOTE, at, "looked up again as recirc_id(%#" PRIx32 ")", recirc_id);
}

/* Of a copy: what is behind it in the list sees the packet as it is. */
static void tnl_pop(struct trace *t, struct at *at, uint32_t no)
{
	const struct odp_port *p = odp_port_by_no(t->dp, no);
	struct waiting *to;
	uint32_t depth = at->meta->depth + 1;
	struct odp_tnl_key key;
	struct odp_key_tnl tnl;
	uint16_t inner;
	int ret;

	if (!p || !p->tnl) {
		at->sent = true;
		say_drop(t, at, ODP_DROP_PORT_GONE);
		return;
	}
	to = wait_for_lookup(t, at);
	if (!to)
		return;
	ret = odp_tnl_pop(&to->m, &p->tnl->end, t->dp->conf.pool, &key, &inner);
	if (ret < 0) {
		rte_pktmbuf_free(to->m);
		t->n--;
		say_drop(t, at, odp_tnl_pop_reason(ret));
		return;
	}
	memset(&to->meta, 0, sizeof(to->meta));
	to->meta.depth = depth;
	to->meta.key.in_port = no;
	odp_tnl_to_flow(&key, &tnl);
	odp_meta_tnl(&to->meta, &tnl);
	to->meta.packet_type = inner == ODP_INNER_ETH ? 0 : ODP_PACKET_TYPE(inner);
	say(t, ODP_TRACE_NOTE, at, "out of tunnel %s, %" PRIu32 " bytes: looked up again", p->name,
		to->m->pkt_len);
}

static void tnl_push(struct trace *t, struct at *at, const struct odp_act_tnl_push *p)
{
	struct odp_tnl_tx tx = { .pool = t->dp->conf.pool };
	const struct odp_tnl_tmpl *tmpl = odp_acts_tmpl(p);
	const struct odp_port *out = odp_port_by_no(t->dp, p->out_port);
	struct odp_port_caps caps = { 0 };
	int ret;

	if (!out) {
		drop(t, at, ODP_DROP_PORT_GONE);
		return;
	}
	out->conf.ops->caps(out->conf.drv, &caps);
	if (odp_pmtu_exceeds(at->m, odp_tnl_inner_mtu_over(tmpl, caps.mtu))) {
		drop(t, at, ODP_DROP_MTU);
		return;
	}
	ret = odp_tnl_push(&at->m, tmpl, &tx, 0);
	if (ret < 0) {
		drop(t, at,
			ret == -EMSGSIZE ? ODP_DROP_MTU
			: ret == -ENOMEM ? ODP_DROP_NO_MBUF
					 : ODP_DROP_CSUM);
		return;
	}
	say(t, ODP_TRACE_NOTE, at, "%u bytes of outer headers on, the source port made of the flow",
		tmpl->len);
	if (p->h.flags & ODP_ACT_F_LAST)
		output(t, at, p->out_port);
}

/* The end of a list, or of a list within. */
static void finish(struct trace *t, struct at *at)
{
	if (at->m && !at->sent)
		drop(t, at, at->gone ? ODP_DROP_PORT_GONE : ODP_DROP_FLOW_DROP);
	rte_pktmbuf_free(at->m);
	at->m = NULL;
}

/*
 * A list on a copy, of which nothing is missed, or, where nothing wants the packet afterwards, on
 * the packet. What happens inside stays inside.
 */
static void nested(struct trace *t, struct at *at, const struct odp_act *a, const char *what,
	const struct odp_act *list, size_t len)
{
	bool takes = a->flags & ODP_ACT_F_LAST;
	struct odp_meta meta = *at->meta;
	struct at in = *at;

	say(t, ODP_TRACE_NOTE, at, "%s", what);
	in.meta = &meta;
	in.nesting++;
	in.sent |= !takes;
	if (takes)
		at->m = NULL;
	else
		in.m = rte_pktmbuf_copy(at->m, t->dp->conf.pool, 0, UINT32_MAX);
	run_list(t, &in, list, len);
	finish(t, &in);
}

/* "+trk+est" */
static void state_text(unsigned state, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < odp_key_ct_flags.n && n < size; i++)
		if (state >> i & 1)
			n += (size_t)snprintf(out + n, size - n, "+%s", odp_key_ct_flags.name[i]);
}

/* Where a packet goes and comes from once it is translated. */
static void say_translated(struct trace *t, struct at *at, const struct odp_ct_pkt *p)
{
	struct odp_ct_key k = p->key;
	char text[160];

	if (p->nat.what & ODP_NAT_SRC) {
		memcpy(k.src, p->nat.src, sizeof(k.src));
		k.sport = p->nat.sport;
	}
	if (p->nat.what & ODP_NAT_DST) {
		memcpy(k.dst, p->nat.dst, sizeof(k.dst));
		k.dport = p->nat.dport;
	}
	if (odp_ct_tuple_format(&k, text, sizeof(text)) >= 0)
		say(t, ODP_TRACE_NOTE, at, "translated to %s", text);
}

static void say_tracked(
	struct trace *t, struct at *at, const struct odp_act_ct *ct, const struct odp_ct_pkt *p)
{
	bool binds = ct->flags & (ODP_CT_A_SNAT | ODP_CT_A_DNAT) && ct->flags & ODP_CT_A_COMMIT;
	struct odp_ct_info info;
	char text[512];

	state_text(p->state, text, sizeof(text));
	say(t, ODP_TRACE_NOTE, at, "connection tracking in zone %u: %s%s", ct->zone, text,
		t->how & ODP_TRACE_CT_NEW ? ", no connection is looked for" : "");
	if (odp_ct_ref_info(t->dp->ct, p->ref, odp_track_now_ms(t->dp->control), &info) &&
		odp_ct_format(&info, 0, text, sizeof(text)) >= 0)
		say(t, ODP_TRACE_NOTE, at, "connection %s", text);
	if (p->state & (ODP_CS_SNAT | ODP_CS_DNAT) && p->nat.what)
		say_translated(t, at, p);
	else if (binds && !p->ref.conn && !(p->state & ODP_CS_INV))
		say(t, ODP_TRACE_NOTE, at,
			"not translated here: address and port are chosen with the commit");
}

static void track(struct trace *t, struct at *at, const struct odp_act_ct *ct)
{
	unsigned how = (t->how & ODP_TRACE_COMPOSED ? ODP_CT_BY_KEY : 0) |
		       (t->how & ODP_TRACE_CT_NEW ? ODP_CT_AS_NEW : 0);
	struct odp_ct_pkt p;

	switch (odp_act_ct_would(
		t->dp, ct, at->meta, how, &at->m, odp_track_now_ms(t->dp->control), &p)) {
	case 0:
		say_tracked(t, at, ct, &p);
		odp_act_ct_meta(at->meta, &p, ct->zone);
		break;
	case -ENOMEM:
		say(t, ODP_TRACE_DROP, at, "out of memory while tracing");
		break;
	case -EAGAIN:
		say(t, ODP_TRACE_NOTE, at,
			"a fragment waits for its datagram: a trace does not follow this");
		at->sent = true;
		rte_pktmbuf_free(at->m);
		at->m = NULL;
		break;
	default:
		drop(t, at, ODP_DROP_MALFORMED);
	}
}

static void check_len(struct trace *t, struct at *at, const struct odp_act *a)
{
	uint32_t max = ((const struct odp_act_u32 *)a)->v;
	bool longer = at->m->pkt_len > max;
	size_t len, n = 0;
	const struct odp_act *list = odp_act_list(a, &len);

	ODP_ACTS_FOREACH(branch, list, len)
	{
		size_t inner_len;
		const struct odp_act *inner = odp_act_list(branch, &inner_len);

		if ((n++ == 0) == longer)
			nested(t, at, a, longer ? "longer than that" : "not longer than that",
				inner, inner_len);
	}
}

static void dec_ttl(struct trace *t, struct at *at, const struct odp_act *a)
{
	size_t len;
	const struct odp_act *list = odp_act_list(a, &len);
	int ret;

	at->m = odp_edit_open(at->m, t->dp->conf.pool);
	ret = at->m ? odp_edit_dec_ttl(at->m) : 0;
	if (ret < 0) {
		drop(t, at, ODP_DROP_MALFORMED);
	} else if (ret > 0 && len == 0) {
		drop(t, at, ODP_DROP_TTL);
	} else if (ret > 0) {
		at->sent = true; // counted as what it is
		nested(t, at, a, "its time to live is over", list, len);
		rte_pktmbuf_free(at->m);
		at->m = NULL;
	}
}

static void other(struct trace *t, struct at *at, const struct odp_act *a)
{
	char text[512];

	if (odp_actions_format(
		    t->dp, a, (a->len + 7u) & ~7u, ODP_PORTS_BY_NAME, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "an action");
	say(t, ODP_TRACE_NOTE, at, "%s: a trace does not follow this", text);
}

static void run_one(struct trace *t, struct at *at, const struct odp_act *a)
{
	// The shortest records have no number
	uint32_t v = a->len < sizeof(struct odp_act_u32) ? 0 : ((const struct odp_act_u32 *)a)->v;
	size_t len;
	const struct odp_act *list;

	switch ((enum odp_act_type)a->type) {
	case ODP_ACT_OUTPUT:
		output_all(t, at, a);
		break;
	case ODP_ACT_SET:
	case ODP_ACT_PUSH_VLAN:
	case ODP_ACT_POP_VLAN:
	case ODP_ACT_PUSH_MPLS:
	case ODP_ACT_POP_MPLS:
	case ODP_ACT_PUSH_ETH:
	case ODP_ACT_POP_ETH:
		change(t, at, a);
		break;
	case ODP_ACT_USERSPACE:
		say(t, ODP_TRACE_NOTE, at, "a copy goes to the control thread");
		at->sent |= a->flags & ODP_ACT_F_LAST;
		at->cut = 0;
		break;
	case ODP_ACT_TRUNC:
		at->cut = v;
		break;
	case ODP_ACT_RECIRC:
		recirc(t, at, v);
		break;
	case ODP_ACT_TNL_POP:
		tnl_pop(t, at, v);
		break;
	case ODP_ACT_TNL_PUSH:
		tnl_push(t, at, (const struct odp_act_tnl_push *)a);
		break;
	case ODP_ACT_CLONE:
		list = odp_act_list(a, &len);
		nested(t, at, a, "a copy", list, len);
		break;
	case ODP_ACT_SAMPLE:
		list = odp_act_list(a, &len);
		nested(t, at, a, "a copy of some packets, taken for one of them", list, len);
		break;
	case ODP_ACT_CHECK_PKT_LEN:
		check_len(t, at, a);
		break;
	case ODP_ACT_CT:
		track(t, at, (const struct odp_act_ct *)a);
		break;
	case ODP_ACT_CT_CLEAR:
		odp_act_ct_clear(at->meta);
		break;
	case ODP_ACT_DEC_TTL:
		dec_ttl(t, at, a);
		break;
	case ODP_ACT_HASH:
		at->meta->key.dp_hash = odp_act_hash(&t->dp->seed, at->m,
			((const struct odp_act_hash *)a)->alg,
			((const struct odp_act_hash *)a)->basis);
		break;
	case ODP_ACT_METER:
		if (v < ODP_METERS)
			say(t, ODP_TRACE_NOTE, at, "meter %" PRIu32 ": not charged", v);
		else
			say(t, ODP_TRACE_NOTE, at, "storm control: not charged");
		break;
	case ODP_ACT_DROP:
		drop(t, at, (enum odp_drop)v);
		break;
	default:
		other(t, at, a);
		break;
	}
}

static void run_list(struct trace *t, struct at *at, const struct odp_act *list, size_t len)
{
	ODP_ACTS_FOREACH(a, list, len)
	{
		if (!at->m)
			return;
		run_one(t, at, a);
	}
}

/* ---- lookups ---- */

static void run_actions(struct trace *t, struct at *at, const struct odp_act *list, size_t len)
{
	char text[8192];

	if (odp_actions_format(t->dp, list, len, ODP_PORTS_BY_NAME, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "(too long to print)");
	say(t, ODP_TRACE_ACTIONS, at, "%s", text);
	run_list(t, at, list, len);
	finish(t, at);
}

static void no_flow(struct trace *t, struct at *at, const struct odp_key *key)
{
	const struct odp_act *list;
	size_t len;

	if (at->meta->depth > 0 || key->recirc_id) {
		drop(t, at, key->recirc_id ? ODP_DROP_RECIRC_MISS : ODP_DROP_TNL_MISS);
		return;
	}
	say(t, ODP_TRACE_NOTE, at, "no flow: the learning switch decides");
	if (odp_bridge_would(t->dp, key, &list, &len) == 0)
		run_actions(t, at, list, len);
}

/* By as much of the key as can be read, as a worker and the control thread do. */
static bool read_key(struct trace *t, const struct at *at, struct odp_kw *k)
{
	const struct odp_view *v = atomic_load_explicit(&t->dp->view, memory_order_relaxed);
	struct odp_key key = { 0 };
	uint32_t in_port = at->meta->key.in_port, type = at->meta->packet_type;

	if (odp_extract_mbuf(at->m, in_port, type, ODP_WANT_ALL, &key) < 0) {
		say(t, ODP_TRACE_NOTE, at, "headers that are cut short or contradict themselves");
		if (odp_extract_mbuf(at->m, in_port, type, v->map | ODP_WANT_L2, &key) < 0)
			return false;
	}
	*k = odp_kw(&key);
	odp_meta_to_key(at->meta, ~0ull, k);
	return true;
}

static void look_up(struct trace *t, struct at *at)
{
	const struct odp_view *v = atomic_load_explicit(&t->dp->view, memory_order_relaxed);
	struct odp_flow_info info;
	struct odp_key key, mask;
	struct odp_kw k, masked;

	if (!read_key(t, at, &k)) {
		drop(t, at, ODP_DROP_MALFORMED);
		return;
	}
	memcpy(&key, &k, sizeof(key));
	mask_of(&key, &mask);
	say_key(t, ODP_TRACE_KEY, at, &key, &mask);
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		masked.w[i] = k.w[i] & v->any.w[i];
	struct odp_flow *f;

	if (at->meta->packet_type)
		(void)odp_classifier_lookup_bare(v, &k, &f);
	else
		f = odp_classifier_lookup(v, &masked);
	if (!f) {
		no_flow(t, at, &key);
		return;
	}
	odp_flow_describe(t->dp, f, &info);
	say_key(t, ODP_TRACE_FLOW, at, &info.key, &info.mask);
	say(t, ODP_TRACE_NOTE, at, "flow %" PRIu64 " of %s", info.id, info.origin);
	run_actions(t, at, info.actions, info.actions_len);
}

/* The packet, in as many segments as it needs. NULL: no memory. */
static struct rte_mbuf *packet(struct odp *dp, const uint8_t *frame, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(dp->conf.pool);
	char *at = m && len <= rte_pktmbuf_tailroom(m) ? rte_pktmbuf_append(m, (uint16_t)len)
						       : NULL;

	if (!at) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(at, frame, len);
	return m;
}

int odp_trace(struct odp *dp, const struct odp_key *key, const uint8_t *frame, size_t len,
	unsigned how, odp_trace_fn fn, void *arg)
{
	struct trace *t = calloc(1, sizeof(*t));
	struct waiting *w;

	if (!t)
		return -ENOMEM;
	t->dp = dp;
	t->how = how;
	t->fn = fn;
	t->arg = arg;
	w = &t->queue[0];
	w->meta.map = ODP_KEY_META_BITS;
	w->meta.key = *key;
	memset(&w->meta.key, 0, ODP_KEY_META_WORD * 8);
	w->meta.key.in_port = key->in_port;
	w->meta.key.recirc_id = key->recirc_id;
	w->meta.packet_type = dpu_be32_get(key->packet_type);
	w->m = packet(dp, frame, len);
	if (!w->m) {
		free(t);
		return -ENOMEM;
	}
	if (dp->ct)
		(void)odp_track_enter(dp->control);
	for (t->n = 1; t->n > 0; t->first = (t->first + 1) % WAITING_MAX, t->n--) {
		w = &t->queue[t->first];
		struct at at = { .m = w->m, .meta = &w->meta };

		look_up(t, &at);
		rte_pktmbuf_free(at.m);
	}
	odp_track_leave(dp->control);
	free(t);
	return 0;
}

const char *odp_trace_step_name(enum odp_trace_step s)
{
	static const char *const names[] = { "key", "flow", "actions", "note", "output", "drop" };

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "?";
}
