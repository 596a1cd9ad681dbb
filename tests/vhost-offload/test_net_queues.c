// SPDX-License-Identifier: Apache-2.0
/* Which queue is what, as a front-end starts and stops them: VIRTIO 1.3, 5.1.2. */
#include "test.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "fake_rig.h"
#include "mbuf_env.h"
#include "net_priv.h"

#define PAIRS 2
#define BASE                                                           \
	(1ull << VU_F_PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1 | \
		1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_CTRL_RX)

static struct fake_host host;
static struct fake_front front;
static struct vho_net *net;
static struct vho_vu *vu;

static void open_net(void)
{
	const struct vho_net_conf conf = {
		.name = "n", .max_pairs = PAIRS, .mtu = 1500, .pool = mbuf_pool
	};
	uint64_t offered;
	int pair[2];

	fake_host_init(&host);
	front_init(&front, &host);
	assert_int_equal(vho_net_create(&conf, &host.host, &net), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	front.fd = pair[0];
	assert_int_equal(vho_vu_adopt(vho_net_dev(net), pair[1], &host.host, &vu), 0);
	offered = front_get(&front, VU_GET_PROTOCOL_FEATURES);
	assert_int_equal(front_call_u64(&front, VU_SET_PROTOCOL_FEATURES,
				 offered & ~(1ull << VU_PF_INBAND_NOTIFICATIONS)),
		0);
}

static void start(unsigned idx)
{
	int kick = rig_eventfd();

	assert_int_equal(front_call_state(&front, VU_SET_VRING_NUM, idx, 64), 0);
	assert_int_equal(front_call_state(&front, VU_SET_VRING_BASE, idx, 0), 0);
	assert_int_equal(front_ring_addr(&front, idx), 0);
	assert_int_equal(front_call_fd(&front, VU_SET_VRING_KICK, idx, kick), 0);
	assert_int_equal(front_call_state(&front, VU_SET_VRING_ENABLE, idx, 1), 0);
	close(kick);
}

static void stop(unsigned idx)
{
	struct vu_vring_state v = { .index = idx };
	struct vu_msg m;

	front_send(&front, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_int_equal(front_recv(&front, &m, NULL), sizeof(v));
}

/*
 * The control queue stands behind the pairs that the driver knows of. Wherever it is, its kick is
 * watched once, no worker gets it, and nothing is left when it stops: the next session's kick may
 * have the same number.
 */
static const struct place {
	const char *name;
	uint64_t features;
	unsigned control;
} places[] = {
	{ "neither MQ nor RSS: in the place of receiveq 1", BASE, 2 },
	{ "MQ: behind all pairs", BASE | 1ull << VIRTIO_NET_F_MQ, 2 * PAIRS },
	{ "RSS: behind all pairs", BASE | 1ull << VIRTIO_NET_F_RSS, 2 * PAIRS },
};

static void control_queue(void **state)
{
	const struct place *t = *state;
	unsigned before;

	open_net();
	assert_int_equal(front_call_u64(&front, VU_SET_FEATURES, t->features), 0);
	assert_int_equal(front_mem_table(&front), 0);
	start(0);
	before = fake_host_armed(&host);
	for (unsigned round = 0; round < 3; round++) {
		start(t->control);
		assert_int_equal(fake_host_armed(&host), before + 1);
		assert_false(host.running[t->control]);
		assert_true(net->ctrl_seen);
		stop(t->control);
		assert_int_equal(fake_host_armed(&host), before);
	}
	assert_true(host.running[0]);
	vho_vu_destroy(vu);
	vho_net_destroy(net);
	front_fini(&front);
}

int main(void)
{
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(places, control_queue, failed);
	return failed;
}
