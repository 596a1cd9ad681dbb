// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on the underlay: addresses of the card, routes and neighbours, for the outer packets of
 * tunnels.
 *
 * An interface is no object of its own: it is there while it has an address, and the first address
 * says what its MAC and MTU are. What a later one does not say is kept with it all the same
 * (card_underlay_canon()), because at the next start it may be the first.
 */
#include "rpc.h"

#include <errno.h>
#include <string.h>

#include "addr.h"
#include "datapath.h"
#include "rpc_schema.h"

#define VLAN_TAGGED 0x1000u // of the datapath's TCI: there is a tag
#define MTU_MIN 1280u // odp_ul_if_set(): RFC 8200, section 5

/* ---- where: an uplink, or a VLAN on it ---- */

struct place {
	const char *uplink;
	uint16_t vlan; // as the operator counts; 0: untagged
	uint16_t tci; // as the datapath does
	struct card_uplink_view view;
	uint32_t port;
};

static int parse_place(struct card *c, const json_t *params, struct place *p, struct card_error *e)
{
	int ret;

	p->uplink = card_arg_str(params, "uplink", "");
	p->vlan = (uint16_t)card_arg_uint(params, "vlan", 0);
	p->tci = p->vlan ? (uint16_t)(VLAN_TAGGED | p->vlan) : 0;
	ret = card_uplink_get(c, p->uplink, &p->view, e);
	if (!ret)
		p->port = odp_port_no(p->view.port);
	return ret;
}

static bool is_at(const struct place *p, uint32_t port, uint16_t tci)
{
	return p->port == port && p->tci == tci;
}

static const char *uplink_name(struct odp *dp, uint32_t port)
{
	const struct odp_port *p = odp_port_by_no(dp, port);

	return p ? odp_port_name(p) : "";
}

struct find_if {
	const struct place *place;
	struct odp_ul_if_info found;
	bool is_there;
};

static void match_if(const struct odp_ul_if_info *i, void *arg)
{
	struct find_if *f = arg;

	if (!is_at(f->place, i->port, i->vlan))
		return;
	f->found = *i;
	f->is_there = true;
}

static bool find_if(struct card *c, const struct place *p, struct odp_ul_if_info *out)
{
	struct find_if f = { .place = p };

	odp_ul_if_foreach(odp_underlay(c->dp), match_if, &f);
	*out = f.found;
	return f.is_there;
}

/* ---- addresses ---- */

struct find_addr {
	struct odp_ip ip; // family 0: any
	const struct place *place; // NULL: anywhere
	struct odp_ul_addr_info found; // the last of them
	unsigned n;
};

static void match_addr(const struct odp_ul_addr_info *a, void *arg)
{
	struct find_addr *f = arg;

	if ((f->ip.family && !odp_ip_eq(&f->ip, &a->ip)) ||
		(f->place && !is_at(f->place, a->port, a->vlan)))
		return;
	f->found = *a;
	f->n++;
}

static int parse_net(const json_t *params, const char *name, struct odp_ip *ip, unsigned *len,
	struct card_error *e)
{
	const char *text = card_arg_str(params, name, "");

	if (card_net_parse(text, ip, len))
		return card_fail(e, -EINVAL,
			"%s: %s is not an IP address and a length, as 192.0.2.1/24", name, text);
	return 0;
}

static int parse_ip(const json_t *params, const char *name, struct odp_ip *ip, struct card_error *e)
{
	const char *text = card_arg_str(params, name, "");

	if (card_ip_parse(text, ip))
		return card_fail(e, -EINVAL, "%s: %s is not an IP address", name, text);
	return 0;
}

/* What the interface of a new address is to have; has: what it has, NULL: there is none yet. */
static int choose_if(const struct place *p, const json_t *params, const struct odp_ul_if_info *has,
	struct odp_ul_if_info *out, struct card_error *e)
{
	const char *mac = card_arg_str(params, "mac", NULL);
	char text[CARD_MAC_TEXT];

	*out = (struct odp_ul_if_info){ .port = p->port, .vlan = p->tci, .mtu = p->view.caps.mtu };
	memcpy(out->mac, p->view.mac, 6);
	if (has)
		*out = *has;
	if (mac && (card_mac_parse(mac, out->mac) || (out->mac[0] & 1)))
		return card_fail(e, -EINVAL, "mac: %s is not a unicast Ethernet address", mac);
	out->mtu = (uint16_t)card_arg_uint(params, "mtu", out->mtu);
	if (out->mtu > p->view.caps.mtu)
		return card_fail(e, -EINVAL, "mtu: %u is more than the %u of %s", out->mtu,
			p->view.caps.mtu, p->uplink);
	if (out->mtu < MTU_MIN)
		return card_fail(e, -EINVAL, "mtu: %u, a tunnel needs %u", out->mtu, MTU_MIN);
	if (has && memcmp(has->mac, out->mac, 6) != 0) {
		card_mac_format(has->mac, text);
		return card_fail(e, -EEXIST, "mac: addresses of %s have %s", p->uplink, text);
	}
	if (has && has->mtu != out->mtu)
		return card_fail(e, -EEXIST, "mtu: addresses of %s have %u", p->uplink, has->mtu);
	return 0;
}

