// SPDX-License-Identifier: Apache-2.0
/*
 * Flow keys as text: parsing what key_text.c prints, and the other forms that OVS reads. The text
 * comes from operators over a socket, so every read is bounded.
 */
#include "key_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* Where in the text and in its nested encap() we are. */
struct parse {
	struct odp_in in;
	struct odp *dp;
	struct odp_key *key, *mask;
	unsigned level; // of encap()
};

static bool parse_items(struct parse *p);

/* ---- numbers ---- */

static bool number(struct parse *p, const struct odp_key_number *n)
{
	uint8_t *k = (uint8_t *)p->key + n->off, *m = (uint8_t *)p->mask + n->off;
	uint32_t v, mask;
	size_t start = p->in.at;

	if (!odp_in_uint(&p->in, NULL, &v, &mask))
		return false;
	if (n->size == 4) {
		memcpy(k, &v, 4);
		memcpy(m, &mask, 4);
		return true;
	}
	uint16_t v16 = (uint16_t)v, m16 = (uint16_t)mask;

	if (v > UINT16_MAX || (mask != UINT32_MAX && mask > UINT16_MAX)) {
		p->in.at = start;
		return false;
	}
	memcpy(k, &v16, 2);
	memcpy(m, &m16, 2);
	return true;
}

/* A number of n bytes: hexadecimal behind "0x", or 0. */
static bool hex(struct odp_in *in, uint8_t *out, size_t n)
{
	size_t digits = 0, start = in->at;
	bool prefixed = odp_in_take(in, "0x");
	const char *s = in->text + in->at;

	memset(out, 0, n);
	while (odp_digit(s[digits]) >= 0)
		digits++;
	if (digits == 0 || digits > 2 * n || (!prefixed && (digits > 1 || *s != '0'))) {
		in->at = start;
		return false;
	}
	for (size_t i = 0; i < digits; i++) {
		size_t at = digits - 1 - i; // from the right

		out[n - 1 - at / 2] |= (uint8_t)((unsigned)odp_digit(s[i]) << at % 2 * 4);
	}
	in->at += digits;
	return true;
}

/* "0x..[/0x..]" of n bytes. */
static bool hex_masked(struct odp_in *in, uint8_t *key, uint8_t *mask, size_t n)
{
	if (!hex(in, key, n))
		return false;
	memset(mask, 0xff, n);
	return !odp_in_take(in, "/") || hex(in, mask, n);
}

/* "name=" of a number in a struct of its own, with an optional mask. */
static bool named(struct odp_in *in, const char *name, uint32_t max, uint32_t *v, uint32_t *m)
{
	char w[ODP_WORD_MAX];
	size_t start;

	if (!odp_in_take(in, name) || !odp_in_take(in, "="))
		return false;
	start = in->at;
	if (!odp_in_word(in, "/,)}", w) || !odp_uint_of(w, max, v)) {
		in->at = start;
		return false;
	}
	*m = max;
	start = in->at;
	if (odp_in_take(in, "/") && (!odp_in_word(in, ",)}", w) || !odp_uint_of(w, max, m))) {
		in->at = start;
		return false;
	}
	return true;
}

/* ---- flags ---- */

static bool flag(struct odp_in *in, const struct odp_key_flags *f, uint32_t *bit)
{
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	if (odp_in_word(in, "+-|)", w))
		for (unsigned i = 0; i < f->n; i++)
			if (!strcmp(f->name[i], w)) {
				*bit = 1u << i;
				return true;
			}
	in->at = start;
	return false;
}

/* "0x12[/0x17]", "+syn-ack" or "syn|ack", and the bracket that closes. */
static bool flags(struct odp_in *in, const struct odp_key_flags *f, uint32_t *key, uint32_t *mask)
{
	uint32_t all = (1u << f->n) - 1, bit = 0;

	*key = 0;
	*mask = 0;
	if (isdigit((unsigned char)in->text[in->at])) {
		size_t start = in->at;

		if (!odp_in_uint(in, NULL, key, mask))
			return false;
		if (*mask == UINT32_MAX)
			*mask = all;
		if (*key > all || *mask > all)
			in->at = start;
		return *key <= all && *mask <= all;
	}
	while (in->text[in->at] == '+' || in->text[in->at] == '-') {
		bool set = in->text[in->at++] == '+';

		if (!flag(in, f, &bit))
			return false;
		*mask |= bit;
		*key = set ? *key | bit : *key & ~bit;
	}
	if (*mask)
		return odp_in_take(in, ")");
	*mask = all;
	do {
		if (!flag(in, f, &bit))
			return false;
		*key |= bit;
	} while (odp_in_take(in, "|"));
	return odp_in_take(in, ")");
}

