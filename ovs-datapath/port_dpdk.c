// SPDX-License-Identifier: Apache-2.0
/*
 * Ethdev ports: any device that DPDK drives, virtual or PCI.
 *
 * Checksum and segmentation requests reach a device only when it declares the offload; net_tap
 * declares what it emulates without IPv6, so it counts as a device without.
 */
#include "odp_port.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#include "dp.h"
#include "dpu_alloc.h"
#include "dpu_log.h"
#include "port_memif.h"
#include "sw_offload.h"

#define TX_TRIES 4u
#define DESC_DEFAULT 1024u
#define ETH_OVERHEAD 26u // header, two tags, CRC
#define DEVARGS_MAX 512u

struct odp_ethdev {
	/* Fixed once odp_ethdev_open() returns. */
	uint16_t id; // DPDK's port
	uint16_t n_queues;
	uint16_t mtu;
	bool csum, tso, multi_seg;
	bool probed; // the device is ours to remove
	struct rte_mempool *pool; // borrowed
	struct rte_devargs args; // owned
	struct odp_memif *wire; // owned; NULL: no memif
	int *rx_fd; // owned; per queue, -1: no interrupt

	/* Control thread. */
	bool was_up;

	/*
	 * Started: the workers may go in. Written by control, which waits for them after clearing
	 * it.
	 */
	_Atomic bool running;
};

static bool is_running(const struct odp_ethdev *d)
{
	return atomic_load_explicit(&d->running, memory_order_acquire); // pairs with start()
}

static uint16_t dev_rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	const struct odp_ethdev *d = drv;

	return likely(is_running(d)) ? rte_eth_rx_burst(d->id, rxq, pkts, n) : 0;
}

static uint16_t send_all(
	const struct odp_ethdev *d, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t sent = 0;

	for (unsigned i = 0; i < TX_TRIES && sent < n; i++)
		sent = (uint16_t)(sent +
				  rte_eth_tx_burst(d->id, txq, pkts + sent, (uint16_t)(n - sent)));
	if (sent < n)
		rte_pktmbuf_free_bulk(pkts + sent, n - sent);
	return sent;
}

/* Complete in software what the driver refused. Returns 1 when all of it went out. */
static uint16_t send_in_software(const struct odp_ethdev *d, uint16_t txq, struct rte_mbuf *m)
{
	struct rte_mbuf *seg[ODP_BURST];
	struct odp_seg s;
	bool all = true;
	int n;

	if (!(m->ol_flags & ODP_F_GSO)) {
		m = odp_linearize(m, d->pool);
		if (!m)
			return 0;
		if (odp_csum_complete(m) == 0)
			return send_all(d, txq, &m, 1);
		rte_pktmbuf_free(m);
		return 0;
	}
	if (odp_seg_init(&s, m, d->pool) < 0) {
		rte_pktmbuf_free(m);
		return 0;
	}
	while ((n = odp_seg_next(&s, seg, ODP_BURST)) > 0) {
		for (int i = 0; i < n; i++)
			all &= odp_csum_complete(seg[i]) == 0;
		all &= send_all(d, txq, seg, (uint16_t)n) == n;
	}
	odp_seg_fini(&s);
	return all && n == 0;
}

/* Packets of which some ask for offloads, in order. */
static uint16_t send_offloads(
	const struct odp_ethdev *d, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t kept = 0, sent = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = odp_to_ethdev(pkts[i], d->pool);

		if (m)
			pkts[kept++] = m;
	}
	for (uint16_t at = 0; at < kept;) {
		uint16_t left = (uint16_t)(kept - at);
		uint16_t ok = rte_eth_tx_prepare(d->id, txq, pkts + at, left);

		sent = (uint16_t)(sent + send_all(d, txq, pkts + at, ok));
		if (ok < left)
			sent = (uint16_t)(sent + send_in_software(d, txq, pkts[at + ok]));
		at = (uint16_t)(at + ok + 1);
	}
	return sent;
}

