/* SPDX-License-Identifier: Apache-2.0 */
/* One guest: what the card's commands do to it. Main thread, but for what is said otherwise. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv_proto.h"

struct hv_pci;
struct hv_vm;

#define HV_VCPUS_MAX 64
#define HV_CMDLINE_MAX 2047 // bytes; the least that Linux' boot protocol promises from 2.06 on

enum hv_state {
	HV_CREATED, // memory, CPUs and functions are there; no instruction has run
	HV_RUNNING,
	HV_PAUSED,
	HV_ENDED,
};

enum hv_end {
	HV_END_NONE,
	HV_END_OFF, // the guest powered itself off
	HV_END_REBOOT, // it asked for a reset; the agent starts it again
	HV_END_SHUTDOWN, // triple fault
	HV_END_STOPPED, // the card said so
	HV_END_ERROR, // KVM could not go on
};

struct hv_conf {
	uint64_t mem_mib;
	uint64_t grow_mib; // that hv_machine_add_memory() may add
	unsigned vcpus;
	bool hugepages; // memory of 2 MiB pages or none
	bool split_irqchip;
	unsigned cpu_template; // of cpuid.h
	bool flat; // the kernel is a flat program for user mode, which may end with a code
	int kernel_fd, initrd_fd; // borrowed until it is created: plain files; initrd -1: none
	char cmdline[HV_CMDLINE_MAX + 1];
	int16_t pin[HV_VCPUS_MAX]; // CPU of each vCPU, -1: none
	int (*confine)(void); // on each vCPU's thread before any runs: not 0, none does; NULL: none
};

/* Told from hv_machine_turn(), but for the console. */
struct hv_machine_events {
	void (*ended)(void *arg, enum hv_end why);
	void (*console)(void *arg, const uint8_t *bytes, unsigned len); // any vCPU's thread
	void (*want)(void *arg, unsigned slot); // the function's connection is gone
	void (*functions)(void *arg); // one is gone; NULL: nobody asks
};

#define HV_PORT_EXIT 0xf4 // of flat programs: a byte written here ends the guest with that code

struct hv_machine_counters {
	uint64_t exits; // returns of KVM_RUN
	uint64_t missed; // accesses that no device answered
};

struct hv_machine;

/*
 * What it makes is HV_CREATED. 0, -EINVAL (conf), -ENOEXEC (image: what is wrong with it is
 * logged), -ENOTSUP (the host lacks what the template promises), or errors of KVM and memory.
 * Every vCPU's thread is there when it returns, and waits to be started: the jail that is closed
 * after that lets nobody make threads.
 */
int hv_machine_create(const struct hv_conf *conf, const struct hv_machine_events *ev, void *arg,
	struct hv_machine **out);
void hv_machine_destroy(struct hv_machine *m);

/* 0, -EALREADY, -EINVAL in a state that has no such step, of start also what confine() returned. */
int hv_machine_start(struct hv_machine *m);
int hv_machine_pause(struct hv_machine *m); // no instruction runs once this has returned
int hv_machine_resume(struct hv_machine *m);
int hv_machine_stop(struct hv_machine *m);
int hv_machine_power_button(struct hv_machine *m);
enum hv_state hv_machine_state(const struct hv_machine *m); // any thread

/*
 * A descriptor for poll(2), borrowed: readable when hv_machine_turn() has something to do, which
 * never waits.
 */
int hv_machine_fd(const struct hv_machine *m);
void hv_machine_turn(struct hv_machine *m);

/*
 * A function of the card in a slot of PCI's bus, 1 to 31; fd is a connected vhost-user socket and
 * is taken on success. The guest finds it as soon as the card has said what it is, which this does
 * not wait for; a guest that is started meanwhile does. 0, -EEXIST (slot taken), -EINVAL (no such
 * slot or kind), or why it cannot be set up. Once add has returned 0 a card that goes away makes
 * the guest wait, never fail; a new connection ends that. One that turns out to be none that can be
 * shown is gone again, which is logged. Nothing comes of it for a guest that has ended.
 *
 * A guest that has run is asked to let go of what is removed, and is not waited for either: called
 * again it is not asked any more.
 */
int hv_machine_add(struct hv_machine *m, unsigned slot, enum hv_kind kind, int fd);
int hv_machine_reconnect(struct hv_machine *m, unsigned slot, int fd); // -ENOENT: slot empty
int hv_machine_remove(struct hv_machine *m, unsigned slot); // -ENOENT: slot empty

/*
 * More memory, of what hv_conf left room for. The guest is told of it (ACPI, memory device) once
 * the functions that it uses know of it, which this does not wait for. 0, or what
 * hv_vm_add_memory() returns.
 */
int hv_machine_add_memory(struct hv_machine *m, uint64_t mib);

/* Bits by slot: what there is, and what of it waits for a connection. */
void hv_machine_functions(const struct hv_machine *m, uint32_t *present, uint32_t *wanting);

int hv_machine_exit_code(const struct hv_machine *m); // a flat program's, or 0

/* What tests look at: borrowed, as long as the machine is. */
struct hv_vm *hv_machine_vm(struct hv_machine *m);
struct hv_pci *hv_machine_pci(struct hv_machine *m);

/*
 * Bytes typed at the console. How many were taken: 0..len; once the guest has made room for others
 * hv_machine_turn() has something to do.
 */
unsigned hv_machine_console_input(struct hv_machine *m, const uint8_t *bytes, unsigned len);
void hv_machine_counters(const struct hv_machine *m, struct hv_machine_counters *out);
