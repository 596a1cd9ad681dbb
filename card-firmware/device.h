/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the inventory: volumes, functions and uplinks, and how a function's queues come to
 * workers. Control thread, but for what says otherwise.
 *
 * A volume outlives the functions that use it (users > 0 keeps it). A disk's queue does I/O through
 * a channel that card_chan owns while the queue runs; a channel whose answers do not come within
 * CARD_DRAIN_MS when its queue stops is left to the inventory's orphans until they have come. The
 * wait is once per volume, not per queue, and once in all when the card ends. Until the answers
 * have come no queue of a disk on that volume starts, whether it is the same disk or one made after
 * it: an old write must not land on top of a newer one, and a request that is still on its way must
 * not be sent a second time.
 */
#pragma once

#include <limits.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "card.h"
#include "index.h"

#define CARD_NAME_MAX 63
#define CARD_DRAIN_MS 2000
#define CARD_BELOW_MAX VOL_STRIPE_MAX // volumes below one
#define CARD_NOT_DEFERRED (-2) // no kick fd, and not the -1 of a queue without one

struct card_volume {
	TAILQ_ENTRY(card_volume) link;
	struct card_index_link by_name, by_uuid, by_alias; // in the inventory's indexes
	char name[CARD_NAME_MAX + 1];
	struct card_volume_conf conf; // as created; strings are ours
	char *path; // owned: as the operator gave it; NULL: none
	char *base_name, *key_name, *subnqn; // owned; NULL: none
	char *alias, *header; // owned; NULL: none
	char uuid[CARD_UUID_TEXT];
	struct vol *vol; // owned
	struct card *card; // borrowed: contains this
	struct card_volume *below[CARD_BELOW_MAX]; // borrowed: count us among their users
	unsigned n_below;
	struct card_volume *above; // borrowed: has us below it; NULL: none
	struct card_key *key; // borrowed: the same; NULL: none
	struct card_rekey *rekey; // owned: device_rekey.c; NULL: its key is not being changed
	unsigned users; // disks, and volumes above
	unsigned orphans; // channels that wait for answers
	bool block_dev; // a file volume on a block device
	dev_t dev, rdev; // file volume: what its path led to when it was opened
	ino_t ino;
};

struct card_key {
	TAILQ_ENTRY(card_key) link;
	char name[CARD_NAME_MAX + 1];
	char wrapped[CARD_WRAPPED_TEXT]; // ""; else as the store has it
	char kept[CARD_KEPT_TEXT]; // ""; else an ephemeral one, kept under this name
	struct nof_key *key; // owned reference
	unsigned users; // volumes
};

/* One running queue of a disk. */
/* The kick eventfd of a NIC's transmitq on its worker. */
struct card_kick {
	struct card_watch watch;
	int fd; // borrowed; -1: none
	struct odp_worker *w; // borrowed
	struct odp_port *port; // borrowed: the queue is detached first
	struct vho_net *net; // borrowed: as the port
	uint16_t pair;
};

struct card_chan {
	TAILQ_ENTRY(card_chan) link; // among the orphans
	struct vol_chan *chan; // owned
	struct card_volume *vol; // borrowed: counts us among its users or orphans
	struct card_worker *w; // borrowed
	struct card_poller poller;
	struct card_watch watch; // of both fds
	struct vho_blk *blk; // borrowed: stops its queues before it goes
	unsigned queue;
	int kick_fd; // borrowed; -1: none
	int chan_fd; // the channel's; -1: none
};

/* A queue of a NIC whose driver may have calls held back. */
struct card_coal {
	struct card_poller poller;
	struct card_function *f; // borrowed: contains us
	unsigned idx; // of the queue
	bool wanted; // control thread: the driver has asked for it
	bool running, polled; // only the queue's worker
};

struct card_function {
	TAILQ_ENTRY(card_function) link;
	char name[CARD_NAME_MAX + 1];
	enum vho_dev_kind kind;
	struct card *card; // borrowed
	struct vho_host host; // the card's services with this function as argument
	struct vho_dev *dev; // borrowed: part of net or blk
	struct vho_vu *vu; // owned
	char *socket; // owned
	unsigned first_worker; // of queue (pair) 0; the others follow round robin
	/* NIC */
	struct card_net_conf net_conf;
	struct card_coal *coal; // owned; NIC: by queue, held-back calls that a worker looks after
	struct vho_net *net; // owned
	struct card_net_port net_port;
	struct odp_port *port; // owned
	struct card_kick *kicks; // owned; by queue: what the worker watches
	/* disk */
	struct card_blk_conf blk_conf;
	struct vho_blk *blk; // owned
	struct card_volume *vol; // borrowed: counted in its users
	struct card_chan **chans; // owned; by queue; NULL: not running
	int *deferred; // owned; by queue: kick fd of a start that waits for orphans
};

