// SPDX-License-Identifier: Apache-2.0
/* The control socket against clients that misbehave. The test turns the event loop itself. */
#include "rpc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "fake_calls.h"
#include "test.h"

static char dir[] = "/tmp/outboard-rpc-XXXXXX";
static char path[64];
static const char info[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\"}";

static struct card card;

static int start(void **state)
{
	(void)state;
	fake_calls_reset();
	memset(&card, 0, sizeof(card));
	card.opt.rpc_socket = path;
	card.loop = event_base_new();
	return card_rpc_start(&card);
}

static int stop(void **state)
{
	(void)state;
	card_rpc_stop(&card);
	event_base_free(card.loop);
	return access(path, F_OK) == 0; // the socket file goes with it
}

static void turn(void)
{
	for (unsigned i = 0; i < 4; i++)
		event_base_loop(card.loop, EVLOOP_NONBLOCK);
}

/* Taken by the daemon in the next round. */
static int dial_only(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, path, strlen(path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static int dial(void)
{
	int fd = dial_only();

	turn();
	return fd;
}

/* All that can be read now; -1: closed by the daemon. */
static ssize_t drain(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			break;
		else
			return len ? (ssize_t)len : -1;
	}
	return (ssize_t)len;
}

static void assert_alive(void)
{
	char buf[512];
	int fd = dial();

	assert_int_equal(write(fd, info, strlen(info)), strlen(info));
	turn();
	assert_true(drain(fd, buf, sizeof(buf)) > 0);
	close(fd);
	turn();
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A message cut at every byte is answered once, when its last byte is there. */
static void split_at_every_byte(void **state)
{
	char buf[512];
	int fd = dial();

	(void)state;
	for (size_t cut = 1; cut < strlen(info); cut++) {
		assert_int_equal(write(fd, info, cut), cut);
		turn();
		assert_int_equal(drain(fd, buf, sizeof(buf)), 0);
		assert_int_equal(write(fd, info + cut, strlen(info) - cut), strlen(info) - cut);
		turn();
		assert_true(drain(fd, buf, sizeof(buf)) > 0);
	}
	assert_int_equal(fake_calls.n[CARD_M_card_info], strlen(info) - 1);
	close(fd);
}

static void several_in_one_write(void **state)
{
	char text[256], buf[1024];
	int fd = dial(), lines = 0;

	(void)state;
	snprintf(text, sizeof(text), "%s\n%s %s", info, info, info);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turn();
	for (ssize_t i = 0, n = drain(fd, buf, sizeof(buf)); i < n; i++)
		lines += buf[i] == '\n';
	assert_int_equal(lines, 3);
	close(fd);
}

/* JR-02 */
static void oversize_is_refused(void **state)
{
	static char chunk[65536];
	char buf[512];
	struct card_rpc_stats s;
	int fd = dial();
	size_t sent = 2;

	(void)state;
	memset(chunk, 'a', sizeof(chunk));
	assert_int_equal(write(fd, "{\"", 2), 2);
	while (sent < (64u << 20)) {
		ssize_t n = write(fd, chunk, sizeof(chunk));

		turn();
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
	}
	assert_true(sent < (3u << 20)); // not the 64 MiB that were wanted
	assert_true(drain(fd, buf, sizeof(buf)) != 0);
	close(fd);
	card_rpc_stats(&card, &s);
	assert_int_equal(s.oversize, 1);
	assert_alive();
}

/* JR-02: a thousand idle clients do not keep an operator out. */
static void full_house_makes_room(void **state)
{
	struct card_rpc_stats s;
	static int fds[1000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		if (i % 3 == 0)
			assert_int_equal(write(fds[i], "{", 1), 1);
	}
	assert_alive();
	card_rpc_stats(&card, &s);
	assert_true(s.evicted >= 1000 - 64);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	turn();
	assert_alive();
}

static void bad_start_closes(void **state)
{
	char buf[512];
	int fd = dial();

	(void)state;
	assert_int_equal(write(fd, "GET / HTTP/1.1\r\n", 16), 16);
	turn();
	assert_true(drain(fd, buf, sizeof(buf)) > 0); // the reason
	turn();
	assert_int_equal(drain(fd, buf, sizeof(buf)), -1); // then the end
	close(fd);
	assert_alive();
}

/* JR-10 */
static void client_leaves_in_mid_response(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		int fd = dial();

		for (unsigned k = 0; k < i; k++)
			assert_true(write(fd, info, strlen(info)) > 0);
		if (i & 1)
			turn();
		close(fd);
		turn();
	}
	assert_alive();
}

/* JR-10: a client that will send no more still gets its answers. */
static void half_closed_is_answered(void **state)
{
	char buf[512];
	int fd = dial();

	(void)state;
	assert_int_equal(write(fd, info, strlen(info)), strlen(info));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	turn();
	assert_true(drain(fd, buf, sizeof(buf)) > 0);
	assert_int_equal(drain(fd, buf, sizeof(buf)), -1);
	close(fd);
}

/* A client that asks without reading is not read from; what it may have queued is bounded. */
static void slow_reader_is_held_back(void **state)
{
	int fd = dial();
	unsigned sent = 0, idle = 0;
	char buf[65536];
	size_t answers = 0;

	(void)state;
	while (idle < 100 && sent < 1000000) {
		ssize_t n = write(fd, info, strlen(info));

		turn();
		if (n == (ssize_t)strlen(info)) {
			sent++;
			idle = 0;
		} else if (n > 0) {
			break; // cut in the middle: enough
		} else {
			idle++;
		}
	}
	assert_true(sent < 1000000);
	for (ssize_t n; (n = drain(fd, buf, sizeof(buf))) > 0; turn())
		for (ssize_t i = 0; i < n; i++)
			answers += buf[i] == '\n';
	assert_int_equal(answers, sent);
	close(fd);
	assert_alive();
}

/* ---- calls in steps ---- */

static const char export_call[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ct_export\","
				  "\"params\":{\"path\":\"/x\"}}";

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Ready events once: a step is made, and what has come is read or written. */
static void one_round(void)
{
	event_base_loop(card.loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

/* The loop until so many steps have been made, in all. */
static void until_step(unsigned n)
{
	while (fake_calls.stepped < n)
		one_round();
	assert_int_equal(fake_calls.stepped, n);
}

static void assert_reads(int fd, const char *want)
{
	char buf[1024];
	ssize_t n = drain(fd, buf, sizeof(buf) - 1);

	assert_true(n > 0);
	buf[n] = '\0';
	if (!strstr(buf, want))
		fail_msg("\"%s\" does not say \"%s\"", buf, want);
}

static void assert_silent(int fd)
{
	char buf[64];

	assert_int_equal(drain(fd, buf, sizeof(buf)), 0);
}

/* Between two steps others are answered; who asked waits, also with what it asked behind that. */
static void steps_between_others(void **state)
{
	int asks = dial(), other = dial();
	unsigned answered = 0;

	(void)state;
	fake_calls.steps[CARD_M_ct_export] = 100;
	say(asks, export_call);
	say(asks, info);
	until_step(1);
	say(other, export_call); // one at a time
	one_round();
	one_round();
	assert_reads(other, "EBUSY");
	for (; card.task; answered++) {
		unsigned before = fake_calls.stepped;

		assert_silent(asks);
		say(other, info);
		one_round(); // is read
		one_round(); // is answered
		assert_in_range(fake_calls.stepped - before, 0, 2);
		assert_reads(other, "card_info");
	}
	assert_int_equal(fake_calls.stepped, 100);
	assert_in_range(answered, 48, 50);
	turn();
	assert_reads(asks, "\"id\":7,\"result\":\"stepped\"}\n{\"jsonrpc\":\"2.0\",\"id\":1");
	assert_int_equal(fake_calls.undone, 0);
	close(asks);
	close(other);
}

/*
 * Who makes a long list keeps nobody from a short answer, nor from a call that takes steps; a
 * second long list waits for its turn.
 */
static void lists_go_on_beside(void **state)
{
	static const char list[] = "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"volume_latency\"}";
	int asks = dial(), exports = dial(), other = dial();

	(void)state;
	fake_calls.steps[CARD_M_volume_latency] = 50;
	fake_calls.reads[CARD_M_volume_latency] = true;
	fake_calls.steps[CARD_M_ct_export] = 5;
	say(asks, list);
	until_step(1);
	assert_null(card.task);
	say(other, info);
	one_round(); // is read
	one_round(); // is answered
	assert_reads(other, "card_info");
	say(exports, export_call);
	say(other, list);
	for (int i = 0; i < 12; i++)
		one_round();
	assert_reads(exports, "\"id\":7,\"result\":\"stepped\"}");
	assert_silent(asks);
	until_step(55);
	one_round();
	assert_reads(asks, "\"id\":9,\"result\":\"stepped\"}");
	assert_silent(other);
	until_step(105);
	turn();
	assert_reads(other, "\"id\":9,\"result\":\"stepped\"}");
	say(asks, list);
	until_step(106);
	close(asks); // and the turn is the next one's
	say(other, list);
	until_step(156);
	turn();
	assert_reads(other, "\"id\":9,\"result\":\"stepped\"}");
	assert_int_equal(fake_calls.undone, 1);
	close(exports);
	close(other);
}

/* In a batch each in its turn, and a failure is one answer. */
static void steps_in_a_batch(void **state)
{
	char text[512];
	int fd = dial();

	(void)state;
	fake_calls.steps[CARD_M_ct_export] = 5;
	fake_calls.ret[CARD_M_ct_export] = -EIO;
	fake_calls.steps[CARD_M_ct_list] = 3;
	snprintf(text, sizeof(text),
		"[%s,%s,{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ct_list\"},"
		"{\"jsonrpc\":\"2.0\",\"method\":\"ct_list\"}]",
		info, export_call);
	say(fd, text);
	until_step(1);
	assert_silent(fd);
	until_step(11);
	turn();
	assert_reads(fd, "\"id\":1,\"result\":\"card_info\"},{\"jsonrpc\":\"2.0\",\"id\":7,"
			 "\"error\":{\"code\":-5");
	assert_int_equal(fake_calls.n[CARD_M_ct_list], 2);
	say(fd, info);
	turn();
	assert_reads(fd, "card_info");
	close(fd);
}

/* Whoever only says no more is answered; whoever leaves takes its call along. */
static void leaving_cancels(void **state)
{
	struct card_rpc_stats s;
	int fd = dial();

	(void)state;
	fake_calls.steps[CARD_M_ct_export] = 10;
	say(fd, export_call);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	until_step(10);
	turn();
	assert_reads(fd, "stepped");
	close(fd);
	fd = dial();
	say(fd, export_call);
	until_step(14);
	close(fd);
	turn();
	assert_int_equal(fake_calls.stepped, 14);
	assert_int_equal(fake_calls.undone, 1);
	assert_null(card.task);
	card_rpc_stats(&card, &s);
	assert_int_equal(s.cancelled, 1);
	assert_alive();
}

/* It is not taken for one who is silent, and its end with the card is said. */
static void steps_hold_their_place(void **state)
{
	static int fds[100];
	int fd = dial();

	(void)state;
	fake_calls.steps[CARD_M_ct_export] = UINT32_MAX;
	say(fd, export_call);
	until_step(1);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial_only();
		one_round();
	}
	assert_non_null(card.task);
	card.stopping = true;
	turn();
	assert_reads(fd, "shutting down");
	assert_int_equal(fake_calls.undone, 1);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	close(fd);
}

/* The socket closes in the middle of it. */
static void steps_end_with_the_socket(void **state)
{
	int fd = dial();

	(void)state;
	fake_calls.steps[CARD_M_ct_export] = 10;
	say(fd, export_call);
	until_step(2);
	card_rpc_stop(&card);
	assert_int_equal(fake_calls.undone, 1);
	assert_null(card.task);
	close(fd);
	assert_int_equal(card_rpc_start(&card), 0);
}

/* JR-11 */
static void descriptors_do_not_stay(void **state)
{
	char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov = { .iov_base = (void *)(uintptr_t)info, .iov_len = strlen(info) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[16], fd = dial();
	unsigned before = open_fds();
	char buf[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = STDOUT_FILENO;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	assert_int_equal(sendmsg(fd, &msg, 0), strlen(info));
	turn();
	assert_true(drain(fd, buf, sizeof(buf)) > 0);
	assert_int_equal(open_fds(), before);
	close(fd);
}

/* Out of descriptors: the client that waits must not spin the control thread, and gets in later. */
static void no_descriptor_left(void **state)
{
	struct card_rpc_stats s;
	struct rlimit old, none;
	char buf[512];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	memcpy(sa.sun_path, path, strlen(path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(write(fd, info, strlen(info)), strlen(info));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (unsigned i = 0; i < 100; i++)
		event_base_loop(card.loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	card_rpc_stats(&card, &s);
	assert_int_equal(s.accepted, 0);
	assert_in_range(s.accept_failed, 1, 3); // not once a turn
	while (!s.accepted) {
		assert_int_equal(event_base_loop(card.loop, EVLOOP_ONCE), 0);
		card_rpc_stats(&card, &s);
	}
	turn();
	assert_true(drain(fd, buf, sizeof(buf)) > 0);
	close(fd);
	assert_alive();
}

static void socket_is_private(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* JR-07: what stands at the path. A live daemon's socket is not taken, nor another file. */
static void path_is_not_taken_over(void **state)
{
	struct card other = { .opt = { .rpc_socket = path }, .loop = card.loop };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	assert_int_equal(card_rpc_start(&other), -EADDRINUSE);
	card_rpc_stop(&card);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(card_rpc_start(&other), -EEXIST);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(card_rpc_start(&other), -EEXIST);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(card_rpc_start(&other), -EEXIST);
	unlink(path);
	memcpy(sa.sun_path, path, strlen(path)); // left by a process that died
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	assert_int_equal(card_rpc_start(&card), 0);
	assert_alive();
}

/* JR-06 */
static void long_path_is_refused(void **state)
{
	char text[200];
	struct card other = { .opt = { .rpc_socket = text }, .loop = card.loop };

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(card_rpc_start(&other), -ENAMETOOLONG);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(split_at_every_byte),
		TEST(several_in_one_write),
		TEST(oversize_is_refused),
		TEST(full_house_makes_room),
		TEST(bad_start_closes),
		TEST(client_leaves_in_mid_response),
		TEST(half_closed_is_answered),
		TEST(slow_reader_is_held_back),
		TEST(steps_between_others),
		TEST(lists_go_on_beside),
		TEST(steps_in_a_batch),
		TEST(leaving_cancels),
		TEST(steps_hold_their_place),
		TEST(steps_end_with_the_socket),
		TEST(descriptors_do_not_stay),
		TEST(no_descriptor_left),
		TEST(socket_is_private),
		TEST(path_is_not_taken_over),
		TEST(long_path_is_refused),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/rpc.sock", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fake_calls_reset();
	rmdir(dir);
	return failed;
}
