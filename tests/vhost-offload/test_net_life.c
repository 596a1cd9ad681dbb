// SPDX-License-Identifier: Apache-2.0
/*
 * What a virtio-net function does beside bursts: its control queue, link, announcements, creation.
 */
#include "net_rig.h"

#include <errno.h>

#include "dpu_alloc.h"
#include "net_steer.h"
#include "vq.h"

#define BIT(n) (1ULL << (n))
#define CTRL_FEATURES                                                                  \
	(VQ_SPLIT | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |            \
		BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_GUEST_CSUM) | \
		BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_STATUS) |              \
		BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define CTRL 2 // queue, with one pair

static struct rig rig;
static unsigned changes;

static void count_change(void *arg, struct vho_dev *dev)
{
	(void)arg;
	(void)dev;
	changes++;
}

static int setup(void **state)
{
	(void)state;
	rig_open(&rig, CTRL, CTRL_FEATURES, false);
	rig.host.changed = count_change;
	changes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

/* One command in split rings of its own: descriptors 2k and 2k + 1, answer at the given place. */
static uint8_t *command(const void *bytes, uint32_t len)
{
	uint16_t head = (uint16_t)(rig.next_desc % RIG_SIZE);
	struct part p[] = { { len, bytes }, { 1, "\xee" } };
	uint64_t at = rig_place(&rig, &p[0]), answer = rig_place(&rig, &p[1]);

	vq_desc(&rig.v)[head] = (struct vring_desc){ at, len, VRING_DESC_F_NEXT,
		(uint16_t)(head + 1) };
	vq_desc(&rig.v)[head + 1] = (struct vring_desc){ answer, 1, VRING_DESC_F_WRITE, 0 };
	vq_avail(&rig.v, head);
	rig.next_desc += 2;
	return vq_at(&rig.v, answer);
}

static uint64_t take(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/*
 * The card hears of offloads that the driver switches off: packets must be segmented from then on.
 */
static void offloads_reach_the_card(void **state)
{
	static const uint8_t none[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0 };
	struct vho_net_caps caps;
	uint8_t *answer;

	(void)state;
	vho_net_caps(rig.net, &caps);
	assert_true(caps.csum && caps.tso4);
	answer = command(none, sizeof(none));
	vho_net_ctrl_poll(rig.net);
	assert_int_equal(*answer, VIRTIO_NET_OK);
	vho_net_caps(rig.net, &caps);
	assert_false(caps.csum || caps.tso4);
	assert_int_equal(changes, 1);
	vho_net_ctrl_poll(rig.net); // nothing new: nobody is told
	assert_int_equal(changes, 1);
	assert_int_equal(vq_signals(rig.v.call_fd), 1);
}

/* 5.1.6.4: GSO frames only of the kinds that were negotiated, each for itself. */
static void gso_kinds(void **state)
{
	static const unsigned kinds[] = { VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6 };
	struct vho_net_caps c;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		uint64_t on = i & 1 ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0;
		const unsigned kind = kinds[i / 4];

		on |= i & 2 ? BIT(kind) : 0;
		atomic_store(&rig.net->ctrl.guest_offloads, on);
		vho_net_caps(rig.net, &c);
		const bool got[] = { c.tso4, c.tso6, c.uso4, c.uso6 };

		assert_int_equal(c.csum, i & 1);
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(got[k], (i & 3) == 3 && kinds[k] == kind);
	}
}

/* A driver that posts receive buffers kicks nobody: each kick is an exit of its guest. */
static void receiveq_wants_no_kick(void **state)
{
	struct vho_dev *dev;
	struct rig r;

	(void)state;
	rig_open(&r, 0, VQ_SPLIT, false);
	dev = vho_net_dev(r.net);
	assert_int_equal(dev->type->queue_setup(dev, 0), 0);
	assert_int_equal(vq_used(&r.v)->flags, VRING_USED_F_NO_NOTIFY);
	rig_close(&r);
	rig_open(&r, 0, VQ_PACKED, false);
	dev = vho_net_dev(r.net);
	assert_int_equal(dev->type->queue_setup(dev, 0), 0);
	assert_int_equal(((const struct vring_packed_desc_event *)vq_at(&r.v, VQ_DEVICE))->flags,
		VRING_PACKED_EVENT_FLAG_DISABLE);
	rig_close(&r);
}

/* A driver full of commands gets its share of the control thread, then has to wait for its turn. */
static void commands_are_served_in_portions(void **state)
{
	static const uint8_t promisc[] = { VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1 };
	struct vho_dev_queue *dq = &vho_net_dev(rig.net)->queues[CTRL];
	uint8_t *answer[RIG_SIZE / 2];
	unsigned served = 0, turns = 0;

	(void)state;
	dq->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < RIG_SIZE / 2; i++)
			answer[i] = command(promisc, sizeof(promisc));
		vho_net_ctrl_poll(rig.net);
		turns++;
		while (take(dq->kick_fd)) {
			vho_net_ctrl_poll(rig.net);
			turns++;
		}
		for (unsigned i = 0; i < RIG_SIZE / 2; i++)
			served += *answer[i] == VIRTIO_NET_OK;
	}
	assert_int_equal(served, RIG_SIZE);
	assert_int_equal(turns, 4); // 64 commands use one portion up, so each round has a second
	close(dq->kick_fd);
	dq->kick_fd = -1;
}

