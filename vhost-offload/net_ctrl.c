// SPDX-License-Identifier: Apache-2.0
/* virtio-net control commands: parse, check, apply, publish. */
#include "net_ctrl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <linux/virtio_net.h>

#include "device.h"
#include "dpu_alloc.h"
#include "dpu_wire.h"

#ifndef VIRTIO_NET_F_GUEST_USO4 // VIRTIO 1.3; not in the headers of Linux 6.1
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#endif

#ifndef VIRTIO_NET_F_VQ_NOTF_COAL // VIRTIO 1.3, too
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif

#define RESULT_MAX 8u // bytes of a command's result

#define GUEST_OFFLOADS                                                             \
	(1ULL << VIRTIO_NET_F_GUEST_CSUM | 1ULL << VIRTIO_NET_F_GUEST_TSO4 |       \
		1ULL << VIRTIO_NET_F_GUEST_TSO6 | 1ULL << VIRTIO_NET_F_GUEST_ECN | \
		1ULL << VIRTIO_NET_F_GUEST_UFO | 1ULL << VIRTIO_NET_F_GUEST_USO4 | \
		1ULL << VIRTIO_NET_F_GUEST_USO6)

/* Reads a chain's out segments in order, whatever their cuts; guest memory is copied once. */
struct reader {
	const struct iovec *iov;
	size_t off; // inside iov[0]
	uint64_t left; // bytes
	uint8_t result[RESULT_MAX]; // what a command answers behind its status
	unsigned result_len;
};

