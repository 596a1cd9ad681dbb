// SPDX-License-Identifier: Apache-2.0
/* Sends a request of ours, and hears its answer. */
#include "vu_ask.h"

#include <errno.h>
#include <sys/socket.h>

#include "dpu_log.h"
#include "vu_fd.h"
#include "vu_inband.h"
#include "vu_notifier.h"
#include "vu_session.h"

#define ANSWER_SIZE (sizeof(struct vu_header) + sizeof(uint64_t))

void vu_asks_open(struct vu_session *s)
{
	if (s->asks.on)
		return;
	s->asks.on = true;
	vu_asks_watch(s);
}

void vu_asks_close(struct vu_session *s)
{
	vu_asks_unwatch(s);
	s->asks.on = false;
}

bool vu_asks_free(const struct vu_session *s)
{
	return s->backend_fd >= 0 && s->asks.asked == 0;
}

void vu_ask(struct vu_session *s, uint32_t request, const void *payload, uint32_t size, int fd)
{
	s->asks.asked = request;
	(void)vu_session_request_fd(s, request, VU_FLAG_NEED_REPLY, payload, size, fd);
}

/* 0, -EAGAIN: not all of it is here; or what is wrong with it. */
static int take_answer(struct vu_session *s)
{
	struct vu_asks *a = &s->asks;
	struct vu_msg *m = &a->answer;

	while (a->have < ANSWER_SIZE) {
		bool head = a->have < sizeof(m->h);
		size_t off = head ? a->have : a->have - sizeof(m->h);
		ssize_t n = vu_receive(m, s->dev, s->backend_fd,
			(head ? (uint8_t *)&m->h : m->p.bytes) + off,
			(head ? sizeof(m->h) : sizeof(m->p.u64)) - off);

		if (n < 0)
			return (int)n;
		a->have += (size_t)n;
	}
	if (m->n_fds || a->asked == 0 || m->h.request != a->asked ||
		m->h.flags != (VU_FLAG_VERSION | VU_FLAG_REPLY) || m->h.size != sizeof(m->p.u64))
		return -EPROTO;
	return 0;
}

static void on_answer(void *arg)
{
	struct vu_session *s = arg;
	struct vu_asks *a = &s->asks;
	int ret = take_answer(s);

	if (ret == -EAGAIN)
		return;
	if (ret == 0) {
		uint32_t asked = a->asked;

		if (a->answer.p.u64)
			dpu_warn_ratelimited("vhost-user: request of ours refused",
				"dev=%s request=%u", s->dev->name, asked);
		a->asked = 0;
		a->have = 0;
		if (asked == VU_BACKEND_VRING_HOST_NOTIFIER)
			vu_notifier_answered(s, a->answer.p.u64 == 0);
		vu_inband_run(s);
		vu_notifier_run(s);
		return;
	}
	// There is no other way for them: who closes the channel does without, who spoils it is out
	vu_session_set_channel(s, -1);
	if (ret != -ECONNRESET) {
		s->rejects[VHO_VU_REJECT_HEADER]++;
		shutdown(s->fd, SHUT_RDWR);
	}
}

void vu_asks_unwatch(struct vu_session *s)
{
	const struct vho_loop *loop = s->dev->host->loop;
	struct vu_asks *a = &s->asks;

	if (!a->on)
		return;
	if (a->watch)
		loop->unwatch(loop->arg, a->watch);
	a->watch = NULL;
	for (unsigned i = 0; i < a->answer.n_fds; i++)
		(void)vu_fd_close(a->answer.fds[i], s->dev);
	a->answer.n_fds = 0;
	a->asked = 0;
	a->have = 0;
}

void vu_asks_watch(struct vu_session *s)
{
	const struct vho_loop *loop = s->dev->host->loop;

	if (!s->asks.on || s->backend_fd < 0)
		return;
	s->asks.watch = loop->watch(loop->arg, s->backend_fd, on_answer, s);
	if (!s->asks.watch)
		dpu_err("vhost-user: no memory to hear answers", "dev=%s", s->dev->name);
	vu_inband_run(s);
	vu_notifier_run(s);
}
