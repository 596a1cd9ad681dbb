/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Core of the target, private to it: what is configured (control thread), what workers read of it,
 * and the commands that a transport brings.
 *
 * A transport owns connections and struct tgt_req. It calls tgt_io_start() with a command, moves
 * what that asks for, calls tgt_io_exec(), and sends the answer when done() is called; on an admin
 * queue tgt_admin_start() and so on.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "dpu_stats.h"
#include "nof_tgt.h"
#include "spec.h"
#include "volume.h"

#define TGT_NQN_SIZE 224U // with its NUL
#define TGT_NS_MAX 1024U // of a subsystem
#define TGT_IOV_MAX 16U // buffers of one command
#define TGT_AERL 3U // 0-based: events outstanding
#define TGT_CMP_BYTES 65536U // compared at a time

#define TGT_SUBSYS_MAX 4096U
#define TGT_REFERRALS_MAX 64U
#define TGT_CQT_MS 0U // a connection that is gone executes nothing: see tgt_tcp.c

struct tgt_ctrl;
struct tgt_queue;
struct tgt_req;
struct tgt_worker;

/* ---- configuration: the control thread's ---- */

struct tgt_host {
	LIST_ENTRY(tgt_host) link;
	char nqn[TGT_NQN_SIZE];
};
LIST_HEAD(tgt_hosts, tgt_host);

struct tgt_ns {
	/* Fixed while it is attached. */
	uint32_t nsid;
	uint32_t anagrpid;
	struct vol *vol; // borrowed: until it is deleted
	struct vol_info info; // but for its size
	uint8_t shift; // of a block
	uint8_t uuid[16], nguid[16], eui64[8];
	bool masked;

	struct tgt_hosts hosts; // control: who sees it if it is masked
	bool dying; // control: taken from the hosts, not yet from the workers

	_Atomic uint64_t n_blocks; // written by control, relaxed: vol_submit() checks again
};

/* A socket that listens: any number of subsystems share one. */
struct tgt_port {
	TAILQ_ENTRY(tgt_port) link;
	struct nof_tgt *t; // borrowed
	uint16_t id; // PORTID
	unsigned refs; // listeners
	bool v6;
	char addr[64], port[8]; // as asked for
	uint16_t bound; // the port it got
	uint64_t accepted; // connections
	void *xport; // the transport's
};

struct tgt_listener {
	TAILQ_ENTRY(tgt_listener) link;
	struct tgt_port *port; // a reference
	uint8_t ana[NOF_TGT_ANA_GROUPS + 1]; // enum nof_tgt_ana
};

struct tgt_referral {
	TAILQ_ENTRY(tgt_referral) link;
	char addr[64], port[8];
	bool v6;
};

struct nof_tgt_subsys {
	TAILQ_ENTRY(nof_tgt_subsys) link;
	struct nof_tgt *t; // borrowed
	unsigned idx; // of its views
	bool discovery, allow_any_host, ana;
	char nqn[TGT_NQN_SIZE], serial[21], model[41];
	uint32_t max_ns;
	uint16_t min_cntlid, max_cntlid, next_cntlid;
	uint32_t ana_changes;
	uint64_t connects, refused; // of hosts
	uint64_t commands, errors; // of queues that are gone
	struct tgt_hosts hosts;
	TAILQ_HEAD(, tgt_listener) listeners;
	TAILQ_HEAD(, tgt_ctrl) ctrls;
	struct tgt_ns **ns; // owned; by nsid, max_ns + 1
};

/* ---- what a worker has of a subsystem: the worker's, changed by calls into it ---- */

struct tgt_view_ns {
	struct tgt_ns *ns; // borrowed: outlives this
	struct vol_chan *chan; // owned; opened and closed by control
	struct tgt_worker *w; // borrowed
	TAILQ_ENTRY(tgt_view_ns) link; // control: of those that still have something in flight
	TAILQ_ENTRY(tgt_view_ns) busy_link;
	uint32_t gen; // differs from that of any other of the same number
	uint32_t n_reqs; // commands in execution
	bool busy; // in the worker's list
	bool kick; // something was submitted since the last kick
};

