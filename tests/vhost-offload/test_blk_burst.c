// SPDX-License-Identifier: Apache-2.0
/*
 * Requests answered in bursts, straight on the rings: the same answers as one by one, in the same
 * order, whatever stands between them; and where bursts have to keep out.
 */
#include "test.h"

#include <stdio.h>

#include "blk_burst.h"
#include "blk_rows.h"
#include "inflight_steps.h"

const struct vho_blk_store_ops *card_blk_store_ops(void);

#define SECTORS 2048ULL
#define BYTES (SECTORS * 512)
#define N 20U // requests of one run
#define ROOM 8192U // of each
#define RUNS 60U // of three slots each: around the ring several times

enum odd {
	PLAIN,
	FLUSH,
	OVER_THE_END,
	NO_SUCH_TYPE,
	WRONG_WAY,
	HALF_A_SECTOR,
	NO_STATUS,
	CUT_UP,
	IN_ONE_PIECE,
	IDENTITY,
	ODDS
};

static const char *const odd_names[ODDS] = { "all plain", "flush", "over the end", "no such type",
	"data the wrong way", "half a sector", "no status byte", "header in pieces",
	"status at the data's tail", "identity" };

struct fixture {
	struct env e;
	struct vol *vol;
	struct guest_req req[N];
};

/* TIGHT: memory ends soon behind what is used, so that a wild index leaves it. */
enum memory { PLENTY, WITH_REGION, TIGHT, TIGHT_WITH_REGION };

static void start(struct fixture *f, const struct layout *l, const struct vho_blk_store_ops *ops,
	enum memory memory)
{
	struct vol_ram_conf rc = { "disk", BYTES, 512 };
	struct vho_blk_conf conf = { .name = "b", .serial = "s", .n_queues = 1, .seg_max = 20 };

	memset(f, 0, sizeof(*f));
	assert_int_equal(vol_ram_open(&rc, &f->vol), 0);
	assert_int_equal(vol_chan_open(f->vol, NULL, &f->e.chan), 0);
	f->e.ops = ops;
	f->e.store = f->vol;
	f->e.ring_size = l->packed ? 251 : 256; // chains of three cross its end, at every place
	f->e.mem_size = memory >= TIGHT ? 768 << 10 : 0;
	if (memory == WITH_REGION || memory == TIGHT_WITH_REGION)
		assert_int_equal(
			vho_inflight_create(1, (uint16_t)f->e.ring_size, l->packed, &f->e.region),
			0);
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	for (unsigned i = 0; i < N; i++) {
		f->req[i].out = drv_mem_alloc(&f->e.mem, 0, 16 + ROOM, 64);
		f->req[i].in = drv_mem_alloc(&f->e.mem, 0, ROOM + 1, 64);
		assert_non_null(f->req[i].in);
	}
}

static void stop(struct fixture *f)
{
	env_close(&f->e);
	vho_inflight_destroy(f->e.region);
	vol_chan_close(f->e.chan);
	vol_close(f->vol);
}

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525U + 1013904223U;
	return *s >> 8;
}

/* Packed: the id of a list's last element is the only one that means something (2.8.6). */
static void spoil_ids(struct drv_ring *r)
{
	for (uint32_t i = 0; r->packed && i < r->size; i++)
		if (r->pdesc[i].flags & VRING_DESC_F_NEXT)
			r->pdesc[i].id = 0xbeef;
}

