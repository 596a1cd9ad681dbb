// SPDX-License-Identifier: Apache-2.0
/* A connection to an agent or a guest's process: what is wrong ends it, whatever it is. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "vm_link.h"

static struct event_base *base;
static struct card_vm_link *link_;
static int peer; // the other end
static uint32_t seq; // of the hello
static unsigned records;
static enum card_vm_close closed; // CARD_VM_CLOSES: it is not
static bool good;

static bool on_record(void *arg, struct card_vm_record *r)
{
	(void)arg;
	(void)r;
	records++;
	return good;
}

static void on_closed(void *arg, enum card_vm_close why)
{
	(void)arg;
	closed = why;
	link_ = NULL;
}

static const struct card_vm_link_ops ops = { .record = on_record, .closed = on_closed };

/* The header that the card put on what it sent. */
static struct hv_rec_hdr sent(void)
{
	union {
		struct hv_rec_hdr h;
		uint8_t raw[4096];
	} r;

	assert_true(recv(peer, &r, sizeof(r), MSG_DONTWAIT) > 0);
	return r.h;
}

static void say(unsigned type, uint32_t number, size_t said, size_t len, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr c;
	} u = { .c = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	union {
		struct hv_rec_hdr h;
		struct hv_rec_done done;
		uint8_t raw[4096];
	} r = { .raw = { 0 } };
	struct iovec iov = { &r, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	r.h = (struct hv_rec_hdr){ dpu_le32_put(HV_PROTO_MAGIC), dpu_le16_put(HV_PROTO_VERSION),
		dpu_le16_put((uint16_t)type), dpu_le32_put((uint32_t)said), dpu_le32_put(number) };
	if (fd >= 0) {
		memcpy(CMSG_DATA(&u.c), &fd, sizeof(fd));
		msg.msg_control = u.room;
		msg.msg_controllen = sizeof(u.room);
	}
	assert_int_equal(sendmsg(peer, &msg, MSG_NOSIGNAL), len);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void begin(enum card_vm_peer kind)
{
	int p[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p), 0);
	peer = p[1];
	records = 0;
	closed = CARD_VM_CLOSES;
	good = true;
	assert_int_equal(card_vm_link_open(base, p[0], kind, &ops, NULL, &link_), 0);
	seq = dpu_le32_get(sent().seq);
	// What another card process left to be read is passed over.
	say(kind == CARD_VM_GUEST ? HV_EV_WANT : HV_EV_ENDED, 9, kind == CARD_VM_GUEST ? 24 : 48,
		kind == CARD_VM_GUEST ? 24 : 48, -1);
	say(HV_DONE, seq + 7, 24, 24, -1);
	assert_int_equal(records, 0);
	say(HV_HELLO_DONE, seq, 24, 24, -1);
	assert_int_equal(records, 1);
}

static void finish(enum card_vm_close why)
{
	assert_int_equal(closed, why);
	card_vm_link_close(link_);
	link_ = NULL;
	close(peer);
}

static void what_is_wrong_ends_it(void **state)
{
	static const struct {
		enum card_vm_peer peer;
		unsigned type;
		size_t said, len;
		bool fd;
		enum card_vm_close why;
	} wrong[] = {
		{ CARD_VM_GUEST, HV_EV_WANT, 24, 23, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_WANT, 25, 25, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_WANT, 23, 24, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_CONSOLE, 280, 281, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_CONSOLE, 280, 4000, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_WANT, 24, 3, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_EV_WANT, 24, 24, true, CARD_VM_BAD_FDS },
		{ CARD_VM_GUEST, HV_EV_GUEST, 48, 48, true, CARD_VM_BAD_TYPE },
		{ CARD_VM_AGENT, HV_EV_GUEST, 48, 48, false, CARD_VM_BAD_FDS },
		{ CARD_VM_AGENT, HV_EV_CONSOLE, 280, 280, false, CARD_VM_BAD_TYPE },
		{ CARD_VM_GUEST, HV_CREATE, 2208, 2208, false, CARD_VM_BAD_LENGTH },
		{ CARD_VM_GUEST, HV_START, 16, 16, false, CARD_VM_BAD_TYPE },
		{ CARD_VM_GUEST, HV_DONE, 24, 24, false, CARD_VM_BAD_SEQUENCE },
		{ CARD_VM_GUEST, HV_INFO, 40, 40, false, CARD_VM_BAD_SEQUENCE },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		begin(wrong[i].peer);
		say(wrong[i].type, 1, wrong[i].said, wrong[i].len, wrong[i].fd ? 0 : -1);
		assert_int_equal(records, 1);
		finish(wrong[i].why);
	}
}

static void events_are_counted(void **state)
{
	(void)state;
	begin(CARD_VM_GUEST);
	say(HV_EV_WANT, 0xffffffff, 24, 24, -1);
	say(HV_EV_WANT, 0, 24, 24, -1);
	assert_int_equal(records, 3);
	say(HV_EV_WANT, 2, 24, 24, -1);
	finish(CARD_VM_BAD_SEQUENCE);
}

static void an_answer_is_to_what_was_asked(void **state)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };

	(void)state;
	begin(CARD_VM_GUEST);
	assert_int_equal(card_vm_link_send(link_, HV_START, 5, &none, sizeof(none), NULL, 0), 0);
	assert_int_equal(card_vm_link_send(link_, HV_QUERY, 6, &none, sizeof(none), NULL, 0), 0);
	say(HV_DONE, seq + 1, 24, 24, -1);
	assert_int_equal(records, 2);
	say(HV_COUNTED, seq + 2, 176, 176, -1);
	finish(CARD_VM_BAD_SEQUENCE);
	begin(CARD_VM_GUEST);
	good = false;
	say(HV_EV_WANT, 1, 24, 24, -1);
	finish(CARD_VM_BAD_FIELD);
}

