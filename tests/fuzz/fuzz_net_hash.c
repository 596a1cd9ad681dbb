// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: hashes of frames, the driver's and our own.
 *
 * Input: hash types, the key, the frame. The frame stands in memory of its own size, so that a read
 * beyond it is seen.
 */
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "dpu_cur.h"
#include "net_hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The type that must be enabled for a report: they come in the same order. */
static bool enabled(uint32_t types, uint16_t report)
{
	return report <= VIRTIO_NET_HASH_REPORT_UDPv6_EX && (types >> (report - 1) & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dpu_cur in = dpu_cur_init(data, len);
	struct vho_net_hash h = { .types = dpu_cur_le32(&in) & VHO_NET_HASH_TYPES };
	uint8_t key[VHO_NET_HASH_KEY], *frame;
	uint16_t report = 0xffff, again;
	uint32_t n, hash;

	dpu_cur_copy(&in, key, sizeof(key));
	if (in.bad)
		return 0;
	vho_net_hash_set_key(&h, key, sizeof(key));
	n = (uint32_t)in.left;
	frame = malloc(n ? n : 1);
	if (!frame)
		abort();
	dpu_cur_copy(&in, frame, n);
	hash = vho_net_hash_frame(&h, frame, n, &report);
	if (report == VIRTIO_NET_HASH_REPORT_NONE ? hash != 0 : !enabled(h.types, report))
		abort();
	if (vho_net_hash_frame(&h, frame, n, &again) != hash || again != report)
		abort();
	// What has a hash is IP, and so has one of ours
	if (vho_net_flow_hash(frame, n) == 0 && report != VIRTIO_NET_HASH_REPORT_NONE)
		abort();
	free(frame);
	return 0;
}