static int add_address(struct card *c, const struct place *p, const struct odp_ul_if_info *want,
	const struct odp_ip *ip, unsigned len, bool new_if, struct card_error *e)
{
	struct odp_ul *ul = odp_underlay(c->dp);
	int ret = new_if ? odp_ul_if_set(ul, p->port, p->tci, want->mac, want->mtu) : 0;

	if (ret == -ENOSPC)
		return card_fail(e, ret, "uplink: no room for another interface");
	if (ret)
		return card_fail(e, ret, "mac: not an address that an interface can have");
	ret = odp_ul_addr_add(ul, p->port, p->tci, ip, len);
	if (!ret) {
		card_datapath_underlay_changed(c);
		return 0;
	}
	if (new_if)
		odp_ul_if_del(ul, p->port, p->tci);
	switch (ret) {
	case -EINVAL:
		return card_fail(e, ret, "address: not one that a host can have");
	case -EEXIST:
		return card_fail(e, ret, "address: there is a route to its network");
	case -ENOSPC:
		return card_fail(e, ret, "address: no room for another one");
	default:
		return ret;
	}
}

int card_call_underlay_address_add(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ul_if_info has, want;
	struct find_addr other = { 0 };
	struct place p;
	unsigned len;
	bool there;
	int ret = parse_place(c, params, &p, e);

	(void)result;
	if (!ret)
		ret = parse_net(params, "address", &other.ip, &len, e);
	if (ret)
		return ret;
	there = find_if(c, &p, &has);
	ret = choose_if(&p, params, there ? &has : NULL, &want, e);
	if (ret)
		return ret;
	odp_ul_addr_foreach(odp_underlay(c->dp), match_addr, &other);
	if (!other.n)
		return add_address(c, &p, &want, &other.ip, len, !there, e);
	if (is_at(&p, other.found.port, other.found.vlan) && len == other.found.prefix_len)
		return 0;
	return card_fail(e, -EEXIST, "address: is there with length %u on %s",
		other.found.prefix_len, uplink_name(c->dp, other.found.port));
}

struct users {
	struct place place;
	char first[CARD_NET_TEXT]; // one of them
};

static void user_route(const struct odp_ul_route *r, void *arg)
{
	struct users *u = arg;

	if (!r->connected && is_at(&u->place, r->port, r->vlan))
		card_net_format(&r->net, r->prefix_len, u->first);
}

static void user_neigh(const struct odp_ul_neigh_info *n, void *arg)
{
	struct users *u = arg;

	if (n->is_static && is_at(&u->place, n->port, n->vlan))
		card_ip_format(&n->ip, u->first);
}

int card_call_underlay_address_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *text = card_arg_str(params, "address", "");
	struct odp_ul *ul = odp_underlay(c->dp);
	struct find_addr one = { 0 }, all = { 0 };
	struct users users = { 0 };
	unsigned len = 0;
	bool with_len = strchr(text, '/');
	int ret = with_len ? parse_net(params, "address", &one.ip, &len, e)
			   : parse_ip(params, "address", &one.ip, e);

	(void)result;
	if (ret)
		return ret;
	odp_ul_addr_foreach(ul, match_addr, &one);
	if (!one.n || (with_len && len != one.found.prefix_len))
		return card_fail(e, -ENOENT, "address: %s is none of the card's", text);
	users.place = (struct place){ .port = one.found.port, .tci = one.found.vlan };
	all.place = &users.place;
	odp_ul_addr_foreach(ul, match_addr, &all);
	if (all.n > 1)
		return odp_ul_addr_del(ul, &one.ip);
	odp_ul_route_foreach(ul, user_route, &users);
	odp_ul_neigh_foreach(ul, user_neigh, &users);
	if (users.first[0])
		return card_fail(e, -EBUSY,
			"address: the last one of %s, which the operator's %s goes by",
			uplink_name(c->dp, one.found.port), users.first);
	return odp_ul_if_del(ul, one.found.port, one.found.vlan);
}

/* ---- routes ---- */

struct find_route {
	struct odp_ul_route want, found;
	bool is_there;
};

