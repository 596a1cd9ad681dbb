/* SPDX-License-Identifier: Apache-2.0 */
/* Files of which every byte is trusted: state and configuration. Any thread. */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "card.h"

/* The largest state or configuration file read. */
#define CARD_STORE_BYTES_MAX (16u << 20)

/*
 * Read a file that only this user (or root) could have written, and that nobody writes to while it
 * is read: a plain file with one name, owned by us or root, not writable by group and others, its
 * last component no link, of at most CARD_STORE_BYTES_MAX. A file renamed over it meanwhile changes
 * nothing: it is the one that was opened. dir_fd: AT_FDCWD or a directory. *out: free() it,
 * terminated.
 *
 * Returns the length, or -ELOOP, -EACCES (owner or mode), -EINVAL (no plain file), -EMLINK, -EFBIG,
 * -EBUSY (open for writing, or changed meanwhile), -ENOMEM, or the errno of open(2) and read(2).
 * e->text says why, without the path: the caller knows it.
 */
long card_file_read_trusted(int dir_fd, const char *path, char **out, struct card_error *e);
/*
 * The first part of it: a file that is open for reading and passed the checks, of at most size_max
 * bytes; close() it. Nobody can write to it until then, except where leases are not to be had: then
 * who reads it in pieces must be content with a file that changes meanwhile. The descriptor, or as
 * above.
 */
int card_file_open_trusted(
	int dir_fd, const char *path, uint64_t size_max, struct stat *st, struct card_error *e);
/* All of these bytes, from where the file stands. 0, or the errno of write(2). */
int card_file_write_all(int fd, const void *bytes, size_t len);
