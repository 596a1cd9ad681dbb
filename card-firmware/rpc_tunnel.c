// SPDX-License-Identifier: Apache-2.0
/* Methods on tunnels. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "rpc_list.h"
#include "rpc_schema.h"

static int parse_type(const json_t *params, enum odp_tnl_type *out, struct card_error *e)
{
	const char *name = card_arg_str(params, "type", "");

	for (unsigned i = 0; i < ODP_TNL_TYPES; i++)
		if (!strcmp(odp_tnl_type_name((enum odp_tnl_type)i), name)) {
			*out = (enum odp_tnl_type)i;
			return 0;
		}
	return card_fail(
		e, -EINVAL, "type: %s is none of vxlan, vxlan-gbp, vxlan-gpe, geneve, gre", name);
}

/* "0x0102:0x80": class and type. */
static bool parse_option(const char *text, struct odp_geneve_opt *out)
{
	unsigned long class, type;
	char *end;

	if (strspn(text, "0123456789abcdefABCDEFxX:") != strlen(text))
		return false;
	class = strtoul(text, &end, 0);
	if (end == text || *end != ':' || class > UINT16_MAX)
		return false;
	text = end + 1;
	type = strtoul(text, &end, 0);
	if (end == text || *end || type > UINT8_MAX)
		return false;
	*out = (struct odp_geneve_opt){ .class = (uint16_t) class, .type = (uint8_t)type };
	return true;
}

static int parse_options(const json_t *params, struct odp_tnl_conf *conf, struct card_error *e)
{
	const json_t *list = json_object_get(params, "known_options");
	size_t i;
	json_t *v;

	if (json_array_size(list) > ODP_TNL_KNOWN_MAX)
		return card_fail(e, -EINVAL, "known_options: more than %u", ODP_TNL_KNOWN_MAX);
	json_array_foreach (list, i, v) {
		struct odp_geneve_opt *o = &conf->known[conf->n_known++];
		const char *text = json_string_value(v);

		if (!parse_option(text, o))
			return card_fail(e, -EINVAL,
				"known_options: %.40s is not of the form 0xCLASS:0xTYPE", text);
		if (!(o->type & 0x80))
			return card_fail(e, -EINVAL,
				"known_options: %.40s is not critical (0x80 of its type): taken in "
				"any case",
				text);
	}
	return 0;
}

int card_call_tunnel_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *local = card_arg_str(params, "local", NULL);
	struct odp_tnl_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.udp_port = (uint16_t)card_arg_uint(params, "udp_port", 0),
		.zero_csum6 = card_arg_bool(params, "zero_csum6", false),
		.take_oam = card_arg_bool(params, "take_oam", false),
	};
	int ret = parse_type(params, &conf.type, e);

	(void)result;
	if (ret)
		return ret;
	if (local && card_ip_parse(local, &conf.local))
		return card_fail(e, -EINVAL, "local: %s is not an IP address", local);
	ret = parse_options(params, &conf, e);
	return ret ? ret : card_tunnel_create(c, &conf, e);
}

int card_call_tunnel_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_tunnel_delete(c, card_arg_str(params, "name", ""), e);
}

/* NULL: out of memory. */
static json_t *options_json(const struct odp_tnl_conf *conf)
{
	json_t *options = json_array();
	char text[16];

	for (unsigned i = 0; i < conf->n_known; i++) {
		snprintf(text, sizeof(text), "0x%04x:0x%02x", conf->known[i].class,
			conf->known[i].type);
		if (json_array_append_new(options, json_string(text))) {
			json_decref(options);
			return NULL;
		}
	}
	return options;
}

/* NULL: out of memory. */
static json_t *tunnel_json(const struct card_tunnel_view *v)
{
	json_t *options = options_json(&v->conf);
	char local[CARD_IP_TEXT];

	if (!options)
		return NULL;
	card_ip_format(&v->conf.local, local);
	return json_pack("{s:s, s:I, s:s, s:s*, s:i, s:b, s:b, s:o}", "name",
		odp_port_name(v->port), "port", (json_int_t)odp_port_no(v->port), "type",
		odp_tnl_type_name(v->conf.type), "local", local[0] ? local : NULL, "udp_port",
		(int)v->conf.udp_port, "zero_csum6", (int)v->conf.zero_csum6, "take_oam",
		(int)v->conf.take_oam, "known_options", options);
}

static bool list_tunnel(const struct card_tunnel_view *v, void *arg)
{
	struct card_list *l = arg;

	return !card_list_wants(l, odp_port_name(v->port)) || card_list_add(l, tunnel_json(v));
}

int card_call_tunnel_list(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "name");
	card_tunnel_foreach(c, list_tunnel, &l);
	return card_list_end(&l, "tunnel", result, e);
}
