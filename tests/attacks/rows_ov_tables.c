// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group OV: what makes the switch's tables grow. */
#include "ov.h"

#include <stdio.h>
#include <stdlib.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PORT_FLOWS 8192 // of the learning switch, for one port
#define FIRST_MS 10 // a first packet of another port, with --strict

/* ---- OV-16: masks without end ---- */

#define TSE_MASKS 512

static void any_headers(struct pkt *k, unsigned i)
{
	pkt_eth(k, atk_peer_mac, atk_mac, 0x800);
	uint8_t *ip = pkt_ip4(k, (uint32_t)rand(), (uint32_t)rand(), i & 1 ? 6 : 17, 40, 0);

	ip[1] = (uint8_t)rand();
	ip[8] = (uint8_t)(1 + rand() % 255);
	uint8_t *l4 = pkt_add(k, 40);

	pkt_put32(l4, (uint32_t)rand());
	l4[12] = 0x50;
	l4[13] = (uint8_t)rand();
}

static int ov16_fn(struct atk_env *e, struct atk_pair *p)
{
	char flow[256];

	// Prefixes of both addresses, each pair of lengths a mask of its own: few are allowed.
	for (unsigned i = 0; i < TSE_MASKS; i++) {
		unsigned s = 1 + i % 32, d = 1 + i / 32 % 32;

		snprintf(flow, sizeof(flow), OV_IP4 ",ipv4(src=192.0.2.1/%u,dst=198.51.100.1/%u)",
			s, d);
		ATK_CHECK(e, !ov_flow_add(e, flow, s > 24 && d > 12 ? ATK_PEER : "drop"),
			"no flow %s", flow);
	}
	return ov_expect(e, p, "random headers", 0, any_headers, atk_times(e, 20000));
}

static int ov16(struct atk_env *e)
{
	static const struct ov_policy rest[] = { { OV_IP4, "drop" } };

	return ov_with(e, rest, 1, ov16_fn);
}

/* ---- OV-18: lists that are too long or too deep ---- */

/* `item` n times, an output, `end` n times. */
static int long_list(struct atk_env *e, const char *item, unsigned n, const char *end)
{
	size_t len = strlen(item) * n + strlen(end) * n + sizeof(ATK_PEER);
	char *text = malloc(len);
	int ret;

	ATK_CHECK(e, text, "no memory");
	text[0] = '\0';
	for (unsigned i = 0; i < n; i++)
		memcpy(text + strlen(item) * i, item, strlen(item) + 1);
	memcpy(text + strlen(item) * n, ATK_PEER, sizeof(ATK_PEER));
	for (unsigned i = 0; i < n; i++)
		memcpy(text + len - 1 - strlen(end) * (n - i), end, strlen(end) + 1);
	ret = ov_flow_add(e, OV_IP4, text);
	free(text);
	ATK_CHECK(e, ret == -EREMOTEIO, "%u times %s: %d", n, item, ret);
	return 0;
}

static int ov18_fn(struct atk_env *e, struct atk_pair *p)
{
	int ret = long_list(e, "clone(", 9, ")");

	if (!ret)
		ret = long_list(e, "clone(", 2000, ")");
	if (!ret)
		ret = long_list(e, "sample(sample=50%,actions(", 9, "))");
	if (!ret) // 64 KiB of records, and text that the schema allows
		ret = long_list(e, "set(tunnel(tun_id=1,dst=1.1.1.1)),", 400, "");
	if (!ret) // text that it does not
		ret = long_list(e, "set(tunnel(tun_id=1,dst=1.1.1.1)),", 20000, "");
	if (!ret)
		ret = long_list(e, ATK_PEER ",", 1024, "");
	// None of them is there.
	return ret ? ret : ov_expect(e, p, "packets", 3, any_headers, 3);
}

static int ov18(struct atk_env *e)
{
	return ov_with(e, NULL, 0, ov18_fn);
}

/* ---- OV-19, OV-33: flows and addresses without end ---- */

static void any_addresses(struct pkt *k, unsigned i)
{
	uint8_t src[6] = { 2, 0xab };

	pkt_put32(src + 2, i);
	pkt_eth(k, atk_peer_mac, src, 0x88b6);
	pkt_add(k, 46);
}

/*
 * What the port's quota of set-ups has in debts is paid: a frame from an address that nobody knows
 * passes. Until then any frame that wants a flow may be dropped, a marker whose flow had to make
 * room as well.
 */
static int quota_returns(struct atk_env *e, struct atk_pair *p)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	uint8_t frame[2048];
	struct pkt k;

	while (dpu_now_ns() < end) {
		any_addresses(&k, (uint32_t)rand());
		int ret = ov_send(e, p, &k);

		if (ret)
			return ret;
		drv_net_flush(&p->a, 0);
		drv_net_wait(&p->b, 0, 20);
		for (int len; (len = drv_net_recv(&p->b, 0, NULL, frame, sizeof(frame))) != 0;)
			if (len >= 12 && !memcmp(frame, k.f, 12))
				return 0;
	}
	return atk_fail(e, "the port's quota never returns");
}

/* A new flow with each frame. Towards a known address: what is flooded meets the victim, too. */
static int storm(struct atk_env *e, struct atk_pair *p, unsigned n)
{
	struct pkt k;
	int ret = 0;

	for (unsigned i = 0; !ret && i < n; i++) {
		any_addresses(&k, i);
		ret = ov_send(e, p, &k);
		if (i % 64 == 63)
			ov_drain(p);
	}
	drv_net_flush(&p->a, 0);
	return ret;
}

