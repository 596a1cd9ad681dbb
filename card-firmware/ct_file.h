/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections in a file: the frames of odp_ct_export(), one behind the other, the last of which
 * says so. Control thread.
 */
#pragma once

#include "card.h"
#include "odp_ct.h"

/* A table that is being written. Starts as zero, with these two set. */
struct card_ct_writer {
	int fd; // borrowed: a plain file
	bool stable; // make it so that a power failure leaves it
	bool ended; // all frames are written
	uint64_t at; // position of odp_ct_export()
	uint64_t bytes, connections; // so far; `connections` with expectations and mappings
	uint64_t flushed; // bytes that are on their way to the disk, at least
	uint8_t frame[ODP_CT_FRAME_MAX];
};

/*
 * Write the next frame. A step waits for the disk no longer than some MiB take. still: no packet
 * comes any more. 1: there is more to do, 0: that was all, or the errno of write(2) or
 * fdatasync(2).
 */
int card_ct_write(struct card_ct_writer *w, struct odp_ct *ct, bool still);

struct card_ct_reader; // a file that is being read

struct card_ct_taken {
	uint64_t connections, left_out; // left out: over, there already, or no room
	uint64_t age_ms; // of the last frame
};

/*
 * Take the connections of a file that only we or root could have written, in steps. All of it is
 * checked before any of it is used; a file without connections does not make the table. dir_fd:
 * AT_FDCWD or a directory. 0, or as card_file_open_trusted() or -ENOMEM, with e->text.
 */
int card_ct_read_open(struct card *c, int dir_fd, const char *path, struct card_ct_reader **out,
	struct card_error *e);
/*
 * The next frame. 1: there is more to do, 0: that was all, or -EBADMSG, -EPROTONOSUPPORT, -ENOMEM
 * or the errno of read(2), with e->text.
 */
int card_ct_read(struct card_ct_reader *r, struct card_error *e);
/* What has been taken so far. */
struct card_ct_taken card_ct_read_taken(const struct card_ct_reader *r);
/* What was taken stays. NULL: nothing. */
void card_ct_read_close(struct card_ct_reader *r);

/* All of that at once. */
int card_ct_take(struct card *c, int dir_fd, const char *path, struct card_ct_taken *out,
	struct card_error *e);

/* The time that the ages of files are measured in. */
uint64_t card_wall_ms(void);
