/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datapath's objects, shared by the files of this folder.
 *
 * Two kinds of thread touch them. Control changes tables; workers read them during a turn and keep
 * no pointer into them from one turn to the next, with one exception: the exact-match cache keeps
 * flow pointers. Flows therefore live in chunks that are only freed with the datapath, and carry a
 * generation that is odd while the flow is live: a cached pointer is used only while the generation
 * is the one it was cached with. Everything else that workers can see is unlinked first and freed
 * after conf.synchronize() (odp_defer, odp_reclaim).
 *
 * The control thread sends packets too, after a miss. It does so through a worker object of its own
 * (dp->control) that owns no queue, so that everything it sends goes through hand-over rings.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ring.h>

#include "key.h"
#include "odp_act.h"

#define FLOW_CHUNK 4096u // flows in a chunk
#define FLOW_CHUNKS 256u
#define FLOW_INLINE_WORDS 12u // of a key, in the flow itself
#define UFID_CHAINS (256u * 1024)
#define SUBTABLES_MAX 16384u
#define UPCALL_RING 256u // packets of one port that wait for a decision
#define HANDOVER_RING 1024u // packets that wait for one transmit queue's worker

struct odp_bridge;
struct odp_ct;
struct odp_subtable;
struct odp_subtables;
struct odp_emc;
struct odp_meter;
struct odp_fused;
struct odp_hold;
struct odp_smc;
struct odp_burst;
struct odp_recirc_queue;
struct odp_tnls;
struct odp_tnl_worker;
struct odp_ul_rings;
struct odp_vport;

/* ---- flows ---- */

enum odp_acts_kind { ODP_ACTS_DROP, ODP_ACTS_OUTPUT, ODP_ACTS_LIST };

/* A validated action list; immutable once published. */
struct odp_acts {
	enum odp_acts_kind kind;
	uint32_t port; // ODP_ACTS_OUTPUT: the only action
	uint32_t len; // bytes of the list
	bool eth; // for packets that begin with an Ethernet header
	bool tracks; // conntrack is in the list
	bool plain; // for packets whose metadata say `own_tuple` as well: act_ct.h
	uint64_t serial; // no two lists of a datapath have the same
	struct odp_act list[]; // behind it the templates of its "tnl_push": odp_acts_tmpl()
};

struct odp_flow {
	/* Read by workers. */
	_Atomic uint32_t gen; // odd: live
	uint32_t idx;
	_Atomic(const struct odp_acts *) acts; // owned; RCU
	struct odp_subtable *st; // borrowed: lives while it has flows
	const uint64_t *key; // masked words that st->map names; inl, or owned; constant while live
	uint64_t inl[FLOW_INLINE_WORDS];

	/* Control thread. */
	const char *origin; // static storage
	uint64_t id;
	uint64_t seen_packets, used_ns; // by flow_sample
	struct odp_ufid ufid; // all zero: none
	struct odp_flow *next, *ufid_next; // free list; with the same hash of the ufid
} __rte_cache_aligned;

/* One worker's counters of one flow. */
struct odp_flow_slot {
	dpu_counter packets, bytes;
};

/* Subtables in order of lookup; constant. */
struct odp_list {
	unsigned n;
	struct odp_subtable *st[]; // borrowed
};

/*
 * What lookups see, all at once: replaced as a whole, so masks, tables and generation agree. The
 * key of a packet that is looked up has the words of `map` filled and zero in all others.
 */
struct odp_view {
	uint64_t map; // bit i: word i of `any` is not zero
	enum odp_depth depth; // ODP_DEPTH_L2: no word behind layer 2's is in `map`
	_Atomic uint32_t gen; // changes when cached decisions may be wrong, and with `any`
	struct odp_seed seed; // the datapath's
	struct odp_flow *const *chunk; // borrowed: the datapath's
	struct odp_kw any; // all masks in one
	uint8_t n_words, word[ODP_KEY_WORDS]; // `map` as a list
	const struct odp_list *common; // borrowed; subtables that any input port may meet
	uint32_t n_ports;
	const struct odp_list *port[]; // borrowed; by number: its own and the common ones; or NULL
};

