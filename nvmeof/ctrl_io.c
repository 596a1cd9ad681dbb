// SPDX-License-Identifier: Apache-2.0
/* I/O queues of a controller: connected here, given to workers, taken back. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "relay.h"
#include "tcp.h"

#define MS 1000000ULL

int nof_status_errno(uint16_t status)
{
	switch ((enum nof_sc)(status & NOF_SC_MASK)) {
	case NOF_SC_SUCCESS:
		return 0;
	case NOF_SC_INVALID_OPCODE:
		return -EOPNOTSUPP;
	case NOF_SC_CAPACITY:
		return -ENOSPC;
	case NOF_SC_NS_WRITE_PROTECTED:
	case NOF_SC_READ_ONLY_RANGE:
		return -EROFS;
	case NOF_SC_CONNECT_BUSY:
		return -EBUSY;
	case NOF_SC_CONNECT_HOST:
	case NOF_SC_AUTH_REQUIRED:
		return -EACCES;
	case NOF_SC_RESERVATION:
		return -EBADE;
	default:
		return -EIO;
	}
}

void nof_ctrl_connect_sqe(const struct nof_ctrl *c, struct nof_slot *s,
	struct nof_connect_data *data, struct iovec *iov, uint16_t qid, uint16_t size)
{
	struct nof_connect_sqe *q = (struct nof_connect_sqe *)&s->sqe;

	memset(data, 0, sizeof(*data));
	memcpy(data->hostid, c->hostid, sizeof(data->hostid));
	data->cntlid = dpu_le16_put(qid ? c->id.cntlid : NOF_CNTLID_DYNAMIC);
	memcpy(data->subnqn, c->conf.subnqn, strlen(c->conf.subnqn)); // NOF_NQN_MAX at most
	memcpy(data->hostnqn, c->conf.hostnqn, strlen(c->conf.hostnqn));
	q->opc = NOF_OPC_FABRICS;
	q->fctype = NOF_FC_CONNECT;
	q->qid = dpu_le16_put(qid);
	q->sqsize = dpu_le16_put((uint16_t)(size - 1));
	q->cattr = NOF_CATTR_NO_SQ_FLOW;
	q->kato_ms = dpu_le32_put(qid ? 0 : c->conf.kato_ms);
	iov->iov_base = data;
	s->dir = NOF_TO_CTRL;
	s->iov = iov;
	s->n_iov = 1;
	s->len = sizeof(*data);
}

/* ---- connecting; on the control thread ---- */

static void connected(struct nof_slot *s, const struct nof_cqe *cqe, int err)
{
	struct nof_io *io = s->arg;
	struct nof_ctrl *c = io->ctrl;

	if (c->state != NOF_CTRL_CONNECTING)
		return;
	if (!err)
		err = nof_status_errno(nof_cqe_status(cqe));
	if (err) {
		nof_ctrl_failed(c, "Connect of an I/O queue", err);
		return;
	}
	if (++c->io_up == c->n_io)
		nof_group_post(c->host->control, &c->ready);
}

/* Outside of every queue's turn: a worker may have its own at once. */
static void on_ready(struct nof_msg *m)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)m - offsetof(struct nof_ctrl, ready));

	if (c->state == NOF_CTRL_CONNECTING && c->io_up == c->n_io)
		nof_ctrl_event(c, NOF_EV_READY);
}

/* Entries: MQES is one less, at least 1 (Base 3.1.3.1). One of them is never used. */
static uint16_t queue_size(const struct nof_ctrl *c)
{
	uint32_t size = c->conf.queue_size;

	if (size > NOF_CAP_MQES(c->cap) + 1)
		size = NOF_CAP_MQES(c->cap) + 1;
	if (c->id.maxcmd && size > c->id.maxcmd)
		size = c->id.maxcmd;
	return (uint16_t)(size < 2 ? 2 : size);
}

static void io_up(struct nof_qpair *q)
{
	struct nof_io *io = q->arg;
	struct nof_slot *s = nof_qpair_take(q);

	s->done = connected;
	s->arg = io;
	nof_ctrl_connect_sqe(io->ctrl, s, io->data, &io->iov, q->qid, queue_size(io->ctrl));
	nof_qpair_submit(s);
}

static void io_down(struct nof_qpair *q, int err)
{
	struct nof_io *io = q->arg;

	nof_ctrl_failed(io->ctrl, "connection of an I/O queue", err);
}

static const struct nof_qpair_owner connecting_owner = { io_up, io_down };

