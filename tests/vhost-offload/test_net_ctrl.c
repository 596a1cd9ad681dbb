// SPDX-License-Identifier: Apache-2.0
/* Control commands of virtio-net: answers, limits, and the filter that follows. */
#include "net_ctrl.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include "dpu_alloc.h"
#include "fake_host.h"

#define BIT(n) (1ull << (n))
#define ALL_FEATURES                                                                               \
	(BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
		BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |                    \
		BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ) |                          \
		BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_GUEST_CSUM) |             \
		BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_RSS) |                             \
		BIT(VIRTIO_NET_F_HASH_REPORT) | BIT(VIRTIO_NET_F_NOTF_COAL) | BIT(52))
#define MAX_PAIRS 4

static const uint8_t own[6] = { 0x02, 0, 0, 0, 0, 1 };
static const uint8_t other[6] = { 0x02, 0, 0, 0, 0, 2 };
static const uint8_t group[6] = { 0x01, 0, 0x5e, 0, 0, 1 };
static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct fake_host host;
static struct vho_net_ctrl ctrl;

static int setup(void **state)
{
	(void)state;
	fake_host_init(&host);
	vho_net_ctrl_init(&ctrl, &host.host, own, MAX_PAIRS);
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vho_net_ctrl_fini(&ctrl);
	return 0;
}

/* Run a command given as one stretch of bytes, cut into segments of at most `cut`. */
static uint8_t run_cut(uint64_t features, const void *bytes, size_t len, size_t cut)
{
	uint8_t *copy = malloc(len ? len : 1), ack = 0xaa;
	struct iovec iov[2000];
	struct vho_chain c = { .iov = iov, .out_len = len, .in_len = 1 };

	memcpy(copy, bytes, len);
	for (size_t off = 0; off < len; off += cut) {
		size_t n = len - off < cut ? len - off : cut;

		assert_true(c.n_out < ARRAY_LEN(iov) - 1);
		iov[c.n_out++] = (struct iovec){ copy + off, n };
	}
	iov[c.n_out] = (struct iovec){ &ack, 1 };
	c.n_in = 1;
	assert_int_equal(vho_net_ctrl_handle(&ctrl, features, &c), 1);
	free(copy);
	return ack;
}

static uint8_t run(const void *bytes, size_t len)
{
	return run_cut(ALL_FEATURES, bytes, len, 2000);
}

static bool pass(const uint8_t dst[6], int vid)
{
	uint8_t frame[18] = { 0 };

	memcpy(frame, dst, 6);
	frame[12] = vid < 0 ? 0x08 : 0x81;
	if (vid >= 0) {
		frame[14] = (uint8_t)(0xe0 | vid >> 8); // priority bits are not the VID
		frame[15] = (uint8_t)vid;
	}
	return vho_net_filter_pass(vho_net_ctrl_filter(&ctrl), frame, sizeof(frame));
}

/* ---- refused commands: VIRTIO_NET_ERR, and nothing changes ---- */

/*
 * RSS_CONFIG with a table of one: second byte of the types (the first: IPv4), mask, pair of what is
 * unclassified, the table's entry in two bytes, transmitqs, bytes of the key, of which one follows.
 */
#define RSS(types, mask, unclassified, low, high, tx, key)                                        \
	{                                                                                         \
		4, 1, 1, types, 0, 0, mask, 0, unclassified, 0, low, high, tx, 0, key, 9, 9, 9, 9 \
	}

