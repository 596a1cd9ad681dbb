// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group OV: connections, their translation, and fragments, past stateful flows. */
#include "ov.h"

#include <stdio.h>
#include <stdlib.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FIN 0x01u
#define SYN 0x02u
#define RST 0x04u
#define PSH 0x08u
#define ACK 0x10u
#define HOST 0x0a000001u // the attacker's, 10.0.0.1
#define PEER 0x0a000002u

/* What the attacker's side opens passes, and its answers; what is made of a new one: `commit`. */
#define STATEFUL(commit)                                                                      \
	{ OV_IP4 ",recirc_id(0)", "ct(zone=77),recirc(0x77)" },                               \
		{ "recirc_id(0),in_port(" ATK_PEER "),eth_type(0x0800)",                      \
			"ct(zone=77,nat),recirc(0x78)" },                                     \
		{ "recirc_id(0x77)," OV_IP4 ",ct_state(+new+trk-inv)", commit "," ATK_PEER }, \
		{ "recirc_id(0x77)," OV_IP4 ",ct_state(+est+trk-inv)",                        \
			"ct(zone=77,nat)," ATK_PEER },                                        \
		{ "recirc_id(0x77)," OV_IP4, "drop" },                                        \
		{ "recirc_id(0x78),in_port(" ATK_PEER ")"                                     \
		  ",eth_type(0x0800),ct_state(+est+trk-inv)",                                 \
			ATK_NET },                                                            \
	{                                                                                     \
		"recirc_id(0x78),in_port(" ATK_PEER "),eth_type(0x0800)", "drop"              \
	}

static const struct ov_policy stateful[] = { STATEFUL("ct(commit,zone=77)") };

/* With these flows; afterwards no connection is left. */
static int with_ct(struct atk_env *e, const struct ov_policy *flows, unsigned n,
	int (*fn)(struct atk_env *e, struct atk_pair *p))
{
	int ret = ov_with(e, flows, n, fn);

	atk_daemon_rpc(e->d, "ct_flush", "{}");
	return ret;
}

/* ---- segments ---- */

struct seg {
	bool back; // from the peer
	unsigned sport; // of the attacker's side
	uint32_t host, seq, ack;
	unsigned flags, len; // bytes of payload
};

/* The frame of a segment; the TCP header. */
static uint8_t *tcp(struct pkt *k, const struct seg *s)
{
	uint32_t src = s->host ? s->host : HOST, dst = PEER;

	pkt_eth(k, s->back ? atk_mac : atk_peer_mac, s->back ? atk_peer_mac : atk_mac, 0x800);
	uint8_t *ip = pkt_ip4(k, s->back ? dst : src, s->back ? src : dst, 6, 20 + s->len, 0);
	uint8_t *t = pkt_add(k, 20 + s->len);

	pkt_put16(t, s->back ? 80 : s->sport);
	pkt_put16(t + 2, s->back ? s->sport : 80);
	pkt_put32(t + 4, s->seq);
	pkt_put32(t + 8, s->ack);
	t[12] = 0x50;
	t[13] = (uint8_t)s->flags;
	pkt_put16(t + 14, 8192);
	pkt_l4_sum(k, ip, t, t + 16);
	return t;
}

/*
 * Does it come out at the other side? What recirculates goes out behind what was received in the
 * same turn, hence two markers.
 */
static int forth(struct atk_env *e, struct atk_pair *p, const struct pkt *k, unsigned want)
{
	unsigned n = 0, sum = 0;
	int ret = ov_send(e, p, k);

	for (unsigned i = 0; !ret && i < 2; i++) {
		ret = atk_pair_marker(e, p, &n);
		sum += n;
	}
	if (ret)
		return ret;
	ATK_CHECK(e, sum == want, "%u segments of %u arrive at the peer", sum, want);
	return 0;
}

/* An honest frame of the peer's; *n counts others that come before it. */
static int back_marker(struct atk_env *e, struct atk_pair *p, unsigned *n)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL, seq = 0, mine = ++p->seq;
	uint8_t frame[2048];

	drv_frame_make(frame, atk_mac, atk_peer_mac, mine, 60);
	ATK_CHECK(e, !drv_net_send(&p->b, 0, NULL, frame, 60), "transmit ring full");
	drv_net_flush(&p->b, 0);
	while (dpu_now_ns() < end) {
		int len = drv_net_recv(&p->a, 0, NULL, frame, sizeof(frame));

		if (len == 0) {
			drv_net_wait(&p->a, 0, 20);
		} else if (len > 0 && !memcmp(frame, atk_mac, 6)) {
			if (drv_frame_ok(frame, (uint32_t)len, &seq) && seq == mine)
				return 0;
			++*n;
		}
	}
	return atk_fail(e, "an honest frame of the peer's does not arrive");
}

