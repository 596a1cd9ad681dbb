// SPDX-License-Identifier: Apache-2.0
/* When a change of key has its turns, and how long one lasts. */
#include "rekey_rig.h"

/* What the job has below, if it has something. */
static bool answer_job(struct env *e)
{
	struct rekey_job *j = &((struct vol_crypt *)e->v)->job;

	if (e->f->n_held)
		fake_release(j->job.chan, e->f, 0);
	else if (e->journal->n_held)
		fake_release(j->job.side, e->journal, 0);
	else
		return false;
	return true;
}

/* Time stands still: no timer fires, and an answer is gone on with in the next poll. */
static void goes_on_at_once(void **state)
{
	struct vol_work w = { 0 };
	unsigned answers = 0;
	struct env e;

	(void)state;
	start(&e, false);
	assert_int_equal(begin(&e, false), 0);
	for (unsigned i = 0; i < 200 && w.done == 0; i++) {
		(void)vol_rekey_step(e.v);
		nof_group_poll(e.g);
		answers += answer_job(&e);
		vol_work(e.v, &w);
	}
	assert_int_equal(w.done, REKEY_WINDOW);
	assert_int_equal(answers, 5); // the begin; a window's read and its three writes
	e.f->at_once = e.journal->at_once = true;
	assert_int_equal(finish(&e), VOL_REKEY_OVER);
	stop(&e);
}

static uint64_t slow_clock(void)
{
	return now += 20000;
}

/* Others are served between slices of a window; each poll has the time of one or two. */
static void converts_a_window_in_slices(void **state)
{
	struct rekey_job *j;
	unsigned polls = 0;
	struct env e;

	(void)state;
	start(&e, true);
	j = &((struct vol_crypt *)e.v)->job;
	dpu_clock_set(slow_clock);
	assert_int_equal(begin(&e, false), 0);
	while (e.f->n_seen[VOL_READ] == 0) {
		(void)vol_rekey_step(e.v);
		nof_group_poll(e.g);
	}
	for (; atomic_load(&((struct vol_crypt *)e.v)->done) == 0; polls++)
		nof_group_poll(e.g);
	assert_in_range(polls, 10, 1000);
	assert_int_equal(j->off, 0);
	dpu_clock_set(fake_now);
	assert_int_equal(finish(&e), VOL_REKEY_OVER);
	check_all(&e);
	check_new_key(&e);
	stop(&e);
}

/* The worker sleeps until the file below has answered, with time standing still as well. */
static void wakes_its_worker(void **state)
{
	struct vol_crypt_conf conf = { .name = "c", .unit = UNIT };
	struct vol_rekey_conf rekey = { .id = "x" };
	struct vol_work w = { 0 };
	struct nof_group *g;
	char dir[64], path[96];
	struct vol *v;

	(void)state;
	dpu_clock_set(fake_now);
	make_dir(ON_TMPFS, dir, sizeof(dir));
	for (unsigned i = 0; i < 2; i++) {
		struct vol_file_conf file = { .name = "f",
			.path = path,
			.block_size = UNIT,
			.create_size = i ? JOURNAL : SIZE };

		snprintf(path, sizeof(path), "%s/%u", dir, i);
		assert_int_equal(vol_file_open(&file, i ? &rekey.journal : &conf.lower), 0);
		unlink(path);
	}
	rmdir(dir);
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &g), 0);
	conf.key = key_of(1), rekey.key = key_of(2);
	rekey.group = g;
	assert_int_equal(vol_crypt_open(&conf, &v), 0);
	assert_int_equal(vol_crypt_rekey(v, &rekey), 0);
	vol_rekey_go(v);
	while (w.done == 0) {
		struct pollfd p = { .fd = nof_group_fd(g), .events = POLLIN };

		assert_true(vol_rekey_step(v) >= 0);
		while (nof_group_poll(g) > 0)
			;
		vol_work(v, &w);
		if (w.done == 0 && nof_group_arm(g))
			assert_int_equal(poll(&p, 1, 10000), 1);
	}
	while (!vol_work_stop(v)) {
		now += NOF_TICK_NS;
		nof_group_poll(g);
	}
	vol_close(v);
	vol_close(conf.lower);
	vol_close(rekey.journal);
	nof_group_destroy(g);
	nof_key_put(conf.key);
	nof_key_put(rekey.key);
	dpu_clock_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_at_once),
		cmocka_unit_test(converts_a_window_in_slices),
		cmocka_unit_test(wakes_its_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
