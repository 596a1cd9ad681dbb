/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target: subsystems whose namespaces are volumes, for hosts that come over NVMe/TCP (NVMe Base
 * 2.0, NVMe over Fabrics 1.1, NVMe/TCP Transport 1.0), and the discovery service that names them.
 *
 * Everything here is called on the control thread unless it says otherwise. Admin queues,
 * handshakes and listeners live in the control thread's group; an I/O queue is handed to a worker's
 * group once its Connect has been accepted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct nof_group;
struct nof_tgt;
struct nof_tgt_subsys;
struct vol;

#define NOF_TGT_ANA_GROUPS 32U // of one subsystem; ANAGRPIDs 1 to that

/* What SPDK calls a transport's options; 0 takes the default. */
struct nof_tgt_opts {
	uint16_t max_queue_depth; // entries of one queue, default 128, at most 1024
	uint16_t max_io_queues; // of one controller, default 127
	uint32_t in_capsule_bytes; // data within a capsule, default 4096, at most 16384
	uint32_t max_io_bytes; // of one command: a power of two, default 128 KiB, at most 1 MiB
	uint32_t pool_bytes; // for data of commands, of one worker, default 16 MiB
	uint16_t max_conns; // of the whole target, default 4096
	unsigned stall_ms; // a host that takes nothing of its answers is ended, default 30000
	uint16_t kato_max_s; // longest keep alive timeout that is granted, default 3600
};

struct nof_tgt_conf {
	struct nof_group *control; // borrowed: outlives the target
	unsigned n_workers; // at least 1
	struct nof_group *const *workers; // borrowed array and groups: outlive the target
	/*
	 * Run fn(arg) on the thread of workers[idx] between two turns, wait for it and return its
	 * result.
	 */
	int (*call)(void *env, unsigned idx, int (*fn)(void *arg), void *arg);
	void *env;
	struct nof_tgt_opts opts;
};

/*
 * Make a target that serves nobody yet, with the discovery subsystem in it.
 * 0, -EINVAL (options out of range), -ENOMEM.
 */
int nof_tgt_create(const struct nof_tgt_conf *conf, struct nof_tgt **out);
/*
 * Ends every connection and gives back every volume. NULL is accepted. 0, or -EBUSY: for two
 * seconds a volume has not answered; nothing more comes in, and nothing of it may be freed.
 */
int nof_tgt_destroy(struct nof_tgt *t);

/* ---- subsystems ---- */

struct nof_tgt_subsys_conf {
	const char *nqn; // copied; 1 to 223 bytes, "nqn." first
	const char *serial; // 1 to 20 printable characters; NULL: derived from the NQN
	const char *model; // 1 to 40 printable characters; NULL: a name of our own
	bool allow_any_host;
	bool ana; // report asymmetric access
	uint32_t max_namespaces; // highest nsid, default 32, at most 1024
	uint16_t min_cntlid, max_cntlid; // default 1 to 0xffef
};

/* 0, -EINVAL, -EEXIST, -ENOMEM. */
int nof_tgt_subsys_add(struct nof_tgt *t, const struct nof_tgt_subsys_conf *conf);
/* Ends its associations. 0, -ENOENT, -EBUSY: commands of its namespaces do not end yet. */
int nof_tgt_subsys_del(struct nof_tgt *t, const char *nqn);
/* 0, -ENOENT, -EINVAL (no NQN), -ENOMEM. What is there already or is not there is no error. */
int nof_tgt_host_add(struct nof_tgt *t, const char *nqn, const char *host);
/* Ends that host's associations with the subsystem, unless any host may. */
int nof_tgt_host_del(struct nof_tgt *t, const char *nqn, const char *host);
int nof_tgt_allow_any_host(struct nof_tgt *t, const char *nqn, bool allow);

/* ---- namespaces ---- */

struct nof_tgt_ns_conf {
	uint32_t nsid; // 0: the lowest that is free
	struct vol *vol; // borrowed: until nof_tgt_ns_del() returned 0
	uint8_t uuid[16]; // all 0: none
	uint8_t nguid[16]; // all 0: none
	uint8_t eui64[8]; // all 0: none
	uint32_t anagrpid; // 0: 1
	bool masked; // visible only to hosts named by nof_tgt_ns_host_add()
};

/*
 * 0, -ENOENT (no such subsystem), -EINVAL, -EEXIST (nsid or an identifier is in use), -ENOSPC,
 * -ENOMEM, or what vol_chan_open() says. *nsid, if not NULL, receives its number.
 */
int nof_tgt_ns_add(
	struct nof_tgt *t, const char *nqn, const struct nof_tgt_ns_conf *conf, uint32_t *nsid);
/*
 * Takes the namespace from its hosts at once. 0: the volume is free. -EBUSY: commands of it are
 * still with the volume; call again later. -ENOENT.
 */
int nof_tgt_ns_del(struct nof_tgt *t, const char *nqn, uint32_t nsid);
/* The volume may have another size now: hosts of every namespace on it hear of that. */
void nof_tgt_vol_resized(struct nof_tgt *t, const struct vol *vol);
/* Show a masked namespace to a host, or hide it again. 0, -ENOENT, -EINVAL, -ENOMEM. */
int nof_tgt_ns_host_add(struct nof_tgt *t, const char *nqn, uint32_t nsid, const char *host);
int nof_tgt_ns_host_del(struct nof_tgt *t, const char *nqn, uint32_t nsid, const char *host);

