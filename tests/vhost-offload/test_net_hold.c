// SPDX-License-Identifier: Apache-2.0
/* Packets for a guest behind an IOMMU: they wait for the address of the next buffer, in order. */
#include "fake_host.h"
#include "net_hold.h"
#include "net_rig.h"

#define LEN 100u
#define FEATURES (1ULL << VIRTIO_NET_F_MRG_RXBUF)

struct env {
	struct rig r;
	struct fake_host h;
	struct vho_iommu_stats stats;
	struct vho_iotlb *t;
	unsigned free_before;
};

static struct layout {
	const char *name;
	uint64_t features;
} layouts[] = {
	{ "split", VQ_SPLIT | FEATURES },
	{ "packed", VQ_PACKED | FEATURES },
};

static struct env *env_open(const struct layout *l)
{
	struct env *e = test_calloc(1, sizeof(*e));
	struct vho_queue_conf c;

	e->free_before = rte_mempool_avail_count(mbuf_pool);
	fake_host_init(&e->h);
	assert_int_equal(vho_iotlb_create(1, &e->h.host, &e->stats, &e->t), 0);
	rig_open(&e->r, 0, l->features, false);
	e->r.net->dev.features |= 1ULL << VIRTIO_F_ACCESS_PLATFORM; // without a table of its own
	vho_queue_teardown(e->r.q);
	c = vq_conf(&e->r.v, l->features, RIG_SIZE);
	c.iotlb = &e->t->queues[0];
	assert_int_equal(vho_queue_setup(e->r.q, &c), 0);
	e->r.q->running = true;
	assert_true(vho_net_holds(e->r.net));
	return e;
}

static void env_close(struct env *e)
{
	vho_dev_queue_run(vho_net_dev(e->r.net), 0, false);
	rig_close(&e->r);
	vho_iotlb_destroy(e->t);
	assert_int_equal(rte_mempool_avail_count(mbuf_pool), e->free_before);
	test_free(e);
}

/* The front-end's answer: all of the guest's memory, or nothing any more. */
static void answer(struct env *e)
{
	assert_int_equal(vho_iotlb_update(e->t, e->r.v.mem, VQ_GPA, VQ_REGION, VQ_UVA,
				 VHO_IOTLB_READ | VHO_IOTLB_WRITE),
		0);
	atomic_store(&e->t->queues[0].waiting, false);
}

static void offer(struct env *e, unsigned n)
{
	const struct part p = { 1600, NULL };

	for (; n; n--)
		rig_offer(&e->r, &p, 1, 1, VRING_DESC_F_WRITE);
}

/* Packets that say their number, one frame each. */
static unsigned send(struct env *e, unsigned first, unsigned n, uint64_t flags)
{
	struct rte_mbuf *m[RIG_SIZE];

	for (unsigned i = 0; i < n; i++) {
		m[i] = rte_pktmbuf_alloc(mbuf_pool);
		assert_non_null(m[i]);
		memset(rte_pktmbuf_append(m[i], LEN), (int)(first + i), LEN);
		m[i]->ol_flags |= flags;
	}
	return vho_net_tx(e->r.net, 0, m, (uint16_t)n);
}

/* Buffers that were used so far, whose frames must be 0, 1, 2 ... */
static unsigned arrived(struct env *e)
{
	unsigned n = e->r.q->packed ? e->r.q->next_used : vq_used(&e->r.v)->idx;

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *b = vq_at(&e->r.v, RIG_DATA + i * 1600u);

		assert_int_equal(b[sizeof(struct virtio_net_hdr_v1)], i);
		assert_int_equal(b[sizeof(struct virtio_net_hdr_v1) + LEN - 1], i);
	}
	return n;
}

static uint64_t dropped(const struct env *e, enum vho_net_drop d)
{
	return dpu_counter_read(&vho_net_stats(e->r.net, 0)->drops[d]);
}

