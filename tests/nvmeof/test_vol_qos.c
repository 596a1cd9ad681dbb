// SPDX-License-Identifier: Apache-2.0
/* Limits of volumes, by a clock that the test moves. */
#include "test.h"

#include <errno.h>

#include "dpu_clock.h"
#include "fake_vol.h"
#include "vol_util.h"

#define SIZE (4u << 20)
#define MS 1000000ULL
#define QUEUE 64u

static uint64_t now;

static uint64_t by_hand(void)
{
	return now;
}

struct load {
	struct vol_chan *c;
	struct answer a[QUEUE];
	struct iovec v;
	uint64_t answered;
	enum vol_op op;
	size_t len;
};

static uint8_t buf[1u << 20];

static struct fake_vol *start(const struct vol_limits *l)
{
	struct fake_vol *f = fake_open(SIZE, 512);

	now = 1000000 * MS;
	dpu_clock_set(by_hand);
	f->at_once = true;
	vol_limits_set(&f->v, l);
	return f;
}

static void stop(struct fake_vol *f)
{
	dpu_clock_set(NULL);
	vol_close(&f->v);
}

static void load_open(struct load *l, struct fake_vol *f, enum vol_op op, size_t len)
{
	*l = (struct load){ .op = op, .len = len, .v = { buf, len } };
	assert_int_equal(vol_chan_open(&f->v, NULL, &l->c), 0);
	for (unsigned i = 0; i < QUEUE; i++)
		l->a[i].n_done = 1; // free
	l->answered = 0;
}

static void load_close(struct load *l)
{
	while (vol_chan_inflight(l->c))
		vol_chan_drain(l->c);
	vol_chan_close(l->c);
}

/* Keep `depth` requests in flight. */
static void load_turn(struct load *l, unsigned depth)
{
	vol_chan_poll(l->c);
	for (unsigned i = 0; i < depth; i++) {
		struct answer *a = &l->a[i];

		if (!a->n_done)
			continue;
		l->answered++;
		*a = (struct answer){ .io = { .op = l->op,
					      .len = l->len,
					      .iov = &l->v,
					      .n_iov = 1,
					      .done = on_done } };
		vol_submit(l->c, &a->io);
	}
}

/* Requests that were answered in `ms`, with the clock going on by 100 us. */
static uint64_t answered_in(struct load *l, unsigned depth, unsigned ms)
{
	uint64_t before, end = now + ms * MS;

	load_turn(l, depth);
	before = l->answered;
	for (; now < end; now += MS / 10)
		load_turn(l, depth);
	load_turn(l, depth);
	return l->answered - before;
}

static void near(uint64_t have, uint64_t want)
{
	assert_in_range(have, want - want / 50 - 1, want + want / 50 + 1);
}

static void keeps_each_rate(void **state)
{
	static const struct {
		struct vol_limits l;
		enum vol_op op;
		size_t len;
		uint64_t per_sec;
	} rows[] = {
		{ { .rw_ios = 1000 }, VOL_READ, 4096, 1000 },
		{ { .rw_ios = 1000 }, VOL_WRITE, 4096, 1000 },
		{ { .rw_ios = 1000 }, VOL_DISCARD, 4096, 1000 },
		{ { .r_ios = 500 }, VOL_READ, 512, 500 },
		{ { .w_ios = 500 }, VOL_WRITE, 512, 500 },
		{ { .rw_bytes = 4096000 }, VOL_READ, 4096, 1000 },
		{ { .rw_bytes = 4096000 }, VOL_WRITE, 8192, 500 },
		{ { .r_bytes = 1048576 * 3 }, VOL_READ, 1048576, 3 },
		{ { .w_bytes = 4096000 }, VOL_WRITE_ZEROES, 4096, 1000 },
		{ { .rw_ios = 1000, .r_ios = 100, .rw_bytes = 1 << 30 }, VOL_READ, 4096, 100 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fake_vol *f = start(&rows[i].l);
		struct load l;

		load_open(&l, f, rows[i].op, rows[i].len);
		answered_in(&l, 8, 1000); // what the bucket held at first
		near(answered_in(&l, 8, 4000), 4 * rows[i].per_sec);
		load_close(&l);
		stop(f);
	}
}

static void leaves_the_other_direction_alone(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .r_ios = 10, .w_bytes = 0 });
	struct load r, w;

	(void)state;
	load_open(&r, f, VOL_READ, 512);
	load_open(&w, f, VOL_WRITE, 512);
	load_turn(&r, 8);
	assert_true(answered_in(&w, 8, 10) > 700); // as fast as it is polled
	assert_int_equal(vol_chan_inflight(r.c), 7); // the bucket was full
	load_close(&r);
	load_close(&w);
	stop(f);
}

/* Whoever took nothing may take what the rates give in burst_ms at once, and no more. */
static void holds_a_burst(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1000, .burst_ms = 32 });
	struct load l;

	(void)state;
	load_open(&l, f, VOL_READ, 512);
	load_turn(&l, QUEUE);
	assert_int_equal(vol_chan_inflight(l.c), QUEUE - 33); // 32 ms' worth, and the next
	assert_int_equal(vol_chan_wait_us(l.c), 1000);
	now += 10 * MS;
	vol_chan_poll(l.c);
	assert_int_equal(vol_chan_inflight(l.c), QUEUE - 43);
	now += 10000 * MS;
	vol_chan_poll(l.c);
	assert_int_equal(vol_chan_inflight(l.c), 0);
	load_turn(&l, QUEUE);
	load_close(&l);
	stop(f);
}

