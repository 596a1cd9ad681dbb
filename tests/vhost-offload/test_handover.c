// SPDX-License-Identifier: Apache-2.0
/*
 * Two processes hand one function with its loaded ring to each other, a thousand times, while a
 * driver keeps the ring full: it must see each request answered once and nothing else, and each
 * must have been served once. And what a giver and a taker answer when the other is no good.
 */
#include "handover_pair.h"

#include <fcntl.h>

#include "drv_vu.h"
#include "dpu_log.h"
#include "handover.h"
#include "vu_inband.h"

#define ROUNDS 1000
#define REQUESTS_MAX (1u << 20)
#define RING 64
#define SEGS 8

/* What a request holds: read by the device, then answered. */
struct request {
	uint64_t seq;
	uint64_t answer;
};

struct back {
	struct ho_back b;
	struct fake_dev d;
	_Atomic uint8_t *served; // times, by request; shared
};

/* A row with what its processes share beside struct ho_shared. */
struct run {
	const struct layout *l;
	_Atomic uint8_t *served;
};

static const struct layout {
	const char *name;
	bool packed, inflight;
	uint64_t more; // features
} layouts[] = {
	{ "split", false, false, 0 },
	{ "split, event index, inflight region", false, true, DRV_BIT(VIRTIO_RING_F_EVENT_IDX) },
	{ "packed", true, false, 0 },
	{ "packed, event index, inflight region", true, true, DRV_BIT(VIRTIO_RING_F_EVENT_IDX) },
	{ "packed, in order", true, false, DRV_BIT(VIRTIO_F_IN_ORDER) },
};

/* ---- a back-end process ---- */

/* Serve up to n requests; how many there were. */
static unsigned serve(struct ho_back *hb, unsigned n)
{
	struct back *b = (struct back *)hb;
	struct vho_queue *q = &b->d.dev.queues[0].q;
	struct iovec iov[SEGS];
	unsigned done = 0;

	if (!hb->h.running[0])
		return 0;
	for (; done < n; done++) {
		struct vho_chain c = { .iov = iov, .max = SEGS };
		uint64_t seq, answer;

		if (vho_queue_pop(q, &c) <= 0)
			break;
		ho_need(c.n_out == 1 && c.n_in == 1, "another chain");
		memcpy(&seq, c.iov[0].iov_base, sizeof(seq));
		ho_need(seq < REQUESTS_MAX, "another request");
		atomic_fetch_add(&b->served[seq], 1);
		answer = ~seq;
		memcpy(c.iov[1].iov_base, &answer, sizeof(answer));
		vho_queue_push(q, &c.elem, sizeof(answer));
	}
	vho_queue_publish(q);
	vho_queue_notify(q);
	return done;
}

static void back_main(struct ho_shared *sh, int sock, const char *path, bool owner, const void *row)
{
	static struct back b;

	b.served = ((const struct run *)row)->served;
	b.b.sh = sh;
	b.b.turn = serve;
	b.b.dev = &b.d.dev;
	fake_host_init(&b.b.h);
	ho_need(fake_dev_init(&b.d, &b.b.h, VHO_DEV_BLK, 1) == 0, "no device");
	ho_serve(&b.b, sock, path, owner);
	fake_dev_fini(&b.d);
}

/* ---- the driver ---- */

struct driver {
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_ring ring;
	struct request *slot[RING];
	bool busy[RING];
	uint64_t sent, answered;
};

