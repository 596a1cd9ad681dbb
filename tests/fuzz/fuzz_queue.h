/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzzed virtqueue: the input's first bytes choose size, features and base, the rest becomes the
 * guest's memory, ring parts included. Pop until the ring is empty or stopped, push back, notify.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "queue.h"

#define FUZZ_GPA 0x1000ULL
#define FUZZ_LEN 0x4000ULL // two regions of half that
#define FUZZ_ROUNDS 300 // requests served per input

static inline void fuzz_queue(const uint8_t *data, size_t len, uint64_t layout, uint16_t size_max)
{
	static struct vho_mem *mem;
	static uint8_t *ram;
	static struct vho_queue q;
	struct vho_queue_conf conf = { .call_fd = -1, .err_fd = -1 };
	struct iovec iov[64];

	if (len < 8)
		return;
	if (!mem) {
		struct vho_mem_region r[] = {
			{ .gpa = FUZZ_GPA, .size = FUZZ_LEN / 2, .uva = FUZZ_GPA },
			{ .gpa = FUZZ_GPA + FUZZ_LEN / 2,
				.size = FUZZ_LEN / 2,
				.uva = 8 * FUZZ_LEN,
				.mmap_off = FUZZ_LEN / 2 },
		};
		int fd = memfd_create("fuzz", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, FUZZ_LEN) ||
			vho_mem_create(r, (int[]){ fd, fd }, 2, &mem))
			abort();
		ram = mmap(NULL, FUZZ_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (ram == MAP_FAILED)
			abort();
		close(fd);
	}
	conf.mem = mem;
	conf.features = 1ULL << VIRTIO_F_VERSION_1 | layout |
			(uint64_t)(data[0] & 1) << VIRTIO_RING_F_EVENT_IDX |
			(uint64_t)(data[0] >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC |
			(uint64_t)(data[0] >> 2 & 1) << VIRTIO_F_IN_ORDER;
	conf.size = layout ? (uint32_t)data[1] % size_max + 1 : 1u << data[1] % 7;
	memcpy(&conf.base, data + 2, layout ? 4 : 2);
	// Close together, so that short inputs reach all of it: what the driver writes comes first.
	conf.driver_gpa = FUZZ_GPA;
	conf.desc_gpa = FUZZ_GPA + (layout ? 16 : (6 + 2 * conf.size + 15) / 16 * 16);
	conf.device_gpa = conf.desc_gpa + 16 * conf.size;
	data += 8;
	len -= 8;
	memset(ram, 0, FUZZ_LEN);
	memcpy(ram, data, len < FUZZ_LEN ? len : FUZZ_LEN);
	if (vho_queue_setup(&q, &conf))
		return;
	for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
		struct vho_chain c = { .iov = iov, .max = 64 };
		uint64_t sum = 0;

		if (vho_queue_pop(&q, &c) <= 0)
			break;
		if (c.elem.n_slots == 0 || c.elem.n_slots > conf.size)
			abort();
		for (unsigned k = 0; k < (unsigned)c.n_out + c.n_in; k++) {
			const volatile uint8_t *p = iov[k].iov_base;

			(void)p[0]; // inside a mapping, or the sanitizer speaks
			(void)p[iov[k].iov_len - 1];
			sum += iov[k].iov_len;
		}
		if (sum != c.out_len + c.in_len)
			abort();
		if (c.n_in)
			memset(iov[c.n_out].iov_base, (int)i, iov[c.n_out].iov_len);
		vho_queue_push(&q, &c.elem, (uint32_t)c.in_len);
		if (i % 3 == 0)
			vho_queue_publish(&q);
		vho_queue_notify(&q);
		(void)vho_queue_arm(&q);
	}
	vho_queue_publish(&q);
	vho_queue_teardown(&q);
}
