// SPDX-License-Identifier: Apache-2.0
/* A function's queues on workers: what struct vho_host asks of the card. */
#include "device.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <rte_common.h>

#include "datapath.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "storage.h"

#define BLK_BUDGET 32
#define DRAIN_STEP_NS 200000L
#define REAP_MS 100
#define STUCK_NAP_US 10000 // a full submission ring has no event: look again by time

struct call {
	struct card_function *f;
	unsigned idx;
	int kick_fd;
};

/* ---- NIC; on the worker ---- */

static void on_net_kick(struct card_watch *watch)
{
	struct card_kick *k = (struct card_kick *)((char *)watch -
						   offsetof(struct card_kick, watch));

	odp_rxq_wake(k->w, k->port, k->pair);
}

static void on_net_resume(struct card_watch *watch)
{
	struct card_kick *k = (struct card_kick *)((char *)watch -
						   offsetof(struct card_kick, watch));

	(void)vho_net_tx_resume(k->net, k->pair);
}

static unsigned coal_poll(void *arg)
{
	const struct card_coal *k = arg;

	return vho_net_coal_poll(k->f->net, k->idx);
}

static unsigned coal_nap_us(void *arg)
{
	const struct card_coal *k = arg;

	return vho_net_coal_left_us(k->f->net, k->idx);
}

/* Look after the queue's calls while it runs and its driver wants some of them later. */
static int coal_sync(struct card_worker *w, void *arg)
{
	struct card_coal *k = arg;
	bool poll = k->running && vho_net_coalesces(k->f->net, k->idx);
	int ret = 0;

	if (poll && !k->polled) {
		k->poller = (struct card_poller){
			.poll = coal_poll, .nap_us = coal_nap_us, .arg = k
		};
		ret = card_worker_poller_add(w, &k->poller);
		k->polled = !ret;
	} else if (!poll && k->polled) {
		card_worker_poller_del(w, &k->poller);
		vho_net_coal_flush(k->f->net, k->idx);
		k->polled = false;
	}
	return ret;
}

static void coal_run(struct card_worker *w, struct card_coal *k, bool running)
{
	k->running = running;
	(void)coal_sync(w, k); // without a poller packets alone send the calls
}

/* The receiveq: packets to the guest. */
static int net_attach_tx(struct card_worker *w, const struct call *q)
{
	struct card_function *f = q->f;
	struct odp_worker *ow = odp_worker(f->card->dp, card_worker_idx(w));
	uint16_t pair = (uint16_t)(q->idx / 2);
	struct card_kick *k = &f->kicks[q->idx];
	int ret = 0;

	*k = (struct card_kick){ { on_net_resume }, -1, ow, f->port, f->net, pair };
	if (vho_net_holds(f->net) && q->kick_fd >= 0) {
		k->fd = q->kick_fd;
		ret = card_worker_fd_watch(w, k->fd, &k->watch);
		if (ret)
			return ret;
	}
	ret = odp_txq_attach(ow, f->port, pair);
	if (ret) {
		if (k->fd >= 0)
			card_worker_fd_del(w, k->fd);
		return ret;
	}
	vho_dev_queue_run(f->dev, q->idx, true);
	coal_run(w, &f->coal[q->idx], true);
	return 0;
}

static int net_attach(struct card_worker *w, void *arg)
{
	const struct call *q = arg;
	struct card_function *f = q->f;
	struct odp_worker *ow = odp_worker(f->card->dp, card_worker_idx(w));
	uint16_t pair = (uint16_t)(q->idx / 2);
	struct card_kick *k = &f->kicks[q->idx];
	int ret;

	if (q->idx % 2 == 0)
		return net_attach_tx(w, q);
	*k = (struct card_kick){ { on_net_kick }, q->kick_fd, ow, f->port, f->net, pair };
	ret = k->fd >= 0 ? card_worker_fd_watch(w, k->fd, &k->watch) : 0;
	if (ret)
		return ret;
	ret = odp_rxq_attach(ow, f->port, pair);
	if (ret) {
		if (k->fd >= 0)
			card_worker_fd_del(w, k->fd);
		return ret;
	}
	if (k->fd < 0)
		card_datapath_kickless(f->card, w, 1);
	else
		odp_rxq_wakeable(ow, f->port, pair);
	vho_dev_queue_run(f->dev, q->idx, true);
	coal_run(w, &f->coal[q->idx], true);
	return 0;
}

