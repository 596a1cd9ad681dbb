// SPDX-License-Identifier: Apache-2.0
/*
 * A card of two disks, as far as host-hv's agent sees it: it asks for a guest, gives it functions
 * whose other ends are a real card's, lets it be taken over by a second process of its own after
 * the first was killed, and looks at the jail. It writes "restart" when the real card is to be
 * killed and started again.
 * Usage: hv_card GUEST LISTEN DISK DISK
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "record.h"

#define PATIENCE_NS 60000000000ull
#define FIRST 3 // the slots of the two disks
#define SECOND 7
#define OTHERS 8 // and the ones up to the last are for those of a card that says nothing

struct talk {
	int fd; // -1: none
	uint32_t seq;
};

static struct card {
	const char *disk[2];
	struct talk agent, guest;
	uint32_t pid, generation, ends; // of guests
	struct hv_rec_info info; // as told last
	uint32_t want;
	uint64_t exits;
	char line[64]; // of the console
	unsigned n_line;
	uint32_t io, plugged, ejected; // what it said last
	unsigned n_io; // lines
	uint64_t deadline;
} card = { .agent = { -1, 0 }, .guest = { -1, 0 } };

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *why, ...)
{
	va_list args;

	va_start(args, why);
	fprintf(stderr, "hv_card: ");
	vfprintf(stderr, why, args);
	fprintf(stderr, " (state=%u end=%u functions=%#x wanting=%#x io=%#x/%u)\n", card.info.state,
		card.info.end, dpu_le32_get(card.info.functions), dpu_le32_get(card.info.wanting),
		card.io, card.n_io);
	va_end(args);
	exit(1);
}

static void console(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			card.line[card.n_line++ % (sizeof(card.line) - 1)] = (char)bytes[i];
			continue;
		}
		card.line[card.n_line % (sizeof(card.line) - 1)] = 0;
		card.n_line = 0;
		card.n_io += sscanf(card.line, "io %x", &card.io) == 1;
		(void)sscanf(card.line, "plug %x", &card.plugged);
		(void)sscanf(card.line, "eject %x", &card.ejected);
	}
}

/* An event, or an answer, which is left in r. The type. */
static unsigned take(struct talk *t, struct hv_record *r)
{
	int ret = hv_record_recv(t->fd, r);
	union {
		struct hv_rec_info info;
		struct hv_rec_bytes bytes;
		struct hv_rec_function function;
		struct hv_rec_log log;
		struct hv_rec_agent_guest guest;
	} u;

	if (ret == -EAGAIN)
		return 0;
	if (ret <= 0 && t == &card.guest && card.info.state == HV_INFO_ENDED) {
		close(t->fd); // its process may be gone before we look again
		t->fd = -1;
		return 0;
	}
	if (ret <= 0)
		die("%s: %s", t == &card.agent ? "agent" : "guest",
			ret ? strerror(-ret) : "closed");
	memcpy(&u, r->bytes, r->len < sizeof(u) ? r->len : sizeof(u));
	switch (hv_record_type(r)) {
	case HV_EV_STATE:
		card.info = u.info;
		break;
	case HV_EV_CONSOLE:
		console(u.bytes.bytes, dpu_le16_get(u.bytes.n));
		break;
	case HV_EV_WANT:
		card.want |= 1u << u.function.slot;
		break;
	case HV_EV_LOG:
		fprintf(stderr, "guest: %s\n", u.log.text);
		break;
	case HV_EV_GUEST:
		card.guest = (struct talk){ r->fd[0], 1000 };
		r->fd[0] = -1;
		card.pid = dpu_le32_get(u.guest.pid);
		card.generation = dpu_le32_get(u.guest.generation);
		break;
	case HV_EV_ENDED:
		if (u.guest.signal)
			die("guest ended by signal %u", u.guest.signal);
		card.ends++;
		break;
	default:
		break;
	}
	return hv_record_type(r);
}

