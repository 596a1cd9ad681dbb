// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "test.h"

#include "mbuf_env.h"
#include "net_hdr.h"

#define NC VIRTIO_NET_HDR_F_NEEDS_CSUM
#define T4 VIRTIO_NET_HDR_GSO_TCPV4
#define T6 VIRTIO_NET_HDR_GSO_TCPV6
#define U4 VIRTIO_NET_HDR_GSO_UDP_L4
#define ALL (~0ULL)
#define TCPF RTE_MBUF_F_TX_TCP_CKSUM
#define UDPF RTE_MBUF_F_TX_UDP_CKSUM
#define V4 RTE_MBUF_F_TX_IPV4
#define V6 RTE_MBUF_F_TX_IPV6

enum kind { TCP4, UDP4, TCP6, UDP6, TCP6_EXT, FRAG4, VLAN_TCP4, QINQ_UDP6, ARP };

/* A frame of `payload` bytes behind its headers; returns where L4 starts. */
static uint32_t build(uint8_t *p, enum kind k, uint32_t payload, uint32_t *len)
{
	bool tcp = k == TCP4 || k == TCP6 || k == TCP6_EXT || k == FRAG4 || k == VLAN_TCP4;
	bool v6 = k == TCP6 || k == UDP6 || k == TCP6_EXT || k == QINQ_UDP6;
	uint32_t at = 12, l4 = tcp ? 20 : 8, ip_len;

	memset(p, 0, 128);
	memset(p, 2, 12);
	if (k == QINQ_UDP6) {
		memcpy(p + at, (uint8_t[]){ 0x88, 0xa8, 0, 5 }, 4);
		at += 4;
	}
	if (k == QINQ_UDP6 || k == VLAN_TCP4) {
		memcpy(p + at, (uint8_t[]){ 0x81, 0x00, 0, 7 }, 4);
		at += 4;
	}
	if (k == ARP) {
		memcpy(p + at, (uint8_t[]){ 0x08, 0x06 }, 2);
		*len = 14 + 28 + payload;
		return 14;
	}
	memcpy(p + at, v6 ? (uint8_t[]){ 0x86, 0xdd } : (uint8_t[]){ 8, 0 }, 2);
	at += 2;
	if (v6) {
		ip_len = (k == TCP6_EXT ? 16 : 0) + l4 + payload;
		p[at] = 0x60;
		p[at + 4] = (uint8_t)(ip_len >> 8);
		p[at + 5] = (uint8_t)ip_len;
		p[at + 6] = k == TCP6_EXT ? 0 : tcp ? 6 : 17;
		at += 40;
		if (k == TCP6_EXT) {
			p[at] = 60; // hop by hop, then destination options
			p[at + 8] = 6;
			at += 16;
		}
	} else {
		ip_len = 20 + l4 + payload;
		p[at] = 0x45;
		p[at + 2] = (uint8_t)(ip_len >> 8);
		p[at + 3] = (uint8_t)ip_len;
		p[at + 6] = k == FRAG4 ? 0x20 : 0;
		p[at + 9] = tcp ? 6 : 17;
		at += 20;
	}
	if (tcp)
		p[at + 12] = 0x50;
	for (uint32_t i = 0; i < payload; i++)
		p[at + l4 + i] = (uint8_t)(i * 7 + 1);
	*len = at + l4 + payload;
	return at;
}

