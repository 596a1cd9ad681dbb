// SPDX-License-Identifier: Apache-2.0
/*
 * Flow keys as text, in the order and the words of "ovs-appctl dpctl/dump-flows". What OVS has no
 * words for: "in_port(1/0x1)" and the like for masks of numbers that it matches whole or not at
 * all; "vlan(tci=0x0000/0x1000)", no tag; a tag of any protocol, "vlan(..)" without an eth_type
 * before and encap() around what follows; "vxlan(gpe(np=..,flags=..))".
 */
#include "key_text.h"

#include <inttypes.h>
#include <netinet/in.h>

#define F(member) offsetof(struct odp_key, member), sizeof(((struct odp_key *)0)->member)
static const char *const ct_names[] = { "new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat" };
static const char *const tcp_names[] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr",
	"ns", "[200]", "[400]", "[800]" };
static const char *const tnl_names[] = { "oam", "df", "csum", "key" };

const struct odp_key_flags odp_key_ct_flags = { ct_names, 8 };
const struct odp_key_flags odp_key_tcp_flags = { tcp_names, 12 };
const struct odp_key_flags odp_key_tnl_flags = { tnl_names, 4 };

/* The tunnel prints behind the first, the rest of conntrack behind ct_mark. */
enum { N_PRIORITY, N_MARK, N_ZONE, N_CT_MARK, N_RECIRC, N_HASH };

const struct odp_key_number odp_key_numbers[] = {
	[N_PRIORITY] = { "skb_priority", F(skb_priority) },
	[N_MARK] = { "skb_mark", F(skb_mark) },
	[N_ZONE] = { "ct_zone", F(ct_zone) },
	[N_CT_MARK] = { "ct_mark", F(ct_mark) },
	[N_RECIRC] = { "recirc_id", F(recirc_id) },
	[N_HASH] = { "dp_hash", F(dp_hash) },
	{ .name = NULL },
};

/* What is printed; `sep` is what comes before the next item. */
struct text {
	struct odp_out o;
	const char *sep;
	const struct odp_key *key, *mask;
	const uint8_t *k, *m; // their bytes
};

static void item(struct text *t, const char *name)
{
	odp_out_put(&t->o, "%s%s(", t->sep, name);
	t->sep = ",";
}

static void put_group(struct text *t, const struct odp_group *g)
{
	if (!odp_fields_any(g->f, t->m))
		return;
	item(t, g->name);
	odp_out_fields(&t->o, g->f, t->k, t->m);
	odp_out_put(&t->o, ")");
}

/* "+est-new" of the bits that are matched; all of them: "est|trk", if `whole`. */
static void put_flags(
	struct text *t, const struct odp_key_flags *f, uint32_t key, uint32_t mask, bool whole)
{
	const char *sep = "";
	bool all = whole && mask == (1u << f->n) - 1;

	if (all && (key & mask) == 0)
		odp_out_put(&t->o, "0");
	for (unsigned i = 0; i < f->n; i++) {
		bool set = key >> i & 1;

		if (!(mask >> i & 1) || (all && !set))
			continue;
		odp_out_put(&t->o, "%s%s", all ? sep : set ? "+" : "-", f->name[i]);
		sep = "|";
	}
}

static uint32_t number_of(const uint8_t *b, size_t size)
{
	uint32_t v = 0;
	uint16_t v16 = 0;

	if (size == sizeof(v16))
		memcpy(&v16, b, size);
	else
		memcpy(&v, b, sizeof(v));
	return v | v16;
}

static void put_number(struct text *t, unsigned which)
{
	const struct odp_key_number *n = &odp_key_numbers[which];
	uint32_t v = number_of(t->k + n->off, n->size), m = number_of(t->m + n->off, n->size);

	if (m == 0 && which != N_RECIRC)
		return;
	item(t, n->name);
	odp_out_put(&t->o, "%#" PRIx32, v);
	if (m != (n->size == 2 ? UINT16_MAX : UINT32_MAX))
		odp_out_put(&t->o, "/%#" PRIx32, m);
	odp_out_put(&t->o, ")");
}

/* A number of any length, without leading zeros; 0 alone, as OVS has it. */
static void put_hex(struct odp_out *o, const uint8_t *b, size_t n)
{
	while (n > 1 && *b == 0) {
		b++;
		n--;
	}
	odp_out_put(o, "%#x", n ? *b : 0u);
	for (size_t i = 1; i < n; i++)
		odp_out_put(o, "%02x", b[i]);
}

