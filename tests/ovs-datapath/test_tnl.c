// SPDX-License-Identifier: Apache-2.0
/* Outer headers on and off again, and packets whose outer headers are not to be believed. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "fake_port.h"
#include "inet.h"
#include "tnl.h"

#define VNI 0x123456u

static struct rte_mempool *pool;

static const struct format {
	const char *name;
	enum odp_tnl_type type;
	uint8_t family;
	uint16_t port, flags, vlan, inner;
	uint8_t opts_len;
	uint16_t len; // outer bytes
} formats[] = {
	{ "vxlan over ipv4", ODP_TNL_VXLAN, 4, 4789, ODP_TNL_F_KEY, 0, 0x6558, 0, 50 },
	{ "vxlan with checksum and tag", ODP_TNL_VXLAN, 4, 4789, ODP_TNL_F_KEY | ODP_TNL_F_CSUM,
		0x1064, 0x6558, 0, 54 },
	{ "vxlan over ipv6", ODP_TNL_VXLAN, 6, 4789, ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0, 0x6558, 0,
		70 },
	{ "vxlan over ipv6, no checksum", ODP_TNL_VXLAN, 6, 4789, ODP_TNL_F_KEY, 0, 0x6558, 0, 70 },
	{ "gbp", ODP_TNL_VXLAN_GBP, 4, 4789, ODP_TNL_F_KEY | ODP_TNL_F_DF, 0, 0x6558, 0, 50 },
	{ "gpe, ipv4 inside", ODP_TNL_VXLAN_GPE, 4, 4790, ODP_TNL_F_KEY, 0, 0x0800, 0, 50 },
	{ "geneve", ODP_TNL_GENEVE, 4, 6081, ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0, 0x6558, 0, 50 },
	{ "geneve with options", ODP_TNL_GENEVE, 6, 6081, ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0, 0x6558,
		12, 82 },
	{ "geneve with all options", ODP_TNL_GENEVE, 6, 6081,
		ODP_TNL_F_KEY | ODP_TNL_F_CSUM | ODP_TNL_F_OAM, 0x1001, 0x6558, 252, 326 },
	{ "gre", ODP_TNL_GRE, 4, 0, 0, 0, 0x6558, 0, 38 },
	{ "gre with key and checksum", ODP_TNL_GRE, 4, 0,
		ODP_TNL_F_KEY | ODP_TNL_F_CSUM | ODP_TNL_F_DF, 0, 0x6558, 0, 46 },
	{ "gre over ipv6, ipv4 inside", ODP_TNL_GRE, 6, 0, ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0,
		0x0800, 0, 66 },
};

static const struct odp_tnl_link link4 = { { 2, 0, 0, 0, 0, 2 }, { 2, 0, 0, 0, 0, 1 }, 0, 0 };

static struct odp_tnl_key key_of(const struct format *t)
{
	struct odp_tnl_key k = { .id = t->flags & ODP_TNL_F_KEY ? VNI : 0,
		.family = t->family,
		.tos = 0x28,
		.ttl = 63,
		.flags = t->flags,
		.tp_dst = t->port,
		.opts_len = t->opts_len };

	memset(k.src, 0x11, t->family == 4 ? 4 : 16);
	memset(k.dst, 0x22, t->family == 4 ? 4 : 16);
	if (t->type == ODP_TNL_VXLAN_GBP) {
		k.gbp_id = 0xabcd;
		k.gbp_flags = ODP_GBP_APPLIED;
	}
	// Options of at most 31 words each, none critical.
	for (unsigned off = 0; off < t->opts_len;) {
		unsigned left = (t->opts_len - off - 4u) / 4, n = left > 31 ? 31 : left;

		k.opts[off + 2] = 7;
		k.opts[off + 3] = (uint8_t)n;
		off += 4 + 4 * n;
	}
	return k;
}

static struct odp_tnl_vport vport_of(const struct format *t)
{
	return (struct odp_tnl_vport){ .type = t->type,
		.udp_port = t->port,
		.port_no = 9,
		.zero_csum6 = true,
		.take_oam = true };
}

static struct odp_tnl_tmpl tmpl_of(const struct format *t, unsigned inherit)
{
	struct odp_tnl_link link = link4;
	struct odp_tnl_key k = key_of(t);
	struct odp_tnl_tmpl out;

	link.vlan = t->vlan;
	assert_int_equal(odp_tnl_compose(t->type, &k, t->inner, &link, inherit, &out), 0);
	assert_int_equal(out.len, t->len);
	return out;
}

/* An Ethernet frame with UDP over IPv4 or IPv6; without Ethernet when l2 is 0. */
static uint32_t frame_of(uint8_t *f, bool v6, uint32_t l2, uint32_t payload, uint8_t tos)
{
	uint32_t l3 = v6 ? 40 : 20, n = l2 + l3 + 8 + payload;
	uint8_t *ip = f + l2, *udp = ip + l3;

	for (uint32_t i = 0; i < n; i++)
		f[i] = (uint8_t)(i * 13 + (i >> 8));
	if (l2)
		odp_put16(f + 12, v6 ? 0x86dd : 0x800);
	if (v6) {
		odp_put16(ip, 0x6000 | (uint32_t)tos << 4);
		odp_put16(ip + 4, n - l2 - 40);
		ip[6] = IPPROTO_UDP;
		ip[7] = 77;
	} else {
		ip[0] = 0x45;
		ip[1] = tos;
		odp_put16(ip + 2, n - l2);
		odp_put16(ip + 6, 0x4000);
		ip[8] = 77;
		ip[9] = IPPROTO_UDP;
		odp_put16(ip + 10, 0);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	}
	odp_put16(udp + 4, 8 + payload);
	odp_put16(udp + 6, 0);
	uint16_t sum = v6 ? rte_ipv6_udptcp_cksum((void *)ip, udp)
			  : rte_ipv4_udptcp_cksum((void *)ip, udp);

	memcpy(udp + 6, &sum, 2);
	return n;
}

