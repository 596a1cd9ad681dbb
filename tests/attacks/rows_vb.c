// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VB: virtio-blk requests. */
#include "atk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drv_verify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct disk {
	struct drv_blk b;
	struct drv_blk_io io;
};

static int open_disk(struct atk_env *e, const char *function, struct disk *d)
{
	struct drv_blk_conf c = { 0 };
	int ret = atk_blk_open(e, function, &c, &d->b);

	if (!ret && drv_blk_io_init(&d->b, &d->io, 1 << 20, 0)) {
		drv_blk_close(&d->b);
		ret = atk_fail(e, "no memory");
	}
	return ret;
}

static int request(struct disk *d, uint32_t type, uint64_t sector, uint32_t len)
{
	return drv_blk_sync(&d->b, 0, &d->io, type, sector, len, ATK_REPLY_MS);
}

static bool error_status(int status)
{
	return status == VIRTIO_BLK_S_IOERR || status == VIRTIO_BLK_S_UNSUPP;
}

static bool all(const uint8_t *p, size_t len, uint8_t v)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != v)
			return false;
	return true;
}

static int range(struct atk_env *e, struct disk *d)
{
	uint64_t cap = d->b.cfg.capacity;
	const struct {
		uint64_t sector;
		uint32_t len;
	} t[] = { { UINT64_MAX, 512 }, { cap - 1, 1024 }, { cap, 512 }, { 1ULL << 55, 4096 },
		{ (1ULL << 55) - 1, 1024 }, { UINT64_MAX / 512, 512 } };

	for (size_t i = 0; i < COUNT(t); i++) {
		memset(d->io.data, 0x5a, 4096);
		int st = request(d, VIRTIO_BLK_T_IN, t[i].sector, t[i].len);

		ATK_CHECK(e, st == VIRTIO_BLK_S_IOERR, "read %zu: status %d", i, st);
		ATK_CHECK(e, all(d->io.data, t[i].len, 0x5a), "read %zu wrote data", i);
		st = request(d, VIRTIO_BLK_T_OUT, t[i].sector, t[i].len);
		ATK_CHECK(e, st == VIRTIO_BLK_S_IOERR, "write %zu: status %d", i, st);
	}
	return 0;
}

static int lengths(struct atk_env *e, struct disk *d)
{
	const uint32_t len[] = { 511, 513, 0, 1 };

	for (size_t i = 0; i < COUNT(len); i++)
		for (unsigned w = 0; w < 2; w++) {
			memset(d->io.data, 0x5a, 1024);
			int st = request(d, w ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0, len[i]);

			// Nothing asked for may also be nothing done.
			ATK_CHECK(e, error_status(st) || (!len[i] && st == VIRTIO_BLK_S_OK),
				"%u bytes: status %d", len[i], st);
			ATK_CHECK(e, all(d->io.data, 1024, 0x5a), "%u bytes: partial", len[i]);
		}
	return 0;
}

static int get_id(struct atk_env *e, struct disk *d)
{
	const uint32_t len[] = { 0, 19, 20, 21, 4096 };

	for (size_t i = 0; i < COUNT(len); i++) {
		memset(d->io.data, 0x5a, 8192);
		int st = request(d, VIRTIO_BLK_T_GET_ID, 0, len[i]);
		uint32_t n = len[i] < 20 ? len[i] : 20;

		ATK_CHECK(
			e, st == VIRTIO_BLK_S_OK || error_status(st), "%u: status %d", len[i], st);
		ATK_CHECK(e, all(d->io.data + n, 8192 - n, 0x5a), "%u: more than 20 bytes", len[i]);
		ATK_CHECK(e, len[i] < 20 || st == VIRTIO_BLK_S_OK, "%u: status %d", len[i], st);
	}
	return 0;
}

