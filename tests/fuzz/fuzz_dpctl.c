// SPDX-License-Identifier: Apache-2.0
/* Flows as text: whatever can be read prints as something that reads back as the same. */
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct odp *dp = datapath();
	struct odp_key k, m, k2, m2;
	struct odp_action a[8], b[8];
	char text[1024], printed[2048];
	size_t at = 0;

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (odp_key_parse(dp, text, &k, &m, &at) == 0) {
		// Only what a flow table would take is printed in full.
		if (odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL) == 0) {
			if (odp_key_format(dp, &k, &m, printed, sizeof(printed)) < 0 ||
				odp_key_parse(dp, printed, &k2, &m2, &at) < 0 ||
				memcmp(&m, &m2, sizeof(m)) != 0)
				abort();
			odp_flow_flush(dp, NULL);
		}
	} else if (at > size) {
		abort();
	}
	int n = odp_actions_parse(dp, text, a, 8, &at);

	if (n >= 0) {
		if (odp_actions_format(dp, a, (unsigned)n, printed, sizeof(printed)) < 0 ||
			odp_actions_parse(dp, printed, b, 8, &at) != n)
			abort();
	} else if (at > size) {
		abort();
	}
	return 0;
}