static struct rte_mbuf *mbuf_of(const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m)
		abort();
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), f, n);
	return m;
}

static void read_all(const struct rte_mbuf *m, uint8_t *out)
{
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, out);

	assert_int_equal(rte_mbuf_check(m, 1, &(const char *){ NULL }), 0);
	if (p != out)
		memcpy(out, p, m->pkt_len);
}

static struct rte_mbuf *pushed(const struct format *t, const uint8_t *f, uint32_t n)
{
	struct odp_tnl_tmpl tmpl = tmpl_of(t, 0);
	struct odp_tnl_tx tx = { .pool = pool, .ip_id = 0xffff };
	struct rte_mbuf *m = mbuf_of(f, n);

	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 0x12345678), 0);
	if (m->ol_flags & ODP_F_L4_CSUM)
		assert_int_equal(odp_csum_complete(m), 0);
	return m;
}

static void round_trip(void **state)
{
	const struct format *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_vport v = vport_of(t);
	struct odp_tnl_key want = key_of(t), key;
	struct odp_tnl_demux *d;
	uint8_t f[600], out[1200];
	uint16_t inner;
	uint32_t l2 = t->inner == ODP_INNER_ETH ? 14 : 0;

	assert_int_equal(odp_tnl_demux_create(&v, 1, &d), 0);
	for (uint32_t payload = 33; payload < 500; payload += 111) {
		uint32_t n = frame_of(f, payload & 2 && l2, l2, payload, 0);
		struct rte_mbuf *m = pushed(t, f, n);

		assert_int_equal(m->pkt_len, n + t->len);
		// Padding to the minimum of a wire, and more.
		memset(rte_pktmbuf_append(m, 9), 0xee, 9);
		assert_ptr_not_equal(odp_tnl_classify(d, m), NULL);
		assert_int_equal(odp_tnl_classify(d, m)->port_no, 9);
		assert_int_equal(odp_tnl_pop(&m, odp_tnl_classify(d, m), pool, &key, &inner), 0);
		assert_int_equal(inner, t->inner);
		assert_int_equal(m->pkt_len, n);
		read_all(m, out);
		assert_memory_equal(out, f, n);
		if (t->port)
			assert_in_range(key.tp_src, 49152, 65535);
		want.tp_src = key.tp_src;
		if (t->type == ODP_TNL_VXLAN_GPE) {
			want.gpe_flags = 0x0c;
			want.gpe_next = 1;
		}
		assert_memory_equal(&key, &want, sizeof(key));
		rte_pktmbuf_free(m);
	}
	odp_tnl_demux_destroy(d);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static const struct hostile {
	const char *name;
	unsigned format;
	int off; // of bytes in the outer headers; -1: none
	uint8_t len; // of `bytes`
	uint8_t bytes[4];
	int cut; // bytes that the frame is cut to; 0: whole
	bool fix; // IPv4 header checksum made right again
	int ret;
} hostiles[] = {
	{ "untouched", 0, -1, 0, { 0 }, 0, false, 0 },
	{ "ARP", 0, 12, 2, { 0x08, 0x06 }, 0, false, -ENOENT },
	{ "IHL 4", 0, 14, 1, { 0x44 }, 0, true, -EBADMSG },
	{ "IHL 15 into the tunnel", 0, 14, 1, { 0x4f }, 0, false, -ENOENT },
	{ "version 6 in IPv4", 0, 14, 1, { 0x65 }, 0, true, -EBADMSG },
	{ "IPv4 longer than the frame", 0, 16, 2, { 0x7f, 0xff }, 0, true, -EBADMSG },
	{ "IPv4 shorter than its header", 0, 16, 2, { 0, 19 }, 0, true, -EBADMSG },
	{ "IPv4 checksum", 0, 24, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "first fragment", 0, 20, 2, { 0x20, 0 }, 0, true, -EAGAIN },
	{ "later fragment", 0, 20, 2, { 0x00, 3 }, 0, true, -EAGAIN },
	{ "TCP", 0, 23, 1, { 6 }, 0, true, -ENOENT },
	{ "another port", 0, 36, 2, { 0x12, 0xb6 }, 0, false, -ENOENT },
	{ "port 0", 0, 36, 2, { 0, 0 }, 0, false, -ENOENT },
	{ "UDP longer than IP", 0, 38, 2, { 1, 0xff }, 0, false, -EBADMSG },
	{ "UDP of 7 bytes", 0, 38, 2, { 0, 7 }, 0, false, -EBADMSG },
	{ "UDP without VXLAN", 0, 38, 2, { 0, 8 }, 0, false, -EBADMSG },
	{ "UDP with half a VXLAN", 0, 38, 2, { 0, 12 }, 0, false, -EBADMSG },
	{ "runt inside", 0, 38, 2, { 0, 16 + 13 }, 0, false, -EBADMSG },
	{ "a bare Ethernet header inside", 0, 38, 2, { 0, 16 + 14 }, 0, false, 0 },
	{ "I flag clear", 0, 42, 1, { 0 }, 0, false, -EPROTO },
	{ "reserved bits", 0, 42, 4, { 0xff, 0xff, 0xff, 0xff }, 0, false, 0 },
	{ "cut in Ethernet", 0, -1, 0, { 0 }, 13, false, -EBADMSG },
	{ "cut in IPv4", 0, -1, 0, { 0 }, 33, false, -EBADMSG },
	{ "cut in UDP", 0, -1, 0, { 0 }, 41, false, -EBADMSG },
	{ "UDP checksum", 1, 44, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "a byte under the UDP checksum", 1, 52, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "no UDP checksum over IPv4", 1, 44, 2, { 0, 0 }, 0, false, 0 },
	{ "version 4 in IPv6", 2, 14, 1, { 0x45 }, 0, false, -EBADMSG },
	{ "IPv6 longer than the frame", 2, 18, 2, { 0x7f, 0xff }, 0, false, -EBADMSG },
	{ "IPv6 fragment header", 2, 20, 1, { 44 }, 0, false, -EAGAIN },
	{ "hop-by-hop", 2, 20, 1, { 0 }, 0, false, -ENOENT },
	{ "UDP checksum over IPv6", 2, 60, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "an address under it", 2, 30, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "gpe: NSH inside", 5, 45, 1, { 4 }, 0, false, -EOPNOTSUPP },
	{ "gpe: IPv4 that is none", 5, 45, 1, { 2 }, 0, false, -EBADMSG },
	{ "geneve version 1", 6, 42, 1, { 0x40 }, 0, false, -EILSEQ },
	{ "gre: routing", 9, 34, 1, { 0x40 }, 0, false, -EPROTO },
	{ "gre: version 1", 9, 35, 1, { 1 }, 0, false, -EPROTO },
	{ "gre: ARP inside", 9, 36, 2, { 0x08, 0x06 }, 0, false, -EOPNOTSUPP },
	{ "gre: IPv4 that is none", 9, 36, 2, { 0x08, 0x00 }, 0, false, -EBADMSG },
	{ "gre checksum", 10, 38, 1, { 0x5a }, 0, false, -EILSEQ },
	{ "gre: key under the checksum", 10, 42, 1, { 0x5a }, 0, false, -EILSEQ },
};

static void hostile(void **state)
{
	const struct hostile *t = *state;
	const struct format *fmt = &formats[t->format];
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_vport v = vport_of(fmt);
	struct odp_tnl_key key;
	uint8_t f[300];
	uint16_t inner;
	struct rte_mbuf *m = pushed(
		fmt, f, frame_of(f, false, fmt->inner == 0x6558 ? 14 : 0, 200, 0));
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	if (t->off >= 0)
		memcpy(p + t->off, t->bytes, t->len);
	if (t->fix) {
		odp_put16(p + 24, 0);
		odp_put16(p + 24, (uint16_t)~odp_fold(odp_sum(p + 14, (p[14] & 15u) * 4, 0)));
	}
	if (t->cut)
		rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - (uint32_t)t->cut));

	uint32_t len = m->pkt_len;

	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), t->ret);
	assert_non_null(m);
	if (t->ret < 0)
		assert_int_equal(m->pkt_len, len); // as it was
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* Every cut of every format is refused and reads nothing behind the bytes. */
static void cut(void **state)
{
	const struct format *t = *state;
	struct odp_tnl_vport v = vport_of(t);
	struct odp_tnl_key key;
	uint8_t f[300];
	uint16_t inner;
	uint32_t n = frame_of(f, false, t->inner == 0x6558 ? 14 : 0, 40, 0);

	for (uint32_t len = 0; len < t->len + n; len++) {
		struct rte_mbuf *m = pushed(t, f, n);

		rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - len));
		assert_int_not_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
		rte_pktmbuf_free(m);
	}
}

