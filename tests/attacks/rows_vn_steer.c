// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VN: what steers packets to receive queues, and what delays their calls. */
#include "atk.h"

#include <errno.h>
#include <string.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOTF_COAL 6 // class of control commands
#define COAL_VQ_SET 2
#define COAL_VQ_GET 3
#define VQ_NOTF_COAL 52 // feature
#define PAIRS 2
#define LEN 60

struct ends {
	struct drv_net a, peer; // the attacker with two pairs, and who sends to it
	uint64_t seq;
};

/* An honest frame from the peer arrives on one of the attacker's pairs. */
static int passes(struct atk_env *e, struct ends *s, unsigned ms)
{
	uint64_t end = dpu_now_ns() + ms * 1000000ULL, seq = 0;
	uint8_t frame[2048];

	drv_frame_make(frame, atk_mac, atk_peer_mac, ++s->seq, LEN);
	ATK_CHECK(e, !drv_net_send(&s->peer, 0, NULL, frame, LEN), "transmit ring full");
	drv_net_flush(&s->peer, 0);
	for (unsigned pair = 0; dpu_now_ns() < end; pair = (pair + 1) % PAIRS) {
		int len = drv_net_recv(&s->a, pair, NULL, frame, sizeof(frame));

		if (len > 0 && drv_frame_ok(frame, (uint32_t)len, &seq) && seq == s->seq)
			return 0;
		if (len == 0)
			drv_net_wait(&s->a, pair, 1);
	}
	return atk_fail(e, "an honest frame does not arrive");
}

static int open_ends(struct atk_env *e, struct ends *s, uint64_t more)
{
	struct drv_net_conf ca = {
		.path = atk_path(e, ATK_NET), .pairs = PAIRS, .ctrl = true, .more = more
	};
	struct drv_net_conf cp = { .pairs = 1 };
	int ret = drv_net_open(&s->a, &ca);

	s->seq = 1000;
	ATK_CHECK(e, !ret, "session refused: %s", strerror(-ret));
	cp.path = atk_path(e, ATK_PEER);
	ret = drv_net_open(&s->peer, &cp);
	if (ret) {
		drv_net_close(&s->a);
		return atk_fail(e, "peer's session refused: %s", strerror(-ret));
	}
	ret = -ETIMEDOUT;
	for (unsigned i = 0; ret && i < ATK_REPLY_MS / 20; i++) // ports need a moment to start
		ret = passes(e, s, 20);
	if (!ret)
		e->why[0] = '\0';
	return ret;
}

static void close_ends(struct ends *s)
{
	drv_net_close(&s->a);
	drv_net_close(&s->peer);
}

/* Run fn with these features; honest frames pass before and after. */
static int with(struct atk_env *e, uint64_t more, int (*fn)(struct atk_env *e, struct ends *s))
{
	struct ends s;
	int ret = open_ends(e, &s, more);

	if (ret)
		return ret;
	ret = fn(e, &s);
	if (!ret)
		ret = passes(e, &s, ATK_REPLY_MS);
	close_ends(&s);
	return ret;
}

static int answers(struct atk_env *e, struct ends *s, int want, const uint8_t *cmd, uint32_t len)
{
	int ack = drv_net_ctrl(&s->a, cmd[0], cmd[1], cmd + 2, len - 2, ATK_REPLY_MS);

	ATK_CHECK(e, ack == want, "class %u command %u, %u bytes: %d", cmd[0], cmd[1], len, ack);
	return 0;
}

/* Types IPv4, table { 1, 0 }, pair 1 for the rest, a key of 4 bytes. */
static const uint8_t good_rss[] = { 4, 1, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, PAIRS, 0, 4, 1, 2, 3,
	4 };

static int not_negotiated(struct atk_env *e, struct ends *s)
{
	static const uint8_t report[] = { 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9 };
	uint8_t coal[14] = { NOTF_COAL };
	int ret = answers(e, s, VIRTIO_NET_ERR, good_rss, sizeof(good_rss));

	if (!ret)
		ret = answers(e, s, VIRTIO_NET_ERR, report, sizeof(report));
	for (; !ret && coal[1] < 5; coal[1]++)
		ret = answers(e, s, VIRTIO_NET_ERR, coal, coal[1] < 2 ? 10 : 14);
	return ret;
}

static int vn13(struct atk_env *e)
{
	return with(e, 0, not_negotiated);
}

/* One byte of a good command set to what it must not be, or the command cut. */
static int bad_tables(struct atk_env *e, struct ends *s)
{
	static const struct {
		uint8_t at, value;
	} bad[] = { { 3, 2 }, { 5, 0x80 }, { 6, 2 }, { 6, 0xff }, { 7, 0x80 }, { 8, PAIRS },
		{ 9, 0x80 }, { 10, PAIRS }, { 13, 0x80 }, { 14, 0 }, { 14, PAIRS + 1 }, { 16, 0 },
		{ 16, 41 }, { 16, 255 } };
	/* Three entries, though nothing else is wrong. */
	static const uint8_t three[] = { 4, 1, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, PAIRS, 0,
		1, 9 };
	uint8_t cmd[sizeof(good_rss)];
	int ret = answers(e, s, VIRTIO_NET_ERR, three, sizeof(three));

	for (uint32_t len = 2; !ret && len < sizeof(good_rss); len++)
		ret = answers(e, s, VIRTIO_NET_ERR, good_rss, len);
	for (size_t i = 0; !ret && i < COUNT(bad); i++) {
		memcpy(cmd, good_rss, sizeof(cmd));
		cmd[bad[i].at] = bad[i].value;
		ret = answers(e, s, VIRTIO_NET_ERR, cmd, sizeof(cmd));
	}
	// Each table replaces the one before it under the packets of others
	for (unsigned i = 0; !ret && i < atk_times(e, 10000); i++) {
		memcpy(cmd, good_rss, sizeof(cmd));
		cmd[10] = i & 1;
		cmd[12] = i >> 1 & 1;
		ret = answers(e, s, VIRTIO_NET_OK, cmd, sizeof(cmd));
	}
	return ret;
}

