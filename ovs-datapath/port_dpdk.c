// SPDX-License-Identifier: Apache-2.0
/*
 * Ethdev ports: any device that DPDK drives, virtual or PCI.
 *
 * Checksum and segmentation requests reach a device only when it declares the offload; net_tap
 * declares what it emulates without IPv6, so it counts as a device without.
 */
#include "odp_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_ethdev.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "sw_offload.h"

#define TX_TRIES 4u
#define DESC_DEFAULT 1024u
#define ETH_OVERHEAD 26u // header, two tags, CRC

struct odp_ethdev {
	/* Fixed once odp_ethdev_open() returns. */
	uint16_t id; // DPDK's port
	uint16_t n_queues;
	uint16_t mtu;
	bool csum, tso, multi_seg;
	struct rte_mempool *pool; // borrowed
	struct rte_device *device; // borrowed: the bus's
	int *rx_fd; // owned; per queue, -1: no interrupt
};

static uint16_t dev_rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	const struct odp_ethdev *d = drv;

	return rte_eth_rx_burst(d->id, rxq, pkts, n);
}

/*
 * From our contract to DPDK's: for segmentation the pseudo-header sum must not contain the length,
 * and the IPv4 header checksum is asked for. Returns the packet, or NULL when it was freed.
 */
static struct rte_mbuf *to_device(const struct odp_ethdev *d, struct rte_mbuf *m)
{
	if (!(m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO)))
		return m;
	m = odp_unshare(m, d->pool);
	if (!m || !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
		return m;

	uint32_t l4 = (uint32_t)m->l2_len + m->l3_len;

	if (m->data_len < l4 + 20u) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t len = m->pkt_len - l4;
	uint32_t sum = (uint32_t)p[l4 + 16] << 8 | p[l4 + 17];

	// One's complement subtraction: add the complement of each half, then fold.
	sum += (~len & 0xffff) + (~(len >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	p[l4 + 16] = (uint8_t)(sum >> 8);
	p[l4 + 17] = (uint8_t)sum;
	m->l4_len = (uint64_t)(p[l4 + 12] >> 4) * 4 & 0xff;
	if (m->ol_flags & RTE_MBUF_F_TX_IPV4) {
		p[m->l2_len + 10] = 0;
		p[m->l2_len + 11] = 0;
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	}
	return m;
}

/*
 * Packets that the device's driver cannot take with their requests are freed. Returns what is left.
 */
static uint16_t prepare(
	const struct odp_ethdev *d, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0, ok = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = to_device(d, pkts[i]);

		if (m)
			pkts[kept++] = m;
	}
	while (ok < kept) {
		ok = (uint16_t)(ok +
				rte_eth_tx_prepare(d->id, txq, pkts + ok, (uint16_t)(kept - ok)));
		if (ok == kept)
			break;
		rte_pktmbuf_free(pkts[ok]);
		memmove(&pkts[ok], &pkts[ok + 1], (kept - ok - 1u) * sizeof(pkts[0]));
		kept--;
	}
	return kept;
}

static uint16_t dev_tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	const struct odp_ethdev *d = drv;
	uint64_t flags = 0;
	uint16_t sent = 0;

	for (uint16_t i = 0; i < n; i++)
		flags |= pkts[i]->ol_flags;
	if (flags & (ODP_F_L4_CSUM | ODP_F_GSO))
		n = prepare(d, txq, pkts, n);
	for (unsigned i = 0; i < TX_TRIES && sent < n; i++)
		sent = (uint16_t)(sent +
				  rte_eth_tx_burst(d->id, txq, pkts + sent, (uint16_t)(n - sent)));
	if (sent < n)
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
	return sent;
}

static bool dev_rx_arm(void *drv, uint16_t rxq)
{
	const struct odp_ethdev *d = drv;

	if (d->rx_fd[rxq] < 0)
		return true; // the worker naps instead
	// Not every driver has to be asked: a TAP's file descriptor is always ready to tell.
	(void)rte_eth_dev_rx_intr_enable(d->id, rxq);
	return rte_eth_rx_queue_count(d->id, rxq) <= 0;
}

static void dev_rx_disarm(void *drv, uint16_t rxq)
{
	const struct odp_ethdev *d = drv;

	if (d->rx_fd[rxq] >= 0)
		(void)rte_eth_dev_rx_intr_disable(d->id, rxq);
}

static bool dev_rx_blind(void *drv, uint16_t rxq)
{
	const struct odp_ethdev *d = drv;

	return d->rx_fd[rxq] < 0;
}