/*
 * VHOST_USER_SEND_RARP: one frame, on its way even when the guest is silent, for its sender only.
 */
static void rarp(void **state)
{
	static const uint8_t first[6] = { 2, 0, 0, 0, 0, 7 }, second[6] = { 2, 0, 0, 0, 0, 8 };
	struct rte_mbuf *m[2];
	struct vho_dev *dev;
	const uint8_t *p;

	(void)state;
	rig_close(&rig);
	rig_open(&rig, 1, VQ_SPLIT, false);
	dev = vho_net_dev(rig.net);
	dev->queues[1].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(dev->type->send_rarp(dev, first), 0);
	assert_int_equal(take(dev->queues[1].kick_fd), 1); // wakes a worker that sleeps
	assert_int_equal(dev->type->send_rarp(dev, second), 0); // one is due: that one
	assert_int_equal(vho_net_rx(rig.net, 0, m, 2), 1);
	assert_int_equal(m[0]->pkt_len, 60);
	p = rte_pktmbuf_mtod(m[0], const uint8_t *);
	assert_memory_equal(p, "\xff\xff\xff\xff\xff\xff", 6);
	assert_memory_equal(p + 6, first, 6);
	assert_memory_equal(p + 12, "\x80\x35\x00\x01\x08\x00\x06\x04\x00\x03", 10);
	assert_memory_equal(p + 22, first, 6);
	assert_memory_equal(p + 32, first, 6);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(vho_net_rx(rig.net, 0, m, 2), 0);
	assert_int_equal(dev->type->send_rarp(dev, second), 0);
	dev->type->reset(dev); // the front-end has left, or the driver has
	assert_int_equal(vho_net_rx(rig.net, 0, m, 2), 0);
	close(dev->queues[1].kick_fd);
	dev->queues[1].kick_fd = -1;
}

static uint16_t config_status(void)
{
	uint8_t s[2];
	struct vho_dev *dev = vho_net_dev(rig.net);

	dev->type->config_read(dev, 6, s, sizeof(s));
	return (uint16_t)(s[0] | s[1] << 8);
}

