/* SPDX-License-Identifier: Apache-2.0 */
/* A vhost-user message as the back-end has it at hand. */
#pragma once

#include <stdbool.h>

#include "vu_proto.h"

/* One message on its way in, then its reply on the way out. */
struct vu_msg {
	struct vu_header h;
	union {
		uint64_t u64;
		struct vu_vring_state state;
		struct vu_vring_addr addr;
		struct vu_table table;
		struct vu_single_region region;
		struct vu_log log;
		struct vu_config config;
		struct vu_inflight inflight;
		struct vu_iotlb iotlb;
		struct vu_transfer transfer;
		uint8_t bytes[VU_PAYLOAD_MAX];
	} p;
	int fds[VU_FDS_MAX]; // owned; a handler that keeps one puts -1 there
	unsigned n_fds;
	int reply_fd; // -1, or owned: goes out with the reply and is closed
	bool answers; // the handler filled in a reply, though such a request has none elsewhere
};