/* Wait for something to come; it is over when that takes too long. */
static void wait_some(const char *what)
{
	struct pollfd p[] = { { card.agent.fd, POLLIN, 0 }, { card.guest.fd, POLLIN, 0 } };

	if (dpu_now_ns() > card.deadline)
		die("no %s", what);
	if (poll(p, 2, 1000) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

/* Whatever comes from both, until it is true. */
#define UNTIL(ok, what)                                     \
	do {                                                \
		card.deadline = dpu_now_ns() + PATIENCE_NS; \
		for (pump(); !(ok); pump())                 \
			wait_some(what);                    \
	} while (0)

static void pump(void)
{
	struct talk *const both[] = { &card.agent, &card.guest };
	struct hv_record r;

	for (unsigned i = 0; i < 2; i++)
		while (both[i]->fd >= 0 && take(both[i], &r))
			hv_record_close(&r);
}

/* A request; its answer of `answer` is in r. */
static void ask(struct talk *t, enum hv_type type, struct hv_rec_hdr *rec, size_t len, int fd,
	enum hv_type answer, struct hv_record *r)
{
	uint32_t seq = t->seq++;
	unsigned got;
	int ret = hv_record_send(t->fd, type, seq, rec, len, fd);

	if (ret)
		die("type %#x: %s", type, strerror(-ret));
	card.deadline = dpu_now_ns() + PATIENCE_NS;
	for (;;) {
		got = take(t, r);
		hv_record_close(r);
		if (got == answer && hv_record_seq(r) == seq)
			return;
		if (got == HV_DONE)
			die("type %#x: is answered otherwise", type);
		if (!got)
			wait_some("answer");
	}
}

static enum hv_status try(
	struct talk *t, enum hv_type type, struct hv_rec_hdr *rec, size_t len, int fd)
{
	struct hv_rec_hdr none;
	struct hv_rec_done done;
	struct hv_record r;

	ask(t, type, rec ? rec : &none, rec ? len : sizeof(none), fd, HV_DONE, &r);
	memcpy(&done, r.bytes, sizeof(done));
	return (enum hv_status)dpu_le16_get(done.status);
}

static void tell(struct talk *t, enum hv_type type, struct hv_rec_hdr *rec, size_t len, int fd)
{
	enum hv_status status = try(t, type, rec, len, fd);

	if (status != HV_OK)
		die("type %#x: status %u", type, status);
}

static void say(enum hv_type type)
{
	tell(&card.guest, type, NULL, 0, -1);
}

static void hello(struct talk *t)
{
	struct hv_rec_hello h = { .version = dpu_le16_put(HV_PROTO_VERSION) };
	struct hv_record r;

	ask(t, HV_HELLO, &h.h, sizeof(h), -1, HV_HELLO_DONE, &r);
}

static uint64_t exits(void)
{
	struct hv_rec_hdr none;
	struct hv_rec_counted n;
	struct hv_record r;

	ask(&card.guest, HV_COUNTERS, &none, sizeof(none), -1, HV_COUNTED, &r);
	memcpy(&n, r.bytes, sizeof(n));
	return dpu_le64_get(n.exits);
}

static int connect_disk(unsigned i)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", card.disk[i]);
	card.deadline = dpu_now_ns() + PATIENCE_NS;
	while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		wait_some(card.disk[i]);
	return fd;
}

static void function(enum hv_type type, unsigned slot)
{
	struct hv_rec_function f = { .slot = (uint8_t)slot,
		.kind = type == HV_ADD ? HV_KIND_BLK : 0 };
	int fd = type == HV_REMOVE ? -1 : connect_disk(slot == SECOND);

	tell(&card.guest, type, &f.h, sizeof(f), fd);
	if (fd >= 0)
		close(fd);
}

/* All slots that are left, of a card that does not answer: the guest has room for them. */
static void fill_slots(void)
{
	int p[HV_PROTO_SLOTS][2];

	for (unsigned slot = OTHERS; slot < HV_PROTO_SLOTS; slot++) {
		struct hv_rec_function f = { .slot = (uint8_t)slot, .kind = HV_KIND_NET };

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p[slot]) < 0)
			die("socketpair: %s", strerror(errno));
		tell(&card.guest, HV_ADD, &f.h, sizeof(f), p[slot][1]);
	}
	for (unsigned slot = OTHERS; slot < HV_PROTO_SLOTS; slot++) {
		struct hv_rec_function f = { .slot = (uint8_t)slot };

		tell(&card.guest, HV_REMOVE, &f.h, sizeof(f), -1);
		close(p[slot][0]);
		close(p[slot][1]);
	}
}

