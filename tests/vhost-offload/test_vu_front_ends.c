// SPDX-License-Identifier: Apache-2.0
/*
 * Other projects' front-ends, replayed: the device comes up, pauses, is reset, migrates, and comes
 * up again for the same front-end after a lost connection, with every answer of the shape they
 * expect.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "dpu_log.h"
#include "front_ends.h"
#include "vu_side.h"

#define REGION (FRONT_MEM_SIZE / 4)
#define STATE_MAX 65536

/* What a front-end keeps over a lost connection. */
struct keeps {
	struct side s;
	struct vu_inflight inflight;
	int inflight_fd;
	uint8_t state[STATE_MAX];
	size_t state_len;
	uint64_t offered, protocol; // as the back-end answered
	int kick[4], call[4];
	int backend;
};

static struct vu_region region(uint64_t i)
{
	return (struct vu_region){ FRONT_GPA + i * REGION, REGION, FRONT_UVA + i * REGION,
		i * REGION };
}

/* ---- one request: its payload and descriptors ---- */

struct out {
	struct vu_msg m;
	uint32_t size;
	int fds[VU_TABLE_MAX];
	unsigned n_fds;
};

static void add_fd(struct out *o, int fd)
{
	o->fds[o->n_fds++] = fd;
}

static void ring_message(const struct keeps *k, const struct fe_step *t, struct out *o)
{
	uint64_t at = FRONT_UVA + t->a * 0x10000;

	switch (t->request) {
	case VU_SET_VRING_ADDR: // each ring in 64 KiB of its own
		o->size = sizeof(o->m.p.addr);
		o->m.p.addr = (struct vu_vring_addr){
			.index = (uint32_t)t->a,
			.flags = t->flags & LOG ? 1 : 0,
			.desc = at,
			.avail = at + 0x8000,
			.used = at + 0xc000,
			.log = t->flags & LOG ? FRONT_GPA + t->a * 0x10000 + 0xc000 : 0,
		};
		break;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
		o->size = sizeof(o->m.p.u64);
		o->m.p.u64 = t->a;
		add_fd(o, t->request == VU_SET_VRING_KICK ? k->kick[t->a] : k->call[t->a]);
		break;
	default:
		o->size = sizeof(o->m.p.state);
		o->m.p.state = (struct vu_vring_state){ (uint32_t)t->a, t->b };
		break;
	}
}

static void memory_message(const struct keeps *k, const struct fe_step *t, struct out *o)
{
	if (t->request == VU_ADD_MEM_REG) {
		o->size = sizeof(o->m.p.region);
		o->m.p.region = (struct vu_single_region){ .region = region(t->a) };
		add_fd(o, k->s.f.mem_fd);
		return;
	}
	o->size = (uint32_t)(8 + (t->a > t->b ? t->a : t->b) * sizeof(struct vu_region));
	o->m.p.table = (struct vu_table){ .n = (uint32_t)t->a };
	for (uint64_t i = 0; i < t->a; i++) {
		o->m.p.table.region[i] = region(i);
		add_fd(o, k->s.f.mem_fd);
	}
}

static void build(struct keeps *k, const struct fe_step *t, struct out *o)
{
	o->size = 0;
	o->n_fds = 0;
	memset(&o->m.p, 0, sizeof(o->m.p));
	switch (t->request) {
	case VU_SET_FEATURES:
		o->size = 8;
		o->m.p.u64 = (t->a & k->offered) | (t->flags & LOG ? 1ull << VU_F_LOG_ALL : 0);
		break;
	case VU_SET_PROTOCOL_FEATURES:
		o->size = 8;
		o->m.p.u64 = t->a & k->protocol;
		break;
	case VU_SET_MEM_TABLE:
	case VU_ADD_MEM_REG:
		memory_message(k, t, o);
		break;
	case VU_SET_VRING_NUM:
	case VU_SET_VRING_ADDR:
	case VU_SET_VRING_BASE:
	case VU_GET_VRING_BASE:
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ENABLE:
	case VU_VRING_KICK:
		ring_message(k, t, o);
		break;
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		o->size = (uint32_t)offsetof(struct vu_config, bytes) + t->b;
		o->m.p.config = (struct vu_config){
			.off = (uint32_t)t->a, .size = t->b, .flags = t->c
		};
		break;
	case VU_GET_INFLIGHT_FD:
		o->size = sizeof(o->m.p.inflight);
		o->m.p.inflight.n_queues = (uint16_t)t->a;
		o->m.p.inflight.queue_size = (uint16_t)t->b;
		break;
	case VU_SET_INFLIGHT_FD:
		o->size = sizeof(o->m.p.inflight);
		o->m.p.inflight = k->inflight;
		add_fd(o, k->inflight_fd);
		break;
	case VU_SET_LOG_BASE: // one bit a page up to the last byte, as Cloud Hypervisor counts
		o->size = sizeof(o->m.p.log);
		o->m.p.log.size = (FRONT_GPA + FRONT_MEM_SIZE - 1) / (4096 * 8) + 1;
		add_fd(o, memfd_create("log", MFD_CLOEXEC));
		assert_int_equal(ftruncate(o->fds[0], (off_t)o->m.p.log.size), 0);
		break;
	case VU_SET_BACKEND_REQ_FD:
		add_fd(o, k->backend);
		break;
	case VU_SET_DEVICE_STATE_FD:
		o->size = sizeof(o->m.p.transfer);
		o->m.p.transfer = (struct vu_transfer){ (uint32_t)t->a, 0 };
		add_fd(o, k->call[0]); // theirs is a pipe's end, which ours takes no part in
		break;
	default:
		break;
	}
}

/* ---- its answer ---- */

