// SPDX-License-Identifier: Apache-2.0
/* The card, tenants and packets of the rows about tunnels. */
#include "ov_tnl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SPORT 0xc123u // within the range that tunnels use
#define ETH 14u

const uint8_t tnl_card_mac[6] = { 2, 0, 0, 0xcc, 0, 1 }, tnl_far_mac[6] = { 2, 0, 0, 0xcc, 0, 2 };
static const uint8_t inner_mac[6] = { 2, 0, 0, 0xcc, 0, 3 }; // of a host behind the far end

/* ---- packets ---- */

void tnl_ip6(uint8_t at[16], uint32_t tail)
{
	memset(at, 0, 16);
	pkt_put32(at, 0x20010db8);
	pkt_put32(at + 12, tail);
}

void tnl_outer(struct pkt *k, const struct tnl_outer *o)
{
	uint32_t src = o->src ? o->src : TNL_FAR, dst = o->dst ? o->dst : TNL_CARD;
	uint8_t proto = o->gre ? 47 : 17;

	pkt_eth(k, tnl_card_mac, tnl_far_mac, o->v6 ? 0x86dd : 0x800);
	if (o->v6) {
		uint8_t *h = pkt_ip6(k, 0, 0, proto, 0);

		h[7] = 64;
		tnl_ip6(h + 8, o->src ? o->src : TNL_FAR & 0xff);
		tnl_ip6(h + 24, o->dst ? o->dst : TNL_CARD & 0xff);
	} else {
		pkt_ip4(k, src, dst, proto, 0, 0x4000);
	}
	if (!o->gre)
		pkt_udp(k, SPORT, o->dport, 0);
}

void tnl_ip_sum(struct pkt *k)
{
	uint8_t *ip = k->f + ETH;

	pkt_put16(ip + 10, 0);
	pkt_put16(ip + 10, pkt_fold(pkt_sum(0, ip, (ip[0] & 15u) * 4)));
}

void tnl_done(struct pkt *k, const struct tnl_outer *o)
{
	uint8_t *ip = k->f + ETH, *l4 = ip + (o->v6 ? 40 : 20);
	uint32_t n = (uint32_t)(k->f + k->len - l4), sum;

	if (o->v6) {
		pkt_put16(ip + 4, n);
	} else {
		pkt_put16(ip + 2, 20 + n);
		tnl_ip_sum(k);
	}
	if (o->gre)
		return;
	pkt_put16(l4 + 4, n);
	pkt_put16(l4 + 6, 0);
	if (o->no_sum)
		return;
	sum = pkt_sum(17 + n, o->v6 ? ip + 8 : ip + 12, o->v6 ? 32 : 8);
	sum = pkt_fold(pkt_sum(sum, l4, n));
	pkt_put16(l4 + 6, sum ? sum : 0xffff);
}

void tnl_vxlan(struct pkt *k, uint32_t flags, uint32_t vni)
{
	pkt_put32(pkt_add(k, 4), flags);
	pkt_put32(pkt_add(k, 4), vni << 8);
}

uint8_t *tnl_geneve(struct pkt *k, uint32_t vni, unsigned words)
{
	uint8_t *h = pkt_add(k, 8 + 4 * words);

	h[0] = (uint8_t)words;
	pkt_put16(h + 2, 0x6558);
	pkt_put32(h + 4, vni << 8);
	return h + 8;
}

void tnl_inner(struct pkt *k)
{
	uint8_t *f = pkt_add(k, 60);

	memcpy(f, atk_peer_mac, 6);
	memcpy(f + 6, inner_mac, 6);
	pkt_put16(f + 12, 0x88b6);
}

void tnl_honest(struct pkt *k, const struct tnl_outer *o, uint32_t vni)
{
	tnl_outer(k, o);
	if (o->gre) {
		pkt_put32(pkt_add(k, 4), 0x20006558);
		pkt_put32(pkt_add(k, 4), vni);
	} else if (o->dport == TNL_GN_PORT) {
		tnl_geneve(k, vni, 0);
	} else {
		tnl_vxlan(k, 0x08000000, vni);
	}
	tnl_inner(k);
	tnl_done(k, o);
}

