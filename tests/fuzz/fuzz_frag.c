// SPDX-License-Identifier: Apache-2.0
/*
 * A run of packets, each behind two bytes of length and one of source, time and zone: limits hold,
 * what comes out whole fits together, and no mbuf is lost.
 */
#include <stdlib.h>
#include <string.h>

#include "extract.h"
#include "fake_port.h"
#include "frag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;

static void whole(struct odp_frag_out *o)
{
	struct odp_key k;

	if (o->n < 2 || o->n > ODP_FRAG_PIECES || o->hdr_len > o->len || o->len > 65535 + 40 + 256)
		abort();
	(void)odp_extract(o->hdr, o->hdr_len, o->len, 1, 0, ODP_WANT_ALL, &k);
	rte_pktmbuf_free_bulk(o->frags, o->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct odp_frag_conf conf = { .pool = pool ? pool : (pool = fake_eal(1023)),
		.seed = { 1, 3 },
		.contexts = 16,
		.bytes = 200000 };
	struct odp_frags *f;
	struct odp_frag_out o;
	struct odp_frag_stats s;
	uint64_t now = 0;

	if (odp_frag_create(&conf, &f) < 0)
		return 0;
	while (size > 3) {
		size_t len = (size_t)data[0] << 1 | (data[1] & 1);
		uint8_t meta = data[2];
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		data += 3;
		size -= 3;
		len = len < size ? len : size;
		if (!m)
			abort();
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), data, len);
		data += len;
		size -= len;
		now += (meta >> 6) * 7000000000ull;
		switch (odp_frag_in(f, m, meta & 3, meta >> 2 & 1, now, &o)) {
		case ODP_FRAG_PASS:
			rte_pktmbuf_free(m);
			break;
		case ODP_FRAG_DONE:
			whole(&o);
			break;
		default:
			break;
		}
		s = (struct odp_frag_stats){ 0 };
		odp_frag_stats_add(f, &s);
		if (s.contexts > 16 || s.bytes > 200000)
			abort();
	}
	odp_frag_destroy(f);
	if (rte_mempool_in_use_count(pool) != 0)
		abort();
	return 0;
}
