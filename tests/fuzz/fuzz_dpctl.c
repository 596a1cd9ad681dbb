// SPDX-License-Identifier: Apache-2.0
/*
 * Flows and tuples of connections as text: whatever flow can be read prints as something that reads
 * back as the same.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "odp_ct.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct odp *datapath(void)
{
	static struct odp *dp;
	static struct fake_port port;
	struct odp_conf conf = { .n_workers = 1 };

	if (dp)
		return dp;
	conf.pool = fake_eal(255);
	if (odp_create(&conf, &dp) < 0)
		abort();
	fake_port_add(&port, dp, NULL, "p1");
	return dp;
}

/* A tuple that can be read matches itself, and the place of an error is in the text. */
static void check_tuple(const char *text, size_t size)
{
	struct odp_ct_match m;
	size_t at = 0;
	int ret = odp_ct_match_parse(text, &m, &at);

	if (at > size || (ret == 0 && !odp_ct_match(&m, &m.key)))
		abort();
}

/* What of two keys is matched. */
static bool same(const struct odp_key *a, const struct odp_key *b, const struct odp_key *mask)
{
	const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
	const uint8_t *m = (const uint8_t *)mask;
	uint8_t diff = 0;

	for (size_t i = 0; i < sizeof(*mask); i++)
		diff |= (uint8_t)((x[i] ^ y[i]) & m[i]);
	return diff == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct odp *dp = datapath();
	struct odp_key k, m, k2, m2;
	static struct odp_actbuf a, b;
	char text[1024], printed[16384];
	size_t at = 0;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (odp_key_parse(dp, text, &k, &m, &at) == 0) {
		// Only what a flow table would take is printed in full.
		if (odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL) == 0) {
			if (odp_key_format(dp, &k, &m, ODP_PORTS_BY_NUMBER, printed,
				    sizeof(printed)) < 0 ||
				odp_key_parse(dp, printed, &k2, &m2, &at) < 0 ||
				memcmp(&m, &m2, sizeof(m)) != 0 || !same(&k, &k2, &m))
				abort();
			odp_flow_flush(dp, NULL);
		}
	} else if (at > size) {
		abort();
	}
	if (odp_actions_parse(dp, text, &a, &at) == 0) {
		if (odp_actions_format(dp, odp_actbuf_list(&a), a.len, ODP_PORTS_BY_NUMBER, printed,
			    sizeof(printed)) < 0 ||
			odp_actions_parse(dp, printed, &b, &at) < 0 || a.len != b.len ||
			(a.len > 0 && memcmp(a.mem, b.mem, a.len) != 0))
			abort();
	} else if (at > size) {
		abort();
	}
	check_tuple(text, size);
	return 0;
}
