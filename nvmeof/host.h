/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initiator's insides. Who owns what:
 *
 *   host ── subsystems (by NQN) ── controllers ── one admin queue, one I/O queue for each worker
 *                    │                            (or a relay to another's: relay.h)
 *                    └──────────── volumes' views of namespaces (struct nof_view)
 *
 * The control thread owns all of it, but for the I/O queues: each is connected on the control
 * thread, then given to its worker, and comes back to be destroyed. That is one message in each
 * direction for an association (give, stopped), and stop in between; messages of two threads keep
 * their order, so none of them is ever posted twice.
 *
 * A worker that finds its queue broken ends the commands in it at once (volumes keep the requests)
 * and tells the control thread, which stops the other queues too, as Fabrics demand, and connects
 * again.
 */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "discovery.h"
#include "group.h"
#include "ident.h"
#include "nof_ctrl.h"
#include "qpair.h"
#include "volume.h"

#define NOF_NAMESPACES_MAX 16384U // of one controller
#define NOF_ANA_GROUPS_MAX 1024U

struct nof_io;

/* A worker's part of one controller. */
struct nof_io {
	struct nof_ctrl *ctrl; // borrowed
	struct nof_group *group; // the worker's
	unsigned worker;

	/* The worker. */
	struct nof_qpair *q; // NULL: no connection
	uint64_t assoc; // of q
	uint32_t transfer_max; // what the controller takes
	bool compare_write; // it takes fused pairs, and the queue has room for one
	uint64_t quiesce_ns; // how long commands may go on after the connection is gone
	bool broke_posted;
	struct dpu_lat lat; // of all of its connections, one after the other

	/* The control thread, between stopped and give; else in messages. */
	struct nof_qpair *mine; // connecting, or on its way
	bool given;
	struct nof_msg give, stop, stopped, broke;
	int broke_err;
	struct iovec iov;
	struct nof_connect_data *data; // owned; of Connect
};

struct nof_ns {
	uint32_t nsid;
	bool seen; // in the scan that runs
	bool usable, usable_next;
	struct nof_ns_ident id, next; // the second: of the scan that runs, whole only at its end
	enum nof_ana ana;
};

struct nof_ana_state {
	uint32_t grpid;
	enum nof_ana state;
};

/*
 * What a volume sees of its namespace on the controllers of a subsystem: the control thread writes,
 * workers read. path[i] is what controller number i says.
 */
struct nof_path {
	_Atomic(struct nof_ctrl *) ctrl; // NULL: none
	// enum nof_ana, 0: the namespace is not there; workers may say so, too, until the next scan
	_Atomic uint8_t ana;
	_Atomic uint64_t ended; // the last association of which no command can land any more
	_Atomic int8_t node; // NUMA node of the device that it goes through; -1: not known
	_Atomic bool preferred; // VOL_ACTIVE_PASSIVE: somebody wants this one
};

struct nof_view {
	LIST_ENTRY(nof_view) link;
	struct nof_subsys *subsys; // borrowed; NULL: not in one
	uint32_t nsid;
	struct nof_path path[NOF_CTRLS_MAX];
	_Atomic bool fail; // no path for too long: requests fail
	/* The control thread: no controller that is live has the namespace. */
	struct nof_timer gone_timer; // for how long requests wait then
	bool gone; // it was too long
	_Atomic uint8_t policy; // enum vol_policy
	/* On the control thread: is this the namespace that the volume is? */
	bool (*accepts)(struct nof_view *v, const struct nof_ctrl *c, const struct nof_ns *ns);
	/* On the control thread: what its controllers say of it may be something else now. */
	void (*changed)(struct nof_view *v);
};

/* Something on a worker that waits until there is a path. The worker's. */
struct nof_waiting {
	TAILQ_ENTRY(nof_waiting) link;
	bool on;
	void (*again)(struct nof_waiting *w); // taken off the list before
};
TAILQ_HEAD(nof_waiting_list, nof_waiting);

struct nof_host_worker {
	struct nof_group *group; // borrowed
	int node; // NUMA node of its memory; -1: not known
	struct nof_waiting_list waiting; // the worker's
	/* Posted by the control thread when it is not on its way already. */
	struct nof_msg poke;
	_Atomic bool poked;
};

struct nof_subsys {
	LIST_ENTRY(nof_subsys) link;
	struct nof_host *host;
	char nqn[NOF_NQN_SIZE];
	struct nof_ctrl *ctrl[NOF_CTRLS_MAX];
	LIST_HEAD(, nof_view) views;
};

struct nof_host {
	struct nof_group *control;
	struct nof_host_worker *workers; // owned
	unsigned n_workers;
	char hostnqn[NOF_NQN_SIZE];
	uint8_t hostid[16];
	uint64_t assoc; // numbers associations
	LIST_HEAD(, nof_subsys) subsystems;
	TAILQ_HEAD(, nof_ctrl) ctrls;
};

struct nof_ctrl {
	/* Fixed. */
	struct nof_host *host;
	struct nof_subsys *subsys;
	unsigned slot; // in subsys->ctrl
	struct nof_ctrl_conf conf; // strings point into `names`
	char names[5][NOF_NQN_SIZE]; // name, traddr, host_traddr, subnqn, hostnqn
	uint8_t hostid[16]; // that goes with conf.hostnqn
	TAILQ_ENTRY(nof_ctrl) link;

	/* The control thread. */
	enum nof_ctrl_state state;
	bool deleting, give_up; // the second: no more tries
	bool resetting; // somebody asked for it: to be connected again in any case
	void (*up)(void *arg, int err);
	void *up_arg;
	int up_err;
	struct nof_msg tell; // calls `up`
	bool tell_due;
	void (*gone)(void *arg);
	void *gone_arg;
	int last_err;
	const char *last_step;
	uint64_t connects, failures;
	struct nof_ctrl_stats ended; // sums of connections that are gone

	struct nof_qpair *admin; // owned
	uint64_t assoc; // number of the association that runs, or ran last
	unsigned step; // of the connect machine, or of the scan
	bool waiting; // an answer of the step
	unsigned idx; // within a step that repeats
	int node; // NUMA node of the device that its connections go through; -1: not known
	uint8_t *buf; // owned; NOF_BUF_LEN, for admin commands
	struct iovec iov;
	struct nof_timer timer; // the step's pause, back-off, keep alive
	struct nof_timer loss_timer, fail_timer, scan_timer, aer_timer, delete_timer;
	struct nof_msg ready, teardown, finish; // outside of everybody's turn
	unsigned tries; // since the last connection
	uint64_t cap;
	uint32_t csts_left; // polls until the controller has to be ready
	struct nof_ident id;
	bool scanning, rescan; // the second: asked for
	bool ka_waiting;
	uint64_t end_by_ns;
	bool ending, finishing; // asked to stop, on its admin queue; the message is on its way

	struct nof_ns *ns; // owned; sorted by nsid
	unsigned n_ns, ns_room;
	_Atomic bool ns_doubt; // set by workers: one that it has told of is not there
	void (*ns_read)(void *arg); // NULL: nobody asked
	void *ns_arg;
	struct nof_ana_state ana[NOF_ANA_GROUPS_MAX];
	unsigned n_ana;
	uint32_t *list; // owned; NSIDs of the scan that runs
	unsigned n_list, list_room;

	struct nof_disc disc; // of a discovery controller

	unsigned n_io, io_up, io_out; // queues: granted, connected; workers that are asked to stop
	struct nof_io *io; // owned; one for each worker
};

#define NOF_BUF_LEN 65536U
#define NOF_END_MS 1000U // how long it is asked to stop before its connection is closed

/* ---- ctrl.c: the state machine ---- */
enum nof_ctrl_event {
	NOF_EV_START,
	NOF_EV_READY,
	NOF_EV_FAIL,
	NOF_EV_STOPPED,
	NOF_EV_TIMER,
	NOF_EV_GIVE_UP,
	NOF_CTRL_EVENTS
};
/* The state after an event, NOF_CTRL_NONE: not allowed. */
enum nof_ctrl_state nof_ctrl_next_state(enum nof_ctrl_state s, enum nof_ctrl_event e);
void nof_ctrl_event(struct nof_ctrl *c, enum nof_ctrl_event e);
/* Something went wrong in a step or on a queue. */
void nof_ctrl_failed(struct nof_ctrl *c, const char *step, int err);

/* ---- ctrl_step.c: what is said on the admin queue ---- */
int nof_ctrl_steps_begin(struct nof_ctrl *c); // connect: 0, or a negative errno
void nof_ctrl_steps_timer(struct nof_ctrl *c);
/* Live: keep alive, events. */
void nof_ctrl_steps_live(struct nof_ctrl *c);
/* Read namespaces and states again, soon. */
void nof_ctrl_rescan(struct nof_ctrl *c);
void nof_ctrl_scan_timer(struct nof_timer *t);
/* Ask for the next event. */
void nof_ctrl_aer_timer(struct nof_timer *t);
/* Ask the controller to stop: nof_ctrl_io_finish() follows. False: it cannot be asked. */
bool nof_ctrl_steps_end(struct nof_ctrl *c);

/* ---- ctrl_io.c: I/O queues ---- */
int nof_ctrl_io_init(struct nof_ctrl *c);
void nof_ctrl_io_fini(struct nof_ctrl *c);
/* Connect all of them: NOF_EV_READY, or nof_ctrl_failed(). 0, or a negative errno. */
int nof_ctrl_io_connect(struct nof_ctrl *c);
void nof_ctrl_io_give(struct nof_ctrl *c); // to their workers
/* Have them back, end the admin queue; NOF_EV_STOPPED follows, not from in here. */
void nof_ctrl_io_stop(struct nof_ctrl *c);
void nof_ctrl_io_finish(struct nof_ctrl *c);
/* A Connect for a queue; data is borrowed until its answer. Base 6.3. */
void nof_ctrl_connect_sqe(const struct nof_ctrl *c, struct nof_slot *s,
	struct nof_connect_data *data, struct iovec *iov, uint16_t qid, uint16_t size);
/* The errno for a status; 0 for success. */
int nof_status_errno(uint16_t status);

/* ---- ctrl_ns.c: namespaces and their paths ---- */
struct nof_ns *nof_ctrl_ns_find(const struct nof_ctrl *c, uint32_t nsid);
/* The namespace's entry, made if there is none; NULL: no memory, or too many. */
struct nof_ns *nof_ctrl_ns_make(struct nof_ctrl *c, uint32_t nsid);
/* The namespace of a view on controller number `slot`; NULL: not live, or not there. */
const struct nof_ns *nof_view_ns(const struct nof_view *v, unsigned slot);
/* Forget those that the scan has not seen, tell the views. */
void nof_ctrl_ns_scanned(struct nof_ctrl *c);
/* Commands of this association have ended at the controller. */
void nof_ctrl_ended(struct nof_ctrl *c, uint64_t assoc);
/* The controller came (live) or went: views get or lose a path. */
void nof_ctrl_paths(struct nof_ctrl *c, bool there);
/* A view joins the subsystem of this name, made if there is none. 0 or -ENOMEM. */
int nof_view_join(struct nof_host *h, const char *nqn, struct nof_view *v);
void nof_view_leave(struct nof_view *v);
/* Paths, states or what is known of old commands changed: workers look at what waits. */
void nof_host_poke(struct nof_host *h);
/* On the worker: those who wait look again. */
void nof_worker_look(struct nof_host_worker *w);
struct nof_subsys *nof_subsys_get(struct nof_host *h, const char *nqn);
void nof_subsys_put(struct nof_subsys *s); // frees it when nobody uses it