/* ---- groups ---- */

static bool at_end(const struct parse *p)
{
	return p->in.text[p->in.at] == ')';
}

static bool group(struct parse *p, const struct odp_field *fields)
{
	return odp_in_fields(&p->in, fields, p->key, p->mask);
}

/* ---- tunnel ---- */

/* "class=..,type=..,len=..[,0x..[/0x..]]}" */
static bool option(struct odp_in *in, struct odp_key_tnl *k, struct odp_key_tnl *m)
{
	uint32_t class, class_mask, type, type_mask, len, len_mask;
	size_t at = k->opts_len, start;

	if (!named(in, "class", 0xffff, &class, &class_mask) || !odp_in_take(in, ",") ||
		!named(in, "type", 0xff, &type, &type_mask) || !odp_in_take(in, ","))
		return false;
	start = in->at;
	if (!named(in, "len", 124, &len, &len_mask))
		return false;
	if (len % 4 != 0 || len_mask != 124 || len + 4 > ODP_TNL_OPTS - at) {
		in->at = start;
		return false;
	}
	const uint8_t key[4] = { (uint8_t)(class >> 8), (uint8_t) class, (uint8_t)type,
		(uint8_t)(len / 4) };
	const uint8_t mask[4] = { (uint8_t)(class_mask >> 8), (uint8_t)class_mask,
		(uint8_t)type_mask, 0xff };

	memcpy(k->opts + at, key, 4);
	memcpy(m->opts + at, mask, 4);
	k->opts_len = (uint8_t)(at + 4 + len);
	if (odp_in_take(in, ",") && !hex_masked(in, k->opts + at + 4, m->opts + at + 4, len))
		return false;
	return odp_in_take(in, "}");
}

bool odp_in_options(struct odp_in *in, struct odp_key_tnl *key, struct odp_key_tnl *mask)
{
	while (odp_in_take(in, "{"))
		if (!option(in, key, mask))
			return false;
	return odp_in_take(in, ")");
}

/* In decimal, too, as nobody needs to match on parts of it then. */
static bool tun_id(struct parse *p)
{
	uint8_t k[8], m[8];
	char w[ODP_WORD_MAX];
	size_t start = p->in.at;
	uint32_t v;

	if (p->in.text[start] != '0' && odp_in_word(&p->in, ",)", w) &&
		odp_uint_of(w, UINT32_MAX, &v)) {
		p->key->tnl.id = dpu_be64_put(v);
		p->mask->tnl.id = dpu_be64_put(UINT64_MAX);
		return true;
	}
	p->in.at = start;
	if (!hex_masked(&p->in, k, m, sizeof(k)))
		return false;
	memcpy(&p->key->tnl.id, k, sizeof(k));
	memcpy(&p->mask->tnl.id, m, sizeof(m));
	return true;
}

static bool tnl_address(struct parse *p, uint8_t family)
{
	struct odp_key_tnl *k = &p->key->tnl, *m = &p->mask->tnl;

	if (m->family && k->family != family)
		return false; // of both
	k->family = family;
	m->family = 0xff;
	return odp_in_named(&p->in, odp_tnl_fields, p->key, p->mask);
}

static bool tnl_item(struct parse *p)
{
	const char *at = p->in.text + p->in.at;
	uint32_t k, m;

	if (odp_in_take(&p->in, "tun_id="))
		return tun_id(p);
	if (!strncmp(at, "src=", 4) || !strncmp(at, "dst=", 4))
		return tnl_address(p, 4);
	if (!strncmp(at, "ipv6_src=", 9) || !strncmp(at, "ipv6_dst=", 9))
		return tnl_address(p, 6);
	if (odp_in_take(&p->in, "vxlan(gbp("))
		return group(p, odp_gbp_fields) && odp_in_take(&p->in, ")");
	if (odp_in_take(&p->in, "vxlan(gpe("))
		return group(p, odp_gpe_fields) && odp_in_take(&p->in, ")");
	if (p->mask->tnl.opts_len == 0 && odp_in_take(&p->in, "geneve(")) {
		p->mask->tnl.opts_len = 0xff;
		return odp_in_options(&p->in, &p->key->tnl, &p->mask->tnl);
	}
	if (odp_in_take(&p->in, "flags(")) {
		if (!flags(&p->in, &odp_key_tnl_flags, &k, &m))
			return false;
		p->key->tnl.flags = (uint16_t)k;
		p->mask->tnl.flags = (uint16_t)m;
		return true;
	}
	return odp_in_named(&p->in, odp_tnl_fields, p->key, p->mask);
}

