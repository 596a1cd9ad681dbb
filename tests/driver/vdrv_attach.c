// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv attach: hold a front-end with all its rings running and do nothing, as an idle guest does.
 */
#include "vdrv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "drv_blk.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* All queues that the disk has: a first session asks for their number. */
static int attach_blk(struct drv_blk *b, const char *path)
{
	struct drv_blk_conf c = { .path = path };
	int ret = drv_blk_open(b, &c);

	if (ret || b->cfg.num_queues < 2)
		return ret;
	c.n_queues = b->cfg.num_queues;
	if (c.n_queues > DRV_BLK_QUEUES_MAX)
		c.n_queues = DRV_BLK_QUEUES_MAX;
	drv_blk_close(b);
	return drv_blk_open(b, &c);
}

static int attach_net(struct drv_net *n, const char *path)
{
	struct drv_net_conf c = {
		.path = path, .mrg = true, .ctrl = true, .more = DRV_BIT(VIRTIO_NET_F_MQ)
	};
	int ret = drv_net_open(n, &c);

	if (ret || n->max_pairs < 2)
		return ret;
	c.pairs = n->max_pairs;
	if (c.pairs > DRV_NET_PAIRS_MAX)
		c.pairs = DRV_NET_PAIRS_MAX;
	drv_net_close(n);
	return drv_net_open(n, &c);
}

/* Until a signal (0) or the back-end's end (-EPIPE). */
static int stay(int fd, int signals)
{
	struct pollfd p[] = { { .fd = signals, .events = POLLIN },
		{ .fd = fd, .events = POLLRDHUP } };

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return p[0].revents ? 0 : -EPIPE;
}

int vdrv_attach(int argc, char **argv)
{
	const char *socket = NULL, *type = "blk";
	static struct drv_net n;
	struct drv_blk b = { 0 };
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "type", DPU_OPT_STR, &type, "TYPE", "net or blk", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv attach",
		"Start all rings of a function, print \"attached\" and stay until SIGTERM",
		"--socket PATH --type TYPE", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv), signals;
	bool net = !strcmp(type, "net");
	sigset_t set;

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!socket || (!net && strcmp(type, "blk") != 0)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	ret = signals < 0 ? -errno : net ? attach_net(&n, socket) : attach_blk(&b, socket);
	if (!ret) {
		puts("attached");
		fflush(stdout);
		ret = stay(net ? n.vu.fd : b.vu.fd, signals);
		if (net)
			drv_net_close(&n);
		else
			drv_blk_close(&b);
	}
	if (signals >= 0)
		close(signals);
	if (ret)
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
	return ret ? 1 : 0;
}
