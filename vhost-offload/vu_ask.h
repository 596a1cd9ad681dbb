/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of ours that want an answer. One at a time is out: nothing piles up in the socket of a
 * front-end that is slow, and nobody waits for it. When the answer has come, those who may have
 * another one to send are asked: vu_inband.h, vu_notifier.h.
 *
 * Control thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vu_msg.h"

struct vu_session;

struct vu_asks {
	bool on; // a feature that needs answers was negotiated
	uint32_t asked; // request whose answer is to come; 0: none
	size_t have; // bytes of `answer` (header and payload) received
	struct vu_msg answer;
	void *watch; // of the session's backend_fd
};

/* Hear answers from now on. No-op when that is so. */
void vu_asks_open(struct vu_session *s);
/* Let go of what is watched and of what was received. */
void vu_asks_close(struct vu_session *s);

/* May a request be sent now? Nothing is out, and there is a channel. */
bool vu_asks_free(const struct vu_session *s);

/*
 * Send one that wants an answer, with fd (borrowed; -1: none). Only when vu_asks_free(). Without
 * the front-end the channel is closed, and no answer comes.
 */
void vu_ask(struct vu_session *s, uint32_t request, const void *payload, uint32_t size, int fd);

/* The session's backend_fd is about to go; there is another one (or none). */
void vu_asks_unwatch(struct vu_session *s);
void vu_asks_watch(struct vu_session *s);