static void state_channel(struct keeps *k, const struct fe_step *t, int fd)
{
	assert_true(fd >= 0);
	if (t->a == 0) {
		ssize_t n = read(fd, k->state, STATE_MAX);

		assert_true(n > 0);
		k->state_len = (size_t)n;
		assert_int_equal(read(fd, k->state + n, 1), 0);
	} else {
		assert_int_equal(write(fd, k->state, k->state_len), k->state_len);
	}
}

/* Requests that have an answer of their own: 0 when this one has none. */
static bool answered(struct keeps *k, const struct fe_step *t, const struct vu_msg *m, int *fd)
{
	size_t size = sizeof(m->p.u64);

	switch (t->request) {
	case VU_GET_FEATURES:
		k->offered = m->p.u64;
		break;
	case VU_GET_PROTOCOL_FEATURES:
		k->protocol = m->p.u64;
		break;
	case VU_GET_QUEUE_NUM: // Cloud Hypervisor refuses a back-end that has fewer than it needs
		assert_true(m->p.u64 >= 1);
		break;
	case VU_GET_VRING_BASE:
		assert_int_equal(m->p.state.index, t->a);
		break;
	case VU_GET_CONFIG:
		size = offsetof(struct vu_config, bytes) + t->b;
		assert_int_equal(m->p.config.size, t->b);
		assert_int_equal(m->p.config.off, t->a);
		break;
	case VU_GET_INFLIGHT_FD:
		size = sizeof(m->p.inflight);
		assert_true(*fd >= 0 && m->p.inflight.mmap_size > 0);
		k->inflight = m->p.inflight;
		k->inflight_fd = *fd;
		*fd = -1;
		break;
	case VU_SET_LOG_BASE:
	case VU_CHECK_DEVICE_STATE:
		assert_int_equal(m->p.u64, 0);
		break;
	case VU_SET_DEVICE_STATE_FD:
		assert_int_equal(m->p.u64, 0);
		state_channel(k, t, *fd);
		break;
	default:
		return false;
	}
	assert_int_equal(m->h.size, size);
	return true;
}

static void send_step(struct keeps *k, const struct fe_step *t)
{
	struct out o;
	struct vu_msg m;
	bool own;
	int fd = -1, n;

	build(k, t, &o);
	front_send(&k->s.f, t->request, VU_FLAG_VERSION | (t->flags & NR ? VU_FLAG_NEED_REPLY : 0),
		&o.m.p, o.size, o.fds, o.n_fds);
	if (t->request == VU_SET_LOG_BASE)
		close(o.fds[0]);
	n = front_recv(&k->s.f, &m, &fd);
	if (n >= 0) {
		assert_int_equal(m.h.request, t->request);
		own = answered(k, t, &m, &fd);
		if (!own) { // an acknowledgement: only when asked for
			assert_true(t->flags & NR);
			assert_int_equal(n, 8);
			assert_int_equal(m.p.u64, 0);
		}
	} else {
		assert_int_equal(n, -EAGAIN);
		assert_false(t->flags & NR);
	}
	if (fd >= 0)
		close(fd);
	assert_int_equal(front_recv(&k->s.f, &m, NULL), -EAGAIN); // and no second answer
}

/* ---- a whole sequence ---- */

static void assert_rings(const struct keeps *k, unsigned n, bool running, bool net)
{
	struct vho_queue_info info;

	for (unsigned i = 0; i < n; i++) {
		vho_dev_queue_info(k->s.dev, i, &info);
		// A transmitq that is disabled discards; it runs for that
		assert_int_equal(info.running, running || (net && i % 2 == 1 && info.running));
		assert_false(info.broken);
	}
}

static void assert_now(struct keeps *k, const struct front_end *f, const struct fe_step *t)
{
	switch (t->request) {
	case THEN_UP:
		assert_rings(k, (unsigned)t->a, true, f->net);
		break;
	case THEN_PAUSED:
		assert_rings(k, (unsigned)t->a, false, f->net);
		break;
	case THEN_DOWN:
		assert_false(vho_dev_any_started(k->s.dev));
		break;
	case THEN_LOST:
		side_reconnect(&k->s);
		break;
	default:
		assert_true(false);
	}
}

static void replay(void **state)
{
	const struct front_end *f = *state;
	unsigned before = fake_open_fds();
	struct keeps *k = calloc(1, sizeof(*k));
	struct vho_vu_stats stats;
	int pair[2];

	assert_non_null(k);
	k->inflight_fd = -1;
	for (unsigned i = 0; i < 4; i++) {
		k->kick[i] = rig_eventfd();
		k->call[i] = rig_eventfd();
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	k->backend = pair[0];
	side_open(&k->s, f->net ? VHO_DEV_NET : VHO_DEV_BLK, f->n);
	for (const struct fe_step *t = f->steps; t->request != THEN_END; t++) {
		if (t->request >= THEN_UP)
			assert_now(k, f, t);
		else
			send_step(k, t);
		vho_vu_stats(k->s.vu, &stats);
		if (stats.rejected)
			print_error("%s, step %d\n", f->source, (int)(t - f->steps));
		assert_int_equal(stats.rejected, 0);
		assert_true(k->s.dev->connected);
	}
	side_close(&k->s);
	for (unsigned i = 0; i < 4; i++) {
		close(k->kick[i]);
		close(k->call[i]);
	}
	if (k->inflight_fd >= 0)
		close(k->inflight_fd);
	close(pair[0]);
	close(pair[1]);
	free(k);
	assert_int_equal(fake_open_fds(), before);
}

int main(void)
{
	int failed = 0, fd = rig_eventfd();

	if (mbuf_env_start(NULL))
		return 1;
	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	RUN_ROWS(front_ends, replay, failed);
	return failed;
}
