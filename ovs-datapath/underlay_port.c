// SPDX-License-Identifier: Apache-2.0
/* The underlay on the datapath's ports: what it sends leaves through uplinks. */
#include "tx.h"
#include "vport.h"

#include "dpu_clock.h"

/* It says so at any time, after a frame that came or when an operator sets something. */
static void send(void *arg, uint32_t port, struct rte_mbuf *m)
{
	struct odp *dp = arg;
	struct odp_pw *pw = odp_pw(dp->control, port);

	if (!pw) {
		dp->gone_drops[ODP_DROP_PORT_GONE]++;
		rte_pktmbuf_free(m);
		return;
	}
	odp_out(dp->control, pw, 0, m);
	odp_lanes_flush(dp->control);
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	(void)arg;
	(void)path;
	rte_pktmbuf_free(m);
}

int odp_ul_over_ports(struct odp *dp, struct odp_ul **out)
{
	const struct odp_ul_conf conf = {
		.pool = dp->conf.pool, .arg = dp, .send = send, .ready = ready
	};

	return odp_ul_create(&conf, dpu_now_ns(), out);
}

struct on_port {
	uint32_t port;
	unsigned n;
	uint16_t vlan[64];
};

static void note(const struct odp_ul_if_info *i, void *arg)
{
	struct on_port *on = arg;

	if (i->port == on->port && on->n < RTE_DIM(on->vlan))
		on->vlan[on->n++] = i->vlan;
}

void odp_ul_port_deleted(struct odp_ul *ul, uint32_t port)
{
	struct on_port on = { .port = port };

	odp_ul_if_foreach(ul, note, &on);
	for (unsigned i = 0; i < on.n; i++)
		(void)odp_ul_if_del(ul, port, on.vlan[i]);
}
