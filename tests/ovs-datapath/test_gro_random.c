// SPDX-License-Identifier: Apache-2.0
/*
 * Random streams, with losses, repetitions, odd flags, options and checksums, several at a time:
 * nothing is lost or changed by merging them, and what could be merged is.
 */
#include "gro_run.h"

static const struct spec base = { .seq = 0xfffffb00,
	.ack = 99,
	.len = 1000,
	.id = 0xffff,
	.win = 500,
	.conn = 1,
	.flags = ACK,
	.ttl = 64,
	.opts = 12,
	.ts = 3 };

/* ---- random streams ---- */

static uint32_t rnd(uint32_t below)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 33) % below;
}

/* Would a frame of these and one more be cut into these and that one again? */
static bool lossless(const unsigned *list, unsigned n, unsigned more)
{
	static uint8_t payload[N_MAX * FRAME_MAX];
	struct seg first = in[list[0]], got;
	uint32_t size = first.n - first.hdr, len = 0;

	for (unsigned i = 0; i <= n; i++) {
		const struct seg *s = &in[i < n ? list[i] : more];

		memcpy(payload + len, s->b + s->hdr, s->n - s->hdr);
		len += s->n - s->hdr;
		first.b[first.l4 + 13] |= s->b[s->l4 + 13] & PSH;
	}
	if (first.hdr - first.l3 + len > 65535 || (len + size - 1) / size != n + 1)
		return false;
	for (unsigned i = 0; i <= n; i++) {
		seg_cut(&first, payload, len, size, i, &got);
		if (!seg_eq(&got, &in[i < n ? list[i] : more], &in[list[0]]))
			return false;
	}
	return true;
}

static bool may(const struct seg *s, enum how kind)
{
	const uint8_t *tcp = s->b + s->l4;

	return kind <= GOOD && (tcp[13] & ~PSH) == ACK && s->n > s->hdr && tcp_sum(s) == 0xffff;
}

/* Frames that come out when everything that may be merged is. */
static unsigned expected(void)
{
	unsigned list[N_MAX][N_MAX], n[N_MAX], frames = 0;
	bool open[N_MAX];

	for (unsigned i = 0; i < n_in; i++) {
		unsigned at = frames;

		for (unsigned k = 0; k < frames; k++) {
			if (seg_unclear(&in[i]))
				open[k] = false;
			if (open[k] && seg_same_conn(&in[list[k][0]], &in[i]))
				at = k;
		}
		if (at < frames && may(&in[i], how[i]) && lossless(list[at], n[at], i)) {
			list[at][n[at]++] = i;
			continue;
		}
		if (at < frames)
			open[at] = false;
		list[frames][0] = i;
		n[frames] = 1;
		open[frames++] = !seg_unclear(&in[i]) && may(&in[i], how[i]) &&
				 in[i].n - in[i].hdr >= SIZE_MIN;
	}
	return frames;
}

/* One more packet of a stream that mostly goes on. */
static void stream(struct spec *t)
{
	static const uint16_t sizes[] = { 1400, 1000, SIZE_MIN, SIZE_MIN - 1, 100, 1, 0 };
	struct seg *s = &in[n_in];
	struct spec now = *t;

	switch (rnd(16)) {
	case 0:
		t->len = sizes[rnd(ARRAY_LEN(sizes))];
		break;
	case 1:
		now.len = (uint16_t)(1 + rnd(1400));
		break;
	case 2:
		now.flags ^= (uint8_t)(1u << rnd(8));
		break;
	case 3:
		now.flags |= PSH;
		break;
	case 4:
		t->seq += now.len;
		break; // lost: the next one is not consecutive
	case 5:
		now.seq -= now.len;
		break;
	case 6:
		t->ts += (uint8_t)rnd(2);
		break;
	case 7:
		t->ack += rnd(2);
		break;
	case 8:
		now.tos ^= (uint8_t)rnd(4);
		break;
	case 9:
		t->win ^= (uint16_t)rnd(2);
		break;
	default:
		break;
	}
	seg_make(&now, s);
	t->seq = now.seq + now.len;
	t->id = (uint16_t)(t->id + (t->no_df || t->conn % 2));
	how[n_in] = rnd(3) ? PLAIN : GOOD;
	if (rnd(24) == 0) {
		how[n_in] = PLAIN;
		s->b[rnd(RTE_MIN(s->n, 100u))] ^= (uint8_t)(1u << rnd(8));
		if (rnd(2) && get16(s->b + s->l3 - 2) == (s->v6 ? 0x86ddu : 0x800u))
			seg_fix(s);
	}
	(void)seg_parse(s);
	piece[n_in++] = rnd(8) ? 0 : 600;
}

static void random_streams(void **state)
{
	unsigned all = 0, merged = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct spec conn[4];
		unsigned n_conn = 1 + rnd(4), n = 1 + rnd(N_MAX), want;

		begin(&all_caps);
		for (unsigned k = 0; k < n_conn; k++) {
			conn[k] = base;
			conn[k].conn = (uint8_t)(k + rnd(2) * 100);
			conn[k].seq -= rnd(20000);
			conn[k].v6 = rnd(3) == 0;
			conn[k].no_df = rnd(2);
			conn[k].tags = rnd(4) == 0;
			conn[k].opts = rnd(2) ? 12 : 0;
		}
		while (n_in < n)
			stream(&conn[rnd(n_conn)]);
		want = expected();
		run();
		check_out();
		assert_int_equal(n_frames, want);
		all += n_in;
		merged += n_in - n_frames;
	}
	assert_true(merged > all / 4); // or it would tell us little
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_streams) };

	pool = fake_eal(8191);
	return setup(NULL) || cmocka_run_group_tests_name("streams", tests, NULL, teardown);
}
