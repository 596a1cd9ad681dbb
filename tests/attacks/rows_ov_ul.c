// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group UL: what an uplink's wire says about neighbours and path MTUs. */
#include "ov_tnl.h"

#include <stdio.h>
#include <stdlib.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define L3 14u
#define VX_HDR 50u // outer headers of VXLAN over IPv4, with Ethernet's
#define VX6_HDR 70u

static const uint8_t hostile_mac[6] = { 2, 0, 0, 0xcc, 0, 0x66 };

/* ---- ARP and ND ---- */

static void arp(struct pkt *k, unsigned op, const uint8_t mac[6], uint32_t spa, uint32_t tpa)
{
	static const uint8_t fixed[6] = { 0, 1, 8, 0, 6, 4 };

	pkt_eth(k, tnl_card_mac, mac, 0x806);
	pkt_bytes(k, fixed, 6);
	pkt_put16(pkt_add(k, 2), op);
	pkt_bytes(k, mac, 6);
	pkt_put32(pkt_add(k, 4), spa);
	pkt_bytes(k, tnl_card_mac, 6);
	pkt_put32(pkt_add(k, 4), tpa);
	pkt_add(k, 18);
}

static void nd_sum(struct pkt *k)
{
	uint8_t *ip = k->f + L3, *nd = ip + 40;
	uint32_t n = k->len - L3 - 40;

	pkt_put16(ip + 4, n);
	pkt_put16(nd + 2, 0);
	pkt_put16(nd + 2, pkt_fold(pkt_sum(pkt_sum(58 + n, ip + 8, 32), nd, n)));
}

/* A solicitation or an advertisement about 2001:db8::`target` that says where it is. */
static uint8_t *nd(
	struct pkt *k, unsigned type, const uint8_t mac[6], unsigned src, unsigned target)
{
	pkt_eth(k, tnl_card_mac, mac, 0x86dd);
	uint8_t *ip = pkt_ip6(k, 0, 0, 58, 32);

	tnl_ip6(ip + 8, src);
	tnl_ip6(ip + 24, 1);
	uint8_t *h = pkt_add(k, 32);

	h[0] = (uint8_t)type;
	h[4] = type == 136 ? 0x60 : 0; // solicited, override
	tnl_ip6(h + 8, target);
	h[24] = type == 136 ? 2 : 1;
	h[25] = 1;
	memcpy(h + 26, mac, 6);
	nd_sum(k);
	return h;
}

static void lying_arp(struct pkt *k, unsigned i)
{
	static const uint8_t none[6], group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	static const uint8_t ops[] = { 0, 3, 4, 8, 25, 255 };

	arp(k, 1 + i % 2, tnl_far_mac, TNL_FAR, TNL_CARD);
	if (i < COUNT(ops))
		pkt_put16(k->f + L3 + 6, ops[i]);
	else if (i < 8) // somebody else's frame
		memcpy(k->f + L3 + 8, hostile_mac, 6);
	else if (i < 10)
		memcpy(k->f + L3 + 8, none, 6), memcpy(k->f + 6, none, 6);
	else
		memcpy(k->f + L3 + 8, group, 6), memcpy(k->f + 6, group, 6);
}

static void lying_nd(struct pkt *k, unsigned i)
{
	uint8_t *h = nd(k, 135 + i % 2, tnl_far_mac, 2, i & 1 ? 2 : 1), *ip = k->f + L3;
	bool sum = true;

	switch (i / 2) {
	case 0:
		ip[7] = 254;
		break;
	case 1:
		h[2] ^= 0x10;
		sum = false;
		break;
	case 2: // a group as the target
		h[8] = 0xff;
		break;
	case 3: // a group as the address
		h[26] |= 1;
		break;
	case 4: // solicited, and to all; asked by nobody who says where he is
		memset(ip + (i & 1 ? 24 : 8), 0, 16);
		if (i & 1)
			ip[24] = 0xff, ip[25] = 2, ip[39] = 1;
		break;
	default: // from nobody
		memset(k->f + 6, 0, 6);
		break;
	}
	if (sum)
		nd_sum(k);
}

