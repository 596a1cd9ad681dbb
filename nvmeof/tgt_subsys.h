/* SPDX-License-Identifier: Apache-2.0 */
/* Subsystems, and what is configured of them. The control thread. Private to the target. */
#pragma once

#include "tgt.h"

/* 0, -EINVAL, -EEXIST, -ENOSPC, -ENOMEM. */
int tgt_subsys_create(
	struct nof_tgt *t, const struct nof_tgt_subsys_conf *conf, struct nof_tgt_subsys **out);
/* No controller of it is left. Its namespaces' volumes are free if nothing is in flight. */
void tgt_subsys_free(struct nof_tgt_subsys *sub);
/* End every association with it. */
void tgt_subsys_end(struct nof_tgt_subsys *sub);
/* All listeners go. */
void tgt_subsys_unlisten(struct nof_tgt_subsys *sub);
