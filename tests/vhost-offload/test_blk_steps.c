// SPDX-License-Identifier: Apache-2.0
/*
 * Bursts of requests and the inflight region: death at every step. The device is compiled with a
 * hook in vho_inflight_step(); there the guest's memory and the region are copied as a killed
 * process leaves them, and given to the next one. Whatever the driver has not seen used by then is
 * done again, and it sees every request answered once.
 *
 * Spec: vhost-user, "Inflight I/O tracking".
 */
#include "test.h"

#include "blk_env.h"
#include "inflight_steps.h"

const struct vho_blk_store_ops *card_blk_store_ops(void);

#define N 6u // requests of one turn
#define BLOCK 512u
#define BYTES (64u << 10)
#define SPLIT_SIZE 32u
#define PACKED_SIZE 29u
#define MEM (128u << 10)
#define STEPS_MAX 400u
#define REGION_MAX 4096u

/* What a dead process leaves behind. */
struct left {
	uint8_t memory[MEM], region[REGION_MAX];
};

struct fixture {
	struct env e;
	const struct layout *l;
	struct vol *vol;
	struct guest_req req[N];
	unsigned seen[N]; // answers
};

/* The driver's own memory of its ring. */
struct driver {
	struct drv_ring r;
	struct drv_slot slots[SPLIT_SIZE];
	uint16_t free[SPLIT_SIZE], order[SPLIT_SIZE];
};

static struct {
	struct fixture *f; // NULL: nobody dies
	struct left *at; // STEPS_MAX
	unsigned n;
} deaths;

static unsigned asked, refuse; // bursts at the store; those up to `refuse` are refused

void vho_inflight_hook(void)
{
	struct fixture *f = deaths.f;

	if (!f)
		return;
	assert_true(deaths.n < STEPS_MAX);
	memcpy(deaths.at[deaths.n].memory, f->e.mem.r[0].host, MEM);
	memcpy(deaths.at[deaths.n].region, f->e.region->base, f->e.region->size);
	deaths.n++;
}

static bool at_once(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	return ++asked > refuse && card_blk_store_ops()->at_once(store, chan, n, off, data, writes);
}

static struct vho_blk_store_ops ops;

static void process(struct fixture *f)
{
	struct vho_blk_conf conf = { .name = "b", .n_queues = 1, .seg_max = 8 };

	assert_int_equal(env_device(&f->e, f->l, &conf), 0);
}

static void process_ends(struct fixture *f)
{
	vho_dev_detach(f->e.dev);
	vho_blk_destroy(f->e.blk);
	vho_mem_put(f->e.map);
}

