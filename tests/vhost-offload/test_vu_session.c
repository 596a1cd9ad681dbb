// SPDX-License-Identifier: Apache-2.0
/* vhost-user sessions: cut messages, descriptors, sudden ends, random orders, sockets on disk. */
#include "vho_device.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "fake_rig.h"
#include "vu_session.h"

static struct fake_rig rig;
static unsigned fds_before;
static char dir[] = "/tmp/vu_test.XXXXXX";
static char path[64];

static int open_net(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	rig_open(&rig, VHO_DEV_NET);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

static struct vho_vu_stats stats(void)
{
	struct vho_vu_stats s;

	vho_vu_stats(rig.vu, &s);
	return s;
}

/* ---- bytes ---- */

static void one_byte_at_a_time(void **state)
{
	struct {
		struct vu_header h;
		struct vu_vring_state s;
	} bytes = { { VU_SET_VRING_NUM, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY, 8 }, { 2, 256 } };
	struct vu_msg m;

	(void)state;
	rig_negotiate(&rig, 0);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(front_recv(&rig.f, &m, NULL), -EAGAIN);
		assert_int_equal(send(rig.f.fd, (char *)&bytes + i, 1, 0), 1);
		fake_host_run(&rig.h);
	}
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_int_equal(m.p.u64, 0);
	assert_int_equal(rig.d.dev.queues[2].size, 256);
}

/* Many messages in one write are taken one by one, a bounded number per wake-up. */
static void burst_is_bounded(void **state)
{
	struct vu_header h[200];
	uint64_t before;

	(void)state;
	rig_negotiate(&rig, 0);
	before = stats().messages;
	for (unsigned i = 0; i < ARRAY_LEN(h); i++)
		h[i] = (struct vu_header){ VU_SET_OWNER, VU_FLAG_VERSION, 0 };
	assert_int_equal(send(rig.f.fd, h, sizeof(h), 0), sizeof(h));
	for (unsigned i = 0; i < FAKE_WATCHES; i++)
		if (rig.h.watch[i].cb)
			rig.h.watch[i].cb(rig.h.watch[i].arg);
	assert_in_range(stats().messages - before, 1, 100);
	fake_host_run(&rig.h);
	assert_int_equal(stats().messages - before, 200);
}

static const struct header_case {
	const char *name;
	struct vu_header h;
} header_cases[] = {
	{ "version 0", { VU_GET_FEATURES, 0, 0 } },
	{ "version 2", { VU_GET_FEATURES, 2, 0 } },
	{ "a reply", { VU_GET_FEATURES, VU_FLAG_VERSION | VU_FLAG_REPLY, 0 } },
	{ "payload too long", { VU_GET_CONFIG, VU_FLAG_VERSION, VU_PAYLOAD_MAX + 1 } },
	{ "payload of 4 GiB", { VU_GET_CONFIG, VU_FLAG_VERSION, UINT32_MAX } },
};

static void bad_header(void **state)
{
	const struct header_case *t = *state;

	rig_open(&rig, VHO_DEV_NET);
	front_send(&rig.f, t->h.request, t->h.flags, NULL, t->h.size, NULL, 0);
	assert_true(front_closed(&rig.f));
	assert_int_equal(stats().dropped_sessions, 1);
	rig_close(&rig);
}

