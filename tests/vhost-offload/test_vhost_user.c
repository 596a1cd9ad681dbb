// SPDX-License-Identifier: Apache-2.0
/* vhost-user requests: what each does, and what is refused. */
#include "vho_device.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fake_rig.h"
#include "postcopy.h"
#include "vu_session.h"

#define BIT(n) (1ull << (n))
#define W64(v) (uint32_t)((uint64_t)(v)), (uint32_t)((uint64_t)(v) >> 32)

static struct fake_rig rig;
static unsigned fds_before;

static int open_net(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	rig_open(&rig, VHO_DEV_NET);
	return 0;
}

/* Also the verdict on file descriptors: a test that leaves one open fails here. */
static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

/* ---- requests that must be refused, with and without an answer ---- */

enum fd_kind { FD_EVENT, FD_GUEST, FD_SOCKET, FD_SHORT };

static const struct bad_case {
	const char *name;
	uint32_t request;
	uint32_t words[20];
	uint32_t size; // bytes of `words`
	unsigned n_fds;
	enum fd_kind kind;
	bool blk; // on a disk
} bad_cases[] = {
	{ "VU-01 ring index is 32 bits", VU_SET_VRING_NUM, { 0x10000, 0x100 }, 8 },
	{ "VU-01 class: num, index one too high", VU_SET_VRING_NUM, { RIG_QUEUES, 64 }, 8 },
	{ "VU-01 class: base, index", VU_SET_VRING_BASE, { 0x10000, 0 }, 8 },
	{ "VU-01 class: get base, index", VU_GET_VRING_BASE, { 0xffffffff, 0 }, 8 },
	{ "VU-01 class: get base, index cut to 0", VU_GET_VRING_BASE, { 0x10000, 0 }, 8 },
	{ "VU-01 class: enable, index", VU_SET_VRING_ENABLE, { 0x10000, 1 }, 8 },
	{ "VU-01 class: addr, index", VU_SET_VRING_ADDR,
		{ 0x10000, 0, W64(FRONT_UVA), W64(FRONT_UVA), W64(FRONT_UVA), 0, 0 }, 40 },
	{ "VU-01 class: kick, index", VU_SET_VRING_KICK, { RIG_QUEUES }, 8, 1 },
	{ "VU-01 class: call, index", VU_SET_VRING_CALL, { RIG_QUEUES }, 8, 1 },
	{ "VU-01 class: err, index", VU_SET_VRING_ERR, { 0xff }, 8, 1 },
	{ "kick, bits beyond index and flag", VU_SET_VRING_KICK, { 0x10000 }, 8, 1 },
	{ "kick, high word", VU_SET_VRING_KICK, { 0, 1 }, 8, 1 },
	{ "kick, no fd and no flag", VU_SET_VRING_KICK, { 0 }, 8 },
	{ "kick, fd and flag", VU_SET_VRING_KICK, { VU_VRING_NOFD }, 8, 1 },
	{ "kick, two fds", VU_SET_VRING_KICK, { 0 }, 8, 2 },
	{ "kick, no eventfd", VU_SET_VRING_KICK, { 0 }, 8, 1, FD_SOCKET },
	{ "call, no eventfd", VU_SET_VRING_CALL, { 0 }, 8, 1, FD_GUEST },
	{ "err, no eventfd", VU_SET_VRING_ERR, { 0 }, 8, 1, FD_SOCKET },
	{ "num 0", VU_SET_VRING_NUM, { 0, 0 }, 8 },
	{ "num above the limit", VU_SET_VRING_NUM, { 0, 32769 }, 8 },
	{ "enable 2", VU_SET_VRING_ENABLE, { 0, 2 }, 8 },
	{ "VS-22 ring addresses 0", VU_SET_VRING_ADDR, { 0 }, 40 },
	{ "features not offered", VU_SET_FEATURES, { W64(BIT(41)) }, 8 },
	{ "protocol features not offered", VU_SET_PROTOCOL_FEATURES, { W64(BIT(7)) }, 8 },
	{ "VU-02 log size wraps", VU_SET_LOG_BASE, { W64(0xfffffffffffff000), W64(0x2000) }, 16, 1,
		FD_GUEST },
	{ "VU-02 log shorter than memory", VU_SET_LOG_BASE, { W64(63), W64(0) }, 16, 1, FD_GUEST },
	{ "VU-02 log beyond its file", VU_SET_LOG_BASE, { W64(4096), W64(FRONT_MEM_SIZE) }, 16, 1,
		FD_GUEST },
	{ "VU-02 log in no file", VU_SET_LOG_BASE, { W64(4096), W64(0) }, 16, 1, FD_EVENT },
	{ "log without fd", VU_SET_LOG_BASE, { W64(4096), W64(0) }, 16 },
	{ "VU-08 region of 8 bytes", VU_SET_INFLIGHT_FD, { W64(8), W64(0), 64 << 16 | 1, 0 }, 24, 1,
		FD_GUEST },
	{ "VU-08 offset and size wrap", VU_SET_INFLIGHT_FD,
		{ W64(0xfffffffffffff000), W64(0x2000), 64 << 16 | 1, 0 }, 24, 1, FD_GUEST },
	{ "VU-08 offset not page aligned", VU_SET_INFLIGHT_FD,
		{ W64(8192), W64(8), 64 << 16 | 1, 0 }, 24, 1, FD_GUEST },
	{ "VU-08 file shorter than size", VU_SET_INFLIGHT_FD,
		{ W64(2 * FRONT_MEM_SIZE), W64(0), 64 << 16 | 1, 0 }, 24, 1, FD_GUEST },
	{ "inflight for more rings than there are", VU_SET_INFLIGHT_FD,
		{ W64(65536), W64(0), 64 << 16 | (RIG_QUEUES + 1), 0 }, 24, 1, FD_GUEST },
	{ "inflight wanted for no ring", VU_GET_INFLIGHT_FD, { 0, 0, 0, 0, 64 << 16, 0 }, 24 },
	{ "inflight wanted for rings of 0", VU_GET_INFLIGHT_FD, { 0, 0, 0, 0, 1, 0 }, 24 },
	{ "VU-10 no region", VU_SET_MEM_TABLE, { 0, 0 }, 8, 1, FD_GUEST },
	{ "VU-10 no region, no fd", VU_SET_MEM_TABLE, { 0, 0 }, 8 },
	{ "VU-10 nine regions", VU_SET_MEM_TABLE, { 9, 0 }, 72, 8, FD_GUEST },
	{ "VU-10 2^32-1 regions", VU_SET_MEM_TABLE, { 0xffffffff, 0 }, 72, 1, FD_GUEST },
	{ "VU-10 more regions than fds", VU_SET_MEM_TABLE,
		{ 2, 0, W64(0), W64(4096), W64(4096), W64(0), W64(65536), W64(4096), W64(65536),
			W64(0) },
		72, 1, FD_GUEST },
	{ "VU-10 more fds than regions", VU_SET_MEM_TABLE,
		{ 1, 0, W64(0), W64(4096), W64(4096), W64(0) }, 40, 2, FD_GUEST },
	{ "VU-10 class: table cut short", VU_SET_MEM_TABLE,
		{ 2, 0, W64(0), W64(4096), W64(4096), W64(0) }, 40, 2, FD_GUEST },
	{ "VU-11 gpa wraps", VU_SET_MEM_TABLE,
		{ 1, 0, W64(0xfffffffffffff000), W64(8192), W64(4096), W64(0) }, 40, 1, FD_GUEST },
	{ "VU-11 uva wraps", VU_SET_MEM_TABLE,
		{ 1, 0, W64(0), W64(8192), W64(0xfffffffffffff000), W64(0) }, 40, 1, FD_GUEST },
	{ "VU-11 offset wraps", VU_SET_MEM_TABLE,
		{ 1, 0, W64(0), W64(8192), W64(4096), W64(0xfffffffffffff000) }, 40, 1, FD_GUEST },
	{ "VU-11 size 0", VU_SET_MEM_TABLE, { 1, 0, W64(0), W64(0), W64(4096), W64(0) }, 40, 1,
		FD_GUEST },
	{ "VU-11 overlap in gpa", VU_SET_MEM_TABLE,
		{ 2, 0, W64(0), W64(8192), W64(4096), W64(0), W64(4096), W64(8192), W64(65536),
			W64(0) },
		72, 2, FD_GUEST },
	{ "VU-11 overlap in uva", VU_SET_MEM_TABLE,
		{ 2, 0, W64(0), W64(8192), W64(4096), W64(0), W64(65536), W64(8192), W64(8192),
			W64(0) },
		72, 2, FD_GUEST },
	{ "VU-11 file too short", VU_SET_MEM_TABLE, { 1, 0, W64(0), W64(8192), W64(4096), W64(0) },
		40, 1, FD_SHORT },
	{ "VU-11 class: add overlaps", VU_ADD_MEM_REG,
		{ 0, 0, W64(FRONT_GPA + 4096), W64(8192), W64(4096), W64(0) }, 40, 1, FD_GUEST },
	{ "add without fd", VU_ADD_MEM_REG, { 0, 0, W64(0), W64(8192), W64(4096), W64(0) }, 40 },
	{ "remove what is not there", VU_REM_MEM_REG,
		{ 0, 0, W64(0), W64(8192), W64(4096), W64(0) }, 40 },
	{ "VU-29 mtu 0", VU_NET_SET_MTU, { 0 }, 8 },
	{ "VU-29 mtu 67", VU_NET_SET_MTU, { 67 }, 8 },
	{ "VU-29 mtu 65536", VU_NET_SET_MTU, { 65536 }, 8 },
	{ "VU-29 mtu 2^32 + 1500", VU_NET_SET_MTU, { 1500, 1 }, 8 },
	{ "VU-29 mtu of a disk", VU_NET_SET_MTU, { 1500 }, 8, .blk = true },
	{ "VU-29 rarp from a disk", VU_SEND_RARP, { 1, 2 }, 8, .blk = true },
	{ "write to a disk's read-only configuration", VU_SET_CONFIG, { 0, 4, 0, 7 }, 16,
		.blk = true },
	{ "configuration beyond its end", VU_SET_CONFIG, { 256, 4, 0, 7 }, 16 },
	{ "configuration size lies", VU_SET_CONFIG, { 0, 8, 0, 7 }, 16 },
	{ "configuration offset wraps", VU_SET_CONFIG, { 0xfffffffc, 4, 0, 7 }, 16 },
	{ "status above 8 bits", VU_SET_STATUS, { 0x100 }, 8 },
	{ "kick: index", VU_VRING_KICK, { RIG_QUEUES }, 8 },
	{ "kick: index of 2^32-1", VU_VRING_KICK, { 0xffffffff }, 8 },
	{ "kick: num is reserved", VU_VRING_KICK, { 0, 1 }, 8 },
	{ "backend channel is no socket", VU_SET_BACKEND_REQ_FD, { 0 }, 0, 1, FD_EVENT },
	{ "request 0", 0, { 0 }, 8 },
	{ "request without a handler", 22, { 0 }, 8 },
	{ "request past the table", 41, { 0 }, 8 },
	{ "request 2^32-1", 0xffffffff, { 0 }, 8 },
	{ "fd where none belongs", VU_SET_FEATURES, { 0 }, 8, 1 },
};