/* The subtables that packets of a port meet. */
static inline const struct odp_list *odp_view_list(const struct odp_view *v, uint32_t port)
{
	return port < v->n_ports && v->port[port] ? v->port[port] : v->common;
}

/* The hash of a deep key under this view. */
static inline uint32_t odp_view_hash(const struct odp_view *v, const struct odp_kw *k)
{
	uint64_t w[ODP_KEY_WORDS];

	for (unsigned i = 0; i < v->n_words; i++)
		w[i] = k->w[v->word[i]];
	return odp_words_hash(&v->seed, w, v->n_words);
}

/* Are two keys the same, as far as this view looks? */
static inline bool odp_view_eq(
	const struct odp_view *v, const struct odp_kw *a, const struct odp_kw *b)
{
	uint64_t diff = 0;

	for (unsigned i = 0; i < v->n_words; i++)
		diff |= a->w[v->word[i]] ^ b->w[v->word[i]];
	return diff == 0;
}

/* ---- packets together ---- */

/* What one look at each of some packets says of all: enough to know that none needs another. */
struct odp_sums {
	uint64_t bytes, or_flags;
	uint64_t max_len; // 64 bits, or gcc takes the vector unit for each maximum
	uint16_t n, or_segs; // or_segs: 1 when each is one segment
};

static inline void odp_sums_add(struct odp_sums *s, const struct rte_mbuf *m)
{
	s->n++;
	s->bytes += m->pkt_len;
	s->or_flags |= m->ol_flags;
	s->max_len = RTE_MAX(s->max_len, m->pkt_len);
	s->or_segs |= m->nb_segs;
}

static inline void odp_sums_join(struct odp_sums *s, const struct odp_sums *more)
{
	s->n = (uint16_t)(s->n + more->n);
	s->bytes += more->bytes;
	s->or_flags |= more->or_flags;
	s->max_len = RTE_MAX(s->max_len, more->max_len);
	s->or_segs |= more->or_segs;
}

/* ---- ports ---- */

/* Packets gathered for one transmit queue by one worker. */
struct odp_lane {
	struct odp_pw *pw; // borrowed: contains it
	uint16_t txq;
	bool listed; // on the worker's list of lanes that hold packets
	bool flush; // on the worker's list of queues to notify
	struct odp_lane *next_dirty, *next_sent;
	struct odp_sums sums;
	struct rte_mbuf *pkts[ODP_BURST];
};

/* One worker's part of one port. */
struct odp_pw {
	struct odp_port *port; // borrowed: contains it
	uint16_t n_own;
	uint16_t *own; // owned; transmit queues of this port that this worker sends on
	struct odp_lane *lane; // owned; one per transmit queue
	struct odp_lane *only; // borrowed: where every packet goes; NULL: choose for each
	dpu_counter rx_packets, rx_bytes, tx_packets, tx_bytes;
	dpu_counter gro_frames, gro_segments;
	dpu_counter drops[ODP_DROP_COUNT];
};

struct odp_txq {
	_Atomic int owner; // worker, or -1
	struct rte_ring *ring; // owned; MP/SC: packets from workers that do not own the queue
};

struct odp_port {
	/* Fixed once added. */
	struct odp *dp; // borrowed
	uint32_t no;
	uint32_t serial; // no other port of this datapath had it
	char name[64];
	struct odp_port_conf conf;
	struct odp_vport *tnl; // owned; NULL: no tunnel port
	struct odp_txq *txq; // owned; n_txq
	struct odp_pw *pw; // owned; one per worker and one for control
	struct rte_ring *upcalls; // owned; workers to control

