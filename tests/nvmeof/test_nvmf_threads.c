// SPDX-License-Identifier: Apache-2.0
/*
 * Queues that change hands: a worker in a thread of its own has requests out all the time while the
 * control thread resets the controller again and again.
 */
#include "nvmf_rig.h"

#include <pthread.h>
#include <stdatomic.h>

#define RESETS 25U
#define OUT 16U

struct worker {
	struct nof_group *g;
	struct vol_chan *c;
	_Atomic bool stop;
	_Atomic unsigned done, errors;
	unsigned out;
	struct slot {
		struct vol_io io;
		struct iovec iov;
		struct worker *w;
		uint8_t buf[4096];
	} slots[OUT];
};

static void again(struct slot *s)
{
	s->w->out++;
	vol_submit(s->w->c, &s->io);
}

static void done(struct vol_io *io, int err)
{
	struct slot *s = (struct slot *)io;

	s->w->out--;
	atomic_fetch_add(&s->w->done, 1);
	atomic_fetch_add(&s->w->errors, err != 0);
	if (!atomic_load(&s->w->stop))
		again(s);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < OUT; i++) {
		struct slot *s = &w->slots[i];

		s->w = w;
		s->iov = (struct iovec){ s->buf, sizeof(s->buf) };
		s->io = (struct vol_io){ .op = VOL_READ,
			.off = 4096ull * i,
			.len = sizeof(s->buf),
			.iov = &s->iov,
			.n_iov = 1,
			.done = done };
		again(s);
	}
	while (!atomic_load(&w->stop) || w->out)
		nof_group_poll(w->g);
	return NULL;
}

/* All groups but the one that has a thread. */
static void poll_others(struct nvmf_rig *r)
{
	nof_group_poll(r->hc);
	nof_group_poll(r->hw[1]);
	nof_group_poll(r->tc);
	for (unsigned i = 0; i < WORKERS; i++)
		nof_group_poll(r->tw[i]);
}

static void resets_under_load(void **state)
{
	static struct worker w;
	const struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 1 };
	struct vol_nvmf_conf conf_v = vc;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol *v = NULL;
	pthread_t id;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.queue_size = 8;
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	conf_v.host = r.h;
	assert_int_equal(vol_nvmf_open(&conf_v, &v), 0);
	w = (struct worker){ .g = r.hw[0] };
	assert_int_equal(vol_chan_open(v, w.g, &w.c), 0);
	assert_int_equal(pthread_create(&id, NULL, work, &w), 0);
	for (unsigned i = 0; i < RESETS; i++) {
		unsigned from = atomic_load(&w.done);

		while (atomic_load(&w.done) < from + 50 || link_state(&l) != NOF_CTRL_LIVE)
			poll_others(&r);
		nof_ctrl_reset(l.c);
	}
	while (link_state(&l) != NOF_CTRL_LIVE)
		poll_others(&r);
	atomic_store(&w.stop, true);
	while (pthread_tryjoin_np(id, NULL) != 0) // its last requests need the others
		poll_others(&r);
	assert_int_equal(atomic_load(&w.errors), 0);
	vol_chan_close(w.c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resets_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
