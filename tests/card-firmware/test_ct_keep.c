// SPDX-License-Identifier: Apache-2.0
/* Connections that outlive a card, and files that hold none whatever they say. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card_env.h"
#include "ct_file.h"
#include "ct_keep.h"
#include "ct_pkts.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "store.h"

#define N 700u // connections: three frames

static struct card card;
static struct card_error err;
static char dir[] = "/tmp/ct_keep.XXXXXX";
static char path[64], next_path[64];

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/conntrack", dir);
	(void)snprintf(next_path, sizeof(next_path), "%s/conntrack.new", dir);
	card.opt = (struct card_options){ .name = "ct",
		.mem_mib = 64,
		.mbufs = 2047,
		.socket_dir = "/tmp",
		.state_dir = dir,
		.ct_conns = 2048 };
	return card_env_open(&card);
}

static int teardown(void **state)
{
	char cmd[64];

	(void)state;
	card_env_close(&card);
	(void)snprintf(cmd, sizeof(cmd), "%s/state.json", dir);
	unlink(cmd);
	unlink(path);
	unlink(next_path);
	return rmdir(dir);
}

static struct odp_ct *table(void)
{
	struct odp_ct *ct;

	assert_int_equal(odp_conntrack_get(card.dp, &ct), 0);
	return ct;
}

static uint64_t count(void)
{
	struct odp_ct_stats s = { 0 };

	if (odp_conntrack(card.dp))
		odp_ct_stats(odp_conntrack(card.dp), &s);
	return s.conns;
}

static void fill(void)
{
	struct odp_ct *ct = table();
	struct ct_p p;

	odp_ct_online(ct, 0); // no flow tracks: the worker is not in it
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(
			ct_make(ct, ct_udp(&p, 1, 1000 + i, 2, 53, 3), dpu_now_ns() / 1000000), 0);
	odp_ct_offline(ct, 0);
}

/* A file of N connections; the table is empty afterwards. Its bytes, in `out`. */
static size_t make_file(uint8_t **out, bool still)
{
	struct card_ct_writer *w = calloc(1, sizeof(*w));
	struct stat st;
	int ret;

	assert_non_null(w);
	fill();
	unlink(path);
	w->fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(w->fd >= 0);
	while ((ret = card_ct_write(w, table(), still)) > 0)
		;
	assert_int_equal(ret, 0);
	assert_int_equal(w->connections, N);
	assert_int_equal(fstat(w->fd, &st), 0);
	assert_int_equal(st.st_size, w->bytes);
	*out = malloc((size_t)st.st_size);
	assert_non_null(*out);
	assert_int_equal(pread(w->fd, *out, (size_t)st.st_size, 0), st.st_size);
	close(w->fd);
	free(w);
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	return (size_t)st.st_size;
}

static void put_file(const uint8_t *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* How many files the start refuses: 0 or 1. */
static unsigned refused(void)
{
	struct card_ct_keep_stats s;

	assert_int_equal(card_ct_keep_load(&card), 0);
	card_ct_keep_stats(&card, &s);
	card_ct_keep_free(&card);
	return (unsigned)s.load_refused;
}

/* ---- files ---- */

static void nothing_there(void **state)
{
	(void)state;
	assert_int_equal(refused(), 0);
	assert_null(odp_conntrack(card.dp)); // and no table for it
}

static void comes_back(void **state)
{
	uint8_t *bytes;

	(void)state;
	make_file(&bytes, true);
	assert_int_equal(count(), 0);
	assert_int_equal(refused(), 0);
	assert_int_equal(count(), N);
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	free(bytes);
}

/* Time passed, by the clock on the wall: UDP that was seen once lasts for 60 s. */
static void grows_old(void **state)
{
	static const struct {
		int64_t since_s;
		uint64_t left;
	} rows[] = { { 59, N }, { 61, 0 }, { 1000000000, 0 }, { -3600, N } };
	uint8_t *bytes;
	size_t len = make_file(&bytes, true);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t at = 0; at < len;) {
			int n = odp_ct_frame_len(bytes + at);
			uint64_t then = card_wall_ms() - (uint64_t)(rows[i].since_s * 1000);
			dpu_le64 wall = dpu_le64_put(then);

			assert_true(n > 0);
			memcpy(bytes + at + 24, &wall, sizeof(wall));
			odp_ct_frame_seal(bytes + at, (size_t)n);
			at += (size_t)n;
		}
		put_file(bytes, len);
		assert_int_equal(refused(), 0);
		assert_int_equal(count(), rows[i].left);
		odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	}
	free(bytes);
}

