/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net driver: frames with their virtio-net headers over any number of queue pairs, and the
 * control queue. One thread per drv_net. Spec: VIRTIO 1.3, section 5.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#include "drv_vu.h"

#define DRV_NET_PAIRS_MAX 8
#define DRV_NET_HDR sizeof(struct virtio_net_hdr_v1)

#define DRV_NET_FEATURES                                                           \
	(DRV_BIT(VIRTIO_F_VERSION_1) | DRV_BIT(VIRTIO_RING_F_EVENT_IDX) |          \
		DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC) | DRV_BIT(VIRTIO_NET_F_MAC) | \
		DRV_BIT(VIRTIO_NET_F_MTU) | DRV_BIT(VIRTIO_NET_F_STATUS))
#define DRV_NET_CSUM (DRV_BIT(VIRTIO_NET_F_CSUM) | DRV_BIT(VIRTIO_NET_F_GUEST_CSUM))
#define DRV_NET_GSO                                                          \
	(DRV_BIT(VIRTIO_NET_F_HOST_TSO4) | DRV_BIT(VIRTIO_NET_F_HOST_TSO6) | \
		DRV_BIT(VIRTIO_NET_F_GUEST_TSO4) | DRV_BIT(VIRTIO_NET_F_GUEST_TSO6))

struct drv_net_conf {
	const char *path;
	bool listen; // the back-end connects to us
	bool packed; // -ENOTSUP when the back-end has no packed ring
	bool mrg, in_order, ctrl; // VIRTIO_NET_F_MRG_RXBUF, IN_ORDER, CTRL_VQ
	uint64_t more; // further features, as DRV_NET_CSUM
	uint64_t features_off, pf_off;
	unsigned pairs; // 0: 1
	uint32_t ring_size; // 0: 256
	uint32_t buf_len; // bytes of one buffer with its header; 0: 2048
	unsigned rx_post; // receive buffers to post; 0: all
};

struct drv_net_buf {
	uint8_t *p;
	uint64_t gpa;
	uint16_t idx;
};

struct drv_net_queue {
	struct drv_ring ring;
	struct drv_net_buf *bufs; // owned; ring size
	uint16_t *spare; // owned; free transmit buffers
	uint32_t n_spare;
};

struct drv_net {
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_net_queue rx[DRV_NET_PAIRS_MAX], tx[DRV_NET_PAIRS_MAX];
	struct drv_ring ctrl;
	uint8_t *ctrl_buf; // guest memory
	bool has_ctrl, mrg;
	unsigned pairs, max_pairs, ctrl_idx;
	uint32_t buf_len, hdr_len;
	struct virtio_net_hdr_v1_hash last; // header of the frame received last; zeros past hdr_len
	uint64_t bad_rx; // completions that make no sense
};

int drv_net_open(struct drv_net *n, const struct drv_net_conf *conf);
void drv_net_close(struct drv_net *n);

/*
 * Queue one frame; hdr NULL: no offload. The caller kicks with drv_net_flush(). 0, -ENOSPC when the
 * device has not yet taken what came before, -EMSGSIZE.
 */
int drv_net_send(struct drv_net *n, unsigned pair, const struct virtio_net_hdr_v1 *hdr,
	const void *frame, uint32_t len);
void drv_net_flush(struct drv_net *n, unsigned pair);

/*
 * One received frame, put together from its buffers; they are posted again. Returns its length, 0
 * when there is none, -EMSGSIZE (cap too small; the frame is gone) or -EPROTO (counted in bad_rx).
 */
int drv_net_recv(
	struct drv_net *n, unsigned pair, struct virtio_net_hdr_v1 *hdr, void *frame, uint32_t cap);
/* Sleep until the pair's receive ring has something, at most timeout_ms. */
void drv_net_wait(struct drv_net *n, unsigned pair, int timeout_ms);

/* One control command; the ack byte (VIRTIO_NET_OK, VIRTIO_NET_ERR), or -ETIMEDOUT, -ENOTSUP. */
int drv_net_ctrl(struct drv_net *n, uint8_t cls, uint8_t cmd, const void *data, uint32_t len,
	int timeout_ms);

/* A test frame: a local type, sequence number and a pattern. Checked by drv_frame_ok(). */
void drv_frame_make(
	uint8_t *to, const uint8_t dst[6], const uint8_t src[6], uint64_t seq, uint32_t len);
bool drv_frame_ok(const uint8_t *at, uint32_t len, uint64_t *seq);