static const struct refuse_case {
	const char *name;
	uint64_t without; // a feature that is not negotiated here
	size_t len;
	uint8_t bytes[24];
} refuse_cases[] = {
	{ "VN-13 class 0xff", 0, 3, { 0xff, 0, 0 } },
	{ "VN-13 command 0xff of class RX", 0, 3, { 0, 0xff, 1 } },
	{ "VN-13 command 0xff of class MAC", 0, 8, { 1, 0xff, 2, 0, 0, 0, 0, 9 } },
	{ "VN-13 command 0xff of class VLAN", 0, 4, { 2, 0xff, 1, 0 } },
	{ "VN-13 command 0xff of class ANNOUNCE", 0, 2, { 3, 0xff } },
	{ "VN-13 command 0xff of class MQ", 0, 4, { 4, 0xff, 1, 0 } },
	{ "VN-13 command 0xff of class OFFLOADS", 0, 10, { 5, 0xff } },
	{ "VN-13 command 0xff of class NOTF_COAL", 0, 10, { 6, 0xff } },
	{ "VN-13 first class past the table", 0, 3, { 7, 0, 0 } },
	{ "nothing", 0, 0, { 0 } },
	{ "half a header", 0, 1, { 0 } },
	{ "RX mode without its byte", 0, 2, { 0, 0 } },
	{ "RX mode with a byte too many", 0, 4, { 0, 0, 0, 0 } },
	{ "RX mode not negotiated", BIT(VIRTIO_NET_F_CTRL_RX), 3, { 0, 0, 0 } },
	{ "RX extra not negotiated", BIT(VIRTIO_NET_F_CTRL_RX_EXTRA), 3, { 0, 5, 1 } },
	{ "VN-14 2^32-1 entries", 0, 14, { 1, 0, 0xff, 0xff, 0xff, 0xff } },
	{ "VN-14 entries that wrap times 6", 0, 14, { 1, 0, 0xab, 0xaa, 0xaa, 0x2a } },
	{ "VN-14 table cut in an address", 0, 11, { 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0 } },
	{ "VN-14 second table missing", 0, 12, { 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 9 } },
	{ "VN-14 second table cut", 0, 14, { 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4 } },
	{ "VN-14 bytes after the tables", 0, 11, { 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7 } },
	{ "own MAC a group address", 0, 8, { 1, 1, 1, 0, 0, 0, 0, 9 } },
	{ "own MAC cut", 0, 7, { 1, 1, 2, 0, 0, 0, 0 } },
	{ "own MAC not negotiated", BIT(VIRTIO_NET_F_CTRL_MAC_ADDR), 8,
		{ 1, 1, 2, 0, 0, 0, 0, 9 } },
	{ "VLAN 4096", 0, 4, { 2, 0, 0x00, 0x10 } },
	{ "VLAN 65535 removed", 0, 4, { 2, 1, 0xff, 0xff } },
	{ "VLAN not negotiated", BIT(VIRTIO_NET_F_CTRL_VLAN), 4, { 2, 0, 5, 0 } },
	{ "announce not negotiated", BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), 2, { 3, 0 } },
	{ "VN-15 no pairs", 0, 4, { 4, 0, 0, 0 } },
	{ "VN-15 one pair too many", 0, 4, { 4, 0, MAX_PAIRS + 1, 0 } },
	{ "VN-15 0x8001 pairs", 0, 4, { 4, 0, 0x01, 0x80 } },
	{ "pairs without MQ", BIT(VIRTIO_NET_F_MQ), 4, { 4, 0, 1, 0 } },
	{ "VN-19 RSS not negotiated", BIT(VIRTIO_NET_F_RSS), 18, RSS(0, 0, 0, 0, 0, 1, 1) },
	{ "RSS nothing", 0, 2, { 4, 1 } },
	{ "RSS cut in its table", 0, 11, RSS(0, 0, 0, 0, 0, 1, 1) },
	{ "RSS cut in its key", 0, 17, RSS(0, 0, 0, 0, 0, 1, 1) },
	{ "RSS bytes after its key", 0, 19, RSS(0, 0, 0, 0, 0, 1, 1) },
	{ "RSS type 9", 0, 18, RSS(2, 0, 0, 0, 0, 1, 1) },
	{ "RSS type that is enabled without a key", 0, 17, RSS(0, 0, 0, 0, 0, 1, 0) },
	{ "RSS table of 3, whole", 0, 22,
		{ 4, 1, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 9, 9, 9 } },
	{ "RSS pair that there is not for the unclassified", 0, 18,
		RSS(0, 0, MAX_PAIRS, 0, 0, 1, 1) },
	{ "RSS pair that there is not in the table", 0, 18, RSS(0, 0, 0, MAX_PAIRS, 0, 1, 1) },
	{ "RSS reserved bit in the table", 0, 18, RSS(0, 0, 0, 0, 0x80, 1, 1) },
	{ "RSS no transmitq", 0, 18, RSS(0, 0, 0, 0, 0, 0, 1) },
	{ "RSS one transmitq too many", 0, 18, RSS(0, 0, 0, 0, 0, MAX_PAIRS + 1, 1) },
	{ "RSS key of 41 bytes", 0, 18, RSS(0, 0, 0, 0, 0, 1, 41) },
	{ "VN-19 hash report not negotiated", BIT(VIRTIO_NET_F_HASH_REPORT), 16,
		{ 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9 } },
	{ "hash report cut", 0, 14, { 4, 2, 1 } },
	{ "hash report of type 31", 0, 16, { 4, 2, 1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9 } },
	{ "hash report without a key", 0, 15, { 4, 2, 1 } },
	{ "hash report with a key of 255 bytes", 0, 16,
		{ 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 9 } },
	{ "coalescing not negotiated", BIT(VIRTIO_NET_F_NOTF_COAL), 10, { 6, 1, 1, 0, 0, 0, 1 } },
	{ "coalescing cut", 0, 9, { 6, 1, 1, 0, 0, 0, 1 } },
	{ "coalescing with a byte too many", 0, 11, { 6, 0, 1, 0, 0, 0, 1 } },
	{ "coalescing of a queue not negotiated", BIT(52), 14,
		{ 6, 2, 1, 0, 0, 0, 1, 0, 0, 0, 1 } },
	{ "coalescing of the control queue", 0, 14,
		{ 6, 2, 2 * MAX_PAIRS, 0, 0, 0, 1, 0, 0, 0, 1 } },
	{ "coalescing of queue 65535", 0, 14, { 6, 2, 0xff, 0xff, 0, 0, 1, 0, 0, 0, 1 } },
	{ "coalescing of a queue, cut", 0, 13, { 6, 2, 1, 0, 0, 0, 1, 0, 0, 0, 1 } },
	{ "coalescing of a queue read, cut", 0, 5, { 6, 3, 1 } },
	{ "coalescing of a queue read, too long", 0, 7, { 6, 3, 1 } },
	{ "coalescing of a queue read without room", 0, 6, { 6, 3, 1, 0, 0, 0 } },
	{ "command 3 of class MQ", 0, 4, { 4, 3, 1, 0 } },
	{ "VN-19 offload not negotiated", 0, 10, { 5, 0, 0, 1 } }, // GUEST_TSO6
	{ "VN-19 bit that is no offload", 0, 10, { 5, 0, 0, 0, 0, 0, 0, 0, 0, 0x80 } },
	{ "offloads not negotiated", BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), 10, { 5, 0 } },
	{ "offloads cut", 0, 9, { 5, 0 } },
};

