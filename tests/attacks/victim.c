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
#include "drv_verify.h"

struct atk_victim {
	atomic_bool stop, lat_reset;
	pthread_t disk_thread, net_thread;
	bool disk_started, net_started;
	struct drv_blk disk;
	struct drv_net net[2];
	struct drv_verify *verify; // owned
	_Atomic uint64_t requests, frames, disk_errors, net_errors, p99_ns;
};

static void *disk_run(void *arg)
{
	struct atk_victim *v = arg;
	struct drv_verify_stats st;
	int ret = 0;

	while (!ret && !atomic_load(&v->stop)) {
		ret = drv_verify_run(v->verify, &v->stop, 50000000);
		drv_verify_stats(v->verify, &st);
		atomic_store(
			&v->requests, st.reads + st.writes + st.flushes + st.discards + st.zeroes);
		atomic_store(&v->p99_ns, st.p99_ns);
		atomic_store(&v->disk_errors, drv_verify_errors(&st) + (ret != 0));
		if (atomic_exchange(&v->lat_reset, false))
			drv_verify_lat_reset(v->verify);
	}
	return NULL;
}

static const uint8_t macs[2][6] = { { 2, 0, 0, 0xee, 0, 1 }, { 2, 0, 0, 0xee, 0, 2 } };

/* One frame there; true when it arrived whole. */
static bool ping(struct atk_victim *v, unsigned from, uint64_t seq, unsigned timeout_ms)
{
	uint64_t end = dpu_now_ns() + timeout_ms * 1000000ULL, got;
	uint8_t frame[2048];

	drv_frame_make(frame, macs[!from], macs[from], seq, 60 + (uint32_t)(seq % 1400));
	if (drv_net_send(&v->net[from], 0, NULL, frame, 60 + (uint32_t)(seq % 1400)))
		return false;
	drv_net_flush(&v->net[from], 0);
	while (dpu_now_ns() < end) {
		int len = drv_net_recv(&v->net[!from], 0, NULL, frame, sizeof(frame));

		if (len == 0)
			drv_net_wait(&v->net[!from], 0, 20);
		else if (len > 0 && !memcmp(frame, macs[!from], 6))
			return drv_frame_ok(frame, (uint32_t)len, &got) && got == seq;
	}
	return false;
}

static void *net_run(void *arg)
{
	struct atk_victim *v = arg;

	for (uint64_t seq = 1; !atomic_load(&v->stop); seq++) {
		if (!ping(v, seq & 1, seq, ATK_REPLY_MS))
			atomic_fetch_add(&v->net_errors, 1);
		atomic_fetch_add(&v->frames, 1);
		// A trickle: enough to notice, little enough to leave the CPU to the attacker.
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return NULL;
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
		.flush = true };
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
	out->p99_ns = atomic_load(&v->p99_ns);
}

void atk_victim_lat_reset(struct atk_victim *v)
{
	atomic_store(&v->lat_reset, true);
}
