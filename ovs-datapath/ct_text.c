// SPDX-License-Identifier: Apache-2.0
/*
 * Connections as text: written as "ovs-appctl dpctl/dump-conntrack" does, tuples read as
 * "dpctl/flush-conntrack" takes them.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

#include "odp_ct.h"
#include "text.h"

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* ---- writing ---- */

static void put_proto(struct odp_out *o, uint8_t proto)
{
	static const struct {
		uint8_t proto;
		const char *name;
	} names[] = {
		{ IPPROTO_ICMP, "icmp" },
		{ IPPROTO_ICMPV6, "icmpv6" },
		{ IPPROTO_TCP, "tcp" },
		{ IPPROTO_UDP, "udp" },
		{ IPPROTO_SCTP, "sctp" },
		{ IPPROTO_UDPLITE, "udplite" },
		{ IPPROTO_DCCP, "dccp" },
		{ IPPROTO_IGMP, "igmp" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].proto == proto) {
			odp_out_put(o, "%s", names[i].name);
			return;
		}
	}
	odp_out_put(o, "%u", proto);
}

static void put_tuple(struct odp_out *o, const struct odp_ct_key *k)
{
	enum odp_field_type type = k->l3 == 6 ? FIELD_IPV6 : FIELD_IPV4;

	odp_out_put(o, "src=");
	odp_out_value(o, type, k->src, 16);
	odp_out_put(o, ",dst=");
	odp_out_value(o, type, k->dst, 16);
	if (is_icmp(k->proto))
		odp_out_put(o, ",id=%u,type=%u,code=%u", dpu_be16_get(k->sport), k->dport.b[0],
			k->dport.b[1]);
	else
		odp_out_put(
			o, ",sport=%u,dport=%u", dpu_be16_get(k->sport), dpu_be16_get(k->dport));
}

static void put_direction(
	struct odp_out *o, const char *name, const struct odp_ct_info *i, int dir, unsigned what)
{
	odp_out_put(o, ",%s=(", name);
	put_tuple(o, &i->key[dir]);
	if (what & ODP_CT_TEXT_STATS && (i->packets[dir] || i->bytes[dir]))
		odp_out_put(
			o, ",packets=%" PRIu64 ",bytes=%" PRIu64, i->packets[dir], i->bytes[dir]);
	odp_out_put(o, ")");
}

/* A label as one number of 128 bits. */
static void put_labels(struct odp_out *o, const uint64_t label[2])
{
	if (label[1])
		odp_out_put(o, ",labels=0x%" PRIx64 "%016" PRIx64, label[1], label[0]);
	else if (label[0])
		odp_out_put(o, ",labels=0x%" PRIx64, label[0]);
}

/* The states that OVS has other words for: it shows the kernel's by these. */
static const char *state_text(enum odp_ct_state s)
{
	switch (s) {
	case ODP_CT_TCP_FIN_WAIT:
		return "FIN_WAIT_1";
	case ODP_CT_TCP_CLOSE:
		return "CLOSING";
	case ODP_CT_TCP_SYN_SENT2:
		return "SYN_SENT";
	default:
		return odp_ct_state_name(s);
	}
}

int odp_ct_format(const struct odp_ct_info *i, unsigned what, char *buf, size_t size)
{
	struct odp_out o = { .buf = buf, .size = size };

	put_proto(&o, i->key[0].proto);
	put_direction(&o, "orig", i, ODP_CT_ORIG, what);
	put_direction(&o, "reply", i, ODP_CT_REPLY, what);
	if (i->key[0].zone)
		odp_out_put(&o, ",zone=%u", i->key[0].zone);
	if (what & ODP_CT_TEXT_STATS)
		odp_out_put(&o, ",timeout=%" PRIu32, i->timeout_ms / 1000);
	if (i->mark)
		odp_out_put(&o, ",mark=%" PRIu32, i->mark);
	put_labels(&o, i->label);
	if (i->key[0].proto == IPPROTO_TCP || i->key[0].proto == IPPROTO_SCTP)
		odp_out_put(&o, ",protoinfo=(state=%s)", state_text(i->state));
	if (odp_ct_helper_name(i->helper))
		odp_out_put(&o, ",helper=%s", odp_ct_helper_name(i->helper));
	return odp_out_finish(&o);
}

int odp_ct_tuple_format(const struct odp_ct_key *key, char *buf, size_t size)
{
	struct odp_out o = { .buf = buf, .size = size };

	put_tuple(&o, key);
	return odp_out_finish(&o);
}

