// SPDX-License-Identifier: Apache-2.0
/*
 * Every counter of the card as one JSON value, from which stats_get and the metrics page are made.
 *
 * Shape: {"CLASS": [{"name": .., COUNTER: n, "now": {GAUGE: n}, "drops": {REASON: n}, "queues":
 * [..]}]}. Members of an object are its labels ("name", "queue" and so on:
 * card_labels.h), counters (numbers), gauges ("now"), histograms (objects with "below_ns", see
 * card_latency_json()), counters by reason (other objects) and parts (arrays).
 */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "metrics.h"

#define RX_LINK_DOWN "rx_link_down" // counted by our end of the port, not by the NIC

static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)(n & INT64_MAX)));
}

static void put_counter(json_t *o, const char *key, const dpu_counter *n)
{
	put(o, key, dpu_counter_read(n));
}

struct gather {
	struct card *card;
	const char *name; // borrowed; NULL: all
	enum vho_dev_kind kind;
	json_t *out; // owned while gathering: array
};

static bool wanted(const struct gather *g, const char *name)
{
	return !g->name || !strcmp(g->name, name);
}

/* ---- volumes ---- */

static bool add_volume(const struct card_volume_view *v, void *arg)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct gather *g = arg;
	json_t *o, *now = json_object();

	o = json_pack("{s:s}", "name", v->conf.name);
	put(o, "reads", v->stats.reads);
	put(o, "read_bytes", v->stats.read_bytes);
	put(o, "writes", v->stats.writes);
	put(o, "write_bytes", v->stats.write_bytes);
	put(o, "flushes", v->stats.flushes);
	put(o, "discards", v->stats.discards);
	put(o, "zeroes", v->stats.zeroes);
	put(o, "compares", v->stats.compares);
	put(o, "miscompares", v->stats.miscompares);
	put(o, "compares_lost", v->stats.compares_lost);
	put(o, "errors", v->stats.errors);
	put(o, "checksum_errors", v->stats.mismatches);
	put(now, "size_bytes", v->info.size);
	put(now, "users", v->users);
	put(now, "failed", v->info.failed);
	json_object_set_new(o, "now", now);
	vol_latency(v->vol, sum);
	json_object_set_new(o, "latency", card_latency_json(sum));
	json_array_append_new(g->out, o);
	return true;
}

/* ---- functions ---- */

static json_t *queue_errors(const struct vho_queue_stats *s)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		put_counter(o, vho_queue_error_name((enum vho_queue_error)i), &s->errors[i]);
	return o;
}

static json_t *queue_json(const struct card_function_view *v, unsigned idx)
{
	const struct vho_queue_stats *s = vho_dev_queue_stats(v->vdev, idx);
	struct vho_queue_info info;
	json_t *o = json_object(), *now = json_object();

	vho_dev_queue_info(v->vdev, idx, &info);
	put(o, "queue", idx);
	if (s) {
		put_counter(o, "requests", &s->requests);
		put_counter(o, "bytes", &s->bytes);
		put_counter(o, "calls", &s->calls);
		put_counter(o, "calls_suppressed", &s->calls_suppressed);
		put_counter(o, "resubmitted", &s->resubmitted);
		put_counter(o, "iommu_waits", &s->iommu_waits);
		json_object_set_new(o, "errors", queue_errors(s));
	}
	put(now, "running", info.running);
	put(now, "broken", info.broken);
	put(now, "packed", info.packed);
	put(now, "size", info.size);
	json_object_set_new(o, "now", now);
	return o;
}

static void add_disk_counters(json_t *q, const struct vho_blk_stats *s)
{
	json_t *errors = json_object();

	put_counter(q, "reads", &s->reads);
	put_counter(q, "read_bytes", &s->read_bytes);
	put_counter(q, "writes", &s->writes);
	put_counter(q, "write_bytes", &s->write_bytes);
	put_counter(q, "flushes", &s->flushes);
	put_counter(q, "discards", &s->discards);
	put_counter(q, "zeroes", &s->zeroes);
	put_counter(q, "erases", &s->erases);
	put_counter(q, "get_ids", &s->get_ids);
	put_counter(q, "get_lifetimes", &s->get_lifetimes);
	for (unsigned i = 0; i < VHO_BLK_ERR_COUNT; i++)
		put_counter(errors, vho_blk_error_name((enum vho_blk_error)i), &s->errors[i]);
	json_object_set_new(q, "request_errors", errors);
}

