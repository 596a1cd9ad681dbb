// SPDX-License-Identifier: Apache-2.0
#include "fuzz_queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_queue(data, len, 1ULL << VIRTIO_F_RING_PACKED, 200);
	return 0;
}
