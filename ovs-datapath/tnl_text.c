// SPDX-License-Identifier: Apache-2.0
/*
 * The outer headers of an action "tnl_push" as text, in the words of "ovs-appctl dpctl". Headers
 * that these words do not tell, such as those with a VLAN tag, are "data(..)" in hexadecimal. Bytes
 * that are filled in for each packet are not written down: lengths, the IPv4 id, the IPv4 checksum.
 */
#include "fields.h"

#include "dpu_cur.h"
#include "inet.h"
#include "tnl.h"

#define TNL_TEXT_MAX 4096u // 63 options without data are the longest: 2 KiB

#define GRE_LEN 4u
#define VXLAN_LEN 8u
#define GENEVE_LEN 8u

/* Behind the IPv6 header, while it is text: what its first word is made of. */
#define V6_TCLASS ODP_IPV6_LEN
#define V6_LABEL (ODP_IPV6_LEN + 1)
#define V6_TEXT_LEN (ODP_IPV6_LEN + 5)

struct part {
	const char *name; // with its '='
	enum odp_field_type type;
	size_t off, size; // in the header
	int digits; // FIELD_HEX: "0x" and at least so many; 0: as "%#x" prints it
	uint32_t max; // 0: what `size` bytes hold
};

/* In the order in which they stand; a list ends with a NULL name. */
static const struct part eth_parts[] = {
	{ "dst=", FIELD_MAC, 0, 6, 0, 0 },
	{ "src=", FIELD_MAC, 6, 6, 0, 0 },
	{ "dl_type=", FIELD_HEX, 12, 2, 4, 0 },
	{ .name = NULL },
};

static const struct part ipv4_parts[] = {
	{ "src=", FIELD_IPV4, 12, 4, 0, 0 },
	{ "dst=", FIELD_IPV4, 16, 4, 0, 0 },
	{ "proto=", FIELD_DEC, 9, 1, 0, 0 },
	{ "tos=", FIELD_HEX, 1, 1, 0, 0 },
	{ "ttl=", FIELD_DEC, 8, 1, 0, 0 },
	{ "frag=", FIELD_HEX, 6, 2, 1, 0 },
	{ .name = NULL },
};

static const struct part ipv6_parts[] = {
	{ "src=", FIELD_IPV6, 8, 16, 0, 0 },
	{ "dst=", FIELD_IPV6, 24, 16, 0, 0 },
	{ "label=", FIELD_DEC, V6_LABEL, 4, 0, 0xfffff },
	{ "proto=", FIELD_DEC, 6, 1, 0, 0 },
	{ "tclass=", FIELD_HEX, V6_TCLASS, 1, 1, 0 },
	{ "hlimit=", FIELD_DEC, 7, 1, 0, 0 },
	{ .name = NULL },
};

static const struct part udp_parts[] = {
	{ "src=", FIELD_DEC, 0, 2, 0, 0 },
	{ "dst=", FIELD_DEC, 2, 2, 0, 0 },
	{ "csum=", FIELD_HEX, 6, 2, 1, 0 },
	{ .name = NULL },
};

static const struct part vxlan_parts[] = {
	{ "flags=", FIELD_HEX, 0, 4, 1, 0 },
	{ "vni=", FIELD_HEX, 4, 3, 1, 0 },
	{ .name = NULL },
};

static const struct part geneve_parts[] = {
	{ "vni=", FIELD_HEX, 4, 3, 1, 0 },
	{ .name = NULL },
};

static const struct part gre_parts[] = {
	{ "flags=", FIELD_HEX, 0, 2, 1, 0 },
	{ "proto=", FIELD_HEX, 2, 2, 1, 0 },
	{ .name = NULL },
};

/* Words that follow GRE's first when its flags say so. */
static const struct {
	uint16_t flag;
	struct part part[2];
} gre_words[] = {
	{ 0x8000, { { "csum=", FIELD_HEX, 0, 2, 1, 0 }, { .name = NULL } } },
	{ 0x2000, { { "key=", FIELD_HEX, 0, 4, 1, 0 }, { .name = NULL } } },
	{ 0x1000, { { "seq=", FIELD_HEX, 0, 4, 1, 0 }, { .name = NULL } } },
};
#define N_GRE_WORDS (sizeof(gre_words) / sizeof(gre_words[0]))

static bool is_gre(uint16_t type)
{
	return type == ODP_PUSH_GRE || type == ODP_PUSH_IP6GRE;
}

