/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the front-end share: a message, how far a card and a ring are. */
#pragma once

#include <linux/virtio_config.h>

#include "vhost_frontend.h"

#define BIT(n) (1ull << (n))
#define TRANSPORT (BIT(VU_F_LOG_ALL) | BIT(VU_F_PROTOCOL_FEATURES))
/* Protocol features, which our card has all; one without them is unfit. */
#define PF_NEEDED                                                                            \
	(BIT(VU_PF_REPLY_ACK) | BIT(VU_PF_CONFIG) | BIT(VU_PF_MQ) | BIT(VU_PF_BACKEND_REQ) | \
		BIT(VU_PF_STATUS) | BIT(VU_PF_INFLIGHT_SHMFD) | BIT(VU_PF_RESET_DEVICE) |    \
		BIT(VU_PF_INBAND_NOTIFICATIONS))
#define STATUS_FEATURES \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define PACKED_BASE 0x80008000u // both positions 0, both wrap counters 1

/* How far a connection is: what is asked next. */
enum stage { DOWN, OWNER, FEATURES, PF_GET, PF_SET, QUEUES, CHANNEL, CONFIG, UP };

/* How far a ring is. From RUNS on the card uses it. */
enum step { NONE, NUM, BASE, ADDR, ERR, CALL, RUNS, ENABLED };

struct msg {
	struct vu_header h;
	union {
		uint64_t u64;
		struct vu_vring_state state;
		struct vu_vring_addr addr;
		struct vu_table table;
		struct vu_config config;
		struct vu_inflight inflight;
		uint8_t bytes[VU_PAYLOAD_MAX];
	} p;
	int fds[VU_FDS_MAX]; // borrowed
	unsigned n_fds;
	bool waits; // has an answer
	int ring; // that it is about; -1: none
	int close_fd; // once it is sent; -1: none
};

static inline bool packed(const struct hv_vhost *v)
{
	return v->features & BIT(VIRTIO_F_RING_PACKED);
}

/* ---- vhost_wire.c ---- */

/* 1: a message is whole; 0: not yet; -EPROTO, -ECONNRESET, or another errno. Never waits. */
int hv_vu_receive(int fd, struct hv_vhost_rx *rx);
/* Ready for the next one; descriptors that nobody took are closed. */
void hv_vu_clear(struct hv_vhost_rx *rx);
/* 0, -EPROTO (there is no room for all of it), or an errno. Never waits. */
int hv_vu_send(int fd, const struct msg *m);

/* ---- vhost_next.c ---- */

/*
 * The message that brings the card nearer to what the driver wants. The lock is held. False: it has
 * all that it needs, or there is none.
 */
bool hv_vhost_next(struct hv_vhost *v, struct msg *m);
/* Nothing is in use any more, the driver waits for that: begin anew. The lock is held. */
void hv_vhost_end_reset(struct hv_vhost *v);
/* epoll's, for the main thread. 0 or an errno. */
int hv_vhost_watch(struct hv_vhost *v, int fd);