/* Workers without a queue of their own use the others' in turn. */
static int make_relays(struct nof_ctrl *c)
{
	int ret = 0;

	for (unsigned i = c->n_io; c->n_io && i < c->host->n_workers && !ret; i++)
		ret = nof_relay_create(&c->io[i % c->n_io], c->io[i].group, &c->io[i],
			(uint16_t)(queue_size(c) - 1), &c->io[i].mine);
	return ret;
}

int nof_ctrl_io_connect(struct nof_ctrl *c)
{
	uint8_t dgst = (c->conf.hdgst ? NOF_DGST_HEADER : 0) | (c->conf.ddgst ? NOF_DGST_DATA : 0);

	c->io_up = 0;
	if (c->id.discovery)
		c->n_io = 0;
	if (c->n_io == 0)
		nof_group_post(c->host->control, &c->ready);
	for (unsigned i = 0; i < c->n_io; i++) {
		const struct nof_tcp_conf conf = {
			.traddr = c->conf.traddr,
			.trsvcid = c->conf.trsvcid,
			.host_traddr = c->conf.host_traddr,
			.qid = (uint16_t)(i + 1),
			.depth = (uint16_t)(queue_size(c) - 1),
			.dgst = dgst,
			.dgst_demanded = dgst,
			.timeout_ns = c->conf.io_timeout_ms * MS,
			.connect_timeout_ns = c->conf.connect_timeout_ms * MS,
			.capsule_max = c->id.capsule_max,
			.owner = &connecting_owner,
			.arg = &c->io[i],
		};
		int ret = nof_tcp_connect(&conf, c->host->control, &c->io[i].mine);

		if (ret)
			return ret;
	}
	return make_relays(c);
}

/* ---- on the worker ---- */

static void worker_up(struct nof_qpair *q)
{
	(void)q;
}

static void worker_broke(struct nof_io *io, int err)
{
	struct nof_qpair *q = io->q;

	if (!q)
		return;
	io->q = NULL; // those who lose a command look for another path at once
	nof_qpair_abort(q, err);
	if (io->broke_posted)
		return;
	io->broke_posted = true;
	io->broke_err = err;
	nof_group_post(io->ctrl->host->control, &io->broke);
}

static void worker_down(struct nof_qpair *q, int err)
{
	worker_broke(q->arg, err);
}

static const struct nof_qpair_owner worker_owner = { worker_up, worker_down };

static void on_give(struct nof_msg *m)
{
	struct nof_io *io = (struct nof_io *)((char *)m - offsetof(struct nof_io, give));
	struct nof_qpair *q = io->mine;
	int ret;

	q->owner = &worker_owner;
	q->lat = nof_is_relay(q) ? NULL : &io->lat; // timed by the queue that it goes over
	io->broke_posted = false;
	io->q = q;
	ret = nof_qpair_attach(q, io->group);
	if (ret)
		worker_broke(io, ret);
	else
		nof_worker_look(&io->ctrl->host->workers[io->worker]);
}

static void on_stop(struct nof_msg *m)
{
	struct nof_io *io = (struct nof_io *)((char *)m - offsetof(struct nof_io, stop));
	struct nof_qpair *q = io->q;

	io->q = NULL;
	if (q && nof_is_relay(q)) { // once the other worker has answered
		nof_relay_end(q, io->ctrl->host->control, &io->stopped);
		return;
	}
	if (q)
		nof_qpair_abort(q, -ECONNABORTED);
	nof_group_post(io->ctrl->host->control, &io->stopped);
}

/* ---- giving and taking back; on the control thread ---- */

void nof_ctrl_io_give(struct nof_ctrl *c)
{
	uint64_t factor = c->id.ctratt & NOF_CTRATT_TBKAS ? 2 : 1;
	uint64_t kas_ms = c->id.kas_ms ? c->id.kas_ms : 1;
	// It counts in steps of its own. Base 5.27.1.12
	uint64_t kato_ms = (c->conf.kato_ms + kas_ms - 1) / kas_ms * kas_ms;

	// Queues first: who has none of its own sends to them at once.
	for (unsigned i = 0; c->n_io && i < c->host->n_workers; i++) {
		struct nof_io *io = &c->io[i];

		io->assoc = c->assoc;
		io->transfer_max = c->id.transfer_max;
		io->compare_write = c->id.compare_write && io->mine->depth > 1;
		// The controller misses us when the keep-alive timeout is over, with traffic as a
		// sign of life after the second one; then it has this long to end its commands. We
		// may be heard of while we ask it to stop.
		io->quiesce_ns = (kato_ms * factor + c->id.cqt_ms + NOF_END_MS) * MS;
		io->given = true;
		nof_qpair_detach(io->mine);
		nof_group_post(io->group, &io->give);
	}
}

