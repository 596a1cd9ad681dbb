/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of a path for one command of a volume, on its worker: of those that are connected, the
 * optimized ones before the others (ANA, Base 8.1.1), and of these by the volume's policy: in turn,
 * by how many commands they have, those at the worker's NUMA node in turn, or one as long as it
 * lasts.
 */
#pragma once

#include "host.h"

struct nof_path_pick {
	struct nof_view *view; // borrowed
	unsigned worker;
	int node; // of the worker's memory; -1: not known
	unsigned last; // round-robin goes on behind it
	unsigned out[NOF_CTRLS_MAX]; // commands of this channel that are out
	uint64_t doubt[NOF_CTRLS_MAX]; // a path said that it cannot: not before this time
	uint64_t doubt_until_ns; // the last choice found nothing but such paths: until then
};

void nof_path_init(struct nof_path_pick *p, struct nof_view *view, unsigned worker, int node);
/* A path's number and its queue, which is good for this turn; or -ENOENT. */
int nof_path_pick(struct nof_path_pick *p, uint64_t now_ns, struct nof_io **out);

static inline void nof_path_sent(struct nof_path_pick *p, unsigned path)
{
	p->out[path]++;
}
static inline void nof_path_done(struct nof_path_pick *p, unsigned path)
{
	p->out[path]--;
}
/* It answered that it cannot: leave it alone until then, the others first. */
void nof_path_doubt(struct nof_path_pick *p, unsigned path, uint64_t until_ns);
/* An error that may go away by itself. */
bool nof_path_retryable(uint16_t status);
/* An optional I/O command that the target has not, or not for what the namespace is on. */
bool nof_path_unsupported(uint16_t status);

/* Be called when something about paths changes. */
void nof_path_wait(struct nof_host *h, unsigned worker, struct nof_waiting *w);
void nof_path_unwait(struct nof_host *h, unsigned worker, struct nof_waiting *w);
/* The number of the worker whose group this is, or -EINVAL. */
int nof_path_worker(const struct nof_host *h, const struct nof_group *g);
