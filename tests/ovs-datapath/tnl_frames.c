// SPDX-License-Identifier: Apache-2.0
/*
 * Frames through the tunnel code for others to judge (tnl_frames.py):
 *   push IN OUT  each frame of a capture into every kind of tunnel; TCP or UDP frames longer than
 *                1600 bytes as GSO frames
 *   pop IN OUT   outer headers off; what is refused becomes an empty frame
 *   toobig IN OUT  the answer to each, an MTU of 1300; an empty frame where there is none
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "inet.h"
#include "pmtu.h"
#include "tnl.h"

static struct rte_mempool *pool;

static const struct kind {
	enum odp_tnl_type type;
	uint8_t family;
	uint16_t port, flags, vlan;
	uint8_t opts_len;
} kinds[] = {
	{ ODP_TNL_VXLAN, 4, 4789, ODP_TNL_F_DF, 0, 0 },
	{ ODP_TNL_VXLAN, 6, 4789, ODP_TNL_F_CSUM, 0x1005, 0 },
	{ ODP_TNL_VXLAN_GBP, 4, 4789, ODP_TNL_F_CSUM, 0, 0 },
	{ ODP_TNL_VXLAN_GPE, 4, 4790, 0, 0, 0 },
	{ ODP_TNL_GENEVE, 4, 6081, ODP_TNL_F_CSUM, 0, 8 },
	{ ODP_TNL_GENEVE, 6, 6081, ODP_TNL_F_CSUM, 0, 252 },
	{ ODP_TNL_GRE, 4, 0, ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0, 0 },
	{ ODP_TNL_GRE, 6, 0, 0, 0, 0 },
};

static void die(const char *what)
{
	(void)fprintf(stderr, "tnl_frames: %s\n", what);
	exit(1);
}

/* A classic capture file in this machine's order. */
static const uint32_t pcap_hdr[6] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1 };

static void put(FILE *out, const struct rte_mbuf *m)
{
	uint8_t buf[66000];
	uint32_t n = m ? m->pkt_len : 0;
	const uint32_t rec[4] = { 0, 0, n, n };

	(void)fwrite(rec, sizeof(rec), 1, out);
	if (n)
		(void)fwrite(rte_pktmbuf_read(m, 0, n, buf), n, 1, out);
}

static struct rte_mbuf *mbuf_of(const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool);

	if (!head)
		die("no mbufs");
	for (uint32_t at = 0; at < n;) {
		struct rte_mbuf *m = at ? rte_pktmbuf_alloc(pool) : head;
		uint32_t len = n - at < 1800 ? n - at : 1800;

		if (!m)
			die("no mbufs");
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), f + at, len);
		if (m != head && rte_pktmbuf_chain(head, m) < 0)
			die("too many segments");
		at += len;
	}
	return head;
}

