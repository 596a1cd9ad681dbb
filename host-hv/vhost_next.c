// SPDX-License-Identifier: Apache-2.0
/* What a card is to be told next: the difference between what the driver wants and what it has. */
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fds.h"
#include "irq.h"
#include "vhost_priv.h"

/* Of the features that a card has, VU_PF_REPLY_ACK gives a request without an answer one. */
enum answer { NO_ANSWER, ITS_OWN, ACK };

/* Always true, as is what those below return: there is a message. */
static bool ask(struct msg *m, uint32_t request, size_t size, enum answer answer)
{
	m->h = (struct vu_header){ request,
		VU_FLAG_VERSION | (answer == ACK ? VU_FLAG_NEED_REPLY : 0), (uint32_t)size };
	m->waits = answer != NO_ANSWER;
	return true;
}

static bool ask_config(struct hv_vhost *v, struct msg *m)
{
	m->p.config = (struct vu_config){ .size = v->conf.config_len };
	return ask(
		m, VU_GET_CONFIG, offsetof(struct vu_config, bytes) + v->conf.config_len, ITS_OWN);
}

/* Our end of a pair, for requests of the card's; the other one goes out. */
static bool offer_channel(struct hv_vhost *v, struct msg *m)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return false;
	if (hv_vhost_watch(v, pair[0])) {
		close(pair[0]);
		close(pair[1]);
		return false;
	}
	v->channel_fd = pair[0];
	m->fds[m->n_fds++] = m->close_fd = pair[1];
	return ask(m, VU_SET_BACKEND_REQ_FD, 0, ACK);
}

static bool next_of_handshake(struct hv_vhost *v, struct msg *m)
{
	static const struct {
		uint32_t request, size;
		enum answer answer;
	} plain[] = {
		[OWNER] = { VU_SET_OWNER, 0, NO_ANSWER },
		[FEATURES] = { VU_GET_FEATURES, 0, ITS_OWN },
		[PF_GET] = { VU_GET_PROTOCOL_FEATURES, 0, ITS_OWN },
		[PF_SET] = { VU_SET_PROTOCOL_FEATURES, sizeof(uint64_t), NO_ANSWER },
		[QUEUES] = { VU_GET_QUEUE_NUM, 0, ITS_OWN },
	};

	if (v->stage == CHANNEL && offer_channel(v, m))
		return true;
	if (v->stage >= CHANNEL) {
		v->stage = CONFIG; // without a channel we learn of changes as the card reconnects
		return ask_config(v, m);
	}
	m->p.u64 = PF_NEEDED;
	return ask(m, plain[v->stage].request, plain[v->stage].size, plain[v->stage].answer);
}

static bool ask_state(struct msg *m, uint32_t request, unsigned ring, uint32_t num)
{
	m->ring = (int)ring;
	m->p.state = (struct vu_vring_state){ ring, num };
	return ask(m, request, sizeof(m->p.state), request == VU_GET_VRING_BASE ? ITS_OWN : ACK);
}

static bool ask_fd(struct msg *m, uint32_t request, unsigned ring, int fd)
{
	m->ring = (int)ring;
	m->p.u64 = ring | (fd < 0 ? VU_VRING_NOFD : 0);
	if (fd >= 0)
		m->fds[m->n_fds++] = fd;
	return ask(m, request, sizeof(m->p.u64), ACK);
}

static bool ask_status(struct hv_vhost *v, struct msg *m, uint64_t status)
{
	v->sent_status = status;
	m->p.u64 = status;
	return ask(m, VU_SET_STATUS, sizeof(m->p.u64), ACK);
}

static bool ask_memory(struct hv_vhost *v, struct msg *m)
{
	struct vu_table *t = &m->p.table;
	const struct hv_vm *vm = v->conf.vm;

	*t = (struct vu_table){ .n = vm->n_slots };
	v->sent_slots = vm->n_slots;
	for (unsigned i = 0; i < vm->n_slots; i++) {
		const struct hv_slot *s = &vm->slots[i];

		t->region[i] = (struct vu_region){ s->gpa, s->len, s->gpa, s->off };
		m->fds[m->n_fds++] = s->fd;
	}
	return ask(m, VU_SET_MEM_TABLE, 8 + t->n * sizeof(t->region[0]), ACK);
}

static bool ask_inflight(const struct hv_vhost *v, struct msg *m)
{
	if (v->inflight.fd < 0) {
		m->p.inflight = (struct vu_inflight){ .n_queues = (uint16_t)v->n_rings,
			.queue_size = HV_VHOST_RING_SIZE };
		return ask(m, VU_GET_INFLIGHT_FD, sizeof(m->p.inflight), ITS_OWN);
	}
	m->p.inflight = v->inflight.shape;
	m->fds[m->n_fds++] = v->inflight.fd;
	return ask(m, VU_SET_INFLIGHT_FD, sizeof(m->p.inflight), ACK);
}

/* To another place or descriptor. What KVM has no room for leaves it, to hv_vhost_kick(). */
static void move_doorbell(struct hv_vhost *v, unsigned i, uint64_t to, int fd)
{
	int was = v->rings[i].kick_fd, ret = 0;

	if (v->doorbells && was >= 0)
		(void)hv_irq_no_doorbell(v->conf.vm, v->doorbells + i * HV_VHOST_DOORBELL, was);
	if (to && fd >= 0)
		ret = hv_irq_doorbell(v->conf.vm, to + i * HV_VHOST_DOORBELL, fd);
	if (ret)
		dpu_warn_ratelimited(
			"vhost: a doorbell without eventfd", "ring=%u err=%s", i, strerror(-ret));
}