static int make_fd(enum fd_kind kind)
{
	int fd;

	switch (kind) {
	case FD_EVENT:
		return rig_eventfd();
	case FD_GUEST:
		return dup(rig.f.mem_fd);
	case FD_SOCKET:
		return socket(AF_UNIX, SOCK_STREAM, 0);
	default:
		fd = memfd_create("short", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fd, 4096), 0);
		return fd;
	}
}

static void send_bad(const struct bad_case *t, uint32_t flags)
{
	int fds[8];

	for (unsigned i = 0; i < t->n_fds; i++)
		fds[i] = make_fd(t->kind);
	front_send(&rig.f, t->request, VU_FLAG_VERSION | flags, t->words, t->size, fds, t->n_fds);
	for (unsigned i = 0; i < t->n_fds; i++)
		close(fds[i]);
}

static void assert_untouched(const struct vho_mem *mem)
{
	assert_ptr_equal(rig.d.dev.mem, mem);
	assert_null(rig.d.dev.log.base);
	assert_null(rig.d.dev.inflight);
	for (unsigned i = 0; i < RIG_QUEUES; i++) {
		assert_int_equal(rig.d.dev.queues[i].size, 0);
		assert_false(rig.d.dev.queues[i].enabled);
		assert_false(rig.d.dev.queues[i].has_addr);
		assert_false(rig.d.dev.queues[i].has_kick);
		assert_int_equal(rig.d.dev.queues[i].call_fd, -1);
	}
}

