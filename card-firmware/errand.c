// SPDX-License-Identifier: Apache-2.0
/* Calls that may block, on threads of their own. */
#include "errand.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dpu_alloc.h"

enum state { OUT, BACK, LEFT };

struct card_errand {
	const struct card_errand_ops *ops; // borrowed: static
	void *arg; // owned; the thread's until `state` is BACK
	int ret; // of run()
	_Atomic int state; // whoever comes second frees
};

static void errand_free(struct card_errand *x)
{
	x->ops->free(x->arg);
	free(x);
}

static void leave(struct card_errand *x)
{
	if (x->ops->left)
		x->ops->left(x->arg, x->ret);
	errand_free(x);
}

static void *go(void *arg)
{
	struct card_errand *x = arg;

	x->ret = x->ops->run(x->arg);
	// Release: what run() did is the other's. Acquire: pairs with the exchange that left it.
	if (atomic_exchange_explicit(&x->state, BACK, memory_order_acq_rel) == LEFT)
		leave(x);
	return NULL;
}

/* With no signal of the process on it. */
static int start(struct card_errand *x)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = pthread_create(&thread, &attr, go, x);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -ret;
}

int card_errand_start(const struct card_errand_ops *ops, void *arg, struct card_errand **out)
{
	struct card_errand *x = dpu_calloc(1, sizeof(*x));
	int ret;

	if (!x) {
		ops->free(arg);
		return -ENOMEM;
	}
	x->ops = ops;
	x->arg = arg;
	ret = start(x);
	if (ret) {
		errand_free(x);
		return ret;
	}
	*out = x;
	return 0;
}

bool card_errand_back(struct card_errand *x, int *ret)
{
	if (atomic_load_explicit(&x->state, memory_order_acquire) != BACK)
		return false;
	*ret = x->ret;
	errand_free(x);
	return true;
}

void card_errand_leave(struct card_errand *x)
{
	if (x && atomic_exchange_explicit(&x->state, LEFT, memory_order_acq_rel) == BACK)
		leave(x);
}