static int has_timeout(const struct event_base *b, const struct event *ev, void *arg)
{
	(void)b;
	*(bool *)arg |= event_pending(ev, EV_TIMEOUT, NULL) != 0;
	return 0;
}

static bool has_deadline(void)
{
	bool ends = false;

	event_base_foreach_event(base, has_timeout, &ends);
	return ends;
}

/* A guest that is held up answers when it can: no look at its counters may end it. */
static void a_look_has_no_deadline(void **state)
{
	struct hv_rec_hdr none = { .seq = dpu_le32_put(0) };

	(void)state;
	begin(CARD_VM_GUEST);
	assert_false(has_deadline());
	card_vm_link_send(link_, HV_COUNTERS, 0, &none, sizeof(none), NULL, 0);
	assert_false(has_deadline());
	card_vm_link_send(link_, HV_START, 0, &none, sizeof(none), NULL, 0);
	assert_true(has_deadline());
	say(HV_COUNTED, seq + 1, 176, 176, -1);
	assert_true(has_deadline());
	card_vm_link_send(link_, HV_COUNTERS, 0, &none, sizeof(none), NULL, 0);
	say(HV_DONE, seq + 2, 24, 24, -1);
	assert_false(has_deadline());
	finish(CARD_VM_CLOSES);
}

/* One that takes nothing: what is kept for it is bounded, descriptors are not lost. */
static void a_peer_that_takes_nothing(void **state)
{
	struct hv_rec_bytes b = { .n = { { 0 } } };
	unsigned n = 0;
	int ret, fd;

	(void)state;
	begin(CARD_VM_GUEST);
	do {
		fd = dup(0);
		ret = card_vm_link_send(link_, HV_CONSOLE_IN, 0, &b, sizeof(b), &fd, 1);
		n += ret == 0;
	} while (ret == 0);
	assert_int_equal(ret, -ENOBUFS);
	assert_int_equal(n, CARD_VM_LINK_QUEUE);
	ret = dup(0);
	assert_true(ret <= fd + CARD_VM_LINK_QUEUE);
	close(ret);
	// As it takes them, the others follow.
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(dpu_le32_get(sent().seq), seq + 1 + i);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	finish(CARD_VM_CLOSES);
}

static void what_is_left_is_taken(void **state)
{
	struct hv_rec_function f = { .slot = 1 };

	(void)state;
	begin(CARD_VM_GUEST);
	for (uint32_t i = 0; i < 40; i++) {
		f.h = (struct hv_rec_hdr){ dpu_le32_put(HV_PROTO_MAGIC),
			dpu_le16_put(HV_PROTO_VERSION), dpu_le16_put(HV_EV_WANT),
			dpu_le32_put(sizeof(f)), dpu_le32_put(i) };
		assert_int_equal(send(peer, &f, sizeof(f), MSG_NOSIGNAL), sizeof(f));
	}
	card_vm_link_drain(link_);
	assert_int_equal(records, 41);
	assert_int_equal(closed, CARD_VM_CLOSES);
	shutdown(peer, SHUT_RDWR);
	card_vm_link_drain(link_);
	card_vm_link_drain(NULL);
	finish(CARD_VM_GONE);
}

static void one_that_goes(void **state)
{
	(void)state;
	begin(CARD_VM_AGENT);
	shutdown(peer, SHUT_RDWR);
	event_base_loop(base, EVLOOP_NONBLOCK);
	finish(CARD_VM_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_ends_it),
		cmocka_unit_test(events_are_counted),
		cmocka_unit_test(an_answer_is_to_what_was_asked),
		cmocka_unit_test(a_look_has_no_deadline),
		cmocka_unit_test(a_peer_that_takes_nothing),
		cmocka_unit_test(what_is_left_is_taken),
		cmocka_unit_test(one_that_goes),
	};
	int ret;

	base = event_base_new();
	ret = base ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
	event_base_free(base);
	return ret;
}
