// SPDX-License-Identifier: Apache-2.0
/*
 * A target that is killed again and again, under requests that are verified: each ends well, and
 * what was acknowledged is there. The target is a process of its own (tgt_serve, the argument)
 * whose first volume is a file.
 *
 * KILLS in the environment is how often; 100 when not given. The host's clock runs faster than
 * anybody else's: its fence against late writes would take most of the time, and a process that was
 * waited for writes nothing any more.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "nof_ctrl.h"
#include "nof_group.h"
#include "volume.h"

#define NQN "nqn.2026-11.test:serve"
#define WORKERS 2U
#define SPOTS 64U
#define SMALL 4096U
#define LARGE (192U << 10) // more than one command
#define STRIDE (256U << 10)
#define FASTER 60
#define LIMIT_S 240 // of real time for all of it: then the test fails

static const char *serve; // the program

struct spot {
	struct vol_io io; // first
	struct iovec iov;
	struct bench *b;
	uint8_t *buf; // owned
	uint32_t len, version; // that was acknowledged
	bool busy;
};

struct bench {
	struct nof_group *control, *workers[WORKERS];
	struct nof_host *host;
	struct nof_ctrl *ctrl[2];
	unsigned gone;
	struct vol *v;
	struct vol_chan *c[WORKERS];
	struct spot spots[SPOTS];
	char addr[24], file[64];
	pid_t target;
	int in, out; // the target's
	unsigned errors, wrong, done;
};

static uint64_t real_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t fast_clock(void)
{
	return real_ns() * FASTER;
}

static uint64_t seed = 88172645463325252ULL;

static unsigned next_random(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % below;
}

/* ---- the target ---- */