/* A connection for whoever wants one: again, where it was to a card that was about to go. */
static bool given(void)
{
	for (unsigned slot = 0; slot < HV_PROTO_SLOTS; slot++)
		if (card.want & 1u << slot) {
			card.want &= ~(1u << slot);
			function(HV_RECONNECT, slot);
		}
	return true;
}

/* The guest has all of these disks, and none besides, and goes on with them. */
static void does_io(uint32_t slots)
{
	UNTIL(given() && card.io == slots, "I/O with these disks");
	unsigned n = card.n_io;

	UNTIL(given() && card.n_io >= n + 3, "more I/O");
	if (card.io != slots)
		die("other disks");
}

static void create(const char *path)
{
	uint8_t image[65536];
	struct hv_rec_create c = { .mem_mib = dpu_le32_put(32),
		.flags = dpu_le32_put(HV_CREATE_FLAT),
		.vcpus = dpu_le16_put(1) };
	int from = open(path, O_RDONLY | O_CLOEXEC);
	int to = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n = read(from, image, sizeof(image));

	if (n <= 0 || write(to, image, (size_t)n) != n ||
		fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		die("%s: %s", path, strerror(errno));
	memset(c.pin, 0xff, sizeof(c.pin));
	tell(&card.guest, HV_CREATE, &c.h, sizeof(c), to);
	close(from);
	close(to);
}

static void check_thread(const char *task)
{
	static const char *const must[] = { "\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n",
		"\nCapInh:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n",
		"\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n",
		"\nCapAmb:\t0000000000000000\n" };
	char path[320], text[4096];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/task/%s/status", card.pid, task);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (unsigned i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		if (!strstr(text, must[i]))
			die("thread %s has no %s: %s", task, must[i] + 1, text);
}

/* It has the limits that it sets itself once it has an empty root. */
static void check_process(void)
{
	char path[64], text[4096], core[80];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/limits", card.pid);
	snprintf(core, sizeof(core), "\n%-25s %-20s %-20s ", "Max core file size", "0", "0");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	if (!strstr(text, core))
		die("the limits are: %s", text);
}

static void check_jail(void)
{
	char path[64];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	check_process();
	snprintf(path, sizeof(path), "/proc/%u/task", card.pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.') {
			check_thread(e->d_name);
			n++;
		}
	if (d)
		closedir(d);
	if (n < 2) // KVM may have one of its own there
		die("%u threads", n);
}

static char process_state(void)
{
	char path[64], text[512], *p;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/stat", card.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	p = strrchr(text, ')');
	return p && p[1] ? p[2] : 0;
}

/* As by somebody who looks at the process: stopped, and what it waited in goes on. */
static void be_looked_at(void)
{
	for (unsigned i = 0; i < 20; i++) {
		kill((pid_t)card.pid, SIGSTOP);
		card.deadline = dpu_now_ns() + PATIENCE_NS;
		for (char s = 0; s != 'T' && s != 't'; s = process_state())
			if (dpu_now_ns() > card.deadline)
				die("does not stop");
		kill((pid_t)card.pid, SIGCONT);
	}
}

static void accept_agent(int listener)
{
	struct pollfd p = { listener, POLLIN, 0 };

	if (poll(&p, 1, (int)(PATIENCE_NS / 1000000)) != 1)
		die("no agent");
	card.agent = (struct talk){ accept4(listener, NULL, NULL, SOCK_CLOEXEC), 1 };
	hello(&card.agent);
}

static void done(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

/* The first life of the card. */
static void first(const char *image, int listener)
{
	struct hv_rec_agent_spawn s = { .id = { 1 } };
	uint64_t n;

	accept_agent(listener);
	tell(&card.agent, HV_AGENT_SPAWN, &s.h, sizeof(s), -1);
	UNTIL(card.guest.fd >= 0, "guest");
	hello(&card.guest);
	create(image);
	function(HV_ADD, FIRST);
	say(HV_START);
	does_io(1u << FIRST);
	check_jail();
	done("started");
	say(HV_PAUSE);
	n = exits();
	for (unsigned i = 0; i < 200; i++)
		if (exits() != n)
			die("runs while it is paused");
	say(HV_RESUME);
	does_io(1u << FIRST);
	done("paused, resumed");
	function(HV_ADD, SECOND);
	does_io(1u << FIRST | 1u << SECOND);
	if (card.plugged != SECOND)
		die("another slot was plugged");
	check_jail();
	done("added");
	function(HV_REMOVE, FIRST);
	UNTIL(dpu_le32_get(card.info.functions) == 1u << SECOND, "end of a function");
	// It said so before it let go, but its words may come later than the state
	UNTIL(card.ejected == 1u << FIRST, "the guest's word");
	does_io(1u << SECOND);
	done("removed");
	function(HV_ADD, FIRST);
	does_io(1u << FIRST | 1u << SECOND);
	done("added again");
	fill_slots();
	does_io(1u << FIRST | 1u << SECOND);
	done("every slot filled and emptied");
	be_looked_at();
	does_io(1u << FIRST | 1u << SECOND);
	done("stopped, continued");
}

/* The second one: the first was killed. */
static void second(int listener, uint32_t pid)
{
	accept_agent(listener);
	UNTIL(card.guest.fd >= 0, "guest");
	if (card.pid != pid || card.generation != 1)
		die("another guest: pid %u, was %u", card.pid, pid);
	hello(&card.guest);
	UNTIL(card.info.state == HV_INFO_RUNNING, "state");
	does_io(1u << FIRST | 1u << SECOND);
	done("taken over");
	done("restart");
	UNTIL(card.want == (1u << FIRST | 1u << SECOND), "wish for connections");
	does_io(1u << FIRST | 1u << SECOND);
	done("reconnected");
	// A guest that does not let go in time: asked, then not asked any more
	say(HV_PAUSE);
	function(HV_REMOVE, SECOND);
	if (dpu_le32_get(card.info.functions) != (1u << FIRST | 1u << SECOND))
		die("gone at once");
	function(HV_REMOVE, SECOND);
	UNTIL(dpu_le32_get(card.info.functions) == 1u << FIRST, "forced end of a function");
	done("removed by force");
	check_jail();
	say(HV_STOP);
	UNTIL(card.info.state == HV_INFO_ENDED || card.ends, "end");
	UNTIL(card.ends, "end of the process");
	done("stopped");
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), p[2], status;
	uint32_t guest;
	pid_t child;

	if (argc != 5)
		die("usage");
	card.disk[0] = argv[3];
	card.disk[1] = argv[4];
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[2]);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 4) < 0 ||
		pipe2(p, O_CLOEXEC) < 0)
		die("%s: %s", argv[2], strerror(errno));
	child = fork();
	if (child == 0) {
		first(argv[1], listener);
		if (write(p[1], &card.pid, sizeof(card.pid)) < 0)
			die("pipe");
		for (;;)
			pause();
	}
	close(p[1]);
	if (read(p[0], &guest, sizeof(guest)) != sizeof(guest))
		die("the first card failed");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	second(listener, guest);
	return 0;
}
