// SPDX-License-Identifier: Apache-2.0
/*
 * In-band notifications: kicks, calls and errors as messages, and a front-end that does not keep to
 * its half of that. Spec: vhost-user, "In-band notifications".
 */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "fake_rig.h"
#include "vu_inband.h"

static struct fake_rig rig;
static unsigned fds_before;
static int channel; // the front-end's end of the back-end's channel; -1: none

/* ---- the front-end ---- */

static void give_channel(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	if (channel >= 0)
		close(channel);
	channel = pair[0];
	assert_int_equal(front_call(&rig.f, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
}

/* Everything that ring idx needs, but a kick; no descriptor at all. */
static void lay_ring(uint32_t idx)
{
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_NUM, idx, 64), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, idx, 0), 0);
	assert_int_equal(front_ring_addr(&rig.f, idx), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, idx, 1), 0);
}

static int kick(uint32_t idx)
{
	return front_call_state(&rig.f, VU_VRING_KICK, idx, 0);
}

/* The next request on the channel; 0: there is none. */
static uint32_t asked(uint32_t *idx)
{
	struct {
		struct vu_header h;
		struct vu_vring_state s;
	} m;
	ssize_t n;

	fake_host_run(&rig.h);
	n = recv(channel, &m, sizeof(m.h), MSG_DONTWAIT);
	if (n < 0)
		return 0;
	assert_int_equal(n, sizeof(m.h));
	assert_int_equal(m.h.flags, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(m.h.size, sizeof(m.s));
	assert_int_equal(recv(channel, &m.s, sizeof(m.s), MSG_DONTWAIT), sizeof(m.s));
	assert_int_equal(m.s.num, 0);
	*idx = m.s.index;
	return m.h.request;
}

static void answer(uint32_t request)
{
	struct {
		struct vu_header h;
		uint64_t v;
	} __attribute__((packed)) m = { { request, VU_FLAG_VERSION | VU_FLAG_REPLY, 8 }, 0 };

	assert_int_equal(send(channel, &m, sizeof(m), 0), sizeof(m));
	fake_host_run(&rig.h);
}

static void assert_call(uint32_t ring)
{
	uint32_t idx = 0;

	assert_int_equal(asked(&idx), VU_BACKEND_VRING_CALL);
	assert_int_equal(idx, ring);
}

static void assert_silent(void)
{
	uint32_t idx = 0;

	assert_int_equal(asked(&idx), 0);
}

/* What a ring's worker does when its driver is to be told. */
static void call(uint32_t idx)
{
	vho_notify_fd(rig.d.dev.queues[idx].q.call_fd);
}

static int open_session(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	channel = -1;
	rig_open(&rig, VHO_DEV_BLK);
	rig_negotiate(&rig, 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	give_channel();
	for (uint32_t i = 0; i < 2; i++)
		lay_ring(i);
	return 0;
}

static int close_session(void **state)
{
	(void)state;
	rig_close(&rig);
	if (channel >= 0)
		close(channel);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

/* ---- what the messages do ---- */

static void first_kick_starts_the_ring(void **state)
{
	(void)state;
	assert_false(rig.h.running[0]);
	assert_int_equal(kick(0), 0);
	assert_true(rig.h.running[0]);
	assert_false(rig.h.running[1]);
	// What the worker waits for has been signalled, and is again by the next kick
	assert_true(rig_eventfd_take(rig.d.dev.queues[0].kick_fd) > 0);
	assert_int_equal(kick(0), 0);
	assert_int_equal(rig_eventfd_take(rig.d.dev.queues[0].kick_fd), 1);
	assert_int_equal(rig.h.starts, 1);
}

static void kick_before_enable(void **state)
{
	(void)state;
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 0), 0);
	assert_int_equal(kick(0), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(rig_eventfd_take(rig.d.dev.queues[0].kick_fd), 1);
}

/* "To block until they are processed": one at a time, and what comes meanwhile is one call more. */
static void one_call_at_a_time(void **state)
{
	(void)state;
	assert_int_equal(kick(0), 0);
	assert_int_equal(kick(1), 0);
	call(0);
	assert_call(0);
	for (unsigned i = 0; i < 1000; i++) {
		call(i % 2);
		assert_silent();
	}
	answer(VU_BACKEND_VRING_CALL);
	assert_call(1);
	call(1); // after the message: it needs another one
	assert_silent();
	answer(VU_BACKEND_VRING_CALL);
	assert_call(0);
	answer(VU_BACKEND_VRING_CALL);
	assert_call(1);
	answer(VU_BACKEND_VRING_CALL);
	assert_silent();
}

static void answer_in_pieces(void **state)
{
	const struct vu_header h = { VU_BACKEND_VRING_CALL, VU_FLAG_VERSION | VU_FLAG_REPLY, 8 };
	uint8_t bytes[sizeof(h) + 8] = { 0 };

	(void)state;
	memcpy(bytes, &h, sizeof(h));
	assert_int_equal(kick(0), 0);
	call(0);
	assert_call(0);
	call(0);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		assert_silent();
		assert_int_equal(send(channel, bytes + i, 1, 0), 1);
	}
	assert_call(0);
}

/* The front-end could not: it has heard, and the next one comes. */
static void refused_call(void **state)
{
	struct {
		struct vu_header h;
		uint64_t v;
	} __attribute__((packed))
	m = { { VU_BACKEND_VRING_CALL, VU_FLAG_VERSION | VU_FLAG_REPLY, 8 }, 1 };

	(void)state;
	assert_int_equal(kick(0), 0);
	call(0);
	assert_call(0);
	assert_int_equal(send(channel, &m, sizeof(m), 0), sizeof(m));
	call(0);
	assert_call(0);
	assert_true(rig.d.dev.connected);
}

static void broken_ring(void **state)
{
	struct vu_vring_state v = { 0 };
	struct vu_msg m;
	uint32_t idx = 0;

	(void)state;
	assert_int_equal(kick(1), 0);
	vho_queue_fail(&rig.d.dev.queues[1].q, VHO_QUEUE_ERR_BAD_INDEX, -1);
	assert_int_equal(asked(&idx), VU_BACKEND_VRING_ERR);
	assert_int_equal(idx, 1);
	answer(VU_BACKEND_VRING_ERR);
	// Stopped for whatever reason, it stays down however often it is kicked
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_false(rig.h.running[1]);
	assert_int_equal(kick(1), 0);
	assert_false(rig.h.running[1]);
	v.index = 1;
	front_send(&rig.f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), sizeof(v));
	assert_int_equal(kick(1), 0);
	assert_true(rig.h.running[1]);
}

