// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group OV: outer headers and tunnel headers that lie, sent by an uplink's wire. */
#include "ov_tnl.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define L3 14u // offsets of headers in a packet over IPv4
#define UDP (L3 + 20)
#define VXLAN (UDP + 8)
#define I_FLAG 0x08000000u

static const struct tnl_outer vx4 = { .dport = TNL_VX_PORT },
			      vx6 = { .dport = TNL_VX_PORT, .v6 = true },
			      vx4_no_sum = { .dport = TNL_VX_PORT, .no_sum = true },
			      gn4 = { .dport = TNL_GN_PORT }, gre4 = { .gre = true };

/* ---- OV-11: outer headers ---- */

/* Totals and header lengths that contradict each other or the frame. */
static void lying_ip(struct pkt *k, unsigned i)
{
	static const uint16_t totals[] = { 0, 1, 19, 20, 27, 0xffff };

	tnl_honest(k, &vx4_no_sum, TNL_NET_A);
	if (i < 5)
		k->f[L3] = (uint8_t)(0x40 | i);
	else if (i < 5 + COUNT(totals))
		pkt_put16(k->f + L3 + 2, totals[i - 5]);
	else if (i == 11) // one more than there is
		pkt_put16(k->f + L3 + 2, k->len - L3 + 1);
	else // cut within the outer headers
		k->len = VXLAN - 1 - (i - 12);
	if (i >= 5 && k->len >= VXLAN)
		tnl_ip_sum(k);
}

/* UDP's length below its header, beyond the packet, or within what is inside. */
static void lying_udp(struct pkt *k, unsigned i)
{
	static const uint16_t beyond[] = { 1, 2, 100, 1000 };
	unsigned n;

	tnl_honest(k, &vx4_no_sum, TNL_NET_A);
	n = k->len - UDP;
	if (i < 8 + 8 + 14)
		pkt_put16(k->f + UDP + 4, i);
	else
		pkt_put16(k->f + UDP + 4, i < 34 ? n + beyond[i - 30] : 0xffff);
}

/* What is behind a length that is shorter than the packet is padding: the frame inside is cut. */
static void padded_udp(struct pkt *k, unsigned i)
{
	tnl_honest(k, &vx4_no_sum, TNL_NET_A);
	pkt_put16(k->f + UDP + 4, 8 + 8 + 14 + i);
}

static void not_for_us(struct pkt *k, unsigned i)
{
	static const uint32_t to[] = { 0xc000024du, 0xc00002ffu, 0x7f000001u, 0xe0000001u,
		0xffffffffu };
	static const uint16_t ports[] = { 1, 53, 4788, 4790, 0xffff };
	struct tnl_outer o = vx4;

	if (i < COUNT(to))
		o.dst = to[i];
	else
		o.dport = ports[i - COUNT(to)];
	tnl_outer(k, &o);
	tnl_vxlan(k, I_FLAG, TNL_NET_A);
	tnl_inner(k);
	tnl_done(k, &o);
}

static int ov11_outer_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "outer IPv4", 0, TNL_WIRE, "MALFORMED", lying_ip, 12 + 27);

	if (!ret)
		ret = tnl_expect(t, "UDP lengths", 0, TNL_VX, "TNL_HEADER", lying_udp, 35);
	if (!ret)
		ret = tnl_expect(t, "padding", 46, TNL_VX, "TNL_HEADER", padded_udp, 46);
	return ret ? ret : tnl_expect(t, "for others", 0, TNL_WIRE, "UNDERLAY", not_for_us, 10);
}

static int ov11_outer(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ov11_outer_fn);
}

/* Fragments of outer packets, the first with all headers. */
static void first_piece(struct pkt *k, unsigned i)
{
	tnl_honest(k, &vx4, TNL_NET_A);
	pkt_put16(k->f + L3 + 4, i);
	pkt_put16(k->f + L3 + 6, 0x2000);
	tnl_ip_sum(k);
}

/* A later one, whose payload looks like a whole packet in the tunnel. */
static void later_piece(struct pkt *k, unsigned i)
{
	first_piece(k, i);
	pkt_put16(k->f + L3 + 6, (i & 1 ? 0x2000u : 0) | (1 + i));
	tnl_ip_sum(k);
}

