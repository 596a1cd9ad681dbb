// SPDX-License-Identifier: Apache-2.0
/* Headers to flow key: golden frames, and the same frames cut at every byte. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extract.h"

#define ETH 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2
#define IP4(len, frag, proto)                                                                     \
	0x45, 0x10, (len) >> 8, (len)&255, 0, 1, (frag) >> 8, (frag)&255, 64, proto, 0, 0, 10, 0, \
		0, 1, 10, 0, 0, 2
#define IP6(len, next)                                                                            \
	0x61, 0x20, 0, 0, 0, len, next, 63, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, \
		0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2
#define UDP 0x04, 0xd2, 0, 53, 0, 8, 0, 0
#define TCP 0, 22, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0

static const struct frame {
	const char *name;
	uint8_t n;
	uint8_t wire[160];
	int ret;
	uint8_t need; // shorter than this is malformed when every word is wanted
	uint16_t tci, type, sport, dport, flags;
	uint8_t proto, tos, ttl, frag;
} frames[] = {
	{ "udp over ipv4", 42, { ETH, 8, 0, IP4(28, 0, 17), UDP }, 0, 42, 0, 0x800, 1234, 53, 0, 17,
		0x10, 64, 0 },
	{ "OV-03 padding is no header", 60, { ETH, 8, 0, IP4(28, 0, 17), UDP, 1, 2, 3 }, 0, 42, 0,
		0x800, 1234, 53, 0, 17, 0x10, 64, 0 },
	{ "OV-03 ports in the padding", 60, { ETH, 8, 0, IP4(24, 0, 17), UDP }, -EBADMSG, 60 },
	{ "one tag", 46, { ETH, 0x81, 0, 0x60, 5, 8, 0, IP4(28, 0, 17), UDP }, 0, 46, 0x7005, 0x800,
		1234, 53, 0, 17, 0x10, 64, 0 },
	{ "two tags", 50, { ETH, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0, IP4(28, 0, 17), UDP }, 0,
		50, 0x1005, 0x800, 1234, 53, 0, 17, 0x10, 64, 0 },
	{ "OV-07 third tag untouched", 54,
		{ ETH, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0, IP4(28, 0, 17), UDP },
		0, 22, 0x1005, 0x8100 },
	{ "tcp flags", 54, { ETH, 8, 0, IP4(40, 0, 6), TCP }, 0, 54, 0, 0x800, 22, 80, 0x12, 6,
		0x10, 64, 0 },
	{ "OV-02 header length 4", 42,
		{ ETH, 8, 0, 0x44, 0x10, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1 }, -EBADMSG,
		42 },
	{ "OV-02 longer than the frame", 42, { ETH, 8, 0, IP4(29, 0, 17), UDP }, -EBADMSG, 42 },
	{ "OV-02 total below header", 42, { ETH, 8, 0, IP4(19, 0, 17), UDP }, -EBADMSG, 42 },
	{ "first fragment", 42, { ETH, 8, 0, IP4(28, 0x2000, 17), UDP }, 0, 42, 0, 0x800, 1234, 53,
		0, 17, 0x10, 64, ODP_FRAG_FIRST },
	{ "later fragment", 42, { ETH, 8, 0, IP4(28, 1, 17), UDP }, 0, 42, 0, 0x800, 0, 0, 0, 17,
		0x10, 64, ODP_FRAG_LATER },
	{ "OV-31 tiny first fragment", 42, { ETH, 8, 0, IP4(28, 0x2000, 6), UDP }, 0, 42, 0, 0x800,
		0, 0, 0, 6, 0x10, 64, ODP_FRAG_LATER },
	{ "ipv6 with options", 70, { ETH, 0x86, 0xdd, IP6(16, 0), 17, 0, 1, 4, 0, 0, 0, 0, UDP }, 0,
		70, 0, 0x86dd, 1234, 53, 0, 17, 0x12, 63, 0 },
	{ "OV-31 atomic fragment", 70,
		{ ETH, 0x86, 0xdd, IP6(16, 44), 17, 0, 0, 0, 0, 0, 0, 0, UDP }, 0, 70, 0, 0x86dd,
		1234, 53, 0, 17, 0x12, 63, 0 },
	{ "ipv6 later fragment", 70, { ETH, 0x86, 0xdd, IP6(16, 44), 17, 0, 0, 8, 0, 0, 0, 0, UDP },
		0, 70, 0, 0x86dd, 0, 0, 0, 44, 0x12, 63, ODP_FRAG_LATER },
	{ "ipv6 first fragment", 70, { ETH, 0x86, 0xdd, IP6(16, 44), 17, 0, 0, 1, 0, 0, 0, 0, UDP },
		0, 70, 0, 0x86dd, 1234, 53, 0, 17, 0x12, 63, ODP_FRAG_FIRST },
	{ "OV-08 first fragment without its chain", 66,
		{ ETH, 0x86, 0xdd, IP6(12, 44), 17, 0, 0, 1, 0, 0, 0, 0, 4, 210, 0, 53 }, -EBADMSG,
		66 },
	{ "OV-08 two fragment headers", 78,
		{ ETH, 0x86, 0xdd, IP6(24, 44), 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0,
			UDP },
		-EBADMSG, 78 },
	{ "OV-08 hop-by-hop not first", 78,
		{ ETH, 0x86, 0xdd, IP6(24, 60), 0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0,
			UDP },
		-EBADMSG, 78 },
	{ "OV-08 option beyond the packet", 70,
		{ ETH, 0x86, 0xdd, IP6(16, 0), 17, 9, 1, 4, 0, 0, 0, 0, UDP }, -EBADMSG, 70 },
	{ "OV-08 nine headers", 134, { ETH, 0x86, 0xdd, IP6(80, 0) }, -EBADMSG, 134 },
	{ "length, no type", 60, { ETH, 0, 46, 0x42, 0x42, 3 }, 0, 14, 0, ODP_ETH_TYPE_NONE },
	{ "sctp", 46, { ETH, 8, 0, IP4(32, 0, 132), UDP, 0, 0, 0, 0 }, 0, 46, 0, 0x800, 1234, 53, 0,
		132, 0x10, 64, 0 },
	{ "OV-05 protocol 0", 42, { ETH, 8, 0, IP4(28, 0, 0), UDP }, 0, 42, 0, 0x800, 0, 0, 0, 0,
		0x10, 64, 0 },
	{ "mpls", 26, { ETH, 0x88, 0x47, 0, 0, 16, 64, 0, 1, 1, 64, 8, 0, 0x45, 0 }, 0, 22, 0,
		0x8847 },
	{ "rarp", 42, { ETH, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 }, 0, 42, 0, 0x8035, 0, 0, 0, 3, 0,
		0, 0 },
	{ "nd", 86,
		{ ETH, 0x86, 0xdd, IP6(32, 58), 135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0,
			0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 1, 2, 0, 0, 0, 0, 9 },
		0, 86, 0, 0x86dd, 135, 0, 0, 58, 0x12, 63, 0 },
	{ "OV-09 nd option of length 0", 86,
		{ ETH, 0x86, 0xdd, IP6(32, 58), 135, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0,
			0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 2, 0, 0, 0, 0, 9 },
		-EBADMSG, 86 },
	{ "OV-09 nd option beyond the packet", 86,
		{ ETH, 0x86, 0xdd, IP6(32, 58), 136, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0,
			0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 2, 0, 0, 0, 0, 9 },
		-EBADMSG, 86 },
	{ "OV-09 nd address twice", 94,
		{ ETH, 0x86, 0xdd, IP6(40, 58), 136, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0,
			0, 0, 0, 0, 0, 0, 0, 0, 3, 2, 1, 2, 0, 0, 0, 0, 9, 2, 1, 2, 0, 0, 0, 0, 8 },
		-EBADMSG, 94 },
	{ "arp", 42, { ETH, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2 }, 0, 42, 0, 0x806, 0, 0, 0, 2, 0, 0, 0 },
};

/* The bytes stand at the end of their own allocation: a read beyond them is seen by ASan. */
static int extract_cut(const struct frame *f, size_t n, uint64_t want, struct odp_key *key)
{
	uint8_t *b = malloc(n ? n : 1);

	assert_non_null(b);
	memcpy(b, f->wire, n);
	int ret = odp_extract(b, n, n, 7, 0, want, key);
	free(b);
	return ret;
}

