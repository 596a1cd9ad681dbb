/* SPDX-License-Identifier: Apache-2.0 */
/* A vhost-user front-end that can also misbehave: raw messages, and one file as guest memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_host.h"
#include "vu_msg.h"

#define FRONT_MEM_SIZE (1u << 20)
#define FRONT_GPA 0x100000ull
#define FRONT_UVA 0x7f0000000000ull

struct fake_front {
	struct fake_host *h; // borrowed: runs after every message
	int fd; // owned; -1: closed
	int mem_fd; // owned
	uint8_t *mem; // owned mapping of it
};

/* Guest memory and no socket. */
void front_init(struct fake_front *f, struct fake_host *h);
void front_fini(struct fake_front *f);

/* Send one message with n_fds descriptors (they stay the caller's) and let the host run. */
void front_send(struct fake_front *f, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, const int *fds, unsigned n_fds);

/*
 * Take one reply: its payload's size, or -EAGAIN when there is none, -ECONNRESET when the session
 * is over. *fd (may be NULL) is -1 or a descriptor that is the caller's now.
 */
int front_recv(struct fake_front *f, struct vu_msg *m, int *fd);

/* Send with NEED_REPLY and return the answer's code; -ECONNRESET and -EAGAIN as above. */
int front_call(struct fake_front *f, uint32_t request, const void *payload, uint32_t size,
	const int *fds, unsigned n_fds);
/* Ask for a u64. */
uint64_t front_get(struct fake_front *f, uint32_t request);

int front_call_u64(struct fake_front *f, uint32_t request, uint64_t v);
int front_call_state(struct fake_front *f, uint32_t request, uint32_t idx, uint32_t num);
int front_call_fd(struct fake_front *f, uint32_t request, uint32_t idx, int fd);
int front_mem_table(struct fake_front *f);
/* Where ring idx lies: the whole set-up of a running ring but its kick. */
int front_ring_addr(struct fake_front *f, uint32_t idx);
int front_ring(struct fake_front *f, uint32_t idx, uint32_t size);

/* True when the other side closed the session. */
bool front_closed(struct fake_front *f);
