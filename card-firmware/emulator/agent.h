/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host side of the agent in a lab guest (tests/lab/guest-init): what arrives on the guest's second
 * serial port, taken apart. The guest is not trusted: every length is bounded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;

#define EMU_AGENT_OUTPUT_MAX (16u << 20)

struct emu_agent {
	uint64_t seq; // of the command that runs, 0: none
	uint64_t last_seq; // never used again, so that an old answer fits no new command
	bool ready; // the agent has greeted since the last reset
	bool in_body;
	uint64_t body_seq;
	int body_status;
	size_t body_len;
};

enum emu_agent_event {
	EMU_AGENT_MORE, // wait for more bytes
	EMU_AGENT_READY, // the guest has come up
	EMU_AGENT_DONE, // status and len of output are set; the caller drains `len` bytes
};

/* Look at what is in `in`; call again until EMU_AGENT_MORE. */
enum emu_agent_event emu_agent_next(
	struct emu_agent *a, struct evbuffer *in, int *status, size_t *len);

/* The guest was reset: forget what was in flight and what has arrived. */
void emu_agent_reset(struct emu_agent *a, struct evbuffer *in);

/* Write a request for `command` to `out` with the next sequence number. 0 or -ENOMEM. */
int emu_agent_request(
	struct emu_agent *a, struct evbuffer *out, const char *command, unsigned limit_s);