static void refused(void **state)
{
	const struct refuse_case *t = *state;
	struct vho_net_filter before;
	const struct vho_net_filter *shown;

	setup(state);
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK); // promiscuous mode off
	assert_int_equal(run("\x04\x00\x02\x00", 4), VIRTIO_NET_OK);
	atomic_store(&ctrl.announce, true);
	before = ctrl.want;
	shown = vho_net_ctrl_filter(&ctrl);
	assert_int_equal(
		run_cut(ALL_FEATURES & ~t->without, t->bytes, t->len, 2000), VIRTIO_NET_ERR);
	assert_memory_equal(&ctrl.want.mac, &before.mac, 6);
	assert_memory_equal(ctrl.want.vlans, before.vlans, sizeof(before.vlans));
	assert_int_equal(ctrl.want.n_uni, before.n_uni);
	assert_ptr_equal(vho_net_ctrl_filter(&ctrl), shown);
	assert_int_equal(atomic_load(&ctrl.pairs), 2);
	assert_null(vho_net_ctrl_hash(&ctrl));
	for (unsigned idx = 0; idx < 2 * MAX_PAIRS; idx++)
		assert_int_equal(vho_net_ctrl_coal(&ctrl, idx), 0);
	assert_true(atomic_load(&ctrl.announce));
	assert_true(atomic_load(&ctrl.guest_offloads) ==
		    (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4)));
	assert_int_equal(atomic_load(&ctrl.refused), 1);
	teardown(state);
}

