/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that move a device's state to another process: "Migrating back-end state". */
#pragma once

#include "vu_session.h"

vu_handler_fn vu_set_device_state_fd, vu_check_device_state;
