// SPDX-License-Identifier: Apache-2.0
/* Descriptors of front-ends whose close(2) waits for a process of theirs. */
#include "vu_fd.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fake_fuse.h"
#include "fake_rig.h"

#define PATIENCE_S 60 // a bound that ends the test, not a figure that is judged

static struct fake_host h;
static struct fake_dev dev;
static struct fake_front front;
static struct sockaddr_un addr = { .sun_family = AF_UNIX };

static void end_server(pid_t server)
{
	kill(server, SIGKILL);
	assert_int_equal(waitpid(server, NULL, 0), server);
}

static void wait_for_closer(const void *owner)
{
	while (vu_fd_pending(owner))
		sched_yield();
}

static int open_server(struct vho_vu **vu)
{
	char dir[] = "/tmp/vu_fd.XXXXXX";

	fake_host_init(&h);
	assert_int_equal(fake_dev_init(&dev, &h, VHO_DEV_NET, RIG_QUEUES), 0);
	front_init(&front, &h);
	assert_non_null(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
	return vho_vu_create(&dev.dev, addr.sun_path, VHO_VU_SERVER, &h.host, vu);
}

static void close_server(struct vho_vu *vu)
{
	vho_vu_destroy(vu);
	front_fini(&front);
	fake_dev_fini(&dev);
	*strrchr(addr.sun_path, '/') = '\0';
	rmdir(addr.sun_path);
}

static void dial(void)
{
	if (front.fd >= 0)
		close(front.fd);
	front.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(front.fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	fake_host_run(&h);
}

/* Each message that may carry descriptors, and more of them than any may. */
static void strange_fds_end_the_session(void **state)
{
	static const struct {
		uint32_t request, size;
		unsigned n;
	} t[] = { { VU_SET_MEM_TABLE, 40, 1 }, { VU_SET_VRING_KICK, 8, 1 }, { VU_SET_LOG_FD, 0, 1 },
		{ VU_GET_FEATURES, 0, 8 }, { VU_SET_VRING_NUM, 8, 9 } };
	struct vu_table table = { .n = 1,
		.region = { { FRONT_GPA, FAKE_FUSE_SIZE, FRONT_UVA, 0 } } };
	unsigned before = fake_open_fds();
	struct vho_vu *vu;
	pid_t server;

	(void)state;
	alarm(PATIENCE_S);
	assert_int_equal(open_server(&vu), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int fd = fake_fuse_open(FUSE_NEVER_CLOSES, &server), fds[9];

		if (fd < 0) {
			print_message("skip: no FUSE here: %s\n", strerror(-fd));
			close_server(vu);
			skip();
		}
		for (unsigned k = 0; k < 9; k++)
			fds[k] = fd;
		dial();
		assert_true(dev.dev.connected);
		front_send(&front, t[i].request, VU_FLAG_VERSION, &table, t[i].size, fds, t[i].n);
		assert_true(front_closed(&front));
		assert_true(vu_fd_pending(&dev.dev) > 0);

		// Nobody is let in until what this one left is closed; others' are none of that
		dial();
		fake_host_advance(&h, 5000);
		assert_false(dev.dev.connected);
		assert_int_equal(vu_fd_pending(&h), 0);
		end_server(server);
		wait_for_closer(&dev.dev);
		fake_host_advance(&h, 1000);
		assert_true(dev.dev.connected);
		close(front.fd);
		front.fd = -1;
		fake_host_run(&h);
		close(fd);
	}
	close_server(vu);
	alarm(0);
	assert_int_equal(fake_open_fds(), before);
}

/* What front-ends send is closed on the spot. */
static void usual_kinds(void **state)
{
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);

	const int fds[] = { rig_eventfd(), memfd_create("m", MFD_CLOEXEC), pipes[0], pipes[1],
		open("/dev/shm", O_RDONLY | O_TMPFILE | O_RDWR, 0600) };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		assert_true(fds[i] >= 0);
		assert_false(vu_fd_close(fds[i], &h));
		assert_int_equal(fcntl(fds[i], F_GETFD), -1);
	}
	assert_int_equal(vu_fd_pending(&h), 0);
}

