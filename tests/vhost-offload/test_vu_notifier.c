// SPDX-License-Identifier: Apache-2.0
/*
 * Host notifiers: pages that the front-end maps where the guest kicks, and one that does not.
 * Spec: vhost-user, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_rig.h"
#include "vu_notifier.h"

#define BIT(n) (1ull << (n))

static struct fake_rig rig;
static unsigned fds_before;
static int channel; // the front-end's end of the back-end's channel; -1: none
static int kick_fd[RIG_QUEUES];

/* What came on the channel. */
struct offer {
	struct vu_header h;
	struct vu_vring_area a;
	int fd; // -1: none
};

static void give_channel(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	channel = pair[0];
	front_send(&rig.f, VU_SET_BACKEND_REQ_FD, VU_FLAG_VERSION, NULL, 0, &pair[1], 1);
	fake_host_run(&rig.h);
	close(pair[1]);
}

static void start_ring(uint32_t idx)
{
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_NUM, idx, 64), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, idx, 0), 0);
	assert_int_equal(front_ring_addr(&rig.f, idx), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, idx, 1), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, idx, kick_fd[idx]), 0);
	assert_true(rig.h.running[idx]);
}

static void stop_ring(uint32_t idx)
{
	struct vu_vring_state v = { .index = idx };
	struct vu_msg m;

	front_send(&rig.f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), sizeof(v));
}

/* The next request on the channel; false: there is none. */
static bool next(struct offer *o)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = { o, sizeof(o->h) };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };

	fake_host_run(&rig.h);
	o->fd = -1;
	if (recvmsg(channel, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return false;
	if (CMSG_FIRSTHDR(&mh))
		memcpy(&o->fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(o->fd));
	assert_int_equal(recv(channel, &o->a, sizeof(o->a), MSG_DONTWAIT), sizeof(o->a));
	assert_int_equal(o->h.request, VU_BACKEND_VRING_HOST_NOTIFIER);
	assert_int_equal(o->h.size, sizeof(o->a));
	return true;
}

static void assert_silent(void)
{
	struct offer o;

	assert_false(next(&o));
}

/* A page for that ring, of a file that cannot be cut. */
static void assert_offered(uint32_t idx, uint32_t flags)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct offer o;
	struct stat st;
	uint16_t *p;

	assert_true(next(&o));
	assert_int_equal(o.h.flags, flags);
	assert_int_equal(o.a.u64, idx);
	assert_int_equal(o.a.size, page);
	assert_int_equal(o.a.off, idx * page);
	assert_true(o.fd >= 0);
	assert_int_equal(fstat(o.fd, &st), 0);
	assert_int_equal(st.st_size, RIG_QUEUES * page);
	assert_int_equal(ftruncate(o.fd, 0), -1);
	p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, o.fd, (off_t)o.a.off);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(*p, 0);
	*p = (uint16_t)idx;
	munmap(p, page);
	close(o.fd);
}

static void assert_asked(uint32_t idx)
{
	assert_offered(idx, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY);
}

static void assert_taken_back(uint32_t idx)
{
	struct offer o;

	assert_true(next(&o));
	assert_int_equal(o.h.flags, VU_FLAG_VERSION);
	assert_int_equal(o.a.u64, idx | VU_VRING_NOFD);
	assert_int_equal(o.fd, -1);
}

static void answer(uint64_t v)
{
	struct {
		struct vu_header h;
		uint64_t v;
	} __attribute__((packed))
	m = { { VU_BACKEND_VRING_HOST_NOTIFIER, VU_FLAG_VERSION | VU_FLAG_REPLY, 8 }, v };

	assert_int_equal(send(channel, &m, sizeof(m), 0), sizeof(m));
	fake_host_run(&rig.h);
}

/* May the worker of that empty ring sleep? */
static bool sleeps(uint32_t idx)
{
	return vho_dev_queue_arm(&rig.d.dev, idx);
}

