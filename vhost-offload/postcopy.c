// SPDX-License-Identifier: Apache-2.0
/* Postcopy, the card's side: pagers are started, told what to do, and ended here. */
#include "postcopy.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "pager_proto.h"
#include "queue_ring.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u // younger than the C library's headers that we build with
#endif
#define FD_ABOVE 10 // where what a pager gets lies until it is put into place
#define START_MS 2000 // a pager that says nothing for so long is given up
#define BURIED_MAX 64
/* Rings that the pager cannot follow: packed ones, and those that speak of an IOMMU's addresses. */
#define GATELESS (1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_ACCESS_PLATFORM)
#define SIGBUS_FEATURES \
	(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS)

/*
 * Where pagers map regions: above anything that a loader puts into a small program, and below what
 * the kernel chooses by itself. Each region begins at a multiple of the largest page there is.
 */
#define BASE_FIRST (1ull << 40)
#define BASE_END (64ull << 40)
#define BASE_STEP (1ull << 30)

/*
 * What the pager was asked about a ring. It is asked anew only when it has answered: what waits in
 * its socket while it waits for a page is bounded, whatever the front-end does meanwhile.
 */
struct asked {
	uint64_t desc, avail, used;
	uint32_t size;
	uint32_t gen; // 0: never asked
	bool valid; // still what the front-end wants
};

struct placed {
	const uint8_t *host; // of our mapping
	uint64_t map_base; // of the pager's
	uint64_t base; // of the region's first byte there
};

struct vho_postcopy {
	const struct vho_loop *loop; // borrowed
	void (*ready)(void *arg);
	void *arg; // borrowed
	void *watch; // of event_fd
	pid_t pid; // not yet waited for
	int sock; // owned: to the pager
	int event_fd; // owned: the pager has something to tell
	int sigbus_fd; // owned: userfaultfd of our own mappings
	struct pager_ctl *ctl; // owned mapping
	bool listening, ack_due, dead;
	uint64_t next_base;
	unsigned n_placed;
	struct placed placed[VHO_MEM_REGIONS_MAX];
	struct asked asked[PAGER_RINGS];
};

static_assert(PAGER_REGIONS == VHO_MEM_REGIONS_MAX, "regions");

/* ---- what is there once ---- */

static struct {
	pthread_once_t once;
	bool supported;
	pid_t buried[BURIED_MAX]; // killed and not yet waited for; 0: none
} shared = { .once = PTHREAD_ONCE_INIT };

/* Wait for those that have died; none of them is waited for here. */
static void reap(void)
{
	for (unsigned i = 0; i < BURIED_MAX; i++)
		if (shared.buried[i] > 0 && waitpid(shared.buried[i], NULL, WNOHANG) != 0)
			shared.buried[i] = 0;
}

static void bury(pid_t pid)
{
	kill(pid, SIGKILL);
	reap();
	for (unsigned i = 0; i < BURIED_MAX; i++) {
		if (shared.buried[i] > 0)
			continue;
		shared.buried[i] = pid;
		return;
	}
	(void)waitpid(pid, NULL, 0);
}

/* The program as a file that can be executed and not changed: the fd, or a negative errno. */
static int make_image(void)
{
	int fd = memfd_create("outboard-pager", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC), ret;

	if (fd < 0 && errno == EINVAL) // Linux before 6.3, where each can be executed
		fd = memfd_create("outboard-pager", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (pwrite(fd, pager_image, pager_image_len, 0) == (ssize_t)pager_image_len &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) ==
			0)
		return fd;
	ret = errno ? -errno : -EIO;
	close(fd);
	return ret;
}

static void probe(void)
{
	int fd = pager_uffd(SIGBUS_FEATURES);

	if (fd < 0) {
		dpu_info("postcopy: not offered, userfaultfd is not to be had", "err=%d", fd);
		return;
	}
	close(fd);
	fd = make_image();
	if (fd < 0) {
		dpu_info("postcopy: not offered, no file in memory to execute", "err=%d", fd);
		return;
	}
	close(fd);
	shared.supported = true;
}

