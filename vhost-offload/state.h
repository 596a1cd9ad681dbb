/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function knows and its front-end does not, as bytes: the part of a device that migrates
 * beside the guest's memory and the positions in its rings.
 *
 *   offset  bytes
 *   0       4      magic "OBDS"
 *   4       2      version, 1
 *   6       2      kind of device: VIRTIO 1.3, section 5
 *   8       4      length of everything, this header included
 *   12      ..     parts: tag (2), reserved (2, zero), length (4), that many bytes
 *
 * All integers are little-endian. The last part has tag VHO_STATE_END and no bytes, so what was cut
 * off is noticed. A part that we do not know is an error, unless its tag has VHO_STATE_OPTIONAL: a
 * newer version sets that where being ignored does no harm. A part that grows gets a new tag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "dpu_cur.h"

#define VHO_STATE_MAX 16384 // bytes; what is longer is refused
#define VHO_STATE_VERSION 1
#define VHO_STATE_END 0xffffu
#define VHO_STATE_OPTIONAL 0x8000u

/*
 * Where the device goes: to another front-end, which sets it up anew, or to another process under
 * the same one, which says nothing twice (handover.h). The second takes more parts along.
 */
enum vho_state_way { VHO_STATE_MIGRATE, VHO_STATE_HAND_OVER };

/* Bytes being written. Nothing is written past `size`; `full` then says so. */
struct vho_state_out {
	uint8_t *at; // borrowed
	size_t len, size;
	enum vho_state_way way;
	bool full;
};

/* Append a part; its bytes are written by the caller, who gets a place for them, or NULL. */
uint8_t *vho_state_put(struct vho_state_out *out, uint16_t tag, uint32_t len);

/*
 * Write the state of dev to buf: the number of bytes, or -ENOSPC. Control thread; no queue of the
 * device runs, so that nothing changes under us.
 */
int vho_state_save(const struct vho_dev *dev, enum vho_state_way way, void *buf, size_t size);

/*
 * Take over a state: all of it or nothing. Bytes after its end are not looked at.
 *
 * Returns 0, or
 *   -EBADMSG  not a state, cut off, or a part with a wrong length or twice
 *   -EPROTO   another version or kind of device, or a part that is unknown or does not go this way
 *   -EINVAL   a value that this device cannot have
 *
 * Control thread; no queue of the device runs. Spec: vhost-user, "Migrating back-end state".
 */
int vho_state_load(struct vho_dev *dev, enum vho_state_way way, const void *buf, size_t len);