/* ---- tunnel ---- */

static void put_option(struct odp_out *o, const uint8_t *k, const uint8_t *m, size_t data)
{
	odp_out_put(o, "{class=%#" PRIx32, odp_field_uint(k, 2));
	if (odp_field_uint(m, 2) != 0xffff)
		odp_out_put(o, "/%#" PRIx32, odp_field_uint(m, 2));
	odp_out_put(o, ",type=%#x", k[2]);
	if (m[2] != 0xff)
		odp_out_put(o, "/%#x", m[2]);
	odp_out_put(o, ",len=%zu", data);
	if (!odp_is_all(m + 4, data, 0)) {
		odp_out_put(o, ",");
		put_hex(o, k + 4, data);
		if (!odp_is_all(m + 4, data, 0xff)) {
			odp_out_put(o, "/");
			put_hex(o, m + 4, data);
		}
	}
	odp_out_put(o, "}");
}

void odp_out_options(struct odp_out *o, const uint8_t *key, const uint8_t *mask, size_t len)
{
	for (size_t at = 0; at + 4 <= len;) {
		size_t data = (key[at + 3] & 31u) * 4;

		if (data > len - at - 4)
			break;
		put_option(o, key + at, mask + at, data);
		at += 4 + data;
	}
}

/* odp_key_check() has seen to it that the options are whole. */
static void put_options(struct text *t, const char *sep)
{
	odp_out_put(&t->o, "%sgeneve(", sep);
	odp_out_options(&t->o, t->key->tnl.opts, t->mask->tnl.opts, t->key->tnl.opts_len);
	odp_out_put(&t->o, ")");
}

static void put_vxlan(struct text *t, const struct odp_field *f, const char *name, const char **sep)
{
	if (!odp_fields_any(f, t->m))
		return;
	odp_out_put(&t->o, "%svxlan(%s(", *sep, name);
	odp_out_fields(&t->o, f, t->k, t->m);
	odp_out_put(&t->o, "))");
	*sep = ",";
}

/* The addresses also say which family it is, so that one of them is there even if not matched. */
static void put_tnl_fields(struct text *t, const char **sep)
{
	uint8_t family = t->key->tnl.family;

	for (const struct odp_field *f = odp_tnl_fields; f->name; f++) {
		bool v6 = f->type == FIELD_IPV6, address = v6 || f->type == FIELD_IPV4;

		if (address && family != (v6 ? 6 : 4))
			continue;
		if (address && !strcmp(f->name, v6 ? "ipv6_src" : "src") &&
			odp_is_all(t->m + f->off, 2 * f->size, 0)) {
			odp_out_put(
				&t->o, v6 ? "%s%s=::/::" : "%s%s=0.0.0.0/0.0.0.0", *sep, f->name);
			*sep = ",";
		}
		odp_out_field(&t->o, f, t->k, t->m, sep);
	}
}

static void put_tunnel(struct text *t)
{
	const struct odp_key_tnl *k = &t->key->tnl, *m = &t->mask->tnl;
	uint64_t id_mask = dpu_be64_get(m->id);
	const char *sep = "";

	if (m->family == 0)
		return;
	item(t, "tunnel");
	if (id_mask) {
		odp_out_put(&t->o, "tun_id=0x%" PRIx64, dpu_be64_get(k->id));
		if (id_mask != UINT64_MAX)
			odp_out_put(&t->o, "/%#" PRIx64, id_mask);
		sep = ",";
	}
	put_tnl_fields(t, &sep);
	put_vxlan(t, odp_gbp_fields, "gbp", &sep);
	put_vxlan(t, odp_gpe_fields, "gpe", &sep);
	if (m->opts_len) {
		put_options(t, sep);
		sep = ",";
	}
	if (m->flags) {
		odp_out_put(&t->o, "%sflags(", sep);
		put_flags(t, &odp_key_tnl_flags, k->flags, m->flags, true);
		odp_out_put(&t->o, ")");
	}
	odp_out_put(&t->o, ")");
}