static void policy(void **state)
{
	static const struct odp_geneve_opt opt = { 0x0102, 0x83 };
	struct format t = formats[7];
	struct odp_tnl_key k, key;
	struct odp_tnl_vport v = vport_of(&t);
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_tnl_tmpl tmpl;
	uint8_t f[300];
	uint16_t inner;
	uint32_t n = frame_of(f, false, 14, 40, 0);

	(void)state;
	// No checksum over IPv6 is one way; RFC 6935 wants it asked for.
	t.flags = ODP_TNL_F_KEY;
	struct rte_mbuf *m = pushed(&t, f, n);
	v.zero_csum6 = false;
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), -EILSEQ);
	v.zero_csum6 = true;
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	rte_pktmbuf_free(m);

	// A control packet.
	t.flags = ODP_TNL_F_KEY | ODP_TNL_F_OAM;
	m = pushed(&t, f, n);
	v.take_oam = false;
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), -EPROTO);
	v.take_oam = true;
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	assert_true(key.flags & ODP_TNL_F_OAM);
	rte_pktmbuf_free(m);

	// A critical option.
	k = key_of(&t);
	k.opts_len = 4;
	memcpy(k.opts, (uint8_t[]){ 1, 2, 0x83, 0 }, 4);
	assert_int_equal(odp_tnl_compose(t.type, &k, t.inner, &link4, 0, &tmpl), 0);
	m = mbuf_of(f, n);
	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), 0);
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), -EOPNOTSUPP);
	v.known[0] = opt;
	v.n_known = 1;
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	rte_pktmbuf_free(m);
}

