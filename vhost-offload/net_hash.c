// SPDX-License-Identifier: Apache-2.0
/* virtio-net: hashes of frames, and the table of flows that a guest transmits. */
#include "net_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_cycles.h>
#include <rte_thash.h>

#include "dpu_alloc.h"
#include "dpu_cur.h"
#include "net_proto.h"

#define FLOWS 4096u // a power of two
#define FLOW_OLD 2u // units of a stamp without a packet, after which another flow gets the place
#define IP6_OPTS_MAX 8 // options of one looked at

enum {
	IP6_OPT_PAD1 = 0,
	IP6_OPT_HOME = 0xc9, // home address (RFC 6275, 6.3)
	IP6_ROUTING_HOME = 2, // routing header of the same (RFC 6275, 6.4)
};

/* What hashes are made of, in host order. */
struct flow {
	unsigned words; // of an address: 1 or 4; 0: not IP
	uint32_t src[4], dst[4];
	uint32_t home[4], route[4]; // stand in for src and dst in the _EX types
	bool ext; // IPv6 with extension headers
	uint8_t proto; // PROTO_TCP, PROTO_UDP, or something without ports: a fragment, too
	uint32_t ports; // source, destination
};

static void read_words(struct dpu_cur *c, uint32_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = dpu_cur_be32(c);
}

static void read_ports(struct dpu_cur c, struct flow *f)
{
	if (f->proto != PROTO_TCP && f->proto != PROTO_UDP)
		return;
	f->ports = dpu_cur_be32(&c);
	if (c.bad)
		f->proto = 0;
}

static void parse_ipv4(struct dpu_cur *c, struct flow *f)
{
	uint8_t vihl = dpu_cur_u8(c);
	uint32_t hdr = (vihl & 0xfu) * 4;
	uint16_t frag;

	dpu_cur_skip(c, 5);
	frag = dpu_cur_be16(c);
	dpu_cur_skip(c, 1);
	f->proto = dpu_cur_u8(c);
	dpu_cur_skip(c, 2);
	read_words(c, f->src, 1);
	read_words(c, f->dst, 1);
	if (c->bad || vihl >> 4 != 4 || hdr < 20)
		return;
	f->words = 1;
	dpu_cur_skip(c, hdr - 20);
	if (frag & 0x3fff) // the other fragments have no ports: all of a packet go one way
		f->proto = 0;
	read_ports(*c, f);
}

/* The home address among a header's options. */
static void find_home(struct dpu_cur c, struct flow *f)
{
	for (unsigned n = 0; n < IP6_OPTS_MAX && c.left; n++) {
		uint8_t type = dpu_cur_u8(&c), len;

		if (type == IP6_OPT_PAD1)
			continue;
		len = dpu_cur_u8(&c);
		if (type == IP6_OPT_HOME && len == 16 && c.left >= 16) {
			read_words(&c, f->home, 4);
			return;
		}
		dpu_cur_skip(&c, len);
	}
}

/* One extension header; false: there is none here. */
static bool parse_ext(struct dpu_cur *c, struct flow *f)
{
	uint8_t type = f->proto, next;
	const uint8_t *body;
	uint32_t len;

	if (type != IP6_HOP_BY_HOP && type != IP6_ROUTING && type != IP6_DEST_OPTS &&
		type != IP6_FRAGMENT)
		return false;
	f->ext = true;
	next = dpu_cur_u8(c);
	if (type == IP6_FRAGMENT) {
		f->proto = 0;
		return false;
	}
	len = (dpu_cur_u8(c) + 1u) * 8 - 2;
	body = dpu_cur_take(c, len);
	f->proto = body ? next : 0;
	if (!body)
		return false;
	if (type == IP6_DEST_OPTS)
		find_home(dpu_cur_init(body, len), f);
	else if (type == IP6_ROUTING && len == 22 && body[0] == IP6_ROUTING_HOME)
		read_words(&(struct dpu_cur){ .at = body + 6, .left = 16 }, f->route, 4);
	return true;
}

