/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines of the card's host: what each is, and its process there, which an agent starts
 * and the card commands (docs/adr/0020-host-hypervisor.md). Definitions come by calls and are kept
 * like those of other objects; that a guest runs is known by its process alone, which is found
 * again when the agent offers its socket. Control thread.
 */
#pragma once

#include <sys/queue.h>

#include "card.h"
#include "vm_link.h"

#define CARD_VM_NAME_MAX 63
#define CARD_VM_CONSOLE 65536u // bytes of output that are kept
#define CARD_VM_TYPED 4096u // bytes of input that wait
#define CARD_VMS_MAX 256
#define CARD_VM_COUNT_MS 2000 // between looks at the counters of guests' processes
#define CARD_VM_ADD_MS 2000 // that a call waits for what a guest says of a function
#define CARD_VM_PROBE_MS 5000 // an agent that does not answer so long makes room for another

/*
 * What a kernel is told before an operator's own words, so that it boots in less time. Each word is
 * measured in docs/hypervisor.md:
 *   cryptomgr.notests  no self-tests of ciphers, most of what a kernel's boot computes. With fips=1
 *                      the kernel makes them all the same.
 *   8250.nr_uarts=1    no probes for serial ports where host-hv has none
 */
#define CARD_VM_CMDLINE "cryptomgr.notests 8250.nr_uarts=1"

struct card_errand;
struct card_vms;

enum card_vm_state {
	CARD_VM_STOPPED,
	CARD_VM_STARTING,
	CARD_VM_RUNNING,
	CARD_VM_PAUSED,
	CARD_VM_RESTARTING, // it ended, and begins anew in a while
};
const char *card_vm_state_name(enum card_vm_state s);

struct card_vm_conf {
	uint64_t mem_mib, mem_max_mib; // now, and what it may grow to while it runs
	unsigned vcpus, cpu_template;
	bool hugepages, flat;
	bool reboot_restarts, crash_restarts; // begin anew when the guest asks for a reset, fails
	char *kernel, *initrd, *cmdline; // owned; initrd: NULL: none
	bool default_cmdline; // CARD_VM_CMDLINE goes before it
	uint16_t pins[HV_PROTO_VCPUS]; // CPU of each vCPU, or HV_PIN_NONE
	char functions[HV_PROTO_SLOTS][CARD_VM_NAME_MAX + 1]; // by slot, from 1 on; "": none
};

/* What was asked for last of a VM. One at a time. */
struct card_vm_op {
	uint64_t serial; // of the card's operations; 0: there was none
	enum hv_type type;
	bool pending;
	int ret;
	char text[192]; // when ret is not 0
};