static void open_with(uint64_t without)
{
	uint64_t bits;
	struct vu_msg m;

	vho_dev_offer_notifiers(&rig.d.dev);
	rig_negotiate(&rig, 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	front_send(&rig.f, VU_GET_PROTOCOL_FEATURES, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	bits = m.p.u64;
	assert_true(bits & BIT(VU_PF_HOST_NOTIFIER));
	assert_true(bits & BIT(VU_PF_BACKEND_SEND_FD));
	bits &= ~without;
	front_send(&rig.f, VU_SET_PROTOCOL_FEATURES, VU_FLAG_VERSION, &bits, sizeof(bits), NULL, 0);
	fake_host_run(&rig.h);
}

static int open_session(void **state)
{
	int fd = rig_eventfd();

	(void)state;
	vho_notify_fd(fd); // the first one opens what the others use as well
	close(fd);
	fds_before = fake_open_fds();
	channel = -1;
	rig_open(&rig, VHO_DEV_BLK);
	for (unsigned i = 0; i < RIG_QUEUES; i++)
		kick_fd[i] = rig_eventfd();
	return 0;
}

static int close_session(void **state)
{
	(void)state;
	rig_close(&rig);
	for (unsigned i = 0; i < RIG_QUEUES; i++)
		close(kick_fd[i]);
	if (channel >= 0)
		close(channel);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

/* ---- rows ---- */

static void a_page_for_each_ring(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	assert_silent(); // nothing runs
	start_ring(0);
	assert_asked(0);
	assert_int_equal(rig_eventfd_take(kick_fd[0]), 1); // a worker that slept looks again
	assert_false(sleeps(0)); // from the offer on: it may be mapped before we hear of it
	start_ring(1);
	assert_silent(); // one question at a time
	assert_true(sleeps(1));
	answer(0);
	assert_asked(1);
	answer(0);
	assert_silent();
	assert_false(sleeps(0));
	assert_false(sleeps(1));
	assert_int_equal(rig_eventfd_take(kick_fd[0]), 0);
	stop_ring(0);
	assert_taken_back(0);
	assert_true(sleeps(0));
	assert_false(sleeps(1));
	stop_ring(1); // QEMU takes it away by itself; a suspended device says nothing more
	assert_taken_back(1);
	assert_true(sleeps(1));
	start_ring(0);
	assert_asked(0);
}

/* The other way of a kick is there all the time. */
static void refused(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	start_ring(0);
	assert_asked(0);
	answer(1);
	assert_silent();
	assert_true(sleeps(0));
	assert_int_equal(front_mem_table(&rig.f), 0); // stopped and started again
	start_ring(1);
	assert_asked(1);
	answer(0);
	assert_silent();
	assert_true(sleeps(0));
	assert_false(sleeps(1));
	stop_ring(0); // nothing to take back
	assert_silent();
	start_ring(0);
	assert_asked(0); // another driver, perhaps
}

static void without_answers(void **state)
{
	(void)state;
	open_with(BIT(VU_PF_REPLY_ACK) | BIT(VU_PF_INBAND_NOTIFICATIONS));
	give_channel();
	// No answer to wait for in what follows either
	for (uint32_t i = 0; i < 2; i++) {
		struct vu_vring_state num = { i, 64 }, base = { i, 0 }, on = { i, 1 };

		front_send(&rig.f, VU_SET_VRING_NUM, VU_FLAG_VERSION, &num, sizeof(num), NULL, 0);
		front_send(
			&rig.f, VU_SET_VRING_BASE, VU_FLAG_VERSION, &base, sizeof(base), NULL, 0);
		front_send(&rig.f, VU_SET_VRING_ENABLE, VU_FLAG_VERSION, &on, sizeof(on), NULL, 0);
		(void)front_ring_addr(&rig.f, i);
		(void)front_call_fd(&rig.f, VU_SET_VRING_KICK, i, kick_fd[i]);
		fake_host_run(&rig.h);
		assert_true(rig.h.running[i]);
	}
	assert_offered(0, VU_FLAG_VERSION);
	assert_offered(1, VU_FLAG_VERSION);
	assert_silent();
	assert_false(sleeps(0));
	assert_false(sleeps(1));
}

static void not_negotiated(void **state)
{
	(void)state;
	open_with(BIT(VU_PF_BACKEND_SEND_FD));
	give_channel();
	start_ring(0);
	assert_silent();
	assert_true(sleeps(0));
}

static void not_offered(void **state)
{
	struct vu_msg m;

	(void)state;
	rig_negotiate(&rig, 0);
	front_send(&rig.f, VU_GET_PROTOCOL_FEATURES, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_false(m.p.u64 & (BIT(VU_PF_HOST_NOTIFIER) | BIT(VU_PF_BACKEND_SEND_FD)));
}

/* The channel comes after the rings, and goes before the answer. */
static void channel_comes_and_goes(void **state)
{
	(void)state;
	open_with(0);
	start_ring(0);
	assert_true(sleeps(0));
	give_channel();
	assert_asked(0);
	close(channel);
	channel = -1;
	fake_host_run(&rig.h);
	assert_true(rig.d.dev.connected);
	assert_false(sleeps(0)); // perhaps it has been mapped
	start_ring(1);
	assert_true(sleeps(1)); // nobody to tell
	give_channel();
	assert_asked(1);
	answer(0);
	stop_ring(0);
	assert_taken_back(0);
}

/* An answer that is late is not taken for that of the next offer. */
static void stopped_before_the_answer(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	start_ring(0);
	assert_asked(0);
	start_ring(1);
	stop_ring(0);
	assert_taken_back(0);
	answer(1);
	assert_true(sleeps(0));
	assert_asked(1);
	answer(0);
	assert_false(sleeps(1));
}

static void unasked_answer(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	start_ring(0);
	assert_asked(0);
	answer(0);
	answer(0);
	fake_host_run(&rig.h);
	assert_false(rig.d.dev.connected);
}

/* A reset of the device: nothing runs, nothing is said, and workers may sleep. */
static void reset(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	start_ring(0);
	assert_asked(0);
	answer(0);
	assert_int_equal(front_call(&rig.f, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_silent();
	assert_true(sleeps(0));
}

/* Left with a question open: what was made for it goes. */
static void leaves_us_waiting(void **state)
{
	(void)state;
	open_with(0);
	give_channel();
	start_ring(0);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, open_session, close_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(a_page_for_each_ring),
		ROW(refused),
		ROW(without_answers),
		ROW(not_negotiated),
		ROW(not_offered),
		ROW(channel_comes_and_goes),
		ROW(stopped_before_the_answer),
		ROW(unasked_answer),
		ROW(reset),
		ROW(leaves_us_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
