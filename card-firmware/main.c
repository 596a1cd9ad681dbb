// SPDX-License-Identifier: Apache-2.0
/* cardd: options, start, event loop, stop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "card.h"
#include "card_paths.h"
#include "dpu_cli.h"
#include "dpu_log.h"
#include "loop.h"
#include "modules.h"
#include "standby.h"
#include "supervise.h"

#define NO_FD UINT64_MAX

struct program {
	struct card card;
	struct dpu_opt_list eal;
	uint64_t ready_fd;
	bool supervise;
	char **argv; // borrowed: main's, before it was parsed
	char run_dir[1024], socket_dir[2048], rpc_socket[2048]; // defaults
};

static int parse_options(struct program *p, int argc, char **argv)
{
	struct card_options *o = &p->card.opt;
	const struct dpu_opt opts[] = {
		{ "name", DPU_OPT_STR, &o->name, "NAME",
			"name of the card in logs and metrics (" CARD_NAME_DEFAULT ")", 0, 0 },
		{ "config", DPU_OPT_STR, &o->config, "FILE", "configuration file, a list of calls",
			0, 0 },
		{ "state-dir", DPU_OPT_STR, &o->state_dir, "DIR",
			"keep what was created here over a restart", 0, 0 },
		{ "rpc-socket", DPU_OPT_STR, &o->rpc_socket, "PATH",
			"control socket (RUN/NAME.sock)", 0, 0 },
		{ "socket-dir", DPU_OPT_STR, &o->socket_dir, "DIR",
			"where vhost-user sockets are made (RUN/NAME)", 0, 0 },
		{ "volume-dir", DPU_OPT_STR, &o->volume_dir, "DIR",
			"file volumes must live below it (anywhere)", 0, 0 },
		{ "key-file", DPU_OPT_STR, &o->key_file, "FILE",
			"key-encryption key of encrypted volumes: 32 bytes that only we may read",
			0, 0 },
		{ "cores", DPU_OPT_STR, &o->cores, "LIST",
			"CPUs of the workers, one each, as 0-1,3 (the last CPU)", 0, 0 },
		{ "mem-mib", DPU_OPT_UINT, &o->mem_mib, "N", "memory for packets, in MiB (256)", 32,
			1u << 20 },
		{ "mbufs", DPU_OPT_UINT, &o->mbufs, "N", "packets in the pool (16383)", 1023,
			1u << 24 },
		{ "ct-conns", DPU_OPT_UINT, &o->ct_conns, "N",
			"tracked connections at most, about 230 bytes each (262144)", 1024,
			1u << 26 },
		{ "agent-socket", DPU_OPT_STR, &o->agent_socket, "PATH",
			"where host-hv --agent connects, which runs VMs (none)", 0, 0 },
		{ "metrics-port", DPU_OPT_UINT, &o->metrics_port, "PORT",
			"OpenMetrics on this loopback port (0: none)", 0, 65535 },
		{ "spin-us", DPU_OPT_UINT, &o->spin_us, "N",
			"poll this long without work before sleeping, in us, and as long again as "
			"there was work before, 5 ms at most (50; 0: neither)",
			0, 1000000 },
		{ "hugepages", DPU_OPT_FLAG, &o->hugepages, NULL,
			"use hugepages; without it, ordinary memory", 0, 0 },
		{ "log-level", DPU_OPT_STR, &o->log_level, "LEVEL", "err, warn, info or debug", 0,
			0 },
		{ "eal", DPU_OPT_LIST, &p->eal, "ARG", "one more argument for DPDK; repeatable", 0,
			0 },
		{ "supervise", DPU_OPT_FLAG, &p->supervise, NULL,
			"keep a warm second process that takes over when this one dies", 0, 0 },
		{ CARD_STANDBY_OPTION, DPU_OPT_UINT, &o->standby_fd, "N",
			"given by --supervise to the processes that it starts", 3, 65535 },
		{ "ready-fd", DPU_OPT_UINT, &p->ready_fd, "N",
			"write READY=1 to this descriptor when the card serves", 0, 65535 },
	};
	const struct dpu_cli cli = {
		.prog = "cardd",
		.summary = "card daemon: network and storage functions for guests",
		.usage = "[OPTION]...",
		.text = "Runs one emulated or real card: a control thread and one polling worker "
			"per "
			"CPU of --cores. Writes the line \"ready\" to stdout when it serves. RUN "
			"is "
			"$XDG_RUNTIME_DIR/" CARD_RUN_SUBDIR
			" when that is set and the user is not root, else " CARD_RUN_DIR ".",
		.opts = opts,
		.n_opts = sizeof(opts) / sizeof(opts[0]),
	};
	int n = dpu_cli_parse(&cli, argc, argv);

	if (n > 0) {
		fprintf(stderr, "cardd: %s: takes no operands\n", argv[1]);
		return -EINVAL;
	}
	return n;
}

static int apply_options(struct program *p)
{
	struct card_options *o = &p->card.opt;
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	enum dpu_log_level level;

	if (!card_name_ok(o->name)) {
		fprintf(stderr, "cardd: name: " CARD_NAME_RULE "\n");
		return -EINVAL;
	}
	if (o->log_level) {
		if (dpu_log_level_parse(o->log_level, &level) < 0) {
			fprintf(stderr, "cardd: log-level: err, warn, info or debug\n");
			return -EINVAL;
		}
		dpu_log_level_set(level);
	}
	o->eal = &p->eal;
	if (geteuid() != 0 && xdg && xdg[0] == '/')
		snprintf(p->run_dir, sizeof(p->run_dir), "%s/" CARD_RUN_SUBDIR, xdg);
	else
		snprintf(p->run_dir, sizeof(p->run_dir), CARD_RUN_DIR);
	snprintf(p->socket_dir, sizeof(p->socket_dir), "%s/%s", p->run_dir, o->name);
	snprintf(p->rpc_socket, sizeof(p->rpc_socket), "%s/%s.sock", p->run_dir, o->name);
	if (!o->socket_dir)
		o->socket_dir = p->socket_dir;
	if (!o->rpc_socket)
		o->rpc_socket = p->rpc_socket;
	return 0;
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct card *c = arg;

	(void)what;
	dpu_info("card: stopping", "signal=%d", (int)sig);
	c->stopping = true;
	event_base_loopbreak(c->loop);
}

static void say_ready(struct program *p)
{
	static const char text[] = "READY=1\n";

	puts("ready");
	fflush(stdout);
	if (p->ready_fd == NO_FD)
		return;
	if (write((int)p->ready_fd, text, sizeof(text) - 1) < 0)
		dpu_warn("card: ready-fd", "err=%d", errno);
	close((int)p->ready_fd);
}

static void on_first_service(void *arg)
{
	say_ready(arg);
}

/* Returns the exit status. */
static int supervise(struct program *p)
{
	const struct card_supervise_conf conf = {
		.program = "/proc/self/exe", // also when another version was installed meanwhile
		.argv = p->argv,
		.serving = on_first_service,
		.arg = p,
	};

	if (p->ready_fd != NO_FD)
		(void)fcntl((int)p->ready_fd, F_SETFD, FD_CLOEXEC);
	return card_supervise(&conf);
}

