/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card: everything cardd is made of, and its inventory. main.c fills it through modules.c;
 * rpc_*.c work on it. Control thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <jansson.h>

#include "card_method.h"
#include "hex.h"
#include "odp_flow.h"
#include "odp_tnl.h"
#include "vho_blk.h"
#include "vho_net.h"
#include "volume.h"
#include "worker.h"

struct event_base;

/* What the command line says. */
struct card_options {
	const char *name; // card's name in logs and metrics
	const char *config; // configuration file (a list of calls), or NULL
	const char *state_dir; // durable store, or NULL: nothing is kept
	const char *rpc_socket; // Unix socket of the control interface
	const char *socket_dir; // where vhost-user sockets are made
	const char *volume_dir; // plain-file volumes must live below it; NULL: any path
	const char *cores; // "0-1,3": CPUs of the workers
	uint64_t mem_mib; // DPDK memory
	uint64_t mbufs; // packets in the pool
	uint64_t ct_conns; // tracked connections at most
	uint64_t metrics_port; // loopback HTTP, 0: none
	uint64_t spin_us;
	const char *agent_socket; // where agents of the host connect, or NULL: no VMs run
	bool hugepages; // use them; otherwise ordinary memory
	const char
		*key_file; // key-encryption key of encrypted volumes' keys, or NULL: there are none
	const char *log_level;
	uint64_t standby_fd; // our end of the supervisor's socket pair; 0: there is none
	struct dpu_opt_list *eal; // further EAL arguments, as given
};

struct card_volume; // a named volume
struct card_task; // a call that is made in steps
struct card_message; // calls that come and are answered together
struct card_function; // a virtio function with its transport: a NIC on a switch port, or a disk
struct card_uplink; // an ethdev on a switch port

struct card {
	struct card_options opt;
	struct event_base *loop; // owned
	struct vho_loop vho_loop;
	struct rte_mempool *pool; // packets
	unsigned n_workers; // as many as EAL has worker lcores
	struct card_workers *workers; // owned
	struct card_storage *storage; // owned: storage.c
	struct card_nvmf *nvmf; // owned: nvmf.c
	struct odp *dp; // owned
	struct card_datapath *datapath; // owned: datapath.c
	struct card_inventory *inv; // owned: device.c
	struct card_store *store; // owned: store.c; NULL without a state directory
	struct card_rpc *rpc; // owned
	struct card_vms *vms; // owned: vm.c
	struct card_task *task; // owned: rpc.c; NULL: no call takes steps now
	struct card_task *reading; // owned: rpc.c, which takes it at once
	const struct card_message *reader; // rpc.c: who makes a long answer; NULL: nobody
	struct card_metrics *metrics; // owned
	struct card_ct_keep *ct_keep; // owned: ct_keep.c; NULL without a state directory
	struct card_top *top; // owned: rpc_top.c; NULL: nobody has asked yet
	struct card_standby *standby; // owned; NULL: nobody supervises us
	/*
	 * While the card starts: a file may be locked until then by the requests of one that died.
	 * 0: it has started.
	 */
	uint64_t patient_until_ns;
	bool stopping;
};

/*
 * ---- device.c: the inventory. Names: 1..63 of [A-Za-z0-9_.-], not starting with '.' or '-'.
 * Volumes have a name space; functions, uplinks and tunnels share another.
 */

bool card_name_ok(const char *name);
#define CARD_NAME_RULE "1 to 63 of A-Z a-z 0-9 _ . -, first no . or -"

/*
 * For an address or an identifier of the object: the same after every restart, another on another
 * card. By dpu_hash().
 */
uint64_t card_name_hash(const struct card *c, const char *name, uint64_t basis);
/* A UUID of version 8 (RFC 9562) in the same way. device_volume.c. */
void card_uuid_derive(const struct card *c, const char *name, uint8_t out[16]);
/* A locally administered Ethernet address, in the same way. */
void card_mac_derive(const struct card *c, const char *name, uint8_t mac[6]);

