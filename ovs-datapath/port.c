// SPDX-License-Identifier: Apache-2.0
/* Ports: numbers, queues and their owners, capabilities, counters. */
#include <errno.h>
#include <stdlib.h>

#include "bridge.h"
#include "dp.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "flow.h"
#include "hold.h"
#include "meter.h"
#include "ring.h"
#include "tx.h"
#include "underlay_gate.h"
#include "vport.h"

/* A flood reaches every port but one within one action list. */
#define PORTS_MAX (ODP_ACT_OUTPUTS_MAX + 1)

/* ---- capabilities ---- */

static uint64_t caps_pack(const struct odp_port_caps *c)
{
	bool merge = c->gro && c->csum && c->multi_seg && (c->tso4 || c->tso6);

	return c->mtu | (c->up ? CAPS_UP : 0) | (c->csum ? CAPS_CSUM : 0) |
	       (c->tso4 ? CAPS_TSO4 : 0) | (c->tso6 ? CAPS_TSO6 : 0) | (c->uso4 ? CAPS_USO4 : 0) |
	       (c->uso6 ? CAPS_USO6 : 0) | (c->multi_seg ? CAPS_MULTI_SEG : 0) |
	       (c->lent ? CAPS_LENT : 0) | (merge ? CAPS_GRO : 0);
}

/*
 * Several threads may get here at once. Each reads again until nobody announced a change meanwhile,
 * so the value that stays is at least as new as the last announcement.
 */
void odp_port_caps_changed(struct odp_port *port)
{
	uint32_t seq = atomic_fetch_add_explicit(&port->caps_seq, 1, memory_order_seq_cst) + 1;

	for (;;) {
		struct odp_port_caps c = { 0 };

		port->conf.ops->caps(port->conf.drv, &c);
		atomic_store_explicit(&port->caps, caps_pack(&c), memory_order_seq_cst);
		uint32_t now = atomic_load_explicit(&port->caps_seq, memory_order_seq_cst);

		if (now == seq)
			return;
		seq = now;
	}
}

/* ---- life ---- */

static void pw_fini(struct odp_pw *pw)
{
	free(pw->own);
	free(pw->lane);
}

static int pw_init(struct odp_pw *pw, struct odp_port *port)
{
	uint16_t n = port->conf.n_txq;

	pw->port = port;
	pw->own = dpu_calloc(n, sizeof(*pw->own));
	pw->lane = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, n, sizeof(*pw->lane));
	if (!pw->own || !pw->lane)
		return -ENOMEM;
	for (uint16_t q = 0; q < n; q++) {
		pw->lane[q].pw = pw;
		pw->lane[q].txq = q;
	}
	return 0;
}

static void port_free(struct odp_port *p)
{
	for (unsigned w = 0; p->pw && w <= p->dp->conf.n_workers; w++)
		pw_fini(&p->pw[w]);
	for (uint16_t q = 0; p->txq && q < p->conf.n_txq; q++)
		odp_ring_destroy(p->txq[q].ring);
	odp_ring_destroy(p->upcalls);
	odp_ul_rings_destroy(atomic_load_explicit(&p->rings, memory_order_relaxed));
	free(p->tnl);
	free(p->pw);
	free(p->txq);
	free(p);
}

static int port_init(struct odp_port *p)
{
	unsigned n_workers = p->dp->conf.n_workers;

	p->txq = dpu_calloc(p->conf.n_txq, sizeof(*p->txq));
	p->pw = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, n_workers + 1, sizeof(*p->pw));
	p->upcalls = odp_ring_create(UPCALL_RING);
	if (!p->txq || !p->pw || !p->upcalls)
		return -ENOMEM;
	for (uint16_t q = 0; q < p->conf.n_txq; q++) {
		atomic_store_explicit(&p->txq[q].owner, -1, memory_order_relaxed);
		p->txq[q].ring = odp_ring_create(HANDOVER_RING);
		if (!p->txq[q].ring)
			return -ENOMEM;
	}
	for (unsigned w = 0; w <= n_workers; w++)
		if (pw_init(&p->pw[w], p) < 0)
			return -ENOMEM;
	return 0;
}