static json_t *pair_json(const struct card_function_view *v, uint16_t pair)
{
	const struct vho_net_stats *s = vho_net_stats(v->net, pair);
	json_t *o = json_object(), *drops = json_object();

	put(o, "pair", pair);
	put_counter(o, "rx_packets", &s->rx_packets);
	put_counter(o, "rx_bytes", &s->rx_bytes);
	put_counter(o, "tx_packets", &s->tx_packets);
	put_counter(o, "tx_bytes", &s->tx_bytes);
	for (unsigned i = 0; i < VHO_NET_DROP_COUNT; i++)
		put_counter(drops, vho_net_drop_name((enum vho_net_drop)i), &s->drops[i]);
	put_counter(drops, RX_LINK_DOWN, &v->net_port->dropped[pair]);
	json_object_set_new(o, "drops", drops);
	return o;
}

static json_t *rejects_json(const struct vho_vu_stats *s)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < VHO_VU_REJECT_COUNT; i++)
		put(o, vho_vu_reject_name((enum vho_vu_reject)i), s->rejects[i]);
	return o;
}

static void add_iommu(json_t *o, const struct card_function_view *v)
{
	struct vho_iommu_stats s;

	vho_dev_iommu_stats(v->vdev, &s);
	put(o, "iotlb_updates", s.updates);
	put(o, "iotlb_invalidates", s.invalidates);
	put(o, "iotlb_refused", s.refused);
	put(o, "iotlb_evicted", s.evicted);
	put(o, "iotlb_asked", s.asked);
	put(o, "iotlb_unanswered", s.unanswered);
	put(o, "iotlb_late", s.late);
}

static bool add_function(const struct card_function_view *v, void *arg)
{
	struct gather *g = arg;
	struct vho_ctrl_stats ctrl;
	json_t *o, *queues, *now;

	if (v->kind != g->kind || !wanted(g, v->name))
		return true;
	o = json_pack("{s:s}", "name", v->name);
	put(o, "sessions", v->vu.sessions);
	put(o, "messages", v->vu.messages);
	json_object_set_new(o, "rejected_messages", rejects_json(&v->vu));
	put(o, "dropped_sessions", v->vu.dropped_sessions);
	if (vho_dev_ctrl_stats(v->vdev, &ctrl)) {
		put(o, "ctrl_commands", ctrl.commands);
		put(o, "ctrl_refused", ctrl.refused);
	}
	add_iommu(o, v);
	now = json_object();
	put(now, "connected", v->dev.connected);
	put(now, "driver_ok", v->dev.driver_ok);
	put(now, "needs_reset", v->dev.needs_reset);
	json_object_set_new(o, "now", now);
	if (v->kind == VHO_DEV_NET) {
		json_t *pairs = json_array();

		for (uint16_t i = 0; i < v->net_conf.n_pairs; i++)
			json_array_append_new(pairs, pair_json(v, i));
		json_object_set_new(o, "pairs", pairs);
	}
	queues = json_array();
	for (unsigned i = 0; i < v->dev.n_queues; i++) {
		json_t *q = queue_json(v, i);

		if (v->kind == VHO_DEV_BLK)
			add_disk_counters(q, vho_blk_stats(v->blk, i));
		json_array_append_new(queues, q);
	}
	json_object_set_new(o, "queues", queues);
	json_array_append_new(g->out, o);
	return true;
}

/* ---- switch ---- */

static json_t *drops_json(const uint64_t *n)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		put(o, odp_drop_name((enum odp_drop)i), n[i]);
	return o;
}

static json_t *port_json(struct odp_port *port)
{
	struct odp_port_stats s;
	json_t *o = json_pack("{s:s}", "name", odp_port_name(port)), *now = json_object();

	odp_port_stats(port, &s);
	put(o, "rx_packets", s.rx_packets);
	put(o, "rx_bytes", s.rx_bytes);
	put(o, "tx_packets", s.tx_packets);
	put(o, "tx_bytes", s.tx_bytes);
	put(o, "gro_frames", s.gro_frames);
	put(o, "gro_segments", s.gro_segments);
	put(now, "number", odp_port_no(port));
	json_object_set_new(o, "now", now);
	json_object_set_new(o, "drops", drops_json(s.drops));
	return o;
}

static void add_port(struct odp_port *port, void *arg)
{
	struct gather *g = arg;

	if (wanted(g, odp_port_name(port)))
		json_array_append_new(g->out, port_json(port));
}