static void dev_caps(void *drv, struct odp_port_caps *out)
{
	const struct odp_ethdev *d = drv;
	struct rte_eth_link link = { 0 };

	out->up = rte_eth_link_get_nowait(d->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
	out->csum = d->csum;
	out->tso4 = d->tso;
	out->tso6 = d->tso;
	out->uso = false;
	out->multi_seg = d->multi_seg;
	out->mtu = d->mtu;
}

static const struct odp_port_ops ops = {
	.rx = dev_rx,
	.tx = dev_tx,
	.rx_arm = dev_rx_arm,
	.rx_disarm = dev_rx_disarm,
	.rx_blind = dev_rx_blind,
	.caps = dev_caps,
};

const struct odp_port_ops *odp_ethdev_ops(void)
{
	return &ops;
}

uint16_t odp_ethdev_n_queues(const struct odp_ethdev *dev)
{
	return dev->n_queues;
}

int odp_ethdev_rx_fd(const struct odp_ethdev *dev, uint16_t rxq)
{
	return rxq < dev->n_queues ? dev->rx_fd[rxq] : -1;
}

/* ---- start and stop ---- */

static void choose_offloads(
	struct odp_ethdev *d, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	uint64_t l4 = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	uint64_t tso = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	uint64_t rx_l4 = RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	uint64_t tx = info->tx_offload_capa;
	bool emulated = info->driver_name && !strcmp(info->driver_name, "net_tap");

	d->multi_seg = (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0;
	d->csum = !emulated && (tx & l4) == l4;
	d->tso = d->csum && d->multi_seg && (tx & tso) == tso;
	conf->txmode.offloads = (d->multi_seg ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0) |
				(d->csum ? l4 : 0) | (d->tso ? tso : 0);
	conf->rxmode.offloads = emulated ? 0 : info->rx_offload_capa & rx_l4;
	if ((uint32_t)d->mtu + ETH_OVERHEAD >
		(uint32_t)rte_pktmbuf_data_room_size(d->pool) - RTE_PKTMBUF_HEADROOM)
		conf->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
}

static int start_queues(struct odp_ethdev *d, const struct odp_ethdev_conf *conf)
{
	uint16_t n_rxd = conf->n_desc ? conf->n_desc : DESC_DEFAULT, n_txd = n_rxd;
	int socket = rte_eth_dev_socket_id(d->id);
	int ret = rte_eth_dev_adjust_nb_rx_tx_desc(d->id, &n_rxd, &n_txd);

	for (uint16_t q = 0; q < d->n_queues && ret == 0; q++) {
		ret = rte_eth_rx_queue_setup(d->id, q, n_rxd, (unsigned)socket, NULL, d->pool);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(d->id, q, n_txd, (unsigned)socket, NULL);
	}
	return ret < 0 ? ret : rte_eth_dev_start(d->id);
}

static int configure(struct odp_ethdev *d, const struct odp_ethdev_conf *conf)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf ec = { .intr_conf.rxq = 1 };
	int ret = rte_eth_dev_info_get(d->id, &info);

	if (ret < 0)
		return ret;
	d->device = info.device;
	d->n_queues = RTE_MIN(RTE_MIN(info.max_rx_queues, info.max_tx_queues),
		conf->n_queues ? conf->n_queues : 1);
	if (d->n_queues == 0)
		return -EINVAL;
	(void)rte_eth_dev_get_mtu(d->id, &d->mtu);
	if (conf->mtu)
		d->mtu = conf->mtu;
	choose_offloads(d, &info, &ec);
	ret = rte_eth_dev_configure(d->id, d->n_queues, d->n_queues, &ec);
	if (ret < 0) {
		ec.intr_conf.rxq = 0;
		ret = rte_eth_dev_configure(d->id, d->n_queues, d->n_queues, &ec);
	}
	if (ret < 0)
		return ret;
	if (conf->mtu) {
		ret = rte_eth_dev_set_mtu(d->id, conf->mtu);
		// Some virtual devices have no MTU of their own; then we alone keep to it.
		if (ret < 0 && ret != -ENOTSUP)
			return -EINVAL;
	}
	ret = start_queues(d, conf);
	if (ret < 0)
		return ret;
	(void)rte_eth_promiscuous_enable(d->id);
	d->rx_fd = dpu_calloc(d->n_queues, sizeof(*d->rx_fd));
	if (!d->rx_fd)
		return -ENOMEM;
	for (uint16_t q = 0; q < d->n_queues; q++) {
		int fd = ec.intr_conf.rxq ? rte_eth_dev_rx_intr_ctl_q_get_fd(d->id, q) : -1;

		d->rx_fd[q] = fd > 0 ? fd : -1;
	}
	return 0;
}

static int find_port(const char *devargs, uint16_t *id)
{
	struct rte_dev_iterator it;
	uint16_t p;

	RTE_ETH_FOREACH_MATCHING_DEV(p, devargs, &it)
	{
		*id = p;
		rte_eth_iterator_cleanup(&it);
		return 0;
	}
	return -ENODEV;
}

int odp_ethdev_open(const struct odp_ethdev_conf *conf, struct odp_ethdev **out)
{
	struct odp_ethdev *d = dpu_calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->pool = conf->pool;
	ret = rte_dev_probe(conf->devargs);
	if (ret == 0)
		ret = find_port(conf->devargs, &d->id);
	if (ret < 0) {
		dpu_err("uplink: no such device", "name=%s devargs=%s err=%d", conf->name,
			conf->devargs, ret);
		free(d);
		return ret == -EINVAL || ret == -EEXIST ? -EINVAL : -ENODEV;
	}
	ret = configure(d, conf);
	if (ret < 0) {
		dpu_err("uplink: cannot start", "name=%s devargs=%s err=%d", conf->name,
			conf->devargs, ret);
		odp_ethdev_close(d);
		return ret == -EINVAL || ret == -ENOMEM ? ret : -EIO;
	}
	*out = d;
	return 0;
}

void odp_ethdev_close(struct odp_ethdev *dev)
{
	if (!dev)
		return;
	(void)rte_eth_dev_stop(dev->id);
	if (dev->device)
		(void)rte_dev_remove(dev->device);
	free(dev->rx_fd);
	free(dev);
}
