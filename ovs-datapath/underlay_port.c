// SPDX-License-Identifier: Apache-2.0
/* The underlay on the datapath's ports: what it sends leaves through uplinks. */
#include "bridge.h"
#include "dpu_clock.h"
#include "inet.h"
#include "pmtu.h"
#include "tnl_out.h"
#include "tx.h"
#include "underlay_gate.h"

#include <netinet/in.h>

/* It says so at any time, after a frame that came or when an operator sets something. */
static void send_frame(void *arg, uint32_t port, struct rte_mbuf *m)
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
	odp_tnl_ready(arg, path, m);
}

static void lost(void *arg, struct rte_mbuf *m)
{
	odp_tnl_lost(arg, m);
}

/* Flows that were made for what was there before. */
static void changed(void *arg, uint32_t port)
{
	struct odp *dp = arg;
	struct odp_port *p = odp_port_by_no(dp, port);

	if (p)
		odp_ul_rings_open(p);
	(void)odp_flow_flush(dp, "tunnel");
	odp_bridge_port_changed(dp, port);
}

int odp_ul_over_ports(struct odp *dp, struct odp_ul **out)
{
	const struct odp_ul_conf conf = { .pool = dp->conf.pool,
		.seed = dp->seed,
		.arg = dp,
		.send = send_frame,
		.ready = ready,
		.lost = lost,
		.changed = changed };

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

/* ---- what misses ---- */

static struct odp_ip dst_of(const struct odp_key *key)
{
	struct odp_ip ip = { .family = dpu_be16_get(key->eth_type) == ODP_ETH_IPV4 ? 4 : 6 };

	if (ip.family == 4)
		memcpy(ip.a, &key->ipv4.dst, 4);
	else
		memcpy(ip.a, key->ipv6.dst, 16);
	return ip;
}

/* ARP or ND about an address of ours. */
static bool asks_for_us(const struct odp_ul *ul, const struct odp_key *key)
{
	struct odp_ip ip = { .family = 4 };

	if (dpu_be16_get(key->eth_type) == ODP_ETH_ARP) {
		memcpy(ip.a, &key->arp.tpa, 4);
	} else {
		ip.family = 6;
		memcpy(ip.a, key->nd.target, 16);
	}
	return odp_ul_addr_is_ours(ul, &ip);
}

/*
 * All packets like this one, to one tunnel end: whoever they are from, for this address of ours,
 * with no tag behind the interface's, and no pieces.
 */
static int install(struct odp *dp, const struct odp_key *key, uint32_t vport)
{
	bool v4 = dpu_be16_get(key->eth_type) == ODP_ETH_IPV4;
	uint16_t tci = dpu_be16_get(key->vlan_tci);
	struct odp_actbuf acts = { 0 };
	struct odp_key k, m;
	int ret;

	memset(&k, 0, sizeof(k));
	memset(&m, 0, sizeof(m));
	m.in_port = m.recirc_id = UINT32_MAX;
	memset(m.eth_dst, 0xff, sizeof(m.eth_dst));
	m.vlan_tci = dpu_be16_put(tci ? 0x1fff : 0xffff);
	m.cvlan_tci = dpu_be16_put(tci ? 0xffff : 0);
	m.eth_type = dpu_be16_put(0xffff);
	m.ip_proto = m.ip_frag = 0xff;
	if (v4)
		m.ipv4.dst = dpu_be32_put(UINT32_MAX);
	else
		memset(m.ipv6.dst, 0xff, sizeof(m.ipv6.dst));
	if (key->ip_proto == IPPROTO_UDP)
		m.tp_dst = dpu_be16_put(0xffff);

	struct odp_kw of = odp_kw(key), mask = odp_kw(&m);

	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		of.w[i] &= mask.w[i];
	memcpy(&k, &of, sizeof(k));
	odp_actbuf_u32(&acts, ODP_ACT_TNL_POP, vport);
	ret = acts.err ? acts.err
		       : odp_flow_put(dp, &k, &m, odp_actbuf_list(&acts), acts.len, true, "tunnel",
				 NULL);
	odp_actbuf_fini(&acts);
	return ret;
}

/* For our MAC address, and no message of a neighbour. */
static enum odp_ul_miss for_us(
	struct odp *dp, struct odp_pw *in, const struct odp_key *key, struct rte_mbuf *m)
{
	const struct odp_tnls *t = dp->tnls;
	uint16_t type = dpu_be16_get(key->eth_type);
	enum odp_drop why = ODP_DROP_UNDERLAY;
	const struct odp_tnl_vport *v;
	struct odp_ip dst;

	if (odp_pmtu_learn(t->ul, t->demux, m) > 0 || odp_ul_echo(t->ul, in->port->no, m)) {
		rte_pktmbuf_free(m);
		return ODP_UL_DONE;
	}
	v = odp_tnl_classify(t->demux, m);
	if (v && (type == ODP_ETH_IPV4 || type == ODP_ETH_IPV6) &&
		dpu_be16_get(key->cvlan_tci) == 0) {
		dst = dst_of(key);
		if (odp_ul_addr_is_ours(t->ul, &dst)) {
			if (key->ip_frag == ODP_FRAG_NONE && install(dp, key, v->port_no) == 0)
				return ODP_UL_FLOW;
			why = key->ip_frag ? ODP_DROP_TNL_FRAGMENT : ODP_DROP_NO_FLOW;
		}
	}
	odp_drop_one(in, why, m);
	return ODP_UL_DONE;
}

enum odp_ul_miss odp_ul_miss(
	struct odp *dp, struct odp_port *port, const struct odp_key *key, struct rte_mbuf *m)
{
	struct odp_ul *ul = dp->tnls->ul;
	struct odp_pw *in = &port->pw[dp->control->idx];
	uint16_t vid = dpu_be16_get(key->vlan_tci) & 0xfff;
	// A tag that only says a priority is none.
	const uint8_t *mac = odp_ul_if_mac(ul, port->no, vid ? vid | ODP_VLAN_PRESENT : 0);
	bool ours = mac && memcmp(key->eth_dst, mac, 6) == 0;
	int ret;

	if (!mac)
		return ODP_UL_PASS;
	if (odp_ul_is_neighbours(key)) {
		ret = odp_ul_rx(ul, port->no, m);
		if (ret < 0) {
			odp_drop_one(in, ODP_DROP_MALFORMED, m);
			return ODP_UL_DONE;
		}
		// What many hear is for the others, too, if it does not ask for us.
		if (ret > 0 && (ours || asks_for_us(ul, key) || !odp_port_is_switched(port))) {
			rte_pktmbuf_free(m);
			return ODP_UL_DONE;
		}
	}
	return ours ? for_us(dp, in, key, m) : ODP_UL_PASS;
}