/* Returns the exit status. */
static int run(struct program *p)
{
	struct card *c = &p->card;
	struct event *term = NULL, *intr = NULL;
	int status = EXIT_FAILURE;

	c->loop = event_base_new();
	if (!c->loop) {
		dpu_err("card: no event loop", "err=%d", errno);
		return status;
	}
	card_loop_init(&c->vho_loop, c->loop);
	// Watched before the start, so that a signal during it ends in an orderly stop.
	term = evsignal_new(c->loop, SIGTERM, on_signal, c);
	intr = evsignal_new(c->loop, SIGINT, on_signal, c);
	if (!term || !intr || event_add(term, NULL) < 0 || event_add(intr, NULL) < 0) {
		dpu_err("card: cannot watch signals", "err=%d", errno);
		goto out;
	}
	if (card_modules_start(c) < 0) {
		if (c->stopping)
			status = EXIT_SUCCESS;
		goto out;
	}
	if (c->standby)
		card_standby_serving(c);
	else
		say_ready(p);
	dpu_info("card: ready", "name=%s workers=%u rpc=%s", c->opt.name,
		card_workers_count(c->workers), c->opt.rpc_socket);
	event_base_dispatch(c->loop);
	c->stopping = true;
	card_modules_stop(c);
	dpu_info("card: stopped", "name=%s", c->opt.name);
	status = EXIT_SUCCESS;
out:
	if (term)
		event_free(term);
	if (intr)
		event_free(intr);
	event_base_free(c->loop);
	return status;
}

int main(int argc, char **argv)
{
	static struct program p = {
		.card.opt = { .name = CARD_NAME_DEFAULT,
			.mem_mib = 256,
			.mbufs = 16383,
			.ct_conns = 262144,
			.spin_us = 50 },
		.ready_fd = NO_FD,
	};
	int ret;

	p.argv = calloc((size_t)argc + 1, sizeof(*p.argv)); // parsing moves operands about
	if (!p.argv)
		return EXIT_FAILURE;
	memcpy(p.argv, argv, (size_t)argc * sizeof(*p.argv));
	ret = parse_options(&p, argc, argv);
	if (ret == 0)
		ret = apply_options(&p);
	if (ret == -ECANCELED)
		return EXIT_SUCCESS;
	if (ret < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	if (p.supervise && !p.card.opt.standby_fd)
		return supervise(&p);
	prctl(PR_SET_NAME, "cardd"); // run by its supervisor it would be called "exe"
	return run(&p);
}
