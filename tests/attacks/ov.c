// SPDX-License-Identifier: Apache-2.0
/* Flows and frames of the rows about the switch. */
#include "ov.h"

#include <stdio.h>
#include <stdlib.h>

#include "dpu_clock.h"

int ov_flow_add(struct atk_env *e, const char *flow, const char *actions)
{
	char *text;
	int ret = -ENOMEM;

	if (asprintf(&text, "{\"flow\": \"%s\", \"actions\": \"%s\"}", flow, actions) < 0)
		return ret;
	ret = atk_daemon_rpc(e->d, "flow_add", text);
	free(text);
	return ret;
}

int ov_with(struct atk_env *e, const struct ov_policy *flows, unsigned n,
	int (*fn)(struct atk_env *e, struct atk_pair *p))
{
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_announce(e, &p);
	for (unsigned i = 0; !ret && i < n; i++)
		if (ov_flow_add(e, flows[i].flow, flows[i].actions))
			ret = atk_fail(e, "no flow %s", flows[i].flow);
	if (!ret)
		ret = atk_pair_marker(e, &p, NULL);
	if (!ret)
		ret = fn(e, &p);
	if (!ret)
		ret = atk_pair_marker(e, &p, NULL);
	atk_pair_close(&p);
	atk_daemon_rpc(e->d, "flow_flush", "{}");
	atk_daemon_rpc(e->d, "mac_flush", "{\"port\": \"" ATK_NET "\"}");
	return ret;
}

int ov_send(struct atk_env *e, struct atk_pair *p, const struct pkt *k)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;

	while (drv_net_send(&p->a, 0, NULL, k->f, k->len)) {
		drv_net_flush(&p->a, 0);
		ATK_CHECK(e, dpu_now_ns() < end, "transmit ring full");
	}
	return 0;
}

void ov_drain(struct atk_pair *p)
{
	uint8_t frame[2048];

	while (drv_net_recv(&p->b, 0, NULL, frame, sizeof(frame)) != 0)
		;
}

int ov_passed(struct atk_env *e, struct atk_pair *p, unsigned *n)
{
	unsigned some = 0;
	int ret = 0;

	*n = 0;
	/*
	 * The second marker's turn comes behind the end of the first one's, where control is told.
	 * Of two questions the first may have been read in one round with that. What control sends
	 * goes out behind what a worker receives in the same turn.
	 */
	for (unsigned i = 0; !ret && i < 4; i++) {
		ret = atk_pair_marker(e, p, &some);
		*n += some;
		for (unsigned k = 0; !ret && i < 2 && k < 2; k++)
			if (atk_daemon_rpc(e->d, "mac_list", "{}"))
				ret = atk_fail(e, "no answer");
	}
	return ret;
}

int ov_expect(struct atk_env *e, struct atk_pair *p, const char *what, unsigned want,
	void (*make)(struct pkt *k, unsigned i), unsigned n)
{
	unsigned got = 0, sum = 0;
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < n; i++) {
		make(&k, i);
		ret = ov_send(e, p, &k);
		if (!ret && (i % 64 == 63 || i == n - 1)) { // the peer's ring has 256 buffers
			ret = ov_passed(e, p, &got);
			sum += got;
		}
	}
	if (ret)
		return ret;
	ATK_CHECK(e, sum == want, "%s: %u of %u frames passed, not %u", what, sum, n, want);
	return 0;
}

unsigned long ov_counter(struct atk_env *e, const char *object, const char *name)
{
	char *reply, quoted[32];
	unsigned long n = 0;
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	if (!atk_daemon_ask(e->d, "stats_get", object, &reply)) {
		at = strstr(reply, quoted);
		if (at)
			n = strtoul(at + strlen(quoted) + 1, NULL, 10);
	}
	free(reply);
	return n;
}

/* Packets of the attacker's that were dropped for a reason so far. */
static unsigned long drops(struct atk_env *e, const char *reason)
{
	return ov_counter(e, "{\"object\": \"port\", \"name\": \"" ATK_NET "\"}", reason);
}

int ov_malformed(struct atk_env *e, struct atk_pair *p, const char *what,
	void (*make)(struct pkt *k, unsigned i), unsigned n)
{
	unsigned long was = drops(e, "MALFORMED"), now;
	int ret = ov_expect(e, p, what, 0, make, n);

	if (ret)
		return ret;
	now = drops(e, "MALFORMED");
	ATK_CHECK(e, now - was == n, "%s: %lu of %u counted as malformed", what, now - was, n);
	return 0;
}
