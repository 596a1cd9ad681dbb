// SPDX-License-Identifier: Apache-2.0
/* The method that tells what the switch would do with a packet. */
#include "rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "odp_flow.h"
#include "rpc_schema.h"

#define FRAME_MAX 1514u

/* Pairs of digits, with spaces or colons between pairs. Bytes, or -EINVAL. */
static int parse_hex(const char *text, uint8_t out[FRAME_MAX])
{
	unsigned n = 0;

	while (*text) {
		if (*text == ' ' || *text == ':') {
			text++;
			continue;
		}
		int byte = card_hex_byte(text);

		if (byte < 0 || n == FRAME_MAX)
			return -EINVAL;
		out[n++] = (uint8_t)byte;
		text += 2;
	}
	return n ? (int)n : -EINVAL;
}

struct steps {
	json_t *out; // borrowed
	bool failed;
};

static void add_step(const struct odp_trace_line *l, void *arg)
{
	struct steps *s = arg;
	json_t *step = json_pack("{s:i, s:i, s:s, s:s}", "lookup", (int)l->depth, "nesting",
		(int)l->nesting, "step", odp_trace_step_name(l->step), "text", l->text);

	if (!step || json_array_append_new(s->out, step))
		s->failed = true;
}

/* The frame given, or the shortest one that has the key. Bytes, or a negative errno with *e. */
static int frame_of(const json_t *params, const struct odp_key *key, uint8_t out[FRAME_MAX],
	struct card_error *e)
{
	const char *hex = card_arg_str(params, "frame", NULL);
	int n = hex ? parse_hex(hex, out) : odp_compose(key, out);

	if (n < 0)
		return card_fail(e, -EINVAL,
			hex ? "frame: up to 1514 bytes in hexadecimal"
			    : "flow: there is no packet of this key");
	return n;
}

int card_call_flow_trace(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *text = card_arg_str(params, "flow", "");
	unsigned how = (card_arg_str(params, "frame", NULL) ? 0 : ODP_TRACE_COMPOSED) |
		       (card_arg_bool(params, "ct_new", false) ? ODP_TRACE_CT_NEW : 0);
	struct steps steps = { 0 };
	struct odp_key key, mask;
	uint8_t frame[FRAME_MAX];
	size_t at;
	int n, ret;

	if (odp_key_parse(c->dp, text, &key, &mask, &at))
		return card_flow_unread(text, at, e);
	if (mask.in_port != UINT32_MAX)
		return card_fail(e, -EINVAL, "flow: in_port() is required, without a mask");
	if (!odp_port_by_no(c->dp, key.in_port))
		return card_fail(e, -EINVAL, "flow: in_port: no such port: %" PRIu32, key.in_port);
	n = frame_of(params, &key, frame, e);
	if (n < 0)
		return n;
	steps.out = json_array();
	ret = steps.out ? odp_trace(c->dp, &key, frame, (size_t)n, how, add_step, &steps) : -ENOMEM;
	if (ret < 0 || steps.failed) {
		json_decref(steps.out);
		return -ENOMEM;
	}
	*result = steps.out;
	return 0;
}