/* VU-05: more descriptors than a message may carry; those that arrived are closed. */
static void vu05_fds_cut(void **state)
{
	int fds[16];
	unsigned before;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = rig_eventfd();
	for (unsigned n = 9; n <= ARRAY_LEN(fds); n++) {
		before = fake_open_fds();
		front_send(&rig.f, VU_SET_MEM_TABLE, VU_FLAG_VERSION, NULL, 0, fds, n);
		assert_true(front_closed(&rig.f));
		assert_int_equal(stats().dropped_sessions, 1);
		assert_int_equal(fake_open_fds(), before - 1); // and the session's own
		rig_reopen(&rig);
	}
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* The same through pieces of one message, each within the limit. */
static void vu05_fds_in_pieces(void **state)
{
	int fds[VU_FDS_MAX];

	(void)state;
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		fds[i] = rig_eventfd();
	// A header that promises a payload, then another header as that payload
	front_send(&rig.f, VU_SET_FEATURES, VU_FLAG_VERSION, NULL, 200, fds, 5);
	assert_int_equal(stats().dropped_sessions, 0);
	front_send(&rig.f, VU_SET_FEATURES, VU_FLAG_VERSION, NULL, 200, fds, 5);
	assert_true(front_closed(&rig.f));
	assert_int_equal(stats().dropped_sessions, 1);
	for (unsigned i = 0; i < VU_FDS_MAX; i++)
		close(fds[i]);
}

/* A front-end that asks and never reads its answers loses its session; we never block. */
static void replies_never_block(void **state)
{
	struct vu_header h = { VU_GET_FEATURES, VU_FLAG_VERSION, 0 };

	(void)state;
	for (unsigned i = 0; i < 1000000 && stats().dropped_sessions == 0; i++)
		if (send(rig.f.fd, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 || i % 64 == 0)
			fake_host_run(&rig.h);
	assert_int_equal(stats().dropped_sessions, 1);
	assert_false(rig.d.dev.connected);
}

static void truncated_memory_ends_the_session(void **state)
{
	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0);
	rig_run_ring(&rig);
	assert_true(vho_vu_check(rig.vu));
	assert_int_equal(ftruncate(rig.f.mem_fd, 0), 0);
	assert_int_equal(*(volatile uint8_t *)vho_mem_at(rig.d.dev.mem, FRONT_GPA, 1), 0);
	fake_host_advance(&rig.h, 1000);
	assert_true(front_closed(&rig.f));
	assert_false(rig.d.dev.connected);
	assert_int_equal(stats().dropped_sessions, 1);
}

/* The same with what else it shares: the dirty log and the inflight region. */
static void truncated_log_ends_the_session(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vu_log l = { .size = 4096 };
	struct vu_msg m;

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0);
	rig_run_ring(&rig);
	assert_int_equal(ftruncate(fd, 4096), 0);
	front_send(&rig.f, VU_SET_LOG_BASE, VU_FLAG_VERSION, &l, sizeof(l), &fd, 1);
	assert_int_equal(front_recv(&rig.f, &m, NULL), 8);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_FEATURES,
				 1ull << VU_F_LOG_ALL | 1ull << VU_F_PROTOCOL_FEATURES |
					 1ull << VIRTIO_F_VERSION_1),
		0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_true(vho_vu_check(rig.vu));
	vho_queue_log_write(&rig.d.dev.queues[0].q, FRONT_GPA, 1);
	fake_host_advance(&rig.h, 1000);
	assert_true(front_closed(&rig.f));
	assert_false(rig.d.dev.connected);
	rig_reopen(&rig);
	assert_true(vho_vu_check(rig.vu)); // the next one starts clean
	close(fd);
}

static void truncated_inflight_ends_the_session(void **state)
{
	struct vu_inflight i = { .mmap_size = 4096, .n_queues = 1, .queue_size = 64 };
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0);
	rig_run_ring(&rig);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_INFLIGHT_FD, &i, sizeof(i), &fd, 1), 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(ftruncate(fd, 0), 0);
	// The next start of the ring finds it gone
	assert_true(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 0) == 0);
	assert_true(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1) != 0);
	assert_false(rig.h.running[0]);
	assert_true(front_closed(&rig.f));
	assert_false(rig.d.dev.connected);
	rig_reopen(&rig);
	assert_true(vho_vu_check(rig.vu));
	close(fd);
}

/* ---- ends and orders ---- */

/* The base that GET_VRING_BASE answers for ring 0. */
static uint32_t get_base(void)
{
	struct vu_vring_state v = { .index = 0 };
	struct vu_msg m;

	front_send(&rig.f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, NULL), sizeof(v));
	return m.p.state.num;
}

