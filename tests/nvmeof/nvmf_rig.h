/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our host and our target in one thread, over loopback: each with a control group and two workers,
 * all of them polled in turn.
 */
#pragma once

#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "group.h"
#include "nof_ctrl.h"
#include "nof_tgt.h"
#include "volume.h"

#define NQN "nqn.2026-11.test:nvmf"
#define HOST_NQN "nqn.2026-11.test:host"
#define WORKERS 2U
#define LISTENERS 2U

struct nvmf_rig {
	struct nof_group *tc, *tw[WORKERS], *hc, *hw[WORKERS];
	struct nof_tgt *t;
	struct nof_host *h;
	struct vol *disk; // of the target; nsid 1
	uint16_t port[LISTENERS];
	bool mute; // the target has no turns
	void (*meanwhile)(struct nvmf_rig *r); // called when the target calls a worker
};

static inline int rig_call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	struct nvmf_rig *r = env;

	(void)idx;
	if (r->meanwhile)
		r->meanwhile(r);
	return fn(arg);
}

static inline unsigned rig_poll(struct nvmf_rig *r)
{
	unsigned n = nof_group_poll(r->hc);

	for (unsigned i = 0; i < WORKERS; i++)
		n += nof_group_poll(r->hw[i]);
	if (r->mute)
		return n;
	n += nof_group_poll(r->tc);
	for (unsigned i = 0; i < WORKERS; i++)
		n += nof_group_poll(r->tw[i]);
	return n;
}

/* Until `cond`, 20 s at most. */
#define POLL_UNTIL(r, cond)                                    \
	do {                                                   \
		uint64_t end_ = dpu_now_ns() + 20000000000ull; \
		while (!(cond) && dpu_now_ns() < end_)         \
			(void)rig_poll(r);                     \
		assert_true(cond);                             \
	} while (0)

static inline void rig_listen(struct nvmf_rig *r, unsigned i)
{
	const char *addr[LISTENERS] = { "127.0.0.1", "127.0.0.2" };
	char port[8];
	struct nof_tgt_addr at = { addr[i], port };

	snprintf(port, sizeof(port), "%u", r->port[i]);
	assert_int_equal(nof_tgt_listener_add(r->t, NQN, &at), 0);
	if (!r->port[i])
		r->port[i] = nof_tgt_listener_port(r->t, NQN, &at);
	assert_true(r->port[i] != 0);
}

static inline void rig_deaf(struct nvmf_rig *r, unsigned i)
{
	const char *addr[LISTENERS] = { "127.0.0.1", "127.0.0.2" };
	char port[8];

	// It was opened as port "0" and is known by that.
	snprintf(port, sizeof(port), "%u", r->port[i]);
	if (nof_tgt_listener_del(r->t, NQN, &(struct nof_tgt_addr){ addr[i], port }) < 0)
		assert_int_equal(
			nof_tgt_listener_del(r->t, NQN, &(struct nof_tgt_addr){ addr[i], "0" }), 0);
}

static inline void rig_open(struct nvmf_rig *r, const struct nof_tgt_opts *opts)
{
	const struct nof_group_conf gc = { 0 };
	struct nof_tgt_conf tc = { .n_workers = WORKERS, .call = rig_call, .env = r };
	struct nof_host_conf hc = { .n_workers = WORKERS, .hostnqn = HOST_NQN, .hostid = { 7 } };
	const struct nof_tgt_subsys_conf sc = { .nqn = NQN, .allow_any_host = true, .ana = true };

	memset(r, 0, sizeof(*r));
	assert_int_equal(nof_group_create(&gc, &r->tc), 0);
	assert_int_equal(nof_group_create(&gc, &r->hc), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(nof_group_create(&gc, &r->tw[i]), 0);
		assert_int_equal(nof_group_create(&gc, &r->hw[i]), 0);
	}
	tc.control = r->tc;
	tc.workers = r->tw;
	if (opts)
		tc.opts = *opts;
	hc.control = r->hc;
	hc.workers = r->hw;
	assert_int_equal(nof_tgt_create(&tc, &r->t), 0);
	assert_int_equal(nof_host_create(&hc, &r->h), 0);
	assert_int_equal(
		vol_ram_open(&(struct vol_ram_conf){ "disk", 64 << 20, 512, false }, &r->disk), 0);
	assert_int_equal(nof_tgt_subsys_add(r->t, &sc), 0);
	assert_int_equal(
		nof_tgt_ns_add(r->t, NQN,
			&(struct nof_tgt_ns_conf){ .vol = r->disk, .uuid = { 1, 2, 3 } }, NULL),
		0);
	rig_listen(r, 0);
}

