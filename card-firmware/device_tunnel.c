// SPDX-License-Identifier: Apache-2.0
/*
 * Tunnels of the inventory. A tunnel is a port of the switch and nothing besides, so the switch's
 * list of ports is the list of tunnels too.
 */
#include "device.h"

#include <errno.h>
#include <string.h>

#include "addr.h"
#include "dpu_log.h"
#include "rpc_schema.h"

/* The tunnel of this name and what it was made with; NULL: none. */
static struct odp_port *find(struct card *c, const char *name, struct odp_tnl_conf *conf)
{
	struct odp_port *port = odp_port_by_name(c->dp, name);

	return port && odp_tnl_info(port, conf) ? port : NULL;
}

bool card_tunnel_exists(struct card *c, const char *name)
{
	struct odp_tnl_conf conf;

	return find(c, name, &conf);
}

static bool same(const struct odp_tnl_conf *a, const struct odp_tnl_conf *b)
{
	if (a->type != b->type || a->udp_port != b->udp_port || !odp_ip_eq(&a->local, &b->local) ||
		a->zero_csum6 != b->zero_csum6 || a->take_oam != b->take_oam ||
		a->n_known != b->n_known)
		return false;
	for (unsigned i = 0; i < a->n_known; i++)
		if (a->known[i].class != b->known[i].class || a->known[i].type != b->known[i].type)
			return false;
	return true;
}

static int check(const struct odp_tnl_conf *conf, struct card_error *e)
{
	if (conf->type == ODP_TNL_GRE && conf->udp_port)
		return card_fail(e, -EINVAL, "udp_port: gre has none");
	if (conf->type == ODP_TNL_GRE && conf->zero_csum6)
		return card_fail(e, -EINVAL, "zero_csum6: gre has no UDP checksum");
	if (conf->type != ODP_TNL_GENEVE && conf->take_oam)
		return card_fail(e, -EINVAL, "take_oam: only geneve has control packets");
	if (conf->type != ODP_TNL_GENEVE && conf->n_known)
		return card_fail(e, -EINVAL, "known_options: only geneve has options");
	return 0;
}

int card_tunnel_create(struct card *c, const struct odp_tnl_conf *conf, struct card_error *e)
{
	struct odp_tnl_conf want = *conf, has;
	struct odp_port *port;
	int ret;

	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	ret = check(conf, e);
	if (ret)
		return ret;
	if (!want.udp_port)
		want.udp_port = odp_tnl_udp_port(want.type);
	port = find(c, conf->name, &has);
	if (port && same(&has, &want))
		return 0;
	if (port)
		return card_fail(e, -EEXIST, "%s: exists with other parameters", conf->name);
	ret = card_name_free(c, conf->name, e);
	if (ret)
		return ret;
	ret = odp_tnl_add(c->dp, &want, &port);
	switch (ret) {
	case 0:
		dpu_info("tunnel: created", "name=%s type=%s", conf->name,
			odp_tnl_type_name(conf->type));
		return 0;
	case -EEXIST:
		return card_fail(e, ret, "%s: another tunnel takes the same packets", conf->name);
	case -EINVAL:
		return card_fail(e, ret, "local: not an address that a tunnel can have");
	case -ENOSPC:
		return card_fail(e, ret, "%s: no room for another tunnel", conf->name);
	default:
		return card_fail(e, ret, "%s: %s", conf->name, strerror(-ret));
	}
}

int card_tunnel_delete(struct card *c, const char *name, struct card_error *e)
{
	struct odp_tnl_conf conf;
	struct odp_port *port = find(c, name, &conf);

	if (!port)
		return card_fail(e, -ENODEV, "%s: no such tunnel", name);
	dpu_info("tunnel: deleted", "name=%s", name);
	odp_port_del(port);
	return 0;
}

struct walk {
	bool (*fn)(const struct card_tunnel_view *v, void *arg);
	void *arg;
	bool over;
};

static void visit(struct odp_port *port, void *arg)
{
	struct walk *w = arg;
	struct card_tunnel_view v = { .port = port };

	if (!w->over && odp_tnl_info(port, &v.conf))
		w->over = !w->fn(&v, w->arg);
}

void card_tunnel_foreach(
	struct card *c, bool (*fn)(const struct card_tunnel_view *v, void *a), void *a)
{
	struct walk w = { fn, a, false };

	odp_port_foreach(c->dp, visit, &w);
}

static bool take_port(const struct card_tunnel_view *v, void *arg)
{
	*(struct odp_port **)arg = v->port;
	return false;
}

void card_tunnels_fini(struct card *c)
{
	struct odp_port *port;

	do {
		port = NULL;
		card_tunnel_foreach(c, take_port, &port);
		odp_port_del(port);
	} while (port);
}
