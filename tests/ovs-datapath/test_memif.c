// SPDX-License-Identifier: Apache-2.0
/*
 * The private socket between a memif device and its wire: other processes and other users come
 * first, and get nothing; the link comes up all the same.
 */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_port.h"

#define MSG_SIZE 128
#define STRANGERS 3
#define NAME_LEN 108 // of a socket
#define NOBODY 65534
#define ROUNDS 2000 // of peers that leave

enum msg { ACK = 1, HELLO, INIT, ADD_REGION, ADD_RING, CONNECT, CONNECTED };

static struct rte_mempool *pool;
static char dir[] = "/tmp/test-memif-XXXXXX";

/* ---- strangers: processes of their own, made before any thread ---- */

struct stranger {
	int ask, answer; // pipes
	pid_t pid;
};

static struct stranger same_user, other_user;

/*
 * Every name in this network namespace that is of the card's sockets: a path or an abstract one.
 * Each once: a connection that waits to be accepted stands there under its listener's name.
 */
static unsigned find_all(char name[STRANGERS][NAME_LEN])
{
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512], ours[32];
	unsigned n = 0;

	snprintf(ours, sizeof(ours), "-%d-", (int)getppid());
	while (f && n < STRANGERS && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, " @outboard-");
		bool known = false;

		if (at && !strstr(at, ours))
			continue; // of another test
		if (!at)
			at = strstr(line, dir) ? strstr(line, " /") : NULL;
		if (!at || !strstr(at, "outboard-"))
			continue;
		snprintf(name[n], NAME_LEN, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
		for (unsigned i = 0; i < n; i++)
			known |= !strcmp(name[i], name[n]);
		n += !known;
	}
	if (f)
		fclose(f);
	return n;
}

static unsigned connect_all(int fd[STRANGERS])
{
	char name[STRANGERS][NAME_LEN];
	unsigned n = 0, found = find_all(name);

	for (unsigned i = 0; i < found; i++) {
		struct sockaddr_un to = { .sun_family = AF_UNIX };
		size_t len = strlen(name[i]);
		bool is_abstract = name[i][0] == '@';

		memcpy(to.sun_path, name[i], len);
		if (is_abstract)
			to.sun_path[0] = '\0';
		fd[n] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(fd[n], (const struct sockaddr *)&to,
			    is_abstract ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)
					: sizeof(to)) < 0)
			close(fd[n]);
		else
			n++;
	}
	return n;
}

/* Two questions: how many sockets take a connection, and on how many anything came. */
static void be_stranger(int ask, int answer)
{
	int fd[STRANGERS];
	unsigned char c, n = 0, got = 0;

	if (read(ask, &c, 1) == 1) {
		n = (unsigned char)connect_all(fd);
		(void)!write(answer, &n, 1);
	}
	if (read(ask, &c, 1) == 1) {
		char buf[MSG_SIZE];

		for (unsigned i = 0; i < n; i++)
			got = (unsigned char)(got + (recv(fd[i], buf, sizeof(buf), 0) > 0));
		(void)!write(answer, &got, 1);
	}
	_exit(0);
}

static void stranger_make(struct stranger *s, bool other)
{
	int ask[2], answer[2];

	if (pipe(ask) < 0 || pipe(answer) < 0)
		abort();
	s->pid = fork();
	if (s->pid == 0) {
		close(ask[1]);
		close(answer[0]);
		if (other && (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
				     setresuid(NOBODY, NOBODY, NOBODY) < 0))
			_exit(1);
		be_stranger(ask[0], answer[1]);
	}
	close(ask[0]);
	close(answer[1]);
	s->ask = ask[1];
	s->answer = answer[0];
}

static unsigned stranger_ask(const struct stranger *s)
{
	unsigned char n;

	assert_int_equal(write(s->ask, "?", 1), 1);
	assert_int_equal(read(s->answer, &n, 1), 1);
	return n;
}

static void stranger_end(struct stranger *s)
{
	close(s->ask);
	close(s->answer);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* ---- the peer: a memif server that takes everything ---- */

static void put16(uint8_t *p, unsigned v)
{
	memcpy(p, &(uint16_t){ (uint16_t)v }, 2);
}

static bool say(int fd, enum msg type)
{
	uint8_t m[MSG_SIZE] = { 0 };

	put16(m, type);
	if (type == HELLO) {
		put16(m + 34, 0x200); // least and greatest version
		put16(m + 36, 0x200);
		put16(m + 38, 1); // regions
		m[44] = 14; // log2 of the ring's size
	}
	return send(fd, m, sizeof(m), MSG_NOSIGNAL) == sizeof(m);
}

/* Of the server: messages that it takes before it leaves; clients that it had. */
static atomic_uint patience, served;

static void *be_server(void *arg)
{
	int listener = *(int *)arg, fd;
	uint8_t m[MSG_SIZE];
	uint16_t type = 0;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL); // they are for others
	while ((fd = accept(listener, NULL, NULL)) >= 0) { // until the listener is shut down
		unsigned left = atomic_load(&patience);
		bool ok = say(fd, HELLO);

		atomic_fetch_add(&served, 1);
		while (ok && left-- > 0 &&
			recv(fd, m, sizeof(m), 0) == sizeof(m)) { // descriptors are left
			memcpy(&type, m, 2);
			ok = say(fd, type == CONNECT ? CONNECTED : ACK);
		}
		close(fd);
	}
	return NULL;
}

