// SPDX-License-Identifier: Apache-2.0
/* The message ring into a worker, and the wait for its answer. */
#include "msg.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int card_msg_put(struct card_msg_ring *r, struct card_msg *m)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	// Pairs with the release in card_msg_take(): the slot is free again.
	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= CARD_MSG_SLOTS)
		return -EAGAIN;
	atomic_store_explicit(&m->done, 0, memory_order_relaxed);
	r->slot[head % CARD_MSG_SLOTS] = m;
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return 0;
}

int card_msg_wait(struct card_msg *m)
{
	while (!atomic_load_explicit(&m->done, memory_order_acquire))
		(void)syscall(SYS_futex, &m->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return m->ret;
}

struct card_msg *card_msg_take(struct card_msg_ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	struct card_msg *m;

	if (!card_msg_pending(r))
		return NULL;
	m = r->slot[tail % CARD_MSG_SLOTS];
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return m;
}

void card_msg_finish(struct card_msg *m, int ret)
{
	m->ret = ret;
	atomic_store_explicit(&m->done, 1, memory_order_release);
	// The sender may have gone on already: its address is only a key here.
	(void)syscall(SYS_futex, &m->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
