// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: recovery from an inflight region of any content, beside a ring of any content, both
 * layouts; then the queue goes on with it.
 *
 * Input: choices (8 bytes), the queue's part of the region, the driver's part of the ring.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inflight_steps.h"
#include "queue.h"

#define GPA 0x1000ULL
#define LEN 0x4000ULL
#define ENTRIES_MAX 16U // of the region
#define CONF 8U
#define ROUNDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct vho_mem *mem;
static uint8_t *ram;

static void set_up(void)
{
	struct vho_mem_region r = { .gpa = GPA, .size = LEN, .uva = GPA };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, LEN) || vho_mem_create(&r, &fd, 1, &mem))
		abort();
	ram = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ram == MAP_FAILED)
		abort();
	close(fd);
}

static void check(const struct vho_queue *q, const struct vho_inflight_queue *iq)
{
	if (iq->n_resubmit > iq->size)
		abort();
	for (uint16_t i = 0; i < iq->n_resubmit; i++)
		if (iq->resubmit[i] >= iq->size)
			abort();
	if (q->packed && (q->next_avail >= q->size || q->next_used >= q->size))
		abort();
}

static void go_on(struct vho_queue *q)
{
	struct iovec iov[32];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct vho_chain c = { .iov = iov, .max = 32 };

		if (vho_queue_pop(q, &c) <= 0)
			break;
		if (c.elem.n_slots == 0 || c.elem.n_slots > q->size)
			abort();
		vho_queue_push(q, &c.elem, 0);
		if (i % 3 == 0)
			vho_queue_publish(q);
	}
	vho_queue_publish(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct vho_queue q;
	struct vho_queue_conf conf = { .call_fd = -1, .err_fd = -1 };
	bool packed = len > 0 && data[0] & 1;
	struct vho_inflight *inf;
	size_t region, n;

	if (!mem)
		set_up();
	if (len < CONF || vho_inflight_create(1, data[2] % ENTRIES_MAX + 1, packed, &inf))
		return 0;
	conf.mem = mem;
	conf.inflight = vho_inflight_queue(inf, 0);
	conf.features = 1ULL << VIRTIO_F_VERSION_1 | (packed ? 1ULL << VIRTIO_F_RING_PACKED : 0) |
			(uint64_t)(data[0] >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC |
			(uint64_t)(data[0] >> 2 & 1) << VIRTIO_F_IN_ORDER;
	conf.size = packed ? data[1] % ENTRIES_MAX + 1U : 1U << data[1] % 5;
	memcpy(&conf.base, data + 4, packed ? 4 : 2);
	conf.driver_gpa = GPA;
	conf.desc_gpa = GPA + (packed ? 16 : (6 + 2 * conf.size + 15) / 16 * 16);
	conf.device_gpa = conf.desc_gpa + 16 * conf.size;
	data += CONF;
	len -= CONF;
	region = packed ? sizeof(struct vho_inflight_packed) +
				  inf->queue_size * sizeof(struct vho_inflight_packed_desc)
			: sizeof(struct vho_inflight_split) +
				  inf->queue_size * sizeof(struct vho_inflight_split_desc);
	n = len < region ? len : region;
	memcpy(inf->base, data, n);
	memset(ram, 0, LEN);
	memcpy(ram, data + n, len - n < LEN ? len - n : LEN);
	if (vho_queue_setup(&q, &conf) == 0) {
		check(&q, conf.inflight);
		go_on(&q);
		vho_queue_teardown(&q);
	}
	vho_inflight_destroy(inf);
	return 0;
}