/* Request i of a run, made odd or not. */
static void add(struct fixture *f, unsigned i, enum odd odd, uint32_t *seed)
{
	struct guest_req *g = &f->req[i];
	bool write = rnd(seed) & 1;
	uint32_t len = (rnd(seed) % (ROOM / 512) + 1) * 512;
	uint64_t sector = rnd(seed) % (SECTORS - ROOM / 512);
	uint32_t type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	enum cut cut = odd == CUT_UP ? CUT_FINE : odd == IN_ONE_PIECE ? CUT_TIGHT : CUT_USUAL;

	if (odd == FLUSH)
		type = VIRTIO_BLK_T_FLUSH;
	if (odd == NO_SUCH_TYPE)
		type = 77;
	if (odd == IDENTITY)
		type = VIRTIO_BLK_T_GET_ID;
	if (odd == WRONG_WAY)
		type = write ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
	if (odd == OVER_THE_END)
		sector = SECTORS - len / 512 + 1;
	if (odd == HALF_A_SECTOR)
		len -= 256;
	put_header(g->out, type, sector);
	memset(g->out + 16, (int)rnd(seed) & 0xff, len);
	memset(g->in, 0xee, ROOM + 1);
	g->out_len = 16 + (write ? len : 0);
	g->in_len = (write ? 0 : len) + (odd != NO_STATUS || !write);
	if (odd == FLUSH) {
		g->out_len = 16;
		g->in_len = 1;
	}
	assert_true(submit(&f->e, g, cut, g) >= 0);
	spoil_ids(&f->e.ring);
}

static void ended(struct vol_io *io, int err)
{
	(void)io;
	assert_int_equal(err, 0);
}

/* What the driver saw of a whole test: a sum over everything, and what was counted. */
struct outcome {
	uint64_t sum;
	uint64_t stats[16];
	unsigned polls;
};

static void mix(struct outcome *o, const void *p, size_t len)
{
	const uint8_t *b = p;
	uint64_t w;

	for (; len >= sizeof(w); b += sizeof(w), len -= sizeof(w)) {
		memcpy(&w, b, sizeof(w));
		o->sum = (o->sum ^ w) * 0x100000001b3ULL;
	}
	for (size_t i = 0; i < len; i++)
		o->sum = (o->sum ^ b[i]) * 0x100000001b3ULL;
}

static void take_stats(struct fixture *f, struct outcome *o)
{
	const struct vho_blk_stats *s = vho_blk_stats(f->e.blk, 0);
	const struct vho_queue_stats *q = &f->e.dev->queues[0].q.stats;
	const dpu_counter *c[] = { &s->reads, &s->read_bytes, &s->writes, &s->write_bytes,
		&s->flushes, &s->get_ids, &s->errors[0], &s->errors[1], &s->errors[2],
		&s->errors[3], &s->errors[4], &s->errors[5], &q->requests, &q->bytes };

	for (unsigned i = 0; i < ARRAY_LEN(c); i++)
		o->stats[i] = dpu_counter_read(c[i]);
}

static void whole_run(const struct layout *l, const struct vho_blk_store_ops *ops,
	enum memory memory, enum odd odd, struct outcome *o)
{
	struct fixture f;
	uint32_t seed = 5;

	*o = (struct outcome){ 0 };
	start(&f, l, ops, memory);
	for (unsigned k = 0; k < RUNS; k++) {
		struct drv_used u;
		unsigned n = l->indirect_max ? N : f.e.ring.size / 18; // what fits, cut as fine

		if (n > N)
			n = N;
		for (unsigned i = 0; i < n; i++)
			add(&f, i, i == k % n || i == n / 2 ? odd : PLAIN, &seed);
		for (unsigned p = 0; p < n && vho_blk_poll(f.e.blk, 0, f.e.chan, 32) > 0; p++)
			o->polls++;
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(drv_ring_poll(&f.e.ring, &u), 1);
			assert_ptr_equal(u.cookie, &f.req[i]); // in order
			if (!(f.e.ring.in_order && u.len == UINT32_MAX))
				mix(o, &u.len, sizeof(u.len));
			mix(o, f.req[i].in, ROOM + 1);
		}
		assert_int_equal(f.e.ring.bad_used, 0);
	}
	take_stats(&f, o);
	stop(&f);
}

static struct vho_blk_store_ops spied;
static unsigned spied_n, spied_most;
static bool spy_refuses;

