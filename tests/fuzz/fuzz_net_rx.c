// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: packets that a guest sends, taken from its ring by every way there is: the general
 * one copies long packets, the others lend them.
 */
#include "fuzz_net.h"

#define ROUNDS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void take(struct fuzz_end *end, struct rte_mbuf *m)
{
	uint8_t flat[VHO_NET_FRAME_MAX];
	const void *p = m->pkt_len <= sizeof(flat) ? rte_pktmbuf_read(m, 0, m->pkt_len, flat)
						   : NULL;
	bool seg = m->ol_flags & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG);
	bool asks = seg || (m->ol_flags & RTE_MBUF_F_TX_L4_MASK);
	// What no flag speaks of may hold anything
	const uint64_t about[] = { m->pkt_len, m->ol_flags & ~VHO_NET_F_LENT, asks ? m->l2_len : 0,
		asks ? m->l3_len : 0, asks ? m->l4_len : 0, seg ? m->tso_segsz : 0 };

	if (!p || m->pkt_len < VHO_NET_FRAME_MIN)
		abort();
	end->packets++;
	fuzz_hash(&end->hash, about, sizeof(about));
	fuzz_hash(&end->hash, p, m->pkt_len);
	rte_pktmbuf_free(m);
}

/* False: the queue does not start. */
static bool run(struct fuzz_net *f, const struct vho_net_fast *fast, struct fuzz_end *end)
{
	struct rte_mbuf *pkts[FUZZ_BURST];
	struct vho_net *net;

	memset(end, 0, sizeof(*end));
	fuzz_net_fill(f);
	net = fuzz_net_open(f, 1, fast);
	if (!net)
		return false;
	net->lends = fast != NULL;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint16_t n = vho_net_rx(net, 0, pkts, FUZZ_BURST);

		if (n > FUZZ_BURST)
			abort();
		for (uint16_t k = 0; k < n; k++)
			take(end, pkts[k]);
	}
	fuzz_net_close(f, net, 1, end);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz_end general, end;
	static struct fuzz_net f;
	const struct vho_net_fast *fast;
	bool alike;

	if (!f.mem)
		fuzz_net_memory(&f);
	if (!fuzz_net_choose(&f, data, len) || !run(&f, NULL, &general))
		return 0;
	alike = !fuzz_net_names_ring(&f) &&
		!(fuzz_is(&f, FUZZ_PACKED) && fuzz_is(&f, FUZZ_ANY_BASE));
	for (unsigned i = 0; (fast = vho_net_fast_at(i)); i++) {
		if (!run(&f, fast, &end))
			abort();
		if (alike && memcmp(&general, &end, sizeof(end)) != 0)
			fuzz_differ(&general, &end, fast->name);
	}
	return 0;
}