struct tgt_view {
	uint32_t n; // highest nsid
	struct tgt_view_ns *ns[]; // owned; by nsid
};

/* Counters of one thread. */
struct tgt_counters {
	dpu_counter conns, conns_ever;
	dpu_counter reads, read_bytes, writes, write_bytes, others, waits;
#define X(name, help) dpu_counter name;
	NOF_TGT_REASONS(X)
#undef X
};

/* One for each worker and one for the control thread, which has index n_workers. */
struct tgt_worker {
	struct nof_tgt *t; // borrowed
	unsigned idx;
	struct nof_group *group; // borrowed
	TAILQ_HEAD(, tgt_view_ns) busy; // channels with something in flight
	TAILQ_HEAD(, tgt_req) compares; // those that wait
	struct tgt_req *comparing; // the one at work
	uint8_t *cmp_buf; // owned; TGT_CMP_BYTES, what is compared with
	struct tgt_view **views; // owned; by index of the subsystem
	struct tgt_counters n;
	void *xport; // the transport's part
};

/* What the core asks of a transport, on the control thread. */
struct tgt_xport {
	/* Begin to listen: fills port->bound and port->xport. 0 or -errno. */
	int (*listen)(struct tgt_port *port);
	/* End that. Connections stay. */
	void (*unlisten)(struct tgt_port *port);
	/* End a connection. Later, when nothing of it is left: tgt_queue_gone(). */
	void (*close)(struct tgt_queue *q);
};

struct nof_tgt {
	struct nof_tgt_conf conf;
	const struct tgt_xport *xport;
	struct tgt_worker *workers; // owned; n_workers + 1, the last is the control thread's
	TAILQ_HEAD(, nof_tgt_subsys) subs;
	struct nof_tgt_subsys *discovery; // one of them
	uint64_t subs_used[TGT_SUBSYS_MAX / 64];
	TAILQ_HEAD(, tgt_port) ports;
	uint16_t next_port_id;
	TAILQ_HEAD(, tgt_referral) referrals;
	unsigned n_referrals;
	uint64_t genctr; // of the discovery log
	TAILQ_HEAD(, tgt_view_ns) dying; // taken from workers with something in flight
	uint32_t next_gen, next_worker;
	unsigned n_ctrls;
};

static inline uint32_t tgt_max_io_bytes(const struct tgt_worker *w)
{
	return w->t->conf.opts.max_io_bytes;
}

static inline struct tgt_worker *tgt_control(struct nof_tgt *t)
{
	return &t->workers[t->conf.n_workers];
}

/* ---- controllers ---- */

/* What a command to a namespace meets. Written by control, read by workers: relaxed. */
enum tgt_access { TGT_HIDDEN, TGT_OPEN, TGT_INACCESSIBLE, TGT_LOSS, TGT_CHANGE };

struct tgt_ctrl {
	/* Fixed after Connect. */
	TAILQ_ENTRY(tgt_ctrl) link; // of the subsystem; control
	struct nof_tgt_subsys *sub; // borrowed: outlives it
	struct tgt_port *port; // borrowed: deleting its listener ends this first
	uint16_t cntlid;
	char hostnqn[TGT_NQN_SIZE];
	uint8_t hostid[16];

	/* Control thread. */
	struct tgt_queue *admin; // NULL: it is going
	unsigned n_io; // I/O queues that exist
	TAILQ_HEAD(, tgt_queue) io;
	bool resetting, shutting; // until the last I/O queue is gone
	bool gone; // no longer one of the subsystem's
	uint32_t cc, csts;
	uint32_t kato_ms;
	uint64_t kato_ns; // when it ends; 0: never
	uint32_t events_mask; // feature 0Bh
	uint32_t features[16]; // by identifier: 1 to 0Fh
	struct tgt_req *aer[TGT_AERL + 1];
	unsigned n_aer;
	uint32_t events_due; // bit: enum tgt_event
	uint32_t events_masked; // until their log is read
	uint32_t n_changed; // NOF_LOG_CHANGED_MAX + 1: too many to name
	uint32_t changed[NOF_LOG_CHANGED_MAX];

