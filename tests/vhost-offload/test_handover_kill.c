// SPDX-License-Identifier: Apache-2.0
/*
 * A hand-over of a real disk under load in which one of the two is killed, at each of its system
 * calls in turn. A taker that dies before it has said yes leaves the giver where it was, and the
 * front-end has noticed nothing. A giver that dies leaves a taker that has everything, or one that
 * refuses: then the device is gone as after any crash, and the front-end goes on with the next. At
 * no point do two serve the rings, which the driver would see.
 */
#include "handover_disk.h"

#include <sched.h>
#include <sys/ptrace.h>

#include "dpu_clock.h"

#define STEPS_MAX 2000
#define PATIENCE_NS 20000000000ull
#define LOAD_NS 1000000u // of verified load after each step
#define WAITING 8u

/* Without a region nothing corrects a ring that was served twice. */
static const struct blk_row rows[] = {
	{ .name = "split", .store = STORE_RAM, .log = true },
	{ .name = "split, inflight region", .store = STORE_RAM, .inflight = true },
	{ .name = "packed", .store = STORE_RAM, .packed = true, .log = true },
	{ .name = "packed, inflight region", .store = STORE_RAM, .packed = true, .inflight = true },
};

enum { ASKED_NOTHING = 1 };

/* What the processes tell each other. */
struct shared {
	struct ho_shared ho; // only `stop` and what the store counts
	atomic_bool go; // the giver is to give
	atomic_bool giving; // it serves no more
	_Atomic int given, taken; // what the call returned; ASKED_NOTHING until then
};

struct place {
	struct ho_pair p; // the folder, and path of the socket
	struct run run;
	struct shared *sh;
	struct driver d;
	bool open; // the driver has its session
	struct drv_blk_io io[WAITING]; // in the rings while they move
	bool waiting;
};

static void place_open(struct place *t, const struct blk_row *row)
{
	memset(t, 0, sizeof(*t));
	t->run.row = row;
	ho_place(&t->p);
	store_place(&t->run, &t->p);
	t->sh = mmap(
		NULL, sizeof(*t->sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(t->sh != MAP_FAILED);
}

static void place_close(struct place *t)
{
	driver_close(&t->d);
	store_remove(&t->run);
	unlink(t->p.path); // of one that was killed
	assert_int_equal(rmdir(t->p.dir), 0);
	munmap(t->sh, sizeof(*t->sh));
	munmap(t->p.sh, sizeof(*t->p.sh));
}

/* ---- the two processes ---- */

/* From here on the parent decides how far we get. */
static void be_traced(void)
{
	ho_need(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0, "cannot be traced");
	raise(SIGSTOP);
}

static void serve(struct back *b, const struct shared *sh, const atomic_bool *until)
{
	while (!atomic_load(&sh->ho.stop) && !(until && atomic_load(until))) {
		fake_host_run(&b->b.h);
		turn(&b->b, BUDGET);
	}
}

static _Noreturn void giver(struct place *t, int sock, bool traced)
{
	static struct back b;
	struct shared *sh = t->sh;
	int ret = 0;

	back_open(&b, &t->run, &sh->ho);
	ho_need(vho_vu_create(b.b.dev, t->p.path, VHO_VU_SERVER, &b.b.h.host, &b.b.vu) == 0,
		"no socket");
	while (!ret && !atomic_load(&sh->ho.stop)) {
		serve(&b, sh, &sh->go);
		if (!atomic_exchange(&sh->go, false))
			break;
		atomic_store(&sh->giving, true);
		if (traced)
			be_traced();
		ret = vho_vu_give(b.b.vu, sock);
		atomic_store(&sh->given, ret);
		if (!ret)
			break;
		serve(&b, sh, NULL);
	}
	_exit(0);
}

static _Noreturn void taker(struct place *t, int sock, bool traced)
{
	static struct back b;
	int ret;

	back_open(&b, &t->run, &t->sh->ho);
	if (traced)
		be_traced();
	ret = vho_vu_take(b.b.dev, sock, t->p.path, VHO_VU_SERVER, &b.b.h.host, &b.b.vu);
	atomic_store(&t->sh->taken, ret);
	if (!ret)
		serve(&b, t->sh, NULL);
	_exit(0);
}

typedef void side_fn(struct place *t, int sock, bool traced);

static pid_t start(struct place *t, side_fn *fn, const int *pair, unsigned mine, bool traced)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[!mine]);
		fn(t, pair[mine], traced);
	}
	return pid;
}

/* ---- the parent: driver and tracer ---- */

/* Requests that nobody serves before the rings have moved, or have come back. */
static void offer(struct place *t)
{
	for (unsigned i = 0; i < WAITING; i++) {
		if (!t->io[i].data)
			assert_int_equal(drv_blk_io_init(&t->d.b, &t->io[i], 512, i), 0);
		assert_int_equal(drv_blk_submit(&t->d.b, i % QUEUES, &t->io[i], VIRTIO_BLK_T_IN,
					 DISK_BYTES / 512 - 1, 512),
			0);
		drv_ring_kick(&t->d.b.rings[i % QUEUES]);
	}
	t->waiting = true;
}

