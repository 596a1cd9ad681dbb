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
	uint8_t need; // shorter than this is malformed at depth L4
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
	{ "OV-07 inner tag untouched", 50,
		{ ETH, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0, IP4(28, 0, 17), UDP }, 0, 18, 0x1005,
		0x8100 },
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
		0, 70, 0, 0x86dd, 0, 0, 0, 17, 0x12, 63, ODP_FRAG_LATER },
	{ "OV-08 option beyond the packet", 70,
		{ ETH, 0x86, 0xdd, IP6(16, 0), 17, 9, 1, 4, 0, 0, 0, 0, UDP }, -EBADMSG, 70 },
	{ "OV-08 nine headers", 134, { ETH, 0x86, 0xdd, IP6(80, 0) }, -EBADMSG, 134 },
	{ "length, no type", 60, { ETH, 0, 46, 0x42, 0x42, 3 }, 0, 14, 0, ODP_ETH_TYPE_NONE },
	{ "arp", 42, { ETH, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2 }, 0, 42, 0, 0x806, 0, 0, 0, 2, 0, 0, 0 },
};

/* The bytes stand at the end of their own allocation: a read beyond them is seen by ASan. */
static int extract_cut(const struct frame *f, size_t n, enum odp_depth d, struct odp_key *key)
{
	uint8_t *b = malloc(n ? n : 1);

	assert_non_null(b);
	memcpy(b, f->wire, n);
	int ret = odp_extract(b, n, n, 7, d, key);
	free(b);
	return ret;
}

static void golden(void **state)
{
	const struct frame *f = *state;
	struct odp_key k;

	assert_int_equal(extract_cut(f, f->n, ODP_DEPTH_L4, &k), f->ret);
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
	struct odp_key l2;

	assert_int_equal(extract_cut(f, f->n, ODP_DEPTH_L2, &l2), 0);
	assert_memory_equal(&l2, &k, offsetof(struct odp_key, ip_proto));
	assert_int_equal(l2.ip_proto | l2.ip_frag | l2.tp_dst.b[1], 0);
}

static void cut_anywhere(void **state)
{
	const struct frame *f = *state;
	struct odp_key k;

	for (size_t n = 0; n < f->n; n++) {
		int ret = extract_cut(f, n, ODP_DEPTH_L4, &k);

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
		struct odp_key slow, other;
		struct odp_kw fast;

		memcpy(wire, f->wire, sizeof(wire));
		unsigned len = odp_eth_hdr_len(&m);

		assert_true(len == 0 || len == 14 || len == 18);
		if (len == 0) {
			// Cut short, or an IEEE 802.3 header.
			assert_true(n < (f->tci ? 18 : 14) || f->type == ODP_ETH_TYPE_NONE ||
				    wire[f->tci ? 16 : 12] < 6);
			continue;
		}
		assert_int_equal(len, f->tci ? 18 : 14);
		assert_int_equal(odp_extract_mbuf(&m, 7, ODP_DEPTH_L2, &slow), 0);
		for (unsigned i = len; i < sizeof(wire); i++)
			wire[i] ^= 0xff;
		assert_int_equal(odp_extract_mbuf(&m, 7, ODP_DEPTH_L2, &other), 0);
		assert_memory_equal(&slow, &other, sizeof(slow));
		if (len == 14) {
			odp_extract_untagged(&m, 7, &fast);
			assert_memory_equal(&slow, &fast, 8 * ODP_KEY_L2_WORDS);
		}
	}
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(frames, golden, failed);
	RUN_ROWS(frames, cut_anywhere, failed);
	RUN_ROWS(frames, leading_bytes, failed);
	return failed;
}
