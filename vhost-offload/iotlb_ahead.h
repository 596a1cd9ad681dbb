/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Misses ahead of time: what the driver maps for each request anew is unknown when the request
 * comes up, and to ask for one address after the other costs a way to the front-end and back for
 * each. So the requests behind the one that waits are looked at as well, without taking anything
 * off the ring and without a promise: what the driver changes meanwhile is asked for when its time
 * comes.
 */
#pragma once

#include <stdint.h>

#include "iotlb.h"

/*
 * Ask for what is not known of `n` requests (packed: ring slots) from the one that is `first`
 * behind the next to pop. The queue's worker.
 */
void vho_iotlb_ahead(struct vho_queue *q, unsigned first, unsigned n);

/* The page of iova is asked for already. The queue's worker, as the next. */
void vho_iotlb_asked(struct vho_iotlb_queue *iq, uint64_t iova);

/* The page of iova has been found: when it is missed again it was taken away meanwhile. */
void vho_iotlb_found(struct vho_iotlb_queue *iq, uint64_t iova);
