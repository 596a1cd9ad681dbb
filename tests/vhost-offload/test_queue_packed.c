// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "vq.h"

#define N VRING_DESC_F_NEXT
#define W VRING_DESC_F_WRITE
#define I VRING_DESC_F_INDIRECT
#define GOOD VHO_QUEUE_ERR_COUNT

struct slot {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

static const struct chain_case {
	const char *name;
	uint64_t features;
	unsigned n;
	struct slot s[4];
	struct vring_packed_desc t[3];
	int ret;
	enum vho_queue_error why;
	uint16_t id, n_slots, n_out, n_in;
	unsigned empty; // descriptors of length 0 in the table
	bool out_only;
} chains[] = {
	{ "WRITE in a transmitq's table means nothing", VQ_INDIRECT, 1, { { VQ_TABLE, 48, 3, I } },
		{ { VQ_BUF, 12, 0, W }, { VQ_BUF, 7, 0, 0 }, { VQ_BUF, 9, 0, W } }, .ret = 1,
		.why = GOOD, .id = 3, .n_slots = 1, .n_out = 3, .out_only = true },
	{ "WRITE first in another queue's table", VQ_INDIRECT, 1, { { VQ_TABLE, 32, 3, I } },
		{ { VQ_BUF, 12, 0, W }, { VQ_BUF, 7, 0, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_CHAIN },
	{ "one readable", 0, 1, { { VQ_BUF, 64, 5, 0 } }, .ret = 1, .why = GOOD, .id = 5,
		.n_slots = 1, .n_out = 1 },
	{ "VP-06 the last element's id counts", 0, 3,
		{ { VQ_BUF, 1, 7, N }, { VQ_BUF, 1, 99, N }, { VQ_BUF, 1, 2, W } }, .ret = 1,
		.why = GOOD, .id = 2, .n_slots = 3, .n_out = 2, .n_in = 1 },
	{ "VP-04 id is the ring size", 0, 1, { { VQ_BUF, 1, 8, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDEX },
	{ "readable after writable", 0, 2, { { VQ_BUF, 1, 0, W | N }, { VQ_BUF, 1, 0, 0 } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_CHAIN },
	{ "VS-07 wild address, length 0", 0, 1, { { ~0xfULL, 0, 0, 0 } }, .ret = -EFAULT,
		.why = VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-18 more empty buffers than segments allowed", VQ_INDIRECT, 1,
		{ { VQ_TABLE, 17 * 16, 0, I } }, .ret = -E2BIG, .why = VHO_QUEUE_ERR_BAD_CHAIN,
		.empty = 17 },
	{ "as many empty buffers as segments allowed", VQ_INDIRECT, 1,
		{ { VQ_TABLE, 16 * 16, 0, I } }, .ret = 1, .why = GOOD, .n_slots = 1, .empty = 16 },
	{ "segment over two regions", 0, 1, { { VQ_SEAM - 10, 30, 0, 0 } }, .ret = 1, .why = GOOD,
		.n_slots = 1, .n_out = 2 },
	{ "VS-09 indirect without the feature", 0, 1, { { VQ_TABLE, 16, 0, I } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 indirect and next", VQ_INDIRECT, 2,
		{ { VQ_TABLE, 16, 0, I | N }, { VQ_BUF, 1, 0, 0 } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 nested", VQ_INDIRECT, 1, { { VQ_TABLE, 16, 0, I } }, { { VQ_TABLE, 16, 0, I } },
		.ret = -EBADMSG, .why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table length 17", VQ_INDIRECT, 1, { { VQ_TABLE, 17, 0, I } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 table length 0", VQ_INDIRECT, 1, { { VQ_TABLE, 0, 0, I } }, .ret = -EBADMSG,
		.why = VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 write flag on the indirect descriptor is ignored", VQ_INDIRECT, 1,
		{ { VQ_TABLE, 32, 3, I | W } }, { { VQ_BUF, 5, 0, 0 }, { VQ_BUF, 7, 0, W } },
		.ret = 1, .why = GOOD, .id = 3, .n_slots = 1, .n_out = 1, .n_in = 1 },
};

static void chain(void **state)
{
	const struct chain_case *t = *state;
	struct iovec iov[16];
	struct vho_chain c = { .iov = iov, .max = 16 };
	struct vq v;

	vq_open(&v);
	vq_start(&v, VQ_PACKED | t->features, 8);
	v.q.out_only = t->out_only;
	memcpy(vq_at(&v, VQ_TABLE), t->t, sizeof(t->t));
	for (unsigned i = 0; i < t->empty; i++)
		((struct vring_packed_desc *)vq_at(&v, VQ_TABLE))[i].addr = VQ_BUF;
	for (unsigned i = 0; i < t->n; i++)
		vq_put(&v, t->s[i].addr, t->s[i].len, t->s[i].id, t->s[i].flags);
	assert_int_equal(vho_queue_pop(&v.q, &c), t->ret);
	if (t->ret == 1) {
		assert_int_equal(c.elem.id, t->id);
		assert_int_equal(c.elem.n_slots, t->n_slots);
		assert_int_equal(c.n_out, t->n_out);
		assert_int_equal(c.n_in, t->n_in);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0);
		assert_false(v.q.broken);
	} else {
		assert_int_equal(dpu_counter_read(&v.q.stats.errors[t->why]), 1);
		assert_int_equal(vq_signals(v.err_fd), 1);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0);
	}
	vq_close(&v);
}

/* VP-01: sizes that are no power of two, and the largest: several rounds of the ring. */
static const struct size_case {
	const char *name;
	uint32_t size;
} sizes[] = {
	{ "VP-01 size 1", 1 },
	{ "VP-01 size 3", 3 },
	{ "VP-01 size 1000", 1000 },
	{ "VP-01 size 32768", 32768 },
};

static void rounds(void **state)
{
	const struct size_case *t = *state;
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	vq_open(&v);
	vq_start(&v, VQ_PACKED, t->size);
	for (uint32_t i = 0; i < 3 * t->size; i++) {
		bool wrap = v.wrap;
		uint16_t slot = v.avail;

		vq_put(&v, VQ_BUF, 64, (uint16_t)(i % t->size), W);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0);
		c.elem.n_in = 0;
		vho_queue_push(&v.q, &c.elem, i);
		assert_false(vq_slot_used(&v, slot, wrap)); // held back until publish
		vho_queue_publish(&v.q);
		assert_true(vq_slot_used(&v, slot, wrap));
		assert_int_equal(vq_pdesc(&v)[slot].id, i % t->size);
		assert_int_equal(vq_pdesc(&v)[slot].len, i);
	}
	vq_close(&v);
}

static void vp02_next_everywhere(void **state)
{
	struct iovec iov[16];
	struct vho_chain c = { .iov = iov, .max = 16 };
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_PACKED, 8);
	for (unsigned i = 0; i < 8; i++)
		vq_put(&v, VQ_BUF, 1, 0, N);
	assert_int_equal(vho_queue_pop(&v.q, &c), -EBADMSG);
	assert_int_equal(dpu_counter_read(&v.q.stats.errors[VHO_QUEUE_ERR_BAD_CHAIN]), 1);
	vq_close(&v);
}

/* A batch: the driver sees nothing of it until its first slot is released. */
static void batch_first_slot_last(void **state)
{
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vho_elem e[4];
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_PACKED, 8);
	for (uint16_t i = 0; i < 4; i++) {
		vq_put(&v, VQ_BUF, 64, i, i == 1 ? N : 0);
		if (i == 1)
			vq_put(&v, VQ_BUF, 64, 1, W);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		e[i] = c.elem;
	}
	for (unsigned i = 4; i-- > 0;)
		vho_queue_push(&v.q, &e[i], 10 + i);
	assert_false(vq_slot_used(&v, 0, true));
	vho_queue_publish(&v.q);
	assert_true(vq_slot_used(&v, 0, true));
	assert_int_equal(vq_pdesc(&v)[0].id, 3);
	assert_int_equal(vq_pdesc(&v)[1].id, 2);
	assert_int_equal(vq_pdesc(&v)[2].id, 1);
	assert_int_equal(vq_pdesc(&v)[4].id, 0); // the list of two takes two slots
	assert_true(vq_slot_used(&v, 4, true));
	assert_int_equal(vho_queue_base(&v.q), 5u | 1u << 15 | 5u << 16 | 1u << 31);
	vq_close(&v);
}

static const struct event_case {
	const char *name;
	uint64_t features;
	uint16_t flags, off_wrap;
	bool call;
} events[] = {
	{ "enabled", 0, 0, 0, true },
	{ "disabled", 0, 1, 0, false },
	{ "VP-07 flags 3 is enabled", 0, 3, 0, true },
	{ "VP-07 reserved bits", 0, 0xfffc, 0, true },
	{ "descriptor event without the feature", 0, 2, 5, true },
	{ "descriptor reached", VQ_EVENT, 2, 1u << 15 | 1, true },
	{ "descriptor not reached", VQ_EVENT, 2, 1u << 15 | 3, false },
	{ "VP-07 offset beyond the ring", VQ_EVENT, 2, 1u << 15 | 0x7fff, false },
	{ "VP-07 other wrap", VQ_EVENT, 2, 1, false },
};

static void event(void **state)
{
	const struct event_case *t = *state;
	struct vring_packed_desc_event *ev;
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vq v;

	vq_open(&v);
	vq_start(&v, VQ_PACKED | t->features, 8);
	ev = vq_at(&v, VQ_DRIVER);
	ev->flags = t->flags;
	ev->off_wrap = t->off_wrap;
	for (uint16_t i = 0; i < 2; i++) {
		vq_put(&v, VQ_BUF, 64, i, W);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		vho_queue_push(&v.q, &c.elem, 1);
	}
	vho_queue_publish(&v.q);
	vho_queue_notify(&v.q);
	assert_int_equal(vq_signals(v.call_fd), t->call);
	vho_queue_notify(&v.q);
	assert_int_equal(vq_signals(v.call_fd), 0);
	ev = vq_at(&v, VQ_DEVICE);
	vho_queue_disarm(&v.q);
	assert_int_equal(ev->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
	assert_true(vho_queue_arm(&v.q));
	assert_int_equal(ev->flags, t->features ? VRING_PACKED_EVENT_FLAG_DESC : 0);
	if (t->features)
		assert_int_equal(ev->off_wrap, 1u << 15 | 2);
	vq_put(&v, VQ_BUF, 64, 0, W);
	assert_false(vho_queue_arm(&v.q));
	vq_close(&v);
}

static const struct base_case {
	const char *name;
	uint32_t base;
	int ret;
} bases[] = {
	{ "both at the start", 0x80008000u, 0 },
	{ "available index beyond the ring", 0x80008000u | 8, -EINVAL },
	{ "used index beyond the ring", 0x80088000u, -EINVAL },
};

static void base(void **state)
{
	const struct base_case *t = *state;
	struct vho_queue_conf conf;
	struct vq v;

	vq_open(&v);
	conf = vq_conf(&v, VQ_PACKED, 8);
	conf.base = t->base;
	assert_int_equal(vho_queue_setup(&v.q, &conf), t->ret);
	if (!t->ret)
		assert_int_equal(vho_queue_base(&v.q), t->base);
	vq_close(&v);
}

/*
 * The device writes to two places: the descriptor ring, and its event suppression, which is what
 * the log address of a packed ring stands for.
 */
static void log_of_writes(void **state)
{
	static uint8_t log[4096];
	struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	struct vho_queue_conf conf;
	struct vq v;

	(void)state;
	vq_open(&v);
	conf = vq_conf(&v, VQ_PACKED, 8);
	conf.log = (struct vho_dirty_log){ log, sizeof(log) };
	for (unsigned used = 0; used < 2; used++) {
		memset(log, 0, sizeof(log));
		conf.log_used = used;
		conf.used_log_gpa = VQ_DEVICE;
		v.avail = 0;
		v.wrap = true;
		assert_int_equal(vho_queue_setup(&v.q, &conf), 0);
		assert_int_equal(log[(VQ_DEVICE >> 12) / 8], used);
		vq_put(&v, VQ_BUF, 64, 0, W);
		assert_int_equal(vho_queue_pop(&v.q, &c), 1);
		vho_queue_push(&v.q, &c.elem, 1);
		vho_queue_publish(&v.q);
		assert_int_equal(log[(VQ_DESC >> 12) / 8], used);
		assert_int_equal(log[(VQ_BUF >> 12) / 8], 1);
	}
	vq_close(&v);
}

/*
 * IN_ORDER on a ring of three: answers that come in the wrong order are held back, and the
 * positions in which they wait stay apart when the free-running order wraps at 2^16.
 */
static void in_order_odd_size(void **state)
{
	struct iovec iov[4];
	struct vq v;

	(void)state;
	vq_open(&v);
	vq_start(&v, VQ_PACKED | VQ_IN_ORDER, 3);
	for (unsigned round = 0; round < 25000; round++) {
		struct vho_chain c[3];
		uint16_t at = v.avail;
		bool wrap = v.wrap;

		for (unsigned i = 0; i < 3; i++)
			vq_put(&v, VQ_BUF, 8, (uint16_t)i, W);
		for (unsigned i = 0; i < 3; i++) {
			c[i] = (struct vho_chain){ .iov = iov, .max = 4 };
			assert_int_equal(vho_queue_pop(&v.q, &c[i]), 1);
		}
		for (unsigned i = 3; i-- > 0;) {
			assert_false(vq_slot_used(&v, at, wrap));
			vho_queue_push(&v.q, &c[i].elem, 1);
			vho_queue_publish(&v.q);
		}
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(vq_pdesc(&v)[(at + i) % 3].id, i);
		assert_true(vq_slot_used(&v, at, wrap));
	}
	vq_close(&v);
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(vp02_next_everywhere),
		cmocka_unit_test(batch_first_slot_last),
		cmocka_unit_test(in_order_odd_size),
		cmocka_unit_test(log_of_writes),
	};
	int failed = 0;

	RUN_ROWS(chains, chain, failed);
	RUN_ROWS(sizes, rounds, failed);
	RUN_ROWS(events, event, failed);
	RUN_ROWS(bases, base, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
