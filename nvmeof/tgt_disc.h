/* SPDX-License-Identifier: Apache-2.0 */
/* The discovery service. The control thread. Private to the target. */
#pragma once

#include "tgt_ctrl.h"

/* Base 5.16.1.23: what this host may connect to, and where else to ask. */
void tgt_log_discovery(const struct tgt_ctrl *c, struct tgt_out *o);
/* The log has changed: count a generation, tell persistent discovery controllers. */
void tgt_discovery_changed(struct nof_tgt *t);