static void refused(void **state)
{
	const struct bad_case *t = *state;
	const struct vu_handler *h = vu_handler(t->request);
	unsigned before = fake_open_fds();
	struct vho_vu_stats stats;
	const struct vho_mem *mem;
	struct vu_msg m;

	rig_open(&rig, t->blk ? VHO_DEV_BLK : VHO_DEV_NET);
	for (int asked = 0; asked < 2; asked++) {
		rig_negotiate(&rig, 0);
		assert_int_equal(front_mem_table(&rig.f), 0);
		mem = rig.d.dev.mem;
		send_bad(t, asked ? VU_FLAG_NEED_REPLY : 0);
		vho_vu_stats(rig.vu, &stats);
		assert_int_equal(stats.rejected, 1);
		if (asked && !(h && h->replies)) {
			assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
			assert_true(m.p.u64 != 0);
			assert_untouched(mem);
			// The session goes on
			assert_true(front_get(&rig.f, VU_GET_FEATURES) != UINT64_MAX);
		} else {
			assert_int_equal(front_recv(&rig.f, &m, NULL), -ECONNRESET);
			assert_int_equal(stats.dropped_sessions, 1);
			assert_false(rig.d.dev.connected);
		}
		rig_reopen(&rig);
	}
	rig_close(&rig);
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(fake_host_armed(&rig.h), 0);
}

