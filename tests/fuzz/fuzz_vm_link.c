// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: what an agent or a guest's process says to the card, records of any content, in any
 * order, with any descriptors. Only whole records of the other side's types are let through, each
 * answer belongs to the oldest command, and no descriptor is left over.
 *
 * Input: a byte (bit 0: the other side is a guest), then records, each a byte (bits 0-1:
 * descriptors; bit 2: with a good header; bit 3: with the number that is due; bit 4: the card sends
 * a command meanwhile; bit 5: it takes what there is at once; bit 6: the other side goes) and one
 * with its type, then as much as the type is long of what is left.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_log.h"
#include "vm_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct {
	enum hv_type type;
	size_t len;
	unsigned peers; // bits by enum card_vm_peer
} types[] = {
	{ HV_DONE, sizeof(struct hv_rec_done), 3 },
	{ HV_HELLO_DONE, sizeof(struct hv_rec_hello), 3 },
	{ HV_INFO, sizeof(struct hv_rec_info), 2 },
	{ HV_COUNTED, sizeof(struct hv_rec_counted), 2 },
	{ HV_EV_STATE, sizeof(struct hv_rec_info), 2 },
	{ HV_EV_CONSOLE, sizeof(struct hv_rec_bytes), 2 },
	{ HV_EV_WANT, sizeof(struct hv_rec_function), 2 },
	{ HV_EV_LOG, sizeof(struct hv_rec_log), 2 },
	{ HV_EV_GUEST, sizeof(struct hv_rec_agent_guest), 1 },
	{ HV_EV_ENDED, sizeof(struct hv_rec_agent_guest), 1 },
	{ HV_CREATE, sizeof(struct hv_rec_create), 0 }, // nothing that comes to the card
};
#define TYPES (sizeof(types) / sizeof(types[0]))

struct side {
	enum card_vm_peer peer;
	struct card_vm_link *link; // NULL: closed
	int fd; // the other side's end
	uint32_t event_seq;
	uint32_t due[CARD_VM_LINK_QUEUE]; // numbers of commands that came
	unsigned came, answered; // counted on for ever
	uint64_t cookie, taken;
};

static struct event_base *base;

static bool on_record(void *arg, struct card_vm_record *r)
{
	struct side *s = arg;
	unsigned i = 0;

	while (i < TYPES && types[i].type != r->type)
		i++;
	if (i == TYPES || !(types[i].peers & 1u << s->peer) || r->len != types[i].len ||
		(r->fd >= 0) != (r->type == HV_EV_GUEST))
		abort();
	if (r->type < HV_EV_STATE && r->cookie != s->taken++)
		abort();
	return r->bytes[r->len - 1] != 0xff;
}

static void on_closed(void *arg, enum card_vm_close why)
{
	struct side *s = arg;

	if (!card_vm_close_name(why))
		abort();
	s->link = NULL;
}

static const struct card_vm_link_ops ops = { on_record, on_closed };

static void command(struct side *s)
{
	struct hv_rec_hdr rec;

	if (card_vm_link_send(s->link, s->cookie % 2 ? HV_QUERY : HV_COUNTERS, s->cookie + 1, &rec,
		    sizeof(rec), NULL, 0) == 0)
		s->cookie++;
}

/* The commands that are there: their numbers. */
static void hear(struct side *s)
{
	struct hv_rec_hello rec;

	while (s->came - s->answered < CARD_VM_LINK_QUEUE &&
		recv(s->fd, &rec, sizeof(rec), MSG_DONTWAIT) > 0)
		s->due[s->came++ % CARD_VM_LINK_QUEUE] = dpu_le32_get(rec.h.seq);
}

static uint32_t number_due(struct side *s, enum hv_type type)
{
	if (type >= HV_EV_STATE)
		return s->event_seq++;
	return s->answered == s->came ? 0 : s->due[s->answered++ % CARD_VM_LINK_QUEUE];
}

static void say(int fd, const void *rec, size_t len, unsigned n)
{
	const int some[3] = { fd, fd, fd };
	union {
		char room[CMSG_SPACE(sizeof(some))];
		struct cmsghdr align;
	} u = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)rec, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		msg.msg_control = u.room;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		u.align = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&u.align), some, n * sizeof(int));
	}
	(void)sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT); // when there is room
}

static void turn(struct side *s, unsigned how)
{
	if (how & 32)
		card_vm_link_drain(s->link);
	else
		(void)event_base_loop(base, EVLOOP_NONBLOCK);
}

/* One record of the input. How many bytes it took. */
static size_t one(struct side *s, const uint8_t *data, size_t len)
{
	uint8_t rec[sizeof(struct hv_rec_create)] = { 0 };
	unsigned how = data[0], t = data[1] % TYPES;
	size_t n = len - 2 < types[t].len ? len - 2 : types[t].len;

	memcpy(rec, data + 2, n);
	if (how & 16)
		command(s);
	hear(s);
	if (how & 4) {
		struct hv_rec_hdr h = { dpu_le32_put(HV_PROTO_MAGIC),
			dpu_le16_put(HV_PROTO_VERSION), dpu_le16_put((uint16_t)types[t].type),
			dpu_le32_put((uint32_t)types[t].len), { { 0 } } };

		memcpy(&h.seq, rec + offsetof(struct hv_rec_hdr, seq), sizeof(h.seq));
		if (how & 8)
			h.seq = dpu_le32_put(number_due(s, types[t].type));
		memcpy(rec, &h, sizeof(h));
	}
	say(s->fd, rec, how & 4 ? types[t].len : n, how & 3);
	if (how & 64)
		shutdown(s->fd, SHUT_RDWR);
	turn(s, how);
	return 2 + n;
}

static int lowest_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct side s = { .fd = -1 };
	int p[2], free_fd;

	if (!base) {
		base = event_base_new();
		dpu_log_level_set(DPU_LOG_ERR);
	}
	if (len == 0)
		return 0;
	free_fd = lowest_fd();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
		abort();
	s.fd = p[0];
	s.peer = data[0] & 1 ? CARD_VM_GUEST : CARD_VM_AGENT;
	if (card_vm_link_open(base, p[1], s.peer, &ops, &s, &s.link))
		abort();
	data++;
	len--;
	while (len >= 2 && s.link) {
		size_t n = one(&s, data, len);

		data += n;
		len -= n;
	}
	card_vm_link_close(s.link);
	close(s.fd);
	if (lowest_fd() != free_fd)
		abort();
	return 0;
}
