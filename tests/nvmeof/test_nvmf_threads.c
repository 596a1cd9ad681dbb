// SPDX-License-Identifier: Apache-2.0
/*
 * Queues that change hands: a worker in a thread of its own has requests out all the time while the
 * control thread resets the controller again and again, and so has the other worker.
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

static void begin(struct worker *w)
{
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
}

static void *work(void *arg)
{
	struct worker *w = arg;

	begin(w);
	while (!atomic_load(&w->stop) || w->out)
		nof_group_poll(w->g);
	return NULL;
}

static const struct threads_case {
	const char *name;
	unsigned worker; // that has a thread
	uint16_t queues; // that the target grants
} threads_cases[] = {
	{ "a queue for each worker", 0, 127 },
	{ "the worker whose queue others use, too", 0, 1 },
	{ "a worker without a queue", 1, 1 },
};

/* All groups but the one that has a thread. */
static void poll_others(struct nvmf_rig *r, unsigned worker)
{
	nof_group_poll(r->hc);
	nof_group_poll(r->hw[1 - worker]);
	nof_group_poll(r->tc);
	for (unsigned i = 0; i < WORKERS; i++)
		nof_group_poll(r->tw[i]);
}

static void resets_under_load(void **state)
{
	const struct threads_case *t = *state;
	const struct nof_tgt_opts opts = { .max_io_queues = t->queues };
	static struct worker w[WORKERS]; // the second is polled by this thread
	const struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 1 };
	struct vol_nvmf_conf conf_v = vc;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	struct vol *v = NULL;
	pthread_t id;

	rig_open(&r, &opts);
	conf = link_conf(&r, 0);
	conf.queue_size = 8;
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	conf_v.host = r.h;
	assert_int_equal(vol_nvmf_open(&conf_v, &v), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .g = r.hw[i ? 1 - t->worker : t->worker] };
		assert_int_equal(vol_chan_open(v, w[i].g, &w[i].c), 0);
	}
	begin(&w[1]);
	assert_int_equal(pthread_create(&id, NULL, work, &w[0]), 0);
	for (unsigned i = 0; i < RESETS; i++) {
		unsigned from = atomic_load(&w[0].done), too = atomic_load(&w[1].done);

		while (atomic_load(&w[0].done) < from + 50 || atomic_load(&w[1].done) < too + 50 ||
			link_state(&l) != NOF_CTRL_LIVE)
			poll_others(&r, t->worker);
		nof_ctrl_reset(l.c);
	}
	while (link_state(&l) != NOF_CTRL_LIVE)
		poll_others(&r, t->worker);
	atomic_store(&w[1].stop, true);
	while (w[1].out)
		poll_others(&r, t->worker);
	atomic_store(&w[0].stop, true);
	while (pthread_tryjoin_np(id, NULL) != 0) // its last requests need the others
		poll_others(&r, t->worker);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(atomic_load(&w[i].errors), 0);
		vol_chan_close(w[i].c);
	}
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(threads_cases, resets_under_load, failed);
	return failed;
}