/* "Preferred over the message": what the front-end gave itself, before or later. */
static void descriptors_are_preferred(void **state)
{
	int first = rig_eventfd(), second = rig_eventfd(), err = rig_eventfd();

	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, first), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, second), 0);
	assert_true(rig.h.running[0]);
	call(0);
	assert_silent();
	assert_int_equal(rig_eventfd_take(first), 1);
	assert_int_equal(kick(0), 0);
	assert_int_equal(rig_eventfd_take(second), 1);
	assert_int_equal(kick(1), 0);
	call(1);
	assert_call(1);
	call(1);
	assert_silent();
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 1, first), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_ERR, 1, err), 0);
	assert_int_equal(rig_eventfd_take(first), 1);
	answer(VU_BACKEND_VRING_CALL);
	assert_silent(); // what was due has gone to the descriptor
	call(1);
	vho_queue_fail(&rig.d.dev.queues[1].q, VHO_QUEUE_ERR_BAD_INDEX, -1);
	assert_silent();
	assert_int_equal(rig_eventfd_take(first), 1);
	assert_int_equal(rig_eventfd_take(err), 1);
	close(first);
	close(second);
	close(err);
}

/* SET_VRING_CALL and SET_VRING_KICK without one: the front-end polls, or we do. */
static void polling(void **state)
{
	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, -1), 0);
	assert_int_equal(kick(0), 0);
	assert_int_equal(rig.d.dev.queues[0].q.call_fd, -1);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 1, -1), 0);
	assert_true(rig.h.running[1]);
	assert_int_equal(rig.d.dev.queues[1].kick_fd, -1);
	assert_int_equal(kick(1), 0);
	assert_int_equal(rig.d.dev.queues[1].kick_fd, -1);
	call(1);
	assert_call(1);
}

/* "Suspended device state": nothing is sent while every ring is stopped, and nothing is lost. */
static void suspended_device_is_silent(void **state)
{
	struct vu_vring_state v = { 0 };
	struct vu_msg m;

	(void)state;
	assert_int_equal(kick(0), 0);
	call(0);
	assert_call(0);
	call(0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 0), 0);
	answer(VU_BACKEND_VRING_CALL);
	assert_silent();
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_call(0);
	answer(VU_BACKEND_VRING_CALL);
	// The last call of a ring goes before the answer that says where it stopped
	call(0);
	front_send(&rig.f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_call(0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), sizeof(v));
	assert_false(vho_dev_any_started(&rig.d.dev));
}

