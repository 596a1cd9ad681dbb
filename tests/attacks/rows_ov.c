// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group OV: packets that lie to the switch, header by header. */
#include "ov.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t lldp_mac[6] = { 1, 0x80, 0xc2, 0, 0, 0x0e };

static void eth(struct pkt *k, unsigned type)
{
	pkt_eth(k, atk_peer_mac, atk_mac, type);
}

/* ---- OV-02, OV-03, OV-05: IPv4 ---- */

static const struct ov_policy dns_only[] = {
	{ OV_IP4 ",ipv4(proto=17,frag=no),udp(dst=53)", ATK_PEER }, { OV_IP4, "drop" }
};

static void honest_dns(struct pkt *k, unsigned i)
{
	eth(k, 0x800);
	pkt_ip4(k, 0x0a000001 + i, 0x0a000002, 17, 8 + 64, 0);
	pkt_udp(k, 1024, 53, 64);
}

/* Header lengths 0 to 4, longer than the packet, totals below the header and beyond the frame. */
static void lying_ip4(struct pkt *k, unsigned i)
{
	static const uint16_t totals[] = { 0, 1, 19, 20 + 8 + 64 + 1, 1500, 0xffff };

	honest_dns(k, i);
	if (i < 5)
		k->f[14] = (uint8_t)(0x40 | i);
	else if (i == 5)
		pkt_put16(k->f + 16, 56), k->f[14] = 0x4f;
	else if (i < 6 + COUNT(totals))
		pkt_put16(k->f + 16, totals[i - 6]);
	else // cut behind the Ethernet header
		k->len = 14 + (i - 6 - COUNT(totals));
}

static int ov02_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "honest packets", 4, honest_dns, 4);

	return ret ? ret : ov_malformed(e, p, "lying headers", lying_ip4, 6 + 6 + 28);
}

static int ov02(struct atk_env *e)
{
	return ov_with(e, dns_only, COUNT(dns_only), ov02_fn);
}

static void padded_dns(struct pkt *k, unsigned i)
{
	honest_dns(k, 0);
	memset(pkt_add(k, i + 1), 0, i + 1);
}

/* The ports stand in the padding, behind the packet's end. */
static void ports_in_padding(struct pkt *k, unsigned i)
{
	eth(k, 0x800);
	pkt_ip4(k, 0x0a000001, 0x0a000002, 17, i % 8, 0);
	pkt_udp(k, 1024, 53, 64);
}

static int ov03_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "padded packets", 1000, padded_dns, 1000);

	return ret ? ret : ov_malformed(e, p, "ports in the padding", ports_in_padding, 8);
}

static int ov03(struct atk_env *e)
{
	return ov_with(e, dns_only, COUNT(dns_only), ov03_fn);
}

static void protocol(struct pkt *k, unsigned i)
{
	eth(k, 0x800);
	pkt_ip4(k, 0x0a000001, 0x0a000002, i, 8 + 64, 0);
	pkt_udp(k, 1024, 53, 64);
}

static void protocol_0(struct pkt *k, unsigned i)
{
	protocol(k, i * 0);
}

/* What a packet of protocol 0 was allowed is not allowed to all others, whoever is first. */
static int ov05_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "protocol 0", 2, protocol_0, 2);

	if (!ret) // 0 and 17 alone; of TCP and others with ports the headers may be too short
		ret = ov_expect(e, p, "all protocols", 1, protocol, 256);
	return ret ? ret : ov_expect(e, p, "protocol 0 again", 2, protocol_0, 2);
}

static int ov05(struct atk_env *e)
{
	static const struct ov_policy flows[] = { { OV_IP4 ",ipv4(proto=0)", ATK_PEER },
		{ OV_IP4, "drop" } };

	return ov_with(e, flows, COUNT(flows), ov05_fn);
}

/* ---- OV-07: tags ---- */

static void tags(struct pkt *k, unsigned n, unsigned tpid)
{
	eth(k, tpid);
	for (unsigned i = 1; i <= n; i++)
		pkt_put32(pkt_add(k, 4), (5u << 16) | (i == n ? 0x88b6 : tpid));
	pkt_add(k, 40);
}

