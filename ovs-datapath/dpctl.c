// SPDX-License-Identifier: Apache-2.0
/*
 * Flows as text: printing. One table of fields serves printing and parsing (dpctl_parse.c).
 */
#include "dpctl.h"

#include <inttypes.h>
#include <netinet/in.h>

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

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto)
{
	return (g->eth_type == 0 || g->eth_type == eth_type) &&
	       (g->proto == 0 || g->proto == proto);
}

static void put_vlan(struct odp_out *o, const struct odp_key *key, const struct odp_key *mask)
{
	uint16_t tci = dpu_be16_get(key->vlan_tci), m = dpu_be16_get(mask->vlan_tci);

	if (m == 0)
		return;
	if (m == 0xffff && (tci & ODP_VLAN_PRESENT))
		odp_out_put(o, ",vlan(vid=%u,pcp=%u)", tci & 0xfffu, (unsigned)tci >> 13);
	else
		odp_out_put(o, ",vlan(tci=0x%04x/0x%04x)", tci, m);
}

int odp_key_format(struct odp *dp, const struct odp_key *key, const struct odp_key *mask, char *buf,
	size_t size)
{
	const uint8_t *k = (const uint8_t *)key, *m = (const uint8_t *)mask;
	struct odp_out o = { .buf = buf, .size = size };
	uint16_t type = dpu_be16_get(key->eth_type), type_mask = dpu_be16_get(mask->eth_type);

	(void)dp;
	if (mask->recirc_id)
		odp_out_put(&o, "recirc_id(0x%" PRIx32 "/0x%" PRIx32 "),", key->recirc_id,
			mask->recirc_id);
	if (mask->in_port == UINT32_MAX)
		odp_out_put(&o, "in_port(%" PRIu32 ")", key->in_port);
	else
		odp_out_put(&o, "in_port(%" PRIu32 "/0x%" PRIx32 ")", key->in_port, mask->in_port);
	(void)odp_out_fields(&o, o.len ? "," : "", &odp_groups[0], k, m);
	put_vlan(&o, key, mask);
	if (type_mask == 0xffff)
		odp_out_put(&o, ",eth_type(0x%04x)", type);
	else if (type_mask)
		odp_out_put(&o, ",eth_type(0x%04x/0x%04x)", type, type_mask);
	for (const struct odp_group *g = &odp_groups[1]; g->name; g++)
		if (odp_group_fits(g, type, key->ip_proto))
			(void)odp_out_fields(&o, o.len ? "," : "", g, k, m);
	if (!odp_is_all(mask->tcp_flags.b, 2, 0))
		odp_out_put(&o, ",tcp_flags(0x%03x/0x%03x)", dpu_be16_get(key->tcp_flags),
			dpu_be16_get(mask->tcp_flags));
	return odp_out_finish(&o);
}