/* Link down and up: configuration space, capabilities, and an announcement that is acknowledged. */
static void link_state(void **state)
{
	static const uint8_t ack[] = { VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK };
	struct vho_dev *dev = vho_net_dev(rig.net);
	struct vho_net_caps caps;
	uint8_t *answer;

	(void)state;
	assert_int_equal(dev->type->queue_setup(dev, 0), 0); // a receiveq is there
	assert_int_equal(config_status(), VIRTIO_NET_S_LINK_UP);
	vho_net_caps(rig.net, &caps);
	assert_true(caps.running);
	assert_int_equal(vho_net_link_set(rig.net, false), 0);
	assert_int_equal(changes, 1);
	assert_int_equal(config_status(), 0);
	vho_net_caps(rig.net, &caps);
	assert_false(caps.running);
	assert_int_equal(vho_net_link_set(rig.net, false), 0);
	assert_int_equal(changes, 1); // as it was
	assert_int_equal(vho_net_link_set(rig.net, true), 0);
	assert_int_equal(changes, 2);
	assert_int_equal(config_status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	answer = command(ack, sizeof(ack));
	vho_net_ctrl_poll(rig.net);
	assert_int_equal(*answer, VIRTIO_NET_OK);
	assert_int_equal(config_status(), VIRTIO_NET_S_LINK_UP);
	dev->type->queue_teardown(dev, 0);
}

static void mtu_reaches_the_card(void **state)
{
	struct vho_dev *dev = vho_net_dev(rig.net);

	(void)state;
	assert_int_equal(dev->type->set_mtu(dev, 67), -EINVAL);
	assert_int_equal(changes, 0);
	assert_int_equal(dev->type->set_mtu(dev, 1400), 0);
	assert_int_equal(changes, 1);
}

/* IO-09: every allocation of the constructor fails in turn. */
static void creation_survives_no_memory(void **state)
{
	struct vho_host host = { 0 };
	struct vho_net_conf conf = { .name = "t", .max_pairs = 4, .mtu = 1500, .pool = mbuf_pool };
	struct vho_net *net = NULL;
	int ret = -ENOMEM;
	int n;

	(void)state;
	for (n = 0; ret == -ENOMEM && n < 20; n++) {
		dpu_alloc_fail_after(n);
		ret = vho_net_create(&conf, &host, &net);
		dpu_alloc_fail_after(-1);
		assert_int_equal(net != NULL, ret == 0);
	}
	assert_int_equal(ret, 0);
	assert_true(n > 3); // three steps failed first
	vho_net_destroy(net);
	conf.max_pairs = 0;
	assert_int_equal(vho_net_create(&conf, &host, &net), -EINVAL);
	conf.max_pairs = VHO_NET_PAIRS_MAX + 1;
	assert_int_equal(vho_net_create(&conf, &host, &net), -EINVAL);
	conf.max_pairs = 1;
	conf.mtu = 67;
	assert_int_equal(vho_net_create(&conf, &host, &net), -EINVAL);
}

static void read_config(struct vho_net *net, struct virtio_net_config *c)
{
	struct vho_dev *dev = vho_net_dev(net);

	dev->type->config_read(dev, 0, c, sizeof(*c));
}

static void steer_ports(const struct vho_net *net, uint16_t *pair)
{
	struct rte_mbuf *m[16];

	for (uint16_t i = 0; i < 16; i++)
		m[i] = udp_packet(i);
	assert_true(vho_net_steer(net, m, 16, pair));
	rte_pktmbuf_free_bulk(m, 16);
}

/* The pair of each packet: by the driver's table, or where its flow went out last. */
static void steering(void **state)
{
	const uint64_t features = VQ_SPLIT | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ) |
				  BIT(VIRTIO_NET_F_RSS);
	struct vho_host host = { 0 };
	struct vho_net_conf conf = { .name = "t", .max_pairs = 4, .mtu = 1500, .pool = mbuf_pool };
	struct rte_mbuf *arp = udp_packet(0), *back = udp_packet(0);
	const struct vho_dev_type *type;
	struct virtio_net_config c;
	struct vho_net *net;
	struct vho_dev *dev;
	uint8_t cmd[64], *p;
	uint16_t pair[16];
	size_t len;

	(void)state;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	dev = vho_net_dev(net);
	type = dev->type;
	read_config(net, &c);
	assert_int_equal(c.rss_max_key_size, 40);
	assert_int_equal(c.rss_max_indirection_table_length, 128);
	assert_int_equal(c.supported_hash_types, 0x1ff);
	assert_int_equal(vho_dev_set_features(dev, features), 0);
	for (unsigned idx = 0; idx <= 8; idx++)
		assert_int_equal(type->queue_setup(dev, idx), 0);
	// One pair until the driver asks for more: nothing to steer
	rte_pktmbuf_mtod(arp, uint8_t *)[13] = 6;
	assert_false(vho_net_steer(net, &arp, 1, pair));
	vho_net_learn(net, 2, &back, 1);

	assert_int_equal(run(net, "\x04\x00\x04\x00", 4), VIRTIO_NET_OK);
	for (unsigned idx = 0; idx < 8; idx += 2)
		assert_int_equal(type->queue_setup(dev, idx), 0);
	steer_ports(net, pair);
	for (unsigned i = 1, same = 0; i < 16; i++) {
		same += pair[i] == pair[0];
		assert_true(pair[i] < 4);
		assert_true(same < 15);
	}
	assert_true(vho_net_steer(net, &arp, 1, pair));
	assert_int_equal(pair[0], VHO_NET_PAIR_ANY);
	// The other way round: 10.0.0.2:0 to 10.0.0.1:port
	p = rte_pktmbuf_mtod(back, uint8_t *);
	p[29] = 2;
	p[33] = 1;
	for (uint16_t i = 0; i < 16; i++) {
		p[37] = (uint8_t)i;
		vho_net_learn(net, i % 4, &back, 1);
	}
	steer_ports(net, pair);
	for (uint16_t i = 0; i < 16; i++)
		assert_int_equal(pair[i], i % 4);

	len = rss_command(cmd);
	assert_int_equal(run(net, cmd, len), VIRTIO_NET_OK);
	steer_ports(net, pair);
	for (uint16_t i = 0; i < 16; i++)
		assert_int_equal(pair[i], VHO_NET_PAIR_ONLY | i % 2); // table[0], table[1]
	assert_true(vho_net_steer(net, &arp, 1, pair));
	assert_int_equal(pair[0], VHO_NET_PAIR_ONLY | 3);
	// 5.1.6.5.5: the last command decides
	assert_int_equal(run(net, "\x04\x00\x04\x00", 4), VIRTIO_NET_OK);
	steer_ports(net, pair);
	assert_int_equal(pair[3], 3);
	assert_int_equal(run(net, cmd, len), VIRTIO_NET_OK);
	steer_ports(net, pair);
	assert_int_equal(pair[3], VHO_NET_PAIR_ONLY | 1);
	type->reset(dev);
	assert_null(vho_net_ctrl_hash(&net->ctrl));
	rte_pktmbuf_free(arp);
	rte_pktmbuf_free(back);
	vho_net_destroy(net);
}

