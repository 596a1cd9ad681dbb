// SPDX-License-Identifier: Apache-2.0
/*
 * Every chain that a driver can put into a small ring, against a model written from the text of
 * VIRTIO 1.3, 2.7 and 2.8. Descriptors are chosen when the model first looks at them: what no walk
 * reaches makes no case, and holds what an earlier case left there. Each case is then popped by the
 * engine, which must give the chain that the model gives, or refuse it for one of the rules that
 * the model saw broken, or find the ring empty.
 *
 * Usage: test_queue_model [--full]: larger bounds, minutes instead of seconds.
 */
#include "vq.h"

#include <errno.h>
#include <stdio.h>

#define SEGS 64
#define TABLE_MAX 4
#define GONE 0x10ULL // an address outside
#define CHOICES_MAX 128

static bool full;

/* ---- choices: a counter whose digits appear as they are needed ---- */

static struct {
	unsigned n, at;
	uint16_t digit[CHOICES_MAX], radix[CHOICES_MAX];
} odo;

static unsigned choose(unsigned radix)
{
	assert_true(odo.at < CHOICES_MAX);
	if (odo.at == odo.n) {
		odo.digit[odo.n] = 0;
		odo.radix[odo.n++] = (uint16_t)radix;
	}
	assert_int_equal(odo.radix[odo.at], radix);
	return odo.digit[odo.at++];
}

static bool next_case(void)
{
	odo.at = 0;
	while (odo.n && odo.digit[odo.n - 1] + 1 == odo.radix[odo.n - 1])
		odo.n--;
	if (odo.n)
		odo.digit[odo.n - 1]++;
	return odo.n > 0;
}

/* ---- what one case is about ---- */

struct bounds {
	bool packed, indirect, out_only;
	uint32_t size;
	uint16_t max; // segments that the caller has room for
	unsigned deep; // descriptors of a chain that may be anything; those behind are plainer
};

/* The model's answer. */
struct answer {
	unsigned broken; // rules, 1 << VHO_QUEUE_ERR_*; 0: a chain, or empty
	bool empty;
	bool written; // an in buffer was seen
	uint16_t id, n_slots;
	uint16_t n_out, n_in, n_empty;
	uint64_t out_len, in_len;
	struct vring_desc seg[SEGS]; // addr and len
};

static struct vq v;
static const struct bounds *bd;
static unsigned looked; // descriptors chosen in this case
static bool known[8], known_table[TABLE_MAX];
static uint16_t table_size;

#define RULE(name) (1u << VHO_QUEUE_ERR_##name)

/* A buffer: inside a region; over two; over the end; nowhere; empty; empty and nowhere. */
static void choose_buffer(uint64_t *addr, uint32_t *len)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} kind[] = { { VQ_BUF, 16 }, { GONE, 16 }, { VQ_SEAM - 8, 16 }, { VQ_BUF, 0 },
		{ VQ_END - 8, 16 }, { GONE, 0 } };
	unsigned k = choose(looked++ < bd->deep ? 6 : 2);

	*addr = kind[k].addr;
	*len = kind[k].len;
}

/* A descriptor of a table: its place and size, of which three are wrong. */
static void choose_table(uint64_t *addr, uint32_t *len)
{
	unsigned k = choose(TABLE_MAX + 5);

	*addr = VQ_TABLE;
	table_size = k < TABLE_MAX ? (uint16_t)(k + 1) : 1;
	*len = table_size * 16;
	memset(known_table, 0, sizeof(known_table));
	if (k == TABLE_MAX)
		*len = 0;
	else if (k == TABLE_MAX + 1)
		*len = 24;
	else if (k == TABLE_MAX + 2)
		*len = 1025 * 16;
	else if (k == TABLE_MAX + 3)
		*addr = GONE;
	else if (k == TABLE_MAX + 4)
		*addr = VQ_END - 8;
}

static uint16_t choose_flags(bool indirect)
{
	static const uint16_t flag[] = { 0, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE,
		VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, VRING_DESC_F_INDIRECT,
		VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT,
		VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE };

	return flag[choose(indirect ? 7 : 4)];
}

/* ---- the model: buffers ---- */

static bool inside(uint64_t addr, uint32_t len)
{
	return addr >= VQ_GPA && addr < VQ_END && len <= VQ_END - addr;
}