/* ---- writing ---- */

/* Headers, and where what was read of them goes. */
struct from {
	struct odp_out *o;
	struct dpu_cur in;
};

static void out_parts(struct odp_out *o, const struct part *p, const uint8_t *b)
{
	for (const char *sep = ""; p->name; p++, sep = ",") {
		odp_out_put(o, "%s%s", sep, p->name);
		if (p->digits)
			odp_out_put(o, "0x%0*x", p->digits, odp_field_uint(b + p->off, p->size));
		else
			odp_out_value(o, p->type, b + p->off, p->size);
	}
}

/* "name(..)" of a header of n bytes. */
static bool out_header(struct from *f, const char *name, const struct part *p, size_t n)
{
	const uint8_t *b = dpu_cur_take(&f->in, n);

	if (!b)
		return false;
	odp_out_put(f->o, "%s(", name);
	out_parts(f->o, p, b);
	odp_out_put(f->o, ")");
	return true;
}

static bool out_ipv6(struct from *f)
{
	const uint8_t *b = dpu_cur_take(&f->in, ODP_IPV6_LEN);
	uint8_t text[V6_TEXT_LEN];

	if (!b)
		return false;
	memcpy(text, b, ODP_IPV6_LEN);
	text[V6_TCLASS] = (uint8_t)(odp_get32(b) >> 20);
	odp_put32(text + V6_LABEL, odp_get32(b) & 0xfffff);
	odp_out_put(f->o, "ipv6(");
	out_parts(f->o, ipv6_parts, text);
	odp_out_put(f->o, ")");
	return true;
}

static bool out_geneve(struct from *f)
{
	const uint8_t *b = dpu_cur_take(&f->in, GENEVE_LEN), *opts;
	uint8_t mask[ODP_TNL_OPTS];
	size_t len = b ? (b[0] & 0x3fu) * 4 : 0;

	opts = b ? dpu_cur_take(&f->in, len) : NULL;
	if (!opts)
		return false;
	odp_out_put(f->o, "geneve(%s%s", b[1] & ODP_GENEVE_O ? "oam," : "",
		b[1] & ODP_GENEVE_C ? "crit," : "");
	out_parts(f->o, geneve_parts, b);
	if (len > 0) {
		memset(mask, 0xff, len);
		odp_out_put(f->o, ",options(");
		odp_out_options(f->o, opts, mask, len);
		odp_out_put(f->o, ")");
	}
	odp_out_put(f->o, ")");
	return true;
}

static bool out_gre(struct from *f)
{
	const uint8_t *b = dpu_cur_take(&f->in, GRE_LEN), *word;

	if (!b)
		return false;
	odp_out_put(f->o, "gre((");
	out_parts(f->o, gre_parts, b);
	odp_out_put(f->o, ")");
	for (unsigned i = 0; i < N_GRE_WORDS; i++) {
		if (!(odp_get16(b) & gre_words[i].flag))
			continue;
		word = dpu_cur_take(&f->in, 4);
		if (!word)
			return false;
		odp_out_put(f->o, ",");
		out_parts(f->o, gre_words[i].part, word);
	}
	odp_out_put(f->o, ")");
	return true;
}

static bool out_tunnel(struct from *f, uint16_t type)
{
	if (is_gre(type))
		return out_gre(f);
	if (!out_header(f, "udp", udp_parts, ODP_UDP_LEN))
		return false;
	odp_out_put(f->o, ",");
	if (type == ODP_PUSH_VXLAN)
		return out_header(f, "vxlan", vxlan_parts, VXLAN_LEN);
	return type == ODP_PUSH_GENEVE && out_geneve(f);
}

/* "eth(..),..": false when there are no words for it. */
static bool out_headers(struct odp_out *o, uint16_t type, const uint8_t *hdr, size_t len)
{
	struct from f = { .o = o, .in = dpu_cur_init(hdr, len) };
	uint16_t eth_type;
	bool ok;

	if (!out_header(&f, "eth", eth_parts, ODP_ETH_LEN))
		return false;
	eth_type = odp_get16(hdr + 12);
	odp_out_put(o, ",");
	if (eth_type == ODP_ETH_IPV4)
		ok = out_header(&f, "ipv4", ipv4_parts, ODP_IPV4_LEN);
	else
		ok = eth_type == ODP_ETH_IPV6 && out_ipv6(&f);
	odp_out_put(o, ",");
	return ok && out_tunnel(&f, type) && f.in.left == 0;
}

