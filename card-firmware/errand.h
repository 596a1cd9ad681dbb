/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that may block for seconds, each on a thread of its own that ends with it: taking the
 * blocks of a large file, giving them back, fsync. The control thread looks now and then whether
 * one has come back; it never waits for it. Control thread, but for what is called on the errand's.
 */
#pragma once

#include <stdbool.h>

struct card_errand;

struct card_errand_ops {
	int (*run)(void *arg); // on the thread: 0 or -errno
	/* On the thread, behind run(): nobody waits any more. Undoes what must not stay. */
	void (*left)(void *arg, int ret); // NULL: nothing to undo
	void (*free)(void *arg); // on either thread, last
};

/* arg is the errand's from now on, also if it fails: -EAGAIN, -ENOMEM; then nothing was run. */
int card_errand_start(const struct card_errand_ops *ops, void *arg, struct card_errand **out);
/* It has come back, with *ret; the errand is no more. */
bool card_errand_back(struct card_errand *x, int *ret);
/* Nobody waits for it any more; if it is back already, left() is called here. NULL: nothing. */
void card_errand_leave(struct card_errand *x);