/* A socket with unsent data may linger in close(2). */
static void network_socket(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(fd >= 0);
	assert_true(vu_fd_close(fd, &h));
	wait_for_closer(&h);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ---- sockets that wait as their last descriptor goes ---- */

/* With more in it than its peer has taken, and an hour to get rid of it. */
static int lingering(int *peer)
{
	const struct linger hour = { .l_onoff = 1, .l_linger = 3600 };
	struct sockaddr_in at = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	static const char bytes[65536];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	*peer = accept(listener, NULL, NULL);
	assert_true(*peer >= 0);
	close(listener);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hour, sizeof(hour)), 0);
	return fd;
}

static void send_fds(int to, const int *fds, unsigned n, const void *bytes, size_t len)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec v = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)) };

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	assert_int_equal(sendmsg(to, &mh, 0), len);
}

enum place { PLACE_CUT_OFF, PLACE_UNREAD, PLACE_BACKLOG, PLACE_CHANNEL, PLACE_NESTED, PLACES };

/*
 * Wherever a front-end hides the last descriptor of such a socket, the control thread does not wait
 * for it. The socket's hour ends when its peer gives up.
 */
static void last_descriptor(void **state)
{
	static const struct vu_header kick = { VU_SET_VRING_KICK, VU_FLAG_VERSION, 8 };
	static const struct vu_header log = { VU_SET_LOG_FD, VU_FLAG_VERSION, 0 };
	static const struct vu_header channel = { VU_SET_BACKEND_REQ_FD, VU_FLAG_VERSION, 0 };
	unsigned before = fake_open_fds();

	(void)state;
	for (enum place place = 0; place < PLACES; place++) {
		int peer, fd = lingering(&peer), pair[2], fds[9], second;
		struct vho_vu *vu;

		alarm(PATIENCE_S);
		assert_int_equal(open_server(&vu), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		dial();
		for (unsigned i = 0; i < 8; i++)
			fds[i] = rig_eventfd();
		fds[8] = fd;
		second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		switch (place) {
		case PLACE_CUT_OFF: // behind eight others
			send_fds(front.fd, fds, 9, &kick, sizeof(kick));
			break;
		case PLACE_UNREAD: // behind a message that ends the session
			assert_int_equal(send(front.fd, fds, sizeof(kick), 0), sizeof(kick));
			send_fds(front.fd, &fd, 1, &kick, sizeof(kick));
			break;
		case PLACE_BACKLOG: // where nobody has been let in yet
			assert_int_equal(
				connect(second, (struct sockaddr *)&addr, sizeof(addr)), 0);
			send_fds(second, &fd, 1, &kick, sizeof(kick));
			break;
		default: // in a socket that is sent itself, and is refused or kept
			send_fds(pair[0], &fd, 1, &kick, sizeof(kick));
			front_send(&front, VU_SET_PROTOCOL_FEATURES, VU_FLAG_VERSION,
				&(uint64_t){ 1ull << VU_PF_BACKEND_REQ }, 8, NULL, 0);
			send_fds(front.fd, &pair[1], 1, place == PLACE_CHANNEL ? &channel : &log,
				sizeof(log));
			break;
		}
		close(fd);
		close(pair[1]);
		close(pair[0]);
		fake_host_run(&h);
		close(second);
		if (place != PLACE_BACKLOG) { // else the function goes before its front-end
			close(front.fd);
			front.fd = -1;
			fake_host_run(&h);
			assert_false(dev.dev.connected);
		}
		close_server(vu);
		assert_int_equal(vu_fd_pending(&dev.dev), 1); // by the thread that may wait
		close(peer);
		wait_for_closer(&dev.dev);
		for (unsigned i = 0; i < 8; i++)
			close(fds[i]);
		alarm(0);
		assert_int_equal(fake_open_fds(), before);
	}
}

/* What front-ends do send, for requests of ours: no offence, and soon gone. */
static void unix_socket(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(vu_fd_close(pair[i], &h));
		wait_for_closer(&h);
		assert_int_equal(fcntl(pair[i], F_GETFD), -1);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_kinds),
		cmocka_unit_test(network_socket),
		cmocka_unit_test(unix_socket),
		cmocka_unit_test(last_descriptor),
		cmocka_unit_test(strange_fds_end_the_session),
	};
	int fd = rig_eventfd();

	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
