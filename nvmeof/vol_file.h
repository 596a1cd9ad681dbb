/* SPDX-License-Identifier: Apache-2.0 */
/* A volume on a file or block device: opening it (vol_file.c) and its I/O (vol_file_io.c). */
#pragma once

#include <liburing.h>
#include <sys/types.h>

#include "vol_priv.h"

#define FILE_RING 256 // requests of one channel that are with the kernel
#define FILE_BOUNCE 32 // bounce buffers of one channel
#define FILE_BOUNCE_LEN (128U << 10)
#define FILE_ZEROES_LEN (1U << 20)
/*
 * Bytes of one operation, and of all that are handed to the kernel in one call. A hit in the page
 * cache is copied inside that call, on the worker; direct I/O pins pages there, which is a tenth of
 * the work, unless the file system only pretends.
 */
#define FILE_SLICE_CACHED (256U << 10)
#define FILE_SLICE_DIRECT (512U << 10)
/*
 * Bytes with the kernel at once through the page cache. What missed it is copied on the worker too,
 * all that has arrived in one go, when the worker next enters the kernel.
 */
#define FILE_CACHED_MAX (1U << 20)

struct vol_file {
	struct vol v;
	int fd; // owned: reads, writes, allocation
	/*
	 * Owned: a second open file for flushes only. The kernel reports a lost write once to each
	 * open file; a stable write (RWF_DSYNC) that fails uses up the report of `fd`, never this
	 * one.
	 */
	int sync_fd;
	bool read_only;
	bool alone; // the file is locked; false: another process may have it, too
	bool shared; // as it was opened, and not taken back since
	int excl_fd; // owned: a shared device, claimed since; -1: not
	bool block_dev;
	dev_t rdev; // block device: its number
	bool direct; // O_DIRECT is on
	uint32_t mem_align; // of buffers, when direct
	uint32_t io_align; // of offsets and lengths, when direct
	uint32_t slice; // FILE_SLICE_*
	const uint8_t *zeroes; // owned mapping: FILE_ZEROES_LEN zeros
	_Atomic bool no_zero_range; // the file system refused FALLOC_FL_ZERO_RANGE
};

struct vol_file_chan {
	struct vol_chan c;
	struct vol_file *f; // borrowed
	struct io_uring ring;
	unsigned active; // with the kernel; <= FILE_RING: the completion ring never overflows
	uint64_t bytes; // that those move
	uint32_t staged; // bytes of operations prepared since the last push
	uint32_t copied; // bytes out of bounce buffers in this call
	struct vol_io *head, **tail; // waiting for room in the ring or a bounce buffer
	uint8_t *bounce; // owned mapping: FILE_BOUNCE buffers; NULL when not direct
	uint32_t bounce_free; // bit i: buffer i is free
};

/*
 * The file is this volume's alone from now on, a device by any of its names: 0, -EBUSY, or the
 * errno of fcntl(2), open(2).
 */
int vol_file_lock(struct vol_file *f);
int vol_file_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out);
void vol_file_chan_close(struct vol_chan *c);
void vol_file_submit(struct vol_chan *c, struct vol_io *io);
unsigned vol_file_kick(struct vol_chan *c);
unsigned vol_file_poll(struct vol_chan *c);
int vol_file_fd(const struct vol_chan *c);
