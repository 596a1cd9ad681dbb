// SPDX-License-Identifier: Apache-2.0
/*
 * A burst of TCP segments that follow one another, changed as the input says: eight bytes for each,
 * which are how many of its bytes come in an mbuf, and edits. What is merged, cut again by the
 * reference, is what came in, in that order; nothing is lost.
 */
#include <stdlib.h>

#include "fake_port.h"
#include "gro.h"
#include "gro_ref.h"
#include "tx.h"

#define RECORD 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct seg in[ODP_BURST];
static bool taken[ODP_BURST];
static unsigned n_in;

static struct rte_mbuf *mbuf_of(const struct seg *s, uint32_t piece)
{
	struct rte_mbuf *head = NULL, *last = NULL;

	for (uint32_t off = 0; off < s->n;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t len = RTE_MIN(s->n - off, piece ? piece : 2048u);

		if (!m)
			abort();
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), s->b + off, len);
		off += len;
		if (head) {
			last->next = m;
			head->nb_segs++;
			head->pkt_len += len;
		} else {
			head = m;
		}
		last = m;
	}
	return head;
}

/* rec: connection and kind, length, step, piece, then two edits of a byte of the headers. */
static struct rte_mbuf *make(const uint8_t *rec, uint32_t seq[4])
{
	struct spec t = { .conn = rec[0] & 3,
		.len = (uint16_t)(4 * rec[1] + 400),
		.ack = 7,
		.flags = ACK,
		.ttl = 64,
		.v6 = rec[0] >> 2 & 1,
		.opts = rec[0] & 8 ? 12 : 0,
		.tags = rec[0] >> 4 & 1 };
	struct seg *s = &in[n_in++];

	t.seq = seq[t.conn] + (uint32_t)(int8_t)rec[2] * 400u;
	t.id = (uint16_t)(t.seq / t.len);
	seg_make(&t, s);
	seq[t.conn] = t.seq + t.len;
	for (unsigned i = 4; i < RECORD; i += 2)
		s->b[rec[i] % 90u] ^= rec[i + 1];
	if (rec[0] & 0x20)
		seg_fix(s);
	(void)seg_parse(s);
	return mbuf_of(s, rec[3] < 14 ? 0 : 2u * rec[3]);
}

static void take(const struct seg *got, const struct seg *first)
{
	for (unsigned k = 0; k < n_in; k++)
		if (!taken[k] && seg_eq(got, &in[k], first)) {
			taken[k] = true;
			return;
		}
	abort();
}

static void give_back(struct rte_mbuf *m)
{
	static uint8_t all[1 << 17];
	static struct seg first, got;
	const char *why;
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, all);

	if (!p || rte_mbuf_check(m, 1, &why) != 0)
		abort();
	if (p != all)
		memcpy(all, p, m->pkt_len);
	first.n = RTE_MIN(m->pkt_len, FRAME_MAX);
	memcpy(first.b, all, first.n);
	(void)seg_parse(&first);
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		uint32_t len = m->pkt_len - first.hdr;

		for (uint32_t k = 0; k * m->tso_segsz < len; k++) {
			seg_cut(&first, all + first.hdr, len, m->tso_segsz, k, &got);
			take(&got, &first);
		}
	} else {
		take(&first, NULL);
	}
	rte_pktmbuf_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct odp dp = { .seed = { 1, 3 } };
	static struct odp_port port = { .dp = &dp };
	static struct odp_pw pw = { .port = &port };
	struct rte_mbuf *pkts[ODP_BURST];
	struct odp_sums sums = { 0 };
	uint32_t seq[4] = { 0 };

	if (!pool)
		pool = fake_eal(8191);
	memset(taken, 0, sizeof(taken));
	for (n_in = 0; size >= RECORD && n_in < ODP_BURST; data += RECORD, size -= RECORD) {
		struct rte_mbuf *m = make(data, seq);

		pkts[n_in - 1] = m;
		odp_sums_add(&sums, m);
	}
	if (n_in == 0)
		return 0;
	odp_gro(&pw, 1500 | CAPS_GRO | CAPS_CSUM | CAPS_MULTI_SEG | CAPS_TSO4 | CAPS_TSO6, pkts,
		&sums);
	for (unsigned i = 0; i < sums.n; i++)
		give_back(pkts[i]);
	for (unsigned k = 0; k < n_in; k++)
		if (!taken[k])
			abort();
	if (rte_mempool_in_use_count(pool) != 0)
		abort();
	return 0;
}
