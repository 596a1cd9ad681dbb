// SPDX-License-Identifier: Apache-2.0
/*
 * card-emulator: one topology file becomes cards, their fabric and guests, supervised until the
 * end.
 */
#include "emu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_cli.h"
#include "proc.h"
#include "text.h"

#define STOP_LIMIT_MS 3000 // before SIGTERM becomes SIGKILL

struct options {
	const char *dir, *image, *run, *hypervisor;
	bool keep, verbose;
	uint64_t timeout_s, start_timeout_s;
	struct emu_client_conf client;
};

void emu_path(const struct emu *e, char *out, size_t size, const char *fmt, ...)
{
	int n = snprintf(out, size, "%s/", e->dir);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out + n, size - (size_t)n, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "card-emulator: %s\n", text);
}

void emu_say(const struct emu *e, const char *fmt, ...)
{
	va_list ap;

	if (!e->verbose)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void emu_stop(struct emu *e, int exit_code, const char *fmt, ...)
{
	va_list ap;

	if (e->phase == EMU_DOWN)
		return;
	if (fmt) {
		va_start(ap, fmt);
		say(fmt, ap);
		va_end(ap);
	}
	e->phase = EMU_DOWN;
	e->exit_code = exit_code;
	event_base_loopbreak(e->base);
}

bool emu_all_up(const struct emu *e)
{
	for (size_t i = 0; i < e->topo->n_cards; i++)
		if (!e->cards[i].ready)
			return false;
	for (size_t i = 0; i < e->topo->n_guests; i++)
		if (!emu_guest_up(&e->guests[i]))
			return false;
	return e->phase == EMU_UP;
}

static void start_guests(struct emu *e)
{
	for (size_t i = 0; i < e->topo->n_guests; i++) {
		int ret = emu_guest_start(&e->guests[i]);

		if (ret) {
			emu_stop(e, 1, "guest %s: cannot start: %s", e->guests[i].conf->name,
				strerror(-ret));
			return;
		}
	}
}

static void set_environment(const struct emu *e)
{
	char self[EMU_PATH_SIZE], *slash, path[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *old = getenv("PATH");

	setenv("OUTBOARD_DIR", e->dir, 1);
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return;
	*slash = '\0';
	emu_text(path, sizeof(path), "%s:%s/..:%s", self, self, old ? old : "/usr/bin:/bin");
	setenv("PATH", path, 1);
}

static void run_program(struct emu *e)
{
	struct emu_argv a = { 0 };
	int ret;

	for (char *const *w = e->run; *w; w++)
		emu_argv_add(&a, "%s", *w);
	set_environment(e);
	ret = emu_spawn(&a, NULL, &e->run_pid);
	emu_argv_fini(&a);
	if (ret)
		emu_stop(e, 1, "%s: %s", e->run[0], strerror(-ret));
	else
		emu_sweep_group(&e->sweep, e->run_pid);
}

/* For somebody at a terminal: what runs where. */
static void print_map(const struct emu *e)
{
	const struct emu_topology *t = e->topo;

	printf("%s is up in %s\n", e->topo->name, e->dir);
	for (size_t i = 0; i < e->topo->n_cards; i++)
		printf("  card  %-16s pid %-7d cores %-6s cardctl --socket %s/%s/rpc.sock\n",
			e->cards[i].conf->name, (int)e->cards[i].pid, e->cards[i].cores, e->dir,
			e->cards[i].conf->name);
	for (size_t i = 0; i < e->topo->n_guests; i++)
		printf("  guest %-16s pid %-7d %-18s card-emulator --dir %s --exec %s COMMAND\n",
			e->guests[i].conf->name, (int)e->guests[i].pid, e->guests[i].conf->ip,
			e->dir, e->guests[i].conf->name);
	for (size_t i = 0; i < t->n_links; i++) {
		const struct emu_end *a = &t->links[i].ends[0], *b = &t->links[i].ends[1];

		printf("  link  %s/%s - %s/%s: %s\n", t->cards[a->card].name,
			t->cards[a->card].uplinks[a->item].name, t->cards[b->card].name,
			t->cards[b->card].uplinks[b->item].name,
			t->links[i].kind == EMU_LINK_VETH ? "veth" : "memif");
	}
	printf("Ctrl-C takes it down.\n");
	fflush(stdout);
}

void emu_advance(struct emu *e)
{
	size_t i;

	if (e->phase == EMU_CARDS) {
		for (i = 0; i < e->topo->n_cards; i++)
			if (!e->cards[i].ready)
				return;
		e->phase = EMU_GUESTS;
		start_guests(e);
	}
	if (e->phase == EMU_GUESTS) {
		for (i = 0; i < e->topo->n_guests; i++)
			if (!emu_guest_up(&e->guests[i]))
				return;
		e->phase = EMU_UP;
		if (e->run)
			run_program(e);
		else
			print_map(e);
	}
	if (e->phase == EMU_UP)
		emu_ctl_changed(e);
}

static void child_ended(struct emu *e, pid_t pid, int status)
{
	for (size_t i = 0; i < e->topo->n_cards; i++)
		if (e->cards[i].pid == pid)
			emu_card_ended(&e->cards[i], status);
		else if (e->cards[i].host_pid == pid)
			emu_host_ended(&e->cards[i], status);
	for (size_t i = 0; i < e->topo->n_guests; i++)
		if (e->guests[i].pid == pid && !e->guests[i].vm)
			emu_guest_ended(&e->guests[i], status);
	if (pid == e->run_pid) {
		e->run_pid = 0;
		emu_stop(e, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), NULL);
	}
}

static void reap(evutil_socket_t sig, short what, void *arg)
{
	int status;
	pid_t pid;

	(void)sig;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		child_ended(arg, pid, status);
}

static void interrupted(evutil_socket_t sig, short what, void *arg)
{
	struct emu *e = arg;

	(void)what;
	// Asked to end, it ended: only a program that was cut short makes that a failure.
	emu_stop(e, e->run || e->phase != EMU_UP ? 128 + (int)sig : 0, NULL);
}

static void too_late(evutil_socket_t fd, short what, void *arg)
{
	struct emu *e = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < e->topo->n_cards && e->phase == EMU_CARDS; i++)
		if (!e->cards[i].ready)
			emu_stop(e, 1, "card %s is not ready after %u s", e->cards[i].conf->name,
				e->start_limit_s);
	for (size_t i = 0; i < e->topo->n_guests && e->phase == EMU_GUESTS; i++)
		if (!emu_guest_up(&e->guests[i]))
			emu_stop(e, 1,
				"guest %s is not up after %u s: see its console.log, or give "
				"--start-timeout-s",
				e->guests[i].conf->name, e->start_limit_s);
}

