/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a volume over NVMe over Fabrics: vol_nvmf.c has its requests, on workers,
 * vol_nvmf_view.c what its controllers say of it, on the control thread.
 */
#pragma once

#include "host.h"
#include "vol_priv.h"

struct nvmf {
	struct vol v;
	struct nof_host *host; // borrowed
	struct nof_view view;
	uint8_t want[16]; // UUID or NGUID, 0: any
	uint8_t shift; // of a block
	bool known; // a controller has told of it

	/* Written by the control thread. */
	_Atomic bool can_deac; // zeroes by deallocation

	/* Written by workers. */
	_Atomic bool no_zeroes; // Write Zeroes came back unsupported: zeros are written
};

extern const struct vol_ops vol_nvmf_ops;

/* Of struct nof_view. */
bool vol_nvmf_accepts(struct nof_view *v, const struct nof_ctrl *c, const struct nof_ns *ns);
void vol_nvmf_changed(struct nof_view *v);