/*
 * A short reason for the operator on failure; always terminated. Every creating call below fills it
 * when it returns a negative errno, among them:
 *   -EEXIST  the name is taken by an object with other parameters (the same parameters: 0)
 *   -EINVAL  a parameter out of range or a bad name
 *   -ENODEV  a named object is missing (as SPDK has it; a file that is missing is -ENOENT)
 *   -EBUSY   a named object is in use
 */
struct card_error {
	char text[192];
};

struct card_volume_conf {
	const char *name;
	enum card_volume_kind {
		CARD_VOL_NULL,
		CARD_VOL_RAM,
		CARD_VOL_FILE,
		CARD_VOL_CRYPT,
		CARD_VOL_NVME,
		CARD_VOL_INTEGRITY,
		CARD_VOL_STRIPE,
	} kind;
	uint32_t block_size;
	uint64_t num_blocks; // null, ram; file: 0, or the size to create it with
	const char *path; // file
	bool read_only, direct; // file
	const char *uuid; // NULL: one made from the names of card and volume
	const char *alias; // NULL; else a logical volume: "STORE/NAME"
	bool prealloc; // ram: take its memory now
	const char *base; // layers: the volume below, which nobody else uses meanwhile; stripe: all
		// of them, with commas between
	uint32_t strip_kib; // stripe
	const char *key; // crypt: name of a key
	const char *subnqn; // nvme
	uint32_t nsid; // nvme
	bool can_discard, can_zero, volatile_cache; // nvme, and read_only: what it is known to do
	bool uuid_is_theirs; // nvme: the namespace says so itself, and has to keep it
	enum vol_policy policy; // nvme
	bool format, overwrite; // integrity: make one, whatever is below
	const char *header; // integrity: the UUID that it has to have; NULL: any
	bool shared; // file: another card may have it, too (vol_file_conf)
};
int card_volume_create(struct card *c, const struct card_volume_conf *conf, struct card_error *e);
/* CARD_RPC_LATER: it still does something by itself, and has been told to stop; call again. */
int card_volume_delete(struct card *c, const char *name, struct card_error *e);
/* For one that could not be told from there: it is gone by name, and goes when it has stopped. */
void card_volume_discard(struct card *c, const char *name);
/* -EBUSY with e->text: it did not stop in CARD_DRAIN_MS. */
int card_volume_silent(const char *name, struct card_error *e);
int card_volume_resize(struct card *c, const char *name, uint64_t num_blocks, struct card_error *e);
/*
 * What it does by itself, and the UUID of its header (integrity; else empty). 0, or -ENODEV.
 */
int card_volume_work(struct card *c, const char *name, struct vol_work *out,
	char header[CARD_UUID_TEXT], struct card_error *e);
/*
 * Give an encrypted volume another key while it is in use (device_rekey.c). The volume is made,
 * with its old key, if it is not there: then the change is resumed. *state: enum vol_rekey.
 * Nothing is moved before the store has the call. -ENOTSUP: there is no store, or not for this
 * volume.
 */
struct card_rekey_conf {
	struct card_volume_conf volume; // with the old key
	const char *key, *journal; // the new key, a volume
	const char *id; // of the change: a UUID
	uint64_t mbytes_per_sec; // 0: as fast as it goes
	bool resume;
};
int card_volume_rekey(struct card *c, const struct card_rekey_conf *conf, struct card_error *e);
/* Fill in what the store has of the volume. 0, -ENODEV, -EINVAL, -EBUSY, -ENOTSUP. */
int card_volume_rekey_conf(
	struct card *c, const char *name, struct card_volume_conf *out, struct card_error *e);
/* CARD_RPC_LATER: nothing is in its journal yet. 0: it is; or why it did not begin. */
int card_volume_rekey_state(struct card *c, const char *name, struct card_error *e);
/*
 * A file volume that another card might have, too, is this card's alone from now on. At the start
 * it waits for one that died. 0, -ENODEV, -EINVAL (no file volume), -EBUSY (somebody has it).
 */
int card_volume_unshare(struct card *c, const char *name, struct card_error *e);
int card_volume_limits_set(
	struct card *c, const char *name, const struct vol_limits *l, struct card_error *e);
