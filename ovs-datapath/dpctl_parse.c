// SPDX-License-Identifier: Apache-2.0
/* Flows as text: parsing. The text comes from operators over a socket, so every read is bounded. */
#include "dpctl.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define WORD_MAX 64u

struct in {
	const char *text;
	size_t at;
};

static bool take(struct in *in, const char *s)
{
	size_t n = strlen(s);

	if (strncmp(in->text + in->at, s, n) != 0)
		return false;
	in->at += n;
	return true;
}

static void skip_space(struct in *in)
{
	while (isspace((unsigned char)in->text[in->at]))
		in->at++;
}

/* The characters up to one of `stop` or the end. False: none, or too many. */
static bool word(struct in *in, const char *stop, char out[WORD_MAX])
{
	size_t n = strcspn(in->text + in->at, stop);

	if (n == 0 || n >= WORD_MAX)
		return false;
	memcpy(out, in->text + in->at, n);
	out[n] = '\0';
	in->at += n;
	return true;
}

static bool uint_of(const char *w, uint32_t max, uint32_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*w))
		return false;
	errno = 0;
	unsigned long long v = strtoull(w, &end, 0);
	if (*end || errno || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool mac_of(const char *w, uint8_t out[6])
{
	for (unsigned i = 0; i < 6; i++) {
		char *end;

		if (!isxdigit((unsigned char)w[0]))
			return false;
		unsigned long v = strtoul(w, &end, 16);

		if (v > 0xff || end - w > 2 || *end != (i < 5 ? ':' : '\0'))
			return false;
		out[i] = (uint8_t)v;
		w = end + 1;
	}
	return true;
}

static bool value_of(const struct odp_field *f, const char *w, uint8_t *out)
{
	uint32_t v, max = f->size >= 4 ? UINT32_MAX : (1u << f->size * 8) - 1;

	switch (f->type) {
	case FIELD_MAC:
		return mac_of(w, out);
	case FIELD_IPV4:
		return inet_pton(AF_INET, w, out) == 1;
	case FIELD_IPV6:
		return inet_pton(AF_INET6, w, out) == 1;
	case FIELD_FRAG:
		for (uint8_t i = 0; i < 3; i++)
			if (!strcmp(w, odp_frag_names[i])) {
				*out = i;
				return true;
			}
		return false;
	case FIELD_DEC:
	case FIELD_HEX:
		if (!uint_of(w, max, &v))
			return false;
		for (size_t i = 0; i < f->size; i++)
			out[i] = (uint8_t)(v >> (f->size - 1 - i) * 8);
		return true;
	}
	return false;
}

static void prefix_of(uint32_t bits, uint8_t *out, size_t size)
{
	memset(out, 0, size);
	for (uint32_t i = 0; i < bits; i++)
		out[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

/* "/mask": in the field's own form, a number, or a prefix length for addresses. */
static bool mask_of(const struct odp_field *f, const char *w, uint8_t *out)
{
	struct odp_field plain = *f;
	uint32_t bits;

	if (f->type == FIELD_FRAG)
		plain.type = FIELD_HEX;
	if (value_of(&plain, w, out))
		return true;
	if (f->type != FIELD_IPV4 && f->type != FIELD_IPV6)
		return false;
	if (!uint_of(w, (uint32_t)f->size * 8, &bits))
		return false;
	prefix_of(bits, out, f->size);
	return true;
}

/* "value[/mask]" up to ',' or ')'. */
static bool parse_field(
	struct in *in, const struct odp_field *f, struct odp_key *key, struct odp_key *mask)
{
	uint8_t *k = (uint8_t *)key + f->off, *m = (uint8_t *)mask + f->off;
	char w[WORD_MAX];
	size_t start = in->at;

	if (!word(in, "/,)", w) || !value_of(f, w, k)) {
		in->at = start;
		return false;
	}
	memset(m, 0xff, f->size);
	start = in->at;
	if (take(in, "/") && (!word(in, ",)", w) || !mask_of(f, w, m))) {
		in->at = start;
		return false;
	}
	return true;
}

static bool parse_group(
	struct in *in, const struct odp_group *g, struct odp_key *key, struct odp_key *mask)
{
	while (!take(in, ")")) {
		const struct odp_field *f = NULL;
		char name[WORD_MAX];
		size_t start = in->at;

		if (!word(in, "=,)(", name))
			return false;
		for (unsigned i = 0; i < ODP_GROUP_FIELDS && g->f[i].name; i++)
			if (!strcmp(g->f[i].name, name))
				f = &g->f[i];
		if (!f || !take(in, "=")) {
			in->at = start;
			return false;
		}
		if (!parse_field(in, f, key, mask))
			return false;
		if (!take(in, ",") && in->text[in->at] != ')')
			return false;
	}
	return true;
}

/* A number of one field, alone in its parentheses; `f` describes where it goes. */
static bool parse_single(
	struct in *in, const struct odp_field *f, struct odp_key *key, struct odp_key *mask)
{
	return parse_field(in, f, key, mask) && take(in, ")");
}

static bool port_of(struct odp *dp, const char *w, uint32_t *out)
{
	const struct odp_port *p;

	if (uint_of(w, UINT32_MAX, out))
		return true;
	p = odp_port_by_name(dp, w);
	if (!p)
		return false;
	*out = odp_port_no(p);
	return true;
}

static bool parse_host_uint(struct in *in, struct odp *dp, uint32_t *value, uint32_t *mask)
{
	char w[WORD_MAX];
	size_t start = in->at;

	if (!word(in, "/)", w) || !(dp ? port_of(dp, w, value) : uint_of(w, UINT32_MAX, value))) {
		in->at = start;
		return false;
	}
	*mask = UINT32_MAX;
	start = in->at;
	if (take(in, "/") && (!word(in, ")", w) || !uint_of(w, UINT32_MAX, mask))) {
		in->at = start;
		return false;
	}
	return take(in, ")");
}

/* "vid=N[,pcp=N]" or "tci=N[/N]". What is not named is not matched, but the tag must be there. */
static bool parse_vlan(struct in *in, struct odp_key *key, struct odp_key *mask)
{
	static const struct odp_field tci = { "tci", FIELD_HEX, offsetof(struct odp_key, vlan_tci),
		2 };
	uint32_t v, k = ODP_VLAN_PRESENT, m = ODP_VLAN_PRESENT;
	char w[WORD_MAX];

	if (take(in, "tci="))
		return parse_single(in, &tci, key, mask);
	do {
		bool vid = take(in, "vid=");
		size_t start = in->at;

		if (!vid && !take(in, "pcp="))
			return false;
		if (!word(in, ",)", w) || !uint_of(w, vid ? 4095 : 7, &v)) {
			in->at = start;
			return false;
		}
		k |= vid ? v : v << 13;
		m |= vid ? 0xfff : 0xe000;
	} while (take(in, ","));
	key->vlan_tci = dpu_be16_put((uint16_t)k);
	mask->vlan_tci = dpu_be16_put((uint16_t)m);
	return take(in, ")");
}

static bool parse_item(struct in *in, struct odp *dp, struct odp_key *key, struct odp_key *mask)
{
	static const struct odp_field type = { "eth_type", FIELD_HEX,
		offsetof(struct odp_key, eth_type), 2 };
	static const struct odp_field flags = { "tcp_flags", FIELD_HEX,
		offsetof(struct odp_key, tcp_flags), 2 };
	char name[WORD_MAX];
	size_t start = in->at;

	if (!word(in, "(", name) || !take(in, "(")) {
		in->at = start;
		return false;
	}
	if (!strcmp(name, "in_port"))
		return parse_host_uint(in, dp, &key->in_port, &mask->in_port);
	if (!strcmp(name, "recirc_id"))
		return parse_host_uint(in, NULL, &key->recirc_id, &mask->recirc_id);
	if (!strcmp(name, "vlan"))
		return parse_vlan(in, key, mask);
	if (!strcmp(name, "eth_type"))
		return parse_single(in, &type, key, mask);
	if (!strcmp(name, "tcp_flags"))
		return parse_single(in, &flags, key, mask);
	for (const struct odp_group *g = odp_groups; g->name; g++)
		if (!strcmp(g->name, name))
			return parse_group(in, g, key, mask);
	in->at = start;
	return false;
}

int odp_key_parse(
	struct odp *dp, const char *text, struct odp_key *key, struct odp_key *mask, size_t *err_at)
{
	struct in in = { .text = text };

	memset(key, 0, sizeof(*key));
	memset(mask, 0, sizeof(*mask));
	for (;;) {
		skip_space(&in);
		if (!parse_item(&in, dp, key, mask))
			break;
		skip_space(&in);
		if (text[in.at] == '\0')
			return 0;
		if (!take(&in, ","))
			break;
	}
	*err_at = in.at;
	return -EINVAL;
}

static bool parse_push_vlan(struct in *in, struct odp_action *a)
{
	static const struct {
		const char *name;
		uint32_t max;
		unsigned shift;
	} parts[] = { { "vid=", 4095, 0 }, { "pcp=", 7, 13 }, { "cfi=", 1, 12 },
		{ "tpid=", 65535, 0 } };
	uint32_t v, tci = 0;
	char w[WORD_MAX];

	a->type = ODP_ACT_PUSH_VLAN;
	a->vlan.tpid = 0x8100;
	do {
		unsigned i = 0;

		while (i < 4 && !take(in, parts[i].name))
			i++;
		if (i == 4)
			return false;
		size_t start = in->at;

		if (!word(in, ",)", w) || !uint_of(w, parts[i].max, &v)) {
			in->at = start;
			return false;
		}
		if (i == 3)
			a->vlan.tpid = (uint16_t)v;
		else
			tci |= v << parts[i].shift;
	} while (take(in, ","));
	a->vlan.tci = (uint16_t)tci;
	return take(in, ")");
}

static bool parse_action(struct in *in, struct odp *dp, struct odp_action *a)
{
	char w[WORD_MAX];
	size_t start = in->at;

	if (take(in, "push_vlan("))
		return parse_push_vlan(in, a);
	if (!word(in, ", \t\n", w))
		return false;
	if (!strcmp(w, "pop_vlan")) {
		a->type = ODP_ACT_POP_VLAN;
		return true;
	}
	if (!strcmp(w, "userspace")) {
		a->type = ODP_ACT_USERSPACE;
		return true;
	}
	a->type = ODP_ACT_OUTPUT;
	if (port_of(dp, w, &a->port))
		return true;
	in->at = start;
	return false;
}

int odp_actions_parse(
	struct odp *dp, const char *text, struct odp_action *a, unsigned max, size_t *err_at)
{
	struct in in = { .text = text };
	unsigned n = 0;

	skip_space(&in);
	if (take(&in, "drop")) {
		skip_space(&in);
		if (text[in.at] == '\0')
			return 0;
		*err_at = in.at;
		return -EINVAL;
	}
	for (;;) {
		skip_space(&in);
		if (n == max || !parse_action(&in, dp, &a[n]))
			break;
		n++;
		skip_space(&in);
		if (text[in.at] == '\0')
			return (int)n;
		if (!take(&in, ","))
			break;
	}
	*err_at = in.at;
	return -EINVAL;
}