/* ---- sending ---- */

void tnl_hear(struct tnl *t)
{
	uint8_t frame[WIRE_FRAME];

	for (uint32_t len; (len = wire_recv(&t->w, frame)) != 0;)
		if (t->heard)
			t->heard(t, frame, len);
}

int tnl_send(struct tnl *t, const struct pkt *k)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_env *e = t->e;
	int ret;

	while ((ret = wire_send(&t->w, k->f, k->len)) == -EAGAIN) {
		tnl_hear(t);
		ATK_CHECK(e, dpu_now_ns() < end, "the card takes nothing from the wire");
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	ATK_CHECK(e, !ret, "wire: %s", strerror(-ret));
	return 0;
}

/* An honest frame in network `vni` for that tenant. */
static void honest_frame(struct pkt *k, uint32_t vni, uint64_t seq)
{
	static const struct tnl_outer o = { .dport = TNL_VX_PORT };

	tnl_outer(k, &o);
	tnl_vxlan(k, 0x08000000, vni);
	drv_frame_make(
		pkt_add(k, 60), vni == TNL_NET_A ? atk_peer_mac : atk_mac, inner_mac, seq, 60);
	tnl_done(k, &o);
}

/* What has come to a tenant; true: the honest frame was among it. */
static bool arrived(struct tnl *t, bool is_a, uint64_t seq)
{
	struct drv_net *n = is_a ? &t->p.b : &t->p.a;
	uint8_t frame[2048];
	uint64_t got;

	for (int len; (len = drv_net_recv(n, 0, NULL, frame, sizeof(frame))) != 0;) {
		if (len > 0 && drv_frame_ok(frame, (uint32_t)len, &got)) {
			if (got == seq && !memcmp(frame + 6, inner_mac, 6))
				return true;
			if (memcmp(frame + 6, inner_mac, 6) != 0)
				continue; // of an honest pair
		}
		if (is_a)
			t->n_a++;
		else
			t->n_b++;
		if (t->seen && len > 0)
			t->seen(t->arg, is_a, frame, (uint32_t)len);
	}
	return false;
}

static int marker_in(struct tnl *t, unsigned ms)
{
	uint64_t end = dpu_now_ns() + ms * 1000000ULL, seq = ++t->seq;
	bool a = false, b = false;
	struct pkt k;
	int ret;

	honest_frame(&k, TNL_NET_B, seq);
	ret = tnl_send(t, &k);
	honest_frame(&k, TNL_NET_A, seq);
	if (!ret)
		ret = tnl_send(t, &k);
	while (!ret && dpu_now_ns() < end) {
		tnl_hear(t);
		b = b || arrived(t, false, seq);
		a = a || arrived(t, true, seq);
		if (a && b)
			return 0;
		drv_net_wait(a ? &t->p.a : &t->p.b, 0, 2);
	}
	return ret ? ret : atk_fail(t->e, "an honest packet of network %u is lost", a ? 6u : 5u);
}

int tnl_marker(struct tnl *t)
{
	return marker_in(t, ATK_REPLY_MS);
}

/* ---- counters ---- */

unsigned long tnl_drops(struct atk_env *e, const char *port, const char *reason)
{
	char object[128];

	snprintf(object, sizeof(object), "{\"object\": \"port\", \"name\": \"%s\"}", port);
	return ov_counter(e, object, reason);
}

