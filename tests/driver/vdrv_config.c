// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv blk-config: what a driver sees of a resize: the back-end's message, then the new capacity.
 */
#include "vdrv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "drv_blk.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int capacity(struct drv_blk *b, uint64_t *sectors)
{
	int ret = drv_vu_get_config(&b->vu);

	if (ret)
		return ret;
	memcpy(&b->cfg, b->vu.config, sizeof(b->cfg));
	*sectors = b->cfg.capacity;
	return 0;
}

/* The last sector that the new size has can be read, the one after it cannot. */
static int try_end(struct drv_blk *b, uint64_t sectors)
{
	struct drv_blk_io io;
	int ret = drv_blk_io_init(b, &io, 512, 0);

	if (ret)
		return ret;
	ret = drv_blk_sync(b, 0, &io, VIRTIO_BLK_T_IN, sectors - 1, 512, DRV_TIMEOUT_MS);
	if (ret != VIRTIO_BLK_S_OK)
		return ret < 0 ? ret : -EIO;
	ret = drv_blk_sync(b, 0, &io, VIRTIO_BLK_T_IN, sectors, 512, DRV_TIMEOUT_MS);
	return ret == VIRTIO_BLK_S_IOERR ? 0 : -ERANGE;
}

static int watch(struct drv_blk *b, int timeout_ms)
{
	uint64_t sectors = 0;
	int ret = capacity(b, &sectors);

	if (ret)
		return ret;
	printf("capacity %lu\n", sectors);
	fflush(stdout);
	ret = drv_vu_backend_wait(&b->vu, timeout_ms);
	if (ret != DRV_BACKEND_CONFIG_CHANGE)
		return ret < 0 ? ret : -EPROTO;
	ret = capacity(b, &sectors);
	if (ret)
		return ret;
	printf("changed %lu\n", sectors);
	return try_end(b, sectors);
}

int vdrv_blk_config(int argc, char **argv)
{
	const char *socket = NULL;
	uint64_t timeout_ms = 10000;
	struct drv_blk b;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "timeout-ms", DPU_OPT_UINT, &timeout_ms, "MS", "wait at most", 1, 600000 },
	};
	const struct dpu_cli cli = { "vdrv blk-config",
		"Print a disk's capacity in sectors, and again when the back-end says it changed",
		"--socket PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!socket) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	const struct drv_blk_conf c = { .path = socket, .backend_req = true };

	ret = drv_blk_open(&b, &c);
	if (!ret) {
		ret = watch(&b, (int)timeout_ms);
		drv_blk_close(&b);
	}
	if (ret)
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
	return ret ? 1 : 0;
}
