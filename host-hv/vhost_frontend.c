// SPDX-License-Identifier: Apache-2.0
/* vhost-user, the front-end's side: the next message that the card needs, and its answer. */
#include "vhost_frontend.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fds.h"
#include "irq.h"
#include "vhost_priv.h"

#define ANSWER_MS 5000
#define ASK_MS 100 // between the first connections that come to nothing; twice as long each time
#define ASK_MAX_MS 1600
#define TURN 64 // messages of a card in one go

int hv_vhost_watch(struct hv_vhost *v, int fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	return epoll_ctl(v->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* 0: no more. */
static void arm(struct hv_vhost *v, unsigned ms)
{
	const struct itimerspec t = { .it_value = { ms / 1000, ms % 1000 * 1000000l } };

	(void)timerfd_settime(v->timer_fd, 0, &t, NULL); // with our own arguments it works
}

void hv_vhost_wake(struct hv_vhost *v)
{
	(void)eventfd_write(v->wake_fd, 1); // ours alone; it fails only when it is readable anyway
}

void hv_vhost_kick(struct hv_vhost *v, unsigned ring)
{
	v->rings[ring].kick = true;
	hv_vhost_wake(v);
}

/* ---- the card goes ---- */

/* A split ring says itself how far it was served; of a packed one the inflight region does. */
static void ring_crashed(struct hv_vhost *v, struct hv_vhost_ring *r)
{
	const volatile uint16_t *idx = (const volatile uint16_t *)(void *)hv_vm_at(
		v->conf.vm, r->device + 2, 2);

	r->crashed = true;
	if (!packed(v) && r->device % 4 == 0 && idx)
		r->base = *idx;
}

/* counter: what kind of end it is, NULL: none that is counted. */
static void drop(struct hv_vhost *v, uint64_t *counter, const char *why)
{
	if (counter)
		(*counter)++;
	if (v->fd < 0)
		return;
	dpu_warn_ratelimited("vhost: connection dropped", "stage=%u why=%s", v->stage, why);
	// Closing it would not do: the card may have a copy.
	(void)epoll_ctl(v->epoll_fd, EPOLL_CTL_DEL, v->fd, NULL);
	hv_fd_close(&v->fd);
	hv_fd_close(&v->channel_fd);
	hv_vu_clear(&v->rx);
	hv_vu_clear(&v->channel_rx);
	v->counters.drops++;
	v->stage = DOWN;
	v->waiting = false;
	v->told = (struct hv_vhost_told){ .slots = 0 };
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->n_rings; i++) {
		struct hv_vhost_ring *r = &v->rings[i];

		if (r->step >= RUNS)
			ring_crashed(v, r);
		r->step = NONE;
	}
	pthread_mutex_unlock(&v->lock);
	arm(v, v->ask_ms);
	if (v->ask_ms == 0)
		v->conf.ev->lost(v->conf.arg);
	v->ask_ms = v->ask_ms == 0 ? ASK_MS : v->ask_ms < ASK_MAX_MS ? v->ask_ms * 2 : ASK_MAX_MS;
}

/* ---- its answer ---- */

/* A step of the handshake: whether a card that says this of itself will do. */
static void judge(struct hv_vhost *v, bool fit, const char *what)
{
	if (fit)
		v->stage++;
	else
		drop(v, &v->counters.unfit, what);
}

static void got_features(struct hv_vhost *v, uint64_t bits)
{
	v->card_features = bits;
	// One that comes back must offer all that the driver was shown
	judge(v, (bits & BIT(VU_F_PROTOCOL_FEATURES)) && !(v->offered & ~bits), "features");
}

static void free_rings(struct hv_vhost *v)
{
	while (v->n_rings > 0)
		hv_fd_close(&v->rings[--v->n_rings].kick_fd);
}

static bool make_rings(struct hv_vhost *v, uint64_t n)
{
	if (v->known)
		return n >= v->n_rings;
	free_rings(v); // of a card that went before it was known
	if (n == 0 || n > HV_VHOST_RINGS_MAX)
		return false;
	while (v->n_rings < n)
		v->rings[v->n_rings++] = (struct hv_vhost_ring){
			.call_fd = -1, .call_sent = -1, .kick_fd = -1, .fresh = true
		};
	return true;
}

static void got_rings(struct hv_vhost *v, uint64_t n)
{
	bool control = v->conf.has_control && (v->card_features & BIT(VIRTIO_NET_F_CTRL_VQ));

	judge(v, make_rings(v, n + control), "number of rings");
}

static void got_config(struct hv_vhost *v, const struct hv_vhost_rx *rx)
{
	const uint8_t *bytes = rx->payload + offsetof(struct vu_config, bytes);
	bool first = v->stage == CONFIG, differs;

	if (rx->h.size != offsetof(struct vu_config, bytes) + v->conf.config_len) {
		drop(v, &v->counters.unfit, "configuration space");
		return;
	}
	pthread_mutex_lock(&v->lock);
	differs = v->dirty == v->dirty_end && memcmp(v->config, bytes, v->conf.config_len) != 0;
	if (differs)
		memcpy(v->config, bytes, v->conf.config_len);
	pthread_mutex_unlock(&v->lock);
	if (first)
		v->stage = UP;
	if (v->known) {
		if (differs)
			v->conf.ev->changed(v->conf.arg);
		return;
	}
	v->offered = v->card_features & ~TRANSPORT;
	v->known = true;
	v->conf.ev->known(v->conf.arg);
}

static void got_inflight(struct hv_vhost *v, struct hv_vhost_rx *rx)
{
	struct vu_inflight *s = &v->inflight.shape;

	memset(s, 0, sizeof(*s));
	if (rx->n_fds != 1 || rx->h.size < offsetof(struct vu_inflight, padding) ||
		rx->h.size > sizeof(*s)) {
		drop(v, &v->counters.nonsense, "inflight region");
		return;
	}
	memcpy(s, rx->payload, rx->h.size);
	s->n_queues = (uint16_t)v->n_rings;
	s->queue_size = HV_VHOST_RING_SIZE;
	v->inflight.fd = rx->fds[0];
	rx->n_fds = 0;
}

/* A step of a ring is done. */
static void ring_stepped(struct hv_vhost *v)
{
	struct hv_vhost_ring *r = &v->rings[v->sent_ring];

	if (v->sent == VU_SET_VRING_CALL)
		r->call_sent = v->sent_call;
	if (r->step == ENABLED)
		return;
	r->step++;
	if (r->step == BASE)
		r->fresh = false;
	if (r->step != ENABLED || !r->crashed)
		return;
	r->crashed = false;
	v->conf.ev->call(v->conf.arg, (unsigned)v->sent_ring); // one that the last card owed
}

/* A request without an answer of its own was taken. */
static void taken(struct hv_vhost *v)
{
	pthread_mutex_lock(&v->lock);
	if (v->sent == VU_SET_OWNER || v->sent == VU_SET_PROTOCOL_FEATURES ||
		v->sent == VU_SET_BACKEND_REQ_FD)
		v->stage++;
	else if (v->sent == VU_SET_FEATURES)
		v->told.features = true;
	else if (v->sent == VU_SET_MEM_TABLE)
		v->told.slots = v->sent_slots;
	else if (v->sent == VU_SET_INFLIGHT_FD)
		v->told.inflight = true;
	else if (v->sent == VU_SET_STATUS)
		v->told.status = v->sent_status;
	else if (v->sent == VU_RESET_DEVICE)
		hv_vhost_end_reset(v);
	else if (v->sent_ring >= 0)
		ring_stepped(v);
	pthread_mutex_unlock(&v->lock);
}

/* 2.1.2: until the driver resets it. */
static void set_broken(struct hv_vhost *v)
{
	pthread_mutex_lock(&v->lock);
	v->broken = true;
	pthread_mutex_unlock(&v->lock);
	v->conf.ev->changed(v->conf.arg);
}

static void refused(struct hv_vhost *v)
{
	v->counters.refusals++;
	dpu_warn_ratelimited("vhost: refused", "request=%u ring=%u", v->sent, v->sent_ring);
	if (v->sent == VU_SET_CONFIG) // the driver's own values may be refused
		v->config_stale = true;
	else if (v->sent_ring >= 0) // as may its rings, and another connection would not help
		set_broken(v);
	else
		drop(v, NULL, "a request was refused");
}

static void got_base(struct hv_vhost *v, const struct hv_vhost_rx *rx)
{
	struct vu_vring_state s;

	memcpy(&s, rx->payload, sizeof(s));
	pthread_mutex_lock(&v->lock);
	v->rings[v->sent_ring].base = s.num;
	v->rings[v->sent_ring].step = NONE;
	pthread_mutex_unlock(&v->lock);
}

static void answered(struct hv_vhost *v, struct hv_vhost_rx *rx)
{
	uint64_t u64;

	memcpy(&u64, rx->payload, sizeof(u64)); // all of it where the length is looked at
	if (v->sent == VU_GET_CONFIG)
		got_config(v, rx);
	else if (v->sent == VU_GET_INFLIGHT_FD)
		got_inflight(v, rx);
	else if (rx->h.size != sizeof(uint64_t))
		drop(v, &v->counters.nonsense, "length of an answer");
	else if (v->sent == VU_GET_FEATURES)
		got_features(v, u64);
	else if (v->sent == VU_GET_PROTOCOL_FEATURES)
		judge(v, (u64 & PF_NEEDED) == PF_NEEDED, "protocol features");
	else if (v->sent == VU_GET_QUEUE_NUM)
		got_rings(v, u64);
	else if (v->sent == VU_GET_VRING_BASE)
		got_base(v, rx);
	else if (u64 == 0)
		taken(v);
	else
		refused(v);
}

static void pump(struct hv_vhost *v)
{
	for (;;) {
		struct msg m;
		bool some;
		int ret;

		if (v->waiting)
			return;
		pthread_mutex_lock(&v->lock);
		some = hv_vhost_next(v, &m);
		pthread_mutex_unlock(&v->lock);
		if (!some) {
			v->ask_ms = v->stage == UP ? 0 : v->ask_ms;
			return;
		}
		ret = hv_vu_send(v->fd, &m);
		hv_fd_close(&m.close_fd);
		if (ret) {
			drop(v, NULL, strerror(-ret));
			continue;
		}
		v->sent = m.h.request;
		v->sent_ring = m.ring;
		v->waiting = m.waits;
		if (m.waits) {
			arm(v, ANSWER_MS);
			return;
		}
		taken(v);
	}
}

/* ---- events ---- */

static void on_card(struct hv_vhost *v)
{
	struct hv_vhost_rx *rx = &v->rx;

	for (unsigned i = 0; v->fd >= 0 && i < TURN; i++) {
		int ret = hv_vu_receive(v->fd, rx);

		if (ret == 0)
			return;
		if (ret == 1 && (!v->waiting || rx->h.request != v->sent ||
					rx->h.flags != (VU_FLAG_VERSION | VU_FLAG_REPLY)))
			ret = -EPROTO;
		if (ret < 0) {
			drop(v, ret == -EPROTO ? &v->counters.nonsense : NULL, strerror(-ret));
			return;
		}
		v->waiting = false;
		arm(v, 0);
		answered(v, rx);
		hv_vu_clear(rx);
		pump(v);
	}
}

/* A request of the card's. An answer that it does not read ends the channel. */
static int serve(struct hv_vhost *v, const struct hv_vhost_rx *rx)
{
	struct msg m = { .h = { rx->h.request, VU_FLAG_VERSION | VU_FLAG_REPLY, sizeof(m.p.u64) } };

	if ((rx->h.flags & ~VU_FLAG_NEED_REPLY) != VU_FLAG_VERSION)
		return -EPROTO;
	if (rx->h.request == VU_BACKEND_CONFIG_CHANGE)
		v->config_stale = true;
	else
		m.p.u64 = 1;
	return rx->h.flags & VU_FLAG_NEED_REPLY ? hv_vu_send(v->channel_fd, &m) : 0;
}

static void on_channel(struct hv_vhost *v)
{
	for (unsigned i = 0; v->channel_fd >= 0 && i < TURN; i++) {
		int ret = hv_vu_receive(v->channel_fd, &v->channel_rx);

		if (ret == 0)
			return;
		if (ret == 1)
			ret = serve(v, &v->channel_rx);
		hv_vu_clear(&v->channel_rx);
		if (ret < 0) {
			v->counters.nonsense += ret == -EPROTO;
			hv_fd_close(&v->channel_fd);
		}
	}
}

static void on_timer(struct hv_vhost *v)
{
	uint64_t n;

	if (read(v->timer_fd, &n, sizeof(n)) != sizeof(n))
		return;
	if (v->fd < 0)
		v->conf.ev->lost(v->conf.arg);
	else if (v->waiting)
		drop(v, &v->counters.timeouts, "no answer");
}

void hv_vhost_run(struct hv_vhost *v)
{
	eventfd_t count;

	(void)eventfd_read(v->wake_fd, &count);
	on_card(v); // first: an answer that is there is in time
	on_channel(v);
	on_timer(v);
	if (hv_irq_take(v->err_fd))
		set_broken(v);
	pump(v);
}

/* ---- life ---- */

int hv_vhost_reconnect(struct hv_vhost *v, int fd)
{
	int ret;

	drop(v, NULL, "another connection");
	ret = hv_vhost_watch(v, fd);
	if (ret)
		return ret;
	v->fd = fd;
	v->stage = OWNER;
	v->counters.connects++;
	hv_vhost_wake(v);
	return 0;
}

bool hv_vhost_settled(const struct hv_vhost *v)
{
	return v->stage == UP && !v->waiting; // or it would be waiting for another one
}

int hv_vhost_init(struct hv_vhost *v, const struct hv_vhost_conf *conf)
{
	int ret = 0;

	*v = (struct hv_vhost){ .conf = *conf, .fd = -1, .channel_fd = -1, .inflight.fd = -1 };
	pthread_mutex_init(&v->lock, NULL); // fails by its attributes only
	v->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	v->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	v->err_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (v->epoll_fd < 0 || v->wake_fd < 0 || v->timer_fd < 0 || v->err_fd < 0)
		ret = -errno;
	const int fds[] = { v->wake_fd, v->timer_fd, v->err_fd };

	for (unsigned i = 0; ret == 0 && i < sizeof(fds) / sizeof(fds[0]); i++)
		ret = hv_vhost_watch(v, fds[i]);
	if (ret)
		hv_vhost_fini(v);
	return ret;
}

void hv_vhost_fini(struct hv_vhost *v)
{
	hv_vu_clear(&v->rx);
	hv_vu_clear(&v->channel_rx);
	hv_fd_close(&v->fd);
	hv_fd_close(&v->channel_fd);
	hv_fd_close(&v->inflight.fd);
	free_rings(v);
	hv_fd_close(&v->err_fd);
	hv_fd_close(&v->timer_fd);
	hv_fd_close(&v->wake_fd);
	hv_fd_close(&v->epoll_fd);
	pthread_mutex_destroy(&v->lock);
}