static void piece6(struct pkt *k, unsigned i)
{
	struct pkt whole;

	tnl_honest(&whole, &vx6, TNL_NET_A);
	memcpy(k->f, whole.f, 54);
	k->len = 54;
	k->f[L3 + 6] = 44;
	uint8_t *h = pkt_add(k, 8);

	h[0] = 17;
	pkt_put16(h + 2, (i >> 1) << 3 | (~i & 1)); // the first with more, then others
	pkt_put32(h + 4, i);
	pkt_bytes(k, whole.f + 54, whole.len - 54);
	pkt_put16(k->f + L3 + 4, k->len - 54);
}

static int ov11_pieces_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "first ones", 0, TNL_WIRE, "TNL_FRAGMENT", first_piece, 16);

	if (!ret)
		ret = tnl_expect(t, "later ones", 0, TNL_WIRE, "TNL_FRAGMENT", later_piece, 16);
	return ret ? ret : tnl_expect(t, "IPv6", 0, TNL_WIRE, "UNDERLAY", piece6, 16);
}

static int ov11_pieces(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ov11_pieces_fn);
}

/* Whoever is not the peer that the flows name. */
static void spoofed(struct pkt *k, unsigned i)
{
	static const uint32_t from[] = { 0xc0000201u, 0xc0000203u, 0xc0000200u, 0xc00002ffu,
		0x7f000001u, 0xe0000001u, 0xffffffffu, 0x01000000u, 0x0a000001u };
	struct tnl_outer o = {
		.dport = TNL_VX_PORT, .src = from[i / 2 % COUNT(from)], .v6 = i >= 2 * COUNT(from)
	};

	tnl_honest(k, &o, i & 1 ? TNL_NET_A : TNL_NET_B);
}

static int spoofed_fn(struct tnl *t)
{
	return tnl_expect(t, "sources", 0, TNL_VX, "TNL_MISS", spoofed, 2 * 9 * 2);
}

static int ov11_spoofed(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, spoofed_fn);
}

/* ---- OV-11: VXLAN ---- */

static void vxlan_flags(struct pkt *k, unsigned i)
{
	tnl_outer(k, &vx4);
	tnl_vxlan(k, (uint32_t)i << 24, TNL_NET_A);
	tnl_inner(k);
	tnl_done(k, &vx4);
}

/* All that is reserved is set, bit by bit and at once; the I flag is, too. */
static void vxlan_reserved(struct pkt *k, unsigned i)
{
	tnl_outer(k, &vx4);
	tnl_vxlan(k, I_FLAG | (i < 24 ? 1u << i : 0xf7ffffff), TNL_NET_A);
	k->f[k->len - 1] = (uint8_t)(i < 24 ? 1u << i % 8 : 0xff);
	tnl_inner(k);
	tnl_done(k, &vx4);
}

static void unknown_vni(struct pkt *k, unsigned i)
{
	static const uint32_t vnis[] = { 0, 1, 4, 7, 0x50000, 0x000500, 0xfffffa, 0xffffff };

	tnl_honest(k, i & 8 ? &vx6 : &vx4, vnis[i % COUNT(vnis)]);
}

/* Frames of 0 to 13 bytes. */
static void runt(struct pkt *k, unsigned i)
{
	tnl_honest(k, i >= 14 ? &vx6 : &vx4, TNL_NET_A);
	k->len -= 60 - i % 14;
	tnl_done(k, i >= 14 ? &vx6 : &vx4);
}

/* An Ethernet header and nothing more, or too little of what it says. */
static void inner(struct pkt *k, unsigned type, unsigned len)
{
	tnl_honest(k, &vx4, TNL_NET_A);
	pkt_put16(k->f + VXLAN + 8 + 12, type);
	k->len = VXLAN + 8 + 14 + len;
	tnl_done(k, &vx4);
}

static void bare_header(struct pkt *k, unsigned i)
{
	inner(k, 0x88b6, i);
}

static void cut_inner(struct pkt *k, unsigned i)
{
	static const uint16_t types[] = { 0x800, 0x86dd, 0x8100, 0x88a8 };
	static const uint8_t lens[] = { 20, 40, 4, 4 };

	inner(k, types[i % 4], i / 4 < lens[i % 4] ? i / 4 : 0);
}

/* Tags inside stay in the tenant's network: the frame arrives with them. */
static void tagged(struct pkt *k, unsigned i)
{
	inner(k, i & 1 ? 0x88a8 : 0x8100, 46);
	pkt_put16(k->f + VXLAN + 8 + 16, 0x88b6);
	tnl_done(k, &vx4);
}

