// SPDX-License-Identifier: Apache-2.0
/* Descriptors over a Unix socket: what has no room is closed, and nothing else is taken. */
#include "dpu_fds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

#define SENT 3

struct rig {
	int sock[2];
	int pipes[SENT][2]; // the writing ends are sent
};

static void rig_init(struct rig *r)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, r->sock), 0);
	for (unsigned i = 0; i < SENT; i++)
		assert_int_equal(pipe2(r->pipes[i], O_CLOEXEC | O_NONBLOCK), 0);
}

static void rig_fini(struct rig *r)
{
	close(r->sock[0]);
	close(r->sock[1]);
	for (unsigned i = 0; i < SENT; i++)
		close(r->pipes[i][0]);
}

/* The first n of them, which are the receiver's alone from now on. */
static void give(struct rig *r, unsigned n)
{
	struct iovec iov = { (char[]){ 'x' }, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union dpu_fds_room room;
	int fds[SENT];

	for (unsigned i = 0; i < SENT; i++)
		fds[i] = r->pipes[i][1];
	dpu_fds_put(&msg, &room, fds, n);
	assert_int_equal(sendmsg(r->sock[0], &msg, 0), 1);
	for (unsigned i = 0; i < SENT; i++)
		close(fds[i]);
}

static unsigned take(struct rig *r, int *fds, unsigned n, unsigned max)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	union {
		char bytes[256]; // for credentials, too
		struct cmsghdr align;
	} room;
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &room,
		.msg_controllen = sizeof(room) };

	assert_int_equal(recvmsg(r->sock[1], &msg, MSG_CMSG_CLOEXEC), 1);
	return dpu_fds_take(&msg, fds, n, max);
}

/* Whether anybody has the other end of a pipe. */
static bool open_still(const struct rig *r, unsigned i)
{
	char byte;

	return read(r->pipes[i][0], &byte, 1) < 0;
}

static const struct row {
	const char *name;
	unsigned sent, had, max, has; // has: afterwards
} rows[] = {
	{ "none", 0, 0, SENT, 0 },
	{ "as many as there is room for", SENT, 0, SENT, SENT },
	{ "behind those that it has", 2, 1, SENT, SENT },
	{ "one too many", SENT, 0, 2, 2 },
	{ "too many, with those that it has", 2, 2, SENT, SENT },
	{ "no room at all", 2, SENT, SENT, SENT },
};

static void taken(void **state)
{
	const struct row *t = *state;
	int fds[SENT] = { -7, -7, -7 };
	struct rig r;

	rig_init(&r);
	give(&r, t->sent);
	assert_int_equal(take(&r, fds, t->had, t->max), t->has);
	for (unsigned i = 0; i < t->had; i++)
		assert_int_equal(fds[i], -7); // those are not its own
	for (unsigned i = 0; i < SENT; i++)
		assert_int_equal(open_still(&r, i), i < t->has - t->had);
	for (unsigned i = t->had; i < t->has; i++)
		assert_int_equal(close(fds[i]), 0);
	rig_fini(&r);
}

/* Who sent it comes in the same way, and is no descriptor. */
static void credentials(void **state)
{
	const int on = 1;
	int fds[SENT];
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(setsockopt(r.sock[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	give(&r, 1);
	assert_int_equal(take(&r, fds, 0, SENT), 1);
	assert_true(open_still(&r, 0));
	close(fds[0]);
	assert_false(open_still(&r, 0));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(credentials) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(rows, taken, failed);
	return failed;
}
