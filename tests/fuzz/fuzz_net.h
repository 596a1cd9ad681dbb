/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet bursts over a hostile ring, the same for every way that they can go: the general one,
 * which a dirty log forces, and the fast ones, as this CPU can run them. All must come to the same
 * end.
 *
 * The input's first bytes choose layout, size and features, the next ones packets (card to guest),
 * the rest becomes the driver's part of the ring and then the buffers. Ring and buffers lie far
 * apart: where an input names an address inside the ring's memory, what the device writes there may
 * change what it reads later, and the ways may differ.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "mbuf_env.h"
#include "net_fast.h"

#define FUZZ_RING_GPA (1ULL << 40)
#define FUZZ_RING_LEN 0x2000U
#define FUZZ_DATA_GPA 0x1000ULL
#define FUZZ_DATA_LEN 0x2000U
#define FUZZ_SIZE_MAX 64U
#define FUZZ_CONF 8U // bytes of choices
#define FUZZ_SPEC 40U // bytes that choose packets
#define FUZZ_BURST 33U // one more than a burst

enum fuzz_choice {
	FUZZ_PACKED = 1,
	FUZZ_EVENT = 2,
	FUZZ_INDIRECT = 4,
	FUZZ_IN_ORDER = 8,
	FUZZ_MERGE = 16,
	FUZZ_OFFLOADS = 32,
	FUZZ_LEGACY = 64,
	FUZZ_ANY_BASE = 128, // packed: used and available position apart; nothing is compared then
};

struct fuzz_net {
	struct vho_mem *mem;
	uint8_t *ring, *data; // our view of the guest's memory
	uint8_t log[4096];
	uint8_t choice;
	uint32_t size;
	uint64_t features;
	uint32_t base;
	const uint8_t *in; // ring image, then data image
	size_t len;
};

/* What a run came to. */
struct fuzz_end {
	uint64_t packets, hash; // taken from the guest, or delivered to it
	uint64_t drops[VHO_NET_DROP_COUNT], errors[VHO_QUEUE_ERR_COUNT];
	bool broken;
	uint16_t next_avail, next_used;
	bool avail_wrap, used_wrap;
	uint8_t ring[FUZZ_RING_LEN];
};

static inline void fuzz_net_memory(struct fuzz_net *f)
{
	struct vho_mem_region r[] = {
		{ .gpa = FUZZ_DATA_GPA, .size = FUZZ_DATA_LEN, .uva = FUZZ_DATA_GPA },
		{ .gpa = FUZZ_RING_GPA,
			.size = FUZZ_RING_LEN,
			.uva = FUZZ_RING_GPA,
			.mmap_off = FUZZ_DATA_LEN },
	};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (mbuf_env_start(NULL) || fd < 0 || ftruncate(fd, FUZZ_DATA_LEN + FUZZ_RING_LEN) ||
		vho_mem_create(r, (int[]){ fd, fd }, 2, &f->mem))
		abort();
	f->data = mmap(
		NULL, FUZZ_DATA_LEN + FUZZ_RING_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f->data == MAP_FAILED)
		abort();
	f->ring = f->data + FUZZ_DATA_LEN;
	close(fd);
}

static inline bool fuzz_is(const struct fuzz_net *f, enum fuzz_choice c)
{
	return f->choice & c;
}

static inline uint64_t fuzz_bit(const struct fuzz_net *f, enum fuzz_choice c, unsigned feature)
{
	return fuzz_is(f, c) ? 1ULL << feature : 0;
}

/* False: too short to mean anything. */
static inline bool fuzz_net_choose(struct fuzz_net *f, const uint8_t *in, size_t len)
{
	uint16_t at;

	if (len < FUZZ_CONF + FUZZ_SPEC)
		return false;
	f->choice = in[0];
	if (fuzz_is(f, FUZZ_PACKED))
		f->choice &= (uint8_t)~FUZZ_LEGACY;
	f->size = fuzz_is(f, FUZZ_PACKED) ? in[1] % FUZZ_SIZE_MAX + 1 : 1U << in[1] % 7;
	f->features = (fuzz_is(f, FUZZ_LEGACY) ? 0 : 1ULL << VIRTIO_F_VERSION_1) |
		      fuzz_bit(f, FUZZ_PACKED, VIRTIO_F_RING_PACKED) |
		      fuzz_bit(f, FUZZ_EVENT, VIRTIO_RING_F_EVENT_IDX) |
		      fuzz_bit(f, FUZZ_INDIRECT, VIRTIO_RING_F_INDIRECT_DESC) |
		      fuzz_bit(f, FUZZ_IN_ORDER, VIRTIO_F_IN_ORDER) |
		      fuzz_bit(f, FUZZ_MERGE, VIRTIO_NET_F_MRG_RXBUF);
	if (fuzz_is(f, FUZZ_OFFLOADS))
		f->features |= 1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_GUEST_CSUM |
			       1ULL << VIRTIO_NET_F_HOST_TSO4 | 1ULL << VIRTIO_NET_F_GUEST_TSO4 |
			       1ULL << VIRTIO_NET_F_HOST_TSO6 | 1ULL << VIRTIO_NET_F_GUEST_TSO6;
	memcpy(&at, in + 2, 2);
	f->base = at;
	if (fuzz_is(f, FUZZ_PACKED)) {
		at = (uint16_t)((at & 0x8000) | (at & 0x7fff) % f->size);
		f->base = at | (uint32_t)at << 16;
		if (fuzz_is(f, FUZZ_ANY_BASE))
			memcpy((uint8_t *)&f->base + 2, in + 4, 2);
	}
	f->in = in + FUZZ_CONF + FUZZ_SPEC;
	f->len = len - FUZZ_CONF - FUZZ_SPEC;
	return true;
}