/* ---- accepted commands ---- */

static void accepts_all_at_first(void **state)
{
	(void)state;
	assert_null(vho_net_ctrl_filter(&ctrl));
	assert_true(pass(other, 77));
}

static void rx_modes(void **state)
{
	static const struct {
		uint8_t cmd;
		const uint8_t *dst;
		bool off, on; // passes with the mode off, on
	} modes[] = {
		{ VIRTIO_NET_CTRL_RX_PROMISC, other, false, true },
		{ VIRTIO_NET_CTRL_RX_ALLMULTI, group, false, true },
		{ VIRTIO_NET_CTRL_RX_ALLMULTI, other, false, false },
		{ VIRTIO_NET_CTRL_RX_ALLUNI, other, false, true },
		{ VIRTIO_NET_CTRL_RX_ALLUNI, group, false, false },
		{ VIRTIO_NET_CTRL_RX_NOMULTI, all, true, true },
		{ VIRTIO_NET_CTRL_RX_NOUNI, own, true, false },
		{ VIRTIO_NET_CTRL_RX_NOBCAST, all, true, false },
	};

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		uint8_t cmd[3] = { 0, modes[i].cmd, 0 };

		assert_int_equal(pass(modes[i].dst, -1), modes[i].off);
		cmd[2] = 1;
		assert_int_equal(run(cmd, 3), VIRTIO_NET_OK);
		assert_int_equal(pass(modes[i].dst, -1), modes[i].on);
		cmd[2] = 0;
		assert_int_equal(run(cmd, 3), VIRTIO_NET_OK);
	}
}

static size_t mac_table(uint8_t *cmd, uint16_t n_uni, uint16_t n_multi)
{
	size_t at = 2;

	cmd[0] = VIRTIO_NET_CTRL_MAC;
	cmd[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	for (unsigned kind = 0; kind < 2; kind++) {
		uint16_t n = kind ? n_multi : n_uni;
		uint8_t head[4] = { (uint8_t)n, (uint8_t)(n >> 8), 0, 0 };

		memcpy(cmd + at, head, 4);
		at += 4;
		for (uint16_t i = 0; i < n; i++, at += 6)
			memcpy(cmd + at,
				(uint8_t[6]){
					kind ? 1 : 2, 0, 0, 1, (uint8_t)(i >> 8), (uint8_t)i },
				6);
	}
	return at;
}

static void mac_tables(void **state)
{
	uint8_t cmd[2 + 8 + 6 * 300];
	uint8_t uni[6] = { 2, 0, 0, 1, 0, 63 }, multi[6] = { 1, 0, 0, 1, 0, 2 };
	size_t len = mac_table(cmd, 64, 3);

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	for (size_t cut = 1; cut < 20; cut += 3) { // whatever the driver's segments
		assert_int_equal(run_cut(ALL_FEATURES, cmd, len, cut), VIRTIO_NET_OK);
		assert_true(pass(uni, -1));
		assert_true(pass(multi, -1));
		assert_true(pass(own, -1));
		assert_false(pass(other, -1));
		assert_false(pass(group, -1));
	}
	// VN-14: more than we hold accepts all of that kind, and only of that kind
	len = mac_table(cmd, 65, 3);
	assert_int_equal(run(cmd, len), VIRTIO_NET_OK);
	assert_true(pass(other, -1));
	assert_false(pass(group, -1));
	len = mac_table(cmd, 0, 200);
	assert_int_equal(run(cmd, len), VIRTIO_NET_OK);
	assert_false(pass(other, -1));
	assert_true(pass(group, -1));
	len = mac_table(cmd, 0, 0);
	assert_int_equal(run(cmd, len), VIRTIO_NET_OK);
	assert_false(pass(uni, -1));
	assert_false(pass(group, -1));
}

/* VN-14: a million times the same table costs no memory and no waiting for workers. */
static void vn14_repeated(void **state)
{
	uint8_t cmd[2 + 8 + 6 * 300];
	size_t len = mac_table(cmd, 10, 10);
	unsigned syncs;

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	assert_int_equal(run(cmd, len), VIRTIO_NET_OK);
	syncs = host.syncs;
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(run(cmd, len), VIRTIO_NET_OK);
	assert_in_range(host.syncs, syncs, syncs + 1);
}

static void own_mac(void **state)
{
	static const uint8_t cmd[8] = { 1, 1, 0x02, 0, 0, 0, 0, 2 };

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	assert_int_equal(run(cmd, sizeof(cmd)), VIRTIO_NET_OK);
	assert_true(pass(other, -1));
	assert_false(pass(own, -1));
	assert_memory_equal(vho_net_ctrl_mac(&ctrl), other, 6);
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES);
	assert_memory_equal(vho_net_ctrl_mac(&ctrl), own, 6);
}

