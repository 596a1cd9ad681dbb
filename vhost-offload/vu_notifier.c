// SPDX-License-Identifier: Apache-2.0
/* Offers pages for the guest's kicks, and takes them back. */
#include "vu_notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"

#define BIT(n) (1ull << (n))

static bool answers(const struct vu_session *s)
{
	return s->dev->protocol_features & BIT(VU_PF_REPLY_ACK);
}

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The file belongs to two processes then: neither can make it shorter under the other. */
static int make_pages(unsigned n)
{
	int fd = memfd_create("outboard-doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING), ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(n * page_size())) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int open_pages(struct vu_session *s)
{
	struct vu_notifiers *n;

	if (s->notifiers)
		return 0;
	n = dpu_calloc(1, sizeof(*n) + s->dev->n_queues * sizeof(n->state[0]));
	if (!n)
		return -ENOMEM;
	n->fd = make_pages(s->dev->n_queues);
	if (n->fd < 0) {
		int ret = n->fd;

		free(n);
		return ret;
	}
	s->notifiers = n;
	return 0;
}

/*
 * A worker that sleeps is woken by the ring's own kick, and finds it anew; where there is none it
 * looks by itself.
 */
static void set(struct vu_session *s, unsigned idx, enum vu_notifier_state state)
{
	bool polled = state == VU_NOTIFIER_ASKED || state == VU_NOTIFIER_THERE;
	struct vho_dev_queue *dq = &s->dev->queues[idx];

	s->notifiers->state[idx] = state;
	if (atomic_exchange_explicit(&dq->polled, polled, memory_order_release) == polled)
		return;
	if (polled)
		vho_notify_fd(dq->kick_fd);
}

int vu_notifier_features(struct vu_session *s)
{
	const uint64_t needs = BIT(VU_PF_HOST_NOTIFIER) | BIT(VU_PF_BACKEND_SEND_FD) |
			       BIT(VU_PF_BACKEND_REQ);
	int ret;

	if ((s->dev->protocol_features & needs) != needs) {
		vu_notifier_close(s);
		return 0;
	}
	ret = open_pages(s);
	if (ret == 0 && answers(s))
		vu_asks_open(s);
	return ret;
}

void vu_notifier_close(struct vu_session *s)
{
	if (!s->notifiers)
		return;
	for (unsigned i = 0; i < s->dev->n_queues; i++)
		set(s, i, VU_NOTIFIER_NONE);
	close(s->notifiers->fd);
	free(s->notifiers);
	s->notifiers = NULL;
}

static void offer(struct vu_session *s, unsigned idx)
{
	const struct vu_vring_area area = {
		.u64 = idx,
		.size = page_size(),
		.off = idx * page_size(),
	};

	if (!answers(s)) {
		set(s, idx, VU_NOTIFIER_THERE);
		(void)vu_session_request_fd(s, VU_BACKEND_VRING_HOST_NOTIFIER, 0, &area,
			sizeof(area), s->notifiers->fd);
		return;
	}
	set(s, idx, VU_NOTIFIER_ASKED);
	s->notifiers->asked = idx;
	vu_ask(s, VU_BACKEND_VRING_HOST_NOTIFIER, &area, sizeof(area), s->notifiers->fd);
}

void vu_notifier_stop(struct vu_session *s, unsigned idx)
{
	const struct vu_vring_area area = { .u64 = idx | VU_VRING_NOFD };
	enum vu_notifier_state state;

	if (!s->notifiers)
		return;
	state = s->notifiers->state[idx];
	set(s, idx, VU_NOTIFIER_NONE);
	// A suspended device sends nothing, and has no need to: the front-end suspended it
	if ((state == VU_NOTIFIER_ASKED || state == VU_NOTIFIER_THERE) &&
		vho_dev_any_started(s->dev))
		(void)vu_session_request(s, VU_BACKEND_VRING_HOST_NOTIFIER, 0, &area, sizeof(area));
}

void vu_notifier_run(struct vu_session *s)
{
	const struct vho_dev_type *type = s->dev->type;

	for (unsigned i = 0; s->notifiers && i < s->dev->n_queues; i++) {
		bool control = type->queue_is_control && type->queue_is_control(s->dev, i);

		if (!s->dev->queues[i].started) {
			if (s->notifiers->state[i] != VU_NOTIFIER_NONE)
				vu_notifier_stop(s, i);
			continue;
		}
		if (!control && s->notifiers->state[i] == VU_NOTIFIER_NONE && s->backend_fd >= 0 &&
			(!answers(s) || vu_asks_free(s)))
			offer(s, i);
	}
}

bool vu_notifier_asks(const struct vu_session *s)
{
	return s->asks.asked == VU_BACKEND_VRING_HOST_NOTIFIER;
}

void vu_notifier_answered(struct vu_session *s, bool mapped)
{
	struct vu_notifiers *n = s->notifiers;

	if (!n || n->state[n->asked] != VU_NOTIFIER_ASKED)
		return; // it has stopped meanwhile
	set(s, n->asked, mapped ? VU_NOTIFIER_THERE : VU_NOTIFIER_REFUSED);
	if (!mapped)
		dpu_info("vhost-user: page for kicks refused", "dev=%s queue=%u", s->dev->name,
			n->asked);
}