static const struct hdr_case {
	const char *name;
	enum kind kind;
	uint32_t payload;
	vho_net_hdr h; // csum_start 0: that of the frame's own L4 header
	uint64_t features;
	int ret;
	uint64_t flags; // expected in the mbuf
	bool completed; // checksum written at once
} rows[] = {
	{ "nothing asked", TCP4, 10, { 0 }, ALL, 0, 0, false },
	{ "TCP over IPv4", TCP4, 10, { .flags = NC, .csum_offset = 16 }, ALL, 0, TCPF | V4, false },
	{ "UDP over IPv4", UDP4, 10, { .flags = NC, .csum_offset = 6 }, ALL, 0, UDPF | V4, false },
	{ "TCP over IPv6", TCP6, 10, { .flags = NC, .csum_offset = 16 }, ALL, 0, TCPF | V6, false },
	{ "extension headers", TCP6_EXT, 10, { .flags = NC, .csum_offset = 16 }, ALL, 0, TCPF | V6,
		false },
	{ "one VLAN tag", VLAN_TCP4, 9, { .flags = NC, .csum_offset = 16 }, ALL, 0, TCPF | V4,
		false },
	{ "two VLAN tags", QINQ_UDP6, 9, { .flags = NC, .csum_offset = 6 }, ALL, 0, UDPF | V6,
		false },
	{ "wrong offset: completed", TCP4, 11, { .flags = NC, .csum_offset = 6 }, ALL, 0, 0, true },
	{ "fragment: completed", FRAG4, 11, { .flags = NC, .csum_offset = 16 }, ALL, 0, 0, true },
	{ "neither TCP nor UDP: completed", ARP, 9, { .flags = NC, .csum_offset = 4 }, ALL, 0, 0,
		true },
	{ "start elsewhere: completed", UDP4, 30,
		{ .flags = NC, .csum_start = 50, .csum_offset = 2 }, ALL, 0, 0, true },
	{ "start past the end", TCP4, 10, { .flags = NC, .csum_start = 1000, .csum_offset = 2 },
		ALL, -EINVAL, 0, false },
	{ "offset past the end", TCP4, 10, { .flags = NC, .csum_offset = 0xfffe }, ALL, -EINVAL, 0,
		false },
	{ "VN-03 gso_size 0", TCP4, 3000, { NC, T4, .gso_size = 0, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "VN-04 gso_size 1, 3000 bytes", TCP4, 3000, { NC, T4, .gso_size = 1, .csum_offset = 16 },
		ALL, -EINVAL, 0, false },
	{ "VN-04 gso_size 1, within the bound", TCP4, VHO_NET_GSO_SEGS_MAX,
		{ NC, T4, .gso_size = 1, .csum_offset = 16 }, ALL, 0,
		TCPF | V4 | RTE_MBUF_F_TX_TCP_SEG, false },
	{ "VN-04 one segment over the bound", TCP4, VHO_NET_GSO_SEGS_MAX + 1,
		{ NC, T4, .gso_size = 1, .csum_offset = 16 }, ALL, -EINVAL, 0, false },
	{ "TSO over IPv4", TCP4, 3000, { NC, T4, .gso_size = 1448, .csum_offset = 16 }, ALL, 0,
		TCPF | V4 | RTE_MBUF_F_TX_TCP_SEG, false },
	{ "TSO with ECN", TCP4, 3000, { NC, T4 | 0x80, .gso_size = 1448, .csum_offset = 16 }, ALL,
		0, TCPF | V4 | RTE_MBUF_F_TX_TCP_SEG, false },
	{ "TSO over IPv6", TCP6, 3000, { NC, T6, .gso_size = 1428, .csum_offset = 16 }, ALL, 0,
		TCPF | V6 | RTE_MBUF_F_TX_TCP_SEG, false },
	{ "USO", UDP6, 3000, { NC, U4, .gso_size = 1200, .csum_offset = 6 }, ALL, 0,
		UDPF | V6 | RTE_MBUF_F_TX_UDP_SEG, false },
	{ "one segment is no GSO frame", TCP4, 100, { NC, T4, .gso_size = 1448, .csum_offset = 16 },
		ALL, 0, TCPF | V4, false },
	{ "GSO without checksum", TCP4, 3000, { 0, T4, .gso_size = 1448, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "TSO4 of an IPv6 frame", TCP6, 3000, { NC, T4, .gso_size = 1448, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "TSO of a fragment", FRAG4, 3000, { NC, T4, .gso_size = 1448, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "TSO not negotiated", TCP4, 3000, { NC, T4, .gso_size = 1448, .csum_offset = 16 }, 0,
		-EINVAL, 0, false },
	{ "unknown GSO type", TCP4, 3000, { NC, 9, .gso_size = 1448, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "VN-10 flags 0xf8", TCP4, 10, { .flags = 0xf8 }, ALL, 0, 0, false },
	{ "VN-10 flags 0xf8 and a request", TCP4, 10, { .flags = 0xf8 | NC, .csum_offset = 16 },
		ALL, 0, TCPF | V4, false },
	{ "VN-11 DATA_VALID is ignored", TCP4, 10, { .flags = VIRTIO_NET_HDR_F_DATA_VALID }, ALL, 0,
		0, false },
	{ "VN-11 DATA_VALID and a request", TCP4, 10,
		{ .flags = VIRTIO_NET_HDR_F_DATA_VALID | NC, .csum_offset = 16 }, ALL, 0, TCPF | V4,
		false },
	{ "VN-11 DATA_VALID is no checksum request for GSO", TCP4, 3000,
		{ VIRTIO_NET_HDR_F_DATA_VALID, T4, .gso_size = 1448, .csum_offset = 16 }, ALL,
		-EINVAL, 0, false },
	{ "VN-11 tunnel GSO bits", TCP4, 3000,
		{ NC, T4 | 0x60, .gso_size = 1448, .csum_offset = 16 }, ALL, -EINVAL, 0, false },
};

/* RFC 1071 the slow way. */
static uint16_t sum_of(const uint8_t *p, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static struct rte_mbuf *chained(const uint8_t *p, uint32_t len, uint32_t first, uint32_t step)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(mbuf_pool), *m = head;
	uint32_t at = len < first ? len : first;

	assert_non_null(head);
	memcpy(rte_pktmbuf_append(head, (uint16_t)at), p, at);
	while (at < len) {
		uint32_t part = len - at < step ? len - at : step;

		m->next = rte_pktmbuf_alloc(mbuf_pool);
		m = m->next;
		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)part), p + at, part);
		head->pkt_len += part;
		head->nb_segs++;
		at += part;
	}
	return head;
}

static void header(void **state)
{
	const struct hdr_case *t = *state;
	static uint8_t frame[70000], after[70000];
	uint32_t len, l4 = build(frame, t->kind, t->payload, &len), start;
	// A completed checksum must come out the same however the frame is cut: odd cuts too.
	uint32_t firsts[] = { 1024, 200, 101 };

	for (unsigned i = 0; i < 3; i++) {
		struct rte_mbuf *m = chained(frame, len, firsts[i], i == 2 ? 333 : 1000);
		vho_net_hdr h = t->h;

		if (!h.csum_start)
			h.csum_start = (uint16_t)l4;
		start = h.csum_start;
		assert_int_equal(vho_net_hdr_apply(&h, t->features, m), t->ret);
		assert_int_equal(m->ol_flags, t->flags);
		for (uint32_t at = 0; at < len; at++)
			after[at] = *(const uint8_t *)rte_pktmbuf_read(m, at, 1, &after[at]);
		if (t->flags) {
			assert_int_equal(m->l2_len + m->l3_len, l4);
			assert_int_equal(m->l4_len,
				t->kind == UDP4 || t->kind == UDP6 || t->kind == QINQ_UDP6 ? 8
											   : 20);
		}
		if (t->flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG))
			assert_int_equal(m->tso_segsz, h.gso_size);
		if (t->completed) {
			// With the value that the field started from, everything sums to nothing.
			uint32_t sum = sum_of(after + start, len - start) +
				       sum_of(frame + start + h.csum_offset, 2);

			assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
		} else {
			assert_memory_equal(after, frame, len);
		}
		rte_pktmbuf_free(m);
	}
}

static const struct make_case {
	const char *name;
	uint64_t flags;
	uint16_t segsz;
	uint64_t offloads;
	int ret;
	uint8_t h_flags, gso_type;
	uint16_t gso_size, hdr_len, csum_start, csum_offset;
} makes[] = {
	{ "plain", 0, 0, ALL, 0, 0, 0, 0, 0, 0, 0 },
	{ "partial TCP checksum", TCPF | V4, 0, ALL, 0, NC, 0, 0, 0, 34, 16 },
	{ "partial UDP checksum", UDPF | V6, 0, ALL, 0, NC, 0, 0, 0, 34, 6 },
	{ "TSO4", TCPF | V4 | RTE_MBUF_F_TX_TCP_SEG, 1448, ALL, 0, NC, T4, 1448, 54, 34, 16 },
	{ "TSO6", TCPF | V6 | RTE_MBUF_F_TX_TCP_SEG, 1448, ALL, 0, NC, T6, 1448, 54, 34, 16 },
	{ "USO", UDPF | V4 | RTE_MBUF_F_TX_UDP_SEG, 1000, ALL, 0, NC, U4, 1000, 54, 34, 6 },
	{ "USO over IPv6", UDPF | V6 | RTE_MBUF_F_TX_UDP_SEG, 1000, ALL, 0, NC, U4, 1000, 54, 34,
		6 },
	{ "USO of the other IP than the guest takes", UDPF | V4 | RTE_MBUF_F_TX_UDP_SEG, 1000,
		1ULL << VIRTIO_NET_F_GUEST_CSUM | 1ULL << VIRTIO_NET_F_GUEST_USO6, -ENOTSUP, 0, 0,
		0, 0, 0, 0 },
	{ "TSO that the guest does not take", TCPF | V4 | RTE_MBUF_F_TX_TCP_SEG, 1448,
		1ULL << VIRTIO_NET_F_GUEST_CSUM, -ENOTSUP, 0, 0, 0, 0, 0, 0 },
	{ "checksum verified", RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0, ALL, 0, VIRTIO_NET_HDR_F_DATA_VALID,
		0, 0, 0, 0, 0 },
	{ "checksum verified, guest did not ask", RTE_MBUF_F_RX_L4_CKSUM_GOOD, 0, 0, 0, 0, 0, 0, 0,
		0, 0 },
	{ "partial checksum completed for the guest", TCPF | V4, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
};

static void make(void **state)
{
	const struct make_case *t = *state;
	uint8_t frame[256];
	uint32_t len;
	struct rte_mbuf *m;
	vho_net_hdr h;

	build(frame, TCP4, 100, &len);
	m = chained(frame, len, 1024, 1024);
	m->ol_flags = t->flags;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 20;
	m->tso_segsz = t->segsz;
	assert_int_equal(vho_net_hdr_plain(m), t->flags == 0);
	assert_int_equal(vho_net_hdr_make(m, t->offloads, &h), t->ret);
	if (!t->ret) {
		assert_int_equal(h.num_buffers, 1);
		assert_int_equal(h.flags, t->h_flags);
		assert_int_equal(h.gso_type, t->gso_type);
		assert_int_equal(h.gso_size, t->gso_size);
		assert_int_equal(h.hdr_len, t->hdr_len);
		assert_int_equal(h.csum_start, t->csum_start);
		assert_int_equal(h.csum_offset, t->csum_offset);
	}
	if (t->flags & TCPF && !t->offloads)
		assert_int_equal(
			sum_of(rte_pktmbuf_mtod_offset(m, uint8_t *, 34), len - 34), 0xffff);
	rte_pktmbuf_free(m);
}

int main(void)
{
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(rows, header, failed);
	RUN_ROWS(makes, make, failed);
	return failed != 0;
}
