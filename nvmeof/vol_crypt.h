/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of an encrypted volume: vol_crypt.c has its requests, vol_rekey.c gives it another key
 * while they go on (ADR-0017). Private to both.
 *
 * A volume has two places for keys. The one in use is `gen & 1`, after `gen` changes; the other
 * one is empty, or holds the key that the volume is moved to, window by window. Below `done`
 * everything is encrypted with that; from `total` on as well, where the volume has grown
 * meanwhile.
 */
#pragma once

#include "cipher.h"
#include "vol_job.h"
#include "vol_layer.h"

#define REKEY_WINDOW (1u << 20) // bytes that are moved at a time
#define REKEY_USERS 64u
#define REKEY_NONE UINT64_MAX
#define REKEY_PAGE 4096u // of the journal's head

enum rekey_phase {
	REKEY_IDLE,
	REKEY_BEGINS, // until the requests that know nothing of it have ended
	REKEY_MOVES, // the job's
	REKEY_ENDS, // until the requests that used both keys have ended
};

struct rekey_job {
	struct vol_job job; // first
	enum {
		RK_LOOK, // read a record
		RK_LOOKED,
		RK_BEGIN, // write the first one
		RK_BEGUN,
		RK_CHOOSE, // close a window
		RK_DRAIN, // until nobody uses it, then read it
		RK_CONVERT, // it was read
		RK_JOURNAL, // write what it is to become
		RK_JOURNALED,
		RK_PLACE, // write it where it belongs
		RK_PLACED,
		RK_NOTE, // write that this was done
		RK_NOTED,
	} next;
	bool resume;
	uint8_t id[16];
	uint64_t rate; // bytes per second; 0: as fast as it goes
	uint64_t due_ns; // the next window's time
	uint64_t seq; // of the last record
	uint64_t off; // of the window that is moved
	uint32_t len;
	uint32_t pos, data_sum; // converted, and the sum of that
	uint64_t closed_ns; // when it was
	unsigned slot; // looked at
	uint64_t best_seq; // found; 0: none
	unsigned best;
	bool busy; // a transfer is below
	int err; // the last one's
	struct vol_io io;
	struct iovec iov;
	uint8_t *buf; // owned mapping: a page and a window
	struct nof_cipher *from, *to; // owned
	_Atomic bool begun; // the first record is stable
	_Atomic bool go; // windows may be moved
	_Atomic int failed; // it ended for this reason
	_Atomic int trouble; // what it waits for to go away; 0: nothing
};

struct vol_crypt {
	struct vol_layer l;
	struct nof_key *key[2]; // owned references; by gen & 1
	uint32_t unit; // also the block size

	/* The control thread writes them, workers read. */
	_Atomic unsigned mode; // 2 * keys left behind, + 1: it is being moved, requests are counted
	enum rekey_phase phase; // the control thread's
	uint64_t total; // bytes that are moved; fixed while it is active

	/* The job and the requests. Why this order is enough: gate(). */
	_Atomic bool blocked; // until the journal was read nobody knows how far it is
	_Atomic bool lost; // there is no journal: nobody will ever know
	_Atomic uint64_t closed; // window that is moved now; REKEY_NONE: none
	_Atomic uint64_t done; // bytes
	_Atomic uint32_t users[REKEY_USERS]; // requests by window, modulo REKEY_USERS
	struct rekey_job job;
};

struct crypt_chan {
	struct vol_layer_chan l;
	struct nof_cipher *cipher[2]; // owned; by gen & 1. NULL: not needed now
	_Atomic uint32_t uncounted; // requests that began while no key was changed
	struct vol_fifo parked; // requests whose window is closed
	struct vol_fifo down; // reads and the like: nothing of them went down
	struct vol_fifo reads; // came from below, not decrypted to their end
	struct vol_fifo writes; // not encrypted to their end
};

/* vol_rekey.c */
void vol_rekey_work(const struct vol *v, struct vol_work *out);
bool vol_rekey_stop(struct vol *v);
void vol_rekey_fini(struct vol_crypt *v);
/* Whether `v` is an encrypted volume. vol_crypt.c */
bool vol_is_crypt(const struct vol *v);
