// SPDX-License-Identifier: Apache-2.0
/* Fuzz target: packets for a guest, written to the buffers of its ring by every way there is. */
#include "fuzz_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A packet of len bytes in as many buffers as it takes. */
static struct rte_mbuf *packet(uint32_t len, uint8_t seed)
{
	struct rte_mbuf *head = NULL, *m;

	do {
		uint16_t part = len < RTE_MBUF_DEFAULT_DATAROOM ? (uint16_t)len
								: RTE_MBUF_DEFAULT_DATAROOM;

		m = rte_pktmbuf_alloc(mbuf_pool);
		if (!m)
			abort();
		memset(rte_pktmbuf_append(m, part), seed, part);
		if (head && rte_pktmbuf_chain(head, m))
			abort();
		if (!head)
			head = m;
		len -= part;
	} while (len);
	return head;
}

/* The packets that the input asks for: lengths, and which want a checksum or segments. */
static uint16_t make(const uint8_t *spec, uint8_t n, struct rte_mbuf **pkts)
{
	for (uint8_t i = 0; i < n; i++) {
		uint8_t s = spec[i];
		struct rte_mbuf *m = packet(54 + (s & 0x3fU) * (s & 0x40 ? 150 : 3), s);

		pkts[i] = m;
		if (!(s & 0x80))
			continue;
		m->ol_flags = RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
		m->l2_len = 14;
		m->l3_len = 20;
		m->l4_len = 20;
		if (s & 1) {
			m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
			m->tso_segsz = 536;
		}
	}
	return n;
}

/* False: the queue does not start. */
static bool run(struct fuzz_net *f, const uint8_t *data, const struct vho_net_fast *fast,
	struct fuzz_end *end)
{
	struct rte_mbuf *pkts[FUZZ_BURST];
	struct vho_net *net;

	memset(end, 0, sizeof(*end));
	fuzz_net_fill(f);
	net = fuzz_net_open(f, 0, fast);
	if (!net)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		uint16_t n = make(data + FUZZ_CONF, data[6 + i] % FUZZ_BURST + 1, pkts);

		end->packets += vho_net_tx(net, 0, pkts, n);
		vho_net_tx_notify(net, 0);
	}
	fuzz_net_close(f, net, 0, end);
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
	if (!fuzz_net_choose(&f, data, len) || !run(&f, data, NULL, &general))
		return 0;
	// A packet may be written over a table that is read later
	alike = !fuzz_net_names_ring(&f) && !fuzz_is(&f, FUZZ_INDIRECT) &&
		!(fuzz_is(&f, FUZZ_PACKED) && fuzz_is(&f, FUZZ_ANY_BASE));
	for (unsigned i = 0; (fast = vho_net_fast_at(i)); i++) {
		if (!run(&f, data, fast, &end))
			abort();
		if (alike && memcmp(&general, &end, sizeof(end)) != 0)
			fuzz_differ(&general, &end, fast->name);
	}
	if (rte_mempool_in_use_count(mbuf_pool) != 0)
		abort();
	return 0;
}