struct card_uplink {
	TAILQ_ENTRY(card_uplink) link;
	char name[CARD_NAME_MAX + 1];
	char *devargs; // owned
	struct card *card; // borrowed
	struct card_uplink_conf conf;
	struct odp_ethdev *dev; // owned
	struct odp_port *port; // owned
	struct event *link_timer; // owned
	unsigned first_worker;
	unsigned n_attached; // queues with a worker
};

TAILQ_HEAD(card_volumes, card_volume);
TAILQ_HEAD(card_volume_walks, card_volume_walk);
TAILQ_HEAD(card_keys, card_key);
TAILQ_HEAD(card_ctrls, card_ctrl);
TAILQ_HEAD(card_lvstores, card_lvstore);
TAILQ_HEAD(card_discoveries, card_discovery);
TAILQ_HEAD(card_functions, card_function);
TAILQ_HEAD(card_uplinks, card_uplink);
TAILQ_HEAD(card_chans, card_chan);

struct card_inventory {
	struct card_volumes volumes;
	struct card_index volume_names, volume_uuids, volume_aliases;
	struct card_volume_walks walks;
	struct card_volumes going; // without a name: they are freed once they have stopped
	void *going_timer; // while there are some
	struct card_keys keys;
	struct card_ctrls ctrls;
	struct card_lvstores lvstores;
	struct card_discoveries discoveries;
	json_t *nvme_options; // owned: what bdev_nvme_set_options said; NULL: nothing
	struct nof_key_provider *provider; // owned; NULL: no key has been asked for
	struct card_functions functions;
	struct card_uplinks uplinks;
	struct card_chans orphans;
	void *reap_timer; // while there are orphans
	void *rekey_timer; // while a key is changed
	void *wear_timer; // once there was a volume on a block device
	uint64_t stop_by_ns; // at the end: no queue is waited for beyond it; 0: not ending
	unsigned next_worker; // where the next object's first queue goes
};

/* Where the path of a file volume leads, inside of --volume-dir; device_volume.c. 0 or -errno. */
int card_volume_resolve(struct card *c, const char *path, char out[PATH_MAX], struct card_error *e);
void card_lvstores_fini(struct card *c);
struct card_volume *card_volume_find(const struct card *c, const char *name);
/* A logical volume, by "STORE/NAME" or its name among the card's volumes. */
struct card_volume *card_volume_find_alias(const struct card *c, const char *alias);
void card_volume_view_init(const struct card_volume *v, struct card_volume_view *out);
/*
 * device_layer.c: open a volume that stands on others. 0, or a negative errno, with e->text or
 * not.
 */
bool card_layer_kind(enum card_volume_kind kind);
/* Is `on` this volume, or somewhere below it? As deep as layers are. */
bool card_layer_stands_on(const struct card_volume *v, const struct card_volume *on);
int card_layer_open(struct card *c, struct card_volume *v, struct card_error *e);
/* Lets go of the new key and the journal. */
void card_rekey_free(struct card_volume *v);
/* Frees those that are going and have stopped. */
void card_volumes_reap(struct card *c);
/* Its work has ended, after a wait of at most wait_ms. */
bool card_volume_idle(struct card_volume *v, unsigned wait_ms);
struct card_key *card_key_find(struct card *c, const char *name);
/* Begins to disconnect every controller; storage.c waits for the end. No volume uses one. */
void card_ctrls_fini(struct card *c);
/* Ends every discovery; controllers stay. */
void card_discoveries_fini(struct card *c);
/* Forgets every key; no volume uses one. */
void card_keys_fini(struct card *c);
struct card_function *card_function_find(struct card *c, const char *name);
struct card_uplink *card_uplink_find(struct card *c, const char *name);

/*
 * Functions, uplinks and tunnels share one name space. 0, or -EEXIST with e->text: who has the
 * name.
 */
int card_name_free(struct card *c, const char *name, struct card_error *e);

void card_uplink_view_init(struct card_uplink *u, struct card_uplink_view *out);
bool card_tunnel_exists(struct card *c, const char *name);
/* Deletes every tunnel. */
void card_tunnels_fini(struct card *c);

/* Reserve n workers in turn; the first one's index. */
unsigned card_take_workers(struct card *c, unsigned n);
struct card_worker *card_worker_of(struct card *c, unsigned first, unsigned n);

/* ---- device_queue.c: struct vho_host on workers; arg: struct card_function * ---- */
extern const struct vho_host card_queue_host;

/*
 * Close the orphans that have been answered, waiting for at most wait_ms. Returns how many are
 * left.
 */
unsigned card_orphans_reap(struct card *c, unsigned wait_ms);