static void golden(void **state)
{
	const struct frame *f = *state;
	struct odp_key k;

	assert_int_equal(extract_cut(f, f->n, ODP_WANT_ALL, &k), f->ret);
	if (f->ret)
		return;
	assert_int_equal(k.in_port, 7);
	assert_memory_equal(k.eth_dst, f->wire, 12);
	assert_int_equal(dpu_be16_get(k.vlan_tci), f->tci);
	assert_int_equal(dpu_be16_get(k.eth_type), f->type);
	assert_int_equal(k.ip_proto, f->proto);
	assert_int_equal(k.ip_tos, f->tos);
	assert_int_equal(k.ip_ttl, f->ttl);
	assert_int_equal(k.ip_frag, f->frag);
	assert_int_equal(dpu_be16_get(k.tp_src), f->sport);
	assert_int_equal(dpu_be16_get(k.tp_dst), f->dport);
	assert_int_equal(dpu_be16_get(k.tcp_flags), f->flags);
}

/* A word outside `want` is zero, one inside is what it is when all are wanted. */
static void each_word_alone(void **state)
{
	const struct frame *f = *state;
	struct odp_key all = { 0 }, one = { 0 };

	if (extract_cut(f, f->n, ODP_WANT_ALL, &all) < 0)
		return;
	struct odp_kw a = odp_kw(&all);

	for (unsigned i = 0; i < ODP_KEY_META_WORD; i++) {
		assert_int_equal(extract_cut(f, f->n, 1ull << i, &one), 0);
		struct odp_kw o = odp_kw(&one);

		for (unsigned j = 0; j < ODP_KEY_WORDS; j++)
			assert_true(o.w[j] == (i == j ? a.w[j] : 0));
	}
}

