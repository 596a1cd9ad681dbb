// SPDX-License-Identifier: Apache-2.0
/* Functions of the inventory: NICs on a switch port, disks on a volume, each behind a socket. */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <linux/virtio_config.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc_schema.h"
#include "vm.h"

#define BLK_QUEUES_MAX 256
#define BLK_SEG_DEFAULT 126 // what QEMU's default queue of 128 descriptors can carry
#define BLK_SEG_MAX 1022
#define BLK_DEPTH 256

struct card_function *card_function_find(struct card *c, const char *name)
{
	struct card_function *f;

	TAILQ_FOREACH (f, &c->inv->functions, link)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

static void function_free(struct card_function *f)
{
	vho_vu_destroy(f->vu); // stops the queues
	if (f->port)
		odp_port_del(f->port);
	f->port = NULL;
	vho_net_destroy(f->net);
	vho_blk_destroy(f->blk);
	if (f->vol)
		f->vol->users--;
	free(f->chans);
	free(f->deferred);
	free(f->kicks);
	free(f->coal);
	free(f->net_port.dropped);
	free(f->socket);
	free(f);
}

static int function_alloc(
	struct card *c, const char *name, enum vho_dev_kind kind, struct card_function **out)
{
	struct card_function *f = dpu_calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	memcpy(f->name, name, strlen(name));
	f->kind = kind;
	f->card = c;
	f->host = card_queue_host;
	f->host.arg = f;
	f->host.loop = &c->vho_loop;
	if (asprintf(&f->socket, "%s/%s", c->opt.socket_dir, name) < 0) {
		free(f);
		return -ENOMEM;
	}
	*out = f;
	return 0;
}

/* The name is one, and its socket's path fits. */
static int check_new(struct card *c, const char *name, struct card_error *e)
{
	struct sockaddr_un sun;

	if (!card_name_ok(name))
		return card_fail(e, -EINVAL, "name: not a valid name");
	if (strlen(c->opt.socket_dir) + 1 + strlen(name) >= sizeof(sun.sun_path))
		return card_fail(e, -ENAMETOOLONG, "%s: path of the socket is too long", name);
	return 0;
}

static int other_parameters(const char *name, struct card_error *e)
{
	return card_fail(e, -EEXIST, "%s: exists with other parameters", name);
}

static int listen_on(struct card_function *f, bool client, bool host_notifier)
{
	if (host_notifier)
		vho_dev_offer_notifiers(f->dev);
	return vho_vu_create(
		f->dev, f->socket, client ? VHO_VU_CLIENT : VHO_VU_SERVER, &f->host, &f->vu);
}

static int finish(struct card_function *f, int ret, struct card_error *e)
{
	if (ret) {
		ret = card_fail(e, ret, "%s: %s: %s", f->name, f->socket, strerror(-ret));
		function_free(f);
		return ret;
	}
	TAILQ_INSERT_TAIL(&f->card->inv->functions, f, link);
	dpu_info("device: created", "name=%s kind=%s socket=%s", f->name,
		f->kind == VHO_DEV_NET ? "net" : "blk", f->socket);
	return 0;
}

/* ---- NIC ---- */

static int net_open(struct card_function *f)
{
	const struct card_net_conf *conf = &f->net_conf;
	struct card *c = f->card;
	struct vho_net_conf net_conf = {
		.name = f->name,
		.max_pairs = conf->n_pairs,
		.mtu = conf->mtu,
		.features_off = conf->features_off,
		.speed_mbps = conf->speed_mbps,
		.half_duplex = conf->half_duplex,
		.standby = conf->standby,
		.pool = c->pool,
		.lends = true, // the datapath keeps ODP_F_LENT's promise
	};
	struct odp_port_conf port_conf = {
		.name = f->name,
		.kind = "vhost-net",
		.n_rxq = conf->n_pairs,
		.n_txq = conf->n_pairs,
		.ops = card_net_port_ops(conf->n_pairs),
	};
	int ret;

	memcpy(net_conf.mac, conf->mac, sizeof(net_conf.mac));
	f->kicks = dpu_calloc(2u * conf->n_pairs, sizeof(*f->kicks));
	f->coal = dpu_calloc(2u * conf->n_pairs, sizeof(*f->coal));
	f->net_port.dropped = dpu_calloc(conf->n_pairs, sizeof(*f->net_port.dropped));
	if (!f->kicks || !f->coal || !f->net_port.dropped)
		return -ENOMEM;
	for (unsigned i = 0; i < 2u * conf->n_pairs; i++)
		f->coal[i] = (struct card_coal){ .f = f, .idx = i };
	ret = vho_net_create(&net_conf, &f->host, &f->net);
	if (ret)
		return ret;
	f->dev = vho_net_dev(f->net);
	f->net_port.net = f->net;
	f->net_port.gro = conf->gro;
	port_conf.drv = &f->net_port;
	ret = odp_port_add(c->dp, &port_conf, &f->port);
	if (ret)
		return ret;
	f->first_worker = card_take_workers(c, conf->n_pairs);
	return listen_on(f, conf->client, conf->host_notifier);
}

static bool same_net(const struct card_net_conf *a, const struct card_net_conf *b)
{
	return !memcmp(a->mac, b->mac, sizeof(a->mac)) && a->n_pairs == b->n_pairs &&
	       a->mtu == b->mtu && a->features_off == b->features_off &&
	       a->speed_mbps == b->speed_mbps && a->half_duplex == b->half_duplex &&
	       a->standby == b->standby && a->client == b->client &&
	       a->host_notifier == b->host_notifier && a->gro == b->gro;
}

int card_net_create(struct card *c, const struct card_net_conf *conf, struct card_error *e)
{
	int ret = check_new(c, conf->name, e);
	struct card_function *f;

	if (ret)
		return ret;
	if (conf->n_pairs == 0 || conf->n_pairs > VHO_NET_PAIRS_MAX)
		return card_fail(e, -EINVAL, "queue_pairs: must be 1 to %u", VHO_NET_PAIRS_MAX);
	f = card_function_find(c, conf->name);
	if (f && f->kind == VHO_DEV_NET)
		return same_net(&f->net_conf, conf) ? 0 : other_parameters(conf->name, e);
	ret = card_name_free(c, conf->name, e);
	if (ret)
		return ret;
	ret = function_alloc(c, conf->name, VHO_DEV_NET, &f);
	if (ret)
		return card_fail(e, ret, "out of memory");
	f->net_conf = *conf;
	f->net_conf.name = f->name;
	return finish(f, net_open(f), e);
}

int card_net_link_set(struct card *c, const char *name, enum card_link link, struct card_error *e)
{
	struct card_function *f = card_function_find(c, name);

	if (!f)
		return card_fail(e, -ENODEV, "%s: no such NIC", name);
	if (f->kind != VHO_DEV_NET)
		return card_fail(e, -EINVAL, "%s: is a disk", name);
	atomic_store_explicit(&f->net_port.link_down, link == CARD_LINK_DOWN, memory_order_relaxed);
	vho_net_link_set(f->net, link == CARD_LINK_UP);
	(void)vho_vu_config_changed(f->vu); // without a front-end there is nobody to tell
	return 0;
}

/* ---- disk ---- */

static int blk_open(struct card_function *f)
{
	const struct card_blk_conf *conf = &f->blk_conf;
	struct vho_blk_conf blk_conf = {
		.name = f->name,
		.serial = f->vol->name,
		.n_queues = conf->n_queues,
		.seg_max = conf->seg_max ? conf->seg_max : BLK_SEG_DEFAULT,
		.size_max = conf->size_max,
		.secure_erase = conf->secure_erase,
		.depth = BLK_DEPTH,
		.read_only = conf->read_only,
		.features_off = conf->packed_ring ? 0 : 1ull << VIRTIO_F_RING_PACKED,
		.ops = card_blk_store_ops(),
		.store = f->vol->vol,
	};
	int ret;

	f->chans = dpu_calloc(conf->n_queues, sizeof(struct card_chan *));
	f->deferred = dpu_calloc(conf->n_queues, sizeof(*f->deferred));
	if (!f->chans || !f->deferred)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->n_queues; i++)
		f->deferred[i] = CARD_NOT_DEFERRED;
	ret = vho_blk_create(&blk_conf, &f->host, &f->blk);
	if (ret)
		return ret;
	f->dev = vho_blk_dev(f->blk);
	f->first_worker = card_take_workers(f->card, conf->n_queues);
	return listen_on(f, conf->client, conf->host_notifier);
}

