/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets through a datapath of two ports, of which the second takes GSO frames of TCP; what comes
 * out there is cut into segments again by the reference (gro_ref.h), and has to be what went in,
 * byte for byte and in each connection's order.
 */
#pragma once

#include "test.h"

#include <stdlib.h>

#include "dp.h"
#include "fake_port.h"
#include "gro_ref.h"
#include "sw_offload.h"

#define N_MAX ODP_BURST

enum how { PLAIN, GOOD, BAD, REQUEST, SHARED, ATTACHED, LENT, PADDED };

/* What goes in, and in pieces of how many bytes; how often each of them has come out. */
static struct seg in[N_MAX];
static enum how how[N_MAX];
static uint16_t piece[N_MAX];
static unsigned n_in;

/* What came out, cut again: frame `of` of `n_frames`. */
static struct seg out[2 * N_MAX];
static unsigned of[2 * N_MAX];
static unsigned n_out, n_frames;

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port p1, p2;

/* ---- in ---- */

static struct rte_mbuf *mbuf_of(const struct seg *s, uint16_t bytes)
{
	struct rte_mbuf *head = NULL, *last = NULL;

	for (uint32_t off = 0; off < s->n;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t len = RTE_MIN(s->n - off, bytes ? bytes : 2048u);

		assert_non_null(m);
		memset(m->buf_addr, 0x5a, m->buf_len); // for whoever reads behind the end
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), s->b + off, len);
		m->tx_offload = UINT64_MAX; // as from a driver: anything
		off += len;
		if (!head) {
			head = last = m;
			continue;
		}
		last->next = m;
		last = m;
		head->nb_segs++;
		head->pkt_len += len;
	}
	return head;
}

static void push(const struct seg *s, enum how kind, uint16_t bytes)
{
	struct rte_mbuf *m = mbuf_of(s, bytes), *clone;

	switch (kind) {
	case GOOD:
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		break;
	case BAD:
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
		break;
	case REQUEST:
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
		m->l2_len = s->l3;
		m->l3_len = s->l4 - s->l3;
		break;
	case LENT:
		m->ol_flags |= ODP_F_LENT;
		break;
	case SHARED:
		rte_mbuf_refcnt_update(m, 1);
		break;
	case ATTACHED:
		clone = rte_pktmbuf_clone(m, pool);
		rte_pktmbuf_free(m);
		m = clone;
		break;
	default:
		break;
	}
	p1.in[p1.n_in++] = m;
}

/* ---- out ---- */

/* The frame is what odp_port.h says of one, and its segments are. */
static void cut(const struct rte_mbuf *m, unsigned no)
{
	static uint8_t all[1 << 17];
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, all);
	struct seg first;
	uint32_t len;

	assert_non_null(p);
	if (p != all)
		memcpy(all, p, m->pkt_len);
	if (!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)) {
		assert_true(m->pkt_len <= FRAME_MAX);
		out[n_out] = (struct seg){ .n = m->pkt_len };
		memcpy(out[n_out].b, all, m->pkt_len);
		(void)seg_parse(&out[n_out]);
		of[n_out++] = no;
		return;
	}
	memcpy(first.b, all, RTE_MIN(m->pkt_len, FRAME_MAX));
	assert_true(seg_parse(&first));
	assert_int_equal(m->ol_flags & ODP_F_L4_CSUM, RTE_MBUF_F_TX_TCP_CKSUM);
	assert_int_equal(m->ol_flags & (RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6),
		first.v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, 0);
	assert_int_equal(m->l2_len, first.l3);
	assert_int_equal(m->l3_len, first.l4 - first.l3);
	assert_int_equal(m->l4_len, first.hdr - first.l4);
	assert_int_equal(m->outer_l2_len | m->outer_l3_len, 0);
	assert_int_equal(get16(all + first.l3 + (first.v6 ? 4 : 2)),
		m->pkt_len - (first.v6 ? first.l4 : first.l3));
	assert_true(first.v6 || fold(add(all + first.l3, 20)) == 0xffff);
	assert_int_equal(get16(all + first.l4 + 16), fold(pseudo(&first, m->pkt_len - first.l4)));
	len = m->pkt_len - first.hdr;
	assert_true(len > m->tso_segsz);
	for (unsigned k = 0; k * m->tso_segsz < len; k++) {
		assert_true(n_out < RTE_DIM(out));
		seg_cut(&first, all + first.hdr, len, m->tso_segsz, k, &out[n_out]);
		of[n_out++] = no;
	}
}