static void driver_open(struct driver *d, const struct layout *l, const char *path)
{
	struct drv_vu_conf vc = { .path = path,
		.want = DRV_BIT(VIRTIO_F_VERSION_1) | l->more |
			(l->packed ? DRV_BIT(VIRTIO_F_RING_PACKED) : 0),
		.inflight = l->inflight,
		.backend_req = true };
	struct drv_ring_conf rc = { .packed = l->packed, .size = RING };

	d->vu.fd = d->vu.inflight_fd = d->vu.backend_fd = -1;
	assert_int_equal(drv_mem_init(&d->mem, 3, 1 << 20), 0);
	assert_int_equal(drv_vu_open(&d->vu, &vc, &d->mem), 0);
	assert_int_equal(d->vu.features & vc.want, vc.want);
	if (l->inflight)
		assert_int_equal(drv_vu_inflight(&d->vu, 1, RING), 0);
	rc.features = d->vu.features;
	assert_int_equal(drv_ring_init(&d->ring, &d->mem, &rc), 0);
	for (unsigned i = 0; i < RING; i++) {
		d->slot[i] = drv_mem_alloc(&d->mem, i, sizeof(struct request), 64);
		assert_non_null(d->slot[i]);
	}
	assert_int_equal(drv_vu_ring_start(&d->vu, 0, &d->ring), 0);
	assert_int_equal(drv_vu_driver_ok(&d->vu), 0);
}

static void driver_offer(struct driver *d)
{
	for (unsigned i = 0; i < RING; i++) {
		struct request *r = d->slot[i];
		uint64_t gpa = drv_mem_gpa(&d->mem, r);
		struct drv_seg s[2] = { { gpa, 8 }, { gpa + 8, 8 } };

		if (d->busy[i])
			continue;
		*r = (struct request){ .seq = d->sent };
		if (drv_ring_add(&d->ring, s, 1, 1, (void *)(uintptr_t)(i + 1)) < 0)
			break;
		d->busy[i] = true;
		d->sent++;
	}
	drv_ring_kick(&d->ring);
}

static void driver_reap(struct driver *d)
{
	struct drv_used u;

	while (drv_ring_poll(&d->ring, &u)) {
		unsigned i = (unsigned)(uintptr_t)u.cookie - 1;

		assert_true(i < RING && d->busy[i]);
		assert_int_equal(((volatile struct request *)d->slot[i])->answer, ~d->slot[i]->seq);
		d->busy[i] = false;
		d->answered++;
	}
	assert_int_equal(d->ring.bad_used, 0);
}

static void driver_sleep(struct driver *d)
{
	// A notification that got lost between the two would leave us here
	if (drv_ring_intr(&d->ring, true) && drv_ring_wait(&d->ring, 20000))
		assert_true(drv_ring_used_ready(&d->ring));
	drv_ring_intr(&d->ring, false);
}

static void thousand(void **state)
{
	static struct driver d;
	struct run run = { .l = *state };
	struct ho_pair p;

	run.served = mmap(
		NULL, REQUESTS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(run.served != MAP_FAILED);
	memset(&d, 0, sizeof(d));
	ho_place(&p);
	ho_pair_open(&p, back_main, &run, ROUNDS);
	driver_open(&d, run.l, p.path);
	while (!atomic_load(&p.sh->enough) && d.sent < REQUESTS_MAX - RING) {
		driver_offer(&d);
		driver_reap(&d);
		if (d.ring.outstanding)
			driver_sleep(&d);
	}
	while (d.ring.outstanding) {
		driver_reap(&d);
		if (d.ring.outstanding)
			driver_sleep(&d);
	}
	assert_true(atomic_load(&p.sh->rounds) >= ROUNDS);
	assert_true(drv_vu_alive(&d.vu)); // the same connection all the time
	assert_int_equal(d.answered, d.sent);
	for (uint64_t i = 0; i < REQUESTS_MAX; i++)
		assert_int_equal(run.served[i], i < d.sent);
	// And it still answers messages
	assert_true(drv_vu_ring_stop(&d.vu, 0) >= 0);
	ho_pair_close(&p);
	drv_vu_close(&d.vu);
	drv_ring_fini(&d.ring);
	drv_mem_fini(&d.mem);
	munmap(run.served, REQUESTS_MAX);
	print_message("%lu requests\n", (unsigned long)d.sent);
}

/* ---- givers and takers that are no good ---- */

/* The other side is gone, or says no: the ring goes on here. */
static void giver_keeps_it(void **state)
{
	struct fake_rig r;
	int pair[2];

	(void)state;
	rig_open(&r, VHO_DEV_BLK);
	rig_run_ring(&r);
	assert_true(r.h.running[0]);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t no[4] = { 1 };
		int ret;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		if (i == 0)
			assert_int_equal(write(pair[1], no, sizeof(no)), sizeof(no));
		else
			close(pair[1]);
		ret = vho_vu_give(r.vu, pair[0]);
		assert_true(i == 0 ? ret == -ECONNREFUSED : ret == -EPIPE || ret == -ECONNRESET);
		assert_true(r.h.running[0]);
		assert_int_equal(r.h.starts, 2 + i);
		close(pair[0]);
		if (i == 0)
			close(pair[1]);
	}
	assert_int_equal(front_get(&r.f, VU_GET_FEATURES) & 1ull << VIRTIO_F_VERSION_1,
		1ull << VIRTIO_F_VERSION_1); // the session as well
	rig_close(&r);
}