	/* Any thread. */
	_Atomic uint64_t caps; // packed: caps_pack()
	_Atomic uint32_t caps_seq;
	_Atomic bool switched; // relaxed: part of the learning switch

	/* Any worker. */
	_Atomic(struct odp_ul_rings *) rings; // owned; NULL: no interface was here yet

	/* Control thread. */
	struct odp_storm storm;
	bool storm_asked; // an operator said so
	int32_t setup_tokens; // flow set-ups that this port may still cause
	uint64_t setup_ns; // tokens were added at
};

/* ---- workers ---- */

struct odp_rxq {
	struct odp_port *port; // borrowed: detached before the port is deleted
	uint16_t rxq;
	uint16_t empty; // looks that found nothing, in a row
	uint32_t rest; // turns to go without a look, since its packets were so much work
	bool wakeable; // may be parked: odp_rxq_wake() will be called
};

/* A turn whose stages are timed, now and then. */
struct odp_stages {
	/* Only the worker. */
	bool on; // in this turn
	uint32_t turns; // since the last one
	uint64_t tsc; // when the stage began
	uint64_t tx; // cycles of it that went into sending
	/* Written by the worker, read by any thread. */
	dpu_counter cycles[ODP_STAGE_COUNT], packets;
};

struct odp_worker {
	/* Fixed. */
	struct odp *dp; // borrowed
	unsigned idx; // n_workers: the control thread's
	struct odp_emc *emc; // owned
	struct odp_smc *smc; // owned
	struct odp_burst *burst; // owned; one for what ports receive, one for what recirculates
	struct odp_recirc_queue *recirc; // owned
	struct odp_tnl_worker *tnl; // owned
	struct odp_fused *fused; // owned; with the connection table; NULL: step by step
	struct odp_hold *hold; // owned; with the connection table

	/* Only this worker. */
	struct odp_rxq *rxq; // owned; first those that are polled, then the parked ones
	unsigned n_rxq, n_live, rxq_size, n_armed, n_blind; // n_blind: cannot be armed
	struct odp_lane **txq; // owned; lanes of the queues that this worker sends on
	unsigned n_txq, txq_size;
	struct odp_lane *dirty; // lanes that hold packets
	struct odp_lane *sent; // lanes to notify at the end of the turn
	unsigned idle_arms; // arms since a packet moved
	bool upcalled; // in this turn
	struct odp_stages stages;
	unsigned looks; // in subtables, for packets of the queue that is being polled
	bool tracks; // inside the connection table: track.h
	bool fuses; // has been there, and there is `fused`
	bool holds; // fragments wait in `hold`
	unsigned n_whole; // datagrams that became whole, and have not gone on yet: hold.h
	uint64_t now_ms; // of this turn; 0: not read yet

	/* Written by control, read by this worker. */
	_Atomic(struct odp_pw *) *pw; // owned; by port number
	_Atomic(struct odp_flow_slot *) *flow_slots; // owned; by chunk

	/* Written by this worker, read by any thread. */
	dpu_counter emc_hits, mega_hits, misses, upcalls, upcalls_dropped;
	dpu_counter fused_hits; // packets that took the fused path
	dpu_counter st_looks; // subtables that packets were looked up in
	dpu_counter st_hits[SUBTABLES_MAX];
	_Atomic bool asleep; // lane_handover() looks

	/* Written by other workers. */
	_Atomic bool handed; // one of our rings has packets
};

struct odp_deferred {
	void *mem; // free() it, or
	struct odp_flow *flow; // return it to the free list
};

struct odp {
	struct odp_conf conf;
	struct odp_seed seed;
	struct odp_worker **worker; // owned; n_workers + 1, control's last
	struct odp_worker *control; // borrowed: the last of them

	/* Ports: written by control, read by workers. */
	_Atomic(struct odp_port *) *port; // owned; by number
	uint32_t port_top; // numbers in use are below
	unsigned n_ports;
	uint32_t port_serial; // of the last one
	uint64_t gone_drops[ODP_DROP_COUNT]; // of deleted ports

