// SPDX-License-Identifier: Apache-2.0
/*
 * The load of the switch's benchmarks: two virtio-user ports on one CPU, between which a fixed
 * number of frames circulates through the back-end, each written anew where it arrives; and a third
 * one, the tunnel's uplink, which sends everything back. Commands come on stdin, one answer in JSON
 * for each goes to stdout:
 *   flows N MS | conns N MS     packets per second over N flows or connections
 *   attack PORT PPS conns N MS   the same while a port (2: the third) sends so many frames more,
 *                               each of which wants a mask of its own
 *   setup N                     open connections until there are N
 *   short MS                    connections per second that begin and end
 *   look N                      a frame of N connections as it comes to each port, in hexadecimal
 *   latency flows|conns N MS PPS   at that rate, percentiles in nanoseconds; of what was lost, how
 *                                   much found no room to be sent
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_hist.h"
#include "odp_frames.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BURST 32
#define RING 256
#define UPLINK_RING 512 // all that is on its way may be there
#define WINDOW 224 // frames on the way from each port: never more than a ring holds
#define SILENCE_NS 3000000 // nothing arrives for so long: nothing is on its way
#define STUCK_NS 2000000000ULL
#define SPANS 16 // of time, in the last of which what was sent in the first is lost
#define SPAN_NS 10000000ULL

struct lane {
	struct rte_mbuf *held[2 * RING]; // what the transmit ring did not yet take
	unsigned n_held;
	uint64_t rx, tx, unsent; // unsent: there was no room for, and for many before them
	uint64_t odd; // not of the length that is sent
};

/* Frames carry the span in which they were sent: what is lost is sent again, or all would stop. */
struct spans {
	uint64_t end; // of the present one
	uint8_t now;
	uint32_t sent[SPANS], back[SPANS];
	uint64_t lost;
};

struct load {
	struct rte_mempool *pool;
	struct spans spans;
	struct lane lane[FRAME_PORTS];
	uint16_t n_ports;
	struct frame_gen gen;
	struct drv_hist hist;
	uint64_t since; // what was sent before does not count there
	struct {
		uint16_t port;
		uint32_t pps, sent; // pps 0: nobody attacks
		uint64_t start; // TSC
	} attack;
};

/* ---- ports ---- */

static uint16_t ring_size(unsigned p)
{
	return p == FRAME_UPLINK ? UPLINK_RING : RING;
}

static int port_open(struct load *l, uint16_t p)
{
	const struct rte_eth_conf conf = { 0 };
	int ret = rte_eth_dev_configure(p, 1, 1, &conf);

	if (!ret)
		ret = rte_eth_rx_queue_setup(p, 0, ring_size(p), SOCKET_ID_ANY, NULL, l->pool);
	if (!ret)
		ret = rte_eth_tx_queue_setup(p, 0, ring_size(p), SOCKET_ID_ANY, NULL);
	if (!ret)
		ret = rte_eth_dev_start(p);
	if (!ret)
		ret = rte_eth_promiscuous_enable(p);
	return ret == -ENOTSUP ? 0 : ret;
}

static void transmit(struct load *l, uint16_t p, struct rte_mbuf **pkts, unsigned n)
{
	struct lane *a = &l->lane[p];
	unsigned sent = 0;

	if (a->n_held) { // not all at once: what they cause to arrive has to be taken meanwhile
		sent = rte_eth_tx_burst(p, 0, a->held, (uint16_t)RTE_MIN(a->n_held, BURST));
		a->tx += sent;
		a->n_held -= sent;
		memmove(a->held, a->held + sent, a->n_held * sizeof(a->held[0]));
	}
	sent = a->n_held || !n ? 0 : rte_eth_tx_burst(p, 0, pkts, (uint16_t)n);
	a->tx += sent;
	for (; sent < n; sent++) {
		if (a->n_held < COUNT(a->held))
			a->held[a->n_held++] = pkts[sent];
		else {
			rte_pktmbuf_free(pkts[sent]);
			a->unsent++;
		}
	}
}

static void stamp(struct load *l, uint8_t *f)
{
	f[FRAME_STAMP] = l->spans.now;
	l->spans.sent[l->spans.now]++;
}