/* 2.7.4.2: buffers of any length; 2.7.5.1, 2.8.5: what the device reads comes first. */
static void model_buffer(struct answer *a, uint64_t addr, uint32_t len, bool write)
{
	uint32_t first = addr < VQ_SEAM && len > VQ_SEAM - addr ? (uint32_t)(VQ_SEAM - addr) : len;
	unsigned need = first < len ? 2 : 1;

	if (a->written && !write)
		a->broken |= RULE(BAD_CHAIN);
	if (!inside(addr, len))
		a->broken |= RULE(BAD_ADDRESS);
	if (a->n_out + a->n_in + a->n_empty + need > bd->max)
		a->broken |= RULE(BAD_CHAIN); // more than the device said it takes
	if (a->broken)
		return;
	a->written = a->written || write;
	*(write ? &a->in_len : &a->out_len) += len;
	if (len == 0) {
		a->n_empty++;
		return;
	}
	a->seg[a->n_out + a->n_in] = (struct vring_desc){ .addr = addr, .len = first };
	(*(write ? &a->n_in : &a->n_out))++;
	if (first < len) {
		a->seg[a->n_out + a->n_in] = (struct vring_desc){ .addr = VQ_SEAM,
			.len = len - first };
		(*(write ? &a->n_in : &a->n_out))++;
	}
}

/* 2.7.5.3.1, 2.8.7: negotiated, the last of its list, a whole number of entries, in memory. */
static void model_table(struct answer *a, uint64_t addr, uint32_t len, uint16_t flags)
{
	if (!bd->indirect || flags & VRING_DESC_F_NEXT || len == 0 || len % 16 || len / 16 > 1024)
		a->broken |= RULE(BAD_INDIRECT);
	if (!inside(addr, len))
		a->broken |= RULE(BAD_ADDRESS);
}

/* ---- the model: split rings ---- */

/*
 * Any entry, or one of the two past the end. Of larger rings: the first and the last one that the
 * chain has not been at, and two that it has: entries differ by that and by nothing else.
 */
static uint16_t choose_next(const bool *been, uint32_t size, uint32_t self)
{
	uint16_t may[6];
	unsigned n = 0;
	uint32_t i;

	if (size <= 4) {
		n = choose(size + 2);
		return n == size + 1 ? 0xffff : (uint16_t)n;
	}
	for (i = 0; i < size && been[i]; i++)
		;
	if (i < size && i != self)
		may[n++] = (uint16_t)i;
	for (i = size - 1; i > 0 && been[i]; i--)
		;
	if (!been[i] && i != self && (!n || may[0] != i))
		may[n++] = (uint16_t)i;
	for (i = 0; i < size && !been[i]; i++)
		;
	if (i < size && i != self)
		may[n++] = (uint16_t)i;
	may[n++] = (uint16_t)self;
	may[n++] = (uint16_t)size;
	may[n++] = 0xffff;
	return may[choose(n)];
}

/* Entry i of a list, made up when it is looked at for the first time. */
static struct vring_desc look_split(
	struct vring_desc *list, bool *been, uint32_t size, uint32_t i, bool in)
{
	struct vring_desc *at = &list[i];

	if (!been[i]) {
		uint16_t flags = choose_flags(!in || looked < 2);
		struct vring_desc d = { .flags = flags };
		uint64_t addr;

		if (flags & VRING_DESC_F_INDIRECT && !in)
			choose_table(&addr, &d.len);
		else
			choose_buffer(&addr, &d.len);
		d.addr = addr;
		d.next = 0xfffe; // means nothing without NEXT
		if (flags & VRING_DESC_F_NEXT)
			d.next = choose_next(been, size, i);
		*at = d;
		been[i] = true;
	}
	return *at;
}

