// SPDX-License-Identifier: Apache-2.0
/* Connections to a file, and out of one. */
#include "ct_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc_schema.h"
#include "trusted.h"

#define FLUSH_BYTES (1u << 20) // handed to the disk at a time
#define LAST_BYTES (FLUSH_BYTES + ODP_CT_FRAME_MAX) // no more were handed over the last time
#define AGE_MAX_MS 2000000000u // nothing is kept for longer

uint64_t card_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t now_ms(void)
{
	return dpu_now_ns() / 1000000;
}

/* ---- out ---- */

/*
 * Hand to the disk what has come together, and wait until it has what it was handed before that:
 * so no step waits for long, and little is left for the last one. Where this is not to be had, that
 * one does it all.
 */
static int flush_some(struct card_ct_writer *w)
{
	const unsigned wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			      SYNC_FILE_RANGE_WAIT_AFTER;
	uint64_t from = w->flushed, last = from > LAST_BYTES ? from - LAST_BYTES : 0;

	if (w->bytes - from < FLUSH_BYTES)
		return 0;
	w->flushed = w->bytes;
	if (sync_file_range(
		    w->fd, (off64_t)from, (off64_t)(w->bytes - from), SYNC_FILE_RANGE_WRITE) ||
		(from && sync_file_range(w->fd, (off64_t)last, (off64_t)(from - last), wait)))
		return errno == EIO || errno == ENOSPC ? -errno : 0;
	return 0;
}

int card_ct_write(struct card_ct_writer *w, struct odp_ct *ct, bool still)
{
	const struct odp_ct_stamp stamp = { .wall_ms = card_wall_ms(), .still = still };
	int len, ret;

	if (w->ended)
		return fdatasync(w->fd) ? -errno : 0;
	len = odp_ct_export(ct, &w->at, &stamp, now_ms(), w->frame, sizeof(w->frame));
	if (len <= 0) {
		w->ended = !len && w->stable;
		return w->ended ? 1 : len;
	}
	ret = card_file_write_all(w->fd, w->frame, (size_t)len);
	if (ret)
		return ret;
	w->bytes += (uint64_t)len;
	w->connections += ((unsigned)len - ODP_CT_FRAME_HDR) / ODP_CT_RECORD_BYTES;
	ret = w->stable ? flush_some(w) : 0;
	return ret ? ret : 1;
}

/* ---- in ---- */

struct card_ct_reader {
	struct card *card; // borrowed
	int fd; // owned
	uint64_t bytes; // of the file, as it was when it was opened
	uint64_t left; // bytes of it, in this pass
	struct odp_ct *ct; // borrowed; NULL: the first pass, that checks only
	uint64_t all; // connections, by the first pass
	struct odp_ct_import checked; // frames of this pass
	struct odp_ct_import im; // what was taken
	uint8_t frame[ODP_CT_FRAME_MAX];
};

/* Exactly that many bytes. */
static int read_all(struct card_ct_reader *r, uint8_t *to, size_t len)
{
	if (len > r->left)
		return -EBADMSG;
	r->left -= len;
	while (len) {
		ssize_t n = read(r->fd, to, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The next frame. Its length, 0 at the end of the file, or a negative errno. */
static int next(struct card_ct_reader *r)
{
	int len, ret;

	if (!r->left)
		return 0;
	ret = read_all(r, r->frame, ODP_CT_FRAME_HDR);
	if (ret)
		return ret;
	len = odp_ct_frame_len(r->frame);
	if (len < 0)
		return len;
	ret = read_all(r, r->frame + ODP_CT_FRAME_HDR, (size_t)len - ODP_CT_FRAME_HDR);
	return ret ? ret : len;
}

/* A frame that passed its check, into the table. */
static int take(struct card_ct_reader *r, size_t len)
{
	uint64_t wall = card_wall_ms(), then = r->checked.stamp.wall_ms;
	uint64_t age = wall > then ? wall - then : 0; // set back: makes nothing older

	r->im.age_ms = (uint32_t)(age < AGE_MAX_MS ? age : AGE_MAX_MS);
	r->im.loose = !r->checked.stamp.still;
	return odp_ct_import(r->ct, &r->im, r->frame, len, now_ms());
}

/* The end of a pass: 1: there is another. */
static int pass_done(struct card_ct_reader *r)
{
	int ret;

	if (!r->checked.complete)
		return -EBADMSG;
	if (r->ct)
		return 0;
	r->all = r->checked.n;
	if (!r->all)
		return 0;
	ret = odp_conntrack_get(r->card->dp, &r->ct);
	if (!ret && lseek(r->fd, 0, SEEK_SET) < 0)
		ret = -errno;
	r->left = r->bytes;
	r->checked = (struct odp_ct_import){ 0 };
	return ret ? ret : 1;
}

static int read_one(struct card_ct_reader *r)
{
	int len = next(r), ret;

	if (len <= 0)
		return len ? len : pass_done(r);
	ret = odp_ct_import_check(&r->checked, r->frame, (size_t)len);
	if (ret >= 0 && r->ct)
		ret = take(r, (size_t)len);
	return ret < 0 ? ret : 1;
}

int card_ct_read(struct card_ct_reader *r, struct card_error *e)
{
	int ret = read_one(r);

	if (ret == -EBADMSG)
		return card_fail(e, ret, "not connections, cut short or corrupt (at frame %u)",
			r->checked.seq);
	if (ret == -EPROTONOSUPPORT)
		return card_fail(e, ret, "written by another version");
	return ret < 0 ? card_fail(e, ret, "%s", strerror(-ret)) : ret;
}

struct card_ct_taken card_ct_read_taken(const struct card_ct_reader *r)
{
	return (struct card_ct_taken){ .connections = r->im.n,
		.left_out = r->all > r->im.n ? r->all - r->im.n : 0,
		.age_ms = r->im.age_ms };
}

int card_ct_read_open(struct card *c, int dir_fd, const char *path, struct card_ct_reader **out,
	struct card_error *e)
{
	// Twice what a full table takes, in frames that are nearly empty or not.
	uint64_t size_max = (1u << 20) + c->opt.ct_conns * ODP_CT_RECORD_BYTES * 2;
	struct stat st;
	struct card_ct_reader *r;
	int fd = card_file_open_trusted(dir_fd, path, size_max, &st, e);

	if (fd < 0)
		return fd;
	r = dpu_calloc(1, sizeof(*r));
	if (!r) {
		close(fd);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	r->card = c;
	r->fd = fd;
	r->bytes = r->left = (uint64_t)st.st_size;
	*out = r;
	return 0;
}

void card_ct_read_close(struct card_ct_reader *r)
{
	if (!r)
		return;
	close(r->fd);
	free(r);
}

int card_ct_take(struct card *c, int dir_fd, const char *path, struct card_ct_taken *out,
	struct card_error *e)
{
	struct card_ct_reader *r = NULL;
	int ret = card_ct_read_open(c, dir_fd, path, &r, e);

	*out = (struct card_ct_taken){ 0 };
	if (!r)
		return ret;
	do
		ret = card_ct_read(r, e);
	while (ret > 0);
	*out = card_ct_read_taken(r);
	card_ct_read_close(r);
	return ret;
}
