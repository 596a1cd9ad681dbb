// SPDX-License-Identifier: Apache-2.0
/* Random reads and writes whose every answer is checked against a shadow of the disk. */
#include "drv_verify.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "drv_hist.h"

#define SECTOR 512
#define WORDS (SECTOR / 8)
#define GEN_ANY UINT32_MAX // not known: never written by us, or a write that failed
#define GEN_ZERO 0
#define SECTORS_MAX (1u << 21)

struct slot {
	struct drv_blk_io io;
	bool busy;
	uint32_t type, n, gen; // sectors, generation written
	uint64_t first; // relative to conf.first
	uint64_t since_ns;
};

struct drv_verify {
	struct drv_verify_conf conf;
	struct drv_blk *b; // borrowed
	struct drv_verify_stats stats;
	struct drv_hist lat; // ns
	uint32_t *gen, *alt; // owned; two generations a sector may hold
	bool *busy; // owned; a request on it is out
	struct slot *slots; // owned; conf.qd
	uint64_t rng, progress_ns;
	uint32_t next_gen, step; // step: sectors of one logical block
	unsigned out;
	bool resuming; // no answer yet since the session was resumed
};

/* ---- stamps ---- */

static uint64_t stamp_word(uint64_t sector, uint32_t gen, unsigned i)
{
	uint64_t s = sector * 0x100000001b3ULL ^ ((uint64_t)gen << 32) ^ i;

	return drv_rand(&s);
}

static void stamp_put(const struct drv_verify *v, uint8_t *to, uint64_t sector, uint32_t gen)
{
	uint64_t w[WORDS] = { 0 };

	if (gen != GEN_ZERO) {
		w[0] = sector;
		w[1] = gen;
		for (unsigned i = 2; i < WORDS; i++)
			w[i] = stamp_word(sector, gen, i);
		if (v->conf.canary)
			memcpy(&w[2], v->conf.canary, DRV_CANARY);
	}
	memcpy(to, w, sizeof(w));
}

static bool stamp_is(const struct drv_verify *v, const uint8_t *at, uint64_t sector, uint32_t gen)
{
	uint8_t want[SECTOR];

	stamp_put(v, want, sector, gen);
	return memcmp(at, want, SECTOR) == 0;
}

/* What is wrong with a sector that holds none of the generations it may hold. */
static void classify(struct drv_verify *v, const uint8_t *at, uint64_t sector)
{
	uint64_t w[2];

	memcpy(w, at, sizeof(w));
	bool zero = stamp_is(v, at, sector, GEN_ZERO);

	if (!zero && !stamp_is(v, at, w[0], (uint32_t)w[1]))
		v->stats.torn++;
	else if (!zero && w[0] != sector)
		v->stats.misplaced++;
	else
		v->stats.stale++;
}

static void check(struct drv_verify *v, const struct slot *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t rel = s->first + i, sector = v->conf.first + rel;
		const uint8_t *at = s->io.data + (size_t)i * SECTOR;

		if (v->gen[rel] == GEN_ANY || stamp_is(v, at, sector, v->gen[rel]) ||
			stamp_is(v, at, sector, v->alt[rel]))
			continue;
		classify(v, at, sector);
	}
}

/* ---- requests ---- */

static bool claim(struct drv_verify *v, struct slot *s)
{
	uint32_t max = v->conf.max_len / SECTOR / v->step;
	uint64_t blocks = v->conf.sectors / v->step, at;

	s->n = (uint32_t)(1 + drv_rand(&v->rng) % max) * v->step;
	if (s->n > v->conf.sectors)
		s->n = v->step;
	at = drv_rand(&v->rng) % (blocks - s->n / v->step + 1);
	s->first = at * v->step;
	for (uint32_t i = 0; i < s->n; i++)
		if (v->busy[s->first + i])
			return false;
	memset(&v->busy[s->first], true, s->n);
	return true;
}

