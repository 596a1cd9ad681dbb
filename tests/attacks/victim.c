// SPDX-License-Identifier: Apache-2.0
/* The tenant beside the attacker: verified disk I/O and verified frames, each on a thread. */
#include "atk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "drv_hist.h"
#include "drv_verify.h"

#define GAP_NS 250000 // between two requests of a client that never waits

/* What the threads are told: a number that grows, and whether latencies start anew. */
struct order {
	_Atomic unsigned no;
	atomic_bool reset;
};

struct atk_victim {
	atomic_bool stop;
	struct order order;
	pthread_t disk_thread, net_thread;
	bool disk_started, net_started;
	struct drv_blk disk;
	struct drv_net net[2];
	struct drv_verify *verify; // owned
	struct drv_hist net_lat; // the net thread's
	_Atomic uint64_t requests, frames, disk_errors, net_errors;
	_Atomic uint64_t disk_p99_ns, net_p99_ns, disk_n, net_n; // as of the order that was seen
	_Atomic unsigned disk_saw, net_saw;
};

static void disk_order(struct atk_victim *v, const struct drv_verify_stats *st)
{
	unsigned no = atomic_load(&v->order.no);

	if (no == atomic_load(&v->disk_saw))
		return;
	if (atomic_load(&v->order.reset))
		drv_verify_lat_reset(v->verify);
	atomic_store(&v->disk_p99_ns, st->p99_ns);
	atomic_store(&v->disk_n, st->n_lat);
	atomic_store(&v->disk_saw, no);
}

static void *disk_run(void *arg)
{
	struct atk_victim *v = arg;
	struct drv_verify_stats st;
	int ret = 0;

	while (!ret && !atomic_load(&v->stop)) {
		ret = drv_verify_run(v->verify, &v->stop, 5000000);
		drv_verify_stats(v->verify, &st);
		atomic_store(
			&v->requests, st.reads + st.writes + st.flushes + st.discards + st.zeroes);
		atomic_store(&v->disk_errors, drv_verify_errors(&st) + (ret != 0));
		disk_order(v, &st);
	}
	return NULL;
}

static const uint8_t macs[2][6] = { { 2, 0, 0, 0xee, 0, 1 }, { 2, 0, 0, 0xee, 0, 2 } };

/* One frame there; true when it arrived whole. */
static bool ping(struct atk_victim *v, unsigned from, uint64_t seq, unsigned timeout_ms)
{
	uint64_t end = dpu_now_ns() + timeout_ms * 1000000ULL;
	uint32_t n = 60 + (uint32_t)(seq % 1400);
	uint8_t sent[2048], frame[2048];

	drv_frame_make(sent, macs[!from], macs[from], seq, n);
	atk_canary_fill(ATK_CANARY_NET, sent + 26, n - 26); // behind type, number and length
	if (drv_net_send(&v->net[from], 0, NULL, sent, n))
		return false;
	drv_net_flush(&v->net[from], 0);
	while (dpu_now_ns() < end) {
		int len = drv_net_recv(&v->net[!from], 0, NULL, frame, sizeof(frame));

		if (len == 0)
			drv_net_wait(&v->net[!from], 0, 20);
		else if (len > 0 && !memcmp(frame, macs[!from], 6))
			return (uint32_t)len >= n && !memcmp(frame, sent, n);
	}
	return false;
}

static void net_order(struct atk_victim *v)
{
	unsigned no = atomic_load(&v->order.no);

	if (no == atomic_load(&v->net_saw))
		return;
	atomic_store(&v->net_p99_ns, drv_hist_at(&v->net_lat, 990));
	atomic_store(&v->net_n, v->net_lat.n);
	if (atomic_load(&v->order.reset))
		memset(&v->net_lat, 0, sizeof(v->net_lat));
	atomic_store(&v->net_saw, no);
}

