// SPDX-License-Identifier: Apache-2.0
/* virtio-blk: creation, features, configuration space, and a queue's turn. */
#include "vho_blk.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#include "blk_burst.h"
#include "blk_req.h"
#include "dpu_alloc.h"
#include "dpu_log.h"
#include "queue.h"
#include "state.h"

#define BIT(n) (1ULL << (n))
#define QUEUES_MAX 256
#define SEG_MAX_MAX 1022
#define IOMMU_IOV 1024 // pieces of a request whose pages the guest's IOMMU scatters
/* The headers of some systems do not know all of them. */
#ifndef VIRTIO_BLK_F_SECURE_ERASE
#define VIRTIO_BLK_F_SECURE_ERASE 16
#endif
#ifndef VIRTIO_BLK_F_LIFETIME
#define VIRTIO_BLK_F_LIFETIME 15
#endif
/* Geometry for guests that still ask. */
#define HEADS 255U
#define SECTORS_PER_TRACK 63U
#define WRITEBACK_OFF ((uint32_t)offsetof(struct blk_config, writeback))

static const char *const error_names[] = {
	[VHO_BLK_ERR_MALFORMED] = "malformed",
	[VHO_BLK_ERR_RANGE] = "range",
	[VHO_BLK_ERR_LIMIT] = "limit",
	[VHO_BLK_ERR_READ_ONLY] = "read_only",
	[VHO_BLK_ERR_UNSUPPORTED] = "unsupported",
	[VHO_BLK_ERR_STORE] = "store",
};

static const char *const error_texts[] = {
#define X(name, text) [VHO_BLK_ERR_##name] = (text),
	VHO_BLK_ERRORS(X)
#undef X
};

static_assert(sizeof(error_names) / sizeof(error_names[0]) == VHO_BLK_ERR_COUNT,
	"every request error has a name");

const char *vho_blk_error_name(enum vho_blk_error e)
{
	return (unsigned)e < VHO_BLK_ERR_COUNT ? error_names[e] : NULL;
}

const char *vho_blk_error_text(enum vho_blk_error e)
{
	return (unsigned)e < VHO_BLK_ERR_COUNT ? error_texts[e] : NULL;
}

/* ---- cache mode ---- */

/*
 * A guest that chose write-through relies on every answered write, and no front-end repeats that
 * choice to a new process of ours: QEMU keeps the field, shows it to the guest over every reset,
 * and neither sends nor reads it again when it reconnects. So the field stays as it was told for as
 * long as the session lasts, and is noted in the inflight region, which comes back. In a session
 * whose front-end has not seen our value, or whose rings have a past, the note counts; without one
 * every write is stable until we are told. 5.2.5 lets the mode after a reset be either.
 */
#define NOTE_WCE 1

static bool has(const struct vho_blk *blk, unsigned feature)
{
	return blk->dev.features >> feature & 1;
}

/* 5.2.5.2: for a driver that cannot flush it is 0. */
static bool wce_field(const struct vho_blk *blk)
{
	return blk->wce && (has(blk, VIRTIO_BLK_F_FLUSH) || !has(blk, VIRTIO_BLK_F_CONFIG_WCE));
}

/* 5.2.5: without the field, being able to flush decides. */
static void apply_wce(struct vho_blk *blk)
{
	bool on = has(blk, VIRTIO_BLK_F_CONFIG_WCE) ? wce_field(blk) : has(blk, VIRTIO_BLK_F_FLUSH);

	atomic_store_explicit(&blk->writeback, on, memory_order_relaxed);
	if (blk->dev.inflight && blk->wce_known)
		vho_inflight_set_note(blk->dev.inflight, blk->wce ? NOTE_WCE : 0);
}

static void features_set(struct vho_dev *dev)
{
	apply_wce(dev->owner);
}

static void reset(struct vho_dev *dev)
{
	struct vho_blk *blk = dev->owner;

	if (dev->connected)
		return; // the front-end goes on showing the field as it is
	blk->wce = true;
	blk->wce_seen = blk->wce_known = false;
}

