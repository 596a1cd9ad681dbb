// SPDX-License-Identifier: Apache-2.0
/* The metrics port against clients that take more than their share. The test turns the loop. */
#include "metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "rpc.h"
#include "test.h"

static const char get[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
static struct card card;

/* In two parts. */
struct card_stats_work {
	unsigned parts;
};
static struct card_stats_work works[256];
static unsigned n_works;

int card_stats_begin(
	struct card *c, const char *object, const char *name, struct card_stats_work **out)
{
	(void)c;
	(void)object;
	(void)name;
	*out = &works[n_works++ % ARRAY_LEN(works)];
	**out = (struct card_stats_work){ 2 };
	return 0;
}

int card_stats_step(struct card_stats_work *w, uint64_t until_ns, json_t **out)
{
	(void)until_ns;
	if (--w->parts)
		return CARD_RPC_LATER;
	*out = json_pack("{s:[{s:s, s:i}]}", "volume", "name", "v", "reads", 7);
	return 0;
}

void card_stats_end(struct card_stats_work *w)
{
	(void)w;
}

/* ---- time: the clock stands ahead by this much ---- */

static uint64_t ahead_ns;

static uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec + ahead_ns;
}

/* ---- the port ---- */

/* A loopback port that nobody has now. */
static uint16_t free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	close(fd);
	return ntohs(sa.sin_port);
}

static int start(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	dpu_clock_set(clock_now);
	ahead_ns = 0;
	memset(&card, 0, sizeof(card));
	card.opt.name = "m";
	card.opt.metrics_port = free_port();
	card.loop = event_base_new();
	return card_metrics_start(&card);
}

static int stop(void **state)
{
	(void)state;
	card_metrics_stop(&card);
	event_base_free(card.loop);
	return 0;
}

static struct card_metrics_stats stats(void)
{
	struct card_metrics_stats s;

	card_metrics_stats(&card, &s);
	return s;
}

/* Events that are there now. "Until nothing is left" would hide a loop that spins. */
static void turn(void)
{
	for (unsigned i = 0; i < 8; i++)
		event_base_loop(card.loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static int dial(void)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)card.opt.metrics_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

/* Turn the loop until the daemon has closed the connection; what it said before. */
static size_t read_to_end(int fd, char *buf, size_t size)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, size - len - 1);

		if (n > 0)
			len += (size_t)n;
		else if (n == 0 || errno == ECONNRESET)
			break;
		else
			event_base_loop(card.loop, EVLOOP_ONCE);
	}
	buf[len] = '\0';
	return len;
}

/* The connection may still wait for its place. */
static void say(int fd, const char *text, size_t len)
{
	while (write(fd, text, len) < 0) {
		assert_int_equal(errno, EAGAIN);
		event_base_loop(card.loop, EVLOOP_ONCE);
	}
}

static void assert_served(void)
{
	static char buf[8192];
	int fd = dial();

	say(fd, get, strlen(get));
	assert_true(read_to_end(fd, buf, sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "200 OK"));
	assert_non_null(strstr(buf, "outboard_volume_reads_total{card=\"m\",volume=\"v\"} 7\n"));
	close(fd);
}

/* One request a connection, whatever the client would like. */
static void one_request_each(void **state)
{
	(void)state;
	assert_served();
	assert_served();
	assert_int_equal(stats().accepted, 2);
	assert_int_equal(stats().requests, 2);
	while (stats().open)
		event_base_loop(card.loop, EVLOOP_ONCE);
	assert_int_equal(stats().cut_full + stats().cut_late, 0);
}

static void idle_clients_make_room(void **state)
{
	int fds[2 * CARD_METRICS_CONNS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		(void)!write(fds[i], get, i % 9);
		turn();
		assert_true(stats().open <= CARD_METRICS_CONNS_MAX);
	}
	assert_true(stats().cut_full > 0);
	assert_served();
	assert_true(stats().open <= CARD_METRICS_CONNS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* A byte now and then keeps no connection for longer than its time. */
static void slow_client_is_cut(void **state)
{
	char buf[256];
	int fd = dial();

	(void)state;
	assert_int_equal(write(fd, get, 1), 1);
	turn();
	assert_int_equal(stats().open, 1);
	ahead_ns = 9000000000u;
	event_base_loop(card.loop, EVLOOP_ONCE); // a sweep
	assert_int_equal(stats().cut_late, 0);
	assert_int_equal(write(fd, get + 1, 1), 1);
	ahead_ns = 11000000000u;
	read_to_end(fd, buf, sizeof(buf));
	assert_int_equal(stats().cut_late, 1);
	close(fd);
	assert_served();
}

/* Out of descriptors: the door is shut, so the client that waits does not spin the thread. */
static void no_descriptor_left(void **state)
{
	struct rlimit old, none;
	char buf[8192];
	int watched, fd = dial();

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = old.rlim_max };
	watched = event_base_get_num_events(card.loop, EVENT_BASE_COUNT_ADDED);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	turn();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(stats().accepted, 0);
	assert_int_equal(event_base_get_num_events(card.loop, EVENT_BASE_COUNT_ADDED), watched - 1);
	say(fd, get, strlen(get));
	assert_true(read_to_end(fd, buf, sizeof(buf)) > 0);
	close(fd);
}

/* The port goes with connections open: the sanitizers look at what is left. */
static void closed_under_clients(void **state)
{
	int fd = dial(), other = dial();
	char buf[64];

	(void)state;
	assert_int_equal(write(other, get, 10), 10);
	turn();
	assert_int_equal(stats().open, 2);
	card_metrics_stop(&card);
	assert_int_equal(read_to_end(fd, buf, sizeof(buf)), 0);
	close(fd);
	close(other);
}

static void taken_port_is_an_error(void **state)
{
	struct card other = card;

	(void)state;
	other.metrics = NULL;
	dpu_log_level_set(DPU_LOG_ERR);
	assert_int_equal(card_metrics_start(&other), -EADDRINUSE);
	assert_null(other.metrics);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_request_each),
		TEST(idle_clients_make_room),
		TEST(slow_client_is_cut),
		TEST(no_descriptor_left),
		TEST(closed_under_clients),
		TEST(taken_port_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
