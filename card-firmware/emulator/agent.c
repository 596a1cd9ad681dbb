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
#include "text.h"

#define LINE_MAX_LEN 4096
#define CRC_POLYNOMIAL 0xedb88320u // IEEE 802.3, reflected: what crc32 of a guest's busybox has

static uint32_t sum(struct evbuffer *in, size_t len)
{
	const unsigned char *p = evbuffer_pullup(in, (ev_ssize_t)len);
	uint32_t crc = ~0u;

	for (size_t i = 0; p && i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLYNOMIAL : 0);
	}
	return ~crc;
}

/* With the name of the boot that we know, it was asked twice, or has begun anew in that boot. */
static bool greeted(struct emu_agent *a, const char *boot, enum emu_agent_event *ev)
{
	if (a->ready && !strncmp(a->boot, boot, sizeof(a->boot) - 1)) {
		*ev = EMU_AGENT_SPOILED;
		return a->seq != 0;
	}
	emu_text(a->boot, sizeof(a->boot), "%s", boot);
	a->ready = true;
	a->seq = 0;
	*ev = EMU_AGENT_READY;
	return true;
}

/* One line of the agent's: true when it means something to the caller. */
static bool line_event(struct emu_agent *a, const char *line, enum emu_agent_event *ev)
{
	uint64_t seq, len;
	uint32_t crc;
	int status;

	if (!strncmp(line, "\001READY ", 7))
		return greeted(a, line + 7, ev);
	if (sscanf(line, "\001DONE %" SCNu64 " %d %" SCNu64 " %" SCNx32, &seq, &status, &len,
		    &crc) != 4)
		return false;
	if (len > EMU_AGENT_OUTPUT_MAX || status < 0 || status > 255)
		return false;
	a->in_body = true;
	a->body_seq = seq;
	a->body_status = status;
	a->body_len = len;
	a->body_sum = crc;
	return false;
}

/* All of an answer is there. False: it is one to a command that was given up, and dropped. */
static bool body_event(struct emu_agent *a, struct evbuffer *in, enum emu_agent_event *ev)
{
	a->in_body = false;
	if (!a->seq || a->body_seq != a->seq) {
		evbuffer_drain(in, a->body_len);
		return false;
	}
	if (sum(in, a->body_len) != a->body_sum) {
		evbuffer_drain(in, a->body_len);
		*ev = EMU_AGENT_SPOILED;
		return true;
	}
	a->seq = 0;
	*ev = EMU_AGENT_DONE;
	return true;
}

/* What comes before the agent's mark was printed by others, or is the end of what was lost. */
static const char *agents_part(struct emu_agent *a, const char *line, size_t len)
{
	const char *mark = memrchr(line, '\001', len);
	size_t n = mark ? (size_t)(mark - line) : len;

	if (a->rest && (n || !mark)) {
		evbuffer_add(a->rest, line, n);
		evbuffer_add(a->rest, "\n", 1);
	}
	return mark;
}

enum emu_agent_event emu_agent_next(
	struct emu_agent *a, struct evbuffer *in, int *status, size_t *len)
{
	for (;;) {
		enum emu_agent_event ev = EMU_AGENT_MORE;
		const char *part;
		char *line;
		size_t n;
		bool found;

		if (a->in_body) {
			if (evbuffer_get_length(in) < a->body_len)
				return EMU_AGENT_MORE;
			*status = a->body_status;
			*len = a->body_len;
			if (body_event(a, in, &ev))
				return ev;
		}
		line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
		if (!line) {
			if (evbuffer_get_length(in) > LINE_MAX_LEN)
				evbuffer_drain(in, evbuffer_get_length(in));
			return EMU_AGENT_MORE;
		}
		part = agents_part(a, line, n);
		found = part && line_event(a, part, &ev);
		free(line);
		if (found)
			return ev;
	}
}

void emu_agent_reset(struct emu_agent *a, struct evbuffer *in)
{
	emu_agent_gap(a, in);
	a->ready = false;
	a->seq = 0;
}

void emu_agent_gap(struct emu_agent *a, struct evbuffer *in)
{
	evbuffer_drain(in, evbuffer_get_length(in));
	a->in_body = false;
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
	size_t len = strlen(command);

	a->seq = ++a->last_seq;
	if (evbuffer_add_printf(out, "%" PRIu64 " %u %zu ", a->seq, limit_s, DPU_BASE64_LEN(len)) <
		0)
		return -ENOMEM;
	put_base64(out, command, len);
	return evbuffer_add(out, "\n", 1) < 0 ? -ENOMEM : 0;
}