static unsigned long ul(struct atk_env *e, const char *name)
{
	return ov_counter(e, "{\"object\": \"underlay\"}", name);
}

static void our_address(struct pkt *k, unsigned i)
{
	if (i & 2)
		nd(k, 135 + (i & 1), hostile_mac, i & 1 ? 2 : 1, 1);
	else
		arp(k, 1 + (i & 1), hostile_mac, TNL_CARD, i & 4 ? TNL_CARD : TNL_FAR);
}

/* What a worker let nobody see: over a limit of the port or of a host, or for nobody here. */
static unsigned long unheard(struct atk_env *e)
{
	return tnl_drops(e, TNL_WIRE, "UPCALL_LIMIT") + tnl_drops(e, TNL_WIRE, "NO_FLOW") +
	       tnl_drops(e, TNL_WIRE, "NEIGH_LIMIT") + tnl_drops(e, TNL_WIRE, "UNSWITCHED");
}

/* Those, and what the underlay counts under this name. */
static unsigned long refused(struct atk_env *e, const char *name)
{
	return unheard(e) + ul(e, name);
}

/* Each is refused once, and none goes anywhere. */
static int ul_expect(struct tnl *t, const char *what, const char *name,
	void (*make)(struct pkt *k, unsigned i), unsigned n)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	unsigned long was = refused(t->e, name), heard = ul(t->e, name), now;
	struct atk_env *e = t->e;
	struct pkt k;
	int ret = 0;

	t->n_a = t->n_b = 0;
	for (unsigned i = 0; !ret && i < n; i++) {
		make(&k, i);
		ret = tnl_send(t, &k);
	}
	if (!ret)
		ret = tnl_marker(t);
	do {
		now = refused(e, name) - was;
	} while (!ret && now < n && dpu_now_ns() < end);
	if (!ret)
		ret = tnl_marker(t);
	if (ret)
		return ret;
	ATK_CHECK(e, now == n, "%s: %lu of %u refused", what, now, n);
	ATK_CHECK(e, ul(e, name) > heard, "%s: none is counted as %s", what, name);
	ATK_CHECK(e, t->n_a + t->n_b == 0, "%s: %u reached tenants", what, t->n_a + t->n_b);
	return 0;
}

static int ul01_fn(struct tnl *t)
{
	int ret = ul_expect(t, "ARP", "bad", lying_arp, 12);

	if (!ret)
		ret = ul_expect(t, "ND", "bad", lying_nd, 12);
	return ret ? ret : ul_expect(t, "our addresses", "conflicts", our_address, 8);
}

static int ul01(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ul01_fn);
}

/* ---- floods of neighbours ---- */

static void any_neighbour(struct pkt *k, unsigned i)
{
	uint8_t mac[6] = { 2, 0xab };

	pkt_put32(mac + 2, (uint32_t)rand());
	if (i & 2) // and solicitations that ask for nobody
		nd(k, 135 + (i & 1), mac, 0x1000 + i / 4 % 0xefff,
			i & 1 ? 0x1000 + i / 4 % 0xefff : 7);
	else
		arp(k, 1 + (i & 1), mac, 0xc0000210 + (uint32_t)rand() % 200, TNL_CARD + 5);
}

static void who_has_us(struct pkt *k, unsigned i)
{
	any_neighbour(k, i & ~1u & ~2u);
	pkt_put32(k->f + L3 + 24, TNL_CARD);
}

struct sum {
	unsigned long told, dropped, neighbours;
};

/* What became of messages. */
static struct sum sum_of(struct atk_env *e)
{
	struct sum s = {
		.told = ul(e, "unknown"), .dropped = unheard(e), .neighbours = ul(e, "neighbours")
	};

	return s;
}

/* All drops of what came from the wire; what it did not take of the answers is another matter. */
static unsigned long others(struct atk_env *e)
{
	return tnl_all_drops(e, TNL_WIRE) - tnl_drops(e, TNL_WIRE, "TX_FULL");
}

