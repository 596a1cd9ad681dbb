// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv attach: hold a front-end with all its rings running and do nothing, as an idle guest does.
 */
#include "vdrv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

/* One front-end. */
union end {
	struct drv_net net;
	struct drv_blk blk;
};

struct held {
	bool is_net;
	uint64_t n; // attached
	union end *end; // owned; n entries
};

static int hold(struct held *h, const char *path)
{
	union end *e = &h->end[h->n];
	int ret = h->is_net ? attach_net(&e->net, path) : attach_blk(&e->blk, path);

	if (ret)
		fprintf(stderr, "vdrv: %s: %s\n", path, strerror(-ret));
	else
		h->n++;
	return ret;
}

static int hold_fd(const struct held *h, uint64_t i)
{
	return h->is_net ? h->end[i].net.vu.fd : h->end[i].blk.vu.fd;
}

static void release(struct held *h)
{
	while (h->n--)
		if (h->is_net)
			drv_net_close(&h->end[h->n].net);
		else
			drv_blk_close(&h->end[h->n].blk);
	free(h->end);
}

/* Until a signal (0) or the end of a back-end (-EPIPE). */
static int stay(const struct held *h, int signals)
{
	struct pollfd *p = calloc(h->n + 1, sizeof(*p));
	int ret = 0;

	if (!p)
		return -ENOMEM;
	for (uint64_t i = 0; i < h->n; i++)
		p[i] = (struct pollfd){ .fd = hold_fd(h, i), .events = POLLRDHUP };
	p[h->n] = (struct pollfd){ .fd = signals, .events = POLLIN };
	while (ret == 0 && poll(p, h->n + 1, -1) < 0)
		if (errno != EINTR)
			ret = -errno;
	if (ret == 0 && !p[h->n].revents)
		ret = -EPIPE;
	free(p);
	return ret;
}

/* The socket, or with a count sockets of that name with a number behind it. */
static int hold_all(struct held *h, const char *path, uint64_t count)
{
	char name[128];
	int ret = 0;

	h->end = calloc(count ? count : 1, sizeof(*h->end));
	if (!h->end)
		return -ENOMEM;
	if (!count)
		return hold(h, path);
	for (uint64_t i = 0; !ret && i < count; i++) {
		snprintf(name, sizeof(name), "%s%llu", path, (unsigned long long)i);
		ret = hold(h, name);
	}
	return ret;
}

int vdrv_attach(int argc, char **argv)
{
	const char *socket = NULL, *type = "blk";
	uint64_t count = 0;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "type", DPU_OPT_STR, &type, "TYPE", "net or blk", 0, 0 },
		{ "count", DPU_OPT_UINT, &count, "N", "attach to PATH0 to PATH(N-1) instead", 0,
			4096 },
	};
	const struct dpu_cli cli = { "vdrv attach",
		"Start all rings of functions, print \"attached\" and stay until SIGTERM",
		"--socket PATH --type TYPE [--count N]", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv), signals;
	struct held h = { 0 };
	sigset_t set;

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	h.is_net = !strcmp(type, "net");
	if (!socket || (!h.is_net && strcmp(type, "blk") != 0)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	ret = signals < 0 ? -errno : hold_all(&h, socket, count);
	if (!ret) {
		puts("attached");
		fflush(stdout);
		ret = stay(&h, signals);
		if (ret)
			fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
	}
	release(&h);
	if (signals >= 0)
		close(signals);
	return ret ? 1 : 0;
}
