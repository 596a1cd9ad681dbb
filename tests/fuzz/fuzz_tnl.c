// SPDX-License-Identifier: Apache-2.0
/*
 * Whole packets at every kind of tunnel end: no read beyond the bytes, and what is taken off can be
 * put on again. The first byte chooses the end.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "tnl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;

static void free_bytes(void *addr, void *arg)
{
	(void)addr;
	free(arg);
}

/* The bytes in an allocation of their own, so that a read beyond them is seen. */
static struct rte_mbuf *mbuf_of(const uint8_t *data, size_t size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint16_t len = (uint16_t)(size + sizeof(struct rte_mbuf_ext_shared_info) + 8);
	uint8_t *mem = malloc(sizeof(struct rte_mbuf_ext_shared_info) + size);
	struct rte_mbuf_ext_shared_info *info = (struct rte_mbuf_ext_shared_info *)(void *)mem;

	if (!m || !mem)
		abort();
	info->free_cb = free_bytes;
	info->fcb_opaque = mem;
	rte_mbuf_ext_refcnt_set(info, 1);
	memcpy(mem + sizeof(*info), data, size);
	rte_pktmbuf_attach_extbuf(m, mem + sizeof(*info), RTE_BAD_IOVA, len, info);
	m->data_off = 0;
	m->data_len = (uint16_t)size;
	m->pkt_len = (uint32_t)size;
	return m;
}

static void again(
	struct rte_mbuf *m, enum odp_tnl_type type, const struct odp_tnl_key *key, uint16_t inner)
{
	struct odp_tnl_link link = { .vlan = 0 };
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_tnl_key k = *key;
	struct odp_tnl_tmpl t;

	k.flags &= (uint16_t)~ODP_TNL_F_SEQ;
	if (odp_tnl_compose(type, &k, inner, &link, 0, &t) == 0 &&
		odp_tnl_push(&m, &t, &tx, 1) == 0 && (m->ol_flags & ODP_F_L4_CSUM) &&
		odp_csum_complete(m) < 0)
		abort();
	rte_pktmbuf_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct odp_tnl_vport v = { .zero_csum6 = true };
	struct odp_tnl_key key;
	uint16_t inner;

	if (!pool)
		pool = fake_eal(1023);
	if (size < 1 || size > 2000)
		return 0;
	v.type = data[0] % ODP_TNL_TYPES;
	v.udp_port = v.type == ODP_TNL_GRE ? 0 : 4789;
	v.take_oam = data[0] & 0x80;

	struct rte_mbuf *m = mbuf_of(data + 1, size - 1);

	if (data[0] & 0x40)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	if (odp_tnl_pop(&m, &v, pool, &key, &inner) < 0) {
		rte_pktmbuf_free(m);
		return 0;
	}
	if (m->pkt_len >= size - 1)
		abort();
	again(m, v.type, &key, inner);
	return 0;
}
