// SPDX-License-Identifier: Apache-2.0
/* Records out of a bounded queue and in past a table. */
#include "vm_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_fds.h"
#include "dpu_log.h"

#define BURST 16 // records taken at one event: others have their turn, too
#define DRAIN 8192 // records that can be left of a process that ended, and more
#define ANSWER_S 30 // a command that has no answer by then has none

struct command {
	uint8_t *rec; // owned; NULL: it has been sent
	size_t len;
	int fds[HV_PROTO_FDS]; // owned until sent
	unsigned n_fds;
	enum hv_type type;
	uint32_t seq;
	uint64_t cookie;
};

struct card_vm_link {
	int fd; // owned
	enum card_vm_peer peer;
	const struct card_vm_link_ops *ops;
	void *arg;
	struct event *readable, *writable; // owned
	struct command queue[CARD_VM_LINK_QUEUE];
	unsigned head, sent, tail; // answered, sent, queued: counted on for ever
	unsigned urgent; // of those without an answer: that have to have one in time
	uint32_t next_seq, next_event;
	bool begun; // the other side has answered the hello
	bool event_seen; // next_event is known
};

static const struct {
	const char *name, *text;
} closes[CARD_VM_CLOSES] = {
	[CARD_VM_GONE] = { "gone", "closed by the other side" },
	[CARD_VM_BAD_HEADER] = { "header", "a record of another kind or version" },
	[CARD_VM_BAD_TYPE] = { "type", "a record that is not for the card" },
	[CARD_VM_BAD_LENGTH] = { "length", "not the length of the record's type" },
	[CARD_VM_BAD_FDS] = { "descriptors", "not the descriptors of the record's type" },
	[CARD_VM_BAD_SEQUENCE] = { "sequence",
		"an event left out, or an answer to what was not asked" },
	[CARD_VM_BAD_FIELD] = { "field", "a value that cannot be" },
	[CARD_VM_SILENT] = { "silent", "no answer in time" },
};

const char *card_vm_close_name(enum card_vm_close why)
{
	return closes[why].name;
}

const char *card_vm_close_text(enum card_vm_close why)
{
	return closes[why].text;
}

static const struct rule {
	size_t len;
	enum hv_type type;
	bool event;
	uint8_t peers; // bit by enum card_vm_peer
	uint8_t fds;
} rules[] = {
	{ sizeof(struct hv_rec_done), HV_DONE, false, 3, 0 },
	{ sizeof(struct hv_rec_hello), HV_HELLO_DONE, false, 3, 0 },
	{ sizeof(struct hv_rec_info), HV_INFO, false, 2, 0 },
	{ sizeof(struct hv_rec_counted), HV_COUNTED, false, 2, 0 },
	{ sizeof(struct hv_rec_info), HV_EV_STATE, true, 2, 0 },
	{ sizeof(struct hv_rec_bytes), HV_EV_CONSOLE, true, 2, 0 },
	{ sizeof(struct hv_rec_function), HV_EV_WANT, true, 2, 0 },
	{ sizeof(struct hv_rec_log), HV_EV_LOG, true, 2, 0 },
	{ sizeof(struct hv_rec_agent_guest), HV_EV_GUEST, true, 1, 1 },
	{ sizeof(struct hv_rec_agent_guest), HV_EV_ENDED, true, 1, 0 },
};

/* What answers a command when it succeeds; HV_DONE answers any. */
static enum hv_type answer_of(enum hv_type asked)
{
	switch (asked) {
	case HV_HELLO:
		return HV_HELLO_DONE;
	case HV_QUERY:
		return HV_INFO;
	case HV_COUNTERS:
		return HV_COUNTED;
	default:
		return HV_DONE;
	}
}

static struct command *at(struct card_vm_link *l, unsigned n)
{
	return &l->queue[n % CARD_VM_LINK_QUEUE];
}