static unsigned signal_all(const struct emu *e, int sig)
{
	unsigned n = 0;

	for (size_t i = 0; i < e->topo->n_guests; i++)
		if (e->guests && e->guests[i].pid && !e->guests[i].vm) {
			kill(-e->guests[i].pid, sig);
			n++;
		}
	for (size_t i = 0; i < e->topo->n_cards; i++)
		if (e->cards && e->cards[i].pid) {
			kill(-e->cards[i].pid, sig);
			n++;
		}
	for (size_t i = 0; i < e->topo->n_cards; i++)
		if (e->cards && e->cards[i].host_pid) {
			kill(-e->cards[i].host_pid, sig);
			n++;
		}
	if (e->run_pid) {
		kill(-e->run_pid, sig);
		n++;
	}
	return n;
}

/* SIGTERM to all, a bounded wait, SIGKILL to the rest. */
static void stop_children(struct emu *e)
{
	const struct timespec nap = { .tv_nsec = 10 * 1000 * 1000 };

	for (unsigned ms = 0; signal_all(e, 0) > 0; ms += 10) {
		if (ms == 0)
			signal_all(e, SIGTERM);
		else if (ms >= STOP_LIMIT_MS)
			signal_all(e, SIGKILL);
		nanosleep(&nap, NULL);
		int status;
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid != e->sweep.pid)
				child_ended(e, pid, status);
	}
}