/* The other way. */
static int back(struct atk_env *e, struct atk_pair *p, const struct pkt *k, unsigned want)
{
	unsigned n = 0;
	int ret = 0;

	ATK_CHECK(e, !drv_net_send(&p->b, 0, NULL, k->f, k->len), "transmit ring full");
	for (unsigned i = 0; !ret && i < 2; i++)
		ret = back_marker(e, p, &n);
	if (ret)
		return ret;
	ATK_CHECK(e, n == want, "%u segments of %u come back", n, want);
	return 0;
}

/* What is still under way arrives. */
static int settle(struct atk_env *e, struct atk_pair *p)
{
	unsigned n = 0;
	int ret = 0;

	for (unsigned i = 0; !ret && i < 2; i++) {
		ret = atk_pair_marker(e, p, NULL);
		if (!ret)
			ret = back_marker(e, p, &n);
	}
	return ret;
}

static int segment(struct atk_env *e, struct atk_pair *p, const struct seg *s, unsigned want)
{
	struct pkt k;

	tcp(&k, s);
	return s->back ? back(e, p, &k, want) : forth(e, p, &k, want);
}

/* A handshake from 1000 and 5000. */
static int open_conn(struct atk_env *e, struct atk_pair *p, unsigned sport)
{
	const struct seg s[] = { { .sport = sport, .seq = 1000, .flags = SYN },
		{ .back = true, .sport = sport, .seq = 5000, .ack = 1001, .flags = SYN | ACK },
		{ .sport = sport, .seq = 1001, .ack = 5001, .flags = ACK } };
	int ret = 0;

	for (unsigned i = 0; !ret && i < COUNT(s); i++)
		ret = segment(e, p, &s[i], 1);
	return ret;
}

/* Data that was never acknowledged goes again, and an answer. */
static int conn_lives(struct atk_env *e, struct atk_pair *p, unsigned sport)
{
	int ret = segment(e, p,
		&(struct seg){
			.sport = sport, .seq = 1001, .ack = 5001, .flags = ACK | PSH, .len = 100 },
		1);

	if (ret)
		return ret;
	return segment(e, p,
		&(struct seg){ .back = true,
			.sport = sport,
			.seq = 5001,
			.ack = 1101,
			.flags = ACK | PSH,
			.len = 10 },
		1);
}

/* ---- OV-20: more connections than there is room for ---- */

static int syn_flood(struct atk_env *e, struct atk_pair *p, unsigned n)
{
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < n; i++) {
		tcp(&k, &(struct seg){ .host = 0x0b000000 + i / 60000,
				.sport = 1024 + i % 60000,
				.seq = i,
				.flags = SYN });
		ret = ov_send(e, p, &k);
		if (i % 64 == 63)
			ov_drain(p);
	}
	return ret ? ret : settle(e, p);
}

static int ov20_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = open_conn(e, p, 40000);

	if (!ret)
		ret = syn_flood(e, p, atk_times(e, 1000000));
	if (!ret)
		ret = conn_lives(e, p, 40000);
	return ret ? ret : open_conn(e, p, 40001);
}

static int ov20(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov20_fn);
}

static int ov20_zone_fn(struct atk_env *e, struct atk_pair *p)
{
	char *reply = NULL, *at;
	unsigned long n = 0;
	int ret = open_conn(e, p, 40000);

	if (!ret)
		ret = syn_flood(e, p, atk_times(e, 100000));
	if (!ret && atk_daemon_ask(e->d, "ct_zone_list", "{\"zone\": 77}", &reply))
		ret = atk_fail(e, "no answer");
	at = reply ? strstr(reply, "\"connections\"") : NULL;
	if (at)
		n = strtoul(at + strlen("\"connections\":"), NULL, 10);
	free(reply);
	ATK_CHECK(e, ret || (n > 1 && n <= 1000), "%lu connections in a zone of 1000", n);
	return ret ? ret : conn_lives(e, p, 40000);
}

static int ov20_zone(struct atk_env *e)
{
	int ret = atk_daemon_rpc(e->d, "ct_zone_set", "{\"zone\": 77, \"limit\": 1000}");

	ATK_CHECK(e, !ret, "no limit: %d", ret);
	ret = with_ct(e, stateful, COUNT(stateful), ov20_zone_fn);
	atk_daemon_rpc(e->d, "ct_zone_reset", "{\"zone\": 77}");
	return ret;
}