/* True when all of n bytes were there. */
static bool take(struct reader *r, void *out, size_t n)
{
	uint8_t *to = out;

	if (n > r->left)
		return false;
	while (n > 0) {
		size_t part = r->iov[0].iov_len - r->off;

		if (part > n)
			part = n;
		memcpy(to, (const uint8_t *)r->iov[0].iov_base + r->off, part);
		to += part;
		n -= part;
		r->left -= part;
		r->off += part;
		if (r->off == r->iov[0].iov_len) {
			r->iov++;
			r->off = 0;
		}
	}
	return true;
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

/* Show c->want to the workers. 0, or -ENOMEM with the old filter still in force. */
static int publish(struct vho_net_ctrl *c)
{
	struct vho_net_filter *old = atomic_load_explicit(&c->filter, memory_order_relaxed);
	struct vho_net_filter *new = NULL;

	if (old ? memcmp(old, &c->want, sizeof(*old)) == 0 : c->want.promisc)
		return 0;
	if (!c->want.promisc) { // NULL accepts everything
		new = dpu_calloc(1, sizeof(*new));
		if (!new)
			return -ENOMEM;
		memcpy(new, &c->want, sizeof(*new));
	}
	// Pairs with the acquire in vho_net_ctrl_filter()
	atomic_store_explicit(&c->filter, new, memory_order_release);
	if (old && c->host->synchronize)
		c->host->synchronize(c->host->arg);
	free(old);
	return 0;
}

/* Put `new` (taken; NULL: none) in the place of what was configured before. */
static void set_hash(struct vho_net_ctrl *c, struct vho_net_hash *new)
{
	struct vho_net_hash *old = atomic_load_explicit(&c->hash, memory_order_relaxed);

	if (old == new)
		return;
	// Pairs with the acquire in vho_net_ctrl_hash()
	atomic_store_explicit(&c->hash, new, memory_order_release);
	if (old && c->host->synchronize)
		c->host->synchronize(c->host->arg);
	free(old);
}

static void set_initial(struct vho_net_ctrl *c, uint64_t features)
{
	memset(&c->want, 0, sizeof(c->want));
	memcpy(c->want.mac, c->mac_initial, 6);
	c->want.promisc = true; // until the driver asks for less
	c->want.vlan_filter = has(features, VIRTIO_NET_F_CTRL_VLAN);
	atomic_store_explicit(&c->pairs, 0, memory_order_relaxed);
	atomic_store_explicit(&c->guest_offloads, features & GUEST_OFFLOADS, memory_order_relaxed);
	atomic_store_explicit(&c->announce, false, memory_order_relaxed);
	for (unsigned i = 0; i < sizeof(c->coal) / sizeof(c->coal[0]); i++)
		atomic_store_explicit(&c->coal[i], 0, memory_order_relaxed);
}

void vho_net_ctrl_init(struct vho_net_ctrl *c, const struct vho_host *host, const uint8_t mac[6],
	uint16_t max_pairs)
{
	memset(c, 0, sizeof(*c));
	c->host = host;
	c->max_pairs = max_pairs;
	memcpy(c->mac_initial, mac, 6);
	set_initial(c, 0);
}

void vho_net_ctrl_fini(struct vho_net_ctrl *c)
{
	free(atomic_exchange_explicit(&c->filter, NULL, memory_order_relaxed));
	free(atomic_exchange_explicit(&c->hash, NULL, memory_order_relaxed));
}

void vho_net_ctrl_reset(struct vho_net_ctrl *c, uint64_t features)
{
	set_initial(c, features);
	set_hash(c, NULL);
	(void)publish(c); // accepting everything takes no memory
}

void vho_net_ctrl_save(const struct vho_net_ctrl *c, struct vho_net_ctrl_saved *out)
{
	const struct vho_net_hash *h = atomic_load_explicit(&c->hash, memory_order_relaxed);

	out->has_hash = h != NULL;
	if (h)
		out->hash = *h;
	out->filter = c->want;
	out->guest_offloads = atomic_load_explicit(&c->guest_offloads, memory_order_relaxed);
	out->pairs = atomic_load_explicit(&c->pairs, memory_order_relaxed);
	out->announce = atomic_load_explicit(&c->announce, memory_order_relaxed);
	for (unsigned i = 0; i < 2u * VHO_NET_PAIRS_MAX; i++)
		out->coal[i] = vho_net_ctrl_coal(c, i);
}

static void restore_coal(
	struct vho_net_ctrl *c, uint64_t features, const struct vho_net_ctrl_saved *saved)
{
	bool wanted = has(features, VIRTIO_NET_F_NOTF_COAL) ||
		      has(features, VIRTIO_NET_F_VQ_NOTF_COAL);

	for (unsigned i = 0; i < 2u * c->max_pairs; i++)
		atomic_store_explicit(
			&c->coal[i], wanted ? saved->coal[i] : 0, memory_order_relaxed);
}

void vho_net_ctrl_restore(
	struct vho_net_ctrl *c, uint64_t features, const struct vho_net_ctrl_saved *saved)
{
	struct vho_net_hash *h = NULL;
	bool rss = saved->has_hash && saved->hash.rss;

	if (saved->has_hash && has(features, rss ? VIRTIO_NET_F_RSS : VIRTIO_NET_F_HASH_REPORT))
		h = dpu_calloc(1, sizeof(*h));
	if (h)
		*h = saved->hash;
	set_hash(c, h);
	c->want = saved->filter;
	c->want.vlan_filter = has(features, VIRTIO_NET_F_CTRL_VLAN);
	atomic_store_explicit(&c->guest_offloads, saved->guest_offloads & features & GUEST_OFFLOADS,
		memory_order_relaxed);
	atomic_store_explicit(&c->pairs,
		has(features, rss ? VIRTIO_NET_F_RSS : VIRTIO_NET_F_MQ) ? saved->pairs : 0,
		memory_order_relaxed);
	atomic_store_explicit(&c->announce,
		saved->announce && has(features, VIRTIO_NET_F_GUEST_ANNOUNCE),
		memory_order_relaxed);
	restore_coal(c, features, saved);
	(void)publish(c);
}

/* VIRTIO 1.3, 5.1.6.5.1: one byte, on or off. */
static bool rx_mode(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	bool *const flags[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &c->want.promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &c->want.allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &c->want.alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &c->want.nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &c->want.nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &c->want.nobcast,
	};
	unsigned bit = cmd <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX
							  : VIRTIO_NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (cmd >= sizeof(flags) / sizeof(flags[0]) || !has(features, bit))
		return false;
	if (r->left != 1 || !take(r, &on, 1))
		return false;
	*flags[cmd] = on != 0;
	return true;
}

/* One table of MAC_TABLE_SET: le32 count, then count addresses. */
static bool mac_table(struct reader *r, uint8_t (*table)[6], uint16_t *n, bool *full)
{
	dpu_le32 wire;
	uint8_t skipped[6];
	uint32_t entries;

	if (!take(r, &wire, sizeof(wire)))
		return false;
	entries = dpu_le32_get(wire);
	if (entries > r->left / 6)
		return false;
	*full = entries > VHO_NET_FILTER_MACS;
	*n = *full ? 0 : (uint16_t)entries;
	for (uint32_t i = 0; i < entries; i++)
		if (!take(r, *full ? skipped : table[i], 6))
			return false;
	return true;
}

static bool mac(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	struct vho_net_filter *f = &c->want;
	uint8_t addr[6];

	switch (cmd) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		memset(f->uni, 0, sizeof(f->uni));
		memset(f->multi, 0, sizeof(f->multi));
		return has(features, VIRTIO_NET_F_CTRL_RX) &&
		       mac_table(r, f->uni, &f->n_uni, &f->uni_full) &&
		       mac_table(r, f->multi, &f->n_multi, &f->multi_full) && r->left == 0;
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (!has(features, VIRTIO_NET_F_CTRL_MAC_ADDR) || r->left != 6 ||
			!take(r, addr, 6) || (addr[0] & 1))
			return false;
		memcpy(f->mac, addr, 6);
		return true;
	default:
		return false;
	}
}

