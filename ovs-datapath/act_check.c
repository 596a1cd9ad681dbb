// SPDX-License-Identifier: Apache-2.0
/*
 * Action lists: checked and compiled, once, when they are installed.
 *
 * Whatever a list does to a packet must be possible with every packet that the flow matches: a
 * field may be set only where key and mask say that it is there. Along a list we keep what is known
 * of the packet at that point; what a list within does, it does to copies.
 *
 * The executor relies on what is found here and looks at no length again.
 */
#include "act_ct.h"
#include "action.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "meter.h"
#include "track.h"
#include "vport.h"

#define ETH_LEN 14u
#define PARTS_MAX 8u // actions after which packets go on in groups, each on its own stack

/* What packets are known to be. 0: unknown, or not there. */
struct form {
	uint16_t eth_type;
	uint8_t proto;
	uint8_t icmp6_type; // of neighbour discovery
	uint16_t tags;
	bool eth; // begins with an Ethernet header
};

struct check {
	struct odp *dp;
	unsigned outputs, parts, pushes;
	bool tracks;
};

static bool is_ip(const struct form *f)
{
	return f->eth_type == 0x0800 || f->eth_type == 0x86dd;
}

static bool is_mpls(uint16_t eth_type)
{
	return eth_type == 0x8847 || eth_type == 0x8848;
}

static bool has_tag(dpu_be16 key, dpu_be16 mask)
{
	return dpu_be16_get(key) & dpu_be16_get(mask) & ODP_VLAN_PRESENT;
}

static struct form form_of(const struct odp_key *key, const struct odp_key *mask)
{
	// What is not said to begin otherwise begins with an Ethernet header.
	struct form f = { .eth = (dpu_be32_get(key->packet_type) &
					 dpu_be32_get(mask->packet_type)) == 0 };

	if (has_tag(key->vlan_tci, mask->vlan_tci))
		f.tags = has_tag(key->cvlan_tci, mask->cvlan_tci) ? 2 : 1;
	if (dpu_be16_get(mask->eth_type) != UINT16_MAX)
		return f;
	f.eth_type = dpu_be16_get(key->eth_type);
	if (!is_ip(&f) || mask->ip_proto != UINT8_MAX)
		return f;
	f.proto = key->ip_proto;
	if (f.proto == IPPROTO_ICMPV6 && dpu_be16_get(mask->tp_src) == UINT16_MAX)
		f.icmp6_type = (uint8_t)dpu_be16_get(key->tp_src);
	return f;
}

/* ---- one action ---- */

/* Bytes that belong to nothing are zero: what is set is compared as bytes. */
static int check_tunnel(const struct odp_act_set *s)
{
	struct odp_key_tnl t;

	memcpy(&t, s->value, sizeof(t));
	if ((t.family != 4 && t.family != 6) || t.opts_len > ODP_TNL_OPTS || t.opts_len % 4 ||
		(t.flags & ~0xfu) || t.pad)
		return -EINVAL;
	for (size_t i = t.opts_len; i < sizeof(t) - offsetof(struct odp_key_tnl, opts); i++)
		if (s->value[offsetof(struct odp_key_tnl, opts) + i])
			return -EINVAL;
	for (size_t i = sizeof(t.ipv4); t.family == 4 && i < sizeof(t.ipv6); i++)
		if (((const uint8_t *)&t.ipv6)[i])
			return -EINVAL;
	for (unsigned i = 0; i < sizeof(t); i++)
		if (s->value[sizeof(t) + i] != UINT8_MAX)
			return -EINVAL; // a tunnel is set as a whole
	return 0;
}

