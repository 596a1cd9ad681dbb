// SPDX-License-Identifier: Apache-2.0
/* Spawn, kill, tell how it ended; reach the card again when it is gone. */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "fds.h"
#include "machine.h"
#include "record.h"
#include "sandbox.h"

#define GUESTS_MAX 256
#define BACK_OFF 16 // times conf.retry_ms: the longest wait for a card

struct guest {
	uint8_t id[HV_PROTO_ID];
	uint32_t generation;
	pid_t pid; // 0: it has ended
	int card_end; // owned: a copy of what the card has; -1: none
	uint8_t end, signal; // once it has ended
	bool told; // this card has its socket, or knows how it ended
	bool dropped; // the card killed it, and has only to be told of its end
};

struct hv_agent {
	struct hv_agent_conf conf;
	struct sockaddr_un card;
	int sock; // owned; -1: no card
	int signal_fd; // owned
	struct hv_talk talk;
	struct hv_rec_hello hello; // our answer to the last one
	uint32_t detail; // of the command that is being obeyed
	uint32_t event_seq;
	bool behind; // there was no room for all that it is to be told
	uint64_t retry_at_ns;
	unsigned wait_ms; // before the next attempt but one
	bool refused_told; // that the card cannot be reached, until it can
	struct guest guests[GUESTS_MAX]; // n; in the order in which they came
	unsigned n;
};

static struct guest *find(struct hv_agent *a, const uint8_t *id)
{
	for (unsigned i = 0; i < a->n; i++)
		if (memcmp(a->guests[i].id, id, HV_PROTO_ID) == 0)
			return &a->guests[i];
	return NULL;
}

static void forget(struct hv_agent *a, struct guest *g)
{
	hv_fd_close(&g->card_end);
	memmove(g, g + 1, (size_t)(&a->guests[--a->n] - g) * sizeof(*g));
}

