// SPDX-License-Identifier: Apache-2.0
/* Calls that block, on threads of their own: who waits, who has left, who frees. */
#include "errand.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "dpu_alloc.h"
#include "test.h"

struct arg {
	sem_t go, freed;
	pthread_t ran_on;
	int ret;
	int left_with; // 1: nobody has left
	_Atomic unsigned n_freed;
};

static int run(void *arg)
{
	struct arg *a = arg;

	while (sem_wait(&a->go))
		;
	a->ran_on = pthread_self();
	return a->ret;
}

static void left(void *arg, int ret)
{
	((struct arg *)arg)->left_with = ret;
}

static void free_arg(void *arg)
{
	struct arg *a = arg;

	atomic_fetch_add(&a->n_freed, 1);
	sem_post(&a->freed);
}

static const struct card_errand_ops ops = { run, left, free_arg };

static void arg_init(struct arg *a, int ret)
{
	*a = (struct arg){ .ret = ret, .left_with = 1 };
	sem_init(&a->go, 0, 0);
	sem_init(&a->freed, 0, 0);
}

static void comes_back(void **state)
{
	struct card_errand *x;
	struct arg a;
	int ret = 0;

	(void)state;
	arg_init(&a, -ENOSPC);
	assert_int_equal(card_errand_start(&ops, &a, &x), 0);
	assert_false(card_errand_back(x, &ret)); // it has not been told to go
	sem_post(&a.go);
	while (!card_errand_back(x, &ret))
		sched_yield();
	assert_int_equal(ret, -ENOSPC);
	assert_false(pthread_equal(a.ran_on, pthread_self()));
	assert_int_equal(a.left_with, 1);
	assert_int_equal(atomic_load(&a.n_freed), 1);
}

/* Nobody waits: what it did is undone where it was done. */
static void is_left(void **state)
{
	struct card_errand *x;
	struct arg a;

	(void)state;
	arg_init(&a, -EIO);
	assert_int_equal(card_errand_start(&ops, &a, &x), 0);
	card_errand_leave(x);
	assert_int_equal(atomic_load(&a.n_freed), 0);
	sem_post(&a.go);
	while (sem_wait(&a.freed))
		;
	assert_int_equal(a.left_with, -EIO);
	assert_int_equal(atomic_load(&a.n_freed), 1);
	card_errand_leave(NULL);
}

static void fails_before_it_runs(void **state)
{
	struct card_errand *x;
	struct arg a;

	(void)state;
	arg_init(&a, 0);
	dpu_alloc_fail_after(0);
	assert_int_equal(card_errand_start(&ops, &a, &x), -ENOMEM);
	dpu_alloc_fail_after(-1);
	assert_int_equal(atomic_load(&a.n_freed), 1);
	assert_int_equal(a.left_with, 1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(comes_back),
		cmocka_unit_test(is_left),
		cmocka_unit_test(fails_before_it_runs),
	};

	return cmocka_run_group_tests_name("errands", t, NULL, NULL);
}