static int check_set(const struct odp_act *a, const struct form *f)
{
	const struct odp_act_set *s = (const struct odp_act_set *)a;
	struct odp_set_ipv6 v6;
	bool ok = true, of_packet = s->field > ODP_SET_TUNNEL;

	if (a->len < sizeof(*s) || s->size == 0 || s->size != odp_set_size(s->field) ||
		a->len - sizeof(*s) != 2u * s->size)
		return -EINVAL;
	if (of_packet && !f->eth)
		return -EINVAL;
	switch ((enum odp_set_field)s->field) {
	case ODP_SET_PRIORITY:
	case ODP_SET_MARK:
		break;
	case ODP_SET_TUNNEL:
		return check_tunnel(s);
	case ODP_SET_ETH:
		break;
	case ODP_SET_VLAN:
		ok = f->tags > 0;
		break;
	case ODP_SET_MPLS:
		ok = is_mpls(f->eth_type);
		break;
	case ODP_SET_IPV4:
		ok = f->eth_type == 0x0800;
		break;
	case ODP_SET_IPV6:
		memcpy(&v6, s->value, sizeof(v6));
		ok = f->eth_type == 0x86dd && dpu_be32_get(v6.label) <= 0xfffff;
		break;
	case ODP_SET_ARP:
		ok = f->eth_type == 0x0806 || f->eth_type == 0x8035;
		break;
	case ODP_SET_TCP:
		ok = is_ip(f) && f->proto == IPPROTO_TCP;
		break;
	case ODP_SET_UDP:
		ok = is_ip(f) && f->proto == IPPROTO_UDP;
		break;
	case ODP_SET_SCTP:
		ok = is_ip(f) && f->proto == IPPROTO_SCTP;
		break;
	case ODP_SET_ICMP:
		ok = f->eth_type == 0x0800 && f->proto == IPPROTO_ICMP;
		break;
	case ODP_SET_ICMPV6:
		ok = f->eth_type == 0x86dd && f->proto == IPPROTO_ICMPV6;
		break;
	case ODP_SET_ND:
		ok = f->eth_type == 0x86dd && f->proto == IPPROTO_ICMPV6 &&
		     (f->icmp6_type == 135 || f->icmp6_type == 136);
		break;
	case ODP_SET_FIELDS:
		return -EINVAL;
	}
	return ok ? 0 : -EINVAL;
}

static int check_output(struct check *c, const struct odp_act *a, const struct form *f)
{
	const struct odp_act_output *o = (const struct odp_act_output *)a;
	unsigned n = odp_act_n_outputs(a);

	if (n == 0 || a->len % 4 || n > ODP_ACT_OUTPUTS_MAX - c->outputs || !f->eth)
		return -EINVAL;
	c->outputs += n;
	for (unsigned i = 0; i < n; i++)
		if (!odp_port_by_no(c->dp, o->port[i]))
			return -ENODEV;
	return 0;
}

/* The tunnel port of an action; NULL: none. */
static const struct odp_vport *vport_of(const struct check *c, uint32_t no)
{
	const struct odp_port *p = odp_port_by_no(c->dp, no);

	return p ? p->tnl : NULL;
}

static bool push_fits(uint16_t push, enum odp_tnl_type type)
{
	switch (type) {
	case ODP_TNL_GENEVE:
		return push == ODP_PUSH_GENEVE;
	case ODP_TNL_GRE:
		return push == ODP_PUSH_GRE || push == ODP_PUSH_IP6GRE;
	default:
		return push == ODP_PUSH_VXLAN;
	}
}

/* The packet is the outer one afterwards. */
static int check_push(struct check *c, const struct odp_act *a, struct form *f)
{
	const struct odp_act_tnl_push *p = (const struct odp_act_tnl_push *)a;
	const struct odp_vport *v;
	struct odp_tnl_tmpl t;

	if (a->len < sizeof(*p) || a->len - sizeof(*p) != p->hdr_len || !f->eth ||
		c->parts == PARTS_MAX)
		return -EINVAL;
	v = vport_of(c, p->tnl_port);
	if (!v || !odp_port_by_no(c->dp, p->out_port))
		return -ENODEV;
	if (vport_of(c, p->out_port) || !push_fits(p->tnl_type, v->end.type) ||
		odp_tnl_tmpl_of(v->end.type, p->hdr, p->hdr_len, &t) < 0 ||
		(p->tnl_type == ODP_PUSH_IP6GRE && t.family != 6))
		return -EINVAL;
	c->parts++;
	c->pushes++;
	*f = (struct form){ .eth_type = t.family == 4 ? 0x0800 : 0x86dd,
		.proto = t.udp ? IPPROTO_UDP : IPPROTO_GRE,
		.tags = t.l2_len > ETH_LEN ? 1 : 0,
		.eth = true };
	return 0;
}

static int check_pop(const struct check *c, const struct odp_act *a, const struct form *f)
{
	if (a->len != sizeof(struct odp_act_u32) || !f->eth)
		return -EINVAL;
	return vport_of(c, ((const struct odp_act_u32 *)a)->v) ? 0 : -ENODEV;
}