/* Negotiated anew, ring 0 runs from `base` on. */
static void run_from(uint32_t base)
{
	int kick = rig_eventfd();

	rig_negotiate(&rig, 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_int_equal(front_ring(&rig.f, 0, 64), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, base), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(rig.h.running[0]);
	close(kick);
}

/*
 * QEMU writes 0 to the status as it stops a device, then asks where the rings stood; a guest that
 * was stopped, or migrates, goes on there. Answering 0 has the ring worked through once more.
 */
static void status_0_keeps_the_base(void **state)
{
	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		run_from(7);
		for (unsigned i = 0; i <= again; i++)
			assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 0), 0);
		assert_false(rig.h.running[0]);
		assert_int_equal(get_base(), 7);
	}
	run_from(9); // goes on elsewhere
	assert_int_equal(get_base(), 9);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 0), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, 3), 0);
	assert_int_equal(get_base(), 3);
	run_from(7);
	assert_int_equal(front_call(&rig.f, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	assert_int_equal(get_base(), 0);
}

/* What is in flight at status 0 stays so for a ring that goes on, and for no other. */
static void status_0_keeps_what_is_in_flight(void **state)
{
	struct vu_inflight i = { .n_queues = 1, .queue_size = 64 };
	struct vu_msg m;
	uint8_t *entry;
	void *map;
	int fd;

	(void)state;
	rig_negotiate(&rig, 0);
	front_send(&rig.f, VU_GET_INFLIGHT_FD, VU_FLAG_VERSION, &i, sizeof(i), NULL, 0);
	assert_int_equal(front_recv(&rig.f, &m, &fd), sizeof(i));
	map = mmap(NULL, m.p.inflight.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	entry = (uint8_t *)map + 16 + 5 * 16; // DescStateSplit 5, inflight
	assert_int_equal(
		front_call(&rig.f, VU_SET_INFLIGHT_FD, &m.p.inflight, sizeof(i), &fd, 1), 0);
	run_from(7);
	*entry = 1; // popped, and given up on as the ring stopped
	assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 0), 0);
	run_from(8);
	assert_int_equal(*entry, 1);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_STATUS, 0), 0);
	run_from(0);
	assert_int_equal(*entry, 0);
	munmap(map, m.p.inflight.mmap_size);
	close(fd);
}

/* The first `steps` things that a front-end does. */
static void handshake(unsigned steps)
{
	static const uint8_t zeros[64];
	struct vu_inflight inf = { .n_queues = 1, .queue_size = 64 };
	struct vu_table t = { .n = 1, .region = { { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } } };
	struct vu_vring_addr a = { 0, 0, FRONT_UVA + 4096, FRONT_UVA + 3 * 4096,
		FRONT_UVA + 2 * 4096, 0 };
	uint64_t protocol = 0x1b22f,
		 features = 1ull << VU_F_PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1;
	uint32_t num[2] = { 0, 64 }, base[2] = { 0, 0 }, on[2] = { 0, 1 };
	int event = rig_eventfd(), guest = rig.f.mem_fd;
	struct {
		uint32_t request;
		const void *payload;
		uint32_t size;
		const int *fd;
	} const step[] = {
		{ VU_GET_FEATURES, NULL, 0, NULL },
		{ VU_GET_PROTOCOL_FEATURES, NULL, 0, NULL },
		{ VU_SET_PROTOCOL_FEATURES, &protocol, 8, NULL },
		{ VU_GET_QUEUE_NUM, NULL, 0, NULL },
		{ VU_SET_OWNER, NULL, 0, NULL },
		{ VU_SET_FEATURES, &features, 8, NULL },
		{ VU_SET_VRING_CALL, zeros, 8, &event },
		{ VU_GET_INFLIGHT_FD, &inf, 24, NULL },
		{ VU_SET_MEM_TABLE, &t, 40, &guest },
		{ VU_SET_VRING_NUM, num, 8, NULL },
		{ VU_SET_VRING_BASE, base, 8, NULL },
		{ VU_SET_VRING_ADDR, &a, 40, NULL },
		{ VU_SET_VRING_ERR, zeros, 8, &event },
		{ VU_SET_VRING_KICK, zeros, 8, &event },
		{ VU_SET_VRING_CALL, zeros, 8, &event },
		{ VU_SET_VRING_ENABLE, on, 8, NULL },
		{ VU_SET_MEM_TABLE, &t, 40, &guest },
		{ VU_GET_STATUS, NULL, 0, NULL },
		{ VU_GET_VRING_BASE, base, 8, NULL },
		{ VU_SET_VRING_KICK, zeros, 8, &event },
	};

	for (unsigned i = 0; i < steps && i < ARRAY_LEN(step); i++)
		front_send(&rig.f, step[i].request, VU_FLAG_VERSION, step[i].payload, step[i].size,
			step[i].fd, step[i].fd ? 1 : 0);
	close(event);
}

