// SPDX-License-Identifier: Apache-2.0
/*
 * The pager: a program that waits for the missing pages of one guest, so that the card need not.
 *
 * Whoever holds a userfaultfd can write into missing pages of the process that made it, whatever
 * that process registered. So the one that a front-end gets is of this process, which has the
 * guest's memory and a stack, may do nothing but wait, and is nobody's loss. It follows the guest's
 * rings, reads one byte of every page that a request names, which sleeps until the front-end has
 * put the page there, and lets the card have the request after that: ADR-0007.
 *
 * No memory is allocated, nothing is logged, and whatever fails ends the process, which ends the
 * session.
 */
#include "pager_proto.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/virtio_ring.h>

#define NICE 10 // a guest's requests are not worth the card's own work
#define LOOK_MS 1 // how often rings are looked at that had nothing new
#define TABLE_MAX 32768u // descriptors of an indirect table

struct region {
	uint64_t gpa, len;
	const uint8_t *host;
	void *base;
	size_t map_len;
	size_t page;
};

struct ring {
	bool active;
	uint32_t size;
	uint16_t next;
	int kick_fd; // -1: nobody to wake
	const volatile uint8_t *desc, *avail, *used;
};

static struct pager {
	int uffd;
	struct pager_ctl *ctl;
	unsigned n_regions;
	struct region region[PAGER_REGIONS];
	struct ring ring[PAGER_RINGS];
} pager;

/* ---- guest memory ---- */

static const struct region *find(uint64_t gpa)
{
	for (unsigned i = 0; i < pager.n_regions; i++)
		if (gpa - pager.region[i].gpa < pager.region[i].len)
			return &pager.region[i];
	return NULL;
}

/* Have every page of [gpa, gpa + len) there. What lies outside the guest's memory is left alone. */
static void touch(uint64_t gpa, uint64_t len)
{
	while (len > 0) {
		const struct region *r = find(gpa);
		uint64_t at, part;

		if (!r)
			return;
		at = gpa - r->gpa;
		part = len < r->len - at ? len : r->len - at;
		for (uint64_t off = at; off < at + part; off = (off / r->page + 1) * r->page)
			(void)*(const volatile uint8_t *)(r->host + off);
		(void)*(const volatile uint8_t *)(r->host + at + part - 1);
		gpa += part;
		len -= part;
	}
}

/* [gpa, gpa + len), if it lies in one region. */
static const volatile uint8_t *at(uint64_t gpa, uint64_t len)
{
	const struct region *r = find(gpa);

	return r && len <= r->len - (gpa - r->gpa) ? r->host + (gpa - r->gpa) : NULL;
}

static struct vring_desc load_desc(const volatile uint8_t *table, uint32_t idx)
{
	const volatile uint8_t *p = table + (uint64_t)idx * sizeof(struct vring_desc);
	struct vring_desc d;

	for (size_t i = 0; i < sizeof(d); i++)
		((uint8_t *)&d)[i] = p[i];
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

/* ---- rings (VIRTIO 1.3, 2.7) ---- */

static void touch_table(uint64_t gpa, uint32_t len)
{
	uint32_t size = len / sizeof(struct vring_desc), idx = 0;
	const volatile uint8_t *table = at(gpa, len);

	if (!table || size == 0 || size > TABLE_MAX)
		return;
	touch(gpa, len);
	for (uint32_t n = 0; n < size && idx < size; n++) {
		struct vring_desc d = load_desc(table, idx);

		touch(d.addr, d.len);
		if (!(d.flags & VRING_DESC_F_NEXT))
			return;
		idx = d.next;
	}
}

/* What is wrong with a chain is for the card to find. */
static void touch_chain(const struct ring *r, uint16_t head)
{
	uint32_t idx = head;

	for (uint32_t n = 0; n < r->size && idx < r->size; n++) {
		struct vring_desc d = load_desc(r->desc, idx);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			touch_table(d.addr, d.len);
			return;
		}
		touch(d.addr, d.len);
		if (!(d.flags & VRING_DESC_F_NEXT))
			return;
		idx = d.next;
	}
}

static uint16_t load16(const volatile uint8_t *p)
{
	return le16toh(__atomic_load_n(
		(const volatile uint16_t *)(const volatile void *)p, __ATOMIC_ACQUIRE));
}

/* One round of a ring: what is available now. True: there was something. */
static bool look(struct ring *r, uint16_t *gate)
{
	uint16_t idx = load16(r->avail + 2);
	uint64_t one = 1;

	if (idx == r->next)
		return false;
	if ((uint16_t)(idx - r->next) > r->size) {
		r->next = idx; // the card will say what that is
		r->active = false;
	}
	while (r->active && r->next != idx) {
		touch_chain(r, load16(r->avail + 4 + 2 * (r->next & (r->size - 1))));
		r->next++;
		__atomic_store_n(gate, htole16(r->next), __ATOMIC_RELEASE);
		if (r->kick_fd >= 0)
			(void)!write(r->kick_fd, &one, sizeof(one));
	}
	__atomic_store_n(gate, htole16(r->next), __ATOMIC_RELEASE);
	if (r->kick_fd >= 0)
		(void)!write(r->kick_fd, &one, sizeof(one));
	return true;
}

/* ---- what the card says ---- */

static void let_go(struct ring *r)
{
	if (r->kick_fd >= 0)
		close(r->kick_fd);
	r->kick_fd = -1;
	r->active = false;
}

