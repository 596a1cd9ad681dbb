// SPDX-License-Identifier: Apache-2.0
/* A device's state on its way to another process: vhost-user, "Migrating back-end state". */
#include "state.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "dpu_log.h"
#include "vu_side.h"

#define FEATURES                                                                             \
	(1ull << VU_F_PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1 |                       \
		1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_CTRL_RX |                \
		1ull << VIRTIO_NET_F_CTRL_RX_EXTRA | 1ull << VIRTIO_NET_F_CTRL_VLAN |        \
		1ull << VIRTIO_NET_F_CTRL_MAC_ADDR | 1ull << VIRTIO_NET_F_MQ |               \
		1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS | 1ull << VIRTIO_NET_F_GUEST_CSUM | \
		1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_RSS |                 \
		1ull << VIRTIO_NET_F_NOTF_COAL)
#define PAIRS 2
#define CTRL (2 * PAIRS)

static struct side from, to;
static unsigned fds_before;

static int open_nets(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	side_open(&from, VHO_DEV_NET, PAIRS);
	side_talk(&from);
	side_open(&to, VHO_DEV_NET, PAIRS);
	side_talk(&to);
	return 0;
}

static int open_disks(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	side_open(&from, VHO_DEV_BLK, 1);
	side_talk(&from);
	side_open(&to, VHO_DEV_BLK, 1);
	side_talk(&to);
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	side_close(&from);
	side_close(&to);
	return fake_open_fds() != fds_before;
}

/* Negotiated, and the control queue runs from `base` on. */
static void run(struct side *s, uint32_t base)
{
	int kick = rig_eventfd();

	assert_int_equal(front_call_u64(&s->f, VU_SET_FEATURES, FEATURES), 0);
	assert_int_equal(front_mem_table(&s->f), 0);
	assert_int_equal(front_call_state(&s->f, VU_SET_VRING_NUM, CTRL, 64), 0);
	assert_int_equal(front_call_state(&s->f, VU_SET_VRING_BASE, CTRL, base), 0);
	assert_int_equal(front_ring_addr(&s->f, CTRL), 0);
	assert_int_equal(front_call_fd(&s->f, VU_SET_VRING_KICK, CTRL, kick), 0);
	assert_int_equal(front_call_state(&s->f, VU_SET_VRING_ENABLE, CTRL, 1), 0);
	assert_true(s->net->ctrl_seen);
	close(kick);
}

static void stop(struct side *s)
{
	struct vu_vring_state v = { .index = CTRL };
	struct vu_msg m;

	front_send(&s->f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &v, sizeof(v), NULL, 0);
	assert_int_equal(front_recv(&s->f, &m, NULL), sizeof(v));
}

/* One control command as the driver gives it. */
static void command(struct side *s, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	uint8_t head[2] = { class, cmd }, status = 0xff;
	struct iovec iov[3] = { { head, 2 }, { (void *)(uintptr_t)data, len }, { &status, 1 } };
	struct vho_chain c = {
		.n_out = 2, .n_in = 1, .max = 3, .out_len = 2 + len, .in_len = 1, .iov = iov
	};

	assert_int_equal(vho_net_ctrl_handle(&s->net->ctrl, s->net->dev.features, &c), 1);
	assert_int_equal(status, VIRTIO_NET_OK);
}