/* Frames that arrived go out again as the next ones. */
static void answer(struct load *l, uint16_t p, struct rte_mbuf **pkts, unsigned n)
{
	unsigned out = 0;

	for (unsigned i = 0; i < n; i++)
		drv_fetch_write(rte_pktmbuf_mtod(pkts[i], void *));
	for (unsigned i = 0; i < n; i++) {
		uint8_t *f = rte_pktmbuf_mtod(pkts[i], uint8_t *);

		if (p != FRAME_UPLINK) {
			l->lane[p].odd += pkts[i]->pkt_len != FRAME_LEN;
			l->spans.back[f[FRAME_STAMP] % SPANS]++;
		}
		if (!frame_next(&l->gen, p, f)) {
			rte_pktmbuf_free(pkts[i]);
			continue;
		}
		if (p != FRAME_UPLINK)
			stamp(l, f);
		pkts[out++] = pkts[i];
	}
	l->lane[p].rx += n;
	if (out || l->lane[p].n_held)
		transmit(l, p, pkts, out);
}

/* How many arrived. */
static unsigned turn(struct load *l, uint16_t p)
{
	struct rte_mbuf *pkts[BURST];
	unsigned n = rte_eth_rx_burst(p, 0, pkts, BURST);

	answer(l, p, pkts, n);
	return n;
}

static unsigned turn_all(struct load *l)
{
	unsigned n = 0;

	for (uint16_t p = 0; p < l->n_ports; p++)
		n += turn(l, p);
	return n;
}

/* Take what still arrives, until nothing does. */
static void drain(struct load *l)
{
	uint64_t last = dpu_now_ns();

	while (dpu_now_ns() - last < SILENCE_NS) {
		for (uint16_t p = 0; p < l->n_ports; p++) {
			struct rte_mbuf *pkts[BURST];
			unsigned n = rte_eth_rx_burst(p, 0, pkts, BURST);

			rte_pktmbuf_free_bulk(pkts, n);
			rte_pktmbuf_free_bulk(l->lane[p].held, l->lane[p].n_held);
			l->lane[p].n_held = 0;
			if (n)
				last = dpu_now_ns();
		}
	}
}

/* A frame to be filled. NULL: too many are on their way. */
static struct rte_mbuf *frame_alloc(struct load *l)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->pool);

	if (m)
		m->data_len = (uint16_t)(m->pkt_len = FRAME_LEN);
	return m;
}

static bool send_first(struct load *l, uint16_t p)
{
	struct rte_mbuf *m = frame_alloc(l);

	if (!m)
		return false;
	if (!frame_first(&l->gen, p, rte_pktmbuf_mtod(m, uint8_t *))) {
		rte_pktmbuf_free(m);
		return false;
	}
	stamp(l, rte_pktmbuf_mtod(m, uint8_t *));
	transmit(l, p, &m, 1);
	return true;
}

/* The next span, when its time has come: it takes the place of the one that is the longest ago. */
static void spans_turn(struct load *l, uint64_t now)
{
	struct spans *s = &l->spans;
	bool again = l->gen.kind == FRAME_FLOWS || l->gen.kind == FRAME_CONNS;
	uint32_t lost;

	if (now < s->end)
		return;
	s->end = now + SPAN_NS;
	s->now = (uint8_t)((s->now + 1) % SPANS);
	lost = s->sent[s->now] - RTE_MIN(s->sent[s->now], s->back[s->now]);
	s->sent[s->now] = s->back[s->now] = 0;
	s->lost += lost;
	for (uint32_t i = 0; i < RTE_MIN(lost, 2u * WINDOW) && again; i++)
		send_first(l, (uint16_t)(i & 1));
}

static void begin(struct load *l, enum frame_kind kind, uint32_t n)
{
	drain(l);
	frame_gen_start(&l->gen, kind, n);
	l->spans = (struct spans){ .end = dpu_now_ns() + SPAN_NS, .lost = l->spans.lost };
	for (unsigned i = 0; i < WINDOW; i++)
		for (uint16_t p = 0; p < 2; p++)
			send_first(l, p);
}