static void waits_and_goes(void **state)
{
	struct env *e = env_open(*state);

	offer(e, 60);
	assert_int_equal(send(e, 0, 5, 0), 0);
	assert_true(vho_hold_waits(e->r.q));
	assert_int_equal(send(e, 5, 40, 0), 0); // behind the others
	assert_int_equal(vho_net_tx_resume(e->r.net, 0), 0); // not yet
	assert_int_equal(arrived(e), 0);
	answer(e);
	assert_int_equal(vho_net_tx_resume(e->r.net, 0), 45);
	assert_int_equal(arrived(e), 45);
	assert_int_equal(vho_net_tx_resume(e->r.net, 0), 0);
	assert_int_equal(send(e, 45, 15, 0), 15);
	assert_int_equal(arrived(e), 60);
	assert_int_equal(send(e, 60, 1, 0), 0); // an empty ring is no reason to wait
	assert_int_equal(dropped(e, VHO_NET_DROP_TX_NO_BUFFER), 1);
	env_close(e);
}

/* The next packets may come before the kick is seen: those that wait go first. */
static void next_packets_push(void **state)
{
	struct env *e = env_open(*state);

	offer(e, 60);
	assert_int_equal(send(e, 0, 3, 0), 0);
	answer(e);
	assert_int_equal(send(e, 3, 3, 0), 6);
	assert_int_equal(arrived(e), 6);
	env_close(e);
}

/* No more than so many, and none for ever: what still waits when the queue stops is dropped. */
static void bounded(void **state)
{
	struct env *e = env_open(*state);

	offer(e, 100);
	assert_int_equal(send(e, 0, VHO_HOLD_PACKETS + 7, 0), 0);
	assert_int_equal(dropped(e, VHO_NET_DROP_TX_NO_BUFFER), 7);
	assert_int_equal(e->free_before - rte_mempool_avail_count(mbuf_pool), VHO_HOLD_PACKETS);
	vho_dev_queue_run(vho_net_dev(e->r.net), 0, false);
	assert_int_equal(dropped(e, VHO_NET_DROP_TX_NOT_RUNNING), VHO_HOLD_PACKETS);
	assert_int_equal(rte_mempool_avail_count(mbuf_pool), e->free_before);
	env_close(e);
}

/* Half of the pool is left for those that do not wait. */
static void pool_is_shared(void **state)
{
	static struct rte_mbuf *taken[2047];
	struct env *e = env_open(*state);
	unsigned n = mbuf_pool->size / 2;

	assert_int_equal(rte_pktmbuf_alloc_bulk(mbuf_pool, taken, n), 0);
	offer(e, 10);
	assert_int_equal(send(e, 0, 10, 0), 0);
	assert_int_equal(dropped(e, VHO_NET_DROP_TX_NO_BUFFER), 10);
	rte_pktmbuf_free_bulk(taken, n);
	assert_int_equal(rte_mempool_avail_count(mbuf_pool), e->free_before);
	answer(e);
	env_close(e);
}

/* Bytes that are lent for this turn are copied; the packets' owner may free them at once. */
static void lent_is_copied(void **state)
{
	struct env *e = env_open(*state);

	offer(e, 10);
	assert_int_equal(send(e, 0, 2, VHO_NET_F_LENT), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(e->r.net->pairs[0].hold.pkt[i]->ol_flags & VHO_NET_F_LENT, 0);
	assert_int_equal(e->free_before - rte_mempool_avail_count(mbuf_pool), 2);
	answer(e);
	assert_int_equal(vho_net_tx_resume(e->r.net, 0), 2);
	assert_int_equal(arrived(e), 2);
	env_close(e);
}

#define BOTH(f) ROW(f, layouts[0]), ROW(f, layouts[1])
#define ROW(f, l)                              \
	{                                      \
#f " " #l, f, NULL, NULL, &(l) \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(waits_and_goes),
		BOTH(next_packets_push),
		BOTH(bounded),
		BOTH(pool_is_shared),
		BOTH(lent_is_copied),
	};

	return cmocka_run_group_tests(tests, mbuf_env_start, NULL);
}
