// SPDX-License-Identifier: Apache-2.0
/*
 * Action lists as text: parsing. Lists within lists go as deep as struct odp_actbuf lets them,
 * which bounds the recursion.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "fields.h"
#include "odp_meter.h"

struct parse {
	struct odp_in in;
	struct odp *dp; // for the names of ports; NULL: any word may be one
	const char *sought; // without `dp`: the name of a port
	bool found;
	struct odp_actbuf *out;
};

static bool parse_list(struct parse *p);

/* ---- parts of actions ---- */

/* A number up to one of `stop`. */
static bool number(struct odp_in *in, const char *stop, uint32_t max, uint32_t *v)
{
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	if (odp_in_word(in, stop, w) && odp_uint_of(w, max, v))
		return true;
	in->at = start;
	return false;
}

/* "number)" */
static bool number_end(struct odp_in *in, uint32_t max, uint32_t *v)
{
	return number(in, ")", max, v) && odp_in_take(in, ")");
}

static bool port(struct parse *p, const char *w, uint32_t *no)
{
	if (p->dp)
		return odp_port_of(p->dp, w, no);
	*no = 0;
	p->found |= !strcmp(w, p->sought);
	return true;
}

static bool port_end(struct parse *p, uint32_t *no)
{
	char w[ODP_WORD_MAX];
	size_t start = p->in.at;

	if (odp_in_word(&p->in, "),", w) && port(p, w, no) && odp_in_take(&p->in, ")"))
		return true;
	p->in.at = start;
	return false;
}

/* Fields by name, in any order, up to the bracket that closes. */
struct part {
	const char *name; // with its '='
	uint32_t max;
	unsigned shift;
	uint32_t *to; // bits are added
};

static bool parts(struct odp_in *in, const struct part *list, unsigned n)
{
	do {
		unsigned i = 0;
		uint32_t v;

		while (i < n && !odp_in_take(in, list[i].name))
			i++;
		if (i == n || !number(in, ",)", list[i].max, &v))
			return false;
		*list[i].to |= v << list[i].shift;
	} while (odp_in_take(in, ","));
	return odp_in_take(in, ")");
}

/* ---- actions; each stands behind its opening bracket ---- */

static bool push_vlan(struct parse *p)
{
	uint32_t tci = 0, tpid = 0;
	const struct part list[] = { { "vid=", 4095, 0, &tci }, { "pcp=", 7, 13, &tci },
		{ "cfi=", 1, 12, &tci }, { "tpid=", UINT16_MAX, 0, &tpid } };

	if (!parts(&p->in, list, 4))
		return false;
	struct odp_act_vlan *a = odp_actbuf_add(p->out, ODP_ACT_PUSH_VLAN, sizeof(*a));

	if (!a)
		return false;
	a->tci = (uint16_t)tci;
	a->tpid = (uint16_t)(tpid ? tpid : 0x8100);
	return true;
}

static bool mpls(struct parse *p, enum odp_act_type type)
{
	uint32_t lse = 0, eth_type = 0;
	const struct part list[] = { { "eth_type=", UINT16_MAX, 0, &eth_type },
		{ "label=", 0xfffff, 12, &lse }, { "tc=", 7, 9, &lse }, { "ttl=", 255, 0, &lse },
		{ "bos=", 1, 8, &lse } };

	if (!parts(&p->in, list, type == ODP_ACT_PUSH_MPLS ? 5 : 1))
		return false;
	struct odp_act_mpls *a = odp_actbuf_add(p->out, type, sizeof(*a));

	if (!a)
		return false;
	a->lse = dpu_be32_put(lse);
	a->eth_type = (uint16_t)eth_type;
	return true;
}

static bool push_mpls(struct parse *p)
{
	return mpls(p, ODP_ACT_PUSH_MPLS);
}

static bool pop_mpls(struct parse *p)
{
	return mpls(p, ODP_ACT_POP_MPLS);
}

static bool push_eth(struct parse *p)
{
	struct odp_set_eth v = { 0 }, k = { 0 };
	struct odp_field fields[ODP_FIELDS_MAX];

	odp_set_fields(ODP_SET_ETH, fields);
	if (!odp_in_fields(&p->in, fields, &v, &k))
		return false;
	struct odp_act_eth *a = odp_actbuf_add(p->out, ODP_ACT_PUSH_ETH, sizeof(*a));

	if (!a)
		return false;
	memcpy(a->src, v.src, 6);
	memcpy(a->dst, v.dst, 6);
	return true;
}

