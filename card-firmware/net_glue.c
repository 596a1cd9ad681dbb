// SPDX-License-Identifier: Apache-2.0
/* Binds a virtio NIC to a switch port: queue pair i is receive and transmit queue i. */
#include "card.h"

#include <assert.h>

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct card_net_port *p = drv;
	uint16_t got = vho_net_rx(p->net, rxq, pkts, n);

	if (!atomic_load_explicit(&p->link_down, memory_order_relaxed))
		return got;
	rte_pktmbuf_free_bulk(pkts, got);
	dpu_counter_add(&p->dropped[rxq], got);
	return 0;
}

/* A NIC of several pairs: what it sends says where the answers belong. */
static uint16_t rx_learn(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct card_net_port *p = drv;
	uint16_t got = rx(drv, rxq, pkts, n);

	vho_net_learn(p->net, rxq, pkts, got);
	return got;
}

static bool steer(void *drv, struct rte_mbuf *const *pkts, uint16_t n, uint16_t *txq)
{
	struct card_net_port *p = drv;

	static_assert(ODP_TXQ_ANY == VHO_NET_PAIR_ANY && ODP_TXQ_ONLY == VHO_NET_PAIR_ONLY,
		"one word for it on both sides");
	// NOLINTNEXTLINE(misc-redundant-expression): as it should be
	static_assert(ODP_F_LENT == VHO_NET_F_LENT, "and one mark");
	return vho_net_steer(p->net, pkts, n, txq);
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct card_net_port *p = drv;

	return vho_net_tx(p->net, txq, pkts, n);
}

static void tx_flush(void *drv, uint16_t txq)
{
	struct card_net_port *p = drv;

	vho_net_tx_notify(p->net, txq);
}

/* What the guest transmits comes from its odd queues. */
static unsigned guest_txq(uint16_t rxq)
{
	return 2u * rxq + 1;
}

static bool rx_arm(void *drv, uint16_t rxq)
{
	struct card_net_port *p = drv;

	return vho_dev_queue_arm(vho_net_dev(p->net), guest_txq(rxq));
}

static void rx_disarm(void *drv, uint16_t rxq)
{
	struct card_net_port *p = drv;

	vho_dev_queue_disarm(vho_net_dev(p->net), guest_txq(rxq));
}

static void caps(void *drv, struct odp_port_caps *out)
{
	struct card_net_port *p = drv;
	struct vho_net_caps c;

	vho_net_caps(p->net, &c);
	*out = (struct odp_port_caps){
		.up = c.running,
		.csum = c.csum,
		.tso4 = c.tso4,
		.tso6 = c.tso6,
		.uso4 = c.uso4,
		.uso6 = c.uso6,
		.multi_seg = true, // copied into whatever buffers the guest posts
		.lent = true,
		.gro = p->gro,
		.mtu = c.mtu,
	};
}

const struct odp_port_ops *card_net_port_ops(uint16_t n_pairs)
{
	static const struct odp_port_ops one = {
		.rx = rx,
		.tx = tx,
		.tx_flush = tx_flush,
		.rx_arm = rx_arm,
		.rx_disarm = rx_disarm,
		.caps = caps,
	};
	static const struct odp_port_ops several = {
		.rx = rx_learn,
		.tx = tx,
		.tx_flush = tx_flush,
		.rx_arm = rx_arm,
		.rx_disarm = rx_disarm,
		.caps = caps,
		.steer = steer,
	};

	return n_pairs > 1 ? &several : &one;
}
