/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a postcopy migration's destination: "Migration", "Memory access". */
#pragma once

#include "vu_session.h"

vu_handler_fn vu_postcopy_advise, vu_postcopy_listen, vu_postcopy_end;

/*
 * What handles a message that says no more than that the front-end knows the bases that
 * SET_MEM_TABLE or ADD_MEM_REG answered; NULL: it is not one.
 */
const struct vu_handler *vu_postcopy_ack(const struct vu_session *s, const struct vu_msg *m);

/*
 * `mem` is the memory table from now on; fds[i] belongs to the region at gpas[i], and regions that
 * are there already need none. Outside postcopy that is all. In postcopy each of the message's
 * regions is answered with where its faults will come from. Takes the caller's reference of mem, if
 * all goes well.
 */
int vu_postcopy_set_mem(struct vu_session *s, struct vu_msg *m, struct vho_mem *mem,
	struct vu_region *regions, unsigned n);