static void model_split_table(struct answer *a)
{
	uint32_t idx = 0;

	for (unsigned n = 0;; n++) {
		struct vring_desc d;

		if (n == table_size)
			a->broken |= RULE(BAD_CHAIN); // round and round
		if (idx >= table_size)
			a->broken |= RULE(BAD_INDIRECT);
		if (a->broken)
			return;
		d = look_split(vq_at(&v, VQ_TABLE), known_table, table_size, idx, true);
		if (d.flags & VRING_DESC_F_INDIRECT)
			a->broken |= RULE(BAD_INDIRECT); // a table in a table
		else
			model_buffer(a, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		if (a->broken || !(d.flags & VRING_DESC_F_NEXT))
			return;
		idx = d.next;
	}
}

static void model_split_chain(struct answer *a, uint16_t head)
{
	uint32_t idx = head;

	for (unsigned n = 0;; n++) {
		struct vring_desc d;

		if (n == bd->size)
			a->broken |= RULE(BAD_CHAIN); // 2.7.5.2: no longer than the queue
		if (idx >= bd->size)
			a->broken |= RULE(BAD_INDEX);
		if (a->broken)
			return;
		d = look_split(vq_desc(&v), known, bd->size, idx, false);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			model_table(a, d.addr, d.len, d.flags);
			if (!a->broken)
				model_split_table(a);
			return;
		}
		model_buffer(a, d.addr, d.len, d.flags & VRING_DESC_F_WRITE);
		if (a->broken || !(d.flags & VRING_DESC_F_NEXT))
			return;
		idx = d.next;
	}
}

/* 2.7.6: idx says where the driver would put the next head, so it leads by 0 to size. */
static void model_split(struct answer *a)
{
	struct vring_avail *avail = vq_at(&v, VQ_DRIVER);
	const uint16_t lead[] = { 1, 0, (uint16_t)bd->size, (uint16_t)(bd->size + 1), 0xffff };
	unsigned l = choose(5), head;

	avail->idx = lead[l];
	if (lead[l] == 0)
		a->empty = true;
	if (lead[l] > bd->size)
		a->broken |= RULE(BAD_AVAIL);
	if (a->empty || a->broken)
		return;
	// How far it leads changes no chain: leads of more than one go with the plain heads
	head = l ? 0 : choose(bd->size <= 4 ? bd->size + 2 : 4);
	if (bd->size > 4 && head)
		head += bd->size - 2; // the first, the last, and two that are none
	avail->ring[0] = head == bd->size + 1 ? 0xffff : (uint16_t)head;
	a->id = avail->ring[0];
	a->n_slots = 1;
	model_split_chain(a, avail->ring[0]);
}

/* ---- the model: packed rings ---- */

static uint16_t packed_bits(bool avail, bool used)
{
	return (uint16_t)(avail << VRING_PACKED_DESC_F_AVAIL | used << VRING_PACKED_DESC_F_USED);
}

static void model_packed_table(struct answer *a)
{
	struct vring_packed_desc *t = vq_at(&v, VQ_TABLE);

	// 2.8.7: the table's length ends it, NEXT and the buffer id there mean nothing
	for (unsigned i = 0; i < table_size && !a->broken; i++) {
		uint64_t addr;
		uint32_t len;

		t[i].flags = choose_flags(looked < 2);
		choose_buffer(&addr, &len);
		t[i].addr = addr;
		t[i].len = len;
		t[i].id = 0xffff;
		if (t[i].flags & VRING_DESC_F_INDIRECT)
			a->broken |= RULE(BAD_INDIRECT);
		else
			model_buffer(
				a, addr, len, !bd->out_only && t[i].flags & VRING_DESC_F_WRITE);
	}
}

/* One list of descriptors from slot `at` on, the ring's end no obstacle (2.8.6). */
static void model_packed_list(struct answer *a, uint32_t at, bool wrap)
{
	const uint16_t ids[] = { 0, (uint16_t)(bd->size - 1), (uint16_t)bd->size, 0xffff };

	for (unsigned n = 1; !a->broken; n++) {
		struct vring_packed_desc *d = &vq_pdesc(&v)[at];
		uint16_t flags;
		uint64_t addr;
		uint32_t len;

		if (n > bd->size) {
			a->broken |= RULE(BAD_CHAIN);
			return;
		}
		flags = choose_flags(true);
		if (flags & VRING_DESC_F_INDIRECT)
			choose_table(&addr, &len);
		else
			choose_buffer(&addr, &len);
		d->addr = addr;
		d->len = len;
		// The id of the last counts, others may be anything (2.8.6)
		d->id = flags & VRING_DESC_F_NEXT ? 0xfffe : ids[choose(4)];
		d->flags = flags | packed_bits(wrap, !wrap);
		if (flags & VRING_DESC_F_INDIRECT) {
			model_table(a, addr, len, flags);
			if (!a->broken)
				model_packed_table(a);
		} else {
			model_buffer(a, addr, len, flags & VRING_DESC_F_WRITE);
		}
		if (!(flags & VRING_DESC_F_NEXT)) {
			if (!a->broken && d->id >= bd->size)
				a->broken |= RULE(BAD_INDEX);
			a->id = d->id;
			a->n_slots = (uint16_t)n;
			return;
		}
		wrap = at + 1 == bd->size ? !wrap : wrap;
		at = at + 1 == bd->size ? 0 : at + 1;
	}
}