/* RFC 6040, figure 4: rows inner none, ECT1, ECT0, CE; columns the same outside. */
static void ecn(void **state)
{
	static const int want[4][4] = { { 0, 0, 0, -1 }, { 1, 1, 1, 3 }, { 2, 1, 2, 3 },
		{ 3, 3, 3, 3 } };
	const struct format *t = *state;
	struct odp_tnl_vport v = vport_of(t);
	struct odp_tnl_key key;
	uint8_t f[300], out[300], before[300];
	uint16_t inner;

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned o = 0; o < 4; o++) {
			for (unsigned v6 = 0; v6 < 2; v6++) {
				uint32_t n = frame_of(f, v6, 14, 50, (uint8_t)(0xb8 | i));
				struct odp_tnl_tmpl tmpl = tmpl_of(t, 0);
				struct odp_tnl_tx tx = { .pool = pool };
				struct rte_mbuf *m = mbuf_of(f, n), *held;

				assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), 0);
				uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
				// The field is inherited, DSCP is not.
				assert_int_equal(p[15], 0x28 | i);
				uint16_t was = odp_get16(p + 14);

				p[15] = (uint8_t)(0x28 | o);
				odp_csum_adjust(p + 24, was, odp_get16(p + 14));
				held = rte_pktmbuf_clone(m, pool);
				read_all(held, before);
				int ret = odp_tnl_pop(&m, &v, pool, &key, &inner);

				read_all(held, out);
				assert_memory_equal(out, before, held->pkt_len);
				rte_pktmbuf_free(held);
				assert_int_equal(ret, want[i][o] < 0 ? -ECOMM : 0);
				if (ret == 0) {
					(void)frame_of(f, v6, 14, 50,
						(uint8_t)(0xb8 | (uint32_t)want[i][o]));
					read_all(m, out);
					assert_memory_equal(out, f, n);
				}
				rte_pktmbuf_free(m);
			}
		}
	}
}