unsigned long tnl_all_drops(struct atk_env *e, const char *port)
{
	char object[128], *reply, *at;
	unsigned long n = 0;

	snprintf(object, sizeof(object), "{\"object\": \"port\", \"name\": \"%s\"}", port);
	if (!atk_daemon_ask(e->d, "stats_get", object, &reply)) {
		at = strstr(reply, "\"drops\"");
		at = at ? strchr(at, '{') : NULL;
		for (char *end = at ? strchr(at, '}') : NULL; at && at < end;
			at = strchr(at + 1, ':'))
			n += *at == ':' ? strtoul(at + 1, NULL, 10) : 0;
	}
	free(reply);
	return n;
}

static const char *const ports[] = { TNL_WIRE, TNL_VX, TNL_VZ, TNL_GN, TNL_GRE, ATK_PEER, ATK_NET };

static unsigned long everywhere(struct atk_env *e)
{
	unsigned long n = 0;

	for (size_t i = 0; i < COUNT(ports); i++)
		n += tnl_all_drops(e, ports[i]);
	return n;
}

/* What the control thread decides on comes later than what has a flow. */
static int counted(struct tnl *t, const char *what, const char *port, const char *reason,
	unsigned long was, unsigned long all, unsigned want)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct atk_env *e = t->e;
	unsigned long n;

	do {
		n = tnl_drops(e, port, reason) - was;
	} while (n < want && dpu_now_ns() < end);
	ATK_CHECK(e, n == want, "%s: %lu of %u counted as %s at %s", what, n, want, reason, port);
	n = everywhere(e) - all;
	ATK_CHECK(e, n == want, "%s: %lu drops in all, not %u", what, n, want);
	return 0;
}

int tnl_expect(struct tnl *t, const char *what, unsigned want, const char *port, const char *reason,
	void (*make)(struct pkt *k, unsigned i), unsigned n)
{
	unsigned long was = tnl_drops(t->e, port, reason), all = everywhere(t->e);
	struct atk_env *e = t->e;
	struct pkt k;
	int ret = 0;

	t->n_a = t->n_b = 0;
	for (unsigned i = 0; !ret && i < n; i++) {
		make(&k, i);
		ret = tnl_send(t, &k);
		if (!ret && i % 64 == 63)
			ret = tnl_marker(t);
	}
	if (!ret)
		ret = tnl_marker(t);
	if (!ret)
		ret = counted(t, what, port, reason, was, all, n - want);
	if (!ret) // what control sends on comes behind its answers
		ret = tnl_marker(t);
	if (ret)
		return ret;
	ATK_CHECK(e, t->n_a == want, "%s: %u of %u passed, not %u", what, t->n_a, n, want);
	ATK_CHECK(e, t->n_b == 0, "%s: %u came to another network", what, t->n_b);
	return 0;
}

/* ---- the card ---- */

static int call(struct atk_env *e, const char *method, const char *params)
{
	ATK_CHECK(e, !atk_daemon_rpc(e->d, method, params), "%s %s", method, params);
	return 0;
}

static const struct {
	const char *method, *params;
} steps[] = {
	{ "underlay_address_add", "{\"uplink\": \"" TNL_WIRE "\", \"address\": \"192.0.2.1/24\", "
				  "\"mac\": \"02:00:00:cc:00:01\"}" },
	{ "underlay_address_add", "{\"uplink\": \"" TNL_WIRE "\", "
				  "\"address\": \"2001:db8::1/64\"}" },
	{ "tunnel_create", "{\"name\": \"" TNL_VX "\", \"type\": \"vxlan\"}" },
	{ "tunnel_create", "{\"name\": \"" TNL_VZ "\", \"type\": \"vxlan\", \"udp_port\": 4799, "
			   "\"zero_csum6\": true}" },
	{ "tunnel_create", "{\"name\": \"" TNL_GN "\", \"type\": \"geneve\", "
			   "\"known_options\": [\"0x0102:0x80\"]}" },
	{ "tunnel_create", "{\"name\": \"" TNL_GRE "\", \"type\": \"gre\"}" },
};

static const char *const tunnels[] = { TNL_VX, TNL_VZ, TNL_GN, TNL_GRE };