static bool spy(void *store, void *chan, unsigned n, const uint64_t *off, const struct iovec *data,
	uint64_t writes)
{
	spied_n += n;
	spied_most = n > spied_most ? n : spied_most;
	return !spy_refuses && card_blk_store_ops()->at_once(store, chan, n, off, data, writes);
}

static const struct vho_blk_store_ops *spied_ops(bool refuses)
{
	spied = *card_blk_store_ops();
	spied.at_once = spy;
	spied_n = spied_most = 0;
	spy_refuses = refuses;
	return &spied;
}

/* Bursts, the plain way, a store that refuses every burst; with a region or not: one outcome. */
static void same_as_one_by_one(void **state)
{
	const struct layout *l = *state;
	struct vho_blk_store_ops plain = *card_blk_store_ops();

	plain.at_once = NULL;
	for (unsigned odd = 0; odd < ODDS; odd++) {
		struct outcome want, got;

		print_message("  %s\n", odd_names[odd]);
		whole_run(l, &plain, PLENTY, (enum odd)odd, &want);
		for (enum memory m = PLENTY; m <= WITH_REGION; m++) {
			whole_run(l, spied_ops(false), m, (enum odd)odd, &got);
			assert_true(spied_most > 1);
			assert_memory_equal(&got, &want, sizeof(want));
			whole_run(l, spied_ops(true), m, (enum odd)odd, &got);
			assert_true(spied_most > 1);
			assert_memory_equal(&got, &want, sizeof(want));
		}
	}
}

/* ---- rings that no driver writes ---- */

#define HOSTILE_N 8U
#define HOSTILE_TRIALS 400U
#define SCRATCH 16384U

/* One field of one descriptor becomes something else. Other requests' memory stays theirs. */
static void spoil_desc(
	struct fixture *f, struct vring_desc *d, uint16_t next_id, uint8_t *scratch, uint32_t *seed)
{
	static const uint32_t lens[] = { 0, 1, 2, 15, 16, 17, 48, 511, 512, 4096, 8192, 8193,
		UINT32_MAX };
	const struct drv_region *m = &f->e.mem.r[0];
	const uint64_t addrs[] = { 0, m->gpa + m->size - 8, m->gpa + m->size, UINT64_MAX - 8,
		drv_mem_gpa(&f->e.mem, scratch), drv_mem_gpa(&f->e.mem, scratch + 1) };
	const uint16_t nexts[] = { next_id, (uint16_t)(next_id + 1), (uint16_t)f->e.ring.size,
		0xffff, 0 };
	uint16_t bits = (uint16_t)(1U << rnd(seed) % 3);

	switch (rnd(seed) % 4) {
	case 0:
		d->addr = addrs[rnd(seed) % ARRAY_LEN(addrs)];
		break;
	case 1:
		d->len = lens[rnd(seed) % ARRAY_LEN(lens)];
		break;
	case 2: // in the packed layout flags stand where next does here, and next where flags do
		if (f->e.ring.packed)
			d->next ^= bits;
		else
			d->flags ^= bits;
		break;
	default:
		if (f->e.ring.packed)
			d->flags = nexts[rnd(seed) % ARRAY_LEN(nexts)];
		else
			d->next = nexts[rnd(seed) % ARRAY_LEN(nexts)];
		break;
	}
}

/* Split: an index leads outside its table, to a descriptor that would do. */
static void lead_astray(
	struct fixture *f, const struct layout *l, unsigned k, uint8_t *scratch, uint32_t *seed)
{
	struct drv_ring *r = &f->e.ring;
	struct vring_desc *out = (struct vring_desc *)(void *)scratch;
	struct vring_desc *in_ring = (struct vring_desc *)(uintptr_t)r->desc;
	uint16_t far = (uint16_t)(out - in_ring), head = r->avail->ring[k];
	unsigned which = rnd(seed) % 3;

