// SPDX-License-Identifier: Apache-2.0
/*
 * host-hv: runs a guest's CPU and memory through KVM, and nothing else. Started by hand it boots a
 * kernel with its console on standard input and output: for operators who look at a kernel, and for
 * tests. Devices come from a card only: its agent on this host starts one jailed process of this
 * program for each guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "cpuid.h"
#include "dpu_cli.h"
#include "dpu_log.h"
#include "guest.h"
#include "machine.h"
#include "sandbox.h"

#define RETRY_MS 100 // the first wait for a card that is not there

struct console {
	struct hv_machine *machine; // borrowed
	int signal_fd; // owned
	bool eof, ended, button; // button: the guest was told to power itself off
	enum hv_end why;
	uint8_t in[256]; // what the guest has no room for yet
	unsigned n_in;
};

static void on_console(void *arg, const uint8_t *bytes, unsigned len)
{
	(void)arg;
	// A console that cannot be written loses bytes; the guest goes on.
	if (write(STDOUT_FILENO, bytes, len) < 0)
		return;
}

static void on_ended(void *arg, enum hv_end why)
{
	struct console *c = arg;

	c->ended = true;
	c->why = why;
}

static const struct hv_machine_events events = { .ended = on_ended, .console = on_console };

static void give_input(struct console *c)
{
	unsigned n = hv_machine_console_input(c->machine, c->in, c->n_in);

	c->n_in -= n;
	memmove(c->in, c->in + n, c->n_in);
}

static void read_input(struct console *c)
{
	ssize_t n = read(STDIN_FILENO, c->in, sizeof(c->in));

	if (n <= 0) {
		c->eof = n == 0 || (errno != EINTR && errno != EAGAIN);
		return;
	}
	c->n_in = (unsigned)n;
}

/* SIGTERM is the power button, then the plug; SIGINT is the plug. */
static void on_signal(struct console *c)
{
	struct signalfd_siginfo si;

	if (read(c->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGTERM && !c->button && hv_machine_power_button(c->machine) == 0) {
		c->button = true;
		return;
	}
	(void)hv_machine_stop(c->machine);
}

static int serve(struct console *c)
{
	int ret = hv_machine_start(c->machine);

	while (ret == 0 && !c->ended) {
		struct pollfd p[] = {
			{ .fd = hv_machine_fd(c->machine), .events = POLLIN },
			{ .fd = c->signal_fd, .events = POLLIN },
			{ .fd = c->eof || c->n_in ? -1 : STDIN_FILENO, .events = POLLIN },
		};

		if (poll(p, sizeof(p) / sizeof(p[0]), -1) < 0) {
			ret = errno == EINTR ? 0 : -errno;
			continue;
		}
		if (p[2].revents)
			read_input(c);
		if (p[1].revents)
			on_signal(c);
		if (p[0].revents)
			hv_machine_turn(c->machine);
		give_input(c); // what there was no room for
	}
	return ret;
}

/* Keys go to the guest as they are typed, but for ^C. False: no terminal. */
static bool set_terminal(struct termios *old)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, old) < 0)
		return false;
	t = *old;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	return tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

/* The process' exit status. */
static int run(struct console *c, const struct hv_conf *conf)
{
	static const struct {
		const char *name;
		int status;
	} ends[] = { [HV_END_NONE] = { "none", 1 }, // not seen
		[HV_END_OFF] = { "off", 0 }, // or a flat program's own
		[HV_END_REBOOT] = { "reboot", 3 },
		[HV_END_SHUTDOWN] = { "shutdown", 4 },
		[HV_END_STOPPED] = { "stopped", 0 },
		[HV_END_ERROR] = { "error", 1 } };
	struct hv_machine_counters n;
	struct termios old;
	int ret = hv_machine_create(conf, &events, c, &c->machine), code;
	bool terminal;

	if (ret) {
		dpu_err("guest: cannot be made", "err=%s", strerror(-ret));
		return 1;
	}
	terminal = set_terminal(&old);
	ret = serve(c);
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &old);
	hv_machine_counters(c->machine, &n);
	code = hv_machine_exit_code(c->machine);
	hv_machine_destroy(c->machine);
	if (ret) {
		dpu_err("guest: cannot be run", "err=%s", strerror(-ret));
		return 1;
	}
	dpu_info("guest: ended", "why=%s code=%d exits=%llu missed=%llu", ends[c->why].name, code,
		(unsigned long long)n.exits, (unsigned long long)n.missed);
	return c->why == HV_END_OFF ? code : ends[c->why].status;
}

static int open_image(const char *path)
{
	// O_NONBLOCK: a FIFO without a writer does not hold us up
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		dpu_err("image: cannot be opened", "path=%s err=%s", path, strerror(errno));
	return fd;
}

static int run_with_fds(const struct hv_conf *conf)
{
	struct console c = { .n_in = 0 };
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	c.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (c.signal_fd >= 0)
		return run(&c, conf);
	dpu_err("host-hv: no descriptors", "err=%s", strerror(errno));
	return 1;
}