static void vlans(void **state)
{
	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	assert_true(pass(own, -1));
	assert_true(pass(own, 0)); // a priority tag
	assert_false(pass(own, 5));
	assert_int_equal(run("\x02\x00\x05\x00", 4), VIRTIO_NET_OK);
	assert_int_equal(run("\x02\x00\xff\x0f", 4), VIRTIO_NET_OK);
	assert_true(pass(own, 5));
	assert_true(pass(own, 4095));
	assert_false(pass(own, 6));
	assert_int_equal(run("\x02\x01\x05\x00", 4), VIRTIO_NET_OK);
	assert_false(pass(own, 5));
	// Without the feature tags are not looked at
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES & ~BIT(VIRTIO_NET_F_CTRL_VLAN));
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	assert_true(pass(own, 6));
}

static void pairs_offloads_announce(void **state)
{
	(void)state;
	assert_int_equal(atomic_load(&ctrl.pairs), 0);
	assert_int_equal(run("\x04\x00\x04\x00", 4), VIRTIO_NET_OK);
	assert_int_equal(atomic_load(&ctrl.pairs), 4);
	assert_int_equal(run("\x05\x00\x02\x00\x00\x00\x00\x00\x00\x00", 10), VIRTIO_NET_OK);
	assert_true(atomic_load(&ctrl.guest_offloads) == BIT(VIRTIO_NET_F_GUEST_CSUM));
	atomic_store(&ctrl.announce, true);
	assert_int_equal(run("\x03\x00", 2), VIRTIO_NET_OK);
	assert_false(atomic_load(&ctrl.announce));
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES);
	assert_int_equal(atomic_load(&ctrl.pairs), 0);
}

