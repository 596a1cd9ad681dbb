/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a target after a host broke its rules. Behind tgt_rig.h. */
#pragma once

#include "tgt_rig.h"
#include "tgt_tcp.h"

/* Every buffer is back where it belongs, on every thread. */
static inline void check_pools(struct rig *g)
{
	for (unsigned i = 0; i <= RIG_WORKERS; i++) {
		const struct tcp_worker *tw = g->t->workers[i].xport;

		for (unsigned c = 0; c < TGT_CLASSES; c++)
			assert_int_equal(tw->pool.n_free[c], tw->pool.n[c]);
		assert_true(TAILQ_EMPTY(&tw->waiters));
	}
}

static inline uint64_t conns(struct rig *g)
{
	struct nof_tgt_stats st;

	nof_tgt_stats(g->t, &st);
	return st.conns;
}

/* Until that many connections are left. */
static inline void settle(struct rig *g, uint64_t left)
{
	uint64_t end = dpu_now_ns() + RIG_WAIT_NS;

	while (conns(g) != left) {
		rig_poll(g);
		assert_true(dpu_now_ns() < end);
	}
}

/* Another host is served. */
static inline void others_go_on(struct rig *g)
{
	static struct host admin, io;
	static uint8_t data[16 * 512] = { 1, 2, 3 };

	host_admin(&admin, g, 0);
	host_io(&io, &admin, 1, 0);
	assert_int_equal(host_write(&io, BY_TRANSPORT, 1, 0, 16, 512, data), 0);
	assert_int_equal(host_read(&io, 1, 0, 16, 512), 0);
	assert_memory_equal(io.data, data, sizeof(data));
	host_close(&io);
	host_close(&admin);
}

/* A TermReq that says that, and the end. */
static inline void expect_term(struct host *h, enum nof_fes fes, int fei)
{
	while (host_pdu(h))
		if (h->pdu.ch.type == NOF_PDU_C2H_TERM)
			break;
	assert_int_equal(h->pdu.ch.type, NOF_PDU_C2H_TERM);
	assert_int_equal(dpu_le16_get(h->pdu.term.fes), fes);
	if (fei >= 0)
		assert_int_equal(dpu_le32_get(h->pdu.term.fei), fei);
	assert_false(host_pdu(h));
}

static inline uint16_t sc(uint16_t status)
{
	return status & NOF_SC_MASK;
}