struct card_vm {
	TAILQ_ENTRY(card_vm) link;
	char name[CARD_VM_NAME_MAX + 1];
	uint8_t id[HV_PROTO_ID];
	uint64_t number; // of those that were created: the agent's answers name it
	struct card_vms *vms; // borrowed: contains this
	struct card_vm_conf conf;
	enum card_vm_state state;
	struct card_vm_link *guest; // owned; NULL: no process that we know
	struct card_vm_op op;
	void *deadline; // owned: of a start; NULL: none
	/* Images: loaded on a thread, kept while it may start again. */
	struct card_errand *errand; // owned; NULL: none
	struct card_vm_images *loading; // shared with the errand
	void *load_timer; // owned
	int kernel_fd, initrd_fd; // owned; -1: none
	bool making; // commands that make the guest are on their way
	bool stopping; // its process is to end
	bool down; // by an operator, or it failed: it does not begin anew
	/* Beginning anew (vm_again.c). */
	void *again_timer; // owned; NULL: none, or it waits for an agent
	unsigned again_ms; // how long it waits, or did last
	bool again_before; // since an operator started it
	bool lost; // it ran, and was to begin anew if it crashed, when the last card process ended
	uint64_t ran_ns; // when it ran first since its process was made; 0: it did not
	bool met; // its process has said what state it is in
	uint32_t present; // slots that the guest was given, or says it has
	uint32_t adding; // slots whose HV_ADD has no answer yet; bit 0: an HV_GROW has none
	struct {
		enum hv_status status; // HV_OK: it was not refused
		uint32_t detail;
	} added[HV_PROTO_SLOTS]; // the last answer; of HV_GROW, as slot 0 is never a function's
	uint32_t wants; // slots that wait for a connection
	void *want_timer; // owned: while one could not be had, or has to wait
	struct {
		uint64_t due_ns, gave_ns; // when it is to have one, and had the last; 0: none
		unsigned wait_ms;
	} want[HV_PROTO_SLOTS];
	/* Told of its process. */
	uint32_t generation, pid;
	uint8_t end, signal;
	bool ended; // and how is in end and signal
	bool agent_knows; // its process: the agent that is connected has offered it
	char reason[192]; // of the last failure; "": none
	/* Output of the console. */
	uint8_t *console; // owned: CARD_VM_CONSOLE bytes
	uint64_t console_put; // ever
	/* Input that the guest has not taken yet; at most one command is on its way with it. */
	uint8_t typed[CARD_VM_TYPED];
	unsigned n_typed;
	bool typing;
	void *type_timer; // owned: while the guest takes none
	struct {
		uint64_t starts, reboots, crashes, reconnects, console_bytes, log_lines, refused;
		uint64_t wants_held; // connections that were asked for too soon, and had to wait
	} counters;
	/* What its process said of itself last; those of a process that ended are kept. */
	struct {
		uint64_t mem_mib, exits, missed, console_lost, log_lost, refused;
	} process;
	bool counting; // it has been asked, and has not answered
};
TAILQ_HEAD(card_vm_list, card_vm);

struct card_vms {
	struct card *card; // borrowed
	struct card_vm_list list;
	unsigned n;
	int listener; // owned; -1: no agent socket
	struct event *accepting; // owned
	struct card_vm_link *agent; // owned; NULL: none
	bool agent_ready; // it has answered
	int waiting; // owned: one that comes while there is one; -1: none
	void *probe_timer; // owned: the one that there is has to answer until then
	unsigned probe_ms;
	void *count_timer; // owned
	unsigned count_ms;
	unsigned add_ms; // that a call waits for what a guest says of a function
	uint64_t displaced, sent_away; // silent ones; those that came while there was a good one
	uint64_t serial, numbers; // of operations and VMs, the last ones
	uint64_t agents; // that connected, ever
	uint64_t strangers; // guests offered that no VM is known of
	bool strangers_now; // and the agent that is connected has some
	uint64_t closed[2][CARD_VM_CLOSES]; // connections, by enum card_vm_peer and why
};

/* vm.c: the module. */
int card_vms_init(struct card *c);
void card_vms_fini(struct card *c);
int card_vms_listen(struct card *c); // once the definitions are there

struct card_vm *card_vm_find(const struct card *c, const char *name);
struct card_vm *card_vm_find_number(const struct card *c, uint64_t number);
/* Takes what conf owns. 0; -EEXIST, -ENOSPC, -ENOMEM, with e->text. */
int card_vm_create(
	struct card *c, const char *name, struct card_vm_conf *conf, struct card_error *e);
/* -EBUSY: it runs. */
int card_vm_delete(struct card *c, struct card_vm *v, struct card_error *e);
void card_vm_conf_free(struct card_vm_conf *conf);
/* What the guest's kernel is told: both, which fit by the time that there is a conf. */
void card_vm_cmdline(const struct card_vm_conf *conf, char text[HV_PROTO_CMDLINE]);
/* The VM that has this function; NULL: none. */
const struct card_vm *card_vm_of_function(const struct card *c, const char *function);

/*
 * Begin an operation; card_vm.op tells what became of it. 0; -EBUSY: another one is on its way;
 * -ENOTCONN: there is no agent, or no guest; -EALREADY: it is so.
 */