static void channel_comes_late(void **state)
{
	(void)state;
	close(channel);
	channel = -1;
	fake_host_run(&rig.h);
	assert_true(rig.d.dev.connected); // closing it is no offence
	assert_int_equal(kick(0), 0);
	call(0);
	fake_host_run(&rig.h);
	give_channel();
	assert_call(0);
	give_channel(); // another one, with an answer still to come
	assert_silent();
	call(0);
	assert_call(0);
	answer(VU_BACKEND_VRING_CALL);
	assert_silent();
}

/* A configuration change has no answer, and waits for none. */
static void between_other_requests(void **state)
{
	struct vu_header h;

	(void)state;
	assert_int_equal(kick(0), 0);
	call(0);
	assert_call(0);
	assert_int_equal(vho_vu_config_changed(rig.vu), 0);
	assert_int_equal(recv(channel, &h, sizeof(h), MSG_DONTWAIT), sizeof(h));
	assert_int_equal(h.request, VU_BACKEND_CONFIG_CHANGE);
	call(0);
	assert_silent();
	answer(VU_BACKEND_VRING_CALL);
	assert_call(0);
}

static void feature_off_again(void **state)
{
	uint64_t protocol = front_get(&rig.f, VU_GET_PROTOCOL_FEATURES);

	(void)state;
	assert_int_equal(kick(0), 0);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES,
				 protocol & ~(1ull << VU_PF_INBAND_NOTIFICATIONS)),
		0);
	call(0);
	assert_silent();
	assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES, protocol), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, -1), 0);
	call(0);
	assert_call(0);
}

/* ---- to another process ---- */

/*
 * A hand-over with an answer to come and a call that waits for it: the taker hears the one, sends
 * the other, and goes on.
 */
static void handed_over(void **state)
{
	const uint8_t yes[4] = { 0 };
	struct fake_dev to;
	struct vho_vu *vu;
	int pair[2], polled = rig_eventfd();
	uint32_t idx = 0;

	(void)state;
	assert_int_equal(kick(0), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 1, polled), 0);
	assert_int_equal(kick(1), 0);
	call(0);
	assert_call(0);
	call(0);
	assert_silent();
	assert_int_equal(fake_dev_init(&to, &rig.h, VHO_DEV_BLK, RIG_QUEUES), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(write(pair[1], yes, sizeof(yes)), sizeof(yes)); // one process, no waiting
	assert_int_equal(vho_vu_give(rig.vu, pair[0]), 0);
	rig.vu = NULL;
	assert_int_equal(fake_host_armed(&rig.h), 0);
	assert_int_equal(vho_vu_take(&to.dev, pair[1], NULL, VHO_VU_SERVER, &rig.h.host, &vu), 0);
	close(pair[0]);
	close(pair[1]);
	assert_true(rig.h.running[0] && rig.h.running[1]);
	assert_silent();
	answer(VU_BACKEND_VRING_CALL);
	assert_call(0);
	answer(VU_BACKEND_VRING_CALL);
	vho_notify_fd(to.dev.queues[1].q.call_fd);
	assert_silent();
	assert_true(rig_eventfd_take(polled) > 0);
	vho_queue_fail(&to.dev.queues[1].q, VHO_QUEUE_ERR_BAD_INDEX, -1);
	assert_int_equal(asked(&idx), VU_BACKEND_VRING_ERR);
	assert_int_equal(idx, 1);
	(void)rig_eventfd_take(to.dev.queues[0].kick_fd);
	assert_int_equal(kick(0), 0);
	assert_int_equal(rig_eventfd_take(to.dev.queues[0].kick_fd), 1);
	vho_vu_destroy(vu);
	fake_dev_fini(&to);
	close(polled);
}

/* ---- what a front-end may do wrong ---- */

static const struct spoiled_case {
	const char *name;
	bool asked; // an answer is due
	struct vu_header h;
	unsigned n_fds;
} spoiled_cases[] = {
	{ "answer that nobody waits for", false, { VU_BACKEND_VRING_CALL, 5, 8 }, 0 },
	{ "answer to another request", true, { VU_BACKEND_VRING_ERR, 5, 8 }, 0 },
	{ "answer that is no reply", true, { VU_BACKEND_VRING_CALL, 1, 8 }, 0 },
	{ "answer of another version", true, { VU_BACKEND_VRING_CALL, 6, 8 }, 0 },
	{ "answer too long", true, { VU_BACKEND_VRING_CALL, 5, 0xffffffff }, 0 },
	{ "answer too short", true, { VU_BACKEND_VRING_CALL, 5, 4 }, 0 },
	{ "answer with a descriptor", true, { VU_BACKEND_VRING_CALL, 5, 8 }, 1 },
	{ "answer with nine descriptors", true, { VU_BACKEND_VRING_CALL, 5, 8 }, 9 },
};

