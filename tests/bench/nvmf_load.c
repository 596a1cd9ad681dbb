// SPDX-License-Identifier: Apache-2.0
/*
 * NVMe/TCP over loopback, 4 KiB random reads: our initiator on one CPU, our target on another, and
 * what two plain programs exchange with the same window on the same CPUs.
 *
 * nvmf_load MODE WINDOW MS [CPU CPU]: MODE is plain, plain-one (one thread on the first CPU plays
 * both programs), null, ram, null-digest or ram-digest. Prints one line: replies a second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "group.h"
#include "nof_ctrl.h"
#include "nof_tgt.h"
#include "volume.h"

#define NQN "nqn.2026-11.bench:nvmf"
#define BLOCK 4096U
#define ASK 72U
#define REPLY (24U + BLOCK)
#define WINDOW_MAX 1024U
#define SIZE (64ULL << 20)
#define WARM_MS 200ULL
#define CONTROL_NS 1000000U

static void must(long ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(ret == -1 ? errno : (int)-ret));
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set), "affinity");
}

static uint64_t seed = 88172645463325252ULL;

static uint64_t next_off(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % (SIZE / BLOCK) * BLOCK;
}

/* ---- two plain programs, or both in one ---- */

struct server {
	int fd;
	size_t have; // bytes of a question that is not there yet
	size_t left; // bytes of answers that did not go yet
};

struct client {
	int fd;
	size_t have; // bytes of an answer
	uint64_t n; // answers
};