static int flood(
	struct tnl *t, const char *what, void (*make)(struct pkt *k, unsigned i), unsigned n)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct sum was = sum_of(t->e), now = { 0 };
	unsigned long got = 0, all = others(t->e);
	struct atk_env *e = t->e;
	struct pkt k;
	int ret = 0;

	t->n_a = t->n_b = 0;
	for (unsigned i = 0; !ret && i < n; i++) {
		make(&k, i);
		ret = tnl_send(t, &k);
		if (!ret && i % 1024 == 1023)
			ret = tnl_marker(t);
	}
	while (!ret && got < n && dpu_now_ns() < end) {
		ret = tnl_marker(t);
		now = sum_of(e);
		got = now.told - was.told + now.dropped - was.dropped;
	}
	if (ret)
		return ret;
	ATK_CHECK(e, got == n, "%s: %lu of %u counted", what, got, n);
	all = others(e) - all;
	ATK_CHECK(e, all == now.dropped - was.dropped, "%s: %lu drops in all", what, all);
	ATK_CHECK(e, now.neighbours == was.neighbours, "%s: %lu neighbours, not %lu", what,
		now.neighbours, was.neighbours);
	ATK_CHECK(e, t->n_a + t->n_b == 0, "%s: %u reached tenants", what, t->n_a + t->n_b);
	return 0;
}

static void count_answers(struct tnl *t, const uint8_t *frame, uint32_t len)
{
	unsigned long *n = t->arg;

	*n += len >= 42 && frame[12] == 8 && frame[13] == 6 && frame[L3 + 7] == 2;
}

#define ANSWERS_S 1000u

static int ul02_fn(struct tnl *t)
{
	unsigned long said = ul(t->e, "answered"), silent = ul(t->e, "unanswered"), heard = 0;
	struct atk_env *e = t->e;
	uint64_t since = dpu_now_ns(), s;
	int ret = flood(t, "neighbours without end", any_neighbour, atk_times(e, 100000));

	t->heard = count_answers;
	t->arg = &heard;
	if (!ret)
		ret = flood(t, "questions without end", who_has_us, atk_times(e, 100000));
	if (!ret)
		ret = tnl_marker(t);
	t->heard = NULL;
	s = (dpu_now_ns() - since) / 1000000000 + 2;
	said = ul(e, "answered") - said;
	silent = ul(e, "unanswered") - silent;
	ATK_CHECK(e, ret || said <= s * ANSWERS_S, "%lu answers in %lu s", said, (unsigned long)s);
	ATK_CHECK(e, ret || heard <= said, "%lu answers, %lu counted", heard, said);
	ATK_CHECK(e, ret || said + silent > 0, "no question was heard");
	return ret;
}

static int ul02(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, ul02_fn);
}

/* ---- a tenant that sends, and where its packets go ---- */

struct far {
	bool speaks; // says unasked where it is
	unsigned ours, stolen; // packets to the neighbour's address, and to another
	uint32_t len; // of the last packet, without outer headers
};

/* Who asks for the far end is told where it is; what a tenant sent is counted. */
static void be_far(struct tnl *t, const uint8_t *f, uint32_t len)
{
	struct far *far = t->arg;
	unsigned type = len > L3 ? f[12] << 8 | f[13] : 0;
	bool v6 = type == 0x86dd;
	struct pkt k;

	if (type == 0x806 && len >= 42 && f[L3 + 7] == 1 && f[L3 + 27] == (TNL_FAR & 0xff)) {
		arp(&k, 2, tnl_far_mac, TNL_FAR, TNL_CARD);
		(void)wire_send(&t->w, k.f, k.len);
	} else if (v6 && f[L3 + 6] == 58 && f[L3 + 40] == 135) {
		nd(&k, 136, tnl_far_mac, 2, 2);
		(void)wire_send(&t->w, k.f, k.len);
	} else if (f[L3 + (v6 ? 6 : 9)] == 17 && len > (v6 ? VX6_HDR : VX_HDR)) {
		far->len = len - (v6 ? VX6_HDR : VX_HDR);
		if (!memcmp(f, tnl_far_mac, 6))
			far->ours++;
		else
			far->stolen++;
	}
}