/* Time one of so many requests of a volume; 0: none. */
int card_volume_latency_set(struct card *c, const char *name, uint32_t every, struct card_error *e);
/*
 * Say that a volume's media is worn so; all 0: as it is. Disks that offer LIFETIME answer so from
 * now on; whether one offers it was settled when it was made.
 */
int card_volume_wear_set(
	struct card *c, const char *name, const struct vol_wear *wear, struct card_error *e);

/* ---- device_nvme.c: controllers of remote subsystems ---- */

/* A path to a subsystem. Several of one name have one subsystem. */
struct card_ctrl_conf {
	const char *name; // volumes of it are called NAMEnNSID
	const char *traddr, *host_traddr, *subnqn; // host_traddr: NULL: any
	const char *hostnqn; // NULL: the card's
	const char *discovery; // the one that it came of; NULL: none
	uint16_t trsvcid;
	bool hdgst, ddgst;
	int32_t ctrl_loss_timeout_s; // -1: never
	uint32_t fast_io_fail_timeout_s, reconnect_delay_s, kato_ms, io_timeout_ms, queue_size;
	enum vol_policy policy;
};
/*
 * Begin to connect. *made: false, there is one with the same parameters. -EEXIST: the name has
 * another subsystem, or the path other parameters. -EAGAIN: it is still being disconnected.
 */
int card_ctrl_create(
	struct card *c, const struct card_ctrl_conf *conf, bool *made, struct card_error *e);
/* One path, or (traddr NULL) all of the name and its volumes. -EBUSY: a volume is in use. */
int card_ctrl_delete(struct card *c, const char *name, const char *traddr, uint16_t trsvcid,
	struct card_error *e);
int card_ctrl_reset(struct card *c, const char *name, struct card_error *e);
/* CARD_RPC_LATER: it is still connecting. 0: live; else why not. */
int card_ctrl_state(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e);
/*
 * Namespaces become volumes by themselves, as they come and go (device_nvme_ns.c). Who waits for
 * that begins with card_ctrl_read() on a path that is live, and makes steps: CARD_RPC_LATER: there
 * is more; 0: each namespace has its volume; else why one has none, -ENODEV: there is no such path.
 */
int card_ctrl_read(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e);
int card_ctrl_read_step(struct card *c, const struct card_ctrl_conf *conf, struct card_error *e);
/* The volumes of a name, as they are now. */
typedef void card_ctrl_volume_fn(const char *volume, const struct card_volume_conf *conf, void *a);
void card_ctrl_volumes(struct card *c, const char *name, card_ctrl_volume_fn *fn, void *a);
/* What the store keeps of one: NSID:BLOCKS:BLOCK_SIZE:UUID:WHAT. */
#define CARD_NS_TEXT 128
void card_ns_text(const struct card_volume_conf *conf, char out[CARD_NS_TEXT]);
/* Volumes that came and went by the namespaces of a path; namespaces that have none. */
struct card_ctrl_volume_counts {
	uint64_t added, removed, refused;
};
void card_ctrl_volume_counts(const struct card *c, const struct card_ctrl_conf *conf,
	struct card_ctrl_volume_counts *out);
/* Visit controllers; nof_ctrl_info() and so on tell about each. False from fn: stop. */
struct nof_ctrl;
typedef bool card_ctrl_fn(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *a);
void card_ctrl_foreach(const struct card *c, card_ctrl_fn *fn, void *a);

/* ---- device_lvol.c: logical volumes, files in a folder ---- */

/* The folder exists. 0, also when there is one like it; -EINVAL, -EEXIST, or why it is none. */
int card_lvstore_create(struct card *c, const char *name, const char *path, struct card_error *e);
/* By name or UUID. The folder stays. -ENODEV, -EBUSY. */
int card_lvstore_delete(struct card *c, const char *name, struct card_error *e);
void card_lvstore_uuid(const struct card *c, const char *name, char out[37]);
/* Of a volume that a configuration file makes; and whether its file is there. */
void card_lvol_uuid(const struct card *c, const char *store, const char *name, char out[37]);
bool card_lvol_has_file(struct card *c, const char *store, const char *uuid);