static bool userspace(struct parse *p)
{
	uint8_t data[ODP_USERDATA_MAX];
	struct odp_in *in = &p->in;
	uint32_t pid = 0;
	size_t n = 0;

	if (!odp_in_take(in, "pid=") || !number(in, ",)", UINT32_MAX, &pid))
		return false;
	if (odp_in_take(in, ",userdata(")) {
		n = odp_in_hex(in, data, sizeof(data));
		if (n > sizeof(data) || !odp_in_take(in, ")"))
			return false;
	}
	if (!odp_in_take(in, ")"))
		return false;
	struct odp_act_userspace *a = odp_actbuf_add(p->out, ODP_ACT_USERSPACE, sizeof(*a) + n);

	if (!a)
		return false;
	a->pid = pid;
	a->data_len = (uint16_t)n;
	if (n > 0)
		memcpy(a->data, data, n);
	return true;
}

static bool set_host(struct parse *p, enum odp_set_field field)
{
	uint32_t v, m;

	if (!odp_in_uint(&p->in, NULL, &v, &m))
		return false;
	odp_actbuf_set(p->out, field, &v, &m);
	return true;
}

static bool set_mpls(struct parse *p)
{
	uint32_t v = 0;
	dpu_be32 lse, mask = dpu_be32_put(UINT32_MAX);
	const struct part list[] = { { "label=", 0xfffff, 12, &v }, { "tc=", 7, 9, &v },
		{ "ttl=", 255, 0, &v }, { "bos=", 1, 8, &v } };

	if (odp_in_take(&p->in, "lse=")) {
		static const struct odp_field f = { "lse", FIELD_HEX, 0, 4 };

		if (!odp_in_field(&p->in, &f, &lse, &mask) || !odp_in_take(&p->in, ")"))
			return false;
	} else {
		if (!parts(&p->in, list, 4))
			return false;
		lse = dpu_be32_put(v);
	}
	odp_actbuf_set(p->out, ODP_SET_MPLS, &lse, &mask);
	return true;
}

static bool set_tunnel(struct parse *p)
{
	struct odp_key_tnl tnl;

	if (!odp_in_tunnel(&p->in, &tnl))
		return false;
	odp_actbuf_set(p->out, ODP_SET_TUNNEL, &tnl, NULL);
	return true;
}

static bool set(struct parse *p)
{
	struct odp_field fields[ODP_FIELDS_MAX];
	uint8_t v[64] = { 0 }, k[64] = { 0 };
	char name[ODP_WORD_MAX];
	size_t start = p->in.at;
	unsigned f = 0;

	if (!odp_in_word(&p->in, "(,)", name))
		return false;
	while (f < ODP_SET_FIELDS && strcmp(odp_set_names[f], name) != 0)
		f++;
	if (f == ODP_SET_FIELDS || !odp_in_take(&p->in, "(")) {
		p->in.at = start;
		return false;
	}
	if (f == ODP_SET_PRIORITY || f == ODP_SET_MARK)
		return set_host(p, f) && odp_in_take(&p->in, ")");
	if (f == ODP_SET_TUNNEL)
		return set_tunnel(p) && odp_in_take(&p->in, ")");
	if (f == ODP_SET_MPLS)
		return set_mpls(p) && odp_in_take(&p->in, ")");
	odp_set_fields(f, fields);
	if (!odp_in_fields(&p->in, fields, v, k))
		return false;
	odp_actbuf_set(p->out, f, v, k);
	return odp_in_take(&p->in, ")");
}

static bool hash(struct parse *p)
{
	struct odp_act_hash h = { .alg = ODP_HASH_L4 };
	struct odp_in *in = &p->in;

	if (odp_in_take(in, "sym_l4("))
		h.alg = ODP_HASH_SYM_L4;
	else if (!odp_in_take(in, "l4("))
		return false;
	if (!number_end(in, UINT32_MAX, &h.basis) || !odp_in_take(in, ")"))
		return false;
	struct odp_act_hash *a = odp_actbuf_add(p->out, ODP_ACT_HASH, sizeof(*a));

	if (!a)
		return false;
	a->alg = h.alg;
	a->basis = h.basis;
	return true;
}

static bool u32(struct parse *p, enum odp_act_type type)
{
	uint32_t v;

	if (!number_end(&p->in, UINT32_MAX, &v))
		return false;
	odp_actbuf_u32(p->out, type, v);
	return true;
}

static bool recirc(struct parse *p)
{
	return u32(p, ODP_ACT_RECIRC);
}

