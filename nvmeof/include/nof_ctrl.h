/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initiator: a host, and the controllers it is connected to. Everything here is for the control
 * thread; nothing waits, what takes time tells its end by a call.
 *
 * A controller is one path to a subsystem. Volumes (vol_nvmf_open() in volume.h) are namespaces of
 * a subsystem and use every controller of it that the host has.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dpu_lat.h"

struct nof_ctrl;
struct nof_group;
struct nof_host;

#define NOF_WORKERS_MAX 64
#define NOF_CTRLS_MAX 8 // of one subsystem, that is paths of a volume

struct nof_host_conf {
	struct nof_group *control; // borrowed: outlives the host
	struct nof_group *const *workers; // copied; the groups are borrowed
	unsigned n_workers;
	const int *nodes; // copied: NUMA node of each worker, -1: not known; NULL: of none
	const char *hostnqn; // copied
	uint8_t hostid[16];
};
/* 0, -EINVAL (a name that is no NQN), -ENOMEM. */
int nof_host_create(const struct nof_host_conf *conf, struct nof_host **out);
/*
 * No controller and no volume is left, and every worker's group was polled since. NULL is accepted.
 */
void nof_host_destroy(struct nof_host *h);

struct nof_ctrl_conf {
	const char *name; // copied, as all strings here; unique in the host
	const char *traddr; // numeric IPv4 or IPv6 address
	uint16_t trsvcid; // 0: 4420
	const char *host_traddr; // NULL: any
	const char *subnqn;
	const char *hostnqn; // NULL: the host's; else the host identifier is made from it
	bool hdgst, ddgst; // demanded: without them there is no connection
	uint16_t queue_size; // of I/O queues, 3 to 1024; 0: 128
	uint32_t kato_ms; // keep-alive timeout; 0: 10000
	uint32_t io_timeout_ms; // an answer has to come in that time; 0: 30000
	uint32_t connect_timeout_ms; // 0: 5000
	uint32_t reconnect_delay_ms; // first; doubles up to 8 times that. 0: 500
	/*
	 * Without a connection for so long: give up, requests fail. -1: never. 0: at the first
	 * failure.
	 */
	int32_t ctrl_loss_timeout_s;
	/* Requests fail after so long without any path, while it goes on trying. 0: they wait. */
	uint32_t fast_io_fail_timeout_s;
};

enum nof_ctrl_state {
	NOF_CTRL_NONE,
	NOF_CTRL_IDLE,
	NOF_CTRL_CONNECTING,
	NOF_CTRL_LIVE,
	NOF_CTRL_STOPPING,
	NOF_CTRL_BACKOFF,
	NOF_CTRL_LOST, // gave up
	NOF_CTRL_STATES
};
const char *nof_ctrl_state_name(enum nof_ctrl_state s);

/*
 * Begin to connect. up(arg, err) is called once, not from in here: 0 when it is live, else why the
 * first attempt failed; it goes on trying all the same, until nof_ctrl_delete(). up may be NULL.
 *
 * 0 with *out, or -EINVAL (conf), -EEXIST (the name, or the same path), -ENOSPC (paths), -ENOMEM.
 */
int nof_ctrl_create(struct nof_host *h, const struct nof_ctrl_conf *conf,
	void (*up)(void *arg, int err), void *arg, struct nof_ctrl **out);
/*
 * Disconnect and free it: gone(arg) is called then, not from in here; may be NULL. Requests of
 * volumes go on over other controllers, or fail when there are none.
 */
void nof_ctrl_delete(struct nof_ctrl *c, void (*gone)(void *arg), void *arg);
/* Disconnect and connect again. Does nothing unless it is live. */
void nof_ctrl_reset(struct nof_ctrl *c);

struct nof_ctrl *nof_ctrl_find(struct nof_host *h, const char *name);
/* For walking over all of them; NULL: the first, or no more. */
struct nof_ctrl *nof_ctrl_next(struct nof_host *h, struct nof_ctrl *c);