static int start_parts(struct emu *e)
{
	int ret = emu_fabric_create(e);

	if (ret) {
		emu_stop(e, 1, "cannot make the links: %s", strerror(-ret));
		return ret;
	}
	for (size_t i = 0; i < e->topo->n_guests && !ret; i++)
		ret = emu_guest_init(e, i);
	for (size_t i = 0; i < e->topo->n_cards && !ret; i++) {
		ret = emu_card_init(e, i);
		if (ret)
			emu_stop(e, 1, "card %s: %s", e->topo->cards[i].name, strerror(-ret));
	}
	for (size_t i = 0; i < e->topo->n_cards && !ret; i++) {
		ret = emu_card_start(&e->cards[i]);
		if (ret)
			emu_stop(e, 1, "card %s: %s", e->topo->cards[i].name, strerror(-ret));
	}
	return ret;
}

static int supervise(struct emu *e)
{
	static const int deadly[] = { SIGINT, SIGTERM, SIGHUP };
	const struct timeval limit = { .tv_sec = e->start_limit_s };
	struct event *ev[5] = { 0 };
	int ret;

	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < 3; i++)
		ev[i] = evsignal_new(e->base, deadly[i], interrupted, e);
	ev[3] = evsignal_new(e->base, SIGCHLD, reap, e);
	ev[4] = evtimer_new(e->base, too_late, e);
	for (unsigned i = 0; i < 5; i++)
		if (!ev[i] || event_add(ev[i], i == 4 ? &limit : NULL) < 0)
			return -ENOMEM;
	ret = emu_ctl_start(e);
	if (ret)
		emu_stop(e, 1, "control socket: %s", strerror(-ret));
	else
		ret = start_parts(e);
	if (e->phase != EMU_DOWN) {
		emu_advance(e); // a topology without cards is up at once
		event_base_dispatch(e->base);
	}
	e->phase = EMU_DOWN;
	stop_children(e);
	emu_vms_wait(e);
	for (size_t i = 0; i < e->topo->n_guests; i++)
		emu_guest_fini(&e->guests[i]);
	for (size_t i = 0; i < e->topo->n_cards; i++)
		emu_card_fini(&e->cards[i]);
	emu_ctl_stop(e);
	for (unsigned i = 0; i < 5; i++)
		event_free(ev[i]);
	return ret;
}

/* The run directory: new, or an empty one that is there. */
static int make_dir(struct emu *e, const char *dir)
{
	const char *parent = getenv("XDG_RUNTIME_DIR");

	e->pid = getpid();
	if (dir) {
		if (mkdir(dir, 0700) < 0 &&
			(errno != EEXIST || rmdir(dir) < 0 || mkdir(dir, 0700) < 0))
			return -errno;
		char *real = realpath(dir, NULL);

		emu_text(e->dir, sizeof(e->dir), "%s", real ? real : dir);
		free(real);
	} else {
		if (!parent || strlen(parent) > EMU_DIR_MAX - 16 || access(parent, W_OK) < 0)
			parent = "/tmp";
		emu_text(e->dir, sizeof(e->dir), "%s/outboard-XXXXXX", parent);
		if (!mkdtemp(e->dir))
			return -errno;
	}
	if (strlen(e->dir) > EMU_DIR_MAX) {
		rmdir(e->dir);
		return -ENAMETOOLONG;
	}
	return 0;
}