static bool add_uplink(const struct card_uplink_view *v, void *arg)
{
	struct gather *g = arg;
	json_t *o, *now;

	if (!wanted(g, v->conf.name))
		return true;
	o = port_json(v->port);
	now = json_object_get(o, "now");
	put(now, "up", v->caps.up);
	put(now, "mtu", v->caps.mtu);
	json_array_append_new(g->out, o);
	return true;
}

static bool add_tunnel(const struct card_tunnel_view *v, void *arg)
{
	add_port(v->port, arg);
	return true;
}

struct mac_counts {
	struct {
		unsigned learned, fixed;
	} port[ODP_PORT_MAX + 1]; // by number
};

static void count_mac(const struct odp_mac_info *m, void *arg)
{
	struct mac_counts *n = arg;

	if (m->port > ODP_PORT_MAX)
		return;
	if (m->is_static)
		n->port[m->port].fixed++;
	else
		n->port[m->port].learned++;
}

struct mac_gather {
	struct gather g; // first
	struct mac_counts *n; // borrowed
};

static void add_macs(struct odp_port *port, void *arg)
{
	struct mac_gather *mg = arg;
	uint32_t no = odp_port_no(port);

	if (no > ODP_PORT_MAX || !wanted(&mg->g, odp_port_name(port)))
		return;
	json_array_append_new(mg->g.out,
		json_pack("{s:s, s:{s:i, s:i}}", "port", odp_port_name(port), "now", "learned",
			(int)mg->n->port[no].learned, "static", (int)mg->n->port[no].fixed));
}

static json_t *datapath_json(struct card *c)
{
	struct odp_stats s;
	json_t *o = json_object(), *now = json_object();

	odp_stats(c->dp, &s);
	put(o, "fused_hits", s.fused_hits);
	put(o, "emc_hits", s.emc_hits);
	put(o, "mega_hits", s.mega_hits);
	put(o, "misses", s.misses);
	put(o, "upcalls", s.upcalls);
	put(o, "upcalls_dropped", s.upcalls_dropped);
	put(now, "flows", s.flows);
	put(now, "subtables", s.subtables);
	put(now, "macs", s.macs);
	json_object_set_new(o, "now", now);
	json_object_set_new(o, "drops", drops_json(s.drops));
	return o;
}

/* ---- workers, control socket ---- */

static json_t *worker_json(struct card *c, unsigned idx)
{
	const struct card_worker_stats *s = card_worker_stats(card_worker_at(c->workers, idx));
	struct odp_stage_stats stages;
	struct odp_hit_stats hits;
	json_t *o = json_object();

	put(o, "worker", idx);
	put_counter(o, "turns", &s->turns);
	put_counter(o, "busy_turns", &s->busy_turns);
	put_counter(o, "busy_tsc", &s->busy_tsc);
	put_counter(o, "idle_tsc", &s->idle_tsc);
	put_counter(o, "sleeps", &s->sleeps);
	put_counter(o, "wakes", &s->wakes);
	put_counter(o, "looks", &s->looks);
	put_counter(o, "messages", &s->messages);
	odp_worker_hits(odp_worker(c->dp, idx), &hits);
	put(o, "fused_hits", hits.fused);
	put(o, "emc_hits", hits.emc);
	put(o, "mega_hits", hits.mega);
	put(o, "misses", hits.misses);
	odp_worker_stages(odp_worker(c->dp, idx), &stages);
	put(o, "sampled_packets", stages.packets);
	for (unsigned i = 0; i < ODP_STAGE_COUNT; i++)
		put(o, odp_stage_counter((enum odp_stage)i), stages.cycles[i]);
	return o;
}

static json_t *rpc_json(struct card *c)
{
	struct card_rpc_stats s;
	json_t *o = json_object();

	card_rpc_stats(c, &s);
	put(o, "accepted", s.accepted);
	put(o, "accept_failed", s.accept_failed);
	put(o, "refused_uid", s.refused_uid);
	put(o, "refused_full", s.refused_full);
	put(o, "evicted", s.evicted);
	put(o, "timeouts", s.timeouts);
	put(o, "oversize", s.oversize);
	put(o, "requests", s.requests);
	put(o, "errors", s.errors);
	put(o, "parse_errors", s.parse_errors);
	put(o, "cancelled", s.cancelled);
	return o;
}