/* All that is not 0 as a flow that matches it exactly would have it. */
void odp_out_tunnel(struct odp_out *o, const struct odp_key_tnl *tnl)
{
	struct odp_key key = { .tnl = *tnl }, mask = { 0 };
	struct text t = { .o = *o,
		.sep = "",
		.key = &key,
		.mask = &mask,
		.k = (const uint8_t *)&key,
		.m = (const uint8_t *)&mask };
	const uint8_t *k = (const uint8_t *)&key.tnl;
	uint8_t *m = (uint8_t *)&mask.tnl;

	for (const struct odp_field *f = odp_tnl_fields; f->name; f++) {
		bool other = f->type == (tnl->family == 4 ? FIELD_IPV6 : FIELD_IPV4);

		if (!other && !odp_is_all((const uint8_t *)&key + f->off, f->size, 0))
			memset((uint8_t *)&mask + f->off, 0xff, f->size);
	}
	if (tnl->family == 4)
		memset(&mask.tnl.ipv4.dst, 0xff, 4);
	else
		memset(mask.tnl.ipv6.dst, 0xff, 16);
	if (!odp_is_all(k, sizeof(tnl->id), 0))
		memset(m, 0xff, sizeof(tnl->id));
	if (dpu_be16_get(tnl->gbp_id) || tnl->gbp_flags) {
		mask.tnl.gbp_id = dpu_be16_put(UINT16_MAX);
		mask.tnl.gbp_flags = UINT8_MAX;
	}
	if (tnl->gpe_np || tnl->gpe_flags)
		mask.tnl.gpe_np = mask.tnl.gpe_flags = UINT8_MAX;
	mask.tnl.flags = tnl->flags ? (1u << odp_key_tnl_flags.n) - 1 : 0;
	mask.tnl.family = UINT8_MAX;
	mask.tnl.opts_len = tnl->opts_len ? UINT8_MAX : 0;
	memset(mask.tnl.opts, 0xff, tnl->opts_len);
	put_tunnel(&t);
	*o = t.o;
}

/* ---- layer 2 ---- */

static void put_tag(struct text *t, uint16_t tci, uint16_t m)
{
	const char *sep = "";

	item(t, "vlan");
	if (!(tci & m & ODP_VLAN_PRESENT)) {
		odp_out_put(&t->o, "tci=0x%04x/0x%04x)", tci, m);
		return;
	}
	if (m & 0xfff) {
		odp_out_put(&t->o, "vid=%u", tci & 0xfffu);
		if ((m & 0xfff) != 0xfff)
			odp_out_put(&t->o, "/%#x", m & 0xfffu);
		sep = ",";
	}
	if (m >> 13) {
		odp_out_put(&t->o, "%spcp=%u", sep, tci >> 13);
		if (m >> 13 != 7)
			odp_out_put(&t->o, "/%#x", m >> 13);
	}
	odp_out_put(&t->o, ")");
}

/* One tag and the bracket in which the rest stands; false: nothing of it is matched. */
static bool put_vlan(struct text *t, dpu_be16 tci, dpu_be16 tci_mask, dpu_be16 tpid,
	dpu_be16 tpid_mask, bool more)
{
	uint16_t m = dpu_be16_get(tci_mask);
	bool typed = dpu_be16_get(tpid_mask) != 0;

	if (typed) {
		item(t, "eth_type");
		odp_out_put(&t->o, "0x%04x)", dpu_be16_get(tpid));
	}
	if (m)
		put_tag(t, dpu_be16_get(tci), m);
	if (!typed && !more)
		return false;
	item(t, "encap");
	t->sep = "";
	return true;
}

static void put_mpls_lse(struct text *t, uint32_t k, uint32_t m, const char *sep)
{
	odp_out_put(&t->o, "%slabel=%" PRIu32, sep, k >> 12);
	if (m == UINT32_MAX) {
		odp_out_put(&t->o, ",tc=%u,ttl=%u,bos=%u", k >> 9 & 7, k & 255, k >> 8 & 1);
		return;
	}
	odp_out_put(&t->o, "/0x%x,tc=%u/%x,ttl=%u/0x%x,bos=%u/%x", m >> 12, k >> 9 & 7, m >> 9 & 7,
		k & 255, m & 255, k >> 8 & 1, m >> 8 & 1);
}

static void put_mpls(struct text *t)
{
	unsigned n = 3;

	while (n > 0 && dpu_be32_get(t->mask->mpls_lse[n - 1]) == 0)
		n--;
	if (n == 0)
		return;
	item(t, "mpls");
	for (unsigned i = 0; i < n; i++)
		put_mpls_lse(t, dpu_be32_get(t->key->mpls_lse[i]),
			dpu_be32_get(t->mask->mpls_lse[i]), i ? "," : "");
	odp_out_put(&t->o, ")");
}

