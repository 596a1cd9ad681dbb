/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from the control thread into one worker: a ring with one producer and one consumer, and
 * a futex on which the producer waits for the answer. Waking a sleeping worker is worker.c's part.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct card_worker;

#define CARD_MSG_SLOTS 16 // a power of two

/* One call. The sender's memory until card_msg_wait() returns. */
struct card_msg {
	/* Fixed once the message was put. */
	int (*fn)(struct card_worker *w, void *arg);
	void *arg;

	/* Written by the worker before `done`. */
	int ret;
	_Atomic uint32_t done; // released by card_msg_finish(), acquired by card_msg_wait()
};

struct card_msg_ring {
	_Alignas(64) _Atomic uint32_t head; // written by control; free-running
	_Alignas(64) _Atomic uint32_t tail; // written by the worker; free-running
	struct card_msg *slot[CARD_MSG_SLOTS]; // borrowed
};

/* 0, or -EAGAIN when the ring is full. Control thread. */
int card_msg_put(struct card_msg_ring *r, struct card_msg *m);
/* Wait for the answer. Control thread. */
int card_msg_wait(struct card_msg *m);

/* The next message, or NULL. Worker. */
struct card_msg *card_msg_take(struct card_msg_ring *r);
/* Answer; the message is the sender's again. Worker. */
void card_msg_finish(struct card_msg *m, int ret);

/* Cheap enough for every turn. Worker. */
static inline bool card_msg_pending(struct card_msg_ring *r)
{
	// Pairs with the release in card_msg_put().
	return atomic_load_explicit(&r->head, memory_order_acquire) !=
	       atomic_load_explicit(&r->tail, memory_order_relaxed);
}
