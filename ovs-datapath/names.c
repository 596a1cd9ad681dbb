// SPDX-License-Identifier: Apache-2.0
/* Drop reasons and stages by name and as text. */
#include "odp_port.h"

#include <stddef.h>

static const struct {
	const char *name, *text;
} drops[ODP_DROP_COUNT] = {
#define X(name, text) [ODP_DROP_##name] = { #name, text },
	ODP_DROPS(X)
#undef X
};

const char *odp_drop_name(enum odp_drop d)
{
	return (unsigned)d < ODP_DROP_COUNT ? drops[d].name : "?";
}

const char *odp_drop_text(enum odp_drop d)
{
	return (unsigned)d < ODP_DROP_COUNT ? drops[d].text : "?";
}

const char *odp_stage_counter(enum odp_stage s)
{
	static const char *const names[ODP_STAGE_COUNT] = {
#define X(name, counter, text) [ODP_STAGE_##name] = (counter),
		ODP_STAGES(X)
#undef X
	};

	return (unsigned)s < ODP_STAGE_COUNT ? names[s] : "?";
}