static bool vlan(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	dpu_le16 wire;
	uint16_t vid;
	uint64_t bit;

	if (!has(features, VIRTIO_NET_F_CTRL_VLAN) || r->left != 2 || !take(r, &wire, 2))
		return false;
	vid = dpu_le16_get(wire);
	if (vid >= VHO_NET_FILTER_VLANS)
		return false;
	bit = 1ULL << (vid % 64);
	switch (cmd) {
	case VIRTIO_NET_CTRL_VLAN_ADD:
		c->want.vlans[vid / 64] |= bit;
		return true;
	case VIRTIO_NET_CTRL_VLAN_DEL:
		c->want.vlans[vid / 64] &= ~bit;
		return true;
	default:
		return false;
	}
}

static bool announce(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	if (!has(features, VIRTIO_NET_F_GUEST_ANNOUNCE) || cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK ||
		r->left != 0)
		return false;
	atomic_store_explicit(&c->announce, false, memory_order_relaxed);
	return true;
}

static bool take16(struct reader *r, uint16_t *out)
{
	dpu_le16 wire;

	if (!take(r, &wire, sizeof(wire)))
		return false;
	*out = dpu_le16_get(wire);
	return true;
}

/* 5.1.6.5.5: 1 to max_virtqueue_pairs, steered by the card. */
static bool pairs_set(struct vho_net_ctrl *c, struct reader *r)
{
	struct vho_net_hash *old = atomic_load_explicit(&c->hash, memory_order_relaxed),
			    *new = NULL;
	uint16_t pairs;

	if (r->left != 2 || !take16(r, &pairs) || pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN ||
		pairs > c->max_pairs)
		return false;
	if (old && old->rss) { // the table is out of force, what headers report stays
		new = dpu_calloc(1, sizeof(*new));
		if (!new)
			return false;
		*new = *old;
		new->rss = false;
		set_hash(c, new);
	}
	atomic_store_explicit(&c->pairs, pairs, memory_order_relaxed);
	return true;
}

/* The end of both commands: a length, then a key of that length, and nothing more. */
static bool take_key(struct vho_net_hash *h, struct reader *r)
{
	uint8_t key[VHO_NET_HASH_KEY], len;

	if (!take(r, &len, 1) || len > sizeof(key) || r->left != len || !take(r, key, len))
		return false;
	if (len == 0 && h->types)
		return false;
	vho_net_hash_set_key(h, key, len);
	return true;
}

