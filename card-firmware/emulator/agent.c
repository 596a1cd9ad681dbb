// SPDX-License-Identifier: Apache-2.0
/* Frames of the guest agent: parsing and writing. */
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "dpu_base64.h"

#define LINE_MAX_LEN 4096

/* One line: true when it means something to the caller. */
static bool line_event(struct emu_agent *a, const char *line, enum emu_agent_event *ev)
{
	uint64_t seq, len;
	int status;

	if (!strncmp(line, "\001READY ", 7)) {
		a->ready = true;
		a->seq = 0;
		*ev = EMU_AGENT_READY;
		return true;
	}
	if (sscanf(line, "\001DONE %" SCNu64 " %d %" SCNu64, &seq, &status, &len) != 3)
		return false;
	if (len > EMU_AGENT_OUTPUT_MAX || status < 0 || status > 255)
		return false;
	a->in_body = true;
	a->body_seq = seq;
	a->body_status = status;
	a->body_len = len;
	return false;
}

enum emu_agent_event emu_agent_next(
	struct emu_agent *a, struct evbuffer *in, int *status, size_t *len)
{
	for (;;) {
		enum emu_agent_event ev = EMU_AGENT_MORE;
		char *line;
		bool found;

		if (a->in_body) {
			if (evbuffer_get_length(in) < a->body_len)
				return EMU_AGENT_MORE;
			a->in_body = false;
			if (a->seq && a->body_seq == a->seq) {
				a->seq = 0;
				*status = a->body_status;
				*len = a->body_len;
				return EMU_AGENT_DONE;
			}
			evbuffer_drain(in, a->body_len); // of a command that was given up
		}
		line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF);
		if (!line) {
			if (evbuffer_get_length(in) > LINE_MAX_LEN)
				evbuffer_drain(in, evbuffer_get_length(in));
			return EMU_AGENT_MORE;
		}
		found = line_event(a, line, &ev);
		free(line);
		if (found)
			return ev;
	}
}

void emu_agent_reset(struct emu_agent *a, struct evbuffer *in)
{
	evbuffer_drain(in, evbuffer_get_length(in));
	a->ready = false;
	a->in_body = false;
	a->seq = 0;
}

#define PIECE 48u // bytes; a multiple of three, so that pieces put together are the whole

static void put_base64(struct evbuffer *out, const char *p, size_t n)
{
	char text[DPU_BASE64_LEN(PIECE) + 1];

	for (size_t i = 0; i < n; i += PIECE) {
		size_t len = n - i < PIECE ? n - i : PIECE;

		dpu_base64(p + i, len, text);
		evbuffer_add(out, text, DPU_BASE64_LEN(len));
	}
}

int emu_agent_request(
	struct emu_agent *a, struct evbuffer *out, const char *command, unsigned limit_s)
{
	a->seq = ++a->last_seq;
	if (evbuffer_add_printf(out, "%" PRIu64 " %u ", a->seq, limit_s) < 0)
		return -ENOMEM;
	put_base64(out, command, strlen(command));
	return evbuffer_add(out, "\n", 1) < 0 ? -ENOMEM : 0;
}
