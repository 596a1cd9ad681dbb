// SPDX-License-Identifier: Apache-2.0
/* virtio-net: features, configuration space, control queue, link. The bursts are in net_burst.c. */
#include "vho_net.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/ethtool.h>

#include <rte_cycles.h>

#include "dpu_alloc.h"
#include "net_fast.h"
#include "net_state.h"

#define BIT(b) (1ULL << (b))
#define CTRL_BUDGET 64 // commands in one go
#define REST_MAX_US 2
#define CTRL_SEGMENTS 64
#define SPEED_MAX INT32_MAX // VIRTIO 1.3, 5.1.4: 0 to 0x7fffffff, or UINT32_MAX for unknown
#define GUEST_OFFLOADS                                                       \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |       \
		BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | \
		BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6))
#define FEATURES                                                                                   \
	(GUEST_OFFLOADS | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |                   \
		BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |                         \
		BIT(VIRTIO_NET_F_HOST_USO) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MAC) | \
		BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_CTRL_VQ) |     \
		BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |                      \
		BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |                    \
		BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |         \
		BIT(VIRTIO_NET_F_HASH_REPORT) | BIT(VIRTIO_NET_F_NOTF_COAL) |                      \
		BIT(VIRTIO_NET_F_VQ_NOTF_COAL))

const char *vho_net_drop_name(enum vho_net_drop d)
{
	static const char *const names[] = {
		[VHO_NET_DROP_RX_RUNT] = "rx_runt",
		[VHO_NET_DROP_RX_OVERSIZE] = "rx_oversize",
		[VHO_NET_DROP_RX_BAD_OFFLOAD] = "rx_bad_offload",
		[VHO_NET_DROP_RX_NO_MBUF] = "rx_no_mbuf",
		[VHO_NET_DROP_RX_DISABLED] = "rx_disabled",
		[VHO_NET_DROP_TX_NO_BUFFER] = "tx_no_buffer",
		[VHO_NET_DROP_TX_TOO_BIG] = "tx_too_big",
		[VHO_NET_DROP_TX_NOT_RUNNING] = "tx_not_running",
		[VHO_NET_DROP_TX_FILTERED] = "tx_filtered",
		[VHO_NET_DROP_TX_BAD_RING] = "tx_bad_ring",
	};

	static_assert(sizeof(names) / sizeof(names[0]) == VHO_NET_DROP_COUNT, "a name for each");
	return (unsigned)d < VHO_NET_DROP_COUNT ? names[d] : NULL;
}

const char *vho_net_drop_text(enum vho_net_drop d)
{
	static const char *const texts[] = {
#define X(name, text) text,
		VHO_NET_DROPS(X)
#undef X
	};

	return (unsigned)d < VHO_NET_DROP_COUNT ? texts[d] : NULL;
}

static struct vho_net *net_of(const struct vho_dev *dev)
{
	return dev->owner;
}

/* 5.1.2: behind all pairs, or behind the first when the driver knows of no more. */
static unsigned ctrl_idx(const struct vho_net *net)
{
	const uint64_t several = BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS);

	return net->dev.features & several ? 2u * net->max_pairs : 2;
}

static bool queue_is_control(struct vho_dev *dev, unsigned idx)
{
	return vho_net_has(dev->features, VIRTIO_NET_F_CTRL_VQ) && idx == ctrl_idx(net_of(dev));
}

static void config_read(struct vho_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct vho_net *net = net_of(dev);
	struct virtio_net_config c = { 0 };
	uint16_t status = 0;

	if (atomic_load_explicit(&net->link_up, memory_order_relaxed))
		status |= VIRTIO_NET_S_LINK_UP;
	if (atomic_load_explicit(&net->ctrl.announce, memory_order_relaxed))
		status |= VIRTIO_NET_S_ANNOUNCE;
	memcpy(c.mac, vho_net_ctrl_mac(&net->ctrl), sizeof(c.mac));
	c.status = htole16(status);
	c.max_virtqueue_pairs = htole16(net->max_pairs);
	c.mtu = htole16(atomic_load_explicit(&net->mtu, memory_order_relaxed));
	c.speed = htole32(SPEED_UNKNOWN);
	c.duplex = DUPLEX_UNKNOWN;
	if (net->speed_mbps && status & VIRTIO_NET_S_LINK_UP) {
		c.speed = htole32(net->speed_mbps);
		c.duplex = net->half_duplex ? DUPLEX_HALF : DUPLEX_FULL;
	}
	c.rss_max_key_size = VHO_NET_HASH_KEY;
	c.rss_max_indirection_table_length = htole16(VHO_NET_RSS_TABLE);
	c.supported_hash_types = htole32(VHO_NET_HASH_TYPES);
	memset(buf, 0, len);
	if (off < sizeof(c))
		memcpy(buf, (uint8_t *)&c + off, len < sizeof(c) - off ? len : sizeof(c) - off);
}