bool vho_postcopy_supported(void)
{
	(void)pthread_once(&shared.once, probe);
	return shared.supported;
}

/* ---- start and end of a pager ---- */

/* The page that both map. Its size is fixed, or a pager could take it from under us. */
static int open_ctl(struct vho_postcopy *pc)
{
	int fd = memfd_create("pager", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*pc->ctl)) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	pc->ctl = mmap(NULL, sizeof(*pc->ctl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (pc->ctl != MAP_FAILED)
		return fd;
	ret = -errno;
	pc->ctl = NULL;
	close(fd);
	return ret;
}

/*
 * Run the program with what it needs and nothing else. The child shares our memory until it runs
 * another program, so none of it is copied, nor is any of it ever the pager's.
 */
static int spawn(struct vho_postcopy *pc, const int *fds)
{
	char *const argv[] = { (char *)(uintptr_t) "outboard-pager", NULL };
	char *const envp[] = { NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	char path[32];
	sigset_t none;
	int ret = posix_spawn_file_actions_init(&fa);

	if (ret)
		return -ret;
	ret = posix_spawnattr_init(&attr);
	if (ret) {
		posix_spawn_file_actions_destroy(&fa);
		return -ret;
	}
	sigemptyset(&none);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", PAGER_IMAGE);
	for (int i = 0; !ret && i < PAGER_SOCK; i++)
		ret = posix_spawn_file_actions_addopen(&fa, i, "/dev/null", O_RDWR, 0);
	for (int i = PAGER_SOCK; !ret && i < PAGER_FDS; i++)
		ret = posix_spawn_file_actions_adddup2(&fa, fds[i - PAGER_SOCK], i);
	if (!ret)
		ret = posix_spawn_file_actions_addclosefrom_np(&fa, PAGER_FDS);
	if (!ret)
		ret = posix_spawn(&pc->pid, path, &fa, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -ret;
}

/* Take the userfaultfd, then the word that the pager has locked itself in: the fd, or an errno. */
static int first_words(int sock)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct timeval tv = { .tv_sec = START_MS / 1000 };
	char byte;
	struct iovec v = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	ssize_t n;
	int fd = -1, ret;

	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return -errno;
	n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	c = n == 1 ? CMSG_FIRSTHDR(&mh) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -ECONNRESET;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	n = recv(sock, &byte, 1, 0);
	if (n == 1)
		return fd;
	ret = n == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return ret;
}

/* The pager with its descriptors: from[i] becomes its descriptor PAGER_SOCK + i. */
static int spawn_with(struct vho_postcopy *pc, const int *from)
{
	int fds[PAGER_FDS - PAGER_SOCK], ret = 0;
	unsigned n = 0;

	// Above the numbers that they get there, so that none is put over another
	while (!ret && n < PAGER_FDS - PAGER_SOCK) {
		fds[n] = fcntl(from[n], F_DUPFD_CLOEXEC, FD_ABOVE);
		if (fds[n] < 0)
			ret = -errno;
		else
			n++;
	}
	if (!ret)
		ret = spawn(pc, fds);
	while (n > 0)
		close(fds[--n]);
	return ret;
}

/* 0 with the pager running and *uffd filled, or an errno. */
static int run_pager(struct vho_postcopy *pc, int *uffd)
{
	int from[] = { -1, -1, pc->event_fd, -1 }, pair[2], ret = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pc->sock = pair[0];
	from[0] = pair[1];
	from[1] = open_ctl(pc);
	from[3] = make_image();
	if (from[1] < 0 || from[3] < 0)
		ret = from[1] < 0 ? from[1] : from[3];
	if (!ret)
		ret = spawn_with(pc, from);
	close(pair[1]);
	if (from[1] >= 0)
		close(from[1]);
	if (from[3] >= 0)
		close(from[3]);
	if (ret)
		return ret;
	ret = first_words(pc->sock);
	if (ret < 0)
		return ret;
	*uffd = ret;
	return 0;
}

static void on_event(void *arg)
{
	struct vho_postcopy *pc = arg;
	uint64_t n;
	struct iovec v = { .iov_base = &n, .iov_len = sizeof(n) };

	// The pager shares its flags
	(void)!preadv2(pc->event_fd, &v, 1, -1, RWF_NOWAIT);
	pc->ready(pc->arg);
}

int vho_postcopy_create(const struct vho_loop *loop, void (*ready)(void *arg), void *arg,
	struct vho_postcopy **out, int *uffd)
{
	struct vho_postcopy *pc;
	int ret = -ENOMEM;

	if (!vho_postcopy_supported())
		return -EOPNOTSUPP;
	reap();
	pc = dpu_calloc(1, sizeof(*pc));
	if (!pc)
		return -ENOMEM;
	*uffd = -1;
	pc->loop = loop;
	pc->ready = ready;
	pc->arg = arg;
	pc->next_base = BASE_FIRST;
	pc->sock = pc->event_fd = -1;
	pc->sigbus_fd = pager_uffd(SIGBUS_FEATURES);
	if (pc->sigbus_fd < 0) {
		ret = pc->sigbus_fd;
		goto err;
	}
	pc->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (pc->event_fd < 0) {
		ret = -errno;
		goto err;
	}
	ret = run_pager(pc, uffd);
	if (ret)
		goto err;
	pc->watch = loop->watch(loop->arg, pc->event_fd, on_event, pc);
	if (!pc->watch) {
		ret = -ENOMEM;
		goto err;
	}
	*out = pc;
	return 0;

err:
	if (*uffd >= 0)
		close(*uffd);
	vho_postcopy_destroy(pc);
	return ret;
}

void vho_postcopy_destroy(struct vho_postcopy *pc)
{
	if (!pc)
		return;
	if (pc->watch)
		pc->loop->unwatch(pc->loop->arg, pc->watch);
	if (pc->pid > 0)
		bury(pc->pid);
	if (pc->sock >= 0)
		close(pc->sock);
	if (pc->event_fd >= 0)
		close(pc->event_fd);
	if (pc->sigbus_fd >= 0)
		close(pc->sigbus_fd);
	if (pc->ctl)
		munmap(pc->ctl, sizeof(*pc->ctl));
	free(pc);
}

/* ---- telling it ---- */

/* One message, or none and the pager counts as dead: it must not matter when it listens. */
static int tell(struct vho_postcopy *pc, const struct pager_msg *m, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec v = { .iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(*m) };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (pc->dead)
		return -ECONNRESET;
	if (sendmsg(pc->sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*m))
		return 0;
	pc->dead = true;
	return errno ? -errno : -EIO;
}

bool vho_postcopy_dead(struct vho_postcopy *pc)
{
	char byte;

	// It has nothing to say there any more, so whatever can be read is an end
	if (!pc->dead && recv(pc->sock, &byte, 1, MSG_DONTWAIT) >= 0)
		pc->dead = true;
	return pc->dead;
}

void vho_postcopy_listen(struct vho_postcopy *pc)
{
	pc->listening = true;
}

bool vho_postcopy_listening(const struct vho_postcopy *pc)
{
	return pc->listening;
}

void vho_postcopy_await_ack(struct vho_postcopy *pc, bool due)
{
	pc->ack_due = due;
}

bool vho_postcopy_ack_due(const struct vho_postcopy *pc)
{
	return pc->ack_due;
}

/* ---- memory ---- */

int vho_postcopy_map(
	struct vho_postcopy *pc, const struct vho_mem_map_entry *e, int fd, uint64_t *base)
{
	const struct vho_mem_mapping *map = e->mapping;
	struct uffdio_register reg = { .range = { (uintptr_t)map->base, map->len },
		.mode = UFFDIO_REGISTER_MODE_MISSING };
	uint64_t room = (map->len + BASE_STEP - 1) / BASE_STEP * BASE_STEP;
	struct pager_msg m = {
		.what = PAGER_MAP,
		.gpa = e->gpa,
		.len = e->size,
		.base = pc->next_base,
		.map_len = map->len,
		.off = map->off,
		.skip = (uint32_t)(e->host - (const uint8_t *)map->base),
		.page = (uint32_t)map->page,
	};
	int ret;

	if (pc->n_placed == VHO_MEM_REGIONS_MAX || room > BASE_END - pc->next_base)
		return -ENOMEM;
	if (ioctl(pc->sigbus_fd, UFFDIO_REGISTER, &reg))
		return -errno;
	ret = tell(pc, &m, fd);
	if (ret)
		return ret;
	pc->next_base += room;
	*base = m.base + m.skip;
	pc->placed[pc->n_placed++] = (struct placed){
		.host = e->host, .map_base = m.base, .base = *base
	};
	return 0;
}

uint64_t vho_postcopy_base(const struct vho_postcopy *pc, const struct vho_mem_map_entry *e)
{
	for (unsigned i = 0; i < pc->n_placed; i++)
		if (pc->placed[i].host == e->host)
			return pc->placed[i].base;
	return 0;
}

int vho_postcopy_keep(struct vho_postcopy *pc, const struct vho_mem *mem)
{
	unsigned n = 0;
	int ret = 0;

	for (unsigned i = 0; i < pc->n_placed; i++) {
		struct pager_msg m = { .what = PAGER_UNMAP, .base = pc->placed[i].map_base };
		unsigned k = 0;

		while (mem && k < mem->n && mem->r[k].host != pc->placed[i].host)
			k++;
		if (mem && k < mem->n) {
			pc->placed[n++] = pc->placed[i];
			continue;
		}
		if (!ret)
			ret = tell(pc, &m, -1);
	}
	pc->n_placed = n;
	return ret;
}

/* ---- rings ---- */

int vho_postcopy_ring(
	struct vho_postcopy *pc, unsigned idx, const struct vho_queue_conf *conf, int kick_fd)
{
	struct asked *a = &pc->asked[idx];
	uint64_t size = conf->size;
	struct pager_msg m = {
		.what = PAGER_RING,
		.idx = idx,
		.size = conf->size,
		.desc = conf->desc_gpa,
		.avail = conf->driver_gpa,
		.used = conf->device_gpa,
	};
	bool answered = atomic_load_explicit(&pc->ctl->ready[idx], memory_order_acquire) == a->gen;

	if ((conf->features & GATELESS) || pc->ack_due)
		return 0;
	if ((size & (size - 1)) || size == 0 || size > VHO_QUEUE_SIZE_MAX || conf->driver_gpa % 2 ||
		!vho_mem_at(conf->mem, conf->desc_gpa, 16 * size) ||
		!vho_mem_at(conf->mem, conf->driver_gpa, 6 + 2 * size) ||
		!vho_mem_at(conf->mem, conf->device_gpa, 6 + 8 * size))
		return 1; // setting it up will fail, and say why
	if (!answered)
		return 0;
	if (a->valid && a->desc == m.desc && a->avail == m.avail && a->used == m.used &&
		a->size == m.size)
		return 1;
	*a = (struct asked){ m.desc, m.avail, m.used, m.size, a->gen + 1, true };
	m.gen = a->gen;
	return tell(pc, &m, kick_fd);
}

void vho_postcopy_start(struct vho_postcopy *pc, unsigned idx, struct vho_queue *q)
{
	struct pager_msg m = { .what = PAGER_START, .idx = idx, .next = q->next_avail };

	__atomic_store_n(&pc->ctl->gate[idx], htole16(q->next_avail), __ATOMIC_RELEASE);
	q->avail_idx = &pc->ctl->gate[idx];
	(void)tell(pc, &m, -1); // else the session ends
}

void vho_postcopy_stop(struct vho_postcopy *pc, unsigned idx)
{
	struct pager_msg m = { .what = PAGER_STOP, .idx = idx };

	if (!pc->asked[idx].valid)
		return;
	pc->asked[idx].valid = false;
	(void)tell(pc, &m, -1);
}