/* Nothing in the brackets: no tunnel. */
static bool tunnel(struct parse *p)
{
	size_t start = p->in.at;

	if (odp_in_take(&p->in, ")")) {
		p->mask->tnl.family = 0xff;
		return true;
	}
	while (!odp_in_take(&p->in, ")")) {
		if (!tnl_item(p) || (!odp_in_take(&p->in, ",") && !at_end(p)))
			return false;
	}
	if (p->mask->tnl.family == 0)
		p->in.at = start;
	return p->mask->tnl.family != 0;
}

bool odp_in_tunnel(struct odp_in *in, struct odp_key_tnl *out)
{
	struct odp_key key = { 0 }, mask = { 0 };
	struct parse p = { .in = *in, .key = &key, .mask = &mask };
	bool ok = tunnel(&p) && key.tnl.family != 0;

	in->at = ok || p.in.at > in->at ? p.in.at : in->at;
	*out = key.tnl;
	return ok;
}

/* ---- layer 2 ---- */

/* "vid=N,pcp=N,cfi=1", each optional, or "tci=N[/N]". That the tag is there is always matched. */
static bool tag(struct parse *p, dpu_be16 *key, dpu_be16 *mask)
{
	uint32_t v, m, k = ODP_VLAN_PRESENT, all = ODP_VLAN_PRESENT;

	if (named(&p->in, "tci", 0xffff, &v, &m)) {
		*key = dpu_be16_put((uint16_t)v);
		*mask = dpu_be16_put((uint16_t)m);
		return odp_in_take(&p->in, ")");
	}
	while (!odp_in_take(&p->in, ")")) {
		if (named(&p->in, "vid", 0xfff, &v, &m)) {
			k |= v;
			all |= m;
		} else if (named(&p->in, "pcp", 7, &v, &m)) {
			k |= v << 13;
			all |= m << 13;
		} else if (!odp_in_take(&p->in, "cfi=1")) {
			return false;
		}
		if (!odp_in_take(&p->in, ",") && !at_end(p))
			return false;
	}
	*key = dpu_be16_put((uint16_t)k);
	*mask = dpu_be16_put((uint16_t)all);
	return true;
}

/* What eth_type() said before is the tag's protocol. */
static bool vlan(struct parse *p)
{
	struct odp_key *k = p->key, *m = p->mask;
	uint16_t type = dpu_be16_get(k->eth_type);

	if (p->level == 2)
		return false; // a third tag is none
	if (type == 0x8100 || type == 0x88a8) {
		*(p->level ? &k->cvlan_tpid : &k->vlan_tpid) = k->eth_type;
		*(p->level ? &m->cvlan_tpid : &m->vlan_tpid) = m->eth_type;
		k->eth_type = m->eth_type = dpu_be16_put(0);
	}
	return p->level ? tag(p, &k->cvlan_tci, &m->cvlan_tci) : tag(p, &k->vlan_tci, &m->vlan_tci);
}

static bool encap(struct parse *p)
{
	bool ok;

	if (p->level == 2)
		return false;
	p->level++;
	ok = odp_in_take(&p->in, ")") || (parse_items(p) && odp_in_take(&p->in, ")"));
	p->level--;
	return ok;
}

/* "label=,tc=,ttl=,bos=" for each entry in turn; what is not named is not matched. */
static bool mpls(struct parse *p)
{
	static const struct {
		const char *name;
		uint32_t max;
		unsigned shift;
	} part[] = { { "label", 0xfffff, 12 }, { "tc", 7, 9 }, { "ttl", 255, 0 }, { "bos", 1, 8 } };
	uint32_t k[3] = { 0 }, m[3] = { 0 }, v, mask;
	unsigned lse = 0, next = 0;

	while (!odp_in_take(&p->in, ")")) {
		unsigned i = 0;

		while (i < 4 && !named(&p->in, part[i].name, part[i].max, &v, &mask))
			i++;
		if (i == 4)
			return false;
		lse += i < next;
		next = i + 1;
		if (lse == 3 || (!odp_in_take(&p->in, ",") && !at_end(p)))
			return false;
		k[lse] |= v << part[i].shift;
		m[lse] |= mask << part[i].shift;
	}
	for (unsigned i = 0; i <= lse; i++) {
		p->key->mpls_lse[i] = dpu_be32_put(k[i]);
		p->mask->mpls_lse[i] = dpu_be32_put(m[i]);
	}
	return true;
}