/* Without a channel there are no notifications, so the session ends with it. */
static void spoiled_channel(void **state)
{
	const struct spoiled_case *t = *state;
	uint8_t bytes[sizeof(t->h) + 8] = { 0 };
	struct iovec v = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	union {
		char bytes[CMSG_SPACE(9 * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };
	int fds[9];
	unsigned before;

	open_session(NULL);
	assert_int_equal(kick(0), 0);
	if (t->asked) {
		call(0);
		assert_call(0);
	}
	memcpy(bytes, &t->h, sizeof(t->h));
	for (unsigned i = 0; i < t->n_fds; i++)
		fds[i] = rig_eventfd();
	if (t->n_fds) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(t->n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(t->n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, t->n_fds * sizeof(int));
	}
	before = fake_open_fds();
	assert_int_equal(sendmsg(channel, &mh, 0), sizeof(bytes));
	fake_host_run(&rig.h);
	assert_true(front_closed(&rig.f));
	assert_false(rig.d.dev.connected);
	// Its socket, the channel, its memory, and three eventfds of ring 0
	assert_int_equal(fake_open_fds(), before - 6);
	for (unsigned i = 0; i < t->n_fds; i++)
		close(fds[i]);
	assert_int_equal(close_session(NULL), 0);
}

/* Never answered, never read: nothing waits, nothing grows. */
static void front_end_that_is_deaf(void **state)
{
	struct pollfd p = { .events = POLLIN };
	unsigned n = fake_open_fds();
	char bytes[4096];

	(void)state;
	assert_int_equal(kick(0), 0);
	assert_int_equal(kick(1), 0);
	for (unsigned i = 0; i < 10000; i++) {
		call(i % 2);
		assert_int_equal(kick(i % 2), 0);
		fake_host_run(&rig.h);
	}
	p.fd = channel;
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(recv(channel, bytes, sizeof(bytes), MSG_DONTWAIT),
		sizeof(struct vu_header) + sizeof(struct vu_vring_state));
	assert_int_equal(fake_open_fds(), n + 6);
}

static void resources_run_out(void **state)
{
	struct rlimit old, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	// For the call, then (the first stays) for the error, then for the kick
	for (unsigned i = 0; i < 3; i++) {
		int lowest = dup(channel);

		close(lowest);
		none.rlim_cur = (rlim_t)lowest + (i > 0);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		assert_int_not_equal(kick(0), 0);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_false(rig.h.running[0]);
	}
	rig.h.no_watch = true;
	assert_int_equal(kick(1), 1);
	assert_false(rig.h.running[1]);
	assert_int_equal(kick(0), 0);
	assert_int_equal(kick(1), 0);
	assert_true(rig.h.running[0] && rig.h.running[1]);
	// And the feature itself
	for (int i = 0; i < 2; i++) {
		rig_reopen(&rig);
		dpu_alloc_fail_after(i);
		front_send(&rig.f, VU_SET_PROTOCOL_FEATURES, VU_FLAG_VERSION,
			&(uint64_t){ 1ull << VU_PF_INBAND_NOTIFICATIONS | 1ull << VU_PF_REPLY_ACK |
				     1ull << VU_PF_BACKEND_REQ },
			8, NULL, 0);
		dpu_alloc_fail_after(-1);
		assert_true(front_closed(&rig.f));
	}
}

/* Without what it needs. */
static void vu28_alone(void **state)
{
	const uint64_t ack = 1ull << VU_PF_REPLY_ACK;

	(void)state;
	assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES, ack), 0);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES,
				 1ull << VU_PF_INBAND_NOTIFICATIONS | ack),
		-ECONNRESET);
	assert_false(rig.d.dev.connected);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, open_session, close_session)
	static const struct CMUnitTest tests[] = {
		T(first_kick_starts_the_ring),
		T(kick_before_enable),
		T(one_call_at_a_time),
		T(answer_in_pieces),
		T(refused_call),
		T(broken_ring),
		T(descriptors_are_preferred),
		T(polling),
		T(suspended_device_is_silent),
		T(channel_comes_late),
		T(between_other_requests),
		T(feature_off_again),
		T(handed_over),
		T(front_end_that_is_deaf),
		T(resources_run_out),
		T(vu28_alone),
	};
	int failed = 0, fd = rig_eventfd();

	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	RUN_ROWS(spoiled_cases, spoiled_channel, failed);
	failed += cmocka_run_group_tests_name("in-band", tests, NULL, NULL);
	return failed;
}