static json_t *metrics_json(struct card *c)
{
	struct card_metrics_stats s;
	json_t *o = json_object(), *now = json_object();

	card_metrics_stats(c, &s);
	put(o, "accepted", s.accepted);
	put(o, "cut_full", s.cut_full);
	put(o, "cut_late", s.cut_late);
	put(o, "requests", s.requests);
	put(now, "open", s.open);
	json_object_set_new(o, "now", now);
	return o;
}

/* What the reasons mean, for people. */
static json_t *reasons_json(void)
{
	json_t *port = json_object(), *net = json_object(), *blk = json_object(),
	       *queue = json_object(), *message = json_object();

	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		json_object_set_new(port, odp_drop_name((enum odp_drop)i),
			json_string(odp_drop_text((enum odp_drop)i)));
	for (unsigned i = 0; i < VHO_NET_DROP_COUNT; i++)
		json_object_set_new(net, vho_net_drop_name((enum vho_net_drop)i),
			json_string(vho_net_drop_text((enum vho_net_drop)i)));
	json_object_set_new(
		net, RX_LINK_DOWN, json_string("guest transmitted while its link was down"));
	for (unsigned i = 0; i < VHO_BLK_ERR_COUNT; i++)
		json_object_set_new(blk, vho_blk_error_name((enum vho_blk_error)i),
			json_string(vho_blk_error_text((enum vho_blk_error)i)));
	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		json_object_set_new(queue, vho_queue_error_name((enum vho_queue_error)i),
			json_string(vho_queue_error_text((enum vho_queue_error)i)));
	for (unsigned i = 0; i < VHO_VU_REJECT_COUNT; i++)
		json_object_set_new(message, vho_vu_reject_name((enum vho_vu_reject)i),
			json_string(vho_vu_reject_text((enum vho_vu_reject)i)));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "port", port, "net", net, "disk",
		blk, "queue", queue, "message", message, "target", card_target_reasons_json(),
		"vm_agent", card_vm_reasons_json());
}

/* ---- all of it ---- */

static json_t *controllers(struct card *c, const char *name)
{
	return card_ctrl_stats_json(c, name);
}

static json_t *subsystems(struct card *c, const char *name)
{
	return card_subsys_stats_json(c, name);
}

static json_t *target(struct card *c, const char *name)
{
	(void)name;
	return card_target_stats_json(c);
}

static json_t *disks(struct card *c, const char *name)
{
	struct gather g = { .card = c, .name = name, .kind = VHO_DEV_BLK, .out = json_array() };

	card_function_foreach(c, add_function, &g);
	return g.out;
}

static json_t *nets(struct card *c, const char *name)
{
	struct gather g = { .card = c, .name = name, .kind = VHO_DEV_NET, .out = json_array() };

	card_function_foreach(c, add_function, &g);
	return g.out;
}

static json_t *uplinks(struct card *c, const char *name)
{
	struct gather g = { .card = c, .name = name, .out = json_array() };

	card_uplink_foreach(c, add_uplink, &g);
	return g.out;
}

static json_t *tunnels(struct card *c, const char *name)
{
	struct gather g = { .card = c, .name = name, .out = json_array() };

	card_tunnel_foreach(c, add_tunnel, &g);
	return g.out;
}

static json_t *ports(struct card *c, const char *name)
{
	struct gather g = { .card = c, .name = name, .out = json_array() };

	odp_port_foreach(c->dp, add_port, &g);
	return g.out;
}

static json_t *macs(struct card *c, const char *name)
{
	struct mac_gather mg = { .g = { .card = c, .name = name, .out = json_array() } };

	mg.n = dpu_calloc(1, sizeof(*mg.n));
	if (!mg.n)
		return mg.g.out;
	odp_mac_foreach(c->dp, count_mac, mg.n);
	odp_port_foreach(c->dp, add_macs, &mg);
	free(mg.n);
	return mg.g.out;
}

static json_t *underlay(struct card *c, const char *name)
{
	(void)name;
	return json_pack("[o]", card_underlay_stats_json(c));
}

static json_t *datapath(struct card *c, const char *name)
{
	(void)name;
	return json_pack("[o]", datapath_json(c));
}

static json_t *conntrack(struct card *c, const char *name)
{
	(void)name;
	return json_pack("[o]", card_ct_stats_json(c));
}

static json_t *vms(struct card *c, const char *name)
{
	return card_vm_stats_json(c, name);
}

static json_t *vm_agent(struct card *c, const char *name)
{
	(void)name;
	return card_vm_agent_stats_json(c);
}

