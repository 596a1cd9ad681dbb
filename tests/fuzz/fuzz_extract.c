// SPDX-License-Identifier: Apache-2.0
/*
 * Headers to flow key at any length: no read beyond the frame, a key of fewer words is part of one
 * of more, and the short way gives what the long one gives.
 */
#include <stdlib.h>
#include <string.h>

#include "extract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fast(const uint8_t *data, size_t size, int ret, const struct odp_key *slow)
{
	struct rte_mbuf m = { .buf_addr = (void *)(uintptr_t)data,
		.data_len = (uint16_t)(size < UINT16_MAX ? size : UINT16_MAX),
		.pkt_len = (uint32_t)size };
	struct odp_kw any, k = { 0 };

	memset(&any, 0xff, sizeof(any));
	if (odp_extract_fast(&m, 1, ODP_WANT_ALL, &any, &k) &&
		(ret < 0 || memcmp(&k, slow, sizeof(k)) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t types[] = { 0, ODP_PACKET_TYPE(0x800), ODP_PACKET_TYPE(0x86dd),
		ODP_PACKET_TYPE(0x8847) };
	size_t n = size < ODP_EXTRACT_MAX ? size : ODP_EXTRACT_MAX;

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct odp_key k2 = { 0 }, k4 = { 0 };
		int ret2 = odp_extract(data, n, size, 1, types[i], ODP_WANT_L2, &k2);
		int ret4 = odp_extract(data, n, size, 1, types[i], ODP_WANT_ALL, &k4);

		if (ret2 < 0 && ret4 == 0)
			abort();
		if (ret4 == 0 && memcmp(&k2, &k4, ODP_KEY_L2_WORDS * 8) != 0)
			abort();
		if (types[i] == 0)
			fast(data, size, ret4, &k4);
	}
	return 0;
}
