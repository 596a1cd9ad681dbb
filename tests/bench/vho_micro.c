// SPDX-License-Identifier: Apache-2.0
/*
 * Cycles per packet of the virtio-net bursts alone: one thread plays the driver and the device, so
 * no cache line moves between cores and what is left is instructions.
 *
 *   vho_micro [BYTES [LAYOUT]]     frame length, default 64; split or packed alone
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>

#include "device.h"
#include "net_priv.h"
#include "queue.h"

#define SIZE 256u
#define BURST 32u
#define ROUNDS 20000u
#define GPA 0x100000ULL
#define MEM_LEN (4u << 20)
#define BUF_STRIDE 2048u
#define DESC 0x0u
#define DRIVER 0x10000u
#define DEVICE 0x20000u
#define BUF 0x100000u

/* One queue of a function, and its driver. */
struct end {
	struct vho_net *net;
	struct vho_queue *q;
	uint8_t *base;
	uint16_t avail;
	bool wrap, packed;
	uint32_t len;
	uint16_t way;
};

static void die(const char *what)
{
	fprintf(stderr, "vho_micro: %s\n", what);
	exit(1);
}

/* Offer BURST buffers, each where its slot says. */
static void offer(struct end *e)
{
	for (unsigned i = 0; i < BURST; i++) {
		unsigned at = e->avail % SIZE;
		uint64_t gpa = GPA + BUF + at * BUF_STRIDE;

		if (e->packed) {
			struct vring_packed_desc *d = (void *)(e->base + DESC);
			uint16_t flags = e->way | (uint16_t)(e->wrap ? 1u << 7 : 1u << 15);

			d[at].addr = gpa;
			d[at].len = e->len;
			d[at].id = (uint16_t)at;
			__atomic_store_n(&d[at].flags, flags, __ATOMIC_RELEASE);
			e->avail = (uint16_t)(at + 1 == SIZE ? 0 : at + 1);
			e->wrap ^= at + 1 == SIZE;
			continue;
		}
		struct vring_desc *d = (void *)(e->base + DESC);
		struct vring_avail *a = (void *)(e->base + DRIVER);

		d[at] = (struct vring_desc){ gpa, e->len, e->way, 0 };
		a->ring[at] = (uint16_t)at;
		__atomic_store_n(&a->idx, ++e->avail, __ATOMIC_RELEASE);
	}
}

static void open_end(
	struct end *e, struct rte_mempool *pool, bool packed, uint16_t way, uint32_t len)
{
	static struct vho_host host;
	struct vho_net_conf nc = { .name = "m", .max_pairs = 1, .mtu = 1500, .pool = pool };
	uint64_t f = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_NET_F_MRG_RXBUF;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct vho_mem_region r = { .gpa = GPA, .size = MEM_LEN, .uva = GPA };
	struct vho_mem *mem = NULL;
	struct vho_dev *dev;

	*e = (struct end){ .packed = packed, .way = way, .len = len, .wrap = true };
	if (packed)
		f |= 1ULL << VIRTIO_F_RING_PACKED;
	if (fd < 0 || ftruncate(fd, MEM_LEN))
		die("memory");
	e->base = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (e->base == MAP_FAILED || vho_mem_create(&r, &fd, 1, &mem) < 0 ||
		vho_net_create(&nc, &host, &e->net) < 0)
		die("set-up");
	dev = vho_net_dev(e->net);
	struct vho_queue_conf qc = {
		.mem = mem,
		.features = f,
		.desc_gpa = GPA + DESC,
		.driver_gpa = GPA + DRIVER,
		.device_gpa = GPA + DEVICE,
		.size = SIZE,
		.base = packed ? 0x80008000u : 0,
		.call_fd = -1,
		.err_fd = -1,
	};
	unsigned idx = way ? 0 : 1;

	if (vho_dev_set_features(dev, f) < 0)
		die("features");
	e->q = &dev->queues[idx].q;
	if (vho_queue_setup(e->q, &qc) < 0)
		die("queue");
	e->q->running = true;
	dev->queues[idx].enabled = true;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void run(struct rte_mempool *pool, bool packed, uint32_t frame)
{
	const unsigned median = ROUNDS / 2;
	static uint64_t rx_t[ROUNDS], tx_t[ROUNDS];
	struct rte_mbuf *pkts[BURST];
	struct end rx, tx;

	open_end(&rx, pool, packed, 0, frame + 12);
	open_end(&tx, pool, packed, VRING_DESC_F_WRITE, BUF_STRIDE);
	for (unsigned k = 0; k < SIZE / BURST - 1; k++) {
		offer(&rx);
		offer(&tx);
	}
	for (unsigned k = 0; k < ROUNDS; k++) {
		uint64_t t;

		offer(&rx);
		offer(&tx);
		t = rte_rdtsc();
		if (vho_net_rx(rx.net, 0, pkts, BURST) != BURST)
			die("receive");
		rx_t[k] = rte_rdtsc() - t;
		t = rte_rdtsc();
		if (vho_net_tx(tx.net, 0, pkts, BURST) != BURST)
			die("transmit");
		tx_t[k] = rte_rdtsc() - t;
	}
	qsort(rx_t, ROUNDS, sizeof(rx_t[0]), by_value);
	qsort(tx_t, ROUNDS, sizeof(tx_t[0]), by_value);
	printf("%-6s %5u B: from the guest %5.1f, to the guest %5.1f cycles/packet\n",
		packed ? "packed" : "split", frame, (double)rx_t[median] / BURST,
		(double)tx_t[median] / BURST);
}

int main(int argc, char **argv)
{
	char *args[] = { (char[]){ "m" }, (char[]){ "--no-huge" }, (char[]){ "--no-pci" },
		(char[]){ "-m" }, (char[]){ "64" }, (char[]){ "--no-shconf" },
		(char[]){ "--no-telemetry" }, (char[]){ "-l" }, (char[]){ "0" },
		(char[]){ "--log-level" }, (char[]){ "error" } };
	uint32_t frame = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 64;
	struct rte_mempool *pool;

	if (frame < 60 || frame > 1514)
		die("frames of 60 to 1514 bytes");
	if (rte_eal_init((int)(sizeof(args) / sizeof(args[0])), args) < 0)
		die("EAL");
	pool = rte_pktmbuf_pool_create("m", 2047, 64, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	if (!pool)
		die("pool");
	if (argc <= 2 || !strcmp(argv[2], "split"))
		run(pool, false, frame);
	if (argc <= 2 || !strcmp(argv[2], "packed"))
		run(pool, true, frame);
	return 0;
}
