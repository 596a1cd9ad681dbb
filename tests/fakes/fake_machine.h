/* SPDX-License-Identifier: Apache-2.0 */
/* A guest without KVM: counts what it is told, and does what a test says. One at a time. */
#pragma once

#include "machine.h"

struct fake_machine {
	unsigned alive; // machines that there are
	unsigned created, started, paused, resumed, stopped, power, removed, added, reconnected;
	struct hv_conf conf; // of the last one
	int ret; // of the next call that can fail
	uint64_t memory_mib; // that was added
	uint32_t present, wanting;
	enum hv_kind kind[HV_PROTO_SLOTS];
	uint8_t typed[64]; // its console takes so many bytes
	unsigned n_typed;
	/* What hv_machine_turn() does: fake_machine_wake() makes one happen. */
	enum hv_end end;
	uint32_t wants;
	void (*on_start)(void);
};

extern struct fake_machine fake_machine;

void fake_machine_reset(void);
void fake_machine_wake(void);
/* As a vCPU would: from any thread. */
void fake_machine_print(const uint8_t *bytes, unsigned len);
int fake_machine_confine(void);
