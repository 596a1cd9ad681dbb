// SPDX-License-Identifier: Apache-2.0
/* Calls that are held back: VIRTIO 1.3, 5.1.6.5.9. Time stands still unless a test moves it. */
#include "net_rig.h"

#define BIT(n) (1ULL << (n))
#define COAL (BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_NOTF_COAL))
#define W VRING_DESC_F_WRITE
#define FOREVER (1ULL << 40) // cycles of a microsecond

static uint8_t command(struct vho_net *net, const void *bytes, size_t len)
{
	uint8_t copy[64], ack = 0xee;
	struct iovec iov[2] = { { copy, len }, { &ack, 1 } };
	struct vho_chain c = { .iov = iov, .n_out = 1, .n_in = 1, .out_len = len, .in_len = 1 };

	memcpy(copy, bytes, len);
	vho_net_ctrl_handle(&net->ctrl, net->dev.features, &c);
	return ack;
}

/* Packets and microseconds of all receiveqs (command 1) or transmitqs (0), as the card does it. */
static void configure(struct rig *r, uint8_t cmd, uint8_t packets, uint8_t usecs)
{
	const uint8_t bytes[] = { 6, cmd, packets, 0, 0, 0, usecs, 0, 0, 0 };

	assert_int_equal(command(r->net, bytes, sizeof(bytes)), VIRTIO_NET_OK);
	atomic_store(
		&r->net->coalescing, vho_net_coalesces(r->net, 0) || vho_net_coalesces(r->net, 1));
}

static void open_queue(struct rig *r, unsigned queue, uint64_t ring)
{
	rig_open(r, queue, ring | COAL, false);
	r->net->us_tsc = FOREVER;
	r->q->call_fd = r->v.call_fd;
}

/* One packet to the guest; returns the calls that this made. */
static uint64_t deliver(struct rig *r)
{
	struct part p = { 2048, NULL };
	struct rte_mbuf *m = rte_pktmbuf_alloc(mbuf_pool);

	if (!m || !rte_pktmbuf_append(m, 60))
		abort();
	rig_offer(r, &p, 1, 1, W);
	assert_int_equal(vho_net_tx(r->net, 0, &m, 1), 1);
	vho_net_tx_notify(r->net, 0);
	return vq_signals(r->v.call_fd);
}

/* One packet from the guest. */
static uint64_t accept_one(struct rig *r)
{
	static const uint8_t bytes[100];
	struct part p = { sizeof(bytes), bytes };
	struct rte_mbuf *m;

	rig_offer(r, &p, 1, 1, 0);
	assert_int_equal(vho_net_rx(r->net, 0, &m, 1), 1);
	rte_pktmbuf_free(m);
	return vq_signals(r->v.call_fd);
}

static uint64_t move(struct rig *r, unsigned queue)
{
	return queue ? accept_one(r) : deliver(r);
}

static const struct layout {
	const char *name;
	uint64_t ring;
	unsigned queue;
} layouts[] = {
	{ "receiveq, split", VQ_SPLIT, 0 },
	{ "receiveq, packed", VQ_PACKED, 0 },
	{ "transmitq, split", VQ_SPLIT, 1 },
	{ "transmitq, packed", VQ_PACKED, 1 },
};

static void enough_packets(void **state)
{
	const struct layout *t = *state;
	struct rig r;

	open_queue(&r, t->queue, t->ring);
	assert_int_equal(move(&r, t->queue), 1); // at first each packet calls
	configure(&r, t->queue, 9, 9); // the other kind of queue
	assert_int_equal(move(&r, t->queue), 1);
	configure(&r, !t->queue, 4, 100);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(move(&r, t->queue), i % 4 == 3);
	assert_int_equal(move(&r, t->queue), 0);
	assert_int_equal(vho_net_coal_poll(r.net, t->queue), 0); // its time has not come
	assert_true(vho_net_coal_left_us(r.net, t->queue) > 0);
	configure(&r, !t->queue, 0, 0);
	assert_int_equal(move(&r, t->queue), 1);
	rig_close(&r);
}

static void enough_time(void **state)
{
	const struct layout *t = *state;
	struct vho_coal *c;
	struct rig r;

	open_queue(&r, t->queue, t->ring);
	c = &r.net->pairs[0].coal[t->queue];
	configure(&r, !t->queue, 0, 100); // only time counts
	assert_int_equal(vho_net_coal_left_us(r.net, t->queue), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(move(&r, t->queue), 0);
	c->due_tsc = 1; // long ago
	assert_int_equal(vho_net_coal_left_us(r.net, t->queue), 1);
	assert_int_equal(vho_net_coal_poll(r.net, t->queue), 1);
	assert_int_equal(vq_signals(r.v.call_fd), 1);
	assert_int_equal(vho_net_coal_poll(r.net, t->queue), 0); // once
	// A packet that comes late finds the time over
	assert_int_equal(move(&r, t->queue), 0);
	c->due_tsc = 1;
	assert_int_equal(move(&r, t->queue), 1);
	// Nobody waits longer than the limit, whatever the driver says
	assert_int_equal(command(r.net, "\x06\x01\0\0\0\0\xff\xff\xff\xff", 10), VIRTIO_NET_OK);
	assert_int_equal(command(r.net, "\x06\x00\0\0\0\0\xff\xff\xff\xff", 10), VIRTIO_NET_OK);
	assert_int_equal(move(&r, t->queue), 0);
	assert_in_range(vho_net_coal_left_us(r.net, t->queue), 19000, 20001);
	// A queue that stops leaves nothing behind
	vho_net_coal_flush(r.net, t->queue);
	assert_int_equal(vq_signals(r.v.call_fd), 1);
	vho_net_coal_flush(r.net, t->queue);
	assert_int_equal(vq_signals(r.v.call_fd), 0);
	rig_close(&r);
}

/* A driver that has half of its ring in our hands is called, though it wants more packets. */
static void half_a_ring(void **state)
{
	const struct layout *t = *state;
	struct rig r;

	open_queue(&r, t->queue, t->ring);
	configure(&r, !t->queue, 255, 100);
	for (unsigned i = 0; i < RIG_SIZE; i++)
		assert_int_equal(move(&r, t->queue), i % (RIG_SIZE / 2) == RIG_SIZE / 2 - 1);
	rig_close(&r);
}

/* A driver that has turned calls off gets none later, either. */
static void suppressed(void **state)
{
	struct rig r;

	(void)state;
	open_queue(&r, 0, VQ_SPLIT);
	configure(&r, 1, 2, 100);
	r.v.q.avail = r.q->avail;
	r.q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	assert_int_equal(deliver(&r), 0);
	assert_int_equal(deliver(&r), 0);
	r.q->avail->flags = 0;
	assert_int_equal(deliver(&r), 0);
	assert_int_equal(deliver(&r), 1);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(suppressed) };
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(layouts, enough_packets, failed);
	RUN_ROWS(layouts, enough_time, failed);
	RUN_ROWS(layouts, half_a_ring, failed);
	failed += cmocka_run_group_tests_name("net_coal", tests, NULL, NULL);
	return failed;
}