static void put_eth(struct text *t)
{
	uint32_t pt = dpu_be32_get(t->key->packet_type);
	bool typed = dpu_be32_get(t->mask->packet_type) != 0;

	if (typed) {
		item(t, "packet_type");
		odp_out_put(&t->o, "ns=%" PRIu32 ",id=%#" PRIx32 ")", pt >> 16, pt & 0xffff);
	}
	if (typed && pt != 0)
		return;
	item(t, "eth");
	odp_out_fields(&t->o, odp_eth_fields, t->k, t->m);
	odp_out_put(&t->o, ")");
}

static void put_metadata(struct text *t)
{
	const struct odp_key *k = t->key, *m = t->mask;

	put_number(t, N_PRIORITY);
	put_tunnel(t);
	put_number(t, N_MARK);
	if (m->ct_state) {
		item(t, "ct_state");
		put_flags(t, &odp_key_ct_flags, k->ct_state, m->ct_state, false);
		odp_out_put(&t->o, ")");
	}
	put_number(t, N_ZONE);
	put_number(t, N_CT_MARK);
	if (!odp_is_all(m->ct_label, 16, 0)) {
		item(t, "ct_label");
		put_hex(&t->o, k->ct_label, 16);
		if (!odp_is_all(m->ct_label, 16, 0xff)) {
			odp_out_put(&t->o, "/");
			put_hex(&t->o, m->ct_label, 16);
		}
		odp_out_put(&t->o, ")");
	}
	for (unsigned i = 0; i < ODP_GROUP_TUPLES; i++)
		if (odp_group_fits(&odp_groups[i], dpu_be16_get(k->eth_type), 0))
			put_group(t, &odp_groups[i]);
	put_number(t, N_RECIRC);
	put_number(t, N_HASH);
}

static void put_in_port(struct text *t, struct odp *dp, enum odp_port_text ports)
{
	uint32_t no = t->key->in_port, m = t->mask->in_port;
	const struct odp_port *p = ports == ODP_PORTS_BY_NAME ? odp_port_by_no(dp, no) : NULL;
	const char *name = p ? odp_port_name(p) : "0";

	if (m == 0)
		return;
	item(t, "in_port");
	if (m != UINT32_MAX)
		odp_out_put(&t->o, "%" PRIu32 "/%#" PRIx32 ")", no, m);
	else if (*name >= '0' && *name <= '9') // would be read as a number
		odp_out_put(&t->o, "%" PRIu32 ")", no);
	else
		odp_out_put(&t->o, "%s)", name);
}

int odp_key_format(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	enum odp_port_text ports, char *buf, size_t size)
{
	struct text t = { .o = { .buf = buf, .size = size },
		.sep = "",
		.key = key,
		.mask = mask,
		.k = (const uint8_t *)key,
		.m = (const uint8_t *)mask };
	uint16_t type = dpu_be16_get(key->eth_type);
	bool inner = dpu_be16_get(mask->cvlan_tci) || dpu_be16_get(mask->cvlan_tpid);
	unsigned open;

	put_metadata(&t);
	put_in_port(&t, dp, ports);
	put_eth(&t);
	open = put_vlan(&t, key->vlan_tci, mask->vlan_tci, key->vlan_tpid, mask->vlan_tpid, inner);
	if (inner)
		open += put_vlan(&t, key->cvlan_tci, mask->cvlan_tci, key->cvlan_tpid,
			mask->cvlan_tpid, false);
	if (dpu_be16_get(mask->eth_type)) {
		item(&t, "eth_type");
		odp_out_put(&t.o, "0x%04x)", type);
	}
	put_mpls(&t);
	for (const struct odp_group *g = &odp_groups[ODP_GROUP_TUPLES]; g->name; g++)
		if (odp_group_fits(g, type, key->ip_proto))
			put_group(&t, g);
	if (dpu_be16_get(mask->tcp_flags)) {
		item(&t, "tcp_flags");
		put_flags(&t, &odp_key_tcp_flags, dpu_be16_get(key->tcp_flags),
			dpu_be16_get(mask->tcp_flags), true);
		odp_out_put(&t.o, ")");
	}
	odp_out_put(&t.o, "%s", &"))"[2 - open]);
	return odp_out_finish(&t.o);
}