static bool meter(struct parse *p)
{
	uint32_t v;

	if (!number_end(&p->in, ODP_METERS - 1, &v))
		return false;
	odp_actbuf_u32(p->out, ODP_ACT_METER, v);
	return true;
}

static bool trunc_to(struct parse *p)
{
	return u32(p, ODP_ACT_TRUNC);
}

static bool drop(struct parse *p)
{
	char w[ODP_WORD_MAX];
	size_t start = p->in.at;

	if (!odp_in_word(&p->in, ")", w))
		return false;
	for (char *c = w; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	for (unsigned d = 0; d < ODP_DROP_COUNT; d++)
		if (!strcmp(odp_drop_name(d), w)) {
			odp_actbuf_u32(p->out, ODP_ACT_DROP, d);
			return odp_in_take(&p->in, ")");
		}
	p->in.at = start;
	return false;
}

static bool tnl_pop(struct parse *p)
{
	uint32_t no;

	if (!port_end(p, &no))
		return false;
	odp_actbuf_u32(p->out, ODP_ACT_TNL_POP, no);
	return true;
}

static bool tnl_push(struct parse *p)
{
	struct odp_in *in = &p->in;
	uint8_t hdr[ODP_TNL_HDR_MAX];
	uint32_t tnl_port, out_port;
	uint16_t type;
	size_t len;

	if (!odp_in_take(in, "tnl_port(") || !port_end(p, &tnl_port) || !odp_in_take(in, ",") ||
		!odp_in_push(in, &type, hdr, &len) || !odp_in_take(in, ",out_port(") ||
		!port_end(p, &out_port) || !odp_in_take(in, ")"))
		return false;
	struct odp_act_tnl_push *a = odp_actbuf_add(p->out, ODP_ACT_TNL_PUSH, sizeof(*a) + len);

	if (!a)
		return false;
	a->tnl_port = tnl_port;
	a->out_port = out_port;
	a->tnl_type = type;
	a->hdr_len = (uint16_t)len;
	memcpy(a->hdr, hdr, len);
	return true;
}

/* ---- connection tracking ---- */

/* "0x" and at most 32 digits. */
static bool label(struct odp_in *in, uint8_t out[16])
{
	unsigned n = 0;
	size_t start;

	memset(out, 0, 16);
	if (!odp_in_take(in, "0x"))
		return false;
	for (start = in->at; odp_digit(in->text[in->at]) >= 0; in->at++, n++) {
		if (out[0] >> 4)
			return false; // does not fit
		for (unsigned i = 0; i < 15; i++)
			out[i] = (uint8_t)(out[i] << 4 | out[i + 1] >> 4);
		out[15] = (uint8_t)(out[15] << 4 | odp_digit(in->text[in->at]));
	}
	return in->at > start;
}

static bool ct_label(struct odp_in *in, struct odp_act_ct *c)
{
	if (!label(in, c->label))
		return false;
	memset(c->label_mask, 0xff, sizeof(c->label_mask));
	return !odp_in_take(in, "/") || label(in, c->label_mask);
}

static bool ct_name(struct odp_in *in, char *out, size_t size)
{
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	if (odp_in_word(in, ",)", w) && strlen(w) < size) {
		memcpy(out, w, strlen(w) + 1);
		return true;
	}
	in->at = start;
	return false;
}

/* "1.2.3.4" or "[2001:db8::1]" */
static bool nat_address(struct odp_in *in, uint16_t *family, uint8_t out[16])
{
	char w[ODP_WORD_MAX];
	bool v6 = odp_in_take(in, "[");
	uint16_t is = v6 ? 6 : 4;

	if (!odp_in_word(in, v6 ? "]" : "-:,)", w) || (*family && *family != is) ||
		inet_pton(v6 ? AF_INET6 : AF_INET, w, out) != 1)
		return false;
	*family = is;
	return !v6 || odp_in_take(in, "]");
}

static bool nat_range(struct odp_in *in, struct odp_act_ct *c)
{
	uint32_t v;

	if (!nat_address(in, &c->nat_family, c->nat_min))
		return false;
	memcpy(c->nat_max, c->nat_min, sizeof(c->nat_max));
	if (odp_in_take(in, "-") && !nat_address(in, &c->nat_family, c->nat_max))
		return false;
	if (!odp_in_take(in, ":"))
		return true;
	if (!number(in, "-,)", UINT16_MAX, &v) || v == 0)
		return false;
	c->nat_port_min = c->nat_port_max = (uint16_t)v;
	if (odp_in_take(in, "-")) {
		if (!number(in, ",)", UINT16_MAX, &v) || v < c->nat_port_min)
			return false;
		c->nat_port_max = (uint16_t)v;
	}
	return true;
}

static bool nat(struct odp_in *in, struct odp_act_ct *c)
{
	c->flags |= ODP_CT_A_NAT;
	if (!odp_in_take(in, "("))
		return true;
	c->flags |= odp_in_take(in, "src") ? ODP_CT_A_SNAT : 0;
	if (!(c->flags & ODP_CT_A_SNAT))
		c->flags |= odp_in_take(in, "dst") ? ODP_CT_A_DNAT : 0;
	if (!(c->flags & (ODP_CT_A_SNAT | ODP_CT_A_DNAT)))
		return false;
	if (odp_in_take(in, "=") && !nat_range(in, c))
		return false;
	while (odp_in_take(in, ",")) {
		if (odp_in_take(in, "persistent"))
			c->flags |= ODP_CT_A_PERSISTENT;
		else if (odp_in_take(in, "hash"))
			c->flags |= ODP_CT_A_NAT_HASH;
		else if (odp_in_take(in, "random"))
			c->flags |= ODP_CT_A_NAT_RANDOM;
		else
			return false;
	}
	return odp_in_take(in, ")");
}

static bool ct_part(struct odp_in *in, struct odp_act_ct *c)
{
	uint32_t v;

	if (odp_in_take(in, "force_commit")) {
		c->flags |= ODP_CT_A_COMMIT | ODP_CT_A_FORCE;
		return true;
	}
	if (odp_in_take(in, "commit")) {
		c->flags |= ODP_CT_A_COMMIT;
		return true;
	}
	if (odp_in_take(in, "zone=")) {
		if (!number(in, ",)", UINT16_MAX, &v))
			return false;
		c->zone = (uint16_t)v;
		return true;
	}
	if (odp_in_take(in, "mark=")) {
		c->mark_mask = UINT32_MAX;
		return number(in, "/,)", UINT32_MAX, &c->mark) &&
		       (!odp_in_take(in, "/") || number(in, ",)", UINT32_MAX, &c->mark_mask));
	}
	if (odp_in_take(in, "label="))
		return ct_label(in, c);
	if (odp_in_take(in, "helper="))
		return ct_name(in, c->helper, sizeof(c->helper));
	if (odp_in_take(in, "timeout="))
		return ct_name(in, c->timeout, sizeof(c->timeout));
	return odp_in_take(in, "nat") && nat(in, c);
}

static bool ct(struct parse *p)
{
	struct odp_act_ct c = { 0 };

	do {
		if (!ct_part(&p->in, &c))
			return false;
	} while (odp_in_take(&p->in, ","));
	if (!odp_in_take(&p->in, ")"))
		return false;
	struct odp_act_ct *a = odp_actbuf_add(p->out, ODP_ACT_CT, sizeof(*a));

	if (!a)
		return false;
	c.h = a->h;
	*a = c;
	return true;
}

/* ---- lists ---- */

/* A record of `size` bytes whose list follows up to a closing bracket. */
static void *nested(struct parse *p, enum odp_act_type type, size_t size)
{
	size_t at = p->out->len;

	if (!odp_actbuf_open(p->out, type, size) || !parse_list(p) || !odp_in_take(&p->in, ")"))
		return NULL;
	odp_actbuf_close(p->out);
	return (uint8_t *)p->out->mem + at;
}

static bool clone_of(struct parse *p)
{
	return nested(p, ODP_ACT_CLONE, sizeof(struct odp_act));
}

static bool dec_ttl(struct parse *p)
{
	return odp_in_take(&p->in, "le_1(") && nested(p, ODP_ACT_DEC_TTL, sizeof(struct odp_act)) &&
	       odp_in_take(&p->in, ")");
}

static bool sample(struct parse *p)
{
	struct odp_act_u32 *a;
	char w[ODP_WORD_MAX], *end;
	size_t start;

	if (!odp_in_take(&p->in, "sample="))
		return false;
	start = p->in.at;
	if (!odp_in_word(&p->in, "%,)", w) || !isdigit((unsigned char)w[0]))
		return false;
	double percent = strtod(w, &end);

	if (*end || !(percent >= 0 && percent <= 100)) {
		p->in.at = start;
		return false;
	}
	if (!odp_in_take(&p->in, "%,actions("))
		return false;
	a = nested(p, ODP_ACT_SAMPLE, sizeof(*a));
	if (!a)
		return false;
	a->v = (uint32_t)(percent / 100 * UINT32_MAX + 0.5);
	return odp_in_take(&p->in, ")");
}

static bool check_pkt_len(struct parse *p)
{
	struct odp_act_u32 *a;
	uint32_t size;

	if (!odp_in_take(&p->in, "size=") || !number(&p->in, ",", UINT16_MAX, &size))
		return false;
	a = odp_actbuf_open(p->out, ODP_ACT_CHECK_PKT_LEN, sizeof(*a));
	if (!a)
		return false;
	a->v = size;
	if (!odp_in_take(&p->in, ",gt(") || !nested(p, ODP_ACT_LIST, sizeof(struct odp_act)) ||
		!odp_in_take(&p->in, ",le(") || !nested(p, ODP_ACT_LIST, sizeof(struct odp_act)))
		return false;
	odp_actbuf_close(p->out);
	return odp_in_take(&p->in, ")");
}

static const struct {
	const char *name; // with its bracket
	bool (*parse)(struct parse *p);
} actions[] = {
	{ "push_vlan(", push_vlan },
	{ "push_mpls(", push_mpls },
	{ "pop_mpls(", pop_mpls },
	{ "push_eth(", push_eth },
	{ "userspace(", userspace },
	{ "set(", set },
	{ "hash(", hash },
	{ "recirc(", recirc },
	{ "clone(", clone_of },
	{ "sample(", sample },
	{ "meter(", meter },
	{ "check_pkt_len(", check_pkt_len },
	{ "trunc(", trunc_to },
	{ "dec_ttl(", dec_ttl },
	{ "ct(", ct },
	{ "tnl_push(", tnl_push },
	{ "tnl_pop(", tnl_pop },
	{ "drop(", drop },
};

static const struct {
	const char *name;
	enum odp_act_type type;
	size_t size;
} words[] = {
	{ "pop_vlan", ODP_ACT_POP_VLAN, sizeof(struct odp_act) },
	{ "pop_eth", ODP_ACT_POP_ETH, sizeof(struct odp_act) },
	{ "userspace", ODP_ACT_USERSPACE, sizeof(struct odp_act_userspace) },
	{ "ct", ODP_ACT_CT, sizeof(struct odp_act_ct) },
	{ "ct_clear", ODP_ACT_CT_CLEAR, sizeof(struct odp_act) },
};

static bool parse_action(struct parse *p)
{
	char w[ODP_WORD_MAX];
	size_t start = p->in.at;
	uint32_t no;

	for (unsigned i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (odp_in_take(&p->in, actions[i].name))
			return actions[i].parse(p);
	if (!odp_in_word(&p->in, ",) \t\n", w))
		return false;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].name, w)) {
			odp_actbuf_add(p->out, words[i].type, words[i].size);
			return true;
		}
	if (port(p, w, &no)) {
		odp_actbuf_output(p->out, no);
		return true;
	}
	p->in.at = start;
	return false;
}