int card_vm_start(struct card_vm *v, struct card_error *e);
int card_vm_stop(struct card_vm *v, bool force, struct card_error *e);
int card_vm_step(struct card_vm *v, enum hv_type type, struct card_error *e);

/*
 * A function in a slot, or none any more; told to the guest if there is one: what that says of it
 * comes later, to card_vm.added.
 */
int card_vm_function_add(
	struct card_vm *v, unsigned slot, const char *function, struct card_error *e);
int card_vm_function_remove(struct card_vm *v, const char *function, struct card_error *e);

/*
 * Its memory from now on. A guest that runs is told to take what is more; what it says of that
 * comes later, to card_vm.added[0]. 0; -EINVAL: less than a guest that runs has, more than
 * mem_max_mib, no multiple of HV_GROW_UNIT_MIB more; -EBUSY: it starts, or has not answered the
 * last one; -ENOBUFS.
 */
int card_vm_resize(struct card_vm *v, uint64_t mem_mib, struct card_error *e);

/* 0..n bytes of input were taken, as many as there is room for. -ENOTCONN. */
int card_vm_type(struct card_vm *v, const uint8_t *bytes, size_t n, struct card_error *e);

/* ---- between vm.c, vm_again.c, vm_agent.c and vm_guest.c ---- */

void card_vm_op_end(struct card_vm *v, int ret, const char *why);
/* A start that comes to nothing: the process goes, the reason is kept. */
void card_vm_fail(struct card_vm *v, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* No process any more. */
void card_vm_stopped(struct card_vm *v);
/* What was so of a process that is no more; its images are kept. */
void card_vm_clear(struct card_vm *v);
/* Load the images if they are not there, and have a process made; it may take steps. */
void card_vm_begin(struct card_vm *v);
/* Have the process made. Without an agent: card_vm_fail(), or later if it begins anew. */
void card_vm_spawn(struct card_vm *v);
/* Its process ended as end and signal say: count that. True: CARD_VM_RESTARTING. */
bool card_vm_again(struct card_vm *v);
/* It is to stay down: nothing is kept of that it ran, or was to begin anew. */
void card_vm_again_forget(const struct card_vm *v);
/* It runs: so does a card process know that comes after this one and the agent. */
void card_vm_again_running(const struct card_vm *v);
/*
 * Those that the card process before this one had wait to begin anew do so again; those that ran
 * do if they are gone with their agent, as after a crash.
 */
void card_vm_again_restore(struct card_vms *s);
/* There is an agent: those that waited for one to begin anew do, unless it has them. */
void card_vm_agent_ready(struct card_vms *s);
/* Its socket, which is ours from now on. */
void card_vm_guest_open(struct card_vm *v, int fd);
/* Make the guest, once its images are there. */
void card_vm_guest_make(struct card_vm *v);
/* What a status of the protocol says, for people. */
const char *card_vm_status_text(enum hv_status status);
/* 0; -ENODEV, -ENOTSUP, -ENOTCONN, -ENOBUFS, -errno, logged. type: HV_ADD or HV_RECONNECT. */
int card_vm_guest_function(struct card_vm *v, unsigned slot, enum hv_type type);
/* Have it take memory, mem_mib in all. 0; -ENOBUFS, -ENOMEM. */
int card_vm_guest_grow(struct card_vm *v, uint64_t mem_mib);
/* 0; -ENOTCONN, -ENOBUFS. type: HV_AGENT_SPAWN or _KILL. */
int card_vm_agent_send(struct card_vm *v, enum hv_type type);
/* Ask for its counters, unless it is asked already or has other commands to answer first. */
void card_vm_guest_count(struct card_vm *v);
/* Send what was typed, if nothing of it is on its way. */
void card_vm_guest_type(struct card_vm *v);
void card_vm_load(struct card_vm *v);
void card_vm_images_close(struct card_vm *v);
