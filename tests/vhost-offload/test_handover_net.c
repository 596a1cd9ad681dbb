// SPDX-License-Identifier: Apache-2.0
/*
 * A real NIC with several queue pairs and everything that a control queue can set goes back and
 * forth between two processes, which send back what its driver sends: every frame comes back once
 * and in order, or not at all when the driver's filter says so, and the driver's settings are in
 * force before the first of its rings runs.
 */
#include "handover_pair.h"

#include <endian.h>

#include "drv_net.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "mbuf_env.h"
#include "net_priv.h"
#include "state.h"

#define PAIRS_MAX 4 // that the device has
#define PAIRS 2 // that the driver uses: the others stay parked
#define QD 32 // frames out on each pair
#define FLOWS 8
#define BURST 32
#define PATIENCE_NS 20000000000ull
#define MTU 1400
#define VID 5

#ifndef VIRTIO_NET_F_NOTF_COAL
#define VIRTIO_NET_F_NOTF_COAL 53
#endif
#ifndef VIRTIO_NET_CTRL_NOTF_COAL
#define VIRTIO_NET_CTRL_NOTF_COAL 6
#define VIRTIO_NET_CTRL_NOTF_COAL_RX_SET 1
#endif

static unsigned rounds = 50;

static const struct net_row {
	const char *name;
	bool packed, in_order, rss, coalesce, offloads;
} rows[] = {
	{ .name = "split", .offloads = true },
	{ .name = "split, table of receive queues, hashes", .rss = true },
	{ .name = "split, in order, coalescing", .in_order = true, .coalesce = true },
	{ .name = "packed", .packed = true, .offloads = true },
	{ .name = "packed, table of receive queues, hashes", .packed = true, .rss = true },
	{ .name = "packed, in order, coalescing",
		.packed = true,
		.in_order = true,
		.coalesce = true },
};

/* ---- a back-end ---- */

struct back {
	struct ho_back b;
	struct vho_net *net;
};

static unsigned echo(struct back *b, uint16_t pair, uint16_t n)
{
	struct rte_mbuf *pkts[BURST];
	uint16_t to[BURST];
	bool steered;

	n = vho_net_rx(b->net, pair, pkts, n);
	vho_net_learn(b->net, pair, pkts, n);
	steered = vho_net_steer(b->net, pkts, n, to);
	for (uint16_t i = 0; i < n; i++) {
		bool somewhere = steered && to[i] != VHO_NET_PAIR_ANY;
		uint16_t at = somewhere ? to[i] & (uint16_t)~VHO_NET_PAIR_ONLY : pair;

		vho_net_tx(b->net, at, &pkts[i], 1);
		vho_net_tx_notify(b->net, at);
	}
	return n;
}

/* What the driver has set, the first time and ever after. */
static void compare(struct back *b)
{
	static struct vho_net_ctrl_saved saved;
	uint8_t config[sizeof(b->b.sh->config)];
	struct ho_shared *sh = b->b.sh;

	static_assert(sizeof(saved) <= sizeof(sh->state), "room for it");
	memset(&saved, 0, sizeof(saved));
	vho_net_ctrl_save(&b->net->ctrl, &saved);
	b->b.dev->type->config_read(b->b.dev, 0, config, sizeof(config));
	if (!atomic_load(&sh->state_len)) {
		memcpy(sh->state, &saved, sizeof(saved));
		memcpy(sh->config, config, sizeof(config));
		atomic_store(&sh->state_len, sizeof(saved));
	}
	if (memcmp(sh->state, &saved, sizeof(saved)) != 0 ||
		memcmp(sh->config, config, sizeof(config)) != 0)
		atomic_fetch_add(&sh->mismatches, 1);
}

static unsigned turn(struct ho_back *hb, unsigned budget)
{
	struct back *b = (struct back *)hb;
	unsigned n = 0;

	if (atomic_load(&hb->sh->settled) && !atomic_load(&hb->sh->state_len))
		compare(b);
	for (uint16_t p = 0; p < PAIRS; p++)
		if (hb->h.running[2 * p] && hb->h.running[2 * p + 1])
			n += echo(b, p, (uint16_t)(budget < BURST ? budget : BURST));
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		if (hb->h.running[i])
			(void)vho_net_coal_poll(b->net, i);
	return n;
}

static void taken(struct ho_back *hb)
{
	if (atomic_load(&hb->sh->state_len))
		compare((struct back *)hb);
}