/* False: the other end has gone. */
static bool serve_step(struct server *s)
{
	static uint8_t in[65536], out[64 * REPLY];
	ssize_t n = recv(s->fd, in, sizeof(in), MSG_DONTWAIT);

	if (n == 0)
		return false;
	if (n > 0) {
		s->left += (s->have + (size_t)n) / ASK * REPLY;
		s->have = (s->have + (size_t)n) % ASK;
	}
	while (s->left > 0) {
		size_t part = s->left < sizeof(out) ? s->left : sizeof(out);

		n = send(s->fd, out, part, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		s->left -= (size_t)n;
	}
	return true;
}

static uint8_t ask[WINDOW_MAX * ASK];

static void ask_step(struct client *c)
{
	static uint8_t in[131072];
	ssize_t n = recv(c->fd, in, sizeof(in), MSG_DONTWAIT);
	size_t k;

	if (n <= 0)
		return;
	k = (c->have + (size_t)n) / REPLY;
	c->have = (c->have + (size_t)n) % REPLY;
	c->n += k;
	if (k)
		must(send(c->fd, ask, k * ASK, MSG_NOSIGNAL), "send");
}

/* For ms, and WARM_MS before; with a server it is served in between. Answers a second. */
static double ask_for(struct client *c, struct server *s, unsigned window, uint64_t ms)
{
	uint64_t now = dpu_now_ns(), start = now + WARM_MS * 1000000, end = start + ms * 1000000;
	uint64_t before = 0;

	must(send(c->fd, ask, window * ASK, 0), "send");
	while (now < end) {
		if (now < start)
			before = c->n;
		if (s)
			(void)serve_step(s);
		ask_step(c);
		now = dpu_now_ns();
	}
	return (double)(c->n - before) * 1e9 / (double)(now - start);
}

/* Two ends of a connection. */
static void connection(int fd[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	socklen_t len = sizeof(a);

	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	must(bind(l, (struct sockaddr *)&a, sizeof(a)), "bind");
	must(listen(l, 1), "listen");
	must(getsockname(l, (struct sockaddr *)&a, &len), "getsockname");
	must(connect(fd[0], (struct sockaddr *)&a, sizeof(a)), "connect");
	fd[1] = accept(l, NULL, NULL);
	must(fd[1], "accept");
	close(l);
	for (int i = 0; i < 2; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* One thread plays both. */
static double plain_one(unsigned window, uint64_t ms, int cpu)
{
	int fd[2];

	pin(cpu);
	connection(fd);
	return ask_for(
		&(struct client){ .fd = fd[0] }, &(struct server){ .fd = fd[1] }, window, ms);
}

static double plain(unsigned window, uint64_t ms, const int cpu[2])
{
	struct server s = { 0 };
	double rate;
	int fd[2];
	pid_t pid;

	connection(fd);
	pid = fork();
	must(pid, "fork");
	if (pid == 0) {
		close(fd[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(cpu[1]);
		s.fd = fd[1];
		while (serve_step(&s))
			;
		exit(0);
	}
	close(fd[1]);
	pin(cpu[0]);
	rate = ask_for(&(struct client){ .fd = fd[0] }, NULL, window, ms);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return rate;
}

/* ---- initiator and target ---- */

static int call(void *env, unsigned idx, int (*fn)(void *arg), void *arg)
{
	(void)env;
	(void)idx;
	return fn(arg);
}

/* The target, for ever; tells its port. */
static void serve(int to, bool ram)
{
	const struct nof_group_conf gc = { 0 };
	const struct nof_tgt_subsys_conf sc = { .nqn = NQN, .allow_any_host = true };
	const struct nof_tgt_addr at = { "127.0.0.1", "0" };
	struct nof_tgt_conf tc = { .n_workers = 1, .call = call };
	struct nof_group *control, *worker;
	struct nof_tgt *t;
	struct vol *v;
	uint16_t port;

	must(nof_group_create(&gc, &control), "group");
	must(nof_group_create(&gc, &worker), "group");
	tc.control = control;
	tc.workers = &worker;
	tc.opts.max_queue_depth = WINDOW_MAX;
	tc.opts.pool_bytes = 64 << 20;
	must(nof_tgt_create(&tc, &t), "target");
	if (ram)
		must(vol_ram_open(&(struct vol_ram_conf){ "v", SIZE, 4096, true }, &v), "volume");
	else
		must(vol_null_open(&(struct vol_null_conf){ "v", SIZE, 4096 }, &v), "volume");
	must(nof_tgt_subsys_add(t, &sc), "subsystem");
	must(nof_tgt_ns_add(t, NQN, &(struct nof_tgt_ns_conf){ .vol = v }, NULL), "namespace");
	must(nof_tgt_listener_add(t, NQN, &at), "listener");
	port = nof_tgt_listener_port(t, NQN, &at);
	must(write(to, &port, sizeof(port)), "pipe");
	for (uint64_t next = 0;;) {
		nof_group_poll(worker);
		if (nof_group_now(worker) < next)
			continue;
		nof_group_poll(control); // another thread's, in a card
		next = nof_group_now(worker) + CONTROL_NS;
	}
}

struct load {
	struct vol_chan *c;
	uint64_t n;
	bool stop;
	unsigned out;
};

struct one {
	struct vol_io io;
	struct iovec iov;
	struct load *l;
};

static void again(struct one *o)
{
	o->io.off = next_off();
	vol_submit(o->l->c, &o->io);
}

static void done(struct vol_io *io, int err)
{
	struct one *o = (struct one *)io;

	must(err, "read");
	o->l->n++;
	if (o->l->stop)
		o->l->out--;
	else
		again(o);
}

static void up(void *arg, int err)
{
	must(err, "connect");
	*(bool *)arg = true;
}

static double load(uint16_t port, bool digest, unsigned window, uint64_t ms)
{
	const struct nof_group_conf gc = { 0 };
	struct nof_host_conf hc = { .n_workers = 1, .hostnqn = "nqn.2026-11.bench:host" };
	const struct nof_ctrl_conf cc = { .name = "c",
		.traddr = "127.0.0.1",
		.trsvcid = port,
		.subnqn = NQN,
		.hdgst = digest,
		.ddgst = digest,
		.queue_size = WINDOW_MAX };
	struct nof_group *control, *worker;
	struct load l = { 0 };
	struct nof_host *h;
	struct nof_ctrl *ctrl;
	struct vol *v;
	bool live = false;
	uint64_t start, end, now, from;
	static struct one o[WINDOW_MAX]; // they are in flight to the end

	must(nof_group_create(&gc, &control), "group");
	must(nof_group_create(&gc, &worker), "group");
	hc.control = control;
	hc.workers = &worker;
	must(nof_host_create(&hc, &h), "host");
	must(nof_ctrl_create(h, &cc, up, &live, &ctrl), "controller");
	while (!live)
		nof_group_poll(control);
	must(vol_nvmf_open(
		     &(struct vol_nvmf_conf){ .name = "v", .host = h, .subnqn = NQN, .nsid = 1 },
		     &v),
		"volume");
	must(vol_chan_open(v, worker, &l.c), "channel");
	for (unsigned i = 0; i < window; i++) {
		o[i].l = &l;
		o[i].iov = (struct iovec){ aligned_alloc(4096, BLOCK), BLOCK };
		o[i].io = (struct vol_io){
			.op = VOL_READ, .len = BLOCK, .iov = &o[i].iov, .n_iov = 1, .done = done
		};
		again(&o[i]);
	}
	from = dpu_now_ns() + WARM_MS * 1000000;
	while (dpu_now_ns() < from)
		nof_group_poll(worker);
	start = now = dpu_now_ns();
	end = start + ms * 1000000;
	l.n = 0;
	from = 0;
	while (now < end) {
		nof_group_poll(worker);
		now = dpu_now_ns();
		if (now < from)
			continue;
		nof_group_poll(control);
		from = now + CONTROL_NS;
	}
	return (double)l.n * 1e9 / (double)(now - start);
}

static double nvmf(const char *mode, unsigned window, uint64_t ms, const int cpu[2])
{
	int pipe_fds[2];
	uint16_t port = 0;
	double rate;
	pid_t pid;

	must(pipe(pipe_fds), "pipe");
	pid = fork();
	must(pid, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(cpu[1]);
		serve(pipe_fds[1], !strncmp(mode, "ram", 3));
	}
	pin(cpu[0]);
	must(read(pipe_fds[0], &port, sizeof(port)), "port");
	rate = load(port, strstr(mode, "digest") != NULL, window, ms);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return rate;
}

int main(int argc, char **argv)
{
	int cpu[2] = { 0, 1 };
	unsigned window;
	double rate;

	if (argc != 4 && argc != 6) {
		fprintf(stderr, "Usage: nvmf_load MODE WINDOW MS [CPU CPU]\n");
		return 2;
	}
	window = (unsigned)atoi(argv[2]);
	if (window == 0 || window >= WINDOW_MAX)
		return 2;
	if (argc == 6) {
		cpu[0] = atoi(argv[4]);
		cpu[1] = atoi(argv[5]);
	}
	if (!strcmp(argv[1], "plain-one"))
		rate = plain_one(window, (uint64_t)atoi(argv[3]), cpu[0]);
	else if (!strcmp(argv[1], "plain"))
		rate = plain(window, (uint64_t)atoi(argv[3]), cpu);
	else
		rate = nvmf(argv[1], window, (uint64_t)atoi(argv[3]), cpu);
	printf("%s window=%u per_s=%.0f\n", argv[1], window, rate);
	return 0;
}