/* Each is answered once: a second answer counts as bad, then or later. */
static void collect(struct place *t)
{
	for (unsigned i = 0; t->waiting && i < WAITING; i++)
		assert_int_equal(
			drv_blk_wait(&t->d.b, i % QUEUES, &t->io[i], 20000), VIRTIO_BLK_S_OK);
	t->waiting = false;
}

static void load(struct place *t)
{
	if (!t->open)
		driver_open(&t->d, t->run.row, t->p.path);
	if (!drv_vu_alive(&t->d.b.vu)) {
		for (unsigned q = 0; q < QUEUES; q++) // what the dead one has answered
			while (drv_blk_poll(&t->d.b, q))
				;
		assert_int_equal(drv_vu_reconnect(&t->d.b.vu, 20000), 0);
	}
	t->open = true;
	collect(t);
	assert_int_equal(drv_verify_run(t->d.v, NULL, LOAD_NS), 0);
	nothing_wrong(&t->d);
}

/*
 * Let it go on to its nth system call from here, which it does not make if it is killed then;
 * false: it has done what it was to do before that.
 */
static bool steps(pid_t pid, unsigned n, const _Atomic int *done)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	for (unsigned i = 0; i <= 2 * n; i++) { // a stop at its begin and one at its end
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (atomic_load(done) != ASKED_NOTHING)
			return false;
	}
	return true;
}

static void end(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static int answer(const _Atomic int *done)
{
	uint64_t until = dpu_now_ns() + PATIENCE_NS;

	while (atomic_load(done) == ASKED_NOTHING) {
		assert_true(dpu_now_ns() < until);
		sched_yield();
	}
	return atomic_load(done);
}

/* One hand-over between two new processes; the one with `killed` set dies at step n. */
struct pair {
	pid_t giver, taker;
	bool in_time; // it was killed before its call returned
};

static void hand_over(struct place *t, struct pair *o, bool kill_giver, unsigned n)
{
	int pair[2];

	atomic_store(&t->sh->given, ASKED_NOTHING);
	atomic_store(&t->sh->taken, ASKED_NOTHING);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	o->giver = start(t, giver, pair, 0, kill_giver);
	load(t);
	o->taker = start(t, taker, pair, 1, !kill_giver);
	close(pair[0]);
	close(pair[1]);
	atomic_store(&t->sh->giving, false);
	atomic_store(&t->sh->go, true);
	while (!atomic_load(&t->sh->giving))
		sched_yield();
	offer(t);
	o->in_time = kill_giver ? steps(o->giver, n, &t->sh->given)
				: steps(o->taker, n, &t->sh->taken);
	end(kill_giver ? o->giver : o->taker);
}

static void taker_dies(void **state)
{
	static struct place t;
	struct pair o;
	unsigned kept = 0, late = 0;

	place_open(&t, *state);
	for (unsigned n = 0; n < STEPS_MAX; n++) {
		int ret;

		hand_over(&t, &o, false, n);
		ret = answer(&t.sh->given);
		if (ret) { // it goes on there, on the same connection
			assert_true(ret == -ECONNRESET || ret == -EPIPE);
			assert_true(drv_vu_alive(&t.d.b.vu));
			assert_int_equal(late, 0); // who has said yes does not take it back
			load(&t);
			kept++;
			end(o.giver);
		} else { // it died as the owner
			late++;
			assert_int_equal(waitpid(o.giver, NULL, 0), o.giver);
		}
		if (!o.in_time)
			break;
	}
	print_message("%u calls before its answer, %u after it\n", kept, late);
	assert_true(kept > 20 && late > 0 && !o.in_time);
	place_close(&t);
}

static void giver_dies(void **state)
{
	static struct place t;
	struct pair o;
	unsigned gone = 0, moved = 0;

	place_open(&t, *state);
	for (unsigned n = 0; n < STEPS_MAX; n++) {
		hand_over(&t, &o, true, n);
		if (answer(&t.sh->taken) == 0) {
			assert_true(drv_vu_alive(&t.d.b.vu));
			load(&t);
			moved++;
			end(o.taker);
		} else {
			assert_int_equal(moved, 0);
			assert_int_equal(waitpid(o.taker, NULL, 0), o.taker);
			gone++;
		}
		if (!o.in_time)
			break;
	}
	print_message("%u calls before everything was sent, %u after it\n", gone, moved);
	assert_true(gone > 3 && moved > 3 && !o.in_time);
	place_close(&t);
}

int main(void)
{
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	RUN_ROWS(rows, taker_dies, failed);
	RUN_ROWS(rows, giver_dies, failed);
	return failed;
}