struct nof_ctrl_info {
	const char *name, *traddr, *subnqn;
	uint16_t trsvcid;
	enum nof_ctrl_state state;
	int last_err; // of the last failed connection, 0: none failed
	const char *last_step; // what it was doing then
	uint16_t cntlid;
	char model[41], serial[21], firmware[9];
	uint32_t max_transfer; // bytes
	unsigned n_queues, n_namespaces;
	uint64_t connects, failures;
	bool hdgst, ddgst, discovery;
};
void nof_ctrl_info(const struct nof_ctrl *c, struct nof_ctrl_info *out);

/* Of all queues, those of earlier connections included. */
struct nof_ctrl_stats {
	uint64_t commands; // sent, those of the admin queue too
	uint64_t stale; // answers that nobody waited for
	uint64_t timeouts; // of commands and of connections that did not come up
	uint64_t digest_errors; // of data
	uint64_t short_data; // successes without all of their data
};
void nof_ctrl_stats(const struct nof_ctrl *c, struct nof_ctrl_stats *out);

/*
 * Add how long commands on its I/O queues took that succeeded, from being handed to the transport
 * on: of every DPU_LAT_EVERY-th, unless nof_ctrl_latency_set() says otherwise (0: of none).
 */
void nof_ctrl_latency(const struct nof_ctrl *c, struct dpu_hist_sum out[DPU_LAT_CLASSES]);
void nof_ctrl_latency_set(struct nof_ctrl *c, uint32_t every);

struct nof_ns_info {
	uint32_t nsid;
	uint64_t size; // bytes
	uint32_t block_size;
	uint8_t uuid[16], nguid[16], eui64[8]; // 0: it has none
	uint8_t ana; // enum nof_ana of spec.h: 1 optimized .. 15 changing
	bool read_only;
	bool usable; // its format is one that volumes can have
};
/* The idx-th namespace. 0, or -ENOENT: there are no more. */
int nof_ctrl_ns(const struct nof_ctrl *c, unsigned idx, struct nof_ns_info *out);
/* The namespace of this number, by the last whole scan. 0, or -ENOENT. */
int nof_ctrl_ns_of(const struct nof_ctrl *c, uint32_t nsid, struct nof_ns_info *out);
/*
 * Call fn(arg) when the namespaces were read: at each connection, and after the target said that
 * they changed, ten times in a second at most (Base 5.2, Namespace Attribute Changed). fn NULL:
 * nobody. fn may delete the controller.
 */
void nof_ctrl_ns_watch(struct nof_ctrl *c, void (*fn)(void *arg), void *arg);

/*
 * Discovery: a controller whose subnqn is NOF_DISCOVERY_NQN (nof_nqn.h) has no namespaces
 * and no I/O queues, but a log. When it is live the log has been read; while it stays connected
 * it is read again whenever it changed. Referrals are entries like others: who wants to follow them
 * connects there, and not further.
 */
struct nof_disc_info {
	bool referral; // to another discovery service; else a subsystem
	char traddr[64]; // numeric
	uint16_t trsvcid;
	uint16_t portid, cntlid;
	bool secure_required; // it wants TLS
	char subnqn[224];
};
/*
 * The idx-th entry, of those that a host can use: over TCP, with an address that is one. 0, or
 * -ENOENT: there are no more.
 */
int nof_ctrl_disc(const struct nof_ctrl *c, unsigned idx, struct nof_disc_info *out);
/*
 * Call fn(arg) when the log was read, at each connection and after each change. What it has may be
 * in pieces later: take it in there. fn NULL: nobody.
 */
void nof_ctrl_disc_watch(struct nof_ctrl *c, void (*fn)(void *arg), void *arg);
/*
 * Read the log, or the namespaces, once more, soon: whoever watches could not take them in. Needs
 * no memory; does nothing unless it is live.
 */
void nof_ctrl_read_again(struct nof_ctrl *c);