static int check_userspace(const struct odp_act *a)
{
	const struct odp_act_userspace *u = (const struct odp_act_userspace *)a;

	if (a->len < sizeof(*u) || u->data_len > ODP_USERDATA_MAX ||
		a->len - sizeof(*u) != u->data_len)
		return -EINVAL;
	return 0;
}

/* Tags, labels and Ethernet headers on and off: the packet is another one afterwards. */
static int check_push_pop(const struct odp_act *a, struct form *f)
{
	const struct odp_act_vlan *v = (const struct odp_act_vlan *)a;
	const struct odp_act_mpls *m = (const struct odp_act_mpls *)a;

	switch (a->type) {
	case ODP_ACT_PUSH_VLAN:
		if (a->len != sizeof(*v) || !f->eth || (v->tpid != 0x8100 && v->tpid != 0x88a8))
			return -EINVAL;
		f->tags++;
		return 0;
	case ODP_ACT_POP_VLAN:
		if (a->len != sizeof(*a) || f->tags == 0)
			return -EINVAL;
		f->tags--;
		return 0;
	case ODP_ACT_PUSH_MPLS:
		if (a->len != sizeof(*m) || !is_mpls(m->eth_type) || f->eth_type == 0 || !f->eth)
			return -EINVAL;
		*f = (struct form){ .eth_type = m->eth_type, .tags = f->tags, .eth = f->eth };
		return 0;
	case ODP_ACT_POP_MPLS:
		if (a->len != sizeof(*m) || !is_mpls(f->eth_type) || m->eth_type == 0 || !f->eth)
			return -EINVAL;
		// Nothing is known of what the last label hid.
		f->eth_type = is_mpls(m->eth_type) ? m->eth_type : 0;
		return 0;
	case ODP_ACT_PUSH_ETH:
		if (a->len != sizeof(struct odp_act_eth) || f->eth)
			return -EINVAL;
		f->eth = true;
		return 0;
	case ODP_ACT_POP_ETH:
		if (a->len != sizeof(*a) || !f->eth || f->tags > 0 || f->eth_type == 0)
			return -EINVAL;
		f->eth = false;
		return 0;
	default:
		return -EINVAL;
	}
}

static int check_u32(const struct odp_act *a)
{
	const struct odp_act_u32 *u = (const struct odp_act_u32 *)a;

	if (a->len != sizeof(*u))
		return -EINVAL;
	switch (a->type) {
	case ODP_ACT_TRUNC:
		return u->v >= ETH_LEN ? 0 : -EINVAL;
	case ODP_ACT_DROP:
		return u->v < ODP_DROP_COUNT ? 0 : -EINVAL;
	case ODP_ACT_METER:
		return u->v < ODP_METERS_ALL ? 0 : -EINVAL;
	default:
		return 0;
	}
}

/* ---- lists ---- */

/* The record that the first `left` bytes begin with, when it is whole. */
static bool whole(const struct odp_act *a, size_t left)
{
	return left >= sizeof(*a) && a->len >= sizeof(*a) && a->len <= left;
}

static int check_list(
	struct check *c, const struct odp_act *list, size_t len, struct form f, unsigned depth);

static int check_nested(
	struct check *c, const struct odp_act *a, const struct form *f, unsigned depth)
{
	size_t head = a->type == ODP_ACT_SAMPLE ? sizeof(struct odp_act_u32) : sizeof(*a), len;

	if (a->len < head || depth == ODP_ACT_DEPTH_MAX)
		return -EINVAL;
	const struct odp_act *list = odp_act_list(a, &len);

	return check_list(c, list, len, *f, depth + 1);
}

/* Two lists, of which each packet takes one. */
static int check_pkt_len(
	struct check *c, const struct odp_act *a, const struct form *f, unsigned depth)
{
	size_t head = sizeof(struct odp_act_u32), left = a->len - head;
	const struct odp_act *in = odp_act_end(a, head);

	if (a->len < head || depth == ODP_ACT_DEPTH_MAX ||
		((const struct odp_act_u32 *)a)->v > UINT16_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < 2; i++) {
		if (!whole(in, left) || in->type != ODP_ACT_LIST || in->len % 8)
			return -EINVAL;
		int ret = check_nested(c, in, f, depth + 1);

		if (ret < 0)
			return ret;
		left -= in->len;
		in = odp_act_next(in);
	}
	return left == 0 ? 0 : -EINVAL;
}

