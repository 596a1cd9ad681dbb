// SPDX-License-Identifier: Apache-2.0
/* Runs the attack rows: one line each, "ID name ok|FAIL reason", and a count at the end. */
#include "atk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RSS_SLACK_KIB 1024

static const char config[] =
	"[{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"va\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"vv\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"vr\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"atk-blk\", "
	"\"dev_name\": \"va\", \"num_queues\": 4}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"atk-ro\", "
	"\"dev_name\": \"vr\", \"readonly\": true}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"vic-blk\", "
	"\"dev_name\": \"vv\"}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"atk-net\", "
	"\"mac\": \"02:00:00:dd:00:01\", \"queue_pairs\": 2}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"atk-peer\", "
	"\"mac\": \"02:00:00:dd:00:02\"}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"vic-net0\", "
	"\"mac\": \"02:00:00:ee:00:01\"}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"vic-net1\", "
	"\"mac\": \"02:00:00:ee:00:02\"}}]\n";

static const struct atk_group *const groups[] = { &atk_vu_rows, &atk_vu_life_rows, &atk_vs_rows,
	&atk_vp_rows, &atk_vn_rows, &atk_vb_rows };

static const char *const functions[] = { ATK_BLK, ATK_NET };

/* The victim must go on: some request and some frame finished since `was`. */
static int victim_goes_on(
	struct atk_env *e, struct atk_victim *v, const struct atk_victim_stats *was)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_victim_stats now;

	do {
		atk_victim_stats(v, &now);
		ATK_CHECK(e, now.errors == was->errors, "victim: %lu errors",
			(unsigned long)(now.errors - was->errors));
		if (now.requests > was->requests && now.frames > was->frames)
			return 0;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	} while (dpu_now_ns() < end);
	return atk_fail(e, "victim stands still");
}

/* Descriptors and threads return to what they were once the daemon saw the attacker leave. */
static int use_returns(struct atk_env *e, const struct atk_use *was)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_use now;

	do {
		atk_daemon_use(e->d, &now);
		if (now.fds <= was->fds && now.threads <= was->threads)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	} while (dpu_now_ns() < end);
	ATK_CHECK(e, now.fds <= was->fds, "descriptors: %u, were %u", now.fds, was->fds);
	ATK_CHECK(
		e, now.threads <= was->threads, "threads: %u, were %u", now.threads, was->threads);
#ifndef ATK_SANITIZED // quarantines and shadow grow by themselves
	ATK_CHECK(e, now.anon_kib <= was->anon_kib + RSS_SLACK_KIB,
		"private memory grew by %lu KiB", (unsigned long)(now.anon_kib - was->anon_kib));
#endif
	return 0;
}

static int verdict(struct atk_env *e, const struct atk_row *row, struct atk_victim *v)
{
	struct atk_victim_stats was;
	struct atk_use use;
	int ret;

	atk_daemon_use(e->d, &use);
	atk_victim_stats(v, &was);
	ret = row->run(e);
	ATK_CHECK(e, atk_daemon_alive(e->d), "the daemon died");
	if (ret)
		return ret;
	for (size_t i = 0; i < COUNT(functions); i++) {
		ret = atk_function_works(e, functions[i]);
		if (ret)
			return ret;
	}
	ret = victim_goes_on(e, v, &was);
	return ret ? ret : use_returns(e, &use);
}

static bool selected(const struct atk_row *row, const struct dpu_opt_list *only)
{
	for (unsigned i = 0; i < only->n; i++)
		if (!strncmp(row->id, only->v[i], strlen(only->v[i])))
			return true;
	return only->n == 0;
}

static bool run_row(
	struct atk_env *e, const struct atk_row *row, struct atk_victim *v, uint64_t quiet_p99)
{
	struct atk_victim_stats st;
	int ret;

	e->why[0] = '\0';
	atk_victim_lat_reset(v);
	ret = verdict(e, row, v);
	atk_victim_stats(v, &st);
	printf("%s %s %s%s%s (victim p99 x%.1f)\n", row->id, row->name, ret ? "FAIL" : "ok",
		ret ? " " : "", ret ? e->why : "",
		quiet_p99 ? (double)st.p99_ns / (double)quiet_p99 : 0.0);
	fflush(stdout);
	return ret == 0;
}

static int run_all(struct atk_env *e, struct atk_victim *v, const struct dpu_opt_list *only)
{
	unsigned passed = 0, failed = 0;
	struct atk_victim_stats quiet;

	// Everything that is allocated once is allocated before the first count.
	for (unsigned k = 0; k < 3; k++)
		for (size_t i = 0; i < COUNT(functions); i++)
			if (atk_function_works(e, functions[i]))
				fprintf(stderr, "attacks: before the start: %s\n", e->why);
	atk_victim_stats(v, &quiet);
	victim_goes_on(e, v, &quiet);
	atk_victim_stats(v, &quiet);
	for (size_t g = 0; g < COUNT(groups); g++)
		for (unsigned i = 0; i < groups[g]->n; i++) {
			const struct atk_row *row = &groups[g]->rows[i];

			if (!selected(row, only))
				continue;
			if (!atk_daemon_alive(e->d)) {
				printf("%s %s FAIL no daemon\n", row->id, row->name);
				failed++;
			} else if (run_row(e, row, v, quiet.p99_ns)) {
				passed++;
			} else {
				failed++;
			}
		}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}

static void clean(struct atk_daemon *d)
{
	static const char *const left[] = { "config", "rpc", "atk-blk", "atk-ro", "vic-blk",
		"atk-net", "atk-peer", "vic-net0", "vic-net1", "atk-again" };
	char path[128];

	for (size_t i = 0; i < COUNT(left); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->dir, left[i]);
		unlink(path);
	}
	rmdir(d->dir);
}

int main(int argc, char **argv)
{
	const char *cardd = NULL;
	uint64_t percent = 100;
	struct dpu_opt_list only = { .n = 0 };
	const struct dpu_opt opts[] = {
		{ "cardd", DPU_OPT_STR, &cardd, "FILE", "the daemon to attack", 0, 0 },
		{ "percent", DPU_OPT_UINT, &percent, "N", "share of the repetitions", 1, 10000 },
		{ "only", DPU_OPT_LIST, &only, "ID", "rows whose id begins so; repeatable", 0, 0 },
	};
	const struct dpu_cli cli = { "attacks", "Attack a live card daemon",
		"--cardd FILE [OPTION]...", NULL, opts, COUNT(opts) };
	struct atk_daemon d = { .config = config };
	struct atk_env e = { .d = &d };
	struct atk_victim *v;
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!cardd) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	snprintf(d.binary, sizeof(d.binary), "%s", cardd);
	e.percent = (unsigned)percent;
	ret = atk_daemon_start(&d);
	if (!ret)
		ret = atk_touch(&d, "vic-blk", 32 << 20);
	if (!ret)
		ret = atk_touch(&d, ATK_BLK, 32 << 20);
	if (!ret)
		ret = atk_victim_start(&d, &v);
	if (ret) {
		fprintf(stderr, "attacks: %s does not serve: %s\n", cardd, strerror(-ret));
		puts("0 passed, 1 failed");
	} else {
		ret = run_all(&e, v, &only);
		atk_victim_stop(v);
	}
	if (atk_daemon_kill(&d, SIGTERM)) {
		fprintf(stderr, "attacks: the daemon did not end well\n");
		ret = -EPROTO;
	}
	clean(&d);
	return ret ? 1 : 0;
}