static void *net_run(void *arg)
{
	struct atk_victim *v = arg;

	for (uint64_t seq = 1; !atomic_load(&v->stop); seq++) {
		uint64_t since = dpu_now_ns();

		if (!ping(v, seq & 1, seq, ATK_REPLY_MS))
			atomic_fetch_add(&v->net_errors, 1);
		drv_hist_add_gap(&v->net_lat, dpu_now_ns() - since, GAP_NS);
		atomic_fetch_add(&v->frames, 1);
		net_order(v);
		// A trickle: enough to notice, little enough to leave the CPU to the attacker.
		nanosleep(&(struct timespec){ .tv_nsec = GAP_NS }, NULL);
	}
	return NULL;
}

/* Until both threads have seen what was said last. */
static int order(struct atk_victim *v, bool reset)
{
	uint64_t end = dpu_now_ns() + 3 * ATK_REPLY_MS * 1000000ULL;
	unsigned no = atomic_load(&v->order.no) + 1;

	atomic_store(&v->order.reset, reset);
	atomic_store(&v->order.no, no);
	while (atomic_load(&v->disk_saw) != no || atomic_load(&v->net_saw) != no) {
		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
	return 0;
}

int atk_victim_window(struct atk_victim *v)
{
	return order(v, true);
}

int atk_victim_lat(struct atk_victim *v, struct atk_lat *out)
{
	int ret = order(v, false);

	*out = (struct atk_lat){ .disk_p99_ns = atomic_load(&v->disk_p99_ns),
		.net_p99_ns = atomic_load(&v->net_p99_ns),
		.disk_n = atomic_load(&v->disk_n),
		.net_n = atomic_load(&v->net_n) };
	return ret;
}

static int net_open(struct atk_daemon *d, struct drv_net *n, const char *name)
{
	char path[128];
	struct drv_net_conf c = { .path = path, .mrg = true };

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	return drv_net_open(n, &c);
}

int atk_victim_start(struct atk_daemon *d, struct atk_victim **out)
{
	struct drv_verify_conf vc = { .seed = 7,
		.sectors = 16 << 11,
		.qd = 4,
		.max_len = 16384,
		.zeroes = true,
		.flush = true,
		.expect_ns = GAP_NS,
		.canary = (const uint8_t *)atk_canary(ATK_CANARY_DISK) };
	struct atk_victim *v = dpu_calloc(1, sizeof(*v));
	char path[128];
	struct drv_blk_conf bc = { .path = path };
	int ret;

	if (!v)
		return -ENOMEM;
	v->disk.vu.fd = v->net[0].vu.fd = v->net[1].vu.fd = -1;
	snprintf(path, sizeof(path), "%s/vic-blk", d->dir);
	ret = drv_blk_open(&v->disk, &bc);
	if (!ret)
		ret = drv_verify_create(&v->disk, &vc, &v->verify);
	if (!ret)
		ret = net_open(d, &v->net[0], "vic-net0");
	if (!ret)
		ret = net_open(d, &v->net[1], "vic-net1");
	for (unsigned i = 0; !ret && i < 100 && !ping(v, 0, 1, 100); i++)
		; // until both ports are up
	if (!ret)
		ret = -pthread_create(&v->disk_thread, NULL, disk_run, v);
	v->disk_started = !ret;
	if (!ret)
		ret = -pthread_create(&v->net_thread, NULL, net_run, v);
	v->net_started = !ret;
	if (ret)
		atk_victim_stop(v);
	else
		*out = v;
	return ret;
}

void atk_victim_stop(struct atk_victim *v)
{
	atomic_store(&v->stop, true);
	if (v->disk_started)
		pthread_join(v->disk_thread, NULL);
	if (v->net_started)
		pthread_join(v->net_thread, NULL);
	drv_verify_destroy(v->verify);
	if (v->disk.vu.fd >= 0)
		drv_blk_close(&v->disk);
	for (unsigned i = 0; i < 2; i++)
		if (v->net[i].vu.fd >= 0)
			drv_net_close(&v->net[i]);
	free(v);
}

void atk_victim_stats(struct atk_victim *v, struct atk_victim_stats *out)
{
	out->requests = atomic_load(&v->requests);
	out->frames = atomic_load(&v->frames);
	out->errors = atomic_load(&v->disk_errors) + atomic_load(&v->net_errors);
}