static void limits_changed(struct vho_net *net)
{
	uint32_t max = VHO_NET_FRAME_MAX;

	if (vho_net_has(net->dev.features, VIRTIO_NET_F_MTU))
		max = atomic_load_explicit(&net->mtu, memory_order_relaxed) +
		      (VHO_NET_FRAME_MAX - 65535);
	atomic_store_explicit(&net->frame_max, max, memory_order_relaxed);
}

static void coalescing_changed(struct vho_net *net)
{
	bool any = false;

	for (unsigned idx = 0; idx < 2u * net->max_pairs; idx++)
		any |= vho_net_coalesces(net, idx);
	atomic_store_explicit(&net->coalescing, any, memory_order_relaxed);
}

/*
 * What the filter may act on: a front-end that keeps the control queue to itself (QEMU) acks its
 * features all the same, and then no command ever tells us which VLANs the driver wants.
 */
static void reset_ctrl(struct vho_net *net, bool seen)
{
	uint64_t f = net->dev.features;

	net->ctrl_seen = seen;
	vho_net_ctrl_reset(&net->ctrl, seen ? f : f & ~BIT(VIRTIO_NET_F_CTRL_VLAN));
	coalescing_changed(net);
}

static void features_set(struct vho_dev *dev)
{
	reset_ctrl(net_of(dev), false);
	limits_changed(net_of(dev));
}

/* VIRTIO 1.3, 5.1.6.5.5: one pair until the driver asks for more, where it can ask us. */
static uint16_t pairs_wanted(const struct vho_net *net)
{
	uint16_t said = atomic_load_explicit(&net->ctrl.pairs, memory_order_relaxed);

	if (!net->ctrl_seen)
		return net->max_pairs;
	return said ? said : 1;
}

static bool queue_wanted(struct vho_dev *dev, unsigned idx)
{
	return idx % 2 == 1 || queue_is_control(dev, idx) || idx / 2 < pairs_wanted(net_of(dev));
}

/* Pairs in use: as the driver said on the control queue, else those with a receiveq set up. */
static void pairs_changed(struct vho_net *net)
{
	uint16_t n = 0, wanted = pairs_wanted(net);
	const struct vho_net_hash *hash;

	while (n < wanted && net->rx_up[n])
		n++;
	atomic_store_explicit(&net->active_pairs, n, memory_order_relaxed);
	hash = vho_net_ctrl_hash(&net->ctrl);
	atomic_store_explicit(&net->learning, n > 1 && !(hash && hash->rss), memory_order_relaxed);
}

/* A receiveq that is not in use is given no packet: it stops, and goes on where it was. */
static void park_pairs(struct vho_net *net)
{
	for (unsigned idx = 0; idx < 2u * net->max_pairs; idx += 2) {
		if (queue_is_control(&net->dev, idx))
			break; // a driver without MQ: it has no pairs behind the first
		if (!queue_wanted(&net->dev, idx))
			vho_dev_queue_stop(&net->dev, idx);
		else
			(void)vho_dev_queue_try_start(&net->dev, idx); // logged there
	}
	pairs_changed(net);
}

static int queue_setup(struct vho_dev *dev, unsigned idx)
{
	struct vho_net *net = net_of(dev);

	if (queue_is_control(dev, idx)) {
		const struct vho_queue *q = &dev->queues[idx].q;
		bool fresh = vho_dev_base_fresh(vho_queue_base(q), q->packed);
		bool first = !net->ctrl_seen; // not when it only comes back: a new memory table

		if (first)
			reset_ctrl(net, true);
		if (vho_net_state_apply(net, fresh) || first)
			park_pairs(net);
		coalescing_changed(net);
	} else if (idx % 2 == 0 && idx / 2 < net->max_pairs) {
		// New receive buffers are looked for when a packet is there: no kick, no exit
		vho_queue_disarm(&dev->queues[idx].q);
		net->rx_up[idx / 2] = true;
	}
	pairs_changed(net);
	return 0;
}

