// SPDX-License-Identifier: Apache-2.0
/*
 * Connections that outlive their card.
 *
 * The control thread writes one frame at a time to conntrack.new, with other events between two of
 * them, and renames it when it is whole: a card that is killed at any moment leaves the last whole
 * file. That is not made stable, for a power failure ends the guests' connections anyway, and half
 * a file is refused. What is read at the start is not removed: a card that is killed again before
 * it has written anything leaves what it began with.
 */
#include "ct_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "card.h"
#include "ct_file.h"
#include "datapath.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "store.h"

#define FILE_NAME "conntrack"
#define FILE_NEW "conntrack.new"
#define REST_MS 3000 // from the end of a file to the beginning of the next
#define STEP_MS 5 // from frame to frame: 13 MB/s at most

struct card_ct_keep {
	struct card *card; // borrowed: owns us
	struct event *timer; // owned; NULL: nothing is written
	bool writing; // w.fd is open
	bool empty; // the last file that was written has no connections
	struct card_ct_keep_stats n;
	struct card_ct_writer w;
};

/* ---- in ---- */

int card_ct_keep_load(struct card *c)
{
	struct card_ct_keep *k;
	struct card_ct_taken taken;
	struct card_error e;
	char path[4096];
	int n, ret;

	if (!c->opt.state_dir)
		return 0;
	k = c->ct_keep = dpu_calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->card = c;
	n = snprintf(path, sizeof(path), "%s/" FILE_NAME, c->opt.state_dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return 0; // the store will say so
	ret = card_ct_take(c, AT_FDCWD, path, &taken, &e);
	if (ret == -ENOENT)
		return 0;
	if (!ret) {
		if (taken.connections + taken.left_out)
			dpu_info("conntrack: connections taken over",
				"n=%llu left_out=%llu age_ms=%llu",
				(unsigned long long)taken.connections,
				(unsigned long long)taken.left_out,
				(unsigned long long)taken.age_ms);
		return 0;
	}
	dpu_err("conntrack: file refused, starting without connections", "file=%s reason=\"%s\"",
		path, e.text);
	k->n.load_refused++;
	if (odp_conntrack(c->dp))
		odp_ct_flush(odp_conntrack(c->dp), ODP_CT_ALL_ZONES);
	return 0;
}

void card_ct_keep_free(struct card *c)
{
	free(c->ct_keep);
	c->ct_keep = NULL;
}

/* ---- out ---- */

static int begin(struct card_ct_keep *k)
{
	int dir = card_store_dir(k->card);

	if (unlinkat(dir, FILE_NEW, 0) && errno != ENOENT)
		return -errno;
	k->w.fd = openat(dir, FILE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (k->w.fd < 0)
		return -errno;
	k->w.at = k->w.bytes = k->w.connections = k->w.flushed = 0;
	k->w.stable = k->w.ended = false;
	k->writing = true;
	return 0;
}

static void end(struct card_ct_keep *k, int ret)
{
	int dir = card_store_dir(k->card);

	if (k->writing) {
		if (close(k->w.fd) && !ret)
			ret = -errno;
		k->writing = false;
		if (!ret && renameat(dir, FILE_NEW, dir, FILE_NAME))
			ret = -errno;
		if (ret)
			unlinkat(dir, FILE_NEW, 0);
	}
	if (ret) {
		k->n.save_failures++;
		dpu_warn_ratelimited("conntrack: connections are not kept",
			"dir=%s file=" FILE_NEW " reason=\"%s\"", k->card->opt.state_dir,
			strerror(-ret));
		return;
	}
	k->n.saves++;
	k->empty = k->w.connections == 0;
	k->n.saved_connections = k->w.connections;
	k->n.saved_bytes = k->w.bytes;
}

/* As card_ct_write(), timed. */
static int step(struct card_ct_keep *k, struct odp_ct *ct)
{
	uint64_t from = dpu_now_ns(), us;
	int ret = k->writing ? 0 : begin(k);

	if (!ret)
		ret = card_ct_write(&k->w, ct, false);
	us = (dpu_now_ns() - from) / 1000;
	if (us > k->n.step_max_us)
		k->n.step_max_us = us;
	return ret;
}

static bool is_empty(const struct odp_ct *ct)
{
	struct odp_ct_stats s;

	odp_ct_stats(ct, &s);
	return s.conns + s.by_state[ODP_CT_EXPECTED] == 0;
}

/* The table, where there is something to write of it. */
static struct odp_ct *to_write(struct card_ct_keep *k)
{
	struct odp_ct *ct = odp_conntrack(k->card->dp);

	if (!ct || k->writing || !k->empty || !is_empty(ct))
		return ct;
	k->n.saves_skipped++;
	return NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct card_ct_keep *k = arg;
	struct odp_ct *ct = to_write(k);
	int ret = ct ? step(k, ct) : 0;
	const unsigned ms = ret > 0 ? STEP_MS : REST_MS;
	const struct timeval later = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	(void)fd;
	(void)what;
	if (ct && ret <= 0)
		end(k, ret);
	event_add(k->timer, &later);
}

int card_ct_keep_start(struct card *c)
{
	static const struct timeval soon = { .tv_usec = STEP_MS * 1000 };
	struct card_ct_keep *k = c->ct_keep;

	if (!k)
		return 0;
	k->timer = event_new(c->loop, -1, 0, on_timer, k);
	if (k->timer && event_add(k->timer, &soon) == 0)
		return 0;
	if (k->timer)
		event_free(k->timer);
	k->timer = NULL;
	return -ENOMEM;
}

/*
 * Whole and stable, from the start: what was being written has packets behind it. Others are
 * answered in between: front-ends that leave, and clients, who are told that the card stops.
 */
static void write_last(struct card_ct_keep *k, struct odp_ct *ct)
{
	int ret;

	if (k->writing)
		close(k->w.fd);
	k->writing = false;
	ret = begin(k);
	k->w.stable = true;
	while (ret >= 0 && (ret = card_ct_write(&k->w, ct, true)) > 0)
		event_base_loop(k->card->loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	end(k, ret);
	if (!ret)
		dpu_info("conntrack: connections kept", "n=%llu bytes=%llu",
			(unsigned long long)k->n.saved_connections,
			(unsigned long long)k->n.saved_bytes);
}

void card_ct_keep_stop(struct card *c)
{
	struct card_ct_keep *k = c->ct_keep;

	if (!k)
		return;
	event_free(k->timer);
	k->timer = NULL;
	if (!odp_conntrack(c->dp))
		return;
	card_datapath_pause(c);
	write_last(k, odp_conntrack(c->dp));
}

void card_ct_keep_stats(const struct card *c, struct card_ct_keep_stats *out)
{
	*out = c->ct_keep ? c->ct_keep->n : (struct card_ct_keep_stats){ 0 };
}
