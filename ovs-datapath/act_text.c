// SPDX-License-Identifier: Apache-2.0
/* Action lists as text: printing. */
#include "fields.h"
#include "odp_meter.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct fmt {
	struct odp_out o;
	struct odp *dp; // NULL: ports by number
};

/* A name that would be read as something else. */
static bool is_word(const char *s)
{
	static const char *const words[] = { "drop", "pop_vlan", "pop_eth", "userspace", "ct",
		"ct_clear" };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(s, words[i]))
			return true;
	return s[0] == '\0' || isdigit((unsigned char)s[0]) || strpbrk(s, "(), \t\r\n\v\f") ||
	       strlen(s) >= ODP_WORD_MAX;
}

static void put_port(struct fmt *f, uint32_t no)
{
	const struct odp_port *p = f->dp ? odp_port_by_no(f->dp, no) : NULL;

	if (p && !is_word(odp_port_name(p)))
		odp_out_put(&f->o, "%s", odp_port_name(p));
	else
		odp_out_put(&f->o, "%" PRIu32, no);
}

/* Those behind the operators' are the switch's own, and no text makes them. */
static void put_meter(struct fmt *f, uint32_t id)
{
	if (id < ODP_METERS) {
		odp_out_put(&f->o, "meter(%" PRIu32 ")", id);
		return;
	}
	odp_out_put(&f->o, "storm(");
	put_port(f, id - ODP_METERS);
	odp_out_put(&f->o, ")");
}

static void put_outputs(struct fmt *f, const struct odp_act *a)
{
	const struct odp_act_output *out = (const struct odp_act_output *)a;

	for (unsigned i = 0; i < odp_act_n_outputs(a); i++) {
		odp_out_put(&f->o, "%s", i ? "," : "");
		put_port(f, out->port[i]);
	}
}

static void put_userspace(struct odp_out *o, const struct odp_act *a)
{
	const struct odp_act_userspace *u = (const struct odp_act_userspace *)a;

	odp_out_put(o, "userspace(pid=%" PRIu32, u->pid);
	if (u->data_len > 0) {
		odp_out_put(o, ",userdata(");
		odp_out_hex(o, u->data, u->data_len);
		odp_out_put(o, ")");
	}
	odp_out_put(o, ")");
}

static void put_tag(struct odp_out *o, const struct odp_act *a)
{
	const struct odp_act_vlan *v = (const struct odp_act_vlan *)a;

	odp_out_put(o, "push_vlan(");
	if (v->tpid != 0x8100)
		odp_out_put(o, "tpid=0x%04x,", v->tpid);
	odp_out_put(o, "vid=%u,pcp=%u%s)", v->tci & 0xfffu, (unsigned)v->tci >> 13,
		v->tci & 0x1000 ? ",cfi=1" : "");
}

static void put_lse(struct odp_out *o, uint32_t lse)
{
	odp_out_put(o, "label=%" PRIu32 ",tc=%" PRIu32 ",ttl=%" PRIu32 ",bos=%" PRIu32, lse >> 12,
		lse >> 9 & 7, lse & 0xff, lse >> 8 & 1);
}

static void put_host(struct odp_out *o, const char *name, const struct odp_act_set *s)
{
	uint32_t v, m;

	memcpy(&v, s->value, sizeof(v));
	memcpy(&m, s->value + sizeof(v), sizeof(m));
	odp_out_put(o, "%s(0x%" PRIx32, name, v);
	if (m != UINT32_MAX)
		odp_out_put(o, "/0x%" PRIx32, m);
	odp_out_put(o, ")");
}

/* "mpls(label=..,tc=..,ttl=..,bos=..)": parts that are set as a whole; else all as one number. */
static void put_set_mpls(struct odp_out *o, const struct odp_act_set *s)
{
	dpu_be32 lse, mask;
	uint32_t v, m;

	memcpy(&lse, s->value, sizeof(lse));
	memcpy(&mask, s->value + sizeof(lse), sizeof(mask));
	v = dpu_be32_get(lse);
	m = dpu_be32_get(mask);
	odp_out_put(o, "mpls(");
	if (m == UINT32_MAX)
		put_lse(o, v);
	else
		odp_out_put(o, "lse=0x%" PRIx32 "/0x%" PRIx32, v, m);
	odp_out_put(o, ")");
}

static void put_set(struct odp_out *o, const struct odp_act *a)
{
	const struct odp_act_set *s = (const struct odp_act_set *)a;
	struct odp_field fields[ODP_FIELDS_MAX];
	struct odp_key_tnl tnl;

	odp_out_put(o, "set(");
	if (s->field == ODP_SET_PRIORITY || s->field == ODP_SET_MARK) {
		put_host(o, odp_set_names[s->field], s);
	} else if (s->field == ODP_SET_MPLS) {
		put_set_mpls(o, s);
	} else if (s->field == ODP_SET_TUNNEL) {
		memcpy(&tnl, s->value, sizeof(tnl));
		odp_out_tunnel(o, &tnl);
	} else {
		odp_set_fields(s->field, fields);
		odp_out_put(o, "%s(", odp_set_names[s->field]);
		odp_out_fields(o, fields, s->value, s->value + s->size);
		odp_out_put(o, ")");
	}
	odp_out_put(o, ")");
}