static int net_detach(struct card_worker *w, void *arg)
{
	const struct call *q = arg;
	struct card_function *f = q->f;
	struct odp_worker *ow = odp_worker(f->card->dp, card_worker_idx(w));
	uint16_t pair = (uint16_t)(q->idx / 2);

	coal_run(w, &f->coal[q->idx], false);
	vho_dev_queue_run(f->dev, q->idx, false);
	if (q->idx % 2 == 0) {
		odp_txq_detach(ow, f->port, pair);
		if (f->kicks[q->idx].fd >= 0)
			card_worker_fd_del(w, f->kicks[q->idx].fd);
		return 0;
	}
	odp_rxq_detach(ow, f->port, pair);
	if (f->kicks[q->idx].fd >= 0)
		card_worker_fd_del(w, f->kicks[q->idx].fd);
	else
		card_datapath_kickless(f->card, w, -1);
	return 0;
}

/* ---- disk; on the worker ---- */

static unsigned blk_poll(void *arg)
{
	struct card_chan *ch = arg;
	unsigned n = vol_chan_inflight(ch->chan) ? vol_chan_poll(ch->chan) : 0;

	return n + vho_blk_poll(ch->blk, ch->queue, ch->chan, BLK_BUDGET);
}

static bool blk_arm(void *arg)
{
	struct card_chan *ch = arg;

	if (vol_chan_inflight(ch->chan) && vol_chan_wait_us(ch->chan) == 0)
		return false;
	return vho_dev_queue_arm(vho_blk_dev(ch->blk), ch->queue);
}

static void blk_disarm(void *arg)
{
	struct card_chan *ch = arg;

	vho_dev_queue_disarm(vho_blk_dev(ch->blk), ch->queue);
}

static bool blk_may_park(void *arg)
{
	struct card_chan *ch = arg;

	return ch->kick_fd >= 0 && !vol_chan_inflight(ch->chan);
}

static void on_blk_event(struct card_watch *watch)
{
	struct card_chan *ch = (struct card_chan *)((char *)watch -
						    offsetof(struct card_chan, watch));

	card_worker_poller_wake(ch->w, &ch->poller);
}

static unsigned blk_nap_us(void *arg)
{
	struct card_chan *ch = arg;

	unsigned us = ch->kick_fd < 0 ? CARD_KICKLESS_NAP_US : STUCK_NAP_US;

	if (vol_chan_inflight(ch->chan))
		return RTE_MIN(us, vol_chan_wait_us(ch->chan));
	return ch->kick_fd < 0 ? us : 0;
}

static unsigned orphan_poll(void *arg)
{
	struct card_chan *ch = arg;

	return vol_chan_kick(ch->chan);
}

static unsigned orphan_nap_us(void *arg)
{
	(void)arg;
	return STUCK_NAP_US;
}

static int blk_attach(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;
	int ret = ch->kick_fd >= 0 ? card_worker_fd_watch(w, ch->kick_fd, &ch->watch) : 0;

	if (ret)
		return ret;
	ret = ch->chan_fd >= 0 ? card_worker_fd_watch(w, ch->chan_fd, &ch->watch) : 0;
	if (ret)
		goto err_kick;
	ret = card_worker_poller_add(w, &ch->poller);
	if (ret)
		goto err_chan;
	vho_dev_queue_run(vho_blk_dev(ch->blk), ch->queue, true);
	return 0;

err_chan:
	if (ch->chan_fd >= 0)
		card_worker_fd_del(w, ch->chan_fd);
err_kick:
	if (ch->kick_fd >= 0)
		card_worker_fd_del(w, ch->kick_fd);
	return ret;
}

/* No new requests from here on. */
static int blk_close_queue(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	vho_dev_queue_run(vho_blk_dev(ch->blk), ch->queue, false);
	card_worker_poller_del(w, &ch->poller);
	if (ch->kick_fd >= 0)
		card_worker_fd_del(w, ch->kick_fd);
	return 0;
}

/* Collect answers and give them to the guest. Returns how many are still to come. */
static int blk_drain(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	(void)w;
	vol_chan_drain(ch->chan);
	vho_blk_poll(ch->blk, ch->queue, ch->chan, 0);
	return (int)(vho_blk_inflight(ch->blk, ch->queue) + vol_chan_inflight(ch->chan));
}