/* Does some ring go on where another process, or another session, stopped? */
static bool has_past(const struct vho_dev *dev, unsigned starting)
{
	for (unsigned i = 0; i < dev->n_queues; i++) {
		const struct vho_dev_queue *dq = &dev->queues[i];
		uint32_t base = i == starting ? vho_queue_base(&dq->q) : dq->base;

		if (base != 0 && base != 0x8000 && base != 0x80008000)
			return true;
	}
	return false;
}

/* A ring is about to start: from now on requests are answered under some mode. */
static void settle_wce(struct vho_blk *blk, unsigned idx)
{
	const struct vho_dev *dev = &blk->dev;
	bool fresh = blk->wce_seen && !has_past(dev, idx);
	int note = dev->inflight ? vho_inflight_note(dev->inflight) : -ENOENT;

	if (!blk->wce_known && !fresh && note >= 0)
		blk->wce = note & NOTE_WCE;
	if (!blk->wce_known && !fresh && note < 0) {
		if (!has(blk, VIRTIO_BLK_F_CONFIG_WCE))
			return; // not asked yet: it may come with a later driver's features
		dpu_info("blk: what the driver chose is not known, write-through", "dev=%s",
			dev->name);
		blk->wce = false;
	}
	blk->wce_known = true;
	apply_wce(blk);
}

/* ---- configuration space ---- */

static void fill_config(const struct vho_blk *blk, struct blk_config *c)
{
	const struct vho_blk_limits *l = &blk->limits;
	uint64_t sectors = atomic_load_explicit(&blk->sectors, memory_order_relaxed);
	uint64_t cylinders = sectors / (HEADS * SECTORS_PER_TRACK);
	uint32_t block_sectors = l->block_size / BLK_SECTOR;
	bool erase = blk->dev.features_offered >> VIRTIO_BLK_F_SECURE_ERASE & 1;

	*c = (struct blk_config){
		.capacity = dpu_le64_put(sectors),
		.size_max = dpu_le32_put(blk->size_max),
		.seg_max = dpu_le32_put(blk->seg_max),
		.cylinders = dpu_le16_put(
			cylinders < UINT16_MAX ? (uint16_t)cylinders : UINT16_MAX),
		.heads = HEADS,
		.sectors = SECTORS_PER_TRACK,
		.blk_size = dpu_le32_put(l->block_size),
		.min_io_size = dpu_le16_put(1),
		.opt_io_size = dpu_le32_put(l->opt_io_size / l->block_size),
		.writeback = wce_field(blk),
		.num_queues = dpu_le16_put((uint16_t)blk->dev.n_queues),
		.max_discard_sectors = dpu_le32_put(l->max_discard_sectors),
		.max_discard_seg = dpu_le32_put(l->max_discard_sectors ? 1 : 0),
		.discard_sector_alignment = dpu_le32_put(
			l->discard_align_sectors ? l->discard_align_sectors : block_sectors),
		.max_write_zeroes_sectors = dpu_le32_put(l->max_zeroes_sectors),
		.max_write_zeroes_seg = dpu_le32_put(l->max_zeroes_sectors ? 1 : 0),
		// 5.2.6.2: clear if and only if nothing can be deallocated.
		.write_zeroes_may_unmap = l->max_zeroes_sectors && l->max_discard_sectors,
		.max_secure_erase_sectors = dpu_le32_put(erase ? l->max_erase_sectors : 0),
		.max_secure_erase_seg = dpu_le32_put(erase ? 1 : 0),
		.secure_erase_sector_alignment = dpu_le32_put(!erase ? 0
							      : l->erase_align_sectors
								      ? l->erase_align_sectors
								      : block_sectors),
	};
}