/* What the attacker has to have sent by now, if it is not too far behind. */
static void attack(struct load *l)
{
	double due = (double)(rte_rdtsc() - l->attack.start) / (double)rte_get_tsc_hz() *
		     l->attack.pps;

	for (unsigned i = 0; i < 4 && l->attack.sent < due; i++) {
		struct rte_mbuf *m = frame_alloc(l);

		if (!m)
			return;
		frame_attack(l->attack.sent++, rte_pktmbuf_mtod(m, uint8_t *));
		transmit(l, l->attack.port, &m, 1);
	}
}

/* ---- commands ---- */

/* Frames received by a and b, or connections done, in `ms` milliseconds; per second. */
static double rate(struct load *l, uint64_t ms)
{
	bool conns = l->gen.kind == FRAME_SHORT;
	uint64_t was = conns ? l->gen.done : l->lane[0].rx + l->lane[1].rx, start = dpu_now_ns(),
		 now;

	do {
		for (unsigned i = 0; i < 64; i++) {
			turn_all(l);
			if (l->attack.pps)
				attack(l);
		}
		now = dpu_now_ns();
		spans_turn(l, now);
	} while (now - start < ms * 1000000);
	was = (conns ? l->gen.done : l->lane[0].rx + l->lane[1].rx) - was;
	return (double)was * 1e9 / (double)(now - start);
}

static void run_rate(struct load *l, enum frame_kind kind, uint32_t n, uint64_t ms)
{
	struct rusage before, after;
	uint64_t lost, outer, odd = l->lane[0].odd + l->lane[1].odd;
	double r;

	begin(l, kind, n);
	rate(l, 200); // caches and what the back-end learns
	lost = l->spans.lost;
	getrusage(RUSAGE_SELF, &before);
	outer = l->gen.encapsulated;
	r = rate(l, ms);
	outer = l->gen.encapsulated - outer;
	getrusage(RUSAGE_SELF, &after);
	lost = l->spans.lost - lost;
	odd = l->lane[0].odd + l->lane[1].odd - odd;
	printf("{\"per_s\": %.0f, \"lost\": %lu, \"preempted\": %ld, \"outer_per_s\": %.0f, "
	       "\"odd\": %lu}\n",
		r, lost, after.ru_nivcsw - before.ru_nivcsw, (double)outer * 1e3 / (double)ms, odd);
}

static void run_setup(struct load *l, uint32_t n)
{
	uint64_t last = dpu_now_ns(), start = last;

	begin(l, FRAME_SETUP, n);
	while (l->gen.opened < n && dpu_now_ns() - last < STUCK_NS)
		if (turn_all(l))
			last = dpu_now_ns();
	printf("{\"done\": %u, \"seconds\": %.3f}\n", l->gen.opened,
		(double)(dpu_now_ns() - start) / 1e9);
}

static void run_attack(struct load *l, uint16_t port, uint32_t pps, uint32_t n, uint64_t ms)
{
	l->attack.port = port;
	l->attack.pps = pps;
	l->attack.sent = 0;
	l->attack.start = rte_rdtsc();
	run_rate(l, FRAME_CONNS, n, ms);
	l->attack.pps = 0;
}

static void print_hex(const struct rte_mbuf *m)
{
	const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);

	putchar('"');
	for (unsigned i = 0; i < m->data_len; i++)
		printf("%02x", f[i]);
	putchar('"');
}

/* The first frame that arrives at each port, of those where one does. */
static void run_look(struct load *l, uint32_t n)
{
	static const char *const name[FRAME_PORTS] = { "a", "b", "u" };
	uint64_t start = dpu_now_ns();
	bool seen[FRAME_PORTS] = { false };
	unsigned n_seen = 0;

	begin(l, FRAME_CONNS, n);
	while (n_seen < l->n_ports && dpu_now_ns() - start < STUCK_NS)
		for (uint16_t p = 0; p < l->n_ports; p++) {
			struct rte_mbuf *pkts[BURST];
			unsigned got = rte_eth_rx_burst(p, 0, pkts, BURST);

			if (got && !seen[p]) {
				printf("%s\"%s\": ", n_seen++ ? ", " : "{", name[p]);
				print_hex(pkts[0]);
				seen[p] = true;
			}
			answer(l, p, pkts, got);
		}
	puts(n_seen ? "}" : "{\"error\": \"nothing arrives\"}");
}