static void cut_anywhere(void **state)
{
	const struct frame *f = *state;
	struct odp_key k;

	for (size_t n = 0; n < f->n; n++) {
		int ret = extract_cut(f, n, ODP_WANT_ALL, &k);

		if (n < f->need)
			assert_int_equal(ret, -EBADMSG);
		else
			assert_int_equal(ret, f->ret);
	}
}

/* The short way to a layer 2 key: the same key, and no byte behind the header matters. */
static void leading_bytes(void **state)
{
	const struct frame *f = *state;
	uint8_t wire[sizeof(f->wire)];

	for (uint16_t n = 0; n <= f->n; n++) {
		struct rte_mbuf m = { .buf_addr = wire, .data_len = n, .pkt_len = n };
		struct odp_key slow = { 0 }, other = { 0 };
		struct odp_kw fast;

		memcpy(wire, f->wire, sizeof(wire));
		unsigned len = odp_eth_hdr_len(&m);
		unsigned want = !f->tci ? 14 : odp_is_tpid(wire + 16) ? 22 : 18;

		if (len == 0) {
			// Cut short, or an IEEE 802.3 header.
			assert_true(n < want || wire[want - 2] < 6);
			continue;
		}
		assert_int_equal(len, want);
		assert_int_equal(odp_extract_mbuf(&m, 7, 0, ODP_WANT_L2, &slow), 0);
		for (unsigned i = len; i < sizeof(wire); i++)
			wire[i] ^= 0xff;
		assert_int_equal(odp_extract_mbuf(&m, 7, 0, ODP_WANT_L2, &other), 0);
		assert_memory_equal(&slow, &other, sizeof(slow));
		if (len == 14) {
			odp_extract_untagged(&m, 7, &fast);
			assert_memory_equal(&slow, &fast, 8 * ODP_KEY_L2_WORDS);
		}
	}
}

static const struct frame *frame_of(const char *name)
{
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
		if (!strcmp(frames[i].name, name))
			return &frames[i];
	abort();
}

/* What the table has no columns for. */
static void other_fields(void **state)
{
	static const uint8_t target[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3 };
	static const uint8_t sll[6] = { 2, 0, 0, 0, 0, 9 };
	struct frame f;
	struct odp_key k;

	(void)state;
	extract_cut(frame_of("two tags"), 50, ODP_WANT_ALL, &k);
	assert_int_equal(dpu_be16_get(k.vlan_tpid), 0x88a8);
	assert_int_equal(dpu_be16_get(k.cvlan_tci), 0x1006);
	assert_int_equal(dpu_be16_get(k.cvlan_tpid), 0x8100);
	extract_cut(frame_of("one tag"), 46, ODP_WANT_ALL, &k);
	assert_int_equal(dpu_be16_get(k.vlan_tpid), 0x8100);
	assert_int_equal(dpu_be16_get(k.cvlan_tci), 0);
	extract_cut(frame_of("mpls"), 26, ODP_WANT_ALL, &k);
	assert_int_equal(dpu_be32_get(k.mpls_lse[0]), 0x1040);
	assert_int_equal(dpu_be32_get(k.mpls_lse[1]), 0x10140);
	assert_int_equal(dpu_be32_get(k.mpls_lse[2]), 0);
	extract_cut(frame_of("nd"), 86, ODP_WANT_ALL, &k);
	assert_memory_equal(k.nd.target, target, 16);
	assert_memory_equal(k.nd.sll, sll, 6);
	assert_int_equal(k.nd.tll[5], 0);
	// A word that nobody wants is not looked at: its options may be what they like.
	assert_int_equal(extract_cut(frame_of("OV-09 nd option of length 0"), 86,
				 ODP_WANT_ALL & ~ODP_WANT_ND, &k),
		0);
	f = *frame_of("ipv6 with options");
	f.wire[15] |= 0xa; // traffic class 0x12, flow label 0xa....
	f.wire[16] = 0xbc;
	f.wire[17] = 0xde;
	extract_cut(&f, f.n, ODP_WANT_ALL, &k);
	assert_int_equal(dpu_be32_get(k.ipv6_label), 0xabcde);
	assert_int_equal(k.ip_tos, 0x12);
}

