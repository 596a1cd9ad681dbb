/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running emulator: one thread, one event loop. It comes up in the order of enum emu_phase; a
 * failure of any part, a signal, or the end of the program it runs takes it all down.
 *
 * Run directory, which is what scripts see as $OUTBOARD_DIR:
 *   ctl                      control socket of the emulator
 *   CARD/rpc.sock  CARD/log  CARD/config.json  CARD/state/  CARD/vhost/FUNCTION  CARD/VOLUME.img
 *   CARD/agents  CARD/host-hv.log   with guests on host-hv: its agent's socket and what that says
 *   GUEST/console.log
 *   GUEST/qemu.log  GUEST/agent  GUEST/qmp   of a guest under QEMU
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
#include "hypervisor.h"
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
	pid_t host_pid; // host-hv's agent, which is the host of this card; 0: not running
};

struct emu_guest;
struct emu_vm; // guest_hv.c

/* What differs between hypervisors: guest_qemu.c, guest_hv.c. */
struct emu_guest_ops {
	const char *log; // file of the guest's folder to look at when it ends too early
	int (*start)(struct emu_guest *g); // 0 or -errno; emu_guest_gone() may follow
	void (*hang_up)(struct emu_guest *g); // connections to a guest that has ended
	bool (*connected)(const struct emu_guest *g); // its agent's port can be reached
	void (*say)(struct emu_guest *g, const char *text, size_t len); // to that port
	int (*reset)(struct emu_guest *g); // 0 or -ENOTCONN
	int (*kill)(struct emu_guest *g); // 0 or -ENOTCONN
	void (*fini)(struct emu_guest *g);
};
extern const struct emu_guest_ops emu_guest_qemu, emu_guest_hv;

struct emu_guest {
	struct emu *emu; // borrowed
	const struct emu_guest_conf *conf; // borrowed from the topology
	const struct emu_guest_ops *ops;
	pid_t pid; // of QEMU, a child, or of the guest's process of host-hv; 0: not running
	unsigned starts, resets;
	struct emu_agent agent;
	struct evbuffer *asked; // owned: the request that has no answer yet
	struct emu_request *request; // borrowed: the command that runs
	struct bufferevent *serial, *qmp; // owned; QEMU's; NULL until connected
	struct event *dial_timer; // owned; QEMU's
	struct emu_vm *vm; // owned; host-hv's
};

struct emu {
	struct event_base *base; // owned
	struct emu_topology *topo; // owned
	char dir[EMU_PATH_SIZE]; // run directory
	pid_t pid; // our own
	char image[EMU_PATH_SIZE]; // guest kernel and initramfs
	bool kvm; // a kernel boots with it
	enum emu_hypervisor hypervisor; // as the option says
	bool verbose;
	unsigned start_limit_s; // for cards and guests to come up
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

/* ---- call.c: calls of a card, one at a time over one connection ---- */

/*
 * ret: 0 with a result; what the card refused it with and why; -ECONNRESET: the card is not there.
 * From the event loop. It may begin the next call.
 */
typedef void emu_call_fn(void *arg, int ret, const json_t *result, const char *why);

struct emu_call {
	const struct emu_card *card; // borrowed
	struct bufferevent *bev; // owned; NULL: none
	emu_call_fn *done; // NULL: none is on its way
	void *arg; // of done
};

/*
 * Takes params. 0: done() is called once, after this has returned. -ECONNRESET: the card is not
 * there; -ENOMEM, or the errno of socket(2): done() is not called.
 */
int emu_call(struct emu_call *c, const char *method, json_t *params, emu_call_fn *done);
/* Forget the call on its way and hang up. */
void emu_call_end(struct emu_call *c);

/* ---- guest.c ---- */

int emu_guest_init(struct emu *e, size_t idx);
int emu_guest_start(struct emu_guest *g);
/* QEMU's process ended. */
void emu_guest_ended(struct emu_guest *g, int status);
/* As above for any: text is what became of it. */
void emu_guest_gone(struct emu_guest *g, const char *text);
void emu_guest_fini(struct emu_guest *g);
bool emu_guest_up(const struct emu_guest *g);
/* Run a command for a client. 0, -EBUSY (one runs), -ENOTCONN (not up), -ENOMEM. */
int emu_guest_exec(
	struct emu_guest *g, struct emu_request *r, const char *command, unsigned limit_s);
/* The client's patience ended: an answer that still comes is dropped. */
void emu_guest_forget(struct emu_guest *g, struct emu_request *r);
/* Pull the reset line. 0 or -ENOTCONN. */
int emu_guest_reset(struct emu_guest *g);
/* kill -9. 0 or -ENOTCONN. */
int emu_guest_kill(struct emu_guest *g);

/* For the hypervisors: bytes of the agent's port have arrived. */
void emu_guest_heard(struct emu_guest *g, struct evbuffer *in);
/* The guest starts from its firmware again: nothing that ran in it will answer. */
void emu_guest_was_reset(struct emu_guest *g, struct evbuffer *in);
/* Ask for the answer to the command that runs once more, if there is one. */
void emu_guest_ask_again(struct emu_guest *g);

/* ---- guest_hv.c ---- */

/* Where the program is. False: nowhere. */
bool emu_host_path(char *out, size_t size);
/* Has the card guests on host-hv? */
bool emu_card_has_vms(const struct emu_card *c);
/* The calls that define them. 0 or -errno. */
int emu_vms_add(struct emu_card *c, json_t *calls);
/* The agent of host-hv that is this card's host. 0 or -errno. */
int emu_host_start(struct emu_card *c);
void emu_host_ended(struct emu_card *c, int status);
/* Their agents are gone, and they end by that: wait, kill what is left. No event loop any more. */
void emu_vms_wait(struct emu *e);

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