/* Every request with every payload size outside its row, and with every wrong number of fds. */
static void every_wrong_shape(void **state)
{
	static const uint8_t zeros[VU_PAYLOAD_MAX];
	int fds[VU_FDS_MAX];

	(void)state;
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		fds[i] = rig_eventfd();
	rig_negotiate(&rig, 0);
	for (uint32_t request = 0; request < VU_REQUESTS; request++) {
		const struct vu_handler *h = vu_handler(request);
		struct vho_vu_stats stats;

		for (uint32_t size = 0; size <= VU_PAYLOAD_MAX; size++) {
			if (h && size >= h->size_min && size <= h->size_max)
				continue;
			front_send(&rig.f, request, VU_FLAG_VERSION, zeros, size, fds,
				h ? h->fds_min : 0);
			vho_vu_stats(rig.vu, &stats);
			assert_int_equal(stats.rejected, 1);
			rig_reopen(&rig);
			rig_negotiate(&rig, 0);
		}
		for (unsigned n = 0; h && n <= VU_FDS_MAX; n++) {
			if (n >= h->fds_min && n <= h->fds_max)
				continue;
			front_send(&rig.f, request, VU_FLAG_VERSION, zeros, h->size_min, fds, n);
			vho_vu_stats(rig.vu, &stats);
			assert_int_equal(stats.rejected, 1);
			rig_reopen(&rig);
			rig_negotiate(&rig, 0);
		}
	}
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		close(fds[i]);
}

/* What needs a protocol feature is refused while the feature is not acked. */
static void protocol_features_gate(void **state)
{
	static const uint8_t zeros[VU_PAYLOAD_MAX];
	int fds[VU_FDS_MAX];

	(void)state;
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		fds[i] = dup(rig.f.mem_fd);
	for (uint32_t request = 0; request < VU_REQUESTS; request++) {
		const struct vu_handler *h = vu_handler(request);

		if (!h || !h->needs)
			continue;
		front_send(&rig.f, request, VU_FLAG_VERSION, zeros, h->size_min, fds, h->fds_min);
		assert_true(front_closed(&rig.f));
		rig_reopen(&rig);
	}
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		close(fds[i]);
}

/* ---- what requests do ---- */

static void negotiation(void **state)
{
	uint64_t features, protocol;

	(void)state;
	features = front_get(&rig.f, VU_GET_FEATURES);
	assert_true(features & BIT(VU_F_PROTOCOL_FEATURES));
	assert_true(features & BIT(VU_F_LOG_ALL));
	assert_true(features & BIT(VIRTIO_F_VERSION_1));
	protocol = front_get(&rig.f, VU_GET_PROTOCOL_FEATURES);
	if (vho_postcopy_supported())
		protocol ^= BIT(8); // offered where the kernel has what it needs
	assert_true(protocol == (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(9) |
					BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(19)));
	rig_negotiate(&rig, BIT(VIRTIO_F_RING_PACKED));
	assert_true(rig.d.dev.features == (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED)));
	assert_int_equal(front_get(&rig.f, VU_GET_QUEUE_NUM), RIG_QUEUES);
	assert_int_equal(front_get(&rig.f, VU_GET_MAX_MEM_SLOTS), VHO_MEM_REGIONS_MAX);
}

/* Without an ack wanted, good requests are silent. */
static void silence(void **state)
{
	struct vu_msg m;

	(void)state;
	front_send(&rig.f, VU_SET_OWNER, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), -EAGAIN);
	// NEED_REPLY before REPLY_ACK was negotiated means nothing
	front_send(&rig.f, VU_SET_OWNER, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), -EAGAIN);
}