/* 2.8.1: available when AVAIL is the driver's wrap counter and USED is not. */
static void model_packed(struct answer *a, uint32_t at, bool wrap)
{
	bool avail = !choose(2), used = choose(2);

	// `avail` false stands for the other value of the counter, so that the first case is one
	if ((wrap ? avail : !avail) != wrap || used == 1) {
		vq_pdesc(&v)[at].flags = packed_bits(wrap ? avail : !avail, used ? wrap : !wrap);
		a->empty = true;
		return;
	}
	model_packed_list(a, at, wrap);
}

/* ---- the engine's answer ---- */

static void compare_chain(const struct answer *a, const struct vho_chain *c)
{
	assert_int_equal(c->n_out, a->n_out);
	assert_int_equal(c->n_in, a->n_in);
	assert_int_equal(c->n_empty, a->n_empty);
	assert_int_equal(c->out_len, a->out_len);
	assert_int_equal(c->in_len, a->in_len);
	assert_int_equal(c->elem.id, a->id);
	assert_int_equal(c->elem.n_slots, a->n_slots);
	for (unsigned i = 0; i < (unsigned)a->n_out + a->n_in; i++) {
		assert_ptr_equal(c->iov[i].iov_base, vho_mem_at(v.mem, a->seg[i].addr, 1));
		assert_int_equal(c->iov[i].iov_len, a->seg[i].len);
	}
}

/* For who has to find out: the choices that made this case, and the ring. */
static void show_case(const struct answer *a, int ret)
{
	print_error("engine %d, model %s, rules 0x%x; choices", ret,
		a->broken  ? "refuses"
		: a->empty ? "sees an empty ring"
			   : "sees a chain",
		a->broken);
	for (unsigned i = 0; i < odo.n; i++)
		print_error(" %u/%u", odo.digit[i], odo.radix[i]);
	print_error("\n");
	for (unsigned i = 0; i < bd->size; i++) {
		const struct vring_desc *d = &vq_desc(&v)[i];

		print_error("%u: addr 0x%llx len %u flags 0x%x (id 0x%x) next/flags 0x%x\n", i,
			(unsigned long long)d->addr, d->len, d->flags, d->flags, d->next);
	}
}

static void compare(const struct answer *a, uint32_t base)
{
	struct iovec iov[SEGS];
	struct vho_chain c = { .iov = iov, .max = bd->max };
	unsigned before[VHO_QUEUE_ERR_COUNT], broken = 0;
	uint16_t at = v.q.next_avail, want = at;
	bool wrap = v.q.avail_wrap;
	int ret;

	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		before[i] = (unsigned)dpu_counter_read(&v.q.stats.errors[i]);
	ret = vho_queue_pop(&v.q, &c);
	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		if (dpu_counter_read(&v.q.stats.errors[i]) != before[i])
			broken |= 1u << i;
	if ((a->broken ? ret >= 0 : ret != !a->empty))
		show_case(a, ret);
	if (a->broken) {
		assert_true(ret < 0);
		assert_true(v.q.broken);
		assert_true(broken && !(broken & (broken - 1)) && broken & a->broken);
		assert_int_equal(vho_queue_base(&v.q), base);
		assert_int_equal(vho_queue_pop(&v.q, &c), 0); // and that is all that comes
		return;
	}
	assert_int_equal(broken, 0);
	assert_int_equal(ret, a->empty ? 0 : 1);
	if (a->empty) {
		assert_int_equal(vho_queue_base(&v.q), base);
		return;
	}
	compare_chain(a, &c);
	if (bd->packed) {
		want = (uint16_t)(at + a->n_slots);
		wrap = want >= bd->size ? !wrap : wrap;
		want = (uint16_t)(want % bd->size);
		assert_int_equal(v.q.avail_wrap, wrap);
	} else {
		want++;
	}
	assert_int_equal(v.q.next_avail, want);
}

