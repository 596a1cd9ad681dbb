/* SPDX-License-Identifier: Apache-2.0 */
/* struct vho_loop on libevent. */
#pragma once

#include "vho_device.h"

struct event_base;

/* Fill *out; `base` is borrowed and outlives every watch and timer made through it. */
void card_loop_init(struct vho_loop *out, struct event_base *base);
