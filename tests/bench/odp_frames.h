/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the switch's load: many UDP flows, TCP connections that are up, and the steps in
 * which connections begin and end. A frame is written over the one that arrived. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FRAME_LEN 64
#define FRAME_STAMP 54 // behind the longest packet: 8 bytes of padding for a time

enum frame_port { FRAME_A, FRAME_B, FRAME_UPLINK, FRAME_PORTS };

/* What a port sends when a frame has arrived there. */
enum frame_kind {
	FRAME_FLOWS, // the next of n UDP flows
	FRAME_CONNS, // an acknowledgement of the next of n connections
	FRAME_SETUP, // the next step of a connection's beginning; at last, a begins another
	FRAME_SHORT, // the same, and the connection ends
};

struct frame_gen {
	enum frame_kind kind;
	uint32_t n; // flows or connections; SETUP and SHORT: where to stop
	uint32_t next[2]; // of port a and b; SETUP and SHORT: [0] the next connection
	uint64_t done; // connections that went through all their steps
	uint32_t opened; // by SETUP, in all
	uint64_t encapsulated; // what came to the uplink in VXLAN or Geneve, in all
};

/* Begin with the first flow; SETUP behind what it opened before, SHORT where it stood. */
void frame_gen_start(struct frame_gen *g, enum frame_kind kind, uint32_t n);
/* The first frame of a port at `f` (FRAME_LEN bytes). False: none is to be sent from there. */
bool frame_first(struct frame_gen *g, enum frame_port p, uint8_t *f);
/*
 * Frame i of one who wants as many masks as there can be, where only UDP from 10.99.0.1, from port
 * 12345 or to port 80 is allowed: FRAME_MASKS packets in turn differ from these first in another
 * combination of bits each, and behind those bits in whatever comes.
 */
#define FRAME_MASKS (32 * 16 * 16)
void frame_attack(uint32_t i, uint8_t *f);
/* What arrived at the port becomes what it sends next. False: there is nothing left to send. */
bool frame_next(struct frame_gen *g, enum frame_port p, uint8_t *f);
