// SPDX-License-Identifier: Apache-2.0
/* Kernel and initrd of a guest: copied on a thread into sealed memory, which nobody can change. */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "errand.h"

#define IMAGE_MAX (512ll << 20)
#define LOOK_MS 2

struct card_vm_images {
	atomic_uint users;
	char *path[2]; // owned: kernel, initrd; NULL: none
	int fd[2]; // owned; -1: none
	unsigned failed; // which one
};

static void images_put(struct card_vm_images *im)
{
	if (atomic_fetch_sub_explicit(&im->users, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (im->fd[i] >= 0)
			close(im->fd[i]);
		free(im->path[i]);
	}
	free(im);
}

static int copy_all(int from, int to, off_t size)
{
	while (size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		size -= n;
	}
	return 0;
}

/* A descriptor or -errno. */
static int load(const char *path)
{
	struct stat st;
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), to, ret;

	if (from < 0)
		return -errno;
	if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(from);
		return -ENOEXEC;
	}
	to = st.st_size > IMAGE_MAX ? -1 : memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ret = st.st_size > IMAGE_MAX ? -EFBIG : to < 0 ? -errno : copy_all(from, to, st.st_size);
	close(from);
	if (!ret && fcntl(to, F_ADD_SEALS,
			    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		ret = -errno;
	if (ret && to >= 0)
		close(to);
	return ret ? ret : to;
}

static int images_run(void *arg)
{
	struct card_vm_images *im = arg;

	for (unsigned i = 0; i < 2; i++) {
		int fd = im->path[i] ? load(im->path[i]) : -1;

		if (im->path[i] && fd < 0) {
			im->failed = i;
			return fd;
		}
		im->fd[i] = fd;
	}
	return 0;
}

static void images_free(void *arg)
{
	images_put(arg);
}

static const struct card_errand_ops images_ops = { .run = images_run, .free = images_free };

static void look(void *arg)
{
	struct card_vm *v = arg;
	struct vho_loop *l = &v->vms->card->vho_loop;
	struct card_vm_images *im = v->loading;
	int ret;

	v->load_timer = NULL;
	if (!card_errand_back(v->errand, &ret)) {
		v->load_timer = l->timer(l->arg, LOOK_MS, look, v);
		if (v->load_timer)
			return;
		card_errand_leave(v->errand);
		ret = -ENOMEM;
	}
	v->errand = NULL;
	v->loading = NULL;
	if (ret && v->guest && (!v->met || v->state != CARD_VM_STARTING)) {
		dpu_info("vm: its images are not there, and it may run", "name=%s", v->name);
	} else if (ret) {
		card_vm_fail(v, ret, "%s: %s",
			v->conf.initrd && im->failed ? v->conf.initrd : v->conf.kernel,
			ret == -ENOEXEC ? "no file with anything in it" : strerror(-ret));
	} else {
		v->kernel_fd = im->fd[0];
		v->initrd_fd = im->fd[1];
		im->fd[0] = im->fd[1] = -1;
	}
	images_put(im);
	if (ret)
		return;
	// One that its agent had after all is made already, or says first what it is.
	if (!v->guest)
		card_vm_spawn(v);
	else if (v->met && v->state == CARD_VM_STARTING && !v->making)
		card_vm_guest_make(v);
}

/* Ends in HV_AGENT_SPAWN, in card_vm_guest_make() if it is not made yet, or in card_vm_fail(). */
void card_vm_load(struct card_vm *v)
{
	struct vho_loop *l = &v->vms->card->vho_loop;
	struct card_vm_images *im = dpu_calloc(1, sizeof(*im));

	if (v->errand) { // it is on its way already
		free(im);
		return;
	}
	if (!im) {
		card_vm_fail(v, -ENOMEM, "out of memory");
		return;
	}
	atomic_store_explicit(&im->users, 1, memory_order_relaxed);
	im->fd[0] = im->fd[1] = -1;
	im->path[0] = strdup(v->conf.kernel);
	im->path[1] = v->conf.initrd ? strdup(v->conf.initrd) : NULL;
	v->load_timer = im->path[0] && (im->path[1] || !v->conf.initrd)
				? l->timer(l->arg, LOOK_MS, look, v)
				: NULL;
	if (!v->load_timer) {
		images_put(im);
		card_vm_fail(v, -ENOMEM, "out of memory");
		return;
	}
	atomic_store_explicit(&im->users, 2, memory_order_relaxed); // the errand's, too
	if (card_errand_start(&images_ops, im, &v->errand)) {
		v->errand = NULL;
		l->timer_cancel(l->arg, v->load_timer);
		v->load_timer = NULL;
		images_put(im);
		card_vm_fail(v, -EAGAIN, "no thread to load images");
		return;
	}
	v->loading = im;
}

void card_vm_images_close(struct card_vm *v)
{
	struct vho_loop *l = &v->vms->card->vho_loop;

	if (v->load_timer)
		l->timer_cancel(l->arg, v->load_timer);
	v->load_timer = NULL;
	if (v->errand) {
		card_errand_leave(v->errand);
		images_put(v->loading);
	}
	v->errand = NULL;
	v->loading = NULL;
	if (v->kernel_fd >= 0)
		close(v->kernel_fd);
	if (v->initrd_fd >= 0)
		close(v->initrd_fd);
	v->kernel_fd = v->initrd_fd = -1;
}
