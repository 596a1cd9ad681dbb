// SPDX-License-Identifier: Apache-2.0
/* A disk behind its guest's IOMMU: every page is asked for, taken back, and asked for again. */
#include <errno.h>
#include <string.h>

#include "drv_blk.h"
#include "drv_iommu.h"
#include "vdrv_conf.h"

#define IOS 8
#define DATA (3 * DRV_IOMMU_PAGE) // over three pages or four; whole blocks, of whatever size
#define ROUNDS 20
#define PATIENCE_MS 100
#define PATIENCE 50 // times, without an answer or a question

struct rig {
	struct drv_blk b;
	struct drv_blk_io io[IOS];
	unsigned asked;
};

static void pattern(uint8_t *to, unsigned i, unsigned round)
{
	uint64_t v = (i + 1) * 0x9e3779b97f4a7c15ULL + round;

	for (unsigned at = 0; at < DATA; at += 8, v = v * 6364136223846793005ULL + 1)
		memcpy(to + at, &v, 8);
}

/* Answer questions until all requests have ended; what has ended loses its pages. */
static int settle(struct rig *r)
{
	unsigned left = IOS, idle = 0;

	while (left) {
		struct drv_blk_io *io = drv_blk_poll(&r->b, 0);
		int ret;

		if (io) {
			left--;
			idle = 0;
			if (*io->status != VIRTIO_BLK_S_OK)
				return -EIO;
			ret = drv_iommu_forget(&r->b.vu, io->data, DATA);
			if (ret)
				return ret;
			continue;
		}
		ret = drv_iommu_serve(&r->b.vu, PATIENCE_MS);
		if (ret < 0)
			return ret;
		r->asked += (unsigned)ret;
		idle = ret ? 0 : idle + 1;
		if (idle == PATIENCE)
			return -ETIMEDOUT;
	}
	return 0;
}

static int rounds(struct rig *r)
{
	uint8_t want[DATA];

	for (unsigned round = 0; round < 2 * ROUNDS; round++) {
		bool reading = round % 2;
		int ret;

		for (unsigned i = 0; i < IOS; i++) {
			if (reading)
				memset(r->io[i].data, 0xa5, DATA);
			else
				pattern(r->io[i].data, i, round / 2);
			ret = drv_blk_submit(&r->b, 0, &r->io[i],
				reading ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, i * 64, DATA);
			if (ret)
				return ret;
		}
		drv_ring_kick(&r->b.rings[0]);
		ret = settle(r);
		for (unsigned i = 0; i < IOS && reading && !ret; i++) {
			pattern(want, i, round / 2);
			if (memcmp(want, r->io[i].data, DATA) != 0)
				ret = -EILSEQ;
		}
		if (ret)
			return ret;
	}
	// Each request of each round lost its pages; that many have to have been asked for
	return r->asked >= 2 * ROUNDS * IOS ? CONF_PASS : -ENOMSG;
}

int conf_blk_iommu(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	struct drv_blk_conf conf = {
		.path = env->socket,
		.packed = packed,
		.ring_size = 64,
		.more = row->more,
		.backend_req = true,
	};
	struct rig r = { .asked = 0 };
	int ret = drv_blk_open(&r.b, &conf);

	if (ret)
		return ret == -ENOTSUP ? CONF_NOT_OFFERED : ret;
	if ((row->more & ~r.b.vu.features) || r.b.vu.backend_fd < 0)
		ret = CONF_NOT_OFFERED;
	for (unsigned i = 0; i < IOS && ret == CONF_PASS; i++)
		ret = drv_blk_io_init(&r.b, &r.io[i], DATA, 0);
	if (ret == CONF_PASS)
		ret = rounds(&r);
	drv_blk_close(&r.b);
	return ret;
}