static void map(const struct pager_msg *m, int fd)
{
	struct uffdio_register reg = { .range = { m->base, m->map_len },
		.mode = UFFDIO_REGISTER_MODE_MISSING };
	void *want = (void *)(uintptr_t)m->base, *base;
	struct region *r;

	if (pager.n_regions == PAGER_REGIONS || m->page == 0)
		_exit(1);
	base = mmap(
		want, m->map_len, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, (off_t)m->off);
	if (base != want || ioctl(pager.uffd, UFFDIO_REGISTER, &reg))
		_exit(1);
	r = &pager.region[pager.n_regions++];
	*r = (struct region){ .gpa = m->gpa,
		.len = m->len,
		.base = base,
		.map_len = m->map_len,
		.host = (const uint8_t *)base + m->skip,
		.page = m->page };
}

static void unmap(const struct pager_msg *m)
{
	for (unsigned i = 0; i < PAGER_RINGS; i++)
		let_go(&pager.ring[i]);
	for (unsigned i = 0; i < pager.n_regions; i++) {
		struct region *r = &pager.region[i];

		if ((uintptr_t)r->base != m->base)
			continue;
		munmap(r->base, r->map_len);
		*r = pager.region[--pager.n_regions];
		return;
	}
}

/* Takes fd. */
static void get_ring(const struct pager_msg *m, int fd)
{
	struct ring *r = &pager.ring[m->idx];
	uint64_t avail_len = 6 + 2ull * m->size, used_len = 6 + 8ull * m->size, one = 1;

	let_go(r);
	r->kick_fd = fd;
	r->size = m->size;
	r->desc = at(m->desc, 16ull * m->size);
	r->avail = at(m->avail, avail_len);
	r->used = at(m->used, used_len);
	if (!r->desc || !r->avail || !r->used || m->size == 0 || (m->size & (m->size - 1)))
		_exit(1); // the card has checked that
	touch(m->desc, 16ull * m->size);
	touch(m->avail, avail_len);
	touch(m->used, used_len);
	atomic_store_explicit(&pager.ctl->ready[m->idx], m->gen, memory_order_release);
	if (write(PAGER_EVENT, &one, sizeof(one)) < 0)
		_exit(1);
}

/* Takes fd. */
static void obey(const struct pager_msg *m, int fd)
{
	struct ring *r = &pager.ring[m->idx % PAGER_RINGS];

	switch (m->what) {
	case PAGER_MAP:
		map(m, fd);
		break;
	case PAGER_UNMAP:
		unmap(m);
		break;
	case PAGER_RING:
		get_ring(m, fd);
		return;
	case PAGER_START:
		r->next = m->next;
		r->active = true;
		break;
	case PAGER_STOP:
		let_go(r);
		break;
	default:
		_exit(1);
	}
	if (fd >= 0)
		close(fd);
}

/* Take one message, if there is one. */
static bool take(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct pager_msg m;
	struct iovec v = { .iov_base = &m, .iov_len = sizeof(m) };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c;
	ssize_t n = recvmsg(PAGER_SOCK, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd = -1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n != sizeof(m))
		_exit(0); // the card has left
	c = CMSG_FIRSTHDR(&mh);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	obey(&m, fd);
	return true;
}

/* ---- start ---- */

static int send_uffd(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	char byte = 0;
	struct iovec v = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = &control.align;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pager.uffd, sizeof(int));
	return sendmsg(PAGER_SOCK, &mh, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the pager's sandbox knows no such machine"
#endif

#define ALLOW(name)                                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)SYS_##name, 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* What is below, and nothing else ever again: above all no program, file, socket or signal. */
static int confine(void)
{
	static const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(recvmsg),
		ALLOW(ppoll),
		ALLOW(write),
		ALLOW(close),
		ALLOW(munmap),
		ALLOW(ioctl),
		ALLOW(exit_group),
		// mmap, of memory that nothing can be executed in
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_READ, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]),
		.filter = (struct sock_filter *)(uintptr_t)code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

static int start(void)
{
	struct rlimit none = { 0, 0 };
	int ret;

	close(PAGER_IMAGE);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || setrlimit(RLIMIT_CORE, &none) ||
		setpriority(PRIO_PROCESS, 0, NICE))
		return -errno;
	for (unsigned i = 0; i < PAGER_RINGS; i++)
		pager.ring[i].kick_fd = -1;
	pager.ctl = mmap(
		NULL, sizeof(*pager.ctl), PROT_READ | PROT_WRITE, MAP_SHARED, PAGER_CTL, 0);
	if (pager.ctl == MAP_FAILED)
		return -errno;
	close(PAGER_CTL);
	pager.uffd = pager_uffd(0);
	if (pager.uffd < 0)
		return pager.uffd;
	ret = send_uffd();
	return ret < 0 ? ret : confine();
}

int main(void)
{
	struct pollfd p = { .fd = PAGER_SOCK, .events = POLLIN };

	// The card gives the userfaultfd to nobody before it has that byte
	if (start() < 0 || write(PAGER_SOCK, "c", 1) != 1)
		_exit(1);
	for (;;) {
		bool busy = false, any = false;

		while (take())
			;
		for (unsigned i = 0; i < PAGER_RINGS; i++) {
			if (!pager.ring[i].active)
				continue;
			any = true;
			busy |= look(&pager.ring[i], &pager.ctl->gate[i]);
		}
		if (busy)
			continue;

		struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };

		(void)ppoll(&p, 1, any ? &pause : NULL, NULL);
	}
}
