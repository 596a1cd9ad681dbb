/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far end of an uplink: a memif server in this process, so that any bytes can be sent as a
 * frame, and nobody needs a privilege. It takes one ring each way.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WIRE_FRAME 2048 // bytes of a frame at most

struct wire_ring {
	int fd; // owned: wakes the card; -1: none
	uint32_t off, n; // in the memory; descriptors, a power of two
	uint16_t done; // free-running: those that were sent, or taken
};

struct wire {
	int listen_fd, fd; // owned; -1: none
	uint8_t *mem; // owned: the card's, with rings and buffers
	size_t size;
	struct wire_ring out, in; // as this end sees it
};

/* Wait for the card at `path`. 0 or -errno. */
int wire_listen(struct wire *w, const char *path);
/* Until the card is there and has given its memory. 0, -EPROTO, -ETIMEDOUT. */
int wire_accept(struct wire *w, unsigned ms);
/* What the card shared is looked through for canaries. */
void wire_close(struct wire *w);
/* 0, or -EAGAIN: the card has not taken what is in the ring. */
int wire_send(struct wire *w, const void *frame, uint32_t len);
/* A frame of the card's: its length, or 0 for none. */
uint32_t wire_recv(struct wire *w, uint8_t frame[WIRE_FRAME]);
