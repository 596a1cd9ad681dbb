// SPDX-License-Identifier: Apache-2.0
/*
 * The method that tells which flows carry most. A measurement takes as long as it is asked to, and
 * no call waits for it: the first one begins it and is told its number, later ones ask for that. It
 * goes in small steps between the control thread's other events. Whoever asks while one runs takes
 * part in it; so there is one at a time, and two results are kept however many ask.
 */
#include "rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc_schema.h"

#define KEPT 2u // measurements
#define WAIT_MIN_MS 20u // until a caller asks again

struct sample {
	struct odp_top *top; // owned; NULL: it failed, or there was none
	uint64_t number; // from 1 on
	uint64_t interval_ms;
	bool done;
};

struct card_top {
	struct event *event; // owned
	struct sample sample[KEPT]; // by number
	uint64_t last; // number; 0: none yet
	uint64_t due_ns; // the second walk begins; 0: the first has not ended
};

static struct sample *sample_of(struct card_top *t, uint64_t number)
{
	return &t->sample[number % KEPT];
}

static void end(struct sample *s, int ret)
{
	s->done = true;
	if (ret == 0)
		return;
	odp_top_destroy(s->top);
	s->top = NULL;
}

/* With 0 as well the loop looks at all other events first. */
static int step_in(struct card_top *t, uint64_t ms)
{
	struct timeval in = { .tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	return event_add(t->event, &in) ? -ENOMEM : 0;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct card_top *t = arg;
	struct sample *s = sample_of(t, t->last);
	int ret = odp_top_step(s->top);
	uint64_t in_ms = 0;

	(void)fd;
	(void)what;
	if (ret < 0 || (ret == 0 && t->due_ns)) {
		end(s, ret);
		return;
	}
	if (ret == 0) {
		in_ms = s->interval_ms;
		t->due_ns = dpu_now_ns() + in_ms * 1000000;
	}
	ret = step_in(t, in_ms);
	if (ret)
		end(s, ret);
}

static int top_get(struct card *c, struct card_top **out)
{
	struct card_top *t = c->top;

	if (!t) {
		t = dpu_calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		t->event = evtimer_new(c->loop, on_event, t);
		if (!t->event) {
			free(t);
			return -ENOMEM;
		}
		c->top = t;
	}
	*out = t;
	return 0;
}

void card_top_stop(struct card *c)
{
	struct card_top *t = c->top;

	if (!t)
		return;
	event_free(t->event);
	for (unsigned i = 0; i < KEPT; i++)
		odp_top_destroy(t->sample[i].top);
	free(t);
	c->top = NULL;
}

/* Begin a measurement, unless one runs. */
static int begin(struct card *c, struct card_top *t, uint64_t interval_ms)
{
	struct sample *s = sample_of(t, t->last + 1);
	struct odp_top *top;

	if (t->last && !sample_of(t, t->last)->done)
		return 0;
	if (odp_top_create(c->dp, &top))
		return -ENOMEM;
	odp_top_destroy(s->top);
	*s = (struct sample){ .top = top, .number = ++t->last, .interval_ms = interval_ms };
	t->due_ns = 0;
	int ret = step_in(t, 0);

	if (ret)
		end(s, ret);
	return ret;
}

/* How long until it may be there, as far as can be told. */
static uint64_t wait_ms(const struct card_top *t, const struct sample *s)
{
	uint64_t now_ns = dpu_now_ns();

	if (!t->due_ns)
		return s->interval_ms + WAIT_MIN_MS;
	return t->due_ns > now_ns ? (t->due_ns - now_ns) / 1000000 + WAIT_MIN_MS : WAIT_MIN_MS;
}

/* Flows that went meanwhile are left out. NULL: no memory. */
static json_t *flows_json(struct odp *dp, const struct sample *s, enum odp_top_by by, unsigned max)
{
	const struct odp_top_flow *f = NULL;
	unsigned n = odp_top_flows(s->top, by, &f);
	json_t *out = json_array();

	for (unsigned i = 0; out && i < n && json_array_size(out) < max; i++) {
		struct odp_flow_info info;

		if (odp_flow_get_id(dp, f[i].id, &info))
			continue;
		json_t *o = card_flow_json(dp, &info);

		if (json_object_set_new(o, "packets_per_s",
			    json_integer((json_int_t)f[i].rate[ODP_TOP_PACKETS])) ||
			json_object_set_new(o, "bytes_per_s",
				json_integer((json_int_t)f[i].rate[ODP_TOP_BYTES])) ||
			json_array_append(out, o)) {
			json_decref(out);
			out = NULL;
		}
		json_decref(o);
	}
	return out;
}

static int parse_by(const json_t *params, enum odp_top_by *by, struct card_error *e)
{
	const char *text = card_arg_str(params, "by", "packets");

	*by = !strcmp(text, "bytes") ? ODP_TOP_BYTES : ODP_TOP_PACKETS;
	if (*by == ODP_TOP_PACKETS && strcmp(text, "packets") != 0)
		return card_fail(e, -EINVAL, "by: packets or bytes");
	return 0;
}

int card_call_flow_top(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t number = card_arg_uint(params, "sample", 0);
	enum odp_top_by by;
	struct card_top *t;
	int ret = parse_by(params, &by, e);

	if (ret == 0)
		ret = top_get(c, &t);
	if (ret == 0 && !number)
		ret = begin(c, t, card_arg_uint(params, "interval_ms", 1000));
	if (ret)
		return ret;
	const struct sample *s = sample_of(t, number ? number : t->last);

	if (!s->number || (number && s->number != number))
		return card_fail(e, -ENOENT, "sample: it is not kept any more, or never was");
	if (s->done && !s->top)
		return -ENOMEM;
	*result = json_pack("{s:I, s:b, s:I}", "sample", (json_int_t)s->number, "ready",
		(int)s->done, "interval_ms", (json_int_t)s->interval_ms);
	json_t *rest = s->done ? flows_json(c->dp, s, by, (unsigned)card_arg_uint(params, "n", 10))
			       : json_integer((json_int_t)wait_ms(t, s));

	if (json_object_set_new(*result, s->done ? "flows" : "wait_ms", rest)) {
		json_decref(*result);
		*result = NULL;
		return -ENOMEM;
	}
	return 0;
}
