// SPDX-License-Identifier: Apache-2.0
/* A million connections to a file and back while the card answers everybody else. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "card_env.h"
#include "ct_keep.h"
#include "ct_pkts.h"
#include "dpu_clock.h"
#include "dpu_log.h"

#define N 1000000u
#define FRAME_CONNS 292u // of a full frame
#define PORTS 50000u

static struct card card;
static char dir[] = "/tmp/ct_steps.XXXXXX";
static char path[64], sock[64];

static int setup(void **state)
{
	(void)state;
	dpu_log_level_set(DPU_LOG_ERR);
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/moved", dir);
	(void)snprintf(sock, sizeof(sock), "%s/rpc.sock", dir);
	card.opt = (struct card_options){ .name = "ct",
		.mem_mib = 64,
		.mbufs = 2047,
		.socket_dir = dir,
		.rpc_socket = sock,
		.ct_conns = 1u << 20 };
	return card_env_open(&card) || card_rpc_start(&card);
}

static int teardown(void **state)
{
	(void)state;
	card_rpc_stop(&card);
	card_env_close(&card);
	unlink(path);
	return rmdir(dir);
}

static struct odp_ct *table(void)
{
	struct odp_ct *ct;

	assert_int_equal(odp_conntrack_get(card.dp, &ct), 0);
	return ct;
}

static uint64_t count(void)
{
	struct odp_ct_stats s;

	odp_ct_stats(table(), &s);
	return s.conns;
}

static void fill(void)
{
	struct odp_ct *ct = table();
	struct ct_p p;

	// None may go before it was counted, however slow the build.
	assert_int_equal(odp_ct_timeout_set(ct, 0, ODP_CT_UDP_FIRST, 3600000), 0);
	odp_ct_online(ct, 0); // no flow tracks: the worker is not in it
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(ct_make(ct, ct_udp(&p, 1 + i / PORTS, 1000 + i % PORTS, 2, 53, 3),
					 dpu_now_ns() / 1000000),
			0);
	odp_ct_offline(ct, 0);
}

/* ---- clients ---- */

/* Ready events, once: a step is made, and what has come is read or written. */
static void rounds(unsigned n)
{
	while (n--)
		event_base_loop(card.loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memcpy(sa.sun_path, sock, strlen(sock));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	rounds(4);
	return fd;
}

static void ask(int fd, const char *method, const char *file)
{
	char text[256];
	int n = snprintf(text, sizeof(text),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"%s%s%s}", method,
		file ? ",\"params\":{\"path\":\"" : "", file ? file : "", file ? "\"}" : "");

	assert_int_equal(write(fd, text, (size_t)n), n);
}

/* What is there now; new reference, NULL: nothing. */
static json_t *heard(int fd)
{
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0 && errno == EAGAIN)
		return NULL;
	assert_true(n > 0);
	json_t *o = json_loadb(text, (size_t)n, 0, NULL);

	assert_non_null(o);
	return o;
}

/* Is it an answer without an error? Takes it. */
static bool is_good(json_t *o)
{
	bool good = json_object_get(o, "result");

	json_decref(o);
	return good;
}

/*
 * Make the call, and one of another client with each two rounds of the loop: all of these are
 * answered in these. How many were; *out: the result.
 */
static unsigned while_others(const char *method, json_t **out)
{
	int asks = dial(), other = dial();
	unsigned answered = 0;
	json_t *o;

	ask(asks, method, path);
	while (!(o = heard(asks))) {
		ask(other, "card_info", NULL);
		rounds(2); // it is read, it is answered
		assert_true(is_good(heard(other)));
		answered++;
		if (answered % 500 == 0) { // one at a time
			ask(other, "ct_import", "/tmp/outboard-nothing");
			rounds(2); // it is read, it is answered
			assert_false(is_good(heard(other)));
		}
	}
	*out = json_incref(json_object_get(o, "result"));
	json_decref(o);
	close(asks);
	close(other);
	assert_non_null(*out);
	return answered;
}

static json_int_t number(const json_t *o, const char *member)
{
	return json_integer_value(json_object_get(o, member));
}

static void there_and_back(void **state)
{
	struct stat st;
	json_t *o;

	(void)state;
	fill();
	assert_int_equal(count(), N);
	assert_true(while_others("ct_export", &o) >= N / FRAME_CONNS / 2);
	assert_int_equal(number(o, "connections"), N);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, number(o, "bytes"));
	json_decref(o);
	assert_int_equal(odp_ct_flush(table(), ODP_CT_ALL_ZONES), N);
	assert_true(while_others("ct_import", &o) >= N / FRAME_CONNS);
	assert_int_equal(number(o, "connections"), N);
	assert_int_equal(number(o, "left_out"), 0);
	json_decref(o);
	assert_int_equal(count(), N);
	unlink(path);
}

/* Half a file is none. */
static void leaving_leaves_no_file(void **state)
{
	int fd = dial();

	(void)state;
	ask(fd, "ct_export", path);
	rounds(10);
	assert_int_equal(access(path, F_OK), 0);
	assert_non_null(card.task);
	close(fd);
	rounds(4);
	assert_null(card.task);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- the end of the card ---- */

struct client {
	struct event *turn;
	int fd;
	unsigned answered;
};

/* An event of the loop that is a client of it. */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once;
	struct client *cl = arg;
	json_t *o = heard(cl->fd);

	(void)fd;
	(void)what;
	assert_int_equal(event_add(cl->turn, &at_once), 0);
	if (!o)
		return;
	const char *text = json_string_value(
		json_object_get(json_object_get(o, "error"), "message"));

	assert_non_null(text);
	assert_non_null(strstr(text, "shutting down"));
	json_decref(o);
	cl->answered++;
	ask(cl->fd, "card_info", NULL);
}

/* The last file is written while the socket goes on; what was being exported ends with a reason. */
static void the_last_one(void **state)
{
	struct client cl = { .fd = dial() };
	struct card_ct_keep_stats s;
	int exports = dial();

	(void)state;
	card.opt.state_dir = dir;
	assert_int_equal(card_ct_keep_load(&card), 0);
	assert_int_equal(card_store_open(&card), 0);
	assert_int_equal(card_ct_keep_start(&card), 0);
	ask(exports, "ct_export", path);
	rounds(4);
	assert_non_null(card.task);
	card.stopping = true;
	ask(cl.fd, "card_info", NULL);
	cl.turn = evtimer_new(card.loop, on_turn, &cl);
	event_active(cl.turn, EV_TIMEOUT, 0);
	card_ct_keep_stop(&card);
	event_free(cl.turn);
	card_ct_keep_stats(&card, &s);
	assert_int_equal(s.saved_connections, N);
	assert_in_range(cl.answered, N / FRAME_CONNS / 5, N / FRAME_CONNS);
	assert_int_equal(access(path, F_OK), -1);
	assert_false(is_good(heard(exports)));
	close(exports);
	close(cl.fd);
	card_store_close(&card);
	card_ct_keep_free(&card);
	(void)snprintf(path, sizeof(path), "%s/conntrack", dir);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/state.json", dir);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back), cmocka_unit_test(leaving_leaves_no_file),
		cmocka_unit_test(the_last_one), // polling ends with it
	};

	return cmocka_run_group_tests_name("connections in steps", tests, setup, teardown);
}