static void target_start(struct bench *b)
{
	char word[8] = "";
	int in[2], out[2];
	ssize_t n;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	b->target = fork();
	assert_true(b->target >= 0);
	if (b->target == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		execl(serve, serve, b->addr, "4420", "4421", b->file, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	b->in = in[1];
	b->out = out[0];
	n = read(b->out, word, 6); // it is ready when it says so
	assert_true(n == 6 && !strcmp(word, "ready\n"));
}

static void target_kill(struct bench *b)
{
	int status;

	assert_int_equal(kill(b->target, SIGKILL), 0);
	assert_int_equal(waitpid(b->target, &status, 0), b->target);
	assert_true(WIFSIGNALED(status)); // it had not ended by itself
	close(b->in);
	close(b->out);
}

/* ---- requests ---- */

/* What a version of a spot looks like: no two have a block in common. */
static void pattern(uint8_t *to, uint32_t len, unsigned spot, uint32_t version)
{
	for (uint32_t at = 0; at < len; at += 8) {
		uint64_t word = ((uint64_t)spot << 56 | (uint64_t)at << 32 | version) *
				0x9e3779b97f4a7c15ull;

		memcpy(to + at, &word, sizeof(word));
	}
}

static bool matches(const uint8_t *data, uint32_t len, unsigned spot, uint32_t version)
{
	static uint8_t want[LARGE];

	if (version)
		pattern(want, len, spot, version);
	else
		memset(want, 0, len);
	return memcmp(data, want, len) == 0;
}

static void done(struct vol_io *io, int err)
{
	struct spot *s = (struct spot *)io;
	unsigned idx = (unsigned)(s - s->b->spots);

	s->busy = false;
	s->b->done++;
	s->b->errors += err != 0;
	if (io->op == VOL_WRITE)
		s->version++;
	else
		s->b->wrong += !matches(s->buf, s->len, idx, s->version);
}

static void begin(struct bench *b, struct spot *s, enum vol_op op)
{
	unsigned idx = (unsigned)(s - b->spots);

	s->iov = (struct iovec){ s->buf, s->len };
	s->io = (struct vol_io){ .op = op,
		.off = (uint64_t)idx * STRIDE,
		.len = s->len,
		.iov = &s->iov,
		.n_iov = 1,
		.done = done };
	if (op == VOL_WRITE)
		pattern(s->buf, s->len, idx, s->version + 1);
	else
		memset(s->buf, 0xee, s->len);
	s->busy = true;
	vol_submit(b->c[idx % WORKERS], &s->io);
}

static void turn(struct bench *b)
{
	nof_group_poll(b->control);
	for (unsigned i = 0; i < WORKERS; i++)
		nof_group_poll(b->workers[i]);
}

static void some_requests(struct bench *b)
{
	for (unsigned i = 0; i < 4; i++) {
		struct spot *s = &b->spots[next_random(SPOTS)];

		if (!s->busy)
			begin(b, s, next_random(3) ? VOL_WRITE : VOL_READ);
	}
}

static bool idle(const struct bench *b)
{
	for (unsigned i = 0; i < SPOTS; i++)
		if (b->spots[i].busy)
			return false;
	return true;
}

/* ---- the host ---- */

static void gone(void *arg)
{
	++*(unsigned *)arg;
}

static void host_open(struct bench *b)
{
	const struct nof_group_conf gc = { 0 };
	struct nof_host_conf hc = { .n_workers = WORKERS,
		.hostnqn = "nqn.2026-11.test:host",
		.hostid = { 9 },
		.workers = b->workers };
	struct vol_nvmf_conf vc = {
		.name = "v", .subnqn = NQN, .nsid = 1, .size = 64u << 20, .block_size = 512
	};

	assert_int_equal(nof_group_create(&gc, &b->control), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(nof_group_create(&gc, &b->workers[i]), 0);
	hc.control = b->control;
	assert_int_equal(nof_host_create(&hc, &b->host), 0);
	for (unsigned i = 0; i < 2; i++) {
		const struct nof_ctrl_conf conf = { .name = i ? "b" : "a",
			.traddr = b->addr,
			.trsvcid = (uint16_t)(4420 + i),
			.subnqn = NQN,
			.kato_ms = 6000,
			.io_timeout_ms = 300000,
			.connect_timeout_ms = 60000,
			.reconnect_delay_ms = 200,
			.ctrl_loss_timeout_s = -1 };

		assert_int_equal(nof_ctrl_create(b->host, &conf, NULL, NULL, &b->ctrl[i]), 0);
	}
	vc.host = b->host;
	assert_int_equal(vol_nvmf_open(&vc, &b->v), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(vol_chan_open(b->v, b->workers[i], &b->c[i]), 0);
}

static void host_close(struct bench *b)
{
	for (unsigned i = 0; i < WORKERS; i++)
		vol_chan_close(b->c[i]);
	vol_close(b->v);
	for (unsigned i = 0; i < 2; i++)
		nof_ctrl_delete(b->ctrl[i], gone, &b->gone);
	while (b->gone < 2)
		turn(b);
	turn(b);
	nof_host_destroy(b->host);
	nof_group_destroy(b->control);
	for (unsigned i = 0; i < WORKERS; i++)
		nof_group_destroy(b->workers[i]);
}

static void until(struct bench *b, bool (*reached)(const struct bench *b))
{
	while (!reached(b))
		turn(b);
}

static bool both_live(const struct bench *b)
{
	struct nof_ctrl_info i[2];

	nof_ctrl_info(b->ctrl[0], &i[0]);
	nof_ctrl_info(b->ctrl[1], &i[1]);
	return i[0].state == NOF_CTRL_LIVE && i[1].state == NOF_CTRL_LIVE;
}

static void killed_under_verify(void **state)
{
	const char *text = getenv("KILLS");
	unsigned kills = text ? (unsigned)strtoul(text, NULL, 10) : 100;
	struct bench *b = calloc(1, sizeof(*b));

	(void)state;
	assert_non_null(b);
	alarm(LIMIT_S + kills);
	dpu_clock_set(fast_clock);
	dpu_log_level_set(DPU_LOG_ERR);
	snprintf(b->addr, sizeof(b->addr), "127.%u.%u.%u", 64 + (unsigned)getpid() / 65536 % 64,
		(unsigned)getpid() / 256 % 256, 1 + (unsigned)getpid() % 254);
	snprintf(b->file, sizeof(b->file), "%s/outboard-kill.%d",
		access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (int)getpid());
	for (unsigned i = 0; i < SPOTS; i++) {
		b->spots[i].b = b;
		b->spots[i].len = i % 8 ? SMALL : LARGE;
		b->spots[i].buf = calloc(1, b->spots[i].len);
		assert_non_null(b->spots[i].buf);
	}
	target_start(b);
	host_open(b);
	until(b, both_live);
	for (unsigned i = 0; i < kills; i++) {
		unsigned turns = next_random(200), from = b->done;

		for (unsigned k = 0; k < turns || b->done < from + 8; k++) {
			some_requests(b);
			turn(b);
		}
		target_kill(b);
		for (unsigned k = next_random(4); k > 0; k--)
			turn(b); // sometimes the loss is seen before it is back
		target_start(b);
	}
	until(b, idle);
	for (unsigned i = 0; i < SPOTS; i++)
		begin(b, &b->spots[i], VOL_READ);
	until(b, idle);
	assert_int_equal(b->errors, 0);
	assert_int_equal(b->wrong, 0);
	assert_true(b->done > 8 * kills);
	host_close(b);
	target_kill(b);
	unlink(b->file);
	dpu_clock_set(NULL);
	for (unsigned i = 0; i < SPOTS; i++)
		free(b->spots[i].buf);
	free(b);
	alarm(0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_under_verify),
	};

	if (argc != 2) {
		fprintf(stderr, "Usage: test_tgt_kill TGT_SERVE\n");
		return 2;
	}
	serve = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
