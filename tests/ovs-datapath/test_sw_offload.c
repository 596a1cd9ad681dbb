// SPDX-License-Identifier: Apache-2.0
/* Segments put together again must be the frame that was cut; every checksum must be right. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "fake_port.h"
#include "sw_offload.h"

static struct rte_mempool *pool;

static const struct row {
	const char *name;
	bool v6, tcp;
	uint16_t l2, l3, l4; // header lengths
	uint32_t payload;
	uint16_t mss;
	bool clone; // bytes are shared
	uint16_t chunk; // bytes in each segment of the source; 0: contiguous
} rows[] = {
	{ "tcp4", false, true, 14, 20, 20, 1000, 300, false, 0 },
	{ "tcp4 with options and tag", false, true, 18, 24, 32, 5000, 1400, false, 0 },
	{ "tcp6", true, true, 14, 40, 20, 4321, 1000, false, 0 },
	{ "tcp6 scattered", true, true, 14, 40, 32, 9000, 1400, false, 700 },
	{ "tcp4 headers scattered", false, true, 14, 20, 20, 2000, 500, false, 16 },
	{ "udp4", false, false, 14, 20, 8, 3000, 1000, false, 0 },
	{ "udp6 shared", true, false, 14, 40, 8, 3000, 999, true, 0 },
	{ "one byte each", false, true, 14, 20, 20, 33, 1, false, 0 },
	{ "less than one", false, true, 14, 20, 20, 7, 1400, false, 0 },
	{ "64 KiB", false, true, 14, 20, 20, 65000, 1460, false, 1500 },
};

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* A frame as the mbuf contract has it; returns its length. */
static uint32_t build(const struct row *t, uint8_t *f)
{
	uint32_t hdr = (uint32_t)t->l2 + t->l3 + t->l4, n = hdr + t->payload;
	uint8_t *ip = f + t->l2, *l4 = ip + t->l3;

	for (uint32_t i = 0; i < n; i++)
		f[i] = (uint8_t)(i * 7 + (i >> 8));
	put16(f + t->l2 - 2, t->v6 ? 0x86dd : 0x800);
	if (t->v6) {
		ip[0] = 0x60;
		put16(ip + 4, n - t->l2 - 40);
		ip[6] = t->tcp ? 6 : 17;
	} else {
		ip[0] = (uint8_t)(0x40 | t->l3 / 4);
		put16(ip + 2, n - t->l2);
		put16(ip + 4, 0xfffe);
		put16(ip + 6, 0x4000);
		ip[9] = t->tcp ? 6 : 17;
	}
	if (t->tcp) {
		l4[12] = (uint8_t)(t->l4 / 4 << 4);
		l4[13] = 0x80 | 0x18 | 0x01; // CWR, ACK, PSH, FIN
		memset(l4 + 4, 0xff, 4); // the sequence number wraps
	} else {
		put16(l4 + 4, n - t->l2 - t->l3);
	}
	return n;
}

static struct rte_mbuf *mbuf_of(const struct row *t, const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *head = NULL;

	for (uint32_t at = 0; at < n;) {
		uint32_t len = RTE_MIN(n - at, t->chunk ? t->chunk : 2048u);
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		if (!m)
			abort();
		m->data_off = 0;
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), f + at, len);
		if (head)
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		else
			head = m;
		at += len;
	}
	if (!head)
		abort();
	head->l2_len = t->l2;
	head->l3_len = t->l3;
	head->l4_len = t->l4;
	head->tso_segsz = t->mss;
	head->ol_flags = (t->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
			 (t->tcp ? RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM
				 : RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_UDP_CKSUM);
	return head;
}

static void check_segment(const struct row *t, struct rte_mbuf *s, uint32_t idx, uint32_t off,
	uint32_t len, const uint8_t *frame)
{
	uint8_t b[4096];
	uint32_t hdr = (uint32_t)t->l2 + t->l3 + t->l4;

	assert_int_equal(odp_csum_complete(s), 0);
	assert_int_equal(s->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO), 0);
	assert_int_equal(s->pkt_len, hdr + len);
	assert_int_equal(rte_mbuf_check(s, 1, &(const char *){ NULL }), 0);
	const uint8_t *p = rte_pktmbuf_read(s, 0, s->pkt_len, b);

	if (p != b)
		memcpy(b, p, s->pkt_len);
	assert_memory_equal(b + hdr, frame + hdr + off, len);
	uint8_t *ip = b + t->l2, *l4 = ip + t->l3;

	if (t->v6) {
		assert_int_equal(ip[4] << 8 | ip[5], s->pkt_len - t->l2 - 40);
		assert_int_equal(rte_ipv6_udptcp_cksum_verify((void *)ip, l4), 0);
	} else {
		assert_int_equal(ip[2] << 8 | ip[3], s->pkt_len - t->l2);
		assert_int_equal(ip[4] << 8 | ip[5], (0xfffe + idx) & 0xffff);
		assert_int_equal(rte_raw_cksum(ip, t->l3), 0xffff);
		assert_int_equal(rte_ipv4_udptcp_cksum_verify((void *)ip, l4), 0);
	}
	if (t->tcp) {
		uint32_t seq = (uint32_t)l4[4] << 24 | (uint32_t)l4[5] << 16 | l4[6] << 8 | l4[7];
		bool last = off + len == t->payload;

		assert_int_equal(seq, 0xffffffffu + off);
		assert_int_equal(l4[13], 0x10 | (idx == 0 ? 0x80 : 0) | (last ? 0x09 : 0));
	} else {
		assert_int_equal(l4[4] << 8 | l4[5], len + 8);
	}
}