static void match_route(const struct odp_ul_route *r, void *arg)
{
	struct find_route *f = arg;

	if (!odp_ip_eq(&r->net, &f->want.net) || r->prefix_len != f->want.prefix_len)
		return;
	f->found = *r;
	f->is_there = true;
}

static int route_exists(struct card *c, const struct find_route *f, struct card_error *e)
{
	const struct odp_ul_route *has = &f->found, *want = &f->want;
	char gateway[CARD_IP_TEXT];

	if (has->connected)
		return card_fail(e, -EEXIST, "net: is that of an address of the card");
	if (has->port == want->port && has->vlan == want->vlan && odp_ip_eq(&has->gw, &want->gw))
		return 0;
	card_ip_format(&has->gw, gateway);
	return card_fail(e, -EEXIST, "net: has a route by %s%s%s", gateway,
		gateway[0] ? " on " : "", uplink_name(c->dp, has->port));
}

int card_call_underlay_route_add(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ul *ul = odp_underlay(c->dp);
	struct find_route f = { 0 };
	struct place p;
	int ret = parse_place(c, params, &p, e);

	(void)result;
	if (!ret)
		ret = parse_net(params, "net", &f.want.net, &f.want.prefix_len, e);
	if (!ret && card_arg_str(params, "gateway", NULL))
		ret = parse_ip(params, "gateway", &f.want.gw, e);
	if (ret)
		return ret;
	if (f.want.gw.family && f.want.gw.family != f.want.net.family)
		return card_fail(e, -EINVAL, "gateway: of another family than the network");
	f.want.port = p.port;
	f.want.vlan = p.tci;
	odp_ul_route_foreach(ul, match_route, &f);
	if (f.is_there)
		return route_exists(c, &f, e);
	ret = odp_ul_route_add(ul, &f.want);
	switch (ret) {
	case -EINVAL:
		return card_fail(e, ret,
			"net: bits are set behind the length, or the gateway is no neighbour");
	case -ENODEV:
		return card_fail(e, ret, "uplink: %s has no address there", p.uplink);
	case -ENOSPC:
		return card_fail(e, ret, "net: no room for another route");
	default:
		return ret;
	}
}

int card_call_underlay_route_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ip net;
	unsigned len;
	int ret = parse_net(params, "net", &net, &len, e);

	(void)result;
	if (ret)
		return ret;
	ret = odp_ul_route_del(odp_underlay(c->dp), &net, len);
	if (ret == -EBUSY)
		return card_fail(e, ret, "net: that of an address of the card, and goes with it");
	return ret == -ENOENT ? card_fail(e, ret, "net: has no route") : ret;
}

/* ---- neighbours ---- */

int card_call_underlay_neighbour_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *text = card_arg_str(params, "mac", "");
	struct odp_ip ip;
	struct place p;
	uint8_t mac[6];
	int ret = parse_place(c, params, &p, e);

	(void)result;
	if (!ret)
		ret = parse_ip(params, "address", &ip, e);
	if (ret)
		return ret;
	if (card_mac_parse(text, mac) || (mac[0] & 1))
		return card_fail(e, -EINVAL, "mac: %s is not a unicast Ethernet address", text);
	ret = odp_ul_neigh_set(odp_underlay(c->dp), p.port, p.tci, &ip, mac);
	switch (ret) {
	case -EINVAL:
		return card_fail(e, ret, "address: not one that a neighbour can have");
	case -ENODEV:
		return card_fail(e, ret, "uplink: %s has no address there", p.uplink);
	case -ENOSPC:
		return card_fail(e, ret, "address: no room for another neighbour");
	default:
		return ret;
	}
}

int card_call_underlay_neighbour_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ip ip;
	int ret = parse_ip(params, "address", &ip, e);

	(void)result;
	if (!ret)
		ret = odp_ul_neigh_del(odp_underlay(c->dp), &ip);
	return ret == -ENOENT ? card_fail(e, ret, "address: not a neighbour") : ret;
}

/* ---- what there is ---- */

struct show {
	struct odp *dp;
	json_t *out; // borrowed: array
	bool failed;
};

/* Takes `o`; adds where it is. */
static void append(struct show *s, json_t *o, uint32_t port, uint16_t tci)
{
	if (!o || json_object_set_new(o, "uplink", json_string(uplink_name(s->dp, port))) ||
		json_object_set_new(o, "vlan", json_integer(tci & 0xfff)) ||
		json_array_append(s->out, o))
		s->failed = true;
	json_decref(o);
}

static void show_if(const struct odp_ul_if_info *i, void *arg)
{
	char mac[CARD_MAC_TEXT];

	card_mac_format(i->mac, mac);
	append(arg, json_pack("{s:s, s:i}", "mac", mac, "mtu", (int)i->mtu), i->port, i->vlan);
}

