/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that are told apart by their ports, and the commands that say where they go. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "mbuf_env.h"
#include "net_priv.h"

/* A command of `len` bytes to a function, straight to where they are carried out. */
static inline uint8_t run(struct vho_net *net, const void *bytes, size_t len)
{
	uint8_t copy[512], ack = 0xee;
	struct iovec iov[2] = { { copy, len }, { &ack, 1 } };
	struct vho_chain c = { .iov = iov, .n_out = 1, .n_in = 1, .out_len = len, .in_len = 1 };

	memcpy(copy, bytes, len);
	vho_net_ctrl_handle(&net->ctrl, net->dev.features, &c);
	return ack;
}

/* UDP over IPv4 from port `port`, where the Microsoft key's hash counts. */
static inline struct rte_mbuf *udp_packet(uint16_t port)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(mbuf_pool);
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_append(m, 60) : NULL;

	if (!p)
		abort();
	memset(p, 0, 60);
	p[12] = 8;
	p[14] = 0x45;
	p[23] = 17;
	p[26] = p[30] = 10;
	p[29] = 1;
	p[33] = 2;
	p[34] = (uint8_t)(port >> 8);
	p[35] = (uint8_t)port;
	return m;
}

/*
 * 5.1.6.5.7: types UDPv4 (4), table of 4 entries, pair 3 for what is unclassified, 4 transmitqs, a
 * key whose only bit moves bit 0 of the source port to bit 31 - 31 of the hash.
 */
static inline size_t rss_command(uint8_t *cmd)
{
	static const uint8_t head[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, 4, 0, 0,
		0, 3, 0, 3, 0, 0, 0, 1, 0, 2, 0, 1, 0, 4, 0, 40 };

	memset(cmd, 0, sizeof(head) + 40);
	memcpy(cmd, head, sizeof(head));
	// Input bit 79 is the lowest of the source port: key bits 79 to 110 are added to the hash
	cmd[sizeof(head) + 110 / 8] = 0x80 >> 110 % 8;
	return sizeof(head) + 40;
}
