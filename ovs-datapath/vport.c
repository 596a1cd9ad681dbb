// SPDX-License-Identifier: Apache-2.0
/* Tunnel ports: coming, going, and which of them takes a packet. */
#include "vport.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "flow.h"
#include "tnl_dest.h"
#include "tnl_out.h"

#define FLOWS "tunnel" // origin of the flows that the datapath makes for tunnels

static const struct {
	const char *name;
	uint16_t udp_port;
} types[ODP_TNL_TYPES] = {
	[ODP_TNL_VXLAN] = { "vxlan", 4789 },
	[ODP_TNL_VXLAN_GBP] = { "vxlan-gbp", 4789 },
	[ODP_TNL_VXLAN_GPE] = { "vxlan-gpe", 4790 },
	[ODP_TNL_GENEVE] = { "geneve", 6081 },
	[ODP_TNL_GRE] = { "gre", 0 },
};

const char *odp_tnl_type_name(enum odp_tnl_type type)
{
	return (unsigned)type < ODP_TNL_TYPES ? types[type].name : "?";
}

uint16_t odp_tnl_udp_port(enum odp_tnl_type type)
{
	return (unsigned)type < ODP_TNL_TYPES ? types[type].udp_port : 0;
}

/* ---- the port without queues ---- */

static uint16_t no_rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	(void)rxq;
	(void)pkts;
	(void)n;
	return 0;
}

/* Nothing comes here: whoever sends to a tunnel port puts headers on and sends to an uplink. */
static uint16_t no_tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	(void)txq;
	rte_pktmbuf_free_bulk(pkts, n);
	return 0;
}

/* Segments are cut and sums made on the way in; how long a packet may be, its path says. */
static void caps(void *drv, struct odp_port_caps *out)
{
	(void)drv;
	*out = (struct odp_port_caps){ .up = true,
		.csum = true,
		.tso4 = true,
		.tso6 = true,
		.uso4 = true,
		.uso6 = true,
		.multi_seg = true,
		.mtu = UINT16_MAX };
}

static const struct odp_port_ops no_queues = { .rx = no_rx, .tx = no_tx, .caps = caps };

/* ---- coming and going ---- */

/* Make the demultiplexer anew. */
static int demux_update(struct odp *dp)
{
	struct odp_tnl_vport *ends = dpu_calloc(ODP_TNL_VPORTS_MAX + 1, sizeof(*ends));
	struct odp_tnl_demux *d;
	unsigned n = 0;
	int ret;

	if (!ends)
		return -ENOMEM;
	for (uint32_t no = 0; no < dp->port_top; no++) {
		const struct odp_port *p = odp_port_by_no(dp, no);

		if (p && p->tnl && n <= ODP_TNL_VPORTS_MAX)
			ends[n++] = p->tnl->end;
	}
	ret = odp_tnl_demux_create(ends, n, &d);
	free(ends);
	if (ret < 0)
		return ret;
	odp_tnl_demux_destroy(dp->tnls->demux);
	dp->tnls->demux = d;
	// One may take now what another one took.
	(void)odp_flow_flush(dp, FLOWS);
	return 0;
}

static int vport_create(const struct odp_tnl_conf *conf, struct odp_vport **out)
{
	struct odp_vport *v;

	if ((unsigned)conf->type >= ODP_TNL_TYPES || conf->n_known > ODP_TNL_KNOWN_MAX ||
		(conf->type == ODP_TNL_GRE && conf->udp_port != 0))
		return -EINVAL;
	v = dpu_calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->local = conf->local;
	v->end = (struct odp_tnl_vport){ .type = conf->type,
		.family = conf->local.family,
		.udp_port = conf->udp_port ? conf->udp_port : types[conf->type].udp_port,
		.zero_csum6 = conf->zero_csum6,
		.take_oam = conf->take_oam,
		.n_known = conf->n_known };
	memcpy(v->end.local, conf->local.a, sizeof(v->end.local));
	memcpy(v->end.known, conf->known, sizeof(v->end.known));
	*out = v;
	return 0;
}

int odp_tnl_add(struct odp *dp, const struct odp_tnl_conf *conf, struct odp_port **out)
{
	struct odp_port_conf pc = { .name = conf->name, .n_txq = 1, .ops = &no_queues };
	struct odp_vport *v;
	int ret = vport_create(conf, &v);

	if (ret < 0)
		return ret;
	pc.kind = odp_tnl_type_name(conf->type);
	ret = odp_port_create(dp, &pc, v, out);
	if (ret < 0) {
		free(v);
		return ret;
	}
	// What it would take, another one may take already.
	ret = demux_update(dp);
	if (ret < 0)
		odp_port_del(*out);
	return ret;
}

bool odp_tnl_info(const struct odp_port *port, struct odp_tnl_conf *out)
{
	const struct odp_vport *v = port->tnl;

	if (!v)
		return false;
	*out = (struct odp_tnl_conf){ .name = port->name,
		.type = v->end.type,
		.local = v->local,
		.udp_port = v->end.udp_port,
		.zero_csum6 = v->end.zero_csum6,
		.take_oam = v->end.take_oam,
		.n_known = v->end.n_known };
	memcpy(out->known, v->end.known, sizeof(out->known));
	return true;
}

void odp_tnls_port_deleted(struct odp *dp, const struct odp_port *port)
{
	struct odp_tnls *t = dp->tnls;

	if (!t)
		return;
	odp_ul_port_deleted(t->ul, port->no);
	// One less never collides. Without memory the old one names a port that nobody finds.
	if (!port->tnl)
		return;
	odp_tnl_dests_drop(dp, port->no);
	(void)demux_update(dp);
}

/* ---- the object ---- */

int odp_tnls_create(struct odp *dp, struct odp_tnls **out)
{
	struct odp_tnls *t = dpu_calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->dp = dp;
	t->dests = dpu_calloc(1, sizeof(*t->dests));
	ret = t->dests ? odp_tnl_demux_create(NULL, 0, &t->demux) : -ENOMEM;
	if (ret == 0)
		ret = odp_ul_over_ports(dp, &t->ul);
	for (unsigned i = 0; ret == 0 && i <= dp->conf.n_workers; i++) {
		dp->worker[i]->tnl = odp_tnl_worker_create(dp, i);
		ret = dp->worker[i]->tnl ? 0 : -ENOMEM;
	}
	if (ret < 0) {
		odp_tnls_destroy(t);
		return ret;
	}
	*out = t;
	return 0;
}

void odp_tnls_destroy(struct odp_tnls *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i <= t->dp->conf.n_workers; i++) {
		odp_tnl_worker_destroy(t->dp->worker[i]->tnl);
		t->dp->worker[i]->tnl = NULL;
	}
	odp_ul_destroy(t->ul);
	odp_tnl_demux_destroy(t->demux);
	free(t->dests);
	free(t);
}

struct odp_ul *odp_underlay(struct odp *dp)
{
	return dp->tnls->ul;
}

void odp_tnls_tick(struct odp *dp, uint64_t now_ns)
{
	odp_underlay_tick(dp);
	odp_tnl_dests_age(dp, now_ns);
}

void odp_underlay_tick(struct odp *dp)
{
	dp->control->now_ms = 0; // what waited may go on
	odp_ul_tick(dp->tnls->ul, dpu_now_ns());
}