static struct odp_ethdev *open_memif(const char *role, const char *name)
{
	char args[200];
	struct odp_ethdev_conf conf = { .name = "up", .devargs = args, .pool = pool };
	struct odp_ethdev *dev;

	snprintf(args, sizeof(args), "net_memif0,role=%s,id=0,socket=%s/%s,socket-abstract=no",
		role, dir, name);
	assert_int_equal(odp_ethdev_open(&conf, &dev), 0);
	return dev;
}

static void on_signal(int sig)
{
	(void)sig;
}

/* A system call that a signal interrupts says nothing about the peer. */
static void stays_up_under_signals(struct odp_ethdev *dev, struct odp_port *port)
{
	const struct sigaction act = { .sa_handler = on_signal }; // no SA_RESTART
	const struct itimerval often = { { 0, 20 }, { 0, 20 } }, never = { 0 };

	assert_int_equal(sigaction(SIGALRM, &act, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (unsigned i = 0; i < 100000; i++)
		assert_false(odp_ethdev_poll(dev, port));
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
}

/* A peer may leave while the driver's own thread has its message in hand. */
static void peers_leave(struct odp_ethdev *dev, struct odp_port *port)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned before = atomic_load(&served);

		atomic_store(&patience, i % 6);
		while (atomic_load(&served) == before)
			(void)odp_ethdev_poll(dev, port);
	}
	atomic_store(&patience, UINT_MAX);
}

/* A process of the same user connects first, to whatever it finds. */
static void another_process(void **state)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct odp_port *port;
	unsigned tries = 0;
	bool up = false;
	pthread_t peer;
	struct odp *dp;

	(void)state;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/peer", dir);
	assert_int_equal(bind(listener, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	struct odp_ethdev *dev = open_memif("client", "peer");
	struct odp_port_conf pc = { .name = "up",
		.kind = "uplink",
		.n_rxq = 1,
		.n_txq = 1,
		.ops = odp_ethdev_ops(),
		.drv = dev };

	assert_int_equal(odp_create(&conf, &dp), 0);
	assert_int_equal(odp_port_add(dp, &pc, &port), 0);
	assert_int_equal(stranger_ask(&same_user), 1);
	atomic_store(&patience, 0);
	assert_int_equal(pthread_create(&peer, NULL, be_server, &listener), 0);
	peers_leave(dev, port);
	// A busy machine may not get through in the time that the control thread gives it
	while (!up && tries++ < 50)
		up = odp_ethdev_poll(dev, port);
	assert_true(up);
	assert_int_equal(stranger_ask(&same_user), 0);
	stays_up_under_signals(dev, port);
	odp_port_del(port);
	odp_ethdev_close(dev);
	shutdown(listener, SHUT_RDWR);
	assert_int_equal(pthread_join(peer, NULL), 0);
	odp_destroy(dp);
	close(listener);
	unlink(at.sun_path);
}

/* Another user finds nothing to connect to, whether the driver listens or the wire. */
static void another_user(void **state)
{
	struct odp_ethdev *dev = open_memif("server", "peer");
	struct odp_ethdev_conf conf = { .name = "up2",
		.devargs = "net_memif1,role=client,id=0,socket=/nowhere,socket-abstract=no",
		.pool = pool };
	struct odp_ethdev *client;

	(void)state;
	assert_int_equal(odp_ethdev_open(&conf, &client), 0);
	if (geteuid() == 0)
		assert_int_equal(stranger_ask(&other_user), 0);
	else
		print_message("not root: no other user to try it as\n");
	odp_ethdev_close(client);
	odp_ethdev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(another_process),
		cmocka_unit_test(another_user) };
	int failed;

	if (!mkdtemp(dir))
		return 1;
	stranger_make(&same_user, false);
	if (geteuid() == 0)
		stranger_make(&other_user, true);
	pool = fake_eal(4095);
	setenv("TMPDIR", dir, 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (geteuid() == 0)
		stranger_end(&other_user); // it holds the other's pipes too
	stranger_end(&same_user);
	return failed | (rmdir(dir) < 0); // nothing is left behind
}
