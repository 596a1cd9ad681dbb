/* SPDX-License-Identifier: Apache-2.0 */
/* What the test guest and the program that runs it agree on. */
#pragma once

#include <stdint.h>

#define GUEST_ENTRY 0x100000
#define GUEST_PARAMS 0x80000
#define GUEST_MEM 0x2000000ul // 32 MiB
#define GUEST_ECAM 0xe0000000ul
#define GUEST_EVENTS 0xe0100000ul // host-hv/power.h
#define GUEST_PCI_UP 0x04
#define GUEST_PCI_DOWN 0x08
#define GUEST_PCI_EJECT 0x0c
#define GUEST_BARS 0xc0000000ul // 32-bit window
#define GUEST_BARS_LEN 0x20000000ul

/* One byte to a port: the guest ends with that code; or a mark. */
#define GUEST_PORT_CONSOLE 0x3f8
#define GUEST_PORT_EXIT 0xf4
#define GUEST_PORT_MARK 0xf5

enum guest_mark {
	MARK_BEGIN = 1, // nothing leaves KVM from here on
	MARK_END, // to here
	MARK_RESTART, // let the card go and come back, and say so in params
	MARK_RESTARTED, // the end of that
	MARK_RESIZED, // the configuration space is another than before
};

struct guest_params {
	uint32_t packed; // ring layout
	uint32_t requests; // of the measured phase; 0: disks that come and go, for ever
	uint32_t restart; // is there such a phase?
	volatile uint32_t restarted; // the host's answer
	uint32_t functions; // how many there must be
	/* What the guest tells. */
	volatile uint32_t line; // of guest.c, where it gave up
	volatile uint64_t value; // what it saw there
	volatile uint64_t done_blk, done_net, resent;
};
