// SPDX-License-Identifier: Apache-2.0
/* Which of the compiled packet bursts this CPU can run. */
#include "net_fast.h"

#define ISAS_MAX 4

extern const struct vho_net_fast vho_net_fast_generic;
#ifdef __x86_64__
extern const struct vho_net_fast vho_net_fast_avx2, vho_net_fast_avx512;
#endif

/* From the plainest to the best. Returns how many. */
static unsigned list(const struct vho_net_fast *out[ISAS_MAX])
{
	unsigned n = 0;

	out[n++] = &vho_net_fast_generic;
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) {
		out[n++] = &vho_net_fast_avx2;
		if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
			__builtin_cpu_supports("avx512dq"))
			out[n++] = &vho_net_fast_avx512;
	}
#endif
	return n;
}

const struct vho_net_fast *vho_net_fast_at(unsigned i)
{
	const struct vho_net_fast *have[ISAS_MAX];

	return i < list(have) ? have[i] : NULL;
}

const struct vho_net_fast *vho_net_fast_best(void)
{
	const struct vho_net_fast *have[ISAS_MAX];

	return have[list(have) - 1];
}
