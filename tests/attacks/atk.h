/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attack rows against a live cardd. Every row misbehaves on functions of its own while a victim on
 * other functions of the same daemon does verified I/O and pings.
 *
 * A row passes when the daemon is the same process, the victim saw no error, went on and was hardly
 * slower, the row's own checks hold, the attacked function serves the next honest session, nothing
 * of the victim's or of the daemon's came into the attacker's hands, and descriptors, threads and
 * private memory are back where they were.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "drv_blk.h"
#include "drv_net.h"

#define ATK_REPLY_MS 20000 // a bound that ends the test, not a figure that is judged

/* A cardd of our own. */
struct atk_daemon {
	pid_t pid; // 0: none
	char dir[64]; // its sockets and files; removed at the end
	char binary[256];
	const char *config; // borrowed: JSON text
	const char *secret; // borrowed: stands in its environment; NULL: nothing does
};

/* 0, or -errno; the daemon serves when it returns. */
int atk_daemon_start(struct atk_daemon *d);
/* And wait for its end: 0, or -EPROTO when SIGTERM brought anything but exit status 0. */
int atk_daemon_kill(struct atk_daemon *d, int sig);
bool atk_daemon_alive(struct atk_daemon *d);
/* One JSON-RPC call: 0, -EREMOTEIO when it answered with an error, or -errno. */
int atk_daemon_rpc(struct atk_daemon *d, const char *method, const char *params);
/* The same; *reply, when there is one, is the caller's to free(). */
int atk_daemon_ask(struct atk_daemon *d, const char *method, const char *params, char **reply);

struct atk_use {
	unsigned fds, threads, maps;
	uint64_t anon_kib;
};
int atk_daemon_use(const struct atk_daemon *d, struct atk_use *out);

/* ---- canaries: bytes that no attacker may ever see ---- */

#define ATK_CANARY_LEN 16

enum atk_canary {
	ATK_CANARY_DISK, // in every sector that the victim wrote
	ATK_CANARY_NET, // in every frame that it sent
	ATK_CANARY_NAME, // printable: in the daemon's heap and environment
	ATK_CANARIES
};

/* Make them up, and look for them from now on in all that closed sessions leave behind. */
void atk_canary_init(void);
void atk_canary_stop(void);
const char *atk_canary(enum atk_canary which); // ATK_CANARY_LEN bytes and a NUL
void atk_canary_fill(enum atk_canary which, void *p, size_t len);
/* What was seen since the last call ("disk"), or NULL. */
const char *atk_canary_seen(void);

/* ---- the victim ---- */

struct atk_victim;
int atk_victim_start(struct atk_daemon *d, struct atk_victim **out);
void atk_victim_stop(struct atk_victim *v);

struct atk_victim_stats {
	uint64_t requests, frames, errors;
};
void atk_victim_stats(struct atk_victim *v, struct atk_victim_stats *out);

/* Latencies since the last atk_victim_window(); n: what they were made from. */
struct atk_lat {
	uint64_t disk_p99_ns, net_p99_ns, disk_n, net_n;
};
/* Both wait until the victim's threads have noticed: 0, or -ETIMEDOUT when it stands still. */
int atk_victim_window(struct atk_victim *v);
int atk_victim_lat(struct atk_victim *v, struct atk_lat *out);

/* ---- rows ---- */

struct atk_env {
	struct atk_daemon *d; // borrowed
	unsigned percent; // of the full number of repetitions
	unsigned race_s; // how long threads race each other
	bool strict; // judge the victim's waiting by its quiet value
	char why[256]; // of a failure
};

#define ATK_NOT_APPLICABLE 1 // e->why says why

struct atk_row {
	const char *id, *name;
	int (*run)(struct atk_env *e); // 0, ATK_NOT_APPLICABLE, or negative with e->why
};