static bool take_types(struct vho_net_hash *h, struct reader *r)
{
	dpu_le32 wire;

	if (!take(r, &wire, sizeof(wire)))
		return false;
	h->types = dpu_le32_get(wire);
	return (h->types & ~VHO_NET_HASH_TYPES) == 0;
}

/* 5.1.6.5.7: a table of receive queues. *pairs: those up to the highest that is in it. */
static bool take_table(
	const struct vho_net_ctrl *c, struct vho_net_hash *h, struct reader *r, uint16_t *pairs)
{
	uint16_t max_tx, top;

	if (!take16(r, &h->mask) || !take16(r, &h->unclassified))
		return false;
	if (h->mask >= VHO_NET_RSS_TABLE || (h->mask & (h->mask + 1)))
		return false;
	top = h->unclassified;
	for (unsigned i = 0; i <= h->mask; i++) {
		if (!take16(r, &h->table[i]))
			return false;
		top = h->table[i] > top ? h->table[i] : top;
	}
	if (top >= c->max_pairs || !take16(r, &max_tx) || max_tx == 0 || max_tx > c->max_pairs)
		return false;
	*pairs = (uint16_t)(top + 1);
	return true;
}

static bool rss(struct vho_net_ctrl *c, struct vho_net_hash *h, struct reader *r)
{
	uint16_t pairs;

	h->rss = true;
	if (!take_types(h, r) || !take_table(c, h, r, &pairs) || !take_key(h, r))
		return false;
	atomic_store_explicit(&c->pairs, pairs, memory_order_relaxed);
	return true;
}

/* 5.1.6.4.3: only what headers report. Linux puts values into the reserved words. */
static bool hash_report(struct vho_net_hash *h, struct reader *r)
{
	uint16_t reserved[4];

	return take_types(h, r) && take(r, reserved, sizeof(reserved)) && take_key(h, r);
}

