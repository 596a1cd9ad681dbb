// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group OV: fragments that meet in two tunnels. */
#include "ov_tnl.h"

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct tnl_outer vx4 = { .dport = TNL_VX_PORT };
static const uint8_t far_host_mac[6] = { 2, 0, 0, 0xcc, 0, 0x66 };

/* ---- OV-30: pieces of datagrams in two networks ---- */

#define PIECE 400u

/* A piece of a datagram between the same two hosts in each network; its payload says which. */
static void piece(struct pkt *k, uint32_t vni, bool v6, unsigned id, unsigned no, bool more)
{
	unsigned at = no * PIECE / 8;
	uint8_t *data;

	tnl_outer(k, &vx4);
	tnl_vxlan(k, 0x08000000, vni);
	pkt_bytes(k, atk_peer_mac, 6);
	pkt_bytes(k, far_host_mac, 6);
	pkt_put16(pkt_add(k, 2), v6 ? 0x86dd : 0x800);
	if (v6) {
		pkt_ip6(k, 1, 2, 44, 8 + PIECE);
		uint8_t *h = pkt_add(k, 8);

		h[0] = 17;
		pkt_put16(h + 2, at << 3 | more);
		pkt_put32(h + 4, id);
	} else {
		uint8_t *ip = pkt_ip4(
			k, 0x0a000001, 0x0a000002, 17, PIECE, at | (more ? 0x2000u : 0));

		pkt_put16(ip + 4, id);
		pkt_put16(ip + 10, 0);
		pkt_put16(ip + 10, pkt_fold(pkt_sum(0, ip, 20)));
	}
	data = pkt_add(k, PIECE);
	memset(data, (int)(0x50 + vni), PIECE);
	if (no == 0) {
		pkt_put16(data, 1024);
		pkt_put16(data + 2, 53);
		pkt_put16(data + 4, 2 * PIECE);
	}
	tnl_done(k, &vx4);
}

static void note_stranger(void *arg, bool is_a, const uint8_t *frame, uint32_t len)
{
	unsigned *strangers = arg;

	*strangers += len == 0 || frame[len - 1] != 0x50 + (is_a ? TNL_NET_A : TNL_NET_B);
}

/* What recirculates goes out behind what was received in the same turn, hence two markers. */
static int pieces_passed(struct tnl *t, const char *what, unsigned want_a, unsigned want_b)
{
	struct atk_env *e = t->e;
	int ret = tnl_marker(t);

	if (!ret)
		ret = tnl_marker(t);
	if (ret)
		return ret;
	ATK_CHECK(e, t->n_a == want_a && t->n_b == want_b,
		"%s: %u and %u pieces came out, not %u and %u", what, t->n_a, t->n_b, want_a,
		want_b);
	t->n_a = t->n_b = 0;
	return 0;
}

/* In one burst: the beginning in one network, the end in the other, in IPv4 and in IPv6. */
static int cross(struct tnl *t, unsigned id)
{
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < 4; i++) {
		piece(&k, i & 1 ? TNL_NET_B : TNL_NET_A, i & 2, id, i & 1, !(i & 1));
		ret = tnl_send(t, &k);
	}
	return ret;
}

static int meet(struct tnl *t)
{
	unsigned strangers = 0;
	struct atk_env *e = t->e;
	struct pkt k;
	int ret = 0;

	t->seen = note_stranger;
	t->arg = &strangers;
	for (unsigned i = 0; !ret && i < 16; i++)
		ret = cross(t, i);
	if (!ret)
		ret = pieces_passed(t, "halves of two networks", 0, 0);
	for (unsigned i = 0; !ret && i < 32; i++) { // each network's own other half
		piece(&k, TNL_NET_A, i & 1, i / 2, 1, false);
		ret = tnl_send(t, &k);
	}
	if (!ret)
		ret = pieces_passed(t, "whole in network A", 64, 0);
	for (unsigned i = 0; !ret && i < 32; i++) {
		piece(&k, TNL_NET_B, i & 1, i / 2, 0, true);
		ret = tnl_send(t, &k);
	}
	if (!ret)
		ret = pieces_passed(t, "whole in network B", 0, 64);
	t->seen = NULL;
	ATK_CHECK(e, ret || strangers == 0, "%u pieces of another network", strangers);
	return ret;
}

/* Halves that waited for too long are gone, and nothing is made of what comes after them. */
static int expire(struct tnl *t)
{
	unsigned long was = tnl_drops(t->e, TNL_VX, "FRAG_TIMEOUT"), n = 0;
	uint64_t end = dpu_now_ns() + 2 * ATK_REPLY_MS * 1000000ULL;
	struct atk_env *e = t->e;
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < 8; i++) {
		piece(&k, TNL_NET_A, false, 0x100 + i, 0, true);
		ret = tnl_send(t, &k);
	}
	while (!ret && n < 8 && dpu_now_ns() < end) {
		ret = tnl_marker(t);
		n = tnl_drops(e, TNL_VX, "FRAG_TIMEOUT") - was;
	}
	ATK_CHECK(e, ret || n == 8, "%lu of 8 pieces waited for too long", n);
	for (unsigned i = 0; !ret && i < 8; i++) {
		piece(&k, TNL_NET_A, false, 0x100 + i, 1, false);
		ret = tnl_send(t, &k);
	}
	return ret ? ret : pieces_passed(t, "ends of what is gone", 0, 0);
}

static int ov30_fn(struct tnl *t)
{
	int ret = meet(t);

	return ret ? ret : expire(t);
}

/* One zone for both networks: they are told apart by the tunnel alone. */
#define TRACKED(vni, type, to)                                                                   \
	{ "recirc_id(0),tunnel(tun_id=" vni ",src=192.0.2.2),in_port(" TNL_VX "),eth_type(" type \
	  ")",                                                                                   \
		"ct(zone=5),recirc(0x5" vni ")" },                                               \
	{                                                                                        \
		"recirc_id(0x5" vni "),in_port(" TNL_VX "),eth_type(" type ")", to               \
	}

static int ov30(struct atk_env *e)
{
	static const struct ov_policy flows[] = { TRACKED("5", "0x0800", ATK_PEER),
		TRACKED("5", "0x86dd", ATK_PEER), TRACKED("6", "0x0800", ATK_NET),
		TRACKED("6", "0x86dd", ATK_NET) };

	return tnl_with(e, flows, COUNT(flows), ov30_fn);
}

static const struct atk_row rows[] = {
	{ "OV-30", "fragments in two tunnels, and expired ones", ov30 },
};
const struct atk_group atk_ov_pieces_rows = { rows, COUNT(rows) };
