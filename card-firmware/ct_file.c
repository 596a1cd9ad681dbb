// SPDX-License-Identifier: Apache-2.0
/* Connections to a file, and out of one. */
#include "ct_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc_schema.h"
#include "trusted.h"

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

int card_ct_write(struct card_ct_writer *w, struct odp_ct *ct, bool still)
{
	const struct odp_ct_stamp stamp = { .wall_ms = card_wall_ms(), .still = still };
	int len = odp_ct_export(ct, &w->at, &stamp, now_ms(), w->frame, sizeof(w->frame)), ret;

	if (len <= 0)
		return len;
	ret = card_file_write_all(w->fd, w->frame, (size_t)len);
	if (ret)
		return ret;
	w->bytes += (uint64_t)len;
	w->connections += ((unsigned)len - ODP_CT_FRAME_HDR) / ODP_CT_RECORD_BYTES;
	return 1;
}

int card_ct_write_all(struct card_ct_writer *w, struct odp_ct *ct, bool still)
{
	int ret;

	do
		ret = card_ct_write(w, ct, still);
	while (ret > 0);
	return !ret && fdatasync(w->fd) ? -errno : ret;
}

/* ---- in ---- */

struct reader {
	int fd;
	uint64_t left; // bytes of the file, as it was when it was opened
	struct odp_ct_import checked; // the frames so far
	uint8_t frame[ODP_CT_FRAME_MAX];
};

/* Exactly that many bytes. */
static int read_all(struct reader *r, uint8_t *to, size_t len)
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
static int next(struct reader *r)
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

/* All frames, as they come. ct: where to, or NULL, and `im` with it, to check them only. */
static int go_through(struct reader *r, uint64_t bytes, struct odp_ct *ct, struct odp_ct_import *im)
{
	int len;

	r->left = bytes;
	r->checked = (struct odp_ct_import){ 0 };
	while ((len = next(r)) > 0) {
		int ret = odp_ct_import_check(&r->checked, r->frame, (size_t)len);

		if (ret >= 0 && ct) {
			uint64_t wall = card_wall_ms(), then = r->checked.stamp.wall_ms;

			// A clock that was set back makes nothing older.
			uint64_t age = wall > then ? wall - then : 0;

			im->age_ms = (uint32_t)(age < AGE_MAX_MS ? age : AGE_MAX_MS);
			im->loose = !r->checked.stamp.still;
			ret = odp_ct_import(ct, im, r->frame, (size_t)len, now_ms());
		}
		if (ret < 0)
			return ret;
	}
	return len < 0 ? len : r->checked.complete ? 0 : -EBADMSG;
}

static int take(struct card *c, struct reader *r, uint64_t bytes, struct card_ct_taken *out,
	struct card_error *e)
{
	struct odp_ct_import im = { 0 };
	struct odp_ct *ct;
	int ret = go_through(r, bytes, NULL, NULL);
	uint64_t all = r->checked.n;

	if (!ret && all) {
		ret = odp_conntrack_get(c->dp, &ct);
		if (!ret && lseek(r->fd, 0, SEEK_SET) < 0)
			ret = -errno;
		if (!ret)
			ret = go_through(r, bytes, ct, &im);
	}
	*out = (struct card_ct_taken){
		.connections = im.n, .left_out = all > im.n ? all - im.n : 0, .age_ms = im.age_ms
	};
	if (ret == -EBADMSG)
		return card_fail(e, ret, "not connections, cut short or corrupt (at frame %u)",
			r->checked.seq);
	if (ret == -EPROTONOSUPPORT)
		return card_fail(e, ret, "written by another version");
	return ret ? card_fail(e, ret, "%s", strerror(-ret)) : 0;
}

int card_ct_take(struct card *c, int dir_fd, const char *path, struct card_ct_taken *out,
	struct card_error *e)
{
	// Twice what a full table takes, in frames that are nearly empty or not.
	uint64_t size_max = (1u << 20) + c->opt.ct_conns * ODP_CT_RECORD_BYTES * 2;
	struct stat st;
	struct reader *r;
	int fd = card_file_open_trusted(dir_fd, path, size_max, &st, e), ret;

	*out = (struct card_ct_taken){ 0 };
	if (fd < 0)
		return fd;
	r = dpu_calloc(1, sizeof(*r));
	if (r) {
		r->fd = fd;
		ret = take(c, r, (uint64_t)st.st_size, out, e);
	} else {
		ret = card_fail(e, -ENOMEM, "out of memory");
	}
	free(r);
	close(fd);
	return ret;
}
