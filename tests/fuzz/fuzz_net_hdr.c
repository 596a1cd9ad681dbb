// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: what a guest's virtio-net header does to its frame, and the header that goes with it
 * to another guest.
 *
 * Input: features' low byte, where the frame is cut in two, offloads of the other guest, the
 * header, the frame. Frames stand in memory of their own size, so that a read beyond them is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "mbuf_env.h"
#include "net_hdr.h"

#define CONF 4U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void no_free(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
}

/* An mbuf whose data is exactly those bytes. */
static struct rte_mbuf *exactly(uint8_t *bytes, uint16_t n, struct rte_mbuf_ext_shared_info *info)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(mbuf_pool);

	if (!m)
		abort();
	info->free_cb = no_free;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, bytes, 0, n, info);
	m->data_len = n;
	m->pkt_len = n;
	return m;
}

/* What workers and other ports rely on. */
static void check_request(const struct rte_mbuf *m)
{
	uint32_t headers = (uint32_t)m->l2_len + m->l3_len;
	bool tcp_seg = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	bool udp_seg = m->ol_flags & RTE_MBUF_F_TX_UDP_SEG;

	if (m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)) {
		if (headers + m->l4_len > m->data_len || m->l2_len < 14 || m->l4_len < 8)
			abort();
		if (!(m->ol_flags & (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6)))
			abort();
	}
	if (tcp_seg || udp_seg) {
		uint32_t payload = m->pkt_len - headers - m->l4_len;

		if (m->tso_segsz == 0 || payload == 0 ||
			(payload + m->tso_segsz - 1) / m->tso_segsz > VHO_NET_GSO_SEGS_MAX + 1)
			abort();
	}
}

static void check_header(const struct rte_mbuf *m, const vho_net_hdr *h)
{
	if (h->num_buffers != 1)
		abort();
	if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
		(uint32_t)h->csum_start + h->csum_offset + 2 > m->pkt_len)
		abort();
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE && h->gso_size == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const unsigned bits[8] = { VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_CSUM,
		VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4 };
	struct rte_mbuf_ext_shared_info info[2];
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1, offloads = 0;
	struct rte_mbuf *m, *tail = NULL;
	uint8_t *frame, *rest = NULL;
	vho_net_hdr h;
	size_t n, cut;

	if (!mbuf_pool && mbuf_env_start(NULL))
		abort();
	if (len < CONF + sizeof(h) + VHO_NET_FRAME_MIN || len > 8000)
		return 0;
	for (unsigned i = 0; i < 8; i++) {
		features |= (uint64_t)(data[0] >> i & 1) << bits[i];
		offloads |= (uint64_t)(data[1] >> i & 1) << bits[i];
	}
	memcpy(&h, data + CONF, sizeof(h));
	n = len - CONF - sizeof(h);
	cut = data[2] ? (data[2] | (size_t)data[3] << 8) % n : n;
	if (cut < VHO_NET_FRAME_MIN)
		cut = VHO_NET_FRAME_MIN;
	frame = malloc(cut);
	rest = malloc(n - cut + 1);
	if (!frame || !rest)
		abort();
	memcpy(frame, data + CONF + sizeof(h), cut);
	m = exactly(frame, (uint16_t)cut, &info[0]);
	if (n > cut) {
		memcpy(rest, data + CONF + sizeof(h) + cut, n - cut);
		tail = exactly(rest, (uint16_t)(n - cut), &info[1]);
		if (rte_pktmbuf_chain(m, tail))
			abort();
	}
	if (vho_net_hdr_apply(&h, features, m) == 0) {
		if (m->pkt_len != n)
			abort();
		check_request(m);
		if (vho_net_hdr_make(m, offloads, &h) == 0)
			check_header(m, &h);
	}
	rte_pktmbuf_free(m);
	free(frame);
	free(rest);
	return 0;
}