static void add_stats(struct nof_ctrl_stats *sum, const struct nof_qpair *q)
{
	if (!q || nof_is_relay(q)) // what a relay sends counts where it goes
		return;
	sum->commands += dpu_counter_read(&q->n.commands);
	sum->stale += dpu_counter_read(&q->n.stale);
	sum->timeouts += dpu_counter_read(&q->n.timeouts);
	sum->digest_errors += dpu_counter_read(&q->n.digest_errors);
	sum->short_data += dpu_counter_read(&q->n.short_data);
}

/* Whoever has a queue, only the control thread frees it. */
void nof_ctrl_stats(const struct nof_ctrl *c, struct nof_ctrl_stats *out)
{
	*out = c->ended;
	add_stats(out, c->admin);
	for (unsigned i = 0; i < c->host->n_workers; i++)
		add_stats(out, c->io[i].mine);
}

void nof_ctrl_latency(const struct nof_ctrl *c, struct dpu_hist_sum out[DPU_LAT_CLASSES])
{
	for (unsigned i = 0; i < c->host->n_workers; i++)
		dpu_lat_collect(out, &c->io[i].lat);
}

void nof_ctrl_latency_set(struct nof_ctrl *c, uint32_t every)
{
	for (unsigned i = 0; i < c->host->n_workers; i++)
		dpu_lat_set(&c->io[i].lat, every);
}

static void forget(struct nof_ctrl *c, struct nof_qpair *q)
{
	add_stats(&c->ended, q);
	nof_qpair_destroy(q);
}

static void on_broke(struct nof_msg *m)
{
	struct nof_io *io = (struct nof_io *)((char *)m - offsetof(struct nof_io, broke));

	nof_ctrl_failed(io->ctrl, "I/O connection", io->broke_err);
}

static void all_back(struct nof_ctrl *c)
{
	if (!nof_ctrl_steps_end(c))
		nof_ctrl_io_finish(c);
}

static void on_stopped(struct nof_msg *m)
{
	struct nof_io *io = (struct nof_io *)((char *)m - offsetof(struct nof_io, stopped));
	struct nof_ctrl *c = io->ctrl;

	forget(c, io->mine);
	io->mine = NULL;
	io->given = false;
	if (--c->io_out == 0)
		all_back(c);
}

/* Every worker is asked, whether it has a queue or not: afterwards none looks at the controller. */
static void on_teardown(struct nof_msg *m)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)m - offsetof(struct nof_ctrl, teardown));

	c->io_out = c->host->n_workers;
	for (unsigned i = 0; i < c->host->n_workers; i++) {
		struct nof_io *io = &c->io[i];

		if (io->mine && !io->given) {
			if (!nof_is_relay(io->mine))
				nof_qpair_abort(io->mine, -ECONNABORTED);
			forget(c, io->mine);
			io->mine = NULL;
		}
		nof_group_post(io->group, &io->stop);
	}
}

static void on_finish(struct nof_msg *m)
{
	struct nof_ctrl *c = (struct nof_ctrl *)((char *)m - offsetof(struct nof_ctrl, finish));

	nof_timer_clear(&c->timer);
	c->ending = c->finishing = false;
	if (c->admin) {
		nof_qpair_abort(c->admin, -ECONNABORTED);
		forget(c, c->admin);
	}
	c->admin = NULL;
	nof_ctrl_event(c, NOF_EV_STOPPED);
}

void nof_ctrl_io_stop(struct nof_ctrl *c)
{
	nof_group_post(c->host->control, &c->teardown);
}

void nof_ctrl_io_finish(struct nof_ctrl *c)
{
	if (!c->finishing)
		nof_group_post(c->host->control, &c->finish);
	c->finishing = true;
}

int nof_ctrl_io_init(struct nof_ctrl *c)
{
	unsigned n = c->host->n_workers;

	c->ready.run = on_ready;
	c->teardown.run = on_teardown;
	c->finish.run = on_finish;
	c->io = dpu_calloc(n, sizeof(*c->io));
	if (!c->io)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		struct nof_io *io = &c->io[i];

		io->ctrl = c;
		io->worker = i;
		io->group = c->host->workers[i].group;
		dpu_lat_set(&io->lat, DPU_LAT_EVERY);
		io->give.run = on_give;
		io->stop.run = on_stop;
		io->stopped.run = on_stopped;
		io->broke.run = on_broke;
		io->data = dpu_calloc(1, sizeof(*io->data));
		if (!io->data)
			return -ENOMEM;
		io->iov.iov_len = sizeof(*io->data);
	}
	return 0;
}

void nof_ctrl_io_fini(struct nof_ctrl *c)
{
	for (unsigned i = 0; c->io && i < c->host->n_workers; i++)
		free(c->io[i].data);
	free(c->io);
}
