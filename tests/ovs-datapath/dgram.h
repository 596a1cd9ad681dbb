/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams of UDP and ICMP, cut into frames, and put together again from what a port sent: every
 * offset, length and checksum is looked at, by DPDK's sums and not by ours.
 */
#pragma once

#include "test.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#define DG_MAX 9000u // bytes of layer 4
#define DG_PIECES 64u

struct dgram {
	bool v6;
	uint8_t proto; // UDP or an echo
	uint8_t src, dst; // last bytes of the addresses: 10.0.0.x, fd00::x
	uint16_t sport, dport; // or the echo's id and 0
	bool reply; // of an echo
	uint32_t id;
	uint16_t data; // bytes behind the layer 4 header
	uint16_t step; // bytes of layer 4 in a fragment; a multiple of 8
};

struct frames {
	unsigned n;
	struct {
		uint16_t len;
		uint8_t b[1600];
	} f[DG_PIECES];
};

static const uint8_t dg_macs[12] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 };

static inline void dg_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned dg_get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static inline void dg_addr(uint8_t *p, bool v6, uint8_t host)
{
	memset(p, 0, v6 ? 16 : 4);
	p[0] = v6 ? 0xfd : 10;
	p[v6 ? 15 : 3] = host;
}

/* The IP header of the whole; returns its bytes. */
static inline unsigned dg_ip(uint8_t *ip, const struct dgram *d, unsigned l4)
{
	memset(ip, 0, 40);
	if (d->v6) {
		ip[0] = 0x60;
		dg_put16(ip + 4, l4);
		ip[6] = d->proto;
		ip[7] = 64;
		dg_addr(ip + 8, true, d->src);
		dg_addr(ip + 24, true, d->dst);
		return 40;
	}
	ip[0] = 0x45;
	dg_put16(ip + 2, 20 + l4);
	dg_put16(ip + 4, d->id);
	ip[8] = 64;
	ip[9] = d->proto;
	dg_addr(ip + 12, false, d->src);
	dg_addr(ip + 16, false, d->dst);
	return 20;
}

/* What the checksum field has to be when it is zero; 0xffff for a whole that is right. */
static inline uint16_t dg_sum(
	const uint8_t *ip, bool v6, uint8_t proto, const uint8_t *l4, unsigned n)
{
	uint32_t sum = proto == IPPROTO_ICMP ? 0
		       : v6 ? rte_ipv6_phdr_cksum((const struct rte_ipv6_hdr *)ip, 0)
			    : rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)ip, 0);

	sum += rte_raw_cksum(l4, n);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static inline unsigned dg_l4(uint8_t *l4, const struct dgram *d, const uint8_t *ip)
{
	unsigned n = 8u + d->data;
	uint16_t sum;

	memset(l4, 0, 8);
	for (unsigned i = 8; i < n; i++)
		l4[i] = (uint8_t)(i * 7 + d->id + (i >> 8));
	if (d->proto == IPPROTO_UDP) {
		dg_put16(l4, d->sport);
		dg_put16(l4 + 2, d->dport);
		dg_put16(l4 + 4, n);
	} else {
		l4[0] = d->v6 ? 128 + d->reply : d->reply ? 0 : 8;
		dg_put16(l4 + 4, d->sport);
	}
	sum = (uint16_t)~dg_sum(ip, d->v6, d->proto, l4, n);
	memcpy(l4 + (d->proto == IPPROTO_UDP ? 6 : 2), &sum, 2);
	return n;
}

/* One frame with the bytes [off, off + len) of layer 4. */
static inline void dg_frame(struct frames *out, const struct dgram *d, const uint8_t *l4,
	unsigned off, unsigned len, bool more)
{
	uint8_t *f = out->f[out->n].b, *ip = f + 14;
	unsigned hdr;

	memcpy(f, dg_macs, sizeof(dg_macs));
	dg_put16(f + 12, d->v6 ? 0x86dd : 0x0800);
	hdr = dg_ip(ip, d, len);
	if (d->v6) {
		dg_put16(ip + 4, 8 + len);
		ip[6] = IPPROTO_FRAGMENT;
		ip[40] = d->proto;
		ip[41] = 0;
		dg_put16(ip + 42, off | more);
		dg_put16(ip + 44, 0);
		dg_put16(ip + 46, d->id);
		hdr = 48;
	} else {
		dg_put16(ip + 6, off / 8 | (more ? 0x2000u : 0));
		uint16_t sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)ip);
		memcpy(ip + 10, &sum, 2);
	}
	memcpy(ip + hdr, l4 + off, len);
	out->f[out->n++].len = (uint16_t)(14 + hdr + len);
}

static inline void dg_cut(struct frames *out, const struct dgram *d)
{
	uint8_t ip[40], l4[DG_MAX];
	unsigned n;

	out->n = 0;
	(void)dg_ip(ip, d, 8u + d->data);
	n = dg_l4(l4, d, ip);
	for (unsigned off = 0; off < n; off += d->step)
		dg_frame(out, d, l4, off, n - off < d->step ? n - off : d->step, n - off > d->step);
}

/* What n packets are together; `seen` is filled in with addresses and ports. */
static inline void dg_judge(struct rte_mbuf **m, unsigned n, const struct dgram *want)
{
	uint8_t l4[DG_MAX], ref[DG_MAX], ip[40], whole[40];
	unsigned size, have = 0, hdr = want->v6 ? 48 : 20;

	(void)dg_ip(whole, want, 8u + want->data);
	size = dg_l4(ref, want, whole);
	memset(l4, 0, size);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(m[i], const uint8_t *) + 14;
		unsigned len = m[i]->pkt_len - 14 - hdr, off;

		assert_int_equal(m[i]->nb_segs, 1);
		assert_memory_equal(f - 14, dg_macs, sizeof(dg_macs));
		memcpy(ip, f, want->v6 ? 40 : 20);
		off = want->v6 ? dg_get16(f + 42) & 0xfff8 : (dg_get16(f + 6) & 0x1fff) * 8;
		assert_true(off + len <= size);
		if (!want->v6) {
			assert_int_equal(rte_raw_cksum(f, 20), 0xffff);
			assert_int_equal(dg_get16(f + 2), 20 + len);
		}
		assert_memory_equal(
			ip + (want->v6 ? 8 : 12), whole + (want->v6 ? 8 : 12), want->v6 ? 32 : 8);
		memcpy(l4 + off, f + hdr, len);
		have += len;
	}
	assert_int_equal(have, size);
	assert_int_equal(dg_sum(whole, want->v6, want->proto, l4, size), 0xffff);
	assert_memory_equal(l4, ref, size);
}
