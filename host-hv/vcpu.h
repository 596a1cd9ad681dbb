/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual CPU: a thread that runs it, and hands what leaves KVM to the bus. Others tell the
 * thread to park or to end; it does so within the guest's next instruction.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bus.h"
#include "vm.h"

struct kvm_run;

enum hv_vcpu_end {
	HV_VCPU_TOLD, // by hv_vcpu_end()
	HV_VCPU_SHUTDOWN, // triple fault
	HV_VCPU_ERROR, // KVM could not go on: `err` and `reason`
};

struct hv_vcpu {
	/* Fixed from hv_vcpu_init() on. */
	unsigned id;
	int fd; // owned
	struct kvm_run *run; // owned mapping
	size_t run_size; // bytes
	struct hv_bus *ports; // borrowed: outlives the thread
	int pin; // CPU, or -1
	int (*confine)(void); // on its thread: hv_vcpu_confine(); NULL: it has nothing to do
	void (*ended)(void *arg, struct hv_vcpu *vcpu, enum hv_vcpu_end why); // on its thread
	void *arg;

	/* lock: how others and the thread meet. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool park, confined_due, end; // told
	bool parked, confined, gone; // and done
	bool started;
	pthread_t thread;
	pid_t pid, tid; // tid 0: it has not begun, or has ended

	int err; // HV_VCPU_ERROR: an errno of KVM_RUN, or 0
	unsigned reason; // and KVM's exit reason

	_Atomic uint64_t exits; // returns of KVM_RUN; its thread writes, any reads
};

/* 0, or the error of an ioctl or mmap(2). What it has to answer goes to `bus`. */
int hv_vcpu_init(struct hv_vcpu *vcpu, const struct hv_vm *vm, unsigned id, struct hv_bus *bus);

/* The thread has ended, or never begun. */
void hv_vcpu_fini(struct hv_vcpu *vcpu);

/*
 * Start its thread, which has all signals but one blocked, parked. Once per process:
 * hv_vcpu_signals(). 0, or an error of pthread_create(3) or sched_setaffinity(2).
 */
int hv_vcpu_start(struct hv_vcpu *vcpu);
int hv_vcpu_signals(void);

/* Tell it; any thread, and its own too. No instruction runs once hv_vcpu_wait_parked() returned. */
void hv_vcpu_park(struct hv_vcpu *vcpu);
/*
 * Have its thread, which is parked, call confine(), and wait for it: what that returned. Once, when
 * the rest of the process is shut in; no CPU may be unparked before all of them came back with 0.
 */
int hv_vcpu_confine(struct hv_vcpu *vcpu);
void hv_vcpu_wait_parked(struct hv_vcpu *vcpu); // or gone
void hv_vcpu_unpark(struct hv_vcpu *vcpu); // tells the guest's clock that time was lost
void hv_vcpu_end(struct hv_vcpu *vcpu);
void hv_vcpu_join(struct hv_vcpu *vcpu); // not from a vCPU's thread