struct card_lvol_conf {
	const char *store; // name or UUID
	const char *name; // in the store
	const char *uuid; // of the volume, and its name among the card's volumes
	uint64_t size; // bytes; 0: the file is there
	bool thin; // without blocks of its own before they are written
};
/*
 * What is done to files takes steps (errand.h): CARD_RPC_LATER and *out, to go on with until it
 * comes to something else; and in any case to an end, which leaves nothing half made behind.
 * unkept: the store could not keep what came of it; a volume that was made is gone again, then.
 */
struct card_lvol_work;
int card_lvol_step(struct card_lvol_work *w, struct card_error *e);
void card_lvol_end(struct card_lvol_work *w, bool unkept);
/* 0; -ENODEV, -EINVAL, -EEXIST, -ENOSPC, or as card_volume_create(). */
int card_lvol_create(struct card *c, const struct card_lvol_conf *conf, struct card_lvol_work **out,
	struct card_error *e);
/* Files that a card which died has left in the stores, and nobody knows of. */
void card_lvols_sweep(struct card *c);
/* Its name among the card's volumes, from that or "STORE/NAME"; borrowed; NULL: none. */
const char *card_lvol_find(struct card *c, const char *name);
/* -ENODEV, -ENOSPC, or as card_volume_resize(). size: bytes. */
int card_lvol_resize(struct card *c, const char *name, uint64_t size, struct card_lvol_work **out,
	struct card_error *e);
/*
 * -ENODEV, or as card_volume_delete(). Two ends: 0 when the volume is gone, which the store should
 * hear of; and once more when its file is.
 */
int card_lvol_delete(
	struct card *c, const char *name, struct card_lvol_work **out, struct card_error *e);

struct card_lvstore_view {
	const char *name, *uuid, *path; // borrowed
	uint64_t size, free; // bytes
};
/* Until fn says false. */
void card_lvstore_foreach(
	struct card *c, bool (*fn)(const struct card_lvstore_view *v, void *arg), void *arg);

/* ---- device_discovery.c: subsystems that a discovery service tells of ---- */

#define CARD_DISC_SERVICES 8u // of all discoveries: the paths of one subsystem

struct card_discovery_conf {
	const char *name; // controllers of it are called NAME0, NAME1 ..
	const char *traddr;
	uint16_t trsvcid;
	/* Of the controllers. */
	bool hdgst, ddgst;
	int32_t ctrl_loss_timeout_s; // -1: never
	uint32_t fast_io_fail_timeout_s, reconnect_delay_s;
};
/*
 * Connect to a discovery service and to those that it refers to, and keep the card's controllers as
 * their logs say. 0, -EINVAL, -EEXIST, -EBUSY (one of that name is being stopped), -ENOSPC,
 * -ENOMEM.
 */
int card_discovery_start(
	struct card *c, const struct card_discovery_conf *conf, struct card_error *e);
/* It detaches its controllers, but for those that are in use, and is gone then. -ENODEV. */
int card_discovery_stop(struct card *c, const char *name, struct card_error *e);

struct card_discovery_view {
	const struct card_discovery_conf *conf;
	unsigned n_services, n_paths; // paths: of its controllers
	struct {
		const char *traddr, *state;
		uint16_t trsvcid;
		unsigned n_entries;
	} service[CARD_DISC_SERVICES]; // the first is the one that was asked for
	bool stopping;
	uint64_t attach_failures, passed_over; // paths not attached; entries that got no turn
	const char *last_error; // empty: none
};
void card_discovery_foreach(
	const struct card *c, bool (*fn)(const struct card_discovery_view *v, void *a), void *a);

/* ---- device_key.c: keys of encrypted volumes ---- */

/* In hexadecimal digits, and a NUL. */
#define CARD_WRAPPED_TEXT (2 * 93 + 1)
/*
 * The wrapped form of a key: a new one, or the one whose two halves are given (64 hexadecimal
 * digits each). -ENOTSUP: cardd was started without a key file.
 */
int card_key_wrap(struct card *c, const char *name, const char *key, const char *key2,
	char out[CARD_WRAPPED_TEXT], struct card_error *e);
