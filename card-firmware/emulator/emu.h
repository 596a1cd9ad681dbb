/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running emulator: one thread, one event loop. It comes up in the order of enum emu_phase; a
 * failure of any part, a signal, or the end of the program it runs takes it all down.
 *
 * Run directory, which is what scripts see as $OUTBOARD_DIR:
 *   ctl                      control socket of the emulator
 *   CARD/rpc.sock  CARD/log  CARD/config.json  CARD/state/  CARD/vhost/FUNCTION  CARD/VOLUME.img
 *   GUEST/console.log  GUEST/qemu.log  GUEST/agent  GUEST/qmp
 *   linkN                    memif sockets
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "agent.h"
#include "sweep.h"
#include "topology.h"

#define EMU_PATH_SIZE 512
#define EMU_DIR_MAX 48 // so that DIR/CARD/vhost/FUNCTION fits a socket address

enum emu_phase { EMU_CARDS, EMU_GUESTS, EMU_UP, EMU_DOWN };

struct emu;
struct emu_request; // ctl.c: a client that waits for a guest

struct emu_card {
	struct emu *emu; // borrowed
	const struct emu_card_conf *conf; // borrowed from the topology
	size_t idx;
	char cores[EMU_TEXT_SIZE]; // CPUs as given to cardd
	pid_t pid; // 0: not running
	bool ready; // answers on its control socket
	unsigned starts;
	struct event *probe_timer; // owned
	struct bufferevent *probe; // owned; NULL between two probes
};

struct emu_guest {
	struct emu *emu; // borrowed
	const struct emu_guest_conf *conf; // borrowed from the topology
	pid_t pid; // 0: not running
	unsigned starts, resets;
	struct emu_agent agent;
	struct bufferevent *serial, *qmp; // owned; NULL until connected
	struct event *dial_timer; // owned
	struct emu_request *request; // borrowed: the command that runs
};

struct emu {
	struct event_base *base; // owned
	struct emu_topology *topo; // owned
	char dir[EMU_PATH_SIZE]; // run directory
	pid_t pid; // our own
	char image[EMU_PATH_SIZE]; // guest kernel and initramfs
	bool kvm;
	bool verbose;
	enum emu_phase phase;
	int exit_code;
	struct emu_card *cards; // owned
	struct emu_guest *guests; // owned
	char *const *run; // borrowed: program to run when all is up, or NULL
	pid_t run_pid;
	struct emu_sweep sweep;
	struct emu_ctl *ctl; // owned
};

/* Go down with this exit code; the first caller decides. `fmt` NULL: nothing to say. */
void emu_stop(struct emu *e, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One line for the operator on stderr. */
void emu_say(const struct emu *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A card became ready or a guest came up: enter the next phase when all are there. */
void emu_advance(struct emu *e);
bool emu_all_up(const struct emu *e);
/* A path below the run directory. */
void emu_path(const struct emu *e, char *out, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- fabric.c ---- */

/* Decide what links of kind "auto" are, by what the user may do, and say so. */
void emu_fabric_choose(struct emu_topology *t);
/* A private network namespace when a link is made of kernel devices. Before anything is started. */
int emu_fabric_isolate(const struct emu_topology *t);
/* Make the kernel devices. */
int emu_fabric_create(struct emu *e);
/* DPDK device arguments of a card's uplink. */
void emu_fabric_devargs(const struct emu *e, size_t card, size_t uplink, char *out, size_t size);

/* ---- card.c ---- */

int emu_card_init(struct emu *e, size_t idx); // folders, configuration file, volumes
int emu_card_start(struct emu_card *c);
void emu_card_ended(struct emu_card *c, int status);
void emu_card_fini(struct emu_card *c);

/* A call of a configuration; takes params. 0, -ENOMEM (also for NULL). */
int emu_call_add(json_t *calls, const char *method, json_t *params);

/* ---- storage.c: volumes of other cards ---- */

/* The calls that show the card's exports, and those that make one remote volume. 0 or -errno. */
int emu_exports_add(struct emu_card *c, json_t *calls);
int emu_remote_add(struct emu_card *c, const struct emu_volume *v, json_t *calls);
/* TCP port of a path, from 0, of an export. */
unsigned emu_export_port(const struct emu_card_conf *conf, size_t idx, unsigned path);
/* What cardd calls the volume that the topology calls so. */
void emu_volume_name(const struct emu_card_conf *c, const char *name, char *out, size_t size);
/* Does the card have encrypted volumes, and so a file with a key-encryption key? */
bool emu_card_has_key(const struct emu_card *c);
void emu_card_key_path(const struct emu_card *c, char *out, size_t size);

/* ---- guest.c ---- */

int emu_guest_init(struct emu *e, size_t idx);
int emu_guest_start(struct emu_guest *g);
void emu_guest_ended(struct emu_guest *g, int status);
void emu_guest_fini(struct emu_guest *g);
bool emu_guest_up(const struct emu_guest *g);
/* Run a command for a client. 0, -EBUSY (one runs), -ENOTCONN (not up), -ENOMEM. */
int emu_guest_exec(
	struct emu_guest *g, struct emu_request *r, const char *command, unsigned limit_s);
/* The client's patience ended: an answer that still comes is dropped. */
void emu_guest_forget(struct emu_guest *g, struct emu_request *r);
/* Pull the reset line. 0 or -ENOTCONN. */
int emu_guest_reset(struct emu_guest *g);

/* ---- ctl.c: the control socket ---- */

int emu_ctl_start(struct emu *e);
void emu_ctl_stop(struct emu *e);
/* A guest answered: `len` bytes of output wait in `in` and are taken; err: no answer will come. */
void emu_ctl_answer(struct emu_request *r, int err, int status, struct evbuffer *in, size_t len);
/* Something came up: clients that wait for that look again. */
void emu_ctl_changed(struct emu *e);

/* ---- client.c: the commands that scripts give to a running emulator ---- */

struct emu_client_conf {
	const char *dir;
	const char *exec, *kill, *reset, *command; // NULL: not asked for
	bool list, wait, json;
	unsigned timeout_s;
};
int emu_client(const struct emu_client_conf *conf); // exit status