/* A process of the next generation. 0, or an errno that leaves it without one. */
static int spawn(struct hv_agent *a, struct guest *g)
{
	int p[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		return -errno;
	ret = hv_sandbox_spawn(a->conf.exe_fd, a->conf.argv, p[1], &g->pid);
	close(p[1]);
	if (ret) {
		close(p[0]);
		g->pid = 0;
		return ret;
	}
	hv_fd_close(&g->card_end);
	g->card_end = p[0];
	g->generation++;
	g->told = g->dropped = false;
	g->end = g->signal = 0;
	dpu_info("agent: guest started", "pid=%d generation=%u", (int)g->pid, g->generation);
	return 0;
}

/* What the card has to know of a guest. 0, or an errno: it does not know it yet. */
static int tell(struct hv_agent *a, const struct guest *g)
{
	enum hv_type type = g->pid ? HV_EV_GUEST : HV_EV_ENDED;
	struct hv_rec_agent_guest rec = { .generation = dpu_le32_put(g->generation),
		.pid = dpu_le32_put((uint32_t)g->pid),
		.end = g->end,
		.signal = g->signal };
	int ret;

	memcpy(rec.id, g->id, sizeof(rec.id));
	ret = hv_record_send(a->sock, type, a->event_seq, &rec.h, sizeof(rec),
		type == HV_EV_GUEST ? g->card_end : -1);
	a->event_seq += ret == 0;
	return ret;
}

/* Sockets that this card does not have, and ends that it does not know, as there is room. */
static void tell_all(struct hv_agent *a)
{
	a->behind = false;
	for (unsigned i = 0; a->talk.begun && i < a->n;) {
		struct guest *g = &a->guests[i];

		a->behind = !g->told && tell(a, g);
		if (a->behind)
			return;
		g->told = true;
		if (!g->pid && g->dropped)
			forget(a, g);
		else
			i++;
	}
}

static enum hv_status do_spawn(struct hv_agent *a, const struct hv_record *r)
{
	const struct hv_rec_agent_spawn *s = (const void *)r->bytes;
	struct guest *g = find(a, s->id);
	int ret;

	if (!dpu_is_zero(s->reserved, sizeof(s->reserved)) || dpu_is_zero(s->id, sizeof(s->id)))
		return HV_E_FIELD;
	if (g && g->pid)
		return HV_E_ID;
	if (!g && a->n == GUESTS_MAX)
		return HV_E_MEMORY;
	if (!g) {
		g = &a->guests[a->n++];
		*g = (struct guest){ .card_end = -1, .told = true };
		memcpy(g->id, s->id, sizeof(g->id));
	}
	ret = spawn(a, g);
	if (!ret)
		return HV_OK;
	if (!g->generation)
		forget(a, g);
	a->detail = (uint32_t)-ret;
	return HV_E_INTERNAL;
}

static enum hv_status do_kill(struct hv_agent *a, const struct hv_record *r)
{
	const struct hv_rec_agent_guest *k = (const void *)r->bytes;
	struct guest *g = find(a, k->id);
	const size_t id_end = offsetof(struct hv_rec_agent_guest, generation);

	if (!dpu_is_zero(&k->generation, sizeof(*k) - id_end))
		return HV_E_FIELD;
	if (!g)
		return HV_E_ID;
	g->dropped = true;
	if (!g->pid) // it goes once this card was told, as others
		return HV_OK;
	if (kill(g->pid, SIGKILL) < 0) {
		a->detail = (uint32_t)errno;
		return HV_E_INTERNAL;
	}
	return HV_OK;
}

static enum hv_status do_hello(struct hv_agent *a, const struct hv_record *r)
{
	enum hv_status status = hv_record_hello(r, &a->hello);

	if (status == HV_OK)
		a->wait_ms = a->conf.retry_ms;
	return status;
}

static const struct command {
	enum hv_type type;
	struct hv_record_rule rule;
	enum hv_status (*run)(struct hv_agent *a, const struct hv_record *r);
} commands[] = {
	{ HV_HELLO, { sizeof(struct hv_rec_hello), 0, 0 }, do_hello },
	{ HV_AGENT_SPAWN, { sizeof(struct hv_rec_agent_spawn), 0, 0 }, do_spawn },
	{ HV_AGENT_KILL, { sizeof(struct hv_rec_agent_guest), 0, 0 }, do_kill },
	{ 0, { 0, 0, 0 }, NULL }, // no such type
};

static const struct command *command_of(unsigned type)
{
	const struct command *c = commands;

	while (c->run && c->type != type)
		c++;
	return c;
}

static void lose_card(struct hv_agent *a, const char *why)
{
	if (!a->refused_told)
		dpu_warn("agent: no card; guests go on", "path=%s why=%s guests=%u",
			a->conf.card_path, why, a->n);
	a->refused_told = true;
	hv_fd_close(&a->sock);
	a->talk = (struct hv_talk){ .begun = false };
	for (unsigned i = 0; i < a->n; i++)
		a->guests[i].told = false;
	a->retry_at_ns = dpu_now_ns() + a->wait_ms * 1000000ull;
	if (a->wait_ms < a->conf.retry_ms * BACK_OFF)
		a->wait_ms *= 2;
}

static int answer(struct hv_agent *a, const struct hv_record *r, enum hv_status status)
{
	struct hv_rec_done done;
	uint32_t seq = hv_record_seq(r);

	hv_record_done(r, status, a->detail, &done);
	if (hv_record_type(r) == HV_HELLO && status == HV_OK)
		return hv_record_send(
			a->sock, HV_HELLO_DONE, seq, &a->hello.h, sizeof(a->hello), -1);
	return hv_record_send(a->sock, HV_DONE, seq, &done.h, sizeof(done), -1);
}

/* One record of the card and its answer: a card that has no room for that is none. */
static void obey(struct hv_agent *a)
{
	const struct command *cmd;
	enum hv_status status;
	struct hv_record r;
	int ret = hv_record_recv(a->sock, &r);

	if (ret == -EAGAIN)
		return;
	if (ret <= 0) {
		lose_card(a, ret ? strerror(-ret) : "closed");
		return;
	}
	cmd = command_of(hv_record_type(&r));
	status = hv_record_judge(&r, &cmd->rule, &a->talk);
	a->detail = 0;
	if (status == HV_OK)
		status = cmd->run(a, &r);
	hv_record_close(&r);
	ret = answer(a, &r, status);
	if (ret)
		lose_card(a, strerror(-ret));
}

/* The card must be of our own user, or root: nobody else may have guests here. */
static int reach_card(struct hv_agent *a)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int ret = 0, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&a->card, sizeof(a->card)) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		ret = -errno;
	else if (peer.uid != 0 && peer.uid != geteuid())
		ret = -EPERM;
	if (ret) {
		close(fd);
		return ret;
	}
	a->sock = fd;
	a->refused_told = false;
	dpu_info("agent: card reached", "path=%s guests=%u", a->conf.card_path, a->n);
	return 0;
}

