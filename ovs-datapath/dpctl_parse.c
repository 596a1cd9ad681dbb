// SPDX-License-Identifier: Apache-2.0
/* Flows as text: parsing. The text comes from operators over a socket, so every read is bounded. */
#include "dpctl.h"

#include <errno.h>

/* A number of one field, alone in its parentheses; `f` describes where it goes. */
static bool parse_single(
	struct odp_in *in, const struct odp_field *f, struct odp_key *key, struct odp_key *mask)
{
	return odp_in_field(in, f, key, mask) && odp_in_take(in, ")");
}

/* "vid=N[,pcp=N]" or "tci=N[/N]". What is not named is not matched, but the tag must be there. */
static bool parse_vlan(struct odp_in *in, struct odp_key *key, struct odp_key *mask)
{
	static const struct odp_field tci = { "tci", FIELD_HEX, offsetof(struct odp_key, vlan_tci),
		2 };
	uint32_t v, k = ODP_VLAN_PRESENT, m = ODP_VLAN_PRESENT;
	char w[ODP_WORD_MAX];

	if (odp_in_take(in, "tci="))
		return parse_single(in, &tci, key, mask);
	do {
		bool vid = odp_in_take(in, "vid=");
		size_t start = in->at;

		if (!vid && !odp_in_take(in, "pcp="))
			return false;
		if (!odp_in_word(in, ",)", w) || !odp_uint_of(w, vid ? 4095 : 7, &v)) {
			in->at = start;
			return false;
		}
		k |= vid ? v : v << 13;
		m |= vid ? 0xfff : 0xe000;
	} while (odp_in_take(in, ","));
	key->vlan_tci = dpu_be16_put((uint16_t)k);
	mask->vlan_tci = dpu_be16_put((uint16_t)m);
	return odp_in_take(in, ")");
}

static bool parse_item(struct odp_in *in, struct odp *dp, struct odp_key *key, struct odp_key *mask)
{
	static const struct odp_field type = { "eth_type", FIELD_HEX,
		offsetof(struct odp_key, eth_type), 2 };
	static const struct odp_field flags = { "tcp_flags", FIELD_HEX,
		offsetof(struct odp_key, tcp_flags), 2 };
	char name[ODP_WORD_MAX];
	size_t start = in->at;

	if (!odp_in_word(in, "(", name) || !odp_in_take(in, "(")) {
		in->at = start;
		return false;
	}
	if (!strcmp(name, "in_port"))
		return odp_in_uint(in, dp, &key->in_port, &mask->in_port);
	if (!strcmp(name, "recirc_id"))
		return odp_in_uint(in, NULL, &key->recirc_id, &mask->recirc_id);
	if (!strcmp(name, "vlan"))
		return parse_vlan(in, key, mask);
	if (!strcmp(name, "eth_type"))
		return parse_single(in, &type, key, mask);
	if (!strcmp(name, "tcp_flags"))
		return parse_single(in, &flags, key, mask);
	for (const struct odp_group *g = odp_groups; g->name; g++)
		if (!strcmp(g->name, name))
			return odp_in_fields(in, g, key, mask);
	in->at = start;
	return false;
}

int odp_key_parse(
	struct odp *dp, const char *text, struct odp_key *key, struct odp_key *mask, size_t *err_at)
{
	struct odp_in in = { .text = text };

	memset(key, 0, sizeof(*key));
	memset(mask, 0, sizeof(*mask));
	for (;;) {
		odp_in_space(&in);
		if (!parse_item(&in, dp, key, mask))
			break;
		odp_in_space(&in);
		if (text[in.at] == '\0')
			return 0;
		if (!odp_in_take(&in, ","))
			break;
	}
	*err_at = in.at;
	return -EINVAL;
}