/* Where a packed ring stands: every slot of small rings, of larger ones the ends and the middle. */
static uint32_t choose_slot(void)
{
	const uint32_t some[] = { bd->size - 1, 0, bd->size / 2 };

	return bd->size <= 3 || full ? choose(bd->size) : some[choose(3)];
}

static void check_all(void **state)
{
	uint64_t cases = 0, chains = 0, refused = 0;

	bd = *state;
	vq_open(&v);
	memset(&odo, 0, sizeof(odo));
	do {
		uint64_t features = (bd->packed ? VQ_PACKED : VQ_SPLIT) |
				    (bd->indirect ? VQ_INDIRECT : 0);
		struct vho_queue_conf conf = vq_conf(&v, features, bd->size);
		struct answer a = { 0 };

		looked = 0;
		memset(known, 0, sizeof(known));
		if (bd->packed) {
			uint32_t slot = choose_slot();
			bool wrap = choose(2);

			conf.base = slot | (uint32_t)wrap << 15;
			conf.base |= conf.base << 16;
			conf.out_only = bd->out_only;
			model_packed(&a, slot, wrap);
		} else {
			model_split(&a);
		}
		conf.err_fd = -1; // a system call for each would be most of the time
		assert_int_equal(vho_queue_setup(&v.q, &conf), 0);
		v.q.running = true;
		compare(&a, conf.base);
		cases++;
		chains += !a.broken && !a.empty;
		refused += a.broken != 0;
	} while (next_case());
	vq_close(&v);
	print_message("%lu cases: %lu chains, %lu refused\n", (unsigned long)cases,
		(unsigned long)chains, (unsigned long)refused);
}

/* Layout, tables, caller's room, and how many descriptors of a chain may be anything. */
static struct bounds split[] = {
	{ false, false, false, 1, 64, 8 },
	{ false, true, false, 1, 64, 4 },
	{ false, false, false, 2, 64, 8 },
	{ false, true, false, 2, 64, 3 },
	{ false, false, false, 4, 64, 3 },
	{ false, true, false, 4, 64, 0 },
	{ false, false, false, 4, 3, 2 },
	{ false, false, false, 8, 64, 4 },
	{ false, true, false, 8, 64, 0 },
};
static struct bounds packed[] = {
	{ true, false, false, 1, 64, 8 },
	{ true, true, false, 1, 64, 4 },
	{ true, true, true, 1, 64, 4 },
	{ true, false, false, 2, 64, 8 },
	{ true, true, false, 2, 64, 3 },
	{ true, false, false, 3, 64, 8 },
	{ true, true, false, 3, 64, 2 },
	{ true, false, false, 4, 3, 4 },
	{ true, false, false, 5, 64, 5 },
	{ true, false, false, 6, 64, 4 },
	{ true, false, false, 7, 64, 4 },
	{ true, true, false, 8, 64, 1 },
	{ true, false, false, 8, 64, 4 },
};

int main(int argc, char **argv)
{
	static struct CMUnitTest
		tests[sizeof(split) / sizeof(split[0]) + sizeof(packed) / sizeof(packed[0])];
	static char names[sizeof(tests) / sizeof(tests[0])][64];
	unsigned n = 0;

	full = argc > 1 && !strcmp(argv[1], "--full");
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++, n++) {
		unsigned n_split = sizeof(split) / sizeof(split[0]);
		struct bounds *b = i < n_split ? &split[i] : &packed[i - n_split];

		if (full && b->deep < 8)
			b->deep++;
		snprintf(names[n], sizeof(names[n]), "%s ring of %u%s%s%s",
			b->packed ? "packed" : "split", b->size, b->indirect ? ", tables" : "",
			b->out_only ? ", transmit" : "", b->max < SEGS ? ", few segments" : "");
		tests[n] = (struct CMUnitTest){ names[n], check_all, NULL, NULL, b };
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