static void config_read(struct vho_dev *dev, uint32_t off, void *buf, uint32_t len)
{
	struct vho_blk *blk = dev->owner;
	struct blk_config c;
	uint32_t n;

	fill_config(blk, &c);
	memset(buf, 0, len);
	if (off >= sizeof(c))
		return;
	if (off <= WRITEBACK_OFF && len > WRITEBACK_OFF - off)
		blk->wce_seen = true;
	n = len < sizeof(c) - off ? len : (uint32_t)(sizeof(c) - off);
	memcpy(buf, (const uint8_t *)&c + off, n);
}

static int config_write(struct vho_dev *dev, uint32_t off, const void *buf, uint32_t len)
{
	struct vho_blk *blk = dev->owner;
	uint8_t v;

	if (off != WRITEBACK_OFF || len != 1 || !has(blk, VIRTIO_BLK_F_CONFIG_WCE))
		return -EINVAL;
	memcpy(&v, buf, 1);
	if (v > 1)
		return -EINVAL;
	blk->wce = v == 1;
	blk->wce_known = true;
	apply_wce(blk);
	return 0;
}

/* ---- state that migrates (state.h) ---- */

#define PART_WRITEBACK 1 // one byte: what the driver wrote to the field
#define PART_SEEN 2 // one byte, 1: the front-end has read the field in this session
static const struct vho_state_part state_parts[VHO_STATE_PARTS] = {
	[PART_WRITEBACK] = { 1, 1 },
	[PART_SEEN] = { 1, 1, .hand_over = true },
};

static void state_save(const struct vho_dev *dev, struct vho_state_out *out)
{
	const struct vho_blk *blk = dev->owner;
	uint8_t *at = blk->wce_known ? vho_state_put(out, PART_WRITEBACK, 1) : NULL;

	if (at)
		*at = blk->wce;
	at = out->way == VHO_STATE_HAND_OVER && blk->wce_seen ? vho_state_put(out, PART_SEEN, 1)
							      : NULL;
	if (at)
		*at = 1;
}

static int state_load(struct vho_dev *dev, struct dpu_cur *parts)
{
	struct vho_blk *blk = dev->owner;
	bool known = parts[PART_WRITEBACK].at, seen = parts[PART_SEEN].at;
	uint8_t v = known ? dpu_cur_u8(&parts[PART_WRITEBACK]) : 0;

	if (v > 1 || (seen && dpu_cur_u8(&parts[PART_SEEN]) != 1))
		return -EINVAL;
	blk->wce_seen |= seen;
	if (!known)
		return 0; // not known there either: the rule for that holds
	blk->wce = v == 1;
	blk->wce_known = true;
	apply_wce(blk);
	return 0;
}

/* ---- queues ---- */

static int queue_setup(struct vho_dev *dev, unsigned idx)
{
	struct vho_blk *blk = dev->owner;
	struct blk_queue *bq = &blk->queues[idx];
	struct vho_queue *q = &dev->queues[idx].q;
	unsigned n = blk->depth < q->size ? blk->depth : q->size;
	uint16_t iov_max = (uint16_t)(blk->seg_max + BLK_IOV_EXTRA);

	if (q->iotlb && iov_max < IOMMU_IOV)
		iov_max = IOMMU_IOV;
	assert(!bq->pool);
	settle_wce(blk, idx);
	bq->q = q;
	bq->pushed = 0;
	bq->lone = (struct blk_lone){ 0 };
	bq->size_max = has(blk, VIRTIO_BLK_F_SIZE_MAX) ? blk->size_max : UINT32_MAX;
	bq->max_erase = has(blk, VIRTIO_BLK_F_SECURE_ERASE) ? blk->limits.max_erase_sectors : 0;
	bq->lifetime = has(blk, VIRTIO_BLK_F_LIFETIME);
	bq->at_once = blk->ops->at_once && blk->limits.at_once && !blk->limits.flush;
	return blk_pool_create(bq, n, iov_max, &bq->pool);
}

static void queue_teardown(struct vho_dev *dev, unsigned idx)
{
	struct vho_blk *blk = dev->owner;
	struct blk_queue *bq = &blk->queues[idx];

	blk_pool_abandon(bq); // does nothing when the worker has seen all its answers
	blk_pool_destroy(bq->pool);
	bq->pool = NULL;
}

