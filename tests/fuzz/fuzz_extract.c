// SPDX-License-Identifier: Apache-2.0
/*
 * Headers to flow key at any length: no read beyond the frame, and deeper keys extend shallower
 * ones.
 */
#include <stdlib.h>
#include <string.h>

#include "extract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size < ODP_EXTRACT_MAX ? size : ODP_EXTRACT_MAX;
	struct odp_key k2, k4;
	int ret2 = odp_extract(data, n, size, 1, ODP_DEPTH_L2, &k2);
	int ret4 = odp_extract(data, n, size, 1, ODP_DEPTH_L4, &k4);

	if (ret2 < 0 && ret4 == 0)
		abort();
	if (ret4 == 0 && memcmp(&k2, &k4, ODP_KEY_L2_WORDS * 8) != 0)
		abort();
	return 0;
}