/* 5.1.6.5.7 and 5.1.6.4.3: what the last command of class MQ says is in force, all of it. */
static void hash_configs(void **state)
{
	static const uint8_t rss[] = { 4, 1, 0xff, 1, 0, 0, 1, 0, 2, 0, 1, 0, 3, 0, 4, 0, 1, 0x80 };
	static const uint8_t report[] = { 4, 2, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0x40 };
	static const uint8_t none[] = { 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	const struct vho_net_hash *h;
	uint8_t big[2 + 8 + 2 * 256 + 3 + 1];
	uint8_t full[2 + 8 + 2 * 128 + 3 + 40] = { 4, 1, 1, 0, 0, 0, 127, 0, 0, 0 };

	(void)state;
	for (size_t cut = 1; cut < sizeof(rss); cut += 4)
		assert_int_equal(run_cut(ALL_FEATURES, rss, sizeof(rss), cut), VIRTIO_NET_OK);
	h = vho_net_ctrl_hash(&ctrl);
	assert_true(h->rss);
	assert_int_equal(h->types, 0x1ff);
	assert_int_equal(h->mask, 1);
	assert_int_equal(h->unclassified, 2);
	assert_int_equal(h->table[0], 1);
	assert_int_equal(h->table[1], 3);
	assert_int_equal(h->key[0], 0x80000000);
	assert_int_equal(atomic_load(&ctrl.pairs), 4); // those up to the highest in the table

	// Without a key the report keeps nothing of it
	assert_int_equal(run(report, sizeof(report)), VIRTIO_NET_OK);
	h = vho_net_ctrl_hash(&ctrl);
	assert_false(h->rss);
	assert_int_equal(h->types, 8);
	assert_int_equal(h->key[0], 0x40000000);
	assert_int_equal(run(none, sizeof(none)), VIRTIO_NET_OK);
	assert_int_equal(vho_net_ctrl_hash(&ctrl)->types, 0);

	// One of twice the length that there may be, whole
	memset(big, 0, sizeof(big));
	big[0] = 4;
	big[1] = big[2] = 1;
	big[6] = 255;
	big[2 + 8 + 2 * 256] = big[2 + 8 + 2 * 256 + 2] = 1;
	assert_int_equal(run(big, sizeof(big)), VIRTIO_NET_ERR);

	// The longest that there is; a number of pairs ends RSS, but not what headers report
	full[2 + 8 + 2 * 128] = 1;
	full[2 + 8 + 2 * 128 + 2] = 40;
	full[sizeof(full) - 1] = 1;
	assert_int_equal(run(full, sizeof(full)), VIRTIO_NET_OK);
	assert_int_equal(vho_net_ctrl_hash(&ctrl)->key[9], 1);
	assert_int_equal(atomic_load(&ctrl.pairs), 1);
	dpu_alloc_fail_after(0);
	assert_int_equal(run("\x04\x00\x02\x00", 4), VIRTIO_NET_ERR);
	dpu_alloc_fail_after(0);
	assert_int_equal(run(rss, sizeof(rss)), VIRTIO_NET_ERR);
	dpu_alloc_fail_after(-1);
	assert_int_equal(atomic_load(&ctrl.pairs), 1);
	assert_int_equal(run("\x04\x00\x02\x00", 4), VIRTIO_NET_OK);
	assert_false(vho_net_ctrl_hash(&ctrl)->rss);
	assert_int_equal(vho_net_ctrl_hash(&ctrl)->types, 1);
	assert_int_equal(host.syncs, 8); // each time the old one was let go first
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES);
	assert_null(vho_net_ctrl_hash(&ctrl));
}

/* VQ_GET: the answer is the status, then packets and microseconds, in whatever pieces. */
static uint64_t coal_of(uint8_t idx, size_t cut)
{
	uint8_t cmd[] = { 6, 3, idx, 0, 0, 0 }, in[9];
	struct iovec iov[10] = { { cmd, sizeof(cmd) } };
	struct vho_chain c = { .iov = iov, .n_out = 1, .out_len = sizeof(cmd), .in_len = 9 };
	uint64_t conf;

	memset(in, 0xee, sizeof(in));
	for (size_t off = 0; off < sizeof(in); off += cut)
		iov[1 + c.n_in++] = (struct iovec){ in + off,
			sizeof(in) - off < cut ? sizeof(in) - off : cut };
	assert_int_equal(vho_net_ctrl_handle(&ctrl, ALL_FEATURES, &c), 9);
	assert_int_equal(in[0], VIRTIO_NET_OK);
	memcpy(&conf, in + 1, sizeof(conf));
	assert_true(conf == vho_net_ctrl_coal(&ctrl, idx));
	return conf;
}