static void vu27_ends_in_every_state(void **state)
{
	unsigned fds = fake_open_fds();
	unsigned maps = rig_mappings();

	(void)state;
	for (unsigned round = 0; round < 1000; round++) {
		unsigned steps = round % 21;

		handshake(steps);
		assert_int_equal(stats().dropped_sessions, 0);
		assert_int_equal(stats().rejected, 0);
		assert_int_equal(rig.h.running[0], (steps >= 16 && steps < 19) || steps == 20);
		if (round % 2) // in the middle of a header, of a payload
			assert_true(send(rig.f.fd, "\x08\0\0\0\x01\0\0\0\x08\0\0\0\0\0",
					    4 + round % 10, 0) > 0);
		close(rig.f.fd);
		rig.f.fd = -1;
		fake_host_run(&rig.h);
		assert_false(rig.d.dev.connected);
		assert_false(rig.h.running[0]);
		assert_null(rig.d.dev.mem);
		assert_int_equal(fake_open_fds(), fds - 2);
		rig_reopen(&rig);
	}
	assert_in_range(rig_mappings(), 0, maps + 8);
}

/* A valid session works, whatever came before. */
static void assert_usable(void)
{
	rig_reopen(&rig);
	rig_run_ring(&rig);
	rig_reopen(&rig);
}

/* Payloads that are right often enough to get past the first check. */
static uint32_t random_payload(uint32_t request, struct vu_msg *m)
{
	const struct vu_handler *h = vu_handler(request);
	uint32_t idx = (uint32_t)rand() % (rand() % 64 ? 2 : RIG_QUEUES + 1);

	memset(&m->p, 0, sizeof(m->p));
	switch (request) {
	case VU_SET_FEATURES:
		m->p.u64 = 1ull << VIRTIO_F_VERSION_1 |
			   (uint64_t)(rand() % 2) << VU_F_PROTOCOL_FEATURES |
			   (uint64_t)(rand() % 2) << VIRTIO_F_RING_PACKED |
			   (uint64_t)(rand() % 2) << VU_F_LOG_ALL;
		return 8;
	case VU_SET_PROTOCOL_FEATURES:
		m->p.u64 = 0x1b22f;
		return 8;
	case VU_SET_MEM_TABLE:
		m->p.table.n = 1;
		m->p.table.region[0] = (struct vu_region){ FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA,
			0 };
		return 40;
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
		m->p.region.region = (struct vu_region){ 0x10000000ull << idx, 8192,
			0x10000000ull << idx, 0 };
		return 40;
	case VU_SET_LOG_BASE:
		m->p.log.size = 65536;
		return 16;
	case VU_SET_VRING_ADDR:
		m->p.addr.index = idx;
		m->p.addr.desc = FRONT_UVA + 0x1000 + 0x4000 * idx;
		m->p.addr.avail = m->p.addr.desc + 0x1000;
		m->p.addr.used = m->p.addr.desc + 0x2000;
		return 40;
	case VU_SET_VRING_NUM:
		m->p.state.index = idx;
		m->p.state.num = 64u << rand() % 3;
		return 8;
	case VU_GET_CONFIG:
	case VU_SET_CONFIG:
		m->p.config.size = 8;
		return 20;
	case VU_GET_INFLIGHT_FD:
	case VU_SET_INFLIGHT_FD:
		m->p.inflight.n_queues = 2;
		m->p.inflight.queue_size = 64;
		m->p.inflight.mmap_size = 65536;
		return 24;
	default:
		m->p.state.index = idx;
		m->p.state.num = (uint32_t)rand() % 2;
		return h && rand() % 100 ? h->size_min : 8;
	}
}