static void queue_teardown(struct vho_dev *dev, unsigned idx)
{
	struct vho_net *net = net_of(dev);

	if (!queue_is_control(dev, idx) && idx % 2 == 0 && idx / 2 < net->max_pairs)
		net->rx_up[idx / 2] = false;
	pairs_changed(net);
}

static void control_poll(struct vho_dev *dev)
{
	vho_net_ctrl_poll(net_of(dev));
}

void vho_net_ctrl_poll(struct vho_net *net)
{
	struct vho_dev_queue *dq = &net->dev.queues[ctrl_idx(net)];
	struct iovec iov[CTRL_SEGMENTS];
	unsigned left = CTRL_BUDGET, done = 0;

	if (!queue_is_control(&net->dev, ctrl_idx(net)))
		return;
	for (; left; left--) { // counts empty looks too: the driver may show and hide a command
		struct vho_chain c = { .iov = iov, .max = CTRL_SEGMENTS };
		uint16_t wanted = pairs_wanted(net);
		uint32_t answer;

		if (vho_queue_pop(&dq->q, &c) <= 0) {
			if (vho_queue_arm(&dq->q))
				break;
			continue;
		}
		answer = vho_net_ctrl_handle(&net->ctrl, net->dev.features, &c);
		if (pairs_wanted(net) != wanted)
			park_pairs(net); // before the driver reads that it is so
		else
			pairs_changed(net);
		coalescing_changed(net);
		vho_queue_push(&dq->q, &c.elem, answer);
		vho_queue_publish(&dq->q);
		done++;
	}
	vho_queue_notify(&dq->q);
	if (left == 0)
		vho_notify_fd(dq->kick_fd); // the rest later: others wait for this thread too
	if (!done)
		return;
	vho_dev_changed(&net->dev); // offloads in force are part of what the port can take
}

void vho_net_mtu_set(struct vho_net *net, uint16_t mtu)
{
	atomic_store_explicit(&net->mtu, mtu, memory_order_relaxed);
	limits_changed(net);
}

static int set_mtu(struct vho_dev *dev, uint16_t mtu)
{
	struct vho_net *net = net_of(dev);

	if (mtu < VHO_NET_MTU_MIN)
		return -EINVAL;
	vho_net_mtu_set(net, mtu);
	vho_dev_changed(dev);
	return 0;
}

static int send_rarp(struct vho_dev *dev, const uint8_t mac[6])
{
	struct vho_net *net = net_of(dev);

	if (atomic_load_explicit(&net->rarp_due, memory_order_acquire))
		return 0; // one is on its way
	memcpy(net->rarp_mac, mac, sizeof(net->rarp_mac));
	atomic_store_explicit(&net->rarp_due, true, memory_order_release);
	vho_notify_fd(dev->queues[1].kick_fd); // its worker may sleep, and a quiet guest not kick
	return 0;
}

static void reset(struct vho_dev *dev)
{
	// Not under the next driver's name
	atomic_store_explicit(&net_of(dev)->rarp_due, false, memory_order_relaxed);
	vho_net_state_reset(net_of(dev));
	features_set(dev);
}

static const struct vho_dev_type net_type = {
	.kind = VHO_DEV_NET,
	.config_read = config_read,
	.features_set = features_set,
	.queue_setup = queue_setup,
	.queue_teardown = queue_teardown,
	.queue_is_control = queue_is_control,
	.queue_wanted = queue_wanted,
	.queue_let_go = vho_net_let_go,
	.control_poll = control_poll,
	.set_mtu = set_mtu,
	.send_rarp = send_rarp,
	.reset = reset,
	.state_save = vho_net_state_save,
	.state_load = vho_net_state_load,
	.state_parts = vho_net_state_parts,
	.state_keep = vho_net_state_keep,
};

/*
 * Without what they need features are not offered (VIRTIO 1.3, 2.2 and 5.1.3.1). The needed ones
 * stand before their users where they need others themselves.
 */
