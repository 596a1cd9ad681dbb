// SPDX-License-Identifier: Apache-2.0
/* The agent and real, jailed processes of guests without KVM; this test is the card. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "machine.h"
#include "test.h"

#define TURN_MS 20
#define PATIENCE_NS 20000000000ull

static char dir[] = "/tmp/test_agent.XXXXXX";
static char path[64];
static int listener, card; // -1: the agent is not connected
static struct hv_agent *agent;
static uint32_t seq;
static int guest; // -1: none; our end of the last one that was offered
static uint32_t guest_seq;
static char *const argv_of_guest[] = { (char[]){ "guest" }, NULL };
static int exe_fd;

union any {
	struct hv_rec_hdr h;
	struct hv_rec_hello hello;
	struct hv_rec_create create;
	struct hv_rec_done done;
	struct hv_rec_info info;
	struct hv_rec_bytes bytes;
	struct hv_rec_agent_spawn spawn;
	struct hv_rec_agent_guest guest;
	uint8_t raw[4096];
};

static void send_to(int sock, unsigned type, uint32_t number, union any *r, size_t len, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr c;
	} u = { .c = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { r, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	r->h = (struct hv_rec_hdr){ dpu_le32_put(HV_PROTO_MAGIC), dpu_le16_put(HV_PROTO_VERSION),
		dpu_le16_put((uint16_t)type), dpu_le32_put((uint32_t)len), dpu_le32_put(number) };
	if (fd >= 0) {
		memcpy(CMSG_DATA(&u.c), &fd, sizeof(fd));
		msg.msg_control = u.room;
		msg.msg_controllen = sizeof(u.room);
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), len);
}

/* The type of the next record, or 0; a descriptor with it becomes `guest`. */
static unsigned take(int sock, union any *r)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr c;
	} u;
	struct iovec iov = { r, sizeof(*r) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.room,
		.msg_controllen = sizeof(u.room) };
	ssize_t n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n <= 0)
		return 0;
	assert_int_equal(dpu_le32_get(r->h.len), n);
	if (c) {
		if (guest >= 0)
			close(guest);
		memcpy(&guest, CMSG_DATA(c), sizeof(guest));
	}
	return dpu_le16_get(r->h.type);
}

/* Let the agent work until a socket has a record of that type. What else comes is passed over. */
static void await(const int *sock, unsigned type, union any *r)
{
	uint64_t end = dpu_now_ns() + PATIENCE_NS;

	for (;;) {
		unsigned got;

		assert_int_equal(hv_agent_turn(agent, TURN_MS), 0);
		while (*sock >= 0 && (got = take(*sock, r)))
			if (got == type)
				return;
		if (dpu_now_ns() > end)
			fail_msg("no record of type %#x", type);
	}
}

static unsigned ask_agent(unsigned type, union any *r, size_t len)
{
	send_to(card, type, seq++, r, len, -1);
	await(&card, HV_DONE, r);
	assert_int_equal(dpu_le16_get(r->done.type), type);
	return dpu_le16_get(r->done.status);
}

static unsigned spawn(uint8_t id)
{
	union any r = { .spawn = { .reserved = { 0 } } };

	r.spawn.id[15] = id;
	return ask_agent(HV_AGENT_SPAWN, &r, sizeof(r.spawn));
}