/* ---- reading ---- */

static bool in_part(struct odp_in *in, const struct part *p, uint8_t *b)
{
	const struct odp_field f = { .name = p->name, .type = p->type, .size = p->size };
	char w[ODP_WORD_MAX];
	size_t start;

	if (!odp_in_take(in, p->name))
		return false;
	start = in->at;
	if (odp_in_word(in, ",)", w) && odp_value_of(&f, w, b + p->off) &&
		(p->max == 0 || odp_field_uint(b + p->off, p->size) <= p->max))
		return true;
	in->at = start;
	return false;
}

static bool in_parts(struct odp_in *in, const struct part *p, uint8_t *b)
{
	for (unsigned i = 0; p[i].name; i++)
		if ((i > 0 && !odp_in_take(in, ",")) || !in_part(in, &p[i], b))
			return false;
	return true;
}

/* Each reads one header to zeroed bytes; its length, or 0. All of them fit ODP_TNL_HDR_MAX. */

static size_t in_ipv4(struct odp_in *in, uint8_t *b)
{
	b[0] = 0x45;
	if (!odp_in_take(in, "ipv4(") || !in_parts(in, ipv4_parts, b) || !odp_in_take(in, "),"))
		return 0;
	return ODP_IPV4_LEN;
}

static size_t in_ipv6(struct odp_in *in, uint8_t *b)
{
	uint8_t text[V6_TEXT_LEN] = { 0 };

	if (!odp_in_take(in, "ipv6(") || !in_parts(in, ipv6_parts, text) || !odp_in_take(in, "),"))
		return 0;
	memcpy(b, text, ODP_IPV6_LEN);
	odp_put32(b, 6u << 28 | (uint32_t)text[V6_TCLASS] << 20 | odp_get32(text + V6_LABEL));
	return ODP_IPV6_LEN;
}

/* ",options({..}..)" */
static bool in_options(struct odp_in *in, uint8_t *b)
{
	struct odp_key_tnl key = { 0 }, mask = { 0 };
	size_t start = in->at;

	if (!odp_in_take(in, ",options("))
		return true;
	if (!odp_in_options(in, &key, &mask))
		return false;
	if (!odp_is_all(mask.opts, key.opts_len, 0xff)) {
		in->at = start; // a mask, or no data where there is some
		return false;
	}
	memcpy(b + GENEVE_LEN, key.opts, key.opts_len);
	b[0] = key.opts_len / 4;
	return true;
}

static size_t in_geneve(struct odp_in *in, uint8_t *b)
{
	if (!odp_in_take(in, "geneve("))
		return 0;
	b[1] |= odp_in_take(in, "oam,") ? ODP_GENEVE_O : 0;
	b[1] |= odp_in_take(in, "crit,") ? ODP_GENEVE_C : 0;
	odp_put16(b + 2, ODP_INNER_ETH);
	if (!in_parts(in, geneve_parts, b) || !in_options(in, b) || !odp_in_take(in, ")"))
		return 0;
	return GENEVE_LEN + (size_t)b[0] * 4;
}

static size_t in_gre(struct odp_in *in, uint8_t *b)
{
	size_t len = GRE_LEN;

	if (!odp_in_take(in, "gre((") || !in_parts(in, gre_parts, b) || !odp_in_take(in, ")"))
		return 0;
	for (unsigned i = 0; i < N_GRE_WORDS; i++) {
		if (!(odp_get16(b) & gre_words[i].flag))
			continue;
		if (!odp_in_take(in, ",") || !in_parts(in, gre_words[i].part, b + len))
			return 0;
		len += 4;
	}
	return odp_in_take(in, ")") ? len : 0;
}

static size_t in_udp(struct odp_in *in, uint16_t type, uint8_t *b)
{
	size_t n = 0;

	if (!odp_in_take(in, "udp(") || !in_parts(in, udp_parts, b) || !odp_in_take(in, "),"))
		return 0;
	b += ODP_UDP_LEN;
	if (type == ODP_PUSH_GENEVE)
		n = in_geneve(in, b);
	else if (type == ODP_PUSH_VXLAN && odp_in_take(in, "vxlan(") &&
		 in_parts(in, vxlan_parts, b) && odp_in_take(in, ")"))
		n = VXLAN_LEN;
	return n ? ODP_UDP_LEN + n : 0;
}

