// SPDX-License-Identifier: Apache-2.0
/* What packets came through, remembered by the fused path: who makes room for whom. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "fused_priv.h"

#define KEYS 4096u

static struct odp_key_tnl tunnel(uint32_t no)
{
	struct odp_key_tnl t = { .family = 4 };

	memcpy(&t.ipv4, &no, sizeof(no));
	return t;
}

/* One set's tunnels, FUSED_OUTER_WAYS of them, and as many that have nothing to do with it. */
static void pick(struct odp_fused *t, const struct odp_view *v, uint32_t in[FUSED_OUTER_WAYS],
	uint32_t off[FUSED_OUTER_WAYS])
{
	unsigned n_in = 0, n_off = 0;

	for (uint32_t no = 0; no < KEYS && (n_in < FUSED_OUTER_WAYS || n_off < FUSED_OUTER_WAYS);
		no++) {
		struct odp_key_tnl key = tunnel(no);
		uint64_t id = odp_fused_outer(t, v, 1, &key, true);
		unsigned at = 0;

		while (t->outer[at].id != id)
			at++;
		if (at < FUSED_OUTER_WAYS && n_in < FUSED_OUTER_WAYS)
			in[n_in++] = no;
		else if (at >= FUSED_OUTER_WAYS && n_off < FUSED_OUTER_WAYS)
			off[n_off++] = no;
	}
	assert_int_equal(n_in, FUSED_OUTER_WAYS);
	assert_int_equal(n_off, FUSED_OUTER_WAYS);
}

/* What masks of before have left goes first; only then one of those that are found. */
static void a_new_one_takes_an_old_place(void **state)
{
	static struct odp_view v = { .map = ODP_KEY_TNL_BITS,
		.seed = { 0x243f6a8885a308d3, 0x9e3779b97f4a7c15 } };
	struct odp_fused *t = odp_fused_create(1);
	uint32_t in[FUSED_OUTER_WAYS], off[FUSED_OUTER_WAYS];
	uint64_t id[FUSED_OUTER_WAYS];

	(void)state;
	assert_non_null(t);
	memset(&v.any, 0xff, sizeof(v.any));
	t->view_gen = 1;
	pick(t, &v, in, off);
	t->view_gen = 3;
	for (unsigned i = 0; i < FUSED_OUTER_WAYS; i++) {
		struct odp_key_tnl key = tunnel(in[i]);

		assert_int_equal(odp_fused_outer(t, &v, 1, &key, false), 0);
		id[i] = odp_fused_outer(t, &v, 1, &key, true);
		for (unsigned k = 0; k + 1 < FUSED_OUTER_WAYS; k++) {
			struct odp_key_tnl other = tunnel(off[k]);

			t->view_gen++; // so that it is new each time
			assert_true(odp_fused_outer(t, &v, 1, &other, true) != 0);
			t->view_gen--;
		}
	}
	for (unsigned i = 0; i < FUSED_OUTER_WAYS; i++) {
		struct odp_key_tnl key = tunnel(in[i]);

		assert_int_equal(odp_fused_outer(t, &v, 1, &key, false), id[i]);
	}
	odp_fused_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_new_one_takes_an_old_place) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
