// SPDX-License-Identifier: Apache-2.0
/* Uplinks of the inventory: an ethdev, its switch port, its queues on workers. */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "rpc_schema.h"

#define LINK_POLL_MS 100

struct card_uplink *card_uplink_find(struct card *c, const char *name)
{
	struct card_uplink *u;

	TAILQ_FOREACH (u, &c->inv->uplinks, link)
		if (!strcmp(u->name, name))
			return u;
	return NULL;
}

struct queue {
	struct card_uplink *u;
	uint16_t idx;
};

/* Worker. Without an fd the datapath asks for naps. */
static int attach(struct card_worker *w, void *arg)
{
	const struct queue *q = arg;
	struct odp_worker *ow = odp_worker(q->u->card->dp, card_worker_idx(w));
	int fd = odp_ethdev_rx_fd(q->u->dev, q->idx);
	int ret = odp_txq_attach(ow, q->u->port, q->idx);

	if (ret)
		return ret;
	ret = odp_rxq_attach(ow, q->u->port, q->idx);
	if (ret)
		goto err_txq;
	ret = fd >= 0 ? card_worker_fd_add(w, fd) : 0;
	if (ret)
		goto err_rxq;
	return 0;

err_rxq:
	odp_rxq_detach(ow, q->u->port, q->idx);
err_txq:
	odp_txq_detach(ow, q->u->port, q->idx);
	return ret;
}

static int detach(struct card_worker *w, void *arg)
{
	const struct queue *q = arg;
	struct odp_worker *ow = odp_worker(q->u->card->dp, card_worker_idx(w));
	int fd = odp_ethdev_rx_fd(q->u->dev, q->idx);

	if (fd >= 0)
		card_worker_fd_del(w, fd);
	odp_rxq_detach(ow, q->u->port, q->idx);
	odp_txq_detach(ow, q->u->port, q->idx);
	return 0;
}

static void on_link_timer(evutil_socket_t fd, short what, void *arg)
{
	struct card_uplink *u = arg;
	struct odp_port_caps caps;

	(void)fd;
	(void)what;
	if (!odp_ethdev_poll(u->dev, u->port))
		return;
	odp_ethdev_ops()->caps(u->dev, &caps);
	dpu_info("uplink: link changed", "name=%s up=%d", u->name, caps.up);
}

static int watch_link(struct card_uplink *u)
{
	static const struct timeval every = { .tv_usec = LINK_POLL_MS * 1000 };

	u->link_timer = event_new(u->card->loop, -1, EV_PERSIST, on_link_timer, u);
	if (!u->link_timer || event_add(u->link_timer, &every) < 0)
		return -ENOMEM;
	odp_port_caps_changed(u->port);
	(void)odp_ethdev_poll(u->dev, u->port);
	return 0;
}

static void uplink_free(struct card_uplink *u)
{
	if (u->link_timer)
		event_free(u->link_timer);
	while (u->n_attached) {
		struct queue q = { u, (uint16_t)--u->n_attached };

		card_worker_call(card_worker_of(u->card, u->first_worker, q.idx), detach, &q);
	}
	if (u->port)
		odp_port_del(u->port);
	if (u->dev)
		odp_ethdev_close(u->dev);
	free(u->devargs);
	free(u);
}

static int uplink_open(struct card_uplink *u)
{
	struct card *c = u->card;
	struct odp_ethdev_conf dev_conf = {
		.name = u->name,
		.devargs = u->devargs,
		.n_queues = u->conf.n_queues,
		.mtu = u->conf.mtu,
		.pool = c->pool,
	};
	struct odp_port_conf port_conf = { .name = u->name,
		.kind = "uplink",
		.switched = u->conf.switched,
		.ops = odp_ethdev_ops() };
	int ret = odp_ethdev_open(&dev_conf, &u->dev);

	if (ret)
		return ret;
	port_conf.n_rxq = port_conf.n_txq = odp_ethdev_n_queues(u->dev);
	port_conf.drv = u->dev;
	ret = odp_port_add(c->dp, &port_conf, &u->port);
	if (ret)
		return ret;
	u->first_worker = card_take_workers(c, port_conf.n_rxq);
	for (; u->n_attached < port_conf.n_rxq; u->n_attached++) {
		struct queue q = { u, (uint16_t)u->n_attached };

		ret = card_worker_call(card_worker_of(c, u->first_worker, q.idx), attach, &q);
		if (ret)
			return ret;
	}
	return watch_link(u);
}

void card_uplink_view_init(struct card_uplink *u, struct card_uplink_view *out)
{
	*out = (struct card_uplink_view){ .conf = u->conf, .port = u->port };
	odp_ethdev_ops()->caps(u->dev, &out->caps);
	if (!odp_ethdev_mac(u->dev, out->mac))
		card_mac_derive(u->card, u->name, out->mac);
}

int card_uplink_get(
	struct card *c, const char *name, struct card_uplink_view *out, struct card_error *e)
{
	struct card_uplink *u = card_uplink_find(c, name);

	if (!u)
		return card_fail(e, -ENODEV, "uplink: %s: no such uplink", name);
	card_uplink_view_init(u, out);
	return 0;
}

static bool same(const struct card_uplink_conf *a, const struct card_uplink_conf *b)
{
	return a->n_queues == b->n_queues && a->mtu == b->mtu && a->switched == b->switched &&
	       !strcmp(a->devargs, b->devargs);
}

int card_uplink_create(struct card *c, const struct card_uplink_conf *conf, struct card_error *e)
{
	struct card_uplink *u;
	int ret;

	if (!card_name_ok(conf->name))
		return card_fail(e, -EINVAL, "name: not a valid name");
	if (!conf->devargs || !conf->devargs[0])
		return card_fail(e, -EINVAL, "device: missing");
	u = card_uplink_find(c, conf->name);
	if (u && same(&u->conf, conf))
		return 0;
	if (u)
		return card_fail(e, -EEXIST, "%s: exists with other parameters", conf->name);
	ret = card_name_free(c, conf->name, e);
	if (ret)
		return ret;
	u = dpu_calloc(1, sizeof(*u));
	if (!u)
		return card_fail(e, -ENOMEM, "out of memory");
	u->card = c;
	memcpy(u->name, conf->name, strlen(conf->name));
	u->conf = *conf;
	u->conf.name = u->name;
	u->conf.devargs = u->devargs = strdup(conf->devargs);
	ret = u->devargs ? uplink_open(u) : -ENOMEM;
	if (ret) {
		uplink_free(u);
		return card_fail(e, ret, "%s: %s: %s", conf->name, conf->devargs, strerror(-ret));
	}
	TAILQ_INSERT_TAIL(&c->inv->uplinks, u, link);
	dpu_info("uplink: created", "name=%s device=%s queues=%u", u->name, u->devargs,
		u->n_attached);
	return 0;
}

int card_uplink_set_switched(
	struct card *c, const char *name, enum odp_switched how, struct card_error *e)
{
	struct card_uplink *u = card_uplink_find(c, name);

	if (!u)
		return card_fail(e, -ENODEV, "%s: no such uplink", name);
	odp_port_set_switched(u->port, how);
	return 0;
}

int card_uplink_delete(struct card *c, const char *name, struct card_error *e)
{
	struct card_uplink *u = card_uplink_find(c, name);

	if (!u)
		return card_fail(e, -ENODEV, "%s: no such uplink", name);
	TAILQ_REMOVE(&c->inv->uplinks, u, link);
	dpu_info("uplink: deleted", "name=%s", u->name);
	uplink_free(u);
	return 0;
}