/* What others hold is neither written by a pop that sets CE nor by a push. */
static void shared_bytes(void **state)
{
	const struct format *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_tmpl tmpl = tmpl_of(t, 0);
	struct odp_tnl_tx tx = { .pool = pool };
	uint8_t f[1500], out[2000], again[2000];
	uint32_t n = frame_of(f, false, t->inner == 0x6558 ? 14 : 0, 1200, 1);
	struct rte_mbuf *m = mbuf_of(f, n), *held = rte_pktmbuf_clone(m, pool);
	const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
	struct odp_tnl_vport v = vport_of(t);
	struct odp_tnl_key key;
	uint16_t inner;

	assert_non_null(held);
	memset(rte_pktmbuf_mtod(m, uint8_t *) - 128, 0x77, 128);
	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), 0);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(bytes[(int)i - 128], 0x77);
	read_all(held, out);
	assert_int_equal(held->pkt_len, n);
	assert_memory_equal(out, f, n);
	read_all(m, out);
	assert_int_equal(m->pkt_len, n + t->len);
	assert_memory_equal(out + t->len, f, n);
	// The payload is the same bytes in memory.
	assert_int_equal(m->nb_segs, 2);
	assert_ptr_equal(rte_pktmbuf_mtod(m->next, uint8_t *), bytes + 256);
	rte_pktmbuf_free(held);

	if (m->ol_flags & ODP_F_L4_CSUM)
		assert_int_equal(odp_csum_complete(m), 0);
	held = rte_pktmbuf_clone(m, pool);
	read_all(held, out);
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	read_all(held, again);
	assert_memory_equal(out, again, n + t->len);
	read_all(m, out);
	assert_memory_equal(out, f, n);
	rte_pktmbuf_free(held);
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static void free_nothing(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
}