static const struct vho_dev_type blk_type = {
	.kind = VHO_DEV_BLK,
	.config_read = config_read,
	.config_write = config_write,
	.features_set = features_set,
	.queue_setup = queue_setup,
	.queue_teardown = queue_teardown,
	.reset = reset,
	.state_save = state_save,
	.state_load = state_load,
	.state_parts = state_parts,
};

/* Bursts for as long as they find what they know. *odd: there is more, for the other way. */
static unsigned bursts(struct blk_queue *bq, void *chan, unsigned budget, bool *odd)
{
	unsigned n = 0, got;

	*odd = true;
	if (!bq->at_once)
		return 0;
	if (bq->pushed > 0)
		vho_queue_publish(bq->q); // answers of earlier turns go before ours
	if (!blk_burst_ok(bq))
		return 0;
	do {
		got = blk_burst(bq, chan, budget - n, odd);
		n += got;
	} while (got == BLK_BURST && n < budget && !*odd && bq->turn_bytes < BLK_TURN_BYTES);
	return n;
}

unsigned vho_blk_poll(struct vho_blk *blk, unsigned queue, void *chan, unsigned budget)
{
	struct blk_queue *bq = &blk->queues[queue];
	struct blk_pool *p = bq->pool;
	struct vho_queue *q = bq->q;
	unsigned n = 0, at_once = 0;
	bool odd = true;

	if (!p)
		return 0;
	bq->turning = true;
	bq->turn_bytes = 0;
	if (budget > 0 && q->running)
		n = at_once = bursts(bq, chan, budget, &odd);
	while (odd && n < budget && p->free && q->running && bq->turn_bytes < BLK_TURN_BYTES &&
		p->bytes < BLK_INFLIGHT_BYTES) {
		struct blk_req *r = p->free;
		struct vho_chain c = { .max = p->iov_max, .iov = r->iov };

		if (vho_queue_pop(q, &c) <= 0)
			break;
		p->free = r->next_free;
		blk_req_start(bq, r, &c, chan);
		n++;
	}
	if (n > 0 && p->n_busy > 0 && blk->ops->kick)
		blk->ops->kick(blk->store, chan);
	if (bq->pushed + at_once > 0) {
		vho_queue_publish(q);
		vho_queue_notify(q);
		n += bq->pushed + at_once;
		bq->pushed = 0;
	}
	bq->turning = false;
	return n;
}

unsigned vho_blk_inflight(const struct vho_blk *blk, unsigned queue)
{
	const struct blk_pool *p = blk->queues[queue].pool;

	return p ? p->n_busy : 0;
}

void vho_blk_abandon(struct vho_blk *blk, unsigned queue)
{
	struct blk_queue *bq = &blk->queues[queue];

	if (bq->pool && bq->pushed > 0) { // what was answered in time still counts
		vho_queue_publish(bq->q);
		vho_queue_notify(bq->q);
		bq->pushed = 0;
	}
	blk_pool_abandon(bq);
}

const struct vho_blk_stats *vho_blk_stats(const struct vho_blk *blk, unsigned queue)
{
	return &blk->queues[queue].stats;
}

/* ---- life ---- */

static bool conf_ok(const struct vho_blk_conf *conf, const struct vho_blk_limits *l)
{
	if (conf->n_queues == 0 || conf->n_queues > QUEUES_MAX)
		return false;
	if (conf->seg_max == 0 || conf->seg_max > SEG_MAX_MAX)
		return false;
	if (conf->size_max % BLK_SIZE_PAGE != 0 || conf->size_max > BLK_REQUEST_BYTES)
		return false;
	return (l->block_size == 512 || l->block_size == 4096) && l->size % l->block_size == 0;
}

/*
 * LIFETIME must not be offered where the metrics cannot be had or mean nothing (5.2.6.2): most
 * volumes have no cells that wear. ZONED should not be: no volume has zones.
 */
