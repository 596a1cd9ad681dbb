// SPDX-License-Identifier: Apache-2.0
/* Controllers: creation, the state machine, back-off and the timeouts of a lost connection. */
#include "host.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_id.h"
#include "dpu_log.h"

#define MS 1000000ULL
#define BACKOFF_DOUBLINGS 3U

/* Row: where we are. Column: what happened. 0: not allowed, and ignored. */
static const uint8_t next_state[NOF_CTRL_STATES][NOF_CTRL_EVENTS] = {
	[NOF_CTRL_IDLE] = { [NOF_EV_START] = NOF_CTRL_CONNECTING,
		[NOF_EV_GIVE_UP] = NOF_CTRL_LOST },
	[NOF_CTRL_CONNECTING] = { [NOF_EV_READY] = NOF_CTRL_LIVE,
		[NOF_EV_FAIL] = NOF_CTRL_STOPPING },
	[NOF_CTRL_LIVE] = { [NOF_EV_FAIL] = NOF_CTRL_STOPPING },
	[NOF_CTRL_STOPPING] = { [NOF_EV_STOPPED] = NOF_CTRL_BACKOFF },
	[NOF_CTRL_BACKOFF] = { [NOF_EV_TIMER] = NOF_CTRL_CONNECTING,
		[NOF_EV_GIVE_UP] = NOF_CTRL_LOST },
	[NOF_CTRL_LOST] = { 0 },
};

const char *nof_ctrl_state_name(enum nof_ctrl_state s)
{
	static const char *const names[NOF_CTRL_STATES] = { "none", "idle", "connecting", "live",
		"stopping", "backoff", "lost" };

	return s < NOF_CTRL_STATES ? names[s] : "unknown";
}

enum nof_ctrl_state nof_ctrl_next_state(enum nof_ctrl_state s, enum nof_ctrl_event e)
{
	return (enum nof_ctrl_state)next_state[s][e];
}

/* ---- what is done on entering a state ---- */

static void tell(struct nof_msg *m)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)m - offsetof(struct nof_ctrl, tell));
	void (*up)(void *arg, int err) = c->up;

	c->tell_due = false;
	c->up = NULL;
	if (up)
		up(c->up_arg, c->up_err);
}

static void tell_later(struct nof_ctrl *c, int err)
{
	if (!c->up || c->tell_due)
		return;
	c->tell_due = true;
	c->up_err = err;
	nof_group_post(c->host->control, &c->tell);
}

static void free_ctrl(struct nof_ctrl *c)
{
	void (*gone)(void *arg) = c->gone;
	void *arg = c->gone_arg;

	nof_timer_clear(&c->timer);
	nof_timer_clear(&c->loss_timer);
	nof_timer_clear(&c->fail_timer);
	nof_timer_clear(&c->scan_timer);
	nof_timer_clear(&c->aer_timer);
	TAILQ_REMOVE(&c->host->ctrls, c, link);
	c->subsys->ctrl[c->slot] = NULL;
	nof_subsys_put(c->subsys);
	dpu_info("nvme: deleted", "name=%s", c->conf.name);
	nof_ctrl_io_fini(c);
	free(c->ns);
	free(c->list);
	free(c->disc.entries);
	free(c->buf);
	free(c);
	if (gone)
		gone(arg);
}

static void delete_soon(struct nof_ctrl *c)
{
	nof_timer_set(c->host->control, &c->delete_timer, 0);
}

/* Outside of everybody's turn: whatever it is in, it ends. */
static void on_delete(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t -
						 offsetof(struct nof_ctrl, delete_timer));

	if (c->state == NOF_CTRL_LOST && !c->tell_due)
		free_ctrl(c);
	else if (c->state == NOF_CTRL_LOST)
		delete_soon(c); // its message is on the way
	else if (c->state == NOF_CTRL_LIVE || c->state == NOF_CTRL_CONNECTING)
		nof_ctrl_failed(c, "deleted", -ECANCELED);
	else
		nof_ctrl_event(c, NOF_EV_GIVE_UP); // stopping: it comes back here afterwards
}

static void set_fail(const struct nof_ctrl *c, bool fail)
{
	struct nof_view *v;

	LIST_FOREACH (v, &c->subsys->views, link)
		atomic_store_explicit(&v->fail, fail || v->gone, memory_order_release);
	nof_host_poke(c->host);
}

