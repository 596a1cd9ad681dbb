/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire of a memif device.
 *
 * DPDK's driver unmaps the shared memory in its own thread the moment its socket closes, whoever is
 * inside a receive or transmit call, and its client end connects only when the device starts. So
 * the driver never talks to the peer itself: its socket ends here, and what the two say to each
 * other is passed on while they connect. After that nothing is passed on; when the peer says
 * anything more or goes away, the workers leave the device first, and then the driver is told.
 *
 * The socket between driver and wire lies in a folder that no other user can enter: whoever spoke
 * to the driver would get the peer's memory, and a listening driver believes everybody. A client's
 * wire takes nobody but this process besides. The folder is made in $TMPDIR (/tmp) and removed when
 * the device is closed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct odp_memif;

/*
 * For a memif device: its wire, with the arguments that the driver is to have in `out`. *wire is
 * NULL for any other device. 0, -EINVAL (arguments), or the error of making a folder or a socket,
 * of which -EADDRINUSE says that another server has the peers' name.
 */
int odp_memif_open(const char *devargs, char *out, size_t size, struct odp_memif **wire);
void odp_memif_close(struct odp_memif *wire);

/* A peer is there to connect to (now it is connected to us); false: not now. */
bool odp_memif_reach(struct odp_memif *wire);
/* Start the driver at `port_id` on the connection and pass messages on until the link is up. */
bool odp_memif_join(struct odp_memif *wire, uint16_t port_id);
/* The peer is silent, as it should be. */
bool odp_memif_alive(const struct odp_memif *wire);
/* Let go of the peer and stop the driver; no worker is inside. */
void odp_memif_part(struct odp_memif *wire, uint16_t port_id);