static bool never_settled(void *arg, struct vho_dev *dev)
{
	(void)arg;
	(void)dev;
	return false;
}

/* Requests were left behind at the store: nothing is sent, and the ring goes on where they are. */
static void giver_waits_for_its_store(void **state)
{
	struct fake_rig r;
	char byte;
	int pair[2];

	(void)state;
	rig_open(&r, VHO_DEV_BLK);
	r.h.host.settled = never_settled;
	rig_run_ring(&r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vho_vu_give(r.vu, pair[0]), -EBUSY);
	assert_true(r.h.running[0]);
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), -1);
	close(pair[0]);
	close(pair[1]);
	rig_close(&r);
}

/* A session with everything that one can have. */
struct whole {
	struct fake_host h;
	struct fake_dev d;
	struct vu_session s;
	int mem_fd, peer;
};

static const struct vho_mem_region whole_mem = { .gpa = 0x1000, .size = 0x10000, .uva = 0x7000000 };

static void whole_open(struct whole *w)
{
	struct vho_inflight *inf;
	struct vho_mem *mem;
	int pair[2];

	fake_host_init(&w->h);
	assert_int_equal(fake_dev_init(&w->d, &w->h, VHO_DEV_BLK, 2), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	w->peer = pair[1];
	w->s.fd = -1;
	vu_session_open(&w->s, &w->d.dev, pair[0]);
	w->s.backend_fd = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
	w->s.state_fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(fcntl(w->s.state_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
	w->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(w->mem_fd, 0x10000), 0);
	assert_int_equal(vho_dev_set_features(&w->d.dev, 1ull << VIRTIO_F_VERSION_1), 0);
	assert_int_equal(vho_mem_create(&whole_mem, &w->mem_fd, 1, &mem), 0);
	assert_true(vho_mem_again(mem, &whole_mem, w->mem_fd)); // as QEMU does
	vho_dev_set_mem(&w->d.dev, mem);
	assert_int_equal(vho_inflight_create(2, 8, false, &inf), 0);
	vho_dev_set_inflight(&w->d.dev, inf);
	assert_int_equal(vho_dev_open_log(&w->d.dev, w->mem_fd, 0x1000, 0x1000), 0);
	for (unsigned i = 0; i < 2; i++) {
		w->d.dev.queues[i].size = 8;
		w->d.dev.queues[i].base = 5 + i;
		vho_dev_queue_set_kick(&w->d.dev, i, rig_eventfd());
		vho_dev_queue_set_call(&w->d.dev, i, rig_eventfd());
		vho_dev_queue_set_err(&w->d.dev, i, rig_eventfd());
	}
	// In-band: ring 0 calls through us, ring 1 has said what it wants, half an answer is here
	w->d.dev.protocol_features = 1ull << VU_PF_INBAND_NOTIFICATIONS;
	assert_int_equal(vu_inband_open(&w->s), 0);
	w->s.inband->side[VU_INBAND_CALL].own = true;
	w->s.inband->side[VU_INBAND_KINDS + VU_INBAND_CALL].told = true;
	w->s.asks.asked = VU_BACKEND_VRING_CALL;
	w->s.asks.have = 13;
	w->s.asks.answer.h.request = VU_BACKEND_VRING_CALL;
	// Half a message, with a descriptor
	w->s.have = 7;
	w->s.in.h.request = VU_SET_MEM_TABLE;
	w->s.in.fds[w->s.in.n_fds++] = rig_eventfd();
}

static void whole_close(struct whole *w)
{
	vu_session_close(&w->s);
	fake_dev_fini(&w->d);
	close(w->mem_fd);
	close(w->peer);
}

/* The same bytes with descriptors of their own. */
static void received(const struct handover *from, struct handover *h)
{
	*h = *from;
	h->owned = true;
	for (unsigned i = 0; i < h->n_fds; i++)
		h->fds[i] = fcntl(from->fds[i], F_DUPFD_CLOEXEC, 0);
}

static int load(struct whole *w, struct handover *h)
{
	struct vu_session s = { .fd = -1 };
	struct fake_dev d;
	int listen_fd, ret;

	assert_int_equal(fake_dev_init(&d, &w->h, VHO_DEV_BLK, 2), 0);
	ret = handover_load(&s, &d.dev, h, &listen_fd);
	assert_int_equal(listen_fd, -1);
	assert_true(ret == 0 || !d.dev.connected);
	if (ret == 0 && h->len && s.fd >= 0)
		assert_int_equal(d.dev.n_queues, 2);
	vu_session_close(&s);
	handover_free(h);
	fake_dev_fini(&d);
	return ret;
}

static void comes_out_as_it_went_in(void **state)
{
	static struct handover h, again;
	struct vu_session s = { .fd = -1 };
	struct whole w = { 0 };
	struct fake_dev d;
	int listen_fd;

	(void)state;
	whole_open(&w);
	assert_int_equal(handover_save(&w.s, -1, &h), 0);
	received(&h, &again);
	assert_int_equal(fake_dev_init(&d, &w.h, VHO_DEV_BLK, 2), 0);
	assert_int_equal(handover_load(&s, &d.dev, &again, &listen_fd), 0);
	handover_free(&again);
	// Saved once more it is the same, and that is everything
	assert_int_equal(handover_save(&s, -1, &again), 0);
	assert_int_equal(again.len, h.len);
	assert_memory_equal(again.bytes, h.bytes, h.len);
	assert_int_equal(again.n_fds, h.n_fds);
	// The region was told of twice: it is there until it was taken back as often
	assert_true(vho_mem_forget(d.dev.mem, &whole_mem));
	assert_false(vho_mem_forget(d.dev.mem, &whole_mem));
	vu_session_close(&s);
	fake_dev_fini(&d);
	whole_close(&w);
}

static void cut_off_anywhere(void **state)
{
	static struct handover h, part;
	struct whole w = { 0 };
	unsigned fds;

	(void)state;
	whole_open(&w);
	assert_int_equal(handover_save(&w.s, -1, &h), 0);
	fds = fake_open_fds();
	for (size_t len = 0; len < h.len; len++) {
		received(&h, &part);
		part.len = len;
		assert_true(load(&w, &part) < 0);
		assert_int_equal(fake_open_fds(), fds);
	}
	for (unsigned n = 0; n < h.n_fds; n++) {
		received(&h, &part);
		close(part.fds[n]);
		while (part.n_fds > n + 1)
			close(part.fds[--part.n_fds]);
		part.n_fds = n;
		assert_int_equal(load(&w, &part), -EBADMSG);
		assert_int_equal(fake_open_fds(), fds);
	}
	whole_close(&w);
}

/* Any bit may be another: refused or taken, but nothing is lost or left behind. */
static void any_bit_flips(void **state)
{
	static struct handover h, bent;
	struct whole w = { 0 };
	unsigned fds, refused = 0;

	(void)state;
	whole_open(&w);
	assert_int_equal(handover_save(&w.s, -1, &h), 0);
	fds = fake_open_fds();
	for (size_t bit = 0; bit < 8 * h.len; bit++) {
		received(&h, &bent);
		bent.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		refused += load(&w, &bent) < 0;
		assert_int_equal(fake_open_fds(), fds);
	}
	assert_true(refused > 0);
	whole_close(&w);
}

/* Whatever is read, written, accepted or mapped later is of a kind that nobody waits on. */
static void descriptors_of_another_kind(void **state)
{
	static struct handover h, bent;
	struct whole w = { 0 };
	int pipes[2];
	unsigned fds;

	(void)state;
	whole_open(&w);
	assert_int_equal(handover_save(&w.s, -1, &h), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fds = fake_open_fds();
	for (unsigned n = 0; n < h.n_fds; n++) {
		received(&h, &bent);
		close(bent.fds[n]);
		bent.fds[n] = fcntl(pipes[0], F_DUPFD_CLOEXEC, 0);
		// The last came with half a message, whose handler will look at it
		assert_int_equal(load(&w, &bent) < 0, n + 1 < h.n_fds);
		assert_int_equal(fake_open_fds(), fds);
	}
	// A socket to listen on that does not
	assert_int_equal(handover_save(&w.s, w.peer, &h), 0);
	received(&h, &bent);
	assert_int_equal(load(&w, &bent), -EBADMSG);
	assert_int_equal(fake_open_fds(), fds);
	close(pipes[0]);
	close(pipes[1]);
	whole_close(&w);
}

/* A function that nobody is connected to: its socket moves, and the next front-end is served. */
static void nobody_is_connected(void **state)
{
	char path[] = "/tmp/handover.XXXXXX", socket_path[64];
	struct fake_dev from, to;
	struct fake_host h;
	struct vho_vu *vu;
	const uint8_t yes[4] = { 0 };
	int pair[2], fd;
	unsigned fds = fake_open_fds();

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(socket_path, sizeof(socket_path), "%s/s", path);
	fake_host_init(&h);
	assert_int_equal(fake_dev_init(&from, &h, VHO_DEV_BLK, 1), 0);
	assert_int_equal(fake_dev_init(&to, &h, VHO_DEV_BLK, 1), 0);
	assert_int_equal(vho_vu_create(&from.dev, socket_path, VHO_VU_SERVER, &h.host, &vu), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(write(pair[1], yes, sizeof(yes)), sizeof(yes)); // one process, no waiting
	assert_int_equal(vho_vu_give(vu, pair[0]), 0);
	assert_int_equal(fake_host_armed(&h), 0);
	assert_int_equal(
		vho_vu_take(&to.dev, pair[1], socket_path, VHO_VU_SERVER, &h.host, &vu), 0);
	close(pair[0]);
	close(pair[1]);
	fd = drv_connect(socket_path, 0);
	assert_true(fd >= 0);
	fake_host_run(&h);
	assert_true(to.dev.connected && !from.dev.connected);
	close(fd);
	vho_vu_destroy(vu);
	fake_dev_fini(&from);
	fake_dev_fini(&to);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(fake_open_fds(), fds);
}

static void not_a_handover(void **state)
{
	static struct handover h;
	uint8_t junk[24] = "OBHO";
	int pair[2];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		junk[4] = i == 0 ? 2 : 1; // another version
		junk[10] = i == 1 ? 2 : 0; // 128 KiB
		assert_int_equal(write(pair[1], junk, i == 2 ? 23 : 24), i == 2 ? 23 : 24);
		close(pair[1]);
		assert_int_equal(handover_recv(pair[0], &h), i == 2 ? -ECONNRESET : -EPROTO);
		handover_free(&h);
		close(pair[0]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(giver_keeps_it),
		cmocka_unit_test(giver_waits_for_its_store),
		cmocka_unit_test(comes_out_as_it_went_in),
		cmocka_unit_test(cut_off_anywhere),
		cmocka_unit_test(any_bit_flips),
		cmocka_unit_test(descriptors_of_another_kind),
		cmocka_unit_test(nobody_is_connected),
		cmocka_unit_test(not_a_handover),
	};
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(layouts, thousand, failed);
	return failed;
}