static const struct seg *first_of(unsigned i)
{
	unsigned k = i;

	while (k > 0 && of[k - 1] == of[i])
		k--;
	return k == i && (i + 1 == n_out || of[i + 1] != of[i]) ? NULL : &out[k];
}

/* Each packet has come out once; nothing has overtaken another one of its connection. */
static void check_out(void)
{
	unsigned from[2 * N_MAX];
	bool taken[N_MAX] = { false };

	assert_int_equal(n_out, n_in);
	for (unsigned i = 0; i < n_out; i++) {
		unsigned k = 0;

		while (k < n_in && (taken[k] || !seg_eq(&out[i], &in[k], first_of(i))))
			k++;
		assert_true(k < n_in);
		taken[k] = true;
		from[i] = k;
		for (unsigned j = 0; j < i; j++)
			assert_true(from[j] < k ||
				    !(seg_same_conn(&in[from[j]], &in[k]) ||
					    seg_unclear(&in[from[j]]) || seg_unclear(&in[k])));
	}
}

/* All of `in` in one turn. */
static void run(void)
{
	struct odp_port_stats was, now;
	uint64_t merged = 0, frames = 0;

	odp_port_stats(p2.port, &was);
	for (unsigned i = 0; i < n_in; i++) {
		(void)seg_parse(&in[i]);
		push(&in[i], how[i], piece[i]);
	}
	(void)odp_worker_turn(odp_worker(dp, 0));
	n_out = 0;
	n_frames = p2.n_out;
	for (unsigned i = 0; i < p2.n_out; i++) {
		unsigned had = n_out;

		cut(p2.out[i], i);
		frames += n_out - had > 1;
		merged += n_out - had > 1 ? n_out - had : 0;
	}
	odp_port_stats(p2.port, &now);
	assert_int_equal(now.gro_frames - was.gro_frames, frames);
	assert_int_equal(now.gro_segments - was.gro_segments, merged);
	for (unsigned i = 0; i < p2.n_out; i++)
		if (rte_mbuf_refcnt_read(p2.out[i]) > 1)
			rte_mbuf_refcnt_set(p2.out[i], 1);
	fake_port_reset(&p2);
	fake_port_reset(&p1);
}

static void begin(const struct odp_port_caps *caps)
{
	p2.caps = *caps;
	odp_port_caps_changed(p2.port);
	memset(how, 0, sizeof(how));
	memset(piece, 0, sizeof(piece));
	n_in = 0;
}

#define TAKES .up = true, .mtu = 1500, .csum = true, .multi_seg = true
#define ALL TAKES, .tso4 = true, .tso6 = true, .lent = true, .gro = true
static const struct odp_port_caps all_caps = { ALL };

static int setup(void **state)
{
	const struct odp_conf conf = { .n_workers = 1, .pool = pool, .mac_age_s = 300 };
	struct odp_key key = { 0 }, mask = { 0 };

	(void)state;
	if (odp_create(&conf, &dp))
		return -1;
	fake_port_add(&p1, dp, odp_worker(dp, 0), "p1");
	fake_port_add(&p2, dp, odp_worker(dp, 0), "p2");
	key.in_port = odp_port_no(p1.port);
	mask.in_port = UINT32_MAX;
	return fake_put(dp, &key, &mask, "2", false, NULL);
}

static int teardown(void **state)
{
	(void)state;
	fake_port_del(&p1, odp_worker(dp, 0));
	fake_port_del(&p2, odp_worker(dp, 0));
	odp_destroy(dp);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}
