/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the card and a pager say to each other. A pager (pager.c) is a process of its own that waits
 * for the pages of one guest in postcopy migration: postcopy.h, ADR-0007.
 *
 * The card sends struct pager_msg through a socket, with at most one descriptor each, and never
 * waits for an answer but for the first: a pager's userfaultfd. What a pager has to tell stands in
 * a page that both map, and an eventfd says to look there. Once the userfaultfd is with the
 * front-end the pager is as little to be trusted as the guest's own memory.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

/* Descriptors that a pager is started with. */
enum { PAGER_SOCK = 3, PAGER_CTL, PAGER_EVENT, PAGER_IMAGE, PAGER_FDS };

#define PAGER_RINGS 256
#define PAGER_REGIONS 509

enum pager_what {
	PAGER_MAP, // with its file: map a region, and let the front-end hear of missing pages
	PAGER_UNMAP, // the region at `base`; every ring is let go, too
	PAGER_RING, // with its kick eventfd, if it has one: get the ring's own pages
	PAGER_START, // get the pages of what the driver makes available from `next` on
	PAGER_STOP, // let go of the ring
};

struct pager_msg {
	uint32_t what;
	uint32_t idx; // of the ring
	uint32_t size; // of the ring, entries
	uint32_t gen; // what pager_ctl.ready[idx] becomes
	uint64_t desc, avail, used; // guest physical
	uint64_t gpa, len; // of the region
	uint64_t base, map_len; // where to map, and how much
	uint64_t off; // in the file, of base
	uint32_t skip; // from base to the region's first byte
	uint32_t page; // of the file, bytes
	uint16_t next;
	uint8_t padding[6];
};

/* Written by the pager, read by control thread and workers. */
struct pager_ctl {
	_Atomic uint32_t ready[PAGER_RINGS]; // gen of the ring whose own pages are there
	/*
	 * The available index as far as every page was seen there; as in the ring, little-endian.
	 * The card writes it before PAGER_START, the pager after.
	 */
	uint16_t gate[PAGER_RINGS];
};

static_assert(sizeof(struct pager_msg) == 96, "pager message");

/* The program, which is part of the library. */
extern const unsigned char pager_image[];
extern const size_t pager_image_len;

/*
 * A userfaultfd for faults of this process's own code, with these UFFD_FEATURE bits: the fd, or a
 * negative errno.
 */
static inline int pager_uffd(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int flags = O_CLOEXEC | O_NONBLOCK, ret;
	int fd = (int)syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);

	if (fd < 0 && errno == EINVAL) // Linux before 5.11, which asks for a privilege
		fd = (int)syscall(SYS_userfaultfd, flags);
#ifdef USERFAULTFD_IOC_NEW
	if (fd < 0 && (errno == EPERM || errno == ENOSYS)) {
		int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

		if (dev < 0)
			return -errno;
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, flags | UFFD_USER_MODE_ONLY);
		ret = -errno;
		close(dev);
		if (fd < 0)
			return ret;
	}
#endif
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}