	if (head >= r->size)
		return; // spoiled before, and so is what it leads to
	if (which == 2) {
		*out = in_ring[head];
		r->avail->ring[k] = far;
	} else if (l->indirect_max) {
		struct vring_desc *t = &r->tables[head * l->indirect_max];

		t[3] = t[which + 1];
		t[which].next = 3;
	} else {
		uint16_t at = which ? in_ring[head].next : head;

		if (at >= r->size || in_ring[at].next >= r->size)
			return;
		*out = in_ring[in_ring[at].next];
		in_ring[at].next = far;
	}
}

static void spoil(struct fixture *f, const struct layout *l, uint8_t *scratch, uint32_t *seed)
{
	struct drv_ring *r = &f->e.ring;
	unsigned k = rnd(seed) % HOSTILE_N;

	if (!r->packed && rnd(seed) % 4 == 0) {
		lead_astray(f, l, k, scratch, seed);
		return;
	}
	if (!r->packed && rnd(seed) % 8 == 0) {
		const uint16_t heads[] = { 0, 1, (uint16_t)r->size, 0xffff };

		r->avail->ring[k] = heads[rnd(seed) % ARRAY_LEN(heads)];
		return;
	}
	if (!r->packed && rnd(seed) % 32 == 0) {
		r->avail->idx = (uint16_t)(r->avail->idx + r->size + 1);
		return;
	}
	if (l->indirect_max && rnd(seed) % 2)
		spoil_desc(f, &r->tables[k * l->indirect_max + rnd(seed) % 3],
			(uint16_t)(rnd(seed) % 4), scratch, seed);
	else if (r->packed)
		spoil_desc(f,
			(struct vring_desc *)(uintptr_t)&r->pdesc[rnd(seed) % (3 * HOSTILE_N)],
			(uint16_t)k, scratch, seed);
	else
		spoil_desc(f, (struct vring_desc *)(uintptr_t)&r->desc[3 * k + rnd(seed) % 3],
			(uint16_t)(3 * k), scratch, seed);
}

/* Everything that the device can have changed. */
static uint64_t hostile_outcome(const struct layout *l, const struct vho_blk_store_ops *ops,
	enum memory memory, uint32_t seed, bool *broken)
{
	struct outcome o = { 0 };
	static uint8_t disk[BYTES];
	struct iovec v = { disk, BYTES };
	struct vol_io io = { .op = VOL_READ, .len = BYTES, .iov = &v, .n_iov = 1, .done = ended };
	struct fixture f;
	uint8_t *scratch[3];

	start(&f, l, ops, memory);
	for (unsigned i = 0; i < ARRAY_LEN(scratch); i++)
		scratch[i] = drv_mem_alloc(&f.e.mem, 0, SCRATCH, 64);
	for (unsigned i = 0; i < HOSTILE_N; i++)
		add(&f, i, PLAIN, &seed);
	for (unsigned n = 1 + rnd(&seed) % ARRAY_LEN(scratch); n > 0; n--)
		spoil(&f, l, scratch[n - 1], &seed);
	for (unsigned i = 0; i < 2 * HOSTILE_N; i++)
		vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
	*broken = f.e.dev->queues[0].q.broken;
	take_stats(&f, &o);
	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		o.sum = o.sum * 31 + dpu_counter_read(&f.e.dev->queues[0].q.stats.errors[i]);
	vol_submit(f.e.chan, &io);
	while (vol_chan_inflight(f.e.chan) > 0)
		vol_chan_poll(f.e.chan);
	mix(&o, disk, BYTES);
	mix(&o, f.e.mem.r[0].host, f.e.mem.r[0].used);
	mix(&o, o.stats, sizeof(o.stats));
	stop(&f);
	return o.sum;
}