static int blk_abandon(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	vho_blk_abandon(ch->blk, ch->queue);
	ch->poller = (struct card_poller){ orphan_poll, NULL, NULL, orphan_nap_us, ch, 0 };
	return card_worker_poller_add(w, &ch->poller); // -ENOSPC: the reaper's kicks do
}

static int orphan_check(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	(void)w;
	vol_chan_kick(ch->chan);
	return (int)vol_chan_inflight(ch->chan);
}

static int orphan_detach(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	if (ch->poller.poll)
		card_worker_poller_del(w, &ch->poller);
	return 0;
}

static int unwatch_chan(struct card_worker *w, void *arg)
{
	struct card_chan *ch = arg;

	if (ch->chan_fd >= 0)
		card_worker_fd_del(w, ch->chan_fd);
	return 0;
}

/* ---- control thread ---- */

static void chan_free(struct card_chan *ch)
{
	vol_chan_close(ch->chan);
	free(ch);
}

static int blk_start(struct card_function *f, unsigned idx, int kick_fd)
{
	struct card_chan *ch = dpu_calloc(1, sizeof(*ch));
	struct card_worker *w = card_worker_of(f->card, f->first_worker, idx);
	int ret;

	if (!ch)
		return -ENOMEM;
	ret = vol_chan_open(f->vol->vol, card_storage_group(f->card, w), &ch->chan);
	if (ret) {
		free(ch);
		return ret;
	}
	ch->vol = f->vol;
	ch->w = w;
	ch->blk = f->blk;
	ch->queue = idx;
	ch->kick_fd = kick_fd;
	ch->chan_fd = vol_chan_fd(ch->chan);
	ch->watch.ready = on_blk_event;
	ch->poller = (struct card_poller){ .poll = blk_poll,
		.arm = blk_arm,
		.disarm = blk_disarm,
		.nap_us = blk_nap_us,
		.arg = ch,
		.may_park = blk_may_park };
	ret = card_worker_call(ch->w, blk_attach, ch);
	if (ret) {
		chan_free(ch);
		return ret;
	}
	f->chans[idx] = ch;
	return 0;
}

/*
 * Requests of this disk, or of any other that used the volume before, are still out: a write of
 * theirs may be older than one that comes now, and reach the blocks after it.
 */
static bool has_orphans(const struct card_function *f)
{
	return f->vol->orphans > 0;
}

/* Queues that had to wait for orphans. */
static void start_deferred(struct card *c)
{
	struct card_function *f;

	TAILQ_FOREACH (f, &c->inv->functions, link) {
		if (f->kind != VHO_DEV_BLK || has_orphans(f))
			continue;
		for (unsigned i = 0; i < f->blk_conf.n_queues; i++) {
			int kick_fd = f->deferred[i], ret;

			if (kick_fd == CARD_NOT_DEFERRED)
				continue;
			f->deferred[i] = CARD_NOT_DEFERRED;
			ret = blk_start(f, i, kick_fd);
			if (ret)
				dpu_err("device: queue not started", "dev=%s queue=%u err=%d",
					f->name, i, ret);
		}
	}
}

static unsigned reap(struct card *c)
{
	struct card_chan *ch = TAILQ_FIRST(&c->inv->orphans), *next;
	unsigned left = 0;

	for (; ch; ch = next) {
		next = TAILQ_NEXT(ch, link);
		if (card_worker_call(ch->w, orphan_check, ch) > 0) {
			left++;
			continue;
		}
		card_worker_call(ch->w, orphan_detach, ch);
		card_worker_call(ch->w, unwatch_chan, ch);
		TAILQ_REMOVE(&c->inv->orphans, ch, link);
		ch->vol->orphans--;
		dpu_info("device: late answers are in", "volume=%s", ch->vol->name);
		chan_free(ch);
	}
	start_deferred(c);
	return left;
}

static void nap(void)
{
	const struct timespec ts = { .tv_nsec = DRAIN_STEP_NS };

	nanosleep(&ts, NULL);
}

static void on_reap(void *arg)
{
	struct card *c = arg;

	c->inv->reap_timer = NULL;
	if (reap(c))
		c->inv->reap_timer = c->vho_loop.timer(c->vho_loop.arg, REAP_MS, on_reap, c);
}

