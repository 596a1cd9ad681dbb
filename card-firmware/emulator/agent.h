/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host side of the agent in a lab guest (tests/lab/guest-init): what arrives on the serial port
 * that it serves, taken apart. The port may be the guest's console, too, and one whose reader was
 * away for a while, so that bytes are missing: answers have a sum, and can be asked for again.
 * The guest is not trusted: every length is bounded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;

#define EMU_AGENT_OUTPUT_MAX (16u << 20)
#define EMU_AGENT_BOOT_SIZE 40

struct emu_agent {
	uint64_t seq; // of the command that runs, 0: none
	uint64_t last_seq; // never used again, so that an old answer fits no new command
	bool ready; // the agent has greeted since the last reset
	char boot[EMU_AGENT_BOOT_SIZE]; // what it greeted with last: another one for each boot
	bool in_body;
	uint64_t body_seq;
	int body_status;
	size_t body_len;
	uint32_t body_sum;
	struct evbuffer *rest; // borrowed: gets the lines that are none of the agent's; NULL: lost
};

enum emu_agent_event {
	EMU_AGENT_MORE, // wait for more bytes
	EMU_AGENT_READY, // the guest has come up, for the first time or once more
	EMU_AGENT_DONE, // status and len of output are set; the caller drains `len` bytes
	EMU_AGENT_SPOILED, // there will be no answer, or it is not what the guest sent: ask again
};

/* Look at what is in `in`; call again until EMU_AGENT_MORE. */
enum emu_agent_event emu_agent_next(
	struct emu_agent *a, struct evbuffer *in, int *status, size_t *len);

/* The guest was reset: forget what was in flight and what has arrived. */
void emu_agent_reset(struct emu_agent *a, struct evbuffer *in);

/* Bytes are missing after what has arrived: a line or an answer that has begun is worth nothing. */
void emu_agent_gap(struct emu_agent *a, struct evbuffer *in);

/* Write a request for `command` to `out` with the next sequence number. 0 or -ENOMEM. */
int emu_agent_request(
	struct emu_agent *a, struct evbuffer *out, const char *command, unsigned limit_s);