static void parse_ipv6(struct dpu_cur *c, struct flow *f)
{
	uint32_t vtf = dpu_cur_be32(c);

	dpu_cur_skip(c, 2);
	f->proto = dpu_cur_u8(c);
	dpu_cur_skip(c, 1);
	read_words(c, f->src, 4);
	read_words(c, f->dst, 4);
	if (c->bad || vtf >> 28 != 6)
		return;
	f->words = 4;
	memcpy(f->home, f->src, sizeof(f->home));
	memcpy(f->route, f->dst, sizeof(f->route));
	for (unsigned n = 0; n < IP6_EXT_MAX && parse_ext(c, f); n++)
		;
	read_ports(*c, f);
}

/* Bounded: two VLAN tags, IP6_EXT_MAX extension headers. f->words: 0 when it is not IP. */
static void parse(const uint8_t *frame, uint32_t len, struct flow *f)
{
	struct dpu_cur c = dpu_cur_init(frame, len);
	uint16_t type;

	f->words = 0;
	f->proto = 0;
	f->ports = 0;
	f->ext = false;
	dpu_cur_skip(&c, 12);
	type = dpu_cur_be16(&c);
	for (unsigned n = 0; n < 2 && (type == ETH_VLAN || type == ETH_QINQ); n++) {
		dpu_cur_skip(&c, 2);
		type = dpu_cur_be16(&c);
	}
	if (type == ETH_IPV4)
		parse_ipv4(&c, f);
	else if (type == ETH_IPV6)
		parse_ipv6(&c, f);
}

/* ---- Toeplitz ---- */

void vho_net_hash_set_key(struct vho_net_hash *h, const uint8_t *key, unsigned n)
{
	uint32_t padded[VHO_NET_HASH_KEY / 4] = { 0 };

	memcpy(padded, key, n);
	rte_convert_rss_key(padded, h->key, VHO_NET_HASH_KEY);
}

static uint32_t toeplitz(const struct vho_net_hash *h, const uint32_t *src, const uint32_t *dst,
	unsigned words, const uint32_t *ports)
{
	uint32_t in[9];

	memcpy(in, src, words * sizeof(in[0]));
	memcpy(in + words, dst, words * sizeof(in[0]));
	words *= 2;
	if (ports)
		in[words++] = *ports;
	return rte_softrss_be(in, words, (const uint8_t *)h->key);
}

uint32_t vho_net_hash_frame(
	const struct vho_net_hash *h, const uint8_t *frame, uint32_t len, uint16_t *report)
{
	/* In the order in which 5.1.6.4.3 tries them. `proto` 0: any, without ports. */
	static const struct {
		uint32_t type;
		uint16_t report;
		uint8_t words, proto;
		bool ext; // only with extension headers, and over the addresses in those
	} kinds[] = {
		{ VIRTIO_NET_RSS_HASH_TYPE_TCPv4, VIRTIO_NET_HASH_REPORT_TCPv4, 1, PROTO_TCP,
			false },
		{ VIRTIO_NET_RSS_HASH_TYPE_UDPv4, VIRTIO_NET_HASH_REPORT_UDPv4, 1, PROTO_UDP,
			false },
		{ VIRTIO_NET_RSS_HASH_TYPE_IPv4, VIRTIO_NET_HASH_REPORT_IPv4, 1, 0, false },
		{ VIRTIO_NET_RSS_HASH_TYPE_TCP_EX, VIRTIO_NET_HASH_REPORT_TCPv6_EX, 4, PROTO_TCP,
			true },
		{ VIRTIO_NET_RSS_HASH_TYPE_UDP_EX, VIRTIO_NET_HASH_REPORT_UDPv6_EX, 4, PROTO_UDP,
			true },
		{ VIRTIO_NET_RSS_HASH_TYPE_IP_EX, VIRTIO_NET_HASH_REPORT_IPv6_EX, 4, 0, true },
		{ VIRTIO_NET_RSS_HASH_TYPE_TCPv6, VIRTIO_NET_HASH_REPORT_TCPv6, 4, PROTO_TCP,
			false },
		{ VIRTIO_NET_RSS_HASH_TYPE_UDPv6, VIRTIO_NET_HASH_REPORT_UDPv6, 4, PROTO_UDP,
			false },
		{ VIRTIO_NET_RSS_HASH_TYPE_IPv6, VIRTIO_NET_HASH_REPORT_IPv6, 4, 0, false },
	};
	struct flow f;

	*report = VIRTIO_NET_HASH_REPORT_NONE;
	if (!h->types)
		return 0;
	parse(frame, len, &f);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!(h->types & kinds[i].type) || kinds[i].words != f.words ||
			(kinds[i].proto && kinds[i].proto != f.proto) || (kinds[i].ext && !f.ext))
			continue;
		*report = kinds[i].report;
		return toeplitz(h, kinds[i].ext ? f.home : f.src, kinds[i].ext ? f.route : f.dst,
			f.words, kinds[i].proto ? &f.ports : NULL);
	}
	return 0;
}

