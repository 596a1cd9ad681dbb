// SPDX-License-Identifier: Apache-2.0
/*
 * Flows as text: printing. One table of fields serves printing and parsing (dpctl_parse.c).
 */
#include "dpctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#define F(member) offsetof(struct odp_key, member), sizeof(((struct odp_key *)0)->member)

/* Groups of a key in the order in which they print. */
const struct odp_group odp_groups[] = {
	{ "eth", 0, 0, { { "src", FIELD_MAC, F(eth_src) }, { "dst", FIELD_MAC, F(eth_dst) } } },
	{ "ipv4", 0x0800, 0,
		{ { "src", FIELD_IPV4, F(ipv4.src) }, { "dst", FIELD_IPV4, F(ipv4.dst) },
			{ "proto", FIELD_DEC, F(ip_proto) }, { "tos", FIELD_HEX, F(ip_tos) },
			{ "ttl", FIELD_DEC, F(ip_ttl) }, { "frag", FIELD_FRAG, F(ip_frag) } } },
	{ "ipv6", 0x86dd, 0,
		{ { "src", FIELD_IPV6, F(ipv6.src) }, { "dst", FIELD_IPV6, F(ipv6.dst) },
			{ "proto", FIELD_DEC, F(ip_proto) }, { "tclass", FIELD_HEX, F(ip_tos) },
			{ "hlimit", FIELD_DEC, F(ip_ttl) }, { "frag", FIELD_FRAG, F(ip_frag) } } },
	{ "arp", 0x0806, 0,
		{ { "sip", FIELD_IPV4, F(arp.spa) }, { "tip", FIELD_IPV4, F(arp.tpa) },
			{ "op", FIELD_DEC, F(ip_proto) }, { "sha", FIELD_MAC, F(arp.sha) },
			{ "tha", FIELD_MAC, F(arp.tha) } } },
	{ "tcp", 0, IPPROTO_TCP,
		{ { "src", FIELD_DEC, F(tp_src) }, { "dst", FIELD_DEC, F(tp_dst) } } },
	{ "udp", 0, IPPROTO_UDP,
		{ { "src", FIELD_DEC, F(tp_src) }, { "dst", FIELD_DEC, F(tp_dst) } } },
	{ "sctp", 0, IPPROTO_SCTP,
		{ { "src", FIELD_DEC, F(tp_src) }, { "dst", FIELD_DEC, F(tp_dst) } } },
	{ "icmp", 0x0800, IPPROTO_ICMP,
		{ { "type", FIELD_DEC, F(tp_src) }, { "code", FIELD_DEC, F(tp_dst) } } },
	{ "icmpv6", 0x86dd, IPPROTO_ICMPV6,
		{ { "type", FIELD_DEC, F(tp_src) }, { "code", FIELD_DEC, F(tp_dst) } } },
	{ .name = NULL },
};

struct out {
	char *buf;
	size_t size, len; // len may pass size: then it did not fit
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	size_t room = o->len < o->size ? o->size - o->len : 0;

	va_start(ap, fmt);
	int n = vsnprintf(room ? o->buf + o->len : NULL, room, fmt, ap);

	va_end(ap);
	if (n > 0)
		o->len += (size_t)n;
}

static int finish(const struct out *o)
{
	return o->len < o->size ? (int)o->len : -ENOSPC;
}

static bool is_all(const uint8_t *b, size_t n, uint8_t v)
{
	for (size_t i = 0; i < n; i++)
		if (b[i] != v)
			return false;
	return true;
}

uint32_t odp_field_uint(const uint8_t *b, size_t n)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | b[i];
	return v;
}

static void put_value(struct out *o, enum odp_field_type type, const uint8_t *b, size_t n)
{
	char text[INET6_ADDRSTRLEN];

	switch (type) {
	case FIELD_MAC:
		put(o, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
		break;
	case FIELD_IPV4:
		put(o, "%s", inet_ntop(AF_INET, b, text, sizeof(text)));
		break;
	case FIELD_IPV6:
		put(o, "%s", inet_ntop(AF_INET6, b, text, sizeof(text)));
		break;
	case FIELD_HEX:
		put(o, "0x%" PRIx32, odp_field_uint(b, n));
		break;
	case FIELD_DEC:
		put(o, "%" PRIu32, odp_field_uint(b, n));
		break;
	case FIELD_FRAG:
		put(o, "%s", odp_frag_names[b[0] % 3]);
		break;
	}
}

const char *const odp_frag_names[3] = { "no", "first", "later" };

static void put_field(struct out *o, const struct odp_field *f, const uint8_t *key,
	const uint8_t *mask, const char **sep)
{
	const uint8_t *m = mask + f->off;

	if (is_all(m, f->size, 0))
		return;
	put(o, "%s%s=", *sep, f->name);
	*sep = ",";
	put_value(o, f->type, key + f->off, f->size);
	if (!is_all(m, f->size, 0xff)) {
		put(o, "/");
		put_value(o, f->type == FIELD_DEC || f->type == FIELD_FRAG ? FIELD_HEX : f->type, m,
			f->size);
	}
}

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto)
{
	return (g->eth_type == 0 || g->eth_type == eth_type) &&
	       (g->proto == 0 || g->proto == proto);
}