/* A worker would use the ring from now on: the driver's wishes hold already. */
static int queue_start(void *arg, struct vho_dev *dev, unsigned idx, int kick_fd)
{
	struct back *b = arg;
	struct vho_net_caps caps;

	(void)kick_fd;
	b->b.h.running[idx] = true;
	vho_dev_queue_run(dev, idx, true);
	if (!atomic_load(&b->b.sh->state_len))
		return 0;
	vho_net_caps(b->net, &caps);
	if (caps.tso4 || caps.tso6 || !vho_net_ctrl_filter(&b->net->ctrl) ||
		(idx % 2 == 0 && idx / 2 >= PAIRS))
		atomic_fetch_add(&b->b.sh->mismatches, 1);
	return 0;
}

static void queue_stop(void *arg, struct vho_dev *dev, unsigned idx)
{
	struct back *b = arg;

	b->b.h.running[idx] = false;
	vho_net_coal_flush(b->net, idx);
	vho_dev_queue_run(dev, idx, false);
}

static void back_main(struct ho_shared *sh, int sock, const char *path, bool owner, const void *arg)
{
	static struct back b;
	struct vho_net_conf conf = {
		.name = "nic", .max_pairs = PAIRS_MAX, .mtu = 1500, .mac = { 2, 0, 0, 0, 0, 1 }
	};

	(void)arg;
	ho_need(mbuf_env_start(NULL) == 0, "no packet buffers");
	conf.pool = mbuf_pool;
	b.b.sh = sh;
	b.b.turn = turn;
	b.b.taken = taken;
	fake_host_init(&b.b.h);
	b.b.h.host.queue_start = queue_start;
	b.b.h.host.queue_stop = queue_stop;
	ho_need(vho_net_create(&conf, &b.b.h.host, &b.net) == 0, "no NIC");
	b.b.dev = vho_net_dev(b.net);
	ho_serve(&b.b, sock, path, owner);
	vho_net_destroy(b.net);
}

/* ---- the driver's settings ---- */

static const uint8_t own[6] = { 2, 0, 0, 0, 0, 9 }, listed[6] = { 2, 0, 0, 0, 1, 1 },
		     group[6] = { 1, 0, 0x5e, 0, 0, 1 }, foreign[6] = { 2, 0, 0, 0, 2, 2 };

/* Frames take turns; what is not wanted must not come back. */
static const struct kind {
	const uint8_t *dst;
	uint16_t vid; // 0: no tag
	bool wanted;
} kinds[] = {
	{ own, 0, true },
	{ listed, 0, true },
	{ foreign, 0, false },
	{ group, 0, true },
	{ own, VID, true },
	{ own, VID + 1, false },
};

struct driver {
	struct drv_net n;
	bool rss;
	uint64_t sent[FLOWS], due[FLOWS], back[FLOWS]; // frames: of all kinds, wanted ones, came
	uint64_t next[FLOWS]; // number of the next wanted one to come
	uint32_t hash[FLOWS];
	unsigned home[FLOWS]; // pair that the flow's frames come back on
	bool known[FLOWS];
	unsigned out[PAIRS]; // wanted frames that have not come back, by pair sent on
};

static void set(struct driver *d, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
	assert_int_equal(
		drv_net_ctrl(&d->n, class, cmd, data, (uint32_t)len, 20000), VIRTIO_NET_OK);
}

static void set_table(struct driver *d)
{
	struct {
		uint32_t types;
		uint16_t mask, unclassified, table[4], max_tx;
		uint8_t key_len, key[40];
	} __attribute__((packed)) rss = { .types = htole32(VIRTIO_NET_RSS_HASH_TYPE_UDPv4),
		.mask = htole16(3),
		.table = { htole16(1), 0, htole16(1), 0 },
		.max_tx = htole16(PAIRS),
		.key_len = 40 };

	for (unsigned i = 0; i < sizeof(rss.key); i++)
		rss.key[i] = (uint8_t)(i * 37 + 11);
	set(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, &rss, sizeof(rss));
}