static void vu21_any_order(void **state)
{
	struct vu_msg m;
	int event = rig_eventfd();
	unsigned maps;

	(void)state;
	srand(21);
	assert_usable();
	maps = rig_mappings();
	for (unsigned n = 0; n < 100000; n++) {
		uint32_t request = (uint32_t)rand() % 42;
		bool wants_event = request >= VU_SET_VRING_KICK && request <= VU_SET_VRING_ERR;
		bool wants_mem = request == VU_SET_MEM_TABLE || request == VU_ADD_MEM_REG ||
				 request == VU_SET_LOG_BASE || request == VU_SET_INFLIGHT_FD;
		uint32_t size = random_payload(request, &m);

		// Not negotiated here, and no answer has room to say so: they end every session
		if ((request == VU_POSTCOPY_ADVISE || request == VU_POSTCOPY_END) && rand() % 100)
			continue;
		if (wants_event)
			m.p.u64 = m.p.state.index;
		if (rand() % 200 == 0)
			wants_mem = !wants_mem;
		front_send(&rig.f, request,
			VU_FLAG_VERSION | (rand() % 500 ? VU_FLAG_NEED_REPLY : 0), &m.p, size,
			wants_mem ? &rig.f.mem_fd : &event, wants_mem || wants_event);
		if (front_closed(&rig.f)) {
			rig_reopen(&rig);
			assert_int_equal(
				front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES, 0x1b22f), 0);
		}
	}
	assert_usable();
	assert_true(rig.h.starts > 100); // it got far enough to matter
	assert_in_range(rig_mappings(), 0, maps + 32); // the allocator's own among them
	close(event);
}

/* Each allocation of a new session fails in turn: an error, nothing leaked. */
static void out_of_memory(void **state)
{
	int pair[2], ret = -ENOMEM;

	(void)state;
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
	for (long k = 0; ret == -ENOMEM; k++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		dpu_alloc_fail_after(k);
		ret = vho_vu_adopt(&rig.d.dev, pair[1], &rig.h.host, &rig.vu);
		dpu_alloc_fail_after(-1);
		close(pair[0]);
	}
	assert_int_equal(ret, 0);
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
	rig.h.no_watch = true;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vho_vu_adopt(&rig.d.dev, pair[1], &rig.h.host, &rig.vu), -ENOMEM);
	close(pair[0]);
}

/* ---- sockets on disk ---- */

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

static int connect_to(void)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fake_host_run(&rig.h);
	return fd;
}

static int listen_on(void)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int serve(void)
{
	rig.vu = NULL;
	return vho_vu_create(&rig.d.dev, path, VHO_VU_SERVER, &rig.h.host, &rig.vu);
}