static void segment(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	uint8_t *frame = malloc(70000);
	uint32_t n, off = 0, idx = 0;

	assert_non_null(frame);
	n = build(t, frame);
	struct rte_mbuf *m = mbuf_of(t, frame, n);
	struct rte_mbuf *other = t->clone ? rte_pktmbuf_clone(m, pool) : NULL;
	struct rte_mbuf *out[5];
	struct odp_seg s;
	int got;

	assert_int_equal(odp_seg_init(&s, m, pool), 0);
	while ((got = odp_seg_next(&s, out, 5)) > 0)
		for (int i = 0; i < got; i++, idx++) {
			uint32_t len = RTE_MIN((uint32_t)t->mss, t->payload - off);

			check_segment(t, out[i], idx, off, len, frame);
			off += len;
			rte_pktmbuf_free(out[i]);
		}
	assert_int_equal(got, 0);
	assert_int_equal(off, t->payload);
	odp_seg_fini(&s);
	if (other) {
		assert_memory_equal(rte_pktmbuf_mtod(other, void *), frame, other->data_len);
		rte_pktmbuf_free(other);
	}
	free(frame);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static uint16_t pseudo_sum(const struct row *t, const uint8_t *ip, uint64_t flags)
{
	uint16_t sum = t->v6 ? rte_ipv6_phdr_cksum((const void *)ip, flags)
			     : rte_ipv4_phdr_cksum((const void *)ip, flags);

	return sum == 0xffff ? 0 : sum; // the same number in one's complement
}

/*
 * What a device with TSO is given has DPDK's pseudo-header sum; a clone of it is not written to;
 * and if the device refuses after all, it can still be cut here.
 */
static void to_ethdev(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	uint8_t *frame = malloc(70000), *ip = frame + t->l2, *field;
	struct rte_mbuf *out[5];
	struct odp_seg s;
	uint32_t n, segs = 0;
	uint16_t sum;
	int got;

	assert_non_null(frame);
	n = build(t, frame);
	field = ip + t->l3 + (t->tcp ? 16 : 6);
	sum = pseudo_sum(t, ip, 0);
	memcpy(field, &sum, sizeof(sum));
	struct rte_mbuf *m = mbuf_of(t, frame, n);
	struct rte_mbuf *other = rte_pktmbuf_clone(m, pool);
	bool fits = m->data_len >= t->l2 + t->l3 + t->l4;

	m = odp_to_ethdev(m, pool);
	assert_memory_equal(rte_pktmbuf_mtod(other, void *), frame, other->data_len);
	rte_pktmbuf_free(other);
	if (m && t->tcp) {
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

		memcpy(&sum, p + (field - frame), sizeof(sum));
		assert_int_equal(sum == 0xffff ? 0 : sum, pseudo_sum(t, ip, RTE_MBUF_F_TX_TCP_SEG));
		assert_int_equal(m->l4_len, t->l4);
		assert_int_equal(!!(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM), !t->v6);
		assert_int_equal(t->v6 ? 0 : p[t->l2 + 10] | p[t->l2 + 11], 0);
	}
	assert_true(m || !fits);
	if (m) {
		assert_int_equal(odp_seg_init(&s, m, pool), 0);
		while ((got = odp_seg_next(&s, out, 5)) > 0)
			for (int i = 0; i < got; i++, segs++) {
				assert_int_equal(odp_csum_complete(out[i]), 0);
				rte_pktmbuf_free(out[i]);
			}
		assert_int_equal(segs, (t->payload + t->mss - 1) / t->mss);
		odp_seg_fini(&s);
	}
	free(frame);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* Requests that contradict the headers are refused and leave the packet alone. */
static void refuse(void **state)
{
	const struct row *t = &rows[0];
	uint8_t frame[4096];
	uint32_t n = build(t, frame);
	struct odp_seg s;

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		struct rte_mbuf *m = mbuf_of(t, frame, n);
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

		if (i == 0)
			m->tso_segsz = 0;
		if (i == 1)
			m->l3_len = 24;
		if (i == 2)
			m->l2_len = 12;
		if (i == 3)
			p[14] = 0x65;
		if (i == 4)
			p[14 + 20 + 12] = 0x40;
		if (i == 5)
			p[14 + 6] = 0x20; // OV-32: a fragment
		if (i == 6)
			m->ol_flags &= ~(ODP_F_L4_CSUM | ODP_F_GSO);
		if (i == 7)
			m->l3_len = 511;
		if (i == 8)
			rte_pktmbuf_trim(m, (uint16_t)(n - 40));
		assert_int_equal(odp_seg_init(&s, m, pool), -EBADMSG);
		rte_pktmbuf_free(m);
	}
}

/* The length in the IP header, of a frame with 1000 bytes of payload that is cut by 300. */
static const struct length {
	const char *name;
	bool v6, tcp;
	uint16_t l3, l4; // header lengths
	uint16_t value; // of the field: IPv4 total length, IPv6 payload length
	int seg, csum; // what cutting and checksum completion say
	uint32_t payload; // bytes that are cut
} lengths[] = {
	{ "true", false, true, 20, 20, 1040, 0, 0, 1000 },
	{ "padding behind", false, true, 20, 20, 1039, 0, 0, 999 },
	{ "no payload", false, true, 20, 20, 40, 0, 0, 0 },
	{ "one byte into TCP", false, true, 20, 20, 21, -EBADMSG, -EBADMSG, 0 },
	{ "one byte short of TCP", false, true, 20, 20, 39, -EBADMSG, -EBADMSG, 0 },
	{ "one byte short of options", false, true, 24, 32, 55, -EBADMSG, 0, 0 },
	{ "one byte short of UDP", false, false, 20, 8, 27, -EBADMSG, -EBADMSG, 0 },
	{ "just UDP", false, false, 20, 8, 28, 0, 0, 0 },
	{ "one byte short of TCP, v6", true, true, 40, 20, 19, -EBADMSG, -EBADMSG, 0 },
	{ "one byte short of UDP, v6", true, false, 40, 8, 7, -EBADMSG, -EBADMSG, 0 },
	{ "ends in extension headers", true, false, 48, 8, 8, 0, 0, 1000 },
	{ "says nothing", false, true, 20, 20, 0, 0, 0, 1000 },
	{ "says nothing, v6", true, true, 40, 20, 0, 0, 0, 1000 },
	{ "longer than the frame", false, true, 20, 20, 1041, 0, 0, 1000 },
};

static void length(void **state)
{
	const struct length *t = *state;
	const struct row r = { NULL, t->v6, t->tcp, 14, t->l3, t->l4, 1000, 300, false, 0 };
	unsigned before = rte_mempool_in_use_count(pool);
	struct rte_mbuf *out[5];
	uint8_t frame[2048];
	uint32_t n = build(&r, frame);
	struct odp_seg s;

	put16(frame + 14 + (t->v6 ? 4 : 2), t->value);
	struct rte_mbuf *m = mbuf_of(&r, frame, n), *whole = mbuf_of(&r, frame, n);

	assert_int_equal(odp_csum_complete(whole), t->csum);
	rte_pktmbuf_free(whole);
	assert_int_equal(odp_seg_init(&s, m, pool), t->seg);
	if (t->seg == 0) {
		int got = odp_seg_next(&s, out, 5);

		assert_int_equal(got, t->payload ? (t->payload + 299) / 300 : 1);
		for (n = 0; got > 0;) {
			n += out[--got]->pkt_len - 14 - t->l3 - t->l4;
			rte_pktmbuf_free(out[got]);
		}
		assert_int_equal(n, t->payload);
		assert_int_equal(odp_seg_next(&s, out, 5), 0);
		odp_seg_fini(&s);
	} else {
		rte_pktmbuf_free(m);
	}
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* The checksum is the same however the packet lies in memory. */
static void pieces(void **state)
{
	struct row r = { NULL, false, true, 14, 20, 20, 1461, 1461, false, 0 };
	uint8_t frame[2048];
	uint32_t n = build(&r, frame);
	uint16_t want = 0, got;

	(void)state;
	for (r.chunk = 0; r.chunk < 300; r.chunk++) {
		struct rte_mbuf *m = mbuf_of(&r, frame, n);
		uint8_t field[2];

		assert_int_equal(odp_csum_complete(m), 0);
		memcpy(&got, rte_pktmbuf_read(m, 50, 2, field), sizeof(got));
		if (r.chunk == 0)
			want = got;
		assert_int_equal(got, want);
		assert_int_equal(odp_raw_sum(m, 50, n - 49, &got), -EBADMSG);
		assert_int_equal(odp_raw_sum(m, n, 0, &got), 0);
		assert_int_equal(odp_raw_sum(m, n + 1, 0, &got), -EBADMSG);
		rte_pktmbuf_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(refuse), cmocka_unit_test(pieces) };
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(rows, segment, failed);
	RUN_ROWS(rows, to_ethdev, failed);
	RUN_ROWS(lengths, length, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