/* A ring starts with the last thing it needs, in whatever order they come. */
static void starts_in_any_order(void **state)
{
	static const uint8_t orders[][6] = {
		{ 0, 1, 2, 3, 4, 5 },
		{ 5, 4, 3, 2, 1, 0 },
		{ 2, 0, 5, 1, 4, 3 },
		{ 4, 5, 0, 3, 2, 1 },
		{ 1, 3, 5, 0, 2, 4 },
		{ 3, 2, 1, 5, 0, 4 },
	};
	int kick = rig_eventfd();

	(void)state;
	for (unsigned o = 0; o < ARRAY_LEN(orders); o++) {
		assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES, BIT(3)), 0);
		for (unsigned i = 0; i < 6; i++) {
			int ret = -1;

			assert_false(rig.h.running[0]);
			switch (orders[o][i]) {
			case 0:
				ret = front_call_u64(&rig.f, VU_SET_FEATURES,
					BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1));
				break;
			case 1:
				ret = front_mem_table(&rig.f);
				break;
			case 2:
				ret = front_call_state(&rig.f, VU_SET_VRING_NUM, 0, 64);
				break;
			case 3:
				ret = front_ring_addr(&rig.f, 0);
				break;
			case 4:
				ret = front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick);
				break;
			case 5:
				ret = front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1);
				break;
			}
			assert_int_equal(ret, 0);
		}
		assert_true(rig.h.running[0]);
		rig_reopen(&rig);
		assert_false(rig.h.running[0]);
	}
	assert_int_equal(rig.h.starts, rig.h.stops);
	close(kick);
}

/* Without VHOST_USER_F_PROTOCOL_FEATURES rings start enabled; polling instead of a kick fd. */
static void old_front_end(void **state)
{
	uint64_t features = BIT(VIRTIO_F_VERSION_1);
	struct vu_table t = { .n = 1, .region = { { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } } };
	struct vu_vring_state num = { 2, 64 };
	struct vu_vring_addr a = { 2, 0, FRONT_UVA + 0x1000, FRONT_UVA + 0x3000, FRONT_UVA + 0x2000,
		0 };
	uint64_t kick = 2 | VU_VRING_NOFD;

	(void)state;
	front_send(&rig.f, VU_SET_FEATURES, 1, &features, 8, NULL, 0);
	front_send(&rig.f, VU_SET_MEM_TABLE, 1, &t, 40, &rig.f.mem_fd, 1);
	front_send(&rig.f, VU_SET_VRING_NUM, 1, &num, 8, NULL, 0);
	front_send(&rig.f, VU_SET_VRING_ADDR, 1, &a, 40, NULL, 0);
	front_send(&rig.f, VU_SET_VRING_KICK, 1, &kick, 8, NULL, 0);
	assert_true(rig.h.running[2]);
}

/* A transmitq runs while disabled, to discard; a receiveq does not. */
static void disabled_transmitq_runs(void **state)
{
	int kick = rig_eventfd();

	(void)state;
	rig_negotiate(&rig, 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(front_ring(&rig.f, i, 64), 0);
		assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, i, kick), 0);
	}
	assert_false(rig.h.running[0]);
	assert_true(rig.h.running[1]);
	assert_false(rig.d.dev.queues[1].enabled);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 1, 1), 0);
	assert_true(rig.h.running[1]);
	assert_int_equal(rig.h.stops, 1); // the worker saw the change at rest
	close(kick);
}

/* GET_VRING_BASE stops the ring for good: its kick is gone. The base is what was set. */
static void get_base_stops(void **state)
{
	struct vu_vring_state s = { .index = 0 };
	struct vu_msg m;

	(void)state;
	rig_run_ring(&rig);
	front_send(&rig.f, VU_GET_VRING_BASE, 1, &s, sizeof(s), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_int_equal(m.p.state.index, 0);
	assert_int_equal(m.p.state.num, 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(rig.d.dev.queues[0].kick_fd, -1);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, 7), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, -1), 0);
	assert_true(rig.h.running[0]);
	front_send(&rig.f, VU_GET_VRING_BASE, 1, &s, sizeof(s), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_int_equal(m.p.state.num, 7);
	// VU-21: one that never ran
	s.index = 3;
	front_send(&rig.f, VU_GET_VRING_BASE, 1, &s, sizeof(s), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_int_equal(m.p.state.num, 0);
}

/* Packed rings: all 32 bits come back; virtio-user's short form of a fresh ring is understood. */
static void packed_base(void **state)
{
	static const uint32_t bases[][2] = {
		{ 0x80058005, 0x80058005 },
		{ 0x00030003, 0x00030003 },
		{ 0x00008000, 0x80008000 },
	};
	struct vu_vring_state s = { .index = 0 };
	struct vu_msg m;

	(void)state;
	rig_negotiate(&rig, BIT(VIRTIO_F_RING_PACKED));
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_int_equal(front_ring(&rig.f, 0, 100), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	for (unsigned i = 0; i < ARRAY_LEN(bases); i++) {
		assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, bases[i][0]), 0);
		assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, -1), 0);
		assert_true(rig.h.running[0]);
		front_send(&rig.f, VU_GET_VRING_BASE, 1, &s, sizeof(s), NULL, 0);
		assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
		assert_int_equal(m.p.state.num, bases[i][1]);
	}
}