/* A frame whose checksum is left to be done, as guests send them. */
static void request(struct rte_mbuf *m, uint8_t *f)
{
	bool v6 = odp_get16(f + 12) == ODP_ETH_IPV6;
	uint8_t *ip = f + 14, *l4 = ip + (v6 ? 40 : 20);
	uint8_t proto = v6 ? ip[6] : ip[9];
	uint32_t len = m->pkt_len - (v6 ? 54u : 34u);
	uint8_t *csum = l4 + (proto == 6 ? 16 : 6);

	if (odp_get16(f + 12) != ODP_ETH_IPV4 && !v6)
		return;
	if (proto != 6 && proto != 17)
		return;
	odp_put16(csum, odp_fold(odp_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, proto + len)));
	m->l2_len = 14;
	m->l3_len = v6 ? 40 : 20;
	m->ol_flags = (v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
		      (proto == 6 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
	if (m->pkt_len > 1600) {
		m->ol_flags |= proto == 6 ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
		m->tso_segsz = 1000;
	}
}

static void compose(const struct kind *k, struct odp_tnl_tmpl *t)
{
	const struct odp_tnl_link link = { { 2, 0, 0, 0, 0, 2 }, { 2, 0, 0, 0, 0, 1 }, k->vlan,
		9000 };
	struct odp_tnl_key key = { .id = 0x123456,
		.family = k->family,
		.tos = 0x28,
		.flags = k->flags,
		.tp_dst = k->port,
		.gbp_id = 0x77,
		.opts_len = k->opts_len };

	memset(key.src, 0x0b, k->family == 4 ? 4 : 16);
	memset(key.dst, 0x0c, k->family == 4 ? 4 : 16);
	for (unsigned off = 0; off < k->opts_len;) {
		unsigned left = (k->opts_len - off - 4u) / 4, n = left > 31 ? 31 : left;

		key.opts[off + 1] = 1;
		key.opts[off + 2] = 7;
		key.opts[off + 3] = (uint8_t)n;
		off += 4 + 4 * n;
	}
	if (odp_tnl_compose(k->type, &key, ODP_INNER_ETH, &link, 0, t) < 0)
		die("compose");
}

static void push(FILE *out, const struct kind *k, uint8_t *f, uint32_t n)
{
	struct odp_tnl_tx tx = { .pool = pool, .ip_id = 1 };
	struct rte_mbuf *seg[16], *m;
	struct odp_tnl_tmpl t;
	struct odp_tnl_out o;
	int got;

	compose(k, &t);
	m = mbuf_of(f, n);
	request(m, rte_pktmbuf_mtod(m, uint8_t *));
	if (odp_tnl_out_init(&o, m, &t, &tx, n) < 0)
		die("out_init");
	while ((got = odp_tnl_out_next(&o, seg, 16)) > 0) {
		for (int i = 0; i < got; i++) {
			if ((seg[i]->ol_flags & ODP_F_L4_CSUM) && odp_csum_complete(seg[i]) < 0)
				die("csum");
			put(out, seg[i]);
			rte_pktmbuf_free(seg[i]);
		}
	}
	if (got < 0)
		die("out_next");
	odp_tnl_out_fini(&o);
}

static void pop(FILE *out, const uint8_t *f, uint32_t n)
{
	static const struct odp_tnl_vport vports[] = {
		{ .type = ODP_TNL_VXLAN_GBP, .udp_port = 4789 },
		{ .type = ODP_TNL_VXLAN_GPE, .udp_port = 4790 },
		{ .type = ODP_TNL_GENEVE, .udp_port = 6081 },
		{ .type = ODP_TNL_GRE },
	};
	static struct odp_tnl_demux *d;
	const struct odp_tnl_vport *v;
	struct odp_tnl_key key;
	struct rte_mbuf *m = mbuf_of(f, n);
	uint16_t inner;

	if (!d && odp_tnl_demux_create(vports, 4, &d) < 0)
		die("demux");
	v = odp_tnl_classify(d, m);
	if (!v || odp_tnl_pop(&m, v, pool, &key, &inner) < 0) {
		(void)printf("refused\n");
		put(out, NULL);
	} else {
		(void)printf("%x %x %x %u %u %u %u\n", (unsigned)key.id, inner, key.gbp_id,
			key.opts_len, key.tp_src, key.tos, key.ttl);
		put(out, m);
	}
	rte_pktmbuf_free(m);
}

static void toobig(FILE *out, const uint8_t *f, uint32_t n)
{
	static struct odp_pmtu *p;
	struct rte_mbuf *m = mbuf_of(f, n), *a = NULL;

	if (!p && odp_pmtu_create(&(struct odp_pmtu_conf){ .pool = pool }, &p) < 0)
		die("pmtu");
	(void)odp_pmtu_answer(p, m, 1300, 1, 0, &a);
	put(out, a);
	rte_pktmbuf_free(a);
	rte_pktmbuf_free(m);
}

int main(int argc, char **argv)
{
	static uint8_t f[66000];
	uint32_t hdr[6], rec[4];
	FILE *in, *out;

	if (argc != 4)
		die("push|pop|toobig IN OUT");
	in = fopen(argv[2], "rb");
	out = fopen(argv[3], "wb");
	if (!in || !out || fread(hdr, sizeof(hdr), 1, in) != 1)
		die("no capture");
	pool = fake_eal(1023);
	(void)fwrite(pcap_hdr, sizeof(pcap_hdr), 1, out);
	while (fread(rec, sizeof(rec), 1, in) == 1) {
		if (rec[2] > sizeof(f) || fread(f, rec[2], 1, in) != 1)
			die("capture cut short");
		if (strcmp(argv[1], "pop") == 0)
			pop(out, f, rec[2]);
		else if (strcmp(argv[1], "toobig") == 0)
			toobig(out, f, rec[2]);
		else
			for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
				push(out, &kinds[i], f, rec[2]);
	}
	(void)fclose(in);
	return fclose(out) != 0;
}
