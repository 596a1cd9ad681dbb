// SPDX-License-Identifier: Apache-2.0
/*
 * Runs actions on packets for somebody else to judge (act_frames.py). Each line of input is
 *   FORM<tab>FLOW<tab>ACTIONS<tab>FRAME
 * with the frame in hexadecimal digits; each line of output the frames that came out, as PORT:FRAME
 * with a blank between two, or "error N" of odp_flow_put(). FORM is how the frame lies in memory:
 *   whole    one segment
 *   split    segments of a few bytes
 *   shared   a clone of a packet, which must stay as it is
 *   lent     as a guest lends it: payload behind the first 256 bytes in memory that must stay
 *   partial  the checksum of TCP or UDP is left to be completed
 *   gso      the same for a frame that is to be cut into segments of 1000 bytes
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "fake_port.h"
#include "inet.h"
#include "odp_meter.h"

#define PORTS 3u
#define FRAME_MAX 9000u
#define HEAD 256u // bytes of a lent packet that are its own

static struct rte_mempool *pool;
static uint8_t lent[FRAME_MAX];
static struct rte_mbuf_ext_shared_info info;

static void die(const char *what)
{
	(void)fprintf(stderr, "act_frames: %s\n", what);
	exit(1);
}

static struct rte_mbuf *chain(const uint8_t *f, uint32_t n, uint32_t step)
{
	struct rte_mbuf *head = NULL;

	for (uint32_t at = 0; at < n || !head;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		uint32_t len = n - at < step ? n - at : step;

		if (!m)
			die("no mbufs");
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), f + at, len);
		if (!head)
			head = m;
		else if (rte_pktmbuf_chain(head, m) < 0)
			die("too many segments");
		at += len;
	}
	return head;
}

static void never(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
	die("lent memory freed");
}

static struct rte_mbuf *lend(const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *m = chain(f, n < HEAD ? n : HEAD, HEAD), *tail;

	m->ol_flags |= ODP_F_LENT;
	if (n <= HEAD)
		return m;
	tail = rte_pktmbuf_alloc(pool);
	if (!tail)
		die("no mbufs");
	memcpy(lent, f + HEAD, n - HEAD);
	rte_mbuf_ext_refcnt_update(&info, 1);
	rte_pktmbuf_attach_extbuf(tail, lent, 0, (uint16_t)(n - HEAD), &info);
	tail->data_off = 0;
	tail->data_len = (uint16_t)(n - HEAD);
	tail->pkt_len = n - HEAD;
	if (rte_pktmbuf_chain(m, tail) < 0)
		die("too many segments");
	return m;
}

/* As guests send it: the sum of the pseudo-header in the checksum field. */
static void request(struct rte_mbuf *m, bool gso)
{
	uint8_t *f = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned l2 = 14;

	while (odp_get16(f + l2 - 2) == 0x8100 || odp_get16(f + l2 - 2) == 0x88a8)
		l2 += 4;
	bool v6 = odp_get16(f + l2 - 2) == ODP_ETH_IPV6;
	uint8_t *ip = f + l2, *l4 = ip + (v6 ? 40 : (ip[0] & 15) * 4);
	uint8_t proto = v6 ? ip[6] : ip[9];
	uint32_t len = v6 ? odp_get16(ip + 4) : odp_get16(ip + 2) - (uint32_t)(l4 - ip);

	if (proto != 6 && proto != 17)
		return;
	odp_put16(l4 + (proto == 6 ? 16 : 6),
		odp_fold(odp_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, proto + len)));
	m->l2_len = l2 & 0x7f;
	m->l3_len = (uint64_t)(l4 - ip) & 0x1ff;
	m->ol_flags |= (v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
		       (proto == 6 ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
	if (!gso)
		return;
	m->l4_len = proto == 6 ? (uint64_t)(l4[12] >> 4) * 4 & 0xff : 8;
	m->tso_segsz = 1000;
	m->ol_flags |= proto == 6 ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
}

static void print(const struct rte_mbuf *m, unsigned port)
{
	static uint8_t buf[FRAME_MAX + 64];
	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, buf);

	printf("%u:", port);
	for (uint32_t i = 0; i < m->pkt_len; i++)
		printf("%02x", p[i]);
	printf(" ");
}

static uint32_t unhex(const char *s, uint8_t *out)
{
	uint32_t n = 0;
	unsigned v;

	for (; n < FRAME_MAX && sscanf(s, "%2x", &v) == 1; s += 2)
		out[n++] = (uint8_t)v;
	return n;
}

static void run(struct odp *dp, struct fake_port *p, const char *form, const uint8_t *f, uint32_t n)
{
	struct rte_mbuf *m, *original = NULL;
	struct odp_worker *w = odp_worker(dp, 0);

	if (!strcmp(form, "split"))
		m = chain(f, n, 13);
	else if (!strcmp(form, "lent"))
		m = lend(f, n);
	else
		m = chain(f, n, 1900);
	if (!strcmp(form, "partial") || !strcmp(form, "gso"))
		request(m, form[0] == 'g');
	if (!strcmp(form, "shared")) {
		original = m;
		m = rte_pktmbuf_clone(original, pool);
	}
	p[0].in[p[0].n_in++] = m;
	while (odp_worker_turn(w) + odp_upcall_poll(dp) > 0)
		;
	for (unsigned i = 0; i < PORTS; i++) {
		for (unsigned k = 0; k < p[i].n_out; k++)
			print(p[i].out[k], i + 1);
		fake_port_reset(&p[i]);
	}
	if (original) {
		uint8_t buf[FRAME_MAX];

		if (original->pkt_len != n ||
			memcmp(rte_pktmbuf_read(original, 0, n, buf), f, n) != 0)
			printf("changed");
		rte_pktmbuf_free(original);
	}
	if (!strcmp(form, "lent") && n > HEAD && memcmp(lent, f + HEAD, n - HEAD) != 0)
		printf("changed");
}

static void one_line(struct odp *dp, struct fake_port *p, char *line)
{
	static uint8_t frame[FRAME_MAX];
	char *form = strtok(line, "\t"), *flow = strtok(NULL, "\t"), *acts = strtok(NULL, "\t"),
	     *hex = strtok(NULL, "\t\n");
	struct odp_key k, m;
	size_t at = 0;

	if (!hex || odp_key_parse(dp, flow, &k, &m, &at) < 0)
		die("cannot read a line");
	int ret = fake_put(dp, &k, &m, acts, true, NULL);

	if (ret < 0)
		printf("error %d", ret);
	else
		run(dp, p, form, frame, unhex(hex, frame));
	printf("\n");
	odp_flow_flush(dp, NULL);
}

int main(void)
{
	static struct fake_port p[PORTS];
	static char line[3 * FRAME_MAX];
	struct odp_conf conf = { .n_workers = 1 };
	struct odp *dp;

	pool = conf.pool = fake_eal(4095);
	info.free_cb = never;
	rte_mbuf_ext_refcnt_set(&info, 1);
	unsigned before = rte_mempool_in_use_count(pool);

	if (odp_create(&conf, &dp) < 0)
		die("no datapath");
	for (unsigned i = 0; i < PORTS; i++) {
		const char name[3] = { 'p', (char)('1' + i), '\0' };

		fake_port_add(&p[i], dp, odp_worker(dp, 0), name);
		p[i].caps.mtu = FRAME_MAX;
		odp_port_caps_changed(p[i].port);
	}
	while (fgets(line, sizeof(line), stdin))
		one_line(dp, p, line);
	for (unsigned i = 0; i < PORTS; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
	if (rte_mempool_in_use_count(pool) != before)
		die("packets leaked");
	return 0;
}