static json_t *workers(struct card *c, const char *name)
{
	json_t *all = json_array();
	char number[16];

	for (unsigned i = 0; i < card_workers_count(c->workers); i++) {
		snprintf(number, sizeof(number), "%u", i);
		if (!name || !strcmp(name, number))
			json_array_append_new(all, worker_json(c, i));
	}
	return all;
}

static json_t *rpc(struct card *c, const char *name)
{
	(void)name;
	return json_pack("[o]", rpc_json(c));
}

static json_t *metrics(struct card *c, const char *name)
{
	(void)name;
	return json_pack("[o]", metrics_json(c));
}

static const struct {
	const char *object;
	json_t *(*make)(struct card *c, const char *name); // NULL: volumes, in parts
	bool named; // its objects have names
} classes[] = {
	{ "volume", NULL, true },
	{ "controller", controllers, true },
	{ "subsystem", subsystems, true },
	{ "target", target, false },
	{ "disk", disks, true },
	{ "net", nets, true },
	{ "uplink", uplinks, true },
	{ "tunnel", tunnels, true },
	{ "port", ports, true },
	{ "mac", macs, true },
	{ "underlay", underlay, false },
	{ "datapath", datapath, false },
	{ "conntrack", conntrack, false },
	{ "vm", vms, true },
	{ "vm_agent", vm_agent, false },
	{ "worker", workers, true },
	{ "rpc", rpc, false },
	{ "metrics", metrics, false },
};
#define N_CLASSES (sizeof(classes) / sizeof(classes[0]))

struct card_stats_work {
	struct card *card; // borrowed
	const char *object, *name; // borrowed; NULL: all
	size_t at; // class
	json_t *all; // owned
	bool known, found;
	struct gather volumes; // while `walking`
	struct card_volume_walk walk;
	bool walking;
};

int card_stats_begin(
	struct card *c, const char *object, const char *name, struct card_stats_work **out)
{
	struct card_stats_work *w = dpu_calloc(1, sizeof(*w));

	if (w)
		w->all = json_object();
	if (!w || !w->all) {
		free(w);
		return -ENOMEM;
	}
	w->card = c;
	w->object = object;
	w->name = name;
	w->found = !name;
	*out = w;
	return 0;
}

void card_stats_end(struct card_stats_work *w)
{
	if (!w)
		return;
	if (w->walking) {
		card_volume_walk_end(w->card, &w->walk);
		json_decref(w->volumes.out);
	}
	json_decref(w->all);
	free(w);
}

/* NULL: there are more of them. */
static json_t *volumes(struct card_stats_work *w, uint64_t until_ns)
{
	struct card_volume_view v;
	struct card_error none;

	if (!w->walking) {
		w->volumes = (struct gather){
			.card = w->card, .name = w->name, .out = json_array()
		};
		if (w->name) {
			if (!card_volume_get(w->card, w->name, &v, &none))
				(void)add_volume(&v, &w->volumes);
			return w->volumes.out;
		}
		card_volume_walk_begin(w->card, &w->walk);
		w->walking = true;
	}
	if (card_volume_walk(&w->walk, add_volume, &w->volumes, until_ns))
		return NULL;
	card_volume_walk_end(w->card, &w->walk);
	w->walking = false;
	return w->volumes.out;
}

int card_stats_step(struct card_stats_work *w, uint64_t until_ns, json_t **out)
{
	for (; w->at < N_CLASSES; w->at++) {
		json_t *some;

		if (w->object && strcmp(w->object, classes[w->at].object) != 0)
			continue;
		w->known = true;
		if (w->name && !classes[w->at].named)
			continue;
		if (dpu_now_ns() >= until_ns)
			return CARD_RPC_LATER;
		some = classes[w->at].make ? classes[w->at].make(w->card, w->name)
					   : volumes(w, until_ns);
		if (!some)
			return CARD_RPC_LATER;
		w->found = w->found || json_array_size(some);
		json_object_set_new(w->all, classes[w->at].object, some);
	}
	if (!w->known || !w->found)
		return w->known ? -ENODEV : -EINVAL;
	if (json_object_set_new(w->all, "reasons", reasons_json()))
		return -ENOMEM;
	*out = w->all;
	w->all = NULL;
	return 0;
}

int card_stats_json(struct card *c, const char *object, const char *name, json_t **out)
{
	struct card_stats_work *w;
	int ret = card_stats_begin(c, object, name, &w);

	if (ret)
		return ret;
	ret = card_stats_step(w, UINT64_MAX, out);
	card_stats_end(w);
	return ret;
}
