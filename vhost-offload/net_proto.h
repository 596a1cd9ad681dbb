/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in frames (IEEE 802, IANA) that the parsers of virtio-net need. */
#pragma once

enum {
	ETH_IPV4 = 0x0800,
	ETH_IPV6 = 0x86dd,
	ETH_VLAN = 0x8100,
	ETH_QINQ = 0x88a8,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	IP6_HOP_BY_HOP = 0,
	IP6_ROUTING = 43,
	IP6_FRAGMENT = 44,
	IP6_DEST_OPTS = 60,
	IP6_EXT_MAX = 8, // extension headers that are looked at
};