static void put_eth(struct odp_out *o, const struct odp_act *a)
{
	const struct odp_act_eth *e = (const struct odp_act_eth *)a;

	odp_out_put(o, "push_eth(src=");
	odp_out_value(o, FIELD_MAC, e->src, 6);
	odp_out_put(o, ",dst=");
	odp_out_value(o, FIELD_MAC, e->dst, 6);
	odp_out_put(o, ")");
}

/* In percent, with as many digits as tell it from its neighbours. */
static void put_probability(struct odp_out *o, uint32_t p)
{
	char text[32];

	for (int digits = 1; digits <= 9; digits++) {
		snprintf(text, sizeof(text), "%.*f", digits, p * 100.0 / UINT32_MAX);
		if ((uint32_t)(strtod(text, NULL) / 100 * UINT32_MAX + 0.5) == p)
			break;
	}
	odp_out_put(o, "sample=%s%%", text);
}

/* ---- connection tracking ---- */

static void put_label(struct odp_out *o, const uint8_t label[16])
{
	unsigned i = 0;

	while (i < 15 && label[i] == 0)
		i++;
	odp_out_put(o, "0x%x", label[i]);
	odp_out_hex(o, label + i + 1, 15 - i);
}

static void put_nat_address(struct odp_out *o, uint16_t family, const uint8_t *a)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(family == 4 ? AF_INET : AF_INET6, a, text, sizeof(text));
	odp_out_put(o, family == 6 ? "[%s]" : "%s", text);
}

static void put_nat(struct odp_out *o, const struct odp_act_ct *c, const char *sep)
{
	size_t n = c->nat_family == 4 ? 4 : 16;

	odp_out_put(o, "%snat", sep);
	if (!(c->flags & (ODP_CT_A_SNAT | ODP_CT_A_DNAT)))
		return;
	odp_out_put(o, c->flags & ODP_CT_A_SNAT ? "(src" : "(dst");
	if (c->nat_family) {
		odp_out_put(o, "=");
		put_nat_address(o, c->nat_family, c->nat_min);
		if (memcmp(c->nat_min, c->nat_max, n) != 0) {
			odp_out_put(o, "-");
			put_nat_address(o, c->nat_family, c->nat_max);
		}
		if (c->nat_port_min)
			odp_out_put(o, ":%u", c->nat_port_min);
		if (c->nat_port_max != c->nat_port_min)
			odp_out_put(o, "-%u", c->nat_port_max);
	}
	odp_out_put(o, "%s%s%s)", c->flags & ODP_CT_A_PERSISTENT ? ",persistent" : "",
		c->flags & ODP_CT_A_NAT_HASH ? ",hash" : "",
		c->flags & ODP_CT_A_NAT_RANDOM ? ",random" : "");
}

static void put_ct(struct odp_out *o, const struct odp_act *a)
{
	const struct odp_act_ct *c = (const struct odp_act_ct *)a;
	const char *sep = "(";

	odp_out_put(o, "ct");
	if (c->flags & ODP_CT_A_COMMIT) {
		odp_out_put(o, "%s%scommit", sep, c->flags & ODP_CT_A_FORCE ? "force_" : "");
		sep = ",";
	}
	if (c->zone) {
		odp_out_put(o, "%szone=%u", sep, c->zone);
		sep = ",";
	}
	if (c->mark_mask) {
		odp_out_put(o, "%smark=0x%" PRIx32 "/0x%" PRIx32, sep, c->mark, c->mark_mask);
		sep = ",";
	}
	if (!odp_is_all(c->label_mask, 16, 0)) {
		odp_out_put(o, "%slabel=", sep);
		put_label(o, c->label);
		odp_out_put(o, "/");
		put_label(o, c->label_mask);
		sep = ",";
	}
	if (c->helper[0]) {
		odp_out_put(o, "%shelper=%s", sep, c->helper);
		sep = ",";
	}
	if (c->timeout[0]) {
		odp_out_put(o, "%stimeout=%s", sep, c->timeout);
		sep = ",";
	}
	if (c->flags & ODP_CT_A_NAT) {
		put_nat(o, c, sep);
		sep = ",";
	}
	odp_out_put(o, "%s", *sep == ',' ? ")" : "");
}

/* ---- lists ---- */

static void put_list(struct fmt *f, const struct odp_act *list, size_t len);

static void put_nested(struct fmt *f, const char *before, const struct odp_act *a)
{
	size_t len;
	const struct odp_act *list = odp_act_list(a, &len);

	odp_out_put(&f->o, "%s(", before);
	put_list(f, list, len);
	odp_out_put(&f->o, ")");
}