static bool same_blk(const struct card_blk_conf *a, const struct card_blk_conf *b)
{
	return !strcmp(a->volume, b->volume) && a->read_only == b->read_only &&
	       a->packed_ring == b->packed_ring && a->n_queues == b->n_queues &&
	       a->seg_max == b->seg_max && a->size_max == b->size_max &&
	       a->secure_erase == b->secure_erase && a->client == b->client &&
	       a->host_notifier == b->host_notifier;
}

int card_blk_create(struct card *c, const struct card_blk_conf *conf, struct card_error *e)
{
	int ret = check_new(c, conf->name, e);
	struct card_function *f;
	struct card_volume *v;

	if (ret)
		return ret;
	if (conf->n_queues == 0 || conf->n_queues > BLK_QUEUES_MAX)
		return card_fail(e, -EINVAL, "num_queues: must be 1 to %u", BLK_QUEUES_MAX);
	if (conf->seg_max > BLK_SEG_MAX)
		return card_fail(e, -EINVAL, "seg_max: must be at most %u", BLK_SEG_MAX);
	if (conf->size_max % 4096)
		return card_fail(e, -EINVAL, "size_max: must be a multiple of 4096");
	f = card_function_find(c, conf->name);
	if (f && f->kind == VHO_DEV_BLK)
		return same_blk(&f->blk_conf, conf) ? 0 : other_parameters(conf->name, e);
	ret = card_name_free(c, conf->name, e);
	if (ret)
		return ret;
	v = conf->volume ? card_volume_find(c, conf->volume) : NULL;
	if (!v)
		return card_fail(
			e, -ENODEV, "%s: no such volume", conf->volume ? conf->volume : "");
	if (v->above)
		return card_fail(e, -EBUSY, "%s: is below %s", v->name, v->above->name);
	ret = function_alloc(c, conf->name, VHO_DEV_BLK, &f);
	if (ret)
		return card_fail(e, ret, "out of memory");
	f->vol = v;
	v->users++;
	f->blk_conf = *conf;
	f->blk_conf.name = f->name;
	f->blk_conf.volume = v->name;
	return finish(f, blk_open(f), e);
}

int card_function_delete(struct card *c, const char *name, struct card_error *e)
{
	struct card_function *f = card_function_find(c, name);
	const struct card_vm *vm;

	if (!f)
		return card_fail(e, -ENODEV, "%s: no such function", name);
	vm = card_vm_of_function(c, name);
	if (vm)
		return card_fail(e, -EBUSY, "%s: is a function of VM %s", name, vm->name);
	TAILQ_REMOVE(&c->inv->functions, f, link);
	dpu_info("device: deleted", "name=%s", f->name);
	function_free(f);
	return 0;
}