/* 256 bytes of its own, the rest lent. */
static struct rte_mbuf *lent_of(
	const uint8_t *f, uint32_t n, uint8_t *mem, struct rte_mbuf_ext_shared_info *info)
{
	struct rte_mbuf *m = mbuf_of(f, 256), *tail = rte_pktmbuf_alloc(pool);

	if (!tail)
		abort();
	memcpy(mem, f + 256, n - 256);
	info->free_cb = free_nothing;
	rte_mbuf_ext_refcnt_set(info, 2);
	rte_pktmbuf_attach_extbuf(tail, mem, RTE_BAD_IOVA, (uint16_t)(n - 256), info);
	tail->data_len = (uint16_t)(n - 256);
	tail->pkt_len = n - 256;
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	m->ol_flags |= ODP_F_LENT;
	return m;
}

static void lent(void **state)
{
	const struct format *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_tmpl tmpl = tmpl_of(t, 0);
	struct odp_tnl_tx tx = { .pool = pool };
	struct rte_mbuf_ext_shared_info info;
	struct odp_tnl_vport v = vport_of(t);
	struct odp_tnl_key key;
	uint8_t f[2000], mem[2000], out[2400];
	uint16_t inner;
	uint32_t n = frame_of(f, false, t->inner == 0x6558 ? 14 : 0, 1500, 0);
	struct rte_mbuf *m = lent_of(f, n, mem, &info);

	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), 0);
	assert_true(m->ol_flags & ODP_F_LENT);
	assert_true(m->data_len >= 256);
	assert_false(m->ol_flags & RTE_MBUF_F_EXTERNAL);
	read_all(m, out);
	assert_memory_equal(out + t->len, f, n);
	assert_ptr_equal(rte_pktmbuf_mtod(rte_pktmbuf_lastseg(m), uint8_t *), mem);
	if (m->ol_flags & ODP_F_L4_CSUM)
		assert_int_equal(odp_csum_complete(m), 0);

	// What comes out of a pop is its own: it may be parsed beyond the 256 bytes less the outer.
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	assert_false(m->ol_flags & ODP_F_LENT);
	memset(mem, 0, sizeof(mem));
	read_all(m, out);
	assert_memory_equal(out, f, n);
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static void inherits(void **state)
{
	struct odp_tnl_tmpl tmpl = tmpl_of(&formats[0], ODP_TNL_INHERIT_TOS | ODP_TNL_INHERIT_TTL);
	struct odp_tnl_tmpl tmpl6 = tmpl_of(&formats[2], ODP_TNL_INHERIT_TOS | ODP_TNL_INHERIT_TTL);
	struct odp_tnl_tx tx = { .pool = pool, .ip_id = 0xffff };
	uint8_t f[300];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t n = frame_of(f, i & 1, 14, 60, 0xb9);
		struct rte_mbuf *m = mbuf_of(f, n);

		assert_int_equal(odp_tnl_push(&m, i & 2 ? &tmpl6 : &tmpl, &tx, 1), 0);
		const uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *) + 14;

		if (i & 2) {
			assert_int_equal(odp_get16(ip), 0x6b90);
			assert_int_equal(ip[7], 77);
		} else {
			assert_int_equal(ip[1], 0xb9);
			assert_int_equal(ip[8], 77);
			assert_int_equal(odp_get16(ip + 4), (0xffff + i) & 0xffff);
			assert_int_equal(rte_raw_cksum(ip, 20), 0xffff);
		}
		rte_pktmbuf_free(m);
	}
	// ARP has neither.
	memset(f, 1, 42);
	odp_put16(f + 12, 0x0806);
	struct rte_mbuf *m = mbuf_of(f, 42);

	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), 0);
	assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 15), 0x28);
	assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 22), 63);
	rte_pktmbuf_free(m);
}

