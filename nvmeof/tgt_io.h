/* SPDX-License-Identifier: Apache-2.0 */
/* Commands to namespaces. The worker of the queue. Private to the target. */
#pragma once

#include "tgt.h"

/*
 * Judge a command: r->dir and r->len say what to move before tgt_io_exec(). False: r->status says
 * why not, and done() will not be called.
 * Spec: NVM Command Set 1.0, section 3; NVMe Base 2.0, sections 3.4.2 and 8.1.3.
 */
bool tgt_io_start(struct tgt_req *r);
/* Do it; done() is called, now or later. */
void tgt_io_exec(struct tgt_req *r);
/* A command that was judged and will not be executed: its connection ends. */
void tgt_io_drop(struct tgt_req *r);
/* No further command comes: a first half that waits for its second one is answered. */
void tgt_io_end(struct tgt_queue *q);

/* One turn over the volumes of a worker. Returns how much moved. */
unsigned tgt_io_poll(struct tgt_worker *w);