/* ---- listeners ---- */

enum nof_tgt_ana {
	NOF_TGT_ANA_OPTIMIZED = 1,
	NOF_TGT_ANA_NON_OPTIMIZED = 2,
	NOF_TGT_ANA_INACCESSIBLE = 3,
	NOF_TGT_ANA_LOSS = 4,
	NOF_TGT_ANA_CHANGE = 0xf,
};

struct nof_tgt_addr {
	const char *addr; // IPv4 or IPv6 address in text
	const char *port; // decimal; "0": any, for tests
};

/*
 * Serve a subsystem at an address. NULL for nqn means the discovery subsystem; every address
 * answers discovery in any case. 0, -ENOENT, -EINVAL, -EEXIST, or the errno of socket(2), bind(2),
 * listen(2).
 */
int nof_tgt_listener_add(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at);
/* Ends the associations that came through it. 0, -ENOENT. */
int nof_tgt_listener_del(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at);
/* State of one ANA group (0: all) for hosts that came through a listener. 0, -ENOENT, -EINVAL. */
int nof_tgt_ana_set(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at,
	uint32_t anagrpid, enum nof_tgt_ana state);
/* The TCP port that an address of port "0" got. 0: no such listener. */
uint16_t nof_tgt_listener_port(struct nof_tgt *t, const char *nqn, const struct nof_tgt_addr *at);

/* ---- referrals to other discovery services ---- */

/* 0, -EINVAL, -EEXIST, -ENOSPC, -ENOMEM; -ENOENT. */
int nof_tgt_referral_add(struct nof_tgt *t, const struct nof_tgt_addr *at);
int nof_tgt_referral_del(struct nof_tgt *t, const struct nof_tgt_addr *at);

/* ---- what is there ---- */

/*
 * Refusals by reason: X(name, what an operator reads). Counted by the thread that refuses.
 */
#define NOF_TGT_REASONS(X)                                                   \
	X(bad_header, "PDU header with a field out of its range")            \
	X(bad_sequence, "PDU or capsule that may not come here")             \
	X(bad_hdgst, "header digest does not match")                         \
	X(bad_ddgst, "data digest does not match")                           \
	X(bad_data, "H2CData outside what was asked for")                    \
	X(unsupported, "version or parameter that is not supported")         \
	X(too_many, "more commands or connections than there may be")        \
	X(bad_connect, "Connect refused: parameters, host or controller")    \
	X(bad_command, "command refused: opcode, field, range or namespace") \
	X(vol_error, "command that the volume failed")                       \
	X(kato, "keep alive timeout")                                        \
	X(slow_start, "connection without a Connect in time")                \
	X(reset, "connection that the host broke")

struct nof_tgt_stats {
	uint64_t conns, conns_ever, ctrls;
	uint64_t reads, read_bytes, writes, write_bytes, others;
	uint64_t waits; // commands that had to wait for a buffer
#define X(name, help) uint64_t name;
	NOF_TGT_REASONS(X)
#undef X
};
/* Sums over all threads. */
void nof_tgt_stats(struct nof_tgt *t, struct nof_tgt_stats *out);

/* One thread of it: workers from 0 on, the last is the control thread. */
struct nof_tgt_thread_view {
	bool control;
	unsigned admin_queues, io_queues; // connected now
	uint64_t commands; // I/O commands begun
};
/* False: there is no such thread. */
bool nof_tgt_thread(struct nof_tgt *t, unsigned idx, struct nof_tgt_thread_view *out);

struct nof_tgt_subsys_view {
	const char *nqn, *serial, *model;
	bool discovery, allow_any_host, ana;
	uint32_t max_namespaces;
	uint16_t min_cntlid, max_cntlid;
	uint64_t connects, refused; // of hosts: controllers made, Connects refused
	uint64_t commands, errors; // I/O commands answered, those with an error
};
struct nof_tgt_ns_view {
	struct nof_tgt_ns_conf conf;
	bool dying; // deleted; commands of it are still with the volume
};
struct nof_tgt_listener_view {
	const char *addr, *port;
	bool v6;
	uint8_t ana[NOF_TGT_ANA_GROUPS + 1]; // by ANAGRPID
	uint64_t accepted; // connections at that address, for whatever subsystem
};
struct nof_tgt_ctrl_view {
	uint16_t cntlid;
	const char *hostnqn;
	uint8_t hostid[16];
	unsigned n_io_queues;
	uint32_t kato_ms;
	uint64_t commands, errors; // of its I/O queues
};

/* What is visited is borrowed for the visit. NULL callbacks are skipped. */
struct nof_tgt_visit {
	void (*subsys)(void *arg, const struct nof_tgt_subsys_view *v);
	void (*host)(void *arg, const char *hostnqn);
	void (*ns)(void *arg, const struct nof_tgt_ns_view *v);
	void (*ns_host)(void *arg, uint32_t nsid, const char *hostnqn);
	void (*listener)(void *arg, const struct nof_tgt_listener_view *v);
	void (*ctrl)(void *arg, const struct nof_tgt_ctrl_view *v);
	void *arg;
};
/* All subsystems (nqn NULL) or one, each with what belongs to it behind it. 0, -ENOENT. */
int nof_tgt_visit(struct nof_tgt *t, const char *nqn, const struct nof_tgt_visit *v);
