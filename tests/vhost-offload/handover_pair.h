/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes that hand one function to each other while a driver in a third keeps it busy. */
#pragma once

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_rig.h"
#include "test.h"

/* Seen by all three processes. */
struct ho_shared {
	_Atomic unsigned rounds, rounds_max; // hand-overs so far, and of the row
	atomic_bool ready; // the first has its socket
	atomic_bool enough; // the driver need not go on
	atomic_bool stop; // the back-ends end
	_Atomic unsigned at_store; // hand-overs that began with requests at the store
	atomic_bool settled; // the driver has set what it sets
	_Atomic unsigned state_len; // 0: nobody has written it down yet
	uint8_t state[16384], config[64]; // as they were then
	_Atomic unsigned mismatches; // whatever else a back-end found wrong
};

/* One of the two. The caller's own members follow. */
struct ho_back {
	struct fake_host h; // first: what its operations get
	struct vho_dev *dev;
	struct vho_vu *vu; // NULL: the other has the function
	struct ho_shared *sh;
	/* Serve at most `budget` requests; how many there were. */
	unsigned (*turn)(struct ho_back *b, unsigned budget);
	void (*taken)(struct ho_back *b); // the function has just come; or NULL
};

/* A test's assertion would end this process's part of the test, but not the process. */
static inline void ho_need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "back-end: %s\n", what);
	_exit(1);
}

/* Own the session, give it away after some requests, wait for it to come back. */
static inline void ho_serve(struct ho_back *b, int sock, const char *path, bool owner)
{
	struct ho_shared *sh = b->sh;
	unsigned quota = 32, n;
	int ret;

	if (owner) {
		ret = vho_vu_create(b->dev, path, VHO_VU_SERVER, &b->h.host, &b->vu);
		ho_need(ret == 0, strerror(-ret));
		atomic_store(&sh->ready, true);
	}
	while (!atomic_load(&sh->stop)) {
		if (!b->vu) {
			ret = vho_vu_take(b->dev, sock, path, VHO_VU_SERVER, &b->h.host, &b->vu);
			if (ret == -ECONNRESET)
				break;
			ho_need(ret == 0, strerror(-ret));
			if (b->taken)
				b->taken(b);
			quota = 1 + atomic_load(&sh->rounds) * 7 % 50;
		}
		fake_host_run(&b->h);
		n = b->turn(b, quota);
		quota -= n < quota ? n : quota;
		if (quota || !vho_dev_any_started(b->dev) ||
			atomic_load(&sh->rounds) >= atomic_load(&sh->rounds_max)) {
			quota = quota ? quota : 32;
			continue;
		}
		ret = vho_vu_give(b->vu, sock);
		ho_need(ret == 0, strerror(-ret));
		b->vu = NULL;
		if (atomic_fetch_add(&sh->rounds, 1) + 1 >= atomic_load(&sh->rounds_max))
			atomic_store(&sh->enough, true);
	}
	vho_vu_destroy(b->vu);
}

/* What a child does: set itself up, ho_serve(), clean up. */
typedef void ho_main_fn(
	struct ho_shared *sh, int sock, const char *path, bool owner, const void *row);

struct ho_pair {
	char dir[32], path[48];
	struct ho_shared *sh;
	pid_t pid[2];
};

static inline void ho_place(struct ho_pair *p)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/handover.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/s", p->dir);
	p->sh = mmap(
		NULL, sizeof(*p->sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(p->sh != MAP_FAILED);
}

/* Both processes, in the place that was made for them; the first owns the function. */
static inline void ho_pair_open(struct ho_pair *p, ho_main_fn *fn, const void *row, unsigned rounds)
{
	int pair[2];

	atomic_store(&p->sh->rounds_max, rounds);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (unsigned i = 0; i < 2; i++) {
		p->pid[i] = fork();
		assert_true(p->pid[i] >= 0);
		if (p->pid[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(pair[!i]);
			fn(p->sh, pair[i], p->path, i == 0, row);
			_exit(0);
		}
	}
	close(pair[0]);
	close(pair[1]);
	while (!atomic_load(&p->sh->ready)) { // starting takes as long as it takes
		assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
		sched_yield();
	}
}

/* Both end without a complaint, and whoever had the socket last has taken it away. */
static inline void ho_pair_close(struct ho_pair *p)
{
	int status;

	atomic_store(&p->sh->stop, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(waitpid(p->pid[i], &status, 0), p->pid[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(access(p->path, F_OK), -1);
	assert_int_equal(rmdir(p->dir), 0);
	munmap(p->sh, sizeof(*p->sh));
}

/* Hand-overs of a row: what `--rounds N` says, or n. */
static inline unsigned ho_rounds(int argc, char **argv, unsigned n)
{
	if (argc == 3 && strcmp(argv[1], "--rounds") == 0)
		return (unsigned)strtoul(argv[2], NULL, 10);
	return n;
}