/* Kernel, initramfs and accelerator: made by the program guest-image. */
static int find_image(struct emu *e, const char *image)
{
	static const char *const places[] = { "guest-image", "../guest-image",
		"../../guest-image" };
	char boot_id[64] = "", line[128] = "", path[EMU_PATH_SIZE + 32], first[EMU_PATH_SIZE];
	FILE *f;

	if (!image)
		image = getenv("OUTBOARD_GUEST_IMAGE");
	if (image)
		emu_text(e->image, sizeof(e->image), "%s", image);
	for (unsigned i = 0; i < 3 && !image; i++) {
		emu_program_path(places[i], first, sizeof(first));
		emu_text(e->image, sizeof(e->image), "%s", first);
		emu_text(path, sizeof(path), "%s/kernel", e->image);
		if (access(path, R_OK) == 0)
			break;
	}
	emu_text(path, sizeof(path), "%s/kernel", e->image);
	if (access(path, R_OK) < 0) {
		emu_program_path("guest-image", path, sizeof(path));
		char *maker = realpath(path, NULL);

		fprintf(stderr, "card-emulator: no guest image: run %s DIR and give --image DIR\n",
			maker ? maker : path);
		free(maker);
		return -ENOENT;
	}
	char *real = realpath(e->image, NULL); // a card wants whole paths

	if (real && strlen(real) < sizeof(e->image))
		emu_text(e->image, sizeof(e->image), "%s", real);
	free(real);
	emu_text(path, sizeof(path), "%s/accel", e->image);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = '\0';
		fclose(f);
	}
	f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f) {
		if (!fgets(boot_id, sizeof(boot_id), f))
			boot_id[0] = '\0';
		fclose(f);
	}
	boot_id[strcspn(boot_id, "\n")] = '\0';
	e->kvm = boot_id[0] && !strncmp(line, boot_id, strlen(boot_id)) && strstr(line, " kvm");
	return 0;
}

/* What runs the guests; said in a line. 0 or -ENOTSUP. */
static int choose_hypervisor(struct emu *e)
{
	char path[EMU_PATH_SIZE], line[EMU_TEXT_SIZE];
	const struct emu_machine m = { .no_kvm = emu_kvm_missing(),
		.no_jail = emu_jail_missing(),
		.kvm_boots = e->kvm,
		.host_hv = emu_host_path(path, sizeof(path)) };
	int ret = emu_hypervisor_choose(e->topo, e->hypervisor, &m, line, sizeof(line));

	fprintf(stderr, "card-emulator: %s\n", line);
	return ret;
}

static int emulate(struct emu *e, const char *topology, const struct options *o)
{
	int ret = emu_topology_load(topology, &e->topo);

	if (ret)
		return ret;
	if (e->topo->n_guests) {
		ret = find_image(e, o->image);
		if (!ret)
			ret = choose_hypervisor(e);
		if (ret)
			return ret;
	}
	e->cards = dpu_calloc(e->topo->n_cards + 1, sizeof(*e->cards));
	e->guests = dpu_calloc(e->topo->n_guests + 1, sizeof(*e->guests));
	if (!e->cards || !e->guests)
		return -ENOMEM;
	ret = make_dir(e, o->dir);
	if (ret) {
		fprintf(stderr, "card-emulator: run directory %s: %s\n", o->dir ? o->dir : e->dir,
			strerror(-ret));
		return ret;
	}
	emu_fabric_choose(e->topo);
	ret = emu_sweep_start(&e->sweep, e->dir, o->keep);
	if (!ret)
		ret = emu_fabric_isolate(e->topo);
	if (ret) {
		fprintf(stderr, "card-emulator: network namespace: %s\n", strerror(-ret));
		return ret;
	}
	e->base = event_base_new();
	return e->base ? supervise(e) : -ENOMEM;
}

static int check_operands(const struct dpu_cli *cli, const struct options *o, int n)
{
	const struct emu_client_conf *c = &o->client;
	unsigned asks = (c->exec != NULL) + (c->kill != NULL) + (c->reset != NULL) + c->list +
			c->wait;
	bool good = asks == 0 ? o->run ? n >= 1 : n == 1 : asks == 1 && n == (c->exec ? 1 : 0);

	if (good && asks && !c->dir) {
		fprintf(stderr, "%s: which emulator? Give --dir or set OUTBOARD_DIR.\n", cli->prog);
		return -EINVAL;
	}
	if (!good)
		fprintf(stderr, "Usage: %s %s\nTry '%s --help'.\n", cli->prog, cli->usage,
			cli->prog);
	return good ? (int)asks : -EINVAL;
}