static uint64_t offerable(uint64_t features)
{
	static const struct {
		uint8_t bit;
		uint64_t any_of;
	} needs[] = {
		{ VIRTIO_NET_F_GUEST_TSO4, BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ VIRTIO_NET_F_GUEST_TSO6, BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ VIRTIO_NET_F_GUEST_ECN,
			BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) },
		{ VIRTIO_NET_F_GUEST_USO4, BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ VIRTIO_NET_F_GUEST_USO6, BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ VIRTIO_NET_F_HOST_TSO4, BIT(VIRTIO_NET_F_CSUM) },
		{ VIRTIO_NET_F_HOST_TSO6, BIT(VIRTIO_NET_F_CSUM) },
		{ VIRTIO_NET_F_HOST_ECN,
			BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) },
		{ VIRTIO_NET_F_HOST_USO, BIT(VIRTIO_NET_F_CSUM) },
		{ VIRTIO_NET_F_CTRL_RX, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_CTRL_RX_EXTRA, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_CTRL_VLAN, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_GUEST_ANNOUNCE, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_MQ, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_CTRL_MAC_ADDR, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_HASH_REPORT, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_RSS, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_NOTF_COAL, BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ VIRTIO_NET_F_VQ_NOTF_COAL, BIT(VIRTIO_NET_F_CTRL_VQ) },
	};

	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (!(features & needs[i].any_of))
			features &= ~BIT(needs[i].bit);
	return features;
}

int vho_net_create(
	const struct vho_net_conf *conf, const struct vho_host *host, struct vho_net **out)
{
	uint64_t features = FEATURES;
	struct vho_net *net;
	int ret;

	if (conf->max_pairs == 0 || conf->max_pairs > VHO_NET_PAIRS_MAX ||
		conf->mtu < VHO_NET_MTU_MIN || conf->speed_mbps > SPEED_MAX || !conf->pool ||
		rte_pktmbuf_data_room_size(conf->pool) < RTE_PKTMBUF_HEADROOM + 256)
		return -EINVAL;
	if (conf->max_pairs > 1)
		features |= BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS);
	if (conf->speed_mbps)
		features |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	if (conf->standby)
		features |= BIT(VIRTIO_NET_F_STANDBY);
	features = offerable(features & ~conf->features_off);
	net = dpu_aligned_calloc(64, 1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->pairs = dpu_aligned_calloc(64, conf->max_pairs, sizeof(*net->pairs));
	if (!net->pairs) {
		ret = -ENOMEM;
		goto err_net;
	}
	if (conf->max_pairs > 1 && vho_net_flows_init(&net->flows)) {
		ret = -ENOMEM;
		goto err_pairs;
	}
	for (unsigned i = 0; i < conf->max_pairs; i++)
		vho_lent_init(&net->pairs[i].lent);
	net->lends = conf->lends;
	net->fast = vho_net_fast_best();
	net->us_tsc = rte_get_tsc_hz() / 1000000;
	net->rest_tsc = (uint32_t)(net->us_tsc * REST_MAX_US);
	net->pool = conf->pool;
	net->mbuf_room = rte_pktmbuf_data_room_size(conf->pool) - RTE_PKTMBUF_HEADROOM;
	net->max_pairs = conf->max_pairs;
	net->speed_mbps = conf->speed_mbps;
	net->half_duplex = conf->half_duplex;
	atomic_store_explicit(&net->mtu, conf->mtu, memory_order_relaxed);
	atomic_store_explicit(&net->link_up, true, memory_order_relaxed);
	ret = vho_dev_init(&net->dev, &net_type, net, conf->name, 2u * conf->max_pairs + 1,
		features, conf->features_off, host);
	if (ret)
		goto err_flows;
	vho_net_ctrl_init(&net->ctrl, host, conf->mac, conf->max_pairs);
	net->ctrl.queues = net->dev.queues;
	limits_changed(net);
	*out = net;
	return 0;

err_flows:
	vho_net_flows_fini(&net->flows);
err_pairs:
	free(net->pairs);
err_net:
	free(net);
	return ret;
}