static int network(struct atk_env *e, const char *tunnel, unsigned vni, const char *to)
{
	static const char *const from[] = { "src=192.0.2.2", "ipv6_src=2001:db8::2" };
	char flow[128];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(flow, sizeof(flow), "tunnel(tun_id=%u,%s),in_port(%s)", vni, from[i],
			tunnel);
		ATK_CHECK(e, !ov_flow_add(e, flow, to), "no flow %s", flow);
	}
	return 0;
}

static int make_card(struct tnl *t, const struct ov_policy *flows, unsigned n)
{
	struct atk_env *e = t->e;
	char path[96], params[256];
	int ret;

	snprintf(path, sizeof(path), "%s/" TNL_WIRE, e->d->dir);
	snprintf(params, sizeof(params),
		"{\"name\": \"" TNL_WIRE "\", \"devargs\": \"net_memif0,role=client,id=0,"
		"socket=%s,socket-abstract=no\"}",
		path);
	ret = wire_listen(&t->w, path);
	ATK_CHECK(e, !ret, "no wire: %s", strerror(-ret));
	ret = call(e, "uplink_create", params);
	if (ret)
		return ret;
	ret = wire_accept(&t->w, ATK_REPLY_MS);
	ATK_CHECK(e, !ret, "the card is not at the wire: %s", strerror(-ret));
	for (size_t i = 0; !ret && i < COUNT(steps); i++)
		ret = call(e, steps[i].method, steps[i].params);
	for (size_t i = 0; !ret && i < COUNT(tunnels); i++) {
		ret = network(e, tunnels[i], TNL_NET_A, ATK_PEER);
		if (!ret)
			ret = network(e, tunnels[i], TNL_NET_B, ATK_NET);
	}
	for (unsigned i = 0; !ret && i < n; i++)
		if (ov_flow_add(e, flows[i].flow, flows[i].actions))
			ret = atk_fail(e, "no flow %s", flows[i].flow);
	return ret;
}

static void unmake_card(struct tnl *t)
{
	char params[64];

	for (size_t i = 0; i < COUNT(tunnels); i++) {
		snprintf(params, sizeof(params), "{\"name\": \"%s\"}", tunnels[i]);
		atk_daemon_rpc(t->e->d, "tunnel_delete", params);
	}
	atk_daemon_rpc(t->e->d, "uplink_delete", "{\"name\": \"" TNL_WIRE "\"}");
	wire_close(&t->w);
	atk_daemon_rpc(t->e->d, "flow_flush", "{}");
	atk_daemon_rpc(t->e->d, "ct_flush", "{}");
	atk_daemon_rpc(t->e->d, "mac_flush", "{\"port\": \"" ATK_NET "\"}");
	atk_daemon_rpc(t->e->d, "mac_flush", "{\"port\": \"" ATK_PEER "\"}");
}

/* The link needs a moment to start: single packets until some pass. */
static int link_up(struct tnl *t)
{
	int ret = -ETIMEDOUT;

	for (unsigned i = 0; ret && i < ATK_REPLY_MS / 50; i++)
		ret = marker_in(t, 50);
	if (!ret)
		t->e->why[0] = '\0';
	return ret;
}

int tnl_with(struct atk_env *e, const struct ov_policy *flows, unsigned n, int (*fn)(struct tnl *t))
{
	struct tnl t = { .e = e };
	int ret = atk_pair_open(e, &t.p, false);

	if (ret)
		return ret;
	ret = make_card(&t, flows, n);
	if (!ret)
		ret = link_up(&t);
	if (!ret)
		ret = fn(&t);
	if (!ret)
		ret = tnl_marker(&t);
	unmake_card(&t);
	atk_pair_close(&t.p);
	return ret;
}

static int nothing(struct tnl *t)
{
	return tnl_marker(t);
}

int tnl_warm(struct atk_env *e)
{
	return tnl_with(e, NULL, 0, nothing);
}