static void start(struct fixture *f, const struct layout *l)
{
	struct vol_ram_conf rc = { "disk", BYTES, BLOCK };
	struct vho_blk_conf conf = { .name = "b", .n_queues = 1, .seg_max = 8 };

	memset(f, 0, sizeof(*f));
	ops = *card_blk_store_ops();
	ops.at_once = at_once;
	f->l = l;
	assert_int_equal(vol_ram_open(&rc, &f->vol), 0);
	assert_int_equal(vol_chan_open(f->vol, NULL, &f->e.chan), 0);
	f->e.ops = &ops;
	f->e.store = f->vol;
	f->e.ring_size = l->packed ? PACKED_SIZE : SPLIT_SIZE;
	f->e.mem_size = MEM;
	assert_int_equal(
		vho_inflight_create(1, (uint16_t)f->e.ring_size, l->packed, &f->e.region), 0);
	assert_true(f->e.region->size <= REGION_MAX);
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	for (unsigned i = 0; i < N; i++) {
		f->req[i].out = drv_mem_alloc(&f->e.mem, 0, 16 + BLOCK, 64);
		f->req[i].in = drv_mem_alloc(&f->e.mem, 0, BLOCK + 1, 64);
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

/* Even ones write their block, odd ones read one that nobody else writes. */
static void offer(struct fixture *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct guest_req *g = &f->req[i];
		bool write = i % 2 == 0;

		put_header(g->out, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, i);
		memset(g->out + 16, (int)(0x40 + i), BLOCK);
		memset(g->in, 0xee, BLOCK + 1);
		g->out_len = write ? 16 + BLOCK : 16;
		g->in_len = write ? 1 : BLOCK + 1;
		f->seen[i] = 0;
		assert_true(submit(&f->e, g, CUT_USUAL, g) >= 0);
	}
}

static void take(struct fixture *f)
{
	struct drv_used u;

	while (drv_ring_poll(&f->e.ring, &u) == 1)
		f->seen[(struct guest_req *)u.cookie - f->req]++;
}

static void all_are_answered(struct fixture *f, unsigned n, unsigned step)
{
	for (unsigned i = 0; i < n; i++) {
		const struct guest_req *g = &f->req[i];

		if (f->seen[i] != 1 || g->in[g->in_len - 1] != VIRTIO_BLK_S_OK)
			fail_msg("step %u: request %u seen %u times, status %u", step, i,
				f->seen[i], g->in[g->in_len - 1]);
		if (i % 2 == 1)
			assert_int_equal(g->in[0], 0);
	}
	assert_int_equal(f->e.ring.bad_used, 0);
	assert_false(f->e.dev->queues[0].q.broken);
}

/* Nothing is in flight, and packed: every entry is in the free list, once. */
static void region_is_at_rest(struct fixture *f)
{
	const struct vho_inflight_queue *iq = f->e.dev->queues[0].q.inflight;
	uint64_t listed = 0;
	uint16_t at = f->l->packed ? iq->packed->free_head : 0;

	for (unsigned i = 0; i < iq->size; i++) {
		if (f->l->packed) {
			assert_int_equal(iq->packed->desc[i].inflight, 0);
			assert_true(at < iq->size);
			listed |= 1ULL << at;
			at = iq->packed->desc[at].next;
		} else {
			assert_int_equal(iq->split->desc[i].inflight, 0);
		}
	}
	if (f->l->packed)
		assert_true(listed == (1ULL << iq->size) - 1);
}

static void save(const struct drv_ring *r, struct driver *d)
{
	d->r = *r;
	memcpy(d->slots, r->slots, r->size * sizeof(r->slots[0]));
	memcpy(d->free, r->free, r->size * sizeof(r->free[0]));
	memcpy(d->order, r->order, r->size * sizeof(r->order[0]));
}

static void restore(struct drv_ring *r, const struct driver *d)
{
	*r = d->r;
	memcpy(r->slots, d->slots, r->size * sizeof(r->slots[0]));
	memcpy(r->free, d->free, r->size * sizeof(r->free[0]));
	memcpy(r->order, d->order, r->size * sizeof(r->order[0]));
}

static void poll_dry(struct fixture *f)
{
	while (vho_blk_poll(f->e.blk, 0, f->e.chan, 32) > 0)
		;
}

/* Turns of n requests, the last of which is the one that a process dies in, everywhere. */
static void dies_in_turn(struct fixture *f, struct left *at, unsigned turns, unsigned n)
{
	static struct driver d;

	for (unsigned t = 0; t < turns; t++) {
		offer(f, n);
		poll_dry(f);
		take(f);
		all_are_answered(f, n, 0);
	}
	offer(f, n);
	save(&f->e.ring, &d);
	asked = 0;
	deaths.f = f;
	deaths.at = at;
	deaths.n = 0;
	vho_inflight_hook(); // before the first step
	poll_dry(f);
	vho_inflight_hook(); // behind the last
	deaths.f = NULL;
	assert_true(asked > 0);
	for (unsigned k = 0; k < deaths.n; k++) {
		process_ends(f);
		memcpy(f->e.mem.r[0].host, at[k].memory, MEM);
		memcpy(f->e.region->base, at[k].region, f->e.region->size);
		restore(&f->e.ring, &d);
		memset(f->seen, 0, sizeof(f->seen));
		take(f);
		f->e.base = drv_ring_crash_base(&f->e.ring);
		process(f);
		poll_dry(f);
		take(f);
		all_are_answered(f, n, k);
		region_is_at_rest(f);
		offer(f, n); // and it goes on
		poll_dry(f);
		take(f);
		all_are_answered(f, n, k);
		region_is_at_rest(f);
	}
}

static void dies_at_every_step(void **state)
{
	struct left *at = calloc(STEPS_MAX, sizeof(*at));

	assert_non_null(at);
	for (unsigned turns = 0; turns < 6; turns++)
		for (unsigned n = 1; n <= N; n += turns % 2 ? 1 : N - 1) {
			struct fixture f;

			start(&f, *state);
			refuse = 0;
			dies_in_turn(&f, at, turns, n);
			stop(&f);
		}
	free(at);
}

/* The store takes back what it said of itself: the burst is undone, one by one goes on. */
static void dies_when_a_burst_is_refused(void **state)
{
	struct left *at = calloc(STEPS_MAX, sizeof(*at));
	struct fixture f;

	assert_non_null(at);
	for (unsigned turns = 0; turns < 6; turns++) {
		start(&f, *state);
		refuse = UINT32_MAX;
		dies_in_turn(&f, at, turns, N);
		stop(&f);
	}
	free(at);
}

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525U + 1013904223U;
	return *s >> 8;
}

/* The front-end writes to the region: its queue fails, or goes on and leaves nothing out. */
static void a_spoiled_region(void **state)
{
	unsigned n_broken = 0;

	for (uint32_t seed = 1; seed <= 600; seed++) {
		uint32_t s = seed;
		struct fixture f;

		start(&f, *state);
		refuse = seed % 2 ? 0 : UINT32_MAX;
		offer(&f, N);
		poll_dry(&f);
		take(&f);
		for (unsigned i = 0; i < 1 + seed / 2 % 2; i++) {
			uint16_t *p = f.e.region->base;
			size_t words = f.e.region->size / 2;
			const uint16_t v[] = { (uint16_t)rnd(&s), 0xffff, 0, 3,
				(uint16_t)f.e.ring_size };

			p[rnd(&s) % 2 ? rnd(&s) % 16 : rnd(&s) % words] = v[rnd(&s) % 5];
		}
		for (unsigned turn = 0; turn < 8; turn++) {
			offer(&f, N);
			poll_dry(&f);
			take(&f);
			if (f.e.dev->queues[0].q.broken)
				break;
			all_are_answered(&f, N, seed);
		}
		n_broken += f.e.dev->queues[0].q.broken;
		stop(&f);
	}
	assert_true(n_broken < 500);
	assert_true(!((const struct layout *)*state)->packed || n_broken > 20);
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction fn;
	} rows[] = {
		{ "death at every step", dies_at_every_step },
		{ "death at every step of a refused burst", dies_when_a_burst_is_refused },
		{ "a spoiled region", a_spoiled_region },
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS];
	static char names[ARRAY_LEN(t)][80];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t l = 0; l < N_LAYOUTS; l++, n++) {
			snprintf(names[n], sizeof(names[n]), "%s: %s", rows[i].name,
				layouts[l].name);
			t[n] = (struct CMUnitTest){ .name = names[n],
				.test_func = rows[i].fn,
				.initial_state = (void *)(uintptr_t)&layouts[l] };
		}
	return _cmocka_run_group_tests("bursts and the inflight region", t, n, NULL, NULL);
}
