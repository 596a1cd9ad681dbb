/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Meters: token buckets that actions name by number, shared by all flows and workers that do. A
 * packet that finds too little in one of a meter's buckets is dropped.
 *
 * Spec: OpenFlow 1.3, section 5.7; only the band type "drop".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ODP_METERS 4096u // numbers are below
#define ODP_METER_BANDS 4u

struct odp;

struct odp_meter_band {
	uint64_t rate; // kbit/s, or packets/s
	uint64_t burst; // kbit, or packets; 0: as much as a second's
};

struct odp_meter_conf {
	bool packets; // counts packets instead of bits
	unsigned n_bands; // 1 to ODP_METER_BANDS
	struct odp_meter_band band[ODP_METER_BANDS];
};

struct odp_meter_info {
	struct odp_meter_conf conf;
	uint64_t packets, bytes; // that came to it
	uint64_t dropped[ODP_METER_BANDS], dropped_bytes[ODP_METER_BANDS];
};

/*
 * Make a meter, or make it anew with full buckets and no statistics. A flow may name a meter that
 * is not there, and packets pass it, as in Open vSwitch's datapaths: that a flow of OpenFlow names
 * none but those that there are is ovs-vswitchd's to see to. 0, -EINVAL (number, no bands, a rate
 * of 0 or too high), -ENOMEM. Control thread.
 */
int odp_meter_set(struct odp *dp, uint32_t id, const struct odp_meter_conf *conf);
/* -ENOENT when there is none. Control thread. */
int odp_meter_del(struct odp *dp, uint32_t id);
int odp_meter_get(const struct odp *dp, uint32_t id, struct odp_meter_info *out);