static void too_long(void **state)
{
	struct odp_tnl_link link = link4;
	struct odp_tnl_key k = key_of(&formats[0]);
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_tnl_tmpl tmpl;
	struct odp_tnl_out o;
	uint8_t f[1600];

	(void)state;
	link.mtu = 1500;
	assert_int_equal(odp_tnl_compose(ODP_TNL_VXLAN, &k, 0x6558, &link, 0, &tmpl), 0);
	assert_int_equal(odp_tnl_inner_mtu(&tmpl), 1450);
	for (uint32_t l3 = 1450; l3 <= 1451; l3++) {
		uint32_t n = frame_of(f, false, 14, l3 - 28, 0);
		struct rte_mbuf *m = mbuf_of(f, n);

		assert_int_equal(odp_tnl_out_init(&o, m, &tmpl, &tx, 1), l3 > 1450 ? -EMSGSIZE : 0);
		assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 1), l3 > 1450 ? -EMSGSIZE : 0);
		rte_pktmbuf_free(m);
	}
}

static const struct refused {
	const char *name;
	enum odp_tnl_type type;
	uint8_t family;
	uint16_t tp_dst, inner;
	uint64_t id;
} refuseds[] = {
	{ "no family", ODP_TNL_VXLAN, 0, 4789, 0x6558, 7 },
	{ "no port", ODP_TNL_VXLAN, 4, 0, 0x6558, 7 },
	{ "a port for gre", ODP_TNL_GRE, 4, 4789, 0x6558, 7 },
	{ "no such type", ODP_TNL_TYPES, 4, 4789, 0x6558, 7 },
	{ "MPLS", ODP_TNL_GENEVE, 4, 6081, 0x8847, 7 },
	{ "VNI of 25 bits", ODP_TNL_GENEVE, 4, 6081, 0x6558, 0x1000000 },
};

static void refused(void **state)
{
	const struct refused *t = *state;
	struct odp_tnl_key k = { .family = t->family, .tp_dst = t->tp_dst, .id = t->id };
	struct odp_tnl_tmpl tmpl;

	assert_int_equal(odp_tnl_compose(t->type, &k, t->inner, &link4, 0, &tmpl), -EINVAL);
}

/* Its last byte in a segment of its own: that way no packet is a plain one. */
static struct rte_mbuf *in_two(const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *m = mbuf_of(f, n - 1);

	assert_int_equal(rte_pktmbuf_chain(m, mbuf_of(f + n - 1, 1)), 0);
	return m;
}

/* What nearly all packets are has a check of its own, which must say what the other one says. */
static void plain(void **state)
{
	static const uint64_t flags[] = { 0, 0, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		RTE_MBUF_F_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_TX_UDP_CKSUM };
	const struct format *t = *state;
	const struct odp_tnl_vport v = vport_of(t);
	unsigned taken = 0;
	uint64_t r = 0x9e3779b97f4a7c15;

	for (unsigned i = 0; i < 20000; i++) {
		uint8_t f[1024], is[1024], was[1024];
		struct rte_mbuf *m[2];
		struct odp_tnl_key key[2];
		uint16_t inner[2];
		int ret[2];
		uint32_t n = frame_of(was, false, t->inner == 0x6558 ? 14 : 0, 100, (uint8_t)i & 3);
		struct rte_mbuf *whole = pushed(t, was, n);

		n = whole->pkt_len;
		read_all(whole, f);
		rte_pktmbuf_free(whole);
		for (unsigned k = i % 4; k > 0; k--) {
			r = r * 6364136223846793005 + 1442695040888963407;
			f[12 + (r >> 33) % (t->len + 4)] ^= (uint8_t)(1u << (r >> 60 & 7));
		}
		if (i & 4) { // or hardly any would be right
			odp_put16(f + 24, 0);
			odp_put16(f + 24, (uint16_t)~odp_fold(odp_sum(f + 14, 20, 0)));
		}
		m[0] = mbuf_of(f, n);
		m[1] = in_two(f, n);
		for (unsigned k = 0; k < 2; k++) {
			m[k]->ol_flags = flags[i / 8 % ARRAY_LEN(flags)];
			m[k]->l2_len = 14;
			m[k]->l3_len = 20;
			m[k]->packet_type = i % 64 ? 0
						   : RTE_PTYPE_TUNNEL_VXLAN |
							     RTE_PTYPE_INNER_L4_UDP;
			ret[k] = odp_tnl_pop(&m[k], &v, pool, &key[k], &inner[k]);
		}
		assert_int_equal(ret[0], ret[1]);
		assert_int_equal(m[0]->pkt_len, m[1]->pkt_len);
		assert_int_equal(m[0]->ol_flags, m[1]->ol_flags);
		read_all(m[0], is);
		read_all(m[1], was);
		assert_memory_equal(is, was, m[0]->pkt_len);
		if (ret[0] == 0) {
			assert_memory_equal(&key[0], &key[1], sizeof(key[0]));
			assert_int_equal(inner[0], inner[1]);
			taken++;
		}
		rte_pktmbuf_free(m[0]);
		rte_pktmbuf_free(m[1]);
	}
	assert_true(taken > 1000);
}