static int warm_fn(struct atk_env *e, struct atk_pair *p)
{
	return syn_flood(e, p, 200000);
}

int atk_ov_ct_warm(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), warm_fn);
}

/* ---- OV-21, OV-22: segments that lie ---- */

static int resets(struct atk_env *e, struct atk_pair *p, bool from_peer)
{
	uint32_t right = from_peer ? 5011 : 1001; // behind what conn_lives() has sent
	unsigned n = 0; // answers are nobody's business here
	struct pkt k;
	int ret = 0;

	for (uint32_t off = 1; !ret && off != 0 && off < 0xff000000; off += off < 100 ? 1 : off / 8)
		for (unsigned ack = 0; !ret && ack < 2; ack++) {
			tcp(&k, &(struct seg){ .back = from_peer,
					.sport = 40000,
					.seq = right + off,
					.ack = ack ? 5001 : 0,
					.flags = RST | (ack ? ACK : 0) });
			if (!from_peer)
				ret = ov_send(e, p, &k);
			else if (drv_net_send(&p->b, 0, NULL, k.f, k.len))
				ret = atk_fail(e, "transmit ring full");
			if (!ret)
				ret = from_peer ? back_marker(e, p, &n) : atk_pair_marker(e, p, &n);
		}
	return ret;
}

/* No RST but the one that is expected next closes, nor does a SYN, RFC 5961. */
static int ov21_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = open_conn(e, p, 40000);

	for (unsigned side = 0; !ret && side < 2; side++) {
		ret = resets(e, p, side);
		if (!ret)
			ret = settle(e, p);
		if (!ret)
			ret = conn_lives(e, p, 40000);
	}
	for (uint32_t off = 0; !ret && off < 70000; off += 7000) {
		struct pkt k;

		tcp(&k, &(struct seg){ .sport = 40000, .seq = 1001 + off, .flags = SYN });
		ret = ov_send(e, p, &k);
		if (!ret)
			ret = settle(e, p);
	}
	return ret ? ret : conn_lives(e, p, 40000);
}

static int ov21(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov21_fn);
}

/* Data offsets below the header and beyond the packet, flags that no segment has. */
static void lying_tcp(struct pkt *k, unsigned i)
{
	static const uint8_t flags[] = { 0, 0x3f, SYN | FIN, SYN | RST, SYN | FIN | RST, FIN,
		FIN | PSH | 0x20, 0xff };
	uint8_t *t = tcp(k, &(struct seg){ .sport = 2000 + i, .seq = i, .flags = SYN, .len = 8 });

	if (i < 5)
		t[12] = (uint8_t)(i << 4);
	else if (i < 12)
		t[12] = (uint8_t)((i + 4) << 4 | 0x80);
	else
		t[13] = flags[i - 12];
	pkt_l4_sum(k, k->f + 14, t, t + 16);
}

/* Options that end nowhere, wrong lengths, window scale 15 and more, SACK of half a block. */
static void lying_options(struct pkt *k, unsigned i)
{
	static const uint8_t opts[][8] = { { 2, 0 }, { 2, 1 }, { 2, 255 }, { 3, 3, 15 },
		{ 3, 3, 255 }, { 3, 255, 1 }, { 5, 7, 1, 2, 3, 4, 5 }, { 5, 2 }, { 5, 255 },
		{ 8, 0 }, { 8, 9 }, { 253, 1 }, { 1, 1, 1, 1, 1, 1, 1, 2 }, { 4, 0, 4, 0, 4, 0 } };
	uint8_t *t = tcp(k, &(struct seg){ .sport = 3000 + i, .flags = SYN, .len = 8 });

	t[12] = 0x70;
	memcpy(t + 20, opts[i % COUNT(opts)], 8);
	pkt_l4_sum(k, k->f + 14, t, t + 16);
}

static int ov22_fn(struct atk_env *e, struct atk_pair *p)
{
	struct pkt k;
	int ret = ov_expect(e, p, "headers that lie", 0, lying_tcp, 12 + 8);

	for (unsigned i = 0; !ret && i < 28; i++) {
		lying_options(&k, i);
		ret = ov_send(e, p, &k);
		if (!ret)
			ret = settle(e, p);
	}
	return ret ? ret : open_conn(e, p, 40000);
}

static int ov22(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov22_fn);
}

/* ---- OV-24 to OV-26: translation and payload ---- */

struct ids {
	unsigned n;
	uint16_t id[16];
	uint8_t src[16][4];
};