int odp_port_create(struct odp *dp, const struct odp_port_conf *conf, struct odp_vport *tnl,
	struct odp_port **out)
{
	uint32_t no = 1;

	if (!conf->name || strlen(conf->name) >= sizeof((*out)->name) || conf->n_txq == 0)
		return -EINVAL;
	if (odp_port_by_name(dp, conf->name))
		return -EEXIST;
	while (odp_port_by_no(dp, no))
		no++;
	if (no >= ODP_PORT_MAX || dp->n_ports == PORTS_MAX)
		return -ENOSPC;
	struct odp_port *p = dpu_calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->dp = dp;
	p->no = no;
	p->serial = ++dp->port_serial;
	p->conf = *conf;
	p->conf.name = p->name;
	memcpy(p->name, conf->name, strlen(conf->name) + 1);
	int ret = port_init(p);

	if (ret < 0) {
		port_free(p);
		return ret;
	}
	if (!tnl) {
		p->storm = (struct odp_storm){ .per_s = ODP_STORM_PER_S };
		ret = odp_meter_storm(dp, no, &p->storm);
		if (ret < 0) {
			port_free(p);
			return ret;
		}
	}
	p->setup_ns = dpu_now_ns();
	p->setup_tokens = 4096;
	p->tnl = tnl;
	if (tnl)
		tnl->end.port_no = no;
	odp_port_caps_changed(p);
	for (unsigned w = 0; w <= dp->conf.n_workers; w++)
		atomic_store_explicit(&dp->worker[w]->pw[no], &p->pw[w], memory_order_release);
	atomic_store_explicit(&dp->port[no], p, memory_order_release);
	dp->n_ports++;
	if (no >= dp->port_top)
		dp->port_top = no + 1;
	odp_bridge_port_added(dp, no);
	*out = p;
	return 0;
}

int odp_port_add(struct odp *dp, const struct odp_port_conf *conf, struct odp_port **out)
{
	return odp_port_create(dp, conf, NULL, out);
}

void odp_port_del(struct odp_port *port)
{
	if (!port)
		return;
	struct odp *dp = port->dp;
	struct odp_port_stats s;

	atomic_store_explicit(&dp->port[port->no], NULL, memory_order_release);
	// Workers have let go of theirs with its queues. A tunnel has none: what came out of it
	// waits there until it times out, and is no later port's (hold.c).
	odp_hold_forget(dp->control, port->no);
	for (unsigned w = 0; w <= dp->conf.n_workers; w++)
		atomic_store_explicit(&dp->worker[w]->pw[port->no], NULL, memory_order_release);
	dp->n_ports--;
	odp_tnls_port_deleted(dp, port);
	odp_bridge_port_deleted(dp, port->no);
	odp_flows_port_deleted(dp, port->no);
	(void)odp_meter_storm(dp, port->no, &(struct odp_storm){ 0 });
	if (dp->conf.synchronize)
		dp->conf.synchronize(dp->conf.host_arg);
	// Nobody can put packets into its rings any more: what is in them goes nowhere.
	for (uint16_t q = 0; q < port->conf.n_txq; q++)
		dp->gone_drops[ODP_DROP_PORT_GONE] += odp_ring_drain(port->txq[q].ring);
	dp->gone_drops[ODP_DROP_PORT_GONE] += odp_ring_drain(port->upcalls);
	odp_port_stats(port, &s);
	for (unsigned d = 0; d < ODP_DROP_COUNT; d++)
		dp->gone_drops[d] += s.drops[d];
	port_free(port);
	odp_reclaim(dp);
}

uint32_t odp_port_no(const struct odp_port *port)
{
	return port->no;
}

const char *odp_port_name(const struct odp_port *port)
{
	return port->name;
}

struct odp_port *odp_port_by_no(struct odp *dp, uint32_t no)
{
	return no < ODP_PORT_MAX ? atomic_load_explicit(&dp->port[no], memory_order_relaxed) : NULL;
}