/* An IPv4 packet of `len` bytes that must not be cut, from network A's tenant; over IPv6 or not. */
static int tenant_sends(struct tnl *t, bool v6, unsigned len)
{
	uint8_t dst[6] = { 2, 0, 0, 0xcc, 0, v6 ? 4 : 3 };
	struct pkt k;
	int ret;

	pkt_eth(&k, dst, atk_peer_mac, 0x800);
	pkt_ip4(&k, 0x0a000001, 0x0a000002, 17, len - 20, 0x4000);
	pkt_udp(&k, 1024, 53, len - 28);
	ret = drv_net_send(&t->p.b, 0, NULL, k.f, k.len);
	drv_net_flush(&t->p.b, 0);
	return ret ? atk_fail(t->e, "transmit ring full") : 0;
}

/* Somebody else has its address: it says where it is, as hosts do (RFC 5227, section 2.4). */
static int far_speaks(struct tnl *t)
{
	struct pkt k;
	int ret;

	arp(&k, 1, tnl_far_mac, TNL_FAR, TNL_FAR);
	ret = tnl_send(t, &k);
	nd(&k, 136, tnl_far_mac, 2, 2)[4] = 0x20; // not solicited
	nd_sum(&k);
	return ret ? ret : tnl_send(t, &k);
}

/* One packet after the other until one arrives at the far end; told apart by length. */
static int tenant_reaches(struct tnl *t, bool v6, unsigned len)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct far *far = t->arg;
	unsigned was = far->ours;
	int ret = 0;

	while (!ret && (far->ours == was || far->len != len + L3)) {
		ret = tenant_sends(t, v6, len);
		if (!ret && far->speaks)
			ret = far_speaks(t);
		if (!ret)
			ret = tnl_marker(t);
		if (!ret && dpu_now_ns() > end)
			return atk_fail(t->e, "a tenant's packet of %u bytes never arrives", len);
	}
	return ret;
}

static const struct ov_policy outward[] = {
	{ "in_port(" ATK_PEER "),eth(dst=02:00:00:cc:00:03)",
		"set(tunnel(tun_id=5,dst=192.0.2.2,ttl=64,flags(df|csum|key)))," TNL_VX },
	{ "in_port(" ATK_PEER "),eth(dst=02:00:00:cc:00:04)",
		"set(tunnel(tun_id=5,ipv6_dst=2001:db8::2,ttl=64,flags(csum|key)))," TNL_VX },
};

static void steal(struct pkt *k, unsigned i)
{
	uint8_t mac[6] = { 2, 0, 0, 0xcc, 1, (uint8_t)(1 + i % 7) };

	if (i & 2)
		nd(k, 136, mac, 2, 2);
	else
		arp(k, 1 + (i & 1), mac, TNL_FAR, TNL_CARD);
}

static int steal_all(struct tnl *t, unsigned n)
{
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < n; i++) {
		steal(&k, i);
		ret = tnl_send(t, &k);
		if (!ret && i % 64 == 63)
			ret = tenant_sends(t, i & 64, 200);
		if (!ret && i % 64 == 63)
			ret = tnl_marker(t);
	}
	return ret;
}

static const char *const fars[] = { "192.0.2.2", "2001:db8::2" };

static int neighbours(struct atk_env *e, const char *method, const char *more)
{
	char params[160];

	for (size_t i = 0; i < COUNT(fars); i++) {
		snprintf(params, sizeof(params), "{\"address\": \"%s\"%s}", fars[i], more);
		ATK_CHECK(e, !atk_daemon_rpc(e->d, method, params), "%s %s", method, params);
	}
	return 0;
}

static int reach_both(struct tnl *t, unsigned len)
{
	int ret = tenant_reaches(t, false, len);

	return ret ? ret : tenant_reaches(t, true, len);
}

/* With addresses that the operator said none of this does anything. */
static int ul03_static(struct tnl *t, struct far *far)
{
	struct atk_env *e = t->e;
	int ret = neighbours(e, "underlay_neighbour_set",
		", \"mac\": \"02:00:00:cc:00:02\", \"uplink\": \"" TNL_WIRE "\"");

	if (!ret)
		ret = reach_both(t, 300);
	if (!ret)
		ret = steal_all(t, atk_times(e, 2000));
	if (!ret)
		ret = reach_both(t, 301);
	ATK_CHECK(e, ret || !far->stolen, "%u packets went to somebody else", far->stolen);
	return ret ? ret : neighbours(e, "underlay_neighbour_delete", "");
}