static int discards(struct atk_env *e, struct disk *d)
{
	uint64_t cap = d->b.cfg.capacity;
	const struct virtio_blk_discard_write_zeroes t[] = { { cap, 1, 0 }, { cap - 1, 2, 0 },
		{ 0, UINT32_MAX, 0 }, { 1ULL << 55, 8, 0 }, { UINT64_MAX, 1, 0 },
		{ 0, 8, 0xfffffffe } };
	const uint32_t types[] = { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES };

	memset(d->io.data, 0x77, 8192);
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_OUT, 0, 8192) == 0, "cannot write");
	for (size_t k = 0; k < COUNT(types); k++) {
		for (size_t i = 0; i < COUNT(t); i++) {
			memcpy(d->io.data, &t[i], 16);
			int st = request(d, types[k], 0, 16);

			ATK_CHECK(e, error_status(st), "type %u case %zu: status %d", types[k], i,
				st);
		}
		const uint32_t odd[] = { 0, 1, 15, 17, 16 * 4096 };

		for (size_t i = 0; i < COUNT(odd); i++) {
			for (uint32_t at = 0; at < odd[i]; at += 16)
				memcpy(d->io.data + at,
					&(struct virtio_blk_discard_write_zeroes){ 0, 0, 0 }, 16);
			int st = request(d, types[k], 0, odd[i]);

			ATK_CHECK(e, error_status(st) || (!odd[i] && !st), "type %u, %u bytes: %d",
				types[k], odd[i], st);
		}
	}
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_IN, 0, 8192) == 0, "cannot read");
	ATK_CHECK(e, all(d->io.data, 8192, 0x77), "a refused request changed data");
	return 0;
}

static int read_only(struct atk_env *e, struct disk *d)
{
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_IN, 0, 4096) == 0, "cannot read");
	uint8_t before[4096];

	memcpy(before, d->io.data, sizeof(before));
	memset(d->io.data, 0xbb, 4096);
	int st = request(d, VIRTIO_BLK_T_OUT, 0, 4096);

	ATK_CHECK(e, st == VIRTIO_BLK_S_IOERR, "write: status %d", st);
	memcpy(d->io.data, &(struct virtio_blk_discard_write_zeroes){ 0, 8, 0 }, 16);
	ATK_CHECK(e, error_status(request(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16)), "zeroes taken");
	memcpy(d->io.data, &(struct virtio_blk_discard_write_zeroes){ 0, 8, 0 }, 16);
	ATK_CHECK(e, error_status(request(d, VIRTIO_BLK_T_DISCARD, 0, 16)), "discard taken");
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_IN, 0, 4096) == 0, "cannot read");
	ATK_CHECK(e, !memcmp(before, d->io.data, 4096), "content changed");
	return 0;
}

static int flush(struct atk_env *e, struct disk *d)
{
	int st = request(d, VIRTIO_BLK_T_FLUSH, 12345, 512);

	ATK_CHECK(e, st == VIRTIO_BLK_S_OK, "flush with data: status %d", st);
	return 0;
}

/* The data buffer has the wrong direction for the type. */
static int direction(struct atk_env *e, struct disk *d)
{
	uint8_t *status;

	memcpy(&status, &d->io.status, sizeof(status));
	for (uint32_t type = 0; type < 2; type++) {
		uint64_t hdr = drv_mem_gpa(&d->b.mem, d->io.hdr);
		const struct drv_seg s[] = { { hdr, 16 },
			{ drv_mem_gpa(&d->b.mem, d->io.data), 512 },
			{ drv_mem_gpa(&d->b.mem, status), 1 } };

		memset(d->io.data, 0x5a, 512);
		*d->io.hdr = (struct virtio_blk_outhdr){ type, 0, 0 };
		ATK_CHECK(e, !drv_blk_submit_segs(&d->b, 0, &d->io, s, type ? 1 : 2, type ? 2 : 1),
			"ring full");
		drv_ring_kick(&d->b.rings[0]);
		int st = drv_blk_wait(&d->b, 0, &d->io, ATK_REPLY_MS);

		ATK_CHECK(e, error_status(st) || st == VIRTIO_BLK_S_OK, "type %u: %d", type, st);
		ATK_CHECK(e, all(d->io.data, 512, 0x5a), "type %u: buffer written", type);
	}
	return 0;
}

static int own_bytes(struct atk_env *e, struct disk *d)
{
	memset(d->io.data, 0x33, 65536);
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_OUT, 64, 65536) == 0, "cannot write");
	memcpy(d->io.data, &(struct virtio_blk_discard_write_zeroes){ 64, 128, 0 }, 16);
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_DISCARD, 0, 16) == 0, "cannot discard");
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_IN, 64, 65536) == 0, "cannot read");
	for (unsigned i = 0; i < 65536; i++)
		ATK_CHECK(e, d->io.data[i] == 0x33 || d->io.data[i] == 0, "foreign byte at %u", i);
	return 0;
}

/* Run fn on a session of the function. */
static int on(struct atk_env *e, const char *function, int (*fn)(struct atk_env *, struct disk *))
{
	struct disk d;
	int ret = open_disk(e, function, &d);

	if (ret)
		return ret;
	ret = fn(e, &d);
	drv_blk_close(&d.b);
	return ret;
}