static void many_tags(struct pkt *k, unsigned i)
{
	tags(k, 1 + i / 2, i & 1 ? 0x8100 : 0x88a8);
}

static void cut_tags(struct pkt *k, unsigned i)
{
	tags(k, 2, 0x8100);
	k->len = 14 + i; // behind the first TPID, within either tag
}

/* Frames with tags without end are forwarded by the outer ones, what is cut is dropped. */
static int ov07_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "tags", 16, many_tags, 16);

	return ret ? ret : ov_malformed(e, p, "cut tags", cut_tags, 7);
}

static int ov07(struct atk_env *e)
{
	return ov_with(e, NULL, 0, ov07_fn);
}

/* ---- OV-08, OV-09, OV-31: IPv6 ---- */

static const struct ov_policy dns6_only[] = {
	{ OV_IP6 ",ipv6(proto=17,frag=no),udp(dst=53)", ATK_PEER }, { OV_IP6, "drop" }
};

static void honest_dns6(struct pkt *k, unsigned i)
{
	eth(k, 0x86dd);
	pkt_ip6(k, 1, 2 + i, 17, 8 + 32);
	pkt_udp(k, 1024, 53, 32);
}

/* n extension headers of type `next`, 8 bytes each, before UDP. */
static void chain(struct pkt *k, unsigned next, unsigned n)
{
	eth(k, 0x86dd);
	pkt_ip6(k, 1, 2, next, n * 8 + 8 + 32);
	for (unsigned i = 1; i <= n; i++)
		*pkt_add(k, 8) = (uint8_t)(i == n ? 17 : next);
	pkt_udp(k, 1024, 53, 32);
}

static void lying_chain(struct pkt *k, unsigned i)
{
	switch (i) {
	case 0:
		chain(k, 60, 64);
		break;
	case 1: // the length of the last one leads beyond the packet
		chain(k, 60, 2);
		k->f[14 + 40 + 8 + 1] = 255;
		break;
	case 2: // hop-by-hop options behind others
		chain(k, 60, 2);
		k->f[14 + 40] = 0;
		break;
	case 3: // a first fragment without its chain: all of it is the fragment header
		chain(k, 44, 1);
		pkt_put16(k->f + 14 + 40 + 2, 1);
		pkt_put16(k->f + 14 + 4, 8);
		break;
	default: // two fragment headers
		chain(k, 44, 2);
		break;
	}
}

/* An atomic fragment is the packet that it is, RFC 6946. */
static void atomic(struct pkt *k, unsigned i)
{
	chain(k, 44, 1 + i * 0);
}

/* Empty destination options, one to three times. */
static void fine_chain(struct pkt *k, unsigned i)
{
	chain(k, 60, 1 + i);
}

static int ov08_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "honest packets", 4, honest_dns6, 4);

	if (!ret)
		ret = ov_expect(e, p, "short chains", 3, fine_chain, 3);
	return ret ? ret : ov_malformed(e, p, "chains", lying_chain, 5);
}

static int ov08(struct atk_env *e)
{
	return ov_with(e, dns6_only, COUNT(dns6_only), ov08_fn);
}

static uint8_t *advert(struct pkt *k, unsigned target, unsigned opts)
{
	eth(k, 0x86dd);
	pkt_ip6(k, 1, 2, 58, 24 + opts);
	uint8_t *h = pkt_add(k, 24 + opts);

	h[0] = 136;
	h[8] = 0xfe;
	h[9] = 0x80;
	pkt_put16(h + 22, target);
	return h + 24;
}

static void honest_advert(struct pkt *k, unsigned i)
{
	uint8_t *opt = advert(k, 1, 8);

	opt[0] = 2;
	opt[1] = (uint8_t)(1 + i * 0);
}

