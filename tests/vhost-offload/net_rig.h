/* SPDX-License-Identifier: Apache-2.0 */
/* One virtio-net function over rings written by hand: queue 0 receives, queue 1 transmits. */
#pragma once

#include "vq.h"

#include "device.h"
#include "mbuf_env.h"
#include "net_hdr.h"
#include "net_priv.h"

#define RIG_SIZE 128u
#define RIG_DATA VQ_BUF // 512 KiB of buffers, then tables
#define RIG_DATA_LEN 0x80000u

struct part {
	uint32_t len;
	const void *data; // written there; NULL: left as it is
};

struct rig {
	struct vho_net *net;
	struct vq v; // owns the memory; v.q is unused, `q` is the function's queue
	struct vho_queue *q;
	struct vho_host host;
	uint8_t *log; // non-NULL: the general path, because writes are logged
	uint32_t size; // of the ring
	uint32_t next_desc, next_table;
	uint64_t next_buf;

	/* What the driver offered and has not found used yet, in order. */
	struct {
		uint16_t id, slots;
	} offered[RIG_SIZE]; // rings of at most that size
	uint32_t n_offered, n_returned; // free-running
	uint16_t used_at; // split: used index seen; packed: slot
	bool used_wrap;
};

static inline void rig_open_size(
	struct rig *r, unsigned queue, uint64_t features, bool general, uint32_t size)
{
	struct vho_net_conf conf = { .name = "t",
		.max_pairs = 1,
		.mtu = 9000,
		.pool = mbuf_pool,
		.mac = { 2, 0, 0, 0, 0, 1 } };
	struct vho_queue_conf qc;
	struct vho_dev *dev;

	memset(r, 0, sizeof(*r));
	vq_open(&r->v);
	assert_int_equal(vho_net_create(&conf, &r->host, &r->net), 0);
	r->net->rest_tsc = 0; // each call finds what is there
	dev = vho_net_dev(r->net);
	assert_int_equal(vho_dev_set_features(dev, features), 0);
	qc = vq_conf(&r->v, features, size);
	if (general) {
		r->log = test_calloc(1, 4096);
		qc.log = (struct vho_dirty_log){ r->log, 4096 };
	}
	r->q = &dev->queues[queue].q;
	assert_int_equal(vho_queue_setup(r->q, &qc), 0);
	r->q->running = true;
	dev->queues[queue].enabled = true;
	r->v.q.size = r->size = size;
	r->next_buf = RIG_DATA;
	r->used_wrap = true;
}

static inline void rig_open(struct rig *r, unsigned queue, uint64_t features, bool general)
{
	rig_open_size(r, queue, features, general, RIG_SIZE);
}

static inline void rig_close(struct rig *r)
{
	vho_queue_teardown(r->q);
	vho_net_destroy(r->net);
	if (r->log)
		test_free(r->log);
	vq_close(&r->v);
}

static inline uint64_t rig_place(struct rig *r, const struct part *p)
{
	uint64_t at = r->next_buf;

	if (at + p->len > RIG_DATA + RIG_DATA_LEN)
		at = RIG_DATA;
	r->next_buf = at + p->len;
	if (p->data)
		memcpy(vq_at(&r->v, at), p->data, p->len);
	return at;
}

/* Offer a chain of n parts, all one way; `direct` of them in the ring, the rest in a table. */
static inline void rig_offer(
	struct rig *r, const struct part *p, unsigned n, unsigned direct, uint16_t way)
{
	bool packed = r->q->packed;
	unsigned slots = direct < n ? direct + 1 : n;
	uint64_t table = VQ_TABLE + r->next_table;
	uint16_t id = (uint16_t)(r->next_desc % r->size), first = id;

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = rig_place(r, &p[i]);
		uint16_t next = i + 1 < n ? VRING_DESC_F_NEXT : 0;

		if (i >= direct && packed) {
			struct vring_packed_desc *t = vq_at(&r->v, table);

			t[i - direct] = (struct vring_packed_desc){ at, p[i].len, 0, way };
		} else if (i >= direct) {
			struct vring_desc *t = vq_at(&r->v, table);

			t[i - direct] = (struct vring_desc){ at, p[i].len, next | way,
				(uint16_t)(i - direct + 1) };
		} else if (packed) {
			vq_put(&r->v, at, p[i].len, next ? 77 : id, next | way);
		} else {
			vq_desc(&r->v)[(first + i) % r->size] = (struct vring_desc){ at, p[i].len,
				next | way, (uint16_t)((first + i + 1) % r->size) };
		}
	}
	if (direct < n) {
		uint32_t len = (n - direct) * 16;

		r->next_table = (r->next_table + len) % 0x40000;
		if (packed)
			vq_put(&r->v, table, len, id, VRING_DESC_F_INDIRECT);
		else
			vq_desc(&r->v)[(first + direct) % r->size] = (struct vring_desc){ table,
				len, VRING_DESC_F_INDIRECT, 0 };
	}
	if (!packed)
		vq_avail(&r->v, first);
	r->offered[r->n_offered % RIG_SIZE].id = id;
	r->offered[r->n_offered++ % RIG_SIZE].slots = (uint16_t)slots;
	r->next_desc += slots;
}

/* The id of the next used element, if there is one. */
static inline bool rig_used(const struct rig *r, uint16_t *id)
{
	if (!r->q->packed) {
		*id = (uint16_t)vq_used(&r->v)->ring[r->used_at % r->size].id;
		return r->used_at != vq_used(&r->v)->idx;
	}
	*id = vq_pdesc(&r->v)[r->used_at].id;
	return vq_slot_used(&r->v, r->used_at, r->used_wrap);
}

/*
 * Take back what was used, as a driver with IN_ORDER does: one element may stand for many chains,
 * up to the one whose id it has (VIRTIO 1.3, 2.7.9).
 */
static inline void rig_take_in_order(struct rig *r)
{
	uint16_t id;

	while (rig_used(r, &id)) {
		uint32_t slots = 0, n = 0;
		bool found = false;

		while (!found) {
			assert_true(r->n_returned != r->n_offered);
			found = r->offered[r->n_returned % RIG_SIZE].id == id;
			slots += r->offered[r->n_returned++ % RIG_SIZE].slots;
			n++;
		}
		if (!r->q->packed) {
			r->used_at = (uint16_t)(r->used_at + n);
			continue;
		}
		r->used_at = (uint16_t)(r->used_at + slots);
		if (r->used_at >= r->size) {
			r->used_at = (uint16_t)(r->used_at - r->size);
			r->used_wrap = !r->used_wrap;
		}
	}
	assert_int_equal(r->used_at, r->q->next_used);
}