static int vb01(struct atk_env *e)
{
	return on(e, ATK_BLK, range);
}

static int vb02(struct atk_env *e)
{
	return on(e, ATK_BLK, lengths);
}

static int vb05(struct atk_env *e)
{
	return on(e, ATK_BLK, get_id);
}

static int vb07(struct atk_env *e)
{
	return on(e, ATK_BLK, discards);
}

static int vb08(struct atk_env *e)
{
	return on(e, ATK_BLK_RO, read_only);
}

static int vb09(struct atk_env *e)
{
	return on(e, ATK_BLK, flush);
}

static int vb10(struct atk_env *e)
{
	return on(e, ATK_BLK, direction);
}

#define WCE_OFF offsetof(struct virtio_blk_config, wce)

static int set_wce(struct drv_blk *b, uint8_t on)
{
	struct drv_msg m;

	if (!drv_blk_has(b, VIRTIO_BLK_F_CONFIG_WCE))
		return -ENOTSUP;
	memset(&m.p.config, 0, sizeof(m.p.config));
	m.p.config.off = WCE_OFF;
	m.p.config.size = 1;
	m.p.config.data[0] = on;
	return drv_vu_call(&b->vu, DRV_SET_CONFIG, &m, 13, NULL, 0);
}

/*
 * writeback toggled during writes, then the daemon is killed: acknowledged writes are there, and
 * the next daemon knows what was chosen last.
 */
static int toggle_and_kill(struct atk_env *e, struct atk_daemon *d, struct drv_blk *b, uint8_t last)
{
	const struct drv_verify_conf vc = { .seed = 12,
		.sectors = 8 << 11,
		.qd = 8,
		.max_len = 32768,
		.flush = true,
		.reconnect_ms = 30000 };
	struct drv_verify_stats st;
	struct drv_verify *v;
	int ret = drv_verify_create(b, &vc, &v);

	for (unsigned i = 0; !ret && i < 20; i++) {
		ret = set_wce(b, i & 1);
		if (!ret)
			ret = drv_verify_run(v, NULL, 20000000);
	}
	if (!ret)
		ret = set_wce(b, last);
	if (!ret) {
		atk_daemon_kill(d, SIGKILL);
		ret = atk_daemon_start(d);
	}
	if (!ret)
		ret = drv_verify_run(v, NULL, 200000000);
	if (!ret)
		ret = drv_verify_all(v);
	if (!ret)
		ret = drv_vu_get_config(&b->vu);
	drv_verify_stats(v, &st);
	drv_verify_destroy(v);
	ATK_CHECK(e, !ret, "%s", strerror(-ret));
	ATK_CHECK(e, st.restarts == 1 && !drv_verify_errors(&st), "%lu wrong",
		(unsigned long)drv_verify_errors(&st));
	ATK_CHECK(e, b->vu.config[WCE_OFF] == last, "writeback %u after it was set to %u",
		b->vu.config[WCE_OFF], last);
	return 0;
}

static int vb12_last(struct atk_env *e, uint8_t last)
{
	static const char form[] =
		"[{\"method\": \"bdev_uring_create\", \"params\": {\"name\": \"v\", \"direct\": "
		"false, "
		"\"filename\": \"%s/disk\", \"block_size\": 512, \"num_blocks\": 32768}},\n"
		"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"d\", "
		"\"dev_name\": \"v\"}}]\n";
	struct atk_daemon d = { .dir = "/tmp/atkb.XXXXXX" };
	char config[1024], file[128];
	struct drv_blk b;
	int ret;

	memcpy(d.binary, e->d->binary, sizeof(d.binary));
	ATK_CHECK(e, mkdtemp(d.dir), "mkdtemp");
	snprintf(config, sizeof(config), form, d.dir);
	d.config = config;
	ret = atk_daemon_start(&d);
	if (!ret) {
		struct drv_blk_conf c = { .inflight = true };

		snprintf(file, sizeof(file), "%s/d", d.dir);
		c.path = file;
		ret = drv_blk_open(&b, &c);
		if (!ret) {
			ret = toggle_and_kill(e, &d, &b, last);
			drv_blk_close(&b);
		} else {
			atk_fail(e, "session refused: %s", strerror(-ret));
		}
	} else {
		atk_fail(e, "second daemon does not start: %s", strerror(-ret));
	}
	if (atk_daemon_kill(&d, SIGTERM) && !ret)
		ret = atk_fail(e, "the daemon did not end well");
	const char *const left[] = { "disk", "config", "d", "rpc" };

	for (size_t i = 0; i < COUNT(left); i++) {
		snprintf(file, sizeof(file), "%s/%s", d.dir, left[i]);
		unlink(file);
	}
	rmdir(d.dir);
	return ret;
}

