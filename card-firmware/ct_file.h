/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections in a file: the frames of odp_ct_export(), one behind the other, the last of which
 * says so. Control thread.
 */
#pragma once

#include "card.h"
#include "odp_ct.h"

/* A table that is being written. */
struct card_ct_writer {
	int fd; // borrowed
	uint64_t at; // position of odp_ct_export()
	uint64_t bytes, connections; // so far; `connections` with expectations and mappings
	uint8_t frame[ODP_CT_FRAME_MAX];
};

/*
 * Write the next frame. still: no packet comes any more. 1: there is more to write, 0: that was
 * all, or the errno of write(2).
 */
int card_ct_write(struct card_ct_writer *w, struct odp_ct *ct, bool still);

/* From there to the end, and make it stable. 0, or the errno of write(2) or fdatasync(2). */
int card_ct_write_all(struct card_ct_writer *w, struct odp_ct *ct, bool still);

struct card_ct_taken {
	uint64_t connections, left_out; // left out: over, there already, or no room
	uint64_t age_ms; // of the last frame
};
/*
 * Take the connections of a file that only we or root could have written. All of it is checked
 * before any of it is used; a file without connections does not make the table. dir_fd: AT_FDCWD or
 * a directory.
 *
 * Returns 0, or as card_file_open_trusted(), -EBADMSG, -EPROTONOSUPPORT or -ENOMEM with e->text.
 */
int card_ct_take(struct card *c, int dir_fd, const char *path, struct card_ct_taken *out,
	struct card_error *e);

/* The time that the ages of files are measured in. */
uint64_t card_wall_ms(void);
