/* SPDX-License-Identifier: Apache-2.0 */
/* vdrv conformance: what the report (vdrv_conf.c) and the two kinds of function share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A negative errno is a failure. */
enum conf_result {
	CONF_PASS,
	CONF_NOT_OFFERED, // the back-end lacks the feature
	CONF_NO_CASE, // nothing to try: a size that the layout has not, a case of the other layout
};

struct conf_env {
	const char *socket, *peer; // peer: of a NIC
	bool brief; // large rings are not filled
};

/* One cell of the matrix. */
struct conf_cell {
	bool packed, indirect, event_idx, in_order;
	uint32_t size;
};

/* One row of the list below it. Layouts that it does not concern have no section. */
struct conf_row {
	const char *name;
	const char *split, *packed; // sections of VIRTIO 1.3, or NULL
	bool advice; // the specification says SHOULD
	int (*run)(const struct conf_env *env, const struct conf_row *row, bool packed);
	uint64_t more; // features that it needs
};

/* What the back-end offers. 0 or -errno. */
int conf_offered(const struct conf_env *env, uint64_t *features);

int conf_blk_cell(const struct conf_env *env, const struct conf_cell *c);
int conf_net_cell(const struct conf_env *env, const struct conf_cell *c);
int conf_blk_iommu(const struct conf_env *env, const struct conf_row *row, bool packed);
extern const struct conf_row conf_blk_rows[], conf_net_rows[]; // the end has no name