int main(int argc, char **argv)
{
	struct options o = { .timeout_s = 30, .start_timeout_s = 120, .hypervisor = "auto" };
	const struct dpu_opt opts[] = {
		{ "dir", DPU_OPT_STR, &o.dir, "DIR", "run directory, removed at the end" },
		{ "image", DPU_OPT_STR, &o.image, "DIR", "guest kernel and initramfs" },
		{ "hypervisor", DPU_OPT_STR, &o.hypervisor, "NAME",
			"of guests whose topology names none: auto (default), qemu, host-hv" },
		{ "keep", DPU_OPT_FLAG, &o.keep, NULL, "leave the run directory with its logs" },
		{ "run", DPU_OPT_STR, &o.run, "PROGRAM",
			"run a program when all is up, with the operands as arguments, and end "
			"with it" },
		{ "verbose", DPU_OPT_FLAG, &o.verbose, NULL, "tell of restarts" },
		{ "exec", DPU_OPT_STR, &o.client.exec, "GUEST", "run COMMAND in a guest's shell" },
		{ "kill", DPU_OPT_STR, &o.client.kill, "NAME",
			"kill -9 a card's daemon or a guest" },
		{ "guest-reset", DPU_OPT_STR, &o.client.reset, "GUEST",
			"pull a guest's reset line and wait until it is up again" },
		{ "wait", DPU_OPT_FLAG, &o.client.wait, NULL,
			"wait until all cards and guests are up" },
		{ "list", DPU_OPT_FLAG, &o.client.list, NULL, "show cards and guests" },
		{ "json", DPU_OPT_FLAG, &o.client.json, NULL, "show them as JSON" },
		{ "timeout-s", DPU_OPT_UINT, &o.timeout_s, "N", "patience of the above (30)", 1,
			86400 },
		{ "start-timeout-s", DPU_OPT_UINT, &o.start_timeout_s, "N",
			"for all cards and guests to come up at first (120)", 1, 86400 },
	};
	const struct dpu_cli cli = {
		.prog = "card-emulator",
		.summary = "Bring up cards, their fabric and guests from a topology file",
		.usage = "TOPOLOGY.json [OPTION...] [--run PROGRAM [ARG...]]\n"
			 "       card-emulator --dir DIR --exec GUEST COMMAND | --kill NAME | "
			 "--guest-reset GUEST | --wait | --list",
		.opts = opts,
		.n_opts = sizeof(opts) / sizeof(opts[0]),
	};
	struct emu e = { 0 };
	char **run;
	int n, asks, ret;

	n = dpu_cli_parse(&cli, argc, argv);
	if (n < 0)
		return n == -ECANCELED ? 0 : 2;
	o.client.dir = o.dir ? o.dir : getenv("OUTBOARD_DIR");
	o.client.timeout_s = (unsigned)o.timeout_s;
	o.client.command = n >= 1 ? argv[1] : NULL;
	asks = check_operands(&cli, &o, n);
	if (asks < 0)
		return 2;
	if (asks)
		return emu_client(&o.client);

	while (emu_hypervisor_names[e.hypervisor] &&
		strcmp(emu_hypervisor_names[e.hypervisor], o.hypervisor) != 0)
		e.hypervisor++;
	if (!emu_hypervisor_names[e.hypervisor]) {
		fprintf(stderr, "%s: --hypervisor: auto, qemu or host-hv\n", cli.prog);
		return 2;
	}
	run = dpu_calloc((size_t)n + 1, sizeof(*run)); // PROGRAM, its arguments, NULL
	if (!run)
		return 1;
	run[0] = (char *)(uintptr_t)o.run;
	for (int i = 2; i <= n; i++)
		run[i - 1] = argv[i];
	e.run = o.run ? run : NULL;
	e.verbose = o.verbose || !o.run;
	e.start_limit_s = (unsigned)o.start_timeout_s;
	ret = emulate(&e, argv[1], &o);
	emu_sweep_finish(&e.sweep);
	if (e.base)
		event_base_free(e.base);
	free(e.cards);
	free(e.guests);
	emu_topology_free(e.topo);
	free(run);
	return e.exit_code ? e.exit_code : ret ? 1 : 0;
}