unsigned card_orphans_reap(struct card *c, unsigned wait_ms)
{
	uint64_t end = dpu_now_ns() + wait_ms * 1000000ull;
	unsigned left;

	while ((left = reap(c)) && dpu_now_ns() < end)
		nap();
	if (c->inv->reap_timer && (!left || c->stopping)) {
		c->vho_loop.timer_cancel(c->vho_loop.arg, c->inv->reap_timer);
		c->inv->reap_timer = NULL;
	}
	return left;
}

static void blk_stop(struct card_function *f, unsigned idx)
{
	struct card_chan *ch = f->chans[idx];
	struct card *c = f->card;
	uint64_t end = dpu_now_ns();
	int left;

	f->deferred[idx] = CARD_NOT_DEFERRED;
	if (!ch)
		return;
	// A volume that had its time and did not answer gets no more of this thread's
	if (!ch->vol->orphans)
		end += CARD_DRAIN_MS * 1000000ull;
	if (c->inv->stop_by_ns && end > c->inv->stop_by_ns)
		end = c->inv->stop_by_ns;
	f->chans[idx] = NULL;
	card_worker_call(ch->w, blk_close_queue, ch);
	while ((left = card_worker_call(ch->w, blk_drain, ch)) > 0 && dpu_now_ns() < end)
		nap();
	if (left <= 0) {
		card_worker_call(ch->w, unwatch_chan, ch);
		chan_free(ch);
		return;
	}
	dpu_warn("device: requests do not end, left behind", "dev=%s queue=%u n=%d", f->name, idx,
		left);
	if (card_worker_call(ch->w, blk_abandon, ch) < 0)
		ch->poller.poll = NULL;
	ch->vol->orphans++;
	TAILQ_INSERT_TAIL(&c->inv->orphans, ch, link);
	if (!c->inv->reap_timer)
		c->inv->reap_timer = c->vho_loop.timer(c->vho_loop.arg, REAP_MS, on_reap, c);
}

static int net_start(struct card_function *f, struct call *q)
{
	f->coal[q->idx].wanted = vho_net_coalesces(f->net, q->idx);
	return card_worker_call(
		card_worker_of(f->card, f->first_worker, q->idx / 2), net_attach, q);
}

/* The driver may have changed its mind about calls: the queues' workers hear of it. */
static void coal_changed(struct card_function *f)
{
	for (unsigned i = 0; f->net && i < 2u * f->net_conf.n_pairs; i++) {
		bool wanted = vho_net_coalesces(f->net, i);

		if (wanted == f->coal[i].wanted)
			continue;
		f->coal[i].wanted = wanted;
		(void)card_worker_call(
			card_worker_of(f->card, f->first_worker, i / 2), coal_sync, &f->coal[i]);
	}
}

static int queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	struct card_function *f = arg;
	struct call q = { f, idx, kick_fd };
	int ret;

	(void)dev;
	if (f->kind == VHO_DEV_BLK && has_orphans(f)) {
		f->deferred[idx] = kick_fd;
		return 0;
	}
	if (f->kind == VHO_DEV_BLK)
		ret = blk_start(f, idx, kick_fd);
	else
		ret = net_start(f, &q);
	if (ret)
		dpu_warn_ratelimited(
			"device: queue not started", "dev=%s queue=%u err=%d", f->name, idx, ret);
	return ret;
}

static void queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct card_function *f = arg;
	struct call q = { f, idx, -1 };

	(void)dev;
	if (f->kind == VHO_DEV_BLK)
		blk_stop(f, idx);
	else
		card_worker_call(card_worker_of(f->card, f->first_worker, idx / 2), net_detach, &q);
}

static void changed(void *arg, struct vho_dev *dev)
{
	struct card_function *f = arg;

	(void)dev;
	coal_changed(f);
	if (f->port)
		odp_port_caps_changed(f->port);
}

static void synchronize(void *arg)
{
	struct card_function *f = arg;

	card_workers_synchronize(f->card->workers);
}

static bool settled(void *arg, struct vho_dev *dev)
{
	const struct card_function *f = arg;

	(void)dev;
	return f->kind != VHO_DEV_BLK || !has_orphans(f);
}

const struct vho_host card_queue_host = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.changed = changed,
	.synchronize = synchronize,
	.settled = settled,
};
