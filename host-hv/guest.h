/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "machine.h"

/*
 * All that a guest's process does: obey the card on HV_JAIL_FD, shut itself in once the guest is
 * made, until the guest ends, the card says so, or nobody is left who could say anything. Called by
 * a process of hv_sandbox_spawn() with nothing else open. How it ended, which is to be its exit
 * status: HV_END_ERROR when it could not even begin. Main thread.
 */
enum hv_end hv_guest_run(void);
