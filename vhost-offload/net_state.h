/* SPDX-License-Identifier: Apache-2.0 */
/* What a NIC's control queue set, over a migration (state.h) and over a reset that is none. */
#pragma once

#include "device.h"

struct vho_net;

extern const struct vho_state_part vho_net_state_parts[VHO_STATE_PARTS];
void vho_net_state_save(const struct vho_dev *dev, struct vho_state_out *out);
int vho_net_state_load(struct vho_dev *dev, struct dpu_cur *parts);
void vho_net_state_keep(struct vho_dev *dev);

/* The device is reset: what was loaded or kept is void, but for what was kept over this reset. */
void vho_net_state_reset(struct vho_net *net);

/*
 * The control queue is being set up, `fresh` when no driver has used it yet. True: what was loaded
 * or kept for it took effect.
 */
bool vho_net_state_apply(struct vho_net *net, bool fresh);