static bool at_end(const struct odp_in *in)
{
	return in->text[in->at] == '\0' || in->text[in->at] == ')';
}

/* Actions up to the end or a bracket that closes; "drop" alone is a list without any. */
static bool parse_list(struct parse *p)
{
	size_t start;

	odp_in_space(&p->in);
	start = p->in.at;
	if (odp_in_take(&p->in, "drop")) {
		odp_in_space(&p->in);
		if (at_end(&p->in))
			return true;
		if (p->in.text[p->in.at] != '(')
			return false;
		p->in.at = start;
	}
	for (;;) {
		odp_in_space(&p->in);
		if (!parse_action(p) || p->out->err)
			return false;
		odp_in_space(&p->in);
		if (at_end(&p->in))
			return true;
		if (!odp_in_take(&p->in, ","))
			return false;
	}
}

int odp_actions_parse(struct odp *dp, const char *text, struct odp_actbuf *out, size_t *err_at)
{
	struct parse p = { .in = { .text = text }, .dp = dp, .out = out };

	odp_actbuf_reset(out);
	if (parse_list(&p) && text[p.in.at] == '\0')
		return out->err;
	*err_at = p.in.at;
	return out->err ? out->err : -EINVAL;
}

int odp_actions_name_port(const char *text, const char *name)
{
	struct odp_actbuf out = { 0 };
	struct parse p = { .in = { .text = text }, .sought = name, .out = &out };

	(void)parse_list(&p);
	int ret = p.found ? 1 : out.err == -ENOMEM ? -ENOMEM : 0;

	odp_actbuf_fini(&out);
	return ret;
}
