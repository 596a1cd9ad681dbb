// SPDX-License-Identifier: Apache-2.0
#include "fake_port.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

uint64_t fake_now_ns = 1000000000000;

uint64_t fake_clock(void)
{
	return fake_now_ns;
}

struct rte_mempool *fake_eal(unsigned n)
{
	static struct rte_mempool *pool;
	char *argv[] = { (char[]){ "test" }, (char[]){ "--no-huge" }, (char[]){ "--no-pci" },
		(char[]){ "-m" }, (char[]){ "128" }, (char[]){ "--no-shconf" },
		(char[]){ "--no-telemetry" }, (char[]){ "-l" }, (char[]){ "0" },
		(char[]){ "--log-level" }, (char[]){ "error" }, NULL };

	if (pool)
		return pool;
	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])) - 1, argv) < 0)
		abort();
	pool = rte_pktmbuf_pool_create("test", n, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
	if (!pool)
		abort();
	return pool;
}

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct fake_port *f = drv;
	uint16_t got = 0;

	(void)rxq;
	while (got < n && f->in_at < f->n_in)
		pkts[got++] = f->in[f->in_at++];
	if (f->in_at == f->n_in)
		f->in_at = f->n_in = 0;
	return got;
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct fake_port *f = drv;
	uint16_t sent = 0;

	(void)txq;
	f->tx_calls++;
	for (uint16_t i = 0; i < n; i++) {
		if ((f->accept && f->n_out >= f->accept) || f->n_out == FAKE_PKTS) {
			rte_pktmbuf_free(pkts[i]);
		} else {
			f->out[f->n_out++] = pkts[i];
			sent++;
		}
	}
	return sent;
}

static void tx_flush(void *drv, uint16_t txq)
{
	(void)txq;
	((struct fake_port *)drv)->flushes++;
}

static bool rx_arm(void *drv, uint16_t rxq)
{
	struct fake_port *f = drv;

	(void)rxq;
	f->armed = true;
	return f->n_in == 0;
}

static void rx_disarm(void *drv, uint16_t rxq)
{
	(void)rxq;
	((struct fake_port *)drv)->armed = false;
}

static void caps(void *drv, struct odp_port_caps *out)
{
	*out = ((struct fake_port *)drv)->caps;
}

const struct odp_port_ops fake_port_ops = { .rx = rx,
	.tx = tx,
	.tx_flush = tx_flush,
	.rx_arm = rx_arm,
	.rx_disarm = rx_disarm,
	.caps = caps };

void fake_port_add(struct fake_port *f, struct odp *dp, struct odp_worker *w, const char *name)
{
	struct odp_port_conf conf = { .name = name,
		.kind = "fake",
		.n_rxq = 1,
		.n_txq = 1,
		.ops = &fake_port_ops,
		.drv = f };

	memset(f, 0, sizeof(*f));
	f->caps = (struct odp_port_caps){ .up = true, .mtu = 1500 };
	if (odp_port_add(dp, &conf, &f->port) < 0)
		abort();
	if (w && (odp_rxq_attach(w, f->port, 0) < 0 || odp_txq_attach(w, f->port, 0) < 0))
		abort();
}

void fake_port_reset(struct fake_port *f)
{
	while (f->in_at < f->n_in)
		rte_pktmbuf_free(f->in[f->in_at++]);
	while (f->n_out > 0)
		rte_pktmbuf_free(f->out[--f->n_out]);
	f->n_in = f->in_at = f->tx_calls = f->flushes = 0;
}

void fake_port_del(struct fake_port *f, struct odp_worker *w)
{
	if (w) {
		odp_rxq_detach(w, f->port, 0);
		odp_txq_detach(w, f->port, 0);
	}
	odp_port_del(f->port);
	f->port = NULL;
	fake_port_reset(f);
}

uint64_t fake_port_drops(const struct odp_port *p, enum odp_drop why)
{
	struct odp_port_stats s;

	odp_port_stats(p, &s);
	return s.drops[why];
}

void fake_port_push(struct fake_port *f, struct rte_mempool *pool, const void *frame, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m || f->n_in == FAKE_PKTS)
		abort();
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	f->in[f->n_in++] = m;
}

const struct odp_actbuf *fake_acts(struct odp *dp, const char *text)
{
	static struct odp_actbuf acts;
	size_t at;

	if (odp_actions_parse(dp, text, &acts, &at) < 0)
		abort();
	return &acts;
}

int fake_put(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const char *actions, bool replace, uint64_t *id)
{
	const struct odp_actbuf *acts = fake_acts(dp, actions);

	return odp_flow_put(
		dp, key, mask, odp_actbuf_list(acts), acts->len, replace, "operator", id);
}

size_t fake_frame(uint8_t out[64], uint8_t dst, uint8_t src, uint16_t vlan)
{
	memset(out, 0, 64);
	out[0] = 2;
	out[5] = dst;
	out[6] = 2;
	out[11] = src;
	unsigned at = 12;

	if (vlan) {
		out[12] = 0x81;
		out[14] = (uint8_t)(vlan >> 8);
		out[15] = (uint8_t)vlan;
		at = 16;
	}
	out[at] = 0x88; // local experimental: no layer 3
	out[at + 1] = 0xb5;
	return 60;
}