/* ---- reading ---- */

enum { ANY_PROTO, NOT_ICMP, ICMP_ONLY };

#define FIELD(text, type, member, part, n)                                        \
	{                                                                         \
		text, type, offsetof(struct odp_ct_key, member) + (part), n, 0, 0 \
	}

static const struct tuple_field {
	struct odp_field f;
	uint8_t l3; // 0: any
	uint8_t proto; // ANY_PROTO, ..
} fields[] = {
	{ FIELD("ct_nw_src", FIELD_IPV4, src, 0, 4), 4, ANY_PROTO },
	{ FIELD("ct_nw_dst", FIELD_IPV4, dst, 0, 4), 4, ANY_PROTO },
	{ FIELD("ct_ipv6_src", FIELD_IPV6, src, 0, 16), 6, ANY_PROTO },
	{ FIELD("ct_ipv6_dst", FIELD_IPV6, dst, 0, 16), 6, ANY_PROTO },
	{ FIELD("ct_nw_proto", FIELD_DEC, proto, 0, 1), 0, ANY_PROTO },
	{ FIELD("ct_tp_src", FIELD_DEC, sport, 0, 2), 0, NOT_ICMP },
	{ FIELD("ct_tp_dst", FIELD_DEC, dport, 0, 2), 0, NOT_ICMP },
	{ FIELD("icmp_id", FIELD_DEC, sport, 0, 2), 0, ICMP_ONLY },
	{ FIELD("icmp_type", FIELD_DEC, dport, 0, 1), 0, ICMP_ONLY },
	{ FIELD("icmp_code", FIELD_DEC, dport, 1, 1), 0, ICMP_ONLY },
};

static const struct tuple_field *field_of(const char *name)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].f.name, name))
			return &fields[i];
	return NULL;
}

/* "name=value". False: in->at is where it went wrong. */
static bool take_field(struct odp_in *in, struct odp_ct_match *m, bool protos[3])
{
	const struct tuple_field *f;
	char w[ODP_WORD_MAX];
	size_t start = in->at;

	f = odp_in_word(in, "=, \t\r\n", w) ? field_of(w) : NULL;
	if (!f || !odp_is_all((uint8_t *)&m->mask + f->f.off, f->f.size, 0) ||
		(f->l3 && m->key.l3 && f->l3 != m->key.l3) || !odp_in_take(in, "=")) {
		in->at = start;
		return false;
	}
	start = in->at;
	if (!odp_in_word(in, ", \t\r\n", w) ||
		!odp_value_of(&f->f, w, (uint8_t *)&m->key + f->f.off)) {
		in->at = start;
		return false;
	}
	// All of an address, so that the mask of a whole tuple is all ones.
	memset((uint8_t *)&m->mask + f->f.off, 0xff, f->l3 ? 16 : f->f.size);
	protos[f->proto] = true;
	if (f->l3) {
		m->key.l3 = f->l3;
		m->mask.l3 = 0xff;
	}
	return true;
}

/* Do the protocol, the family of the addresses and the ports go together? */
static bool agree(const struct odp_ct_match *m, const bool protos[3])
{
	bool icmp = m->mask.proto && is_icmp(m->key.proto);

	if (icmp ? protos[NOT_ICMP] : protos[ICMP_ONLY])
		return false;
	return !icmp || !m->mask.l3 || (m->key.l3 == 4) == (m->key.proto == IPPROTO_ICMP);
}

int odp_ct_match_parse(const char *text, struct odp_ct_match *out, size_t *at)
{
	struct odp_in in = { .text = text };
	bool protos[3] = { false };

	*out = (struct odp_ct_match){ 0 };
	do {
		odp_in_space(&in);
		if (!take_field(&in, out, protos)) {
			*at = in.at;
			return -EINVAL;
		}
		odp_in_space(&in);
		(void)odp_in_take(&in, ",");
		odp_in_space(&in);
	} while (text[in.at]);
	*at = in.at;
	return agree(out, protos) ? 0 : -EPROTOTYPE;
}

bool odp_ct_match(const struct odp_ct_match *m, const struct odp_ct_key *key)
{
	const uint8_t *want = (const uint8_t *)&m->key, *mask = (const uint8_t *)&m->mask;
	const uint8_t *has = (const uint8_t *)key;

	for (size_t i = 0; i < sizeof(*key); i++)
		if ((want[i] ^ has[i]) & mask[i])
			return false;
	return true;
}