	_Atomic(struct odp_meter *) *meter; // owned; by number; RCU

	/* Flows. */
	_Atomic(struct odp_view *) view; // owned; RCU
	struct odp_subtables *subtables; // owned
	_Atomic uint64_t epoch; // raised behind every change of a flow or its actions
	uint64_t acts_serial; // of the last action list
	struct odp_flow *chunk[FLOW_CHUNKS]; // owned
	unsigned n_chunks, n_flows;
	struct odp_flow *free_flows;
	struct odp_flow **by_ufid; // owned; UFID_CHAINS, or NULL
	struct odp_deferred *deferred; // owned
	unsigned n_deferred, deferred_size;

	struct odp_bridge *bridge; // owned
	struct odp_tnls *tnls; // owned
	struct odp_ct
		*ct; // owned; NULL until a flow tracks connections; workers know by its actions
	uint32_t sample_cursor; // flow to sample next
	uint32_t upcall_cursor; // port to serve first
	_Atomic bool upcall_flag; // control was told
};

static inline bool odp_is_control(const struct odp_worker *w)
{
	return w->idx == w->dp->conf.n_workers;
}

static inline struct odp_pw *odp_pw(const struct odp_worker *w, uint32_t port)
{
	if (port >= ODP_PORT_MAX)
		return NULL;
	return atomic_load_explicit(&w->pw[port], memory_order_acquire);
}

static inline void odp_drop(
	struct odp_pw *pw, enum odp_drop why, struct rte_mbuf **pkts, unsigned n)
{
	dpu_counter_add(&pw->drops[why], n);
	rte_pktmbuf_free_bulk(pkts, n);
}

static inline void odp_drop_one(struct odp_pw *pw, enum odp_drop why, struct rte_mbuf *m)
{
	dpu_counter_add(&pw->drops[why], 1);
	rte_pktmbuf_free(m);
}

/* idx: the flow's. */
static inline void odp_flow_count(
	struct odp_worker *w, uint32_t idx, uint64_t packets, uint64_t bytes)
{
	struct odp_flow_slot *s = atomic_load_explicit(
		&w->flow_slots[idx / FLOW_CHUNK], memory_order_acquire);

	s += idx % FLOW_CHUNK;
	dpu_counter_add(&s->packets, packets);
	dpu_counter_add(&s->bytes, bytes);
}

static inline void odp_flow_count_packets(
	struct odp_worker *w, const struct odp_flow *f, uint64_t packets, uint64_t bytes)
{
	odp_flow_count(w, f->idx, packets, bytes);
}

/* A flow or its actions were changed: what was composed of them must look again. Control thread. */
static inline void odp_flows_changed(struct odp *dp)
{
	// Release: who sees the number sees the change
	atomic_fetch_add_explicit(&dp->epoch, 1, memory_order_release);
}

/* Arm the queue at place i and poll it no more; false: it stays. Worker. */
bool odp_rxq_park(struct odp_worker *w, unsigned i);

/* odp_port_add(), of a tunnel port when `tnl` says so; it becomes the port's on success. */
int odp_port_create(struct odp *dp, const struct odp_port_conf *conf, struct odp_vport *tnl,
	struct odp_port **out);

/* Free `mem` once no worker can see it. Control thread. */
void odp_defer(struct odp *dp, void *mem);
void odp_defer_flow(struct odp *dp, struct odp_flow *f);
/* Synchronize and free what was deferred, when there is anything. Control thread. */
void odp_reclaim(struct odp *dp);
void odp_reclaim_if_many(struct odp *dp);

/* The live flow of an id, its counters brought up to date; NULL: none. Control thread. */
const struct odp_flow *odp_flow_sample(struct odp *dp, uint64_t id, uint64_t now_ns);