struct atk_group {
	const struct atk_row *rows;
	unsigned n;
};
extern const struct atk_group atk_vu_rows, atk_vu_life_rows, atk_vu_postcopy_rows, atk_vs_rows,
	atk_vs_long_rows, atk_vp_rows, atk_vn_rows, atk_vn_steer_rows, atk_vb_rows, atk_ov_rows,
	atk_ov_ct_rows, atk_ov_tables_rows, atk_ov_tnl_rows, atk_ov_pieces_rows, atk_ov_ul_rows;

/* Run one row and judge it; print its line. What run() answered, or negative. */
int atk_judge(struct atk_env *e, const struct atk_row *row, struct atk_victim *v);
/* The victim must go on: some request and some frame finished since `was`, and no error. */
int atk_victim_goes_on(struct atk_env *e, struct atk_victim *v, const struct atk_victim_stats *was);

/*
 * Fill what the switch keeps once it was needed: flows and addresses of the attacker's port, and
 * connections. Everything is forgotten again when these return.
 */
int atk_ov_warm(struct atk_env *e);
int atk_ov_ct_warm(struct atk_env *e);

/* Functions of the daemon that rows may abuse. */
#define ATK_BLK "atk-blk"
#define ATK_BLK_BIG "atk-big" // 4 GiB
#define ATK_BLK_RO "atk-ro"
#define ATK_NET "atk-net"
#define ATK_PEER "atk-peer"

/* Record why the row failed. Returns -EPROTO. */
int atk_fail(struct atk_env *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define ATK_CHECK(e, cond, ...)                          \
	do {                                             \
		if (!(cond))                             \
			return atk_fail(e, __VA_ARGS__); \
	} while (0)

/* How often to repeat something that the catalogue repeats n times. */
unsigned atk_times(const struct atk_env *e, unsigned n);
const char *atk_path(const struct atk_env *e, const char *function); // one of 4 buffers

/* ---- the attacker's network function and its peer ---- */

extern const uint8_t atk_mac[6], atk_peer_mac[6];

struct atk_pair {
	struct drv_net a, b; // attacker and receiver
	uint64_t seq; // of the last honest frame
	/* Told of each frame to the peer that is not the honest one; may be NULL. */
	void (*seen)(struct atk_pair *p, const uint8_t *frame, uint32_t len);
	void *arg; // of whoever set `seen`
};

/* Both sessions are open and an honest frame has passed; nobody is told of others yet. */
int atk_pair_open(struct atk_env *e, struct atk_pair *p, bool ctrl);
void atk_pair_close(struct atk_pair *p);
/* The switch knows where the peer is: nothing that is sent there is flooded to the victim. */
int atk_pair_announce(struct atk_env *e, struct atk_pair *p);
/* An honest frame passes; *others counts frames of the attacker that arrived before it. */
int atk_pair_marker_in(struct atk_env *e, struct atk_pair *p, unsigned *others, unsigned ms);
int atk_pair_marker(struct atk_env *e, struct atk_pair *p, unsigned *others);

/* A session on a function; conf->path is filled in. */
int atk_blk_open(
	struct atk_env *e, const char *function, struct drv_blk_conf *c, struct drv_blk *b);
/* Negotiated up to and with the memory table, no rings. */
int atk_vu_open(struct atk_env *e, const char *function, struct drv_vu *vu, struct drv_mem *mem);

/* The message was refused: a non-zero acknowledgement, or the session was closed. */
bool atk_rejected(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	const int *fds, unsigned n_fds);
/* The device stopped this ring: it signalled the error descriptor. */
bool atk_ring_broken(struct drv_ring *r, int timeout_ms);
/* The request was answered (1), its ring stopped (0), or neither happened in time (-ETIMEDOUT). */
int atk_answered_or_broken(struct drv_blk *b, const struct drv_blk_io *io);
/*
 * Write to the first `bytes` of a disk, so that memory behind it is there from now on: zeros, or
 * ATK_CANARY_LEN bytes over and over.
 */
int atk_touch(struct atk_daemon *d, const char *function, uint64_t bytes, const char *fill);
/* An honest session on the function reads a sector or passes a frame. */
int atk_function_works(struct atk_env *e, const char *function);