int card_key_create(struct card *c, const char *name, const char *wrapped, struct card_error *e);
/*
 * A key that this machine's kernel keeps, and no disk, under a random name that is no secret.
 * Make one, or say under which name that of an existing key is kept. -ENOTSUP: there is no store,
 * so that a restart would not find it.
 */
#define CARD_KEPT_TEXT 33
int card_key_keep(
	struct card *c, const char *name, char kept[CARD_KEPT_TEXT], struct card_error *e);
/* -ENOKEY: the machine was started anew. What the key encrypted is gone. */
int card_key_create_kept(struct card *c, const char *name, const char *kept, struct card_error *e);
/* -EBUSY while a volume uses it. What it encrypted cannot be read any more. */
int card_key_delete(struct card *c, const char *name, struct card_error *e);
void card_key_foreach(const struct card *c,
	bool (*fn)(const char *name, bool ephemeral, unsigned users, void *a), void *a);

struct card_blk_conf {
	const char *name; // also the socket's file name under socket_dir
	const char *volume;
	bool read_only, packed_ring; // packed_ring: offered
	uint16_t n_queues;
	uint16_t seg_max; // 0: default
	uint32_t size_max; // bytes; 0: no limit of its own
	bool secure_erase; // offered where the volume can
	bool client; // connect to the front-end's socket instead of listening
	bool host_notifier; // offer pages that the guest kicks in; its workers poll then
};
int card_blk_create(struct card *c, const struct card_blk_conf *conf, struct card_error *e);

struct card_net_conf {
	const char *name;
	uint8_t mac[6];
	uint16_t n_pairs;
	uint16_t mtu;
	uint64_t features_off;
	uint32_t speed_mbps; // 0: unknown
	bool half_duplex, standby;
	bool client, host_notifier;
	bool gro; // where the guest takes frames of TCP, segments for it are merged into such
};
int card_net_create(struct card *c, const struct card_net_conf *conf, struct card_error *e);
/*
 * Take the link of a NIC down, or up again: the guest is told, and while it is down no packet
 * passes in either direction. -ENODEV, or -EINVAL for a disk.
 */
enum card_link { CARD_LINK_DOWN, CARD_LINK_UP };
int card_net_link_set(struct card *c, const char *name, enum card_link link, struct card_error *e);
/* Deletes a net or blk function. */
int card_function_delete(struct card *c, const char *name, struct card_error *e);

struct card_uplink_conf {
	const char *name;
	const char *devargs; // DPDK device: vdev arguments or a PCI address
	uint16_t n_queues, mtu;
	enum odp_switched switched; // at first: card_uplink_set_switched()
};
int card_uplink_create(struct card *c, const struct card_uplink_conf *conf, struct card_error *e);
/* 0, -ENODEV with e->text. */
int card_uplink_set_switched(
	struct card *c, const char *name, enum odp_switched how, struct card_error *e);
/* With its port, the flows that name it, and what the underlay has on it. */
int card_uplink_delete(struct card *c, const char *name, struct card_error *e);

/* A tunnel is a port of the switch: odp_tnl.h. udp_port 0: the type's own. */
int card_tunnel_create(struct card *c, const struct odp_tnl_conf *conf, struct card_error *e);
/* With the flows that name it. */
int card_tunnel_delete(struct card *c, const char *name, struct card_error *e);

/* Read-outs for rpc_*.c and metrics.c. Return false from fn to stop. */
struct card_volume_view {
	struct card_volume_conf conf;
	const struct vol *vol; // borrowed: for vol_latency()
	struct vol_info info;
	struct vol_stats stats;
	struct vol_limits limits;
	struct vol_work work;
	const char *uuid; // borrowed
	unsigned users; // functions and volumes that hold it
	bool block_dev; // CARD_VOL_FILE: on a block device, not on a plain file
};
struct card_function_view {
	enum vho_dev_kind kind;
	const char *name, *socket;
	struct vho_dev_info dev;
	struct vho_vu_stats vu;
	const struct vho_dev *vdev; // for queue statistics
	/* NIC */
	struct card_net_conf net_conf;
	struct vho_net *net;
	const struct card_net_port *net_port;
	struct odp_port *port;
	/* disk */
	struct card_blk_conf blk_conf;
	struct vho_blk *blk;
};
struct card_uplink_view {
	struct card_uplink_conf conf;
	struct odp_port *port;
	struct odp_port_caps caps;
	uint8_t mac[6]; // the device's own, or one made from the names of card and uplink
};
struct card_tunnel_view {
	struct odp_tnl_conf conf;
	struct odp_port *port;
};
void card_volume_foreach(
	const struct card *c, bool (*fn)(const struct card_volume_view *v, void *a), void *a);