static int ov11_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "flags", 128, TNL_VX, "TNL_PROTO", vxlan_flags, 256);

	if (!ret)
		ret = tnl_expect(t, "reserved", 25, TNL_VX, "TNL_PROTO", vxlan_reserved, 25);
	if (!ret)
		ret = tnl_expect(t, "networks", 0, TNL_VX, "TNL_MISS", unknown_vni, 16);
	if (!ret)
		ret = tnl_expect(t, "runts", 0, TNL_VX, "TNL_HEADER", runt, 28);
	if (!ret)
		ret = tnl_expect(t, "bare headers", 4, TNL_VX, "MALFORMED", bare_header, 4);
	if (!ret)
		ret = tnl_expect(t, "cut frames", 0, TNL_VX, "MALFORMED", cut_inner, 80);
	return ret ? ret : tnl_expect(t, "tags", 2, TNL_VX, "MALFORMED", tagged, 2);
}

static int ov11(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ov11_fn);
}

/* ---- OV-11: tunnels in tunnels ---- */

#define NET_POP 7u // what comes in it is taken for a packet of the underlay again

/* `n` times network 7, and the last of all is network A's. */
static void nested(struct pkt *k, unsigned n)
{
	uint32_t at = 0;

	for (unsigned i = 0; i <= n; i++) {
		struct pkt one;

		tnl_outer(&one, &vx4);
		tnl_vxlan(&one, I_FLAG, i < n ? NET_POP : TNL_NET_A);
		memcpy(k->f + at, one.f, one.len);
		at += one.len;
	}
	k->len = at;
	tnl_inner(k);
	for (unsigned i = n + 1; i-- > 0;) { // sums from the inside to the outside
		uint32_t from = i * (VXLAN + 8);
		struct pkt one = { .len = k->len - from };

		memcpy(one.f, k->f + from, one.len);
		tnl_done(&one, &vx4);
		memcpy(k->f + from, one.f, one.len);
	}
}

static void shallow(struct pkt *k, unsigned i)
{
	nested(k, i);
}

static void deep(struct pkt *k, unsigned i)
{
	nested(k, 12 + i);
}

/* A packet of the underlay inside network A is the tenant's own matter: it arrives as it is. */
static void wrapped(struct pkt *k, unsigned i)
{
	nested(k, 1 + i);
	pkt_put32(k->f + VXLAN + 4, TNL_NET_A << 8);
	tnl_done(k, &vx4);
}

static int ov11_nested_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "inside a tenant", 20, TNL_VX, "TNL_HEADER", wrapped, 20);

	if (!ret)
		ret = tnl_expect(t, "a few", 3, TNL_VX, "RECIRC_DEPTH", shallow, 3);
	return ret ? ret : tnl_expect(t, "too many", 0, TNL_VX, "RECIRC_DEPTH", deep, 20);
}

static int ov11_nested(struct atk_env *e)
{
	static const struct ov_policy again[] = {
		{ "tunnel(tun_id=7,src=192.0.2.2),in_port(" TNL_VX ")", "tnl_pop(" TNL_VX ")" }
	};

	return tnl_with(e, again, 1, ov11_nested_fn);
}

/* ---- OV-12: Geneve ---- */

static uint8_t *geneve(struct pkt *k, unsigned words)
{
	tnl_outer(k, &gn4);
	uint8_t *opts = tnl_geneve(k, TNL_NET_A, words);

	tnl_inner(k);
	return opts;
}

static void geneve_version(struct pkt *k, unsigned i)
{
	geneve(k, 0)[-8] = (uint8_t)((1 + i) << 6);
	tnl_done(k, &gn4);
}

static void geneve_oam(struct pkt *k, unsigned i)
{
	geneve(k, 0)[-7] = (uint8_t)(0x80 | i);
	tnl_done(k, &gn4);
}

/* Options beyond the packet; one beyond the options; less than one left at the end. */
static void geneve_lengths(struct pkt *k, unsigned i)
{
	uint8_t *opts;

	if (i < 10) { // of 60 bytes there are 15 words
		geneve(k, 0)[-8] = (uint8_t)(63 - i);
	} else if (i < 20) {
		opts = geneve(k, i - 9);
		opts[3] = (uint8_t)(i - 9); // with its own header one word too long
	} else if (i < 40) {
		opts = geneve(k, 4);
		opts[3] = 1; // two words, then two more of which the second is cut
		opts[8 + 3] = (uint8_t)(i - 18);
	} else { // the packet ends within the options
		geneve(k, 8);
		k->len = VXLAN + 8 + (i - 40);
	}
	tnl_done(k, &gn4);
}