/* 5.1.6.5.9 */
static void coalescing(void **state)
{
	(void)state;
	assert_int_equal(coal_of(0, 9), 0);
	assert_int_equal(run("\x06\x01\x08\0\0\0\x64\0\0\0", 10), VIRTIO_NET_OK); // receive
	assert_int_equal(run("\x06\x00\x40\0\0\0\0\x01\0\0", 10), VIRTIO_NET_OK); // transmit
	for (uint8_t idx = 0; idx < 2 * MAX_PAIRS; idx++)
		assert_true(
			coal_of(idx, 1 + idx) == (idx % 2 ? VHO_COAL(64, 256) : VHO_COAL(8, 100)));
	// One queue, then all of its kind again
	assert_int_equal(
		run("\x06\x02\x03\0\0\0\xff\xff\xff\xff\xfe\xff\xff\xff", 14), VIRTIO_NET_OK);
	assert_true(coal_of(3, 4) == VHO_COAL(UINT32_MAX, UINT32_MAX - 1));
	assert_true(coal_of(1, 4) == VHO_COAL(64, 256));
	assert_int_equal(run("\x06\x00\0\0\0\0\0\0\0\0", 10), VIRTIO_NET_OK);
	assert_true(coal_of(3, 4) == 0);
	assert_true(coal_of(2, 4) == VHO_COAL(8, 100));
	vho_net_ctrl_reset(&ctrl, ALL_FEATURES);
	assert_true(coal_of(2, 4) == 0);
}

/* The old filter goes only after the workers let go; without memory the old one stays in force. */
static void publishing(void **state)
{
	const struct vho_net_filter *shown;

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	assert_int_equal(host.syncs, 0);
	assert_int_equal(run("\x00\x01\x01", 3), VIRTIO_NET_OK);
	assert_int_equal(host.syncs, 1);
	shown = vho_net_ctrl_filter(&ctrl);
	dpu_alloc_fail_after(0);
	assert_int_equal(run("\x00\x01\x00", 3), VIRTIO_NET_ERR);
	dpu_alloc_fail_after(-1);
	assert_ptr_equal(vho_net_ctrl_filter(&ctrl), shown);
	assert_true(pass(group, -1));
	assert_int_equal(run("\x00\x00\x01", 3), VIRTIO_NET_OK);
	assert_null(vho_net_ctrl_filter(&ctrl));
}

/* A driver that leaves no room for the answer gets none; the command still counts. */
static void no_room_for_the_answer(void **state)
{
	uint8_t cmd[3] = { 0, 0, 0 };
	struct iovec iov[2] = { { cmd, 3 }, { cmd, 0 } };
	struct vho_chain c = { .iov = iov, .n_out = 1, .n_in = 0, .out_len = 3 };

	(void)state;
	assert_int_equal(vho_net_ctrl_handle(&ctrl, ALL_FEATURES, &c), 0);
	c.n_in = 1;
	assert_int_equal(vho_net_ctrl_handle(&ctrl, ALL_FEATURES, &c), 0);
	assert_non_null(vho_net_ctrl_filter(&ctrl));
}

static void short_frames(void **state)
{
	uint8_t frame[16] = { 0 };

	(void)state;
	assert_int_equal(run("\x00\x00\x00", 3), VIRTIO_NET_OK);
	memcpy(frame, own, 6);
	frame[12] = 0x81;
	assert_false(vho_net_filter_pass(vho_net_ctrl_filter(&ctrl), frame, 13));
	assert_true(vho_net_filter_pass(vho_net_ctrl_filter(&ctrl), frame, 14));
	assert_true(vho_net_filter_pass(NULL, frame, 0));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(accepts_all_at_first),
		T(rx_modes),
		T(mac_tables),
		T(vn14_repeated),
		T(own_mac),
		T(vlans),
		T(pairs_offloads_announce),
		T(hash_configs),
		T(coalescing),
		T(publishing),
		T(no_room_for_the_answer),
		T(short_frames),
	};
	int failed = 0;

	RUN_ROWS(refuse_cases, refused, failed);
	failed += cmocka_run_group_tests_name("net_ctrl", tests, NULL, NULL);
	return failed;
}