static uint64_t features_of(const struct vho_blk *blk, const struct vho_blk_conf *conf)
{
	const struct vho_blk_limits *l = &blk->limits;
	uint64_t f = BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_GEOMETRY) |
		     BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_MQ);
	struct vho_blk_lifetime wear;

	if (conf->size_max)
		f |= BIT(VIRTIO_BLK_F_SIZE_MAX);
	if (conf->ops->lifetime && conf->ops->lifetime(conf->store, &wear))
		f |= BIT(VIRTIO_BLK_F_LIFETIME);
	if (l->flush)
		f |= BIT(VIRTIO_BLK_F_FLUSH);
	if (blk->read_only)
		return f | BIT(VIRTIO_BLK_F_RO);
	if (l->flush)
		f |= BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (l->max_discard_sectors)
		f |= BIT(VIRTIO_BLK_F_DISCARD);
	if (l->max_zeroes_sectors)
		f |= BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (l->max_erase_sectors && conf->secure_erase)
		f |= BIT(VIRTIO_BLK_F_SECURE_ERASE);
	return f;
}

int vho_blk_create(
	const struct vho_blk_conf *conf, const struct vho_host *host, struct vho_blk **out)
{
	struct vho_blk_limits l = { 0 };
	struct vho_blk *blk;
	int ret;

	conf->ops->limits(conf->store, &l);
	if (!conf_ok(conf, &l))
		return -EINVAL;
	blk = dpu_calloc(1, sizeof(*blk));
	if (!blk)
		return -ENOMEM;
	blk->ops = conf->ops;
	blk->store = conf->store;
	blk->seg_max = conf->seg_max;
	blk->size_max = conf->size_max;
	blk->depth = conf->depth ? conf->depth : BLK_DEPTH_DEFAULT;
	if (l.max_zeroes_sectors > BLK_ZEROES_SECTORS)
		l.max_zeroes_sectors = BLK_ZEROES_SECTORS;
	if (l.max_erase_sectors > BLK_ZEROES_SECTORS)
		l.max_erase_sectors = BLK_ZEROES_SECTORS;
	blk->limits = l;
	blk->block_mask = l.block_size - 1;
	blk->read_only = conf->read_only || l.read_only;
	if (conf->serial)
		memcpy(blk->serial, conf->serial, strnlen(conf->serial, BLK_ID_LEN));
	atomic_init(&blk->sectors, l.size / BLK_SECTOR);
	atomic_init(&blk->writeback, false); // until features say more
	blk->wce = true;
	blk->queues = dpu_aligned_calloc(64, conf->n_queues, sizeof(*blk->queues));
	if (!blk->queues) {
		ret = -ENOMEM;
		goto err_blk;
	}
	ret = vho_dev_init(&blk->dev, &blk_type, blk, conf->name, conf->n_queues,
		features_of(blk, conf), conf->features_off, host);
	if (ret < 0)
		goto err_queues;
	for (unsigned i = 0; i < conf->n_queues; i++) {
		blk->queues[i].blk = blk;
		blk->queues[i].q = &blk->dev.queues[i].q;
	}
	*out = blk;
	return 0;

err_queues:
	free(blk->queues);
err_blk:
	free(blk);
	return ret;
}

void vho_blk_destroy(struct vho_blk *blk)
{
	if (!blk)
		return;
	vho_dev_stop_all(&blk->dev);
	for (unsigned i = 0; i < blk->dev.n_queues; i++)
		queue_teardown(&blk->dev, i);
	vho_dev_fini(&blk->dev);
	free(blk->queues);
	free(blk);
}

struct vho_dev *vho_blk_dev(struct vho_blk *blk)
{
	return &blk->dev;
}

void vho_blk_resized(struct vho_blk *blk)
{
	struct vho_blk_limits l = { 0 };

	blk->ops->limits(blk->store, &l);
	atomic_store_explicit(&blk->sectors, l.size / BLK_SECTOR, memory_order_relaxed);
}
