/* SPDX-License-Identifier: Apache-2.0 */
/* Which fields a flow may match on together. */
#pragma once

#include "odp_flow.h"

/*
 * Is this key with this mask a flow that packets can meet? The rules are those of Open vSwitch's
 * datapath: a field is matched only under an exact match of the protocols that have it; eth_type is
 * matched exactly or not at all; that there is a VLAN tag, before its other bits; the bytes without
 * a meaning not at all.
 *
 * Returns 0 or -EINVAL. Pure; any thread.
 */
int odp_key_check(const struct odp_key *key, const struct odp_key *mask);