/* Something in everything that a driver can set. */
static void set_all(struct side *s)
{
	static const uint8_t off = 0, on = 1, mac[6] = { 2, 0, 0, 0, 0, 99 };
	static const uint8_t tables[] = { 2, 0, 0, 0, 2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 0, 0,
		0, 1, 0, 0x5e, 1, 2, 3 };
	static const uint8_t pairs[2] = { 1, 0 }, vlan[2] = { 0xe9, 3 };
	static const uint8_t rss[] = { 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, PAIRS, 0, 4, 9, 8, 7,
		6 };
	static const uint8_t offloads[8] = { 1 << VIRTIO_NET_F_GUEST_CSUM };

	command(s, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
	command(s, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, &on, 1);
	command(s, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1);
	command(s, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6);
	command(s, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, tables, sizeof(tables));
	command(s, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vlan, 2);
	command(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs, 2);
	command(s, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, rss, sizeof(rss));
	command(s, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, offloads, 8);
}

static void assert_same(const struct side *a, const struct side *b)
{
	struct vho_net_ctrl_saved x, y;

	memset(&x, 0, sizeof(x));
	memset(&y, 0, sizeof(y));
	vho_net_ctrl_save(&a->net->ctrl, &x);
	vho_net_ctrl_save(&b->net->ctrl, &y);
	assert_memory_equal(&x.filter, &y.filter, sizeof(x.filter));
	assert_int_equal(x.guest_offloads, y.guest_offloads);
	assert_int_equal(x.pairs, y.pairs);
	assert_int_equal(x.announce, y.announce);
	assert_int_equal(x.has_hash, y.has_hash);
	assert_memory_equal(&x.hash, &y.hash, sizeof(x.hash));
	assert_memory_equal(x.coal, y.coal, sizeof(x.coal));
}

/* As after a driver that has set nothing. */
static bool untouched(const struct side *s)
{
	return s->net->ctrl.want.promisc && !vho_net_ctrl_hash(&s->net->ctrl) &&
	       s->net->ctrl.pairs == 0 && s->net->ctrl.want.mac[5] == 1;
}

/* ---- the channel ---- */

/* SET_DEVICE_STATE_FD with a pipe's end: the answer's code, and the fd to use instead. */
static uint64_t transfer(struct side *s, uint32_t direction, uint32_t phase, int *fd)
{
	struct vu_transfer t = { .direction = direction, .phase = phase };
	struct vu_msg m;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	front_send(&s->f, VU_SET_DEVICE_STATE_FD, VU_FLAG_VERSION, &t, sizeof(t),
		&ends[direction == 0], 1);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(front_recv(&s->f, &m, fd), 8);
	assert_int_equal(*fd >= 0, m.p.u64 == 0);
	return m.p.u64;
}

static uint64_t check(struct side *s)
{
	return front_get(&s->f, VU_CHECK_DEVICE_STATE);
}

static size_t save(struct side *s, uint8_t *buf, size_t size)
{
	ssize_t n;
	int fd;

	assert_int_equal(transfer(s, 0, 0, &fd), 0);
	n = read(fd, buf, size); // as a front-end does: from where the fd stands to the end
	assert_true(n > 0);
	assert_int_equal(read(fd, buf, 0), 0);
	assert_int_equal(write(fd, "x", 1), -1); // its size is fixed
	close(fd);
	assert_int_equal(check(s), 0);
	return (size_t)n;
}

static uint64_t load(struct side *s, const uint8_t *bytes, size_t len)
{
	int fd;

	assert_int_equal(transfer(s, 1, 0, &fd), 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	return check(s);
}

/* ---- tests ---- */

static void control_queue_migrates(void **state)
{
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	run(&from, 7);
	set_all(&from);
	stop(&from);
	n = save(&from, buf, sizeof(buf));
	assert_int_equal(load(&to, buf, n), 0);
	run(&to, 7);
	assert_same(&from, &to);
	assert_non_null(vho_net_ctrl_filter(&to.net->ctrl));
	assert_true(to.net->ctrl.want.vlan_filter);
	assert_int_equal(to.net->ctrl.pairs, PAIRS);

	// Back again, over a device that has a state of its own and is suspended
	stop(&to);
	set_all(&to);
	command(&to, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &(uint8_t){ 1 }, 1);
	n = save(&to, buf, sizeof(buf));
	assert_int_equal(load(&from, buf, n), 0);
	run(&from, 9);
	assert_same(&from, &to);
}

/* What a driver wants of its calls; a state of another number of queues is refused. */
static void coalescing_migrates(void **state)
{
	static const uint8_t coal[] = { 7, 0, 0, 0, 100, 0, 0, 0 };
	uint8_t buf[VHO_STATE_MAX];
	size_t n, at;

	(void)state;
	run(&from, 7);
	command(&from, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, coal,
		sizeof(coal));
	stop(&from);
	n = save(&from, buf, sizeof(buf));
	// The end, and before it 8 bytes for each queue behind 8 that say so
	at = n - 8 - (8 + 2 * PAIRS * 8);
	assert_int_equal(buf[at], 6);
	assert_int_equal(load(&to, buf, n), 0);
	run(&to, 7);
	assert_same(&from, &to);
	assert_true(vho_net_coalesces(to.net, 0));
	assert_false(vho_net_coalesces(to.net, 1));
	assert_true(atomic_load(&to.net->coalescing));

	stop(&to);
	buf[8] = (uint8_t)(buf[8] - 8); // one queue less, and all lengths say so
	buf[at + 4] = (uint8_t)(buf[at + 4] - 8);
	memmove(buf + n - 16, buf + n - 8, 8);
	assert_int_equal(load(&to, buf, n - 8), VU_STATE_ERROR);
}

/* The front-end keeps the control queue to itself: there is nothing to say. */
static void nothing_known(void **state)
{
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	n = save(&from, buf, sizeof(buf));
	assert_int_equal(n, 20);
	assert_int_equal(load(&to, buf, n), 0);
	run(&to, 7);
	assert_true(untouched(&to));
}

/* What the format was when it was given its number: a newer one must go on reading it. */
static void format_is_fixed(void **state)
{
	static const uint8_t head[] = { 'O', 'B', 'D', 'S', 1, 0, 1, 0, 0x96, 2, 0, 0 };
	static const uint8_t control[] = { 1, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 99, 0x22, 0,
		PAIRS, 0, 2, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t unicast[] = { 2, 0, 0, 0, 12, 0, 0, 0, 2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2,
		2 };
	static const uint8_t hash_head[] = { 5, 0, 0, 0, 54, 0, 0, 0, 1, 0, 0, 0, 6, 7, 8, 9, 0, 0,
		0, 0 };
	static const uint8_t hash_tail[] = { 1, 0, 1, 0, 1, 0, 1, 0, 0, 0 };
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	run(&from, 7);
	set_all(&from);
	stop(&from);
	n = save(&from, buf, sizeof(buf));
	assert_int_equal(n, 0x296);
	assert_memory_equal(buf, head, sizeof(head));
	assert_memory_equal(buf + 12, control, sizeof(control));
	assert_memory_equal(buf + 12 + sizeof(control), unicast, sizeof(unicast));
	assert_memory_equal(buf + 592, hash_head, sizeof(hash_head));
	assert_memory_equal(buf + 644, hash_tail, sizeof(hash_tail));
	assert_memory_equal(buf + n - 8, ((uint8_t[]){ 0xff, 0xff, 0, 0, 0, 0, 0, 0 }), 8);
}

static void transfer_is_refused(void **state)
{
	static const uint32_t bad[][2] = { { 2, 0 }, { UINT32_MAX, 0 }, { 0, 1 }, { 1, 7 } };
	struct vu_msg m;
	int fd;

	(void)state;
	assert_int_equal(check(&from), VU_STATE_ERROR); // of what?
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			transfer(&from, bad[i][0], bad[i][1], &fd), VU_STATE_ERROR | VU_STATE_NOFD);
	front_send(&from.f, VU_SET_DEVICE_STATE_FD, VU_FLAG_VERSION, &(struct vu_transfer){ 0 }, 8,
		NULL, 0);
	assert_int_equal(front_recv(&from.f, &m, NULL), 8);
	assert_int_equal(m.p.u64, VU_STATE_ERROR | VU_STATE_NOFD);
	run(&from, 7);
	for (uint32_t direction = 0; direction < 2; direction++)
		assert_int_equal(
			transfer(&from, direction, 0, &fd), VU_STATE_ERROR | VU_STATE_NOFD);
	assert_false(front_closed(&from.f));

	// A ring that starts between the two messages: the state comes too late
	assert_int_equal(transfer(&to, 1, 0, &fd), 0);
	run(&to, 7);
	close(fd);
	assert_int_equal(check(&to), VU_STATE_ERROR);
	assert_int_equal(check(&to), VU_STATE_ERROR);
}

/* The channel holds no more than it is made for, and a session that ends takes it along. */
static void channel_is_bounded(void **state)
{
	static uint8_t much[VHO_STATE_MAX + 1];
	int fd;

	(void)state;
	for (unsigned i = 0; i < 100; i++) { // each takes the place of the one before
		assert_int_equal(transfer(&to, 1, 0, &fd), 0);
		assert_true(write(fd, much, sizeof(much)) <= VHO_STATE_MAX);
		assert_int_equal(write(fd, much, 1), -1);
		assert_int_equal(ftruncate(fd, 0), -1);
		close(fd);
	}
	assert_int_equal(transfer(&to, 1, 0, &fd), 0);
	close(fd);
}

static const struct hostile_case {
	const char *name;
	size_t at; // of the state that set_all() makes
	uint8_t bytes[4];
	uint8_t n;
} hostile_cases[] = {
	{ "magic", 0, { 'X' }, 1 },
	{ "version 0", 4, { 0 }, 1 },
	{ "version 2", 4, { 2 }, 1 },
	{ "a disk's", 6, { 2 }, 1 },
	{ "total length 0", 8, { 0, 0, 0, 0 }, 4 },
	{ "total length in the header", 8, { 11, 0, 0, 0 }, 4 },
	{ "total length cuts a part", 8, { 0x50, 0, 0, 0 }, 4 },
	{ "total length 2^32-1", 8, { 255, 255, 255, 255 }, 4 },
	{ "part 0", 12, { 0, 0 }, 2 },
	{ "unknown part", 12, { 9, 0 }, 2 },
	{ "tag past the table", 12, { 16, 0 }, 2 },
	{ "reserved field", 14, { 1 }, 1 },
	{ "part of 2^32-1 bytes", 16, { 255, 255, 255, 255 }, 4 },
	{ "part one byte short", 16, { 17 }, 1 },
	{ "end in the middle", 12, { 255, 255 }, 2 },
	{ "the same part twice", 38, { 3, 0 }, 2 },
	{ "group address as MAC", 20, { 1 }, 1 },
	{ "unknown flag", 27, { 4 }, 1 },
	{ "more pairs than there are", 28, { PAIRS + 1, 0 }, 2 },
	{ "pairs 2^16-1", 28, { 255, 255 }, 2 },
	{ "offloads not offered", 35, { 0x80 }, 1 },
	{ "full table with entries", 26, { 0x62 }, 1 },
	{ "table not of whole addresses", 42, { 11 }, 1 },
	{ "hash type that does not exist", 601, { 2 }, 1 },
	{ "hash that is neither", 644, { 2 }, 1 },
	{ "hash without its table", 644, { 0 }, 1 },
	{ "table of three", 646, { 2 }, 1 },
	{ "table of 2^16", 646, { 255, 255 }, 2 },
	{ "no hash to no pair", 648, { PAIRS }, 1 },
	{ "table with no such pair", 650, { PAIRS }, 1 },
};

static size_t good_state(uint8_t *buf)
{
	run(&from, 7);
	set_all(&from);
	stop(&from);
	return save(&from, buf, VHO_STATE_MAX);
}

static void hostile_state(void **state)
{
	const struct hostile_case *t = *state;
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	open_nets(NULL);
	n = good_state(buf);
	memcpy(buf + t->at, t->bytes, t->n);
	assert_int_equal(load(&to, buf, n), VU_STATE_ERROR);
	assert_false(to.net->has_kept);
	run(&to, 7);
	assert_true(untouched(&to));
	assert_int_equal(close_both(NULL), 0);
}

/* Cut anywhere it is refused; with any byte changed it is refused, or what a driver can set. */
static void hostile_bytes(void **state)
{
	uint8_t buf[VHO_STATE_MAX], bad[VHO_STATE_MAX];
	size_t n;

	(void)state;
	n = good_state(buf);
	for (size_t len = 0; len < n; len++) {
		assert_int_not_equal(vho_state_load(&to.net->dev, VHO_STATE_MIGRATE, buf, len), 0);
		assert_false(to.net->has_kept);
	}
	for (size_t at = 0; at < n; at++)
		for (unsigned flip = 1; flip < 256; flip++) {
			memcpy(bad, buf, n);
			bad[at] ^= (uint8_t)flip;
			to.net->has_kept = false;
			if (vho_state_load(&to.net->dev, VHO_STATE_MIGRATE, bad, n) == 0)
				assert_true(to.net->kept.pairs <= PAIRS &&
					    to.net->kept.filter.n_uni <= VHO_NET_FILTER_MACS);
		}
}

static void unknown_parts(void **state)
{
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	n = good_state(buf);
	memcpy(buf + n - 8, ((uint8_t[]){ 7, 0x80, 0, 0, 0, 0, 0, 0 }), 8); // one to be ignored
	memcpy(buf + n, ((uint8_t[]){ 0xff, 0xff, 0, 0, 0, 0, 0, 0 }), 8);
	buf[8] = (uint8_t)(n + 8);
	assert_int_equal(load(&to, buf, n + 8), 0);
	run(&to, 7);
	assert_same(&from, &to);
}

/* Status 0 at a stop (QEMU): the rings go on, and with them what was set. */
static void kept_over_a_stop(void **state)
{
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	run(&from, 7);
	set_all(&from);
	stop(&from);
	assert_int_equal(front_call_u64(&from.f, VU_SET_STATUS, 0), 0);
	n = save(&from, buf, sizeof(buf)); // after it, as QEMU does
	assert_int_equal(front_call_u64(&from.f, VU_SET_STATUS, 0), 0);
	run(&from, 8);
	assert_int_equal(from.net->ctrl.want.mac[5], 99);
	assert_int_equal(load(&to, buf, n), 0);
	run(&to, 8);
	assert_same(&from, &to);
}

/* A driver that begins anew gets nothing of the one before it. */
static void not_for_the_next_driver(void **state)
{
	uint8_t buf[VHO_STATE_MAX];
	size_t n;

	(void)state;
	run(&from, 7);
	set_all(&from);
	stop(&from);
	assert_int_equal(front_call_u64(&from.f, VU_SET_STATUS, 0), 0);
	n = save(&from, buf, sizeof(buf));
	run(&from, 0);
	assert_true(untouched(&from));
	assert_int_equal(load(&to, buf, n), 0);
	run(&to, 0);
	assert_true(untouched(&to));

	set_all(&from);
	stop(&from);
	n = save(&from, buf, sizeof(buf));
	stop(&to);
	assert_int_equal(load(&to, buf, n), 0);
	assert_int_equal(front_call(&to.f, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	run(&to, 8);
	assert_true(untouched(&to));
}

static void cache_mode_migrates(void **state)
{
	struct vu_config c = { .off = 32, .size = 1 };
	uint64_t features = 1ull << VU_F_PROTOCOL_FEATURES | 1ull << VIRTIO_F_VERSION_1 |
			    1ull << 9 | 1ull << 11; // FLUSH, CONFIG_WCE
	uint8_t buf[VHO_STATE_MAX];
	struct vu_msg m;
	size_t n;

	(void)state;
	n = save(&from, buf, sizeof(buf));
	assert_int_equal(n, 20); // nobody has chosen yet
	assert_int_equal(load(&to, buf, n), 0);
	for (uint8_t on = 0; on < 2; on++) {
		c.bytes[0] = on;
		assert_int_equal(front_call_u64(&from.f, VU_SET_FEATURES, features), 0);
		assert_int_equal(front_call(&from.f, VU_SET_CONFIG, &c, 13, NULL, 0), 0);
		n = save(&from, buf, sizeof(buf));
		assert_int_equal(load(&to, buf, n), 0);
		assert_int_equal(front_call_u64(&to.f, VU_SET_FEATURES, features), 0);
		front_send(&to.f, VU_GET_CONFIG, VU_FLAG_VERSION, &c, 13, NULL, 0);
		assert_int_equal(front_recv(&to.f, &m, NULL), 13);
		assert_int_equal(m.p.config.bytes[0], on);
	}
	buf[20] = 2;
	assert_int_equal(load(&to, buf, n), VU_STATE_ERROR);
	buf[6] = 1; // a NIC's
	assert_int_equal(load(&to, buf, n), VU_STATE_ERROR);
}

int main(void)
{
#define N(fn) cmocka_unit_test_setup_teardown(fn, open_nets, close_both)
	static const struct CMUnitTest tests[] = {
		N(control_queue_migrates),
		N(coalescing_migrates),
		N(nothing_known),
		N(format_is_fixed),
		N(transfer_is_refused),
		N(channel_is_bounded),
		N(hostile_bytes),
		N(unknown_parts),
		N(kept_over_a_stop),
		N(not_for_the_next_driver),
		cmocka_unit_test_setup_teardown(cache_mode_migrates, open_disks, close_both),
	};
	int failed = 0, fd = rig_eventfd();

	if (mbuf_env_start(NULL))
		return 1;
	dpu_log_level_set(DPU_LOG_ERR);
	vho_notify_fd(fd); // opens, once per thread, what it keeps
	close(fd);
	RUN_ROWS(hostile_cases, hostile_state, failed);
	failed += cmocka_run_group_tests_name("device state", tests, NULL, NULL);
	return failed;
}