static void settle(struct driver *d, const struct net_row *row)
{
	const uint8_t off = 0;
	const uint16_t vid = htole16(VID);
	const uint64_t csum_only = htole64(1ull << VIRTIO_NET_F_GUEST_CSUM);
	const uint32_t coal[2] = { htole32(8), htole32(50) };
	struct {
		uint32_t n_uni;
		uint8_t uni[6];
		uint32_t n_multi;
		uint8_t multi[6];
	} __attribute__((packed)) macs = { .n_uni = htole32(1), .n_multi = htole32(1) };

	memcpy(macs.uni, listed, 6);
	memcpy(macs.multi, group, 6);
	set(d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, own, 6);
	set(d, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &macs, sizeof(macs));
	set(d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, sizeof(vid));
	set(d, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
	if (row->offloads)
		set(d, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
			&csum_only, sizeof(csum_only));
	if (row->coalesce)
		set(d, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, coal,
			sizeof(coal));
	if (row->rss)
		set_table(d);
	assert_int_equal(drv_vu_set_u64(&d->n.vu, DRV_NET_SET_MTU, MTU), 0);
}

static void driver_open(struct driver *d, const struct net_row *row, const char *path)
{
	struct drv_net_conf conf = { .path = path,
		.packed = row->packed,
		.in_order = row->in_order,
		.ctrl = true,
		.mrg = true,
		.pairs = PAIRS_MAX, // set up; then it uses fewer
		.more = (row->rss ? DRV_BIT(VIRTIO_NET_F_RSS) | DRV_BIT(VIRTIO_NET_F_HASH_REPORT)
				  : 0) |
			(row->coalesce ? DRV_BIT(VIRTIO_NET_F_NOTF_COAL) : 0) |
			(row->offloads ? DRV_NET_CSUM | DRV_NET_GSO : 0) };
	const uint16_t pairs = htole16(PAIRS);

	memset(d, 0, sizeof(*d));
	d->rss = row->rss;
	assert_int_equal(drv_net_open(&d->n, &conf), 0);
	assert_int_equal(d->n.max_pairs, PAIRS_MAX);
	set(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, sizeof(pairs));
	settle(d, row);
}

/* ---- frames: UDP, its payload made from flow and number ---- */

static uint32_t frame_make(uint8_t *f, unsigned flow, uint64_t seq)
{
	const struct kind *k = &kinds[seq % ARRAY_LEN(kinds)];
	uint32_t len = 64 + (uint32_t)(seq * 29 % 1200), at = 12;
	static const uint8_t ip[] = { 0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0,
		1, 10, 0, 0, 2 };
	uint64_t number[2] = { seq, len };

	memset(f, (int)(seq + flow), len);
	memcpy(f, k->dst, 6);
	memcpy(f + 6, own, 6);
	if (k->vid) {
		const uint8_t tag[4] = { 0x81, 0, 0, (uint8_t)k->vid };

		memcpy(f + at, tag, 4);
		at += 4;
	}
	memcpy(f + at, ip, sizeof(ip));
	f[at + 4] = (uint8_t)((len - at - 2) >> 8);
	f[at + 5] = (uint8_t)(len - at - 2);
	at += sizeof(ip);
	f[at] = 0x10; // ports, length, no checksum
	f[at + 1] = (uint8_t)flow;
	f[at + 2] = 0x20;
	f[at + 3] = 0;
	f[at + 4] = (uint8_t)((len - at) >> 8);
	f[at + 5] = (uint8_t)(len - at);
	f[at + 6] = f[at + 7] = 0;
	memcpy(f + len - sizeof(number), number, sizeof(number));
	return len;
}

static uint64_t next_wanted(uint64_t seq)
{
	while (!kinds[seq % ARRAY_LEN(kinds)].wanted)
		seq++;
	return seq;
}

static void arrive(struct driver *d, unsigned pair)
{
	static uint8_t frame[2048], want[2048];
	int len = drv_net_recv(&d->n, pair, NULL, frame, sizeof(frame));
	unsigned flow, at;

	if (len <= 0) {
		assert_int_equal(len, 0);
		return;
	}
	at = frame[12] == 0x81 ? 38 : 34;
	flow = frame[at + 1];
	assert_true(flow < FLOWS);
	d->next[flow] = next_wanted(d->next[flow]);
	assert_int_equal(frame_make(want, flow, d->next[flow]), len);
	assert_memory_equal(frame, want, len);
	d->next[flow]++;
	d->back[flow]++;
	d->out[flow % PAIRS]--;
	if (!d->rss || frame[12] == 0x81) // the hash of what is tagged is another
		return;
	if (!d->known[flow]) {
		d->hash[flow] = d->n.last.hash_value;
		d->home[flow] = pair;
		d->known[flow] = true;
	}
	assert_int_equal(d->n.last.hash_value, d->hash[flow]);
	assert_int_equal(pair, d->home[flow]);
}

static void offer(struct driver *d)
{
	static uint8_t frame[2048];

	for (unsigned flow = 0; flow < FLOWS; flow++) {
		unsigned pair = flow % PAIRS;
		uint64_t seq = d->sent[flow];
		bool wanted = kinds[seq % ARRAY_LEN(kinds)].wanted;

		if (d->out[pair] >= QD ||
			drv_net_send(&d->n, pair, NULL, frame, frame_make(frame, flow, seq)) < 0)
			continue;
		d->sent[flow]++;
		d->due[flow] += wanted;
		d->out[pair] += wanted;
		drv_net_flush(&d->n, pair);
	}
}

/* ---- back and forth ---- */

static bool all_back(const struct driver *d)
{
	return memcmp(d->due, d->back, sizeof(d->due)) == 0;
}

static void exchange(struct driver *d, struct ho_shared *sh)
{
	const uint16_t vid = htole16(VID);
	uint64_t until, turns = 0;

	while (!atomic_load(&sh->enough)) {
		offer(d);
		for (unsigned p = 0; p < PAIRS_MAX; p++)
			arrive(d, p);
		if (++turns % 4096 == 0) // a command now and then, which changes nothing
			set(d, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vid, sizeof(vid));
	}
	until = dpu_now_ns() + PATIENCE_NS;
	while (!all_back(d)) {
		assert_true(dpu_now_ns() < until);
		for (unsigned p = 0; p < PAIRS_MAX; p++)
			arrive(d, p);
	}
}

static void back_and_forth(void **state)
{
	const struct net_row *row = *state;
	static struct driver d;
	struct ho_pair p;
	uint64_t frames = 0;

	ho_place(&p);
	ho_pair_open(&p, back_main, row, 0);
	driver_open(&d, row, p.path);
	atomic_store(&p.sh->settled, true);
	while (!atomic_load(&p.sh->state_len)) // nothing moves before it is written down
		offer(&d);
	atomic_store(&p.sh->rounds_max, rounds);
	exchange(&d, p.sh);
	assert_true(atomic_load(&p.sh->rounds) >= rounds);
	assert_int_equal(atomic_load(&p.sh->mismatches), 0);
	assert_int_equal(d.n.bad_rx, 0);
	assert_true(drv_vu_alive(&d.n.vu)); // the same connection all the time
	for (unsigned i = 0; i < FLOWS; i++)
		frames += d.back[i];
	print_message(
		"%u hand-overs, %lu frames\n", atomic_load(&p.sh->rounds), (unsigned long)frames);
	ho_pair_close(&p);
	drv_net_close(&d.n);
}

/* ---- what no driver sets ---- */

static int state_bytes(const struct vho_dev *dev, enum vho_state_way way, uint8_t *buf)
{
	int len = vho_state_save(dev, way, buf, VHO_STATE_MAX);

	assert_true(len > 0);
	return len;
}

/* Link, MTU and an announcement that is due go along to another process, not to another host. */
static void link_goes_along(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 7 };
	struct vho_net_conf conf = { .name = "n", .max_pairs = 1, .mtu = 1500, .pool = mbuf_pool };
	static uint8_t buf[VHO_STATE_MAX];
	struct vho_net *from, *to;
	struct fake_host h;
	int len;

	(void)state;
	fake_host_init(&h);
	assert_int_equal(vho_net_create(&conf, &h.host, &from), 0);
	assert_int_equal(vho_net_create(&conf, &h.host, &to), 0);
	vho_net_link_set(from, false);
	vho_net_mtu_set(from, MTU);
	assert_int_equal(from->dev.type->send_rarp(&from->dev, mac), 0);
	len = state_bytes(&from->dev, VHO_STATE_MIGRATE, buf);
	assert_int_equal(vho_state_load(&to->dev, VHO_STATE_MIGRATE, buf, (size_t)len), 0);
	assert_true(to->link_up && to->mtu == 1500 && !to->rarp_due);
	len = state_bytes(&from->dev, VHO_STATE_HAND_OVER, buf);
	assert_int_equal(vho_state_load(&to->dev, VHO_STATE_MIGRATE, buf, (size_t)len), -EPROTO);
	assert_true(to->link_up && to->mtu == 1500 && !to->rarp_due);
	assert_int_equal(vho_state_load(&to->dev, VHO_STATE_HAND_OVER, buf, (size_t)len), 0);
	assert_true(!to->link_up && to->mtu == MTU && to->rarp_due);
	assert_memory_equal(to->rarp_mac, mac, 6);
	vho_net_mtu_set(from, 67); // less than any front-end may say
	len = state_bytes(&from->dev, VHO_STATE_HAND_OVER, buf);
	assert_int_equal(vho_state_load(&to->dev, VHO_STATE_HAND_OVER, buf, (size_t)len), -EINVAL);
	assert_int_equal(to->mtu, MTU);
	vho_net_destroy(from);
	vho_net_destroy(to);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(link_goes_along) };
	int failed = 0;

	rounds = ho_rounds(argc, argv, rounds);
	dpu_log_level_set(DPU_LOG_ERR);
	RUN_ROWS(rows, back_and_forth, failed);
	// Packet buffers only now: each back-end makes its own
	failed |= cmocka_run_group_tests(tests, mbuf_env_start, NULL);
	return failed;
}