static int check_hash(struct check *c, const struct odp_act *a, const struct form *f)
{
	const struct odp_act_hash *h = (const struct odp_act_hash *)a;

	if (a->len != sizeof(*h) || h->alg > ODP_HASH_SYM_L4 || !f->eth || c->parts == PARTS_MAX)
		return -EINVAL;
	c->parts++;
	return 0;
}

static int check_ct(struct check *c, const struct odp_act *a, const struct form *f)
{
	if (a->len != sizeof(struct odp_act_ct) || !is_ip(f) || !f->eth || c->parts == PARTS_MAX)
		return -EINVAL;
	c->parts++;
	c->tracks = true;
	return odp_act_ct_check((const struct odp_act_ct *)a, f->eth_type);
}

/* `last`: of its list. */
static int check_one(
	struct check *c, const struct odp_act *a, struct form *f, unsigned depth, bool last)
{
	switch (a->type) {
	case ODP_ACT_OUTPUT:
		return check_output(c, a, f);
	case ODP_ACT_USERSPACE:
		return check_userspace(a);
	case ODP_ACT_SET:
		return check_set(a, f);
	case ODP_ACT_PUSH_VLAN:
	case ODP_ACT_POP_VLAN:
	case ODP_ACT_PUSH_MPLS:
	case ODP_ACT_POP_MPLS:
	case ODP_ACT_PUSH_ETH:
	case ODP_ACT_POP_ETH:
		return check_push_pop(a, f);
	case ODP_ACT_DEC_TTL:
		return is_ip(f) && f->eth ? check_nested(c, a, f, depth) : -EINVAL;
	case ODP_ACT_CLONE:
	case ODP_ACT_SAMPLE:
		return check_nested(c, a, f, depth);
	case ODP_ACT_CHECK_PKT_LEN:
		return check_pkt_len(c, a, f, depth);
	case ODP_ACT_HASH:
		return check_hash(c, a, f);
	case ODP_ACT_CT:
		return check_ct(c, a, f);
	case ODP_ACT_CT_CLEAR:
		return a->len == sizeof(*a) ? 0 : -EINVAL;
	case ODP_ACT_TRUNC:
	case ODP_ACT_METER:
	case ODP_ACT_RECIRC:
		return check_u32(a);
	case ODP_ACT_TNL_PUSH:
		return check_push(c, a, f);
	case ODP_ACT_TNL_POP:
		return check_pop(c, a, f);
	case ODP_ACT_DROP:
		return last ? check_u32(a) : -EINVAL;
	default:
		return -EINVAL;
	}
}

static int check_list(
	struct check *c, const struct odp_act *list, size_t len, struct form f, unsigned depth)
{
	const struct odp_act *a = list;

	if (len % 8)
		return -EINVAL;
	while (len > 0) {
		if (!whole(a, len))
			return -EINVAL;
		size_t step = (a->len + (size_t)7) & ~(size_t)7;
		int ret = check_one(c, a, &f, depth, step == len);

		if (ret < 0)
			return ret;
		len -= step;
		a = odp_act_next(a);
	}
	return 0;
}

/* ---- compilation ---- */

#define BIT(type) (1u << ODP_ACT_##type)
/* What takes the packet when nothing comes behind that wants it. */
#define TAKES                                                                    \
	(BIT(OUTPUT) | BIT(USERSPACE) | BIT(RECIRC) | BIT(CLONE) | BIT(SAMPLE) | \
		BIT(CHECK_PKT_LEN) | BIT(TNL_PUSH) | BIT(TNL_POP) | BIT(DROP))
/* What can be noticed from outside: edits behind the last of these are in vain. */
#define EFFECTS (TAKES | BIT(METER) | BIT(CT) | BIT(DEC_TTL))
static_assert(ODP_ACT_TYPES <= 32, "a bit each");

static void compile(struct odp_act *list, size_t len)
{
	struct odp_act *last = NULL;

	ODP_ACTS_FOREACH(c, list, len)
	{
		struct odp_act *a = (struct odp_act *)(uintptr_t)c;
		size_t inner;
		const struct odp_act *in = odp_act_list(a, &inner);

		a->flags = 0;
		if (EFFECTS & 1u << a->type)
			last = a;
		if (in)
			compile((struct odp_act *)(uintptr_t)in, inner);
		if (a->type == ODP_ACT_SET) {
			struct odp_act_set *s = (struct odp_act_set *)a;

			for (unsigned i = 0; i < s->size; i++)
				s->value[i] &= s->value[s->size + i];
		}
	}
	if (last && TAKES & 1u << last->type)
		last->flags = ODP_ACT_F_LAST;
}