/* Cut anywhere, a bit wrong anywhere, something behind it: none of it is taken. */
static void spoilt(void **state)
{
	uint8_t *bytes;
	size_t len = make_file(&bytes, true), first = (size_t)odp_ct_frame_len(bytes);

	(void)state;
	bytes = realloc(bytes, len + 1);
	assert_non_null(bytes);
	bytes[len] = 0;
	put_file(bytes, len + 1);
	assert_int_equal(refused(), 1);
	for (size_t cut = 0; cut < len; cut += cut < 40 || cut % first == 0 ? 1 : 1009) {
		put_file(bytes, cut);
		assert_int_equal(refused(), 1);
	}
	put_file(bytes, first); // the others are missing
	assert_int_equal(refused(), 1);
	for (size_t bit = 0; bit < len * 8; bit += bit < 300 ? 1 : 6007) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		put_file(bytes, len);
		assert_int_equal(refused(), 1);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memset(bytes + 12, 0xff, 4); // so many connections
	put_file(bytes, len);
	assert_int_equal(refused(), 1);
	assert_int_equal(count(), 0);
	free(bytes);
}

/* Whoever is refused a file is told which frame of it is wrong. */
static void says_which_frame(void **state)
{
	struct card_ct_taken taken;
	uint8_t *bytes;
	size_t len = make_file(&bytes, true), at = 0;
	char says[32];

	(void)state;
	for (unsigned frame = 0; at < len; frame++) {
		bytes[at + ODP_CT_FRAME_HDR] ^= 1; // an address of its first connection
		put_file(bytes, len);
		assert_int_equal(card_ct_take(&card, AT_FDCWD, path, &taken, &err), -EBADMSG);
		(void)snprintf(says, sizeof(says), "(at frame %u)", frame);
		if (!strstr(err.text, says))
			fail_msg("\"%s\" does not say \"%s\"", err.text, says);
		bytes[at + ODP_CT_FRAME_HDR] ^= 1;
		at += (size_t)odp_ct_frame_len(bytes + at);
	}
	assert_int_equal(count(), 0);
	free(bytes);
}

/* Not a file that only we could have written. */
static void not_ours(void **state)
{
	char other[64];
	uint8_t *bytes;
	size_t len = make_file(&bytes, true);

	(void)state;
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(refused(), 1);
	assert_int_equal(chmod(path, 0600), 0);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(refused(), 1);
	unlink(path);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(refused(), 1);
	unlink(path);
	unlink(other);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(refused(), 1);
	unlink(path);
	put_file(bytes, len);
	assert_int_equal(truncate(path, 64 << 20), 0);
	assert_int_equal(refused(), 1);
	unlink(path);
	assert_int_equal(count(), 0);
	free(bytes);
}

/* ---- while it runs ---- */

static void keep_open(void)
{
	assert_int_equal(card_ct_keep_load(&card), 0);
	assert_int_equal(card_store_open(&card), 0);
	assert_int_equal(card_ct_keep_start(&card), 0);
}

static uint64_t saves(void)
{
	struct card_ct_keep_stats s;

	card_ct_keep_stats(&card, &s);
	return s.saves + s.save_failures;
}