static void put_group(
	struct out *o, const struct odp_group *g, const uint8_t *key, const uint8_t *mask)
{
	const char *sep = "";
	bool wanted = false;

	for (unsigned i = 0; i < ODP_GROUP_FIELDS && g->f[i].name; i++)
		wanted |= !is_all(mask + g->f[i].off, g->f[i].size, 0);
	if (!wanted)
		return;
	put(o, "%s%s(", o->len ? "," : "", g->name);
	for (unsigned i = 0; i < ODP_GROUP_FIELDS && g->f[i].name; i++)
		put_field(o, &g->f[i], key, mask, &sep);
	put(o, ")");
}

static void put_vlan(struct out *o, const struct odp_key *key, const struct odp_key *mask)
{
	uint16_t tci = dpu_be16_get(key->vlan_tci), m = dpu_be16_get(mask->vlan_tci);

	if (m == 0)
		return;
	if (m == 0xffff && (tci & ODP_VLAN_PRESENT))
		put(o, ",vlan(vid=%u,pcp=%u)", tci & 0xfffu, (unsigned)tci >> 13);
	else
		put(o, ",vlan(tci=0x%04x/0x%04x)", tci, m);
}

int odp_key_format(struct odp *dp, const struct odp_key *key, const struct odp_key *mask, char *buf,
	size_t size)
{
	const uint8_t *k = (const uint8_t *)key, *m = (const uint8_t *)mask;
	struct out o = { .buf = buf, .size = size };
	uint16_t type = dpu_be16_get(key->eth_type), type_mask = dpu_be16_get(mask->eth_type);

	(void)dp;
	if (mask->recirc_id)
		put(&o, "recirc_id(0x%" PRIx32 "/0x%" PRIx32 "),", key->recirc_id, mask->recirc_id);
	if (mask->in_port == UINT32_MAX)
		put(&o, "in_port(%" PRIu32 ")", key->in_port);
	else
		put(&o, "in_port(%" PRIu32 "/0x%" PRIx32 ")", key->in_port, mask->in_port);
	put_group(&o, &odp_groups[0], k, m);
	put_vlan(&o, key, mask);
	if (type_mask == 0xffff)
		put(&o, ",eth_type(0x%04x)", type);
	else if (type_mask)
		put(&o, ",eth_type(0x%04x/0x%04x)", type, type_mask);
	for (const struct odp_group *g = &odp_groups[1]; g->name; g++)
		if (odp_group_fits(g, type, key->ip_proto))
			put_group(&o, g, k, m);
	if (!is_all(mask->tcp_flags.b, 2, 0))
		put(&o, ",tcp_flags(0x%03x/0x%03x)", dpu_be16_get(key->tcp_flags),
			dpu_be16_get(mask->tcp_flags));
	return finish(&o);
}

int odp_actions_format(
	struct odp *dp, const struct odp_action *a, unsigned n, char *buf, size_t size)
{
	struct out o = { .buf = buf, .size = size };

	(void)dp;
	if (n == 0)
		put(&o, "drop");
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			put(&o, ",");
		switch (a[i].type) {
		case ODP_ACT_OUTPUT:
			put(&o, "%" PRIu32, a[i].port);
			break;
		case ODP_ACT_PUSH_VLAN:
			put(&o, "push_vlan(");
			if (a[i].vlan.tpid != 0x8100)
				put(&o, "tpid=0x%04x,", a[i].vlan.tpid);
			put(&o, "vid=%u,pcp=%u", a[i].vlan.tci & 0xfffu,
				(unsigned)a[i].vlan.tci >> 13);
			if (a[i].vlan.tci & 0x1000)
				put(&o, ",cfi=1");
			put(&o, ")");
			break;
		case ODP_ACT_POP_VLAN:
			put(&o, "pop_vlan");
			break;
		case ODP_ACT_USERSPACE:
			put(&o, "userspace");
			break;
		}
	}
	return finish(&o);
}