/* A packet without an Ethernet header: what its type says, and nothing of layer 2. */
static void without_eth(void **state)
{
	static const uint8_t zero[12];
	const struct frame *f = frame_of("udp over ipv4");
	struct odp_key k, l3 = { 0 };

	(void)state;
	extract_cut(f, f->n, ODP_WANT_ALL, &k);
	assert_int_equal(
		odp_extract(f->wire + 14, 28, 28, 7, ODP_PACKET_TYPE(0x800), ODP_WANT_ALL, &l3), 0);
	assert_int_equal(dpu_be32_get(l3.packet_type), 0x10800);
	assert_int_equal(dpu_be16_get(l3.eth_type), 0x800);
	assert_memory_equal(l3.eth_dst, zero, 12);
	assert_memory_equal(&l3.ip_proto, &k.ip_proto, 6 * 8);
	assert_int_equal(
		odp_extract(f->wire + 14, 27, 27, 7, ODP_PACKET_TYPE(0x800), ODP_WANT_ALL, &l3),
		-EBADMSG);
}

static uint64_t rnd(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* Masks of the fields that flows match on, or of bits at random. */
static void random_any(struct odp_kw *any, uint64_t *want)
{
	*want = 0;
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++) {
		static const uint64_t kinds[4] = { 0, ~0ull, 0xffff, 0xff00ff00ff00ff00 };
		uint64_t r = rnd(), some = rnd();

		some &= rnd();
		any->w[i] = i < ODP_KEY_META_WORD ? (r & 8 ? kinds[r & 3] : some) : 0;
		*want |= (uint64_t)(any->w[i] != 0) << i;
	}
}

/*
 * The short way to a layer 4 key and the long one: the same key where the short one goes, over
 * frames of which some bytes are not what they were, cut anywhere, in their own allocation.
 */
static void fast_is_general(void **state)
{
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		const struct frame
			*f = &frames[i % 3 ? i % 8 : rnd() % (sizeof(frames) / sizeof(frames[0]))];
		uint8_t pad[200] = { 0 };
		size_t n = rnd() % 4 ? sizeof(f->wire) : rnd() % (sizeof(f->wire) + 1);
		struct odp_kw any, fast = { 0 }, slow = { 0 };
		struct odp_key key = { 0 };
		uint64_t want;

		memcpy(pad, f->wire, sizeof(f->wire));
		for (unsigned j = rnd() % 4; j > 0; j--)
			pad[rnd() % 60] = (uint8_t)(rnd() % 3 ? rnd() : 0);
		uint8_t *b = malloc(n ? n : 1);

		assert_non_null(b);
		memcpy(b, pad, n);
		struct rte_mbuf m = {
			.buf_addr = b, .data_len = (uint16_t)n, .pkt_len = (uint32_t)n
		};

		random_any(&any, &want);
		// What the last packet left behind in wanted words.
		for (unsigned j = 0; j < ODP_KEY_META_WORD; j++)
			fast.w[j] = any.w[j] & rnd();
		int ret = odp_extract_mbuf(&m, 7, 0, want, &key);

		if (odp_extract_fast(&m, 7, want, &any, &fast)) {
			assert_int_equal(ret, 0);
			slow = odp_kw(&key);
			for (unsigned j = 0; j < ODP_KEY_META_WORD; j++)
				slow.w[j] &= any.w[j];
			assert_memory_equal(&fast, &slow, sizeof(fast));
			taken++;
		}
		free(b);
	}
	assert_in_range(taken, 20000, 200000); // or nothing was compared
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(other_fields),
		cmocka_unit_test(without_eth), cmocka_unit_test(fast_is_general) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(frames, golden, failed);
	RUN_ROWS(frames, each_word_alone, failed);
	RUN_ROWS(frames, cut_anywhere, failed);
	RUN_ROWS(frames, leading_bytes, failed);
	return failed;
}
