/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a discovery log (Base 5.16.1.23): its head, its entries in pieces, its head again; when
 * it changed meanwhile all of it once more, three times at most. Pure but for memory: who reads is
 * ctrl_step.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nof_ctrl.h"
#include "spec.h"

#define NOF_DISC_MAX 1024U // entries that are looked at, however many there are
#define NOF_DISC_TRIES 3U

struct nof_disc {
	struct nof_disc_info *entries; // owned; those that can be used
	unsigned n, room;
	void (*changed)(void *arg);
	void *arg;

	/* While it is read. */
	uint64_t genctr;
	unsigned total, seen, part; // entries: of the log, read, asked for
	unsigned tries;
	bool head_known;
};

void nof_disc_begin(struct nof_disc *d);
/* What to read next, into a buffer of that size. */
void nof_disc_next(struct nof_disc *d, uint32_t buf_size, uint64_t *off, uint32_t *len);
/* That was read. 1: there is more; 0: that was all; -EPROTO, -ENOMEM. */
int nof_disc_take(struct nof_disc *d, const uint8_t *buf);

/* One entry: 0, -ENOTSUP: not for us (another transport), -EPROTO: nonsense. */
int nof_disc_entry(const struct nof_disc_entry *e, struct nof_disc_info *out);