/* VIRTIO 1.3, 5.1.3 and 5.1.4: speed, duplex, and what a link that is down has of them. */
static void speed_and_duplex(void **state)
{
	struct vho_host host = { .changed = count_change };
	struct vho_net_conf conf = { .name = "t",
		.max_pairs = 1,
		.mtu = 1500,
		.pool = mbuf_pool,
		.mac = { 2, 0, 0, 0, 0, 1 } };
	struct virtio_net_config c;
	struct vho_net *net;

	(void)state;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	assert_false(vho_net_dev(net)->features_offered & BIT(VIRTIO_NET_F_SPEED_DUPLEX));
	assert_false(vho_net_dev(net)->features_offered & BIT(VIRTIO_NET_F_STANDBY));
	read_config(net, &c);
	assert_int_equal(c.speed, UINT32_MAX);
	assert_int_equal(c.duplex, 0xff);
	vho_net_destroy(net);

	conf.speed_mbps = 25000;
	conf.half_duplex = true;
	conf.standby = true;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	assert_true(vho_net_dev(net)->features_offered & BIT(VIRTIO_NET_F_SPEED_DUPLEX));
	assert_true(vho_net_dev(net)->features_offered & BIT(VIRTIO_NET_F_STANDBY));
	read_config(net, &c);
	assert_int_equal(c.speed, 25000);
	assert_int_equal(c.duplex, 0);
	changes = 0;
	vho_net_link_set(net, false);
	assert_int_equal(changes, 1); // the driver is told to read again
	read_config(net, &c);
	assert_int_equal(c.speed, UINT32_MAX);
	assert_int_equal(c.duplex, 0xff);
	vho_net_link_set(net, true);
	read_config(net, &c);
	assert_int_equal(c.speed, 25000);
	vho_net_destroy(net);

	conf.half_duplex = false;
	conf.speed_mbps = INT32_MAX;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	read_config(net, &c);
	assert_int_equal(c.speed, INT32_MAX);
	assert_int_equal(c.duplex, 1);
	vho_net_destroy(net);
	conf.speed_mbps = UINT32_MAX;
	assert_int_equal(vho_net_create(&conf, &host, &net), -EINVAL);
}

/* 2.2: what needs a feature that is not offered is not offered either (5.1.3.1 has the list). */
static const struct need_case {
	const char *name;
	uint64_t off, gone;
} need_cases[] = {
	{ "without GUEST_CSUM", BIT(VIRTIO_NET_F_GUEST_CSUM),
		BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
			BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_USO4) |
			BIT(VIRTIO_NET_F_GUEST_USO6) },
	{ "without CSUM", BIT(VIRTIO_NET_F_CSUM),
		BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |
			BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_USO) },
	{ "without GUEST_TSO4", BIT(VIRTIO_NET_F_GUEST_TSO4), 0 },
	{ "without either GUEST_TSO", BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6),
		BIT(VIRTIO_NET_F_GUEST_ECN) },
	{ "without either HOST_TSO", BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6),
		BIT(VIRTIO_NET_F_HOST_ECN) },
	{ "without CTRL_VQ", BIT(VIRTIO_NET_F_CTRL_VQ),
		BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
			BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_RSS) |
			BIT(VIRTIO_NET_F_HASH_REPORT) | BIT(VIRTIO_NET_F_NOTF_COAL) |
			BIT(VIRTIO_NET_F_VQ_NOTF_COAL) },
};

static void needed_features(void **state)
{
	const struct need_case *t = *state;
	struct vho_host host = { 0 };
	struct vho_net_conf conf = { .name = "t", .max_pairs = 2, .mtu = 1500, .pool = mbuf_pool };
	struct vho_net *net;
	uint64_t all;

	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	all = vho_net_dev(net)->features_offered;
	assert_int_equal(t->gone & ~all, 0); // all of them are offered otherwise
	vho_net_destroy(net);
	conf.features_off = t->off;
	assert_int_equal(vho_net_create(&conf, &host, &net), 0);
	assert_true(vho_net_dev(net)->features_offered == (all & ~t->off & ~t->gone));
	vho_net_destroy(net);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(offloads_reach_the_card),
		T(gso_kinds),
		cmocka_unit_test(receiveq_wants_no_kick),
		T(commands_are_served_in_portions),
		T(rarp),
		T(link_state),
		T(mtu_reaches_the_card),
		cmocka_unit_test(creation_survives_no_memory),
		cmocka_unit_test(speed_and_duplex),
		cmocka_unit_test(steering),
	};
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(need_cases, needed_features, failed);
	failed += cmocka_run_group_tests_name("net life", tests, NULL, NULL);
	return failed;
}
