// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: the card's commands to a guest without KVM, in any order and of any content, with
 * any descriptors. What is not refused reaches a guest that knows its own states.
 *
 * Input: records, each a byte (bits 0-3: descriptors, see below; bit 4: with a good header; bit 5:
 * the guest has something to tell meanwhile) and a byte with its type, then as much as the type is
 * long of what is left.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "dpu_log.h"
#include "fake_machine.h"
#include "hv_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int image_fd, plain_fd, stream_fd, stream_end;

static void set_up(void)
{
	int p[2];

	image_fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	plain_fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (image_fd < 0 || plain_fd < 0 || write(image_fd, "k", 1) != 1 ||
		fcntl(image_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p))
		abort();
	stream_fd = p[0];
	stream_end = p[1];
	dpu_log_level_set(DPU_LOG_ERR);
}

/* Descriptors by two bits each: none, an image, a stream, something else. */
static unsigned choose(unsigned bits, int *fd)
{
	const int kinds[] = { -1, image_fd, stream_fd, plain_fd };
	unsigned n = 0;

	for (unsigned i = 0; i < 2; i++)
		if (bits >> 2 * i & 3)
			fd[n++] = kinds[bits >> 2 * i & 3];
	return n;
}

static size_t len_of(unsigned type)
{
	switch (type) {
	case HV_HELLO:
		return sizeof(struct hv_rec_hello);
	case HV_CREATE:
		return sizeof(struct hv_rec_create);
	case HV_ADD:
	case HV_REMOVE:
	case HV_RECONNECT:
		return sizeof(struct hv_rec_function);
	case HV_CONSOLE_IN:
		return sizeof(struct hv_rec_bytes);
	case HV_GROW:
		return sizeof(struct hv_rec_grow);
	default:
		return sizeof(struct hv_rec_hdr);
	}
}

static void say(int card, const void *rec, size_t len, const int *fd, unsigned n)
{
	union {
		char room[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} u = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)rec, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		msg.msg_control = u.room;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		u.align = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.align), fd, n * sizeof(int));
	}
	if (sendmsg(card, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		abort();
}

/* Every answer has the one length that its header tells. */
static void listen_to(int card)
{
	uint8_t got[sizeof(struct hv_rec_create) + 1];
	struct hv_rec_hdr h;
	ssize_t n;

	while ((n = recv(card, got, sizeof(got), MSG_DONTWAIT)) > 0) {
		memcpy(&h, got, sizeof(h));
		if ((size_t)n < sizeof(h) || dpu_le32_get(h.len) != (uint32_t)n ||
			dpu_le32_get(h.magic) != HV_PROTO_MAGIC)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct hv_control_conf conf = { 0 };
	struct hv_control *c;
	uint32_t seq = 0;
	int p[2], over = 0;

	if (!ready)
		set_up();
	ready = true;
	fake_machine_reset();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p))
		abort();
	conf.fd = p[1];
	if (hv_control_create(&conf, &c))
		abort();
	while (len >= 2 && !over) {
		uint8_t rec[sizeof(struct hv_rec_create)] = { 0 };
		unsigned how = data[0], type = data[1];
		size_t want = len_of(type), n = len - 2 < want ? len - 2 : want;
		int fd[2];

		memcpy(rec, data + 2, n);
		data += 2 + n;
		len -= 2 + n;
		if (how & 16) {
			struct hv_rec_hdr h = { dpu_le32_put(HV_PROTO_MAGIC),
				dpu_le16_put(HV_PROTO_VERSION), dpu_le16_put((uint16_t)type),
				dpu_le32_put((uint32_t)want), dpu_le32_put(seq) };

			memcpy(rec, &h, sizeof(h));
			seq++;
		}
		if (how & 32 && fake_machine.alive) {
			fake_machine_print(rec, 64);
			fake_machine.wants = how;
			fake_machine.end = how & 64 ? HV_END_REBOOT : HV_END_NONE;
			fake_machine_wake();
		}
		say(p[0], rec, how & 16 ? want : n, fd, choose(how & 15, fd));
		for (int i = 0; i < 2 && !over; i++)
			over = hv_control_turn(c, 0);
		listen_to(p[0]);
	}
	hv_control_destroy(c);
	close(p[0]);
	if (fake_machine.alive)
		abort();
	return 0;
}