static void written_while_it_runs(void **state)
{
	struct card_ct_keep_stats s;
	struct card_ct_taken taken;
	struct stat st;

	(void)state;
	unlink(path);
	keep_open();
	fill();
	while (!saves())
		event_base_loop(card.loop, EVLOOP_ONCE);
	card_ct_keep_stats(&card, &s);
	assert_int_equal(s.saves, 1);
	assert_int_equal(s.saved_connections, N);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, s.saved_bytes);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(access(next_path, F_OK), -1);
	// Killed: whoever comes next finds it.
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	assert_int_equal(card_ct_take(&card, AT_FDCWD, path, &taken, &err), 0);
	assert_int_equal(taken.connections, N);
	// And again, with all of it there.
	assert_int_equal(card_ct_take(&card, AT_FDCWD, path, &taken, &err), 0);
	assert_int_equal(taken.connections, 0);
	assert_int_equal(taken.left_out, N);
	// The end: one more file, of what is there then.
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	card_ct_keep_stop(&card);
	assert_int_equal(saves(), 2);
	card_store_close(&card);
	card_ct_keep_free(&card);
	assert_int_equal(card_ct_take(&card, AT_FDCWD, path, &taken, &err), 0);
	assert_int_equal(taken.connections + taken.left_out, 0);
}

static int make_due(const struct event_base *base, const struct event *ev, void *arg)
{
	(void)base;
	(void)arg;
	if (event_get_callback_arg(ev) == card.ct_keep)
		event_active((struct event *)(uintptr_t)ev, EV_TIMEOUT, 0);
	return 0;
}

/* The time of the next file has come; run until it is written, or found to be as the last one. */
static void next_file(void)
{
	struct card_ct_keep_stats s;
	uint64_t before;

	card_ct_keep_stats(&card, &s);
	before = s.saves + s.saves_skipped;
	do {
		event_base_foreach_event(card.loop, make_due, NULL);
		event_base_loop(card.loop, EVLOOP_NONBLOCK);
		card_ct_keep_stats(&card, &s);
	} while (s.saves + s.saves_skipped == before);
	assert_int_equal(s.save_failures, 0);
}

/* A table that stays empty is written once. */
static void nothing_to_write(void **state)
{
	struct card_ct_keep_stats s;
	struct stat first, st;

	(void)state;
	unlink(path);
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	keep_open();
	next_file();
	assert_int_equal(saves(), 1);
	assert_int_equal(stat(path, &first), 0);
	for (unsigned i = 0; i < 3; i++)
		next_file();
	assert_int_equal(saves(), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_ino, first.st_ino);
	fill();
	next_file();
	assert_int_equal(saves(), 2);
	odp_ct_flush(table(), ODP_CT_ALL_ZONES);
	next_file(); // what was there is gone: that is to be written, too
	assert_int_equal(saves(), 3);
	card_ct_keep_stats(&card, &s);
	assert_int_equal(s.saved_connections, 0);
	next_file();
	assert_int_equal(saves(), 3);
	card_ct_keep_stop(&card);
	assert_int_equal(saves(), 4); // the last one, in any case
	card_store_close(&card);
	card_ct_keep_free(&card);
}

/* A file that cannot be written costs no more than itself. */
static void cannot_be_written(void **state)
{
	struct card_ct_keep_stats s;

	(void)state;
	unlink(path);
	keep_open();
	assert_int_equal(mkdir(next_path, 0700), 0);
	while (!saves())
		event_base_loop(card.loop, EVLOOP_ONCE);
	card_ct_keep_stats(&card, &s);
	assert_int_equal(s.save_failures, 1);
	assert_int_equal(rmdir(next_path), 0);
	card_ct_keep_stop(&card);
	card_ct_keep_stats(&card, &s);
	assert_int_equal(s.saves, 1);
	card_store_close(&card);
	card_ct_keep_free(&card);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_there), cmocka_unit_test(comes_back),
		cmocka_unit_test(grows_old), cmocka_unit_test(spoilt),
		cmocka_unit_test(says_which_frame), cmocka_unit_test(not_ours),
		cmocka_unit_test(nothing_to_write), cmocka_unit_test(cannot_be_written),
		cmocka_unit_test(written_while_it_runs), // polling ends with it
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