static void close_fds(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static void forget(struct command *c)
{
	close_fds(c->fds, c->n_fds);
	c->n_fds = 0;
	free(c->rec);
	c->rec = NULL;
}

void card_vm_link_close(struct card_vm_link *l)
{
	if (!l)
		return;
	for (; l->sent != l->tail; l->sent++)
		forget(at(l, l->sent));
	if (l->readable)
		event_free(l->readable);
	if (l->writable)
		event_free(l->writable);
	close(l->fd);
	free(l);
}

static void fail(struct card_vm_link *l, enum card_vm_close why)
{
	const struct card_vm_link_ops *ops = l->ops;
	void *arg = l->arg;

	ops->closed(arg, why);
	card_vm_link_close(l);
}

/* ---- out ---- */

/* 0, -EAGAIN, or the errno of sendmsg(2). */
static int send_one(struct card_vm_link *l, struct command *c)
{
	union dpu_fds_room room;
	struct iovec iov = { c->rec, c->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	dpu_fds_put(&msg, &room, c->fds, c->n_fds);
	do
		n = sendmsg(l->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* As much as there is room for. A socket that is broken is found so where it is read. */
static void flush(struct card_vm_link *l)
{
	while (l->sent != l->tail) {
		struct command *c = at(l, l->sent);

		if (send_one(l, c)) {
			event_add(l->writable, NULL);
			return;
		}
		forget(c);
		l->sent++;
	}
}

/* What only looks does no harm when it has no answer, and must not end a guest that is held up. */
static bool is_urgent(enum hv_type type)
{
	return type != HV_COUNTERS;
}

static void watch_answer(struct card_vm_link *l)
{
	const struct timeval patience = { .tv_sec = ANSWER_S };

	// The timeout of an event that was added before begins anew.
	if (l->urgent)
		event_add(l->readable, &patience);
	else
		event_remove_timer(l->readable);
}

int card_vm_link_send(struct card_vm_link *l, enum hv_type type, uint64_t cookie, const void *rec,
	size_t len, const int *fds, unsigned n)
{
	struct command *c = at(l, l->tail);
	struct hv_rec_hdr h = { .magic = dpu_le32_put(HV_PROTO_MAGIC),
		.version = dpu_le16_put(HV_PROTO_VERSION),
		.type = dpu_le16_put((uint16_t)type),
		.len = dpu_le32_put((uint32_t)len),
		.seq = dpu_le32_put(l->next_seq) };

	uint8_t *copy = l->tail - l->head < CARD_VM_LINK_QUEUE ? dpu_calloc(1, len) : NULL;

	if (!copy) {
		close_fds(fds, n);
		return l->tail - l->head < CARD_VM_LINK_QUEUE ? -ENOMEM : -ENOBUFS;
	}
	memcpy(copy, rec, len);
	memcpy(copy, &h, sizeof(h));
	*c = (struct command){ .rec = copy,
		.len = len,
		.n_fds = n,
		.type = type,
		.seq = l->next_seq++,
		.cookie = cookie };
	for (unsigned i = 0; i < n; i++)
		c->fds[i] = fds[i];
	l->tail++;
	if (is_urgent(type) && l->urgent++ == 0)
		watch_answer(l);
	flush(l);
	return 0;
}

/* ---- in ---- */

struct received {
	struct hv_rec_hdr h;
	int fds[HV_PROTO_FDS];
	unsigned n_fds;
	bool cut; // more bytes or descriptors than there was room for
};

/* 1, 0 (gone), -EAGAIN. */
static int receive(struct card_vm_link *l, struct card_vm_record *r, struct received *in)
{
	union dpu_fds_room room;
	struct iovec iov = { r->bytes, sizeof(r->bytes) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room };
	ssize_t n;

	in->n_fds = 0;
	msg.msg_controllen = CMSG_SPACE(sizeof(in->fds));
	do
		n = recvmsg(l->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	in->n_fds = dpu_fds_take(&msg, in->fds, 0, HV_PROTO_FDS);
	in->cut = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	r->len = (size_t)n;
	return n == 0 && in->n_fds == 0 ? 0 : 1;
}

static const struct rule *rule_of(unsigned type, enum card_vm_peer peer)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].type == type && rules[i].peers & 1u << peer)
			return &rules[i];
	return NULL;
}

/* The oldest command that was sent, if this is its answer. */
static bool take_answer(struct card_vm_link *l, struct card_vm_record *r, uint32_t seq)
{
	struct command *c = at(l, l->head);

	if (l->head == l->sent || c->seq != seq ||
		(r->type != answer_of(c->type) && r->type != HV_DONE))
		return false;
	r->asked = c->type;
	r->cookie = c->cookie;
	l->head++;
	l->urgent -= is_urgent(c->type);
	watch_answer(l);
	return true;
}

/* Judge what came. CARD_VM_GONE: it is in order. */
static enum card_vm_close judge(
	struct card_vm_link *l, struct card_vm_record *r, const struct received *in, bool *old)
{
	const struct rule *rule;
	uint32_t seq;

	*old = false;
	if (r->len < sizeof(in->h) || in->cut)
		return CARD_VM_BAD_LENGTH;
	if (dpu_le32_get(in->h.magic) != HV_PROTO_MAGIC ||
		dpu_le16_get(in->h.version) != HV_PROTO_VERSION)
		return CARD_VM_BAD_HEADER;
	rule = rule_of(dpu_le16_get(in->h.type), l->peer);
	if (!rule)
		return CARD_VM_BAD_TYPE;
	if (r->len != rule->len || dpu_le32_get(in->h.len) != rule->len)
		return CARD_VM_BAD_LENGTH;
	if (in->n_fds != rule->fds)
		return CARD_VM_BAD_FDS;
	r->type = rule->type;
	seq = dpu_le32_get(in->h.seq);
	if (!rule->event && take_answer(l, r, seq)) {
		l->begun = true;
		return CARD_VM_GONE;
	}
	if (!l->begun) { // of the conversation with another card process
		*old = true;
		return CARD_VM_GONE;
	}
	if (!rule->event || (l->event_seen && seq != l->next_event))
		return CARD_VM_BAD_SEQUENCE;
	l->event_seen = true;
	l->next_event = seq + 1;
	return CARD_VM_GONE;
}

/* False: the link is no more, or there is nothing left to take. */
static bool take_one(struct card_vm_link *l)
{
	struct card_vm_record r = { .fd = -1 };
	enum card_vm_close why;
	struct received in;
	bool old, good;
	int ret = receive(l, &r, &in);

	if (ret == -EAGAIN)
		return false;
	if (ret == 0) {
		fail(l, CARD_VM_GONE);
		return false;
	}
	memcpy(&in.h, r.bytes, sizeof(in.h));
	why = judge(l, &r, &in, &old);
	good = why == CARD_VM_GONE;
	if (good && in.n_fds)
		r.fd = in.fds[0];
	else
		close_fds(in.fds, in.n_fds);
	if (good && !old && !l->ops->record(l->arg, &r)) {
		why = CARD_VM_BAD_FIELD;
		good = false;
	}
	if (r.fd >= 0)
		close(r.fd);
	if (!good)
		fail(l, why);
	return good;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct card_vm_link *l = arg;

	(void)fd;
	if (what & EV_TIMEOUT) {
		fail(l, CARD_VM_SILENT);
		return;
	}
	for (unsigned i = 0; i < BURST; i++)
		if (!take_one(l))
			return;
}

void card_vm_link_drain(struct card_vm_link *l)
{
	for (unsigned i = 0; l && i < DRAIN && take_one(l); i++)
		;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

int card_vm_link_open(struct event_base *base, int fd, enum card_vm_peer peer,
	const struct card_vm_link_ops *ops, void *arg, struct card_vm_link **out)
{
	struct hv_rec_hello hello = { .version = dpu_le16_put(HV_PROTO_VERSION) };
	struct card_vm_link *l = dpu_calloc(1, sizeof(*l));
	int ret;

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->fd = fd;
	l->peer = peer;
	l->ops = ops;
	l->arg = arg;
	// Another one than that of the card process before, whose answers may still be there.
	l->next_seq = (uint32_t)(dpu_now_ns() >> 10) | 1u;
	l->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->writable = event_new(base, fd, EV_WRITE, on_writable, l);
	ret = l->readable && l->writable && event_add(l->readable, NULL) == 0 ? 0 : -ENOMEM;
	if (!ret)
		ret = card_vm_link_send(l, HV_HELLO, 0, &hello, sizeof(hello), NULL, 0);
	if (ret) {
		card_vm_link_close(l);
		return ret;
	}
	*out = l;
	return 0;
}

/* ---- the listening end ---- */

int card_vm_accept(int listener)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
		(peer.uid != 0 && peer.uid != geteuid())) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

int card_vm_listen(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, ret = 0;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EAGAIN)
		ret = -EADDRINUSE;
	close(fd);
	if (ret)
		return ret;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(path); // of a card that died
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		listen(fd, 4) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}