static int open_dir(void **state)
{
	open_net(state);
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
	snprintf(dir + strlen(dir) - 6, 7, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	return 0;
}

static int close_dir(void **state)
{
	int ret = close_rig(state);

	unlink(path);
	return rmdir(dir) ? -1 : ret; // also fails when something was left there
}

static void one_session_at_a_time(void **state)
{
	int first, second;
	struct stat st;

	(void)state;
	assert_int_equal(serve(), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	first = connect_to();
	assert_true(rig.d.dev.connected);
	second = connect_to();
	assert_int_equal(stats().sessions, 1);
	close(first);
	fake_host_run(&rig.h);
	assert_int_equal(stats().sessions, 2);
	assert_true(rig.d.dev.connected);
	close(second);
	fake_host_run(&rig.h);
	assert_false(rig.d.dev.connected);
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
	assert_int_equal(lstat(path, &st), -1);
}

static void jr07_live_socket_stays(void **state)
{
	int live = listen_on();

	(void)state;
	assert_int_equal(serve(), -EADDRINUSE);
	close(live);
	// Now nobody listens: stale, and replaced
	assert_int_equal(serve(), 0);
	close(connect_to());
	fake_host_run(&rig.h);
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
}

static void jr07_other_files_stay(void **state)
{
	char target[80];
	struct stat st;
	int fd;

	(void)state;
	snprintf(target, sizeof(target), "%s/target", dir);
	fd = open(target, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(serve(), -ELOOP);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	unlink(path);
	assert_int_equal(link(target, path), 0);
	assert_int_equal(serve(), -EEXIST);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(serve(), -EEXIST);
	unlink(path);
	assert_int_equal(symlink("/nonexistent/dangling", path), 0);
	assert_int_equal(serve(), -ELOOP);
	assert_int_equal(unlink(target), 0);
}

/* What replaced our socket is not ours to remove. */
static void jr07_removes_only_its_own(void **state)
{
	struct stat st;
	int other;

	(void)state;
	assert_int_equal(serve(), 0);
	unlink(path);
	other = listen_on();
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
	assert_int_equal(lstat(path, &st), 0);
	close(other);
}

/* Each step of opening a socket fails: an error, no file on disk, no descriptor kept. */
static void creation_fails(void **state)
{
	static const struct {
		enum vho_vu_mode mode;
		bool no_memory, no_watch, no_fds;
		int ret;
	} cases[] = {
		{ VHO_VU_SERVER, true, false, false, -ENOMEM },
		{ VHO_VU_SERVER, false, true, false, -ENOMEM },
		{ VHO_VU_SERVER, false, false, true, -EMFILE },
		{ VHO_VU_CLIENT, true, false, false, -ENOMEM },
	};
	struct rlimit old, none;
	struct vho_vu *vu = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		unsigned fds = fake_open_fds();
		int ret;

		none = old;
		none.rlim_cur = cases[i].no_fds ? 0 : old.rlim_cur;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		rig.h.no_watch = cases[i].no_watch;
		dpu_alloc_fail_after(cases[i].no_memory ? 0 : -1);
		ret = vho_vu_create(&rig.d.dev, path, cases[i].mode, &rig.h.host, &vu);
		dpu_alloc_fail_after(-1);
		rig.h.no_watch = false;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(ret, cases[i].ret);
		assert_null(vu);
		assert_int_equal(fake_open_fds(), fds);
		assert_int_equal(lstat(path, &st), -1);
	}
}

static void path_too_long(void **state)
{
	char longer[200];

	(void)state;
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(vho_vu_create(&rig.d.dev, longer, VHO_VU_SERVER, &rig.h.host, &rig.vu),
		-ENAMETOOLONG);
	assert_int_equal(
		vho_vu_create(&rig.d.dev, "", VHO_VU_SERVER, &rig.h.host, &rig.vu), -ENAMETOOLONG);
}

/* The client comes back whenever its front-end does, and does not spin while it is away. */
static void client_reconnects(void **state)
{
	int listener, fd;

	(void)state;
	assert_int_equal(vho_vu_create(&rig.d.dev, path, VHO_VU_CLIENT, &rig.h.host, &rig.vu), 0);
	fake_host_advance(&rig.h, 5000);
	assert_int_equal(stats().sessions, 0);
	listener = listen_on();
	for (unsigned i = 1; i <= 5; i++) {
		fake_host_advance(&rig.h, 1000);
		assert_int_equal(stats().sessions, i);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		assert_true(rig.d.dev.connected);
		close(fd);
		fake_host_run(&rig.h);
		assert_false(rig.d.dev.connected);
	}
	close(listener);
	fake_host_advance(&rig.h, 5000);
	assert_int_equal(stats().sessions, 5);
	vho_vu_destroy(rig.vu);
	rig.vu = NULL;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, open_net, close_rig)
#define D(fn) cmocka_unit_test_setup_teardown(fn, open_dir, close_dir)
	static const struct CMUnitTest tests[] = {
		T(one_byte_at_a_time),
		T(burst_is_bounded),
		T(vu05_fds_cut),
		T(vu05_fds_in_pieces),
		T(replies_never_block),
		T(truncated_memory_ends_the_session),
		T(truncated_log_ends_the_session),
		T(truncated_inflight_ends_the_session),
		T(status_0_keeps_the_base),
		T(status_0_keeps_what_is_in_flight),
		T(vu27_ends_in_every_state),
		T(vu21_any_order),
		T(out_of_memory),
		D(one_session_at_a_time),
		D(jr07_live_socket_stays),
		D(jr07_other_files_stay),
		D(jr07_removes_only_its_own),
		D(path_too_long),
		D(creation_fails),
		D(client_reconnects),
	};
	int failed = 0, fd = rig_eventfd();

	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	RUN_ROWS(header_cases, bad_header, failed);
	failed += cmocka_run_group_tests_name("session", tests, NULL, NULL);
	return failed;
}
