// SPDX-License-Identifier: Apache-2.0
/* KVM's vCPU object: its thread, its exits, how it is stopped. */
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "fds.h"

#define KICK SIGUSR1

int hv_vcpu_init(struct hv_vcpu *vcpu, const struct hv_vm *vm, unsigned id, struct hv_bus *bus)
{
	void *p = NULL;
	int size, ret;

	*vcpu = (struct hv_vcpu){ .id = id,
		.fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, id),
		.ports = bus,
		.pin = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.park = true };
	if (vcpu->fd < 0)
		return -errno;
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	ret = size < (int)sizeof(*vcpu->run) ? -EIO : 0;
	if (ret == 0) {
		p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
		ret = p == MAP_FAILED ? -errno : 0;
	}
	if (ret) {
		hv_vcpu_fini(vcpu);
		return ret;
	}
	vcpu->run = p;
	vcpu->run_size = (size_t)size;
	return 0;
}

void hv_vcpu_fini(struct hv_vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	hv_fd_close(&vcpu->fd);
	pthread_cond_destroy(&vcpu->changed);
	pthread_mutex_destroy(&vcpu->lock);
}

static void mmio(struct hv_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned len = run->mmio.len;

	if (len > sizeof(run->mmio.data))
		return;
	if (run->mmio.is_write)
		hv_bus_write(vcpu->ports, HV_BUS_MMIO, run->mmio.phys_addr, run->mmio.data, len);
	else
		hv_bus_read(vcpu->ports, HV_BUS_MMIO, run->mmio.phys_addr, run->mmio.data, len);
}

/* With the lock, which is not held meanwhile. */
static void confine(struct hv_vcpu *vcpu)
{
	int ret;

	vcpu->confined_due = false;
	pthread_mutex_unlock(&vcpu->lock);
	ret = vcpu->confine ? vcpu->confine() : 0;
	pthread_mutex_lock(&vcpu->lock);
	vcpu->err = -ret;
	vcpu->confined = true;
	pthread_cond_broadcast(&vcpu->changed);
}

/* Park as long as told so. False: end. */
static bool may_run(struct hv_vcpu *vcpu)
{
	bool go;

	pthread_mutex_lock(&vcpu->lock);
	// What was asked for is seen from here on; what comes later sets it again, and signals.
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
	while (vcpu->park && !vcpu->end) {
		if (vcpu->confined_due) {
			confine(vcpu);
			continue;
		}
		vcpu->parked = true;
		pthread_cond_broadcast(&vcpu->changed);
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	}
	vcpu->parked = false;
	go = !vcpu->end;
	pthread_mutex_unlock(&vcpu->lock);
	return go;
}

/* Until there is a reason to end. */
static enum hv_vcpu_end run(struct hv_vcpu *vcpu)
{
	while (may_run(vcpu)) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		atomic_fetch_add_explicit(&vcpu->exits, 1, memory_order_relaxed);
		if (ret < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			vcpu->err = errno;
			vcpu->reason = vcpu->run->exit_reason;
			return HV_VCPU_ERROR;
		}
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_MMIO:
			mmio(vcpu);
			break;
		case KVM_EXIT_SHUTDOWN:
			return HV_VCPU_SHUTDOWN;
		default:
			if (hv_arch_exit(vcpu))
				break;
			vcpu->reason = vcpu->run->exit_reason;
			return HV_VCPU_ERROR;
		}
	}
	return HV_VCPU_TOLD;
}

static void *vcpu_main(void *arg)
{
	struct hv_vcpu *vcpu = arg;

	// What was told before that is seen without a kick: it has not looked yet.
	pthread_mutex_lock(&vcpu->lock);
	vcpu->pid = getpid();
	vcpu->tid = (pid_t)syscall(SYS_gettid);
	pthread_mutex_unlock(&vcpu->lock);
	vcpu->ended(vcpu->arg, vcpu, run(vcpu));
	pthread_mutex_lock(&vcpu->lock);
	vcpu->tid = 0;
	vcpu->gone = true;
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig;
}

int hv_vcpu_signals(void)
{
	struct sigaction sa = { .sa_handler = on_kick };

	return sigaction(KICK, &sa, NULL) < 0 ? -errno : 0;
}

int hv_vcpu_start(struct hv_vcpu *vcpu)
{
	cpu_set_t cpus;
	sigset_t all, old;
	int ret;

	CPU_ZERO(&cpus);
	if (vcpu->pin >= 0)
		CPU_SET((unsigned)vcpu->pin, &cpus);
	sigfillset(&all);
	sigdelset(&all, KICK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&vcpu->lock);
	ret = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	vcpu->started = ret == 0;
	if (ret == 0 && vcpu->pin >= 0)
		ret = pthread_setaffinity_np(vcpu->thread, sizeof(cpus), &cpus);
	pthread_mutex_unlock(&vcpu->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -ret;
}

/* Out of the guest, if it is there. With the lock, so it has not yet looked at what it is told. */
static void kick(struct hv_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
	// Its own thread is out of the guest. Each libc's pthread_kill(3) makes other calls.
	if (vcpu->tid && !pthread_equal(vcpu->thread, pthread_self()))
		(void)syscall(SYS_tgkill, vcpu->pid, vcpu->tid, KICK);
	pthread_cond_broadcast(&vcpu->changed);
}

static void tell(struct hv_vcpu *vcpu, bool *what)
{
	pthread_mutex_lock(&vcpu->lock);
	*what = true;
	kick(vcpu);
	pthread_mutex_unlock(&vcpu->lock);
}

void hv_vcpu_park(struct hv_vcpu *vcpu)
{
	tell(vcpu, &vcpu->park);
}

int hv_vcpu_confine(struct hv_vcpu *vcpu)
{
	int ret;

	pthread_mutex_lock(&vcpu->lock);
	vcpu->confined_due = true;
	pthread_cond_broadcast(&vcpu->changed);
	while (!vcpu->confined && !vcpu->gone)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	ret = vcpu->confined ? -vcpu->err : -ESHUTDOWN;
	pthread_mutex_unlock(&vcpu->lock);
	return ret;
}

void hv_vcpu_wait_parked(struct hv_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->started && !vcpu->parked && !vcpu->gone)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	pthread_mutex_unlock(&vcpu->lock);
}

void hv_vcpu_unpark(struct hv_vcpu *vcpu)
{
	// A guest that has not yet told KVM where its clock is needs none of it.
	(void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	pthread_mutex_lock(&vcpu->lock);
	vcpu->park = false;
	pthread_cond_broadcast(&vcpu->changed);
	pthread_mutex_unlock(&vcpu->lock);
}

void hv_vcpu_end(struct hv_vcpu *vcpu)
{
	tell(vcpu, &vcpu->end);
}

void hv_vcpu_join(struct hv_vcpu *vcpu)
{
	bool started;

	pthread_mutex_lock(&vcpu->lock);
	started = vcpu->started;
	vcpu->end = true; // whoever ends the guest may not have come to this one yet
	kick(vcpu);
	vcpu->started = false;
	pthread_mutex_unlock(&vcpu->lock);
	if (started)
		pthread_join(vcpu->thread, NULL);
}