/* ---- flows ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

/* What of two ends is the same whichever comes first. */
static uint64_t both(uint32_t a, uint32_t b)
{
	return (uint64_t)(a ^ b) << 32 | (uint32_t)(a + b);
}

uint32_t vho_net_flow_hash(const uint8_t *frame, uint32_t len)
{
	struct flow f;
	uint64_t h;

	parse(frame, len, &f);
	if (!f.words)
		return 0;
	h = f.proto == PROTO_TCP || f.proto == PROTO_UDP ? f.proto : 0;
	for (unsigned i = 0; i < f.words; i++)
		h = mix(h, both(f.src[i], f.dst[i]));
	h = mix(h, both(f.ports >> 16, f.ports & 0xffff));
	return (uint32_t)h ? (uint32_t)h : 1;
}

/* An entry: the flow's hash, when it was last seen, its pair, and 1. */
#define ENTRY(hash, stamp, pair) \
	((uint64_t)(hash) << 32 | (uint64_t)(uint16_t)(stamp) << 16 | (uint64_t)(pair) << 8 | 1)

static_assert(VHO_NET_PAIRS_MAX <= UINT8_MAX, "a pair is eight bits of an entry");

int vho_net_flows_init(struct vho_net_flows *t)
{
	t->entry = dpu_aligned_calloc(64, FLOWS, sizeof(*t->entry));
	if (!t->entry)
		return -ENOMEM;
	t->shift = 63 - (unsigned)__builtin_clzll(rte_get_tsc_hz() | 1);
	return 0;
}

void vho_net_flows_fini(struct vho_net_flows *t)
{
	free(t->entry);
	t->entry = NULL;
}

void vho_net_flows_learn(struct vho_net_flows *t, uint32_t hash, uint16_t pair, uint64_t now)
{
	_Atomic uint64_t *at = &t->entry[hash % FLOWS];
	uint64_t e = atomic_load_explicit(at, memory_order_relaxed);
	uint64_t want = ENTRY(hash, now >> t->shift, pair);

	if (e == want) // the line stays in every core's cache
		return;
	if (e && e >> 32 != hash && (uint16_t)((want >> 16) - (e >> 16)) < FLOW_OLD)
		return; // somebody else's, and in use
	atomic_store_explicit(at, want, memory_order_relaxed);
}

uint16_t vho_net_flows_pair(const struct vho_net_flows *t, uint32_t hash, uint16_t n_pairs)
{
	uint64_t e = atomic_load_explicit(&t->entry[hash % FLOWS], memory_order_relaxed);
	uint16_t pair = e >> 8 & 0xff;

	if (e && e >> 32 == hash && pair < n_pairs)
		return pair;
	// Other bits than those that pick the place
	return (uint16_t)(((uint64_t)hash * n_pairs) >> 32);
}