/* A critical option that nobody knows, alone or behind others, whatever the header says. */
static void geneve_critical(struct pkt *k, unsigned i)
{
	uint8_t *opts = geneve(k, 4), *opt = opts + i % 4 * 4;

	pkt_put16(opts, 0x0102); // one that is known
	opts[2] = 0x80;
	pkt_put16(opt, i & 8 ? 0x0102 : 0x0103);
	opt[2] = (uint8_t)(i & 8 ? 0x81 + i : 0x80);
	opts[-7] = i & 4 ? 0x40 : 0;
	tnl_done(k, &gn4);
}

static void geneve_inner(struct pkt *k, unsigned i)
{
	static const uint16_t types[] = { 0, 1, 0x0806, 0x8847, 0x1234, 0xffff };

	pkt_put16(geneve(k, 0) - 6, types[i]);
	tnl_done(k, &gn4);
}

/* 63 options of nothing, the known one, reserved bits, C without an option. */
static void geneve_fine(struct pkt *k, unsigned i)
{
	uint8_t *opts = geneve(k, i == 0 ? 63 : 1);

	if (i == 1) {
		pkt_put16(opts, 0x0102);
		opts[2] = 0x80;
		opts[-7] = 0x40;
	} else if (i == 2) {
		opts[-7] = 0x3f;
		opts[-1] = 0xff;
		opts[3] = 0xe0;
	} else if (i == 3) {
		opts[-7] = 0x40;
	}
	tnl_done(k, &gn4);
}

static int ov12_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "fine", 4, TNL_GN, "TNL_HEADER", geneve_fine, 4);

	if (!ret)
		ret = tnl_expect(t, "versions", 0, TNL_GN, "TNL_PROTO", geneve_version, 3);
	if (!ret)
		ret = tnl_expect(t, "control", 0, TNL_GN, "TNL_PROTO", geneve_oam, 64);
	if (!ret)
		ret = tnl_expect(t, "lengths", 0, TNL_GN, "TNL_HEADER", geneve_lengths, 72);
	if (!ret)
		ret = tnl_expect(t, "critical", 0, TNL_GN, "TNL_UNKNOWN", geneve_critical, 16);
	return ret ? ret : tnl_expect(t, "inside", 0, TNL_GN, "TNL_UNKNOWN", geneve_inner, 6);
}

static int ov12(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ov12_fn);
}

/* ---- OV-13: checksums ---- */

static void wrong_sum(struct pkt *k, unsigned i)
{
	const struct tnl_outer *o = i < 16 ? &vx4 : &vx6;
	uint8_t *sum;

	tnl_honest(k, o, TNL_NET_A);
	sum = k->f + L3 + (o->v6 ? 40 : 20) + 6;
	sum[i % 16 / 8] ^= (uint8_t)(1u << i % 8);
	if (sum[0] == 0 && sum[1] == 0) // which would say that there is none
		sum[0] = 0x55;
}

static void wrong_ip_sum(struct pkt *k, unsigned i)
{
	tnl_honest(k, &vx4_no_sum, TNL_NET_A);
	k->f[L3 + 10 + i / 8] ^= (uint8_t)(1u << i % 8);
}

static void no_sum(struct pkt *k, unsigned i)
{
	static const struct tnl_outer o[] = { { .dport = TNL_VX_PORT, .no_sum = true },
		{ .dport = TNL_GN_PORT, .no_sum = true }, { .dport = TNL_VZ_PORT, .no_sum = true },
		{ .dport = TNL_VZ_PORT, .no_sum = true, .v6 = true } };

	tnl_honest(k, &o[i], TNL_NET_A);
}

static void no_sum6(struct pkt *k, unsigned i)
{
	static const struct tnl_outer o = { .dport = TNL_VX_PORT, .no_sum = true, .v6 = true };

	tnl_honest(k, &o, TNL_NET_A + i % 2);
}

static int ov13_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "wrong", 0, TNL_VX, "TNL_CSUM", wrong_sum, 32);

	if (!ret)
		ret = tnl_expect(t, "IPv4's", 0, TNL_VX, "TNL_CSUM", wrong_ip_sum, 16);
	if (!ret)
		ret = tnl_expect(t, "none", 4, TNL_VX, "TNL_CSUM", no_sum, 4);
	return ret ? ret : tnl_expect(t, "none over IPv6", 0, TNL_VX, "TNL_CSUM", no_sum6, 8);
}

static int ov13(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ov13_fn);
}

/* ---- GRE ---- */

