// SPDX-License-Identifier: Apache-2.0
/*
 * Descriptors that bursts of packets check together: one of them is wrong, at each place of a group
 * and by each of the ways that the check must tell from one of the others.
 */
#include "net_fast.h"
#include "net_rig.h"

#define GROUP 8u // of the widest vectors; a group of four is one half
#define LEN 100u
#define AS_IT_WAS UINT64_MAX

static const struct vho_net_fast *fast;

static const struct wrong {
	const char *name;
	uint64_t addr; // AS_IT_WAS: that of a good buffer
	uint32_t len;
	int id; // 0: that of the slot
	int error; // that breaks the ring; -1: the frame is dropped and the ring goes on
} wrongs[] = {
	{ "before the region", VQ_GPA - 8, LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "address 0", 0, LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "last byte behind the memory", VQ_END - LEN + 1, LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "first byte behind the memory", VQ_END, LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "a sum past 2^64", UINT64_MAX - 50, LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "2^62 behind", VQ_BUF + (1ULL << 62), LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "2^63 behind", VQ_BUF + (1ULL << 63), LEN, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "differences that come round", VQ_GPA + (1ULL << 63) - 1, UINT32_MAX, 0,
		VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "longer than the memory", AS_IT_WAS, UINT32_MAX, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "shorter than a header", AS_IT_WAS, 5, 0, -1 },
	{ "empty", AS_IT_WAS, 0, 0, -1 },
	{ "id behind the ring", AS_IT_WAS, LEN, RIG_SIZE, VHO_QUEUE_ERR_BAD_INDEX },
	{ "id 65535", AS_IT_WAS, LEN, UINT16_MAX, VHO_QUEUE_ERR_BAD_INDEX },
};

static struct rte_mbuf *frame(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(mbuf_pool);

	assert_non_null(m);
	memset(rte_pktmbuf_append(m, 60), 1, 60);
	return m;
}

/* Make the chain at `slot` what w says. The driver wrote it before it offered it. */
static void spoil(struct rig *r, unsigned slot, const struct wrong *w)
{
	struct vring_packed_desc *p = &vq_pdesc(&r->v)[slot];
	struct vring_desc *d = &vq_desc(&r->v)[slot];
	struct vring_avail *a = vq_at(&r->v, VQ_DRIVER);

	if (r->q->packed) {
		p->addr = w->addr == AS_IT_WAS ? p->addr : w->addr;
		p->len = w->len;
		p->id = w->id ? (uint16_t)w->id : p->id;
		return;
	}
	d->addr = w->addr == AS_IT_WAS ? d->addr : w->addr;
	d->len = w->len;
	if (w->id)
		a->ring[slot] = (uint16_t)w->id;
	d[RIG_SIZE - slot] = *d; // what such an id must not reach
}

static void from_guest(bool packed, unsigned at, const struct wrong *w)
{
	uint8_t bytes[LEN] = { 0 };
	const struct part p = { LEN, bytes };
	struct rte_mbuf *m[GROUP + 1];
	unsigned n;
	struct rig r;

	rig_open(&r, 1, packed ? VQ_PACKED : VQ_SPLIT, false);
	r.net->fast = fast;
	rig_offer(&r, &p, 1, 1, 0); // the region is known from here on
	assert_int_equal(vho_net_rx(r.net, 0, m, GROUP), 1);
	rte_pktmbuf_free(m[0]);
	for (unsigned i = 0; i < GROUP; i++)
		rig_offer(&r, &p, 1, 1, 0);
	spoil(&r, 1 + at, w);
	n = vho_net_rx(r.net, 0, m, GROUP);
	assert_int_equal(n, w->error < 0 ? GROUP - 1 : at);
	assert_int_equal(r.q->broken, w->error >= 0);
	if (w->error >= 0)
		assert_int_equal(dpu_counter_read(&r.q->stats.errors[w->error]), 1);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(m[i]->pkt_len, LEN - sizeof(vho_net_hdr));
	rte_pktmbuf_free_bulk(m, n);
	rig_close(&r);
}

/* Nothing is written by a descriptor that is wrong, and by none behind it. */
static void to_guest(bool packed, unsigned at, const struct wrong *w)
{
	const struct part p = { 2048, NULL };
	struct rte_mbuf *m[GROUP];
	struct rig r;

	rig_open(&r, 0, packed ? VQ_PACKED : VQ_SPLIT, false);
	r.net->fast = fast;
	for (unsigned i = 0; i < 1 + GROUP; i++)
		rig_offer(&r, &p, 1, 1, VRING_DESC_F_WRITE);
	m[0] = frame();
	spoil(&r, 1 + at, w);
	assert_int_equal(vho_net_tx(r.net, 0, m, 1), 1);
	for (unsigned i = 0; i < GROUP; i++)
		m[i] = frame();
	assert_int_equal(vho_net_tx(r.net, 0, m, GROUP), at);
	if (w->error >= 0)
		assert_int_equal(dpu_counter_read(&r.q->stats.errors[w->error]), 1);
	rig_close(&r);
}

static void anywhere(void **state)
{
	for (unsigned i = 0; (fast = vho_net_fast_at(i)); i++)
		for (unsigned at = 0; at < GROUP; at++)
			for (unsigned packed = 0; packed < 2; packed++) {
				from_guest(packed, at, *state);
				to_guest(packed, at, *state);
			}
}

int main(void)
{
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(wrongs, anywhere, failed);
	return failed != 0;
}