static void lying_advert(struct pkt *k, unsigned i)
{
	uint8_t *opt = advert(k, 1, i == 3 ? 16 : 8);

	opt[0] = 2;
	switch (i) {
	case 0:
		break; // of length 0
	case 1:
		opt[1] = 2;
		break;
	case 2:
		opt[1] = 255;
		break;
	default: // the address is said twice
		opt[1] = opt[9] = 1;
		opt[8] = 2;
		break;
	}
}

/* For the address of the neighbour, 0x99. */
static void stolen_address(struct pkt *k, unsigned i)
{
	uint8_t *opt = advert(k, 0x99, 8 * (i % 3));

	for (unsigned n = 0; n < i % 3; n++) {
		opt[8 * n] = (uint8_t)(1 + n);
		opt[8 * n + 1] = 1;
	}
}

static int ov09_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "honest advertisements", 2, honest_advert, 2);

	if (!ret)
		ret = ov_malformed(e, p, "lying options", lying_advert, 4);
	return ret ? ret : ov_expect(e, p, "for somebody else's address", 0, stolen_address, 6);
}

static int ov09(struct atk_env *e)
{
	static const struct ov_policy flows[] = {
		{ OV_IP6 ",ipv6(proto=58),icmpv6(type=136,code=0),nd(target=fe80::1)", ATK_PEER },
		{ OV_IP6, "drop" }
	};

	return ov_with(e, flows, COUNT(flows), ov09_fn);
}

/* The first fragment ends before the ports that a rule asks for, RFC 3128. */
static void tiny_first(struct pkt *k, unsigned i)
{
	eth(k, 0x800);
	pkt_ip4(k, 0x0a000001, 0x0a000002, 6, 8 + i, 0x2000);
	pkt_put32(pkt_add(k, 8 + i), 1024u << 16 | 80);
}

static int ov31_fn(struct atk_env *e, struct atk_pair *p)
{
	return ov_expect(e, p, "tiny first fragments", 0, tiny_first, 12);
}

static int ov31(struct atk_env *e)
{
	static const struct ov_policy flows[] = { { OV_IP4 ",ipv4(proto=6),tcp(dst=80)", ATK_PEER },
		{ OV_IP4, "drop" } };

	return ov_with(e, flows, COUNT(flows), ov31_fn);
}

static int ov31_atomic_fn(struct atk_env *e, struct atk_pair *p)
{
	return ov_expect(e, p, "atomic fragments", 2, atomic, 2);
}

static int ov31_atomic(struct atk_env *e)
{
	return ov_with(e, dns6_only, COUNT(dns6_only), ov31_atomic_fn);
}

/* ---- OV-10: between neighbours ---- */

static void lldp(struct pkt *k, unsigned i)
{
	static const uint8_t types[] = { 1, 2, 3, 4, 127, 127, 0 };
	static const uint16_t lens[] = { 0, 511, 1, 255, 3, 0, 511 };

	pkt_eth(k, lldp_mac, atk_mac, 0x88cc);
	for (unsigned n = 0; n < 8; n++) {
		unsigned v = (i + n) % COUNT(types);

		pkt_put16(pkt_add(k, 2), (unsigned)types[v] << 9 | lens[(i / 7 + n) % COUNT(lens)]);
		pkt_add(k, i % 5);
	}
}

static int ov10_fn(struct atk_env *e, struct atk_pair *p)
{
	return ov_expect(e, p, "LLDP", 0, lldp, atk_times(e, 100000));
}

static int ov10(struct atk_env *e)
{
	return ov_with(e, NULL, 0, ov10_fn);
}

/* ---- OV-32: frames that are to be segmented ---- */

static void note_len(struct atk_pair *p, const uint8_t *frame, uint32_t len)
{
	(void)frame;
	*(uint32_t *)p->arg = len;
}