/*
 * Of n thefts that were sent since `since`, all but those that nobody heard come too soon: each of
 * the two neighbours may change once a second, and once by an answer. Waits until that is counted.
 */
static int ul03_counted(
	struct tnl *t, unsigned n, unsigned long fast, unsigned long lost, uint64_t since)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_env *e = t->e;
	unsigned long s, soon, heard;
	int ret;

	do {
		ret = tnl_marker(t);
		soon = ul(e, "too_fast") - fast;
		heard = n - (unheard(e) - lost);
		s = (dpu_now_ns() - since) / 1000000000 + 2;
	} while (!ret && soon + 4 * s < heard / 2 && dpu_now_ns() < end);
	ATK_CHECK(e, ret || soon + 4 * s >= heard / 2, "%lu of %lu thefts too soon", soon, heard);
	return ret;
}

static int ul03_fn(struct tnl *t)
{
	struct atk_env *e = t->e;
	unsigned n = (unsigned)atk_times(e, 2000);
	unsigned long fast, lost;
	struct far far = { 0 };
	uint64_t since;
	int ret;

	t->heard = be_far;
	t->arg = &far;
	ret = ul03_static(t, &far);
	if (!ret)
		ret = reach_both(t, 200);
	since = dpu_now_ns();
	fast = ul(e, "too_fast");
	lost = unheard(e);
	if (!ret)
		ret = steal_all(t, n);
	if (!ret)
		ret = ul03_counted(t, n, fast, lost, since);
	// Whoever answered first has the address for a while; but its owner can say so, too.
	far.speaks = true;
	if (!ret)
		ret = reach_both(t, 201);
	t->heard = NULL;
	return ret;
}

static int ul03(struct atk_env *e)
{
	return tnl_with(e, outward, COUNT(outward), ul03_fn);
}

/* ---- "too big" ---- */

struct big {
	bool v6;
	unsigned mtu, len; // said, and of the packet that is quoted
	unsigned sport, dport;
	uint32_t src, dst; // of that, and whom it is told to
	uint32_t to;
};

static const struct big right4 = { .mtu = 1400,
	.len = 1500,
	.sport = 0xc123,
	.dport = TNL_VX_PORT,
	.src = TNL_CARD,
	.dst = TNL_FAR,
	.to = TNL_CARD };

static uint8_t *icmp_at(struct pkt *k)
{
	return k->f + L3 + (k->f[12] == 8 ? 20 : 40);
}

static void icmp_sum(struct pkt *k)
{
	uint8_t *h = icmp_at(k);

	if (k->f[12] != 8) {
		nd_sum(k);
		return;
	}
	pkt_put16(h + 2, 0);
	pkt_put16(h + 2, pkt_fold(pkt_sum(0, h, (uint32_t)(k->f + k->len - h))));
}

static void too_big(struct pkt *k, const struct big *b)
{
	uint8_t *ip, *h;

	pkt_eth(k, tnl_card_mac, tnl_far_mac, b->v6 ? 0x86dd : 0x800);
	if (b->v6) {
		ip = pkt_ip6(k, 0, 0, 58, 8 + 48);
		tnl_ip6(ip + 8, 9); // some router
		tnl_ip6(ip + 24, b->to & 0xff);
		h = pkt_add(k, 8);
		h[0] = 2;
		pkt_put32(h + 4, b->mtu);
		ip = pkt_ip6(k, 0, 0, 17, b->len - 40);
		tnl_ip6(ip + 8, b->src & 0xff);
		tnl_ip6(ip + 24, b->dst & 0xff);
	} else {
		pkt_ip4(k, 0xc0000209, b->to, 1, 8 + 28, 0);
		h = pkt_add(k, 8);
		h[0] = 3;
		h[1] = 4;
		pkt_put16(h + 6, b->mtu);
		pkt_ip4(k, b->src, b->dst, 17, b->len - 20, 0x4000);
	}
	pkt_udp(k, b->sport, b->dport, 0);
	pkt_put16(k->f + k->len - 4, b->len - (b->v6 ? 40 : 20));
	icmp_sum(k);
}