/* Length, or 0. */
static size_t in_headers(struct odp_in *in, uint16_t type, uint8_t hdr[ODP_TNL_HDR_MAX])
{
	uint16_t eth_type;
	size_t l3, l4;

	memset(hdr, 0, ODP_TNL_HDR_MAX);
	if (!odp_in_take(in, "eth(") || !in_parts(in, eth_parts, hdr) || !odp_in_take(in, "),"))
		return 0;
	eth_type = odp_get16(hdr + 12);
	l3 = ODP_ETH_LEN;
	if (eth_type != ODP_ETH_IPV4 && eth_type != ODP_ETH_IPV6)
		return 0;
	l4 = eth_type == ODP_ETH_IPV4 ? in_ipv4(in, hdr + l3) : in_ipv6(in, hdr + l3);
	if (l4 == 0)
		return 0;
	l4 += l3;

	size_t n = is_gre(type) ? in_gre(in, hdr + l4) : in_udp(in, type, hdr + l4);

	return n ? l4 + n : 0;
}

/* ---- both ---- */

/* Without what is filled in for each packet. */
static void blank(uint16_t type, uint8_t *hdr, size_t len)
{
	bool v6 = odp_get16(hdr + 12) == ODP_ETH_IPV6;
	uint8_t *ip = hdr + ODP_ETH_LEN;
	size_t l4 = ODP_ETH_LEN + (v6 ? ODP_IPV6_LEN : ODP_IPV4_LEN);

	if (v6) {
		memset(ip + 4, 0, 2);
	} else {
		memset(ip + 2, 0, 4);
		memset(ip + 10, 0, 2);
	}
	if (!is_gre(type) && len >= l4 + ODP_UDP_LEN)
		memset(hdr + l4 + 4, 0, 2);
}

/*
 * Headers as text to `buf`, and to `back` what is read from it. False: that is not the same, but
 * for what is filled in.
 */
static bool as_text(uint16_t type, const uint8_t *hdr, size_t len, char buf[TNL_TEXT_MAX],
	uint8_t back[ODP_TNL_HDR_MAX])
{
	struct odp_out o = { .buf = buf, .size = TNL_TEXT_MAX };
	struct odp_in in = { .text = buf };
	uint8_t want[ODP_TNL_HDR_MAX];

	if (len > sizeof(want) || !out_headers(&o, type, hdr, len) || odp_out_finish(&o) < 0)
		return false;
	memcpy(want, hdr, len);
	blank(type, want, len);
	return in_headers(&in, type, back) == len && !memcmp(want, back, len);
}

void odp_out_push(struct odp_out *o, uint16_t type, const uint8_t *hdr, size_t len)
{
	char buf[TNL_TEXT_MAX];
	uint8_t back[ODP_TNL_HDR_MAX];

	odp_out_put(o, "header(size=%zu,type=%u,", len, type);
	if (as_text(type, hdr, len, buf, back)) {
		odp_out_put(o, "%s)", buf);
		return;
	}
	odp_out_put(o, "data(");
	odp_out_hex(o, hdr, len);
	odp_out_put(o, "))");
}

bool odp_in_push(struct odp_in *in, uint16_t *type, uint8_t *hdr, size_t *len)
{
	static const struct part numbers[] = {
		{ "header(size=", FIELD_DEC, 0, 2, 0, ODP_TNL_HDR_MAX },
		{ "type=", FIELD_DEC, 2, 2, 0, 0 },
		{ .name = NULL },
	};
	uint8_t b[4], back[ODP_TNL_HDR_MAX];
	char buf[TNL_TEXT_MAX];
	size_t size_at = in->at + strlen(numbers[0].name);

	if (!in_parts(in, numbers, b) || !odp_in_take(in, ","))
		return false;
	*type = odp_get16(b + 2);
	*len = odp_get16(b);
	if (odp_in_take(in, "data(")) {
		if (odp_in_hex(in, hdr, ODP_TNL_HDR_MAX) != *len || !odp_in_take(in, "))"))
			return false;
		if (as_text(*type, hdr, *len, buf, back))
			memcpy(hdr, back, *len);
		return true;
	}
	size_t n = in_headers(in, *type, hdr);

	if (n == 0 || !odp_in_take(in, ")"))
		return false;
	if (n != *len)
		in->at = size_at;
	return n == *len;
}
