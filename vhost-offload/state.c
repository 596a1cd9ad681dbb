// SPDX-License-Identifier: Apache-2.0
/* The envelope around a device's state: header, parts, end. What is in a part, the types know. */
#include "state.h"

#include <errno.h>
#include <string.h>

#include "dpu_wire.h"

#define MAGIC 0x5344424fu // "OBDS"

struct state_header {
	dpu_le32 magic;
	dpu_le16 version, kind;
	dpu_le32 len;
};
struct part_header {
	dpu_le16 tag, reserved;
	dpu_le32 len;
};
static_assert(sizeof(struct state_header) == 12, "state.h");
static_assert(sizeof(struct part_header) == 8, "state.h");

static void *reserve(struct vho_state_out *out, size_t len)
{
	void *at = out->at + out->len;

	if (out->full || len > out->size - out->len) {
		out->full = true;
		return NULL;
	}
	out->len += len;
	return at;
}

uint8_t *vho_state_put(struct vho_state_out *out, uint16_t tag, uint32_t len)
{
	const struct part_header h = { dpu_le16_put(tag), dpu_le16_put(0), dpu_le32_put(len) };
	void *at = reserve(out, sizeof(h));

	if (at)
		memcpy(at, &h, sizeof(h));
	return reserve(out, len);
}

int vho_state_save(const struct vho_dev *dev, enum vho_state_way way, void *buf, size_t size)
{
	struct vho_state_out out = { .at = buf, .size = size, .way = way };
	struct state_header h = {
		.magic = dpu_le32_put(MAGIC),
		.version = dpu_le16_put(VHO_STATE_VERSION),
		.kind = dpu_le16_put((uint16_t)dev->type->kind),
	};
	void *at = reserve(&out, sizeof(h));

	if (dev->type->state_save)
		dev->type->state_save(dev, &out);
	(void)vho_state_put(&out, VHO_STATE_END, 0);
	if (!at || out.full)
		return -ENOSPC;
	h.len = dpu_le32_put((uint32_t)out.len);
	memcpy(at, &h, sizeof(h));
	return (int)out.len;
}

/* The next part goes where its tag belongs. 1, 0 at the end, or an error of vho_state_load(). */
static int take_part(const struct vho_dev_type *type, enum vho_state_way way, struct dpu_cur *in,
	struct dpu_cur *parts)
{
	uint16_t tag = dpu_cur_le16(in), reserved = dpu_cur_le16(in);
	uint32_t len = dpu_cur_le32(in);
	const uint8_t *bytes = dpu_cur_take(in, len);

	if (!bytes || reserved != 0)
		return -EBADMSG;
	if (tag == VHO_STATE_END)
		return len == 0 && in->left == 0 ? 0 : -EBADMSG;
	if (tag >= VHO_STATE_OPTIONAL)
		return 1;
	if (!type->state_load || tag >= VHO_STATE_PARTS || !type->state_parts[tag].max ||
		(type->state_parts[tag].hand_over && way != VHO_STATE_HAND_OVER))
		return -EPROTO;
	if (len < type->state_parts[tag].min || len > type->state_parts[tag].max || parts[tag].at)
		return -EBADMSG;
	parts[tag] = dpu_cur_init(bytes, len);
	return 1;
}

int vho_state_load(struct vho_dev *dev, enum vho_state_way way, const void *buf, size_t len)
{
	struct dpu_cur parts[VHO_STATE_PARTS] = { { .at = NULL } };
	struct dpu_cur in = dpu_cur_init(buf, len);
	uint32_t magic = dpu_cur_le32(&in);
	uint16_t version = dpu_cur_le16(&in), kind = dpu_cur_le16(&in);
	uint32_t total = dpu_cur_le32(&in);
	int ret;

	if (in.bad || magic != MAGIC || total > len || total < sizeof(struct state_header))
		return -EBADMSG;
	if (version != VHO_STATE_VERSION || kind != (uint16_t)dev->type->kind)
		return -EPROTO;
	in.left = total - sizeof(struct state_header);
	do // each part takes bytes, of which there are at most `total`
		ret = take_part(dev->type, way, &in, parts);
	while (ret > 0);
	if (ret < 0)
		return ret;
	return dev->type->state_load ? dev->type->state_load(dev, parts) : 0;
}
