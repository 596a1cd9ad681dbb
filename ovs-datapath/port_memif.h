/* SPDX-License-Identifier: Apache-2.0 */
/* What DPDK's memif driver leaves to its user. */
#pragma once

#include <stdbool.h>

/* The end that connects. It does so when its device starts, and never again by itself. */
bool odp_memif_is_client(const char *devargs);

/*
 * Remove the socket file of a server that was killed, on which the next one could not listen. Does
 * nothing when somebody listens there, and for any other device.
 */
void odp_memif_clear_socket(const char *devargs);