/* No controller of the subsystem is connected or still hopes to be in time. */
static bool hopeless(const struct nof_ctrl *c)
{
	for (unsigned i = 0; i < NOF_CTRLS_MAX; i++) {
		const struct nof_ctrl *o = c->subsys->ctrl[i];

		if (!o || o->deleting || o->state == NOF_CTRL_LOST)
			continue;
		if (o->state == NOF_CTRL_LIVE || !o->conf.fast_io_fail_timeout_s)
			return false;
		if (o->fail_timer.group)
			return false;
	}
	return true;
}

static void enter_connecting(struct nof_ctrl *c)
{
	int ret;

	c->assoc = ++c->host->assoc;
	c->tries++;
	c->step = 0;
	c->scanning = c->rescan = c->ka_waiting = c->ending = false;
	ret = nof_ctrl_steps_begin(c);
	if (ret)
		nof_ctrl_failed(c, "connect", ret);
}

static void enter_live(struct nof_ctrl *c)
{
	c->connects++;
	c->tries = 0;
	c->last_err = 0;
	c->give_up = false;
	nof_timer_clear(&c->loss_timer);
	nof_timer_clear(&c->fail_timer);
	dpu_info("nvme: connected", "name=%s cntlid=%u queues=%u namespaces=%u", c->conf.name,
		c->id.cntlid, c->n_io, c->n_ns);
	nof_ctrl_io_give(c);
	nof_ctrl_paths(c, true);
	set_fail(c, false);
	nof_ctrl_steps_live(c);
	if (c->disc.changed)
		c->disc.changed(c->disc.arg);
	if (c->ns_read)
		c->ns_read(c->ns_arg);
	tell_later(c, 0);
}

static void enter_stopping(struct nof_ctrl *c)
{
	uint64_t now = nof_group_now(c->host->control);
	uint64_t loss = (uint64_t)c->conf.ctrl_loss_timeout_s;

	c->failures++;
	nof_timer_clear(&c->timer);
	nof_timer_clear(&c->scan_timer);
	nof_timer_clear(&c->aer_timer);
	nof_ctrl_paths(c, false);
	if (c->conf.ctrl_loss_timeout_s > 0 && !c->loss_timer.group)
		nof_timer_set(c->host->control, &c->loss_timer, now + loss * 1000 * MS);
	if (c->conf.fast_io_fail_timeout_s && !c->fail_timer.group)
		nof_timer_set(c->host->control, &c->fail_timer,
			now + c->conf.fast_io_fail_timeout_s * 1000 * MS);
	if (c->last_err)
		tell_later(c, c->last_err);
	nof_ctrl_io_stop(c);
}

static void enter_backoff(struct nof_ctrl *c)
{
	uint64_t now = nof_group_now(c->host->control);
	unsigned doubled = c->tries ? c->tries - 1 : 0;

	if (doubled > BACKOFF_DOUBLINGS)
		doubled = BACKOFF_DOUBLINGS;
	bool resetting = c->resetting;

	c->resetting = false;
	if (c->deleting || c->give_up || (c->conf.ctrl_loss_timeout_s == 0 && !resetting)) {
		nof_ctrl_event(c, NOF_EV_GIVE_UP);
		return;
	}
	nof_timer_set(c->host->control, &c->timer,
		now + ((uint64_t)c->conf.reconnect_delay_ms << doubled) * MS);
}

static void enter_lost(struct nof_ctrl *c)
{
	nof_timer_clear(&c->timer);
	nof_timer_clear(&c->fail_timer);
	if (hopeless(c))
		set_fail(c, true);
	if (c->deleting)
		delete_soon(c);
	else
		dpu_err("nvme: given up", "name=%s", c->conf.name);
}

void nof_ctrl_event(struct nof_ctrl *c, enum nof_ctrl_event e)
{
	enum nof_ctrl_state s = nof_ctrl_next_state(c->state, e);

	if (s == NOF_CTRL_NONE)
		return;
	c->state = s;
	switch (s) {
	case NOF_CTRL_CONNECTING:
		enter_connecting(c);
		break;
	case NOF_CTRL_LIVE:
		enter_live(c);
		break;
	case NOF_CTRL_STOPPING:
		enter_stopping(c);
		break;
	case NOF_CTRL_BACKOFF:
		enter_backoff(c);
		break;
	case NOF_CTRL_LOST:
		enter_lost(c);
		break;
	case NOF_CTRL_NONE:
	case NOF_CTRL_IDLE:
	case NOF_CTRL_STATES:
		break;
	}
}