static unsigned take_stamped(struct load *l, uint16_t p)
{
	struct rte_mbuf *pkts[BURST];
	unsigned n = rte_eth_rx_burst(p, 0, pkts, BURST);
	uint64_t now = rte_rdtsc(), sent;

	if (p == FRAME_UPLINK) {
		for (unsigned i = 0; i < n; i++)
			frame_next(&l->gen, p, rte_pktmbuf_mtod(pkts[i], uint8_t *));
		transmit(l, p, pkts, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++) {
		memcpy(&sent, rte_pktmbuf_mtod_offset(pkts[i], void *, FRAME_STAMP), 8);
		if (sent >= l->since && sent <= now)
			drv_hist_add(&l->hist, now - sent);
	}
	l->lane[p].rx += n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

/* Whatever has arrived: a ring that is full is the sender's loss. */
static void take_all(struct load *l)
{
	for (uint16_t p = 0; p < l->n_ports; p++)
		for (unsigned i = 0; i < RING / BURST && take_stamped(l, p) == BURST; i++)
			continue;
}

static void send_stamped(struct load *l, uint16_t p)
{
	struct rte_mbuf *m = frame_alloc(l);
	uint8_t *f;
	uint64_t now;

	if (!m)
		return;
	f = rte_pktmbuf_mtod(m, uint8_t *);
	frame_first(&l->gen, p, f);
	now = rte_rdtsc();
	memcpy(f + FRAME_STAMP, &now, 8);
	transmit(l, p, &m, 1);
}

/* An open loop: a frame is sent when its time has come, whatever became of those before. */
static void run_latency(struct load *l, enum frame_kind kind, uint32_t n, uint64_t ms, uint64_t pps)
{
	double per_frame = (double)rte_get_tsc_hz() / (double)pps,
	       ns = 1e9 / (double)rte_get_tsc_hz();
	uint64_t start, end, sent = 0, received = l->lane[0].rx + l->lane[1].rx,
			     unsent = l->lane[0].unsent + l->lane[1].unsent;

	drain(l);
	frame_gen_start(&l->gen, kind, n);
	memset(&l->hist, 0, sizeof(l->hist));
	l->since = start = rte_rdtsc();
	end = start + rte_get_tsc_hz() / 1000 * ms;
	while (rte_rdtsc() < end) {
		take_all(l);
		for (unsigned i = 0;
			i < 8 && (double)(rte_rdtsc() - start) >= (double)sent * per_frame; i++)
			send_stamped(l, (uint16_t)(sent++ & 1));
	}
	start = rte_rdtsc();
	while (rte_rdtsc() - start < rte_get_tsc_hz() / 200) {
		take_all(l);
		for (uint16_t p = 0; p < l->n_ports; p++)
			transmit(l, p, NULL, 0);
	}
	received = l->lane[0].rx + l->lane[1].rx - received;
	unsent = l->lane[0].unsent + l->lane[1].unsent - unsent;
	printf("{\"sent\": %lu, \"lost\": %ld, \"unsent\": %lu, \"p50_ns\": %.0f, "
	       "\"p99_ns\": %.0f, \"p999_ns\": %.0f}\n",
		sent, (long)(sent - received), unsent, (double)drv_hist_at(&l->hist, 500) * ns,
		(double)drv_hist_at(&l->hist, 990) * ns, (double)drv_hist_at(&l->hist, 999) * ns);
}

static bool command(struct load *l, const char *line)
{
	char what[16], kind[16];
	unsigned n, ms, pps, port;

	if (sscanf(line, "latency %15s %u %u %u", kind, &n, &ms, &pps) == 4 && pps)
		run_latency(l, strcmp(kind, "flows") ? FRAME_CONNS : FRAME_FLOWS, n, ms, pps);
	else if (sscanf(line, "setup %u", &n) == 1)
		run_setup(l, n);
	else if (sscanf(line, "attack %u %u conns %u %u", &port, &pps, &n, &ms) == 4 &&
		 port < l->n_ports)
		run_attack(l, (uint16_t)port, pps, n, ms);
	else if (sscanf(line, "look %u", &n) == 1)
		run_look(l, n);
	else if (sscanf(line, "short %u", &ms) == 1)
		run_rate(l, FRAME_SHORT, 0, ms);
	else if (sscanf(line, "%15s %u %u", what, &n, &ms) == 3 &&
		 (!strcmp(what, "flows") || !strcmp(what, "conns")))
		run_rate(l, strcmp(what, "flows") ? FRAME_CONNS : FRAME_FLOWS, n, ms);
	else
		return false;
	return true;
}

/* ---- start ---- */

struct options {
	struct dpu_opt_list ports;
	const char *ring, *prefix;
	uint64_t cpu;
	bool listening, huge;
};

static int eal(const struct options *o)
{
	static char text[8][256];
	char *argv[24], **at = argv;
	static char args[][32] = { "odp_load", "--no-pci", "--main-lcore=0", "-m", "256",
		"--force-max-simd-bitwidth=512", "--single-file-segments", "--iova-mode=va",
		"--in-memory", "--no-huge", "--no-shconf" };

	for (unsigned i = 0; i < COUNT(args); i++)
		if (i < 6 || (i < 9) == o->huge)
			*at++ = args[i];
	snprintf(text[0], sizeof(text[0]), "--lcores=0@%lu", o->cpu);
	snprintf(text[1], sizeof(text[1]), "--file-prefix=%s", o->prefix);
	for (unsigned i = 0; i < o->ports.n; i++)
		snprintf(text[2 + i], sizeof(text[0]),
			"--vdev=net_virtio_user%u,path=%s,queues=1,queue_size=%d,mac=02:00:00:00:"
			"00:0%u"
			",mrg_rxbuf=0,in_order=1,vectorized=1%s%s",
			i, o->ports.v[i], ring_size(i), i + 1, o->listening ? ",server=1" : "",
			o->ring);
	for (unsigned i = 0; i < 2 + o->ports.n; i++)
		*at++ = text[i];
	return rte_eal_init((int)(at - argv), argv);
}

int main(int argc, char **argv)
{
	static struct load l;
	struct options o = { .ring = "", .prefix = "odp-load", .cpu = 1 };
	const struct dpu_opt opts[] = {
		{ "port", DPU_OPT_LIST, &o.ports, "PATH", "vhost-user socket of a, b, the uplink",
			0, 0 },
		{ "listen", DPU_OPT_FLAG, &o.listening, NULL, "the back-end connects to us", 0, 0 },
		{ "hugepages", DPU_OPT_FLAG, &o.huge, NULL, "memory of the rings", 0, 0 },
		{ "ring", DPU_OPT_STR, &o.ring, "TEXT", "what else the ports are told", 0, 0 },
		{ "prefix", DPU_OPT_STR, &o.prefix, "NAME", "that no other program here has", 0,
			0 },
		{ "cpu", DPU_OPT_UINT, &o.cpu, "N", "run on this CPU", 0, 1023 },
	};
	const struct dpu_cli cli = { "odp_load", "Frames that circulate through a switch",
		"--port PATH --port PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);
	char line[128];

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (o.ports.n < 2 || o.ports.n > FRAME_PORTS) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	l.n_ports = (uint16_t)o.ports.n;
	if (eal(&o) < 0)
		return 1;
	l.pool = rte_pktmbuf_pool_create("load", 8191, 256, 0, 2176, SOCKET_ID_ANY);
	for (uint16_t p = 0; p < l.n_ports; p++)
		if (!l.pool || port_open(&l, p)) {
			fprintf(stderr, "odp_load: port %u does not start\n", p);
			return 1;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("{\"ready\": true}");
	while (fgets(line, sizeof(line), stdin))
		if (!command(&l, line))
			puts("{\"error\": \"no such command\"}");
	return 0;
}