/* Each is right but for one thing. */
static void forged(struct pkt *k, unsigned i)
{
	static const uint16_t mtus[] = { 0, 1, 67, 68, 296, 575, 1500, 1501, 0xffff };
	struct big b = right4;
	uint8_t *q;

	b.v6 = i & 1;
	i /= 2;
	if (i < COUNT(mtus)) {
		b.mtu = b.v6 && mtus[i] == 575 ? 1279 : mtus[i];
		b.len = i == 8 ? 65000 : 1500;
		too_big(k, &b);
		return;
	}
	i -= COUNT(mtus);
	b.src = i == 0 ? 0xc0000263 : b.src;
	b.dst = i == 1 ? 0xc0000263 : b.dst;
	b.sport = i == 2 ? 0xbfff : i == 3 ? 53 : b.sport;
	b.dport = i == 4 ? 53 : i == 5 ? 0 : b.dport;
	b.len = i == 6 ? 1400 : i == 7 ? 100 : b.len; // it was not too long
	b.to = i == 8 ? 0xc0000263 : b.to; // told to somebody else
	too_big(k, &b);
	q = icmp_at(k) + 8;
	if (i == 9)
		q[b.v6 ? 6 : 9] = 6; // TCP
	else if (i == 10)
		q[0] ^= 0x10; // another version
	else if (i == 11)
		k->len -= 1; // cut within the ports
	else if (i == 12 && !b.v6)
		q[6] = 0; // could have been cut
	else if (i == 12)
		icmp_at(k)[1] = 1; // a code that there is not
	if (i == 11 && !b.v6) {
		pkt_put16(k->f + L3 + 2, k->len - L3);
		tnl_ip_sum(k);
	}
	icmp_sum(k);
	if (i == 13)
		icmp_at(k)[3] ^= 1; // the sum is wrong
}

/* A packet of len bytes is too long, as soon as the card has come to what it was told. */
static int told(struct tnl *t, unsigned len)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	unsigned long was = tnl_drops(t->e, ATK_PEER, "MTU"), n;
	struct atk_env *e = t->e;
	int ret;

	do {
		ret = tenant_sends(t, false, len);
		if (!ret)
			ret = tnl_marker(t);
		if (!ret)
			ret = tnl_marker(t);
		n = tnl_drops(e, ATK_PEER, "MTU") - was;
	} while (!ret && n == 0 && dpu_now_ns() < end);
	ATK_CHECK(e, ret || n == 1, "%lu packets of %u bytes too long", n, len);
	return ret;
}

static int ul04_fn(struct tnl *t)
{
	struct atk_env *e = t->e;
	struct far far = { 0 };
	struct pkt k;
	int ret;

	t->heard = be_far;
	t->arg = &far;
	ret = tenant_reaches(t, false, 1450);
	if (!ret)
		ret = tenant_reaches(t, true, 1430);
	if (!ret)
		ret = tnl_expect(t, "forged", 0, TNL_WIRE, "UNDERLAY", forged, 2 * (9 + 14));
	if (!ret)
		ret = tenant_reaches(t, false, 1450);
	if (!ret)
		ret = tenant_reaches(t, true, 1430);
	// And one that is right in all is believed, or the others would prove nothing.
	too_big(&k, &right4);
	if (!ret)
		ret = tnl_send(t, &k);
	if (!ret)
		ret = tenant_reaches(t, false, 1350);
	if (!ret)
		ret = told(t, 1351);
	ATK_CHECK(e, ret || far.stolen == 0, "%u packets went to somebody else", far.stolen);
	t->heard = NULL;
	return ret;
}

static int ul04(struct atk_env *e)
{
	return tnl_with(e, outward, COUNT(outward), ul04_fn);
}

static const struct atk_row rows[] = {
	{ "UL-01", "ARP and ND of the underlay that lie", ul01 },
	{ "UL-02", "neighbours of the underlay without end", ul02 },
	{ "UL-03", "a neighbour's address that is stolen", ul03 },
	{ "UL-04", "\"too big\" that is forged", ul04 },
};
const struct atk_group atk_ov_ul_rows = { rows, COUNT(rows) };
