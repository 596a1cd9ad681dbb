/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The card's end of one connection of hv_proto.h: to the agent, or to a guest's process. Whoever is
 * at the other end is hostile: each record is judged before anybody sees it, what is wrong closes
 * the connection, what is kept of it is bounded, and nothing here waits. What the records travel
 * over is of this file alone: a Unix socket now. Control thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv_proto.h"

#define CARD_VM_LINK_QUEUE 64 // commands without an answer
#define CARD_VM_RECORD_MAX sizeof(struct hv_rec_bytes) // the longest that comes to the card

struct event_base;
struct card_vm_link;

enum card_vm_peer { CARD_VM_AGENT, CARD_VM_GUEST };

/* Why a connection was closed. */
enum card_vm_close {
	CARD_VM_GONE, // by the other side
	CARD_VM_BAD_HEADER,
	CARD_VM_BAD_TYPE,
	CARD_VM_BAD_LENGTH,
	CARD_VM_BAD_FDS,
	CARD_VM_BAD_SEQUENCE, // an event left out, or an answer to what was not asked
	CARD_VM_BAD_FIELD,
	CARD_VM_SILENT, // no answer in time
	CARD_VM_CLOSES,
};
const char *card_vm_close_name(enum card_vm_close why); // one word
const char *card_vm_close_text(enum card_vm_close why); // for people

/* A record that passed: of the one length of its type. */
struct card_vm_record {
	enum hv_type type;
	size_t len;
	uint8_t bytes[CARD_VM_RECORD_MAX];
	int fd; // HV_EV_GUEST: owned, unless set to -1; else -1
	uint64_t cookie; // of an answer: the command's
	enum hv_type asked; // of an answer: what it answers
};

struct card_vm_link_ops {
	/* False: a value in it is none, the connection is closed. May not close the link itself. */
	bool (*record)(void *arg, struct card_vm_record *r);
	void (*closed)(void *arg, enum card_vm_close why); // last; the link is freed behind it
};

/*
 * fd: connected, owned from now on, also on failure. Begins the conversation; what is left in it of
 * an earlier one is passed over. 0, -ENOMEM, -errno.
 */
int card_vm_link_open(struct event_base *base, int fd, enum card_vm_peer peer,
	const struct card_vm_link_ops *ops, void *arg, struct card_vm_link **out);

/*
 * Send a command when there is room; rec begins with room for the header. fds, n of them, are owned
 * from now on, also on failure. 0, -ENOBUFS (too many without an answer), -ENOMEM.
 */
int card_vm_link_send(struct card_vm_link *l, enum hv_type type, uint64_t cookie, const void *rec,
	size_t len, const int *fds, unsigned n);

/*
 * Take what is left of a process that has ended; ops are told of that, and perhaps that the link is
 * closed, which frees it. NULL: nothing.
 */
void card_vm_link_drain(struct card_vm_link *l);

/* Without a word to ops. NULL: nothing. */
void card_vm_link_close(struct card_vm_link *l);

/* What is the next connection of a listening socket: its peer must be root or of our user. */
int card_vm_accept(int listener);
/* Listen at a path. A descriptor or -errno; -EADDRINUSE: somebody living listens there. */
int card_vm_listen(const char *path);
