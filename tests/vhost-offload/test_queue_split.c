// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "vq.h"

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT
#define GOOD VHO_QUEUE_ERR_COUNT

static const struct chain_case {
	const char *name;
	uint64_t features;
	struct vring_desc d[4]; // descriptor table; head is 0
	struct vring_desc t[4]; // indirect table at VQ_TABLE
	uint16_t head;
	int ret;
	enum vho_queue_error why;
	uint16_t n_out, n_in;
	uint64_t out_len, in_len;
} chains[] = {
	{ "one readable", 0, { { VQ_BUF, 64, 0, 0 } }, .ret = 1, .why = GOOD, .n_out = 1,
		.out_len = 64 },
	{ "readable then writable", 0, { { VQ_BUF, 16, N, 2 }, { 0 }, { VQ_BUF, 512, W, 0 } },
		.ret = 1, .why = GOOD, .n_out = 1, .n_in = 1, .out_len = 16, .in_len = 512 },
	{ "VS-05 head is the ring size", .head = 8, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDEX },
	{ "VS-05 head 0xffff", .head = 0xffff, .ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDEX },
	{ "next is the ring size", 0, { { VQ_BUF, 64, N, 8 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDEX },
	{ "a loop of two", 0, { { VQ_BUF, 1, N, 1 }, { VQ_BUF, 1, N, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_CHAIN },
	{ "readable after writable", 0, { { VQ_BUF, 8, W | N, 1 }, { VQ_BUF, 8, 0, 0 } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_CHAIN },
	{ "address in the hole", 0, { { VQ_END, 1, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "last byte in the hole", 0, { { VQ_END - 63, 64, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-07 wild address, length 0", 0, { { 0xfffffffffffffff0, 0, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-07 wild address, length 0, last", 0,
		{ { VQ_BUF, 4, N, 1 }, { 0xfffffffffffffff0, 0, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-07 length 0 first, middle and last", 0,
		{ { VQ_BUF, 0, N, 1 }, { VQ_BUF, 4, N, 2 }, { VQ_BUF, 0, N, 3 },
			{ VQ_BUF, 0, W, 0 } },
		.ret = 1, .why = GOOD, .n_out = 1, .out_len = 4 },
	{ "segment over two regions", 0, { { VQ_SEAM - 10, 30, 0, 0 } }, .ret = 1, .why = GOOD,
		.n_out = 2, .out_len = 30 },
	{ "VS-08 lengths past the memory", 0, { { VQ_BUF, UINT32_MAX, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-09 indirect without the feature", 0, { { VQ_TABLE, 16, I, 0 } },
		{ { VQ_BUF, 1, 0, 0 } }, .ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 indirect and next", VQ_INDIRECT,
		{ { VQ_TABLE, 16, I | N, 1 }, { VQ_BUF, 1, 0, 0 } }, { { VQ_BUF, 1, 0, 0 } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 nested", VQ_INDIRECT, { { VQ_TABLE, 16, I, 0 } }, { { VQ_TABLE, 16, I, 0 } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table length 15", VQ_INDIRECT, { { VQ_TABLE, 15, I, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table length 0", VQ_INDIRECT, { { VQ_TABLE, 0, I, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table length 0xfffffff0", VQ_INDIRECT, { { VQ_TABLE, 0xfffffff0, I, 0 } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table over two regions", VQ_INDIRECT, { { VQ_SEAM - 16, 32, I, 0 } },
		.ret = -EFAULT, .why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-09 next past the table", VQ_INDIRECT, { { VQ_TABLE, 32, I, 0 } },
		{ { VQ_BUF, 1, N, 2 } }, .ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "loop in the table", VQ_INDIRECT, { { VQ_TABLE, 32, I, 0 } },
		{ { VQ_BUF, 1, N, 1 }, { VQ_BUF, 1, N, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_CHAIN },
	{ "VS-09 write flag on the indirect descriptor is ignored", VQ_INDIRECT,
		{ { VQ_TABLE, 32, I | W, 0 } }, { { VQ_BUF, 5, N, 1 }, { VQ_BUF, 7, W, 0 } },
		.ret = 1, .why = GOOD, .n_out = 1, .n_in = 1, .out_len = 5, .in_len = 7 },
	{ "VS-09 chain, then indirect", VQ_INDIRECT,
		{ { VQ_BUF, 3, N, 1 }, { VQ_TABLE, 16, I, 0 } }, { { VQ_BUF, 9, W, 0 } }, .ret = 1,
		.why = GOOD, .n_out = 1, .n_in = 1, .out_len = 3, .in_len = 9 },
};

static void chain(void **state)
{
	const struct chain_case *t = *state;
	struct iovec iov[16];
	struct vho_chain c = { .iov = iov, .max = 16 };
	struct vq v;

	vq_open(&v);
	vq_start(&v, VQ_SPLIT | t->features, 8);
	memcpy(vq_desc(&v), t->d, sizeof(t->d));
	memcpy(vq_at(&v, VQ_TABLE), t->t, sizeof(t->t));
	vq_avail(&v, t->head);
	assert_int_equal(vho_queue_pop(&v.q, &c), t->ret);
	if (t->ret == 1) {
		assert_int_equal(c.n_out, t->n_out);
		assert_int_equal(c.n_in, t->n_in);
		assert_int_equal(c.out_len, t->out_len);
		assert_int_equal(c.in_len, t->in_len);
		assert_false(v.q.broken);
	} else {
		assert_true(v.q.broken);
		assert_int_equal(dpu_counter_read(&v.q.stats.errors[t->why]), 1);
		assert_int_equal(vq_signals(v.err_fd), 1);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0);
	}
	vq_close(&v);
}

static const struct index_case {
	const char *name;
	uint16_t base, idx;
	bool ok;
} indexes[] = {
	{ "VS-04 index moved back by 1", 5, 4, false },
	{ "VS-04 index jumped by more than the ring", 5, 5 + 9, false },
	{ "a full ring", 0xfffe, 6, true },
	{ "nothing new", 7, 7, true },
};

static void avail_index(void **state)
{
	const struct index_case *t = *state;
	struct iovec iov[2];
	struct vho_chain c = { .iov = iov, .max = 2 };
	struct vho_queue_conf conf;
	struct vq v;

	vq_open(&v);
	conf = vq_conf(&v, VQ_SPLIT, 8);
	conf.base = t->base;
	vq_desc(&v)[0] = (struct vring_desc){ VQ_BUF, 1, 0, 0 };
	((struct vring_avail *)vq_at(&v, VQ_DRIVER))->idx = t->idx;
	assert_int_equal(vho_queue_setup(&v.q, &conf), 0);
	if (t->ok) {
		for (uint16_t i = t->base; i != t->idx; i++)
			assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0);
		assert_int_equal(vho_queue_base(&v.q), t->idx);
	} else {
		assert_int_equal(vho_queue_pop(&v.q, &c), -EBADMSG);
		assert_int_equal(dpu_counter_read(&v.q.stats.errors[VHO_QUEUE_ERR_BAD_AVAIL]), 1);
	}
	vq_close(&v);
}

static const struct setup_case {
	const char *name;
	uint32_t size, base;
	uint64_t desc, driver, device;
	int ret;
} setups[] = {
	{ "size 1", 1, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE, 0 },
	{ "size 32768", 32768, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE, 0 },
	{ "size 0", 0, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE, -EINVAL },
	{ "size 65536", 65536, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE, -EINVAL },
	{ "no power of two", 3, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE, -EINVAL },
	{ "base out of range", 8, 65536, VQ_DESC, VQ_DRIVER, VQ_DEVICE, -EINVAL },
	{ "descriptors misaligned", 8, 0, VQ_DESC + 8, VQ_DRIVER, VQ_DEVICE, -EINVAL },
	{ "used ring misaligned", 8, 0, VQ_DESC, VQ_DRIVER, VQ_DEVICE + 2, -EINVAL },
	{ "VS-22 addresses 0", 8, 0, 0, 0, 0, -EFAULT },
	{ "used ring over the end", 8, 0, VQ_DESC, VQ_DRIVER, VQ_END - 64, -EFAULT },
};

static void setup(void **state)
{
	const struct setup_case *t = *state;
	struct vho_queue_conf conf;
	struct vq v;

	vq_open(&v);
	conf = vq_conf(&v, VQ_SPLIT, t->size);
	conf.base = t->base;
	conf.desc_gpa = t->desc;
	conf.driver_gpa = t->driver;
	conf.device_gpa = t->device;
	assert_int_equal(vho_queue_setup(&v.q, &conf), t->ret);
	vq_close(&v);
}

static void vs08_sum_in_64_bits(void **state)
{
	struct iovec iov[64];
	struct vho_chain c = { .iov = iov, .max = 64 };
	struct vring_desc *d;
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT, 32768);
	d = vq_desc(&v);
	// 2^21 bytes each: the sum passes 2^32 long before the ring ends
	for (unsigned i = 0; i < 32768; i++)
		d[i] = (struct vring_desc){ VQ_SEAM, VQ_REGION, N, (uint16_t)(i + 1) };
	c.max = 4096;
	struct iovec *many = test_calloc(4096, sizeof(*many));

	c.iov = many;
	vq_avail(&v, 0);
	assert_int_equal(vho_queue_pop(&v.q, &c), -EBADMSG);
	assert_int_equal(dpu_counter_read(&v.q.stats.errors[VHO_QUEUE_ERR_TOO_LONG]), 1);
	test_free(many);
	vq_close(&v);
}

static void vs18_more_segments_than_room(void **state)
{
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT, 8);
	for (uint16_t i = 0; i < 8; i++)
		vq_desc(&v)[i] = (struct vring_desc){ VQ_BUF, 1, i < 7 ? N : 0, (uint16_t)(i + 1) };
	vq_avail(&v, 0);
	assert_int_equal(vho_queue_pop(&v.q, &c), -E2BIG);
	assert_true(v.q.broken);
	vq_close(&v);
}

static void vs19_log_shorter_than_memory(void **state)
{
	uint8_t log[8] = { 0 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT, 8);
	v.q.log = (struct vho_dirty_log){ log + 2, 4 };
	vho_queue_log_write(&v.q, 0x1000, 0x1001); // pages 1 and 2
	vho_queue_log_write(&v.q, 31 * 4096, 1);
	vho_queue_log_write(&v.q, 32 * 4096, 1); // first page past the log
	vho_queue_log_write(&v.q, UINT64_MAX - 1, 100);
	assert_memory_equal(log, ((uint8_t[]){ 0, 0, 6, 0, 0, 0x80, 0, 0 }), 8);
	v.q.log.base = NULL;
	vq_close(&v);
}

/* VHOST_VRING_F_LOG decides about the used ring, and the address that comes with it where. */
static const struct log_case {
	const char *name;
	bool used;
	uint64_t gpa;
} logs[] = {
	{ "log of buffers alone", false, VQ_DEVICE },
	{ "log of buffers and used ring", true, VQ_DEVICE },
	{ "log of the used ring under another address", true, VQ_DEVICE + 0x5000 },
};

static bool logged(const uint8_t *log, uint64_t gpa)
{
	return log[(gpa >> 12) / 8] >> (gpa >> 12) % 8 & 1;
}

static void log_of_writes(void **state)
{
	static uint8_t log[4096];
	const struct log_case *t = *state;
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vho_queue_conf conf;
	struct vq v;

	memset(log, 0, sizeof(log));
	vq_open(&v);
	conf = vq_conf(&v, VQ_SPLIT, 8);
	conf.log = (struct vho_dirty_log){ log, sizeof(log) };
	conf.log_used = t->used;
	conf.used_log_gpa = t->gpa;
	assert_int_equal(vho_queue_setup(&v.q, &conf), 0);
	vq_desc(&v)[0] = (struct vring_desc){ VQ_SEAM - 1, 2, W, 0 };
	vq_avail(&v, 0);
	assert_int_equal(vho_queue_pop(&v.q, &c), 1);
	assert_false(logged(log, VQ_SEAM));
	vho_queue_push(&v.q, &c.elem, 2);
	vho_queue_publish(&v.q);
	assert_true(logged(log, VQ_SEAM));
	assert_true(logged(log, VQ_SEAM - 1));
	for (uint64_t at = VQ_DEVICE; at <= VQ_DEVICE + 0x5000; at += 0x5000)
		assert_int_equal(logged(log, at), t->used && at == t->gpa);
	vq_close(&v);
}

static void push_and_call(void **state)
{
	struct vring_avail *a;
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT, 8);
	a = vq_at(&v, VQ_DRIVER);
	for (unsigned i = 0; i < 20; i++) {
		vq_desc(&v)[i % 8] = (struct vring_desc){ VQ_BUF, 64, W, 0 };
		vq_avail(&v, i % 8);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		vho_queue_push(&v.q, &c.elem, i);
		assert_int_equal(vq_used(&v)->idx, i); // not before publish
		a->flags = i & 1 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
		vho_queue_publish(&v.q);
		assert_int_equal(vq_used(&v)->idx, i + 1);
		assert_int_equal(vq_used(&v)->ring[i % 8].id, i % 8);
		assert_int_equal(vq_used(&v)->ring[i % 8].len, i);
		vho_queue_notify(&v.q);
		vho_queue_notify(&v.q); // nothing new: no second signal
		assert_int_equal(vq_signals(v.call_fd), !(i & 1));
	}
	vq_close(&v);
}

static void event_index(void **state)
{
	struct vring_avail *a;
	uint16_t wish;
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT | VQ_EVENT, 8);
	a = vq_at(&v, VQ_DRIVER);
	vq_desc(&v)[0] = (struct vring_desc){ VQ_BUF, 64, W, 0 };
	a->ring[8] = 2; // signal when the third is used
	for (unsigned i = 0; i < 6; i++) {
		vq_avail(&v, 0);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		vho_queue_push(&v.q, &c.elem, 0);
		vho_queue_publish(&v.q);
		vho_queue_notify(&v.q);
		// the first is always signalled: what was before the start is unknown
		assert_int_equal(vq_signals(v.call_fd), i == 0 || i == 2);
	}
	assert_true(vho_queue_arm(&v.q));
	memcpy(&wish, &vq_used(&v)->ring[8], sizeof(wish));
	assert_int_equal(wish, 6);
	vq_avail(&v, 0);
	assert_false(vho_queue_arm(&v.q));
	assert_true(vho_queue_ready(&v.q));
	vq_close(&v);
}

/* VU-16: the front-end filled the counter of a blocking eventfd. */
static void vu16_full_call_fd(void **state)
{
	uint64_t full = UINT64_MAX - 1, n;
	int fd = eventfd(0, EFD_CLOEXEC), file = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	vho_notify_fd(fd);
	vho_notify_fd(fd);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	for (unsigned i = 0; i < 1000; i++)
		vho_notify_fd(fd);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1000);
	vho_notify_fd(file);
	assert_int_equal(lseek(file, 0, SEEK_END), 0);
	vho_notify_fd(-1);
	close(fd);
	close(file);
}

/* A restarted back-end is told base 0 by a front-end that does not know better. */
static void base_unknown(void **state)
{
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_used(&v)->idx = 100;
	v.avail = 100;
	v.q.size = 8;
	vq_desc(&v)[5] = (struct vring_desc){ VQ_BUF, 64, 0, 0 };
	vq_avail(&v, 5);
	vq_start(&v, VQ_SPLIT, 8);
	assert_int_equal(vho_queue_pop(&v.q, &c), 1);
	assert_int_equal(c.elem.id, 5);
	vho_queue_push(&v.q, &c.elem, 0);
	vho_queue_publish(&v.q);
	assert_int_equal(vq_used(&v)->idx, 101);
	assert_int_equal(vho_queue_base(&v.q), 101);
	vq_close(&v);
}

static void in_order(void **state)
{
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vho_elem e[4];
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_SPLIT | VQ_IN_ORDER, 8);
	for (uint16_t i = 0; i < 4; i++) {
		vq_desc(&v)[i] = (struct vring_desc){ VQ_BUF, 64, W, 0 };
		vq_avail(&v, i);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		e[i] = c.elem;
	}
	for (unsigned k = 0; k < 4; k++) {
		unsigned i = (unsigned[]){ 2, 0, 3, 1 }[k];

		vho_queue_push(&v.q, &e[i], i);
		vho_queue_publish(&v.q);
		assert_int_equal(vq_used(&v)->idx, ((unsigned[]){ 0, 1, 1, 4 })[k]);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vq_used(&v)->ring[i].id, i);
	vq_close(&v);
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(vs08_sum_in_64_bits),
		cmocka_unit_test(vs18_more_segments_than_room),
		cmocka_unit_test(vs19_log_shorter_than_memory),
		cmocka_unit_test(push_and_call),
		cmocka_unit_test(event_index),
		cmocka_unit_test(vu16_full_call_fd),
		cmocka_unit_test(in_order),
		cmocka_unit_test(base_unknown),
	};
	int failed = 0;

	RUN_ROWS(chains, chain, failed);
	RUN_ROWS(indexes, avail_index, failed);
	RUN_ROWS(setups, setup, failed);
	RUN_ROWS(logs, log_of_writes, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
