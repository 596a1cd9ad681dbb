// SPDX-License-Identifier: Apache-2.0
/*
 * Hashes of frames against published vectors, and the table of flows.
 * VIRTIO 1.3, 5.1.6.4.3 (hash) and 5.1.6.5.5 (automatic receive steering).
 */
#include "net_hash.h"
#include "mbuf_env.h"
#include "test.h"

#include <arpa/inet.h>
#include <string.h>

#include <linux/virtio_net.h>

#include <rte_cycles.h>

#define TYPE(t) VIRTIO_NET_RSS_HASH_TYPE_##t
#define REPORT(t) VIRTIO_NET_HASH_REPORT_##t
#define TCP 6
#define UDP 17

/* The key of Microsoft's "Verifying the RSS Hash Calculation", from which the vectors are, too. */
static const uint8_t key[40] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
	0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb,
	0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

/* What a frame has besides addresses and ports. */
enum extra {
	BARE,
	VLAN, // two tags
	OPTIONS, // of IPv4
	FRAGMENT, // the first one: its ports are there and count for nothing
	HOP_BY_HOP, // an extension header that changes no address
	MOBILE, // home address option and routing header: they carry the addresses
};

struct ends {
	const char *src, *dst;
	uint16_t sport, dport;
};

static const struct ends v4a = { "66.9.149.187", "161.142.100.80", 2794, 1766 };
static const struct ends v4b = { "199.92.111.2", "65.69.140.83", 14230, 4739 };
static const struct ends v6a = { "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766 };
static const struct ends v6b = { "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739 };

static uint32_t put16(uint8_t *at, unsigned v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
	return 2;
}

static uint32_t put_v4(uint8_t *f, const struct ends *e, uint8_t proto, enum extra extra)
{
	uint32_t hdr = extra == OPTIONS ? 28 : 20;

	memset(f, 1, hdr); // options: NOPs
	f[0] = (uint8_t)(0x40 | hdr / 4);
	put16(f + 6, extra == FRAGMENT ? 0x2000 : 0x4000);
	f[9] = proto;
	assert_int_equal(inet_pton(AF_INET, e->src, f + 12), 1);
	assert_int_equal(inet_pton(AF_INET, e->dst, f + 16), 1);
	return hdr;
}

static uint32_t put_v6(uint8_t *f, const struct ends *e, uint8_t proto, enum extra extra)
{
	uint32_t at = 40;

	memset(f, 0, 120);
	f[0] = 0x60;
	f[6] = proto;
	assert_int_equal(inet_pton(AF_INET6, extra == MOBILE ? "2001:db8::1" : e->src, f + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, extra == MOBILE ? "2001:db8::2" : e->dst, f + 24), 1);
	if (extra == HOP_BY_HOP) {
		f[6] = 0;
		f[at] = proto;
		at += 8;
	} else if (extra == FRAGMENT) {
		f[6] = 44;
		f[at] = proto;
		put16(f + at + 2, 1);
		at += 8;
	} else if (extra == MOBILE) {
		f[6] = 60; // destination options: padding, another option, the home address
		f[at] = 43;
		f[at + 1] = 3;
		f[at + 3] = 1; // PadN, 2 bytes after its head: 2 + 4 and one Pad1 before it
		f[at + 4] = 2;
		f[at + 7] = 0xc9;
		f[at + 8] = 16;
		assert_int_equal(inet_pton(AF_INET6, e->src, f + at + 9), 1);
		at += 32;
		f[at] = proto; // routing header
		f[at + 1] = 2;
		f[at + 2] = 2;
		f[at + 3] = 1;
		assert_int_equal(inet_pton(AF_INET6, e->dst, f + at + 8), 1);
		at += 24;
	}
	return at;
}

static uint32_t frame(uint8_t *f, const struct ends *e, uint8_t proto, enum extra extra)
{
	bool v4 = strchr(e->src, '.') != NULL;
	uint32_t at = 12;

	memset(f, 2, 12);
	for (unsigned i = 0; i < 2 && extra == VLAN; i++) {
		at += put16(f + at, i ? 0x8100 : 0x88a8);
		at += put16(f + at, 7);
	}
	at += put16(f + at, v4 ? 0x0800 : 0x86dd);
	at += v4 ? put_v4(f + at, e, proto, extra) : put_v6(f + at, e, proto, extra);
	at += put16(f + at, e->sport);
	at += put16(f + at, e->dport);
	memset(f + at, 0, 16);
	return at + 16;
}

/* ---- Toeplitz ---- */

static const struct hash_case {
	const char *name;
	const struct ends *ends;
	uint8_t proto;
	enum extra extra;
	uint32_t types;
	uint16_t report;
	uint32_t hash;
} hash_cases[] = {
	{ "TCPv4", &v4a, TCP, BARE, TYPE(TCPv4), REPORT(TCPv4), 0x51ccc178 },
	{ "TCPv4, another", &v4b, TCP, BARE, TYPE(TCPv4), REPORT(TCPv4), 0xc626b0ea },
	{ "IPv4", &v4a, TCP, BARE, TYPE(IPv4), REPORT(IPv4), 0x323e8fc2 },
	{ "IPv4, another", &v4b, TCP, BARE, TYPE(IPv4), REPORT(IPv4), 0xd718262a },
	{ "UDPv4", &v4a, UDP, BARE, TYPE(UDPv4), REPORT(UDPv4), 0x51ccc178 },
	{ "ports before addresses", &v4a, TCP, BARE, VHO_NET_HASH_TYPES, REPORT(TCPv4),
		0x51ccc178 },
	{ "UDP has no TCP header", &v4a, UDP, BARE, TYPE(TCPv4) | TYPE(IPv4), REPORT(IPv4),
		0x323e8fc2 },
	{ "neither has ICMP", &v4a, 1, BARE, VHO_NET_HASH_TYPES, REPORT(IPv4), 0x323e8fc2 },
	{ "no type enabled", &v4a, TCP, BARE, 0, REPORT(NONE), 0 },
	{ "no type that fits", &v4a, UDP, BARE, TYPE(TCPv4) | TYPE(IPv6), REPORT(NONE), 0 },
	{ "VLAN tags", &v4a, TCP, VLAN, TYPE(TCPv4), REPORT(TCPv4), 0x51ccc178 },
	{ "IPv4 options", &v4a, TCP, OPTIONS, TYPE(TCPv4), REPORT(TCPv4), 0x51ccc178 },
	{ "fragment", &v4a, TCP, FRAGMENT, VHO_NET_HASH_TYPES, REPORT(IPv4), 0x323e8fc2 },
	{ "TCPv6", &v6a, TCP, BARE, TYPE(TCPv6), REPORT(TCPv6), 0x40207d3d },
	{ "TCPv6, another", &v6b, TCP, BARE, TYPE(TCPv6), REPORT(TCPv6), 0xdde51bbf },
	{ "UDPv6", &v6a, UDP, BARE, TYPE(UDPv6), REPORT(UDPv6), 0x40207d3d },
	{ "IPv6", &v6a, TCP, BARE, TYPE(IPv6), REPORT(IPv6), 0x2cc18cd5 },
	{ "IPv6, another", &v6b, TCP, BARE, TYPE(IPv6), REPORT(IPv6), 0x0f0c461c },
	{ "IPv6 without extension headers is no _EX", &v6a, TCP, BARE, TYPE(TCP_EX) | TYPE(IP_EX),
		REPORT(NONE), 0 },
	{ "extension headers are skipped without _EX", &v6a, TCP, HOP_BY_HOP, TYPE(TCPv6),
		REPORT(TCPv6), 0x40207d3d },
	{ "_EX comes first", &v6a, TCP, HOP_BY_HOP, VHO_NET_HASH_TYPES, REPORT(TCPv6_EX),
		0x40207d3d },
	{ "TCP_EX over home address and routing header", &v6a, TCP, MOBILE, TYPE(TCP_EX),
		REPORT(TCPv6_EX), 0x40207d3d },
	{ "UDP_EX over home address and routing header", &v6a, UDP, MOBILE, TYPE(UDP_EX),
		REPORT(UDPv6_EX), 0x40207d3d },
	{ "IP_EX over home address and routing header", &v6a, TCP, MOBILE, TYPE(IP_EX),
		REPORT(IPv6_EX), 0x2cc18cd5 },
	{ "IPv6 fragment", &v6a, TCP, FRAGMENT, TYPE(TCPv6) | TYPE(IPv6), REPORT(IPv6),
		0x2cc18cd5 },
};

static void toeplitz(void **state)
{
	const struct hash_case *t = *state;
	struct vho_net_hash h = { .types = t->types };
	uint16_t report = 0xffff;
	uint8_t f[256];
	uint32_t len = frame(f, t->ends, t->proto, t->extra);

	vho_net_hash_set_key(&h, key, sizeof(key));
	assert_int_equal(vho_net_hash_frame(&h, f, len, &report), t->hash);
	assert_int_equal(report, t->report);
}

/* A frame cut anywhere is hashed over what is whole, and no byte behind it is looked at. */
static void cut_frames(void **state)
{
	static const enum extra extras[] = { BARE, VLAN, OPTIONS, HOP_BY_HOP, MOBILE };
	struct vho_net_hash h = { .types = VHO_NET_HASH_TYPES };

	(void)state;
	vho_net_hash_set_key(&h, key, sizeof(key));
	for (unsigned i = 0; i < 2 * ARRAY_LEN(extras); i++) {
		uint8_t f[256];
		uint32_t len = frame(f, i & 1 ? &v6a : &v4a, TCP, extras[i / 2]);

		for (uint32_t n = 0; n < len; n++) {
			uint8_t *exact = test_calloc(1, n + 1);
			uint16_t report;

			memcpy(exact + 1, f, n); // the end is the end of the allocation
			(void)vho_net_hash_frame(&h, exact + 1, n, &report);
			(void)vho_net_flow_hash(exact + 1, n);
			if (n < 34)
				assert_int_equal(report, REPORT(NONE));
			test_free(exact);
		}
	}
}

static void short_key(void **state)
{
	struct vho_net_hash full = { .types = TYPE(IPv4) }, part = { .types = TYPE(IPv4) };
	uint16_t report;
	uint8_t f[256];
	uint32_t len = frame(f, &v4a, TCP, BARE);

	(void)state;
	vho_net_hash_set_key(&full, key, sizeof(key));
	vho_net_hash_set_key(&part, key, 12); // all that eight bytes of addresses meet
	assert_int_equal(vho_net_hash_frame(&part, f, len, &report),
		vho_net_hash_frame(&full, f, len, &report));
}

/* ---- flows ---- */

static struct ends reversed(const struct ends *e)
{
	return (struct ends){ e->dst, e->src, e->dport, e->sport };
}

static void both_ways(void **state)
{
	static const struct ends *const all[] = { &v4a, &v4b, &v6a, &v6b };
	uint32_t seen[2 * ARRAY_LEN(all)];
	unsigned n = 0;
	uint8_t f[256];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		for (unsigned k = 0; k < 2; k++) {
			struct ends back = reversed(all[i]);
			uint32_t one = vho_net_flow_hash(f, frame(f, all[i], k ? TCP : UDP, BARE));

			assert_int_equal(
				vho_net_flow_hash(f, frame(f, &back, k ? TCP : UDP, BARE)), one);
			assert_int_not_equal(one, 0);
			for (unsigned j = 0; j < n; j++)
				assert_int_not_equal(seen[j], one);
			seen[n++] = one;
		}
	}
	memset(f, 0, sizeof(f));
	put16(f + 12, 0x0806);
	assert_int_equal(vho_net_flow_hash(f, 60), 0); // ARP
}

/* Flows that the guest did not transmit are spread over its pairs, each on one. */
static void spread(void **state)
{
	struct vho_net_flows t = { 0 };
	unsigned got[4] = { 0 };

	(void)state;
	assert_int_equal(vho_net_flows_init(&t), 0);
	for (uint16_t port = 1000; port < 2000; port++) {
		struct ends e = { "10.0.0.1", "10.0.0.2", port, 80 };
		uint8_t f[256];
		uint32_t h = vho_net_flow_hash(f, frame(f, &e, UDP, BARE));

		got[vho_net_flows_pair(&t, h, 4)]++;
		assert_int_equal(vho_net_flows_pair(&t, h, 1), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(got[i], 200, 300);
	vho_net_flows_fini(&t);
}

/* 5.1.6.5.5: a flow comes in where it went out last. */
static void learned(void **state)
{
	struct vho_net_flows t = { 0 };
	const uint32_t a = 0x00000005, b = 0xfff00005; // one place, two flows
	uint64_t unit;

	(void)state;
	assert_int_equal(vho_net_flows_init(&t), 0);
	unit = 1ULL << t.shift;
	assert_in_range(unit, rte_get_tsc_hz() / 2, rte_get_tsc_hz());
	vho_net_flows_learn(&t, a, 3, 0);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 3);
	vho_net_flows_learn(&t, a, 2, 0);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 2);
	// A pair that is no longer in use
	assert_in_range(vho_net_flows_pair(&t, a, 2), 0, 1);
	// The place is taken, and stays so as long as its flow is alive
	vho_net_flows_learn(&t, b, 1, unit);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 2);
	assert_int_equal(vho_net_flows_pair(&t, b, 4), 3); // where its hash says
	vho_net_flows_learn(&t, a, 2, unit);
	vho_net_flows_learn(&t, b, 1, 2 * unit);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 2);
	vho_net_flows_learn(&t, b, 1, 3 * unit);
	assert_int_equal(vho_net_flows_pair(&t, b, 4), 1);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 0);
	// The stamp wraps
	vho_net_flows_learn(&t, b, 1, 0xffff * unit);
	vho_net_flows_learn(&t, a, 2, 0x10000 * unit);
	assert_int_equal(vho_net_flows_pair(&t, b, 4), 1);
	vho_net_flows_learn(&t, a, 2, 0x10001 * unit);
	assert_int_equal(vho_net_flows_pair(&t, a, 4), 2);
	vho_net_flows_fini(&t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_frames),
		cmocka_unit_test(short_key),
		cmocka_unit_test(both_ways),
		cmocka_unit_test(spread),
		cmocka_unit_test(learned),
	};
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	RUN_ROWS(hash_cases, toeplitz, failed);
	failed += cmocka_run_group_tests_name("net_hash", tests, NULL, NULL);
	return failed;
}