/* Header words that a flag each says are there, then the frame. */
static uint8_t *gre(struct pkt *k, unsigned flags, unsigned type)
{
	tnl_outer(k, &gre4);
	uint8_t *h = pkt_add(k, 4);

	pkt_put16(h, flags);
	pkt_put16(h + 2, type);
	if (flags & 0x8000)
		pkt_add(k, 4);
	if (flags & 0x2000)
		pkt_put32(pkt_add(k, 4), TNL_NET_A);
	if (flags & 0x1000)
		pkt_put32(pkt_add(k, 4), 77);
	tnl_inner(k);
	if (flags & 0x8000)
		pkt_put16(h + 4, pkt_fold(pkt_sum(0, h, (uint32_t)(k->f + k->len - h))));
	tnl_done(k, &gre4);
	return h;
}

/* Routing, strict routes, recursion, and other versions, each with and without a key. */
static void gre_refused(struct pkt *k, unsigned i)
{
	unsigned bits = i / 2 % 64;

	gre(k,
		(i & 1 ? 0x2000 : 0) | (bits & 7) | (bits & 8 ? 0x4000 : 0) |
			(bits & 16 ? 0x0800 : 0) | (bits & 32 ? 0x0400 : 0),
		0x6558);
	if (bits == 0) // which would be fine
		k->f[UDP + 1] = 1, k->f[UDP] = (uint8_t)(i & 1 ? 0x20 : 0);
}

/* All of checksum, sequence and what a receiver ignores, with the key of network A. */
static void gre_fine(struct pkt *k, unsigned i)
{
	gre(k, 0x2000 | (i & 1 ? 0x8000 : 0) | (i & 2 ? 0x1000 : 0) | (i & 4 ? 0x03f8 : 0), 0x6558);
}

static void gre_no_key(struct pkt *k, unsigned i)
{
	gre(k, (i & 1 ? 0x8000 : 0) | (i & 2 ? 0x1000 : 0), 0x6558);
}

static void gre_sum(struct pkt *k, unsigned i)
{
	uint8_t *h = gre(k, 0xa000, 0x6558);

	h[4 + i % 16 / 8] ^= (uint8_t)(1u << i % 8);
}

/* The packet ends within the words that the flags promise. */
static void gre_cut(struct pkt *k, unsigned i)
{
	gre(k, 0xb000, 0x6558);
	k->len = UDP + i;
	tnl_done(k, &gre4);
}

static void gre_inner(struct pkt *k, unsigned i)
{
	static const uint16_t types[] = { 0, 0x0806, 0x880b, 0x8847, 0x1234, 0xffff };

	gre(k, 0x2000, types[i]);
}

static void gre_runt(struct pkt *k, unsigned i)
{
	gre(k, 0x2000, 0x6558);
	k->len -= 60 - i;
	tnl_done(k, &gre4);
}

static int gre_fn(struct tnl *t)
{
	int ret = tnl_expect(t, "fine", 8, TNL_GRE, "TNL_PROTO", gre_fine, 8);

	if (!ret)
		ret = tnl_expect(t, "flags", 0, TNL_GRE, "TNL_PROTO", gre_refused, 128);
	if (!ret)
		ret = tnl_expect(t, "no key", 0, TNL_GRE, "TNL_MISS", gre_no_key, 4);
	if (!ret)
		ret = tnl_expect(t, "sums", 0, TNL_GRE, "TNL_CSUM", gre_sum, 16);
	if (!ret)
		ret = tnl_expect(t, "cut", 0, TNL_GRE, "TNL_HEADER", gre_cut, 16);
	if (!ret)
		ret = tnl_expect(t, "inside", 0, TNL_GRE, "TNL_UNKNOWN", gre_inner, 6);
	return ret ? ret : tnl_expect(t, "runts", 0, TNL_GRE, "TNL_HEADER", gre_runt, 14);
}

static int ov11_gre(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, gre_fn);
}

static const struct atk_row rows[] = {
	{ "OV-11", "outer lengths that lie", ov11_outer },
	{ "OV-11", "fragments of outer packets", ov11_pieces },
	{ "OV-11", "outer sources that are no peer's", ov11_spoofed },
	{ "OV-11", "VXLAN headers that lie", ov11 },
	{ "OV-11", "tunnels in tunnels", ov11_nested },
	{ "OV-11", "GRE headers that lie", ov11_gre },
	{ "OV-12", "Geneve headers and options that lie", ov12 },
	{ "OV-13", "outer checksums", ov13 },
};
const struct atk_group atk_ov_tnl_rows = { rows, COUNT(rows) };