static uint32_t pick_type(struct drv_verify *v)
{
	unsigned r = (unsigned)(drv_rand(&v->rng) % 100);

	if (v->b->read_only || r < 45)
		return VIRTIO_BLK_T_IN;
	if (r < 90)
		return VIRTIO_BLK_T_OUT;
	if (r < 93 && v->conf.flush && drv_blk_has(v->b, VIRTIO_BLK_F_FLUSH))
		return VIRTIO_BLK_T_FLUSH;
	if (r < 96 && v->conf.discard && drv_blk_has(v->b, VIRTIO_BLK_F_DISCARD))
		return VIRTIO_BLK_T_DISCARD;
	if (r < 99 && v->conf.zeroes && drv_blk_has(v->b, VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_T_WRITE_ZEROES;
	return VIRTIO_BLK_T_OUT;
}

static void fill(struct drv_verify *v, struct slot *s)
{
	struct virtio_blk_discard_write_zeroes seg = { v->conf.first + s->first, s->n, 0 };

	if (s->type == VIRTIO_BLK_T_OUT) {
		s->gen = ++v->next_gen;
		for (uint32_t i = 0; i < s->n; i++)
			stamp_put(v, s->io.data + (size_t)i * SECTOR, v->conf.first + s->first + i,
				s->gen);
	} else if (s->type == VIRTIO_BLK_T_IN) {
		memset(s->io.data, 0xa5, (size_t)s->n * SECTOR); // no leftover may look right
	} else if (s->type != VIRTIO_BLK_T_FLUSH) {
		memcpy(s->io.data, &seg, sizeof(seg));
	}
}

static void count(struct drv_verify *v, const struct slot *s)
{
	struct drv_verify_stats *st = &v->stats;

	switch (s->type) {
	case VIRTIO_BLK_T_IN:
		st->reads++;
		break;
	case VIRTIO_BLK_T_OUT:
		st->writes++;
		break;
	case VIRTIO_BLK_T_FLUSH:
		st->flushes++;
		return;
	case VIRTIO_BLK_T_DISCARD:
		st->discards++;
		return;
	default:
		st->zeroes++;
		return;
	}
	st->bytes += (uint64_t)s->n * SECTOR;
}

static int submit(struct drv_verify *v, struct slot *s, unsigned queue)
{
	bool data = s->type == VIRTIO_BLK_T_IN || s->type == VIRTIO_BLK_T_OUT;
	uint32_t len = data ? s->n * SECTOR
		       : s->type == VIRTIO_BLK_T_FLUSH
			       ? 0
			       : sizeof(struct virtio_blk_discard_write_zeroes);
	int ret;

	fill(v, s);
	s->busy = true;
	s->io.user = s;
	s->since_ns = dpu_now_ns();
	if (v->out++ == 0)
		v->progress_ns = s->since_ns;
	ret = drv_blk_submit(
		v->b, queue, &s->io, s->type, data ? v->conf.first + s->first : 0, len);
	if (!ret)
		drv_ring_kick(&v->b->rings[queue]);
	return ret;
}

static void settle(struct drv_verify *v, const struct slot *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t rel = s->first + i;

		v->busy[rel] = false;
		if (*s->io.status != VIRTIO_BLK_S_OK) {
			if (s->type != VIRTIO_BLK_T_IN)
				v->gen[rel] = v->alt[rel] = GEN_ANY;
		} else if (s->type == VIRTIO_BLK_T_OUT) {
			v->gen[rel] = v->alt[rel] = s->gen;
		} else if (s->type == VIRTIO_BLK_T_WRITE_ZEROES) {
			v->gen[rel] = v->alt[rel] = GEN_ZERO;
		} else if (s->type == VIRTIO_BLK_T_DISCARD) {
			v->alt[rel] = GEN_ZERO; // either the old content or zeros
		}
	}
}

static void finish(struct drv_verify *v, struct slot *s)
{
	uint64_t now = dpu_now_ns();

	if (now - v->progress_ns > v->stats.worst_stall_ns)
		v->stats.worst_stall_ns = now - v->progress_ns;
	v->progress_ns = now;
	if (v->resuming && v->conf.resumed)
		v->conf.resumed(v->conf.resumed_arg, now);
	v->resuming = false;
	drv_hist_add_gap(&v->lat, now - s->since_ns, v->conf.expect_ns);
	count(v, s);
	if (*s->io.status != VIRTIO_BLK_S_OK)
		v->stats.errored++;
	else if (s->type == VIRTIO_BLK_T_IN)
		check(v, s);
	if (s->type != VIRTIO_BLK_T_FLUSH)
		settle(v, s);
	s->busy = false;
	v->out--;
}

/* ---- waiting ---- */

static unsigned harvest(struct drv_verify *v)
{
	unsigned n = 0;

	for (unsigned q = 0; q < v->b->n_queues; q++)
		for (struct drv_blk_io *io; (io = drv_blk_poll(v->b, q)); n++)
			finish(v, io->user);
	return n;
}

static void sleep_on_calls(struct drv_verify *v)
{
	struct pollfd p[DRV_BLK_QUEUES_MAX + 1];
	bool idle = true;
	unsigned n = v->b->n_queues;

	for (unsigned q = 0; q < n; q++) {
		idle = drv_ring_intr(&v->b->rings[q], true) && idle;
		p[q] = (struct pollfd){ .fd = v->b->rings[q].call_fd, .events = POLLIN };
	}
	p[n] = (struct pollfd){ .fd = v->b->vu.fd, .events = POLLRDHUP };
	if (idle)
		poll(p, n + 1, 50);
	for (unsigned q = 0; q < n; q++) {
		if (idle && (p[q].revents & POLLIN))
			drv_ring_wait(&v->b->rings[q], 0);
		drv_ring_intr(&v->b->rings[q], false);
	}
}

/* Nothing came: sleep, or resume the session if the back-end died. 0 or -errno. */
static int nothing(struct drv_verify *v, unsigned *spins)
{
	uint64_t lost_ns = (v->conf.lost_ms ? v->conf.lost_ms : 10000) * 1000000ULL;
	int ret;

	if (v->conf.poll && ++*spins % 4096) {
		drv_relax();
		return 0;
	}
	if (!v->conf.poll)
		sleep_on_calls(v);
	if (drv_vu_alive(&v->b->vu)) {
		if (!v->out || dpu_now_ns() - v->progress_ns < lost_ns)
			return 0;
		v->stats.lost += v->out;
		v->out = 0;
		return -ETIMEDOUT;
	}
	if (!v->conf.reconnect_ms)
		return -EPIPE;
	while (harvest(v))
		; // a dead process adds nothing: the rings are dry after this
	ret = drv_vu_reconnect(&v->b->vu, v->conf.reconnect_ms);
	v->stats.restarts++;
	v->resuming = true;
	return ret;
}

static int drain(struct drv_verify *v)
{
	unsigned spins = 0;
	int ret = 0;

	while (v->out && !ret)
		if (!harvest(v))
			ret = nothing(v, &spins);
	return ret;
}

int drv_verify_run(struct drv_verify *v, const atomic_bool *stop, uint64_t ns)
{
	uint64_t end = dpu_now_ns() + ns;
	unsigned spins = 0;
	int ret = 0;

	while (!ret && dpu_now_ns() < end && !(stop && atomic_load(stop))) {
		for (unsigned i = 0; !ret && i < v->conf.qd; i++) {
			struct slot *s = &v->slots[i];

			if (s->busy)
				continue;
			s->type = pick_type(v);
			if (s->type != VIRTIO_BLK_T_FLUSH && !claim(v, s))
				continue;
			ret = submit(v, s, i % v->b->n_queues);
		}
		if (!ret && !harvest(v))
			ret = nothing(v, &spins);
	}
	return ret ? ret : drain(v);
}

int drv_verify_all(struct drv_verify *v)
{
	uint32_t max = v->conf.max_len / SECTOR;
	int ret = drain(v);

	for (uint64_t at = 0; !ret && at < v->conf.sectors; at += max) {
		struct slot *s = &v->slots[0];

		s->type = VIRTIO_BLK_T_IN;
		s->first = at;
		s->n = v->conf.sectors - at < max ? (uint32_t)(v->conf.sectors - at) : max;
		memset(&v->busy[s->first], true, s->n);
		ret = submit(v, s, 0);
		if (!ret)
			ret = drain(v);
	}
	return ret;
}

/* ---- life ---- */

int drv_verify_create(
	struct drv_blk *b, const struct drv_verify_conf *conf, struct drv_verify **out)
{
	struct drv_verify *v = dpu_calloc(1, sizeof(*v));
	uint64_t left;
	int ret = -EINVAL;

	if (!v)
		return -ENOMEM;
	v->conf = *conf;
	v->b = b;
	v->rng = conf->seed;
	v->step = b->cfg.blk_size >= SECTOR ? b->cfg.blk_size / SECTOR : 1;
	left = b->cfg.capacity > conf->first ? b->cfg.capacity - conf->first : 0;
	if (!v->conf.sectors || v->conf.sectors > left)
		v->conf.sectors = left;
	if (v->conf.sectors > SECTORS_MAX)
		v->conf.sectors = SECTORS_MAX;
	v->conf.sectors -= v->conf.sectors % v->step;
	if (!v->conf.sectors || !conf->qd || conf->max_len < v->step * SECTOR)
		goto err;
	ret = -ENOMEM;
	v->gen = dpu_calloc(v->conf.sectors, sizeof(*v->gen));
	v->alt = dpu_calloc(v->conf.sectors, sizeof(*v->alt));
	v->busy = dpu_calloc(v->conf.sectors, sizeof(*v->busy));
	v->slots = dpu_calloc(conf->qd, sizeof(*v->slots));
	if (!v->gen || !v->alt || !v->busy || !v->slots)
		goto err;
	memset(v->gen, 0xff, v->conf.sectors * sizeof(*v->gen));
	memset(v->alt, 0xff, v->conf.sectors * sizeof(*v->alt));
	for (unsigned i = 0; i < conf->qd; i++) {
		ret = drv_blk_io_init(b, &v->slots[i].io, conf->max_len, i);
		if (ret)
			goto err;
	}
	*out = v;
	return 0;
err:
	drv_verify_destroy(v);
	return ret;
}

void drv_verify_destroy(struct drv_verify *v)
{
	if (!v)
		return;
	free(v->gen);
	free(v->alt);
	free(v->busy);
	free(v->slots);
	free(v);
}

void drv_verify_stats(struct drv_verify *v, struct drv_verify_stats *out)
{
	*out = v->stats;
	out->duplicated = 0;
	for (unsigned q = 0; q < v->b->n_queues; q++)
		out->duplicated += v->b->rings[q].bad_used;
	out->p50_ns = drv_hist_at(&v->lat, 500);
	out->p99_ns = drv_hist_at(&v->lat, 990);
	out->n_lat = v->lat.n;
}

void drv_verify_lat_reset(struct drv_verify *v)
{
	memset(&v->lat, 0, sizeof(v->lat));
}

uint64_t drv_verify_errors(const struct drv_verify_stats *s)
{
	return s->lost + s->duplicated + s->errored + s->torn + s->stale + s->misplaced;
}