void vho_net_destroy(struct vho_net *net)
{
	if (!net)
		return;
	vho_dev_fini(&net->dev);
	vho_net_ctrl_fini(&net->ctrl);
	vho_net_flows_fini(&net->flows);
	free(net->pairs);
	free(net);
}

struct vho_dev *vho_net_dev(struct vho_net *net)
{
	return &net->dev;
}

void vho_net_caps(const struct vho_net *net, struct vho_net_caps *out)
{
	uint64_t o = atomic_load_explicit(&net->ctrl.guest_offloads, memory_order_relaxed);
	bool csum = vho_net_has(o, VIRTIO_NET_F_GUEST_CSUM);

	out->active_pairs = atomic_load_explicit(&net->active_pairs, memory_order_relaxed);
	out->running = out->active_pairs > 0 &&
		       atomic_load_explicit(&net->link_up, memory_order_relaxed);
	out->csum = csum;
	out->tso4 = csum && vho_net_has(o, VIRTIO_NET_F_GUEST_TSO4);
	out->tso6 = csum && vho_net_has(o, VIRTIO_NET_F_GUEST_TSO6);
	out->uso4 = csum && vho_net_has(o, VIRTIO_NET_F_GUEST_USO4);
	out->uso6 = csum && vho_net_has(o, VIRTIO_NET_F_GUEST_USO6);
	out->mtu = atomic_load_explicit(&net->mtu, memory_order_relaxed);
}

static uint16_t rss_pair(const struct vho_net_hash *hash, const struct rte_mbuf *m)
{
	uint16_t report;
	uint32_t h = vho_net_hash_frame(
		hash, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &report);

	return report == VIRTIO_NET_HASH_REPORT_NONE ? hash->unclassified
						     : hash->table[h & hash->mask];
}

bool vho_net_steer(
	const struct vho_net *net, struct rte_mbuf *const *pkts, uint16_t n, uint16_t *pair)
{
	const struct vho_net_hash *hash = vho_net_ctrl_hash(&net->ctrl);
	uint16_t active = atomic_load_explicit(&net->active_pairs, memory_order_relaxed);

	if (hash && hash->rss) {
		for (uint16_t i = 0; i < n; i++)
			pair[i] = rss_pair(hash, pkts[i]) | VHO_NET_PAIR_ONLY;
		return true;
	}
	if (active < 2)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		uint32_t h = vho_net_flow_hash(
			rte_pktmbuf_mtod(pkts[i], const uint8_t *), pkts[i]->data_len);

		pair[i] = h ? vho_net_flows_pair(&net->flows, h, active) : VHO_NET_PAIR_ANY;
	}
	return true;
}

void vho_net_learn(struct vho_net *net, uint16_t pair, struct rte_mbuf *const *pkts, uint16_t n)
{
	uint64_t now;

	if (!atomic_load_explicit(&net->learning, memory_order_relaxed) || n == 0)
		return;
	now = rte_rdtsc();
	for (uint16_t i = 0; i < n; i++) {
		uint32_t h = vho_net_flow_hash(
			rte_pktmbuf_mtod(pkts[i], const uint8_t *), pkts[i]->data_len);

		if (h)
			vho_net_flows_learn(&net->flows, h, pair, now);
	}
}

const struct vho_net_stats *vho_net_stats(const struct vho_net *net, uint16_t pair)
{
	return pair < net->max_pairs ? &net->pairs[pair].stats : NULL;
}

bool vho_dev_ctrl_stats(const struct vho_dev *dev, struct vho_ctrl_stats *out)
{
	const struct vho_net *net = dev->owner;

	if (dev->type->kind != VHO_DEV_NET)
		return false;
	out->commands = dpu_counter_read(&net->ctrl.commands);
	out->refused = dpu_counter_read(&net->ctrl.refused);
	return true;
}

int vho_net_link_set(struct vho_net *net, bool up)
{
	bool was = atomic_exchange_explicit(&net->link_up, up, memory_order_relaxed);

	// A link that comes back may have moved: ask the driver to tell the network where it is.
	if (up && !was && vho_net_has(net->dev.features, VIRTIO_NET_F_GUEST_ANNOUNCE))
		atomic_store_explicit(&net->ctrl.announce, true, memory_order_relaxed);
	if (up != was)
		vho_dev_changed(&net->dev);
	return 0;
}
