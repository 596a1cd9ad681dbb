// SPDX-License-Identifier: Apache-2.0
/*
 * ARP, ND and echo requests from the uplink, at an underlay with a neighbour in every state: no
 * read beyond the frame, nothing learned about who is not known, no static neighbour changed, no
 * answer longer than its request but for ARP and ND.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "underlay.h"
#include "underlay_gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

static uint32_t longest; // of the frames sent

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	(void)arg;
	(void)port;
	longest = RTE_MAX(longest, m->pkt_len);
	rte_pktmbuf_free(m);
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	(void)arg;
	(void)path;
	rte_pktmbuf_free(m);
}

static void look(const struct odp_ul_neigh_info *n, void *arg)
{
	if (n->is_static && memcmp(n->mac, mac, 6) != 0)
		abort();
	++*(unsigned *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct odp_ul_conf conf = { .send = send_out,
		.ready = ready,
		.pool = pool ? pool : (pool = fake_eal(1023)),
		.paths_max = 8,
		.neighs_max = 8,
		.routes_max = 8 };
	const struct odp_ip ours[2] = { { 4, { 10, 0, 0, 1 } }, { 6, { 0xfd, [15] = 1 } } };
	struct odp_ul *ul;
	struct odp_ul_path *p;
	unsigned n = 0;

	if (size > 1500 || odp_ul_create(&conf, 1, &ul) < 0)
		return 0;
	(void)odp_ul_if_set(ul, 1, 0, mac, 1500);
	for (unsigned i = 0; i < 2; i++) {
		struct odp_ip ip = ours[i];

		(void)odp_ul_addr_add(ul, 1, 0, &ip, 8);
		for (unsigned k = 2; k < 5; k++) {
			ip.a[ip.family == 4 ? 3 : 15] = (uint8_t)k;
			(void)odp_ul_path_get(ul, &ip, &(struct odp_ip){ 0 }, &p);
			if (k == 4)
				(void)odp_ul_neigh_set(ul, 1, 0, &ip, mac);
		}
	}

	struct rte_mbuf_ext_shared_info info = { .free_cb = NULL };
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *copy = malloc(size ? size : 1);

	if (!m || !copy)
		abort();
	memcpy(copy, data, size);
	rte_mbuf_ext_refcnt_set(&info, 2);
	rte_pktmbuf_attach_extbuf(m, copy, RTE_BAD_IOVA, (uint16_t)size, &info);
	m->data_len = (uint16_t)size;
	m->pkt_len = (uint32_t)size;
	for (unsigned t = 0; t < 3; t++) {
		uint32_t source;

		if (odp_ul_classify(ul, 1, m, &source) > ODP_UL_OTHERS)
			abort();
		(void)odp_ul_rx(ul, 1, m);
		longest = 0;
		(void)odp_ul_echo(ul, 1, m);
		if (longest > size)
			abort();
		odp_ul_tick(ul, t * 2000000000ull);
	}
	odp_ul_neigh_foreach(ul, look, &n);
	if (n != 6)
		abort();
	odp_ul_destroy(ul);
	rte_pktmbuf_free(m);
	free(copy);
	return 0;
}