/* The next frame from `addr` at the attacker, while it goes on with its storm. */
static int first_packet(struct atk_env *e, struct atk_pair *p, const uint8_t addr[6], uint64_t *ns)
{
	uint64_t since = dpu_now_ns(), end = since + ATK_REPLY_MS * 1000000ULL, lost = 0;
	uint8_t frame[2048];
	struct pkt k;

	for (unsigned i = 0; dpu_now_ns() < end; i++) {
		if (dpu_now_ns() >= lost) { // the attacker's own receive ring may be full
			pkt_eth(&k, atk_mac, addr, 0x88b6);
			pkt_add(&k, 46);
			drv_net_send(&p->b, 0, NULL, k.f, k.len);
			drv_net_flush(&p->b, 0);
			lost = dpu_now_ns() + 1000000000;
		}
		any_addresses(&k, (uint32_t)rand());
		drv_net_send(&p->a, 0, NULL, k.f, k.len);
		drv_net_flush(&p->a, 0);
		for (int len; (len = drv_net_recv(&p->a, 0, NULL, frame, sizeof(frame))) != 0;)
			if (len >= 12 && !memcmp(frame + 6, addr, 6)) {
				*ns = dpu_now_ns() - since;
				return 0;
			}
		ov_drain(p);
	}
	return atk_fail(e, "the first packet of another port never comes");
}

/* One port asks for flows as fast as it can; another's first packets are decided on meanwhile. */
static int ov19_fn(struct atk_env *e, struct atk_pair *p)
{
	unsigned n = atk_times(e, 100), late = 0;
	int ret = storm(e, p, atk_times(e, 100000));

	for (unsigned i = 0; !ret && i < n; i++) {
		uint8_t addr[6] = { 2, 0xac, 0, 0, (uint8_t)(i >> 8), (uint8_t)i };
		uint64_t ns = 0;

		ret = first_packet(e, p, addr, &ns);
		late += ns > FIRST_MS * 1000000ULL;
	}
	if (!ret)
		ret = quota_returns(e, p);
	if (ret)
		return ret;
	ATK_CHECK(e, !e->strict || late <= n / 100, "%u of %u first packets took over %u ms", late,
		n, FIRST_MS);
	return 0;
}

static int ov19(struct atk_env *e)
{
	int ret = ov_with(e, NULL, 0, ov19_fn);

	atk_daemon_rpc(e->d, "mac_flush", "{\"port\": \"" ATK_PEER "\"}");
	return ret;
}

static int ov33_fn(struct atk_env *e, struct atk_pair *p)
{
	static const uint8_t victims[2][6] = { { 2, 0, 0, 0xee, 0, 1 }, { 2, 0, 0, 0xee, 0, 2 } };
	char *reply = NULL;
	unsigned learned = 0;
	struct pkt k;
	int ret = 0;

	// Its neighbours' addresses are pinned: claiming them brings nothing, while it has room.
	for (unsigned i = 0; !ret && i < atk_times(e, 1000); i++) {
		pkt_eth(&k, atk_peer_mac, victims[i & 1], 0x88b6);
		pkt_add(&k, 46);
		ret = ov_send(e, p, &k);
		if (!ret && i % 64 == 63)
			ret = atk_pair_marker(e, p, NULL);
	}
	if (!ret)
		ret = storm(e, p, atk_times(e, 1000000));
	if (!ret && atk_daemon_ask(e->d, "mac_list", "{}", &reply))
		ret = atk_fail(e, "no answer");
	for (const char *at = reply; at && (at = strstr(at, "\"" ATK_NET "\"")); at++)
		learned++;
	free(reply);
	ATK_CHECK(
		e, ret || (learned > 100 && learned <= 1024), "%u addresses of one port", learned);
	return ret ? ret : quota_returns(e, p);
}

static int ov33(struct atk_env *e)
{
	static const char *const pins[2] = { "\"mac\": \"02:00:00:ee:00:01\"",
		"\"mac\": \"02:00:00:ee:00:02\"" };
	char params[128];
	int ret = 0;

	for (unsigned i = 0; !ret && i < 2; i++) {
		snprintf(params, sizeof(params), "{%s, \"port\": \"vic-net%u\"}", pins[i], i);
		if (atk_daemon_rpc(e->d, "mac_set", params))
			ret = atk_fail(e, "no static address");
	}
	if (!ret)
		ret = ov_with(e, NULL, 0, ov33_fn);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(params, sizeof(params), "{%s}", pins[i]);
		atk_daemon_rpc(e->d, "mac_del", params);
	}
	return ret;
}

/* All flows that a port may have at once. */
static int warm_fn(struct atk_env *e, struct atk_pair *p)
{
	unsigned long n = 0;
	int ret = 0;

	for (unsigned i = 0; !ret && i < 100 && n < PORT_FLOWS; i++) {
		ret = storm(e, p, 50000);
		n = ov_counter(e, "{\"object\": \"datapath\"}", "flows");
	}
	return ret ? ret : quota_returns(e, p);
}

int atk_ov_warm(struct atk_env *e)
{
	return ov_with(e, NULL, 0, warm_fn);
}

static const struct atk_row rows[] = {
	{ "OV-16", "masks without end", ov16 },
	{ "OV-18", "action lists without end", ov18 },
	{ "OV-19", "flows without end beside a first packet", ov19 },
	{ "OV-33", "addresses without end, and a neighbour's", ov33 },
};
const struct atk_group atk_ov_tables_rows = { rows, COUNT(rows) };