/* Templates of the headers that are pushed: they were found good before. */
static void compile_pushes(
	struct odp *dp, struct odp_act *list, size_t len, struct odp_tnl_tmpl **tmpl)
{
	ODP_ACTS_FOREACH(c, list, len)
	{
		struct odp_act_tnl_push *p = (struct odp_act_tnl_push *)(uintptr_t)c;
		size_t inner;
		const struct odp_act *in = odp_act_list(c, &inner);

		if (in)
			compile_pushes(dp, (struct odp_act *)(uintptr_t)in, inner, tmpl);
		if (c->type != ODP_ACT_TNL_PUSH)
			continue;
		p->off = (uint32_t)((uint8_t *)*tmpl - (uint8_t *)p);
		(void)odp_tnl_tmpl_of(odp_port_by_no(dp, p->tnl_port)->tnl->end.type, p->hdr,
			p->hdr_len, (*tmpl)++);
	}
}

static bool tracks(const struct odp_act *list, size_t len)
{
	ODP_ACTS_FOREACH(a, list, len)
	if (a->type == ODP_ACT_CT)
		return true;
	return false;
}

/*
 * Nothing in it looks at a tuple that conntrack left in the headers, but a further lookup, and that
 * only while they are as they were.
 */
static bool plain(const struct odp_act *list, size_t len)
{
	bool edited = false;

	ODP_ACTS_FOREACH(a, list, len)
	{
		enum odp_act_ct_use use = odp_act_ct_use(a->type);

		if (use == ODP_ACT_CT_SAYS)
			return true;
		if (use == ODP_ACT_CT_LOOKS && (a->type != ODP_ACT_RECIRC || edited))
			return false;
		edited |= use == ODP_ACT_CT_EDITS;
	}
	return true;
}

int odp_acts_create(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_act *list, size_t len, struct odp_acts **out)
{
	struct check c = { .dp = dp };

	if (len > ODP_ACT_LIST_MAX)
		return -EINVAL;
	int ret = check_list(&c, list, len, form_of(key, mask), 0);

	if (ret == 0 && c.tracks)
		ret = odp_track_init(dp); // before any worker could need it
	if (ret < 0)
		return ret;
	struct odp_acts *acts = dpu_calloc(
		1, sizeof(*acts) + len + c.pushes * sizeof(struct odp_tnl_tmpl));

	if (!acts)
		return -ENOMEM;
	struct odp_tnl_tmpl *tmpl = (struct odp_tnl_tmpl *)(void *)((uint8_t *)acts->list + len);

	acts->serial = ++dp->acts_serial;
	acts->tracks = tracks(list, len);
	acts->plain = plain(list, len);
	acts->len = (uint32_t)len;
	acts->eth = form_of(key, mask).eth;
	acts->kind = len == 0 ? ODP_ACTS_DROP : ODP_ACTS_LIST;
	if (len > 0) {
		memcpy(acts->list, list, len);
		compile(acts->list, len);
	}
	if (c.pushes > 0)
		compile_pushes(dp, acts->list, len, &tmpl);
	// The only action, and what is most common.
	if (c.outputs == 1 && len == 16 && acts->list->type == ODP_ACT_OUTPUT) {
		acts->port = ((const struct odp_act_output *)acts->list)->port[0];
		acts->kind = vport_of(&c, acts->port) ? ODP_ACTS_LIST : ODP_ACTS_OUTPUT;
	}
	*out = acts;
	return 0;
}

/* ---- looking into lists ---- */

bool odp_acts_name_port(const struct odp_act *list, size_t len, uint32_t port)
{
	ODP_ACTS_FOREACH(a, list, len)
	{
		size_t inner;
		const struct odp_act *in = odp_act_list(a, &inner);
		const struct odp_act_output *o = (const struct odp_act_output *)a;

		if (in && odp_acts_name_port(in, inner, port))
			return true;
		if (a->type == ODP_ACT_TNL_PUSH &&
			(((const struct odp_act_tnl_push *)a)->out_port == port ||
				((const struct odp_act_tnl_push *)a)->tnl_port == port))
			return true;
		if (a->type == ODP_ACT_TNL_POP && ((const struct odp_act_u32 *)a)->v == port)
			return true;
		for (unsigned i = 0; a->type == ODP_ACT_OUTPUT && i < odp_act_n_outputs(a); i++)
			if (o->port[i] == port)
				return true;
	}
	return false;
}