static inline void rig_close(struct nvmf_rig *r)
{
	while (rig_poll(r))
		;
	nof_host_destroy(r->h);
	assert_int_equal(nof_tgt_destroy(r->t), 0);
	vol_close(r->disk);
	nof_group_destroy(r->tc);
	nof_group_destroy(r->hc);
	for (unsigned i = 0; i < WORKERS; i++) {
		nof_group_destroy(r->tw[i]);
		nof_group_destroy(r->hw[i]);
	}
}

/* ---- a controller ---- */

struct link {
	struct nof_ctrl *c;
	int err;
	bool told, gone;
};

static inline void link_up(void *arg, int err)
{
	((struct link *)arg)->told = true;
	((struct link *)arg)->err = err;
}

static inline void link_gone(void *arg)
{
	((struct link *)arg)->gone = true;
}

static inline struct nof_ctrl_conf link_conf(const struct nvmf_rig *r, unsigned i)
{
	return (struct nof_ctrl_conf){
		.name = i ? "path1" : "path0",
		.traddr = i ? "127.0.0.2" : "127.0.0.1",
		.trsvcid = r->port[i],
		.subnqn = NQN,
		.kato_ms = 2000,
		.reconnect_delay_ms = 20,
		.ctrl_loss_timeout_s = -1,
	};
}

static inline void link_open(struct nvmf_rig *r, struct link *l, const struct nof_ctrl_conf *conf)
{
	memset(l, 0, sizeof(*l));
	assert_int_equal(nof_ctrl_create(r->h, conf, link_up, l, &l->c), 0);
	POLL_UNTIL(r, l->told);
}

static inline void link_close(struct nvmf_rig *r, struct link *l)
{
	nof_ctrl_delete(l->c, link_gone, l);
	POLL_UNTIL(r, l->gone);
}

static inline enum nof_ctrl_state link_state(const struct link *l)
{
	struct nof_ctrl_info info;

	nof_ctrl_info(l->c, &info);
	return info.state;
}

/* ---- requests ---- */

struct req {
	struct vol_io io;
	struct iovec iov[4];
	bool done;
	int err;
};

static inline void req_done(struct vol_io *io, int err)
{
	struct req *q = (struct req *)io;

	q->done = true;
	q->err = err;
}

static inline void req_submit(
	struct vol_chan *c, struct req *q, enum vol_op op, uint64_t off, void *buf, uint64_t len)
{
	uint8_t *b = buf;

	q->done = false;
	q->err = 1;
	q->io.op = op;
	q->io.off = off;
	q->io.len = len;
	q->io.iov = q->iov;
	q->io.n_iov = 0;
	if (buf) { // in odd pieces
		uint64_t cut = len / 3;

		q->iov[0] = (struct iovec){ b, cut };
		q->iov[1] = (struct iovec){ b + cut, 0 };
		q->iov[2] = (struct iovec){ b + cut, len - cut };
		q->io.n_iov = 3;
	}
	q->io.done = req_done;
	vol_submit(c, &q->io);
}

static inline int req_do(struct nvmf_rig *r, struct vol_chan *c, enum vol_op op, uint64_t off,
	void *buf, uint64_t len)
{
	struct req q = { 0 };

	req_submit(c, &q, op, off, buf, len);
	POLL_UNTIL(r, q.done);
	return q.err;
}