struct odp_port *odp_port_by_name(struct odp *dp, const char *name)
{
	for (uint32_t no = 0; no < dp->port_top; no++) {
		struct odp_port *p = odp_port_by_no(dp, no);

		if (p && !strcmp(p->name, name))
			return p;
	}
	return NULL;
}

void odp_port_set_switched(struct odp_port *port, enum odp_switched how)
{
	port->conf.switched = how;
	odp_bridge_port_changed(port->dp, port->no);
}

bool odp_port_is_switched(const struct odp_port *port)
{
	return atomic_load_explicit(&port->switched, memory_order_relaxed);
}

int odp_port_set_storm(struct odp_port *port, const struct odp_storm *s)
{
	int ret = odp_meter_storm(port->dp, port->no, s);

	if (ret < 0)
		return ret;
	port->storm = *s;
	port->storm_asked = true;
	odp_bridge_floods_changed(port->dp);
	return 0;
}

void odp_port_storm(const struct odp_port *port, struct odp_storm *out)
{
	*out = port->storm;
}

void odp_port_foreach(struct odp *dp, void (*fn)(struct odp_port *port, void *arg), void *arg)
{
	for (uint32_t no = 0; no < dp->port_top; no++) {
		struct odp_port *p = odp_port_by_no(dp, no);

		if (p)
			fn(p, arg);
	}
}

void odp_port_stats(const struct odp_port *port, struct odp_port_stats *out)
{
	*out = (struct odp_port_stats){ 0 };
	for (unsigned w = 0; w <= port->dp->conf.n_workers; w++) {
		const struct odp_pw *pw = &port->pw[w];

		out->rx_packets += dpu_counter_read(&pw->rx_packets);
		out->rx_bytes += dpu_counter_read(&pw->rx_bytes);
		out->tx_packets += dpu_counter_read(&pw->tx_packets);
		out->tx_bytes += dpu_counter_read(&pw->tx_bytes);
		out->gro_frames += dpu_counter_read(&pw->gro_frames);
		out->gro_segments += dpu_counter_read(&pw->gro_segments);
		for (unsigned d = 0; d < ODP_DROP_COUNT; d++)
			out->drops[d] += dpu_counter_read(&pw->drops[d]);
	}
}

/* ---- queues ---- */

/* Room for one more element of `each` bytes. */
static int grow(void **array, unsigned *size, unsigned n, size_t each)
{
	if (n < *size)
		return 0;
	unsigned more = *size ? *size * 2 : 16;
	void *p = realloc(*array, more * each);

	if (!p)
		return -ENOMEM;
	*array = p;
	*size = more;
	return 0;
}

static bool is_blind(const struct odp_port *port, uint16_t rxq)
{
	const struct odp_port_conf *conf = &port->conf;

	return !conf->ops->rx_arm || (conf->ops->rx_blind && conf->ops->rx_blind(conf->drv, rxq));
}

/* Where rxq of port is among the worker's, or n_rxq. */
static unsigned rxq_find(const struct odp_worker *w, const struct odp_port *port, uint16_t rxq)
{
	unsigned i = 0;

	while (i < w->n_rxq && (w->rxq[i].port != port || w->rxq[i].rxq != rxq))
		i++;
	return i;
}

static void rxq_swap(struct odp_worker *w, unsigned i, unsigned j)
{
	struct odp_rxq q = w->rxq[i];

	w->rxq[i] = w->rxq[j];
	w->rxq[j] = q;
}

int odp_rxq_attach(struct odp_worker *w, struct odp_port *port, uint16_t rxq)
{
	if (rxq >= port->conf.n_rxq)
		return -EINVAL;
	if (rxq_find(w, port, rxq) < w->n_rxq)
		return -EEXIST;
	int ret = grow((void **)&w->rxq, &w->rxq_size, w->n_rxq, sizeof(*w->rxq));

	if (ret < 0)
		return ret;
	w->rxq[w->n_rxq] = (struct odp_rxq){ .port = port, .rxq = rxq };
	rxq_swap(w, w->n_rxq++, w->n_live++);
	w->n_blind += is_blind(port, rxq);
	return 0;
}