/* One of 1 and one of 64 in flight get the same. */
static void channels_take_turns(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1000 });
	struct load deep, thin;

	(void)state;
	load_open(&deep, f, VOL_READ, 512);
	load_open(&thin, f, VOL_READ, 512);
	for (unsigned i = 0; i < 20000; i++, now += MS / 10) {
		load_turn(&deep, 64);
		load_turn(&thin, 1);
	}
	deep.answered -= 64; // those that were free at first
	near(deep.answered + thin.answered, 2000);
	assert_in_range(thin.answered, 950, 1050);
	load_close(&deep);
	load_close(&thin);
	stop(f);
}

static void changes_while_requests_wait(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1 });
	struct vol_limits out;
	struct load l;

	(void)state;
	load_open(&l, f, VOL_READ, 512);
	load_turn(&l, 10);
	assert_int_equal(vol_chan_inflight(l.c), 9);
	vol_chan_poll(l.c);
	assert_int_equal(vol_chan_inflight(l.c), 9);
	vol_limits_set(&f->v, &(struct vol_limits){ .rw_ios = 1000 });
	assert_int_equal(vol_chan_wait_us(l.c), 1);
	near(answered_in(&l, 10, 1000), 1000);
	vol_limits_set(&f->v, &(struct vol_limits){ 0 });
	vol_chan_poll(l.c);
	assert_int_equal(vol_chan_inflight(l.c), 0);
	vol_limits(&f->v, &out);
	assert_int_equal(out.rw_ios, 0);
	load_close(&l);
	stop(f);
}

static void lets_go_of_a_channel(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1 });
	struct vol_stats s;
	struct load l;

	(void)state;
	load_open(&l, f, VOL_WRITE, 512);
	load_turn(&l, QUEUE);
	assert_int_equal(f->n_seen[VOL_WRITE], 1);
	vol_chan_drain(l.c);
	assert_int_equal(vol_chan_inflight(l.c), QUEUE - 33);
	vol_chan_drain(l.c);
	assert_int_equal(vol_chan_inflight(l.c), 0);
	vol_stats(&f->v, &s);
	assert_int_equal(s.delayed, QUEUE - 1);
	// What went down was paid for: the next one waits for a minute.
	load_turn(&l, 1);
	assert_in_range(vol_chan_wait_us(l.c), (QUEUE - 2) * 1000000, QUEUE * 1000000);
	load_close(&l);
	stop(f);
}

static void does_not_hold_up_a_flush(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1, .rw_bytes = 1 });
	struct load l, other;

	(void)state;
	load_open(&l, f, VOL_WRITE, 512);
	load_open(&other, f, VOL_FLUSH, 0);
	load_turn(&l, 2);
	load_turn(&other, 8);
	assert_int_equal(vol_chan_inflight(other.c), 0);
	// A request that costs more than the clock holds is a debt of an hour.
	load_close(&l);
	vol_limits_set(&f->v, &(struct vol_limits){ .rw_bytes = 1 });
	load_open(&l, f, VOL_READ, sizeof(buf));
	load_turn(&l, 2);
	assert_int_equal(vol_chan_inflight(l.c), 1);
	assert_int_equal(vol_chan_wait_us(l.c), 3600000000u);
	load_close(&l);
	load_close(&other);
	stop(f);
}

/* What waited is judged again: the volume may have shrunk. */
static void a_volume_that_shrank(void **state)
{
	struct fake_vol *f = start(&(struct vol_limits){ .rw_ios = 1 });
	struct answer a = { .io = { .op = VOL_WRITE,
				    .off = SIZE - 512,
				    .len = 512,
				    .n_iov = 1,
				    .done = on_done } };
	struct iovec v = { buf, 512 };
	struct load l;

	(void)state;
	load_open(&l, f, VOL_WRITE, 512);
	load_turn(&l, 1);
	a.io.iov = &v;
	vol_submit(l.c, &a.io);
	assert_int_equal(vol_resize(&f->v, SIZE / 2), 0);
	now += 10000 * MS;
	vol_chan_poll(l.c);
	assert_int_equal(a.n_done, 1);
	assert_int_equal(a.err, -EIO);
	load_close(&l);
	stop(f);
}

/* Bursts of requests that are answered at once would pass the limits by. */
static void bursts_are_limited_too(void **state)
{
	const struct vol_null_conf conf = { "n", SIZE, 512 };
	const uint64_t off = 0;
	struct iovec v = { buf, 512 };
	struct vol_chan *c;
	struct vol *n;

	(void)state;
	assert_int_equal(vol_null_open(&conf, &n), 0);
	assert_int_equal(vol_chan_open(n, NULL, &c), 0);
	assert_true(vol_at_once(c, 1, &off, &v, 0));
	vol_limits_set(n, &(struct vol_limits){ .rw_ios = 1000000 });
	assert_false(vol_at_once(c, 1, &off, &v, 0));
	vol_limits_set(n, &(struct vol_limits){ 0 });
	assert_true(vol_at_once(c, 1, &off, &v, 0));
	vol_chan_close(c);
	vol_close(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_each_rate),
		cmocka_unit_test(leaves_the_other_direction_alone),
		cmocka_unit_test(holds_a_burst),
		cmocka_unit_test(channels_take_turns),
		cmocka_unit_test(changes_while_requests_wait),
		cmocka_unit_test(lets_go_of_a_channel),
		cmocka_unit_test(does_not_hold_up_a_flush),
		cmocka_unit_test(a_volume_that_shrank),
		cmocka_unit_test(bursts_are_limited_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