void nof_ctrl_failed(struct nof_ctrl *c, const char *step, int err)
{
	if (c->state != NOF_CTRL_CONNECTING && c->state != NOF_CTRL_LIVE)
		return;
	c->last_err = err;
	c->last_step = step;
	if (err != -ECANCELED) // nobody asked for it
		dpu_warn_ratelimited("nvme: connection failed", "name=%s step=\"%s\" try=%u err=%d",
			c->conf.name, step, c->tries, err);
	nof_ctrl_event(c, NOF_EV_FAIL);
}

/* ---- timers ---- */

static void on_timer(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t - offsetof(struct nof_ctrl, timer));

	if (c->state == NOF_CTRL_BACKOFF || c->state == NOF_CTRL_IDLE)
		nof_ctrl_event(c, c->state == NOF_CTRL_IDLE ? NOF_EV_START : NOF_EV_TIMER);
	else
		nof_ctrl_steps_timer(c);
}

static void on_loss(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t - offsetof(struct nof_ctrl, loss_timer));

	c->give_up = true; // from now on a failure is the last
	if (c->state == NOF_CTRL_BACKOFF)
		nof_ctrl_event(c, NOF_EV_GIVE_UP);
	else if (c->state == NOF_CTRL_CONNECTING)
		nof_ctrl_failed(c, "controller loss timeout", -ETIMEDOUT);
}

static void on_fail(struct nof_timer *t)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)t - offsetof(struct nof_ctrl, fail_timer));

	if (hopeless(c)) {
		dpu_warn("nvme: requests fail until it is connected", "name=%s", c->conf.name);
		set_fail(c, true);
	}
}

/* ---- life ---- */

static int copy_name(char out[NOF_NQN_SIZE], const char *in, size_t max)
{
	if (!in || !in[0] || strlen(in) > max)
		return -EINVAL;
	memcpy(out, in, strlen(in) + 1);
	return 0;
}

/*
 * A host identifier for a host's name: a target takes two names with one identifier for a mistake
 * (Base 2.0, 5.27.1.27).
 */
static void hostid_of(const char *nqn, uint8_t out[16])
{
	size_t len = strlen(nqn);

	dpu_uuid_of(dpu_hash(DPU_HASH_BASIS, nqn, len), dpu_hash(~DPU_HASH_BASIS, nqn, len), out);
}

/* Who this controller says that we are. */
static int set_host(struct nof_ctrl *c, const char *hostnqn)
{
	if (hostnqn && strncmp(hostnqn, "nqn.", 4) != 0)
		return -EINVAL;
	if (copy_name(c->names[4], hostnqn ? hostnqn : c->host->hostnqn, NOF_NQN_MAX) < 0)
		return -EINVAL;
	c->conf.hostnqn = c->names[4];
	if (!strcmp(c->conf.hostnqn, c->host->hostnqn))
		memcpy(c->hostid, c->host->hostid, sizeof(c->hostid));
	else
		hostid_of(c->conf.hostnqn, c->hostid);
	return 0;
}

static int set_conf(struct nof_ctrl *c, const struct nof_ctrl_conf *conf)
{
	struct nof_ctrl_conf *k = &c->conf;

	*k = *conf;
	if (copy_name(c->names[0], conf->name, 63) < 0 ||
		copy_name(c->names[1], conf->traddr, NOF_NQN_MAX) < 0 ||
		copy_name(c->names[3], conf->subnqn, NOF_NQN_MAX) < 0)
		return -EINVAL;
	if (conf->host_traddr && copy_name(c->names[2], conf->host_traddr, NOF_NQN_MAX) < 0)
		return -EINVAL;
	k->name = c->names[0];
	k->traddr = c->names[1];
	k->host_traddr = conf->host_traddr ? c->names[2] : NULL;
	k->subnqn = c->names[3];
	k->trsvcid = conf->trsvcid ? conf->trsvcid : NOF_TCP_PORT;
	k->queue_size = conf->queue_size ? conf->queue_size : 128;
	if (k->queue_size < 3 || k->queue_size > 1024)
		return -EINVAL;
	k->kato_ms = conf->kato_ms ? conf->kato_ms : 10000;
	k->io_timeout_ms = conf->io_timeout_ms ? conf->io_timeout_ms : 30000;
	k->connect_timeout_ms = conf->connect_timeout_ms ? conf->connect_timeout_ms : 5000;
	k->reconnect_delay_ms = conf->reconnect_delay_ms ? conf->reconnect_delay_ms : 500;
	return set_host(c, conf->hostnqn);
}

