/* SPDX-License-Identifier: Apache-2.0 */
/* Controllers and their admin queues. The control thread. Private to the target. */
#pragma once

#include "tgt.h"

/*
 * Judge a command of an admin queue, or any command of a queue before its Connect is accepted, as
 * tgt_io_start() does.
 */
bool tgt_admin_start(struct tgt_req *r);
/*
 * Do it. done() is called from here, but for Asynchronous Event Requests. After a Connect of an I/O
 * queue r->q->w is the worker that the queue belongs to from its answer on.
 */
void tgt_admin_exec(struct tgt_req *r);
/* Take an Asynchronous Event Request back without an answer: its connection ends. */
void tgt_admin_drop(struct tgt_req *r);

/* Whichever way a connection ended: nothing uses it any more. */
void tgt_queue_gone(struct tgt_queue *q);

/* End an association: every queue of the controller. */
void tgt_ctrl_end(struct tgt_ctrl *c);
/* Its keep alive timeout, rounded up to what Identify says, begins now. 0: none. */
void tgt_ctrl_kato(struct tgt_ctrl *c, uint32_t ms);
/* What commands to namespaces meet, computed again. */
void tgt_ctrl_access(struct tgt_ctrl *c);
void tgt_ctrl_access_ns(struct tgt_ctrl *c, uint32_t nsid); // of one namespace
/* Something happened that hosts hear of. nsid: for TGT_EV_NS. */
void tgt_ctrl_event(struct tgt_ctrl *c, enum tgt_event ev, uint32_t nsid);

/* ---- tgt_connect.c ---- */
void tgt_connect_exec(struct tgt_req *r);
bool tgt_host_allowed(const struct nof_tgt_subsys *sub, const char *hostnqn);
/* Can this controller see that namespace? */
bool tgt_ns_visible(const struct tgt_ctrl *c, uint32_t nsid);
const struct tgt_listener *tgt_listener_of(
	const struct nof_tgt_subsys *sub, const struct tgt_port *p);
/* ANA state of a namespace for this controller. */
uint8_t tgt_ana_of(const struct tgt_ctrl *c, uint32_t anagrpid);

/* ---- tgt_ident.c, tgt_log.c: each returns a status ---- */
uint16_t tgt_identify(struct tgt_req *r);
uint16_t tgt_get_log(struct tgt_req *r);

/* ---- what is written into the buffers of a command ---- */

/* A window of a longer text: what is put before or behind it only counts. */
struct tgt_out {
	struct tgt_req *r; // borrowed
	uint64_t off; // of the window
	uint64_t pos; // written so far
};
/* Begin; the window is cleared. */
void tgt_out_init(struct tgt_out *o, struct tgt_req *r, uint64_t off);
void tgt_out_put(struct tgt_out *o, const void *p, size_t len);
void tgt_out_zero(struct tgt_out *o, size_t len);