void hv_vhost_place(struct hv_vhost *v, uint64_t doorbells)
{
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->n_rings; i++)
		move_doorbell(v, i, doorbells, v->rings[i].kick_fd);
	v->doorbells = doorbells;
	pthread_mutex_unlock(&v->lock);
}

/*
 * A write to an eventfd that the card has could be made to wait: one kick is in it before the card
 * has it, and later ones that do not come from KVM are messages.
 */
static bool ask_kick(struct hv_vhost *v, struct msg *m, unsigned i)
{
	struct hv_vhost_ring *r = &v->rings[i];
	int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC); // -1: the card polls

	move_doorbell(v, i, v->doorbells, fd);
	hv_fd_close(&r->kick_fd);
	r->kick_fd = fd;
	r->kick = false;
	return ask_fd(m, VU_SET_VRING_KICK, i, fd);
}

static bool ask_ring(struct hv_vhost *v, struct msg *m, unsigned i)
{
	struct hv_vhost_ring *r = &v->rings[i];

	switch (r->step) {
	case NONE:
		return ask_state(m, VU_SET_VRING_NUM, i, r->size);
	case NUM:
		if (r->fresh)
			r->base = packed(v) ? PACKED_BASE : 0;
		return ask_state(m, VU_SET_VRING_BASE, i, r->base);
	case BASE:
		m->ring = (int)i;
		m->p.addr = (struct vu_vring_addr){
			.index = i, .desc = r->desc, .avail = r->driver, .used = r->device
		};
		return ask(m, VU_SET_VRING_ADDR, sizeof(m->p.addr), ACK);
	case ADDR:
		return ask_fd(m, VU_SET_VRING_ERR, i, v->err_fd);
	case CALL:
		return ask_kick(v, m, i);
	case RUNS:
		return ask_state(m, VU_SET_VRING_ENABLE, i, 1);
	default: // ERR, or ENABLED and the vector changed
		v->sent_call = r->call_fd;
		return ask_fd(m, VU_SET_VRING_CALL, i, r->call_fd);
	}
}

void hv_vhost_end_reset(struct hv_vhost *v)
{
	hv_fd_close(&v->inflight.fd);
	v->told = (struct hv_vhost_told){ .slots = 0 };
	for (unsigned i = 0; i < v->n_rings; i++) {
		v->rings[i].fresh = true;
		v->rings[i].crashed = v->rings[i].resetting = false;
	}
	v->resetting = v->broken = false;
	v->conf.ev->reset(v->conf.arg);
}

/* Its rings are to run. The lock is held. */
static bool to_run(const struct hv_vhost *v)
{
	return v->run && v->mastering && !v->resetting && !v->broken;
}

bool hv_vhost_knows_memory(const struct hv_vhost *v)
{
	return !v->told.slots || v->told.slots == v->conf.vm->n_slots;
}

static bool next_of_stop(struct hv_vhost *v, struct msg *m)
{
	bool running = to_run(v);

	for (unsigned i = 0; i < v->n_rings; i++) {
		struct hv_vhost_ring *r = &v->rings[i];

		if (r->step != NONE && (!running || !r->enabled || r->resetting))
			return ask_state(m, VU_GET_VRING_BASE, i, 0);
		if (r->resetting) {
			r->fresh = true;
			r->crashed = r->resetting = false;
		}
	}
	if (!v->resetting)
		return false;
	if (v->told.features)
		return ask(m, VU_RESET_DEVICE, 0, ACK);
	hv_vhost_end_reset(v);
	return false;
}

static bool next_of_start(struct hv_vhost *v, struct msg *m)
{
	if (!to_run(v))
		return false;
	if (!v->told.features) {
		m->p.u64 = v->features | BIT(VU_F_PROTOCOL_FEATURES);
		return ask(m, VU_SET_FEATURES, sizeof(m->p.u64), ACK);
	}
	if (!v->told.slots)
		return ask_memory(v, m);
	if (!v->told.status)
		return ask_status(v, m, STATUS_FEATURES);
	if (!v->told.inflight)
		return ask_inflight(v, m);
	for (unsigned i = 0; i < v->n_rings; i++) {
		const struct hv_vhost_ring *r = &v->rings[i];

		if (!r->enabled || (r->step == ENABLED && r->call_sent == r->call_fd))
			continue;
		return ask_ring(v, m, i);
	}
	if (!(v->told.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return ask_status(v, m, STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned i = 0; i < v->n_rings; i++)
		if (v->rings[i].enabled && v->rings[i].kick) {
			v->rings[i].kick = false;
			return ask_state(m, VU_VRING_KICK, i, 0);
		}
	return false;
}

bool hv_vhost_next(struct hv_vhost *v, struct msg *m)
{
	*m = (struct msg){ .ring = -1, .close_fd = -1 };
	if (v->stage == DOWN) {
		(void)next_of_stop(v, m); // nothing is in use, so nothing is asked
		return false;
	}
	if (v->stage != UP)
		return next_of_handshake(v, m);
	// All wait for it. Also while its driver holds it back, which may let it go on at any time.
	if (!hv_vhost_knows_memory(v))
		return ask_memory(v, m);
	if (v->dirty < v->dirty_end) {
		uint32_t n = v->dirty_end - v->dirty;

		m->p.config = (struct vu_config){ .off = v->dirty, .size = n };
		memcpy(m->p.config.bytes, v->config + v->dirty, n);
		ask(m, VU_SET_CONFIG, offsetof(struct vu_config, bytes) + n, ACK);
		v->dirty = v->dirty_end = 0;
		return true;
	}
	if (v->config_stale) {
		v->config_stale = false;
		return ask_config(v, m);
	}
	return next_of_stop(v, m) || next_of_start(v, m);
}