static void show_addr(const struct odp_ul_addr_info *a, void *arg)
{
	char text[CARD_NET_TEXT];

	card_net_format(&a->ip, a->prefix_len, text);
	append(arg, json_pack("{s:s}", "address", text), a->port, a->vlan);
}

static void show_route(const struct odp_ul_route *r, void *arg)
{
	char net[CARD_NET_TEXT], gateway[CARD_IP_TEXT];

	card_net_format(&r->net, r->prefix_len, net);
	card_ip_format(&r->gw, gateway);
	append(arg,
		json_pack("{s:s, s:s*, s:b}", "net", net, "gateway", gateway[0] ? gateway : NULL,
			"connected", (int)r->connected),
		r->port, r->vlan);
}

static void show_neigh(const struct odp_ul_neigh_info *n, void *arg)
{
	static const uint8_t unknown[6];
	char ip[CARD_IP_TEXT], mac[CARD_MAC_TEXT];

	card_ip_format(&n->ip, ip);
	card_mac_format(n->mac, mac);
	append(arg,
		json_pack("{s:s, s:s*, s:s, s:b}", "address", ip, "mac",
			memcmp(n->mac, unknown, 6) ? mac : NULL, "state", n->state, "static",
			(int)n->is_static),
		n->port, n->vlan);
}

int card_call_underlay_show(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct odp_ul *ul = odp_underlay(c->dp);
	json_t *ifs = json_array(), *addrs = json_array(), *routes = json_array(),
	       *neighs = json_array();
	struct show s = { .dp = c->dp };

	(void)params;
	(void)e;
	s.out = ifs;
	odp_ul_if_foreach(ul, show_if, &s);
	s.out = addrs;
	odp_ul_addr_foreach(ul, show_addr, &s);
	s.out = routes;
	odp_ul_route_foreach(ul, show_route, &s);
	s.out = neighs;
	odp_ul_neigh_foreach(ul, show_neigh, &s);
	*result = json_pack("{s:o, s:o, s:o, s:o, s:o}", "interfaces", ifs, "addresses", addrs,
		"routes", routes, "neighbours", neighs, "counters", card_underlay_stats_json(c));
	return *result && !s.failed ? 0 : -ENOMEM;
}

json_t *card_underlay_stats_json(struct card *c)
{
	json_t *now = json_object(), *o = json_object();
	struct odp_ul_stats s;
	int failed = 0;

	odp_ul_stats(odp_underlay(c->dp), &s);
#define X(name, text) failed |= json_object_set_new(o, #name, json_integer((json_int_t)s.name));
	ODP_UL_COUNTERS(X)
#undef X
#define X(name, text) failed |= json_object_set_new(now, #name, json_integer((json_int_t)s.name));
	ODP_UL_GAUGES(X)
#undef X
	if (!json_object_set_new(o, "now", now) && !failed)
		return o;
	json_decref(o);
	return NULL;
}

/* ---- the store's spelling ---- */

static int set_text(json_t *params, const char *name, const char *text)
{
	return json_object_set_new(params, name, json_string(text)) ? -ENOMEM : 0;
}

/* One spelling of an address, with its length where it has one. */
static int canon_text(json_t *params, const char *name)
{
	const char *text = card_arg_str(params, name, "");
	char out[CARD_NET_TEXT] = "";
	struct odp_ip ip;
	unsigned len;

	if (!card_net_parse(text, &ip, &len))
		card_net_format(&ip, len, out);
	else if (!card_ip_parse(text, &ip))
		card_ip_format(&ip, out);
	return out[0] ? set_text(params, name, out) : 0; // else the call itself will say so
}

/* MAC and MTU of the interface that is there, where they are not what they would be without. */
static int canon_if(struct card *c, json_t *params)
{
	struct card_error e;
	struct odp_ul_if_info has;
	struct place p;
	char mac[CARD_MAC_TEXT];
	int ret = 0;

	if (parse_place(c, params, &p, &e) || !find_if(c, &p, &has))
		return 0;
	card_mac_format(has.mac, mac);
	if (memcmp(has.mac, p.view.mac, 6) != 0 && !json_object_get(params, "mac"))
		ret = set_text(params, "mac", mac);
	if (!ret && has.mtu != p.view.caps.mtu && !json_object_get(params, "mtu"))
		ret = json_object_set_new(params, "mtu", json_integer(has.mtu)) ? -ENOMEM : 0;
	return ret;
}

int card_underlay_canon(struct card *c, const struct card_method *m, json_t *params)
{
	int ret = canon_text(params, m->key);

	return !ret && m == card_method_at(CARD_M_underlay_address_add) ? canon_if(c, params) : ret;
}
