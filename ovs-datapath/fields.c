// SPDX-License-Identifier: Apache-2.0
/*
 * The fields of keys and actions in text: names as in OVS's odp-util, in the order in which they
 * print, and where they stand in a key and in the value of "set".
 */
#include "fields.h"

#include <netinet/in.h>

#define KEY(member) offsetof(struct odp_key, member), sizeof(((struct odp_key *)0)->member)
#define SET(type, member) \
	offsetof(struct odp_set_##type, member), sizeof(((struct odp_set_##type *)0)->member)
#define END          \
	{            \
		NULL \
	}

const struct odp_field odp_eth_fields[] = { { "src", FIELD_MAC, KEY(eth_src), SET(eth, src) },
	{ "dst", FIELD_MAC, KEY(eth_dst), SET(eth, dst) }, END };
static const struct odp_field vlan[] = { { "tci", FIELD_HEX, KEY(vlan_tci), SET(vlan, tci) }, END };
static const struct odp_field ipv4[] = { { "src", FIELD_IPV4, KEY(ipv4.src), SET(ipv4, src) },
	{ "dst", FIELD_IPV4, KEY(ipv4.dst), SET(ipv4, dst) }, { "proto", FIELD_DEC, KEY(ip_proto) },
	{ "tos", FIELD_HEX, KEY(ip_tos), SET(ipv4, tos) },
	{ "ttl", FIELD_DEC, KEY(ip_ttl), SET(ipv4, ttl) }, { "frag", FIELD_FRAG, KEY(ip_frag) },
	END };
static const struct odp_field ipv6[] = { { "src", FIELD_IPV6, KEY(ipv6.src), SET(ipv6, src) },
	{ "dst", FIELD_IPV6, KEY(ipv6.dst), SET(ipv6, dst) },
	{ "label", FIELD_HEX, KEY(ipv6_label), SET(ipv6, label) },
	{ "proto", FIELD_DEC, KEY(ip_proto) },
	{ "tclass", FIELD_HEX, KEY(ip_tos), SET(ipv6, tclass) },
	{ "hlimit", FIELD_DEC, KEY(ip_ttl), SET(ipv6, hlimit) },
	{ "frag", FIELD_FRAG, KEY(ip_frag) }, END };
static const struct odp_field arp[] = { { "sip", FIELD_IPV4, KEY(arp.spa), SET(arp, spa) },
	{ "tip", FIELD_IPV4, KEY(arp.tpa), SET(arp, tpa) },
	{ "op", FIELD_DEC, KEY(ip_proto), SET(arp, op) },
	{ "sha", FIELD_MAC, KEY(arp.sha), SET(arp, sha) },
	{ "tha", FIELD_MAC, KEY(arp.tha), SET(arp, tha) }, END };
static const struct odp_field l4_ports[] = { { "src", FIELD_DEC, KEY(tp_src), SET(ports, src) },
	{ "dst", FIELD_DEC, KEY(tp_dst), SET(ports, dst) }, END };
static const struct odp_field icmp[] = { { "type", FIELD_DEC, KEY(tp_src), SET(icmp, type) },
	{ "code", FIELD_DEC, KEY(tp_dst), SET(icmp, code) }, END };
static const struct odp_field nd[] = { { "target", FIELD_IPV6, KEY(nd.target), SET(nd, target) },
	{ "sll", FIELD_MAC, KEY(nd.sll), SET(nd, sll) },
	{ "tll", FIELD_MAC, KEY(nd.tll), SET(nd, tll) }, END };
static const struct odp_field tuple4[] = { { "src", FIELD_IPV4, KEY(ct_orig4.src) },
	{ "dst", FIELD_IPV4, KEY(ct_orig4.dst) }, { "proto", FIELD_DEC, KEY(ct_orig_proto) },
	{ "tp_src", FIELD_DEC, KEY(ct_orig_tp_src) }, { "tp_dst", FIELD_DEC, KEY(ct_orig_tp_dst) },
	END };
static const struct odp_field tuple6[] = { { "src", FIELD_IPV6, KEY(ct_orig6.src) },
	{ "dst", FIELD_IPV6, KEY(ct_orig6.dst) }, { "proto", FIELD_DEC, KEY(ct_orig_proto) },
	{ "tp_src", FIELD_DEC, KEY(ct_orig_tp_src) }, { "tp_dst", FIELD_DEC, KEY(ct_orig_tp_dst) },
	END };

const struct odp_field odp_tnl_fields[] = { { "src", FIELD_IPV4, KEY(tnl.ipv4.src) },
	{ "dst", FIELD_IPV4, KEY(tnl.ipv4.dst) }, { "ipv6_src", FIELD_IPV6, KEY(tnl.ipv6.src) },
	{ "ipv6_dst", FIELD_IPV6, KEY(tnl.ipv6.dst) }, { "tos", FIELD_HEX, KEY(tnl.tos) },
	{ "ttl", FIELD_DEC, KEY(tnl.ttl) }, { "tp_src", FIELD_DEC, KEY(tnl.tp_src) },
	{ "tp_dst", FIELD_DEC, KEY(tnl.tp_dst) }, END };
const struct odp_field odp_gbp_fields[] = { { "id", FIELD_DEC, KEY(tnl.gbp_id) },
	{ "flags", FIELD_HEX, KEY(tnl.gbp_flags) }, END };
const struct odp_field odp_gpe_fields[] = { { "np", FIELD_DEC, KEY(tnl.gpe_np) },
	{ "flags", FIELD_HEX, KEY(tnl.gpe_flags) }, END };

const struct odp_group odp_groups[] = {
	{ "ct_tuple4", 0x0800, 0, 0, tuple4 },
	{ "ct_tuple6", 0x86dd, 0, 0, tuple6 },
	{ "ipv4", 0x0800, 0, 0, ipv4 },
	{ "ipv6", 0x86dd, 0, 0, ipv6 },
	{ "arp", 0x0806, 0x8035, 0, arp },
	{ "tcp", 0, 0, IPPROTO_TCP, l4_ports },
	{ "udp", 0, 0, IPPROTO_UDP, l4_ports },
	{ "sctp", 0, 0, IPPROTO_SCTP, l4_ports },
	{ "icmp", 0x0800, 0, IPPROTO_ICMP, icmp },
	{ "icmpv6", 0x86dd, 0, IPPROTO_ICMPV6, icmp },
	{ "nd", 0x86dd, 0, IPPROTO_ICMPV6, nd },
	{ .name = NULL },
};

bool odp_group_fits(const struct odp_group *g, uint16_t eth_type, uint8_t proto)
{
	return (g->eth_type == 0 || g->eth_type == eth_type ||
		       (g->eth_type2 && g->eth_type2 == eth_type)) &&
	       (g->proto == 0 || g->proto == proto);
}

const char *const odp_set_names[ODP_SET_FIELDS] = {
	[ODP_SET_PRIORITY] = "skb_priority",
	[ODP_SET_MARK] = "skb_mark",
	[ODP_SET_TUNNEL] = "tunnel",
	[ODP_SET_ETH] = "eth",
	[ODP_SET_VLAN] = "vlan",
	[ODP_SET_MPLS] = "mpls",
	[ODP_SET_IPV4] = "ipv4",
	[ODP_SET_IPV6] = "ipv6",
	[ODP_SET_ARP] = "arp",
	[ODP_SET_TCP] = "tcp",
	[ODP_SET_UDP] = "udp",
	[ODP_SET_SCTP] = "sctp",
	[ODP_SET_ICMP] = "icmp",
	[ODP_SET_ICMPV6] = "icmpv6",
	[ODP_SET_ND] = "nd",
};

void odp_set_fields(unsigned field, struct odp_field out[ODP_FIELDS_MAX])
{
	static const struct odp_field *const fields[ODP_SET_FIELDS] = {
		[ODP_SET_ETH] = odp_eth_fields,
		[ODP_SET_VLAN] = vlan,
		[ODP_SET_IPV4] = ipv4,
		[ODP_SET_IPV6] = ipv6,
		[ODP_SET_ARP] = arp,
		[ODP_SET_TCP] = l4_ports,
		[ODP_SET_UDP] = l4_ports,
		[ODP_SET_SCTP] = l4_ports,
		[ODP_SET_ICMP] = icmp,
		[ODP_SET_ICMPV6] = icmp,
		[ODP_SET_ND] = nd,
	};
	unsigned n = 0;

	for (const struct odp_field *f = fields[field]; f && f->name; f++)
		if (f->set_size)
			out[n++] = (struct odp_field){ f->name, f->type, f->set_off, f->set_size, 0,
				0 };
	out[n] = (struct odp_field){ .name = NULL };
}