static void hostile_as_one_by_one(void **state)
{
	const struct layout *l = *state;
	struct vho_blk_store_ops plain = *card_blk_store_ops();
	unsigned n_broken = 0, n_burst = 0;

	plain.at_once = NULL;
	for (uint32_t seed = 1; seed <= HOSTILE_TRIALS; seed++) {
		bool a, b, with;
		uint64_t bursts = hostile_outcome(l, spied_ops(false), TIGHT, seed, &a);

		n_burst += spied_n > 0;
		if (bursts != hostile_outcome(l, &plain, TIGHT, seed, &b) || a != b)
			fail_msg("seed %u", seed);
		if (bursts != hostile_outcome(
				      l, spied_ops(false), TIGHT_WITH_REGION, seed, &with) ||
			a != with)
			fail_msg("seed %u, with a region", seed);
		n_broken += a;
	}
	assert_true(n_broken > HOSTILE_TRIALS / 10 && n_broken < HOSTILE_TRIALS);
	assert_true(n_burst > HOSTILE_TRIALS / 2);
}

static unsigned answered(struct fixture *f)
{
	struct drv_used u;
	unsigned n = 0;

	while (drv_ring_poll(&f->e.ring, &u) == 1)
		n++;
	return n;
}

/* No more than asked for, and nothing is left behind. */
static void keeps_to_its_budget(void **state)
{
	uint32_t seed = 7;
	struct fixture f;

	start(&f, *state, spied_ops(false), PLENTY);
	for (unsigned i = 0; i < 11; i++)
		add(&f, i, PLAIN, &seed);
	assert_int_equal(vho_blk_poll(f.e.blk, 0, f.e.chan, 0), 0);
	assert_int_equal(vho_blk_poll(f.e.blk, 0, f.e.chan, 4), 8); // popped and answered
	assert_int_equal(answered(&f), 4);
	assert_int_equal(vho_blk_poll(f.e.blk, 0, f.e.chan, 32), 14);
	assert_int_equal(answered(&f), 7);
	assert_int_equal(vho_blk_poll(f.e.blk, 0, f.e.chan, 32), 0);
	assert_int_equal(spied_n, 11);
	stop(&f);
}

/* A read of len bytes into memory that all of them share. */
static void add_read(struct fixture *f, unsigned i, uint32_t len)
{
	struct drv_seg s[] = { { drv_mem_gpa(&f->e.mem, f->req[i].out), 16 },
		{ f->e.mem.r[0].gpa + (4 << 20), len },
		{ drv_mem_gpa(&f->e.mem, f->req[i].in), 1 } };

	put_header(f->req[i].out, VIRTIO_BLK_T_IN, 0);
	assert_true(drv_ring_add(&f->e.ring, s, 1, 2, NULL) >= 0);
}

static void bytes_bound_a_turn(void **state)
{
	struct fixture f;

	start(&f, *state, spied_ops(false), PLENTY);
	for (unsigned i = 0; i < 5; i++)
		add_read(&f, i, 96 << 10);
	vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
	assert_int_equal(answered(&f), 3);
	vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
	assert_int_equal(answered(&f), 2);
	assert_int_equal(spied_n, 5);
	add_read(&f, 0, BLK_BURST_BYTES + 512); // longer than a burst may be: the other way
	vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
	assert_int_equal(answered(&f), 1);
	assert_int_equal(f.req[0].in[0], VIRTIO_BLK_S_OK);
	assert_int_equal(spied_n, 5);
	stop(&f);
}

/* ---- where bursts keep out ---- */

static struct fixture *marked;

/* Every request of a burst is marked before the volume is touched. */
static bool look_for_marks(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	const struct vho_inflight_queue *iq = marked->e.dev->queues[0].q.inflight;
	unsigned marks = 0;

	for (unsigned i = 0; i < iq->size; i++)
		marks += iq->packed ? iq->packed->desc[i].inflight : iq->split->desc[i].inflight;
	assert_int_equal(marks, n);
	return spy(store, chan, n, off, data, writes);
}