/* How a guest's process ended: its status is enum hv_end, or a signal's. */
static void note_end(struct guest *g, int status)
{
	g->pid = 0;
	g->told = false;
	g->end = HV_END_ERROR;
	if (WIFSIGNALED(status))
		g->signal = (uint8_t)WTERMSIG(status);
	else if (WEXITSTATUS(status) >= HV_END_OFF && WEXITSTATUS(status) <= HV_END_ERROR)
		g->end = (uint8_t)WEXITSTATUS(status);
	hv_fd_close(&g->card_end);
	if (g->signal)
		dpu_err("agent: guest ended by a signal", "signal=%u%s", g->signal,
			g->signal == SIGSYS ? " why=jail" : "");
	else
		dpu_info("agent: guest ended", "end=%u", g->end);
}

/* 0, or -ESHUTDOWN. */
static int take_signals(struct hv_agent *a)
{
	struct signalfd_siginfo si;
	int ret = 0, status;
	pid_t pid;

	while (read(a->signal_fd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			ret = -ESHUTDOWN;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < a->n; i++)
			if (a->guests[i].pid == pid)
				note_end(&a->guests[i], status);
	return ret;
}

/* Milliseconds until the card is to be tried again, or timeout_ms if that is sooner. */
static int until_retry(const struct hv_agent *a, int timeout_ms)
{
	uint64_t now = dpu_now_ns();
	int left = a->retry_at_ns > now ? (int)((a->retry_at_ns - now + 999999) / 1000000) : 0;

	return timeout_ms >= 0 && timeout_ms < left ? timeout_ms : left;
}

int hv_agent_turn(struct hv_agent *a, int timeout_ms)
{
	int ret = 0;

	if (a->sock < 0 && dpu_now_ns() >= a->retry_at_ns) {
		ret = reach_card(a);
		if (ret)
			lose_card(a, strerror(-ret));
	}
	struct pollfd p[] = {
		{ .fd = a->signal_fd, .events = POLLIN },
		{ .fd = a->sock, .events = (short)(POLLIN | (a->behind ? POLLOUT : 0)) },
	};

	if (poll(p, 2, a->sock < 0 ? until_retry(a, timeout_ms) : timeout_ms) < 0)
		return errno == EINTR ? 0 : -errno;
	ret = p[0].revents ? take_signals(a) : 0;
	if (a->sock >= 0 && p[1].revents & (POLLIN | POLLHUP | POLLERR))
		obey(a);
	if (a->sock >= 0)
		tell_all(a);
	return ret;
}

int hv_agent_create(const struct hv_agent_conf *conf, struct hv_agent **out)
{
	struct hv_agent *a;
	sigset_t set;

	if (strlen(conf->card_path) >= sizeof(a->card.sun_path))
		return -ENAMETOOLONG;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->conf = *conf;
	a->wait_ms = conf->retry_ms;
	a->sock = -1;
	a->card.sun_family = AF_UNIX;
	memcpy(a->card.sun_path, conf->card_path, strlen(conf->card_path) + 1);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signal_fd < 0) {
		int err = -errno;

		free(a);
		return err;
	}
	*out = a;
	return 0;
}

void hv_agent_destroy(struct hv_agent *a)
{
	if (!a)
		return;
	while (a->n)
		forget(a, &a->guests[0]);
	hv_fd_close(&a->sock);
	close(a->signal_fd);
	free(a);
}
