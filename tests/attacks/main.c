// SPDX-License-Identifier: Apache-2.0
/* Runs the attack rows: one line each, "ID name ok|FAIL reason", and a count at the end. */
#include "atk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "ov_tnl.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RACE_S 2

static const char config_form[] =
	"[{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"va\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"%s\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"vg\", \"block_size\": 512, "
	"\"num_blocks\": 8388608}},\n"
	"{\"method\": \"bdev_malloc_create\", \"params\": {\"name\": \"vr\", \"block_size\": 512, "
	"\"num_blocks\": 65536}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"atk-blk\", "
	"\"dev_name\": \"va\", \"num_queues\": 4}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"atk-ro\", "
	"\"dev_name\": \"vr\", \"readonly\": true}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"atk-big\", "
	"\"dev_name\": \"vg\"}},\n"
	"{\"method\": \"vhost_create_blk_controller\", \"params\": {\"ctrlr\": \"vic-blk\", "
	"\"dev_name\": \"%s\"}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"atk-net\", "
	"\"mac\": \"02:00:00:dd:00:01\", \"queue_pairs\": 2}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"atk-peer\", "
	"\"mac\": \"02:00:00:dd:00:02\", \"queue_pairs\": 2}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"vic-net0\", "
	"\"mac\": \"02:00:00:ee:00:01\"}},\n"
	"{\"method\": \"net_create\", \"params\": {\"name\": \"vic-net1\", "
	"\"mac\": \"02:00:00:ee:00:02\"}}]\n";

static const struct atk_group *const groups[] = { &atk_vu_rows, &atk_vu_life_rows,
	&atk_vu_postcopy_rows, &atk_vs_rows, &atk_vs_long_rows, &atk_vp_rows, &atk_vn_rows,
	&atk_vn_steer_rows, &atk_vb_rows, &atk_ov_rows, &atk_ov_ct_rows, &atk_ov_tables_rows,
	&atk_ov_tnl_rows, &atk_ov_pieces_rows, &atk_ov_ul_rows };

static const char *const functions[] = { ATK_BLK, ATK_NET };

static bool selected(const struct atk_row *row, const struct dpu_opt_list *only)
{
	for (unsigned i = 0; i < only->n; i++)
		if (!strncmp(row->id, only->v[i], strlen(only->v[i])))
			return true;
	return only->n == 0;
}

/* Everything that is allocated once is allocated before the first count. */
static void warm_up(struct atk_env *e, struct atk_victim *v)
{
	struct atk_victim_stats was;

	for (unsigned k = 0; k < 3; k++)
		for (size_t i = 0; i < COUNT(functions); i++)
			if (atk_function_works(e, functions[i]))
				fprintf(stderr, "attacks: before the start: %s\n", e->why);
	if (atk_ov_warm(e) || atk_ov_ct_warm(e) || tnl_warm(e))
		fprintf(stderr, "attacks: before the start: %s\n", e->why);
	atk_victim_stats(v, &was);
	if (atk_victim_goes_on(e, v, &was))
		fprintf(stderr, "attacks: before the start: %s\n", e->why);
}

/* The search must find what is there: else silence would prove nothing. */
static bool canaries_work(void)
{
	struct drv_mem mem;
	bool ok = !atk_canary_seen() && !drv_mem_init(&mem, 1, 65536);
	uint8_t *p = ok ? drv_mem_alloc(&mem, 0, 64, 64) : NULL;

	if (!p)
		return false;
	memcpy(p + 11, atk_canary(ATK_CANARY_NAME), ATK_CANARY_LEN);
	drv_mem_fini(&mem);
	return atk_canary_seen() && !atk_canary_seen();
}

static int run_all(struct atk_env *e, struct atk_victim *v, const struct dpu_opt_list *only)
{
	unsigned passed = 0, failed = 0, none = 0;

	warm_up(e, v);
	for (size_t g = 0; g < COUNT(groups); g++)
		for (unsigned i = 0; i < groups[g]->n; i++) {
			const struct atk_row *row = &groups[g]->rows[i];
			int ret;

			if (!selected(row, only))
				continue;
			if (!atk_daemon_alive(e->d)) {
				printf("%s %s FAIL: no daemon\n", row->id, row->name);
				failed++;
				continue;
			}
			ret = atk_judge(e, row, v);
			passed += ret == 0;
			failed += ret < 0;
			none += ret == ATK_NOT_APPLICABLE;
		}
	printf("%u passed, %u failed, %u not applicable\n", passed, failed, none);
	return failed || !passed;
}

static void clean(struct atk_daemon *d)
{
	static const char *const left[] = { "config", "rpc", "atk-blk", "atk-big", "atk-ro",
		"vic-blk", "atk-net", "atk-peer", "vic-net0", "vic-net1", "atk-again", "atk-wire" };
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
	uint64_t percent = 100, race_s = RACE_S;
	struct dpu_opt_list only = { .n = 0 };
	bool strict = false;
	const struct dpu_opt opts[] = {
		{ "cardd", DPU_OPT_STR, &cardd, "FILE", "the daemon to attack", 0, 0 },
		{ "percent", DPU_OPT_UINT, &percent, "N", "share of the repetitions", 1, 10000 },
		{ "race-s", DPU_OPT_UINT, &race_s, "SECONDS", "how long threads race each other", 1,
			86400 },
		{ "strict", DPU_OPT_FLAG, &strict, NULL,
			"fail rows that double the victim's 99th percentile", 0, 0 },
		{ "only", DPU_OPT_LIST, &only, "ID", "rows whose id begins so; repeatable", 0, 0 },
	};
	const struct dpu_cli cli = { "attacks", "Attack a live card daemon",
		"--cardd FILE [OPTION]...", NULL, opts, COUNT(opts) };
	char config[sizeof(config_form) + 2 * ATK_CANARY_LEN];
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
	e.strict = strict;
	e.race_s = (unsigned)race_s;
	atk_canary_init();
	d.secret = atk_canary(ATK_CANARY_NAME);
	snprintf(config, sizeof(config), config_form, d.secret, d.secret);
	ret = canaries_work() ? atk_daemon_start(&d) : -EPROTO;
	if (!ret)
		ret = atk_touch(&d, "vic-blk", 32 << 20, atk_canary(ATK_CANARY_DISK));
	atk_canary_seen(); // that session was the victim's own
	if (!ret)
		ret = atk_touch(&d, ATK_BLK, 32 << 20, NULL);
	if (!ret)
		ret = atk_victim_start(&d, &v);
	if (ret) {
		fprintf(stderr, "attacks: %s does not serve: %s\n", cardd, strerror(-ret));
		puts("0 passed, 1 failed");
	} else {
		ret = run_all(&e, v, &only);
		atk_canary_stop();
		atk_victim_stop(v);
	}
	if (atk_daemon_kill(&d, SIGTERM)) {
		fprintf(stderr, "attacks: the daemon did not end well\n");
		ret = -EPROTO;
	}
	clean(&d);
	return ret ? 1 : 0;
}
