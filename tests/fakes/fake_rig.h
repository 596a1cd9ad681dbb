/* SPDX-License-Identifier: Apache-2.0 */
/* A function behind a vhost-user session on a socket pair, its host and its front-end. */
#pragma once

#include "fake_front.h"

#define RIG_QUEUES 4

struct fake_rig {
	struct fake_host h;
	struct fake_dev d;
	struct fake_front f;
	struct vho_vu *vu;
};

/* A session that has said nothing yet. */
void rig_open(struct fake_rig *r, enum vho_dev_kind kind);
/* A new session for the same function; the old one must be over. */
void rig_reopen(struct fake_rig *r);
void rig_close(struct fake_rig *r);

/* All protocol features, VERSION_1 and `more` features: what every front-end does first. */
void rig_negotiate(struct fake_rig *r, uint64_t more);
/* rig_negotiate, memory, ring 0 running. */
void rig_run_ring(struct fake_rig *r);

/* A non-blocking eventfd. */
int rig_eventfd(void);
/* Its counter, emptied; 0 when nothing was signalled. */
uint64_t rig_eventfd_take(int fd);
/* Lines of /proc/self/maps. */
unsigned rig_mappings(void);