static int vn14(struct atk_env *e)
{
	return with(e, DRV_BIT(VIRTIO_NET_F_RSS), bad_tables);
}

/* A number of pairs that there are not leaves the table in force: the frame still goes by it. */
static int pairs_under_rss(struct atk_env *e, struct ends *s)
{
	static const uint8_t counts[][4] = { { 4, 0, 0, 0 }, { 4, 0, PAIRS + 1, 0 },
		{ 4, 0, 1, 0x80 }, { 4, 0, 0xff, 0xff } };
	uint8_t frame[2048];
	int ret = answers(e, s, VIRTIO_NET_OK, good_rss, sizeof(good_rss));

	for (size_t i = 0; !ret && i < COUNT(counts); i++)
		ret = answers(e, s, VIRTIO_NET_ERR, counts[i], 4);
	if (ret)
		return ret;
	drv_frame_make(frame, atk_mac, atk_peer_mac, 1, LEN);
	ATK_CHECK(e, !drv_net_send(&s->peer, 0, NULL, frame, LEN), "transmit ring full");
	drv_net_flush(&s->peer, 0);
	for (uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL; dpu_now_ns() < end;) {
		ATK_CHECK(e, drv_net_recv(&s->a, 0, NULL, frame, sizeof(frame)) == 0,
			"not in the queue that the table names");
		if (drv_net_recv(&s->a, 1, NULL, frame, sizeof(frame)) > 0)
			return 0;
		drv_net_wait(&s->a, 1, 1);
	}
	return atk_fail(e, "an honest frame does not arrive");
}

static int vn15(struct atk_env *e)
{
	return with(e, DRV_BIT(VIRTIO_NET_F_RSS), pairs_under_rss);
}

/* Flows without end: the card remembers some of them and forgets nobody else's frames. */
static int many_flows(struct atk_env *e, struct ends *s)
{
	uint8_t frame[LEN] = { 0 };
	unsigned n = atk_times(e, 100000);

	memcpy(frame, atk_peer_mac, 6);
	memcpy(frame + 6, atk_mac, 6);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[23] = 17;
	for (unsigned i = 0; i < n; i++) {
		uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;

		memcpy(frame + 26, &i, sizeof(i));
		while (drv_net_send(&s->a, i & 1, NULL, frame, LEN)) {
			drv_net_flush(&s->a, 0);
			drv_net_flush(&s->a, 1);
			ATK_CHECK(e, dpu_now_ns() < end, "transmit ring full");
		}
	}
	drv_net_flush(&s->a, 0);
	drv_net_flush(&s->a, 1);
	return 0;
}

static int flows(struct atk_env *e)
{
	return with(e, 0, many_flows);
}

/* The longest delays that can be asked for, of every queue: frames and calls come all the same. */
static int longest(struct atk_env *e, struct ends *s)
{
	uint8_t cmd[14] = { NOTF_COAL };
	int ret = 0;

	memset(cmd + 2, 0xff, 8);
	for (; !ret && cmd[1] < 2; cmd[1]++)
		ret = answers(e, s, VIRTIO_NET_OK, cmd, 10);
	for (unsigned idx = 0; !ret && idx < 2 * PAIRS; idx++) {
		memset(cmd, 0xff, sizeof(cmd));
		memcpy(cmd, (uint8_t[]){ NOTF_COAL, COAL_VQ_SET, (uint8_t)idx, 0, 0, 0 }, 6);
		ret = answers(e, s, VIRTIO_NET_OK, cmd, 14);
	}
	cmd[2] = 2 * PAIRS; // the control queue
	if (!ret)
		ret = answers(e, s, VIRTIO_NET_ERR, cmd, 14);
	cmd[2] = cmd[3] = 0xff;
	if (!ret)
		ret = answers(e, s, VIRTIO_NET_ERR, cmd, 14);
	cmd[1] = COAL_VQ_GET; // there is room for the status, but for no result
	cmd[2] = cmd[3] = 0;
	if (!ret)
		ret = answers(e, s, VIRTIO_NET_ERR, cmd, 6);
	for (unsigned i = 0; !ret && i < 5; i++)
		ret = passes(e, s, ATK_REPLY_MS);
	return ret;
}

static int coalescing(struct atk_env *e)
{
	return with(e, DRV_BIT(VIRTIO_NET_F_NOTF_COAL) | DRV_BIT(VQ_NOTF_COAL), longest);
}

static const struct atk_row rows[] = {
	{ "VN-13", "steering and coalescing that were not negotiated", vn13 },
	{ "VN-14", "steering tables that lie", vn14 },
	{ "VN-15", "queue pair counts out of range under a steering table", vn15 },
	{ "VN-14", "flows without end", flows },
	{ "VN-19", "the longest delays of calls", coalescing },
};
const struct atk_group atk_vn_steer_rows = { rows, COUNT(rows) };