static void note_id(struct atk_pair *p, const uint8_t *f, uint32_t len)
{
	struct ids *s = p->arg;

	if (len < 42 || s->n == COUNT(s->id))
		return;
	s->id[s->n] = (uint16_t)(f[38] << 8 | f[39]);
	memcpy(s->src[s->n++], f + 26, 4);
}

static void echo(struct pkt *k, unsigned i)
{
	pkt_eth(k, atk_peer_mac, atk_mac, 0x800);
	pkt_ip4(k, HOST + 0x100 * (i + 1), PEER, 1, 16, 0);
	uint8_t *h = pkt_add(k, 16);

	h[0] = 8;
	pkt_put16(h + 4, 0x1234);
	pkt_put16(h + 2, pkt_fold(pkt_sum(0, h, 16)));
}

static int ov24_fn(struct atk_env *e, struct atk_pair *p)
{
	static const uint8_t outside[4] = { 192, 0, 2, 9 };
	struct ids seen = { 0 };
	int ret;

	p->seen = note_id;
	p->arg = &seen;
	ret = ov_expect(e, p, "echo requests", 8, echo, 8);
	p->seen = NULL;
	for (unsigned i = 0; !ret && i < seen.n; i++) {
		ATK_CHECK(e, !memcmp(seen.src[i], outside, 4), "one was not translated");
		for (unsigned k = 0; k < i; k++)
			ATK_CHECK(e, seen.id[i] != seen.id[k], "two hosts share identifier 0x%04x",
				seen.id[i]);
	}
	return ret;
}

static int ov24(struct atk_env *e)
{
	static const struct ov_policy flows[] = { STATEFUL(
		"ct(commit,zone=77,nat(src=192.0.2.9))") };

	return with_ct(e, flows, COUNT(flows), ov24_fn);
}

struct payload {
	const uint8_t *sent;
	uint32_t len;
	bool same;
};

static void note_payload(struct atk_pair *p, const uint8_t *f, uint32_t len)
{
	struct payload *w = p->arg;

	w->same = len >= w->len && !memcmp(f, w->sent, w->len);
}

static const char conntrack[] = "{\"object\": \"conntrack\"}";

/* Nobody looks into payload: it passes as it is, and no connection is expected for its sake. */
static int ov25_fn(struct atk_env *e, struct atk_pair *p)
{
	static const char *const begins[] = { "PORT 10,0,0,9,", "\1DCC SEND x ",
		"INVITE sip:", "EPRT |1|" };
	char text[320];
	int ret = open_conn(e, p, 21);
	unsigned long was = ov_counter(e, conntrack, "announced");

	ATK_CHECK(e, ret || ov_counter(e, conntrack, "created") > 0, "no counters");
	for (unsigned i = 0; !ret && i < COUNT(begins); i++) {
		struct payload w = { 0 };

		memset(text, '9', sizeof(text));
		memcpy(text, begins[i], strlen(begins[i]));
		text[sizeof(text) - 2] = '\r';
		text[sizeof(text) - 1] = '\n';
		struct pkt k;
		uint8_t *t = tcp(&k, &(struct seg){ .sport = 21,
					     .seq = 1001,
					     .ack = 5001,
					     .flags = ACK | PSH,
					     .len = sizeof(text) });

		memcpy(t + 20, text, sizeof(text));
		pkt_l4_sum(&k, k.f + 14, t, t + 16);
		w.sent = k.f;
		w.len = k.len;
		p->seen = note_payload;
		p->arg = &w;
		ret = forth(e, p, &k, 1);
		p->seen = NULL;
		ATK_CHECK(e, ret || w.same, "payload was changed");
	}
	ATK_CHECK(e, ret || ov_counter(e, conntrack, "announced") == was, "payload announces");
	return ret ? ret : conn_lives(e, p, 21);
}

static int ov25(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov25_fn);
}

/* One host after the other from one port to one place. */
static void many_hosts(struct pkt *k, unsigned i)
{
	pkt_eth(k, atk_peer_mac, atk_mac, 0x800);
	pkt_ip4(k, HOST + 0x100 * (i + 1), PEER, 17, 8 + 16, 0);
	pkt_udp(k, 5000, 53, 16);
}

static int ov26_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = ov_expect(e, p, "more hosts than ports", 4, many_hosts, 200);

	return ret ? ret : ov_expect(e, p, "those that have one", 4, many_hosts, 4);
}

static int ov26(struct atk_env *e)
{
	static const struct ov_policy flows[] = { STATEFUL(
		"ct(commit,zone=77,nat(src=192.0.2.9:1000-1003))") };

	return with_ct(e, flows, COUNT(flows), ov26_fn);
}