static void demux(void **state)
{
	struct odp_tnl_vport v[] = {
		{ .type = ODP_TNL_VXLAN, .udp_port = 4789, .port_no = 1 },
		{ .type = ODP_TNL_VXLAN,
			.udp_port = 4789,
			.port_no = 2,
			.family = 4,
			.local = { 0x22, 0x22, 0x22, 0x22 } },
		{ .type = ODP_TNL_GRE,
			.port_no = 3,
			.family = 4,
			.local = { 0x22, 0x22, 0x22, 0x22 } },
		{ .type = ODP_TNL_GENEVE, .udp_port = 4789 + 64 * 65, .port_no = 4 },
	};
	struct odp_tnl_demux *d;
	uint8_t f[300];
	uint32_t n = frame_of(f, false, 14, 60, 0);
	struct rte_mbuf *m4 = pushed(&formats[0], f, n), *m6 = pushed(&formats[2], f, n);
	struct rte_mbuf *g4 = pushed(&formats[9], f, n), *g6 = pushed(&formats[11], f + 14, n - 14);
	uint8_t *dst = rte_pktmbuf_mtod(m4, uint8_t *) + 30;

	(void)state;
	assert_int_equal(odp_tnl_demux_create(v, 4, &d), 0);
	assert_int_equal(odp_tnl_classify(d, m4)->port_no, 2);
	assert_int_equal(odp_tnl_classify(d, m6)->port_no, 1);
	assert_int_equal(odp_tnl_classify(d, g4)->port_no, 3);
	assert_null(odp_tnl_classify(d, g6));
	dst[3] = 0x23;
	assert_int_equal(odp_tnl_classify(d, m4)->port_no, 1);
	odp_tnl_demux_destroy(d);

	assert_int_equal(odp_tnl_demux_create(v, 0, &d), 0);
	assert_null(odp_tnl_classify(d, m4));
	odp_tnl_demux_destroy(d);
	v[3] = v[0];
	assert_int_equal(odp_tnl_demux_create(v, 4, &d), -EEXIST);
	v[3].udp_port = 0;
	assert_int_equal(odp_tnl_demux_create(v, 4, &d), -EINVAL);
	rte_pktmbuf_free(m4);
	rte_pktmbuf_free(m6);
	rte_pktmbuf_free(g4);
	rte_pktmbuf_free(g6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy),
		cmocka_unit_test(inherits),
		cmocka_unit_test(too_long),
		cmocka_unit_test(demux),
	};
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(formats, round_trip, failed);
	RUN_ROWS(formats, cut, failed);
	RUN_ROWS(formats, plain, failed);
	RUN_ROWS(formats, shared_bytes, failed);
	RUN_ROWS(formats, lent, failed);
	RUN_ROWS(hostiles, hostile, failed);
	RUN_ROWS(refuseds, refused, failed);

	const struct format e[] = { formats[0], formats[6] };
	struct format bare = e[1];

	bare.flags = ODP_TNL_F_KEY; // no UDP checksum that a changed outer field would break
	const struct format ecns[] = { e[0], bare };

	RUN_ROWS(ecns, ecn, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