/*
 * The same in turns: every volume that is there all the time is visited once. Not copied, and not
 * forgotten while it has begun.
 */
struct card_volume_walk {
	TAILQ_ENTRY(card_volume_walk) link;
	struct card_volume *next; // borrowed; NULL: no more
};
void card_volume_walk_begin(struct card *c, struct card_volume_walk *w);
/* On from there, until then (after one at least) or fn says false. True: there are more. */
bool card_volume_walk(struct card_volume_walk *w,
	bool (*fn)(const struct card_volume_view *v, void *a), void *a, uint64_t until_ns);
void card_volume_walk_end(struct card *c, struct card_volume_walk *w);
void card_function_foreach(
	struct card *c, bool (*fn)(const struct card_function_view *v, void *a), void *a);
void card_uplink_foreach(
	struct card *c, bool (*fn)(const struct card_uplink_view *v, void *a), void *a);
void card_tunnel_foreach(
	struct card *c, bool (*fn)(const struct card_tunnel_view *v, void *a), void *a);
/* One of them. 0, or -ENODEV. */
int card_volume_get(
	const struct card *c, const char *name, struct card_volume_view *out, struct card_error *e);
int card_uplink_get(
	struct card *c, const char *name, struct card_uplink_view *out, struct card_error *e);

/* Inventory life cycle: modules.c. */
int card_inventory_init(struct card *c);
void card_inventory_fini(struct card *c); // deletes everything, functions first

/* ---- rpc.c: JSON-RPC 2.0 ---- */

enum card_rpc_error {
	CARD_RPC_PARSE = -32700,
	CARD_RPC_REQUEST = -32600,
	CARD_RPC_METHOD = -32601,
	CARD_RPC_PARAMS = -32602,
	CARD_RPC_INTERNAL = -32603,
	CARD_RPC_BUSY = -32000,
};

/* The methods themselves are data: include/card_method.h. */

/*
 * Validate params against the schema and call. Used by the socket, the configuration file and the
 * store's replay alike. *result: new reference or NULL. Returns 0, or an enum card_rpc_error or
 * negative errno with e->text.
 */
int card_rpc_dispatch(struct card *c, const char *method, const json_t *params, json_t **result,
	struct card_error *e);

int card_rpc_start(struct card *c); // listen on opt.rpc_socket
void card_rpc_stop(struct card *c);

/* ---- store.c: what the operator created, kept over a restart ---- */

/*
 * Open state_dir and replay it through the methods. After the configuration file, whose objects are
 * not kept here. A call that fails now (a volume's file is missing) stays in the store and is shown
 * by card_info as degraded. 0, or a negative errno when the store cannot be trusted.
 */
int card_store_open(struct card *c);
void card_store_close(struct card *c);
/* Replay a configuration file; errors name file, line and key, and all are listed. */
int card_config_load(struct card *c, const char *path);

/* ---- metrics.c ---- */
int card_metrics_start(struct card *c); // OpenMetrics on 127.0.0.1:opt.metrics_port
void card_metrics_stop(struct card *c);

/* ---- net_glue.c, blk_glue.c ---- */
/* A NIC as its switch port drives it. */
struct card_net_port {
	struct vho_net *net; // owned by the function
	bool gro; // fixed: segments for the guest may come merged
	_Atomic bool link_down; // the operator says so: nothing passes, either way
	dpu_counter *dropped; // owned by the function; by pair: sent by the guest while it was down
};
/* drv: struct card_net_port * */
const struct odp_port_ops *card_net_port_ops(uint16_t n_pairs);
/* store: struct vol *; chan: struct vol_chan * */
const struct vho_blk_store_ops *card_blk_store_ops(void);
