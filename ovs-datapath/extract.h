/* SPDX-License-Identifier: Apache-2.0 */
/* Headers to flow key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "key.h"

/* Headers are looked for in this many bytes; what needs more is malformed (RFC 7112). */
#define ODP_EXTRACT_MAX 256

/*
 * Fill a key from a frame.
 *
 *   hdr     the first `n` bytes of the frame, contiguous: all of it, or ODP_EXTRACT_MAX
 *   len     length of the frame, >= n
 *   depth   layers to look at; the fields of deeper ones are zero
 *   key     written completely
 *
 * Returns 0, or -EBADMSG: a header that `depth` covers is cut short or contradicts itself.
 *
 * One VLAN tag is taken off; a second one is the frame's eth_type. Layer 4 is bounded by the IP
 * header's length, not by the frame's, so that padding is never taken for ports. A first fragment
 * too short for its ports counts as a later one: no port rule matches it (RFC 3128). An atomic IPv6
 * fragment is no fragment (RFC 6946). Pure; any thread.
 */
int odp_extract(const uint8_t *hdr, size_t n, size_t len, uint32_t in_port, enum odp_depth depth,
	struct odp_key *key);

/* The same from an mbuf, whose headers may be spread over segments. */
int odp_extract_mbuf(
	const struct rte_mbuf *m, uint32_t in_port, enum odp_depth depth, struct odp_key *key);
