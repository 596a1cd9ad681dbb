/* SPDX-License-Identifier: Apache-2.0 */
/* A real NIC or disk without traffic, its vhost-user session and the front-end at the other end. */
#pragma once

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_rig.h"
#include "mbuf_env.h"
#include "net_priv.h"
#include "test.h"
#include "vho_blk.h"

struct side {
	struct fake_host h;
	struct fake_front f;
	struct vho_net *net; // one of the two
	struct vho_blk *blk;
	struct vho_dev *dev;
	struct vho_vu *vu;
};

static inline void side_limits(void *store, struct vho_blk_limits *out)
{
	(void)store;
	*out = (struct vho_blk_limits){ .size = 1 << 20, .block_size = 512, .flush = true };
}

static inline void side_connect(struct side *s)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s->f.fd = pair[0];
	assert_int_equal(vho_vu_adopt(s->dev, pair[1], &s->h.host, &s->vu), 0);
}

/* The front-end dies; the next one connects. */
static inline void side_reconnect(struct side *s)
{
	close(s->f.fd);
	fake_host_run(&s->h);
	assert_false(s->dev->connected);
	vho_vu_destroy(s->vu);
	side_connect(s);
}

/* `n` is queue pairs of a NIC, queues of a disk. The session has said nothing yet. */
static inline void side_open(struct side *s, enum vho_dev_kind kind, uint16_t n)
{
	static const struct vho_blk_store_ops store = { .limits = side_limits };
	const struct vho_net_conf net = {
		.name = "n",
		.max_pairs = n,
		.mtu = 1500,
		.pool = mbuf_pool,
		.mac = { 2, 0, 0, 0, 0, 1 },
	};
	const struct vho_blk_conf blk = {
		.name = "b", .n_queues = n, .seg_max = 16, .depth = 16, .ops = &store, .serial = "s"
	};

	memset(s, 0, sizeof(*s));
	fake_host_init(&s->h);
	front_init(&s->f, &s->h);
	if (kind == VHO_DEV_NET)
		assert_int_equal(vho_net_create(&net, &s->h.host, &s->net), 0);
	else
		assert_int_equal(vho_blk_create(&blk, &s->h.host, &s->blk), 0);
	s->dev = s->net ? vho_net_dev(s->net) : vho_blk_dev(s->blk);
	side_connect(s);
}

/* Every protocol feature. */
static inline void side_talk(struct side *s)
{
	assert_int_equal(front_call_u64(&s->f, VU_SET_PROTOCOL_FEATURES,
				 front_get(&s->f, VU_GET_PROTOCOL_FEATURES)),
		0);
}

static inline void side_close(struct side *s)
{
	vho_vu_destroy(s->vu);
	vho_net_destroy(s->net);
	vho_blk_destroy(s->blk);
	front_fini(&s->f);
}