/* `frag` goes into the header of a frame of 3000 bytes that asks for segments of 1000. */
static int send_gso(struct atk_env *e, struct atk_pair *p, unsigned frag)
{
	static const struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16 };
	uint8_t f[3054];
	struct pkt k;

	eth(&k, 0x800);
	pkt_ip4(&k, 0x0a000001, 0x0a000002, 6, sizeof(f) - 34, frag);
	pkt_add(&k, 20)[12] = 0x50;
	memset(f, 0, sizeof(f));
	memcpy(f, k.f, k.len);
	ATK_CHECK(e, !drv_net_send(&p->a, 0, &h, f, sizeof(f)), "transmit ring full");
	drv_net_flush(&p->a, 0);
	return 0;
}

static int gso_passes(struct atk_env *e, struct atk_pair *p, unsigned frag, unsigned want)
{
	unsigned n = 0;
	int ret = send_gso(e, p, frag);

	if (!ret)
		ret = ov_passed(e, p, &n);
	if (ret)
		return ret;
	ATK_CHECK(e, n == want, "%u frames of a GSO frame with fragment word 0x%04x", n, frag);
	return 0;
}

static int ov32_fn(struct atk_env *e, struct atk_pair *p)
{
	static const uint16_t frags[] = { 0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff };
	int ret = gso_passes(e, p, 0, 3);

	for (unsigned i = 0; !ret && i < COUNT(frags); i++)
		ret = gso_passes(e, p, frags[i], 0);
	return ret;
}

static int ov32(struct atk_env *e)
{
	return ov_with(e, NULL, 0, ov32_fn);
}

/* What is cut asks for no segments any more: one frame comes out, or none that is over the MTU. */
static int gso_cut(struct atk_env *e, struct atk_pair *p, uint32_t cut)
{
	static const char peer[] = "{\"object\": \"port\", \"name\": \"" ATK_PEER "\"}";
	unsigned long was = ov_counter(e, peer, "MTU"), too_long = cut > 1514;
	unsigned n = 0;
	uint32_t len = 0;
	int ret;

	p->seen = note_len;
	p->arg = &len;
	ret = send_gso(e, p, 0);
	if (!ret)
		ret = ov_passed(e, p, &n);
	p->seen = NULL;
	if (ret)
		return ret;
	ATK_CHECK(e, n == !too_long, "%u frames of one that was cut to %u", n, cut);
	ATK_CHECK(e, too_long || len == cut, "%u bytes of a frame that was cut to %u", len, cut);
	was = ov_counter(e, peer, "MTU") - was;
	ATK_CHECK(e, was == too_long, "%lu over the MTU of one that was cut to %u", was, cut);
	return 0;
}

static int ov32_trunc_fn(struct atk_env *e, struct atk_pair *p)
{
	static const uint16_t cuts[] = { 14, 33, 34, 53, 54, 55, 1054, 1514, 1515, 2000, 3053 };
	int ret = 0;

	for (unsigned i = 0; !ret && i < COUNT(cuts); i++) {
		char actions[64];

		snprintf(actions, sizeof(actions), "trunc(%u)," ATK_PEER, cuts[i]);
		ATK_CHECK(e, !ov_flow_add(e, OV_IP4, actions), "no flow");
		ret = gso_cut(e, p, cuts[i]);
	}
	return ret;
}

static int ov32_trunc(struct atk_env *e)
{
	return ov_with(e, NULL, 0, ov32_trunc_fn);
}

static const struct atk_row rows[] = {
	{ "OV-02", "IPv4 headers that lie", ov02 },
	{ "OV-03", "bytes behind a packet", ov03 },
	{ "OV-05", "IPv4 protocol 0 before others", ov05 },
	{ "OV-07", "tags without end and cut tags", ov07 },
	{ "OV-08", "IPv6 header chains that lie", ov08 },
	{ "OV-09", "neighbour discovery that lies", ov09 },
	{ "OV-10", "LLDP that lies", ov10 },
	{ "OV-31", "first fragment without its ports", ov31 },
	{ "OV-31", "atomic fragment", ov31_atomic },
	{ "OV-32", "GSO frame that is a fragment", ov32 },
	{ "OV-32", "GSO frame that is cut", ov32_trunc },
};
const struct atk_group atk_ov_rows = { rows, COUNT(rows) };