static void put_check_pkt_len(struct fmt *f, const struct odp_act *a)
{
	size_t len;
	const struct odp_act *gt = odp_act_list(a, &len);

	odp_out_put(&f->o, "check_pkt_len(size=%" PRIu32, ((const struct odp_act_u32 *)a)->v);
	put_nested(f, ",gt", gt);
	put_nested(f, ",le", odp_act_next(gt));
	odp_out_put(&f->o, ")");
}

static void put_tnl_push(struct fmt *f, const struct odp_act *a)
{
	const struct odp_act_tnl_push *t = (const struct odp_act_tnl_push *)a;

	odp_out_put(&f->o, "tnl_push(tnl_port(");
	put_port(f, t->tnl_port);
	odp_out_put(&f->o, "),");
	odp_out_push(&f->o, t->tnl_type, t->hdr, t->hdr_len);
	odp_out_put(&f->o, ",out_port(");
	put_port(f, t->out_port);
	odp_out_put(&f->o, "))");
}

static void put_lower(struct odp_out *o, const char *s)
{
	for (; *s; s++)
		odp_out_put(o, "%c", tolower((unsigned char)*s));
}

static void put_one(struct fmt *f, const struct odp_act *a)
{
	const struct odp_act_u32 *u = (const struct odp_act_u32 *)a;
	const struct odp_act_mpls *m = (const struct odp_act_mpls *)a;
	const struct odp_act_hash *h = (const struct odp_act_hash *)a;
	struct odp_out *o = &f->o;

	switch ((enum odp_act_type)a->type) {
	case ODP_ACT_OUTPUT:
		put_outputs(f, a);
		break;
	case ODP_ACT_USERSPACE:
		put_userspace(o, a);
		break;
	case ODP_ACT_PUSH_VLAN:
		put_tag(o, a);
		break;
	case ODP_ACT_POP_VLAN:
		odp_out_put(o, "pop_vlan");
		break;
	case ODP_ACT_SET:
		put_set(o, a);
		break;
	case ODP_ACT_PUSH_MPLS:
		odp_out_put(o, "push_mpls(");
		put_lse(o, dpu_be32_get(m->lse));
		odp_out_put(o, ",eth_type=0x%x)", m->eth_type);
		break;
	case ODP_ACT_POP_MPLS:
		odp_out_put(o, "pop_mpls(eth_type=0x%x)", m->eth_type);
		break;
	case ODP_ACT_PUSH_ETH:
		put_eth(o, a);
		break;
	case ODP_ACT_POP_ETH:
		odp_out_put(o, "pop_eth");
		break;
	case ODP_ACT_HASH:
		odp_out_put(o, "hash(%sl4(%" PRIu32 "))", h->alg == ODP_HASH_L4 ? "" : "sym_",
			h->basis);
		break;
	case ODP_ACT_RECIRC:
		odp_out_put(o, "recirc(0x%" PRIx32 ")", u->v);
		break;
	case ODP_ACT_CLONE:
		put_nested(f, "clone", a);
		break;
	case ODP_ACT_SAMPLE:
		odp_out_put(o, "sample(");
		put_probability(o, u->v);
		put_nested(f, ",actions", a);
		odp_out_put(o, ")");
		break;
	case ODP_ACT_METER:
		put_meter(f, u->v);
		break;
	case ODP_ACT_CHECK_PKT_LEN:
		put_check_pkt_len(f, a);
		break;
	case ODP_ACT_TRUNC:
		odp_out_put(o, "trunc(%" PRIu32 ")", u->v);
		break;
	case ODP_ACT_DEC_TTL:
		put_nested(f, "dec_ttl(le_1", a);
		odp_out_put(o, ")");
		break;
	case ODP_ACT_CT:
		put_ct(o, a);
		break;
	case ODP_ACT_CT_CLEAR:
		odp_out_put(o, "ct_clear");
		break;
	case ODP_ACT_TNL_PUSH:
		put_tnl_push(f, a);
		break;
	case ODP_ACT_TNL_POP:
		odp_out_put(o, "tnl_pop(");
		put_port(f, u->v);
		odp_out_put(o, ")");
		break;
	case ODP_ACT_DROP:
		odp_out_put(o, "drop(");
		put_lower(o, odp_drop_name(u->v));
		odp_out_put(o, ")");
		break;
	case ODP_ACT_NONE:
	case ODP_ACT_LIST:
	case ODP_ACT_TYPES:
		break;
	}
}

static void put_list(struct fmt *f, const struct odp_act *list, size_t len)
{
	const char *sep = "";

	if (len == 0)
		odp_out_put(&f->o, "drop");
	ODP_ACTS_FOREACH(a, list, len)
	{
		odp_out_put(&f->o, "%s", sep);
		put_one(f, a);
		sep = ",";
	}
}

int odp_actions_format(struct odp *dp, const struct odp_act *list, size_t len,
	enum odp_port_text ports, char *buf, size_t size)
{
	struct fmt f = { .o = { .buf = buf, .size = size },
		.dp = ports == ODP_PORTS_BY_NAME ? dp : NULL };

	put_list(&f, list, len);
	return odp_out_finish(&f.o);
}
