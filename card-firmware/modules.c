// SPDX-License-Identifier: Apache-2.0
/* The one table that says what cardd is made of and in which order it starts. */
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <rte_mempool.h>

#include "card.h"
#include "ct_keep.h"
#include "datapath.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "eal.h"
#include "loop.h"
#include "nvmf.h"
#include "standby.h"
#include "storage.h"
#include "vho_device.h"
#include "vm.h"

/* Anonymous private memory and ELF headers: no mapping that is shared with a guest. */
#define COREDUMP_FILTER "0x11"
/* How long a start waits for files that a dead card's requests hold, all of them together. */
#define PATIENCE_NS 2000000000ull

static int process_start(struct card *c)
{
	struct rlimit lim;
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	(void)c;
	if (fd < 0 || write(fd, COREDUMP_FILTER, strlen(COREDUMP_FILTER)) < 0)
		dpu_warn("card: a core dump would hold guest memory", "err=%d", errno);
	if (fd >= 0)
		close(fd);
	// A guest with many queues and memory regions takes hundreds of descriptors.
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
			dpu_warn("card: limit of open files stays", "err=%d", errno);
	}
	return 0;
}

static int guard_start(struct card *c)
{
	(void)c;
	return vho_mem_guard_init();
}

/* Make the directory if it is missing; its parents are there. */
static int make_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	dpu_err("card: cannot make directory", "path=%s err=%d (%s)", path, errno, strerror(errno));
	return errno == EEXIST ? -ENOTDIR : -errno;
}

static int dirs_start(struct card *c)
{
	char parent[4096];
	const char *slash = strrchr(c->opt.socket_dir, '/');
	size_t len = slash ? (size_t)(slash - c->opt.socket_dir) : 0;

	if (len > 0 && len < sizeof(parent)) {
		int ret;

		memcpy(parent, c->opt.socket_dir, len);
		parent[len] = 0;
		ret = make_dir(parent);
		if (ret)
			return ret;
	}
	return make_dir(c->opt.socket_dir);
}

static int eal_start(struct card *c)
{
	int n = card_eal_start(&c->opt);

	if (n < 0)
		return n;
	c->n_workers = (unsigned)n;
	return 0;
}

static void eal_stop(struct card *c)
{
	(void)c;
	card_eal_stop();
}

static int pool_start(struct card *c)
{
	return card_pool_create(&c->opt, &c->pool);
}

static void pool_stop(struct card *c)
{
	rte_mempool_free(c->pool);
	c->pool = NULL;
}

static int workers_start(struct card *c)
{
	struct card_workers_conf conf = {
		.n = c->n_workers,
		.spin_us = (unsigned)c->opt.spin_us,
	};

	return card_workers_start(&conf, &c->workers);
}

static void workers_stop(struct card *c)
{
	card_workers_stop(c->workers);
	c->workers = NULL;
}

static int patience_start(struct card *c)
{
	c->patient_until_ns = dpu_now_ns() + PATIENCE_NS;
	return 0;
}

static int patience_end(struct card *c)
{
	c->patient_until_ns = 0;
	card_lvols_sweep(c);
	return 0;
}

static int config_start(struct card *c)
{
	return c->opt.config ? card_config_load(c, c->opt.config) : 0;
}

static int store_start(struct card *c)
{
	return c->opt.state_dir ? card_store_open(c) : 0;
}

static int metrics_start(struct card *c)
{
	return c->opt.metrics_port ? card_metrics_start(c) : 0;
}

static const struct module {
	const char *name;
	int (*start)(struct card *c);
	void (*stop)(struct card *c); // NULL: nothing to undo
} modules[] = {
	{ "process", process_start, NULL },
	{ "guard", guard_start, NULL },
	{ "eal", eal_start, eal_stop },
	{ "packets", pool_start, pool_stop },
	{ "workers", workers_start, workers_stop },
	{ "storage", card_storage_start, card_storage_stop },
	{ "datapath", card_datapath_start, card_datapath_stop },
	{ "inventory", card_inventory_init, card_inventory_fini },
	{ "machines", card_vms_init, card_vms_fini },
	{ "target", card_nvmf_start, card_nvmf_stop },
	// Above: what needs no name in the file system and no guest. A spare waits here.
	{ "standby", card_standby_start, card_standby_stop },
	{ "directories", dirs_start, NULL },
	{ "connections", card_ct_keep_load, card_ct_keep_free },
	{ "patience", patience_start, NULL },
	{ "configuration", config_start, NULL },
	{ "store", store_start, card_store_close },
	{ "started", patience_end, NULL },
	{ "agents", card_vms_listen, NULL },
	{ "metrics", metrics_start, card_metrics_stop },
	{ "rpc", card_rpc_start, card_rpc_stop },
	// Below: what answers clients while it stops.
	{ "snapshots", card_ct_keep_start, card_ct_keep_stop },
};

#define N_MODULES (sizeof(modules) / sizeof(modules[0]))

static void stop_from(struct card *c, size_t n)
{
	while (n-- > 0)
		if (modules[n].stop)
			modules[n].stop(c);
}

int card_modules_start(struct card *c)
{
	for (size_t i = 0; i < N_MODULES; i++) {
		int ret = modules[i].start(c);

		if (ret && c->stopping) {
			stop_from(c, i);
			return -ECANCELED;
		}
		if (ret) {
			dpu_err("card: start failed", "module=%s err=%d (%s)", modules[i].name, ret,
				strerror(ret < 0 ? -ret : ret));
			stop_from(c, i);
			return ret;
		}
	}
	return 0;
}

void card_modules_stop(struct card *c)
{
	stop_from(c, N_MODULES);
}