static int free_slot(const struct nof_subsys *s, const struct nof_ctrl_conf *conf)
{
	int slot = -ENOSPC;

	for (int i = NOF_CTRLS_MAX - 1; i >= 0; i--) {
		const struct nof_ctrl *o = s->ctrl[i];

		if (!o)
			slot = i;
		else if (!strcmp(o->conf.traddr, conf->traddr) &&
			 o->conf.trsvcid == conf->trsvcid &&
			 !strcmp(o->conf.host_traddr ? o->conf.host_traddr : "",
				 conf->host_traddr ? conf->host_traddr : ""))
			return -EEXIST;
	}
	return slot;
}

static int setup(struct nof_ctrl *c)
{
	int ret;

	c->buf = dpu_calloc(1, NOF_BUF_LEN);
	if (!c->buf)
		return -ENOMEM;
	c->iov = (struct iovec){ c->buf, NOF_BUF_LEN };
	ret = nof_ctrl_io_init(c);
	if (ret)
		return ret;
	c->subsys = nof_subsys_get(c->host, c->conf.subnqn);
	if (!c->subsys)
		return -ENOMEM;
	ret = free_slot(c->subsys, &c->conf);
	if (ret < 0) {
		nof_subsys_put(c->subsys);
		return ret;
	}
	c->slot = (unsigned)ret;
	return 0;
}

int nof_ctrl_create(struct nof_host *h, const struct nof_ctrl_conf *conf,
	void (*up)(void *arg, int err), void *arg, struct nof_ctrl **out)
{
	struct nof_ctrl *c = dpu_calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	c->host = h;
	c->state = NOF_CTRL_IDLE;
	c->up = up;
	c->up_arg = arg;
	c->tell.run = tell;
	c->timer.fire = on_timer;
	c->loss_timer.fire = on_loss;
	c->fail_timer.fire = on_fail;
	c->scan_timer.fire = nof_ctrl_scan_timer;
	c->aer_timer.fire = nof_ctrl_aer_timer;
	c->delete_timer.fire = on_delete;
	ret = set_conf(c, conf);
	if (!ret && nof_ctrl_find(h, c->conf.name))
		ret = -EEXIST;
	if (!ret)
		ret = setup(c);
	if (ret) {
		nof_ctrl_io_fini(c);
		free(c->buf);
		free(c);
		return ret;
	}
	c->subsys->ctrl[c->slot] = c;
	TAILQ_INSERT_TAIL(&h->ctrls, c, link);
	nof_timer_set(h->control, &c->timer, dpu_now_ns());
	*out = c;
	return 0;
}

void nof_ctrl_delete(struct nof_ctrl *c, void (*gone)(void *arg), void *arg)
{
	if (c->deleting)
		return;
	c->deleting = true;
	c->gone = gone;
	c->gone_arg = arg;
	tell_later(c, -ECANCELED);
	delete_soon(c);
}

void nof_ctrl_reset(struct nof_ctrl *c)
{
	if (c->state != NOF_CTRL_LIVE)
		return;
	c->resetting = true;
	nof_ctrl_failed(c, "reset", -ECANCELED);
}

void nof_ctrl_read_again(struct nof_ctrl *c)
{
	nof_ctrl_rescan(c);
}

struct nof_ctrl *nof_ctrl_find(struct nof_host *h, const char *name)
{
	struct nof_ctrl *c;

	TAILQ_FOREACH (c, &h->ctrls, link)
		if (!strcmp(c->conf.name, name))
			return c;
	return NULL;
}

struct nof_ctrl *nof_ctrl_next(struct nof_host *h, struct nof_ctrl *c)
{
	return c ? TAILQ_NEXT(c, link) : TAILQ_FIRST(&h->ctrls);
}

void nof_ctrl_info(const struct nof_ctrl *c, struct nof_ctrl_info *out)
{
	*out = (struct nof_ctrl_info){
		.name = c->conf.name,
		.traddr = c->conf.traddr,
		.subnqn = c->conf.subnqn,
		.trsvcid = c->conf.trsvcid,
		.state = c->state,
		.last_err = c->last_err,
		.last_step = c->last_step,
		.cntlid = c->id.cntlid,
		.max_transfer = c->id.transfer_max,
		.n_queues = c->state == NOF_CTRL_LIVE ? c->n_io : 0,
		.n_namespaces = c->n_ns,
		.connects = c->connects,
		.failures = c->failures,
		.hdgst = c->conf.hdgst,
		.ddgst = c->conf.ddgst,
		.discovery = c->id.discovery,
	};
	memcpy(out->model, c->id.mn, sizeof(out->model));
	memcpy(out->serial, c->id.sn, sizeof(out->serial));
	memcpy(out->firmware, c->id.fr, sizeof(out->firmware));
}