struct options {
	const char *kernel, *initrd, *cmdline, *flat, *cpu, *card;
	uint64_t vcpus;
	bool agent, guest, calls;
	struct hv_conf conf; // the rest
};

/* The card's agent, until SIGTERM or SIGINT. Exit status. */
static int run_agent(const char *card)
{
	char *const argv[] = { (char[]){ "host-hv" }, (char[]){ "--guest" }, NULL };
	struct hv_agent_conf conf = { .card_path = card, .argv = argv, .retry_ms = RETRY_MS };
	struct hv_agent *agent = NULL;
	int ret = 0;

	conf.exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	ret = conf.exe_fd < 0 ? -errno : hv_agent_create(&conf, &agent);
	while (agent && ret == 0)
		ret = hv_agent_turn(agent, -1);
	hv_agent_destroy(agent);
	if (ret == -ESHUTDOWN)
		return 0;
	dpu_err("agent: ended", "err=%s", strerror(-ret));
	return 1;
}

/* Exit status. */
static int with_options(struct options *o)
{
	struct hv_conf *conf = &o->conf;
	int cpu = hv_cpu_template_find(o->cpu);

	if (cpu < 0 || strlen(o->cmdline) > HV_CMDLINE_MAX) {
		dpu_err("host-hv: no such CPU, or a command line that is too long",
			"cpu=%s cmdline=%zu", o->cpu, strlen(o->cmdline));
		return 2;
	}
	conf->cpu_template = (unsigned)cpu;
	conf->vcpus = (unsigned)o->vcpus;
	conf->flat = !o->kernel;
	if (!conf->mem_mib)
		conf->mem_mib = o->kernel ? 256 : 16;
	memset(conf->pin, -1, sizeof(conf->pin));
	memcpy(conf->cmdline, o->cmdline, strlen(o->cmdline) + 1);
	conf->kernel_fd = open_image(o->kernel ? o->kernel : o->flat);
	conf->initrd_fd = o->initrd ? open_image(o->initrd) : -1;
	return conf->kernel_fd < 0 || (o->initrd && conf->initrd_fd < 0) ? 1 : run_with_fds(conf);
}

int main(int argc, char **argv)
{
	struct options o = { .cmdline = "", .cpu = "host", .vcpus = 1 };
	const struct dpu_opt opts[] = {
		{ "flat", DPU_OPT_STR, &o.flat, "FILE",
			"run a flat 64-bit program, loaded and entered at 1 MiB in user mode" },
		{ "kernel", DPU_OPT_STR, &o.kernel, "FILE",
			"boot a Linux kernel: a bzImage, or ELF with a PVH note" },
		{ "initrd", DPU_OPT_STR, &o.initrd, "FILE", "its initial RAM disk" },
		{ "cmdline", DPU_OPT_STR, &o.cmdline, "TEXT", "its command line" },
		{ "mem-mib", DPU_OPT_UINT, &o.conf.mem_mib, "N",
			"guest memory in MiB (default 16; 256 with --kernel)", 2, 1 << 20 },
		{ "vcpus", DPU_OPT_UINT, &o.vcpus, "N", "virtual CPUs (default 1)", 1,
			HV_VCPUS_MAX },
		{ "cpu", DPU_OPT_STR, &o.cpu, "NAME",
			"what the guest sees of the CPU: host (default), baseline, v3" },
		{ "hugepages", DPU_OPT_FLAG, &o.conf.hugepages, NULL,
			"guest memory of 2 MiB pages, or none" },
		{ "split-irqchip", DPU_OPT_FLAG, &o.conf.split_irqchip, NULL,
			"the I/O APIC is ours, and only local APICs are KVM's" },
		{ "agent", DPU_OPT_FLAG, &o.agent, NULL,
			"run the guests that the card asks for, each in a jail of its own" },
		{ "card", DPU_OPT_STR, &o.card, "PATH", "where the card listens for its agent" },
		{ "guest", DPU_OPT_FLAG, &o.guest, NULL,
			"be a guest's process: the agent starts it so" },
		{ "system-calls", DPU_OPT_FLAG, &o.calls, NULL,
			"print what the threads of a guest in its jail may call" },
	};
	const struct dpu_cli cli = { .prog = "host-hv",
		.summary = "minimal hypervisor: CPUs and memory of one guest through KVM",
		.usage = "--kernel FILE [--initrd FILE] [--cmdline TEXT] | --flat FILE | "
			 "--agent --card PATH",
		.opts = opts,
		.n_opts = sizeof(opts) / sizeof(opts[0]) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret == -ECANCELED)
		return 0;
	if (ret != 0 || !!o.flat + !!o.kernel + o.agent + o.guest + o.calls != 1 ||
		o.agent != !!o.card) {
		if (ret >= 0)
			dpu_cli_help(&cli, stderr);
		return 2;
	}
	if (o.calls) {
		hv_sandbox_print(stdout);
		return 0;
	}
	if (o.guest)
		_exit((int)hv_guest_run()); // nothing is taken down: the agent waits for it
	if (o.agent)
		return run_agent(o.card);
	return with_options(&o);
}
