// SPDX-License-Identifier: Apache-2.0
/*
 * Wrong bits on the wire, in both directions, for long (NI-13, NT-14): between host and target
 * stands a relay that turns over a bit now and then. With both digests no request may end wrong,
 * and none may see a byte that is not its own; that is all a digest is for.
 */
#include "nvmf_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dpu_log.h"

#define LINKS 64U
#define UNHARMED 1024U // bytes: ICReq, ICResp and Connect, of which not all have a digest
#define REQUESTS 6000U
#define SPOTS 16U
#define LEN 8192U
#define ONE_IN 100000U // bytes
#define FASTER 20

struct pipe_end {
	int from, to;
	uint64_t passed;
	uint8_t buf[65536];
	size_t have, at; // not sent yet
};

struct wire {
	struct nvmf_rig r;
	int listen;
	uint16_t port;
	struct pipe_end end[LINKS][2]; // from < 0: free
	unsigned flips;
	bool clean; // no more of them
};

static uint64_t seed = 88172645463325252ULL;

static unsigned next_random(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % below;
}

/* Faster than any other: what waits for late writes would take most of the time. */
static uint64_t fast_clock(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) * FASTER;
}

/* ---- the wire ---- */

static void wire_listen(struct wire *w)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000003) };
	socklen_t len = sizeof(a);

	w->listen = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(w->listen >= 0);
	assert_int_equal(bind(w->listen, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(w->listen, LINKS), 0);
	assert_int_equal(getsockname(w->listen, (struct sockaddr *)&a, &len), 0);
	w->port = ntohs(a.sin_port);
	for (unsigned i = 0; i < LINKS; i++)
		w->end[i][0].from = -1;
}

static void wire_accept(struct wire *w)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(w->r.port[0]),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = accept4(w->listen, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), to;
	unsigned i = 0;

	if (fd < 0)
		return;
	while (i < LINKS && w->end[i][0].from >= 0)
		i++;
	assert_true(i < LINKS);
	to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(to >= 0);
	assert_int_equal(connect(to, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(fcntl(to, F_SETFL, O_NONBLOCK), 0);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	w->end[i][0] = (struct pipe_end){ .from = fd, .to = to };
	w->end[i][1] = (struct pipe_end){ .from = to, .to = fd };
}

static void harm(struct wire *w, struct pipe_end *e)
{
	for (size_t i = 0; i < e->have; i += 512) {
		size_t n = e->have - i < 512 ? e->have - i : 512;

		if (w->clean || e->passed + i < UNHARMED || next_random(ONE_IN) >= n)
			continue;
		e->buf[i + next_random((unsigned)n)] ^= (uint8_t)(1u << next_random(8));
		w->flips++;
	}
}

/* False: one of the two is gone. */
static bool pass(struct wire *w, struct pipe_end *e)
{
	ssize_t n;

	if (e->at == e->have) {
		n = recv(e->from, e->buf, sizeof(e->buf), 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		e->at = 0;
		e->have = (size_t)n;
		harm(w, e);
		e->passed += (uint64_t)n;
	}
	n = send(e->to, e->buf + e->at, e->have - e->at, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	e->at += (size_t)n;
	return true;
}

static void turn(struct wire *w)
{
	(void)rig_poll(&w->r);
	wire_accept(w);
	for (unsigned i = 0; i < LINKS; i++) {
		if (w->end[i][0].from < 0)
			continue;
		if (pass(w, &w->end[i][0]) && pass(w, &w->end[i][1]))
			continue;
		close(w->end[i][0].from);
		close(w->end[i][0].to);
		w->end[i][0].from = -1;
	}
}

/* ---- requests ---- */

static void pattern(uint8_t *to, unsigned spot, unsigned version)
{
	for (unsigned i = 0; i < LEN; i++)
		to[i] = (uint8_t)(i * 7 + (i >> 8) + spot * 31 + version * 101);
}

static void many_requests(struct wire *w, struct vol_chan *c)
{
	static uint8_t buf[SPOTS][LEN], want[LEN];
	unsigned version[SPOTS] = { 0 };
	static struct req q[SPOTS];

	for (unsigned done = 0; done < REQUESTS;) {
		for (unsigned i = 0; i < SPOTS; i++) {
			bool write = next_random(2);

			if (write)
				pattern(buf[i], i, ++version[i]);
			else
				memset(buf[i], 0xee, LEN);
			req_submit(c, &q[i], write ? VOL_WRITE : VOL_READ, (uint64_t)i * LEN,
				buf[i], LEN);
		}
		for (unsigned i = 0; i < SPOTS; i++, done++) {
			while (!q[i].done)
				turn(w);
			assert_int_equal(q[i].err, 0);
			pattern(want, i, version[i]);
			if (!version[i])
				memset(want, 0, LEN);
			assert_memory_equal(buf[i], want, LEN);
		}
	}
}

static void wrong_bits(void **state)
{
	struct wire *w = calloc(1, sizeof(*w));
	struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 1 };
	struct nof_ctrl_conf conf;
	struct nof_ctrl_info info;
	struct link l = { 0 };
	struct vol_chan *c;
	struct vol *v = NULL;

	(void)state;
	assert_non_null(w);
	alarm(150); // a request that waits for ever fails the test
	dpu_log_level_set(DPU_LOG_ERR);
	dpu_clock_set(fast_clock);
	rig_open(&w->r, NULL);
	wire_listen(w);
	conf = link_conf(&w->r, 0);
	conf.traddr = "127.0.0.3";
	conf.trsvcid = w->port;
	conf.hdgst = conf.ddgst = true;
	conf.kato_ms = 2000;
	conf.io_timeout_ms = 4000; // a length that grew: nobody sends the rest
	conf.connect_timeout_ms = 10000;
	conf.reconnect_delay_ms = 20;
	assert_int_equal(nof_ctrl_create(w->r.h, &conf, link_up, &l, &l.c), 0);
	while (link_state(&l) != NOF_CTRL_LIVE)
		turn(w);
	vc.host = w->r.h;
	assert_int_equal(vol_nvmf_open(&vc, &v), 0);
	assert_int_equal(vol_chan_open(v, w->r.hw[0], &c), 0);
	many_requests(w, c);
	assert_true(w->flips > 100); // it was a test
	nof_ctrl_info(l.c, &info);
	assert_true(info.failures > 0); // headers, too
	w->clean = true;
	vol_chan_close(c);
	vol_close(v);
	nof_ctrl_delete(l.c, link_gone, &l);
	while (!l.gone)
		turn(w);
	close(w->listen);
	for (unsigned i = 0; i < LINKS; i++) {
		if (w->end[i][0].from < 0)
			continue;
		close(w->end[i][0].from);
		close(w->end[i][0].to);
	}
	rig_close(&w->r);
	free(w);
	dpu_clock_set(NULL);
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
