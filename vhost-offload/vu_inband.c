// SPDX-License-Identifier: Apache-2.0
/* Carries kicks, calls and errors between messages and the eventfds that workers know. */
#include "vu_inband.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dpu_alloc.h"

static unsigned n_sides(const struct vu_session *s)
{
	return s->dev->n_queues * VU_INBAND_KINDS;
}

static struct vu_inband_side *side_of(struct vu_session *s, unsigned idx, enum vu_inband_kind kind)
{
	return &s->inband->side[idx * VU_INBAND_KINDS + kind];
}

int vu_inband_open(struct vu_session *s)
{
	struct vu_inband *ib;

	if (s->inband)
		return 0;
	ib = dpu_calloc(1, sizeof(*ib));
	if (!ib)
		return -ENOMEM;
	ib->side = dpu_calloc(n_sides(s), sizeof(*ib->side));
	if (!ib->side) {
		free(ib);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n_sides(s); i++) {
		ib->side[i].s = s;
		ib->side[i].idx = (uint16_t)(i / VU_INBAND_KINDS);
		ib->side[i].kind = (uint8_t)(i % VU_INBAND_KINDS);
	}
	s->inband = ib;
	vu_asks_open(s);
	return 0;
}

static void unwatch(struct vu_session *s, void **watch)
{
	const struct vho_loop *loop = s->dev->host->loop;

	if (*watch)
		loop->unwatch(loop->arg, *watch);
	*watch = NULL;
}

void vu_inband_close(struct vu_session *s)
{
	if (!s->inband)
		return;
	for (unsigned i = 0; i < n_sides(s); i++)
		unwatch(s, &s->inband->side[i].watch);
	free(s->inband->side);
	free(s->inband);
	s->inband = NULL;
}

static void set_due(struct vu_inband_side *side, bool due)
{
	struct vu_inband *ib = side->s->inband;

	if (side->due == due)
		return;
	side->due = due;
	ib->n_due += due ? 1 : -1u;
}

/* ---- from a worker to the front-end ---- */

/* One message at most: the next one waits for its answer. */
static void send_due(struct vu_session *s)
{
	static const uint32_t request[VU_INBAND_KINDS] = {
		[VU_INBAND_CALL] = VU_BACKEND_VRING_CALL,
		[VU_INBAND_ERR] = VU_BACKEND_VRING_ERR,
	};
	struct vu_inband *ib = s->inband;
	struct vu_inband_side *side;

	if (ib->n_due == 0 || !vu_asks_free(s))
		return;
	do {
		side = &ib->side[ib->next];
		ib->next = (ib->next + 1) % n_sides(s);
	} while (!side->due);
	set_due(side, false);

	const struct vu_vring_state state = { .index = side->idx };

	vu_ask(s, request[side->kind], &state, sizeof(state), -1);
}

void vu_inband_run(struct vu_session *s)
{
	if (s->inband && s->inband->n_due && vho_dev_any_started(s->dev))
		send_due(s);
}

/* Empty an eventfd and remember that something was in it. It is ours alone: no read waits. */
static void collect(struct vu_inband_side *side)
{
	const struct vho_dev_queue *dq = &side->s->dev->queues[side->idx];
	uint64_t n;

	if (read(side->kind == VU_INBAND_CALL ? dq->call_fd : dq->err_fd, &n, sizeof(n)) > 0)
		set_due(side, true);
}

static void on_signal(void *arg)
{
	struct vu_inband_side *side = arg;

	collect(side);
	vu_inband_run(side->s);
}

void vu_inband_stopped(struct vu_session *s, unsigned idx)
{
	if (!s->inband || !side_of(s, idx, VU_INBAND_CALL)->own)
		return;
	collect(side_of(s, idx, VU_INBAND_CALL));
	send_due(s);
}

/* ---- rings ---- */

void vu_inband_told(struct vu_session *s, unsigned idx, enum vu_inband_kind kind)
{
	struct vu_inband_side *side;

	if (!s->inband)
		return;
	side = side_of(s, idx, kind);
	unwatch(s, &side->watch);
	set_due(side, false);
	side->own = false;
	side->told = true;
}

static int watch_side(struct vu_inband_side *side, int fd)
{
	const struct vho_loop *loop = side->s->dev->host->loop;

	side->watch = loop->watch(loop->arg, fd, on_signal, side);
	return side->watch ? 0 : -ENOMEM;
}

int vu_inband_ring(struct vu_session *s, unsigned idx)
{
	for (unsigned kind = 0; s->inband && kind < VU_INBAND_KINDS; kind++) {
		struct vu_inband_side *side = side_of(s, idx, kind);
		int fd;

		if (side->told || side->own)
			continue;
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (watch_side(side, fd)) {
			close(fd);
			return -ENOMEM;
		}
		side->own = true;
		if (kind == VU_INBAND_CALL)
			vho_dev_queue_set_call(s->dev, idx, fd);
		else
			vho_dev_queue_set_err(s->dev, idx, fd);
	}
	return 0;
}

int vu_inband_kick(struct vu_session *s, struct vu_msg *m)
{
	unsigned idx = m->p.state.index;
	struct vho_dev_queue *dq;
	int fd, ret;

	if (idx >= s->dev->n_queues || m->p.state.num != 0)
		return -EINVAL;
	dq = &s->dev->queues[idx];
	if (dq->has_kick) {
		vho_notify_fd(dq->kick_fd); // -1: it is polled
		return 0;
	}
	ret = vu_inband_ring(s, idx);
	if (ret)
		return ret;
	fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	vho_dev_queue_set_kick(s->dev, idx, fd);
	return vho_dev_queue_try_start(s->dev, idx);
}

int vu_inband_resume(struct vu_session *s)
{
	for (unsigned i = 0; s->inband && i < n_sides(s); i++) {
		struct vu_inband_side *side = &s->inband->side[i];
		const struct vho_dev_queue *dq = &s->dev->queues[side->idx];

		if (side->own &&
			watch_side(side, side->kind == VU_INBAND_CALL ? dq->call_fd : dq->err_fd))
			return -ENOMEM;
	}
	return 0;
}