	_Atomic uint8_t access[]; // by nsid; enum tgt_access. Control writes, workers read
};

enum tgt_event { TGT_EV_NS, TGT_EV_ANA, TGT_EV_DISCOVERY, TGT_EVENTS };

/* First part of a connection. */
struct tgt_queue {
	struct tgt_worker *w; // borrowed; who polls it
	struct tgt_ctrl *ctrl; // borrowed; NULL before Connect
	struct tgt_view *view; // borrowed; I/O queues
	TAILQ_ENTRY(tgt_queue) link; // control: of the controller's I/O queues
	uint16_t qid;
	uint16_t size; // entries
	uint16_t sqhd;
	bool sqhd_off; // SQ flow control is disabled
	bool connected;
	struct tgt_port *port; // borrowed: that the connection came through
	const char *local; // borrowed: our address as the host sees it
	bool closing; // control: xport->close() was called
	/* The queue's thread. */
	dpu_counter commands, errors; // of I/O commands, answered; the second are part of the first
	enum tgt_fused { TGT_FUSED_NO, TGT_FUSED_FIRST, TGT_FUSED_FAILED } fused_state;
	struct tgt_req *fused; // the first of two, before the second has come
	unsigned n_core; // commands between exec and done
};

enum tgt_dir { TGT_NONE, TGT_IN, TGT_OUT }; // as the target sees it

struct tgt_req {
	struct nof_sqe cmd;
	struct tgt_queue *q; // borrowed
	uint32_t sgl_bytes; // what the host has room for, or sends
	bool in_capsule; // and it came with the command

	/* Set by start. */
	enum tgt_dir dir;
	uint32_t len; // bytes to move

	/* Set by the transport between start and exec. */
	struct iovec iov[TGT_IOV_MAX];
	unsigned n_iov;

	/* Valid in done(). */
	uint16_t status; // enum nof_sc, NOF_SC_DNR
	uint64_t result;
	void (*done)(struct tgt_req *r);

	/* The core's. */
	struct tgt_view_ns *vn; // borrowed while it executes
	uint32_t gen; // of the namespace that it was judged by
	struct tgt_req *other; // of a fused pair
	uint16_t doomed; // status of a fused half whose other half failed
	bool ready; // of a fused pair: its data is there
	TAILQ_ENTRY(tgt_req) link;
	struct vol_io io;
	struct iovec cmp_iov;
	uint64_t cmp_off;
	uint32_t step; // of commands in several steps
	enum tgt_sub { TGT_SUB_WAIT, TGT_SUB_CALL, TGT_SUB_DONE } sub;
	int sub_err;
};

/* ---- tgt.c: what the parts share ---- */

/* 1 to 223 bytes, "nqn." first, nothing that is no printable ASCII. */
bool tgt_nqn_ok(const char *nqn);
struct nof_tgt_subsys *tgt_subsys_find(struct nof_tgt *t, const char *nqn);
/* A field of text, padded with spaces. */
void tgt_text(char *out, size_t size, const char *s);
/* FNV-1a, for identifiers that nobody gave. */
uint64_t tgt_hash(uint64_t basis, const void *p, size_t len);
/* -EINVAL: not a numeric address and port. */
int tgt_addr_check(const struct nof_tgt_addr *at, bool *v6);
/* Makes a target that no transport serves yet; tgt_fini() undoes it. */
int tgt_init(const struct nof_tgt_conf *conf, const struct tgt_xport *x, struct nof_tgt **out);
/* No connection is left. */
void tgt_fini(struct nof_tgt *t);
/* Every tick of the control thread: keep alive timeouts. */
void tgt_tick(struct nof_tgt *t, uint64_t now_ns);
#define TGT_TICK_MS 100