/* A new call fd is in force at once and signalled once; the ring is not stopped for it. */
static void call_fd_changes_under_a_running_ring(void **state)
{
	int first = rig_eventfd(), second = rig_eventfd();

	(void)state;
	rig_run_ring(&rig);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, first), 0);
	assert_int_equal(rig_eventfd_take(first), 1);
	rig.h.stops = 0;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, second), 0);
		assert_int_equal(rig_eventfd_take(second), 1);
		assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, first), 0);
		assert_int_equal(rig_eventfd_take(first), 1);
	}
	assert_int_equal(rig.h.stops, 0);
	vho_notify_fd(rig.d.dev.queues[0].q.call_fd);
	assert_int_equal(rig_eventfd_take(first), 1);
	assert_int_equal(rig_eventfd_take(second), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, -1), 0);
	assert_true(rig.h.running[0]);
	close(first);
	close(second);
}

static void vu16_full_call_fd(void **state)
{
	int full = eventfd(0, EFD_CLOEXEC); // blocking
	uint64_t most = 0xfffffffffffffffe;

	(void)state;
	rig_run_ring(&rig);
	assert_int_equal(write(full, &most, sizeof(most)), 8);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, full), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_CALL, 0, full), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_ERR, 0, full), 0);
	vho_queue_fail(&rig.d.dev.queues[0].q, VHO_QUEUE_ERR_BAD_INDEX, -1);
	close(full);
}

/* A ring that broke the rules shows as needs_reset and stays down until it gets a new kick. */
static void broken_ring(void **state)
{
	int err = rig_eventfd();
	struct vho_dev_info info;

	(void)state;
	rig_run_ring(&rig);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_ERR, 0, err), 0);
	vho_queue_fail(&rig.d.dev.queues[0].q, VHO_QUEUE_ERR_BAD_INDEX, -1);
	assert_int_equal(rig_eventfd_take(err), 1);
	vho_dev_info(&rig.d.dev, &info);
	assert_true(info.needs_reset);
	assert_int_equal(front_get(&rig.f, VU_GET_STATUS), VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_false(rig.h.running[0]);
	vho_dev_info(&rig.d.dev, &info);
	assert_true(info.needs_reset);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, -1), 0);
	assert_true(rig.h.running[0]);
	vho_dev_info(&rig.d.dev, &info);
	assert_false(info.needs_reset);
	close(err);
}