static bool packet_type(struct parse *p)
{
	uint32_t ns, id, m;

	if (!named(&p->in, "ns", 0xffff, &ns, &m) || m != 0xffff || !odp_in_take(&p->in, ",") ||
		!named(&p->in, "id", 0xffff, &id, &m) || m != 0xffff)
		return false;
	p->key->packet_type = dpu_be32_put(ns << 16 | id);
	p->mask->packet_type = dpu_be32_put(UINT32_MAX);
	return odp_in_take(&p->in, ")");
}

/* ---- all of it ---- */

static bool in_port(struct parse *p)
{
	return odp_in_uint(&p->in, p->dp, &p->key->in_port, &p->mask->in_port);
}

static bool eth(struct parse *p)
{
	return group(p, odp_eth_fields);
}

static bool eth_type(struct parse *p)
{
	static const struct odp_field f = { "eth_type", FIELD_HEX,
		offsetof(struct odp_key, eth_type), 2 };

	return odp_in_field(&p->in, &f, p->key, p->mask) && odp_in_take(&p->in, ")");
}

static bool ct_state(struct parse *p)
{
	uint32_t k, m;

	if (!flags(&p->in, &odp_key_ct_flags, &k, &m))
		return false;
	p->key->ct_state = (uint8_t)k;
	p->mask->ct_state = (uint8_t)m;
	return true;
}

static bool tcp_flags(struct parse *p)
{
	uint32_t k, m;

	if (!flags(&p->in, &odp_key_tcp_flags, &k, &m))
		return false;
	p->key->tcp_flags = dpu_be16_put((uint16_t)k);
	p->mask->tcp_flags = dpu_be16_put((uint16_t)m);
	return true;
}

static bool ct_label(struct parse *p)
{
	return hex_masked(&p->in, p->key->ct_label, p->mask->ct_label, 16) &&
	       odp_in_take(&p->in, ")");
}

/* Does a group belong to the protocols that were named before it? */
static bool fits(const struct parse *p, const struct odp_group *g)
{
	const struct odp_key *k = p->key, *m = p->mask;

	return odp_group_fits(g,
		dpu_be16_get(m->eth_type) ? dpu_be16_get(k->eth_type) : g->eth_type,
		m->ip_proto ? k->ip_proto : g->proto);
}

static bool parse_item(struct parse *p)
{
	static const struct {
		const char *name;
		bool (*parse)(struct parse *p);
	} items[] = { { "in_port", in_port }, { "eth", eth }, { "eth_type", eth_type },
		{ "vlan", vlan }, { "encap", encap }, { "mpls", mpls },
		{ "packet_type", packet_type }, { "tunnel", tunnel }, { "ct_state", ct_state },
		{ "ct_label", ct_label }, { "tcp_flags", tcp_flags } };
	char name[ODP_WORD_MAX];
	size_t start = p->in.at;

	if (!odp_in_word(&p->in, "(", name) || !odp_in_take(&p->in, "(")) {
		p->in.at = start;
		return false;
	}
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (!strcmp(items[i].name, name))
			return items[i].parse(p);
	for (const struct odp_key_number *n = odp_key_numbers; n->name; n++)
		if (!strcmp(n->name, name))
			return number(p, n);
	for (const struct odp_group *g = odp_groups; g->name; g++)
		if (!strcmp(g->name, name) && fits(p, g))
			return group(p, g->f);
	p->in.at = start;
	return false;
}

static bool parse_items(struct parse *p)
{
	do {
		odp_in_space(&p->in);
		if (!parse_item(p))
			return false;
		odp_in_space(&p->in);
	} while (odp_in_take(&p->in, ","));
	return true;
}

int odp_key_parse(
	struct odp *dp, const char *text, struct odp_key *key, struct odp_key *mask, size_t *err_at)
{
	struct parse p = { .in = { .text = text }, .dp = dp, .key = key, .mask = mask };

	memset(key, 0, sizeof(*key));
	memset(mask, 0, sizeof(*mask));
	mask->recirc_id = UINT32_MAX; // 0, when it is not said
	if (!parse_items(&p) || text[p.in.at] != '\0') {
		*err_at = p.in.at;
		return -EINVAL;
	}
	// A flow label has 20 bits, also when all of them are matched.
	mask->ipv6_label = dpu_be32_put(dpu_be32_get(mask->ipv6_label) & 0xfffff);
	return 0;
}