void odp_rxq_detach(struct odp_worker *w, struct odp_port *port, uint16_t rxq)
{
	unsigned i = rxq_find(w, port, rxq);

	if (i == w->n_rxq)
		return;
	if (i < w->n_live) {
		rxq_swap(w, i, --w->n_live);
		i = w->n_live;
	}
	rxq_swap(w, i, --w->n_rxq);
	w->n_blind -= is_blind(port, rxq);
	odp_hold_forget(w, port->no);
}

void odp_rxq_wakeable(struct odp_worker *w, struct odp_port *port, uint16_t rxq)
{
	unsigned i = rxq_find(w, port, rxq);

	if (i < w->n_rxq && !is_blind(port, rxq))
		w->rxq[i].wakeable = true;
}

bool odp_rxq_park(struct odp_worker *w, unsigned i)
{
	struct odp_rxq *q = &w->rxq[i];
	const struct odp_port_conf *conf = &q->port->conf;

	q->empty = 0;
	if (!q->wakeable)
		return false;
	if (!conf->ops->rx_arm(conf->drv, q->rxq)) {
		if (conf->ops->rx_disarm)
			conf->ops->rx_disarm(conf->drv, q->rxq);
		return false;
	}
	rxq_swap(w, i, --w->n_live);
	return true;
}

void odp_rxq_wake(struct odp_worker *w, struct odp_port *port, uint16_t rxq)
{
	unsigned i = rxq_find(w, port, rxq);
	const struct odp_port_conf *conf = &port->conf;

	if (i < w->n_live || i == w->n_rxq)
		return;
	if (conf->ops->rx_disarm)
		conf->ops->rx_disarm(conf->drv, rxq);
	rxq_swap(w, i, w->n_live++);
}

unsigned odp_worker_parked(const struct odp_worker *w)
{
	return w->n_rxq - w->n_live;
}

static void own_changed(struct odp_pw *pw)
{
	const struct odp_port_conf *conf = &pw->port->conf;
	bool steers = conf->n_txq > 1 && conf->ops->steer;

	pw->only = pw->n_own == 1 && !steers ? &pw->lane[pw->own[0]] : NULL;
}

int odp_txq_attach(struct odp_worker *w, struct odp_port *port, uint16_t txq)
{
	struct odp_pw *pw = &port->pw[w->idx];
	int none = -1;

	if (txq >= port->conf.n_txq)
		return -EINVAL;
	int ret = grow((void **)&w->txq, &w->txq_size, w->n_txq, sizeof(struct odp_lane *));

	if (ret < 0)
		return ret;
	struct odp_txq *q = &port->txq[txq];

	// Acquire: after everything that the owner before us did to the queue.
	if (!atomic_compare_exchange_strong_explicit(
		    &q->owner, &none, (int)w->idx, memory_order_acq_rel, memory_order_relaxed))
		return none == (int)w->idx ? -EEXIST : -EBUSY;
	// Left over from the time between two owners.
	dpu_counter_add(&pw->drops[ODP_DROP_PORT_GONE], odp_ring_drain(q->ring));
	w->txq[w->n_txq++] = &pw->lane[txq];
	pw->own[pw->n_own++] = txq;
	own_changed(pw);
	return 0;
}

void odp_txq_detach(struct odp_worker *w, struct odp_port *port, uint16_t txq)
{
	struct odp_pw *pw = &port->pw[w->idx];

	for (unsigned i = 0; i < w->n_txq; i++) {
		if (w->txq[i] != &pw->lane[txq])
			continue;
		w->txq[i] = w->txq[--w->n_txq];
		for (uint16_t j = 0; j < pw->n_own; j++)
			if (pw->own[j] == txq)
				pw->own[j--] = pw->own[--pw->n_own];
		own_changed(pw);
		dpu_counter_add(
			&pw->drops[ODP_DROP_PORT_GONE], odp_ring_drain(port->txq[txq].ring));
		atomic_store_explicit(&port->txq[txq].owner, -1, memory_order_release);
		return;
	}
}