static void memory_changes_under_a_running_ring(void **state)
{
	struct vu_single_region r = { 0, { 0x10000000, 8192, 0x10000000, 0 } };
	struct vu_single_region first = { 0, { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } };

	(void)state;
	rig_run_ring(&rig);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(rig.h.stops, 1);
	assert_int_equal(front_call(&rig.f, VU_ADD_MEM_REG, &r, sizeof(r), &rig.f.mem_fd, 1), 0);
	assert_int_equal(rig.d.dev.mem->n, 2);
	assert_true(rig.h.running[0]);
	// The region that the ring lies in goes and comes back
	assert_int_equal(
		front_call(&rig.f, VU_REM_MEM_REG, &first, sizeof(first), &rig.f.mem_fd, 1), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(front_call(&rig.f, VU_REM_MEM_REG, &r, sizeof(r), NULL, 0), 0);
	assert_null(rig.d.dev.mem);
	assert_int_equal(
		front_call(&rig.f, VU_ADD_MEM_REG, &first, sizeof(first), &rig.f.mem_fd, 1), 0);
	assert_true(rig.h.running[0]);
}

/* Migration: log, then LOG_ALL while rings run; off again; the log replaced. */
static void dirty_log(void **state)
{
	uint64_t base = BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1);
	struct vu_log l = { .size = 4096, .off = 64 };
	struct vu_msg m;

	(void)state;
	rig_run_ring(&rig);
	for (unsigned i = 0; i < 3; i++) {
		front_send(&rig.f, VU_SET_LOG_BASE, 1, &l, sizeof(l), &rig.f.mem_fd, 1);
		assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
		assert_int_equal(m.p.u64, 0);
		assert_int_equal(
			front_call_u64(&rig.f, VU_SET_FEATURES, base | BIT(VU_F_LOG_ALL)), 0);
		assert_true(rig.h.running[0]);
		assert_int_equal(rig.d.dev.queues[0].q.log.size, 4096);
	}
	vho_queue_log_write(&rig.d.dev.queues[0].q, 0x3000, 1);
	assert_int_equal(rig.f.mem[64], 1 << 3);
	assert_false(rig.d.dev.queues[0].q.log_used);
	for (uint32_t on = 1; on < 2; on--) { // QEMU switches the used ring's log by its address
		struct vu_vring_addr a = { 0, on, FRONT_UVA + 0x10000, FRONT_UVA + 0x12000,
			FRONT_UVA + 0x11000, 0x7000 };

		assert_int_equal(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
		assert_true(rig.h.running[0]);
		assert_int_equal(rig.d.dev.queues[0].q.log_used, on);
		assert_int_equal(rig.f.mem[64] >> 7, on); // setting up writes to it
		rig.f.mem[64] = 0;
	}
	assert_int_equal(front_call_u64(&rig.f, VU_SET_FEATURES, base), 0);
	assert_true(rig.h.running[0]);
	assert_null(rig.d.dev.queues[0].q.log.base);
	assert_int_equal(front_call(&rig.f, VU_SET_LOG_FD, NULL, 0, &rig.f.mem_fd, 1), 0);
}

static void inflight_round_trip(void **state)
{
	struct vu_inflight i = { .n_queues = 2, .queue_size = 64 };
	struct vu_msg m;
	int fd;

	(void)state;
	rig_run_ring(&rig);
	front_send(&rig.f, VU_GET_INFLIGHT_FD, 1, &i, sizeof(i), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, &fd), sizeof(i));
	assert_true(fd >= 0);
	assert_true(m.p.inflight.mmap_size > 0);
	assert_int_equal(m.p.inflight.mmap_off, 0);
	assert_int_equal(front_call(&rig.f, VU_SET_INFLIGHT_FD, &m.p.inflight, 20, &fd, 1), 0);
	assert_true(rig.h.running[0]);
	assert_non_null(rig.d.dev.queues[0].q.inflight);
	close(fd);
}

static void vu03_vu06_flat(void **state)
{
	struct vu_inflight i = { .n_queues = 2, .queue_size = 64 };
	unsigned fds, maps;
	struct vu_msg m;
	int fd;

	(void)state;
	rig_negotiate(&rig, 0);
	fds = fake_open_fds();
	maps = rig_mappings();
	for (unsigned n = 0; n < 5000; n++) {
		front_send(&rig.f, VU_GET_INFLIGHT_FD, 1, &i, sizeof(i), NULL, 0);
		assert_int_equal(front_recv(&rig.f, &m, &fd), sizeof(i));
		assert_int_equal(
			front_call(&rig.f, VU_SET_INFLIGHT_FD, &m.p, sizeof(i), &fd, 1), 0);
		close(fd);
		assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_NUM, 0, 64), 0);
	}
	assert_in_range(fake_open_fds(), fds, fds + 1); // the region in use
	assert_in_range(rig_mappings(), maps, maps + 8);
}