static int vb12(struct atk_env *e)
{
	int ret = vb12_last(e, 0);

	return ret ? ret : vb12_last(e, 1);
}

/* Data digests come with NVMe/TCP. */
static int vb16(struct atk_env *e)
{
	atk_fail(e, "no volume has data digests");
	return ATK_NOT_APPLICABLE;
}

/* Reset while requests complete. */
static int vb15(struct atk_env *e)
{
	for (unsigned i = 0; i < atk_times(e, 300); i++) {
		struct drv_blk_conf c = { 0 };
		struct drv_blk_io io[32];
		struct drv_blk b;
		int ret = atk_blk_open(e, ATK_BLK, &c, &b);

		if (ret)
			return ret;
		for (unsigned k = 0; k < COUNT(io); k++)
			if (!drv_blk_io_init(&b, &io[k], 65536, 0))
				drv_blk_submit(&b, 0, &io[k], k & 1, 128 * k, 65536);
		drv_ring_kick(&b.rings[0]);
		if (i % 3 == 0 && (b.vu.pf & DRV_BIT(DRV_PF_RESET_DEVICE))) {
			struct drv_msg m;

			ret = drv_vu_call(&b.vu, DRV_RESET_DEVICE, &m, 0, NULL, 0);
		} else if (i % 3 == 1) {
			ret = drv_vu_ring_stop(&b.vu, 0) < 0 ? -EPROTO : 0;
		}
		// Every third session just goes, with all its requests out.
		drv_blk_close(&b);
		ATK_CHECK(e, !ret, "reset %u: %s", i, strerror(-ret));
	}
	return 0;
}

static int zeros(struct atk_env *e, struct disk *d)
{
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_IN, 0, 1 << 20) == 0, "cannot read");
	ATK_CHECK(e, all(d->io.data, 1 << 20, 0), "bytes of a deleted volume");
	return 0;
}

static int mark(struct atk_env *e, struct disk *d)
{
	memset(d->io.data, 0x44, 1 << 20);
	ATK_CHECK(e, request(d, VIRTIO_BLK_T_OUT, 0, 1 << 20) == 0, "cannot write");
	return 0;
}

static int vb20(struct atk_env *e)
{
	static const char vol[] =
		"{\"name\": \"again\", \"block_size\": 512, \"num_blocks\": 16384}";
	static const char fn[] = "{\"ctrlr\": \"atk-again\", \"dev_name\": \"again\"}";
	int ret = on(e, ATK_BLK, own_bytes);

	for (unsigned i = 0; !ret && i < 2; i++) {
		ATK_CHECK(e, !atk_daemon_rpc(e->d, "bdev_malloc_create", vol), "create volume");
		ATK_CHECK(
			e, !atk_daemon_rpc(e->d, "vhost_create_blk_controller", fn), "create disk");
		ret = on(e, "atk-again", zeros);
		if (!ret)
			ret = on(e, "atk-again", mark);
		ATK_CHECK(e,
			!atk_daemon_rpc(
				e->d, "vhost_delete_controller", "{\"ctrlr\": \"atk-again\"}"),
			"delete disk");
		ATK_CHECK(e, !atk_daemon_rpc(e->d, "bdev_malloc_delete", "{\"name\": \"again\"}"),
			"delete volume");
	}
	return ret;
}

static const struct atk_row rows[] = {
	{ "VB-01", "sectors beyond the end and wrapping", vb01 },
	{ "VB-02", "data lengths that are no sectors", vb02 },
	{ "VB-05", "GET_ID with any length", vb05 },
	{ "VB-07", "discard and write-zeroes out of range", vb07 },
	{ "VB-08", "write to a read-only disk", vb08 },
	{ "VB-09", "flush with data", vb09 },
	{ "VB-10", "buffers of the wrong direction", vb10 },
	{ "VB-12", "writeback toggled, then SIGKILL", vb12 },
	{ "VB-15", "reset while requests complete", vb15 },
	{ "VB-16", "buffer rewritten while its digest is computed", vb16 },
	{ "VB-20", "bytes of another tenant after discard or re-creation", vb20 },
};
const struct atk_group atk_vb_rows = { rows, COUNT(rows) };