static uint16_t dev_tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	const struct odp_ethdev *d = drv;
	uint64_t flags = 0;

	if (unlikely(!is_running(d))) {
		rte_pktmbuf_free_bulk(pkts, n);
		return 0;
	}
	// To a device without offloads nothing comes that asks for any.
	for (uint16_t i = 0; i < n && d->csum; i++)
		flags |= pkts[i]->ol_flags;
	return flags & (ODP_F_L4_CSUM | ODP_F_GSO) ? send_offloads(d, txq, pkts, n)
						   : send_all(d, txq, pkts, n);
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

static bool link_is_up(const struct odp_ethdev *d)
{
	struct rte_eth_link link = { 0 };

	return is_running(d) && rte_eth_link_get_nowait(d->id, &link) == 0 &&
	       link.link_status == RTE_ETH_LINK_UP;
}

static void dev_caps(void *drv, struct odp_port_caps *out)
{
	const struct odp_ethdev *d = drv;

	out->up = link_is_up(d);
	out->csum = d->csum;
	out->tso4 = d->tso;
	out->tso6 = d->tso;
	out->uso4 = false;
	out->uso6 = false;
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

bool odp_ethdev_mac(const struct odp_ethdev *dev, uint8_t mac[6])
{
	static const char *const have[] = { "net_af_packet", "net_af_xdp" };
	bool own = strcmp(rte_bus_name(dev->args.bus), "vdev") != 0;
	struct rte_eth_dev_info info;
	struct rte_ether_addr addr;

	if (rte_eth_dev_info_get(dev->id, &info) < 0 || rte_eth_macaddr_get(dev->id, &addr) < 0)
		return false;
	for (unsigned i = 0; i < RTE_DIM(have) && info.driver_name; i++)
		own = own || !strcmp(info.driver_name, have[i]);
	if (own)
		memcpy(mac, addr.addr_bytes, sizeof(addr.addr_bytes));
	return own;
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

static int setup_queues(struct odp_ethdev *d, const struct odp_ethdev_conf *conf)
{
	uint16_t n_rxd = conf->n_desc ? conf->n_desc : DESC_DEFAULT, n_txd = n_rxd;
	int socket = rte_eth_dev_socket_id(d->id);
	int ret = rte_eth_dev_adjust_nb_rx_tx_desc(d->id, &n_rxd, &n_txd);

	for (uint16_t q = 0; q < d->n_queues && ret == 0; q++) {
		ret = rte_eth_rx_queue_setup(d->id, q, n_rxd, (unsigned)socket, NULL, d->pool);
		if (ret == 0)
			ret = rte_eth_tx_queue_setup(d->id, q, n_txd, (unsigned)socket, NULL);
	}
	return ret < 0 ? ret : 0;
}

/*
 * Silence a part of DPDK while it is asked what it answers with an error that is none: the level it
 * had, to be restored by loud_again().
 */
static int quiet(const char *part)
{
	int type = rte_log_register(part); // registered already: its number
	int level = type < 0 ? -1 : rte_log_get_level((uint32_t)type);

	if (level >= 0)
		(void)rte_log_set_level((uint32_t)type, RTE_LOG_CRIT);
	return level;
}

static void loud_again(const char *part, int level)
{
	if (level >= 0)
		(void)rte_log_set_level((uint32_t)rte_log_register(part), (uint32_t)level);
}

/* A memif starts when its peer is there: memif_poll(). */
static int start(struct odp_ethdev *d)
{
	int ret = d->wire ? 0 : rte_eth_dev_start(d->id);

	if (ret == 0 && !d->wire)
		atomic_store_explicit(
			&d->running, true, memory_order_release); // pairs with is_running()
	return ret;
}

/*
 * Fds of the queues' interrupts; drivers without any complain when asked, and there is no other
 * way.
 */
static int find_rx_fds(struct odp_ethdev *d, bool intr)
{
	int level;

	d->rx_fd = dpu_calloc(d->n_queues, sizeof(*d->rx_fd));
	if (!d->rx_fd)
		return -ENOMEM;
	level = quiet("lib.ethdev");
	for (uint16_t q = 0; q < d->n_queues; q++) {
		int fd = intr ? rte_eth_dev_rx_intr_ctl_q_get_fd(d->id, q) : -1;

		d->rx_fd[q] = fd > 0 ? fd : -1;
	}
	loud_again("lib.ethdev", level);
	return 0;
}

static int configure(struct odp_ethdev *d, const struct odp_ethdev_conf *conf)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf ec = { .intr_conf.rxq = 1 };
	int ret = rte_eth_dev_info_get(d->id, &info);

	if (ret < 0)
		return ret;
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
	ret = setup_queues(d, conf);
	if (ret == 0)
		ret = start(d);
	if (ret < 0)
		return ret;
	(void)rte_eth_promiscuous_enable(d->id);
	return find_rx_fds(d, ec.intr_conf.rxq);
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

/* Once it exists the device is d's to remove. -EEXIST: somebody else's. */
static int probe(struct odp_ethdev *d, const char *devargs)
{
	char args[DEVARGS_MAX];
	int ret = rte_devargs_parse(&d->args, devargs);

	if (ret < 0)
		return -ENODEV;
	if (find_port(d->args.name, &d->id) == 0)
		return -EEXIST;
	ret = odp_memif_open(devargs, args, sizeof(args), &d->wire);
	if (ret < 0)
		return ret == -EADDRINUSE ? -EEXIST : ret;
	ret = rte_dev_probe(args);
	if (ret < 0)
		return -ENODEV;
	d->probed = true;
	return find_port(args, &d->id);
}

int odp_ethdev_open(const struct odp_ethdev_conf *conf, struct odp_ethdev **out)
{
	struct odp_ethdev *d = dpu_calloc(1, sizeof(*d));
	const char *text = "uplink: no such device";
	int ret;

	if (!d)
		return -ENOMEM;
	d->pool = conf->pool;
	ret = probe(d, conf->devargs);
	if (ret == -EEXIST)
		text = "uplink: device in use";
	if (ret == 0) {
		ret = configure(d, conf);
		text = "uplink: cannot start";
		if (ret < 0 && ret != -EINVAL && ret != -ENOMEM)
			ret = -EIO;
	}
	if (ret < 0) {
		dpu_err(text, "name=%s devargs=%s err=%d", conf->name, conf->devargs, ret);
		odp_ethdev_close(d);
		return ret;
	}
	*out = d;
	return 0;
}

void odp_ethdev_close(struct odp_ethdev *dev)
{
	if (!dev)
		return;
	if (is_running(dev))
		(void)rte_eth_dev_stop(dev->id);
	if (dev->probed)
		(void)rte_eal_hotplug_remove(rte_bus_name(dev->args.bus), dev->args.name);
	rte_devargs_reset(&dev->args);
	odp_memif_close(dev->wire);
	free(dev->rx_fd);
	free(dev);
}

/* ---- link ---- */

/* The driver loses its peer only when no worker can be inside. */
static void memif_poll(struct odp_ethdev *d, struct odp_port *port)
{
	struct odp *dp = port->dp;

	if (is_running(d)) {
		if (odp_memif_alive(d->wire))
			return;
		atomic_store_explicit(&d->running, false, memory_order_release);
		if (dp->conf.synchronize)
			dp->conf.synchronize(dp->conf.host_arg);
		odp_memif_part(d->wire, d->id);
	} else if (odp_memif_reach(d->wire)) {
		if (odp_memif_join(d->wire, d->id))
			atomic_store_explicit(&d->running, true, memory_order_release);
		else
			odp_memif_part(d->wire, d->id);
	}
}

bool odp_ethdev_poll(struct odp_ethdev *dev, struct odp_port *port)
{
	bool up;

	if (dev->wire)
		memif_poll(dev, port);
	up = link_is_up(dev);
	if (up == dev->was_up)
		return false;
	dev->was_up = up;
	odp_port_caps_changed(port);
	return true;
}