/* ---- OV-27 to OV-30: fragments ---- */

static void note_fragment(struct atk_pair *p, const uint8_t *f, uint32_t len)
{
	*(unsigned *)p->arg += len > 34 && ((f[20] & 0x3f) | f[21]) != 0;
}

/* A fragment of datagram `id`, whose UDP header says 2000 bytes; off in bytes. */
static void fragment(struct pkt *k, unsigned id, unsigned off, unsigned len, bool more)
{
	pkt_eth(k, atk_peer_mac, atk_mac, 0x800);
	uint8_t *ip = pkt_ip4(k, HOST, PEER, 17, len, off / 8 | (more ? 0x2000 : 0));

	pkt_put16(ip + 4, id);
	pkt_put16(ip + 10, 0);
	pkt_put16(ip + 10, pkt_fold(pkt_sum(0, ip, 20)));
	uint8_t *at = pkt_add(k, len);

	if (off == 0 && len >= 8) {
		pkt_put16(at, 1024);
		pkt_put16(at + 2, 53);
		pkt_put16(at + 4, 2000);
	}
}

static void honest_fragment(struct pkt *k, unsigned i)
{
	fragment(k, 0xfff0, i * 1000, 1000, i == 0);
}

/* Overlapping, twice, empty, first one missing, the end moved, longer than a datagram can be. */
static void lying_fragment(struct pkt *k, unsigned i)
{
	static const struct {
		uint16_t id, off, len;
		bool more;
	} f[] = { { 1, 0, 800, true }, { 1, 400, 800, true }, { 1, 1200, 100, false },
		{ 2, 24, 0, true }, { 2, 24, 0, false }, { 3, 800, 800, true },
		{ 3, 1600, 400, false }, { 4, 0, 808, true }, { 4, 808, 92, false },
		{ 4, 808, 492, false }, { 5, 65528, 100, false }, { 5, 65528, 7, true },
		{ 6, 8, 8, true }, { 6, 0, 800, true }, { 6, 8, 8, true }, { 6, 800, 8, false } };

	fragment(k, f[i % COUNT(f)].id + 16 * (i / COUNT(f)), f[i % COUNT(f)].off,
		f[i % COUNT(f)].len, f[i % COUNT(f)].more);
}

static int count_fragments(struct atk_env *e, struct atk_pair *p, unsigned want, unsigned n,
	void (*make)(struct pkt *k, unsigned i))
{
	unsigned fragments = 0, got;
	struct pkt k;
	int ret = 0;

	p->seen = note_fragment;
	p->arg = &fragments;
	for (unsigned i = 0; !ret && i < n; i++) {
		make(&k, i);
		ret = ov_send(e, p, &k);
		if (!ret && i % 64 == 63)
			ret = atk_pair_marker(e, p, NULL);
	}
	if (!ret)
		ret = ov_passed(e, p, &got);
	p->seen = NULL;
	ATK_CHECK(e, ret || fragments == want, "%u fragments passed, not %u", fragments, want);
	return ret;
}

static int ov27_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = count_fragments(e, p, 2, 2, honest_fragment);

	return ret ? ret : count_fragments(e, p, 0, 16 * 8, lying_fragment);
}

static int ov27(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov27_fn);
}

static void incomplete(struct pkt *k, unsigned i)
{
	fragment(k, i >> 1, i & 1 ? 1600 : 800, 800, true);
}

/* Datagrams that are never whole, and a connection beside them. */
static int ov29_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = open_conn(e, p, 40000);

	for (unsigned i = 0; !ret && i < 10; i++) {
		ret = count_fragments(e, p, 0, atk_times(e, 10000), incomplete);
		if (!ret)
			ret = conn_lives(e, p, 40000);
	}
	return ret;
}

static int ov29(struct atk_env *e)
{
	return with_ct(e, stateful, COUNT(stateful), ov29_fn);
}

static const struct atk_row rows[] = {
	{ "OV-20", "SYN flood of a full table", ov20 },
	{ "OV-20", "SYN flood of a zone with a limit", ov20_zone },
	{ "OV-21", "RST and SYN at every place", ov21 },
	{ "OV-22", "TCP headers that lie", ov22 },
	{ "OV-24", "one ICMP identifier of many hosts", ov24 },
	{ "OV-25", "payload that names addresses", ov25 },
	{ "OV-26", "more hosts than ports of translation", ov26 },
	{ "OV-27", "fragments that lie past stateful flows", ov27 },
	{ "OV-29", "datagrams that are never whole", ov29 },
};
const struct atk_group atk_ov_ct_rows = { rows, COUNT(rows) };