/* The guest's memory as the input says: driver's part of the ring, then buffers. */
static inline void fuzz_net_fill(struct fuzz_net *f)
{
	size_t desc = 16 * f->size,
	       avail = fuzz_is(f, FUZZ_PACKED) ? 0 : (6 + 2 * f->size + 15) & ~15u;
	size_t n = f->len < desc + avail ? f->len : desc + avail;

	memset(f->data, 0, FUZZ_DATA_LEN + FUZZ_RING_LEN);
	memcpy(f->ring, f->in, n);
	memcpy(f->data, f->in + n, f->len - n < FUZZ_DATA_LEN ? f->len - n : FUZZ_DATA_LEN);
}

/* Some eight bytes of the input would, as an address, lie in the ring's memory. */
static inline bool fuzz_net_names_ring(const struct fuzz_net *f)
{
	for (size_t i = 0; i + 8 <= f->len; i++) {
		uint64_t v;

		memcpy(&v, f->in + i, 8);
		if (v - FUZZ_RING_GPA < FUZZ_RING_LEN)
			return true;
	}
	return false;
}

/* A function whose queue `idx` stands on that memory; NULL: the queue does not start. */
static inline struct vho_net *fuzz_net_open(
	struct fuzz_net *f, unsigned idx, const struct vho_net_fast *fast)
{
	static const struct vho_host host;
	struct vho_net_conf conf = { .name = "f",
		.max_pairs = 1,
		.mtu = 9000,
		.pool = mbuf_pool,
		.mac = { 2, 0, 0, 0, 0, 1 } };
	uint32_t avail = fuzz_is(f, FUZZ_PACKED) ? 0 : (6 + 2 * f->size + 15) & ~15u;
	struct vho_queue_conf qc = { .mem = f->mem,
		.features = f->features,
		.size = f->size,
		.base = f->base,
		.desc_gpa = FUZZ_RING_GPA + avail,
		.driver_gpa = FUZZ_RING_GPA,
		.device_gpa = FUZZ_RING_GPA + 0x1000,
		.out_only = idx == 1, // as for every transmitq
		.call_fd = -1,
		.err_fd = -1 };
	struct vho_net *net;
	struct vho_dev *dev;

	if (fuzz_is(f, FUZZ_PACKED))
		qc.driver_gpa = FUZZ_RING_GPA + 0x1800;
	if (!fast)
		qc.log = (struct vho_dirty_log){ f->log, sizeof(f->log) };
	if (vho_net_create(&conf, &host, &net))
		abort();
	if (fast)
		net->fast = fast;
	dev = vho_net_dev(net);
	if (vho_dev_set_features(dev, f->features))
		abort();
	if (vho_queue_setup(&dev->queues[idx].q, &qc)) {
		vho_net_destroy(net);
		return NULL;
	}
	dev->queues[idx].q.running = true;
	dev->queues[idx].enabled = true;
	return net;
}

static inline void fuzz_net_close(
	struct fuzz_net *f, struct vho_net *net, unsigned idx, struct fuzz_end *end)
{
	struct vho_queue *q = &vho_net_dev(net)->queues[idx].q;
	const struct vho_net_stats *st = vho_net_stats(net, 0);

	vho_dev_queue_run(vho_net_dev(net), idx, false);
	for (unsigned i = 0; i < VHO_NET_DROP_COUNT; i++)
		end->drops[i] = dpu_counter_read(&st->drops[i]);
	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		end->errors[i] = dpu_counter_read(&q->stats.errors[i]);
	end->broken = q->broken;
	end->next_avail = q->next_avail;
	end->next_used = q->next_used;
	end->avail_wrap = q->avail_wrap;
	end->used_wrap = q->used_wrap;
	// With IN_ORDER one used element may stand for many
	if (!fuzz_is(f, FUZZ_IN_ORDER))
		memcpy(end->ring, f->ring, FUZZ_RING_LEN);
	vho_queue_teardown(q);
	vho_net_destroy(net);
}

/* The two ways came to different ends: say where, and stop. */
static inline void fuzz_differ(const struct fuzz_end *a, const struct fuzz_end *b, const char *fast)
{
	fprintf(stderr, "general and %s differ:\n", fast);
	fprintf(stderr, "packets %lu %lu, hash %lx %lx\n", (unsigned long)a->packets,
		(unsigned long)b->packets, (unsigned long)a->hash, (unsigned long)b->hash);
	for (unsigned i = 0; i < VHO_NET_DROP_COUNT; i++)
		if (a->drops[i] != b->drops[i])
			fprintf(stderr, "%s %lu %lu\n", vho_net_drop_name((enum vho_net_drop)i),
				(unsigned long)a->drops[i], (unsigned long)b->drops[i]);
	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		if (a->errors[i] != b->errors[i])
			fprintf(stderr, "%s %lu %lu\n",
				vho_queue_error_name((enum vho_queue_error)i),
				(unsigned long)a->errors[i], (unsigned long)b->errors[i]);
	fprintf(stderr, "available %u.%d %u.%d, used %u.%d %u.%d\n", a->next_avail, a->avail_wrap,
		b->next_avail, b->avail_wrap, a->next_used, a->used_wrap, b->next_used,
		b->used_wrap);
	for (unsigned i = 0; i < FUZZ_RING_LEN; i++)
		if (a->ring[i] != b->ring[i])
			fprintf(stderr, "ring byte %#x: %02x %02x\n", i, a->ring[i], b->ring[i]);
	abort();
}

static inline void fuzz_hash(uint64_t *h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*h = (*h ^ ((const uint8_t *)p)[i]) * 0x100000001b3ULL;
}