static void configuration_space(void **state)
{
	struct vu_config c = { .off = 4, .size = 6 };
	struct vu_msg m;
	int pair[2];

	(void)state;
	rig_negotiate(&rig, 0);
	memcpy(rig.d.config + 4, "ABCDEF", 6);
	front_send(&rig.f, VU_GET_CONFIG, 1, &c, 12 + 6, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 12 + 6);
	assert_memory_equal(m.p.config.bytes, "ABCDEF", 6);
	c.bytes[0] = 'x';
	c.size = 1;
	assert_int_equal(front_call(&rig.f, VU_SET_CONFIG, &c, 13, NULL, 0), 0);
	assert_int_equal(rig.d.config[4], 'x');
	// An error has an answer without payload
	c.off = 250;
	c.size = 10;
	front_send(&rig.f, VU_GET_CONFIG, 1, &c, 12 + 10, NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 0);

	assert_int_equal(vho_vu_config_changed(rig.vu), -ENOTCONN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	// "Suspended device state": nothing is said while no ring runs, and once when one does
	assert_int_equal(vho_vu_config_changed(rig.vu), 0);
	assert_int_equal(vho_vu_config_changed(rig.vu), 0);
	assert_int_equal(recv(pair[0], &m.h, sizeof(m.h), MSG_DONTWAIT), -1);
	rig_run_ring(&rig);
	assert_int_equal(recv(pair[0], &m.h, sizeof(m.h), MSG_DONTWAIT), 12);
	assert_int_equal(m.h.request, VU_BACKEND_CONFIG_CHANGE);
	assert_int_equal(m.h.flags, VU_FLAG_VERSION);
	assert_int_equal(m.h.size, 0);
	assert_int_equal(recv(pair[0], &m.h, sizeof(m.h), MSG_DONTWAIT), -1);
	close(pair[1]);
	// One who never reads loses the channel, not our thread
	for (unsigned i = 0; i < 100000 && vho_vu_config_changed(rig.vu) == 0; i++)
		;
	assert_int_equal(vho_vu_config_changed(rig.vu), -ENOTCONN);
	close(pair[0]);
}

static void status_and_reset(void **state)
{
	(void)state;
	rig_run_ring(&rig);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 7), 0);
	assert_int_equal(front_get(&rig.f, VU_GET_STATUS), 7);
	assert_int_equal(front_call(&rig.f, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(front_get(&rig.f, VU_GET_STATUS), 0);
	assert_int_equal(rig.d.resets, 1);
	assert_non_null(rig.d.dev.mem);
	rig_reopen(&rig);
	rig_run_ring(&rig);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 0), 0);
	assert_false(rig.h.running[0]);
	rig_reopen(&rig);
	rig_run_ring(&rig);
	assert_int_equal(front_call(&rig.f, VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(rig.h.running[0]);
}

static void mtu_and_rarp(void **state)
{
	uint8_t mac[8] = { 2, 3, 4, 5, 6, 7 };

	(void)state;
	rig_negotiate(&rig, 0);
	assert_int_equal(front_call_u64(&rig.f, VU_NET_SET_MTU, 68), 0);
	assert_int_equal(front_call_u64(&rig.f, VU_NET_SET_MTU, 65535), 0);
	assert_int_equal(rig.d.mtu, 65535);
	assert_int_equal(front_call(&rig.f, VU_SEND_RARP, mac, 8, NULL, 0), 0);
	assert_memory_equal(rig.d.rarp, mac, 6);
}

/* What a running ring was laid out with does not change under it. */
static void busy_ring(void **state)
{
	(void)state;
	rig_run_ring(&rig);
	assert_true(front_call_state(&rig.f, VU_SET_VRING_NUM, 0, 32) > 0);
	assert_true(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, 3) > 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(front_ring_addr(&rig.f, 0), 0);
	assert_true(rig.h.running[0]);
}

/* A ring that cannot start is refused and leaves the session, and the next try works. */
static void ring_outside_memory(void **state)
{
	struct vu_vring_addr a = { .index = 0, .desc = 0x1000, .avail = 0x2000, .used = 0x3000 };

	(void)state;
	rig_run_ring(&rig);
	assert_true(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0) > 0);
	assert_false(rig.h.running[0]);
	a.desc = FRONT_UVA + FRONT_MEM_SIZE - 16; // its end is outside
	a.avail = FRONT_UVA + 0x2000;
	a.used = FRONT_UVA + 0x3000;
	assert_true(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0) > 0);
	rig.h.start_ret = -ENOMEM;
	assert_true(front_ring_addr(&rig.f, 0) > 0);
	assert_int_equal(rig.d.setups, rig.d.teardowns);
	rig.h.start_ret = 0;
	assert_int_equal(front_ring_addr(&rig.f, 0), 0);
	assert_true(rig.h.running[0]);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, open_net, close_rig)
	static const struct CMUnitTest tests[] = {
		T(every_wrong_shape),
		T(protocol_features_gate),
		T(negotiation),
		T(silence),
		T(starts_in_any_order),
		T(old_front_end),
		T(disabled_transmitq_runs),
		T(get_base_stops),
		T(packed_base),
		T(call_fd_changes_under_a_running_ring),
		T(vu16_full_call_fd),
		T(broken_ring),
		T(memory_changes_under_a_running_ring),
		T(dirty_log),
		T(inflight_round_trip),
		T(vu03_vu06_flat),
		T(configuration_space),
		T(status_and_reset),
		T(mtu_and_rarp),
		T(busy_ring),
		T(ring_outside_memory),
	};
	int failed = 0, fd = rig_eventfd();

	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	RUN_ROWS(bad_cases, refused, failed);
	failed += cmocka_run_group_tests_name("vhost-user", tests, NULL, NULL);
	return failed;
}