/* 5.1.6.5.5: the last command decides which of the three modes is in force. */
static bool mq(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	static const uint8_t feature[] = {
		[VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET] = VIRTIO_NET_F_MQ,
		[VIRTIO_NET_CTRL_MQ_RSS_CONFIG] = VIRTIO_NET_F_RSS,
		[VIRTIO_NET_CTRL_MQ_HASH_CONFIG] = VIRTIO_NET_F_HASH_REPORT,
	};
	struct vho_net_hash *h;

	if (cmd >= sizeof(feature) || !has(features, feature[cmd]))
		return false;
	if (cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		return pairs_set(c, r);
	h = dpu_calloc(1, sizeof(*h));
	if (!h)
		return false;
	if (!(cmd == VIRTIO_NET_CTRL_MQ_RSS_CONFIG ? rss(c, h, r) : hash_report(h, r))) {
		free(h);
		return false;
	}
	set_hash(c, h);
	return true;
}

static bool offloads(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	dpu_le64 wire;
	uint64_t bits;

	if (!has(features, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
		cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || r->left != 8 || !take(r, &wire, 8))
		return false;
	bits = dpu_le64_get(wire);
	if (bits & ~(features & GUEST_OFFLOADS))
		return false;
	atomic_store_explicit(&c->guest_offloads, bits, memory_order_relaxed);
	return true;
}

static bool take_coal(struct reader *r, uint64_t *out)
{
	dpu_le32 packets, usecs;

	if (r->left != sizeof(packets) + sizeof(usecs) || !take(r, &packets, sizeof(packets)) ||
		!take(r, &usecs, sizeof(usecs)))
		return false;
	*out = VHO_COAL(dpu_le32_get(packets), dpu_le32_get(usecs));
	return true;
}

/* Every receiveq (way 0) or transmitq (way 1). */
static bool coal_all(struct vho_net_ctrl *c, struct reader *r, unsigned way)
{
	uint64_t conf;

	if (!take_coal(r, &conf))
		return false;
	for (unsigned idx = way; idx < 2u * c->max_pairs; idx += 2)
		atomic_store_explicit(&c->coal[idx], conf, memory_order_relaxed);
	return true;
}

static bool coal_get(const struct vho_net_ctrl *c, uint16_t idx, struct reader *r)
{
	uint64_t conf = vho_net_ctrl_coal(c, idx);
	dpu_le32 packets = dpu_le32_put(VHO_COAL_PACKETS(conf));
	dpu_le32 usecs = dpu_le32_put(VHO_COAL_USECS(conf));

	if (r->left != 0)
		return false;
	memcpy(r->result, &packets, sizeof(packets));
	memcpy(r->result + sizeof(packets), &usecs, sizeof(usecs));
	r->result_len = sizeof(packets) + sizeof(usecs);
	return true;
}

/* 5.1.6.5.9: all queues of a kind, or one that is a receiveq or transmitq and enabled. */
static bool coalesce(struct vho_net_ctrl *c, uint64_t features, uint8_t cmd, struct reader *r)
{
	uint16_t idx, reserved;
	uint64_t conf;

	if (cmd == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET || cmd == VIRTIO_NET_CTRL_NOTF_COAL_RX_SET)
		return has(features, VIRTIO_NET_F_NOTF_COAL) &&
		       coal_all(c, r, cmd == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET);
	if (!has(features, VIRTIO_NET_F_VQ_NOTF_COAL) || !take16(r, &idx) ||
		!take16(r, &reserved) || idx >= 2u * c->max_pairs)
		return false;
	if (c->queues && !(c->queues[idx].enabled && c->queues[idx].has_addr))
		return false;
	if (cmd == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET)
		return coal_get(c, idx, r);
	if (cmd != VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET || !take_coal(r, &conf))
		return false;
	atomic_store_explicit(&c->coal[idx], conf, memory_order_relaxed);
	return true;
}

/* A refused command leaves everything as it was. */
static bool execute(struct vho_net_ctrl *c, uint64_t features, struct reader *r)
{
	typedef bool command_fn(struct vho_net_ctrl *, uint64_t, uint8_t, struct reader *);
	static command_fn *const classes[] = {
		[VIRTIO_NET_CTRL_RX] = rx_mode,
		[VIRTIO_NET_CTRL_MAC] = mac,
		[VIRTIO_NET_CTRL_VLAN] = vlan,
		[VIRTIO_NET_CTRL_ANNOUNCE] = announce,
		[VIRTIO_NET_CTRL_MQ] = mq,
		[VIRTIO_NET_CTRL_GUEST_OFFLOADS] = offloads,
		[VIRTIO_NET_CTRL_NOTF_COAL] = coalesce,
	};
	struct vho_net_filter before = c->want;
	struct virtio_net_ctrl_hdr hdr;

	static_assert(sizeof(hdr) == 2, "class and command");
	if (!take(r, &hdr, sizeof(hdr)) || hdr.class >= sizeof(classes) / sizeof(classes[0]))
		return false;
	if (classes[hdr.class](c, features, hdr.cmd, r) && publish(c) == 0)
		return true;
	c->want = before;
	return false;
}

uint32_t vho_net_ctrl_handle(
	struct vho_net_ctrl *c, uint64_t features, const struct vho_chain *chain)
{
	struct reader r = { .iov = chain->iov, .left = chain->out_len };
	bool ok = execute(c, features, &r);
	uint8_t answer[1 + RESULT_MAX];
	uint32_t len = 1, at = 0;

	if (ok && r.result_len > 0) {
		ok = chain->in_len > r.result_len;
		len = ok ? 1 + r.result_len : 1;
	}
	answer[0] = ok ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	memcpy(answer + 1, r.result, RESULT_MAX);
	dpu_counter_add(ok ? &c->commands : &c->refused, 1);
	for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && at < len; i++) {
		size_t part = len - at;

		if (part > chain->iov[i].iov_len)
			part = chain->iov[i].iov_len;
		if (part)
			memcpy(chain->iov[i].iov_base, answer + at, part);
		at += (uint32_t)part;
	}
	return at;
}
