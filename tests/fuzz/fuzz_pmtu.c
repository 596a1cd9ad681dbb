// SPDX-License-Identifier: Apache-2.0
/*
 * Any packet as one that is too long, and as a message from the underlay that one of ours was: no
 * read beyond it, never a path MTU below the minimum.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "pmtu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct odp_pmtu *pmtu;
static struct odp_tnl_demux *demux;
static struct odp_ul *ul;
static struct odp_ul_path *paths[2];

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free(m);
}

static void start(void)
{
	static const struct odp_tnl_vport v[2] = { { .type = ODP_TNL_VXLAN, .udp_port = 4789 },
		{ .type = ODP_TNL_GRE } };
	static const uint8_t mac[6] = { 2 };
	struct odp_ul_conf conf = { .send = send_out };

	pool = fake_eal(1023);
	conf.pool = pool;
	if (odp_pmtu_create(&(struct odp_pmtu_conf){ .pool = pool }, &pmtu) < 0 ||
		odp_tnl_demux_create(v, 2, &demux) < 0 || odp_ul_create(&conf, 0, &ul) < 0)
		abort();
	(void)odp_ul_if_set(ul, 1, 0, mac, 1500);
	for (unsigned i = 0; i < 2; i++) {
		struct odp_ip ip = { i ? 6 : 4, { i ? 0xfd : 10, [15] = (uint8_t)i } };

		ip.a[i ? 15 : 3] = 1;
		(void)odp_ul_addr_add(ul, 1, 0, &ip, 8);
		ip.a[i ? 15 : 3] = 2;
		(void)odp_ul_neigh_set(ul, 1, 0, &ip, mac);
		if (odp_ul_path_get(ul, &ip, &(struct odp_ip){ 0 }, &paths[i]) < 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t now;
	struct rte_mbuf_ext_shared_info info = { .free_cb = NULL };
	struct rte_mbuf *m, *a = NULL;
	uint8_t *copy = malloc(size ? size : 1);

	if (!pool)
		start();
	m = rte_pktmbuf_alloc(pool);
	if (!m || !copy)
		abort();
	memcpy(copy, data, size);
	rte_mbuf_ext_refcnt_set(&info, 2);
	rte_pktmbuf_attach_extbuf(m, copy, RTE_BAD_IOVA, (uint16_t)size, &info);
	m->data_len = (uint16_t)size;
	m->pkt_len = (uint32_t)size;
	now += 1000000000;
	if (odp_pmtu_answer(pmtu, m, 1300, 1, now, &a) == 0 && a->pkt_len > 1280 + 22)
		abort();
	rte_pktmbuf_free(a);
	(void)odp_pmtu_learn(ul, demux, m);
	if (paths[0]->hop.link.mtu < ODP_PMTU_MIN4 || paths[1]->hop.link.mtu < ODP_PMTU_MIN6)
		abort();
	odp_ul_tick(ul, now);
	rte_pktmbuf_free(m);
	free(copy);
	return 0;
}