static void inflight_requests_are_marked(void **state)
{
	const struct layout *l = *state;
	uint32_t seed = 9;
	struct fixture f;

	(void)spied_ops(false);
	spied.at_once = look_for_marks;
	start(&f, l, &spied, WITH_REGION);
	marked = &f;
	for (unsigned i = 0; i < 10; i++)
		add(&f, i, PLAIN, &seed);
	assert_int_equal(vho_blk_poll(f.e.blk, 0, f.e.chan, 32), 20);
	assert_int_equal(answered(&f), 10);
	assert_int_equal(spied_n, 10);

	struct vho_inflight_queue *iq = f.e.dev->queues[0].q.inflight;
	struct vho_inflight_pos pos = { 0 };
	uint16_t avail = 0;

	if (l->packed)
		assert_int_equal(
			vho_inflight_recover_packed(iq, f.e.ring.size, f.e.ring.pdesc, &pos), 0);
	else
		assert_int_equal(vho_inflight_recover_split(iq, f.e.ring.size, 10, &avail), 0);
	assert_int_equal(iq->n_resubmit, 0);
	assert_int_equal(l->packed ? 10 : avail, 10);
	stop(&f);
}

/* IN_ORDER: while an earlier request waits, nothing passes it. */
static bool held_at_once(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	(void)store;
	(void)chan;
	(void)off;
	(void)data;
	(void)writes;
	spied_n += n;
	return true;
}

static void waits_in_order(void **state)
{
	const struct layout *l = *state;
	bool in_order = l->features >> VIRTIO_F_IN_ORDER & 1;
	struct vho_blk_store_ops ops = held_ops;
	struct vho_blk_conf conf = { .name = "b", .n_queues = 1, .seg_max = 20 };
	struct held_store s = { .limits = { .size = BYTES, .block_size = 512, .at_once = true } };
	struct fixture f = { .e.ops = &ops, .e.store = &s };
	uint32_t seed = 11;

	ops.at_once = held_at_once;
	spied_n = 0;
	assert_int_equal(env_open(&f.e, l, &conf), 0);
	for (unsigned i = 0; i < 3; i++) {
		f.req[i].out = drv_mem_alloc(&f.e.mem, 0, 16 + ROOM, 64);
		f.req[i].in = drv_mem_alloc(&f.e.mem, 0, ROOM + 1, 64);
	}
	add(&f, 0, CUT_UP, &seed); // not for a burst: the store holds it
	vho_blk_poll(f.e.blk, 0, NULL, 32);
	assert_int_equal(s.n, 1);
	add(&f, 1, PLAIN, &seed);
	vho_blk_poll(f.e.blk, 0, NULL, 32);
	assert_int_equal(spied_n, in_order ? 0 : 1);
	assert_int_equal(answered(&f), in_order ? 0 : 1);
	add(&f, 2, PLAIN, &seed);
	for (unsigned i = s.n; i-- > 0;)
		vho_blk_io_done(s.io[i], 0);
	vho_blk_poll(f.e.blk, 0, NULL, 32);
	assert_int_equal(spied_n, in_order ? 1 : 2);
	assert_int_equal(answered(&f), in_order ? 3 : 2);
	assert_int_equal(f.e.ring.bad_used, 0);
	env_close(&f.e);
}

int main(void)
{
	static const struct env_test rows[] = {
		{ "same as one by one", same_as_one_by_one },
		{ "hostile as one by one", hostile_as_one_by_one },
		{ "budget", keeps_to_its_budget },
		{ "bytes of a turn", bytes_bound_a_turn },
		{ "inflight region", inflight_requests_are_marked },
		{ "in order", waits_in_order },
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS];
	static char names[ARRAY_LEN(rows) * N_LAYOUTS][96];
	size_t n = env_tests(rows, ARRAY_LEN(rows), t, names);

	return _cmocka_run_group_tests("virtio-blk bursts", t, n, NULL, NULL);
}