static void accept_agent(void)
{
	union any r = { .hello = { .version = dpu_le16_put(HV_PROTO_VERSION) } };
	uint64_t end = dpu_now_ns() + PATIENCE_NS;

	while ((card = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
		assert_true(errno == EAGAIN && dpu_now_ns() < end);
		assert_int_equal(hv_agent_turn(agent, TURN_MS), 0);
	}
	seq = 77;
	send_to(card, HV_HELLO, seq++, &r, sizeof(r.hello), -1);
	await(&card, HV_HELLO_DONE, &r);
}

/* The guest that was offered last: greet it, make it, start it. */
static void run_guest(const char *what)
{
	int kernel = memfd_create("kernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	union any r = { .hello = { .version = dpu_le16_put(HV_PROTO_VERSION) } };

	assert_int_equal(write(kernel, "k", 1), 1);
	assert_int_equal(fcntl(kernel, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	guest_seq = 1;
	send_to(guest, HV_HELLO, guest_seq++, &r, sizeof(r.hello), -1);
	await(&guest, HV_HELLO_DONE, &r);
	memset(&r, 0, sizeof(r));
	r.create.mem_mib = dpu_le32_put(1024);
	r.create.vcpus = dpu_le16_put(1);
	memset(r.create.pin, 0xff, sizeof(r.create.pin));
	snprintf(r.create.cmdline, sizeof(r.create.cmdline), "%s", what);
	send_to(guest, HV_CREATE, guest_seq++, &r, sizeof(r.create), kernel);
	await(&guest, HV_DONE, &r);
	assert_int_equal(dpu_le16_get(r.done.status), HV_OK);
	send_to(guest, HV_START, guest_seq++, &r, sizeof(r.h), -1);
	close(kernel);
}

static unsigned guest_state(void)
{
	union any r = { .hello = { .version = dpu_le16_put(HV_PROTO_VERSION) } };

	send_to(guest, HV_HELLO, 500, &r, sizeof(r.hello), -1);
	await(&guest, HV_HELLO_DONE, &r);
	send_to(guest, HV_QUERY, 501, &r, sizeof(r.h), -1);
	await(&guest, HV_INFO, &r);
	return r.info.state;
}

static int set_up(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct hv_agent_conf conf = {
		.card_path = path, .exe_fd = exe_fd, .argv = argv_of_guest, .retry_ms = 10
	};

	(void)state;
	guest = -1;
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(hv_agent_create(&conf, &agent), 0);
	accept_agent();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hv_agent_destroy(agent);
	if (guest >= 0)
		close(guest);
	if (card >= 0)
		close(card);
	close(listener);
	unlink(path);
	// With no end of their sockets left, guests end by themselves.
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}

static void a_guest_comes_and_goes(void **state)
{
	union any r;

	(void)state;
	assert_int_equal(spawn(1), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	assert_int_equal(r.guest.id[15], 1);
	assert_int_equal(dpu_le32_get(r.guest.generation), 1);
	run_guest("end=1");
	await(&guest, HV_EV_STATE, &r);
	await(&card, HV_EV_ENDED, &r);
	assert_int_equal(r.guest.end, HV_END_OFF);
	assert_int_equal(r.guest.signal, 0);
	// Its name is free again.
	assert_int_equal(spawn(1), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	run_guest("");
	await(&guest, HV_EV_CONSOLE, &r);
	assert_memory_equal(r.bytes.bytes, "up\n", 3);
}

static unsigned descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Nobody but the process has its end of the socket, and of one that ended nothing is left here. */
static void an_end_closes_what_was_its(void **state)
{
	unsigned n = descriptors();
	union any r;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(spawn(12), HV_OK);
		await(&card, HV_EV_GUEST, &r);
		assert_int_equal(descriptors(), n + 2); // the card's end: ours, and the agent's
		run_guest("end=1");
		await(&card, HV_EV_ENDED, &r);
		while (recv(guest, &r, sizeof(r), MSG_DONTWAIT) > 0)
			;
		assert_int_equal(recv(guest, &r, sizeof(r), MSG_DONTWAIT), 0);
		close(guest);
		guest = -1;
		assert_int_equal(descriptors(), n);
	}
}

static void kill_guest(uint8_t id, unsigned want)
{
	union any r = { .guest = { .id = { [15] = id } } };

	assert_int_equal(ask_agent(HV_AGENT_KILL, &r, sizeof(r.guest)), want);
}

/* What becomes of a guest that ended is the card's choice, also one's that was told of it later. */
static void an_end_is_known_until_the_card_has_chosen(void **state)
{
	union any r;

	(void)state;
	for (uint32_t generation = 1; generation < 4; generation++) {
		assert_int_equal(spawn(2), HV_OK);
		await(&card, HV_EV_GUEST, &r);
		assert_int_equal(dpu_le32_get(r.guest.generation), generation);
		run_guest(generation < 3 ? "end=2" : "end=3");
		await(&card, HV_EV_ENDED, &r);
		assert_int_equal(r.guest.end, generation < 3 ? HV_END_REBOOT : HV_END_SHUTDOWN);
		close(card);
		card = -1;
		accept_agent();
		await(&card, HV_EV_ENDED, &r);
		assert_int_equal(r.guest.end, generation < 3 ? HV_END_REBOOT : HV_END_SHUTDOWN);
		assert_int_equal(dpu_le32_get(r.guest.generation), generation);
	}
	kill_guest(2, HV_OK);
	kill_guest(2, HV_E_ID);
	assert_int_equal(spawn(2), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	assert_int_equal(dpu_le32_get(r.guest.generation), 1);
}

/* KX-12: what a guest that has broken into a vCPU's thread would do. */
static void a_vcpu_that_breaks_out_is_killed(void **state)
{
	static const char *const what[] = { "socket", "open", "execve" };
	union any r;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(what); i++) {
		assert_int_equal(spawn(3), HV_OK);
		await(&card, HV_EV_GUEST, &r);
		run_guest(what[i]);
		await(&card, HV_EV_ENDED, &r);
		assert_int_equal(r.guest.signal, SIGSYS);
		assert_int_equal(r.guest.end, HV_END_ERROR);
	}
}

static void guests_outlive_their_card(void **state)
{
	union any r;
	uint32_t pid;

	(void)state;
	assert_int_equal(spawn(4), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	pid = dpu_le32_get(r.guest.pid);
	run_guest("");
	for (int i = 0; i < 3; i++) {
		close(card);
		close(guest);
		card = guest = -1;
		accept_agent();
		await(&card, HV_EV_GUEST, &r);
		assert_int_equal(r.guest.id[15], 4);
		assert_int_equal(dpu_le32_get(r.guest.pid), pid);
		assert_int_equal(dpu_le32_get(r.guest.generation), 1);
		assert_int_equal(guest_state(), HV_INFO_RUNNING);
	}
	assert_int_equal(spawn(5), HV_OK);
}

static void an_end_without_a_card_is_told_later(void **state)
{
	union any r;
	pid_t pid;

	(void)state;
	assert_int_equal(spawn(6), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	pid = (pid_t)dpu_le32_get(r.guest.pid);
	run_guest("");
	close(card);
	card = -1;
	kill(pid, SIGKILL);
	while (kill(pid, 0) == 0)
		assert_int_equal(hv_agent_turn(agent, TURN_MS), 0);
	accept_agent();
	await(&card, HV_EV_ENDED, &r);
	assert_int_equal(r.guest.id[15], 6);
	assert_int_equal(r.guest.signal, SIGKILL);
}

static void the_card_kills(void **state)
{
	union any r;

	(void)state;
	assert_int_equal(spawn(7), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	kill_guest(7, HV_OK);
	await(&card, HV_EV_ENDED, &r);
	assert_int_equal(r.guest.signal, SIGKILL);
	kill_guest(7, HV_E_ID); // it was told of its end, and has nothing more to choose
}

static void what_is_wrong_is_refused(void **state)
{
	union any r = { .guest = { .id = { [15] = 9 } } };

	(void)state;
	assert_int_equal(ask_agent(HV_AGENT_KILL, &r, sizeof(r.guest)), HV_E_ID);
	assert_int_equal(spawn(0), HV_E_FIELD); // no name
	memset(&r, 0, sizeof(r));
	r.spawn.id[15] = 8;
	r.spawn.reserved[0] = 1;
	assert_int_equal(ask_agent(HV_AGENT_SPAWN, &r, sizeof(r.spawn)), HV_E_FIELD);
	assert_int_equal(spawn(8), HV_OK);
	assert_int_equal(spawn(8), HV_E_ID);
	memset(&r, 0, sizeof(r));
	r.guest.id[15] = 8;
	r.guest.pid = dpu_le32_put(1);
	assert_int_equal(ask_agent(HV_AGENT_KILL, &r, sizeof(r.guest)), HV_E_FIELD);
	assert_int_equal(ask_agent(HV_AGENT_KILL, &r, sizeof(r.guest) - 1), HV_E_LENGTH);
	seq--; // it did not count
	assert_int_equal(ask_agent(HV_CREATE, &r, sizeof(r.create)), HV_E_TYPE);
	seq += 3;
	assert_int_equal(spawn(9), HV_E_SEQUENCE);
}

static void nobody_left_to_command_it(void **state)
{
	union any r;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(spawn(10), HV_OK);
	await(&card, HV_EV_GUEST, &r);
	pid = (pid_t)dpu_le32_get(r.guest.pid);
	run_guest("");
	assert_int_equal(guest_state(), HV_INFO_RUNNING);
	hv_agent_destroy(agent);
	agent = NULL;
	// The card still has it.
	send_to(guest, HV_QUERY, 502, &r, sizeof(r.h), -1);
	do
		assert_true(recv(guest, &r, sizeof(r), 0) > 0);
	while (dpu_le16_get(r.h.type) != HV_INFO);
	assert_int_equal(r.info.state, HV_INFO_RUNNING);
	close(guest);
	guest = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == HV_END_STOPPED);
}

static void a_program_that_cannot_be_run(void **state)
{
	struct hv_agent_conf conf = { .card_path = path, .argv = argv_of_guest, .retry_ms = 10 };
	union any r;

	(void)state;
	hv_agent_destroy(agent);
	close(card);
	conf.exe_fd = open("/dev/null", O_PATH | O_CLOEXEC);
	assert_int_equal(hv_agent_create(&conf, &agent), 0);
	accept_agent();
	assert_int_equal(spawn(11), HV_OK);
	await(&card, HV_EV_ENDED, &r);
	assert_int_equal(r.guest.end, HV_END_ERROR);
	// What has ended is kept for the card to choose, and there is an end to that.
	for (unsigned i = 0; i < 256; i++) {
		memset(&r, 0, sizeof(r));
		r.spawn.id[0] = 1;
		r.spawn.id[1] = (uint8_t)i;
		assert_int_equal(ask_agent(HV_AGENT_SPAWN, &r, sizeof(r.spawn)),
			i < 255 ? HV_OK : HV_E_MEMORY);
	}
	close(conf.exe_fd);
}

/* Who could be anybody gets no word, and no guests. */
static void a_card_of_another_user(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	uint64_t end = dpu_now_ns() + PATIENCE_NS;
	union any r;
	pid_t other;
	int status;

	(void)state;
	if (geteuid() != 0)
		skip();
	close(card);
	close(listener);
	unlink(path);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof(un)), 0);
	other = fork();
	if (other == 0) // it is who listens that counts
		_exit(setresuid(1000, 1000, 1000) || listen(listener, 4));
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(status, 0);
	while ((card = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
		assert_true(errno == EAGAIN && dpu_now_ns() < end);
		assert_int_equal(hv_agent_turn(agent, TURN_MS), 0);
	}
	while (recv(card, &r, sizeof(r), MSG_DONTWAIT) != 0) {
		assert_true(errno == EAGAIN && dpu_now_ns() < end);
		assert_int_equal(hv_agent_turn(agent, TURN_MS), 0);
	}
}

static void sigterm_ends_the_agent(void **state)
{
	int ret = 0;

	(void)state;
	kill(getpid(), SIGTERM);
	while (ret == 0)
		ret = hv_agent_turn(agent, TURN_MS);
	assert_int_equal(ret, -ESHUTDOWN);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(a_guest_comes_and_goes),
		T(an_end_closes_what_was_its), T(an_end_is_known_until_the_card_has_chosen),
		T(a_vcpu_that_breaks_out_is_killed), T(guests_outlive_their_card),
		T(an_end_without_a_card_is_told_later), T(the_card_kills),
		T(what_is_wrong_is_refused), T(nobody_left_to_command_it),
		T(a_program_that_cannot_be_run), T(a_card_of_another_user),
		T(sigterm_ends_the_agent) };
	int failed;

	exe_fd = argc == 2 ? open(argv[1], O_PATH | O_CLOEXEC) : -1;
	if (exe_fd < 0 || !mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/agents", dir);
	dpu_log_level_set(DPU_LOG_ERR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
